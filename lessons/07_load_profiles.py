# %% [markdown]
# # 07 · Load profiles
#
# **You will learn** to ask a server many things at once, to tell an open loop from a closed one, to see a stall
# that a careless benchmark hides, and to find out how much a server can take.
#
# **About 30 minutes**, of which the computer works for less than one. The first half computes and is the same on every
# machine. The second half measures two servers that start right here: no network is used.

# %% tags=["parameters"]
model = "openai:truth"  # for a server of yours: openai:MODEL or ollama:MODEL
host = ""  # its address, with /v1 for openai:MODEL; empty: a server that starts here and whose truth is known
requests = 64  # in each run; three times as many where 8 at a time make it short
rate = 20.0  # requests a second, in the runs that have a rate
seed = 35  # where the random numbers start
model_to_fill = "gguf:pocket-m"  # the model of the second server, which answers one request at a time

# %% tags=["nbval-ignore-output"]
from statistics import mean, median

import matplotlib as mpl
import pandas as pd

from benchkit import figures, machine
from benchkit.canvas import STYLE, canvas
from benchkit.schedule import PROFILES, dispersion, make_schedule

mpl.rcParams.update(STYLE)
pd.set_option("display.max_colwidth", 100)
machine.machine_record()["packages"]

# %% [markdown]
# ## Five shapes of load
#
# One request after the other tells how fast a server is for one user. Most servers have more than one. Who
# decides when the next request is sent: a schedule, or the end of the last reply?

# %%
pd.DataFrame([(p.name, p.loop, p.meaning) for p in PROFILES.values()], columns=["profile", "loop", "what it is"])

# %% [markdown]
# In a **closed** loop somebody waits for a reply before asking again: a script, a worker. In an **open** loop
# requests come whether or not the server is ready: users know nothing of one another.

# %% [markdown]
# ## Random is not evenly spaced
#
# The schedule is made *before* the run, from one generator of random numbers with one seed. Here are the first
# moments at which requests are due, in ms from the start: at 5 a second on average, but not every 200 ms.

# %%
constant = make_schedule("constant", rate=5, duration_s=8)
poisson = make_schedule("poisson", rate=5, duration_s=8, seed=seed)
[round(t / 1e6) for t in poisson.due_ns[:6]]  # ms

# %%
fig, ax = canvas("Two schedules of 5 requests a second", "one mark is one request", 2.2)
ax.eventplot([[t / 1e9 for t in s.due_ns] for s in (constant, poisson)], lineoffsets=[1, 0], linelengths=0.7)
ax.set(xlabel="when requests are due (s)")
ax.set_yticks([1, 0], ["constant", "poisson"])
figures.show(fig, f"Eight seconds: {constant.n} constant requests, evenly spaced, and {poisson.n} Poisson ones, in clusters "
                  "and with gaps.")  # fmt: skip

# %% [markdown]
# Clusters are what chance looks like. The test of it: count the requests in each second. For Poisson the variance of
# the counts equals their mean, so their ratio, `dispersion`, is near 1; for evenly spaced requests it is 0.

# %%
long = {name: make_schedule(name, rate=20, requests=20_000, seed=seed).due_ns for name in ("constant", "poisson")}
{name: round(dispersion(due, span_ns=10**9), 2) for name, due in long.items()}

# %% [markdown]
# A well-known mistake is to start ten workers with the *same* seed. Each is Poisson by itself. Together they send
# ten requests at the same instant, and the server is tested with bursts that nobody ordered.

# %%
workers = [make_schedule("poisson", rate=2, duration_s=1000, seed=seed).due_ns for seed in range(10)]
same, own = sorted(10 * workers[0]), sorted(t for worker in workers for t in worker)
print(f"ten workers with one seed:    dispersion {dispersion(same, span_ns=10**9):.1f}")
print(f"ten workers with a seed each: dispersion {dispersion(own, span_ns=10**9):.1f}")

# %% [markdown]
# Ten times too bursty, from one careless line of code. Here one generator makes the whole schedule, so it cannot happen.

# %% [markdown]
# ## The stall that nobody saw
#
# A server answers in 0.1 s, one request at a time, and from second 5 to second 8 it stalls. A few lines are enough to
# work out when each request ends.


# %%
def served(due_s, seconds=0.1, stall=(5.0, 8.0)):
    """When each request ends, if they are served in order, one at a time, and none is begun during the stall."""
    free, ends = 0.0, []
    for due in due_s:
        begin = max(due, free)
        begin = stall[1] if stall[0] <= begin < stall[1] else begin
        free = begin + seconds
        ends.append(free)
    return ends


# %% [markdown]
# First an open loop: users send 5 requests a second, and each looks at the clock from when *they* wanted to send.

# %%
due_s = [t / 1e9 for t in make_schedule("constant", rate=5, requests=60).due_ns]
waited_s = [end - due for due, end in zip(due_s, served(due_s))]
print(f"from the schedule: median {median(waited_s):.2f} s, slowest {max(waited_s):.2f} s, "
      f"{sum(w > 0.5 for w in waited_s)} of {len(waited_s)} above 0.5 s")  # fmt: skip

# %% [markdown]
# Now a client that waits for each reply before it sends the next, and starts its stopwatch at the send. It means to
# send 5 a second as well, and catches up when it is late.

# %%
timed_s, now_s = [], 0.0
for due in due_s:
    sent_s = max(now_s, due)  # late, if the last reply was late
    now_s = served([sent_s])[0]
    timed_s.append(now_s - sent_s)
print(f"from the send:     median {median(timed_s):.2f} s, slowest {max(timed_s):.2f} s, "
      f"{sum(t > 0.5 for t in timed_s)} of {len(timed_s)} above 0.5 s")  # fmt: skip

# %%
fig, ax = canvas("One stall, told by two clients", "the server stalls from second 5 to second 8", 3)
ax.axvspan(5, 8, color="0.92")
ax.plot(due_s, waited_s, "o", markersize=5, label="clock from the schedule (open loop)")
ax.plot(due_s, timed_s, "x", markersize=6, label="clock from the send (waits for replies)")
ax.set(xlabel="when the request was due (s)", ylabel="time measured (s)")
ax.legend()
figures.show(fig, f"Sixty requests. Timed from the schedule, {sum(w > 0.5 for w in waited_s)} take longer than 0.5 s, "
                  f"up to {max(waited_s):.1f} s; timed from the send, {sum(t > 0.5 for t in timed_s)} does.")  # fmt: skip

# %% [markdown]
# Same server, same stall: one slow request instead of dozens. The second client sent all sixty, but those that the stall
# would have hit it sent only afterwards, and timed from then: their wait is nowhere in its percentiles. This is
# **coordinated omission**. So in an open loop here nothing waits for a reply, and `response_time_s` counts from the schedule.

# %%
assert sum(w > 0.5 for w in waited_s) > 10 * sum(t > 0.5 for t in timed_s)
print("the slowest request is the same in both; how many were slow is not")

# %% [markdown]
# ## Why not 100 %?
#
# This server can do 10 requests a second. What do users wait who come at random moments, at lower rates, with no
# stall at all?

# %%
rates, means_s = [2, 4, 6, 8, 9, 9.5], []
for r in rates:
    due_s = [t / 1e9 for t in make_schedule("poisson", rate=r, requests=20_000, seed=3).due_ns]
    means_s.append(mean(end - due for due, end in zip(due_s, served(due_s, stall=(0, 0)))))
fig, ax = canvas("Waiting grows long before the server is full", "it can do 10 requests a second, 0.1 s each", 3)
ax.plot(rates, means_s, "o-")
ax.set(xlabel="requests a second (requests/s)", ylabel="mean response time (s)", xlim=(0, 10), ylim=(0, None))
figures.show(fig, f"Mean response time against the rate: {means_s[0]:.2f} s at {rates[0]} requests a second, "
                  f"{means_s[3]:.2f} s at {rates[3]}, {means_s[-1]:.2f} s at {rates[-1]}.")  # fmt: skip

# %% [markdown]
# No request became slower to *serve*, each takes 0.1 s: they wait for each other, because chance brings some close
# together. Plan for a rate well below the most that a server can do.

# %% [markdown]
# ## Now measure
#
# Five runs on a real connection. Unless you named a server of yours, it is the *truth server* of lesson 00: 20 ms to
# the first token, then one every 2 ms. So 16 tokens take 20 + 15 × 2 = 50 ms, whoever measures it.

# %%
import contextlib
import tempfile
from pathlib import Path

from benchkit import traffic, truth
from benchkit.load import evaluate, load, read_gauge
from benchkit.serve import start
from benchkit.weigh import weigh

# %% tags=["nbval-ignore-output"]
stack = contextlib.ExitStack()
url = host or stack.enter_context(truth.running(ttft_ms=20, gap_ms=2, n_tokens=64, n_cached=0)) + "/v1"
folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
asked = {
    "synchronous": {"requests": requests},
    "concurrent": {"requests": 3 * requests, "concurrency": 8},
    "throughput": {"requests": requests},
    "constant": {"requests": requests, "rate": rate},
    "poisson": {"requests": requests, "rate": rate, "seed": seed},
}
found = {name: load(model, url, name, max_tokens=16, out=folder / name, progress=False, **more)
         for name, more in asked.items()}  # fmt: skip


# %% tags=["nbval-ignore-output"]
def row(f):
    return {"TTFT p50 (ms)": f["ttft_ms"]["p50"], "response time p50 (ms)": 1000 * f["response_time_s"]["p50"],
            "requests/s": f["requests_per_s"], "tokens/s": f["output_tokens_per_s"],
            "in flight": f["concurrency"]["achieved"], "n": f["ttft_ms"]["n"], "failed": f["ttft_ms"]["n_failed"]}  # fmt: skip


pd.DataFrame([row(f) for f in found.values()], index=found).round(1)

# %%
assert all(f["n_requests"] == asked[name]["requests"] for name, f in found.items())
assert found["synchronous"]["concurrency"]["peak"] == 1 and found["concurrent"]["concurrency"]["peak"] <= 8
print("every run sent as many requests as it was asked for, and never more at a time")

# %% [markdown]
# Read a row from right to left: how many failed, how many count (*n*), how many were in flight on average, and only then
# how fast. `failed` stands beside every latency, for a server that refuses half of its requests is quick with the rest.
# This server slows down for nobody, so the response times are all near 50 ms. What is above it is the way there and
# back, and the line at the one reader (lesson 00), longest where all replies come at once.

# %% [markdown]
# ## What is left out, and by which rule
#
# *n* can be smaller than the number of requests. Two are sent before the clock starts, unrecorded. And while a run fills
# up (warm-up) and runs empty (cool-down), the load is not the one that was ordered. What is cut is decided by the order
# of sending, before any result is known: a rule that looks at results would throw out the slow ones.

# %% tags=["nbval-ignore-output"]
for name, f in found.items():
    print(f"{name:12s} n = {f['window']['n']}: {f['window']['rule']}")

# %% [markdown]
# ## Can this be trusted?
#
# Everything about one run, as `benchkit load` prints it in a terminal. The last lines are the verdict.

# %% tags=["nbval-ignore-output"]
print(traffic.as_text(found["concurrent"]))

# %% [markdown]
# Each line of the table has its unit; a dash means "too few requests to say". If the verdict is INCONCLUSIVE because the
# scale was not weighed (lesson 00), nobody knows the instrument's own error for 8 streams at this speed. So weigh it. The
# run is in its folder, and is judged again without measuring again:

# %% tags=["nbval-ignore-output"]
weighing = weigh(streams=(8,), ttft_ms=20, gap_ms=2, n_tokens=16)
error_ms = weighing["rows"][0]["reply_error_ms"]
again = evaluate(folder / "concurrent")
print(f"the instrument's own error with 8 streams: {error_ms['mean']:.2f} ms on average, {error_ms['max']:.2f} ms at most")
print("the run is now", again["verdict"], *again["reasons"])

# %% [markdown]
# `VALID` means: nothing that was looked at speaks against the numbers. One thing that is looked at is **Little's law**:
# requests in flight = requests a second × seconds each. The left side is read from a gauge every 10 ms. The
# right side comes from the stamps of the requests. Were a record lost or a stamp wrong, the two would differ.

# %% tags=["nbval-ignore-output"]
law = found["concurrent"]["littles_law"]
print(f"gauge: {law['in_flight']:.2f} in flight; stamps: {law['requests_per_s']:.1f} requests/s × {law['seconds_each']:.4f} s "
      f"= {law['requests_per_s'] * law['seconds_each']:.2f}; gap {law['gap']:.1f} % (allowed {law['allowed']:.1f} %)")

# %% [markdown]
# The two ways agree within the allowed gap, or the verdict would say so. The same gauge over the whole Poisson run shows
# what an average hides:

# %% tags=["nbval-ignore-output"]
gauge = read_gauge(folder / "poisson")
seconds, in_flight = [(t - gauge[0][0]) / 1e9 for t, _ in gauge], [n for _, n in gauge]
fig, ax = canvas("Requests in flight during the Poisson run", f"{rate:g} requests a second on average", 2.5)
ax.step(seconds, in_flight, where="post")
ax.set(xlabel="time (s)", ylabel="requests in flight")
ax.yaxis.get_major_locator().set_params(integer=True)
figures.show(fig, f"Requests in flight over {seconds[-1]:.1f} s of the Poisson run: {mean(in_flight):.1f} on average, "
                  f"between {min(in_flight)} and {max(in_flight)}, as chance has it.")  # fmt: skip

# %% [markdown]
# ## What max_tokens does to all of it
#
# The same 8 at a time, with replies of up to four times as many tokens:

# %% tags=["nbval-ignore-output"]
longer = load(model, url, "concurrent", max_tokens=64, out=folder / "longer", progress=False,
              **asked["concurrent"])  # fmt: skip
pd.DataFrame([row(found["concurrent"]), row(longer)], index=["max_tokens 16", "max_tokens 64"]).round(1)

# %%
assert longer["n_output_tokens"]["max"] >= found["concurrent"]["n_output_tokens"]["max"]
stack.close()  # the truth server ends, and these runs are deleted
print("a higher limit never made the longest reply shorter")

# %% [markdown]
# TTFT stays, response time grows, requests a second fall. Tokens a second rise, because a smaller part of the time is
# waiting for a first token. So neither rate means anything without the length of the replies.

# %% [markdown]
# ## A server that can be full
#
# Now a real model. This server answers one request at a time, as many do by default, and lets the others wait. First
# 8 at a time again:

# %% tags=["nbval-ignore-output"]
stack = contextlib.ExitStack()
url = stack.enter_context(start(model_to_fill, port=0, n_threads=1)).url + "/v1"
folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
served_name = "openai:" + Path(model_to_fill.removeprefix("gguf:")).stem
settings = {"max_tokens": 16, "ignore_eos": True, "progress": False}
full = load(served_name, url, "concurrent", concurrency=8, requests=requests, out=folder / "full", **settings)
print(traffic.as_text(full))

# %% [markdown]
# The line `server` gives it away: requests wait for their first token far longer than a request alone does, because
# only one at a time gets text. The server is **saturated**. This is a result, and no fault of the run. It is otherwise if
# *this program* is the slow one: then the numbers are its own, and the verdict says `client limited`. What it looks at:

# %% tags=["nbval-ignore-output"]
client = full["client"]
print(f"the client used {100 * client['cpu_share']:.0f} % of a core (limited above 90 %)")
print(f"its timer came {client['loop_lag_ms']['mean']:.2f} ms late on average (limited above 5 % of the median TTFT)")
print("client limited:", "; ".join(client["reasons"]) or "no")

# %% [markdown]
# ## How much can it take?
#
# Take the requests a second that it did when it was full, and send a quarter of that, half, three quarters, and twice as
# much, in an open loop for two seconds each.

# %% tags=["nbval-ignore-output"]
most = full["requests_per_s"]
steps = {}
for share in (0.25, 0.5, 0.75, 2.0):
    steps[share] = load(served_name, url, "constant", rate=round(share * most, 2), duration_s=2.0,
                        out=folder / f"{share}", **settings)  # fmt: skip
pd.DataFrame([{"share": f"{100 * share:.0f} %", "due (requests/s)": f["due_per_s"], "done (requests/s)": f["requests_per_s"],
               "response time p50 (ms)": 1000 * f["response_time_s"]["p50"],
               "max (ms)": 1000 * f["response_time_s"]["max"], "in flight": f["concurrency"]["achieved"],
               "n": f["window"]["n"]} for share, f in steps.items()]).set_index("share").round(1)  # fmt: skip

# %%
assert all(f["n_completed"] == f["n_requests"] for f in steps.values())
print("no request failed, at any rate")

# %% tags=["nbval-ignore-output"]
fig, ax = canvas("Requests in flight, below and above what the server can do", f"100 % is {most:.1f} requests a second, the most that was done", 3)
for share, style in ((0.75, "-"), (2.0, "--")):
    gauge = read_gauge(folder / f"{share}")
    seconds = [(t - gauge[0][0]) / 1e9 for t, _ in gauge]
    ax.step(seconds, [n for _, n in gauge], style, where="post", label=f"{100 * share:.0f} %")
ax.set(xlabel="time (s)", ylabel="requests in flight")
ax.legend(title="rate")
peaks = ", ".join(f"{f['concurrency']['peak']} at {100 * share:.0f} %" for share, f in steps.items())
figures.show(fig, f"Requests in flight over time at 75 % and at 200 %. The most at once, by rate: {peaks}.")

# %% [markdown]
# As long as `done` is near `due`, the server keeps up. Where it falls behind, requests pile up for as long as they come,
# and every latency depends on how long the run was: no number to report. Between the last rate that it kept up with and
# the first that it did not lies the **knee**. (`load(…, profile="sweep")` tries more rates and names it.) Each run says so:

# %% tags=["nbval-ignore-output"]
for share, f in steps.items():
    print(f"{100 * share:3.0f} %: {f['saturation']['why']}")

# %% [markdown]
# ## Goodput
#
# How many requests keep a promise, say the whole reply within 0.2 s of when it was due? A failed one keeps none. The
# promise can be made after the run, for the stamps are kept.

# %% tags=["nbval-ignore-output"]
for share in steps:
    good = evaluate(folder / f"{share}", slo={"response_time_s": 0.2})["goodput"]
    print(f"{100 * share:3.0f} % of the most: {good['percent']:3.0f} % of {good['n']} requests within 0.2 s, "
          f"{good['requests_per_s']:.1f} good requests/s")  # fmt: skip
stack.close()

# %% [markdown]
# Compare the last two lines with `done` in the table. Asked for twice the most, the server is as busy as it can be, and
# hardly a reply comes in time to be of use. Throughput alone would not tell.

# %% [markdown]
# ## Questions to try
#
# 1. Let `served` stall for 0.3 s instead of 3 s. Which of the two clients still sees it?
# 2. Run `benchkit serve gguf:pocket-m --port 11500` in a terminal, and ask it with `benchkit load openai:pocket-m --host
#    http://127.0.0.1:11500/v1` and `--concurrency` 1, 4 and 16. What happens to TTFT, and what to requests a second?
# 3. In the runs above, client, server and model share one computer. What does that do to the results?
# 4. Your users send one request a minute each. How many users can the second server have, at half of the most?
#
# <details><summary>Answers</summary>
#
# 1. Both: the slowest is 0.4 s for each. Only two requests are due in so short a stall, so there is little to omit.
# 2. TTFT grows with the number that wait; requests a second hardly change, for the server does one at a time.
# 3. They take processor time from each other: the server is slower than alone. Users elsewhere would not do that.
# 4. Half of the most, times 60: at 20 requests a second, 1200 users. They come at random, so look at "Why not 100 %?" too.
#
# </details>
