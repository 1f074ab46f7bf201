"""A recorded run, played again: `replay:benchmark_outputs/sample#gguf:pocket-s`.

    with ReplayBackend("replay:benchmark_outputs/sample#gguf:pocket-s", "benchmark_outputs/sample") as model:
        print(model.stream(prompt).response)

It answers the prompts of that run with the replies of that run, token by token as they came then, or all at
once. The recording it returns has every duration exactly as it was measured; only the clock it begins at is
now. So a lesson shows the same figures on every computer, and a plot can be tried without a model.

What it will not do is make a reply up: a prompt that was not asked then, or options under which the reply
could have been another one, end in the state `error` and say what there is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import runs
from ..errors import ModelError, did_you_mean
from ..recording import Recording
from ..text import one_line
from .base import DEFAULTS, OnText, Options

#: Text for a live view is passed on at most this often, as every backend does.
SHOW_EVERY_NS = 100_000_000

#: What decides about a reply and its times, whatever the temperature …
ALWAYS = ("raw", "cache", "temperature")
#: … and above temperature 0.
WHEN_RANDOM = ("seed", "top_k", "top_p")


class ReplayBackend:
    """The replies of one configuration of a recorded run.

    `folder` is a run folder; after a `#` in `name` stands the configuration whose replies are played, which
    may be left out where the run has only one. With `at_once` nothing waits. A prompt that was asked several
    times is answered by its trials in turn. Raises `ModelError` if there is no such run or configuration.
    """

    def __init__(self, name: str, folder: str | Path, at_once: bool = False) -> None:
        self.name = name
        self.folder = Path(folder)
        self.at_once = at_once
        self._run = runs.open_run(self.folder)
        self.configuration = _choose(name, self._run)
        rows = [row for row in self._run.artifacts() if row["configuration"] == self.configuration]
        self._rows: dict[tuple[str, bool], list[dict[str, Any]]] = {}  # (prompt, forced) → its trials
        for row in rows:
            forced = bool(row["options"].get("ignore_eos"))
            self._rows.setdefault((row["prompt"], forced), []).append(row)
        self._asked: Counter[tuple[str, bool]] = Counter()
        engine = rows[0]["engine"]
        self._model = self._run.manifest.get("models", {}).get(engine, {})
        self.load_s: float | None = self._model.get("load_s")
        self._closed = False

    def stream(self, prompt: str, options: Options = DEFAULTS, on_text: OnText | None = None) -> Recording:
        """Play the reply to this prompt; `on_text` gets its text at the recorded times, or at once."""
        if not isinstance(prompt, str):
            raise ModelError(f"A prompt is a string, this is {type(prompt).__name__}.")
        if self._closed:
            raise ModelError(f"{self.name} is closed: connect again.")
        now = time.perf_counter_ns()
        key = (prompt, options.ignore_eos)
        trials = self._rows.get(key, [])
        if not trials:
            return _failure(now, self._unknown(prompt, options.ignore_eos))
        row = trials[self._asked[key] % len(trials)]
        if why := difference(row, options):
            return _failure(now, why)
        self._asked[key] += 1
        recording = shifted(Recording.from_dict(row["recording"]), now)
        if self.at_once:
            if on_text and recording.response:
                on_text(recording.response)
        else:
            _play(recording, on_text)
        return recording

    def _unknown(self, prompt: str, forced: bool) -> str:
        known = [text for text, other in self._rows if other == forced]
        kind = "forced-length replies" if forced else "replies"
        return (
            f"{self.folder} has no reply to {one_line(prompt, 60)!r}{did_you_mean(prompt, known)}. A replay "
            f"answers only what was asked then: {self.configuration} has {kind} to {len(known)} prompts."
        )

    def describe(self) -> dict[str, Any]:
        """The recorded model as its run describes it, and which run that is."""
        machine = self._run.manifest.get("machine", {})
        return {
            **self._model,
            "name": self.name,
            "replay": {
                "configuration": self.configuration,
                "run": self._run.name,
                "measured": self._run.manifest.get("created"),
                "cpu": machine.get("cpu"),
                "at_once": self.at_once,
            },
        }

    def snapshot(self) -> dict[str, Any]:
        """Nothing can change while a recording is played."""
        return {}

    def pids(self) -> list[int]:
        """No process: a recording takes no memory worth measuring."""
        return []

    def close(self) -> None:
        """Stop answering."""
        self._closed = True

    def __enter__(self) -> ReplayBackend:  # noqa: PYI034
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def split_name(text: str) -> tuple[str, str | None]:
    """The run folder and the configuration in what follows `replay:`; a folder may have a `#` in its name.

    >>> split_name("benchmark_outputs/sample#gguf:pocket-s")
    ('benchmark_outputs/sample', 'gguf:pocket-s')
    >>> split_name("benchmark_outputs/sample")
    ('benchmark_outputs/sample', None)
    """
    if Path(text).is_dir() or "#" not in text:
        return text, None
    folder, _, configuration = text.partition("#")
    while "#" in configuration and not Path(folder).is_dir():
        more, _, configuration = configuration.partition("#")
        folder = f"{folder}#{more}"
    return folder, configuration


def _choose(name: str, run: runs.Run) -> str:
    """Which of the run's configurations is meant."""
    there = list(dict.fromkeys(row["configuration"] for row in run.artifacts()))
    _, wanted = split_name(name.removeprefix("replay:"))
    if not there:
        raise ModelError(f"{name}: {run.folder} has no recorded replies.")
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted in there:
        return wanted
    what = "which of its configurations?" if wanted is None else f"there is no {wanted} in it"
    hint = "" if wanted is None else did_you_mean(wanted, there)
    raise ModelError(
        f"{name}: {what}{hint}. Write replay:{run.folder}#CONFIGURATION with one of {', '.join(there)}."
    )


def difference(row: Mapping[str, Any], options: Options) -> str | None:
    """Why the reply in this artifact may not be played under these options; None if it may.

    It may if the model would have replied the same: at temperature 0 the seed does not matter, and neither
    does a larger limit for a reply that ended before its own.
    """
    then, recording = row["options"], Recording.from_dict(row["recording"])
    names = ALWAYS + (WHEN_RANDOM if options.temperature > 0 else ())
    other = [name for name in names if name in then and then[name] != getattr(options, name)]
    reported = recording.counts.get("output_reported") or recording.counts.get("output")
    n_tokens = reported.value if reported else len(recording.chunks)
    if recording.state == "length" or n_tokens > options.max_tokens:
        other += ["max_tokens"] if then["max_tokens"] != options.max_tokens else []
    if other:
        was = ", ".join(f"{name}={then[name]!r}" for name in other)
        asked = ", ".join(f"{name}={getattr(options, name)!r}" for name in other)
        return f"This reply was recorded with {was}; with {asked} it could have been another one."
    took_s = (recording.t_end_ns - recording.t_sent_ns) / 1e9
    if took_s > options.timeout_s:
        return (
            f"This reply took {took_s:.3g} s when it was recorded, more than timeout_s={options.timeout_s:g}."
        )
    return None


def shifted(recording: Recording, t_sent_ns: int) -> Recording:
    """The recording as if it had been sent at another time: every duration stays as it is.

    >>> from benchkit.metrics import EXAMPLE, latency_s
    >>> moved = shifted(EXAMPLE, 7_000_000)
    >>> moved.t_sent_ns, moved.chunks[0].t_ns, latency_s(moved) == latency_s(EXAMPLE)
    (7000000, 9000000, True)
    """
    by = t_sent_ns - recording.t_sent_ns

    def move(t_ns: int | None) -> int | None:
        return None if t_ns is None else t_ns + by

    stamps = [name for name in Recording.__dataclass_fields__ if _is_stamp(name)]
    timings = recording.server_timings
    return replace(
        recording,
        **{name: move(getattr(recording, name)) for name in stamps},
        chunks=tuple(replace(chunk, t_ns=chunk.t_ns + by) for chunk in recording.chunks),
        server_timings={key: move(value) if _is_stamp(key) else value for key, value in timings.items()},
    )


def _is_stamp(name: str) -> bool:
    return name.startswith("t_") and name.endswith("_ns")


def _play(recording: Recording, on_text: OnText | None) -> None:
    """Wait as long as the reply took, passing its text on as it came."""
    waiting, show_at = "", 0
    for chunk in recording.chunks if on_text else ():
        if chunk.kind != "content":
            continue
        waiting += chunk.text
        if waiting and chunk.t_ns >= show_at:
            _sleep_until(chunk.t_ns)
            on_text(waiting)
            waiting, show_at = "", chunk.t_ns + SHOW_EVERY_NS
    _sleep_until(recording.t_end_ns)
    if waiting:
        on_text(waiting)


def _sleep_until(t_ns: int) -> None:
    left_s = (t_ns - time.perf_counter_ns()) / 1e9
    if left_s > 0:
        time.sleep(left_s)


def _failure(now_ns: int, why: str) -> Recording:
    return Recording(t_sent_ns=now_ns, t_end_ns=now_ns, state="error", error=why)
