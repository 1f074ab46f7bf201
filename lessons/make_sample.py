"""Measure the sample run that lessons 03 to 05 read, and draw README's picture: `benchmark_outputs/sample/` (a minute).

    python lessons/make_sample.py            continues a run that was interrupted
    python lessons/make_sample.py --fresh    begins again

The plan is the ready one of the pocket family, three trials instead of one. Close other programs first:
every reader of the lessons sees these numbers. Afterwards: `python lessons/build.py --execute all`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchkit import bench, figures, places, tables
from benchkit.plan import READY_PLANS, read_plan

SAMPLE = places.OUTPUTS / "sample"
TRIALS = 3


def tidy(folder: Path) -> None:
    """Leave out what is of no use to readers: the lock, and this machine's paths in the log."""
    (folder / ".lock").unlink(missing_ok=True)
    log = folder / "run.log"
    text = log.read_text(encoding="utf-8").replace(f"{ROOT}{os.sep}", "")
    log.write_text(text, encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="throw the old sample away first")
    parser.add_argument("--out", type=Path, default=SAMPLE, help="another folder, to try it out")
    options = parser.parse_args(arguments)
    if options.fresh:
        for folder in (options.out, places.OUTPUTS / "lesson_02"):  # what lesson 02 left is of older models
            shutil.rmtree(folder, ignore_errors=True)
    plan = replace(read_plan(READY_PLANS / "pocket_family.yaml"), name="sample", trials=TRIALS)
    run = bench.run(plan, options.out)
    tidy(run.folder)
    figures.save(*figures.tradeoff_figure(tables.summarize(tables.results(run))), run.folder / "tradeoff.png")
    size_mib = sum(p.stat().st_size for p in run.folder.rglob("*") if p.is_file()) / 2**20
    verdict = tables.verdict(run)
    print(f"{len(run.artifacts())} artifacts, {size_mib:.1f} MiB, {verdict.state}", *verdict.reasons, sep="\n  ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
