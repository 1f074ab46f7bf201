"""The live view of a run in a terminal: `benchkit run` starts it for itself, `benchkit watch RUN --terminal` for another.

It is a process of its own and only reads. It takes less than 1 % of the machine: the dearer a look was, the longer it
rests afterwards. What a model wrote becomes `Text`, never markup, and only after `visible`.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from benchkit import machine
from benchkit.live import ENDED, Replay, Snapshot, Speed, Watched
from benchkit.text import counted, duration, number, one_line, percent, visible

#: A look at most this often, in s; it may cost this share of all cores' time.
PERIOD_S, SHARE = 0.5, 0.007
#: How long one look may read artifacts, in s: while a run measures, and when it is over.
BUDGET_S, READ_ON_S = 0.01, 1.0
#: However dear the last look was, the next is not later than this, in s.
LONGEST_REST_S = 5.0
#: Between two plain lines, where nothing can be drawn, in s.
PLAIN_PERIOD_S = 5.0

SIGNS = {"waiting": "…", "running": "●", "complete": "✓", "interrupted": "■", "failed": "✗", "dead": "✗", "gone": "✗"}
COLOURS = {"running": "green", "complete": "green", "interrupted": "yellow", "failed": "red", "dead": "red", "gone": "red"}
WORDS = {"dead": "its process is gone", "gone": "its folder is gone", "waiting": "waiting"}

#: How many lines each part has at most: the picture must not jump.
ASKED_LINES, REPLY_LINES, LAST_LINES, WARNINGS, LOG_LINES, MOST_MODELS = 2, 3, 2, 3, 2, 12


# ---------------------------------------------------------------- the picture


def picture(s: Snapshot, width: int = 80, hint: str = "") -> Group:
    """A snapshot as lines for a terminal of this width."""
    width = max(40, min(width, 120))
    parts = [_title(s, width), _bar(s, width)]
    parts += _load_lines(s, width) if s.kind == "load" else _run_lines(s, width)
    parts += _warning_lines(s, width)
    parts += [Text(), *(_line((one_line(line, width), "dim")) for line in s.log[-LOG_LINES:])]
    if s.message:
        parts.append(Text(visible(s.message), f"bold {COLOURS.get(s.state, 'yellow')}", overflow="fold"))
    elif hint and s.state == "running":
        parts.append(_line((hint, "dim")))
    return Group(*parts)


def _title(s: Snapshot, width: int) -> Text:
    colour, word = COLOURS.get(s.state, "yellow"), WORDS.get(s.state, s.state)
    name = one_line(s.folder.resolve().name, width - len(word) - 12)
    state = f"{SIGNS.get(s.state, '?')} {one_line(word, 24)}"
    line = _line(("── ", "dim"), (name, "bold"), (" ── ", "dim"), (state, f"bold {colour}"), (" ", ""))
    return line.append("─" * max(0, width - line.cell_len), "dim")


def _line(*parts: tuple[str, str]) -> Text:
    """One line of texts with their styles; what a model wrote stays what it is."""
    return Text.assemble(*parts, no_wrap=True)


def _bar(s: Snapshot, width: int) -> Text:
    unit = "request" if s.kind == "load" else "reply"
    told = counted(s.done, unit) if s.total is None else f"{s.done:,} of {counted(s.total, unit)} · {_share(s)}"
    told += f" · about {duration(s.seconds_left)} left" if s.seconds_left is not None else ""
    told += f" · {s.in_flight} in flight" if s.in_flight else ""
    room = max(8, width - len(told) - 2)
    full = round(room * min(1.0, s.done / s.total)) if s.total else 0
    return _line(("━" * full, COLOURS.get(s.state, "yellow")), ("─" * (room - full), "dim"), (f"  {told}", ""))


def _share(s: Snapshot) -> str:
    return percent(s.done / s.total if s.total else None)


def _run_lines(s: Snapshot, width: int) -> list[Text]:
    lines = []
    if s.state == "running":
        now = " · ".join(filter(None, [s.configuration, s.prompt_id, s.prompt_id and f"trial {s.trial}"]))
        lines += _field(s.phase or "now", now, width, 1, "bold")
        lines += _field("asked", s.prompt_text, width, ASKED_LINES)
        lines += _field("reply", s.partial, width, REPLY_LINES, "cyan", end=True)
    if s.last is not None:
        lines += _field("last", _outcome(s.last), width, 1)
        lines += _field("", s.last["response"], width, LAST_LINES, "dim")
    return [*lines, Text(), *_table(s, width)]


LABEL = 12  # columns of the labels on the left


def _field(label: str, text: str, width: int, n: int, style: str = "", end: bool = False) -> list[Text]:
    """A label and exactly `n` lines of untrusted text: its beginning, or its `end`."""
    room = width - LABEL
    rows = folded(visible(text[-(n + 1) * room :] if end else text[: (n + 1) * room]), room)
    if not end and len(rows) > n:
        rows[n - 1] = set_cell_size(rows[n - 1], min(cell_len(rows[n - 1]), room - 2)) + " …"
    rows = [*(rows[-n:] if end else rows[:n]), *[""] * n][:n]
    labels = [set_cell_size(one_line(label, LABEL - 1), LABEL), *[" " * LABEL] * (n - 1)]
    return [_line((left, "dim"), (row, style)) for left, row in zip(labels, rows, strict=True)]


def folded(text: str, width: int) -> list[str]:
    """Text as lines of at most this many columns, broken between words where that is possible.

    >>> folded("one two  three\\nabcdefghijkl", 8)
    ['one two', 'three', 'abcdefgh', 'ijkl']
    """
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}" if rows[-1] else word
        if cell_len(longer) <= width:
            rows[-1] = longer
        else:
            rows += chop_cells(word, width)
    return [row for row in rows if row]


def _outcome(row: Mapping[str, Any]) -> str:
    """How the last reply went, in a line."""
    parts = [f"{row['configuration']} · {row['prompt_id']}"]
    if row["n_checks"]:
        parts.insert(0, f"{'✓' if row['passed'] else '✗'} {row['n_passed']} of {counted(row['n_checks'], 'check')}")
    if row["state"] not in ("ok", "length"):
        parts.insert(0, ": ".join(filter(None, [row["state"], row["error"]])))
    n = row["n_output_tokens"]
    return " · ".join([*parts, *([counted(n, "token")] if n is not None else []), f"{number(row['latency_s'])} s"])


#: The columns of the table, with their widths.
HEADS = {"replies": 9, "decode tok/s": 14, "TTFT ms": 9, "correct": 11, "peak MiB": 10}


def _table(s: Snapshot, width: int) -> list[Text]:
    """One line a configuration, with the one that is measured now marked."""
    longest = max([len("configuration"), *(cell_len(one_line(speed.configuration)) for speed in s.speeds)])
    room = max(12, min(longest + 2, width - 2 - sum(HEADS.values())))
    lines = [_line(("  " + "configuration".ljust(room) + _right(HEADS), "dim"))]
    shown = _around(s.speeds, s.configuration)
    for speed in shown:
        now = speed.configuration == s.configuration
        name = set_cell_size(one_line(speed.configuration, room - 1), room)
        style = "bold" if now else ""
        lines.append(_line(("▸ " if now else "  ", "green"), (name, style), (_right(_cells(speed)), "")))
    if more := len(s.speeds) - len(shown):
        lines.append(_line((f"  … and {more} more", "dim")))
    return lines


def _right(cells: Iterable[str]) -> str:
    """One line's cells, each at the right of its column."""
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, HEADS.values(), strict=True))


def _cells(speed: Speed) -> tuple[str, ...]:
    correct = f"{speed.n_correct}/{speed.n_checked}" if speed.n_checked else "–"
    figures = (speed.decode_tokens_per_s, speed.ttft_ms)
    return (f"{speed.n_replies:,}", *map(number, figures), correct, number(speed.peak_memory_mib))


def _around(speeds: Sequence[Speed], name: str | None) -> Sequence[Speed]:
    """As many configurations as there is room for, the one with this name among them."""
    place = next((i for i, speed in enumerate(speeds) if speed.configuration == name), 0)
    start = max(0, min(place - MOST_MODELS // 2, len(speeds) - MOST_MODELS))
    return speeds[start : start + MOST_MODELS]


def _load_lines(s: Snapshot, width: int) -> list[Text]:
    lines = _field(s.phase or "model", s.configuration or "", width, 1, "bold") if s.configuration else []
    found = s.load_summary or {}
    if "verdict" in found:
        why = "; ".join(map(str, found.get("reasons") or ()))
        lines += _field("verdict", f"{found['verdict']}{': ' if why else ''}{why}", width, 3, "bold")
        lines += _field("", f"{_figure(found, 'requests_per_s')} requests/s", width, 1)
        lines += _field("", f"TTFT {_figure(found.get('ttft_ms'), 'p50')} ms (median)", width, 1)
    return lines


def _figure(found: Any, name: str) -> str:
    """A number of a summary, which may be an older version's."""
    value = found.get(name) if isinstance(found, Mapping) else None
    return number(value if isinstance(value, (int, float)) else None)


def _warning_lines(s: Snapshot, width: int) -> list[Text]:
    lines = [Text()] if s.warnings else []
    for warning in s.warnings[:WARNINGS]:
        rows = folded(one_line(warning, 2 * width - 8), width - 2)
        lines += [_line((sign, "bold yellow"), (row, "yellow")) for sign, row in zip(_signs(), rows)]
    if len(s.warnings) > WARNINGS:
        lines.append(_line((f"  … and {len(s.warnings) - WARNINGS} more", "yellow")))
    return lines


def _signs() -> Iterable[str]:
    """What stands before the lines of a warning: a sign before the first."""
    return itertools.chain(["! "], itertools.repeat("  "))


# ---------------------------------------------------------------- drawing


class Rest:
    """How long to rest between looks, so that the view takes no more than `SHARE` of the machine."""

    def __init__(self) -> None:
        self.share, self.cpu_s, self.began_s = SHARE * machine.usable_cores(), time.process_time(), time.monotonic()

    def after_a_look(self) -> float:
        """The rest in s by what was spent since the last one; twice as long until starting the view is made up for."""
        spent_s, self.cpu_s = time.process_time() - self.cpu_s, time.process_time()
        in_debt = self.cpu_s > self.share * (time.monotonic() - self.began_s)
        return min(LONGEST_REST_S, max(PERIOD_S * (1 + in_debt), spent_s / self.share))


def looks(source: Watched | Replay, stop: threading.Event | None = None) -> Iterator[Snapshot]:
    """One snapshot after the other; the last when `stop` is set or, without one, when nothing more will come."""
    rest = Rest()
    while True:
        is_last = stop is not None and stop.is_set()
        snapshot = source.poll()
        yield snapshot
        is_over = snapshot.ended or snapshot.state in ("gone", "waiting")
        if is_last or (stop is None and is_over and not snapshot.n_unread):
            return
        if is_over:  # nothing is measured that could be disturbed: read what is left
            source.budget_s = READ_ON_S
        (stop or threading.Event()).wait(0.0 if is_over and snapshot.n_unread else rest.after_a_look())


def draw(source: Watched | Replay, console: Console, stop: threading.Event | None = None) -> None:
    """Draw a new picture whenever something has changed. With `stop` this is a run's own view (see `main`)."""
    hint = "Ctrl-C ends this view, not the run." if stop is None else "Ctrl-C stops the run; what is measured is safe."
    before = None
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        for snapshot in looks(source, stop):
            now = (*_shown(snapshot), console.size)
            if now != before:
                live.update(picture(snapshot, console.width - 1, hint), refresh=True)
            if stop is not None and before is None:
                os.write(1, b"\n")  # the run waits for this
            before = now
        live.transient = stop is not None and snapshot.state in ENDED  # then the run itself says how it ended


def _shown(s: Snapshot) -> tuple:
    """What of a snapshot makes a new picture."""
    return (s.state, s.phase, s.done, s.total, s.seconds_left, s.configuration, s.prompt_id, s.trial, s.partial,
            s.last, s.speeds, s.warnings, s.log, s.message, s.in_flight)  # fmt: skip


def tell(source: Watched | Replay) -> None:
    """Plain lines, where nothing can be drawn: one every few seconds if something has changed, and the end."""
    before, said_s = "", -PLAIN_PERIOD_S
    for snapshot in looks(source):
        line, now_s = plain(snapshot), time.monotonic()
        if line != before and (snapshot.state != "running" or now_s - said_s >= PLAIN_PERIOD_S):
            print(line, file=sys.stderr, flush=True)
            before, said_s = line, now_s


def plain(s: Snapshot) -> str:
    """A snapshot in one line."""
    how_far = f"{s.done:,} of {s.total:,}" if s.total else f"{s.done:,}"
    parts = [f"{s.folder.resolve().name}: {WORDS.get(s.state, s.state)}", how_far, s.configuration, s.message]
    return one_line(" · ".join(filter(None, parts)), 1000)


def terminal() -> Console:
    """Standard error, where texts are what they are: no markup, no emoji codes, no colours for numbers."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def watch(folder: Path, replay: float | None = None) -> None:
    """Watch a run in this terminal until it ends, or play a finished one `replay` times as fast as it was."""
    source = Watched(folder, BUDGET_S) if replay is None else Replay(folder, replay)
    console = terminal()
    try:
        if console.is_terminal and not console.is_dumb_terminal and not console.no_color:
            draw(source, console)
        else:
            tell(source)
    except KeyboardInterrupt:
        print("No longer watching; a run that is under way goes on.", file=sys.stderr)


def main(folder: str) -> None:
    """A run's own view. Ctrl-C is for the run; the pipe on standard input closes when the run ends, however it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop, source = threading.Event(), Watched(folder, BUDGET_S)

    def wait_for_the_end() -> None:
        os.read(0, 1)
        time.sleep(0.05)  # the lock of a run that was killed is free a moment later
        source.silent_s = 0.0
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    try:
        draw(source, terminal(), stop)
    except Exception as problem:  # whatever it is, it must not spoil the run's terminal
        sys.exit(f"The live view ended ({type(problem).__name__}: {visible(problem)}); the run goes on.")


if __name__ == "__main__":
    main(sys.argv[1])
