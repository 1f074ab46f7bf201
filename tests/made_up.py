"""Made-up runs for tests of tables, figures and report: plausible, seeded, measured by nobody."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchkit.recording import Chunk, Count, Recording
from benchkit.runs import file_name

CATEGORIES = ("extraction", "classification", "summary", "format", "arithmetic", "reasoning", "code",
              "creative", "translation", "refusal")  # fmt: skip
CHECKS = {"extraction": ("valid_json", "required_keys", "no_extra_text"), "summary": ("max_words", "key_facts"),
          "arithmetic": ("number",), "code": ("python_code",)}  # fmt: skip

#: configuration → (tokens per second, share correct, file size in MiB)
FAMILY = {
    "gguf:pocket-xs": (1450.0, 0.42, 2.7),
    "gguf:pocket-s": (640.0, 0.63, 7.3),
    "gguf:pocket-s:Q4_K_M": (760.0, 0.58, 2.6),
    "gguf:pocket-m": (270.0, 0.78, 17.0),
}


@dataclass
class MadeUpRun:
    """What `tables.results` needs of a run: a folder's name, a manifest, artifacts."""

    rows: list[dict[str, Any]]
    manifest: dict[str, Any]
    folder: Path = Path("made-up")
    status: dict[str, Any] = field(default_factory=lambda: {"state": "complete"})
    problems: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    def artifacts(self) -> list[dict[str, Any]]:
        return self.rows


def made_up_run(
    family=FAMILY, n_prompts: int = 60, trials: int = 1, speed: int = 6, seed: int = 7
) -> MadeUpRun:
    """Every configuration on every prompt; prompts differ in length, category and hardness."""
    rng = np.random.default_rng(seed)
    hardness = rng.uniform(-0.35, 0.35, n_prompts)
    n_in = rng.integers(14, 90, n_prompts)
    rows = []
    for name, (rate, share, size) in family.items():
        for index in range(n_prompts):
            correct = rng.uniform() < share + hardness[index]
            n_out = int(rng.integers(3, 120))
            rows += [made_up_artifact(rng, name, rate, size, index, trial, n_out, int(n_in[index]), correct)
                     for trial in range(trials)]  # fmt: skip
        rows += [made_up_artifact(rng, name, rate, size, i, 0, 128, 64, None) for i in range(speed)]
    models = {
        name: {"size_bytes": int(size * 2**20), "digest": "0f" * 32} for name, (_, _, size) in family.items()
    }
    manifest = {"name": "made-up family", "created": "2026-01-02T03:04:05+00:00", "models": models,
                "machine": {"cpu": "Abacus 2", "logical_cores": 2, "memory_mib": 8192, "environment": {}},
                "plan": {"name": "made-up family", "models": list(family), "trials": trials}}  # fmt: skip
    return MadeUpRun(rows, manifest)


def made_up_artifact(rng, name: str, rate: float, size: float, index: int, trial: int, n_out: int, n_in: int,
                     correct: bool | None, state: str | None = None, reply: str | None = None) -> dict[str, Any]:  # fmt: skip
    """One artifact; `correct` None makes it a forced-length one."""
    speed = correct is None
    category = "speed" if speed else CATEGORIES[index % len(CATEGORIES)]
    tpot_ms = 1000 / rate * rng.lognormal(0, 0.04)
    ttft_ms = n_in / 8 * tpot_ms * rng.lognormal(0, 0.1) + 0.4
    recording = _recording(ttft_ms, tpot_ms, n_out, n_in, state or ("length" if speed else "ok"), reply)
    checks = [] if speed else _checks(rng, category, correct)
    prompt_set, purpose = ("speed", "speed") if speed else ("categories", "quality")
    key = f"{zlib.crc32(f'{name} {index} {trial} {purpose}'.encode()):08x}" + "0" * 56
    return {
        "schema": "benchkit/artifact/1", "key": key, "model": name, "configuration": name,
        "file": file_name(name, prompt_set, index, trial, purpose, key),
        "prompt_set": prompt_set, "prompt_index": index, "prompt_id": f"{category}-{index}",
        "category": category, "prompt": f"Prompt {index}: show that you can do {category}.", "trial": trial,
        "purpose": purpose, "response": recording.response,
        "latency_s": (recording.t_end_ns - recording.t_sent_ns) / 1e9, "recording": recording.to_dict(),
        "checks": checks, "load_s": size / 90, "load": {"n_ctx": 1024}, "options": {"temperature": 0.0, "seed": 1234},
        "memory": {"process": {"baseline_mib": 30.0, "peak_mib": 8 + 1.3 * size, "delta_mib": 0.2 * size}},
    }  # fmt: skip


def _recording(
    ttft_ms: float, tpot_ms: float, n_out: int, n_in: int, state: str, reply: str | None
) -> Recording:
    texts = [f" w{i}" for i in range(n_out)] if reply is None else [reply]
    at = [round(1e6 * (ttft_ms + i * tpot_ms)) for i in range(len(texts))]
    counts = {"output": Count(len(texts), "engine_tokenizer"), "prompt": Count(n_in, "engine_tokenizer"),
              "cached": Count(0, "engine_tokenizer")}  # fmt: skip
    broken = state not in ("ok", "length")
    chunks = (
        ()
        if broken
        else tuple(Chunk(t, "content", text, len(text)) for t, text in zip(at, texts, strict=True))
    )
    return Recording(0, at[-1] + 200_000, state, chunks, {} if broken else counts, chunks_are_tokens=reply is None,
                     first_chunk_tokens=1, t_scheduled_ns=0, cache="cold",
                     error=f"made-up {state}" if broken else None)  # fmt: skip


def _checks(rng, category: str, correct: bool) -> list[dict[str, Any]]:
    names = CHECKS.get(category, ("contains",))
    wrong = 0 if correct else int(rng.integers(1, len(names) + 1))
    return [{"check": check, "passed": i < len(names) - wrong, "reason": f"made up for {category}"}
            for i, check in enumerate(names)]  # fmt: skip


def write_run(run: MadeUpRun, folder: Path) -> Path:
    """The same run as a folder on disk, so that it can be opened like any other."""
    for row in run.rows:
        path = folder / row["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(run.manifest), encoding="utf-8")
    (folder / "status.json").write_text(json.dumps(run.status), encoding="utf-8")
    return folder
