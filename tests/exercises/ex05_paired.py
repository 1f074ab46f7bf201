"""Other right answers to exercise 5, and the misconceptions that its checks must name."""

OTHER_SOLUTIONS = {
    "ratios": [
        """
def ratios(a, b):
    found = {}
    for prompt in set(a) & set(b):
        if a[prompt] is None or b[prompt] is None:
            continue
        found[prompt] = a[prompt] / b[prompt]
    return found
""",
    ],
    "coverage": [
        """
def coverage(n, k):
    ways, miss = 1, 0
    for i in range(k):
        miss += ways
        ways = ways * (n - i) // (i + 1)
    return (2**n - 2 * miss) / 2**n
""",
        """
from scipy.stats import binom

def coverage(n, k):
    return 1 - 2 * binom.cdf(k - 1, n, 0.5)
""",
    ],
    "interval": [
        """
def interval(values):
    ordered = sorted(values)
    n = len(ordered)
    good = [k for k in range(1, n // 2 + 1) if coverage(n, k) >= 0.95]
    if not good:
        return None
    return [ordered[max(good) - 1], ordered[n - max(good)]]
""",
        """
import numpy as np

def interval(values):
    ordered = np.sort(np.array(list(values), dtype=float))
    for k in range(len(ordered) // 2, 0, -1):
        if coverage(len(ordered), k) >= 0.95:
            return float(ordered[k - 1]), float(ordered[-k])
""",
    ],
    "verdict": [
        """
def verdict(a, b):
    logs = [math.log(r) for r in ratios(a, b).values()]
    found = interval(logs)
    if found is None:
        return "fixed set"
    low, high = found
    if low <= 0 <= high:
        return "not distinguishable"
    return "A faster" if high < 0 else "B faster"
""",
    ],
    "unpaired_verdict": [
        """
def unpaired_verdict(a, b):
    def known(times):
        return interval(sorted(t for t in times.values() if t is not None))
    ia, ib = known(a), known(b)
    if not ia or not ib:
        return "fixed set"
    if max(ia[0], ib[0]) <= min(ia[1], ib[1]):
        return "not distinguishable"
    return "A faster" if ia[0] < ib[0] else "B faster"
""",
    ],
}

MISCONCEPTIONS = [
    ("ratios", "def ratios(a, b):\n    return {p: b[p] / a[p] for p in a if p in b}", "you divided B by A"),
    ("ratios", "def ratios(a, b):\n    return {p: a[p] - b[p] for p in a if p in b}", "divide, do not subtract"),
    ("ratios", "def ratios(a, b):\n    return [a[p] / b[p] for p in a if p in b]", "return a dictionary"),
    ("ratios", "def ratios(a, b):\n    return {p: a[p] / b[p] for p in a}", "that one of the two lacks"),
    ("ratios", "def ratios(a, b):\n    return {p: a[p] / b[p] for p in a if p in b}", "whose time is None"),
    ("coverage", "def coverage(n, k):\n    return 1 - sum(math.comb(n, i) for i in range(k)) / 2**n", "on either side: twice"),
    ("coverage", "def coverage(n, k):\n    return 1 - 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n", "the sum ends at k − 1"),
    ("coverage", "def coverage(n, k):\n    return 1 - 2 * sum(math.comb(n, i) for i in range(1, k)) / 2**n", "begins at i = 0"),
    ("interval", "def interval(values):\n    v, k = list(values), 0\n    while coverage(len(v), k + 1) >= 0.95:\n        k += 1\n"
     "    return (v[k - 1], v[-k]) if k else None", "sort the values first"),
    ("interval", "def interval(values):\n    v = sorted(values)\n    return (v[0], v[-1]) if len(v) > 5 else None",
     "take the largest k"),
    ("interval", "def interval(values):\n    v, k = sorted(values), 0\n    while coverage(len(v), k + 1) >= 0.95:\n        k += 1\n"
     "    return (v[k], v[-k - 1]) if k else None", "k counts from 1"),
    ("interval", "def interval(values):\n    v, k = sorted(values), 1\n    while coverage(len(v), k + 1) >= 0.95:\n        k += 1\n"
     "    return v[k - 1], v[-k]", "covers 94 % only"),
    ("verdict", "def verdict(a, b):\n    i = interval(ratios(a, b).values())\n"
     "    return 'B faster' if i[1] < 1 else 'A faster' if i[0] > 1 else 'not distinguishable'", "fewer seconds are faster"),
    ("verdict", "def verdict(a, b):\n    m = statistics.median(ratios(a, b).values())\n"
     "    return 'A faster' if m < 1 else 'B faster'", "not at the median"),
    ("verdict", "def verdict(a, b):\n    i = interval(ratios(a, b).values())\n"
     "    return 'A faster' if i[1] < 1 else 'B faster' if i[0] > 1 else 'not distinguishable'", "says None for fewer than six"),
    ("unpaired_verdict", "def unpaired_verdict(a, b):\n    ma, mb = (statistics.median(x.values()) for x in (a, b))\n"
     "    return 'A faster' if ma < mb else 'B faster'", "compare the whole intervals"),
    ("unpaired_verdict", "def unpaired_verdict(a, b):\n    return verdict(a, b)", "compare the whole intervals"),
    ("unpaired_verdict", "def unpaired_verdict(a, b):\n    i, j = interval(a.values()), interval(b.values())\n"
     "    return 'A faster' if i[1] < j[0] else 'B faster' if j[1] < i[0] else 'not distinguishable'", "leave out None"),
]  # fmt: skip

EQUIVALENT_MUTANTS = {
    "interval": [
        "ordered, k = (sorted(values), 0) → ordered, k = (sorted(values), -1): k = 0 always covers",
        "while coverage(len(ordered), k + 1) >= 0.95: → while coverage(len(ordered), k + 1) > 0.95:: "
        "a coverage is a number of 2ⁿths, never 0.95 itself",
    ],
}
