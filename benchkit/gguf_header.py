"""What a GGUF file says about itself: its metadata and its list of tensors, without loading the model.

The header begins with `GGUF`, a version and two counts; then come key-value pairs, then the tensors' names,
shapes and types. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import ModelError

#: GGUF's value types with a fixed size: number → struct format. 8 is a string, 9 an array.
FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9

TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K",
    11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
    27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip

#: How each type is stored: (weights in a block, bytes of a block). A type without blocks has one weight in each.
BLOCKS = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "F64": (1, 8), "I8": (1, 1), "I16": (1, 2), "I32": (1, 4),
    "I64": (1, 8), "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
    "Q8_1": (32, 40), "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176),
    "Q6_K": (256, 210), "Q8_K": (256, 292), "IQ1_S": (256, 50), "IQ1_M": (256, 56), "IQ2_XXS": (256, 66),
    "IQ2_XS": (256, 74), "IQ2_S": (256, 82), "IQ3_XXS": (256, 98), "IQ3_S": (256, 110), "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136), "TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36),
    "Q1_0": (128, 18),
}  # fmt: skip

#: More than any real model has: a damaged file is noticed before memory is filled.
MOST_ENTRIES, MOST_ELEMENTS, MOST_BYTES = 1_000_000, 1 << 20, 1 << 26


@dataclass(frozen=True)
class Header:
    """A GGUF file's metadata and tensors: `(name, type, shape)` each, the length of a row first in the shape.

    `positions` says where in the file each tensor's bytes begin.
    """

    metadata: dict[str, Any]
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
    positions: tuple[int, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers the tensors hold."""
        return sum(math.prod(shape) for _, _, shape in self.tensors)

    @property
    def architecture(self) -> str:
        """`llama`, `qwen3`, …: also the first word of most keys."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def n_ctx_train(self) -> int | None:
        """How many tokens the model was trained on at a time."""
        return self.metadata.get(f"{self.architecture}.context_length")


def tensor_bytes(type: str, shape: tuple[int, ...]) -> int:
    """How many bytes a tensor of this type and shape takes: whole blocks, row by row.

    Raises `ModelError` for a type that benchkit does not know, and for rows that are no whole number of blocks.

    >>> tensor_bytes("Q4_K", (256, 10)), tensor_bytes("F16", (256, 10))
    (1440, 5120)
    """
    if type not in BLOCKS:
        raise ModelError(f"{type} is not a tensor type that benchkit knows: {', '.join(BLOCKS)}.")
    n_weights, n_bytes = BLOCKS[type]
    if shape and shape[0] % n_weights:
        raise ModelError(f"A row of {shape[0]} weights cannot be {type}: its blocks hold {n_weights} weights each.")
    return math.prod(shape) // n_weights * n_bytes


def read_header(path: str | Path) -> Header:
    """Read a GGUF file's header. Raises `ModelError` if there is no file, or it is damaged or no GGUF."""
    try:
        with open(path, "rb") as file:
            return _read(_Reader(file))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from None
    except (struct.error, ValueError, KeyError, MemoryError, RecursionError):
        raise ModelError(f"{path} is not a whole GGUF file: get it again.") from None


def _read(file: _Reader) -> Header:
    magic, version, n_tensors, n_pairs = _take(file, "4sIQQ")
    if magic != b"GGUF" or version < 2 or n_tensors > MOST_ENTRIES or n_pairs > MOST_ENTRIES:
        raise ValueError
    metadata = {}
    for _ in range(n_pairs):
        key = _text(file)
        (kind,) = _take(file, "I")
        metadata[key] = _value(file, kind)
    tensors = [_tensor(file) for _ in range(n_tensors)]
    start = _data_start(file.n_read, metadata.get("general.alignment", 32))
    return Header(metadata, tuple(tensor for tensor, _ in tensors), tuple(start + offset for _, offset in tensors))


def _data_start(end_of_header: int, alignment: Any) -> int:
    if not isinstance(alignment, int) or not 1 <= alignment <= MOST_BYTES:
        raise ValueError
    return -(-end_of_header // alignment) * alignment


class _Reader:
    """A file that is read from its beginning, and never further than a header can be long."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.n_read = file, 0

    def read(self, size: int) -> bytes:
        self.n_read += size
        if self.n_read > MOST_BYTES:  # before memory is asked for
            raise ValueError
        return self.file.read(size)


def _take(file: _Reader, form: str) -> tuple:
    form = "<" + form
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _text(file: _Reader) -> str:
    (size,) = _take(file, "Q")
    data = file.read(size)
    if len(data) < size:
        raise ValueError
    return data.decode("utf-8", "replace")


def _value(file: _Reader, kind: int) -> Any:
    if kind == STRING:
        return _text(file)
    if kind != ARRAY:
        return _take(file, FIXED[kind])[0]
    inner, size = _take(file, "IQ")
    if size > MOST_ELEMENTS:
        raise ValueError
    if inner in FIXED:
        return list(_take(file, f"{size}{FIXED[inner]}"))
    return [_value(file, inner) for _ in range(size)]


def _tensor(file: _Reader) -> tuple[tuple[str, str, tuple[int, ...]], int]:
    """One tensor as `(name, type, shape)`, and where it begins after the end of the header."""
    name = _text(file)
    (n_dimensions,) = _take(file, "I")
    if n_dimensions > 8:
        raise ValueError
    shape = _take(file, f"{n_dimensions}Q")
    kind, offset = _take(file, "IQ")
    return (name, TENSOR_TYPES.get(kind, f"type {kind}"), shape), offset
