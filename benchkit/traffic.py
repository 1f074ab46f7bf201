"""What many requests at once say about a server: rates, waiting, concurrency, goodput. Pure functions.

A load run is a list of `Request`s, a gauge that was read while they ran, and the schedule they followed.
Latencies are of the requests that lie in the cut window, chosen by their place in the order of sending and
never by their result: a rule that looks at results would leave out the slow ones. Rates are over the
window's wall span. Failed requests have no latency; their number stands beside every latency instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile
from statistics import median
from typing import Any

from benchkit import metrics, stats
from benchkit.errors import BenchkitError, did_you_mean
from benchkit.metrics import S
from benchkit.recording import Recording
from benchkit.schedule import Schedule
from benchkit.text import counted, number

#: How often the gauge of requests in flight is read.
GAUGE_PERIOD_MS = 10

VALID, INCONCLUSIVE, INVALID = "VALID", "INCONCLUSIVE", "INVALID"

# A run is in doubt when …
MAX_ERROR_SHARE = 0.01  # … more than 1 % of its requests failed,
MIN_ACHIEVED = 0.95  # … less than 95 % of the asked concurrency was in flight, or of the asked rate was sent,
MAX_LITTLE_GAP = 5.0  # … the gauge and the stamps differ by more than 5 %, and what reading it seldom explains,
MAX_CLIENT_SHARE = 0.05  # … the client's own lateness is more than 5 % of the time that it measures,
MIN_CLIENT_MS = 1.0  # (below a millisecond it is the event loop's own timer)
MAX_CLIENT_CPU = 0.9  # … the client used more than 90 % of the one core that an event loop can use,
MAX_CACHED_SHARE = 0.1  # … more than 10 % of the prompt tokens came from a cache that should have been cold,
MAX_UNEXPLAINED = 0.05  # … no clock accounts for more than 5 % of the response time.

#: What a service level may set a limit on: name → unit.
SLO = {"ttft_ms": "ms", "ttft_from_schedule_ms": "ms", "tpot_ms": "ms", "latency_s": "s", "response_time_s": "s"}


@dataclass(frozen=True)
class Request:
    """One request of a load run: what was observed, which prompt it was, and how it failed (None: it did not)."""

    recording: Recording
    prompt_id: str = ""
    failure: str | None = None


@dataclass(frozen=True)
class Window:
    """The part of a run that counts: requests `first` to `last` (not included) in the order of sending."""

    first: int
    last: int
    start_ns: int
    end_ns: int
    rule: str

    @property
    def span_s(self) -> float:
        """Its length, in s."""
        return (self.end_ns - self.start_ns) / S


# ---------------------------------------------------------------- one request


def failure(state: str, ended: str = "complete", status: int | None = 200) -> str | None:
    """How a request failed, as one word: its kind in the table of errors. None if it did not.

    An empty reply ended as it should: it is a wrong answer, and no error.

    >>> failure("ok"), failure("error", status=503), failure("disconnected", "refused", None)
    (None, 'http_503', 'refused')
    """
    if state in (*metrics.COMPLETED, "empty"):
        return None
    if ended in ("refused", "unreadable"):
        return ended
    return f"http_{status}" if status is not None and status >= 300 and state == "error" else state


def ttft_from_schedule_ms(recording: Recording) -> float | None:
    """Time to first token from when the request was due: what a user waits. `t_first − t_scheduled`, in ms.

    >>> ttft_from_schedule_ms(metrics.EXAMPLE)
    21.0
    """
    ttft, delay = metrics.ttft_ms(recording), metrics.dispatch_delay_ms(recording)
    return None if ttft is None or delay is None else ttft + delay


LATENCIES: dict[str, Callable[[Recording], float | None]] = {
    "ttft_ms": metrics.ttft_ms,
    "ttft_from_schedule_ms": ttft_from_schedule_ms,
    "tpot_ms": metrics.tpot_ms,
    "latency_s": metrics.latency_s,
    "response_time_s": metrics.response_time_s,
    "dispatch_delay_ms": metrics.dispatch_delay_ms,
}


def in_order(requests: Iterable[Request]) -> list[Request]:
    """The requests in the order in which they were due, then sent."""
    return sorted(requests, key=lambda r: (r.recording.t_scheduled_ns or 0, r.recording.t_sent_ns))


# ---------------------------------------------------------------- which part counts


def cut(requests: Sequence[Request], schedule: Schedule) -> Window:
    """Leave out warm-up and cool-down, by a rule that looks at the order of sending alone.

    A closed loop of N: the first N requests meet a server that is still filling up, the last N one that runs
    empty. An open loop: the first and the last tenth. All at once: nothing, for the work is one piece. Where
    too few requests would be left, nothing is cut, and the rule says so. `requests` are in order.
    """
    n = len(requests)
    edge, why = _edge(schedule, n)
    if n == 0:
        return Window(0, 0, 0, 0, "no request was sent")
    if edge == 0:
        start = min(r.recording.t_scheduled_ns or r.recording.t_sent_ns for r in requests)
        return Window(0, n, start, max(r.recording.t_end_ns for r in requests), why)
    times = sorted(_began(r, schedule) for r in requests)
    return Window(edge, n - edge, times[edge], times[n - edge], why)


def _began(request: Request, schedule: Schedule) -> int:
    """When a request belongs into the run: when it was due, or in a closed loop when it was sent."""
    recording = request.recording
    due = recording.t_scheduled_ns if schedule.loop == "open" else None
    return recording.t_sent_ns if due is None else due


def _edge(schedule: Schedule, n: int) -> tuple[int, str]:
    if schedule.loop == "at once":
        return 0, "nothing is cut: all the work is due at once, and counts until the last request has ended"
    edge = schedule.concurrency or 1 if schedule.loop == "closed" else n // 10
    if edge == 0 or n < 3 * edge:
        least = 10 if schedule.loop == "open" else 3 * edge
        return 0, (f"nothing is cut: that takes {least} requests, there are {n}, so warm-up and cool-down are in "
                   "every number")  # fmt: skip
    what = "tenth" if schedule.loop == "open" else "request" if edge == 1 else f"{edge} requests"
    return edge, f"the first and the last {what} in the order of sending are left out, whatever came of them"


# ---------------------------------------------------------------- many values


def distribution(values: Iterable[float | None], n_failed: int) -> dict[str, Any]:
    """Mean, median, percentiles and maximum of the known values, with the number of requests that failed.

    A percentile is None where there are too few values for a 95 % upper bound on it; the note says how many it
    needs.
    """
    known = sorted(stats.clean(values))
    found = {q: stats.percentile(known, q) for q in (90, 95, 99)}
    notes = [p.note for p in found.values() if p.note]
    return {
        "mean": math.fsum(known) / len(known) if known else None,
        "p50": median(known) if known else None,
        **{f"p{q}": p.value for q, p in found.items()},
        "max": known[-1] if known else None,
        "n": len(known),
        "n_failed": n_failed,
        "note": notes[0] if notes else "",
    }


def overlap_s(spans: Iterable[tuple[int, int]], window: Window) -> float:
    """How much of the spans lies inside the window, added up, in s.

    >>> overlap_s([(0, 4 * 10**9), (3 * 10**9, 9 * 10**9)], Window(0, 2, 2 * 10**9, 5 * 10**9, ""))
    4.0
    """
    return sum(max(0, min(b, window.end_ns) - max(a, window.start_ns)) for a, b in spans) / S


def tokens_in(requests: Iterable[Request], window: Window) -> float | None:
    """Output tokens that came inside the window; each request's in the proportion of its chunks. None: not counted.

    Only completed requests: what a failed one had sent was of no use.
    """
    total = 0.0
    for request in requests:
        chunks = metrics.text_chunks(request.recording)
        if request.failure is not None or not chunks:
            continue
        n = metrics.n_output_tokens(request.recording)
        if n is None:
            return None
        inside = sum(window.start_ns < chunk.t_ns <= window.end_ns for chunk in chunks)
        total += n * inside / len(chunks)
    return total


def completed_in(requests: Iterable[Request], window: Window, schedule: Schedule) -> float:
    """How many requests were completed in the window.

    In a closed loop that keeps step, N requests end within a moment, and whether before or after the window's edge is
    chance: there each counts by the share of its time that lies inside, which with N always in flight is the same rate.
    """
    done = [(r.recording.t_sent_ns, r.recording.t_end_ns) for r in requests if r.failure is None]
    if schedule.loop == "closed":
        return sum(overlap_s([(sent, end)], window) * S / (end - sent) for sent, end in done if end > sent)
    return sum(window.start_ns < end <= window.end_ns for _, end in done)


def _per_s(amount: float | None, window: Window) -> float | None:
    return None if amount is None or window.span_s <= 0 else amount / window.span_s


# ---------------------------------------------------------------- how many at once


Gauge = Sequence[tuple[int, int]]  # (time in ns, requests in flight), as it was read


def time_average(gauge: Gauge, start_ns: int, end_ns: int) -> float | None:
    """The mean of a gauge over a span of time, by trapezoids; None where it was read less than twice in it.

    >>> time_average([(0, 4), (10, 4), (20, 8)], 0, 20)
    5.0
    """
    inside = [(t, n) for t, n in gauge if start_ns <= t <= end_ns]
    if len(inside) < 2:
        return None
    area = sum((t1 - t0) * (n0 + n1) / 2 for (t0, n0), (t1, n1) in pairwise(inside))
    return area / (inside[-1][0] - inside[0][0]) if inside[-1][0] > inside[0][0] else None


def most_at_once(spans: Iterable[tuple[int, int]]) -> int:
    """How many of the spans of time overlap at most; one that begins where another ends does not overlap it.

    >>> most_at_once([(0, 5), (1, 3), (3, 4)])
    2
    """
    changes = sorted((t, step) for a, b in spans for t, step in ((a, 1), (b, -1)))
    return max(accumulate((step for _, step in changes), initial=0))


def littles_law(
    requests: Sequence[Request], gauge: Gauge, window: Window, connecting_s: float = 0.0
) -> dict[str, Any]:
    """A self-check of the instrument: requests in flight = arrival rate × time in the system (L = λ·W).

    L is the gauge's average over the window. λ is the requests that ended in it, by its span; W the seconds that
    requests spent inside it, by their number: with that, requests that cross an edge do not break the law in a
    short run (Little, 2011). λ and W come from the stamps, L from a counter that knows nothing of them: where a
    record is lost or a stamp is wrong, they differ. `gap` is |L − λ·W| / L in %; `allowed` is 5 % and what can be
    explained: the gauge is read only every 10 ms, and for `connecting_s` seconds in all it may have counted requests
    for which a connection was still being made. `holds` is None where that makes the check worthless.
    """
    spans = [(r.recording.t_sent_ns, r.recording.t_end_ns) for r in requests]
    seconds = overlap_s(spans, window)
    ended = sum(window.start_ns < end <= window.end_ns for _, end in spans)
    level = time_average(gauge, window.start_ns, window.end_ns)
    rate, each_s = _per_s(ended, window), seconds / ended if ended else None
    found = {"in_flight": level, "requests_per_s": rate, "seconds_each": each_s, "gap": None, "allowed": None,
             "holds": None}  # fmt: skip
    if not level or rate is None or each_s is None:
        return found
    independent = max(1.0, ended / level)  # requests in lock-step err together
    reading = 100 * 1.5 * GAUGE_PERIOD_MS / 1000 / (each_s * math.sqrt(independent))
    found["gap"] = 100 * abs(level - rate * each_s) / level
    known = reading + 100 * connecting_s / seconds
    found["allowed"] = MAX_LITTLE_GAP + known
    found["holds"] = found["gap"] <= found["allowed"] if known <= 4 * MAX_LITTLE_GAP else None
    return found


def _late_s(requests: Sequence[Request], window: Window, schedule: Schedule) -> float:
    """Seconds inside the window for which requests of an open loop were due, and not yet sent."""
    if schedule.loop != "open":
        return 0.0
    due = ((r.recording.t_scheduled_ns, r.recording.t_sent_ns) for r in requests)
    return overlap_s(((a, b) for a, b in due if a is not None), window)


def concurrency(requests: Sequence[Request], gauge: Gauge, window: Window, asked: int | None) -> dict[str, Any]:
    """The concurrency that was asked for beside the one that was there, and what the requests in flight did.

    `answering` is how many, on average, were getting text; `waiting` how many had not got their first.
    """
    under_way = [metrics.text_chunks(r.recording) for r in requests]
    answering = overlap_s(((c[0].t_ns, c[-1].t_ns) for c in under_way if c), window)
    waiting = overlap_s(
        ((r.recording.t_sent_ns, c[0].t_ns if c else r.recording.t_end_ns) for r, c in zip(requests, under_way)),
        window,
    )
    return {
        "asked": asked,
        "achieved": time_average(gauge, window.start_ns, window.end_ns),
        "peak": most_at_once((r.recording.t_sent_ns, r.recording.t_end_ns) for r in requests),
        "answering": _per_s(answering, window),
        "waiting": _per_s(waiting, window),
    }


# ---------------------------------------------------------------- is the server at its limit?


def saturation(
    schedule: Schedule, gauge: Gauge, window: Window, at_once: Mapping[str, Any], ttft_p50_ms: float | None,
    alone_ms: float | None,
) -> dict[str, Any]:  # fmt: skip
    """Whether requests wait because the server has as much as it can do; `saturated` is None where unknown."""
    if schedule.loop == "open":
        return _growing(schedule, gauge, window)
    if schedule.concurrency == 1:
        return {"saturated": False, "why": "one request at a time cannot queue"}
    return _queueing(at_once, ttft_p50_ms, alone_ms)


def _growing(schedule: Schedule, gauge: Gauge, window: Window) -> dict[str, Any]:
    """An open loop: do requests pile up? The second third of the window against the last."""
    third = (window.end_ns - window.start_ns) // 3
    middle = time_average(gauge, window.start_ns + third, window.start_ns + 2 * third)
    end = time_average(gauge, window.start_ns + 2 * third, window.end_ns)
    if middle is None or end is None:
        return {"saturated": None, "why": "too short a run to see whether requests pile up"}
    growth, arrived = end - middle, (window.last - window.first) / 3
    # chance alone moves such a number by its square root
    saturated = growth > max(2 * math.sqrt(middle), (1 - MIN_ACHIEVED) * arrived)
    if not saturated:
        return {"saturated": False, "why": f"requests in flight stayed level ({number(middle)}, then {number(end)})"}
    per_s = growth / (third / S)
    return {"saturated": True, "why": f"requests piled up by {number(per_s)} a second ({number(middle)} in flight, "
            f"then {number(end)}) at {number(schedule.rate)} a second: every latency here grows with the length of "
            "the run"}  # fmt: skip


def _queueing(
    at_once: Mapping[str, Any], ttft_p50_ms: float | None, alone_ms: float | None
) -> dict[str, Any]:
    """A closed loop: is the first token later than for a request alone, and do most requests wait for it?"""
    waiting, answering = at_once["waiting"], at_once["answering"]
    if None in (ttft_p50_ms, alone_ms, waiting, answering):
        return {"saturated": None, "why": "no request alone to compare with"}
    longer = f"median TTFT {number(ttft_p50_ms)} ms, {number(alone_ms)} ms for a request alone"
    if ttft_p50_ms <= 2 * alone_ms or waiting <= answering:
        return {"saturated": False, "why": longer}
    return {"saturated": True, "why": f"{longer}: on average {number(waiting)} requests waited for their first token "
            f"while {number(answering)} got text. More requests at a time make the queue longer, not the server faster"}  # fmt: skip


# ---------------------------------------------------------------- is the client at its limit?


def client(facts: Mapping[str, Any], found: Mapping[str, Any], schedule: Schedule) -> dict[str, Any]:
    """Whether this computer was too slow to ask and to listen; then the numbers are its own, not the server's.

    `facts` has `cpu_share` (of one core) and `loop_lag_ms` (how late the event loop's timer came, a distribution).
    """
    reasons = []
    cpu, lag = facts.get("cpu_share"), (facts.get("loop_lag_ms") or {}).get("mean")
    if cpu is not None and cpu > MAX_CLIENT_CPU:
        reasons.append(f"the client used {_percent(cpu)} of a core, and one event loop cannot use more than one")
    delay_ms, response_s = found["dispatch_delay_ms"]["mean"], found["response_time_s"]["mean"]
    if schedule.loop != "at once" and _much(delay_ms, None if response_s is None else 1000 * response_s):
        reasons.append(f"requests left {number(delay_ms)} ms late on average, {_percent(delay_ms / 1000 / response_s)} "
                       "of the response time")  # fmt: skip
    ttft = found["ttft_ms"]["p50"]
    if _much(lag, ttft):
        reasons.append(f"the client's event loop ran {number(lag)} ms late on average, {_percent(lag / ttft)} of "
                       "the median TTFT: stamps are late as much")  # fmt: skip
    return {**facts, "limited": bool(reasons), "reasons": reasons}


def _much(part_ms: float | None, whole_ms: float | None) -> bool:
    known = part_ms is not None and whole_ms is not None
    return known and part_ms > MIN_CLIENT_MS and part_ms > MAX_CLIENT_SHARE * whole_ms


def _percent(share: float) -> str:
    """A share as percent with at most one decimal, however small.

    >>> _percent(0.5), _percent(0.0123)
    ('50 %', '1.2 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


# ---------------------------------------------------------------- goodput


def check_slo(slo: Mapping[str, float] | None) -> dict[str, float]:
    """Service levels as they may be given, or an error that says what may be.

    >>> check_slo({"ttft_ms": 200})
    {'ttft_ms': 200.0}
    """
    if slo is None:
        return {}
    if not isinstance(slo, Mapping):
        raise BenchkitError(f"slo={slo!r}: write for example {{'ttft_ms': 200, 'tpot_ms': 50}}.")
    for name, limit in slo.items():
        if name not in SLO:
            raise BenchkitError(f"slo: there is no {name!r}{did_you_mean(name, SLO)}. Limits may be set on "
                                f"{', '.join(SLO)}.")  # fmt: skip
        usable = isinstance(limit, (int, float)) and not isinstance(limit, bool) and 0 < limit < math.inf
        if not usable:
            raise BenchkitError(f"slo: {name}={limit!r}: a number above 0 is needed, in {SLO[name]}.")
    return {name: float(limit) for name, limit in slo.items()}


def meets(request: Request, slo: Mapping[str, float]) -> bool | None:
    """Whether a request keeps every limit. A failed or empty one keeps none; None where it cannot be known.

    A reply of one token has no time per token, and keeps any limit on it.
    """
    recording = request.recording
    if request.failure is not None or recording.state == "empty":
        return False
    kept: list[bool | None] = []
    for name, limit in slo.items():
        value = LATENCIES[name](recording)
        if value is None and name == "tpot_ms" and metrics.n_output_tokens(recording) is not None:
            continue
        kept.append(None if value is None else value <= limit)
    return False if False in kept else None if None in kept else True


def goodput(requests: Sequence[Request], window: Window, slo: Mapping[str, float]) -> dict[str, Any] | None:
    """Share (in %) and rate of the window's requests that keep every service level; None where none was set.

    Failed requests count as not kept. Unit: %, and requests/s.
    """
    if not slo:
        return None
    kept = [meets(request, slo) for request in requests[window.first : window.last]]
    if None in kept or not kept:
        return {"slo": dict(slo), "percent": None, "requests_per_s": None, "n": len(kept)}
    good = sum(kept)
    return {"slo": dict(slo), "percent": 100 * good / len(kept), "requests_per_s": _per_s(good, window),
            "n": len(kept)}  # fmt: skip


# ---------------------------------------------------------------- everything


def summarize(
    requests: Iterable[Request], schedule: Schedule, gauge: Gauge = (), slo: Mapping[str, float] | None = None,
    alone: Recording | None = None, facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All numbers of a load run, in the words and units of the metrics; no verdict yet (`judge`).

    `alone` is a request that had the server to itself, `facts` what is known of the client (see `client`).
    """
    ordered = in_order(requests)
    window = cut(ordered, schedule)
    kept = ordered[window.first : window.last]
    done = [r for r in kept if r.failure is None]
    found = {name: distribution((of(r.recording) for r in done), len(kept) - len(done))
             for name, of in LATENCIES.items()}  # fmt: skip
    at_once = concurrency(ordered, gauge, window, schedule.concurrency)
    law = littles_law(ordered, gauge, window, _late_s(ordered, window, schedule))
    alone_ms = None if alone is None else metrics.ttft_ms(alone)
    return {
        "n_scheduled": schedule.n,
        "n_requests": len(ordered),
        "n_completed": sum(r.failure is None for r in ordered),
        "states": dict(Counter(r.recording.state for r in ordered)),
        "errors": dict(Counter(r.failure for r in ordered if r.failure is not None)),
        "window": {"rule": window.rule, "n": len(kept), "span_s": window.span_s, "start_ns": window.start_ns,
                   "end_ns": window.end_ns},
        **found,
        "due_per_s": _per_s(len(kept), window) if schedule.loop == "open" else None,
        "requests_per_s": _per_s(completed_in(ordered, window, schedule), window),
        "output_tokens_per_s": _per_s(tokens_in(ordered, window), window),
        "n_output_tokens": distribution((metrics.n_output_tokens(r.recording) for r in done), len(kept) - len(done)),
        "concurrency": at_once,
        "goodput": goodput(ordered, window, check_slo(slo)),
        "saturation": saturation(schedule, gauge, window, at_once, found["ttft_ms"]["p50"], alone_ms),
        "client": client(facts or {}, found, schedule),
        "littles_law": law,
        "littles_law_gap": law["gap"],
        "alone": None if alone is None else {"ttft_ms": alone_ms, "latency_s": metrics.latency_s(alone)},
        "cached_percent": cached_percent(done),
        "unexplained_percent": unexplained_percent(done),
        "clock_faults": sorted({fault for r in ordered for fault in metrics.clock_faults(r.recording)}),
    }  # fmt: skip


def cached_percent(requests: Sequence[Request]) -> float | None:
    """How much of the prompts came out of the server's prompt cache, in % of their tokens; None: it does not say."""
    pairs = [(metrics.n_cached_tokens(r.recording), metrics.n_prompt_tokens(r.recording)) for r in requests]
    if not pairs or any(None in pair for pair in pairs):
        return None
    total = sum(n for _, n in pairs)
    return 100 * sum(cached for cached, _ in pairs) / total if total else None


def unexplained_percent(requests: Sequence[Request]) -> float | None:
    """How much of the response time neither clock accounts for, in %; None where the server gives no times."""
    told = [r.recording for r in requests if metrics.unexplained_share(r.recording) is not None]
    total = sum(sum(part or 0 for part in metrics.ledger_ns(recording).values()) for recording in told)
    return 100 * sum(abs(metrics.ledger_ns(r)["unexplained"]) for r in told) / total if total else None


# ---------------------------------------------------------------- can it be trusted?


def judge(
    found: Mapping[str, Any], schedule: Schedule, doubts: Sequence[str] = (), cache: str = "cold"
) -> tuple[str, list[str], list[str]]:
    """VALID, INCONCLUSIVE or INVALID, the reasons, and notes that change nothing but should be known.

    INVALID: nothing was completed, most requests failed, or the instrument contradicts itself (stamps, Little's
    law). INCONCLUSIVE: anything else that could have made the numbers; `doubts` are those that these numbers
    know nothing of: the run was interrupted, the scale not weighed. A server at its limit is a result, and no fault, unless latencies depend on the run's length.
    """
    faults = _faults(found)
    doubtful = [*doubts, *_doubts(found, schedule, cache)]
    state = INVALID if faults else INCONCLUSIVE if doubtful else VALID
    return state, [*faults, *doubtful], _notes(found)


def _faults(found: Mapping[str, Any]) -> list[str]:
    if not found["n_completed"]:
        return [f"no request was completed ({_kinds(found)})"]
    faults = []
    n, n_failed = found["n_requests"], found["n_requests"] - found["n_completed"]
    if 2 * n_failed > n:
        faults.append(f"{n_failed} of {counted(n, 'request')} failed ({_kinds(found)})")
    if found["clock_faults"]:
        faults.append(f"time stamps contradict each other: {found['clock_faults'][0]}")
    law = found["littles_law"]
    if law["holds"] is False:
        faults.append(f"the instrument contradicts itself: {number(law['in_flight'])} requests were in flight by the "
                      f"gauge, {number(law['requests_per_s'] * law['seconds_each'])} by the stamps (Little's law, gap "
                      f"{number(law['gap'])} %, allowed {number(law['allowed'])} %)")  # fmt: skip
    return faults


def _kinds(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in found["errors"].items()) or "none was sent"


def _doubts(found: Mapping[str, Any], schedule: Schedule, cache: str) -> list[str]:
    n, n_failed = found["n_requests"], found["n_requests"] - found["n_completed"]
    doubts = [f"client limited: {reason}" for reason in found["client"]["reasons"]]
    if MAX_ERROR_SHARE * n < n_failed <= n / 2:
        doubts.append(f"{n_failed} of {counted(n, 'request')} failed ({_kinds(found)}), so its latencies are of the "
                      "others only")  # fmt: skip
    asked, achieved = found["concurrency"]["asked"], found["concurrency"]["achieved"]
    whole = found["window"]["n"] == n  # build-up and run-down included: then less is in flight
    if schedule.loop == "closed" and not whole and achieved is not None and achieved < MIN_ACHIEVED * asked:
        doubts.append(f"{number(achieved)} requests were in flight on average, {asked} were asked for")
    if schedule.loop == "open" and found["saturation"]["saturated"]:
        doubts.append(f"the server is saturated: {found['saturation']['why']}")
    cached = found["cached_percent"]
    if cache == "cold" and cached is not None and cached > 100 * MAX_CACHED_SHARE:
        doubts.append(f"cache warm: {number(cached)} % of the prompt tokens came from the server's prompt cache")
    unexplained = found["unexplained_percent"]
    if unexplained is not None and unexplained > 100 * MAX_UNEXPLAINED:
        doubts.append(f"{number(unexplained)} % of the response time is unexplained (more than "
                      f"{100 * MAX_UNEXPLAINED:g} %): a server that does not tell how long a request waited for its "
                      "turn leaves that out of its times")  # fmt: skip
    return doubts


def _notes(found: Mapping[str, Any]) -> list[str]:
    notes = []
    if found["window"]["n"] == found["n_requests"] and "takes" in found["window"]["rule"]:
        notes.append(found["window"]["rule"])
    if found["ttft_ms"]["note"]:
        notes.append(found["ttft_ms"]["note"])
    if found["saturation"]["saturated"] and found["concurrency"]["asked"] is not None:
        notes.append(f"the server is saturated: {found['saturation']['why']}")
    if found["states"].get("empty"):
        notes.append(f"{counted(found['states']['empty'], 'reply')} had no text")
    if found["output_tokens_per_s"] is None:
        notes.append("the server did not count its tokens, so there is no speed in tokens")
    if found["cached_percent"] is None and found["n_completed"]:
        notes.append("the server does not say how much of the prompts it took from its cache: a TTFT may be a warm one")
    if found["littles_law"]["holds"] is None:
        notes.append("Little's law could not be checked: the run or its requests were too short for the gauge")
    if found["goodput"] and found["goodput"]["percent"] is None:
        notes.append("goodput cannot be told: a value that a service level needs was not measured")
    return notes


# ---------------------------------------------------------------- for people to read

#: What is shown of a run's distributions: name → (what it is called, its unit).
SHOWN = {
    "ttft_ms": ("TTFT, from the send", "ms"),
    "ttft_from_schedule_ms": ("TTFT, from the schedule", "ms"),
    "tpot_ms": ("time per output token", "ms"),
    "latency_s": ("latency, from the send", "s"),
    "response_time_s": ("response time, from the schedule", "s"),
    "dispatch_delay_ms": ("dispatch delay of the client", "ms"),
}


def as_text(found: Mapping[str, Any]) -> str:
    """The summary of a load run, or of a sweep, as `benchkit load` prints it."""
    if found["profile"] == "sweep":
        return _sweep_text(found)
    errors = ", ".join(f"{n} {kind}" for kind, n in found["errors"].items()) or "none"
    window, at_once, good = found["window"], found["concurrency"], found["goodput"]
    asked = "" if at_once["asked"] is None else f" ({at_once['asked']} asked for)"
    due = "" if found["due_per_s"] is None else f" ({number(found['due_per_s'])} became due)"
    lines = [
        f"{found['model']} at {found['host']}, {found['profile']}: {found['meaning']}",
        f"{counted(found['n_requests'], 'request')}, {found['n_completed']} completed; errors: {errors}",
        f"window: {window['n']} requests in {number(window['span_s'])} s; {window['rule']}",
        "",
        f"{'':<36}{'mean':>9}{'p50':>9}{'p90':>9}{'p95':>9}{'p99':>9}{'max':>9}{'n':>7}{'failed':>8}",
        *(_row(*SHOWN[name], found[name]) for name in SHOWN),
        "",
        f"completed        {number(found['requests_per_s'])} requests/s{due}",
        f"output           {number(found['output_tokens_per_s'])} tokens/s",
        f"in flight        {number(at_once['achieved'])} on average{asked}; {number(at_once['waiting'])} waiting for "
        f"their first token, {number(at_once['answering'])} getting text",
    ]
    if good:
        limits = ", ".join(f"{name} ≤ {number(limit)}" for name, limit in good["slo"].items())
        lines.append(f"goodput          {number(good['percent'])} % of {good['n']}, {number(good['requests_per_s'])} "
                     f"requests/s ({limits})")  # fmt: skip
    lines.append(f"server           {found['saturation']['why']}")
    if found["littles_law"]["holds"] is not None:
        lines.append(f"Little's law     gap {number(found['littles_law_gap'])} % (allowed "
                     f"{number(found['littles_law']['allowed'])} %)")  # fmt: skip
    return "\n".join([*lines, "", *_verdict_lines(found)])


def _row(name: str, unit: str, values: Mapping[str, Any]) -> str:
    shown = "".join(f"{number(values[q]):>9}" for q in ("mean", "p50", "p90", "p95", "p99", "max"))
    return f"{f'{name} ({unit})':<36}{shown}{values['n']:>7}{values['n_failed']:>8}"


def _verdict_lines(found: Mapping[str, Any]) -> list[str]:
    return [found["verdict"], *(f"  - {reason}" for reason in found["reasons"]),
            *(f"  note: {note}" for note in found.get("notes", ()))]  # fmt: skip


def _sweep_text(found: Mapping[str, Any]) -> str:
    head = ("due/s", "done/s", "tokens/s", "TTFT p50", "resp. p50", "in flight", "failed")
    lines = [f"{found['model']}: from one request at a time to all at once", "",
             f"{'':<14}" + "".join(f"{word:>11}" for word in head) + "  kept up"]  # fmt: skip
    for p in found["points"]:
        cells = (p["due_per_s"], p["requests_per_s"], p["output_tokens_per_s"], p["ttft_ms"]["p50"],
                 p["response_time_s"]["p50"], p["concurrency"], p["ttft_ms"]["n_failed"])  # fmt: skip
        kept = {True: "yes", False: "no", None: "–"}[p["kept_up"]]
        lines.append(f"{p['profile']:<14}" + "".join(f"{number(cell):>11}" for cell in cells) + f"  {kept}")
    return "\n".join([*lines, "", _knee_text(found["knee"]), "", *_verdict_lines(found)])


def _knee_text(knee: Mapping[str, Any]) -> str:
    kept, not_at = knee["requests_per_s"], knee["not_at"]
    if kept is None:
        return "The knee is not among these rates: the server did not keep up with any of them."
    more = f"not with {number(not_at)}" if not_at is not None else "and with every rate that was tried"
    return f"Knee: it kept up with {number(kept)} requests a second, {more}. (TTFT in ms, response time in s.)"


# ---------------------------------------------------------------- a sweep over rates


def point(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a sweep keeps of each of its runs."""
    rows = {name: {q: found[name][q] for q in ("p50", "p95", "max", "n", "n_failed")}
            for name in ("ttft_ms", "tpot_ms", "response_time_s")}  # fmt: skip
    plain = ("profile", "folder", "due_per_s", "requests_per_s", "output_tokens_per_s", "goodput", "errors",
             "verdict", "reasons")  # fmt: skip
    return {"rate": found["asked"]["rate"], **{name: found[name] for name in plain}, **rows,
            "concurrency": found["concurrency"]["achieved"], "saturated": found["saturation"]["saturated"],
            "kept_up": kept_up(found)}  # fmt: skip


def kept_up(found: Mapping[str, Any]) -> bool | None:
    """Whether as many requests ended as became due, and none piled up. None where the rate was not ours to set.

    Two requests may be missing: those that cross the edges of the window.
    """
    if found["due_per_s"] is None:
        return None
    missing = (found["due_per_s"] - found["requests_per_s"]) * found["window"]["span_s"]
    allowed = max(2.0, (1 - MIN_ACHIEVED) * found["window"]["n"])
    return missing <= allowed and not found["saturation"]["saturated"]


def rates_between(alone: float | None, most: float | None, n: int) -> list[float]:
    """`n` rates, evenly spaced, from above that of one request at a time up to that of all at once.

    Where all at once is not twice as fast, the server does more or less one thing at a time, and may not even keep
    up with requests that come as fast as it answers one: then rates from far below up to what it can do.

    >>> rates_between(1.0, 4.0, 3), rates_between(4.0, 4.0, 4)
    ([2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    """
    if not alone or not most:
        return []
    low = alone if most > 2 * alone else 0.0
    high = max(alone, most)
    return [low + (high - low) * k / n for k in range(1, n + 1)]


def knee(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The highest rate up to which the server kept up, and the first at which it did not; None: not among these.

    >>> knee([{"rate": 1.0, "kept_up": True}, {"rate": 2.0, "kept_up": True}, {"rate": 3.0, "kept_up": False}])
    {'requests_per_s': 2.0, 'not_at': 3.0}
    """
    rated = sorted((p for p in points if p["rate"] is not None), key=lambda p: p["rate"])
    below = list(takewhile(lambda p: p["kept_up"], rated))
    above = rated[len(below) :]
    return {"requests_per_s": below[-1]["rate"] if below else None, "not_at": above[0]["rate"] if above else None}


def judge_sweep(points: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The worst verdict of the runs that the knee rests on; a run above it is meant to be too much."""
    rest = [p for p in points if p["kept_up"] is not False]
    state = max((p["verdict"] for p in rest), key=(VALID, INCONCLUSIVE, INVALID).index, default=INVALID)
    reasons = [f"{p['profile']}{'' if p['rate'] is None else ' ' + number(p['rate'])}: {reason}"
               for p in rest for reason in p["reasons"]]  # fmt: skip
    return state, reasons
