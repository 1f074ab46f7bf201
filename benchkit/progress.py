"""What a run tells the person who started it: plain lines and a bar, or a live view in a process of its own.

The view (`benchkit.terminal`) reads the run's folder, as any other view does. The run only starts it, and closes the
pipe between them when it ends; if the view dies, the run goes on with plain lines. While it is drawn nothing else is
written to the terminal: messages wait, and are said when it has gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from tqdm import tqdm

from benchkit import places
from benchkit.text import visible

#: How long a run waits for its view to draw its first picture, and its last, in s.
PATIENCE_S = 3.0


def can_draw() -> bool:
    """Whether standard error is a terminal on which a view may be drawn, and nobody asked for plain lines."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Progress:
    """Tells how far a run is, on standard error. `shown=False` is silent; `view=True` draws where it can be drawn."""

    def __init__(self, folder: Path, unit: str, shown: bool = True, view: bool = False) -> None:
        self.folder, self.unit, self.shown = folder, unit, shown
        self.wants_view = shown and view and can_draw()
        self.bar: tqdm | None = None
        self.view: subprocess.Popen | None = None
        self.held: list[str] = []  # messages that wait until the view has gone
        self.done, self.total = 0, None

    def draw(self) -> None:
        """Start the view, where one is wanted, and wait until it is there: starting takes a core for a moment.

        A run is never stopped because it cannot be drawn.
        """
        if not self.wants_view:
            return
        command = [sys.executable, "-m", "benchkit.terminal", str(self.folder)]
        environment = os.environ | {"PYTHONPATH": places.python_path(), "PYTHONUTF8": "1"}
        try:
            self.view = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        except OSError:
            return
        first_picture = threading.Thread(target=self.view.stdout.read, args=(1,), daemon=True)
        first_picture.start()
        first_picture.join(PATIENCE_S)

    def say(self, message: str) -> None:
        """Say one message, or keep it until the view has gone."""
        self.held.append(message)
        if not self._is_drawn():
            self._say_held()

    def begin(self, total: int | None, done: int = 0) -> None:
        """The bar begins here: `done` of `total`."""
        self.done, self.total = done, total
        if not self._is_drawn():
            self._show_bar()

    def update(self, label: str | None = None, n: int = 0) -> None:
        """`n` more are done; `label` is what is measured now."""
        self.done += n
        if self._is_drawn():
            return
        if self.bar is not None and label is not None:
            self.bar.set_description(visible(label)[:40], refresh=False)
        if self.bar is not None and n:
            self.bar.total = self.total
            self.bar.update(n)

    def end(self) -> None:
        """Let the view draw its last picture and go; then say what waited, and close the bar."""
        if self.view is not None:
            self.view.stdin.close()
            try:
                self.view.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.view.kill()
                self.view.wait()
            self._leave_view()
        if self.bar is not None:
            self.bar.close()

    # ---- the two ways

    def _is_drawn(self) -> bool:
        """Whether the view lives; if it died meanwhile, plain lines take over."""
        if self.view is None:
            return False
        if self.view.poll() is None:
            return True
        self._leave_view()
        if self.total is not None:
            self._show_bar()
        return False

    def _leave_view(self) -> None:
        if self.view.returncode != 0:  # it was killed: the cursor may still be hidden
            sys.stderr.write("\x1b[?25h\n")
        self.view.stdin.close()
        self.view.stdout.close()
        self.view = None
        self._say_held()

    def _say_held(self) -> None:
        for message in self.held if self.shown else ():
            tqdm.write(visible(message), file=sys.stderr)
        self.held.clear()

    def _show_bar(self) -> None:
        fast = sys.stderr.isatty()
        self.bar = tqdm(total=self.total, initial=self.done, unit=self.unit, file=sys.stderr, disable=not self.shown,
                        dynamic_ncols=fast, mininterval=0.2 if fast else 5.0)  # fmt: skip
