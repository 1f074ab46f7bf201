"""The exercises' sources: one file holds text, solution and checks; from it come the blank notebook, the graders'
pristine copy, and the tree that an nbgrader site wants.

How an exercise is written: `lessons/exercises/exNN_topic.py`, in the percent format of the lessons. The first cell is
prose: `# Exercise 2 · A title`, then `**About 25 minutes.**`. Then, for each answer, three cells:

    # %% [markdown]
    # ## Decode speed
    # what to write, an example, the units

    # %% nbgrader={"grade": false, "grade_id": "decode_speed", "locked": false, "schema_version": 3, "solution": true, "task": false}
    def decode_speed(n_output_tokens, first_s, last_s):
        \"\"\"Tokens a second, once the first has come.\"\"\"
        ### BEGIN SOLUTION
        return (n_output_tokens - 1) / (last_s - first_s)
        ### END SOLUTION

    # %% nbgrader={"grade": true, "grade_id": "check_decode_speed", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
    called("decode_speed", 11, 0.5, 2.5).gives(5.0, because="…", hints={5.5: "you counted the first token too"})
    ### BEGIN HIDDEN TESTS
    called("decode_speed", 3, 1.0, 1.5).gives(4.0, because="2 gaps in 0.5 s")
    ### END HIDDEN TESTS
    passed("decode_speed")

The check of answer X is `check_X`, and it ends with `passed`. The student sees the cells without what stands between
the markers. A check calls the answer with plain data and gets plain data back (numbers, text, bytes, lists, tuples,
dictionaries, arrays), because `benchkit grade` runs the answer in another process; it is fast, offline, and the same
every time. An answer that a person grades is a markdown cell with both `"grade": true` and `"solution": true`.
"""

from __future__ import annotations

import ast
import io
import re
import traceback
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchkit import places
from benchkit.errors import BenchkitError, did_you_mean
from benchkit.exercises import Miss, Passed
from benchkit.runs import write_bytes

if TYPE_CHECKING:
    from nbformat import NotebookNode

SOURCES = places.ROOT / "lessons" / "exercises"

#: What every generated notebook says of itself.
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}

SOLUTION = ("### BEGIN SOLUTION", "### END SOLUTION")
HIDDEN = ("### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS")

#: What nbgrader puts in a solution's place.
STUBS = {"code": "# YOUR CODE HERE\nraise NotImplementedError()", "markdown": "YOUR ANSWER HERE"}

NBGRADER_CONFIG = """\
c = get_config()  # noqa: F821: nbgrader defines it

c.CourseDirectory.course_id = "benchkit"
"""


class CourseError(BenchkitError):
    """An exercise does not exist, or its source is not written as it should be."""


@dataclass(frozen=True)
class Cell:
    """One cell of an exercise, as its author wrote it: solution, hidden tests and markers included."""

    role: str  # text, setup, answer, check; essay: an answer that a person grades
    id: str  # of an answer, a check and an essay the grade_id
    source: str
    points: float = 0
    nbgrader: Mapping[str, Any] | None = None  # the metadata, as nbgrader wants it

    @property
    def type(self) -> str:
        return "markdown" if self.role in ("text", "essay") else "code"

    @property
    def blank(self) -> str:
        """What the student gets: a stub for the solution, and no hidden test."""
        if self.role in ("answer", "essay"):
            stub = STUBS[self.type]
            return replace_between(self.source, SOLUTION, stub) if SOLUTION[0] in self.source else stub
        return replace_between(self.source, HIDDEN, "") if self.role == "check" else self.source

    @property
    def solution(self) -> str:
        """The cell without its markers: an answer as a student might have written it."""
        return "\n".join(line for line in self.source.split("\n") if line.strip() not in SOLUTION + HIDDEN)


@dataclass(frozen=True)
class Exercise:
    """One exercise: what it is called, how many minutes a student needs, its cells in their order."""

    name: str
    title: str
    minutes: int
    cells: tuple[Cell, ...]

    @property
    def answers(self) -> dict[str, Cell]:
        """The cells that a student fills, by grade_id; those that a person grades are not among them."""
        return {cell.id: cell for cell in self.cells if cell.role == "answer"}

    @property
    def checks(self) -> dict[str, Cell]:
        """The check cells, by grade_id: `check_` and the answer's."""
        return {cell.id: cell for cell in self.cells if cell.role == "check"}

    @property
    def essays(self) -> dict[str, Cell]:
        """The cells that a student fills and a person grades, by grade_id."""
        return {cell.id: cell for cell in self.cells if cell.role == "essay"}

    @property
    def points(self) -> float:
        """What the checks give together; points given by hand are not among them."""
        return sum(cell.points for cell in self.checks.values())


# ---- reading a source ------------------------------------------------------------------------------


def sources() -> list[Path]:
    """The exercises' sources, in the order in which they are worked on; `practice` is last."""
    return sorted(SOURCES.glob("ex[0-9][0-9]_*.py")) + sorted(SOURCES.glob("practice.py"))


def find_exercise(name: str) -> Path:
    """The source of an exercise by its name or number: `ex02_speed`, `ex02` or `2`."""
    found = [path for path in sources() if name in (path.stem, path.stem.split("_")[0], str(_number(path)))]
    if found:
        return found[0]
    names = [path.stem for path in sources()]
    raise CourseError(f"There is no exercise '{name}'{did_you_mean(name, names)}.\nExercises: {', '.join(names)}.")


def _number(path: Path) -> int | None:
    digits = re.match(r"ex(\d+)_", path.name)
    return int(digits[1]) if digits else None


def read_exercise(path: str | Path) -> Exercise:
    """Read one source; raises `CourseError` where it is not written as the top of this file says."""
    path = Path(path)
    parsed = _parse(path)
    cells = tuple(_cell(cell, cell_id, path) for cell, cell_id in zip(parsed, cell_ids(parsed), strict=True))
    first = cells[0].source if cells else ""
    title, minutes = re.match(r"# (.+)", first), re.search(r"\*\*About (\d+) minutes", first)
    if not title or not minutes:
        raise CourseError(f"{path.name}: the first cell must say '# A title' and '**About 25 minutes.**'.")
    exercise = Exercise(path.stem, title[1].strip(), int(minutes[1]), cells)
    _refuse_what_is_missing(exercise)
    return exercise


def _parse(path: Path) -> list[NotebookNode]:
    try:
        import jupytext
    except ImportError:
        raise CourseError("Reading exercises needs jupytext: pip install jupytext") from None
    return jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells


def _cell(cell: NotebookNode, cell_id: str, path: Path) -> Cell:
    meta = cell.metadata.get("nbgrader")
    if meta is None:
        return Cell("text" if cell.cell_type == "markdown" else "setup", f"about-{cell_id}", cell.source)
    role = _ROLES.get((cell.cell_type, bool(meta.get("grade")), bool(meta.get("solution"))))
    if role is None:
        raise CourseError(f"{path.name}: cell '{meta.get('grade_id')}' is neither an answer nor a check: look at "
                          '"grade" and "solution" in its metadata.')  # fmt: skip
    return Cell(role, meta["grade_id"], cell.source, meta.get("points", 0), dict(meta))


_ROLES = {("code", False, True): "answer", ("code", True, False): "check", ("markdown", True, True): "essay"}


def cell_ids(cells: list[NotebookNode]) -> list[str]:
    """Names for cells: the heading above, and the place below it; an edit leaves all others alone."""
    ids, heading, place, seen = [], "cell", 0, set()
    for cell in cells:
        title = re.match(r"#+ (.+)", cell.source) if cell.cell_type == "markdown" else None
        if title:
            heading, place = re.sub(r"[^a-z0-9]+", "-", title[1].lower()).strip("-")[:48], 0
            if heading in seen:
                raise CourseError(f"Two headings make the cell id '{heading}': change one of them.")
            seen.add(heading)
        ids.append(f"{heading}-{place}" if place else heading)
        place += 1
    return ids


def _refuse_what_is_missing(exercise: Exercise) -> None:
    ids = [cell.id for cell in exercise.cells]
    wanted = {f"check_{name}" for name in exercise.answers}
    for name, wrong in (
        ("a marker without its partner", [cell.id for cell in exercise.cells if not _is_paired(cell)]),
        ("twice", sorted({one for one in ids if ids.count(one) > 1})),
        ("an answer's check, but missing", sorted(wanted - exercise.checks.keys())),
        ("a check without an answer", sorted(exercise.checks.keys() - wanted)),
        ("without points", [one for one, cell in exercise.checks.items() if not cell.points]),
        ("without a solution between the markers",
         [one for one, cell in exercise.answers.items() if SOLUTION[0] not in cell.source]),
    ):  # fmt: skip
        if wrong:
            raise CourseError(f"{exercise.name}: {name}: {', '.join(wrong)}.")


def _is_paired(cell: Cell) -> bool:
    try:
        return cell.blank is not None
    except CourseError:
        return False


def replace_between(source: str, markers: tuple[str, str], stub: str) -> str:
    """Put `stub` where lines stand between two markers, indented as the first marker is; the markers go too.

    The same as nbgrader does. Raises `CourseError` where a marker has no partner.

    >>> replace_between("def f():\\n    # begin\\n    return 1\\n    # end", ("# begin", "# end"), "raise")
    'def f():\\n    raise'
    """
    begin, end = markers
    lines: list[str] = []
    inside = False
    for line in source.split("\n"):
        if (begin in line and inside) or (end in line and not inside):
            raise CourseError(f"'{line.strip()}' has no partner.")
        if begin in line:
            inside = True
            indent = line[: len(line) - len(line.lstrip())]
            lines += [indent + one for one in stub.split("\n") if stub]
        elif end in line:
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise CourseError(f"'{begin}' has no partner.")
    return "\n".join(lines)


# ---- notebooks made from it ------------------------------------------------------------------------


def blank(exercise: Exercise) -> NotebookNode:
    """The notebook that the student gets."""
    return _notebook(exercise, {cell.id: cell.blank for cell in exercise.cells})


def complete(exercise: Exercise) -> NotebookNode:
    """The notebook with solutions, hidden tests and all markers: what nbgrader calls the source version."""
    return _notebook(exercise, {cell.id: cell.source for cell in exercise.cells})


def _notebook(exercise: Exercise, texts: Mapping[str, str]) -> NotebookNode:
    from nbformat import v4, validate

    new = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    cells = [new[cell.type](texts[cell.id], id=cell.id, metadata=_metadata(cell)) for cell in exercise.cells]
    notebook = v4.new_notebook(cells=cells, metadata=NOTEBOOK_METADATA)
    validate(notebook)
    return notebook


def _metadata(cell: Cell) -> dict[str, Any]:
    """Cells that count cannot be deleted in a notebook by mistake, and a check cannot be edited."""
    if cell.nbgrader is None:
        return {}
    lock = {"editable": False} if cell.role == "check" else {}
    return {"deletable": False, **lock, "nbgrader": dict(cell.nbgrader)}


def nbgrader_tree(folder: str | Path) -> list[Path]:
    """Write what an nbgrader site wants: `source/NAME/NAME.ipynb` for each exercise, and `nbgrader_config.py`.

    A configuration that is there already stays as it is. Returns the files written.
    """
    folder, written = Path(folder), []
    for source in sources():
        exercise = read_exercise(source)
        path = folder / "source" / exercise.name / f"{exercise.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, notebook_bytes(complete(exercise)))
        written.append(path)
    config = folder / "nbgrader_config.py"
    if not config.exists():
        write_bytes(config, NBGRADER_CONFIG.encode())
        written.append(config)
    return written


def notebook_bytes(notebook: NotebookNode) -> bytes:
    """A notebook as its file holds it, the same on every system."""
    import nbformat

    return (nbformat.writes(notebook) + "\n").encode()


# ---- running the checks without a notebook ---------------------------------------------------------


def run_check(
    exercise: Exercise, answers: Mapping[str, str], check_id: str, hidden: bool = True
) -> str | None:
    """Run the cells up to a check in this process, with these answers; None if it passed, otherwise its message.

    `answers` are code by grade_id; one that is not given is not written yet. Only for code that is trusted: a
    student's answers are graded by `benchkit grade`.
    """
    if check_id not in exercise.checks:
        raise CourseError(f"{exercise.name} has no check '{check_id}'. Checks: {', '.join(exercise.checks)}.")
    check, names = exercise.checks[check_id], {"__name__": "__main__"}
    with redirect_stdout(io.StringIO()):
        for cell in exercise.cells[: exercise.cells.index(check)]:
            if cell.role in ("setup", "answer"):
                code = cell.source if cell.role == "setup" else answers.get(cell.id, cell.blank)
                with suppress(Exception, SystemExit):  # a notebook, too, goes on after a cell that failed
                    run_cell(code, names)
        return verdict(check.source if hidden else check.blank, names)


def verdict(check: str, names: dict[str, Any]) -> str | None:
    """Run a check cell among these names; None if it passed, otherwise what it says."""
    try:
        last = run_cell(check, names)
    except Miss as miss:
        return str(miss)
    except Exception as error:  # the check itself stumbled over what the answer gave
        return traceback.format_exception_only(error)[-1].strip()
    return None if isinstance(last, Passed) else "The check did not come to its end."


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; return the value of its last line, where that is an expression.

    >>> run_cell("x = 2\\nx + 1", {})
    3
    """
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
