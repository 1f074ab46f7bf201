"""One question to one model: warm up unrecorded, ask, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchkit import metrics
from benchkit.backends import Options, connect
from benchkit.bench import warm_up
from benchkit.text import counted, number

#: How a reply can end, in words.
ENDINGS = {
    "ok": "the model's own end",
    "length": "stopped by the token limit",
    "empty": "the model said nothing",
    "timeout": "cut off by the time limit",
}


def ask(
    model: str,
    prompt: str,
    *,
    host: str | None = None,
    n_ctx: int | None = None,
    n_threads: int | None = None,
    n_gpu_layers: int = 0,
    on_text: Callable[[str], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Ask a model once; return its reply, how it ended and every metric, as one flat dict.

    `options` are those of `Options`: `max_tokens`, `temperature`, `seed`, `ignore_eos` …. The model is
    warmed up first, unrecorded, because a fresh engine decodes at half its speed.
    """
    chosen = Options(**options)
    with connect(model, host=host, n_ctx=n_ctx, n_threads=n_threads, n_gpu_layers=n_gpu_layers) as backend:
        warm_up(backend, fresh=True, timeout_s=chosen.timeout_s)
        recording = backend.stream(prompt, chosen, on_text)
        load_s = backend.load_s
    return {
        "model": model,
        "prompt": prompt,
        "reply": recording.response,
        **metrics.measure(recording),
        "load_s": load_s,
        "error": recording.error,
    }


def one_line(answer: Mapping[str, Any]) -> str:
    """What a person wants to know about one reply.

    >>> one_line({"n_output_tokens": 41, "ttft_ms": 12.34, "decode_tokens_per_s": 812.3, "latency_s": 0.0629,
    ...           "state": "length", "error": None})
    '41 tokens · TTFT 12.3 ms · decode 812 tokens/s · latency 0.0629 s · stopped by the token limit'
    """
    n_tokens = answer["n_output_tokens"]
    parts = [
        "tokens: unknown" if n_tokens is None else counted(n_tokens, "token"),
        f"TTFT {number(answer['ttft_ms'])} ms",
        f"decode {number(answer['decode_tokens_per_s'])} tokens/s",
        f"latency {number(answer['latency_s'])} s",
        ENDINGS.get(answer["state"], answer["state"]),
    ]
    return " · ".join(parts) + (f": {answer['error']}" if answer["error"] else "")
