"""A run in a process of its own, started from a notebook: a measurement never shares the kernel's process.

    job = Job(["--models", "gguf:pocket-xs", "--trials", "1"], "benchmark_outputs/mine")
    job.stop()                     # what is measured is safe
    job = Job(job.words, job.folder)     # the same words continue it
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchkit import places
from benchkit.text import visible

#: How long a run has to end by itself after it was asked to, in s; then it is ended.
PATIENCE_S = 10.0
#: How much of what a run said last is kept for telling why it ended, in characters.
SAID = 2000


class Job:
    """One `benchkit run WORDS --out FOLDER`. It goes on if the notebook is closed or its kernel is restarted."""

    def __init__(self, words: Sequence[str], folder: str | os.PathLike) -> None:
        self.words, self.folder = tuple(map(str, words)), Path(folder)
        self._stopped_at: float | None = None
        self._said = tempfile.TemporaryFile()  # a pipe would be full one day
        command = [sys.executable, "-m", "benchkit", "run", *self.words, "--out", str(self.folder.resolve())]
        environment = {**os.environ, "PYTHONPATH": places.python_path(), "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            command, cwd=places.ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=self._said,
            stderr=subprocess.STDOUT, **_apart(),
        )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether the process is there; one that was asked to stop and does not is ended."""
        if self._process.poll() is not None:
            return False
        if self._stopped_at is not None and time.monotonic() - self._stopped_at > PATIENCE_S:
            self._process.kill()
        return True

    def stop(self) -> None:
        """Ask the run to stop, as Ctrl-C would."""
        if self._process.poll() is None and self._stopped_at is None:
            self._stopped_at = time.monotonic()
            self._process.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT)

    def complaint(self) -> str:
        """What the run said last, if it ended by an error of its own; otherwise empty."""
        if self._process.poll() in (None, 0, 130) or self._stopped_at is not None:
            return ""
        self._said.seek(0)
        said = self._said.read()[-SAID:].decode("utf-8", "replace").strip()
        return visible(said.rpartition("benchkit: ")[2]) or f"it ended with code {self._process.returncode}"


def _apart() -> dict:
    """Interrupting the kernel must not interrupt the run: it gets a group of its own."""
    return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
