"""Run a lesson without a browser, strictly: a parameter that the lesson does not have is refused.

Plain papermill accepts any name, runs with the default and reports success; a run that
was meant to use 5 trials and used 3 is worse than one that stopped.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchkit import places
from benchkit.errors import BenchkitError, did_you_mean
from benchkit.text import one_line

NOTEBOOKS = places.ROOT / "notebooks"


class NotebookError(BenchkitError):
    """A notebook, a parameter's name or its value is not what the lesson expects."""


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's cell tagged `parameters`: its name, default, type and comment."""

    name: str
    default: Any
    type: type | None  # None: the default does not tell, any value is accepted
    help: str = ""

    def expects(self) -> str:
        """What a value must look like, in words.

        >>> Parameter("trials", 3, int).expects()
        'a whole number, such as 3'
        """
        return f"{_TYPE_WORDS.get(self.type, 'any value')}, such as {json.dumps(self.default, default=str)}"


_TYPE_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list",
               dict: "a mapping"}  # fmt: skip


def find_notebook(name: str | Path) -> Path:
    """The notebook file for a path, a lesson's name or its number: `03` is `03_analyze_results.ipynb`."""
    if Path(name).suffix == ".ipynb" and os.path.isfile(name):
        return Path(name)
    lessons = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    stem = Path(name).name.removesuffix(".ipynb")
    found = [path for key, path in lessons.items() if stem in (key, key.split("_")[0], key.partition("_")[2])]
    if len(found) == 1:
        return found[0]
    raise NotebookError(
        f"There is no notebook '{name}'{did_you_mean(stem, lessons)}.\nNotebooks here: {', '.join(lessons)}."
    )


def parameters_of(notebook: str | Path) -> dict[str, Parameter]:
    """What can be set in a notebook: the names, defaults and types of its cell tagged `parameters`."""
    papermill, path = _papermill(), find_notebook(notebook)
    try:
        rows = papermill.inspect_notebook(path)
    except Exception as error:  # whatever nbformat and papermill stumble over in a file that is none
        raise NotebookError(f"{path} is not a notebook: {one_line(error)}") from None
    return {name: _parameter(name, row["default"], row["help"]) for name, row in rows.items()}


def execute(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    progress: bool = True,
    timeout_s: float | None = None,
) -> Path:
    """Run a notebook from top to bottom with these parameters; return the executed copy's path.

    The cells run in the Python that runs this function, in the notebook's own folder, as
    JupyterLab would run them. Without `out`, the copy goes to `benchmark_outputs/notebooks/`.
    A cell that fails raises `NotebookError`; the copy up to that cell is kept.
    """
    source = find_notebook(notebook)
    values = check_parameters(source, parameters or {})
    target = Path(out) if out else places.OUTPUTS / "notebooks" / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    papermill = _papermill()
    try:
        papermill.execute_notebook(
            str(source), str(target), parameters=values, cwd=str(source.parent), kernel_name="python3",
            language="python", progress_bar={"desc": source.stem, "unit": "cell"} if progress else False,
            kernel_manager_class=kernel_manager_class(), timeout=timeout_s,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        raise NotebookError(_failure_text(source, target, error)) from None
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would report the cell's interruption too
        raise
    return target


def check_parameters(notebook: str | Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the notebook will get them, or one clear refusal."""
    known = parameters_of(notebook)
    for name in values:
        if name not in known:
            raise NotebookError(_unknown_text(notebook, name, known))
    return {name: _checked(known[name], value) for name, value in values.items()}


def parse_parameters(notebook: str | Path, texts: Iterable[str]) -> dict[str, Any]:
    """Parameters typed on a command line, `name=value` each, read as the notebook's types.

    A list is written with commas: `models=gguf:pocket-xs,gguf:pocket-s`.
    """
    known, values = parameters_of(notebook), {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise NotebookError(f"'{text}' is not a parameter. Write name=value, for example trials=3.")
        if name not in known:
            raise NotebookError(_unknown_text(notebook, name, known))
        if name in values:
            raise NotebookError(f"Parameter '{name}' is given twice; give it once.")
        values[name] = _checked(known[name], _from_text(known[name], value))
    return values


def kernel_manager_class() -> type:
    """A kernel manager whose `python3` is this very interpreter, whatever kernels are installed."""
    import ipykernel.kernelspec
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(AsyncKernelManager):
        transport_encryption = "auto"  # newer kernels encrypt, and warn on standard error if not asked to

        @property
        def kernel_spec(self) -> KernelSpec:
            spec = ipykernel.kernelspec.get_kernel_dict()
            return KernelSpec(resource_dir=ipykernel.kernelspec.RESOURCES, **spec)

    return ThisInterpreter


def _papermill() -> Any:
    try:
        import papermill
    except ImportError:
        raise NotebookError(
            "Running a notebook headless needs papermill: pip install 'benchkit[notebooks]'."
        ) from None
    return papermill


def _parameter(name: str, default: str, help: str) -> Parameter:
    try:
        value = ast.literal_eval(default)
    except (ValueError, SyntaxError):  # an expression, such as 2 * 60
        return Parameter(name, default, None, help)
    return Parameter(name, value, None if value is None else type(value), help)


def _checked(parameter: Parameter, value: Any) -> Any:
    """The value, if its type is the parameter's; a whole number may stand for a number."""
    wanted = parameter.type
    if wanted is float and type(value) is int and abs(value) <= sys.float_info.max:
        return float(value)
    items = {type(item) for item in parameter.default} if wanted is list and parameter.default else set()
    fits = wanted is None or (type(value) is wanted and (not items or {type(v) for v in value} <= items))
    if fits and _is_finite(value) and not _is_emptied(parameter, value):
        return value
    raise NotebookError(
        f"Parameter '{parameter.name}' got {json.dumps(value, default=str)} ({type(value).__name__}). "
        f"It must be {parameter.expects()}."
    )


def _is_finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False, default=str)
    except ValueError:  # NaN or infinity, at any depth
        return False
    return True


def _is_emptied(parameter: Parameter, value: Any) -> bool:
    """Whether nothing is given where the lesson has something: it would run, and show nothing."""
    return isinstance(value, (str, list)) and bool(parameter.default) and value in ("", [])


def _from_text(parameter: Parameter, text: str) -> Any:
    """A command line's text as the parameter's type, or the text itself where it cannot be read so."""
    if parameter.type is str:
        return text
    if parameter.type is list and not text.lstrip().startswith("["):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return [_number(part) for part in parts] if _holds_numbers(parameter.default) else parts
    try:
        return json.loads(text.lower() if parameter.type is bool else text)
    except ValueError:
        return text


def _holds_numbers(default: Any) -> bool:
    return bool(default) and not any(isinstance(item, str) for item in default)


def _number(text: str) -> Any:
    """The number that a text is; the text itself if it is none, for the message that refuses it."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unknown_text(notebook: str | Path, name: str, known: Mapping[str, Parameter]) -> str:
    rows = [f"  {p.name} = {json.dumps(p.default, default=str)}" + (f"  ({p.help})" if p.help else "")
            for p in known.values()]  # fmt: skip
    listing = "It can be set:\n" + "\n".join(rows) if rows else "It has no parameters."
    return f"Notebook {Path(notebook).stem} has no parameter '{name}'{did_you_mean(name, known)}. {listing}"


def _failure_text(source: Path, target: Path, error: Any) -> str:
    """Which cell failed, how it begins, what it said, and where the rest is."""
    import nbformat

    cells = nbformat.read(target, as_version=4).cells
    cell = next((c for c in cells if c.get("execution_count") == error.exec_count), None)
    name = f" '{cell.id}'" if cell else ""
    first_line = error.source.strip().partition("\n")[0]
    return (
        f"Notebook {source.stem} stopped at cell{name} (In [{error.exec_count}]), which begins\n"
        f"    {first_line}\n{error.ename}: {error.evalue}\n"
        f"The cells up to there, with the error in its place, are kept in {target}."
    )
