"""The wire: HTTP requests to a model's server, stamped where the bytes arrive.

    wire = Wire("http://127.0.0.1:11434")
    exchange = run_async(wire.send, "/api/chat", {"model": …}, timeout_s=120)

One sender for everything that is measured: a single reply, a load of many, the weighing of the instrument.
It notes what came and when, nothing else; what the bytes mean is found out afterwards, by the pure parsers
in `ollama` and `openai_compatible`.

Why no HTTP library: with 128 streams at once the usual ones stamp a token 5 to 2,000 ms late, because they
do their work before anybody can look at the clock. Here the clock is read first (`_Connection.data_received`,
one line), and even HTTP itself is understood only once all sockets have been read.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import json
import os
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import httptools

from ..errors import ModelError

try:
    import uvloop
except ImportError:  # Windows, and systems without a wheel: Python's own loop, a little slower
    uvloop = None

#: A connection that has been idle for longer than this is replaced before the clock starts: many servers
#: close idle ones, and a request sent into a closing connection is lost.
IDLE_S, NEVER_USED_S = 1.0, 10.0
CONNECT_S = 30.0  # for connections opened before the clock starts

SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
SAFE_HEADER = re.compile(r"[\x20-\x7e]*")
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Exchange:
    """Everything seen of one HTTP request; times are `time.perf_counter_ns()`.

    `pieces` is the body as it came: each piece with the time at which it was read, transfer encoding already
    taken off. `ended` is `complete`, `disconnected`, `timeout`, `refused` (no connection), `aborted` (by us),
    or `unreadable` (no HTTP, or compressed against our wish, or too large); `error` says more, to a person.
    """

    request_id: str
    t_sent_ns: int
    t_headers_ns: int | None
    t_first_byte_ns: int | None
    t_end_ns: int
    status: int | None
    headers: Mapping[str, str]
    pieces: tuple[tuple[int, bytes], ...]
    ended: str
    error: str | None
    t_scheduled_ns: int | None = None

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(data for _, data in self.pieces)


class Wire:
    """Connections to one server, kept open between requests. To be used inside one event loop.

    `headers` go with every request (`Authorization`, for instance) and are never shown anywhere. Proxies from
    the environment are not used: they would be measured too.
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str] = NOTHING, max_body: int = 64 * 2**20
    ) -> None:
        self.base_url, self._host, self._port, self._tls = _read_url(base_url)
        parts = urlsplit(self.base_url)
        self._prefix = quote(parts.path, safe="/%:@!$&'()*+,;=~")
        self._head = _header_lines({"Host": parts.netloc, **headers})
        self._max_body = max_body
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    def __repr__(self) -> str:
        return f"Wire({self.base_url!r})"

    async def open(self, n: int) -> None:
        """Have `n` connections ready before the clock starts. Raises ModelError if nobody answers."""
        allow_open_files(n + 64)
        for connection in [c for c in self._idle if not c.usable()]:
            self._idle.remove(connection)
            connection.close()
        try:
            while len(self._idle) < n:  # in portions: a server's queue of new connections is short
                portion = (self._connect() for _ in range(min(64, n - len(self._idle))))
                self._idle += await asyncio.wait_for(asyncio.gather(*portion), CONNECT_S)
        except (OSError, UnicodeError, asyncio.TimeoutError) as error:
            raise ModelError(self._no_answer(error)) from None

    async def send(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float,
        request_id: str | None = None,
        t_scheduled_ns: int | None = None,
        on_piece: Callable[[bytes], None] | None = None,
    ) -> Exchange:
        """Send one request (`POST` with a JSON body, `GET` without) and wait for the whole answer.

        Never raises for what the server or the network does, never repeats a request, never follows a
        redirect, and ends within `timeout_s`, connecting included. A cancelled `send` returns what had come,
        `ended="aborted"`: look at it before you send the next. `on_piece` is given each piece of the body.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        flight = _Flight(request_id or uuid.uuid4().hex, t_scheduled_ns, on_piece, loop.create_future())
        request = self._request(path, body, flight.request_id)
        connection = self._take_idle()
        if connection is None:
            connection = await self._connect_for(flight, timeout_s)
        if connection is not None:
            timer = loop.call_at(give_up_at, connection.end, "timeout", f"cut off after {timeout_s:g} s")
            self._busy.add(connection)
            try:
                connection.start(flight, request)
                await flight.done
            except asyncio.CancelledError:
                connection.end("aborted", "The request was given up before its end.")
            finally:
                timer.cancel()
                self._busy.discard(connection)
            if connection.usable():
                self._idle.append(connection)
            else:
                connection.close()
        return flight.exchange()

    async def close(self) -> None:
        """Close all connections; requests under way end as aborted."""
        for connection in [*self._busy]:
            connection.end("aborted", "The connection was closed on this side.")
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # one turn of the loop, in which the sockets are really closed

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(loop, self._max_body), self._host, self._port, ssl=self._tls
        )
        return connection

    async def _connect_for(self, flight: _Flight, timeout_s: float) -> _Connection | None:
        """A new connection, or None and the flight has ended: then nothing was sent."""
        flight.t_sent_ns = perf_counter_ns()
        try:
            return await asyncio.wait_for(self._connect(), timeout_s)
        except asyncio.TimeoutError:
            flight.end("timeout", f"no connection to {self.base_url} within {timeout_s:g} s")
        except (OSError, UnicodeError) as error:  # the second: a name that no host can have
            flight.end("refused", self._no_answer(error))
        except asyncio.CancelledError:
            flight.end("aborted", "The request was given up before it was sent.")
        return None

    def _no_answer(self, error: Exception) -> str:
        return f"No server answers at {self.base_url} ({_reason(error)})."

    def _request(self, path: str, body: Mapping[str, Any] | None, request_id: str) -> bytes:
        if not SAFE_ID.fullmatch(request_id):
            raise ModelError(f"request_id={request_id[:40]!r}: letters, digits and . _ : - are allowed.")
        first = f"{'GET' if body is None else 'POST'} {self._prefix}{path} HTTP/1.1\r\n"
        last = f"X-Request-Id: {request_id}\r\nAccept-Encoding: identity\r\n"
        data = b""
        if body is not None:
            data = json.dumps(body).encode()
            last += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        return f"{first}{self._head}{last}\r\n".encode("ascii") + data


class _Flight:
    """A request under way: what its `Exchange` will hold."""

    def __init__(
        self,
        request_id: str,
        t_scheduled_ns: int | None,
        on_piece: Callable[[bytes], None] | None,
        done: asyncio.Future[None],
    ) -> None:
        self.request_id, self.t_scheduled_ns = request_id, t_scheduled_ns
        self.on_piece, self.done = on_piece, done
        self.t_sent_ns = self.t_end_ns = 0
        self.t_headers_ns = self.t_first_byte_ns = self.status = self.ended = self.error = None
        self.headers: dict[str, str] = {}
        self.pieces: list[tuple[int, bytes]] = []
        self.n_bytes = 0
        self.compressed = False

    def end(self, ended: str, error: str | None, t_end_ns: int | None = None) -> None:
        self.ended, self.error = ended, error
        self.t_end_ns = t_end_ns or perf_counter_ns()
        if not self.done.done():
            self.done.set_result(None)

    def exchange(self) -> Exchange:
        names = (name for name in Exchange.__dataclass_fields__ if name not in ("pieces", "headers"))
        row = {name: getattr(self, name) for name in names}
        return Exchange(**row, pieces=tuple(self.pieces), headers=MappingProxyType(self.headers))


class _Connection(asyncio.Protocol):
    """One connection. What arrives is stamped at once, and understood in the loop's next turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_body: int) -> None:
        self._loop, self._max_body = loop, max_body
        self._arrived: list[tuple[int, bytes]] = []
        self._flight: _Flight | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._keep, self._used, self._since = True, False, time.monotonic()
        self._now_ns = 0
        self._fd: int | None = None

    # ---- what the loop calls

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        if uvloop is not None and transport.get_extra_info("sslcontext") is None:
            self._fd = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        now_ns = perf_counter_ns()  # before anything else
        self._arrived.append((now_ns, data))
        if len(self._arrived) == 1:
            self._loop.call_soon(self._understand)

    def connection_lost(self, error: Exception | None) -> None:
        now_ns = perf_counter_ns()
        self._understand()
        flight, self._keep, self._fd = self._flight, False, None
        if flight is not None:
            if error is None and flight.status and self._until_closed(flight):
                self.end("complete", None, now_ns)
            else:
                where = "in the middle of its answer" if flight.status else "before it answered"
                self.end("disconnected", f"The server closed the connection {where}.", now_ns)
        self._parser = None  # it refers back to this connection: without this, only the collector frees both

    # ---- what `Wire` calls

    def start(self, flight: _Flight, request: bytes) -> None:
        """Write the request; the time of sending is taken just before."""
        self._flight, self._used = flight, True
        flight.t_sent_ns = perf_counter_ns()
        if self._transport.is_closing():
            return self.end("disconnected", "The server closed the connection before it was asked.")
        if self._fd is None:
            return self._transport.write(request)
        # uvloop writes only after all else that is due in this turn of the loop, which with many requests is
        # milliseconds after the stamp. The socket is empty and will take the request now.
        try:
            n_written = os.write(self._fd, request)
        except OSError:  # full, or already closed by the other side: then `connection_lost` comes
            n_written = 0
        if n_written < len(request):
            self._transport.write(request[n_written:])

    def usable(self) -> bool:
        """Whether the next request may go this way."""
        limit_s = IDLE_S if self._used else NEVER_USED_S
        fresh = time.monotonic() - self._since <= limit_s
        return self._keep and fresh and not self._transport.is_closing()

    def close(self) -> None:
        self._keep, self._fd = False, None
        self._transport.abort()

    def end(self, ended: str, error: str | None, t_end_ns: int | None = None) -> None:
        """End the request under way, if there is one. Unless it is complete, the connection ends with it."""
        if t_end_ns is None:  # not from within `_understand`
            self._understand()
        flight, self._flight, self._since = self._flight, None, time.monotonic()
        if flight is None:
            return
        flight.end(ended, error, t_end_ns)
        if ended != "complete" or not self._keep:
            self.close()

    # ---- HTTP

    def _understand(self) -> None:
        """Let the HTTP parser have what arrived; it calls the `on_…` below."""
        arrived, self._arrived = self._arrived, []
        for self._now_ns, data in arrived:
            if self._flight is None:  # a word nobody asked for: do not use this connection again
                return self.close()
            self._flight.n_bytes += len(data)
            if self._flight.n_bytes > self._max_body:
                return self._unreadable(f"The answer is larger than {self._max_body / 2**20:g} MiB.")
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                if self._flight is None:  # the answer was complete, and something followed it
                    return self.close()
                return self._unreadable(f"The server does not speak proper HTTP ({type(error).__name__}).")
            if self._flight and self._flight.compressed:
                self._flight.pieces.clear()
                return self._unreadable(
                    "The server compressed its answer, though asked not to: compression holds tokens back, "
                    "so their times would be wrong. Switch it off in the server, or in a proxy before it."
                )

    def _unreadable(self, why: str) -> None:
        self.end("unreadable", why, self._now_ns)

    def _until_closed(self, flight: _Flight) -> bool:
        """Whether this answer's end is the connection's end, as in HTTP/1.0."""
        chunked = "chunked" in flight.headers.get("transfer-encoding", "").lower()
        return not chunked and "content-length" not in flight.headers

    def on_message_begin(self) -> None:
        if self._flight is None:  # an answer after the answer
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._flight is not None:
            self._flight.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        flight = self._flight
        if flight is not None and self._parser.get_status_code() >= 200:
            flight.status, flight.t_headers_ns = self._parser.get_status_code(), self._now_ns
            flight.compressed = flight.headers.get("content-encoding", "").lower() not in ("", "identity")

    def on_body(self, data: bytes) -> None:
        flight = self._flight
        if flight is None:
            return
        if flight.t_first_byte_ns is None:
            flight.t_first_byte_ns = self._now_ns
        flight.pieces.append((self._now_ns, data))
        if flight.on_piece is not None:
            flight.on_piece(data)

    def on_message_complete(self) -> None:
        flight = self._flight
        if flight is None:
            return
        if flight.status is None:  # 100 Continue and its like: the answer proper follows
            return flight.headers.clear()
        self._keep = self._keep and self._parser.should_keep_alive()
        if not flight.compressed:
            self.end("complete", None, self._now_ns)


def _read_url(url: str) -> tuple[str, str, int, ssl.SSLContext | None]:
    """A base URL as (tidy URL, host, port, TLS). A URL with a password in it is refused, and not repeated."""
    if not isinstance(url, str):
        raise ModelError(f"A server's address is a string, this is {type(url).__name__}.")
    if "@" in url:
        raise ModelError("Leave names and passwords out of the address: a key is read from BENCHKIT_API_KEY.")
    try:
        parts = urlsplit(url.strip().rstrip("/"))
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("http", "https") or not re.fullmatch(r"[\x21-\x7e]+", parts.netloc):
        raise ModelError(f"{url[:200]!r} is not a server's address. Write for instance http://127.0.0.1:8080")
    if parts.query or parts.fragment:
        raise ModelError(
            f"The address ends at its path, without ? and #: {parts.scheme}://{parts.netloc}{parts.path}"
        )
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return parts.geturl(), host, port or (443 if tls else 80), tls


def _header_lines(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if not SAFE_HEADER.fullmatch(value):
            raise ModelError(
                f"The header {name} has characters that HTTP does not allow, a line end perhaps."
            )
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _reason(error: Exception) -> str:
    """Why no connection could be made, in few words; several addresses may have been tried."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ConnectionRefusedError) or "refused" in str(error):
        return "connection refused"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]


def allow_open_files(n: int) -> None:
    """Raise this process's limit on open files to `n`, or say who can. Nothing to do on Windows."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= n or soft == resource.RLIM_INFINITY:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))
    except (ValueError, OSError):
        raise ModelError(
            f"{n} connections and files are needed at once, this computer allows a program {soft}. "
            f"Ask for fewer streams, or raise the limit in this terminal first: ulimit -n {n}"
        ) from None


# ---- event loops -----------------------------------------------------------------------------------


def new_loop() -> asyncio.AbstractEventLoop:
    """A new event loop: uvloop's where it is installed, else Python's own."""
    return uvloop.new_event_loop() if uvloop is not None else asyncio.new_event_loop()


class LoopThread:
    """An event loop in a thread of its own (a notebook already runs one in the main thread).

    >>> with LoopThread() as thread:
    ...     thread.run(asyncio.sleep(0, "done"))
    'done'
    """

    def __init__(self) -> None:
        self.loop = new_loop()
        self._thread = threading.Thread(target=self._live, name="benchkit-wire", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in (left := asyncio.all_tasks(self.loop)):
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Any], meanwhile: Callable[[], None] | None = None) -> Any:
        """Wait for a coroutine's result; `meanwhile` is called in this thread, ten times a second."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            while not future.done():  # short waits, so that Ctrl-C gets through on every system
                concurrent.futures.wait([future], timeout=0.1)
                if meanwhile is not None:
                    meanwhile()
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive() and not self.loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)

    def __enter__(self) -> LoopThread:  # noqa: PYI034
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def run_async(function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
    """Call a coroutine function in a fast event loop in a thread of its own; works in notebooks too."""
    with LoopThread() as thread:
        return thread.run(function(*args, **kwargs))


@contextlib.contextmanager
def quiet_gc(collect: bool = True) -> Iterator[None]:
    """Keep Python's garbage collector out of the way: a collection stops every stream, often for 50 ms.

    `collect=False` leaves out the clean-up before, which takes as long itself: for one short reply.

    >>> with quiet_gc(collect=False):
    ...     gc.isenabled()
    False
    """
    was_on = gc.isenabled()
    if collect:
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
