"""What every backend agrees on: the options of one reply, and one way to ask for it.

A backend turns a prompt into a `Recording`. What the model does (an error, a crash, a reply that
takes too long) is a recording too; only a wrong request raises `ModelError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..errors import ModelError
from ..recording import Recording

OnText = Callable[[str], None]

#: name: (smallest, largest, what it is). Both ends are allowed.
RANGES = {
    "max_tokens": (1, 1_000_000, "the most tokens a reply may have"),
    "temperature": (0.0, 10.0, "0 always takes the most likely token, higher is more random"),
    "top_k": (0, 1_000_000, "sample from the k most likely tokens, 0 means all"),
    "top_p": (0.0, 1.0, "sample from the most likely tokens that together have this probability"),
    "seed": (0, 2**32 - 2, "where the random numbers start, used only above temperature 0"),
    "timeout_s": (0.001, 86_400.0, "seconds until a reply is cut off"),
}
FLAGS = ("ignore_eos", "raw")
CACHES = ("cold", "warm")


@dataclass(frozen=True)
class Options:
    """How one reply is generated.

    `ignore_eos` forces exactly `max_tokens` tokens, so that speeds are compared over equal lengths.
    `raw` sends the prompt as it is, without the model's chat template. `cache="cold"` forgets the
    last prompt before each request; `"warm"` reuses the part of it that the new prompt begins with.

    >>> Options(max_tokens=8).temperature
    0.0
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    seed: int = 1234
    ignore_eos: bool = False
    raw: bool = False
    timeout_s: float = 120.0
    cache: str = "cold"

    def __post_init__(self) -> None:
        for name, (low, high, meaning) in RANGES.items():
            _check_range(name, getattr(self, name), low, high, meaning)
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ModelError(f"{name}={getattr(self, name)!r}: allowed is True or False.")
        if self.cache not in CACHES:
            raise ModelError(f"cache={self.cache!r}: allowed is 'cold' or 'warm'.")


def _check_range(name: str, value: Any, low: float, high: float, meaning: str) -> None:
    whole = isinstance(low, int)
    kind = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
        raise ModelError(f"{name}={value!r}: a {'whole ' if whole else ''}number is needed ({meaning}).")
    if not low <= value <= high:
        raise ModelError(f"{name}={value}: allowed is {low} to {high} ({meaning}).")


#: Greedy, at most 256 tokens, two minutes.
DEFAULTS = Options()


@runtime_checkable
class Backend(Protocol):
    """One loaded model, wherever it lives.

    `name` is what the user asked for (`gguf:pocket-s:Q4_K_M`), `load_s` the measured load time.
    """

    name: str
    load_s: float | None

    def stream(self, prompt: str, options: Options = DEFAULTS, on_text: OnText | None = None) -> Recording:
        """Ask for one reply; `on_text` is given its text as it grows, at most ten times a second."""

    def describe(self) -> dict[str, Any]:
        """What the run's manifest keeps about this model: file, digest, size, settings, versions."""

    def pids(self) -> list[int]:
        """The processes whose memory is the model's."""

    def snapshot(self) -> dict[str, Any]:
        """The server's own record of the model, which must not change meanwhile; empty where there is none."""

    def close(self) -> None:
        """Unload the model."""

    def __enter__(self) -> Backend: ...  # noqa: PYI034 (typing.Self came with Python 3.11)

    def __exit__(self, *exc: object) -> None: ...
