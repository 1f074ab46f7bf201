"""The demo's bookkeeping: continue what was interrupted, otherwise measure afresh; never touch a finished run."""

import json

import pytest

from benchkit import demo
from benchkit.notebooks import NotebookError


def finished(folder, state="complete"):
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps({"state": state}))


def test_an_interrupted_run_is_continued_and_a_complete_one_left_alone(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(demo, "execute", lambda lesson, parameters, out: asked.append(parameters["output_folder"]))
    assert demo.measure(tmp_path) == tmp_path / "run-1"
    finished(tmp_path / "run-1")
    assert demo.measure(tmp_path) == tmp_path / "run-2"
    finished(tmp_path / "run-10", "interrupted")
    assert demo.measure(tmp_path) == tmp_path / "run-10"
    assert asked == [str(tmp_path / f"run-{n}") for n in (1, 2, 10)]


def test_a_run_that_cannot_be_continued_is_kept_and_a_new_one_begins(tmp_path, monkeypatch, capsys):
    def refuse_the_old(lesson, parameters, out):
        if parameters["output_folder"].endswith("run-1"):
            raise NotebookError("holds the run of another plan")

    monkeypatch.setattr(demo, "execute", refuse_the_old)
    finished(tmp_path / "run-1", "running")
    assert demo.measure(tmp_path) == tmp_path / "run-2" and (tmp_path / "run-1").exists()
    assert "another plan" in capsys.readouterr().out


def test_a_new_run_that_fails_says_so(tmp_path, monkeypatch):
    def fail(*_):
        raise NotebookError("stopped at cell 3")

    monkeypatch.setattr(demo, "execute", fail)
    with pytest.raises(NotebookError, match="cell 3"):
        demo.measure(tmp_path)


def test_the_demo_measures_what_it_says():
    from benchkit.prompts import load_prompts

    assert len(demo.MODELS) == 4 and len(load_prompts(demo.MEASURE["prompts"])) == 60
