"""Runs side by side, as text for a terminal and as plain values for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from benchkit import report, tables
from benchkit.runs import open_run
from benchkit.text import number, one_line


def side_by_side(folders: Sequence[str | Path], pair: Sequence[str] | None = None) -> dict[str, Any]:
    """Everything a comparison says: verdicts, summary, cards and, for two configurations, prompt by prompt.

    `pair` names two configurations; without it the pair is compared only where there are just two.
    """
    opened = [open_run(folder) for folder in folders]
    rows = tables.results(opened)
    wanted = pair or (rows["configuration"].unique() if len(opened) else ())
    return {
        "verdicts": {str(run.folder): tables.verdict(run) for run in opened},
        "summary": tables.summarize(rows),
        "cards": tables.cards(rows),
        "pair": tables.compare(rows, *wanted) if len(wanted) == 2 else None,
    }


def as_text(found: dict[str, Any]) -> str:
    """The comparison for a terminal."""
    parts = [report.format_table(found["summary"]), report.format_cards(found["cards"])]
    if found["pair"] is not None:
        parts.append(format_pair(found["pair"]))
    parts += [verdict_line(folder, verdict) for folder, verdict in found["verdicts"].items()]
    return "\n\n".join(parts)


def as_json(found: dict[str, Any]) -> dict[str, Any]:
    """The comparison as plain JSON values; what is missing is null, a number without end too."""
    return {
        "runs": [{"run": folder, **asdict(verdict)} for folder, verdict in found["verdicts"].items()],
        "summary": records(found["summary"]),
        "cards": [asdict(card) for card in found["cards"]],
        "pair": None if found["pair"] is None else records(found["pair"]),
    }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows as plain JSON values.

    >>> records(pd.DataFrame({"ttft_ms": [1.5, float("nan")]}))
    [{'ttft_ms': 1.5}, {'ttft_ms': None}]
    """
    return json.loads(table.to_json(orient="records", double_precision=15))


def verdict_line(folder: str, verdict: Any) -> str:
    """A run's verdict and its reasons."""
    return "\n  ".join([f"{folder}: {verdict.state}", *verdict.reasons, *verdict.notes])


def format_pair(pair: pd.DataFrame) -> str:
    """Two configurations prompt by prompt: one line a question, with the interval and what it allows to say."""
    a, b = list(pair.columns)[2:4]
    lines = [f"{one_line(a, 60)} against {one_line(b, 60)}, paired by prompt:"]
    for row in pair.to_dict("records"):
        name = f"{row['metric']} ({row['unit']})" if row["unit"] else row["metric"]
        ratio = pd.notna(row["ratio"])
        effect = f"ratio {number(row['ratio'])}" if ratio else f"difference {number(row['difference'])}"
        low, high = number(row["low"]), number(row["high"])
        interval = f" [{low} to {high}]" if pd.notna(row["low"]) else ""
        values = f"{number(row[a])} and {number(row[b])}"
        lines.append(f"  {name:<28} {values:<22} {effect}{interval}: {one_line(row['verdict'], 90)}")
    return "\n".join(lines)
