"""Smaller variants of a model, made by llama.cpp's own quantiser, and kept in the user's cache folder.

    variant("models/pocket-s.gguf", "Q4_K_M")   ->  …/variants/pocket-s-Q4_K_M-1f0c….gguf

The quantiser runs in a child process (`python -m benchkit.quantize SOURCE TARGET TYPE`): a damaged file
can crash it, and then only the child is gone. A name such as Q4_K_M is a mix: most tensors get 4 bits,
the ones that matter most get more; so the bits per weight follow from the file, not from the name.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from filelock import FileLock

from . import places
from .errors import ModelError

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


def quantize(source: str | Path, type: str, target: str | Path) -> Path:
    """Write `source` to `target` with the weights of a smaller type. All of it, or nothing.

    Raises `ModelError` for an unknown type, a source that cannot be read, and a full disk.
    """
    source, target, type = Path(source), Path(target), _known(type)
    _check_source(source)
    if target.exists() and target.samefile(source):
        raise ModelError(f"Quantising {source} onto itself would destroy it: name another target.")
    _make(source, type, target, keep=False)
    return target


def _known(type: str) -> str:
    if type not in QUANT_TYPES:
        raise ModelError(
            f"{type!r} is not a quantisation type that benchkit makes: {', '.join(QUANT_TYPES)}."
        )
    return type


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


def _make(source: Path, type: str, target: Path, keep: bool) -> None:
    """Quantise into a file beside the target, then rename it: nobody ever sees half a file."""
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target):
            if keep and target.exists():  # made by another process while we waited
                return
            try:
                _run_child(source, type, part)
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


def _run_child(source: Path, type: str, part: Path) -> None:
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
        said = child.stderr.read().decode("utf-8", "replace").strip().splitlines()
    finally:
        if child.poll() is None and sys.exc_info()[0]:
            child.kill()
        code = child.wait()
        child.stdin.close()
        child.stderr.close()
    if code:
        raise ModelError(_why(source, type, part, code, said))


def _why(source: Path, type: str, part: Path, code: int, said: list[str]) -> str:
    free = shutil.disk_usage(part.parent).free
    written = part.stat().st_size if part.exists() else 0
    text = f"Making {type} of {source} failed after {written / 2**20:,.1f} MiB (exit code {code})."
    if free < source.stat().st_size or any("iostream" in line for line in said):
        text += (
            f" The disk is full, or nearly: {free / 2**20:,.0f} MiB are free in {part.parent}. Make room, "
            "or set BENCHKIT_CACHE to a folder on another disk."
        )
    else:
        text += " The source may be damaged, or quantised already (start from F16, BF16 or F32)."
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
    from .llama_c import C, start, stdout_for_answers_only

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    stdout_for_answers_only()
    start()
    settings = C.llama_model_quantize_default_params()
    settings.ftype = QUANT_TYPES[type]
    return C.llama_model_quantize(os.fsencode(source), os.fsencode(target), settings)


if __name__ == "__main__":
    os._exit(min(255, _child(*sys.argv[1:])))
