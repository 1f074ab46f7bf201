"""Watch a run while it grows: how far it is, what it just said, how fast it has been so far.

    run = Watched("benchmark_outputs/mine")
    snapshot = run.poll()          # as often as you like; with nothing new it costs next to nothing
    snapshot.state, snapshot.done, snapshot.total, snapshot.last["response"]

Everything comes from the run's folder, and nothing is written there: a view cannot disturb what it shows, several
may watch at once, and a finished run is watched in the same way. `Replay` has the same `poll` and plays a finished
run again. The terminal's view is in `terminal`, the dashboard in lesson 08.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchkit import machine, metrics, runs, stats
from benchkit.errors import BenchkitError
from benchkit.recording import Recording
from benchkit.text import command_line, counted

#: What of a text is kept, in characters: a reply may have millions.
PROMPT_SHOWN, REPLY_SHOWN = 500, 2000
#: How many bytes of a log's end are read at first, and how many of its messages are kept.
LOG_BYTES, LOG_LINES = 262_144, 50
#: A run that has said nothing for so long may be gone: its lock is tried, and tried again after as long.
SILENT_S = 3.0

#: An artifact's name, and a line of the log that only says that one was written.
ARTIFACT_NAME = re.compile(r"_trial_\d+_[0-9a-f]{8}\.json$")
ARTIFACT_LINE = re.compile(r"\S+_trial_\d+_[0-9a-f]{8}\.json ")

ENDED = ("complete", "interrupted", "failed")


# ---------------------------------------------------------------- what a view shows


@dataclass(frozen=True)
class Speed:
    """What one configuration has shown so far, from the replies that were read.

    `decode_tokens_per_s` and `ttft_ms` are the medians that `tables.summarize` gives: over prompts, each by its
    median over trials; decode speed is that of forced-length replies where there are any ("forced").
    """

    configuration: str
    n_replies: int = 0
    n_failed: int = 0
    n_checked: int = 0
    n_correct: int = 0
    decode_tokens_per_s: float | None = None
    decode_source: str = "natural"
    ttft_ms: float | None = None
    peak_memory_mib: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment. Texts are as the model wrote them: show them with `text.visible`, and as text only.

    `state` is "waiting" (nothing has begun), "running", "complete", "interrupted", "failed" (an error ended it),
    "dead" (it says that it runs, but its process is gone) or "gone" (the folder was moved or deleted). `message` is
    one clear line where something is wrong. `resume` is the command that continues the run, where it is known.
    Rows (`last`, `new_results`: those since the last poll) have the names of `summary.json`, with `purpose`,
    `peak_memory_mib`, `checks` and the beginnings of long texts; `artifact` tells them apart. `n_unread` artifacts exist that a later poll will read.
    """

    folder: Path
    kind: str = "run"  # or "load"
    state: str = "waiting"
    phase: str | None = None
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None
    configuration: str | None = None
    prompt_id: str | None = None
    prompt_text: str = ""
    trial: int | None = None
    partial: str = ""
    last: Mapping[str, Any] | None = None
    speeds: tuple[Speed, ...] = ()
    peak_memory_mib: float | None = None
    warnings: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    new_results: tuple[Mapping[str, Any], ...] = ()
    n_unread: int = 0
    in_flight: int | None = None  # of a load run
    load_summary: Mapping[str, Any] | None = None  # of a load run that is over
    message: str = ""
    resume: str = ""
    started: str | None = None
    updated: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come, unless somebody continues the run."""
        return self.state in (*ENDED, "dead")


# ---------------------------------------------------------------- rows


def read_row(path: Path, folder: Path) -> dict[str, Any]:
    """One artifact as a light row, for showing; raises ValueError where it is damaged or of another version.

    It is looked at less closely than by `runs.read_artifact`: a view reads hundreds while a model is measured.
    """
    try:
        artifact = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise ValueError(f"not complete JSON ({type(problem).__name__})") from None
    if not isinstance(artifact, dict) or artifact.get("schema") != runs.ARTIFACT_SCHEMA:
        raise ValueError(f"not an artifact of schema {runs.ARTIFACT_SCHEMA}")
    try:
        runs.check_kinds(artifact, runs.REQUIRED, "artifact", required=True)
        runs.check_kinds(artifact, runs.OPTIONAL, "artifact")
        runs.check_kinds(artifact["recording"], runs.RECORDING, "recording")
        runs.check_block(artifact.get("block") or {})
        return light_row(artifact, path.relative_to(folder).as_posix())
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
        raise ValueError(f"damaged ({problem})") from None


def light_row(artifact: Mapping[str, Any], file: str) -> dict[str, Any]:
    """What a view shows and counts of one artifact."""
    recording = Recording.from_dict(artifact["recording"])
    checks = [{**check, "reason": str(check.get("reason"))[:PROMPT_SHOWN]} for check in artifact.get("checks") or ()]
    ran = [bool(check["passed"]) for check in checks if check.get("passed") is not None]
    completed = recording.state in metrics.COMPLETED
    cut_short = artifact["purpose"] == "speed" and recording.state in ("ok", "empty")  # see `rows`
    names = ("configuration", "model", "engine", "prompt_set", "prompt_index", "prompt_id", "category", "trial")
    return {
        **{name: artifact.get(name) for name in names},
        "purpose": "cut short" if cut_short else artifact["purpose"],
        "prompt": artifact["prompt"][:PROMPT_SHOWN], "response": artifact["response"][:REPLY_SHOWN],
        "n_characters": len(artifact["response"]), "state": recording.state,
        "error": recording.error and str(recording.error)[:PROMPT_SHOWN],
        "latency_s": artifact["latency_s"], "ttft_ms": metrics.ttft_ms(recording),
        "decode_tokens_per_s": metrics.decode_tokens_per_s(recording),
        "n_output_tokens": metrics.n_output_tokens(recording),
        "checks": checks, "n_checks": len(ran), "n_passed": sum(ran),
        "passed": completed and all(ran) if ran else None,
        "peak_memory_mib": machine.shown_memory(artifact.get("memory") or {})[1],
        "block": artifact.get("block") or {}, "started_at": recording.started_at,
        "clock_faults": "; ".join(metrics.clock_faults(recording)), "artifact": file,
    }  # fmt: skip


class Tally:
    """Rows, and what they come to so far. Only what changed is worked out anew."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}  # by configuration
        self._speeds: dict[str, Speed] = {}
        self._blocks: dict[str, dict[str, Any]] = {}
        self._warnings: tuple[str, ...] | None = ()

    def add(self, row: dict[str, Any]) -> None:
        """Take in one row."""
        name = row["configuration"]
        self.rows.setdefault(name, []).append(row)
        self._speeds.pop(name, None)
        block, self._warnings = row["block"], None
        if block.get("id") and (block.get("position") or 0) >= (self._blocks.get(block["id"], {}).get("position") or 0):
            self._blocks[block["id"]] = block

    def speeds(self, order: Iterable[str] = ()) -> tuple[Speed, ...]:
        """One a configuration, those in `order` first and also where they have no replies yet."""
        names = dict.fromkeys([*order, *self.rows])
        for name in names:
            if name not in self._speeds:
                self._speeds[name] = speed_of(name, self.rows.get(name, ()))
        return tuple(self._speeds[name] for name in names)

    def warnings(self) -> tuple[str, ...]:
        """What the verdict would say against these rows."""
        if self._warnings is None:
            judged = machine.judge_blocks(self._blocks.values())
            found = (text for name, rows in self.rows.items() for text in warnings_of(name, rows, judged))
            self._warnings = tuple(found)
        return self._warnings


def speed_of(configuration: str, rows: Sequence[Mapping[str, Any]]) -> Speed:
    """What one configuration's rows come to."""
    natural, forced = ([r for r in rows if r["purpose"] == purpose] for purpose in ("quality", "speed"))
    judged = [row["passed"] for row in rows if row["passed"] is not None]
    return Speed(
        configuration, len(rows), len(failed(rows)), len(judged), sum(judged),
        middle(forced or natural, "decode_tokens_per_s"), "forced" if forced else "natural",
        middle(natural, "ttft_ms"), max(stats.clean(row["peak_memory_mib"] for row in rows), default=None),
    )  # fmt: skip


def middle(rows: Sequence[Mapping[str, Any]], column: str) -> float | None:
    """The median over prompts of each prompt's median over its completed trials."""
    rows = [row for row in rows if row["state"] in metrics.COMPLETED]
    prompts = [(row["prompt_set"], row["prompt_index"]) for row in rows]
    values = stats.medians_by_prompt(prompts, [row[column] for row in rows]).values()
    return statistics.median(values) if values else None


def failed(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that did not end as they should; an empty reply did."""
    return [row for row in rows if row["state"] not in (*metrics.COMPLETED, "empty")]


def warnings_of(name: str, rows: Sequence[Mapping[str, Any]], judged: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What `judge.verdict` would say against one configuration, as far as it can be told on the way."""
    bad, found = failed(rows), []
    if bad:
        states = ", ".join(f"{n} {state}" for state, n in Counter(row["state"] for row in bad).most_common())
        few = f" ({states}), so its times are of the others only" if 2 * len(bad) <= len(rows) else ""
        found.append(f"{name}: {len(bad)} of {counted(len(rows), 'request')} failed{few}")
    faults = [row["clock_faults"] for row in rows if row["clock_faults"]]
    if faults:
        found.append(f"time stamps contradict each other in {counted(len(faults), 'request')}: {faults[0]}")
    blocks = {row["block"]["id"]: row["block"] for row in rows if row["block"].get("id") in judged}
    n = counted(len(blocks), "block")
    void = [judged[block] for block in blocks if judged[block].get("void")]
    if void:
        why = "; ".join(void[0].get("reasons") or ())
        found.append(f"{name}: {len(void)} of {n} of requests disturbed{f': {why}' if why else ''}")
    cold = [block for block in blocks.values() if block.get("warmed") is False]
    if cold:
        found.append(f"{name}: {len(cold)} of {n} of requests began cold: its warm-up failed")
    return found


# ---------------------------------------------------------------- a folder as it grows

#: What the parts of a status are, where it has them.
STATUS = {"state": str, "phase": str, "done": int, "total": int, "seconds_left": runs.NUMBER, "configuration": str,
          "prompt": str, "prompt_text": str, "trial": int, "partial": str, "peak_memory_mib": runs.NUMBER,
          "in_flight": int, "failed": dict, "command": list, "started": str, "updated": str}  # fmt: skip


class Watched:
    """A run folder, looked at again and again; `poll` reads only what is new.

    `budget_s` limits the time that one poll spends on reading artifacts: the newest are read first, the others by
    later polls. Whatever is or is not in the folder, nothing is raised: the snapshot says it.
    """

    def __init__(self, folder: str | os.PathLike, budget_s: float | None = None) -> None:
        self.folder, self.budget_s = Path(folder), budget_s
        self.silent_s = SILENT_S
        self._seen = False  # whether the folder was ever there
        self._forget()

    def _forget(self) -> None:
        """Begin anew: nothing of the folder is known."""
        self._marks: dict[str, tuple] = {}  # file or folder: what it was at the last look
        self._status: dict[str, Any] = {}
        self._manifest: dict[str, Any] = {}
        self._load: dict[str, Any] | None = None
        self._broken: dict[str, str] = {}  # file: what is wrong with it
        self._log: tuple[str, ...] = ()
        self._log_at = 0
        self._heard = self._tried = -math.inf  # when the run last said something, and when its lock was tried
        self._held = True
        self._forget_artifacts()

    def _forget_artifacts(self) -> None:
        self.tally, self._last = Tally(), None
        self._known: set[str] = set()  # read, or damaged
        self._unread: list[tuple[float, str]] = []  # the newest last
        self._damaged: dict[str, str] = {}

    def poll(self) -> Snapshot:
        """The run as it is now."""
        if not os.path.isdir(self.folder):
            return self._without_folder()
        self._seen = True
        self._look_at_manifest()
        self._look_at_status()
        self._look_at_log()
        if self._is_load:
            self._look_at_summary()
        else:
            self._look_for_artifacts()
        return self._snapshot(self._read_some())

    def _without_folder(self) -> Snapshot:
        if not self._seen:
            return Snapshot(self.folder, message=f"nothing has begun: {self.folder} does not exist yet")
        return replace(
            self._snapshot([]), state="gone", phase=None, partial="", resume="",
            message=f"{self.folder} was moved or deleted; where it is now, it can be watched again",
        )  # fmt: skip

    # ---- files

    def _changed(self, name: str) -> bool:
        """Whether a file or folder is another one than at the last look."""
        try:
            found = os.stat(self.folder / name)
        except OSError:
            return self._marks.pop(name, None) is not None
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        changed = self._marks.get(name) != mark
        self._marks[name] = mark
        return changed

    def _look_at_manifest(self) -> None:
        if not self._changed("manifest.json"):
            return
        try:
            found = runs.open_run(self.folder).manifest
            self._broken.pop("manifest.json", None)
        except BenchkitError as problem:
            self._broken["manifest.json"] = str(problem)
            return
        if self._manifest.get("created") not in (None, found.get("created")):
            self._forget()  # another run has begun in the same place
        self._manifest = found

    def _look_at_status(self) -> None:
        if not self._changed("status.json"):
            return
        found = runs.read_json(self.folder / "status.json", {})
        try:
            runs.check_kinds(found, STATUS, "status")
            self._broken.pop("status.json", None)
        except ValueError:
            found = {}
        if found:
            written_s = time.time() - self._marks["status.json"][1] / 1e9
            self._heard = time.monotonic() - (max(0.0, written_s) if not self._status else 0.0)
            self._status, self._held = found, True
        elif "status.json" in self._marks:
            self._broken["status.json"] = "status.json is damaged or half written; shown is what else is known"

    def _look_at_log(self) -> None:
        """Keep the log's last messages; lines that only say that an artifact was written are left out."""
        if not self._changed("run.log"):
            return
        try:
            data = self._new_in_log()
        except OSError:
            return
        whole = data.rfind(b"\n") + 1  # a line that is still being written waits
        self._log_at += whole
        lines = [line.partition(" ")[2] for line in data[:whole].decode("utf-8", "replace").splitlines()]
        messages = [line for line in lines if line and not ARTIFACT_LINE.match(line)]
        self._log = (*self._log, *messages)[-LOG_LINES:]

    def _new_in_log(self) -> bytes:
        with open(self.folder / "run.log", "rb") as file:
            size = file.seek(0, os.SEEK_END)
            self._log_at = max(self._log_at if self._log_at <= size else 0, size - LOG_BYTES)
            file.seek(self._log_at)
            return file.read(LOG_BYTES)

    def _look_at_summary(self) -> None:
        """A load run's summary, which is there when the run is over."""
        if self._changed("summary.json"):
            self._load = runs.read_json(self.folder / "summary.json")

    # ---- artifacts

    def _look_for_artifacts(self) -> None:
        """List the folder where it changed, unless the status says that all artifacts are known already."""
        first = not self._marks.get(".")
        changed = [self._changed("."), self._changed("speed")]
        n_known = len(self._known) + len(self._unread)
        if not any(changed) or (not first and self._status.get("done") == n_known):
            return
        found = {**_artifacts(self.folder, ""), **_artifacts(self.folder / "speed", "speed/")}
        if not self._known <= found.keys():  # some are not there any more: begin to count anew
            self._forget_artifacts()
        new = found.keys() - self._known
        self._unread = sorted((_written(found[name]), name) for name in new)

    def _read_some(self) -> list[dict[str, Any]]:
        """Read artifacts, the newest first, while the budget lasts; in the order in which they were measured."""
        rows, give_up = [], time.monotonic() + (math.inf if self.budget_s is None else self.budget_s)
        while self._unread and (not rows or time.monotonic() < give_up):
            _, name = self._unread.pop()
            self._known.add(name)
            try:
                rows.append(read_row(self.folder / name, self.folder))
            except ValueError as problem:
                self._damaged[name] = str(problem)
        rows.sort(key=_when)
        for row in rows:
            self.tally.add(row)
        self._last = max([*rows[-1:], *([self._last] if self._last else [])], key=_when, default=None)
        return rows

    # ---- telling

    @property
    def _is_load(self) -> bool:
        return os.path.exists(self.folder / "schedule.json")

    def _state(self) -> str:
        """What the status says; a run that says that it runs, but is silent, must hold its lock."""
        state = self._status.get("state") or ("running" if self._manifest else "waiting")
        if state != "running":
            evaluating = self._is_load and state in ENDED and self._load is None and runs.is_held(self.folder)
            return "running" if evaluating else state
        now = time.monotonic()
        if now - max(self._heard, self._tried) >= self.silent_s:
            self._tried, self._held = now, runs.is_held(self.folder)
        return "running" if self._held else "dead"

    def _snapshot(self, new: list[dict[str, Any]]) -> Snapshot:
        status, state, resume = self._status, self._state(), self._resume()
        now = status if state == "running" else {}
        speeds = self.tally.speeds(self._manifest.get("configurations") or ())
        peaks = stats.clean([status.get("peak_memory_mib"), *(speed.peak_memory_mib for speed in speeds)])
        return Snapshot(
            folder=self.folder, kind="load" if self._is_load else "run", state=state, phase=now.get("phase"),
            done=self._n_done(), total=status.get("total"),
            seconds_left=now.get("seconds_left"), configuration=now.get("configuration"),
            prompt_id=now.get("prompt"), prompt_text=now.get("prompt_text") or "", trial=now.get("trial"),
            partial=now.get("partial") or "", last=self._last, speeds=speeds,
            peak_memory_mib=max(peaks, default=None), warnings=self._warnings(), log=self._log,
            new_results=tuple(new), n_unread=len(self._unread), in_flight=now.get("in_flight"),
            load_summary=self._load if self._is_load else None, message=self._message(state, resume),
            resume=resume, started=status.get("started"), updated=status.get("updated"),
        )  # fmt: skip

    def _n_done(self) -> int:
        return self._status.get("done") or len(self._known) + len(self._unread) - len(self._damaged)

    def _warnings(self) -> tuple[str, ...]:
        """What the verdict would say so far: of the whole run, then of what was measured."""
        found = [f"{name} could not be measured: {why}" for name, why in (self._status.get("failed") or {}).items()]
        if self._damaged:
            name, why = next(iter(self._damaged.items()))
            found.append(f"{counted(len(self._damaged), 'artifact')} cannot be read ({name}: {why})")
        for session in self._manifest.get("sessions") or ():
            found += [f"changed during the run: {note}" for note in session.get("notes") or ()]
        return (*found, *self.tally.warnings())

    def _message(self, state: str, resume: str) -> str:
        """What is wrong, and what to do about it; empty where nothing is."""
        total = self._status.get("total")
        n = f"{self._n_done()}{f' of {total}' if total else ''} replies are safe"
        how = f"continue with: {resume}" if resume else "the same command or call continues it"
        if self._is_load:
            n, how = "what was sent is safe", f"see it with: {command_line(['benchkit', 'compare', str(self.folder)])}"
        if state == "dead":
            return f"its process is gone; {n}; {how}"
        if state in ("interrupted", "failed"):
            return f"{'an error ended it' if state == 'failed' else 'it was interrupted'}; {n}; {how}"
        if self._broken:
            return next(iter(self._broken.values()))
        return "nothing has begun yet" if state == "waiting" else ""

    def _resume(self) -> str:
        """The command that continues the run, with the folder as it is called here."""
        words = self._status.get("command")
        if not words or self._is_load or self._status.get("state") == "complete":
            return ""
        return command_line([*map(str, words), "--out", str(self.folder)])


def _artifacts(folder: Path, prefix: str) -> dict[str, os.DirEntry]:
    """What lies in a folder and is named like an artifact, by its name in the run."""
    try:
        with os.scandir(folder) as entries:
            return {prefix + e.name: e for e in entries if ARTIFACT_NAME.search(e.name) and e.name[0] != "."}
    except OSError:
        return {}


def _written(entry: os.DirEntry) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:
        return 0.0


def _when(row: Mapping[str, Any]) -> str:
    return row["started_at"] or ""


# ---------------------------------------------------------------- a finished run, played again

#: A longer pause between two replies, such as a night between two sessions, is played as this, in s.
LONGEST_PAUSE_S = 3.0


class Replay:
    """A run as if it were measured now, `speed` times as fast; `poll` is that of `Watched`, which follows at the end."""

    def __init__(self, folder: str | os.PathLike, speed: float = 1.0) -> None:
        self._watched, self.speed, self.tally = Watched(folder), speed, Tally()
        self.end = self._watched.poll()
        self._timeline = timeline(self.end.new_results)
        self._n, self._began, self._last = 0, time.monotonic(), None

    def poll(self) -> Snapshot:
        """The run as it was at this moment of the replay; afterwards as it is."""
        now_s = (time.monotonic() - self._began) * self.speed
        new = []
        while self._n < len(self._timeline) and self._timeline[self._n][1] <= now_s:
            new.append(self._timeline[self._n][2])
            self.tally.add(new[-1])
            self._n += 1
        self._last = new[-1] if new else self._last
        if self._n == len(self._timeline):
            end = self._watched.poll()
            return replace(end, new_results=(*new, *end.new_results))
        return self._under_way(now_s, tuple(new))

    def _under_way(self, now_s: float, new: tuple) -> Snapshot:
        start_s, _, row = self._timeline[self._n]
        begun = now_s >= start_s
        speeds = self.tally.speeds(speed.configuration for speed in self.end.speeds)
        peaks = stats.clean(speed.peak_memory_mib for speed in speeds)
        return replace(
            self.end, state="running", phase="replay", done=self._n, total=len(self._timeline), new_results=new,
            seconds_left=(self._timeline[-1][1] - now_s) / self.speed, configuration=row["configuration"],
            prompt_id=row["prompt_id"], prompt_text=row["prompt"], trial=row["trial"], last=self._last,
            partial=said_after(self.end.folder / row["artifact"], now_s - start_s) if begun else "",
            speeds=speeds, peak_memory_mib=max(peaks, default=None), warnings=self.tally.warnings(),
            log=(), message="", resume="",
        )  # fmt: skip


def timeline(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float, dict[str, Any]]]:
    """Rows with their start and end in s, the first at 0, long pauses shortened."""
    found, end_s, before = [], 0.0, None
    for row in sorted(rows, key=_when):
        start = _moment(row["started_at"]) or before
        pause_s = (start - before).total_seconds() if start and before else 0.0
        start_s = end_s + min(max(0.0, pause_s), LONGEST_PAUSE_S)
        end_s = start_s + row["latency_s"]
        before = start and start + timedelta(seconds=row["latency_s"])
        found.append((start_s, end_s, row))
    return found


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None) if text else None
    except ValueError:
        return None


def said_after(artifact: Path, seconds: float) -> str:
    """How much of its reply an artifact's model had said so many seconds after it was asked."""
    recording = (runs.read_json(artifact, {}).get("recording")) or {}
    try:
        chunks = metrics.text_chunks(Recording.from_dict(recording))
    except (KeyError, TypeError, ValueError):
        return ""
    limit_ns = recording["t_sent_ns"] + seconds * 1e9
    return "".join(chunk.text for chunk in chunks if chunk.t_ns <= limit_ns)[-REPLY_SHOWN:]
