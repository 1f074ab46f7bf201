# %% [markdown]
# # Exercise 3 · The tail
#
# **About 25 minutes.** You write the numbers that describe many latencies at once: the two averages, a percentile,
# and the rule that says when a percentile may be shown at all. It helps to have read
# [lesson 03](../03_analyze_results.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. No network and no model is needed. You may use Python's `math` and `statistics`, or NumPy.

# %%
import math
import statistics

from benchkit.exercises import called, passed

# %% [markdown]
# ## Ten latencies
#
# Each number is the latency of one *prompt*, in seconds (the median of its trials). Most replies are short; one prompt
# asks for a story.

# %%
latencies_s = [0.42, 0.38, 0.45, 0.40, 0.39, 0.44, 4.10, 0.41, 0.43, 0.58]
print(f"smallest {min(latencies_s)} s, largest {max(latencies_s)} s")

# %% [markdown]
# ## Two averages
#
# The **mean** is the sum over the count: multiplied by the count it gives the time that all take together. The
# **median** is the middle of the sorted values (between the two middle ones where the count is even): the typical
# prompt. Return `(mean, median)`. For `[3, 1, 8]` that is `(4.0, 3)`.

# %% nbgrader={"grade": false, "grade_id": "averages", "locked": false, "schema_version": 3, "solution": true, "task": false}
def averages(values):
    """The mean and the median of at least one value."""
    ### BEGIN SOLUTION
    ordered = sorted(values)
    half = len(ordered) // 2
    median = (ordered[half] + ordered[-half - 1]) / 2
    return sum(ordered) / len(ordered), median
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_averages", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("averages", [3, 1, 8]).gives(
    (4.0, 3), because="the sum is 12, and sorted the values are 1, 3, 8",
    hints=[((4.0, 1), "sort the values before you take the middle one."),
           ((3, 4.0), "the pair is (mean, median), in this order."),
           ((4, 4), "the median is the middle value, not the mean.")])
called("averages", [4, 1, 2, 41]).gives(
    (12.0, 3.0), because="sorted they are 1, 2, 4, 41: the median lies between 2 and 4",
    hints=[((12.0, 4), "an even count has two middle values; take the mean of the two."),
           ((12.0, 2), "an even count has two middle values; take the mean of the two."),
           ((12.0, 1.5), "sort the values before you take the middle two.")])
### BEGIN HIDDEN TESTS
called("averages", [0.5]).gives((0.5, 0.5), because="one value is both")
called("averages", [9, 2, 7, 4, 3]).gives((5.0, 4), because="sorted they are 2, 3, 4, 7, 9")
called("averages", [6, 1, 5, 2, 12, 10]).gives((6.0, 5.5), because="sorted they are 1, 2, 5, 6, 10, 12")
### END HIDDEN TESTS
passed("averages")

# %% [markdown]
# For the ten latencies above they are 0.80 s and 0.425 s: nine of ten prompts are faster than the "average". The one
# story moved the mean and left the median alone. Neither is wrong; they answer different questions.

# %% [markdown]
# ## A percentile by counting
#
# **P90** is the smallest value that at least 90 % of the values do not exceed. By *nearest rank*: sort the values and take number
# `q · n / 100` of them, counted from 1 and rounded **up**. It is always one of the values, nothing in between.
#
# P90 of ten values is the 9th, P91 is the 10th. Python counts from 0. `q` is a whole number from 1 to 100.

# %% nbgrader={"grade": false, "grade_id": "percentile", "locked": false, "schema_version": 3, "solution": true, "task": false}
def percentile(values, q):
    """The smallest value that at least q % of the values do not exceed (nearest rank)."""
    ### BEGIN SOLUTION
    ordered = sorted(values)
    rank = math.ceil(q * len(ordered) / 100)
    return ordered[rank - 1]
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_percentile", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("percentile", [10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 90).gives(
    90, because="90 % of ten values are nine of them, and the 9th is 90",
    hints={100: "this is the 10th: Python counts from 0, so number 9 is at index 8.",
           91.0: "this lies between two values (NumPy's default); nearest rank takes one of them.",
           80: "this is the 8th: number 9 is at index 8, so subtract 1 only once."})
called("percentile", [50, 10, 40, 20, 30], 50).gives(
    30, because="half of five is 2.5, rounded up the 3rd of 10, 20, 30, 40, 50",
    hints={40: "sort the values first: this one is only in the middle as they came.",
           20: "2.5 is rounded up to 3, the 3rd value."},
    hint="sort the values first, then round q · n / 100 up.")
called("percentile", [8, 6, 7, 5], 25).gives(
    5, because="25 % of four is exactly 1: the 1st of 5, 6, 7, 8",
    hints={6: "this is the 2nd: 25 · 4 / 100 is exactly 1, and nothing is left to round up."})
### BEGIN HIDDEN TESTS
called("percentile", [3.0, 1.0, 2.0], 100).gives(3.0, because="P100 is the largest")
called("percentile", [3.0, 1.0, 2.0], 1).gives(1.0, because="the 1st of three")
called("percentile", [0.25], 95).gives(0.25, because="there is only one value")
called("percentile", [10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 91).gives(100, because="9.1 is rounded up to 10")
called("percentile", list(range(200, 0, -1)), 99).gives(198, because="99 % of two hundred values are 198 of them")
### END HIDDEN TESTS
passed("percentile")

# %% [markdown]
# ## How many prompts a percentile needs
#
# Of new prompts, 95 % stay below the true P95. That `n` prompts *all* stay below it happens with probability
# `(q / 100) ** n`: then even the slowest one tells nothing of the tail. A bound "with 95 % certainty" needs this
# probability to be **at most 0.05**.
#
# Return the smallest such `n`. For the median, `q` = 50, it is 5: 0.5⁵ = 0.031, but 0.5⁴ = 0.063.

# %% nbgrader={"grade": false, "grade_id": "prompts_needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prompts_needed(q):
    """The fewest prompts with which a bound on the q-th percentile can be given, with 95 % certainty."""
    ### BEGIN SOLUTION
    n = 1
    while (q / 100) ** n > 0.05:
        n += 1
    return n
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_prompts_needed", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("prompts_needed", 50).gives(
    5, because="0.5 ** 5 is 0.031, and 0.5 ** 4 is still 0.063",
    hints={4: "with 4 it is still above 0.05: round up, or go on until it is at most 0.05.",
           1: "0.5 is not yet at most 0.05; multiply once for each prompt.",
           2: "one in two exceeds the median, but that is the average: they may all stay below it."})
called("prompts_needed", 95).gives(
    59, because="0.95 ** 59 is 0.0485, and 0.95 ** 58 is 0.0510",
    hints={20: "one prompt in 20 exceeds P95 on average; the chance that none of 20 does is still 36 %.",
           58: "with 58 it is still 0.0510: round up, or go on until it is at most 0.05.",
           60: "with 59 it is already 0.0485; look where your loop stops.",
           1: "q is in percent: take q / 100."})
### BEGIN HIDDEN TESTS
called("prompts_needed", 80).gives(14, because="0.8 ** 14 is 0.044")
called("prompts_needed", 90).gives(29, because="0.9 ** 29 is 0.047")
called("prompts_needed", 99).gives(299, because="0.99 ** 299 is 0.0495")
called("prompts_needed", 5).gives(1, because="the chance that one prompt stays below P5 is 0.05 already")
### END HIDDEN TESTS
passed("prompts_needed")

# %% [markdown]
# A P99 "measured" with ten prompts is their maximum under another name.

# %% [markdown]
# ## A report that does not claim too much
#
# Put it together: a dictionary with `"n"`, `"median"`, `"p95"` and `"max"`. The maximum is a fact and always shown.
# The P95 (nearest rank) is shown from 59 values on; below that it is `None`, which says *too few to tell*.
#
# You may call the functions that you wrote above. For `[1, 2, 6]`: `{"n": 3, "median": 2, "p95": None, "max": 6}`.

# %% nbgrader={"grade": false, "grade_id": "report", "locked": false, "schema_version": 3, "solution": true, "task": false}
def report(values):
    """The count, the median, the P95 (None where there are too few values), and the largest value."""
    ### BEGIN SOLUTION
    ordered = sorted(values)
    n = len(ordered)
    p95 = ordered[math.ceil(95 * n / 100) - 1] if n >= 59 else None
    return {"n": n, "median": statistics.median(ordered), "p95": p95, "max": ordered[-1]}
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_report", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("report", [6, 1, 2]).gives(
    {"n": 3, "median": 2, "p95": None, "max": 6}, because="3 values are too few for a P95",
    hints=[({"n": 3, "median": 2, "p95": 6, "max": 6}, "with 3 values the P95 is only the maximum under another name: "
            "it must be None."),
           ({"n": 3, "median": 2, "p95": 0, "max": 6}, "0 would be a latency; what is not known is None."),
           ({"n": 3, "median": 2, "max": 6}, 'the key "p95" must be there, with None: a gap says nothing.')],
    hint='the keys are "n", "median", "p95" and "max".')
called("report", list(range(1, 60))).gives(
    {"n": 59, "median": 30, "p95": 57, "max": 59}, because="59 values are enough, and 95 % of 59 is 56.05: the 57th",
    hints=[({"n": 59, "median": 30, "p95": None, "max": 59}, "59 values are just enough."),
           ({"n": 59, "median": 30, "p95": 56, "max": 59}, "56.05 is rounded up to 57.")])
### BEGIN HIDDEN TESTS
called("report", list(range(58, 0, -1))).gives(
    {"n": 58, "median": 29.5, "p95": None, "max": 58}, because="58 values are just too few")
called("report", list(range(100, 0, -1))).gives(
    {"n": 100, "median": 50.5, "p95": 95, "max": 100}, because="the 95th of a hundred values")
called("report", [0.5]).gives({"n": 1, "median": 0.5, "p95": None, "max": 0.5}, because="one value")
### END HIDDEN TESTS
passed("report")

# %% [markdown]
# ## Look back
#
# Someone reports "P99 = 2.3 s, from 50 requests". What did they really show, and what would you ask them to do?
# (There is no check for this one.)
