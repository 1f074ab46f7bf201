"""Prompt sets: what is asked, and how the reply will be checked.

Three kinds of file are read (see `prompts/README.md`): the project's own JSONL with a header line,
plain `.txt` with one prompt a line, and `.jsonl` whose lines are exactly `{"prompt": …, "expected": …}`.
Everything is checked while reading, because a mistake found after a two-hour run is found too late.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchkit import places
from benchkit.errors import BenchkitError, did_you_mean

#: Longer prompts than this are taken for a mistake, such as a whole file pasted into one line.
MAX_CHARACTERS = 100_000

#: A larger file than this is no prompt file.
MAX_BYTES = 50_000_000

#: What a prompt file may ask of a reply: each check of `benchkit.quality` with the kind of each argument.
#: A question mark means that the argument may be left out.
CHECK_ARGUMENTS: dict[str, dict[str, str]] = {
    "valid_json": {},
    "no_extra_text": {},
    "required_keys": {"keys": "texts", "only": "flag?"},
    "exact_values": {"values": "object"},
    "nothing_invented": {"source": "text?", "allowed": "texts?"},
    "words": {"min": "count?", "max": "count?"},
    "sentences": {"min": "count?", "max": "count?"},
    "characters": {"min": "count?", "max": "count?"},
    "lines": {"min": "count?", "max": "count?"},
    "key_facts": {"facts": "facts", "at_least": "count?"},
    "mentions": {"any_of": "texts"},
    "avoids": {"texts": "texts"},
    "in_order": {"texts": "texts"},
    "bullets": {"count": "count"},
    "numbered": {"count": "count"},
    "items": {"count": "count", "separator": "text?"},
    "number": {"value": "number", "tolerance": "number?", "which": "which?"},
    "exact": {"text": "text"},
    "one_of": {"values": "texts"},
    "label": {"value": "text", "labels": "texts"},
    "concludes": {"value": "text", "labels": "texts"},
    "expected": {"value": "json"},
    "refusal": {"source": "text?", "thing": "text?", "phrases": "texts?"},
    "uppercase": {},
    "defines": {"name": "text"},
    "code_passes": {"tests": "tests"},
}


@dataclass(frozen=True)
class Prompt:
    """One thing to ask, and the checks its reply must pass.

    >>> Prompt(index=0, id="product", category="arithmetic", text="What is 15 × 23?",
    ...        checks=({"check": "number", "value": 345},)).text
    'What is 15 × 23?'
    """

    index: int  # from 0: its place in the set, and in the names of artifacts
    id: str
    category: str
    text: str
    checks: tuple[dict[str, Any], ...] = ()
    source: str | None = None  # the text that facts must come from; None: the prompt itself
    max_tokens: int | None = None  # None: the plan decides


@dataclass(frozen=True)
class PromptSet:
    """A set of prompts, and the SHA-256 of the file's bytes that says exactly which one it was."""

    name: str
    version: int | None
    description: str
    prompts: tuple[Prompt, ...]
    sha256: str
    path: str

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def __len__(self) -> int:
        return len(self.prompts)


class PromptError(BenchkitError):
    """A prompt file that cannot be used: the message names the file, the line and the field."""

    def __init__(self, problem: str, path: str | Path, line: int | None = None, field: str | None = None):
        self.path, self.line, self.field, self.problem = str(path), line, field, problem
        where = [self.path, f"line {line}" if line else "", f'field "{field}"' if field else ""]
        super().__init__(", ".join(part for part in where if part) + f": {problem}")

    def __reduce__(self):  # so that the error survives the way between processes
        return (type(self), (self.problem, self.path, self.line, self.field))


# --- finding and loading -----------------------------------------------------------------------------


def load_prompts(name_or_path: str | Path) -> PromptSet:
    """Load a prompt set by name (`course`: its newest version; `course-v1`) or a .jsonl or .txt file.

    >>> prompts = load_prompts("course")
    >>> len(prompts), prompts.prompts[0].id
    (3, 'summary')
    """
    path = _find(name_or_path)
    data = _read_bytes(path)
    lines = _lines(_decode(data, path), path)
    read = _read_txt if path.suffix.lower() == ".txt" else _read_jsonl
    name, version, description, prompts = read(lines, path)
    return PromptSet(name, version, description, tuple(prompts), hashlib.sha256(data).hexdigest(), str(path))


def available_prompt_sets() -> list[str]:
    """Names of the sets that ship with the toolkit, without their versions."""
    return sorted({name for name, _ in _shipped()})


def _shipped() -> dict[tuple[str, int], Path]:
    """The versioned sets beside the package: (name, version) → file."""
    found = {}
    for path in places.PROMPTS.glob("*-v*.jsonl"):
        if match := re.fullmatch(r"(.+)-v(\d+)", path.stem):
            found[match[1], int(match[2])] = path
    return found


def _find(name_or_path: str | Path) -> Path:
    name = str(name_or_path)
    looks_like_file = isinstance(name_or_path, Path) or re.search(r"[/\\]|\.\w{1,8}$", name)
    if looks_like_file:
        return _find_file(Path(os.path.expanduser(name)))
    shipped = _shipped()
    for (stem, version), path in shipped.items():
        if name == f"{stem}-v{version}":
            return path
    versions = [version for stem, version in shipped if stem == name]
    if versions:
        return shipped[name, max(versions)]
    names = available_prompt_sets()
    raise BenchkitError(
        f'there is no prompt set "{name}"{did_you_mean(name, names)}. Sets that ship with the toolkit: '
        f"{', '.join(names) or 'none'}. A file of your own is named with its ending: my_prompts.txt"
    )


def _find_file(path: Path) -> Path:
    if os.path.isdir(path):
        raise PromptError("this is a folder; name one .jsonl or .txt file in it", path)
    if path.suffix.lower() not in (".jsonl", ".txt"):
        convert = (".csv", ".json", ".parquet")
        hint = "; `benchkit prompts from-file` makes one from it" if path.suffix.lower() in convert else ""
        raise PromptError(f'a prompt file ends in .jsonl or .txt, this one in "{path.suffix}"{hint}', path)
    if not os.path.exists(path):
        near = [p.name for p in path.parent.glob("*") if p.suffix.lower() in (".jsonl", ".txt")]
        raise PromptError(f"there is no such file{did_you_mean(path.name, near)}", path)
    if not os.path.isfile(path):  # a pipe or a device may have no end
        raise PromptError("this is not a text file", path)
    return path


# --- from bytes to lines -----------------------------------------------------------------------------


def _read_bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PromptError(f"the file cannot be read: {error.strerror or error}", path) from None
    if len(data) > MAX_BYTES:
        raise PromptError(f"a prompt file has at most {MAX_BYTES:,} bytes; this one has more", path)
    return data


def _decode(data: bytes, path: Path) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise PromptError(
            'the file is UTF-16; save it as UTF-8 (in Notepad: "Save as", encoding UTF-8)', path
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(_NEWLINE.findall(data[: error.start].decode("utf-8", "replace"))) + 1
        bad = f"0x{data[error.start]:02x}"
        raise PromptError(f"byte {bad} is not UTF-8; save the file as UTF-8", path, line) from None


_NEWLINE = re.compile(r"\r\n|\n|\r")


def _lines(text: str, path: Path) -> list[str]:
    """The file's lines; blank, over-long and binary ones are refused, for each would be asked as a prompt."""
    lines = _NEWLINE.split(text)
    if lines[-1] == "":  # what follows the last line ending is no line
        lines.pop()
    if not lines:
        raise PromptError("the file is empty; write one prompt a line", path)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise PromptError("the line is blank; delete it", path, number)
        if "\0" in line:
            raise PromptError("the line holds a NUL character; is this a text file?", path, number)
        if len(line) > 2 * MAX_CHARACTERS:
            raise PromptError(_too_long(len(line)), path, number)
    return lines


def _too_long(n: int) -> str:
    return f"{n:,} characters, at most {MAX_CHARACTERS:,} are allowed; is a line ending missing?"


# --- the three formats -------------------------------------------------------------------------------


def _read_txt(lines: list[str], path: Path):
    prompts = [
        Prompt(i, f"{path.stem}-{i:02d}", "other", _prompt_text(line, path, i + 1, None))
        for i, line in enumerate(lines)
    ]
    return path.stem, None, "", prompts


def _read_jsonl(lines: list[str], path: Path):
    rows = [_object(line, path, number) for number, line in enumerate(lines, 1)]
    if "set" in rows[0]:
        return _read_own(rows, path)
    if "prompt" not in rows[0] or {"id", "category", "checks"} & set(rows[0]):
        problem = 'the first line must be a header, {"set": "my_set", "version": 1, "description": "…"}, '
        raise PromptError(problem + 'or every line exactly {"prompt": …, "expected": …}', path, 1)
    return path.stem, None, "", [_expected_prompt(row, path, i) for i, row in enumerate(rows)]


def _expected_prompt(row: dict, path: Path, index: int) -> Prompt:
    """A line of the strict schema `{"prompt", "expected"}`."""
    line = index + 1
    _refuse_unknown(row, ("prompt", "expected"), path, line)
    for field in ("prompt", "expected"):
        if field not in row:
            raise PromptError(
                f'missing; a line is exactly {{"prompt": …, "expected": …}}, found {_keys(row)}',
                path,
                line,
                field,
            )
    text = _prompt_text(row["prompt"], path, line, "prompt")
    checks = ({"check": "expected", "value": row["expected"]},)
    return Prompt(index, f"{path.stem}-{index:02d}", "other", text, checks)


def _read_own(rows: list[dict], path: Path):
    header = rows[0]
    _refuse_unknown(header, ("set", "version", "description"), path, 1)
    name = _name(header["set"], path, 1, "set")
    version = header.get("version")
    if version is not None and not is_kind(version, "count"):
        raise PromptError(f"must be a whole number from 1, found {brief(version)}", path, 1, "version")
    description = header.get("description", "")
    if not isinstance(description, str):
        raise PromptError(f"must be text, found {brief(description)}", path, 1, "description")
    if len(rows) == 1:
        raise PromptError("there is a header but no prompt below it", path, 1)
    prompts = [_own_prompt(row, path, index) for index, row in enumerate(rows[1:])]
    _refuse_repeated_ids(prompts, path)
    return name, version, description, prompts


_OWN_FIELDS = ("id", "category", "prompt", "checks", "source", "max_tokens")


def _own_prompt(row: dict, path: Path, index: int) -> Prompt:
    line = index + 2  # the header is line 1
    _refuse_unknown(row, _OWN_FIELDS, path, line)
    for field in ("id", "category", "prompt"):
        if field not in row:
            raise PromptError(f"missing; found {_keys(row)}", path, line, field)
    source, max_tokens = row.get("source"), row.get("max_tokens")
    if source is not None:
        source = _prompt_text(source, path, line, "source")
    if max_tokens is not None and not is_kind(max_tokens, "count"):
        raise PromptError(
            f"must be a whole number from 1, found {brief(max_tokens)}", path, line, "max_tokens"
        )
    return Prompt(
        index, _name(row["id"], path, line, "id"), _category(row["category"], path, line),
        _prompt_text(row["prompt"], path, line, "prompt"), _checks(row.get("checks", []), path, line),
        source, max_tokens,
    )  # fmt: skip


def _refuse_repeated_ids(prompts: list[Prompt], path: Path) -> None:
    seen: dict[str, int] = {}
    for prompt in prompts:
        first = seen.setdefault(prompt.id, prompt.index)
        if first != prompt.index:
            problem = f'"{prompt.id}" is already the id of line {first + 2}; each prompt needs its own'
            raise PromptError(problem, path, prompt.index + 2, "id")


# --- fields ------------------------------------------------------------------------------------------


def _object(line: str, path: Path, number: int) -> dict:
    try:
        row = json.loads(line, object_pairs_hook=no_repeats, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        problem = f"not valid JSON: {error.msg} at column {error.colno}"
        raise PromptError(problem, path, number) from None
    except (ValueError, RecursionError) as error:
        raise PromptError(f"not usable JSON: {error}", path, number) from None
    if not isinstance(row, dict):
        raise PromptError(f"each line must be a JSON object, {{…}}, found {brief(row)}", path, number)
    return row


def repeated(names: Iterable[str]) -> str | None:
    """The first name that comes more than once, or None.

    >>> repeated(["a", "b", "c", "b"]), repeated("abc")
    ('b', None)
    """
    return next((name for name, n in Counter(names).items() if n > 1), None)


def no_repeats(pairs: list[tuple[str, Any]]) -> dict:
    """For `json.loads(object_pairs_hook=…)`: an object whose keys all differ."""
    twice = repeated(key for key, _ in pairs)
    if twice is not None:
        raise ValueError(f'the key "{twice[:80]}" appears twice')
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value; use null")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:40]} is too large a number")
    return value


def _refuse_unknown(row: Mapping, known: tuple[str, ...], path: Path, line: int, prefix: str = "") -> None:
    for field in row:
        if field not in known:
            problem = f"unknown field{did_you_mean(field, known)}; allowed here: {', '.join(known)}"
            raise PromptError(problem, path, line, prefix + str(field)[:80])


def _prompt_text(value: Any, path: Path, line: int, field: str | None) -> str:
    if not isinstance(value, str):
        raise PromptError(f"must be text, found {brief(value)}", path, line, field)
    if all(c.isspace() or unicodedata.category(c) == "Cf" for c in value):  # Cf: joiners, direction marks
        raise PromptError("is empty: it holds no character that can be seen", path, line, field)
    if "\ufeff" in value:
        problem = "holds a byte order mark, which belongs at the start of a file; were two files joined?"
        raise PromptError(problem, path, line, field)
    if "\0" in value:
        raise PromptError("holds a NUL character, which engines take for the end", path, line, field)
    if len(value) > MAX_CHARACTERS:
        raise PromptError(_too_long(len(value)), path, line, field)
    if re.search("[\ud800-\udfff]", value):
        raise PromptError("holds half of a character (a lone surrogate), which is no text", path, line, field)
    return value


def _name(value: Any, path: Path, line: int, field: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        problem = f"must be 1 to 64 letters, digits, _ . or -, beginning with a letter or digit, found {brief(value)}"
        raise PromptError(problem, path, line, field)
    return value


def _category(value: Any, path: Path, line: int) -> str:
    value = _prompt_text(value, path, line, "category")
    if len(value) > 64 or not value.isprintable():
        raise PromptError(
            f"must be 1 to 64 characters in one line, found {brief(value)}", path, line, "category"
        )
    return value


def _keys(row: Mapping) -> str:
    return ", ".join(f'"{str(key)[:40]}"' for key in list(row)[:10]) or "nothing"


def brief(value: Any, limit: int = 60) -> str:
    """A value as JSON, cut to what fits into a message.

    >>> brief({"a": [1, 2, 3]}, limit=8)
    '{"a": [1…'
    """
    if isinstance(value, (str, bytes)):
        value = value[: limit + 1]
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, TypeError, RecursionError):
        text = f"a {type(value).__name__}"
    text = text if len(text) <= limit else text[:limit] + "…"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# --- checks ------------------------------------------------------------------------------------------

#: The kinds of argument: what the message says, and the test.
_KINDS = {
    "text": ("a text that is not empty", lambda v: isinstance(v, str) and v != ""),
    "texts": ("a list of texts", lambda v: _list_of(v, lambda x: is_kind(x, "text"))),
    "facts": ("a list of texts, or of lists of texts that say the same",
              lambda v: _list_of(v, lambda x: is_kind(x, "text") or is_kind(x, "texts"))),
    "count": ("a whole number from 1",
              lambda v: isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= 10**9),
    "number": ("a number", lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and v - v == 0),
    "flag": ("true or false", lambda v: isinstance(v, bool)),
    "object": ("a JSON object that is not empty", lambda v: isinstance(v, dict) and bool(v)),
    "json": ("a JSON value", lambda v: True),
    "which": ('"last" or "only"', lambda v: v in ("last", "only")),
    "tests": ('a list of {"call": "f(2)", "equals": 4}', lambda v: _list_of(v, lambda x: (
        isinstance(x, dict) and set(x) == {"call", "equals"} and is_kind(x["call"], "text")))),
}  # fmt: skip


def _list_of(value: Any, test) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(test, value))


def is_kind(value: Any, kind: str) -> bool:
    """Whether a value is of one of the kinds that `CHECK_ARGUMENTS` names."""
    return _KINDS[kind][1](value)


def _checks(value: Any, path: Path, line: int) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list):
        raise PromptError(
            f'must be a list of {{"check": "name", …}}, found {brief(value)}', path, line, "checks"
        )
    for i, check in enumerate(value):
        if problem := check_problem(check):
            field, text = problem
            raise PromptError(text, path, line, f"checks[{i}]" + (f".{field}" if field else ""))
    return tuple(value)


def check_problem(check: Any) -> tuple[str, str] | None:
    """What is wrong with one entry of `checks`, as (field, message), or None.

    >>> check_problem({"check": "numbr", "value": 345})
    ('check', 'there is no check "numbr" (did you mean "number"?)')
    >>> check_problem({"check": "number", "value": 345}) is None
    True
    """
    if not isinstance(check, dict):
        return "", f'must be an object {{"check": "name", …}}, found {brief(check)}'
    name = check.get("check")
    if "check" not in check:
        return "check", f'missing; an entry names its check: {{"check": "number", …}}, found {_keys(check)}'
    if not isinstance(name, str) or name not in CHECK_ARGUMENTS:
        hint = did_you_mean(str(name), CHECK_ARGUMENTS) or f"; there are: {', '.join(CHECK_ARGUMENTS)}"
        return "check", f"there is no check {brief(name)}{hint}"
    arguments = {key: value for key, value in check.items() if key != "check"}
    return _argument_problem(name, arguments) or _conflict(name, arguments)


def _argument_problem(name: str, arguments: dict) -> tuple[str, str] | None:
    allowed = CHECK_ARGUMENTS[name]
    for key, value in arguments.items():
        if key not in allowed:
            takes = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            return key, f'the check "{name}" has no such argument{did_you_mean(key, allowed)}; {takes}'
        kind = allowed[key].rstrip("?")
        if not is_kind(value, kind):
            return key, f"must be {_KINDS[kind][0]}, found {brief(value)}"
    for key, kind in allowed.items():
        if key not in arguments and not kind.endswith("?"):
            return key, f'missing; the check "{name}" needs {_KINDS[kind][0]}'
    return None


def _conflict(name: str, arguments: dict) -> tuple[str, str] | None:
    """Arguments that are each well-formed, but that no reply could satisfy."""
    low, high = arguments.get("min"), arguments.get("max")
    if "min" in CHECK_ARGUMENTS[name] and low is None and high is None:
        return "max", f'the check "{name}" needs min, max or both'
    if low is not None and high is not None and low > high:
        return "max", f"is {high}, below min, which is {low}"
    if arguments.get("at_least", 0) > len(arguments.get("facts", ())):
        return "at_least", f"is {arguments['at_least']}, but only {len(arguments['facts'])} facts are given"
    if name in ("label", "concludes") and arguments["value"] not in arguments["labels"]:
        return "value", f"{brief(arguments['value'])} is not among the labels {brief(arguments['labels'])}"
    if arguments.get("tolerance", 0) < 0:
        return "tolerance", f"must not be negative, found {arguments['tolerance']}"
    return None
