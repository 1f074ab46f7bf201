"""A stand-in for Ollama, for check cells: it answers at once, and remembers what it was asked.

    with stand_in(["Sa", "m."], n_tokens=3, first_s=0.1) as server:
        called("call_ollama", "tiny", "Who?", server.url).satisfies(…)
        server.prompts  # ["Who?"]

It runs in a thread of this process, speaks `/api/generate` and `/api/chat` line by line as Ollama does, and only
this computer can reach it. It has no model: `benchkit serve gguf:pocket-s` is the one with a model behind it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATHS = ("/api/generate", "/api/chat")
WHEN = "2026-01-01T00:00:00Z"
MAX_BODY = 2**20


@dataclass
class StandIn:
    """The server as a check sees it: where it is, how it answers, and what it was asked, in order."""

    url: str
    pieces: Sequence[str]
    n_tokens: int
    first_s: float
    rest_s: float
    models: Sequence[str]
    fails: Sequence[str]
    asked: list[dict[str, Any]] = field(default_factory=list)
    opened: float = field(default_factory=time.perf_counter)

    @property
    def prompts(self) -> list[str]:
        """The prompts that it was asked, in order."""
        return [prompt_of(body) for body in self.asked]

    @property
    def open_s(self) -> float:
        """Seconds since it opened: no request can have taken longer."""
        return time.perf_counter() - self.opened


def prompt_of(body: dict[str, Any]) -> str:
    """The prompt in a request's body: `prompt`, or the content of the last message; "" where there is no text.

    >>> prompt_of({"messages": [{"role": "user", "content": "Who?"}]})
    'Who?'
    """
    messages = body.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        text = messages[-1].get("content")
    else:
        text = body.get("prompt")
    return text if isinstance(text, str) else ""


@contextlib.contextmanager
def stand_in(
    pieces: Sequence[str] = ("Hello", "!"), *, n_tokens: int = 3, first_s: float = 0.0, rest_s: float = 0.0,
    models: Sequence[str] = ("tiny",), fails: Sequence[str] = (),
) -> Iterator[StandIn]:  # fmt: skip
    """A stand-in for Ollama for as long as the block lasts.

    Every reply begins with an object without text, at once; `pieces` follow, the first after `first_s` seconds and
    the others `rest_s` later; the last object says `n_tokens`. Prompts in `fails` get HTTP 500 after `first_s`,
    other models than `models` get 404.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    server.stand_in = StandIn(url, list(pieces), n_tokens, first_s, rest_s, tuple(models), tuple(fails))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server.stand_in
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    block_on_close = False
    stand_in: StandIn

    def handle_error(self, *_: Any) -> None:
        """Nothing: a client that hangs up in the middle is no error of the server, and stderr is not for checks."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10  # a client that sends nothing holds its thread no longer than this

    def log_message(self, *_: Any) -> None:
        """Nothing: a check cell shows its own message only."""

    def do_GET(self) -> None:
        """What Ollama's front page says."""
        self._whole(200, {"status": "Ollama is running"})

    def do_POST(self) -> None:
        """Answer one request, and remember it."""
        about: StandIn = self.server.stand_in
        body = self._body()
        if self.path not in PATHS:
            return self._whole(404, {"error": f"there is no {self.path} here; there is {' and '.join(PATHS)}"})
        if body is None:
            return self._whole(400, {"error": "the request's body must be a JSON object: json={…}"})
        about.asked.append(body)
        if body.get("model") not in about.models:
            return self._whole(404, {"error": f"model {str(body.get('model'))!r} not found"})
        if prompt_of(body) in about.fails:
            time.sleep(about.first_s)
            return self._whole(500, {"error": "the model has stopped"})
        with contextlib.suppress(OSError):  # a client that went away
            self._reply(about, body)

    def _body(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "0")
        try:
            body = json.loads(self.rfile.read(max(0, min(int(length), MAX_BODY))))
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    def _reply(self, about: StandIn, body: dict[str, Any]) -> None:
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": about.n_tokens}
        pauses = [about.first_s, about.rest_s, *[0.0] * len(about.pieces)]
        if body.get("stream") is False:
            time.sleep(about.first_s + about.rest_s)
            return self._whole(200, {**self._object(body, "".join(about.pieces)), **end})
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._line({**self._object(body, ""), "done": False})
        for pause_s, piece in zip(pauses, about.pieces):
            time.sleep(pause_s)
            self._line({**self._object(body, piece), "done": False})
        self._line({**self._object(body, ""), **end})
        self.wfile.write(b"0\r\n\r\n")

    def _object(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        chat = self.path == "/api/chat"
        said = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
        return {"model": body["model"], "created_at": WHEN, **said}

    def _line(self, value: dict[str, Any]) -> None:
        data = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _whole(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value, ensure_ascii=False).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
