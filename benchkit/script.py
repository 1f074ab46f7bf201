"""What a truth server is to say: a script, and its bytes in Ollama's and OpenAI's protocol. Pure.

A `Script` says how a reply goes; `timeline` turns it into moments that are due; `steps` turns these into the
bytes of each write. `benchkit.truth` does the writing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from typing import Any, NamedTuple

from benchkit.errors import BenchkitError, did_you_mean

MODEL = "truth"  # the name in the list of models; replies answer to every name
MS = 1_000_000  # nanoseconds in a millisecond
WHEN = "2026-01-01T00:00:00Z"  # every reply's creation date: the same request always gets the same bytes

# ---------------------------------------------------------------- how a reply goes


@dataclass(frozen=True)
class Script:
    """How one reply goes. Times are in ms, counted from when the request was read.

    `ttft_ms` is made of `queue_ms`, `load_ms` and, for the rest, prompt processing. A chunk of several tokens
    comes when its last token is there. `n_reasoning` tokens of thinking come before the `n_tokens` of answer;
    the request's own token limit cuts both. A role-only chunk, an empty chunk and the first `:` ping come at
    once, with the headers. `error_after`, `stall_after` and `drop_after` count chunks with text: an error
    inside the 200, a pause of `stall_ms` (None: for ever), a connection closed without an end. Ollama's
    protocol has no role-only chunks and no pings; there the first is an empty chunk, the second left out.

    >>> Script(n_tokens=3).gap_ms
    20.0
    """

    ttft_ms: float = 200.0
    gap_ms: float = 20.0
    n_tokens: int = 32
    tokens_per_chunk: int = 1
    n_reasoning: int = 0
    role_first: bool = False
    empty_first: bool = False
    ping_every: int = 0  # a ping before every so-manieth chunk; 0: none
    usage: bool = True  # token counts, where the protocol gives any
    timings: bool = False  # llama-server's own `timings`, on OpenAI's protocol
    n_prompt: int = 16
    n_cached: int | None = None  # None: the reply does not say
    queue_ms: float = 0.0
    load_ms: float = 0.0
    error_after: int | None = None
    stall_after: int | None = None
    stall_ms: float | None = None
    drop_after: int | None = None


def read_script(values: Mapping[str, Any], otherwise: Script = Script()) -> Script:
    """A script from JSON values, checked; what is not given is as in `otherwise`.

    >>> read_script({"ttft_ms": 20}).ttft_ms
    20
    """
    if not isinstance(values, Mapping):
        raise BenchkitError(
            f'"truth" is an object such as {{"ttft_ms": 20}}, this is {json.dumps(values)[:80]}.'
        )
    known = {field.name: field.default for field in fields(Script)}
    for name, value in values.items():
        if name not in known:
            raise BenchkitError(
                f"a script has no '{name}'{did_you_mean(name, known)}. It has: {', '.join(known)}."
            )
        _check(name, value, known[name])
    script = Script(**{**asdict(otherwise), **values})
    if script.queue_ms + script.load_ms > script.ttft_ms:
        raise BenchkitError(f"queue_ms + load_ms = {script.queue_ms + script.load_ms:g} are parts of "
                            f"ttft_ms = {script.ttft_ms:g}, and cannot be more.")  # fmt: skip
    return script


def _check(name: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise BenchkitError(f"{name}={value!r}: allowed is true or false.")
        return
    if value is None and default is None:
        return
    whole = not name.endswith("_ms")
    least, most = int(name == "tokens_per_chunk"), 1_000_000 if whole else 86_400_000
    if (
        isinstance(value, bool)
        or not isinstance(value, int if whole else (int, float))
        or not least <= value <= most
    ):
        kind = "a whole number" if whole else "milliseconds"
        raise BenchkitError(f"{name}={value!r}: {kind} from {least} to {most:,}.")


class Moment(NamedTuple):
    """Something that is due: ms after the request was read, what kind of chunk, and which of its tokens."""

    due_ms: float
    kind: str
    tokens: range = range(0)


def timeline(script: Script, max_tokens: int | None = None) -> list[Moment]:
    """Everything that a reply will do, in order; the last moment is its end.

    >>> [(moment.due_ms, moment.kind, len(moment.tokens)) for moment in timeline(Script(20, 5, 3, 2))]
    [(20.0, 'content', 2), (25.0, 'content', 1), (25.0, 'end', 0)]
    """
    chunks = _text_chunks(script, max_tokens)
    first = len(chunks[0].tokens) if chunks else 0
    moments = [Moment(0.0, kind) for kind, asked in
               (("role", script.role_first), ("other", script.empty_first)) if asked]  # fmt: skip
    lost_ms = 0.0
    for n, (_, kind, tokens) in enumerate(chunks):
        lost_ms += _stall_ms(script, n)
        due_ms = script.ttft_ms + (tokens.stop - first) * script.gap_ms + lost_ms
        fault = _fault(script, n, due_ms)
        if fault is not None:
            return moments + fault
        if script.ping_every and n % script.ping_every == 0:
            moments.append(Moment(due_ms - script.gap_ms / 2 if n else 0.0, "ping"))
        moments.append(Moment(due_ms, kind, tokens))
    last_ms = max([script.ttft_ms, *(moment.due_ms for moment in moments)]) + _stall_ms(script, len(chunks))
    fault = _fault(script, len(chunks), last_ms)
    return moments + ([Moment(last_ms, "end")] if fault is None else fault)


def _text_chunks(script: Script, max_tokens: int | None) -> list[Moment]:
    """The chunks with text, not yet timed; a chunk is reasoning or answer. Tokens count through both."""
    n_reasoning = script.n_reasoning if max_tokens is None else min(script.n_reasoning, max_tokens)
    n = (
        n_reasoning + script.n_tokens
        if max_tokens is None
        else min(n_reasoning + script.n_tokens, max_tokens)
    )
    size, chunks = script.tokens_per_chunk, []
    for kind, start, stop in (("reasoning", 0, n_reasoning), ("content", n_reasoning, n)):
        chunks += [Moment(0.0, kind, range(i, min(i + size, stop))) for i in range(start, stop, size)]
    return chunks


def _stall_ms(script: Script, n: int) -> float:
    return (script.stall_ms or 0.0) if n == script.stall_after else 0.0


def _fault(script: Script, n: int, due_ms: float) -> list[Moment] | None:
    """What goes wrong once `n` chunks with text are out, if anything does."""
    if n == script.error_after:
        return [Moment(due_ms, "error")]
    if n == script.drop_after:
        return [Moment(due_ms, "drop")]
    if n == script.stall_after and script.stall_ms is None:
        return []  # nothing more, ever
    return None


def token(i: int) -> str:
    """The text of one token; every token differs, so that a lost or doubled one is seen.

    >>> token(0) + token(1)
    ' w0 w1'
    """
    return f" w{i}"


# ---------------------------------------------------------------- the reply's bytes, in both protocols


class Parts(NamedTuple):
    """What the reply's own figures are made of: whole ns, from the stamps of what was really written."""

    queue_ns: int
    load_ns: int
    prefill_ns: int
    decode_ns: int


class Step(NamedTuple):
    """One write: when it is due (ns after the request was read), what it is, and its bytes as they go out.

    Bytes that hold the reply's own figures are known only when due: then `data` is a function of these.
    """

    due_ns: int
    kind: str
    n_tokens: int
    data: bytes | Callable[[Parts], bytes]


class Asked(NamedTuple):
    """What a request asks for, whatever its protocol."""

    path: str
    model: str
    script: Script
    streamed: bool
    max_tokens: int | None
    usage: bool


OLLAMA = ("/api/chat", "/api/generate")
OPENAI = ("/v1/chat/completions", "/v1/completions")


def read_request(path: str, body: bytes, script: Script) -> Asked | None:
    """What a POST asks for; None where it only asks to load or unload the model (Ollama's empty prompt)."""
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise BenchkitError("the request's body is not a JSON object.")
    model = str(asked.get("model", MODEL))
    script = read_script(asked.get("truth", {}), script)
    if path in OPENAI:
        limit = _limit(asked.get("max_completion_tokens") or asked.get("max_tokens"))
        usage = not asked.get("stream") or bool(_inside(asked, "stream_options").get("include_usage"))
        return Asked(path, model, script, bool(asked.get("stream")), limit, usage and script.usage)
    if not asked.get("prompt") and not asked.get("messages"):
        return None
    limit = _limit(_inside(asked, "options").get("num_predict"))
    return Asked(path, model, script, asked.get("stream") is not False, limit, script.usage)


def _inside(asked: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = asked.get(name) or {}
    if not isinstance(value, dict):
        raise BenchkitError(f'"{name}" is an object, this is {json.dumps(value)[:80]}.')
    return value


def _limit(value: Any) -> int | None:
    """The request's own token limit; none, or a negative one (Ollama's -1), is no limit."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise BenchkitError(f"the token limit is a whole number, this is {json.dumps(value)[:80]}.")
    return None if value is None or value < 0 else value


@lru_cache(maxsize=256)
def rehearse(path: str, body: bytes, script: Script) -> tuple[Script, tuple[Step, ...]] | None:
    """The script a request goes by, and all that will be written: worked out once for like requests."""
    asked = read_request(path, body, script)
    return None if asked is None else (asked.script, steps(asked))


def steps(asked: Asked) -> tuple[Step, ...]:
    """Everything that will be written in answer to a request."""
    moments = timeline(asked.script, asked.max_tokens)
    if not asked.streamed:
        return _whole(asked, moments)
    done: list[Step] = []
    for moment in moments:
        data = _bytes_of(asked, moment, moments)
        if data is not None:
            head = b"" if done or moment.kind == "drop" else _head(asked)
            done.append(Step(round(moment.due_ms * MS), moment.kind, len(moment.tokens), _framed(head, data)))
    return tuple(done)


def _head(asked: Asked) -> bytes:
    kind = b"text/event-stream" if asked.path in OPENAI else b"application/x-ndjson"
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n"


def _framed(head: bytes, data: bytes | Callable[[Parts], bytes]) -> bytes | Callable[[Parts], bytes]:
    """Bytes, or a function that makes them, with what HTTP puts before."""
    return head + data if isinstance(data, bytes) else lambda parts: head + data(parts)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


ERROR = "the script says that this reply ends in an error"
LAST_CHUNK = b"0\r\n\r\n"


def _bytes_of(asked: Asked, moment: Moment, moments: list[Moment]) -> bytes | Callable[[Parts], bytes] | None:
    """One moment as HTTP chunks; None where the protocol has nothing like it."""
    sse = asked.path in OPENAI
    say = partial(_openai, asked) if sse else partial(_ollama, asked)
    if moment.kind == "end":
        return lambda parts: _chunk(_end(asked, moments, parts)) + LAST_CHUNK
    if moment.kind == "error":
        return _chunk(_error(asked)) + LAST_CHUNK
    if moment.kind == "drop":
        return b""
    if moment.kind == "ping":
        return _chunk(b": ping\n\n") if sse else None
    return _chunk(say(moment.kind, "".join(map(token, moment.tokens))))


def line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + line(value) + b"\n"


def _ollama(asked: Asked, kind: str, text: str) -> bytes:
    return line(_ollama_object(asked, **{"thinking" if kind == "reasoning" else "content": text}))


def _ollama_object(asked: Asked, content: str = "", thinking: str = "", done: bool = False) -> dict[str, Any]:
    thought = {"thinking": thinking} if thinking else {}
    if asked.path == "/api/chat":
        said = {"message": {"role": "assistant", "content": content, **thought}}
    else:
        said = {"response": content, **thought}
    return {"model": asked.model, "created_at": WHEN, **said, "done": done}


def _openai(asked: Asked, kind: str, text: str) -> bytes:
    names = {"role": "role", "reasoning": "reasoning_content"}
    delta = {names.get(kind, "content"): "assistant" if kind == "role" else text}
    return _event(_openai_object(asked, delta=delta))


def _openai_object(asked: Asked, finish: str | None = None, **said: Any) -> dict[str, Any]:
    """One object of OpenAI's protocol; `said` is the chat's `delta` or `message`, or becomes the plain text."""
    chat = asked.path == "/v1/chat/completions"
    kind = "text_completion" if not chat else "chat.completion" + (".chunk" if asked.streamed else "")
    if not chat:
        said = {"text": next(iter(said.values()), {}).get("content", "")}
    choice = {"index": 0, **said, "finish_reason": finish}
    return {
        "id": "cmpl-truth",
        "object": kind,
        "created": 1767225600,
        "model": asked.model,
        "choices": [choice],
    }


def _error(asked: Asked) -> bytes:
    if asked.path in OPENAI:
        return _event({"error": {"message": ERROR, "type": "server_error", "code": 500}})
    return line({"error": ERROR})


def _end(asked: Asked, moments: list[Moment], parts: Parts) -> bytes:
    """What closes a streamed reply: why it ended, and its figures."""
    n, n_reasoning = _counts(moments)
    if asked.path in OLLAMA:
        return line({**_ollama_object(asked, done=True), **_ollama_figures(asked, n, parts)})
    last = {**_openai_object(asked, _reason(asked, n), delta={}), **_timings(asked, n, parts)}
    usage = {**_openai_object(asked), "choices": [], **_usage(asked, n, n_reasoning)}
    return _event(last) + (_event(usage) if asked.usage else b"") + b"data: [DONE]\n\n"


def _counts(moments: list[Moment]) -> tuple[int, int]:
    """All tokens with text, and how many of them are reasoning."""
    return (sum(len(moment.tokens) for moment in moments),
            sum(len(moment.tokens) for moment in moments if moment.kind == "reasoning"))  # fmt: skip


def _reason(asked: Asked, n: int) -> str:
    return "length" if asked.max_tokens is not None and n >= asked.max_tokens else "stop"


def _ollama_figures(asked: Asked, n: int, parts: Parts) -> dict[str, Any]:
    """Ollama's last line: durations in ns, and counts."""
    script = asked.script
    figures = {"done_reason": _reason(asked, n), "total_duration": sum(parts), "load_duration": parts.load_ns,
               "prompt_eval_duration": parts.prefill_ns, "eval_duration": parts.decode_ns}  # fmt: skip
    if asked.usage:
        figures |= {"prompt_eval_count": script.n_prompt, "eval_count": _n_reported(asked, n)}
        figures |= {} if script.n_cached is None else {"prompt_eval_cached_count": script.n_cached}
    return {name: value for name, value in figures.items() if value != 0}  # Ollama leaves out a zero


def _usage(asked: Asked, n: int, n_reasoning: int) -> dict[str, Any]:
    if not asked.usage:
        return {}
    n_prompt, n_cached, n = asked.script.n_prompt, asked.script.n_cached, _n_reported(asked, n)
    usage: dict[str, Any] = {"prompt_tokens": n_prompt, "completion_tokens": n, "total_tokens": n_prompt + n}
    if n_cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": n_cached}
    if n_reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": n_reasoning}
    return {"usage": usage}


def _timings(asked: Asked, n: int, parts: Parts) -> dict[str, Any]:
    if not asked.script.timings:
        return {}
    n_cached = asked.script.n_cached or 0
    return {"timings": {"cache_n": n_cached, "prompt_n": asked.script.n_prompt - n_cached,
                        "prompt_ms": parts.prefill_ns / MS, "predicted_n": _n_reported(asked, n),
                        "predicted_ms": parts.decode_ns / MS}}  # fmt: skip


def _n_reported(asked: Asked, n: int) -> int:
    """The tokens the engine reports: Ollama and llama-server (known by its timings) count the end token."""
    counts_the_end = asked.path in OLLAMA or asked.script.timings
    return n + (counts_the_end and _reason(asked, n) == "stop")


def _whole(asked: Asked, moments: list[Moment]) -> tuple[Step, ...]:
    """A reply that is not streamed: one answer when its last token is there, or what goes wrong instead."""
    answers = {"end": partial(_answer, asked, moments), "error": partial(_failed, asked), "drop": b""}
    last = moments[-1] if moments else None
    if last is None or last.kind not in answers:
        return ()  # it stalls: nothing, ever
    n = _counts(moments)[0] if last.kind == "end" else 0
    return (Step(round(last.due_ms * MS), last.kind, n, answers[last.kind]),)


def _answer(asked: Asked, moments: list[Moment], parts: Parts) -> bytes:
    n, n_reasoning = _counts(moments)
    thought, said = ("".join(token(i) for moment in moments if moment.kind == kind for i in moment.tokens)
                     for kind in ("reasoning", "content"))  # fmt: skip
    if asked.path in OLLAMA:
        whole = _ollama_object(asked, said, thought, done=True)
        return response(200, {**whole, **_ollama_figures(asked, n, parts)})
    message = {"role": "assistant", "content": said, **({"reasoning_content": thought} if thought else {})}
    whole = _openai_object(asked, _reason(asked, n), message=message)
    return response(200, {**whole, **_usage(asked, n, n_reasoning), **_timings(asked, n, parts)})


def _failed(asked: Asked, _parts: Parts) -> bytes:
    return response(
        500, {"error": ERROR if asked.path in OLLAMA else {"message": ERROR, "type": "server_error"}}
    )


def response(status: int, value: Any, kind: str = "application/json") -> bytes:
    """A whole HTTP response."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    words = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}
    head = f"HTTP/1.1 {status} {words[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
