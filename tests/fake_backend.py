"""A backend whose behaviour is known: it replies by a rule, crashes or stalls when told to, and counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import ClassVar

from benchkit.backends.base import Options
from benchkit.errors import ModelError
from benchkit.recording import Chunk, Count, Recording

OPTIONS = Options()
OK = ("ok", None)


class FakeBackend:
    """Replies with the prompt's words; `behave(prompt, options)` may return another (state, error) or raise."""

    log: ClassVar[
        list[tuple[str, str, int]]
    ] = []  # every request of every instance: model, prompt, max_tokens

    def __init__(self, name: str, behave: Callable | None = None, digest: str = "d0", server=None, **load):
        self.name, self.load, self.digest, self.behave = name, load, digest, behave
        self.load_s, self.closed, self.server = 0.01, False, server  # server(self): what `snapshot` says

    def stream(self, prompt, options=OPTIONS, on_text=None) -> Recording:
        assert not self.closed, "a closed model was asked"
        FakeBackend.log.append((self.name, prompt, options.max_tokens))
        state, error = self.behave(prompt, options) if self.behave else OK
        began = time.perf_counter_ns()
        words = [] if error else [f" {word}" for word in prompt.split()][: options.max_tokens]
        if options.ignore_eos:
            words = [" word"] * options.max_tokens
        chunks = tuple(Chunk(began + 1000 * (i + 1), "content", w, len(w)) for i, w in enumerate(words))
        counts = {"output": Count(len(words), "engine_tokenizer"),
                  "prompt": Count(len(prompt.split()) + 1, "engine_tokenizer"),
                  "cached": Count(0, "engine_tokenizer")}  # fmt: skip
        state = "length" if options.ignore_eos and not error else state
        return Recording(began, began + 1000 * (len(words) + 2), state, chunks, counts, error=error,
                         chunks_are_tokens=True, first_chunk_tokens=1, cache=options.cache,
                         started_at="2026-01-01T00:00:00+00:00")  # fmt: skip

    def describe(self):
        return {"name": self.name, "digest": self.digest, "size_bytes": 1000, "path": "/models/x.gguf"}

    def pids(self):
        return [os.getpid()]

    def snapshot(self):
        return self.server(self) if self.server else {}

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def connector(behaviours: dict[str, Callable] | None = None, digest: str = "d0", server: Callable | None = None):
    """A `connect` that knows every model but those called `fake:missing…`."""
    FakeBackend.log.clear()
    opened: list[FakeBackend] = []

    def connect(name, **load):
        if "missing" in name:
            raise ModelError(f"{name}: there is no such model")
        opened.append(FakeBackend(name, (behaviours or {}).get(name), digest, server, **load))
        return opened[-1]

    connect.opened = opened
    return connect
