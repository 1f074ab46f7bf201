"""Which type each tensor of a quantised file has, what the file weighs, and both foretold without the file.

A name such as `Q4_K_M` is a *mix*: llama.cpp's quantiser chooses a type for each tensor, by what the tensor does and
in which layer. Its rules: llama_tensor_get_type_impl in
https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp

Tensors are `(name, type, shape)` throughout, as in a file's header.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import ModelError, did_you_mean
from .gguf_header import BLOCKS, Header, tensor_bytes

Tensor = tuple[str, str, tuple[int, ...]]

#: The type that most tensors of a mix have, by the mix's name.
MIXES = {
    "F32": "F32", "BF16": "BF16", "F16": "F16", "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K_M": "Q5_K", "Q5_K_S": "Q5_K",
    "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "Q3_K_L": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_S": "Q3_K", "Q2_K": "Q2_K",
}  # fmt: skip

#: What a type becomes where a row is no whole number of its blocks: blocks of 32 instead of 256 weights.
FALLBACKS = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


# ---- what a file weighs ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """What one type has of a file."""

    type: str
    n_tensors: int
    n_parameters: int
    n_bytes: int


def mix_of(tensors: Iterable[Tensor]) -> tuple[Share, ...]:
    """The true mix of a file: how many tensors, parameters and bytes each type has, most bytes first.

    >>> mix_of([("a", "F32", (256,)), ("b", "Q4_K", (256, 10)), ("c", "Q4_K", (256, 20))])[0]
    Share(type='Q4_K', n_tensors=2, n_parameters=7680, n_bytes=4320)
    """
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for _, type, shape in tensors:
        shapes.setdefault(type, []).append(shape)
    shares = [
        Share(type, len(own), sum(map(math.prod, own)), sum(tensor_bytes(type, shape) for shape in own))
        for type, own in shapes.items()
    ]
    return tuple(sorted(shares, key=lambda share: -share.n_bytes))


def n_parameters(tensors: Iterable[Tensor]) -> int:
    """How many numbers the tensors hold."""
    return sum(math.prod(shape) for _, _, shape in tensors)


def n_bytes(tensors: Iterable[Tensor]) -> int:
    """How many bytes the tensors take, without the file's header and the padding between tensors."""
    return sum(tensor_bytes(type, shape) for _, type, shape in tensors)


def bits_per_weight(tensors: Iterable[Tensor]) -> float:
    """Effective bits a weight: 8 × bytes of all tensors / parameters. llama.cpp calls it BPW.

    >>> bits_per_weight([("norm", "F32", (256,)), ("matrix", "Q4_K", (256, 255))])
    4.607421875
    """
    tensors = tuple(tensors)
    if not n_parameters(tensors):
        raise ModelError("There are no weights, so there are no bits per weight.")
    return 8 * n_bytes(tensors) / n_parameters(tensors)


# ---- a model's shape -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Architecture:
    """The facts from which a Llama model's tensors follow.

    `tied`: the embedding doubles as the output. `head_dim` is width / n_head unless the model says otherwise;
    `rope_factors`: the file has a table of rotary frequencies, as Llama 3.1 and 3.2 do.
    """

    n_layer: int
    width: int
    ffn: int
    n_head: int
    n_head_kv: int
    vocabulary: int
    tied: bool
    head_dim: int | None = None
    rope_factors: bool = False

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Each tensor's name and shape, the length of a row first.

        >>> Architecture(1, 64, 128, 4, 2, 1000, tied=True).shapes()[3]
        ('blk.0.attn_q.weight', (64, 64))
        """
        table = (self.width, self.vocabulary)
        outside = [("token_embd", table), ("output_norm", (self.width,))]
        outside += [] if self.tied else [("output", table)]
        outside += [("rope_freqs", (self._head_dim // 2,))] if self.rope_factors else []
        layers = [(f"blk.{i}.{part}", shape) for i in range(self.n_layer) for part, shape in self._layer()]
        return [(f"{name}.weight", shape) for name, shape in outside + layers]

    def _layer(self) -> list[tuple[str, tuple[int, ...]]]:
        queries, keys = self.n_head * self._head_dim, self.n_head_kv * self._head_dim
        return [
            ("attn_norm", (self.width,)), ("attn_q", (self.width, queries)), ("attn_k", (self.width, keys)),
            ("attn_v", (self.width, keys)), ("attn_output", (queries, self.width)), ("ffn_norm", (self.width,)),
            ("ffn_gate", (self.width, self.ffn)), ("ffn_up", (self.width, self.ffn)),
            ("ffn_down", (self.ffn, self.width)),
        ]  # fmt: skip

    @property
    def _head_dim(self) -> int:
        return self.head_dim or self.width // self.n_head


def architecture_of(header: Header) -> Architecture:
    """The facts of a Llama model, from its file's header. Raises `ModelError` for other architectures."""
    facts, shapes = header.metadata, {name: shape for name, _, shape in header.tensors}
    if header.architecture != "llama" or len(shapes.get("token_embd.weight", ())) != 2:
        found = header.architecture or "none named"
        raise ModelError(f"Only tensors of the architecture 'llama' can be foretold; this file's is {found!r}.")
    try:
        model = Architecture(
            *(int(facts[f"llama.{key}"]) for key in _FACTS),
            n_head_kv=int(facts.get("llama.attention.head_count_kv", facts["llama.attention.head_count"])),
            vocabulary=shapes["token_embd.weight"][1], tied="output.weight" not in shapes,
            head_dim=int(facts.get("llama.attention.key_length", 0)) or None, rope_factors="rope_freqs.weight" in shapes,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The file does not say its architecture in full: {error}.") from None
    if min(model.n_layer, model.width, model.ffn, model.n_head, model.n_head_kv) < 1 or model.n_layer > len(shapes):
        raise ModelError(f"The file's own account of its architecture cannot be true: {model}.")
    return model


_FACTS = ("block_count", "embedding_length", "feed_forward_length", "attention.head_count")


# ---- the quantiser's choice ------------------------------------------------------------------------


def predict(model: Architecture, mix: str) -> tuple[Tensor, ...]:
    """The tensors of a model as llama.cpp's quantiser would write them: name, type, shape.

    Raises `ModelError` for an unknown mix.

    >>> llama_1b = Architecture(16, 2048, 8192, 32, 8, 128256, tied=True, rope_factors=True)
    >>> tensors = predict(llama_1b, "Q4_K_M")
    >>> f"{n_parameters(tensors):,} parameters, {n_bytes(tensors) / 1e9:.2f} GB, {bits_per_weight(tensors):.2f} bits"
    '1,235,814,432 parameters, 0.80 GB, 5.18 bits'
    """
    if mix not in MIXES:
        raise ModelError(f"{mix} is not a mix that benchkit knows{did_you_mean(mix, MIXES)}: {', '.join(MIXES)}.")
    return tuple((name, _type(model, mix, name, shape), shape) for name, shape in model.shapes())


def _type(model: Architecture, mix: str, name: str, shape: tuple[int, ...]) -> str:
    """The type of one tensor: what the mix wants, unless the length of a row forbids it."""
    if len(shape) < 2:  # norms are small, and stay as they are
        return "F32"
    base = MIXES[mix]
    if BLOCKS[base][0] == 1:
        return base
    if name == "output.weight" or (name == "token_embd.weight" and model.tied):
        fits = model.width % BLOCKS[base][0] == 0
        wanted = "Q6_K" if fits and base != "Q8_0" else "Q8_0"
    elif name == "token_embd.weight":
        wanted = base
    else:
        _, layer, part, _ = name.split(".")
        wanted = _wanted(model, mix, part, int(layer))
    return _fitting(wanted, shape[0])


def _wanted(model: Architecture, mix: str, part: str, layer: int) -> str:
    """The type that a mix gives to one matrix of one layer: three kinds of matrix get more bits than the rest."""
    n, more = model.n_layer, gets_more_bits(layer, model.n_layer)
    many_share_a_key = model.n_head // model.n_head_kv >= 4
    larger = {
        "attn_v": {
            "Q5_K_M": "Q6_K" if more else None,
            "Q4_K_M": "Q6_K" if more else None,
            "Q4_K_S": "Q5_K" if layer < 4 else None,
            "Q3_K_L": "Q5_K",
            "Q3_K_M": "Q5_K" if layer < 2 else "Q4_K",
            "Q2_K": "Q4_K" if many_share_a_key else "Q3_K",
        },
        "ffn_down": {
            "Q5_K_M": "Q6_K" if more else None,
            "Q4_K_M": "Q6_K" if more else None,
            "Q4_K_S": "Q5_K" if layer < n // 8 else None,
            "Q3_K_L": "Q5_K",
            "Q3_K_M": "Q5_K" if layer < n // 16 else "Q4_K",
            "Q2_K": "Q3_K",
        },
        "attn_output": {"Q3_K_L": "Q5_K", "Q3_K_M": "Q4_K", "Q2_K": "Q3_K"},
    }
    wanted = larger.get(part, {}).get(mix) or MIXES[mix]
    # A Llama of 80 layers with shared keys is the 70B model, whose attn_v is small: it gets 5 bits for little.
    is_70b = n == 80 and model.n_head != model.n_head_kv
    return "Q5_K" if is_70b and part == "attn_v" and wanted in ("Q3_K", "Q4_K") else wanted


def gets_more_bits(layer: int, n_layer: int) -> bool:
    """Whether the `_M` mixes of 4 and 5 bits give this layer a larger type: the first and last eighth, and every
    third between. Source: use_more_bits in llama-quant.cpp.

    >>> [layer for layer in range(16) if gets_more_bits(layer, 16)]
    [0, 1, 4, 7, 10, 13, 14, 15]
    """
    eighth = n_layer // 8
    return layer < eighth or layer >= 7 * n_layer // 8 or (layer - eighth) % 3 == 2


def _fitting(type: str, row: int) -> str:
    """The type, or the one that llama.cpp falls back to where a row is no whole number of blocks."""
    if row % BLOCKS[type][0] == 0:
        return type
    type = FALLBACKS.get(type, type)
    return type if row % BLOCKS[type][0] == 0 else "F16"
