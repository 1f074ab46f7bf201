"""Intervals and comparisons that hold what they say. The sample is the prompts, not tokens or trials.

Only medians and proportions get an interval: a bootstrap of a mean claims 95 % and covers 83 to 86 % at six
prompts. The coverage of every interval here is simulated in `tests/test_stats.py`; what covers less than 93 %
is not called 95 %. Below six prompts there is no such interval: that is a "fixed set", and what it shows
holds for these prompts only.

scipy takes most of a second to import, and numpy a tenth, so the functions that need them import them: a load run
must start sooner, and a live view must cost next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95
MIN_PROMPTS = 6  # the fewest values whose extremes cover their median 95 times in 100
MIN_PROMPTS_FOR_SECONDS = 30  # below, the interval of seconds per correct answer covers too little
MIN_CORRECT_FOR_SECONDS = 2
MIN_TRIALS, MAX_TRIALS, TRIALS_WITHIN = 6, 20, 0.05  # `trials: auto`

NOT_DISTINGUISHABLE = "not distinguishable"
FIXED_SET = "fixed set"
NO_INTERVAL = "no interval"


@dataclass(frozen=True)
class Interval:
    """Where the true value lies, `level` of the time; `n` values went in."""

    low: float
    high: float
    level: float
    n: int


@dataclass(frozen=True)
class Percentile:
    """The value that q % of requests stay below, with a 95 % upper bound; None where n is too small for one."""

    q: float
    value: float | None
    upper: float | None
    maximum: float | None
    n: int
    note: str


@dataclass(frozen=True)
class Comparison:
    """A against B on the same prompts: the ratio A/B, its 95 % interval (None for a fixed set), the verdict."""

    ratio: float | None
    low: float | None
    high: float | None
    n: int
    verdict: str


@dataclass(frozen=True)
class RateComparison:
    """Pass rate of A less that of B on the same prompts (1 = 100 points), its 95 % interval, the verdict."""

    difference: float | None
    low: float | None
    high: float | None
    n: int
    verdict: str


@dataclass(frozen=True)
class Stop:
    """Whether there are trials enough, and why."""

    stop: bool
    reason: str


# ---------------------------------------------------------------- one sample


def clean(values: Iterable[float | None]) -> list[float]:
    """The values that are known, as floats: without None and NaN.

    >>> clean([1, None, 2.5, float("nan")])
    [1.0, 2.5]
    """
    return [float(v) for v in values if v is not None and not math.isnan(v)]


def medians_by_prompt(prompts: Iterable[Hashable], values: Iterable[float | None]) -> dict[Hashable, float]:
    """The median over the trials of each prompt: what every summary starts from.

    >>> medians_by_prompt(["a", "a", "a", "b"], [1.0, 9.0, 2.0, 5.0])
    {'a': 2.0, 'b': 5.0}
    """
    trials: dict[Hashable, list[float | None]] = {}
    for prompt, value in zip(prompts, values, strict=True):
        trials.setdefault(prompt, []).append(value)
    return {prompt: float(median(known)) for prompt, all_ in trials.items() if (known := clean(all_))}


def median_interval(values: Iterable[float | None], level: float = LEVEL) -> Interval | None:
    """Where the median lies, whatever the distribution: between two of the sorted values, found by counting.

    The k-th smallest and the k-th largest enclose the median with probability `1 − 2·P(Binomial(n, ½) < k)`;
    the largest k that reaches `level` is taken. Same unit as the values. `None` where even the smallest and
    the largest do not reach it: below 6 values at 95 %. Source: the sign test; Conover, Practical
    Nonparametric Statistics.

    >>> median_interval([5, 1, 4, 2, 6, 3])
    Interval(low=1.0, high=6.0, level=0.95, n=6)
    >>> median_interval([1, 2, 3]) is None
    True
    """
    ordered = sorted(clean(values))
    k = median_rank(len(ordered), level)
    return None if k == 0 else Interval(ordered[k - 1], ordered[-k], level, len(ordered))


def median_rank(n: int, level: float = LEVEL) -> int:
    """How many values to count in from either end for an interval of the median; 0 where there is none.

    >>> [median_rank(n) for n in (5, 6, 9, 60)]
    [0, 1, 2, 22]
    """
    from scipy.stats import binom

    k = int(binom.ppf((1 - level) / 2, n, 0.5))
    return k if k and 1 - 2 * binom.cdf(k - 1, n, 0.5) >= level else 0


def wilson(k: float, n: int, level: float = LEVEL) -> Interval | None:
    """Where a share lies when k of n prompts passed.

    Unit: a share from 0 to 1. `k` may be a sum of shares (a prompt that passed 2 of 3 trials counts 2/3);
    such shares vary less than passes and failures, so the interval then covers more. `None` for n = 0.
    Source: Wilson (1927), the score interval.

    >>> interval = wilson(8, 10); round(interval.low, 3), round(interval.high, 3)
    (0.49, 0.943)
    """
    if not 0 <= k <= n + 1e-9:
        raise ValueError(f"{k} of {n} cannot have passed")
    if n == 0:
        return None
    from scipy.stats import norm

    z = float(norm.ppf((1 + level) / 2))
    share, denominator = min(1.0, k / n), 1 + z * z / n
    middle = (share + z * z / (2 * n)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Interval(low if share else 0.0, high if share < 1 else 1.0, level, n)  # the ends without rounding


def percentile_needs(q: float, level: float = LEVEL) -> int:
    """How many values a percentile needs before the largest of them is an upper bound on it.

    The largest of n values lies above the q-th percentile with probability `1 − (q/100)ⁿ`.

    >>> percentile_needs(90), percentile_needs(95), percentile_needs(99)
    (29, 59, 299)
    """
    return math.ceil(math.log(1 - level) / math.log(q / 100))


def percentile(values: Iterable[float | None], q: float, level: float = LEVEL) -> Percentile:
    """The value that q % stay below, and a bound that the true one is under 95 times in 100.

    Between two values it interpolates as pandas does. The bound is the smallest sorted value whose rank u has
    `P(Binomial(n, q/100) < u) ≥ 95 %`. `value` is None where n is too small for any bound (p90 needs 29, p95
    59, p99 299): then only the maximum is shown.

    >>> p = percentile(range(1, 101), 95); round(p.value, 2), p.upper, p.note
    (95.05, 99.0, '')
    >>> percentile(range(10), 99).note
    'n too small: p99 needs 299 values, there are 10'
    """
    if not 0 < q < 100:
        raise ValueError(f"a percentile lies between 0 and 100, not at {q}")
    ordered = sorted(clean(values))
    n, needed = len(ordered), percentile_needs(q, level)
    maximum = ordered[-1] if ordered else None
    if n < needed:
        return Percentile(
            q, None, None, maximum, n, f"n too small: p{q:g} needs {needed} values, there are {n}"
        )
    import numpy as np
    from scipy.stats import binom

    rank = int(binom.ppf(level, n, q / 100)) + 1
    return Percentile(q, float(np.percentile(ordered, q)), ordered[min(rank, n) - 1], maximum, n, "")


# ---------------------------------------------------------------- two samples, paired by prompt


def paired_difference(
    a: Mapping[Hashable, float | None], b: Mapping[Hashable, float | None], higher_is_faster: bool = False
) -> Comparison:
    """Is A faster than B on the prompts that both answered?

    Of each prompt the ratio A/B is taken; their median is shown with the exact interval of a median. Values
    are latencies, or speeds with `higher_is_faster`. An interval that contains 1 is "not distinguishable";
    fewer than 6 prompts are a "fixed set". Unit: a ratio, without unit. Prompts that one of them lacks, and
    values that are not above 0, are left out: `n` counts the rest.

    >>> a = {p: 1.0 + p / 100 for p in range(8)}
    >>> paired_difference(a, {p: 2 * value for p, value in a.items()})
    Comparison(ratio=0.5, low=0.5, high=0.5, n=8, verdict='A faster')
    """
    logs = log_ratios(a, b)
    if not logs:
        return Comparison(None, None, None, 0, FIXED_SET)
    ratio, interval = math.exp(median(logs)), median_interval(logs)
    if interval is None:
        return Comparison(ratio, None, None, len(logs), FIXED_SET)
    low, high = math.exp(interval.low), math.exp(interval.high)
    words = ("B faster", "A faster") if higher_is_faster else ("A faster", "B faster")
    return Comparison(ratio, low, high, len(logs), _verdict(high < 1, low > 1, words))


def log_ratios(a: Mapping[Hashable, float | None], b: Mapping[Hashable, float | None]) -> list[float]:
    """`ln(A/B)` of every prompt for which both are known and above 0.

    >>> log_ratios({"x": 1.0, "y": 2.0}, {"x": 1.0, "z": 3.0})
    [0.0]
    """
    both = [(a[prompt], b[prompt]) for prompt in a if prompt in b]
    return [math.log(x / y) for x, y in both if x is not None and y is not None and x > 0 and y > 0]


def paired_pass_difference(
    a: Mapping[Hashable, float | None], b: Mapping[Hashable, float | None]
) -> RateComparison:
    """Does A pass more of the prompts than B? Values: True or False, or the share of trials passed.

    With U the prompts only A passed and D those only B passed: `p = (U + 1)/(n + 2)`, `q = (D + 1)/(n + 2)`,
    interval `p − q ± t · √((p + q − (p − q)²)/(n + 2))`, t of Student's distribution with n − 1 degrees of
    freedom, which makes up for small n (with the normal's 1.96 it covers as little as 90 % at ten prompts).
    Source: Bonett and Price (2012), widened here.

    >>> d = paired_pass_difference({p: True for p in range(12)}, {p: p < 3 for p in range(12)})
    >>> d.difference, round(d.low, 2), d.verdict
    (0.75, 0.28, 'A better')
    """
    import numpy as np

    both = [(a[prompt], b[prompt]) for prompt in a if prompt in b]
    differences = np.array([float(x) - float(y) for x, y in both if x is not None and y is not None])
    n = len(differences)
    observed = float(differences.mean()) if n else None
    if n < MIN_PROMPTS:
        return RateComparison(observed, None, None, n, FIXED_SET)
    up, down = differences.clip(min=0).sum(), (-differences).clip(min=0).sum()
    low, high = bonett_price(up, down, n)
    verdict = _verdict(low > 0, high < 0, ("A better", "B better"))
    return RateComparison(observed, float(low), float(high), n, verdict)


def bonett_price(up, down, n, level: float = LEVEL):
    """Interval of a difference of paired shares; see `paired_pass_difference`. Works on arrays too.

    >>> low, high = bonett_price(9, 0, 12); round(float(low), 2), round(float(high), 2)
    (0.28, 1.0)
    """
    import numpy as np
    from scipy.stats import t

    p, q = (up + 1) / (n + 2), (down + 1) / (n + 2)
    half = t.ppf((1 + level) / 2, n - 1) * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return np.maximum(p - q - half, -1.0), np.minimum(p - q + half, 1.0)


def paired_seconds_per_correct(
    a: Mapping[Hashable, tuple[float, float]], b: Mapping[Hashable, tuple[float, float]]
) -> Comparison:
    """Which of two needs fewer seconds per correct answer? Values: (seconds, share correct) of each prompt.

    The ratio of `Σ seconds / Σ correct`, its interval by the jackknife of its logarithm over prompts with
    Student's t. Simulated, it claims a difference where there is none at most 7 times in 100 if there are 30
    prompts and each side has 2 correct answers; with less there is "no interval".
    Source: Efron (1982), The Jackknife.

    >>> prompts = range(40)
    >>> a, b = {p: (1.0 + p % 3, 1) for p in prompts}, {p: (2.0 + p % 2, p % 2) for p in prompts}
    >>> c = paired_seconds_per_correct(a, b); round(c.ratio, 2), c.verdict
    (0.39, 'A fewer')
    """
    import numpy as np

    both = [(*a[prompt], *b[prompt]) for prompt in a if prompt in b]
    table = np.array(both, dtype=float).reshape(-1, 4)
    n, totals = len(table), table.sum(axis=0)
    enough = n >= MIN_PROMPTS_FOR_SECONDS and min(totals[1], totals[3]) >= MIN_CORRECT_FOR_SECONDS
    if min(totals) <= 0 or not enough:
        ratio = float(totals[0] / totals[1] / (totals[2] / totals[3])) if n and min(totals) > 0 else None
        return Comparison(ratio, None, None, n, FIXED_SET if n < MIN_PROMPTS else NO_INTERVAL)
    log_ratio, half = jackknife_log_ratio(table)
    low, high = math.exp(log_ratio - half), math.exp(log_ratio + half)
    return Comparison(math.exp(log_ratio), low, high, n, _verdict(high < 1, low > 1, ("A fewer", "B fewer")))


def paired_perplexity(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> Comparison:
    """Does A predict a text better than B? Values: the mean −ln p of each window, in nat.

    The ratio of the perplexities over the windows that both scored, exp(mean of the differences), with the interval
    of a mean by Student's t. How hard the text is cancels in the differences. Fewer than 6 windows are a "fixed set".

    >>> a = {i: 2.0 + i / 10 for i in range(20)}
    >>> c = paired_perplexity(a, {i: nll + 0.1 + i % 2 / 100 for i, nll in a.items()}); round(c.ratio, 3), c.verdict
    (0.9, 'A lower')
    """
    import numpy as np
    from scipy.stats import t

    differences = np.array([a[window] - b[window] for window in a if window in b])
    n = len(differences)
    ratio = math.exp(differences.mean()) if n else None
    if n < MIN_PROMPTS:
        return Comparison(ratio, None, None, n, FIXED_SET)
    half = t.ppf((1 + LEVEL) / 2, n - 1) * differences.std(ddof=1) / math.sqrt(n)
    low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return Comparison(ratio, float(low), float(high), n, _verdict(high < 1, low > 1, ("A lower", "B lower")))


def jackknife_log_ratio(table: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """`ln((Σs_A/Σc_A)/(Σs_B/Σc_B))` and half the width of its interval.

    The columns s_A, c_A, s_B, c_B are the last axis, prompts the one before; any axes before those are
    independent samples, as a simulation has them.
    """
    import numpy as np
    from scipy.stats import t

    n = table.shape[-2]
    totals = table.sum(axis=-2, keepdims=True)
    signs = np.array([1.0, -1.0, -1.0, 1.0])
    each = (np.log(totals - table) * signs).sum(axis=-1)
    spread = (n - 1) / n * ((each - each.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    whole = (np.log(totals[..., 0, :]) * signs).sum(axis=-1)
    return whole, t.ppf((1 + level) / 2, n - 1) * np.sqrt(spread)


def _verdict(a_wins: bool, b_wins: bool, words: tuple[str, str]) -> str:
    return words[0] if a_wins else words[1] if b_wins else NOT_DISTINGUISHABLE


def smallest_difference(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> float | None:
    """From a null run (a model against itself): the smallest factor that this machine could have told from 1.

    The interval of the ratio of a null run reaches from `low` to `high`, though the truth is 1; a real factor
    moves it as a whole, and is seen once 1 is outside: `max(1/low, high)`. 1.08 means that differences under
    8 % drown in this machine's noise. `None` below 6 prompts.

    >>> first = {p: 1.0 for p in range(6)}
    >>> smallest_difference(first, {p: 1.0 + p / 100 for p in range(6)})
    1.05
    """
    null = paired_difference(a, b)
    return None if null.low is None else round(max(1 / null.low, null.high), 4)


# ---------------------------------------------------------------- when to stop measuring


def enough_trials(values: Sequence[float]) -> Stop:
    """Whether `trials: auto` may stop: at least 6 trials, at most 20, or a median known within ± 5 %.

    `values` are the latencies of one prompt's trials so far. Stopping early looks at the data, so its
    interval's coverage is simulated too (with a minimum of 3 trials it would be 76 to 80 %).

    >>> enough_trials([1.0, 1.01, 1.0, 0.99, 1.0, 1.0])
    Stop(stop=True, reason='after 6 trials the interval of the median is within ± 5 %')
    >>> enough_trials([1.0, 2.0]).stop
    False
    """
    known = clean(values)
    interval, n = median_interval(known), len(values)
    if n >= MIN_TRIALS and interval is not None:
        middle = float(median(known))
        if (1 - TRIALS_WITHIN) * middle <= interval.low and interval.high <= (1 + TRIALS_WITHIN) * middle:
            within = f"{TRIALS_WITHIN:.0%}".replace("%", " %")
            return Stop(True, f"after {n} trials the interval of the median is within ± {within}")
    if n >= MAX_TRIALS:
        return Stop(True, f"{MAX_TRIALS} trials are the most; the median is not known to ± 5 %")
    return Stop(False, f"{n} trials are not enough")
