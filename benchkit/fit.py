"""Will it run here, and how fast? Answered from a model's shape alone, before any download.

    forecast("llama-3.1-8b", "Q4_K_M").verdict      ->  "yes", "tight" or "no"

Memory follows from the tensors and the context. Speed needs two measurements of this machine: how fast it reads memory,
and how fast it works through each type of weights. `benchkit fit --calibrate` takes them (`benchkit.calibration`);
without them only an upper bound can be given, and it is called one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import machine
from .backends import locate, split_variant
from .backends.gguf import default_threads
from .errors import BenchkitError, ModelError, did_you_mean
from .gguf_header import Header, read_header, tensor_bytes
from .places import cache_folder
from .plan import Model, Plan, read_plan, ready_plans
from .quantize import type_name
from .tensors import MIXES, Architecture, Tensor, architecture_of, n_bytes, n_parameters, predict
from .text import number

MIB = 1024 * 1024

#: Architectures by name, from each model's published config.json.
KNOWN = {
    "llama-3.2-1b": Architecture(16, 2048, 8192, 32, 8, 128_256, tied=True, head_dim=64, rope_factors=True),
    "llama-3.2-3b": Architecture(28, 3072, 8192, 24, 8, 128_256, tied=True, head_dim=128, rope_factors=True),
    "llama-3.1-8b": Architecture(32, 4096, 14_336, 32, 8, 128_256, tied=False, head_dim=128, rope_factors=True),
}
KNOWN_CONTEXT = 131_072
#: What is foretold where no type is asked for.
USUAL_TYPES = ("Q8_0", "Q6_K", "Q4_K_M", "Q3_K_L")
#: From this share of the available memory on, a model that fits is called tight.
TIGHT = 0.85
#: llama.cpp works through a prompt in pieces of so many tokens (n_ubatch).
N_UBATCH = 512


# ---- which model is meant --------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """All of a model that memory and speed depend on: its tensors, and the numbers behind its cache and buffers."""

    name: str
    type: str
    tensors: tuple[Tensor, ...]
    n_layer: int
    width: int
    ffn: int
    n_head: int
    n_head_kv: int
    head_dim: int
    vocabulary: int
    n_ctx_train: int

    @property
    def read_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that are read for each token: of an embedding that is not the output too, one row only."""
        tied = all(name != "output.weight" for name, _, _ in self.tensors)
        return tuple(tensor for tensor in self.tensors if tied or tensor[0] != "token_embd.weight")


def facts_of(model: str | Architecture | Facts, type: str | None = None) -> Facts:
    """The facts of a model: a `gguf:…` file's own, a known name's (`llama-3.1-8b`), or typical ones of a size (`8B`).

    Raises `ModelError` for an unknown name, a damaged file, and an architecture or type that cannot be foretold.
    """
    if isinstance(model, Facts):
        return model
    if isinstance(model, Architecture):
        return _from_architecture("this model", model, type or "F16", KNOWN_CONTEXT)
    if model.startswith("gguf:"):
        return _from_file(model, type)
    name = next((name for name in KNOWN if name in model.lower()), None)
    architecture = KNOWN[name] if name else typical_llama(_parameters(model))
    return _from_architecture(name or f"a typical Llama of {model}", architecture, type or "Q4_K_M", KNOWN_CONTEXT)


def _from_architecture(name: str, model: Architecture, type: str, n_ctx_train: int) -> Facts:
    type = type.upper()
    head_dim = model.head_dim or model.width // model.n_head
    return Facts(name, type, predict(model, type), model.n_layer, model.width, model.ffn, model.n_head, model.n_head_kv,
                 head_dim, model.vocabulary, n_ctx_train)  # fmt: skip


def _from_file(name: str, type: str | None) -> Facts:
    """The facts of a file as it is; with a type, those of the variant that would be made of it."""
    where, variant = split_variant(name.removeprefix("gguf:"))
    path = locate(f"gguf:{where}")
    header = read_header(path)
    _check_whole(path, header)
    own = type_name(header.metadata.get("general.file_type")) or "its own mix"
    wanted = (type or variant or own).upper()
    if wanted != own.upper():
        if own not in ("F32", "F16", "BF16"):
            raise ModelError(f"{name} is {own} already, it cannot become {wanted}. Leave out the type, or name the F16 file.")
        return _from_architecture(name, architecture_of(header), wanted, header.n_ctx_train or 0)
    return _from_header(name, own, header)


def _from_header(name: str, type: str, header: Header) -> Facts:
    about = {key.partition(".")[2]: value for key, value in header.metadata.items()
             if key.startswith(f"{header.architecture}.")}  # fmt: skip
    keys = ("block_count", "embedding_length", "feed_forward_length", "attention.head_count")
    numbers = [about.get(key) for key in keys]
    n_head_kv = about.get("attention.head_count_kv", numbers[3])
    if not all(isinstance(n, int) and n > 0 for n in (*numbers, n_head_kv)) or about.get("expert_count"):
        raise ModelError(f"{name}: the architecture {header.architecture!r} cannot be foretold: experts, layers that "
                         "differ, or facts that are missing. Measure it instead.")  # fmt: skip
    head_dim = about.get("attention.key_length") or numbers[1] // numbers[3]
    vocabulary = next((shape[1] for key, _, shape in header.tensors if key == "token_embd.weight" and len(shape) == 2), 0)
    return Facts(name, type, header.tensors, *numbers, n_head_kv, head_dim, vocabulary, header.n_ctx_train or 0)


def _check_whole(path: Path, header: Header) -> None:
    """Refuse a file that a broken download cut short: its last tensor ends beyond it."""
    ends = [start + tensor_bytes(type, shape) for (_, type, shape), start in zip(header.tensors, header.positions)]
    if not ends or max(ends) > path.stat().st_size:
        raise ModelError(f"{path} is not a whole GGUF file: {path.stat().st_size:,} bytes, {max(ends, default=0):,} "
                         "are needed. A download may have broken off: get it again.")  # fmt: skip


def _parameters(text: str) -> float:
    """A count of parameters as people write it.

    >>> _parameters("8B"), _parameters("1.24b"), _parameters("350M")
    (8000000000.0, 1240000000.0, 350000000.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([BM])", text.strip(), re.IGNORECASE)
    n = float(found[1]) * {"B": 1e9, "M": 1e6}[found[2].upper()] if found else 0.0
    if not 50e6 <= n <= 1000e9:
        names = [*KNOWN, *ready_plans()]
        raise ModelError(
            f"{text!r} is no model that can be foretold{did_you_mean(text.lower(), names)}. Give gguf:NAME or gguf:PATH "
            f"for a file, a known name ({', '.join(KNOWN)}), a number of parameters from 50M to 1000B such as 8B, or a "
            f"plan ({', '.join(ready_plans())})."
        )
    return n


def typical_llama(n: float) -> Architecture:
    """A Llama of about n parameters, in the proportions of Llama 3: width 128 a layer, four query heads a key head.

    The feed-forward width, a multiple of 256, makes up what is missing.

    >>> model = typical_llama(8e9)
    >>> model.n_layer, model.width, round(n_parameters(predict(model, "F16")) / 1e9, 2)
    (32, 4096, 8.03)
    """
    tied, vocabulary = n < 4e9, 128_256 if n >= 0.5e9 else 32_000
    tables = vocabulary * (1 if tied else 2)
    layers = [i for i in range(4, 161, 2) if tables * 128 * i < 0.9 * n]
    n_layer = min(layers, key=lambda i: abs(tables * 128 * i + 13 * i * (128 * i) ** 2 - n))
    width, heads = 128 * n_layer, n_layer
    shared = max(1, heads // 4)
    attention = 2 * width * width + 2 * width * 128 * shared
    ffn = ((n - tables * width) / n_layer - attention) / (3 * width)
    return Architecture(n_layer, width, max(256, round(ffn / 256) * 256), heads, shared, vocabulary, tied, head_dim=128)


# ---- memory: the formulas --------------------------------------------------------------------------


def kv_cache_bytes(n_layer: int, n_ctx: int, n_head_kv: int, head_dim: int) -> int:
    """Bytes of the keys and values of n_ctx tokens: 2 · n_layer · n_ctx · n_head_kv · head_dim · 2 bytes (F16).

    llama.cpp rounds n_ctx up to a multiple of 256. Source: llama-kv-cache.cpp, llama-context.cpp of llama.cpp.

    >>> kv_cache_bytes(32, 2000, 8, 128) / 2**20  # MiB; Llama-3.1-8B
    256.0
    """
    return 2 * n_layer * _padded(n_ctx) * n_head_kv * head_dim * 2


def _padded(n_ctx: int) -> int:
    return -(-n_ctx // 256) * 256


def repacked_types(features: Mapping[str, str]) -> set[str]:
    """The types of which llama.cpp keeps a second copy, in the order that this CPU's instructions want.

    `features` are llama.cpp's own words (`machine.llama_cpp_features()`). Source:
    ggml_repack_get_optimal_repack_type in ggml-cpu/repack.cpp of llama.cpp (that of llama-cpp-python 0.3.36).

    >>> sorted(repacked_types({"AVX2": "1", "REPACK": "1"})), sorted(repacked_types({"AVX2": "1"}))
    (['IQ4_NL', 'MXFP4', 'Q4_0', 'Q4_K'], [])
    """
    on = {name for name, value in features.items() if value not in ("", "0")}
    if "REPACK" not in on:
        return set()
    types = {"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"} if "AVX2" in on else set()
    types |= {"Q2_K"} if "AVX512" in on else set()
    if "NEON" in on and on & {"DOTPROD", "MATMUL_INT8"}:
        types |= {"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0"} | ({"IQ4_NL", "MXFP4"} if "DOTPROD" in on else set())
    return types


def repacked_bytes(tensors: Iterable[Tensor], features: Mapping[str, str]) -> int:
    """Bytes of the second copy: of each matrix of such a type with rows in eights. The file's pages stay as well.

    An embedding that is only looked up is not repacked; one that doubles as the output is.

    >>> repacked_bytes([("blk.0.ffn_up.weight", "Q4_K", (256, 8))], {"AVX2": "1", "REPACK": "1"})
    1152
    """
    tensors, types = tuple(tensors), repacked_types(features)
    tied = all(name != "output.weight" for name, _, _ in tensors)
    return sum(
        tensor_bytes(type, shape)
        for name, type, shape in tensors
        if type in types and len(shape) == 2 and shape[1] % 8 == 0 and (tied or name != "token_embd.weight")
    )


def compute_bytes(width: int, ffn: int, n_query: int, n_key: int, n_ctx: int) -> int:
    """Bytes of llama.cpp's compute buffer that a prompt of 512 tokens or more fills.

    A layer's largest moment is its feed-forward part: for each token two rows of the model's width and three of the
    feed-forward width in F32, and one of that in the 8 or 16 bits that the weights are multiplied with. Attention needs
    the residual, queries, keys, values and their sum. Beside either stands the mask, 2 bytes for each pair of tokens.
    (llama.cpp also sets aside n_ubatch × vocabulary × 4 bytes for logits. It is never touched where only the last
    token's are asked for, as here, so it takes no memory.) Source: llm_build_llama and build_ffn of llama.cpp, checked
    against resident memory at seven shapes.

    >>> round(compute_bytes(2048, 8192, 2048, 512, 2048) / 2**20)  # MiB; Llama-3.2-1B
    66
    """
    n = min(N_UBATCH, _padded(n_ctx))
    feed_forward, attention = 8 * width + 14 * ffn, 4 * (width + 2 * n_query + 2 * n_key)
    return n * max(feed_forward, attention) + 2 * n * _padded(n_ctx)


@dataclass(frozen=True)
class Memory:
    """What a loaded model needs, part by part, in MiB (2²⁰ bytes)."""

    weights_mib: float
    repacked_mib: float
    kv_cache_mib: float
    compute_mib: float
    tokenizer_mib: float
    logits_mib: float
    process_mib: float

    @property
    def total_mib(self) -> float:
        """All parts together."""
        return sum(asdict(self).values())


#: Bytes for each word of the vocabulary, measured: its text twice, its number, a merge; and its logit, a copy of it,
#: and its place among the sampler's candidates.
TOKENIZER_BYTES, LOGITS_BYTES = 280, 16
#: A worker with Python and llama.cpp, and no model yet. Measured on Linux; `--calibrate` measures it here.
PROCESS_MIB = 34.5


def memory_of(model: Facts, n_ctx: int, features: Mapping[str, str], process_mib: float = PROCESS_MIB) -> Memory:
    """The memory that a model needs with a context of n_ctx tokens, on a CPU with these features."""
    query, key = model.n_head * model.head_dim, model.n_head_kv * model.head_dim
    return Memory(
        weights_mib=n_bytes(model.tensors) / MIB,
        repacked_mib=repacked_bytes(model.tensors, features) / MIB,
        kv_cache_mib=kv_cache_bytes(model.n_layer, n_ctx, model.n_head_kv, model.head_dim) / MIB,
        compute_mib=compute_bytes(model.width, model.ffn, query, key, n_ctx) / MIB,
        tokenizer_mib=model.vocabulary * TOKENIZER_BYTES / MIB,
        logits_mib=model.vocabulary * LOGITS_BYTES / MIB,
        process_mib=process_mib,
    )


def verdict(needed_mib: float, available_mib: float, given_back_mib: float = 0.0) -> tuple[str, str]:
    """Whether so much memory is there: "yes", "tight" (less than 15 % to spare) or "no", and why in a sentence.

    `given_back_mib` of it are pages of the file that the system can take back, because a repacked copy is used instead.

    >>> verdict(850, 1000)[0], verdict(851, 1000)[0], verdict(1001, 1000)[0], verdict(1001, 1000, given_back_mib=1)[0]
    ('yes', 'tight', 'no', 'tight')
    """
    amounts = f"it needs {needed_mib:,.0f} MiB of the {available_mib:,.0f} MiB that are available"
    if needed_mib - given_back_mib > available_mib:
        return "no", f"It does not fit: {amounts}. Take a smaller type or context, or close other programs."
    if needed_mib > TIGHT * available_mib:
        return "tight", f"It fits only just: {amounts}. Close other programs before you measure."
    return "yes", f"It fits: {amounts}."


# ---- speed: the formulas ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Rates:
    """What was measured on this machine with so many threads, on a model made for it.

    `decode_gb_s`: how fast each type's weights are worked through, one token at a time; `prefill_gflop_s`: how fast
    they are multiplied with a prompt's tokens, and `attention_gflop_s` a prompt's tokens with each other; `kv_gb_s`: how
    fast attention reads the KV cache; `layer_us`: what a layer costs beside its weights. GB are 10⁹ bytes.
    """

    cpu: str
    n_threads: int
    engine: str
    decode_gb_s: dict[str, float]
    prefill_gflop_s: dict[str, float]
    attention_gflop_s: float
    kv_gb_s: float
    layer_us: float
    process_mib: float = PROCESS_MIB
    measured_at: str = ""


def decode_s(bytes_by_type: Mapping[str, int], gb_s: Mapping[str, float], kv_bytes: int = 0, kv_gb_s: float = math.inf,
             fixed_s: float = 0.0) -> float:  # fmt: skip
    """Seconds for one token: Σ bytes read of each type / that type's rate + KV bytes / their rate + a fixed cost.

    Rates in GB/s (10⁹ bytes). Source: each token reads every weight once, and the roofline model (Williams,
    Waterman & Patterson 2009, https://doi.org/10.1145/1498765.1498785) with a measured roof for each type.

    >>> round(decode_s({"Q4_K": 600_000_000, "Q6_K": 150_000_000}, {"Q4_K": 30, "Q6_K": 25}), 6)
    0.026
    """
    weights_s = sum(size / (gb_s[type] * 1e9) for type, size in bytes_by_type.items())
    return weights_s + kv_bytes / (kv_gb_s * 1e9) + fixed_s


def prefill_s(parameters_by_type: Mapping[str, int], gflop_s: Mapping[str, float]) -> float:
    """Seconds for each token of a prompt: 2 · parameters / arithmetic rate, type by type (10⁹ operations a second).

    A multiplication and an addition for each weight; `attention_s` comes on top.
    Source: Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, table 1.

    >>> prefill_s({"Q4_K": 1_000_000_000}, {"Q4_K": 200})
    0.01
    """
    return sum(2 * n / (gflop_s[type] * 1e9) for type, n in parameters_by_type.items())


def attention_s(n_layer: int, n_prompt: int, n_query: int, gflop_s: float) -> float:
    """Seconds of attention for each token of a prompt: 4 · n_layer · n_prompt/2 · n_query operations / their rate.

    Each query meets on average half the prompt's keys, then their values; n_query is heads times head size.
    Source: as for `prefill_s`.

    >>> attention_s(16, 512, 2048, gflop_s=100)
    0.00033554432
    """
    return 4 * n_layer * n_prompt / 2 * n_query / (gflop_s * 1e9)


def bytes_by_type(tensors: Iterable[Tensor]) -> dict[str, int]:
    """Bytes of each type, norms and other vectors left out: they are too small to matter."""
    return _sums((type, tensor_bytes(type, shape)) for _, type, shape in tensors if len(shape) > 1)


def prefill_parameters(tensors: Iterable[Tensor]) -> dict[str, int]:
    """Parameters of each type that every token of a prompt is multiplied with: the layers' matrices."""
    return _sums(
        (type, math.prod(shape)) for name, type, shape in tensors if len(shape) > 1 and name.startswith("blk.")
    )


def _sums(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for type, n in pairs:
        sums[type] = sums.get(type, 0) + n
    return sums


def score(predicted: float, measured: float) -> float:
    """How far a forecast was off, as a share of what was measured: above 0 where too much was foretold.

    >>> score(predicted=110, measured=100)
    0.1
    """
    if not measured > 0:
        raise BenchkitError(f"A forecast is scored against something measured, above 0; this is {measured!r}.")
    return round(predicted / measured - 1, 12)


# ---- the forecast ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forecast:
    """Will it run, and how fast? Memory in MiB, speeds in tokens a second; `depth`: tokens in the context by then.

    Prefill is that of a prompt of 512 tokens, or of the context if that is smaller. Where nothing was calibrated, `decode_tokens_per_s` is an upper bound and `prefill_tokens_per_s` is None.
    """

    model: str
    type: str
    n_parameters: int
    n_ctx: int
    depth: int
    n_threads: int
    memory: Memory
    available_mib: float
    verdict: str
    reason: str
    decode_tokens_per_s: float
    prefill_tokens_per_s: float | None
    is_upper_bound: bool

    def to_dict(self) -> dict[str, Any]:
        """The forecast as plain JSON values."""
        row = asdict(self)
        row["memory"]["total_mib"] = self.memory.total_mib
        return row


def forecast(
    model: str | Architecture | Facts,
    type: str | None = None,
    n_ctx: int | None = None,
    *,
    depth: int | None = None,
    n_threads: int | None = None,
    rates: Rates | None = None,
    available_mib: float | None = None,
    bandwidth_gb_s: float | None = None,
) -> Forecast:
    """Foretell memory and speed of a model on this machine, without loading it.

    The context defaults to what a backend would take (2,048 tokens, or fewer if the model was trained on fewer); the
    decode speed is that at half the context. Rates default to those that `--calibrate` kept. Raises `ModelError` for a
    model that cannot be foretold and `BenchkitError` for a context larger than trained.
    """
    facts = facts_of(model, type)
    n_ctx = _context(facts, n_ctx)
    depth = n_ctx // 2 if depth is None else depth
    n_threads = _threads(n_threads)
    rates = rates or kept_rates(n_threads)
    features = machine.llama_cpp_features() or {}
    memory = memory_of(facts, n_ctx, features, rates.process_mib if rates else PROCESS_MIB)
    available = machine.available_mib() if available_mib is None else available_mib
    read = bytes_by_type(facts.read_tensors)
    is_bound = rates is None or not set(read) <= set(rates.decode_gb_s)
    kv = 2 * facts.n_layer * depth * facts.n_head_kv * facts.head_dim * 2
    if is_bound:
        bound = bandwidth_gb_s or machine.memory_bandwidth_gb_s(n_threads)
        token_s = decode_s(read, dict.fromkeys(read, bound), kv, bound)
    else:
        token_s = decode_s(read, rates.decode_gb_s, kv, rates.kv_gb_s, facts.n_layer * rates.layer_us / 1e6)
    return Forecast(
        facts.name, facts.type, n_parameters(facts.tensors), n_ctx, depth, n_threads, memory, available,
        *verdict(memory.total_mib, available, memory.repacked_mib), 1 / token_s, _prefill_speed(facts, rates, n_ctx), is_bound,
    )  # fmt: skip


def _prefill_speed(facts: Facts, rates: Rates | None, n_ctx: int) -> float | None:
    parameters = prefill_parameters(facts.tensors)
    if rates is None or not set(parameters) <= set(rates.prefill_gflop_s):
        return None
    n_prompt, n_query = min(N_UBATCH, n_ctx), facts.n_head * facts.head_dim
    attention = attention_s(facts.n_layer, n_prompt, n_query, rates.attention_gflop_s)
    return 1 / (prefill_s(parameters, rates.prefill_gflop_s) + attention + facts.n_layer * rates.layer_us / 1e6 / n_prompt)


def _context(facts: Facts, n_ctx: int | None) -> int:
    most = facts.n_ctx_train or 1 << 20
    n_ctx = min(2048, most) if n_ctx is None else n_ctx
    if not 8 <= n_ctx <= most:
        raise BenchkitError(f"A context of {n_ctx:,} tokens cannot be had: {facts.name} was trained on {most:,}. "
                            f"Ask for 8 to {most:,}.")  # fmt: skip
    return n_ctx


def _threads(n_threads: int | None) -> int:
    if n_threads is not None and not 1 <= n_threads <= 1024:
        raise BenchkitError(f"{n_threads} threads are not possible: 1 to 1024, or leave it out for the physical cores.")
    return n_threads or default_threads()


def fit(
    model: str, types: Iterable[str] = (), n_ctx: int | None = None, n_threads: int | None = None
) -> list[Forecast]:
    """The forecasts that `benchkit fit` shows: of one model in one type or several, or of a ready plan's models."""
    rates = kept_rates(_threads(n_threads))
    bandwidth = None if rates else machine.memory_bandwidth_gb_s(_threads(n_threads))
    settings = {"n_ctx": n_ctx, "n_threads": n_threads, "rates": rates, "bandwidth_gb_s": bandwidth,
                "available_mib": machine.available_mib()}  # fmt: skip
    return [forecast(facts, **settings) for facts in _asked_for(model, list(types))]


def _asked_for(model: str, types: list[str]) -> list[Facts]:
    unknown = next((type for type in types if type.upper() not in MIXES), None)
    if unknown:
        hint = did_you_mean(unknown.upper(), MIXES)
        raise ModelError(f"{unknown} is not a type that can be foretold{hint}: {', '.join(MIXES)}.")
    if model in ready_plans() or model.lower().endswith((".yaml", ".yml", ".json")):
        plan = read_plan(model)
        return [_from_plan(plan, entry, type) for entry in plan.models for type in types or [None]]
    if not types and not model.startswith("gguf:"):
        types = list(USUAL_TYPES)
    return [facts_of(model, type) for type in types or [None]]


def _from_plan(plan: Plan, entry: Model, type: str | None) -> Facts:
    """The facts of a plan's model: the file's own if it is here, otherwise those of the model in its name."""
    known = next((name for name in KNOWN if name in entry.name.lower()), None)
    if known and entry.label in plan.missing():
        return facts_of(known, type or entry.type)
    return facts_of(plan.where(entry), type)


# ---- what is kept, and what is shown ---------------------------------------------------------------


def engine_build() -> str:
    """The llama.cpp build that rates hold for: its version, and the instructions it was compiled with."""
    features = machine.llama_cpp_features() or {}
    on = " ".join(sorted(name for name, value in features.items() if value not in ("", "0")))
    return f"llama-cpp-python {machine.version('llama-cpp-python')}: {on}"


def rates_file(n_threads: int) -> Path:
    """Where the rates for this CPU, llama.cpp build and number of threads are kept."""
    from hashlib import sha256

    key = sha256(f"{machine.cpu_model()}|{n_threads}|{engine_build()}".encode()).hexdigest()[:16]
    return cache_folder() / "rates" / f"{key}.json"


def keep_rates(rates: Rates) -> Path:
    """Write rates to the cache folder: all of the file, or nothing."""
    path = rates_file(rates.n_threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(rates), indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def kept_rates(n_threads: int | None = None) -> Rates | None:
    """The rates that were measured on this machine; None if there are none, or the file is damaged."""
    try:
        return Rates(**json.loads(rates_file(_threads(n_threads)).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def as_text(forecasts: list[Forecast]) -> str:
    """What `benchkit fit` prints: one model part by part, or several models a line each."""
    lines = _parts(forecasts[0]) if len(forecasts) == 1 else _table(forecasts)
    if any(f.is_upper_bound for f in forecasts):
        lines += ["≤: an upper bound, from the bandwidth of this machine's memory alone. `benchkit fit --calibrate` "
                  "measures what each type reaches here (about two minutes)."]  # fmt: skip
    return "\n".join(lines)


#: What each part of the memory is called.
PART_NAMES = {
    "weights_mib": "weights", "repacked_mib": "second copy, repacked for this CPU", "kv_cache_mib": "KV cache",
    "compute_mib": "compute buffers", "tokenizer_mib": "tokenizer", "logits_mib": "logits",
    "process_mib": "the process itself",
}  # fmt: skip


def _parts(f: Forecast) -> list[str]:
    parts = [f"  {name:<36}{getattr(f.memory, key):>10,.1f} MiB" for key, name in PART_NAMES.items()]
    return [
        f"{f.model}, {f.type}: {_millions(f.n_parameters)} parameters, a context of {f.n_ctx:,} tokens",
        *parts,
        f"  {'together':<36}{f.memory.total_mib:>10,.1f} MiB",
        f"Will it run? {f.verdict}. {f.reason}",
        f"Decode  {_speed(f)} tok/s with {f.depth:,} tokens in the context, {f.n_threads} threads",
        f"Prefill {number(f.prefill_tokens_per_s)} tok/s for a prompt of {min(N_UBATCH, f.n_ctx)} tokens",
    ]


def _millions(n: int) -> str:
    return f"{n / 1e9:,.2f} billion" if n >= 1e9 else f"{n / 1e6:,.3g} million"


def _table(forecasts: list[Forecast]) -> list[str]:
    wide = max(len(f.model) for f in forecasts)
    head = f"{'model':<{wide}}  {'type':<8}{'memory MiB':>12}  {'fits':<6}{'decode tok/s':>14}{'prefill tok/s':>15}"
    rows = [
        f"{f.model:<{wide}}  {f.type:<8}{f.memory.total_mib:>12,.0f}  {f.verdict:<6}{_speed(f):>14}"
        f"{number(f.prefill_tokens_per_s):>15}"
        for f in forecasts
    ]
    about = f"{forecasts[0].available_mib:,.0f} MiB available; a context of {forecasts[0].n_ctx:,} tokens, half full"
    return [head, *rows, about]


def _speed(f: Forecast) -> str:
    return ("≤ " if f.is_upper_bound else "") + number(f.decode_tokens_per_s)
