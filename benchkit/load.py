"""Many requests at once: send a schedule to a server, keep what comes, and say what may be concluded.

    found = load("openai:MODEL", "http://127.0.0.1:8080/v1", profile="concurrent", concurrency=32)
    found["ttft_ms"]["p50"], found["requests_per_s"], found["verdict"]

While requests are under way nothing is parsed: one event loop sends and stamps, another thread writes what
ended to `exchanges.jsonl`, as it came. When all is over, the parsers turn that file into `requests.jsonl`,
one line of JSON a request, and it is deleted. So a run that is killed has lost nothing: `evaluate` goes on
from the file. The folder:

    schedule.json    when each request was due: written before the first is sent
    manifest.json    what was measured, with what, on what
    requests.jsonl   one request a line: stamps, counts, state, error, and its whole recording
    gauge.json       how many were in flight, read every 10 ms
    status.json      how far it is, for a program that watches
    summary.json     what `load` returns
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
import uuid
from array import array
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchkit import machine, metrics, places, runs, traffic
from benchkit.backends import ollama, openai_compatible
from benchkit.backends.base import Options
from benchkit.backends.replies import hidden, json_object, rows_of, without_secret
from benchkit.backends.wire import Exchange, LoopThread, Wire, allow_open_files, quiet_gc
from benchkit.errors import BenchkitError, ModelError
from benchkit.progress import Progress
from benchkit.prompts import PromptSet, load_prompts
from benchkit.recording import Recording
from benchkit.schedule import REQUESTS, SEED, Schedule, find_profile, make_schedule
from benchkit.text import counted
from benchkit.traffic import Request

SCHEMA = "benchkit/load/1"
MS, S = 1_000_000, 1_000_000_000

#: Between "everything is ready" and the moment from which the schedule counts.
LEAD_MS = 20
#: Unrecorded before the clock starts, one after the other: replies of at most this many tokens.
WARM_UP_TOKENS = 32
#: An open loop keeps so many connections in reserve, and looks after them so often.
SPARE, SPARE_PERIOD_S = 4, 0.5
#: An open loop opens at most so many before the clock starts, and asks the system for so many open files.
OPEN_AHEAD, MOST_FILES = 32, 8192
#: A worker of a closed loop that got no connection waits so long before it tries the next.
REFUSED_PAUSE_S = 0.1
STATUS_PERIOD_S = 0.5
#: What a folder holds before the first request.
BEFORE_THE_FIRST = ("schedule.json", "manifest.json", "status.json", "run.log")
ASK_S = 10.0  # for small questions
#: What is kept of the server's record of a model; all but this may change at any time.
KEPT_OF_SERVER = ("name", "id", "digest", "size", "size_vram", "context_length", "owned_by")


# ---------------------------------------------------------------- the one call


def load(
    model: str, host: str | None = None, profile: str = "concurrent", concurrency: int | None = None,
    requests: int | None = None, rate: float | None = None, duration_s: float | None = None, *,
    prompts: str | os.PathLike = "course", max_tokens: int = 128, ignore_eos: bool = False, cache: str = "cold",
    timeout_s: float = 120.0, out: str | os.PathLike | None = None, seed: int = SEED,
    slo: Mapping[str, float] | None = None, progress: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Send a load profile to a server; return the summary, which is also in the folder `out`.

    `model` is `openai:NAME` (with `host` the base URL, `/v1` included) or `ollama:NAME`. Profiles:
    synchronous, concurrent (`concurrency`, default 32, at a time), throughput (everything at once), constant and
    poisson (`rate` requests a second), sweep (see `sweep`). The run ends after `requests` (default 128) or when
    `duration_s` has passed, whichever comes first; what is under way then is waited for. Prompts take turns.
    `slo` sets limits for goodput, such as `{"ttft_ms": 200}`. Raises ModelError where the server is not there.
    """
    settings = {"prompts": prompts, "max_tokens": max_tokens, "ignore_eos": ignore_eos, "cache": cache,
                "timeout_s": timeout_s, "seed": seed, "slo": slo, "progress": progress}  # fmt: skip
    if profile == "sweep":
        _refuse_with_sweep(concurrency=concurrency, rate=rate, duration_s=duration_s)
        return sweep(model, host, requests=requests, out=out, **settings)
    schedule = make_schedule(profile, rate=rate, concurrency=concurrency, requests=requests,
                             duration_s=duration_s, seed=seed)  # fmt: skip
    options = Options(max_tokens=max_tokens, ignore_eos=ignore_eos, cache=cache, timeout_s=timeout_s)
    asked = Asked(find_target(model, host), schedule, load_prompts(prompts), options, traffic.check_slo(slo))
    return _measure(asked, Path(out) if out is not None else default_folder(model, profile), progress)


def _refuse_with_sweep(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise BenchkitError(f"sweep chooses the rates itself and goes by requests: leave out {name}.")


def default_folder(model: str, profile: str) -> Path:
    """A new folder in `benchmark_outputs`, named after model, profile and time."""
    return places.OUTPUTS / f"load-{runs.safe_name(model, 40)}-{profile}-{datetime.now():%Y%m%d-%H%M%S}"


@dataclass(frozen=True)
class Target:
    """The model to be asked: its protocol (`openai` or `ollama`), its name there, and the server's address."""

    label: str
    protocol: str
    model: str
    host: str

    @property
    def module(self) -> Any:
        """The protocol's pure functions: `request` makes a request's path and body, `parse` reads the answer."""
        return PROTOCOLS[self.protocol]

    @property
    def key(self) -> str | None:
        """The key to be sent, from the environment; it is written nowhere."""
        return openai_compatible.read_key() if self.protocol == "openai" else None


PROTOCOLS = {"openai": openai_compatible, "ollama": ollama}


def find_target(model: str, host: str | None = None) -> Target:
    """What `openai:NAME` or `ollama:NAME` and an address mean.

    >>> find_target("openai:m", "localhost:8080")
    Target(label='openai:m', protocol='openai', model='m', host='http://localhost:8080/v1')
    """
    protocol, _, name = str(model).partition(":")
    if protocol == "gguf":
        raise ModelError(
            f"{model}: load is for servers, which can be asked many things at once. Put the model behind one with "
            f"`benchkit serve {model}`, and then ask for ollama:{name}."
        )
    if protocol not in PROTOCOLS or not name:
        raise ModelError(f"{str(model)[:80]!r} is not a model behind a server. Write openai:MODEL with the server's "
                         "address as the host, or ollama:MODEL.")  # fmt: skip
    return Target(model, protocol, name, PROTOCOLS[protocol].base_url(host))


@dataclass(frozen=True)
class Asked:
    """Everything that one load run is asked to do."""

    target: Target
    schedule: Schedule
    prompts: PromptSet
    options: Options
    slo: Mapping[str, float]

    def request(self, number: int) -> tuple[str, dict[str, Any]]:
        """Path and body of a request; prompts take turns."""
        prompt = self.prompts.prompts[number % len(self.prompts)]
        return self.target.module.request(self.target.model, prompt.text, self.options)


# ---------------------------------------------------------------- sending


class Sender:
    """Sends a schedule over one wire. All of it runs in the wire's event loop; only `ended` is emptied elsewhere."""

    def __init__(self, wire: Wire, asked: Asked) -> None:
        self.wire, self.asked, self.schedule = wire, asked, asked.schedule
        self.bodies = [asked.request(number) for number in range(len(asked.prompts))]
        self.run_id = uuid.uuid4().hex[:8]
        self.begin_ns = self.end_ns = 0
        self.in_flight = 0
        self.stopping = False
        self.mistake: BaseException | None = None
        self.tasks: set[asyncio.Task] = set()
        self.ended: deque[tuple[int, Exchange]] = deque()
        self.gauge_t_ns, self.gauge_n, self.lag_ns = array("q"), array("q"), array("q")

    async def run(self) -> None:
        """Send everything, and wait until the last request has ended."""
        self.begin_ns = time.perf_counter_ns() + LEAD_MS * MS
        helpers = [asyncio.create_task(self._read_gauge())]
        if self.schedule.loop == "open":
            helpers.append(asyncio.create_task(self._keep_ready()))
        try:
            await (self._open_loop() if self.schedule.loop == "open" else self._closed_loop())
        finally:
            self.end_ns = time.perf_counter_ns()
            for helper in helpers:
                helper.cancel()

    async def stop(self) -> None:
        """Send nothing more; requests under way end as aborted, with what they had got."""
        self.stopping = True
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def _open_loop(self) -> None:
        """Send each request when it is due. Nothing here waits for an answer: a server that stalls is asked on."""
        for number, due_ns in enumerate(self.schedule.due_ns):
            await sleep_until(self.begin_ns + due_ns)
            if self.mistake is not None:
                break
            self._start(self._send(number, self.begin_ns + due_ns))
            await asyncio.sleep(0)  # let it go, also where the next one is due already
        await self._all_ended()

    async def _closed_loop(self) -> None:
        """Some workers, each with one request at a time."""
        numbers = iter(count() if self.schedule.n is None else range(self.schedule.n))
        await sleep_until(self.begin_ns)
        for _ in range(self.schedule.concurrency):
            self._start(self._work(numbers))
        await self._all_ended()

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:  # what a server does raises nothing: this is ours
            self.mistake = self.mistake or task.exception()

    async def _all_ended(self) -> None:
        while self.tasks:
            await asyncio.wait(self.tasks)
        if self.mistake is not None:
            raise self.mistake

    async def _work(self, numbers: Iterator[int]) -> None:
        due_ns = self.begin_ns
        for number in numbers:
            exchange = await self._send(number, due_ns)
            if self.stopping or self._time_is_up():
                return
            if exchange.ended == "refused":  # a server that has gone is not asked a thousand times a second
                await asyncio.sleep(REFUSED_PAUSE_S)
                due_ns = time.perf_counter_ns()
            else:  # in a closed loop a request is due when the one before it has ended
                due_ns = exchange.t_end_ns
            if self.schedule.loop == "at once":
                due_ns = self.begin_ns

    def _time_is_up(self) -> bool:
        limit_s = self.schedule.duration_s
        return limit_s is not None and time.perf_counter_ns() - self.begin_ns >= limit_s * S

    async def _send(self, number: int, due_ns: int) -> Exchange:
        path, body = self.bodies[number % len(self.bodies)]
        self.in_flight += 1
        try:
            exchange = await self.wire.send(
                path, body, timeout_s=self.asked.options.timeout_s, request_id=f"load-{self.run_id}-{number:06d}",
                t_scheduled_ns=due_ns,
            )  # fmt: skip
        finally:
            self.in_flight -= 1
        self.ended.append((number, exchange))
        return exchange

    # ---- beside the requests

    async def _read_gauge(self) -> None:
        """How many are in flight, read by the clock: it knows nothing of what the requests record of themselves."""
        period_ns = traffic.GAUGE_PERIOD_MS * MS
        due_ns = self.begin_ns
        while True:
            await asyncio.sleep(max(0, due_ns - time.perf_counter_ns()) / S)
            now_ns = time.perf_counter_ns()
            self.gauge_t_ns.append(now_ns)
            self.gauge_n.append(self.in_flight)
            self.lag_ns.append(max(0, now_ns - due_ns))
            due_ns = max(due_ns + period_ns, now_ns)

    async def _keep_ready(self) -> None:
        """Keep a few connections open, so that a request need not wait for one. Requests never wait for this."""
        while True:
            with suppress(ModelError):  # the server may be gone: its requests will say so
                await self.wire.open(SPARE)
            await asyncio.sleep(SPARE_PERIOD_S)


async def sleep_until(t_ns: int) -> None:
    """Wait for a moment of `perf_counter_ns`; never wakes early, for event loops round to milliseconds."""
    while (left_ns := t_ns - time.perf_counter_ns()) > 0:
        await asyncio.sleep(left_ns / S)


def connections(schedule: Schedule) -> int:
    """How many connections to open before the clock starts."""
    return schedule.concurrency or min(OPEN_AHEAD, schedule.n or OPEN_AHEAD)


async def get_ready(wire: Wire, asked: Asked) -> Recording | None:
    """Open the connections and ask the server twice, unrecorded; the second time it is warm, and alone with us.

    Returns that second reply, None if it failed. Raises ModelError where asking on would be of no use.
    """
    with suppress(ModelError):  # the system says no: then it shows in the requests, if so many are needed
        allow_open_files(min(MOST_FILES, (asked.schedule.n or 0) + 64))
    await wire.open(1)
    few = replace(asked.options, max_tokens=min(WARM_UP_TOKENS, asked.options.max_tokens))
    for number in range(2):
        path, body = replace(asked, options=few).request(number)
        exchange = await wire.send(path, body, timeout_s=few.timeout_s)
        alone = asked.target.module.parse(exchange, few)
        if exchange.ended == "refused" or exchange.status in (401, 403, 404):
            raise ModelError(hidden(f"{asked.target.label} cannot be asked: {alone.error}", asked.target.key))
    return alone if alone.state in metrics.COMPLETED else None


async def server_says(wire: Wire, target: Target) -> dict[str, Any]:
    """The server's own record of the model, which must not change meanwhile; empty where it keeps none."""
    path = {"ollama": "/api/ps", "openai": "/models"}[target.protocol]
    exchange = await wire.send(path, timeout_s=ASK_S)
    answer = json_object(exchange.body) if exchange.status == 200 else None
    key, name = {"ollama": ("models", "name"), "openai": ("data", "id")}[target.protocol]
    model = ollama.full_name(target.model) if target.protocol == "ollama" else target.model
    for row in rows_of(answer, key, name):
        if row[name] == model:
            return {k: row[k] for k in KEPT_OF_SERVER if isinstance(row.get(k), (str, int, float))}
    return {}


# ---------------------------------------------------------------- one run


def _measure(asked: Asked, folder: Path, progress: bool) -> dict[str, Any]:
    with runs.lock(folder):
        _refuse_used(folder)
        journal = Journal(folder, asked, progress)
        try:
            facts = _send_all(asked, journal)
        except BaseException as problem:
            state = "interrupted" if isinstance(problem, KeyboardInterrupt) else "failed"
            journal.end(state, error=None if state == "interrupted" else str(problem))
            if journal.file is not None:
                evaluate(folder)
                journal.say(f"{state}: the {counted(journal.n_kept, 'request')} sent so far are safe in {folder}.")
            raise
        journal.end("complete", **facts)
        found = evaluate(folder)
        journal.say(f"{found['verdict']}. Measured in {folder}")
        return found


def _refuse_used(folder: Path) -> None:
    """A load run is one piece: nothing is added to it later. What a killed one left is put in order first."""
    rescued = ""
    if (folder / "exchanges.jsonl").exists():
        found = evaluate(folder)
        rescued = f" It was cut off: {counted(found['n_requests'], 'request')} are now in its requests.jsonl."
    here = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    ours = runs.read_json(folder / "manifest.json", {}).get("schema", SCHEMA) == SCHEMA
    if here - set(BEFORE_THE_FIRST) or not ours:  # these alone: the server was not there, and nothing was sent
        raise BenchkitError(
            f"{folder} is not empty (it holds {', '.join(sorted(here)[:3])}).{rescued} A load run cannot be "
            "continued, for the pause would be in its rates: choose another output folder."
        )


def _send_all(asked: Asked, journal: Journal) -> dict[str, Any]:
    """From the first connection to the last answer; returns what is known of the client and the machine."""
    with LoopThread() as thread:
        wire = Wire(asked.target.host, openai_compatible.headers(asked.target.key))
        journal.say(f"{asked.target.label}: two requests to warm up, unrecorded …")
        alone = thread.run(get_ready(wire, asked))
        server = thread.run(server_says(wire, asked.target))
        sender = Sender(wire, asked)
        journal.begin(sender, alone=None if alone is None else alone.to_dict(), server=server)
        before = machine.vitals([os.getpid()])
        with quiet_gc():
            thread.run(wire.open(connections(asked.schedule)))
            cpu_ns, t_ns = time.process_time_ns(), time.perf_counter_ns()
            try:
                thread.run(sender.run(), meanwhile=journal.keep)
            except BaseException:
                thread.run(sender.stop())
                raise
            finally:
                cpu_share = (time.process_time_ns() - cpu_ns) / max(1, time.perf_counter_ns() - t_ns)
                journal.keep()
                journal.write_gauge()
        health = disturbances(machine.health(before, machine.vitals([os.getpid()])), asked.target.host)
        after = thread.run(server_says(wire, asked.target))
        thread.run(wire.close())
    lag = traffic.distribution([ns / MS for ns in sender.lag_ns], 0)
    facts = {"cpu_share": round(cpu_share, 4), "loop_lag_ms": lag}
    return {"client": facts, "health": health, "drift": bool(server and after and server != after)}


def disturbances(health: Mapping[str, Any], host: str) -> dict[str, Any]:
    """What happened to this machine meanwhile. Where the server is here too, it is one of the 'other programs'."""
    unsaid = {"involuntary_per_s": None} | ({"foreign_cpu_share": None} if places.is_loopback(urlsplit(host).hostname) else {})
    changed = any("power source" in reason for reason in health["reasons"])
    reasons = machine.void_reasons({**health, **unsaid}, power_changed=changed)
    return {**health, "void": bool(reasons), "reasons": reasons}


class Journal:
    """Writes down what the sender got, from another thread than the one that measures."""

    def __init__(self, folder: Path, asked: Asked, progress: bool) -> None:
        self.folder, self.asked = folder, asked
        self.n_kept, self.sender, self.file = 0, None, None
        self.progress = Progress(folder, "request", progress)
        self.begun, self._status_at = machine.now_iso(), 0.0
        self.manifest = manifest(asked, self.begun)
        self._write("schedule.json", asked.schedule.to_dict())
        self._write("manifest.json", self.manifest)
        self.status("running")

    def begin(self, sender: Sender, **known: Any) -> None:
        """The next thing that happens is the first request."""
        self.sender, self.key = sender, (self.asked.target.key or "").encode()
        self.manifest |= known
        self._write("manifest.json", self.manifest)
        self.file = open(self.folder / "exchanges.jsonl", "ab", buffering=0)
        self.progress.begin(self.asked.schedule.n)

    def keep(self) -> None:
        """Write every exchange that has ended, in one write each."""
        while self.sender.ended:
            line = exchange_line(*self.sender.ended[0])
            self.file.write(line.replace(self.key, b"*" * len(self.key)) if self.key else line)
            self.sender.ended.popleft()  # only now: Ctrl-C may come between any two lines
            self.n_kept += 1
            self.progress.update(n=1)
        if time.monotonic() - self._status_at > STATUS_PERIOD_S:
            self.status("running")

    def write_gauge(self) -> None:
        """Keep the gauge's readings, and how late the event loop's timer came."""
        s = self.sender
        columns = {"t_ns": list(s.gauge_t_ns), "in_flight": list(s.gauge_n), "lag_ns": list(s.lag_ns)}
        self._write("gauge.json", {"begin_ns": s.begin_ns, "end_ns": s.end_ns, **columns})

    def end(self, state: str, error: str | None = None, **facts: Any) -> None:
        """The last word on a run; the machine is described only now, because that takes a second."""
        self.progress.end()
        if self.file is not None:
            self.file.close()
            self.manifest["machine"] = machine.machine_record()
        self.manifest |= {"state": state, "error": error, **facts}
        self._write("manifest.json", self.manifest)
        runs.log(self.folder, f"{state} {self.n_kept} requests {error or ''}".rstrip())
        self.status(state)

    def status(self, state: str) -> None:
        """Write status.json; it is for watching and never stops a run."""
        self._status_at = time.monotonic()
        sending = self.sender is not None and self.sender.begin_ns > 0
        phase = "evaluating" if state != "running" else "measuring" if sending else "warm-up"
        row = {
            "state": state, "phase": phase, "configuration": self.asked.target.label,
            "done": self.n_kept, "total": self.asked.schedule.n, "seconds_left": self._seconds_left(),
            "in_flight": 0 if self.sender is None else self.sender.in_flight, "pid": os.getpid(),
            "started": self.begun, "updated": machine.now_iso(), "failed": {},
        }  # fmt: skip
        with suppress(BenchkitError):
            self._write("status.json", row, durable=False)

    def _seconds_left(self) -> float | None:
        """By the schedule where it ends after a time, otherwise by the requests so far; None before there are two."""
        n, limit_s = self.asked.schedule.n, self.asked.schedule.duration_s
        begun = self.sender is not None and self.sender.begin_ns > 0
        passed_s = (time.perf_counter_ns() - self.sender.begin_ns) / S if begun else 0.0
        by_time = [] if limit_s is None else [limit_s - passed_s]
        by_count = [passed_s / self.n_kept * (n - self.n_kept)] if n and self.n_kept > 1 else []
        known = by_time + by_count if begun else []
        return round(max(0.0, min(known)), 1) if known else None

    def _write(self, name: str, value: Any, durable: bool = True) -> None:
        runs.write_json(self.folder / name, value, durable)

    def say(self, message: str) -> None:
        """Tell the person, on standard error, and the log."""
        runs.log(self.folder, message)
        self.progress.say(message)


def manifest(asked: Asked, begun: str) -> dict[str, Any]:
    """What a load run is of, before anything was sent; the machine follows at the end."""
    from benchkit import weigh

    prompts = asked.prompts
    return {
        "schema": SCHEMA, "name": f"{asked.schedule.profile} load of {asked.target.label}", "created": begun,
        "model": asked.target.label, "protocol": asked.target.protocol, "host": asked.target.host,
        "profile": asked.schedule.profile, "options": asdict(asked.options), "slo": dict(asked.slo),
        "prompt_set": {"name": prompts.name, "version": prompts.version, "sha256": prompts.sha256,
                       "n_prompts": len(prompts), "ids": [prompt.id for prompt in prompts]},
        "state": "running", "error": None, "wire": {"loop": wire_loop()},
        "instrument": weigh.what_it_holds_for(),
    }  # fmt: skip


def wire_loop() -> str:
    """Which event loop the wire runs in, with its version: part of the instrument."""
    version = machine.version("uvloop")
    return f"uvloop {version}" if version else f"asyncio of Python {platform.python_version()}"


# ---------------------------------------------------------------- from bytes to numbers


def exchange_line(number: int, exchange: Exchange) -> bytes:
    """One exchange as a line of JSON: quick to write, and all that is needed to parse it later.

    Its bytes are written as the characters with the same numbers (Latin-1), for JSON has no bytes.
    """
    row = {name: getattr(exchange, name) for name in Exchange.__dataclass_fields__}
    row["headers"] = dict(exchange.headers)
    row["pieces"] = [(t_ns, data.decode("latin-1")) for t_ns, data in exchange.pieces]
    return json.dumps({"number": number, **row}).encode("ascii") + b"\n"


def read_exchanges(path: Path) -> Iterator[tuple[int, Exchange]]:
    """The exchanges of a file; a line that was cut off is left out, one that was written twice counts once."""
    seen = set()
    with open(path, "rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # the process was killed while it wrote this one
                continue
            number, pieces = row.pop("number"), row.pop("pieces")
            if number in seen:
                continue
            seen.add(number)
            yield number, Exchange(**row, pieces=tuple((t, text.encode("latin-1")) for t, text in pieces))


def evaluate(folder: str | os.PathLike, slo: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The summary of a load run's folder, from its files alone; also where the run was killed.

    `slo` sets other service levels than the run had. Writes `summary.json`, and `requests.jsonl` where only the
    raw exchanges are there.
    """
    folder = Path(folder)
    raw = folder / "exchanges.jsonl"
    if raw.exists():
        write_requests(folder, runs.read_json(folder / "manifest.json", {}), read_schedule(folder))
    found = summary(folder, slo)
    runs.write_json(folder / "summary.json", found)
    raw.unlink(missing_ok=True)
    return found


def summary(folder: Path, slo: Mapping[str, float] | None = None) -> dict[str, Any]:
    """What `evaluate` returns, for a run whose requests are in order; writes nothing."""
    about, schedule = runs.read_json(folder / "manifest.json", {}), read_schedule(folder)
    requests, gauge = read_requests(folder), read_gauge(folder)
    alone = None if not about.get("alone") else Recording.from_dict(about["alone"])
    limits = about["slo"] if slo is None else traffic.check_slo(slo)
    found = traffic.summarize(requests, schedule, gauge, limits, alone, about.get("client"))
    found = {**_head(folder, about, schedule), **found}
    kept = runs.read_json(folder / "summary.json", {}).get("weighing")
    weighing, unweighed = last_weighing(requests, found, about.get("instrument"), kept)
    state, reasons, notes = traffic.judge(found, schedule, [*doubts(about), *unweighed], about["options"]["cache"])
    return {"verdict": state, "reasons": reasons, "notes": notes, **found, "weighing": weighing}


def is_load_run(folder: str | os.PathLike) -> bool:
    """Whether a folder holds a load run, or a sweep of several."""
    files = (Path(folder) / name for name in ("sweep.json", "manifest.json"))
    return any(runs.read_json(file, {}).get("schema") == SCHEMA for file in files)


def read_summary(folder: str | os.PathLike) -> dict[str, Any]:
    """The summary of a load run, worked out anew, or of a sweep; what a killed run left is put in order first."""
    folder = Path(folder)
    found = runs.read_json(folder / "sweep.json")
    if found is not None:
        return {**found, "folder": str(folder)}
    if (folder / "exchanges.jsonl").exists():
        with runs.lock(folder):  # not out of the hands of a run that still goes on
            return evaluate(folder)
    return summary(folder)


def short_names(folders: Sequence[str | os.PathLike]) -> list[str]:
    """What folders are called in a table: their last part, or all of it where two end alike.

    >>> short_names(["runs/a", "runs/b"]), short_names(["monday/a", "tuesday/a"])
    (['a', 'b'], ['monday/a', 'tuesday/a'])
    """
    names = [Path(folder).resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _head(folder: Path, about: Mapping[str, Any], schedule: Schedule) -> dict[str, Any]:
    asked = {name: getattr(schedule, name) for name in ("rate", "concurrency", "requests", "duration_s", "seed")}
    more = {"max_tokens": about["options"]["max_tokens"], "prompts": about["prompt_set"]["name"]}
    return {
        "schema": SCHEMA, "folder": str(folder), "model": about["model"], "host": about["host"],
        "started": about["created"], "profile": schedule.profile, "meaning": find_profile(schedule.profile).meaning,
        "asked": {**asked, **more},
    }  # fmt: skip


def doubts(about: Mapping[str, Any]) -> list[str]:
    """What a run's manifest says against it."""
    state = about.get("state")
    found = []
    if state != "complete":  # nobody was there any more to say that it no longer runs
        found.append(f"the run was {'killed' if state == 'running' else state} before its end")
    if about.get("drift"):
        found.append("settings drift: the server's own record of the model was another one afterwards")
    return found + list((about.get("health") or {}).get("reasons", ()))


def last_weighing(
    requests: Sequence[Request], found: Mapping[str, Any], instrument: Any, kept: Any
) -> tuple[dict[str, Any] | None, list[str]]:
    """The weighing of the instrument that holds for so many streams and such a rate of chunks, or what to do.

    `instrument` is the one that measured. Where it is not this one here, the weighing that was `kept` stays.
    """
    from benchkit import weigh

    window, streams = found["window"], found["concurrency"]["peak"]
    stamps = [chunk.t_ns for r in requests for chunk in metrics.text_chunks(r.recording)]
    inside = sum(window["start_ns"] < t <= window["end_ns"] for t in stamps)
    rate = inside / window["span_s"] if inside and window["span_s"] > 0 else None
    here = instrument == weigh.what_it_holds_for()
    weighing = weigh.holding_weighing(streams, rate) if here else kept
    if weighing is not None:
        return weighing, []
    how = weigh.how_to_weigh(max(1, streams), rate)
    return None, [f"scale not weighed: what this instrument's own error is at this load, `{how}` shows"]


def write_requests(folder: Path, about: Mapping[str, Any], schedule: Schedule) -> None:
    """Parse the raw exchanges, and write one line of JSON a request, in the order in which they were due."""
    parse, options, key = parser(about), Options(**about["options"]), openai_compatible.read_key()
    prompts, rows = about["prompt_set"]["ids"], []
    for number, exchange in read_exchanges(folder / "exchanges.jsonl"):
        recording = without_secret(parse(exchange, options), key)
        why = traffic.failure(recording.state, exchange.ended, exchange.status)
        rows.append((number, Request(recording, prompts[number % len(prompts)], why)))
    numbers = {id(request): number for number, request in rows}
    ordered = traffic.in_order(request for _, request in rows)
    window = traffic.cut(ordered, schedule)
    lines = [
        json.dumps(request_row(numbers[id(r)], r, window.first <= place < window.last), ensure_ascii=False)
        for place, r in enumerate(ordered)
    ]
    runs.write_bytes(folder / "requests.jsonl", "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def parser(about: Mapping[str, Any]) -> Callable[[Exchange, Options], Recording]:
    """The parser of a run's protocol, told what is known of its server."""
    if about["protocol"] == "ollama":
        return ollama.parse
    counts_end = about.get("server", {}).get("owned_by") in openai_compatible.COUNT_THE_END
    return partial(openai_compatible.parse, counts_end_token=counts_end)


def request_row(number: int, request: Request, in_window: bool) -> dict[str, Any]:
    """One request as a line of requests.jsonl; `in_window`: whether it is in the summary's latencies."""
    r = request.recording
    chunks = metrics.text_chunks(r)
    row = r.to_dict()
    stamps = ("t_scheduled_ns", "t_sent_ns", "t_headers_ns", "t_first_byte_ns")
    return {
        "number": number, "request_id": r.request_id, "prompt_id": request.prompt_id, "state": r.state,
        "failure": request.failure, "error": r.error, "in_window": in_window,
        **{name: getattr(r, name) for name in stamps},
        "t_first_ns": chunks[0].t_ns if chunks else None, "t_last_ns": chunks[-1].t_ns if chunks else None,
        "t_end_ns": r.t_end_ns, "counts": row["counts"],
        **{name: of(r) for name, of in traffic.LATENCIES.items()},
        "n_prompt_tokens": metrics.n_prompt_tokens(r), "n_output_tokens": metrics.n_output_tokens(r),
        "recording": row,
    }  # fmt: skip


def read_requests(folder: str | os.PathLike) -> list[Request]:
    """The requests of a load run, in the order in which they were due.

    For a table of them: `pandas.read_json(folder / "requests.jsonl", lines=True)`.
    """
    try:
        with open(Path(folder) / "requests.jsonl", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
    except FileNotFoundError:
        raise BenchkitError(f"{folder} has no requests.jsonl: it is not the folder of a load run, or nothing was "
                            "sent.") from None  # fmt: skip
    return [Request(Recording.from_dict(row["recording"]), row["prompt_id"], row["failure"]) for row in rows]


def read_schedule(folder: str | os.PathLike) -> Schedule:
    """The schedule of a load run, as it was saved before the first request."""
    row = runs.read_json(Path(folder) / "schedule.json")
    if not isinstance(row, dict) or "profile" not in row:
        raise BenchkitError(f"{folder} is not the folder of a load run: it has no readable schedule.json.")
    names = Schedule.__dataclass_fields__
    due = row["due_ns"]
    return Schedule(**{name: row[name] for name in names if name != "due_ns"},
                    due_ns=None if due is None else tuple(due))  # fmt: skip


def read_gauge(folder: str | os.PathLike) -> list[tuple[int, int]]:
    """The gauge of requests in flight: (time in ns, how many); empty where the run was killed."""
    columns = runs.read_json(Path(folder) / "gauge.json", {"t_ns": [], "in_flight": []})
    return list(zip(columns["t_ns"], columns["in_flight"]))


# ---------------------------------------------------------------- from one user to too many

SWEEP_RATES, SWEEP_ALONE = 5, 32


def sweep(
    model: str, host: str | None = None, *, requests: int | None = None, profile: str = "constant",
    out: str | os.PathLike | None = None, **settings: Any,
) -> dict[str, Any]:  # fmt: skip
    """How much can the server take? One request at a time, then everything at once, then five rates between.

    Each is a load run in a folder of its own inside `out`; the other settings are those of `load`. The *knee* is
    the highest rate that the server kept up with: requests did not pile up, and as many ended as became due.
    Writes `sweep.json`, and returns what is in it.
    """
    folder = Path(out) if out is not None else default_folder(model, "sweep")
    n = REQUESTS if requests is None else requests
    if find_profile(profile).loop != "open":
        raise BenchkitError(f"a sweep goes through rates: its profile is constant or poisson, not {profile}.")

    def one(number: int, name: str, n_requests: int, rate: float | None = None) -> dict[str, Any]:
        place = folder / (f"{number:02d}_{name}" + (f"_{rate:.3g}" if rate else ""))
        return traffic.point(load(model, host, name, requests=n_requests, rate=rate, out=place, **settings))

    points = [one(0, "synchronous", min(n, SWEEP_ALONE)), one(1, "throughput", n)]
    rates = traffic.rates_between(points[0]["requests_per_s"], points[1]["requests_per_s"], SWEEP_RATES)
    points += [one(number, profile, n, rate) for number, rate in enumerate(rates, 2)]
    state, reasons = traffic.judge_sweep(points)
    found = {"schema": SCHEMA, "profile": "sweep", "model": model, "folder": str(folder), "verdict": state,
             "reasons": reasons, "knee": traffic.knee(points), "points": points}  # fmt: skip
    runs.write_json(folder / "sweep.json", found)
    return found
