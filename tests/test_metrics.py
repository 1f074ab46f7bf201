"""The formulas on recordings whose truth is known, and the traps that published tools fell into."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchkit import metrics
from benchkit.metrics import EXAMPLE
from benchkit.recording import KINDS, TEXT_KINDS, Chunk, Count, Recording

MS = 1_000_000


def reply(*chunks, sent=0, end=None, **more) -> Recording:
    """A recording of (ms, kind, text) chunks."""
    made = tuple(Chunk(round(ms * MS), kind, text, len(text.encode())) for ms, kind, text in chunks)
    end_ns = round(end * MS) if end is not None else max([sent, *(c.t_ns for c in made)]) + MS
    return Recording(t_sent_ns=sent, t_end_ns=end_ns, state=more.pop("state", "ok"), chunks=made, **more)


def counts(**values) -> dict[str, Count]:
    return {name: Count(value, "server") for name, value in values.items()}


times = st.integers(0, 10**12)
milliseconds = st.integers(0, 10**8).map(lambda microseconds: microseconds / 1000)
timings = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"engine": st.just("llama.cpp"), "prompt_eval_ms": milliseconds, "eval_ms": milliseconds,
                           "sample_ms": milliseconds, "n_eval": st.integers(0, 500), "n_prompt_eval": st.integers(0, 500)},
                          optional={"t_received_ns": times, "t_prompt_ns": times, "t_done_ns": times}),
    st.fixed_dictionaries({"predicted_ms": milliseconds, "predicted_n": st.integers(0, 500)},
                          optional={"prompt_ms": milliseconds, "prompt_n": st.integers(0, 500)}),
    st.fixed_dictionaries({"total_duration": times}, optional={"load_duration": times, "prompt_eval_duration": times,
                                                              "eval_duration": times, "eval_count": st.integers(0, 500)}),
)  # fmt: skip


pieces = st.tuples(
    st.integers(0, 10**9), st.sampled_from(KINDS), st.sampled_from(["", "a", " two", "ï"]), st.integers(0, 4)
)
some_counts = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["prompt", "cached", "output"], st.integers(0, 50))
)


def built(
    sent, pieces, rest, early, first_byte, numbers, k1, chunks_are_tokens, state, cache, server_timings
) -> Recording:
    """A recording whose chunks come one after the other."""
    stamps = [sent + sum(gap for gap, *_ in pieces[: i + 1]) for i in range(len(pieces))]
    return Recording(
        t_sent_ns=sent, t_end_ns=(stamps[-1] if stamps else sent) + rest, state=state,
        t_scheduled_ns=None if early is None else sent - early,
        t_first_byte_ns=None if first_byte is None else sent + first_byte,
        chunks=tuple(Chunk(t, *piece[1:]) for t, piece in zip(stamps, pieces, strict=True)),
        counts=counts(**numbers), first_chunk_tokens=k1, chunks_are_tokens=chunks_are_tokens, cache=cache,
        server_timings=server_timings,
    )  # fmt: skip


recordings = st.builds(
    built, times, st.lists(pieces, max_size=6), st.integers(0, 10**9), st.none() | st.integers(0, 10**9),
    st.none() | st.integers(0, 9), some_counts, st.none() | st.integers(1, 3), st.booleans(),
    st.sampled_from(["ok", "length", "empty", "timeout"]), st.sampled_from([None, "cold", "warm"]), timings,
)  # fmt: skip
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# ---------------------------------------------------------------- properties


@few
@given(recordings)
def test_each_part_of_the_ledger_is_what_the_engine_says_of_it(recording):
    """The parts one by one: their sum cannot be wrong, for what is left over is a part too."""
    t, parts = recording.server_timings, metrics.ledger_ns(recording)
    assert tuple(parts) == metrics.LEDGER_PARTS == tuple(metrics.ledger(recording))
    early = recording.t_scheduled_ns
    assert parts["dispatch"] == (None if early is None else recording.t_sent_ns - early)
    named = ("queue", "load", "prefill", "decode")
    if "eval_ms" in t:
        stamps = [t.get(f"t_{name}_ns") for name in ("received", "prompt", "done")]
        around = [recording.t_sent_ns, *stamps, recording.t_end_ns]
        stamped = None not in stamps and around == sorted(around)
        prepare = stamps[1] - stamps[0] if stamped else 0
        assert parts["delivery"] == (around[1] - around[0] + around[4] - around[3] if stamped else None)
        expected = (0, 0, t["prompt_eval_ms"] * MS + prepare, (t["eval_ms"] + t["sample_ms"]) * MS)
    elif "predicted_ms" in t:
        expected = (None, None, t["prompt_ms"] * MS if "prompt_ms" in t else None, t["predicted_ms"] * MS)
    elif "total_duration" in t:
        load, prefill, decode = (t.get(f"{name}_duration", 0) for name in ("load", "prompt_eval", "eval"))
        expected = (max(0, t["total_duration"] - load - prefill - decode), load, prefill, decode)
    else:
        expected = (None,) * 4
    for name, ns in zip(named, expected, strict=True):
        assert parts[name] == (None if ns is None else pytest.approx(ns, abs=2)), name


@few
@given(recordings)
def test_the_ledger_loses_no_time_and_invents_none(recording):
    start = recording.t_sent_ns if recording.t_scheduled_ns is None else recording.t_scheduled_ns
    assert sum(part or 0 for part in metrics.ledger_ns(recording).values()) == recording.t_end_ns - start


@few
@given(recordings)
def test_no_metric_fails_or_hides_a_zero_division(recording):
    measured = metrics.measure(recording)
    assert tuple(measured) == metrics.MEASURED
    for name, value in measured.items():
        assert value is None or isinstance(value, (str, bool)) or math.isfinite(value), name
    for name in ("decode_tokens_per_s", "prefill_tokens_per_s", "prefill_estimate_tokens_per_s"):
        assert measured[name] is None or measured[name] > 0, name
    metrics.unexplained_share(recording), metrics.clock_faults(recording), metrics.itl_ms(recording)


@few
@given(recordings, st.integers(-(10**9), 10**15))
def test_only_differences_of_times_matter(recording, shift):
    stamps = ("t_sent_ns", "t_end_ns", "t_scheduled_ns", "t_headers_ns", "t_first_byte_ns")
    moved = {
        name: getattr(recording, name) + shift for name in stamps if getattr(recording, name) is not None
    }
    later = replace(
        recording, chunks=tuple(replace(c, t_ns=c.t_ns + shift) for c in recording.chunks), **moved
    )
    assert metrics.measure(later) == metrics.measure(recording)


@few
@given(recordings)
def test_a_recording_measures_the_same_after_it_was_on_disk(recording):
    assert metrics.measure(Recording.from_dict(recording.to_dict())) == metrics.measure(recording)


@few
@given(
    recordings,
    st.sampled_from([("role", "assistant"), ("ping", ":"), ("usage", ""), ("other", "{}"), ("content", "")]),
)
def test_what_carries_no_token_changes_nothing(recording, nothing):
    """Trap: TTFT taken at the first byte, the role chunk, an empty chunk or a ping."""
    kind, text = nothing
    first = Chunk(recording.t_sent_ns, kind, text, 0)
    more = replace(recording, chunks=(first, *recording.chunks))
    assert metrics.measure(more) == metrics.measure(recording)
    assert metrics.icl_ms(more) == metrics.icl_ms(recording)


@few
@given(st.integers(0, 10**9), st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_where_chunks_are_tokens_tpot_is_the_mean_gap(first, gaps):
    stamps = [first + sum(gaps[:i]) for i in range(len(gaps) + 1)]
    recording = Recording(0, stamps[-1], "ok", tuple(Chunk(t, "content", "x", 1) for t in stamps),
                          counts(output=len(stamps)), chunks_are_tokens=True)  # fmt: skip
    icl = metrics.icl_ms(recording)
    assert metrics.itl_ms(recording) == icl and len(icl) == len(gaps)
    assert metrics.tpot_ms(recording) == pytest.approx(sum(icl) / len(icl))
    assert metrics.decode_tokens_per_s(recording) == pytest.approx(1000 / metrics.tpot_ms(recording))
    assert metrics.ttft_ms(recording) + sum(icl) == pytest.approx(1000 * metrics.latency_s(recording))


def test_the_unknown_is_none_and_never_zero():
    bare = metrics.measure(Recording(0, 5 * MS, "error"))
    known = {"state": "error", "latency_s": 0.005, "first_chunk_tokens_assumed": False}
    assert bare == {name: known.get(name) for name in metrics.MEASURED}
    parts = metrics.ledger(Recording(0, 5 * MS, "error"))
    assert parts == dict.fromkeys(metrics.LEDGER_PARTS) | {"unexplained": 5.0}
    assert metrics.unexplained_share(Recording(0, 5 * MS, "error")) is None


# ---------------------------------------------------------------- traps


def test_ttft_waits_for_text_of_any_kind_and_ttfo_for_the_answer():
    """Trap: reasoning ignored, so that TTFT is late and decode speed overstated."""
    r = reply((1, "role", ""), (5, "reasoning", "hm"), (15, "reasoning", "so"), (25, "content", "4"),
              counts=counts(output=3), chunks_are_tokens=True)  # fmt: skip
    assert metrics.ttft_ms(r) == 5 and metrics.ttfo_ms(r) == 25
    assert metrics.tpot_ms(r) == 10  # over all three tokens, reasoning included
    assert metrics.ttft_ms(reply((7, "tool", "{"))) == 7
    assert metrics.ttfo_ms(reply((7, "tool", "{"))) is None


def test_ttfb_is_not_ttft():
    assert metrics.ttfb_ms(EXAMPLE) == 2 and metrics.ttft_ms(EXAMPLE) == 20


def test_one_chunk_may_hold_many_tokens():
    """Trap: one chunk taken for one token."""
    r = reply((10, "content", "one two three"), (30, "content", " four five"), counts=counts(output=5))
    assert metrics.n_output_tokens(r) == 5
    assert metrics.tpot_ms(r) == 5 and metrics.measure(r)["first_chunk_tokens_assumed"] is True
    known = replace(r, first_chunk_tokens=3)
    assert metrics.tpot_ms(known) == 10 and metrics.measure(known)["first_chunk_tokens_assumed"] is False
    assert metrics.itl_ms(r) is None and metrics.icl_ms(r) == [20.0]  # a gap is never split


def test_a_reply_in_one_chunk_has_no_time_between_tokens():
    r = reply((10, "content", "five tokens at one instant"), counts=counts(output=5))
    assert metrics.tpot_ms(r) is metrics.decode_tokens_per_s(r) is None
    assert metrics.measure(r)["first_chunk_tokens_assumed"] is False


def test_tokens_are_not_guessed_from_chunks_or_words():
    """Trap: tokens counted by chunks or by splitting words."""
    r = reply((10, "content", "one two"), (30, "content", " three"), chunks_are_tokens=True)
    assert metrics.n_output_tokens(r) is None and metrics.tpot_ms(r) is None
    assert metrics.end_to_end_tokens_per_s(r) is None


@pytest.mark.parametrize(
    ("verified", "n", "gaps"),
    [(True, 2, [20.0]), (True, None, [20.0]), (True, 5, None), (False, 2, None), (False, None, None)],
)
def test_gaps_between_chunks_are_not_passed_off_as_gaps_between_tokens(verified, n, gaps):
    """Unless every chunk is one token: the engine's word for it, and no count that speaks against it."""
    counted = {} if n is None else counts(output=n)
    r = reply((10, "content", "a"), (30, "content", "b"), counts=counted, chunks_are_tokens=verified)
    assert metrics.itl_ms(r) == gaps


def test_end_to_end_speed_is_tokens_over_the_whole_time():
    r = reply((100, "content", "a"), sent=50 * MS, end=2050, counts=counts(output=5))
    assert metrics.end_to_end_tokens_per_s(r) == pytest.approx(2.5)


@pytest.mark.parametrize("source", ["engine_tokenizer", "server", None])
def test_who_counted_the_tokens_is_said(source):
    r = replace(EXAMPLE, counts={} if source is None else {"output": Count(4, source)})
    assert metrics.measure(r)["n_output_source"] == source


def test_half_a_character_is_a_token_without_text():
    chunks = (
        Chunk(10 * MS, "content", "", 1),
        Chunk(20 * MS, "content", "ï", 1),
        Chunk(30 * MS, "content", "!", 1),
    )
    r = Recording(0, 31 * MS, "ok", chunks, counts(output=3), chunks_are_tokens=True)
    assert metrics.ttft_ms(r) == 20  # nothing could be read before
    assert metrics.first_chunk_tokens(r) == (2, False)
    assert metrics.tpot_ms(r) == 10 and metrics.itl_ms(r) == [10.0, 10.0]
    assert metrics.tpot_ms(replace(r, first_chunk_tokens=2)) == 10


@pytest.mark.parametrize(("n", "k1"), [(1, None), (1, 1), (2, 2), (2, 3), (0, None)])
def test_no_tpot_without_a_token_after_the_first_chunk(n, k1):
    r = reply((10, "content", "a"), (20, "content", "b"), counts=counts(output=n), first_chunk_tokens=k1)
    assert metrics.tpot_ms(r) is None and metrics.decode_tokens_per_s(r) is None


def test_all_text_at_one_instant_has_no_decode_speed():
    """Trap: division that hides a zero."""
    r = reply((10, "content", "a"), (10, "content", "b"), counts=counts(output=2))
    assert metrics.tpot_ms(r) is None and metrics.decode_tokens_per_s(r) is None
    assert metrics.end_to_end_tokens_per_s(replace(r, t_end_ns=0)) is None


def test_an_end_token_has_no_text_but_is_counted_by_ollama():
    assert metrics.without_end_token(8, "ok") == 7
    assert metrics.without_end_token(8, "length") == 8
    assert metrics.without_end_token(1, "empty") == 0 and metrics.without_end_token(0, "ok") == 0
    measured = metrics.measure(EXAMPLE)
    assert (measured["n_output_tokens"], measured["n_output_reported"]) == (4, 5)  # both are kept


def test_a_warm_cache_is_no_prompt_speed():
    """Trap: a warm prompt cache taken for speed."""
    ollama = {"total_duration": 30 * MS, "prompt_eval_duration": 10 * MS, "eval_duration": 20 * MS}
    r = reply((12, "content", "a"), counts=counts(prompt=100), server_timings=ollama)
    assert metrics.prefill_tokens_per_s(r) is None and metrics.prefill_estimate_tokens_per_s(r) is None
    assert metrics.prefill_tokens_per_s(replace(r, cache="warm")) is None
    assert metrics.prefill_tokens_per_s(replace(r, cache="cold")) == pytest.approx(10_000)
    cached = replace(r, counts=counts(prompt=100, cached=90), cache="warm")
    assert metrics.prefill_tokens_per_s(cached) == pytest.approx(1000)
    assert metrics.prefill_tokens_per_s(replace(r, counts=counts(prompt=100, cached=100))) is None


@pytest.mark.parametrize(
    ("cached", "cache", "speed"),
    [(0, None, 400), (60, "warm", 160), (None, "cold", 400), (None, "warm", None), (100, "warm", None)],
)
def test_the_client_s_estimate_of_prompt_speed_counts_only_new_tokens(cached, cache, speed):
    known = {"prompt": 100} if cached is None else {"prompt": 100, "cached": cached}
    r = reply((250, "content", "a"), counts=counts(**known), cache=cache)
    assert metrics.prefill_estimate_tokens_per_s(r) == (None if speed is None else pytest.approx(speed))


def test_the_engine_in_process_tells_both_its_speeds():
    assert metrics.prefill_tokens_per_s(EXAMPLE) == pytest.approx(10 / 0.018)
    assert metrics.engine_decode_tokens_per_s(EXAMPLE) == pytest.approx(4 / 0.038)


def test_one_new_token_is_booked_as_a_decode_step_and_is_no_prompt_speed():
    """llama.cpp counts a batch of one token as decoding, and reports at least one prompt token all the same."""
    timings = {**EXAMPLE.server_timings, "prompt_eval_ms": 0.001, "n_prompt_eval": 1, "n_eval": 5}
    r = replace(EXAMPLE, counts={**EXAMPLE.counts, "cached": Count(9, "engine_tokenizer")}, cache="warm",
                server_timings=timings)  # fmt: skip
    assert metrics.prefill_tokens_per_s(r) is None
    assert metrics.ledger(r)["prefill"] == pytest.approx(1.001)  # template and tokens are still there


def test_the_first_token_is_not_a_decode_step():
    """Trap: server decode rates that count the first token but not its time, high by n/(n − 1)."""
    ollama = {"total_duration": 60 * MS, "eval_duration": 40 * MS, "eval_count": 5}
    assert metrics.engine_decode_tokens_per_s(reply((1, "content", "a"), server_timings=ollama)) == 100
    server = {"prompt_ms": 10.0, "prompt_n": 8, "predicted_ms": 40.0, "predicted_n": 5}
    r = reply((1, "content", "a"), server_timings=server)
    assert metrics.engine_decode_tokens_per_s(r) == 100 and metrics.prefill_tokens_per_s(r) == 800
    one = replace(r, server_timings={**server, "predicted_n": 1})
    assert metrics.engine_decode_tokens_per_s(one) is None
    assert metrics.engine_times(one).n_decode_steps == 0  # known, not unknown


def test_waiting_is_charged_from_the_schedule():
    """Trap: coordinated omission."""
    r = reply((40, "content", "a"), sent=30 * MS, end=50, t_scheduled_ns=10 * MS)
    assert metrics.latency_s(r) == 0.020 and metrics.response_time_s(r) == 0.040
    assert metrics.dispatch_delay_ms(r) == 20


def test_a_clock_that_runs_backwards_is_reported_not_shown_as_a_number_to_trust():
    """Trap: negative TTFT."""
    assert metrics.clock_faults(reply((1, "content", "a"), sent=2 * MS, end=3)) == [
        "something arrived before the request was sent"
    ]
    assert metrics.clock_faults(reply((5, "content", "a"), (4, "content", "b"), end=9)) == [
        "chunks are not in the order of their times"
    ]
    assert metrics.clock_faults(reply((5, "content", "a"), end=4)) == ["something arrived after the end"]
    assert "the request ended before it was sent" in metrics.clock_faults(Recording(5, 4, "ok"))


def test_two_events_at_one_instant_are_no_clock_fault():
    """Some clocks are coarse: what follows at once gets the same stamp, and nothing ran backwards."""
    at_once = [Chunk(MS, "content", text, 1) for text in "ab"]
    r = Recording(MS, MS, "ok", tuple(at_once), t_headers_ns=MS, t_first_byte_ns=MS)
    assert metrics.clock_faults(r) == []


# ---------------------------------------------------------------- the ledger


def test_the_ledger_of_the_engine_in_process():
    parts = metrics.ledger(EXAMPLE)
    assert parts == {"dispatch": 1.0, "queue": 0.0, "load": 0.0, "prefill": 19.0, "decode": 38.5, "delivery": 1.0,
                     "unexplained": 0.5}  # fmt: skip
    assert sum(parts.values()) == 1000 * metrics.response_time_s(EXAMPLE)


def test_stamps_of_another_clock_are_not_believed():
    strange = {**EXAMPLE.server_timings, "t_received_ns": 10**15}
    parts = metrics.ledger(replace(EXAMPLE, server_timings=strange))
    assert parts["delivery"] is None and parts["prefill"] == 18.0 and parts["unexplained"] == 2.5


@pytest.mark.parametrize(
    ("received", "prompt", "done"), [(0, 0, 0), (0, 0, 60), (0, 60, 60), (60, 60, 60), (0, 20, 60)]
)
def test_stamps_at_one_instant_are_believed(received, prompt, done):
    stamps = {"t_received_ns": received * MS, "t_prompt_ns": prompt * MS, "t_done_ns": done * MS}
    r = Recording(0, 60 * MS, "ok", server_timings={"eval_ms": 0.0, "prompt_eval_ms": 0.0, **stamps})
    parts = metrics.ledger(r)
    assert parts["prefill"] == prompt - received and parts["delivery"] == received + 60 - done


def test_the_ledger_of_ollama_finds_the_queue_in_what_its_fields_leave_out():
    """Trap: load_duration is not zero when warm; waiting for a slot is in no field."""
    fields = {
        "total_duration": 100 * MS,
        "load_duration": 5 * MS,
        "prompt_eval_duration": 20 * MS,
        "eval_duration": 60 * MS,
    }
    parts = metrics.ledger(reply((30, "content", "a"), end=103, server_timings=fields))
    assert parts == {"dispatch": None, "queue": 15.0, "load": 5.0, "prefill": 20.0, "decode": 60.0, "delivery": None,
                     "unexplained": 3.0}  # fmt: skip
    left_out = metrics.ledger(
        reply(
            (30, "content", "a"), end=60, server_timings={"total_duration": 60 * MS, "eval_duration": 60 * MS}
        )
    )
    assert left_out["load"] == 0.0  # Ollama leaves out a zero
    assert left_out["queue"] == 0.0  # the fields are the whole: nobody waited
    only_read = {"total_duration": 60 * MS, "prompt_eval_duration": 50 * MS}
    parts = metrics.ledger(reply((30, "content", "a"), end=60, server_timings=only_read))
    assert (parts["queue"], parts["prefill"], parts["decode"]) == (10.0, 50.0, 0.0)


def test_ollama_without_a_total_still_says_how_fast_it_decodes():
    r = reply((30, "content", "a"), end=60, server_timings={"eval_duration": 40 * MS, "eval_count": 5})
    assert metrics.engine_decode_tokens_per_s(r) == 100
    parts = metrics.ledger(r)
    assert parts["queue"] is None and parts["decode"] == 40 and parts["unexplained"] == 20


def test_an_engine_that_claims_more_than_the_client_saw_is_unexplained_too():
    r = reply((5, "content", "a"), end=100, server_timings={"prompt_ms": 100.0, "predicted_ms": 20.0})
    assert metrics.ledger(r)["unexplained"] == -20 and metrics.unexplained_share(r) == 0.2


def test_an_engine_that_gives_one_of_its_times_can_be_checked():
    r = reply((5, "content", "a"), end=100, server_timings={"predicted_ms": 75.0})
    assert metrics.ledger(r)["prefill"] is None and metrics.unexplained_share(r) == 0.25


# ---------------------------------------------------------------- many requests


def test_rates_are_ratios_of_sums():
    """Trap: an average of averages across prompts of different length."""
    assert (
        metrics.throughput_tokens_per_s([100, 10], [1.0, 1.0]) == 55.0
    )  # not the mean of 100 and 10 by chance:
    assert metrics.throughput_tokens_per_s([100, 10], [1.0, 9.0]) == 11.0  # the mean of the rates is 50.6
    assert metrics.throughput_tokens_per_s([100, None], [1.0, 1.0]) is None
    assert metrics.throughput_tokens_per_s([], []) is None
    assert metrics.tokens_per_min([100, 10], [1.0, 9.0]) == 660.0
    assert metrics.tokens_per_min([100, None], [1.0, 1.0]) is metrics.tokens_per_min([], []) is None
    assert metrics.requests_per_min(75, [0.8] * 75) == pytest.approx(75)
    assert metrics.requests_per_min(0, [1.0]) == 0 and metrics.requests_per_min(0, []) is None


@few
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.floats(0.001, 100)), min_size=1, max_size=9), st.integers()
)
def test_the_order_of_requests_changes_nothing(pairs, seed):
    mixed = random.Random(seed).sample(pairs, len(pairs))
    for rate in (metrics.throughput_tokens_per_s, metrics.tokens_per_min):
        assert rate(*zip(*pairs, strict=True)) == rate(*zip(*mixed, strict=True))


@pytest.mark.parametrize(
    ("cold", "warm", "extra"),
    [
        (620.0, [100.0, 120.0, 140.0], 0.5),
        (620.0, [120.0, 9000.0, 110.0], 0.5),  # one slow warm reply is no load time
        (620.0, [100.0, 140.0], 0.5),
        (100.0, [350.0], -0.25),  # faster when cold: shown as it is, not as 0
        (0.0, [0.0], 0.0),
        (None, [100.0], None),
        (620.0, [], None),
        (None, [], None),
    ],
)
def test_the_first_reply_after_a_load_is_charged_what_it_takes_beyond_a_warm_one(cold, warm, extra):
    assert metrics.cold_extra_s(cold, warm) == (None if extra is None else pytest.approx(extra))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(2.0, "2.00 s"), (0.5, "0.500 s"), (1234.0, "1,234 s"), (999.6, "1,000 s"), (None, "–"), (math.nan, "–")]
)
def test_seconds_per_correct_answer_are_shown_with_their_unit_or_a_dash(seconds, shown):
    assert metrics.show_seconds_per_correct(seconds) == shown


def test_seconds_per_correct_answer():
    assert metrics.seconds_per_correct([1.0, 3.0], [True, True]) == 2
    assert metrics.seconds_per_correct([1.0, 3.0], [False, False]) == math.inf
    assert metrics.seconds_per_correct([], []) is None
    assert metrics.show_seconds_per_correct(math.inf) == "never"


def test_kinds_of_text():
    assert set(TEXT_KINDS) < set(KINDS)
