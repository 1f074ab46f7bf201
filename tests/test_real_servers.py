"""Against real servers: a real Ollama, older and newer, and llama_cpp.server, each with a pocket model.

`benchkit serve` must answer as the real Ollama does, field by field; the backends must understand both.
"""

import json
import threading

import pytest
import requests
from real_servers import llama_server, ollama, ollama_programs

from benchkit import bench, metrics, rows
from benchkit.backends import Options
from benchkit.backends.ollama import OllamaBackend
from benchkit.backends.openai_compatible import OpenAIBackend
from benchkit.errors import BenchkitError
from benchkit.plan import read_plan
from benchkit.serve import start

pytestmark = pytest.mark.real

PROMPT = "What is the capital of France?"
BEGINNING = "The capital of France is"  # as a raw prompt a question would be followed by nothing
MODEL = "pocket-s"
GREEDY = {"temperature": 0, "num_predict": 12, "repeat_penalty": 1.0, "num_thread": 1}
OPTIONS = Options(max_tokens=12)
MESSAGES = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello Ada."},
    {"role": "user", "content": PROMPT},
]

#: What only newer versions of Ollama have; `benchkit serve` answers as the newer ones do.
NEWER_FIELDS = {"prompt_eval_cached_count", "context_length", "requires"}


@pytest.fixture(scope="module", params=ollama_programs())
def real(request):
    with ollama(request.param, MODEL, "pocket-xs") as server:
        yield server


@pytest.fixture(scope="module")
def ours():
    with start([f"gguf:{MODEL}", "gguf:pocket-xs"], port=0, n_threads=1) as server:
        yield server


@pytest.fixture(scope="module", params=[True, False], ids=["interrupting", "queueing"])
def llama(request):
    with llama_server("pocket-xs", interrupt_requests=request.param) as server:
        yield server, request.param


def ask(server, path, body):
    return requests.post(server.url + path, json=body, timeout=300)


def shape(value):
    """The names in an answer and the kinds of their values; the elements of a list share one shape."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key not in NEWER_FIELDS}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return (
        "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    )


def ndjson(response):
    return [json.loads(line) for line in response.text.splitlines()]


def sse(response):
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [json.loads(line) for line in data if line != "[DONE]"], data[-1]


# -- benchkit serve answers as Ollama does ----------------------------------------------------------

BODIES = [
    ("/api/generate", {"prompt": PROMPT}),
    ("/api/generate", {"prompt": PROMPT, "system": "Be short."}),
    ("/api/generate", {"prompt": BEGINNING, "raw": True}),
    ("/api/generate", {"prompt": PROMPT, "options": GREEDY | {"stop": ["a"]}}),
    ("/api/chat", {"messages": MESSAGES}),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_an_answer_at_once_has_the_same_fields_counts_and_text(real, ours, path, body):
    body = {"model": MODEL, "stream": False, "options": GREEDY, **body}
    theirs, mine = (ask(server, path, body) for server in (real, ours))
    assert mine.status_code == theirs.status_code == 200
    assert mine.headers["Content-Type"] == theirs.headers["Content-Type"]
    theirs, mine = theirs.json(), mine.json()
    assert shape(mine) == shape(theirs)
    for name in ("response", "message", "done_reason", "eval_count", "prompt_eval_count", "context"):
        assert mine.get(name) == theirs.get(name), name


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_stream_has_the_same_lines(real, ours, path, body):
    body = {"model": MODEL, "options": GREEDY, **body}
    theirs, mine = (ask(server, path, body) for server in (real, ours))
    assert mine.headers["Content-Type"] == theirs.headers["Content-Type"]
    theirs, mine = ndjson(theirs), ndjson(mine)
    assert [shape(line) for line in mine] == [shape(line) for line in theirs]
    said = [[line.get("response", line.get("message")) for line in lines] for lines in (mine, theirs)]
    assert said[0] == said[1]


def test_the_repeat_penalty_that_ollama_has_by_default(real, ours):
    body = {
        "model": MODEL,
        "prompt": PROMPT,
        "stream": False,
        "options": {"temperature": 0, "num_predict": 24},
    }
    theirs, mine = (ask(server, "/api/generate", body).json()["response"] for server in (real, ours))
    assert mine == theirs


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {}),
        ("/api/generate", {"keep_alive": 0}),
        ("/api/chat", {"messages": []}),
        ("/api/chat", {"messages": [], "keep_alive": 0}),
        ("/api/show", {}),
        ("/api/show", {"verbose": True}),
    ],
)
def test_other_answers_have_the_same_fields(real, ours, path, body):
    theirs, mine = (ask(server, path, {"model": MODEL, **body}).json() for server in (real, ours))
    for answer in (theirs, mine):
        if path == "/api/show":
            answer["details"].pop("parent_model")  # theirs: the file in its store that the model was made from
        if not body.get("verbose"):  # older versions list the vocabulary all the same
            for name in ("tokens", "token_type", "merges"):
                answer.get("model_info", {}).pop(f"tokenizer.ggml.{name}", None)
    assert shape(mine) == shape(theirs)
    assert mine.get("done_reason") == theirs.get("done_reason")
    for name in ("details", "template", "capabilities", "parameters"):
        assert mine.get(name) == theirs.get(name), name


def test_lists_have_the_same_fields(real, ours):
    for server in (real, ours):
        ask(server, "/api/generate", {"model": MODEL})
    for path in ("/api/tags", "/api/ps", "/v1/models"):
        theirs, mine = (requests.get(server.url + path, timeout=30).json() for server in (real, ours))
        assert shape(mine) == shape(theirs), path
    rows = [
        {
            row["name"]: row["details"]
            for row in requests.get(f"{server.url}/api/tags", timeout=30).json()["models"]
        }
        for server in (real, ours)
    ]
    assert rows[0] == rows[1]
    assert requests.get(real.url, timeout=30).text == requests.get(ours.url, timeout=30).text


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/api/generate", b""),
        ("/api/generate", b"{"),
        ("/api/generate", b'{"model": "nope", "prompt": "x"}'),
        ("/api/generate", b'{"model": "pocket-s", "prompt": 1}'),
        ("/api/generate", b'{"model": "pocket-s", "prompt": "x", "suffix": "y"}'),
        ("/api/chat", b'{"model": "nope", "messages": [{"role": "user", "content": "x"}]}'),
        ("/api/show", b'{"model": "nope"}'),
        ("/v1/chat/completions", b'{"model": "pocket-s", "messages": []}'),
        ("/v1/chat/completions", b'{"model": "nope", "messages": [{"role": "user", "content": "x"}]}'),
        ("/api/nothing", b"{}"),
    ],
)
def test_errors_have_the_same_status_and_shape(real, ours, path, data):
    theirs, mine = (requests.post(server.url + path, data=data, timeout=60) for server in (real, ours))
    assert mine.status_code == theirs.status_code
    if theirs.headers["Content-Type"].startswith("application/json"):
        assert shape(mine.json()).keys() == shape(theirs.json()).keys()


@pytest.mark.parametrize("stream", [False, True], ids=["at-once", "stream"])
def test_openai_chat_has_the_same_fields(real, ours, stream):
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 8, "temperature": 0, "stream": stream}
    body |= {"stream_options": {"include_usage": True}} if stream else {}
    theirs, mine = (ask(server, "/v1/chat/completions", body) for server in (real, ours))
    if not stream:
        theirs, mine = theirs.json(), mine.json()
        mine["usage"].pop("prompt_tokens_details")
        return check_same(mine, theirs)
    (mine, my_end), (theirs, their_end) = sse(mine), sse(theirs)
    assert my_end == their_end == "[DONE]"
    mine[-1]["usage"].pop("prompt_tokens_details")
    assert shape(mine[0]) == shape(theirs[0]) and shape(mine[-2]) == shape(theirs[-2])
    check_same(mine[-1], theirs[-1])


def check_same(mine, theirs):
    theirs["usage"].pop("prompt_tokens_details", None)  # newer versions have it too
    assert shape(mine) == shape(theirs)
    assert mine["usage"] == theirs["usage"]


def test_a_port_taken_by_a_real_ollama_is_said_to_be(real):
    port = int(real.url.rpartition(":")[2])
    with pytest.raises(BenchkitError, match=f"taken by Ollama {real.version}.*Use it as it is"):
        start(f"gguf:{MODEL}", port=port)


# -- the backends understand them -------------------------------------------------------------------


def test_the_ollama_backend_measures_a_real_ollama(real, ours):
    replies = []
    for server in (real, ours):
        with OllamaBackend(f"ollama:{MODEL}", MODEL, host=server.url) as model:
            recording = model.stream(PROMPT, OPTIONS)
            assert model.load_s and model.load_s > 0
            assert recording.state in ("ok", "length"), recording.error
            assert recording.chunks_are_tokens
            assert metrics.n_output_tokens(recording) == len(metrics.text_chunks(recording))
            assert recording.server_timings["engine"] == "ollama"
            replies.append(recording.response)
    assert replies[0] == replies[1]


def test_a_run_over_two_protocols_and_two_models_of_a_real_ollama(real, tmp_path):
    models = [
        {"model": f"ollama:{MODEL}", "host": real.url},
        {"model": "ollama:pocket-xs", "host": real.url},
        {"model": f"openai:{MODEL}", "host": f"{real.url}/v1"},
    ]
    plan = read_plan({"models": models, "prompts": "course", "trials": 2, "sampling": {"max_tokens": 12}})
    run = bench.run(plan, tmp_path / "run", progress=False)
    assert not run.failed and len(run.artifacts()) == 3 * 3 * 2
    assert {a["recording"]["state"] for a in run.artifacts()} <= {"ok", "length"}
    assert not any(a["block"].get("drift") for a in run.artifacts())
    entry = run.manifest["models"][f"ollama:{MODEL}"]
    assert len(entry["digest"]) == 64 and entry["quantisation"] == "F16" and entry["host"] == real.url
    table = rows.results(run)
    mine = table[table["model"] == f"ollama:{MODEL}"]
    assert set(mine["memory_source"]) == {"server_size"} and (mine["peak_memory_mib"] > 5).all()


def test_the_memory_of_a_real_ollama_is_in_its_runner(real):
    with OllamaBackend(f"ollama:{MODEL}", MODEL, host=real.url) as model:
        model.stream(PROMPT, OPTIONS)
        (pid,) = model.pids()
        assert pid != real.process.pid


@pytest.mark.parametrize("raw", [False, True], ids=["chat", "raw"])
def test_the_openai_backend_measures_ollamas_v1_and_ours(real, ours, raw):
    for server in (real, ours):
        with OpenAIBackend(f"openai:{MODEL}", MODEL, host=f"{server.url}/v1") as model:
            recording = model.stream(BEGINNING if raw else PROMPT, Options(max_tokens=12, raw=raw))
            assert recording.state in ("ok", "length"), recording.error
            assert recording.counts["prompt"].source == "server"
            assert metrics.n_output_tokens(recording) == len(metrics.text_chunks(recording))


def test_the_openai_backend_measures_llama_cpp_server(llama):
    server, _ = llama
    with OpenAIBackend("openai:pocket-xs", "pocket-xs", host=server.url) as model:
        recording = model.stream(PROMPT, OPTIONS)
    assert recording.state in ("ok", "length"), recording.error
    assert recording.response and metrics.ttft_ms(recording) > 0
    assert recording.chunks[0].kind == "role", "its first chunk carries no token"


def test_a_reply_that_llama_cpp_server_breaks_off_is_not_taken_for_whole(llama):
    server, interrupts = llama
    recordings = {}

    def stream(n, n_tokens):
        with OpenAIBackend("openai:pocket-xs", "pocket-xs", host=server.url) as model:
            options = Options(max_tokens=n_tokens, temperature=1.5, raw=True)
            recordings[n] = model.stream("one two", options, on_text=lambda _: begun.set())

    begun = threading.Event()
    first = threading.Thread(target=stream, args=(0, 480))
    first.start()
    begun.wait(60)
    second = threading.Thread(target=stream, args=(1, 4))
    second.start()
    first.join()
    second.join()
    assert recordings[1].state in ("ok", "length")
    if recordings[0].state not in ("ok", "length"):
        assert interrupts and recordings[0].state == "truncated" and recordings[0].response
