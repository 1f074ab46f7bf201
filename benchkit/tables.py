"""Tables: one row a configuration, quality by check and category, two configurations side by side.

    table = results("benchmark_outputs/my-run")
    summarize(table)
    compare(table, "gguf:pocket-s", "gguf:pocket-m")

Decode speed is that of forced-length replies where there are any; all else is of replies that stop by
themselves. Summaries are over prompts first: each prompt counts once, by its median over trials.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from benchkit import metrics, stats
from benchkit.errors import BenchkitError, did_you_mean
from benchkit.export import export
from benchkit.judge import Card, Verdict, cards, no_winner, verdict
from benchkit.rows import (
    PROMPT,
    by_prompt,
    complete,
    configurations,
    cost,
    cost_and_correct,
    decode_rows,
    done,
    failed,
    floats,
    judged,
    largest,
    mean_by_prompt,
    middle,
    middle_over_prompts,
    of,
    prompts_of,
    results,
    share_correct,
    unexplained_share,
)
from benchkit.text import number

__all__ = ["Card", "Verdict", "cards", "compare", "export", "pass_rates", "results", "smallest_distinguishable",
           "summarize", "verdict"]  # fmt: skip


# ---------------------------------------------------------------- one row a configuration


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration: speed, tails, memory, quality, each with its n and 95 % interval.

    Latencies and TTFT are of natural replies, with the typical length of the replies beside them. Medians and
    means are over prompts, each by its median over trials. Percentiles are empty where n is too small
    (`latency_note`); the maximum is of all requests. Intervals are empty below six prompts: a fixed set.
    """
    table = complete(table)
    rows = [_summary(table, configuration) for configuration in configurations(table)]
    numbers = [name for name in SUMMARY if name not in SUMMARY_TEXTS and name not in SUMMARY_COUNTS]
    kinds = {**dict.fromkeys(numbers, "float64"), **dict.fromkeys(SUMMARY_COUNTS, "int64")}
    summary = pd.DataFrame(rows, columns=list(SUMMARY)).astype(
        {**kinds, **dict.fromkeys(SUMMARY_TEXTS, "object")}
    )
    for name in SUMMARY_TEXTS:
        summary[name] = summary[name].where(summary[name].notna(), None)
    return summary


SUMMARY = (
    "configuration", "model", "n_prompts", "n_requests", "n_completed", "n_errors", "n_empty",
    "latency_mean_s", "latency_median_s", "latency_median_s_low", "latency_median_s_high",
    "latency_p95_s", "latency_p95_s_upper", "latency_p99_s", "latency_p99_s_upper", "latency_max_s", "latency_note",
    "reply_tokens_median", "prompt_tokens_median",
    "requests_per_min", "tokens_per_s", "tokens_per_min",
    "ttft_median_ms", "ttft_median_ms_low", "ttft_median_ms_high",
    "decode_tokens_per_s", "decode_tokens_per_s_low", "decode_tokens_per_s_high", "decode_source", "decode_n",
    "decode_reply_tokens", "decode_prompt_tokens", "prefill_tokens_per_s",
    "load_s", "cold_extra_s", "instrument_error_ms", "size_mib", "peak_memory_mib", "memory_delta_mib", "memory_source",
    "n_judged", "pass_rate", "pass_rate_low", "pass_rate_high", "seconds_per_correct",
    "identical_share", "n_repeated", "perplexity", "perplexity_se", "unexplained_share", "verdict", "verdict_reasons",
)  # fmt: skip


SUMMARY_TEXTS = ("configuration", "model", "latency_note", "decode_source", "memory_source", "verdict",
                 "verdict_reasons")  # fmt: skip
SUMMARY_COUNTS = ("n_prompts", "n_requests", "n_completed", "n_errors", "n_empty", "decode_n", "n_judged",
                  "n_repeated")  # fmt: skip


def _summary(table: pd.DataFrame, configuration: str) -> dict[str, Any]:
    rows, natural = of(table, configuration), of(table, configuration, "quality")
    trust = verdict(rows)
    return {
        "configuration": configuration,
        "model": rows["model"].iloc[0],
        "n_prompts": natural[PROMPT].drop_duplicates().shape[0],
        "n_requests": len(rows),
        "n_completed": len(done(rows)),
        "n_errors": len(failed(rows)),
        "n_empty": int((rows["state"] == "empty").sum()),
        **_latency(natural),
        **_rates(natural),
        **_median(natural, "ttft_ms", "ttft_median_ms"),
        **_decode(table, configuration),
        "load_s": middle(rows["load_s"]),
        "cold_extra_s": middle(rows["cold_extra_s"]),
        "instrument_error_ms": middle(rows["instrument_error_ms"]),
        "size_mib": largest(rows["size_mib"]),
        "peak_memory_mib": largest(rows["peak_memory_mib"]),
        "memory_delta_mib": middle(rows["memory_delta_mib"]),
        "memory_source": ", ".join(dict.fromkeys(rows["memory_source"].dropna())) or None,
        **_quality(natural),
        **_repeats(natural),
        "perplexity": middle(rows["perplexity"]),
        "perplexity_se": middle(rows["perplexity_se"]),
        "unexplained_share": unexplained_share(rows),
        "verdict": trust.state,
        "verdict_reasons": "; ".join(trust.reasons) or None,
    }


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
        "latency_max_s": largest(done(natural)["latency_s"]),
        "latency_note": "; ".join(p.note for p in (p95, p99) if p.note) or None,
        "reply_tokens_median": middle_over_prompts(natural, "n_output_tokens"),
        "prompt_tokens_median": middle_over_prompts(natural, "n_prompt_tokens"),
    }


def _rates(natural: pd.DataFrame) -> dict[str, float | None]:
    """Rates of requests one at a time: sums over sums, with the time of failed requests in them."""
    latencies = stats.clean(floats(natural["latency_s"]))
    completed = natural["state"].isin((*metrics.COMPLETED, "empty"))
    tokens = [n if ok else 0 for n, ok in zip(floats(natural["n_output_tokens"]), completed, strict=True)]
    return {
        "requests_per_min": metrics.requests_per_min(len(done(natural)), latencies),
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
        "decode_reply_tokens": middle_over_prompts(rows, "n_output_tokens"),
        "decode_prompt_tokens": middle_over_prompts(rows, "n_prompt_tokens"),
        "prefill_tokens_per_s": _prefill(rows),
    }


def _prefill(rows: pd.DataFrame) -> float | None:
    """The engine's prompt speed over many prompts: sums over sums, for prompts differ in length."""
    known = done(rows)[done(rows)["prefill_tokens_per_s"].notna()]
    return metrics.throughput_tokens_per_s(known["n_new_prompt_tokens"], known["prefill_ms"] / 1000)


def _quality(natural: pd.DataFrame) -> dict[str, Any]:
    shares = share_correct(natural)
    interval = stats.wilson(math.fsum(shares.values()), len(shares))
    known = judged(natural)
    seconds = metrics.seconds_per_correct(floats(known["latency_s"]), floats(known["correct"]))
    return {
        "n_judged": len(shares),
        "pass_rate": math.fsum(shares.values()) / len(shares) if shares else None,
        "pass_rate_low": interval.low if interval else None,
        "pass_rate_high": interval.high if interval else None,
        "seconds_per_correct": seconds,
    }


def _repeats(natural: pd.DataFrame) -> dict[str, Any]:
    """The share of prompts, among those with several replies, whose replies are all the same text."""
    ended = natural[natural["state"].isin((*metrics.COMPLETED, "empty"))]
    replies: dict[tuple, list[str]] = {}
    for prompt, reply in zip(prompts_of(ended), ended["response"], strict=True):
        replies.setdefault(prompt, []).append(reply)
    same = [len(set(texts)) == 1 for texts in replies.values() if len(texts) > 1]
    return {"identical_share": sum(same) / len(same) if same else None, "n_repeated": len(same)}


# ---------------------------------------------------------------- quality by check and category


def pass_rates(table: pd.DataFrame, by: Sequence[str] = ("category", "check")) -> pd.DataFrame:
    """How often checks passed, by configuration and any of `category`, `check` and `prompt_set`.

    `n` counts prompts; a prompt that passed 2 of 3 trials counts 2/3. Without "check" in `by`, a prompt passes
    if all its checks do. The interval is Wilson's, 95 %.
    """
    allowed = ("category", "check", "prompt_set")
    if unknown := [name for name in by if name not in allowed]:
        raise BenchkitError(f"pass_rates(by=…): {', '.join(unknown)} is not among {', '.join(allowed)}.")
    table = complete(table)
    rows = _by_check(table) if "check" in by else table.assign(passed=table["correct"])
    rows = rows[rows["passed"].notna()]
    keys = ["configuration", *by]
    groups = rows.groupby(keys, sort=False, dropna=False)
    found = [_pass_rate(dict(zip(keys, key, strict=True)), group) for key, group in groups]
    return pd.DataFrame(found, columns=[*keys, "n", "passed", "pass_rate", "low", "high"])


@dataclass(frozen=True)
class Rate:
    """How many prompts passed, with the Wilson interval; a prompt that passed 2 of 3 trials counts 2/3."""

    passed: float
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.passed / self.n

    @property
    def interval(self) -> str:
        """The interval in whole percent, or why there is none."""
        return "fixed set" if self.n < stats.MIN_PROMPTS else f"{100 * self.low:.0f}–{100 * self.high:.0f} %"

    def __str__(self) -> str:
        whole = abs(self.passed - round(self.passed)) < 1e-9
        return f"{round(self.passed) if whole else f'{self.passed:.3g}'}/{self.n}"


def rates(results: pd.DataFrame, by: str | None = None) -> dict[tuple[str, str], Rate]:
    """(configuration, group) → its pass rate: by "category", by "check", or of all prompts (group '')."""
    if not len(results):
        return {}
    table = pass_rates(results, (by,) if by else ())
    group = table[by].fillna("(none)") if by else [""] * len(table)
    keys = zip(table["configuration"], group, strict=True)
    values = zip(table["passed"], table["n"], table["low"], table["high"], strict=True)
    return {
        key: Rate(float(p), int(n), low, high) for key, (p, n, low, high) in zip(keys, values, strict=True)
    }


def _by_check(table: pd.DataFrame) -> pd.DataFrame:
    """One row a check. A failed request failed every check that its prompt has elsewhere."""
    natural = table[table["purpose"] == "quality"]
    asked: dict[tuple, dict[str, None]] = {}
    for prompt, checks in zip(prompts_of(natural), natural["checks"], strict=True):
        asked.setdefault(prompt, {}).update(dict.fromkeys(c["check"] for c in _ran(checks)))
    columns = ["configuration", "category", *PROMPT]
    rows = []
    for prompt, row in zip(prompts_of(natural), natural.to_dict("records"), strict=True):
        failed = row["state"] not in metrics.COMPLETED
        verdicts = dict.fromkeys(asked[prompt], False) if failed else _verdicts(row["checks"])
        rows += [{**{k: row[k] for k in columns}, "check": c, "passed": p} for c, p in verdicts.items()]
    return pd.DataFrame(rows, columns=[*columns, "check", "passed"])


def _verdicts(checks: Any) -> dict[str, bool]:
    """Check → passed; a name that a prompt checks twice passes if both do."""
    found: dict[str, bool] = {}
    for check in _ran(checks):
        found[check["check"]] = found.get(check["check"], True) and check["passed"]
    return found


def _ran(checks: Any) -> list[Mapping[str, Any]]:
    checks = checks if isinstance(checks, (list, tuple)) else ()
    return [check for check in checks if check.get("passed") is not None]


def _pass_rate(names: dict[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    shares = mean_by_prompt(prompts_of(rows), floats(rows["passed"]))
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
    """Two configurations side by side, paired by prompt: one row a question, with the effect and its interval.

    `ratio` is A/B, the median of the ratios prompt by prompt (of seconds per correct answer: of the totals);
    for the pass rate `difference` is A less B. The verdict is "not distinguishable" where the interval contains
    1 (or 0), "fixed set" below six prompts, and "disturbed", "invalid" or "one block each" where times must name no
    winner (see `note`). Decode speeds of natural lengths are shown and not compared. Without `b`, A stands against
    every other configuration; without both, every pair is compared.
    """
    table = complete(table)
    pairs = _pairs(configurations(table), a, b)
    rows = [row for pair in pairs for row in _compare(table, *pair)]
    return pd.DataFrame(rows, columns=list(COMPARED)).astype(dict.fromkeys(COMPARED_NUMBERS, "float64"))


COMPARED = ("a", "b", "metric", "unit", "value_a", "value_b", "ratio", "difference", "low", "high", "n", "verdict",
            "note")  # fmt: skip
COMPARED_NUMBERS = ("value_a", "value_b", "ratio", "difference", "low", "high")


def _pairs(known: list[str], a: str | None, b: str | None) -> list[tuple[str, str]]:
    """The pairs to compare, after a check that they exist."""
    for name in (a, b):
        if name is not None and name not in known:
            raise BenchkitError(
                f"{name!r} is not a configuration of these results{did_you_mean(name, known)}. "
                f"They hold: {', '.join(known) or 'none'}."
            )
    if a is None or b is None:
        one = a if a is not None else b
        return list(combinations(known, 2)) if one is None else [(one, name) for name in known if name != one]
    if a == b:
        raise BenchkitError(f"{a!r} was named twice. Compare two of: {', '.join(known)}.")
    return [(a, b)]


def _compare(table: pd.DataFrame, a: str, b: str) -> Iterator[dict[str, Any]]:
    apart = set(of(table, a)["run"]) != set(of(table, b)["run"])
    for row in (_compare_decode(table, a, b), *_compare_waits(table, a, b), _compare_quality(table, a, b),
                _compare_cost(table, a, b)):  # fmt: skip
        notes = [row["note"], "measured in different runs" if apart else ""]
        yield {**row, "note": "; ".join(filter(None, notes))}


def _line(metric: str, unit: str, names: tuple[str, str], values: tuple, c: Any, note: str = "",
          forbidden: tuple[str, str] | None = None) -> dict:  # fmt: skip
    """One row: the two values, the effect with its interval, and the verdict with the winner's name in it."""
    said = c.verdict
    if forbidden and said.startswith(("A ", "B ")):
        said, note = forbidden[0], "; ".join(filter(None, [note, forbidden[1]]))
    for letter, name in zip("AB", names, strict=True):
        said = f"{name} {c.verdict[2:]}" if said == c.verdict and said.startswith(f"{letter} ") else said
    effect = {"ratio": c.ratio} if isinstance(c, stats.Comparison) else {"difference": c.difference}
    return {
        "a": names[0], "b": names[1], "metric": metric, "unit": unit, "value_a": values[0], "value_b": values[1],
        **effect, "low": c.low, "high": c.high, "n": c.n, "verdict": said, "note": note,
    }  # fmt: skip


def _compare_decode(table: pd.DataFrame, a: str, b: str) -> dict[str, Any]:
    """Decode speeds at forced length; of natural replies only the values, for their lengths differ."""
    forced = all(len(of(table, name, "speed")) for name in (a, b))
    rows = [of(table, name, "speed" if forced else "quality") for name in (a, b)]
    values = [by_prompt(r, "decode_tokens_per_s") for r in rows]
    c = stats.paired_difference(*values, higher_is_faster=True)
    c = c if forced else stats.Comparison(None, None, None, c.n, NOT_COMPARED)
    note = f"{'forced' if forced else 'natural'} length: {_lengths(rows)}"
    forbidden = no_winner(table, (a, b), "speed")
    return _line("decode_tokens_per_s", "tok/s", (a, b), _medians(values), c, note, forbidden)


NOT_COMPARED = "natural lengths: not compared"


def _compare_waits(table: pd.DataFrame, a: str, b: str) -> Iterator[dict[str, Any]]:
    rows = [of(table, name, "quality") for name in (a, b)]
    forbidden = no_winner(table, (a, b), "quality")
    for column, unit in (("latency_s", "s"), ("ttft_ms", "ms")):
        values = [by_prompt(r, column) for r in rows]
        c = stats.paired_difference(*values)
        note = f"natural length: {_lengths(rows)}"
        yield _line(column, unit, (a, b), _medians(values), c, note, forbidden)


def _lengths(rows: Sequence[pd.DataFrame]) -> str:
    """How long the replies and prompts of A and B are, which stands beside every speed."""
    replies, prompts = (
        " and ".join(number(middle_over_prompts(r, column)) for r in rows)
        for column in ("n_output_tokens", "n_prompt_tokens")
    )
    return f"replies of {replies} tokens, prompts of {prompts} tokens (medians)"


def _compare_quality(table: pd.DataFrame, a: str, b: str) -> dict[str, Any]:
    shares = [share_correct(of(table, name, "quality")) for name in (a, b)]
    means = tuple(math.fsum(s.values()) / len(s) if s else None for s in shares)
    return _line("pass_rate", "share", (a, b), means, stats.paired_pass_difference(*shares))


def _compare_cost(table: pd.DataFrame, a: str, b: str) -> dict[str, Any]:
    values = [cost_and_correct(of(table, name, "quality")) for name in (a, b)]
    totals = tuple(cost(v) for v in values)
    c = stats.paired_seconds_per_correct(*values)
    return _line("seconds_per_correct", "s", (a, b), totals, c, forbidden=no_winner(table, (a, b), "quality"))


def _medians(values: Sequence[Mapping[tuple, float]]) -> tuple[float | None, ...]:
    return tuple(float(np.median(list(v.values()))) if v else None for v in values)


def smallest_distinguishable(table: pd.DataFrame) -> pd.DataFrame:
    """The smallest factors this machine could have told from 1: each model's second trial against its first.

    A null run inside every run with two trials or more: nothing differs but the moment. 1.08 means that
    differences under 8 % drown in noise. Empty below six prompts. Of one trial each, so a little pessimistic.
    """
    table = complete(table)
    rows = []
    for name in configurations(table):
        natural = of(table, name, "quality")
        first, second = (natural[natural["trial"] == trial] for trial in _first_two(natural["trial"]))
        null = {c: stats.smallest_difference(by_prompt(first, c), by_prompt(second, c)) for c in NULL_COLUMNS}
        rows.append({"configuration": name, "n": len(by_prompt(second, "latency_s")), **null})
    return pd.DataFrame(rows, columns=["configuration", "n", *NULL_COLUMNS])


NULL_COLUMNS = ("latency_s", "ttft_ms", "decode_tokens_per_s")


def _first_two(trials: pd.Series) -> tuple[Any, Any]:
    found = sorted(set(trials.dropna()))
    return (found[0], found[1]) if len(found) > 1 else (found[0] if found else -1, -1)
