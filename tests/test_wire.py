"""The wire: stamps, connections, ends. On uvloop and on Python's own loop, which Windows uses."""

import asyncio
import gc
import threading
import time

import pytest
from faulty_server import FaultyServer

from benchkit.backends import wire
from benchkit.backends.wire import LoopThread, Wire, quiet_gc, run_async
from benchkit.errors import ModelError

GOOD = {"messages": [{"role": "user", "content": "hello"}]}
STALL = {"messages": [{"role": "user", "content": "stall"}]}


def asked(prompt):
    return {"messages": [{"role": "user", "content": prompt}]}


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_kind(request, monkeypatch):
    if request.param == "asyncio":
        monkeypatch.setattr(wire, "uvloop", None)
    elif wire.uvloop is None:
        pytest.skip("needs uvloop, which Windows has not")
    return request.param


@pytest.fixture
def server():
    with FaultyServer() as server:
        yield server


def test_stamps_are_in_order_and_the_body_is_whole(server, loop_kind):
    exchange = run_async(
        Wire(server.url).send, "/api/chat", GOOD, timeout_s=30, request_id="r-1", t_scheduled_ns=7
    )
    stamps = [exchange.t_sent_ns, exchange.t_headers_ns, exchange.t_first_byte_ns]
    stamps += [*(t for t, _ in exchange.pieces), exchange.t_end_ns]
    assert exchange.ended == "complete" and exchange.error is None and exchange.status == 200
    assert stamps == sorted(stamps) and exchange.t_scheduled_ns == 7
    assert exchange.body.count(b"\n") == 4 and exchange.headers["content-type"] == "application/x-ndjson"
    path, headers, body = server.requests[-1]
    assert (path, body, headers["x-request-id"]) == ("/api/chat", GOOD, "r-1")
    assert headers["accept-encoding"] == "identity" and headers["host"] == server.url.removeprefix("http://")


def test_a_stamp_is_the_time_of_the_read_and_not_of_the_understanding(server, loop_kind):
    exchange = run_async(Wire(server.url).send, "/api/chat", asked("slow_trickle"), timeout_s=30)
    times = [t for t, _ in exchange.pieces]
    assert len(set(times)) > 3 and times == sorted(times)


def test_connections_are_kept_and_opened_before(server, loop_kind):
    async def three():
        client = Wire(server.url)
        await client.open(2)
        await asyncio.sleep(0.05)
        opened = server.n_connections
        for _ in range(3):
            assert (await client.send("/api/chat", GOOD, timeout_s=30)).ended == "complete"
        await client.close()
        return opened

    assert run_async(three) == 2 and server.n_connections == 2


def test_an_idle_connection_is_replaced_before_the_clock_starts(server, loop_kind, monkeypatch):
    monkeypatch.setattr(wire, "IDLE_S", 0.02)

    async def two():
        client = Wire(server.url)
        first = await client.send("/api/chat", GOOD, timeout_s=30)
        await asyncio.sleep(0.05)
        return first, await client.send("/api/chat", GOOD, timeout_s=30)

    assert [e.ended for e in run_async(two)] == ["complete", "complete"]
    assert server.n_connections == 2


def test_many_at_once_do_not_mix(server, loop_kind):
    async def many():
        client = Wire(server.url)
        return await asyncio.gather(
            *(
                client.send("/api/chat", asked(f"hi {i}"), timeout_s=30, request_id=f"id-{i}")
                for i in range(16)
            )
        )

    exchanges = run_async(many)
    assert {e.ended for e in exchanges} == {"complete"} and len({e.body for e in exchanges}) == 1
    got = {headers["x-request-id"]: body["messages"][0]["content"] for _, headers, body in server.requests}
    assert got == {f"id-{i}": f"hi {i}" for i in range(16)}


def test_a_cancelled_request_returns_what_had_come(server, loop_kind):
    async def cancel():
        client = Wire(server.url)
        arrived = asyncio.Event()
        task = asyncio.create_task(
            client.send("/api/chat", STALL, timeout_s=30, on_piece=lambda piece: arrived.set())
        )
        await arrived.wait()
        task.cancel()
        aborted = await task
        return aborted, await client.send("/api/chat", GOOD, timeout_s=30)

    aborted, after = run_async(cancel)
    assert aborted.ended == "aborted" and b"Hel" in aborted.body and after.ended == "complete"


def test_closing_the_wire_ends_what_is_under_way(server, loop_kind):
    async def close():
        client = Wire(server.url)
        task = asyncio.create_task(client.send("/api/chat", STALL, timeout_s=30))
        await asyncio.sleep(0.1)
        await client.close()
        return await task

    began = time.monotonic()
    assert run_async(close).ended == "aborted" and time.monotonic() - began < 10


def test_what_follows_an_answer_is_never_taken_for_the_next(server, loop_kind):
    async def two():
        client = Wire(server.url)
        first = await client.send("/api/chat", asked("promises_too_little"), timeout_s=30)
        return first, await client.send("/api/chat", GOOD, timeout_s=30)

    first, second = run_async(two)
    assert first.ended == "complete" and second.ended == "complete"
    assert second.body.startswith(b'{"model"') and second.body.count(b"\n") == 4
    assert server.n_connections == 2


def test_a_get_and_a_base_path(server):
    exchange = run_async(Wire(f"{server.url}/v1/").send, "/models", timeout_s=30)
    assert exchange.status == 200 and b"tiny" in exchange.body


def test_refused_and_redirected_are_told_and_not_followed(server):
    with FaultyServer() as gone:
        pass
    refused = run_async(Wire(gone.url).send, "/api/chat", GOOD, timeout_s=30)
    assert refused.ended == "refused" and "connection refused" in refused.error and refused.status is None
    assert run_async(Wire(server.url).send, "/api/chat", asked("redirect"), timeout_s=30).status == 307
    with pytest.raises(ModelError, match="No server answers"):
        run_async(Wire(gone.url).open, 3)


def test_a_body_that_never_ends_is_given_up(server):
    exchange = run_async(
        Wire(server.url, max_body=100_000).send, "/api/chat", asked("more_than_we_take"), timeout_s=30
    )
    assert exchange.ended == "unreadable" and "larger than" in exchange.error


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://me:secret@host", "Leave names and passwords out"),
        ("ftp://host", "not a server's address"),
        ("localhost:8080", "not a server's address"),
        ("http://", "not a server's address"),
        ("http://host:99999", "not a server's address"),
        ("http://ho st", "not a server's address"),
        ("http://host/v1?key=secret", r"without \? and #"),
        (None, "an address is a string|A server's address is a string"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_no_secret_repeated(url, words):
    with pytest.raises(ModelError, match=words) as refusal:
        Wire(url)
    assert "secret" not in str(refusal.value)


def test_headers_are_hidden_and_cannot_smuggle_others(server):
    client = Wire(server.url, {"Authorization": "Bearer hush"})
    assert repr(client) == f"Wire('{server.url}')"
    with pytest.raises(ModelError, match="Authorization") as refusal:
        Wire(server.url, {"Authorization": "Bearer hush\r\nX-Evil: 1"})
    assert "hush" not in str(refusal.value)
    with pytest.raises(ModelError, match="request_id"):
        run_async(client.send, "/api/chat", GOOD, timeout_s=30, request_id="a\r\nb")


def test_a_loop_thread_stops_a_request_when_its_caller_is_interrupted(server):
    def interrupt():
        raise KeyboardInterrupt

    with LoopThread() as thread:
        client = Wire(server.url)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            thread.run(client.send("/api/chat", STALL, timeout_s=30), meanwhile=interrupt)
        assert time.monotonic() - began < 10
        assert thread.run(client.send("/api/chat", GOOD, timeout_s=30)).ended == "complete"
    assert not [t for t in threading.enumerate() if t is thread._thread]


def test_it_works_inside_a_loop_that_runs_already(server):
    async def cell():
        return run_async(Wire(server.url).send, "/api/chat", GOOD, timeout_s=30)

    assert asyncio.run(cell()).ended == "complete"


def test_the_collector_is_off_only_meanwhile():
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), quiet_gc():
        assert not gc.isenabled()
        with quiet_gc(collect=False):
            pass
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()


def test_a_limit_on_open_files_is_named():
    resource = pytest.importorskip("resource")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wire.allow_open_files(16)
    if hard != resource.RLIM_INFINITY:
        with pytest.raises(ModelError, match="ulimit -n"):
            wire.allow_open_files(hard + 1)
