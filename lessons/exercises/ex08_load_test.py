# %% [markdown]
# # Exercise 8 · Design a load test
#
# **About 40 minutes.** You make a schedule like that of real users, read the right time from a recording, catch a
# client that leaves requests out, and choose the rate that a server can keep. It helps to have read
# [lesson 07](../07_load_profiles.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. No network and no model is needed. All times are in seconds.

# %%
import random

from benchkit.exercises import called, passed

# %% [markdown]
# ## A Poisson schedule
#
# Users know nothing of one another, so their requests come at random moments: the gaps between them follow
# the exponential distribution. Here are six such gaps, as a generator with a fixed seed draws them;
# their mean is 1 in the long run (that of these six is 1.54: chance):

# %%
generator = random.Random(35)
draws = [generator.expovariate(1.0) for _ in range(6)]
[round(draw, 2) for draw in draws]

# %% [markdown]
# At `rate` requests a second the mean gap must be 1 / `rate`, so divide each draw by `rate`. The first
# request is due after the first gap, the second one gap later, and so on. Return the list of due times in s,
# but only those **before** `duration_s`. (If there are too few draws, the list ends with them.)
#
# `due_times([1.0, 0.5, 2.5, 0.5], rate=2, duration_s=2.0)` returns `[0.5, 0.75]`: the third would be due at
# 2.0.

# %% nbgrader={"grade": false, "grade_id": "due_times", "locked": false, "schema_version": 3, "solution": true, "task": false}
def due_times(draws, rate, duration_s):
    """When each request is due, in s from the start."""
    ### BEGIN SOLUTION
    due, now_s = [], 0.0
    for draw in draws:
        now_s += draw / rate
        if now_s >= duration_s:
            break
        due.append(now_s)
    return due
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_due_times", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("due_times", [1.0, 0.5, 2.0], 2, 10.0).gives([0.5, 0.75, 1.75],
    because="the gaps are 0.5, 0.25 and 1.0 s", hints=[
    ([0.5, 0.25, 1.0], "these are the gaps: each is counted from the request before it"),
    ([0.0, 0.5, 0.75], "the first request is due after the first gap, not at 0"),
    ([0.0, 0.5, 0.75, 1.75], "the first request is due after the first gap, not at 0"),
    ([2.0, 3.0, 7.0], "a higher rate makes shorter gaps: divide by it"),
    ([1.0, 1.5, 3.5], "divide each gap by the rate")])
called("due_times", [1.0, 0.5, 2.5, 0.5], 2, 2.0).gives([0.5, 0.75],
    because="the third is due at 2.0 s, which is not before 2.0 s",
    hints=[([0.5, 0.75, 2.0], "only requests *before* duration_s")])
### BEGIN HIDDEN TESTS
called("due_times", [], 3, 5.0).gives([], because="there are no draws")
called("due_times", [8.0, 0.25], 1, 5.0).gives([],
    because="the first is due at 8 s already, and the others are later")
called("due_times", [0.2, 0.2, 0.2, 4.0], 0.5, 1.5).gives([0.4, 0.8, 1.2],
    because="half a request a second doubles the gaps")
called("due_times", [0.0, 1.0, 0.0], 4, 1.0).gives([0.0, 0.25, 0.25],
    because="two users may come at the same moment")
### END HIDDEN TESTS
passed("due_times")

# %% [markdown]
# ## Two clocks
#
# A recording has one row per request. Here the server stalled, and the client, which waits for each reply, sent
# two requests later than they were due. A request that failed has `end_s: None`.

# %%
recording = [
    {"id": 0, "due_s": 0.0, "sent_s": 0.0, "end_s": 0.1},
    {"id": 1, "due_s": 0.2, "sent_s": 0.2, "end_s": 3.2},  # the stall
    {"id": 2, "due_s": 0.4, "sent_s": 3.2, "end_s": 3.3},
    {"id": 3, "due_s": 0.6, "sent_s": 3.3, "end_s": 3.4},
    {"id": 4, "due_s": 3.5, "sent_s": 3.5, "end_s": None},
]

# %% [markdown]
# The **response time** counts from when the request was due: the user has waited since then. The **service
# time** counts from when it was sent. Return both as lists, in the order of the rows, without failed
# requests: `{"response_s": [...], "service_s": [...]}`.
#
# Of request 2 above the response time is 3.3 − 0.4 = 2.9 s, and the service time 3.3 − 3.2 = 0.1 s.

# %% nbgrader={"grade": false, "grade_id": "two_times", "locked": false, "schema_version": 3, "solution": true, "task": false}
def two_times(rows):
    """Response times and service times in s, of the requests that did not fail."""
    ### BEGIN SOLUTION
    done = [row for row in rows if row["end_s"] is not None]
    return {
        "response_s": [row["end_s"] - row["due_s"] for row in done],
        "service_s": [row["end_s"] - row["sent_s"] for row in done],
    }
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_two_times", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
rows = [{"id": 0, "due_s": 1.0, "sent_s": 1.5, "end_s": 4.0},
        {"id": 1, "due_s": 2.0, "sent_s": 4.0, "end_s": 4.25},
        {"id": 2, "due_s": 3.0, "sent_s": 4.25, "end_s": None}]  # fmt: skip
times = called("two_times", rows)
times.part("response_s").gives([3.0, 2.25], because="4.0 − 1.0 and 4.25 − 2.0; the last one failed", hints=[
    ([2.5, 0.25], "these are counted from the send: the wait before it is left out"),
    ([0.5, 2.0], "this is how late each was sent: count to the end"),
    ([3.0, 2.25, None], "leave failed requests out"),
    ([3.0, 2.25, 0], "a failed request has no time: leave it out")])
times.part("service_s").gives([2.5, 0.25], because="4.0 − 1.5 and 4.25 − 4.0; the last one failed", hints=[
    ([3.0, 2.25], "these are counted from the schedule")])
### BEGIN HIDDEN TESTS
times = called("two_times", [rows[2], rows[1], {"id": 3, "due_s": 0.0, "sent_s": 0.0, "end_s": 0.0}])
times.part("response_s").gives([2.25, 0.0],
    because="in the order of the rows; a request that ended at 0 s did not fail")
times.part("service_s").gives([0.25, 0.0],
    because="in the order of the rows; a request that ended at 0 s did not fail")
called("two_times", []).part("response_s").gives([], because="there are no rows")
called("two_times", [rows[2]]).part("service_s").gives([], because="the only request failed")
### END HIDDEN TESTS
passed("two_times")

# %% [markdown]
# ## The client that looks away
#
# A load test is only as good as its client. **Coordinated omission** shows in two ways: requests of the
# schedule were never sent, or they were sent late, once the server had time again. Compare the schedule, a
# list of due times, with the rows: `id` is a request's place in the schedule, from 0. Return
#
# - `left_out`: the ids that have no row, ascending,
# - `late`: the ids of rows that were sent **more than** `late_s` after they were due, ascending.
#
# The rows may come in any order.
# `audit([0.0, 0.5, 1.0], [{"id": 2, "sent_s": 1.0}, {"id": 0, "sent_s": 0.3}], late_s=0.1)` returns
# `{"left_out": [1], "late": [0]}`.

# %% nbgrader={"grade": false, "grade_id": "audit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def audit(schedule, rows, late_s):
    """The requests that were never sent, and those that were sent too late."""
    ### BEGIN SOLUTION
    sent_s = {row["id"]: row["sent_s"] for row in rows}
    late = [i for i, due_s in enumerate(schedule) if i in sent_s and sent_s[i] - due_s > late_s]
    return {"left_out": [i for i in range(len(schedule)) if i not in sent_s], "late": late}
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_audit", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
schedule = [0.0, 0.25, 0.5, 0.75, 1.0]
rows = [{"id": 0, "sent_s": 0.0}, {"id": 4, "sent_s": 1.0},
        {"id": 2, "sent_s": 1.0}, {"id": 1, "sent_s": 0.75}]  # fmt: skip
found = called("audit", schedule, rows, 0.1)
found.part("left_out").gives([3], because="request 3 has no row", hints=[
    ([0.75], "return ids, not times"), (1, "return the ids, not how many there are"),
    ([], "look for ids of the schedule that have no row"), ([4], "ids count from 0")])
found.part("late").gives([1, 2], because="both were sent 0.5 s after they were due", hints=[
    ([2, 1], "sort the ids"), ([1, 2, 3], "request 3 was never sent: it is left out, not late"),
    ([2, 3], "a row's place in the list is not its id"), (2, "return the ids, not how many there are")])
called("audit", schedule, rows, 0.5).part("late").gives([], because="0.5 s late is not more than 0.5 s",
    hints=[([1, 2], "more than late_s, not as much")])
### BEGIN HIDDEN TESTS
found = called("audit", [0.5, 1.0, 1.5], [], 0.1)
found.part("left_out").gives([0, 1, 2], because="nothing was sent")
found.part("late").gives([], because="nothing was sent")
found = called("audit", [0.0, 0.5], [{"id": 1, "sent_s": 0.5}, {"id": 0, "sent_s": 0.0}], 0.0)
found.part("left_out").gives([], because="all were sent")
found.part("late").gives([], because="all were sent in time")
found = called("audit", [0.0, 0.5, 0.5], [{"id": 2, "sent_s": 2.0}], 1.0)
found.part("left_out").gives([0, 1], because="only request 2 was sent, though 1 was due at the same moment")
found.part("late").gives([2], because="1.5 s late is more than 1 s")
called("audit", [], [], 0.1).part("left_out").gives([], because="nothing was due")
### END HIDDEN TESTS
passed("audit")

# %% [markdown]
# ## Goodput
#
# A promise (an SLO, a *service level objective*) says for example: a reply within 0.5 s of when it was due.
# The goodput is the share of requests, from 0 to 1, that keep it; a reply after exactly `slo_s` does. A
# failed request is `None` in the list: it keeps no promise, but it counts. With no requests there is no
# share: return `None`.
#
# `goodput([0.2, 0.9, None, 0.5], slo_s=0.5)` returns `0.5`: two of four.

# %% nbgrader={"grade": false, "grade_id": "goodput", "locked": false, "schema_version": 3, "solution": true, "task": false}
def goodput(response_s, slo_s):
    """The share of requests that were answered within slo_s seconds."""
    ### BEGIN SOLUTION
    if not response_s:
        return None
    return sum(t is not None and t <= slo_s for t in response_s) / len(response_s)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_goodput", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("goodput", [0.2, 0.9, None, 0.5, 0.4], 0.5).gives(0.6, because="0.2, 0.5 and 0.4 of five requests",
    hints={
    0.75: "a failed request counts as one that broke the promise",
    0.4: "a reply after exactly slo_s keeps the promise",
    3: "a share: divide by the number of requests", 60.0: "a share from 0 to 1, not percent",
    0.8: "a failed request keeps no promise"})
called("goodput", [None, None], 0.5).gives(0.0, because="both failed", hint="0 of 2 is a share")
called("goodput", [], 0.5).gives(None, because="of no requests there is no share",
    hints={0.0: "0 would say that all broke the promise"})
### BEGIN HIDDEN TESTS
called("goodput", [0.1], 0.5).gives(1.0, because="one of one")
called("goodput", [0.0, 2.0], 1.0).gives(0.5, because="a time of 0 s is no failure")
called("goodput", [1.5, 1.0, None], 1.0).gives(1 / 3, because="one of three")
called("goodput", [0.7], 0.5).gives(0.0, because="none of one")
### END HIDDEN TESTS
passed("goodput")

# %% [markdown]
# ## The rate that it keeps
#
# A *sweep* is one load test at each of several rates. Choose the highest rate that keeps the promise: the goodput is
# at least `share`, there **and at every lower rate** of the sweep. A higher step that passes after a lower one failed
# proves little: one of the two was chance. The steps come in any order, each with at least one request. If even the
# lowest rate fails, or the sweep is empty, return `None`. Use `goodput`.
#
# ```python
# sweep = [{"rate": 2, "response_s": [0.1, 0.2]}, {"rate": 8, "response_s": [0.9, 2.0]},
#          {"rate": 4, "response_s": [0.1, 0.4]}]
# best_rate(sweep, slo_s=0.5, share=0.9)  # 4
# ```

# %% nbgrader={"grade": false, "grade_id": "best_rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_rate(sweep, slo_s, share):
    """The highest rate, in requests a second, up to which every step keeps the promise."""
    ### BEGIN SOLUTION
    best = None
    for step in sorted(sweep, key=lambda step: step["rate"]):
        if goodput(step["response_s"], slo_s) < share:
            break
        best = step["rate"]
    return best
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_best_rate", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("goodput", [0.2, 0.9], 0.5).gives(0.5)
good, bad = [0.1, 0.2, 0.5, 0.3], [0.1, 0.2, 0.9, None]
sweep = [{"rate": 8, "response_s": bad}, {"rate": 2, "response_s": good}, {"rate": 4, "response_s": good}]
called("best_rate", sweep, 0.5, 0.9).gives(
    4, because="2 and 4 keep the promise, 8 does not",
    hints={2: "look for the highest", 8: "look at the goodput of each step"})
sweep = [{"rate": 2, "response_s": good}, {"rate": 4, "response_s": bad}, {"rate": 8, "response_s": good}]
called("best_rate", sweep, 0.5, 0.9).gives(
    2, because="4 breaks the promise, so 8 does not count",
    hints={8: "every lower rate must keep it as well: stop at the first that fails"})
called("best_rate", [{"rate": 2, "response_s": bad}, {"rate": 4, "response_s": good}], 0.5, 0.9).gives(
    None, because="the lowest rate fails", hints={4: "every lower rate must keep it as well"})
### BEGIN HIDDEN TESTS
called("best_rate", [{"rate": 2, "response_s": bad}], 0.5, 0.5).gives(2,
    because="a goodput of exactly the share is enough")
called("best_rate", [{"rate": 10, "response_s": bad}, {"rate": 9, "response_s": good}], 0.5, 0.51).gives(9,
    because="9 comes before 10")
called("best_rate", [{"rate": 0.5, "response_s": [0.5]}, {"rate": 1.5, "response_s": [0.4]}], 0.45, 0.9).gives(
    None, because="at 0.5 requests/s the only reply takes 0.5 s")
called("best_rate", [], 0.5, 0.9).gives(None, because="the sweep is empty")
called("best_rate", [{"rate": 3, "response_s": [None]}, {"rate": 1, "response_s": good}], 9.0, 0.9).gives(1,
    because="at 3 all failed")
### END HIDDEN TESTS
passed("best_rate")

# %% [markdown]
# ## What a careless client would have said
#
# The recording from above, judged twice. The client that counts from the send sees one slow request; the
# users saw three. And `audit` shows why:

# %%
try:
    for name, times in two_times(recording).items():
        times = [*times, *[None] * (len(recording) - len(times))]  # the failed ones keep no promise
        print(f"{name:10s} goodput at 0.5 s: {goodput(times, 0.5):.0%} of {len(times)} requests")
    print(audit([row["due_s"] for row in recording], recording, late_s=0.1))
except NotImplementedError:
    print("First write the five answers, then run this cell again.")
