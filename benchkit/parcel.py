"""Plain values on their way between two processes: as JSON with tags, so that nothing arrives but data.

Numbers, text, bytes, lists, tuples, sets, dictionaries and NumPy arrays arrive as they were, subclasses as
the plain thing they descend from. Everything else arrives as `Opaque`: its type's name and its repr, equal to
nothing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 4 << 20
MAX_ITEMS = 200_000
MAX_KEYS = 10_000  # of a set or dictionary: keys can be made so that each has to be compared with all others
MAX_DEPTH = 60
MAX_INT_BITS = 12_000  # Python itself refuses to write or read integers of more than 4,300 digits


@dataclass(frozen=True, eq=False, repr=False)
class Opaque:
    """A value that is no plain data: only what it said of itself has come."""

    type_name: str
    shown: str

    def __repr__(self) -> str:
        return self.shown


class TooMuch(ValueError):
    """A value that is too large, or nested too deeply, to be sent."""


def dumps(value: Any) -> str:
    """A value as JSON text without line ends; one that cannot be sent becomes opaque.

    >>> loads(dumps({"a": (1, 2.5), 3: {b"x", None}})) == {"a": (1, 2.5), 3: {b"x", None}}
    True
    >>> loads(dumps(range(2))), loads(dumps([float("inf"), True]))
    (range(0, 2), [inf, True])
    """
    try:
        text = json.dumps(_pack(value, 0, [0]))
        if len(text) <= MAX_BYTES:
            return text
    except (TooMuch, RecursionError, MemoryError):
        pass
    name = type(value).__name__
    return json.dumps({"opaque": [name, f"<{name}: too large or nested too deeply to be checked>"]})


def _pack(value: Any, depth: int, count: list[int]) -> Any:
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_ITEMS:
        raise TooMuch
    if value is None or isinstance(value, bool):
        return value
    if type(value).__module__.partition(".")[0] in ("numpy", "pandas"):
        return _pack_array(value, depth, count)
    if isinstance(value, (str, bytes, bytearray)) and len(value) > MAX_BYTES:
        raise TooMuch
    if isinstance(value, (dict, set, frozenset)) and len(value) > MAX_KEYS:
        raise TooMuch
    for kind, pack in _KINDS:
        if isinstance(value, kind):
            return pack(value, lambda inner: _pack(inner, depth + 1, count))
    return _opaque(value)


def _pack_array(value: Any, depth: int, count: list[int]) -> Any:
    """NumPy's scalars as Python's, arrays with their type and shape; pandas' columns as lists, as in a check."""
    if not hasattr(value, "tolist"):
        return _opaque(value)
    if getattr(value, "size", 1) > MAX_ITEMS:
        raise TooMuch
    kind = getattr(getattr(value, "dtype", None), "kind", "O")
    if type(value).__module__.startswith("numpy") and getattr(value, "ndim", 0) and kind in "biufcSU":
        flat = [_pack(item, depth + 1, count) for item in value.ravel().tolist()]
        return {"array": [value.dtype.str, list(value.shape), flat]}
    plain = value.tolist()
    return _opaque(value) if plain is value else _pack(plain, depth + 1, count)


def _pack_int(value: int, _: Any) -> Any:
    value = int(value)
    if value.bit_length() > MAX_INT_BITS:
        raise TooMuch
    return value


#: What can be sent, and how; the inner values go through the second argument.
_KINDS = (
    (int, _pack_int),
    (float, lambda value, inner: float(value)),
    (str, lambda value, inner: "".join(value) if type(value) is not str else value),
    (list, lambda value, inner: [inner(item) for item in list(value)]),
    (tuple, lambda value, inner: {"tuple": [inner(item) for item in value]}),
    (dict, lambda value, inner: {"dict": [[inner(key), inner(item)] for key, item in value.items()]}),
    ((bytes, bytearray), lambda value, inner: {"bytes": bytes(value).decode("latin-1")}),
    (set, lambda value, inner: {"set": [inner(item) for item in value]}),
    (frozenset, lambda value, inner: {"frozenset": [inner(item) for item in value]}),
    (complex, lambda value, inner: {"complex": [value.real, value.imag]}),
)


def _opaque(value: Any) -> dict[str, list[str]]:
    name = type(value).__name__
    try:
        shown = repr(value)[:500]
    except Exception:  # an object whose repr fails
        shown = f"an object of type {name}"
    return {"opaque": [name, shown]}


def loads(text: str | bytes) -> Any:
    """The value that `dumps` wrote. Whatever stands there, the result is plain data; raises ValueError otherwise."""
    try:
        return _unpack(json.loads(text), 0)
    except (TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"this is no value: {error}") from None


def _unpack(packed: Any, depth: int) -> Any:
    if depth > 2 * MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(packed, list):
        return [_unpack(item, depth + 1) for item in packed]
    if not isinstance(packed, dict):
        return packed
    ((tag, content),) = packed.items()
    if tag in ("dict", "set", "frozenset") and len(content) > MAX_KEYS:
        raise ValueError("too many keys")
    return _TAGS[tag](content, lambda inner: _unpack(inner, depth + 1))


def _array(content: list, inner: Any) -> Any:
    import numpy as np

    dtype, shape, flat = np.dtype(content[0]), content[1], content[2]
    sizes_are_plain = len(shape) <= 32 and all(type(n) is int and 0 <= n for n in shape)
    if (
        dtype.kind not in "biufcSU"
        or not sizes_are_plain
        or math.prod(n or 1 for n in shape) > MAX_BYTES  # [1000000000, 0] is no array of nothing
        or math.prod(shape) != len(flat)
        or (flat and not dtype.itemsize)
        or dtype.itemsize * len(flat) > 4 * MAX_BYTES
    ):
        raise ValueError("this is no array of numbers or texts, or too large a one")
    return np.array(inner(flat), dtype=dtype).reshape(shape)


_TAGS = {
    "tuple": lambda content, inner: tuple(inner(content)),
    "dict": lambda content, inner: {inner(key): inner(item) for key, item in content},
    "bytes": lambda content, inner: content.encode("latin-1"),
    "set": lambda content, inner: set(inner(content)),
    "frozenset": lambda content, inner: frozenset(inner(content)),
    "complex": lambda content, inner: complex(*content),
    "array": _array,
    "opaque": lambda content, inner: Opaque(str(content[0])[:100], str(content[1])[:500]),
}
