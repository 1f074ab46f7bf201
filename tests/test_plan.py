"""Plans: what is read, what is refused and in which words."""

from __future__ import annotations

import json
import math
import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit.errors import BenchkitError
from benchkit.plan import make_plan, read_plan, ready_plans
from benchkit.stats import MAX_TRIALS

GOOD = {"models": ["gguf:pocket-s"], "prompts": "p.txt"}


@pytest.fixture
def prompts(tmp_path):
    (tmp_path / "p.txt").write_text("What is 2 + 2?\nName a colour.\n", encoding="utf-8")
    return tmp_path / "p.txt"


def plan_file(folder, text, name="plan.yaml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def refusal(thing) -> str:
    with pytest.raises(BenchkitError) as caught:
        read_plan(thing)
    return str(caught.value)


# ---- reading


def test_yaml_and_json_give_the_same_plan(tmp_path, prompts):
    raw = {**GOOD, "name": "n", "load": {"n_ctx": [512, 1024]}, "sampling": {"temperature": 0}, "speed": {}}
    a = read_plan(plan_file(tmp_path, yaml.safe_dump(raw)))
    b = read_plan(plan_file(tmp_path, json.dumps(raw), "plan.json"))
    assert a == b
    assert a.sha256 == b.sha256
    assert len(a.configurations()) == 2


def test_grid_covers_every_choice_and_shares_engines(tmp_path, prompts):
    plan = make_plan(["gguf:a", "gguf:b"], str(prompts), n_ctx=[512, 1024], temperature=[0.0, 0.7], trials=2)
    configurations = plan.configurations()
    assert len({c.label for c in configurations}) == len(configurations) == 8
    assert len({c.engine for c in configurations}) == 4
    assert configurations[1].label == "gguf:a n_ctx=512 temperature=0.7"
    assert len(plan.tests()) == 8 * 2 * 2
    assert len({test.key for test in plan.tests()}) == len(plan.tests())


def test_speed_block_makes_forced_tests(prompts):
    tests = make_plan("gguf:a", str(prompts), speed={"repeats": 4, "n_output": 9}).tests()
    forced = [t for t in tests if t.purpose == "speed"]
    assert [t.prompt.index for t in forced] == [0, 1, 2, 3]
    assert all(t.options["ignore_eos"] and t.options["max_tokens"] == 9 for t in forced)
    assert not any(t.options.get("ignore_eos") for t in tests if t.purpose == "quality")


def test_prompt_file_is_found_beside_the_plan(tmp_path, prompts, monkeypatch):
    monkeypatch.chdir("/")
    path = plan_file(tmp_path, "models: [gguf:a]\nprompts: [p.txt]\n")
    assert [p.text for p in read_plan(path).prompt_sets()[0]] == ["What is 2 + 2?", "Name a colour."]


def test_a_prompts_own_limit_only_shortens(tmp_path):
    (tmp_path / "s.jsonl").write_text(
        '{"set": "s", "version": 1, "description": ""}\n'
        '{"id": "a", "category": "c", "prompt": "x", "checks": [], "max_tokens": 7}\n'
        '{"id": "b", "category": "c", "prompt": "y", "checks": [], "max_tokens": 700}\n',
        encoding="utf-8",
    )
    tests = make_plan("gguf:a", str(tmp_path / "s.jsonl"), trials=1, max_tokens=50).tests()
    assert [t.options["max_tokens"] for t in tests] == [7, 50]


def test_hash_changes_with_the_prompts_but_not_with_the_name(prompts):
    plan = make_plan("gguf:a", str(prompts), name="one")
    assert plan.sha256 == make_plan("gguf:a", str(prompts), name="two").sha256
    before = plan.sha256
    prompts.write_text("Something else.\n", encoding="utf-8")
    assert plan.sha256 != before


def test_auto_trials_are_at_most_twenty(prompts):
    assert len(make_plan("gguf:a", str(prompts), trials="auto").tests()) == 2 * MAX_TRIALS


def test_byte_order_mark_is_accepted(tmp_path, prompts):
    text = "models: [gguf:a]\nprompts: [p.txt]\n"
    assert read_plan(plan_file(tmp_path, b"\xef\xbb\xbf" + text.encode())).models[0].name == "gguf:a"


@pytest.mark.parametrize("name", ["gguf:C:\\models\\x.gguf", "ollama:llama3.2:1b", "gguf:pocket-s:Q4_K_M"])
def test_model_names_survive_yaml_lists(tmp_path, prompts, name):
    path = plan_file(tmp_path, f"models: [{name}]\nprompts: [p.txt]\n")
    assert read_plan(path).models[0].name == name


# ---- ready plans


def test_ready_plans_are_read_by_name():
    assert {"pocket_family", "course_ollama", "matrix_12"} <= set(ready_plans())
    for name in ready_plans():
        plan = read_plan(name)
        assert read_plan(plan.to_dict()) == plan


def test_matrix_says_what_to_download_and_runs_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHKIT_MODELS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "nobody"))
    (tmp_path / "Llama-3.2-1B-Instruct-Q4_K_M.gguf").write_bytes(b"GGUF")
    plan = read_plan("matrix_12")
    missing = plan.missing()
    assert len(plan.models) == 12
    assert len(missing) == 11
    assert "about 4.02 GB" in missing["Llama-3.1-8B Q3_K_M"]
    assert "hf download" in missing["Llama-3.1-8B Q3_K_M"]
    there = next(m for m in plan.models if m.label not in missing)
    assert plan.where(there) == f"gguf:{tmp_path / 'Llama-3.2-1B-Instruct-Q4_K_M.gguf'}"
    assert all(m.family and m.parameters and m.type and m.size for m in plan.models)


def test_unknown_ready_plan_is_guessed():
    assert 'did you mean "pocket_family"?' in refusal("pocket_familly")


# ---- refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trials": 0}, ["trials", "from 1 to 10000", "auto", "found 0"]),
        ({"trials": True}, ["trials", "found true"]),
        ({"trials": 2.5}, ["trials", "whole number", "2.5"]),
        ({"trials": "many"}, ["trials", "'many'"]),
        ({"sampling": {"temperature": -1}}, ["sampling.temperature", "from 0 to 10", "-1"]),
        ({"sampling": {"temperature": math.nan}}, ["sampling.temperature", "nan"]),
        ({"sampling": {"temperature": [0, math.inf]}}, ["sampling.temperature[1]", "inf"]),
        ({"sampling": {"temperature": True}}, ["sampling.temperature", "true"]),
        ({"sampling": {"seed": "1234"}}, ["sampling.seed", "whole number", "'1234'"]),
        ({"sampling": {"seed": 1.5}}, ["sampling.seed"]),
        ({"sampling": {"max_tokens": []}}, ["sampling.max_tokens", "empty"]),
        ({"sampling": {"seed": [1, 1]}}, ["sampling.seed", "twice"]),
        ({"sampling": {"temprature": 0}}, ["sampling", "'temprature'", 'did you mean "temperature"?']),
        ({"load": {"n_ctx": 0}}, ["load.n_ctx", "or null", "found 0"]),
        ({"load": 5}, ["load", "table", "found 5"]),
        ({"promts": "course"}, ["'promts'", 'did you mean "prompts"?']),
        ({"models": []}, ["models", "at least one"]),
        ({"models": None}, ["models", "at least one"]),
        ({"models": {"model": "x"}}, ["models", "list"]),
        ({"models": ["gguf:a", "gguf:a"]}, ["listed 2 times", "label"]),
        ({"models": [7]}, ["models[0]"]),
        ({"models": [{"label": "x"}]}, ["models[0]", "`model` is missing"]),
        ({"models": [{"model": "x", "lable": "y"}]}, ["models[0]", 'did you mean "label"?']),
        ({"models": ["bad\0name"]}, ["models[0].model", "printable"]),
        ({"prompts": []}, ["prompts", "at least one"]),
        ({"cache": "hot"}, ["cache", "cold or warm", "'hot'"]),
        ({"timeout_s": 0}, ["timeout_s", "found 0"]),
        ({"run_code": 1}, ["run_code", "false or true"]),
        ({"speed": {"n_output": 600}, "load": {"n_ctx": 512}}, ["speed", "n_ctx = 512"]),
        ({"load": {"n_threads": 10**5000}}, ["load.n_threads", "a very large number"]),
        ({"load": {"n_threads": 1025}}, ["load.n_threads", "from 1 to 1024"]),
        ({"folders": ["$MYSECRET"]}, ["folders", "$BENCHKIT_", "'$MYSECRET'"]),
        ({"folders": ["~", "x/${AWS_KEY}"]}, ["folders[1]", "${AWS_KEY}"]),
        ({"folders": "$BENCHKIT_MODELS/$"}, ["folders"]),
        ({7: 1}, ["unknown name 7"]),
    ],
)
def test_impossible_values_are_refused_by_name(prompts, change, words):
    message = refusal({**GOOD, "prompts": str(prompts), **change})
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: [gguf:a]\n\tprompts: x\n", ["line 2", "tabs"]),
        ("models: [a]\nmodels: [b]\nprompts: x\n", ["line 2", "'models' is given twice"]),
        ("a: &x [1]\nb: [*x, *x]\n", ["line 2", "alias"]),
        ("- a\n- b\n", ["must be a table", "list of 2"]),
        ("", ["must be a table", "nothing"]),
        ("models: [a\n", ["not valid YAML"]),
        ("models: !!python/object:os.system x\n", ["not valid YAML"]),
        ("models: [" * 3000, ["too deep"]),
        (b"models: \xff\xfe\n", ["line 1", "UTF-8"]),
        ("trials: " + "9" * 6000, ["impossible number"]),
        ("x: 2024-13-45\n", ["impossible"]),
        ("trials: 010\n", ["line 1", "010", "write it in decimal"]),
        ("name: x\nsampling: {seed: 0042}\n", ["line 2", "0042", "write it in decimal"]),
        ("trials: 1:30\n", ["1:30", "write it in decimal"]),
        ("timeout_s: 1:30.5\n", ["1:30.5", "write it in decimal"]),
    ],
)
def test_broken_yaml_is_refused_with_its_line(tmp_path, text, words):
    path = plan_file(tmp_path, text)
    message = refusal(path)
    assert message.startswith(str(path))
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"models": ["a"], "models": ["b"]}', ["'models'", "twice"]),
        ('{"models": [', ["line 1", "not valid JSON"]),
        ("[" * 100_000, ["too deep"]),
        ('{"trials": NaN, "models": ["a"], "prompts": "x"}', ["trials", "nan"]),
    ],
)
def test_broken_json_is_refused(tmp_path, text, words):
    message = refusal(plan_file(tmp_path, text, "plan.json"))
    assert all(word in message for word in words), message


def test_a_file_too_large_for_a_plan_is_refused(tmp_path):
    assert "at most 1,000,000 bytes" in refusal(plan_file(tmp_path, "#" * 1_000_001))


def test_a_grid_too_large_is_refused(prompts):
    with pytest.raises(BenchkitError, match="Vary fewer"):
        make_plan("gguf:a", str(prompts), seed=list(range(2000)), top_k=list(range(1000)))


def test_unknown_setting_of_make_plan(prompts):
    with pytest.raises(BenchkitError, match='did you mean "max_tokens"'):
        make_plan("gguf:a", str(prompts), max_token=5)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(
    ["models", "prompts", "load", "sampling", "speed", "trials", "name", "cache", "folders"]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(keys | st.text(max_size=8), json_values, max_size=6))
def test_any_table_is_a_plan_or_a_clear_refusal(raw):
    try:
        plan = read_plan(raw)
    except BenchkitError as problem:
        assert str(problem).startswith("this plan: ")
    else:
        assert read_plan(plan.to_dict()) == plan


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda s: s.encode("utf-8", "surrogatepass")))
def test_any_file_is_a_plan_or_a_clear_refusal(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    with pytest.raises(BenchkitError):
        read_plan(path)


def test_ordinary_numbers_are_read(tmp_path, prompts):
    text = "models: [a]\nprompts: p.txt\ntrials: 10\ntimeout_s: 0.5\nsampling: {seed: 0, temperature: 1.0e+0}\n"
    plan = read_plan(plan_file(tmp_path, text))
    assert (plan.trials, plan.timeout_s, plan.sampling["seed"]) == (10, 0.5, (0,))


def test_folders_are_filled_in_for_looking_but_not_in_messages(tmp_path, monkeypatch, prompts):
    monkeypatch.setenv("BENCHKIT_SHELF", str(tmp_path / "private"))
    plan = read_plan({**GOOD, "models": ["gguf:x.gguf"], "folders": ["${BENCHKIT_SHELF}", "$BENCHKIT_NONE/a"]})
    assert plan.search_folders() == [str(tmp_path / "private")]
    assert "is not in ${BENCHKIT_SHELF} or $BENCHKIT_NONE/a" in plan.missing()["gguf:x.gguf"]


def test_the_same_prompts_under_two_names_are_refused(tmp_path, prompts):
    (tmp_path / "copy.txt").write_bytes(prompts.read_bytes())
    with pytest.raises(BenchkitError, match=r"course and course-v1 are the same file; name it once"):
        make_plan("gguf:a", "course,course-v1").tests()
    with pytest.raises(BenchkitError, match="copy.txt are the same file"):
        make_plan("gguf:a", [str(prompts), str(tmp_path / "copy.txt")]).sha256  # noqa: B018


@pytest.mark.parametrize("nothing", [None, 5, {"model": "gguf:a"}])
def test_models_that_are_no_names_are_refused(nothing):
    with pytest.raises(BenchkitError, match="models: must be a name or a list of names"):
        make_plan(nothing)
    with pytest.raises(BenchkitError, match="prompts: must be a name or a list of names"):
        make_plan("gguf:a", nothing)


def test_a_name_longer_than_a_file_name_can_be_is_no_traceback():
    assert make_plan("x" * 300).models[0].name == "x" * 300
    assert "there is no plan file" in refusal("x" * 300)


def test_the_prompts_count_towards_the_size_of_a_plan(tmp_path, prompts, monkeypatch):
    monkeypatch.setattr("benchkit.plan.MAX_TESTS", 30)
    assert len(make_plan("gguf:a", str(prompts), trials=10, speed={"repeats": 10}).tests()) == 30
    with pytest.raises(BenchkitError, match="31 tests, more than 30"):
        make_plan("gguf:a", str(prompts), trials=10, speed={"repeats": 11}).tests()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a FIFO")
def test_what_is_no_ordinary_file_is_not_read_as_a_plan(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    assert "there is no plan file" in refusal(tmp_path / "pipe.yaml")
    assert "there is no plan file" in refusal(tmp_path / "zero.yaml")


def test_only_the_first_part_of_a_huge_file_is_read(tmp_path):
    with open(tmp_path / "huge.yaml", "wb") as file:
        file.truncate(10**13)  # sparse: would not fit into any memory
    assert "at most 1,000,000 bytes" in refusal(tmp_path / "huge.yaml")


def test_a_plan_is_named_after_its_file_as_far_as_a_name_can_be(tmp_path, prompts):
    text = "models: [a]\nprompts: p.txt\n"
    assert read_plan(plan_file(tmp_path, text, "n" * 150 + ".yaml")).name == "n" * 100
    if os.name != "nt":
        assert read_plan(plan_file(tmp_path, text, "a\tb.yaml")).name == "ab"
