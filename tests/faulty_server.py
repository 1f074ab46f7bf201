"""A server that speaks both protocols and misbehaves as the prompt asks: `stream("reset_inside_a_chunk")`.

One thread a connection, sockets used directly, so that every byte and every way to break off can be chosen.
A fault is a function of one `Answer`; any other prompt gets a good reply, "Hello, world".
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading

MODEL = "tiny"
WORDS = ("Hel", "lo, ", "world")


class Answer:
    """One answer under way, in the language of the request."""

    def __init__(self, connection: socket.socket, path: str, stopping: threading.Event, headers=()) -> None:
        self.socket, self.path, self.stopping, self.headers = connection, path, stopping, dict(headers)
        self.ollama = path.startswith("/api")
        self.keep = True

    # ---- what a protocol says

    def line(self, text: str, **more) -> bytes:
        """One chunk of text."""
        if self.ollama:
            return _ndjson(model=MODEL, message={"role": "assistant", "content": text}, done=False, **more)
        return _sse(object="chat.completion.chunk", choices=[_choice({"content": text})], **more)

    def last(self, reason: str | None = "stop", **figures) -> bytes:
        """The end: why, and the counts."""
        if self.ollama:
            figures = {"total_duration": 9_000_000, "prompt_eval_count": 5, "prompt_eval_duration": 2_000_000,
                       "eval_count": 4, "eval_duration": 6_000_000} | figures  # fmt: skip
            why = {"done_reason": reason} if reason else {}
            return _ndjson(message={"role": "assistant", "content": ""}, done=True, **why, **figures)
        usage = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9} | figures
        return _sse(choices=[_choice({}, reason)]) + _sse(choices=[], usage=usage) + b"data: [DONE]\n\n"

    def complaint(self, words: str) -> bytes:
        return _ndjson(error=words) if self.ollama else _sse(error={"message": words, "code": 500})

    # ---- what HTTP says

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self, status: str = "200 OK", **headers) -> None:
        kind = "application/x-ndjson" if self.ollama else "text/event-stream"
        fields = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
        self.raw("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def start(self) -> None:
        self.head(Transfer_Encoding="chunked")

    def piece(self, data: bytes) -> None:
        self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        self.raw(b"0\r\n\r\n")

    def begin(self, n_words: int = 2) -> None:
        """The beginning of a good reply."""
        self.start()
        for word in WORDS[:n_words]:
            self.piece(self.line(word))

    def whole(self, body: bytes, status: str = "200 OK", **headers) -> None:
        self.head(status, Content_Length=len(body), **headers)
        self.raw(body)

    def hang_up(self, reset: bool = False) -> None:
        """End the connection: politely, or with a reset."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.keep = False

    def wait(self, seconds: float) -> bool:
        """Wait; False as soon as the test is over."""
        return not self.stopping.wait(seconds)


def _ndjson(**fields) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _sse(**fields) -> bytes:
    return b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n"


def _choice(delta: dict, reason: str | None = None) -> dict:
    return {"index": 0, "delta": delta, "finish_reason": reason}


# ---- the faults ------------------------------------------------------------------------------------


def good(a: Answer) -> None:
    a.begin(3)
    a.piece(a.last())
    a.end()


def reset_before_the_answer(a: Answer) -> None:
    a.hang_up(reset=True)


def closed_before_the_answer(a: Answer) -> None:
    a.hang_up()


def closed_inside_the_headers(a: Answer) -> None:
    a.raw(b"HTTP/1.1 200 OK\r\nContent-Ty")
    a.hang_up()


def reset_between_chunks(a: Answer) -> None:
    a.begin()
    a.wait(0.05)  # a reset throws away what the other side has not read yet
    a.hang_up(reset=True)


def reset_inside_a_chunk(a: Answer) -> None:
    a.begin()
    a.raw(b"ff\r\n" + a.line("wor")[:20])
    a.wait(0.05)
    a.hang_up(reset=True)


def closed_without_an_end(a: Answer) -> None:
    a.begin()
    a.hang_up()


def ended_without_a_reason(a: Answer) -> None:
    a.begin()
    a.end()


def closed_after_the_last_line(a: Answer) -> None:
    a.begin(3)
    a.piece(a.last())
    a.hang_up()  # the reply is whole, only HTTP's own end is missing


def half_a_character(a: Answer) -> None:
    a.begin()
    whole = a.line("é")
    a.piece(whole[: whole.index("é".encode()) + 1])
    a.end()


def half_a_character_in_a_whole_line(a: Answer) -> None:
    a.begin()
    a.piece(a.line("é").replace("é".encode(), "é".encode()[:1]))
    a.piece(a.last())
    a.end()


def half_a_json_line(a: Answer) -> None:
    a.begin()
    a.piece(a.line("world")[:-9])
    a.end()


def ten_megabytes_in_a_line(a: Answer) -> None:
    a.start()
    a.piece(a.line("x" * 10_000_000))
    a.piece(a.last())
    a.end()


def more_than_we_take(a: Answer) -> None:
    a.begin()
    while True:
        a.piece(b"y" * 1_000_000)


def garbage(a: Answer) -> None:
    a.raw(bytes(range(256)) * 4)
    a.hang_up()


def garbage_in_the_stream(a: Answer) -> None:
    a.begin()
    a.piece(b"\x00\xff not JSON at all\n")
    a.piece(a.last())
    a.end()


def html_instead_of_json(a: Answer) -> None:
    a.whole(b"<!doctype html>\n<html><body>Welcome to nginx!</body></html>\n", Content_Type="text/html")


def html_error_page(a: Answer) -> None:
    a.whole(
        b"<html><body><h1>502 Bad Gateway</h1></body></html>", "502 Bad Gateway", Content_Type="text/html"
    )


def no_such_model(a: Answer) -> None:
    words = "model 'nobody' not found"
    error = (
        {"error": words} if a.ollama else {"error": {"message": words, "type": "NotFoundError", "code": 404}}
    )
    a.whole(json.dumps(error).encode(), "404 Not Found", Content_Type="application/json")


def key_is_wrong(a: Answer) -> None:
    said = f"Incorrect API key provided: {a.headers.get('authorization', 'none')}"
    a.whole(json.dumps({"error": {"message": said}}).encode(), "401 Unauthorized")


def too_many_requests(a: Answer) -> None:
    a.whole(b'{"error": "slow down"}', "429 Too Many Requests", Retry_After="7")


def queue_is_full(a: Answer) -> None:
    a.whole(b'{"error": "server busy, please try again"}', "503 Service Unavailable")


def redirect(a: Answer) -> None:
    a.whole(b"", "307 Temporary Redirect", Location="http://elsewhere.example/steal?it")


def slow_trickle(a: Answer) -> None:
    a.start()
    for byte in a.line("Hello, world"):
        a.piece(bytes([byte]))
        a.wait(0.0005)
    a.piece(a.last())
    a.end()


def endless_trickle(a: Answer) -> None:
    a.begin()
    while a.wait(0.02):
        a.piece(b" " if a.ollama else b":\n")


def stall(a: Answer) -> None:
    a.begin()
    a.wait(30)


def stall_before_the_answer(a: Answer) -> None:
    a.wait(30)


def empty_reply(a: Answer) -> None:
    a.start()
    a.piece(a.last(**({"eval_count": 1} if a.ollama else {"completion_tokens": 0})))
    a.end()


def empty_body(a: Answer) -> None:
    a.whole(b"")


def missing_usage(a: Answer) -> None:
    a.begin(3)
    if a.ollama:
        a.piece(_ndjson(message={"role": "assistant", "content": ""}, done=True, done_reason="stop"))
    else:
        a.piece(_sse(choices=[_choice({}, "stop")]) + b"data: [DONE]\n\n")
    a.end()


def usage_twice(a: Answer) -> None:
    a.begin(3)
    a.piece(a.last(**({"eval_count": 2} if a.ollama else {"completion_tokens": 1})))
    a.piece(a.last())
    a.end()


def negative_durations(a: Answer) -> None:
    a.begin(3)
    if not a.ollama:
        a.piece(_sse(choices=[], timings={"prompt_ms": 3.5, "predicted_ms": -1.0, "predicted_n": 4}))
    a.piece(a.last(**({"eval_duration": -6_000_000} if a.ollama else {"prompt_tokens": -5})))
    a.end()


def zero_durations(a: Answer) -> None:
    a.begin(3)
    if not a.ollama:
        a.piece(
            _sse(choices=[], timings={"prompt_ms": 0, "predicted_ms": 0, "predicted_n": 4, "prompt_n": 0})
        )
    a.piece(
        a.last(**({"eval_duration": 0, "prompt_eval_duration": 0, "total_duration": 0} if a.ollama else {}))
    )
    a.end()


def absurd_figures(a: Answer) -> None:
    a.begin(3)
    a.piece(
        a.last(
            **({"eval_duration": 10**400, "eval_count": "many"} if a.ollama else {"completion_tokens": 1.5})
        )
    )
    a.end()


def error_inside_a_200(a: Answer) -> None:
    a.begin()
    a.piece(a.complaint("the GPU\x1b[31m fell off"))
    a.end() if a.ollama else (a.piece(b"data: [DONE]\n\n"), a.end())


def done_with_no_reason(a: Answer) -> None:
    a.begin()
    a.piece(a.last(None))
    a.end()


def promises_too_much(a: Answer) -> None:
    body = a.line("Hel") + a.line("lo, ")
    a.head(Content_Length=len(body) + 100)
    a.raw(body)
    a.hang_up()


def promises_too_little(a: Answer) -> None:
    body = b"".join(map(a.line, WORDS)) + a.last()
    a.head(Content_Length=len(a.line("Hel") + a.line("lo, ")))
    a.raw(body)


def compressed(a: Answer) -> None:
    a.whole(gzip.compress(a.line("Hello") + a.last()), Content_Encoding="gzip")


def the_reason_is_strange(a: Answer) -> None:
    a.begin()
    a.piece(a.last("content_filter"))
    a.end()


def says_continue_first(a: Answer) -> None:
    a.raw(b"HTTP/1.1 100 Continue\r\n\r\n")
    good(a)


def closes_after_each_reply(a: Answer) -> None:
    a.whole(b"".join(map(a.line, WORDS)) + a.last(), Connection="close")
    a.hang_up()


def old_http(a: Answer) -> None:
    a.raw(b"HTTP/1.0 200 OK\r\n\r\n" + b"".join(map(a.line, WORDS)) + a.last())
    a.hang_up()


def repeats_the_key(a: Answer) -> None:
    a.start()
    key = a.headers.get("authorization", "no key").removeprefix("Bearer ")
    for text in (key[:3], key[3:], " and ", key):
        a.piece(a.line(text))
    a.piece(a.last())
    a.end()


FAULTS = {f.__name__: f for f in (
    reset_before_the_answer, closed_before_the_answer, closed_inside_the_headers, reset_between_chunks,
    reset_inside_a_chunk, closed_without_an_end, ended_without_a_reason, closed_after_the_last_line,
    half_a_character, half_a_character_in_a_whole_line, half_a_json_line, ten_megabytes_in_a_line,
    more_than_we_take, garbage, garbage_in_the_stream, html_instead_of_json, html_error_page, no_such_model,
    key_is_wrong, too_many_requests, queue_is_full, redirect, slow_trickle, endless_trickle, stall,
    stall_before_the_answer, empty_reply, empty_body, missing_usage, usage_twice, negative_durations,
    zero_durations, absurd_figures, error_inside_a_200, done_with_no_reason, promises_too_much,
    promises_too_little, compressed, the_reason_is_strange, says_continue_first, closes_after_each_reply,
    old_http, repeats_the_key,
)}  # fmt: skip


# ---- the server ------------------------------------------------------------------------------------


class FaultyServer:
    """Listens on this computer while used as a context; `requests` is a list of (path, headers, body)."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[tuple[str, dict, dict]] = []
        self.n_connections = 0
        self.loaded = True
        self.stopping = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as file:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self.stopping.is_set() and (request := _read_request(file)):
                self.requests.append(request)
                answer = Answer(connection, request[0], self.stopping, request[1])
                self._answer(answer, *request)
                if not answer.keep:
                    file.close()
                    return

    def _answer(self, a: Answer, path: str, headers: dict, body: dict) -> None:
        if path == "/api/generate" and not body.get("prompt"):
            self.loaded = body.get("keep_alive") != 0
            why = "load" if self.loaded else "unload"
            return a.whole(_ndjson(model=MODEL, response="", done=True, done_reason=why))
        if (small := self._small_answer(path)) is not None:
            return a.whole(json.dumps(small).encode(), Content_Type="application/json")
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        FAULTS.get(prompt, good)(a)

    def _small_answer(self, path: str) -> dict | None:
        row = {"name": f"{MODEL}:latest", "digest": "d1", "size": 3 * 2**20,
               "details": {"quantization_level": "Q4_K_M", "family": "llama", "parameter_size": "2M"}}  # fmt: skip
        loaded = [row | {"size_vram": 0, "context_length": 512, "expires_at": "soon"}] if self.loaded else []
        return {
            "/api/version": {"version": "0.17.4"},
            "/api/tags": {"models": [row]},
            "/api/ps": {"models": loaded},
            "/api/show": {"modelfile": "FROM /models/sha256-d1\n"},
            "/v1/models": {"object": "list", "data": [{"id": f"{MODEL}:latest", "owned_by": "vllm"}]},
        }.get(path)

    def close(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self.socket.close()

    def __enter__(self) -> FaultyServer:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


def _read_request(file) -> tuple[str, dict, dict] | None:
    first = file.readline().split()
    if not first:
        return None
    headers = {}
    while line := file.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = file.read(int(headers.get("content-length", 0)))
    return first[1].decode(), headers, json.loads(body or b"{}")
