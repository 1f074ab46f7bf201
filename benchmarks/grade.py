"""How long does a room full of notebooks take? 200 of one exercise, made here, graded by `benchkit grade`.

    python benchmarks/grade.py                  ex02_speed, 200 notebooks, two jobs, a limit of 2 s
    python benchmarks/grade.py ex03 --students 50 --jobs 4

One notebook in twenty never ends: every answer in it, half of them in the cell, half when they are called. Of the
others, half are right; the rest have wrong answers (the typical ones from `tests/exercises`, where there are any) or
answers that are not written. Every row is compared with what it must be. Target: 200 notebooks of four answers in under
3 minutes on two cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchkit import course, grade, places

TARGET_S = 180.0
KINDS = ("endless", *["right"] * 10, *["wrong"] * 6, *["unwritten"] * 3)  # of twenty notebooks


def endless(name: str, n: int) -> str:
    """An answer that never ends: in its cell, or when it is called."""
    loop = f"{name} = 0\nwhile True:\n    {name} += 1"
    return loop if n % 2 else f"def {name}(*arguments, **named):\n    while True:\n        pass"


def misconceptions(exercise: str) -> dict[str, list[str]]:
    """Wrong answers that students give, by answer; none where the tests have none."""
    path = places.ROOT / "tests" / "exercises" / f"{exercise}.py"
    if not path.exists():
        return {}
    spec = importlib.util.spec_from_file_location(exercise, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, list[str]] = {}
    for name, code, *_ in module.MISCONCEPTIONS:
        found.setdefault(name, []).append(code)
    return found


def answers_of(
    kind: str, exercise: course.Exercise, wrong: dict[str, list[str]], rng: random.Random
) -> dict[str, str]:
    """One student's answers; an answer that is missing here is not written."""
    right = {name: cell.solution for name, cell in exercise.answers.items()}
    if kind == "endless":
        return {name: endless(name, n) for n, name in enumerate(right)}
    if kind == "unwritten":
        return {name: code for name, code in right.items() if rng.random() < 0.5}
    if kind == "wrong":
        name = rng.choice(list(right))
        return right | {
            name: rng.choice(wrong.get(name, [f"def {name}(*arguments, **named):\n    return None"]))
        }
    return right


def write_notebooks(exercise: course.Exercise, n: int, folder: Path) -> dict[str, str]:
    """The notebooks of a class; what kind each student's is."""
    rng, wrong, kinds = random.Random(20), misconceptions(exercise.name), {}
    blank = json.loads(course.notebook_bytes(course.blank(exercise)))
    for i in range(n):
        kind = KINDS[i % len(KINDS)]
        answers = answers_of(kind, exercise, wrong, rng)
        cells = [{**cell, "source": answers.get(cell["id"], cell["source"])} for cell in blank["cells"]]
        kinds[f"student{i:03d}"] = kind
        (folder / f"student{i:03d}.ipynb").write_text(json.dumps({**blank, "cells": cells}), encoding="utf-8")
    return kinds


def mistakes(rows: list[grade.Row], kinds: dict[str, str]) -> list[str]:
    """Rows that are not what they must be: right ones full marks, endless ones none, wrong ones less than all."""
    found = []
    for row in rows:
        kind = kinds[row.student]
        fits = {"right": row.points == row.of, "endless": row.points == 0, "wrong": row.points < row.of}.get(
            kind, True
        )
        found += [] if fits else [f"{row.student} ({kind}): {row.points:g} of {row.of:g}"]
    return found


def measure(name: str, n: int, limit_s: float, jobs: int) -> float:
    """Make the notebooks, grade them, print what it took; returns the seconds."""
    exercise = course.read_exercise(course.find_exercise(name))
    with tempfile.TemporaryDirectory() as folder:
        submissions = Path(folder) / "submissions"
        submissions.mkdir()
        kinds = write_notebooks(exercise, n, submissions)
        started = time.perf_counter_ns()
        rows = grade.grade(submissions, Path(folder) / "out", exercise=name, limit_s=limit_s, jobs=jobs)
        seconds = (time.perf_counter_ns() - started) / 1e9
        again = time.perf_counter_ns()
        grade.grade(submissions, Path(folder) / "out", exercise=name, limit_s=limit_s, jobs=jobs)
        known_s = (time.perf_counter_ns() - again) / 1e9
    print(grade.as_text(rows))
    share = statistics.mean(kind == "endless" for kind in kinds.values())
    print(f"\n{n} notebooks of {exercise.name}, {len(exercise.answers)} answers each, {share:.0%} endless at {limit_s:g} s")
    print(f"{jobs} jobs: {seconds:.1f} s, {jobs * seconds / n:.2f} s a notebook and job")
    print(f"the same again, all known: {known_s:.1f} s")
    for line in (wrong := mistakes(rows, kinds)):
        print("NOT AS IT MUST BE:", line)
    return float("inf") if wrong else seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exercise", nargs="?", default="ex02_speed")
    parser.add_argument("--students", type=int, default=200)
    parser.add_argument("--limit-s", type=float, default=2.0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    seconds = measure(given.exercise, given.students, given.limit_s, given.jobs)
    met = seconds * 200 / given.students < TARGET_S
    print(f"target: 200 notebooks in under {TARGET_S:.0f} s: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
