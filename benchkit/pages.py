"""What every page of a report shares: its style and policy, untrusted words, pictures, records as rows.

Whatever a model or a server said is untrusted text: the templates escape every value, `visible` shows what hides
or reorders, and the page's own policy forbids scripts and requests.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchkit import runs
from benchkit.errors import BenchkitError
from benchkit.text import one_line, visible

FOOTER = "Written by benchkit. This file holds everything it shows and asks nobody for anything."


@dataclass(frozen=True)
class Term:
    """One measure: the name under which it is kept, what it is called, its unit, its group, its formula."""

    column: str
    name: str
    unit: str
    group: str
    formula: str

    def shown(self) -> dict[str, str]:
        """The term as a template wants it."""
        return {"id": self.column, "name": self.name, "unit": self.unit, "formula": self.formula}


def render(template: str, values: Mapping[str, Any]) -> str:
    """A page from its template: the same values give the same text."""
    css = template_text("report.css")
    return fill(template, {**all_visible(values), "footer": FOOTER, "css": Markup(css), "policy": policy(css)})


def fill(template: str, values: Mapping[str, Any]) -> str:
    """A template with its values, each escaped."""
    return _environment().get_template(template).render(**values)


@functools.cache
def macros(template: str) -> Any:
    """The macros of a template, for a page that changes part by part: each gives HTML, every value escaped."""
    return _environment().get_template(template).module


def place(path: Path) -> Path:
    """Where a page may be written: never over a file that is not one."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise BenchkitError(f"{path} is no place for a report: give a name that ends in .html")
    return path


def write(path: Path, html: str) -> Path:
    """Write a page, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    runs.write_bytes(path, html.encode("utf-8"))
    return path


def _environment() -> Environment:
    return Environment(loader=PackageLoader("benchkit"), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # fmt: skip


def template_text(name: str) -> str:
    """A file of the folder `templates`, as it is."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def policy(css: str) -> str:
    """What the page may do: show its own style sheet and the pictures inside it. No script, no request."""
    digest = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def all_visible(value: Any) -> Any:
    """Every text in a nested value, with what hides or reorders made visible, so that nothing is missed."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {name: all_visible(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [all_visible(inner) for inner in value]
    return value


TONES = {"VALID": ("good", "✓"), "INVALID": ("bad", "✗"), "INCONCLUSIVE": ("unsure", "?")}


def verdict(run: str, state: str, reasons: Sequence[str], notes: Sequence[str]) -> dict[str, Any]:
    """A verdict with its reasons and notes, and how it looks: a colour, and a sign for those who cannot tell it."""
    tone, sign = TONES.get(state, ("unsure", "?"))
    return {"run": run, "state": state, "tone": tone, "sign": sign, "reasons": list(reasons), "notes": list(notes)}


def card(card: Any) -> dict[str, Any]:
    """A card as shown: the winner with its value, or in its place why there is none."""
    value = card.value if card.winner or not card.leader else f"{card.leader}: {card.value}"
    return {"title": card.title[:1].upper() + card.title[1:], "winner": card.winner or card.outcome,
            "decided": card.winner is not None, "reason": card.reason,
            "value": "" if card.outcome == "not measured" else value}  # fmt: skip


def picture(title: str, fig: Any, alt: str) -> dict[str, Any]:
    """A figure as a part of the page, its sentence beside it."""
    # Seaborn takes a second to import, and no table in a terminal needs it.
    from benchkit import canvas

    data = canvas.png(fig, alt, dpi=120)
    width, height = (int(120 * inches) for inches in fig.get_size_inches())
    return {"title": title, "alt": alt, "width": width, "height": height,
            "png": base64.b64encode(data).decode("ascii")}  # fmt: skip


def part(name: str, record: Any, open: bool = False) -> dict[str, Any]:
    """A record under a heading that unfolds."""
    return {"name": name, "facts": flat(record), "open": open}


def flat(value: Any, where: str = "") -> list[tuple[str, str]]:
    """A nested record as rows of key and value.

    >>> flat({"cpu": "A", "packages": {"numpy": "2.0"}, "flags": ["x", "y"], "power": None})
    [('cpu', 'A'), ('packages › numpy', '2.0'), ('flags', 'x, y'), ('power', 'not known')]
    """
    if isinstance(value, Mapping):
        return [
            row
            for key, inner in value.items()
            for row in flat(inner, f"{where} › {key}" if where else str(key))
        ]
    if isinstance(value, list) and any(isinstance(inner, (Mapping, list)) for inner in value):
        return [row for i, inner in enumerate(value) for row in flat(inner, f"{where} {i + 1}")]
    if isinstance(value, list):
        return [(where, ", ".join(map(str, value)) or "none")]
    return [(where, "not known" if value is None else one_line(str(value), 600))]
