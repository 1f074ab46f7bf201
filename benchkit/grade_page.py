"""The page of a graded exercise: pass rates, points, and what each student is told. Names and texts are untrusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchkit import confine, pages
from benchkit.course import Exercise, read_exercise
from benchkit.grade import Rate, Row, find_sources, rates
from benchkit.text import counted, one_line, percent

CONTENTS = [("summary", "In short"), ("checks", "Pass rates"), ("students", "Students"), ("messages", "Messages"),
            ("how", "How it was graded")]  # fmt: skip
N_MESSAGES = 12


def write_page(rows: Sequence[Row], settings: Mapping[str, Any], path: Path) -> Path:
    """Write the page of these rows, in one self-contained file; `settings` are what `grade` was given."""
    return pages.write(pages.place(path), pages.render("grade.html.j2", _values(rows, settings)))


def _values(rows: Sequence[Row], settings: Mapping[str, Any]) -> dict[str, Any]:
    found, sources = rates(rows), find_sources(settings["exercise"])
    exercises = {name: read_exercise(sources[name]) for name in found}
    students = len({row.student for row in rows})
    return {
        "title": "Graded exercises", "subtitle": f"{counted(students, 'student')}, {counted(len(found), 'exercise')}",
        "contents": CONTENTS, "cards": [_card(whole) for whole, *_ in found.values()],
        "exercises": [_part(n, name, rows, measured, exercises[name]) for n, (name, measured) in enumerate(found.items())],
        "strangers": [{"name": row.student, "note": "; ".join(row.notes)} for row in rows if not row.checks],
        "how": _how(settings),
    }  # fmt: skip


def _card(whole: Rate) -> dict[str, str]:
    note = f"mean of {counted(whole.n, 'student')}; {whole.passed} with full marks"
    return {"title": whole.name, "value": f"{whole.mean:.1f} of {whole.of:g} points", "note": note}


def _part(
    n: int, name: str, rows: Sequence[Row], measured: Sequence[Rate], exercise: Exercise
) -> dict[str, Any]:
    whole, *checks = measured
    own = [row for row in rows if row.exercise == name and row.checks]
    return {
        "name": name, "of": f"{whole.of:g}", "misses": _misses(own),
        "checks": [{"name": check.name.removeprefix("check_"), "passed": check.passed, "n": check.n,
                    "share": percent(check.passed / check.n), "mean": f"{check.mean:.2f} of {check.of:g}"}
                   for check in checks],
        "students": [_student(f"student-{n}-{i}", row, exercise) for i, row in enumerate(own)],
    }  # fmt: skip


def _misses(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What most students were told: what a class has not understood."""
    told = Counter((name.removeprefix("check_"), one_line(check["message"], 300))
                   for row in rows for name, check in row.checks.items() if check["message"])  # fmt: skip
    return [
        {"check": check, "message": message, "n": n} for (check, message), n in told.most_common(N_MESSAGES)
    ]


def _student(anchor: str, row: Row, exercise: Exercise) -> dict[str, Any]:
    checks = [_check(name, check) for name, check in row.checks.items()]
    essays = [{"name": name, "text": row.essays.get(name, ""), "of": f"{cell.points:g}"}
              for name, cell in exercise.essays.items()]  # fmt: skip
    missed = [check["name"] for check in checks if check["message"]]
    something = bool(missed or row.notes or essays)
    return {
        "name": row.student, "points": f"{row.points:g}", "checks": checks, "essays": essays, "notes": list(row.notes),
        "anchor": anchor if something else "", "gist": f"not yet: {', '.join(missed)}" if missed else "; ".join(row.notes),
    }  # fmt: skip


def _check(name: str, check: Mapping[str, Any]) -> dict[str, Any]:
    passed = check["message"] is None
    return {"name": name.removeprefix("check_"), "points": f"{check['points']:g}", "message": check["message"],
            "note": check["note"], "tone": "good" if passed else "bad", "sign": "✓" if passed else "✗"}  # fmt: skip


def _how(settings: Mapping[str, Any]) -> list[str]:
    hidden = (
        "a private folder's checks stood in for the hidden ones"
        if settings["hidden"]
        else "with the course's own hidden checks"
    )
    rest = confine.missing()
    kept = [f"Not on this system: an answer could {what}." for what in rest]
    return [
        "Answers were taken out of the notebooks and put into the exercise as it was handed out; checks that a student "
        "had changed do not count.",
        f"Each check: {settings['limit_s']:g} s for a cell and for all calls of a check, {settings['memory_mib']:,} MiB; {hidden}.",
        "Answers ran in a process of their own, without the checks: it could not start programs, nor read or change "
        "files but Python's and a temporary folder. The network of this computer was open to it.",
        *kept,
    ]
