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
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from benchkit import machine, metrics
from benchkit.errors import BenchkitError
from benchkit.machine import now_iso
from benchkit.recording import Recording
from benchkit.text import visible

if TYPE_CHECKING:  # whoever only reads a run needs no plans
    from benchkit.plan import Plan, Test

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
    model, prompt = test.configuration.model.name, test.prompt.index
    return file_name(model, test.prompt_set, prompt, test.trial, test.purpose, test.key)


def file_name(model: str, prompt_set: str, prompt_index: int, trial: int, purpose: str, key: str) -> str:
    """The one place in a run folder that an artifact with these facts has.

    >>> file_name("gguf:pocket-s", "course-v1", 3, 0, "speed", "0123456789abcdef")
    'speed/gguf_pocket-s_prompt_03_course-v1_trial_0_01234567.json'
    """
    name = f"{safe_name(model)}_prompt_{prompt_index:02d}_{safe_name(prompt_set, 40)}_trial_{trial}_{key[:8]}.json"
    return f"speed/{name}" if purpose == "speed" else name


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
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb") as file:  # a new file: never through a link that lies there
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
    """Add a line to run.log, never through a link; a log that cannot be written never stops a run."""
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with suppress(OSError):
        number = os.open(folder / "run.log", how, 0o644)
        with open(number, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{now_iso()} {visible(message)}\n")


#: How long a run waits for its lock, in s: a view that only tries it holds it for a moment.
LOCK_PATIENCE_S = 0.2


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the run folder: the operating system's own lock, gone when its process is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / ".lock")
        held.acquire(timeout=LOCK_PATIENCE_S)
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


def is_held(folder: Path) -> bool:
    """Whether a process holds the run folder's lock, tried without waiting; True where that cannot be told."""
    if not os.path.exists(folder / ".lock"):  # trying would make it
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except (OSError, Timeout):
        return True


# ---------------------------------------------------------------- reading


def read_json(path: Path, otherwise: Any = None, kind: type = dict) -> Any:
    """A file's JSON value, or `otherwise` where it is missing, broken, or of another kind."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return otherwise
    return value if isinstance(value, kind) else otherwise


NUMBER = (int, float)

#: What the parts of an artifact are, each by name; only the required ones may not be missing or null.
REQUIRED = {"model": str, "prompt_set": str, "prompt_index": int, "trial": int, "purpose": str, "key": str,
            "configuration": str, "prompt": str, "response": str, "latency_s": NUMBER, "recording": dict}  # fmt: skip
OPTIONAL = {"engine": str, "prompt_id": str, "category": str, "load_s": NUMBER, "load": dict, "options": dict,
            "checks": list, "memory": dict, "block": dict}  # fmt: skip
SETTINGS = {"n_ctx": int, "n_threads": int, "n_gpu_layers": int, "temperature": NUMBER, "seed": int,
            "max_tokens": int, "cache": str}  # fmt: skip
CHECK = {"check": str, "passed": bool, "reason": str}
BLOCK = {"id": str, "turn": str, "engine": str, "session": int, "position": int, "resident": bool,
         "warmed": bool, "judged": bool, "void": bool, "reasons": list}  # fmt: skip
RECORDING = {"t_sent_ns": int, "t_end_ns": int, "state": str, "t_scheduled_ns": int, "t_headers_ns": int,
             "t_first_byte_ns": int, "first_chunk_tokens": int, "chunks_are_tokens": bool, "cache": str,
             "server_timings": dict, "started_at": str, "error": str}  # fmt: skip
CHUNK = {"t_ns": int, "kind": str, "text": str, "n_bytes": int}


def check_kinds(values: Any, kinds: Mapping[str, Any], where: str, required: bool = False) -> None:
    """Raise ValueError where a known value is of another kind, or missing though it is required.

    >>> check_kinds({"trial": "x"}, {"trial": int}, "artifact")
    Traceback (most recent call last):
    ValueError: its artifact has a wrong "trial"
    """
    if not isinstance(values, dict):
        raise ValueError(f"its {where} is damaged")
    for name, kind in kinds.items():
        value = values.get(name)
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not (fits or (value is None and not required)):
            raise ValueError(f'its {where} has a wrong "{name}"')


NAMED_BY = ("model", "prompt_set", "prompt_index", "trial", "purpose", "key")  # the arguments of `file_name`


def read_artifact(path: Path, folder: Path) -> dict[str, Any]:
    """Read one artifact of a run folder, with its `file` name added; raises ValueError saying what is wrong."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise ValueError(f"not complete JSON ({type(problem).__name__})") from None
    if not isinstance(row, dict) or row.get("schema") != ARTIFACT_SCHEMA:
        raise ValueError(f"not an artifact of schema {ARTIFACT_SCHEMA}")
    missing = [key for key in REQUIRED if row.get(key) is None]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    file = path.relative_to(folder).as_posix()
    try:
        _check_artifact(row)
        named = file_name(**{name: row[name] for name in NAMED_BY})
        summary_row(row)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
        raise ValueError(f"damaged ({problem})") from None
    if file != named:
        raise ValueError(f"renamed, or a copy: what it holds belongs into {named}")
    return {**row, "file": file}


def _check_artifact(row: Mapping[str, Any]) -> None:
    """Raise an error where a part of an artifact cannot be what a run wrote, before a table stumbles over it."""
    check_kinds(row, REQUIRED, "artifact", required=True)
    check_kinds(row, OPTIONAL, "artifact")
    for name in ("load", "options"):
        check_kinds(row.get(name) or {}, SETTINGS, name)
    for check in row.get("checks") or ():
        check_kinds(check, CHECK, "check")
    _check_memory(row.get("memory") or {})
    check_block(row.get("block") or {})
    _check_recording(row["recording"])


def _check_memory(memory: Mapping[str, Any]) -> None:
    check_kinds(memory, {"process_anonymous": dict, "process_file_backed": dict}, "memory")
    for source in memory.values():
        if isinstance(source, dict):
            check_kinds(source, dict.fromkeys(source, NUMBER), "memory")


def check_block(block: Mapping[str, Any]) -> None:
    """Raise an error where a block's record cannot be judged."""
    check_kinds(block, BLOCK, "block")
    "; ".join(block.get("reasons") or ())
    machine.judge_blocks([block])


def _check_recording(row: Mapping[str, Any]) -> None:
    check_kinds(row, RECORDING, "recording")
    recording = Recording.from_dict(row)
    for chunk in recording.chunks:
        check_kinds(vars(chunk), CHUNK, "recording", required=True)
    for count in recording.counts.values():
        check_kinds(vars(count), {"value": int, "source": str}, "recording", required=True)
    metrics.ledger(recording)
    metrics.clock_faults(recording)


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
                rows.append(read_artifact(path, self.folder))
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
    if (path / "manifest.json").exists():
        _read_manifest(path)
        return Run(path)
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


#: What the parts of a manifest are, where it has them.
MANIFEST = {"machine": dict, "plan": dict, "identity": dict, "prompt_sets": dict, "configurations": dict,
            "models": dict, "stopped": dict, "sessions": list}  # fmt: skip


def _read_manifest(folder: Path) -> dict[str, Any]:
    """A run folder's manifest; BenchkitError where it is damaged, or was edited into something else."""
    manifest = read_json(folder / "manifest.json", BROKEN, kind=object)
    if manifest is BROKEN:
        raise BenchkitError(
            f"{folder}: its manifest.json is damaged. The command that made the run repairs it."
        )
    try:
        _check_manifest(manifest)
    except ValueError as problem:
        raise BenchkitError(
            f"{folder}: its manifest.json was changed by hand, or is no run's: {problem}. Undo the change; or empty "
            "that file, and the command that made the run writes it anew."
        ) from None
    return manifest


#: Stands for a file that is not JSON: null is.
BROKEN = object()


def _check_manifest(manifest: Any) -> None:
    check_kinds(manifest, MANIFEST, "manifest")
    for part in MANIFEST.keys() & manifest.keys():
        if manifest[part] is None:
            raise ValueError(f'its manifest has a wrong "{part}"')
    for part in ("prompt_sets", "configurations", "models"):
        entries = manifest.get(part, {})
        check_kinds(entries, dict.fromkeys(entries, dict), part, required=True)
    for name, model in manifest.get("models", {}).items():
        check_kinds(model, {"size_bytes": NUMBER, "error": str, "loads": list, "weighing": dict, "perplexity": dict}, name)
        check_kinds(model.get("perplexity") or {}, {"perplexity": NUMBER, "se": NUMBER}, f"{name}: perplexity")
        for load in model.get("loads") or ():
            check_kinds(load, {"cold_ttft_ms": NUMBER, "warm_ttft_ms": NUMBER}, f"{name}: loads")
    for session in manifest.get("sessions", ()):
        check_kinds(session, {"notes": list}, "sessions")
        if not all(isinstance(note, str) for note in session.get("notes") or ()):
            raise ValueError('its sessions have a wrong "notes"')


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
    notes = []
    if not (folder / "manifest.json").exists():
        _refuse_foreign_folder(folder)
    elif read_json(folder / "manifest.json", BROKEN, kind=object) is not BROKEN:
        _refuse_other_plan(folder, plan)
    elif _is_ours(folder):
        notes.append("manifest.json was damaged and is written anew")
    else:
        raise BenchkitError(
            f"{folder} holds a manifest.json that is no run's, and nothing that a run measured. "
            "Choose an empty or new folder."
        )
    (folder / "speed").mkdir(exist_ok=True) if plan.speed else None
    for leftover in [p for part in (folder, folder / "speed") for p in part.glob(".*.tmp") if _is_leftover(p)]:
        leftover.unlink(missing_ok=True)
    return notes + _set_strangers_aside(folder, {test.key for test in plan.tests()})


def _is_leftover(path: Path) -> bool:
    """Whether a file is what a killed process of ours left: see `write_bytes`."""
    return re.fullmatch(r"\.\d+-.*\.tmp", path.name) is not None and path.is_file()


def _has_status(folder: Path) -> bool:
    return {"pid", "done"} <= read_json(folder / "status.json", {}).keys()


def _is_ours(folder: Path) -> bool:
    """Whether a folder whose manifest says nothing is a run's all the same: by its status, or an artifact."""
    if _has_status(folder):
        return True
    for path in artifact_paths(folder):
        with suppress(ValueError):
            return bool(read_artifact(path, folder))
    return False


def _refuse_other_plan(folder: Path, plan: Plan) -> None:
    manifest = read_json(folder / "manifest.json", {})
    if manifest.get("schema") != MANIFEST_SCHEMA or "identity" not in manifest:
        raise BenchkitError(
            f"{folder} holds a manifest.json that is no run's: nothing is written there. "
            "Choose an empty or new folder."
        )
    manifest = _read_manifest(folder)
    changes = differences(manifest["identity"], plan.identity())
    if changes:
        raise BenchkitError(
            f"{folder} holds the run of another plan: {'; '.join(changes)}. Choose another output folder, or "
            "give the settings of the run that is there to continue it."
        )


def _refuse_foreign_folder(folder: Path) -> None:
    """Refuse a folder without a manifest in which there is more than a run that was stopped at once leaves."""
    ended = ("status.json", "summary.json") if _has_status(folder) else ()  # the disk was full from the start
    others = sorted(p.name for p in folder.iterdir() if not (_is_beginning(p) or p.name in ended))
    if others:
        raise BenchkitError(
            f"{folder} is not a run folder and is not empty (it holds {', '.join(others[:3])}). "
            "Choose an empty or new folder."
        )


def _is_beginning(path: Path) -> bool:
    """Whether a file or folder is there before a run's manifest is."""
    if path.name == "speed" and path.is_dir():
        return all(_is_leftover(p) for p in path.iterdir())
    return path.name in (".lock", "run.log") or _is_leftover(path)


def _set_strangers_aside(folder: Path, keys: set[str]) -> list[str]:
    """Rename artifacts that are damaged, are copies, or came here from another plan's run."""
    notes = []
    for path in artifact_paths(folder):
        try:
            if read_artifact(path, folder)["key"] in keys:
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
