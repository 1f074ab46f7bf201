# %% [markdown]
# # Exercise 5 · Paired comparison
#
# **About 40 minutes.** You find out whether one model is really faster than another, let "not distinguishable" be an
# answer, and see why pairing by prompt finds what two separate averages hide. It helps to have read
# [lesson 05](../05_compare_models.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. No network and no model is needed.

# %%
import math
import statistics

from benchkit.exercises import called, passed

# %% [markdown]
# ## Two models, the same twelve prompts
#
# Seconds for each reply, by prompt. Some prompts ask for a word and some for a page, so the times of *one*
# model differ by a factor of ten. The two models differ by far less.

# %%
prompts = "yes_no name date sum list json title mail recipe essay story report".split()
times_a = dict(zip(prompts, [0.41, 0.55, 0.58, 0.83, 1.02, 1.21, 1.30, 1.84, 2.33, 3.10, 3.52, 4.05]))
times_b = dict(zip(prompts, [0.50, 0.66, 0.65, 1.05, 1.19, 1.26, 1.66, 2.20, 2.71, 3.06, 4.30, 4.98]))
for name, times in (("A", times_a), ("B", times_b)):
    print(f"{name}: median {statistics.median(times.values()):.2f} s")

# %% [markdown]
# ## Side by side
#
# Divide the time of A by the time of B on the *same* prompt: a ratio of 0.8 says that A needs 80 % of the
# time. What makes a prompt long is in both times, and cancels. Return a dictionary of ratios by prompt, only
# for prompts for which **both** have a time: a prompt may be missing, and a failed reply has `None`.
#
# `ratios({"x": 1.0, "y": 3.0, "z": None}, {"x": 2.0, "z": 1.0})` returns `{"x": 0.5}`.

# %% nbgrader={"grade": false, "grade_id": "ratios", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ratios(a, b):
    """Time of A divided by time of B, by prompt."""
    ### BEGIN SOLUTION
    both = [prompt for prompt in a if a[prompt] is not None and b.get(prompt) is not None]
    return {prompt: a[prompt] / b[prompt] for prompt in both}
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_ratios", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("ratios", {"x": 1.0, "y": 3.0}, {"y": 2.0, "x": 2.0}).gives(
    {"x": 0.5, "y": 1.5}, because="1.0 / 2.0 and 3.0 / 2.0, each with the time of the same prompt",
    hints=[({"x": 2.0, "y": 2 / 3}, "you divided B by A"), ({"x": -1.0, "y": 1.0}, "divide, do not subtract"),
           ([0.5, 1.5], "return a dictionary, so that each ratio keeps its prompt")])
called("ratios", {"x": 1.0, "y": 3.0}, {"x": 4.0, "z": 1.0}).gives(
    {"x": 0.25}, because="y is missing in B, z in A", hint="leave out prompts that one of the two lacks")
called("ratios", {"x": None, "y": 3.0, "z": 1.0}, {"x": 4.0, "y": None, "z": 2.0}).gives(
    {"z": 0.5}, because="a failed reply has no time", hint="leave out prompts whose time is None")
### BEGIN HIDDEN TESTS
called("ratios", {}, {"x": 1.0}).gives({}, because="no prompt is in both")
called("ratios", {"x": 1.0}, {}).gives({}, because="no prompt is in both")
called("ratios", {0: 3, 1: 5}, {1: 2, 0: 4}).gives({0: 0.75, 1: 2.5}, because="prompts may be numbers, too")
called("ratios", {"x": None}, {"x": None}).gives({}, because="neither has a time")
### END HIDDEN TESTS
passed("ratios")

# %% [markdown]
# ## How sure is a median?
#
# Sort *n* values and count in *k* from each end. Is the true median between those two? Each value lies below
# the true median with probability ½, like a coin that shows heads. The pair misses if fewer than *k* coins
# show heads, or fewer than *k* show tails. Of the 2ⁿ ways in which *n* coins can fall, `math.comb(n, i)` have
# exactly *i* heads. So the pair encloses the median with probability
#
# $$1 - 2 \cdot \frac{\binom{n}{0} + \binom{n}{1} + \dots + \binom{n}{k-1}}{2^n}$$
#
# `coverage(6, 1)` returns `0.96875`: the smallest and the largest of six values enclose the median 97 times
# in 100.

# %% nbgrader={"grade": false, "grade_id": "coverage", "locked": false, "schema_version": 3, "solution": true, "task": false}
def coverage(n, k):
    """The probability that the k-th smallest and the k-th largest of n values enclose the true median."""
    ### BEGIN SOLUTION
    return 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_coverage", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("coverage", 6, 1).gives(0.96875, because="1 − 2 · 1 / 64", hints={
    0.984375: "the pair can miss on either side: twice", 0.78125: "the sum ends at k − 1",
    1.0: "the sum begins at i = 0"})
called("coverage", 9, 2).gives(1 - 20 / 512, because="1 − 2 · (1 + 9) / 512",
    hints={1 - 92 / 512: "the sum ends at k − 1", 1 - 18 / 512: "the sum begins at i = 0"})
called("coverage", 5, 1).gives(0.9375, because="five values do not reach 95 %")
### BEGIN HIDDEN TESTS
called("coverage", 12, 3).gives(1 - 2 * (1 + 12 + 66) / 4096, because="1 − 2 · (1 + 12 + 66) / 4096")
called("coverage", 1, 1).gives(0.0, because="one value cannot enclose anything")
called("coverage", 2, 1).gives(0.5, because="two values lie on two sides half of the time")
called("coverage", 60, 22).satisfies(lambda p: 0.9726 < p < 0.9727, "about 0.97266",
    because="22 of 60 from each end")
### END HIDDEN TESTS
passed("coverage")

# %% [markdown]
# ## An interval for the median
#
# Write `interval`: sort the values, take the **largest** *k* whose coverage is at least 0.95, and return the
# pair `(k-th smallest, k-th largest)`. The larger *k*, the narrower the pair. If no *k* reaches 0.95, which
# is so below six values, return `None`: too few to say. Use your `coverage`.
#
# `interval([5, 1, 4, 2, 6, 3])` returns `(1, 6)`.

# %% nbgrader={"grade": false, "grade_id": "interval", "locked": false, "schema_version": 3, "solution": true, "task": false}
def interval(values):
    """The pair of values that encloses the true median at least 95 times in 100, or None."""
    ### BEGIN SOLUTION
    ordered, k = sorted(values), 0
    while coverage(len(ordered), k + 1) >= 0.95:
        k += 1
    return (ordered[k - 1], ordered[-k]) if k else None
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_interval", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("coverage", 6, 1).gives(0.96875)
called("interval", [5, 1, 4, 2, 6, 3]).gives((1, 6), because="of six values only k = 1 covers 95 %",
    hints=[((5, 3), "sort the values first"), ((2, 5), "k counts from 1, Python from 0")])
called("interval", [90, 80, 70, 60, 50, 40, 30, 20, 10]).gives(
    (20, 80), because="of nine values k = 2 still covers 96 %",
    hints=[((10, 90), "k = 1 covers more than it must: take the largest k that reaches 0.95"),
           ((30, 70), "k = 3 covers 82 % only"), ((80, 20), "sort the values first")])
called("interval", [1, 2, 3, 4, 5]).gives(None, because="five values reach 94 % at most",
    hints=[((1, 5), "that pair covers 94 % only")])
### BEGIN HIDDEN TESTS
called("interval", [0.5] * 7).gives((0.5, 0.5), because="all values are the same")
called("interval", []).gives(None, because="there are no values")
called("interval", [3]).gives(None, because="one value is too few")
called("interval", list(range(12, 0, -1))).gives((3, 10), because="of twelve values k = 3 covers 96 %")
called("interval", list(range(60))).gives((21, 38), because="of sixty values k = 22 covers 97 %")
### END HIDDEN TESTS
passed("interval")

# %% [markdown]
# ## The verdict
#
# Take the interval of the ratios A/B. If it lies wholly below 1, the verdict is `"A faster"`; wholly above 1,
# `"B faster"`. If 1 is in it, or is one of its ends, the data cannot tell: `"not distinguishable"`. With no
# interval: `"fixed set"`, for then the numbers speak for these prompts only. Use your `ratios` and
# `interval`.
#
# If A takes 1 s and B takes 2 s on each of six prompts, `verdict(a, b)` returns `"A faster"`.

# %% nbgrader={"grade": false, "grade_id": "verdict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verdict(a, b):
    """Who is faster, told by pairs; a and b are seconds by prompt."""
    ### BEGIN SOLUTION
    found = interval(ratios(a, b).values())
    if found is None:
        return "fixed set"
    if found[1] < 1:
        return "A faster"
    return "B faster" if found[0] > 1 else "not distinguishable"
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_verdict", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("ratios", {"x": 1.0}, {"x": 2.0}).gives({"x": 0.5})
called("interval", [5, 1, 4, 2, 6, 3]).gives((1, 6))
twos = {p: 2.0 for p in range(6)}
called("verdict", {p: 1.0 + p / 10 for p in range(6)}, twos).gives(
    "A faster", because="all six ratios are below 1", hints={"B faster": "fewer seconds are faster"})
called("verdict", {p: 2.1 + p for p in range(6)}, twos).gives("B faster",
    because="all six ratios are above 1")
called("verdict", {p: 1.5 + p / 8 for p in range(6)}, twos).gives(
    "not distinguishable", because="the interval reaches from 0.75 to 1.06, and 1 is in it",
    hints={"A faster": "look at the whole interval, not at the median"})
called("verdict", {p: 1.0 for p in range(5)}, twos).gives("fixed set",
    because="only five prompts are in both",
    hint="`interval` says None for fewer than six")
### BEGIN HIDDEN TESTS
called("verdict", {p: 1.0 + p / 5 for p in range(6)}, twos).gives("not distinguishable",
    because="1 is an end of the interval")
called("verdict", {p: 2.0 + p for p in range(6)}, twos).gives("not distinguishable",
    because="1 is an end of the interval")
called("verdict", {**{p: 1.0 for p in range(5)}, 5: None}, twos).gives("fixed set",
    because="one reply failed: five pairs")
called("verdict", {}, {}).gives("fixed set", because="there is no prompt")
called("verdict", {p: 9.0 if p == 0 else 1.0 for p in range(9)}, {p: 2.0 for p in range(9)}).gives(
    "A faster", because="one odd prompt of nine does not move the interval")
### END HIDDEN TESTS
passed("verdict")

# %% [markdown]
# ## Without pairs
#
# For comparison, the weaker way: the interval of A's times, the interval of B's times, and no look at
# prompts. Return `"A faster"` if A's interval lies wholly below B's, `"B faster"` if B's lies wholly below
# A's, and `"not distinguishable"` if they overlap or touch; `"fixed set"` if one of the two is `None`. Times
# that are `None` are left out first.
#
# If A's interval is 1 to 2 s and B's is 3 to 4 s, the verdict is `"A faster"`.

# %% nbgrader={"grade": false, "grade_id": "unpaired_verdict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def unpaired_verdict(a, b):
    """Who is faster, told by two separate intervals; a and b are seconds by prompt."""
    ### BEGIN SOLUTION
    found_a, found_b = (interval([t for t in times.values() if t is not None]) for times in (a, b))
    if found_a is None or found_b is None:
        return "fixed set"
    if found_a[1] < found_b[0]:
        return "A faster"
    return "B faster" if found_b[1] < found_a[0] else "not distinguishable"
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_unpaired_verdict", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("interval", [5, 1, 4, 2, 6, 3]).gives((1, 6))
low, high = {p: 1.0 + p / 10 for p in range(6)}, {p: 3.0 + p / 10 for p in range(6)}
called("unpaired_verdict", low, high).gives("A faster", because="A: 1.0 to 1.5 s, B: 3.0 to 3.5 s",
    hints={"B faster": "fewer seconds are faster"})
called("unpaired_verdict", high, low).gives("B faster", because="A: 3.0 to 3.5 s, B: 1.0 to 1.5 s")
a, b = {p: 1.0 + p for p in range(6)}, {p: 1.2 + p for p in range(6)}
called("unpaired_verdict", a, b).gives("not distinguishable",
    because="A: 1.0 to 6.0 s, B: 1.2 to 6.2 s; they overlap",
    hints={"A faster": "compare the whole intervals, without pairs"})
called("unpaired_verdict", a, {**b, 5: None}).gives("fixed set", because="B has five times only",
    hint="leave out None; then `interval` says None for fewer than six")
### BEGIN HIDDEN TESTS
called("unpaired_verdict", {**low, 5: None}, high).gives("fixed set", because="A has five times only")
called("unpaired_verdict", {**low, 6: None}, high).gives("A faster", because="six times are left")
called("unpaired_verdict", low, {p: 1.5 + p for p in range(6)}).gives("not distinguishable",
    because="the intervals touch at 1.5 s")
called("unpaired_verdict", {p: 1.5 + p for p in range(6)}, low).gives("not distinguishable",
    because="the intervals touch at 1.5 s")
called("unpaired_verdict", low, {f"p{p}": time for p, time in high.items()}).gives("A faster",
    because="prompts play no part")
### END HIDDEN TESTS
passed("unpaired_verdict")

# %% [markdown]
# ## What pairing finds
#
# The two models of the beginning, judged in both ways:

# %%
try:
    for name, times in (("A", times_a), ("B", times_b)):
        low, high = interval(list(times.values()))
        print(f"{name}: interval of the median {low:.2f} to {high:.2f} s")
    print("without pairs:", unpaired_verdict(times_a, times_b))
    low, high = interval(list(ratios(times_a, times_b).values()))
    print(f"A/B: interval of the median ratio {low:.2f} to {high:.2f}")
    print("with pairs:", verdict(times_a, times_b))
except NotImplementedError:
    print("First write the five answers, then run this cell again.")

# %% [markdown]
# The same 24 numbers. Without pairs, the spread from prompt to prompt (a factor of ten) drowns the difference
# between the models (about a sixth). With pairs that spread is gone: every prompt but one says the same. "Not
# distinguishable" was not wrong: it says that *this* look at the data cannot tell, never that the two are
# equal.
