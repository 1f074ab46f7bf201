"""The stand-in for Ollama that check cells ask: it speaks as Ollama does, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import time

import pytest
import requests

from benchkit.exercise_server import prompt_of, stand_in


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def ask(server, path="/api/generate", **body):
    body = {"model": "tiny", "prompt": "Who?", **body}
    return requests.post(server.url + path, json=body, stream=True, timeout=10)


def rows(reply):
    return [json.loads(line) for line in reply.iter_lines()]


def test_a_reply_comes_line_by_line_as_ollama_sends_it():
    with stand_in(["Grüße", " aus 東京"], n_tokens=9) as server:
        found = rows(ask(server))
    assert [row["response"] for row in found] == ["", "Grüße", " aus 東京", ""]
    assert [row["done"] for row in found] == [False, False, False, True]
    assert found[-1]["eval_count"] == 9 and "eval_count" not in found[0]


def test_chat_has_its_text_in_a_message():
    with stand_in(["a", "b"]) as server:
        found = rows(ask(server, "/api/chat", messages=[{"role": "user", "content": "Hello?"}]))
    assert "".join(row["message"]["content"] for row in found) == "ab" and server.prompts == ["Hello?"]


def test_pauses_are_kept_and_nothing_can_take_longer_than_the_server_was_open():
    with stand_in(["a", "b"], first_s=0.05, rest_s=0.1) as server:
        start, arrived = time.perf_counter(), []
        for _ in ask(server).iter_lines():
            arrived.append(time.perf_counter() - start)
        assert arrived[1] >= 0.045 and arrived[2] >= 0.14 and arrived[-1] <= server.open_s


def test_a_whole_reply_where_no_stream_is_wanted():
    with stand_in(["a", "b"], n_tokens=4) as server:
        found = ask(server, stream=False).json()
    assert found["response"] == "ab" and found["done"] is True and found["eval_count"] == 4


def test_an_unknown_model_a_failing_prompt_and_an_unknown_path():
    with stand_in(models=["tiny"], fails=["Red?"]) as server:
        assert ask(server, model="other").status_code == 404 and "not found" in ask(server, model="other").text
        assert ask(server, prompt="Red?").status_code == 500 and ask(server, prompt="Blue?").status_code == 200
        assert ask(server, "/v1/completions").status_code == 404
        assert server.prompts == ["Who?", "Who?", "Red?", "Blue?"]


@pytest.mark.parametrize("data", [b"", b"no JSON", b"[1]", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused_and_the_server_goes_on(data, capfd):
    with stand_in() as server:
        try:
            assert requests.post(f"{server.url}/api/generate", data=data, timeout=10).status_code == 400
        except requests.ConnectionError:
            assert data.startswith(b"[[")  # too deep to be read: hung up
        assert rows(ask(server))[-1]["done"] is True and server.prompts == ["Who?"]
    assert capfd.readouterr() == ("", "")


def test_a_client_that_hangs_up_is_no_error_on_the_screen(capfd):
    with stand_in(["a", "b"], first_s=0.05) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        for data in (b"POST /api/generate HTTP/1.1\r\nContent-Length: 5\r\n\r\n{", b"nonsense", b""):
            with socket.create_connection((host, int(port))) as client:
                client.send(data)
        ask(server).close()
        assert rows(ask(server))[-1]["done"] is True
    assert capfd.readouterr() == ("", "")


def test_it_is_gone_after_the_block():
    with stand_in() as server:
        pass
    with pytest.raises(requests.ConnectionError):
        ask(server)


@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"prompt": 3}, {"messages": []}, {"messages": ["x"]}, {"messages": "x"}])
def test_a_body_without_a_prompt_has_an_empty_one(body):
    assert prompt_of(body) == ""
