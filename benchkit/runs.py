"""The run folder: one JSON file for each prompt and trial, written the moment it exists.

    manifest.json   plan, machine, models, prompt sets: what was measured, with what, on what
    status.json     how far it is, for a program that watches
    summary.json    one row a request, for `pandas.DataFrame(json.load(open("summary.json")))`
    run.log         what happened, with wall-clock times
    *.json          one artifact a request; forced-length ones lie under speed/

An artifact is complete or absent, never half written: it is written beside its place and then
moved there. A killed run therefore continues where it was; `summary.json` is only ever built from
the artifacts.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchkit import metrics
from benchkit.errors import BenchkitError
from benchkit.machine import now_iso
from benchkit.plan import Plan, Test
from benchkit.recording import Recording

ARTIFACT_SCHEMA = "benchkit/artifact/1"
MANIFEST_SCHEMA = "benchkit/run/1"

#: Files of a run folder that are no artifacts.
OWN_FILES = ("manifest.json", "status.json", "summary.json", "report.html")

# ---------------------------------------------------------------- names


#: Names that Windows keeps for devices, whatever ending follows.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def safe_name(name: str, limit: int = 60) -> str:
    """A name made fit for a file name on every system: letters, digits, `.`, `_` and `-`.

    Two names can become the same; an artifact's file name therefore also carries a hash.

    >>> safe_name("llama3.2:1b"), safe_name("liquid/lfm2-1.2b"), safe_name("../x"), safe_name("CON")
    ('llama3.2_1b', 'liquid_lfm2-1.2b', 'x', '_CON')
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
    safe = re.sub(r"\.{2,}", ".", safe).strip("._- ")
    safe = safe[-limit:].strip("._- ")  # a long path tells more by its end
    if not safe:
        return "model-" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"_{safe}" if safe.split(".")[0].lower() in DEVICES else safe


def artifact_name(test: Test) -> str:
    """Where a test's artifact lies in the run folder, with forward slashes."""
    name = (
        f"{safe_name(test.configuration.model.name)}_prompt_{test.prompt.index:02d}"
        f"_{safe_name(test.prompt_set, 40)}_trial_{test.trial}_{test.key[:8]}.json"
    )
    return f"speed/{name}" if test.purpose == "speed" else name


# ---------------------------------------------------------------- writing


class StorageError(BenchkitError):
    """The disk refused to keep a result."""

    exit_code = 5


#: How long a write is tried again while another program holds the file open (Windows), in seconds.
REPLACE_PATIENCE_S = 3.0


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write a value as indented UTF-8 JSON: afterwards the file is wholly the new one, or untouched.

    `durable` waits until the disk has it. Raises StorageError where the disk is full or refuses.
    """
    try:
        text = indented(value)
    except ValueError:  # NaN and infinity are no JSON; an engine's own figures may hold them
        text = indented(_finite(value))
    write_bytes(path, (text + "\n").encode("utf-8", "backslashreplace"), durable)


def indented(value: Any, margin: str = "\n") -> str:
    """A value as indented JSON in which a list of plain values, such as a column of times, is one line.

    >>> print(indented({"t_ns": [1, 2], "text": "né"}))
    {
      "t_ns": [1, 2],
      "text": "né"
    }
    """
    plain, inner = functools.partial(json.dumps, ensure_ascii=False, allow_nan=False), margin + "  "
    if isinstance(value, Mapping) and value:
        rows = [f"{plain(str(key))}: {indented(item, inner)}" for key, item in value.items()]
        return "{" + inner + ("," + inner).join(rows) + margin + "}"
    if isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        return "[" + inner + ("," + inner).join(indented(item, inner) for item in value) + margin + "]"
    return plain(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write bytes beside `path`, then move them there in one step."""
    temporary = path.with_name(f".{os.getpid()}-{path.name[-40:]}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        replace(temporary, path)
    except OSError as problem:
        raise StorageError(storage_message(path, problem)) from problem
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Move a file over another, trying again while Windows lets a reader hold the old one."""
    give_up = time.monotonic() + REPLACE_PATIENCE_S
    wait_s = 0.01
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() > give_up:
                raise
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, 0.5)


def storage_message(path: Path, problem: OSError) -> str:
    """What to do when a file could not be written."""
    full = problem.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
    what = "the disk is full" if full else f"the system refused: {problem.strerror or problem}"
    todo = "free some space" if full else "make the folder writable"
    return (
        f"{path.name} could not be written: {what}. Everything measured before it is safe in {path.parent}; "
        f"{todo}, then the same command continues."
    )


def log(folder: Path, message: str) -> None:
    """Add a line to run.log; a log that cannot be written never stops a run."""
    with (
        suppress(OSError),
        open(folder / "run.log", "a", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.write(f"{now_iso()} {message}\n")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the run folder: the operating system's own lock, gone when its process is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / ".lock")
        held.acquire(timeout=0)
    except Timeout:
        pid = read_json(folder / "status.json", {}).get("pid", "unknown")
        raise BenchkitError(
            f"another process (number {pid}) is measuring into {folder}. Wait until it is done, or choose "
            "another output folder."
        ) from None
    except OSError as problem:
        raise StorageError(
            f"{folder} cannot be used as a run folder: {problem.strerror or problem}."
        ) from None
    try:
        yield
    finally:
        held.release()


# ---------------------------------------------------------------- reading


def read_json(path: Path, otherwise: Any = None) -> Any:
    """A file's JSON value, or `otherwise` where it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return otherwise


def read_artifact(path: Path) -> dict[str, Any]:
    """Read one artifact; raises ValueError saying what is wrong with it."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise ValueError(f"not complete JSON ({type(problem).__name__})") from None
    if not isinstance(row, dict) or row.get("schema") != ARTIFACT_SCHEMA:
        raise ValueError(f"not an artifact of schema {ARTIFACT_SCHEMA}")
    missing = [
        key for key in ("key", "model", "configuration", "prompt", "response", "recording") if key not in row
    ]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    if not path.stem.endswith(str(row["key"])[:8]):
        raise ValueError("renamed, or copied from another run: its key is another one than its name says")
    try:
        Recording.from_dict(row["recording"])
    except (TypeError, KeyError, ValueError, AttributeError):
        raise ValueError("its recording is damaged") from None
    return row


def artifact_paths(folder: Path) -> list[Path]:
    """Every file that is named like an artifact, forced-length ones last."""
    found = [p for part in (folder, folder / "speed") for p in sorted(part.glob("*_trial_*.json"))]
    return [path for path in found if path.name not in OWN_FILES and not path.name.startswith(".")]


@dataclass(frozen=True)
class Run:
    """A run folder, read. Results come from its artifacts alone."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's own name, which tells runs apart in tables."""
        return self.folder.resolve().name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was measured, with what, on what."""
        return read_json(self.folder / "manifest.json", {})

    @property
    def status(self) -> dict[str, Any]:
        """How far the run is: `state` is running, interrupted, failed or complete."""
        return read_json(self.folder / "status.json", {})

    @property
    def failed(self) -> dict[str, str]:
        """The models that could not be measured: label → why."""
        models = self.manifest.get("models", {})
        return {label: model["error"] for label, model in models.items() if model.get("error")}

    def artifacts(self) -> list[dict[str, Any]]:
        """Every readable artifact in the plan's order, each with its `file` name added."""
        return self._read[0]

    @property
    def problems(self) -> list[str]:
        """The artifacts that cannot be read, and why; the same command measures them again."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[list[dict[str, Any]], list[str]]:
        rows, problems = [], []
        for path in artifact_paths(self.folder):
            try:
                rows.append({**read_artifact(path), "file": path.relative_to(self.folder).as_posix()})
            except ValueError as problem:
                problems.append(f"{path.relative_to(self.folder).as_posix()}: {problem}")
        order = {label: i for i, label in enumerate(self.manifest.get("configurations", {}))}
        rows.sort(key=lambda row: _place(row, order))
        return rows, problems

    def summary(self) -> list[dict[str, Any]]:
        """One row a request that stopped by itself, as summary.json holds them."""
        return [summary_row(row) for row in self.artifacts() if row["purpose"] == "quality"]

    def blocks(self) -> list[dict[str, Any]]:
        """The health of each block of requests, as its last artifact tells it."""
        last: dict[str, dict[str, Any]] = {}
        for row in self.artifacts():
            block = row.get("block") or {}
            if block.get("id") and block["position"] >= last.get(block["id"], {}).get("position", 0):
                last[block["id"]] = {**block, "configuration": row["configuration"]}
        return list(last.values())


def _place(row: Mapping[str, Any], order: Mapping[str, int]) -> tuple:
    configuration = row["configuration"]
    return (order.get(configuration, len(order)), row.get("purpose") == "speed", row.get("prompt_set", ""),
            row.get("prompt_index", 0), row.get("trial", 0), row["file"])  # fmt: skip


def open_run(folder: str | os.PathLike) -> Run:
    """Open a run folder for reading, also while it is being written."""
    path = Path(folder)
    if isinstance(read_json(path / "manifest.json"), dict):
        return Run(path)
    if (path / "manifest.json").exists():
        raise BenchkitError(
            f"{path}: its manifest.json is damaged. The command that made the run repairs it."
        )
    what = "is not a run folder: it has no manifest.json" if path.is_dir() else "does not exist"
    near = (
        sorted(p.parent.name for p in path.parent.glob("*/manifest.json"))[:8] if path.parent.is_dir() else []
    )
    inside = sorted(p.parent.name for p in path.glob("*/manifest.json"))[:8] if path.is_dir() else []
    hint = (
        f" Runs inside it: {', '.join(inside)}."
        if inside
        else f" Runs beside it: {', '.join(near)}."
        if near
        else ""
    )
    raise BenchkitError(f"{path} {what}.{hint}")


def summary_row(artifact: Mapping[str, Any]) -> dict[str, Any]:
    """One artifact as a row of summary.json."""
    measured = metrics.measure(Recording.from_dict(artifact["recording"]))
    completed = measured["state"] in metrics.COMPLETED
    ran = [check["passed"] for check in artifact.get("checks", ()) if check["passed"] is not None]
    names = ("configuration", "prompt_set", "prompt_index", "prompt_id", "category", "trial")
    figures = ("ttft_ms", "tpot_ms", "decode_tokens_per_s", "n_prompt_tokens", "n_output_tokens")
    return {
        "model": artifact["model"],
        "prompt": artifact["prompt"],
        "response": artifact["response"],
        "latency_s": artifact["latency_s"],
        **{name: artifact.get(name) for name in names},
        "state": artifact["recording"]["state"],
        "error": artifact["recording"].get("error"),
        **{name: measured.get(name) for name in figures},
        "n_checks": len(ran),
        "n_passed": sum(ran),
        "passed": completed and all(ran) if ran else None,  # a failed reply is not right
        "artifact": artifact.get("file"),
    }


def write_summary(folder: Path) -> None:
    """Build summary.json anew from the artifacts."""
    write_json(folder / "summary.json", Run(folder).summary())


# ---------------------------------------------------------------- beginning and continuing


def begin(folder: Path, plan: Plan) -> list[str]:
    """Check that the folder may hold this plan's run, and tidy what a killed process left behind.

    Returns what had to be put right, as messages. Call it with the lock held.
    """
    manifest = read_json(folder / "manifest.json")
    notes = []
    if isinstance(manifest, dict) and "identity" in manifest:
        _refuse_other_plan(folder, manifest, plan)
    elif (folder / "manifest.json").exists():
        notes.append("manifest.json was damaged and is written anew")
    else:
        _refuse_foreign_folder(folder)
    (folder / "speed").mkdir(exist_ok=True) if plan.speed else None
    for part in (folder, folder / "speed"):
        for leftover in part.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    return notes + _set_strangers_aside(folder, {test.key for test in plan.tests()})


def _refuse_other_plan(folder: Path, manifest: Mapping[str, Any], plan: Plan) -> None:
    changes = differences(manifest["identity"], plan.identity())
    if changes:
        raise BenchkitError(
            f"{folder} holds the run of another plan: {'; '.join(changes)}. Choose another output folder, or "
            "give the settings of the run that is there to continue it."
        )


def _refuse_foreign_folder(folder: Path) -> None:
    ours = [
        p for p in folder.iterdir() if p.name in ("run.log", "speed", *OWN_FILES) or p.name.startswith(".")
    ]
    others = sorted(p.name for p in folder.iterdir() if p not in ours)
    if others:
        raise BenchkitError(
            f"{folder} is not a run folder and is not empty (it holds {', '.join(others[:3])}). "
            "Choose an empty or new folder."
        )


def _set_strangers_aside(folder: Path, keys: set[str]) -> list[str]:
    """Rename artifacts that are damaged or were copied here from another plan's run."""
    notes = []
    for path in artifact_paths(folder):
        try:
            if read_artifact(path)["key"] in keys:
                continue
            problem = "of another plan"
        except ValueError as reason:
            problem = str(reason)
        replace(path, path.with_name(path.name + ".aside"))
        notes.append(f"{path.name} is {problem}: set aside (renamed …json.aside)")
    return notes


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """What differs between two plans, in words.

    >>> differences({"trials": 3, "load": {"n_ctx": [512]}}, {"trials": 5, "load": {"n_ctx": [1024]}})
    ['trials was 3, is 5 now', 'load.n_ctx was [512], is [1024] now']
    """
    old, new = json.loads(json.dumps([old, new]))  # tuples and lists alike
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        parts = ((old.get(k), new.get(k), f"{where}.{k}" if where else k) for k in keys)
        return [text for part in parts for text in differences(*part)]
    if old == new:
        return []
    return [f"{where} was {_brief(old)}, is {_brief(new)} now"]


def _brief(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):  # models
        value = [entry.get("label") for entry in value]
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 80 else shown[:77] + "…"
