"""How true are GuideLLM's numbers and ours, from the same server, side by side?

    pip install guidellm                                        (in an environment of its own: about 3 GB)
    python benchmarks/beside_guidellm.py --guidellm PATH        about 2 minutes; PATH: that environment's guidellm
    python benchmarks/beside_guidellm.py --streams 32 --pairs 3 --json

Both ask a server whose truth is known (200 ms to the first token, then one every 20 ms, 32 tokens), with N requests
always in flight, 4·N requests in all, in turns; who goes first alternates. The server notes when it read each request
and when it really sent each chunk. From the mean time to first token that a tool reports we take away the mean that
the server's own log has (first text written − request read): what is left is what the way and the tool itself
have added. The processor time is that of the whole command with all its processes, start-up included.

Run it on an idle machine: it says so if it is not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchkit import machine, truth  # noqa: E402
from benchkit.errors import BenchkitError  # noqa: E402

SERVER = {"ttft_ms": 200, "gap_ms": 20, "n_tokens": 32, "n_cached": 0}


def ours(url: str, n: int, folder: Path) -> dict[str, Any]:
    """`benchkit load`: what it reports, over all requests as GuideLLM does."""
    command = [sys.executable, "-m", "benchkit", "load", "openai:truth", "--host", f"{url}/v1", "--json",
               "--profile", "concurrent", "--concurrency", str(n), "--requests", str(4 * n), "--max-tokens", "32",
               "--out", str(folder / "ours")]  # fmt: skip
    spent = run(command)
    rows = [json.loads(line) for line in open(folder / "ours" / "requests.jsonl", encoding="utf-8")]
    shutil.rmtree(folder / "ours")
    return {**spent, "ttft_ms": statistics.fmean(row["ttft_ms"] for row in rows)}


def guidellm(program: str, url: str, n: int, folder: Path) -> dict[str, Any]:
    """`guidellm run` on the same load."""
    prompts, out = folder / "prompts.jsonl", folder / "guidellm.json"
    prompts.write_text('{"prompt": "Say hello."}\n' * (4 * n), encoding="utf-8")
    command = [program, "run", "--backend", f"kind=openai_http,target={url},model=truth",
               "--profile", f"kind=concurrent,streams={n}", "--constraint", f"kind=max_requests,count={4 * n}",
               "--data", f"kind=json_file,path={prompts}", "--output", f"kind=json,path={out}",
               "--disable-progress"]  # fmt: skip
    spent = run(command, HF_HUB_OFFLINE="1")
    found = json.loads(out.read_text(encoding="utf-8"))["benchmarks"][0]["metrics"]["time_to_first_token_ms"]
    return {**spent, "ttft_ms": found["successful"]["mean"]}


def run(command: list[str], **env: str) -> dict[str, float]:
    """Run a command to its end: seconds on the clock, and of the processor by all its processes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchkitError(f"`{' '.join(command[:3])} …` failed: {(done.stderr or done.stdout).strip()[-600:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": time.perf_counter() - began, "cpu_s": cpu_s}


def measured(tool: Callable[[str], dict[str, Any]], url: str) -> dict[str, Any]:
    """What a tool reports beside what the server's log says of the very same requests."""
    since_ns = time.perf_counter_ns()
    found = tool(url)
    log = truth.read_log(url, since_ns).values()
    true_ms = statistics.fmean(filter(None, map(ttft_ms, log)))
    return {**found, "true_ttft_ms": true_ms, "error_ms": found["ttft_ms"] - true_ms, "n_requests": len(log)}


def ttft_ms(row: Mapping[str, Any]) -> float | None:
    """A request's time to first token by the server's own log."""
    written = row["written"]
    firsts = [t for t, n in zip(written["t_ns"], written["n_tokens"]) if n]
    return (firsts[0] - row["t_read_ns"]) / 1e6 if firsts else None


def compare(program: str, n: int, n_pairs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Pairs of runs with n streams, and their medians."""
    tools: dict[str, list[dict[str, Any]]] = {"benchkit": [], "guidellm": []}
    with tempfile.TemporaryDirectory() as name, truth.running(**SERVER) as url:
        folder = Path(name)
        asked = {"benchkit": lambda url: ours(url, n, folder),
                 "guidellm": lambda url: guidellm(program, url, n, folder)}  # fmt: skip
        for pair in range(n_pairs):
            for tool in sorted(asked, reverse=pair % 2 == 1):
                tools[tool].append(measured(asked[tool], url))
                say(f"{n} streams, {tool}: {tools[tool][-1]['error_ms']:+.2f} ms")
    medians = {tool: {key: statistics.median(row[key] for row in rows) for key in ("error_ms", "cpu_s", "wall_s")}
               for tool, rows in tools.items()}  # fmt: skip
    return {"n_streams": n, "n_pairs": n_pairs, "medians": medians, "runs": tools}


def main() -> int:
    """Measure, and print a table or JSON; progress to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guidellm", default="guidellm", metavar="PATH", help="the program (default: on the PATH)")
    parser.add_argument("--streams", default="1,32,128", metavar="N,N", help="how many at once (1,32,128)")
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="runs of each tool (3)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if shutil.which(args.guidellm) is None:
        say(f"There is no program {args.guidellm}: pip install guidellm, and say with --guidellm where it is.")
        return 3
    others = machine.busy()
    if others.busy:
        say(f"This machine is busy: {others}. Figures taken now are not worth quoting.")
    try:
        rows = [compare(args.guidellm, int(n), args.pairs, say) for n in args.streams.split(",")]
    except BenchkitError as error:
        say(str(error))
        return error.exit_code
    result = {"cpu": machine.cpu_model(), "server": SERVER, "busy_share_before": others.cpu_share, "rows": rows}
    print(json.dumps(result, indent=2) if args.json else as_table(result))
    return 0


def as_table(result: Mapping[str, Any]) -> str:
    """The medians, a line for each number of streams and tool."""
    lines = [f"{result['cpu']}; medians", "",
             "streams  tool        TTFT read too long (ms)  processor, whole command (s)  on the clock (s)"]  # fmt: skip
    for row in result["rows"]:
        for tool, found in row["medians"].items():
            lines.append(f"{row['n_streams']:>7}  {tool:<10}{found['error_ms']:>21.2f}{found['cpu_s']:>27.2f}"
                         f"{found['wall_s']:>22.1f}")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
