"""Figures of a run. Each function returns `(fig, alt)`: alt is the sentence that says what the figure shows.

    show(*latency_figure(results))

A configuration keeps its colour *and* its marker in every figure; intervals are named where they are drawn,
and where fewer than six prompts allow none the figure says "fixed set".
"""

from __future__ import annotations

import functools
import io
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox
from scipy.stats import theilslopes

from benchkit import stats
from benchkit.recording import TEXT_KINDS, Recording
from benchkit.text import counted, number, percent, visible

WIDTH = 9.0  # inches; a notebook's column
INK, GREY = "#1b1b1b", "#595959"
COLOURS = ("#0173b2", "#d55e00", "#029e73", "#c4609f", "#56788c", "#a8703a", "#3fa0d8", "#b98000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "*", "<", ">")
STYLE = {
    **sns.axes_style("whitegrid"),
    "font.family": "DejaVu Sans",  # ships with matplotlib, so a figure is laid out alike everywhere
    "font.size": 10,
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.unicode_minus": False,
    "grid.color": "#e4e4e4",
    "legend.edgecolor": "white",
    "legend.fancybox": False,
    "legend.fontsize": 9,
    "legend.framealpha": 0.9,
    "svg.hashsalt": "benchkit",
    "text.color": INK,
    "text.parse_math": False,  # a model's name may hold a dollar sign
    "xtick.color": INK,
    "xtick.bottom": True,
    "ytick.color": INK,
}

FigureAndAlt = tuple[Figure, str]


# ---------------------------------------------------------------- showing


@dataclass(frozen=True)
class Picture:
    """A figure as a notebook keeps it: the PNG, and the sentence that is its alternative text."""

    png: bytes
    alt: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        return {"image/png": self.png, "text/plain": self.alt}, {"image/png": {"alt": self.alt}}


@dataclass(frozen=True)
class Caption:
    """The same sentence under the figure, for everyone to read."""

    alt: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict:
        return {"text/markdown": f"*{_markdown(self.alt)}*", "text/plain": self.alt}


def show(fig: Figure, alt: str) -> None:
    """Show a figure, its sentence as alternative text and as caption; outside Jupyter, print the sentence."""
    if not _in_notebook():
        print(alt)
        return
    from IPython.display import display

    display(Picture(png(fig, alt), alt), Caption(alt))


def png(fig: Figure, alt: str, dpi: int = 110) -> bytes:
    """The figure as PNG bytes, its sentence inside as the picture's description."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=dpi, metadata={"Description": alt, "Software": None})
    return out.getvalue()


def save(fig: Figure, alt: str, path: str | Path) -> Path:
    """Write the figure as a PNG file that carries its sentence."""
    path = Path(path)
    path.write_bytes(png(fig, alt))
    return path


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


def _markdown(text: str) -> str:
    escaped = "".join("\\" + c if c in "\\`*_{}[]()#+!|$~" else c for c in text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ---------------------------------------------------------------- what all figures share


def _styled(draw: Callable[..., FigureAndAlt]) -> Callable[..., FigureAndAlt]:
    """Run a drawing function in the house style, and leave matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> FigureAndAlt:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str


def _looks(configurations: Iterable[str]) -> dict[str, Look]:
    return {
        name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(configurations)
    }


def _configurations(table: pd.DataFrame) -> list[str]:
    return [] if "configuration" not in table else list(dict.fromkeys(table["configuration"]))


def _label(configuration: str, width: int = 24) -> str:
    """A configuration's name for an axis: printable, and broken over lines where it is long.

    >>> _label("gguf:pocket-s:Q4_K_M n_ctx=1024", 18)
    'gguf:pocket-s:\\nQ4_K_M n_ctx=1024'
    """
    lines = [""]
    for part in re.split(r"(?<=[ :/,])", _drawable(visible(configuration))):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(piece.rstrip() for line in lines for piece in textwrap.wrap(line, 2 * width) or [""])


@functools.cache
def _drawable_characters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def _drawable(text: str) -> str:
    known = _drawable_characters()
    return "".join(c if ord(c) in known or c == "\n" else "□" for c in text)


def _canvas(title: str, subtitle: str, height: float, note: str = "", **subplots: Any) -> tuple[Figure, Any]:
    """An empty figure with a title, what is drawn said under it, and how to read it at the foot."""
    said = textwrap.fill(subtitle, 130)
    fig = Figure(figsize=(WIDTH, height), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    fig.suptitle(title + "\n" * (said.count("\n") + 1), x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    fig.text(0.012, 1 - 0.31 / height, said, color=GREY, fontsize=9.5, va="top").set_in_layout(False)
    if note:
        fig.supxlabel(textwrap.fill(note, 143), x=0.012, ha="left", fontsize=8.5, color=GREY)
    return fig, fig.subplots(**subplots)


def _nothing(title: str, why: str) -> FigureAndAlt:
    """The figure for data that holds nothing to draw: it says so."""
    fig = Figure(figsize=(WIDTH, 1.6), layout="constrained")
    fig.suptitle(title, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    fig.text(0.5, 0.4, f"Nothing to draw: {why}.", ha="center", color=GREY)
    return fig, f"{title}: nothing to draw, because {why}."


def _rows(ax: Any, configurations: list[str]) -> None:
    """One row a configuration, the first on top."""
    ax.set_yticks(range(len(configurations)), [_label(c) for c in configurations])
    ax.set_ylim(len(configurations) - 0.45, -0.55)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)


def _beside(ax: Any, y: float, text: str, **kwargs: Any) -> None:
    """Text in the margin to the right of a row."""
    ax.annotate(
        text,
        (kwargs.pop("x", 1.02), y),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=9,
        **kwargs,
    )


def _maybe_log(ax: Any, values: Iterable[float]) -> str:
    """A logarithmic axis where values span more than a factor of 30; returns what the label must say."""
    positive = [v for v in values if v > 0]
    if not positive or max(positive) / min(positive) <= 30:
        ax.set_xlim(left=0)
        return ""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.6g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    return ", logarithmic scale"


# ---------------------------------------------------------------- one value a prompt


@dataclass(frozen=True)
class Spread:
    """One configuration's values, one a prompt, with their median and what may be said about it."""

    values: np.ndarray
    median: float
    interval: Any  # stats.Interval, or None for a fixed set
    p95: float | None

    @property
    def n(self) -> int:
        return len(self.values)


def _by_prompt(results: pd.DataFrame, column: str, purpose: str | None = "quality") -> dict[str, pd.Series]:
    """For each configuration one value a prompt: the median over its completed trials."""
    wanted = {"configuration", "state", column}
    if not wanted <= set(results.columns):
        return {}
    rows = results[results["state"].isin(("ok", "length"))]
    if purpose is not None and "purpose" in rows:
        rows = rows[rows["purpose"] == purpose]
    rows = rows.assign(value=pd.to_numeric(rows[column], errors="coerce"))
    rows = rows[np.isfinite(rows["value"].astype(float))]
    grouped = rows.groupby(["configuration", "prompt_set", "prompt_index"], sort=True)["value"].median()
    return {c: grouped[c] for c in _configurations(results) if c in grouped.index.get_level_values(0)}


def _spread(values: Iterable[float], tail: bool = False) -> Spread:
    values = np.asarray(list(values), dtype=float)
    p95 = stats.percentile(values, 95).value if tail else None
    return Spread(values, float(np.median(values)), stats.median_interval(values), p95)


def _spreads(results: pd.DataFrame, column: str, tail: bool = False) -> dict[str, Spread]:
    return {c: _spread(values, tail) for c, values in _by_prompt(results, column).items()}


def _said(s: Spread, unit: str) -> str:
    """A spread in words, for the margin of a figure."""
    if s.interval is None:
        return f"{number(s.median)} {unit}\nfixed set, n = {s.n}"
    return f"{number(s.median)} {unit}\n{number(s.interval.low)}–{number(s.interval.high)}, n = {s.n}"


def _told(s: Spread, unit: str) -> str:
    """A spread in words, for a sentence."""
    if s.interval is None:
        return f"median {number(s.median)} {unit} (a fixed set of {counted(s.n, 'prompt')}, so no interval)"
    tail = f", P95 {number(s.p95)} {unit}" if s.p95 is not None else ""
    low, high = number(s.interval.low), number(s.interval.high)
    return f"median {number(s.median)} {unit} (95 % interval {low} to {high}, n = {s.n} prompts{tail})"


def _list(parts: Iterable[str]) -> str:
    return "; ".join(parts)


def _trials(results: pd.DataFrame, purpose: str = "quality") -> str:
    rows = results[results["purpose"] == purpose] if "purpose" in results else results
    n = rows["trial"].nunique() if "trial" in rows else 1
    return "" if n <= 1 else f" (the median of {n} trials)"


def _strip(ax: Any, y: float, spread: Spread, look: Look) -> None:
    """Each prompt a dot, over them the median with its interval, and P95 where n allows one."""
    order = np.arange(spread.n) * 0.618033988749895 % 1 - 0.5  # even spacing without a random number
    ax.scatter(
        np.sort(spread.values),
        y + 0.52 * order,
        s=17,
        marker=look.marker,
        color=look.colour,
        alpha=0.55,
        linewidth=0,
        zorder=2,
    )
    if spread.interval is not None:
        ax.plot(
            [spread.interval.low, spread.interval.high],
            [y, y],
            color=INK,
            lw=3.2,
            zorder=3,
            solid_capstyle="butt",
        )
    ax.plot(spread.median, y, marker=look.marker, ms=9, mfc="white", mec=INK, mew=1.6, zorder=4)
    if spread.p95 is not None:
        ax.plot([spread.p95] * 2, [y - 0.33, y + 0.33], color=INK, lw=1.4, ls=(0, (3, 1.5)), zorder=3)


def _strips(results: pd.DataFrame, column: str, title: str, axis: str, unit: str) -> FigureAndAlt:
    spreads = _spreads(results, column, tail=True)
    if not spreads:
        return _nothing(title, "no request completed with this value")
    names = list(spreads)
    looks = _looks(_configurations(results))
    fig, ax = _canvas(
        title,
        f"Each small mark is one prompt{_trials(results)}; replies stop by themselves.",
        1.75 + 0.62 * len(names),
        _strip_note(spreads.values()),
    )
    for y, name in enumerate(names):
        _strip(ax, y, spreads[name], looks[name])
        _beside(ax, y, _said(spreads[name], unit))
    _rows(ax, names)
    scale = _maybe_log(ax, np.concatenate([s.values for s in spreads.values()]))
    ax.set_xlabel(f"{axis} ({unit}{scale})")
    told = _list(f"{name} {_told(spread, unit)}" for name, spread in spreads.items())
    return fig, visible(f"{title}, one mark a prompt: {told}.")


def _strip_note(spreads: Iterable[Spread]) -> str:
    spreads = list(spreads)
    parts = ["Large mark: median over prompts"]
    if any(s.interval is not None for s in spreads):
        parts.append("thick bar and range beside it: 95 % interval of the median")
    if any(s.p95 is not None for s in spreads):
        parts.append("dashed line: P95")
    if any(s.interval is None for s in spreads):
        parts.append("fixed set: fewer than six prompts, so no interval")
    return "; ".join(parts) + "."


@_styled
def latency_figure(results: pd.DataFrame) -> FigureAndAlt:
    """How long whole replies took: one mark a prompt, the median and its interval."""
    return _strips(results, "latency_s", "Latency by configuration", "Latency of the whole reply", "s")


@_styled
def ttft_figure(results: pd.DataFrame) -> FigureAndAlt:
    """How long until the first token: one mark a prompt, the median and its interval."""
    fig, alt = _strips(results, "ttft_ms", "Time to first token by configuration", "TTFT", "ms")
    return fig, alt + _prompt_lengths(results)


def _prompt_lengths(results: pd.DataFrame) -> str:
    lengths = [s for s in _by_prompt(results, "n_prompt_tokens").values()]
    if not lengths:
        return ""
    every = np.concatenate(lengths)
    return f" Prompts were {every.min():,.0f} to {every.max():,.0f} tokens long."


@_styled
def ecdf_figure(results: pd.DataFrame) -> FigureAndAlt:
    """The share of prompts answered within a given time: where the curve ends late, the tail is long."""
    title = "Share of prompts answered within a time"
    spreads = _spreads(results, "latency_s")
    if not spreads:
        return _nothing(title, "no request completed")
    looks = _looks(_configurations(results))
    fig, ax = _canvas(
        title,
        f"Each step is one prompt{_trials(results)}; replies stop by themselves.",
        4.2,
        "Read across at 50 % for the median, at 95 % for P95 (shown as a number only from 59 prompts).",
    )
    for i, (name, spread) in enumerate(spreads.items()):
        _steps(
            ax,
            spread.values,
            looks[name],
            ("-", "--", "-.", ":")[i % 4],
            f"{_label(name, 40)} (n = {spread.n})",
        )
    for share, word in ((50, "median"), (95, "P95")):
        ax.axhline(share, color=GREY, lw=0.9, ls=(0, (2, 2)), zorder=1)
        _beside(ax, share, word, color=GREY)
    scale = _maybe_log(ax, np.concatenate([s.values for s in spreads.values()]))
    ax.set(xlabel=f"Latency of the whole reply (s{scale})", ylabel="Prompts answered (%)", ylim=(0, 102))
    ax.legend(loc="upper left" if scale else "lower right")
    told = _list(
        f"{name} answered half within {number(s.median)} s and all within {number(s.values.max())} s "
        f"(n = {s.n})"
        for name, s in spreads.items()
    )
    return fig, visible(f"{title}: {told}.")


def _steps(ax: Any, values: np.ndarray, look: Look, dashes: str, label: str) -> None:
    x = np.sort(values)
    y = 100 * np.arange(1, len(x) + 1) / len(x)
    ax.plot(
        np.r_[x[0], x],
        np.r_[0, y],
        drawstyle="steps-post",
        color=look.colour,
        lw=2,
        ls=dashes,
        label=label,
        marker=look.marker,
        ms=6,
        markevery=max(1, len(x) // 6),
        mec="white",
        mew=0.6,
    )


@_styled
def length_figure(results: pd.DataFrame) -> FigureAndAlt:
    """Latency against the length of the reply: the slope is the price of one more token."""
    title = "Latency against the length of the reply"
    seconds, tokens = _by_prompt(results, "latency_s"), _by_prompt(results, "n_output_tokens")
    pairs = {
        c: pd.concat({"tokens": tokens[c], "s": seconds[c]}, axis=1).dropna() for c in seconds if c in tokens
    }
    pairs = {c: p for c, p in pairs.items() if len(p)}
    if not pairs:
        return _nothing(title, "no completed request has both a latency and a token count")
    looks = _looks(_configurations(results))
    fig, ax = _canvas(
        title,
        f"Each mark is one prompt{_trials(results)}; replies stop by themselves.",
        4.4,
        "Lines: Theil–Sen fits, drawn from six prompts on; they describe this run and carry no interval.",
    )
    slopes = {c: _slope_line(ax, p, looks[c], c) for c, p in pairs.items()}
    ax.set(xlabel="Length of the reply (output tokens)", ylabel="Latency of the whole reply (s)")
    ax.set_xlim(left=0)
    ax.set_ylim(0, ax.get_ylim()[1] * (1.06 + 0.075 * len(pairs)))  # room for the legend
    ax.legend(loc="upper left")
    told = _list(
        f"{c} {_slope_said(slopes[c])} (n = {counted(len(p), 'prompt')}, replies of {p.tokens.min():,.0f} "
        f"to {p.tokens.max():,.0f} tokens)"
        for c, p in pairs.items()
    )
    return fig, visible(f"{title}: {told}.")


def _slope_line(ax: Any, pairs: pd.DataFrame, look: Look, name: str) -> float | None:
    """Marks and their Theil–Sen line; returns ms a token, None where no line can be drawn."""
    can_fit = len(pairs) >= 6 and pairs["tokens"].nunique() > 1
    slope, start = theilslopes(pairs["s"], pairs["tokens"])[:2] if can_fit else (None, None)
    label = f"{_label(name, 40)}: {_slope_said(None if slope is None else 1000 * slope)}, n = {len(pairs)}"
    ax.plot(
        pairs["tokens"],
        pairs["s"],
        ls="",
        marker=look.marker,
        ms=5.5,
        color=look.colour,
        alpha=0.75,
        mec="white",
        mew=0.4,
        label=label,
    )
    if slope is None:
        return None
    ends = np.array([pairs["tokens"].min(), pairs["tokens"].max()])
    ax.plot(ends, start + slope * ends, color=look.colour, lw=1.5, zorder=1)
    return 1000 * slope


def _slope_said(ms: float | None) -> str:
    return "no line (too few lengths)" if ms is None else f"{number(ms)} ms a further token"


@_styled
def decode_figure(results: pd.DataFrame) -> FigureAndAlt:
    """Decode speed, forced-length replies and natural ones apart: only the forced ones may be compared."""
    title = "Decode speed"
    column = "decode_tokens_per_s"
    forced, natural = _repeats(results, column), _spreads(results, column)
    names = [c for c in _configurations(results) if c in forced or c in natural]
    if not names:
        return _nothing(title, "no completed request was long enough to have a decode speed")
    fig, ax = _canvas(
        title,
        _decode_subtitle(results, forced),
        1.6 + (0.8 if forced else 0.62) * len(names),
        _strip_note([*forced.values(), *natural.values()])
        + " Natural replies differ in length, so their speeds are not compared.",
    )
    looks = _looks(_configurations(results))
    for y, name in enumerate(names):
        for at, spread, kind in _decode_rows(y, forced.get(name), natural.get(name)):
            _half_strip(ax, at, spread, looks[name], kind)
    _rows(ax, names)
    scale = _maybe_log(ax, np.concatenate([s.values for s in [*forced.values(), *natural.values()]]))
    ax.set_xlabel(f"Decode speed (tok/s{scale})")
    told = _list(f"{c} {_decode_told(forced.get(c), natural.get(c))}" for c in names)
    return fig, visible(f"{title} of one reply at a time: {told}.")


def _repeats(results: pd.DataFrame, column: str) -> dict[str, Spread]:
    """Forced-length requests: every repeat is a value; the interval is the repeats' own."""
    if "purpose" not in results:
        return {}
    rows = results[(results["purpose"] == "speed") & results["state"].isin(("ok", "length"))]
    values = {
        c: pd.to_numeric(rows.loc[rows["configuration"] == c, column]).dropna() for c in _configurations(rows)
    }
    return {c: _spread(v) for c, v in values.items() if len(v)}


def _decode_subtitle(results: pd.DataFrame, forced: Mapping[str, Spread]) -> str:
    if not forced:
        return "Natural replies only: no forced-length block was run, so lengths differ and speeds are not compared."
    rows = results[results["purpose"] == "speed"]
    lengths = sorted({int(n) for n in rows["n_output_tokens"].dropna()})
    n_out = (
        f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}" if lengths else "?"
    )
    prompts = sorted({int(n) for n in rows["n_prompt_tokens"].dropna()})
    after = f" after {prompts[0]:,} prompt tokens" if len(prompts) == 1 else ""
    return f"Forced: every reply {n_out} tokens{after}, each mark a repeat. Natural: each mark a prompt."


def _decode_rows(y: float, forced: Spread | None, natural: Spread | None) -> list[tuple[float, Spread, str]]:
    if forced is None or natural is None:
        return [(y, forced or natural, "forced" if forced else "natural")]
    return [(y - 0.2, forced, "forced"), (y + 0.2, natural, "natural")]


def _half_strip(ax: Any, y: float, spread: Spread, look: Look, kind: str) -> None:
    """A strip half a row high; filled median: forced length, white median: natural replies."""
    order = np.arange(spread.n) * 0.618033988749895 % 1 - 0.5
    ax.scatter(
        np.sort(spread.values),
        y + 0.24 * order,
        s=15,
        marker=look.marker,
        color=look.colour,
        alpha=0.55,
        linewidth=0,
        zorder=2,
    )
    if spread.interval is not None:
        ax.plot(
            [spread.interval.low, spread.interval.high],
            [y, y],
            color=INK,
            lw=3,
            zorder=3,
            solid_capstyle="butt",
        )
    ax.plot(
        spread.median,
        y,
        marker=look.marker,
        ms=8,
        mfc=look.colour if kind == "forced" else "white",
        mec=INK,
        mew=1.4,
        zorder=4,
    )
    range_ = (
        "fixed set"
        if spread.interval is None
        else f"{number(spread.interval.low)}–{number(spread.interval.high)}"
    )
    _beside(ax, y, f"{kind}: {number(spread.median)} ({range_}), n = {spread.n}")


def _decode_told(forced: Spread | None, natural: Spread | None) -> str:
    parts = []
    if forced is not None:
        parts.append(f"forced length {_told(forced, 'tok/s').replace('prompt', 'repeat')}")
    if natural is not None:
        parts.append(f"natural replies {_told(natural, 'tok/s')}")
    return ", ".join(parts)


# ---------------------------------------------------------------- quality


@dataclass(frozen=True)
class Rate:
    """How many prompts passed; a prompt that passed 2 of 3 trials counts 2/3."""

    k: float
    n: int

    @property
    def share(self) -> float:
        return self.k / self.n

    @property
    def interval(self) -> Any:
        return stats.wilson(self.k, self.n)

    def __str__(self) -> str:
        return f"{number(self.k) if self.k % 1 > 1e-9 else round(self.k)}/{self.n}"


def _rates(table: pd.DataFrame, by: str, passed: str) -> dict[tuple[str, str], Rate]:
    """(configuration, group) → how many of its prompts passed, each the mean over its trials."""
    rows = table[table[passed].notna()].assign(share=lambda t: t[passed].astype(float))
    prompts = rows.groupby(["configuration", by, "prompt_set", "prompt_index"], sort=False)["share"].mean()
    grouped = prompts.groupby(["configuration", by], sort=False).agg(["sum", "size"])
    return {key: Rate(float(row["sum"]), int(row["size"])) for key, row in grouped.iterrows()}


def _judged(results: pd.DataFrame) -> pd.DataFrame:
    wanted = {"configuration", "correct", "prompt_set", "prompt_index"}
    return results[results["correct"].notna()] if wanted <= set(results.columns) else results.iloc[:0]


@_styled
def quality_figure(results: pd.DataFrame) -> FigureAndAlt:
    """How many prompts each configuration got right, by category: a heat map with the counts in its cells."""
    title = "Quality by category"
    judged = _judged(results)
    if judged.empty:
        return _nothing(title, "no prompt of this run has a check")
    table = judged.assign(category=judged["category"].fillna("(none)") if "category" in judged else "(none)")
    by_category, overall = (
        _rates(table, "category", "correct"),
        _rates(table.assign(all="all"), "all", "correct"),
    )
    names, categories = _configurations(table), list(dict.fromkeys(table["category"]))
    looks = _looks(_configurations(results))
    fig, (ax, total) = _canvas(
        title,
        f"Prompts that passed every check, of all in the category{_trials(judged)}.",
        1.75 + 0.29 * len(categories) + 0.34 * len(names),
        _quality_note(overall.values()),
        nrows=2,
        height_ratios=[len(categories) + 1, max(2.2, 1.15 * len(names))],
    )
    _heat(ax, names, categories, by_category)
    _dots(total, names, [overall[name, "all"] for name in names], looks)
    told = _list(
        f"{name} {_rate_told(overall[name, 'all'])}, {_extremes(name, categories, by_category)}"
        for name in names
    )
    return fig, visible(f"{title}, prompts that passed every check: {told}.")


def _quality_note(rates: Iterable[Rate]) -> str:
    if all(rate.n < stats.MIN_PROMPTS for rate in rates):
        return "Fixed set: fewer than six prompts, so what is shown holds for these prompts only."
    return "Lower part: all categories together; bars are 95 % Wilson intervals, n counts prompts."


def _heat(ax: Any, names: list[str], groups: list[str], rates: Mapping[tuple[str, str], Rate]) -> None:
    shares = pd.DataFrame(
        [[100 * rates[c, g].share if (c, g) in rates else np.nan for c in names] for g in groups],
        index=[_label(g, 30) for g in groups],
        columns=[_label(c, 18) for c in names],
    )
    texts = [[str(rates.get((c, g), "–")) for c in names] for g in groups]
    sns.heatmap(
        shares,
        ax=ax,
        vmin=0,
        vmax=100,
        cmap="crest",
        linewidths=1.5,
        annot=np.array(texts),
        fmt="",
        annot_kws={"fontsize": 9.5},
        cbar_ax=ax.inset_axes((1.02, 0, 0.025, 1)),
    )
    ax.collections[0].colorbar.set_label("prompts passed (%)")
    ax.collections[0].colorbar.outline.set_visible(False)
    for text in ax.texts:
        share = shares.iat[int(text.get_position()[1]), int(text.get_position()[0])]
        text.set_color(_readable_on(ax.collections[0].to_rgba(share)))
    for y, row in enumerate(texts):  # what seaborn leaves out: groups a configuration was not asked
        for x, text in enumerate(row):
            if text == "–":
                ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=GREY)
    crowded = len(names) > 6
    ax.tick_params(
        axis="x", top=False, bottom=False, labeltop=True, labelbottom=False, rotation=40 if crowded else 0
    )
    for label in ax.get_xticklabels() if crowded else ():
        label.set(ha="left", rotation_mode="anchor")
    ax.tick_params(axis="y", length=0, rotation=0)


def _readable_on(background: tuple[float, ...]) -> str:
    """Black or white, whichever contrasts more by WCAG's formula.

    >>> _readable_on((1, 1, 1)), _readable_on((0.1, 0.1, 0.4))
    ('black', 'white')
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def _dots(ax: Any, names: list[str], rates: list[Rate], looks: Mapping[str, Look]) -> None:
    """One row a configuration: its share with the Wilson interval, and the counts beside it."""
    for y, (name, rate) in enumerate(zip(names, rates, strict=True)):
        _dot(ax, y, rate, looks[name])
        _beside(ax, y, _rate_said(rate))
    _rows(ax, names)
    ax.set_xlim(-2, 102)
    ax.set_xlabel("Prompts passed (%)")


def _dot(ax: Any, y: float, rate: Rate, look: Look, size: float = 8) -> None:
    if rate.n >= stats.MIN_PROMPTS:
        ax.plot(
            [100 * rate.interval.low, 100 * rate.interval.high],
            [y, y],
            color=INK,
            lw=2.2,
            zorder=2,
            solid_capstyle="butt",
        )
    ax.plot(100 * rate.share, y, marker=look.marker, ms=size, mfc=look.colour, mec=INK, mew=1, zorder=3)


def _rate_said(rate: Rate) -> str:
    if rate.n < stats.MIN_PROMPTS:
        return f"{rate}  (fixed set)"
    return f"{rate}  ({percent_range(rate.interval)})"


def percent_range(interval: Any) -> str:
    """An interval of shares in whole percent.

    >>> percent_range(stats.Interval(0.553, 0.791, 0.95, 60))
    '55–79 %'
    """
    return f"{100 * interval.low:.0f}–{100 * interval.high:.0f} %"


def _rate_told(rate: Rate) -> str:
    of = f"{rate} prompts, {percent(rate.share)}"
    if rate.n < stats.MIN_PROMPTS:
        return f"{of} (a fixed set, so no interval)"
    return f"{of} (95 % interval {percent_range(rate.interval)})"


def _extremes(name: str, groups: list[str], rates: Mapping[tuple[str, str], Rate]) -> str:
    own = {g: rates[name, g] for g in groups if (name, g) in rates}
    best = max(own, key=lambda g: own[g].share)
    worst = min(own, key=lambda g: own[g].share)
    if own[best].share == own[worst].share:
        return f"{own[best]} in every category" if len(own) > 1 else f"all of them {best}"
    return f"best in {best} ({own[best]}), worst in {worst} ({own[worst]})"


@_styled
def checks_figure(results: pd.DataFrame) -> FigureAndAlt:
    """How often each check passed: one panel a configuration, one row a check, with Wilson intervals."""
    title = "Quality by check"
    checks = check_rows(results)
    if checks.empty:
        return _nothing(title, "no check was run")
    rates = _rates(checks, "check", "passed")
    names, groups = _configurations(checks), list(dict.fromkeys(checks["check"]))
    n_cols = min(4, len(names))
    n_rows = math.ceil(len(names) / n_cols)
    fig, axes = _canvas(
        title,
        f"Prompts whose reply passed the check{_trials(checks)}; beside each row, passed of asked.",
        1.35 + n_rows * (0.62 + 0.27 * len(groups)),
        "Bars: 95 % Wilson intervals, n counts prompts; none below six prompts (fixed set).",
        nrows=n_rows,
        ncols=n_cols,
        sharey=True,
        sharex=True,
        squeeze=False,
    )
    looks = _looks(_configurations(results))
    for ax, name in zip(axes.flat, names):
        _check_panel(ax, name, groups, rates, looks[name])
    for ax in list(axes.flat)[len(names) :]:
        ax.set_visible(False)
    told = _list(
        f"{name} " + ", ".join(f"{g} {rates[name, g]}" for g in groups if (name, g) in rates)
        for name in names
    )
    return fig, visible(f"{title}, prompts passed of prompts asked: {told}.")


def check_rows(results: pd.DataFrame) -> pd.DataFrame:
    """One row a check that ran: configuration, prompt_set, prompt_index, trial, check, passed."""
    columns = ["configuration", "prompt_set", "prompt_index", "trial"]
    if not {*columns, "checks"} <= set(results.columns):
        return pd.DataFrame(columns=[*columns, "check", "passed"])
    rows = [
        {**dict(zip(columns, row)), "check": check["check"], "passed": check["passed"]}
        for *row, checks in results[[*columns, "checks"]].itertuples(index=False)
        for check in (checks if isinstance(checks, (list, tuple)) else ())
        if check["passed"] is not None
    ]
    return pd.DataFrame(rows, columns=[*columns, "check", "passed"])


def _check_panel(
    ax: Any, name: str, groups: list[str], rates: Mapping[tuple[str, str], Rate], look: Look
) -> None:
    for y, group in enumerate(groups):
        if (name, group) in rates:
            _dot(ax, y, rates[name, group], look, size=6.5)
            _beside(ax, y, str(rates[name, group]), x=1.07)
    ax.set_title(_label(name, 22), loc="left", fontsize=9.5, fontweight="bold")
    _rows(ax, groups)
    ax.set_xlim(-4, 104)
    ax.set_xticks([0, 50, 100])
    ax.set_xlabel("passed (%)")


# ---------------------------------------------------------------- speed, quality, memory together


@_styled
def tradeoff_figure(summary: pd.DataFrame) -> FigureAndAlt:
    """Speed against quality with both intervals, and the front of those that no other beats at both."""
    title = "Speed against quality"
    known = {"decode_tokens_per_s", "pass_rate"} <= set(summary.columns)
    rows = summary.dropna(subset=["decode_tokens_per_s", "pass_rate"]) if known else summary.iloc[:0]
    if rows.empty:
        return _nothing(title, "no configuration has both a decode speed and a pass rate")
    names, looks = list(rows["configuration"]), _looks(summary["configuration"])
    points = {
        r["configuration"]: (r["decode_tokens_per_s"], 100 * r["pass_rate"]) for _, r in rows.iterrows()
    }
    front = pareto_front(points)
    fig, ax = _canvas(title, _tradeoff_subtitle(rows), 5.0, _tradeoff_note(rows))
    _front_line(ax, [points[c] for c in front])
    for _, row in rows.iterrows():
        _cross(ax, row, looks[row["configuration"]])
    scale = _maybe_log(ax, [x for x, _ in points.values()])
    ax.set(
        xlabel=f"Decode speed (tok/s{scale})", ylabel="Prompts that passed every check (%)", ylim=(-3, 106)
    )
    ax.margins(x=0.12)
    _label_points(fig, ax, points)
    told = _list(f"{row['configuration']} {_tradeoff_told(row)}" for _, row in rows.iterrows())
    beaten = [c for c in names if c not in front]
    rest = f", {' and '.join(beaten)} lie below it" if beaten else ", none lies below it"
    return fig, visible(
        f"{title}: {told}. On the Pareto front of the estimates: {' and '.join(front)}{rest}."
    )


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names that no other is at least as good as in both values, and better in one; fastest first.

    >>> pareto_front({"small": (900, 40), "large": (200, 80), "slow and poor": (150, 35)})
    ['small', 'large']
    """

    def beaten(a: tuple[float, float]) -> bool:
        return any(b[0] >= a[0] and b[1] >= a[1] and b != a for b in points.values())

    return sorted((name for name, at in points.items() if not beaten(at)), key=lambda name: -points[name][0])


def _front_line(ax: Any, points: list[tuple[float, float]]) -> None:
    """The staircase under which every point is beaten in both values by one on the front."""
    x, y = np.array(sorted(points)).T
    corners = np.repeat(np.r_[0, x], 2)[1:], np.repeat(np.r_[y, 0], 2)[:-1]
    ax.plot(*corners, color=GREY, lw=1.2, ls=(0, (4, 2)), zorder=1)


def _span(row: pd.Series, name: str) -> tuple[float, float] | None:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return None if low is None or high is None or pd.isna(low) or pd.isna(high) else (float(low), float(high))


def _cross(ax: Any, row: pd.Series, look: Look) -> None:
    x, y = row["decode_tokens_per_s"], 100 * row["pass_rate"]
    if (span := _span(row, "decode_tokens_per_s")) is not None:
        ax.plot(span, [y, y], color=look.colour, lw=2, zorder=2)
    if (span := _span(row, "pass_rate")) is not None:
        ax.plot([x, x], [100 * span[0], 100 * span[1]], color=look.colour, lw=2, zorder=2)
    ax.plot(x, y, marker=look.marker, ms=10, mfc=look.colour, mec=INK, mew=1.2, ls="", zorder=4)


def _label_points(fig: Figure, ax: Any, points: Mapping[str, tuple[float, float]]) -> None:
    """Each point's name beside it, at the place where it covers the fewest points, lines and names."""
    fig.draw_without_rendering()  # fixes the scales, so that distances can be taken in pixels
    pixels = {name: ax.transData.transform(at) for name, at in points.items()}
    taken = [Bbox.from_bounds(x - 9, y - 9, 18, 18) for x, y in pixels.values()] + _line_boxes(ax)
    for name in sorted(points, key=lambda c: tuple(pixels[c])):
        text = ax.annotate(
            _label(name, 40), points[name], xytext=(0, 0), textcoords="offset points", fontsize=9.5
        )
        text.set_in_layout(False)
        boxes = []
        for dx, dy, ha, va in PLACES:
            text.set(position=(dx, dy), ha=ha, va=va)
            box = text.get_window_extent()
            outside = (
                box.x0 < ax.bbox.x0 or box.x1 > fig.bbox.x1 - 4 or box.y1 > ax.bbox.y1 or box.y0 < ax.bbox.y0
            )
            boxes.append((1000 * outside + sum(map(box.overlaps, taken)), len(boxes), box))
        _, best, box = min(boxes, key=lambda b: b[:2])
        dx, dy, ha, va = PLACES[best]
        text.set(position=(dx, dy), ha=ha, va=va)
        taken.append(box)


def _line_boxes(ax: Any) -> list[Bbox]:
    """The straight pieces of every drawn line, as boxes in pixels that names keep away from."""
    boxes = []
    for line in ax.get_lines():
        ends = ax.transData.transform(line.get_xydata())
        boxes += [Bbox([np.minimum(a, b) - 1, np.maximum(a, b) + 1]) for a, b in pairwise(ends)]
    return boxes


PLACES = (
    (9, 8, "left", "bottom"),
    (9, -8, "left", "top"),
    (-9, 8, "right", "bottom"),
    (-9, -8, "right", "top"),
    (9, 22, "left", "bottom"),
    (9, -22, "left", "top"),
    (-9, 22, "right", "bottom"),
    (-9, -22, "right", "top"),
)


def _tradeoff_subtitle(rows: pd.DataFrame) -> str:
    sources = set(rows["decode_source"].dropna()) if "decode_source" in rows else set()
    natural = sources == {"natural"} or not sources
    how = "of natural replies, whose lengths differ" if natural else "of forced-length replies"
    return f"Decode speed {how}; quality of replies that stop by themselves. Up and to the right is better."


def _tradeoff_note(rows: pd.DataFrame) -> str:
    drawn = [
        what
        for what, name in (
            ("speed (of the median)", "decode_tokens_per_s"),
            ("quality (Wilson)", "pass_rate"),
        )
        if any(_span(row, name) for _, row in rows.iterrows())
    ]
    bars = f"Bars: 95 % intervals of {' and '.join(drawn)}. " if drawn else "Fixed set: no intervals. "
    return bars + (
        "Dashed: Pareto front of the estimates; where intervals overlap, the order may be chance "
        "(compare() pairs the prompts and can tell)."
    )


def _tradeoff_told(row: pd.Series) -> str:
    speed, rate = _span(row, "decode_tokens_per_s"), _span(row, "pass_rate")
    fast = f"{number(row['decode_tokens_per_s'])} tok/s" + (
        f" ({number(speed[0])} to {number(speed[1])})" if speed else ""
    )
    good = percent(row["pass_rate"]) + (f" ({100 * rate[0]:.0f} to {100 * rate[1]:.0f} %)" if rate else "")
    return f"{fast} and {good} of {counted(int(row['n_prompts']), 'prompt')}"


@_styled
def memory_figure(results: pd.DataFrame) -> FigureAndAlt:
    """Peak memory above the baseline, its source named, with what is still held after a reply."""
    title = "Peak memory by configuration"
    column = "peak_memory_mib"
    rows = (
        results[pd.to_numeric(results[column], errors="coerce").notna()]
        if column in results
        else results.iloc[:0]
    )
    if rows.empty:
        return _nothing(title, "memory was not measured")
    names, looks = _configurations(rows), _looks(_configurations(results))
    values = {c: _memory(rows[rows["configuration"] == c]) for c in names}
    fig, ax = _canvas(
        title, f"Source: {_sources(rows)}.", 1.55 + 0.55 * len(names), _memory_note(values.values())
    )
    for y, (name, value) in enumerate(values.items()):
        _memory_bar(ax, y, value, looks[name], HATCHES[_configurations(results).index(name) % len(HATCHES)])
    _rows(ax, names)
    ax.set_xlim(left=0)
    ax.set_xlabel("Memory above the baseline (MiB)")
    told = _list(f"{name} {_memory_told(value)}" for name, value in values.items())
    return fig, visible(f"{title}, {_sources(rows)}: {told}.")


HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++", "oo")


@dataclass(frozen=True)
class Memory:
    peak_mib: float
    delta_mib: float | None
    size_mib: float | None
    n: int


def _memory(rows: pd.DataFrame) -> Memory:
    def largest(name: str) -> float | None:
        values = pd.to_numeric(rows[name], errors="coerce").dropna() if name in rows else ()
        return float(max(values)) if len(values) else None

    return Memory(largest("peak_memory_mib"), largest("memory_delta_mib"), largest("size_mib"), len(rows))


def _sources(rows: pd.DataFrame) -> str:
    named = sorted({str(s) for s in rows["memory_source"].dropna()}) if "memory_source" in rows else []
    return ", ".join(s.replace("_", " ") for s in named) or "not named"


def _memory_note(values: Iterable[Memory]) -> str:
    values = list(values)
    parts = ["Bar: the highest peak of any request, less the baseline"]
    if any(v.delta_mib is not None for v in values):
        parts.append("diamond: largest memory delta, after less before a request")
    if any(v.size_mib is not None for v in values):
        parts.append("dashed line: the model file's size")
    return "; ".join(parts) + ". A maximum carries no interval."


def _memory_bar(ax: Any, y: float, value: Memory, look: Look, hatch: str) -> None:
    ax.barh(
        y,
        value.peak_mib,
        height=0.55,
        color=look.colour,
        alpha=0.75,
        hatch=hatch,
        edgecolor="white",
        zorder=2,
    )
    if value.delta_mib is not None:
        ax.plot(value.delta_mib, y, marker="D", ms=7, mfc="white", mec=INK, mew=1.3, zorder=4)
    if value.size_mib is not None:
        ax.plot([value.size_mib] * 2, [y - 0.36, y + 0.36], color=INK, lw=1.6, ls=(0, (3, 1.5)), zorder=3)
    _beside(ax, y, f"{number(value.peak_mib)} MiB, n = {value.n}")


def _memory_told(value: Memory) -> str:
    parts = [f"peak {number(value.peak_mib)} MiB"]
    if value.delta_mib is not None:
        parts.append(f"delta {number(value.delta_mib)} MiB")
    if value.size_mib is not None:
        parts.append(f"file {number(value.size_mib)} MiB")
    return f"{', '.join(parts)} (n = {counted(value.n, 'request')})"


@_styled
def seconds_per_correct_figure(summary: pd.DataFrame) -> FigureAndAlt:
    """What one correct answer costs in seconds: all the time spent over the number of right answers."""
    title = "Seconds per correct answer"
    column = "seconds_per_correct"
    rows = summary[summary[column].notna()] if column in summary else summary.iloc[:0]
    if rows.empty:
        return _nothing(title, "no prompt of this run has a check")
    names, looks = list(rows["configuration"]), _looks(summary["configuration"])
    costs = dict(zip(names, rows[column].astype(float)))
    n = dict(zip(names, rows["n_prompts"].astype(int)))
    fig, ax = _canvas(
        title,
        "All latencies of a configuration added up, over its correct answers. Less is better.",
        1.5 + 0.5 * len(names),
        'A ratio of sums, shown without interval; "never" means that no answer was correct.',
    )
    finite = [v for v in costs.values() if math.isfinite(v)]
    for y, name in enumerate(names):
        if math.isfinite(costs[name]):
            ax.plot(
                [0 if not _wide(finite) else min(finite) / 2, costs[name]],
                [y, y],
                color=looks[name].colour,
                lw=2.5,
            )
            ax.plot(
                costs[name], y, marker=looks[name].marker, ms=10, mfc=looks[name].colour, mec=INK, mew=1.2
            )
        _beside(ax, y, f"{_cost(costs[name])}, n = {n[name]}")
    _rows(ax, names)
    scale = _maybe_log(ax, finite)
    ax.set_xlabel(f"Seconds per correct answer (s{scale})")
    told = _list(f"{name} {_cost(costs[name])} (n = {counted(n[name], 'prompt')})" for name in names)
    return fig, visible(f"{title}: {told}.")


def _wide(values: list[float]) -> bool:
    positive = [v for v in values if v > 0]
    return bool(positive) and max(positive) / min(positive) > 30


def _cost(seconds: float) -> str:
    return f"{number(seconds)} s" if math.isfinite(seconds) else "never"


# ---------------------------------------------------------------- one recording


@_styled
def timeline_figure(recording: Recording, limit: int = 12) -> FigureAndAlt:
    """One request from sending to its end: the wait for the first token, then every chunk as it arrived."""
    title = "One request, from sending to its end"
    chunks = [c for c in recording.chunks if c.kind in TEXT_KINDS and c.text]
    end_ms = (recording.t_end_ns - recording.t_sent_ns) / 1e6
    if not chunks:
        return _nothing(title, f"no text arrived in {number(end_ms)} ms (state {recording.state})")
    at = np.array([(c.t_ns - recording.t_sent_ns) / 1e6 for c in chunks])
    unit = "token" if recording.chunks_are_tokens else "chunk"
    fig, (lane, ax) = _canvas(
        title,
        f"{counted(len(chunks), unit)} in {number(end_ms)} ms; state {recording.state}.",
        4.3,
        f"Every mark is one {unit}. Upper bar: waiting for the first, receiving, and the "
        f"{number(end_ms - at[-1])} ms from the last to the end of the stream.",
        nrows=2,
        sharex=True,
        height_ratios=[1, 4.2],
    )
    _lane(lane, at, end_ms)
    _staircase(ax, at, chunks, end_ms, unit, limit)
    gaps = np.diff(at)
    pace = f", then {len(gaps)} more with a median gap of {number(np.median(gaps))} ms" if len(gaps) else ""
    return fig, visible(
        f"{title}: the first {unit} came after {number(at[0])} ms (TTFT){pace}; the reply ended after "
        f"{number(end_ms)} ms (latency), state {recording.state}."
    )


def _lane(ax: Any, at: np.ndarray, end_ms: float) -> None:
    """The request's phases as one bar."""
    phases = (
        ("waiting", 0.0, at[0], COLOURS[1], "//"),
        ("receiving", at[0], at[-1], COLOURS[0], ""),
        ("closing", at[-1], end_ms, "#8a8a8a", ".."),
    )
    for name, start, stop, colour, hatch in phases:
        ax.barh(
            0, stop - start, left=start, height=0.7, color=colour, hatch=hatch, edgecolor="white", linewidth=0
        )
        words = f"{name}\n{number(stop - start)} ms"
        if stop - start > 0.12 * end_ms:
            ax.text(
                (start + stop) / 2,
                0,
                words,
                ha="center",
                va="center",
                fontsize=9,
                color="white",
                fontweight="bold",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
            )
    ax.set_axis_off()
    ax.set_ylim(-0.45, 0.45)


def _staircase(ax: Any, at: np.ndarray, chunks: list, end_ms: float, unit: str, limit: int) -> None:
    """Chunks counted up as they arrive, the first few with their text."""
    count = np.arange(1, len(at) + 1)
    ax.plot(
        np.r_[0, at, end_ms],
        np.r_[0, count, count[-1]],
        drawstyle="steps-post",
        color=COLOURS[0],
        lw=1.3,
        zorder=2,
    )
    ax.plot(at, count, ls="", marker="o", ms=4 if len(at) <= 60 else 2.5, color=COLOURS[0], zorder=3)
    ax.axvline(at[0], color=COLOURS[1], lw=1.2, ls=(0, (4, 2)), zorder=1)
    ax.annotate(
        f"first {unit}: {number(at[0])} ms",
        (at[0], 0.985),
        xycoords=("data", "axes fraction"),
        xytext=(5, 0),
        textcoords="offset points",
        va="top",
        fontsize=9,
        color=GREY,
    )
    if len(chunks) <= 4 * limit:  # beyond that the words would cover each other
        for x, y, chunk in zip(at, count, chunks[: 4 * limit]):
            ax.annotate(
                _drawable(_quoted(chunk.text)),
                (x, y),
                xytext=(-3, 2),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color=INK,
            )
    ax.set(xlabel="Time since the request was sent (ms)", ylabel=f"{unit.capitalize()}s so far")
    ax.set_xlim(0, max(end_ms, at[-1]) * 1.06)
    ax.set_ylim(0, len(at) * 1.14 + 0.5)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _quoted(text: str, limit: int = 14) -> str:
    shown = visible(text).replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣")
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
