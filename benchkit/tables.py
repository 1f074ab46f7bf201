"""From run folders to tables: one row a request, one row a configuration, and what may be concluded.

    table = results("benchmark_outputs/my-run")
    summarize(table)
    compare(table, "gguf:pocket-s", "gguf:pocket-m")

Replies that stop by themselves (purpose "quality") and replies of forced length (purpose "speed") are never
mixed in one number: decode speed is that of forced lengths where there are any, all else is of the natural
ones. Summaries are over prompts first: each prompt counts once, by its median over trials.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchkit import metrics, stats
from benchkit.errors import BenchkitError
from benchkit.export import export
from benchkit.recording import Recording
from benchkit.runs import open_run
from benchkit.text import counted, number, percent

__all__ = ["Card", "Verdict", "cards", "compare", "export", "pass_rates", "results", "smallest_distinguishable",
           "summarize", "verdict"]  # fmt: skip

MIB = 2**20
MAX_UNEXPLAINED = 0.05  # of the response time; above it the ledger does not add up well enough
VALID, INCONCLUSIVE, INVALID = "VALID", "INCONCLUSIVE", "INVALID"

#: The memory source that the table shows, first one found: the model's own process before the machine's.
MEMORY_SOURCES = ("process", "process_tree", "gpu_used", "process_anonymous", "machine_available_drop")

TEXTS = ("run", "model", "configuration", "prompt_set", "prompt_id", "category", "purpose", "state", "error",
         "prompt", "response", "n_output_source", "memory_source", "cache", "clock_faults", "block_id",
         "block_reasons", "started_at", "artifact")  # fmt: skip
WHOLE = ("prompt_index", "trial", "n_output_tokens", "n_prompt_tokens", "n_cached_tokens", "n_output_reported",
         "n_ctx", "n_threads", "n_gpu_layers", "max_tokens", "seed", "n_checks", "n_passed", "block_position")  # fmt: skip
YES_NO = ("correct", "first_chunk_tokens_assumed", "block_void")

#: The columns of `results`, in order. Everything not in the lists above is a number; `checks` is a list.
COLUMNS = (
    "run", "model", "configuration", "prompt_set", "prompt_index", "prompt_id", "category", "trial", "purpose",
    "state", "error", "prompt", "response", *metrics.MEASURED[1:], "unexplained_ms", "unexplained_share",
    "load_s", "size_mib", "peak_memory_mib", "memory_source", "memory_delta_mib", "peak_anonymous_mib",
    "peak_file_backed_mib", "n_checks", "n_passed", "correct", "checks", "n_ctx", "n_threads", "n_gpu_layers",
    "temperature", "seed", "max_tokens", "cache", "block_id", "block_position", "block_void", "block_reasons",
    "clock_faults", "started_at", "artifact",
)  # fmt: skip

PROMPT = ["prompt_set", "prompt_index"]  # what tells prompts apart


# ---------------------------------------------------------------- one row a request


def results(runs: Any) -> pd.DataFrame:
    """One row a request: what was asked, what came, every metric. Takes a run, its folder, or several of them.

    Where several runs have a configuration of the same name, each is named with its run, so that machines,
    settings or days are not pooled unnoticed. `correct` is True if all checks that were run passed; a failed
    request is not correct; None where nothing was checked. Missing values are empty, never 0.
    """
    found = [_as_run(run) for run in _as_list(runs)]
    names = _distinct([_run_name(run) for run in found])
    rows = [{**row, "run": name} for run, name in zip(found, names, strict=True) for row in _rows(run)]
    _tell_runs_apart(rows)
    _judge(rows)
    return _typed(pd.DataFrame(rows, columns=list(COLUMNS)))


def _as_list(runs: Any) -> list[Any]:
    if isinstance(runs, (str, os.PathLike)) or hasattr(runs, "artifacts"):
        return [runs]
    return list(runs)


def _as_run(run: Any) -> Any:
    return run if hasattr(run, "artifacts") else open_run(run)


def _run_name(run: Any) -> str:
    return Path(run.folder).resolve().name


def _distinct(names: Sequence[str]) -> list[str]:
    """Names made different where two folders are called alike.

    >>> _distinct(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    earlier = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(names, earlier, strict=True)]


def _rows(run: Any) -> Iterator[dict[str, Any]]:
    artifacts = run.artifacts() if callable(run.artifacts) else run.artifacts
    for artifact in artifacts:
        yield _row(artifact, run.manifest or {})


def _row(artifact: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """One artifact as a row. Only the recording must be there; what else is missing stays empty."""
    recording = Recording.from_dict(artifact["recording"])
    load, options = artifact.get("load") or {}, artifact.get("options") or {}
    file = str(artifact.get("file") or "")
    row = {
        name: artifact.get(name)
        for name in (*PROMPT, "model", "prompt_id", "category", "prompt", "trial", "load_s")
    }
    return {
        **row,
        "configuration": artifact.get("configuration") or artifact.get("model"),
        "purpose": artifact.get("purpose") or ("speed" if file.startswith("speed/") else "quality"),
        "error": recording.error,
        "response": artifact.get("response", recording.response),
        **metrics.measure(recording),
        "unexplained_ms": metrics.ledger(recording)["unexplained"],
        "unexplained_share": metrics.unexplained_share(recording),
        "clock_faults": "; ".join(metrics.clock_faults(recording)) or None,
        "size_mib": _size_mib(artifact, manifest),
        **_memory(artifact.get("memory") or {}),
        **_checks(artifact.get("checks") or ()),
        **{name: load.get(name) for name in ("n_ctx", "n_threads", "n_gpu_layers")},
        **{name: options.get(name) for name in ("temperature", "seed", "max_tokens")},
        "cache": recording.cache or options.get("cache"),
        **_block(artifact.get("block") or {}),
        "started_at": recording.started_at,
        "artifact": file or None,
    }  # fmt: skip


def _size_mib(artifact: Mapping[str, Any], manifest: Mapping[str, Any]) -> float | None:
    """The model file's size, from the manifest's entry for this artifact's engine or model."""
    models = manifest.get("models") or {}
    entry = models.get(artifact.get("engine")) or models.get(artifact.get("model")) or {}
    size = entry.get("size_bytes")
    return None if size is None else size / MIB


def _memory(memory: Mapping[str, Any]) -> dict[str, Any]:
    source = next((s for s in MEMORY_SOURCES if isinstance(memory.get(s), Mapping)), None)
    shown = memory.get(source) or {}
    return {
        "memory_source": source,
        "peak_memory_mib": shown.get("peak_mib"),
        "memory_delta_mib": shown.get("delta_mib"),
        "peak_anonymous_mib": (memory.get("process_anonymous") or {}).get("peak_mib"),
        "peak_file_backed_mib": (memory.get("process_file_backed") or {}).get("peak_mib"),
    }


def _checks(checks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    checks = list(checks)
    ran = [bool(check["passed"]) for check in checks if check.get("passed") is not None]
    return {"checks": checks, "n_checks": len(ran), "n_passed": sum(ran)}


def _block(block: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "block_id": block.get("id"),
        "block_position": block.get("position"),
        "block_void": block.get("void"),
        "block_reasons": "; ".join(block.get("reasons") or ()) or None,
    }


def _tell_runs_apart(rows: list[dict[str, Any]]) -> None:
    """Add the run's name to configurations that several runs have, and to prompt sets that differ in text."""
    _qualify(rows, "configuration", lambda row: row["configuration"], lambda row: row["run"])
    natural = [row for row in rows if row["purpose"] == "quality"]
    _qualify(
        natural, "prompt_set", lambda row: (row["prompt_set"], row["prompt_index"]), lambda row: row["prompt"]
    )


def _qualify(
    rows: list[dict], column: str, key: Callable[[dict], Any], told_by: Callable[[dict], Any]
) -> None:
    meanings: dict[Any, set[Any]] = {}
    for row in rows:
        meanings.setdefault(key(row), set()).add(told_by(row))
    unclear = {row[column] for row in rows if len(meanings[key(row)]) > 1}
    for row in rows:
        if row[column] in unclear:
            row[column] = f"{row[column]} [{row['run']}]"


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
        kind = kinds.get(name, "object" if name == "checks" else "float64")
        values = table[name] if kind != "float64" else pd.to_numeric(table[name], errors="coerce")
        table[name] = values.astype(kind)
        if kind == "object":
            table[name] = table[name].where(table[name].notna(), None)
    return table


# ---------------------------------------------------------------- values by prompt


def configurations(table: pd.DataFrame) -> list[str]:
    """The configurations of a table, in its order."""
    return list(dict.fromkeys(table["configuration"]))


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every column that is read here, so that older or smaller tables work too."""
    missing = [name for name in COLUMNS if name not in table]
    return table if not missing else _typed(table.reindex(columns=[*table.columns, *missing]))


def _of(table: pd.DataFrame, configuration: str, purpose: str | None = None) -> pd.DataFrame:
    rows = table[table["configuration"] == configuration]
    return rows if purpose is None else rows[rows["purpose"] == purpose]


def _done(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["state"].isin(metrics.COMPLETED)]


def _floats(values: pd.Series) -> list[float | None]:
    """A column's values as plain numbers, missing ones None."""
    return [None if value is None or pd.isna(value) else float(value) for value in values]


def by_prompt(rows: pd.DataFrame, column: str) -> dict[tuple, float]:
    """Prompt → the median of a column over that prompt's completed trials."""
    rows = _done(rows)
    return stats.medians_by_prompt(_prompts(rows), _floats(rows[column]))


def _prompts(rows: pd.DataFrame) -> list[tuple]:
    return list(rows[PROMPT].itertuples(index=False, name=None))


def share_correct(rows: pd.DataFrame) -> dict[tuple, float]:
    """Prompt → the share of its judged trials that were correct."""
    return _shares(_prompts(rows), _floats(rows["correct"]))


def _shares(prompts: Iterable[Any], passed: Iterable[float | None]) -> dict[Any, float]:
    trials: dict[Any, list[float]] = {}
    for prompt, value in zip(prompts, passed, strict=True):
        if value is not None:
            trials.setdefault(prompt, []).append(value)
    return {prompt: math.fsum(values) / len(values) for prompt, values in trials.items()}


def cost_and_correct(rows: pd.DataFrame) -> dict[tuple, tuple[float, float]]:
    """Prompt → (mean seconds, share correct) over its judged trials, failed ones included."""
    rows = rows[rows["correct"].notna()]
    seconds, correct = _shares(_prompts(rows), _floats(rows["latency_s"])), share_correct(rows)
    return {prompt: (seconds[prompt], correct[prompt]) for prompt in correct}


def decode_rows(table: pd.DataFrame, configuration: str) -> tuple[pd.DataFrame, str]:
    """The rows that decide decode speed, and what they are: of "forced" length if there are any, or "natural"."""
    forced = _of(table, configuration, "speed")
    return (forced, "forced") if len(forced) else (_of(table, configuration, "quality"), "natural")


# ---------------------------------------------------------------- one row a configuration


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration: speed, tails, memory, quality, each with its n and 95 % interval.

    Latencies and TTFT are of natural replies, with the typical length of the replies beside them. Medians and
    means are over prompts, each by its median over trials. Percentiles are empty where n is too small
    (`latency_note`); the maximum is of all requests. Intervals are empty below six prompts: a fixed set.
    """
    table = _complete(table)
    rows = [_summary(table, configuration) for configuration in configurations(table)]
    return pd.DataFrame(rows, columns=list(SUMMARY))


SUMMARY = (
    "configuration", "model", "n_prompts", "n_requests", "n_completed", "n_errors", "n_empty",
    "latency_mean_s", "latency_median_s", "latency_median_s_low", "latency_median_s_high",
    "latency_p95_s", "latency_p95_s_upper", "latency_p99_s", "latency_p99_s_upper", "latency_max_s", "latency_note",
    "reply_tokens_median", "prompt_tokens_median",
    "requests_per_min", "tokens_per_s", "tokens_per_min",
    "ttft_median_ms", "ttft_median_ms_low", "ttft_median_ms_high",
    "decode_tokens_per_s", "decode_tokens_per_s_low", "decode_tokens_per_s_high", "decode_source", "decode_n",
    "decode_reply_tokens", "decode_prompt_tokens", "prefill_tokens_per_s",
    "load_s", "size_mib", "peak_memory_mib", "memory_delta_mib", "memory_source",
    "n_judged", "pass_rate", "pass_rate_low", "pass_rate_high", "seconds_per_correct",
    "perplexity", "unexplained_share", "verdict", "verdict_reasons",
)  # fmt: skip


def _summary(table: pd.DataFrame, configuration: str) -> dict[str, Any]:
    rows, natural = _of(table, configuration), _of(table, configuration, "quality")
    judged = verdict(rows)
    return {
        "configuration": configuration,
        "model": rows["model"].iloc[0],
        "n_prompts": natural[PROMPT].drop_duplicates().shape[0],
        "n_requests": len(rows),
        "n_completed": len(_done(rows)),
        "n_errors": len(_failed(rows)),
        "n_empty": int((rows["state"] == "empty").sum()),
        **_latency(natural),
        **_rates(natural),
        **_median(natural, "ttft_ms", "ttft_median_ms"),
        **_decode(table, configuration),
        "load_s": _middle(rows["load_s"]),
        "size_mib": _largest(rows["size_mib"]),
        "peak_memory_mib": _largest(rows["peak_memory_mib"]),
        "memory_delta_mib": _largest(rows["memory_delta_mib"]),
        "memory_source": ", ".join(dict.fromkeys(rows["memory_source"].dropna())) or None,
        **_quality(natural),
        "perplexity": None,  # not measured by a run
        "unexplained_share": unexplained_share(rows),
        "verdict": judged.state,
        "verdict_reasons": "; ".join(judged.reasons) or None,
    }


def _failed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["state"].isin((*metrics.COMPLETED, "empty"))]


def _median(rows: pd.DataFrame, column: str, name: str) -> dict[str, float | None]:
    """The median over prompts, with its interval."""
    values = list(by_prompt(rows, column).values())
    interval = stats.median_interval(values)
    return {
        name: float(np.median(values)) if values else None,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }


def _latency(natural: pd.DataFrame) -> dict[str, Any]:
    values = list(by_prompt(natural, "latency_s").values())
    p95, p99 = stats.percentile(values, 95), stats.percentile(values, 99)
    return {
        "latency_mean_s": math.fsum(values) / len(values) if values else None,
        **_median(natural, "latency_s", "latency_median_s"),
        "latency_p95_s": p95.value,
        "latency_p95_s_upper": p95.upper,
        "latency_p99_s": p99.value,
        "latency_p99_s_upper": p99.upper,
        "latency_max_s": _largest(_done(natural)["latency_s"]),
        "latency_note": "; ".join(p.note for p in (p95, p99) if p.note) or None,
        "reply_tokens_median": _middle_over_prompts(natural, "n_output_tokens"),
        "prompt_tokens_median": _middle_over_prompts(natural, "n_prompt_tokens"),
    }


def _rates(natural: pd.DataFrame) -> dict[str, float | None]:
    """Rates of requests one at a time: sums over sums, with the time of failed requests in them."""
    latencies = stats.clean(_floats(natural["latency_s"]))
    completed = natural["state"].isin((*metrics.COMPLETED, "empty"))
    tokens = [
        n if n is not None or ok else 0
        for n, ok in zip(_floats(natural["n_output_tokens"]), completed, strict=True)
    ]
    return {
        "requests_per_min": metrics.requests_per_min(len(_done(natural)), latencies),
        "tokens_per_s": metrics.throughput_tokens_per_s(tokens, latencies),
        "tokens_per_min": metrics.tokens_per_min(tokens, latencies),
    }


def _decode(table: pd.DataFrame, configuration: str) -> dict[str, Any]:
    rows, source = decode_rows(table, configuration)
    n = len(by_prompt(rows, "decode_tokens_per_s"))
    return {
        **_median(rows, "decode_tokens_per_s", "decode_tokens_per_s"),
        "decode_source": source if n else None,
        "decode_n": n,
        "decode_reply_tokens": _middle_over_prompts(rows, "n_output_tokens"),
        "decode_prompt_tokens": _middle_over_prompts(rows, "n_prompt_tokens"),
        "prefill_tokens_per_s": _middle_over_prompts(rows, "prefill_tokens_per_s"),
    }


def _quality(natural: pd.DataFrame) -> dict[str, Any]:
    shares = share_correct(natural)
    interval = stats.wilson(math.fsum(shares.values()), len(shares))
    judged = natural[natural["correct"].notna()]
    cost = metrics.seconds_per_correct(_floats(judged["latency_s"]), _floats(judged["correct"]))
    return {
        "n_judged": len(shares),
        "pass_rate": math.fsum(shares.values()) / len(shares) if shares else None,
        "pass_rate_low": interval.low if interval else None,
        "pass_rate_high": interval.high if interval else None,
        "seconds_per_correct": cost,
    }


def _middle(values: pd.Series) -> float | None:
    known = stats.clean(_floats(values))
    return float(np.median(known)) if known else None


def _middle_over_prompts(rows: pd.DataFrame, column: str) -> float | None:
    values = list(by_prompt(rows, column).values())
    return float(np.median(values)) if values else None


def _largest(values: pd.Series) -> float | None:
    return max(stats.clean(_floats(values)), default=None)


def unexplained_share(rows: pd.DataFrame) -> float | None:
    """The part of all response times that no clock accounts for; None where the engines give no times."""
    rows = rows[rows["unexplained_share"].notna() & rows["state"].isin(metrics.COMPLETED)]
    total_ms = 1000 * math.fsum(stats.clean(_floats(rows["response_time_s"].fillna(rows["latency_s"]))))
    return math.fsum(abs(ms) for ms in _floats(rows["unexplained_ms"])) / total_ms if total_ms else None


# ---------------------------------------------------------------- quality by check and category


def pass_rates(table: pd.DataFrame, by: Sequence[str] = ("category", "check")) -> pd.DataFrame:
    """How often checks passed, by configuration and any of `category`, `check` and `prompt_set`.

    `n` counts prompts; a prompt that passed 2 of 3 trials counts 2/3. Without "check" in `by`, a prompt passes
    if all its checks do. The interval is Wilson's, 95 %.
    """
    allowed = ("category", "check", "prompt_set")
    if unknown := [name for name in by if name not in allowed]:
        raise BenchkitError(f"pass_rates(by=…): {', '.join(unknown)} is not among {', '.join(allowed)}.")
    table = _complete(table)
    rows = (
        _by_check(table) if "check" in by else table[table["correct"].notna()].assign(passed=table["correct"])
    )
    keys = ["configuration", *by]
    groups = rows.groupby(keys, sort=False, dropna=False)
    found = [_pass_rate(dict(zip(keys, key, strict=True)), group) for key, group in groups]
    return pd.DataFrame(found, columns=[*keys, "n", "passed", "pass_rate", "low", "high"])


def _by_check(table: pd.DataFrame) -> pd.DataFrame:
    """One row a check. A failed request failed every check that its prompt has elsewhere."""
    natural = table[table["purpose"] == "quality"]
    asked: dict[tuple, dict[str, None]] = {}
    for prompt, checks in zip(_prompts(natural), natural["checks"], strict=True):
        asked.setdefault(prompt, {}).update(dict.fromkeys(c["check"] for c in _ran(checks)))
    columns = ["configuration", "category", *PROMPT]
    rows = []
    for row in natural[[*columns, "state", "checks"]].to_dict("records"):
        failed = row["state"] not in metrics.COMPLETED
        wanted = asked[row["prompt_set"], row["prompt_index"]]
        verdicts = (
            dict.fromkeys(wanted, False) if failed else {c["check"]: c["passed"] for c in _ran(row["checks"])}
        )
        rows += [{**{k: row[k] for k in columns}, "check": c, "passed": p} for c, p in verdicts.items()]
    return pd.DataFrame(rows, columns=[*columns, "check", "passed"])


def _ran(checks: Any) -> list[Mapping[str, Any]]:
    checks = checks if isinstance(checks, (list, tuple)) else ()
    return [check for check in checks if check.get("passed") is not None]


def _pass_rate(names: dict[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    shares = _shares(_prompts(rows), _floats(rows["passed"]))
    passed, n = math.fsum(shares.values()), len(shares)
    interval = stats.wilson(passed, n)
    return {
        **names,
        "n": n,
        "passed": passed,
        "pass_rate": passed / n,
        "low": interval.low,
        "high": interval.high,
    }


# ---------------------------------------------------------------- two configurations


def compare(table: pd.DataFrame, a: str | None = None, b: str | None = None) -> pd.DataFrame:
    """Two configurations side by side, paired by prompt: one row a question, with the ratio and its interval.

    `ratio` is A/B (for the pass rate `difference` is A less B); the interval is of the median of the ratios
    prompt by prompt. The verdict is "not distinguishable" where the interval contains 1 (or 0), and "fixed
    set" below six prompts. Without names, the table must hold two configurations.
    """
    table = _complete(table)
    a, b = _two(table, a, b)
    rows = [_compare_decode(table, a, b), *_compare_waits(table, a, b), _compare_quality(table, a, b),
            _compare_cost(table, a, b)]  # fmt: skip
    return pd.DataFrame(
        rows, columns=["metric", "unit", a, b, "ratio", "difference", "low", "high", "n", "verdict", "note"]
    )


def _two(table: pd.DataFrame, a: str | None, b: str | None) -> tuple[str, str]:
    known = configurations(table)
    if a is None and b is None and len(known) == 2:
        return known[0], known[1]
    for name in (a, b):
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise BenchkitError(f"compare: {name!r} is not a configuration of these results.{hint} "
                                f"They hold: {', '.join(known) or 'none'}.")  # fmt: skip
    if a == b:
        raise BenchkitError(f"compare: {a!r} twice. Name two configurations of: {', '.join(known)}.")
    return str(a), str(b)


def _line(
    metric: str, unit: str, a: str, b: str, values: tuple, c: Any, words: tuple[str, str], note: str = ""
) -> dict:
    said = c.verdict.replace("A ", words[0] + " ", 1) if c.verdict.startswith("A ") else c.verdict
    said = said.replace("B ", words[1] + " ", 1) if c.verdict.startswith("B ") else said
    effect = {"ratio": c.ratio} if isinstance(c, stats.Comparison) else {"difference": c.difference}
    return {"metric": metric, "unit": unit, a: values[0], b: values[1], **effect, "low": c.low, "high": c.high,
            "n": c.n, "verdict": said, "note": note}  # fmt: skip


def _compare_decode(table: pd.DataFrame, a: str, b: str) -> dict[str, Any]:
    rows, note = _like_decode_rows(table, (a, b))
    values = [by_prompt(rows[name], "decode_tokens_per_s") for name in (a, b)]
    c = stats.paired_difference(*values, higher_is_faster=True)
    return _line("decode_tokens_per_s", "tok/s", a, b, _medians(values), c, (a, b), note)


def _like_decode_rows(table: pd.DataFrame, names: Iterable[str]) -> tuple[dict[str, pd.DataFrame], str]:
    """For each configuration the rows that decide its decode speed: forced lengths for all, or natural for all."""
    found = {name: decode_rows(table, name) for name in names}
    if len({source for _, source in found.values()}) > 1:
        return {
            name: _of(table, name, "quality") for name in found
        }, "natural replies: not all have forced lengths"
    source = next(iter(found.values()))[1] if found else "natural"
    note = "forced length" if source == "forced" else "natural replies: their lengths differ"
    return {name: rows for name, (rows, _) in found.items()}, note


def _compare_waits(table: pd.DataFrame, a: str, b: str) -> Iterator[dict[str, Any]]:
    rows = [_of(table, name, "quality") for name in (a, b)]
    lengths = [_middle_over_prompts(r, "n_output_tokens") for r in rows]
    note = f"replies of {number(lengths[0])} and {number(lengths[1])} tokens (medians)"
    for column, unit, said in (("latency_s", "s", note), ("ttft_ms", "ms", "")):
        values = [by_prompt(r, column) for r in rows]
        yield _line(column, unit, a, b, _medians(values), stats.paired_difference(*values), (a, b), said)


def _compare_quality(table: pd.DataFrame, a: str, b: str) -> dict[str, Any]:
    shares = [share_correct(_of(table, name, "quality")) for name in (a, b)]
    means = tuple(math.fsum(s.values()) / len(s) if s else None for s in shares)
    return _line("pass_rate", "share", a, b, means, stats.paired_pass_difference(*shares), (a, b))


def _compare_cost(table: pd.DataFrame, a: str, b: str) -> dict[str, Any]:
    values = [cost_and_correct(_of(table, name, "quality")) for name in (a, b)]
    totals = tuple(_seconds_per_correct(v) for v in values)
    c = stats.paired_seconds_per_correct(*values)
    return _line("seconds_per_correct", "s", a, b, totals, c, (a, b))


def _seconds_per_correct(values: Mapping[tuple, tuple[float, float]]) -> float | None:
    return metrics.seconds_per_correct([s for s, _ in values.values()], [c for _, c in values.values()])


def _medians(values: Sequence[Mapping[tuple, float]]) -> tuple[float | None, ...]:
    return tuple(float(np.median(list(v.values()))) if v else None for v in values)


def smallest_distinguishable(table: pd.DataFrame) -> pd.DataFrame:
    """The smallest factors this machine could have told from 1: each model's second trial against its first.

    A null run inside every run with two trials or more: nothing differs but the moment. 1.08 means that
    differences under 8 % drown in noise. Empty below six prompts. Of one trial each, so a little pessimistic.
    """
    table = _complete(table)
    rows = []
    for name in configurations(table):
        natural = _of(table, name, "quality")
        first, second = (natural[natural["trial"] == trial] for trial in _first_two(natural["trial"]))
        null = {c: stats.smallest_difference(by_prompt(first, c), by_prompt(second, c)) for c in NULL_COLUMNS}
        rows.append({"configuration": name, "n": len(by_prompt(second, "latency_s")), **null})
    return pd.DataFrame(rows, columns=["configuration", "n", *NULL_COLUMNS])


NULL_COLUMNS = ("latency_s", "ttft_ms", "decode_tokens_per_s")


def _first_two(trials: pd.Series) -> tuple[Any, Any]:
    found = sorted(set(trials.dropna()))
    return (found[0], found[1]) if len(found) > 1 else (found[0] if found else -1, -1)


# ---------------------------------------------------------------- which model?


@dataclass(frozen=True)
class Card:
    """One question and its answer: a winner only where the data tell it from every other configuration.

    `outcome` is "winner", "not distinguishable", "fixed set", "no interval", "only one" or "not measured";
    `leader` is ahead in these numbers, whether or not that means anything; `value` is the leader's, as text.
    """

    name: str
    winner: str | None
    outcome: str
    leader: str | None
    value: str
    n: int
    reason: str


def cards(table: pd.DataFrame) -> list[Card]:
    """The fastest, the best, the smallest, and the one with the fewest seconds per correct answer.

    The leader is compared with every other configuration, prompt by prompt; it wins only if all those
    comparisons tell them apart. Size is exact and needs no statistics.
    """
    table = _complete(table)
    names = configurations(table)
    return [_fastest(table, names), _best(table, names), _smallest(table, names), _cheapest(table, names)]


def _fastest(table: pd.DataFrame, names: list[str]) -> Card:
    forced = [name for name in names if len(_of(table, name, "speed"))]
    rows, note = _like_decode_rows(table, forced or names)
    values = {name: by_prompt(r, "decode_tokens_per_s") for name, r in rows.items()}
    score = {name: float(np.median(list(v.values()))) for name, v in values.items() if v}
    left_out = [name for name in names if name not in forced] if forced else []
    note += f"; without forced-length replies, so not compared: {', '.join(left_out)}" if left_out else ""

    def against(leader: str, other: str) -> stats.Comparison:
        return stats.paired_difference(values[leader], values[other], higher_is_faster=True)

    return _card("fastest", score, against, lambda x: f"{number(x)} tok/s", note, _n(values))


def _best(table: pd.DataFrame, names: list[str]) -> Card:
    shares = {name: share_correct(_of(table, name, "quality")) for name in names}
    score = {name: math.fsum(s.values()) / len(s) for name, s in shares.items() if s}

    def against(leader: str, other: str) -> stats.RateComparison:
        return stats.paired_pass_difference(shares[leader], shares[other])

    return _card(
        "best quality", score, against, percent, "share of prompts with every check passed", _n(shares)
    )


def _cheapest(table: pd.DataFrame, names: list[str]) -> Card:
    values = {name: cost_and_correct(_of(table, name, "quality")) for name in names}
    cost = {name: _seconds_per_correct(v) for name, v in values.items() if v}
    score = {name: -seconds for name, seconds in cost.items() if seconds and not math.isinf(seconds)}
    never = [name for name, seconds in cost.items() if seconds and math.isinf(seconds)]
    note = f"never: {', '.join(never)}" if never else "wrong and failed replies cost their time too"

    def against(leader: str, other: str) -> stats.Comparison:
        return stats.paired_seconds_per_correct(values[leader], values[other])

    def show(value: float) -> str:
        return metrics.show_seconds_per_correct(-value)

    card = _card("fewest seconds per correct answer", score, against, show, note, _n(values))
    if card.outcome == "not measured" and never:
        return Card(
            card.name,
            None,
            "not measured",
            None,
            "never",
            _n(values)(never[0]),
            "no configuration got one right",
        )
    return card


def _n(values: Mapping[str, Mapping]) -> Callable[[str], int]:
    return lambda name: len(values[name])


def _card(name: str, score: Mapping[str, float], against: Callable[[str, str], Any], show: Callable[[float], str],
          note: str, count: Callable[[str], int]) -> Card:  # fmt: skip
    """The leader by score (highest first), and whether it is told apart from each of the others."""
    if not score:
        return Card(name, None, "not measured", None, "–", 0, "nothing was measured that could tell")
    leader, *others = sorted(score, key=lambda c: -score[c])
    value = show(score[leader])
    if not others:
        return Card(name, None, "only one", leader, value, count(leader), f"nothing to compare with; {note}")
    found = {other: against(leader, other) for other in others}
    outcome, because = _outcome(leader, found)
    n = min(c.n for c in found.values())
    winner = leader if outcome == "winner" else None
    return Card(name, winner, outcome, leader, value, n, f"{because}; {note}" if note else because)


def _outcome(leader: str, found: Mapping[str, Any]) -> tuple[str, str]:
    """What the comparisons of the leader with each other configuration amount to, and why."""
    n = min(c.n for c in found.values())
    close = {other: c for other, c in found.items() if not c.verdict.startswith("A ")}
    if any(c.verdict == stats.FIXED_SET for c in close.values()):
        return (
            stats.FIXED_SET,
            f"{leader} leads on these {counted(n, 'prompt')}, too few to say more (6 are needed)",
        )
    if any(c.verdict == stats.NO_INTERVAL for c in close.values()):
        needs = f"{stats.MIN_PROMPTS_FOR_SECONDS} prompts and {stats.MIN_CORRECT_FOR_SECONDS} correct answers each"
        return stats.NO_INTERVAL, f"{leader} leads, but an interval that holds needs {needs}"
    if close:
        return (
            stats.NOT_DISTINGUISHABLE,
            f"{leader} leads, but is not told apart from {', '.join(close)} (n = {n})",
        )
    other, c = next(iter(found.items()))
    return (
        "winner",
        f"told apart from each of {counted(len(found), 'other')}; next is {other}: {_effect(c)} (n = {c.n})",
    )


def _effect(c: stats.Comparison | stats.RateComparison) -> str:
    if isinstance(c, stats.RateComparison):
        return f"{100 * c.difference:+.0f} points, 95 % interval {100 * c.low:+.0f} to {100 * c.high:+.0f}"
    return f"{number(c.ratio)} ×, 95 % interval {number(c.low)} to {number(c.high)}"


def _smallest(table: pd.DataFrame, names: list[str]) -> Card:
    sizes = {name: _largest(_of(table, name)["size_mib"]) for name in names}
    known = sorted((size, name) for name, size in sizes.items() if size is not None)
    if not known:
        return Card("smallest", None, "not measured", None, "–", 0, "no file size was recorded")
    size, leader = known[0]
    equal = [name for other, name in known[1:] if other == size]
    reason = (
        f"as large as {', '.join(equal)}" if equal else "size of the model file: exact, no interval needed"
    )
    outcome = "only one" if len(known) == 1 else stats.NOT_DISTINGUISHABLE if equal else "winner"
    winner = leader if outcome == "winner" else None
    return Card("smallest", winner, outcome, leader, f"{number(size)} MiB", len(known), reason)


# ---------------------------------------------------------------- can it be trusted?


@dataclass(frozen=True)
class Verdict:
    """VALID, INCONCLUSIVE or INVALID, with the reasons, and notes that change nothing but should be known."""

    state: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def verdict(run: Any) -> Verdict:
    """Whether a run's numbers can be trusted, and why not. Takes a run, its folder, or a table of results.

    INVALID: nothing was completed, most requests failed, or stamps contradict each other. INCONCLUSIVE: the
    run is not complete, requests failed, a block of requests was disturbed, or more than 5 % of the response
    time is unexplained. The quality of replies is no reason: a wrong answer is a result.
    """
    if isinstance(run, pd.DataFrame):
        table, whole, notes = _complete(run), [], []
    else:
        run = _as_run(run)
        table = results(run)
        whole, notes = _about_the_run(run)
    invalid, doubtful = _faults(table), [*whole, *_doubts(table)]
    state = INVALID if invalid else INCONCLUSIVE if doubtful else VALID
    return Verdict(state, (*invalid, *doubtful), (*notes, *_notes(table)))


def _about_the_run(run: Any) -> tuple[list[str], list[str]]:
    """What the folder says beyond its rows: reasons for doubt, and notes."""
    reasons, notes = [], []
    status = getattr(run, "status", None) or {}
    if status.get("state") not in (None, "complete"):
        reasons.append(f"the run is not complete ({status['state']}, {status.get('done')} of {status.get('total')} "
                       "replies): the same command continues it")  # fmt: skip
    problems = list(getattr(run, "problems", None) or ())
    if problems:
        reasons.append(
            f"{counted(len(problems), 'artifact')} cannot be read ({problems[0]}): the same command measures again"
        )
    for label, why in (getattr(run, "failed", None) or {}).items():
        notes.append(f"{label} could not be measured: {why}")
    sessions = (run.manifest or {}).get("sessions") or []
    notes += [
        f"changed during the run: {note}" for session in sessions for note in session.get("notes") or ()
    ]
    return reasons, notes


def _faults(table: pd.DataFrame) -> list[str]:
    """What makes a table worthless."""
    if not len(_done(table)):
        return ["no request was completed"]
    found = [f"{name}: {len(failed)} of {counted(len(rows), 'request')} failed"
             for name, rows, failed in _by_configuration(table) if 2 * len(failed) > len(rows)]  # fmt: skip
    broken = table[table["clock_faults"].notna()]
    if len(broken):
        found.append(
            f"time stamps contradict each other in {counted(len(broken), 'request')}: {broken['clock_faults'].iloc[0]}"
        )
    return found


def _doubts(table: pd.DataFrame) -> list[str]:
    found = []
    for name, rows, failed in _by_configuration(table):
        if 0 < 2 * len(failed) <= len(rows):
            states = ", ".join(f"{n} {state}" for state, n in failed["state"].value_counts().items())
            found.append(f"{name}: {len(failed)} of {counted(len(rows), 'request')} failed ({states}), so its times are "
                         "of the others only")  # fmt: skip
        share = unexplained_share(rows)
        if share is not None and share > MAX_UNEXPLAINED:
            found.append(f"{name}: {100 * share:.1f} % of the response time is unexplained (more than {MAX_UNEXPLAINED:.0%})"
                         .replace("%)", " %)"))  # fmt: skip
        found += _disturbed(name, rows)
    return found


def _disturbed(name: str, rows: pd.DataFrame) -> list[str]:
    """The blocks of a configuration that their own health record voids: the last row of a block knows it all."""
    in_block = rows[rows["block_void"].notna()]
    order = in_block.assign(position=in_block["block_position"].fillna(0).astype(int)).sort_values(
        "position", kind="stable"
    )
    last = order.groupby(["run", "block_id"], dropna=False).tail(1)
    void = last[last["block_void"].astype(bool)]
    if void.empty:
        return []
    why = void["block_reasons"].dropna()
    reason = f": {why.iloc[0]}" if len(why) else ""
    return [f"{name}: {len(void)} of {counted(len(last), 'block')} of requests disturbed{reason}"]


def _notes(table: pd.DataFrame) -> list[str]:
    notes = []
    for name, rows, _ in _by_configuration(table):
        n_empty = int((rows["state"] == "empty").sum())
        if n_empty:
            notes.append(f"{name}: {n_empty} of {counted(len(rows), 'reply')} had no text")
        if len(_done(rows)) and unexplained_share(rows) is None:
            notes.append(f"{name}: its engine gives no times, so the ledger cannot be checked")
        if rows["first_chunk_tokens_assumed"].fillna(False).any():
            notes.append(
                f"{name}: the first chunk was taken for one token; see the engine's own decode speed beside it"
            )
    return notes


def _by_configuration(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    for name in configurations(table):
        rows = _of(table, name)
        yield name, rows, _failed(rows)
