"""A schedule is what it says: constant is constant, Poisson is Poisson, and the same seed is the same schedule."""

import json
import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit import schedule
from benchkit.errors import BenchkitError
from benchkit.schedule import NS, dispersion, make_schedule

few = settings(max_examples=40, deadline=None)


# ---------------------------------------------------------------- constant is constant


@few
@given(st.floats(0.01, 5000), st.integers(1, 500))
def test_constant_is_constant(rate, n):
    due = make_schedule("constant", rate=rate, requests=n).due_ns
    assert len(due) == n and due[0] == 0 and all(isinstance(t, int) for t in due)
    assert all(abs(t - k * NS / rate) <= 0.5 for k, t in enumerate(due)), "errors must not add up"
    assert {b - a for a, b in pairwise(due)} <= {math.floor(NS / rate), math.ceil(NS / rate)}


@few
@given(st.floats(0.5, 2000), st.floats(0.01, 5))
def test_a_duration_ends_the_schedule_and_nothing_else(rate, duration_s):
    due = make_schedule("constant", rate=rate, duration_s=duration_s).due_ns
    assert due[-1] < duration_s * NS <= round(len(due) * NS / rate) + 1
    both = make_schedule("constant", rate=rate, duration_s=duration_s, requests=3).due_ns
    assert both == due[:3]


# ---------------------------------------------------------------- Poisson is Poisson


@pytest.mark.parametrize("concurrency", [None, 1, 10, 32, 512])
@pytest.mark.parametrize("seed", [0, 1, 1234])
def test_counts_of_poisson_vary_as_much_as_their_mean(concurrency, seed):
    due = make_schedule("poisson", rate=40, requests=20_000, seed=seed, concurrency=concurrency).due_ns
    for span_s in (0.05, 0.25, 1.0):
        n_spans = len(schedule.counts(due, int(span_s * NS)))
        error = 4 * math.sqrt(2 / n_spans)  # four times the sampling error
        assert dispersion(due, int(span_s * NS)) == pytest.approx(1, abs=error), span_s


def test_gaps_of_poisson_are_exponential():
    due = make_schedule("poisson", rate=10, requests=20_000).due_ns
    gaps = sorted(b - a for a, b in pairwise((0, *due)))
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(NS / 10, rel=4 / math.sqrt(len(gaps)))
    for q in (0.1, 0.5, 0.9):  # the quantiles of −ln(1 − u)
        at = gaps[int(q * len(gaps))]
        assert at == pytest.approx(-math.log(1 - q) * NS / 10, rel=0.06), q


def test_the_dispersion_sees_bursts():
    """Ten workers with one seed each send at the same instants: the trap that this test must be able to see."""
    one = schedule.poisson_ns(4, 2000, seed=7)
    bursts = sorted(one * 10)
    assert dispersion(bursts, NS) > 5
    other = sorted(t for seed in range(10) for t in schedule.poisson_ns(4, 2000, seed=seed))
    assert dispersion(other, NS) < 2
    assert dispersion(schedule.constant_ns(20, 2000), NS) < 0.1
    assert dispersion([], NS) is None and dispersion([5], NS) is None


# ---------------------------------------------------------------- the same again


@pytest.mark.parametrize("profile", schedule.PROFILES)
def test_the_same_seed_gives_the_same_schedule(profile):
    rate = {"rate": 25.0} if schedule.PROFILES[profile].loop == "open" else {}
    one, two = (make_schedule(profile, requests=300, seed=5, **rate) for _ in range(2))
    assert one == two
    saved = json.loads(json.dumps(one.to_dict()))
    assert saved["due_ns"] == (None if one.due_ns is None else list(one.due_ns)) and saved["seed"] == 5


def test_seeds_differ_and_python_does_not_matter():
    first, second = (schedule.poisson_ns(2, 100, seed=seed) for seed in (1, 2))
    assert first != second
    u = random.Random(1).random()
    assert first[0] == round(-math.log(1 - u) / 2 * NS), "the formula stated, on the generator stated"


def test_the_global_generator_is_left_alone():
    random.seed(3)
    before = random.getstate()
    make_schedule("poisson", rate=5, requests=50)
    assert random.getstate() == before


# ---------------------------------------------------------------- what a profile is


def test_closed_loops_wait_and_open_loops_do_not():
    found = {name: make_schedule(name, **({"rate": 2} if p.loop == "open" else {}))
             for name, p in schedule.PROFILES.items()}  # fmt: skip
    assert {name: s.concurrency for name, s in found.items()} == {
        "synchronous": 1, "concurrent": 32, "throughput": 128, "constant": None, "poisson": None,
    }  # fmt: skip
    assert [name for name, s in found.items() if s.due_ns is None] == ["synchronous", "concurrent"]
    assert set(found["throughput"].due_ns) == {0} and found["throughput"].n == 128
    assert make_schedule("concurrent", concurrency=8, requests=3).concurrency == 3
    assert make_schedule("concurrent", duration_s=2).n is None
    assert make_schedule("throughput", requests=2000).concurrency == schedule.AT_ONCE


@pytest.mark.parametrize(
    ("profile", "given_", "says"),
    [
        ("poison", {}, 'did you mean "poisson"'),
        ("sweep it", {}, "concurrent: always the same number"),
        (None, {}, "there is no load profile"),
        ("poisson", {}, "poisson needs a rate, in requests a second: for example rate=2"),
        ("concurrent", {"rate": 3}, "choose constant or poisson"),
        ("synchronous", {"concurrency": 4}, "for 4 choose concurrent"),
        ("throughput", {"duration_s": 3}, "throughput needs requests"),
        ("constant", {"rate": 0}, "allowed is 0.0001 to 100,000"),
        ("constant", {"rate": -1}, "rate=-1"),
        ("constant", {"rate": float("nan")}, "a number is needed"),
        ("constant", {"rate": True}, "a number is needed"),
        ("concurrent", {"concurrency": 0}, "allowed is 1 to 10,000"),
        ("concurrent", {"concurrency": 2.5}, "a whole number is needed (requests at a time)"),
        ("concurrent", {"requests": 0}, "requests=0"),
        ("concurrent", {"duration_s": 0}, "duration_s=0"),
        ("concurrent", {"seed": None}, "seed=None"),
        ("constant", {"rate": 1e5, "duration_s": 1000}, "at most 1,000,000 are allowed"),
        ("poisson", {"rate": 0.0001, "duration_s": 0.001}, "none becomes due within 0.001 s"),
    ],
)
def test_what_is_impossible_is_refused_with_a_reason(profile, given_, says):
    with pytest.raises(BenchkitError, match=".") as refusal:
        make_schedule(profile, **given_)
    assert says in str(refusal.value)
