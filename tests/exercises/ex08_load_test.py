"""Other right answers to exercise 8, and the misconceptions that its checks must name."""

OTHER_SOLUTIONS = {
    "due_times": [
        """
from itertools import accumulate

def due_times(draws, rate, duration_s):
    return [t for t in accumulate(d / rate for d in draws) if t < duration_s]
""",
        """
import numpy as np

def due_times(draws, rate, duration_s):
    due = np.cumsum(np.array(draws, dtype=float)) / rate
    return due[due < duration_s]
""",
    ],
    "two_times": [
        """
def two_times(rows):
    found = {"service_s": [], "response_s": []}
    for row in rows:
        if row["end_s"] is None:
            continue
        service = row["end_s"] - row["sent_s"]
        found["service_s"].append(service)
        found["response_s"].append(service + row["sent_s"] - row["due_s"])
    return found
""",
    ],
    "audit": [
        """
def audit(schedule, rows, late_s):
    ids = {row["id"] for row in rows}
    return {"late": sorted(row["id"] for row in rows if row["sent_s"] > schedule[row["id"]] + late_s),
            "left_out": sorted(set(range(len(schedule))) - ids)}
""",
        """
import numpy as np

def audit(schedule, rows, late_s):
    due = np.array(schedule, dtype=float)
    sent = np.full(len(due), np.nan)
    for row in rows:
        sent[row["id"]] = row["sent_s"]
    return {"left_out": np.flatnonzero(np.isnan(sent)), "late": np.flatnonzero(sent - due > late_s)}
""",
    ],
    "goodput": [
        """
def goodput(response_s, slo_s):
    n = len(response_s)
    kept = [t for t in response_s if t is not None and not t > slo_s]
    return len(kept) / n if n else None
""",
        """
import numpy as np

def goodput(response_s, slo_s):
    if len(response_s) > 0:
        times = np.array([np.inf if t is None else t for t in response_s])
        return np.mean(times <= slo_s)
""",
    ],
    "best_rate": [
        """
def best_rate(sweep, slo_s, share):
    failed = [s["rate"] for s in sweep if goodput(s["response_s"], slo_s) < share]
    first = min(failed, default=float("inf"))
    return max((s["rate"] for s in sweep if s["rate"] < first), default=None)
""",
        """
def best_rate(sweep, slo_s, share):
    by_rate = {step["rate"]: goodput(step["response_s"], slo_s) >= share for step in sweep}
    rates = sorted(by_rate)
    kept = [r for i, r in enumerate(rates) if all(by_rate[q] for q in rates[: i + 1])]
    return kept[-1] if kept else None
""",
    ],
}

MISCONCEPTIONS = [
    ("due_times", "def due_times(draws, rate, duration_s):\n    return [d / rate for d in draws if d / rate < duration_s]",
     "each is counted from the request before"),
    ("due_times", "def due_times(draws, rate, duration_s):\n    due, t = [], 0.0\n    for d in draws:\n        due.append(t)\n        t += d / rate\n"
     "    return [t for t in due if t < duration_s]", "not at 0"),
    ("due_times", "def due_times(draws, rate, duration_s):\n    due, t = [], 0.0\n    for d in draws:\n        t += d * rate\n        due.append(t)\n"
     "    return [t for t in due if t < duration_s]", "a higher rate makes shorter gaps"),
    ("due_times", "def due_times(draws, rate, duration_s):\n    due, t = [], 0.0\n    for d in draws:\n        t += d / rate\n"
     "        if t <= duration_s:\n            due.append(t)\n    return due", "only requests *before*"),
    ("two_times", "def two_times(rows):\n    s = [r['end_s'] - r['sent_s'] for r in rows if r['end_s'] is not None]\n"
     "    return {'response_s': s, 'service_s': s}", "the wait before it is left out"),
    ("two_times", "def two_times(rows):\n    s = [r['end_s'] - r['due_s'] for r in rows if r['end_s'] is not None]\n"
     "    return {'response_s': s, 'service_s': s}", "counted from the schedule"),
    ("two_times", "def two_times(rows):\n    s = [r['end_s'] and r['end_s'] - r['due_s'] for r in rows]\n"
     "    return {'response_s': s, 'service_s': s}", "leave failed requests out"),
    ("audit", "def audit(schedule, rows, late_s):\n    ids = [r['id'] for r in rows]\n"
     "    return {'left_out': [d for i, d in enumerate(schedule) if i not in ids], 'late': []}", "return ids, not times"),
    ("audit", "def audit(schedule, rows, late_s):\n    return {'left_out': len(schedule) - len(rows), 'late': 0}",
     "not how many there are"),
    ("audit", "def audit(schedule, rows, late_s):\n    ids = [r['id'] for r in rows]\n"
     "    return {'left_out': [i for i in range(len(schedule)) if i not in ids],\n"
     "            'late': [r['id'] for r in rows if r['sent_s'] - schedule[r['id']] > late_s]}", "sort the ids"),
    ("audit", "def audit(schedule, rows, late_s):\n    ids = [r['id'] for r in rows]\n"
     "    return {'left_out': [i for i in range(len(schedule)) if i not in ids],\n"
     "            'late': sorted(r['id'] for r in rows if r['sent_s'] - schedule[r['id']] >= late_s)}", "more than late_s, not as much"),
    ("goodput", "def goodput(response_s, slo_s):\n    done = [t for t in response_s if t is not None]\n"
     "    return sum(t <= slo_s for t in done) / len(done)", "counts as one that broke the promise"),
    ("goodput", "def goodput(response_s, slo_s):\n    return sum((t or 0) <= slo_s for t in response_s) / len(response_s)",
     "a failed request keeps no promise"),
    ("goodput", "def goodput(response_s, slo_s):\n    return sum(t is not None and t < slo_s for t in response_s) / len(response_s)",
     "after exactly slo_s keeps"),
    ("goodput", "def goodput(response_s, slo_s):\n    return 100 * sum(t is not None and t <= slo_s for t in response_s) / len(response_s)",
     "not percent"),
    ("best_rate", "def best_rate(sweep, slo_s, share):\n    return max((s['rate'] for s in sweep if goodput(s['response_s'], slo_s) >= share),"
     " default=None)", "stop at the first that fails"),
    ("best_rate", "def best_rate(sweep, slo_s, share):\n    return min((s['rate'] for s in sweep if goodput(s['response_s'], slo_s) >= share),"
     " default=None)", "look for the highest"),
    ("best_rate", "def best_rate(sweep, slo_s, share):\n    return max(s['rate'] for s in sweep)", "look at the goodput of each step"),
]  # fmt: skip

EQUIVALENT_MUTANTS = {
    "due_times": ["break → continue: gaps are not negative, so all that follow are due later still"],
}
