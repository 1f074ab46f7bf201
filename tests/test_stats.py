"""What an interval claims, it holds: the coverage of each is computed or simulated here, at least 93 %."""

import math
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import binom, norm

from benchkit import stats

HONEST = 0.93  # the least coverage that is called 95 %
RANDOM = np.random.default_rng(20_250_101)
few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: name → (sampler, true median): what latencies and their ratios may look like
SHAPES = {
    "normal": (lambda size: RANDOM.normal(10, 1, size), 10.0),
    "heavy tail": (lambda size: np.exp(1.5 * RANDOM.normal(size=size)), 1.0),
    "skewed": (lambda size: RANDOM.exponential(size=size), math.log(2)),
    "two modes": (lambda size: RANDOM.normal(size=size) + 6 * (RANDOM.random(size) < 0.4), None),
    "many ties": (lambda size: RANDOM.integers(0, 5, size).astype(float), 2.0),
}  # fmt: skip


def true_median(shape: str) -> float:
    sampler, known = SHAPES[shape]
    return float(np.median(sampler(500_000))) if known is None else known


# ---------------------------------------------------------------- the median


@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_of_a_median_covers(shape):
    truth = true_median(shape)
    for n in (6, 7, 9, 12, 20, 60):
        ordered = np.sort(SHAPES[shape][0]((8000, n)), axis=1)
        k = stats.median_rank(n)
        covered = (ordered[:, k - 1] <= truth) & (truth <= ordered[:, -k])
        assert covered.mean() >= HONEST, (shape, n)


def test_the_interval_of_a_median_is_the_tightest_of_its_kind():
    for n in range(6, 200):
        k = stats.median_rank(n)
        assert 1 - 2 * binom.cdf(k - 1, n, 0.5) >= 0.95 > 1 - 2 * binom.cdf(k, n, 0.5)


def test_below_six_there_is_no_interval():
    assert all(stats.median_interval(range(n)) is None for n in range(6))
    assert stats.median_interval([1, 2, 3, 4, 5, None, float("nan")]) is None
    assert stats.median_interval([]) is None
    assert stats.median_interval(range(8), level=0.99) == stats.Interval(0.0, 7.0, 0.99, 8)


@few
@given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=35), st.integers())
def test_the_order_of_values_changes_nothing(values, seed):
    mixed = random.Random(seed).sample(values, len(values))
    assert stats.median_interval(values) == stats.median_interval(mixed)
    assert stats.percentile(values, 90) == stats.percentile(mixed, 90)
    interval = stats.median_interval(values)
    assert interval.low <= np.median(values) <= interval.high


def test_prompts_first_then_trials():
    """Many trials of one prompt count once, and do not outvote the other prompts."""
    found = stats.medians_by_prompt(["a"] * 50 + ["b", "c"], [1.0] * 50 + [9.0, 9.0])
    assert found == {"a": 1.0, "b": 9.0, "c": 9.0} and np.median(list(found.values())) == 9.0
    assert stats.medians_by_prompt(["a", "b", "b"], [None, 1.0, None]) == {"b": 1.0}


# ---------------------------------------------------------------- shares


def test_wilson_covers_on_average_over_p():
    p = (np.arange(400) + 0.5) / 400
    for n in (1, 2, 3, 6, 10, 20, 60, 200):
        k = np.arange(n + 1)
        intervals = [stats.wilson(int(i), n) for i in k]
        low, high = np.array([i.low for i in intervals]), np.array([i.high for i in intervals])
        chance = binom.pmf(k[:, None], n, p)
        assert (chance * ((low[:, None] <= p) & (p <= high[:, None]))).sum(axis=0).mean() >= HONEST, n


def test_wilson_of_shares_of_trials_covers_too():
    """Each prompt has its own chance to pass; a prompt's three trials give a share, not three samples."""
    for n in (6, 20, 60):
        chances = RANDOM.beta(0.6, 0.4, (3000, n))
        k = RANDOM.binomial(3, chances).sum(axis=1) / 3
        z = norm.ppf(0.975)
        middle, half = (k + z * z / 2) / (n + z * z), z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
        assert (np.abs(0.6 - middle) <= half).mean() >= HONEST, n
        one = stats.wilson(k[0], n)
        assert (one.low, one.high) == pytest.approx(
            (max(0, middle[0] - half[0]), min(1, middle[0] + half[0]))
        )


def test_wilson_at_its_ends():
    assert stats.wilson(0, 0) is None
    assert stats.wilson(0, 10).low == 0 and stats.wilson(10, 10).high == 1
    assert stats.wilson(math.fsum([1 / 3] * 3), 1).high == 1  # a sum of shares may be off by rounding
    with pytest.raises(ValueError, match="3 of 2"):
        stats.wilson(3, 2)


# ---------------------------------------------------------------- percentiles


@pytest.mark.parametrize(("q", "needed"), [(90, 29), (95, 59), (99, 299)])
def test_a_percentile_needs_its_n(q, needed):
    """Trap: p99 of ten samples."""
    assert stats.percentile_needs(q) == needed
    short = stats.percentile(range(needed - 1), q)
    assert short.value is None and short.upper is None
    assert short.maximum == needed - 2 and str(needed) in short.note
    enough = stats.percentile(range(needed), q)
    assert enough.value == pytest.approx(np.percentile(range(needed), q)) and enough.note == ""
    assert enough.upper == enough.maximum == needed - 1


@pytest.mark.parametrize(
    ("q", "n"), [(90, 29), (90, 60), (95, 59), (95, 60), (95, 200), (99, 299), (99, 500)]
)
def test_the_upper_bound_of_a_percentile_holds(q, n):
    bound = stats.percentile(range(n), q).upper  # of the ranks: the same rank of any sample
    ordered = np.sort(RANDOM.random((6000, n)), axis=1)
    assert (ordered[:, int(bound)] >= q / 100).mean() >= HONEST
    assert (
        n == stats.percentile_needs(q) or binom.cdf(int(bound) - 1, n, q / 100) < 0.95
    )  # the smallest that does


def test_percentiles_of_nothing_and_of_nonsense():
    assert stats.percentile([], 95) == stats.Percentile(
        95, None, None, None, 0, "n too small: p95 needs 59 values, there are 0"
    )
    for q in (0, 100, -5):
        with pytest.raises(ValueError):
            stats.percentile([1.0], q)


# ---------------------------------------------------------------- paired by prompt


def paired_chances(n: int, p: float, q: float) -> np.ndarray:
    """The probability of U prompts that only A passes and D that only B passes, as a table."""
    up, down = np.ogrid[: n + 1, : n + 1]
    rest = np.maximum(n - up - down, 0)
    logs = gammaln(n + 1) - gammaln(up + 1) - gammaln(down + 1) - gammaln(rest + 1)
    logs = (
        logs
        + up * np.log(max(p, 1e-300))
        + down * np.log(max(q, 1e-300))
        + rest * np.log(max(1 - p - q, 1e-300))
    )
    return np.where(up + down <= n, np.exp(logs), 0.0)


@pytest.mark.parametrize("n", [6, 7, 8, 9, 11, 12, 15, 20, 30, 40, 60])
def test_the_interval_of_a_difference_of_pass_rates_covers(n):
    """Exact, for every p: no simulation. It is conservative where both models pass alike."""
    low, high = stats.bonett_price(*np.ogrid[: n + 1, : n + 1], n)
    for apart in np.linspace(0.02, 0.98, 17):  # prompts that only one of the two passes
        for share in np.linspace(0, 1, 11):
            p, q = apart * share, apart * (1 - share)
            inside = (low <= p - q + 1e-9) & (p - q - 1e-9 <= high)
            assert (paired_chances(n, p, q) * inside).sum() >= HONEST, (apart, share)


def test_the_interval_of_a_difference_holds_for_shares_of_trials():
    for n in (6, 12, 60):
        a, b = RANDOM.beta(2, 1, (4000, n)), RANDOM.beta(1, 1, (4000, n))
        d = (RANDOM.binomial(3, a) - RANDOM.binomial(3, b)) / 3
        low, high = stats.bonett_price(d.clip(min=0).sum(axis=1), (-d).clip(min=0).sum(axis=1), n)
        truth = 2 / 3 - 1 / 2
        assert ((low <= truth) & (truth <= high)).mean() >= HONEST, n


def test_pass_rates_paired():
    same = stats.paired_pass_difference({p: p % 2 for p in range(60)}, {p: p % 2 for p in range(60)})
    assert same.difference == 0 and same.verdict == "not distinguishable"
    better = stats.paired_pass_difference(dict.fromkeys(range(20), False), dict.fromkeys(range(20), True))
    assert better.difference == -1 and better.verdict == "B better" and better.high < 0
    few = stats.paired_pass_difference(dict.fromkeys(range(5), True), dict.fromkeys(range(5), False))
    assert few.verdict == "fixed set" and few.low is None and few.difference == 1
    none = stats.paired_pass_difference({1: True}, {2: True})
    assert none.n == 0 and none.difference is None


@pytest.mark.parametrize("shape", SHAPES)
def test_a_paired_ratio_covers_and_says_faster_no_more_often_than_it_may(shape):
    truth = true_median(shape)
    for n in (6, 12, 60):
        logs = np.sort(SHAPES[shape][0]((6000, n)) - truth, axis=1)
        k = stats.median_rank(n)
        assert ((logs[:, k - 1] > 0) | (logs[:, -k] < 0)).mean() <= 1 - HONEST


def test_a_difference_that_is_there_is_found():
    base = {p: float(x) for p, x in enumerate(np.exp(RANDOM.normal(size=60)))}  # prompts differ 50-fold …
    slower = {p: 1.10 * x * math.exp(0.05 * RANDOM.normal()) for p, x in base.items()}  # … models by 10 %
    c = stats.paired_difference(base, slower)
    assert c.verdict == "A faster" and c.low < 1 / 1.10 < c.high < 1 and c.n == 60
    assert stats.paired_difference(slower, base).verdict == "B faster"
    assert stats.paired_difference(base, slower, higher_is_faster=True).verdict == "B faster"
    assert stats.paired_difference(base, base).verdict == "not distinguishable"


def test_only_prompts_that_both_answered_count():
    c = stats.paired_difference({1: 1.0, 2: None, 3: 0.0, 4: 2.0}, {1: 2.0, 2: 1.0, 3: 1.0, 5: 1.0})
    assert (c.n, c.ratio, c.verdict) == (1, 0.5, "fixed set")
    assert stats.paired_difference({}, {}) == stats.Comparison(None, None, None, 0, "fixed set")


@few
@given(
    st.dictionaries(
        st.integers(), st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=6, max_size=30
    )
)
def test_exchanging_a_and_b_turns_a_comparison_round(pairs):
    a, b = ({p: both[i] for p, both in pairs.items()} for i in (0, 1))
    there, back = stats.paired_difference(a, b), stats.paired_difference(b, a)
    assert there.ratio * back.ratio == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1)
    turned = {"A faster": "B faster", "B faster": "A faster"}
    assert back.verdict == turned.get(there.verdict, there.verdict)


def costs(
    n: int, spread: float, p_a: float, p_b: float, together: float, size: int = 3000
) -> tuple[np.ndarray, float]:
    """Seconds and correct answers of two models on the same prompts, hard ones slow; the true log ratio."""
    prompt, hardness = RANDOM.normal(size=(2, size, n))
    hardness = together * prompt + math.sqrt(1 - together**2) * hardness
    seconds = [np.exp(spread * (0.8 * prompt + 0.6 * RANDOM.normal(size=(size, n)))) for _ in "ab"]
    correct = [0.8 * hardness + 0.6 * RANDOM.normal(size=(size, n)) < norm.ppf(p) for p in (p_a, p_b)]
    return np.stack([seconds[0], correct[0], 2 * seconds[1], correct[1]], axis=-1), math.log(p_b / p_a / 2)


@pytest.mark.parametrize("chances", [(0.05, 0.9), (0.2, 0.2), (0.3, 0.6), (0.95, 0.95)])
def test_seconds_per_correct_claims_no_more_than_it_may(chances):
    """Where it says nothing (too few correct answers) it claims nothing; where it speaks, it covers."""
    for n in (stats.MIN_PROMPTS_FOR_SECONDS, 60):
        for spread, together in ((0.3, 0.0), (0.7, 0.5), (0.7, -0.5)):
            table, truth = costs(n, spread, *chances, together)
            enough = table.sum(axis=1)[:, [1, 3]].min(axis=1) >= stats.MIN_CORRECT_FOR_SECONDS
            with np.errstate(divide="ignore", invalid="ignore"):
                found, half = stats.jackknife_log_ratio(table)
                missed = enough & ~(np.abs(found - truth) <= half)
            assert missed.mean() <= 1 - HONEST, (n, spread, together)


def test_seconds_per_correct_paired():
    a = {p: (1.0 + p % 3, p % 2) for p in range(40)}
    twice = {p: (2 * s, c) for p, (s, c) in a.items()}
    c = stats.paired_seconds_per_correct(a, twice)
    assert c.ratio == pytest.approx(0.5) and c.verdict == "A fewer" and c.n == 40
    assert stats.paired_seconds_per_correct(twice, a).verdict == "B fewer"
    assert stats.paired_seconds_per_correct(a, a).verdict == "not distinguishable"
    few = {p: a[p] for p in range(10)}
    assert stats.paired_seconds_per_correct(few, twice).verdict == "no interval"
    assert stats.paired_seconds_per_correct({p: a[p] for p in range(3)}, twice).verdict == "fixed set"
    never = {p: (1.0, 0) for p in range(40)}
    assert stats.paired_seconds_per_correct(a, never) == stats.Comparison(None, None, None, 40, "no interval")


# ---------------------------------------------------------------- null runs, and when to stop


def test_a_null_run_tells_what_could_not_have_been_seen():
    first = {p: math.exp(0.02 * RANDOM.normal()) for p in range(60)}
    again = {p: math.exp(0.02 * RANDOM.normal()) for p in range(60)}
    factor = stats.smallest_difference(first, again)
    assert 1 < factor < 1.05
    slower = {p: x * factor * 1.001 for p, x in again.items()}
    assert stats.paired_difference(first, slower).verdict == "A faster"
    assert stats.smallest_difference({1: 1.0}, {1: 1.0}) is None


def stops_at(latencies: np.ndarray) -> np.ndarray:
    """How many trials `enough_trials` asks for in each row, for all rows at once."""
    n_stop = np.full(len(latencies), stats.MAX_TRIALS)
    for n in range(stats.MAX_TRIALS - 1, stats.MIN_TRIALS - 1, -1):
        ordered, k = np.sort(latencies[:, :n], axis=1), stats.median_rank(n)
        middle = np.median(ordered, axis=1)
        n_stop[(ordered[:, k - 1] >= 0.95 * middle) & (ordered[:, -k] <= 1.05 * middle)] = n
    return n_stop


@pytest.mark.parametrize("spread", [0.02, 0.05, 0.08, 0.12, 0.3])
def test_stopping_early_does_not_make_the_interval_lie(spread):
    latencies = np.exp(spread * RANDOM.normal(size=(6000, stats.MAX_TRIALS)))
    n_stop = stops_at(latencies)
    covered = np.zeros(len(latencies), bool)
    for n in np.unique(n_stop):
        rows, k = n_stop == n, stats.median_rank(n)
        ordered = np.sort(latencies[rows, :n], axis=1)
        covered[rows] = (ordered[:, k - 1] <= 1) & (ordered[:, -k] >= 1)
    assert covered.mean() >= HONEST


def test_the_stop_rule_is_the_one_simulated():
    latencies = np.exp(0.06 * RANDOM.normal(size=(40, stats.MAX_TRIALS)))
    for row, n_stop in zip(latencies, stops_at(latencies), strict=True):
        stops = [stats.enough_trials(list(row[:n])).stop for n in range(1, stats.MAX_TRIALS + 1)]
        assert stops.index(True) + 1 == n_stop


def test_the_stop_rule_at_its_ends():
    assert not stats.enough_trials([]).stop and not stats.enough_trials([1.0] * 5).stop
    assert stats.enough_trials([1.0] * 6).stop
    wild = [1.0, 9.0] * 10
    assert not stats.enough_trials(wild[:19]).stop
    assert stats.enough_trials(wild) == stats.Stop(
        True, "20 trials are the most; the median is not known to ± 5 %"
    )
    assert stats.enough_trials([None] * 20).stop  # failed requests are no reason to go on for ever
