"""Runs side by side, as text for a terminal and as plain values for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from benchkit import load, load_report, report, tables, traffic
from benchkit.runs import open_run
from benchkit.text import number, one_line, visible


def side_by_side(folders: Sequence[str | Path], pair: Sequence[str] | None = None) -> dict[str, Any]:
    """Everything a comparison says: verdicts, summary, cards, and all pairs (or only `pair`); load runs apart."""
    loads = [folder for folder in folders if load.is_load_run(folder)]
    opened = [open_run(folder) for folder in folders if folder not in loads]
    rows = tables.results(opened)
    return {
        "verdicts": {str(run.folder): tables.verdict(run) for run in opened},
        "summary": tables.summarize(rows),
        "cards": tables.cards(rows) if opened else [],
        "pairs": tables.compare(rows, *(pair or ())),
        "loads": [load.read_summary(folder) for folder in loads],
    }


def as_text(found: dict[str, Any], with_pairs: bool = True) -> str:
    """The comparison for a terminal."""
    parts = _run_parts(found, with_pairs) if found["verdicts"] else []
    return "\n\n".join(part for part in [*parts, *_load_parts(found["loads"])] if part)


def _run_parts(found: dict[str, Any], with_pairs: bool) -> list[str]:
    parts = [report.format_table(found["summary"]), report.format_cards(found["cards"])]
    parts += [
        format_pair(*key, rows) for key, rows in found["pairs"].groupby(["a", "b"], sort=False) if with_pairs
    ]
    return parts + [verdict_line(folder, verdict) for folder, verdict in found["verdicts"].items()]


def _load_parts(loads: Sequence[dict[str, Any]]) -> list[str]:
    """Load runs: several in one table first, then each as `benchkit load` shows it."""
    texts = [visible(traffic.as_text(found)) for found in loads]
    if len(loads) < 2:
        return texts
    names = load.short_names([found["folder"] for found in loads])
    return [_load_table(loads, names), *(f"{visible(name)}:\n{text}" for name, text in zip(names, texts))]


def _load_table(loads: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    columns = load_report.comparison(loads, [one_line(name, 60) for name in names])
    return "\n".join([*report.align(columns), load_report.COMPARED_NOTE])


def as_json(found: dict[str, Any]) -> dict[str, Any]:
    """The comparison as plain JSON values; what is missing is null, a number without end too."""
    return {
        "runs": [{"run": folder, **asdict(verdict)} for folder, verdict in found["verdicts"].items()],
        "summary": records(found["summary"]),
        "cards": [asdict(card) for card in found["cards"]],
        "pairs": records(found["pairs"]),
        "loads": found["loads"],
    }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows as plain JSON values.

    >>> records(pd.DataFrame({"ttft_ms": [1.5, float("nan")]}))
    [{'ttft_ms': 1.5}, {'ttft_ms': None}]
    """
    return json.loads(table.to_json(orient="records", double_precision=15))


def verdict_line(folder: str, verdict: Any) -> str:
    """A run's verdict and its reasons."""
    return "\n  ".join(map(visible, [f"{folder}: {verdict.state}", *verdict.reasons, *verdict.notes]))


def format_pair(a: str, b: str, rows: pd.DataFrame) -> str:
    """Two configurations prompt by prompt: one line a question, its interval and what may be said; then the notes."""
    lines = [f"{one_line(a, 60)} against {one_line(b, 60)}, paired by prompt:"]
    for row in rows.to_dict("records"):
        name = f"{row['metric']} ({row['unit']})" if row["unit"] else row["metric"]
        values = f"{number(row['value_a'])} and {number(row['value_b'])}"
        lines.append(f"  {name:<28} {values:<20} {_effect(row)}: {one_line(row['verdict'], 90)}")
    notes = dict.fromkeys(part for note in rows["note"] for part in note.split("; ") if part)
    return "\n".join([*lines, *(f"  {one_line(note, 160)}" for note in notes)])


def _effect(row: dict[str, Any]) -> str:
    kind = "ratio" if pd.notna(row["ratio"]) else "difference"
    if pd.isna(row[kind]):
        return "–"
    interval = f" [{number(row['low'])} to {number(row['high'])}]" if pd.notna(row["low"]) else ""
    return f"{kind} {number(row[kind])}{interval}"
