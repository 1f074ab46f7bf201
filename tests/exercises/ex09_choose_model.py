"""For the tests of exercise 9: other right answers, mistakes with their hints, harmless changes."""

OTHER_SOLUTIONS = {
    "seconds_per_correct": [
        """
import math

def seconds_per_correct(row):
    try:
        return row["seconds"] / row["correct"]
    except ZeroDivisionError:
        return math.inf
""",
    ],
    "fitting": [
        """
def fitting(rows, memory_mib, p95_s):
    small = [row for row in rows if not row["peak_mib"] > memory_mib]
    known = [row for row in small if row["p95_s"] is not None]
    return [row["model"] for row in known if not row["p95_s"] > p95_s]
""",
        """
import pandas as pd

def fitting(rows, memory_mib, p95_s):
    table = pd.DataFrame(rows)
    table["p95_s"] = table["p95_s"].astype(float)
    return list(table[(table["peak_mib"] <= memory_mib) & (table["p95_s"] <= p95_s)]["model"])
""",
    ],
    "front": [
        """
def beats(x, y):
    x, y = [(r["correct"] / r["n"], r["tokens_per_s"]) for r in (x, y)]
    return x != y and x[0] >= y[0] and x[1] >= y[1]

def front(rows):
    return [row["model"] for row in rows if not any(beats(other, row) for other in rows)]
""",
        """
def front(rows):
    best, kept = -1, set()
    ordered = sorted(rows, key=lambda r: (-r["tokens_per_s"], -r["correct"] / r["n"]))
    last = None
    for row in ordered:
        point = (row["correct"] / row["n"], row["tokens_per_s"])
        if point[0] > best or point == last:
            kept.add(row["model"])
            best, last = point[0], point
    return [row["model"] for row in rows if row["model"] in kept]
""",
    ],
    "verdict": [
        """
def verdict(a, b, low, high, n):
    faster = a if high < 1 else b if low > 1 else "not distinguishable"
    return faster if n >= 6 else "fixed set"
""",
        """
import math

def verdict(a, b, low, high, n):
    if n <= 5:
        return "fixed set"
    x, y = math.log(low), math.log(high)
    if x * y <= 0:
        return "not distinguishable"
    return b if x > 0 else a
""",
    ],
    "choice": [
        """
choice = dict(zip(["help desk", "laptop"], [["large-q4", "B"], ["small-q4", "C"]]))
choice["kiosk"] = "small-q4", "A"
""",
    ],
}

MISCONCEPTIONS = [
    (
        "seconds_per_correct",
        "def seconds_per_correct(r): return r['seconds'] / r['n']",
        "that is seconds per prompt",
    ),
    (
        "seconds_per_correct",
        "def seconds_per_correct(r): return r['correct'] / r['seconds']",
        "turn it around",
    ),
    (
        "seconds_per_correct",
        "def seconds_per_correct(r): return r['seconds'] / r['correct'] if r['correct'] else 0",
        "0 would be the best cost of all",
    ),
    (
        "seconds_per_correct",
        "def seconds_per_correct(r): return r['seconds'] / r['correct']",
        "before you divide",
    ),
    (
        "fitting",
        "def fitting(rows, m, p): return [r['model'] for r in rows if r['peak_mib'] < m and (r['p95_s'] "
        "or 9) < p]",
        "exactly 1000 MiB are allowed",
    ),
    (
        "fitting",
        "def fitting(rows, m, p): return [r['model'] for r in rows if r['peak_mib'] <= m and (r['p95_s'] "
        "or 0) <= p]",
        "None is not 0",
    ),
    (
        "fitting",
        "def fitting(rows, m, p): return [r['model'] for r in rows if r['peak_mib'] <= m or r['p95_s'] <= p]",
        "both limits must be kept",
    ),
    (
        "fitting",
        "def fitting(rows, m, p): return [r['model'] for r in rows if r['peak_mib'] <= m and r['p95_s'] "
        "<= p]",
        "look at that before you compare it",
    ),
    (
        "front",
        """
def front(rows):
    q = max(rows, key=lambda r: r['correct'] / r['n'])
    s = max(rows, key=lambda r: r['tokens_per_s'])
    return [r['model'] for r in rows if r in (q, s)]
""",
        "neither the best nor the fastest",
    ),
    (
        "front",
        "def front(rows): return [r['model'] for r in rows if not any(o['correct'] >= r['correct'] and "
        "o['tokens_per_s'] >= r['tokens_per_s'] and o is not r for o in rows)]",
        "compare pass rates",
    ),
    (
        "front",
        "def front(rows): return [r['model'] for r in rows if not any(o['correct'] / o['n'] > "
        "r['correct'] / r['n'] and o['tokens_per_s'] > r['tokens_per_s'] for o in rows)]",
        "short is as good as plain in one, better in the other",
    ),
    (
        "front",
        "def front(rows): return [r['model'] for r in rows if not any(o['correct'] / o['n'] >= "
        "r['correct'] / r['n'] and o['tokens_per_s'] >= r['tokens_per_s'] for o in rows)]",
        "does not beat itself",
    ),
    ("verdict", "def verdict(a, b, low, high, n): return b if high < 1 else a", "A takes longer"),
    (
        "verdict",
        "def verdict(a, b, low, high, n): return a if (low + high) / 2 < 1 else b",
        "the data allow either",
    ),
    (
        "verdict",
        "def verdict(a, b, low, high, n): return 'not distinguishable' if low < 1 < high else a if high "
        "< 1 else b",
        "look at n first",
    ),
    (
        "choice",
        "choice = {'kiosk': ('small-q4', 'A'), 'laptop': ('chatty', 'B'), 'help desk': ('large-q4', 'B')}",
        "the P95 of chatty is not known",
    ),
    (
        "choice",
        "choice = {'kiosk': ('small', 'C'), 'laptop': ('small', 'C'), 'help desk': ('large-q4', 'B')}",
        "small needs 2,600 MiB",
    ),
    (
        "choice",
        "choice = {'kiosk': ('small-q4', 'A'), 'laptop': ('small-q4', 'C'), 'help desk': ('small-q4', 'C')}",
        "only where pass rates are not told apart",
    ),
    (
        "choice",
        "choice = {'kiosk': ('small-q4', 'A'), 'laptop': ('small-q4', 'C'), 'help desk': ('large', 'D')}",
        "large needs 16,400 MiB",
    ),
]

EQUIVALENT_MUTANTS = {
    "seconds_per_correct": ["return float('inf') → return float('INF'): float reads both as infinity"],
    "verdict": [
        "return a if high < 1 else b → return a if high <= 1 else b: one that ends at 1 was answered above",
    ],
}
