"""Write a table as CSV, Excel or Parquet. Replies are untrusted text: they stay text in every program."""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from benchkit.errors import BenchkitError
from benchkit.runs import write_bytes

EXCEL_CELL = 32_767  # the most characters (UTF-16 units) of a cell
EXCEL_ROWS = 1_048_576
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
ILLEGAL_IN_EXCEL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
#: Where a formula could begin: at the start, and after the characters at which some countries' Excel splits.
FORMULA = re.compile(r"^(?=[\t\r\n])|(?:^|(?<=[;\t\r\n]))(?=[ \"]*[=+\-@＝＋－＠])")
SURROGATES = re.compile("[\ud800-\udfff]")  # half a character, which no file can hold


def export(results: pd.DataFrame, path: str | os.PathLike) -> Path:
    """Write a table to `path`; its ending chooses the format: `.csv`, `.xlsx` or `.parquet`.

    Lists (the checks of a reply) become JSON text; the hundreds of windows behind a perplexity are left out. In CSV an apostrophe stands before whatever a spreadsheet could
    take for a formula, on every line and after every semicolon, so bullet lists change too; Excel and Parquet
    files hold the texts unchanged. Raises BenchkitError for another ending, or where the package for a format
    is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise BenchkitError(f"{path}: the ending chooses the format, and can be {', '.join(WRITERS)}.")
    if not path.parent.is_dir():
        raise BenchkitError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    write_bytes(path, to_bytes(results, path.suffix.lower()))
    return path


def to_bytes(results: pd.DataFrame, ending: str) -> bytes:
    """What `export` writes into a file of that ending."""
    return WRITERS[ending](results.drop(columns="nll_by_window", errors="ignore").map(_plain))


def _plain(value: Any) -> Any:
    """One value as a file can hold it: lists as JSON text, no half characters."""
    if isinstance(value, (list, tuple, dict)):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return SURROGATES.sub("\ufffd", value) if isinstance(value, str) else value


def _csv(table: pd.DataFrame) -> bytes:
    text = table.map(defused).to_csv(index=False, lineterminator="\r\n")  # so that both in a reply get quotes
    return text.encode("utf-8-sig")  # the mark tells Excel that it is UTF-8


def defused(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula, even one that splits the file at semicolons.

    Bullets begin as formulas do, so the lines of a list change as well.

    >>> defused("=1+1"), defused("yes;=1+1"), defused("plain; -ish 2-1"), defused(-1.5)
    ("'=1+1", "yes;'=1+1", "plain;' -ish 2-1", -1.5)
    >>> defused("- a\\n- b")
    "'- a\\n'- b"
    """
    return FORMULA.sub("'", value) if isinstance(value, str) else value


def _excel(table: pd.DataFrame) -> bytes:
    openpyxl = _package("openpyxl", "Excel")
    if len(table) >= EXCEL_ROWS:
        raise BenchkitError(f"Excel holds {EXCEL_ROWS:,} rows, the table has {len(table):,}. Use .parquet.")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title, sheet.freeze_panes = "benchkit", "A2"
    for c, name in enumerate(table.columns, 1):
        _fill(sheet.cell(1, c), str(name))
        for r, value in enumerate(table[name], 2):
            _fill(sheet.cell(r, c), value)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _fill(cell: Any, value: Any) -> None:
    """Put a value into a cell; a text stays a text, whatever it begins with."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return
    if isinstance(value, float) and math.isinf(value):
        value = (
            "never" if value > 0 else str(value)
        )  # Excel has no infinity; ours is seconds per correct answer
    if not isinstance(value, str):
        cell.value = value.item() if hasattr(value, "item") else value
        return
    cell.value = excel_text(value)
    if cell.value is not None:
        cell.data_type = "s"
        cell.quotePrefix = value.startswith(FORMULA_STARTS)


def excel_text(value: str) -> str:
    """A text that a cell can hold: control characters made visible, cut at Excel's limit and saying so.

    >>> excel_text("a\\x1b[31m"), len(excel_text("x" * 40_000))
    ('a␛[31m', 32767)
    """
    text = ILLEGAL_IN_EXCEL.sub(lambda m: chr(0x2400 + ord(m[0])) if ord(m[0]) < 0x20 else "\ufffd", value)
    if _utf16_length(text) <= EXCEL_CELL:
        return text
    note = f" … [cut: {len(text):,} characters]"
    kept = text.encode("utf-16-le")[: 2 * (EXCEL_CELL - len(note))]
    return kept.decode("utf-16-le", "ignore") + note


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _parquet(table: pd.DataFrame) -> bytes:
    _package("pyarrow", "Parquet")
    file = io.BytesIO()
    table.to_parquet(file, index=False, engine="pyarrow")
    return file.getvalue()


def _package(name: str, kind: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise BenchkitError(
            f"{kind} files need the package {name}, which is not installed. Install it with "
            f"`pip install {name}`, or export to .csv."
        ) from None


WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {".csv": _csv, ".xlsx": _excel, ".parquet": _parquet}
