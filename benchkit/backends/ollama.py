"""A model served by Ollama, through its own protocol: NDJSON, one JSON object a line.

    with connect("ollama:llama3.2") as model:
        print(model.stream("What is a GPU?").response)

Three pure functions know the protocol: `request` makes what is sent, `parse` reads what came, `text_of`
reads one line of it for a live view. `OllamaBackend` does the rest. The figures in the last line are Ollama's
own: durations in nanoseconds, and a zero is left out.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psutil

from .. import places
from ..errors import ModelError, did_you_mean
from ..recording import Recording
from .base import Options
from .replies import (
    Reply,
    checked_timings,
    error_words,
    json_object,
    lines_of,
    plain,
    rows_of,
    text_chunk,
    whole_number,
)  # fmt: skip
from .served import ServedModel, ask_json
from .wire import Exchange

DEFAULT_PORT = 11434
KEEP_ALIVE = "10m"
LOAD_S, UNLOAD_S = 600.0, 30.0  # how long loading and unloading may take

#: What Ollama reports in its last line and a recording keeps verbatim.
FIGURES = ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_cached_count",
           "prompt_eval_duration", "eval_count", "eval_duration")  # fmt: skip


# ---- the protocol, as pure functions ---------------------------------------------------------------


def request(
    model: str, prompt: str, options: Options, n_ctx: int | None = None, keep_alive: str = KEEP_ALIVE
) -> tuple[str, dict[str, Any]]:
    """Path and body of one request. Sampling settings count only inside `options`; Ollama ignores others.

    >>> path, body = request("llama3.2", "Hi", Options(max_tokens=8))
    >>> path, body["messages"], body["options"]["num_predict"]
    ('/api/chat', [{'role': 'user', 'content': 'Hi'}], 8)
    """
    settings = {
        "num_predict": options.max_tokens,
        "temperature": options.temperature,
        "seed": options.seed,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "repeat_penalty": 1.0,  # Ollama's own 1.1 would not take the most likely token at temperature 0
    }
    if n_ctx is not None:
        settings["num_ctx"] = n_ctx
    body = {"model": model, "stream": True, "keep_alive": keep_alive, "options": settings}
    if options.raw:
        return "/api/generate", body | {"prompt": prompt, "raw": True}
    return "/api/chat", body | {"messages": [{"role": "user", "content": prompt}]}


def parse(exchange: Exchange, asked: Options) -> Recording:
    """The recording of what came: the same, however the bytes were cut into pieces."""
    reply = Reply(counts_end_token=True)
    for t_ns, line, whole in lines_of(exchange.pieces):
        if not line.strip():
            continue
        answer = json_object(line)
        if answer is None or not (answer.keys() & {"message", "response", "done", "error"}):
            reply.not_understood(t_ns, line, whole)
        else:
            _read(reply, t_ns, line, answer)
    return reply.recording(exchange, asked)


def _read(reply: Reply, t_ns: int, line: bytes, answer: dict[str, Any]) -> None:
    found = _texts(answer)
    reply.chunks.extend([text_chunk(t_ns, kind, text) for kind, text in found])
    if not found:
        reply.silent(t_ns, "usage" if answer.get("done") is True else "other", line)
    if answer.get("error"):
        reply.error = error_words(answer)
    if answer.get("done") is True:
        _read_end(reply, answer)


def _texts(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """The text in one line, by kind, in the order in which the model wrote it."""
    message = answer.get("message")
    if not isinstance(message, dict):  # /api/generate has the same fields one level higher
        message = {**answer, "content": answer.get("response")}
    thinking, content, calls = (message.get(key) for key in ("thinking", "content", "tool_calls"))
    found = []
    if thinking and isinstance(thinking, str):
        found.append(("reasoning", thinking))
    if content and isinstance(content, str):
        found.append(("content", content))
    if calls and isinstance(calls, list):
        found.append(("tool", json.dumps(calls, ensure_ascii=False)))
    return found


def _read_end(reply: Reply, answer: dict[str, Any]) -> None:
    reason = answer.get("done_reason")
    reply.finish = reason if isinstance(reason, str) and reason else None
    reply.timings = checked_timings("ollama", {key: answer[key] for key in FIGURES if key in answer})
    reply.counts = {
        "prompt": whole_number(answer.get("prompt_eval_count")),
        "cached": whole_number(answer.get("prompt_eval_cached_count")),
        "output_reported": whole_number(answer.get("eval_count")),
    }


def text_of(line: bytes) -> str:
    """The answer's text in one line, for a live view."""
    found = _texts(json_object(line) or {})
    return "".join(text_chunk(0, kind, text).text for kind, text in found if kind == "content")


def full_name(model: str) -> str:
    """A model's name with its tag, as Ollama lists it.

    >>> full_name("llama3.2"), full_name("me/tiny:q4")
    ('llama3.2:latest', 'me/tiny:q4')
    """
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def base_url(host: str | None = None) -> str:
    """Where Ollama is: `host`, else `OLLAMA_HOST` read as Ollama itself reads it, else this computer.

    >>> base_url("192.168.1.5"), base_url("https://my.host/ai"), base_url("0.0.0.0:8080")
    ('http://192.168.1.5:11434', 'https://my.host:443/ai', 'http://127.0.0.1:8080')
    """
    text = host if host is not None else os.environ.get("OLLAMA_HOST", "")
    text = text.strip().strip("\"'").strip()
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
    default = {"http": 80, "https": 443}.get(scheme.lower(), DEFAULT_PORT) if found else DEFAULT_PORT
    place, _, path = rest.partition("/")
    name, port = _split_port(place, default)
    name = "127.0.0.1" if name in ("", "0.0.0.0", "::") else name  # "everywhere" is for listening
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}" + (f"/{path}" if path else "")


def _split_port(place: str, default: int) -> tuple[str, int]:
    if place.count(":") > 1 and not place.startswith("["):  # an IPv6 address without brackets
        return place, default
    name, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    name = (name if colon else place).strip("[]")
    return name, int(port) if port.isdecimal() and int(port) < 65536 else default


# ---- the backend -----------------------------------------------------------------------------------


def list_models(host: str | None = None) -> list[dict[str, Any]]:
    """The models that an Ollama has, with digest and quantisation. Raises ModelError if it is not there."""
    url = base_url(host)
    return [
        {
            "name": f"ollama:{row['name']}",
            "path": None,
            "size_mib": (whole_number(row.get("size")) or 0) / 2**20,
            "where": url,
            "digest": row.get("digest"),
            "quantisation": _details(row).get("quantization_level"),
        }
        for row in _rows(ask_json(url, "/api/tags", who="Ollama", help=START))
    ]


START = (
    "Start Ollama (its app, or `ollama serve` in a terminal), or say where it runs: host=…, "
    "or the variable OLLAMA_HOST."
)


class OllamaBackend(ServedModel):
    """One model of an Ollama server, loaded. Made by `connect("ollama:…")`."""

    def __init__(
        self,
        name: str,
        model: str,
        host: str | None = None,
        n_ctx: int | None = None,
        keep_alive: str = KEEP_ALIVE,
    ) -> None:
        if n_ctx is not None and (type(n_ctx) is not int or not 8 <= n_ctx <= 10_000_000):
            raise ModelError(f"n_ctx={n_ctx!r}: a whole number from 8 to 10000000 is allowed, or None.")
        super().__init__(name, model, base_url(host), start=START)
        self.n_ctx, self.keep_alive = n_ctx, keep_alive
        self._runner: psutil.Process | None = None
        try:
            self._version = plain(str(self.ask_json("/api/version").get("version")), 40)
            self._row = self._find()
            self.load_s = self._load()
        except BaseException:
            self._hang_up()
            raise

    # ---- what ServedModel asks of a protocol

    text_of = staticmethod(text_of)
    parse = staticmethod(parse)

    def request(self, prompt: str, options: Options) -> tuple[str, dict[str, Any]]:
        return request(self.model, prompt, options, self.n_ctx, self.keep_alive)

    def prepare(self, options: Options) -> None:
        """For a cold cache: let an unrelated prompt take the last one's place. The counts tell if it did."""
        if options.cache == "cold":
            path, body = self.request(" 0", replace(options, max_tokens=1, raw=True))
            self.send(path, body, options.timeout_s)

    # ---- the model's life

    def _find(self) -> dict[str, Any]:
        rows = {row["name"]: row for row in _rows(self.ask_json("/api/tags"))}
        if full_name(self.model) in rows:
            return rows[full_name(self.model)]
        raise ModelError(
            f"{self.name}: Ollama at {self.host} has no model called {self.model}"
            f"{did_you_mean(self.model, [*rows, *(n.removesuffix(':latest') for n in rows)])}. "
            f"It has: {plain(', '.join(sorted(rows))) or 'none'}. Get it: ollama pull {plain(self.model)}"
        )

    def _load(self) -> float | None:
        """Load the model; the time it took, or None where it could not be unloaded first."""
        cold = self._unload()
        body = {"model": self.model, "keep_alive": self.keep_alive, "stream": False}
        if self.n_ctx is not None:
            body["options"] = {"num_ctx": self.n_ctx}
        exchange = self.send("/api/generate", body, LOAD_S)
        self.check(exchange)
        return (exchange.t_end_ns - exchange.t_sent_ns) / 1e9 if cold else None

    def _unload(self) -> bool:
        """Unload the model, and see that it is gone."""
        give_up = time.monotonic() + UNLOAD_S
        asked = False
        while self.snapshot():
            if asked and time.monotonic() > give_up:  # somebody else goes on using it
                return False
            if not asked:
                self.send("/api/generate", {"model": self.model, "keep_alive": 0}, UNLOAD_S)
                asked = True
            else:
                time.sleep(0.1)
        return True

    def snapshot(self) -> dict[str, Any]:
        """The row of `/api/ps`: what must not change while a block is measured. Empty: it is not loaded."""
        for row in _rows(self.ask_json("/api/ps")):
            if row["name"] == full_name(self.model):
                return {
                    key: row[key]
                    for key in ("name", "digest", "size", "size_vram", "context_length")
                    if key in row
                }
        return {}

    def describe(self) -> dict[str, Any]:
        """What a manifest keeps: digest, size, quantisation, context, the server and its version."""
        details = _details(self._row)
        return {
            "name": self.name,
            "host": self.host,
            "digest": self._row.get("digest"),
            "size_bytes": whole_number(self._row.get("size")),
            "quantisation": details.get("quantization_level"),
            "family": details.get("family"),
            "parameter_size": details.get("parameter_size"),
            "n_ctx": self.snapshot().get("context_length", self.n_ctx),
            "versions": {"ollama": self._version},
        }

    def pids(self) -> list[int]:
        """The process in which Ollama runs this model, if it is on this computer and can be told for sure."""
        parts = urlsplit(self.host)
        if not places.is_loopback(parts.hostname):
            return []
        if self._runner is None or not self._runner.is_running():  # finding it takes a while: once a runner
            self._runner = find_runner(parts.port, self._blob())
        return [self._runner.pid] if self._runner else []

    def _blob(self) -> str:
        """The end of the path of the model's weights: it tells two runners apart."""
        shown = self.ask_json("/api/show", {"model": self.model}).get("modelfile", "")
        found = [line for line in str(shown).splitlines() if line.startswith("FROM ")]
        return found[-1].replace("\\", "/").rpartition("/")[2].strip() if found else ""

    def close(self) -> None:
        """Unload the model, and close the connection."""
        if not self.closed:
            self.send("/api/generate", {"model": self.model, "keep_alive": 0}, UNLOAD_S)
            self._hang_up()


def _rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return rows_of(answer, "models", "name")


def _details(row: dict[str, Any]) -> dict[str, Any]:
    details = row.get("details")
    return {k: v for k, v in details.items() if isinstance(v, str)} if isinstance(details, dict) else {}


def find_runner(port: int, blob: str) -> psutil.Process | None:
    """The process that the Ollama at this port started to run the model with this file.

    None where it cannot be told: the memory of a wrong process is worse than none.
    """
    runners = [p for p in psutil.process_iter(["name", "cmdline", "ppid"]) if _is_runner(p.info, blob)]
    mine = [p for p in runners if _listens(p.info["ppid"], port) is not False]
    return mine[0] if len(mine) == 1 else None


def _is_runner(info: dict[str, Any], blob: str) -> bool:
    """Whether this is `ollama runner`, and for our file where its command line names one."""
    words = info["cmdline"] or []
    right_file = "--model" not in words or any(blob in word for word in words)
    return "ollama" in (info["name"] or "").lower() and words[1:2] == ["runner"] and right_file


def _listens(pid: int, port: int) -> bool | None:
    """Whether this process listens at this port; None where the system does not let us see."""
    try:
        process = psutil.Process(pid)
        found = getattr(process, "net_connections", None) or process.connections  # psutil before 6
        return any(c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in found())
    except psutil.Error:
        return None
