"""A Llama of random weights as a GGUF file: speed and memory do not depend on what the weights are.

Layout of the file: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Its vocabulary is the 256 bytes and as
many pairs, so digits are one token each: the prompt `"7" * n` has n tokens.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate, product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .gguf_header import TENSOR_TYPES, read_header, tensor_bytes
from .tensors import Architecture, Tensor, architecture_of, predict

ALIGNMENT = 32
#: GGUF's numbers for the kinds of value that are written here.
UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
#: So many random numbers are drawn; larger tensors repeat them.
N_DRAWN = 1 << 20


def write_random_llama(path: str | Path, model: Architecture, n_ctx_train: int = 4096) -> Path:
    """Write an F16 GGUF file of this shape with random weights and a vocabulary of bytes: all of it, or nothing."""
    drawn = (np.random.default_rng(1).standard_normal(N_DRAWN) * 0.02).astype(np.float16)
    tensors = predict(model, "F16")
    return _write(Path(path), model, n_ctx_train, tensors, (_weights(tensor, drawn) for tensor in tensors))


def _weights(tensor: Tensor, drawn: np.ndarray) -> Iterator[bytes]:
    """Ones for a norm, random numbers for a matrix, a piece at a time: a model may be larger than memory."""
    _, type, shape = tensor
    source = np.ones(N_DRAWN, np.float32) if type == "F32" else drawn
    n = math.prod(shape)
    return (source[: n - start].tobytes() for start in range(0, n, N_DRAWN))


def repeat_layer(source: str | Path, path: str | Path, n_layer: int) -> Path:
    """Write the model again with its first layer `n_layer` times: a deep model without quantising a deep model."""
    header = read_header(source)
    model = replace(architecture_of(header), n_layer=n_layer)
    types = {name: type for name, type, _ in header.tensors}
    places = dict(zip(types, header.positions))
    origins = {name: re.sub(r"^blk\.\d+\.", "blk.0.", name) for name, _ in model.shapes()}
    tensors = tuple((name, types[origins[name]], shape) for name, shape in model.shapes())
    with open(source, "rb") as file:
        data = (_read(file, places[origins[name]], tensor_bytes(type, shape)) for name, type, shape in tensors)
        return _write(Path(path), model, header.n_ctx_train or 4096, tensors, data)


def _read(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    file.seek(start)
    yield file.read(size)


def _write(
    path: Path, model: Architecture, n_ctx_train: int, tensors: tuple[Tensor, ...], data: Iterable[Iterable[bytes]]
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            _write_header(file, tensors, _metadata(model, n_ctx_train))
            for pieces in data:
                file.write(bytes(-file.tell() % ALIGNMENT))
                file.writelines(pieces)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _write_header(file: BinaryIO, tensors: tuple[Tensor, ...], metadata: dict[str, tuple[int, Any]]) -> None:
    file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)))
    for key, (kind, value) in metadata.items():
        file.write(_text(key) + struct.pack("<I", kind) + _value(kind, value))
    kinds = {name: number for number, name in TENSOR_TYPES.items()}
    sizes = [-(-tensor_bytes(type, shape) // ALIGNMENT) * ALIGNMENT for _, type, shape in tensors]
    for (name, type, shape), offset in zip(tensors, accumulate(sizes, initial=0)):
        file.write(_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        file.write(struct.pack("<IQ", kinds[type], offset))


def _metadata(model: Architecture, n_ctx_train: int) -> dict[str, tuple[int, Any]]:
    head_dim = model.head_dim or model.width // model.n_head
    numbers = {
        "context_length": n_ctx_train, "embedding_length": model.width, "block_count": model.n_layer,
        "feed_forward_length": model.ffn, "attention.head_count": model.n_head,
        "attention.head_count_kv": model.n_head_kv, "attention.key_length": head_dim,
        "attention.value_length": head_dim, "rope.dimension_count": head_dim, "vocab_size": model.vocabulary,
    }  # fmt: skip
    return {
        "general.architecture": (STRING, "llama"),
        "general.name": (STRING, "random weights"),
        **{f"llama.{key}": (UINT32, number) for key, number in numbers.items()},
        "llama.attention.layer_norm_rms_epsilon": (FLOAT32, 1e-5),
        **_vocabulary(model.vocabulary),
    }


def _vocabulary(size: int) -> dict[str, tuple[int, Any]]:
    letters = _letters()
    pairs = [pair for pair, _ in zip(product(letters, letters), range(size - 257))]
    words = ["<|end|>", *letters, *map("".join, pairs)]
    words += [f"<|unused {i}|>" for i in range(size - len(words))]
    return {
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, "smollm"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, words)),
        "tokenizer.ggml.merges": (ARRAY, (STRING, [" ".join(pair) for pair in pairs])),
        "tokenizer.ggml.eos_token_id": (UINT32, 0),
        "tokenizer.ggml.add_bos_token": (BOOL, False),
    }


def _letters() -> list[str]:
    """The 256 bytes as GPT-2's tokenizer writes them: those that cannot be printed have other letters."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, plain), *(chr(256 + i) for i in range(256 - len(plain)))]


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind: int, value: Any) -> bytes:
    if kind == ARRAY:
        inner, values = value
        return struct.pack("<IQ", inner, len(values)) + b"".join(_value(inner, one) for one in values)
    return _text(value) if kind == STRING else struct.pack({UINT32: "<I", FLOAT32: "<f", BOOL: "<?"}[kind], value)
