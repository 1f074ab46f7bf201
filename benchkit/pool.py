"""Many machines, one question: each machine's own answer to "A or B?", and what they say together.

    pool(["room/ada", "room/bo", …], "gguf:pocket-xs", "gguf:pocket-s")      one row a run, with its machine

Speeds of different machines are not samples of one thing, so they are never averaged. What can be pooled is the ratio
that each machine finds by itself, prompt by prompt: one number a machine, and the median over machines.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchkit import report, stats, tables
from benchkit.errors import BenchkitError, did_you_mean
from benchkit.runs import Run, open_run
from benchkit.text import number, one_line, percent

#: What of a machine's record stands in its row.
MACHINE = ("cpu", "physical_cores", "memory_mib", "system", "power_source")


@dataclass(frozen=True)
class Pooled:
    """What the machines say together: the median of their ratios A/B, its 95 % interval, and which runs count."""

    ratio: float | None
    interval: stats.Interval | None
    used: tuple[str, ...]
    left_out: dict[str, str]


def pool(folders: Sequence[str | os.PathLike], a: str | None = None, b: str | None = None) -> pd.DataFrame:
    """One row a run: its machine, its plan, its verdict, the decode speeds (tok/s) of A and B and their ratio, the pass rates.

    Without `a` and `b` the runs must hold exactly two configurations. Raises `BenchkitError` for a run that lacks one.
    """
    opened = [open_run(folder) for folder in folders]
    rows = [_row(run, *_pair(run, a, b)) for run in opened]
    table = pd.DataFrame(rows)
    table.insert(0, "run", _names(opened))
    return table


def _names(opened: Sequence[Run]) -> list[str]:
    """The folders' own names; where two are alike, with the folder that they are in."""
    names = [run.folder.name for run in opened]
    return [n if names.count(n) == 1 else str(Path(run.folder.parent.name, n)) for n, run in zip(names, opened)]


def _pair(run: Run, a: str | None, b: str | None) -> tuple[str, str]:
    known = list(run.manifest["configurations"])
    if a is None and b is None and len(known) == 2:
        return known[0], known[1]
    if a is None or b is None:
        raise BenchkitError(f"{run.folder} holds {len(known)} configurations: say which two with --pair A B, of "
                            f"{', '.join(known)}.")  # fmt: skip
    for name in (a, b):
        if name not in known:
            raise BenchkitError(f"{run.folder} has no configuration '{name}'{did_you_mean(name, known)}. It has "
                                f"{', '.join(known)}.")  # fmt: skip
    return a, b


def _row(run: Run, a: str, b: str) -> dict[str, Any]:
    results = tables.results(run)
    speed = tables.compare(results, a, b).set_index("metric").loc["decode_tokens_per_s"]
    right = tables.summarize(results).set_index("configuration")["pass_rate"].astype("float64")
    machine = run.manifest.get("machine") or {}
    return {
        **{name: machine.get(name) for name in MACHINE},
        "plan_sha256": run.manifest.get("plan_sha256"),
        "verdict": tables.verdict(run, results).state,
        "a": a, "b": b, "a_tokens_per_s": speed["value_a"], "b_tokens_per_s": speed["value_b"],
        "ratio": speed["ratio"], "low": speed["low"], "high": speed["high"], "says": speed["verdict"],
        "a_pass_rate": right.get(a), "b_pass_rate": right.get(b),
    }  # fmt: skip


def together(table: pd.DataFrame) -> Pooled:
    """The median ratio over the runs that are VALID and follow the plan that most of them do, with its interval.

    The interval is that of a median over machines, from six machines on: a room's machines stand for machines like them.
    """
    usual = table["plan_sha256"].mode(dropna=True)
    left_out = {row["run"]: why for _, row in table.iterrows() if (why := _why_not(row, usual))}
    used = table[~table["run"].isin(left_out)]
    ratio = float(used["ratio"].median()) if len(used) else None
    return Pooled(ratio, stats.median_interval(used["ratio"]), tuple(used["run"]), left_out)


def _why_not(row: pd.Series, usual: pd.Series) -> str | None:
    if row["plan_sha256"] not in set(usual[:1]):
        return "another plan"
    if row["verdict"] != "VALID":
        return row["verdict"]
    return "no ratio" if pd.isna(row["ratio"]) else None


def as_text(table: pd.DataFrame) -> str:
    """The room as a table, and below it what it says together."""
    pairs = list(dict.fromkeys(zip(table["a"], table["b"])))
    names = "; ".join(f"A is {one_line(a)}, B is {one_line(b)}" for a, b in pairs)
    return "\n".join([names, *report.align([_column(table, *wanted) for wanted in SHOWN]), _sentence(together(table))])


SHOWN = (
    ("run", "", one_line), ("cpu", "", lambda text: one_line(text, 32)), ("physical_cores", "", "{:.0f}".format),
    ("verdict", "", one_line), ("a_tokens_per_s", "tok/s", number), ("b_tokens_per_s", "tok/s", number),
    ("ratio", "A/B", number), ("low", "95 %", number), ("high", "95 %", number), ("a_pass_rate", "", percent),
    ("b_pass_rate", "", percent),
)  # fmt: skip


def _column(table: pd.DataFrame, name: str, unit: str, show: Any) -> list[str]:
    title = {"physical_cores": "cores", "a_tokens_per_s": "A", "b_tokens_per_s": "B", "a_pass_rate": "A right",
             "b_pass_rate": "B right", "ratio": "speed"}.get(name, name)  # fmt: skip
    return [title, unit, *("–" if value is None else show(value) for value in table[name])]


def _sentence(found: Pooled) -> str:
    n, all_ = len(found.used), len(found.used) + len(found.left_out)
    reasons = "; ".join(f"{one_line(run)}: {why}" for run, why in found.left_out.items())
    left = f" Left out: {reasons}." if reasons else ""
    if not n:
        return f"None of {all_} runs can be pooled.{left}"
    interval = (f"95 % interval {number(found.interval.low)} to {number(found.interval.high)}" if found.interval
                else f"no interval from {n} of at least {stats.MIN_PROMPTS} machines")  # fmt: skip
    return f"Over {n} of {all_} runs, A is {number(found.ratio)} times as fast as B (median; {interval}).{left}"
