"""The truth server says what it was told to say, when it was told to, and its log agrees with itself."""

import http.client
import json
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit import truth
from benchkit.errors import BenchkitError
from benchkit.script import Asked, Parts, Script, read_script, steps, timeline, token

QUICK = {"ttft_ms": 4, "gap_ms": 1, "n_tokens": 3}
CHATS = ("/api/chat", "/v1/chat/completions")
MESSAGES = [{"role": "user", "content": "How long is a second?"}]
NO_PARTS = Parts(0, 0, 0, 0)


@pytest.fixture(scope="module")
def url():
    with truth.running(**QUICK) as url:
        yield url


def ask(url, path, request_id="r", method="POST", **body):
    """Status and body of one answer; the body as far as it came."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"X-Request-Id": request_id})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        except http.client.IncompleteRead as cut:
            return answer.status, cut.partial
    finally:
        connection.close()


def logged(url, request_id):
    status, body = ask(url, f"/truth/log/{request_id}", method="GET")
    return [json.loads(line) for line in body.splitlines()] if status == 200 else []


def objects(path, body: bytes) -> list:
    """The JSON objects of a reply in either protocol."""
    if path.startswith("/api"):
        return [json.loads(line) for line in body.splitlines()]
    data = [line[6:] for line in body.splitlines() if line.startswith(b"data: ")]
    return [json.loads(line) for line in data if line != b"[DONE]"]


def words(*numbers) -> str:
    return "".join(map(token, numbers))


def said(path, reply) -> tuple[str, str]:
    """Reasoning and answer of a reply's objects."""
    if path == "/api/chat":
        deltas = [o["message"] for o in reply if "message" in o]
        return "".join(d.get("thinking", "") for d in deltas), "".join(d["content"] for d in deltas)
    deltas = [c["delta"] for o in reply for c in o.get("choices", ())]
    return "".join(d.get("reasoning_content", "") for d in deltas), "".join(
        d.get("content", "") for d in deltas
    )


# ---------------------------------------------------------------- the script, pure


scripts = st.builds(
    Script, st.integers(0, 500), st.integers(0, 50), st.integers(0, 40), st.integers(1, 7), st.integers(0, 10),
    st.booleans(), st.booleans(), st.integers(0, 5), error_after=st.none() | st.integers(0, 50),
    stall_after=st.none() | st.integers(0, 50), stall_ms=st.none() | st.integers(0, 900),
    drop_after=st.none() | st.integers(0, 50),
)  # fmt: skip
few = settings(max_examples=60, deadline=None)


@few
@given(scripts, st.none() | st.integers(1, 60))
def test_a_timeline_says_every_token_once_and_in_order(script, limit):
    moments = timeline(script, limit)
    tokens = [i for moment in moments for i in moment.tokens]
    asked = (
        script.n_reasoning + script.n_tokens
        if limit is None
        else min(script.n_reasoning + script.n_tokens, limit)
    )
    assert tokens == list(range(len(tokens)))
    assert all(len(m.tokens) <= script.tokens_per_chunk for m in moments)
    dues = [moment.due_ms for moment in moments]
    assert dues == sorted(dues) and all(due >= 0 for due in dues)
    for_ever = script.stall_after if script.stall_ms is None else None
    faults = [n for n in (script.error_after, script.drop_after, for_ever) if n is not None]
    n_chunks = sum(bool(m.tokens) for m in moments)
    if moments and moments[-1].kind == "end":
        assert len(tokens) == asked and all(n > n_chunks for n in faults)
    else:
        assert n_chunks == min(faults)


@few
@given(st.integers(1, 300), st.integers(1, 50), st.integers(2, 60), st.integers(1, 7))
def test_tpot_of_a_script_is_its_gap_however_tokens_share_chunks(ttft, gap, n, size):
    """(t_last − t_first) / (n − k1), the binding formula, gives the gap back exactly."""
    chunks = [moment for moment in timeline(Script(ttft, gap, n, size)) if moment.tokens]
    assert chunks[0].due_ms == ttft
    k1 = len(chunks[0].tokens)
    if n > k1:
        assert (chunks[-1].due_ms - chunks[0].due_ms) / (n - k1) == pytest.approx(gap)


def test_what_carries_no_token_comes_at_once_and_the_first_text_at_its_time():
    """Trap: TTFT taken at the role chunk, an empty chunk or a ping."""
    moments = timeline(Script(ttft_ms=100, n_tokens=4, role_first=True, empty_first=True, ping_every=2))
    assert [(m.due_ms, m.kind) for m in moments] == [
        (0, "role"), (0, "other"), (0, "ping"), (100, "content"), (120, "content"),
        (130, "ping"), (140, "content"), (160, "content"), (160, "end"),
    ]  # fmt: skip


def test_a_chunk_is_either_reasoning_or_answer():
    chunks = timeline(Script(n_tokens=3, n_reasoning=3, tokens_per_chunk=2))[:-1]
    assert [(m.kind, [*m.tokens]) for m in chunks] == [
        ("reasoning", [0, 1]), ("reasoning", [2]), ("content", [3, 4]), ("content", [5]),
    ]  # fmt: skip


def test_a_stall_moves_everything_after_it():
    dues = [m.due_ms for m in timeline(Script(10, 1, 4, stall_after=2, stall_ms=500))]
    assert dues == [10, 11, 512, 513, 513]


@pytest.mark.parametrize("path", CHATS)
def test_the_same_request_gets_the_same_bytes(path):
    asked = Asked(path, "truth", Script(), True, None, True)
    assert steps(asked)[:-1] == steps(asked)[:-1]
    assert steps(asked)[-1].data(NO_PARTS) == steps(asked)[-1].data(NO_PARTS)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"ttf_ms": 3}, "did you mean \"ttft_ms\""), ({"ttft_ms": -1}, "ttft_ms=-1"), ({"usage": 1}, "true or false"),
     ({"tokens_per_chunk": 0}, "from 1"), ({"n_tokens": 2.5}, "whole number"), ({"gap_ms": True}, "milliseconds"),
     ({"queue_ms": 150, "load_ms": 60}, "ttft_ms = 200"), ([], "object"), ({"n_tokens": None}, "whole number")],
)  # fmt: skip
def test_a_wrong_script_is_refused_and_says_why(wrong, words):
    with pytest.raises(BenchkitError, match=words):
        read_script(wrong)


# ---------------------------------------------------------------- what is sent is what was asked for


@pytest.mark.parametrize("path", CHATS)
def test_a_reply_says_every_token_once(url, path):
    script = {"n_reasoning": 2, "tokens_per_chunk": 2}
    status, body = ask(url, path, messages=MESSAGES, stream=True, truth=script)
    assert status == 200
    assert said(path, objects(path, body)) == (words(0, 1), words(2, 3, 4))


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize(("limit", "reason"), [(2, "length"), (3, "length"), (4, "stop")])
def test_the_requests_own_token_limit_counts(url, path, limit, reason):
    settings = {"options": {"num_predict": limit}} if path == "/api/chat" else {"max_tokens": limit}
    reply = objects(path, ask(url, path, messages=MESSAGES, stream=True, **settings)[1])
    assert said(path, reply)[1] == words(*range(min(3, limit)))
    assert reason in (
        reply[-1].get("done_reason"),
        *(c["finish_reason"] for c in reply[-1].get("choices", ())),
    )


def test_ollamas_last_line_has_its_figures_as_ollama_gives_them(url):
    """Its count has the end token of a reply that stopped by itself; a zero is left out."""
    script = {"queue_ms": 1, "load_ms": 2, "n_prompt": 9, "n_cached": 5}
    end = objects("/api/chat", ask(url, "/api/chat", "figures", messages=MESSAGES, truth=script)[1])[-1]
    assert (end["prompt_eval_count"], end["prompt_eval_cached_count"], end["eval_count"]) == (9, 5, 4)
    [row] = logged(url, "figures")
    first, *_, last = truth.text_stamps_ns(row)
    parts = end["load_duration"] + end["prompt_eval_duration"] + end["eval_duration"]
    assert end["load_duration"] == 2_000_000 and end["eval_duration"] == last - first
    assert end["total_duration"] - parts == 1_000_000  # waiting is in no field of its own
    assert end["total_duration"] == last - row["t_read_ns"]
    bare = objects("/api/chat", ask(url, "/api/chat", messages=MESSAGES, truth={"usage": False})[1])[-1]
    assert not {"eval_count", "prompt_eval_count", "load_duration"} & set(bare)


def test_openais_usage_comes_only_where_it_is_asked_for(url):
    def reply(truth=None, **more):
        return objects(
            CHATS[1], ask(url, CHATS[1], messages=MESSAGES, stream=True, truth=truth or {}, **more)[1]
        )

    asked = {"stream_options": {"include_usage": True}}
    script = {"n_cached": 4, "n_reasoning": 2, "n_prompt": 7, "timings": True}
    *_, finish, last = reply(script, **asked)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13,
                             "prompt_tokens_details": {"cached_tokens": 4},
                             "completion_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
    assert finish["timings"]["prompt_n"] == 3 and finish["timings"]["predicted_n"] == 6  # with the end token
    assert reply({"n_reasoning": 2}, **asked)[-1]["usage"]["completion_tokens"] == 5
    assert "usage" not in reply()[-1] and "usage" not in reply({"usage": False}, **asked)[-1]


def test_role_chunk_empty_chunk_and_pings_in_openais_protocol(url):
    script = {"role_first": True, "empty_first": True, "ping_every": 1}
    body = ask(url, CHATS[1], "pings", messages=MESSAGES, stream=True, truth=script)[1]
    assert body.count(b": ping\n\n") == 3 and body.endswith(b"data: [DONE]\n\n")
    deltas = [c["delta"] for o in objects(CHATS[1], body) for c in o["choices"]]
    assert deltas[:3] == [{"role": "assistant"}, {"content": ""}, {"content": " w0"}]
    [row] = logged(url, "pings")
    assert row["written"]["kind"] == [
        "role",
        "other",
        "ping",
        "content",
        "ping",
        "content",
        "ping",
        "content",
        "end",
    ]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/v1/chat/completions", "/v1/completions"])
def test_a_reply_that_is_not_streamed_is_one_answer(url, path):
    status, body = ask(url, path, messages=MESSAGES, prompt="x", stream=False, truth={"n_reasoning": 1})
    whole = json.loads(body)
    choice = whole["choices"][0] if "choices" in whole else whole
    assert status == 200
    assert words(1, 2, 3) in (
        whole.get("response"),
        choice.get("text"),
        choice.get("message", {}).get("content"),
    )


@pytest.mark.parametrize("path", CHATS)
def test_an_error_inside_a_200_stream(url, path):
    status, body = ask(url, path, f"error{path}".replace("/", "-"), messages=MESSAGES, stream=True,
                       truth={"error_after": 2})  # fmt: skip
    reply = objects(path, body)
    assert status == 200 and "error" in reply[-1] and said(path, reply[:-1])[1] == words(0, 1)
    assert ask(url, path, messages=MESSAGES, stream=False, truth={"error_after": 0})[0] == 500


@pytest.mark.parametrize("path", CHATS)
def test_a_dropped_reply_ends_without_an_end(url, path):
    name = f"drop{path}".replace("/", "-")
    body = ask(url, path, name, messages=MESSAGES, stream=True, truth={"drop_after": 1})[1]
    assert said(path, objects(path, body))[1] == words(0)
    [row] = logged(url, name)
    assert row["ended"] == "drop" and row["written"]["kind"] == ["content", "drop"]
    with pytest.raises(http.client.RemoteDisconnected):
        ask(url, path, messages=MESSAGES, stream=True, truth={"drop_after": 0})


def test_a_reply_that_stalls_for_ever_waits_until_the_client_leaves(url):
    host, _, port = url.removeprefix("http://").partition(":")
    body = json.dumps({"messages": MESSAGES, "truth": {"stall_after": 1}}).encode()
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"POST /api/chat HTTP/1.1\r\nHost: x\r\nX-Request-Id: stalled\r\nContent-Length: %d\r\n\r\n%b"
                       % (len(body), body))  # fmt: skip
        came = b""
        while b" w0" not in came:
            came += client.recv(65536)
        [row] = logged(url, "stalled")
        assert row["ended"] == "open" and row["written"]["kind"] == ["content"]
    assert eventually(lambda: logged(url, "stalled")[0]["ended"] == "client left")


def eventually(is_so) -> bool:
    give_up = time.monotonic() + 20
    while not is_so():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


# ---------------------------------------------------------------- the log


def test_the_log_agrees_with_itself_and_with_what_the_client_saw(url):
    before = time.perf_counter_ns()
    ask(url, "/api/chat", "whole", messages=MESSAGES, truth={"empty_first": True})
    after = time.perf_counter_ns()
    row = truth.read_log(url, before)["whole"]
    written = row["written"]
    assert written["kind"] == ["other", "content", "content", "content", "end"]
    assert written["n_tokens"] == [0, 1, 1, 1, 0] and row["ended"] == "complete" and row["n_waited"] == 0
    assert [due - row["t_read_ns"] for due in written["due_ns"]] == [
        0,
        4_000_000,
        5_000_000,
        6_000_000,
        6_000_000,
    ]
    times = [before, row["t_read_ns"], *written["t_ns"], after]
    assert times == sorted(times)  # one clock for both processes
    assert all(t >= due for t, due in zip(written["t_ns"], written["due_ns"]))  # never early
    assert truth.text_stamps_ns(row) == written["t_ns"][1:4]


def test_lateness_does_not_add_up(url):
    """Every chunk is due at a time counted from the request, not from the chunk before it."""
    ask(url, "/api/chat", "long", messages=MESSAGES, truth={"n_tokens": 40, "gap_ms": 2})
    [row] = logged(url, "long")
    dues = [due - row["t_read_ns"] for due in row["written"]["due_ns"]]
    assert dues[:40] == [4_000_000 + 2_000_000 * i for i in range(40)]


def test_one_connection_takes_many_requests(url):
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    for n in range(3):
        connection.request(
            "POST", "/api/chat", json.dumps({"messages": MESSAGES}), {"X-Request-Id": f"kept-{n}"}
        )
        assert words(0) in connection.getresponse().read().decode()
    connection.close()
    assert all(len(logged(url, f"kept-{n}")) == 1 for n in range(3))


def test_a_request_that_was_sent_again_is_noticed():
    """Trap: a retry that nobody records."""
    with truth.running(**QUICK) as own:
        for _ in range(2):
            ask(own, "/api/chat", "twice", messages=MESSAGES)
        assert len(logged(own, "twice")) == 2
        with pytest.raises(BenchkitError, match="twice"):
            truth.read_log(own)


def test_the_clock_is_one_for_both_processes(url):
    assert truth.shares_our_clock(url)


# ---------------------------------------------------------------- everything else it is asked


def test_what_a_client_asks_before_it_begins(url):
    def get(path):
        return json.loads(ask(url, path, method="GET")[1])

    assert get("/api/tags")["models"][0]["name"] == "truth:latest"
    assert get("/v1/models")["data"][0]["id"] == "truth"
    assert "version" in get("/api/version") and len(get("/api/ps")["models"]) == 1
    assert json.loads(ask(url, "/api/generate", model="truth", keep_alive=0)[1])["done_reason"] == "unload"
    assert get("/api/ps")["models"] == []
    assert json.loads(ask(url, "/api/generate", model="truth")[1])["done_reason"] == "load"
    assert len(get("/api/ps")["models"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [("/api/chat", {"messages": MESSAGES, "truth": {"speed": 3}}, 400, "script has no 'speed'"),
     ("/api/chat", {"messages": MESSAGES, "options": []}, 200, ""),
     ("/api/chat", {"messages": MESSAGES, "options": [1]}, 400, "options"),
     ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": "3"}, 400, "whole number"),
     ("/v1/embeddings", {"input": "x"}, 404, "/v1/chat/completions"),
     ("/api/chat", {}, 400, "JSON object")],
)  # fmt: skip
def test_a_request_that_cannot_be_answered_says_why(url, path, body, status, words):
    found, text = ask(url, path, **body)
    assert found == status and words in text.decode()


def test_it_is_to_be_reached_from_this_computer_only(url):
    assert url.startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(BenchkitError, match=f"port {taken.getsockname()[1]} .*another port"):
            truth.serve(taken.getsockname()[1])


def test_pythons_own_event_loop_serves_too():
    """Where there is no uvloop, as on Windows."""
    code = "import sys; sys.modules['uvloop'] = None; from benchkit import truth; truth._main(['ttft_ms=3'])"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    own = child.stdout.readline().decode().strip()
    path, whole = CHATS[0], {"n_tokens": 5, "gap_ms": 1}
    assert said(path, objects(path, ask(own, path, messages=MESSAGES, truth=whole)[1]))[1] == words(
        0, 1, 2, 3, 4
    )
    [row] = truth.read_log(own).values()
    assert row["ended"] == "complete" and row["n_waited"] == 0
    child.stdin.close()
    assert child.wait(20) == 0
    child.stdout.close()


def test_it_ends_with_the_program_that_started_it():
    child = subprocess.Popen(
        [sys.executable, "-m", "benchkit.truth"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline().startswith(b"http://127.0.0.1:")
    child.stdin.close()
    assert child.wait(20) == 0
    child.stdout.close()
