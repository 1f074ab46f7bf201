"""Measuring: order, warm-up, what goes wrong with one model, and runs that are stopped."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_backend import FakeBackend, connector

from benchkit import backends, bench, judge, machine, metrics, places, quality, rows, runs
from benchkit.errors import BenchkitError, ModelError
from benchkit.plan import make_plan

QUESTIONS = [f"What is {i} plus {i}?" for i in range(12)]


@pytest.fixture
def prompts(tmp_path):
    (tmp_path / "p.txt").write_text("\n".join(QUESTIONS) + "\n", encoding="utf-8")
    return str(tmp_path / "p.txt")


@pytest.fixture
def fake(monkeypatch):
    """Use fake models; `fake(behaviours, digest)` gives them other manners."""

    def use(behaviours=None, digest="d0", server=None):
        connect = connector(behaviours, digest, server)
        monkeypatch.setattr(bench.backends, "connect", connect)
        return connect

    use()
    monkeypatch.setattr(bench, "FRESH_S", 0.0)
    return use


def asked() -> list[tuple[str, str, int]]:
    """The requests that were no warm-up."""
    return [row for row in FakeBackend.log if row[1] != bench.WARM_UP_PROMPT]


# ---- order and warm-up


def test_each_model_is_loaded_once_and_every_prompt_asked_once_a_trial(fake, prompts, tmp_path):
    connect = fake()
    plan = make_plan("fake:a,fake:b", prompts, trials=2, temperature=[0.0, 0.5])
    bench.run(plan, tmp_path / "run", progress=False)
    assert [b.name for b in connect.opened] == ["fake:a", "fake:b"]
    assert all(b.closed for b in connect.opened)
    assert len(asked()) == 2 * 2 * 2 * 12
    assert {asked().count(row) for row in asked()} == {4}


def test_models_take_turns_and_none_is_always_first(fake, prompts, tmp_path):
    bench.run(make_plan("fake:a,fake:b,fake:c", prompts, trials=3), tmp_path / "run", progress=False)
    order = [name for name, prompt, _ in asked()]
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert len(turns) >= 3 * 2 * 3 - 6
    firsts = [order[i] for i in range(0, len(order), 36)]
    assert len(set(firsts)) > 1


def test_every_switch_of_model_is_followed_by_an_unrecorded_reply(fake, prompts, tmp_path):
    bench.run(
        make_plan("fake:a,fake:b", prompts, trials=2, speed={"repeats": 7}), tmp_path / "run", progress=False
    )
    previous = None
    for model, prompt, n in FakeBackend.log:
        if model != previous:
            assert prompt == bench.WARM_UP_PROMPT
            assert n >= 32
        previous = model


def test_a_fresh_engine_generates_for_a_quarter_of_a_second(fake, monkeypatch):
    monkeypatch.setattr(bench, "FRESH_S", 0.002)
    backend = FakeBackend("fake:a")
    replies = bench.warm_up(backend, fresh=True, timeout_s=5)
    assert sum(metrics.latency_s(reply) for reply in replies) >= 0.002
    assert len(bench.warm_up(backend, fresh=False, timeout_s=5)) == 1


def test_only_generating_warms_an_engine_up_not_the_time_it_takes_to_start(fake, monkeypatch):
    def start_slowly(prompt, options):
        if len(FakeBackend.log) == 1:
            time.sleep(0.05)
        return "ok", None

    monkeypatch.setattr(bench, "FRESH_S", 0.002)
    replies = bench.warm_up(FakeBackend("fake:a", start_slowly), fresh=True, timeout_s=5)
    assert sum(metrics.latency_s(reply) for reply in replies) >= 0.002


def test_a_warm_up_that_does_not_fit_is_shortened(fake):
    def small_context(prompt, options):
        return ("error", "it does not fit") if options.max_tokens > 8 else ("ok", None)

    replies = bench.warm_up(FakeBackend("fake:a", small_context), fresh=False, timeout_s=5)
    assert [len(reply.chunks) for reply in replies] == [8] * 4  # as many tokens as ever


def test_a_warm_up_that_fails_is_recorded_and_makes_the_run_doubtful(fake, prompts, tmp_path):
    def refuse(prompt, options):
        return ("error", "no") if prompt == bench.WARM_UP_PROMPT else ("ok", None)

    fake({"fake:a": refuse})
    run = bench.run(make_plan("fake:a,fake:b", prompts, trials=1), tmp_path / "run", progress=False)
    assert {(a["model"], a["block"]["warmed"]) for a in run.artifacts()} == {("fake:a", False), ("fake:b", True)}
    reasons = judge.verdict(run).reasons
    assert reasons == ("fake:a: 2 of 2 blocks of requests began cold: its warm-up failed",)


def test_models_too_large_to_stay_together_are_loaded_once_a_trial(fake, prompts, tmp_path, monkeypatch):
    connect = fake()
    monkeypatch.setattr(bench, "RESIDENT_SHARE", 0.0)
    plan = make_plan("fake:a,fake:b", prompts, trials=3, speed={"repeats": 3})
    run = bench.run(plan, tmp_path / "run", progress=False)
    assert run.manifest["sessions"][0]["policy"] == "one load a block"
    assert len(run.artifacts()) == len(plan.tests())
    assert len(connect.opened) <= 1 + 2 * 3  # one was loaded to find out
    assert all(a["block"]["resident"] is False for a in run.artifacts())


@pytest.mark.parametrize("trials", [1, 2])
def test_models_loaded_one_at_a_time_have_two_turns_each(prompts, trials):
    """A, B, B, A, for natural and for forced lengths: else a drift could not be told from the model."""
    plan = make_plan("fake:a,fake:b", prompts, trials=trials, speed={"repeats": 3})
    order = [turn for _, turn in bench.turns(plan.tests(), resident=False)]
    assert [turn.engine for turn in order] == ["fake:a", "fake:b", "fake:b", "fake:a"]
    for purpose in ("quality", "speed"):
        assert all(any(test.purpose == purpose for test in turn.tests) for turn in order)
    asked = [test.key for turn in order for test in turn.tests]
    assert sorted(asked) == sorted(test.key for test in plan.tests())


def test_the_turn_and_what_became_of_it_are_in_the_table(fake, prompts, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESIDENT_SHARE", 0.0)
    run = bench.run(make_plan("fake:a,fake:b", prompts, trials=1), tmp_path / "run", progress=False)
    table = rows.results(run)
    assert table.groupby("configuration")["block_turn"].nunique().to_dict() == {"fake:a": 2, "fake:b": 2}
    assert not table["block_resident"].any()
    assert table["block_warmed"].all()


def test_settings_of_one_engine_take_turns_in_being_first(prompts):
    plan = make_plan("fake:a", prompts, trials=2, temperature=[0.0, 0.5], speed={"repeats": 4})
    for resident in (True, False):
        firsts: dict[tuple, str] = {}
        for _, turn in bench.turns(plan.tests(), resident):
            for test in turn.tests:
                key = (test.purpose, test.prompt.index, test.trial)
                firsts.setdefault(key, test.configuration.label)
        for purpose, trial in (("quality", 0), ("quality", 1), ("speed", 0)):
            of = [label for key, label in firsts.items() if (key[0], key[2]) == (purpose, trial)]
            assert len(set(of)) == 2
            assert {of.count(label) for label in of} == {len(of) // 2}
        assert all(firsts["quality", i, 0] != firsts["quality", i, 1] for i in range(12))


def test_the_order_is_the_same_every_time(prompts):
    plan = make_plan("fake:a,fake:b", prompts, trials=2)
    first, second = (list(bench.turns(plan.tests(), resident=True)) for _ in range(2))
    assert first == second
    assert sum(len(turn.tests) for _, turn in first) == len(plan.tests())


def test_warm_cache_asks_the_same_prompt_just_before(fake, prompts, tmp_path):
    bench.run(make_plan("fake:a", prompts, trials=1, cache="warm"), tmp_path / "run", progress=False)
    pairs = asked()
    assert len(pairs) == 24
    assert all(pairs[i][1] == pairs[i + 1][1] and pairs[i][2] == 1 for i in range(0, 24, 2))


def test_speed_prompts_have_the_length_asked_for_and_differ(fake, prompts, tmp_path):
    run = bench.run(
        make_plan("fake:a", prompts, trials=1, speed={"n_prompt": 20, "repeats": 4}), tmp_path / "run", False
    )
    forced = [a for a in run.artifacts() if a["purpose"] == "speed"]
    assert [a["recording"]["counts"]["prompt"]["value"] for a in forced] == [20] * 4
    assert len({a["prompt"] for a in forced}) == 4
    assert all(a["checks"] == [] for a in forced)


def test_auto_trials_stop_when_the_median_is_known_and_continue_equally(fake, prompts, tmp_path):
    plan = make_plan("fake:a", prompts, trials="auto")
    run = bench.run(plan, tmp_path / "run", progress=False)
    assert len(run.artifacts()) == 12 * 6  # a fake reply always takes equally long
    reasons = run.manifest["stopped"]["fake:a"]
    assert len(reasons) == 12
    assert all("±" in reason for reason in reasons.values())
    FakeBackend.log.clear()
    bench.run(plan, tmp_path / "run", progress=False)
    assert FakeBackend.log == []


def test_trials_that_never_agree_stop_at_twenty_and_say_so(fake, tmp_path, monkeypatch):
    (tmp_path / "one.txt").write_text("Hello\n", encoding="utf-8")
    seconds = itertools.cycle([1.0, 2.0, 4.0])
    monkeypatch.setattr(bench.metrics, "latency_s", lambda recording: next(seconds))
    plan = make_plan("fake:a", str(tmp_path / "one.txt"), trials="auto")
    run = bench.run(plan, tmp_path / "run", progress=False)
    assert len(run.artifacts()) == 20
    (reason,) = run.manifest["stopped"]["fake:a"].values()
    assert reason.startswith("20 trials are the most")


def test_a_time_limit_is_no_latency_that_could_be_known_well(fake, tmp_path):
    (tmp_path / "one.txt").write_text("Hello\n", encoding="utf-8")
    fake({"fake:a": lambda prompt, options: ("timeout", "too slow") if prompt == "Hello" else ("ok", None)})
    run = bench.run(make_plan("fake:a", str(tmp_path / "one.txt"), trials="auto"), tmp_path / "run", False)
    assert len(run.artifacts()) == 20
    (reason,) = run.manifest["stopped"]["fake:a"].values()
    assert reason.startswith("20 trials are the most")


# ---- what goes wrong with one model


def test_a_model_that_cannot_be_loaded_is_noted_and_the_others_go_on(fake, prompts, tmp_path, capsys):
    run = bench.run(make_plan("fake:missing,fake:b", prompts, trials=1), tmp_path / "run")
    assert run.failed == {"fake:missing": "fake:missing: there is no such model"}
    assert len(run.artifacts()) == 12
    assert "cannot be measured" in capsys.readouterr().err
    assert runs.open_run(tmp_path / "run").failed == run.failed


def test_if_no_model_can_be_loaded_that_is_an_error(fake, prompts, tmp_path):
    with pytest.raises(ModelError, match="none of the plan's models"):
        bench.run(make_plan("fake:missing", prompts), tmp_path / "run", progress=False)


def test_a_crash_is_that_models_result(fake, prompts, tmp_path):
    def crash(prompt, options):
        return ("error", "The engine process was killed.") if prompt == QUESTIONS[3] else ("ok", None)

    fake({"fake:a": crash})
    plan = make_plan("fake:a,fake:b", prompts, trials=1)
    run = bench.run(plan, tmp_path / "run", progress=False)
    states = {(row["model"], row["prompt"]): (row["state"], row["error"]) for row in run.summary()}
    assert len(states) == 24
    assert states["fake:a", QUESTIONS[3]] == ("error", "The engine process was killed.")
    assert states["fake:b", QUESTIONS[3]] == ("ok", None)
    after = FakeBackend.log[FakeBackend.log.index(("fake:a", QUESTIONS[3], 256)) + 1]
    assert after[:2] == ("fake:a", bench.WARM_UP_PROMPT)  # a new engine is warmed up
    blocks = {a["prompt_index"]: a["block"] for a in run.artifacts() if a["model"] == "fake:a"}
    assert blocks[3]["id"] != blocks[4]["id"]  # what happened before the crash is not forgotten: a new block
    assert blocks[3]["turn"] == blocks[4]["turn"]
    assert [blocks[i]["position"] for i in (3, 4, 5)] == [3, 0, 1]
    FakeBackend.log.clear()
    bench.run(plan, tmp_path / "run", progress=False)
    assert FakeBackend.log == []  # a failed reply is a result too


def test_a_model_that_cannot_come_back_fails_alone(fake, prompts, tmp_path):
    def refuse(prompt, options):
        if prompt == QUESTIONS[5]:
            raise ModelError("memory is full")
        return "ok", None

    fake({"fake:a": refuse})
    run = bench.run(make_plan("fake:a,fake:b", prompts, trials=1), tmp_path / "run", progress=False)
    assert run.failed == {"fake:a": "memory is full"}
    assert len(run.artifacts()) == 12 + 5


def test_another_file_under_the_same_name_is_refused(fake, prompts, tmp_path):
    plan = make_plan("fake:a", prompts, trials=1)
    run = bench.run(plan, tmp_path / "run", progress=False)
    (run.folder / run.artifacts()[0]["file"]).unlink()
    fake(digest="d1")
    with pytest.raises(BenchkitError, match=r"is not the model it was.*d0.*d1"):
        bench.run(plan, tmp_path / "run", progress=False)


def test_another_machine_is_refused(fake, prompts, tmp_path, monkeypatch):
    plan = make_plan("fake:a", prompts, trials=1)
    bench.run(plan, tmp_path / "run", progress=False)
    monkeypatch.setattr(machine, "cpu_model", lambda: "Another CPU")
    with pytest.raises(BenchkitError, match="began on another machine"):
        bench.run(plan, tmp_path / "run", progress=False)


def test_a_model_against_itself_has_two_labels(fake, prompts, tmp_path):
    models = [{"model": "fake:a", "label": "first"}, {"model": "fake:a", "label": "second"}]
    run = bench.run(make_plan(models, prompts, trials=1), tmp_path / "run", progress=False)
    assert {a["configuration"] for a in run.artifacts()} == {"first", "second"}
    assert {a["model"] for a in run.artifacts()} == {"fake:a"}


def test_a_check_that_cannot_be_run_is_recorded_as_not_run(fake, tmp_path, monkeypatch):
    (tmp_path / "q.jsonl").write_text('{"prompt": "Say yes", "expected": "yes"}\n', encoding="utf-8")

    def refuse(*_, **__):
        raise BenchkitError("no sandbox here")

    monkeypatch.setattr(bench.quality, "run_checks", refuse)
    run = bench.run(
        make_plan("fake:a", str(tmp_path / "q.jsonl"), trials=1), tmp_path / "run", progress=False
    )
    assert run.artifacts()[0]["checks"] == [
        {"check": "expected", "passed": None, "reason": "no sandbox here"}
    ]
    assert run.summary()[0]["passed"] is None


def test_checks_are_made_while_running(fake, tmp_path):
    (tmp_path / "q.jsonl").write_text(
        '{"prompt": "yes", "expected": "yes"}\n{"prompt": "no", "expected": "yes"}\n', "utf-8"
    )
    run = bench.run(
        make_plan("fake:a", str(tmp_path / "q.jsonl"), trials=1), tmp_path / "run", progress=False
    )
    assert [row["passed"] for row in run.summary()] == [True, False]


def test_after_a_check_that_takes_long_the_engine_is_warmed_up_again(fake, tmp_path, monkeypatch):
    """Code in its sandbox: the engine has been idle meanwhile, and that time belongs to no block."""
    lines = ['{"prompt": "a", "expected": "a"}', '{"prompt": "b", "expected": "b"}', '{"prompt": "c", "expected": "c"}']
    (tmp_path / "q.jsonl").write_text("\n".join(lines), encoding="utf-8")
    run_checks = quality.run_checks

    def slowly(reply, prompt, run_code):
        time.sleep(0.2 if prompt.text == "a" else 0)
        return run_checks(reply, prompt, run_code=run_code)

    monkeypatch.setattr(bench.quality, "run_checks", slowly)
    plan = make_plan("fake:a", str(tmp_path / "q.jsonl"), trials=1)
    run = bench.run(plan, tmp_path / "run", progress=False)
    assert [prompt for _, prompt, _ in FakeBackend.log][-4:] == ["a", bench.WARM_UP_PROMPT, "b", "c"]
    blocks = [a["block"] for a in run.artifacts()]
    assert blocks[0]["id"] != blocks[1]["id"] == blocks[2]["id"]
    assert blocks[1]["span_s"] < 0.2
    assert all(check["passed"] for a in run.artifacts() for check in a["checks"])


def test_each_load_keeps_its_first_time_to_first_token(fake, prompts, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESIDENT_SHARE", 0.0)
    monkeypatch.setattr(bench, "FRESH_S", 0.001)
    run = bench.run(make_plan("fake:a,fake:b", prompts, trials=1), tmp_path / "run", progress=False)
    loads = run.manifest["models"]["fake:b"]["loads"]
    assert len(loads) == 1  # its two turns follow each other: A, B, B, A
    assert set(loads[0]) == {"load_s", "cold_ttft_ms", "warm_ttft_ms", "n_warm"}
    assert loads[0]["cold_ttft_ms"] == loads[0]["warm_ttft_ms"] == 0.001
    assert loads[0]["n_warm"] > 1
    assert len(run.manifest["models"]["fake:a"]["loads"]) >= 2


# ---- telling


def test_progress_goes_to_standard_error_with_an_estimate_before(fake, prompts, tmp_path, capsys):
    bench.run(make_plan("fake:a,fake:b", prompts, trials=1), tmp_path / "run")
    out, err = capsys.readouterr()
    assert out == ""
    assert "24 replies to measure; about" in err
    assert "24/24" in err


def test_status_tells_how_far_it_is(fake, prompts, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(bench, "STATUS_PERIOD_S", 0.0)

    def look(prompt, options):
        seen.append(runs.read_json(tmp_path / "run" / "status.json"))
        return "ok", None

    fake({"fake:a": look})
    bench.run(make_plan("fake:a", prompts, trials=1), tmp_path / "run", progress=False)
    during = [row for row in seen if row and row["state"] == "running" and row["prompt"]]
    assert [row["done"] for row in during] == list(range(12))
    assert {row["total"] for row in during} == {12}
    assert during[-1]["pid"] == os.getpid()


def test_many_plans_go_in_one_go_into_folders_of_their_own(fake, prompts, tmp_path):
    plans = [make_plan(f"fake:{name}", prompts, trials=1, name=name) for name in ("one", "missing", "two")]
    with pytest.raises(ModelError):
        bench.run_many(plans, tmp_path / "all", progress=False)
    folders = sorted(path.name.split("-")[0] for path in (tmp_path / "all").iterdir())
    assert folders == ["missing", "one", "two"]


def test_the_same_plan_has_the_same_folder(prompts):
    plan = make_plan("fake:a", prompts, name="my: plan")
    assert bench.default_folder(plan) == places.OUTPUTS / f"my_plan-{plan.sha256[:8]}"


# ---- stopped runs, in this process


def test_ctrl_c_keeps_what_was_measured_and_says_how_to_go_on(fake, prompts, tmp_path, capsys):
    def stop(prompt, options):
        if prompt == QUESTIONS[7]:
            raise KeyboardInterrupt
        return "ok", None

    connect = fake({"fake:a": stop})
    plan = make_plan("fake:a", prompts, trials=1)
    with pytest.raises(KeyboardInterrupt):
        bench.run(plan, tmp_path / "run")
    assert "7 replies are safe" in capsys.readouterr().err
    run = runs.open_run(tmp_path / "run")
    assert run.status["state"] == "interrupted"
    assert len(json.loads((run.folder / "summary.json").read_text("utf-8"))) == 7
    assert all(backend.closed for backend in connect.opened)
    fake()
    assert len(bench.run(plan, tmp_path / "run", progress=False).artifacts()) == 12
    assert [row[1] for row in asked()] == QUESTIONS[7:]


def test_a_full_disk_keeps_what_was_measured(fake, prompts, tmp_path, monkeypatch):
    write, written = runs.write_json, []

    def fill(path, value, durable=True):
        if "_trial_" in path.name:
            written.append(path)
        if len(written) > 5:
            raise runs.StorageError(f"{path.name}: the disk is full")
        write(path, value, durable)

    plan = make_plan("fake:a", prompts, trials=1)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_json", fill)
        with pytest.raises(runs.StorageError, match="disk is full"):
            bench.run(plan, tmp_path / "run", progress=False)
    assert len(runs.open_run(tmp_path / "run").artifacts()) == 5
    FakeBackend.log.clear()
    run = bench.run(plan, tmp_path / "run", progress=False)
    assert len(asked()) == 7
    assert len(run.summary()) == 12


# ---- stopped runs of real models, in another process

POCKET = places.MODELS / "pocket-xs.gguf"
needs_model = pytest.mark.skipif(not POCKET.exists(), reason="models/pocket-xs.gguf is not there")

PROGRAM = """
import sys
from benchkit.bench import run
from benchkit.plan import read_plan
run(read_plan(sys.argv[1]), sys.argv[2], progress="quiet" not in sys.argv)
"""
LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
"""


@pytest.fixture
def real_plan(tmp_path):
    """Two workers with the smallest pocket model, short replies, a speed block: 2 × (24 × 4 + 2) tests."""
    (tmp_path / "p.txt").write_text(
        "\n".join(f"What is {i} + {i}?" for i in range(24)) + "\n", encoding="utf-8"
    )
    plan = {
        "models": [{"model": "gguf:pocket-xs", "label": "one"}, {"model": "gguf:pocket-xs", "label": "two"}],
        "prompts": ["p.txt"],
        "load": {"n_ctx": 128, "n_threads": 1},
        "sampling": {"max_tokens": 4},
        "trials": 4,
        "speed": {"n_prompt": 8, "n_output": 8, "repeats": 2},
    }
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    return path


def start(plan: Path, folder: Path, program: str = PROGRAM, *more: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", program, str(plan), str(folder), *more]
    group = {"process_group": 0} if sys.version_info >= (3, 11) and os.name == "posix" else {}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, **group)


def artifacts(folder: Path) -> dict[str, tuple]:
    """What is on disk, with what changes if a file is written again."""
    found = {}
    for path in runs.artifact_paths(folder):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found[path.name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return found


def family(process: subprocess.Popen) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def all_gone(processes: list[psutil.Process], patience_s: float = 10.0) -> bool:
    return not psutil.wait_procs(processes, timeout=patience_s)[1]


@needs_model
@pytest.mark.parametrize("n_kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_nothing_is_lost_or_repeated(real_plan, tmp_path, n_kills):
    chance, folder = random.Random(20260101), tmp_path / "run"
    safe: dict[str, tuple] = {}
    for _ in range(n_kills):
        process = start(real_plan, folder, PROGRAM, "quiet")
        wanted, give_up = len(safe) + chance.choice([0, 1, 2, 4, 8]), time.monotonic() + 60
        while len(artifacts(folder)) < wanted and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.005)
        # after so many replies, or before the first one: while importing, loading or warming up
        time.sleep(chance.uniform(0, 0.05) if wanted > len(safe) else chance.uniform(0.2, 2.0))
        children = family(process)
        process.kill()
        process.communicate()
        assert all_gone(children), "a model's process outlived the run"
        now = artifacts(folder)
        assert {name: now.get(name) for name in safe} == safe, "an artifact was lost or measured again"
        safe = now
    last = start(real_plan, folder, PROGRAM, "quiet")
    assert last.wait(timeout=300) == 0, last.stderr.read()
    last.stderr.close()
    final = artifacts(folder)
    assert {name: final[name] for name in safe} == safe
    tests = bench.read_plan(real_plan).tests()
    assert set(final) == {Path(runs.artifact_name(test)).name for test in tests}
    run = runs.open_run(folder)
    assert run.problems == []
    assert len({a["key"] for a in run.artifacts()}) == len(tests)
    assert json.loads((folder / "summary.json").read_text("utf-8")) == run.summary()
    assert len(run.summary()) == 2 * 24 * 4
    assert not list(folder.glob("**/.*.tmp"))
    assert run.status["state"] == "complete"


@needs_model
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("whole_group", [False, True], ids=["process", "terminal"])
def test_sigint_stops_cleanly_and_the_same_command_continues(real_plan, tmp_path, whole_group):
    if whole_group and sys.version_info < (3, 11):
        pytest.skip("process groups came with Python 3.11")
    folder = tmp_path / "run"
    process = start(real_plan, folder)
    while len(artifacts(folder)) < 5 and process.poll() is None:
        time.sleep(0.005)
    children = family(process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "The same command continues." in err
    assert children
    assert all_gone(children)
    run = runs.open_run(folder)
    assert run.status["state"] == "interrupted"
    assert len(run.artifacts()) >= 5
    assert json.loads((folder / "summary.json").read_text("utf-8")) == run.summary()
    assert "aborted" not in {a["recording"]["state"] for a in run.artifacts()}


@needs_model
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files")
def test_a_disk_that_refuses_gives_one_clear_message(real_plan, tmp_path):
    folder = tmp_path / "run"
    limited = PROGRAM.replace("import sys\n", "import sys\n" + LIMITED, 1)
    process = start(real_plan, folder, limited, "6000", "quiet")
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.strip().splitlines()[-1].startswith("benchkit.runs.StorageError")
    assert "the disk is full" in err
    assert not list(folder.glob("**/.*.tmp"))


@needs_model
def test_a_broken_file_is_that_models_result(tmp_path, prompts):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 1000)
    (tmp_path / "page.gguf").write_bytes(b"<!DOCTYPE html>")
    models = [f"gguf:{tmp_path / 'broken.gguf'}", f"gguf:{tmp_path / 'page.gguf'}", "gguf:pocket-xs"]
    run = bench.run(
        make_plan(models, prompts, trials=1, max_tokens=2, n_threads=1), tmp_path / "run", progress=False
    )
    assert set(run.failed) == set(models[:2])
    assert {a["model"] for a in run.artifacts()} == {"gguf:pocket-xs"}


@needs_model
def test_memory_and_load_time_are_the_models_own(tmp_path, prompts):
    run = bench.run(
        make_plan("gguf:pocket-xs", prompts, trials=1, max_tokens=8, n_threads=1), tmp_path / "run", False
    )
    file_mib = POCKET.stat().st_size / 2**20
    for artifact in run.artifacts():
        memory = artifact["memory"]["process"]
        assert file_mib < memory["peak_mib"] < file_mib + 20  # the file, its KV cache and working memory
        assert memory["total_peak_mib"] == pytest.approx(memory["baseline_mib"] + memory["peak_mib"], abs=0.02)
        assert artifact["load_s"] > 0
    described = run.manifest["models"]["gguf:pocket-xs"]
    assert described["path"] == "models/pocket-xs.gguf"
    assert len(described["digest"]) == 64
    assert described["memory_loaded"]["process"] > 5
    assert described["memory_baseline"]["process"] > 10


@needs_model
def test_a_small_context_is_warmed_up_all_the_same():
    with backends.connect("gguf:pocket-xs", n_ctx=32, n_threads=1) as model:
        assert bench.warm_up(model, fresh=False, timeout_s=20)


def test_why_a_model_failed_names_no_user_and_holds_no_escapes(fake, prompts, tmp_path, capsys):
    home = Path.home()

    def fail(prompt, options):
        raise ModelError(f"{home / 'models'} \x1b[31mis gone, {home}x is not")

    fake({"fake:a": lambda *_: fail(*_) if _[0] in QUESTIONS else ("ok", None)})
    bench.run(make_plan("fake:a,fake:b", prompts, trials=1), tmp_path / "run")
    found = runs.open_run(tmp_path / "run").failed["fake:a"]
    assert found.startswith(f"~{os.sep}models ") and f"{home}x" in found
    assert "⟨ESC⟩[31mis gone" in capsys.readouterr().err


def test_a_computer_without_a_home_folder_still_tells_why(monkeypatch):
    def none():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", none)
    assert bench.without_home("it failed") == "it failed"
