"""The formulas: from a recording to numbers. Pure functions, one term each.

A value that cannot be known is `None`, never 0. `t_first` and `t_last` are the first and the last chunk that
carry text (content, reasoning or tool); `n` is the number of output tokens that have text; `k1` is the number
of tokens in the first of these chunks. Every function names its unit; `EXAMPLE` is the recording in their
examples: sent 1 ms after it was due, first token 20 ms later, then three more, 10 ms apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from statistics import median

from benchkit.recording import TEXT_KINDS, Chunk, Count, Recording
from benchkit.text import number

MS, S = 1e6, 1e9  # nanoseconds in a millisecond, in a second

#: States of a reply that has text and came to its end: by the model's own end token, or at the token limit.
COMPLETED = ("ok", "length")

#: The parts of a request's time, in the order in which they happen.
LEDGER_PARTS = ("dispatch", "queue", "load", "prefill", "decode", "delivery", "unexplained")

EXAMPLE = Recording(
    t_scheduled_ns=0,
    t_sent_ns=1_000_000,
    t_first_byte_ns=3_000_000,
    t_end_ns=60_000_000,
    state="ok",
    chunks=(
        Chunk(3_000_000, "role", "", 9),
        Chunk(21_000_000, "content", "A", 1),
        Chunk(31_000_000, "content", " small", 6),
        Chunk(41_000_000, "content", " reply", 6),
        Chunk(51_000_000, "content", ".", 1),
    ),
    counts={
        "prompt": Count(10, "engine_tokenizer"),
        "cached": Count(0, "engine_tokenizer"),
        "output": Count(4, "engine_tokenizer"),
        "output_reported": Count(5, "engine_tokenizer"),  # with the end token, which has no text
    },
    first_chunk_tokens=1,
    chunks_are_tokens=True,
    cache="cold",
    server_timings={
        "engine": "llama.cpp", "prompt_eval_ms": 18.0, "n_prompt_eval": 10, "eval_ms": 38.0, "n_eval": 4,
        "sample_ms": 0.5, "t_received_ns": 1_500_000, "t_prompt_ns": 2_500_000, "t_done_ns": 59_500_000,
    },
)  # fmt: skip


# ---------------------------------------------------------------- what the formulas are made of


def text_chunks(recording: Recording) -> list[Chunk]:
    """The chunks that carry text: no role chunk, no ping, no empty chunk.

    >>> [chunk.text for chunk in text_chunks(EXAMPLE)]
    ['A', ' small', ' reply', '.']
    """
    return [c for c in recording.chunks if c.kind in TEXT_KINDS and c.text]


def without_end_token(n_reported: int, state: str) -> int:
    """How many of the tokens an engine reports have text, where the engine counts its end token too.

    A reply that ended by itself (`ok`, `empty`) has one end token; one cut at the limit has none. For use
    where that is known of the engine, as of Ollama's `eval_count`.

    >>> without_end_token(5, "ok"), without_end_token(5, "length")
    (4, 5)
    """
    return max(0, n_reported - 1) if state in ("ok", "empty") else n_reported


def n_output_tokens(recording: Recording) -> int | None:
    """How many tokens of the reply have text. Unit: tokens. `None` where nobody counted them.

    An end token is not among them; a token that holds half a character is, and so is one of reasoning.

    >>> n_output_tokens(EXAMPLE)
    4
    """
    return _count(recording, "output")


def n_prompt_tokens(recording: Recording) -> int | None:
    """How many tokens the prompt became, its chat template included. Unit: tokens. `None` if not counted.

    >>> n_prompt_tokens(EXAMPLE)
    10
    """
    return _count(recording, "prompt")


def n_cached_tokens(recording: Recording) -> int | None:
    """How many of the prompt's tokens were not computed anew. Unit: tokens. `None` where it is not known.

    >>> n_cached_tokens(EXAMPLE)
    0
    """
    return _count(recording, "cached")


def first_chunk_tokens(recording: Recording) -> tuple[int, bool]:
    """How many tokens there are up to and with the first text, and whether that is an assumption.

    Known where the backend says so, or where every chunk was verified to be one token (a token that holds
    half a character is a chunk of bytes without text). Otherwise 1 is taken, and the result is marked: then
    a decode speed is only as good as that guess.

    >>> first_chunk_tokens(EXAMPLE)
    (1, False)
    """
    if recording.first_chunk_tokens is not None:
        return recording.first_chunk_tokens, False
    if not recording.chunks_are_tokens:
        return 1, True
    without_text = takewhile(lambda chunk: not chunk.text, _pieces(recording))
    return 1 + sum(1 for _ in without_text), False


def _pieces(recording: Recording) -> list[Chunk]:
    """What arrived of the reply: its chunks with text, and where chunks are tokens also halves of characters."""
    if not recording.chunks_are_tokens:
        return text_chunks(recording)
    return [c for c in recording.chunks if c.kind in TEXT_KINDS and (c.text or c.n_bytes)]


def _count(recording: Recording, name: str) -> int | None:
    count = recording.counts.get(name)
    return None if count is None else count.value


def _first(chunks: Iterable[Chunk]) -> Chunk | None:
    return next(iter(chunks), None)


def _between(start_ns: int | None, end_ns: int | None, unit: float) -> float | None:
    return None if start_ns is None or end_ns is None else (end_ns - start_ns) / unit


def _divide(value: float | None, by: float | None) -> float | None:
    """A quotient, or None where it has no meaning; a zero below the line is never hidden as 0 or infinity."""
    return None if value is None or by is None or by <= 0 else value / by


# ---------------------------------------------------------------- one request, seen by the client


def latency_s(recording: Recording) -> float:
    """How long the whole response took, from sending the request. `t_end − t_sent`, in s. Never `None`.

    >>> latency_s(EXAMPLE)
    0.059
    """
    return (recording.t_end_ns - recording.t_sent_ns) / S


def response_time_s(recording: Recording) -> float | None:
    """How long the response took from when it was due, so that a late client is charged too.

    `t_end − t_scheduled`, in s. `None` where there is no schedule. Source: MLPerf LoadGen.

    >>> response_time_s(EXAMPLE)
    0.06
    """
    return _between(recording.t_scheduled_ns, recording.t_end_ns, S)


def dispatch_delay_ms(recording: Recording) -> float | None:
    """How late the client itself sent the request. `t_sent − t_scheduled`, in ms. `None` without a schedule.

    >>> dispatch_delay_ms(EXAMPLE)
    1.0
    """
    return _between(recording.t_scheduled_ns, recording.t_sent_ns, MS)


def ttfb_ms(recording: Recording) -> float | None:
    """Time to first byte: not yet a token, for role chunks and pings carry none.

    `t_first_byte − t_sent`, in ms. `None` where no byte was stamped.

    >>> ttfb_ms(EXAMPLE)
    2.0
    """
    return _between(recording.t_sent_ns, recording.t_first_byte_ns, MS)


def ttft_ms(recording: Recording) -> float | None:
    """Time to first token: how long one waits before any text appears, be it answer, reasoning or tool call.

    `t_first − t_sent`, in ms. `None` where no text came.

    >>> ttft_ms(EXAMPLE)
    20.0
    """
    first = _first(text_chunks(recording))
    return None if first is None else (first.t_ns - recording.t_sent_ns) / MS


def ttfo_ms(recording: Recording) -> float | None:
    """Time to first output: how long one waits for the answer proper, after any reasoning.

    `t_first_content − t_sent`, in ms. `None` where no content came.

    >>> ttfo_ms(EXAMPLE)
    20.0
    """
    first = _first(c for c in text_chunks(recording) if c.kind == "content")
    return None if first is None else (first.t_ns - recording.t_sent_ns) / MS


def tpot_ms(recording: Recording) -> float | None:
    """Time per output token, once the first has come.

    `(t_last − t_first) / (n − k1)`, in ms a token. `None` where n is unknown or not above k1, or where all text
    came in one chunk or was read at one instant: then no time passed between two stamps, however many tokens it holds.

    >>> tpot_ms(EXAMPLE)
    10.0
    """
    chunks, n = text_chunks(recording), n_output_tokens(recording)
    k1, _ = first_chunk_tokens(recording)
    if n is None or n <= k1 or len(chunks) < 2:
        return None
    return (chunks[-1].t_ns - chunks[0].t_ns) / MS / (n - k1) or None


def decode_tokens_per_s(recording: Recording) -> float | None:
    """Decode speed: how fast tokens follow the first, for one user. `1000 / TPOT`, in tokens/s.

    `None` where TPOT is.

    >>> decode_tokens_per_s(EXAMPLE)
    100.0
    """
    return _divide(1000.0, tpot_ms(recording))


def end_to_end_tokens_per_s(recording: Recording) -> float | None:
    """Tokens over the whole response time, prompt processing included: what many tools call TPS.

    `n / latency`, in tokens/s. `None` where n is unknown.

    >>> round(end_to_end_tokens_per_s(EXAMPLE), 1)
    67.8
    """
    return _divide(n_output_tokens(recording), latency_s(recording))


def icl_ms(recording: Recording) -> list[float]:
    """Inter-chunk latency: the gaps between consecutive chunks of the reply, one sample a gap, in ms.

    A gap is never split among tokens. Empty where fewer than two chunks came.

    >>> icl_ms(EXAMPLE)
    [10.0, 10.0, 10.0]
    """
    times = [c.t_ns for c in _pieces(recording)]
    return [(later - earlier) / MS for earlier, later in pairwise(times)]


def itl_ms(recording: Recording) -> list[float] | None:
    """Inter-token latency: the gaps between consecutive tokens, in ms.

    The same as ICL, and `None` unless every chunk was verified to be exactly one token.

    >>> itl_ms(EXAMPLE)
    [10.0, 10.0, 10.0]
    """
    n = n_output_tokens(recording)
    verified = recording.chunks_are_tokens and n in (None, len(_pieces(recording)))
    return icl_ms(recording) if verified else None


def prefill_estimate_tokens_per_s(recording: Recording) -> float | None:
    """The client's estimate of prompt speed: too low, for it counts queue, template and first token as prompt.

    `uncached prompt tokens / TTFT`, in tokens/s. `None` where either is unknown, or all were cached.

    >>> prefill_estimate_tokens_per_s(EXAMPLE)
    500.0
    """
    ttft = ttft_ms(recording)
    return _divide(_new_prompt_tokens(recording), None if ttft is None else ttft / 1000)


def _new_prompt_tokens(recording: Recording) -> int | None:
    """Prompt tokens less the cached ones; a cold cache holds none; None where that is unknown, or none is new."""
    n, cached = n_prompt_tokens(recording), n_cached_tokens(recording)
    if cached is None and recording.cache == "cold":
        cached = 0
    return None if n is None or cached is None or n <= cached else n - cached


# ---------------------------------------------------------------- one request, seen by the engine


@dataclass(frozen=True)
class EngineTimes:
    """An engine's own figures in one form: milliseconds and tokens; None where it gives none.

    `prefill_ms` is the prompt's evaluation, `prepare_ms` what came before it: template and tokens.
    `delivery_ms` is the way to the engine and back, where both sides have one clock. `n_decode_steps` are the steps whose time is in `decode_ms`. The first token comes out of the prompt's
    step, so an engine that counts it has one step fewer than tokens.
    """

    queue_ms: float | None = None
    load_ms: float | None = None
    prepare_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    sample_ms: float | None = None
    delivery_ms: float | None = None
    n_new_prompt: int | None = None
    n_decode_steps: int | None = None


def engine_times(recording: Recording) -> EngineTimes:
    """Read `server_timings` of llama.cpp in process, of llama-server, or of Ollama; all None for another.

    >>> engine_times(EXAMPLE).prefill_ms
    18.0
    """
    t = recording.server_timings
    if "total_duration" in t or "eval_duration" in t:
        return _ollama_times(recording)
    if "predicted_ms" in t:
        return _llama_server_times(recording)
    if "eval_ms" in t:
        return _llama_cpp_times(recording)
    return EngineTimes()


def _llama_cpp_times(recording: Recording) -> EngineTimes:
    """The counters of `llama_perf_context`, and the worker's stamps from the same clock as the client's.

    The model was loaded before and nobody else asks it: load and queue are 0, not unknown. (The counter
    `load_ms` is of no use here: it holds all that came before the first reply.) A prompt of which one token
    was new is booked as a decode step: its time is in `decode_ms`, and there is no prompt speed.
    """
    t, sent, end = recording.server_timings, recording.t_sent_ns, recording.t_end_ns
    booked_as_decoding = _new_prompt_tokens(recording) == 1
    received, prompt, done = (t.get(f"t_{name}_ns") for name in ("received", "prompt", "done"))
    stamped = None not in (received, prompt, done) and sent <= received <= prompt <= done <= end
    return EngineTimes(
        queue_ms=0.0,
        load_ms=0.0,
        prepare_ms=(prompt - received) / MS if stamped else None,
        prefill_ms=t.get("prompt_eval_ms"),
        decode_ms=t["eval_ms"],
        sample_ms=t.get("sample_ms"),
        delivery_ms=((received - sent) + (end - done)) / MS if stamped else None,
        n_new_prompt=None if booked_as_decoding else t.get("n_prompt_eval") or None,
        n_decode_steps=t.get("n_eval"),
    )


def _llama_server_times(recording: Recording) -> EngineTimes:
    """llama-server's `timings`: `prompt_n` leaves out cached tokens, `predicted_n` counts the first token."""
    t = recording.server_timings
    return EngineTimes(
        prefill_ms=t.get("prompt_ms"),
        decode_ms=t["predicted_ms"],
        n_new_prompt=t.get("prompt_n") or None,
        n_decode_steps=_one_less(t.get("predicted_n")),
    )


def _ollama_times(recording: Recording) -> EngineTimes:
    """Ollama's fields, in ns; it leaves out a zero. Waiting for a slot is in none of them, only in their total."""
    t = recording.server_timings
    load, prefill, decode = (t.get(f"{name}_duration", 0) for name in ("load", "prompt_eval", "eval"))
    total = t.get("total_duration")
    return EngineTimes(
        queue_ms=None if total is None else max(0, total - load - prefill - decode) / MS,
        load_ms=load / MS,
        prefill_ms=prefill / MS,
        decode_ms=decode / MS,
        n_new_prompt=_new_prompt_tokens(recording),
        n_decode_steps=_one_less(t.get("eval_count")),
    )


def _one_less(n: int | None) -> int | None:
    return None if n is None or n < 1 else n - 1


def prefill_tokens_per_s(recording: Recording) -> float | None:
    """Prompt speed as the engine measured it: how fast it reads. Cached tokens do not count.

    `new prompt tokens / prompt time`, in tokens/s. `None` where the engine gives no time, or where the cached
    count is unknown and the cache may be warm. Source: the engine's own timings.

    >>> round(prefill_tokens_per_s(EXAMPLE), 1)
    555.6
    """
    engine = engine_times(recording)
    return _divide(engine.n_new_prompt, None if engine.prefill_ms is None else engine.prefill_ms / 1000)


def engine_decode_tokens_per_s(recording: Recording) -> float | None:
    """Decode speed as the engine measured it, to stand beside the client's.

    `decode steps / decode time`, in tokens/s. The first token is no decode step: an engine that counts it but
    not its time reads high by n/(n − 1), so it is taken off. `None` where the engine gives no times.

    >>> round(engine_decode_tokens_per_s(EXAMPLE), 1)
    105.3
    """
    engine = engine_times(recording)
    return _divide(
        engine.n_decode_steps or None, None if engine.decode_ms is None else engine.decode_ms / 1000
    )


# ---------------------------------------------------------------- the ledger: where the time went


def ledger_ns(recording: Recording) -> dict[str, int | None]:
    """The ledger in whole nanoseconds, so that its parts sum exactly to the response time.

    >>> sum(part or 0 for part in ledger_ns(EXAMPLE).values())
    60000000
    """
    engine = engine_times(recording)
    scheduled, sent = recording.t_scheduled_ns, recording.t_sent_ns
    prefill_ms = _sum(engine.prefill_ms, engine.prepare_ms)
    decode_ms = _sum(engine.decode_ms, engine.sample_ms)
    known_ms = (engine.queue_ms, engine.load_ms, prefill_ms, decode_ms, engine.delivery_ms)
    parts = [None if scheduled is None else sent - scheduled]
    parts += [None if ms is None else round(ms * MS) for ms in known_ms]
    total = recording.t_end_ns - (sent if scheduled is None else scheduled)
    return dict(zip(LEDGER_PARTS, [*parts, total - sum(part or 0 for part in parts)], strict=True))


def _sum(main: float | None, extra: float | None) -> float | None:
    return None if main is None else main + (extra or 0.0)


def ledger(recording: Recording) -> dict[str, float | None]:
    """Where the time went: the engine's clock reconciled with the client's, in ms.

    `dispatch + queue + load + prefill + decode + delivery + unexplained = response time` (the latency where
    there is no schedule). A part is `None` where nobody measured it; its time is then in `unexplained`, which
    is shown, not hidden. Template and tokenising count as prefill, sampling as decode.

    >>> ledger(EXAMPLE)["decode"], ledger(EXAMPLE)["unexplained"]
    (38.5, 0.5)
    """
    return {part: None if ns is None else ns / MS for part, ns in ledger_ns(recording).items()}


def unexplained_share(recording: Recording) -> float | None:
    """The part of the response time that neither clock accounts for. A share from 0 to 1, without unit.

    `|unexplained| / response time`. `None` where the engine gives no times, for then nothing can be checked.

    >>> round(unexplained_share(EXAMPLE), 3)
    0.008
    """
    parts = ledger_ns(recording)
    if parts["prefill"] is None and parts["decode"] is None:
        return None
    return _divide(abs(parts["unexplained"]), sum(part or 0 for part in parts.values()))


def clock_faults(recording: Recording) -> list[str]:
    """What is impossible in a recording's stamps: time running backwards. Empty if all is well.

    A negative time to first token is never shown as a number: it is reported here, and voids the run.

    >>> clock_faults(EXAMPLE)
    []
    """
    stamps = [c.t_ns for c in recording.chunks]
    early, late = recording.t_sent_ns, recording.t_end_ns
    around = [t for t in (recording.t_headers_ns, recording.t_first_byte_ns, *stamps) if t is not None]
    found = []
    if late < early:
        found.append("the request ended before it was sent")
    if any(t < early for t in around):
        found.append("something arrived before the request was sent")
    if any(t > late for t in around):
        found.append("something arrived after the end")
    if any(b < a for a, b in pairwise(stamps)):
        found.append("chunks are not in the order of their times")
    return found


# ---------------------------------------------------------------- everything about one request


SCALARS = (
    latency_s, response_time_s, dispatch_delay_ms, ttfb_ms, ttft_ms, ttfo_ms, tpot_ms, decode_tokens_per_s,
    end_to_end_tokens_per_s, prefill_tokens_per_s, prefill_estimate_tokens_per_s, n_output_tokens,
    n_prompt_tokens, n_cached_tokens, engine_decode_tokens_per_s,
)  # fmt: skip

#: The keys of `measure`, in its order.
MEASURED = ("state", *(f.__name__ for f in SCALARS), "n_output_reported", "n_output_source",
            "first_chunk_tokens_assumed")  # fmt: skip


def measure(recording: Recording) -> dict[str, float | int | bool | str | None]:
    """All single numbers of one request, by name, with the state it ended in and who counted its tokens.

    `first_chunk_tokens_assumed` marks a TPOT for which k1 had to be taken as 1.

    >>> measure(EXAMPLE)["ttft_ms"], measure(EXAMPLE)["n_output_source"]
    (20.0, 'engine_tokenizer')
    """
    counted = recording.counts.get("output")
    return {
        "state": recording.state,
        **{f.__name__: f(recording) for f in SCALARS},
        "n_output_reported": _count(recording, "output_reported"),
        "n_output_source": None if counted is None else counted.source,
        "first_chunk_tokens_assumed": tpot_ms(recording) is not None and first_chunk_tokens(recording)[1],
    }


# ---------------------------------------------------------------- many requests, one at a time


def throughput_tokens_per_s(n_tokens: Sequence[int | None], latencies_s: Sequence[float]) -> float | None:
    """Tokens a second over many requests, one at a time: a ratio of sums, never an average of rates.

    `Σ n / Σ latency`, in tokens/s. The time of failed requests counts, their tokens are given as 0. `None`
    where a count is unknown or there is no time.

    >>> throughput_tokens_per_s([10, 90], [1.0, 1.0])
    50.0
    """
    if any(n is None or math.isnan(n) for n in n_tokens):
        return None
    return _divide(math.fsum(n_tokens), math.fsum(latencies_s))


def tokens_per_min(n_tokens: Sequence[int | None], latencies_s: Sequence[float]) -> float | None:
    """Throughput a minute (TPM). `60 × Σ n / Σ latency`, in tokens/min. `None` as for the throughput.

    >>> tokens_per_min([10, 90], [1.0, 1.0])
    3000.0
    """
    rate = throughput_tokens_per_s(n_tokens, latencies_s)
    return None if rate is None else 60 * rate


def cold_extra_s(cold_ttft_ms: float | None, warm_ttft_ms: Sequence[float]) -> float | None:
    """How much longer the first token takes right after the model was loaded: what an engine's load time leaves out.

    `(cold TTFT − median warm TTFT) / 1000`, in s. `None` where either is unknown.

    >>> cold_extra_s(620.0, [100.0, 120.0, 140.0])
    0.5
    """
    return (cold_ttft_ms - median(warm_ttft_ms)) / 1e3 if cold_ttft_ms is not None and warm_ttft_ms else None


def requests_per_min(n_completed: int, latencies_s: Sequence[float]) -> float | None:
    """How many requests are completed in a minute, one at a time.

    `60 × completed / Σ latency`, in requests/min; the time of failed requests counts. `None` without time.

    >>> requests_per_min(2, [0.8, 0.8])
    75.0
    """
    return _divide(60.0 * n_completed, math.fsum(latencies_s))


def seconds_per_correct(latencies_s: Sequence[float], correct: Sequence[bool | float]) -> float | None:
    """How long one waits, on average, for a correct answer: speed and quality in one number.

    `Σ latency / number correct`, in s; a wrong answer's time counts. Infinite where none is correct: shown as
    "never". `None` where nothing was judged. `correct` may hold shares of trials between 0 and 1.

    >>> seconds_per_correct([1.0, 1.0, 2.0], [True, False, True]), seconds_per_correct([1.0], [False])
    (2.0, inf)
    """
    if not len(correct):
        return None
    n_correct = math.fsum(correct)
    return math.fsum(latencies_s) / n_correct if n_correct else math.inf


def show_seconds_per_correct(seconds: float | None) -> str:
    """Seconds per correct answer as a person reads them.

    >>> show_seconds_per_correct(2.0), show_seconds_per_correct(float("inf")), show_seconds_per_correct(None)
    ('2.00 s', 'never', '–')
    """
    if seconds is None or math.isnan(seconds):
        return "–"
    return "never" if math.isinf(seconds) else f"{number(seconds)} s"
