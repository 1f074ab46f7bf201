"""Run generated code where it can do no harm: no files, no network, little time, little memory.

A model's reply is untrusted. It runs only when someone asked for it, in a process of its own
(`sandbox_child.py`) that the Linux kernel holds: see there for the limits. Before the first run the
sandbox tries to break out of itself; where a limit does not hold, or on a system without the means
(Windows, macOS), it refuses and says so, and nothing is run.

The verdict is taken out here: the child gets calls such as `factorial(5)` and sends back values;
it never learns which values are right, so code that ends early or prints "passed" gains nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchkit.errors import BenchkitError

CHILD = Path(__file__).with_name("sandbox_child.py")
MACHINES = ("x86_64", "aarch64")
MAX_CODE = 100_000  # characters


class SandboxError(BenchkitError):
    """Generated code was not run, because a limit that protects this machine cannot be enforced."""


@dataclass(frozen=True)
class SandboxResult:
    """What came of running some code: the verdict, why, what it printed, and how long it took.

    `answers` has one entry a test: {"value": …} or {"error": …}; fewer where the code ended early.
    """

    passed: bool
    reason: str
    output: str
    seconds: float
    answers: tuple[dict[str, Any], ...] = ()


def run_code(
    code: str,
    tests: Sequence[Mapping[str, Any]],
    *,
    time_s: float = 5.0,
    memory_mib: int = 256,
    output_kib: int = 256,
) -> SandboxResult:
    """Run code in the sandbox and compare what its functions return.

    Raises `SandboxError`, before anything is run, where a limit cannot be enforced.

    >>> run_code("def double(n):\\n    return 2 * n",
    ...          [{"call": "double(4)", "equals": 8}]).reason          # doctest: +SKIP
    '1 of 1 calls returned what they should'
    """
    if reason := why_refused():
        raise SandboxError(f"generated code was not run: {reason}")
    return _run(code, tests, time_s, memory_mib, output_kib)


def why_refused() -> str | None:
    """Why this system cannot run generated code safely, or None where it can (found out once)."""
    if not sys.platform.startswith("linux"):
        return f"the sandbox needs Linux (seccomp); this is {platform.system() or sys.platform}"
    if platform.machine() not in MACHINES:
        return f"the sandbox knows {' and '.join(MACHINES)}, this machine is {platform.machine()}"
    return _self_test()


# --- one run -----------------------------------------------------------------------------------------


def _run(code: str, tests, time_s: float, memory_mib: int, output_kib: int) -> SandboxResult:
    if len(code) > MAX_CODE:
        return SandboxResult(
            False, f"{len(code):,} characters of code; at most {MAX_CODE:,} are run", "", 0.0
        )
    job = {
        "code": code, "calls": [test["call"] for test in tests], "parent": os.getpid(),
        "cpu_s": math.ceil(time_s), "memory_bytes": memory_mib << 20, "output_bytes": output_kib << 10,
    }  # fmt: skip
    # Files take what the child says, not pipes: the kernel's limit on file size then caps it.
    with contextlib.ExitStack() as stack:
        printed, answers, refusal = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        started = time.perf_counter()
        status = _start_and_wait(job, printed, answers, refusal, time_s)
        seconds = time.perf_counter() - started
        output, said, refused = (_text(file, output_kib) for file in (printed, answers, refusal))
    if refused:
        raise SandboxError(f"generated code was not run: {refused}")
    loaded, returned = _parse(said)
    passed, reason = _verdict(tests, loaded, returned, _ending(status, time_s))
    if not passed and len(output) >= output_kib << 10:
        reason = f"it printed more than {output_kib} KiB, which is all it may write"
    return SandboxResult(passed, reason, output, seconds, tuple(returned))


def _start_and_wait(job: dict, printed, answers, refusal, time_s: float) -> int | None:
    """Start the child and wait; its exit status, or None where it had to be killed for its time."""
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(CHILD)]
    fds = {"answers_fd": answers.fileno(), "refusal_fd": refusal.fileno()}
    with tempfile.TemporaryFile() as given:
        given.write(json.dumps({**job, **fds}).encode())
        given.seek(0)
        try:
            child = subprocess.Popen(
                command, stdin=given, stdout=printed, stderr=printed, pass_fds=fds.values(),
                cwd="/", env={}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SandboxError(f"generated code was not run: Python could not be started: {error}") from None
        try:
            return child.wait(time_s + 1.0)  # one second for Python to start
        except subprocess.TimeoutExpired:
            return None
        finally:
            child.kill()  # it has no children: starting a process is refused
            child.wait()


def _text(file, limit_kib: int) -> str:
    file.seek(0)
    return file.read(limit_kib << 10).decode("utf-8", "replace")


def _parse(said: str) -> tuple[dict | None, list[dict]]:
    """The child's lines: how loading the code went, then one answer a call. It may have written anything."""
    lines = []
    for line in said.split("\n"):
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(answer, dict):
            break
        lines.append(answer)
    return (lines[0] if lines else None), lines[1:]


def _ending(status: int | None, time_s: float) -> str:
    """How a run ended that gave too few answers, in words."""
    if status is None or status in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"it was stopped after its {time_s:g} s"
    if status < 0:
        return f"it crashed ({signal.Signals(-status).name})"
    return f"it ended itself with exit status {status}"


def _verdict(tests, loaded: dict | None, returned: list[dict], ending: str) -> tuple[bool, str]:
    if loaded is None:
        return False, f"the code did not get as far as the first call: {ending}"
    if "error" in loaded:
        return False, f"the code itself failed: {loaded['error']}"
    for number, test in enumerate(tests):
        if number >= len(returned):
            return False, f"{test['call']} gave no answer: {ending}"
        answer = returned[number]
        if "value" not in answer:
            return False, f"{test['call']} failed: {str(answer.get('error'))[:300]}"
        if not same_value(answer["value"], test["equals"]):
            found, right = json.dumps(answer["value"])[:80], json.dumps(test["equals"])[:80]
            return False, f"{test['call']} returned {found}, expected {right}"
    return True, f"{len(tests)} of {len(tests)} calls returned what they should"


def same_value(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal: 3 equals 3.0, true is not 1, floats agree to nine digits.

    >>> same_value([3, {"x": 0.1 + 0.2}], [3.0, {"x": 0.3}]), same_value(True, 1)
    (True, False)
    """
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or (isinstance(a, float) or isinstance(b, float)) and _close(a, b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_value, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_value(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def _close(a: float, b: float) -> bool:
    try:
        return math.isclose(a, b, rel_tol=1e-9)
    except OverflowError:  # an integer too large for a float
        return False


# --- the self-test -----------------------------------------------------------------------------------

#: Ways out, each tried in the sandbox before it is trusted. All must answer "refused".
_WAYS_OUT = {
    "reading files": "tried(lambda: open('/dev/null'))",
    "writing files": "tried(lambda: open('/tmp/benchkit-sandbox-self-test', 'w'))",
    "listing folders": "tried(lambda: os.listdir('/'))",
    "starting processes": "tried(os.fork)",
    "starting programs": "tried(lambda: os.execv('/bin/true', ['true']))",
    "ending other processes": "tried(lambda: os.kill(-1, 0))",
    "memory": "tried(lambda: bytearray(1 << 30))",
    "network": "'refused' if ctypes.CDLL(None).socket(2, 1, 0) == -1 else 'allowed'",
    "raising its own limits": "tried(lambda: resource.setrlimit(resource.RLIMIT_CPU, (99, 99)))",
}

_TRIED = """
import ctypes, os, resource
def tried(action):
    try:
        action()
        return "allowed"
    except (OSError, MemoryError, ValueError):
        return "refused"
"""


@functools.cache
def _self_test() -> str | None:
    """Try to break out of the sandbox; None where every way was refused, otherwise what was not."""
    tests = [{"call": call, "equals": "refused"} for call in _WAYS_OUT.values()]
    try:
        result = _run(_TRIED, tests, 5.0, 256, 64)
    except SandboxError as error:
        return str(error).removeprefix("generated code was not run: ")
    if result.passed:
        return None
    for what, answer in zip(_WAYS_OUT, result.answers, strict=False):
        if answer.get("value") == "allowed":
            return f"this system does not enforce the limit on {what}"
    return f"the sandbox's self-test failed: {result.reason}. {result.output[-500:]}".strip()
