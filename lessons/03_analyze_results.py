# %% [markdown]
# # 03 · Analyze results
#
# **You will learn** to get from a folder of recordings to a table you can defend: which average to take,
# what a P95 is and when you may show one, how sure a median is, and whether the run can be trusted at all.
#
# **About 20 minutes.** Nothing is measured here. By default you read the run that comes with the toolkit.

# %% tags=["parameters"]
run_folder = "benchmark_outputs/sample"  # for your own run of lesson 02: benchmark_outputs/lesson_02

# %% tags=["nbval-ignore-output"]
import pandas as pd

from benchkit import figures, machine, metrics, places, stats, tables
from benchkit.recording import Recording
from benchkit.runs import open_run
from benchkit.text import number

pd.set_option("display.float_format", number, "display.max_colwidth", 40)
machine.machine_record()["packages"]

# %%
run = open_run(places.ROOT / run_folder)
about = run.manifest["machine"]
print(f"recorded on {run.manifest['created'][:10]} on {about['cpu']} with {about['usable_cores']} cores")

# %% [markdown]
# **That is the computer on which these numbers were recorded, not yours.** A benchmark result without its
# machine is a number without a unit.

# %% [markdown]
# ## From recordings to a table
#
# `results` applies the formulas of `benchkit/metrics.py` to every recording: one row a request, nothing
# averaged yet.

# %%
results = tables.results(run)
columns = ["configuration", "prompt_id", "trial", "purpose", "latency_s", "ttft_ms", "n_output_tokens", "correct"]
print(len(results), "requests")
results[columns].head(4)

# %% [markdown]
# No magic in between. The first row's latency, from the stamps in its file:

# %%
artifact = run.artifacts()[0]
recording = Recording.from_dict(artifact["recording"])
by_hand_s = (recording.t_end_ns - recording.t_sent_ns) / 1e9
assert by_hand_s == results["latency_s"].iloc[0] == metrics.latency_s(recording)
print(f"{artifact['file']}: {by_hand_s:.6f} s")

# %% [markdown]
# ## Which average?
#
# Take one configuration, and only replies that stopped by themselves. Some prompts ask for one word, some
# for a story, so latencies differ from prompt to prompt for good reason. The **mean** is the one to add up
# (60 such prompts take about 60 means, if no trial is disturbed); the **median** is the typical prompt, and a few very long replies do not move it.

# %%
name = results["configuration"].iloc[0]
natural = results[(results["configuration"] == name) & (results["purpose"] == "quality")]
per_prompt = natural.groupby("prompt_id")["latency_s"].median()
print(f"{name}: {len(natural)} requests, {len(per_prompt)} prompts")
per_prompt.agg(["mean", "median", "max"])

# %% [markdown]
# Look at the gap between mean and median: where it is wide, a few slow prompts weigh much, and one number
# alone would tell the story badly.

# %% [markdown]
# ## How sure is the median?
#
# With other prompts of the same kind the median would be another. The 95 % interval says how much, and it
# counts **prompts**. Asking one prompt a thousand times tells nothing about the next prompt. Here is what
# goes wrong if every trial is counted as if it were a new prompt.

# %%
honest = stats.median_interval(per_prompt)
too_sure = stats.median_interval(natural["latency_s"])
for label, interval in (("prompts", honest), ("requests", too_sure)):
    if interval is None:
        print(f"counting {label}: fewer than 6, so no interval: these prompts speak for themselves only")
    else:
        print(f"counting {label}: {interval.low:.4f} to {interval.high:.4f} s, n = {interval.n}")

# %% [markdown]
# Counting requests gives a narrower interval, or one where there should be none. It is not better but wrong:
# repeating a prompt was mistaken for knowing more prompts. So: first the median over the trials of each prompt, then everything else.

# %% [markdown]
# ## The tail: P95 and P99
#
# **P95** is the time that 95 % of prompts stay below, each by the median of its trials: one *prompt* in twenty is
# typically slower. Single requests vary more, so a user exceeds it somewhat oftener. To say anything about the
# last five percent you need some of them. With 59 prompts the chance that all stay
# below the true P95 is 0.95⁵⁹ = 5 %; with fewer it is higher, and then no bound can be given.

# %%
for q in (50, 90, 95, 99):
    p = stats.percentile(per_prompt, q)
    bound = "" if p.upper is None else f", with 95 % certainty below {p.upper:.4f} s"
    print(f"P{q}: " + (f"{p.value:.4f} s{bound}" if p.value is not None else p.note))
print(f"slowest prompt: {per_prompt.max():.4f} s; slowest request: {natural['latency_s'].max():.4f} s: facts, no estimates")

# %% [markdown]
# A tool that prints a P99 from ten samples prints its maximum under another name. (P50's bound is one-sided, so
# it lies a little below the upper end of the two-sided interval further up.)

# %% [markdown]
# ## Requests and tokens a minute
#
# One at a time, so the rate is simply completed requests over the time they took. For tokens there is a
# right way and a popular way: the **ratio of sums**, and the average of each reply's own rate.

# %%
per_min = metrics.requests_per_min(len(natural), natural["latency_s"])
ratio_of_sums = natural["n_output_tokens"].sum() / natural["latency_s"].sum()
average_of_rates = (natural["n_output_tokens"] / natural["latency_s"]).mean()
print(f"{per_min:.0f} requests/min")
print(f"{ratio_of_sums:.0f} tokens/s (ratio of sums), {average_of_rates:.0f} tokens/s (average of rates)")

# %% [markdown]
# Only the first can be used to plan: tokens wanted, divided by it, is the time it takes. The second gives a
# reply of three tokens as much say as one of ninety.

# %% [markdown]
# ## The whole table
#
# The same formulas for every configuration, with waiting, forced decode speed and memory beside them.

# %%
summary = tables.summarize(results).set_index("configuration")
summary[["n_prompts", "latency_mean_s", "latency_median_s", "latency_p95_s", "latency_p99_s", "latency_max_s",
         "requests_per_min", "tokens_per_s", "ttft_median_ms", "decode_tokens_per_s", "peak_memory_mib"]].transpose()

# %% [markdown]
# An empty cell (`NaN`) is an answer too: *not enough prompts to say*. It is never filled with a 0 or a guess.
# `latency_max_s` is the largest of *all* requests: a single slow trial shows there and, diluted, in the rates,
# which sum all requests. The medians hide it.

# %%
assert summary.loc[name, "latency_median_s"] == per_prompt.median()
print(summary["latency_note"].iloc[0] or "no note")

# %% [markdown]
# ## Look before you conclude
#
# Two tables can agree and their data differ. One mark is one prompt:

# %%
figures.show(*figures.latency_figure(results))

# %% [markdown]
# Why are some prompts so slow? Because their replies are long. Latency against length shows it: the slope of
# each line is the price of one more token, and where it meets the left edge is the wait before the first.

# %%
figures.show(*figures.length_figure(results))

# %% [markdown]
# A short reply gives low latency, so a model can look fast because it says little. Decode speed takes the length
# out, but not all of it: the open marks far left are replies of a few tokens, whose only gaps are the first, the
# slowest. So speeds are ranked by the filled marks, replies of one forced length:

# %%
figures.show(*figures.decode_figure(results))

# %% [markdown]
# ## Can this run be trusted?
#
# Before you show a number to anyone: was the machine busy, did requests fail, does the time add up? The
# verdict looks at the run, not at the models: a bad answer is a result, a disturbed clock is not.

# %%
verdict = tables.verdict(run)
print(verdict.state)
for reason in verdict.reasons + verdict.notes:
    print("-", reason)

# %% [markdown]
# `VALID` means: nothing that was looked at speaks against the numbers. `INCONCLUSIVE` and `INVALID` come with
# their reasons, and the cure is to measure again, not to look for a kinder statistic.

# %% [markdown]
# ## Where the time of one request went
#
# The engine has a clock of its own. Put its figures into the client's, and every millisecond has a name.
# *dispatch*: late against a schedule (none here: NaN). *queue*, *load*: waiting for the engine, loading the model.
# *prefill*: reading the prompt. *decode*: writing. *delivery*: the way through the pipe and back.

# %%
parts = pd.Series(metrics.ledger(recording), name="ms")
assert abs(parts.sum() - 1000 * by_hand_s) < 1e-6  # they add up to the latency
parts.round(3)

# %% [markdown]
# What neither clock accounts for is shown as `unexplained`. Above 5 % of the time, the verdict says so.

# %% [markdown]
# ## Questions to try
#
# 1. Keep only ten prompts (`per_prompt.head(10)`) and give the percentiles again. Which survive?
# 2. Which single prompt has the largest latency in `per_prompt`? Read its reply: is it the longest one?
# 3. `slow = natural["latency_s"].copy(); slow.iloc[0] += 1`. Compare mean, median and maximum of `slow` with those
#    of `slow.groupby(natural["prompt_id"]).median()`. Which notice, and which should?
# 4. Set `run_folder` to your run of lesson 02 and go through again. What may you still say with its few prompts?
#
# <details><summary>Answers</summary>
#
# 1. P50 only: P90 needs 29 prompts.
# 2. `per_prompt.idxmax()`; usually yes: latency is mostly length.
# 3. Of all requests, mean and maximum notice; of the medians by prompt, none: one disturbed trial of three is
#    outvoted. The disturbance was the computer's, so hiding it is right here, and the maximum of all requests tells it.
# 4. What these prompts took. Nothing about other prompts: no interval, no percentile.
#
# </details>
#
# **Next:** [04 · Output quality](04_output_quality.ipynb): fast is no use if it is wrong.
