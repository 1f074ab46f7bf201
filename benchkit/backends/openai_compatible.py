"""A model behind an OpenAI-compatible server: LM Studio, llama-server, vLLM, exo, llama_cpp.server, Ollama.

    with connect("openai:qwen2.5-7b", host="http://localhost:1234/v1") as model:
        print(model.stream("What is a GPU?").response)

Replies come as server-sent events: lines `data: {json}`, at the end `data: [DONE]`; a line that begins with a
colon is there to keep the connection alive. `request`, `parse` and `text_of` are pure and know the protocol.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..errors import ModelError, did_you_mean
from ..recording import Recording
from .base import Options
from .replies import (
    Reply,
    checked_timings,
    error_words,
    hidden,
    json_object,
    lines_of,
    plain,
    rows_of,
    text_chunk,
    whole_number,
)
from .served import ServedModel, ask_json
from .wire import Exchange

#: Servers (as `owned_by` in their list of models names them) that count the end token.
COUNT_THE_END = ("vllm", "llamacpp")
NO_REASON = " llama_cpp.server does so when another request interrupts this one (interrupt_requests)."
START = (
    "Start the server, and give its address as the host: LM Studio http://localhost:1234/v1, llama-server "
    "http://localhost:8080/v1, vLLM and llama_cpp.server http://localhost:8000/v1, exo http://localhost:52415/v1."
)


# ---- the protocol, as pure functions ---------------------------------------------------------------


def request(model: str, prompt: str, options: Options) -> tuple[str, dict[str, Any]]:
    """Path and body of one request. What a server does not know (`ignore_eos`, `cache_prompt`) it ignores.

    >>> path, body = request("m", "Hi", Options(max_tokens=8))
    >>> path, body["messages"], body["max_tokens"]
    ('/chat/completions', [{'role': 'user', 'content': 'Hi'}], 8)
    """
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "seed": options.seed,
    }
    if options.temperature > 0:
        body |= {"top_k": options.top_k, "top_p": options.top_p}
    if options.ignore_eos:
        body["ignore_eos"] = True
    if options.cache == "cold":
        body["cache_prompt"] = False
    if options.raw:
        return "/completions", body | {"prompt": prompt}
    return "/chat/completions", body | {"messages": [{"role": "user", "content": prompt}]}


def parse(exchange: Exchange, asked: Options, counts_end_token: bool = False) -> Recording:
    """The recording of what came: the same, however the bytes were cut into pieces.

    `counts_end_token`: whether this server's usage includes an end token. llama-server and Ollama do, and
    are known by their replies.
    """
    reply = Reply(counts_end_token=counts_end_token)
    for t_ns, line, whole in lines_of(exchange.pieces):
        if line.startswith(b"data:"):
            _read_data(reply, t_ns, line, whole)
        elif line.startswith(b":"):
            reply.silent(t_ns, "ping", line)
        elif line.startswith(b"error:"):  # llama-server's way, some time ago
            reply.error = error_words({"error": json_object(line[6:]) or line[6:].decode("utf-8", "replace")})
        elif line.strip() and not line.startswith((b"event:", b"id:", b"retry:")):
            reply.not_understood(t_ns, line, whole)
    return reply.recording(exchange, asked)


def _read_data(reply: Reply, t_ns: int, line: bytes, whole: bool) -> None:
    data = line[5:].strip()
    if data == b"[DONE]":
        reply.hint = NO_REASON
        return
    event = json_object(data)
    if event is None:
        return reply.not_understood(t_ns, line, whole)
    _read_figures(reply, event)
    choice = _choice(event)
    found = _texts(choice)
    reply.chunks.extend([text_chunk(t_ns, kind, text) for kind, text in found])
    if not found:
        reply.silent(t_ns, _silent_kind(event, choice), line)
    if isinstance(reason := choice.get("finish_reason"), str):
        reply.finish = reason


def _choice(event: Mapping[str, Any]) -> dict[str, Any]:
    choices = event.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _texts(choice: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The text in one event, by kind, in the order in which the model wrote it."""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        delta = {"content": choice.get("text")}  # /v1/completions
    found = []
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if reasoning and isinstance(reasoning, str):
        found.append(("reasoning", reasoning))
    content = delta.get("content")
    if content and isinstance(content, str):
        found.append(("content", content))
    if (calls := delta.get("tool_calls")) and (text := _call_text(calls)):
        found.append(("tool", text))
    return found


def _call_text(calls: Any) -> str:
    """What the model wrote of its tool calls: names and arguments."""
    functions = [c.get("function") for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
    words = [f.get(key) for f in functions if isinstance(f, dict) for key in ("name", "arguments")]
    return "".join(word for word in words if isinstance(word, str))


def _silent_kind(event: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    if not choice:
        return "usage" if event.get("usage") else "other"
    delta = choice.get("delta")
    return "role" if isinstance(delta, dict) and delta.get("role") else "other"


def _read_figures(reply: Reply, event: Mapping[str, Any]) -> None:
    """Counts, timings and complaints, wherever in the stream they stand; of several the last one holds."""
    if event.get("error") or event.get("object") == "error":
        reply.error = error_words(event)
    if event.get("system_fingerprint") == "fp_ollama":
        reply.counts_end_token = True
    if isinstance(usage := event.get("usage"), dict):
        reply.counts = {**reply.counts, **_usage(usage)}
    if isinstance(timings := event.get("timings"), dict):  # llama-server's own figures, in ms
        reply.counts_end_token = True
        reply.timings = checked_timings("llama-server", timings)
        reply.counts = {**_counts_of_timings(timings), **reply.counts}


def _usage(usage: Mapping[str, Any]) -> dict[str, int | None]:
    def inside(details: str, name: str) -> int | None:
        part = usage.get(details)
        return whole_number(part.get(name)) if isinstance(part, dict) else None

    counts = {
        "prompt": whole_number(usage.get("prompt_tokens")),
        "output_reported": whole_number(usage.get("completion_tokens")),
        "cached": inside("prompt_tokens_details", "cached_tokens"),
        "reasoning": inside("completion_tokens_details", "reasoning_tokens"),
    }
    return {name: n for name, n in counts.items() if n is not None}


def _counts_of_timings(timings: Mapping[str, Any]) -> dict[str, int | None]:
    """The counts in llama-server's timings: `prompt_n` leaves out what was cached, `cache_n`."""
    new, cached = whole_number(timings.get("prompt_n")), whole_number(timings.get("cache_n"))
    counts = {"output_reported": whole_number(timings.get("predicted_n"))}
    if new is not None and cached is not None:
        counts |= {"prompt": new + cached, "cached": cached}
    return counts


def text_of(line: bytes) -> str:
    """The answer's text in one line, for a live view."""
    event = json_object(line[5:]) if line.startswith(b"data:") else None
    found = _texts(_choice(event or {}))
    return "".join(text_chunk(0, kind, text).text for kind, text in found if kind == "content")


def base_url(host: str | None) -> str:
    """The address of the server's API. Without a path it is `/v1`.

    >>> base_url("localhost:1234"), base_url("https://my.host/api/v1/")
    ('http://localhost:1234/v1', 'https://my.host/api/v1')
    """
    if not host:
        raise ModelError(f"Where is the server? {START}")
    url = (host if "://" in host else f"http://{host}").strip().rstrip("/")
    try:
        return url if urlsplit(url).path else f"{url}/v1"
    except ValueError:
        return url  # `Wire` says what is wrong with it


#: Of a model's row in the list: what must not change while it is measured (`created` does, with some servers).
KEPT_OF_ROW = ("id", "digest", "size", "context_length", "max_model_len", "owned_by")


def read_key(api_key: str | None = None) -> str | None:
    """The key to be sent: the given one, else `BENCHKIT_API_KEY`, else `OPENAI_API_KEY`."""
    key = api_key or os.environ.get("BENCHKIT_API_KEY") or os.environ.get("OPENAI_API_KEY") or ""
    return key.strip() or None


def headers(api_key: str | None) -> dict[str, str]:
    """The headers that carry the key."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


# ---- the backend -----------------------------------------------------------------------------------


def list_models(host: str, api_key: str | None = None) -> list[dict[str, Any]]:
    """The models that a server offers. Raises ModelError if it is not there."""
    url, key = base_url(host), read_key(api_key)
    try:
        answer = ask_json(url, "/models", who=url, help=START, headers=headers(key))
    except ModelError as problem:
        raise ModelError(hidden(str(problem), key)) from None
    return [{"name": f"openai:{row['id']}", "path": None, "size_mib": None, "where": url,
             "owned_by": row.get("owned_by")} for row in _rows(answer)]  # fmt: skip


class OpenAIBackend(ServedModel):
    """One model of an OpenAI-compatible server. Made by `connect("openai:…", host=…)`."""

    def __init__(self, name: str, model: str, host: str | None, api_key: str | None = None) -> None:
        key = read_key(api_key)
        super().__init__(name, model, base_url(host), start=START, headers=headers(key), secret=key)
        try:
            self._models = {row["id"]: row for row in _rows(self.ask_json("/models"))}
        except BaseException:
            self._hang_up()
            raise
        self._row = self._models.get(model) or self._models.get(f"{model}:latest", {})  # Ollama's way to list

    text_of = staticmethod(text_of)

    def request(self, prompt: str, options: Options) -> tuple[str, dict[str, Any]]:
        return request(self.model, prompt, options)

    def parse(self, exchange: Exchange, options: Options) -> Recording:
        recording = parse(exchange, options, self._row.get("owned_by") in COUNT_THE_END)
        if exchange.status == 404 and self._models and not self._row:
            short = [name.removesuffix(":latest") for name in self._models]
            hint = did_you_mean(self.model, [*self._models, *short])
            names = ", ".join(plain(name, 80) for name in sorted(self._models)[:12])
            return replace(recording, error=f"{recording.error} The server has{hint}: {names}.")
        return recording

    def snapshot(self) -> dict[str, Any]:
        """The server's own record of the model, as far as it is plain; empty where its list has no such row."""
        rows = {row["id"]: row for row in _rows(self.ask_json("/models"))}
        row = rows.get(self.model) or rows.get(f"{self.model}:latest", {})
        return {key: row[key] for key in KEPT_OF_ROW if isinstance(row.get(key), (str, int, float))}

    def describe(self) -> dict[str, Any]:
        """What a manifest keeps: the server's own words about the model, as far as they are plain values."""
        told = {key: value for key, value in self._row.items() if isinstance(value, (str, int, float))}
        server = {k: self.hide(plain(v)) if isinstance(v, str) else v for k, v in told.items()}
        return {"name": self.name, "host": self.host, "model": self.model, "server": server}


def _rows(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return rows_of(answer, "data", "id")
