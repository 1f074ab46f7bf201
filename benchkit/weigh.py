"""The instrument on the scale: how far are the numbers that this toolkit shows from the truth?

    found = weigh()            # about a minute; `weigh(**QUICK)` takes under 20 s
    print(as_text(found))

A server whose truth is known (`benchkit.truth`) runs as a process of its own. The whole instrument, the
sender and the parsers that `run` and `load` use too, asks it with 1, 32, 128 and 512 streams, once all in
lock-step and once staggered. Matched by request id, the server's log and our recordings give the *reply-side
error*: how much later than the server wrote the first text we say that it came. The *request-side delay*, how
much later than we sent it the server read a request, stands apart: it holds the server's own lateness too.
Beside it runs a bare reader, which only stamps what comes and throws it away: nothing that understands
what it reads can cost less of the processor. A weighing holds for this machine, these versions, that number
of streams and chunk rate; for all else the scale is not weighed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import platform
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchkit import machine, metrics, places, script, truth
from benchkit.backends import ollama, openai_compatible, replies, wire
from benchkit.backends.base import Options
from benchkit.errors import BenchkitError
from benchkit.recording import Recording
from benchkit.runs import read_json, write_json
from benchkit.stats import percentile
from benchkit.text import counted, number, percent

MS = metrics.MS
PROTOCOLS = ("ollama", "openai")
STARTS = ("lock_step", "staggered")

#: For a lesson: seconds, not a minute.
QUICK = {"streams": (1, 32, 128), "ttft_ms": 20.0, "n_tokens": 8}

#: What the instrument is to reach on two cores shared with the server: mean reply-side error in ms, by
#: streams, and CPU a token as a multiple of the bare reader's, from so many streams on.
TARGETS_MS = {1: 0.5, 32: 0.5, 128: 1.5, 512: 3.0}
TARGET_CPU_RATIO, CPU_FROM_STREAMS = 3.0, 32

#: A weighing holds up to this share above its own chunk rate: rates are measured, and never quite equal.
RATE_TOLERANCE = 0.1
SCHEMA = "benchkit/weighing/1"
KEPT = 20  # weighings kept in the user's cache folder

# ---------------------------------------------------------------- the formulas: pure


def reply_errors_ms(recordings: Iterable[Recording], log: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """Reply-side error of each request: the client's first text less the server's first write of text, in ms.

    A request that has no text on one of the two sides has no error to show; it is counted as failed.
    """
    pairs = ((metrics.text_chunks(r), truth.text_stamps_ns(log[r.request_id])) for r in recordings
             if r.request_id in log)  # fmt: skip
    return [(chunks[0].t_ns - written[0]) / MS for chunks, written in pairs if chunks and written]


def request_delays_ms(recordings: Iterable[Recording], log: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """Request-side delay of each request: when the server read it less when the client sent it, in ms."""
    return [(log[r.request_id]["t_read_ns"] - r.t_sent_ns) / MS for r in recordings if r.request_id in log]


def server_lateness_ms(log: Iterable[Mapping[str, Any]]) -> list[float]:
    """How much later than it was due the server itself wrote the first text of each reply, in ms."""
    firsts = [next((i for i, n in enumerate(row["written"]["n_tokens"]) if n), None) for row in log]
    return [(row["written"]["t_ns"][i] - row["written"]["due_ns"][i]) / MS
            for row, i in zip(log, firsts) if i is not None]  # fmt: skip


def spread(values_ms: Sequence[float]) -> dict[str, float | int | None]:
    """Mean, p50, p99 and maximum of absolute values; p99 is None below 299 of them, for it would be a guess.

    >>> spread([0.25, -0.75])
    {'n': 2, 'mean': 0.5, 'p50': 0.5, 'p99': None, 'max': 0.75}
    """
    sizes = sorted(abs(value) for value in values_ms)
    if not sizes:
        return {"n": 0, "mean": None, "p50": None, "p99": None, "max": None}
    return {
        "n": len(sizes),
        "mean": math.fsum(sizes) / len(sizes),
        "p50": (sizes[(len(sizes) - 1) // 2] + sizes[len(sizes) // 2]) / 2,
        "p99": percentile(sizes, 99).value,
        "max": sizes[-1],
    }


def chunks_per_s(recordings: Iterable[Recording], n_streams: int) -> float | None:
    """Chunk rate: how many chunks with text a second `n_streams` streams bring while they run.

    `n_streams × Σ gaps / Σ time of the gaps`, in chunks/s. None where no reply has two chunks.

    >>> round(chunks_per_s([metrics.EXAMPLE], 32))
    3200
    """
    gaps = [gap for recording in recordings for gap in metrics.icl_ms(recording)]
    total_ms = math.fsum(gaps)
    return n_streams * 1000 * len(gaps) / total_ms if total_ms > 0 else None


def ledger_differences_ms(recording: Recording, row: Mapping[str, Any]) -> dict[str, float]:
    """The ledger of one request against the truth server's log: what each part is too long by, in ms.

    Queue, load, prefill and decode are compared with what the server did. What is left of the response time,
    `delivery + unexplained`, is compared with what was really on the way: from sending to the server's
    reading, and from its last write of text to the end; a part that the engine does not tell is in it too.
    """
    parts, written = metrics.ledger(recording), truth.text_stamps_ns(row)
    if not written:
        raise BenchkitError(f"request {recording.request_id} got no text: there is no decode to compare.")
    prefill_ms = (written[0] - row["t_read_ns"]) / MS - row["queue_ms"] - row["load_ms"]
    true_ms = {"queue": row["queue_ms"], "load": row["load_ms"], "prefill": prefill_ms,
               "decode": (written[-1] - written[0]) / MS}  # fmt: skip
    told = {part: value for part, value in true_ms.items() if parts[part] is not None}
    on_the_way_ms = (row["t_read_ns"] - recording.t_sent_ns + recording.t_end_ns - written[-1]) / MS
    remainder_ms = on_the_way_ms + sum(value for part, value in true_ms.items() if part not in told)
    return {part: parts[part] - value for part, value in told.items()} | {
        "delivery + unexplained": (parts["delivery"] or 0.0) + parts["unexplained"] - remainder_ms
    }


def is_right(recording: Recording, log: Mapping[str, Mapping[str, Any]], n_tokens: int) -> bool:
    """Whether a reply came whole: every token once, counted right, and the server says so too."""
    row = log.get(recording.request_id)
    return (
        row is not None
        and row["ended"] == "complete"
        and recording.state in metrics.COMPLETED
        and recording.response == "".join(map(script.token, range(n_tokens)))
        and metrics.n_output_tokens(recording) == n_tokens
    )


# ---------------------------------------------------------------- the two readers


def request(
    protocol: str, ttft_ms: float, gap_ms: float, n_tokens: int
) -> tuple[str, dict[str, Any], Options]:
    """What is asked: path, body as the backends make it (with the script for the server), and its options."""
    options = Options(max_tokens=n_tokens, timeout_s=30 + (ttft_ms + gap_ms * n_tokens) / 1000)
    path, body = MODULES[protocol].request(script.MODEL, "How long is a second?", options)
    asked = {"ttft_ms": ttft_ms, "gap_ms": gap_ms, "n_tokens": n_tokens, "timings": True}
    return PREFIX[protocol] + path, {**body, "truth": asked}, options


MODULES = {"ollama": ollama, "openai": openai_compatible}
PREFIX = {"ollama": "", "openai": "/v1"}
_ids = count(1)


def start_times_ns(n_streams: int, starts: str, ttft_ms: float) -> list[int]:
    """When each stream starts, from the first: all at once, or evenly spread over the time to first token.

    >>> start_times_ns(4, "staggered", 20.0), start_times_ns(2, "lock_step", 20.0)
    ([0, 5000000, 10000000, 15000000], [0, 0])
    """
    apart_ns = ttft_ms * MS / n_streams if starts == "staggered" else 0
    return [round(i * apart_ns) for i in range(n_streams)]


async def _ask_all(client: wire.Wire, path: str, body: Mapping[str, Any], starts_ns: Sequence[int],
                   timeout_s: float) -> list[wire.Exchange]:  # fmt: skip
    """Send one request a stream, each at its time; all that was seen of them."""
    begin_ns = time.perf_counter_ns()

    async def ask(start_ns: int) -> wire.Exchange:
        due_ns = begin_ns + start_ns
        if start_ns:
            await asyncio.sleep((due_ns - time.perf_counter_ns()) / 1e9)
        return await client.send(path, dict(body), timeout_s=timeout_s, request_id=f"weigh-{next(_ids)}",
                                 t_scheduled_ns=due_ns)  # fmt: skip

    return await asyncio.gather(*map(ask, starts_ns))


class BareReader(asyncio.Protocol):
    """Stamps what comes and throws it away: what reading costs where nothing is understood."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self._tail = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def send(self, request: bytes, done: asyncio.Future) -> None:
        """Write one request; `done` is set when its reply's last chunk is there, or never will be."""
        self.stamps, self._done = [], done
        self.t_sent_ns = time.perf_counter_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.stamps.append(time.perf_counter_ns())
        self._tail = (self._tail + data)[-len(script.LAST_CHUNK) :]
        if self._tail == script.LAST_CHUNK:
            self._done.set_result(None)

    def connection_lost(self, problem: Exception | None) -> None:
        if hasattr(self, "_done") and not self._done.done():
            self._done.set_exception(ConnectionError("the truth server closed the connection"))

    def close(self) -> None:
        """Leave."""
        self._transport.close()


def _bare_text(stamps_ns: Sequence[int], row: Mapping[str, Any]) -> float:
    """The bare reader's own reply-side error: its first read (the reply's head comes with the first text)."""
    return (stamps_ns[0] - truth.text_stamps_ns(row)[0]) / MS


async def _connect_bare(url: str, n: int) -> list[BareReader]:
    host, _, port = url.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(BareReader, host, int(port)))[1] for _ in range(n)]


async def _leave(readers: Sequence[BareReader]) -> None:
    for reader in readers:
        reader.close()


async def _ask_all_bare(readers: Sequence[BareReader], requests: Sequence[bytes], timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    waiting = [loop.create_future() for _ in readers]
    for reader, words, done in zip(readers, requests, waiting):
        reader.send(words, done)
    try:
        await asyncio.wait_for(asyncio.gather(*waiting), timeout_s)
    except (asyncio.TimeoutError, ConnectionError):
        raise BenchkitError(
            f"the truth server left the bare reader without an answer: {len(readers):,} streams are too many "
            "for this machine. Weigh with fewer."
        ) from None


def raw_request(url: str, path: str, body: Mapping[str, Any], request_id: str) -> bytes:
    """One POST as bytes."""
    words = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", f"Host: {url.removeprefix('http://')}", "Content-Type: application/json",
            "Accept-Encoding: identity", f"X-Request-Id: {request_id}", f"Content-Length: {len(words)}"]  # fmt: skip
    return "\r\n".join([*head, "", ""]).encode() + words


# ---------------------------------------------------------------- one round, and all of them


@dataclass(frozen=True)
class Scale:
    """What stays the same through a weighing: the server, the way to it, and what is asked."""

    url: str
    thread: wire.LoopThread
    client: wire.Wire
    ttft_ms: float
    gap_ms: float
    n_tokens: int


@dataclass(frozen=True)
class Round:
    """One round: what each request's two sides say, and the CPU that reading the replies took."""

    protocol: str
    starts: str
    recordings: Sequence[Recording]
    log: Mapping[str, Mapping[str, Any]]
    cpu_ns: int


def _weigh_once(scale: Scale, protocol: str, n_streams: int, starts: str) -> Round:
    """The whole instrument, once: sender and parser, with the connections open before the clock starts."""
    path, body, options = request(protocol, scale.ttft_ms, scale.gap_ms, scale.n_tokens)
    starts_ns = start_times_ns(n_streams, starts, scale.ttft_ms)
    scale.thread.run(scale.client.open(n_streams))
    since_ns = time.perf_counter_ns()
    cpu_ns = time.process_time_ns()
    exchanges = scale.thread.run(_ask_all(scale.client, path, body, starts_ns, options.timeout_s))
    recordings = [MODULES[protocol].parse(exchange, options) for exchange in exchanges]
    cpu_ns = time.process_time_ns() - cpu_ns
    scale.thread.run(scale.client.close())
    return Round(protocol, starts, recordings, truth.read_log(scale.url, since_ns), cpu_ns)


def _read_bare(scale: Scale, protocol: str, n_streams: int) -> tuple[list[float], int]:
    """The bare reader, once, with the same requests in lock-step: its errors in ms, and its CPU in ns."""
    path, body, options = request(protocol, scale.ttft_ms, scale.gap_ms, scale.n_tokens)
    ids = [f"bare-{next(_ids)}" for _ in range(n_streams)]
    words = [raw_request(scale.url, path, body, request_id) for request_id in ids]
    readers = scale.thread.run(_connect_bare(scale.url, n_streams))
    since_ns = time.perf_counter_ns()
    cpu_ns = time.process_time_ns()
    scale.thread.run(_ask_all_bare(readers, words, options.timeout_s))
    cpu_ns = time.process_time_ns() - cpu_ns
    scale.thread.run(_leave(readers))
    log = truth.read_log(scale.url, since_ns)
    return [_bare_text(reader.stamps, log[i]) for reader, i in zip(readers, ids)], cpu_ns


def rounds(n_streams: int) -> int:
    """How many rounds of each kind; over both protocols, p99 needs 299 requests.

    >>> [rounds(n) for n in (1, 32, 128, 512)]
    [5, 5, 2, 1]
    """
    return min(5, math.ceil(160 / n_streams))


def _weigh_streams(scale: Scale, n_streams: int) -> dict[str, Any]:
    """Everything about one number of streams; instrument and bare reader take turns."""
    done: list[Round] = []
    bare: dict[str, list[tuple[list[float], int]]] = {protocol: [] for protocol in PROTOCOLS}
    for _ in range(rounds(n_streams)):
        for protocol in PROTOCOLS:
            for starts in STARTS if n_streams > 1 else STARTS[:1]:
                done.append(_weigh_once(scale, protocol, n_streams, starts))
            bare[protocol].append(_read_bare(scale, protocol, n_streams))
    return summarize(done, bare, n_streams, scale.n_tokens)


def summarize(done: Sequence[Round], bare: Mapping[str, Sequence[tuple[list[float], int]]], n_streams: int,
              n_tokens: int) -> dict[str, Any]:  # fmt: skip
    """One row of a weighing, from its rounds; `bare` are the bare reader's errors and CPU, by protocol."""
    recordings = [recording for one in done for recording in one.recordings]
    row: dict[str, Any] = {"n_streams": n_streams, "chunks_per_s": chunks_per_s(recordings, n_streams),
                           **_both_sides(done, n_tokens)}  # fmt: skip
    row["starts"] = {starts: _both_sides([one for one in done if one.starts == starts], n_tokens)
                     for starts in STARTS if any(one.starts == starts for one in done)}  # fmt: skip
    row["cpu"] = {protocol: _cpu([one for one in done if (one.protocol, one.starts) == (protocol, "lock_step")],
                                 bare[protocol], n_streams * n_tokens) for protocol in bare}  # fmt: skip
    ratios = [cpu["ratio"] for cpu in row["cpu"].values() if cpu["ratio"] is not None]
    row["cpu_ratio"] = max(ratios, default=None)
    return row


def _both_sides(done: Sequence[Round], n_tokens: int) -> dict[str, Any]:
    """Errors and delays over some rounds, and how many requests did not come back as they were sent."""
    log = {i: row for one in done for i, row in one.log.items()}
    recordings = [recording for one in done for recording in one.recordings]
    right = [recording for recording in recordings if is_right(recording, log, n_tokens)]
    parts = [abs(ms) for r in right for ms in ledger_differences_ms(r, log[r.request_id]).values()]
    return {
        "n_requests": len(recordings),
        "n_failed": len(recordings) - len(right),
        "states": dict(Counter(recording.state for recording in recordings)),
        "reply_error_ms": spread(reply_errors_ms(right, log)),
        "request_delay_ms": spread(request_delays_ms(right, log)),
        "server_late_ms": spread(server_lateness_ms([log[r.request_id] for r in right])),
        "ledger_error_ms": max(parts, default=None),
    }


def _cpu(
    done: Sequence[Round], bare: Sequence[tuple[list[float], int]], n_tokens: int
) -> dict[str, float | None]:
    """CPU a token in µs, of the instrument and of the bare reader, and how many times as much that is."""
    us = sum(one.cpu_ns for one in done) / 1000 / (n_tokens * len(done)) if done else None
    bare_us = sum(cpu_ns for _, cpu_ns in bare) / 1000 / (n_tokens * len(bare)) if bare else None
    return {
        "us_per_token": us,
        "bare_us_per_token": bare_us,
        "ratio": us / bare_us if us and bare_us else None,
        "bare_reply_error_ms": spread([error for errors, _ in bare for error in errors])["mean"],
    }


def weigh(
    streams: Sequence[int] = (1, 32, 128, 512),
    ttft_ms: float = 200.0,
    gap_ms: float = 20.0,
    n_tokens: int = 32,
    *,
    save: bool = True,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Weigh the whole instrument; one row for each number of streams. Saved for the runs it holds for.

    `say` is told what is being weighed. Takes about a minute; `weigh(**QUICK)` under 20 s. Raises
    BenchkitError where the system does not allow so many connections, or the server's clock is not ours.
    """
    _check(streams, n_tokens)
    script.read_script({"ttft_ms": ttft_ms, "gap_ms": gap_ms, "n_tokens": n_tokens})  # refuses what cannot be
    say = say or (lambda text: None)
    began = time.perf_counter()
    wire.allow_open_files(max(streams) + 64)
    with wire.quiet_gc(), truth.running() as url, wire.LoopThread() as thread:
        if not truth.shares_our_clock(url):
            raise BenchkitError(
                "on this system each process has a clock of its own: nothing can be weighed here."
            )
        scale = Scale(url, thread, wire.Wire(url), ttft_ms, gap_ms, n_tokens)
        busy = machine.busy()
        for protocol in PROTOCOLS:  # unrecorded: the first request of all does things that no later one does
            _weigh_once(scale, protocol, 1, STARTS[0])
        rows = []
        for n_streams in streams:
            say(f"weighing with {counted(n_streams, 'stream')} …")
            rows.append(_weigh_streams(scale, n_streams))
    found = {
        "created": machine.now_iso(),
        "took_s": round(time.perf_counter() - began, 1),
        **what_it_holds_for(),
        "settings": {
            "ttft_ms": ttft_ms,
            "gap_ms": gap_ms,
            "n_tokens": n_tokens,
            "protocols": list(PROTOCOLS),
        },
        "busy_share": round(busy.cpu_share, 3),
        "rows": rows,
    }
    if save:
        _save(found)
    return found


def _check(streams: Sequence[int], n_tokens: int) -> None:
    for n in streams:
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= truth.MAX_STREAMS // 4:
            raise BenchkitError(
                f"streams: {n!r}. Allowed are whole numbers from 1 to {truth.MAX_STREAMS // 4:,}."
            )
    if not streams:
        raise BenchkitError("streams: none given. Give for instance (1, 32).")
    if isinstance(n_tokens, bool) or not isinstance(n_tokens, int) or n_tokens < 2:
        raise BenchkitError(f"n_tokens={n_tokens!r}: a whole number from 2 on, for a chunk rate needs a gap.")


# ---------------------------------------------------------------- what a weighing holds for


def what_it_holds_for() -> dict[str, Any]:
    """The machine and the versions that a weighing speaks for: the instrument's own code among them."""
    return {
        "schema": SCHEMA,
        "machine": {
            "cpu": machine.cpu_model(),
            "architecture": platform.machine(),
            "usable_cores": machine.usable_cores(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {
            "python": platform.python_version(),
            **{package: machine.version(package) for package in ("benchkit", "httptools", "uvloop")},
            "instrument": _digest(wire, replies, ollama, openai_compatible),
        },
    }


def _digest(*modules: Any) -> str:
    """A short digest of the instrument's code: if it changes, whatever its version says, weigh again."""
    code = b"".join(Path(module.__file__).read_bytes() for module in modules)
    return hashlib.sha256(code).hexdigest()[:12]


def holding_weighing(n_streams: int, chunks_per_s: float | None) -> dict[str, Any] | None:
    """The last weighing that holds for a run: same machine, versions, number of streams and chunk rate.

    The rate (`chunks_per_s`, of all streams together) must not be above the weighed one; a tenth more passes,
    for both are measured. Returns that row with `created`, `machine`, `versions` and `settings`; None means
    "scale not weighed": `how_to_weigh` says which weighing would hold.
    """

    if chunks_per_s is None:
        return None
    here = what_it_holds_for()
    for path in sorted(_folder().glob("*.json"), reverse=True):
        found = read_json(path, {})
        row = holding_row(found, here, n_streams, chunks_per_s)
        if row is not None:
            return {
                name: found[name] for name in ("created", "machine", "versions", "settings", "busy_share")
            } | row
    return None


def holding_row(
    found: Any, here: Mapping[str, Any], n_streams: int, chunks_per_s: float
) -> dict[str, Any] | None:
    """The row of a weighing that holds here for so many streams at such a rate, or None."""
    if not isinstance(found, dict) or any(found.get(name) != value for name, value in here.items()):
        return None
    for row in found.get("rows", ()):
        rate = row["chunks_per_s"]
        same = row["n_streams"] == n_streams and rate and chunks_per_s <= rate * (1 + RATE_TOLERANCE)
        if same and not row["n_failed"]:  # a scale that lost replies has not weighed them
            return row
    return None


def how_to_weigh(n_streams: int, chunks_per_s: float | None) -> str:
    """The command whose weighing would hold for a run.

    >>> how_to_weigh(8, 1600.0)
    'benchkit weigh --streams 8 --gap 5'
    """
    gap_ms = 1000 * n_streams / chunks_per_s if chunks_per_s else 20.0
    short = f"{gap_ms:.1f}" if gap_ms < 20 else "20"
    return f"benchkit weigh --streams {n_streams} --gap {short.removesuffix('.0')}"


def _folder() -> Path:
    folder = places.cache_folder() / "weighings"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _save(found: dict[str, Any]) -> None:
    """Keep this weighing, and forget the oldest; file names are in the order of time."""

    write_json(_folder() / f"{time.time_ns():020d}.json", found)
    for old in sorted(_folder().glob("*.json"))[:-KEPT]:
        old.unlink(missing_ok=True)


# ---------------------------------------------------------------- for a person


def as_text(found: Mapping[str, Any]) -> str:
    """A weighing as one page for a terminal, with the sentences that read it."""
    asked, uvloop = found["settings"], found["versions"]["uvloop"]
    head = (f"The instrument, weighed against a server whose truth is known: {number(asked['ttft_ms'])} ms to "
            f"the first token, then one every {number(asked['gap_ms'])} ms, {asked['n_tokens']} in all. "
            f"{found['machine']['cpu']}, {counted(found['machine']['usable_cores'], 'core')} shared with it, "
            f"{f'uvloop {uvloop}' if uvloop else 'Python’s own event loop'}; other programs used "
            f"{percent(found['busy_share'])} of the processor.")  # fmt: skip
    rows = found["rows"]
    parts = [
        _wrapped(head),
        _error_table(rows),
        _cpu_table(rows),
        "\n".join(_wrapped(t) for t in readings(found)),
    ]
    return "\n\n".join(parts)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100)


def _error_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """How late each side is, in ms, for each number of streams and way to start."""
    lines = ["                     first text, ms late (reply side)  request, ms late to be read",
             "streams  starts      mean    p50     p99     max       mean    p50     p99           failed"]  # fmt: skip
    for row in rows:
        for starts, side in row["starts"].items():
            reply = "".join(
                f"{number(side['reply_error_ms'][name]):<8}" for name in ("mean", "p50", "p99", "max")
            )
            sent = "".join(f"{number(side['request_delay_ms'][name]):<8}" for name in ("mean", "p50", "p99"))
            failed = f"{side['n_failed']} of {side['n_requests']:,}"
            lines.append(
                f"{row['n_streams']:>7}  {starts.replace('_', '-'):<12}{reply}  {sent}      {failed}"
            )
    return "\n".join(lines)


def _cpu_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """CPU a token beside the bare reader's, and that one's own lateness: most of it is the server's."""
    lines = ["                     CPU a token, µs                   a reader that understands nothing:",
             "streams  protocol    this    bare    times             first text, mean ms late"]  # fmt: skip
    for row in rows:
        for protocol, cpu in row["cpu"].items():
            cells = "".join(
                f"{number(cpu[name]):<8}" for name in ("us_per_token", "bare_us_per_token", "ratio")
            )
            lines.append(
                f"{row['n_streams']:>7}  {protocol:<12}{cells}          {number(cpu['bare_reply_error_ms'])}"
            )
    return "\n".join(lines)


def readings(found: Mapping[str, Any]) -> list[str]:
    """What the figures say, in sentences, and what they were to be."""
    said = [reading(row) for row in found["rows"]]
    if found["busy_share"] > machine.BUSY_SHARE:
        said.append(
            "Other programs were busy meanwhile, so this says more about them than about the instrument: "
            "close them, and weigh again."
        )
    return [*said, "A difference between two times that is smaller than these errors says nothing."]


def reading(row: Mapping[str, Any]) -> str:
    """What one row says: of a weighing, or the one that `holding_weighing` found."""
    n = counted(row["n_streams"], "stream")
    if row["n_failed"]:
        lost = f"{row['n_failed']} of {row['n_requests']:,} replies did not come whole"
        return f"With {n}: {lost}. Do not use so many."
    error, target = row["reply_error_ms"], TARGETS_MS.get(row["n_streams"])
    said = f"With {n}, a time to first token is read {number(error['mean'])} ms too long on average, "
    if error["p99"] is None:
        said += f"at most {number(error['max'])} ms"
    else:
        said += f"99 of 100 by at most {number(error['p99'])} ms"
    if target is not None:
        said += f" (wanted on average: at most {number(target)}; {_yes(error['mean'] <= target)})"
    return f"{said}.{_cpu_reading(row)}"


def _cpu_reading(row: Mapping[str, Any]) -> str:
    ratio, wanted = row["cpu_ratio"], TARGET_CPU_RATIO
    if row["n_streams"] < CPU_FROM_STREAMS or ratio is None:
        return ""
    return (
        f" A token costs {number(ratio)} times the bare reader's processor time "
        f"(wanted: at most {number(wanted)}; {_yes(ratio <= wanted)})."
    )


def _yes(reached: bool) -> str:
    return "reached" if reached else "not reached"
