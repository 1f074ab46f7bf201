"""`benchkit serve`: a real model behind both protocols, and all that a client can do to it."""

import http.client
import json
import socket
import threading
import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from benchkit import places
from benchkit.backends.ollama_create import CHATML, go_template, to_ollama
from benchkit.errors import BenchkitError, ModelError
from benchkit.gguf_header import read_header
from benchkit.serve import MAX_BODY, is_this_computer, start, who_has
from benchkit.serve_models import (
    ApiError,
    ClientGone,
    StopWatch,
    Turns,
    read_keep_alive,
    read_settings,
    tokens_until_stop,
)

pytestmark = pytest.mark.real

PROMPT = "What is the capital of France?"
GREEDY = {"temperature": 0, "num_predict": 8}
NS_FIELDS = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
COUNTS = {"prompt_eval_count", "eval_count", "prompt_eval_cached_count"}


@pytest.fixture(scope="module")
def server():
    with start("gguf:pocket-xs", port=0, n_threads=1) as running:
        yield running


@pytest.fixture(scope="module")
def post(server):
    def send(path, body, **more):
        return requests.post(server.url + path, json=body, timeout=120, **more)

    return send


def lines(response):
    return [json.loads(line) for line in response.text.splitlines()]


def events(response):
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert data[-1] == "[DONE]"
    return [json.loads(line) for line in data[:-1]]


# -- Ollama's protocol ----------------------------------------------------------------------------


def test_a_courses_own_call_is_answered_as_ollama_would(post):
    body = {"model": "pocket-xs", "prompt": PROMPT, "stream": False, "options": {"num_predict": 8}}
    response = post("/api/generate", body)
    answer = response.json()
    assert (
        response.status_code == 200 and response.headers["Content-Type"] == "application/json; charset=utf-8"
    )
    names = {"model", "created_at", "response", "done", "done_reason", "context"}
    assert set(answer) == names | NS_FIELDS | COUNTS
    assert answer["done"] is True and answer["done_reason"] in ("stop", "length") and answer["response"]
    assert all(isinstance(answer[name], int) for name in NS_FIELDS | COUNTS)
    assert answer["total_duration"] >= answer["prompt_eval_duration"] + answer["eval_duration"]
    assert len(answer["context"]) >= answer["prompt_eval_count"]


def test_a_stream_is_one_object_a_token_and_adds_up_to_the_whole(post):
    body = {"model": "pocket-xs", "prompt": PROMPT, "options": GREEDY}
    response = post("/api/generate", body)
    *pieces, end = lines(response)
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert all(set(piece) == {"model", "created_at", "response", "done"} for piece in pieces)
    assert not any(piece["done"] for piece in pieces) and end["done"] and end["response"] == ""
    ended_by_itself = end["done_reason"] == "stop"
    assert end["eval_count"] == len(pieces) + ended_by_itself, "Ollama counts the end token"
    whole = post("/api/generate", {**body, "stream": False}).json()
    assert whole["response"] == "".join(piece["response"] for piece in pieces)


def test_a_prompt_is_one_user_message(post):
    prompt = post(
        "/api/generate", {"model": "pocket-xs", "prompt": PROMPT, "options": GREEDY, "stream": False}
    )
    messages = [{"role": "user", "content": PROMPT}]
    chat = post("/api/chat", {"model": "pocket-xs", "messages": messages, "options": GREEDY, "stream": False})
    assert chat.json()["message"] == {"role": "assistant", "content": prompt.json()["response"]}
    assert chat.json()["prompt_eval_count"] == prompt.json()["prompt_eval_count"]
    assert "context" not in chat.json()


def test_a_conversation_is_more_tokens_and_a_system_prompt_too(post):
    def n_tokens(*messages):
        body = {"model": "pocket-xs", "messages": messages, "options": {"num_predict": 1}, "stream": False}
        return post("/api/chat", body).json()["prompt_eval_count"]

    def message(role, content):
        return {"role": role, "content": content}

    alone, system = message("user", "Hi"), message("system", "Be short.")
    before = [message("user", "My name is Ada."), message("assistant", "Hello Ada.")]
    assert n_tokens(alone) < n_tokens(system, alone) < n_tokens(system, *before, alone)
    body = {
        "model": "pocket-xs",
        "prompt": "Hi",
        "system": "Be short.",
        "options": {"num_predict": 1},
        "stream": False,
    }
    assert post("/api/generate", body).json()["prompt_eval_count"] == n_tokens(system, alone)


def test_a_conversation_too_long_loses_its_oldest_messages(post):
    messages = [{"role": "user", "content": f"message {i} with some words in it"} for i in range(100)]
    body = {"model": "pocket-xs", "messages": messages, "options": {"num_predict": 1}, "stream": False}
    assert 400 < post("/api/chat", body).json()["prompt_eval_count"] <= 512


def test_a_prompt_too_long_is_refused_and_not_cut(post):
    response = post("/api/generate", {"model": "pocket-xs", "prompt": "word " * 2000, "stream": False})
    assert response.status_code == 400 and "context" in response.json()["error"]
    assert post("/api/generate", {"model": "pocket-xs", "prompt": "word " * 2000}).status_code == 400


def test_context_continues_a_conversation(post):
    body = {"model": "pocket-xs", "prompt": "My name is Ada.", "options": GREEDY, "stream": False}
    first = post("/api/generate", body).json()
    second = post("/api/generate", {**body, "prompt": "Who am I?", "context": first["context"]}).json()
    assert second["prompt_eval_count"] > len(first["context"])
    assert second["prompt_eval_cached_count"] >= first["prompt_eval_count"]
    wrong = post("/api/generate", {**body, "context": [10**9]})
    assert wrong.status_code == 400 and "token" in wrong.json()["error"]


def test_raw_leaves_the_template_out(post):
    body = {"model": "pocket-xs", "prompt": PROMPT, "options": GREEDY, "stream": False}
    with_template, raw = (post("/api/generate", {**body, "raw": raw}).json() for raw in (False, True))
    assert raw["prompt_eval_count"] < with_template["prompt_eval_count"] and "context" not in raw


def test_the_second_time_the_prompt_is_cached_and_says_so(post):
    body = {"model": "pocket-xs", "prompt": PROMPT, "options": GREEDY, "stream": False}
    post("/api/generate", body)
    again = post("/api/generate", body).json()
    assert again["prompt_eval_cached_count"] == again["prompt_eval_count"] - 1


def test_a_reply_ends_before_a_stop_text(post):
    body = {"model": "pocket-xs", "prompt": PROMPT, "stream": False,
            "options": {"temperature": 0, "num_predict": 30, "repeat_penalty": 1.0}}  # fmt: skip
    whole = post("/api/generate", body).json()["response"]
    stop = whole[3:5]
    body["options"]["stop"] = [stop]
    at_once, stream = (
        post("/api/generate", body).json(),
        lines(post("/api/generate", {**body, "stream": True})),
    )
    assert at_once["response"] == whole[: whole.index(stop)] and at_once["done_reason"] == "stop"
    assert "".join(line["response"] for line in stream) == at_once["response"]
    assert stream[-1]["eval_count"] == at_once["eval_count"] < 30


def test_a_seed_repeats_a_reply(post):
    def reply(seed):
        options = {"temperature": 2.0, "num_predict": 12, "seed": seed}
        return post(
            "/api/generate", {"model": "pocket-xs", "prompt": PROMPT, "options": options, "stream": False}
        )

    assert reply(1).json()["response"] == reply(1).json()["response"]
    assert len({reply(seed).json()["response"] for seed in range(4)}) > 1


def test_an_empty_prompt_loads_and_unloads(server, post):
    def loaded():
        return requests.get(f"{server.url}/api/ps").json()["models"]

    answer = post("/api/generate", {"model": "pocket-xs", "keep_alive": 0}).json()
    assert answer.pop("created_at") and loaded() == []
    assert answer == {"model": "pocket-xs", "response": "", "done": True, "done_reason": "unload"}
    assert post("/api/generate", {"model": "pocket-xs"}).json()["done_reason"] == "load"
    (row,) = loaded()
    assert row["name"] == "pocket-xs:latest" and row["context_length"] == 512 and row["size_vram"] == 0
    assert row["size"] > 2**20 and len(row["digest"]) == 64
    chat = post("/api/chat", {"model": "pocket-xs", "messages": [], "keep_alive": 0}).json()
    assert chat["message"] == {"role": "assistant", "content": ""} and chat["done_reason"] == "unload"
    assert loaded() == []


def test_an_idle_model_is_unloaded_in_time(server, post):
    post("/api/generate", {"model": "pocket-xs", "keep_alive": "1ms"})
    end = time.monotonic() + 20
    while requests.get(f"{server.url}/api/ps").json()["models"]:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_another_context_loads_the_model_again(server, post):
    body = {
        "model": "pocket-xs",
        "prompt": PROMPT,
        "stream": False,
        "options": {"num_predict": 1, "num_ctx": 64},
    }
    first, second = post("/api/generate", body).json(), post("/api/generate", body).json()
    assert first["load_duration"] > 5 * second["load_duration"]
    assert requests.get(f"{server.url}/api/ps").json()["models"][0]["context_length"] == 64


def test_what_is_known_about_the_models(server, post):
    (row,) = requests.get(f"{server.url}/api/tags").json()["models"]
    details = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
               "parameter_size": "1.44M", "quantization_level": "F16"}  # fmt: skip
    assert row["details"] == details and row["size"] == (places.MODELS / "pocket-xs.gguf").stat().st_size
    shown = post("/api/show", {"model": "pocket-xs"}).json()
    assert shown["model_info"]["llama.context_length"] == 512 and shown["template"] == CHATML
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None and shown["capabilities"] == ["completion"]
    all_of_it = post("/api/show", {"name": "pocket-xs:latest", "verbose": True}).json()
    assert len(all_of_it["model_info"]["tokenizer.ggml.tokens"]) == 1024
    assert requests.get(server.url).text == "Ollama is running"
    assert "+benchkit." in requests.get(f"{server.url}/api/version").json()["version"]
    assert requests.head(server.url).status_code == 200


# -- OpenAI's protocol ----------------------------------------------------------------------------


def test_openai_chat(post):
    body = {
        "model": "pocket-xs",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 8,
        "temperature": 0,
    }
    answer = post("/v1/chat/completions", body).json()
    assert answer["object"] == "chat.completion" and answer["choices"][0]["message"]["role"] == "assistant"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    stream = post("/v1/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})
    *pieces, last = events(stream)
    assert stream.headers["Content-Type"] == "text/event-stream"
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == usage["completion_tokens"]
    text = "".join(piece["choices"][0]["delta"]["content"] for piece in pieces)
    assert text == answer["choices"][0]["message"]["content"]
    assert pieces[-1]["choices"][0]["finish_reason"] == answer["choices"][0]["finish_reason"]
    assert "usage" not in events(post("/v1/chat/completions", {**body, "stream": True}))[-1]


def test_openai_completion_continues_the_bare_text(post):
    body = {
        "model": "pocket-xs",
        "prompt": "One, two,",
        "max_tokens": 6,
        "temperature": 0,
        "ignore_eos": True,
    }
    answer = post("/v1/completions", body).json()
    assert answer["object"] == "text_completion" and answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 6
    assert answer["usage"]["prompt_tokens"] < 10, "without a chat template"
    cold = post("/v1/completions", {**body, "cache_prompt": False}).json()
    assert cold["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_openai_models_and_errors(server, post):
    listed = requests.get(f"{server.url}/v1/models").json()
    assert [row["id"] for row in listed["data"]] == ["pocket-xs:latest"]
    assert requests.get(f"{server.url}/v1/models/pocket-xs").json()["object"] == "model"
    missing = post("/v1/chat/completions", {"model": "no", "messages": [{"role": "user", "content": "x"}]})
    assert missing.status_code == 404 and missing.json()["error"]["type"] == "not_found_error"
    empty = post("/v1/chat/completions", {"model": "pocket-xs", "messages": []})
    assert empty.status_code == 400 and "too short" in empty.json()["error"]["message"]


def test_the_official_ollama_client(server):
    ollama = pytest.importorskip("ollama", reason="needs `pip install ollama`")
    client = ollama.Client(server.url)
    answer = client.chat("pocket-xs", messages=[{"role": "user", "content": PROMPT}], options=GREEDY)
    pieces = list(client.generate("pocket-xs", PROMPT, options=GREEDY, stream=True))
    assert answer.message.content == "".join(piece.response for piece in pieces)
    assert client.list().models[0].model == "pocket-xs:latest"
    assert client.ps().models[0].context_length == 512
    assert client.show("pocket-xs").details.family == "llama"
    with pytest.raises(ollama.ResponseError, match="not found") as caught:
        client.generate("nope", "x")
    assert caught.value.status_code == 404


def test_the_official_openai_client(server):
    openai = pytest.importorskip("openai", reason="needs `pip install openai`")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused")
    messages = [{"role": "user", "content": PROMPT}]
    asked = {"model": "pocket-xs", "messages": messages, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    stream = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(chunk.choices[0].delta.content for chunk in stream if chunk.choices)
    assert text == whole.choices[0].message.content and stream[-1].usage == whole.usage
    assert [model.id for model in client.models.list()] == ["pocket-xs:latest"]
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.chat.completions.create(model="nope", messages=messages)


# -- clients that come together, and clients that go ----------------------------------------------


def test_requests_wait_for_each_other_and_all_are_answered(post):
    replies = []

    def ask(i):
        body = {"model": "pocket-xs", "prompt": f"{i} + {i} =", "options": GREEDY, "stream": False}
        replies.append(post("/api/generate", body).json()["response"])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 6 and all(replies)


def test_a_client_that_goes_away_stops_the_generation(server, post):
    body = {"model": "pocket-xs", "prompt": PROMPT, "options": {"num_predict": 100_000, "num_ctx": 512}}
    for stream in (True, False):
        connection = http.client.HTTPConnection(*server.server_address)
        sent = json.dumps({**body, "stream": stream, "raw": True})
        connection.request("POST", "/api/generate", sent)
        if stream:
            connection.getresponse().readline()
        connection.close()
    answer = post(
        "/api/generate", {"model": "pocket-xs", "prompt": PROMPT, "options": GREEDY, "stream": False}
    )
    assert answer.status_code == 200
    give_up = time.monotonic() + 10
    while server.desk.turns._line and time.monotonic() < give_up:  # an answer arrives just before its turn ends
        time.sleep(0.01)
    assert not server.desk.turns._line


def test_turns_are_taken_in_order_and_the_line_has_an_end():
    turns, order = Turns(max_waiting=2), []
    inside, go = threading.Event(), threading.Event()

    def hold(i):
        with turns.turn(lambda: False):
            order.append(i)
            inside.set()
            go.wait(10)

    threads = []
    for i in range(3):
        threads.append(threading.Thread(target=hold, args=(i,)))
        threads[-1].start()
        while len(turns._line) <= i:
            time.sleep(0.001)
    with pytest.raises(ApiError, match="server busy") as caught, turns.turn(lambda: False):
        pass
    assert caught.value.status == 503
    with turns.if_free() as free:
        assert not free
    go.set()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2]
    with turns.if_free() as free:
        assert free


def test_a_client_that_leaves_the_line_is_forgotten():
    turns, gone = Turns(), threading.Event()
    with turns.turn(lambda: False):
        threading.Timer(0.05, gone.set).start()
        with pytest.raises(ClientGone), turns.turn(gone.is_set):
            pass
    assert not turns._line


# -- requests that cannot be --------------------------------------------------------------------


def talk(server, data):
    """Send bytes as they are; the whole answer, until the server closes."""
    with socket.create_connection(server.server_address, timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n", 403),
        ("GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n", 403),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", 400),
        ("GET / HTTP/1.1\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n", 403),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n", 403),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: [::1]:11434\r\n", 200),
        ("GET / HTTP/1.0\r\n", 200),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n", 404),
        ("GET /v1/models/..%2f..%2fetc HTTP/1.1\r\nHost: localhost\r\n", 404),
        ("GET /api/generate HTTP/1.1\r\nHost: localhost\r\n", 405),
        ("DELETE /api/delete HTTP/1.1\r\nHost: localhost\r\n", 501),
        (f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BODY + 1}\r\n", 413),
        ("POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n", 400),
        ("POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400),
        ("POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n", 411),
        ("POST /api/chat HTTP/1.1\r\nHost: localhost\r\n", 400),
        ("BREW /coffee HTTP/1.1\r\nHost: localhost\r\n", 501),
        ("nonsense\r\n", 400),
        ("GET /" + "a" * 70_000 + " HTTP/1.1\r\n", 414),
    ],
)
def test_requests_that_are_no_requests(server, head, status):
    answer = talk(server, head.encode() + b"\r\n")
    assert answer.startswith(b"HTTP/1.") and int(answer.split()[1]) == status
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"model": 1}', '"model" must be of type string'),
        (b'{"model": "pocket-xs", "prompt": ["x"]}', '"prompt" must be of type string'),
        (b'{"model": "pocket-xs", "prompt": "x", "stream": "no"}', '"stream" must be of type boolean'),
        (b'{"model": "pocket-xs", "prompt": "x", "options": []}', '"options" must be of type object'),
        (b'{"model": "pocket-xs", "prompt": "x", "options": {"temperature": "hot"}}', "float32"),
        (b'{"model": "pocket-xs", "prompt": "x", "options": {"temperature": NaN}}', "float32"),
        (b'{"model": "pocket-xs", "prompt": "x", "options": {"top_p": 2}}', "allowed is 0.0 to 1.0"),
        (b'{"model": "pocket-xs", "prompt": "x", "options": {"stop": [1]}}', "array of strings"),
        (b'{"model": "pocket-xs", "prompt": "x", "keep_alive": "soon"}', "keep_alive"),
        (b'{"model": "pocket-xs", "prompt": "x", "format": "json"}', "format"),
        (b'{"model": "pocket-xs", "prompt": "x", "suffix": "y"}', "does not support insert"),
        (b'{"model": "pocket-xs", "prompt": "x", "think": true}', "does not support thinking"),
        (b'{"model": "pocket-xs", "prompt": "x", "raw": true, "system": "y"}', "raw mode"),
        (b'{"model": "pocket-xs", "prompt": "x", "context": ["y"]}', "array of integers"),
    ],
)  # fmt: skip
def test_bodies_that_cannot_be_obeyed_say_why(server, body, words):
    response = requests.post(f"{server.url}/api/generate", data=body, timeout=30)
    assert response.status_code == 400 and words in response.json()["error"]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("hello", "must be of type array"),
        (["hello"], "must be an object"),
        ([{"role": "king", "content": "x"}], "is allowed"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "text only"),
        ([{"role": "user", "content": "x", "images": ["aGk="]}], "does not see images"),
    ],
)
def test_messages_that_are_none(post, messages, words):
    for path in ("/api/chat", "/v1/chat/completions"):
        response = post(path, {"model": "pocket-xs", "messages": messages})
        assert response.status_code == 400 and words in json.dumps(response.json()["error"]).replace(
            '\\"', '"'
        )


def test_half_a_character_in_a_prompt_breaks_nothing(server):
    body = b'{"model": "pocket-xs", "prompt": "\\ud83d", "stream": false, "options": {"num_predict": 2}}'
    assert requests.post(f"{server.url}/api/generate", data=body, timeout=60).status_code == 200


def test_a_taken_port_says_by_what(server):
    port = server.server_address[1]
    assert who_has(port) == "benchkit serve"
    with pytest.raises(BenchkitError, match="benchkit serve, already running"):
        start("gguf:pocket-xs", port=port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(BenchkitError, match="another program.*another port"):
            start("gguf:pocket-xs", port=other.getsockname()[1])
    with pytest.raises(BenchkitError, match="port='x'"):
        start("gguf:pocket-xs", port="x")
    with pytest.raises(ModelError, match="did you mean"):
        start("gguf:pocket-xz", port=0)


def test_it_listens_on_loopback_only(server):
    assert server.server_address[0] == "127.0.0.1"
    assert not is_this_computer("localhost@evil.example") and not is_this_computer("192.168.0.1:11434")


def test_benchkit_serve_is_not_taken_for_an_ollama_to_give_models_to(server):
    with pytest.raises(ModelError, match="not an Ollama"):
        to_ollama("gguf:pocket-xs", server.url)


# -- the small parts ------------------------------------------------------------------------------


@given(
    st.text("abx", max_size=30), st.lists(st.integers(1, 4)), st.lists(st.text("abx", min_size=1, max_size=4))
)
def test_a_stop_text_is_found_however_the_text_is_cut(text, sizes, stops):
    pieces, rest = [], text
    for size in [*sizes, len(text) + 1]:
        pieces.append(rest[:size])
        rest = rest[size:]
    watch = StopWatch(stops)
    shown = [watch.feed(piece) for piece in pieces]
    shown = "".join(shown) + ("" if watch.found else watch.rest())
    ends = [text.index(stop) + len(stop) for stop in stops if stop in text]
    assert watch.found == bool(ends)
    if not ends:
        assert shown == text
    else:
        assert not any(stop in shown for stop in stops)
        assert text.startswith(shown)
        assert sum(map(len, pieces[: tokens_until_stop(pieces, stops)])) >= min(ends)


@pytest.mark.parametrize("wrong", ["soon", "5", "m", True, [], {}, float("inf"), "1" * 200 + "s"])
def test_a_keep_alive_that_means_nothing(wrong):
    with pytest.raises(ApiError, match="keep_alive"):
        read_keep_alive(wrong)


def test_settings_are_ollamas():
    assert read_settings(None).temperature == 0.8 and read_settings({}).repeat_penalty == 1.1
    assert read_settings({"num_ctx": 0, "seed": 2**40}).seed < 2**32 - 1
    assert read_settings({"top_k": 3.0, "made_up": 1}).top_k == 3


@pytest.mark.parametrize(
    "damage", [lambda d: d[:100], lambda d: b"GGUF" + b"\xff" * 60, lambda d: b"", lambda d: d[1:]]
)
def test_a_damaged_header_is_said_to_be_damaged(tmp_path, damage):
    data = (places.MODELS / "pocket-xs.gguf").read_bytes()[:4000]
    (tmp_path / "x.gguf").write_bytes(damage(data))
    with pytest.raises(ModelError, match="whole GGUF"):
        read_header(tmp_path / "x.gguf")
    with pytest.raises(ModelError, match="cannot be read"):
        read_header(tmp_path / "y.gguf")


def test_a_template_other_than_chatml_stays_as_it_is():
    assert go_template("{{ messages }}") == ("{{ messages }}", ())
