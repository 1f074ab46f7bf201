"""The machine record, the health of a block, and memory seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from benchkit import machine


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
        ({"involuntary": 5000}, "pushed off"),
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


def test_a_span_too_short_is_not_judged_by_shares():
    short = {**AFTER, "t_ns": 50_000_000, "cpu_busy_s": 20.0}
    assert machine.health(reading(), reading(**short))["void"] is False


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
    assert process["peak_mib"] - process["before_mib"] > 70
    assert abs(process["delta_mib"]) < 20
    assert found["n_samples"] >= 4
    assert found["period_ms"] == 20
    assert set(process) == {"baseline_mib", "before_mib", "peak_mib", "after_mib", "delta_mib"}
    if sys.platform.startswith("linux"):
        parts = found["process_anonymous"]["peak_mib"] + found["process_file_backed"]["peak_mib"]
        assert parts >= process["peak_mib"] - 0.1


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
    assert seen.top
