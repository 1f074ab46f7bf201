"""The main job without a browser: run (lesson 02), analyse (03), compare (05), on the shipped models."""

from __future__ import annotations

import time
from pathlib import Path

from benchkit import compare, places
from benchkit.bench import duration
from benchkit.notebooks import execute
from benchkit.runs import read_json

MODELS = ["gguf:pocket-xs", "gguf:pocket-s", "gguf:pocket-m", "gguf:pocket-m:Q4_K_M"]
MEASURE = {"models": MODELS, "prompts": "categories", "trials": 1, "max_tokens": 96}


def demo(out: Path | None = None) -> Path:
    """Run lessons 02, 03 and 05 on four models and 60 prompts; print the table; return the run's folder.

    Each call measures afresh, into `run-1`, `run-2` … of `benchmark_outputs/demo`; one that was
    interrupted is continued instead.
    """
    began = time.monotonic()
    folder = next_folder(Path(out or places.OUTPUTS / "demo").resolve())
    print(f"Measuring {len(MODELS)} models with 60 prompts, then analysing and comparing: about two minutes.\n"
          f"Into {folder}; if you interrupt it, the same command continues.", flush=True)  # fmt: skip
    execute("02_run_benchmark", MEASURE | {"output_folder": str(folder)}, executed(folder, "02_run_benchmark"))
    execute("03_analyze_results", {"run_folder": str(folder)}, executed(folder, "03_analyze_results"))
    execute("05_compare_models", {"run_folders": [str(folder)]}, executed(folder, "05_compare_models"))
    print(f"\n{compare.as_text(compare.side_by_side([folder]), with_pairs=False)}")
    print(f"\nDone in {duration(time.monotonic() - began)}. Open in a browser:\n  {folder / 'report.html'}")
    print(f"The lessons as they ran, for JupyterLab:\n  {executed(folder, '').parent}")
    return folder


def next_folder(base: Path) -> Path:
    """The folder of the newest unfinished run, or the next new one.

    >>> import tempfile
    >>> next_folder(Path(tempfile.mkdtemp())).name
    'run-1'
    """
    numbers = [int(p.name[4:]) for p in base.glob("run-*") if p.name[4:].isdigit()]
    newest = base / f"run-{max(numbers, default=0)}"
    if numbers and read_json(newest / "status.json", {}).get("state") != "complete":
        return newest
    return base / f"run-{max(numbers, default=0) + 1}"


def executed(folder: Path, lesson: str) -> Path:
    """Where the executed copy of a lesson goes: beside the run, which holds nothing but itself."""
    return folder.with_name(f"{folder.name}-lessons") / f"{lesson}.ipynb"
