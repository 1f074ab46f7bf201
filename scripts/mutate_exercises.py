"""How good are the exercises' checks? Change every solution in many small ways: the checks should notice each change.

    python scripts/mutate_exercises.py              all exercises
    python scripts/mutate_exercises.py ex02 ex03    these, with each change that was not noticed

A change that changes nothing is listed in `EQUIVALENT_MUTANTS` of `tests/exercises/NAME.py`: the words printed here,
then `: ` and the reason. Answers in `OWN_CONTENT` hold a student's own words, so that a changed one may be as right.
The changes are our own, because those of mutmut are not meant to be called from outside and move between its versions;
its kinds are among them.
Each changed solution runs in a process of its own, forked from this one, so that an endless one costs a few seconds.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchkit import course, places

PUBLIC_SHARE = 0.7  # of all changes, what the checks that a student sees must notice
LIMIT_S = 1.0
MEMORY = 2 * 2**30

SWAPS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mult), ast.Mod: (ast.Div,), ast.Pow: (ast.Mult,), ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,), ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitAnd,),
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.And: (ast.Or,), ast.Or: (ast.And,),
    ast.Break: (ast.Continue,), ast.Continue: (ast.Break,),
}  # fmt: skip
_PAIRS = ("min max", "any all", "lower upper", "lstrip rstrip", "find rfind", "index rindex", "split rsplit",
          "partition rpartition", "removeprefix removesuffix", "startswith endswith", "append extend", "floor ceil",
          "mean median", "little big", "keys values")  # fmt: skip
NAMES = {a: b for pair in _PAIRS for a, b in (pair.split(), pair.split()[::-1])}
KEPT = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Pass)  # statements that are not removed


@dataclass(frozen=True)
class Mutant:
    """A changed solution: the code, and which lines became which."""

    answer: str
    shown: str
    code: str


@dataclass(frozen=True)
class Score:
    """What became of the changes of one exercise."""

    exercise: str
    n: int  # without those that are listed as harmless
    public: int
    survivors: tuple[Mutant, ...]  # not noticed, not listed
    harmless: int
    unknown: tuple[str, ...]  # listed, but no such change exists

    @property
    def public_share(self) -> float:
        return self.public / self.n if self.n else 1.0

    def __str__(self) -> str:
        noticed = self.n - len(self.survivors)
        return (f"{self.exercise:<28} {self.n:5d} changes   noticed by the public checks {self.public_share:4.0%}, "
                f"by all {noticed / max(self.n, 1):4.0%}   ({self.harmless} harmless)")  # fmt: skip


# ---- changes ---------------------------------------------------------------------------------------


def mutants(answer: str, code: str) -> list[Mutant]:
    """Every solution that differs from this one by one small change, and can be compiled."""
    tree = ast.parse(code)
    plain = ast.unparse(tree)
    found: dict[str, Mutant] = {}
    for holder, key in list(_places(tree)):
        old = holder[key]
        for new in _variants(old):
            holder[key] = new
            text = ast.unparse(ast.fix_missing_locations(tree))
            if text != plain and text not in found and _compiles(text):
                found[text] = Mutant(answer, _difference(plain, text), text)
        holder[key] = old
    return list(found.values())


def _places(node: ast.AST) -> Iterator[tuple[Any, Any]]:
    """Where something can be put in the place of something else; not in docstrings, not in the words of an error."""
    for field, value in ast.iter_fields(node):
        spots = [(value, i) for i in range(len(value))] if isinstance(value, list) else [(vars(node), field)]
        for holder, key in spots:
            child = holder[key]
            if isinstance(child, ast.AST) and not _is_text(child):
                yield holder, key
                if not isinstance(child, ast.Raise):
                    yield from _places(child)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _variants(node: Any) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    yield from (kind() for kind in SWAPS.get(type(node), ()))
    if isinstance(node, ast.stmt):
        yield from _of_statement(node)
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _of_value(node.value))
    elif isinstance(node, (ast.Name, ast.Attribute)):
        field = "id" if isinstance(node, ast.Name) else "attr"
        if getattr(node, field) in NAMES:
            yield _with(node, **{field: NAMES[getattr(node, field)]})
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.BinOp):
        yield from (node.left, node.right)
    elif isinstance(node, ast.BoolOp):
        yield from node.values
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    elif isinstance(node, ast.Slice):
        yield from (_with(node, **{part: None}) for part in ("lower", "upper", "step") if getattr(node, part))
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield _with(node, ifs=[])
    elif isinstance(node, ast.Lambda):
        yield _with(node, body=ast.Constant(None))


def _of_statement(node: ast.stmt) -> Iterator[ast.AST]:
    if not isinstance(node, KEPT):
        yield ast.Pass()
    if isinstance(node, (ast.If, ast.While)):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, (ast.Return, ast.Assign, ast.AnnAssign)) and node.value is not None:
        yield _with(node, value=ast.Constant(None))
    if isinstance(node, ast.AugAssign):
        yield ast.Assign([node.target], node.value)


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    for field in ("args", "keywords"):
        given = getattr(node, field)
        for i in range(len(given)):
            yield _with(node, **{field: given[:i] + given[i + 1 :]})
    for i in range(len(node.args)):
        yield _with(node, args=[*node.args[:i], ast.Constant(None), *node.args[i + 1 :]])
    if len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
        yield node.args[0]


def _of_value(value: Any) -> list[Any]:
    """Other values of the same type; a large number changes by more than the checks' tolerance."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1, value - 1] if abs(value) < 1e6 else [value * 10, value // 10]
    if isinstance(value, str):
        return [f"XX{value}XX", value.lower(), value.upper(), ""]
    if isinstance(value, bytes):
        return [b"XX" + value, b""]
    return [0] if value is None else []


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _compiles(code: str) -> bool:
    try:
        with warnings.catch_warnings():  # `x is 1`: odd, but it runs
            warnings.simplefilter("ignore")
            compile(code, "<mutant>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _difference(old: str, new: str) -> str:
    """What changed, in words that can be listed: `return n - 1 → return n`."""
    was, now = old.split("\n"), new.split("\n")
    while was[:1] == now[:1]:
        was, now = was[1:], now[1:]
    while was[-1:] == now[-1:]:
        was, now = was[:-1], now[:-1]
    return " → ".join(" ".join(" ".join(lines).split()) for lines in (was, now))


# ---- running them ----------------------------------------------------------------------------------


def score(source: Path, jobs: int = os.cpu_count() or 1) -> Score:
    """Try every change of every solution of one exercise."""
    exercise, data = course.read_exercise(source), test_data(source.stem)
    listed = [(answer, entry) for answer, entries in data.EQUIVALENT_MUTANTS.items() for entry in entries]
    tried = [m for name, cell in exercise.answers.items() for m in mutants(name, cell.solution)]
    harmless = {(a, e): [m for m in tried if m.answer == a and e.startswith(f"{m.shown}: ")] for a, e in listed}
    without = [m for m in tried if not any(m in found for found in harmless.values())]
    limits = {name: _limit_s(exercise, name) for name in exercise.answers}  # also imports what the children need
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("fork").Pool(jobs, _stay_in, (folder,)) as pool,
    ):
        outcomes = pool.starmap(_outcome, [(exercise, m, limits[m.answer]) for m in without], chunksize=4)
    survived = [m for m, outcome in zip(without, outcomes) if outcome == "survived"]
    own = [m for m in survived if m.answer in getattr(data, "OWN_CONTENT", {})]  # another student's, as good as this
    return Score(
        exercise.name, len(without) - len(own), outcomes.count("public"), tuple(m for m in survived if m not in own),
        sum(map(len, harmless.values())) + len(own), tuple(f"{a}: {e}" for (a, e), found in harmless.items() if not found),
    )  # fmt: skip


def _stay_in(folder: str) -> None:
    """What a changed solution writes, it writes here."""
    os.chdir(folder)
    tempfile.tempdir = folder


def test_data(name: str) -> ModuleType:
    """The lists of `tests/exercises/NAME.py`."""
    spec = importlib.util.spec_from_file_location(f"data_of_{name}", places.ROOT / "tests" / "exercises" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _limit_s(exercise: course.Exercise, answer: str) -> float:
    """How long a changed solution may take: several times as long as the right one."""
    solutions = {name: cell.solution for name, cell in exercise.answers.items()}
    start = time.perf_counter()
    message = course.run_check(exercise, solutions, f"check_{answer}")
    if message:
        raise SystemExit(f"{exercise.name}: the solution itself does not pass:\n{message}")
    return max(LIMIT_S, 5 * (time.perf_counter() - start))


def _outcome(exercise: course.Exercise, mutant: Mutant, limit_s: float) -> str:
    """Which checks notice a changed solution: public, hidden; or it survived."""
    for name, hidden in (("public", False), ("hidden", True)):
        if not passes(exercise, mutant, hidden, limit_s):
            return name
    return "survived"


def passes(exercise: course.Exercise, mutant: Mutant, hidden: bool, limit_s: float) -> bool:
    """Run one check in a forked child, which ends when its time is up."""
    child = os.fork()
    if child == 0:
        _run_and_leave(exercise, mutant, hidden, limit_s)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def _run_and_leave(exercise: course.Exercise, mutant: Mutant, hidden: bool, limit_s: float) -> None:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        sys.stdout = sys.stderr = open(os.devnull, "w")
        answers = {name: cell.solution for name, cell in exercise.answers.items()} | {mutant.answer: mutant.code}
        os._exit(1 if course.run_check(exercise, answers, f"check_{mutant.answer}", hidden) else 0)
    finally:  # whatever else the changed solution did
        os._exit(1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exercises", nargs="*", metavar="NAME", help="ex02, ex03_tails, practice … (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="default: all cores")
    options = parser.parse_args(arguments)
    failed = False
    for source in [course.find_exercise(name) for name in options.exercises] or course.sources():
        found = score(source, options.jobs)
        print(found, flush=True)
        print(*(f"    not noticed  {m.answer}: {m.shown}" for m in found.survivors), sep="\n", end="\n" * bool(found.survivors))
        print(*(f"    no such change  {entry}" for entry in found.unknown), sep="\n", end="\n" * bool(found.unknown))
        failed |= bool(found.survivors or found.unknown) or found.public_share < PUBLIC_SHARE
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
