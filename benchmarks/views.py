"""Does watching a run disturb it? The processor time of a view, and what the run loses to it.

    python benchmarks/views.py                       all views, threads = cores and cores - 1: about fifteen minutes
    python benchmarks/views.py --views terminal --seconds 60

A real run measures a model of 100 M random weights, reply after reply, while a view watches its folder. Every 35 ms the
view with all its processes is stopped or continued (SIGSTOP, SIGCONT), in the order paused, running, running, paused, so
that whatever drifts evenly cancels. The stamps in the run's own artifacts then say how many tokens each block got. Loss
is 1 - tokens in running blocks / tokens in paused ones, over every group of four that lies within one reply; what a
paused view puts off, it does in the next running block, so this is rather too much than too little.

Targets: the view's processes use at most 1 % of wall time x cores, and the 95 % upper bound of the loss is below 2 %;
where it is not, the answer is INCONCLUSIVE. "page" is the dashboard with a client that takes every message and draws nothing;
"browser" is the same page in a headless chromium, which has to draw it: what the browser costs is told apart, and has
no target. "none" stops and continues a program that only sleeps: the method's own noise.

Needs Linux or macOS; for the page Voilà, for the browser chromium. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine import random_model  # noqa: E402

from benchkit import machine, runs  # noqa: E402
from benchkit.backends.gguf import default_threads  # noqa: E402
from benchkit.errors import BenchkitError  # noqa: E402

BLOCK_S, GROUP = 0.035, (False, True, True, False)  # whether the view runs
SETTLE_S = 5.0  # a view that has just started is not one that watches
MAX_TOKENS, MOST_TOKENS_PER_S = 512, 1500  # a run with more replies than are needed is stopped
TARGETS = {"cpu_share": 0.01, "loss_upper": 0.02}
VIEWS = ("terminal", "page", "none", "browser")
Say = Callable[[str], None]


# -- what is watched ------------------------------------------------------------------------------


@contextmanager
def running(folder: Path, n_threads: int, seconds: float, say: Say) -> Iterator[subprocess.Popen]:
    """A run with replies for more than so many seconds; ready when its second reply is being measured."""
    n = max(4, math.ceil((seconds + SETTLE_S) * MOST_TOKENS_PER_S / MAX_TOKENS))
    plan = {"name": "watched", "models": [f"gguf:{random_model(say)}"], "prompts": ["prompts.txt"], "trials": 1,
            "load": {"n_ctx": 1024, "n_threads": n_threads}, "sampling": {"max_tokens": MAX_TOKENS}}  # fmt: skip
    (folder / "prompts.txt").write_text("".join(f"Tell me about the number {i}.\n" for i in range(n)), encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    command = [sys.executable, "-m", "benchkit", "run", str(folder / "plan.json"), "--out", str(folder / "run"), "--quiet"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while runs.read_json(folder / "run" / "status.json", {}).get("done", 0) < 1:
            if child.poll() is not None:
                raise BenchkitError(f"The run ended too soon: {child.stderr.read().decode()[-500:]}")
            time.sleep(0.1)
        yield child
    finally:
        child.terminate()
        child.wait()
        child.stderr.close()


def stamps(folder: Path) -> list[np.ndarray]:
    """When each token of each reply came, in ns of the clock that this program reads too."""
    replies = (artifact["recording"] for artifact in runs.open_run(folder).artifacts())
    return [np.array(reply["chunks"]["t_ns"], dtype=float) for reply in replies]


# -- the views ------------------------------------------------------------------------------------


@contextmanager
def terminal(folder: Path) -> Iterator[tuple[int, list[int]]]:
    """`benchkit watch --terminal` on a terminal of its own; gives its process, and no browser."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "benchkit", "watch", str(folder), "--terminal"])
    threading.Thread(target=_drain, args=(master,), daemon=True).start()
    try:
        yield pid, []
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)


def _drain(master: int) -> None:
    with suppress(OSError):
        while os.read(master, 65536):
            pass


@contextmanager
def page(folder: Path) -> Iterator[tuple[int, list[int]]]:
    """`benchkit watch`, and a client that takes all that the page would, and draws nothing; gives both processes."""
    with _served(folder, lambda address: [sys.executable, __file__, "--read", address]) as pids:
        yield pids


@contextmanager
def browser(folder: Path) -> Iterator[tuple[int, list[int]]]:
    """`benchkit watch`, and a headless browser that looks at it; gives both processes."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise BenchkitError("This needs a browser: install chromium, or leave out --views browser.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [chromium, "--headless", "--no-sandbox", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        with _served(folder, lambda address: [*words, address]) as pids:
            yield pids


@contextmanager
def _served(folder: Path, client: Callable[[str], list[str]]) -> Iterator[tuple[int, list[int]]]:
    server = subprocess.Popen([sys.executable, "-m", "benchkit", "watch", str(folder), "--no-browser"],
                              stderr=subprocess.PIPE, text=True)  # fmt: skip
    address = next(word for line in server.stderr for word in line.split() if word.startswith("http://"))
    looking = subprocess.Popen(client(address), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_kernel(server.pid)
        yield server.pid, [looking.pid]
    finally:
        looking.terminate()
        server.send_signal(signal.SIGINT)
        looking.wait()
        server.wait()
        server.stderr.close()


async def read(address: str) -> None:
    """Open the page and take every message of its kernel, as a browser does, without drawing anything."""
    from tornado.httpclient import AsyncHTTPClient, HTTPRequest
    from tornado.websocket import websocket_connect

    site, _, token = address.partition("/?token=")
    may = {"Authorization": f"token {token}"}
    answer = await AsyncHTTPClient().fetch(HTTPRequest(address, headers=may, request_timeout=120))
    kernel = re.search(r'"kernelId":\s*"([0-9a-f-]+)"', answer.body.decode())[1]
    channels = f"{site.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
    connection = await websocket_connect(HTTPRequest(channels, headers=may), max_message_size=1 << 28)
    while await connection.read_message() is not None:
        pass


def _wait_for_kernel(pid: int) -> None:
    """A page that no kernel serves watches nothing."""
    for _ in range(600):
        if psutil.Process(pid).children(recursive=True):
            return time.sleep(SETTLE_S)
        time.sleep(0.1)
    raise BenchkitError("No kernel was started for the page within a minute.")


@contextmanager
def none(folder: Path) -> Iterator[tuple[int, list[int]]]:
    """A program that only sleeps."""
    sleeper = subprocess.Popen(["sleep", "86400"])
    try:
        yield sleeper.pid, []
    finally:
        sleeper.kill()
        sleeper.wait()


# -- one measurement ------------------------------------------------------------------------------


def tree(pids: list[int]) -> list[psutil.Process]:
    """These processes and all that they have started."""
    roots = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [one for root in roots for one in (root, *root.children(recursive=True))]


def cpu_s(pids: list[int]) -> float:
    """Processor time of these processes and all that they have started, in s."""
    total = 0.0
    for process in tree(pids):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:2])
    return total


def toggle(pid: int, run: subprocess.Popen, seconds: float) -> list[tuple[int, int, bool]]:
    """Stop and continue the view, block after block, until the time or the run is over: start, end (ns), whether it ran."""
    blocks, until = [], time.monotonic() + seconds
    processes = tree([pid])
    try:
        while time.monotonic() < until and run.poll() is None:
            for runs_now in GROUP:
                for process in processes:
                    process.send_signal(signal.SIGCONT if runs_now else signal.SIGSTOP)
                began = time.perf_counter_ns()
                time.sleep(BLOCK_S)
                blocks.append((began, time.perf_counter_ns(), runs_now))
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
    return blocks


def losses(blocks: list[tuple[int, int, bool]], replies: list[np.ndarray]) -> np.ndarray:
    """The share of speed lost while the view ran, of every group of four blocks within one reply."""
    found = []
    for i in range(0, len(blocks) - len(GROUP) + 1, len(GROUP)):
        group = blocks[i : i + len(GROUP)]
        inside = [r for r in replies if len(r) > 1 and r[0] <= group[0][0] and group[-1][1] <= r[-1]]
        if inside:
            speed = [(np.interp(e, inside[0], range(len(inside[0]))) - np.interp(b, inside[0], range(len(inside[0])))) / (e - b)
                     for b, e, _ in group]  # fmt: skip
            found.append(1 - sum(s for s, g in zip(speed, group) if g[2]) / sum(s for s, g in zip(speed, group) if not g[2]))
    return np.array(found)


def bound(values: np.ndarray) -> tuple[float, float]:
    """The mean, and the upper end of its one-sided 95 % interval (Student's t)."""
    n = len(values)
    if n < 20:
        return (float(values.mean()) if n else math.nan), math.inf
    return float(values.mean()), float(values.mean() + student.ppf(0.95, n - 1) * values.std(ddof=1) / math.sqrt(n))


def measure(view: str, n_threads: int, seconds: float, say: Say) -> dict[str, Any]:
    """One view beside one run: its share of the machine, and the run's loss."""
    show = {"terminal": terminal, "page": page, "none": none, "browser": browser}[view]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with running(folder, n_threads, seconds, say) as run, show(folder / "run") as (pid, lookers):
            time.sleep(SETTLE_S)
            start_s, other_s, began = cpu_s([pid]), cpu_s(lookers), time.monotonic()
            blocks = toggle(pid, run, seconds)
            wall = (time.monotonic() - began) * (os.cpu_count() or 1)
            used, looked = cpu_s([pid]) - start_s, cpu_s(lookers) - other_s
            run.send_signal(signal.SIGINT)  # what it has measured is safe
            run.wait()
        values = losses(blocks, stamps(folder / "run"))
    mean, upper = bound(values)
    return {"view": view, "n_threads": n_threads, "cpu_share": used / wall, "cpu_start_s": start_s,
            "looker_share": looked / wall if lookers else None, "n_groups": len(values), "loss": mean,
            "loss_upper": upper, "scatter": float(values.std(ddof=1)) if len(values) > 1 else None,
            "reached": {"cpu_share": used / wall <= TARGETS["cpu_share"], "loss_upper": upper < TARGETS["loss_upper"]}}  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """One measurement in words."""
    word = "reached" if all(row["reached"].values()) else "INCONCLUSIVE" if row["reached"]["cpu_share"] else "MISSED"
    word = "no target" if row["view"] == "browser" else word
    looking = "" if row["looker_share"] is None else f" (who looks at it: {100 * row['looker_share']:.1f} %)"
    return (f"{row['view']:<9}{row['n_threads']} threads: {100 * row['cpu_share']:.2f} % of wall x cores{looking}, "
            f"{row['cpu_start_s']:.1f} s to start; loss {100 * row['loss']:+.2f} %, 95 % upper bound "
            f"{100 * row['loss_upper']:.2f} % ({row['n_groups']} groups): {word}")  # fmt: skip


def main() -> int:
    """Measure; a line each to standard output, progress to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS), metavar="VIEW", help=", ".join(VIEWS))
    parser.add_argument("--threads", nargs="+", type=int, metavar="N", help="of the run (default: cores and cores - 1)")
    parser.add_argument("--seconds", type=float, default=90.0, help="of each measurement (90)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--read", metavar="ADDRESS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        asyncio.run(read(args.read))
        return 0
    cores = default_threads()
    threads = args.threads or sorted({cores, max(1, cores - 1)}, reverse=True)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    others = machine.busy()
    if others.busy:
        say(f"This machine is busy: {others}. Figures taken now are not worth quoting.")
    rows = []
    try:
        for view in args.views:
            for n in threads:
                rows.append(measure(view, n, args.seconds, say))
                (say if args.json else print)(line(rows[-1]))
    except BenchkitError as problem:
        say(str(problem))
        return problem.exit_code
    if args.json:
        print(json.dumps({"cpu": machine.cpu_model(), "targets": TARGETS, "rows": rows}, indent=2))
    return 0 if all(all(row["reached"].values()) for row in rows if row["view"] != "browser") else 1


if __name__ == "__main__":
    sys.exit(main())
