"""Turn a data set into a prompt file: a file of CSV, JSON lines or Parquet, or one of Hugging Face's by its name."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchkit.errors import did_you_mean
from benchkit.prompts import PromptError, PromptSet, brief, load_prompts, no_repeats, repeated

Rows = Iterator[tuple[int, dict[str, Any]]]  # the line (or row) number, and the row


def convert_prompts(
    source: str | Path,
    target: str | Path,
    *,
    prompt: str = "prompt",
    expected: str | None = None,
    limit: int | None = None,
    overwrite: bool = False,
) -> PromptSet:
    """Write a data set's columns as a prompt file, and return it loaded.

    With a column of `expected` answers each line becomes `{"prompt": …, "expected": …}`; without one
    the prompts carry no check. The source is a .csv, .jsonl (or .json with one object a line) or .parquet file.
    """
    source, target = Path(source), Path(target)
    _check(source, target, limit, overwrite)
    return _convert(_rows(source), source, target, prompt, expected, limit)


def prompts_from_hf(
    name: str,
    target: str | Path,
    *,
    subset: str | None = None,
    split: str = "test",
    prompt: str = "prompt",
    expected: str | None = None,
    limit: int | None = None,
    overwrite: bool = False,
) -> PromptSet:
    """Fetch a data set of Hugging Face by its name (`openai/gsm8k`) and write it as a prompt file.

    Rows come one by one, so `limit` also limits what is downloaded. `name` may be a local folder of data as well.
    Needs the network, and the package datasets: `pip install "benchkit[hf]"`. Raises PromptError with what to do.
    """
    source, target = Path(name), Path(target)
    _check(source, target, limit, overwrite)
    return _convert(_hub_rows(name, subset, split), source, target, prompt, expected, limit)


def _check(source: Path, target: Path, limit: int | None, overwrite: bool) -> None:
    if limit is not None and limit < 1:
        raise PromptError(f"limit must be a whole number from 1, found {limit}", source)
    if target.suffix.lower() != ".jsonl":
        raise PromptError(f'the new prompt file must end in .jsonl, not in "{target.suffix}"', target)
    if target.exists() and not overwrite:
        raise PromptError("the file exists already; choose another name, or ask to overwrite it", target)


def _convert(
    rows: Rows, source: Path, target: Path, prompt: str, expected: str | None, limit: int | None
) -> PromptSet:
    lines = list(_lines(rows, source, prompt, expected, limit))
    if not lines:
        raise PromptError("there are no rows in it", source)
    if expected is None:
        lines.insert(
            0, {"set": _set_name(target), "description": f"Converted from {source.name}, without checks."}
        )
    return _write_checked(lines, target)


def _set_name(target: Path) -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in target.stem)
    return (name.lstrip("_.-") or "converted")[:64]


def _lines(
    rows: Rows, source: Path, prompt: str, expected: str | None, limit: int | None
) -> Iterator[dict[str, Any]]:
    for index, (number, row) in enumerate(islice(rows, limit)):
        text = _cell(row, prompt, source, number)
        if not isinstance(text, str):
            raise PromptError(f"a prompt must be text, found {brief(text)}", source, number, prompt)
        if expected is None:
            yield {"id": f"row-{index:04d}", "category": "other", "prompt": text}
        else:
            yield {"prompt": text, "expected": _cell(row, expected, source, number)}


def _cell(row: dict[str, Any], column: str, source: Path, number: int) -> Any:
    if column not in row:
        columns = ", ".join(str(name) for name in row if name is not None)
        hint = did_you_mean(column, [str(name) for name in row])
        raise PromptError(f"there is no such column{hint}; there are: {columns}", source, number, column)
    value = row[column]
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # noqa: PLR0124 (NaN)
        raise PromptError("the cell is empty; each row needs a value", source, number, column)
    return value


def _rows(source: Path) -> Rows:
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".json": _json_rows, ".parquet": _parquet_rows}
    reader = readers.get(source.suffix.lower())
    if reader is None:
        raise PromptError(f'can read {", ".join(readers)}, not "{source.suffix}"', source)
    if os.path.exists(source) and not os.path.isfile(source):  # a pipe or a device may have no end
        raise PromptError("this is not a file of data", source)
    try:
        yield from reader(source)
    except OSError as error:
        raise PromptError(f"the file cannot be read: {error.strerror or error}", source) from None
    except UnicodeDecodeError:
        raise PromptError("the file is not UTF-8; save it as UTF-8", source) from None


def _csv_rows(source: Path) -> Rows:
    with open(source, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            twice = repeated(name for name in reader.fieldnames or [] if name)
            if twice is not None:
                raise PromptError("two columns have this name; rename one", source, 1, twice)
            for row in reader:
                if None in row:
                    raise PromptError(MORE_CELLS, source, reader.line_num)
                yield reader.line_num, row
        except csv.Error as error:
            raise PromptError(f"not valid CSV: {error}", source, reader.line_num) from None


MORE_CELLS = "more cells than the header has; put quotation marks around a text with commas"


def _json_rows(source: Path) -> Rows:
    with open(source, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line, object_pairs_hook=no_repeats)
            except (ValueError, RecursionError) as error:
                problem = f"not valid JSON ({error}); each line must be one object"
                raise PromptError(problem, source, number) from None
            if not isinstance(row, dict):
                raise PromptError(f"each line must be a JSON object, found {brief(row)}", source, number)
            yield number, row


def _parquet_rows(source: Path) -> Rows:
    try:
        import pyarrow.parquet
    except ImportError:
        raise PromptError('reading Parquet needs pyarrow: pip install "benchkit[export]"', source) from None
    try:
        table = pyarrow.parquet.ParquetFile(source)
        batches = (row for batch in table.iter_batches(1000) for row in batch.to_pylist())
        yield from enumerate(batches, 1)
    except pyarrow.ArrowException as error:
        raise PromptError(f"not a readable Parquet file: {error}", source) from None


def _hub_rows(name: str, subset: str | None, split: str) -> Rows:
    try:
        import datasets
    except ImportError:
        raise PromptError('this needs the package datasets: pip install "benchkit[hf]"', Path(name)) from None
    try:
        yield from enumerate(datasets.load_dataset(name, subset, split=split, streaming=True), 1)
    except Exception as error:  # the package raises what its many sources raise
        problem = " ".join(str(error).split())[:300] or type(error).__name__
        raise PromptError(f"the data set cannot be had: {problem}", Path(name)) from None


def _write_checked(lines: list[dict[str, Any]], target: Path) -> PromptSet:
    """Write beside the target, read it as a prompt file, and only then put it in place."""
    draft = target.with_name(f"{target.stem}.{os.getpid()}.part.jsonl")
    try:
        text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        draft.write_bytes(text.encode("utf-8"))
        load_prompts(draft)
        os.replace(draft, target)
    except PromptError as error:  # about the draft, which nobody will find
        raise PromptError(error.problem, target, error.line, error.field) from None
    except (TypeError, ValueError) as error:
        raise PromptError(f"a value has no place in JSON: {error}", target) from None
    except OSError as error:
        raise PromptError(f"the file cannot be written: {error.strerror or error}", target) from None
    finally:
        draft.unlink(missing_ok=True)
    return load_prompts(target)
