"""What may be concluded: which model wins, and whether the run can be trusted at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from benchkit import machine, metrics, stats
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

    `outcome` is "winner", "not distinguishable", "fixed set", "no interval", "disturbed", "invalid", "one block
    each", "only one" or "not measured"; `leader` is ahead in these numbers, whether or not that means anything;
    `value` is the leader's, as text.
    """

    title: str
    winner: str | None
    outcome: str
    leader: str | None
    value: str
    n: int
    reason: str


def cards(table: pd.DataFrame) -> list[Card]:
    """The fastest, the best, the smallest, the one with the fewest seconds per correct answer, the lowest perplexity.

    The leader is compared with every other configuration, prompt by prompt; it wins only if all those
    comparisons tell them apart, and by time only if nothing forbids that (see `no_winner`). Size is exact and
    needs no statistics; perplexities stand there only if they were measured.
    """
    table = complete(table)
    names = configurations(table)
    found = [_unless(no_winner(table, names, "speed"), _fastest(table, names)), _best(table, names),
             _smallest(table, names), _unless(no_winner(table, names, "quality"), _cheapest(table, names))]  # fmt: skip
    if table["perplexity"].notna().any():
        found.append(_least_surprised(table, names))
    if table["run"].nunique() < 2:
        return found
    return [card if card.title in ("smallest", LOWEST) else replace(card, reason=card.reason + APART) for card in found]


APART = "; measured in different runs: what changed in between cannot be told from the models"


def no_winner(table: pd.DataFrame, names: Sequence[str], purpose: str) -> tuple[str, str] | None:
    """What forbids to name a winner by time among configurations: an outcome and the reason; None if nothing does.

    `purpose` says which replies are compared. Stamps or failures that void the run, disturbed blocks, or one
    block of requests for each: then what the machine did meanwhile cannot be told from what the model did.
    """
    rows = table[table["configuration"].isin(names)]
    if faults := _faults(rows):
        return "invalid", "; ".join(faults)
    if disturbed := [reason for name in names for reason in _disturbed(name, of(rows, name))]:
        return "disturbed", "; ".join(disturbed)
    n_blocks = [of(rows, name, purpose)["block_turn"].nunique() for name in names]
    if len(names) > 1 and max(n_blocks) == 1:
        return "one block each", "each was measured in one block: drift cannot be told from the model"
    return None


def _unless(forbidden: tuple[str, str] | None, card: Card) -> Card:
    """The card, without its winner where something forbids to name one."""
    if card.winner is None or forbidden is None:
        return card
    outcome, reason = forbidden
    return replace(card, winner=None, outcome=outcome, reason=f"{card.leader} leads, but {reason}")


def _fastest(table: pd.DataFrame, names: list[str]) -> Card:
    values = {name: by_prompt(of(table, name, "speed"), "decode_tokens_per_s") for name in names}
    score = {name: float(np.median(list(v.values()))) for name, v in values.items() if v}
    if names and not score:
        return Card("fastest", None, "not measured", None, "–", 0,
                    "natural replies differ in length; only those of forced length compare speeds: run with --speed")  # fmt: skip

    def against(leader: str, other: str) -> stats.Comparison:
        return stats.paired_difference(values[leader], values[other], higher_is_faster=True)

    return _card("fastest", score, against, lambda x: f"{number(x)} tok/s", "forced length", values)


def _best(table: pd.DataFrame, names: list[str]) -> Card:
    shares = {name: share_correct(of(table, name, "quality")) for name in names}
    score = {name: math.fsum(s.values()) / len(s) for name, s in shares.items() if s}

    def against(leader: str, other: str) -> stats.RateComparison:
        return stats.paired_pass_difference(shares[leader], shares[other])

    return _card("best quality", score, against, percent, "share of prompts with every check passed", shares)


def _cheapest(table: pd.DataFrame, names: list[str]) -> Card:
    values = {name: cost_and_correct(of(table, name, "quality")) for name in names}
    seconds = {name: cost(v) for name, v in values.items() if v}
    score = {name: -s for name, s in seconds.items() if s is not None}
    never = [name for name, s in score.items() if math.isinf(s)]
    note = f"never: {', '.join(never)}" if never else "wrong and failed replies cost their time too"

    def against(leader: str, other: str) -> stats.Comparison:
        return stats.paired_seconds_per_correct(values[leader], values[other])

    def show(value: float) -> str:
        return metrics.show_seconds_per_correct(-value)

    title = "fewest seconds per correct answer"
    if never and len(never) == len(score):
        reason = "no configuration got one right"
        return Card(title, None, "not measured", None, "never", len(values[never[0]]), reason)
    return _card(title, score, against, show, note, values)


LOWEST = "lowest perplexity"


def _least_surprised(table: pd.DataFrame, names: list[str]) -> Card:
    scored = {name: rows.iloc[0] for name in names if len(rows := of(table[table["perplexity"].notna()], name))}
    texts = {row["perplexity_on"] for row in scored.values()}
    if len(scored) > 1 and (len(texts) > 1 or None in texts):
        return Card(LOWEST, None, "not comparable", None, "–", 0, "measured on different texts, windows or tokenizers")
    values = {name: dict(enumerate(scored[name]["nll_by_window"] or ())) if name in scored else {} for name in names}

    def against(leader: str, other: str) -> stats.Comparison:
        return stats.paired_perplexity(values[leader], values[other])

    score = {name: -row["perplexity"] for name, row in scored.items()}
    return _card(LOWEST, score, against, lambda x: number(-x), "the same text, window by window", values, "window")


def _card(title: str, score: Mapping[str, float], against: Callable[[str, str], Any], show: Callable[[float], str],
          note: str, values: Mapping[str, Mapping], noun: str = "prompt") -> Card:  # fmt: skip
    """The leader by score (highest first), and whether it is told apart from each of the others.

    `values` holds each configuration's prompts (or other pairs): one that has none cannot lose, so then nobody wins.
    """
    if not score:
        return Card(title, None, "not measured", None, "–", 0, "nothing was measured that could tell")
    missing = [name for name in values if name not in score]
    note += f"; nothing to compare of {', '.join(missing)}" if missing else ""
    leader, *others = sorted(score, key=lambda c: -score[c])
    value = show(score[leader])
    if not others:
        return Card(
            title, None, "only one", leader, value, len(values[leader]), f"nothing to compare with; {note}"
        )
    found = {other: against(leader, other) for other in others}
    level = [other for other in others if score[other] == score[leader]]
    ahead = f"{leader} leads" if not level else f"{', '.join([leader, *level])} are level"
    outcome, because = _outcome(ahead, found, level, noun)
    if outcome == "winner" and missing:
        outcome, because = stats.NO_INTERVAL, f"{leader} leads, but not all could be compared"
    n = min(c.n for c in found.values())
    winner = leader if outcome == "winner" else None
    return Card(title, winner, outcome, leader, value, n, f"{because}; {note}")


def _outcome(ahead: str, found: Mapping[str, Any], level: Sequence[str], noun: str) -> tuple[str, str]:
    """What the leader's comparisons with each other configuration amount to, and why."""
    n = min(c.n for c in found.values())
    close = {other: c for other, c in found.items() if not c.verdict.startswith("A ")}
    if any(c.verdict == stats.FIXED_SET for c in close.values()):
        few = f"{counted(n, noun)} in common make a fixed set"
        return stats.FIXED_SET, f"{ahead}, but {few}: to say more takes {stats.MIN_PROMPTS}"
    if any(c.verdict == stats.NO_INTERVAL for c in close.values()):
        needs = f"{stats.MIN_PROMPTS_FOR_SECONDS} prompts and {stats.MIN_CORRECT_FOR_SECONDS} correct answers each"
        return stats.NO_INTERVAL, f"{ahead}, but an interval that holds needs {needs}"
    if close:
        like = ", ".join(other for other in close if other not in level)
        return (
            stats.NOT_DISTINGUISHABLE,
            f"{ahead}{f', but not told apart from {like}' if like else ''} (n = {n})",
        )
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
    missing = [name for name in names if sizes[name] is None]
    reason = (
        f"as large as {', '.join(equal)}" if equal else "size of the model file: exact, no interval needed"
    )
    reason += f"; not known: {', '.join(missing)}" if missing else ""
    outcome = "only one" if len(known) == 1 else stats.NOT_DISTINGUISHABLE if equal or missing else "winner"
    winner = leader if outcome == "winner" else None
    return Card("smallest", winner, outcome, leader, f"{number(size)} MiB", len(known), reason)


# ---------------------------------------------------------------- can it be trusted?


@dataclass(frozen=True)
class Verdict:
    """VALID, INCONCLUSIVE or INVALID, with the reasons, and notes that change nothing but should be known."""

    state: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def verdict(run: Any, table: pd.DataFrame | None = None) -> Verdict:
    """Whether a run's numbers can be trusted, and why not. Takes a run, its folder, or a table of results.

    `table` spares a second reading where the run's own results are at hand.

    INVALID: nothing was completed, most requests failed, or stamps contradict each other. INCONCLUSIVE: the
    run is not complete, its engine changed on the way, requests failed, a block of requests was disturbed, or more
    than 5 % of the response time is unexplained. The quality of replies is no reason: a wrong answer is a result.
    """
    if isinstance(run, pd.DataFrame):
        table, whole, notes = complete(run), [], []
    else:
        run = as_run(run)
        table = results(run) if table is None else complete(table)
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
    for session in (run.manifest or {}).get("sessions") or ():
        for note in session.get("notes") or ():
            said = reasons if note.startswith(ENGINE_CHANGES) else notes
            said.append(f"changed during the run: {note}")
    return reasons, notes


#: How a session's note begins (see `bench.machine_changes`) that tells of another engine: speeds of two are mixed.
ENGINE_CHANGES = ("packages.llama-cpp-python ", "llama_cpp")


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
        if how := rows["not_weighed"].dropna().unique().tolist():
            found.append(f"{name}: scale not weighed: what this instrument's own error is, `{how[0]}` shows; then the "
                         "same run again notes it")  # fmt: skip
    return found


def _disturbed(name: str, rows: pd.DataFrame) -> list[str]:
    """The blocks of a configuration that are void, or that began cold: every row of a block knows it."""
    blocks = rows[rows["block_void"].notna()].drop_duplicates(["run", "block_id"])
    void, cold = blocks[blocks["block_void"].astype(bool)], blocks[~blocks["block_warmed"].fillna(True)]
    n, found = counted(len(blocks), "block"), []
    if len(void):
        why = void["block_reasons"].dropna()
        found.append(
            f"{name}: {len(void)} of {n} of requests disturbed{f': {why.iloc[0]}' if len(why) else ''}"
        )
    if len(cold):
        found.append(f"{name}: {len(cold)} of {n} of requests began cold: its warm-up failed")
    return found


def _notes(table: pd.DataFrame) -> list[str]:
    notes = []
    for name, rows, _ in _by_configuration(table):
        n_empty = int((rows["state"] == "empty").sum())
        if n_empty:
            notes.append(f"{name}: {n_empty} of {counted(len(rows), 'reply')} had no text")
        if rows["block_judged"].eq(False).any():
            notes.append(f"{name}: its blocks are too short to judge whether other programs disturbed them (less than "
                         f"{machine.MIN_JUDGED_S:g} s together)")  # fmt: skip
        n_short = int((rows["purpose"] == "cut short").sum())
        if n_short:
            notes.append(f"{name}: {counted(n_short, 'reply')} of forced length ended early, for the server cannot be told "
                         "to go on; decode speed is of the others")  # fmt: skip
        n_other = int((rows["cache_asked"].notna() & (rows["cache"] != rows["cache_asked"])).sum())
        if n_other:
            notes.append(f"{name}: the cache was not as asked for in {counted(n_other, 'request')}")
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
