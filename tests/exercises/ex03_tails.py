"""Other right answers, typical mistakes and harmless changes, for `tests/test_exercises.py`."""

OTHER_SOLUTIONS = {
    "averages": [
        "import numpy as np\ndef averages(values):\n    return np.mean(values), np.median(values)",
        "from statistics import mean, median\ndef averages(v):\n    return [mean(v), median(v)]",
    ],
    "percentile": [
        "import numpy as np\n"
        "def percentile(values, q):\n"
        "    return np.percentile(values, q, method='inverted_cdf')",
        "def percentile(values, q):\n"
        "    for value in sorted(values):\n"
        "        if 100 * sum(v <= value for v in values) >= q * len(values):\n"
        "            return value",
        "def percentile(values, q):\n    return sorted(values)[-(-q * len(values) // 100) - 1]",
    ],
    "prompts_needed": [
        "import math\ndef prompts_needed(q):\n    return math.ceil(math.log(0.05) / math.log(q / 100))",
        "def prompts_needed(q):\n    return next(n for n in range(1, 10_000) if 1 - (q / 100) ** n >= 0.95)",
    ],
    "report": [
        "def report(values):\n"
        "    p95 = None if len(values) < prompts_needed(95) else percentile(values, 95)\n"
        "    return dict(n=len(values), median=averages(values)[1], p95=p95, max=max(values))",
    ],
}

MISCONCEPTIONS = [
    ("averages", "def averages(v):\n    return sum(v) / len(v), v[len(v) // 2]", "sort the values"),
    ("averages", "def averages(v):\n    return sum(v) / len(v), sorted(v)[len(v) // 2]", "two middle values"),
    ("averages", "def averages(v):\n    return sorted(v)[len(v) // 2], sum(v) / len(v)", "in this order"),
    ("percentile", "def percentile(v, q):\n    return sorted(v)[int(q / 100 * len(v))]", "Python counts from 0"),
    ("percentile", "import numpy as np\ndef percentile(v, q):\n    return np.percentile(v, q)", "lies between two values"),
    ("percentile", "def percentile(v, q):\n    return v[math.ceil(q * len(v) / 100) - 1]", "sort the values first"),
    ("prompts_needed", "def prompts_needed(q):\n    return round(1 / (1 - q / 100))", "they may all stay below it"),
    ("prompts_needed", "def prompts_needed(q):\n    return 5 if q == 50 else round(1 / (1 - q / 100))", "still 36 %"),
    ("prompts_needed", "def prompts_needed(q):\n    return int(math.log(0.05) / math.log(q / 100))", "round up"),
    ("report", "def report(v):\n    s = sorted(v)\n    return {'n': len(v), 'median': statistics.median(v), "
     "'p95': s[math.ceil(95 * len(v) / 100) - 1], 'max': s[-1]}", "under another name"),
    ("report", "def report(v):\n    s = sorted(v)\n    return {'n': len(v), 'median': statistics.median(v), "
     "'p95': s[math.ceil(95 * len(v) / 100) - 1] if len(v) > 59 else None, 'max': s[-1]}", "just enough"),
]  # fmt: skip

EQUIVALENT_MUTANTS = {
    "prompts_needed": ["n = 1 → n = 0: anything to the power of 0 is 1, so the loop goes on to 1"],
}
