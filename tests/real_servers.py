"""Real servers with a pocket model, for tests: Ollama and llama_cpp.server, on free ports.

    @pytest.mark.parametrize("program", ollama_programs())
    def test_…(program): …

A newcomer without them gets a skip that says how to install them; a failure with `BENCHKIT_REQUIRE_ALL`.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import requests

from benchkit import places
from benchkit.backends.ollama_create import to_ollama

NO_OLLAMA = (
    "needs Ollama: install it (https://ollama.com/download), or build it with scripts/build_ollama.py FOLDER "
    "and set BENCHKIT_OLLAMA as that says"
)
NO_LLAMA = "needs llama_cpp.server: pip install 'llama-cpp-python[server]'"
START_S = 120.0


@dataclass(frozen=True)
class RealServer:
    """A running server: where it is, what its model is called, its process, its version if it tells."""

    url: str
    model: str
    process: subprocess.Popen
    version: str | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version, to compare: `(0, 17, 4)`."""
        return tuple(map(int, re.findall(r"\d+", self.version or "")[:3]))


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_answers(url: str, process: subprocess.Popen, words: Path) -> None:
    """Wait until the server answers; fail with its last words if it ends or takes too long."""
    give_up = time.monotonic() + START_S
    while True:
        try:
            if requests.get(url, timeout=2).status_code == 200:
                return
        except requests.RequestException:
            pass
        if process.poll() is not None or time.monotonic() > give_up:
            pytest.fail(f"{url} does not answer: {words.read_text('utf-8', 'replace')[-2000:]}")
        time.sleep(0.1)


@contextmanager
def running(command: list[str], ready: str, **env: str) -> Iterator[subprocess.Popen]:
    """A server process while the block runs; ended with all its children."""
    folder = Path(tempfile.mkdtemp(prefix="benchkit-test-"))
    words = folder / "words.txt"
    with open(words, "wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=os.environ | env
        )
    try:
        wait_until_answers(ready, process, words)
        yield process
    finally:
        end(process)
        shutil.rmtree(folder, ignore_errors=True)


def end(process: subprocess.Popen) -> None:
    """End a process and its children, kindly first."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.Error:
        family = []
    if process.poll() is None:
        process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=10)
    for survivor in alive:
        survivor.kill()
    process.wait()


# -- Ollama -----------------------------------------------------------------------------------------


def ollama_programs() -> list:
    """Every Ollama there is, as test parameters: those named in `BENCHKIT_OLLAMA`, then that on the PATH."""
    named = [Path(part) for part in os.environ.get("BENCHKIT_OLLAMA", "").split(os.pathsep) if part]
    found = shutil.which("ollama")
    programs = list(dict.fromkeys([*named, *([Path(found)] if found else [])]))
    if not programs:
        return [pytest.param(None, id="none")]
    return [
        pytest.param(program, id=program.parent.name if program in named else "path") for program in programs
    ]


@contextmanager
def ollama(program: Path | None, *models: str) -> Iterator[RealServer]:
    """A real Ollama that has these pocket models and nothing else, and leaves the user's own alone."""
    if program is None:
        pytest.skip(NO_OLLAMA)
    if not program.exists():
        pytest.fail(f"BENCHKIT_OLLAMA names {program}, which does not exist")
    host, folder = f"127.0.0.1:{free_port()}", tempfile.mkdtemp(prefix="benchkit-ollama-")
    env = {"OLLAMA_HOST": host, "OLLAMA_MODELS": folder, "HOME": folder, "OLLAMA_NOPRUNE": "1"}
    try:
        with running([str(program), "serve"], f"http://{host}/api/version", **env) as process:
            to_ollama([f"gguf:{model}" for model in models], f"http://{host}")
            version = requests.get(f"http://{host}/api/version", timeout=10).json()["version"]
            yield RealServer(f"http://{host}", models[0], process, version)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- llama_cpp.server -------------------------------------------------------------------------------


@functools.cache
def has_llama_server() -> bool:
    """Whether the packages of `llama-cpp-python[server]` are installed."""
    return all(
        find_spec(name)
        for name in (
            "llama_cpp",
            "uvicorn",
            "fastapi",
            "sse_starlette",
            "starlette_context",
            "pydantic_settings",
        )
    )


@contextmanager
def llama_server(model: str = "pocket-xs", interrupt_requests: bool = True) -> Iterator[RealServer]:
    """A real `llama_cpp.server` with one pocket model; `url` ends in /v1."""
    if not has_llama_server():
        pytest.skip(NO_LLAMA)
    port = free_port()
    command = [
        sys.executable, "-m", "llama_cpp.server", "--model", str(places.MODELS / f"{model}.gguf"),
        "--model_alias", model, "--host", "127.0.0.1", "--port", str(port),
        "--n_ctx", "512", "--n_threads", "1",
        "--interrupt_requests", str(interrupt_requests),
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}/v1"
    with running(command, f"{url}/models") as process:
        yield RealServer(url, model, process)
