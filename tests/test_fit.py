"""The forecast: memory from shapes alone, speed from rates that were measured, and refusals that help."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from benchkit import calibration, fit, machine, places
from benchkit.backends import Options, connect
from benchkit.cli import main
from benchkit.errors import BenchkitError, ModelError
from benchkit.fit import (
    Facts,
    Rates,
    facts_of,
    forecast,
    kv_cache_bytes,
    memory_of,
    repacked_bytes,
    score,
    verdict,
)
from benchkit.gguf_header import read_header, tensor_bytes
from benchkit.quantize import QUANT_TYPES, quantize
from benchkit.random_llama import repeat_layer, write_random_llama
from benchkit.tensors import Architecture, architecture_of, n_bytes, n_parameters

RATES = Rates(
    "a processor", 2, "an engine", dict.fromkeys(("F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K"), 20.0),
    dict.fromkeys(("F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K"), 100.0), attention_gflop_s=50.0,
    kv_gb_s=10.0, layer_us=50.0,
)  # fmt: skip
AVX2 = {"AVX2": "1", "REPACK": "1"}
NEON = {"NEON": "1", "DOTPROD": "1", "REPACK": "1"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path / "cache"))


# ---- which model is meant


@pytest.mark.parametrize(("name", "billions"), [("llama-3.2-1b", 1.24), ("llama-3.2-3b", 3.21), ("llama-3.1-8b", 8.03)])
def test_known_architectures_have_their_published_number_of_parameters(name, billions):
    assert round(n_parameters(facts_of(name).tensors) / 1e9, 2) == billions
    assert facts_of(f"Meta-{name.title()}-Instruct").tensors == facts_of(name).tensors


@pytest.mark.parametrize(
    ("text", "n"), [("60M", 60e6), ("0.5b", 0.5e9), ("1.24B", 1.24e9), ("7B", 7e9), ("70B", 70e9), ("405B", 405e9)]
)
def test_a_typical_llama_has_the_parameters_asked_for(text, n):
    assert n_parameters(facts_of(text).tensors) == pytest.approx(n, rel=0.03)


@pytest.mark.parametrize("pocket", ["pocket-xs", "pocket-s", "pocket-m"])
def test_weights_foretold_for_each_type_are_those_of_the_real_file(pocket, tmp_path):
    for type in QUANT_TYPES if pocket == "pocket-xs" else ("Q8_0", "Q4_K_M", "Q2_K"):
        path = quantize(places.MODELS / f"{pocket}.gguf", type, tmp_path / f"{pocket}-{type}.gguf")
        foretold, real = facts_of(f"gguf:{pocket}", type), facts_of(f"gguf:{path}")
        assert n_bytes(foretold.tensors) == n_bytes(real.tensors)
        assert {t[:2] for t in foretold.tensors} == {t[:2] for t in real.tensors}
        assert replace(foretold, name="", tensors=()) == replace(real, name="", tensors=())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lama-3.1-8b", 'did you mean "llama-3.1-8b"'),
        ("matrix-12", 'did you mean "matrix_12"'),
        ("8X", "a number of parameters"),
        ("0B", "50M to 1000B"),
        ("-1B", "50M to 1000B"),
        ("", "no model"),
        ("gguf:pocket-z", "pocket-s"),
        ("gguf:/no/such.gguf", "no file"),
    ],
)
def test_an_unknown_model_is_refused_with_what_would_do(name, says):
    with pytest.raises(ModelError, match=says):
        facts_of(name)


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    whole = (places.MODELS / "pocket-xs.gguf").read_bytes()
    for size, says in ((len(whole) - 100_000, "broken off"), (5_000, "not a whole GGUF")):
        path = tmp_path / "cut.gguf"
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=says):
            facts_of(f"gguf:{path}")


def test_a_context_larger_than_trained_is_refused():
    with pytest.raises(BenchkitError, match="trained on 131,072"):
        forecast("llama-3.1-8b", n_ctx=131_073, rates=RATES)


def test_a_quantised_file_cannot_become_another_type(tmp_path):
    path = quantize(places.MODELS / "pocket-xs.gguf", "Q8_0", tmp_path / "x.gguf")
    with pytest.raises(ModelError, match="Q8_0 already"):
        facts_of(f"gguf:{path}", "Q4_K_M")


# ---- memory


def test_kv_cache_follows_the_formula_and_rounds_the_context_up():
    assert kv_cache_bytes(32, 8192, 8, 128) == 2 * 32 * 8192 * 8 * 128 * 2 == 2**30
    assert kv_cache_bytes(4, 1, 2, 64) == kv_cache_bytes(4, 256, 2, 64) < kv_cache_bytes(4, 257, 2, 64)


def test_only_what_this_processor_repacks_is_counted_twice():
    mixed = facts_of("llama-3.2-1b", "Q4_K_M")
    q4 = sum(tensor_bytes(type, shape) for _, type, shape in mixed.tensors if type == "Q4_K")
    assert repacked_bytes(mixed.tensors, AVX2) == q4
    assert repacked_bytes(mixed.tensors, {"AVX2": "1"}) == 0
    assert repacked_bytes(facts_of("llama-3.2-1b", "Q8_0").tensors, AVX2) == 0
    assert repacked_bytes(mixed.tensors, NEON) == sum(
        tensor_bytes(type, shape) for _, type, shape in mixed.tensors if len(shape) == 2
    )
    untied = facts_of("llama-3.1-8b", "Q4_K_M")
    lookup = next(tensor_bytes(type, shape) for name, type, shape in untied.tensors if name == "token_embd.weight")
    assert repacked_bytes(untied.tensors, AVX2) == pytest.approx(
        sum(tensor_bytes(type, shape) for _, type, shape in untied.tensors if type == "Q4_K") - lookup
    )


def test_verdict_changes_exactly_at_its_borders():
    assert [verdict(mib, 1000)[0] for mib in (850, 850.1, 1000, 1000.1)] == ["yes", "tight", "tight", "no"]
    assert "MiB" in verdict(2000, 1000)[1]
    assert forecast("llama-3.1-8b", "Q8_0", rates=RATES, available_mib=4000).verdict == "no"


def test_memory_foretold_for_pocket_m_is_what_its_worker_takes():
    with connect("gguf:pocket-m", n_threads=1) as model:
        with machine.MemorySampler(model.pids(), model.baseline_mib) as sampler:
            reply = model.stream("the sea " * 120, Options(max_tokens=4, raw=True, ignore_eos=True))
        assert reply.state == "length" and reply.counts["prompt"].value > 450  # nearly a full batch
        found = sampler.result()
    measured = (found.get("process_high_water") or found["process"])["total_peak_mib"]
    started = model.baseline_mib["process"] + 6.3  # Python differs from system to system
    memory = memory_of(facts_of("gguf:pocket-m"), 512, machine.llama_cpp_features() or {}, started)
    assert memory.total_mib == pytest.approx(measured, rel=0.1) or abs(memory.total_mib - measured) < 3


# ---- speed


def test_decode_time_is_the_sum_of_its_parts():
    model = Architecture(2, 256, 512, 4, 2, 1024, tied=False)
    facts = facts_of(model, "Q8_0")
    found = forecast(facts, n_ctx=512, rates=RATES, available_mib=1000)
    read = sum(tensor_bytes(type, shape) for name, type, shape in facts.tensors
               if len(shape) > 1 and name != "token_embd.weight")  # fmt: skip
    kv = 2 * 2 * 256 * 2 * 64 * 2
    assert 1 / found.decode_tokens_per_s == pytest.approx(read / 20e9 + kv / 10e9 + 2 * 50e-6)
    assert found.depth == 256 and not found.is_upper_bound


def test_an_embedding_counts_only_where_it_is_the_output_too():
    tied = facts_of("llama-3.2-1b", "Q8_0")
    untied = facts_of("llama-3.1-8b", "Q8_0")
    assert tied.read_tensors == tied.tensors
    assert {t[0] for t in untied.tensors} - {t[0] for t in untied.read_tensors} == {"token_embd.weight"}


def test_without_calibration_the_speed_is_an_upper_bound_and_says_so():
    found = forecast("llama-3.2-1b", "Q4_K_M", bandwidth_gb_s=20.0, n_threads=2)
    assert found.is_upper_bound and found.prefill_tokens_per_s is None
    text = fit.as_text([found])
    assert "≤" in text and "--calibrate" in text


def test_more_bits_and_more_context_are_slower():
    speeds = [forecast("llama-3.1-8b", type, rates=RATES).decode_tokens_per_s for type in ("Q2_K", "Q4_K_M", "Q8_0")]
    assert speeds == sorted(speeds, reverse=True)
    short, long = (forecast("llama-3.1-8b", n_ctx=n, rates=RATES).decode_tokens_per_s for n in (512, 65_536))
    assert long < short


def test_score_is_the_relative_error_with_its_sign():
    assert score(90, 100) == -0.1
    with pytest.raises(BenchkitError, match="measured"):
        score(1, 0)


# ---- calibration, without measuring


def test_rates_are_kept_for_this_machine_threads_and_build(monkeypatch):
    rates = replace(RATES, cpu=machine.cpu_model(), engine=fit.engine_build())
    path = fit.keep_rates(rates)
    assert fit.kept_rates(2) == rates
    assert fit.kept_rates(3) is None
    path.write_text("{", encoding="utf-8")
    assert fit.kept_rates(2) is None
    path.write_text('{"cpu": "only"}', encoding="utf-8")
    assert fit.kept_rates(2) is None
    fit.keep_rates(rates)
    monkeypatch.setattr(fit, "engine_build", lambda: "another build")
    assert fit.kept_rates(2) is None


def test_calibration_finds_the_rates_behind_the_times(monkeypatch):
    monkeypatch.setattr(calibration, "WIDE", Architecture(1, 256, 512, 4, 1, 512, tied=False))
    monkeypatch.setattr(calibration, "_thin", lambda folder, n: thin)
    thin = {"attention_gflop_s": 50.0, "kv_gb_s": 8.0, "layer_us": 10.0, "process_mib": 30.0}
    true = {type: 10.0 + i for i, type in enumerate(RATES.decode_gb_s)}

    def speeds(path, n_threads, n_prompt):
        facts = facts_of(f"gguf:{path}")
        token_s = fit.decode_s(fit.bytes_by_type(facts.read_tensors), true, fixed_s=facts.n_layer * 10e-6)
        attention_s = fit.attention_s(facts.n_layer, n_prompt, 256, 50.0)
        return token_s, fit.prefill_s(fit.prefill_parameters(facts.tensors), true) + attention_s

    monkeypatch.setattr(calibration, "_speeds", speeds)
    rates = calibration.calibrate(2)
    assert rates.decode_gb_s == pytest.approx(true, rel=0.01)
    assert rates.prefill_gflop_s == pytest.approx(true, rel=0.01)
    assert fit.kept_rates(2) == rates
    assert not list(places.cache_folder().glob("calibration-*"))


def test_a_calibration_that_was_disturbed_is_refused():
    with pytest.raises(BenchkitError, match="disturbed"):
        calibration.new_rate({"Q4_K": 10**9, "Q6_K": 10**9}, 0.01, {"Q6_K": 25.0}, fit.decode_s)


def test_a_random_model_is_a_whole_llama_and_its_layer_can_be_repeated(tmp_path):
    model = Architecture(1, 64, 128, 4, 2, 600, tied=False, rope_factors=True)
    one = write_random_llama(tmp_path / "one.gguf", model, n_ctx_train=512)
    three = repeat_layer(one, tmp_path / "three.gguf", 3)
    header = read_header(three)
    assert architecture_of(header) == replace(model, n_layer=3, head_dim=16)
    assert isinstance(facts_of(f"gguf:{three}"), Facts)  # so no byte is missing
    data = three.read_bytes()
    layers = [
        data[start : start + tensor_bytes(type, shape)]
        for (name, type, shape), start in zip(header.tensors, header.positions)
        if name.endswith("ffn_up.weight")
    ]
    assert len(layers) == 3 and len(set(layers)) == 1
    with connect(f"gguf:{three}", n_threads=1) as loaded:
        reply = loaded.stream("7" * 20, Options(max_tokens=2, raw=True, ignore_eos=True))
    assert reply.counts["prompt"].value == 20 and reply.state == "length"


# ---- the command


def test_json_is_one_object(capsys, monkeypatch):
    monkeypatch.setattr(machine, "memory_bandwidth_gb_s", lambda n: 20.0)
    assert main(["fit", "llama-3.1-8b", "--type", "Q4_K_M", "--context", "4096", "--threads", "2", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["forecasts"]
    assert found["n_ctx"] == 4096 and found["memory"]["kv_cache_mib"] == 512
    assert found["memory"]["total_mib"] == pytest.approx(sum(found["memory"].values()) / 2)


def test_a_plan_is_foretold_a_line_each(capsys, monkeypatch):
    monkeypatch.setattr(machine, "memory_bandwidth_gb_s", lambda n: 20.0)
    monkeypatch.setenv("HOME", os.devnull)
    assert main(["fit", "matrix_12"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("llama-3")]
    assert len(lines) == 12 and "Q3_K_M" in lines[-1]


@pytest.mark.parametrize(
    ("words", "code"),
    [(["lama"], 4), (["8B", "--type", "Q9"], 4), (["8B", "--context", "0"], 3), (["8B", "--threads", "0"], 3),
     ([], 2), (["-1B"], 2), (["nothing.yaml"], 3)],
)  # fmt: skip
def test_what_cannot_be_foretold_is_one_message_and_an_exit_code(words, code, capsys):
    assert main(["fit", *words]) == code
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("benchkit: ") and "Traceback" not in said.err
