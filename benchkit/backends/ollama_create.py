"""Hand the pocket models to a user's own Ollama: afterwards `ollama run pocket-s` works.

The file is sent to Ollama once, under its SHA-256, and Ollama is told which template it was trained with;
Ollama would otherwise send it bare text. Ollama keeps its own copy: `ollama rm pocket-s` removes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from .. import places
from ..errors import ModelError
from ..gguf_header import read_header
from ..quantize import sha256
from . import locate, split_variant
from .ollama import base_url

#: ChatML, the format of the pocket models and many others, in Ollama's template language.
CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
CHATML_STOP = "<|im_end|>"

ASK_S, SEND_S = 10.0, 600.0


def go_template(chat_template: str) -> tuple[str, tuple[str, ...]]:
    """A model's Jinja template as Ollama's template and stop texts; other than ChatML it stays as it is.

    >>> go_template("{{ '<|im_start|>' + role }} … <|im_end|>")[1]
    ('<|im_end|>',)
    """
    if "<|im_start|>" in chat_template and CHATML_STOP in chat_template:
        return CHATML, (CHATML_STOP,)
    return chat_template, ()


def ollama_name(model: str) -> str:
    """What a model is called in Ollama's way, name and tag.

    >>> ollama_name("gguf:pocket-s:Q4_K_M"), ollama_name("gguf:/m/My Model.gguf")
    ('pocket-s:Q4_K_M', 'My-Model:latest')
    """
    where, quant = split_variant(model.partition(":")[2])
    stem = re.split(r"[/\\]", where)[-1].removesuffix(".gguf")
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', stem).strip('-.') or 'model'}:{quant or 'latest'}"


def to_ollama(models: Sequence[str] | str | None = None, host: str | None = None) -> list[str]:
    """Give models to an Ollama; returns the names that they have there.

    `models` are benchkit's names, `gguf:pocket-s` or `gguf:pocket-s:Q4_K_M`; by default all pocket models.
    `host` is where Ollama is (default: `OLLAMA_HOST`, else this computer). Giving a model again replaces it.
    Raises `ModelError` if Ollama does not answer or refuses.
    """
    if models is None:
        models = [f"gguf:{path.stem}" for path in sorted(places.MODELS.glob("*.gguf"))]
    host = base_url(host)
    version = _ask("GET", f"{host}/api/version", host, timeout=ASK_S).get("version", "")
    if "benchkit" in version:
        raise ModelError(f"{host} is benchkit serve, not an Ollama: it has the models it was started with.")
    return [_give(name, host) for name in ([models] if isinstance(models, str) else models)]


def _give(name: str, host: str) -> str:
    path = locate(name)
    template, stops = go_template(str(read_header(path).metadata.get("tokenizer.chat_template", "")))
    if template != CHATML:
        raise ModelError(
            f"{name}: its chat template is not ChatML, and Ollama's template language is not the file's. "
            "Write a Modelfile with FROM and TEMPLATE, then: ollama create NAME -f Modelfile."
        )
    called = ollama_name(name)
    digest = f"sha256:{sha256(path)}"
    _send_file(path, digest, host)
    request = {
        "model": called,
        "files": {path.name: digest},
        "template": template,
        "parameters": {"stop": list(stops)},
        "stream": False,
    }
    answer = _ask("POST", f"{host}/api/create", host, json=request, timeout=SEND_S)
    if answer.get("status") != "success":
        raise ModelError(f"{name}: Ollama did not create it: {answer.get('error') or answer}.")
    return called


def _send_file(path: Path, digest: str, host: str) -> None:
    """Send the file, unless Ollama has it."""
    url = f"{host}/api/blobs/{digest}"
    try:
        if requests.head(url, timeout=ASK_S).status_code == 200:
            return
        with open(path, "rb") as file:
            answer = requests.post(url, data=file, timeout=SEND_S)
    except requests.RequestException as problem:
        raise ModelError(f"{path.name} could not be sent to {host}: {type(problem).__name__}.") from None
    if answer.status_code not in (200, 201):
        raise ModelError(
            f"{path.name}: Ollama refused the file (HTTP {answer.status_code}): {answer.text[:200]}"
        )


def _ask(method: str, url: str, host: str, **more: Any) -> dict[str, Any]:
    try:
        response = requests.request(method, url, allow_redirects=False, **more)
        answer = response.json()
    except requests.ConnectionError:
        raise ModelError(
            f"No Ollama answers at {host}. Start it (the Ollama app, or `ollama serve`), then try again."
        ) from None
    except (requests.RequestException, ValueError) as problem:
        raise ModelError(f"{url} does not answer as Ollama does ({type(problem).__name__}).") from None
    if response.status_code >= 400 or not isinstance(answer, dict):
        said = answer.get("error") if isinstance(answer, dict) else answer
        raise ModelError(f"{url}: HTTP {response.status_code}: {said}")
    return answer
