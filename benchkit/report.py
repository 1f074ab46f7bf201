"""The report: everything a run says, in one HTML file that asks nobody for anything.

What is untrusted in it, and why it can do nothing, `pages` says. A load run has another page: `load_report`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd

from benchkit import load, load_report, pages, runs, stats, tables
from benchkit.errors import BenchkitError
from benchkit.pages import Term
from benchkit.rows import configurations, failed
from benchkit.text import counted, number, one_line, percent

MAX_REPLY = 20_000  # characters of one reply that the report shows; the artifact holds all
MAX_REPLIES = 6_000_000  # characters of all replies together
MAX_ERRORS = 100  # failed requests listed one by one
MAX_ALL_PAIRS = 4  # with more configurations only the first is compared with each other


TERMS = (
    Term("n_requests", "requests", "", "Requests",
         "requests sent, warm-up not counted"),
    Term("n_errors", "requests that failed", "", "Requests",
         "those that ended in an error, a timeout or a broken stream"),
    Term("n_empty", "replies without text", "", "Requests",
         "those that ended in order, but brought nothing"),
    Term("latency_median_s", "latency, median", "s", "Time",
         "t_end − t_sent; the median over prompts, each prompt by the median of its trials; below "
         "it the 95 % interval"),
    Term("latency_mean_s", "latency, mean", "s", "Time",
         "mean over prompts of the same per-prompt medians; no interval: a mean of few prompts has"
         " none that holds"),
    Term("latency_p95_s", "latency, P95", "s", "Time",
         "the latency that 95 % of prompts stay below; shown from 59 prompts, below that not even "
         "an upper bound on it is known"),
    Term("latency_p99_s", "latency, P99", "s", "Time",
         "the latency that 99 % of prompts stay below; shown from 299 prompts"),
    Term("latency_max_s", "latency, longest", "s", "Time",
         "the longest latency of any completed request"),
    Term("reply_tokens_median", "length of the reply, median", "tokens", "Time",
         "n; latencies of replies of unlike length do not compare models"),
    Term("prompt_tokens_median", "length of the prompt, median", "tokens", "Time",
         "tokens of the prompt, chat template included; it stands beside latency and TTFT, which grow with it"),
    Term("ttft_median_ms", "time to first token (TTFT), median", "ms", "Time",
         "t_first − t_sent; the median over prompts"),
    Term("instrument_error_ms", "the instrument's own error", "ms", "Time",
         "how much longer than it was a time to first token is read on average, by the last weighing of this "
         "instrument on this machine that holds for one stream as fast as this one; models on a server only"),
    Term("decode_tokens_per_s", "decode speed", "tok/s", "Speed",
         "(n − k₁) / (t_last − t_first): one user's speed once the reply runs, first token "
         "excluded; of forced-length replies where the run has them"),
    Term("prefill_tokens_per_s", "prefill speed, engine", "tok/s", "Speed",
         "Σ new prompt tokens / Σ the engine's prompt time, of the same replies as the decode speed"),
    Term("decode_prompt_tokens", "length of the prompt at these two speeds, median", "tokens", "Speed",
         "tokens of the prompt; decoding slows with what stands before the token, its context"),
    Term("decode_reply_tokens", "length of the reply at these two speeds, median", "tokens", "Speed",
         "n of the replies that give decode and prefill speed"),
    Term("tokens_per_s", "throughput, one at a time", "tok/s", "Speed",
         "Σ n / Σ latency: ratio of sums, never a mean of ratios"),
    Term("tokens_per_min", "throughput, one at a time", "tok/min", "Speed",
         "60 × Σ n / Σ latency"),
    Term("requests_per_min", "requests, one at a time", "req/min", "Speed",
         "60 × completed requests / Σ latency"),
    Term("pass_rate", "prompts correct", "%", "Quality",
         "share of prompts whose reply passed every check; a prompt that passed 2 of 3 trials "
         "counts 2/3; below it the 95 % Wilson interval"),
    Term("identical_share", "prompts with identical replies", "%", "Quality",
         "share of prompts, of those with several trials, whose replies are the same text every time; a seed alone "
         "does not make it 100 %"),
    Term("seconds_per_correct", "seconds per correct answer", "s", "Quality",
         'Σ latency / number correct; "never" where none was'),
    Term("perplexity", "perplexity", "", "Quality",
         "exp(−(1/N) Σ ln p(xᵢ | x before i)) on the plan's text, ± its standard error by windows; comparable only between "
         "models with one tokenizer"),
    Term("load_s", "engine load", "s", "Memory and loading",
         "the engine's own time to load the file, median of the loads; the system may have had the file in memory "
         "already, so this is not the time from a cold disk"),
    Term("cold_extra_s", "first reply after a load, extra", "s", "Memory and loading",
         "TTFT of the first reply after the load less the median TTFT of the warm-up replies after it, median of "
         "the loads: what the engine puts off until it is asked"),
    Term("peak_memory_mib", "peak memory", "MiB", "Memory and loading",
         "highest value of the named source less its baseline, what the process held before it loaded the model; "
         "on Linux the kernel's own high-water mark, elsewhere looked at every 50 ms"),
    Term("memory_delta_mib", "memory delta, median", "MiB", "Memory and loading",
         'after less before a request, the median of all requests: what many scripts call "memory usage"'),
    Term("size_mib", "model file", "MiB", "Memory and loading",
         "bytes of the file / 2²⁰"),
)  # fmt: skip

#: Terms that only the figures or the artifacts show.
OTHER_TERMS = (
    Term("tpot", "time per output token (TPOT)", "ms/token", "",
         "(t_last − t_first) / (n − k₁)"),
    Term("icl", "inter-chunk latency (ICL)", "ms", "",
         "gaps between consecutive pieces of text, one sample a gap"),
    Term("median_interval", "95 % interval of a median", "", "",
         "between two of the sorted values, found by counting; over prompts, from six prompts on; "
         'below that "fixed set"'),
    Term("pareto", "Pareto front", "", "",
         "the configurations that no other is at least as good as in speed and in quality, and "
         "better in one"),
)  # fmt: skip

CONTENTS = (
    ("answers", "In short"), ("summary", "Summary"), ("pairs", "Pairs"), ("figures", "Figures"),
    ("quality", "Quality"), ("prompts", "Prompts and replies"), ("errors", "Errors"), ("limits", "Limitations"),
    ("machine", "Machine and settings"), ("again", "How to reproduce it"), ("terms", "Formulas"),
)  # fmt: skip


# ---------------------------------------------------------------- the file


def write_report(run_or_runs: Any, path: str | os.PathLike | None = None) -> Path:
    """Write the report of one or more runs as one HTML file; without a path, into the first run's folder.

    The runs are all ordinary ones or all load runs: what the two measure does not fit into one table.
    """
    given = run_or_runs if isinstance(run_or_runs, (list, tuple)) else [run_or_runs]
    folders = [Path(run.folder if isinstance(run, runs.Run) else run) for run in given]
    loads = [folder for folder in folders if load.is_load_run(folder)]
    opened = open_runs([run for run, folder in zip(given, folders, strict=True) if folder not in loads])
    if loads and opened:
        raise BenchkitError(f"{loads[0]} is a load run, {opened[0].folder} is not: make two reports, one of each kind.")
    target = pages.place(Path(path) if path is not None else folders[0] / "report.html")
    return pages.write(target, load_report.report_html(loads) if loads else report_html(opened))


def open_runs(given: Sequence[Any]) -> list[runs.Run]:
    """Runs, whether given as folders or already open."""
    return [run if isinstance(run, runs.Run) else runs.open_run(run) for run in given]


def report_html(opened: Sequence[Any]) -> str:
    """The report as text: the same runs give the same text."""
    results = tables.results(list(opened))
    names = list(dict.fromkeys(results["run"])) if len(results) else []
    names = names if len(names) == len(opened) else [run.name for run in opened]
    return render(results, dict(zip(names, map(tables.verdict, opened), strict=True)),
                  dict(zip(names, (run.manifest for run in opened), strict=True)))  # fmt: skip


def render(
    results: pd.DataFrame, verdicts: Mapping[str, Any], manifests: Mapping[str, Mapping[str, Any]]
) -> str:
    """The report from a table of results, and a verdict and a manifest for each run in it."""
    summary = tables.summarize(results)
    names = [manifest.get("name") or run for run, manifest in manifests.items()]
    values = {
        "title": " and ".join(dict.fromkeys(names)) or "Run",
        "subtitle": _subtitle(results, manifests),
        "verdicts": [pages.verdict(run, v.state, v.reasons, v.notes) for run, v in verdicts.items()],
        "cards": [pages.card(card) for card in tables.cards(results)],
        **_summary_table(summary),
        "figures": [pages.picture(*drawn) for drawn in draw_all(results, summary)],
        "pairs": _pairs(results),
        "rate_tables": _rate_tables(results),
        **_prompts(results),
        **_errors(results),
        "limitations": limitations(results, summary, verdicts),
        "not_measured": not_measured(results, summary),
        "manifests": [_manifest(run, manifest) for run, manifest in manifests.items()],
        "terms": [term.shown() for term in (*TERMS, *OTHER_TERMS)],
    }
    values["contents"] = [(anchor, name) for anchor, name in CONTENTS if anchor != "pairs" or values["pairs"]]
    return pages.render("report.html.j2", values)


# ---------------------------------------------------------------- top of the page


def _subtitle(results: pd.DataFrame, manifests: Mapping[str, Mapping[str, Any]]) -> str:
    asked = results[results["purpose"] == "quality"] if len(results) else results
    n = len(asked.groupby(["prompt_set", "prompt_index"])) if len(asked) else 0
    machines = dict.fromkeys(
        str(m.get("machine", {}).get("cpu", "machine not recorded")) for m in manifests.values()
    )
    days = sorted({str(m["created"])[:10] for m in manifests.values() if m.get("created")})
    models = results["configuration"].nunique() if len(results) else 0
    parts = [
        counted(models, "configuration"),
        counted(n, "prompt"),
        counted(len(results), "request"),
        *machines,
    ]
    return " · ".join([*parts, *([f"measured {' and '.join(days)}"] if days else [])])


# ---------------------------------------------------------------- the summary


def _summary_table(summary: pd.DataFrame) -> dict[str, Any]:
    """One column a configuration, one row a measure, in groups."""
    rows = [row for _, row in summary.iterrows()]
    groups = [
        {"name": name, "rows": [{**t.shown(), "cells": [cell(t.column, row) for row in rows]} for t in TERMS
                                if t.group == name and t.column in summary]}
        for name in dict.fromkeys(term.group for term in TERMS)
    ]  # fmt: skip
    fixed = any(row["n_prompts"] < stats.MIN_PROMPTS for row in rows)
    note = " Fixed set: fewer than six prompts, so there are no intervals." if fixed else ""
    return {
        "columns": [
            {"name": row["configuration"], "n": counted(int(row["n_prompts"]), "prompt")} for row in rows
        ],
        "groups": [group for group in groups if group["rows"]],
        "summary_caption": "Ranges are 95 % intervals over prompts; – means not measured." + note,
    }


def cell(column: str, row: Mapping[str, Any]) -> dict[str, str]:
    """One value of the summary as a person reads it: the value, and its interval or why there is none."""
    value = row.get(column)
    if column.startswith("latency_p") and _missing(value):
        need = stats.percentile_needs(float(column[len("latency_p") : -2]))
        return {"value": "n too small", "range": f"{int(row['n_prompts'])} of {need} prompts"}
    if column == "seconds_per_correct":
        return {"value": "never" if _infinite(value) else number(value), "range": ""}
    if column == "perplexity" and not _missing(value):
        return {"value": number(value), "range": f"± {number(row['perplexity_se'])} (SE)"}
    if column == "identical_share" and not _missing(value):
        return {"value": f"{100 * value:.0f}", "range": f"of {counted(int(row['n_repeated']), 'prompt')}"}
    shown = percent(value).removesuffix(" %") if column == "pass_rate" else _plain(value)
    return {"value": shown, "range": "" if _missing(value) else _range(column, row)}


def _range(column: str, row: Mapping[str, Any]) -> str:
    """What stands below a value: its interval, "fixed set", or for a percentile its upper bound."""
    if column.startswith("latency_p"):
        return f"at most {number(row[f'{column}_upper'])}"
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    if f"{column}_low" not in row:
        return ""
    n = (
        row["decode_n"]
        if column.startswith("decode")
        else row["n_judged"]
        if column == "pass_rate"
        else row["n_prompts"]
    )
    source = f", {row['decode_source']}" if column.startswith("decode") else ""
    if _missing(low) or n < stats.MIN_PROMPTS:
        return stats.FIXED_SET + source
    return (
        f"{100 * low:.0f}–{100 * high:.0f}" if column == "pass_rate" else f"{number(low)}–{number(high)}"
    ) + source


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _plain(value: Any) -> str:
    if _missing(value):
        return "–"
    return f"{value:,}" if isinstance(value, Integral) else number(value)


# ---------------------------------------------------------------- figures and rates


def draw_all(results: pd.DataFrame, summary: pd.DataFrame) -> list[tuple[str, Any, str]]:
    """Every figure of the report, each with its heading; those with nothing to draw are left out."""
    from benchkit import figures

    drawn = [
        ("Speed against quality", figures.tradeoff_figure(summary)),
        ("Quality by category", figures.quality_figure(results)),
        ("Quality by check", figures.checks_figure(results)),
        ("Latency", figures.latency_figure(results)),
        ("Latency against the length of the reply", figures.length_figure(results)),
        ("Time to first token", figures.ttft_figure(results)),
        ("Decode speed", figures.decode_figure(results)),
        ("Peak memory", figures.memory_figure(results)),
        ("Seconds per correct answer", figures.seconds_per_correct_figure(summary)),
    ]
    return [(title, fig, alt) for title, (fig, alt) in drawn if "nothing to draw" not in alt]


def _pairs(results: pd.DataFrame) -> dict[str, Any] | None:
    """Configurations against each other, paired by prompt: one row a pair, one column a question."""
    names = configurations(results) if len(results) else []
    if len(names) < 2:
        return None
    found = tables.compare(results) if len(names) <= MAX_ALL_PAIRS else tables.compare(results, names[0])
    rows = []
    for (a, b), lines in found.groupby(["a", "b"], sort=False):
        by_metric = {line["metric"]: line for line in lines.to_dict("records")}
        rows.append({"a": a, "b": b, "cells": [_pair_cell(by_metric.get(metric)) for metric, _ in QUESTIONS]})
    return {"heads": [head for _, head in QUESTIONS], "rows": rows, "null": _null_run(results)}


QUESTIONS = (
    ("decode_tokens_per_s", "decode speed, A/B"), ("latency_s", "latency, A/B"), ("ttft_ms", "TTFT, A/B"),
    ("pass_rate", "prompts correct, A − B"), ("seconds_per_correct", "seconds per correct, A/B"),
)  # fmt: skip


def _pair_cell(line: Mapping[str, Any] | None) -> dict[str, str]:
    """An effect with its interval, and what it allows to say."""
    if line is None or (_missing(line["ratio"]) and _missing(line["difference"])):
        said = line["verdict"] if line is not None and line["n"] else ""
        return {"value": "–", "range": "", "verdict": said}
    said = line["verdict"]
    for letter, name in (("A", line["a"]), ("B", line["b"])):
        said = letter + said.removeprefix(name) if said.startswith(f"{name} ") else said
    low, high, n = line["low"], line["high"], f"n = {int(line['n'])}"
    if _missing(line["ratio"]):
        shown, span = f"{_points(line['difference'])} points", f"{_points(low)} to {_points(high)}, {n}"
    else:
        shown, span = f"{number(line['ratio'])} ×", f"{number(low)}–{number(high)}, {n}"
    return {"value": shown, "range": n if _missing(low) else span, "verdict": said}


def _points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "" if _missing(share) else f"{100 * share:+.0f}".replace("-", "−")


def _null_run(results: pd.DataFrame) -> str:
    """What this machine could have told apart at all, from repeats of the same prompts."""
    found = tables.smallest_distinguishable(results)
    known = found[found["latency_s"].notna()]
    if known.empty:
        return "Repeats of the same prompts would tell the smallest difference this machine can see."
    worst = {
        column: number(known[column].max()) for column in ("latency_s", "ttft_ms", "decode_tokens_per_s")
    }
    return (f"A model against its own repeats, where nothing differs but the moment: factors below "
            f"{worst['latency_s']} in latency, {worst['ttft_ms']} in TTFT and {worst['decode_tokens_per_s']} in "
            "decode speed of natural replies drown in this machine's noise.")  # fmt: skip


def _rate_tables(results: pd.DataFrame) -> list[dict[str, Any]]:
    """Pass rates by category and by check, one column a configuration."""
    asked = (("By category", "category", "Prompts that passed every check, of all in the category"),
             ("By check", "check", "Prompts whose reply passed the check, of those asked for it"))  # fmt: skip
    found = [(title, by, caption, tables.rates(results, by)) for title, by, caption in asked]
    return [_rate_table(title, by, caption, cells) for title, by, caption, cells in found if cells]


def _rate_table(
    title: str, by: str, caption: str, cells: Mapping[tuple[str, str], tables.Rate]
) -> dict[str, Any]:
    columns = list(dict.fromkeys(c for c, _ in cells))
    rows = [{"name": group, "cells": [_rate_cell(cells.get((c, group))) for c in columns]}
            for group in dict.fromkeys(group for _, group in cells)]  # fmt: skip
    return {"title": title, "head": by, "columns": columns, "rows": rows,
            "caption": f"{caption}; below it the 95 % Wilson interval, n counts prompts."}  # fmt: skip


def _rate_cell(rate: tables.Rate | None) -> dict[str, str]:
    return {"value": "–", "range": ""} if rate is None else {"value": str(rate), "range": rate.interval}


# ---------------------------------------------------------------- prompts and replies


def _prompts(results: pd.DataFrame) -> dict[str, Any]:
    """Every prompt with the replies of all configurations; long replies are cut, and say so."""
    asked = results[results["purpose"] == "quality"] if len(results) else results
    budget = _Budget(MAX_REPLIES)
    shown = (
        [_prompt(rows, budget) for _, rows in asked.groupby(["prompt_set", "prompt_index"], sort=False)]
        if len(asked)
        else []
    )
    return {"prompts": shown,
            "prompts_note": "Open a prompt to read the replies. Characters that hide or reorder text are shown "
                            "as ⟨NUL⟩, ⟨ESC⟩, ⟨U+202E⟩; nothing in a reply is ever run by this page."}  # fmt: skip


@dataclass
class _Budget:
    """How many characters of replies may still be shown."""

    left: int

    def take(self, text: str) -> str:
        text = text[: min(MAX_REPLY, self.left)]
        self.left -= len(text)
        return text


def _prompt(rows: pd.DataFrame, budget: _Budget) -> dict[str, Any]:
    first = rows.iloc[0]
    judged = rows[rows["correct"].notna()]
    passed = judged.groupby("configuration", sort=False)["correct"].agg(lambda c: c.astype(float).mean())
    count = (
        f"{sum(passed == 1)} of {counted(len(passed), 'configuration')} correct"
        if len(passed)
        else "no checks"
    )
    name = f"{first['prompt_set']} {int(first['prompt_index']):02d}"
    name += f" · {first['prompt_id']}" if first["prompt_id"] else ""
    replies = [
        reply for _, own in rows.groupby("configuration", sort=False) for reply in _replies(own, budget)
    ]
    return {"id": name, "count": count, "gist": one_line(first["prompt"], 110), "replies": replies,
            "text": first["prompt"][:MAX_REPLY]}  # fmt: skip


def _replies(rows: pd.DataFrame, budget: _Budget) -> list[dict[str, Any]]:
    """One configuration's replies to one prompt; identical ones of several trials are shown once."""
    alike: dict[tuple, list[int]] = {}
    for i, key in enumerate(zip(rows["response"], rows["state"], rows["error"], strict=True)):
        alike.setdefault(key, []).append(i)
    return [_reply(rows.iloc[same], budget) for same in alike.values()]


def _reply(rows: pd.DataFrame, budget: _Budget) -> dict[str, Any]:
    first = rows.iloc[0]
    full = first["response"] or ""
    text = budget.take(full)
    cut = len(full) - len(text)
    return {"configuration": first["configuration"], "measured": _measured(rows), "text": text,
            "notice": f"{cut:,} more characters are in {first['artifact']}." if cut else "",
            "checks": [_check(check) for check in first["checks"] or ()],
            "error": one_line(first["error"] or "", 500)}  # fmt: skip


def _measured(rows: pd.DataFrame) -> str:
    """One line of numbers under a configuration's name."""
    first = rows.iloc[0]
    trials = ", ".join(str(int(t)) for t in rows["trial"])
    parts = [f"trial {trials}" if len(rows) == 1 else f"trials {trials}, identical replies; medians:"]
    tokens = _median(rows, "n_output_tokens")
    parts += [f"latency {number(_median(rows, 'latency_s'))} s", f"TTFT {number(_median(rows, 'ttft_ms'))} ms",
              f"{'–' if tokens is None else f'{tokens:,.0f}'} tokens", f"state {first['state']}"]  # fmt: skip
    return " · ".join(parts)


def _median(rows: pd.DataFrame, column: str) -> float | None:
    values = pd.to_numeric(rows[column], errors="coerce").dropna()
    return float(values.median()) if len(values) else None


SIGNS = {True: ("good", "✓ passed"), False: ("bad", "✗ failed"), None: ("unsure", "– not run")}


def _check(check: Mapping[str, Any]) -> dict[str, str]:
    tone, sign = SIGNS[check["passed"] if check["passed"] is None else bool(check["passed"])]
    return {
        "name": check["check"],
        "tone": tone,
        "sign": sign,
        "reason": one_line(check.get("reason") or "", 300),
    }


# ---------------------------------------------------------------- errors, limits


def _errors(results: pd.DataFrame) -> dict[str, Any]:
    """The failed requests, listed one by one up to a limit."""
    bad = failed(results)
    rows = [
        {"configuration": row["configuration"], "prompt": f"#{int(row['prompt_index']):02d}",
         "trial": int(row["trial"]), "state": row["state"], "text": one_line(row["error"] or "–", 400)}
        for _, row in bad.head(MAX_ERRORS).iterrows()
    ]  # fmt: skip
    note = f"{counted(len(bad), 'request')} of {len(results):,} failed." if len(bad) else (
        f"None of {counted(len(results), 'request')} failed.")  # fmt: skip
    more = f" The first {MAX_ERRORS} are listed." if len(bad) > MAX_ERRORS else ""
    return {"errors": rows, "errors_note": note + more}


def limitations(results: pd.DataFrame, summary: pd.DataFrame, verdicts: Mapping[str, Any]) -> list[str]:
    """What a reader must know before trusting the numbers."""
    said = ["One machine, one version of everything: the numbers hold for these, not for another computer.",
            "Requests went one at a time; nothing here tells how a server behaves with many users."]  # fmt: skip
    n = int(summary["n_prompts"].max()) if len(summary) else 0
    if n < stats.MIN_PROMPTS:
        said.append(f"{counted(n, 'prompt')}: a fixed set. What is shown holds for these prompts only.")
    else:
        said.append(
            f"Intervals are over {n} prompts of these sets; prompts of another kind may rank models otherwise."
        )
    if results.loc[results["purpose"] == "quality", "trial"].nunique() < 2:
        said.append("One trial a prompt: variation between repeats of the same prompt cannot be seen.")
    sources = set(summary["decode_source"].dropna()) if "decode_source" in summary else set()
    if "natural" in sources:
        said.append(
            "Decode speed comes from natural replies, whose lengths differ: read it, do not rank by it."
        )
    said.append(
        "Checks are rules: a reply can pass them and be poor, or fail one and be useful. Read some replies."
    )
    unjudged = int((summary["n_prompts"] - summary["n_judged"]).max()) if len(summary) else 0
    if unjudged > 0:
        said.append(f"{counted(unjudged, 'prompt')} had no check that ran, and tell nothing about quality.")
    if any(verdict.state != "VALID" for verdict in verdicts.values()):
        said.append("The verdict above is not VALID: read its reasons before using any number.")
    return said


def not_measured(results: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """What is missing from this report, and why."""
    said = []
    for column, text in (("perplexity", "Perplexity."), ("seconds_per_correct", "Quality: no check was run."),
                         ("peak_memory_mib", "Memory."), ("load_s", "Load time.")):  # fmt: skip
        if column not in summary or not summary[column].notna().any():
            said.append(text)
    for q in (95, 99):
        need = stats.percentile_needs(q)
        n = int(summary["n_prompts"].max()) if len(summary) else 0
        if n < need:
            said.append(f"P{q} of the latency: it needs {need} prompts, and there are {n}.")
    if not (results["purpose"] == "speed").any():
        said.append("Decode speed at a forced length: the plan has no speed block.")
    return [*said, "GPU memory and energy.", "Queueing and latency under load, with several requests at once.",
            "Safety, bias, and anything else the checks do not ask."]  # fmt: skip


# ---------------------------------------------------------------- machine, settings, reproduction


def _manifest(run: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """One run's record in parts, and how to run it again."""
    parts = [
        pages.part(name, manifest[key], open=key == "machine")
        for key, name in (("machine", "Machine"), ("models", "Models"), ("configurations", "Configurations"),
                          ("prompt_sets", "Prompt sets"), ("sessions", "Sessions"))
        if manifest.get(key)
    ]  # fmt: skip
    known = {"machine", "models", "configurations", "prompt_sets", "sessions", "plan", "identity"}
    rest = {key: value for key, value in manifest.items() if key not in known}
    if rest:
        parts.append(pages.part("Run", rest))
    plan = json.dumps(manifest.get("plan", {}), indent=2, ensure_ascii=False)
    return {
        "run": run,
        "parts": parts,
        "plan": plan,
        "command": f"benchkit run plan.json --out {_quoted(run)}-again",
    }


def _quoted(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


# ---------------------------------------------------------------- for a terminal


#: Columns for a terminal: header, unit, column of the summary.
TERMINAL = (
    ("prompts", "", "n_prompts"), ("failed", "", "n_errors"), ("latency", "s, median", "latency_median_s"),
    ("TTFT", "ms, median", "ttft_median_ms"), ("decode", "tok/s", "decode_tokens_per_s"),
    ("correct", "%", "pass_rate"), ("perplexity", "", "perplexity"), ("per correct", "s", "seconds_per_correct"),
    ("peak memory", "MiB", "peak_memory_mib"), ("load", "s", "load_s"),
)  # fmt: skip

#: What is left out, in this order, until the table fits: a column, or only its intervals.
NARROWER = (("column", "load_s"), ("intervals", "ttft_median_ms"), ("column", "ttft_median_ms"),
            ("intervals", "decode_tokens_per_s"), ("column", "peak_memory_mib"), ("column", "n_errors"),
            ("column", "seconds_per_correct"), ("intervals", "latency_median_s"), ("intervals", "pass_rate"))  # fmt: skip


def format_table(summary: pd.DataFrame, width: int | None = None) -> str:
    """The summary as plain text, units in the header, as much as fits in `width` (80 to 120 by default)."""
    if summary.empty:
        return "No request was completed, so there is nothing to compare."
    width = width or min(120, max(80, shutil.get_terminal_size((100, 24)).columns))
    left_out: set[tuple[str, str]] = set()
    lines = _text_lines(summary, left_out)
    for step in NARROWER:
        if max(map(_wide, lines)) <= width:
            break
        left_out.add(step)
        lines = _text_lines(summary, left_out)
    fixed = (summary["n_prompts"] < stats.MIN_PROMPTS).any()
    note = (
        "Fixed set: fewer than six prompts, so no intervals." if fixed else "[ ]: 95 % interval over prompts."
    )
    return "\n".join([*lines, note])


def _text_lines(summary: pd.DataFrame, left_out: set[tuple[str, str]]) -> list[str]:
    names = [one_line(name, 36) for name in summary["configuration"]]
    chosen = [entry for entry in TERMINAL if entry[2] in summary and ("column", entry[2]) not in left_out
              and (entry[2] != "perplexity" or summary["perplexity"].notna().any())]  # fmt: skip
    return align([("configuration", "", *names),
                   *(_text_column(summary, *entry, ("intervals", entry[2]) in left_out) for entry in chosen)])  # fmt: skip


def _text_column(summary: pd.DataFrame, head: str, unit: str, column: str, bare: bool) -> tuple[str, ...]:
    shown = [cell(column, row) for _, row in summary.iterrows()]
    texts = [
        f"{c['value']} [{c['range']}]" if c["range"][:1].isdigit() and not bare else c["value"] for c in shown
    ]
    return (head, unit, *texts)


def align(columns: Sequence[Sequence[str]]) -> list[str]:
    """Rows of padded text: the first column to the left, the others to the right, a rule under the header."""
    widths = [max(map(_wide, column)) for column in columns]
    rows = []
    for row in zip(*columns, strict=True):
        first = row[0] + " " * (widths[0] - _wide(row[0]))
        rest = [" " * (w - _wide(text)) + text for text, w in zip(row[1:], widths[1:], strict=True)]
        rows.append("  ".join([first, *rest]).rstrip())
    return [rows[0], rows[1], "-" * (sum(widths) + 2 * (len(widths) - 1)), *rows[2:]]


def _wide(text: str) -> int:
    """How many columns of a terminal a text fills."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def format_cards(cards: Sequence[Any]) -> str:
    """The cards as plain text: the answer, and indented below it the reason."""
    lines = []
    for card in map(pages.card, cards):
        value = f", {card['value']}" if card["value"] else ""
        lines.append(f"{card['title']}: {one_line(card['winner'], 60)}{one_line(value, 100)}")
        lines += textwrap.wrap(
            one_line(card["reason"], 400), 96, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join(lines)
