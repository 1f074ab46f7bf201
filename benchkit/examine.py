"""Grade one student's exercise: the answers run elsewhere, the checks here, and only values pass between.

So leaving early, printing "passed", an object that equals everything, and patching this package gain nothing:
in the room there is no check, and here there is no code of the student's.

`python -m benchkit.examine` is the desk at which `benchkit.grade` has this done: a job a line, what came of
it a line.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchkit import confine, course, parcel, salvage
from benchkit.course import Cell, Exercise
from benchkit.errors import BenchkitError
from benchkit.exercises import ANSWERS
from benchkit.rooms import TIME, Ended, Room, Rooms
from benchkit.salvage import Extra, Found, Work
from benchkit.text import one_line

MAX_FILE = 256 << 20  # bytes
CHECK_LIMITS = 60  # one check with all its attempts may take so many times the limit of one step
SETUP_S = 30.0  # for a cell of the exercise itself, which is no student's fault
DESK_MEMORY = 8 << 30  # bytes of address space: a check that a strange value leads astray stops there
Parts = tuple[str, ...]


# ---- hidden checks from a private folder -----------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """An exercise, and the cells of each check: as its author wrote them, or with a teacher's private ones."""

    exercise: Exercise
    checks: Mapping[str, Sequence[str]]


def read_task(source: Path, hidden: Path | None) -> Task:
    """An exercise from its source; a private file's checks stand in for the hidden part of its own."""
    exercise = course.read_exercise(source)
    own = hidden / source.name if hidden else None
    private = private_checks(own, exercise) if own and own.exists() else {}
    checks = {name: [cell.blank, private[name]] if name in private else [cell.source]
              for name, cell in exercise.checks.items()}  # fmt: skip
    return Task(exercise, checks)


def task_from(job: Mapping[str, Any]) -> Task:
    """A task that came as JSON."""
    exercise = job["task"]["exercise"]
    cells = tuple(Cell(**cell) for cell in exercise["cells"])
    return Task(Exercise(**{**exercise, "cells": cells}), job["task"]["checks"])


def private_checks(path: Path, exercise: Exercise) -> dict[str, str]:
    """The check cells of a private file, by grade_id; the file is a source, or only the check cells of one."""
    import jupytext

    cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
    named = [(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source) for cell in cells]
    found = {
        name: source for name, source in named if name and name not in exercise.answers | exercise.essays
    }
    unknown = sorted(found.keys() - exercise.checks.keys())
    if unknown or not found:
        what = f"there is no check '{unknown[0]}'" if unknown else "it has no check cell"
        raise course.CourseError(
            f"{path}: {what} in {exercise.name}. Its checks: {', '.join(exercise.checks)}."
        )
    if silent := [name for name, source in found.items() if "passed(" not in source]:
        raise course.CourseError(f"{path}: the check '{silent[0]}' must end with passed(…).")
    return found


# ---- the answers as a check sees them --------------------------------------------------------------


class Raised(Exception):
    """What a student's function raised, by the names of its class and of those it descends from."""

    def __init__(self, kinds: Sequence[str], text: str) -> None:
        super().__init__(text)
        self.kinds = list(kinds)


class Answers(dict):
    """The names of the room. A function is called over there; anything else is the plain value that it has."""

    def __init__(self, room: Room) -> None:
        self.room = room

    def __contains__(self, name: object) -> bool:
        return self.room.ask({"name": name}).get("known") is True

    def __getitem__(self, name: str) -> Any:
        answer = self.room.ask({"name": name})
        return RemoteFunction(name, self.room) if answer.get("callable") is True else _value(answer)


@dataclass(frozen=True, repr=False)
class RemoteFunction:
    """A student's function: arguments go over as data, what it returned or raised comes back as data."""

    name: str
    room: Room

    def __repr__(self) -> str:
        return f"<function {self.name}>"

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        wish = {"call": self.name, "arguments": parcel.dumps(list(arguments)), "named": parcel.dumps(named)}
        answer = self.room.ask(wish)
        if "raised" not in answer:
            return _value(answer)
        kinds = answer["raised"] if isinstance(answer["raised"], list) else []
        raise Raised([str(kind)[:100] for kind in kinds] or ["Exception"], str(answer.get("text"))[:500])


def _value(answer: Mapping[str, Any]) -> Any:
    try:
        return parcel.loads(answer["value"])
    except (KeyError, TypeError, ValueError):
        raise Ended("it wrote where only its process may write") from None


# ---- one check -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One cell to be run in the room: which one, its code in parts, and whether a student wrote it."""

    cell: str
    parts: Parts
    students: bool = True


@dataclass(frozen=True)
class Tried:
    """What came of one attempt: the message of the miss (None: passed), a note, whether the room came to an end."""

    message: str | None
    note: str = ""
    ended: bool = False


@dataclass
class Desk:
    """One student's work on one exercise, while it is graded."""

    exercise: Exercise
    checks: Mapping[str, Sequence[str]]
    work: Work
    rooms: Rooms
    limit_s: float
    alive: Callable[[], None] = lambda: None  # called before each step
    chosen: dict[str, Parts] = field(default_factory=dict)  # the best candidate of each answer so far
    harmful: dict[Parts, str] = field(default_factory=dict)  # cells that never end, or end their process
    stop_at: float = math.inf  # when the check at hand has had enough time, whatever is left to try

    def grade(self, check_id: str) -> dict[str, Any]:
        """Try each candidate until one passes: the points, and what the student would read."""
        cell, name = self.exercise.checks[check_id], check_id.removeprefix("check_")
        candidates = self.work.candidates[name] or [(self.exercise.answers[name].blank,)]
        self.chosen[name], shown = candidates[0], None
        self.stop_at = time.monotonic() + CHECK_LIMITS * self.limit_s
        for candidate in candidates:
            if shown and time.monotonic() > self.stop_at:
                break
            tried = self._in_contexts(name, candidate)
            if tried.message is None:
                self.chosen[name] = candidate
                return {"points": cell.points, "of": cell.points, "message": None, "note": ""}
            shown = shown or tried
        return {"points": 0, "of": cell.points, "message": shown.message, "note": shown.note}

    def _in_contexts(self, name: str, candidate: Parts) -> Tried:
        """An answer by itself, so that nothing can spoil it; then with what it may need; the last attempt counts."""
        before = None
        for others, extras in ((False, []), (True, []), (True, self.work.extras)):
            steps = list(self._steps(name, candidate, others, extras))
            if steps == before:
                continue
            before, tried = steps, self._attempt(name, candidate, steps)
            if tried.message is None or tried.ended or not self.work.candidates[name]:
                break
        return tried

    def _steps(self, name: str, candidate: Parts, others: bool, extras: Sequence[Extra]) -> Iterator[Step]:
        """The exercise's cells up to the check, with the student's answers in them, and extras where they stood."""
        rest = list(extras)
        for cell in _until(self.exercise.cells, f"check_{name}"):
            if cell.role == "setup" and not self._shows_an_answer(cell):
                yield Step(cell.id, (cell.source,), students=False)
            elif cell.id == name:
                yield Step(cell.id, candidate)
            elif cell.role == "answer" and others:
                yield Step(cell.id, self._best(cell))
            yield from (Step("", extra.parts) for extra in rest if extra.after == cell.id)
            rest = [extra for extra in rest if extra.after != cell.id]
        yield from (Step("", extra.parts) for extra in rest)

    def _shows_an_answer(self, cell: Cell) -> bool:
        """Whether a cell of the exercise uses an answer: it shows something to the student, and no check needs it."""
        tree = salvage.tree_of(cell.source)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} if tree else set()
        return any(used & salvage.names_of(answer) for answer in self.exercise.answers.values())

    def _best(self, cell: Cell) -> Parts:
        return self.chosen.get(cell.id) or next(iter(self.work.candidates[cell.id]), (cell.blank,))

    def _attempt(self, name: str, candidate: Parts, steps: Sequence[Step]) -> Tried:
        """Run the cells and the check; where another cell is harmful, once more without it."""
        while candidate not in self.harmful:
            ready = [step for step in steps if step.parts not in self.harmful]
            with self.rooms.open(math.ceil(self.limit_s * (len(ready) + 2))) as room:
                try:
                    errors = {step.cell: self._run(step, room) for step in ready}
                except Ended as ended:
                    if any(step.parts in self.harmful for step in ready):
                        continue
                    return Tried(f"{name} {self._told(str(ended))}", ended=True)  # in a cell of the exercise
                room.left_s = self.limit_s
                return self._checked(name, room, _note(errors.get(name)))
        return Tried(f"The cell of {name} {self._told(self.harmful[candidate])}", ended=True)

    def _run(self, step: Step, room: Room) -> str | None:
        """Run one cell; what it ended with. A student's that never ends, or ends the room, is remembered."""
        self.alive()
        if time.monotonic() > self.stop_at:
            raise Ended(TIME)
        room.left_s = self.limit_s if step.students else SETUP_S
        try:
            return room.ask({"run": list(step.parts)}).get("error")
        except Ended as ended:
            if step.students:
                self.harmful[step.parts] = str(ended)
            raise

    def _checked(self, name: str, room: Room, note: str) -> Tried:
        """Run the check's cells here, on the answers over there."""
        self.alive()
        names: dict[str, Any] = {"__name__": "__main__", ANSWERS: Answers(room)}
        try:
            for cell in _until(self.exercise.cells, f"check_{name}"):
                if cell.role == "setup" and not self._shows_an_answer(cell):
                    with contextlib.suppress(Exception):  # as in a notebook, what follows runs all the same
                        course.run_cell(cell.source, names)
            messages = (course.verdict(source, names) for source in self.checks[f"check_{name}"])
            return Tried(next((message for message in messages if message is not None), None), note)
        except Ended as ended:
            return Tried(f"{name} {self._told(str(ended))}", note, ended=True)

    def _told(self, ending: str) -> str:
        if ending != TIME:
            return f"gave no answer: {ending}."
        return f"did not come to its end within {self.limit_s:g} s. Is there a loop that never ends?"


def _until(cells: Sequence[Cell], last: str) -> Iterator[Cell]:
    """The cells before the one of this id."""
    for cell in cells:
        if cell.id == last:
            return
        yield cell


def _note(error: Any) -> str:
    """How the answer's cell itself ended, where it did not end well and is no stub."""
    text = one_line(error, 200) if isinstance(error, str) else ""
    return "" if not text or text.startswith("NotImplementedError") else f"its cell stopped with {text}"


# ---- one student -----------------------------------------------------------------------------------


def read_files(paths: Sequence[Path]) -> tuple[list[Found], list[str]]:
    """The cells of a student's files, and what is to be said about the files."""
    cells, notes = [], []
    for path in paths:
        try:
            found, wrong = salvage.read_cells(read_file(path))
        except (OSError, MemoryError) as error:
            found, wrong = (
                [],
                f"it could not be read: {getattr(error, 'strerror', None) or error or 'too large'}",
            )
        cells += found
        notes += [f"{path.name}: {wrong}"] if wrong else []
    return cells, notes


def read_file(path: Path) -> bytes:
    """A file's bytes; never through a link, never from a device or a pipe, never without end."""
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(None, "it is a link, not a file" if stat.S_ISLNK(about.st_mode) else "it is no file")
    if about.st_size > MAX_FILE:
        raise OSError(None, f"it has {about.st_size >> 20:,} MiB, at most {MAX_FILE >> 20} are read")
    with open(
        os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb"
    ) as file:
        return file.read(MAX_FILE)


def examine(job: Mapping[str, Any], rooms: Rooms, say: Callable[[dict[str, Any]], None]) -> None:
    """Grade one student's files; say what came of each check as soon as it is known, then what belongs to all."""
    task = task_from(job)
    cells, notes = read_files([Path(name) for name in job["files"]])
    work = salvage.sort_out(task.exercise, cells)
    say({"notes": [*notes, *work.notes], "essays": work.essays})
    desk = Desk(task.exercise, task.checks, work, rooms, job["limit_s"], alive=lambda: say({}))
    for name, cell in task.exercise.checks.items():
        if name in job["given_up"]:
            say({"check": name, "points": 0, "of": cell.points, "message": job["given_up"][name], "note": ""})
        elif name not in job["known"]:
            say({"check": name, **desk.grade(name)})
    say({"done": True})


# ---- the desk as a process -------------------------------------------------------------------------


def main() -> None:
    """Read jobs from standard input until it closes; write what came of them to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    if sys.platform.startswith("linux"):
        confine.kernel.die_with_parent(os.getppid())
    output = open(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a check prints goes nowhere

    def say(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=output, flush=True)

    first = json.loads(sys.stdin.readline() or "null")
    if first is None:
        return
    _limit_memory()
    with Rooms(first["modules"], first["memory_mib"], first["folder"]) as rooms:
        for line in sys.stdin:
            try:
                examine(json.loads(line), rooms, say)
            except BenchkitError as error:  # not the student's fault: nobody can be graded so
                say({"stop": str(error)})
            except Exception as error:  # a mistake of the grader's own must not pass for the student's
                say({"broken": f"{type(error).__name__}: {error}"[:500]})


def _limit_memory() -> None:
    """A check that a strange value leads astray stops before the machine does."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (DESK_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def modules_of(exercise: Exercise) -> list[str]:
    """What the exercise's own cells import: worth loading once for all students."""
    trees = [salvage.tree_of(cell.source) for cell in exercise.cells if cell.role == "setup"]
    nodes = [node for tree in trees if tree for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return sorted(names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module})


if __name__ == "__main__":
    main()
