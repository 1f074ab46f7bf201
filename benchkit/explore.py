"""Look around in finished or growing runs: what `benchkit explore RUN…` knows, and what it answers.

    loaded = read(["benchmark_outputs/my-run"])
    results_page(loaded, Chosen(categories=("code",), outcome="failed"))

The page (explore.js) asks; every number comes from here, with the functions that the report uses. The table
stays here too: the browser gets one page of it at a time. How it travels is the matter of `explore_server`.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchkit import load, metrics, pages, report, rows, runs, tables
from benchkit.errors import BenchkitError, did_you_mean
from benchkit.export import to_bytes
from benchkit.text import counted, number, one_line

PAGE = 100  # results on a page
MAX_POINTS = 2000  # of a chart; of more, some are left out, and the page says so
MAX_REPLY = 100_000  # characters of a reply or an artifact that the page shows; the file holds all
MAX_DIFF = 12_000  # characters of each of two replies that are compared word by word
MAX_EXCEL = 20_000  # rows that are written as Excel, which takes a minute for many
MAX_LISTED = 100  # unreadable artifacts named one by one
WAIT_S = 0.25  # how long an answer waits for a summary before it says that it is still being worked out

OUTCOMES = ("any", "passed", "failed")
#: What a point of the second chart can be: column, name, unit.
MEASURES = {"latency_s": ("Latency", "s"), "ttft_ms": ("Time to first token", "ms"),
            "decode_tokens_per_s": ("Decode speed", "tok/s")}  # fmt: skip
#: The columns of a download: what the page shows of each result, and where it came from.
DOWNLOAD = ["run", "configuration", "prompt_set", "prompt_index", "prompt_id", "category", "trial", "purpose",
            "state", "error", "correct", "n_checks", "n_passed", "checks", "latency_s", "ttft_ms",
            "decode_tokens_per_s", "n_prompt_tokens", "n_output_tokens", "peak_memory_mib", "prompt",
            "response", "artifact"]  # fmt: skip


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class Source(runs.Run):
    """A run folder read one artifact after the other, so that 100,000 fit in memory, and telling how far."""

    tell: Callable[[], None] = lambda: None
    unreadable: list[str] = field(default_factory=list)

    def artifacts(self) -> Iterator[dict[str, Any]]:
        """Every readable artifact; what is wrong with the others goes into `problems`."""
        for path in runs.artifact_paths(self.folder):
            self.tell()
            try:
                artifact = runs.read_artifact(path, self.folder)
            except ValueError as problem:
                self.unreadable.append(f"{path.relative_to(self.folder).as_posix()}: {problem}")
                continue
            yield artifact

    @property
    def problems(self) -> list[str]:
        """The artifacts that cannot be read, and why."""
        return self.unreadable


@dataclass(frozen=True)
class Loaded:
    """All results, and what finding some of them quickly takes: columns of numbers, one value a result."""

    table: pd.DataFrame
    folders: Mapping[str, Path]  # run → its folder
    runs: list[dict[str, Any]]  # what the page shows of each
    problems: list[str]
    sorts: Mapping[str, np.ndarray]  # what results can be sorted by → numbers, NaN where there is none
    checks: Mapping[str, np.ndarray]  # check → 1 passed, 0 failed, −1 not asked or not run
    shown: Mapping[str, pd.Series]  # "model", "category" → the names as they are shown
    number: int = 0  # of the reading: row numbers hold for one reading only


def read(folders: Sequence[str | Path], tell: Callable[[], None] = lambda: None, number: int = 0) -> Loaded:
    """Read the runs. `tell` is called once an artifact."""
    unique = {Path(folder).resolve(): folder for folder in folders}
    sources = [Source(runs.open_run(folder).folder, tell) for folder in unique.values()]
    table = _in_order(rows.results(sources), sources)
    named = dict(zip(rows.run_names(sources), sources, strict=True))
    for source in sources:
        runs.open_run(source.folder)  # gone meanwhile: better told than shown as a run without results
    return Loaded(
        table=table, folders={name: source.folder for name, source in named.items()},
        runs=[_run(name, source, table) for name, source in named.items()],
        problems=[f"{name}/{text}" for name, source in named.items() for text in source.problems],
        sorts=_sorts(table), checks=_checks(table), number=number,
        shown={"model": table["configuration"].map(_name), "category": table["category"].map(_name)},
    )  # fmt: skip


def _in_order(table: pd.DataFrame, sources: Sequence[Source]) -> pd.DataFrame:
    """The table in the plans' order: configurations as the manifest lists them, then prompts and trials."""
    labels = [label for source in sources for label in source.manifest.get("configurations", {})]
    place = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    bare = [
        name.removesuffix(f" [{run}]") for name, run in zip(table["configuration"], table["run"], strict=True)
    ]
    keys = table.assign(
        _place=[place.get(name, len(place)) for name in bare], _speed=table["purpose"] == "speed"
    )
    order = ["_place", "configuration", "_speed", "prompt_set", "prompt_index", "trial"]
    return keys.sort_values(order, kind="stable").drop(columns=["_place", "_speed"]).reset_index(drop=True)


def _run(name: str, source: Source, table: pd.DataFrame) -> dict[str, Any]:
    """One run as the page shows it: where it is, whether to trust it, whether it still grows."""
    own = table[table["run"] == name]
    found = tables.verdict(source, own)
    growing = source.status.get("state") == "running"
    return {"run": name, "folder": str(source.folder), "n": len(own), "growing": growing,
            "verdict": pages.verdict(name, found.state, found.reasons, found.notes)}  # fmt: skip


def _sorts(table: pd.DataFrame) -> dict[str, np.ndarray]:
    numbers = ("trial", "correct", "latency_s", "ttft_ms", "decode_tokens_per_s", "n_output_tokens")
    ordered = table.groupby(rows.PROMPT, sort=True, dropna=False).ngroup()
    return {
        "model": pd.factorize(table["configuration"])[0].astype(float),
        "prompt": ordered.to_numpy(float),
        "category": pd.factorize(table["category"].fillna(""), sort=True)[0].astype(float),
        **{name: table[name].astype("Float64").to_numpy(float, na_value=np.nan) for name in numbers},
    }


def _checks(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Each check by name: how it went for every result. One that a prompt has twice is passed if both are."""
    found: dict[str, np.ndarray] = {}
    for row, checks in enumerate(table["checks"]):
        for check in checks if isinstance(checks, list) else ():
            if check.get("passed") is not None:
                name = _name(check["check"])
                if name not in found:
                    found[name] = np.full(len(table), -1, np.int8)
                found[name][row] = min(abs(found[name][row]), int(check["passed"]))
    return dict(sorted(found.items()))


@lru_cache(10_000)
def _name(text: Any) -> str:
    """A name that a model's file or a prompt file gave, fit to be shown and to stand in an address."""
    return one_line(text, 120) if text else "(none)"


# ---------------------------------------------------------------- choosing


@dataclass(frozen=True)
class Chosen:
    """Which results are meant; nothing named means all. `sort` orders them, a leading − downwards."""

    models: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    outcome: str = "any"
    sort: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, Sequence[str]]) -> Chosen:
        """What an address names: ?model=…&model=…&category=…&check=…&outcome=failed&sort=-latency_s."""
        several = {"models": "model", "categories": "category", "checks": "check"}
        lists = {name: tuple(sorted(set(query.get(key, ())))) for name, key in several.items()}
        outcome = query.get("outcome", ["any"])[0]
        if outcome not in OUTCOMES:
            raise BenchkitError(f"outcome={_name(outcome)}: one of {', '.join(OUTCOMES)} is allowed.")
        return cls(**lists, outcome=outcome, sort=query.get("sort", [""])[0])


def find(loaded: Loaded, chosen: Chosen) -> np.ndarray:
    """The row numbers of the chosen results, in the order asked for."""
    keep = np.ones(len(loaded.table), bool)
    for kind, names in (("model", chosen.models), ("category", chosen.categories)):
        if names:
            keep &= loaded.shown[kind].isin(names).to_numpy()
    if chosen.checks or chosen.outcome != "any":
        asked, passed = _outcomes(loaded, chosen.checks)
        keep &= {"any": asked, "passed": asked & passed, "failed": asked & ~passed}[chosen.outcome]
    return _sorted(loaded, np.flatnonzero(keep), chosen.sort)


def _outcomes(loaded: Loaded, checks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which results were judged by any of these checks (by all checks, if none is named), and passed them."""
    if not checks:
        correct = loaded.sorts["correct"]
        return ~np.isnan(correct), correct == 1
    none = np.full(len(loaded.table), -1, np.int8)
    columns = np.stack([loaded.checks.get(name, none) for name in checks])
    return (columns >= 0).any(axis=0), (columns != 0).all(axis=0)


def _sorted(loaded: Loaded, found: np.ndarray, sort: str) -> np.ndarray:
    """Row numbers by a column, missing values last; equal ones stay in the plan's order."""
    if not sort:
        return found
    name = sort.removeprefix("-")
    if name not in loaded.sorts:
        allowed = ", ".join(loaded.sorts)
        raise BenchkitError(
            f"sort={_name(sort)}: results can be sorted by {allowed}{did_you_mean(name, loaded.sorts)}."
        )
    values = loaded.sorts[name][found] * (-1 if sort.startswith("-") else 1)
    return found[np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")]


# ---------------------------------------------------------------- answers


def about(loaded: Loaded) -> dict[str, Any]:
    """What there is to choose from, and how far the runs can be trusted."""
    columns = {column for *_, column in report.TERMINAL}
    return {
        "runs": loaded.runs, "n": len(loaded.table),
        "models": _counts(loaded.shown["model"], in_order=True),
        "categories": _counts(loaded.shown["category"]),
        "checks": [{"name": name, "n": int((column >= 0).sum()), "n_failed": int((column == 0).sum())}
                   for name, column in loaded.checks.items()],
        "measures": [{"column": column, "name": name} for column, (name, _) in MEASURES.items()],
        "problems": {"n": len(loaded.problems), "listed": loaded.problems[:MAX_LISTED]},
        "terms": [term.shown() for term in report.TERMS if term.column in columns],
    }  # fmt: skip


def _counts(names: pd.Series, in_order: bool = False) -> list[dict[str, Any]]:
    """How many results have each name, by name or in the table's order."""
    counts = names.value_counts(sort=False)
    ordered = names.unique() if in_order else sorted(counts.index)
    return [{"name": name, "n": int(counts[name])} for name in ordered]


def results_page(loaded: Loaded, chosen: Chosen, page: int = 1) -> dict[str, Any]:
    """One page of the chosen results, each as a line of the table."""
    found = find(loaded, chosen)
    n_pages = max(1, -(-len(found) // PAGE))
    page = min(max(page, 1), n_pages)
    on_it = found[(page - 1) * PAGE : page * PAGE]
    return {"n": len(found), "page": page, "n_pages": n_pages, "excel": len(found) <= MAX_EXCEL,
            "rows": [_line(loaded, int(row)) for row in on_it]}  # fmt: skip


def _line(loaded: Loaded, row: int) -> dict[str, Any]:
    """One result as the table shows it."""
    r = loaded.table.iloc[row]
    return {
        "row": row, "model": loaded.shown["model"].iloc[row], "series": int(loaded.sorts["model"][row]),
        "prompt": _prompt(r), "category": loaded.shown["category"].iloc[row], "trial": _whole(r["trial"]),
        "kind": {"quality": "", "speed": "forced length"}.get(r["purpose"], r["purpose"]), **_judged(r),
        "latency_s": number(r["latency_s"]), "ttft_ms": number(r["ttft_ms"]),
        "decode_tokens_per_s": number(r["decode_tokens_per_s"]),
        "n_output_tokens": _whole(r["n_output_tokens"]),
        "gist": one_line(r["response"] or r["error"] or "", 140),
    }  # fmt: skip


def _judged(r: Mapping[str, Any]) -> dict[str, str]:
    """How a result was judged: a tone, and words with a sign that need no colour."""
    checks = f" {_whole(r['n_passed'])}/{_whole(r['n_checks'])}" if r["n_checks"] else ""
    if r["state"] not in (*metrics.COMPLETED, "empty"):
        return {"tone": "bad", "said": f"✗ {r['state']}"}
    if pd.isna(r["correct"]):
        return {"tone": "soft", "said": "– not checked"}
    tone, said = ("good", "✓ passed") if r["correct"] else ("bad", "✗ failed")
    return {"tone": tone, "said": said + checks}


def _prompt(r: Mapping[str, Any]) -> str:
    where = f"{r['prompt_set']} {_whole(r['prompt_index']).zfill(2)}"
    return one_line(f"{where} · {r['prompt_id']}" if r["prompt_id"] else where, 100)


def _whole(value: Any) -> str:
    return "–" if pd.isna(value) else f"{int(value):,}"


# ---- the summary, and speed against quality


class Slowly:
    """Answers that take seconds for 100,000 results: worked out in one thread and kept for the next time."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="summary")
        self._answers: dict[Any, Future] = {}
        self._lock = threading.Lock()

    def ask(self, works: Mapping[Any, Callable[[], Any]], wait_s: float = WAIT_S) -> dict[Any, Any]:
        """Key → answer, of those ready within the time; what waits and is no longer asked for is dropped."""
        with self._lock:
            for key in [key for key, old in self._answers.items() if key not in works and old.cancel()]:
                del self._answers[key]
            for key in [key for key in self._answers if key not in works][:-MAX_KEPT]:
                del self._answers[key]
            for key in works:
                if key not in self._answers:
                    self._answers[key] = self._worker.submit(works[key])
            futures = {key: self._answers[key] for key in works}
        wait(futures.values(), wait_s)
        return {key: each.result() for key, each in futures.items() if each.done() and not each.cancelled()}

    def close(self) -> None:
        """Begin nothing more."""
        self._worker.shutdown(wait=False, cancel_futures=True)


MAX_KEPT = 300  # summaries of one configuration each


def summary(loaded: Loaded, chosen: Chosen, slowly: Slowly) -> dict[str, Any]:
    """The summary table of the chosen results, and the chart of speed against quality made of it.

    Configurations whose summary is still being worked out are counted in `working`: ask again.
    """
    found = find(loaded, chosen)
    codes = loaded.sorts["model"][found]
    works = {}
    for code in pd.unique(codes):
        key = (loaded.number, int(code), chosen.categories, chosen.checks, chosen.outcome)
        works[key] = partial(_summary_of, loaded, found[codes == code])
    ready = slowly.ask(works)
    lines = [(key[1], ready[key]) for key in works if key in ready]
    scored = any(pd.notna(line["perplexity"]) for _, line in lines)
    heads = [entry for entry in report.TERMINAL if entry[2] != "perplexity" or scored]
    return {
        "working": len(works) - len(ready), "tradeoff": tradeoff(lines, chosen),
        "heads": [{"name": name, "unit": unit, "column": column} for name, unit, column in heads],
        "rows": [{"model": _name(line["configuration"]), "series": series,
                  "cells": [_cell(column, line, chosen) for *_, column in heads]} for series, line in lines],
    }  # fmt: skip


def _summary_of(loaded: Loaded, found: np.ndarray) -> pd.Series:
    return tables.summarize(loaded.table.iloc[np.sort(found)]).iloc[0]


def _cell(column: str, line: pd.Series, chosen: Chosen) -> dict[str, str]:
    """A value with its interval; no quality of results that were picked by how they came out."""
    if chosen.outcome != "any" and column in ("pass_rate", "seconds_per_correct"):
        return {"value": "–", "range": f"only {chosen.outcome}"}
    return report.cell(column, line)


def tradeoff(lines: Sequence[tuple[int, pd.Series]], chosen: Chosen) -> dict[str, Any]:
    """Decode speed against the share of prompts correct, with both intervals, and in words."""
    title = "Speed against quality"
    if chosen.outcome != "any":
        return {"points": [], "told": f"{title} cannot be drawn of {chosen.outcome} results alone."}
    drawn = [(series, line) for series, line in lines
             if pd.notna(line["decode_tokens_per_s"]) and pd.notna(line["pass_rate"])]  # fmt: skip
    if not drawn:
        return {"points": [], "told": f"{title}: nothing here has both a decode speed and a pass rate."}
    points = [{"series": series, "model": _name(line["configuration"]), "y": _span(line, "pass_rate", 100),
               "x": _span(line, "decode_tokens_per_s", 1)} for series, line in drawn]  # fmt: skip
    told = "; ".join(f"{_name(line['configuration'])} {_in_words(line)}" for _, line in drawn)
    kinds = list(dict.fromkeys(line["decode_source"] for _, line in drawn))
    return {"points": points, "x": f"decode speed, {' and '.join(kinds)} length (tok/s)",
            "y": "prompts correct (%)", "told": f"{title}: {told}.{CAUTION if 'natural' in kinds else ''}"}  # fmt: skip


CAUTION = " Replies of natural length differ in length: do not rank models by this speed."


def _span(line: pd.Series, column: str, factor: float) -> list[float | None]:
    """A value with the ends of its interval, None where there is none."""
    has = report.cell(column, line)["range"][:1].isdigit()
    ends = (f"{column}_low", f"{column}_high")
    return [factor * line[column], *(factor * line[end] if has else None for end in ends)]


def _in_words(line: pd.Series) -> str:
    speed, quality = report.cell("decode_tokens_per_s", line), report.cell("pass_rate", line)
    return f"{speed['value']} tok/s ({speed['range']}), {quality['value']} % correct ({quality['range']})"


# ---- one point a result


def points(loaded: Loaded, chosen: Chosen, measure: str = "latency_s") -> dict[str, Any]:
    """One measure of every chosen result, by prompt: of whole replies, and never of two kinds of length."""
    if measure not in MEASURES:
        raise BenchkitError(f"y={_name(measure)}: one of {', '.join(MEASURES)} is allowed.")
    title, unit = MEASURES[measure]
    found, kind = _measured(loaded, find(loaded, chosen), measure)
    if not len(found):
        return {"points": [], "told": f"{title}: none of these results has one."}
    shown = _thinned(found, loaded.sorts[measure])
    prompts, place = np.unique(loaded.sorts["prompt"][found], return_inverse=True)
    places = dict(zip(found.tolist(), place.tolist(), strict=True))
    return {
        "points": [_point(r, places[r["row"]], measure, unit) for r in _records(loaded, shown)],
        "n_prompts": len(prompts), "bands": _bands(loaded, found, place), "y": f"{title.lower()} ({unit})",
        "told": _points_told(loaded, found, measure, kind, len(shown)),
    }  # fmt: skip


def _measured(loaded: Loaded, found: np.ndarray, measure: str) -> tuple[np.ndarray, str]:
    """Of the results those that the measure is of: forced length for decode speed where there are any."""
    purpose = loaded.table["purpose"].to_numpy()[found]
    kind = "speed" if measure == "decode_tokens_per_s" and (purpose == "speed").any() else "quality"
    whole = loaded.table["state"].isin(metrics.COMPLETED).to_numpy()[found]
    keep = (purpose == kind) & whole & np.isfinite(loaded.sorts[measure][found])
    return found[keep], {"speed": "forced length", "quality": "natural length"}[kind]


def _thinned(found: np.ndarray, values: np.ndarray) -> np.ndarray:
    """At most MAX_POINTS results, taken evenly from the smallest to the largest value, both ends included."""
    if len(found) <= MAX_POINTS:
        return found
    by_value = found[np.argsort(values[found], kind="stable")]
    return by_value[np.linspace(0, len(found) - 1, MAX_POINTS).round().astype(int)]


def _records(loaded: Loaded, found: np.ndarray) -> list[dict[str, Any]]:
    """Some results as plain dictionaries: much quicker for many than one row of the table after the other."""
    table = loaded.table[POINT].iloc[found].assign(row=found, model=loaded.shown["model"].iloc[found])
    return table.assign(series=loaded.sorts["model"][found].astype(int)).to_dict("records")


#: What a point needs to know of its result.
POINT = [*rows.PROMPT, "prompt_id", "trial", "state", "correct", "n_checks", "n_passed", *MEASURES]


def _point(r: Mapping[str, Any], place: int, measure: str, unit: str) -> dict[str, Any]:
    said = _judged(r)
    value = f"{number(r[measure])} {unit}"
    label = f"{r['model']} · {_prompt(r)} · trial {_whole(r['trial'])} · {value} · {said['said']}"
    return {"row": r["row"], "series": r["series"], "place": place, "value": r[measure],
            "wrong": said["tone"] == "bad", "label": label}  # fmt: skip


def _bands(loaded: Loaded, found: np.ndarray, place: np.ndarray) -> list[dict[str, Any]]:
    """Where each category begins and ends among the prompts; nothing where they alternate."""
    first = np.unique(place, return_index=True)[1]
    names = loaded.shown["category"].to_numpy()[found[first]]
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    if len(starts) > MAX_BANDS:
        return []
    ends = [*starts[1:].tolist(), len(names)]
    return [{"name": names[a], "from": a, "to": b} for a, b in zip(starts.tolist(), ends, strict=True)]


MAX_BANDS = 16


def _points_told(loaded: Loaded, found: np.ndarray, measure: str, kind: str, n_shown: int) -> str:
    title, unit = MEASURES[measure]
    parts = []
    for code in pd.unique(loaded.sorts["model"][found]):
        own = found[loaded.sorts["model"][found] == code]
        values = loaded.sorts[measure][own]
        parts.append(
            f"{loaded.shown['model'].iloc[own[0]]} {number(values.min())} to {number(values.max())} {unit}"
        )
    n = f"{title} of {counted(len(found), 'reply')} of {kind}"
    if n_shown < len(found):
        n += f", of which {n_shown:,} are drawn, evenly from the smallest to the largest"
    return f"{n}: {'; '.join(parts)}."


# ---- one result, and two


def reply(loaded: Loaded, row: int) -> dict[str, Any]:
    """Everything about one result: the reply, its checks with their reasons, and the file it came from."""
    r = _row(loaded, row)
    text = r["response"] or ""
    more = len(text) - MAX_REPLY
    cut = f"{more:,} more characters are in the artifact." if more > 0 else ""
    return {
        **_line(loaded, row), "text": text[:MAX_REPLY], "cut": cut,
        "asked": (r["prompt"] or "")[:MAX_REPLY], "error": one_line(r["error"] or "", 500),
        "checks": [_check(check) for check in r["checks"] or ()], "facts": _facts(r),
        "artifact": str(_path(loaded, r)), "others": _others(loaded, row),
    }  # fmt: skip


def _row(loaded: Loaded, row: int) -> pd.Series:
    if not 0 <= row < len(loaded.table):
        raise BenchkitError(
            f"There is no result {row}: the runs have {counted(len(loaded.table), 'result')}, from 0."
        )
    return loaded.table.iloc[row]


def _check(check: Mapping[str, Any]) -> dict[str, str]:
    tone, sign = report.SIGNS[check.get("passed")]
    reason = one_line(check.get("reason") or "", 500)
    return {"name": _name(check["check"]), "tone": tone, "sign": sign, "reason": reason}


def _facts(r: pd.Series) -> list[tuple[str, str]]:
    """The numbers and settings of one result that are known."""
    memory = f"{number(r['peak_memory_mib'])} MiB ({r['memory_source']})"
    found = {
        "latency": f"{number(r['latency_s'])} s", "time to first token": f"{number(r['ttft_ms'])} ms",
        "decode speed": f"{number(r['decode_tokens_per_s'])} tok/s",
        "peak memory": memory if r["memory_source"] else "–",
        "tokens, prompt": _whole(r["n_prompt_tokens"]), "tokens, reply": _whole(r["n_output_tokens"]),
        "state": r["state"], "temperature": number(r["temperature"]),
        "seed": _whole(r["seed"]).replace(",", ""),
        "threads": _whole(r["n_threads"]), "context": _whole(r["n_ctx"]), "run": r["run"],
        "started": str(r["started_at"] or "–")[:19].replace("T", " "),
    }  # fmt: skip
    return [(name, one_line(value, 120)) for name, value in found.items() if not str(value).startswith("–")]


def _others(loaded: Loaded, row: int) -> list[dict[str, Any]]:
    """The replies of the other configurations to the same prompt: of the same trial, or their first."""
    own, kind = loaded.sorts, loaded.table["purpose"].to_numpy()
    alike = np.flatnonzero((own["prompt"] == own["prompt"][row]) & (kind == kind[row]))
    found: dict[int, int] = {}
    for other in sorted(alike.tolist(), key=lambda i: own["trial"][i] != own["trial"][row]):
        found.setdefault(int(own["model"][other]), other)
    del found[int(own["model"][row])]
    return [{"row": other, "model": loaded.shown["model"].iloc[other], "series": series,
             **_judged(loaded.table.iloc[other])} for series, other in sorted(found.items())]  # fmt: skip


def _path(loaded: Loaded, r: pd.Series) -> Path:
    return loaded.folders[r["run"]] / r["artifact"]


def artifact(loaded: Loaded, row: int) -> dict[str, str]:
    """The file that a result came from, as it is on the disk now."""
    path = _path(loaded, _row(loaded, row))
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_REPLY).decode("utf-8", "replace")
        size = path.stat().st_size
    except OSError as problem:
        raise BenchkitError(
            f"{path} cannot be read any more ({problem.strerror}): the run was moved or deleted while this "
            "page was open. Start `benchkit explore` again with its new place."
        ) from None
    more = f"{size - MAX_REPLY:,} more bytes are in the file." if size > MAX_REPLY else ""
    return {"path": str(path), "text": text, "cut": more}


def side_by_side(loaded: Loaded, a: int, b: int) -> dict[str, Any]:
    """Two replies, and which words only one of them has."""
    left, right = reply(loaded, a), reply(loaded, b)
    cut = max(len(left["text"]), len(right["text"])) > MAX_DIFF
    parts = differences(left["text"][:MAX_DIFF], right["text"][:MAX_DIFF])
    same = loaded.table["response"].iloc[a] == loaded.table["response"].iloc[b]
    notes = ("" if left["asked"] == right["asked"] else "These two answer different prompts.",
             "Both replies are the same text." if same else "",
             f"Only the first {MAX_DIFF:,} characters are compared." if cut and not same else "")  # fmt: skip
    return {"a": left, "b": right, "parts": parts, "same": same, "note": " ".join(filter(None, notes))}


def differences(a: str, b: str) -> dict[str, list[tuple[str, str]]]:
    """Two texts in pieces: what both have ("same"), and what only one has ("only").

    >>> differences("a red ball", "a blue ball")["b"]
    [('same', 'a '), ('only', 'blue'), ('same', ' ball')]
    """
    left, right = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (a, b))
    steps = difflib.SequenceMatcher(None, left, right).get_opcodes()

    def side(words: list[str], begin: int, end: int) -> list[tuple[str, str]]:
        pieces = [
            ("same" if step[0] == "equal" else "only", "".join(words[step[begin] : step[end]]))
            for step in steps
        ]
        return [piece for piece in pieces if piece[1]]

    return {"a": side(left, 1, 2), "b": side(right, 3, 4)}


# ---- downloads


def download(loaded: Loaded, chosen: Chosen, ending: str) -> tuple[str, bytes]:
    """The chosen results in the order shown, as `.csv` or `.xlsx`: a file's name, and what is in it."""
    found = find(loaded, chosen)
    if ending == ".xlsx" and len(found) > MAX_EXCEL:
        raise BenchkitError(
            f"Excel is written up to {MAX_EXCEL:,} results, these are {len(found):,}. Take CSV, or choose "
            "fewer."
        )
    name = runs.safe_name("-".join(run["run"] for run in loaded.runs))
    return f"{name}{ending}", to_bytes(loaded.table.iloc[found][DOWNLOAD], ending)


# ---------------------------------------------------------------- one explorer for some runs


class Explorer:
    """Some runs, read in the background; what they hold, and how far the reading is."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [check_folder(Path(folder)) for folder in folders]
        self.loaded: Loaded | None = None
        self.slowly = Slowly()
        self.message = ""  # why the last reading failed
        self.done = self.total = self._n_readings = 0
        self._reading: threading.Thread | None = None
        self._lock = threading.Lock()

    def read(self) -> None:
        """Begin to read (again), unless that is under way; the page shows the older results meanwhile."""
        with self._lock:
            if self._reading is None or not self._reading.is_alive():
                self._n_readings += 1
                self._reading = threading.Thread(target=self._read, daemon=True)
                self._reading.start()

    def _read(self) -> None:
        self.done, self.message = 0, ""
        try:
            self.total = sum(len(runs.artifact_paths(folder)) for folder in self.folders)
            self.loaded = read(self.folders, self._tell, self._n_readings)
        except (BenchkitError, OSError) as problem:
            self.message = str(problem)
        except Exception as problem:
            self.message = f"A mistake in benchkit, please report it: {type(problem).__name__}: {problem}"
            raise

    def _tell(self) -> None:
        self.done += 1

    def wait(self) -> None:
        """Until the reading that is under way has ended."""
        if self._reading:
            self._reading.join()

    def state(self) -> dict[str, Any]:
        """Whether there is something to show, and how far the reading is."""
        reading = self._reading is not None and self._reading.is_alive()
        return {"reading": reading, "done": self.done, "total": self.total, "message": self.message,
                "number": self.loaded.number if self.loaded else 0}  # fmt: skip


def check_folder(folder: Path) -> Path:
    """The folder, if it holds a run that can be explored."""
    if load.is_load_run(folder):
        raise BenchkitError(
            f"{folder} is a load run, which has no replies to look at: `benchkit report {folder}` shows it."
        )
    return runs.open_run(folder).folder
