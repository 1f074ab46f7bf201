"""Prompt files: what is read, and what a user is told about a file that cannot be."""

import hashlib
import inspect
import json
import os
import pickle
import string
import sys
import typing
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit import prompts, quality
from benchkit.convert import convert_prompts, prompts_from_hf
from benchkit.errors import BenchkitError
from benchkit.prompts import CHECK_ARGUMENTS, PromptError, available_prompt_sets, check_problem, load_prompts

HEADER = {"set": "mine", "version": 1, "description": "…"}
GOOD = {
    "id": "a",
    "category": "c",
    "prompt": "What is 15 × 23?",
    "checks": [{"check": "number", "value": 345}],
}


def write(path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes(("\n".join(lines) + "\n").encode())
    return path


def error_of(path):
    with pytest.raises(PromptError) as caught:
        load_prompts(path)
    assert str(path) in str(caught.value)
    return caught.value


# --- the sets that ship ------------------------------------------------------------------------------


def test_the_shipped_sets_are_there():
    assert available_prompt_sets() == ["categories", "course", "five_tests", "methodology"]
    assert [len(load_prompts(name)) for name in ("course", "five_tests", "methodology")] == [3, 5, 5]


def test_categories_has_six_prompts_in_each_of_ten():
    categories = [p.category for p in load_prompts("categories")]
    assert len(categories) == 60
    assert sorted(categories.count(c) for c in set(categories)) == [6] * 10


def test_the_course_asks_in_the_course_s_own_words():
    assert [p.text for p in load_prompts("course")] == [
        "Summarize: Large language models are useful but require careful evaluation.",
        "Extract JSON with keys {name, email} from: 'Name: Sam, Email: sam@example.com'",
        "Write 3 bullet points about caching.",
    ]


def test_methodology_asks_in_the_lesson_s_own_words():
    assert [p.text for p in load_prompts("methodology")] == [
        "Explain the concept of artificial intelligence in simple terms.",
        "Write a short poem about technology.",
        "Summarize the key benefits of renewable energy.",
        "What are the main differences between classical and quantum computing?",
        "Describe the process of photosynthesis in plants.",
    ]
    assert "15 × 23" in load_prompts("five_tests").prompts[1].text


@pytest.mark.parametrize("name", ["categories", "course", "five_tests", "methodology"])
def test_shipped_prompts_are_short_and_all_checked(name):
    for prompt in load_prompts(name):
        assert prompt.checks, prompt.id
        assert len(prompt.text) < 450 and 8 <= prompt.max_tokens <= 96, prompt.id


def test_an_index_starts_at_zero_and_the_hash_is_of_the_file():
    loaded = load_prompts("course-v1")
    assert [p.index for p in loaded] == [0, 1, 2]
    assert (loaded.name, loaded.version) == ("course", 1)
    with open(loaded.path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == loaded.sha256


def test_the_newest_version_answers_to_the_plain_name(tmp_path, monkeypatch):
    monkeypatch.setattr(prompts.places, "PROMPTS", tmp_path)
    for version in (2, 10, 9):
        write(tmp_path / f"mine-v{version}.jsonl", {"set": "mine", "version": version}, GOOD)
    assert load_prompts("mine").version == 10
    assert load_prompts("mine-v2").version == 2


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(
        BenchkitError, match=r'no prompt set "cuorse" \(did you mean "course"\?\).*methodology'
    ):
        load_prompts("cuorse")


# --- text files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"One?\nTwo\xc3\xa9?\n", b"\xef\xbb\xbfOne?\r\nTwo\xc3\xa9?\r\n", b"One?\nTwo\xc3\xa9?"]
)
def test_a_text_file_is_one_prompt_a_line(tmp_path, data):
    path = tmp_path / "mine.txt"
    path.write_bytes(data)
    loaded = load_prompts(str(path))
    assert [p.text for p in loaded] == ["One?", "Twoé?"]
    assert [p.id for p in loaded] == ["mine-00", "mine-01"]
    assert loaded.name == "mine" and loaded.version is None and loaded.prompts[0].checks == ()


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"One?\n\nTwo?\n", 2, "blank"),
        (b"One?\nTwo?\n  \n", 3, "blank"),
        (b"One?\nTwo?\n\n", 3, "blank"),
        (b"One?\r\n\r\nTwo?", 2, "blank"),
        (b"One?\nTw\xe9?\n", 2, "byte 0xe9 is not UTF-8"),
        (b"a\0b", 1, "NUL"),
        ("ok\n\u200b \u2060\n".encode(), 2, "no character that can be seen"),
        ("ok\n\ufeffTwo?\n".encode(), 2, "byte order mark"),
        (b"", None, "empty"),
        (b"\xef\xbb\xbf", None, "empty"),
        (b"\xff\xfeO\0n\0e\0", None, "UTF-16"),
        (b"ok\n" + b"x" * 100_001, 2, "100,001 characters"),
        (b"ok\n" + b"x" * 1_000_000, 2, "1,000,000 characters"),
    ],
)
def test_a_bad_text_file_is_refused_with_its_line(tmp_path, data, line, message):
    path = tmp_path / "mine.txt"
    path.write_bytes(data)
    error = error_of(path)
    assert error.line == line and message in str(error)


def test_only_line_endings_end_a_line(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("One\u2028still one\x0band still\n", encoding="utf-8")
    assert len(load_prompts(path)) == 1


def test_a_missing_file_names_its_neighbour(tmp_path):
    write(tmp_path / "prompts.txt", "One?")
    assert 'did you mean "prompts.txt"' in str(error_of(tmp_path / "promts.txt"))


@pytest.mark.parametrize(
    ("name", "message"), [("x.csv", "prompts from-file"), ("x.docx", "ends in .jsonl or .txt")]
)
def test_another_kind_of_file_is_refused(tmp_path, name, message):
    assert message in str(error_of(write(tmp_path / name, "One?")))


def test_a_folder_is_refused(tmp_path):
    assert "folder" in str(error_of(tmp_path))


# --- prompt and expected -----------------------------------------------------------------------------


def test_prompt_and_expected(tmp_path):
    path = write(
        tmp_path / "qa.jsonl", {"prompt": "1+1?", "expected": 2}, {"prompt": "Capital?", "expected": "Paris"}
    )
    loaded = load_prompts(path)
    assert loaded.prompts[0].checks == ({"check": "expected", "value": 2},)
    results = [
        quality.run_checks(reply, p)[0].passed for reply, p in zip([" 2.0\n", "Paris."], loaded, strict=True)
    ]
    assert results == [True, False]


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({"prompt": "1+1?"}, "expected", "missing"),
        ({"prompt": "1+1?", "expcted": 2}, "expcted", 'did you mean "expected"'),
        ({"prompt": "1+1?", "expected": 2, "note": ""}, "note", "unknown field"),
        ({"prompt": 5, "expected": 2}, "prompt", "must be text, found 5"),
        ({"prompt": " ", "expected": 2}, "prompt", "empty"),
        ('["a"]', None, "must be a JSON object"),
        ('{"prompt": "a", "expected": NaN}', None, "NaN is not a JSON value"),
        ('{"prompt": "a", "prompt": "b", "expected": 1}', None, '"prompt" appears twice'),
        ('{"prompt": "a", "expected": 1', None, "not valid JSON"),
        ("[" * 100_000, None, "not usable JSON"),
        ("1" * 5000, None, "line 2"),
        ("  ", None, "blank"),
        ('{"prompt": "\\ud800", "expected": 1}', "prompt", "surrogate"),
    ],
)
def test_a_bad_line_is_refused_with_line_and_field(tmp_path, row, field, message):
    error = error_of(write(tmp_path / "qa.jsonl", {"prompt": "ok", "expected": 1}, row))
    assert (error.line, error.field) == (2, field) and message in str(error)


# --- the format with checks --------------------------------------------------------------------------


def test_all_fields_are_read(tmp_path):
    row = {**GOOD, "category": "format following", "source": "15, 23", "max_tokens": 7}
    prompt = load_prompts(write(tmp_path / "mine.jsonl", HEADER, row)).prompts[0]
    assert (prompt.id, prompt.category, prompt.text) == ("a", "format following", "What is 15 × 23?")
    assert (prompt.source, prompt.max_tokens, prompt.checks[0]["value"]) == ("15, 23", 7, 345)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"id": "b c"}, "id", "letters, digits"),
        ({"id": "../x"}, "id", "letters, digits"),
        ({"category": ""}, "category", "empty"),
        ({"category": "a\nb"}, "category", "one line"),
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": "a\0b"}, "prompt", "NUL"),
        ({"max_tokens": 0}, "max_tokens", "whole number from 1"),
        ({"max_tokens": True}, "max_tokens", "whole number from 1"),
        ({"source": 3}, "source", "must be text"),
        ({"tokens": 3}, "tokens", "unknown field"),
        ({"cheks": []}, "cheks", 'did you mean "checks"'),
        ({"checks": {"check": "words"}}, "checks", "must be a list"),
        ({"checks": ["words"]}, "checks[0]", "must be an object"),
        ({"checks": [{"value": 1}]}, "checks[0].check", "missing"),
        ({"checks": [{"check": "numbr", "value": 1}]}, "checks[0].check", 'did you mean "number"'),
        ({"checks": [{"check": ["number"]}]}, "checks[0].check", "there is no check"),
        ({"checks": [{"check": "valid_json"}, {"check": "number"}]}, "checks[1].value", "missing"),
        ({"checks": [{"check": "number", "value": "345"}]}, "checks[0].value", "must be a number"),
        ({"checks": [{"check": "number", "value": True}]}, "checks[0].value", "must be a number"),
        ({"checks": [{"check": "number", "value": 1, "tolerance": -1}]}, "checks[0].tolerance", "negative"),
        ({"checks": [{"check": "number", "valeu": 1}]}, "checks[0].valeu", 'did you mean "value"'),
        ({"checks": [{"check": "valid_json", "x": 1}]}, "checks[0].x", "it takes none"),
        ({"checks": [{"check": "words"}]}, "checks[0].max", "needs min, max or both"),
        ({"checks": [{"check": "words", "min": 5, "max": 4}]}, "checks[0].max", "below min"),
        ({"checks": [{"check": "required_keys", "keys": []}]}, "checks[0].keys", "list of texts"),
        ({"checks": [{"check": "required_keys", "keys": "name"}]}, "checks[0].keys", "list of texts"),
        (
            {"checks": [{"check": "key_facts", "facts": ["a"], "at_least": 2}]},
            "checks[0].at_least",
            "only 1 facts",
        ),
        (
            {"checks": [{"check": "label", "value": "c", "labels": ["a", "b"]}]},
            "checks[0].value",
            "not among",
        ),
        ({"checks": [{"check": "code_passes", "tests": ["f(1)"]}]}, "checks[0].tests", '"call"'),
    ],
)
def test_a_bad_field_is_refused_by_name(tmp_path, change, field, message):
    error = error_of(write(tmp_path / "mine.jsonl", HEADER, {**GOOD, **change}))
    assert (error.line, error.field) == (2, field) and message in str(error)


@pytest.mark.parametrize("field", ["id", "category", "prompt"])
def test_a_missing_field_is_named(tmp_path, field):
    error = error_of(write(tmp_path / "mine.jsonl", HEADER, {k: v for k, v in GOOD.items() if k != field}))
    assert (error.line, error.field) == (2, field)


@pytest.mark.parametrize(
    ("header", "field"),
    [({"set": "a b"}, "set"), ({"set": "a", "version": "1"}, "version"), ({"set": "a", "verson": 1}, "verson"),
     ({"set": "a", "description": 1}, "description")],
)  # fmt: skip
def test_a_bad_header_is_refused(tmp_path, header, field):
    error = error_of(write(tmp_path / "mine.jsonl", header, GOOD))
    assert (error.line, error.field) == (1, field)


def test_a_forgotten_header_is_explained(tmp_path):
    assert "must be a header" in str(error_of(write(tmp_path / "mine.jsonl", GOOD)))
    assert "no prompt below" in str(error_of(write(tmp_path / "mine.jsonl", HEADER)))


def test_an_id_given_twice_names_both_lines(tmp_path):
    error = error_of(write(tmp_path / "mine.jsonl", HEADER, GOOD, {**GOOD, "id": "b"}, GOOD))
    assert error.line == 4 and "line 2" in str(error)


def test_the_error_survives_the_way_between_processes(tmp_path):
    error = error_of(write(tmp_path / "mine.txt", "a", " "))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".txt", ".jsonl"]))
def test_any_bytes_load_or_are_refused_in_words(tmp_path_factory, data, ending):
    path = tmp_path_factory.mktemp("any") / f"any{ending}"
    path.write_bytes(data)
    try:
        assert len(load_prompts(path)) >= 1
    except PromptError as error:
        str(error).encode("utf-8")


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(list(CHECK_ARGUMENTS)), st.data())
def test_any_arguments_are_accepted_or_refused_in_words(name, data):
    names = st.sampled_from([*CHECK_ARGUMENTS[name], "x"])
    arguments = data.draw(st.dictionaries(names, any_json, max_size=4))
    problem = check_problem({"check": name, **arguments})
    assert problem is None or all(isinstance(part, str) for part in problem)


# --- the registry and the functions say the same -----------------------------------------------------


def test_every_check_has_its_function_with_the_same_arguments():
    assert set(CHECK_ARGUMENTS) == set(quality.CHECKS)
    for name, arguments in CHECK_ARGUMENTS.items():
        given_by = inspect.signature(quality.CHECKS[name]).parameters
        own = {key: p for key, p in given_by.items() if key not in ("reply", "run_code")}
        assert list(own) == list(arguments), name
        for key, parameter in own.items():
            filled = key == "source"  # run_checks fills in the prompt's own
            optional = parameter.default is not inspect.Parameter.empty or filled
            assert optional == arguments[key].endswith("?"), (name, key)
            assert typing.get_type_hints(inspect.unwrap(quality.CHECKS[name]))[key] is not None


def test_the_readme_documents_every_check_and_set():
    text = (prompts.places.PROMPTS / "README.md").read_text(encoding="utf-8")
    for name, arguments in CHECK_ARGUMENTS.items():
        row = next(
            (
                line
                for line in text.splitlines()
                if line.startswith("|") and f"`{name}`" in line.split("|")[1]
            ),
            "",
        )
        assert all(f"`{key}`" in row for key in arguments), name
    assert all(f"`{name}`" in text for name in available_prompt_sets())


# --- conversion --------------------------------------------------------------------------------------


def test_csv_becomes_prompts_with_answers(tmp_path):
    source = tmp_path / "data.csv"
    source.write_text(
        'question,answer\n"What, then, is\n1+1?",2\nCapital of Peru?,Lima\n', encoding="utf-8-sig"
    )
    loaded = convert_prompts(source, tmp_path / "new.jsonl", prompt="question", expected="answer")
    assert loaded.prompts[0].text == "What, then, is\n1+1?"
    assert loaded.prompts[1].checks == ({"check": "expected", "value": "Lima"},)


def test_jsonl_without_answers_and_with_a_limit(tmp_path):
    source = write(tmp_path / "data.jsonl", {"text": "é?", "n": 1}, {"text": "b?", "n": 2})
    loaded = convert_prompts(source, tmp_path / "my set.jsonl", prompt="text", limit=1)
    assert (loaded.name, [p.text for p in loaded], loaded.prompts[0].checks) == ("my_set", ["é?"], ())


def test_parquet_becomes_prompts(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"q": ["1+1?", "List 1, 2."], "a": [[2], [1, 2]]}).to_parquet(tmp_path / "d.parquet")
    loaded = convert_prompts(tmp_path / "d.parquet", tmp_path / "new.jsonl", prompt="q", expected="a")
    assert loaded.prompts[1].checks[0]["value"] == [1, 2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "d.csv",
            "question,answer\na,b\n",
            r'column "qestion"|field "qestion".*did you mean "question".*answer',
        ),
        ("d.csv", "qestion\n\n", "no rows"),
        ("d.csv", 'qestion\n"', "not valid CSV"),
        ("d.csv", "qestion\nok\nHello, Sam\n", "line 3: more cells than the header has"),
        ("d.csv", "qestion,a,qestion\nx,1,y\n", 'line 1, field "qestion": two columns'),
        ("d.jsonl", '{"qestion": "a", "qestion": "b"}', 'line 1.*"qestion" appears twice'),
        ("d.jsonl", '{"qestion": ""}', "line 1.*empty"),
        ("d.jsonl", '{"qestion": 5}', "must be text, found 5"),
        ("d.jsonl", "[1]", "JSON object"),
        ("d.jsonl", "{", "not valid JSON"),
        ("d.parquet", "no parquet", "not a readable Parquet"),
        ("d.xlsx", "", "can read .csv"),
    ],
)
def test_what_cannot_be_converted_is_explained_and_leaves_nothing(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(PromptError, match=message):
        convert_prompts(tmp_path / name, tmp_path / "new.jsonl", prompt="qestion")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_existing_file_is_not_overwritten_by_itself(tmp_path):
    source = write(tmp_path / "data.jsonl", {"prompt": "a"})
    target = write(tmp_path / "new.jsonl", "keep me")
    with pytest.raises(PromptError, match="exists already"):
        convert_prompts(source, target)
    assert len(convert_prompts(source, target, overwrite=True)) == 1


def test_columns_without_a_name_may_repeat(tmp_path):  # spreadsheets write them at the end of each line
    (tmp_path / "d.csv").write_text("prompt,,\nOne?,,\n")
    assert convert_prompts(tmp_path / "d.csv", tmp_path / "new.jsonl").prompts[0].text == "One?"


def test_a_limit_below_one_is_refused(tmp_path):
    source = write(tmp_path / "data.jsonl", {"prompt": "a"})
    with pytest.raises(PromptError, match="from 1, found 0"):
        convert_prompts(source, tmp_path / "new.jsonl", limit=0)


# --- what a file can do to its reader ----------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a FIFO")
@pytest.mark.parametrize("name", ["x.txt", "x.jsonl"])
def test_what_is_no_ordinary_file_is_not_read(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / f"zero-{name}").symlink_to("/dev/zero")
    assert "not a text file" in str(error_of(tmp_path / name))
    assert "not a text file" in str(error_of(tmp_path / f"zero-{name}"))
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with pytest.raises(PromptError, match="not a file of data"):
        convert_prompts(tmp_path / "zero.csv", tmp_path / "new.jsonl")


def test_a_huge_file_is_refused_without_reading_it_all(tmp_path):
    with open(tmp_path / "huge.txt", "wb") as file:
        file.truncate(10**13)  # sparse: would not fit into any memory
    assert "at most 50,000,000 bytes" in str(error_of(tmp_path / "huge.txt"))


def test_a_number_too_large_is_refused(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "a", "expected": 1e999}\n')
    assert "1e999 is too large a number" in str(error_of(path))


@pytest.mark.parametrize("name", ["~nosuchuser/x.txt", "y" * 300 + ".txt"])
def test_a_path_that_cannot_be_is_no_traceback(name):
    with pytest.raises(PromptError, match="there is no such file"):
        load_prompts(name)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX users")
def test_without_a_home_the_cache_is_a_private_temporary_folder(tmp_path, monkeypatch):
    def nobody(*_):
        raise KeyError("no such user")

    for name in ("HOME", "XDG_CACHE_HOME", "BENCHKIT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = prompts.places.cache_folder()
    assert prompts.places.home() is None
    assert folder == tmp_path / f"benchkit-{os.getuid()}" and folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]  # and no folder called ~
    monkeypatch.setattr("os.getuid", lambda: os.stat(folder).st_uid + 1)
    (tmp_path / f"benchkit-{os.getuid()}").mkdir()
    with pytest.raises(BenchkitError, match="belongs to another user"):
        prompts.places.cache_folder()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A data set as Hugging Face's package reads it, from a local folder: its hub is not asked."""
    if find_spec("datasets") is None:
        pytest.skip("needs datasets: pip install 'benchkit[hf]'")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = [{"question": f"What is {i} plus 2?", "answer": str(i + 2)} for i in range(5)]
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(tmp_path / "sums")


def test_a_data_set_of_hugging_face_becomes_prompts_row_by_row(hub, tmp_path):
    settings = {"prompt": "question", "expected": "answer", "limit": 3}
    made = prompts_from_hf(hub, tmp_path / "sums.jsonl", **settings)
    assert [p.text for p in made] == ["What is 0 plus 2?", "What is 1 plus 2?", "What is 2 plus 2?"]
    assert made.prompts[2].checks[0]["value"] == "4"


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"split": "tset"}, "Bad split: tset"), ({"prompt": "qestion"}, 'did you mean "question"'), ({"limit": 0}, "from 1")],
)
def test_what_hugging_face_cannot_give_is_said_and_leaves_no_file(hub, tmp_path, settings, words):
    with pytest.raises(PromptError, match=words):
        prompts_from_hf(hub, tmp_path / "sums.jsonl", **settings)
    assert not (tmp_path / "sums.jsonl").exists()


def test_without_the_package_of_hugging_face_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PromptError, match=r"benchkit\[hf\]"):
        prompts_from_hf("openai/gsm8k", tmp_path / "x.jsonl")
