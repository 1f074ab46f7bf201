"""The process that computes perplexity: `python -m benchkit.perplexity_child`.

It is started by `benchkit.perplexity`, reads one line from its pipe and answers with lines, all JSON:

    {"paths": [model, reference?], "text": "...", "window": 512, "n_threads": 2}
    {"progress": [windows done, windows in all, perplexity so far]}      at most ten times a second
    {"done": {...}} or {"too_short": the text's tokens} or {"failed": "why"}

It ends when its pipe closes. What it does is what llama.cpp's tools/perplexity/perplexity.cpp does, step by step:
several windows are read at once, each with a memory (KV cache) of its own, 16-bit keys and values, and logits are
asked for only where a token is scored.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .backends.worker import Refused, last_complaints, load_model
from .llama_c import C, answers_on_stdout, start
from .perplexity import token_kld, token_nll

N_BATCH, N_UBATCH = 2048, 512  # llama.cpp's own: tokens read in one call, and computed at a time
SHOW_EVERY_S = 0.1


Show = Callable[[list[float]], None]


class TooShort(Exception):
    """The text has fewer tokens than two windows; holds how many it has."""


class Reader:
    """One model, loaded, with room for as many windows as are read at once."""

    def __init__(self, path: str, window: int, n_threads: int) -> None:
        self.window = window
        self.n_parallel = max(1, N_BATCH // window)
        self.model = _load(path)
        self.vocab = C.llama_model_get_vocab(self.model)
        self.n_vocab = C.llama_vocab_n_tokens(self.vocab)
        if C.llama_vocab_get_add_eos(self.vocab) or C.llama_model_has_encoder(self.model):
            raise Refused(f"{path} is not a model that goes on with a text token by token: it has no perplexity.")
        self.context = self._make_context(path, n_threads)
        self.memory = C.llama_get_memory(self.context)
        self.batch = C.llama_batch_init(N_BATCH, 0, 1)
        self.slots = {name: np.ctypeslib.as_array(getattr(self.batch, name), (N_BATCH,))
                      for name in ("token", "pos", "n_seq_id", "logits")}  # fmt: skip
        self.slots["n_seq_id"][:] = 1
        for i in range(N_BATCH):  # a window is a sequence of its own
            self.batch.seq_id[i][0] = i // window

    def _make_context(self, path: str, n_threads: int) -> Any:
        settings = C.llama_context_default_params()
        settings.n_ctx = self.n_parallel * self.window
        settings.n_seq_max = self.n_parallel
        settings.n_batch, settings.n_ubatch = min(N_BATCH, settings.n_ctx), N_UBATCH
        settings.n_threads = settings.n_threads_batch = n_threads
        settings.swa_full = False
        context = C.llama_init_from_model(self.model, settings)
        if not context:
            raise Refused(
                f"{path}: there was no room for windows of {self.window} tokens. Take a smaller window, or close other "
                f"programs. llama.cpp says: {last_complaints()}"
            )
        return context

    def tokenize(self, text: str) -> np.ndarray:
        """The text as tokens, with the start token where the vocabulary wants one; no special tokens are read."""
        data = text.encode("utf-8")
        size = len(data) + 8
        tokens = (C.llama_token * size)()
        n = C.llama_tokenize(self.vocab, data, len(data), tokens, size, True, False)
        if n < 0:
            raise Refused("The text could not be cut into tokens.")
        return np.array(tokens[:n], np.int32)

    @property
    def bos(self) -> int | None:
        """The token that every window begins with, if the vocabulary wants one."""
        return C.llama_vocab_bos(self.vocab) if C.llama_vocab_get_add_bos(self.vocab) else None

    def decode(self, tokens: np.ndarray, at: np.ndarray, scored: np.ndarray) -> np.ndarray:
        """Read tokens at their positions; a view of the logits at the scored ones, valid until the next call."""
        n = len(tokens)
        if at[0] == 0:
            C.llama_memory_clear(self.memory, True)
        self.batch.n_tokens = n
        for name, values in (("token", tokens), ("pos", at), ("logits", scored)):
            self.slots[name][:n] = values
        if status := C.llama_decode(self.context, self.batch):
            raise Refused(f"llama.cpp could not read the text ({status}). It says: {last_complaints()}")
        if not scored.any():
            return np.empty((0, self.n_vocab), np.float32)
        logits = C.llama_get_logits(self.context)
        if not logits:
            raise Refused("This model gives no probabilities of tokens (an embedding model?): it has no perplexity.")
        return np.ctypeslib.as_array(logits, (int(scored.sum()), self.n_vocab))


def _load(path: str) -> Any:
    try:
        return load_model(path, n_gpu_layers=0)
    except Refused as refusal:
        raise Refused(f"{path}: {refusal}") from None


def passes(n_windows: int, window: int, n_parallel: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Which tokens are read in each call, their positions in their windows, and which of them predict a scored one.

    The prediction at position p is of the token at p + 1; scored are the targets W/2 + 1 … W − 1.

    >>> [(part, at.tolist(), scored.tolist()) for part, at, scored in passes(1, 6, 1)]
    [(slice(0, 6, None), [0, 1, 2, 3, 4, 5], [False, False, False, True, True, False])]
    """
    for first in range(0, n_windows, n_parallel):
        begin, end = first * window, min(first + n_parallel, n_windows) * window
        for start_at in range(begin, end, N_BATCH):  # one call, unless a window is longer than that
            part = slice(start_at, min(start_at + N_BATCH, end))
            at = (np.arange(part.start, part.stop) - begin) % window
            yield part, at, (at >= window // 2) & (at < window - 1)


def run(paths: list[str], text: str, window: int, n_threads: int, show: Show) -> dict[str, Any]:
    """Score all windows with the model, and with the reference if there is one."""
    readers = [Reader(path, window, n_threads) for path in paths]
    tokens = readers[0].tokenize(text)
    n_windows = len(tokens) // window
    if n_windows < 2:
        raise TooShort(len(tokens))
    began = time.perf_counter()
    values = _score(readers, tokens, n_windows, show)
    facts = {
        "n_tokens": len(tokens),
        "bos": readers[0].bos is not None,
        "seconds": time.perf_counter() - began,
    }
    return {name: column.tolist() for name, column in values.items()} | {"facts": facts}


def _score(readers: list[Reader], tokens: np.ndarray, n_windows: int, show: Show) -> dict[str, np.ndarray]:
    """Every known value of every scored token, a row for each window."""
    ours, window = readers[0], readers[0].window
    inputs = tokens.copy()
    if ours.bos is not None:
        inputs[::window] = ours.bos
    values: dict[str, list[np.ndarray]] = {}
    progress = Progress(n_windows, show)
    for part, at, scored in passes(n_windows, window, ours.n_parallel):
        logits = [reader.decode(inputs[part], at, scored) for reader in readers]
        targets = tokens[part.start + 1 + np.flatnonzero(scored)]
        for name, column in _columns(logits, targets).items():
            values.setdefault(name, []).append(column)
        progress.add(part.stop // window, values["nll"][-1])
    return {name: np.concatenate(columns).reshape(n_windows, -1) for name, columns in values.items()}


def _columns(logits: list[np.ndarray], targets: np.ndarray) -> dict[str, np.ndarray]:
    """What is known of each scored token, from the model's logits and the reference's."""
    columns = {"nll": token_nll(logits[0], targets)}
    if len(logits) == 2:
        kld, same_top = token_kld(*logits)
        columns |= {"reference_nll": token_nll(logits[1], targets), "kld": kld, "same_top": same_top}
    if not all(np.isfinite(column).all() for column in columns.values()):
        raise Refused("A model gave a probability that is 0 or not a number: its file may be damaged.")
    return columns


class Progress:
    """Tells how far it is, at most ten times a second, and at the end."""

    def __init__(self, n_windows: int, show: Show) -> None:
        self.n_windows, self.show = n_windows, show
        self.total, self.n_scored, self.due = 0.0, 0, 0.0

    def add(self, n_done: int, nll: np.ndarray) -> None:
        """So many windows are done, and these values are new."""
        self.total, self.n_scored = self.total + float(nll.sum()), self.n_scored + len(nll)
        now = time.monotonic()
        if self.n_scored and (now >= self.due or n_done == self.n_windows):
            self.due = now + SHOW_EVERY_S
            so_far = self.total / self.n_scored
            self.show([n_done, self.n_windows, math.exp(min(so_far, 700.0))])


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Answer the one request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    answer = answers_on_stdout()
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start()
    try:
        answer(done=run(**request, show=lambda progress: answer(progress=progress)))
    except TooShort as problem:
        answer(too_short=problem.args[0])
    except Refused as refusal:
        answer(failed=str(refusal))


if __name__ == "__main__":
    main()
    os._exit(0)  # the thread that watches the pipe does not end by itself
