"""Ways to reach a model: `connect("gguf:pocket-s")`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import places
from ..errors import ModelError, did_you_mean
from ..quantize import QUANT_TYPES, variant
from .base import Backend, Options

__all__ = ["Backend", "Options", "connect", "find_models"]

SERVED = ("ollama", "openai")  # schemes of models on a server
ALLOWED = (
    "Write gguf:pocket-s (a model that ships with benchkit), gguf:pocket-s:Q4_K_M (the same, quantised), "
    "gguf:PATH (any GGUF file on this computer), ollama:MODEL (a model of your Ollama), openai:MODEL with its "
    "host (any OpenAI-compatible server), or replay:FOLDER (a recorded run)."
)


def connect(
    name: str,
    *,
    host: str | None = None,
    n_ctx: int | None = None,
    n_threads: int | None = None,
    n_gpu_layers: int = 0,
) -> Backend:
    """Load a model and return it, ready for `stream`.

    `gguf:pocket-s` ships with benchkit, `gguf:pocket-s:Q4_K_M` is its quantised variant, made when first
    asked for, `gguf:PATH` is any GGUF file. `ollama:MODEL` is a model of an Ollama (`host`, else `OLLAMA_HOST`,
    else this computer), `openai:MODEL` one behind an OpenAI-compatible server (`host` is its URL with /v1), and
    `replay:FOLDER` plays a recorded run again. `n_ctx` is the context in tokens, for prompt and reply
    together (default: the model's own, at most 2,048), `n_threads` defaults to the physical cores,
    `n_gpu_layers` to 0, the processor alone. Raises `ModelError` with what to do.
    """
    scheme, _, rest = name.partition(":") if isinstance(name, str) else ("", "", "")
    if scheme in SERVED and rest:
        if n_threads is not None or n_gpu_layers or (scheme == "openai" and n_ctx is not None):
            raise ModelError(f"{name}: threads, GPU layers and, for openai:, the context are set in the server itself.")
        return _served(name, scheme, rest, host, n_ctx)
    if host is not None:
        raise ModelError(f"{name}: a host is for ollama: and openai: models; this one is not on a server.")
    if scheme == "replay" and rest:
        from .replay import ReplayBackend, split_name

        return ReplayBackend(name, split_name(rest)[0])
    from .gguf import GgufBackend

    path = locate(name)
    return GgufBackend(name, path, n_ctx=n_ctx, n_threads=n_threads, n_gpu_layers=n_gpu_layers)


def _served(name: str, scheme: str, model: str, host: str | None, n_ctx: int | None) -> Backend:
    if scheme == "ollama":
        from .ollama import OllamaBackend

        return OllamaBackend(name, model, host, n_ctx)
    from .openai_compatible import OpenAIBackend

    return OpenAIBackend(name, model, host)


def locate(name: str) -> Path:
    """The GGUF file that a model name means, made first if it is a quantised variant."""
    if not isinstance(name, str):
        raise ModelError(f"A model name is a string such as 'gguf:pocket-s', this is {type(name).__name__}.")
    scheme, colon, rest = name.partition(":")
    if not colon and name in _pocket_models():
        raise ModelError(f"{name}: which backend? Write gguf:{name}.")
    if scheme in SERVED and rest:
        raise ModelError(f"{name} is on a server, there is no file of it here.")
    if scheme != "gguf" or not rest:
        raise ModelError(f"{name!r} is not a model name that benchkit knows. {ALLOWED}")
    where, quant = split_variant(rest)
    path = _file(name, where)
    return variant(path, quant) if quant else path


def split_variant(text: str) -> tuple[str, str | None]:
    r"""Where the file is, and which variant of it: what follows `gguf:`.

    >>> split_variant("pocket-s:q4_k_m")
    ('pocket-s', 'Q4_K_M')
    >>> split_variant(r"C:\models\x.gguf")
    ('C:\\models\\x.gguf', None)
    """
    head, _, tail = text.rpartition(":")
    known = {quant.lower(): quant for quant in QUANT_TYPES}
    if head and tail.lower() in known:
        return head, known[tail.lower()]
    if head and not _is_path(text):
        hint = did_you_mean(tail.upper(), QUANT_TYPES)
        raise ModelError(
            f"gguf:{text}: {tail} is not a quantisation type{hint}. Known: {', '.join(QUANT_TYPES)}."
        )
    return text, None


def _is_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.lower().endswith(".gguf") or text.startswith("~")


def _pocket_models() -> dict[str, Path]:
    return {path.stem: path for path in sorted(places.MODELS.glob("*.gguf"))}


def _file(name: str, where: str) -> Path:
    pocket = _pocket_models()
    if where in pocket:
        return pocket[where]
    path = Path(os.path.expanduser(where))
    if os.path.isdir(path):
        inside = ", ".join(sorted(p.name for p in path.glob("*.gguf"))[:5]) or "none"
        raise ModelError(f"{name}: {path} is a folder. Name one file in it (GGUF files there: {inside}).")
    if os.path.isfile(path):
        return path.resolve()
    if _is_path(where):
        raise ModelError(f"{name}: there is no file {path.absolute()}. `benchkit models` lists what is here.")
    hint = did_you_mean(where, pocket)
    shipped = ", ".join(f"gguf:{stem}" for stem in pocket) or f"none in {places.MODELS}"
    raise ModelError(f"{name}: no shipped model is called {where}{hint}. Shipped: {shipped}; or gguf:PATH.")


def model_folders() -> list[Path]:
    """Where GGUF files may be: `BENCHKIT_MODELS`, the folders of llama.cpp, Hugging Face and LM Studio."""
    own = [part for part in os.environ.get("BENCHKIT_MODELS", "").split(os.pathsep) if part]
    hub = os.environ.get("HF_HUB_CACHE") or os.path.join(
        os.environ.get("HF_HOME", "~/.cache/huggingface"), "hub"
    )
    usual = ["~/models", "~/.cache/llama.cpp", "~/Library/Caches/llama.cpp", hub, "~/.lmstudio/models",
             "~/.cache/lm-studio/models"]  # fmt: skip
    return [Path(os.path.expanduser(folder)) for folder in own + usual]


def find_models(host: str | None = None) -> list[dict[str, Any]]:
    """The models that can be had: name, path, size in MiB (None where it is not told), and where it was found.

    The shipped ones, GGUF files in the usual folders, and those of the servers that answer: `host`, which must,
    or else the Ollama and the LM Studio of this computer, should they run.
    """
    shipped = [_row(f"gguf:{stem}", path, "shipped") for stem, path in _pocket_models().items()]
    found = {
        path: _row(f"gguf:{path}", path, str(folder))
        for folder in model_folders()
        if os.path.isdir(folder)
        for path in sorted(folder.rglob("*.gguf"))
        if path.is_file() and "mmproj" not in path.name  # an eye for a model, not a model
    }
    return [*shipped, *found.values(), *_on_servers(host)]


LM_STUDIO = "http://127.0.0.1:1234/v1"


def _on_servers(host: str | None) -> Iterator[dict[str, Any]]:
    from . import ollama, openai_compatible

    if host is None:
        with suppress(ModelError):
            yield from ollama.list_models()
        with suppress(ModelError):
            yield from openai_compatible.list_models(LM_STUDIO)
        return
    has_path = bool(urlsplit(host if "://" in host else f"http://{host}").path.strip("/"))
    likely, other = (openai_compatible, ollama) if has_path else (ollama, openai_compatible)
    try:
        yield from likely.list_models(host)
    except ModelError as problem:
        try:
            yield from other.list_models(host)
        except ModelError:
            raise problem from None


def _row(name: str, path: Path, where: str) -> dict[str, Any]:
    return {"name": name, "path": str(path), "size_mib": path.stat().st_size / 2**20, "where": where}
