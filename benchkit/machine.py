"""The machine: what it is, whether it is quiet enough to measure on, and how much memory a model takes.

Everything here only reads. What a system does not tell is `None`, never 0.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from benchkit import places
from benchkit.errors import BenchkitError

MIB = 1024 * 1024

#: What reading a sensor can raise on a system that does not have it.
UNREADABLE = (OSError, RuntimeError, AttributeError, ValueError, psutil.Error)

#: Packages whose version can change a result.
PACKAGES = ("benchkit", "llama-cpp-python", "numpy", "pandas", "scipy", "matplotlib", "psutil", "requests", "httptools",
            *(() if sys.platform == "win32" else ("uvloop",)))  # fmt: skip

#: Environment variables that can change a result, and hold no secret. No other one is ever recorded.
ENVIRONMENT = (
    "BLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "GGML_CUDA_ENABLE_UNIFIED_MEMORY", "GGML_METAL_NO_RESIDENCY",
    "GOMP_SPINCOUNT", "HIP_VISIBLE_DEVICES", "KMP_AFFINITY", "KMP_BLOCKTIME", "MALLOC_ARENA_MAX",
    "MKL_NUM_THREADS", "OLLAMA_CONTEXT_LENGTH", "OLLAMA_FLASH_ATTENTION", "OLLAMA_KEEP_ALIVE",
    "OLLAMA_KV_CACHE_TYPE", "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_NUM_PARALLEL", "OMP_DYNAMIC",
    "OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS",
    "PYTHONMALLOC", "PYTHONUNBUFFERED",
)  # fmt: skip

# ---------------------------------------------------------------- what the machine is


def machine_record() -> dict[str, Any]:
    """Describe this machine: processor, memory, system, versions, power, relevant settings.

    >>> record = machine_record()
    >>> record["logical_cores"] >= 1 and record["memory_mib"] > 0
    True
    """
    return {
        "cpu": cpu_model(),
        "architecture": platform.machine(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "memory_mib": round(psutil.virtual_memory().total / MIB),
        "system": f"{platform.system()} {platform.release()}",
        "virtual_machine": in_virtual_machine(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "llama_cpp": llama_cpp_features(),
        "power_source": power_source(),
        "governor": governor(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    if sys.platform.startswith("linux"):
        for line in _read("/proc/cpuinfo").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        try:
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=5)
            return done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """The cores this process may run on: fewer than the machine has, in a container or under taskset."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return psutil.cpu_count() or 1


def in_virtual_machine() -> bool | None:
    """True where the processor says that a hypervisor shares it out; None where it cannot be read."""
    flags = cpu_flags()
    return ("hypervisor" in flags) if flags else None


def cpu_flags() -> frozenset[str]:
    """The instruction sets the processor offers (Linux); empty where they cannot be read."""
    for line in _read("/proc/cpuinfo").splitlines():
        if line.lower().startswith(("flags", "features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def llama_cpp_features() -> dict[str, str] | None:
    """What llama.cpp was compiled with, as it says itself: {"AVX2": "1", …}; None where it is not installed."""
    try:
        import llama_cpp  # a second's work: only where it is asked for

        text = llama_cpp.llama_print_system_info().decode("utf-8", "replace")
    except (ImportError, *UNREADABLE):  # or a build whose library does not load: `doctor` says so
        return None
    return parse_features(text)


def parse_features(text: str) -> dict[str, str]:
    """Read llama.cpp's line of features.

    >>> parse_features("CPU : SSE3 = 1 | AVX2 = 1 | REPACK = 1 | ")
    {'SSE3': '1', 'AVX2': '1', 'REPACK': '1'}
    """
    pairs = (part.rpartition(":")[2].partition("=") for part in text.split("|") if "=" in part)
    return {name.strip(): value.strip() for name, _, value in pairs}


def power_source() -> str | None:
    """`mains`, `battery`, or None where the machine does not say (most desktops and servers)."""
    try:
        battery = psutil.sensors_battery()
    except UNREADABLE:  # some systems have the files but not the values
        return None
    if battery is None or battery.power_plugged is None:
        return None
    return "mains" if battery.power_plugged else "battery"


def governor() -> str | None:
    """How Linux chooses the processor's frequency: `performance`, `powersave`, …; None where unreadable."""
    return _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None


def frequency_mhz() -> float | None:
    """The processor's frequency now, averaged over cores, in MHz; None where it cannot be read."""
    try:
        now = psutil.cpu_freq()
    except UNREADABLE:
        return None
    return round(now.current, 1) if now and now.current else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# ---------------------------------------------------------------- is it quiet enough?

#: A machine is busy when other programs use more than this share of all its cores.
BUSY_SHARE = 0.15


@dataclass(frozen=True)
class Busy:
    """How much of the processor other programs use, and which ones.

    >>> Busy(cpu_share=0.5, top=(("train.py", 0.5),)).busy
    True
    """

    cpu_share: float
    top: tuple[tuple[str, float], ...] = ()

    @property
    def busy(self) -> bool:
        """Whether a measurement taken now would be disturbed."""
        return self.cpu_share > BUSY_SHARE

    def __str__(self) -> str:
        names = ", ".join(f"{name} ({share:.0%})" for name, share in self.top)
        return f"other programs use {self.cpu_share:.0%} of the processor" + (f": {names}" if names else "")


def busy(seconds: float = 0.5) -> Busy:
    """Watch the machine for a moment: what share of all cores do other programs use?"""
    own = os.getpid()
    before, t0 = _cpu_times_by_process(), time.perf_counter()
    busy0, total0 = _busy_and_total_s()
    time.sleep(seconds)
    after, wall_s = _cpu_times_by_process(), time.perf_counter() - t0
    busy1, total1 = _busy_and_total_s()
    cores = psutil.cpu_count() or 1
    used = {key: (after[key] - before.get(key, after[key])) / (wall_s * cores) for key in after}
    mine = sum(share for (pid, _), share in used.items() if pid == own)
    share = (busy1 - busy0) / (total1 - total0) - mine if total1 > total0 else 0.0
    by_name: dict[str, float] = {}
    for (pid, name), part in used.items():
        if pid != own:
            by_name[name] = by_name.get(name, 0.0) + part
    others = sorted(((s, name) for name, s in by_name.items() if s > 0.02), reverse=True)
    return Busy(max(0.0, share), tuple((name, round(s, 3)) for s, name in others[:5]))


def _cpu_times_by_process() -> dict[tuple[int, str], float]:
    times = {}
    for process in psutil.process_iter(["pid", "name", "cpu_times"]):
        cpu = process.info["cpu_times"]
        if cpu is not None and process.info["pid"] != 0:  # 0 is Windows' idle process
            times[process.info["pid"], process.info["name"] or "?"] = cpu.user + cpu.system
    return times


def _busy_and_total_s() -> tuple[float, float]:
    """Seconds that all cores together have been busy, and have existed; user time already holds guests'."""
    t = psutil.cpu_times()
    idle = t.idle + getattr(t, "iowait", 0.0)
    total = sum(t) - getattr(t, "guest", 0.0) - getattr(t, "guest_nice", 0.0)
    return total - idle, total


# ---------------------------------------------------------------- the health of a block of requests

#: A window of blocks is void (its speeds are not to be trusted) when over its span …
MAX_STEAL_SHARE = 0.02  # … the hypervisor gave more than 2 % of the processor to other guests,
MAX_FOREIGN_CPU_SHARE = BUSY_SHARE  # … other programs used more than 15 % of all cores,
MIN_FREQUENCY_RATIO = 0.8  # … the frequency at its end was below 80 % of that at its start (heat),
MAX_SWAP_IN_MIB = 16.0  # … more than this was read back from swap (the model does not fit in memory),
#                         … or the power source changed.
#: Shares of a shorter span are noise (the kernel counts in ticks of 10 ms): blocks of one engine are put together
#: until they span this. How often threads were pushed off a core is recorded, but voids nothing: small models
#: are pushed off hundreds of times a second on a machine that has nothing else to do.
MIN_JUDGED_S = 1.0

#: What a block spent. It can be added up over blocks; shares cannot.
SPENT = ("span_s", "cpu_total_s", "cpu_busy_s", "own_cpu_s", "steal_s", "involuntary", "swap_in_mib")


@dataclass(frozen=True)
class Vitals:
    """Counters of the machine and of the model's own processes at one moment."""

    t_ns: int
    cpu_busy_s: float
    cpu_total_s: float
    steal_s: float | None
    own_cpu_s: float | None
    involuntary: int | None
    frequency_mhz: float | None
    load_1min: float | None
    swap_in_mib: float | None
    power_source: str | None


def vitals(pids: Iterable[int] = ()) -> Vitals:
    """Read all counters now; `pids` are the model's own processes (this process is added)."""
    pids = list(pids)
    busy_s, total_s = _busy_and_total_s()
    return Vitals(
        t_ns=time.perf_counter_ns(),
        cpu_busy_s=busy_s,
        cpu_total_s=total_s,
        steal_s=getattr(psutil.cpu_times(), "steal", None),
        own_cpu_s=_own_cpu_s(pids),
        involuntary=_involuntary_switches(pids),
        frequency_mhz=frequency_mhz(),
        load_1min=_load_1min(),
        swap_in_mib=_swap_in_mib(),
        power_source=power_source(),
    )


def health(before: Vitals, after: Vitals) -> dict[str, Any]:
    """What happened to the machine between two readings, and whether that voids what was measured.

    The keys are what was spent (`SPENT`), the shares of it with units, `judged` (False where the span is too
    short for shares to mean anything), `void` and the `reasons` for it.
    """
    spent = {
        "span_s": (after.t_ns - before.t_ns) / 1e9,
        "cpu_total_s": after.cpu_total_s - before.cpu_total_s,
        "cpu_busy_s": after.cpu_busy_s - before.cpu_busy_s,
        "own_cpu_s": _difference(before.own_cpu_s, after.own_cpu_s),
        "steal_s": _difference(before.steal_s, after.steal_s),
        "involuntary": _difference(before.involuntary, after.involuntary),
        "swap_in_mib": _difference(before.swap_in_mib, after.swap_in_mib),
    }
    return _judged({
        **{name: None if value is None else round(value, 3) for name, value in spent.items()},
        "frequency_start_mhz": before.frequency_mhz,
        "frequency_mhz": after.frequency_mhz,
        "load_1min": after.load_1min,
        "power_source": after.power_source,
        "power_changed": before.power_source != after.power_source,
    })  # fmt: skip


def _judged(spent: Mapping[str, Any]) -> dict[str, Any]:
    """What was spent, as shares, and the verdict on it."""
    span_s, total_s, own_s = spent["span_s"], spent["cpu_total_s"], spent["own_cpu_s"]
    # without limiting it at 0 before blocks are added up: ticks make it too small as often as too large
    foreign_s = None if own_s is None else spent["cpu_busy_s"] - own_s - (spent["steal_s"] or 0.0)
    figures = {
        **spent,
        "steal_share": _ratio(spent["steal_s"], total_s),
        "foreign_cpu_share": _ratio(None if foreign_s is None else max(0.0, foreign_s), total_s),
        "involuntary_per_s": _ratio(spent["involuntary"], span_s),
        "frequency_ratio": _ratio(spent["frequency_mhz"], spent["frequency_start_mhz"] or 0.0),
    }
    reasons = void_reasons(figures, spent["power_changed"])
    return {**figures, "judged": span_s >= MIN_JUDGED_S, "void": bool(reasons), "reasons": reasons}


def judge_blocks(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Block id → the verdict on the window it lies in. Takes the block records of all replies of a run.

    The last record of a block knows all of it. The blocks of one engine in one session are put together, one
    after the other, until they span `MIN_JUDGED_S`: most turns of a small model are shorter than that.
    """
    last: dict[str, Mapping[str, Any]] = {}
    for record in records:
        name = record.get("id")
        if name and (record.get("position") or 0) >= (last.get(name, record).get("position") or 0):
            last[name] = record
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for name in sorted(last, key=lambda name: (len(name), name)):  # the order in which they were measured
        groups.setdefault((last[name].get("session"), last[name].get("engine")), []).append(last[name])
    found = {name: record for name, record in last.items() if "cpu_total_s" not in record}  # an older run's
    for group in groups.values():
        for window in windows([record for record in group if record["id"] not in found]):
            found.update(dict.fromkeys((record["id"] for record in window), together(window)))
    for name, record in last.items():
        if drift := record.get("drift"):  # it voids its own block, not the window
            reasons = [*found[name]["reasons"], f"settings drift: {'; '.join(drift)}"]
            found[name] = {**found[name], "void": True, "reasons": reasons}
    return found


def windows(blocks: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Consecutive blocks put together until each window spans `MIN_JUDGED_S`; a rest joins the last window.

    >>> [len(window) for window in windows([{"span_s": 0.4}] * 7)]
    [3, 4]
    """
    found: list[list[Mapping[str, Any]]] = [[]]
    for block in blocks:
        if sum(b["span_s"] for b in found[-1]) >= MIN_JUDGED_S:
            found.append([])
        found[-1].append(block)
    if len(found) > 1 and sum(b["span_s"] for b in found[-1]) < MIN_JUDGED_S:
        rest = found.pop()
        found[-1].extend(rest)
    return [window for window in found if window]


def together(window: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several blocks judged as one: what they spent is added up; a part unknown in one is unknown in all."""
    spent: dict[str, Any] = {}
    for name in SPENT:
        values = [block.get(name) for block in window]
        spent[name] = None if None in values else round(sum(values), 3)
    return _judged({
        **spent,
        "frequency_start_mhz": window[0].get("frequency_start_mhz"),
        "frequency_mhz": window[-1].get("frequency_mhz"),
        "power_changed": any(block.get("power_changed") for block in window),
    })  # fmt: skip


def void_reasons(figures: Mapping[str, Any], power_changed: bool = False) -> list[str]:
    """Why what has these figures cannot be trusted; an empty list if it can.

    >>> void_reasons({"span_s": 10.0, "steal_share": 0.05})
    ['5.0 % of the processor was given to other guests of this host (more than 2 %)']
    """

    def above(name: str, limit: float) -> bool:
        value = figures.get(name)
        return value is not None and value > limit

    found = []
    if figures["span_s"] >= MIN_JUDGED_S:
        if above("steal_share", MAX_STEAL_SHARE):
            found.append(f"{figures['steal_share']:.1%} of the processor was given to other guests of this host "
                         f"(more than {MAX_STEAL_SHARE:.0%})")  # fmt: skip
        if above("foreign_cpu_share", MAX_FOREIGN_CPU_SHARE):
            found.append(f"other programs used {figures['foreign_cpu_share']:.0%} of the processor "
                         f"(more than {MAX_FOREIGN_CPU_SHARE:.0%})")  # fmt: skip
        if (figures.get("frequency_ratio") or 1.0) < MIN_FREQUENCY_RATIO:
            found.append(f"the processor's frequency fell to {figures['frequency_ratio']:.0%} of what it was")
    if above("swap_in_mib", MAX_SWAP_IN_MIB):
        found.append(f"{figures['swap_in_mib']:.0f} MiB were read back from swap: memory is short")
    if power_changed:
        found.append("the power source changed")
    return [reason.replace("%", " %").replace("  %", " %") for reason in found]


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _ratio(part: float | None, whole: float) -> float | None:
    return None if part is None or whole <= 0 else round(part / whole, 4)


def _own_cpu_s(pids: list[int]) -> float | None:
    """CPU seconds of this process, of children it waited for, and of the model; None where that is not known.

    The children are the sandboxes in which code from replies was run: our own doing too.
    """
    if not pids:
        return None
    try:
        times = [psutil.Process(pid).cpu_times() for pid in pids if pid != os.getpid()]
        mine = psutil.Process().cpu_times()
    except psutil.Error:
        return None
    children_s = getattr(mine, "children_user", 0.0) + getattr(mine, "children_system", 0.0)
    return children_s + sum(t.user + t.system for t in [mine, *times])


def _involuntary_switches(pids: list[int]) -> int | None:
    """How often the model's threads were pushed off a core; None where it cannot be read."""
    if not pids:
        return None
    try:
        if sys.platform.startswith("linux"):  # psutil would count the main thread alone
            return sum(_status_of_threads(pid, b"nonvoluntary_ctxt_switches:") for pid in pids)
        return sum(psutil.Process(pid).num_ctx_switches().involuntary for pid in pids)
    except (psutil.Error, OSError, NotImplementedError):
        return None


def _status_of_threads(pid: int, field: bytes) -> int:
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            status = Path(f"/proc/{pid}/task/{thread}/status").read_bytes()
        except OSError:  # the thread has ended since it was listed
            continue
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith(field)), 0)
    return total


def _load_1min() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows
        return None


def _swap_in_mib() -> float | None:
    try:
        return psutil.swap_memory().sin / MIB
    except UNREADABLE:  # not readable in some containers
        return None


def memory_bandwidth_gb_s(n_threads: int | None = None, size_mib: int = 256, repeats: int = 6) -> float:
    """How fast this machine reads its memory, in GB/s (10⁹ bytes): the fastest of a few passes over a large array.

    `n_threads` threads (default: the physical cores) each read their part at the same time. The array is far larger
    than the caches, so it comes from memory each time. Takes about 0.3 s.

    >>> memory_bandwidth_gb_s(size_mib=8, repeats=2) > 0
    True
    """
    import numpy as np

    n_threads = n_threads or psutil.cpu_count(logical=False) or 1
    parts = np.array_split(np.ones(size_mib * MIB // 8, np.int64), n_threads)
    times_s = []
    with ThreadPoolExecutor(n_threads) as threads:
        for _ in range(repeats):
            start = time.perf_counter()
            list(threads.map(np.bitwise_or.reduce, parts))  # the cheapest arithmetic: only the reading takes time
            times_s.append(time.perf_counter() - start)
    return size_mib * MIB / min(times_s) / 1e9


# ---------------------------------------------------------------- memory of a model

#: How often memory is looked at while a reply is generated. A look costs about 0.05 ms.
SAMPLING_PERIOD_MS = 50

#: What `process_memory_mib` can tell of a process.
PROCESS_SOURCES = ("process", "process_anonymous", "process_file_backed")


def process_memory_mib(pids: Iterable[int]) -> dict[str, float] | None:
    """Resident memory of the model's own processes in MiB, by source; None where they cannot be read.

    On Linux the two kinds are kept apart, because a memory-mapped model file is file-backed:
    it counts as 'available' to the rest of the machine, and yet the model needs it.
    """
    sums: dict[str, float] = {}
    for pid in pids:
        one = _memory_of(pid)
        if one is None:
            return None
        for name, value in one.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums or None


def _memory_of(pid: int) -> dict[str, float] | None:
    if sys.platform.startswith("linux"):
        status = _read(f"/proc/{pid}/status")
        kib = {
            line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith("Rss")
        }
        if "RssAnon" in kib:
            file_backed = kib.get("RssFile", 0) + kib.get("RssShmem", 0)
            return {
                "process": (kib["RssAnon"] + file_backed) / 1024,
                "process_anonymous": kib["RssAnon"] / 1024,
                "process_file_backed": file_backed / 1024,
            }
    try:
        return {"process": psutil.Process(pid).memory_info().rss / MIB}
    except psutil.Error:
        return None


def available_mib() -> float:
    """Memory that programs could still take without swapping, in MiB."""
    return psutil.virtual_memory().available / MIB


def forget_high_water(pids: Iterable[int]) -> bool:
    """Let the kernel's high-water mark of each process begin anew; False where that is not permitted."""
    try:
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    except OSError:  # not Linux, or not ours
        return False
    return True


def high_water_mib(pids: Iterable[int]) -> float | None:
    """The most that each process has ever held since its mark was set back, added up, in MiB; None if unknown."""
    kib = []
    for pid in pids:
        lines = _read(f"/proc/{pid}/status").splitlines()
        kib += [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")][:1] or [None]
    return None if not kib or None in kib else sum(kib) / 1024


class MemorySampler:
    """Watches a model's memory from outside while it replies: baseline, peak and after, by named source.

    Use it around one reply (`with MemorySampler(pids, baseline) as sampler: …`), then read `sampler.result()`.
    `baseline` is what the same process held before it loaded the model, as `process_memory_mib` gave it.
    The source `process_high_water` is exact however short the reply: on Linux the kernel itself notes the most
    that a process held. The other `process…` sources are looked at every `period_ms`; for
    `machine_available_drop` the baseline is what was available just before. All values are in MiB.
    """

    def __init__(
        self,
        pids: Iterable[int],
        baseline: Mapping[str, float] | None = None,
        period_ms: float = SAMPLING_PERIOD_MS,
    ) -> None:
        self.pids = list(pids)
        self.baseline = baseline or {}
        self.period_ms = period_ms
        self._samples: list[dict[str, float]] = []
        self._high_water: float | None = None
        self._marked = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-sampler", daemon=True)

    def __enter__(self) -> MemorySampler:  # noqa: PYI034 (typing.Self needs Python 3.11)
        self._marked = bool(self.pids) and forget_high_water(self.pids)
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()
        self._high_water = high_water_mib(self.pids) if self._marked else None

    def _watch(self) -> None:
        while not self._stop.wait(self.period_ms / 1000):
            self._sample()

    def _sample(self) -> None:
        self._samples.append({**(process_memory_mib(self.pids) or {}), "machine_available": available_mib()})

    def result(self) -> dict[str, Any]:
        """The sources, each as `summarize_source` tells it, with the period and the number of looks."""
        found: dict[str, Any] = {"period_ms": self.period_ms, "n_samples": len(self._samples)}
        held = {name: [s[name] for s in self._samples if name in s] for name in PROCESS_SOURCES}
        if self._high_water is not None and held["process"]:
            first, last = held["process"][0], held["process"][-1]
            values = [first, max(self._high_water, *held["process"]), last]
            found["process_high_water"] = summarize_source(values, self.baseline.get("process"))
        elif len(self._samples) <= 2:
            found["note"] = "before and after only"
        for source, values in held.items():
            if values:
                found[source] = summarize_source(values, self.baseline.get(source))
        drops = [self._samples[0]["machine_available"] - s["machine_available"] for s in self._samples]
        found["machine_available_drop"] = {
            **summarize_source(drops, baseline_mib=0.0),
            "available_before_mib": round(self._samples[0]["machine_available"], 2),
        }
        return found


#: The memory source that tables show, first one found: the model's own process before the machine's.
SHOWN_SOURCES = ("process_high_water", "process", "process_tree", "gpu_used", "server_size", "process_anonymous",
                 "machine_available_drop")  # fmt: skip


def shown_memory(memory: Mapping[str, Any]) -> tuple[str | None, float | None]:
    """The source of an artifact's memory that tables show, and its peak in MiB; None where there is none.

    >>> shown_memory({"process": {"peak_mib": 25.0}, "machine_available_drop": {"peak_mib": 30.0}})
    ('process', 25.0)
    """
    peaks = {s: memory[s].get("peak_mib") for s in SHOWN_SOURCES if isinstance(memory.get(s), Mapping)}
    source = next((s for s, peak in peaks.items() if peak is not None), None)  # that has a baseline
    return source, peaks.get(source)


def summarize_source(values_mib: Sequence[float], baseline_mib: float | None) -> dict[str, float | None]:
    """One source of memory, in MiB: before, most and after in total, and the peak above its baseline.

    Without a baseline there is no peak above it: `None`.

    >>> summarize_source([40.0, 55.0, 50.0], baseline_mib=30.0)
    {'baseline_mib': 30.0, 'before_mib': 40.0, 'total_peak_mib': 55.0, 'peak_mib': 25.0, 'after_mib': 50.0, 'delta_mib': 10.0}
    """
    most = max(values_mib)
    return {
        "baseline_mib": None if baseline_mib is None else round(baseline_mib, 2),
        "before_mib": round(values_mib[0], 2),
        "total_peak_mib": round(most, 2),
        "peak_mib": None if baseline_mib is None else round(most - baseline_mib, 2),
        "after_mib": round(values_mib[-1], 2),
        "delta_mib": round(values_mib[-1] - values_mib[0], 2),
    }


# ---------------------------------------------------------------- the doctor


@dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at: what was found, whether it is fine, and what to do if not."""

    name: str
    ok: bool
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        line = f"{'ok  ' if self.ok else 'WARN'}  {self.name}: {self.found}"
        return line if self.ok or not self.advice else f"{line}\n      → {self.advice}"


def doctor(watch_s: float = 1.0) -> list[Finding]:
    """Examine this machine: is everything installed, and is it quiet enough to measure on?"""
    checks = (_python, _packages, _engine, _instructions, _cores, _memory, _disk, _power, _governor, _host)
    return [check() for check in checks] + [_quiet(busy(watch_s))]


def _python() -> Finding:
    ok = sys.version_info >= (3, 10)
    return Finding("Python", ok, platform.python_version(), "install Python 3.10 or newer")


def _packages() -> Finding:
    versions = {name: version(name) for name in PACKAGES}
    missing = [name for name, number in versions.items() if number is None and name != "benchkit"]
    found = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    if missing:
        return Finding(
            "Packages", False, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}"
        )
    return Finding("Packages", True, found)


def _engine() -> Finding:
    features = llama_cpp_features()
    if features is None:
        advice = "install it with `pip install llama-cpp-python` (needs a C/C++ compiler) or from conda-forge"
        return Finding("llama.cpp", False, "llama-cpp-python does not load", advice)
    on = ", ".join(name for name, value in features.items() if value not in ("0", ""))
    return Finding("llama.cpp", True, f"{version('llama-cpp-python')}, compiled with {on or 'no extras'}")


#: Instruction sets that matter to llama.cpp: the processor's flag and llama.cpp's word for it.
INSTRUCTIONS = {
    "avx": "AVX", "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "avx512f": "AVX512",
    "avx512_vnni": "AVX512_VNNI", "avx512_bf16": "AVX512_BF16", "asimd": "NEON", "asimddp": "DOTPROD",
}  # fmt: skip


def _instructions() -> Finding:
    flags, features = cpu_flags(), llama_cpp_features()
    if not flags or features is None:
        return Finding("Processor instructions", True, "cannot be compared on this system")
    offered = {word for flag, word in INSTRUCTIONS.items() if flag in flags}
    unused = sorted(word for word in offered if features.get(word, "0") == "0")
    if unused:
        advice = ("this llama.cpp was built for another processor: reinstall with `pip install --force-reinstall "
                  "--no-binary llama-cpp-python llama-cpp-python` on this machine")  # fmt: skip
        return Finding("Processor instructions", False, f"not used by llama.cpp: {', '.join(unused)}", advice)
    return Finding(
        "Processor instructions", True, f"all used: {', '.join(sorted(offered)) or 'none special'}"
    )


def _cores() -> Finding:
    physical, logical, usable = psutil.cpu_count(logical=False), psutil.cpu_count() or 1, usable_cores()
    found = f"{cpu_model()}: {physical or '?'} physical, {logical} logical, {usable} usable here"
    return Finding(
        "Processor", usable >= 2, found, "one core only: the system itself will disturb every reply"
    )


def _memory() -> Finding:
    total, free = psutil.virtual_memory().total / MIB, available_mib()
    ok = free >= 1024 and free >= 0.25 * total
    advice = (
        f"close what needs the most of it: {', '.join(largest_programs())}; other models too (`ollama ps`)"
    )
    return Finding("Memory", ok, f"{free:,.0f} of {total:,.0f} MiB available", advice)


def largest_programs(n: int = 4) -> list[str]:
    """The programs that hold the most memory, largest first: what to close."""
    held: dict[str, int] = {}
    for process in psutil.process_iter(["name", "memory_info"]):
        if process.info["memory_info"] is not None:
            name = process.info["name"] or "?"
            held[name] = held.get(name, 0) + process.info["memory_info"].rss
    return [f"{name} ({held[name] / MIB:,.0f} MiB)" for name in sorted(held, key=held.get, reverse=True)[:n]]


#: A run of a few hundred replies takes tens of MiB; variants of large models take GiB.
MIN_FREE_DISK_MIB = 1024


def _disk() -> Finding:
    try:
        places_to_write = {"results": places.OUTPUTS, "variants": places.cache_folder()}
    except (OSError, BenchkitError) as problem:
        advice = "set BENCHKIT_CACHE to a folder you can write"
        return Finding("Disk", False, f"the folder for variants cannot be used: {problem}", advice)
    free = {name: shutil.disk_usage(_existing(path)).free / MIB for name, path in places_to_write.items()}
    found = ", ".join(f"{mib:,.0f} MiB free for {name}" for name, mib in free.items())
    return Finding(
        "Disk", min(free.values()) >= MIN_FREE_DISK_MIB, found, "free some space, or measure elsewhere"
    )


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _power() -> Finding:
    source = power_source()
    advice = "plug in the charger: on battery the processor is slowed down"
    return Finding("Power source", source != "battery", source or "not reported (no battery)", advice)


def _governor() -> Finding:
    name = governor()
    advice = "choose the performance profile while you measure (`powerprofilesctl set performance`)"
    return Finding("Frequency governor", name != "powersave", name or "not reported", advice)


def _host() -> Finding:
    if not in_virtual_machine():
        return Finding("Host", True, "no virtual machine detected")
    steal = getattr(psutil.cpu_times_percent(interval=0.2), "steal", None)
    found = (
        f"virtual machine, {steal:.1f} % of the processor taken by other guests" if steal is not None else "?"
    )
    advice = "other guests of the host disturb the measurement: repeat it at a quieter hour"
    return Finding("Host", (steal or 0.0) <= 100 * MAX_STEAL_SHARE, found, advice)


def _quiet(seen: Busy) -> Finding:
    names = ", ".join(name for name, _ in seen.top) or "other programs"
    return Finding("Quiet machine", not seen.busy, str(seen), f"close {names}, or wait until they are done")


def now_iso() -> str:
    """The wall-clock time, only to say when something happened.

    >>> now_iso().endswith("+00:00")
    True
    """
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
