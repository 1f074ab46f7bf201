"""The process in which one GGUF model lives: `python -m benchkit.backends.worker`.

It is started by `benchkit.backends.gguf` and spoken to over pipes, one JSON object a line:

    it has started                                     ->  {"up": true}: time to look at its memory
    {"op": "load", "path": ..., "n_ctx": ...}          ->  {"ready": {...}} or {"failed": "why"}
    {"op": "generate", "prompt": ..., "options": ...}  ->  {"text": "..."} now and then, {"done": {...}}
    {"op": "render" | "tokenize" | "detokenize", ...}  ->  {"done": the text or the tokens}
    {"op": "abort"}                                    ->  the reply under way ends, as "aborted"
    the pipe closes                                    ->  the process ends at once

Why a process of its own: a crash of the engine is then this model's result and not the end of your
run, and the memory of this process is the memory of this model.

The part that is timed is `Engine._loop`, eight lines. Everything else happens before it or after it.
"""

from __future__ import annotations

import codecs
import ctypes
import functools
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ..llama_c import C, answers_on_stdout, complaints, start

NEVER = 2**63 - 1
SHOW_EVERY_NS = 100_000_000  # a message for every token would cost 12 % of the decode speed
HIDDEN = 1 | 2 | 8  # token attributes UNKNOWN, UNUSED, CONTROL: such a token has no text


class Refused(Exception):
    """The request cannot be done; the message is for the user."""


class Engine:
    """One model, loaded, with the memory (KV cache) of the last reply."""

    def __init__(self, path: str, n_ctx: int | None, n_threads: int, n_gpu_layers: int) -> None:
        started = time.perf_counter()
        self.model = load_model(path, n_gpu_layers)
        self.vocab = C.llama_model_get_vocab(self.model)
        self.n_ctx_train = C.llama_model_n_ctx_train(self.model)
        self.n_ctx = n_ctx or min(2048, self.n_ctx_train)
        self.n_threads = n_threads
        # The processor always has it; with layers on a GPU llama.cpp looks whether that has it too.
        self.flash_attn = C.LLAMA_FLASH_ATTN_TYPE_AUTO if n_gpu_layers else C.LLAMA_FLASH_ATTN_TYPE_ENABLED
        self.context = self._make_context()
        self._threads = _keep_threads(self.context, n_threads)
        self.load_s = time.perf_counter() - started
        self.memory = C.llama_get_memory(self.context)
        self.held: list[int] = []  # the tokens whose keys and values the KV cache holds
        self.stop_flag = _install_stop_flag(self.context)
        self.piece = functools.lru_cache(maxsize=None)(functools.partial(_piece, self.vocab))
        self.n_vocab = C.llama_vocab_n_tokens(self.vocab)
        vocabulary = range(self.n_vocab)
        self.end_tokens = frozenset(t for t in vocabulary if C.llama_vocab_is_eog(self.vocab, t))
        hidden = {t for t in vocabulary if C.llama_vocab_get_attr(self.vocab, t) & HIDDEN}
        self.textless = sorted(hidden | self.end_tokens)
        self.template = self._chat_template()
        # One token at a time goes through this batch: made once, only its content changes.
        self.one = (C.llama_token * 1)()
        self.next_batch = C.llama_batch_get_one(self.one, 1)

    def _make_context(self) -> Any:
        if self.n_ctx > self.n_ctx_train:
            raise Refused(
                f"n_ctx={self.n_ctx} was asked for, but this model was trained on {self.n_ctx_train} tokens "
                f"and writes nonsense beyond them. Use n_ctx={self.n_ctx_train} or less, or leave it out."
            )
        settings = C.llama_context_default_params()
        settings.n_ctx = self.n_ctx
        settings.n_threads = settings.n_threads_batch = self.n_threads
        settings.no_perf = False  # llama.cpp's own clock, to hold against ours
        settings.flash_attn_type = self.flash_attn
        context = C.llama_init_from_model(self.model, settings)
        if not context:
            raise Refused(
                f"There was no room for a context of {self.n_ctx} tokens. Ask for a smaller n_ctx, or close "
                f"other programs. llama.cpp says: {last_complaints()}"
            )
        return context

    # -- a prompt becomes tokens ------------------------------------------------------------------

    def _meta(self, key: str) -> str | None:
        """One entry of the GGUF file's metadata, as text."""
        size = 1 << 10
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = C.llama_model_meta_val_str(self.model, key.encode(), buffer, size)
            if length < size:
                return None if length < 0 else buffer.value.decode("utf-8", "replace")
            size = length + 1

    def _chat_template(self) -> Callable[..., str] | None:
        source = self._meta("tokenizer.chat_template")
        return _compile_template(source) if source else None

    def _special(self, token: int) -> str:
        return self.piece(token, True).decode("utf-8", "replace") if token >= 0 else ""

    def _prompt_text(self, prompt: str, raw: bool) -> str:
        return prompt if raw else self.render([{"role": "user", "content": prompt}])

    def render(self, messages: list[dict[str, str]]) -> str:
        """A conversation as the text that the model was trained to continue."""
        if self.template is None:
            return "\n".join(message["content"] for message in messages)
        return self.template(
            messages=messages,
            add_generation_prompt=True,
            bos_token=self._special(C.llama_vocab_bos(self.vocab)),
            eos_token=self._special(C.llama_vocab_eos(self.vocab)),
        )

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, with the start token if the model wants one and the text has none."""
        data = text.encode("utf-8", "replace")
        bos = self._special(C.llama_vocab_bos(self.vocab))
        add_special = not (bos and text.startswith(bos))
        size = len(data) + 8
        while True:
            tokens = (C.llama_token * size)()
            n = C.llama_tokenize(self.vocab, data, len(data), tokens, size, add_special, True)
            if n >= 0:
                return tokens[:n]
            size = -n

    def detokenize(self, tokens: list[int]) -> str:
        """The text of tokens, the special ones included."""
        if not all(0 <= token < self.n_vocab for token in tokens):
            raise Refused(f"Not a token of this model: its tokens are the numbers 0 to {self.n_vocab - 1}.")
        return b"".join(self.piece(token, True) for token in tokens).decode("utf-8", "replace")

    # -- tokens become a reply --------------------------------------------------------------------

    def generate(
        self,
        prompt: str,
        options: dict[str, Any],
        show: Callable[[str], None] | None,
        show_every_ns: int = SHOW_EVERY_NS,
    ) -> dict[str, Any]:
        """One reply: its tokens with their times, why it ended, and what llama.cpp's own clock says."""
        began = time.perf_counter_ns()
        ids = self.tokenize(self._prompt_text(prompt, options["raw"]))
        limit = self._limit(len(ids), options)
        n_cached = self._keep_prefix(ids, options["cache"])
        C.llama_perf_context_reset(self.context)
        chain = self._sampler(options, ids)
        self._show_every_ns = show_every_ns
        tokens: list[int] = []
        stamps: list[int] = []
        gc.disable()  # a garbage collection would fall on some token and make it look slow
        try:
            prompt_ns = time.perf_counter_ns()
            ended, batch = self._prefill(ids[n_cached:])
            ended = ended or self._loop(chain, batch, limit, tokens, stamps, show)
            done_ns = time.perf_counter_ns()
        finally:
            gc.enable()
        self.held = [] if ended in ("aborted", "error") else (ids + tokens)[: self._n_held()]
        reply = self._reply(ended, tokens, stamps, limit, options)
        reply["counts"] |= {"prompt": len(ids), "cached": n_cached}
        reply["timings"] = self._timings(chain) | {
            "t_received_ns": began, "t_prompt_ns": prompt_ns, "t_done_ns": done_ns
        }  # fmt: skip
        C.llama_sampler_free(chain)
        return reply

    def _loop(
        self,
        chain: Any,
        batch: Any,
        limit: int,
        tokens: list[int],
        stamps: list[int],
        show: Callable[[str], None] | None,
    ) -> str:
        """The measured loop: decode, sample, stamp. A token exists once it is sampled: that is its time."""
        decode, sample, clock = C.llama_decode, C.llama_sampler_sample, time.perf_counter_ns
        context, one, next_batch, end_tokens = self.context, self.one, self.next_batch, self.end_tokens
        show_at = 0 if show else NEVER
        for _ in range(limit):
            if status := decode(context, batch):
                return _not_decoded(status)
            token = sample(chain, context, -1)
            now = clock()
            if token in end_tokens:
                return "end token"
            tokens.append(token)
            stamps.append(now)
            if now >= show_at:
                show_at = self._show_some(tokens, now, show)
            one[0] = token
            batch = next_batch
        return "limit"

    def _limit(self, n_prompt: int, options: dict[str, Any]) -> int:
        """How many tokens can be generated: what was asked for, or what the context has room for."""
        room, wanted = self.n_ctx - n_prompt, options["max_tokens"]
        if n_prompt == 0:
            raise Refused("The prompt has no tokens: write something, or leave out raw=True.")
        if room < 1:
            raise Refused(
                f"The prompt has {n_prompt} tokens (chat template included), but the context holds "
                f"{self.n_ctx} for prompt and reply together. Shorten it, or connect with a larger n_ctx "
                f"(this model was trained on {self.n_ctx_train})."
            )
        if options["ignore_eos"] and room < wanted:
            raise Refused(
                f"A forced length of {wanted} tokens after a prompt of {n_prompt} does not fit into the "
                f"context of {self.n_ctx}. Ask for {room} or fewer, or connect with a larger n_ctx "
                f"(this model was trained on {self.n_ctx_train})."
            )
        return min(room, wanted)

    def _keep_prefix(self, ids: list[int], cache: str) -> int:
        """Forget the last reply (cold), or all of it but the tokens that both begin with (warm)."""
        n_same = 0
        if cache == "warm":
            for ours, theirs in zip(self.held, ids[:-1]):  # one token must be left to decode
                if ours != theirs:
                    break
                n_same += 1
        if n_same == 0 or not C.llama_memory_seq_rm(self.memory, 0, n_same, -1):
            C.llama_memory_clear(self.memory, False)
            n_same = 0
        self.held = ids[:n_same]
        return n_same

    def _prefill(self, ids: list[int]) -> tuple[str | None, Any]:
        """Decode the prompt except its last batch, which is returned for the loop, and what went wrong."""
        size = C.llama_n_batch(self.context)
        parts = [(C.llama_token * len(part))(*part) for part in _split(ids, size)]
        batches = [C.llama_batch_get_one(part, len(part)) for part in parts]
        self._prompt_tokens = parts  # llama.cpp reads them later: they must stay alive
        for batch in batches[:-1]:
            if status := C.llama_decode(self.context, batch):
                return _not_decoded(status), None
        return None, batches[-1]

    def _sampler(self, options: dict[str, Any], ids: list[int]) -> Any:
        """llama.cpp's sampler chain: temperature 0 is 'take the most likely token'.

        `penalties`, `typical_p` and `min_p` are Ollama's; only `benchkit serve` asks for them.
        """
        settings = C.llama_sampler_chain_default_params()
        settings.no_perf = False
        chain = C.llama_sampler_chain_init(settings)
        add = functools.partial(C.llama_sampler_chain_add, chain)
        if options["ignore_eos"]:  # a forced length: tokens without text become impossible
            biases = [C.llama_logit_bias(token, float("-inf")) for token in self.textless]
            array = (C.llama_logit_bias * len(biases))(*biases)
            add(C.llama_sampler_init_logit_bias(self.n_vocab, len(biases), array))
        if options.get("penalties"):  # for repeating what was said last, in the prompt too
            make, wanted = C.llama_sampler_init_penalties, options["penalties"]
            newer = len(make.argtypes) > len(wanted)  # newer versions want the size of the vocabulary first
            add(make(self.n_vocab, *wanted) if newer else make(*wanted))
            for token in ids:
                C.llama_sampler_accept(chain, token)
        if options["temperature"] == 0:
            add(C.llama_sampler_init_greedy())
            return chain
        if options["top_k"]:
            add(C.llama_sampler_init_top_k(options["top_k"]))
        if options.get("typical_p", 1.0) < 1.0:
            add(C.llama_sampler_init_typical(options["typical_p"], 1))
        add(C.llama_sampler_init_top_p(options["top_p"], 1))
        if options.get("min_p"):
            add(C.llama_sampler_init_min_p(options["min_p"], 1))
        add(C.llama_sampler_init_temp(options["temperature"]))
        add(C.llama_sampler_init_dist(options["seed"]))
        return chain

    def _show_some(self, tokens: list[int], now: int, show: Callable[[str], None]) -> int:
        """Pass on the text since last time; returns when to do so again."""
        if len(tokens) == 1:
            self._live, self._shown = codecs.getincrementaldecoder("utf-8")("replace"), 0
        text = self._live.decode(b"".join(map(self.piece, tokens[self._shown :])))
        self._shown = len(tokens)
        if text:
            show(text)
        return now + self._show_every_ns

    def _n_held(self) -> int:
        return C.llama_memory_seq_pos_max(self.memory, 0) + 1

    # -- what is reported -------------------------------------------------------------------------

    def _reply(
        self, ended: str, tokens: list[int], stamps: list[int], limit: int, options: dict[str, Any]
    ) -> dict[str, Any]:
        pieces = [self.piece(token) for token in tokens]
        state, error = ended, None
        if ended == "error":
            error = f"llama.cpp could not go on. It says: {last_complaints()}"
        elif ended == "end token":
            state = "ok" if any(pieces) else "empty"
        elif ended == "limit":
            state = "length"
            if limit < options["max_tokens"]:
                state = "truncated"
                error = f"The context of {self.n_ctx} tokens was full after {limit} of the reply."
        return {
            "state": state,
            "error": error,
            "t_ns": stamps,
            "text": decode_pieces(pieces),
            "n_bytes": [len(piece) for piece in pieces],
            "counts": {
                "output": sum(1 for piece in pieces if piece),
                "output_reported": len(tokens) + (ended == "end token"),
            },
        }

    def _timings(self, chain: Any) -> dict[str, Any]:
        """llama.cpp's own counters, as they are. (It reports at least 1 where it counted 0.)"""
        engine, sampler = C.llama_perf_context(self.context), C.llama_perf_sampler(chain)
        return {
            "engine": "llama.cpp",
            "load_ms": engine.t_load_ms,
            "prompt_eval_ms": engine.t_p_eval_ms,
            "n_prompt_eval": engine.n_p_eval,
            "eval_ms": engine.t_eval_ms,
            "n_eval": engine.n_eval,
            "n_reused": engine.n_reused,
            "sample_ms": sampler.t_sample_ms,
            "n_sample": sampler.n_sample,
        }

    def describe(self) -> dict[str, Any]:
        """What the file and the engine say about themselves."""
        return {
            "pid": os.getpid(),
            "load_s": self.load_s,
            "n_ctx": self.n_ctx,
            "n_ctx_train": self.n_ctx_train,
            "n_threads": self.n_threads,
            "flash_attn": {C.LLAMA_FLASH_ATTN_TYPE_ENABLED: "on"}.get(self.flash_attn, "auto"),
            "parameters": C.llama_model_n_params(self.model),
            "weights_bytes": C.llama_model_size(self.model),
            "n_vocab": self.n_vocab,
            "architecture": self._meta("general.architecture"),
            "title": self._meta("general.name"),
            "family": self._meta("general.basename") or self._meta("general.architecture"),
            "file_type": self._meta("general.file_type"),
            "chat_template": self._meta("tokenizer.chat_template"),
            "system_info": C.llama_print_system_info().decode("utf-8", "replace").strip(),
        }


#: What can be asked besides a reply.
HELPERS = {"render": Engine.render, "tokenize": Engine.tokenize, "detokenize": Engine.detokenize}


def decode_pieces(pieces: list[bytes]) -> list[str]:
    """The text that each token adds, where a character may be spread over several tokens.

    A token that holds the first half of a character adds no text yet; the one that completes it adds
    the character. Half a character at the very end is shown as the replacement character.

    >>> decode_pieces([b"na", b"\\xc3", b"\\xafve", b" \\xe2"])
    ['na', '', 'ïve', ' \\ufffd']
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = [decoder.decode(piece) for piece in pieces]
    if texts:
        texts[-1] += decoder.decode(b"", final=True)
    return texts


def _not_decoded(status: int) -> str:
    return "aborted" if status == 2 else "error"  # 2: our stop flag was seen


def _piece(vocab: Any, token: int, special: bool = False) -> bytes:
    """The bytes of one token; special tokens have none, unless asked for."""
    size = 64
    while True:
        buffer = ctypes.create_string_buffer(size)
        n = C.llama_token_to_piece(vocab, token, buffer, size, 0, special)
        if n >= 0:
            return buffer.raw[:n]
        size = -n


def _split(ids: list[int], size: int) -> list[list[int]]:
    return [ids[i : i + size] for i in range(0, len(ids), size)]


def last_complaints() -> str:
    return " / ".join(list(complaints)[-2:]) or "nothing"


def load_model(path: str, n_gpu_layers: int) -> Any:
    settings = C.llama_model_default_params()
    settings.n_gpu_layers = n_gpu_layers
    if n_gpu_layers and not C.llama_supports_gpu_offload():
        raise Refused(
            f"n_gpu_layers={n_gpu_layers} was asked for, but the installed llama-cpp-python was built for "
            "the processor alone. Use n_gpu_layers=0, or install a build for your GPU (CUDA, Metal or Vulkan)."
        )
    model = C.llama_model_load_from_file(
        os.fsencode(path) if os.name != "nt" else path.encode("utf-8"), settings
    )
    if not model:
        raise Refused(
            "llama.cpp could not load it: the file is damaged, cut short by a download that broke off, or "
            "newer than the installed llama-cpp-python. Get it again, or upgrade. "
            f"llama.cpp says: {last_complaints()}"
        )
    return model


def _install_stop_flag(context: Any) -> ctypes.Array:
    """A byte that stops llama.cpp in the middle of its work as soon as it is not 0.

    llama.cpp asks a C function 'shall I stop?' at every step of its graph. A Python function there would
    cost more than the model. The C library has one that fits: strlen is 0, 'no', for an empty string.
    """
    flag = ctypes.create_string_buffer(2)
    library = ctypes.CDLL("msvcrt") if os.name == "nt" else ctypes.CDLL(None)
    C.llama_set_abort_callback(
        context, ctypes.cast(library.strlen, C.ggml_abort_callback), ctypes.addressof(flag)
    )
    return flag


def _keep_threads(context: Any, n_threads: int) -> Any:
    """Let llama.cpp keep its threads from token to token, as its own tools do.

    Builds with OpenMP do so anyway; others (macOS) would start new threads for every token. The settings
    are llama.cpp's own defaults, in a buffer larger than any version of its struct.
    """
    try:
        settings = ctypes.create_string_buffer(1 << 14)
        C._lib.ggml_threadpool_params_init(settings, ctypes.c_int(n_threads))
        new, attach = C._lib.ggml_threadpool_new, C._lib.llama_attach_threadpool
    except AttributeError:  # a build that does not export them
        return None
    new.restype = ctypes.c_void_p
    threads = ctypes.c_void_p(new(settings))
    attach(ctypes.c_void_p(context), threads, None)
    return threads


def _compile_template(source: str) -> Callable[..., str]:
    """A chat template, which came with the model and so is not trusted: it runs in jinja2's sandbox."""
    from jinja2 import TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):  # {% generation %} marks training text: nothing to do here
        tags = frozenset({"generation"})

        def parse(self, parser: Any) -> Any:
            parser.stream.skip(1)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise Refused(f"The model's chat template refuses this prompt: {message}")

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
    environment.globals |= {"raise_exception": refuse, "strftime_now": time.strftime}

    def render(**values: Any) -> str:
        try:
            return template().render(**values)
        except TemplateError as error:
            raise Refused(f"The model's chat template does not work ({error}). Try raw=True.") from error

    template = functools.lru_cache(maxsize=1)(lambda: environment.from_string(source))
    return render


# -- the pipe -------------------------------------------------------------------------------------


class Requests(threading.Thread):
    """Reads what the parent writes, also while the model is busy: that is how a reply can be stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.stop_flag: ctypes.Array | None = None

    def run(self) -> None:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            stop = request["op"] == "abort"
            if self.stop_flag is not None:
                self.stop_flag[0] = b"\1" if stop else b"\0"
            if not stop:
                self.waiting.put(request)
        os._exit(0)  # the parent is gone or has closed the pipe: nobody waits for an answer


def main() -> None:
    """Answer requests until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    answer = answers_on_stdout()
    requests = Requests()
    requests.start()
    start()
    answer(up=True)
    engine = None
    while True:
        request = requests.waiting.get()
        operation = request.pop("op")
        try:
            if operation == "load":
                engine = Engine(**request)
                requests.stop_flag = engine.stop_flag
                answer(ready=engine.describe())
            elif operation == "generate":
                show = (lambda text: answer(text=text)) if request.pop("show") else None
                answer(done=engine.generate(show=show, **request))
            else:
                answer(done=HELPERS[operation](engine, **request))
        except Refused as refusal:
            answer(failed=str(refusal))


if __name__ == "__main__":
    main()
