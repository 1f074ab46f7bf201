"""From run folders to rows: one row a request, and the values that each prompt comes down to.

    results("benchmark_outputs/my-run")["latency_s"].describe()

Replies that stop by themselves (purpose "quality") and replies of forced length (purpose "speed") stand in one
table and are never mixed in one number.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchkit import machine, metrics, stats
from benchkit.recording import Recording
from benchkit.runs import open_run

MIB = 2**20

TEXTS = ("run", "model", "configuration", "prompt_set", "prompt_id", "category", "purpose", "state", "error",
         "prompt", "response", "n_output_source", "memory_source", "cache", "cache_asked", "clock_faults",
         "block_id", "block_turn", "block_reasons", "not_weighed", "perplexity_on", "started_at", "artifact")  # fmt: skip
WHOLE = ("prompt_index", "trial", "n_output_tokens", "n_prompt_tokens", "n_cached_tokens", "n_output_reported",
         "n_new_prompt_tokens", "n_ctx", "n_threads", "n_gpu_layers", "max_tokens", "seed", "n_checks", "n_passed",
         "block_position")  # fmt: skip
YES_NO = ("correct", "first_chunk_tokens_assumed", "block_resident", "block_warmed", "block_judged", "block_void")

#: The columns of `results`, in order. Everything not in the lists above is a number.
COLUMNS = (
    "run", "model", "configuration", "prompt_set", "prompt_index", "prompt_id", "category", "trial", "purpose",
    "state", "error", "prompt", "response", *metrics.MEASURED[1:], "n_new_prompt_tokens", "prefill_ms",
    "unexplained_ms", "unexplained_share", "load_s", "cold_extra_s", "instrument_error_ms", "not_weighed", "perplexity", "perplexity_se",
    "perplexity_on", "nll_by_window", "size_mib", "peak_memory_mib", "memory_source",
    "memory_delta_mib", "peak_anonymous_mib", "peak_file_backed_mib", "n_checks", "n_passed", "correct", "checks", "n_ctx", "n_threads", "n_gpu_layers",
    "temperature", "seed", "max_tokens", "cache", "cache_asked", "block_id", "block_turn", "block_position",
    "block_resident", "block_warmed", "block_judged", "block_void", "block_reasons", "clock_faults", "started_at", "artifact",
)  # fmt: skip

LISTS = ("checks", "nll_by_window")

SURROGATES = re.compile("[\ud800-\udfff]")
PROMPT = ["prompt_set", "prompt_index"]  # what tells prompts apart


# ---------------------------------------------------------------- one row a request


def results(runs: Any) -> pd.DataFrame:
    """One row a request: what was asked, what came, every metric. Takes a run, its folder, or several of them.

    Where several runs have a configuration of the same name, each is named with its run, so that machines,
    settings or days are not pooled unnoticed. `correct` is True if all checks that were run passed; a failed
    request is not correct; None where nothing was checked. Missing values are empty, never 0.
    """
    found = [as_run(run) for run in _as_list(runs)]
    found = list({Path(run.folder).resolve(): run for run in found}.values())
    names = run_names(found)
    rows = [{**row, "run": name} for run, name in zip(found, names, strict=True) for row in _rows(run)]
    _tell_runs_apart(rows)
    _judge(rows)
    return _typed(pd.DataFrame(rows, columns=list(COLUMNS), dtype=object))


def _as_list(runs: Any) -> list[Any]:
    if isinstance(runs, (str, os.PathLike)) or hasattr(runs, "artifacts"):
        return [runs]
    return list(runs)


def as_run(run: Any) -> Any:
    """A run, whether given itself or by its folder."""
    return run if hasattr(run, "artifacts") else open_run(run)


def run_names(runs: Sequence[Any]) -> list[str]:
    """What each run is called in the column `run`: its folder's name, with a number where two are called alike."""
    return _distinct([Path(run.folder).resolve().name for run in runs])


def _distinct(names: Sequence[str]) -> list[str]:
    """Names made different where two folders are called alike.

    >>> _distinct(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    earlier = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(names, earlier, strict=True)]


def _rows(run: Any) -> Iterator[dict[str, Any]]:
    artifacts = run.artifacts() if callable(run.artifacts) else run.artifacts
    found = [(_row(artifact, run.manifest or {}), artifact.get("block") or {}) for artifact in artifacts]
    judged = machine.judge_blocks(block for _, block in found)
    for row, block in found:
        yield {**row, **_block(block, judged)}


def _row(artifact: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """One artifact as a row; what is missing in it stays empty."""
    recording = _recording(artifact)
    load, options = artifact.get("load") or {}, artifact.get("options") or {}
    file = str(artifact.get("file") or "")
    row = {
        name: artifact.get(name) for name in (*PROMPT, "model", "prompt_id", "category", "trial", "load_s")
    }
    return {
        **row,
        "configuration": artifact.get("configuration") or artifact.get("model"),
        "purpose": _purpose(artifact, file),
        "error": recording.error,
        "prompt": _whole(artifact.get("prompt")),
        "response": _whole(artifact.get("response", recording.response)),
        **_measured(recording),
        **_model(artifact, manifest),
        **_memory(artifact.get("memory") or {}),
        **_checks(artifact.get("checks") or ()),
        **{name: load.get(name) for name in ("n_ctx", "n_threads", "n_gpu_layers")},
        **{name: options.get(name) for name in ("temperature", "seed", "max_tokens")},
        "cache": recording.cache or options.get("cache"),
        "cache_asked": options.get("cache"),
        "started_at": recording.started_at,
        "artifact": file or None,
    }  # fmt: skip


def _purpose(artifact: Mapping[str, Any], file: str) -> str:
    """Quality, speed, or "cut short": a reply that was to be of forced length, by a server that knows no such thing."""
    purpose = artifact.get("purpose") or ("speed" if file.startswith("speed/") else "quality")
    ended = (artifact.get("recording") or {}).get("state") in ("ok", "empty")
    return "cut short" if purpose == "speed" and ended else purpose


def _measured(recording: Recording) -> dict[str, Any]:
    """Every number of a recording; of one that is missing or damaged only its state."""
    if not recording.t_end_ns:
        return {"state": recording.state}
    engine = metrics.engine_times(recording)
    return {
        **metrics.measure(recording),
        "n_new_prompt_tokens": engine.n_new_prompt,
        "prefill_ms": engine.prefill_ms,
        "unexplained_ms": metrics.ledger(recording)["unexplained"],
        "unexplained_share": metrics.unexplained_share(recording),
        "clock_faults": "; ".join(metrics.clock_faults(recording)) or None,
    }


def _recording(artifact: Mapping[str, Any]) -> Recording:
    """The artifact's recording; where it is missing or damaged, one that says so and claims nothing."""
    try:
        return Recording.from_dict(artifact["recording"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return Recording(0, 0, "error", error="the artifact's recording is missing or damaged")


def _whole(text: Any) -> Any:
    """A text without half characters, which pandas and files cannot hold."""
    return SURROGATES.sub("\ufffd", text) if isinstance(text, str) else text


def _model(artifact: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest knows of this artifact's engine or model: size, how cold it began, how true its times are."""
    models = manifest.get("models") or {}
    entry = models.get(artifact.get("engine")) or models.get(artifact.get("model")) or {}
    size, loads = entry.get("size_bytes"), entry.get("loads") or ()
    weighing, scored = entry.get("weighing") or {}, entry.get("perplexity") or {}
    extra = stats.clean(metrics.cold_extra_s(load.get("cold_ttft_ms"), stats.clean([load.get("warm_ttft_ms")]))
                        for load in loads)  # fmt: skip
    return {"size_mib": None if size is None else size / MIB,
            "cold_extra_s": float(np.median(extra)) if extra else None,
            "instrument_error_ms": (weighing.get("reply_error_ms") or {}).get("mean"),
            "not_weighed": weighing.get("command"),
            "perplexity": scored.get("perplexity"), "perplexity_se": scored.get("se"),
            "perplexity_on": _scored_text(scored), "nll_by_window": scored.get("nll_by_window")}  # fmt: skip


def _scored_text(scored: Mapping[str, Any]) -> str | None:
    """What must be the same where two perplexities are compared: text, windows and vocabulary, as one name."""
    parts = [str(scored.get(name) or "")[:12] for name in ("text_sha256", "window", "n_windows", "vocabulary_sha256")]
    return "/".join(parts) if all(parts) else None


def _memory(memory: Mapping[str, Any]) -> dict[str, Any]:
    source, peak_mib = machine.shown_memory(memory)
    shown = memory.get(source) or {}
    note = f" ({memory['note']})" if source and memory.get("note") else ""
    return {
        "memory_source": source and source + note,
        "peak_memory_mib": peak_mib,
        "memory_delta_mib": shown.get("delta_mib"),
        "peak_anonymous_mib": (memory.get("process_anonymous") or {}).get("peak_mib"),
        "peak_file_backed_mib": (memory.get("process_file_backed") or {}).get("peak_mib"),
    }


def _checks(checks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    checks = list(checks)
    ran = [bool(check["passed"]) for check in checks if check.get("passed") is not None]
    return {"checks": checks, "n_checks": len(ran), "n_passed": sum(ran)}


def _block(block: Mapping[str, Any], judged: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The block a reply was measured in, and the verdict on the window of time that the block lies in."""
    verdict = judged.get(block.get("id"), block)
    return {
        "block_id": block.get("id"),
        "block_turn": block.get("turn") or block.get("id"),
        "block_position": block.get("position"),
        "block_resident": block.get("resident"),
        "block_warmed": block.get("warmed"),
        "block_judged": verdict.get("judged"),
        "block_void": verdict.get("void"),
        "block_reasons": "; ".join(verdict.get("reasons") or ()) or None,
    }


def _tell_runs_apart(rows: list[dict[str, Any]]) -> None:
    """Add the run's name to configurations that several runs have, and a number to prompts that differ in text."""
    runs: dict[str, set[str]] = {}
    texts: dict[tuple, dict[str, int]] = {}
    for row in rows:
        runs.setdefault(row["configuration"], set()).add(row["run"])
        if row["purpose"] == "quality":
            known = texts.setdefault((row["prompt_set"], row["prompt_index"]), {})
            number = known.setdefault(row["prompt"], len(known) + 1)
            row["prompt_set"] = row["prompt_set"] if number == 1 else f"{row['prompt_set']} (text {number})"
    for row in rows:
        if len(runs[row["configuration"]]) > 1:
            row["configuration"] = f"{row['configuration']} [{row['run']}]"


def _judge(rows: list[dict[str, Any]]) -> None:
    """Fill in `correct`: a request that failed is wrong if its prompt is one that gets checked."""
    checked = {(row["prompt_set"], row["prompt_index"]) for row in rows if row["n_checks"]}
    for row in rows:
        completed = row["state"] in metrics.COMPLETED
        if row["n_checks"] and completed:
            row["correct"] = row["n_passed"] == row["n_checks"]
        else:
            judged = row["purpose"] == "quality" and (row["prompt_set"], row["prompt_index"]) in checked
            row["correct"] = False if judged and not completed else None


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Each column with the type it always has, however few rows there are."""
    kinds = {
        **dict.fromkeys(TEXTS, "object"),
        **dict.fromkeys(WHOLE, "Int64"),
        **dict.fromkeys(YES_NO, "boolean"),
    }
    for name in table.columns:
        kind = kinds.get(name, "object" if name in LISTS else "float64")
        values = table[name] if kind != "float64" else pd.to_numeric(table[name], errors="coerce")
        table[name] = values.astype(kind)
        if kind == "object":
            table[name] = table[name].where(table[name].notna(), None)
    return table


# ---------------------------------------------------------------- values by prompt


def configurations(table: pd.DataFrame) -> list[str]:
    """The configurations of a table, in its order."""
    return list(dict.fromkeys(table["configuration"]))


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every column that is read here, so that older or smaller tables work too."""
    missing = [name for name in COLUMNS if name not in table]
    return table if not missing else _typed(table.reindex(columns=[*table.columns, *missing]))


def of(table: pd.DataFrame, configuration: str, purpose: str | None = None) -> pd.DataFrame:
    """The rows of one configuration, and of one purpose."""
    rows = table[table["configuration"] == configuration]
    return rows if purpose is None else rows[rows["purpose"] == purpose]


def done(rows: pd.DataFrame) -> pd.DataFrame:
    """The requests whose reply has text and came to its end: only these have a latency worth a name."""
    return rows[rows["state"].isin(metrics.COMPLETED)]


def floats(values: pd.Series) -> list[float | None]:
    """A column's values as plain numbers, missing ones None."""
    return [None if value is None or pd.isna(value) else float(value) for value in values]


def by_prompt(rows: pd.DataFrame, column: str) -> dict[tuple, float]:
    """Prompt → the median of a column over that prompt's completed trials."""
    rows = done(rows[[*PROMPT, "state", column]])
    return stats.medians_by_prompt(prompts_of(rows), floats(rows[column]))


def prompts_of(rows: pd.DataFrame) -> list[tuple]:
    """What tells each row's prompt from the others."""
    columns = ([None if pd.isna(value) else value for value in rows[name]] for name in PROMPT)
    return list(zip(*columns, strict=True))


def share_correct(rows: pd.DataFrame) -> dict[tuple, float]:
    """Prompt → the share of its judged trials that were correct."""
    return mean_by_prompt(prompts_of(rows), floats(rows["correct"]))


def mean_by_prompt(prompts: Iterable[Any], values: Iterable[float | None]) -> dict[Any, float]:
    """Prompt → the mean of its known values.

    >>> mean_by_prompt(["a", "a", "b"], [1.0, 0.0, None])
    {'a': 0.5}
    """
    trials: dict[Any, list[float]] = {}
    for prompt, value in zip(prompts, values, strict=True):
        if value is not None:
            trials.setdefault(prompt, []).append(value)
    return {prompt: math.fsum(known) / len(known) for prompt, known in trials.items()}


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """The requests that were found correct or not, and took a known time."""
    return rows[rows["correct"].notna() & rows["latency_s"].notna()]


def cost_and_correct(rows: pd.DataFrame) -> dict[tuple, tuple[float, float]]:
    """Prompt → (mean seconds, share correct) over its judged trials, failed ones included."""
    rows = judged(rows)
    seconds, correct = mean_by_prompt(prompts_of(rows), floats(rows["latency_s"])), share_correct(rows)
    return {prompt: (seconds[prompt], correct[prompt]) for prompt in correct}


def decode_rows(table: pd.DataFrame, configuration: str) -> tuple[pd.DataFrame, str]:
    """The rows that decide decode speed, and what they are: of "forced" length if there are any, or "natural"."""
    forced = of(table, configuration, "speed")
    return (forced, "forced") if len(forced) else (of(table, configuration, "quality"), "natural")


def failed(rows: pd.DataFrame) -> pd.DataFrame:
    """The requests that did not end as they should. (An empty reply did: it is a wrong answer.)"""
    return rows[~rows["state"].isin((*metrics.COMPLETED, "empty"))]


def cost(values: Mapping[tuple, tuple[float, float]]) -> float | None:
    """Seconds per correct answer over prompts, from what `cost_and_correct` gives."""
    return metrics.seconds_per_correct([s for s, _ in values.values()], [c for _, c in values.values()])


def middle(values: pd.Series) -> float | None:
    """The median of a column's known values."""
    known = stats.clean(floats(values))
    return float(np.median(known)) if known else None


def middle_over_prompts(rows: pd.DataFrame, column: str) -> float | None:
    """The median over prompts of each prompt's median over trials."""
    values = list(by_prompt(rows, column).values())
    return float(np.median(values)) if values else None


def largest(values: pd.Series) -> float | None:
    """The largest of a column's known values."""
    return max(stats.clean(floats(values)), default=None)


def unexplained_share(rows: pd.DataFrame) -> float | None:
    """The part of all response times that no clock accounts for; None where the engines give no times."""
    rows = rows[rows["unexplained_share"].notna() & rows["state"].isin(metrics.COMPLETED)]
    total_ms = 1000 * math.fsum(stats.clean(floats(rows["response_time_s"].fillna(rows["latency_s"]))))
    return math.fsum(abs(ms) for ms in floats(rows["unexplained_ms"])) / total_ms if total_ms else None
