"""`benchkit serve gguf:pocket-s`: a real model behind Ollama's protocol and OpenAI's, with nothing installed.

    requests.post("http://localhost:11434/api/generate",
                  json={"model": "pocket-s", "prompt": "What is a GPU?", "stream": False}, timeout=120)

is answered as Ollama would answer it, field by field; so a course's own code runs unchanged. Only this
computer can reach it. Replies are generated one at a time; further requests wait in the order in which they
came, and a client that goes away stops its reply.

Where it differs from Ollama, on purpose: `/v1/completions` continues the bare text, as OpenAI's does (Ollama
puts it into the chat template); a prompt that is too long is refused, where Ollama cuts pieces out of it; a
full context ends the reply with `length`, where Ollama may forget its beginning and go on; images, tools,
`format`, `template` and embeddings are refused, where silence would be taken for obedience.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

from . import places
from .errors import BenchkitError, did_you_mean
from .serve_models import ApiError, ClientGone, Reply, Served, Turns
from .serve_protocols import (
    Asked,
    OllamaShape,
    OpenAIShape,
    openai_error,
    read_chat,
    read_generate,
    read_json,
    read_openai_chat,
    read_openai_completion,
    rfc3339,
    take,
    to_json,
)  # fmt: skip
from .text import one_line

HOST, PORT = "127.0.0.1", 11434

#: Larger requests are refused: no prompt of a model that runs here is longer.
MAX_BODY = 4 * 2**20
#: Seconds that a client may take to send a request, or to read a piece of the answer.
PATIENCE_S = 60.0

#: The Ollama whose answers are copied; what follows the + says who answers.
LIKE_OLLAMA = "0.17.4"


# ---------------------------------------------------------------- the models, in turn


class Desk:
    """All models on offer, and the one place where replies are generated."""

    def __init__(self, models: Iterable[str], n_threads: int | None = None) -> None:
        offered = [Served(model, n_threads) for model in models]
        self.models = {served.name.lower(): served for served in offered}
        self.turns = Turns()

    def find(self, name: str) -> Served:
        """The model that a request means: `pocket-s`, `pocket-s:latest` or `gguf:pocket-s`."""
        wanted = name.lower()
        for known, served in self.models.items():
            if wanted in (known, known.removesuffix(":latest"), served.model.lower()):
                return served
        there = [served.name.removesuffix(":latest") for served in self.models.values()]
        hint = did_you_mean(name, there) or f"; benchkit serve has {', '.join(there)}"
        raise ApiError(404, f"model '{one_line(name, 100)}' not found{hint}")

    def reply(self, asked: Asked, on_text: Callable[[str], None], gone: Callable[[], bool]) -> Reply:
        """Wait for a turn, load the model if need be, generate."""
        with self.turns.turn(gone):
            load_ns = asked.model.load(asked.settings)
            try:
                text = self._text(asked)
                reply = asked.model.reply(text, asked.settings, on_text, gone, load_ns)
                if asked.wants_context:
                    tokens = asked.model.engine.ask("tokenize", text=text + reply.text)
                    reply = replace(reply, context=tuple(tokens))
                return reply
            finally:
                asked.model.keep(asked.keep_alive)

    def _text(self, asked: Asked) -> str:
        if asked.text is not None:
            return asked.text
        before = asked.model.engine.ask("detokenize", tokens=list(asked.context)) if asked.context else ""
        return before + asked.model.prompt(asked.messages)

    def load_or_unload(self, asked: Asked, gone: Callable[[], bool]) -> str:
        """What an empty request does; returns which of the two it was."""
        with self.turns.turn(gone):
            if asked.keep_alive > 0:
                asked.model.load(asked.settings)
            asked.model.keep(asked.keep_alive)
        return "load" if asked.keep_alive > 0 else "unload"

    def unload_idle(self) -> None:
        """Unload what nobody has asked for in its time, unless a reply is under way."""
        if any(served.expired() for served in self.models.values()):
            with self.turns.if_free() as free:
                for served in self.models.values():
                    if free and served.expired():
                        served.unload()

    def close(self) -> None:
        """Unload everything."""
        for served in self.models.values():
            served.unload()


# ---------------------------------------------------------------- what else is asked


def tags(desk: Desk, _: Mapping[str, Any]) -> dict[str, Any]:
    """`/api/tags`: the models there are."""
    return {
        "models": [
            _row(served) | {"modified_at": rfc3339(served.modified_at)} for served in desk.models.values()
        ]
    }


def _row(served: Served) -> dict[str, Any]:
    return {
        "name": served.name,
        "model": served.name,
        "size": served.path.stat().st_size,
        "digest": served.digest,
        "details": served.details(),
    }


def ps(desk: Desk, _: Mapping[str, Any]) -> dict[str, Any]:
    """`/api/ps`: the models that are loaded."""
    rows = []
    for served in desk.models.values():
        engine, until = served.engine, served.expires_at
        if engine is None:
            continue
        rows.append(
            _row(served)
            | {
                "size": _memory(engine.pids()),
                "size_vram": 0,
                "expires_at": rfc3339(until or datetime.now(timezone.utc)),
                "context_length": engine.n_ctx,
            }
        )
    return {"models": rows}


def _memory(pids: Iterable[int]) -> int:
    try:
        return sum(psutil.Process(pid).memory_info().rss for pid in pids)
    except psutil.Error:
        return 0


def show(desk: Desk, body: Mapping[str, Any]) -> dict[str, Any]:
    """`/api/show`: all about one model. Long lists only if `verbose`."""
    from .backends.ollama_create import go_template

    name = take(body, "model", str, "") or take(body, "name", str, "")
    if not name:
        raise ApiError(400, "model is required")
    served = desk.find(name)
    template, stops = go_template(served.chat_template)
    hidden = ("general.name", "tokenizer.chat_template")
    facts = {key: value for key, value in served.header.metadata.items() if key not in hidden}
    if not take(body, "verbose", bool, False):
        facts = {key: None if isinstance(value, list) else value for key, value in facts.items()}
    answer = {
        "modelfile": f"# Modelfile written by benchkit serve\nFROM {served.path}\n",
        "parameters": "\n".join(f"{'stop':<30} {json.dumps(stop)}" for stop in stops),
        "template": template,
        "details": served.details(),
        "model_info": dict(sorted({**facts, "general.parameter_count": served.header.parameters}.items())),
        "tensors": [
            {"name": n, "type": kind, "shape": list(shape)} for n, kind, shape in served.header.tensors
        ],
        "capabilities": ["completion"],
        "modified_at": rfc3339(served.modified_at),
    }
    return {key: value for key, value in answer.items() if value != ""}


def version(*_: Any) -> dict[str, Any]:
    """`/api/version`: whose answers are copied, and by whom."""
    from .machine import version as installed

    return {"version": f"{LIKE_OLLAMA}+benchkit.{installed('benchkit') or 'unknown'}"}


def openai_models(desk: Desk, _: Mapping[str, Any]) -> dict[str, Any]:
    """`/v1/models`: the models there are."""
    return {"object": "list", "data": [_openai_row(served, served.name) for served in desk.models.values()]}


def _openai_row(served: Served, name: str) -> dict[str, Any]:
    created = int(served.modified_at.timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": "library"}


def openai_model(desk: Desk, name: str) -> dict[str, Any]:
    """`/v1/models/NAME`: one of them."""
    return _openai_row(desk.find(name), name)


#: Questions with one plain answer: (method, path) → (desk, body) → answer.
PLAIN = {
    ("GET", "/api/tags"): tags,
    ("GET", "/api/ps"): ps,
    ("GET", "/api/version"): version,
    ("GET", "/v1/models"): openai_models,
    ("POST", "/api/show"): show,
}

#: Questions answered by the model: path → (how to read it, how to answer, whether it is a chat).
MODEL = {
    "/api/generate": (read_generate, OllamaShape, False),
    "/api/chat": (read_chat, OllamaShape, True),
    "/v1/chat/completions": (read_openai_chat, OpenAIShape, True),
    "/v1/completions": (read_openai_completion, OpenAIShape, False),
}

#: What Ollama also has and this has not.
NOT_HERE = (
    "/api/create", "/api/pull", "/api/push", "/api/copy", "/api/delete", "/api/embed", "/api/embeddings",
    "/v1/embeddings", "/v1/responses", "/v1/messages",
)  # fmt: skip


# ---------------------------------------------------------------- HTTP


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, checks them, answers."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "benchkit", ""
    timeout = PATIENCE_S
    disable_nagle_algorithm = True  # else a token could wait for the next one
    server: Server

    def _handle(self) -> None:
        self._begun = False
        if self.request_version == "HTTP/0.9":  # no headers, no status: answered as the next better
            self.request_version = "HTTP/1.0"
        try:
            self._check_sender()
            body = self._read_body()
            self._route(body)
        except ApiError as error:
            self._send_error(error)
        except (ClientGone, ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as problem:  # a mistake of ours: the client hears of it, and the server goes on
            if self.server.closing:
                self.close_connection = True
                return
            traceback.print_exc()
            self._send_error(ApiError(500, f"benchkit serve failed: {type(problem).__name__}"))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = _handle

    # ---- checks

    def _check_sender(self) -> None:
        """Only programs of this computer that know whom they talk to, and no web page from elsewhere.

        A page can make its own name mean 127.0.0.1 (DNS rebinding); then the Host header has that name.
        """
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1 or (not hosts and self.request_version != "HTTP/1.0"):
            self._drop(400, "one Host header is needed")
        if hosts and not is_this_computer(hosts[0]):
            self._drop(403, f"this server answers to localhost only, not to {one_line(hosts[0], 80)!r}")
        origin = self.headers.get("Origin")
        if origin is not None and not is_this_computer(urlsplit(origin).netloc):
            self._drop(403, "this server does not answer web pages from elsewhere")

    def _read_body(self) -> bytes:
        lengths = set(self.headers.get_all("Content-Length", []))
        if "Transfer-Encoding" in self.headers:
            self._drop(411, "send the request with a Content-Length")
        if not lengths:
            return b""
        length = lengths.pop()
        if lengths or not (length.isascii() and length.isdigit() and len(length) < 20):
            self._drop(400, "the Content-Length is not a number")
        if int(length) > MAX_BODY:
            self._drop(413, f"the request is too large: at most {MAX_BODY // 2**20} MiB are read")
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise ClientGone
        return data

    def _drop(self, status: int, message: str) -> None:
        """Refuse a request whose body was not read: nothing after it could be understood."""
        self.close_connection = True
        raise ApiError(status, message)

    # ---- who answers what

    def _route(self, data: bytes) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        path, desk = self.path.partition("?")[0], self.server.desk
        if (method, path) == ("GET", "/"):
            return self._send(200, b"Ollama is running", "text/plain; charset=utf-8")
        if (method, path) in PLAIN:
            answer = PLAIN[method, path](desk, read_json(data) if method == "POST" else {})
            return self._send(200, to_json(answer))
        if method == "GET" and path.startswith("/v1/models/"):
            return self._send(200, to_json(openai_model(desk, unquote(path.removeprefix("/v1/models/")))))
        if method == "POST" and path in MODEL:
            return self._ask_model(*MODEL[path], read_json(data))
        if path in NOT_HERE:
            raise ApiError(501, f"benchkit serve has no {path}: it serves the models it was started with")
        known = {"/", *MODEL, *(path for _, path in PLAIN)}
        status, text = (405, "405 method not allowed") if path in known else (404, "404 page not found")
        self._send(status, text.encode(), "text/plain")

    def _ask_model(self, read: Callable, shape_of: type, chat: bool, body: dict[str, Any]) -> None:
        asked = read(self.server.desk.find, body)
        shape = shape_of(asked, chat)
        if asked.empty:
            return self._send(200, to_json(shape.nothing(self.server.desk.load_or_unload(asked, self._gone))))
        if not asked.stream:
            reply = self.server.desk.reply(asked, lambda text: None, self._gone)
            return self._send(200, to_json(shape.whole(reply)))
        try:
            reply = self.server.desk.reply(
                asked, lambda text: self._stream(shape, shape.piece(text)), self._gone
            )
            self._stream(shape, shape.last(reply))
        except ApiError as error:
            if not self._begun:
                raise
            self._stream(shape, shape.broken(error))
        self._end_stream()

    def _gone(self) -> bool:
        """Whether the client has closed the connection."""
        try:
            return _readable(self.connection) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    # ---- writing

    def _send(self, status: int, data: bytes, content_type: str = "application/json; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n" + (b"" if self.command == "HEAD" else data))
        self.flush_headers()  # headers and answer leave together

    def _stream(self, shape: OllamaShape | OpenAIShape, data: bytes) -> None:
        """Send a piece at once, as a chunk of HTTP/1.1; headers go before the first."""
        chunked = self.request_version != "HTTP/1.0"
        try:
            if not self._begun:
                self._begun = True
                self.send_response(200)
                self.send_header("Content-Type", shape.content_type)
                self.send_header("Transfer-Encoding", "chunked") if chunked else None
                self._headers_buffer.append(b"\r\n")
                self.flush_headers()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        except (ConnectionError, TimeoutError):
            raise ClientGone from None

    def _end_stream(self) -> None:
        if self.request_version == "HTTP/1.0":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _send_error(self, error: ApiError) -> None:
        path = getattr(self, "path", "")
        answer = openai_error(error) if path.startswith("/v1/") else {"error": str(error)}
        try:
            if self._begun:  # half an answer is on its way: only its missing end can tell
                self.close_connection = True
            else:
                self._send(error.status, to_json(answer))
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, such as a line that is no HTTP."""
        self._begun, self.close_connection = False, True
        self.request_version = "HTTP/1.0"  # it may have been none at all
        self.command = getattr(self, "command", None) or "GET"
        self._send_error(ApiError(int(code), message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *values: Any) -> None:
        """One line a request, where the server was asked to tell."""
        if self.server.say:
            self.server.say(one_line(f"{time.strftime('%H:%M:%S')}  {format % values}", 200))


def is_this_computer(host: str) -> bool:
    """Whether a Host header names this computer: localhost or a loopback address, with or without a port.

    >>> [is_this_computer(h) for h in ("localhost:11434", "127.0.0.1", "[::1]:80", "evil.example", "")]
    [True, True, True, False, False]
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return places.is_loopback(name) and "@" not in host and "/" not in host


def _readable(connection: socket.socket) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([connection], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


# ---------------------------------------------------------------- the server


class Server(ThreadingHTTPServer):
    """A running server; made by `start`."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = os.name != "nt"  # on Windows that would let two servers share a port

    def __init__(
        self, models: Sequence[str], port: int, n_threads: int | None, say: Callable[[str], None] | None
    ) -> None:
        self.say = say
        self.closing = False
        self.desk = Desk(models, n_threads)
        self._thread: threading.Thread | None = None
        super().__init__((HOST, port), Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.server_address[1]}"

    def service_actions(self) -> None:
        """Called by the loop twice a second."""
        self.desk.unload_idle()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is no error of ours."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(target=partial(self.serve_forever, 0.5), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and unload the models."""
        self.closing = True
        if self._thread:
            self.shutdown()
            self._thread.join()
        self.server_close()
        self.desk.close()

    def __enter__(self) -> Server:  # noqa: PYI034
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def start(
    models: str | Sequence[str] = "gguf:pocket-s",
    port: int = PORT,
    n_threads: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Server:
    """Start serving in the background; `with start(port=0) as server:` … `server.url` says where.

    Port 0 takes any free one. `n_threads` is what a request without `num_thread` gets (default: the physical
    cores). `say` is given one line a request. Raises `ModelError` for a model that is not
    there and `BenchkitError` for a port that is taken, with by what and what to do.
    """
    server = _bind(models, port, n_threads, say)
    server.start()
    return server


def serve(
    models: str | Sequence[str] = "gguf:pocket-s", port: int = PORT, n_threads: int | None = None
) -> None:
    """Serve until Ctrl-C, telling of every request on standard error."""

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with _bind(models, port, n_threads, say) as server:
        names = [served.name.removesuffix(":latest") for served in server.desk.models.values()]
        say(
            f"Serving {', '.join(names)} as Ollama would, at {server.url} (OpenAI: {server.url}/v1).\n"
            f"Only this computer can reach it. Ctrl-C ends it. Try:\n"
            f'  curl {server.url}/api/generate -d \'{{"model": "{names[0]}", "prompt": "What is a GPU?"}}\''
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("Stopped.")


def _bind(
    models: str | Sequence[str], port: int, n_threads: int | None, say: Callable[[str], None] | None
) -> Server:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise BenchkitError(f"port={port!r}: a whole number from 0 (any free port) to 65535 is allowed.")
    if port and (who := who_has(port)):
        raise BenchkitError(taken(port, who))
    try:
        return Server([models] if isinstance(models, str) else list(models), port, n_threads, say)
    except PermissionError:
        raise BenchkitError(
            f"Port {port} may not be used without more rights. Choose one above 1023."
        ) from None
    except OSError as problem:
        raise BenchkitError(f"Port {port} cannot be used ({problem.strerror}). {_OTHER_PORT}") from None


_OTHER_PORT = "Choose another port: benchkit serve --port 11500."


def who_has(port: int) -> str | None:
    """Who listens on a port here: `Ollama 0.17.4`, `benchkit serve`, `another program`, or None."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            pass
    except OSError:
        return None
    found = _fetch_version(port)
    if found is None:
        return "another program"
    return "benchkit serve" if "benchkit" in found else f"Ollama {one_line(found, 40)}"


def _fetch_version(port: int) -> str | None:
    """What `/api/version` says, if it is Ollama's protocol that is spoken there."""
    import http.client

    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/")
        if connection.getresponse().read(1000) != b"Ollama is running":
            return None
        connection.request("GET", "/api/version")
        return str(json.loads(connection.getresponse().read(10_000))["version"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()


def taken(port: int, who: str) -> str:
    """What to do when a port is taken.

    >>> print(taken(11434, "Ollama 0.17.4"))
    Port 11434 is taken by Ollama 0.17.4, which runs on this computer. Use it as it is (`ollama list` shows \
its models), or stop it, or choose another port: benchkit serve --port 11500.
    """
    if who.startswith("Ollama"):
        what = f"{who}, which runs on this computer. Use it as it is (`ollama list` shows its models),"
        what += " or stop it, or"
    elif who.startswith("benchkit"):
        what = f"{who}, already running. Use that one, or stop it with Ctrl-C in its window, or"
    else:
        what = f"{who}. Stop it, or"
    return f"Port {port} is taken by {what} choose another port: benchkit serve --port 11500."
