"""The machine record, the health of a block, and memory seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from made_up import made_up_run

from benchkit import judge, machine, rows


def test_record_is_json_and_holds_no_secret(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    text = json.dumps(machine.machine_record())
    assert '"OMP_NUM_THREADS": "3"' in text
    assert "secret" not in text
    assert not [
        n for n in machine.ENVIRONMENT if any(w in n for w in ("KEY", "TOKEN", "SECRET", "PASS", "HOST"))
    ]


def test_features_of_llama_cpp_are_read():
    features = machine.llama_cpp_features()
    assert features is None or all(isinstance(value, str) for value in features.values())


# ---- health


def reading(**changes) -> machine.Vitals:
    base = machine.Vitals(0, 0.0, 0.0, 0.0, 0.0, 0, 3000.0, 1.0, 0.0, "mains")
    return replace(base, **changes)


AFTER = {"t_ns": 10_000_000_000, "cpu_busy_s": 10.0, "cpu_total_s": 20.0, "own_cpu_s": 10.0}


def test_a_quiet_block_is_not_void():
    found = machine.health(reading(), reading(**AFTER))
    assert found["void"] is False
    assert found["foreign_cpu_share"] == 0
    assert found["span_s"] == 10


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"steal_s": 1.0, "cpu_busy_s": 11.0}, "other guests"),
        ({"cpu_busy_s": 16.0}, "other programs"),
        ({"frequency_mhz": 1500.0}, "frequency"),
        ({"swap_in_mib": 100.0}, "swap"),
        ({"power_source": "battery"}, "power source"),
    ],
)
def test_each_disturbance_voids_a_block_and_says_why(change, word):
    found = machine.health(reading(), reading(**{**AFTER, **change}))
    assert found["void"] is True
    assert [word in reason for reason in found["reasons"]] == [True]


def test_what_cannot_be_read_is_none_and_voids_nothing():
    unknown = {
        "steal_s": None,
        "own_cpu_s": None,
        "involuntary": None,
        "frequency_mhz": None,
        "swap_in_mib": None,
    }
    found = machine.health(reading(**unknown), reading(**{**AFTER, **unknown}))
    assert found["void"] is False
    assert found["steal_share"] is found["foreign_cpu_share"] is found["involuntary_per_s"] is None


def test_threads_pushed_off_a_core_are_recorded_but_void_nothing():
    found = machine.health(reading(), reading(**AFTER, involuntary=8000))
    assert found["involuntary_per_s"] == 800
    assert found["void"] is False


# ---- short blocks, judged together


def short_block(number: int, foreign: float, span_s: float = 0.1, engine: str = "A", **more) -> dict:
    """What a block of 0.1 s leaves behind on two cores of which other programs use a share."""
    after = {"t_ns": round(span_s * 1e9), "cpu_total_s": 2 * span_s, "own_cpu_s": 0.8 * span_s,
             "cpu_busy_s": (0.8 + 2 * foreign) * span_s, **more}  # fmt: skip
    health = machine.health(reading(), reading(**after))
    return {"id": f"01-{number:04d}", "session": 1, "engine": engine, "position": 0, **health}


def test_a_block_too_short_for_shares_says_that_it_was_not_judged():
    found = machine.health(reading(), reading(**{**AFTER, "t_ns": 50_000_000, "cpu_busy_s": 20.0}))
    assert (found["judged"], found["void"]) == (False, False)


def test_short_blocks_are_put_together_until_they_can_be_judged():
    busy, quiet = ([short_block(n, foreign=share) for n in range(25)] for share in (0.6, 0.05))
    verdicts = machine.judge_blocks(busy)
    assert len(verdicts) == 25
    assert all(v["void"] and v["judged"] for v in verdicts.values())
    assert "other programs used 60 %" in verdicts["01-0024"]["reasons"][0]
    assert not any(v["void"] for v in machine.judge_blocks(quiet).values())


def test_only_the_window_that_was_disturbed_is_void():
    blocks = [short_block(n, 0.6 if n >= 24 else 0.0, span_s=0.125) for n in range(40)]
    void = [name for name, verdict in machine.judge_blocks(blocks).items() if verdict["void"]]
    assert void == [f"01-{n:04d}" for n in range(24, 40)]


def test_engines_are_judged_apart_and_the_last_record_of_a_block_counts():
    blocks = [short_block(2 * n, 0.6, engine="A") for n in range(20)]
    blocks += [short_block(2 * n + 1, 0.0, engine="B") for n in range(20)]
    early = [{**block, "position": 0, "cpu_busy_s": 0.0} for block in blocks]
    late = [{**block, "position": 1} for block in blocks]
    verdicts = machine.judge_blocks([*late, *early])
    assert [verdicts[block["id"]]["void"] for block in blocks] == [True] * 20 + [False] * 20


def test_ticks_do_not_add_up_to_foreign_work():
    """Each block is off by a tick of 10 ms, one way or the other: together they are right."""
    blocks = [short_block(n, foreign=0.1 if n % 2 else -0.1) for n in range(20)]
    assert machine.judge_blocks(blocks)["01-0000"]["foreign_cpu_share"] == pytest.approx(0, abs=1e-9)


def made_of_blocks(n_blocks: int, foreign: float):
    run = made_up_run({"A": (500.0, 1.0, 3.0)}, n_prompts=n_blocks, speed=0)
    for number, row in enumerate(run.rows):
        row["block"] = short_block(number, foreign)
    return run


def test_a_run_of_short_blocks_beside_a_busy_program_is_not_valid():
    found = judge.verdict(made_of_blocks(30, foreign=0.6))
    assert found.state == "INCONCLUSIVE"
    assert found.reasons[0].startswith("A: 30 of 30 blocks of requests disturbed: other programs used 60 %")
    assert judge.verdict(made_of_blocks(30, foreign=0.05)).state == "VALID"


def test_a_run_too_short_to_judge_says_so():
    found = judge.verdict(made_of_blocks(5, foreign=0.6))
    assert found.state == "VALID"
    assert any("too short to judge" in note for note in found.notes)
    assert not any("too short" in note for note in judge.verdict(made_of_blocks(30, foreign=0.0)).notes)


def test_a_block_that_began_cold_is_a_reason_for_doubt():
    run = made_of_blocks(30, foreign=0.0)
    run.rows[3]["block"]["warmed"] = False
    assert judge.verdict(run).reasons == ("A: 1 of 30 blocks of requests began cold: its warm-up failed",)


def test_a_cache_that_was_not_as_asked_for_is_noted():
    run = made_of_blocks(30, foreign=0.0)
    run.rows[3]["options"]["cache"] = "warm"  # the recording says cold
    assert "A: the cache was not as asked for in 1 request" in judge.verdict(run).notes


def test_the_work_of_children_is_our_own():
    """A sandbox is a child that was waited for: what it used is no other program's work."""
    before = machine.vitals([os.getpid()])
    work = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    after = machine.vitals([os.getpid()])
    if not hasattr(psutil.Process().cpu_times(), "children_user") or os.name != "posix":
        pytest.skip("needs a system that counts the time of children")
    assert after.own_cpu_s - before.own_cpu_s > 0.25


def test_our_own_work_is_not_foreign():
    before, until = machine.vitals([os.getpid()]), time.process_time() + 0.3
    while time.process_time() < until:  # however busy the machine is
        pass
    after = machine.vitals([os.getpid()])
    assert after.own_cpu_s - before.own_cpu_s > 0.25
    found = machine.health(before, after)
    everything = (after.cpu_busy_s - before.cpu_busy_s) / (after.cpu_total_s - before.cpu_total_s)
    assert 0 <= found["foreign_cpu_share"] < everything


def test_a_dead_process_gives_none_not_an_error():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert machine.vitals([child.pid]).own_cpu_s is None
    assert machine.process_memory_mib([child.pid]) is None


# ---- memory

GROW = "import sys, time; print('ready', flush=True); sys.stdin.readline(); x = bytearray(80 << 20); time.sleep(0.4); del x; print('done', flush=True); sys.stdin.readline()"


@pytest.fixture
def growing():
    child = subprocess.Popen(
        [sys.executable, "-c", GROW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()


def test_sampler_sees_a_peak_that_is_gone_afterwards(growing):
    with machine.MemorySampler([growing.pid], period_ms=20) as sampler:
        growing.stdin.write("\n")
        growing.stdin.flush()
        growing.stdout.readline()
    found = sampler.result()
    process = found["process"]
    assert process["total_peak_mib"] - process["before_mib"] > 70
    assert abs(process["delta_mib"]) < 20
    assert found["n_samples"] >= 4
    assert found["period_ms"] == 20
    assert process["baseline_mib"] is process["peak_mib"] is None  # nobody said what it held before
    if sys.platform.startswith("linux"):
        kinds = (found["process_anonymous"], found["process_file_backed"])
        assert sum(kind["total_peak_mib"] for kind in kinds) >= process["total_peak_mib"] - 0.1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the kernel's high-water mark")
def test_a_peak_between_two_looks_is_found_in_the_high_water_mark(growing):
    baseline = machine.process_memory_mib([growing.pid])
    if not machine.forget_high_water([growing.pid]):
        pytest.skip("needs permission to set the high-water mark back")
    with machine.MemorySampler([growing.pid], baseline, period_ms=60_000) as sampler:
        growing.stdin.write("\n")
        growing.stdin.flush()
        growing.stdout.readline()
    found = sampler.result()
    assert found["n_samples"] == 2
    assert found["process"]["peak_mib"] < 20  # before and after: the peak was in between
    exact = found["process_high_water"]
    assert 70 < exact["peak_mib"] < 100
    assert exact["total_peak_mib"] == pytest.approx(exact["baseline_mib"] + exact["peak_mib"], abs=0.02)
    assert "note" not in found
    with machine.MemorySampler([growing.pid], baseline, period_ms=60_000) as again:
        pass
    assert again.result()["process_high_water"]["peak_mib"] < 20  # each reply has a mark of its own


def test_without_a_high_water_mark_two_looks_say_that_they_are_all_there_is(growing, monkeypatch):
    monkeypatch.setattr(machine, "forget_high_water", lambda pids: False)
    with machine.MemorySampler([growing.pid], {"process": 5.0}) as sampler:
        pass
    found = sampler.result()
    assert "process_high_water" not in found
    assert found["note"] == "before and after only"
    assert rows._memory(found)["memory_source"] == "process (before and after only)"


def test_sampler_without_processes_still_watches_the_machine():
    with machine.MemorySampler([]) as sampler:
        pass
    found = sampler.result()
    assert "process" not in found
    assert found["machine_available_drop"]["before_mib"] == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_look_at_memory_is_cheap():
    began = time.perf_counter()
    for _ in range(100):
        machine.process_memory_mib([os.getpid()])
        machine.available_mib()
    assert (time.perf_counter() - began) / 100 < 0.005  # 10 % of the period, on the busiest machine


# ---- the doctor


def test_the_doctor_says_what_is_fine_and_what_to_do():
    findings = machine.doctor(watch_s=0.1)
    names = [finding.name for finding in findings]
    assert {"Python", "llama.cpp", "Memory", "Power source", "Quiet machine"} <= set(names)
    assert all(finding.ok or finding.advice for finding in findings)
    assert json.dumps([finding.to_dict() for finding in findings])


def test_the_doctor_names_the_program_to_close():
    finding = machine._quiet(machine.Busy(0.5, (("browser", 0.4),)))
    assert not finding.ok
    assert "close browser" in str(finding)


def test_busy_sees_a_program_that_works_hard():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        seen = machine.busy(0.5)
    finally:
        child.kill()
        child.wait()
    assert seen.cpu_share > 0.1
    names = [name for name, _ in seen.top]
    assert names and len(set(names)) == len(names), "each program once"


def test_the_doctor_says_so_where_the_cache_cannot_be_used(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path / "file" / "x"))
    found = machine._disk()
    assert not found.ok
    assert "BENCHKIT_CACHE" in found.advice


def test_memory_bandwidth_is_a_plausible_rate():
    assert 0.1 < machine.memory_bandwidth_gb_s(n_threads=1, size_mib=64, repeats=2) < 5_000
