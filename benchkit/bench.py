"""Measure a plan: warm up, take turns, write each reply down the moment it exists.

The order. Models take turns of ten prompts (two forced-length replies), and the model that begins
changes from turn to turn, so that whatever drifts meanwhile (heat, other programs) hits all alike.
After every change of model one reply of 32 tokens goes unrecorded, because a model that has just
been idle runs slower; an engine that has just started generates for a quarter of a second. Turns
of ten prompts rather than one keep that cost small. Models that do not all fit in memory are loaded
one at a time instead, one turn for each trial of all prompts, and never fewer than two turns each:
A, B, B, A. What was done is in the manifest.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchkit import backends, machine, metrics, places, quality, runs, stats, weigh
from benchkit.backends.base import Backend, Options
from benchkit.errors import BenchkitError, ModelError
from benchkit.perplexity import perplexity
from benchkit.plan import SERVED, Configuration, Plan, Test, read_plan
from benchkit.progress import Progress
from benchkit.recording import Recording
from benchkit.runs import Run
from benchkit.text import command_line, duration

#: Requests in one turn of a model before the next model's turn.
TURN, SPEED_TURN = 10, 2

#: Unrecorded after every change of model: one reply of this many tokens …
WARM_UP_TOKENS = 32
#: … and by an engine that has just started, at least this much generating.
FRESH_S = 0.25
#: … but never more than this many replies, however quickly it says that it gave them.
MAX_WARM_UPS = 100
WARM_UP_PROMPT = "One, two, three,"

#: A check that takes longer (code in its sandbox) leaves the engine idle: it is warmed up again.
IDLE_S = 0.1

#: How long to wait before asking a server again that did not answer, in s; then it counts as gone.
PATIENCE_S = (1.0, 3.0)

#: Models stay loaded together while they need less than this share of the memory that was available.
RESIDENT_SHARE = 0.7

STATUS_PERIOD_S = 0.5
#: What the status holds of the prompt (its beginning) and of the reply so far (its end), in characters.
PROMPT_SHOWN, PARTIAL_SHOWN = 500, 2000
SUMMARY_PERIOD_S = 15.0


# ---------------------------------------------------------------- the one call


def run(
    plan: str | os.PathLike | dict | Plan, out: str | os.PathLike | None = None, progress: bool = True, *,
    view: bool = False, command: Sequence[str] = (),
) -> Run:  # fmt: skip
    """Measure a plan into the folder `out`; the same call again continues a run that was stopped.

    `plan` is what `read_plan` takes. Without `out` the folder is named after the plan and its hash, in
    `benchmark_outputs/`. A model that cannot be loaded is noted in `Run.failed` and the others go on;
    ModelError is raised only if none can be. Progress goes to standard error; `view` draws it live where that is a
    terminal. `command` are the words of the command that does the same, without `--out`: views show them.
    """
    command, plan = list(command) or _command(plan), read_plan(plan)
    folder = Path(out) if out is not None else default_folder(plan)
    tests = plan.tests()  # prompts are read before anything is written
    with runs.lock(folder):
        notes = runs.begin(folder, plan)
        session = Session(plan, folder, tests, Progress(folder, "reply", progress, view), command)
        for note in notes:
            session.say(note)
        try:
            session.measure()
            session.measure_perplexity()
        except KeyboardInterrupt:
            session.end("interrupted")
            session.say(f"Interrupted: {session.done} replies are safe in {folder}. {session.how_to_continue()}")
            raise
        except BaseException:
            session.end("failed")
            raise
        session.end("complete")
        return session.result()


def _command(plan: Any) -> list[str]:
    """The command that measures a plan, where the plan is a file or a ready one."""
    return ["benchkit", "run", os.fspath(plan)] if isinstance(plan, (str, os.PathLike)) else []


def run_many(
    plans: Sequence[Any], out: str | os.PathLike | None = None, progress: bool = True, view: bool = False
) -> list[Run]:
    """Measure several plans, one after the other, each into a folder of its own inside `out`.

    A plan that fails does not stop the next; the first failure is raised when all are through.
    """
    commands, plans = [_command(plan) for plan in plans], [read_plan(plan) for plan in plans]
    found, failures = [], []
    for plan, command in zip(plans, commands, strict=True):
        folder = None if out is None else Path(out) / default_folder(plan).name
        try:
            found.append(run(plan, folder, progress, view=view, command=command))
        except BenchkitError as failure:
            failures.append(failure)
            print(f"{plan.name}: {failure}", file=sys.stderr)
    if failures:
        raise failures[0]
    return found


def default_folder(plan: Plan) -> Path:
    """Where a plan is measured if nothing else is said: equal plans continue each other."""
    return places.OUTPUTS / f"{runs.safe_name(plan.name, 40)}-{plan.sha256[:8]}"


# ---------------------------------------------------------------- the order


@dataclass(frozen=True)
class Turn:
    """Consecutive tests on one engine: a block."""

    engine: str
    tests: tuple[Test, ...]


def rotated(engines: Sequence[str], turn: int) -> list[str]:
    """The engines in the order of this round: forwards and backwards, beginning one further each time.

    >>> [rotated("AB", turn) for turn in range(4)]
    [['A', 'B'], ['B', 'A'], ['B', 'A'], ['A', 'B']]
    """
    shift = turn // 2 % len(engines)
    order = [*engines[shift:], *engines[:shift]]
    return order[::-1] if turn % 2 else order


def rounds(tests: Sequence[Test], resident: bool) -> Iterator[tuple[int, list[Test]]]:
    """The tests in rounds: (trial, tests). In each round every engine has one turn.

    Models that stay loaded share short rounds of a few prompts. Otherwise a round is a whole trial, so that
    each model is loaded once a trial; a single trial is split into two rounds, and so are the forced-length
    tests: with one turn each, a drift of the machine could not be told from the model.
    """
    last = max((test.trial for test in tests), default=0)
    forced = [test for test in tests if test.purpose == "speed"]
    natural = [
        [t for t in tests if t.purpose == "quality" and t.trial == trial] for trial in range(last + 1)
    ]
    if resident:
        for trial, part in enumerate(natural):
            yield from ((trial, few) for few in _parts(part, TURN))
        yield from ((last, few) for few in _parts(forced, SPEED_TURN))
        return
    trials = list(enumerate(natural)) if last else [(0, half) for half in _halves(natural[0])]
    for (trial, part), more in itertools.zip_longest(trials, _halves(forced), fillvalue=[]):
        yield trial, part + more


def _halves(tests: list[Test]) -> list[list[Test]]:
    """The tests in two parts, half of the prompts in each."""
    n_prompts = len({_prompt_key(test) for test in tests})
    return [*_parts(tests, max(1, math.ceil(n_prompts / 2))), [], []][:2]


def _parts(tests: list[Test], size: int) -> Iterator[list[Test]]:
    """The tests in parts of `size` prompts, each part with all configurations."""
    prompts = list(dict.fromkeys(_prompt_key(test) for test in tests))
    for start in range(0, len(prompts), size):
        chosen = set(prompts[start : start + size])
        yield [test for test in tests if _prompt_key(test) in chosen]


def _prompt_key(test: Test) -> tuple[str, str, int]:
    return (test.purpose, test.prompt_set_sha256, test.prompt.index)


def turns(tests: Sequence[Test], resident: bool) -> Iterator[tuple[int, Turn]]:
    """Every turn of the plan in order, with its trial."""
    engines = list(dict.fromkeys(test.configuration.engine for test in tests))
    for number, (trial, part) in enumerate(rounds(tests, resident)):
        for engine in rotated(engines, number):
            mine = tuple(_by_turns([test for test in part if test.configuration.engine == engine], trial))
            if mine:
                yield trial, Turn(engine, mine)


def _by_turns(tests: Sequence[Test], trial: int) -> Iterator[Test]:
    """Prompt by prompt; an engine's configurations take turns in being first, by prompt and by trial."""
    prompts: dict[tuple, list[Test]] = {}
    for test in tests:
        prompts.setdefault(_prompt_key(test), []).append(test)
    for number, same in enumerate(prompts.values()):
        shift = (number + trial) % len(same)
        yield from (*same[shift:], *same[:shift])


# ---------------------------------------------------------------- one reply


def warm_up(backend: Backend, fresh: bool, timeout_s: float) -> list[Recording]:
    """Let an idle engine generate unrecorded: `WARM_UP_TOKENS`, and for `FRESH_S` if it has just started.

    Returns the replies; none if it could not be done. In a context too small for them they are shorter.
    Only time spent generating counts, not that of starting an engine anew.
    """
    n, n_tokens, generated_s, replies = WARM_UP_TOKENS, 0, 0.0, []
    while n_tokens < WARM_UP_TOKENS or (fresh and generated_s < FRESH_S and len(replies) < MAX_WARM_UPS):
        try:
            options = Options(max_tokens=n, ignore_eos=True, raw=True, timeout_s=timeout_s)
            reply = backend.stream(WARM_UP_PROMPT, options)
        except ModelError:  # the tests themselves will say so
            return []
        if reply.state == "error" and n > 1 and backend.pids():  # it is alive: perhaps its context is too small
            n //= 2
            continue
        if reply.state not in metrics.COMPLETED:
            return []
        replies.append(reply)
        n_tokens, generated_s = n_tokens + n, generated_s + metrics.latency_s(reply)
    return replies


def drift_of(engine: Engine) -> list[str]:
    """What the server's own record of the model says otherwise than when the block began."""
    try:
        return runs.differences(engine.record, server_record(engine.backend))
    except ModelError:
        return ["the server did not tell its record of the model any more"]


def server_record(backend: Backend) -> dict[str, Any]:
    """The server's own record of the model. One that gives no answer is asked again; then it counts as gone."""
    for wait_s in PATIENCE_S:
        try:
            return backend.snapshot()
        except ModelError:
            time.sleep(wait_s)
    return backend.snapshot()


WORDS = """
the sun was warm and the small boat went slowly down the river to the old town where people sat in the shade
and told long stories about rain and snow and the road home
"""


def speed_text(count: Callable[[str], int | None], n_prompt: int, index: int) -> str:
    """A plain text of `n_prompt` tokens (as near as its words allow), another one for each index.

    >>> text = speed_text(lambda text: len(text.split()) + 1, n_prompt=12, index=0)
    >>> len(text.split())
    11
    """
    words = random.Random(index).choices(
        WORDS.split(), k=n_prompt
    )  # at least one token a word: never too few words
    n_words, best = n_prompt, (math.inf, "")
    for _ in range(8):
        text = " " + " ".join(words[:n_words])
        n_tokens = count(text)
        if n_tokens is None:
            return text
        best = min(best, (abs(n_tokens - n_prompt), text))
        step = round((n_prompt - n_tokens) * n_words / max(1, n_tokens)) or (n_prompt > n_tokens) - (
            n_prompt < n_tokens
        )
        if step == 0 or not 1 <= n_words + step <= n_prompt:
            break
        n_words += step
    return best[1]


def check_reply(recording: Recording, test: Test, run_code: bool) -> list[dict[str, Any]]:
    """The reply's quality checks; none for forced lengths, where the reply was not the model's to end."""
    if test.purpose == "speed":
        return []
    try:
        results = quality.run_checks(recording.response, test.prompt, run_code=run_code)
    except BenchkitError as problem:  # a sandbox that cannot hold its limits, for instance
        return [{"check": c["check"], "passed": None, "reason": str(problem)} for c in test.prompt.checks]
    return [{"check": r.check, "passed": r.passed, "reason": r.reason} for r in results]


# ---------------------------------------------------------------- a session


@dataclass
class Engine:
    """A loaded model, and whether it must be warmed up: it has just started, or has been idle since its last reply."""

    backend: Backend
    fresh: bool = True
    idle: bool = True
    warmed: bool = False  # whether the last warm-up worked
    decode_tokens_per_s: float | None = None
    texts: dict[int, str] = field(default_factory=dict)  # forced-length prompts in this model's tokens
    record: dict[str, Any] = field(default_factory=dict)  # the server's own, as it was when the block began


class Session:
    """One call of `run`: from the first load to the last artifact. The folder's lock is held."""

    def __init__(
        self, plan: Plan, folder: Path, tests: list[Test], progress: Progress, command: Sequence[str] = ()
    ) -> None:
        self.plan, self.folder, self.tests, self.progress = plan, folder, tests, progress
        self.command = list(command)
        self.engines: dict[str, Engine] = {}
        self.failed: dict[str, str] = {}
        self.last_engine: str | None = None
        self.n_turns = self.n_blocks = 0
        self._status_written = self._summary_written = -math.inf
        self.total, self.n_before, self.measuring_since = 0, 0, math.inf
        self.now: dict[str, Any] = {}  # what is measured at this moment, for the status
        self.peak_memory_mib: float | None = None
        self.names = {runs.artifact_name(test): test for test in tests}
        self.rows: dict[str, dict[str, Any]] = {}  # summary rows of artifacts that exist
        self.latencies: dict[tuple, dict[int, float | None]] = {}
        self.rates: dict[str, list[float]] = {}  # chunks/s of each reply from a server
        self.begun = machine.now_iso()
        self.manifest = self._manifest()
        self._recall()

    # ---- what was measured before

    def _recall(self) -> None:
        for artifact in Run(self.folder).artifacts():
            if artifact["file"] in self.names:
                self._remember(artifact, self.names[artifact["file"]])

    def _remember(self, artifact: dict[str, Any], test: Test) -> None:
        self.rows[artifact["file"]] = runs.summary_row(artifact)
        completed = artifact["recording"]["state"] in metrics.COMPLETED  # a time limit is no latency
        trials = self.latencies.setdefault((test.configuration.label, *_prompt_key(test)), {})
        trials[test.trial] = artifact["latency_s"] if completed else None
        peaks = [self.peak_memory_mib, machine.shown_memory(artifact.get("memory") or {})[1]]
        self.peak_memory_mib = max(stats.clean(peaks), default=None)

    @property
    def done(self) -> int:
        """Artifacts that exist."""
        return len(self.rows)

    def is_done(self, test: Test) -> bool:
        """Whether this test's artifact exists."""
        return runs.artifact_name(test) in self.rows

    def stopped(self, test: Test) -> str | None:
        """With `trials: auto`: why this prompt needs no further trial, or None."""
        if self.plan.trials != "auto" or test.purpose == "speed" or test.trial < stats.MIN_TRIALS:
            return None
        return self._enough(test, test.trial)

    def _enough(self, test: Test, n_trials: int) -> str | None:
        """Why the first `n_trials` of a prompt, or fewer of them, are enough; None if they are not."""
        trials = self.latencies.get((test.configuration.label, *_prompt_key(test)), {})
        for n in range(stats.MIN_TRIALS, n_trials + 1):
            stop = stats.enough_trials([trials.get(k) for k in range(n)])
            if stop.stop:
                return stop.reason
        return None

    def pending(self, tests: Sequence[Test]) -> list[Test]:
        """The tests still to be measured, of engines that work."""
        return [
            test
            for test in tests
            if not self.is_done(test)
            and test.configuration.engine not in self.failed
            and not self.stopped(test)
        ]

    # ---- the manifest

    def _manifest(self) -> dict[str, Any]:
        old = runs.read_json(self.folder / "manifest.json", {})
        here = machine.machine_record()
        notes = machine_changes(old.get("machine"), here)
        sessions = [*old.get("sessions", []), {"started": self.begun, "notes": notes}]
        return {
            "schema": runs.MANIFEST_SCHEMA,
            "name": self.plan.name,
            "created": old.get("created", self.begun),
            "plan": self.plan.to_dict(),
            "identity": self.plan.identity(),
            "plan_sha256": self.plan.sha256,
            "machine": old.get("machine", here),
            "prompt_sets": {s.name: _prompt_set_row(s) for s in self.plan.prompt_sets()},
            "configurations": {c.label: _configuration_row(c) for c in self.plan.configurations()},
            "models": {c.engine: _model_row(c) | old.get("models", {}).get(c.engine, {})
                       for c in self.plan.configurations()},
            "stopped": old.get("stopped", {}),
            "sessions": sessions,
        }  # fmt: skip

    def write_manifest(self) -> None:
        """Write the manifest as it is now."""
        runs.write_json(self.folder / "manifest.json", self.manifest)

    def note(self, **facts: Any) -> None:
        """Add facts about this session to the manifest."""
        self.manifest["sessions"][-1].update(facts)

    # ---- measuring

    def measure(self) -> None:
        """Measure everything that is still missing."""
        for note in self.manifest["sessions"][-1]["notes"]:
            self.say(f"Note: {note}")
        self.write_manifest()
        self.write_summary()
        self._skip_missing()
        if not self.pending(self.tests):
            return self.say(f"Nothing left to measure: {self.done} replies are in {self.folder}.")
        self.total = self.done + len(self._announced())
        self.enter("loading")
        self._look_around()
        self.progress.draw()
        resident = self._load_all()
        self.note(policy="all models stay loaded" if resident else "one load a block", order="rotated turns")
        self.write_manifest()
        self._announce(resident)
        self.status("running", force=True)
        for _, turn in turns(self.tests, resident):
            self._take_turn(turn, resident)

    def measure_perplexity(self) -> None:
        """After all replies, with no model loaded: the perplexity of each model whose file is here."""
        if self.plan.perplexity is None:
            return
        self._close_all()
        for configuration in {c.engine: c for c in self.plan.configurations()}.values():
            known = self.manifest["models"][configuration.engine]
            if configuration.engine not in self.failed and "perplexity" not in known:
                known["perplexity"] = self._perplexity(configuration)
                self.write_manifest()

    def _perplexity(self, configuration: Configuration) -> dict[str, Any]:
        """What was found, or why nothing could be."""
        self.enter("perplexity", configuration.engine)
        self.say(f"Perplexity of {configuration.engine} …", log=False)
        try:
            found = perplexity(self.plan.where(configuration.model), self.plan.text_file(),
                               window=self.plan.perplexity.window, n_threads=configuration.load["n_threads"],
                               progress=False)  # fmt: skip
        except BenchkitError as problem:
            self.say(f"{configuration.engine} has no perplexity: {problem}")
            return {"error": without_home(str(problem))}
        return tidy_paths(found.to_dict())

    def _skip_missing(self) -> None:
        missing = self.plan.missing()
        for configuration in self.plan.configurations():
            if configuration.model.label in missing:
                self._fail(configuration.engine, missing[configuration.model.label])

    def _look_around(self) -> None:
        seen = machine.busy(0.3)
        self.note(busy_before=seen.cpu_share)
        if seen.busy:
            self.say(f"Note: {seen}. Speeds will be disturbed; close them for results you can trust.")

    def _take_turn(self, turn: Turn, resident: bool) -> None:
        tests = self.pending(turn.tests)
        if not tests:
            return
        if not resident:
            self._close_all(but=turn.engine)
        engine = self._engine(tests[0].configuration)
        if engine is None:
            return
        self.total = max(self.total, self.done + len(tests))  # with `trials: auto` more may follow than announced
        self.progress.total = self.total
        self._blocks(engine, tests, resident)

    def _blocks(self, engine: Engine, tests: list[Test], resident: bool) -> None:
        """Measure a turn: one block of consecutive replies, or several where something came between them."""
        self.n_turns += 1
        block, before = {}, None
        for test in tests:
            name = test.configuration.engine
            try:
                if engine.fresh or engine.idle or self.last_engine != name:
                    self._warm_up(engine, name)
                    before = None
                if before is None:
                    block = self._new_block(engine, name, resident)
                    before = machine.vitals(engine.backend.pids())
                self._one(engine, test, block, before)
            except ModelError as problem:
                return self._fail(name, str(problem))
            block = {**block, "position": block["position"] + 1}

    def _new_block(self, engine: Engine, name: str, resident: bool) -> dict[str, Any]:
        self.n_blocks += 1
        session = len(self.manifest["sessions"])
        return {"id": f"{session:02d}-{self.n_blocks:04d}", "session": session, "turn": f"{session:02d}-{self.n_turns:04d}",
                "engine": name, "position": 0, "resident": resident, "warmed": engine.warmed}  # fmt: skip

    def _one(self, engine: Engine, test: Test, block: dict[str, Any], before: machine.Vitals) -> None:
        options, prompt = Options(**test.options), self._prompt_text(engine, test)
        self._begin(test, prompt)
        if options.cache == "warm":  # the same prompt just before, so that all of it is in the cache
            engine.backend.stream(prompt, replace(options, max_tokens=1))
        pids = engine.backend.pids()
        with machine.MemorySampler(pids, getattr(engine.backend, "baseline_mib", None)) as sampler:
            recording = engine.backend.stream(prompt, options, self._hear if test.purpose == "quality" else None)
        health = machine.health(before, machine.vitals(engine.backend.pids()))
        drift = drift_of(engine)
        failed = recording.state in ("error", "disconnected")
        engine.fresh = failed or bool(drift) or engine.backend.pids() != pids
        self._note_rate(test.configuration, recording)
        began = time.perf_counter()
        checks = check_reply(recording, test, self.plan.run_code)
        engine.idle = time.perf_counter() - began > IDLE_S
        artifact = {
            **artifact_head(test, prompt),
            "load": self._loaded(test.configuration),
            "response": recording.response,
            "latency_s": metrics.latency_s(recording),
            "recording": recording.to_dict(),
            "checks": checks,
            "memory": {**sampler.result(), **_server_memory(engine.record)},
            "block": {**block, **health, **({"drift": drift} if drift else {})},
            "load_s": engine.backend.load_s,
        }
        self._keep(artifact, test)

    def _loaded(self, configuration: Configuration) -> dict[str, Any]:
        """The load settings, with what the engine chose where the plan left it open."""
        chosen = self.manifest["models"][configuration.engine]
        return {k: chosen.get(k) if v is None else v for k, v in configuration.load.items()}

    def _keep(self, artifact: dict[str, Any], test: Test) -> None:
        name = runs.artifact_name(test)
        runs.write_json(self.folder / name, artifact)
        self._remember({**artifact, "file": name}, test)
        state = artifact["recording"]["state"]
        runs.log(
            self.folder,
            f"{name} {state} {artifact['latency_s']} s {artifact['recording']['error'] or ''}".rstrip(),
        )
        self.progress.update(n=1)
        if time.monotonic() - self._summary_written > SUMMARY_PERIOD_S:
            self.write_summary()

    def _prompt_text(self, engine: Engine, test: Test) -> str:
        if test.purpose == "quality":
            return test.prompt.text
        index = test.prompt.index
        if index not in engine.texts:
            options = Options(max_tokens=1, raw=True, ignore_eos=True, timeout_s=self.plan.timeout_s)

            def count(text: str) -> int | None:
                counted = engine.backend.stream(text, options).counts.get("prompt")
                return counted.value if counted else None

            engine.texts[index] = speed_text(count, test.n_prompt, index)
        return engine.texts[index]

    def _warm_up(self, engine: Engine, name: str) -> None:
        self.enter("warm-up", name, force=False)
        replies = warm_up(engine.backend, engine.fresh, self.plan.timeout_s)
        if engine.fresh:
            self._note_load(engine, name, replies)
        engine.warmed = bool(replies)
        if replies:
            engine.decode_tokens_per_s = metrics.decode_tokens_per_s(replies[-1])
        engine.fresh = engine.idle = False
        engine.record = server_record(engine.backend)
        self.last_engine = name

    def _note_load(self, engine: Engine, name: str, replies: Sequence[Recording]) -> None:
        """What this load took, by the engine and by how much longer the first reply's first token took."""
        cold, *warm = [metrics.ttft_ms(reply) for reply in replies] or [None]
        known = stats.clean(warm)
        row = {"load_s": engine.backend.load_s, "cold_ttft_ms": cold,
               "warm_ttft_ms": statistics.median(known) if known else None, "n_warm": len(known)}  # fmt: skip
        self.manifest["models"][name].setdefault("loads", []).append(row)

    def _note_rate(self, configuration: Configuration, recording: Recording) -> None:
        """How fast chunks came from a server: a weighing of the instrument holds up to a rate."""
        if configuration.model.name.startswith(SERVED):
            if rate := weigh.chunks_per_s([recording], n_streams=1):
                self.rates.setdefault(configuration.engine, []).append(rate)

    def _note_weighings(self) -> None:
        """For each model on a server, the last weighing that holds for what was measured, or how to weigh."""
        for name, known in self.manifest["models"].items():
            if name in self.rates:
                known["chunks_per_s"] = round(statistics.median(self.rates[name]), 1)
            if rate := known.get("chunks_per_s"):
                found = weigh.holding_weighing(1, rate)
                known["weighing"] = found or {"command": weigh.how_to_weigh(1, rate)}

    # ---- loading

    def _engine(self, configuration: Configuration) -> Engine | None:
        """The configuration's engine, loaded if it is not; None if it cannot be."""
        name = configuration.engine
        if name in self.engines or name in self.failed:
            return self.engines.get(name)
        self.enter("loading", name)
        free_mib = machine.available_mib()
        host = configuration.model.host
        try:
            backend = backends.connect(
                self.plan.where(configuration.model), **configuration.load, **({"host": host} if host else {})
            )
            self.engines[name] = engine = Engine(backend)
            self._describe(name, backend)
            self._warm_up(engine, name)
            memory_mib = machine.process_memory_mib(backend.pids())
        except ModelError as problem:
            self._fail(name, str(problem))
            return None
        self.manifest["models"][name]["memory_baseline"] = _rounded(getattr(backend, "baseline_mib", None))
        self.manifest["models"][name]["memory_loaded"] = {
            **_rounded(memory_mib),
            "machine_available_drop": round(free_mib - machine.available_mib(), 2),
        }
        return engine

    def _describe(self, name: str, backend: Backend) -> None:
        known, now = self.manifest["models"][name], tidy_paths(backend.describe())
        labels = {c.label for c in self.plan.configurations() if c.engine == name}
        before, measured = (
            known.get("digest"),
            any(row["configuration"] in labels for row in self.rows.values()),
        )
        if before and now.get("digest") and before != now["digest"] and measured:
            raise BenchkitError(
                f"{name} is not the model it was when this run began: its file's SHA-256 was {before[:12]}…, is "
                f"{now['digest'][:12]}… now. Put the old file back, or choose another output folder."
            )
        if measured and known.get("host") != now.get("host"):
            raise BenchkitError(
                f"{name} was on {known.get('host')} when this run began, and is on {now.get('host')} now. Speeds of two "
                "servers must not be mixed in one run: choose another output folder."
            )
        known.pop("error", None)
        known.update(
            {k: v for k, v in now.items() if k not in ("name", "family", "parameters") or k not in known}
        )
        known["load_s"] = backend.load_s

    def _fail(self, name: str, problem: str) -> None:
        problem = without_home(problem)
        self.failed[name] = self.manifest["models"][name]["error"] = problem
        self.say(f"{name} cannot be measured: {problem}")
        self.write_manifest()
        if name in self.engines:
            self.engines.pop(name).backend.close()

    def _load_all(self) -> bool:
        """Load every model that has something to do; False if they do not fit in memory together."""
        wanted = {t.configuration.engine: t.configuration for t in self.pending(self.tests)}
        room_mib = RESIDENT_SHARE * machine.available_mib()
        if len(wanted) > 1 and sum(_file_mib(self.plan.where(c.model)) for c in wanted.values()) > room_mib:
            return False
        used_mib = 0.0
        for number, configuration in enumerate(wanted.values()):
            self.say(f"Loading {configuration.engine} …", log=False)
            engine = self._engine(configuration)
            used_mib += (
                (machine.process_memory_mib(engine.backend.pids()) or {}).get("process", 0) if engine else 0
            )
            if used_mib > room_mib and number + 1 < len(wanted):
                self._close_all()
                return False
        if not any(map(drift_of, self.engines.values())):
            return True
        self._close_all()  # a server has unloaded one for another
        return False

    def _close_all(self, but: str | None = None) -> None:
        for name in [name for name in self.engines if name != but]:
            self.engines.pop(name).backend.close()

    # ---- telling

    def say(self, message: str, log: bool = True) -> None:
        """Tell the person (on standard error, if progress is wanted) and the log."""
        if log:
            runs.log(self.folder, message)
        self.progress.say(message)

    def how_to_continue(self) -> str:
        """What to type, where that is known, to continue this run."""
        if not self.command:
            return "The same command continues."
        return f"This continues it:\n  {command_line([*self.command, '--out', str(self.folder)])}"

    def _announced(self) -> list[Test]:
        """The tests that will be measured; with `trials: auto` the fewest there can be."""
        few = self.plan.trials == "auto"
        return [test for test in self.pending(self.tests) if not few or test.trial < stats.MIN_TRIALS]

    def _announce(self, resident: bool) -> None:
        tests = self._announced()
        known = f", {self.done} are done already" if self.done else ""
        estimate = self._estimate_s(tests)
        time_needed = (
            "" if estimate is None else f"; about {duration(estimate)}, if every reply is as long as allowed"
        )
        self.say(f"{len(tests)} replies to measure{known}{time_needed}. Results: {self.folder}")
        if not resident:
            self.say("The models do not fit in memory together: each is loaded for a whole trial at a time.")
        self.total, self.n_before, self.measuring_since = self.done + len(tests), self.done, time.monotonic()
        self.progress.begin(self.total, self.done)

    def _estimate_s(self, tests: Sequence[Test]) -> float | None:
        """How long these tests take at most, from what the warm-up or earlier replies showed."""
        rates = {name: engine.decode_tokens_per_s for name, engine in self.engines.items()}
        seconds = [_at_most_s(test, rates.get(test.configuration.engine)) for test in tests]
        known = [s for s in seconds if s is not None]
        return sum(known) * len(seconds) / len(known) if known else None

    def enter(self, phase: str, configuration: str | None = None, force: bool = True, **more: Any) -> None:
        """Note what happens now, and tell it to those who watch; a load or a score may take minutes: at once."""
        self.now = {"phase": phase, "configuration": configuration, **more}
        self.status("running", force)

    def _begin(self, test: Test, prompt: str) -> None:
        label = test.configuration.label
        self.progress.update(label)
        self.enter("measuring", label, force=False, prompt=test.prompt.id, prompt_text=prompt[:PROMPT_SHOWN],
                   trial=test.trial, partial="")  # fmt: skip

    def _hear(self, text: str) -> None:
        """More of the reply has come, ten times a second at most."""
        self.now["partial"] = (self.now["partial"] + text)[-PARTIAL_SHOWN:]
        self.status("running")

    def _seconds_left(self) -> float | None:
        """As long as the replies of this session took, one as the other; None before there are two."""
        n = self.done - self.n_before
        if n < 2 or math.isinf(self.measuring_since):
            return None
        return round((time.monotonic() - self.measuring_since) / n * max(0, self.total - self.done), 1)

    def status(self, state: str, force: bool = False) -> None:
        """Write status.json, at most twice a second; it is for watching and never stops a run."""
        if not force and time.monotonic() - self._status_written < STATUS_PERIOD_S:
            return
        self._status_written = time.monotonic()
        now = self.now if state == "running" else {}
        names = ("phase", "configuration", "prompt", "prompt_text", "trial", "partial")
        row = {
            "state": state,
            "done": self.done,
            "total": max(self.total, self.done),
            **{name: now.get(name) for name in names},
            "seconds_left": self._seconds_left() if state == "running" else None,
            "peak_memory_mib": self.peak_memory_mib,
            "pid": os.getpid(),
            "started": self.begun,
            "updated": machine.now_iso(),
            "failed": dict(self.failed),
            "command": self.command,
        }
        with suppress(runs.StorageError):
            runs.write_json(self.folder / "status.json", row, durable=False)

    def write_summary(self) -> None:
        """Write summary.json from what is known of all artifacts, in the plan's order."""
        self._summary_written = time.monotonic()
        places_ = {label: i for i, label in enumerate(self.manifest["configurations"])}
        rows = [
            self.rows[name]
            for name, test in self.names.items()
            if name in self.rows and test.purpose == "quality"
        ]
        rows.sort(key=lambda r: (places_[r["configuration"]], r["prompt_set"], r["prompt_index"], r["trial"]))
        runs.write_json(self.folder / "summary.json", rows)

    def end(self, state: str) -> None:
        """Close every model and leave status, summary and manifest as they should be."""
        self._close_all()
        self.status(state, force=True)
        self.progress.end()
        self._note_stops()
        self._note_weighings()
        self.note(ended=machine.now_iso(), state=state, n_blocks=self.n_blocks)
        runs.log(self.folder, f"{state}: {self.done} artifacts")
        try:
            self.write_summary()
            self.write_manifest()
        except runs.StorageError:
            if state == "complete":  # otherwise a first, better message is on its way
                raise

    def _note_stops(self) -> None:
        if self.plan.trials != "auto":
            return
        found: dict[str, dict[str, str]] = {}
        for test in self.tests:
            if test.purpose == "quality" and test.trial == 0:
                trials = self.latencies.get((test.configuration.label, *_prompt_key(test)), {})
                if reason := self._enough(test, len(trials)):
                    found.setdefault(test.configuration.label, {})[test.prompt.id] = reason
        self.manifest["stopped"] = found

    def result(self) -> Run:
        """The finished run; raises ModelError where no model at all could be measured."""
        if self.failed and not self.rows:
            lines = "\n".join(f"  {name}: {problem}" for name, problem in self.failed.items())
            raise ModelError(f"none of the plan's models could be measured:\n{lines}")
        return Run(self.folder)


# ---------------------------------------------------------------- small things


def artifact_head(test: Test, prompt: str) -> dict[str, Any]:
    """What an artifact says about what was asked, of whom, how."""
    c = test.configuration
    return {
        "schema": runs.ARTIFACT_SCHEMA,
        "key": test.key,
        "model": c.model.name,
        "configuration": c.label,
        "engine": c.engine,
        "load": dict(c.load),
        "options": dict(test.options),
        "prompt_set": test.prompt_set,
        "prompt_index": test.prompt.index,
        "prompt_id": test.prompt.id,
        "category": test.prompt.category,
        "prompt": prompt,
        "source": test.prompt.source,
        "trial": test.trial,
        "purpose": test.purpose,
    }


def _at_most_s(test: Test, decode_tokens_per_s: float | None) -> float | None:
    return test.options["max_tokens"] / decode_tokens_per_s if decode_tokens_per_s else None


def machine_changes(old: dict[str, Any] | None, new: dict[str, Any]) -> list[str]:
    """What changed on this machine since the run began; another processor is refused."""
    if not old:
        return []
    for name in ("cpu", "logical_cores"):
        if old.get(name) != new[name]:
            raise BenchkitError(
                f"this run began on another machine ({name} was {old.get(name)}, is {new[name]} here). Speeds of "
                "two machines must not be mixed in one run: choose another output folder."
            )
    parts = ("packages", "llama_cpp", "environment", "system", "python", "power_source", "governor")
    return [text for part in parts for text in runs.differences(old.get(part), new.get(part), part)]


def tidy_paths(facts: Any) -> Any:
    """Paths told from the toolkit's or the user's own folder, so that a shared run names no user."""
    if isinstance(facts, dict):
        return {key: tidy_paths(value) for key, value in facts.items()}
    if not isinstance(facts, str) or not os.path.isabs(facts):
        return facts
    for base, prefix in ((places.ROOT, ""), (places.home(), "~/")):
        if base and Path(facts).is_relative_to(base):
            return prefix + Path(facts).relative_to(base).as_posix()
    return facts


def without_home(message: str) -> str:
    """A message in which the user's own folder is `~`, so that a shared run names no user."""
    home = str(places.home() or "")
    return re.sub(rf"{re.escape(home)}(?!\w)", "~", message) if len(home) > 1 else message


def _server_memory(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What an Ollama itself says that the model takes, on the graphics card also apart."""
    sizes = {"server_size": record.get("size"), "server_size_vram": record.get("size_vram")}
    return {name: {"peak_mib": round(size / machine.MIB, 2)} for name, size in sizes.items()
            if isinstance(size, int) and size > 0}  # fmt: skip


def _rounded(memory_mib: dict[str, float] | None) -> dict[str, float]:
    return {source: round(mib, 2) for source, mib in (memory_mib or {}).items()}


def _file_mib(name: str) -> float:
    path = Path(name.removeprefix("gguf:")).expanduser()
    return path.stat().st_size / machine.MIB if path.is_file() else 0.0


def _prompt_set_row(prompt_set: Any) -> dict[str, Any]:
    return {"version": prompt_set.version, "n_prompts": len(prompt_set), "sha256": prompt_set.sha256,
            "path": tidy_paths(prompt_set.path)}  # fmt: skip


def _configuration_row(c: Configuration) -> dict[str, Any]:
    return {"model": c.model.name, "label": c.model.label, "engine": c.engine, "load": dict(c.load),
            "sampling": dict(c.sampling)}  # fmt: skip


def _model_row(c: Configuration) -> dict[str, Any]:
    entry = c.model.to_dict()
    return {"name": entry.pop("model"), **entry, "load": dict(c.load)}
