"""From an `Exchange` to a `Recording`: what the parsers of both protocols share. Nothing here asks a clock.

A parser goes through the lines of the answer, each with the time of the read that completed it, and
collects what it understands in a `Reply`; `Reply.recording` then decides how the request ended. What a server
sends is untrusted: numbers are checked before they are believed, words are cut short before they are shown.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from ..metrics import without_end_token
from ..recording import TEXT_KINDS, Chunk, Count, Recording
from .base import Options
from .wire import Exchange

#: The words for "the model ended its reply by itself", in all protocols.
BY_ITSELF = ("stop", "tool_calls", "function_call")
MOST = 2**63  # no count of tokens and no duration in ns is larger; beyond it even arithmetic fails


class Lines:
    """Bytes in, as they come; complete lines out.

    >>> lines = Lines()
    >>> lines.feed(b"one\\ntw"), lines.feed(b"o\\n"), lines.rest
    ([b'one'], [b'two'], b'')
    """

    def __init__(self) -> None:
        self._open: list[bytes] = []  # the line under way, in pieces: joining it each time would be quadratic

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete, without their ends."""
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            self._open.append(tail)
            return []
        if self._open:
            head = b"".join((*self._open, head))
        self._open = [tail] if tail else []
        return head.split(b"\n")

    @property
    def rest(self) -> bytes:
        """The line that has not ended."""
        return b"".join(self._open)


def lines_of(pieces: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, bool]]:
    """Each line with the time at which it was complete, and whether it was: the last one may not be.

    >>> list(lines_of([(1, b"a\\nb"), (2, b"c\\nd")]))
    [(1, b'a', True), (2, b'bc', True), (2, b'd', False)]
    """
    lines, t_ns = Lines(), 0
    for t_ns, data in pieces:
        for line in lines.feed(data):
            yield t_ns, line, True
    if rest := lines.rest:
        yield t_ns, rest, False


def json_object(data: bytes) -> dict[str, Any] | None:
    """These bytes as a JSON object; None if they are not one. A broken character becomes U+FFFD.

    >>> json_object(b'{"a": 1}'), json_object(b"[1]"), json_object(b'{"a": ')
    ({'a': 1}, None, None)
    """
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text_chunk(t_ns: int, kind: str, text: str) -> Chunk:
    """A chunk of text. Half of a surrogate pair, which no file could hold, becomes U+FFFD."""
    try:
        n_bytes = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        n_bytes = len(text.encode())
    return Chunk(t_ns, kind, text, n_bytes)


def whole_number(value: Any) -> int | None:
    """A count as a server gives it, or None if it cannot be one.

    >>> whole_number(12), whole_number(-1), whole_number("12"), whole_number(True)
    (12, None, None, None)
    """
    return value if type(value) is int and 0 <= value < MOST else None


def checked_timings(engine: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's own figures, verbatim; set apart where one is impossible, so that no formula uses them.

    >>> checked_timings("ollama", {"eval_count": 3, "eval_duration": -5})
    {'engine': 'ollama', 'impossible': {'eval_count': 3, 'eval_duration': -5}}
    """
    figures = {name: value for name, value in figures.items() if value is not None}  # 0/0 in C++ is null
    if not figures:
        return {}
    good = all(type(v) in (int, float) and math.isfinite(v) and 0 <= v < MOST for v in figures.values())
    if good:
        return {"engine": engine, **figures}
    return {"engine": engine, "impossible": {k: v if type(v) is int and abs(v) < MOST else str(v)[:40]
                                             for k, v in figures.items()}}  # fmt: skip


@dataclass
class Reply:
    """What a parser has understood of one answer."""

    chunks: list[Chunk] = field(default_factory=list)
    finish: str | None = None  # why the reply ended, in the server's word
    error: str | None = None  # the server's own complaint, inside the stream
    unreadable: bytes | None = None  # the first line that made no sense
    cut: bool = False  # the last line was not complete
    hint: str = ""  # more about an ending without a reason
    counts: dict[str, int | None] = field(default_factory=dict)  # prompt, cached, reasoning, output_reported
    counts_end_token: bool = False  # whether output_reported includes the end token
    timings: dict[str, Any] = field(default_factory=dict)

    def silent(self, t_ns: int, kind: str, line: bytes) -> None:
        """Note a chunk that carries no token."""
        self.chunks.append(Chunk(t_ns, kind, "", len(line)))

    def not_understood(self, t_ns: int, line: bytes, whole: bool) -> None:
        """Note a line that is not what the protocol says: cut off, or no JSON at all."""
        self.silent(t_ns, "other", line)
        if not whole:
            self.cut = True
        elif self.unreadable is None:
            self.unreadable = line

    def recording(self, exchange: Exchange, asked: Options) -> Recording:
        """The finished recording."""
        state, error = _ending(self, exchange, asked)
        n_chunks = sum(1 for c in self.chunks if c.text and c.kind in TEXT_KINDS)
        counts = {name: n for name, n in self.counts.items() if n is not None}
        reported = counts.get("output_reported")
        if reported is not None:
            counts["output"] = without_end_token(reported, state) if self.counts_end_token else reported
        return Recording(
            t_sent_ns=exchange.t_sent_ns,
            t_end_ns=exchange.t_end_ns,
            state=state,
            chunks=tuple(self.chunks),
            counts={name: Count(n, "server") for name, n in counts.items()},
            t_scheduled_ns=exchange.t_scheduled_ns,
            t_headers_ns=exchange.t_headers_ns,
            t_first_byte_ns=exchange.t_first_byte_ns,
            chunks_are_tokens=n_chunks > 0 and n_chunks == counts.get("output"),
            cache=_cache(counts.get("cached")),
            server_timings=self.timings,
            request_id=exchange.request_id,
            error=error,
        )


def _cache(n_cached: int | None) -> str | None:
    """Cold or warm as it was, not as it was asked for. A beginning-of-text token alone is no warm cache."""
    if n_cached is None:
        return None
    return "cold" if n_cached <= 1 else "warm"


def _ending(reply: Reply, exchange: Exchange, asked: Options) -> tuple[str, str | None]:
    """How the request ended (`recording.STATES`), and what to tell about it."""
    if exchange.ended in ("refused", "unreadable"):
        return "error", exchange.error
    if exchange.status is not None and not 200 <= exchange.status < 300:
        return "error", http_failure(exchange)
    if reply.error is not None:
        return "error", f"The server reported an error: {reply.error}"
    if exchange.ended == "timeout":
        return "timeout", f"The reply was not finished after {asked.timeout_s:g} s and was cut off."
    if exchange.ended == "aborted":
        return "aborted", exchange.error
    if reply.unreadable is not None:
        return "error", _no_reply(exchange, reply.unreadable)
    if reply.finish in BY_ITSELF:
        return ("ok" if any(c.text and c.kind in TEXT_KINDS for c in reply.chunks) else "empty"), None
    if reply.finish == "length":
        return "length", None
    if reply.finish is not None:
        return "truncated", f"The server ended the reply for the reason {plain(reply.finish, 40)!r}."
    if exchange.ended == "disconnected":
        return "disconnected", exchange.error
    if reply.cut:
        return "truncated", "The answer ended in the middle of a line."
    return "truncated", f"The answer ended without saying why (no finish reason).{reply.hint}"


def _no_reply(exchange: Exchange, line: bytes) -> str:
    if (said := server_words(exchange)) and json_object(exchange.body) is not None:
        return f"The server reported an error: {said}"
    if _is_page(exchange):
        return (
            "The server answered with a web page instead of a reply: is this the address of a model's server?"
        )
    return (
        f"The server sent a line that is not of its protocol: {plain(line.decode('utf-8', 'replace'), 80)!r}"
    )


def http_failure(exchange: Exchange) -> str:
    """What an HTTP status other than success means here, with the server's own words."""
    status, said = exchange.status, server_words(exchange)
    name = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown"
    answer = f"The server answers {status} ({name})" + (f": {said}" if said else ".")
    answer = answer if answer.endswith((".", "!", "?")) else answer + "."
    if 300 <= status < 400:
        target = plain(exchange.headers.get("location", "nowhere"), 200)
        return (
            f"The server sends us elsewhere ({status}, to {target}). benchkit does not follow, for a key "
            "must not travel: give the right address as the host."
        )
    if status in (401, 403):
        return f"{answer} If it needs a key, set BENCHKIT_API_KEY to it."
    if status == 404:
        return f"{answer} Check the model's name and the address (OpenAI-compatible ones end in /v1)."
    if status == 429:
        wait = plain(exchange.headers.get("retry-after", ""), 40)
        return f"{answer} It allows no more requests for now{f', retry after {wait} s' if wait else ''}."
    if status == 503:
        return f"{answer} It is busy, its queue is full, or it is still loading the model."
    return answer


def server_words(exchange: Exchange) -> str:
    """The server's own message from an error's body, in any of the usual shapes; "" if there is none."""
    body = exchange.body[:100_000]
    answer = json_object(body.removeprefix(b"data:"))
    if answer is None:
        return "" if _is_page(exchange) else plain(body.decode("utf-8", "replace"))
    return error_words(answer)


def error_words(answer: Mapping[str, Any]) -> str:
    """The message in `{"error": …}`, which is a string for some servers and an object for others.

    >>> error_words({"error": {"message": "no such model", "code": 404}}), error_words({"error": "busy"})
    ('no such model', 'busy')
    """
    said = next((answer[key] for key in ("error", "message", "detail") if answer.get(key)), "")
    if isinstance(said, dict):
        said = said.get("message") or said
    return plain(said if isinstance(said, str) else json.dumps(said))


def _is_page(exchange: Exchange) -> bool:
    start = b"".join(data for _, data in exchange.pieces[:4]).lstrip()[:1]
    return "html" in exchange.headers.get("content-type", "").lower() or start == b"<"


def plain(text: str, n: int = 300) -> str:
    """A stranger's words, fit for a message: one line, nothing invisible, at most `n` characters.

    >>> plain("no\\x1b[31m such\\n model")
    'no[31m such model'
    """
    shown = "".join(c for c in " ".join(text[: 10 * n].split()) if unicodedata.category(c)[0] != "C")
    return shown if len(shown) <= n else shown[: n - 1] + "…"


def rows_of(answer: Mapping[str, Any] | None, key: str, name: str) -> list[dict[str, Any]]:
    """The rows of a server's list that have a name.

    >>> rows_of({"data": [{"id": "m"}, {"id": 3}, "m"]}, "data", "id"), rows_of({"data": None}, "data", "id")
    ([{'id': 'm'}], [])
    """
    rows = (answer or {}).get(key)
    rows = rows if isinstance(rows, list) else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get(name), str)]


def hidden(text: str, secret: str | None) -> str:
    """The text without our key, should a server have repeated it.

    >>> hidden("no such key: s3cret", "s3cret"), hidden("as it is", None)
    ('no such key: ***', 'as it is')
    """
    return text.replace(secret, "***") if secret else text


def without_secret(recording: Recording, secret: str | None) -> Recording:
    """The same recording, with the key blotted out should the server have repeated it, in pieces even."""
    if not secret:
        return recording
    texts = {kind: "".join(c.text for c in recording.chunks if c.kind == kind) for kind in TEXT_KINDS}
    if any(secret in text for text in texts.values()):
        rest = {kind: text.replace(secret, "*" * len(secret)) for kind, text in texts.items()}
        chunks = []
        for chunk in recording.chunks:
            text, rest[chunk.kind] = _split(rest.get(chunk.kind, ""), len(chunk.text))
            chunks.append(replace(chunk, text=text))
        recording = replace(recording, chunks=tuple(chunks))
    if recording.error:
        recording = replace(recording, error=hidden(recording.error, secret))
    if secret in json.dumps(dict(recording.server_timings), ensure_ascii=False):
        recording = replace(recording, server_timings={})
    return recording


def _split(text: str, at: int) -> tuple[str, str]:
    return text[:at], text[at:]
