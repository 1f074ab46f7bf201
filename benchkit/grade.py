"""Grade a room full of notebooks: a row for every student, whatever each of them handed in.

Every job has a desk, a process of its own (`benchkit.examine`), that reads a student's files, runs the
answers in another process without rights, and says what came of each check. A desk that breaks is replaced,
and costs one check. What is known is written at once, one file a student and exercise, so that the same
command goes on where it stopped.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchkit import confine, course, examine, places, runs, salvage
from benchkit.course import Exercise
from benchkit.errors import BenchkitError
from benchkit.examine import Task
from benchkit.rooms import PREFIX, remove
from benchkit.text import counted

VERSION = 1  # of the grader: results of another one are not used again
KIND_S = 1.0  # for a desk to end by itself, once nobody speaks to it any more
PATIENCE_S = 60.0  # for a desk, beyond the time that answers may take
ENDINGS = (".ipynb", ".ipynb.txt", ".ipynb.json")
NOISE = re.compile(
    r"(?i)copy(?: of)?|final|new|old|fixed|done|solution|submission|answers?|kopie|version|v\d{1,2}|(?<!\d)\d{1,2}(?!\d)|[\W_]+"
)


@dataclass(frozen=True)
class Submission:
    """What one student handed in for one exercise; no exercise where it cannot be told which."""

    student: str
    exercise: str | None
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One student's points in one exercise: each check with its points and message, essays for a person to read."""

    student: str
    exercise: str
    points: float
    of: float
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    essays: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    complete: bool = True  # False: the grader itself broke; graded again next time


@dataclass(frozen=True)
class Settings:
    """How answers run: seconds for each cell and each check, memory, a folder with private checks."""

    limit_s: float = 5.0
    memory_mib: int = 1024
    hidden: Path | None = None


def grade(
    submissions: str | os.PathLike, out: str | os.PathLike, *, exercise: str | None = None,
    hidden: str | os.PathLike | None = None, limit_s: float = 5.0, memory_mib: int = 1024, jobs: int | None = None,
) -> list[Row]:  # fmt: skip
    """Grade every notebook under a folder: one row a student and exercise. What `out` knows is not graded again.

    `exercise` is a name, or a source file of your own; only that one is then graded. Raises BenchkitError where
    nothing can be graded, or where checks, submissions or results lie where answers must be able to read. What this
    system cannot keep answers from (`confine.missing()`), the caller must know.
    """
    settings = Settings(limit_s, memory_mib, Path(hidden).resolve() if hidden else None)
    sources = find_sources(exercise)
    _refuse_exposed(
        [Path(submissions), Path(out), *([settings.hidden] if settings.hidden else []), *sources.values()]
    )
    _check(settings, sources, jobs)
    tasks = {name: examine.read_task(path, settings.hidden) for name, path in sources.items()}
    work = find_submissions(
        Path(submissions), {name: task.exercise for name, task in tasks.items()}, exercise is not None
    )
    with runs.lock(Path(out)):
        rows = list(_grade_all(work, tasks, Path(out), settings, jobs or os.cpu_count() or 1))
    return sorted(rows, key=lambda row: (row.exercise, row.student.lower(), row.student))


def find_sources(exercise: str | None) -> dict[str, Path]:
    """The exercises' sources by name: all of the course, the one that is named, or a file of the teacher's own."""
    if exercise is None:
        return {path.stem: path for path in course.sources()}
    own = exercise.endswith(".py") and Path(exercise).is_file()
    path = Path(exercise).resolve() if own else course.find_exercise(exercise)
    return {path.stem: path}


def _check(settings: Settings, sources: Mapping[str, Path], jobs: int | None) -> None:
    if jobs is not None and jobs < 1:
        raise BenchkitError(f"{jobs} jobs: at least one is needed.")
    if not 0 < settings.limit_s <= 600:
        raise BenchkitError(f"a limit of {settings.limit_s:g} s: give one above 0 and up to 600.")
    if settings.memory_mib < 64:
        raise BenchkitError(
            f"{settings.memory_mib} MiB of memory: Python itself needs more. Give at least 64."
        )
    if settings.hidden is None:
        return
    if not any((settings.hidden / path.name).is_file() for path in sources.values()):
        names = ", ".join(path.name for path in sources.values())
        raise BenchkitError(f"{settings.hidden} holds no checks: looked for {names}.")


def _refuse_exposed(secrets: Iterable[Path]) -> None:
    if confine.landlock_version() and (bare := confine.exposed(secrets)):
        raise BenchkitError(
            f"{bare[0]} lies in a folder that answers must be able to read (Python's own, or the package's). "
            "Move it to a folder of its own."
        )


# ---- what was handed in ----------------------------------------------------------------------------


def find_submissions(folder: Path, exercises: Mapping[str, Exercise], only: bool) -> list[Submission]:
    """Everything that was handed in under a folder: a notebook a student, or a folder a student, nbgrader's too.

    Each student has a row for each exercise that anybody handed in; links are not followed.
    """
    if not folder.exists():
        raise BenchkitError(f"{folder} does not exist. Give the folder with the students' notebooks.")
    root = folder / "submitted" if (folder / "submitted").is_dir() else folder
    files = sorted(_notebooks(root)) if root.is_dir() else [root]
    root = root if root.is_dir() else root.parent
    known = {path.stem for path in course.sources()} | exercises.keys()  # a folder of another exercise is no student
    whose = {path: student_of(path.relative_to(root), known) for path in files}
    given: dict[tuple[str, str | None], list[Path]] = {}
    for path in files:
        if not (only and _is_another(path, exercises)):
            name = exercise_of(path, exercises) or (next(iter(exercises)) if only else None)
            given.setdefault((whose[path], name), []).append(path)
    everyone = set(whose.values()) | _empty_folders(root, files)
    return _with_the_missing(given, everyone, exercises if only else None)


def _notebooks(root: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(root, onerror=_refuse_unreadable):  # links to folders are not followed
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(here) / name for name in names if name.lower().endswith(ENDINGS) and name[0] != ".")


def _refuse_unreadable(problem: OSError) -> None:
    raise BenchkitError(f"{problem.filename} cannot be read ({problem.strerror}): its students would all seem to have handed "
                        "in nothing. Give yourself the right to read it, or take it away.")  # fmt: skip


def _empty_folders(root: Path, files: Sequence[Path]) -> set[str]:
    """Students' folders in which no notebook was found."""
    used = {path.relative_to(root).parts[0] for path in files}
    return {path.name for path in root.iterdir() if path.is_dir() and path.name[0] not in "._"} - used


def _with_the_missing(
    given: Mapping[tuple[str, str | None], list[Path]], everyone: set[str], always: Iterable[str] | None
) -> list[Submission]:
    found = [Submission(student, name, tuple(files)) for (student, name), files in given.items()]
    names = set(always or ()) | {name for _, name in given if name}
    unknown = {student for student, name in given if name is None}
    missing = [Submission(student, name, notes=("nothing was handed in",))
               for student in sorted(everyone) for name in sorted(names or {""})
               if (student, name) not in given and student not in unknown]  # fmt: skip
    return found + missing


def exercise_of(path: Path, exercises: Mapping[str, Exercise]) -> str | None:
    """Which exercise a notebook is: by its name, its folder's name, or the answers in it."""
    for word in (path.name, path.parent.name):
        if name := _named(word, exercises):
            return name
    text = _peek(path)
    asked = {name for exercise in exercises.values() for name in (exercise.answers | exercise.essays)}
    found = re.finditer(r'"(?:grade_id|id)"\s*:\s*"(\w+)"|\bdef (\w+)', text)
    words = {name for one in found if (name := one[1] or one[2]) in asked}  # no more than that of a huge file
    scores = {
        name: len(words & (exercise.answers | exercise.essays).keys()) for name, exercise in exercises.items()
    }
    best = max(scores, key=scores.__getitem__, default=None)
    return best if best and scores[best] else None


def _is_another(path: Path, exercises: Mapping[str, Exercise]) -> bool:
    """Whether a notebook is one of the course's other exercises."""
    others = [one.stem for one in course.sources() if one.stem not in exercises]
    for word in (path.name, path.parent.name):  # the nearest name decides
        if _named(word, exercises) or _named(word, others):
            return not _named(word, exercises)
    return False


def _named(word: str, names: Iterable[str]) -> str | None:
    """The exercise whose name, or number, is in a file's name.

    >>> [_named(word, ["ex02_speed", "practice"]) for word in ("ex02_speed (1).ipynb", "Sam-EX02.ipynb", "ex021.ipynb")]
    ['ex02_speed', 'ex02_speed', None]
    """
    low = word.lower()
    for name in names:
        if re.search(rf"(?<![a-z0-9]){re.escape(name.lower())}(?![a-z0-9])", low):
            return name
    number = re.search(r"(?<![a-z0-9])ex(\d\d)(?![0-9a-z])", low.replace("_", " "))
    return next((name for name in names if number and name.startswith(f"ex{number[1]}_")), None)


def _peek(path: Path) -> str:
    try:
        return salvage.decode(examine.read_file(path))
    except (OSError, MemoryError):
        return ""


def student_of(path: Path, exercises: Iterable[str]) -> str:
    """Whose notebook it is: the folders above it, and what its name says beside the exercise's.

    >>> [student_of(Path(path), ["ex02_speed"]) for path in
    ...  ("sam.ipynb", "sam/ex02_speed.ipynb", "sam/ex02_speed/ex02_speed.ipynb", "B/sam_ex02.ipynb", "sam/ex02-final.ipynb")]
    ['sam', 'sam', 'sam', 'B/sam', 'sam']
    """
    stem = re.sub(r"(?i)\.ipynb(\.txt|\.json)?$", "", path.name)
    above = [part for part in path.parent.parts if not _is_name(part, exercises)]
    name = _named(stem, exercises)
    if name is None:
        return "/".join([*above, stem])
    own = re.sub(rf"(?i){re.escape(name)}|ex\d\d", " ", stem).strip(" _-.")
    return "/".join([*above, own] if not above or NOISE.sub("", own) else above).strip("/") or stem


def _is_name(part: str, exercises: Iterable[str]) -> bool:
    return any(part.lower() in (name.lower(), name.lower().split("_")[0]) for name in exercises)


# ---- grading them ----------------------------------------------------------------------------------


def _grade_all(
    work: Sequence[Submission], tasks: Mapping[str, Task], out: Path, settings: Settings, jobs: int
) -> Iterator[Row]:
    """Rows as they become known; those that are known already come first."""
    from tqdm import tqdm

    todo: list[tuple[Submission, Path, str]] = []
    for one in work:
        if one.exercise is None or not one.files:
            yield _row_without_work(one, tasks)
            continue
        path, key = out / _file_name(one), _key(one, tasks[one.exercise], settings)
        known = runs.read_json(path, {})
        if known.get("key") == key and (row := _row_of(known.get("row"))):
            yield row
        else:
            todo.append((one, path, key))
    if todo:
        yield from tqdm(_in_parallel(todo, tasks, settings, min(jobs, len(todo))), total=len(todo), desc="grading",
                        unit="notebook", disable=None)  # fmt: skip


def _row_without_work(one: Submission, tasks: Mapping[str, Task]) -> Row:
    if one.exercise is None:
        names = ", ".join(path.name for path in one.files)
        notes = [f"{names}: which exercise this is cannot be told; grade it with --exercise NAME"]
        return Row(one.student, "", 0, 0, notes=notes)
    if one.exercise not in tasks:
        return Row(one.student, "", 0, 0, notes=list(one.notes))
    exercise = tasks[one.exercise].exercise
    checks = {name: {"points": 0, "of": cell.points, "message": one.notes[0], "note": ""}
              for name, cell in exercise.checks.items()}  # fmt: skip
    return Row(
        one.student, one.exercise, 0, exercise.points, checks, dict.fromkeys(exercise.essays, ""), one.notes
    )


def _file_name(one: Submission) -> str:
    who = f"{one.student}\0{one.exercise}".encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(who).hexdigest()[:8]
    return f"{runs.safe_name(str(one.exercise))}-{runs.safe_name(one.student)}-{digest}.json"


def _key(one: Submission, task: Task, settings: Settings) -> str:
    """What a result depends on: the exercise with its checks, the limits, the grader, the files."""
    fixed = json.dumps([VERSION, settings.limit_s, settings.memory_mib, one.student, asdict(task)])
    digest = hashlib.sha256(fixed.encode())
    for path in one.files:
        digest.update(str(path.name).encode("utf-8", "surrogateescape") + b"\0")
        try:
            digest.update(hashlib.sha256(examine.read_file(path)).digest())
        except OSError as error:
            digest.update(str(error).encode())
    return digest.hexdigest()


def _row_of(known: Any) -> Row | None:
    try:
        return Row(**known)
    except TypeError:  # another version wrote it, or another hand
        return None


def _in_parallel(
    todo: Sequence[tuple[Submission, Path, str]], tasks: Mapping[str, Task], settings: Settings, jobs: int
) -> Iterator[Row]:
    """Grade in several threads, each with a desk of its own; each row is on disk before it is handed on."""
    modules = sorted({name for task in tasks.values() for name in examine.modules_of(task.exercise)})
    desks = _Desks(modules, settings)

    def grade_one(one: Submission, path: Path, key: str) -> Row:
        row = _grade_one(desks.mine(), one, tasks[one.exercise], settings.limit_s)
        if row.complete:
            runs.write_json(path, {"key": key, "row": asdict(row)}, durable=False)
        return row

    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        waiting = {pool.submit(grade_one, *one) for one in todo}
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, 0.5, concurrent.futures.FIRST_COMPLETED)
            yield from (future.result() for future in done)
            desks.end_the_stuck()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        desks.close()
        pool.shutdown()


def _grade_one(desk: _Desk, one: Submission, task: Task, limit_s: float) -> Row:
    """One student's row; a check at which the desk itself breaks is given up, and the others go on."""
    exercise, given_up = task.exercise, {}
    about: dict[str, Any] = {"notes": [], "essays": {}, "read": False}
    checks: dict[str, dict[str, Any]] = {}
    job = {"task": asdict(task), "files": [str(path) for path in one.files], "limit_s": limit_s, "given_up": given_up}
    for _ in range(len(exercise.checks) + 1):
        try:
            _listen(desk, {**job, "known": list(checks)}, about, checks)
            break
        except _DeskGone as gone:
            if not about["read"]:
                about["notes"] = [f"the notebook could not be read: {gone}"]
                break
            for stuck in [name for name in exercise.checks if name not in checks and name not in given_up][:1]:
                given_up[stuck] = f"This check could not be carried out on the answer: {gone}."
    checks = {name: checks.get(name) or _not_graded(cell.points, about["notes"]) for name, cell in exercise.checks.items()}
    points = sum(check["points"] for check in checks.values())
    complete = about["read"] and not given_up
    return Row(one.student, exercise.name, points, exercise.points, checks, about["essays"], about["notes"], complete)


def _not_graded(of: float, notes: Sequence[str]) -> dict[str, Any]:
    return {"points": 0, "of": of, "message": next(iter(notes), "not graded"), "note": ""}


def _listen(
    desk: _Desk, job: Mapping[str, Any], about: dict[str, Any], checks: dict[str, dict[str, Any]]
) -> None:
    """Give a job to a desk and note what it says, until it is done."""
    for event in desk.do(job):
        if "stop" in event:
            raise BenchkitError(event["stop"])
        if "broken" in event:
            raise _DeskGone(f"a mistake in benchkit itself, please report it ({event['broken']})")
        if "check" in event:
            checks[event.pop("check")] = event
        elif "essays" in event:
            about.update(event, read=True)


# ---- desks -----------------------------------------------------------------------------------------


class _DeskGone(Exception):
    """A desk broke, or had to be ended."""


class _Desk:
    """A process that grades one job after the other; started when it is needed."""

    def __init__(self, modules: Sequence[str], settings: Settings, folder: str) -> None:
        self._first = {"modules": list(modules), "memory_mib": settings.memory_mib, "folder": folder}
        self._patience_s = PATIENCE_S + 2 * (settings.limit_s + examine.SETUP_S)
        self._process: subprocess.Popen | None = None
        self.deadline, self.closed = float("inf"), False

    def do(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Give it a job; what it says, until it is done. Raises `_DeskGone` where it breaks; the next job gets a new one."""
        try:
            process = self._process or self._start()
            self._tell(process, job)
            yield from self._events(process)
        except (OSError, ValueError) as error:
            self.end()
            raise _DeskGone(f"the grader's own process broke ({error})") from None
        finally:
            self.deadline = float("inf")

    def _events(self, process: subprocess.Popen) -> Iterator[dict[str, Any]]:
        while True:
            self.deadline = time.monotonic() + self._patience_s
            line = process.stdout.readline()
            if not line:
                raise OSError("it ended, or was ended because it took far too long")
            event = json.loads(line)
            if "done" in event:
                return
            yield event
            if "broken" in event:
                return

    def _start(self) -> subprocess.Popen:
        if self.closed:
            raise KeyboardInterrupt
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchkit.examine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, encoding="utf-8", env={**os.environ, "PYTHONPATH": places.python_path()},
        )  # fmt: skip
        if self.closed:  # closed while it started
            self.end()
        self._tell(self._process, self._first)
        return self._process

    def _tell(self, process: subprocess.Popen, message: Mapping[str, Any]) -> None:
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()

    def end(self) -> None:
        """End the process, kindly where it is idle; whoever waits for it learns that it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KIND_S)
        process.kill()
        process.wait()


class _Desks:
    """One desk for each thread that asks."""

    def __init__(self, modules: Sequence[str], settings: Settings) -> None:
        self._modules, self._settings = modules, settings
        self._folder = tempfile.mkdtemp(prefix=PREFIX)
        self._by_thread: dict[int, _Desk] = {}

    def mine(self) -> _Desk:
        return self._by_thread.setdefault(threading.get_ident(), _Desk(self._modules, self._settings, self._folder))

    def end_the_stuck(self) -> None:
        for desk in list(self._by_thread.values()):
            if time.monotonic() > desk.deadline:
                desk.end()

    def close(self) -> None:
        for desk in list(self._by_thread.values()):
            desk.closed = True
        for desk in list(self._by_thread.values()):
            desk.end()
        remove(self._folder)


# ---- what came of it -------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> Any:
    """A table with a line a student and exercise: points, each check's points, notes."""
    import pandas as pd

    several = len({row.exercise for row in rows}) > 1
    lines = []
    for row in rows:
        checks = {
            f"{row.exercise}: {name}" if several else name: check["points"]
            for name, check in row.checks.items()
        }
        lines.append({"student": row.student, "exercise": row.exercise, "points": row.points, "of": row.of, **checks,
                      "notes": "; ".join(notes_of(row))})  # fmt: skip
    frame = pd.DataFrame(lines, dtype=object)
    columns = [name for name in frame.columns if name != "notes"]
    return frame[[*columns, "notes"]].astype(object).where(frame.notna(), None)


def notes_of(row: Row) -> list[str]:
    """What is to be said about a student's notebook, and about cells that did not run."""
    cells = [
        f"{name.removeprefix('check_')}: {check['note']}"
        for name, check in row.checks.items()
        if check["note"]
    ]
    essays = [
        f"{name}: {'to be graded by hand' if text else 'not written'}" for name, text in row.essays.items()
    ]
    return [*row.notes, *cells, *(essays if row.checks else [])]


@dataclass(frozen=True)
class Rate:
    """How one exercise, or one check of it, went: how many students, how many passed, their mean points."""

    name: str
    n: int
    passed: int
    mean: float
    of: float


def rates(rows: Sequence[Row]) -> dict[str, list[Rate]]:
    """For each exercise: itself first (passed: full marks), then each check."""
    found = {}
    for name in dict.fromkeys(row.exercise for row in rows if row.checks):
        own = [row for row in rows if row.exercise == name and row.checks]
        whole = Rate(
            name,
            len(own),
            sum(row.points == row.of for row in own),
            _mean(row.points for row in own),
            own[0].of,
        )
        checks = [_rate(check, [row.checks[check] for row in own]) for check in own[0].checks]
        found[name] = [whole, *checks]
    return found


def _rate(name: str, checks: Sequence[Mapping[str, Any]]) -> Rate:
    passed = sum(check["message"] is None for check in checks)
    return Rate(name, len(checks), passed, _mean(check["points"] for check in checks), checks[0]["of"])


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def as_text(rows: Sequence[Row]) -> str:
    """A short table for the terminal: students and mean points by exercise, then the pass rate of each check."""
    lines = []
    for name, (whole, *checks) in rates(rows).items():
        lines.append(f"{name}: {counted(whole.n, 'student')}, mean {whole.mean:.1f} of {whole.of:g} points, "
                     f"{whole.passed} with full marks")  # fmt: skip
        width = max(len(check.name) for check in checks)
        lines += [f"  {check.name:<{width}}  {check.passed:>4} of {check.n} passed  {100 * check.passed / check.n:>4.0f} %"
                  for check in checks]  # fmt: skip
    strange = [row for row in rows if row.notes or not row.checks]
    lines += [f"{counted(len(strange), 'row')} with a note: see the table"] if strange else []
    return "\n".join(lines) or "No notebook was found."
