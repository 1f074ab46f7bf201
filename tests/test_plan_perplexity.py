"""A plan that asks for perplexity: it stands in the run's table and report, and is not measured twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchkit import bench, places, report, rows, tables
from benchkit.errors import BenchkitError
from benchkit.perplexity import perplexity
from benchkit.plan import Text, make_plan, read_plan


@pytest.fixture
def text(tmp_path):
    prose = (places.MODELS / "eval_text.txt").read_text(encoding="utf-8")[:3000]
    (tmp_path / "text.txt").write_text(prose, encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("Name a colour.\n", encoding="utf-8")
    return str(tmp_path / "text.txt")


def make(text, models="gguf:pocket-xs", **settings):
    prompts = text.replace("text.txt", "prompts.txt")
    return make_plan(models, prompts, trials=1, max_tokens=8, n_threads=1, perplexity={"file": text, "window": 64}, **settings)


def test_it_stands_in_table_and_report_and_is_what_the_command_says(text, tmp_path, monkeypatch):
    run = bench.run(make(text), tmp_path / "run", progress=False)
    found = perplexity("gguf:pocket-xs", text, window=64, n_threads=1, progress=False)
    summary = tables.summarize(rows.results(run))
    assert summary["perplexity"].tolist() == [found.perplexity] and summary["perplexity_se"].tolist() == [found.se]
    assert report.cell("perplexity", summary.iloc[0])["range"].startswith("± ")
    assert "perplexity" in report.format_table(summary, 200).splitlines()[0]
    monkeypatch.setattr(bench, "perplexity", None)  # asked again it would fail
    assert bench.run(make(text), tmp_path / "run", progress=False).manifest == {
        **run.manifest, "sessions": bench.runs.open_run(run.folder).manifest["sessions"]}  # fmt: skip


def test_what_cannot_be_scored_is_said_and_the_run_goes_on(text, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("Too short.", encoding="utf-8")
    run = bench.run(replace(make(text), perplexity=Text(str(short), 64)), tmp_path / "run", progress=False)
    assert len(run.artifacts()) == 1
    assert "window" in run.manifest["models"]["gguf:pocket-xs"]["perplexity"]["error"]
    assert tables.summarize(rows.results(run))["perplexity"].isna().all()


def test_a_plan_without_it_is_the_plan_that_it_was(text):
    with_it, without = make(text), make_plan("gguf:pocket-xs", text.replace("text.txt", "prompts.txt"), trials=1)
    assert "perplexity" not in without.to_dict() and with_it.sha256 != without.sha256
    assert read_plan(with_it.to_dict()).perplexity == with_it.perplexity
    assert make_plan("gguf:pocket-xs", perplexity=True).perplexity.file is None
    assert make_plan("gguf:pocket-xs", perplexity=False).perplexity is None


@pytest.mark.parametrize(("asked", "words"), [({"window": 3}, "perplexity.window"), ({"fle": "x"}, "fle"), (7, "perplexity")])
def test_an_impossible_one_is_refused(asked, words):
    with pytest.raises(BenchkitError, match=words):
        make_plan("gguf:pocket-xs", perplexity=asked)
