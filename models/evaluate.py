"""Measure what each pocket model can do on held-out items, greedily, with llama.cpp.

    python models/evaluate.py           prints the table, writes evaluation.json and the table into README.md
    python models/evaluate.py --quick   a tenth of the items, writes nothing

A share is given with its Wilson 95 % interval. Perplexity is of held-out prose, in windows of 512 tokens.
"""

import argparse
import json
import math
import re
import time
from itertools import islice
from pathlib import Path

import llama_cpp
import numpy as np
from corpus import BEYOND, LEVELS, Item, items

HERE = Path(__file__).resolve().parent
MODELS = ["pocket-xs", "pocket-s", "pocket-m"]
SEED = 7
# Row of the table -> (task, options of its maker, number of items)
ROWS: dict[str, tuple[str, dict, int]] = {
    "extraction, 2 keys": ("extraction", {"n_keys": 2, "missing": 0.0}, 300),
    "extraction, 4 keys": ("extraction", {"n_keys": 4, "missing": 0.0}, 100),
    "extraction, a key is missing": ("extraction", {"n_keys": 2, "missing": 1.0}, 100),
    "questions, half without an answer": ("refusal", {}, 100),
    "summary of a new sentence": ("summary", {}, 100),
    "classification": ("classification", {}, 100),
    "format following": ("format following", {}, 100),
    "deduction": ("reasoning", {}, 100),
    "word problems": ("word problems", {}, 100),
    **{f"arithmetic, {level}": ("arithmetic", {"level": level}, 100) for level in LEVELS | BEYOND},
    "translation": ("translation", {}, 100),
    "code": ("code", {}, 100),
    "creative writing": ("creative writing", {}, 50),
    "bullet points": ("knowledge", {"form": "bullets"}, 50),
    "explanations, new wording": ("knowledge", {"form": "explain"}, 50),
}


def last_number(text: str) -> str | None:
    numbers = re.findall(r"\d+", text)
    return numbers[-1] if numbers else None


def is_json_equal(reply: str, expected: str) -> bool:
    try:
        return json.loads(reply) == json.loads(expected)
    except ValueError:
        return False


def passes(item: Item, reply: str) -> bool:
    """Whether a reply is right, by the item's own kind of check.

    >>> passes(Item("arithmetic", "1 + 2 = ?", "1 + 2 = 3", "number"), "It is 3")
    True
    """
    reply = reply.strip()
    if item.check == "json":
        return is_json_equal(reply, item.reply)
    if item.check == "number":
        return last_number(reply) == last_number(item.reply)
    if item.check == "start":
        return reply.startswith(item.facts[0])
    if item.check == "bullets":
        topic, n = item.facts
        lines = reply.split("\n")
        return len(lines) == int(n) and all(line.startswith("- ") for line in lines) and topic in reply.lower()
    if item.check in ("facts", "any"):
        short_enough = item.task != "summary" or len(reply.split()) < len(item.prompt.split())
        return short_enough and all(fact.lower() in reply.lower() for fact in item.facts)
    return reply == item.reply.strip()


def wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval for k successes in n trials."""
    p, shrink = k / n, 1 + z * z / n
    middle, half = (p + z * z / (2 * n)) / shrink, z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    return max(0.0, middle - half), min(1.0, middle + half)


def load(path: Path, n_threads: int, logits_all: bool = False) -> llama_cpp.Llama:
    return llama_cpp.Llama(str(path), n_ctx=512, n_threads=n_threads, n_threads_batch=n_threads, logits_all=logits_all, verbose=False)


def answer(llm: llama_cpp.Llama, prompt: str, max_tokens: int = 200) -> str:
    """The greedy reply to one user message, through the template in the file."""
    choice = llm.create_chat_completion([{"role": "user", "content": prompt}], temperature=0, max_tokens=max_tokens)["choices"][0]
    return choice["message"]["content"]


def score(llm: llama_cpp.Llama, row: str, share: float) -> dict:
    """Right answers of one row of the table, and the first failures for whoever wants to look."""
    task, options, n = ROWS[row]
    n, failures = max(5, int(n * share)), []
    for item in islice(items(task, "eval", SEED, **options), n):
        reply = answer(llm, item.prompt)
        if not passes(item, reply):
            failures.append({"prompt": item.prompt, "expected": item.reply, "reply": reply})
    right = n - len(failures)
    low, high = wilson(right, n)
    return {"n": n, "right": right, "low": low, "high": high, "failures": failures[:3]}


def perplexity(path: Path, n_threads: int, n_windows: int = 60) -> float:
    """exp of the mean negative log probability of each token but the first of every window."""
    llm = load(path, n_threads, logits_all=True)
    ids = llm.tokenize((HERE / "eval_text.txt").read_bytes()[:200_000], add_bos=False)
    total = count = 0
    for start in range(0, n_windows * 512, 512):
        window = ids[start:start + 512]
        llm.reset()
        llm.eval(window)
        logits = llm.scores[:511].astype(np.float64)
        log_p = logits[np.arange(511), window[1:]] - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) - logits.max(1)
        total, count = total - log_p.sum(), count + 511
    return math.exp(total / count)


def table(results: dict[str, dict]) -> str:
    """The results as Markdown: one row a task, one column a model."""
    def cell(r: dict) -> str:
        return f"{100 * r['right'] / r['n']:.0f} % ({100 * r['low']:.0f}–{100 * r['high']:.0f})"
    lines = ["| task (held-out items) | n | " + " | ".join(results) + " |", "|---|---|" + "---|" * len(results)]
    first = next(iter(results.values()))
    for row in first["tasks"]:
        lines.append(f"| {row} | {first['tasks'][row]['n']} | " + " | ".join(cell(r["tasks"][row]) for r in results.values()) + " |")
    lines.append("| perplexity of held-out prose | | " + " | ".join(f"{r['perplexity']:.2f}" for r in results.values()) + " |")
    return "\n".join(lines)


def write_card(markdown: str) -> None:
    card = HERE / "README.md"
    text = card.read_text(encoding="utf-8")
    start, end = "<!-- results -->", "<!-- end of results -->"
    before, rest = text.split(start)
    card.write_text(before + start + "\n" + markdown + "\n" + end + rest.split(end)[1], encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="measure only these; the others keep their results")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the GGUF files are")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a tenth of the items; writes nothing")
    a = parser.parse_args()
    kept = HERE / "evaluation.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() and not a.quick else {}
    for name in a.models:
        path, began = a.folder / f"{name}.gguf", time.time()
        llm = load(path, a.threads)
        results[name] = {"tasks": {row: score(llm, row, 0.1 if a.quick else 1.0) for row in ROWS},
                         "perplexity": perplexity(path, a.threads)}
        print(f"{name}: {time.time() - began:.0f} s", flush=True)
    results = {name: results[name] for name in MODELS if name in results}
    print(table(results))
    if not a.quick:
        kept.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        write_card(table(results))
