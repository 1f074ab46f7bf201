"""The models behind `benchkit serve`: loaded when asked for, one reply at a time, unloaded when idle.

`serve` speaks HTTP; what it asks for is here. The rules are Ollama's: a model is loaded by its first request
and stays for `keep_alive` after its last one; `num_ctx` and `num_thread` belong to the loaded model, so that
changing them loads it again; requests wait for each other in the order in which they came.
"""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from . import backends
from .backends.gguf import GRACE_S, GgufBackend, WorkerDied, default_threads
from .backends.ollama_create import ollama_name
from .errors import ModelError
from .gguf_header import read_header
from .quantize import sha256, type_name

#: Ollama's own: tokens of context, requests that may wait, seconds that an idle model stays loaded.
N_CTX, MAX_WAITING, KEEP_ALIVE_S = 4096, 512, 300.0
FOREVER = math.inf

#: How often it is asked whether the client is still there.
LOOK_S = 0.1

Gone = Callable[[], bool]


class ApiError(Exception):
    """A request that cannot be answered: HTTP status and a sentence for the person who sent it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


# ---------------------------------------------------------------- what can be asked


@dataclass(frozen=True)
class Settings:
    """How one reply is generated: Ollama's names, Ollama's defaults.

    A `seed` below 0 draws one; `num_predict` below 1 goes on until the model ends or the context is full.
    `ignore_eos` and `cache_prompt` are llama-server's, for its kind of request.
    """

    num_predict: int = -1
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.1
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = -1
    stop: tuple[str, ...] = ()
    num_ctx: int | None = None
    num_thread: int | None = None
    ignore_eos: bool = False
    cache_prompt: bool = True

    def for_engine(self) -> dict[str, Any]:
        """The same in the engine's words."""
        last_n = self.repeat_last_n if self.repeat_last_n >= 0 else self.num_ctx or N_CTX
        return {
            "max_tokens": self.num_predict if self.num_predict > 0 else 2**31 - 1,
            "temperature": max(0.0, self.temperature),
            "top_k": max(0, self.top_k),
            "top_p": self.top_p,
            "min_p": self.min_p,
            "typical_p": self.typical_p,
            "penalties": [last_n, self.repeat_penalty, self.frequency_penalty, self.presence_penalty],
            "seed": self.seed if self.seed >= 0 else random.SystemRandom().randrange(2**32 - 1),
            "ignore_eos": self.ignore_eos,
            "raw": True,
            "cache": "warm" if self.cache_prompt else "cold",
        }


#: What a number may be; outside of it llama.cpp would fail, or the computer suffer.
LIMITS = {
    "num_predict": (-2, 2**31 - 1), "temperature": (0.0, 100.0), "top_k": (-1, 2**31 - 1),
    "top_p": (0.0, 1.0), "min_p": (0.0, 1.0), "typical_p": (0.0, 1.0),
    "repeat_last_n": (-1, 2**20), "repeat_penalty": (0.01, 100.0),
    "frequency_penalty": (-10.0, 10.0), "presence_penalty": (-10.0, 10.0), "seed": (-(2**63), 2**63 - 1),
    "num_ctx": (0, 2**31 - 1), "num_thread": (0, 1024),
}  # fmt: skip
MAX_STOPS, MAX_STOP_LENGTH = 32, 1000


def read_settings(options: Mapping[str, Any] | None) -> Settings:
    """Settings from a request's `options`; a name that is not known is passed over, as Ollama does.

    >>> read_settings({"temperature": 0, "stop": ["\\n"], "num_gpu": 1}).stop
    ('\\n',)
    """
    known = {field.name: field.type for field in fields(Settings)}
    wanted = {}
    for name, value in (options or {}).items():
        if name in known and value is not None:
            wanted[name] = _read_option(name, value, known[name])
    if wanted.get("seed", 0) > 2**32 - 2:
        wanted["seed"] %= 2**32 - 1
    for name in ("num_ctx", "num_thread"):  # 0 is "you choose"
        wanted[name] = wanted.get(name) or None
    return Settings(**wanted)


def _read_option(name: str, value: Any, kind: str) -> Any:
    if name == "stop":
        return _read_stops(value)
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise ApiError(400, f'option "{name}" must be of type boolean')
    whole = "int" in kind
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ApiError(400, f'option "{name}" must be of type {"integer" if whole else "float32"}')
    low, high = LIMITS[name]
    if not low <= value <= high:
        raise ApiError(400, f'option "{name}" is {value}: allowed is {low} to {high}')
    return int(value) if whole else float(value)


def _read_stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, (list, tuple)):
        raise ApiError(400, 'option "stop" must be of type array')
    if not all(isinstance(stop, str) for stop in stops):
        raise ApiError(400, 'option "stop" must be of an array of strings')
    if len(stops) > MAX_STOPS or any(len(stop) > MAX_STOP_LENGTH for stop in stops):
        raise ApiError(
            400, f'option "stop": at most {MAX_STOPS} texts of {MAX_STOP_LENGTH} characters are allowed'
        )
    return tuple(stop for stop in stops if stop)


# ---------------------------------------------------------------- stopping at a text


class StopWatch:
    """Passes a growing text on, up to the first stop text; holds back what may become one.

    >>> watch = StopWatch(["END"])
    >>> watch.feed("The E"), watch.feed("N"), watch.feed("D of it"), watch.found
    ('The ', '', '', True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """What can be shown now that `text` has come."""
        if self.found:
            return ""
        self._held += text
        places = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if places:
            self.found = True
            shown, self._held = self._held[: min(places)], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def rest(self) -> str:
        """What was held back, once nothing follows."""
        shown, self._held = self._held, ""
        return shown


def _overlap(text: str, stop: str) -> int:
    """How much of the text's end is the beginning of the stop text."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def tokens_until_stop(texts: Sequence[str], stops: Sequence[str]) -> int:
    """How many tokens there are up to and with the one that completes the first stop text.

    >>> tokens_until_stop(["a", "E", "ND", "x"], ["END"]), tokens_until_stop(["a"], ["END"])
    (3, 1)
    """
    watch = StopWatch(stops)
    for n, text in enumerate(texts, 1):
        watch.feed(text)
        if watch.found:
            return n
    return len(texts)


# ---------------------------------------------------------------- taking turns


class Turns:
    """One at a time, in the order of arrival."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()  # the first one has its turn
        self._max = max_waiting

    @contextmanager
    def turn(self, gone: Gone) -> Iterator[None]:
        """Wait for a turn and hold it; `ApiError` if too many wait, `ClientGone` if the client left."""
        ticket = object()
        with self._changed:
            if len(self._line) > self._max:
                raise ApiError(503, "server busy, please try again.  maximum pending requests exceeded")
            self._line.append(ticket)
        try:
            with self._changed:
                while self._line[0] is not ticket:
                    if not self._changed.wait(LOOK_S) and gone():
                        raise ClientGone
            yield
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()

    @contextmanager
    def if_free(self) -> Iterator[bool]:
        """Hold a turn only if nobody else has one; tells whether."""
        ticket = object()
        with self._changed:
            free = not self._line
            if free:
                self._line.append(ticket)
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._line.remove(ticket)
                    self._changed.notify_all()


# ---------------------------------------------------------------- the engine


class Engine(GgufBackend):
    """A GGUF model that tells of every token as it comes and can be stopped at any moment."""

    @property
    def n_ctx(self) -> int:
        """Tokens of context, prompt and reply together."""
        return self._load["n_ctx"]

    def serves(self, n_ctx: int, n_threads: int | None) -> bool:
        """Whether it was loaded with these settings."""
        return self._load["n_ctx"] == n_ctx and self._load["n_threads"] == (n_threads or default_threads())

    def ask(self, op: str, **request: Any) -> Any:
        """Something other than a reply: `render` messages, `tokenize` a text, `detokenize` tokens."""
        worker = self._worker or self._start()
        worker.write(op=op, **request)
        try:
            _, answer = worker.read()
        except WorkerDied as death:
            self._forget()
            raise ApiError(500, str(death)) from None
        if "failed" in answer:
            raise ApiError(400, answer["failed"])
        return answer["done"]

    def reply(
        self, text: str, options: Mapping[str, Any], on_text: Callable[[str], bool], gone: Gone
    ) -> dict[str, Any]:
        """Generate; `on_text` is given the text of each token and says whether to go on."""
        worker = self._worker or self._start()
        worker.write(op="generate", prompt=text, options=options, show=True, show_every_ns=0)
        give_up = math.inf
        while True:
            stop = False
            try:
                _, answer = worker.read(LOOK_S)
            except TimeoutError:
                if time.monotonic() > give_up:
                    self._forget()
                    raise ApiError(500, "the engine did not stop and had to be ended") from None
                answer, stop = {}, gone()
            except WorkerDied as death:
                self._forget()
                raise ApiError(500, f"{death} The next request starts a new one.") from None
            if "failed" in answer:
                raise ApiError(400, answer["failed"])
            if "done" in answer:
                return answer["done"]
            if "text" in answer and give_up == math.inf:
                stop = not on_text(answer["text"])
            if stop and give_up == math.inf:
                worker.write(op="abort")
                give_up = time.monotonic() + GRACE_S


# ---------------------------------------------------------------- a model that is served


@dataclass(frozen=True)
class Reply:
    """What came of one request; `n_prompt` counts cached tokens too, `n_output` the end token."""

    text: str
    done_reason: str
    n_prompt: int
    n_cached: int
    n_output: int
    prompt_ns: int
    output_ns: int
    load_ns: int
    context: tuple[int, ...] = ()


class Served:
    """One model on offer: what it is, and the engine while it is loaded."""

    def __init__(self, model: str, n_threads: int | None = None) -> None:
        self.model = model
        self.n_threads = n_threads
        self.path: Path = backends.locate(model)
        self.header = read_header(self.path)
        self.name = ollama_name(model)
        self.engine: Engine | None = None
        self.expires_at: datetime | None = None
        self._deadline = FOREVER

    # ---- what it is

    def details(self) -> dict[str, Any]:
        """The `details` of Ollama's lists."""
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.header.architecture,
            "families": [self.header.architecture],
            "parameter_size": human_number(self.header.parameters),
            "quantization_level": type_name(self.header.metadata.get("general.file_type")) or "unknown",
        }

    @property
    def digest(self) -> str:
        """The SHA-256 of the model's file."""
        return sha256(self.path)

    @property
    def modified_at(self) -> datetime:
        """When the file was last changed."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, timezone.utc)

    @property
    def chat_template(self) -> str:
        """How a conversation becomes a text, in Jinja."""
        return str(self.header.metadata.get("tokenizer.chat_template", ""))

    # ---- loading

    def load(self, settings: Settings) -> int:
        """See that the model is loaded with these settings; returns how long that took, in ns."""
        began = time.perf_counter_ns()
        trained = self.header.n_ctx_train or N_CTX
        n_ctx = max(8, min(settings.num_ctx or N_CTX, trained))
        load = {"n_ctx": n_ctx, "n_threads": settings.num_thread or self.n_threads}
        if self.engine and not self.engine.serves(**load):
            self.unload()
        if self.engine is None:
            try:
                self.engine = Engine(self.model, self.path, **load)
            except ModelError as problem:
                raise ApiError(500, str(problem)) from None
        return time.perf_counter_ns() - began

    def unload(self) -> None:
        """End the engine."""
        if self.engine:
            self.engine.close()
        self.engine, self.expires_at, self._deadline = None, None, FOREVER

    def keep(self, seconds: float) -> None:
        """Stay loaded for so long from now on; 0 unloads at once."""
        if seconds <= 0:
            return self.unload()
        capped = min(seconds, 9_223_372_036.0)  # Go's longest duration, 292 years: Ollama's "forever"
        self._deadline = time.monotonic() + capped
        self.expires_at = datetime.now(timezone.utc) + timedelta(seconds=capped)

    def expired(self) -> bool:
        """Whether it is loaded and its time is over."""
        return self.engine is not None and time.monotonic() > self._deadline

    # ---- replying, in one's turn

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The conversation as text; the oldest messages are left out where it does not fit, as Ollama does.

        System messages stay, and the last message always does.
        """
        for first in range(len(messages)):
            system = [message for message in messages[:first] if message["role"] == "system"]
            text = self.engine.ask("render", messages=collated([*system, *messages[first:]]))
            last = first == len(messages) - 1
            if last or len(self.engine.ask("tokenize", text=text)) <= self.engine.n_ctx:
                return text
        raise ApiError(400, "messages is empty")

    def reply(
        self, text: str, settings: Settings, on_text: Callable[[str], None], gone: Gone, load_ns: int = 0
    ) -> Reply:
        """Generate a reply to this text; `on_text` is given it piece by piece."""
        watch, n_fed, looked, left = StopWatch(settings.stop), 0, time.monotonic(), False

        def pass_on(piece: str) -> bool:
            nonlocal n_fed, looked, left
            n_fed += len(piece)
            try:
                if shown := watch.feed(piece):
                    on_text(shown)
                if time.monotonic() - looked > LOOK_S:
                    looked, left = time.monotonic(), gone()
            except ClientGone:
                left = True
            return not (left or watch.found)

        done = self.engine.reply(text, settings.for_engine(), pass_on, gone)
        if left or (done["state"] == "aborted" and not watch.found):
            raise ClientGone
        if done["state"] == "error":
            raise ApiError(500, done["error"])
        rest = watch.feed("".join(done["text"])[n_fed:])  # half a character at the very end
        if rest := rest + ("" if watch.found else watch.rest()):
            on_text(rest)
        return _reply(done, settings.stop if watch.found else (), load_ns)


def collated(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Messages of one role that follow each other become one, as in Ollama.

    >>> collated([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    [{'role': 'user', 'content': 'a\\n\\nb'}]
    """
    found: list[dict[str, str]] = []
    for message in messages:
        if found and found[-1]["role"] == message["role"] != "tool":
            found[-1]["content"] += "\n\n" + message["content"]
        else:
            found.append(dict(message))
    return found


def _reply(done: Mapping[str, Any], stops: Sequence[str], load_ns: int) -> Reply:
    """The engine's answer as what Ollama would report; what came after a stop text does not count."""
    texts, counts, timings = done["text"], done["counts"], done["timings"]
    text, stamps, ended_ns = "".join(texts), done["t_ns"], timings["t_done_ns"]
    n_output = counts["output_reported"]
    if stops:
        n_output = tokens_until_stop(texts, stops)
        ended_ns = stamps[n_output - 1]
        text = StopWatch(stops).feed(text)
    first_ns = stamps[0] if stamps else ended_ns
    return Reply(
        text=text,
        done_reason="stop" if stops or done["state"] in ("ok", "empty") else "length",
        n_prompt=counts["prompt"],
        n_cached=counts["cached"],
        n_output=n_output,
        prompt_ns=first_ns - timings["t_prompt_ns"],
        output_ns=ended_ns - first_ns,
        load_ns=load_ns,
    )


# ---------------------------------------------------------------- numbers and durations


def human_number(n: int) -> str:
    """A count of parameters as Ollama writes it.

    >>> human_number(3_672_320), human_number(8_000_000), human_number(1_235_814_432), human_number(900)
    ('3.67M', '8M', '1.2B', '900')
    """
    for size, letter, digits in ((10**9, "B", 1), (10**6, "M", 2), (1000, "K", 0)):
        if n >= size:
            return f"{n / size:.{0 if n % size == 0 else digits}f}{letter}"
    return str(n)


_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def read_keep_alive(value: Any) -> float:
    """Seconds that a model stays loaded: a number of seconds or a duration such as `5m`; below 0 is forever.

    >>> read_keep_alive("1h30m"), read_keep_alive(10), read_keep_alive(-1), read_keep_alive(None)
    (5400.0, 10.0, inf, 300.0)
    """
    if value is None:
        return KEEP_ALIVE_S
    if isinstance(value, str) and len(value) <= 100 and value in ("0", "+0", "-0"):
        return 0.0
    if isinstance(value, str) and len(value) <= 100 and _DURATION.fullmatch(value):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
        return FOREVER if value.startswith("-") and seconds else seconds
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return FOREVER if value < 0 else float(value)
    raise ApiError(
        400,
        f'keep_alive is {str(value)[:50]!r}: a number of seconds or a text such as "1h30m" is allowed',
    )
