"""What takes minutes (`make check`): nothing grows over thousands of requests; the engine is weighed."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import psutil
import pytest

from benchkit import places
from benchkit.backends import Options, connect

pytestmark = pytest.mark.slow
MIB = 2**20


def resident_mib(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / MIB


def open_things() -> int:
    """Files, pipes and sockets this process holds open, and its child processes."""
    me = psutil.Process()
    handles = me.num_fds() if hasattr(me, "num_fds") else me.num_handles()
    return handles + len(me.children(recursive=True))


def test_memory_and_open_files_do_not_grow_over_thousands_of_replies():
    prompts = [
        f"Say {word} in one sentence."
        for word in ("hello", "why caching helps", "nothing", "世界", "x" * 200)
    ]
    options = [
        Options(max_tokens=16),
        Options(max_tokens=16, temperature=1.0),
        Options(max_tokens=16, cache="warm"),
    ]
    with connect("gguf:pocket-xs", n_threads=1, n_ctx=256) as model:
        seen = {}
        for i in range(1, 4001):
            recording = model.stream(prompts[i % 5], options[i % 3])
            assert recording.state in ("ok", "length", "empty"), recording.error
            if i in (500, 4000):
                seen[i] = (resident_mib(model.pids()[0]), resident_mib(os.getpid()), open_things())
    (worker, own, things), (worker_end, own_end, things_end) = seen[500], seen[4000]
    assert worker_end - worker < 8 and own_end - own < 16, seen
    assert things_end == things, seen


def test_a_hundred_loads_leave_nothing_behind():
    def load_and_ask():
        with connect("gguf:pocket-xs", n_threads=1, n_ctx=64) as model:
            assert model.stream("Hello", Options(max_tokens=2)).error is None

    load_and_ask()
    before = open_things()
    for _ in range(100):
        load_and_ask()
    assert open_things() <= before + 1


def test_the_engine_is_weighed_against_llama_bench(capsys):
    """Runs the benchmark as anyone would and shows its figures. They are reported, not asserted: a timing is
    a fact about a machine and a moment, and no reason to call the code wrong."""
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    if importlib.util.find_spec("gguf") is None:
        pytest.skip("needs the package gguf")
    command = [sys.executable, str(places.ROOT / "benchmarks" / "engine.py"), "all", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    with capsys.disabled():
        overhead = found["overhead"]
        print(f"\noverhead {overhead['overhead_us']:.1f} µs a token, {overhead['interval_us']}")
        for row in found["parity"]:
            print(f"parity {row['model']}: {row['ratio']:.3f} of llama-bench, {row['interval']}")
        print(*done.stderr.splitlines()[-3:], sep="\n")
    assert all(row["ratio"] > 0 for row in found["parity"])
