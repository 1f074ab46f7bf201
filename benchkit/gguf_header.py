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
    27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip

#: More than any real model has: a damaged file is noticed before memory is filled.
MOST_ENTRIES, MOST_BYTES = 1_000_000, 1 << 28


@dataclass(frozen=True)
class Header:
    """A GGUF file's metadata and tensors: `(name, type, shape)` each."""

    metadata: dict[str, Any]
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]

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


def read_header(path: str | Path) -> Header:
    """Read a GGUF file's header. Raises `ModelError` if there is no file, or it is damaged or no GGUF."""
    try:
        with open(path, "rb") as file:
            return _read(file)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from None
    except (struct.error, ValueError, KeyError, MemoryError, RecursionError):
        raise ModelError(f"{path} is not a whole GGUF file: get it again.") from None


def _read(file: BinaryIO) -> Header:
    magic, version, n_tensors, n_pairs = _take(file, "4sIQQ")
    if magic != b"GGUF" or version < 2 or n_tensors > MOST_ENTRIES or n_pairs > MOST_ENTRIES:
        raise ValueError
    metadata = {}
    for _ in range(n_pairs):
        key = _text(file)
        (kind,) = _take(file, "I")
        metadata[key] = _value(file, kind)
    return Header(metadata, tuple(_tensor(file) for _ in range(n_tensors)))


def _take(file: BinaryIO, form: str) -> tuple:
    form = "<" + form
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _text(file: BinaryIO) -> str:
    (size,) = _take(file, "Q")
    if size > MOST_BYTES:
        raise ValueError
    data = file.read(size)
    if len(data) < size:
        raise ValueError
    return data.decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _text(file)
    if kind != ARRAY:
        return _take(file, FIXED[kind])[0]
    inner, size = _take(file, "IQ")
    if size > MOST_BYTES:
        raise ValueError
    if inner in FIXED:
        return list(_take(file, f"{size}{FIXED[inner]}"))
    return [_value(file, inner) for _ in range(size)]


def _tensor(file: BinaryIO) -> tuple[str, str, tuple[int, ...]]:
    name = _text(file)
    (n_dimensions,) = _take(file, "I")
    if n_dimensions > 8:
        raise ValueError
    shape = _take(file, f"{n_dimensions}Q")
    kind, _offset = _take(file, "IQ")
    return name, TENSOR_TYPES.get(kind, f"type {kind}"), shape
