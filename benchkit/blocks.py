"""How quantised weights lie in a file, and how they become numbers again.

A row of weights is cut into blocks; a block holds small whole numbers `q`, and what they must be multiplied by.
Every type that benchkit decodes follows one formula, where a type without minimums has `min = 0`:

    weight = d · scale · q − dmin · min

`d` and `dmin` are one number a block, `scale` and `min` one a group of 16 or 32 weights.
Layouts: ggml's block structs, https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import ModelError, did_you_mean
from .gguf_header import read_header, tensor_bytes

# ---- the layouts, as data --------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Some neighbouring bytes of a block: ggml's name for them, where they begin, and what they mean."""

    name: str
    offset: int  # bytes from the beginning of the block
    n_bytes: int
    meaning: str


@dataclass(frozen=True)
class Layout:
    """How one type stores a block of weights."""

    type: str
    n_weights: int
    weight: str  # the formula
    parts: tuple[Part, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of a block."""
        return sum(part.n_bytes for part in self.parts)

    @property
    def bits_per_weight(self) -> float:
        """What one weight costs, its share of scales and minimums included."""
        return 8 * self.n_bytes / self.n_weights


def _layout(type: str, n_weights: int, weight: str, *parts: tuple[str, int, str]) -> Layout:
    placed, offset = [], 0
    for name, n_bytes, meaning in parts:
        placed.append(Part(name, offset, n_bytes, meaning))
        offset += n_bytes
    return Layout(type, n_weights, weight, tuple(placed))


_D = ("d", 2, "scale of the whole block, a 16-bit float")
_DMIN = ("dmin", 2, "scale of the minimums, a 16-bit float")
_SCALES_AND_MINS = ("scales", 12, "8 scales and 8 minimums of 6 bits, one of each a group of 32 weights")

#: The types that benchkit decodes, largest first.
LAYOUTS = {
    layout.type: layout
    for layout in (
        _layout("F32", 1, "w", ("w", 4, "the weight, a 32-bit float")),
        _layout("F16", 1, "w", ("w", 2, "the weight, a 16-bit float: 5 bits of exponent, 10 of fraction")),
        _layout("BF16", 1, "w", ("w", 2, "the weight, the upper half of a 32-bit float: 8 bits of exponent, 7 of fraction")),
        _layout("Q8_0", 32, "d · q", _D, ("qs", 32, "32 whole numbers q from −127 to 127, 8 bits each")),
        _layout(
            "Q6_K", 256, "d · scale · (q − 32)",
            ("ql", 128, "lower 4 bits of 256 numbers q, two in a byte"),
            ("qh", 64, "upper 2 bits of the same numbers, four in a byte"),
            ("scales", 16, "16 scales of 8 bits with a sign, one a group of 16 weights"), _D,
        ),
        _layout(
            "Q5_K", 256, "d · scale · q − dmin · min", _D, _DMIN, _SCALES_AND_MINS,
            ("qh", 32, "upper bit of 256 numbers q, eight in a byte"),
            ("qs", 128, "lower 4 bits of the same numbers, two in a byte"),
        ),
        _layout(
            "Q4_K", 256, "d · scale · q − dmin · min", _D, _DMIN, _SCALES_AND_MINS,
            ("qs", 128, "256 numbers q from 0 to 15, two in a byte"),
        ),
        _layout(
            "Q3_K", 256, "d · (scale − 32) · (q − 4)",
            ("hmask", 32, "upper bit of 256 numbers q, eight in a byte"),
            ("qs", 64, "lower 2 bits of the same numbers, four in a byte"),
            ("scales", 12, "16 scales of 6 bits, one a group of 16 weights"), _D,
        ),
        _layout(
            "Q2_K", 256, "d · scale · q − dmin · min",
            ("scales", 16, "16 scales and 16 minimums of 4 bits, one of each a group of 16 weights"),
            ("qs", 64, "256 numbers q from 0 to 3, four in a byte"), _D, _DMIN,
        ),
    )
}  # fmt: skip


def layout(type: str) -> Layout:
    """How a type stores its weights. Raises `ModelError` for a type that benchkit does not decode.

    >>> layout("Q4_K").n_bytes, layout("Q4_K").bits_per_weight
    (144, 4.5)
    """
    if type not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        raise ModelError(f"{type} is not a type that benchkit decodes. It decodes {known}.")
    return LAYOUTS[type]


# ---- from bytes to whole numbers -------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Blocks taken apart, one a row of each array: weight = d · scales · q − dmin · mins.

    `q` has the shape (blocks, groups, weights of a group), `scales` and `mins` (blocks, groups), `d` and `dmin`
    (blocks, 1). `q`, `scales` and `mins` are whole numbers, the offsets of Q6_K and Q3_K already taken off;
    `mins` is None where a type has none.
    """

    q: np.ndarray
    scales: np.ndarray
    d: np.ndarray
    mins: np.ndarray | None = None
    dmin: np.ndarray | None = None


def take_apart(type: str, data: Any) -> Block:
    """The whole numbers and scales of a quantised type's blocks, from their bytes.

    Raises `ModelError` for a type without blocks and for bytes that are no whole number of them.

    >>> block = take_apart("Q8_0", np.float16(0.5).tobytes() + bytes(range(32)))
    >>> block.d.item(), block.q[0, 0, :4].tolist()
    (0.5, [0, 1, 2, 3])
    """
    how = layout(type)
    if type not in _TAKE_APART:
        raise ModelError(f"{type} has no blocks to take apart: each weight stands alone. Use decode.")
    blocks = _bytes(how, data)
    parts = {part.name: blocks[:, part.offset : part.offset + part.n_bytes] for part in how.parts}
    return _TAKE_APART[type](parts)


def _bytes(how: Layout, data: Any) -> np.ndarray:
    """One row of bytes a block."""
    raw = np.frombuffer(data, np.uint8)
    if raw.size % how.n_bytes:
        raise ModelError(f"{raw.size} bytes are no whole number of {how.type} blocks, which have {how.n_bytes} bytes.")
    return raw.reshape(-1, how.n_bytes)


def _q8_0(part: dict[str, np.ndarray]) -> Block:
    q = part["qs"].view(np.int8)
    return Block(_grouped(q, 1), np.ones((len(q), 1), np.int8), _half(part["d"]))


def _q6_k(part: dict[str, np.ndarray]) -> Block:
    low = _fields(part["ql"], bits=4, run=64)
    high = _fields(part["qh"], bits=2, run=32)
    q = (low | (high << 4)).astype(np.int8) - np.int8(32)
    return Block(_grouped(q, 16), part["scales"].view(np.int8), _half(part["d"]))


def _q5_k(part: dict[str, np.ndarray]) -> Block:
    low = _fields(part["qs"], bits=4, run=32)
    high = _fields(part["qh"], bits=1, run=32)
    scales, mins = _six_bit_scales_and_mins(part["scales"])
    return Block(_grouped(low | (high << 4), 8), scales, _half(part["d"]), mins, _half(part["dmin"]))


def _q4_k(part: dict[str, np.ndarray]) -> Block:
    q = _fields(part["qs"], bits=4, run=32)
    scales, mins = _six_bit_scales_and_mins(part["scales"])
    return Block(_grouped(q, 8), scales, _half(part["d"]), mins, _half(part["dmin"]))


def _q3_k(part: dict[str, np.ndarray]) -> Block:
    low = _fields(part["qs"], bits=2, run=32)
    high = _fields(part["hmask"], bits=1, run=32)
    q = (low | (high << 2)).astype(np.int8) - np.int8(4)  # as ggml puts it: minus 4, unless the high bit is set
    low = _fields(part["scales"][:, :8], bits=4, run=8)
    high = _fields(part["scales"][:, 8:], bits=2, run=4)
    scales = (low | (high << 4)).astype(np.int8) - np.int8(32)
    return Block(_grouped(q, 16), scales, _half(part["d"]))


def _q2_k(part: dict[str, np.ndarray]) -> Block:
    q = _fields(part["qs"], bits=2, run=32)
    scales, mins = part["scales"] & 15, part["scales"] >> 4
    return Block(_grouped(q, 16), scales, _half(part["d"]), mins, _half(part["dmin"]))


_TAKE_APART = {"Q8_0": _q8_0, "Q6_K": _q6_k, "Q5_K": _q5_k, "Q4_K": _q4_k, "Q3_K": _q3_k, "Q2_K": _q2_k}


def _fields(packed: np.ndarray, bits: int, run: int) -> np.ndarray:
    """The small numbers in bytes, in the order of the row; `packed` has one block a row.

    >>> _fields(np.array([[0x21, 0x43]], np.uint8), bits=4, run=2)
    array([[1, 3, 2, 4]], dtype=uint8)
    """
    # Neighbours in a byte are no neighbours in the row: `run` bytes give their lowest bits to the first `run`
    # weights, the next higher bits to the next `run` weights, and so on; only then come the next `run` bytes.
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    n_blocks, n_bytes = packed.shape
    runs = packed.reshape(n_blocks, n_bytes // run, 1, run)
    return ((runs >> shifts) & np.uint8(2**bits - 1)).reshape(n_blocks, n_bytes * 8 // bits)


def _six_bit_scales_and_mins(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eight scales and eight minimums of 6 bits from the 12 bytes of Q4_K and Q5_K."""
    # The first four of each are the lower 6 bits of bytes 0–3 and 4–7. The last four are split: their lower 4 bits
    # share bytes 8–11, their upper 2 bits sit on top of the first four.
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.hstack([first & 63, (third & 15) | (first >> 6 << 4)])
    mins = np.hstack([second & 63, (third >> 4) | (second >> 6 << 4)])
    return scales, mins


def _half(two_bytes: np.ndarray) -> np.ndarray:
    """16-bit floats as 32-bit floats, one a block."""
    return np.ascontiguousarray(two_bytes).view("<f2").astype(np.float32)


def _grouped(q: np.ndarray, n_groups: int) -> np.ndarray:
    return q.reshape(len(q), n_groups, q.shape[1] // n_groups)


# ---- from whole numbers to weights -----------------------------------------------------------------


def decode(type: str, data: Any) -> np.ndarray:
    """The weights in some bytes, as 32-bit floats in the order of the row, bit for bit as ggml has them.

    Raises `ModelError` for a type that benchkit does not decode and for bytes that are no whole number of blocks.

    >>> decode("F16", np.array([1, -0.5], np.float16).tobytes())
    array([ 1. , -0.5], dtype=float32)
    """
    if type in _TAKE_APART:
        with np.errstate(invalid="ignore"):  # a damaged block may hold infinity, and ∞ · 0 is no number
            return _weights(take_apart(type, data)).reshape(-1)
    raw = _bytes(layout(type), data)
    if type == "BF16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(-1)
    return raw.view("<f4" if type == "F32" else "<f2").astype(np.float32).reshape(-1)


def _weights(block: Block) -> np.ndarray:
    scales = block.d * block.scales.astype(np.float32)
    weights = scales[:, :, None] * block.q.astype(np.float32)
    if block.mins is None:
        return weights
    mins = block.dmin * block.mins.astype(np.float32)
    return weights - mins[:, :, None]


def relative_rms_error(weights: Any, decoded: Any) -> float:
    """How far decoded weights are from the original ones: RMS of the difference / RMS of the original.

    >>> relative_rms_error([3.0, -4.0], [3.0, -3.5])
    0.1
    """
    weights, decoded = np.asarray(weights, np.float64), np.asarray(decoded, np.float64)
    return float(np.sqrt(np.mean((decoded - weights) ** 2) / np.mean(weights**2)))


# ---- tensors of a file -----------------------------------------------------------------------------


class StoredTensor(NamedTuple):
    """A tensor as it lies in a file: its type, its shape with the length of a row first, and its bytes."""

    type: str
    shape: tuple[int, ...]
    data: np.ndarray

    def row(self, i: int) -> np.ndarray:
        """The bytes of one row."""
        return self.data.reshape(-1, tensor_bytes(self.type, self.shape[:1]))[i]


def read_tensor(path: str | Path, name: str) -> StoredTensor:
    """A tensor of a GGUF file; its bytes are read from the disk where they are used, not before.

    Raises `ModelError` for a file or tensor that is not there, a type that benchkit does not decode,
    and a file that ends too early.
    """
    header = read_header(path)
    names = [tensor for tensor, _, _ in header.tensors]
    if name not in names:
        raise ModelError(f"{path} has no tensor {name}{did_you_mean(name, names)}; it has {len(names)} others.")
    _, type, shape = header.tensors[names.index(name)]
    layout(type)
    size, position = tensor_bytes(type, shape), header.positions[names.index(name)]
    if position + size > Path(path).stat().st_size:
        raise ModelError(f"{path} ends before its tensor {name} does: it is cut short, get it again.")
    data = np.memmap(path, np.uint8, "r", position, size) if size else np.empty(0, np.uint8)
    return StoredTensor(type, shape, data)


# ---- the dot product, as ggml takes it -------------------------------------------------------------


def quantise_activations(type: str, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a row of this weight type is multiplied by: activations as 8-bit whole numbers, `x ≈ d · q`.

    Returns `d` (blocks, 1) and `q` (blocks, weights of a block). Beside Q8_0 weights they are Q8_0 (`d` kept as
    a 16-bit float), beside K-quants Q8_K (`d` a 32-bit float with the sign that makes the largest value −127).

    >>> d, q = quantise_activations("Q8_0", np.linspace(-1, 1, 32))
    >>> q[0, [0, 15, 31]].tolist()
    [-127, -4, 127]
    """
    n_weights = layout(type).n_weights
    x = np.asarray(x, np.float32)
    if x.size % n_weights:
        raise ModelError(f"{x.size} activations are no whole number of {type} blocks of {n_weights}.")
    x = x.reshape(-1, n_weights)
    return _to_q8_0(x) if type == "Q8_0" else _to_q8_k(x)


def _to_q8_0(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    q = np.rint(x * _one_over(d)).astype(np.int8)
    return d.astype(np.float16).astype(np.float32), q


def _to_q8_k(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    largest = np.take_along_axis(x, np.abs(x).argmax(axis=1, keepdims=True), axis=1)
    per_unit = np.float32(-127) * _one_over(largest)
    q = np.minimum(127, np.rint(x * per_unit)).astype(np.int8)
    return _one_over(per_unit), q


def _one_over(x: np.ndarray) -> np.ndarray:
    return np.divide(np.float32(1), x, out=np.zeros_like(x), where=x != 0)


def quantised_dot(type: str, row: Any, x: Any) -> float:
    """The dot product of a quantised row (its bytes) with activations `x`, the way ggml takes it.

    The activations are rounded to 8 bits, whole numbers are multiplied and summed, and the scales and minimums are
    applied once a block: the weights never become floats. Source: ggml_vec_dot_q4_K_q8_K in ggml.

    >>> row = np.float16(0.5).tobytes() + bytes([2] * 32)    # Q8_0: 32 weights of 1.0
    >>> round(quantised_dot("Q8_0", row, np.full(32, 0.25)), 3)
    8.0
    """
    block = take_apart(type, row)
    d, q = quantise_activations(type, x)
    if len(d) != len(block.d):
        raise ModelError(f"A row of {block.q.size} weights cannot be multiplied by {q.size} activations.")
    q = q.reshape(block.q.shape).astype(np.int32)
    products = (block.q * q).sum(axis=2)  # one whole number a group
    sums = block.d * d * (block.scales * products).sum(axis=1, keepdims=True)
    if block.mins is not None:  # one minimum for a whole group: it meets the sum of the group's activations
        sums -= block.dmin * d * (block.mins * q.sum(axis=2)).sum(axis=1, keepdims=True)
    return float(sums.sum())
