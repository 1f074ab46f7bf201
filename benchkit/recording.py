"""A recording: everything observed about one request, before any formula.

Times are whole nanoseconds of `time.perf_counter_ns()`, one clock for every duration.
A missing value is `None`, never 0. The formulas that turn a recording into numbers
live in `benchkit.metrics`; a recording never changes after it was taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: How a request can end.
STATES = ("ok", "length", "empty", "truncated", "error", "timeout", "disconnected", "aborted")

#: What a chunk can hold. Only the kinds in `TEXT_KINDS` carry tokens.
KINDS = ("content", "reasoning", "tool", "role", "ping", "usage", "other")
TEXT_KINDS = ("content", "reasoning", "tool")

#: Who counted the tokens, most trustworthy first.
SOURCES = ("server", "engine_tokenizer", "estimate")


@dataclass(frozen=True)
class Chunk:
    """One piece of the reply, stamped when it arrived.

    >>> Chunk(t_ns=5_000_000, kind="content", text="Hi", n_bytes=2).text
    'Hi'
    """

    t_ns: int
    kind: str
    text: str
    n_bytes: int


@dataclass(frozen=True)
class Count:
    """A number of tokens, and who counted them.

    >>> Count(12, "server").value
    12
    """

    value: int
    source: str


@dataclass(frozen=True)
class Recording:
    """Everything observed about one request: stamps, chunks, counts, how it ended.

    Counts are keyed `prompt`, `cached`, `reasoning`, `output` (tokens that have text) and
    `output_reported` (what the engine itself counted, which may include an end token).

    >>> r = Recording(t_sent_ns=0, t_end_ns=30_000_000, state="ok",
    ...               chunks=(Chunk(10_000_000, "content", "Hi", 2), Chunk(20_000_000, "content", "!", 1)))
    >>> r.response
    'Hi!'
    >>> Recording.from_dict(r.to_dict()) == r
    True
    """

    t_sent_ns: int
    t_end_ns: int
    state: str
    chunks: tuple[Chunk, ...] = ()
    counts: Mapping[str, Count] = field(default_factory=dict)
    t_scheduled_ns: int | None = None
    t_headers_ns: int | None = None
    t_first_byte_ns: int | None = None
    first_chunk_tokens: int | None = None  # k1; None: unknown, formulas take 1 and say so
    chunks_are_tokens: bool = False  # verified: every text chunk is exactly one token
    cache: str | None = None  # "cold", "warm", or None where it is not known
    server_timings: Mapping[str, Any] = field(default_factory=dict)
    started_at: str | None = None  # wall clock, ISO 8601, only to say when it happened
    request_id: str | None = None
    error: str | None = None

    @property
    def response(self) -> str:
        """The answer proper: all content text, in order."""
        return "".join(c.text for c in self.chunks if c.kind == "content")

    def to_dict(self) -> dict[str, Any]:
        """The recording as plain JSON values, chunks stored as columns."""
        row = asdict(self)
        row["chunks"] = {
            name: [getattr(c, name) for c in self.chunks] for name in ("t_ns", "kind", "text", "n_bytes")
        }
        row["counts"] = {name: asdict(count) for name, count in self.counts.items()}
        row["server_timings"] = dict(self.server_timings)
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Recording:
        """Rebuild a recording from what `to_dict` wrote."""
        columns = row["chunks"]
        chunks = zip(columns["t_ns"], columns["kind"], columns["text"], columns["n_bytes"], strict=True)
        fields = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        fields["chunks"] = tuple(Chunk(*c) for c in chunks)
        fields["counts"] = {name: Count(**c) for name, c in row["counts"].items()}
        return cls(**fields)
