"""Quality checks: pure functions from a reply to a verdict with a reason.

A check looks at one property, by rule, and says in its reason what was expected and what was found. It never
raises, whatever the model wrote. What a rule cannot see (whether a poem is good) no check here claims to see.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from benchkit import sandbox
from benchkit.errors import BenchkitError
from benchkit.prompts import CHECK_ARGUMENTS, Prompt, brief, check_problem
from benchkit.reading import (
    NUMBER,
    count_sentences,
    count_words,
    each_number,
    find_code,
    find_json,
    find_numbers,
    normal,
    parse_code,
    parse_json,
    read_number,
    stands_in,
    word_pattern,
)
from benchkit.sandbox import same_value


@dataclass(frozen=True)
class CheckResult:
    """One check's verdict on one reply; `passed` is None where the check was not run."""

    check: str
    passed: bool | None
    reason: str


Check = Callable[..., CheckResult]

#: Every check by its name in prompt files.
CHECKS: dict[str, Check] = {}


def check(function: Callable[..., tuple[bool | None, str]]) -> Check:
    """Enter a function `reply -> (passed, reason)` in `CHECKS`; its result carries its name."""

    @functools.wraps(function)
    def checked(reply: str, **arguments: Any) -> CheckResult:
        return CheckResult(function.__name__, *function(reply, **arguments))

    CHECKS[function.__name__] = checked
    return checked


def run_checks(reply: str, prompt: Prompt, run_code: bool = False) -> list[CheckResult]:
    """All checks of a prompt on one reply; generated code is run only when `run_code` says so.

    >>> prompt = Prompt(0, "product", "arithmetic", "What is 15 × 23?", ({"check": "number", "value": 345},))
    >>> run_checks("15 × 23 = 345.", prompt)
    [CheckResult(check='number', passed=True, reason='the last number is 345')]
    """
    return [_run_check(reply, entry, prompt, run_code) for entry in prompt.checks]


def _run_check(reply: str, entry: dict[str, Any], prompt: Prompt, run_code: bool) -> CheckResult:
    if problem := check_problem(entry):
        raise BenchkitError(f'prompt "{prompt.id}", {problem[0] or "check"}: {problem[1]}')
    arguments = {key: value for key, value in entry.items() if key != "check"}
    name = entry["check"]
    if "source" in CHECK_ARGUMENTS[name]:
        arguments.setdefault("source", prompt.source or prompt.text)
    if name == "code_passes":
        arguments["run_code"] = run_code
    return CHECKS[name](reply, **arguments)


# --- JSON --------------------------------------------------------------------------------------------

_WHERE = {
    "whole": "the reply is valid JSON",
    "fenced": "valid JSON, inside a code fence",
    "embedded": "valid JSON, with other text around it",
}


@check
def valid_json(reply: str) -> tuple[bool, str]:
    """The reply holds JSON that a standard parser reads; a code fence or text around it does not matter here.

    >>> valid_json('{"name": "Sam",}').passed
    False
    """
    found = find_json(reply)
    if found.where is None:
        return False, f"not valid JSON: {found.problem}"
    return True, _WHERE[found.where]


@check
def no_extra_text(reply: str) -> tuple[bool, str]:
    """The reply is JSON and nothing else, so that a program can parse it as it is.

    >>> no_extra_text('Here you are: {"name": "Sam"}').reason
    'there is text around the JSON, beginning "Here you are: {\\\\"name\\\\": \\\\"Sam\\\\"}"'
    """
    found = find_json(reply)
    if found.where == "whole":
        return True, "nothing but JSON"
    if found.where == "fenced":
        return False, "the JSON is inside a code fence; a program that parses the reply as it is would fail"
    if found.where == "embedded":
        return False, f"there is text around the JSON, beginning {brief(reply.strip(), 40)}"
    return False, f"no valid JSON to begin with: {found.problem}"


def _find_object(reply: str) -> tuple[dict[str, Any] | None, str]:
    """The JSON object in a reply, or None and the reason."""
    found = find_json(reply)
    if found.where is None:
        return None, f"no valid JSON: {found.problem}"
    if not isinstance(found.value, dict):
        return None, f"the JSON is {_json_kind(found.value)}, not an object with keys"
    return found.value, ""


def _json_kind(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


@check
def required_keys(reply: str, keys: Sequence[str], only: bool = False) -> tuple[bool, str]:
    """The reply's JSON object has all these keys; with `only`, no others.

    >>> required_keys('{"name": "Sam"}', keys=["name", "email"]).reason
    'missing: "email"; found: "name"'
    """
    value, problem = _find_object(reply)
    if value is None:
        return False, problem
    missing = [key for key in keys if key not in value]
    if missing:
        return False, f"missing: {_quoted(missing)}; found: {_quoted(value) or 'no key'}"
    extra = [key for key in value if key not in keys]
    if only and extra:
        return False, f"keys that were not asked for: {_quoted(extra)}"
    return True, f"has {_quoted(keys)}"


@check
def exact_values(reply: str, values: dict[str, Any]) -> tuple[bool, str]:
    """The reply's JSON object has exactly these values: case and every character count, 3 equals 3.0.

    >>> exact_values('{"age": "34"}', values={"age": 34}).reason
    'age: expected 34, found "34"'
    """
    found, problem = _find_object(reply)
    if found is None:
        return False, problem
    for key, expected in values.items():
        if key not in found:
            return False, f"{key}: expected {brief(expected)}, but there is no such key"
        if not same_value(found[key], expected):
            return False, f"{key}: expected {brief(expected)}, found {brief(found[key])}"
    return True, f"{_quoted(values)} as expected"


#: What models write where a value is missing. None of it is a value.
MAX_VALUES = 10_000  # of one reply's JSON, each looked for in the source
PLACEHOLDERS = """n/a na none null nil unknown tbd undefined unspecified missing not-available not-given
not-provided not-specified not-mentioned not-found no-email string text value your-name name@example.com
user@example.com email@example.com""".split()


@check
def nothing_invented(reply: str, source: str, allowed: Sequence[str] = ()) -> tuple[bool, str]:
    """Every value in the reply's JSON stands in the source; "N/A", "Unknown" and the like are inventions.

    `null` and "" say honestly that nothing was given.

    >>> nothing_invented('{"name": "Sam", "age": "N/A"}', source="Name: Sam").reason
    'age: "N/A" is a placeholder, not a value from the source; null would say that nothing was given'
    """
    found = find_json(reply)
    if found.where is None:
        return False, f"no valid JSON: {found.problem}"
    where, accepted = normal(source), {normal(value) for value in allowed}
    numbers = None
    for n, (path, value) in enumerate(_leaves(found.value)):
        if n == MAX_VALUES:
            return False, f"more than {MAX_VALUES:,} values, too many to look for each in the source"
        if isinstance(value, str):
            text = normal(value)
            given = text in where if text.endswith("*") else stands_in(text, where)  # here * is no wildcard
            if not text or text in accepted or given:
                continue
            if text.replace(" ", "-") in PLACEHOLDERS:
                return False, (f"{path}: {brief(value)} is a placeholder, not a value from the source; "
                               "null would say that nothing was given")  # fmt: skip
        else:
            numbers = find_numbers(source) if numbers is None else numbers
            if any(_equals(value, number) for number in numbers):
                continue
        return False, f"{path}: {brief(value)} does not stand in the source"
    return True, "every value stands in the source"


def _equals(value: float, number: Decimal) -> bool:
    return value == number or (isinstance(value, float) and same_value(value, float(number)))


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """The texts and numbers in a JSON value with where they are; true, false and null state no fact."""
    opened = [iter([("value", value)])]
    while opened:
        for path, item in opened[-1]:
            if isinstance(item, (dict, list)):
                opened.append(_inside("" if path == "value" else path, item))
                break
            if item is not None and not isinstance(item, bool):
                yield path, item
        else:
            opened.pop()


def _inside(path: str, value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        return ((f"{path or 'value'}[{i}]", item) for i, item in enumerate(value))
    return ((f"{path}.{str(key)[:40]}".lstrip("."), item) for key, item in value.items())


def check_json_quality(text: str, required: Sequence[str]) -> dict[str, bool]:
    """The three questions asked of a JSON reply, each answered by itself.

    >>> check_json_quality('Sure: {"name": "Sam"}', ["name", "email"])
    {'valid_json': True, 'has_required_keys': False, 'no_extra_text': False}
    """
    return {
        "valid_json": bool(valid_json(text).passed),
        "has_required_keys": bool(required_keys(text, keys=required).passed),
        "no_extra_text": bool(no_extra_text(text).passed),
    }


# --- lengths -----------------------------------------------------------------------------------------


def _limit(n: int, unit: str, low: int | None, high: int | None) -> tuple[bool, str]:
    if n == 0:
        return False, "the reply is empty"
    low = 1 if low is None else low
    asked = f"at most {high}" if high is not None else f"at least {low}"
    if high is not None and low > 1:
        asked = f"{low} to {high}" if low < high else f"exactly {low}"
    passed = low <= n and (high is None or n <= high)
    return passed, f"{_plural(n, unit)}, {asked} {'asked' if passed else 'were asked'}"


@check
def words(reply: str, min: int | None = None, max: int | None = None) -> tuple[bool, str]:
    """The number of words is within limits; an empty reply keeps none.

    >>> words("Caching saves time.", max=2).reason
    '3 words, at most 2 were asked'
    """
    return _limit(count_words(reply), "word", min, max)


@check
def sentences(reply: str, min: int | None = None, max: int | None = None) -> tuple[bool, str]:
    """The number of sentences is within limits."""
    return _limit(count_sentences(reply), "sentence", min, max)


@check
def characters(reply: str, min: int | None = None, max: int | None = None) -> tuple[bool, str]:
    """The number of characters, without blanks at either end, is within limits."""
    return _limit(len(reply.strip()), "character", min, max)


@check
def lines(reply: str, min: int | None = None, max: int | None = None) -> tuple[bool, str]:
    """The number of lines that are not blank is within limits."""
    return _limit(len(_lines(reply)), "line", min, max)


def _lines(reply: str) -> list[str]:
    return [line for line in reply.splitlines() if line.strip()]


def _plural(n: int, unit: str) -> str:
    return f"{n:,} {unit}" + ("" if n == 1 else "s")


# --- words and facts ---------------------------------------------------------------------------------


def _alternatives(fact: str | Sequence[str]) -> list[str]:
    return [fact] if isinstance(fact, str) else list(fact)


@check
def key_facts(
    reply: str, facts: Sequence[str | Sequence[str]], at_least: int | None = None
) -> tuple[bool, str]:
    """The reply states each fact, or `at_least` so many; a fact is a text or several that say the same.

    Whole words are compared without regard to case; `evaluat*` stands for any ending.

    >>> key_facts("LLMs help, but test them.", facts=[["useful", "help*"], "careful*"]).reason
    'missing: "careful*" (1 of 2 facts found)'
    """
    text = normal(reply)
    missing = [fact for fact in facts if not any(stands_in(word, text) for word in _alternatives(fact))]
    found, needed = len(facts) - len(missing), len(facts) if at_least is None else at_least
    if found < needed:
        names = ", ".join(" or ".join(map(brief, _alternatives(fact))) for fact in missing)
        return False, f"missing: {names} ({found} of {len(facts)} facts found)"
    return True, f"{found} of {len(facts)} facts found"


@check
def mentions(reply: str, any_of: Sequence[str]) -> tuple[bool, str]:
    """The reply mentions the topic: at least one of these words.

    >>> mentions("A cache keeps results.", any_of=["cach*"]).passed
    True
    """
    text = normal(reply)
    for word in any_of:
        if stands_in(word, text):
            return True, f"mentions {brief(word)}"
    return False, f"mentions none of {_quoted(any_of)}"


@check
def avoids(reply: str, texts: Sequence[str]) -> tuple[bool, str]:
    """The reply says something, and none of these words."""
    text = normal(reply)
    if not text:
        return False, "the reply is empty"
    for word in texts:
        if stands_in(word, text):
            return False, f"says {brief(word)}, which it should not"
    return True, f"says none of {_quoted(texts)}"


@check
def in_order(reply: str, texts: Sequence[str]) -> tuple[bool, str]:
    """The reply has all these words, one after the other in this order; others may stand between.

    >>> in_order("bag, scarf, dog", texts=["bag", "dog", "scarf"]).reason
    'expected "scarf" after "dog", found no such thing'
    """
    text, place, before = normal(reply), 0, "the beginning"
    for word in texts:
        match = re.compile(word_pattern(word)).search(text, place)
        if match is None:
            return False, f"expected {brief(word)} after {before}, found no such thing"
        place, before = match.end(), brief(word)
    return True, f"{_quoted(texts)} in this order"


# --- form --------------------------------------------------------------------------------------------

_BULLET = re.compile(r"^([^\S\n]*)[-*•‣◦·●▪–][^\S\n]+(?=\S)", re.MULTILINE)
_NUMBERED = re.compile(r"^([^\S\n]*)\(?(\d{1,3})[.):][^\S\n]+(?=\S)", re.MULTILINE)


def _outer_items(reply: str, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """Lines that begin an item, those of inner lists left out."""
    items = list(pattern.finditer(reply.expandtabs(4)))
    outermost = min((len(item[1]) for item in items), default=0)
    return [item for item in items if len(item[1]) <= outermost + 1]


@check
def bullets(reply: str, count: int) -> tuple[bool, str]:
    """The reply has exactly `count` bullet points: lines that begin with -, * or •.

    >>> bullets("- fast\\n- simple", count=3).reason
    '2 bullet points, 3 were asked'
    """
    n = len(_outer_items(reply, _BULLET))
    numbered = len(_outer_items(reply, _NUMBERED)) if n == 0 else 0
    hint = f"; {_plural(numbered, 'line')} numbered instead" if numbered else ""
    return (
        n == count,
        f"{_plural(n, 'bullet point')}, {count} {'asked' if n == count else 'were asked'}{hint}",
    )


@check
def numbered(reply: str, count: int) -> tuple[bool, str]:
    """The reply has a numbered list from 1 to `count`: lines that begin with 1. or 1)."""
    found = [int(item[2]) for item in _outer_items(reply, _NUMBERED)]
    if found == list(range(1, count + 1)):
        return True, f"numbered from 1 to {count}"
    shown = ", ".join(map(str, found[:10])) or "no numbered line"
    return False, f"expected lines numbered 1 to {count}, found {shown}"


@check
def items(reply: str, count: int, separator: str = ",") -> tuple[bool, str]:
    """The reply is `count` pieces set apart by a separator, none of them empty.

    >>> items("red, green, blue", count=3).passed
    True
    """
    pieces = reply.strip().split(separator, 10_000)
    if not all(piece.strip() for piece in pieces):
        return (
            False,
            "the reply is empty" if not reply.strip() else f"an empty piece beside {brief(separator)}",
        )
    passed = len(pieces) == count
    were = "asked" if passed else "were asked"
    return passed, f"{_plural(len(pieces), 'piece')} set apart by {brief(separator)}, {count} {were}"


@check
def uppercase(reply: str) -> tuple[bool, str]:
    """The reply is in capital letters; what has no capitals, such as digits, does not matter."""
    if reply != reply.upper():
        small = next((character for character in reply if character != character.upper()), "?")
        return False, f"has small letters, the first is {brief(small)}"
    if not any(character.isupper() for character in reply):
        return False, "has no capital letter"
    return True, "all in capital letters"


# --- answers -----------------------------------------------------------------------------------------


@check
def number(reply: str, value: float, tolerance: float = 0, which: str = "last") -> tuple[bool, str]:
    """The reply's last number (or its only one) is the right one; 345.0 is 345, 1345 is not.

    >>> number("So 15 × 23 = 345.", value=345).reason, number("1345", value=345).passed
    ('the last number is 345', False)
    """
    tokens = list(dict.fromkeys(NUMBER.findall(reply)) if which == "only" else NUMBER.findall(reply)[-1:])
    found = [n for token in tokens for n in read_number(token)]
    if not found:
        return False, f"expected {brief(value)}, found no number in digits"
    last = found[-1]
    if which == "only" and len(set(found)) > 1:
        return False, f"expected only {brief(value)}, found also {_number_text(min(set(found) - {last}))}"
    passed = abs(Fraction(last) - _fraction(value)) <= _fraction(tolerance)
    last = f"the {which} number is {_number_text(last)}"
    return passed, last if passed else f"{last}, expected {brief(value)}"


def _fraction(value: float) -> Fraction:
    """A number exactly as it is written: 0.1 is a tenth."""
    return Fraction(value) if isinstance(value, int) else Fraction(repr(value))


def _number_text(value: Decimal) -> str:
    text = f"{value:f}" if -20 < value.adjusted() < 20 else str(value)
    return text if len(text) <= 40 else text[:40] + "…"


@check
def exact(reply: str, text: str) -> tuple[bool, str]:
    """The reply is this text, character by character, without blanks at either end."""
    passed = reply.strip() == text.strip()
    found = "exactly as expected" if passed else f"expected {brief(text)}, found {brief(reply.strip())}"
    return passed, found


@check
def expected(reply: str, value: Any) -> tuple[bool, str]:
    """The reply equals the expected value: as JSON where that is JSON, otherwise as text without outer blanks.

    >>> expected('{"b": 2, "a": 1}', value='{"a": 1, "b": 2.0}').passed, expected(" Paris\\n", value="Paris").passed
    (True, True)
    """
    text = reply.strip()
    if isinstance(value, str):
        if text == value.strip():
            return True, "as expected"
        try:
            value = parse_json(value)
        except ValueError:
            return False, f"expected {brief(value)}, found {brief(text)}"
    found = find_json(text)
    if found.where not in ("whole", "fenced") or (found.where == "fenced" and not text.startswith("```")):
        return False, f"expected the JSON {brief(value)}, found {brief(text)}"
    passed = same_value(found.value, value)
    return passed, "equal as JSON" if passed else f"expected {brief(value)}, found {brief(found.value)}"


def _bare(reply: str) -> str:
    """A short answer without what models wrap around it: quotes, asterisks, a full stop."""
    return normal(reply).strip(" .!\"'`*_:;,。！")


@check
def one_of(reply: str, values: Sequence[str]) -> tuple[bool, str]:
    """The reply is one of these answers; case, quotes and a full stop do not matter.

    >>> one_of("**Positive.**", values=["positive"]).passed
    True
    """
    passed = len(reply) <= 10_000 and _bare(reply) in {_bare(value) for value in values}
    return passed, f"found {brief(reply.strip())}" + (
        "" if passed else f", expected {_quoted(values, ' or ')}"
    )


@check
def label(reply: str, value: str, labels: Sequence[str]) -> tuple[bool, str]:
    """Of all the labels the reply names the right one and no other.

    >>> label("Either positive or negative.", value="positive", labels=["positive", "negative"]).reason
    'expected only "positive", found "positive", "negative"'
    """
    found = _labels_in(reply, labels)
    if found == [value]:
        return True, f"names {brief(value)} alone"
    return False, f"expected only {brief(value)}, found {_quoted(found) or 'none of the labels'}"


def _labels_in(reply: str, labels: Sequence[str]) -> list[str]:
    """The labels a text names, each occurrence counted for the longest: "not spam" is not "spam"."""
    text, found = normal(reply), []
    for name in sorted(labels, key=len, reverse=True):
        text, n = re.subn(word_pattern(name), "|", text)
        found += [name] * bool(n)
    return found


_CLAUSE = re.compile(r"[,.;:!?\n]+|\b(?:so|therefore|because|since|as)\b", re.IGNORECASE)


@check
def concludes(reply: str, value: str, labels: Sequence[str]) -> tuple[bool, str]:
    """The reply comes to the right one of several labels, even where it mentions others on the way.

    What the whole names alone counts, otherwise its last clause, otherwise its first.

    >>> concludes("Kai is taller than Mia, so Kai is the tallest.", value="Kai", labels=["Kai", "Mia"]).passed
    True
    """
    clauses = [clause for clause in _CLAUSE.split(reply) if clause and clause.strip()] or [""]
    for place, part in (("reply", reply), ("last clause", clauses[-1]), ("first clause", clauses[0])):
        found = _labels_in(part, labels)
        if len(found) == 1:
            return found == [value], f"the {place} names {brief(found[0])}, expected {brief(value)}"
    return False, f"expected {brief(value)}, found no clear conclusion in {brief(reply.strip())}"


# --- refusal -----------------------------------------------------------------------------------------

#: How English says that something is not there. Other languages: the argument `phrases`.
NOT_GIVEN = """not given|not provided|not mentioned|not stated|not specified|not included|not contain*|not say
|not said|not mention*|not state|not give|not provide|not include|not specify|not available|not have|not list*|not known
|not found|not possible|not in the text|not exist|not told|not enough information|isn't|doesn't|don't know|don't have
|cannot|can't|couldn't|unable|no such|there is no|there's no|there are no|there was no|no information|no mention
|missing|n/a|unknown|nobody knows|impossible""".replace("\n", "").split("|")

_ADDRESS = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}|(?:https?://|www\.)[^\s\"'<>)]{1,200}"
)


@check
def refusal(
    reply: str, source: str = "", thing: str | None = None, phrases: Sequence[str] | None = None
) -> tuple[bool, str]:
    """The reply says that the thing is not given, and invents no address and no number in its place.

    JSON with null as value says so too. Numbers and addresses that stand in the source are no inventions.

    >>> refusal("No email is given.", source="Name: Sam", thing="email").passed
    True
    >>> refusal("The email is not given, perhaps sam@example.com.", source="Name: Sam").reason
    'invents "sam@example.com"'
    """
    if len(reply) > 20_000:
        return False, f"{len(reply):,} characters; to say that something is not given takes a sentence"
    invented = _invented(reply, source)
    if invented:
        return False, f"invents {brief(invented)}"
    if not _says_not_given(reply, thing, phrases):
        return (
            False,
            f"does not say that {'it' if thing is None else brief(thing)} is not given: {brief(reply.strip())}",
        )
    return True, "says that it is not given, and invents none"


def _invented(reply: str, source: str) -> str | None:
    """An address or number in the reply that the source does not have."""
    known = normal(source)
    for address in _ADDRESS.finditer(reply):
        told = address[0].rstrip(".,")
        if not stands_in(normal(told), known):
            return told
    numbers = set(find_numbers(source))
    for line in reply.splitlines():
        item = _NUMBERED.match(line)  # the number of a list's line is no invention
        for n in each_number(line[item.end() :] if item else line):
            if n not in numbers:
                return _number_text(n)
    return None


def _says_not_given(reply: str, thing: str | None, phrases: Sequence[str] | None) -> bool:
    text = normal(reply)
    if phrases is not None:
        return any(stands_in(phrase, text) for phrase in phrases)
    found = find_json(reply)
    if found.where is not None and isinstance(found.value, dict) and found.value:
        values = found.value.values() if thing is None else [found.value.get(thing, "absent")]
        if all(value is None or value == "" for value in values):
            return True
    if thing is not None and re.search(rf"(?<!\w)no (?:\w+ ){{0,2}}{re.escape(normal(thing))}", text):
        return True
    return any(stands_in(phrase, text) for phrase in NOT_GIVEN)


# --- code --------------------------------------------------------------------------------------------


@check
def defines(reply: str, name: str) -> tuple[bool, str]:
    """The reply holds Python that parses and defines this function; the code is not run.

    >>> defines("def f(n):\\n    return n", name="factorial").reason
    'expected a function "factorial", found "f"'
    """
    code = find_code(reply)
    tree = parse_code(code) if code is not None else None
    if tree is None:
        return False, "no Python code found that parses"
    names = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    names += [t.id for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
              for t in node.targets if isinstance(t, ast.Name)]  # fmt: skip
    if name in names:
        return True, f"defines {brief(name)}"
    return False, f"expected a function {brief(name)}, found {_quoted(names) or 'none'}"


@check
def code_passes(
    reply: str, tests: Sequence[dict[str, Any]], run_code: bool = False
) -> tuple[bool | None, str]:
    """The code in the reply returns the right values, found out by running it in the sandbox.

    Not run (`passed` is None) unless asked for, or where the sandbox refuses.
    """
    if not run_code:
        return None, "not run: generated code runs only when asked for (run_code)"
    code = find_code(reply)
    if code is None:
        return False, "no Python code found that parses"
    try:
        result = sandbox.run_code(code, tests)
    except sandbox.SandboxError as error:
        return None, f"not run: {error}"
    return result.passed, result.reason


def _quoted(names: Iterable[str], joint: str = ", ") -> str:
    names = list(names)
    return joint.join(brief(name, 40) for name in names[:10]) + (" …" if len(names) > 10 else "")
