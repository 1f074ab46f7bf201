"""A model behind a server: what the Ollama and the OpenAI-compatible backend share.

A request is sent by `wire` in a thread of its own, and understood by the protocol's parser when it is over.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ..errors import ModelError
from ..recording import Recording
from .base import DEFAULTS, OnText, Options
from .replies import Lines, hidden, http_failure, json_object, without_secret
from .wire import NOTHING, Exchange, LoopThread, Wire, quiet_gc, run_async

ASK_S = 10.0  # for small questions: versions, lists


class ServedModel:
    """The part of a backend that does not depend on the protocol.

    A protocol adds `request(prompt, options) -> (path, body)`, `parse(exchange, options)`, `text_of(line)`
    and, if it needs one, `prepare(options)`, done before each request.
    """

    def __init__(
        self, name: str, model: str, host: str, start: str, headers: Mapping[str, str] = NOTHING,
        secret: str | None = None,
    ) -> None:  # fmt: skip
        self.name, self.model, self.host = name, model, host
        self.load_s: float | None = None
        self.closed = False
        self._start, self._secret = start, secret
        self._wire = Wire(host, headers)
        self._thread = LoopThread()
        self._one_at_a_time = threading.Lock()
        weakref.finalize(self, self._thread.close)  # also when the program ends without close()

    def prepare(self, options: Options) -> None:
        """What has to be done before each request."""

    def stream(self, prompt: str, options: Options = DEFAULTS, on_text: OnText | None = None) -> Recording:
        """Ask for one reply. Whatever the server or the network does is a recording too, with its state.

        `on_text` is called with each new piece of text, at most ten times a second while it grows.
        """
        if not isinstance(prompt, str):
            raise ModelError(f"A prompt is a string, this is {type(prompt).__name__}.")
        with self._one_at_a_time:
            self.prepare(options)
            path, body = self.request(prompt, options)
            live = _Live(self.text_of, on_text) if on_text else None
            started_at = datetime.now(timezone.utc).isoformat()
            with quiet_gc(collect=False):
                exchange = self.send(path, body, options.timeout_s, live)
        recording = replace(self.parse(exchange, options), started_at=started_at)
        recording = without_secret(recording, self._secret)
        if live is not None:
            live.show_rest(recording.response)
        return recording

    def send(
        self, path: str, body: Mapping[str, Any] | None, timeout_s: float, live: _Live | None = None
    ) -> Exchange:
        """One request, answered or not."""
        if self.closed:
            raise ModelError(f"{self.name} is closed: connect again.")
        sending = self._wire.send(path, body, timeout_s=timeout_s, on_piece=live and live.pieces.put)
        return self._thread.run(sending, meanwhile=live and live.show)

    def ask_json(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask a small question; raises ModelError with what to do if there is no answer."""
        exchange = self.send(path, body, ASK_S)
        self.check(exchange)
        return _answer(exchange, self.name)

    def check(self, exchange: Exchange) -> None:
        """Raise ModelError unless the server answered, and with success."""
        if problem := _problem(exchange, self._start):
            raise ModelError(self.hide(f"{self.name}: {problem}"))

    def hide(self, text: str) -> str:
        """The text without our key."""
        return hidden(text, self._secret)

    def pids(self) -> list[int]:
        """The processes whose memory is the model's, where that is known."""
        return []

    def close(self) -> None:
        """Close the connection."""
        self._hang_up()

    def _hang_up(self) -> None:
        if not self.closed:
            self.closed = True
            self._thread.run(self._wire.close())
            self._thread.close()

    def __enter__(self) -> ServedModel:  # noqa: PYI034
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Live:
    """Text on its way to a live view; the bytes are understood in the caller's thread."""

    def __init__(self, text_of: Callable[[bytes], str], on_text: OnText) -> None:
        self.pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._lines, self._text_of, self._on_text, self._n_shown = Lines(), text_of, on_text, 0

    def show(self) -> None:
        """Pass on what has come since the last time."""
        text = ""
        while not self.pieces.empty():
            text += "".join(map(self._text_of, self._lines.feed(self.pieces.get())))
        self._pass_on(text)

    def show_rest(self, response: str) -> None:
        """Pass on what is still missing of the finished reply."""
        self._pass_on(response[self._n_shown :])

    def _pass_on(self, text: str) -> None:
        if text:
            self._n_shown += len(text)
            self._on_text(text)


def ask_json(
    base_url: str, path: str, *, who: str, help: str, headers: Mapping[str, str] = NOTHING
) -> dict[str, Any]:
    """Ask a server one small question without keeping a connection. Raises ModelError with what to do."""

    async def once() -> Exchange:
        wire = Wire(base_url, headers)
        try:
            return await wire.send(path, timeout_s=ASK_S)
        finally:
            await wire.close()

    exchange = run_async(once)
    if problem := _problem(exchange, help):
        raise ModelError(f"{who}: {problem}")
    return _answer(exchange, who)


def _problem(exchange: Exchange, start: str) -> str | None:
    if exchange.ended == "refused":
        return f"{exchange.error} {start}"
    if exchange.ended != "complete":
        return f"The server gave no answer: {exchange.error or exchange.ended}"
    return None if exchange.status == 200 else http_failure(exchange)


def _answer(exchange: Exchange, who: str) -> dict[str, Any]:
    answer = json_object(exchange.body)
    if answer is None:
        raise ModelError(
            f"{who}: the server did not answer in JSON. Is this the address of a model's server?"
        )
    return answer
