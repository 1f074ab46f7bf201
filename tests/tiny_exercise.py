"""A tiny exercise for the grader's tests: its source, right answers, and notebooks made of any answers."""

import json
from pathlib import Path

from benchkit import course

ANSWER = '{{"grade": false, "grade_id": "{0}", "locked": false, "schema_version": 3, "solution": true, "task": false}}'
CHECK = (
    '{{"grade": true, "grade_id": "check_{0}", "locked": true, "points": {1}, "schema_version": 3, '
    '"solution": false, "task": false}}'
)
ESSAY = (
    '{"grade": true, "grade_id": "memo", "locked": false, "points": 5, "schema_version": 3, "solution": true, '
    '"task": false}'
)

SOURCE = f"""\
# %% [markdown]
# # Exercise 91 · Tiny
#
# **About 5 minutes.** Four small answers and a memo.

# %%
from benchkit.exercises import called, passed, stated

FACTOR = 2

# %% [markdown]
# ## Double

# %% nbgrader={ANSWER.format("double")}
def double(x):
    ### BEGIN SOLUTION
    return FACTOR * x
    ### END SOLUTION

# %% nbgrader={CHECK.format("double", 2)}
called("double", 4).gives(8, because="2 · 4", hints={{16: "you squared it"}})
### BEGIN HIDDEN TESTS
called("double", -1.5).gives(-3.0, because="the hidden one")
### END HIDDEN TESTS
passed("double")

# %% [markdown]
# ## Quadruple

# %% nbgrader={ANSWER.format("quadruple")}
def quadruple(x):
    ### BEGIN SOLUTION
    return double(double(x))
    ### END SOLUTION

# %% nbgrader={CHECK.format("quadruple", 1)}
called("quadruple", 3).gives(12)
passed("quadruple")

# %% [markdown]
# ## Best

# %% nbgrader={ANSWER.format("best")}
### BEGIN SOLUTION
best = "pocket-s"
### END SOLUTION

# %% nbgrader={CHECK.format("best", 1)}
stated("best").gives("pocket-s", because="it is the smallest")
passed("best")

# %% [markdown]
# ## Summary

# %% nbgrader={ANSWER.format("summary")}
def summary(values):
    ### BEGIN SOLUTION
    return {{"mean": sum(values) / len(values), "max": max(values)}}
    ### END SOLUTION

# %% nbgrader={CHECK.format("summary", 3)}
found = called("summary", [1.0, 2.0, 6.0])
found.satisfies(lambda value: set(value) == {{"mean", "max"}}, "a dictionary with mean and max")
found.gives({{"mean": 3.0, "max": 6.0}})
called("summary", []).raises(ZeroDivisionError)
passed("summary")

# %% [markdown]
# ## Memo

# %% [markdown] nbgrader={ESSAY}
# What would you choose?
"""

RIGHT = {
    "double": "def double(x):\n    return x + x",
    "quadruple": "def quadruple(x):\n    return 4 * x",
    "best": "best = 'pocket-s'",
    "summary": "def summary(values):\n    return {'mean': sum(values) / len(values), 'max': max(values)}",
}
POINTS = {"check_double": 2, "check_quadruple": 1, "check_best": 1, "check_summary": 3}


def write_source(folder: Path) -> Path:
    path = folder / "ex91_tiny.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def blank(folder: Path) -> dict:
    """The blank notebook, as plain JSON."""
    return json.loads(course.notebook_bytes(course.blank(course.read_exercise(write_source(folder)))))


def notebook(blank: dict, **answers: str) -> dict:
    """The notebook with right answers, and these in their place."""
    filled = json.loads(json.dumps(blank))
    for cell in filled["cells"]:
        if cell["id"] in RIGHT | answers:
            cell["source"] = {**RIGHT, **answers}[cell["id"]].splitlines(keepends=True)
    return filled
