"""A plan that asks for perplexity: it stands in the run's table and report, and is not measured twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchkit import bench, places, report, rows, tables
from benchkit.errors import BenchkitError
from benchkit.perplexity import perplexity
from benchkit.plan import Text, make_plan, read_plan

pytestmark = pytest.mark.real


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


def test_the_card_compares_window_by_window_and_only_what_can_be_compared(text, tmp_path):
    models = "gguf:pocket-xs,gguf:pocket-xs:Q8_0,gguf:pocket-s"
    Path(text).write_text((places.MODELS / "eval_text.txt").read_text(encoding="utf-8")[:12_000], encoding="utf-8")
    table = rows.results(bench.run(make(text, models.split(",")), tmp_path / "run", progress=False))
    *_, card = tables.cards(table)
    assert (card.title, card.winner) == ("lowest perplexity", "gguf:pocket-s") and "window" in card.reason
    assert card.n == len(table["nll_by_window"].iloc[0]) > 6
    *_, card = tables.cards(table[table["configuration"] != "gguf:pocket-s"])
    assert (card.winner, card.outcome) == (None, "not distinguishable")  # 8 bits cost less than this text can tell
    table.loc[table["configuration"] == "gguf:pocket-s", "perplexity_on"] = "another text"
    *_, card = tables.cards(table)
    assert (card.winner, card.outcome) == (None, "not comparable") and "tokenizers" in card.reason


def test_an_export_leaves_the_windows_out(text, tmp_path):
    table = rows.results(bench.run(make(text), tmp_path / "run", progress=False))
    written = tables.export(table, tmp_path / "t.csv").read_text(encoding="utf-8-sig")
    assert "perplexity_se" in written and "nll_by_window" not in written
