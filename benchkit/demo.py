"""The main job without a browser: run (lesson 02), analyse (03), compare (05), on the shipped models."""

from __future__ import annotations

import time
from pathlib import Path

from benchkit import compare, places
from benchkit.notebooks import NotebookError, execute
from benchkit.runs import read_json
from benchkit.text import duration

MODELS = ["gguf:pocket-xs", "gguf:pocket-s", "gguf:pocket-m", "gguf:pocket-m:Q4_K_M"]
MEASURE = {"models": MODELS, "prompts": "categories", "trials": 1, "max_tokens": 96}


def demo(out: Path | None = None) -> Path:
    """Run lessons 02, 03 and 05 on four models and 60 prompts; print the table; return the run's folder.

    Each call measures afresh, into `run-1`, `run-2` … of `benchmark_outputs/demo`; one that was
    interrupted is continued instead.
    """
    began = time.monotonic()
    base = Path(out or places.OUTPUTS / "demo").resolve()
    print(f"Measuring {len(MODELS)} models with 60 prompts, analysing, comparing: less than two minutes.\n"
          "If you interrupt it, the same command continues.", flush=True)  # fmt: skip
    folder = measure(base)
    execute("03_analyze_results", {"run_folder": str(folder)}, executed(folder, "03_analyze_results"))
    execute("05_compare_models", {"run_folders": [str(folder)]}, executed(folder, "05_compare_models"))
    print(f"\n{compare.as_text(compare.side_by_side([folder]), with_pairs=False)}")
    print(f"\nDone in {duration(time.monotonic() - began)}. Open in a browser:\n  {folder / 'report.html'}")
    print(f"The lessons as they ran, for JupyterLab:\n  {executed(folder, '').parent}")
    return folder


def measure(base: Path) -> Path:
    """Run lesson 02, afresh where an interrupted run cannot be continued (other versions, settings)."""
    interrupted, new = last_and_next(base)
    if interrupted:
        try:
            return run_lesson(interrupted)
        except NotebookError as problem:
            print(f"{problem}\nThat run cannot be continued, so a new one begins.", flush=True)
    return run_lesson(new)


def run_lesson(folder: Path) -> Path:
    """Measure into a folder, by lesson 02."""
    parameters = MEASURE | {"output_folder": str(folder)}
    execute("02_run_benchmark", parameters, executed(folder, "02_run_benchmark"))
    return folder


def last_and_next(base: Path) -> tuple[Path | None, Path]:
    """The newest run's folder if that was interrupted, and the folder for a new one.

    >>> import tempfile
    >>> last, new = last_and_next(Path(tempfile.mkdtemp()))
    >>> last, new.name
    (None, 'run-1')
    """
    newest = max((int(p.name[4:]) for p in base.glob("run-*") if p.name[4:].isdigit()), default=0)
    folder = base / f"run-{newest}"
    interrupted = newest and read_json(folder / "status.json", {}).get("state") != "complete"
    return folder if interrupted else None, base / f"run-{newest + 1}"


def executed(folder: Path, lesson: str) -> Path:
    """Where the executed copy of a lesson goes: beside the run, which holds nothing but itself."""
    return folder.with_name(f"{folder.name}-lessons") / f"{lesson}.ipynb"
