# %% [markdown]
# # Exercise 9 · Choose a model for a need
#
# **About 50 minutes.** You will turn a table of results into a choice that you can defend: what fits, what is worth its
# time, what cannot be told apart. It helps to have read [lesson 05](../05_compare_models.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. No network and no model is needed.
#
# The table below is made up, in the units of a laptop: five configurations, asked the same 60 prompts (`chatty` only 40).

# %%
from benchkit.exercises import called, passed, stated

# Peak memory in MiB, P95 of the latency in s (None: n too small), decode speed in tokens/s,
# right answers of n prompts, and the seconds that all n replies took together.
RESULTS = [
    {"model": "small", "peak_mib": 2600, "p95_s": 1.9, "tokens_per_s": 24,
     "correct": 33, "n": 60, "seconds": 66.0},
    {"model": "small-q4", "peak_mib": 1300, "p95_s": 1.2, "tokens_per_s": 41,
     "correct": 32, "n": 60, "seconds": 44.8},
    {"model": "large", "peak_mib": 16400, "p95_s": 9.8, "tokens_per_s": 4,
     "correct": 51, "n": 60, "seconds": 408.0},
    {"model": "large-q4", "peak_mib": 5600, "p95_s": 3.4, "tokens_per_s": 11,
     "correct": 50, "n": 60, "seconds": 150.0},
    {"model": "chatty", "peak_mib": 2500, "p95_s": None, "tokens_per_s": 25,
     "correct": 35, "n": 40, "seconds": 84.0},
]

# %% [markdown]
# ## What a right answer costs in time
#
# A fast model that is mostly wrong wastes its time. Seconds per correct answer: the time of *all* replies, wrong ones
# too, divided by the number of right ones. Where nothing was right the cost has no end: `float("inf")`, shown as "never".
#
# Write `seconds_per_correct(row)` for one row of the table: `seconds_per_correct(RESULTS[0])` returns `2.0` (s).

# %% nbgrader={"grade": false, "grade_id": "seconds_per_correct", "locked": false, "schema_version": 3, "solution": true, "task": false}
def seconds_per_correct(row):
    """Seconds of all replies for each right answer; infinite where none was right."""
    ### BEGIN SOLUTION
    if row["correct"] == 0:
        return float("inf")
    return row["seconds"] / row["correct"]
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_seconds_per_correct", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("seconds_per_correct", {"correct": 20, "n": 60, "seconds": 30.0}).gives(
    1.5, because="30 s for 20 right answers",
    hints={0.5: "that is seconds per prompt: the time of wrong answers counts, but divide by the right ones only",
           2 / 3: "that is right answers per second: turn it around",
           0.025: "divide by the number of right answers, 20",
           90: "divide by the number of right answers, not by a share"})
called("seconds_per_correct", {"correct": 0, "n": 60, "seconds": 30.0}).gives(
    float("inf"), because="30 s and no right answer: there is no end to it",
    hints=[(None, "it is not unknown, it is endless"),
           (0, "0 would be the best cost of all; it is the worst"),
           (30.0, "without a right answer no number of seconds is enough"),
           ("never", '"never" is how it is shown; return float("inf")')],
    hint='look at row["correct"] before you divide')
### BEGIN HIDDEN TESTS
called("seconds_per_correct", {"correct": 1, "n": 8, "seconds": 4.0}).gives(4, because="one is right")
called("seconds_per_correct", {"correct": 50, "n": 60, "seconds": 150.0}).gives(3, because="150 s / 50")
### END HIDDEN TESTS
passed("seconds_per_correct")

# %% [markdown]
# ## What fits
#
# First the limits that nothing else can make up for: memory, and the time that people are ready to wait. An SLO (service
# level objective) says "95 % of the replies within a given number of seconds", so it is the P95 that must keep it. A P95 of `None`
# means that there were too few prompts to know it, and what is not known cannot be promised.
#
# Write `fitting(rows, memory_mib, p95_s)`: the names of the models whose peak memory *and* P95 are at most these limits,
# in the order of the table. `fitting(RESULTS, 3000, 1.9)` returns `["small", "small-q4"]`.

# %% nbgrader={"grade": false, "grade_id": "fitting", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fitting(rows, memory_mib, p95_s):
    """The names of the models that keep both limits, in the table's order."""
    ### BEGIN SOLUTION
    found = []
    for row in rows:
        if row["p95_s"] is not None and row["peak_mib"] <= memory_mib and row["p95_s"] <= p95_s:
            found.append(row["model"])
    return found
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_fitting", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
rows = [{"model": "a", "peak_mib": 900, "p95_s": 2.5}, {"model": "b", "peak_mib": 1100, "p95_s": 0.5},
        {"model": "c", "peak_mib": 1000, "p95_s": 2.0}, {"model": "d", "peak_mib": 300, "p95_s": 1.0}]
called("fitting", rows, 1000, 2.0).gives(
    ["c", "d"], because="a is too slow, b too large, and c keeps both limits just so",
    hints=[(["d"], "at most 1000 MiB: exactly 1000 MiB are allowed, exactly 2.0 s too"),
           (["d", "c"], "keep the table's order"), (["a", "c", "d"], "the P95 has a limit, too"),
           (["b", "c", "d"], "memory has a limit, too"),
           (["a", "b", "c", "d"], "both limits must be kept, not one of them"),
           (rows[2:], "the names are asked for, not the rows")])
unknown = [{"model": "new", "peak_mib": 300, "p95_s": None}, {"model": "old", "peak_mib": 900, "p95_s": 1.0}]
called("fitting", unknown, 1000, 2.0).gives(
    ["old"], because="the P95 of new is not known",
    hints=[(["new", "old"], "None is not 0: what is not known cannot be promised")],
    hint="p95_s may be None; look at that before you compare it")
### BEGIN HIDDEN TESTS
called("fitting", rows, 100, 9.0).gives([], because="nothing is so small")
called("fitting", rows, 1000, 1.9).gives(["d"], because="c takes 2.0 s")
called("fitting", rows, 999, 2.5).gives(["a", "d"], because="c needs 1000 MiB")
called("fitting", rows, 2000, 9.0).gives(["a", "b", "c", "d"], because="all keep these limits")
### END HIDDEN TESTS
passed("fitting")

# %% [markdown]
# ## What no other model beats
#
# Of two models, one may be better in quality and the other in speed. A model is on the *front* (Pareto front) if **no**
# other model is at least as good in both and better in one. Quality is the pass rate, `correct / n` (`n` may differ!),
# speed is `tokens_per_s`; more is better in both.
#
# Write `front(rows)`: the names of the models on the front, in the table's order. For three models with pass rates of
# 50, 60 and 40 % and speeds of 10, 5 and 8 tokens/s it returns the first two: the first beats the third in both.

# %% nbgrader={"grade": false, "grade_id": "front", "locked": false, "schema_version": 3, "solution": true, "task": false}
def front(rows):
    """The names of the models that no other beats in pass rate and speed, in the table's order."""
    ### BEGIN SOLUTION
    points = [(row["correct"] / row["n"], row["tokens_per_s"]) for row in rows]
    names = []
    for row, (rate, speed) in zip(rows, points):
        beaten = any(r >= rate and s >= speed and (r > rate or s > speed) for r, s in points)
        if not beaten:
            names.append(row["model"])
    return names
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_front", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
rows = [{"model": "a", "correct": 30, "n": 60, "tokens_per_s": 10},
        {"model": "b", "correct": 36, "n": 60, "tokens_per_s": 5},
        {"model": "c", "correct": 24, "n": 60, "tokens_per_s": 8},
        {"model": "d", "correct": 12, "n": 60, "tokens_per_s": 40}]
called("front", rows).gives(
    ["a", "b", "d"], because="a is better than c in both; of the others each is the better one in something",
    hints=[(["b", "d"], "a is neither the best nor the fastest, but no other model beats it in both"),
           (["c"], "that is what is beaten; the front is what remains"),
           (["b"], "the front is not the best in quality alone"),
           (["d"], "the front is not the fastest alone"),
           (["a", "b", "c", "d"], "c is worse than a in both"), ([], "a model does not beat itself")])
rows = [{"model": "plain", "correct": 30, "n": 60, "tokens_per_s": 10},
        {"model": "slow", "correct": 30, "n": 60, "tokens_per_s": 9},
        {"model": "short", "correct": 29, "n": 40, "tokens_per_s": 10}]
called("front", rows).gives(
    ["short"], because="short has the best pass rate, 29 of 40, and nobody is faster",
    hints=[(["plain"], "compare pass rates, correct / n: 29 of 40 is more than 30 of 60"),
           (["plain", "short"], "short is as good as plain in one, better in the other"),
           (["plain", "slow", "short"], "to be as good in one and worse in the other is to be beaten")])
### BEGIN HIDDEN TESTS
called("front", [{"model": "x", "correct": 30, "n": 60, "tokens_per_s": 10},
                 {"model": "y", "correct": 20, "n": 40, "tokens_per_s": 10}]).gives(
    ["x", "y"], because="they are equal, so neither is better in anything")
called("front", [{"model": "x", "correct": 0, "n": 9, "tokens_per_s": 1}]).gives(["x"], because="it is alone")
called("front", [{"model": "x", "correct": 5, "n": 10, "tokens_per_s": 9},
                 {"model": "y", "correct": 5, "n": 10, "tokens_per_s": 10}]).gives(
    ["y"], because="y is faster, and as good")
called("front", [{"model": "x", "correct": 9, "n": 10, "tokens_per_s": 1},
                 {"model": "y", "correct": 1, "n": 10, "tokens_per_s": 9},
                 {"model": "z", "correct": 5, "n": 10, "tokens_per_s": 1}]).gives(
    ["x", "y"], because="x is as fast as z and right more often")
### END HIDDEN TESTS
passed("front")

# %% [markdown]
# ## What the data can tell
#
# Two models answered the same `n` prompts. For each prompt the time of A was divided by the time of B; `low` to `high` is
# the 95 % interval of this ratio. If *all* of it is below 1, A is faster, if all of it is above 1, B is. With fewer than
# 6 prompts there is no interval worth its name.
#
# Write `verdict(a, b, low, high, n)`, in this order: `"fixed set"` for fewer than 6 prompts, `"not distinguishable"` if 1 is
# in the interval (its ends belong to it), otherwise the name of the faster one.
# `verdict("small", "large", 0.4, 0.6, 60)` returns `"small"`.

# %% nbgrader={"grade": false, "grade_id": "verdict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verdict(a, b, low, high, n):
    """Which of two models is faster, from the 95 % interval of time A / time B over n prompts."""
    ### BEGIN SOLUTION
    if n < 6:
        return "fixed set"
    if low <= 1 <= high:
        return "not distinguishable"
    return a if high < 1 else b
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_verdict", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("verdict", "p", "q", 1.2, 1.5, 60).gives(
    "q", because="A takes 1.2 to 1.5 times the time of B",
    hints={"p": "a ratio of times above 1 means that A takes longer", "B": "the name is asked for, here q"})
called("verdict", "p", "q", 0.5, 0.9, 60).gives(
    "p", because="A takes less time", hints={"A": "the name is asked for, here p"})
called("verdict", "p", "q", 0.5, 1.3, 60).gives(
    "not distinguishable", because="the interval reaches from well below 1 to above 1",
    hints={"p": "the typical ratio may be below 1, but 1 is in the interval: the data allow either",
           "q": "1 is in the interval: the data allow either"})
called("verdict", "p", "q", 0.1, 0.2, 5).gives(
    "fixed set", because="5 prompts are fewer than 6",
    hints={"p": "look at n first: five prompts say nothing about others"})
called("verdict", "p", "q", 0.1, 0.2, 6).gives(
    "p", because="6 prompts are enough", hint="fewer than 6 leaves 6 out")
### BEGIN HIDDEN TESTS
called("verdict", "p", "q", 1.0, 1.3, 60).gives("not distinguishable", because="the lower end is 1 itself")
called("verdict", "p", "q", 0.7, 1.0, 60).gives("not distinguishable", because="the upper end is 1 itself")
called("verdict", "p", "q", 0.5, 1.3, 3).gives("fixed set", because="3 prompts are fewer than 6")
called("verdict", "p", "q", 2.5, 3.5, 60).gives("q", because="A takes far more time")
called("verdict", "p", "q", 0.2, 0.3, 600).gives("p", because="A takes far less time")
### END HIDDEN TESTS
passed("verdict")

# %% [markdown]
# ## Three people ask you
#
# Right answers were compared as well, prompt by prompt: the share that A passes minus the share that B passes.
# Where 0 is in the interval, the two are not told apart.

# %%
PASS_RATE_DIFFERENCES = [
    {"a": "large-q4", "b": "small", "low": 0.13, "high": 0.43},
    {"a": "large-q4", "b": "small-q4", "low": 0.15, "high": 0.45},
    {"a": "large", "b": "large-q4", "low": -0.06, "high": 0.09},
    {"a": "small", "b": "small-q4", "low": -0.07, "high": 0.10},
]

# %% [markdown]
# Each need has limits. Of the models that keep them, take the one with the highest pass rate; where pass rates are not
# told apart, the one with the fewest seconds per correct answer. (Add cells as you like: `fitting(RESULTS, 2048, 2.0)`.)
#
# | need | memory at most | P95 at most |
# |---|---|---|
# | `kiosk` | 2,048 MiB | 2.0 s |
# | `laptop` | 4,096 MiB | 2.0 s |
# | `help desk` | 6,144 MiB | 4.0 s |
#
# And say why, with one letter:
#
# - **A**: it is the only one that keeps the limits.
# - **B**: of those that keep them it has the highest pass rate, told apart from each of the others.
# - **C**: pass rates are not told apart, and it takes the fewest seconds per correct answer.
# - **D**: it has the highest pass rate of the whole table.
#
# `choice` is a dictionary from need to (model, letter), such as
# `{"kiosk": ("large", "D"), "laptop": ("chatty", "D"), "help desk": ("small", "B")}`, which is wrong three times.

# %% nbgrader={"grade": false, "grade_id": "choice", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
choice = {"kiosk": ("small-q4", "A"), "laptop": ("small-q4", "C"), "help desk": ("large-q4", "B")}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_choice", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
needs = {"kiosk": (2048, 2.0), "laptop": (4096, 2.0), "help desk": (6144, 4.0)}
table = {row["model"]: row for row in stated("RESULTS").value}
made = stated("choice").satisfies(
    lambda c: c.keys() == needs.keys() and all(len(pair) == 2 and "".join(pair) for pair in c.values()),
    "a dictionary from each of the three needs to a pair (model, letter)")


def claim(right, expected, hint="", because=""):
    stated("choice").satisfies(lambda _: right, expected, because, hint)


for need, (memory_mib, p95_s) in needs.items():
    model, letter = made[need]
    claim(model in table, f"for {need} a model of the table", f"there is no {model}")
    row = table[model]
    claim(row["peak_mib"] <= memory_mib, f"for {need} a model that fits into {memory_mib:,} MiB",
          f"{model} needs {row['peak_mib']:,} MiB")
    known = row["p95_s"] is not None
    claim(known and row["p95_s"] <= p95_s, f"for {need} a model that keeps a P95 of {p95_s} s",
          f"the P95 of {model} is {row['p95_s']} s" if known else f"the P95 of {model} is not known")
    claim(letter in list("ABC"), f"A, B or C as the reason for {need}",
          "D speaks of the whole table, but only models that keep the limits count" if letter == "D"
          else "write one capital letter: A, B or C")
    fit = [r for r in table.values() if r["peak_mib"] <= memory_mib and (r["p95_s"] or 99) <= p95_s]
    claim((letter == "A") == (len(fit) == 1), f"a reason that is true for {need}",
          f"{len(fit)} of the models keep these limits")
    claim(letter != "B" or row["correct"] == max(r["correct"] for r in fit),
          f"a reason that is true for {need}", f"{model} does not have the highest pass rate")
    claim(letter != "C" or all(row["seconds"] / row["correct"] <= r["seconds"] / r["correct"] for r in fit),
          f"a reason that is true for {need}", f"{model} does not take the fewest seconds per correct answer")
claim("small" not in made["help desk"][0], "for help desk the model with the highest pass rate",
      "fewer seconds per answer decide only where pass rates are not told apart",
      because="33 and 32 of 60 are fewer than 50 of 60")
### BEGIN HIDDEN TESTS
claim(made["laptop"][0] == "small-q4", "for laptop the model with fewer seconds per correct answer",
      because="33 and 32 of 60 right are not told apart: 0 is in −0.07 to 0.10")
claim(made["laptop"][1] == "C", "another reason for laptop", because="0 is in the interval −0.07 to 0.10")
claim(made["help desk"][1] == "B", "another reason for help desk",
      because="both intervals, 0.13 to 0.43 and 0.15 to 0.45, are above 0")
### END HIDDEN TESTS
passed("choice")
