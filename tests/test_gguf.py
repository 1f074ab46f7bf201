"""The GGUF backend on a real model that ships with the package: replies, and all that can go wrong."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchkit import backends, machine, metrics, places
from benchkit.backends import Options, connect, find_models, locate
from benchkit.backends.base import Backend
from benchkit.backends.worker import decode_pieces
from benchkit.errors import ModelError

pytestmark = pytest.mark.real

MODEL = places.MODELS / "pocket-xs.gguf"
PROMPT = "What is the capital of France?"
FORCED = Options(max_tokens=64, ignore_eos=True)
LONG = Options(max_tokens=400, ignore_eos=True)


@pytest.fixture(scope="module")
def model():
    with connect("gguf:pocket-xs", n_threads=1) as backend:
        yield backend


def wait_until_gone(pid, seconds=5.0):
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, f"process {pid} is still there"
        time.sleep(0.02)


# -- replies --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference():
    """The same file through llama-cpp-python's high-level interface: (prompt) -> its completion."""
    from llama_cpp import Llama
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    llama = Llama(str(MODEL), n_ctx=512, n_threads=1, verbose=False)
    render = Jinja2ChatFormatter(llama.metadata["tokenizer.chat_template"], eos_token="", bos_token="")

    def complete(prompt):
        text = render(messages=[{"role": "user", "content": prompt}]).prompt
        return llama.create_completion(text, temperature=0.0, max_tokens=64, repeat_penalty=1.0)

    yield complete
    llama.close()


@pytest.mark.parametrize("prompt", [PROMPT, "Reply with JSON. Name: Ada Lovelace", "1 + 2 =", "naïve ☃ 😀"])
def test_greedy_reply_equals_that_of_the_high_level_library(model, reference, prompt):
    answer = reference(prompt)
    recording = model.stream(prompt, Options(max_tokens=64))
    assert recording.response == answer["choices"][0]["text"]
    assert (recording.state == "length") == (answer["choices"][0]["finish_reason"] == "length")
    assert recording.counts["prompt"].value == answer["usage"]["prompt_tokens"]


def test_what_a_recording_holds(model):
    recording = model.stream(PROMPT, Options(max_tokens=24))
    times = [chunk.t_ns for chunk in recording.chunks]
    timings = recording.server_timings
    assert recording.state in ("ok", "length") and recording.error is None
    assert recording.chunks_are_tokens and recording.cache == "cold"
    assert metrics.first_chunk_tokens(recording) == (1, False)
    assert times == sorted(times)
    assert recording.t_sent_ns < times[0] and times[-1] < recording.t_end_ns
    assert recording.counts["output"].value == len(times) and recording.counts["cached"].value == 0
    assert recording.counts["output"].source == "engine_tokenizer"
    assert timings["n_prompt_eval"] == recording.counts["prompt"].value
    assert timings["eval_ms"] * 1e6 <= recording.t_end_ns - recording.t_sent_ns
    assert isinstance(model, Backend)


def test_the_end_token_ends_the_reply_and_is_no_chunk(model):
    recording = model.stream(PROMPT, Options(max_tokens=400))
    assert recording.state == "ok", "the shipped model ends its replies"
    assert recording.counts["output_reported"].value == recording.counts["output"].value + 1
    assert "<|im_end|>" not in recording.response


def test_a_forced_length_is_exact_and_every_token_has_bytes(model):
    recording = model.stream(PROMPT, FORCED)
    assert recording.state == "length" and len(recording.chunks) == 64
    assert all(chunk.n_bytes > 0 for chunk in recording.chunks)
    assert recording.counts["output"].value == recording.counts["output_reported"].value == 64


def test_the_token_limit_is_named(model):
    assert model.stream(PROMPT, Options(max_tokens=1)).state == "length"


def test_the_chat_template_can_be_left_out(model):
    with_template, raw = (model.stream(PROMPT, Options(max_tokens=1, raw=raw)) for raw in (False, True))
    assert raw.counts["prompt"].value < with_template.counts["prompt"].value


def test_a_seed_repeats_a_reply_and_another_one_changes_it(model):
    def reply(seed, temperature=1.5):
        options = Options(max_tokens=40, ignore_eos=True, temperature=temperature, seed=seed)
        return model.stream(PROMPT, options).response

    assert reply(1) == reply(1)
    assert len({reply(seed) for seed in range(5)}) > 1
    assert len({reply(seed, temperature=0.0) for seed in range(3)}) == 1


def test_text_arrives_at_most_ten_times_a_second_and_adds_up(model):
    shown = []
    recording = model.stream(PROMPT, LONG, on_text=shown.append)
    seconds = (recording.t_end_ns - recording.t_sent_ns) / 1e9
    assert "".join(shown) == recording.response
    assert len(shown) <= 10 * seconds + 2  # the first piece and the rest at the end


def test_a_warm_cache_reuses_the_common_beginning_and_changes_no_reply(model):
    cold = model.stream(PROMPT, Options(max_tokens=24))
    warm = Options(max_tokens=24, cache="warm")
    again, other = model.stream(PROMPT, warm), model.stream("What is the capital of Peru?", warm)
    n_prompt = cold.counts["prompt"].value
    assert again.counts["cached"].value == n_prompt - 1
    assert 0 < other.counts["cached"].value < n_prompt - 1
    assert again.response == cold.response
    assert other.response == model.stream("What is the capital of Peru?", Options(max_tokens=24)).response
    assert model.stream(PROMPT, Options(max_tokens=1)).counts["cached"].value == 0
    assert (cold.cache, again.cache, other.cache) == ("cold", "warm", "warm")
    assert metrics.prefill_tokens_per_s(again) is None  # one new token is no prompt speed
    assert metrics.ledger(again)["prefill"] > 0  # but template and tokens took their time


def test_a_cache_that_holds_nothing_of_the_prompt_is_cold_whatever_was_asked(model):
    model.stream("Hello there", Options(max_tokens=4, raw=True))
    recording = model.stream("What now?", Options(max_tokens=4, raw=True, cache="warm"))
    assert recording.counts["cached"].value == 0
    assert recording.cache == "cold"


def test_tokens_without_bytes_are_in_neither_count():
    """Before the first text: a token without bytes, which n does not count, and half a character, which it does."""
    answer = {"state": "ok", "error": None, "t_end_ns": 90, "t_ns": [10, 20, 30, 40, 50], "text": ["", "", "ï", "a", "b"],
              "n_bytes": [0, 1, 1, 1, 1], "counts": {"output": 4, "output_reported": 6}}  # fmt: skip
    recording = backends.gguf._recording(answer, 0, "2026-01-01T00:00:00+00:00")
    assert metrics.first_chunk_tokens(recording) == (2, False)
    assert metrics.tpot_ms(recording) == pytest.approx((50 - 30) / 2 / 1e6)


def test_random_tokens_with_halves_of_characters_stay_one_chunk_each(model):
    options = Options(max_tokens=200, ignore_eos=True, temperature=10.0, top_k=0, top_p=1.0)
    shown = []
    recording = model.stream("☃", options, on_text=shown.append)
    assert len(recording.chunks) == 200
    assert "" in {chunk.text for chunk in recording.chunks} and "".join(shown) == recording.response
    assert recording.counts["output"].value == 200


@given(st.text(), st.lists(st.integers(1, 5)))
def test_text_split_anywhere_comes_back_whole(text, sizes):
    data, pieces = text.encode("utf-8", "replace"), []
    for size in [*sizes, len(data) + 1]:
        pieces.append(data[:size])
        data = data[size:]
    assert "".join(decode_pieces(pieces)) == text.encode("utf-8", "replace").decode()
    assert len(decode_pieces(pieces)) == len(pieces)


def test_the_manifest_gets_what_identifies_the_model(model):
    facts = model.describe()
    assert len(facts["digest"]) == 64 and facts["quantisation"] == "F16"
    assert facts["n_ctx"] <= facts["n_ctx_train"] and facts["n_threads"] >= 1
    assert facts["size_bytes"] == MODEL.stat().st_size and facts["parameters"] > 1e6
    assert model.load_s > 0 and facts["versions"]["llama-cpp-python"]


def test_the_worker_is_the_process_that_holds_the_memory(model):
    (pid,) = model.pids()
    assert pid != os.getpid()
    assert psutil.Process(pid).memory_info().rss > MODEL.stat().st_size


def test_the_baseline_is_what_the_worker_held_before_it_loaded_the_model(model):
    """Python and llama.cpp are in the baseline: what is left is the file, its KV cache and working memory."""
    with machine.MemorySampler(model.pids(), model.baseline_mib) as sampler:
        model.stream(PROMPT, FORCED)
    process = sampler.result()["process"]
    file_mib = MODEL.stat().st_size / 2**20
    assert model.baseline_mib["process"] > 10
    assert file_mib < process["peak_mib"] < file_mib + 20
    assert process["total_peak_mib"] > process["baseline_mib"] + file_mib


# -- wrong requests -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"max_tokens": 0}, "max_tokens=0: allowed is 1 to"),
        ({"max_tokens": 2.5}, "whole number"),
        ({"temperature": -0.1}, "temperature=-0.1: allowed is 0.0 to"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"seed": True}, "seed"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"cache": "hot"}, "'cold' or 'warm'"),
        ({"raw": "yes"}, "True or False"),
    ],
)
def test_options_out_of_range_say_what_is_allowed(wrong, words):
    with pytest.raises(ModelError, match=words):
        Options(**wrong)


def test_a_prompt_that_does_not_fit_is_an_error_that_teaches(model):
    too_long = model.stream("word " * 2000, Options(max_tokens=8))
    too_much = model.stream(PROMPT, Options(max_tokens=5000, ignore_eos=True))
    for recording in (too_long, too_much):
        assert recording.state == "error" and "n_ctx" in recording.error and not recording.chunks
    assert model.stream("", Options(max_tokens=4, raw=True)).state == "error"
    assert model.stream(PROMPT, Options(max_tokens=4)).error is None


def test_a_reply_that_fills_the_context_is_truncated():
    with connect("gguf:pocket-xs", n_ctx=32, n_threads=1) as small:
        for seed in range(20):  # random tokens; by chance an end token may be among them
            options = Options(max_tokens=64, temperature=10.0, top_k=0, top_p=1.0, seed=seed)
            recording = small.stream("one two three", options)
            if recording.state != "ok":
                break
        assert recording.state == "truncated"
        total = recording.counts["prompt"].value + recording.counts["output_reported"].value
        assert total == 32 and "context of 32" in recording.error


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"n_ctx": 1_000_000}, "was trained on"),
        ({"n_ctx": -5}, "n_ctx=-5"),
        ({"n_threads": "4"}, "n_threads='4'"),
        ({"n_threads": 0}, "n_threads=0"),
        ({"n_gpu_layers": 1.5}, "n_gpu_layers=1.5"),
    ],
)
def test_load_settings_that_cannot_be_are_refused(load, words):
    with pytest.raises(ModelError, match=words):
        connect("gguf:pocket-xs", **load)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gguf:pocket-xz", 'did you mean "pocket-x?s"'),
        ("gguf:pocket-xs:Q4_K_X", 'did you mean "Q4_K_'),
        ("pocket-xs", "Write gguf:pocket-xs"),
        ("ollama:", "not a model name"),
        ("openai:gpt", "is on a server"),
        ("llama3.2:1b", "not a model name"),
        ("gguf:", "not a model name"),
        (r"gguf:C:\models\x.gguf", r"there is no file .*C:\\models\\x.gguf"),
        ("gguf:/nowhere/x.gguf", "there is no file"),
        (f"gguf:{places.MODELS}", "is a folder"),
        (None, "is a string"),
    ],
)
def test_names_that_mean_nothing_say_what_does(name, words):
    with pytest.raises(ModelError, match=words):
        locate(name)


def test_names_that_mean_a_file(tmp_path, monkeypatch):
    assert locate("gguf:pocket-xs") == MODEL
    assert locate(f"gguf:{MODEL}") == MODEL.resolve()
    copy = tmp_path / "odd name: 1.gguf"
    copy.write_bytes(MODEL.read_bytes())
    assert locate(f"gguf:{copy}") == copy.resolve()
    monkeypatch.setenv("BENCHKIT_MODELS", str(tmp_path))
    names = [row["name"] for row in find_models()]
    assert "gguf:pocket-xs" in names and f"gguf:{copy}" in names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a GGUF file"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"GGUF" + b"\xff" * 4000, "damaged"),
        (MODEL.read_bytes()[:1000] if MODEL.exists() else b"", "damaged"),
        (MODEL.read_bytes()[: MODEL.stat().st_size // 2] if MODEL.exists() else b"", "damaged"),
    ],
    ids=["empty", "web page", "noise", "header only", "half"],
)
def test_a_damaged_file_is_said_to_be_damaged(tmp_path, content, words):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        connect(f"gguf:{path}")
    assert str(path) in str(caught.value)


def test_a_model_larger_than_the_free_memory_is_not_even_tried(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(backends.gguf.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(ModelError, match="MiB are free"):
        connect("gguf:pocket-xs")


# -- what can happen under way --------------------------------------------------------------------


def test_a_timeout_keeps_the_tokens_and_the_model(model):
    pid = model.pids()
    for _ in range(
        10
    ):  # cut off at the half of what the whole reply takes; a busy machine may need another try
        whole = model.stream(PROMPT, LONG)
        half_s = (whole.t_end_ns - whole.t_sent_ns) / 2e9
        recording = model.stream(PROMPT, replace(LONG, timeout_s=half_s))
        if recording.chunks and recording.state == "timeout":
            break
    assert recording.state == "timeout" and "cut off" in recording.error
    assert 0 < len(recording.chunks) < 400
    assert model.stream(PROMPT, FORCED).state == "length" and model.pids() == pid


def test_a_crash_is_a_result_and_the_next_request_works():
    with connect("gguf:pocket-xs", n_threads=1) as model:
        (pid,) = model.pids()
        expected = model.stream(PROMPT, FORCED).response
        recording = model.stream(PROMPT, LONG, on_text=lambda _: psutil.Process(pid).kill())
        assert recording.state == "error" and "engine process ended" in recording.error
        if os.name == "posix":
            assert "SIGKILL" in recording.error
        assert model.stream(PROMPT, FORCED).response == expected
        assert model.pids() != [pid]


def test_an_interrupted_reply_leaves_the_model_usable(model):
    def interrupt(_):
        raise KeyboardInterrupt

    expected, pid = model.stream(PROMPT, FORCED).response, model.pids()
    with pytest.raises(KeyboardInterrupt):
        model.stream(PROMPT, LONG, on_text=interrupt)
    assert model.stream(PROMPT, FORCED).response == expected and model.pids() == pid


def test_closing_ends_the_worker_and_a_closed_model_says_so():
    model = connect("gguf:pocket-xs", n_threads=1)
    (pid,) = model.pids()
    model.close()
    wait_until_gone(pid)
    assert model.pids() == []
    with pytest.raises(ModelError, match="closed"):
        model.stream(PROMPT)


@pytest.mark.parametrize("how", ["killed", "interrupted", "finished"])
def test_no_worker_outlives_its_parent(how):
    script = textwrap.dedent(f"""
        from benchkit import places
        places.MODELS = type(places.MODELS)({str(places.MODELS)!r})
        from benchkit.backends import Options, connect
        model = connect("gguf:pocket-xs", n_threads=1)
        print(*model.pids(), flush=True)
        while {how != "finished"}:  # the parent dies in the middle of a reply
            model.stream("one two", Options(max_tokens=480, ignore_eos=True))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=places.ROOT,
        env=os.environ | {"PYTHONPATH": str(places.ROOT)},
    ) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        if how == "killed":
            parent.kill()
        elif how == "interrupted":
            parent.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        parent.wait(10)
    wait_until_gone(pid)
