"""An nbgrader site: the tree that one command writes goes through generate, validate and autograde (`make check`)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupytext")

import nbformat

from benchkit import course
from benchkit.grade import grade

pytestmark = pytest.mark.slow

EXERCISES = [course.read_exercise(source) for source in course.sources()]
STUDENTS = ("full", "blank", "wrong")


def nbgrader(folder, *arguments):
    """Run one nbgrader command in a folder; return what it said."""
    beside = shutil.which("nbgrader", path=str(Path(sys.executable).parent))  # before any other on the PATH
    command = os.environ.get("BENCHKIT_NBGRADER") or beside or shutil.which("nbgrader")
    if not command:
        pytest.skip("needs nbgrader: pip install nbgrader")
    path = os.pathsep.join([str(Path(command).parent), os.environ["PATH"]])  # where it finds its kernel
    done = subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, timeout=1200, check=False,
                          env=os.environ | {"PATH": path})  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with every exercise released."""
    folder = tmp_path_factory.mktemp("site")
    course.nbgrader_tree(folder)
    nbgrader(folder, "generate_assignment", "*")
    return folder


def test_what_nbgrader_releases_are_our_blank_notebooks(site):
    for exercise in EXERCISES:
        released = nbformat.read(site / "release" / exercise.name / f"{exercise.name}.ipynb", as_version=4)
        ours = course.blank(exercise)
        assert [(c.id, c.cell_type, c.source) for c in released.cells] == [(c.id, c.cell_type, c.source) for c in ours.cells]


@pytest.mark.parametrize(
    "folder, options, says",
    [("source", [], "Success! Your notebook passes all the tests."),
     ("release", ["--invert"], "Success! The notebook does not pass any tests.")],
    ids=["solutions", "blanks"],
)  # fmt: skip
def test_nbgrader_validates_that_solutions_pass_and_blanks_do_not(site, folder, options, says):
    notebooks = sorted(str(path.relative_to(site)) for path in (site / folder).glob("*/*.ipynb"))
    said = nbgrader(site, "validate", *options, *notebooks)
    assert said.count(says) == len(notebooks) == len(EXERCISES), said
    assert "future releases" not in said  # what a check returns is no result that nbgrader would take for points


def submission(exercise, student):
    """The released notebook as a student filled it: everything, nothing, or the first answer wrong."""
    notebook = course.blank(exercise)
    first = next(iter(exercise.answers))
    for cell in notebook.cells:
        if cell.id in exercise.answers and student != "blank":
            is_wrong = student == "wrong" and cell.id == first
            cell.source = f"{first} = None" if is_wrong else exercise.answers[cell.id].solution
    return notebook


def test_autograde_and_benchkit_grade_give_the_same_points(site):
    for exercise in EXERCISES:
        for student in STUDENTS:
            path = site / "submitted" / student / exercise.name / f"{exercise.name}.ipynb"
            path.parent.mkdir(parents=True)
            nbformat.write(submission(exercise, student), path)
    rows = {(row.student, row.exercise): row for row in grade(site / "submitted", site / "graded")}
    for exercise in EXERCISES:
        full, blank, wrong = (rows[student, exercise.name].points for student in STUDENTS)
        assert full == exercise.points and blank == 0 and wrong < full, exercise.name
    ours = {(*key, name): check["points"] for key, row in rows.items() for name, check in row.checks.items()}
    nbgrader(site, "autograde", "*")
    theirs = {key: points for key, points in autoscores(site / "gradebook.db").items() if key in ours}
    assert theirs == ours and len(ours) == len(STUDENTS) * sum(len(exercise.checks) for exercise in EXERCISES)


def autoscores(database):
    """What nbgrader's gradebook says: points by student, exercise and check."""
    with sqlite3.connect(database) as gradebook:
        return {(student, name, cell): points for student, name, cell, points in gradebook.execute(
            """SELECT sa.student_id, n.name, bc.name, g.auto_score FROM grade g
               JOIN submitted_notebook sn ON g.notebook_id = sn.id
               JOIN notebook n ON sn.notebook_id = n.id
               JOIN submitted_assignment sa ON sn.assignment_id = sa.id
               JOIN base_cell bc ON g.cell_id = bc.id""")}  # fmt: skip
