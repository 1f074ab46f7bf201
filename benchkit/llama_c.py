"""llama.cpp's C functions, as llama-cpp-python binds them, without the rest of that package.

Importing `llama_cpp` loads its servers, caches and chat handlers too: 0.4 s and 39 MiB, where the
bindings alone take 0.07 s and 17 MiB. A process that holds a model should weigh what the model weighs,
so only `llama_cpp.llama_cpp` is imported, under a stand-in for the package around it.
Used in child processes only (`benchkit.backends.worker`, `benchkit.quantize`), never in yours.
"""

from __future__ import annotations

import collections
import importlib
import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

ERROR = 4  # llama.cpp's log level


def _bindings() -> types.ModuleType:
    if "llama_cpp" in sys.modules:
        return importlib.import_module("llama_cpp.llama_cpp")
    found = importlib.util.find_spec("llama_cpp")
    if found is None:
        raise ImportError("llama-cpp-python is not installed: pip install llama-cpp-python")
    stand_in = types.ModuleType("llama_cpp")
    stand_in.__path__ = list(found.submodule_search_locations or [])
    sys.modules["llama_cpp"] = stand_in
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]  # the real package can still be imported later


C = _bindings()

#: llama.cpp's last complaints, newest last.
complaints: collections.deque[str] = collections.deque(maxlen=8)


@C.llama_log_callback
def _keep_complaints(level: int, text: bytes, _data: object) -> None:
    if level == ERROR:
        line = text.decode("utf-8", "replace").strip()
        complaints.append(line)
        print(line, file=sys.stderr, flush=True)


def start() -> None:
    """Start llama.cpp, quietly: only errors are kept and printed (to standard error)."""
    C.llama_log_set(_keep_complaints, None)
    C.llama_backend_init()


def answers_on_stdout() -> Callable[..., None]:
    """Keep standard output for our own lines of JSON: whatever llama.cpp prints goes to standard error.

    Returns the function that writes such a line: `answer(done=7)` writes `{"done":7}`.
    """
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**message: Any) -> None:
        lines.write(json.dumps(message, separators=(",", ":")) + "\n")
        lines.flush()

    return answer
