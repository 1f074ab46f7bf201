"""The live dashboard: a run's folder as widgets, in JupyterLab (lesson 08) and as a web page (`benchkit watch`).

    Dashboard("benchmark_outputs/mine")                                   # watch a run, or look at one that ended
    Dashboard("benchmark_outputs/new", ["--models", "gguf:pocket-xs"])    # … with buttons that start and stop it

Everything shown comes from `live`, which only reads the folder. One thread looks at most once a second, rests longer
where looking was dear, changes only the widgets whose content is another one, and ends when the run has ended. Text
of models becomes HTML in `templates/dashboard.html.j2` only, which escapes every value.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from benchkit import machine, pages, runs
from benchkit.errors import BenchkitError
from benchkit.job import Job
from benchkit.live import Replay, Snapshot, Speed, Watched
from benchkit.text import counted, duration, number, one_line, percent, visible

#: A look at most this often, and however dear it was after at most so long, in s. The share of all cores' time that
#: the looks themselves may take: passing on what they show takes about twice as much again.
PERIOD_S, LONGEST_REST_S, SHARE = 1.0, 10.0, 0.003
#: How long one look may read artifacts, in s, while a model is measured and when none is: the others follow.
BUDGET_S, BUDGET_AFTER_S = 0.02, 0.5
#: The cards need pandas and all replies: while a model is measured only so late in a run, in s, and so rarely.
CARDS_AFTER_S, CARDS_SHARE = 300.0, 0.002
#: How long to wait for a run that has not begun, in s.
WAIT_S = 600.0
#: Results shown together, and how much of one reply: the rest is in its file.
PAGE, REPLY_SHOWN = 30, 20_000

SIGNS = {
    "waiting": ("unsure", "…", "waiting"), "running": ("good", "●", "running"), "complete": ("good", "✓", "complete"),
    "interrupted": ("unsure", "■", "interrupted"), "failed": ("bad", "✗", "failed"),
    "dead": ("bad", "✗", "its process is gone"), "gone": ("bad", "✗", "its folder is gone"),
}  # fmt: skip
LATER = "Named at the end, and every few minutes of a long run: working it out meanwhile would disturb the measurement."

NOW = "All replies are there. The models are being compared, prompt by prompt …"


# ---------------------------------------------------------------- the dashboard


class Dashboard(widgets.VBox):
    """A run as widgets. With `words`, those of `benchkit run`, it has buttons that start, stop and continue it.

    `replay` plays a finished run again, so many times as fast as it was. `start`, `stop` and `wait` do what the
    buttons do, also where there is no front end.
    """

    def __init__(
        self, folder: str | os.PathLike, words: Sequence[str] | None = None, replay: float | None = None
    ) -> None:
        self.folder, self.words, self._replay = Path(folder), words, replay
        self.snapshot, self.job = Snapshot(self.folder), None
        self._lock, self._closed = threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._looking = False
        self._error: BaseException | None = None
        self._parts = {name: _html() for name in ("status", "progress", "talk", "cards", "speeds", "picture", "log")}
        self._shown: dict[str, Any] = {}
        self._buttons, self.results = self._make_buttons(), Results(self.folder)
        p = self._parts
        super().__init__([_style(), p["status"], p["progress"], self._buttons, p["talk"], p["cards"], p["speeds"],
                          p["picture"], self.results, p["log"]])  # fmt: skip
        self.add_class("bk")
        self._begin_anew()
        self.follow()

    # ---- what the buttons do

    def start(self) -> None:
        """Start the run, or continue it, in a process of its own."""
        with self._lock:
            if self.words is None:
                raise BenchkitError("this dashboard only watches: give the words of `benchkit run` to start one.")
            if self.job is None or not self.job.running:
                self.job = Job(self.words, self.folder)
        self.follow()

    def stop(self) -> None:
        """Ask the run to stop; what is measured is safe, and `start` continues it."""
        if self.job is not None:
            self.job.stop()

    def follow(self) -> None:
        """Look now, and go on looking, in one thread, while there is something to come."""
        with self._lock:
            if self._looking:
                return
            if self._replay is not None:
                self._begin_anew()
            self._closed.clear()
            self._look()
            self._looking = self._more_to_come()
            if self._looking:
                self._thread = threading.Thread(target=self._keep_looking, name="dashboard", daemon=True)
                self._thread.start()
            self._set_buttons()

    def wait(self, timeout_s: float = 600.0) -> Snapshot:
        """Wait until there is nothing more to come; the run as it ended, or BenchkitError if it did not complete."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                raise BenchkitError(f"the run has not ended after {timeout_s:g} s: {_progress(self.snapshot)['told']}.")
        if self._error is not None:
            raise self._error
        if self.snapshot.state != "complete":
            raise BenchkitError(f"the run did not complete ({self.snapshot.state}): {self.snapshot.message}")
        return self.snapshot

    def close(self) -> None:
        """End the looking and remove the widgets; a run that was started goes on."""
        self._closed.set()
        super().close()

    # ---- looking

    def _begin_anew(self) -> None:
        self._source = Watched(self.folder, BUDGET_S) if self._replay is None else Replay(self.folder, self._replay)
        self._began = time.monotonic()
        self._cards_at, self._cards, self._picture = self._began + CARDS_AFTER_S, (), None
        self._counted: tuple[int, bool] | None = None  # what the cards were worked out for
        self.results.clear()

    def _keep_looking(self) -> None:
        try:
            while self._looking and not self._closed.is_set():
                self._look_once()
        except Exception as error:  # a thread's error would be seen by nobody: `wait` raises it
            self._error, self._looking = error, False
            self._show_status(replace(self.snapshot, state="failed", message=f"the view has failed: {error!r}"))
        self._set_buttons()

    def _look_once(self) -> None:
        """One look, then a rest; it is the last if nothing was to come before it, nor is afterwards."""
        spent_s, more = time.thread_time(), self._more_to_come()
        with self._lock:
            self._look()
        rest_s = self._rest_s(time.thread_time() - spent_s)
        if self._cards_due(self.snapshot):
            self._name_the_best(self.snapshot)
            self._show_cards(self.snapshot)
        with self._lock:
            self._looking = more or self._more_to_come()
        if self._looking:
            self._closed.wait(rest_s)

    def _rest_s(self, spent_s: float) -> float:
        """How long to rest after a look that took so much processor time; nothing is disturbed if none is measured."""
        if self.snapshot.ended:
            return 0.0 if self.snapshot.n_unread or self.job is None else 0.2
        return min(LONGEST_REST_S, max(PERIOD_S, spent_s / (SHARE * machine.usable_cores())))

    def _more_to_come(self) -> bool:
        s = self.snapshot
        if (self.job is not None and self.job.running) or s.n_unread or self._cards_due(s):
            return True
        if s.state == "waiting":
            return self.words is None and time.monotonic() - self._began < WAIT_S
        return not s.ended and s.state != "gone"

    def _look(self) -> None:
        """Read what is new, and change what is shown where it changed."""
        self.snapshot = s = self._told(self._source.poll())
        self._source.budget_s = BUDGET_AFTER_S if s.ended else BUDGET_S
        self.results.add(s.new_results)
        self._show_status(s)
        self._show("progress", pages_part("progress"), _progress(s))
        self._show("talk", pages_part("talk"), _talk(s))
        self._show("speeds", pages_part("speeds"), _speeds(s), s.configuration)
        self._show("log", pages_part("log"), list(s.log))
        self._show_cards(s)
        self._set_buttons()

    def _told(self, s: Snapshot) -> Snapshot:
        """The snapshot, with what only the run's own process can tell."""
        if self.job is None or s.state == "running":
            return s
        if self.job.running:
            return s if self._replay else replace(s, state="waiting", message="the run is starting or ending …")
        complaint = self.job.complaint()
        return replace(s, state="failed", message=f"the run could not be made: {complaint}") if complaint else s

    def _show_status(self, s: Snapshot) -> None:
        self._show("status", pages_part("status"), _status(s))

    def _show(self, name: str, render: Callable[..., str], value: Any, *more: Any) -> None:
        """Change one part, if what it shows has changed; a part with nothing to show is not there."""
        if name in self._shown and self._shown[name] == (value, *more):
            return
        self._shown[name] = (value, *more)
        part = self._parts[name]
        part.value = str(render(pages.all_visible(value), *pages.all_visible(more))) if value else ""
        (part.remove_class if value else part.add_class)("bk-empty")

    def _cards_due(self, s: Snapshot) -> bool:
        """Whether to name the best models: once when the run is over, and rarely before."""
        if s.kind == "load" or not s.done or s.n_unread or self._counted == (s.done, s.ended):
            return False
        return s.ended or (self._replay is None and s.state == "running" and time.monotonic() > self._cards_at)

    def _name_the_best(self, s: Snapshot) -> None:
        spent_s = time.process_time()
        self._cards, self._picture = _cards(self.folder, with_picture=s.ended)
        self._counted = (s.done, s.ended)
        pause_s = (time.process_time() - spent_s) / (CARDS_SHARE * machine.usable_cores())
        self._cards_at = time.monotonic() + max(CARDS_AFTER_S, pause_s)

    def _show_cards(self, s: Snapshot) -> None:
        if s.kind == "load":
            return self._show("cards", pages_part("load"), _load_text(s) if s.ended else "")
        known = {"cards": self._cards, "note": "" if s.ended and self._counted else NOW if s.ended else LATER}
        self._show("cards", _cards_html, known if s.done and s.state != "gone" else {})
        self._show("picture", pages_part("picture"), self._picture)

    # ---- buttons

    def _make_buttons(self) -> widgets.HBox:
        self._start = _button("Start", self._on(self.start), "primary")
        self._stop = _button("Stop", self._on(self.stop))
        self._again = _button("Look again", self._on(self.follow))
        box = widgets.HBox([self._start, self._stop, self._again], layout=widgets.Layout(display="none"))
        box.add_class("bk-bar")
        return box

    def _on(self, action: Callable[[], None]) -> Callable[[Any], None]:
        """A button's answer: what goes wrong is told where the person looks."""

        def answer(_: Any) -> None:
            try:
                action()
            except (BenchkitError, OSError) as problem:
                self._show_status(replace(self.snapshot, state="failed", message=str(problem)))

        return answer

    def _set_buttons(self) -> None:
        """Which buttons there are, and what they are called now."""
        s = self.snapshot
        busy = s.state == "running" or (self.job is not None and self.job.running)
        can_start = self.words is not None and not busy and s.state != "complete"
        _set(self._start, can_start, "Continue" if s.done else "Start")
        _set(self._stop, self.job is not None and self.job.running, "Stop")
        _set(self._again, not self._looking and not can_start and s.state not in ("complete", "failed"),
             "Look again" if self._replay is None else "Play again")  # fmt: skip
        there = any(button.layout.display is None for button in self._buttons.children)
        self._buttons.layout.display = None if there else "none"


def _button(text: str, answer: Callable[[Any], None], style: str = "") -> widgets.Button:
    button = widgets.Button(description=text, button_style=style)
    button.on_click(answer)
    return button


def _set(button: widgets.Button, there: bool, text: str) -> None:
    """Say what a button is called and whether it is there; unchanged values cost no message."""
    button.description = text
    button.layout.display = None if there else "none"


def _html(value: str = "", **more: Any) -> widgets.HTML:
    return widgets.HTML(value, **more)


def _style() -> widgets.HTML:
    style = _html(f"<style>{pages.template_text('dashboard.css')}</style>")
    style.add_class("bk-style")
    return style


def pages_part(name: str) -> Callable[..., str]:
    """One macro of the dashboard's template."""
    return getattr(pages.macros("dashboard.html.j2"), name)


# ---------------------------------------------------------------- results


class Results(widgets.VBox):
    """The results, the newest first, a page at a time; each row unfolds to its reply, checks and reasons.

    The rows' widgets are made once and used again in turn: a new result is one message to the page, which never has
    to make or forget a widget, and a row that somebody has unfolded stays as it is. A style turns the ring.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Mapping[str, Any]] = []
        self._failed_only = widgets.ToggleButton(description="Only failed checks and errors")
        self._failed_only.observe(lambda _: self._turn_to_newest(), "value")
        self._newer = _button("Newer", lambda _: self._turn(PAGE))
        self._older = _button("Older", lambda _: self._turn(-PAGE))
        self._told, self._ring = _html(), _html()
        self._ring.add_class("bk-style")
        self._slots = [_html() for _ in range(PAGE)]
        listing, bar = widgets.VBox(self._slots), widgets.HBox([self._told, self._failed_only, self._newer, self._older])
        self._name = f"bk-rows-{listing.model_id}"
        listing.add_class("bk-rows").add_class(self._name)
        bar.add_class("bk-bar")
        super().__init__([bar, self._ring, listing])
        self.add_class("bk-results")
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows = []
        self._turn_to_newest()

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take in new rows, among them older ones that are read later; show them where the newest are shown."""
        if not rows:
            return
        late = bool(self.rows) and _when(rows[0]) < _when(self.rows[-1])
        self.rows += rows
        if late:
            self.rows.sort(key=_when)
            self._chosen, self._page = list(filter(self._wanted, self.rows)), range(0)
        else:
            self._chosen += filter(self._wanted, rows)
        self._show_newest() if self._follows or late else self._tell()

    def _wanted(self, row: Mapping[str, Any]) -> bool:
        return not self._failed_only.value or row["passed"] is False or _outcome(row)[0] == "bad"

    def _turn_to_newest(self) -> None:
        """Choose the rows anew, and show the newest."""
        self._chosen, self._page = list(filter(self._wanted, self.rows)), range(0)
        self._show_newest()

    def _show_newest(self) -> None:
        self._show(range(max(0, len(self._chosen) - PAGE), len(self._chosen)))

    def _turn(self, step: int) -> None:
        """Turn the page so many results towards the newer ones."""
        end = min(len(self._chosen), max(PAGE, self._page.stop + step))
        self._show(range(max(0, end - PAGE), end))

    def _show(self, page: range) -> None:
        """Show these rows: the slot of row i is i modulo the number of slots; slots behind the newest row's come last."""
        old = self._page
        for i in page:
            if i not in old:
                row = pages.all_visible(_row(self._chosen[i], self.folder))
                self._slots[i % PAGE].value = str(pages_part("row")(row))
        behind = (page.stop - 1) % PAGE + 2  # as CSS counts, from 1
        self._ring.value = f"<style>.{self._name} > :nth-child(n+{behind}) {{ order: -1 }}</style>"
        for i in set(range(PAGE)) - {i % PAGE for i in page}:
            self._slots[i].value = ""
        self._page, self._follows = page, page.stop == len(self._chosen)
        self._tell()

    def _tell(self) -> None:
        n, page = len(self._chosen), self._page
        what = "Results" if not self._failed_only.value else "Failed results"
        shown = f"{n - page.stop + 1:,}–{n - page.start:,} of {n:,}, the newest first" if n else "none"
        self._told.value = f"<h2>{what} <span class='soft small'>{shown}</span></h2>" if self.rows else ""
        buttons = {self._newer: page.stop < n, self._older: page.start > 0, self._failed_only: bool(self.rows)}
        for widget, there in buttons.items():
            widget.layout.display = None if there else "none"


def _when(row: Mapping[str, Any]) -> str:
    return row["started_at"] or ""


def _row(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A row as its template wants it."""
    tone, sign, word = _outcome(row)
    response, cut = _whole_reply(row, folder)
    return {
        "tone": tone, "sign": sign, "word": word, "configuration": row["configuration"], "prompt_id": row["prompt_id"],
        "trial": row["trial"], "latency": number(row["latency_s"]), "decode": number(row["decode_tokens_per_s"]),
        "ttft": number(row["ttft_ms"]), "tokens": "–" if row["n_output_tokens"] is None else f"{row['n_output_tokens']:,}",
        "gist": one_line(row["response"], 160) or "(empty)", "prompt": row["prompt"], "response": response, "cut": cut,
        "error": f"{row['state']}: {row['error']}" if row["error"] else "", "file": row["artifact"],
        "purpose": "forced length" if row["purpose"] == "speed" else row["purpose"],
        "checks": [_check(check) for check in row["checks"]],
    }  # fmt: skip


def _outcome(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """How a reply went: tone, sign, word."""
    if row["state"] not in ("ok", "length", "empty"):
        return "bad", "✗", str(row["state"])
    if not row["n_checks"]:
        return "soft", "·", "empty" if row["state"] == "empty" else "no checks"
    if row["passed"]:
        return "good", "✓", "passed"
    return "bad", "✗", f"{row['n_passed']} of {row['n_checks']}"


def _check(check: Mapping[str, Any]) -> dict[str, str]:
    tone, sign = {True: ("good", "✓"), False: ("bad", "✗")}.get(check.get("passed"), ("unsure", "?"))
    return {"tone": tone, "sign": sign, "name": str(check.get("check")), "reason": str(check.get("reason"))}


def _whole_reply(row: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """The reply, from its artifact where the row has only its beginning; and what is left out."""
    n, text = row["n_characters"], row["response"]
    if n > len(text):
        text = str(runs.read_json(folder / row["artifact"], {}).get("response") or text)[:REPLY_SHOWN]
    return text, "" if n <= len(text) else f"its first {len(text):,} of {n:,} characters; all are in the file named below"


# ---------------------------------------------------------------- a snapshot in words


def _status(s: Snapshot) -> dict[str, Any]:
    tone, sign, word = SIGNS.get(s.state, ("unsure", "?", s.state))
    return {"name": s.folder.resolve().name, "tone": tone, "sign": sign, "word": word, "message": s.message,
            "warnings": list(s.warnings[:10])}  # fmt: skip


def _progress(s: Snapshot) -> dict[str, Any]:
    unit = "request" if s.kind == "load" else "reply"
    told = counted(s.done, unit) if s.total is None else f"{s.done:,} of {counted(s.total, unit)}"
    more = [percent(s.done / s.total) if s.total else "",
            f"about {duration(s.seconds_left)} left" if s.seconds_left is not None else "", s.phase or "",
            f"{s.in_flight} in flight" if s.in_flight else "", f"{s.n_unread:,} to be read" if s.n_unread else "",
            f"peak memory {number(s.peak_memory_mib)} MiB" if s.peak_memory_mib is not None else ""]  # fmt: skip
    return {"done": s.done, "total": max(s.done, s.total or 0), "told": told, "more": list(filter(None, more))}


def _talk(s: Snapshot) -> dict[str, Any]:
    """The question that is being answered, and the reply so far; between two, the last ones."""
    if s.state != "running" or s.kind == "load":
        return {}
    asked = " · ".join(filter(None, [s.prompt_id, None if s.trial is None else f"trial {s.trial}"]))
    now = {"asked_by": f"Asked now: {asked}" if asked else "Nothing is asked at this moment",
           "asked": s.prompt_text, "answered_by": f"{s.configuration or 'the model'} replies", "reply": s.partial}  # fmt: skip
    if s.partial or s.last is None:
        return now
    return {**now, "answered_by": f"Last reply, by {s.last['configuration']} to {s.last['prompt_id']}",
            "reply": s.last["response"]}  # fmt: skip


def _speeds(s: Snapshot) -> list[dict[str, Any]]:
    return [{"name": speed.configuration, "now": speed.configuration == s.configuration, "cells": _cells(speed)}
            for speed in s.speeds]  # fmt: skip


def _cells(speed: Speed) -> list[str]:
    correct = f"{speed.n_correct} of {speed.n_checked}" if speed.n_checked else "–"
    failed = f" ({speed.n_failed} failed)" if speed.n_failed else ""
    figures = (speed.decode_tokens_per_s, speed.ttft_ms, speed.peak_memory_mib)
    return [f"{speed.n_replies:,}{failed}", correct, *map(number, figures)]


def _cards(folder: Path, with_picture: bool) -> tuple[tuple[dict[str, Any], ...], dict[str, Any] | None]:
    """The cards from all artifacts, and how well each configuration did as a picture; nothing where they say nothing."""
    from benchkit import tables  # pandas takes a second to import, which nobody waits for before it is needed

    try:
        table = tables.results(folder)
        found = tuple(pages.card(card) for card in tables.cards(table)) if len(table) else ()
        return found, _picture(table) if with_picture else None
    except BenchkitError:  # the folder is gone, or its manifest is damaged: the status says it
        return (), None


def _picture(table: Any) -> dict[str, Any] | None:
    """Speed against quality, where there are two or more to be set against each other."""
    from benchkit import figures, tables

    summary = tables.summarize(table)
    if len(summary.dropna(subset=["decode_tokens_per_s", "pass_rate"])) < 2:
        return None
    return pages.picture("Speed against quality", *figures.tradeoff_figure(summary))


def _cards_html(shown: Mapping[str, Any]) -> str:
    return pages_part("cards")(shown["cards"], shown["note"])


def _load_text(s: Snapshot) -> str:
    """What `benchkit load` prints, of a load run that is over."""
    from benchkit import traffic

    try:
        return traffic.as_text(s.load_summary) if s.load_summary else ""
    except (KeyError, TypeError, ValueError):
        return "its summary.json is damaged or of another version"


def text_of(s: Snapshot) -> str:
    """A snapshot as plain text, for notebooks that are read where widgets are not: what the dashboard shows above."""
    status, progress = _status(s), _progress(s)
    lines = [f"{status['name']}: {status['word']}", " · ".join([progress["told"], *progress["more"]]), s.message,
             *(f"! {warning}" for warning in s.warnings)]  # fmt: skip
    heads = ("replies", "correct", "decode (tok/s)", "TTFT (ms)", "peak memory (MiB)")
    for speed in s.speeds:
        facts = ", ".join(f"{head} {cell}" for head, cell in zip(heads, _cells(speed), strict=True))
        lines.append(f"{speed.configuration}: {facts}")
    return visible("\n".join(filter(None, lines)))
