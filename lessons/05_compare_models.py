# %% [markdown]
# # 05 · Compare models
#
# **You will learn** to compare models fairly, to accept "not distinguishable" as an answer, to weigh speed
# against quality on one page, and to say which model to use when.
#
# **About 20 minutes.** Nothing is measured here. By default you read the run that comes with the toolkit.

# %% tags=["parameters"]
run_folders = ["benchmark_outputs/sample"]  # several runs are compared together; yours: benchmark_outputs/lesson_02
report_file = ""  # where to write the report; empty: report.html in the run's own folder

# %% tags=["nbval-ignore-output"]
import pandas as pd

from benchkit import figures, machine, places, report, stats, tables
from benchkit.runs import open_run
from benchkit.text import number

pd.set_option("display.float_format", number, "display.max_colwidth", 60)
machine.machine_record()["packages"]

# %%
runs = [open_run(places.ROOT / folder) for folder in run_folders]
results = tables.results(runs)
names = list(results["configuration"].unique())
for run in runs:
    about = run.manifest["machine"]
    print(f"{run.name}: recorded on {run.manifest['created'][:10]} on {about['cpu']}, not on your computer")
print(", ".join(names))

# %% [markdown]
# ## Same prompts, side by side
#
# The last two of these configurations answered the *same* prompts. So compare prompt by prompt: a prompt with a
# long reply is long for both, and most of that cancels. First their medians, as if the prompts had been
# different; do the two intervals overlap?

# %%
a, b = names[-2], names[-1]
natural = results[results["purpose"] == "quality"]
latency = natural.groupby(["configuration", "prompt_set", "prompt_id"])["latency_s"].median()
for name in (a, b):
    interval = stats.median_interval(latency[name])
    print(f"{name}: median {latency[name].median():.4f} s", "" if interval is None else
          f"({interval.low:.4f} to {interval.high:.4f})")

# %%
c = stats.paired_difference(latency[a].to_dict(), latency[b].to_dict())
print(f"A = {a}, B = {b}: typically A takes {number(c.ratio)} × the time of B on the same prompt")
print(f"95 % interval {number(c.low)} to {number(c.high)}, n = {c.n} prompts: {c.verdict}")

# %% [markdown]
# Below 1 means that A takes less time. Where the interval contains 1, the data cannot tell who is ahead, and
# the verdict says so instead of guessing.

# %% [markdown]
# ## Every question at once
#
# `compare` asks this of decode speed (forced lengths only), waiting, quality and cost. Mind the direction: for
# seconds and ms a ratio *below* 1 speaks for A, for tokens/s one *above* 1. The pass rate has no ratio but a
# *difference* A − B (−0.28 would be 28 points fewer), and low and high bound that; seconds per correct answer is
# a ratio of totals.

# %%
print(f"A = {a}, B = {b}")
tables.compare(results, a, b)[["metric", "value_a", "value_b", "ratio", "difference", "low", "high", "n", "verdict"]]

# %% [markdown]
# Mind what each row may claim. *Latency* belongs to a model **and** to the length of its replies; *decode
# speed* is measured at equal lengths; the *pass rate* is of these prompts, and says nothing of other tasks.
#
# Now every pair, verdicts only:

# %%
every = tables.compare(results)
asked = every[every["metric"].isin(["decode_tokens_per_s", "pass_rate", "seconds_per_correct"])]
asked.pivot(index=["a", "b"], columns="metric", values="verdict")

# %% [markdown]
# Where two models do not differ, such a verdict still names one about once in twenty times (seconds per correct:
# up to 7 in 100). So twenty questions about equal models give about one false winner; and "not distinguishable"
# misses real differences when prompts are few. Decide *before* you look which question matters to you, and read
# the others as hints.

# %% [markdown]
# ## How small a difference can this machine see?
#
# Compare a model with itself: the second trial of each prompt against the first. The truth is "no difference",
# so whatever appears is the machine's own noise.

# %%
tables.smallest_distinguishable(results)

# %% [markdown]
# 1.05 means: of two models, a difference under about 5 % would drown in this machine's noise. (These columns are
# of natural replies, one trial each; decode speed is compared on forced replies, so read that column as a guide.)
# Empty cells: fewer than six prompts, or one trial only. A quieter machine or more prompts make these numbers
# smaller; decimals do not.

# %% [markdown]
# ## Speed against quality
#
# One page, both intervals. Up is better, right is faster. A model is on the *front* (Pareto front) if no other is
# at least as good in both and better in one. Which of those is best depends on what you need, not on the data.
# The front is drawn through the estimates: where intervals overlap, it may be drawn otherwise tomorrow.

# %%
summary = tables.summarize(results)
figures.show(*figures.tradeoff_figure(summary))

# %% [markdown]
# ## Seconds per correct answer
#
# A single number that joins the two: the time spent on all prompts, divided by the number of right answers. Wrong
# answers cost their time, too, so a slow model can win if the fast one is mostly wrong. It does not mean "ask
# again until right": at temperature 0 the same question gets the same answer.

# %%
figures.show(*figures.seconds_per_correct_figure(summary))

# %% [markdown]
# It assumes that you notice wrong answers, and that asking elsewhere costs no more. Where a wrong answer does
# harm, look at the pass rate instead.

# %% [markdown]
# ## What it costs in memory
#
# The peak of each model's own process, above what it needed before the model was loaded, and beside it the
# size of the model's file (dashed) and what a typical reply added and did not give back (diamond):

# %%
figures.show(*figures.memory_figure(results))

# %% [markdown]
# A quantised variant (`Q4_K_M`) is the same model with fewer bits for each weight: a much smaller file. For
# small models the rest of the process outweighs it; for large ones the file is nearly everything.

# %% [markdown]
# ## Which model, then?
#
# Four questions, four answers. A winner is named only if the data tell it from **every** other configuration and,
# where time decides, only if nothing disturbed the measurement.

# %%
for card in tables.cards(results):
    print(f"{card.title.upper()}: {card.winner or card.outcome}  ({card.leader}: {card.value}, n = {card.n})")
    print(f"    {card.reason}")

# %% [markdown]
# From cards to a choice:
#
# | you need | look at | and beware |
# |---|---|---|
# | answers while someone waits | TTFT, then decode speed | long replies: latency grows with each token |
# | right answers | the pass rate of *your* category | a category of six prompts has a wide interval |
# | thousands of answers over night | seconds per correct answer | wrong answers that nobody notices |
# | to fit into little memory | file size and peak memory | quality lost by quantising: compare, do not assume |
#
# "Not distinguishable" does not mean equal. Look at the interval: if even its worse end would not matter to you,
# take the smaller model; if it would, ask more prompts. A third decimal decides nothing.

# %% [markdown]
# ## One file to hand on
#
# The report holds these tables and figures, the machine, the verdict on each run, its limitations and what
# was *not* measured, in one file that needs no internet. The run that came with the toolkit stays untouched.

# %% tags=["nbval-ignore-output"]
is_sample = runs[0].folder.resolve() == (places.OUTPUTS / "sample").resolve()
default = places.OUTPUTS / "sample-report.html" if is_sample else runs[0].folder / "report.html"
written = report.write_report(runs, places.ROOT / report_file if report_file else default)
print(f"{written}, {written.stat().st_size / 1024:.0f} KiB: open it in a browser")

# %%
assert written.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
for run in runs:
    verdict = tables.verdict(run)
    print(run.name, verdict.state, *verdict.reasons, sep="\n- ")

# %% [markdown]
# ## Questions to try
#
# 1. Compare the two that differ most, `tables.compare(results, names[0], names[-1])`. Which verdicts change, and
#    which interval moved most?
# 2. Keep one category, `results[results["category"] == "arithmetic"]`, and ask for the cards again. What
#    happens to the winners, and why is that the honest answer? (The forced replies have no category: they are gone.)
# 3. Run a model against itself, `benchkit run null_run --out benchmark_outputs/null`, and open it here with
#    `run_folders = ["benchmark_outputs/null"]`. Does any card name a winner?
# 4. Which of your own tasks would reverse the ranking? Write six prompts for it, with checks, and find out.
