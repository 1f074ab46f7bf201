"""Make `notebooks/*.ipynb` from `lessons/*.py`: one way, the same bytes every time.

    python lessons/build.py                       notebooks whose code changed are executed again
    python lessons/build.py --execute 03 05       … and these, changed or not ("all" for every one)
    python lessons/build.py --check               fail if a notebook is not what its source says

A lesson is a Python file in the percent format: `# %% [markdown]` starts prose, `# %%` starts
code, and `# %% tags=["parameters"]` gives a cell its tags. An exercise (`lessons/exercises/*.py`, see
`benchkit/course.py`) becomes a blank notebook in `notebooks/exercises/`, and is not executed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

LESSONS = Path(__file__).resolve().parent
ROOT = LESSONS.parent
NOTEBOOKS = ROOT / "notebooks"
sys.path.insert(0, str(ROOT))

from benchkit import course
from benchkit.course import NOTEBOOK_METADATA, cell_ids
from benchkit.notebooks import kernel_manager_class

NOT_TEXT = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")


def lessons() -> list[Path]:
    """The sources, in the order they are read."""
    return sorted(LESSONS.glob("[0-9][0-9]_*.py"))


def notebook_path(lesson: Path) -> Path:
    return NOTEBOOKS / f"{lesson.stem}.ipynb"


def generate(lesson: Path) -> NotebookNode:
    """The notebook that a lesson's source says, without outputs."""
    parsed = jupytext.read(lesson, fmt="py:percent")
    notebook = nbformat.v4.new_notebook(metadata=NOTEBOOK_METADATA, cells=parsed.cells)
    for cell, cell_id in zip(notebook.cells, cell_ids(parsed.cells), strict=True):
        cell["id"] = cell_id
        cell["metadata"] = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    nbformat.validate(notebook)
    return notebook


def code_of(notebook: NotebookNode) -> list[tuple[str, list[str]]]:
    """What decides the outputs: the code cells and their tags."""
    return [(c.source, c.metadata.get("tags", [])) for c in notebook.cells if c.cell_type == "code"]


def keep_outputs(notebook: NotebookNode, old: NotebookNode) -> None:
    """Carry outputs and execution counts over from a notebook with the same code."""
    old_cells = [c for c in old.cells if c.cell_type == "code"]
    for new, was in zip((c for c in notebook.cells if c.cell_type == "code"), old_cells, strict=True):
        new.outputs, new.execution_count = was.outputs, was.execution_count


def run(notebook: NotebookNode) -> None:
    """Execute every cell in this interpreter, from the notebooks' folder, and tidy what came out."""
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False, coalesce_streams=True,
        kernel_manager_class=kernel_manager_class(), resources={"metadata": {"path": str(NOTEBOOKS)}},
    )  # fmt: skip
    client.execute()
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)  # without this machine's versions and widget state
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = [tidy(output) for output in cell.outputs if wanted(output)]


def wanted(output: NotebookNode) -> bool:
    """Warnings, progress bars and widgets belong to one machine's moment, not to a lesson."""
    if output.output_type == "stream":
        return output.name != "stderr"
    return not any(kind in output.get("data", {}) for kind in NOT_TEXT)


def tidy(value):
    """The same output with no path of this machine in it."""
    if isinstance(value, dict):
        return nbformat.from_dict({k: v if k == "image/png" else tidy(v) for k, v in value.items()})
    if isinstance(value, list):
        return [tidy(item) for item in value]
    if isinstance(value, str):
        for folder, short in ((f"{ROOT}/", ""), (str(ROOT), "."), (str(Path.home()), "~")):
            value = value.replace(folder, short)
    return value


def build(lesson: Path, again: bool) -> None:
    """Write one notebook, executing it if its code changed or if asked."""
    notebook, path = generate(lesson), notebook_path(lesson)
    old = nbformat.read(path, as_version=4) if path.exists() else None
    if old and not again and code_of(old) == code_of(notebook) and executed(old):
        keep_outputs(notebook, old)
        print(f"{path.name}: code unchanged, outputs kept")
    else:
        start = time.perf_counter()
        run(notebook)
        print(f"{path.name}: executed in {time.perf_counter() - start:.0f} s")
    path.write_bytes(course.notebook_bytes(notebook))


def executed(notebook: NotebookNode) -> bool:
    """Whether every code cell was run once, top to bottom."""
    counts = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
    return counts == list(range(1, len(counts) + 1))


def differences(lesson: Path) -> list[str]:
    """How a committed notebook differs from its source; outputs are not compared."""
    path, name = notebook_path(lesson), notebook_path(lesson).name
    if not path.exists():
        return [f"{name}: missing"]
    old, new = nbformat.read(path, as_version=4), generate(lesson)
    found = [] if executed(old) else [f"{name}: not executed from top to bottom"]
    if old.metadata != new.metadata or (old.nbformat, old.nbformat_minor) != (new.nbformat, new.nbformat_minor):
        found.append(f"{name}: notebook metadata differs")
    if [c.id for c in old.cells] != [c.id for c in new.cells]:
        return found + [f"{name}: cells differ: {_first_difference(old, new)}"]
    for was, now in zip(old.cells, new.cells, strict=True):
        for part in ("cell_type", "source", "metadata"):
            if was[part] != now[part]:
                found.append(f"{name}: {part} of cell '{now.id}' differs")
    return found


def _first_difference(old: NotebookNode, new: NotebookNode) -> str:
    pairs = zip([c.id for c in old.cells] + ["(end)"], [c.id for c in new.cells] + ["(end)"])
    return next(f"'{was}' where the source says '{now}'" for was, now in pairs if was != now)


def exercise_path(source: Path) -> Path:
    return NOTEBOOKS / "exercises" / f"{source.stem}.ipynb"


def build_exercise(source: Path) -> None:
    """Write one blank notebook."""
    path = exercise_path(source)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(course.notebook_bytes(course.blank(course.read_exercise(source))))
    print(f"exercises/{path.name}: written, blank")


def exercise_differences(source: Path) -> list[str]:
    """How a committed blank notebook differs from its source."""
    path = exercise_path(source)
    if not path.exists():
        return [f"exercises/{path.name}: missing"]
    old, new = nbformat.read(path, as_version=4), course.blank(course.read_exercise(source))
    cells = [now.id for was, now in zip(old.cells, new.cells) if was != now]
    where = f": cell '{cells[0]}'" if cells else ""
    return [] if old == new else [f"exercises/{path.name}: is not what its source says{where}"]


def check() -> int:
    """0 if every notebook is what its source says; otherwise each difference is printed."""
    found = [line for lesson in lessons() for line in differences(lesson)]
    found += [line for source in course.sources() for line in exercise_differences(source)]
    known = {*map(notebook_path, lessons()), *map(exercise_path, course.sources())}
    present = [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("exercises/*.ipynb")]
    found += [f"{path.name}: has no source in lessons/" for path in sorted(present) if path not in known]
    print("\n".join(found) if found else f"{len(known)} notebooks are what their sources say")
    if found:
        print("Edit the source in lessons/, then run: python lessons/build.py")
    return 1 if found else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on any difference")
    parser.add_argument("--execute", nargs="+", default=[], metavar="NAME", help="execute these again")
    options = parser.parse_args(arguments)
    if options.check:
        return check()
    NOTEBOOKS.mkdir(exist_ok=True)
    for lesson in lessons():
        asked = any(name == "all" or lesson.stem.startswith(name) for name in options.execute)
        build(lesson, asked)
    for source in course.sources():
        build_exercise(source)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except course.CourseError as error:
        raise SystemExit(str(error)) from None
