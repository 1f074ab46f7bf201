"""What may be concluded: which model wins, and whether the run can be trusted at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from benchkit import metrics, stats
from benchkit.rows import (
    as_run,
    by_prompt,
    complete,
    configurations,
    cost,
    cost_and_correct,
    done,
    failed,
    largest,
    like_decode_rows,
    of,
    results,
    share_correct,
    unexplained_share,
)
from benchkit.text import counted, number, percent

MAX_UNEXPLAINED = 0.05  # of the response time; above it the ledger does not add up well enough
VALID, INCONCLUSIVE, INVALID = "VALID", "INCONCLUSIVE", "INVALID"


# ---------------------------------------------------------------- which model?


@dataclass(frozen=True)
class Card:
    """One question and its answer: a winner only where the data tell it from every other configuration.

    `outcome` is "winner", "not distinguishable", "fixed set", "no interval", "only one" or "not measured";
    `leader` is ahead in these numbers, whether or not that means anything; `value` is the leader's, as text.
    """

    title: str
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
    table = complete(table)
    names = configurations(table)
    found = [_fastest(table, names), _best(table, names), _smallest(table, names), _cheapest(table, names)]
    if table["run"].nunique() < 2:
        return found
    return [card if card.title == "smallest" else replace(card, reason=card.reason + APART) for card in found]


APART = "; measured in different runs: what changed in between cannot be told from the models"


def _fastest(table: pd.DataFrame, names: list[str]) -> Card:
    forced = [name for name in names if len(of(table, name, "speed"))]
    rows, note = like_decode_rows(table, forced or names)
    values = {name: by_prompt(r, "decode_tokens_per_s") for name, r in rows.items()}
    score = {name: float(np.median(list(v.values()))) for name, v in values.items() if v}
    left_out = [name for name in names if name not in forced] if forced else []
    note += f"; without forced-length replies, so not compared: {', '.join(left_out)}" if left_out else ""

    def against(leader: str, other: str) -> stats.Comparison:
        return stats.paired_difference(values[leader], values[other], higher_is_faster=True)

    return _card("fastest", score, against, lambda x: f"{number(x)} tok/s", note, _n(values))


def _best(table: pd.DataFrame, names: list[str]) -> Card:
    shares = {name: share_correct(of(table, name, "quality")) for name in names}
    score = {name: math.fsum(s.values()) / len(s) for name, s in shares.items() if s}

    def against(leader: str, other: str) -> stats.RateComparison:
        return stats.paired_pass_difference(shares[leader], shares[other])

    return _card(
        "best quality", score, against, percent, "share of prompts with every check passed", _n(shares)
    )


def _cheapest(table: pd.DataFrame, names: list[str]) -> Card:
    values = {name: cost_and_correct(of(table, name, "quality")) for name in names}
    seconds = {name: cost(v) for name, v in values.items() if v}
    score = {name: -s for name, s in seconds.items() if s and not math.isinf(s)}
    never = [name for name, s in seconds.items() if s and math.isinf(s)]
    note = f"never: {', '.join(never)}" if never else "wrong and failed replies cost their time too"

    def against(leader: str, other: str) -> stats.Comparison:
        return stats.paired_seconds_per_correct(values[leader], values[other])

    def show(value: float) -> str:
        return metrics.show_seconds_per_correct(-value)

    title = "fewest seconds per correct answer"
    if never and not score:
        return Card(
            title, None, "not measured", None, "never", _n(values)(never[0]), "no configuration got one right"
        )
    return _card(title, score, against, show, note, _n(values))


def _n(values: Mapping[str, Mapping]) -> Callable[[str], int]:
    return lambda name: len(values[name])


def _card(title: str, score: Mapping[str, float], against: Callable[[str, str], Any], show: Callable[[float], str],
          note: str, count: Callable[[str], int]) -> Card:  # fmt: skip
    """The leader by score (highest first), and whether it is told apart from each of the others."""
    if not score:
        return Card(title, None, "not measured", None, "–", 0, "nothing was measured that could tell")
    leader, *others = sorted(score, key=lambda c: -score[c])
    value = show(score[leader])
    if not others:
        return Card(title, None, "only one", leader, value, count(leader), f"nothing to compare with; {note}")
    found = {other: against(leader, other) for other in others}
    level = [other for other in others if score[other] == score[leader]]
    ahead = f"{leader} leads" if not level else f"{', '.join([leader, *level])} are level"
    outcome, because = _outcome(ahead, found)
    n = min(c.n for c in found.values())
    winner = leader if outcome == "winner" else None
    return Card(title, winner, outcome, leader, value, n, f"{because}; {note}" if note else because)


def _outcome(ahead: str, found: Mapping[str, Any]) -> tuple[str, str]:
    """What the leader's comparisons with each other configuration amount to, and why."""
    n = min(c.n for c in found.values())
    close = {other: c for other, c in found.items() if not c.verdict.startswith("A ")}
    if any(c.verdict == stats.FIXED_SET for c in close.values()):
        few = f"{counted(n, 'prompt')} in common make a fixed set"
        return stats.FIXED_SET, f"{ahead}, but {few}: to say more takes {stats.MIN_PROMPTS}"
    if any(c.verdict == stats.NO_INTERVAL for c in close.values()):
        needs = f"{stats.MIN_PROMPTS_FOR_SECONDS} prompts and {stats.MIN_CORRECT_FOR_SECONDS} correct answers each"
        return stats.NO_INTERVAL, f"{ahead}, but an interval that holds needs {needs}"
    if close:
        like = ", ".join(close)
        return stats.NOT_DISTINGUISHABLE, f"{ahead}, but not told apart from {like} (n = {n})"
    other, c = next(iter(found.items()))
    others = counted(len(found), "other")
    return "winner", f"told apart from each of {others}; next is {other}: {_effect(c)} (n = {c.n})"


def _effect(c: stats.Comparison | stats.RateComparison) -> str:
    if isinstance(c, stats.RateComparison):
        return f"{100 * c.difference:+.0f} points, 95 % interval {100 * c.low:+.0f} to {100 * c.high:+.0f}"
    return f"{number(c.ratio)} ×, 95 % interval {number(c.low)} to {number(c.high)}"


def _smallest(table: pd.DataFrame, names: list[str]) -> Card:
    sizes = {name: largest(of(table, name)["size_mib"]) for name in names}
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
        table, whole, notes = complete(run), [], []
    else:
        run = as_run(run)
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
    if not len(done(table)):
        return ["no request was completed"]
    found = [f"{name}: {len(bad)} of {counted(len(rows), 'request')} failed"
             for name, rows, bad in _by_configuration(table) if 2 * len(bad) > len(rows)]  # fmt: skip
    broken = table[table["clock_faults"].notna()]
    if len(broken):
        found.append(
            f"time stamps contradict each other in {counted(len(broken), 'request')}: {broken['clock_faults'].iloc[0]}"
        )
    return found


def _doubts(table: pd.DataFrame) -> list[str]:
    found = []
    for name, rows, bad in _by_configuration(table):
        if 0 < 2 * len(bad) <= len(rows):
            states = ", ".join(f"{n} {state}" for state, n in bad["state"].value_counts().items())
            found.append(f"{name}: {len(bad)} of {counted(len(rows), 'request')} failed ({states}), so its times are "
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
        if len(done(rows)) and unexplained_share(rows) is None:
            notes.append(f"{name}: its engine gives no times, so the ledger cannot be checked")
        if done(rows)["first_chunk_tokens_assumed"].fillna(False).any():
            notes.append(
                f"{name}: the first chunk was taken for one token; see the engine's own decode speed beside it"
            )
    return notes


def _by_configuration(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    for name in configurations(table):
        rows = of(table, name)
        yield name, rows, failed(rows)
