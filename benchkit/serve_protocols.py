"""Ollama's protocol and OpenAI's, seen from the server's side: requests are understood, answers are shaped.

Pure functions of what was sent; what generates the replies is in `serve_models`, HTTP is in `serve`.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .serve_models import ApiError, Reply, Served, Settings, read_keep_alive, read_settings
from .text import one_line

ROLES = ("system", "user", "assistant", "tool", "developer")

#: Finds the model that a name means, or raises `ApiError`.
Find = Callable[[str], Served]


# ---------------------------------------------------------------- reading a request


def read_json(data: bytes) -> dict[str, Any]:
    """A request's body, which must be one JSON object."""
    if not data.strip():
        raise ApiError(400, "missing request body")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise ApiError(400, f"the request is not JSON: {one_line(str(problem), 100)}") from None
    if not isinstance(body, dict):
        raise ApiError(400, f"the request must be a JSON object, this is {type(body).__name__}")
    return body


def take(body: Mapping[str, Any], name: str, kind: type | tuple[type, ...], otherwise: Any = None) -> Any:
    """One field of a request, of the kind it must have; missing and null are `otherwise`."""
    value = body.get(name)
    if value is None:
        return otherwise
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = {
            str: "string",
            bool: "boolean",
            dict: "object",
            list: "array",
            int: "integer",
            float: "number",
        }
        wanted = " or ".join(names[k] for k in kinds)
        raise ApiError(400, f'"{name}" must be of type {wanted}, this is {type(value).__name__}')
    return value


def refuse(body: Mapping[str, Any], what: Mapping[str, str]) -> None:
    """Refuse fields that cannot be obeyed, unless they are empty."""
    for name, message in what.items():
        if body.get(name):
            raise ApiError(400, message)


def read_messages(body: Mapping[str, Any]) -> list[dict[str, str]]:
    """A conversation: `role` and `content` of each message. A content in parts becomes several messages."""
    found = []
    for message in take(body, "messages", list, []):
        if not isinstance(message, dict):
            raise ApiError(400, 'each of "messages" must be an object with "role" and "content"')
        role = str(take(message, "role", str, "")).lower()
        if role not in ROLES:
            raise ApiError(400, f'"role" is {one_line(role, 40)!r}: one of {", ".join(ROLES)} is allowed')
        refuse(message, {"images": "this model does not see images", "tool_calls": "this model has no tools"})
        for text in _texts(take(message, "content", (str, list), "")):
            found.append({"role": role, "content": text})
    return found


def _texts(content: str | list) -> list[str]:
    if isinstance(content, str):
        return [content]
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
        raise ApiError(400, "invalid message format: this model reads text only")
    return texts


@dataclass(frozen=True)
class Asked:
    """A request, understood: what is to be continued, and how."""

    name: str  # the model's, as the request wrote it: answers repeat it
    model: Served
    settings: Settings
    keep_alive: float
    stream: bool
    messages: Sequence[Mapping[str, str]] = ()
    text: str | None = None  # a raw prompt, instead of messages
    context: Sequence[int] = ()  # tokens of an earlier exchange, to stand before it
    wants_context: bool = False
    with_usage: bool = False

    @property
    def empty(self) -> bool:
        """Nothing to continue: load the model, or unload it."""
        return not self.messages and not self.text


def _common(find: Find, body: Mapping[str, Any]) -> dict[str, Any]:
    """What both of Ollama's requests have."""
    name = take(body, "model", str, "")
    refuse(
        body,
        {
            "format": 'benchkit serve cannot hold a reply to a "format"',
            "logprobs": "benchkit serve gives no logprobs",
            "tools": f'"{name}" does not support tools',
            "think": f'"{name}" does not support thinking',
            "images": f'"{name}" does not see images',
        },
    )
    return {
        "name": name,
        "model": find(name),
        "settings": read_settings(take(body, "options", dict, {})),
        "keep_alive": read_keep_alive(body.get("keep_alive")),
        "stream": take(body, "stream", bool, True),
    }


def read_generate(find: Find, body: Mapping[str, Any]) -> Asked:
    """`/api/generate`: one prompt."""
    common = _common(find, body)
    refuse(
        body,
        {
            "suffix": f'"{common["name"]}" does not support insert',
            "template": "benchkit serve uses the template in the model's file",
        },
    )
    prompt, system = take(body, "prompt", str, ""), take(body, "system", str, "")
    context = take(body, "context", list, [])
    if not all(isinstance(token, int) and not isinstance(token, bool) for token in context):
        raise ApiError(400, '"context" must be an array of integers')
    if take(body, "raw", bool, False):
        if system or context:
            raise ApiError(400, "raw mode does not support template, system, or context")
        return Asked(**common, text=prompt)
    messages = [{"role": "system", "content": system}] if system and prompt else []
    messages += [{"role": "user", "content": prompt}] if prompt else []
    return Asked(**common, messages=messages, context=context, wants_context=True)


def read_chat(find: Find, body: Mapping[str, Any]) -> Asked:
    """`/api/chat`: a conversation."""
    return Asked(**_common(find, body), messages=read_messages(body))


#: OpenAI's name → Ollama's. `top_k`, `min_p`, `ignore_eos`, `cache_prompt` are llama-server's.
OPENAI_OPTIONS = {
    "max_tokens": "num_predict", "max_completion_tokens": "num_predict", "temperature": "temperature",
    "top_p": "top_p", "seed": "seed", "stop": "stop", "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty", "top_k": "top_k", "min_p": "min_p", "ignore_eos": "ignore_eos",
    "cache_prompt": "cache_prompt",
}  # fmt: skip


def _openai_common(find: Find, body: Mapping[str, Any]) -> dict[str, Any]:
    name = take(body, "model", str, "")
    if not name:
        raise ApiError(400, "model is required")
    refuse(
        body,
        {
            "tools": f'"{name}" does not support tools',
            "functions": f'"{name}" does not support tools',
            "logprobs": "benchkit serve gives no logprobs",
            "suffix": f'"{name}" does not support insert',
        },
    )
    if (body.get("n") or 1) != 1:
        raise ApiError(400, f'"n" is {body["n"]!r}: benchkit serve gives one reply a request')
    if take(take(body, "response_format", dict, {}), "type", str, "text") != "text":
        raise ApiError(400, 'benchkit serve cannot hold a reply to a "response_format"')
    options = {"temperature": 1.0, "top_p": 1.0}
    options |= {new: body[old] for old, new in OPENAI_OPTIONS.items() if body.get(old) is not None}
    return {
        "name": name,
        "model": find(name),
        "settings": read_settings(options),
        "keep_alive": read_keep_alive(None),
        "stream": take(body, "stream", bool, False),
        "with_usage": take(take(body, "stream_options", dict, {}), "include_usage", bool, False),
    }


def read_openai_chat(find: Find, body: Mapping[str, Any]) -> Asked:
    """`/v1/chat/completions`."""
    messages = read_messages(body)
    if not messages:
        raise ApiError(400, "[] is too short - 'messages'")
    return Asked(**_openai_common(find, body), messages=messages)


def read_openai_completion(find: Find, body: Mapping[str, Any]) -> Asked:
    """`/v1/completions`: a text to go on with, without a chat template."""
    text = take(body, "prompt", str, "")
    if not text:
        raise ApiError(400, '"prompt" is empty: there is nothing to continue')
    return Asked(**_openai_common(find, body), text=text)


# ---------------------------------------------------------------- writing an answer


def to_json(value: Any) -> bytes:
    """A value as JSON, in ASCII: half a character in a prompt cannot break an answer."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def now_rfc3339() -> str:
    """The time as Ollama writes it."""
    return rfc3339(datetime.now(timezone.utc))


def rfc3339(when: datetime) -> str:
    """A time as Ollama writes it, in UTC.

    >>> rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc))
    '2026-01-02T03:04:05.000000Z'
    """
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class OllamaShape:
    """Answers of `/api/generate` and `/api/chat`: one JSON object a line, the last one with the counts."""

    content_type = "application/x-ndjson"

    def __init__(self, asked: Asked, chat: bool) -> None:
        self._asked, self._chat = asked, chat
        self._began = time.perf_counter_ns()

    def _object(self, text: str, **more: Any) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"response": text}
        return {"model": self._asked.name, "created_at": now_rfc3339(), **said, **more}

    def piece(self, text: str) -> bytes:
        """A piece of the reply."""
        return to_json(self._object(text, done=False)) + b"\n"

    def end(self, reply: Reply, text: str = "") -> dict[str, Any]:
        """The last object; as Ollama does, zeros are left out, but for the cached tokens."""
        figures = {
            "total_duration": time.perf_counter_ns() - self._began,
            "load_duration": reply.load_ns,
            "prompt_eval_count": reply.n_prompt,
            "prompt_eval_duration": reply.prompt_ns,
            "eval_count": reply.n_output,
            "eval_duration": reply.output_ns,
        }
        context = {"context": list(reply.context)} if reply.context else {}
        return self._object(
            text,
            done=True,
            done_reason=reply.done_reason,
            **context,
            **{name: value for name, value in figures.items() if value},
            prompt_eval_cached_count=reply.n_cached,
        )

    def last(self, reply: Reply) -> bytes:
        """The end of a stream."""
        return to_json(self.end(reply)) + b"\n"

    def whole(self, reply: Reply) -> dict[str, Any]:
        """The answer at once."""
        return self.end(reply, reply.text)

    def nothing(self, reason: str) -> dict[str, Any]:
        """The answer to an empty request, which loads or unloads."""
        return self._object("", done=True, done_reason=reason)

    def broken(self, error: ApiError) -> bytes:
        """An error after the answer has begun."""
        return to_json({"error": str(error)}) + b"\n"


class OpenAIShape:
    """Answers of `/v1/chat/completions` and `/v1/completions`: server-sent events, at their end `[DONE]`."""

    content_type = "text/event-stream"

    def __init__(self, asked: Asked, chat: bool) -> None:
        self._asked, self._chat = asked, chat
        self._id = f"{'chatcmpl' if chat else 'cmpl'}-{random.SystemRandom().getrandbits(64):016x}"

    def _object(self, kind: str, choices: list, **more: Any) -> dict[str, Any]:
        return {
            "id": self._id, "object": kind, "created": int(time.time()), "model": self._asked.name,
            "system_fingerprint": "fp_ollama", "choices": choices, **more,
        }  # fmt: skip

    def _chunk(self, text: str, reason: str | None) -> dict[str, Any]:
        said = {"delta": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return self._object(kind, [{"index": 0, **said, "finish_reason": reason}])

    def piece(self, text: str) -> bytes:
        """A piece of the reply."""
        return _event(self._chunk(text, None))

    def last(self, reply: Reply) -> bytes:
        """The end of a stream: why it ended, the counts if they were asked for, and `[DONE]`."""
        end = self._chunk("", reply.done_reason)
        usage = _event({**end, "choices": [], "usage": _usage(reply)}) if self._asked.with_usage else b""
        return _event(end) + usage + b"data: [DONE]\n\n"

    def whole(self, reply: Reply) -> dict[str, Any]:
        """The answer at once."""
        said = (
            {"message": {"role": "assistant", "content": reply.text}} if self._chat else {"text": reply.text}
        )
        kind = "chat.completion" if self._chat else "text_completion"
        choices = [{"index": 0, **said, "finish_reason": reply.done_reason}]
        return self._object(kind, choices, usage=_usage(reply))

    def broken(self, error: ApiError) -> bytes:
        """An error after the answer has begun."""
        return _event(openai_error(error))


def _event(value: Any) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


def _usage(reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.n_prompt,
        "completion_tokens": reply.n_output,
        "total_tokens": reply.n_prompt + reply.n_output,
        "prompt_tokens_details": {"cached_tokens": reply.n_cached},
    }


def openai_error(error: ApiError) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    kinds = {400: "invalid_request_error", 404: "not_found_error"}
    kind = kinds.get(error.status, "api_error")
    return {"error": {"message": str(error), "type": kind, "param": None, "code": None}}
