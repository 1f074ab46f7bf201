"""Other right answers, typical mistakes and harmless changes, for `tests/test_exercises.py`."""

OTHER_SOLUTIONS = {
    "ttft_ms": [
        "def ttft_ms(sent_ns, chunks):\n"
        "    times = [t for t, text in chunks if text != '']\n"
        "    return (min(times) - sent_ns) * 1e-6 if times else None",
        "def ttft_ms(start, pieces):\n"
        "    first = next((c for c in pieces if len(c[1]) > 0), None)\n"
        "    if first is None:\n"
        "        return None\n"
        "    return first[0] / 1_000_000 - start / 1_000_000",
    ],
    "tpot_ms": [
        "import numpy as np\n"
        "def tpot_ms(chunks, n_tokens):\n"
        "    times = np.array([t for t, text in chunks if text])\n"
        "    return np.ptp(times) / 1e6 / (n_tokens - 1) if n_tokens > 1 else None",
        "def tpot_ms(chunks, n):\n"
        "    with_text = [c for c in chunks if c[1]]\n"
        "    try:\n"
        "        return (with_text[-1][0] - with_text[0][0]) / 1e6 / (n - 1)\n"
        "    except (IndexError, ZeroDivisionError):\n"
        "        return None",
    ],
    "speeds": [
        "def speeds(ttft_ms, tpot_ms, n_tokens):\n"
        "    latency_s = (ttft_ms + (n_tokens - 1) * (tpot_ms or 0)) / 1000\n"
        "    return [tpot_ms and 1 / (tpot_ms / 1000), n_tokens / latency_s]",
    ],
    "throughput": [
        "import statistics\n"
        "def throughput(latencies_s, n_tokens):\n"
        "    if len(latencies_s) == 0:\n"
        "        return (None, None)\n"
        "    mean = statistics.mean(latencies_s)\n"
        "    return (statistics.mean(n_tokens) / mean, 60 / mean)",
    ],
}

MISCONCEPTIONS = [
    ("ttft_ms", "def ttft_ms(sent_ns, chunks):\n    return (chunks[0][0] - sent_ns) / 1e6", "the first chunk has no text"),
    ("ttft_ms", "def ttft_ms(sent_ns, chunks):\n    return next((t - sent_ns) / 1e9 for t, text in chunks if text)",
     "this is in seconds"),
    ("ttft_ms", "def ttft_ms(sent_ns, chunks):\n    return next(((t - sent_ns) / 1e6 for t, x in chunks if x), 0)",
     "0 ms would say that the text came at once"),
    ("tpot_ms", "def tpot_ms(chunks, n_tokens):\n    return (chunks[-1][0] - chunks[0][0]) / 1e6 / n_tokens",
     "the first one's time is in TTFT"),
    ("tpot_ms", "def tpot_ms(chunks, n):\n    return (chunks[-1][0] - chunks[0][0]) / 1e6 / (len(chunks) - 1)",
     "you counted chunks"),
    ("tpot_ms", "def tpot_ms(chunks, n_tokens):\n    return (chunks[-1][0] - chunks[0][0]) / 1e6 / (n_tokens - 1)",
     "look only at the chunks whose text is not empty"),
    ("speeds", "def speeds(ttft, tpot, n):\n    return 1000 / tpot, 1000 * n / (ttft + n * tpot)", "51 tokens have 50 gaps"),
    ("speeds", "def speeds(ttft, tpot, n):\n    return 1000 / tpot, 1000 * n / ((n - 1) * tpot)", "add the TTFT"),
    ("speeds", "def speeds(ttft, tpot, n):\n    return 1000 / tpot, 1000 * n / (ttft + (n - 1) * tpot)",
     "look at the case `tpot_ms is None`"),
    ("throughput", "def throughput(s, n):\n    return sum(b / a for a, b in zip(s, n)) / len(s), 60 * len(s) / sum(s)",
     "you averaged the speeds"),
    ("throughput", "def throughput(s, n):\n    return sum(n) / sum(s), len(s) / sum(s)", "a minute has 60"),
    ("throughput", "def throughput(s, n):\n    return sum(n) / sum(s), 60 * len(s) / sum(s)",
     "look at the case of an empty list"),
]  # fmt: skip

EQUIVALENT_MUTANTS = {
    "ttft_ms": ["return None → pass: a function that ends without `return` returns None, too"],
}
