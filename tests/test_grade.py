"""The grader against a class of the worst students: nobody forges a verdict, and nobody loses an intact answer.

What the answers try here is real; each attempt must come to nothing, or cost its own points only.
"""

import csv
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import tiny_exercise

from benchkit import cli, confine, course, examine, grade, grade_page, parcel
from benchkit.errors import BenchkitError
from benchkit.rooms import Ended, Rooms

pytestmark = pytest.mark.real

linux = pytest.mark.skipif(bool(confine.missing()), reason=f"this system cannot keep an answer from: {confine.missing()}")
REST = 5  # points of the three other answers

#: An answer to `double` that tries something; right for what can be seen, so that a forged verdict would show.
TRIES = {
    "leaves in its cell": "import os\nos._exit(0)",
    "exits in its cell": "import sys\nsys.exit()",
    "leaves when called": "def double(x):\n    import os\n    os._exit(0)",
    "exits when called": "def double(x):\n    raise SystemExit(0)",
    "crashes": "def double(x):\n    import ctypes\n    ctypes.string_at(0)",
    "never ends in its cell": "while True:\n    pass",
    "never ends when called": "def double(x):\n    while True:\n        pass",
    "never ends and lets nothing through": "def double(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    "sleeps and ignores signals": "import signal, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except Exception: pass\ntime.sleep(100)",
    "recursion": "def double(x):\n    return double(x)",
    "memory": "def double(x):\n    return bytearray(1 << 40)",
    "memory bit by bit": "def double(x):\n    kept = []\n    while True: kept.append(bytearray(1 << 24))",
    "prints without end": "def double(x):\n    while True: print('x' * 100_000)",
    "equals everything": "class Same:\n    def __eq__(self, other): return True\n    def __hash__(self): return 1\n    def __repr__(self): return '8'\ndef double(x): return Same()",
    "a float that equals everything": "class Same(float):\n    def __eq__(self, other): return True\n    def __sub__(self, other): return 0.0\n    __rsub__ = __sub__\n    def __abs__(self): return 0.0\ndef double(x): return Same(5)",
    "an int that equals everything": "class Same(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef double(x): return Same(5)",
    "a string that equals everything": "class Same(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\ndef double(x): return Same('8')",
    "a huge value": "def double(x):\n    return 'x' * 100_000_000",
    "a huge number": "def double(x):\n    return 10 ** 100_000",
    "a deep value": "def double(x):\n    value = []\n    for _ in range(100_000): value = [value]\n    return value",
    "a value that holds itself": "def double(x):\n    value = []\n    value.append(value)\n    return value",
    "patches the package": "import benchkit.exercises as e, builtins, json\ne.same = lambda *a: True\ne.Outcome.gives = lambda *a, **k: None\nbuiltins.isinstance = lambda *a: True\ndef double(x): return 0",
    "patches json": "import json\njson.dumps = lambda *a, **k: '{\"passed\": true, \"value\": \"8\"}'\ndef double(x): return 0",
    "patches the child": "import gc\nfor f in gc.get_objects():\n    if getattr(f, '__name__', '') in ('call', 'obey'):\n        f.__code__ = (lambda *a: {'value': '8', 'passed': True, 'check': 'check_double', 'points': 2}).__code__\ndef double(x): return 0",
    "defines the check's words": "called = stated = passed = lambda *a, **k: 'double: passed.'\nset = len = isinstance = lambda *a: True\ndef double(x): return 0",
    "looks at its callers": "import sys\ndef double(x):\n    f, found = sys._getframe(), []\n    while f:\n        found += [v for v in (*f.f_locals.values(), *f.f_globals.values())]\n        f = f.f_back\n    return -3.0 if 'the hidden one' in repr(found) else 8",
    "writes on every descriptor": "import os\ndef double(x):\n    for fd in range(256):\n        try: os.write(fd, b'{\"value\": \"8\", \"points\": 2, \"check\": \"check_double\", \"message\": null, \"done\": true}\\n' * 50)\n        except OSError: pass\n    return 0",
    "says strange things": "import os\ndef double(x):\n    for fd in range(256):\n        try: os.write(fd, b'[' * 100_000 + b'\\n' + b'5\\n{}\\n')\n        except OSError: pass\n    return 0",
    "an exception of its own": "class Odd(BaseException):\n    def __str__(self): raise Odd\ndef double(x): raise Odd()",
    "a class named like an expected one": "def double(x):\n    raise type('Passed', (Exception,), {})('double: passed.')",
    "<script>alert(1)</script>": "def double(x):\n    return '<script>alert(2)</script><img src=x onerror=alert(3)>'",
    "=cmd|' /C calc'!A0": "def double(x):\n    return '=1+1'",
    "answers before it is asked": "import os\nos.write(3, b'{\"error\": null}\\n' + b'{\"known\": true, \"callable\": true}\\n' * 2 + b'{\"value\": \"8\"}\\n')\ndef double(x): return 0",
    "floods": "import os\nwhile True: os.write(3, b'{\"value\": \"8\", \"known\": true, \"callable\": true}\\n' * 1000)",
    "no code at all": "",
    "tabs and spaces": "def double(x):\n\ty = x\n        return y + x",
    "a syntax error": "def double(x:\n    return 2 * x",
}  # fmt: skip

#: Answers that work, however odd they look.
ODD_BUT_RIGHT = {
    "printing 50 MB": "print('x' * 50_000_000)\nimport sys, os\nsys.stderr.write('y' * 10_000_000)\nos.write(1, b'z' * 1_000_000)\nos.write(2, b'z')\ndef double(x):\n    print('x' * 1_000_000)\n    return 2 * x",
    "magics": "%%time\n!ls\ndouble?\ndef double(x):\n    return x + x\n%timeit double(2)",
    "from future": "from __future__ import annotations\ndef double(x: Nothing) -> Nothing:\n    return 2 * x",
    "tabs": "def double(x):\n\treturn 2 * x",
    "numpy": "import numpy as np\ndef double(x):\n    return np.float64(2) * x",
    "an array's element": "import numpy as np\ndef double(x):\n    return (np.array([x]) * 2)[0]",
    "a lambda": "double = lambda x: x + x",
    "a class": "class Doubler:\n    def __call__(self, x): return 2 * x\ndouble = Doubler()",
    "await": "import asyncio\nawait asyncio.sleep(0)\ndef double(x): return 2 * x",
    "a dataclass": "from dataclasses import dataclass\n@dataclass\nclass Pair:\n    a: float\ndef double(x): return Pair(x).a * 2",
    "a file of its own": "open('notes.txt', 'w').write('2')\ndef double(x): return int(open('notes.txt').read()) * x",
    "a thread": "import threading\ndef double(x):\n    found = []\n    t = threading.Thread(target=lambda: found.append(2 * x)); t.start(); t.join()\n    return found[0]",
    "many threads": "from concurrent.futures import ThreadPoolExecutor\nimport time\ndef double(x):\n    with ThreadPoolExecutor(64) as pool:\n        return sum(pool.map(lambda n: time.sleep(0.01) or x / 32, range(64)))",
    "display": "display('hello')\ndef double(x): return 2 * x",
    "name with spaces and ümläute 東京": tiny_exercise.RIGHT["double"],
    "-minus": tiny_exercise.RIGHT["double"],
}  # fmt: skip


def write(folder, name, notebook):
    path = folder / f"{name.replace('/', '∕')}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_exercise.write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def blank(source):
    return tiny_exercise.blank(source.parent)


def graded(folder, source, **settings):
    rows = grade.grade(folder, folder.parent / "out", exercise=str(source), **{"limit_s": 1, "jobs": 2, **settings})
    return {row.student: row for row in rows}


@pytest.fixture(scope="module")
def school(tmp_path_factory, source, blank):
    """Everyone graded at once: whoever harms a neighbour is found out."""
    folder = tmp_path_factory.mktemp("school") / "submissions"
    folder.mkdir()
    for name, code in {**TRIES, **ODD_BUT_RIGHT}.items():
        write(folder, name, tiny_exercise.notebook(blank, double=code))
    write(folder, "right", tiny_exercise.notebook(blank))
    write(folder, "blank", blank)
    write(folder, "dependent", tiny_exercise.notebook(blank, quadruple="def quadruple(x):\n    return double(double(x))"))
    return folder


@pytest.fixture(scope="module")
def rows(school, source):
    return graded(school, source)


def points(row):
    return {name: check["points"] for name, check in row.checks.items()}


def key(name):
    return name.replace("/", "∕")


@pytest.mark.parametrize("name", TRIES)
def test_nothing_that_an_answer_does_earns_its_points_or_costs_those_of_others(rows, name):
    row = rows[key(name)]
    assert points(row) == {**tiny_exercise.POINTS, "check_double": 0}, row
    assert row.points == REST and row.of == 7
    assert row.checks["check_double"]["message"]


@pytest.mark.parametrize("name", [*ODD_BUT_RIGHT, "right", "dependent"])
def test_right_answers_count_however_odd(rows, name):
    assert points(rows[name]) == tiny_exercise.POINTS, rows[name]


def test_a_blank_notebook_gets_nothing_and_is_told_so(rows):
    assert rows["blank"].points == 0
    assert "double is not written yet" in rows["blank"].checks["check_double"]["message"]


def test_messages_are_those_of_the_lone_student(rows):
    told = {name: rows[key(name)].checks["check_double"]["message"] for name in TRIES}
    assert told["never ends when called"] == "double did not come to its end within 1 s. Is there a loop that never ends?"
    assert told["never ends in its cell"].startswith("The cell of double did not come to its end within 1 s")
    assert told["equals everything"].startswith("double(4) returned 8, expected 8: 2 · 4.")
    assert told["a float that equals everything"].startswith("double(4) returned 5.0, expected 8")
    assert "too large" in told["a huge value"] and "too large or nested" in told["a deep value"]
    assert told["recursion"].startswith("double(4) raised RecursionError")
    assert told["memory"].startswith("double(4) raised MemoryError")
    assert told["leaves when called"].startswith("double gave no answer")
    assert rows["a syntax error"].checks["check_double"]["note"].startswith("its cell stopped with SyntaxError")


def test_hints_reach_the_student(tmp_path, source, blank):
    folder = tmp_path / "submissions"
    folder.mkdir()
    write(folder, "sam", tiny_exercise.notebook(blank, double="def double(x): return x * x"))
    message = graded(folder, source)["sam"].checks["check_double"]["message"]
    assert message == "double(4) returned 16, expected 8: 2 · 4.\nHint: you squared it"


def test_no_process_is_left(rows):
    names = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline", "ppid"])
             if process.info["ppid"] == os.getpid()]  # fmt: skip
    assert not [name for name in names if "benchkit.examine" in name or "benchkit.grade_child" in name]


def test_no_temporary_folder_is_left(tmp_path, source, blank, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    folder = tmp_path / "submissions"
    folder.mkdir()
    litter = "import os\nfor n in range(50):\n    os.makedirs(f'a/{n}'); open(f'a/{n}/b', 'w').write('x')\n"
    write(folder, "litterer", tiny_exercise.notebook(blank, double=litter + tiny_exercise.RIGHT["double"]))
    assert graded(folder, source)["litterer"].points == 7
    assert list((tmp_path / "temporary").iterdir()) == []


# ---- what an answer must not be able to do ---------------------------------------------------------

TRIED = """
import os, socket, subprocess, ctypes, sys, signal, resource, pathlib, glob
def tried(action):
    try:
        action()
        return "allowed"
    except (OSError, MemoryError, ValueError, RuntimeError) as error:
        return "refused"
def libc(name, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) == -1:
        raise OSError(ctypes.get_errno())
"""

#: Each must be refused; the paths are filled in.
WAYS = {
    "fork": "os.fork()",
    "vfork": "libc('vfork')",
    "a program": "subprocess.run(['true'])",
    "exec": "os.execv('/bin/true', ['true'])",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {{}})",
    "signals to everyone": "os.kill(-1, 0)",
    "signals to its group": "os.killpg(0, 0)",
    "signals to its maker": "os.kill(os.getppid(), 0)",
    "the source": "open({source!r})",
    "private checks": "open({hidden!r})",
    "another student's notebook": "open({other!r})",
    "its own notebook": "open({own!r}, 'a')",
    "results": "open({out!r} + '/x.json', 'w')",
    "the names of results": "os.listdir({out!r})",
    "the course's sources": "os.listdir({lessons!r})",
    "the repository's history": "os.listdir({git!r})",
    "the package": "open({package!r}, 'a')",
    "removing a notebook": "os.unlink({own!r})",
    "moving a notebook": "os.rename({own!r}, {own!r} + 'x')",
    "its mode": "os.chmod({own!r}, 0)",
    "its time": "os.utime({own!r}, (0, 0))",
    "a link out": "os.symlink({source!r}, 'link')",
    "a hard link": "os.link({source!r}, 'hard')",
    "its maker's memory": "open('/proc/%d/mem' % os.getppid(), 'rb')",
    "its own memory": "open('/proc/self/mem', 'rb')",
    "its maker's command": "open('/proc/%d/cmdline' % os.getppid())",
    "processes": "os.listdir('/proc')",
    "temporary files of others": "os.listdir('/tmp')",
    "passwords": "open('/etc/shadow')",
    "home": "os.listdir({home!r})",
    "ptrace": "libc('ptrace', 16, os.getppid(), 0, 0)",
    "Unix sockets": "socket.socket(socket.AF_UNIX)",
    "netlink": "socket.socket(16, socket.SOCK_RAW, 0)",
    "raw sockets": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "raw sockets by packet": "socket.socket(17, socket.SOCK_RAW, 0)",
    "higher limits": "resource.setrlimit(resource.RLIMIT_CPU, (999, 999))",
    "limits of others": "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "priority": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "a new session": "os.setsid()",
    "namespaces": "libc('unshare', 0x10000000)",
    "staying when the maker dies": "libc('prctl', 1, 0, 0, 0, 0)",
    "memory that nobody counts": "os.memfd_create('x')",
    "shared memory": "open('/dev/shm/benchkit-test', 'w')",
    "the terminal": "open('/dev/tty')",
    "the hidden arguments' memory": "libc('process_vm_readv', os.getppid(), 0, 0, 0, 0, 0)",
}


@linux
def test_every_way_out_is_closed(tmp_path, source, blank):
    folder, hidden = tmp_path / "submissions", tmp_path / "hidden"
    folder.mkdir()
    hidden.mkdir()
    (hidden / source.name).write_text(
        f"# %% nbgrader={tiny_exercise.CHECK.format('double', 2)}\n"
        'ways = {name: way for name, way in stated("ways").value.items()}\n'
        'raise Miss(repr([name for name, found in ways.items() if found != "refused"]))\npassed("double")\n',
        encoding="utf-8",
    )
    paths = {
        "source": str(source), "hidden": str(hidden / source.name), "other": str(folder / "other.ipynb"),
        "own": str(folder / "own.ipynb"), "out": str(tmp_path / "out"), "lessons": str(course.SOURCES),
        "git": str(course.SOURCES.parent.parent / ".git"), "package": course.__file__, "home": str(Path.home()),
    }  # fmt: skip
    ways = ",\n".join(f"{name!r}: tried(lambda: {way.format(**paths)})" for name, way in WAYS.items())
    code = f"{TRIED}\nways = {{{ways}}}\n{tiny_exercise.RIGHT['double']}"
    write(folder, "own", tiny_exercise.notebook(blank, double=code))
    write(folder, "other", tiny_exercise.notebook(blank))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    source_text = source.read_text()
    source.write_text(source_text.replace("import called", "import Miss, called"))
    try:
        row = graded(folder, source, hidden=hidden, limit_s=10)["own"]
    finally:
        source.write_text(source_text)
    assert row.checks["check_double"]["message"] == "[]"
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


@linux
def test_a_fork_bomb_and_a_daemon_come_to_nothing(tmp_path, source, blank):
    folder = tmp_path / "submissions"
    folder.mkdir()
    bomb = "import os\nfor _ in range(50):\n    try:\n        if os.fork() == 0: os.setsid()\n    except OSError: pass\n"
    threads = "import threading, time\ntry:\n    while True: threading.Thread(target=time.sleep, args=(60,)).start()\nexcept RuntimeError: pass\n"
    write(folder, "bomb", tiny_exercise.notebook(blank, double=bomb + tiny_exercise.RIGHT["double"]))
    write(folder, "threads", tiny_exercise.notebook(blank, double=threads))
    n_before = len(psutil.pids())
    rows = graded(folder, source)
    assert rows["bomb"].points == 7 and rows["threads"].points == REST
    assert len(psutil.pids()) < n_before + 40


def test_an_answer_cannot_spoil_a_later_one_that_stands_for_itself(tmp_path, source, blank):
    folder = tmp_path / "submissions"
    folder.mkdir()
    spoil = (
        "import threading, os, builtins, time\nthreading.Timer(0.05, lambda: os._exit(0)).start()\n"
        "builtins.sum = builtins.max = lambda *a: 0\ndef double(x): return 0"
    )
    write(folder, "spoiler", tiny_exercise.notebook(blank, double=spoil))
    assert graded(folder, source)["spoiler"].points == REST


@linux
def test_a_room_opens_again_after_its_maker_was_killed():
    with Rooms() as rooms:
        for _ in range(2):
            with rooms.open(5) as room:
                assert room.ask({"run": ["x = 5"]}) == {"error": None}
            psutil.Process(rooms._maker.pid).kill()
        with rooms.open(5) as room:
            assert room.ask({"name": "x"}) == {"known": False}


def test_rooms_without_fork_answer_alike():
    """What Windows and macOS have: a fresh Python for each room."""
    with Rooms(["statistics"]) as rooms:
        rooms._forks = False
        with rooms.open(5) as room:
            code = "def double(x):\n    import os\n    os._exit(3) if x == 0 else None\n    return 2 * x"
            assert room.ask({"run": [code]}) == {"error": None}
            double = examine.Answers(room)["double"]
            assert double(4) == 8
            with pytest.raises(Ended):
                double(0)
        with rooms.open(5) as room:
            room.left_s = 0.5
            with pytest.raises(Ended, match="time"):
                room.ask({"run": ["while True: pass"]})


# ---- folders, files, names -------------------------------------------------------------------------


def test_every_kind_of_folder_is_understood(tmp_path, source, blank):
    folder, right = tmp_path / "submissions", tiny_exercise.notebook(blank)
    for place in ("anna.ipynb", "ben/ex91_tiny.ipynb", "A/carl/ex91_tiny.ipynb", "B/carl/ex91_tiny.ipynb", "B/dora.ipynb",
                  "emil/ex91_tiny/ex91_tiny.ipynb", "fritz/ex91_tiny (1).ipynb", "ex91_tiny_gita.ipynb", "hans/EX91.ipynb"):  # fmt: skip
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(json.dumps(right))
    (folder / "ida").mkdir()
    (folder / "ida" / "thesis.docx").write_bytes(b"PK")
    (folder / "ben" / ".ipynb_checkpoints").mkdir()
    (folder / "ben" / ".ipynb_checkpoints" / "ex91_tiny-checkpoint.ipynb").write_text("{}")
    rows = graded(folder, source)
    assert {name: row.points for name, row in rows.items()} == {
        "anna": 7, "ben": 7, "A/carl": 7, "B/carl": 7, "B/dora": 7, "emil": 7, "fritz": 7, "gita": 7, "hans": 7, "ida": 0}  # fmt: skip
    assert rows["ida"].notes == ("nothing was handed in",)


def test_nbgraders_folder_is_understood(tmp_path, source, blank):
    for student, notebook in (("anna", tiny_exercise.notebook(blank)), ("ben", blank)):
        place = tmp_path / "course" / "submitted" / student / "ex91_tiny"
        place.mkdir(parents=True)
        (place / "ex91_tiny.ipynb").write_text(json.dumps(notebook))
    assert {name: row.points for name, row in graded(tmp_path / "course", source).items()} == {"anna": 7, "ben": 0}


def test_files_that_are_no_notebooks_get_a_row_that_says_why(tmp_path, source, blank):
    folder = tmp_path / "submissions"
    folder.mkdir()
    text = json.dumps(tiny_exercise.notebook(blank), indent=1)
    files = {"empty": b"", "nothing": b"null", "list": b"[1, 2]", "no cells": b'{"cells": []}', "binary": bytes(range(256)),
             "cut": text[: text.index("def summary")].encode(), "utf16": text.encode("utf-16")}  # fmt: skip
    for name, data in files.items():
        (folder / f"{name}.ipynb").write_bytes(data)
    (folder / "a folder.ipynb").mkdir()
    (folder / "secret.txt").write_text(text)
    (folder / "link.ipynb").symlink_to(folder / "utf16.ipynb")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.ipynb")
    rows = graded(folder, source)
    assert {name: row.points for name, row in rows.items() if row.points} == {"cut": 4, "utf16": 7}
    assert len(rows) == len(files) + 1 + hasattr(os, "mkfifo") + 1  # and the empty folder's
    for name in ("empty", "nothing", "list", "no cells", "binary", "cut", "link"):
        assert rows[name].notes, name
    assert "a link, not a file" in rows["link"].notes[0]


def test_a_notebook_with_100_mb_of_output_is_graded(tmp_path, source, blank):
    folder, large = tmp_path / "submissions", tiny_exercise.notebook(blank)
    folder.mkdir()
    large["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["x" * 99 + "\n"] * 1_000_000}]
    write(folder, "large", large)
    assert graded(folder, source, limit_s=5)["large"].points == 7


def test_several_files_of_a_student_count_together(tmp_path, source, blank):
    folder = tmp_path / "submissions" / "anna"
    folder.mkdir(parents=True)
    for name, answers in (("ex91_tiny", {"best": "best = 1"}), ("ex91_tiny (1)", {"double": "def double(x): return 0"})):
        (folder / f"{name}.ipynb").write_text(json.dumps(tiny_exercise.notebook(blank, **answers)))
    assert graded(folder.parent, source)["anna"].points == 7


def test_changed_checks_and_forged_metadata_do_not_count(tmp_path, source, blank):
    folder, forged = tmp_path / "submissions", tiny_exercise.notebook(blank, double="def double(x): return 0")
    folder.mkdir()
    for cell in forged["cells"]:
        if cell["id"].startswith("check_"):
            cell["source"], cell["metadata"]["nbgrader"]["points"] = ['passed("double")'], 100
    write(folder, "forger", forged)
    assert graded(folder, source)["forger"].points == REST


def test_helpers_beside_the_answers_are_there_when_they_are_needed(tmp_path, source, blank):
    folder, notebook = tmp_path / "submissions", tiny_exercise.notebook(blank, double="def double(x): return helper(x)")
    folder.mkdir()
    helper = {"cell_type": "code", "id": "own", "metadata": {}, "outputs": [], "execution_count": 1,
              "source": "1 / 0\ndef helper(x):\n    return 2 * x"}  # fmt: skip
    loop = {**helper, "id": "loop", "source": "while True:\n    pass"}
    write(folder, "before", {**notebook, "cells": [loop, helper, *notebook["cells"]]})
    write(folder, "after", {**notebook, "cells": [*notebook["cells"], helper, loop]})
    rows = graded(folder, source)
    assert rows["before"].points == rows["after"].points == 7


# ---- going on, private checks, what is written -----------------------------------------------------


def test_what_is_known_is_not_graded_again(tmp_path, source, blank, monkeypatch):
    folder = tmp_path / "submissions"
    folder.mkdir()
    write(folder, "anna", tiny_exercise.notebook(blank))
    write(folder, "ben", blank)
    first, asked = graded(folder, source), []
    real = grade._grade_one
    monkeypatch.setattr(grade, "_grade_one", lambda *given: asked.append(given[1].student) or real(*given))
    assert graded(folder, source) == first and asked == []
    write(folder, "ben", tiny_exercise.notebook(blank))
    assert graded(folder, source)["ben"].points == 7 and asked == ["ben"]
    graded(folder, source, limit_s=2)
    assert sorted(asked) == ["anna", "ben", "ben"]
    for path in (tmp_path / "out").glob("*.json"):
        path.write_text("{broken")
    assert graded(folder, source, limit_s=2)["anna"].points == 7


def test_private_checks_take_the_place_of_the_hidden_ones(tmp_path, source, blank):
    folder, hidden = tmp_path / "submissions", tmp_path / "hidden"
    folder.mkdir()
    hidden.mkdir()
    write(folder, "fits", tiny_exercise.notebook(blank, double="def double(x): return {4: 8, -1.5: -3.0}[x]"))
    write(folder, "right", tiny_exercise.notebook(blank))
    assert graded(folder, source)["fits"].points == 7
    private = f"# %% nbgrader={tiny_exercise.CHECK.format('double', 2)}\n" + 'called("double", 7).gives(14)\npassed("double")\n'
    (hidden / source.name).write_text(private)
    rows = graded(folder, source, hidden=hidden)
    assert rows["right"].points == 7 and rows["fits"].points == REST
    for wrong, said in ((private.replace("check_double", "check_dubble"), "check_dubble"), (private.replace("passed(", "print("), "must end with"),
                        ("# %%\n1\n", "no check cell")):  # fmt: skip
        (hidden / source.name).write_text(wrong)
        with pytest.raises(BenchkitError, match=said):
            graded(folder, source, hidden=hidden)


@linux
def test_a_private_folder_that_answers_could_read_is_refused(tmp_path, source, blank):
    folder = tmp_path / "submissions"
    folder.mkdir()
    write(folder, "anna", blank)
    with pytest.raises(BenchkitError, match="that answers must be able to read"):
        graded(folder, source, hidden=course.__file__.rpartition("/")[0])


def test_csv_is_defused_and_the_page_escapes_everything(rows, school, source, tmp_path):
    from benchkit.export import export

    everyone = list(rows.values())
    with open(export(grade.table(everyone), tmp_path / "grades.csv"), encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(everyone) == len(list(school.iterdir()))
    assert list(lines[0]) == ["student", "exercise", "points", "of", *tiny_exercise.POINTS, "notes"]
    assert not [cell for line in lines for cell in line.values() if cell.startswith(("=", "+", "-", "@"))]
    assert {line["points"] for line in lines} == {"0", "5", "7"}
    settings = {"exercise": str(source), "hidden": None, "limit_s": 1, "memory_mib": 1024}
    page = grade_page.write_page(everyone, settings, tmp_path / "grades.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;alert(1)" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "you squared" not in page and "double(4) returned" in page


def test_the_command_line(tmp_path, source, blank, capsys):
    folder = tmp_path / "submissions"
    folder.mkdir()
    write(folder, "anna", tiny_exercise.notebook(blank))
    words = ["grade", str(folder), "--exercise", str(source), "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "1 student, mean 7.0 of 7 points" in said and "grades.csv" in said and "grades.html" in said
    for wrong, code in ((["grade", str(tmp_path / "no")], 3), ([*words, "--limit-s", "0"], 3), ([*words, "--csv", "x.txt"], 2),
                        ([*words, "--memory-mib", "1"], 3), ([*words, "--jobs", "0"], 3), (["grade", str(folder), "--exercise", "ex77"], 3)):  # fmt: skip
        assert cli.main(wrong) == code


COMMAND = "import sys; from benchkit.cli import main; sys.exit(main())"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_and_goes_on(tmp_path, source, blank, sign):
    folder, out = tmp_path / "submissions", tmp_path / "out"
    folder.mkdir()
    for n in range(3):
        write(folder, f"a{n}", tiny_exercise.notebook(blank))
    write(folder, "b", tiny_exercise.notebook(blank, double="import time\ntime.sleep(600)"))
    words = ["grade", str(folder), "--exercise", str(source), "--out", str(out), "--limit-s", "300", "--jobs", "1"]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stderr=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: len(list(out.glob("ex91*.json"))) == 3)
    wait_for(lambda: len(psutil.Process(process.pid).children(recursive=True)) == 3)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(sign)
    said = process.stderr.read().decode()
    assert process.wait(30) == (130 if sign == signal.SIGINT else -signal.SIGKILL)
    assert sign != signal.SIGINT or "the same command again continues" in said
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    (folder / "b.ipynb").unlink()
    assert {row.points for row in graded(folder, source, limit_s=300).values()} == {7}


def wait_for(condition, patience_s=60):
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_desk_that_breaks_costs_one_check(tmp_path, source, blank):
    """A check that kills the grader's own process stands for every accident that nobody foresaw."""
    folder = tmp_path / "submissions"
    folder.mkdir()
    own = tmp_path / "ex92_broken.py"
    own.write_text(source.read_text().replace('stated("best").gives', 'import os\nos._exit(1) if stated("best").value == "x" else None\nstated("best").gives'))
    write(folder, "anna", tiny_exercise.notebook(blank, best="best = 'x'"))
    write(folder, "ben", tiny_exercise.notebook(blank))
    rows = graded(folder, own)
    assert rows["anna"].points == 6 and rows["ben"].points == 7
    assert "could not be carried out" in rows["anna"].checks["check_best"]["message"]
    assert [json.loads(path.read_text())["row"]["student"] for path in (tmp_path / "out").glob("ex92*.json")] == ["ben"]


@pytest.mark.slow
@pytest.mark.parametrize("source", course.sources(), ids=lambda path: path.stem)
def test_the_course_gets_the_same_verdicts_and_messages_as_the_lone_student(tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one of the mistakes is to write a file
    exercise, folder = course.read_exercise(source), tmp_path / "submissions"
    folder.mkdir()
    empty = json.loads(course.notebook_bytes(course.blank(exercise)))
    right = {name: cell.solution for name, cell in exercise.answers.items()}
    spec = importlib.util.spec_from_file_location(source.stem, Path(__file__).parent / "exercises" / source.name)
    data = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(data)
    wrong = [(name, code) for name, code, *_ in data.MISCONCEPTIONS]
    other = [(name, code) for name, codes in data.OTHER_SOLUTIONS.items() for code in codes]
    for n, (name, code) in enumerate([*wrong, *other]):
        answers = {**right, name: code}
        cells = [{**cell, "source": answers.get(cell["id"], cell["source"])} for cell in empty["cells"]]
        write(folder, f"s{n:02d}", {**empty, "cells": cells})
    write(folder, "blank", empty)
    rows = {row.student: row for row in grade.grade(folder, tmp_path / "out", exercise=source.stem, jobs=2)}
    assert rows["blank"].points == 0
    for n, (name, code) in enumerate([*wrong, *other]):
        found = rows[f"s{n:02d}"].checks[f"check_{name}"]["message"]
        alone = course.run_check(exercise, {**right, name: code}, f"check_{name}")
        assert without_times(found) == without_times(alone), code
        assert (found is None) == (n >= len(wrong)), code


def without_times(message):
    """A message without the value that came back: times, ports and the order of sets differ from run to run."""
    return message and re.sub(r"returned .*?, expected|\d+\.\d+|(?<=127\.0\.0\.1:)\d+", "…", message, flags=re.S)


# ---- values between processes ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, True, 5, -(2**80), 2.5, float("inf"), "é\ud800", b"\0\xff", [1, [2]], (1, ("a",)), {"a": {1: 2}},
                                   {(1, 2): [3]}, {1, 2}, frozenset("a"), 1 + 2j, [], {}, ()])  # fmt: skip
def test_plain_values_arrive_as_they_were(value):
    found = parcel.loads(parcel.dumps(value))
    assert found == value and type(found) is type(value)


def test_arrays_arrive_as_arrays():
    import numpy as np

    for array in (np.arange(6).reshape(2, 3), np.array([1.5, float("nan")]), np.array([True]), np.array(["a", "bc"]), np.zeros((2, 0))):
        found = parcel.loads(parcel.dumps(array))
        assert found.dtype == array.dtype and found.shape == array.shape
        np.testing.assert_array_equal(found, array)
    assert parcel.loads(parcel.dumps(np.float32(0.5))) == 0.5


@pytest.mark.parametrize("text", ["{", "[" * 10_000, '{"tuple": 5}', '{"no": 1}', '{"array": ["O", [1], [1]]}', '{"array": ["<f8", [9], [1]]}',
                                  '{"dict": [[[], 1]]}', '{"array": ["<U999999999", [1], ["a"]]}', '{"set": [' + "1, " * 20_000 + "1]}", '{"a": 1, "b": 2}', '{"array": ["<f8", [-1, -1], [1]]}', '{"bytes": 5}'])  # fmt: skip
def test_what_is_no_parcel_is_refused(text):
    with pytest.raises(ValueError):
        parcel.loads(text)


def test_other_exercises_in_a_students_folder_are_no_students(tmp_path):
    for name in ("ada/ex07_predict_speed.ipynb", "ada/practice.ipynb", "ada/ex02_speed/ex02_speed.ipynb", "bo/practice.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    only = {"ex07_predict_speed": course.read_exercise(course.find_exercise("ex07"))}
    found = {one.student: [path.name for path in one.files] for one in grade.find_submissions(tmp_path, only, True)}
    assert found == {"ada": ["ex07_predict_speed.ipynb"], "bo": []}


@pytest.mark.parametrize(("path", "student"), [("groupA/12345_ex02.ipynb", "groupA/12345"), ("week1/ex02_speed_67890.ipynb", "week1/67890"),
                                               ("sam/ex02_speed (1).ipynb", "sam"), ("sam/ex02 v3 final.ipynb", "sam")])  # fmt: skip
def test_a_number_may_be_a_student_and_a_counter_is_none(path, student):
    assert grade.student_of(Path(path), ["ex02_speed"]) == student


def test_the_nearest_name_says_which_exercise_it_is():
    only = {"ex02_speed": None}
    assert not grade._is_another(Path("sam/ex01_harness/ex02_speed.ipynb"), only)
    assert grade._is_another(Path("sam/ex02_speed/ex01_harness.ipynb"), only)


def test_folders_within_folders_are_removed_however_deep(tmp_path):
    from benchkit.rooms import remove

    here, top = os.getcwd(), tmp_path / "room"
    top.mkdir()
    try:
        os.chdir(top)
        for _ in range(1500):
            os.mkdir("d", 0o300)
            os.chdir("d")
    finally:
        os.chdir(here)
    remove(str(top))
    assert not top.exists()


@pytest.mark.parametrize("packed", ['{"array": ["<f8", [1000000000, 0], []]}', '{"array": ["<U0", [2], ["a", "b"]]}',
                                    '{"array": ["<f8", [-1, -1], [1.0]]}', '{"array": ["<f8", [true], [1.0]]}'])  # fmt: skip
def test_an_array_of_impossible_shape_is_no_value(packed):
    with pytest.raises(ValueError):
        parcel.loads(packed)
