"""The scale itself: its formulas on made-up logs, and that a weighing is found only where it holds.

How fast this machine is decides nothing here: a slow one passes too.
"""

import json
from dataclasses import replace

import pytest

from benchkit import script, truth, weigh
from benchkit.backends import wire
from benchkit.errors import BenchkitError
from benchkit.recording import Chunk, Count, Recording

pytestmark = pytest.mark.real

MS = 1_000_000


def seen(request_id, first_ms, n=3, gap_ms=10.0, sent_ms=0.0, state="length", **more) -> Recording:
    """A client's side: `n` tokens, the first at `first_ms`."""
    chunks = [Chunk(round((first_ms - 1) * MS), "role", "", 9)]
    chunks += [Chunk(round((first_ms + i * gap_ms) * MS), "content", script.token(i), 3) for i in range(n)]
    return Recording(round(sent_ms * MS), chunks[-1].t_ns + MS, state, tuple(chunks), {"output": Count(n, "server")},
                     request_id=request_id, **more)  # fmt: skip


def logged(
    request_id, first_ms, n=3, gap_ms=10.0, read_ms=0.0, due_ms=None, ended="complete", **more
) -> dict:
    """The server's side of the same."""
    written = [round((first_ms + i * gap_ms) * MS) for i in range(n)]
    due = round((first_ms if due_ms is None else due_ms) * MS)
    return {
        "request_id": request_id, "t_read_ns": round(read_ms * MS), "ended": ended, "queue_ms": 0.0, "load_ms": 0.0,
        "written": {"t_ns": [round((first_ms - 2) * MS), *written, written[-1]],
                    "due_ns": [0, due, *written[1:], written[-1]],
                    "kind": ["role", *["content"] * n, "end"], "n_tokens": [0, *[1] * n, 0]},
        **more,
    }  # fmt: skip


def log_of(*rows) -> dict:
    return {row["request_id"]: row for row in rows}


# ---------------------------------------------------------------- the formulas


def test_reply_side_error_is_from_the_first_write_of_text_to_our_first_text():
    """Not from the request, not from the role chunk, and matched by request id, whatever the order."""
    recordings = [seen("a", 50.75, sent_ms=3), seen("b", 90.5)]
    log = log_of(logged("b", 90.0), logged("a", 50.5), logged("stranger", 1.0))
    assert weigh.reply_errors_ms(recordings, log) == [0.25, 0.5]


def test_request_side_delay_stands_apart():
    recordings = [seen("a", 50, sent_ms=10)]
    log = log_of(logged("a", 50, read_ms=12.5))
    assert weigh.request_delays_ms(recordings, log) == [2.5]
    assert weigh.reply_errors_ms(recordings, log) == [0.0]


def test_an_early_stamp_is_an_error_too():
    """A stamp before the server wrote is impossible; it must not cancel a late one."""
    errors = weigh.reply_errors_ms([seen("a", 9), seen("b", 11)], log_of(logged("a", 10), logged("b", 10)))
    assert errors == [-1.0, 1.0]
    assert weigh.spread(errors) == {"n": 2, "mean": 1.0, "p50": 1.0, "p99": None, "max": 1.0}


def test_the_servers_own_lateness_is_known():
    assert weigh.server_lateness_ms([logged("a", 52, due_ms=50)]) == [2.0]


def test_no_p99_of_too_few():
    """Trap: p99 of ten samples."""
    assert weigh.spread([1.0] * 298)["p99"] is None
    assert weigh.spread([1.0] * 299)["p99"] == 1.0
    assert weigh.spread([]) == {"n": 0, "mean": None, "p50": None, "p99": None, "max": None}


def test_what_has_no_text_has_no_error_and_is_counted_as_failed():
    empty = Recording(0, MS, "timeout", request_id="a")
    log = log_of(logged("a", 10))
    assert weigh.reply_errors_ms([empty, seen("unknown", 5)], log) == []
    one = weigh.Round(
        "ollama", "lock_step", [empty, seen("b", 10)], log_of(logged("a", 10), logged("b", 10)), 0
    )
    with_failure = weigh._both_sides([one], 3)
    assert (with_failure["n_requests"], with_failure["n_failed"]) == (2, 1)
    assert with_failure["states"] == {"timeout": 1, "length": 1}


@pytest.mark.parametrize(
    "wrong",
    [{"state": "truncated"}, {"counts": {"output": Count(2, "server")}}, {"counts": {}},
     {"chunks": seen("a", 10, n=4).chunks}, {"chunks": seen("a", 10).chunks[:-1]}],
)  # fmt: skip
def test_a_reply_is_right_only_if_every_token_is_there_once_and_counted(wrong):
    log = log_of(logged("a", 10))
    assert weigh.is_right(seen("a", 10), log, 3)
    assert not weigh.is_right(replace(seen("a", 10), **wrong), log, 3)
    assert not weigh.is_right(seen("a", 10), log_of(logged("a", 10, ended="drop")), 3)
    assert not weigh.is_right(seen("a", 10), {}, 3)


def test_the_chunk_rate_is_that_of_all_streams_together():
    assert weigh.chunks_per_s([seen("a", 10, gap_ms=20), seen("b", 10, gap_ms=20)], 32) == pytest.approx(1600)
    assert weigh.chunks_per_s([seen("a", 10, n=1)], 32) is None


# ---------------------------------------------------------------- the ledger against the log


def timed(**wrong) -> tuple[Recording, dict]:
    """Sent at 1, read at 3, 4 queueing, 5 loading, first text at 50, last at 70, its end here at 72 ms."""
    figures = {
        "queue": 4,
        "load_duration": 5,
        "prompt_eval_duration": 38,
        "eval_duration": 20,
        "eval_count": 3,
    } | wrong
    figures["total_duration"] = figures.pop("queue") + sum(
        v for k, v in figures.items() if k.endswith("duration")
    )
    timings = {k: v * MS if k.endswith("duration") else v for k, v in figures.items()}
    recording = replace(seen("a", 50.5), t_sent_ns=MS, t_end_ns=72 * MS, server_timings=timings)
    return recording, logged("a", 50, read_ms=3, queue_ms=4.0, load_ms=5.0)


def test_every_part_of_a_right_ledger_agrees_with_the_log():
    differences = weigh.ledger_differences_ms(*timed())
    assert list(differences) == ["queue", "load", "prefill", "decode", "delivery + unexplained"]
    assert all(abs(ms) < 1e-6 for ms in differences.values())


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("queue", "queue"),
        ("load_duration", "load"),
        ("prompt_eval_duration", "prefill"),
        ("eval_duration", "decode"),
    ],
)
def test_a_ledger_that_is_wrong_is_wrong_by_as_much(field, part):
    right = {"queue": 4, "load_duration": 5, "prompt_eval_duration": 38, "eval_duration": 20}[field]
    differences = weigh.ledger_differences_ms(*timed(**{field: right + 7}))
    assert differences.pop(part) == pytest.approx(7)
    assert differences.pop("delivery + unexplained") == pytest.approx(-7)  # the residual shows it
    assert all(abs(ms) < 1e-6 for ms in differences.values())


def test_a_part_that_no_engine_tells_is_in_the_remainder():
    recording, row = timed()
    differences = weigh.ledger_differences_ms(replace(recording, server_timings={}), row)
    assert list(differences) == ["delivery + unexplained"]
    assert abs(differences["delivery + unexplained"]) < 1e-6


@pytest.mark.parametrize("protocol", weigh.PROTOCOLS)
def test_ledgers_of_real_requests_agree_within_2_ms(protocol):
    path, body, options = weigh.request(protocol, 20.0, 2.0, 5)
    parts = {"queue_ms": 4, "load_ms": 3} if protocol == "ollama" else {}
    with truth.running() as url, wire.LoopThread() as thread:
        client = wire.Wire(url)
        body["truth"] |= parts
        exchange = thread.run(client.send(path, body, timeout_s=60, request_id="one"))
        thread.run(client.close())
        row = truth.read_log(url)["one"]
    recording = weigh.MODULES[protocol].parse(exchange, options)
    assert weigh.is_right(recording, {"one": row}, 5)
    differences = weigh.ledger_differences_ms(recording, row)
    assert len(differences) == (5 if protocol == "ollama" else 3)
    assert all(abs(ms) <= 2 for ms in differences.values()), differences


# ---------------------------------------------------------------- where a weighing holds


HERE = {
    "schema": weigh.SCHEMA,
    "machine": {"cpu": "Abacus 2", "usable_cores": 2},
    "versions": {"python": "3.11", "uvloop": "0.22"},
}


def side(mean=0.4, n=640, failed=0) -> dict:
    some = {"n": n, "mean": mean, "p50": mean, "p99": 2 * mean, "max": 3 * mean}
    return {"n_requests": n, "n_failed": failed, "states": {"length": n - failed}, "reply_error_ms": some,
            "request_delay_ms": some, "server_late_ms": some, "ledger_error_ms": 0.0}  # fmt: skip


def weighing(*streams, mean=0.4, failed=0, **more) -> dict:
    cpu = {"us_per_token": 20.0, "bare_us_per_token": 10.0, "ratio": 2.0, "bare_reply_error_ms": 0.3}
    rows = [{"n_streams": n, "chunks_per_s": 50.0 * n, **side(mean, failed=failed), "cpu": {"ollama": cpu, "openai": cpu},
             "cpu_ratio": 2.0, "starts": {"lock_step": side(mean), "staggered": side(mean)}} for n in streams]  # fmt: skip
    asked = {"ttft_ms": 200.0, "gap_ms": 20.0, "n_tokens": 32, "protocols": ["ollama", "openai"]}
    return {"created": "2026-01-02T03:04:05+00:00", "took_s": 60.0, "busy_share": 0.02,
            "settings": asked, "rows": rows, **HERE, **more}  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(weigh, "what_it_holds_for", lambda: HERE)
    return tmp_path


def test_a_weighing_is_found_where_it_holds(cache):
    weigh._save(weighing(1, 32))
    found = weigh.holding_weighing(32, 1500.0)
    assert found["n_streams"] == 32 and found["created"] == "2026-01-02T03:04:05+00:00"
    assert found["machine"] == HERE["machine"] and found["settings"]["gap_ms"] == 20.0


@pytest.mark.parametrize(
    ("n_streams", "rate", "here"),
    [(31, 100, HERE), (33, 100, HERE), (32, 1600 * 1.11, HERE), (32, None, HERE),
     (32, 1600, HERE | {"machine": {"cpu": "Abacus 3"}}), (32, 1600, HERE | {"versions": {"python": "3.12"}})],
)  # fmt: skip
def test_it_is_not_found_where_it_does_not_hold(cache, monkeypatch, n_streams, rate, here):
    """Another number of streams, a higher chunk rate, another machine, another version: scale not weighed."""
    weigh._save(weighing(1, 32))
    monkeypatch.setattr(weigh, "what_it_holds_for", lambda: here)
    assert weigh.holding_weighing(n_streams, rate) is None


def test_a_weighing_that_lost_replies_does_not_hold(cache):
    weigh._save(weighing(32, failed=1))
    assert weigh.holding_weighing(32, 1600.0) is None


def test_the_last_one_that_holds_is_taken(cache):
    weigh._save(weighing(32, mean=0.9))
    weigh._save(weighing(32, mean=0.5))
    weigh._save(weighing(1))
    assert weigh.holding_weighing(32, 1600.0)["reply_error_ms"]["mean"] == 0.5


def test_old_and_broken_files_do_no_harm(cache):
    assert weigh.holding_weighing(1, 50.0) is None
    for _ in range(weigh.KEPT + 3):
        weigh._save(weighing(1))
    files = sorted((cache / "weighings").glob("*.json"))
    assert len(files) == weigh.KEPT
    for broken in (
        '{"schema"',
        "[]",
        json.dumps(HERE),
        json.dumps(HERE | {"schema": "another", "rows": [{}]}),
    ):
        files[-1].write_text(broken)
        assert weigh.holding_weighing(1, 50.0)["n_streams"] == 1


def test_what_it_holds_for_names_the_instruments_own_code():
    here = weigh.what_it_holds_for()
    assert here == weigh.what_it_holds_for() == json.loads(json.dumps(here))
    assert len(here["versions"]["instrument"]) == 12 and "uvloop" in here["versions"]


# ---------------------------------------------------------------- the two readers, and the whole


def test_starts_are_in_lock_step_or_evenly_spread():
    assert weigh.start_times_ns(3, "lock_step", 200.0) == [0, 0, 0]
    assert weigh.start_times_ns(4, "staggered", 200.0) == [0, 50 * MS, 100 * MS, 150 * MS]


@pytest.mark.parametrize("wrong", [{"streams": (0,)}, {"streams": ()}, {"streams": (2.5,)}, {"streams": (10**6,)},
                                   {"n_tokens": 1}, {"ttft_ms": -1.0}])  # fmt: skip
def test_what_cannot_be_weighed_is_refused_before_anything_starts(wrong, monkeypatch):
    monkeypatch.setattr(truth, "running", None)
    with pytest.raises(BenchkitError):
        weigh.weigh(**wrong)


def test_a_whole_weighing_of_a_few_streams(cache, monkeypatch):
    """Everything that is sent comes back, from both protocols, both ways to start, through the real instrument."""
    monkeypatch.setattr(weigh, "rounds", lambda n_streams: 1)
    said = []
    found = weigh.weigh(streams=(1, 3), ttft_ms=10.0, gap_ms=2.0, n_tokens=4, say=said.append)
    assert found == json.loads(json.dumps(found))
    assert said == ["weighing with 1 stream …", "weighing with 3 streams …"]
    one, three = found["rows"]
    assert list(one["starts"]) == ["lock_step"] and list(three["starts"]) == ["lock_step", "staggered"]
    assert (one["n_requests"], three["n_requests"]) == (2, 12)
    for row in found["rows"]:
        assert row["n_failed"] == 0 and row["states"] == {"length": row["n_requests"]}
        assert row["reply_error_ms"]["n"] == row["request_delay_ms"]["n"] == row["n_requests"]
        assert row["ledger_error_ms"] <= 2
        assert set(row["cpu"]) == set(weigh.PROTOCOLS)
    assert weigh.holding_weighing(3, three["chunks_per_s"])["reply_error_ms"] == three["reply_error_ms"]
    assert "3  staggered" in weigh.as_text(found)


def test_the_page_reads_the_figures():
    text = weigh.as_text(weighing(1, 32, 128))
    assert "With 32 streams, a time to first token is read 0.400 ms too long on average" in " ".join(
        text.split()
    )
    assert "reached" in text and "not reached" not in text and max(map(len, text.splitlines())) <= 110
    worse = " ".join(weigh.as_text(weighing(32, mean=0.9, busy_share=0.9)).split())
    assert "0.500; not reached" in worse and "close them, and weigh again" in worse
    assert "did not come whole" in " ".join(weigh.as_text(weighing(32, failed=2)).split())
