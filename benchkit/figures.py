"""Figures of a run. Each function returns `(fig, alt)`: alt is the sentence that says what the figure shows.

    show(*latency_figure(results))

A configuration keeps its colour *and* its marker in every figure; intervals are named where they are drawn,
and where fewer than six prompts allow none the figure says "fixed set".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from scipy.stats import theilslopes

from benchkit import metrics, stats, tables
from benchkit.canvas import (
    COLOURS,
    GREY,
    INK,
    FigureAndAlt,
    Look,
    beside,
    canvas,
    drawable,
    is_wide,
    label,
    looks,  # fmt: skip
    nothing,
    png,
    rows,
    save,
    scale_x,
    scattered,
    show,
    styled,
)
from benchkit.recording import Recording
from benchkit.rows import by_prompt, configurations
from benchkit.tables import Rate, rates
from benchkit.text import counted, number, percent, visible

__all__ = ["checks_figure", "decode_figure", "ecdf_figure", "latency_figure", "length_figure", "memory_figure",
           "pareto_front", "png", "quality_figure", "save", "seconds_per_correct_figure", "show",
           "timeline_figure", "tradeoff_figure", "ttft_figure"]  # fmt: skip


# ---------------------------------------------------------------- one value a prompt


@dataclass(frozen=True)
class Spread:
    """One configuration's values, one a prompt, with their median and what may be said about it."""

    values: np.ndarray
    median: float
    interval: stats.Interval | None  # None: a fixed set
    p95: float | None = None

    @property
    def n(self) -> int:
        return len(self.values)


def _spread(values: Iterable[float], tail: bool = False) -> Spread:
    values = np.sort(np.array(list(values), dtype=float))
    p95 = stats.percentile(values, 95).value if tail else None
    return Spread(values, float(np.median(values)), stats.median_interval(values), p95)


def _by_prompt(results: pd.DataFrame, column: str, purpose: str = "quality") -> dict[str, dict[tuple, float]]:
    """For each configuration one value a prompt: the median over its completed trials."""
    if not len(results) or column not in results:
        return {}
    wanted = results[results["purpose"] == purpose]
    found = {c: by_prompt(wanted[wanted["configuration"] == c], column) for c in _names(results)}
    return {c: values for c, values in found.items() if values}


def _spreads(
    results: pd.DataFrame, column: str, purpose: str = "quality", tail: bool = False
) -> dict[str, Spread]:
    return {c: _spread(v.values(), tail) for c, v in _by_prompt(results, column, purpose).items()}


def _names(table: pd.DataFrame) -> list[str]:
    return configurations(table) if "configuration" in table else []


def _range(s: Spread) -> str:
    return "fixed set" if s.interval is None else f"{number(s.interval.low)}–{number(s.interval.high)}"


def _told(s: Spread, unit: str) -> str:
    """A spread in words, for a sentence."""
    if s.interval is None:
        return f"median {number(s.median)} {unit} (a fixed set of {counted(s.n, 'prompt')}, so no interval)"
    tail = f", P95 {number(s.p95)} {unit}" if s.p95 is not None else ""
    low, high = number(s.interval.low), number(s.interval.high)
    return f"median {number(s.median)} {unit} (95 % interval {low} to {high}, n = {s.n} prompts{tail})"


def _list(parts: Iterable[str]) -> str:
    return "; ".join(parts)


def _trials(results: pd.DataFrame) -> str:
    """What a mark is, where a prompt was asked more than once."""
    natural = results[results["purpose"] == "quality"]
    n = natural["trial"].nunique() if "trial" in natural else 1
    return "" if n <= 1 else f" (the median of its {n} trials)"


def _strip(ax: Any, y: float, s: Spread, look: Look, height: float = 0.52, fill: str = "white") -> None:
    """Each prompt a mark, over them the median with its interval, and P95 where n allows one."""
    ax.scatter(s.values, y + height * scattered(s.n), s=16, marker=look.marker, color=look.colour, alpha=0.55,
               linewidth=0, zorder=2)  # fmt: skip
    if s.interval is not None:
        ax.plot([s.interval.low, s.interval.high], [y, y], color=INK, lw=3.2, zorder=3, solid_capstyle="butt")
    ax.plot(
        s.median, y, marker=look.marker, ms=9 if height > 0.4 else 8, mfc=fill, mec=INK, mew=1.5, zorder=4
    )
    if s.p95 is not None:
        ax.plot([s.p95] * 2, [y - 0.33, y + 0.33], color=INK, lw=1.4, ls=(0, (3, 1.5)), zorder=3)


def _strip_note(spreads: Iterable[Spread]) -> str:
    """How to read strips, naming only what is drawn."""
    spreads = list(spreads)
    parts = ["Large mark: median over prompts"]
    if any(s.interval is not None for s in spreads):
        parts.append("thick bar, and the range beside it: 95 % interval of the median")
    if any(s.p95 is not None for s in spreads):
        parts.append("dashed line: P95")
    if any(s.interval is None for s in spreads):
        parts.append("fixed set: fewer than six prompts, so no interval")
    return "; ".join(parts) + "."


def _strips(results: pd.DataFrame, column: str, title: str, axis: str, unit: str) -> FigureAndAlt:
    """One row a configuration, one mark a prompt."""
    spreads = _spreads(results, column, tail=True)
    if not spreads:
        return nothing(title, "no request was completed")
    subtitle = f"Each small mark is one prompt{_trials(results)}; replies stop by themselves."
    fig, ax = canvas(title, subtitle, 1.75 + 0.62 * len(spreads), _strip_note(spreads.values()))
    look = looks(_names(results))
    for y, (name, s) in enumerate(spreads.items()):
        _strip(ax, y, s, look[name])
        beside(ax, y, f"{number(s.median)} {unit}\n{_range(s)}, n = {s.n}")
    rows(ax, list(spreads))
    scale = scale_x(ax, np.concatenate([s.values for s in spreads.values()]))
    ax.set_xlabel(f"{axis} ({unit}{scale})")
    told = _list(f"{name} {_told(s, unit)}" for name, s in spreads.items())
    return fig, visible(f"{title}, one mark a prompt: {told}.")


@styled
def latency_figure(results: pd.DataFrame) -> FigureAndAlt:
    """How long whole replies took: one mark a prompt, the median and its interval."""
    return _strips(results, "latency_s", "Latency by configuration", "Latency of the whole reply", "s")


@styled
def ttft_figure(results: pd.DataFrame) -> FigureAndAlt:
    """How long until the first token: one mark a prompt, the median and its interval."""
    fig, alt = _strips(results, "ttft_ms", "Time to first token by configuration", "TTFT", "ms")
    lengths = [n for values in _by_prompt(results, "n_prompt_tokens").values() for n in values.values()]
    return fig, alt + (
        f" Prompts were {min(lengths):,.0f} to {max(lengths):,.0f} tokens long." if lengths else ""
    )


@styled
def ecdf_figure(results: pd.DataFrame) -> FigureAndAlt:
    """The share of prompts answered within a given time: where a curve ends late, the tail is long."""
    title = "Share of prompts answered within a time"
    spreads = _spreads(results, "latency_s")
    if not spreads:
        return nothing(title, "no request was completed")
    fig, ax = canvas(title, f"Each step is one prompt{_trials(results)}; replies stop by themselves.", 4.2,
                     "Read across at 50 % for the median, at 95 % for P95 (a number only from 59 prompts).")  # fmt: skip
    look = looks(_names(results))
    for i, (name, s) in enumerate(spreads.items()):
        _steps(ax, s, look[name], ("-", "--", "-.", ":")[i % 4], f"{label(name, 40)} (n = {s.n})")
    for share, word in ((50, "median"), (95, "P95")):
        ax.axhline(share, color=GREY, lw=0.9, ls=(0, (2, 2)), zorder=1)
        beside(ax, share, word, color=GREY)
    scale = scale_x(ax, np.concatenate([s.values for s in spreads.values()]))
    ax.set(xlabel=f"Latency of the whole reply (s{scale})", ylabel="Prompts answered (%)", ylim=(0, 102))
    ax.legend(loc="upper left" if scale else "lower right")
    told = _list(f"{name} half within {number(s.median)} s and all within {number(s.values.max())} s (n = "
                 f"{counted(s.n, 'prompt')})" for name, s in spreads.items())  # fmt: skip
    return fig, visible(f"{title}: {told}.")


def _steps(ax: Any, s: Spread, look: Look, dashes: str, name: str) -> None:
    share = 100 * np.arange(1, s.n + 1) / s.n
    ax.plot(np.r_[s.values[0], s.values], np.r_[0, share], drawstyle="steps-post", color=look.colour, lw=2,
            ls=dashes, label=name, marker=look.marker, ms=6, markevery=max(1, s.n // 6), mec="white", mew=0.6)  # fmt: skip


@styled
def length_figure(results: pd.DataFrame) -> FigureAndAlt:
    """Latency against the length of the reply: the slope is the price of one more token."""
    title = "Latency against the length of the reply"
    pairs = _lengths_and_seconds(results)
    if not pairs:
        return nothing(title, "no completed request has both a latency and a token count")
    fig, ax = canvas(title, f"Each mark is one prompt{_trials(results)}; replies stop by themselves.", 4.4,
                     "Lines: Theil–Sen fits, from six prompts on; they describe, and carry no interval.")  # fmt: skip
    look = looks(_names(results))
    slopes = {c: _slope_line(ax, p, look[c], c) for c, p in pairs.items()}
    ax.set(xlabel="Length of the reply (output tokens)", ylabel="Latency of the whole reply (s)")
    ax.set_xlim(left=0)
    ax.set_ylim(0, ax.get_ylim()[1] * (1.06 + 0.075 * len(pairs)))  # room for the legend
    ax.legend(loc="upper left")
    told = _list(f"{c} {_slope_said(slopes[c])} (n = {counted(len(p), 'prompt')}, replies of "
                 f"{p[:, 0].min():,.0f} to {p[:, 0].max():,.0f} tokens)" for c, p in pairs.items())  # fmt: skip
    return fig, visible(f"{title}: {told}.")


def _lengths_and_seconds(results: pd.DataFrame) -> dict[str, np.ndarray]:
    """For each configuration one row a prompt: output tokens, seconds."""
    tokens, seconds = _by_prompt(results, "n_output_tokens"), _by_prompt(results, "latency_s")
    pairs = {
        c: [(tokens[c][p], s) for p, s in seconds[c].items() if p in tokens[c]]
        for c in seconds
        if c in tokens
    }
    return {c: np.array(p) for c, p in pairs.items() if p}


def _slope_line(ax: Any, pairs: np.ndarray, look: Look, name: str) -> float | None:
    """Marks and their Theil–Sen line; returns ms a token, None where no line can be drawn."""
    tokens, seconds = pairs.T
    can_fit = len(pairs) >= stats.MIN_PROMPTS and len(set(tokens)) > 1
    slope, start = theilslopes(seconds, tokens)[:2] if can_fit else (None, None)
    said = _slope_said(None if slope is None else 1000 * slope)
    ax.plot(tokens, seconds, ls="", marker=look.marker, ms=5.5, color=look.colour, alpha=0.75, mec="white",
            mew=0.4, label=f"{label(name, 40)}: {said}, n = {len(pairs)}")  # fmt: skip
    if slope is None:
        return None
    ends = np.array([tokens.min(), tokens.max()])
    ax.plot(ends, start + slope * ends, color=look.colour, lw=1.5, zorder=1)
    return float(1000 * slope)


def _slope_said(ms: float | None) -> str:
    return "too few lengths for a line" if ms is None else f"{number(ms)} ms a further token"


@styled
def decode_figure(results: pd.DataFrame) -> FigureAndAlt:
    """Decode speed, replies of forced and of natural length apart: only the forced ones may be compared."""
    title = "Decode speed by configuration"
    forced, natural = (_spreads(results, "decode_tokens_per_s", p) for p in ("speed", "quality"))
    names = [c for c in _names(results) if c in forced or c in natural]
    if not names:
        return nothing(title, "no completed reply was long enough to have a decode speed")
    spreads = [*forced.values(), *natural.values()]
    note = _strip_note(spreads) + " Natural replies differ in length: read their speeds, do not rank by them."
    fig, ax = canvas(
        title, _decode_subtitle(results, bool(forced)), 1.7 + (0.85 if forced else 0.6) * len(names), note
    )
    look = looks(_names(results))
    for y, name in enumerate(names):
        for at, s, kind in _decode_rows(y, forced.get(name), natural.get(name)):
            _strip(ax, at, s, look[name], 0.24, look[name].colour if kind == "forced" else "white")
            beside(ax, at, f"{kind}: {number(s.median)} ({_range(s)}), n = {s.n}")
    rows(ax, names)
    scale = scale_x(ax, np.concatenate([s.values for s in spreads]))
    ax.set_xlabel(f"Decode speed (tok/s{scale})")
    told = _list(f"{c} {_decode_told(forced.get(c), natural.get(c))}" for c in names)
    return fig, visible(f"{title}, one reply at a time: {told}.")


def _decode_subtitle(results: pd.DataFrame, any_forced: bool) -> str:
    if not any_forced:
        return "Natural replies only: the run has no forced-length block. Each mark is one prompt."
    out, prompt = (_lengths(results, column) for column in ("n_output_tokens", "n_prompt_tokens"))
    return (f"Filled: replies forced to {out} tokens after a prompt of {prompt}. White: natural replies. "
            "Each mark is one prompt.")  # fmt: skip


def _lengths(results: pd.DataFrame, column: str) -> str:
    """The lengths of forced requests in words: one number where all are alike."""
    found = [n for values in _by_prompt(results, column, "speed").values() for n in values.values()]
    if not found:
        return "?"
    low, high = f"{min(found):,.0f}", f"{max(found):,.0f}"
    return low if low == high else f"{low} to {high}"


def _decode_rows(y: float, forced: Spread | None, natural: Spread | None) -> list[tuple[float, Spread, str]]:
    if forced is not None and natural is not None:
        return [(y - 0.2, forced, "forced"), (y + 0.2, natural, "natural")]
    return [(y, forced, "forced")] if forced is not None else [(y, natural, "natural")]


def _decode_told(forced: Spread | None, natural: Spread | None) -> str:
    parts = (("forced length", forced), ("natural replies", natural))
    return ", ".join(f"{kind} {_told(s, 'tok/s')}" for kind, s in parts if s is not None)


# ---------------------------------------------------------------- quality


@styled
def quality_figure(results: pd.DataFrame) -> FigureAndAlt:
    """How many prompts each configuration got right, by category: a heat map with the counts in its cells."""
    title = "Quality by category"
    cells, overall = rates(results, "category"), rates(results)
    if not cells:
        return nothing(title, "no prompt of this run has a check")
    names, groups = list(dict.fromkeys(c for c, _ in cells)), list(dict.fromkeys(g for _, g in cells))
    subtitle = f"Prompts that passed every check, of all in the category{_shares_of_trials(results)}."
    fig, (heat, total) = canvas(title, subtitle, 2.1 + 0.29 * max(3, len(groups)) + 0.34 * len(names),
                                _quality_note(overall.values()) + _unrun_note(results), nrows=2,
                                height_ratios=[len(groups) + 1, max(2.2, 1.15 * len(names))])  # fmt: skip
    _heat(heat, names, groups, cells)
    look = looks(_names(results))
    for y, name in enumerate(names):
        _dot(total, y, overall[name, ""], look[name])
        beside(total, y, f"{overall[name, '']}  ({overall[name, ''].interval})")
    rows(total, names)
    total.set(xlim=(-2, 102), xlabel="Prompts correct, all categories (%)")
    told = _list(f"{c} {_rate_told(overall[c, ''])}, {_extremes(c, groups, cells)}" for c in names)
    return fig, visible(f"{title}, prompts that passed every check: {told}.")


def _shares_of_trials(results: pd.DataFrame) -> str:
    return "; a prompt counts by the share of its trials that passed" if _trials(results) else ""


def _quality_note(found: Iterable[Rate]) -> str:
    if all(rate.n < stats.MIN_PROMPTS for rate in found):
        return "Fixed set: fewer than six prompts, so what is shown holds for these prompts only."
    return "Lower part: bars are 95 % Wilson intervals; n counts prompts."


def _unrun_note(results: pd.DataFrame) -> str:
    unrun = any(c["passed"] is None for checks in results["checks"].dropna() for c in checks)
    return " A check that was not run (generated code) does not count." if unrun else ""


def _heat(ax: Any, names: list[str], groups: list[str], cells: Mapping[tuple[str, str], Rate]) -> None:
    """The heat map: one column a configuration, one row a group, the counts as text."""
    shares = pd.DataFrame(
        [[100 * cells[c, g].share if (c, g) in cells else np.nan for c in names] for g in groups]
    )
    texts = np.array([[str(cells.get((c, g), "–")) for c in names] for g in groups])
    sns.heatmap(shares, ax=ax, vmin=0, vmax=100, cmap="crest", linewidths=1.5, annot=texts, fmt="",
                annot_kws={"fontsize": 9.5}, cbar_ax=ax.inset_axes((1.02, 0, 0.025, 1)))  # fmt: skip
    for text in ax.texts:
        x, y = (int(v) for v in text.get_position())
        text.set_color(readable_on(ax.collections[0].to_rgba(shares.iat[y, x])))
    for y, x in zip(*np.nonzero(shares.isna().to_numpy()), strict=True):  # what a configuration was not asked
        ax.text(x + 0.5, y + 0.5, "–", ha="center", va="center", color=GREY)
    ax.collections[0].colorbar.set_label("prompts correct (%)")
    ax.collections[0].colorbar.outline.set_visible(False)
    _heat_labels(ax, names, groups)


def _heat_labels(ax: Any, names: list[str], groups: list[str]) -> None:
    """Names of the columns on top, slanted where there are many."""
    slant = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if len(names) > 6 else {"rotation": 0}
    ax.set_xticks(np.arange(len(names)) + 0.5, [label(name, 40 if len(names) > 6 else 18) for name in names], **slant)
    ax.set_yticks(np.arange(len(groups)) + 0.5, [label(group, 30) for group in groups], rotation=0)
    ax.tick_params(axis="both", length=0, labeltop=True, labelbottom=False)
    ax.tick_params(axis="x", top=False, bottom=False)


def readable_on(background: tuple[float, ...]) -> str:
    """Black or white, whichever contrasts more by WCAG's formula.

    >>> readable_on((1, 1, 1)), readable_on((0.1, 0.1, 0.4))
    ('black', 'white')
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def _dot(ax: Any, y: float, rate: Rate, look: Look, size: float = 8) -> None:
    if rate.n >= stats.MIN_PROMPTS:
        ax.plot([100 * rate.low, 100 * rate.high], [y, y], color=INK, lw=2.2, zorder=2, solid_capstyle="butt")
    ax.plot(100 * rate.share, y, marker=look.marker, ms=size, mfc=look.colour, mec=INK, mew=1, zorder=3, clip_on=False)


def _rate_told(rate: Rate) -> str:
    why = "a fixed set, so no interval" if rate.n < stats.MIN_PROMPTS else f"95 % interval {rate.interval}"
    return f"{rate} prompts, {percent(rate.share)} ({why})"


def _extremes(name: str, groups: list[str], cells: Mapping[tuple[str, str], Rate]) -> str:
    own = {g: cells[name, g] for g in groups if (name, g) in cells}
    best, worst = max(own, key=lambda g: own[g].share), min(own, key=lambda g: own[g].share)
    if own[best].share == own[worst].share:
        return f"the same share in {counted(len(own), 'category')}"
    return f"best in {best} ({own[best]}), worst in {worst} ({own[worst]})"


@styled
def checks_figure(results: pd.DataFrame) -> FigureAndAlt:
    """How often each check passed: one panel a configuration, one row a check, with Wilson intervals."""
    title = "Quality by check"
    cells = rates(results, "check")
    if not cells:
        return nothing(title, "no check was run")
    names, groups = list(dict.fromkeys(c for c, _ in cells)), list(dict.fromkeys(g for _, g in cells))
    n_rows = math.ceil(len(names) / 4)
    subtitle = (
        f"Prompts whose reply passed the check{_shares_of_trials(results)}. Beside each row: passed/asked."
    )
    note = "Bars: 95 % Wilson intervals, n counts prompts; none below six prompts (fixed set)."
    fig, axes = canvas(title, subtitle, 1.35 + n_rows * (0.62 + 0.27 * len(groups)), note, nrows=n_rows,
                       ncols=min(4, len(names)), sharey=True, sharex=True, squeeze=False)  # fmt: skip
    look = looks(_names(results))
    for i, ax in enumerate(axes.flat):
        ax.set_visible(i < len(names))
        if i < len(names):
            _check_panel(ax, names[i], groups, cells, look[names[i]])
    told = _list(f"{c} " + ", ".join(f"{g} {cells[c, g]}" for g in groups if (c, g) in cells) for c in names)
    return fig, visible(f"{title}, prompts passed of prompts asked: {told}.")


def _check_panel(
    ax: Any, name: str, groups: list[str], cells: Mapping[tuple[str, str], Rate], look: Look
) -> None:
    for y, group in enumerate(groups):
        if (name, group) in cells:
            _dot(ax, y, cells[name, group], look, size=6.5)
            beside(ax, y, str(cells[name, group]), x=1.07)
    ax.set_title(label(name, 20), loc="left", fontsize=9.5, fontweight="bold")
    rows(ax, groups)
    ax.set(xlim=(-4, 104), xticks=[0, 50, 100], xlabel="passed (%)")


# ---------------------------------------------------------------- speed, quality, memory together


@styled
def tradeoff_figure(summary: pd.DataFrame) -> FigureAndAlt:
    """Speed against quality with both intervals, and the front of those that no other beats at both."""
    title = "Speed against quality"
    known = summary.dropna(subset=["decode_tokens_per_s", "pass_rate"]) if len(summary) else summary
    if known.empty:
        return nothing(title, "no configuration has both a decode speed and a pass rate")
    points = {
        r["configuration"]: (r["decode_tokens_per_s"], 100 * r["pass_rate"]) for _, r in known.iterrows()
    }
    front = pareto_front(points)
    fig, ax = canvas(title, _tradeoff_subtitle(known), 5.0, _tradeoff_note(known))
    look = looks(summary["configuration"])
    _front_line(ax, [points[name] for name in front])
    for _, row in known.iterrows():
        _cross(ax, row, look[row["configuration"]])
    scale = scale_x(ax, [x for x, _ in points.values()])
    ax.set(xlabel=f"Decode speed (tok/s{scale})", ylabel="Prompts that passed every check (%)")
    ax.set_ylim(-3, min(106, ax.dataLim.y1 + 22))
    _label_points(fig, ax, points, look)
    told = _list(f"{row['configuration']} {_tradeoff_told(row)}" for _, row in known.iterrows())
    return fig, visible(f"{title}: {told}. {_front_told(front, list(points))}")


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names that no other is at least as good as in both values, and better in one; fastest first.

    >>> pareto_front({"small": (900, 40), "large": (200, 80), "slow and poor": (150, 35)})
    ['small', 'large']
    """
    beaten = {a for a in points for b in points.values()
              if b[0] >= points[a][0] and b[1] >= points[a][1] and b != points[a]}  # fmt: skip
    return sorted((name for name in points if name not in beaten), key=lambda name: -points[name][0])


def _front_told(front: list[str], names: list[str]) -> str:
    below = [name for name in names if name not in front]
    rest = f"; not on it: {', '.join(below)}" if below else "; all are on it"
    return f"On the Pareto front of these estimates: {', '.join(front)}{rest}."


def _front_line(ax: Any, points: list[tuple[float, float]]) -> None:
    """The staircase under which every point is beaten by one on the front."""
    x, y = np.array(sorted(points)).T
    corners = np.repeat(np.r_[0, x], 2)[1:], np.repeat(np.r_[y, 0], 2)[:-1]
    ax.plot(*corners, color=GREY, lw=1.2, ls=(0, (4, 2)), zorder=1)


def _span(row: pd.Series, name: str) -> tuple[float, float] | None:
    """An interval of the summary; None for a fixed set."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    fixed = name == "pass_rate" and row.get("n_judged", 0) < stats.MIN_PROMPTS
    return None if fixed or low is None or pd.isna(low) else (float(low), float(high))


def _cross(ax: Any, row: pd.Series, look: Look) -> None:
    x, y = row["decode_tokens_per_s"], 100 * row["pass_rate"]
    if span := _span(row, "decode_tokens_per_s"):
        ax.plot(span, [y, y], color=look.colour, lw=2.4, zorder=2)
    if span := _span(row, "pass_rate"):
        ax.plot([x, x], [100 * span[0], 100 * span[1]], color=look.colour, lw=2.4, zorder=2)
    ax.plot(x, y, marker=look.marker, ms=10, mfc=look.colour, mec=INK, mew=1.2, ls="", zorder=4)


#: Where a point's name may stand: shifts in points, near ones first.
PLACES = [(dx * r, dy * r) for r in (9, 22, 38, 56, 78) for dx, dy in
          ((1, 0.9), (1, -0.9), (-1, 0.9), (-1, -0.9), (0.2, 1.2), (0.2, -1.2), (-0.2, 1.2), (-0.2, -1.2))]  # fmt: skip


def _label_points(fig: Figure, ax: Any, points: Mapping[str, tuple[float, float]], look: Mapping[str, Look]) -> None:
    """Each point's name near it, at the place where it covers the fewest points, lines and names."""
    fig.draw_without_rendering()  # fixes the scales, so that distances can be taken in pixels
    pixels = {name: ax.transData.transform(at) for name, at in points.items()}
    taken = [Bbox.from_bounds(x - 9, y - 9, 18, 18) for x, y in pixels.values()] + _line_boxes(ax)
    for name in sorted(points, key=lambda c: tuple(pixels[c])):
        text = ax.annotate(label(name, 40), points[name], xytext=(0, 0), textcoords="offset points", fontsize=9.5)
        text.set_in_layout(False)
        costs = [_cost_of_place(fig, ax, text, place, taken) for place in PLACES]
        place = PLACES[int(np.argmin(costs))]
        _put(text, place)
        taken.append(text.get_window_extent())
        if max(map(abs, place)) > 20:  # too far to belong to its point by itself
            ax.annotate("", points[name], xytext=place, textcoords="offset points", zorder=5, in_layout=False,
                        arrowprops={"arrowstyle": "-", "color": look[name].colour, "lw": 1.2, "shrinkA": 0})  # fmt: skip


def _put(text: Any, place: tuple[float, float]) -> None:
    dx, dy = place
    sideways = "center" if abs(dx) < 0.5 * abs(dy) else "left" if dx > 0 else "right"
    text.set(position=place, ha=sideways, va="bottom" if dy > 0 else "top")


def _cost_of_place(fig: Figure, ax: Any, text: Any, place: tuple[float, float], taken: list[Bbox]) -> float:
    """How bad a place is: off the axes worst, then what it covers, then how far it is."""
    _put(text, place)
    box = text.get_window_extent()
    outside = box.x0 < ax.bbox.x0 or box.x1 > fig.bbox.x1 - 4 or box.y0 < ax.bbox.y0 or box.y1 > ax.bbox.y1
    return 1000 * outside + sum(map(box.overlaps, taken)) + math.hypot(*place) / 60


def _line_boxes(ax: Any) -> list[Bbox]:
    """The straight pieces of every drawn line, as boxes in pixels that names keep away from."""
    lines = [ax.transData.transform(line.get_xydata()) for line in ax.get_lines()]
    return [Bbox([np.minimum(a, b) - 1, np.maximum(a, b) + 1]) for ends in lines for a, b in pairwise(ends)]


def _tradeoff_subtitle(known: pd.DataFrame) -> str:
    sources = set(known["decode_source"].dropna())
    natural = (
        "of natural replies, whose lengths differ"
        if sources == {"natural"}
        else "of mixed kinds: do not compare"
    )
    how = "of replies forced to one length" if sources == {"forced"} else natural
    return f"Decode speed {how}; quality of replies that stop by themselves. Up and to the right is better."


def _tradeoff_note(known: pd.DataFrame) -> str:
    replies, prompts = (int(known[n].min()) for n in ("decode_n", "n_judged"))
    named = ((f"speed (of the median, n = {replies})", "decode_tokens_per_s"),
             (f"quality (Wilson, n = {prompts} prompts)", "pass_rate"))  # fmt: skip
    drawn = [said for said, name in named if any(_span(row, name) for _, row in known.iterrows())]
    missing = [said.split()[0] for said, _ in named if said not in drawn]
    bars = f"Bars: 95 % intervals of {' and '.join(drawn)}. " if drawn else ""
    fixed = f"Fixed set, so no interval: {' and '.join(missing)}. " if missing else ""
    return (
        f"{bars}{fixed}Dashed: Pareto front of these estimates; a comparison paired by prompt can tell more."
    )


def _tradeoff_told(row: pd.Series) -> str:
    speed, rate = _span(row, "decode_tokens_per_s"), _span(row, "pass_rate")
    fast = f" ({number(speed[0])} to {number(speed[1])})" if speed else " (fixed set)"
    good = f" ({100 * rate[0]:.0f} to {100 * rate[1]:.0f} %)" if rate else " (fixed set)"
    return (f"{number(row['decode_tokens_per_s'])} tok/s{fast} and {percent(row['pass_rate'])}{good} of "
            f"{counted(int(row['n_judged']), 'prompt')}")  # fmt: skip


@styled
def memory_figure(results: pd.DataFrame) -> FigureAndAlt:
    """Peak memory above the baseline, its source named, with what is still held after a reply."""
    title = "Peak memory by configuration"
    known = tables.summarize(results).dropna(subset=["peak_memory_mib"])
    if known.empty:
        return nothing(title, "memory was not measured")
    sources = ", ".join(dict.fromkeys(str(s).replace("_", " ") for s in known["memory_source"].dropna()))
    meaning = "what the system counts for each model's own process" if sources == "process" else f"source: {sources or 'not named'}"
    fig, ax = canvas(title, f"Memory: {meaning}.", 1.6 + 0.55 * len(known), _memory_note(known))
    look = looks(_names(results))
    for y, (_, row) in enumerate(known.iterrows()):
        _memory_bar(ax, y, row, look[row["configuration"]])
    rows(ax, list(known["configuration"]))
    margin = -0.02 * known["peak_memory_mib"].max()  # a diamond at 0 must not cover the names
    ax.set_xlim(left=min([margin, *1.1 * known["memory_delta_mib"].dropna()]))
    ax.set_xlabel("Memory above the baseline (MiB)")
    told = _list(f"{row['configuration']} {_memory_told(row)}" for _, row in known.iterrows())
    return fig, visible(f"{title}, source {sources or 'not named'}: {told}.")


def _memory_note(known: pd.DataFrame) -> str:
    parts = ["Bar: the highest peak of any request, less the baseline; n counts requests"]
    if known["memory_delta_mib"].notna().any():
        parts.append("diamond: the median memory delta, after less before a request")
    if known["size_mib"].notna().any():
        parts.append("dashed line: the model file's size")
    return "; ".join(parts) + ". A maximum carries no interval."


def _memory_bar(ax: Any, y: float, row: pd.Series, look: Look) -> None:
    ax.barh(y, row["peak_memory_mib"], height=0.55, color=look.colour, alpha=0.8, hatch=look.hatch,
            edgecolor="white", zorder=2)  # fmt: skip
    if pd.notna(row["memory_delta_mib"]):
        ax.plot(
            row["memory_delta_mib"],
            y,
            marker="D",
            ms=7,
            mfc="white",
            mec=INK,
            mew=1.3,
            zorder=4,
            clip_on=False,
        )
    if pd.notna(row["size_mib"]):
        ax.plot([row["size_mib"]] * 2, [y - 0.36, y + 0.36], color=INK, lw=1.6, ls=(0, (3, 1.5)), zorder=3)
    beside(ax, y, f"{number(row['peak_memory_mib'])} MiB, n = {row['n_requests']}")


def _memory_told(row: pd.Series) -> str:
    named = (("peak", "peak_memory_mib"), ("delta", "memory_delta_mib"), ("file", "size_mib"))
    parts = [f"{word} {number(row[name])} MiB" for word, name in named if pd.notna(row[name])]
    return f"{', '.join(parts)} (n = {counted(int(row['n_requests']), 'request')})"


@styled
def seconds_per_correct_figure(summary: pd.DataFrame) -> FigureAndAlt:
    """What one correct answer costs in seconds: all the time spent over the number of right answers."""
    title = "Seconds per correct answer"
    known = summary.dropna(subset=["seconds_per_correct"]) if len(summary) else summary
    if known.empty:
        return nothing(title, "no prompt of this run has a check")
    cost = dict(zip(known["configuration"], known["seconds_per_correct"].astype(float), strict=True))
    n = dict(zip(known["configuration"], known["n_judged"], strict=True))
    note = 'A ratio of sums, drawn without interval; "never" means that no answer was correct.'
    fig, ax = canvas(title, "Time spent on judged replies, over the number of correct ones. Less is better.",
                     1.5 + 0.5 * len(cost), note)  # fmt: skip
    look = looks(summary["configuration"])
    finite = [seconds for seconds in cost.values() if math.isfinite(seconds)]
    start = min(finite) / 2 if is_wide(finite) else 0
    for y, (name, seconds) in enumerate(cost.items()):
        if math.isfinite(seconds):
            ax.plot([start, seconds], [y, y], color=look[name].colour, lw=2.5, zorder=2)
            ax.plot(
                seconds, y, marker=look[name].marker, ms=10, mfc=look[name].colour, mec=INK, mew=1.2, zorder=3
            )
        beside(ax, y, f"{metrics.show_seconds_per_correct(seconds)}, n = {n[name]}")
    rows(ax, list(cost))
    ax.set_xlabel(f"Seconds per correct answer (s{scale_x(ax, finite)})")
    told = _list(f"{name} {metrics.show_seconds_per_correct(seconds)} (n = {counted(int(n[name]), 'prompt')})"
                 for name, seconds in cost.items())  # fmt: skip
    return fig, visible(f"{title}: {told}.")


# ---------------------------------------------------------------- one recording


@styled
def timeline_figure(recording: Recording) -> FigureAndAlt:
    """One request from sending to its end: the wait for the first token, then every chunk as it arrived."""
    title = "One request, from sending to its end"
    chunks = metrics.text_chunks(recording)
    end_ms = 1000 * metrics.latency_s(recording)
    if not chunks:
        return nothing(title, f"no text arrived in {number(end_ms)} ms (state {recording.state})")
    at = np.array([(c.t_ns - recording.t_sent_ns) / 1e6 for c in chunks])
    unit = "token" if recording.chunks_are_tokens else "chunk"
    fig, (lane, steps) = canvas(
        title, f"{counted(len(chunks), unit)} in {number(end_ms)} ms; state {recording.state}.", 5.6,
        f"Every mark is one {unit}. Upper bar: waiting for the first, receiving, and the "
        f"{number(end_ms - at[-1])} ms from the last to the end of the stream.",
        nrows=2, sharex=True, height_ratios=[1, 4.2])  # fmt: skip
    _lane(lane, at, end_ms)
    _staircase(steps, at, [c.text for c in chunks], end_ms, unit)
    gaps = np.diff(at)
    pace = f", then {len(gaps):,} more" if len(gaps) else ""
    pace += f" with a median gap of {number(np.median(gaps))} ms" if len(gaps) else ""
    return fig, visible(f"{title}: the first {unit} came after {number(at[0])} ms (TTFT){pace}; the reply "
                        f"ended after {number(end_ms)} ms (latency), state {recording.state}.")  # fmt: skip


def _lane(ax: Any, at: np.ndarray, end_ms: float) -> None:
    """The request's phases as one bar."""
    phases = (("waiting", 0.0, at[0], COLOURS[1], "//"), ("receiving", at[0], at[-1], COLOURS[0], ""),
              ("closing", at[-1], end_ms, "#6f6f6f", ".."))  # fmt: skip
    for name, start, stop, colour, hatch in phases:
        ax.barh(
            0, stop - start, left=start, height=0.7, color=colour, hatch=hatch, edgecolor="white", linewidth=0
        )
        if stop - start > 0.12 * end_ms:
            ax.text((start + stop) / 2, 0, f"{name}\n{number(stop - start)} ms", ha="center", va="center",
                    fontsize=9, color="white", fontweight="bold",
                    bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5})  # fmt: skip
    ax.set_axis_off()
    ax.set_ylim(-0.45, 0.45)


def _staircase(ax: Any, at: np.ndarray, texts: list[str], end_ms: float, unit: str) -> None:
    """Chunks counted up as they arrive; with their text where there are few enough to read."""
    count = np.arange(1, len(at) + 1)
    ax.plot(
        np.r_[0, at, end_ms], np.r_[0, count, count[-1]], drawstyle="steps-post", color=COLOURS[0], lw=1.3
    )
    ax.plot(at, count, ls="", marker="o", ms=4 if len(at) <= 60 else 2.5, color=COLOURS[0], zorder=3)
    ax.axvline(at[0], color=COLOURS[1], lw=1.2, ls=(0, (4, 2)), zorder=1)
    ax.annotate(f"first {unit}: {number(at[0])} ms", (at[0], 0.985), xycoords=("data", "axes fraction"),
                xytext=(5, 0), textcoords="offset points", va="top", fontsize=9, color=GREY)  # fmt: skip
    for x, y, text in zip(at, count, texts, strict=True) if len(texts) <= 25 else ():
        ax.annotate(_signs(text), (x, y), xytext=(-3, 2), textcoords="offset points", ha="right", fontsize=8)
    ax.set(xlabel="Time since the request was sent (ms)", ylabel=f"{unit.capitalize()}s so far")
    ax.set_xlim(0, max(end_ms, at[-1]) * 1.06)
    ax.set_ylim(0, len(at) * 1.14 + 0.5)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _signs(text: str, limit: int = 14) -> str:
    """A token's text with its blanks as signs."""
    shown = drawable(visible(text).replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣"))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
