"""The live dashboard: what it shows of a run, that it only reads, and what its buttons do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nbformat
import pytest
from browser import HOSTILE
from made_up import made_up_run, write_run

from benchkit import dashboard, places, webpage
from benchkit.dashboard import PAGE, Dashboard, text_of
from benchkit.errors import BenchkitError

FAMILY = {"gguf:small": (1000.0, 0.9, 4.0), "gguf:large": (300.0, 0.4, 8.0)}
XS = places.MODELS / "pocket-xs.gguf"
needs_model = pytest.mark.skipif(not XS.exists(), reason="needs the pocket models")


@pytest.fixture()
def folder(tmp_path) -> Path:
    """A finished run of 2 × 20 replies and some of forced length."""
    made = write_run(made_up_run(FAMILY, n_prompts=20, speed=3), tmp_path / "mine")
    say(made, state="complete", done=46, total=46)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(dashboard, "PERIOD_S", 0.05)
    monkeypatch.setattr(dashboard, "SHARE", 1.0)


def say(folder: Path, **status) -> None:
    known = {"pid": 1, "configuration": "gguf:small", "failed": {}}
    (folder / "status.json").write_text(json.dumps({**known, **status}), encoding="utf-8")


def html(view: Dashboard) -> str:
    """All the HTML that is in the page."""
    return "".join(part.value for part in [*view._parts.values(), *view.results._slots])


def shown(view: Dashboard) -> list[str]:
    return [button.description for button in view._buttons.children if button.layout.display is None]


def until(condition, patience_s: float = 60.0) -> None:
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def files(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in [folder, *folder.rglob("*")] if p.name != ".lock"}


def damage(folder: Path, **changes) -> None:
    """Change the first artifact: its reply, its model's name."""
    path = sorted(folder.glob("*_trial_*.json"))[0]
    artifact = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**artifact, **changes}), encoding="utf-8")


# ---------------------------------------------------------------- looking


def test_a_finished_run_shows_its_end_and_the_looking_ends(folder):
    before = files(folder)
    view = Dashboard(folder)
    snapshot = view.wait(60)
    assert (snapshot.state, len(view.results.rows)) == ("complete", 46)
    assert not view._thread.is_alive() and not view._looking and files(folder) == before
    for words in ("complete", "46 of 46 replies", "Fastest", "Best quality", "Fewest seconds per correct answer", "<img"):
        assert words in html(view), words
    assert 'alt="Speed against quality' in view._parts["picture"].value
    assert shown(view) == []
    assert "gguf:small: replies 23" in text_of(snapshot)


def test_a_look_that_finds_nothing_new_changes_no_widget(folder):
    view = Dashboard(folder)
    view.wait(60)
    changes = []
    for widget in [*view._parts.values(), *view.results._slots, *view._buttons.children]:
        widget.observe(changes.append)
    view._look()
    assert changes == []


def test_a_growing_run_is_followed_by_one_thread_until_it_ends(folder):
    say(folder, state="running", done=46, total=60, phase="measuring", prompt="p1", prompt_text="What is 2?", trial=0,
        partial="It is", seconds_left=90, peak_memory_mib=20.5)  # fmt: skip
    (folder / ".lock").touch()
    view = Dashboard(folder)
    thread = view._thread
    view.follow()
    assert view._thread is thread and thread.is_alive() and shown(view) == []
    for words in ("running", "46 of 60 replies", "What is 2?", "It is", "left", dashboard.LATER):
        assert words in html(view), words
    say(folder, state="complete", done=46, total=46)
    assert view.wait(60).state == "complete" and "What is 2?" not in view._parts["talk"].value


def test_closing_ends_the_looking(folder):
    say(folder, state="running", done=46, total=60)
    view = Dashboard(folder)
    assert view._thread.is_alive()
    view.close()
    view._thread.join(30)
    assert not view._thread.is_alive()


def test_a_run_can_be_played_again(folder):
    view = Dashboard(folder, replay=1000)
    assert view.wait(60).state == "complete" and len(view.results.rows) == 46
    view.follow()
    view.wait(60)
    assert len(view.results.rows) == 46


# ---------------------------------------------------------------- bad input


def test_a_folder_that_goes_is_told_and_may_come_back(folder):
    say(folder, state="running", done=46, total=60)
    view = Dashboard(folder)
    folder.rename(folder.with_name("elsewhere"))
    view._thread.join(30)
    assert "moved or deleted" in html(view) and shown(view) == ["Look again"]
    folder.with_name("elsewhere").rename(folder)
    say(folder, state="complete", done=46, total=46)
    view._again.click()
    assert view.wait(60).state == "complete" and len(view.results.rows) == 46


def test_a_dead_run_says_how_to_continue(folder, monkeypatch):
    monkeypatch.setattr("benchkit.live.SILENT_S", 0.0)
    say(folder, state="running", done=46, total=60, command=["benchkit", "run", "plan.yaml"])
    view = Dashboard(folder)
    view._thread and view._thread.join(30)
    assert "its process is gone" in html(view) and "benchkit run plan.yaml --out" in html(view)
    with pytest.raises(BenchkitError, match="process is gone"):
        view.wait(1)


@pytest.mark.parametrize("content", ["", "{", '{"state": 3}', "[]"])
def test_a_status_that_is_half_written_is_no_traceback(folder, content):
    (folder / "status.json").write_text(content, encoding="utf-8")
    view = Dashboard(folder)
    view.close()
    view._thread and view._thread.join(30)
    assert "message" in view._parts["status"].value and view._error is None
    assert "46 replies are safe" in html(view) or "status.json is damaged" in html(view)


def test_artifacts_of_an_older_version_are_counted_not_shown(folder):
    damage(folder, schema="benchkit.artifact/0")
    view = Dashboard(folder)
    view.wait(60)
    assert "1 artifact cannot be read" in html(view) and len(view.results.rows) == 45


def test_a_folder_where_nothing_is_yet_is_waited_for_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(dashboard, "WAIT_S", 0.2)
    view = Dashboard(tmp_path / "none")
    view._thread.join(30)
    assert not view._thread.is_alive() and shown(view) == ["Look again"] and "does not exist yet" in html(view)


def test_an_error_of_the_view_is_told_and_raised(folder, monkeypatch):
    say(folder, state="running", done=46, total=60)
    view = Dashboard(folder)
    monkeypatch.setattr(view._source, "poll", lambda: 1 / 0)
    view._thread.join(30)
    assert "the view has failed" in html(view)
    with pytest.raises(ZeroDivisionError):
        view.wait(1)


@pytest.mark.parametrize("reply", [*HOSTILE, "x" * 5_000_000])
def test_what_a_model_wrote_becomes_text(folder, reply):
    damage(folder, response=reply, prompt=reply[:400], configuration=reply[:60], prompt_id=reply[:60])
    say(folder, state="complete", done=46, total=46, partial=reply[:2000], prompt_text=reply[:400])
    view = Dashboard(folder)
    view.wait(60)
    page = html(view)
    for harm in ("<script", "<svg", "<iframe", "<img src=x", "</pre></td>"):
        assert harm not in page, harm
    assert not any(code in page for code in "\x00\x1b\x07\u202e\u2066") and len(page) < 1_000_000


# ---------------------------------------------------------------- results


def test_results_turn_page_by_page(tmp_path):
    folder = write_run(made_up_run(FAMILY, n_prompts=60, speed=0), tmp_path / "long")
    say(folder, state="complete", done=120, total=120)
    view = Dashboard(folder)
    view.wait(60)
    results = view.results
    seen = []
    while True:
        seen.append(results._page)
        if results._older.layout.display == "none":
            break
        results._older.click()
    assert [(p.start, p.stop) for p in seen] == [(90, 120), (60, 90), (30, 60), (0, 30)]
    assert len({row.value for row in results._slots}) == PAGE
    results._newer.click()
    assert results._page == range(30, 60)
    results._failed_only.value = True
    wrong = [row for row in results.rows if row["passed"] is False]
    assert 0 < len(wrong) == len(results._chosen) and "Failed results" in results._told.value


def test_the_newest_row_comes_first(folder):
    view = Dashboard(folder)
    view.wait(60)
    n = len(view.results.rows)
    newest = view.results._slots[(n - 1) % PAGE].value
    assert view.results.rows[-1]["artifact"] in newest
    assert f":nth-child(n+{(n - 1) % PAGE + 2}) {{ order: -1 }}" in view.results._ring.value


def test_a_long_reply_is_shown_to_a_point_and_says_so(folder):
    damage(folder, response="word " * 5000)
    view = Dashboard(folder)
    view.wait(60)
    view.results._failed_only.value = False
    while "its first 20,000 of 25,000 characters" not in html(view):
        assert view.results._older.layout.display is None
        view.results._older.click()


# ---------------------------------------------------------------- a run of its own


def test_a_dashboard_that_only_watches_starts_nothing(folder):
    view = Dashboard(folder)
    with pytest.raises(BenchkitError, match="only watches"):
        view.start()


@needs_model
def test_a_run_is_started_stopped_and_continued(tmp_path):
    words = ["--models", "gguf:pocket-xs", "--prompts", "categories", "--trials", "4"]
    view = Dashboard(tmp_path / "run", words)
    assert shown(view) == ["Start"] and view._thread is None
    view._start.click()
    until(lambda: view.snapshot.done > 3)
    assert shown(view) == ["Stop"]
    view._stop.click()
    with pytest.raises(BenchkitError, match="interrupted|process is gone"):
        view.wait(120)
    kept = view.snapshot.done
    assert shown(view) == ["Continue"] and 3 < kept < 240
    view._start.click()
    assert view.wait(600).done == 240 and not view.job.running


def test_a_run_that_cannot_begin_says_why(tmp_path):
    view = Dashboard(tmp_path / "run", ["--models", "gguf:nothing-of-this-name"])
    view.start()
    with pytest.raises(BenchkitError, match="no shipped model is called"):
        view.wait(120)
    assert "no shipped model is called" in html(view)


# ---------------------------------------------------------------- the web page's notebook


def test_the_page_is_the_lesson_without_what_is_not_for_a_page(folder):
    notebook = nbformat.read(webpage.NOTEBOOK, as_version=4)
    page = webpage.page_of(notebook, folder, 2.0)
    code = [cell.source for cell in page.cells]
    assert code[0] == f"folder, words, replay = {str(folder)!r}, None, 2.0"
    assert len(code) == 2 and "Dashboard(folder, words, replay)" in code[1]
    assert "benchkit run" not in "".join(code)
