"""Figures of quantisation. Each function returns `(fig, alt)`: alt is the sentence that says what the figure shows.

    show(*layout_figure("Q4_K"))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchkit.blocks import Layout, Part, layout, relative_rms_error
from benchkit.canvas import (
    COLOURS,
    GREY,
    HATCHES,
    INK,
    FigureAndAlt,
    beside,
    canvas,
    drawable,
    nothing,
    styled,
)
from benchkit.text import counted, number, visible

# ---------------------------------------------------------------- a block's layout


@styled
def layout_figure(type: str) -> FigureAndAlt:
    """A block of one type to scale: its bytes from left to right, each part named with what it means."""
    how = layout(type)
    title = f"A block of {type}: {counted(how.n_bytes, 'byte')} for {counted(how.n_weights, 'weight')}"
    scales = ", its share of the scales included" if len(how.parts) > 1 else ""
    subtitle = f"weight = {how.weight}; {how.bits_per_weight:g} bits a weight{scales}."
    fig, ax = canvas(title, subtitle, 1.75 + 0.5 * len(how.parts))
    for i, part in enumerate(how.parts):
        _part(ax, i, part, how)
    ax.set(xlim=(0, how.n_bytes), ylim=(len(how.parts) + 0.35, -0.45), xlabel="Bytes from the beginning of the block")
    ax.set_xticks(_ticks(how), _tick_labels(how))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(False)
    told = "; ".join(f"{_span(part)} {part.name}: {part.meaning}" for part in how.parts)
    return fig, visible(f"{title}, where {subtitle[:-1]}. {told}.")


def _part(ax: Any, i: int, part: Part, how: Layout) -> None:
    """A part twice, one under the other: in the whole block on top, and in a row of its own with its meaning."""
    style = {"color": COLOURS[i], "hatch": HATCHES[i], "edgecolor": "white", "linewidth": 0}
    ax.barh(0, part.n_bytes, left=part.offset, height=0.6, **style)
    ax.barh(i + 1.14, part.n_bytes, left=part.offset, height=0.26, **style)
    for x in (part.offset, part.offset + part.n_bytes):
        ax.plot([x, x], [-0.3, i + 1.27], color=GREY, lw=0.6, ls=(0, (2, 2)), zorder=0)
    says = f"{part.name}   {counted(part.n_bytes, 'byte')}: {part.meaning}"
    at_left = part.offset + part.n_bytes / 2 < 0.5 * how.n_bytes
    x = part.offset if at_left else part.offset + part.n_bytes
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    ax.text(x, i + 0.82, says, ha="left" if at_left else "right", va="center", fontsize=9, color=INK, bbox=box)


def _span(part: Part) -> str:
    last = part.offset + part.n_bytes - 1
    return f"byte {part.offset}" if last == part.offset else f"bytes {part.offset}–{last}"


def _ticks(how: Layout) -> list[int]:
    return sorted({part.offset for part in how.parts} | {how.n_bytes})


def _tick_labels(how: Layout) -> list[str]:
    """Where parts begin, and the end; a number that would touch another is left out, the first and last never."""
    labels, last = [], -how.n_bytes
    for tick in _ticks(how):
        far = min(tick - last, how.n_bytes - tick or how.n_bytes) > 0.03 * how.n_bytes
        labels.append(str(tick) if far else "")
        last = tick if far else last
    return labels


# ---------------------------------------------------------------- what rounding does to a row


@styled
def rounding_figure(weights: np.ndarray, decoded: Mapping[str, np.ndarray], n_shown: int = 64) -> FigureAndAlt:
    """What each type makes of one row of weights: the error at its first weights, and its RMS over all of them.

    `decoded` is the row as each type gives it back, by the type's name. Errors are in percent of the row's own RMS.
    """
    title = "What rounding does to one row of weights"
    weights = np.asarray(weights, float)
    rms = float(np.sqrt(np.mean(weights**2))) if len(weights) else 0.0
    if not rms or not decoded:
        return nothing(title, "the row holds no weight other than 0" if not rms else "no type was given")
    shown = min(n_shown, len(weights))
    note = "Error: what the type gives back minus the original, in percent of the row's RMS. All errors on one scale."
    fig, axes = canvas(title, f"The first {shown} of {counted(len(weights), 'weight')} of the row; RMS of the row "
                       f"{number(rms)}.", 2.35 + 0.78 * len(decoded), note, nrows=1 + len(decoded), sharex=True,
                       height_ratios=[1.5] + [1] * len(decoded))  # fmt: skip
    _values(axes[0], weights[:shown])
    errors = {type: 100 * (np.asarray(row, float) - weights) / rms for type, row in decoded.items()}
    limit = 1.1 * max(np.abs(error[:shown]).max() for error in errors.values()) or 1.0
    relative = {type: 100 * relative_rms_error(weights, row) for type, row in decoded.items()}
    for i, (ax, type) in enumerate(zip(axes[1:], errors, strict=True)):
        _errors(ax, errors[type][:shown], COLOURS[(i + 1) % len(COLOURS)], limit)
        beside(ax, 0, f"{drawable(type)}\nRMS error {number(relative[type])} %", x=1.015)
    axes[-1].set_xlabel("Place in the row")
    axes[(len(axes) - 1) // 2 + 1].set_ylabel("Error (% of the row's RMS)")
    told = "; ".join(f"{type} {number(error)} %" for type, error in relative.items())
    return fig, visible(f"{title}, RMS of the error in percent of the row's RMS (n = {counted(len(weights), 'weight')}): {told}.")


def _values(ax: Any, weights: np.ndarray) -> None:
    ax.axhline(0, color=GREY, lw=0.8)
    ax.plot(np.arange(len(weights)), weights, color=INK, lw=0.8, marker="o", ms=3)
    ax.set_ylabel("Weight")
    beside(ax, 0, "the original", x=1.015)


def _errors(ax: Any, error: np.ndarray, colour: str, limit: float) -> None:
    ax.axhline(0, color=GREY, lw=0.8)
    ax.vlines(np.arange(len(error)), 0, error, color=colour, lw=2.4)
    ax.set_ylim(-limit, limit)
    ax.set_xlim(-1, len(error))
