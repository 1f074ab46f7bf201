"""A server whose truth is known: it says what it was told to say, when it was told to, and keeps a log.

    benchkit serve --truth                      # or, for one reply that goes differently:
    requests.post("http://127.0.0.1:11435/api/chat", json={"model": "truth", "messages": […],
                                                           "truth": {"ttft_ms": 20, "tokens_per_chunk": 4}})

It has no model. It speaks Ollama's protocol (`/api/chat`, `/api/generate`) and OpenAI's
(`/v1/chat/completions`, `/v1/completions`), and answers to every model name. A `Script` says how a reply
goes. Every chunk is due at a time counted from when the request was read, so lateness does not add up; it
is never written early. `GET /truth/log` tells when each request was read and when each chunk was really
handed to the system: `time.perf_counter_ns`, one clock for all processes of a computer (`GET /truth/clock`
lets a client check that). Loopback only: nothing of it can be reached from another computer.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import httptools

from benchkit import places
from benchkit.backends.wire import allow_open_files, new_loop, quiet_gc, uvloop
from benchkit.errors import BenchkitError
from benchkit.script import (
    MODEL,
    MS,
    OLLAMA,
    OPENAI,
    WHEN,
    Parts,
    Script,
    Step,
    line,
    read_script,
    rehearse,
    response,
)

HOST = "127.0.0.1"
PORT = 11435  # one above Ollama's: this is no Ollama
KEPT = 20_000  # requests the log remembers
MAX_BODY = 64 * 2**20
MAX_STREAMS = 4096  # connections that may wait to be accepted, and open files asked of the system

# ---------------------------------------------------------------- the log


class Reply:
    """One request and what was written in answer to it: a row of the log."""

    __slots__ = ("request_id", "path", "script", "t_read_ns", "steps", "stamps", "connection", "ended",
                 "n_waited")  # fmt: skip

    def __init__(
        self, request_id: str, path: str, script: Script, t_read_ns: int, todo: tuple[Step, ...]
    ) -> None:
        self.request_id, self.path, self.script = request_id, path, script
        self.t_read_ns, self.steps = t_read_ns, todo
        self.stamps: list[int] = []  # one for each step that was written, just before it was
        self.connection: Connection | None = None
        self.ended = "open"  # complete | error | drop | client left
        self.n_waited = 0  # writes that the system did not take at once, because the client read too slowly

    def parts(self) -> Parts:
        """Where the time went up to the last token, from the stamps of what was really written.

        Where no text was written yet (a reply in one piece), the first token was when it was due.
        """
        texts = [stamp for stamp, step in zip(self.stamps, self.steps) if step.n_tokens]
        if not texts:
            now_ns = time.perf_counter_ns()
            texts = [min(now_ns, self.t_read_ns + round(self.script.ttft_ms * MS)), now_ns]
        first, last = texts[0], texts[-1]
        queue_ns, load_ns = round(self.script.queue_ms * MS), round(self.script.load_ms * MS)
        return Parts(queue_ns, load_ns, first - self.t_read_ns - queue_ns - load_ns, last - first)

    def row(self) -> dict[str, Any]:
        """The row as plain JSON values; what was written is stored as columns."""
        written = self.steps[: len(self.stamps)]
        return {
            "request_id": self.request_id,
            "path": self.path,
            "t_read_ns": self.t_read_ns,
            "queue_ms": self.script.queue_ms,
            "load_ms": self.script.load_ms,
            "ended": self.ended,
            "n_waited": self.n_waited,
            "written": {
                "t_ns": list(self.stamps),
                "due_ns": [self.t_read_ns + step.due_ns for step in written],
                "kind": [step.kind for step in written],
                "n_tokens": [step.n_tokens for step in written],
            },
        }


def text_stamps_ns(row: Mapping[str, Any]) -> list[int]:
    """When each chunk with text was really written, by a row of the log."""
    return [t for t, n in zip(row["written"]["t_ns"], row["written"]["n_tokens"]) if n]


# ---------------------------------------------------------------- the server


class Server:
    """The log, the script for requests that bring none, and one clockwork for all replies."""

    def __init__(self, loop: asyncio.AbstractEventLoop, script: Script) -> None:
        self.loop, self.script = loop, script
        self.log: deque[Reply] = deque(maxlen=KEPT)
        self.loaded = True  # what /api/ps says
        self._unnamed = count()
        self._due: list[tuple[int, int, Reply]] = []  # a heap: the next write comes first
        self._order = count()  # of two writes due at one time, the earlier request's comes first
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def answer(self, connection: Connection) -> None:
        """A request is complete: begin its reply."""
        path, _, query = connection.url.decode("latin-1").partition("?")
        try:
            if path in OLLAMA or path in OPENAI:
                return self._begin(connection, path)
            connection.finish(self._page(path, query))
        except BenchkitError as problem:
            connection.finish(response(400, {"error": str(problem)}))

    def _begin(self, connection: Connection, path: str) -> None:
        rehearsed = rehearse(path, connection.body, self.script)
        if rehearsed is None:
            return connection.finish(self._load_or_unload(connection.body))
        script, todo = rehearsed
        self.loaded = True
        request_id = connection.request_id or f"unnamed-{next(self._unnamed)}"
        reply = Reply(request_id, path, script, connection.t_read_ns, todo)
        reply.connection, connection.reply = connection, reply
        self.log.append(reply)
        if todo:
            self._await(reply)

    def _load_or_unload(self, body: bytes) -> bytes:
        asked = json.loads(body)
        self.loaded = asked.get("keep_alive") not in (0, "0", "0s", "0m")
        reason = "load" if self.loaded else "unload"
        said = {"model": asked.get("model", MODEL), "created_at": WHEN, "response": ""}
        return response(200, {**said, "done": True, "done_reason": reason})

    def _await(self, reply: Reply) -> None:
        due_ns = reply.t_read_ns + reply.steps[len(reply.stamps)].due_ns
        heapq.heappush(self._due, (due_ns, next(self._order), reply))
        if self._timer is None or due_ns < self._timer_ns:
            self._wind(due_ns)

    def _wind(self, due_ns: int) -> None:
        """Wake up when the next write is due; not before, and not by waiting busily (uvloop counts in ms)."""
        if self._timer is not None:
            self._timer.cancel()
        wait_s = (due_ns - time.perf_counter_ns()) / 1e9
        self._timer, self._timer_ns = self.loop.call_later(max(wait_s, 0.001), self._tick), due_ns

    def _tick(self) -> None:
        self._timer = None
        now_ns = time.perf_counter_ns()
        while self._due and self._due[0][0] <= now_ns:
            reply = heapq.heappop(self._due)[2]
            if reply.connection is not None:
                self._write(reply)
        if self._due:
            self._wind(self._due[0][0])

    def _write(self, reply: Reply) -> None:
        step, connection = reply.steps[len(reply.stamps)], reply.connection
        data = step.data if isinstance(step.data, bytes) else step.data(reply.parts())
        reply.stamps.append(time.perf_counter_ns())
        reply.n_waited += not connection.write(data)
        if len(reply.stamps) < len(reply.steps):
            return self._await(reply)
        if step.kind in ENDS:
            reply.ended = ENDS[step.kind]
            connection.end(keep=step.kind != "drop")
        # else it stalls: nothing more will come, until the client leaves

    def _page(self, path: str, query: str) -> bytes:
        """What a GET shows: the model list in both protocols, the log, the clock."""
        if path == "/truth/log" or path.startswith("/truth/log/"):
            return self._log(path[len("/truth/log/") :], query)
        pages = {
            "/health": lambda: {"status": "ok"},  # other people's load generators ask for it
            "/truth/clock": lambda: {"t_ns": time.perf_counter_ns()},
            "/api/version": lambda: {"version": "0.0.0-truth"},
            "/api/tags": lambda: {"models": [_model_row()]},
            "/api/ps": lambda: {"models": [{**_model_row(), "size_vram": 0}] if self.loaded else []},
            "/api/show": lambda: {"details": _model_row()["details"], "model_info": {}},
            "/v1/models": lambda: {"object": "list", "data": [{"id": MODEL, "object": "model"}]},
        }
        if path not in pages:
            known = ", ".join((*OLLAMA, *OPENAI, *pages, "/truth/log"))
            return response(404, {"error": f"there is no {path} here. There is: {known}."})
        return response(200, pages[path]())

    def _log(self, request_id: str, query: str) -> bytes:
        """All rows, as lines of JSON; of one request; or of those read since a time (?since_ns=…)."""
        since = parse_qs(query).get("since_ns", ["0"])[0]
        since_ns = int(since) if since.isdigit() else 0
        rows = [reply.row() for reply in self.log
                if reply.t_read_ns >= since_ns and request_id in ("", reply.request_id)]  # fmt: skip
        if request_id and not rows:
            return response(404, {"error": f"no request {request_id[:80]!r} is in the log."})
        return response(200, b"".join(map(line, rows)), "application/x-ndjson")


ENDS = {"end": "complete", "error": "error", "drop": "drop"}


def _model_row() -> dict[str, Any]:
    details = {"format": "script", "family": "truth", "parameter_size": "0", "quantization_level": "none"}
    name = f"{MODEL}:latest"
    return {
        "name": name,
        "model": name,
        "modified_at": WHEN,
        "size": 0,
        "digest": "0" * 64,
        "details": details,
    }


class Connection(asyncio.Protocol):
    """One client's connection: reads requests, one after the other, and writes at once.

    Under uvloop, writes go to the socket itself: its own `write` gathers those of one turn of the loop and
    sends them after the turn's last stamp, which with 512 streams is milliseconds later.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.reply: Reply | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._fd = None if uvloop is None else transport.get_extra_info("socket").fileno()
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, problem: Exception | None) -> None:
        self._fd = None
        if self.reply is not None:
            self.reply.ended, self.reply.connection = "client left", None
        self.reply = self._parser = None

    def data_received(self, data: bytes) -> None:
        self.t_read_ns = time.perf_counter_ns()  # first of all
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._hang_up()

    # what httptools calls, while it reads

    def on_message_begin(self) -> None:
        self.url, self.body, self.request_id = b"", b"", None

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-request-id":
            self.request_id = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > MAX_BODY:
            self._hang_up()

    def on_message_complete(self) -> None:
        if self.reply is not None:  # two requests at once on one connection: no client of ours does that
            return self._hang_up()
        self._server.answer(self)

    def _hang_up(self) -> None:
        self._fd = None  # soon another connection's
        self._transport.abort()

    # what the server says

    def write(self, data: bytes) -> bool:
        """Hand bytes to the system; False where it did not take them all, and the rest waits."""
        n_taken = 0
        if self._fd is not None and not self._transport.get_write_buffer_size():
            try:
                n_taken = os.write(self._fd, data)
            except BlockingIOError:
                pass
            except OSError:  # the client is gone: connection_lost follows
                return True
        if n_taken < len(data):
            self._transport.write(data[n_taken:])
        return not self._transport.get_write_buffer_size()

    def finish(self, response: bytes) -> None:
        """A whole response at once."""
        self.write(response)
        self.end()

    def end(self, keep: bool = True) -> None:
        """The reply is over; the connection stays open for the next request, if the client wants that."""
        if self.reply is not None:
            self.reply.connection = self.reply = None
        if not keep or not self._parser.should_keep_alive():
            self._fd = None
            self._transport.close()


# ---------------------------------------------------------------- starting it


def serve(port: int = PORT, script: Script | None = None, ready: Callable[[str], None] = print) -> None:
    """Serve until interrupted; `ready` is told the address once that is so. Port 0 takes a free one."""
    loop = new_loop()
    server = Server(loop, script or Script())
    _make_room()
    try:
        listening = loop.run_until_complete(
            loop.create_server(lambda: Connection(server), HOST, port, backlog=MAX_STREAMS)
        )
    except OSError as problem:
        loop.close()
        raise BenchkitError(
            f"port {port} of {HOST} cannot be had ({problem.strerror or problem}): another program may use it. "
            "Choose another port, or 0 for any free one."
        ) from None
    try:
        with quiet_gc(), contextlib.suppress(KeyboardInterrupt):
            ready(f"http://{HOST}:{listening.sockets[0].getsockname()[1]}")
            loop.run_forever()
    finally:
        listening.close()
        loop.close()


def _make_room() -> None:
    """As many open files as the system allows; a client that wants more streams than that is told."""
    for n in (MAX_STREAMS, MAX_STREAMS // 4):
        with contextlib.suppress(BenchkitError):
            return allow_open_files(n)


@contextlib.contextmanager
def running(**script: Any) -> Iterator[str]:
    """A truth server in a process of its own, for as long as the block lasts: gives its address.

    `script` is for requests that bring none: `with running(ttft_ms=20) as url: …`.
    """
    words = [f"{name}={json.dumps(value)}" for name, value in asdict(read_script(script)).items()]
    child = subprocess.Popen(
        [sys.executable, "-m", "benchkit.truth", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": places.python_path()},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console pops up
    )
    try:
        url = child.stdout.readline().decode().strip()
        if not url:
            raise BenchkitError(f"the truth server did not start: it ended with exit code {child.wait()}.")
        yield url
    finally:
        child.stdin.close()  # it ends when its pipe closes
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def _open(url: str) -> Any:
    """An answer of our own server; a proxy of the environment is none of its business."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60)


def read_log(url: str, since_ns: int = 0) -> dict[str, dict[str, Any]]:
    """The log of the truth server at `url`, by request id; only of requests read since `since_ns`.

    An id that was read twice is an error here: somebody sent a request again and did not say so.
    """
    rows: dict[str, dict[str, Any]] = {}
    with _open(f"{url}/truth/log?since_ns={since_ns}") as answer:
        for row in map(json.loads, answer):
            if row["request_id"] in rows:
                raise BenchkitError(
                    f"the truth server read request {row['request_id']} twice: it was sent again."
                )
            rows[row["request_id"]] = row
    return rows


def shares_our_clock(url: str) -> bool:
    """Whether the server's clock is ours: its time, asked for, must lie between two of ours."""
    before_ns = time.perf_counter_ns()
    with _open(f"{url}/truth/clock") as answer:
        its_ns = json.load(answer)["t_ns"]
    return before_ns <= its_ns <= time.perf_counter_ns()


def _main(words: list[str]) -> None:
    """As a child process: serve on any free port until standard input closes."""
    pairs = (word.partition("=") for word in words)
    script = read_script({name: json.loads(value) for name, _, value in pairs})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    serve(0, script, ready=partial(print, flush=True))


def _end_with_the_pipe() -> None:
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1:])
