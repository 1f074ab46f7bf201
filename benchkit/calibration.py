"""How fast this machine works through each type of weights, measured once and kept: what `benchkit fit` foretells from.

The models measured are made here, of random weights: one wide layer, quantised to each type and repeated until it is
far larger than the caches. A mix such as Q2_K has several types in it; the types are measured in such an order that
each mix has one type whose rate is not known yet, and its time is what the others leave.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from . import machine, metrics
from .backends import Options, connect
from .errors import BenchkitError
from .fit import (
    Rates,
    attention_s,
    bytes_by_type,
    decode_s,
    engine_build,
    facts_of,
    keep_rates,
    memory_of,
    prefill_parameters,
    prefill_s,
)
from .fit import _threads as threads_or_default
from .places import cache_folder
from .quantize import quantize
from .random_llama import repeat_layer, write_random_llama
from .tensors import Architecture

#: One wide layer, in the proportions of a Llama of 1 B parameters; measured with four of them.
WIDE, N_WIDE = Architecture(1, 2048, 8192, 32, 8, 1024, tied=False), 4
#: Layers whose weights are next to nothing: what they cost is the cost of a layer, and of its KV cache.
THIN = Architecture(16, 64, 64, 8, 2, 512, tied=True, head_dim=128)
#: Each has one type that those before it do not have.
MIXES = ("F16", "Q8_0", "Q6_K", "Q5_K_S", "Q4_K_S", "Q3_K_S", "Q2_K")
N_PROMPT, N_DEEP, N_OUTPUT, REPEATS = 256, 1024, 24, 5
#: A reply that takes longer ends the calibration: the machine is far too busy for rates that mean anything.
REPLY_LIMIT_S = 60


def calibrate(n_threads: int | None = None, say: Callable[[str], None] = lambda text: None) -> Rates:
    """Measure this machine's rates and keep them in the cache folder. Takes about two minutes and 0.7 GB of disk."""
    n_threads = threads_or_default(n_threads)
    others = machine.busy()
    if others.busy:
        say(f"this machine is busy: {others}. Rates taken now are too low; close what runs, and calibrate again.")
    say("measuring this machine: about two minutes on a quiet one …")
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="calibration-") as folder:
        thin = _thin(Path(folder), n_threads)
        source = write_random_llama(Path(folder) / "F16.gguf", WIDE)
        decode, prefill = {}, {}
        for mix in MIXES:
            _measure_mix(source, mix, n_threads, thin, decode, prefill)
            newest = list(decode)[-1]
            say(f"{newest}: decode {decode[newest]:.1f} GB/s, prefill {prefill[newest]:.0f} GFLOP/s")
    rates = Rates(
        machine.cpu_model(), n_threads, engine_build(), decode, prefill, **thin, measured_at=machine.now_iso()
    )
    keep_rates(rates)
    return rates


def _measure_mix(
    source: Path, mix: str, n_threads: int, thin: dict[str, float], decode: dict[str, float], prefill: dict[str, float]
) -> None:
    """Measure one mix, and add the rate of its new type to what is known."""
    folder = source.parent
    one = source if mix == "F16" else quantize(source, mix, folder / "one.gguf")
    path = repeat_layer(one, folder / "many.gguf", N_WIDE)
    facts = facts_of(f"gguf:{path}")
    decode_token_s, prefill_token_s = _speeds(path, n_threads, N_PROMPT)
    fixed_s = facts.n_layer * thin["layer_us"] / 1e6
    prefill_token_s -= attention_s(
        facts.n_layer, N_PROMPT, facts.n_head * facts.head_dim, thin["attention_gflop_s"]
    )
    decode |= new_rate(bytes_by_type(facts.read_tensors), decode_token_s - fixed_s, decode, decode_s)
    prefill |= new_rate(prefill_parameters(facts.tensors), prefill_token_s, prefill, prefill_s)


def new_rate(
    amounts: Mapping[str, int],
    seconds: float,
    known: Mapping[str, float],
    time_of: Callable[[Mapping[str, int], Mapping[str, float]], float],
) -> dict[str, float]:
    """The rate of the one type that is not known yet, from the time that the known ones leave.

    >>> new_rate({"Q4_K": 3_000_000_000, "Q6_K": 1_000_000_000}, 0.14, {"Q6_K": 25.0}, decode_s)
    {'Q4_K': 30.0}
    """
    (new,) = set(amounts) - set(known)
    left_s = seconds - time_of({type: n for type, n in amounts.items() if type != new}, known)
    if left_s <= 0:
        raise BenchkitError(f"The rate of {new} could not be measured: other programs disturbed it. Run it again.")
    return {new: round(time_of({new: amounts[new]}, {new: 1.0}) / left_s, 3)}


def _thin(folder: Path, n_threads: int) -> dict[str, float]:
    """What does not depend on weights: a layer in µs, reading the KV cache, attention in a prompt, the process."""
    path = write_random_llama(folder / "thin.gguf", THIN)
    shallow_s, _ = _speeds(path, n_threads, 8)
    deep_s, prefill_token_s = _speeds(path, n_threads, N_DEEP)
    if deep_s <= shallow_s:
        raise BenchkitError("A deep context was not slower than a shallow one: other programs disturbed it. Run it again.")
    kv_bytes = 2 * THIN.n_layer * (N_DEEP - 8) * THIN.n_head_kv * THIN.head_dim * 2
    needed = memory_of(facts_of(f"gguf:{path}"), N_DEEP + 80, machine.llama_cpp_features() or {}, process_mib=0.0)
    return {
        "attention_gflop_s": attention_s(THIN.n_layer, N_DEEP, THIN.n_head * THIN.head_dim, 1.0) / prefill_token_s,
        "kv_gb_s": kv_bytes / (deep_s - shallow_s) / 1e9,
        "layer_us": 1e6 * shallow_s / THIN.n_layer,
        "process_mib": _peak_mib(path, n_threads) - needed.total_mib,
    }


def _speeds(path: Path, n_threads: int, n_prompt: int, n_output: int = N_OUTPUT) -> tuple[float, float]:
    """Seconds a token in decode and in prefill: medians of a few replies, after one that does not count.

    Medians, because a forecast is of what a run will report, and that is a median too: with the fastest reply every
    forecast would be too fast.
    """
    options = Options(max_tokens=n_output, ignore_eos=True, raw=True, timeout_s=REPLY_LIMIT_S)
    with connect(f"gguf:{path}", n_ctx=N_DEEP + 80, n_threads=n_threads) as model:
        model.stream("7" * 8, Options(max_tokens=32, ignore_eos=True, raw=True, timeout_s=REPLY_LIMIT_S))
        replies = [model.stream("7" * n_prompt, options) for _ in range(REPEATS)]
    failed = next((reply for reply in replies if reply.state != "length"), None)
    if failed:
        raise BenchkitError(f"The calibration model could not be measured: {failed.error or failed.state}. Close other "
                            "programs and run `benchkit fit --calibrate` again; rates measured earlier are kept.")  # fmt: skip
    decode = statistics.median(metrics.decode_tokens_per_s(reply) for reply in replies)
    prefill = statistics.median(metrics.prefill_tokens_per_s(reply) for reply in replies)
    return 1 / decode, 1 / prefill


def _peak_mib(path: Path, n_threads: int) -> float:
    """The most that the worker held while it read a full batch."""
    with connect(f"gguf:{path}", n_ctx=N_DEEP + 80, n_threads=n_threads) as model:
        with machine.MemorySampler(model.pids(), model.baseline_mib) as sampler:
            model.stream("7" * N_DEEP, Options(max_tokens=4, ignore_eos=True, raw=True))
        found = sampler.result()
    source = found.get("process_high_water") or found["process"]
    return source["total_peak_mib"]
