"""Watching a run: what a view sees while it grows, when it dies, when its folder goes, and that it only reads."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_backend import FakeBackend, connector
from made_up import made_up_run, write_run
from rich.console import Console

from benchkit import bench, judge, live, machine, places, progress, runs, tables, terminal
from benchkit.live import Replay, Watched
from benchkit.plan import make_plan

pytestmark = pytest.mark.real

XS = places.MODELS / "pocket-xs.gguf"
needs_model = pytest.mark.skipif(not XS.exists(), reason="needs the pocket models")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(places.ROOT), *filter(None, sys.path)])}

#: What a model may write, all of it meant to do harm.
HOSTILE = "<script>pwned</script> \x1b[2J\x1b]0;owned\x07 \u202eabc \0 [bold]x[/bold] [link=x]y :smile: \x9b31m\r\n世界"


@pytest.fixture
def fake(monkeypatch):
    """Models that reply at once; `fake(behave)` gives one of them other manners."""

    def use(behave=None):
        monkeypatch.setattr(bench.backends, "connect", connector({"fake:a": behave} if behave else None))

    use()
    monkeypatch.setattr(bench, "FRESH_S", 0.0)
    monkeypatch.setattr(bench, "STATUS_PERIOD_S", 0.0)
    return use


@pytest.fixture
def prompts(tmp_path):
    (tmp_path / "p.txt").write_text("\n".join(f"What is {i} plus {i}?" for i in range(8)) + "\n", encoding="utf-8")
    return str(tmp_path / "p.txt")


def files(folder: Path) -> dict[str, tuple]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in [folder, *folder.rglob("*")]}


def text_of(snapshot, width=80) -> str:
    console = Console(record=True, width=width, file=open(os.devnull, "w"), force_terminal=True, markup=False, emoji=False)
    console.print(terminal.picture(snapshot, width, "a hint"))
    return console.export_text()


# ---- a run as it grows


def test_every_reply_is_seen_once_and_the_status_says_what_happens(fake, prompts, tmp_path):
    folder = tmp_path / "run"
    watched, seen = Watched(folder), []
    assert watched.poll().state == "waiting" and "does not exist yet" in watched.poll().message

    def look(prompt, options):
        seen.append(watched.poll())
        return "ok", None

    fake(look)
    plan = make_plan("fake:a,fake:b", prompts, trials=2, speed={"repeats": 2})
    bench.run(plan, folder, progress=False, command=["benchkit", "run", "plan.yaml"])
    seen.append(watched.poll())
    during = [s for s in seen if s.phase == "measuring" and s.prompt_id]
    assert {s.state for s in seen[:-1]} == {"running"} and seen[-1].state == "complete"
    assert {s.phase for s in seen[:-1]} >= {"warm-up", "measuring"}
    names = [row["artifact"] for s in seen for row in s.new_results]
    assert sorted(names) == sorted(a["file"] for a in runs.Run(folder).artifacts()) and len(names) == 36
    natural = [s for s in during if not s.prompt_id.startswith("speed")]
    assert all(s.prompt_text.startswith("What is") and s.configuration == "fake:a" for s in natural)
    assert {s.total for s in seen} == {36} and [s.done for s in during] == sorted(s.done for s in during)
    assert during[-1].seconds_left is not None and seen[-1].seconds_left is None
    assert during[-1].resume == live.command_line(["benchkit", "run", "plan.yaml", "--out", str(folder)])
    assert seen[-1].resume == seen[-1].message == "" and seen[-1].n_unread == 0


def test_the_reply_so_far_is_in_the_status_but_not_of_speed_requests(fake, prompts, tmp_path, monkeypatch):
    folder, partial = tmp_path / "run", []
    plain = FakeBackend.stream

    def stream(self, prompt, options, on_text=None):
        recording = plain(self, prompt, options)
        assert (on_text is None) == (options.ignore_eos or prompt == bench.WARM_UP_PROMPT)
        if on_text:
            on_text("x" * 3000)
            on_text(" and more")
            partial.append(Watched(folder).poll().partial)
        return recording

    monkeypatch.setattr(FakeBackend, "stream", stream)
    bench.run(make_plan("fake:a", prompts, trials=1, speed={"repeats": 1}), folder, progress=False)
    assert len(partial) == 8 and all(len(p) == 2000 and p.endswith("x and more") for p in partial)
    assert "partial" in runs.read_json(folder / "status.json") and Watched(folder).poll().partial == ""


def test_the_figures_are_those_of_the_tables_and_the_warnings_those_of_the_verdict(tmp_path):
    made = made_up_run(n_prompts=9, trials=2)
    for row in made.rows[:30]:
        row["block"] = {"id": "01", "turn": "01", "position": 0, "void": True, "reasons": ["it was disturbed"]}
    for row in made.rows[40:43]:
        row["recording"] |= {"state": "timeout", "error": "too slow"}
    folder = write_run(made, tmp_path / "run")
    found = Watched(folder).poll()
    summary = tables.summarize(tables.results(folder)).set_index("configuration")
    for speed in found.speeds:
        row = summary.loc[speed.configuration]
        assert speed.ttft_ms == pytest.approx(row["ttft_median_ms"])
        assert speed.decode_tokens_per_s == pytest.approx(row["decode_tokens_per_s"])
        assert speed.peak_memory_mib == pytest.approx(row["peak_memory_mib"])
        assert (speed.decode_source, speed.n_replies) == (row["decode_source"], row["n_requests"])
    assert list(summary.index) == [speed.configuration for speed in found.speeds]
    assert len(found.warnings) > 1 and set(found.warnings) <= set(judge.verdict(folder).reasons)
    assert any("disturbed" in text for text in found.warnings) and any("failed (" in text for text in found.warnings)


def test_a_poll_with_a_budget_reads_the_newest_first_and_the_rest_later(tmp_path):
    folder = write_run(made_up_run(n_prompts=9), tmp_path / "run")
    newest = sorted(folder.glob("*_trial_*.json"))[3]
    os.utime(newest, (time.time() + 10, time.time() + 10))
    watched = Watched(folder, budget_s=0.0)
    first = watched.poll()
    assert [row["artifact"] for row in first.new_results] == [newest.name] and first.n_unread > 30
    later = [watched.poll() for _ in range(first.n_unread)]
    names = [row["artifact"] for snapshot in later for row in snapshot.new_results]
    assert len(set(names)) == len(names) == first.n_unread and later[-1].n_unread == 0
    assert later[-1].last["artifact"] == Watched(folder).poll().last["artifact"]


def test_a_run_that_is_over_is_read_to_its_end(tmp_path):
    made = made_up_run(n_prompts=9)
    folder = write_run(made, tmp_path / "run")
    *_, last = terminal.looks(Watched(folder, budget_s=0.0))
    assert last.n_unread == 0 and sum(speed.n_replies for speed in last.speeds) == len(made.rows)


def test_views_only_read(tmp_path):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    runs.write_json(folder / "status.json", {"state": "running", "done": 1, "total": 2})
    before = files(folder)
    watched = Watched(folder)
    watched.silent_s = 0.0
    for _ in range(3):
        text_of(watched.poll())
    terminal.tell(watched)
    assert files(folder) == before


def test_the_view_needs_no_heavy_package():
    program = "import sys, benchkit.terminal; print(*{'numpy', 'pandas', 'scipy', 'matplotlib', 'tqdm'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert found.stdout.strip() == ""


# ---- what goes wrong


@pytest.mark.parametrize("text", ['{"state": "runn', "", "[]", '{"state": 7}', '{"state": "running", "failed": []}'])
def test_a_damaged_status_is_said_and_the_last_good_one_shown(tmp_path, text):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    with runs.lock(folder):
        runs.write_json(folder / "status.json", {"state": "running", "done": 5, "total": 24, "phase": "measuring"})
        watched = Watched(folder)
        assert watched.poll().message == ""
        (folder / "status.json").write_text(text)
        found = watched.poll()
        assert (found.state, found.total) == ("running", 24) and "half written" in found.message
        assert Watched(folder).poll().state == "running"  # also where no good one was ever seen
        runs.write_json(folder / "status.json", {"state": "complete", "done": 24, "total": 24})
        assert (watched.poll().state, watched.poll().message) == ("complete", "")


def test_a_folder_that_is_moved_or_deleted_is_said_and_may_come_back(tmp_path):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    watched = Watched(folder)
    before = watched.poll()
    folder.rename(tmp_path / "elsewhere")
    gone = watched.poll()
    assert gone.state == "gone" and "moved or deleted" in gone.message and gone.speeds == before.speeds
    assert "its folder is gone" in text_of(gone)
    (tmp_path / "elsewhere").rename(folder)
    assert watched.poll().state == "complete"
    shutil.rmtree(folder)
    assert watched.poll().state == "gone"
    folder.write_text("a file now")
    assert watched.poll().state == "gone"


def test_a_run_whose_process_is_gone_says_so_and_how_to_continue(tmp_path):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    status = {"state": "running", "done": 7, "total": 24, "command": ["benchkit", "run", "my plan.yaml"]}
    runs.write_json(folder / "status.json", status)
    watched = Watched(folder)
    with runs.lock(folder):
        assert watched.poll().state == "running"  # it spoke a moment ago
        watched.silent_s = 0.0
        assert watched.poll().state == "running"  # it holds its lock
    found = watched.poll()
    assert found.state == "dead" and found.ended and found.partial == ""
    for word in ("its process is gone", "7 of 24 replies are safe", "my plan.yaml", f"--out {folder}"):
        assert word in found.message
    assert "its process is gone" in text_of(found)
    runs.write_json(folder / "status.json", {**status, "command": None, "done": 8})
    assert "the same command or call continues it" in watched.poll().message
    runs.write_json(folder / "status.json", {**status, "state": "complete"})
    assert watched.poll().state == "complete"


def test_a_silent_run_is_not_taken_for_dead_and_a_lock_that_is_tried_stops_nobody(tmp_path):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    assert not runs.is_held(folder) and not (folder / ".lock").exists()
    with runs.lock(folder):
        assert runs.is_held(folder)
    done = threading.Event()

    def try_it():
        while not done.is_set():
            runs.is_held(folder)

    viewer = threading.Thread(target=try_it)
    viewer.start()
    try:
        for _ in range(30):
            with runs.lock(folder):
                pass
    finally:
        done.set()
        viewer.join()


def test_artifacts_that_are_damaged_or_of_an_older_version_are_counted_not_shown(tmp_path):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    paths = sorted(folder.glob("*_trial_*.json"))
    good = json.loads(paths[0].read_text())
    bad = [{**good, "schema": "benchkit/artifact/0"}, {}, [], {**good, "recording": {}}, {**good, "block": {"id": 7}},
           {**good, "checks": [7]}, {**good, "recording": {**good["recording"], "started_at": 5}}]  # fmt: skip
    for path, value in zip(paths, bad):
        path.write_text(json.dumps(value))
    paths[len(bad)].write_text('{"schema": "bench')
    found = Watched(folder).poll()
    assert len(found.new_results) == len(list(folder.rglob("*_trial_*.json"))) - len(bad) - 1
    assert any(f"{len(bad) + 1} artifacts cannot be read" in warning for warning in found.warnings)
    assert text_of(found)


def test_an_older_status_and_manifest_are_shown_as_far_as_they_go(tmp_path):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    runs.write_json(folder / "status.json", {"state": "interrupted", "done": 3, "total": 9, "prompt": None})
    (folder / "manifest.json").write_text("{")
    found = Watched(folder).poll()
    assert found.state == "interrupted" and "3 of 9 replies are safe" in found.message and found.speeds
    (folder / "status.json").unlink()
    assert "damaged" in Watched(folder).poll().message


def test_another_run_in_the_same_place_begins_anew(tmp_path):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    manifest = runs.read_json(folder / "manifest.json")
    runs.write_json(folder / "manifest.json", {**manifest, "created": "monday"})
    watched = Watched(folder)
    assert len(watched.poll().new_results) > 10
    for path in folder.rglob("*_trial_*.json"):
        path.unlink()
    runs.write_json(folder / "manifest.json", {**manifest, "created": "tuesday"})
    runs.write_json(folder / "status.json", {"state": "running", "done": 0, "total": 5})
    found = watched.poll()
    assert found.last is None and {speed.n_replies for speed in found.speeds} <= {0}


def test_an_artifact_that_is_set_aside_and_measured_again_counts_once(tmp_path):
    folder = write_run(made_up_run(n_prompts=3), tmp_path / "run")
    watched = Watched(folder)
    n = sum(speed.n_replies for speed in watched.poll().speeds)
    path = next(folder.glob("*_trial_*.json"))
    path.rename(path.with_name(path.name + ".aside"))
    runs.write_json(folder / "status.json", {"state": "running", "done": n - 1, "total": n})
    assert sum(speed.n_replies for speed in watched.poll().speeds) == n - 1


# ---- text that a model wrote


def hostile(tmp_path):
    made = made_up_run(n_prompts=3, speed=0)
    for row in made.rows:
        row["response"], row["prompt"] = HOSTILE + "x" * 100, HOSTILE
    folder = write_run(made, tmp_path / "run")
    status = {"state": "running", "done": 1, "total": 2, "partial": HOSTILE, "prompt_text": HOSTILE, "prompt": HOSTILE,
              "configuration": HOSTILE, "phase": HOSTILE, "failed": {HOSTILE: HOSTILE}, "command": [HOSTILE]}  # fmt: skip
    runs.write_json(folder / "status.json", status)
    runs.log(folder, HOSTILE)
    with open(folder / "run.log", "a", encoding="utf-8", errors="surrogateescape") as log:
        log.write(f"now {HOSTILE}\n")
    return folder


@pytest.mark.parametrize("width", [40, 80, 120])
def test_hostile_text_is_shown_as_text(tmp_path, width):
    folder = hostile(tmp_path)
    with runs.lock(folder):
        found = Watched(folder).poll()
    shown = text_of(found, width)
    assert not set("\x1b\x07\0\u202e\x9b\r") & set(shown)
    assert "⟨ESC⟩[2J" in shown and "[bold]x[/bold]" in shown.replace("\n", "") and "<script>" in shown
    assert all(len(line) <= width for line in shown.splitlines())
    assert not set("\x1b\x07\0\u202e\x9b\r\n") & set(terminal.plain(found))


def test_a_reply_of_5_mb_is_shown_cut(tmp_path):
    made = made_up_run(n_prompts=1, speed=0)
    made.rows[0]["response"] = "long " * 1_000_000
    folder = write_run(made, tmp_path / "run")
    found = Watched(folder).poll()
    row = next(row for row in found.new_results if row["n_characters"] == 5_000_000)
    assert len(row["response"]) == live.REPLY_SHOWN
    assert len(text_of(found)) < 5000


def test_lines_fold_between_words_and_wide_characters_fit():
    assert terminal.folded("one two\n\n three", 7) == ["one two", "three"]
    assert terminal.folded("世界" * 5, 8) == ["世界世界", "世界世界", "世界"]
    assert terminal.folded(" \n ", 5) == []


def test_many_configurations_leave_room_and_show_the_one_that_is_measured():
    speeds = tuple(live.Speed(f"model-{i}") for i in range(40))
    shown = text_of(live.Snapshot(Path("run"), state="running", speeds=speeds, configuration="model-30"))
    assert "▸ model-30" in shown and "… and 28 more" in shown and len(shown.splitlines()) < 40


# ---- a finished run, played again


def test_a_replay_shows_every_reply_in_order_and_then_the_end(tmp_path):
    folder = places.ROOT / "benchmark_outputs" / "sample"
    replay, seen = Replay(folder, speed=60.0), []
    give_up = time.monotonic() + 60
    while not seen or seen[-1].state == "running":
        assert time.monotonic() < give_up
        seen.append(replay.poll())
        time.sleep(0.02)
    rows = [row for s in seen for row in s.new_results]
    end = Watched(folder).poll()
    assert [row["artifact"] for row in rows] == [row["artifact"] for row in end.new_results]
    assert seen[-1].speeds == end.speeds and len(seen) > 5
    assert [s.done for s in seen] == sorted(s.done for s in seen)
    assert any(s.partial for s in seen) and seen[0].phase == "replay"


def test_a_replay_of_nothing_is_its_end(tmp_path):
    assert Replay(tmp_path / "nowhere").poll().state == "waiting"
    folder = write_run(made_up_run(n_prompts=2), tmp_path / "run")  # no times of day are known
    assert Replay(folder, speed=1e5).poll().kind == "run"


# ---- load runs


def test_a_load_run_is_watched_too(tmp_path):
    folder = tmp_path / "load"
    folder.mkdir()
    runs.write_json(folder / "schedule.json", {"profile": "concurrent"})
    runs.write_json(folder / "manifest.json", {"schema": "benchkit/load/1", "created": "now", "state": "running"})
    status = {"state": "running", "phase": "measuring", "configuration": "openai:m", "done": 3, "total": None, "in_flight": 4}
    runs.write_json(folder / "status.json", status)
    with runs.lock(folder):
        found = Watched(folder).poll()
        assert (found.kind, found.state, found.in_flight) == ("load", "running", 4)
        assert "3 requests" in text_of(found) and "4 in flight" in text_of(found)
    dead = Watched(folder)
    dead.silent_s = 0.0
    assert dead.poll().state == "dead" and "benchkit compare" in dead.poll().message and dead.poll().resume == ""
    runs.write_json(folder / "status.json", {**status, "state": "complete", "in_flight": 0})
    runs.write_json(folder / "summary.json", {"verdict": "INVALID", "reasons": ["too slow"], "requests_per_s": 2.0})
    shown = text_of(Watched(folder).poll())
    assert "INVALID: too slow" in shown and "2.00 requests/s" in shown


# ---- the view beside a run


def test_where_nothing_can_be_drawn_there_are_plain_lines(fake, prompts, tmp_path, capsys, monkeypatch):
    started = []
    monkeypatch.setattr(progress.subprocess, "Popen", lambda *a, **k: started.append(a))
    bench.run(make_plan("fake:a", prompts, trials=1), tmp_path / "run", view=True)
    assert not started and "8/8" in capsys.readouterr().err
    terminal.watch(tmp_path / "run")
    assert "run: complete · 8 of 8" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as context:
            context.setenv(name, value)
            assert not progress.can_draw()


def test_a_view_that_cannot_start_leaves_plain_lines(fake, prompts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "can_draw", lambda: True)
    monkeypatch.setattr(progress.sys, "executable", str(tmp_path / "no-such-python"))
    bench.run(make_plan("fake:a", prompts, trials=1), tmp_path / "run", view=True)
    assert "8/8" in capsys.readouterr().err


class OnTerminal:
    """A process whose standard error is a pseudo-terminal, and which Ctrl-C reaches as in a shell."""

    def __init__(self, *words):
        import fcntl
        import pty
        import struct
        import termios

        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
        environment = {k: v for k, v in ENVIRONMENT.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen([sys.executable, "-m", "benchkit", *map(str, words)], stderr=slave,
                                        stdout=subprocess.PIPE, env=environment, start_new_session=True)  # fmt: skip
        os.close(slave)
        self.data = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # Linux: the other side is closed
                return
            if not data:
                return
            self.data += data

    def wait_for(self, *words, timeout_s=120.0):
        give_up = time.monotonic() + timeout_s
        while not all(word.encode() in self.data for word in words):
            assert time.monotonic() < give_up and self.process.poll() is None, self.data[-3000:].decode()
            time.sleep(0.05)

    def end(self, timeout_s=120.0):
        out, _ = self.process.communicate(timeout=timeout_s)
        self.reader.join(timeout_s)
        os.close(self.master)
        return self.process.returncode, out.decode(), self.data.decode()


def views_of(pid):
    import psutil

    children = psutil.Process(pid).children(recursive=True)
    return [child for child in children if "benchkit.terminal" in child.cmdline()]


def wait_for_more_than(done, run, folder):
    give_up = time.monotonic() + 120
    while Watched(folder).poll().done <= done:
        assert time.monotonic() < give_up and run.process.poll() is None
        time.sleep(0.2)


LONG = ["run", "--models", "gguf:pocket-xs", "--prompts", "course", "--trials", "400", "--max-tokens", "24"]


@needs_model
@posix
def test_ctrl_c_leaves_a_clean_terminal_and_the_command_that_continues(tmp_path):
    folder = tmp_path / "run"
    first = OnTerminal(*LONG, "--out", folder)
    first.wait_for("● running", "TTFT ms", "measuring")
    wait_for_more_than(0, first, folder)
    (view,) = views_of(first.process.pid)
    os.killpg(first.process.pid, signal.SIGINT)
    code, out, err = first.end()
    assert code == 130 and not view.is_running()
    last = err[err.rindex("\x1b[?25h") :]  # the cursor is back, and after it nothing is drawn any more
    assert "\x1b[?25l" not in last and "● running" not in last
    assert "replies to measure" in last and "replies are safe" in last
    command = live.command_line(["benchkit", *LONG, "--out", str(folder)])
    assert command in last.replace("\r\n", "\n") and "Traceback" not in err
    stopped = Watched(folder).poll()
    assert stopped.state == "interrupted" and stopped.resume == command

    again = OnTerminal(*LONG, "--out", folder)
    again.wait_for("● running", "measuring")
    wait_for_more_than(stopped.done, again, folder)
    os.killpg(again.process.pid, signal.SIGINT)
    assert again.end()[0] == 130 and "are done already" in again.data.decode()


@needs_model
@posix
def test_a_run_outlives_its_view_and_a_view_says_that_its_run_was_killed(tmp_path):
    one = OnTerminal(*LONG, "--out", tmp_path / "one")
    one.wait_for("● running", "measuring")
    views_of(one.process.pid)[0].kill()
    one.wait_for("\x1b[?25h", "reply/s")
    os.killpg(one.process.pid, signal.SIGINT)
    assert one.end()[0] == 130

    two = OnTerminal(*LONG, "--out", tmp_path / "two")
    two.wait_for("● running", "measuring")
    (view,) = views_of(two.process.pid)
    two.process.kill()
    view.wait(20)
    code, _, err = two.end()
    assert code == -signal.SIGKILL and err.count("\x1b[?25h") == 1 and "Traceback" not in err
    said = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err).split())
    assert "its process is gone; " in said and "continue with: benchkit run --models gguf:pocket-xs" in said


@needs_model
@posix
def test_quiet_asks_for_plain_lines_and_watch_draws_another_runs_view(tmp_path):
    folder = tmp_path / "run"
    quiet = OnTerminal("run", "--models", "gguf:pocket-xs", "--prompts", "course", "--trials", 1, "--quiet", "--out", folder)
    code, out, err = quiet.end()
    assert code == 0 and "●" not in err and "reply" in err and "pocket-xs" in out
    watch = OnTerminal("watch", folder, "--terminal")
    code, out, err = watch.end()
    assert (code, out) == (0, "") and "✓ complete" in err and "\x1b[?25h" in err


def test_the_memory_that_is_shown_is_the_models_before_the_machines():
    assert machine.shown_memory({}) == (None, None)
    assert machine.shown_memory({"process": {"peak_mib": None}, "gpu_used": {"peak_mib": 3.0}}) == ("gpu_used", 3.0)
