"""Load profiles: when each request is due, as a list of whole nanoseconds that exists before the run.

An *open* loop sends each request when the schedule says, whatever the server does: so do users, who know
nothing of one another. A *closed* loop sends the next request when one has ended: so does a program that
waits for its answers, and a server that stalls is then asked less. Everything random comes from one
generator with one seed; a second one with the same seed would send its requests at the same instants, and
"Poisson" would come in bursts.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from benchkit.errors import BenchkitError, did_you_mean

NS = 1_000_000_000

#: Used where nothing is said.
REQUESTS, CONCURRENCY, SEED = 128, 32, 1234
#: `throughput` keeps at most this many requests in flight: each needs a connection of its own.
AT_ONCE = 512
MAX_REQUESTS = 1_000_000

#: name: (smallest, largest, what it is). Both ends are allowed.
RANGES = {
    "rate": (1e-4, 1e5, "requests a second"),
    "concurrency": (1, 10_000, "requests at a time"),
    "requests": (1, MAX_REQUESTS, "how many requests are sent"),
    "duration_s": (0.001, 86_400.0, "seconds for which requests become due"),
    "seed": (0, 2**32 - 2, "where the random numbers start"),
}


@dataclass(frozen=True)
class Profile:
    """One shape of load. `loop` says what makes a request due: the schedule, or the end of another one."""

    name: str
    loop: str  # "open", "closed", or "at once"
    meaning: str


_ALL = (
    Profile("synchronous", "closed", "one request at a time, the next when the last has ended: the server alone "
            "with one user"),
    Profile("concurrent", "closed", "always the same number of requests in flight: as soon as one ends, the next "
            "is sent"),
    Profile("throughput", "at once", "every request is due at the start: how fast is all of the work done?"),
    Profile("constant", "open", "requests evenly spaced, `rate` a second, however the server fares"),
    Profile("poisson", "open", "requests at random moments, `rate` a second on average, as from many independent "
            "users"),
)  # fmt: skip
PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _ALL})


@dataclass(frozen=True)
class Schedule:
    """What will be sent, and when. `due_ns` counts from the start; None where a request waits for another's end.

    `concurrency` is how many requests may be in flight; in an open loop nothing limits them, and it is None.
    """

    profile: str
    loop: str
    rate: float | None
    concurrency: int | None
    requests: int | None
    duration_s: float | None
    seed: int
    due_ns: tuple[int, ...] | None

    @property
    def n(self) -> int | None:
        """How many requests there will be; None where only the duration ends them."""
        return self.requests if self.due_ns is None else len(self.due_ns)

    def to_dict(self) -> dict[str, Any]:
        """The schedule as plain JSON values."""
        return {**asdict(self), "due_ns": None if self.due_ns is None else list(self.due_ns)}


def make_schedule(
    profile: str,
    *,
    rate: float | None = None,
    concurrency: int | None = None,
    requests: int | None = None,
    duration_s: float | None = None,
    seed: int = SEED,
) -> Schedule:
    """The schedule of a profile, or a BenchkitError that says what the profile needs.

    A run ends after `requests` or when `duration_s` has passed, whichever comes first (default: 128 requests).
    In an open loop nothing limits the requests in flight, and `concurrency` changes nothing. The same values give the same schedule, on every machine.

    >>> make_schedule("constant", rate=4, requests=3).due_ns
    (0, 250000000, 500000000)
    >>> make_schedule("constant", requests=3)
    Traceback (most recent call last):
    benchkit.errors.BenchkitError: constant needs a rate, in requests a second: for example rate=2.
    """
    found = find_profile(profile)
    given = {"rate": rate, "concurrency": concurrency, "requests": requests, "duration_s": duration_s}
    _check_values({**given, "seed": seed})
    _check_fit(found, given)
    if requests is None and duration_s is None:
        requests = REQUESTS
    due = due_times(found, rate, requests, duration_s, seed)
    return Schedule(
        found.name, found.loop, None if rate is None else float(rate), places(found, concurrency, requests),
        requests, duration_s, seed, due,
    )  # fmt: skip


def find_profile(name: str) -> Profile:
    """The profile of this name; an unknown one is refused with the list of all.

    >>> find_profile("poisson").loop
    'open'
    """
    if name not in PROFILES:
        known = "\n".join(f"  {profile.name}: {profile.meaning}" for profile in _ALL)
        raise BenchkitError(
            f"there is no load profile {str(name)[:60]!r}{did_you_mean(name, PROFILES)}. There are:\n{known}"
        )
    return PROFILES[name]


def _check_values(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        low, high, meaning = RANGES[name]
        whole = isinstance(low, int)
        kind = int if whole else (int, float)
        if value is None and name != "seed":
            continue
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            what = "a whole number" if whole else "a number"
            raise BenchkitError(f"{name}={value!r}: {what} is needed ({meaning}).")
        if not low <= value <= high:
            raise BenchkitError(f"{name}={value}: allowed is {low:g} to {high:,} ({meaning}).")


def _check_fit(profile: Profile, given: Mapping[str, Any]) -> None:
    """Refuse what the profile lacks, and what it would silently not obey."""
    name = profile.name
    if profile.loop == "open" and given["rate"] is None:
        raise BenchkitError(f"{name} needs a rate, in requests a second: for example rate=2.")
    if profile.loop != "open" and given["rate"] is not None:
        raise BenchkitError(
            f"{name} has no rate: the server's own speed sets it ({profile.meaning}). "
            "For a rate of requests choose constant or poisson."
        )
    if name == "synchronous" and given["concurrency"] not in (None, 1):
        raise BenchkitError(f"{name} is one request at a time; for {given['concurrency']} choose concurrent.")
    if name == "throughput" and given["requests"] is None and given["duration_s"] is not None:
        raise BenchkitError(
            "throughput needs requests, a number: all of them are due at the start, so there is no duration "
            "in which they could become due. For example requests=128."
        )


def places(profile: Profile, concurrency: int | None, requests: int | None) -> int | None:
    """How many requests may be in flight at once; None for an open loop, where nothing holds a request back."""
    if profile.loop == "open":
        return None
    if profile.name == "synchronous":
        return 1
    wanted = concurrency or (AT_ONCE if profile.loop == "at once" else CONCURRENCY)
    return wanted if requests is None else min(wanted, requests)


# ---------------------------------------------------------------- when requests are due


def due_times(
    profile: Profile, rate: float | None, requests: int | None, duration_s: float | None, seed: int = SEED
) -> tuple[int, ...] | None:
    """When each request is due, in ns from the start; None where a request waits for the end of another."""
    if profile.loop == "closed":
        return None
    if profile.loop == "at once":
        return (0,) * (requests or REQUESTS)
    _refuse_too_many(profile, rate, requests, duration_s)
    make = constant_ns if profile.name == "constant" else poisson_ns
    due = make(rate, requests, duration_s, seed)
    if not due:
        raise BenchkitError(
            f"{profile.name}: at {rate:g} requests a second none becomes due within {duration_s:g} s. "
            "Choose a longer duration or a higher rate."
        )
    return due


def _refuse_too_many(
    profile: Profile, rate: float, requests: int | None, duration_s: float | None
) -> None:
    if requests is None and rate * duration_s > MAX_REQUESTS:
        raise BenchkitError(
            f"{profile.name}: {rate:g} requests a second for {duration_s:g} s are {rate * duration_s:,.0f} "
            f"requests, and at most {MAX_REQUESTS:,} are allowed. Choose a lower rate or a shorter duration."
        )


def constant_ns(
    rate: float, requests: int | None, duration_s: float | None = None, seed: int = SEED
) -> tuple[int, ...]:
    """Evenly spaced: request k is due at k / rate. No error adds up, for each is counted from the start.

    Unit: ns. `seed` changes nothing.

    >>> constant_ns(3, 4)
    (0, 333333333, 666666667, 1000000000)
    """
    end = math.inf if duration_s is None else duration_s * NS
    most = MAX_REQUESTS if requests is None else requests
    if requests is None:  # the first that lies past the end is not made
        most = min(most, math.ceil(rate * duration_s) + 1)
    return tuple(t for t in (round(k * NS / rate) for k in range(most)) if t < end)


def poisson_ns(
    rate: float, requests: int | None, duration_s: float | None = None, seed: int = SEED
) -> tuple[int, ...]:
    """At random moments: each gap is drawn from the exponential distribution with mean 1 / rate.

    Unit: ns. Counts in equal spans of time then vary by as much as their mean: see `dispersion`. The gaps are
    `−ln(1 − u) / rate`, with u from Python's own generator, which gives the same numbers everywhere.

    >>> poisson_ns(10, 3, seed=1) == poisson_ns(10, 5, seed=1)[:3]
    True
    """
    generator = random.Random(seed)
    end = math.inf if duration_s is None else duration_s * NS
    due, t = [], 0.0
    while requests is None or len(due) < requests:
        t -= math.log(1.0 - generator.random()) / rate * NS
        if t >= end:
            break
        due.append(round(t))
    return tuple(due)


# ---------------------------------------------------------------- is it what it says it is?


def counts(times_ns: Sequence[int], span_ns: int) -> list[int]:
    """How many fall into each whole span, from the first span to the last one that is complete.

    >>> counts([0, 1, 2, 10, 25, 31], span_ns=10)
    [3, 1, 1]
    """
    found = [0] * (max(times_ns, default=0) // span_ns)
    for t in times_ns:
        if t // span_ns < len(found):
            found[t // span_ns] += 1
    return found


def dispersion(times_ns: Sequence[int], span_ns: int) -> float | None:
    """Variance over mean of the counts in equal spans: 1 for Poisson, near 0 for constant, more for bursts.

    No unit. Of m counts it is right within about ± 2·√(2/m). `None` where there are fewer than two spans, or
    nothing in them. Source: the index of dispersion; Cox and Lewis (1966).

    >>> dispersion(constant_ns(10, 1000), span_ns=10**9)
    0.0
    """
    found = counts(times_ns, span_ns)
    n = len(found)
    mean = sum(found) / n if n else 0.0
    if n < 2 or mean == 0:
        return None
    return sum((count - mean) ** 2 for count in found) / (n - 1) / mean
