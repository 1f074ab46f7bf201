"""Where things are: prompt sets and models beside the package, caches in the user's own folder."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ROOT / "prompts"
MODELS = ROOT / "models"
OUTPUTS = ROOT / "benchmark_outputs"


def cache_folder() -> Path:
    """The folder for files that can be made again: `BENCHKIT_CACHE`, or the system's own cache folder."""
    folder = Path(os.environ.get("BENCHKIT_CACHE") or user_cache_path("benchkit", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
