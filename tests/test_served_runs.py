"""Runs on servers: a record that drifts, a server that goes away, a scale that was not weighed."""

from __future__ import annotations

import pytest
from fake_backend import FakeBackend, connector

from benchkit import bench, judge, rows, runs, truth, weigh
from benchkit.errors import BenchkitError, ModelError
from benchkit.plan import make_plan, read_plan
from benchkit.recording import Recording

pytestmark = pytest.mark.real

QUESTIONS = [f"What is {i} plus {i}?" for i in range(12)]
RECORD = {"digest": "d0", "context_length": 4096}


@pytest.fixture
def prompts(tmp_path):
    (tmp_path / "p.txt").write_text("\n".join(QUESTIONS) + "\n", encoding="utf-8")
    return str(tmp_path / "p.txt")


@pytest.fixture
def measured(monkeypatch, prompts, tmp_path):
    """Measure fake models whose server says what `server` gives each time it is asked."""
    monkeypatch.setattr(bench, "FRESH_S", 0.0)
    monkeypatch.setattr(bench, "PATIENCE_S", (0.0, 0.0))

    def measure(server, models="fake:a", **settings):
        connect = connector(server=server)
        monkeypatch.setattr(bench.backends, "connect", connect)
        return bench.run(make_plan(models, prompts, trials=1, **settings), tmp_path / "run", progress=False)

    return measure


def asked():
    return [row for row in FakeBackend.log if row[1] != bench.WARM_UP_PROMPT]


def test_a_record_that_drifts_voids_the_block_and_the_next_one_begins_warm(measured):
    def server(_):
        return {**RECORD, "context_length": 4096 if len(asked()) < 5 else 2048}

    run = measured(server)
    blocks = [artifact["block"] for artifact in run.artifacts()]
    by_id = {b["id"]: b for b in blocks}
    assert len(by_id) == 3, "two turns, one of them in two parts"
    assert [b.get("drift") for b in blocks].count(["context_length was 4096, is 2048 now"]) == 1
    table = rows.results(run)
    assert table["block_void"].fillna(False).sum() == 5, "what was measured until then, and nothing after"
    assert "settings drift: context_length was 4096, is 2048 now" in str(judge.verdict(run))
    warm_ups = [i for i, row in enumerate(FakeBackend.log) if row[1] == bench.WARM_UP_PROMPT]
    assert any(FakeBackend.log[i + 1][1] == QUESTIONS[5] for i in warm_ups)


def test_a_server_that_does_not_answer_once_is_asked_again(measured):
    looks = []

    def server(_):
        looks.append(1)
        if len(looks) == 4:
            raise ModelError("a hiccup")
        return RECORD

    run = measured(server)
    assert run.status["state"] == "complete" and len(run.artifacts()) == 12 and not run.failed


def test_a_server_that_goes_away_stops_its_model_only_and_the_same_command_continues(measured):
    def gone(_):
        if len(asked()) >= 5:
            raise ModelError("nobody answers at http://127.0.0.1:9")
        return RECORD

    run = measured(gone)
    assert len(run.artifacts()) == 5, "what was measured is kept"
    assert "nobody answers" in run.failed["fake:a"] and "did not tell its record" in str(judge.verdict(run))
    again = measured(lambda _: RECORD)
    assert len(again.artifacts()) == 12 and not again.failed


def test_a_server_with_room_for_one_model_gets_one_at_a_time(measured):
    run = measured(lambda backend: RECORD if backend is bench.backends.connect.opened[-1] else {}, "fake:a,fake:b")
    assert run.manifest["sessions"][-1]["policy"] == "one load a block"
    assert len(run.artifacts()) == 24 and not run.failed
    assert not any(artifact["block"].get("drift") for artifact in run.artifacts())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"model": "gguf:pocket-s", "host": "http://127.0.0.1:1"}, ["models[0].host", "on a server"]),
        ({"model": "openai:m", "host": 8080}, ["models[0].host", "text"]),
    ],
)
def test_a_host_that_makes_no_sense_is_refused(entry, words):
    with pytest.raises(BenchkitError) as caught:
        read_plan({"models": [entry], "prompts": "course"})
    assert all(word in str(caught.value) for word in words)


def test_the_same_model_on_two_servers_is_measured_twice(prompts):
    here, there = (make_plan("openai:m", prompts, host=f"http://h{i}/v1", trials=1) for i in (1, 2))
    assert here.sha256 != there.sha256
    assert {t.key for t in here.tests()}.isdisjoint(t.key for t in there.tests())
    assert read_plan(here.to_dict()) == here


def test_a_host_is_for_models_on_servers_only(prompts):
    plan = make_plan("ollama:m,gguf:pocket-s", prompts, host="http://h:1")
    assert [m.host for m in plan.models] == ["http://h:1", None]


def test_a_reply_of_forced_length_that_ended_early_does_not_decide_speed(measured):
    run = measured(lambda _: RECORD, speed={"n_output": 4, "repeats": 6})
    artifact = next(run.folder.glob("speed/*.json"))
    text = artifact.read_text("utf-8").replace('"state": "length"', '"state": "ok"')
    artifact.write_text(text, encoding="utf-8")
    table = rows.results(runs.open_run(run.folder))
    assert (table["purpose"] == "cut short").sum() == 1 and (table["purpose"] == "speed").sum() == 5
    assert "1 reply of forced length ended early" in " ".join(judge.verdict(run.folder).notes)


def test_a_run_on_a_server_names_the_weighing_that_holds_for_it(prompts, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bench, "FRESH_S", 0.0)
    with truth.running(ttft_ms=5, gap_ms=5, n_tokens=8) as url:
        plan = make_plan("openai:truth", prompts, host=f"{url}/v1", trials=1, max_tokens=8)
        run = bench.run(plan, tmp_path / "run", progress=False)
        (entry,) = run.manifest["models"].values()
        assert entry["host"] == f"{url}/v1" and 100 < entry["chunks_per_s"] < 300
        assert "scale not weighed" in str(judge.verdict(run)) and "benchkit weigh --streams 1" in str(judge.verdict(run))
        weigh.weigh(streams=(1,), ttft_ms=5, gap_ms=4, n_tokens=8)
        again = bench.run(plan, tmp_path / "run", progress=False)
    assert "scale not weighed" not in str(judge.verdict(again))
    error_ms = rows.results(again)["instrument_error_ms"]
    assert error_ms.notna().all() and 0 <= error_ms.iloc[0] < 50


def test_what_never_had_a_text_has_no_rate():
    silent = Recording(t_sent_ns=0, t_end_ns=9, state="empty")
    assert weigh.chunks_per_s([silent], n_streams=1) is None
