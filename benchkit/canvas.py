"""What every figure shares: style, layout, text that can be drawn, and the one way to show a figure."""

from __future__ import annotations

import functools
import io
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import LogLocator, NullFormatter

from benchkit.text import visible

WIDTH = 9.0  # inches; a notebook's column
INK, GREY = "#1b1b1b", "#595959"
COLOURS = ("#0173b2", "#d55e00", "#029e73", "#c4609f", "#56788c", "#a8703a", "#2f8fc9", "#b98000")
MARKERS = (
    "o",
    "s",
    "^",
    "D",
    "v",
    "P",
    "X",
    "p",
    "h",
    "*",
    "<",
)  # as many as are not a multiple of the colours
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++", "oo")
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
        return {"text/markdown": f"*{markdown(self.alt)}*", "text/plain": self.alt}


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


def markdown(text: str) -> str:
    """Text that Markdown shows as it is.

    >>> markdown("a_b <i> *c*")
    'a\\\\_b &lt;i&gt; \\\\*c\\\\*'
    """
    escaped = "".join("\\" + c if c in "\\`*_{}[]()#+!|$~" else c for c in text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ---------------------------------------------------------------- style


def styled(draw: Callable[..., FigureAndAlt]) -> Callable[..., FigureAndAlt]:
    """Run a drawing function in the house style, and leave matplotlib's own settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> FigureAndAlt:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


@dataclass(frozen=True)
class Look:
    """How one configuration looks in every figure: a colour, and for those who cannot tell it, a shape."""

    colour: str
    marker: str
    hatch: str


def looks(configurations: Iterable[str]) -> dict[str, Look]:
    """A look for each configuration, by its place in the table."""
    names = dict.fromkeys(configurations)
    return {
        name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], HATCHES[i % len(HATCHES)])
        for i, name in enumerate(names)
    }


def label(text: str, width: int = 24) -> str:
    """A configuration's name for an axis: drawable, and broken over lines where it is long.

    >>> label("gguf:pocket-s:Q4_K_M n_ctx=1024", 18)
    'gguf:pocket-s:\\nQ4_K_M n_ctx=1024'
    """
    lines = [""]
    for part in re.split(r"(?<=[ :/,])", drawable(text)):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(piece.rstrip() for line in lines for piece in textwrap.wrap(line, 2 * width) or [""])


def drawable(text: str) -> str:
    """Visible text in which a character that the font lacks is a box, so that drawing never warns."""
    known = _font_characters()
    return "".join(c if ord(c) in known or c == "\n" else "□" for c in visible(text))


@functools.cache
def _font_characters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


# ---------------------------------------------------------------- layout


def canvas(title: str, subtitle: str, height: float, note: str = "", **subplots: Any) -> tuple[Figure, Any]:
    """An empty figure with a title, under it what is drawn, and at the foot how to read it."""
    said = textwrap.fill(drawable(subtitle), 130)
    fig = _titled(title + "\n" * (said.count("\n") + 1), height)
    fig.text(0.012, 1 - 0.31 / height, said, color=GREY, fontsize=9.5, va="top").set_in_layout(False)
    if note:
        fig.supxlabel(textwrap.fill(note, 143), x=0.012, ha="left", fontsize=8.5, color=GREY)
    return fig, fig.subplots(**subplots)


def nothing(title: str, why: str) -> FigureAndAlt:
    """The figure for data that holds nothing to draw: it says so."""
    fig = _titled(title, 1.5)
    fig.text(0.012, 0.35, f"Nothing to draw: {drawable(why)}.", color=GREY)
    return fig, visible(f"{title}: nothing to draw, because {why}.")


def _titled(title: str, height: float) -> Figure:
    fig = Figure(figsize=(WIDTH, height), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    fig.suptitle(title, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    return fig


def rows(ax: Any, names: list[str]) -> None:
    """One row a name, the first on top."""
    ax.set_yticks(range(len(names)), [label(name) for name in names])
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)


def beside(ax: Any, y: float, text: str, x: float = 1.02, **style: Any) -> None:
    """Text in the margin to the right of a row."""
    ax.annotate(text, (x, y), xycoords=("axes fraction", "data"), va="center", fontsize=9, **style)


def is_wide(values: Iterable[float]) -> bool:
    """Whether positive values span more than a factor of 30: only a logarithmic axis shows them all."""
    positive = [v for v in values if v > 0]
    return bool(positive) and max(positive) / min(positive) > 30


def scale_x(ax: Any, values: Iterable[float]) -> str:
    """A logarithmic axis for wide values, otherwise one from 0; returns what the axis label must add."""
    if not is_wide(values):
        ax.set_xlim(left=0)
        return ""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.6g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    return ", logarithmic scale"


def scattered(n: int) -> np.ndarray:
    """n places from −0.5 to 0.5 that fill a row evenly, without a random number."""
    return np.arange(n) * 0.618033988749895 % 1 - 0.5
