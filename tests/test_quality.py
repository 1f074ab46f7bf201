"""The quality checks: what passes, what fails, why, and that no reply whatever makes one raise."""

import dataclasses
import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit import sandbox
from benchkit.errors import BenchkitError
from benchkit.prompts import CHECK_ARGUMENTS, Prompt, load_prompts
from benchkit.quality import CHECKS, CheckResult, check_json_quality, run_checks
from benchkit.reading import count_sentences, count_words, find_code, find_numbers

SAM = '{"name": "Sam", "email": "sam@example.com"}'
SOURCE = "Name: Sam, Email: sam@example.com"


def passed(check, reply, /, **arguments):
    result = CHECKS[check](reply, **arguments)
    assert isinstance(result, CheckResult) and result.check == check and result.reason
    return result.passed


def reason(check, reply, /, **arguments):
    return CHECKS[check](reply, **arguments).reason


# --- JSON --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "valid", "keys", "alone"),
    [
        (SAM, True, True, True),
        (f"\n {SAM}\n", True, True, True),
        (f"```json\n{SAM}\n```", True, True, False),
        (f"Here you are:\n```\n{SAM}\n```\nAnything else?", True, True, False),
        (f"Sure! {SAM}", True, True, False),
        (f"{SAM} I hope this helps.", True, True, False),
        (f"The keys {{name, email}} give {SAM}", True, True, False),
        ('{"name": "Sam"}', True, False, True),
        ("[1, 2]", True, False, True),
        ("345", True, False, True),
        ('"name email"', True, False, True),
        ("null", True, False, True),
        ("true", True, False, True),
        (f"[{SAM}]", True, False, True),
        ("{'name': 'Sam', 'email': 'sam@example.com'}", False, False, False),
        ('{"name": "Sam", "email": "sam@example.com",}', False, False, False),
        ('{"name": "Sam", "email": NaN}', False, False, False),
        ('{"name": "Sam", "name": "Bob", "email": "x"}', False, False, False),
        ('{"name": "Sam", "email": "sam@', False, False, False),
        ("Name: Sam", False, False, False),
        ("", False, False, False),
        ("[" * 100_000, False, False, False),
        ('{"a":' * 100_000, False, False, False),
        ("1" * 10_000, None, False, None),  # some Pythons refuse so long a number
    ],
)
def test_the_three_questions_asked_of_a_json_reply(reply, valid, keys, alone):
    found = check_json_quality(reply, ["name", "email"])
    assert all(type(answer) is bool for answer in found.values())
    assert found["has_required_keys"] is keys
    assert valid is None or (found["valid_json"], found["no_extra_text"]) == (valid, alone)


def test_json_reasons_teach():
    assert "trailing" in reason("valid_json", '{"a": 1,}') or "line 1" in reason("valid_json", '{"a": 1,}')
    assert "appears twice" in reason("valid_json", '{"a": 1, "a": 2}')
    assert "NaN is not JSON" in reason("valid_json", "NaN")
    assert "code fence" in reason("no_extra_text", "```json\n1\n```")
    assert "a list, not an object" in reason("required_keys", "[1]", keys=["a"])
    assert reason("required_keys", '{"a": 1}', keys=["a", "b"]) == 'missing: "b"; found: "a"'
    assert '"a", "b"' in reason("required_keys", '{"a": 1, "b": 2}', keys=["a", "b"])


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("[1]", "a list"),
        ('"name"', "a text"),
        ("true", "true or false"),
        ("null", "null"),
        ("3.5", "a number"),
    ],
)
def test_json_that_is_no_object_is_called_what_it_is(reply, kind):
    assert f"is {kind}, not an object" in reason("exact_values", reply, values={"name": 1})


def test_only_these_keys():
    assert passed("required_keys", '{"a": 1, "b": 2}', keys=["a"])
    assert not passed("required_keys", '{"a": 1, "b": 2}', keys=["a"], only=True)


@pytest.mark.parametrize(
    ("reply", "values", "right"),
    [
        (SAM, {"name": "Sam"}, True),
        (SAM, {"name": "sam"}, False),
        (SAM, {"name": "Sam "}, False),
        ('{"n": 3.0}', {"n": 3}, True),
        ('{"n": "3"}', {"n": 3}, False),
        ('{"n": true}', {"n": 1}, False),
        ('{"n": null}', {"n": None}, True),
        ("{}", {"n": None}, False),
        ('{"n": [1, {"a": 2}]}', {"n": [1, {"a": 2.0}]}, True),
        ("[1]", {"n": 1}, False),
    ],
)
def test_exact_values(reply, values, right):
    assert passed("exact_values", reply, values=values) is right


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        (SAM, True),
        ('{"name": "SAM", "email": null}', True),
        ('{"name": "Sam", "email": ""}', True),
        ('{"name": "Sam", "email": "N/A"}', False),
        ('{"name": "Sam", "email": "Unknown"}', False),
        ('{"name": "Sam", "email": "not provided"}', False),
        ('{"name": "Sam", "email": "sam@example.org"}', False),
        ('{"name": "Sa", "email": null}', False),
        ('{"name": "Sam", "age": 34}', False),
        ('{"people": [{"name": "Sam"}, {"name": "Bob"}]}', False),
        ('["Sam", "Name"]', True),
        ('["Sam", ["Sam", "Bob"]]', False),
        ('{"name": ["Sam"], "friend": "Bob", "tags": []}', False),
        ('{"friend": "Bob", "names": ["Sam"]}', False),
        ('{"name": "Sam", "ok": true, "married": false}', True),
        ('{"name": "S*"}', False),
        ("Sam", False),
    ],
)
def test_nothing_invented(reply, right):
    assert passed("nothing_invented", reply, source=SOURCE) is right


def test_invented_values_are_named_with_their_place():
    assert reason("nothing_invented", '{"people": [{"name": "Bob"}]}', source=SOURCE).startswith(
        'people[0].name: "Bob"'
    )
    assert '[1]: "Bob"' in reason("nothing_invented", '["Sam", "Bob", "Tom"]', source=SOURCE)  # the first one
    assert "placeholder" in reason("nothing_invented", '{"name": "N/A"}', source=SOURCE)
    assert passed("nothing_invented", '{"age": 34, "price": 1234.5}', source="34 years, 1,234.50 EUR")
    assert passed("nothing_invented", '{"name": "N/A"}', source="Name: N/A")
    assert passed("nothing_invented", '{"kind": "person"}', source=SOURCE, allowed=["person"])


def test_an_invention_at_the_end_of_a_long_list_is_found():
    assert passed("nothing_invented", json.dumps(["Sam"] * 8000), source=SOURCE)
    assert not passed("nothing_invented", json.dumps(["Sam"] * 8000 + ["Bob"]), source=SOURCE)


# --- lengths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "n_words", "n_sentences"),
    [
        ("", 0, 0),
        ("...", 0, 0),
        ("One", 1, 1),
        ("Caches are fast. They save time!", 6, 2),
        ("Pi is 3.14, e.g. here. Dr. Who agrees.", 8, 2),
        ("It works?! Yes... maybe.", 4, 3),
        ("1. First point.\n2. Second point.", 6, 2),
        ('He said "stop." Then he left.', 6, 2),
        ("No full stop\n\nnew paragraph", 5, 2),
        ("缓存很快。它们节省时间。", 10, 2),
        ("Don't – stop", 2, 1),
        ("**bold** `code` - x", 3, 1),
    ],
)
def test_counting_words_and_sentences(text, n_words, n_sentences):
    assert (count_words(text), count_sentences(text)) == (n_words, n_sentences)


def test_length_limits_hold_at_their_edges():
    assert [passed("words", "a b c", max=n) for n in (2, 3)] == [False, True]
    assert [passed("words", "a b c", min=n) for n in (3, 4)] == [True, False]
    assert [passed("characters", " abc \n", max=n) for n in (2, 3)] == [False, True]
    assert [passed("sentences", "A. B.", max=n) for n in (1, 2)] == [False, True]
    assert [passed("lines", "a\n\nb\n", min=2, max=n) for n in (2, 3)] == [True, True]
    assert passed("words", "", max=5) is False
    assert passed("words", "One", max=1) and passed("words", "One", min=1)
    assert reason("words", "a b c", max=2) == "3 words, at most 2 were asked"


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ({"max": 2}, "at most 2 were asked"),
        ({"min": 1, "max": 2}, "at most 2 were asked"),
        ({"max": 3}, "at most 3 asked"),
        ({"min": 4}, "at least 4 were asked"),
        ({"min": 3}, "at least 3 asked"),
        ({"min": 2, "max": 2}, "exactly 2 were asked"),
        ({"min": 4, "max": 5}, "4 to 5 were asked"),
        ({"min": 2, "max": 3}, "2 to 3 asked"),
    ],
)
def test_a_length_s_reason_says_what_was_asked(limits, asked):
    assert reason("words", "a b c", **limits).endswith(f", {asked}")


@pytest.mark.parametrize(
    ("reply", "found"),
    [("", "the reply is empty"), ("One", "1 word,"), ("a b", "2 words,"), ("a " * 1500, "1,500 words,")],
)
def test_a_length_s_reason_says_what_was_found(reply, found):
    assert reason("words", reply, max=5).startswith(found)


# --- words and facts ---------------------------------------------------------------------------------


def test_words_are_compared_whole_and_without_case():
    assert passed("mentions", "Caching helps.", any_of=["caching"])
    assert not passed("mentions", "The catalogue", any_of=["cat"])
    assert passed("mentions", "The catalogue", any_of=["cat*"])
    assert passed("mentions", "Sam’s  e‑mail", any_of=["sam's e-mail"])
    assert passed("mentions", "写缓存很快", any_of=["缓存"])
    assert passed("mentions", "It is C++.", any_of=["C++"])
    assert not passed("mentions", "anything", any_of=["*"])


@pytest.mark.parametrize("n", [1, 9, 10, 11, 12, 100])
def test_a_list_in_a_reason_is_whole_or_says_that_it_is_cut(n):
    words = [f"word{i}" for i in range(n)]
    text = reason("mentions", "nothing of it", any_of=words)
    assert text.endswith('" …') is not all(f'"{word}"' in text for word in words)


def test_key_facts_with_alternatives():
    facts = [["useful", "help*"], "evaluation"]
    assert passed("key_facts", "LLMs are HELPFUL but need evaluation.", facts=facts)
    assert not passed("key_facts", "LLMs are helpful.", facts=facts)
    assert passed("key_facts", "LLMs are helpful.", facts=facts, at_least=1)
    assert "evaluation" in reason("key_facts", "LLMs are helpful.", facts=facts)


def test_avoids_and_in_order():
    assert passed("avoids", "fine", texts=["bad"]) and not passed("avoids", "bad", texts=["bad"])
    assert not passed("avoids", "", texts=["bad"])
    assert passed("in_order", "1. bag\n2. dog", texts=["bag", "dog"])
    assert not passed("in_order", "dog, bag", texts=["bag", "dog"])
    assert not passed("in_order", "bag", texts=["bag", "bag"])


# --- form --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "n"),
    [
        ("- a\n- b\n- c", 3),
        ("Here are 3 points:\n\n* a\n* b\n\n* c\nDone.", 3),
        ("• a\n• b\n• c", 3),
        ("- a\n  - inner\n  - inner\n- b\n- c", 3),
        ("  - a\n  - b\n  - c", 3),
        ("- a\n - b\n- c", 3),
        ("\t\t- a\n        - b\n\t\t- c", 3),
        ("- **Fast**: a\n- **Near**: b\n- c", 3),
        ("- a\n- b", 2),
        ("-a\n-b\n-c", 0),
        ("1. a\n2. b\n3. c", 0),
        ("---\n**bold**\n- \n", 0),
        ("", 0),
    ],
)
def test_bullets_are_counted(reply, n):
    assert passed("bullets", reply, count=n or 3) is (n > 0)
    assert passed("bullets", reply, count=n + 1) is False


def test_numbered_lists_and_items():
    assert passed("numbered", "Sure:\n1. a\n2. b\n3. c", count=3)
    assert passed("numbered", "1) a\n2) b", count=2)
    assert not passed("numbered", "1. a\n3. c", count=2)
    assert "numbered instead" in reason("bullets", "1. a\n2. b\n3. c", count=3)
    assert passed("items", "red; green; blue", count=3, separator=";")
    assert not passed("items", "red; green; blue", count=3)
    assert not passed("items", "red,,blue", count=3) and not passed("items", "", count=1)


def test_capital_letters():
    assert passed("uppercase", "ÉTÉ 3!") and not passed("uppercase", "ÉTé") and not passed("uppercase", "123")


# --- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    ["345", "15 × 23 = 345.", "15 × 20 + 15 × 3 = 300 + 45 = 345", "**345**", "The answer is 345!", "345.0", "3.45e2", "$345",
     "\\boxed{345}", "= 345 apples", "345apples", "It is...345", "٣٤٥", "20 - 5 is wrong; 345", "(345)"],
)  # fmt: skip
def test_345_is_found(reply):
    assert passed("number", reply, value=345)


@pytest.mark.parametrize(
    "reply",
    ["1345", "3450", "-345", "345.5", "0.345", "x345", "3,45", "345 and 6", "345e3", "", "three", "34 5"],
)
def test_what_is_not_345(reply):
    assert not passed("number", reply, value=345)


def test_numbers_in_all_their_forms():
    assert passed("number", "about 1,234,567.5 km", value=1234567.5)
    assert passed("number", "1,234", value=1234) and passed("number", "1, 234", value=234)
    assert passed("number", "it is −7", value=-7) and passed("number", "-7", value=-7)
    assert passed("number", "10-7", value=7) and passed("number", "x = -$5", value=-5)
    assert passed("number", "0.1", value=0.1) and passed("number", ".5", value=0.5)
    assert passed("number", "3.14159", value=3.14, tolerance=0.01) and not passed(
        "number", "3.2", value=3.14, tolerance=0.01
    )
    assert [float(n) for n in find_numbers("1,2,3")] == [1, 2, 3]
    assert reason("number", "It is 352.", value=345) == "the last number is 352, expected 345"


@pytest.mark.parametrize(
    ("reply", "shown"),
    [("1e5", "100000"), ("0.00012", "0.00012"), ("1e300", "1E+300"), ("1e-300", "1E-300")],
)
def test_a_number_is_shown_as_a_person_would_write_it(reply, shown):
    assert f" {shown}," in reason("number", reply, value=1)


def test_a_number_of_many_digits_is_cut_and_says_so():
    text = reason("number", "0.0000000000000001234567890123456789012345678", value=1)
    assert re.search(r" 0\.0000000000000001234567890\d*…,", text)


def test_the_only_number():
    assert passed("number", "5, yes 5.0", value=5, which="only")
    assert not passed("number", "2 + 3 = 5", value=5, which="only")


# --- answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "value", "right"),
    [
        (" Paris\n", "Paris", True),
        ("paris", "Paris", False),
        ("Paris.", "Paris", False),
        ("2.0", 2, True),
        ("2", "2", True),
        ("2.0", "2", True),
        ('{"b": 1, "a": [1]}', {"a": [1], "b": 1}, True),
        ('{"b": 1, "a": [1]}', '{"a": [1], "b": 1}', True),
        ('```json\n{"a": 1}\n```', {"a": 1}, True),
        ('It is {"a": 1}', {"a": 1}, False),
        ('It is\n```\n{"a": 1}\n```', {"a": 1}, False),
        ("null", None, True),
        ("", None, False),
        ("", "", True),
        ("True", True, False),
        ("true", True, True),
        ("1", True, False),
        ("NaN", "NaN", True),
    ],
)
def test_expected_is_json_where_it_is_json(reply, value, right):
    assert passed("expected", reply, value=value) is right


def test_one_word_answers():
    assert passed("one_of", '"Positive."', values=["positive", "good"]) and passed(
        "exact", " a b ", text="a b"
    )
    assert not passed("one_of", "It is positive", values=["positive"]) and not passed(
        "exact", "A b", text="a b"
    )
    labels = ["spam", "not spam"]
    assert passed("label", "Not spam.", value="not spam", labels=labels)
    assert not passed("label", "Not spam.", value="spam", labels=labels)
    assert passed("label", "This is spam", value="spam", labels=labels)
    assert not passed("label", "spam or not spam", value="spam", labels=labels)
    assert not passed("label", "", value="spam", labels=labels)


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("Kai", True),
        ("Kai is the tallest.", True),
        ("Kai is taller than Mia, Mia is taller than Jon, so Kai is the tallest.", True),
        ("Kai is the tallest, because Kai is taller than Mia and Mia is taller than Jon.", True),
        ("The tallest is Kai.", True),
        ("Kai is taller than Mia, so Mia is the tallest.", False),
        ("Mia", False),
        ("Kai is taller than Mia and Jon", False),
        ("nobody", False),
        ("", False),
    ],
)
def test_what_a_reply_concludes(reply, right):
    assert passed("concludes", reply, value="Kai", labels=["Kai", "Mia", "Jon"]) is right


# --- refusal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    ["No email is given.", "The text does not mention an email address.", "There is no email in the text.", "Not provided.",
     '{"name": "Sam", "email": null}', '{"name": "Sam", "email": ""}',
     '{"email": null}', "Unfortunately, Sam’s email isn’t given.", "I cannot tell: no e-mail or email address is stated.",
     "1. The email is not given."],
)  # fmt: skip
def test_a_good_refusal(reply):
    assert passed("refusal", reply, source="Name: Sam, Age: 34", thing="email")


@pytest.mark.parametrize(
    "reply",
    ["sam@example.com", "The email is not given, but it may be sam@example.com.", "Sam", "", '{"email": "sam@x.org"}',
     '{"email": "yes"}', '{"name": "Sam"}', "{}", '["Sam"]', '"Sam"',
     "Not given; call 555-1234.", "No email is given. Sam is 35. He is nice.", "See www.sam.org; no email is given."],
)  # fmt: skip
def test_a_bad_refusal(reply):
    assert not passed("refusal", reply, source="Name: Sam, Age: 34", thing="email")


def test_a_refusal_may_repeat_the_source_and_speak_german():
    assert passed("refusal", "Sam is 34, but no email is given.", source="Name: Sam, Age: 34", thing="email")
    assert passed("refusal", "Die Adresse ist nicht angegeben.", source="x", phrases=["nicht angegeben"])
    assert not passed("refusal", "No email is given.", source="x", phrases=["nicht angegeben"])


@pytest.mark.parametrize(
    ("reply", "right"),
    [('{"email": null, "phone": ""}', True), ('{"name": "Sam", "email": null}', False), ("{}", False)],
)
def test_json_refuses_with_no_value_at_all_where_no_thing_is_named(reply, right):
    assert passed("refusal", reply, source="Name: Sam") is right


@pytest.mark.parametrize("end", ["", ".", ",", "..."])
def test_the_full_stop_after_an_address_is_no_part_of_it(end):
    reply = f"No phone is given, see www.sam.org/INDEX{end}"
    assert passed("refusal", reply, source="Sam, www.sam.org/index", thing="phone")
    assert '"www.sam.org/INDEX"' in reason("refusal", reply, source="Sam", thing="phone")


# --- code --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    ["def f(n):\n    return n", "```python\ndef f(n):\n    return n\n```", "```\ndef f(n):\n    return n\n```",
     "Sure! Here it is:\n```py\ndef f(n):\n    return n\n```\nIt returns n.", "Here:\n\ndef f(n):\n    return n\n\nIt returns n.",
     "```python\ndef f(n):\n    return n", "```python\nf = lambda n: n\n```", "```python\ndef f(n): return n\n```\n```python\nprint(f(1))\n```"],
)  # fmt: skip
def test_code_is_found_in_a_reply(reply):
    assert passed("defines", reply, name="f")


@pytest.mark.parametrize(
    "reply", ["", "I cannot code.", "def f(n:\n  return", "```python\ndef g(n): return n\n```", "f(n) = n"]
)
def test_no_such_function(reply):
    assert not passed("defines", reply, name="f")


def test_code_is_run_only_when_asked_for(monkeypatch):
    monkeypatch.setattr(sandbox, "run_code", lambda *a, **k: pytest.fail("was run"))
    prompt = load_prompts("five_tests").prompts[3]
    results = {r.check: r for r in run_checks("```python\ndef factorial(n): return 1\n```", prompt)}
    assert results["code_passes"].passed is None and "only when asked" in results["code_passes"].reason
    assert results["defines"].passed is True


def test_a_sandbox_that_refuses_is_no_failure_of_the_model(monkeypatch):
    monkeypatch.setattr(sandbox, "why_refused", lambda: "this is a toaster")
    result = CHECKS["code_passes"]("def f(): return 1", tests=[{"call": "f()", "equals": 1}], run_code=True)
    assert result.passed is None and "toaster" in result.reason


@pytest.mark.skipif(sandbox.why_refused() is not None, reason=f"no sandbox here: {sandbox.why_refused()}")
def test_the_factorial_is_judged_by_running_it():
    prompt = load_prompts("five_tests").prompts[3]
    right = "```python\ndef factorial(n):\n    return 1 if n < 2 else n * factorial(n - 1)\n```"
    assert all(r.passed for r in run_checks(right, prompt, run_code=True))
    wrong = run_checks(right.replace("< 2", "< 1 - 1"), prompt, run_code=True)[-1]
    assert wrong.passed is False and "factorial(0)" in wrong.reason


# --- running the checks of a prompt ------------------------------------------------------------------


def test_the_course_s_extraction_end_to_end():
    prompt = load_prompts("course").prompts[1]
    assert all(r.passed for r in run_checks(SAM, prompt))
    failed = [r.check for r in run_checks(f"Here: {SAM.replace('Sam', 'Bob')}", prompt) if not r.passed]
    assert failed == ["exact_values", "no_extra_text", "nothing_invented"]


def test_the_source_is_the_prompt_where_none_is_given():
    prompt = Prompt(0, "a", "c", "Name: Sam", ({"check": "nothing_invented"},))
    assert run_checks('{"name": "Sam"}', prompt)[0].passed
    assert not run_checks('{"name": "Sam"}', dataclasses.replace(prompt, source="Name: Bob"))[0].passed


def test_a_check_that_does_not_exist_is_the_author_s_mistake():
    with pytest.raises(BenchkitError, match="did you mean"):
        run_checks("x", Prompt(0, "a", "c", "t", ({"check": "wrds", "max": 3},)))


@pytest.mark.parametrize(
    ("entry", "place"),
    [({"check": "words", "max": "many"}, "max"), ({"check": "words", "mx": 3}, "mx"), ("words", "check")],
)
def test_the_author_is_told_which_prompt_and_which_field_is_wrong(entry, place):
    with pytest.raises(BenchkitError, match=f'^prompt "greeting", {place}: '):
        run_checks("x", Prompt(0, "greeting", "c", "t", (entry,)))


# --- whatever a model writes -------------------------------------------------------------------------

ARGUMENTS = {
    "required_keys": {"keys": ["name"], "only": True},
    "exact_values": {"values": {"a": 1, "b": [1, {"c": None}]}},
    "nothing_invented": {"source": "Name: Sam, 34"},
    "words": {"min": 2, "max": 3}, "sentences": {"max": 3}, "characters": {"max": 3}, "lines": {"max": 3},
    "key_facts": {"facts": ["a", ["b*", "("]]}, "mentions": {"any_of": ["x", "é"]}, "avoids": {"texts": ["x"]},
    "in_order": {"texts": ["a", "b"]}, "bullets": {"count": 3}, "numbered": {"count": 3}, "items": {"count": 3},
    "number": {"value": 345, "which": "only"}, "exact": {"text": "a"}, "one_of": {"values": ["a"]},
    "label": {"value": "a", "labels": ["a", "b"]}, "concludes": {"value": "a", "labels": ["a", "b"]},
    "expected": {"value": {"a": 1}}, "refusal": {"source": "5", "thing": "email"}, "defines": {"name": "f"},
    "code_passes": {"tests": [{"call": "f()", "equals": 1}]},
}  # fmt: skip

fragments = st.sampled_from(
    ["{", "}", "[", "]", '"', ":", ",", "\\", "\\ud800", "```", "```json\n", "null", "NaN", "1e999", "-", "- ", "1. ", "\n", " ", "\t",
     "a", "é", "缓", "@x.y", "345", "1,234.5", "e5", "def f(): ", "import os\n", "\0", "\ud800", "\u2028", "ß", "İ", "²", "٣", "(", "*", "'"]
)  # fmt: skip
replies = st.text() | st.lists(fragments, max_size=30).map("".join) | st.text(st.characters(), max_size=30)


@settings(max_examples=100, deadline=None)
@given(replies)
def test_no_check_ever_raises(reply):
    for name in CHECK_ARGUMENTS:
        result = CHECKS[name](reply, **ARGUMENTS.get(name, {}))
        assert result.passed in (True, False) or name == "code_passes"
        result.reason.encode("utf-8")  # reasons go into files
        assert len(result.reason) < 1000


@settings(max_examples=50, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))  # fmt: skip
def test_any_json_value_equals_itself(value):
    assert passed("valid_json", json.dumps(value)) and passed(
        "expected", json.dumps(value), value=json.loads(json.dumps(value))
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(-(10**9), 10**9))
def test_any_whole_number_is_found_however_it_is_written(n):
    for text in (f"{n}", f"{n:,}", f"So it is {n}.", f"**{n}.0**"):
        assert passed("number", text, value=n), text
    assert not passed("number", f"1{abs(n):010d}", value=n)


# What has made parsers slow: each is repeated to 300,000 characters.
UNITS = {
    "prose": "The cache is fast. ", "one word": "a", "digits": "1", "groups": ",111", "numbers": "1 ", "dots": ".",
    "fences": "```", "braces": '{"a": ', "open text": '{"a', "brackets": "[", "blank lines": "\n \t", "bullets": "- a\n",
    "objects": '{"a": 1}\n', "at signs": "a@", "signs": "-", "underscores": "_", "code": "def f():\n", "blanks": " ",
}  # fmt: skip


@pytest.mark.parametrize("kind", UNITS)
def test_a_huge_reply_is_judged_quickly(kind):
    reply, slow = "a" + UNITS[kind] * (300_000 // len(UNITS[kind])) + "x", {}
    for name in CHECK_ARGUMENTS:
        started = time.process_time()
        CHECKS[name](reply, **ARGUMENTS.get(name, {}))
        slow[name] = time.process_time() - started
    worst = max(slow, key=slow.get)
    assert slow[worst] < 5, f"{worst}: {slow[worst]:.1f} s"


def test_find_code_gives_none_or_code():
    assert find_code("no code, only words") is None
    assert find_code("```python\nx = (\n```") is None


@pytest.mark.parametrize(("reply", "passed"), [
    ("1267650600228229401496703205376", True),
    ("1267650600228229401496703205375", False),
    ("-1267650600228229401496703205376", False),
])  # fmt: skip
def test_a_whole_number_is_compared_to_its_last_digit(reply, passed):
    assert CHECKS["number"](reply, value=2**100).passed is passed
    assert CHECKS["nothing_invented"](f'{{"n": {reply}}}', source=f"2 to the 100th is {2**100}").passed is passed


def test_an_address_that_is_a_part_of_one_in_the_source_is_invented():
    source = "Write to sam@example.com."
    for invented in ("sam@example.co", "am@example.com"):
        assert not CHECKS["refusal"](f"Not given; perhaps {invented}.", source=source).passed
    assert CHECKS["refusal"]("No phone number is given, only Sam@example.com.", source=source, thing="phone number").passed


def test_what_stands_after_ten_thousand_values_is_not_taken_for_read():
    true = ["Sam"] * 10_000
    assert CHECKS["nothing_invented"](json.dumps(true), source="Sam").passed
    assert not CHECKS["nothing_invented"](json.dumps([*true, "Bob"]), source="Sam").passed
    assert not CHECKS["nothing_invented"](json.dumps([None] * 20_000 + ["Bob"]), source="Sam").passed
