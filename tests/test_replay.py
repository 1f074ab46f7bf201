"""A recorded run played again: the sample's own replies, with every duration as it was measured."""

import time

import pytest

from benchkit import metrics, places, runs
from benchkit.backends import Options
from benchkit.backends.base import Backend
from benchkit.backends.replay import ReplayBackend, difference, shifted, split_name
from benchkit.errors import BenchkitError, ModelError
from benchkit.recording import Chunk, Recording

pytestmark = pytest.mark.real

SAMPLE = places.OUTPUTS / "sample"
NAME = "gguf:pocket-s"
GREEDY = Options(max_tokens=1000)


@pytest.fixture(scope="module")
def run():
    return runs.open_run(SAMPLE)


@pytest.fixture(scope="module")
def model():
    with ReplayBackend(f"replay:{SAMPLE}#{NAME}", SAMPLE, at_once=True) as backend:
        yield backend


@pytest.fixture(scope="module")
def rows(run):
    """The natural replies of one model that ended by themselves: prompt → its trials."""
    found = {}
    for row in run.artifacts():
        if row["configuration"] == NAME and row["purpose"] == "quality" and row["recording"]["state"] == "ok":
            found.setdefault(row["prompt"], []).append(row)
    return found


# -- what is played -------------------------------------------------------------------------------


def test_every_figure_of_a_replayed_reply_is_that_of_the_recorded_one(rows):
    model = ReplayBackend(f"replay:{SAMPLE}#{NAME}", SAMPLE, at_once=True)
    for prompt, trials in rows.items():
        then, now = Recording.from_dict(trials[0]["recording"]), model.stream(prompt, GREEDY)
        assert metrics.measure(now) == metrics.measure(then)
        assert now.response == trials[0]["response"]
        assert [c.t_ns - now.t_sent_ns for c in now.chunks] == [c.t_ns - then.t_sent_ns for c in then.chunks]


def test_the_clock_begins_now_for_the_engines_own_stamps_too(model, rows):
    before = time.perf_counter_ns()
    recording = model.stream(next(iter(rows)), GREEDY)
    assert before <= recording.t_sent_ns <= time.perf_counter_ns()
    assert recording.t_sent_ns < recording.server_timings["t_received_ns"] < recording.t_end_ns


def test_trials_are_played_in_turn(model, rows):
    prompt, trials = next(iter(rows.items()))
    played = [metrics.latency_s(model.stream(prompt, GREEDY)) for _ in range(2 * len(trials))]
    assert len(trials) == 3 and played[:3] == played[3:]
    assert sorted(played[:3]) == sorted(row["latency_s"] for row in trials)


def test_a_forced_length_is_answered_by_a_forced_length(model, run):
    row = next(r for r in run.artifacts() if r["configuration"] == NAME and r["purpose"] == "speed")
    options = Options(max_tokens=row["options"]["max_tokens"], ignore_eos=True, raw=True)
    assert model.stream(row["prompt"], options).response == row["response"]
    assert model.stream(row["prompt"], Options(raw=True)).state == "error"


def test_it_is_a_backend_that_says_where_its_figures_come_from(model, run):
    facts = model.describe()
    assert isinstance(model, Backend)
    assert facts["digest"] == run.manifest["models"][NAME]["digest"]
    assert facts["replay"]["run"] == "sample" and facts["replay"]["cpu"]
    assert model.load_s == run.manifest["models"][NAME]["load_s"]
    assert model.pids() == [] and model.snapshot() == {}


# -- when it is played ----------------------------------------------------------------------------


def slow_reply(folder, pause_ms=120):
    """A run of one reply that took 600 ms: a copy of a sample's, with its times drawn apart."""
    source = next(r for r in runs.open_run(SAMPLE).artifacts() if r["purpose"] == "quality")
    chunks = [Chunk((i + 1) * pause_ms * 10**6, "content", text, 1) for i, text in enumerate("abcd")]
    recording = Recording(0, 600_000_000, "ok", tuple(chunks), started_at="2026-01-01T00:00:00+00:00")
    row = {key: value for key, value in source.items() if key != "file"}
    row |= {"response": "abcd", "recording": recording.to_dict(), "prompt": "slow"}
    folder.mkdir()
    runs.write_json(folder / "manifest.json", runs.open_run(SAMPLE).manifest)
    runs.write_json(folder / source["file"], row)
    return folder


def test_with_its_original_timing_text_appears_when_it_did(tmp_path):
    with ReplayBackend("replay:slow", slow_reply(tmp_path / "slow")) as model:
        began, shown = time.perf_counter(), []
        recording = model.stream(
            "slow", GREEDY, on_text=lambda text: shown.append((time.perf_counter_ns(), text))
        )
    assert time.perf_counter() - began >= 0.6
    assert metrics.latency_s(recording) == 0.6, "the recorded time, not that of the playing"
    assert [text for _, text in shown] == list("abcd")
    for (t_shown, _), chunk in zip(shown, recording.chunks):
        assert t_shown >= chunk.t_ns


def test_text_is_passed_on_at_most_ten_times_a_second(tmp_path):
    shown = []
    with ReplayBackend("replay:slow", slow_reply(tmp_path / "slow", pause_ms=60)) as model:
        model.stream("slow", GREEDY, on_text=shown.append)
    assert shown == ["a", "bc", "d"]


def test_at_once_waits_for_nothing(tmp_path):
    with ReplayBackend("replay:slow", slow_reply(tmp_path / "slow"), at_once=True) as model:
        began, shown = time.perf_counter(), []
        recording = model.stream("slow", GREEDY, on_text=shown.append)
    assert time.perf_counter() - began < 0.5
    assert shown == ["abcd"] and metrics.latency_s(recording) == 0.6


# -- what is not played ---------------------------------------------------------------------------


def test_a_prompt_that_was_not_asked_is_an_error_that_says_what_was(model, rows):
    near = model.stream(next(iter(rows)) + "?", GREEDY)
    assert near.state == "error" and "did you mean" in near.error and "prompts" in near.error
    assert not near.chunks and near.response == ""
    assert model.stream("☃" * 5000, GREEDY).state == "error"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(max_tokens=1), "max_tokens"),
        (Options(max_tokens=1000, temperature=0.7), "temperature=0.0; with temperature=0.7"),
        (Options(max_tokens=1000, raw=True), "raw=False"),
        (Options(max_tokens=1000, cache="warm"), "cache='cold'"),
        (Options(max_tokens=1000, timeout_s=0.001), "more than timeout_s=0.001"),
    ],
)
def test_options_under_which_it_could_have_been_another_reply(model, rows, options, words):
    recording = model.stream(next(iter(rows)), options)
    assert recording.state == "error" and words in recording.error


def test_at_temperature_0_the_seed_does_not_matter(model, rows):
    assert model.stream(next(iter(rows)), Options(max_tokens=1000, seed=7, top_k=1)).state == "ok"


def test_a_reply_cut_at_the_limit_is_played_only_under_that_limit(run):
    row = next(
        r for r in run.artifacts() if r["recording"]["state"] == "length" and not r["options"].get("raw")
    )
    limit = row["options"]["max_tokens"]
    assert difference(row, Options(max_tokens=limit)) is None
    assert "max_tokens" in difference(row, Options(max_tokens=limit + 1))


def test_a_run_of_several_models_asks_which(tmp_path):
    with pytest.raises(ModelError, match="which of its configurations.*gguf:pocket-xs"):
        ReplayBackend(f"replay:{SAMPLE}", SAMPLE)
    with pytest.raises(ModelError, match='there is no gguf:pocket-z.*did you mean "gguf:pocket-'):
        ReplayBackend(f"replay:{SAMPLE}#gguf:pocket-z", SAMPLE)
    with pytest.raises(BenchkitError, match="does not exist"):
        ReplayBackend("replay:nowhere", tmp_path / "nowhere")


def test_a_closed_replay_says_so(tmp_path):
    with ReplayBackend("replay:slow", slow_reply(tmp_path / "slow")) as model:
        pass
    with pytest.raises(ModelError, match="closed"):
        model.stream("anything")


def test_a_folder_may_have_the_sign_in_its_name(tmp_path):
    (tmp_path / "a#b").mkdir()
    assert split_name(f"{tmp_path}/a#b") == (f"{tmp_path}/a#b", None)
    assert split_name(f"{tmp_path}/a#b#gguf:x") == (f"{tmp_path}/a#b", "gguf:x")


def test_shifting_back_and_forth_changes_nothing(run):
    for row in run.artifacts()[:20]:
        recording = Recording.from_dict(row["recording"])
        assert shifted(shifted(recording, 5), recording.t_sent_ns) == recording
