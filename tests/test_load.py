"""A load run against a server that misbehaves on purpose, and the formulas over many requests.

Nothing here depends on how fast the machine is: where order matters, the server waits for events, not times.
"""

import _thread
import asyncio
import json
import math
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from benchkit import load as load_module
from benchkit import metrics, traffic, truth
from benchkit.backends.wire import Exchange, LoopThread
from benchkit.errors import BenchkitError, ModelError
from benchkit.load import load, read_requests
from benchkit.recording import Chunk, Count, Recording
from benchkit.schedule import make_schedule
from benchkit.traffic import Request, Window

pytestmark = pytest.mark.real

MS, S = 1_000_000, 1_000_000_000

# ---------------------------------------------------------------- a server whose faults are chosen

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}}


def framed(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(value: dict) -> bytes:
    return framed(f"data: {json.dumps(value)}\n\n".encode())


def delta(finish=None, **fields) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


REPLY = [HEAD + delta(role="assistant"), delta(content="one"), delta(content=" two"), delta(content=" three"),
         delta(finish="stop") + event({"choices": [], "usage": USAGE}) + framed(b"data: [DONE]\n\n") + framed(b"")]  # fmt: skip


class TinyServer:
    """Speaks just enough. `act(number, writer)` may answer a request itself; if it returns None the reply is sent.

    Requests that are not of the schedule (warm-ups) have no number, and are answered.
    """

    def __init__(self, act=None):
        self.act, self.seen, self.bodies, self.lock = act, [], [], threading.Lock()
        self.thread = LoopThread()
        self.server = self.thread.run(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                number = re.search(rb"x-request-id: load-\w+-(\d+)", head, re.IGNORECASE)
                if not await self.answer(int(number[1]) if number else None, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, number, body, writer):
        if not body:  # GET /v1/models
            text = b'{"object": "list", "data": [{"id": "tiny", "owned_by": "tests"}]}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
            return True
        if number is not None:
            self.seen.append(number)
            self.bodies.append(json.loads(body))
            if self.act is not None and (done := await self.act(number, writer)) is not None:
                return done
        for part in REPLY:
            writer.write(part)
            await writer.drain()
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.loop.call_soon_threadsafe(self.server.close)
        self.thread.close()


def run(server, tmp_path, profile="concurrent", name="run", **settings):
    settings = {"timeout_s": 60.0, "progress": False, **settings}
    return load("openai:tiny", server.url, profile, out=tmp_path / name, **settings)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------- when requests are sent


@pytest.mark.parametrize("profile", ["constant", "poisson"])
def test_a_server_that_stalls_is_still_asked_on_schedule(tmp_path, profile):
    """From request 5 on nothing is answered until all 40 have come: a client that waits for answers never ends."""
    everybody = asyncio.Event()

    async def stall(number, writer):
        if number == 39:
            everybody.set()
        if number >= 5:
            await everybody.wait()

    with TinyServer(stall) as server:
        found = run(server, tmp_path, profile, rate=100.0, requests=40, seed=3)
    rows = rows_of(tmp_path / "run")
    begin_ns = json.loads((tmp_path / "run" / "gauge.json").read_text())["begin_ns"]
    due = json.loads((tmp_path / "run" / "schedule.json").read_text())["due_ns"]
    assert found["n_completed"] == 40 and server.seen[:1] == [0] and sorted(server.seen) == list(range(40))
    assert [row["t_scheduled_ns"] - begin_ns for row in rows] == due == list(make_schedule(profile, rate=100.0,
           requests=40, seed=3).due_ns), "requests are due when the schedule says, whatever the server did"  # fmt: skip
    last_sent = rows[39]["t_sent_ns"]
    for row in rows[5:39]:
        assert row["t_scheduled_ns"] <= row["t_sent_ns"] and row["t_end_ns"] >= last_sent
        assert row["response_time_s"] * S >= due[39] - due[row["number"]] - 1, "waiting is charged from the schedule"
    assert found["concurrency"]["asked"] is None
    assert found["response_time_s"]["n"] == 32 and found["response_time_s"]["max"] >= found["latency_s"]["max"]


def test_a_closed_loop_sends_when_the_last_has_ended(tmp_path):
    with TinyServer() as server:
        found = run(server, tmp_path, concurrency=3, requests=20)
    rows, gauge = rows_of(tmp_path / "run"), json.loads((tmp_path / "run" / "gauge.json").read_text())
    ends = {row["t_end_ns"] for row in rows} | {gauge["begin_ns"]}
    assert all(row["t_scheduled_ns"] in ends and row["t_sent_ns"] >= row["t_scheduled_ns"] for row in rows)
    assert sum(row["t_scheduled_ns"] == gauge["begin_ns"] for row in rows) == 3
    spans = [(row["t_sent_ns"], row["t_end_ns"]) for row in rows]
    assert max(sum(a <= t < b for a, b in spans) for t, _ in spans) <= 3
    assert found["concurrency"]["asked"] == 3 and max(gauge["in_flight"], default=0) <= 3


def test_throughput_has_everything_due_at_the_start(tmp_path):
    everybody = asyncio.Event()

    async def wait_for_all(number, writer):
        if len(server.seen) == 12:
            everybody.set()
        await everybody.wait()

    with TinyServer(wait_for_all) as server:
        found = run(server, tmp_path, "throughput", requests=12)
    rows = rows_of(tmp_path / "run")
    assert len({row["t_scheduled_ns"] for row in rows}) == 1 and all(row["in_window"] for row in rows)
    assert found["concurrency"]["asked"] == 12 and "nothing is cut" in found["window"]["rule"]
    span_s = (max(r["t_end_ns"] for r in rows) - rows[0]["t_scheduled_ns"]) / S
    assert found["requests_per_s"] == pytest.approx(12 / span_s)


def test_synchronous_is_one_at_a_time(tmp_path):
    with TinyServer() as server:
        run(server, tmp_path, "synchronous", requests=6)
    rows = rows_of(tmp_path / "run")
    assert all(b["t_sent_ns"] >= a["t_end_ns"] == b["t_scheduled_ns"] for a, b in zip(rows, rows[1:]))
    assert server.seen == list(range(6))


def test_a_duration_ends_a_closed_loop(tmp_path):
    with TinyServer() as server:
        found = run(server, tmp_path, concurrency=2, duration_s=0.2)
    assert found["n_requests"] == len(server.seen) >= 2
    assert found["asked"]["requests"] is None and found["n_completed"] == found["n_requests"]


def test_prompts_take_turns_and_options_are_sent(tmp_path):
    (tmp_path / "mine.txt").write_text("first\nsecond\n", encoding="utf-8")
    with TinyServer() as server:
        found = run(server, tmp_path, "synchronous", requests=4, prompts=tmp_path / "mine.txt", max_tokens=7,
                    ignore_eos=True)  # fmt: skip
    assert [body["messages"][0]["content"] for body in server.bodies] == ["first", "second"] * 2
    assert all(body["max_tokens"] == 7 and body["ignore_eos"] and body["cache_prompt"] is False for body in server.bodies)
    assert [row["prompt_id"] for row in rows_of(tmp_path / "run")] == ["mine-00", "mine-01"] * 2
    assert found["asked"]["prompts"] == "mine"


# ---------------------------------------------------------------- what goes wrong


def test_failures_are_counted_by_kind_and_stand_beside_every_latency(tmp_path):
    async def misbehave(number, writer):
        if number in (7, 8):
            writer.write(b'HTTP/1.1 503 Busy\r\nContent-Length: 17\r\n\r\n{"error": "busy"}')
            return True
        if number == 9:  # an error inside a 200
            writer.write(REPLY[0] + REPLY[1] + event({"error": {"message": "out of memory"}}) + framed(b""))
            return True
        if number == 10:  # the connection is closed in the middle
            writer.write(REPLY[0] + REPLY[1])
            return False
        if number == 11:  # an end without a reason
            writer.write(b"".join(REPLY[:4]) + framed(b"data: [DONE]\n\n") + framed(b""))
            return True

    with TinyServer(misbehave) as server:
        found = run(server, tmp_path, "synchronous", requests=30)
    assert found["errors"] == {"http_503": 2, "error": 1, "disconnected": 1, "truncated": 1}
    assert found["n_requests"] == 30 and found["n_completed"] == 25 and found["states"]["ok"] == 25
    for name in traffic.LATENCIES.keys() - {"tpot_ms"}:  # this server's text may all be read at one instant
        assert (found[name]["n"], found[name]["n_failed"]) == (23, 5), name  # 28 of 30 are in the window
    assert found["verdict"] == "INCONCLUSIVE" and any("5 of 30 requests failed (2 http_503" in r for r in found["reasons"])
    rows = {row["number"]: row for row in rows_of(tmp_path / "run")}
    assert rows[10]["recording"]["chunks"]["text"][-1] == "one" and rows[10]["t_first_ns"], "partial text is kept"
    assert "out of memory" in rows[9]["error"] and rows[9]["state"] == "error"


def test_a_server_that_never_answers_times_out_and_nothing_hangs(tmp_path):
    async def silence(number, writer):
        await asyncio.sleep(3600)

    with TinyServer(silence) as server:
        found = run(server, tmp_path, concurrency=4, requests=8, timeout_s=0.3)
    assert found["errors"] == {"timeout": 8} and found["verdict"] == "INVALID"
    assert found["ttft_ms"]["p50"] is None and found["ttft_ms"]["n_failed"] == 8
    assert "no request was completed (8 timeout)" in found["reasons"]


def test_no_server_is_said_at_once_and_the_folder_can_be_used_again(tmp_path):
    with TinyServer() as server:
        pass
    with pytest.raises(ModelError, match="No server answers"):
        run(server, tmp_path, requests=4)
    with TinyServer() as server:
        assert run(server, tmp_path, requests=4)["n_completed"] == 4


def test_a_server_that_goes_away_is_counted_and_not_hammered(tmp_path):
    async def die(number, writer):
        if number == 2:
            server.server.close()
        return False if number >= 2 else None

    with TinyServer(die) as server:
        found = run(server, tmp_path, "synchronous", requests=6)
    assert found["n_requests"] == 6 and found["n_completed"] == 2
    assert set(found["errors"]) <= {"disconnected", "refused"} and sum(found["errors"].values()) == 4


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"profile": "bursty"}, "there is no load profile 'bursty'"),
        ({"profile": "sweep", "rate": 3}, "leave out rate"),
        ({"model": "gguf:pocket-s"}, "benchkit serve gguf:pocket-s"),
        ({"model": "tiny"}, "Write openai:MODEL"),
        ({"host": None}, "Where is the server?"),
        ({"slo": {"ttft": 5}}, 'did you mean "ttft_ms"'),
        ({"slo": {"ttft_ms": 0}}, "a number above 0 is needed, in ms"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"prompts": "corse"}, 'did you mean "course"'),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(tmp_path, settings, says):
    with pytest.raises(BenchkitError) as refusal:
        load(**{"model": "openai:tiny", "host": "http://127.0.0.1:1/v1", "out": tmp_path / "run", **settings})
    assert says in str(refusal.value) and not (tmp_path / "run").exists()


def test_the_key_is_sent_and_written_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHKIT_API_KEY", "sk-very-secret")

    async def tell_tale(number, writer):
        writer.write(REPLY[0] + delta(content="your key is sk-very-secret") + REPLY[4])
        return True

    with TinyServer(tell_tale) as server:
        run(server, tmp_path, "synchronous", requests=3)
    for path in (tmp_path / "run").iterdir():
        assert b"sk-very-secret" not in path.read_bytes(), path.name
    assert "your key is ***" in rows_of(tmp_path / "run")[0]["recording"]["chunks"]["text"][1]


# ---------------------------------------------------------------- nothing measured is lost


def test_the_folder_is_complete(tmp_path):
    with TinyServer() as server:
        found = run(server, tmp_path, concurrency=2, requests=9, slo={"ttft_ms": 60_000})
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {"schedule.json", "manifest.json", "status.json", "gauge.json", "requests.jsonl", "summary.json",
                     "run.log"}  # fmt: skip
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(found))
    status, about = (json.loads((folder / f"{name}.json").read_text()) for name in ("status", "manifest"))
    assert status["state"] == "complete" and (status["done"], status["total"]) == (9, 9)
    assert about["machine"]["cpu"] and about["server"] == {"id": "tiny", "owned_by": "tests"} and not about["drift"]
    for row in rows_of(folder):
        assert row["request_id"] == row["recording"]["request_id"] and row["state"] == "ok"
        assert row["t_scheduled_ns"] <= row["t_sent_ns"] <= row["t_first_ns"] <= row["t_end_ns"]
        assert row["counts"]["output"] == {"value": 3, "source": "server"} and row["n_output_tokens"] == 3
    assert found["goodput"] == {"slo": {"ttft_ms": 60_000.0}, "percent": 100.0, "n": 5,
                                "requests_per_s": found["goodput"]["requests_per_s"]}  # fmt: skip
    again = load_module.evaluate(folder, slo={"ttft_ms": 1e-6})
    assert again["goodput"]["percent"] == 0 and again["ttft_ms"] == found["ttft_ms"]


def test_nothing_is_lost_when_interrupted(tmp_path):
    """Ctrl-C comes while requests are under way: those that ended are whole, the others are there as aborted."""

    async def interrupt(number, writer):
        if number >= 6:
            if number == 6:
                _thread.interrupt_main()
            await asyncio.sleep(3600)

    with TinyServer(interrupt) as server, pytest.raises(KeyboardInterrupt):
        run(server, tmp_path, concurrency=2, requests=50)
    folder = tmp_path / "run"
    rows = rows_of(folder)
    states = [row["state"] for row in sorted(rows, key=lambda row: row["number"])]
    assert states[:6] == ["ok"] * 6 and set(states[6:]) == {"aborted"} and 7 <= len(states) <= 8
    found = json.loads((folder / "summary.json").read_text())
    assert found["verdict"] != "VALID" and "the run was interrupted before its end" in found["reasons"]
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert not (folder / "exchanges.jsonl").exists()
    with TinyServer() as server, pytest.raises(BenchkitError, match="choose another output folder"):
        run(server, tmp_path, requests=2)


def test_a_killed_run_is_put_in_order(tmp_path):
    """The folder is copied while the run goes on, as a crash would leave it; its last line is cut off."""

    async def copy(number, writer):
        if number == 20:
            await asyncio.get_running_loop().run_in_executor(None, wait_and_copy)

    def wait_and_copy():
        while not (tmp_path / "run" / "exchanges.jsonl").read_bytes().count(b"\n") == 20:
            time.sleep(0.01)
        shutil.copytree(tmp_path / "run", tmp_path / "killed", ignore=shutil.ignore_patterns(".*"))

    with TinyServer(copy) as server:
        run(server, tmp_path, "synchronous", requests=22)
        raw = tmp_path / "killed" / "exchanges.jsonl"
        raw.write_bytes(raw.read_bytes()[:-100])
        with pytest.raises(BenchkitError, match="It was cut off: 19 requests are now in its requests.jsonl"):
            run(server, tmp_path, requests=5, name="killed")
    whole, rescued = read_requests(tmp_path / "run"), read_requests(tmp_path / "killed")
    assert rescued == whole[:19] and not raw.exists()
    found = json.loads((tmp_path / "killed" / "summary.json").read_text())
    assert found["verdict"] == "INCONCLUSIVE" and "the run was killed before its end" in found["reasons"]
    assert found["littles_law"]["holds"] is None, "without the gauge there is nothing to check"


def test_bytes_survive_the_way_through_the_file(tmp_path):
    exchange = Exchange("id", 1, 2, 3, 4, 200, {"content-type": "x"}, ((5, bytes(range(256))), (6, "é\n".encode())),
                        "complete", None, 0)  # fmt: skip
    line = load_module.exchange_line(7, exchange)
    (tmp_path / "x").write_bytes(line + line + load_module.exchange_line(8, exchange) + line[:50])
    assert list(load_module.read_exchanges(tmp_path / "x")) == [(7, exchange), (8, exchange)]


def test_no_request_at_all_can_be_summarized():
    for schedule in (OPEN, CLOSED, make_schedule("throughput", requests=3)):
        found = traffic.summarize([], schedule)
        assert found["n_requests"] == 0 and found["requests_per_s"] is None and found["ttft_ms"]["n"] == 0
        assert traffic.judge(found, schedule)[:2] == ("INVALID", ["no request was completed (none was sent)"])


def test_the_import_is_light():
    code = "import sys, benchkit.load; print([m for m in ('pandas', 'matplotlib', 'scipy', 'llama_cpp') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# ---------------------------------------------------------------- against a server whose truth is known


@pytest.fixture(scope="module")
def truth_url():
    with truth.running(ttft_ms=30, gap_ms=3, n_tokens=5, n_cached=0) as url:
        yield url


@pytest.mark.parametrize(("protocol", "path"), [("openai", "/v1"), ("ollama", "")])
def test_both_protocols(tmp_path, truth_url, protocol, path, monkeypatch):
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path / "cache"))  # where no weighing is kept
    found = load(f"{protocol}:truth", truth_url + path, "poisson", rate=100.0, requests=30, out=tmp_path / "run",
                 progress=False)  # fmt: skip
    assert found["n_completed"] == 30 and not found["errors"] and found["n_output_tokens"]["max"] == 5
    log = truth.read_log(truth_url)
    for request in read_requests(tmp_path / "run"):
        r = request.recording
        row = log[r.request_id]
        assert r.t_scheduled_ns <= r.t_sent_ns <= row["t_read_ns"] and row["ended"] == "complete"
        assert metrics.text_chunks(r)[0].t_ns >= truth.text_stamps_ns(row)[0]
    assert any("scale not weighed" in reason and "benchkit weigh --streams" in reason for reason in found["reasons"])
    assert found["ttft_ms"]["p50"] >= 30 and found["ttft_from_schedule_ms"]["p50"] >= found["ttft_ms"]["p50"]


def test_a_sweep_finds_its_way(tmp_path, truth_url):
    found = load("openai:truth", truth_url + "/v1", "sweep", requests=12, out=tmp_path / "sweep", progress=False,
                 slo={"ttft_ms": 60_000})  # fmt: skip
    names = [point["profile"] for point in found["points"]]
    assert names == ["synchronous", "throughput"] + ["constant"] * 5
    rates = [point["rate"] for point in found["points"][2:]]
    assert rates == sorted(rates) and all((tmp_path / "sweep").joinpath(p["folder"]).exists() for p in found["points"])
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text())["knee"] == found["knee"]


# ---------------------------------------------------------------- the formulas: made-up requests


def made(number, due_s, sent_s=None, ttft_s=0.1, latency_s=1.0, n=10, failure=None, cached=0):
    """One request with `n` tokens, evenly spread from its first token to its end."""
    sent = round((due_s if sent_s is None else sent_s) * S)
    end, first = sent + round(latency_s * S), sent + round(ttft_s * S)
    times = [first + (end - first) * k // max(1, n - 1) for k in range(n)] if failure is None else []
    recording = Recording(
        t_scheduled_ns=round(due_s * S), t_sent_ns=sent, t_end_ns=end, state=failure or "ok",
        chunks=tuple(Chunk(t, "content", "x", 1) for t in times), request_id=str(number), chunks_are_tokens=True,
        counts={"prompt": Count(20, "server"), "cached": Count(cached, "server"), "output": Count(n, "server")},
    )  # fmt: skip
    return Request(recording, "p", failure)


def true_gauge(requests, period_s=0.01, factor=1.0):
    """What a perfect gauge would have read."""
    spans = [(r.recording.t_sent_ns, r.recording.t_end_ns) for r in requests]
    begin, end = min(a for a, _ in spans), max(b for _, b in spans)
    times = range(begin, end, round(period_s * S))
    return [(t, round(factor * sum(a <= t < b for a, b in spans))) for t in times]


CLOSED = make_schedule("concurrent", concurrency=10, requests=100)
OPEN = make_schedule("constant", rate=10, requests=100)


def closed_run(latency_s=1.0, n_waves=10, **more):
    return [made(10 * wave + k, wave * latency_s + 0.001 * k, latency_s=latency_s, **more)
            for wave in range(n_waves) for k in range(10)]  # fmt: skip


def open_run(latency_s=lambda k: 0.5, n=100):
    return [made(k, k / 10, latency_s=latency_s(k)) for k in range(n)]


def test_littles_law_holds_for_a_true_gauge_and_fails_for_a_false_one():
    for schedule, requests in ((CLOSED, closed_run()), (OPEN, open_run()), (OPEN, open_run(lambda k: 0.2 + k % 7 / 5))):
        window = traffic.cut(requests, schedule)
        law = traffic.littles_law(requests, true_gauge(requests), window)
        assert law["holds"] is True and law["gap"] < 1
        low = [(t, max(0, n - 1 - n // 5)) for t, n in true_gauge(requests)]
        assert traffic.littles_law(requests, low, window)["holds"] is False


def test_littles_law_sees_lost_records_and_wrong_stamps():
    requests = closed_run()
    gauge, window = true_gauge(requests), traffic.cut(requests, CLOSED)
    assert traffic.littles_law(requests[::2], gauge, window)["holds"] is False, "half of the records are lost"
    late = [replace(r, recording=replace(r.recording, t_end_ns=r.recording.t_end_ns + 300 * MS)) for r in requests]
    assert traffic.littles_law(late, gauge, window)["holds"] is False, "every end is stamped 300 ms late"


def test_a_falsified_gauge_makes_a_run_invalid(tmp_path):
    requests = closed_run()
    honest = traffic.summarize(requests, CLOSED, true_gauge(requests))
    assert traffic.judge(honest, CLOSED)[0] == "VALID"
    false = traffic.summarize(requests, CLOSED, true_gauge(requests, factor=0.5))
    state, reasons, _ = traffic.judge(false, CLOSED)
    assert state == "INVALID" and "Little's law" in reasons[0]


@pytest.mark.parametrize("ragged", [0, 6])
def test_many_that_end_just_beside_the_windows_edge_do_not_change_the_rate(ragged):
    schedule = make_schedule("concurrent", concurrency=8, requests=64)
    requests = [made(8 * w + k, w * 0.0512, latency_s=0.051 + (k * 1e-4 if w == ragged else 0))
                for w in range(8) for k in range(8)]  # fmt: skip
    found = traffic.summarize(requests, schedule, true_gauge(requests))
    assert found["requests_per_s"] == pytest.approx(8 / 0.0512, rel=0.01)


def test_a_server_that_does_one_thing_at_a_time_is_also_asked_less_than_it_can_do():
    rates = traffic.rates_between(10.0, 11.4, 5)
    assert min(rates) < 5 and max(rates) == pytest.approx(11.4)


def test_littles_law_in_lock_step_and_in_a_short_run():
    """Four waves of 32, as `--concurrency 32 --requests 128` sends them to a server that answers all at once."""
    schedule = make_schedule("concurrent", concurrency=32, requests=128)
    requests = [made(32 * w + k, w * 0.84 + k * 1e-4, latency_s=0.84) for w in range(4) for k in range(32)]
    window = traffic.cut(requests, schedule)
    assert (window.first, window.last) == (32, 96) and window.span_s == pytest.approx(2 * 0.84)
    found = traffic.summarize(requests, schedule, true_gauge(requests))
    assert found["littles_law"]["holds"] is True
    assert found["requests_per_s"] == pytest.approx(32 / 0.84, rel=0.002)
    assert found["output_tokens_per_s"] == pytest.approx(320 / 0.84, rel=0.05)
    assert found["concurrency"]["achieved"] == pytest.approx(32, rel=0.02)


def test_a_check_that_cannot_fail_is_not_called_one():
    quick = [made(k, k / 1000, latency_s=0.0005) for k in range(200)]
    window = traffic.cut(quick, OPEN)
    law = traffic.littles_law(quick, true_gauge(quick), window)
    assert law["holds"] is None, "half a millisecond cannot be seen by a gauge read every 10 ms"
    assert traffic.littles_law(quick, [], window)["holds"] is None


def test_the_cut_looks_at_the_order_and_never_at_results():
    requests = closed_run()
    slow = requests[50].recording
    requests[50] = replace(requests[50], recording=replace(slow, t_end_ns=slow.t_sent_ns + 60 * S))
    window = traffic.cut(requests, CLOSED)
    found = traffic.summarize(requests, CLOSED, true_gauge(requests))
    assert (window.first, window.last) == (10, 90) and found["latency_s"]["max"] == 60
    assert "whatever came of them" in window.rule
    few = requests[:29]
    assert traffic.cut(few, CLOSED).last == 29 and "takes 30 requests, there are 29" in traffic.cut(few, CLOSED).rule
    assert traffic.cut([], CLOSED).span_s == 0
    assert traffic.cut(open_run(), OPEN).first == 10 and traffic.cut(open_run(n=9), OPEN).last == 9


def test_percentiles_only_with_enough_requests():
    for n, withheld in ((28, ["p90", "p95", "p99"]), (58, ["p95", "p99"]), (298, ["p99"]), (299, [])):
        found = traffic.distribution(range(n), 0)
        assert [q for q in ("p90", "p95", "p99") if found[q] is None] == withheld
        assert bool(found["note"]) == bool(withheld) and found["max"] == n - 1 and found["n"] == n
    empty = traffic.distribution([None, None], 2)
    assert empty["mean"] is empty["p50"] is empty["max"] is None and (empty["n"], empty["n_failed"]) == (0, 2)


def test_requests_that_pile_up_are_seen_and_level_ones_are_not():
    served_5_a_second = open_run(lambda k: 0.2 + k / 10)  # at 10 a second: each waits for all before it
    found = traffic.summarize(served_5_a_second, OPEN, true_gauge(served_5_a_second))
    assert found["saturation"]["saturated"] is True and "piled up" in found["saturation"]["why"]
    assert traffic.judge(found, OPEN)[0] == "INCONCLUSIVE" and traffic.kept_up(found) is False
    level = traffic.summarize(open_run(), OPEN, true_gauge(open_run()))
    assert level["saturation"]["saturated"] is False and traffic.kept_up(level) is True
    assert level["due_per_s"] == pytest.approx(10) and level["requests_per_s"] == pytest.approx(10)


def test_a_queue_behind_one_slot_is_seen():
    """Ten at a time, one served at a time: Ollama's default turns concurrency into a queue."""
    requests = [made(k, max(0, k - 9) * 0.1, ttft_s=0.02 if k == 0 else min(k, 9) * 0.1 + 0.02,
                     latency_s=min(k + 1, 10) * 0.1) for k in range(100)]  # fmt: skip
    alone = made(0, 0, ttft_s=0.02, latency_s=0.1).recording
    found = traffic.summarize(requests, CLOSED, true_gauge(requests), alone=alone)
    assert found["saturation"]["saturated"] is True and "not the server faster" in found["saturation"]["why"]
    assert found["concurrency"]["answering"] == pytest.approx(0.8, rel=0.1)
    assert found["concurrency"]["waiting"] == pytest.approx(9.2, rel=0.1)
    state, reasons, notes = traffic.judge(found, CLOSED)
    assert state == "VALID" and any("saturated" in note for note in notes), "a limit is a result, not a fault"
    wide = traffic.summarize(closed_run(), CLOSED, true_gauge(closed_run()), alone=closed_run()[0].recording)
    assert wide["saturation"]["saturated"] is False


def test_a_slow_client_is_named():
    late = [made(k, k / 10, sent_s=k / 10 + 0.2, latency_s=0.5) for k in range(100)]
    found = traffic.summarize(late, OPEN, true_gauge(late))
    assert found["client"]["limited"] and "200 ms late on average, 29 %" in found["client"]["reasons"][0]
    assert found["response_time_s"]["p50"] == pytest.approx(0.7) and found["latency_s"]["p50"] == pytest.approx(0.5)
    assert "client limited" in traffic.judge(found, OPEN)[1][0]
    busy = traffic.summarize(open_run(), OPEN, true_gauge(open_run()), facts={"cpu_share": 0.97})
    assert "97 % of a core" in busy["client"]["reasons"][0]
    lag = traffic.summarize(open_run(), OPEN, true_gauge(open_run()), facts={"loop_lag_ms": {"mean": 20.0}})
    assert "ran 20.0 ms late" in lag["client"]["reasons"][0]
    assert not traffic.summarize(open_run(), OPEN, true_gauge(open_run()))["client"]["limited"]


def test_goodput_counts_failures_as_not_good():
    requests = [made(k, k / 10, ttft_s=0.1 if k % 2 else 0.3, failure="timeout" if k % 10 == 0 else None) for k in range(100)]
    found = traffic.summarize(requests, OPEN, true_gauge(requests), slo={"ttft_ms": 200})
    assert found["goodput"]["percent"] == 50 and found["goodput"]["requests_per_s"] == pytest.approx(5)
    strict = {"ttft_ms": 200, "latency_s": 0.5}
    assert traffic.summarize(requests, OPEN, (), slo=strict)["goodput"]["percent"] == 0
    one_token = Request(replace(requests[1].recording, counts={"output": Count(1, "server")}))
    assert traffic.meets(one_token, {"tpot_ms": 1.0}) is True, "one token has no time per token"
    uncounted = Request(replace(requests[1].recording, counts={}))
    assert traffic.meets(uncounted, {"tpot_ms": 1.0}) is None
    assert traffic.summarize(requests, OPEN)["goodput"] is None


def test_what_makes_a_run_doubtful():
    def judged(requests=None, schedule=CLOSED, doubts=(), **more):
        requests = closed_run(**more) if requests is None else requests
        found = traffic.summarize(requests, schedule, true_gauge(requests))
        return traffic.judge(found, schedule, doubts)

    assert judged()[0] == "VALID"
    assert "cache warm: 50" in judged(cached=10)[1][0]
    assert judged(doubts=["settings drift"])[:2] == ("INCONCLUSIVE", ["settings drift"])
    failing = [made(k, k / 10, failure="http_500" if k % 3 else None) for k in range(100)]
    assert judged(failing, OPEN)[0] == "INVALID"
    backwards = closed_run()
    backwards[3] = replace(backwards[3], recording=replace(backwards[3].recording, t_end_ns=0))
    assert "stamps contradict" in judged(backwards)[1][0]
    thin = [made(k, k * 0.1, latency_s=0.2) for k in range(100)]  # two in flight, where ten were asked for
    assert any("were in flight on average, 10 were asked for" in reason for reason in judged(thin)[1])


def test_kinds_of_failure():
    assert traffic.failure("error", status=429) == "http_429" and traffic.failure("error") == "error"
    assert traffic.failure("error", "unreadable") == "unreadable" and traffic.failure("empty") is None
    assert traffic.failure("timeout", "timeout", None) == "timeout" and traffic.failure("length") is None


def test_the_summary_can_be_read():
    requests = [made(k, k / 10, failure="timeout" if k % 50 == 0 else None) for k in range(100)]
    found = traffic.summarize(requests, OPEN, true_gauge(requests), slo={"ttft_ms": 200})
    head = {"model": "openai:m", "host": "http://h/v1", "profile": "constant", "meaning": "evenly", "folder": "x",
            "asked": {"rate": 10.0}}  # fmt: skip
    whole = {**dict(zip(("verdict", "reasons", "notes"), traffic.judge(found, OPEN))), **head, **found}
    text = traffic.as_text(whole)
    assert "errors: 2 timeout" in text and "goodput" in text and "10.0 became due" in text
    shown = [line for line in text.splitlines() if "(ms)" in line or "(s)" in line]
    assert len(shown) == 6 and all(line.split()[-2:] == ["79", "1"] for line in shown), "failures beside every latency"
    points = [{**traffic.point(whole), "kept_up": kept} for kept in (True, False)]
    swept = {"profile": "sweep", "model": "m", "points": points, "knee": {"requests_per_s": 1.0, "not_at": 2.0},
             "verdict": "VALID", "reasons": []}  # fmt: skip
    assert "Knee: it kept up with 1.00 requests a second, not with 2.00" in traffic.as_text(swept)


def test_the_knee():
    def at(rate, kept):
        return {"rate": rate, "kept_up": kept, "verdict": "VALID", "reasons": [], "profile": "constant"}

    points = [{**at(None, None)}, at(1.0, True), at(2.0, False), at(3.0, True)]
    assert traffic.knee(points) == {"requests_per_s": 1.0, "not_at": 2.0}, "what follows a failure does not count"
    assert traffic.knee(points[:2]) == {"requests_per_s": 1.0, "not_at": None}
    assert traffic.knee([]) == {"requests_per_s": None, "not_at": None}
    assert traffic.rates_between(None, 3.0, 5) == [] and traffic.rates_between(2.0, 12.0, 5) == [4, 6, 8, 10, 12]
    above = {**at(3.0, False), "verdict": "INVALID", "reasons": ["too much"]}
    assert traffic.judge_sweep([at(1.0, True), above]) == ("VALID", [])
    assert traffic.judge_sweep([{**above, "kept_up": True}]) == ("INVALID", ["constant 3.00: too much"])


def test_tokens_are_counted_where_they_came():
    window = Window(0, 1, 0, 1 * S, "")
    half = made(0, 0.5, ttft_s=0.0, latency_s=0.9, n=10)  # a token every 0.1 s from 0.5 s on; six by the end
    assert traffic.tokens_in([half], window) == pytest.approx(6, abs=1)
    failed = made(1, 0, failure="timeout")
    assert traffic.tokens_in([half, failed], window) == traffic.tokens_in([half], window)
    uncounted = replace(half, recording=replace(half.recording, counts={}))
    assert traffic.tokens_in([uncounted], window) is None


def test_a_gauge_read_unevenly_is_averaged_over_time():
    assert traffic.time_average([(0, 2), (10, 2), (30, 6), (40, 6)], 0, 40) == pytest.approx((20 + 80 + 60) / 40)
    assert traffic.time_average([(5, 1)], 0, 10) is None and traffic.time_average([], 0, 1) is None
    assert not math.isnan(traffic.time_average([(0, 1), (10, 1)], 0, 10))
