"""The process in which a student's answers run, and the one that makes such processes.

It is started by `benchkit.examine` with nothing secret in it: no solution, no check, no right value. On Linux
it loads what answers usually import, and then forks one child after the other, each in milliseconds;
elsewhere it is one child itself. The child gives up its rights (`benchkit.confine`), runs what it is told to
run, and answers calls. What it says are values: whether they are right is found out elsewhere.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import importlib
import inspect
import json
import os
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

from benchkit import confine, parcel

USUAL = """array asyncio bisect collections copy csv dataclasses datetime decimal enum fractions functools heapq
http.client io itertools json math operator pathlib random re requests statistics string struct textwrap threading time
typing urllib.request numpy benchkit.exercises""".split()


def main() -> None:
    """`python -m benchkit.grade_child FD`: make children; `… PORT TOKEN`: be one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    del sys.path[0]  # the folder that it was started in
    if len(sys.argv) == 2:
        make_children(socket.socket(fileno=int(sys.argv[1])))
        return
    channel = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    channel.sendall(sys.argv[2].encode() + b"\n")
    rights = json.loads(channel.makefile("rb").readline())
    preload(rights["modules"])
    be_a_child(channel, rights)


# ---- making children -------------------------------------------------------------------------------


def make_children(control: socket.socket) -> None:
    """Fork a child for each message; it gets the socket that came with the message. One at a time."""
    confine.kernel.die_with_parent(os.getppid())
    preload(json.loads(control.recv(1 << 16)))
    gc.freeze()  # pages that nobody touches are never copied
    pid = None
    while True:
        data, fds, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if pid is not None:
            os.waitpid(pid, 0)  # only now its number may be used again: nobody will kill it any more
        if not data:
            return
        maker, pid = os.getpid(), os.fork()
        if pid == 0:
            _begin(fds[0], maker, json.loads(data))
        os.close(fds[0])
        control.sendall(b"%d" % pid)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        control.sendall(b"gone")


def preload(modules: list[str]) -> None:
    """Import what answers will import, once for all of them."""
    for name in [*USUAL, *modules]:
        try:
            importlib.import_module(name)
        except Exception:  # the answer that needs it will say so
            pass


def _begin(fd: int, maker: int, rights: dict[str, Any]) -> None:
    try:
        os.setsid()
        confine.kernel.die_with_parent(maker)
        kept = os.dup2(fd, 3)
        os.closerange(4, 1 << 16)
        be_a_child(socket.socket(fileno=kept), rights)
    finally:
        os._exit(0)


# ---- being one -------------------------------------------------------------------------------------


def be_a_child(channel: socket.socket, rights: dict[str, Any]) -> None:
    """Give up every right that is not needed, then do what the other side asks for."""
    folder = Path(rights["folder"])
    os.chdir(folder)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    sys.stdin, sys.stdout, sys.stderr = (
        open(fd, mode, closefd=False) for fd, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    try:
        confine.confine(folder, rights["cpu_s"], rights["memory_bytes"])
    except OSError as error:
        channel.sendall(json.dumps({"refused": str(error)}).encode() + b"\n")
        return
    names, said = _fresh_notebook(), channel.makefile("rb")
    channel.sendall(b"{}\n")  # ready
    for line in said:
        channel.sendall(json.dumps(obey(json.loads(line), names)).encode() + b"\n")


def _fresh_notebook() -> dict[str, Any]:
    """The names that a notebook has before its first cell."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    module.display = lambda *things, **settings: None
    return module.__dict__


def obey(wish: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """Do one thing: run a cell, say what a name is, or call a function."""
    if "run" in wish:
        errors = [error for part in wish["run"] if (error := run_part(part, names))]
        return {"error": errors[0] if errors else None}
    if "call" in wish:
        return call(names[wish["call"]], parcel.loads(wish["arguments"]), parcel.loads(wish["named"]))
    name = wish["name"]
    if name not in names:
        return {"known": False}
    return {"known": True, "callable": callable(names[name]), "value": parcel.dumps(names[name])}


def run_part(source: str, names: dict[str, Any]) -> str | None:
    """Run code as a cell does, `await` included; what it ended with, or None."""
    try:
        code = compile(source, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, names)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except BaseException as error:  # a notebook, too, goes on after whatever a cell ends with
        return _told(error)[1]
    return None


def call(function: Any, arguments: list, named: dict[str, Any]) -> dict[str, Any]:
    """Call the student's function: what it returned, or what it raised."""
    try:
        return {"value": parcel.dumps(function(*arguments, **named))}
    except BaseException as error:
        kinds, text = _told(error)
        return {"raised": kinds, "text": text.partition(": ")[2]}


def _told(error: BaseException) -> tuple[list[str], str]:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    try:
        text = str(error)[:500]
    except BaseException:  # an exception of the student's own whose text fails
        text = ""
    return kinds, f"{kinds[0]}: {text}"


if __name__ == "__main__":
    main()
