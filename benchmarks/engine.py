"""What does benchkit's clock cost, and how close does it come to llama.cpp's own benchmark?

    python benchmarks/engine.py overhead                       about 10 seconds
    python benchmarks/engine.py parity                         pocket-s against llama-bench, about 1 minute
    python benchmarks/engine.py parity --model random-100m     the same on a model of 100 M random weights
    python benchmarks/engine.py all --json > engine.json

`overhead`: 128 tokens of forced length, in blocks. From our wall time between the first and the last token
we take away the time that llama.cpp's own counter says it computed; what is left, divided by the tokens, is
what sampling, the clock and Python cost. Target: at most 15 µs a token (median of 50 blocks).

`parity`: pairs of measurements, ours and llama-bench's in turns (who goes first alternates), on the same
file, threads, flash attention, cache types and depth (compared with what llama-bench says it used); each pair gives the ratio of the two decode speeds. Target: a median of at
least 0.90 on pocket-s and 0.97 on random-100m. Both engines generate for a quarter of a second before
anything counts: the first tokens of an idle engine are slow.

llama-bench is built once (about two minutes, 77 MB download) on the libraries that are measured, see
`benchmarks/llama_tools.py`; that needs CMake, a C++ compiler and Linux or macOS. The random model has 200 MB, in the
cache folder too.

Run it on an idle machine: it says so if it is not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llama_tools import build, call, ggml_commit  # noqa: E402

from benchkit import machine, places, stats  # noqa: E402
from benchkit.backends import Options, connect, locate  # noqa: E402
from benchkit.backends.gguf import default_threads  # noqa: E402
from benchkit.errors import BenchkitError  # noqa: E402
from benchkit.random_llama import write_random_llama  # noqa: E402
from benchkit.tensors import Architecture  # noqa: E402

N_TOKENS = 128
WARM_UP_S = 0.25
BLOCK_S = 1.0  # each half of a pair measures for about this long
PROMPT = "The quick brown fox jumps over the lazy dog."
FORCED = Options(max_tokens=N_TOKENS, ignore_eos=True, raw=True)
TARGETS = {"overhead_us": 15.0, "pocket-s": 0.90, "random-100m": 0.97}


# -- ours -----------------------------------------------------------------------------------------


def blocks_of(model: Any, n: int) -> list[dict[str, float]]:
    """n blocks of forced tokens, after an unrecorded warm-up: decode speed and cost a token of each."""
    began = time.perf_counter()
    while time.perf_counter() - began < WARM_UP_S:
        model.stream(PROMPT, FORCED)
    return [_block(model.stream(PROMPT, FORCED)) for _ in range(n)]


def _block(recording: Any) -> dict[str, float]:
    if recording.state != "length" or len(recording.chunks) != N_TOKENS:
        raise BenchkitError(f"The forced length was not reached: {recording.state}, {recording.error}")
    wall_ns = recording.chunks[-1].t_ns - recording.chunks[0].t_ns
    gaps = N_TOKENS - 1
    cost_ns = wall_ns - recording.server_timings["eval_ms"] * 1e6
    return {"tokens_per_s": gaps / wall_ns * 1e9, "overhead_us": cost_ns / gaps / 1e3}


def overhead(name: str, n_blocks: int, n_threads: int) -> dict[str, Any]:
    """Median cost of a token beside llama.cpp's own time, over many blocks."""
    with connect(name, n_threads=n_threads) as model:
        costs = [block["overhead_us"] for block in blocks_of(model, n_blocks)]
    return {
        "model": name,
        "n_blocks": n_blocks,
        "n_tokens": N_TOKENS,
        "n_threads": n_threads,
        "overhead_us": statistics.median(costs),
        "interval_us": _interval(costs),
        "target_us": TARGETS["overhead_us"],
        "reached": statistics.median(costs) <= TARGETS["overhead_us"],
        "blocks_us": costs,
    }


# -- against llama-bench --------------------------------------------------------------------------


def parity(name: str, n_pairs: int, n_threads: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Ratio of our decode speed to llama-bench's, in interleaved pairs."""
    bench = build("llama-bench", say)
    path = random_model(say) if name == "random-100m" else locate(name)
    with connect(f"gguf:{path}", n_threads=n_threads) as model:
        depth = model.stream(PROMPT, Options(max_tokens=1, raw=True)).counts["prompt"].value
    with connect(f"gguf:{path}", n_threads=n_threads, n_ctx=depth + N_TOKENS) as model:
        ours = settings_of(model.describe(), depth)
        speed = blocks_of(model, 3)[-1]["tokens_per_s"]
        n_blocks = max(2, round(BLOCK_S * speed / N_TOKENS))
        n_warm = max(1, round(WARM_UP_S * speed / N_TOKENS + 0.5))
        pairs = []
        for i in range(n_pairs):
            pair: dict[str, float] = {}
            turns = [
                ("ours", lambda: _median_speed(blocks_of(model, n_blocks))),
                ("llama_bench", lambda: llama_bench(bench, path, ours, n_blocks, n_warm)),
            ]
            for who, measure in turns if i % 2 == 0 else reversed(turns):
                pair[who] = measure()
            pair["ratio"] = pair["ours"] / pair["llama_bench"]
            speeds = f"{pair['ours']:,.0f} / {pair['llama_bench']:,.0f} tok/s"
            say(f"pair {i + 1}/{n_pairs}: {speeds} = {pair['ratio']:.3f}")
            pairs.append(pair)
    ratios = [pair["ratio"] for pair in pairs]
    short = "random-100m" if name == "random-100m" else path.stem
    target = TARGETS.get(short)
    return {
        "model": name,
        "path": str(path),
        "n_pairs": n_pairs,
        "n_tokens": N_TOKENS,
        "depth": depth,
        "n_threads": n_threads,
        "settings": ours,
        "blocks_a_turn": n_blocks,
        "ratio": statistics.median(ratios),
        "interval": _interval(ratios),
        "target": target,
        "reached": None if target is None else statistics.median(ratios) >= target,
        "pairs": pairs,
    }


def settings_of(facts: dict[str, Any], depth: int) -> dict[str, Any]:
    """What decides the speed of our engine, under the names that llama-bench has for it."""
    return {
        "n_threads": facts["n_threads"],
        "n_gpu_layers": facts["n_gpu_layers"],
        "flash_attn": facts["flash_attn"],
        "type_k": "f16",
        "type_v": "f16",
        "n_prompt": 0,
        "n_gen": N_TOKENS,
        "n_depth": depth,
    }


def llama_bench(bench: Path, path: Path, ours: dict[str, Any], n_blocks: int, n_warm: int) -> float:
    """llama-bench's median decode speed over n blocks with our settings, its first (cold) blocks left out."""
    flags = {"-m": path, "-p": ours["n_prompt"], "-n": ours["n_gen"], "-d": ours["n_depth"], "-t": ours["n_threads"],
             "-ngl": ours["n_gpu_layers"], "-fa": 1, "-ctk": ours["type_k"], "-ctv": ours["type_v"],
             "-r": n_warm + n_blocks, "-o": "json"}  # fmt: skip
    row = json.loads(call(bench, flags).stdout)[0]
    if found := unlike(ours, row):
        raise BenchkitError(f"llama-bench measured something else than we did: {'; '.join(found)}")
    return statistics.median(row["samples_ts"][n_warm:])


def unlike(ours: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """What llama-bench did otherwise; flash attention is true, 1 or "on" to it, by version.

    >>> unlike({"flash_attn": "on", "n_threads": 2}, {"flash_attn": True, "n_threads": 4})
    ['n_threads is 2 here, 4 there']
    """
    theirs = {**row, "flash_attn": "on" if row.get("flash_attn") in (True, 1, "1", "on", "enabled") else "off"}
    return [f"{name} is {value} here, {theirs.get(name)} there" for name, value in ours.items()
            if theirs.get(name) != value]  # fmt: skip


def _median_speed(blocks: list[dict[str, float]]) -> float:
    return statistics.median(block["tokens_per_s"] for block in blocks)


def _interval(values: list[float]) -> list[float] | None:
    interval = stats.median_interval(values)
    return [interval.low, interval.high] if interval else None


# -- a model of random weights --------------------------------------------------------------------


def random_model(say: Callable[[str], None]) -> Path:
    """A Llama of 98 M random weights (12 layers, width 768, vocabulary 16,384), F16; made once."""
    path = places.cache_folder() / "random-100m-v2.gguf"
    if not path.exists():
        say("writing a model of random weights, 200 MB …")
        write_random_llama(path, Architecture(12, 768, 2048, 12, 12, 16_384, tied=True), n_ctx_train=2048)
    return path


# -- the command ----------------------------------------------------------------------------------


def main() -> int:
    """Run what was asked for; figures to standard output, progress to standard error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["overhead", "parity", "all"])
    parser.add_argument(
        "--model", default="gguf:pocket-s", help="gguf:… or random-100m (default: gguf:pocket-s)"
    )
    parser.add_argument("--blocks", type=int, default=50, help="blocks of 128 tokens for overhead (50)")
    parser.add_argument("--pairs", type=int, default=10, help="pairs for parity (10)")
    parser.add_argument("--threads", type=int, default=default_threads(), help="default: the physical cores")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    others = machine.busy()
    if others.busy:
        say(f"This machine is busy: {others}. Figures taken now are not worth quoting.")
    result: dict[str, Any] = {
        "llama_cpp_python": version("llama-cpp-python"),
        "ggml_commit": ggml_commit(),
        "cpu": machine.cpu_model(),
        "busy_share_before": others.cpu_share,
    }
    try:
        if args.what in ("overhead", "all"):
            result["overhead"] = overhead(args.model, args.blocks, args.threads)
        if args.what in ("parity", "all"):
            models = [args.model, "random-100m"] if args.what == "all" else [args.model]
            result["parity"] = [parity(model, args.pairs, args.threads, say) for model in models]
    except BenchkitError as error:
        say(str(error))
        return error.exit_code
    print(json.dumps(result, indent=2) if args.json else _table(result))
    return 0


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['cpu']}, llama-cpp-python {result['llama_cpp_python']}, ggml {result['ggml_commit']}"]
    if o := result.get("overhead"):
        lines.append(
            f"overhead  {o['model']}: {o['overhead_us']:.1f} µs a token {_between(o['interval_us'], '.1f')}, "
            f"median of {o['n_blocks']} blocks, {o['n_threads']} threads; target {o['target_us']:g}: {_reached(o)}"
        )
    lines += [
        f"parity    {p['model']}: {p['ratio']:.3f} of llama-bench's decode speed "
        f"{_between(p['interval'], '.3f')}, median of {p['n_pairs']} pairs, {p['n_threads']} threads; target {p['target']}: {_reached(p)}"
        for p in result.get("parity", ())
    ]
    return "\n".join(lines)


def _between(interval: list[float] | None, style: str) -> str:
    return f"[{interval[0]:{style}}, {interval[1]:{style}}]" if interval else "[too few for an interval]"


def _reached(figures: dict[str, Any]) -> str:
    return {True: "reached", False: "MISSED", None: "none set"}[figures["reached"]]


if __name__ == "__main__":
    sys.exit(main())
