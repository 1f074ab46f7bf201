"""Rooms in which a student's answers run: a process of its own each, with a time limit on every word with it.

`Rooms` starts the process that makes such processes (`benchkit.grade_child`) once; a room then opens in
milliseconds. Where processes cannot be forked safely (Windows, macOS) each room is a fresh Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchkit import parcel, places
from benchkit.errors import BenchkitError

TIME = "time"  # why a room ended
PREFIX = "benchkit-grade-"  # of folders for temporary files
START_S = 30.0  # for a process to be there, on a busy machine
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")
FIXED_ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg",
    "MALLOC_ARENA_MAX": "2",  # otherwise each thread reserves 64 MiB that it does not use
}  # fmt: skip
MAX_LINE = 2 * parcel.MAX_BYTES


def remove(folder: str) -> None:
    """Remove a folder with all that an answer left in it, however deep: deep ones are first moved to the top."""
    todo, mark, n = [folder], secrets.token_hex(8), 0
    while todo:
        here = todo.pop()
        with contextlib.suppress(OSError):
            os.chmod(here, 0o700)
            with os.scandir(here) as entries:
                inner = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            for path in inner:
                os.chmod(path, 0o700)
                os.rename(path, to := os.path.join(folder, f"{mark}{n}"))
                todo.append(to)
                n += 1
    shutil.rmtree(folder, ignore_errors=True)


class Ended(BaseException):
    """The room is closed: the answer took too long, or ended its process. No check can catch it by accident."""


class Room:
    """One process with a student's code in it. `left_s` is the time that it still has."""

    def __init__(self, channel: socket.socket) -> None:
        self.left_s = START_S
        self._channel, self._read = channel, b""

    def ask(self, wish: dict[str, Any] | None) -> dict[str, Any]:
        """Send a wish and wait for its answer; raises `Ended` where none comes in time."""
        started = time.monotonic()
        try:
            if wish is not None:
                self._channel.settimeout(max(self.left_s, 0.001))
                self._channel.sendall(json.dumps(wish).encode() + b"\n")
            answer = json.loads(self._line(started + self.left_s))
        except TimeoutError:
            raise Ended(TIME) from None
        except (OSError, ValueError, RecursionError):
            raise Ended("it ended its own process or ran out of memory") from None
        finally:
            self.left_s -= time.monotonic() - started
        if not isinstance(answer, dict):
            raise Ended("it wrote where only its process may write")
        return answer

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._read:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._channel.recv(1 << 16)
            if not data or len(self._read) > MAX_LINE:
                raise OSError("the other side is gone, or says too much")
            self._read += data
        line, self._read = self._read.split(b"\n", 1)
        return line


def _make_ready(room: Room) -> None:
    try:
        refused = room.ask(None).get("refused")
    except Ended:
        refused = "it did not start"
    if refused:
        raise BenchkitError(
            f"No process for answers could be opened: {refused}. Nothing was graded without limits."
        )


class Rooms:
    """What opens rooms; a context manager, after which no process of it is left."""

    def __init__(self, modules: Sequence[str] = (), memory_mib: int = 1024, within: str | None = None) -> None:
        self._modules, self._memory_bytes = list(modules), memory_mib << 20
        self._forks = sys.platform.startswith("linux")
        self._folder = tempfile.mkdtemp(prefix=PREFIX, dir=within)
        self._maker = self._control = None

    def __enter__(self) -> Rooms:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop()
        remove(self._folder)

    @contextlib.contextmanager
    def open(self, cpu_s: int) -> Iterator[Room]:
        """A fresh room; when it closes, its process and its folder are gone."""
        folder = tempfile.mkdtemp(dir=self._folder)
        rights = {"folder": folder, "cpu_s": cpu_s, "memory_bytes": self._memory_bytes}
        try:
            with (self._forked if self._forks else self._spawned)(rights) as channel:
                room = Room(channel)
                _make_ready(room)
                yield room
        finally:
            remove(folder)

    # ---- forked, on Linux

    @contextlib.contextmanager
    def _forked(self, rights: dict[str, Any]) -> Iterator[socket.socket]:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                pid = self._child(rights, theirs)
            if pid is None:
                raise BenchkitError("No process could be started in which answers run: is memory short?")
            try:
                yield ours
            finally:
                self._kill(pid)

    def _child(self, rights: dict[str, Any], channel: socket.socket) -> int | None:
        """A child's number, asked for until a moment's shortage is over; None where it lasts."""
        for wait_s in (0, 0, 1, 3, 10):
            time.sleep(wait_s)
            if (pid := self._ask_for_child(rights, channel)) is not None:
                return pid
        return None

    def _ask_for_child(self, rights: dict[str, Any], channel: socket.socket) -> int | None:
        """A child's number; None where its maker is broken, which is then replaced."""
        try:
            socket.send_fds(self._control or self._start(), [json.dumps(rights).encode()], [channel.fileno()])
            return int(self._said())
        except (OSError, ValueError):
            self._stop()
            return None

    def _kill(self, pid: int) -> None:
        """End a child and all of its group; its number stays its own until the maker was told to go on."""
        for end in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(pid, signal.SIGKILL)
        try:
            gone = self._said() == b"gone"
        except OSError:
            gone = False
        if not gone:  # the maker itself is broken: the next room gets a new one
            self._stop()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps messages apart
        with theirs:
            command = [sys.executable, "-m", "benchkit.grade_child", str(theirs.fileno())]
            self._maker = subprocess.Popen(command, pass_fds=[theirs.fileno()], **self._bare())
        ours.settimeout(START_S)
        ours.sendall(json.dumps(self._modules).encode())
        self._control = ours
        return ours

    def _said(self) -> bytes:
        return self._control.recv(64)  # nothing where the maker is gone

    def _bare(self) -> dict[str, Any]:
        """No name, no password and no package of the teacher's environment."""
        kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        own = {"PYTHONPATH": str(places.ROOT), "PYTHONUSERBASE": site.getuserbase(), "HOME": self._folder,
               "MPLCONFIGDIR": self._folder}  # fmt: skip
        env = {**kept, **FIXED_ENVIRONMENT, **own}
        null = subprocess.DEVNULL
        return {"env": env, "cwd": self._folder, "stdin": null, "stdout": null, "stderr": null}

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._maker is not None:
            self._maker.kill()
            self._maker.wait()
        self._maker = self._control = None

    # ---- a fresh Python, elsewhere

    @contextlib.contextmanager
    def _spawned(self, rights: dict[str, Any]) -> Iterator[socket.socket]:
        token = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as door:
            command = [sys.executable, "-m", "benchkit.grade_child", str(door.getsockname()[1]), token]
            own_group = {"start_new_session": True} if os.name == "posix" else {}
            child = subprocess.Popen(command, **self._bare(), **own_group)
            try:
                with self._answered(door, token) as channel:
                    channel.sendall(json.dumps({**rights, "modules": self._modules}).encode() + b"\n")
                    yield channel
            finally:
                if os.name == "posix":
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(child.pid, signal.SIGKILL)
                child.kill()
                child.wait()

    def _answered(self, door: socket.socket, token: str) -> socket.socket:
        """The connection of our own child: whoever knows the token."""
        door.settimeout(START_S)
        while True:
            channel, _ = door.accept()
            channel.settimeout(5)
            said = b""
            with contextlib.suppress(OSError):
                while len(said) <= len(token) and (data := channel.recv(1)):
                    said += data
            if secrets.compare_digest(said, token.encode() + b"\n"):
                return channel
            channel.close()
