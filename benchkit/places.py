"""Where things are: prompt sets and models beside the package, caches in the user's own folder."""

from __future__ import annotations

import ipaddress
import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from benchkit.errors import BenchkitError

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ROOT / "prompts"
MODELS = ROOT / "models"
OUTPUTS = ROOT / "benchmark_outputs"


def home() -> Path | None:
    """The user's own folder, or None where the system knows of none (a container without HOME)."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def python_path() -> str:
    """What `PYTHONPATH` must be for a child process to find the package, installed or not."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def is_loopback(host: str | None) -> bool:
    """Whether a host's name or address means this very computer.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "192.168.0.7", "example.org", None)]
    [True, True, True, False, False, False]
    """
    name = host or ""
    try:
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def cache_folder() -> Path:
    """The folder for files that can be made again: `BENCHKIT_CACHE`, or the system's own cache folder."""
    own = os.environ.get("BENCHKIT_CACHE")
    folder = Path(own) if own else _user_cache()
    if folder is None:
        return _shared_cache()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _user_cache() -> Path | None:
    try:
        folder = user_cache_path("benchkit", appauthor=False)
    except RuntimeError:  # no home
        return None
    return folder if folder.is_absolute() else None  # older platformdirs: "~/.cache/benchkit" as it stands


def _shared_cache() -> Path:
    """A folder among everybody's temporary files that only this user can open."""
    uid = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(tempfile.gettempdir()) / f"benchkit-{'user' if uid is None else uid}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if uid is not None and folder.lstat().st_uid != uid:  # somebody was here first
        raise BenchkitError(f"{folder} belongs to another user. Set BENCHKIT_CACHE to a folder of your own.")
    return folder
