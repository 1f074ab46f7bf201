"""Smaller variants of a model, made by llama.cpp's own quantiser, and kept in the user's cache folder.

    variant("models/pocket-s.gguf", "Q4_K_M")   ->  …/variants/pocket-s-Q4_K_M-1f0c….gguf
    quantize_all("models/pocket-s.gguf", ["Q4_K_M", "Q8_0"], "my-models")  ->  named files in a folder of your own

The quantiser runs in a child process (`python -m benchkit.quantize SOURCE TARGET TYPE`): a damaged file
can crash it, and then only the child is gone. A name such as Q4_K_M is a mix: most tensors get 4 bits,
the ones that matter most get more; so the bits per weight follow from the file, not from the name.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from filelock import FileLock

from . import places, tensors
from .errors import BenchkitError, ModelError, did_you_mean
from .gguf_header import read_header

#: Types that benchkit makes: llama.cpp's number for each, largest file first.
QUANT_TYPES = {
    "Q8_0": 7,
    "Q6_K": 18,
    "Q5_K_M": 17,
    "Q5_K_S": 16,
    "Q4_K_M": 15,
    "Q4_K_S": 14,
    "Q3_K_L": 13,
    "Q3_K_M": 12,
    "Q3_K_S": 11,
    "Q2_K": 10,
}
#: Called while a variant is made, with the tensors done and all tensors.
OnTensor = Callable[[int, int], None]
_OTHER_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "BF16": 32}


def type_name(file_type: int | str | None) -> str | None:
    """The name of the number that a GGUF file has under `general.file_type`.

    >>> type_name("15"), type_name(1), type_name(None)
    ('Q4_K_M', 'F16', None)
    """
    if file_type is None:
        return None
    names = {number: name for name, number in (QUANT_TYPES | _OTHER_TYPES).items()}
    return names.get(int(file_type), f"type {file_type}")


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes; read again only if the file changed."""
    path = Path(path)
    facts = path.stat()
    return _sha256(str(path.resolve()), facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256(path: str, _size: int, _mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def variant(path: str | Path, type: str) -> Path:
    """The quantised variant of a GGUF file: from the cache, or made now, in seconds for a small model.

    It is known by the content of its source, so a changed source gets a new variant.
    """
    source = Path(path)
    type = _known(type)
    _check_source(source)
    name = f"{source.stem[:60]}-{type}-{sha256(source)[:16]}.gguf"
    target = places.cache_folder() / "variants" / name
    if not target.exists():
        _make(source, type, target, keep=True)
    return target


def quantize(source: str | Path, type: str, target: str | Path, on_tensor: OnTensor | None = None) -> Path:
    """Write `source` to `target` with the weights of a smaller type. All of it, or nothing.

    Raises `ModelError` for an unknown type, a source that cannot be read, and a full disk.
    """
    source, target, type = Path(source), Path(target), _known(type)
    _check_source(source)
    if target.exists() and target.samefile(source):
        raise ModelError(f"Quantising {source} onto itself would destroy it: name another target.")
    _make(source, type, target, keep=False, on_tensor=on_tensor)
    return target


@dataclass(frozen=True)
class Made:
    """A variant that was made: where it is, and what it weighs in truth."""

    path: Path
    type: str
    size_mib: float
    bits_per_weight: float

    def __str__(self) -> str:
        return f"{self.path}   {self.size_mib:,.1f} MiB   {self.bits_per_weight:.2f} bits per weight"


def quantize_all(
    source: str | Path, types: Iterable[str], folder: str | Path = ".", overwrite: bool = False, progress: bool = True
) -> Iterator[Made]:
    """Make variants of a GGUF file in a folder, `NAME-TYPE.gguf`, and yield each as soon as it is whole.

    Raises before anything is made: `ModelError` for an unknown type and a source that cannot be read, `BenchkitError`
    for a file that exists already, unless `overwrite`. A full disk is said when it happens; what was made stays.
    """
    source, types = Path(source), list(dict.fromkeys(_known(type) for type in types))
    _check_source(source)
    targets = {type: Path(folder) / f"{_bare(source.stem)}-{type}.gguf" for type in types}
    there = [str(target) for target in targets.values() if target.exists()]
    if there and not overwrite:
        raise BenchkitError(f"There already: {', '.join(there)}. Say --overwrite to make it anew, or name another --out.")
    n_tensors = len(read_header(source).tensors)
    return (_with_progress(source, type, target, n_tensors, progress) for type, target in targets.items())


def _bare(stem: str) -> str:
    """A source's name without its own type.

    >>> _bare("Llama-3.2-1B-Instruct-F16"), _bare("x.q4_k_m"), _bare("pocket-s")
    ('Llama-3.2-1B-Instruct', 'x', 'pocket-s')
    """
    types = "|".join(["FP16", *QUANT_TYPES, *_OTHER_TYPES])
    return re.sub(rf"[-._]({types})$", "", stem, flags=re.IGNORECASE)


def _with_progress(source: Path, type: str, target: Path, n_tensors: int, progress: bool) -> Made:
    # Imported here, because the process that holds a model imports this module, and should stay small.
    from tqdm import tqdm

    with tqdm(total=n_tensors, desc=type, unit="tensor", file=sys.stderr, disable=not progress, leave=False) as bar:
        quantize(source, type, target, on_tensor=lambda n_done, _: bar.update(n_done - bar.n))
    bits = tensors.bits_per_weight(read_header(target).tensors)
    return Made(target, type, target.stat().st_size / 2**20, bits)


def _known(type: str) -> str:
    """A type's name as llama.cpp writes it."""
    name = str(type).upper()
    if name not in QUANT_TYPES:
        raise ModelError(
            f"{type!r} is not a quantisation type that benchkit makes{did_you_mean(name, QUANT_TYPES)}: "
            f"{', '.join(QUANT_TYPES)}."
        )
    return name


def _check_source(source: Path) -> None:
    try:
        with open(source, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"Cannot quantise {source}: {error.strerror}.") from None
    if magic != b"GGUF":
        raise ModelError(
            f"Cannot quantise {source}: not a GGUF file (it begins with {magic!r}). Get it again."
        )


def _make(source: Path, type: str, target: Path, keep: bool, on_tensor: OnTensor | None = None) -> None:
    """Quantise into a file beside the target, then rename it: nobody ever sees half a file."""
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target):
            if keep and target.exists():  # made by another process while we waited
                return
            try:
                _run_child(source, type, part, on_tensor)
                _replace(part, target)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"Cannot write {target}: {error.strerror or error}.") from None


def _lock(target: Path) -> FileLock:
    folder = places.cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(os.fsencode(target.resolve())).hexdigest()[:16]
    return FileLock(folder / f"{key}.lock")


def _run_child(source: Path, type: str, part: Path, on_tensor: OnTensor | None) -> None:
    command = [sys.executable, "-m", "benchkit.quantize", str(source), str(part), type]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # it ends when this pipe closes, so it cannot outlive us
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": places.python_path(), "PYTHONUTF8": "1", "GGML_NO_BACKTRACE": "1"},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    try:
        said = _listen(child.stderr, on_tensor)
    finally:
        if child.poll() is None and sys.exc_info()[0]:
            child.kill()
        code = child.wait()
        child.stdin.close()
        child.stderr.close()
    if code:
        raise ModelError(_why(source, type, part, code, said))


def _listen(stream: BinaryIO, on_tensor: OnTensor | None) -> list[str]:
    """What the child says until it ends: a line a tensor goes to `on_tensor`, the rest is returned."""
    said = []
    for line in stream:
        text = line.decode("utf-8", "replace").strip()
        counted = _TENSOR.match(text)
        if counted is None:
            said.append(text)
        elif on_tensor is not None:
            on_tensor(int(counted[1]), int(counted[2]))
    return [text for text in said if text]


#: llama.cpp's line for each tensor begins so: `[  12/ 291]`.
_TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\]")


def _why(source: Path, type: str, part: Path, code: int, said: list[str]) -> str:
    refused = next((line for line in said if "requantizing from type" in line), None)
    if refused:
        return (
            f"{source} is quantised already, so it cannot become {type}: its weights were rounded once, and rounding "
            "them again would add a second error to the first, for weights no better than the file's own. llama.cpp "
            f"refuses it too ({refused.rpartition(': ')[2]}). Start from the F16, BF16 or F32 file."
        )
    free = shutil.disk_usage(part.parent).free
    written = part.stat().st_size if part.exists() else 0
    text = f"Making {type} of {source} failed after {written / 2**20:,.1f} MiB (exit code {code})."
    if free < source.stat().st_size or any("iostream" in line for line in said):
        text += (
            f" The disk is full, or nearly: {free / 2**20:,.0f} MiB are free in {part.parent}. Make room, "
            "or write to a folder on another disk (--out; for variants that benchkit keeps, BENCHKIT_CACHE)."
        )
    else:
        text += " The source may be damaged."
    return text + (f" llama.cpp says: {' / '.join(said[-2:])}" if said else "")


def _replace(part: Path, target: Path) -> None:
    """Rename, and on Windows try again while a reader or a virus scanner holds the file."""
    for wait_s in (0.05, 0.1, 0.2, 0.5, 1.0, None):
        try:
            os.replace(part, target)
            return
        except PermissionError:
            if wait_s is None:
                raise
            time.sleep(wait_s)


def _child(source: str, target: str, type: str) -> int:
    """What runs in the child process: llama.cpp's quantiser. Returns 0 if all went well."""
    from .llama_c import C, answers_on_stdout, start

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    answers_on_stdout()
    start()
    log = _tensors_and_errors(C)  # named, because C keeps no reference to it
    C.llama_log_set(log, None)
    settings = C.llama_model_quantize_default_params()
    settings.ftype = QUANT_TYPES[type]
    return C.llama_model_quantize(os.fsencode(source), os.fsencode(target), settings)


def _tensors_and_errors(C: ModuleType) -> Any:
    """What llama.cpp logs to: its line for each tensor and its errors go to standard error."""
    from .llama_c import ERROR

    @C.llama_log_callback
    def log(level: int, text: bytes, _data: object) -> None:
        line = text.decode("utf-8", "replace").strip()
        if level == ERROR or _TENSOR.match(line):
            print(line, file=sys.stderr, flush=True)

    return log


if __name__ == "__main__":
    os._exit(min(255, _child(*sys.argv[1:])))
