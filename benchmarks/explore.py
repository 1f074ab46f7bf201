"""How many results can the explorer hold? Make up a run, read it, and time every answer.

    python benchmarks/explore.py                     100,000 results: about 2 minutes and 700 MB of disk
    python benchmarks/explore.py --results 5000      a quick look
    python benchmarks/explore.py --run RUN           a run of your own

It prints how long the reading took and with how much memory, the longest wait for the page's state meanwhile,
and the median and longest time of each answer afterwards, over HTTP as a browser gets them. Target: each under
0.5 s. Downloads are files, and apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil

from benchkit import explore_server, places

sys.path.insert(0, str(places.ROOT / "tests"))
from made_up import FAMILY, made_up_artifact, made_up_run, write_run  # noqa: E402

REPEATS = 5
QUESTIONS = {
    "about": "/api/about?",
    "results": "/api/results?",
    "results, last page, sorted": "/api/results?sort=-latency_s&page=100000",
    "results, one category that failed": "/api/results?category=code&outcome=failed&sort=prompt",
    "results of one check": "/api/results?check=python_code&outcome=failed",
    "summary (what is ready)": "/api/summary?",
    "summary of one model": "/api/summary?model=gguf:pocket-xs",
    "points, latency": "/api/points?",
    "points, decode speed": "/api/points?y=decode_tokens_per_s",
    "one reply": "/api/reply?row=77",
    "its artifact": "/api/artifact?row=77",
    "two replies": "/api/two?a=7&b=77",
}  # fmt: skip


def make_run(folder: Path, n: int) -> Path:
    """A run folder with about n results: four configurations on n / 4 prompts."""
    write_run(made_up_run(n_prompts=1), folder)
    rng = np.random.default_rng(1)
    for name, (rate, share, size) in FAMILY.items():
        for index in range(1, n // len(FAMILY)):
            n_out, correct = int(rng.integers(3, 120)), bool(rng.uniform() < share)
            artifact = made_up_artifact(rng, name, rate, size, index, 0, n_out, 40, correct)
            (folder / artifact["file"]).write_text(json.dumps(artifact), encoding="utf-8")
    return folder


def timed(address: str) -> tuple[float, bytes]:
    """Seconds until an answer is there, and the answer."""
    began = time.perf_counter()
    with urlopen(address, timeout=600) as answer:
        data = answer.read()
    return time.perf_counter() - began, data


def watch_reading(url: str) -> float:
    """Ask how far it is until all is read; the longest wait for that answer, in seconds."""
    longest, shown = 0.0, 0.0
    while True:
        seconds, data = timed(f"{url}api/state")
        state, longest = json.loads(data), max(longest, seconds)
        if not state["reading"]:
            return longest
        if time.perf_counter() - shown > 10:
            print(f"  reading {state['done']:,} of {state['total']:,}", flush=True)
            shown = time.perf_counter()
        time.sleep(0.2)


def watch_summary(url: str) -> float:
    """Seconds until the summary of everything is complete."""
    began = time.perf_counter()
    while json.loads(timed(f"{url}api/summary")[1])["working"]:
        time.sleep(0.2)
    return time.perf_counter() - began


def weigh(folder: Path) -> dict[str, Any]:
    """All figures of one run folder."""
    with explore_server.start([folder], 0) as server:
        began = time.perf_counter()
        longest = watch_reading(server.url)
        found: dict[str, Any] = {"reading_s": time.perf_counter() - began, "state_longest_s": longest,
                                 "memory_mib": psutil.Process().memory_info().rss / 2**20}  # fmt: skip
        first, _ = timed(f"{server.url}api/summary")
        found |= {"summary_first_s": first, "summary_complete_s": first + watch_summary(server.url)}
        times = {
            name: [timed(server.url.rstrip("/") + path)[0] for _ in range(REPEATS)]
            for name, path in QUESTIONS.items()
        }
        found["answers"] = {name: (statistics.median(each), max(each)) for name, each in times.items()}
        found["csv_s"] = timed(f"{server.url}download.csv")[0]
        found["n"] = len(server.explorer.loaded.table) if server.explorer.loaded else 0
    return found


def report(found: dict[str, Any]) -> None:
    """The figures as lines."""
    print(f"{found['n']:,} results: read in {found['reading_s']:.1f} s, {found['memory_mib']:,.0f} MiB; "
          f"longest wait for the page's state meanwhile {found['state_longest_s']:.3f} s")  # fmt: skip
    print(
        f"summary: first answer {found['summary_first_s']:.3f} s, complete after {found['summary_complete_s']:.1f} s"
    )
    for name, (median, longest) in found["answers"].items():
        print(f"  {name:<36} median {median:.3f} s   longest {longest:.3f} s")
    print(f"CSV of all: {found['csv_s']:.1f} s")
    slow = max(longest for _, longest in found["answers"].values())
    print(f"longest answer {slow:.3f} s: {'under' if slow < 0.5 else 'NOT under'} the target of 0.5 s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=int, default=100_000)
    parser.add_argument("--run", type=Path, help="a run folder to read instead of a made-up one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.run is None:
            print(f"making up {arguments.results:,} results …", flush=True)
        report(weigh(arguments.run or make_run(Path(temporary) / "made-up", arguments.results)))


if __name__ == "__main__":
    main()
