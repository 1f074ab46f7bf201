"""Is `benchkit perplexity` llama.cpp's own llama-perplexity, and as fast?

    python benchmarks/perplexity.py value                     all pocket models in all types, about 10 minutes
    python benchmarks/perplexity.py value --models gguf:pocket-xs,gguf:pocket-s:Q4_K_M
    python benchmarks/perplexity.py speed                     five pairs for each of two models, about 10 minutes
    python benchmarks/perplexity.py all --json > perplexity.json

`value`: both read the same text with the same window, and may differ by 0.1 % of the perplexity. The standard
error that llama.cpp prints is set beside ours of the same kind. Each reads the first 60,000 characters of the
text (--characters).

`speed`: pairs of runs, ours and llama-perplexity's in turns (who goes first alternates), over the whole text, with
the same threads. Only the windows count: ours from before the first to after the last, llama-perplexity's between
the stamps that its own log has at these two points; loading and tokenising are in neither. Target: a median of at
least 0.8 of its speed.

llama-perplexity is built once on the libraries that are measured, see `benchmarks/llama_tools.py`: that needs CMake,
a C++ compiler and Linux or macOS. Run `speed` on an idle machine: it says so if it is not.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llama_tools import build, call, ggml_commit  # noqa: E402

from benchkit import machine, perplexity, stats  # noqa: E402
from benchkit.backends import locate  # noqa: E402
from benchkit.backends.gguf import default_threads  # noqa: E402
from benchkit.errors import BenchkitError  # noqa: E402
from benchkit.quantize import QUANT_TYPES  # noqa: E402

POCKET = ("gguf:pocket-xs", "gguf:pocket-s", "gguf:pocket-m")
ALL = tuple(f"{name}{kind}" for name in POCKET for kind in ("", *(f":{kind}" for kind in QUANT_TYPES)))
FAST = ("gguf:pocket-xs", "gguf:pocket-s:Q4_K_M")
LARGEST_DIFFERENCE, LEAST_SPEED = 0.001, 0.8

STAMP = r"(\d+)\.(\d\d)\.(\d{3})\.(\d{3}) I (?:\w+: )?"  # minutes, seconds, ms, µs since the start
BEGIN = re.compile(STAMP + r"calculating perplexity over (\d+) chunks, n_ctx=(\d+)")
END = re.compile(STAMP + r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)")

Say = Callable[[str], None]


def read_log(log: str) -> dict[str, float]:
    """What llama-perplexity's log says, the seconds between its two stamps included.

    >>> read_log('''0.01.500.000 I perplexity: calculating perplexity over 7 chunks, n_ctx=512, batch_size=2048
    ... 1.02.000.500 I Final estimate: PPL = 2.6942 +/- 0.03535''')
    {'n_windows': 7, 'window': 512, 'perplexity': 2.6942, 'se_llama_cpp': 0.03535, 'seconds': 60.5005}
    """
    begin, end = BEGIN.search(log), END.search(log)
    if not begin or not end:
        raise BenchkitError(f"llama-perplexity's log is not as expected: {log[-500:].strip()}")
    return {
        "n_windows": int(begin[5]),
        "window": int(begin[6]),
        "perplexity": float(end[5]),
        "se_llama_cpp": float(end[6]),
        "seconds": round(_seconds(end) - _seconds(begin), 6),
    }


def _seconds(stamp: re.Match[str]) -> float:
    minutes, seconds, ms, us = map(int, stamp.groups()[:4])
    return 60 * minutes + seconds + ms / 1e3 + us / 1e6


def theirs(program: Path, model: str, text: Path, window: int, n_threads: int) -> dict[str, float]:
    """One run of llama-perplexity."""
    flags = {"-m": locate(model), "-f": text, "-c": window, "-t": n_threads, "-b": 2048, "-ub": 512,
             "-ctk": "f16", "-ctv": "f16", "--log-prefix": None, "--log-timestamps": None}  # fmt: skip
    for _ in range(5):  # its log is written by a thread of its own, whose last lines are lost now and then
        done = call(program, flags)
        if END.search(done.stderr):
            break
    return read_log(done.stderr)


def ours(model: str, text: Path, window: int, n_threads: int) -> dict[str, float]:
    """One run of our own."""
    found = perplexity.perplexity(model, text, window=window, n_threads=n_threads, progress=False)
    return found.to_dict()


def value(models: tuple[str, ...], text: Path, args: argparse.Namespace, say: Say) -> list[dict[str, Any]]:
    """The two perplexities of each model, side by side."""
    program = build("llama-perplexity", say)
    rows = []
    for model in models:
        a, b = (ours(model, text, args.window, args.threads),
                theirs(program, model, text, args.window, args.threads))  # fmt: skip
        if a["n_windows"] != b["n_windows"]:
            raise BenchkitError(f"{model}: {a['n_windows']} windows here, {b['n_windows']} there")
        difference = a["perplexity"] / b["perplexity"] - 1
        rows.append({
            "model": model, "n_windows": a["n_windows"], "window": a["window"], "ours": a["perplexity"],
            "llama_perplexity": b["perplexity"], "difference": difference, "our_se_llama_cpp": a["se_llama_cpp"],
            "llama_perplexity_se": b["se_llama_cpp"], "se": a["se"],
            "reached": abs(difference) <= LARGEST_DIFFERENCE,
        })  # fmt: skip
        say(f"{model}: {a['perplexity']:.4f} / {b['perplexity']:.4f}")
    return rows


def speed(model: str, text: Path, args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Our share of llama-perplexity's speed, in interleaved pairs."""
    program = build("llama-perplexity", say)
    turns = [
        ("ours_s", lambda: ours(model, text, args.window, args.threads)),
        ("llama_perplexity_s", lambda: theirs(program, model, text, args.window, args.threads)),
    ]
    pairs = []
    for i in range(args.pairs):
        runs = {who: run() for who, run in (turns if i % 2 == 0 else reversed(turns))}
        pair = {who: run["seconds"] for who, run in runs.items()}
        pair["ratio"] = pair["llama_perplexity_s"] / pair["ours_s"]
        say(f"{model}, pair {i + 1}/{args.pairs}: {pair['ours_s']:.2f} s / {pair['llama_perplexity_s']:.2f} s "
            f"= {pair['ratio']:.3f} of its speed")  # fmt: skip
        pairs.append(pair)
    ratios = [pair["ratio"] for pair in pairs]
    interval = stats.median_interval(ratios)
    return {
        "model": model,
        "n_tokens": runs["ours_s"]["n_tokens"],
        "n_windows": runs["ours_s"]["n_windows"],
        "n_threads": args.threads,
        "n_pairs": args.pairs,
        "ratio": statistics.median(ratios),
        "interval": [interval.low, interval.high] if interval else None,
        "target": LEAST_SPEED,
        "reached": statistics.median(ratios) >= LEAST_SPEED,
        "pairs": pairs,
    }


def beginning(text: Path, n_characters: int, folder: str) -> Path:
    """The first characters of a text, as a file of its own."""
    path = Path(folder) / "beginning.txt"
    path.write_bytes(text.read_text(encoding="utf-8")[:n_characters].encode("utf-8"))
    return path


def measure(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """What was asked for, with the versions it holds for."""
    result: dict[str, Any] = {
        "llama_cpp_python": version("llama-cpp-python"),
        "ggml_commit": ggml_commit(),
        "cpu": machine.cpu_model(),
        "busy_share_before": machine.busy().cpu_share,
    }
    asked = tuple(args.models.split(",")) if args.models else None
    if args.what in ("value", "all"):
        with tempfile.TemporaryDirectory() as folder:
            result["value"] = value(asked or ALL, beginning(args.text, args.characters, folder), args, say)
    if args.what in ("speed", "all"):
        result["speed"] = [speed(model, args.text, args, say) for model in asked or FAST]
    return result


# -- the command ----------------------------------------------------------------------------------


def main() -> int:
    """Run what was asked for; figures to standard output, progress to standard error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["value", "speed", "all"])
    parser.add_argument("--models", metavar="A,B", help="default: all types for value; two models for speed")
    parser.add_argument("--text", type=Path, default=perplexity.DEFAULT_TEXT, help="default: the shipped prose")
    parser.add_argument("--characters", type=int, default=60_000, help="of the text, for value (60,000)")
    parser.add_argument("--window", type=int, default=512, help="tokens of a window (512)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs for speed (5)")
    parser.add_argument("--threads", type=int, default=default_threads(), help="default: the physical cores")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    others = machine.busy()
    if others.busy:
        say(f"This machine is busy: {others}. Speeds taken now are not worth quoting.")
    try:
        result = measure(args, say)
    except BenchkitError as error:
        say(str(error))
        return error.exit_code
    print(json.dumps(result, indent=2) if args.json else _table(result))
    return 0


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['cpu']}, llama-cpp-python {result['llama_cpp_python']}, ggml {result['ggml_commit']}"]
    if rows := result.get("value"):
        lines.append(f"{'model':<24} {'ours':>9} {'llama.cpp':>9} {'difference':>11}   ± as llama.cpp counts, both")
    lines += [
        f"{row['model']:<24} {row['ours']:>9.4f} {row['llama_perplexity']:>9.4f} {100 * row['difference']:>+9.4f} %"
        f"   {row['our_se_llama_cpp']:.5f} {row['llama_perplexity_se']:.5f}{'' if row['reached'] else '   MISSED'}"
        for row in rows or ()
    ]
    lines += [
        f"speed    {row['model']}: {row['ratio']:.3f} of llama-perplexity's, median of {row['n_pairs']} pairs, "
        f"{row['n_tokens']:,} tokens, {row['n_threads']} threads; target {row['target']}: "
        f"{'reached' if row['reached'] else 'MISSED'}"
        for row in result.get("speed", ())
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
