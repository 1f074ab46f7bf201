"""A GGUF model on this computer, run by llama.cpp in a worker process of its own.

    with connect("gguf:pocket-s") as model:
        print(model.stream("What is a GPU?").response)

This side starts the worker, writes requests, collects answers and watches the clock. The worker
(`benchkit.backends.worker`) has the model. `t_sent_ns` and `t_end_ns` are stamped here, the tokens are
stamped there, where they appear: `time.perf_counter_ns` is one clock for all processes of a computer.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from .. import machine, places
from ..errors import ModelError
from ..quantize import type_name
from ..recording import Chunk, Count, Recording
from .base import DEFAULTS, OnText, Options

GRACE_S = 3.0  # how long an asked-to-stop worker may take before it is killed


class WorkerDied(Exception):
    """The worker process ended; the message says how."""


class Worker:
    """The worker process and the two pipes to it."""

    def __init__(self) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (its standard error, read only if it crashes)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchkit.backends.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=child_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console pops up
        )
        self._lines: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Stamp each answer as it arrives, even while the main thread is busy showing text."""
        for line in self.process.stdout:
            self._lines.put((time.perf_counter_ns(), line))
        self._lines.put((time.perf_counter_ns(), b""))

    def write(self, **request: Any) -> int:
        """Send one request; returns the time just before it was written."""
        line = json.dumps(request).encode() + b"\n"
        now = time.perf_counter_ns()
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except OSError:
            pass  # it is dead: `read` will say so
        return now

    def read(self, timeout_s: float | None = None) -> tuple[int, dict[str, Any]]:
        """The next answer and when it arrived. Raises `TimeoutError` or `WorkerDied`."""
        give_up = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
        while True:
            try:  # short waits, so that Ctrl-C gets through on every system
                when, line = self._lines.get(timeout=max(0.0, min(0.5, give_up - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= give_up:
                    raise TimeoutError from None
                continue
            if not line.endswith(b"\n"):
                raise WorkerDied(self._obituary())
            return when, json.loads(line)

    def _obituary(self) -> str:
        code = self.process.wait()
        self._words.seek(0)
        words = self._words.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        said = f" Its last words: {' / '.join(words[-3:])}" if words else ""
        return f"The engine process ended {how_it_ended(code)}.{said}"

    def stop(self, patience_s: float = 2.0) -> None:
        """End the process: kindly by closing the pipe, and if that does not help, by force."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self._words.close()


def how_it_ended(code: int) -> str:
    if code >= 0:
        return f"with exit code {code:#x}" if code > 255 else f"with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    hint = ", which is often the system ending it because memory ran out" if name == "SIGKILL" else ""
    return f"by signal {-code} ({name}){hint}"


def child_environment() -> dict[str, str]:
    """Our own environment, and the package found also when it is not installed."""
    return os.environ | {
        "PYTHONPATH": places.python_path(),
        "PYTHONUTF8": "1",
        "GGML_NO_BACKTRACE": "1",  # else a crash waits for a debugger
    }


def default_threads() -> int:
    """Physical cores that this process may use: more threads than cores slow llama.cpp down.

    >>> default_threads() >= 1
    True
    """
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))


class GgufBackend:
    """One GGUF file, loaded. Made by `connect("gguf:…")`."""

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        n_gpu_layers: int = 0,
    ) -> None:
        self.name = name
        self.path = path
        _check_load("n_ctx", n_ctx, 8, 10_000_000)
        _check_load("n_threads", n_threads, 1, 1024)
        _check_load("n_gpu_layers", n_gpu_layers, -1, 100_000)
        self._load = {
            "path": str(path),
            "n_ctx": n_ctx,
            "n_threads": n_threads or default_threads(),
            "n_gpu_layers": n_gpu_layers or 0,
        }
        self._one_at_a_time = threading.Lock()
        self._worker: Worker | None = None
        self._facts: dict[str, Any] = {}
        self.load_s: float | None = None
        self.baseline_mib: dict[str, float] | None = None  # what the worker held before it loaded the model
        self._closed = False
        self._start()

    def _start(self) -> Worker:
        """Start a worker and load the model into it."""
        check_file(self.path, self.name, self._load["n_gpu_layers"])
        worker = Worker()
        weakref.finalize(self, worker.stop)  # also when the program ends without close()
        try:
            worker.read()  # {"up": true}: Python and llama.cpp are there, the model is not
            self.baseline_mib = machine.process_memory_mib([worker.process.pid])
            worker.write(op="load", **self._load)
            _, answer = worker.read()
        except WorkerDied as death:
            worker.stop()
            raise ModelError(
                f"{self.name}: loading {self.path} failed. {death} The file may be damaged, or memory "
                "ran out: get the file again, or try a smaller one."
            ) from None
        except BaseException:
            worker.stop()
            raise
        if "failed" in answer:
            worker.stop()
            raise ModelError(f"{self.name}: {self.path}: {answer['failed']}")
        self._worker, self._facts = worker, answer["ready"]
        self.load_s = self._facts["load_s"]
        return worker

    def stream(self, prompt: str, options: Options = DEFAULTS, on_text: OnText | None = None) -> Recording:
        """Ask for one reply. Crashes and timeouts are recordings too, with the state that says so.

        `on_text` is called with each new piece of text, at most ten times a second while it grows.
        """
        if not isinstance(prompt, str):
            raise ModelError(f"A prompt is a string, this is {type(prompt).__name__}.")
        if self._closed:
            raise ModelError(f"{self.name} is closed: connect again.")
        with self._one_at_a_time:
            worker = self._worker or self._start()
            started_at = datetime.now(timezone.utc).isoformat()
            sent_ns = worker.write(
                op="generate", prompt=prompt, options=vars(options), show=on_text is not None
            )
            shown: list[str] = []
            try:
                answer = self._collect(worker, sent_ns, options, on_text, shown)
            except WorkerDied as death:
                self._forget()
                answer = _failure("error", f"{death} The next request starts a new one.")
            except BaseException:  # Ctrl-C, or an error in on_text: leave a worker that is ready again
                self._quiet(worker)
                raise
        recording = _recording(answer, sent_ns, started_at)
        if on_text and (rest := recording.response[len("".join(shown)) :]):
            on_text(rest)
        return recording

    def _collect(
        self, worker: Worker, sent_ns: int, options: Options, on_text: OnText | None, shown: list[str]
    ) -> dict[str, Any]:
        """Read answers until the reply is done; past the time limit, ask the worker to stop, then make it."""
        limit_s, timed_out = options.timeout_s, False
        while True:
            try:
                left_s = limit_s - (time.perf_counter_ns() - sent_ns) / 1e9
                when, answer = worker.read(left_s)
            except TimeoutError:
                if timed_out:
                    self._forget()
                    return _failure(
                        "timeout", _too_slow(options) + " It had to be killed, so its tokens are lost."
                    )
                worker.write(op="abort")
                limit_s, timed_out = options.timeout_s + GRACE_S, True
                continue
            if "text" in answer:
                shown.append(answer["text"])
                on_text(answer["text"])
                continue
            if "failed" in answer:
                return _failure("error", answer["failed"], when)
            reply = answer["done"]
            if reply["state"] == "aborted":
                reply |= {"state": "timeout", "error": _too_slow(options)}
            return reply | {"t_end_ns": when}

    def _quiet(self, worker: Worker) -> None:
        """Stop the reply under way and wait until the worker is idle."""
        worker.write(op="abort")
        try:
            while "text" in worker.read(GRACE_S)[1]:
                pass
        except BaseException as error:
            self._forget()  # also on a second Ctrl-C: an answer still to come would be taken for the next one
            if not isinstance(error, (TimeoutError, WorkerDied)):
                raise

    def _forget(self) -> None:
        worker, self._worker = self._worker, None
        if worker:
            worker.process.kill()
            worker.stop()

    def describe(self) -> dict[str, Any]:
        """What a manifest keeps: the file and its digest, the model, the settings, the versions."""
        from importlib.metadata import version

        from ..quantize import sha256

        facts = {
            key: value for key, value in self._facts.items() if key not in ("pid", "load_s", "file_type")
        }
        return {
            "name": self.name,
            "path": str(self.path),
            "digest": sha256(self.path),
            "size_bytes": self.path.stat().st_size,
            "quantisation": type_name(self._facts.get("file_type")),
            "n_gpu_layers": self._load["n_gpu_layers"],
            **facts,
            "versions": {"llama-cpp-python": version("llama-cpp-python")},
        }

    def pids(self) -> list[int]:
        """The worker's process id: its memory is the model's memory."""
        return [self._worker.process.pid] if self._worker and self._worker.process.poll() is None else []

    def snapshot(self) -> dict[str, Any]:
        """Empty: nobody but us can change this model."""
        return {}

    def close(self) -> None:
        """Unload the model: the worker ends."""
        self._closed = True
        if self._worker:
            self._worker.stop()
            self._worker = None

    def __enter__(self) -> GgufBackend:  # noqa: PYI034
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _check_load(name: str, value: Any, low: int, high: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ModelError(f"{name}={value!r}: a whole number from {low} to {high} is allowed, or None.")


def check_file(path: Path, name: str, n_gpu_layers: int) -> None:
    """Refuse what llama.cpp would fail at, or take the whole computer down with."""
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"{name}: cannot read {path} ({error.strerror}).") from None
    if magic != b"GGUF":
        raise ModelError(
            f"{name}: {path} is not a GGUF file: it begins with {magic!r} instead of b'GGUF'. "
            "A download may have saved a web page instead: get the file again."
        )
    free = psutil.virtual_memory().available
    if n_gpu_layers == 0 and size > free:
        raise ModelError(
            f"{name}: {path} needs {size / 2**20:,.0f} MiB of memory, but only {free / 2**20:,.0f} MiB are "
            "free. Close other programs, or take a smaller model or quantisation."
        )


def _too_slow(options: Options) -> str:
    return f"The reply was not finished after {options.timeout_s:g} s and was cut off."


def _failure(state: str, error: str, when: int | None = None) -> dict[str, Any]:
    return {"state": state, "error": error, "t_end_ns": when or time.perf_counter_ns()}


def _recording(answer: dict[str, Any], sent_ns: int, started_at: str) -> Recording:
    texts, sizes, counts = answer.get("text", ()), answer.get("n_bytes", ()), answer.get("counts", {})
    chunks = tuple(
        Chunk(t, "content" if size else "other", text, size)
        for t, text, size in zip(answer.get("t_ns", ()), texts, sizes)
    )
    cached = counts.get("cached")
    return Recording(
        t_sent_ns=sent_ns,
        t_end_ns=answer["t_end_ns"],
        state=answer["state"],
        chunks=chunks,
        counts={name: Count(n, "engine_tokenizer") for name, n in counts.items()},
        chunks_are_tokens=True,
        cache=None if cached is None else "warm" if cached else "cold",  # what happened, not what was asked for
        server_timings=answer.get("timings", {}),
        started_at=started_at,
        error=answer["error"],
    )
