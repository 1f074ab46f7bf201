"""Numbers and untrusted text, made fit to be shown to a person."""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import unicodedata
from collections.abc import Sequence

SHORT_NAMES = {0x00: "NUL", 0x07: "BEL", 0x08: "BS", 0x0D: "CR", 0x1B: "ESC", 0x7F: "DEL"}
NEVER_HIDDEN = "\n\t\u200c\u200d"  # line ends, tabs, and the joiners that scripts and emoji need


def number(value: float | None, digits: int = 3) -> str:
    """A number to three significant digits; a missing one is a dash, never 0.

    >>> number(0.012345), number(12.345), number(12345.6), number(None), number(float("inf"))
    ('0.0123', '12.3', '12,346', '–', '∞')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}")))))
    return f"{value:,.{decimals}f}"


def percent(share: float | None) -> str:
    """A share from 0 to 1 as whole percent.

    >>> percent(0.625), percent(None)
    ('62 %', '–')
    """
    return "–" if share is None or math.isnan(share) else f"{100 * share:.0f} %"


def counted(n: int, noun: str) -> str:
    """A count with its noun in the right number.

    >>> counted(1, "prompt"), counted(60, "prompt"), counted(2, "reply")
    ('1 prompt', '60 prompts', '2 replies')
    """
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{n:,} {noun if n == 1 else plural}"


def duration(seconds: float) -> str:
    """A duration as a person says it.

    >>> duration(42), duration(150), duration(9000)
    ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.2g} min" if seconds < 5400 else f"{seconds / 3600:.2g} h"


def command_line(words: Sequence[str]) -> str:
    """Words as a person types them into this system's shell.

    >>> command_line(["benchkit", "run", "plan.yaml"])
    'benchkit run plan.yaml'
    """
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


class _Marks(dict):
    """For `str.translate`: what each character is shown as, found when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = shown = _mark(chr(code))
        return shown


def _mark(character: str) -> str:
    code = ord(character)
    if character in NEVER_HIDDEN or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    return f"⟨{SHORT_NAMES.get(code) or f'U+{code:04X}'}⟩"


_MARKS = _Marks()


def visible(text: str) -> str:
    r"""Text with every character that hides or reorders made visible: NUL, escapes, direction overrides.

    >>> visible("red: \x1b[31m, reversed: \u202eabc, NUL: \0")
    'red: ⟨ESC⟩[31m, reversed: ⟨U+202E⟩abc, NUL: ⟨NUL⟩'
    """
    return str(text).replace("\r\n", "\n").translate(_MARKS)


def one_line(text: str, limit: int = 100) -> str:
    """Visible text on one line, cut with an ellipsis where it is longer than `limit`.

    >>> one_line("Name: Sam,\\nEmail: sam@example.com", 12)
    'Name: Sam, …'
    """
    line = " ".join(visible(str(text)[: 8 * limit]).split())
    return line if len(line) <= limit else line[: limit - 2].rstrip() + " …"
