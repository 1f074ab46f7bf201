"""Made-up results for tests of figures and report: plausible, seeded, measured by nobody."""

from __future__ import annotations

import numpy as np
import pandas as pd

CATEGORIES = (
    "extraction",
    "classification",
    "summary",
    "format",
    "arithmetic",
    "reasoning",
    "code",
    "creative",
    "translation",
    "refusal",
)

#: label → (tokens per second, share correct, file size in MiB)
CONFIGURATIONS = {
    "gguf:pocket-xs": (1450.0, 0.42, 2.7),
    "gguf:pocket-s": (640.0, 0.63, 7.3),
    "gguf:pocket-s:Q4_K_M": (760.0, 0.58, 2.6),
    "gguf:pocket-m": (270.0, 0.78, 17.0),
}


def made_up_results(
    configurations=CONFIGURATIONS, n_prompts: int = 60, trials: int = 1, speed: int = 5, seed: int = 7
) -> pd.DataFrame:
    """One row a request, with the columns of `tables.results`; prompts of several lengths and categories."""
    rng = np.random.default_rng(seed)
    hardness = rng.uniform(-0.35, 0.35, n_prompts)
    n_prompt_tokens = rng.integers(14, 90, n_prompts)
    rows = []
    for configuration, (rate, share, size) in configurations.items():
        for index in range(n_prompts):
            for trial in range(trials):
                n_out = int(rng.integers(3, 120))
                correct = bool(rng.uniform() < share + hardness[index])
                rows.append(
                    _row(
                        rng,
                        configuration,
                        rate,
                        size,
                        index,
                        trial,
                        "quality",
                        n_out,
                        int(n_prompt_tokens[index]),
                        correct,
                    )
                )
        for trial in range(speed):
            rows.append(_row(rng, configuration, rate * 1.02, size, 0, trial, "speed", 128, 64, None))
    return pd.DataFrame(rows)


def _row(rng, configuration, rate, size, index, trial, purpose, n_out, n_in, correct) -> dict:
    ttft_ms = 1000 * n_in / (8 * rate) * rng.lognormal(0, 0.1) + 0.4
    tpot_ms = 1000 / rate * rng.lognormal(0, 0.06)
    latency_s = (ttft_ms + tpot_ms * (n_out - 1) + 0.2) / 1000
    category = CATEGORIES[index % len(CATEGORIES)]
    checks = [] if correct is None else _checks(rng, category, correct)
    return {
        "model": configuration,
        "configuration": configuration,
        "prompt_set": "categories",
        "prompt_index": index,
        "prompt_id": f"{category}-{index // 10 + 1}",
        "category": category,
        "trial": trial,
        "purpose": purpose,
        "state": "ok" if purpose == "quality" else "length",
        "error": None,
        "prompt": f"Prompt {index} about {category}",
        "response": f"Reply {index} of {configuration}",
        "latency_s": latency_s,
        "response_time_s": None,
        "dispatch_delay_ms": None,
        "ttfb_ms": ttft_ms,
        "ttft_ms": ttft_ms,
        "ttfo_ms": ttft_ms,
        "tpot_ms": tpot_ms if n_out > 1 else None,
        "decode_tokens_per_s": 1000 / tpot_ms if n_out > 1 else None,
        "end_to_end_tokens_per_s": n_out / latency_s,
        "prefill_tokens_per_s": 8 * rate,
        "prefill_estimate_tokens_per_s": 1000 * n_in / ttft_ms,
        "n_output_tokens": n_out,
        "n_prompt_tokens": n_in,
        "n_cached_tokens": 0,
        "n_output_source": "engine_tokenizer",
        "engine_decode_tokens_per_s": 1010 / tpot_ms,
        "load_s": size / 90,
        "peak_memory_mib": 31 + 1.3 * size + rng.uniform(0, 0.4),
        "memory_source": "process_anonymous",
        "memory_delta_mib": 0.2 * size + rng.uniform(0, 0.1),
        "size_mib": size,
        "n_checks": len(checks),
        "n_passed": sum(c["passed"] for c in checks),
        "correct": correct,
        "checks": checks,
        "artifact": f"{configuration.replace(':', '_')}_{index}.json",
        "run": "made-up",
    }


def _checks(rng, category: str, correct: bool) -> list[dict]:
    names = {
        "extraction": ("valid_json", "required_keys", "no_extra_text"),
        "summary": ("max_words", "key_facts"),
        "arithmetic": ("number",),
        "code": ("python_code",),
    }.get(category, ("contains",))
    wrong = 0 if correct else int(rng.integers(1, len(names) + 1))
    return [
        {"check": name, "passed": i < len(names) - wrong, "reason": "made up"} for i, name in enumerate(names)
    ]
