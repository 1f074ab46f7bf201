"""Reading a reply: the JSON, the code, the numbers, the words and sentences in what a model wrote.

Nothing is judged here; `benchkit.quality` does that. Nothing here raises for any text, but `parse_json`,
and a reply of megabytes takes seconds at most: no pattern goes over the same text again and again.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from benchkit.prompts import brief
from benchkit.sandbox import MAX_CODE

# --- JSON --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FoundJson:
    """The JSON in a reply: its value, where it was ("whole", "fenced", "embedded"), or the problem."""

    value: Any = None
    where: str | None = None
    problem: str = ""


def parse_json(text: str) -> Any:
    """Parse JSON as strictly as its standard; ValueError for anything else, also NaN and repeated keys."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {brief(twice)} appears twice, and programs disagree which one counts")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def code_fences(reply: str) -> list[tuple[str, str]]:
    """The language and the text of each code fence; the last one may lack its end.

    >>> code_fences("See:\\n```json\\n[1]\\n```\\nDone.")
    [('json', '[1]\\n')]
    """
    blocks = []
    for block in reply.split("```")[1::2]:
        language, newline, body = block.partition("\n")
        blocks.append((language.strip().lower(), body) if newline else ("", block))
    return blocks


def find_json(reply: str) -> FoundJson:
    """The JSON value in a reply: the whole of it, the first code fence that holds JSON, or an embedded object.

    >>> find_json('Sure! {"name": "Sam"}')
    FoundJson(value={'name': 'Sam'}, where='embedded', problem='')
    """
    text = reply.strip()
    try:
        return FoundJson(parse_json(text), "whole")
    except ValueError as error:
        problem = _json_problem(text, error)
    for language, block in code_fences(text)[:20]:
        try:
            return FoundJson(parse_json(block), "fenced")
        except ValueError as error:
            if language in ("", "json"):
                problem = f"in the code fence: {_json_problem(block, error)}"
    return _embedded_object(text) or FoundJson(problem=problem)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def _embedded_object(text: str, attempts: int = 20) -> FoundJson | None:
    """A JSON object with other text around it. Only the first few braces are tried: replies can be long."""
    start = text.find("{")
    while start >= 0 and attempts:
        try:
            value, _ = _DECODER.raw_decode(text, start)
            return FoundJson(value, "embedded")
        except (ValueError, RecursionError):
            start, attempts = text.find("{", start + 1), attempts - 1
    return None


def _json_problem(text: str, error: ValueError) -> str:
    if not text:
        return "the reply is empty"
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    if not re.search(r"[{\[]", text):
        return f"no JSON in the reply, which begins {brief(text, 40)}"
    return f"{error.msg} at line {error.lineno}, column {error.colno}"


# --- words and sentences -----------------------------------------------------------------------------

# Chinese and Japanese write no blanks between words: each such character counts as one word.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_](?:[^\s{_CJK}]*[^\W_])?")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]*]*|[。！？｡]+|\n\s*\n")
_NO_END = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|Prof)|(?:\A|\n)\s*\d+)\.\Z")


def count_words(text: str) -> int:
    """Words: runs of characters between blanks that hold a letter or digit.

    >>> count_words("Don't panic – it's 3.5 km, state-of-the-art.")
    6
    """
    return sum(1 for _ in _WORD.finditer(text))


def count_sentences(text: str) -> int:
    """Sentences: stretches that hold a letter or digit and end in . ! ? … 。 or at a blank line.

    >>> count_sentences("Caches are fast, e.g. Redis. Use version 3.5! Why?")
    3
    """
    count, start = 0, 0
    for mark in _SENTENCE_END.finditer(text):
        if _ends_sentence(text, mark):
            count += _WORD.search(text, start, mark.end()) is not None
            start = mark.end()
    return count + (_WORD.search(text, start) is not None)


def _ends_sentence(text: str, mark: re.Match[str]) -> bool:
    """Not the point in 3.5, in "e.g." or after the number of a list's line."""
    following = text[mark.end() : mark.end() + 1]
    if mark[0][0] in ".!?…" and following and not following.isspace():
        return False
    if not following or mark[0] != ".":
        return True
    return _NO_END.search(text[max(0, mark.start() - 8) : mark.end()]) is None


_ALIKE = str.maketrans("‘’‚“”„«»–—−‐‑×", '\'\'\'"""""-----x')


def normal(text: str) -> str:
    """Text for comparison: no difference of case, width, quotation marks, dashes or blanks.

    >>> normal("Sam’s  CACHE")
    "sam's cache"
    """
    return " ".join(unicodedata.normalize("NFKC", text).translate(_ALIKE).casefold().split())


def word_pattern(keyword: str) -> str:
    """A keyword as a pattern: whole words, unless it ends in *, or has no letters that blanks set apart."""
    stem = keyword.rstrip("*")
    text = normal(stem)
    if not text:
        return r"(?!)"
    alone = re.compile(rf"[^\W{_CJK}]")
    before = r"(?<!\w)" if alone.match(text[0]) else ""
    after = r"(?!\w)" if alone.match(text[-1]) and stem == keyword else ""
    return before + re.escape(text) + after


def stands_in(keyword: str, normal_text: str) -> bool:
    """Whether a keyword stands in a text that went through `normal`."""
    return re.search(word_pattern(keyword), normal_text) is not None


# --- numbers -----------------------------------------------------------------------------------------

# A number as it stands in text, taken whole: not the 345 in 1345, x345 or 2345.0.
NUMBER = re.compile(
    r"(?<!\w)(?<!\d\.)(?:(?<![\w)\]])[-−–])?\$?(?:\d[\d,]*(?:\.\d+)?|(?<!\.)\.\d+)(?:[eE][-+]?\d{1,3}(?!\w))?"
)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def find_numbers(text: str) -> list[Decimal]:
    """The numbers in a text, in order: 1,234 is one number, 1, 2 are two.

    >>> [str(n) for n in find_numbers("1,234 - 3.0 = −5, not x7")]
    ['1234', '3.0', '-5']
    """
    return list(each_number(text))


def each_number(text: str) -> Iterator[Decimal]:
    """The numbers in a text, one by one: a long text may hold millions."""
    return (number for match in NUMBER.finditer(text) for number in read_number(match[0]))


def read_number(token: str) -> list[Decimal]:
    """The value of what `NUMBER` matched; several where commas set numbers apart, as in 1,2,3."""
    negative = token[0] in "-−–"
    token = token.lstrip("-−–$").rstrip(",")
    pieces = [token.replace(",", "")] if _GROUPED.fullmatch(token) else token.split(",")
    numbers = []
    for piece in pieces:
        try:
            value = Decimal(piece[:400]) if piece else None
        except InvalidOperation:
            continue
        # copy_negate: a minus before a Decimal rounds it to 28 digits
        numbers.append(value.copy_negate() if negative and value is not None else value)
        negative = False
    return [n for n in numbers if n is not None]


# --- code --------------------------------------------------------------------------------------------


def find_code(reply: str) -> str | None:
    """The Python in a reply: its fenced blocks that compile, else the reply, else from the first `def` on.

    >>> find_code("Sure:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    reply = reply[:MAX_CODE]
    languages = ("", "python", "py", "python3")
    fenced = [block for language, block in code_fences(reply)[:20] if language in languages]
    good = [block for block in fenced if parse_code(block) is not None]
    if good:
        return "\n".join(good)
    if parse_code(reply) is not None and reply.strip():
        return reply
    start = re.search(r"^(?:from |import |def |class |@)", reply, re.MULTILINE)
    return _longest_that_parses(reply[start.start() :].splitlines()) if start else None


def _longest_that_parses(rows: list[str], attempts: int = 40) -> str | None:
    """Code followed by prose: lines are dropped from the end until the rest is Python."""
    for end in range(len(rows), max(len(rows) - attempts, 0), -1):
        code = "\n".join(rows[:end])
        if parse_code(code) is not None:
            return code
    return None


def parse_code(code: str) -> ast.Module | None:
    """Python's syntax tree, or None where the text is no Python; nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model's odd escapes are no concern of ours
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if tree.body else None
