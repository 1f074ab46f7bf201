"""What servers and networks do wrong, on both protocols: the right state, in time, and the next one works."""

import math
import time
from dataclasses import replace

import pytest
from faulty_server import FAULTS, MODEL, FaultyServer

from benchkit import metrics
from benchkit.backends import Options, served, wire
from benchkit.backends.base import Backend
from benchkit.backends.ollama import OllamaBackend
from benchkit.backends.openai_compatible import OpenAIBackend
from benchkit.errors import ModelError
from benchkit.recording import STATES, Recording

pytestmark = pytest.mark.real

KEY = "sk-very-secret-0123456789"
PLENTY = Options(timeout_s=30, cache="warm")
SHORT = replace(PLENTY, timeout_s=0.3)
LATE_S = 25.0  # what a busy test machine may add

#: fault: (state, text, words in the error)
EXPECTED = {
    "reset_before_the_answer": ("disconnected", "", "before it answered"),
    "closed_before_the_answer": ("disconnected", "", "before it answered"),
    "closed_inside_the_headers": ("disconnected", "", "before it answered"),
    "reset_between_chunks": ("disconnected", "Hello, ", "in the middle of its answer"),
    "reset_inside_a_chunk": ("disconnected", "Hello, ", "in the middle of its answer"),
    "closed_without_an_end": ("disconnected", "Hello, ", "in the middle of its answer"),
    "ended_without_a_reason": ("truncated", "Hello, ", "no finish reason"),
    "closed_after_the_last_line": ("ok", "Hello, world", None),
    "half_a_character": ("truncated", "Hello, ", "middle of a line"),
    "half_a_character_in_a_whole_line": ("ok", "Hello, \ufffd", None),
    "half_a_json_line": ("truncated", "Hello, ", "middle of a line"),
    "ten_megabytes_in_a_line": ("ok", "x" * 10_000_000, None),
    "more_than_we_take": ("error", "Hello, ", "larger than 64 MiB"),
    "garbage": ("error", "", "proper HTTP"),
    "garbage_in_the_stream": ("error", "Hello, ", "not of its protocol"),
    "html_instead_of_json": ("error", "", "web page"),
    "html_error_page": ("error", "", "502 (Bad Gateway)"),
    "no_such_model": ("error", "", "model 'nobody' not found"),
    "key_is_wrong": ("error", "", "BENCHKIT_API_KEY"),
    "too_many_requests": ("error", "", "slow down"),
    "queue_is_full": ("error", "", "busy"),
    "redirect": ("error", "", "http://elsewhere.example/steal?it"),
    "slow_trickle": ("ok", "Hello, world", None),
    "endless_trickle": ("timeout", "Hello, ", "0.3 s"),
    "stall": ("timeout", "Hello, ", "0.3 s"),
    "stall_before_the_answer": ("timeout", "", "0.3 s"),
    "empty_reply": ("empty", "", None),
    "empty_body": ("truncated", "", "no finish reason"),
    "missing_usage": ("ok", "Hello, world", None),
    "usage_twice": ("ok", "Hello, world", None),
    "negative_durations": ("ok", "Hello, world", None),
    "zero_durations": ("ok", "Hello, world", None),
    "absurd_figures": ("ok", "Hello, world", None),
    "error_inside_a_200": ("error", "Hello, ", "the GPU[31m fell off"),
    "done_with_no_reason": ("truncated", "Hello, ", "no finish reason"),
    "promises_too_much": ("disconnected", "Hello, ", "in the middle"),
    "promises_too_little": ("truncated", "Hello, ", "no finish reason"),
    "compressed": ("error", "", "compressed"),
    "the_reason_is_strange": ("truncated", "Hello, ", "content_filter"),
    "says_continue_first": ("ok", "Hello, world", None),
    "closes_after_each_reply": ("ok", "Hello, world", None),
    "old_http": ("ok", "Hello, world", None),
}  # fmt: skip
TIMEOUTS = [name for name, (state, *_) in EXPECTED.items() if state == "timeout"]


def connect(server, protocol):
    if protocol == "ollama":
        return OllamaBackend(f"ollama:{MODEL}", MODEL, server.url)
    return OpenAIBackend(f"openai:{MODEL}", MODEL, server.url, api_key=KEY)


@pytest.fixture(scope="module")
def server():
    with FaultyServer() as server:
        yield server


@pytest.fixture(scope="module", params=["ollama", "openai"])
def model(request, server):
    with connect(server, request.param) as model:
        yield model


def test_the_matrix_is_whole():
    assert set(EXPECTED) | {"repeats_the_key"} == set(FAULTS) and len(EXPECTED) >= 24


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_ends_in_its_state_in_time_and_the_next_request_works(model, fault):
    state, text, words = EXPECTED[fault]
    options = SHORT if fault in TIMEOUTS else PLENTY
    began = time.monotonic()
    recording = model.stream(fault, options)
    assert time.monotonic() - began < (options.timeout_s if fault in TIMEOUTS else 0) + LATE_S
    assert (recording.state, recording.response) == (state, text), recording.error
    assert (words in recording.error) if words else recording.error is None
    check(recording)
    after = model.stream("and now?", PLENTY)
    assert (after.state, after.response) == ("ok", "Hello, world"), after.error


def check(recording):
    """What holds for every recording, however it ended."""
    assert recording.state in STATES and metrics.clock_faults(recording) == []
    assert Recording.from_dict(recording.to_dict()) == recording
    assert KEY not in repr(recording) and KEY not in str(recording.to_dict())
    measured = [v for v in metrics.measure(recording).values() if isinstance(v, (int, float))]
    assert all(math.isfinite(value) and value >= 0 for value in measured)


def test_a_timeout_is_charged_with_its_whole_time(model):
    recording = model.stream("stall", SHORT)
    assert (
        0.298 <= metrics.latency_s(recording) < 0.3 + LATE_S  # uvloop counts whole milliseconds
        and metrics.ttft_ms(recording) < 300 + 1000 * LATE_S
    )
    assert recording.counts == {} and metrics.tpot_ms(recording) is None


def test_figures_that_cannot_be_are_kept_apart_and_used_by_no_formula(model):
    for fault in ("negative_durations", "absurd_figures"):
        recording = model.stream(fault, PLENTY)
        assert metrics.engine_times(recording) == metrics.EngineTimes()
        assert "impossible" in recording.server_timings or fault == "absurd_figures"
    assert model.stream("zero_durations", PLENTY).server_timings
    assert metrics.engine_decode_tokens_per_s(model.stream("zero_durations", PLENTY)) is None


def test_the_last_of_two_counts_holds_and_a_missing_one_is_unknown_not_zero(model):
    assert model.stream("usage_twice", PLENTY).counts["output_reported"].value == 4
    assert model.stream("missing_usage", PLENTY).counts == {}


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_a_server_that_is_gone_is_a_recording_and_one_that_is_back_works(protocol, monkeypatch):
    monkeypatch.setattr(wire, "IDLE_S", 0.05)
    with FaultyServer() as first:
        model = connect(first, protocol)
        assert model.stream("hello", PLENTY).state == "ok"
    time.sleep(0.1)  # the old connection is not used again
    gone = model.stream("hello", PLENTY)
    assert gone.state in ("error", "disconnected") and not gone.chunks
    assert gone.state == "disconnected" or "No server answers at" in gone.error
    with FaultyServer(first.port), model:
        assert model.stream("hello", PLENTY).state == "ok"


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_connecting_to_nothing_says_how_to_start_a_server(protocol):
    with FaultyServer() as gone:
        pass
    with pytest.raises(ModelError, match="No server answers at http://127.0.0.1:.*[Ss]tart"):
        connect(gone, protocol)


def test_a_step_of_the_wall_clock_changes_no_duration(model, monkeypatch):
    class Stepping(served.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(1999, 1, 1, tzinfo=tz)

    monkeypatch.setattr(served, "datetime", Stepping)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    recording = model.stream("hello", PLENTY)
    assert recording.state == "ok" and recording.started_at.startswith("1999")
    assert 0 < metrics.latency_s(recording) < LATE_S and not metrics.clock_faults(recording)


def test_a_key_that_the_server_repeats_is_blotted_out_even_in_pieces(server):
    with connect(server, "openai") as model:
        said = model.stream("repeats_the_key", PLENTY)
        assert said.response == f"{'*' * len(KEY)} and {'*' * len(KEY)}" and said.state == "ok"
        wrong = model.stream("key_is_wrong", PLENTY)
        assert "Incorrect API key provided: Bearer ***" in wrong.error
        assert any(
            KEY in headers["authorization"] for _, headers, _ in server.requests if "authorization" in headers
        )
        assert KEY not in f"{model.describe()} {model!r} {model._wire!r} {model.snapshot()}"


def test_live_text_adds_up_also_when_it_is_cut_off(model):
    for fault in ("hello", "slow_trickle", "reset_between_chunks", "stall", "half_a_character"):
        shown = []
        recording = model.stream(fault, SHORT if fault == "stall" else PLENTY, on_text=shown.append)
        assert "".join(shown) == recording.response


def test_an_error_in_on_text_leaves_a_model_that_works(model):
    def fail(text):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.stream("stall", PLENTY, on_text=fail)
    assert model.stream("hello", PLENTY).state == "ok"


# ---- the backends themselves ------------------------------------------------------------------------


def test_what_a_recording_and_a_manifest_hold(model, server):
    recording = model.stream("hello", PLENTY)
    assert isinstance(model, Backend) and model.pids() == []
    assert [c.text for c in metrics.text_chunks(recording)] == ["Hel", "lo, ", "world"]
    assert recording.chunks_are_tokens and recording.counts["output"].value == 3
    assert recording.counts["output"].source == "server" and recording.cache is None
    assert recording.t_sent_ns < recording.t_headers_ns <= recording.t_first_byte_ns <= recording.t_end_ns
    assert recording.request_id in [headers["x-request-id"] for _, headers, _ in server.requests]
    facts = model.describe()
    assert facts["host"].startswith(server.url) and facts["name"] == model.name


def test_ollama_is_unloaded_before_it_is_loaded_and_asked_for_a_cold_cache():
    with FaultyServer() as server:
        with OllamaBackend("ollama:tiny", "tiny", server.url, n_ctx=512) as model:
            paths = [path for path, *_ in server.requests]
            bodies = [body for path, _, body in server.requests if path == "/api/generate"]
            assert paths.index("/api/ps") < paths.index("/api/generate")
            assert bodies[0]["keep_alive"] == 0 and bodies[1]["options"] == {"num_ctx": 512}
            assert model.load_s > 0 and model.snapshot()["context_length"] == 512
            assert "expires_at" not in model.snapshot()
            facts = model.describe()
            assert facts["quantisation"] == "Q4_K_M" and facts["digest"] == "d1" and facts["n_ctx"] == 512
            server.requests.clear()
            model.stream("hello", Options(timeout_s=30))
            (_, _, unrelated), (_, _, asked) = server.requests
            assert unrelated["options"]["num_predict"] == 1 and "hello" not in str(unrelated)
            assert unrelated["options"]["num_ctx"] == asked["options"]["num_ctx"] == 512
        assert not server.loaded, "close() unloads"
        with pytest.raises(ModelError, match="closed"):
            model.stream("hello")


def test_a_model_that_is_not_there_is_named_with_what_is(server):
    with pytest.raises(ModelError, match=r'did you mean "tiny"\?.*It has: tiny:latest.*ollama pull'):
        OllamaBackend("ollama:tin", "tin", server.url)
    with OpenAIBackend("openai:tin", "tin", server.url) as model:
        error = model.stream("no_such_model", PLENTY).error
        assert 'did you mean "tiny"?' in error and "404" in error


def test_what_a_server_says_of_itself_tells_whether_it_counts_the_end_token(server):
    with OpenAIBackend("openai:tiny", "tiny", server.url, api_key=KEY) as model:
        assert model.describe()["server"] == {"id": "tiny:latest", "owned_by": "vllm"}
        recording = model.stream("hello", PLENTY)
        assert (recording.counts["output_reported"].value, recording.counts["output"].value) == (4, 3)


def test_a_prompt_is_a_string(model):
    with pytest.raises(ModelError, match="A prompt is a string"):
        model.stream(None)
