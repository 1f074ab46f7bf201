"""The sandbox against hostile code. What the code tries here is real: each attempt must come to nothing."""

import os
import re
import socket
import subprocess
import sys
import time

import psutil
import pytest

from benchkit import sandbox
from benchkit.sandbox import SandboxError, run_code, same_value

needs_sandbox = pytest.mark.skipif(
    sandbox.why_refused() is not None, reason=f"no sandbox: {sandbox.why_refused()}"
)

TESTS = [{"call": "f(5)", "equals": 120}, {"call": "f(0)", "equals": 1}]
FACTORIAL = "def f(n):\n    return 1 if n < 2 else n * f(n - 1)\n"


def run(code, tests=TESTS, **limits):
    return run_code(code, tests, **{"time_s": 1, **limits})


@needs_sandbox
def test_right_code_passes_and_wrong_code_says_where():
    result = run(FACTORIAL)
    assert result.passed and result.reason == "2 of 2 calls returned what they should"
    result = run("def f(n): return 120")
    assert not result.passed and result.reason == "f(0) returned 120, expected 1"


@needs_sandbox
@pytest.mark.parametrize(
    "code",
    ["import math\ndef f(n): return math.factorial(n)", "from functools import reduce\ndef f(n): return reduce(lambda a, b: a * b, range(1, n + 1), 1)",
     FACTORIAL + "print(f(3))", FACTORIAL + "if __name__ == '__main__':\n    print(f(int(input())))", "def f(n: int) -> float: return 120.0 if n else 1.0",
     "import re, json, random, decimal, collections.abc, statistics, dataclasses, typing, datetime, itertools, string, os\n" + FACTORIAL],
)  # fmt: skip
def test_ordinary_code_runs(code):
    result = run(code, time_s=5)
    assert result.passed, result


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("x = 1", "NameError"),
        ("def f(n): return {n}", "not JSON serializable"),
        ("def f(n): return f(n)", "RecursionError"),
        ("import numpy", "No module named 'numpy'"),
        ("input()", "EOFError"),
        ("", "NameError"),
        ("x = '\ud800'", "UnicodeEncodeError"),
        ("x = '\0'", "null bytes"),
        ("x" * 200_000, "200,000 characters"),
    ],
)
def test_broken_code_fails_with_its_own_error(code, reason):
    result = run(code)
    assert not result.passed and reason in result.reason


# --- no pass can be forged ---------------------------------------------------------------------------


@needs_sandbox
@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "import os\nos._exit(77)",
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "def f(n):\n    import os; os._exit(0)",
        "print('passed', '2 of 2 calls returned what they should')",
        'print(\'{"value": null}\\n{"value": 120}\\n{"value": 1}\')',
        "class Any:\n    def __eq__(self, other): return True\ndef f(n): return Any()",
        "class Any(int):\n    def __eq__(self, other): return True\ndef f(n): return Any(7)",
        "import json\njson.dumps = lambda value: '{\"value\": true}'",
        "import builtins\nbuiltins.eval = lambda *a: None",
        "import os\nfor fd in range(100):\n    try: os.write(fd, b'{\"value\": null}\\n' * 3)\n    except OSError: pass\nos._exit(0)",
        "import os\nfor fd in range(100):\n    try: os.close(fd)\n    except OSError: pass",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "import ctypes\nctypes.string_at(0)",
    ],
)
def test_code_that_ends_early_or_claims_success_does_not_pass(code):
    assert not run(code).passed


# --- limits ------------------------------------------------------------------------------------------


@needs_sandbox
@pytest.mark.parametrize(
    "code",
    ["while True: pass", "import time\ntime.sleep(100)", "def f(n):\n    while True: pass",
     "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    try:\n        while True: pass\n    except BaseException: pass"],
)  # fmt: skip
def test_endless_code_is_stopped(code):
    started = time.monotonic()
    result = run(code, time_s=0.5)
    assert not result.passed and "stopped after its 0.5 s" in result.reason
    assert time.monotonic() - started < 10


@needs_sandbox
@pytest.mark.parametrize(
    "code", ["x = bytearray(10**9)", "x = []\nwhile True: x.append('a' * 10**6)", "x = 'a' * 10**10"]
)
def test_a_memory_bomb_meets_its_limit(code):
    result = run(code, time_s=5)
    assert not result.passed and "MemoryError" in result.reason


@needs_sandbox
def test_huge_output_is_cut_and_said():
    result = run("while True: print('x' * 1000)", output_kib=16)
    assert not result.passed and len(result.output) <= 16 * 1024 and "more than 16 KiB" in result.reason


@needs_sandbox
def test_a_limit_cannot_be_raised_again():
    code = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))"
    assert any(word in run(code).reason for word in ("not permitted", "not allowed"))


# --- ways out ----------------------------------------------------------------------------------------

REFUSED = ("not permitted", "PermissionError", "No module named", "can't start new thread", "-1")


@needs_sandbox
@pytest.mark.parametrize(
    "action",
    [
        "open('/etc/passwd').read()",
        "open(os.path.expanduser('~/.bashrc')).read()",
        "open('/proc/self/environ').read()",
        "open('/dev/shm/x', 'w')",
        "open('here.txt', 'w')",
        "os.listdir('/')",
        "os.chmod('/tmp', 0)",
        "os.remove('/etc/hostname')",
        "os.mkdir('/tmp/benchkit-made')",
        "os.symlink('/etc', '/tmp/benchkit-link')",
        "os.fork()",
        "if os.system('id'): raise PermissionError",
        "os.popen('id').read()",
        "os.execv(sys.executable, ['python'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "__import__('subprocess').run(['id'])",
        "__import__('threading').Thread(target=print).start()",
        "__import__('socket').create_connection(('127.0.0.1', 1))",
        "__import__('urllib.request').request.urlopen('http://127.0.0.1')",
        "os.kill(PARENT, 9)",
        "os.kill(-1, 9)",
        "os.setuid(0)",
        "libc(165, 0, 0, 0, 0)",
        "libc(41, 2, 1, 0)",
        "libc(101, 16, PARENT, 0, 0)",
        "libc(425, 8, 0)",
        "libc(319, b'x', 0)",
    ],
)
def test_no_way_out(action, tmp_path):
    code = f"""
import ctypes, os, sys
PARENT = {os.getpid()}
def libc(*call):
    if ctypes.CDLL(None).syscall(*call) == -1:
        raise PermissionError("not permitted")
def f(n):
    {action}
    return "got out"
"""
    if "libc(" in action and os.uname().machine != "x86_64":
        pytest.skip("these system calls are numbered for x86_64")
    result = run(code, [{"call": "f(1)", "equals": "got out"}])
    assert not result.passed and any(word in result.reason for word in REFUSED), result


@needs_sandbox
def test_no_connection_reaches_a_listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        run(f"import ctypes\nimport _socket\n_socket.socket().connect(('127.0.0.1', {port}))")
        with pytest.raises(TimeoutError):
            server.accept()


@needs_sandbox
def test_a_fork_bomb_leaves_no_process():
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    result = run("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", time_s=0.5)
    assert not result.passed
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before


@needs_sandbox
def test_nothing_of_the_environment_is_seen(monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    result = run("import os\ndef f(n): return sorted(os.environ)", [{"call": "f(0)", "equals": []}])
    assert "secret" not in str(result) and "API_TOKEN" not in str(result)


@needs_sandbox
def test_the_child_dies_with_its_parent(tmp_path):
    code = """from benchkit import sandbox
assert not sandbox.why_refused()
print("the self-test is over", flush=True)
sandbox.run_code("import time; time.sleep(60)", [], time_s=60)"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=sandbox.CHILD.parent.parent, stdout=subprocess.PIPE
    )
    parent.stdout.readline()
    children, deadline = [], time.monotonic() + 20
    while not children and time.monotonic() < deadline:
        time.sleep(0.05)
        children = psutil.Process(parent.pid).children()
    assert children
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@needs_sandbox
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)
def test_it_works_for_an_ordinary_user_too():
    code = f"import os; os.setgid(65534); os.setuid(65534)\nfrom benchkit import sandbox; print(sandbox.run_code({FACTORIAL!r}, {TESTS!r}))"
    env = {**os.environ, "PYTHONPATH": str(sandbox.CHILD.parent.parent), "HOME": "/"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    if "Permission denied" in done.stderr or "No module named" in done.stderr:
        pytest.skip("this Python is not readable for other users")
    assert "passed=True" in done.stdout, done.stderr


# --- where it cannot be enforced ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "riscv64")]
)
def test_a_system_without_the_means_is_refused(monkeypatch, system, machine):
    monkeypatch.setattr(sandbox.sys, "platform", system)
    monkeypatch.setattr(sandbox.platform, "machine", lambda: machine)
    with pytest.raises(SandboxError, match="was not run"):
        run(FACTORIAL)


@needs_sandbox
@pytest.mark.parametrize("call", ["socket", "openat", "clone"])
def test_a_filter_with_a_hole_is_found_by_the_self_test(monkeypatch, tmp_path, call):
    """The self-test must notice when one kind of call got through, or it tests nothing."""
    numbers = {"socket": (41, 198), "openat": (257, 56), "clone": (56, 220)}[call]
    if os.uname().machine != "x86_64":
        pytest.skip("these system calls are numbered for x86_64")
    leaky = tmp_path / "child.py"
    text = sandbox.CHILD.read_text(encoding="utf-8")
    leaky.write_text(
        text.replace('"read": (0, 63)', f'"read": (0, 63), "{call}": {numbers}'), encoding="utf-8"
    )
    monkeypatch.setattr(sandbox, "CHILD", leaky)
    monkeypatch.setattr(sandbox, "_self_test", sandbox._self_test.__wrapped__)
    assert "does not enforce" in sandbox.why_refused()


@needs_sandbox
@pytest.mark.parametrize("step", ["die_with_parent", "set_limits", "close_the_door"])
def test_a_limit_that_cannot_be_set_refuses_before_anything_runs(monkeypatch, tmp_path, step):
    child = tmp_path / "child.py"
    text = sandbox.CHILD.read_text(encoding="utf-8")
    text, n = re.subn(rf"(def {step}\(.*\n)", r"\1    raise OSError('refused by this system')\n", text)
    assert n == 1
    child.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sandbox, "CHILD", child)
    with pytest.raises(SandboxError, match="refused by this system"):
        sandbox._run("print('ran')", [], 1, 256, 64)


def test_values_are_compared_as_json():
    assert (
        same_value(3, 3.0) and same_value([1, {"a": None}], [1, {"a": None}]) and same_value(0.1 + 0.2, 0.3)
    )
    assert (
        not same_value(True, 1)
        and not same_value("1", 1)
        and not same_value([1], [1, 1])
        and not same_value({}, [])
    )
    assert not same_value(10**400, 1.5) and not same_value(float("nan"), float("nan"))
