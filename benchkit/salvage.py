"""Find a student's answers in a notebook, however it was damaged: an answer that is intact is never lost.

A notebook file is read as far as it can be: JSON, JSON that breaks off, two versions with git's marks between
them, an old format, a script. An answer is looked for under its grade_id, under its cell's id, and by the
names that it defines; cells may be moved, copied, retyped, merged and split. All that differ are handed on,
the likeliest first.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchkit.course import Cell, Exercise

MAX_CANDIDATES = 40  # for one answer
MAX_MAGICS = 300  # lines of a cell
MAX_BROKEN = 300_000  # characters of a cell that Python cannot read as a whole
MAX_ESSAY = 20_000  # characters
MAX_PIECES = 50_000  # places of a broken file at which a source is looked for
MAX_FAILURES = 2_000  # places of a broken file at which a cell seems to begin that cannot be read


@dataclass(frozen=True)
class Found:
    """One cell of a student's notebook: what it says it is, and its text."""

    source: str
    kind: str = "code"
    grade_id: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Extra:
    """Code of the student's own beside the answers: a helper, an import; and the exercise's cell it stands after."""

    after: str | None
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """What was found of one student's work. A candidate is code in parts, each of which runs for itself."""

    candidates: dict[str, list[tuple[str, ...]]]
    extras: list[Extra] = field(default_factory=list)
    essays: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


# ---- a file's cells --------------------------------------------------------------------------------


def read_cells(data: bytes) -> tuple[list[Found], str]:
    """The cells of a notebook file, and what is wrong with it ("" where nothing is)."""
    text = decode(data)
    try:
        whole = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        reason = f"the file is no notebook that Jupyter could open ({str(error)[:80]}): what could be saved was graded"
        cells = [cell for version in versions(text) for cell in saved_cells(version)]
        return cells or script_cells(text), reason
    cells = list(_cells_in(whole))
    return cells, "" if cells else "the notebook has no cells"


def decode(data: bytes) -> str:
    """A file's text, whatever program saved it.

    >>> decode("é".encode("utf-16")), decode("é".encode("utf-8-sig")), decode("é".encode("latin-1"))
    ('é', 'é', 'é')
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if data[:200].count(0) > len(data[:200]) // 4:
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", "replace")
    text = data.decode("utf-8-sig", "replace")
    broken = text.count("\ufffd")
    whole = len(text) - broken - len(text.encode("ascii", "ignore")) if broken else 0
    return data.decode("latin-1") if broken > whole else text


def _cells_in(value: Any) -> Iterator[Found]:
    """Every cell in a notebook of any format, in order."""
    stack = [value]
    while stack:
        here = stack.pop()
        if isinstance(here, list):
            stack.extend(reversed(here))
        elif isinstance(here, dict):
            if "source" in here or "input" in here:
                yield _found(here)
            # A cell whose end was lost holds those that follow it.
            stack.extend(reversed([inner for name, inner in here.items() if name != "outputs"]))


def _found(cell: dict) -> Found:
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    names = (cell.get("cell_type"), grade_id, cell.get("id"))
    kind, grade_id, cell_id = (name if isinstance(name, str) else None for name in names)
    return Found(_text(cell.get("source", cell.get("input"))), kind or "code", grade_id, cell_id)


def _text(source: Any) -> str:
    lines = source if isinstance(source, list) else [source]
    text = "".join(line for line in lines if isinstance(line, str))
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").lstrip("\ufeff")


# ---- a broken file ---------------------------------------------------------------------------------

CONFLICT = re.compile(r"^<{7}[^\n]*\n(.*?)^={7}[^\n]*\n(.*?)^>{7}[^\n]*\n?", re.M | re.S)
CELL = re.compile(
    r'\{\s*"(?:cell_type|id|metadata|source|input|execution_count|attachments|outputs|collapsed)"'
)
SOURCE = re.compile(r'"(?:source|input)"\s*:\s*')
GRADE_ID = re.compile(r'"grade_id"\s*:\s*"(\w+)"')
STRING = re.compile(r'\s*(?:,\s*)?("[^"\\]*(?:\\.[^"\\]*)*")')
SCRIPT_CELL = re.compile(r"^# ?%%[^\n]*$|^# In ?\[[^\n]*$", re.M)


def versions(text: str) -> list[str]:
    """A text in which git left two versions side by side, as the one and as the other."""
    if text.count("<" * 7) > 1_000 or not CONFLICT.search(text):  # more is no merge, and would take long
        return [text]
    return [CONFLICT.sub(lambda found, side=side: found[side], text) for side in (1, 2)]


def saved_cells(text: str) -> list[Found]:
    """The cells of a text that is no JSON as a whole: those that are whole, then sources that stand alone."""
    decoder, cells, end, failures = json.JSONDecoder(strict=False), [], 0, 0
    for place in CELL.finditer(text):
        if place.start() < end or failures > MAX_FAILURES:
            continue
        try:
            cell, after = decoder.raw_decode(text, place.start())
        except (ValueError, RecursionError):
            failures += 1
            continue
        cells += [*_lone_sources(text[end : place.start()]), *_cells_in(cell)]
        end = after
    return cells + _lone_sources(text[end:])


def _lone_sources(text: str) -> list[Found]:
    """What stands behind `"source":` between cells that could be read, as far as it goes."""
    cells, end = [], 0
    for place in itertools.islice(SOURCE.finditer(text), MAX_PIECES):
        if place.start() < end:
            continue
        before, at, lines = text[end : place.start()], place.end(), []
        at += text[at : at + 1] == "["
        while line := STRING.match(text, at):
            lines.append(line[1])
            at = line.end()
        names = GRADE_ID.findall(before)
        cells.append(Found(_text([_string(line) for line in lines]), "code", names[-1] if names else None))
        end = at
    return cells


def _string(quoted: str) -> str:
    try:
        return json.loads(quoted, strict=False)
    except ValueError:
        return ""


def script_cells(text: str) -> list[Found]:
    """The cells of a script: a notebook that was saved or exported as Python."""
    return [Found(_text(part)) for part in SCRIPT_CELL.split(text) if part.strip()]


# ---- code ------------------------------------------------------------------------------------------

FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.M)
MAGIC = re.compile(r"^(\s*)(?:(%time\s+)(?=\w)|[%!?]|(\w+\s*=\s*)[!%])")
QUESTION = re.compile(r"^(\s*)()()[\w.]+\?{1,2}$")


def tree_of(code: str) -> ast.Module | None:
    """The code's syntax tree; None where Python cannot read it."""
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def mended(source: str) -> str:
    """Code as Python reads it: without a notebook's own commands, and without a markdown cell's fences.

    Only lines that Python refuses are touched, so a `%` within an expression stays.

    >>> mended("%timeit f(1)\\nx = 7 \\\\\\n  % 4\\n!ls\\n%time y = 1\\nf?")
    'pass\\nx = 7 \\\\\\n  % 4\\npass\\ny = 1\\npass'
    """
    lines = source.split("\n")
    for _ in lines[:MAX_MAGICS]:
        try:
            ast.parse("\n".join(lines))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            row = (getattr(error, "lineno", None) or 0) - 1
            if not (0 <= row < len(lines) and _take_magic_out(lines, row)):
                break
        else:
            return "\n".join(lines)
    unfenced = FENCE.sub("", source)
    return mended(unfenced) if unfenced != source else "\n".join(lines)


def _take_magic_out(lines: list[str], row: int) -> bool:
    """Put plain Python in place of a notebook's own command; False where the line is none."""
    magic = MAGIC.match(lines[row]) or QUESTION.match(lines[row].rstrip())
    if not magic:
        return False
    indent, timed, assigned = magic.groups()
    if timed:
        lines[row] = indent + lines[row][magic.end() :]
    else:
        lines[row] = f"{indent}{assigned}None" if assigned else f"{indent}pass"
    return True


#: How a statement begins that may never end.
LOOPS = ("while ", "for ", "with ", "if ", "try:")


def statements(source: str) -> list[str]:
    """A cell's statements, each for itself, without those that only show or check something.

    Where Python cannot read the cell as a whole, those blocks that it can read.

    >>> statements("x = 1\\nprint(x)\\ndef broken(:\\n    pass\\ndef f():\\n    return 2")
    ['x = 1', 'def f():\\n    return 2']
    """
    code = mended(source)
    tree = tree_of(code)
    trees = [tree] if tree else _readable_blocks(code[:MAX_BROKEN])
    shown = (ast.Expr, ast.Raise, ast.Assert, ast.Delete)
    try:
        return [ast.unparse(node) for tree in trees for node in tree.body if not isinstance(node, shown)]
    except RecursionError:  # an expression of thousands of terms
        return [code]


def _readable_blocks(code: str) -> list[ast.Module]:
    """Blocks that begin at the left margin and can be read; one that cannot may need the next ones to be whole."""
    lines = code.split("\n")
    starts = [i for i, line in enumerate(lines) if re.match(r"[\w@]", line)
              and not re.match(r"(?:else|elif|except|finally)\b", line)] + [len(lines)]  # fmt: skip
    trees, at = [], 0
    while at < len(starts) - 1:
        ends = range(at + 1, min(at + 12, len(starts)))
        read = ((end, tree_of(mended("\n".join(lines[starts[at] : starts[end]])))) for end in ends)
        end, tree = next(((end, tree) for end, tree in read if tree), (at + 1, None))
        trees += [tree] if tree else []
        at = end
    return trees


def names_in(tree: ast.AST) -> set[str]:
    """The names that code defines at its top level: functions, classes, variables."""
    names, nodes = set(), list(ast.iter_child_nodes(tree))
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda):
            nodes.extend(ast.iter_child_nodes(node))
    return names


# ---- answers ---------------------------------------------------------------------------------------


def sort_out(exercise: Exercise, cells: Sequence[Found]) -> Work:
    """What each cell is: a candidate for an answer, an essay, an extra, or a cell of the exercise itself."""
    places = [_place(exercise, cell) for cell in cells]
    candidates = {name: _candidates(exercise, name, cells, places) for name in exercise.answers}
    missing = [name for name in exercise.answers
               if not candidates[name] and name not in places and not _has_home(exercise, name, cells)]  # fmt: skip
    notes = [f"no cell with the answer '{name}' was found" for name in missing] if cells else []
    essays = {name: _essay(exercise, name, cells, places) for name in exercise.essays}
    return Work(candidates, list(_extras(exercise, cells, places)), essays, notes)


def _place(exercise: Exercise, cell: Found) -> str | None:
    """Which cell of the exercise this is, by its grade_id, its id or its text; None for one of the student's own."""
    known = {one.id for one in exercise.cells}
    for name in (cell.grade_id, cell.id):
        if name in known:
            return name
    text = cell.source.strip()
    same = (one.id for one in exercise.cells if text and one.role != "essay" and one.blank.strip() == text)
    return next(same, None)


def _candidates(
    exercise: Exercise, name: str, cells: Sequence[Found], places: Sequence[str | None]
) -> list[tuple[str, ...]]:
    """Everything that may be the answer, without stubs and repeats: cells that bear its name, then finds."""
    labelled = [i for i, place in enumerate(places) if place == name]
    finds = [i for i in range(len(cells)) if _defines(exercise, name, cells[i])]
    texts: list[tuple[str, ...]] = [(mended(cells[i].source),) for i in labelled]
    texts += [(mended("\n".join(cells[i].source for i in labelled)),)] if len(labelled) > 1 else []
    for i in [*labelled, *(i for i in finds if i not in labelled)]:
        texts += [(mended("\n".join(part)),) for part in _with_neighbours(cells, places, i)]
    for i in dict.fromkeys([*labelled, *finds]):  # without what fails or never ends beside it
        parts = tuple(statements(cells[i].source))
        texts += [parts, tuple(part for part in parts if not part.startswith(LOOPS))]
    stubs = {_bare(cell.blank) for cell in exercise.answers.values()} | {"", _bare("pass")}
    different = {_bare(*parts): parts for parts in reversed(texts) if not {*map(_bare, parts)} <= stubs}
    return list(reversed(different.values()))[:MAX_CANDIDATES]


def _with_neighbours(cells: Sequence[Found], places: Sequence[str | None], i: int) -> Iterator[list[str]]:
    """A cell that was split: with the student's own cells that follow it, one and all, and with those before it."""
    after = [cell.source for cell, _ in _own_run(cells[i + 1 :], places[i + 1 :])]
    before = [cell.source for cell, _ in _own_run(cells[:i][::-1], places[:i][::-1])][::-1]
    here = cells[i].source
    if tree_of(mended(here)) is None or after:
        yield from ([here, *after[:n]] for n in {1, len(after)} if after)
    if before:
        yield from ([*before[-n:], here] for n in {1, len(before)})


def _own_run(cells: Sequence[Found], places: Sequence[str | None]) -> Iterable[tuple[Found, str | None]]:
    pairs = zip(cells, places)
    return list(itertools.islice(itertools.takewhile(lambda pair: pair[1] is None, pairs), 4))


def _defines(exercise: Exercise, name: str, cell: Found) -> bool:
    wanted = names_of(exercise.answers[name])
    pattern = rf"^(?:(?:async\s+)?def|class)\s+(?:{'|'.join(wanted)})\b|^(?:{'|'.join(wanted)})\s*(?::[^=\n]*)?=[^=]"
    if re.search(pattern, cell.source, re.M):
        return True
    tree = tree_of(mended(cell.source)) if any(one in cell.source for one in wanted) else None
    return tree is not None and not wanted.isdisjoint(names_in(tree))


def names_of(answer: Cell) -> set[str]:
    """The names by which an answer is known: its grade_id where it defines it, otherwise all that it defines."""
    tree = tree_of(answer.solution)
    names = names_in(tree) if tree else set()
    return {answer.id} if answer.id in names or not names else names


def _answers_in(exercise: Exercise, cell: Found) -> list[str]:
    return [name for name in exercise.answers if _defines(exercise, name, cell)]


def _has_home(exercise: Exercise, name: str, cells: Sequence[Found]) -> bool:
    return any(_defines(exercise, name, cell) for cell in cells)


def _bare(*parts: str) -> str:
    """Code without comments and layout, to tell what differs; the text itself where Python cannot read it."""
    trees = [tree_of(part) for part in parts]
    try:
        return "\n".join(ast.dump(tree) if tree else part.strip() for tree, part in zip(trees, parts))
    except RecursionError:  # an expression of thousands of terms
        return "\n".join(parts)


def _extras(exercise: Exercise, cells: Sequence[Found], places: Sequence[str | None]) -> Iterator[Extra]:
    """The student's own code, and the exercise's own cells where the student has changed them."""
    pristine = {cell.id: cell for cell in exercise.cells}
    after = None
    for cell, place in zip(cells, places):
        after = place or after
        own = place is None or (
            pristine[place].role in ("setup", "check") and pristine[place].blank != cell.source
        )
        if own and cell.kind == "code" and not _answers_in(exercise, cell):
            parts = tuple(statements(cell.source))
            if parts:
                yield Extra(after, parts)


def _essay(exercise: Exercise, name: str, cells: Sequence[Found], places: Sequence[str | None]) -> str:
    """What the student wrote for a person to read; "" where nothing was written."""
    blank = exercise.essays[name].blank.strip()
    texts = [cell.source.strip() for cell, place in zip(cells, places) if place == name]
    ids = [cell.id for cell in exercise.cells]
    before, after = ids[ids.index(name) - 1], None
    for cell, place in zip(cells, places):
        after = place or after
        if place is None and after == before and cell.kind != "code" and not texts:
            texts.append(cell.source.strip())
    written = "\n\n".join(dict.fromkeys(text for text in texts if text and text != blank))
    return written if len(written) <= MAX_ESSAY else f"{written[:MAX_ESSAY]} … (cut: {len(written):,} characters)"
