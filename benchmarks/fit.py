"""How good is the forecast? Foretell ten models' speed and memory, then measure them.

    python benchmarks/fit.py              about 7 minutes and 6 GB of disk the first time, 3 minutes then
    python benchmarks/fit.py --clean      remove the models

The models have random weights: two sizes, about 100 M and 1 B parameters, neither of the calibration model's shape, in
five types. The forecasts are written to forecast.json in the folder before anything is measured. Speed is the median of
`--repeats` replies, prefill and decode apart; memory is the kernel's high-water mark of the worker while it reads a
prompt of 512 tokens. Targets: median error of decode speed at most 25 %, none above 40 %; peak memory within 10 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchkit import calibration, machine, metrics, places
from benchkit.backends import Options, connect
from benchkit.backends.gguf import default_threads
from benchkit.errors import BenchkitError
from benchkit.fit import Forecast, engine_build, forecast, kept_rates, score
from benchkit.quantize import quantize
from benchkit.random_llama import write_random_llama
from benchkit.tensors import Architecture

MODELS = {
    "100M": Architecture(10, 768, 2304, 12, 4, 32_768, tied=True),
    "1B": Architecture(20, 1792, 6912, 14, 7, 32_768, tied=False),
}
TYPES = ("Q8_0", "Q6_K", "Q4_K_M", "Q3_K_L", "Q2_K")
N_CTX, N_PROMPT, N_OUTPUT = 1024, 512, 32
TARGETS = {"median_speed": 0.25, "largest_speed": 0.40, "largest_memory": 0.10}
Say = Callable[[str], None]


def make_models(folder: Path, say: Say) -> dict[tuple[str, str], Path]:
    """The ten files; those that are there already are not made again."""
    paths = {(size, type): folder / f"random-{size}-{type}.gguf" for size in MODELS for type in TYPES}
    for (size, type), path in paths.items():
        if path.exists():
            continue
        source = folder / f"random-{size}-F16.gguf"
        if not source.exists():
            say(f"writing {source.name} …")
            write_random_llama(source, MODELS[size])
        say(f"making {path.name} …")
        quantize(source, type, path)
    return paths


def foretell(n_threads: int) -> dict[tuple[str, str], Forecast]:
    """Every forecast, from architecture and type alone: the files are not looked at."""
    rates = kept_rates(n_threads)
    return {
        (size, type): forecast(model, type, N_CTX, depth=N_PROMPT + N_OUTPUT // 2, n_threads=n_threads, rates=rates)
        for size, model in MODELS.items()
        for type in TYPES
    }


def measure(path: Path, n_threads: int, repeats: int) -> dict[str, Any]:
    """Medians of decode and prefill speed, and the worker's peak memory, over replies to a prompt of 512 tokens."""
    options = Options(max_tokens=N_OUTPUT, ignore_eos=True, raw=True, timeout_s=900)
    with connect(f"gguf:{path}", n_ctx=N_CTX, n_threads=n_threads) as model:
        model.stream("7" * 8, options)  # unrecorded: a fresh engine is slow
        with machine.MemorySampler(model.pids(), model.baseline_mib) as sampler:
            replies = [model.stream("7" * N_PROMPT, options) for _ in range(repeats)]
    bad = [reply.error for reply in replies if reply.state != "length"]
    if bad:
        raise BenchkitError(f"{path}: {bad[0]}")
    decode = [metrics.decode_tokens_per_s(reply) for reply in replies]
    prefill = [metrics.prefill_tokens_per_s(reply) for reply in replies]
    memory = sampler.result()
    return {
        "decode_tokens_per_s": statistics.median(decode),
        "prefill_tokens_per_s": statistics.median(prefill),
        "memory_mib": (memory.get("process_high_water") or memory["process"])["total_peak_mib"],
        "all_decode": decode,
        "all_prefill": prefill,
    }


def compare(foretold: Forecast, measured: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Predicted, measured and error of each figure."""
    predicted = {
        "decode_tokens_per_s": foretold.decode_tokens_per_s,
        "prefill_tokens_per_s": foretold.prefill_tokens_per_s,
        "memory_mib": foretold.memory.total_mib,
    }
    return {
        name: {"predicted": value, "measured": measured[name], "error": score(value, measured[name])}
        for name, value in predicted.items()
    }


def summary(rows: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Median and largest error, without its sign, of each figure over all models."""
    names = next(iter(rows.values()))
    errors = {name: [abs(row[name]["error"]) for row in rows.values()] for name in names}
    return {name: {"median": statistics.median(all), "largest": max(all)} for name, all in errors.items()}


def run(folder: Path, n_threads: int, repeats: int, say: Say) -> dict[str, Any]:
    """Foretell, write it down, measure, compare."""
    if kept_rates(n_threads) is None:
        calibration.calibrate(n_threads, say)
    paths = make_models(folder, say)
    foretold = foretell(n_threads)
    named = {f"{size} {type}": one for (size, type), one in foretold.items()}
    text = json.dumps({"at": machine.now_iso(), "forecasts": {k: one.to_dict() for k, one in named.items()}}, indent=2)
    (folder / "forecast.json").write_text(text, encoding="utf-8")
    say(f"forecasts written to {folder / 'forecast.json'}; measuring …")
    rows = {}
    busy_before = machine.busy()
    for key, path in paths.items():
        name = " ".join(key)
        rows[name] = compare(foretold[key], measure(path, n_threads, repeats))
        say(line(name, rows[name]))
    return {
        "cpu": machine.cpu_model(), "engine": engine_build(), "n_threads": n_threads, "repeats": repeats,
        "busy_share_before": busy_before.cpu_share, "rates": asdict(kept_rates(n_threads)), "targets": TARGETS,
        "rows": rows, "summary": summary(rows), "reached": reached(summary(rows)),
    }  # fmt: skip


def reached(found: dict[str, dict[str, float]]) -> dict[str, bool]:
    """Whether the targets are met; speed is decode speed."""
    speed, memory = found["decode_tokens_per_s"], found["memory_mib"]
    return {
        "median_speed": speed["median"] <= TARGETS["median_speed"],
        "largest_speed": speed["largest"] <= TARGETS["largest_speed"],
        "largest_memory": memory["largest"] <= TARGETS["largest_memory"],
    }


HEAD = f"{'':<12}{'decode tok/s':^27}{'prefill tok/s':^27}{'peak memory MiB':^27}\n{'model':<12}" + (
    f"{'predicted':>10}{'measured':>9}{'error':>8}" * 3
)


def line(name: str, row: dict[str, dict[str, float]]) -> str:
    """One model's figures."""
    cells = (f"{c['predicted']:>10,.1f}{c['measured']:>9,.1f}{100 * c['error']:>+6.1f} %" for c in row.values())
    return f"{name:<12}" + "".join(cells)


def as_text(result: dict[str, Any]) -> str:
    """The table, and what it comes to."""
    found, ok = result["summary"], {True: "reached", False: "MISSED"}
    share = {name: f"median {100 * e['median']:.1f} %, largest {100 * e['largest']:.1f} %" for name, e in found.items()}
    return "\n".join([
        f"{result['cpu']}, {result['n_threads']} threads; medians of {result['repeats']}",
        HEAD,
        *(line(name, row) for name, row in result["rows"].items()),
        f"decode  {share['decode_tokens_per_s']}; targets 25 % and 40 %: "
        f"{ok[result['reached']['median_speed']]}, {ok[result['reached']['largest_speed']]}",
        f"prefill {share['prefill_tokens_per_s']}",
        f"memory  {share['memory_mib']}; target 10 %: {ok[result['reached']['largest_memory']]}",
    ])  # fmt: skip


def main() -> int:
    """Run it; the table to standard output, progress to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="for the models (default: in benchkit's cache folder)")
    parser.add_argument("--threads", type=int, default=default_threads(), help="default: the physical cores")
    parser.add_argument("--repeats", type=int, default=5, help="replies of each model (5)")
    parser.add_argument("--make", action="store_true", help="make the models and stop")
    parser.add_argument("--clean", action="store_true", help="remove the models and stop")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    folder = args.folder or places.cache_folder() / "fit-benchmark"
    if args.clean:
        for path in folder.glob("random-*.gguf"):
            path.unlink()
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    others = machine.busy()
    if others.busy:
        say(f"This machine is busy: {others}. Figures taken now are not worth quoting.")
    try:
        if args.make:
            make_models(folder, say)
            return 0
        result = run(folder, args.threads, args.repeats, say)
    except BenchkitError as error:
        say(str(error))
        return error.exit_code
    print(json.dumps(result, indent=2) if args.json else as_text(result))
    return 0 if all(result["reached"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
