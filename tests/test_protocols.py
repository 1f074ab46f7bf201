"""The pure parsers: replies shaped as the servers' documentation and sources show them, cut in any way."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit import metrics
from benchkit.backends import ollama, openai_compatible
from benchkit.backends.base import Options
from benchkit.backends.wire import Exchange
from benchkit.recording import KINDS, STATES, Recording

ASKED = Options()
MS = 1_000_000


def exchange(*pieces, ended="complete", status=200, headers=None, error=None):
    """An exchange whose pieces came 10 ms apart, the first one 20 ms after the request."""
    stamped = tuple((20 * MS + 10 * MS * i, piece) for i, piece in enumerate(pieces))
    end = stamped[-1][0] + MS if stamped else 21 * MS
    return Exchange(
        "id", 0, 5 * MS, stamped[0][0] if stamped else None, end, status, headers or {}, stamped, ended, error
    )


def ndjson(*lines):
    return [json.dumps(line).encode() + b"\n" for line in lines]


def sse(*events):
    return [
        e.encode() + b"\n\n" if isinstance(e, str) else b"data: " + json.dumps(e).encode() + b"\n\n"
        for e in events
    ]


# ---- replies as the servers send them ---------------------------------------------------------------


def chat(delta, finish=None, **more):
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **more,
    }


def said(text, **more):
    return {"model": "m", "message": {"role": "assistant", "content": text, **more}, "done": False}


OLLAMA_END = {"total_duration": 60_000_000, "load_duration": 1_000_000, "prompt_eval_count": 26,
              "prompt_eval_duration": 15_000_000, "eval_count": 4, "eval_duration": 30_000_000}  # fmt: skip
OLLAMA_CHAT = ndjson(said("A"), said(" small"), said("."),
                     {**said(""), "done": True, "done_reason": "stop", **OLLAMA_END})  # fmt: skip
OLLAMA_GENERATE = ndjson(
    {"model": "m", "response": "A", "done": False}, {"model": "m", "response": " small", "done": False},
    {"model": "m", "response": ".", "done": False},
    {"model": "m", "response": "", "done": True, "done_reason": "stop", "context": [1, 2], **OLLAMA_END},
)  # fmt: skip
OLLAMA_COLD = OLLAMA_END | {"prompt_eval_cached_count": 0}
OLLAMA_THINKS = ndjson(said("", thinking="Hm"), said("", thinking="m."), said("A"),
                       {**said(""), "done": True, "done_reason": "stop", **OLLAMA_COLD})  # fmt: skip
OLLAMA_TOOL = ndjson(said("", tool_calls=[{"function": {"name": "add", "arguments": {"a": 1}}}]),
                     {**said(""), "done": True, "done_reason": "stop", **OLLAMA_END})  # fmt: skip

USAGE = {"prompt_tokens": 26, "completion_tokens": 3, "total_tokens": 29}
FP = {"system_fingerprint": "fp_ollama"}
OLLAMA_V1 = sse(*(chat({"role": "assistant", "content": t}, **FP) for t in ("A", " small", ".")),
                chat({"role": "assistant", "content": ""}, "stop", **FP),
                {"choices": [], **FP, "usage": USAGE | {"completion_tokens": 4}}, "data: [DONE]")  # fmt: skip
LM_STUDIO = sse(chat({"role": "assistant", "content": "A"}, system_fingerprint="m"),
                chat({"content": " small"}), chat({"content": "."}), chat({}, "stop"), {"choices": [], "usage": USAGE},
                "data: [DONE]")  # fmt: skip
VLLM = sse(chat({"role": "assistant", "content": ""}), chat({"content": "A"}), chat({"content": " small"}),
           chat({"content": "."}), chat({"content": ""}, "stop", stop_reason=None),
           {"choices": [], "usage": {"prompt_tokens": 26, "completion_tokens": 4, "total_tokens": 30,
                                     "prompt_tokens_details": {"cached_tokens": 16}}}, "data: [DONE]")  # fmt: skip
VLLM_THINKS = sse(chat({"role": "assistant", "content": ""}),
                  chat({"reasoning": "Hm", "reasoning_content": "Hm"}), chat({"reasoning": "m."}),
                  chat({"content": "A"}), chat({"content": ""}, "stop"),
                  {"choices": [], "usage": USAGE | {"completion_tokens_details": {"reasoning_tokens": 2}}},
                  "data: [DONE]")  # fmt: skip
EXO = sse(': prefill_progress {"processed_tokens": 8}', ': prefill_progress {"processed_tokens": 26}',
          chat({"role": "assistant", "content": "A", "reasoning_content": None}),
          chat({"role": "assistant", "content": " small", "reasoning_content": None}),
          chat({"role": "assistant", "content": ".", "reasoning_content": None}, "stop", usage=USAGE),
          "data: [DONE]")  # fmt: skip
TIMINGS = {"cache_n": 1, "prompt_n": 25, "prompt_ms": 15.5, "prompt_per_second": 1612.9, "predicted_n": 4,
           "predicted_ms": 30.25, "predicted_per_second": 132.2}  # fmt: skip
LLAMA_SERVER = sse(chat({"role": "assistant", "content": None}), chat({"content": "A"}),
                   chat({"content": " small"}), chat({"content": "."}), chat({}, "stop"),
                   {"choices": [], "object": "chat.completion.chunk", "timings": TIMINGS,
                    "usage": USAGE | {"completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}}},
                   "data: [DONE]")  # fmt: skip
LLAMA_CPP_PYTHON = [b": ping - 2026-01-01 00:00:00\r\n\r\n"] + [
    piece.replace(b"\n", b"\r\n")
    for piece in sse(chat({"role": "assistant"}), chat({"content": "A"}), chat({"content": " small"}),
                     chat({"content": "."}), chat({}, "stop"), "data: [DONE]")
]  # fmt: skip
COMPLETIONS = sse(*({"object": "text_completion", "choices": [{"index": 0, "text": t, "finish_reason": None}]}
                    for t in ("A", " small", ".")),
                  {"object": "text_completion", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
                  {"choices": [], "usage": USAGE}, "data: [DONE]")  # fmt: skip
TOOL = sse(chat({"role": "assistant", "content": None}),
           chat({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "add", "arguments": ""}}]}),
           chat({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]}), chat({}, "tool_calls"),
           "data: [DONE]")  # fmt: skip

REPLIES = {
    "Ollama chat": (ollama, OLLAMA_CHAT),
    "Ollama generate": (ollama, OLLAMA_GENERATE),
    "Ollama thinking": (ollama, OLLAMA_THINKS),
    "Ollama tool": (ollama, OLLAMA_TOOL),
    "Ollama /v1": (openai_compatible, OLLAMA_V1),
    "LM Studio": (openai_compatible, LM_STUDIO),
    "vLLM": (openai_compatible, VLLM),
    "vLLM reasoning": (openai_compatible, VLLM_THINKS),
    "exo": (openai_compatible, EXO),
    "llama-server": (openai_compatible, LLAMA_SERVER),
    "llama_cpp.server": (openai_compatible, LLAMA_CPP_PYTHON),
    "completions": (openai_compatible, COMPLETIONS),
    "tool": (openai_compatible, TOOL),
}


def kinds(recording):
    return [c.kind for c in recording.chunks]


@pytest.mark.parametrize(
    "name", ["Ollama chat", "Ollama generate", "Ollama /v1", "LM Studio", "vLLM", "exo", "llama-server",
             "llama_cpp.server", "completions"]
)  # fmt: skip
def test_every_server_s_reply_is_the_same_three_words(name):
    module, pieces = REPLIES[name]
    recording = module.parse(exchange(*pieces), ASKED)
    assert (recording.state, recording.response, recording.error) == ("ok", "A small.", None)
    assert [c.text for c in metrics.text_chunks(recording)] == ["A", " small", "."]
    first = next(i for i, piece in enumerate(pieces) if b'"A"' in piece)
    assert metrics.ttft_ms(recording) == 20 + 10 * first  # not the role, not the ping, not the empty chunk
    if name != "llama_cpp.server":
        assert recording.counts["prompt"].value == 26 and recording.counts["prompt"].source == "server"


@pytest.mark.parametrize(
    "name", ["Ollama chat", "Ollama generate", "Ollama /v1", "LM Studio", "exo", "llama-server"]
)
def test_the_end_token_is_counted_apart_and_chunks_are_verified_to_be_tokens(name):
    module, pieces = REPLIES[name]
    recording = module.parse(exchange(*pieces), ASKED)
    assert recording.counts["output"].value == 3 and recording.chunks_are_tokens
    assert recording.counts["output_reported"].value == (3 if name in ("LM Studio", "exo") else 4)
    assert metrics.itl_ms(recording) == [10.0, 10.0]


def test_vllm_counts_its_end_token_too_which_only_its_list_of_models_tells():
    assert openai_compatible.parse(exchange(*VLLM), ASKED).counts["output"].value == 4
    told = openai_compatible.parse(exchange(*VLLM), ASKED, counts_end_token=True)
    assert told.counts["output"].value == 3 and told.chunks_are_tokens and told.cache == "warm"


def test_ollama_s_own_figures_are_kept_and_understood():
    recording = ollama.parse(exchange(*OLLAMA_CHAT), ASKED)
    assert recording.server_timings == {"engine": "ollama", **OLLAMA_END}
    engine = metrics.engine_times(recording)
    assert (engine.queue_ms, engine.load_ms, engine.prefill_ms, engine.decode_ms) == (14.0, 1.0, 15.0, 30.0)
    assert (
        recording.cache is None and metrics.prefill_tokens_per_s(recording) is None
    )  # nobody said what was cached
    assert ollama.parse(exchange(*OLLAMA_THINKS), ASKED).cache == "cold"


def test_ollama_leaves_out_a_zero_and_it_is_read_as_one():
    end = {
        "done": True,
        "done_reason": "stop",
        "total_duration": 5_000_000,
        "eval_count": 2,
        "eval_duration": 1_000_000,
    }
    recording = ollama.parse(exchange(*ndjson(said("A"), end)), ASKED)
    engine = metrics.engine_times(recording)
    assert (engine.load_ms, engine.prefill_ms, engine.queue_ms) == (0.0, 0.0, 4.0)
    assert "prompt" not in recording.counts and recording.counts["output"].value == 1


def test_llama_server_s_timings_are_kept_and_understood():
    recording = openai_compatible.parse(exchange(*LLAMA_SERVER), ASKED)
    assert recording.server_timings == {"engine": "llama-server", **TIMINGS}
    assert (
        metrics.engine_times(recording).n_decode_steps == 3
        and metrics.engine_times(recording).n_new_prompt == 25
    )
    assert recording.counts["cached"].value == 1 and recording.cache == "cold"
    alone = openai_compatible.parse(
        exchange(*sse(chat({"content": "A"}, "length"), {"timings": TIMINGS})), ASKED
    )
    assert alone.counts["prompt"].value == 26 and alone.counts["output"].value == 4


@pytest.mark.parametrize("name", ["Ollama thinking", "vLLM reasoning"])
def test_reasoning_stands_apart_and_counts_for_the_first_token(name):
    module, pieces = REPLIES[name]
    recording = module.parse(exchange(*pieces), ASKED)
    assert recording.response == "A" and [c.text for c in recording.chunks if c.kind == "reasoning"] == [
        "Hm",
        "m.",
    ]
    assert metrics.ttfo_ms(recording) == metrics.ttft_ms(recording) + 20


@pytest.mark.parametrize("name", ["Ollama tool", "tool"])
def test_a_call_of_a_tool_is_text_but_no_answer(name):
    module, pieces = REPLIES[name]
    recording = module.parse(exchange(*pieces), ASKED)
    assert recording.state == "ok" and recording.response == "" and "tool" in kinds(recording)
    assert "add" in "".join(c.text for c in recording.chunks)


def test_pings_and_roles_are_named():
    assert kinds(openai_compatible.parse(exchange(*EXO), ASKED)) == ["ping", "ping", *["content"] * 3]
    assert kinds(openai_compatible.parse(exchange(*LLAMA_SERVER), ASKED)) == [
        "role",
        *["content"] * 3,
        "other",
        "usage",
    ]
    assert kinds(openai_compatible.parse(exchange(*LLAMA_CPP_PYTHON), ASKED))[:2] == ["ping", "role"]
    assert kinds(ollama.parse(exchange(*OLLAMA_CHAT), ASKED)) == [*["content"] * 3, "usage"]


# ---- the end of a reply ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "state", "words"),
    [
        ((chat({"content": "A"}), chat({}, "length"), "data: [DONE]"), "length", None),
        ((chat({"content": "A"}), "data: [DONE]"), "truncated", "interrupt_requests"),
        ((chat({"content": "A"}),), "truncated", "no finish reason"),
        ((chat({}, "stop"), "data: [DONE]"), "empty", None),
        ((chat({"content": "A"}), {"error": {"message": "no memory", "code": 500}}), "error", "no memory"),
        ((chat({"content": "A"}), {"object": "error", "message": "too long", "code": 400}), "error", "too long"),
        ((chat({"content": "A"}), 'error: {"code": 500, "message": "slot lost"}'), "error", "slot lost"),
        (('event: error\ndata: {"error": "model unloaded"}',), "error", "model unloaded"),
        (("data: {not json}",), "error", "not of its protocol"),
        (('{\n  "error": {"message": "no model is loaded"}\n}',), "error", "no model is loaded"),
    ],
)  # fmt: skip
def test_how_an_sse_reply_ends(events, state, words):
    recording = openai_compatible.parse(exchange(*sse(*events)), ASKED)
    assert recording.state == state
    assert (words in recording.error) if words else recording.error is None


@pytest.mark.parametrize("module", [ollama, openai_compatible])
def test_how_the_wire_s_ends_become_states(module):
    (_, whole) = REPLIES["Ollama chat" if module is ollama else "LM Studio"]
    part = whole[:2]
    for ended, state in [("timeout", "timeout"), ("disconnected", "disconnected"), ("aborted", "aborted"),
                         ("refused", "error"), ("unreadable", "error")]:  # fmt: skip
        recording = module.parse(exchange(*part, ended=ended, error="Because."), ASKED)
        assert recording.state == state and recording.response == "A small" and recording.error
    assert module.parse(exchange(*whole, ended="disconnected", error="Because."), ASKED).state == "ok"
    assert module.parse(exchange(*whole, ended="timeout", error="Because."), ASKED).state == "timeout"
    assert (
        module.parse(exchange(b"", status=500), ASKED).error
        == "The server answers 500 (Internal Server Error)."
    )


# ---- requests ----------------------------------------------------------------------------------------


def test_ollama_s_settings_are_inside_options():
    path, body = ollama.request("m", "Hi", Options(max_tokens=9, temperature=0.5, seed=3), n_ctx=256)
    assert (
        path == "/api/chat"
        and body["messages"] == [{"role": "user", "content": "Hi"}]
        and body["stream"] is True
    )
    assert body["options"] == {"num_predict": 9, "temperature": 0.5, "seed": 3, "top_k": 40, "top_p": 0.95,
                               "repeat_penalty": 1.0, "num_ctx": 256}  # fmt: skip
    path, body = ollama.request("m", "Hi", Options(raw=True))
    assert (
        path == "/api/generate"
        and body["raw"] is True
        and body["prompt"] == "Hi"
        and "num_ctx" not in body["options"]
    )


def test_an_openai_request_asks_for_usage_and_for_what_was_set():
    path, body = openai_compatible.request("m", "Hi", Options(max_tokens=9, ignore_eos=True))
    assert path == "/chat/completions" and body["stream_options"] == {"include_usage": True}
    assert body["ignore_eos"] is True and body["cache_prompt"] is False and "top_k" not in body
    path, body = openai_compatible.request("m", "Hi", Options(raw=True, temperature=1.0, cache="warm"))
    assert (
        path == "/completions"
        and body["prompt"] == "Hi"
        and body["top_p"] == 0.95
        and "cache_prompt" not in body
    )


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("example.com:66000", "http://example.com:11434"),
        ("http://example.com", "http://example.com:80"),
        ("https://example.com/ollama", "https://example.com:443/ollama"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        (' "example.com" ', "http://example.com:11434"),
    ],
)
def test_a_host_is_read_as_ollama_reads_it(host, url, monkeypatch):
    assert ollama.base_url(host) == url
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert ollama.base_url() == url


def test_the_key_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("BENCHKIT_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "two")
    assert openai_compatible.read_key() == "two" and openai_compatible.read_key("given") == "given"
    monkeypatch.setenv("BENCHKIT_API_KEY", " one\n")
    assert openai_compatible.read_key() == "one"


# ---- properties --------------------------------------------------------------------------------------

fast = settings(max_examples=60, deadline=None)
cuts = st.lists(st.integers(1, 40), max_size=60)


def cut(data, sizes):
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def meaning(recording):
    return (
        [(c.kind, c.text, c.n_bytes) for c in recording.chunks],
        recording.state,
        recording.counts,
        recording.error,
    )


@fast
@given(st.sampled_from(sorted(REPLIES)), cuts, st.integers(0, 2000))
def test_however_the_bytes_are_cut_the_meaning_is_the_same(name, sizes, end):
    module, pieces = REPLIES[name]
    data = b"".join(pieces)[: -end or None]
    whole, parts = (module.parse(exchange(*p), ASKED) for p in ([data], cut(data, sizes)))
    assert meaning(whole) == meaning(parts)
    times = [c.t_ns for c in parts.chunks]
    assert times == sorted(times) and not metrics.clock_faults(parts)


@fast
@given(st.lists(st.text(st.characters(), min_size=1), min_size=1, max_size=5), cuts, st.booleans())
def test_any_text_comes_back_whole_also_live(texts, sizes, escaped):
    """Raw UTF-8 or escaped; halves of surrogate pairs, which no file could hold, become U+FFFD."""
    if escaped:
        expected = [t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
    else:
        texts = expected = [t.encode("utf-8", "replace").decode() for t in texts]
    for module, mark, lines in (
        (ollama, b"", [*map(said, texts), {"done": True, "done_reason": "stop"}]),
        (openai_compatible, b"data: ", [chat({"content": t}) for t in texts] + [chat({}, "stop")]),
    ):
        data = b"".join(mark + json.dumps(line, ensure_ascii=escaped).encode() + b"\n" for line in lines)
        recording = module.parse(exchange(*cut(data, sizes)), ASKED)
        assert recording.state == "ok" and recording.response == "".join(expected)
        assert [c.text for c in metrics.text_chunks(recording)] == expected
        assert [module.text_of(line) for line in data.splitlines()[:-1]] == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["message", "content", "done", "done_reason", "choices", "delta", "usage", "timings", "error",
         "response", "eval_count", "eval_duration", "predicted_ms", "prompt_tokens", "tool_calls", "function",
         "text"]), inner),
    max_leaves=12,
)  # fmt: skip


@fast
@given(st.lists(json_values.map(lambda v: json.dumps(v).encode()) | st.binary(max_size=30), max_size=6), cuts)
def test_nothing_a_server_sends_breaks_a_parser_or_a_formula(lines, sizes):
    for module, mark in ((ollama, b""), (openai_compatible, b"data: ")):
        data = b"".join(mark + line + b"\n" for line in lines)
        recording = module.parse(exchange(*cut(data, sizes)), ASKED)
        assert recording.state in STATES and {*kinds(recording)} <= set(KINDS)
        assert Recording.from_dict(json.loads(json.dumps(recording.to_dict()))) is not None
        measured = [v for v in metrics.measure(recording).values() if isinstance(v, float)]
        assert all(map(math.isfinite, measured))
        for line in lines:
            assert isinstance(module.text_of(mark + line), str)
