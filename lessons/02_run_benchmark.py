# %% [markdown]
# # 02 · Run a benchmark
#
# **You will learn** to write down what you want to measure before you measure it, to run it, to continue a
# run that was interrupted, and to find everything again in a folder of plain files.
#
# **About 15 minutes**, of which the computer works for less than one. No network is used.

# %% [markdown]
# ## What to measure
#
# The next cell holds all settings of this lesson. Change them here, or from a terminal, without a browser:
# `benchkit notebook 02 -p models=gguf:pocket-xs,gguf:pocket-m -p trials=5 -p output_folder=benchmark_outputs/mine`

# %% tags=["parameters"]
models = ["gguf:pocket-xs", "gguf:pocket-s", "gguf:pocket-m"]  # also gguf:/path/to/any.gguf
prompts = "course"  # a prompt set of prompts/, or the path of a .txt or .jsonl file
trials = 3  # how often each prompt is asked
max_tokens = 96  # the longest reply
temperature = 0.0  # 0: always the most likely token
seed = 1234  # for temperatures above 0
output_folder = "benchmark_outputs/lesson_02"  # relative to the project's folder

# %% tags=["nbval-ignore-output"]
import json

import pandas as pd

from benchkit import bench, machine, places, runs
from benchkit.errors import BenchkitError
from benchkit.plan import make_plan
from benchkit.prompts import load_prompts

folder = places.ROOT / output_folder
machine.machine_record()["packages"]

# %% [markdown]
# Before the first measurement, a look at the questions. Each prompt carries its *checks*: rules that
# decide, without a human and without another model, whether a reply is right.

# %% tags=["nbval-ignore-output"]
for prompt in list(load_prompts(prompts))[:3]:
    print(f"{prompt.index}  {prompt.category}: {prompt.text}")
    print("   ", ", ".join(check["check"] for check in prompt.checks) or "no checks", "\n")

# %% [markdown]
# ## The plan
#
# A *plan* is models × prompts × trials, with all settings. `speed=True` adds a second kind of request, in
# which every model must write the same number of tokens: only those are used to say which model is faster.

# %%
plan = make_plan(models, prompts=prompts, trials=trials, max_tokens=max_tokens,
                 temperature=temperature, seed=seed, speed=True)
tests = pd.DataFrame([{"configuration": t.configuration.label, "purpose": t.purpose} for t in plan.tests()])
tests.value_counts(["configuration", "purpose"]).unstack()

# %% [markdown]
# Each number is a count of requests: every prompt as often as there are trials, and ten of forced length (64
# tokens in, 128 out) for each model. A plan is checked as it is made, so that a typing error
# costs a second and not an evening:

# %%
try:
    make_plan(models, prompts=prompts, trails=5)
except BenchkitError as error:
    print(error)

# %% [markdown]
# How long will it take? The longest reply each time, divided by the speed of lesson 01; reading the prompts
# and loading come on top. It is worth the ten seconds: large models on small machines turn "a few prompts" into a night.

# %%
tokens = sum(test.options["max_tokens"] for test in plan.tests())
for tokens_per_s in (1000, 100, 10, 1):
    print(f"at {tokens_per_s:4d} tokens/s: {bench.duration(tokens / tokens_per_s)} of writing, if every reply is as long as allowed")

# %% [markdown]
# ## Run it
#
# Models take turns, so that a busy moment of your computer does not hit one of them alone, and each warms
# up first, unrecorded. Close what you can: a video call next to a benchmark is part of the result.

# %% tags=["nbval-ignore-output"]
run = bench.run(plan, folder)
print(*(folder / "run.log").read_text(encoding="utf-8").splitlines()[-3:], sep="\n")

# %%
assert run.status["state"] == "complete" and not run.failed
assert len(run.artifacts()) == len(plan.tests())
print("complete: one artifact for every planned request")

# %% [markdown]
# ## Interrupt it
#
# Runs get interrupted: a lid is closed, a battery is empty, someone trips over the cable. Every reply was
# written to disk the moment it was complete, so we play the accident: one artifact vanishes. The same call
# again measures what is missing, and nothing else.

# %%
before = {path: path.stat().st_mtime_ns for path in runs.artifact_paths(folder)}
lost = next(iter(before))
lost.unlink()
run = bench.run(plan, folder, progress=False)
after = {path: path.stat().st_mtime_ns for path in runs.artifact_paths(folder)}
measured_again = [path for path in after if after[path] != before.get(path)]
assert set(after) == set(before) and measured_again == [lost]
print(f"measured again: {len(measured_again)} of {len(after)}")

# %% [markdown]
# Had you changed a setting, the folder would have refused: two different experiments in one folder are
# the surest way to a wrong table.

# %%
try:
    bench.run(make_plan(models, prompts=prompts, trials=trials + 1, max_tokens=max_tokens, speed=True), folder)
except BenchkitError as error:
    print(str(error).replace(str(folder), output_folder))

# %% [markdown]
# ## What the folder holds
#
# Plain JSON, one file for each prompt and trial. Nothing here needs this toolkit to be read.

# %% tags=["nbval-ignore-output"]
shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
for path in sorted(shown, key=lambda path: ("_trial_" in path.name, path.name))[:9]:
    print(f"{path.stat().st_size:8d} bytes  {path.name}")
print(f"… and {len(shown) - 9} more")

# %% [markdown]
# One *artifact*, opened: what was asked, what came back, and how each check decided.

# %% tags=["nbval-ignore-output"]
artifact = json.loads(lost.read_text(encoding="utf-8"))
print(artifact["model"], "was asked:", artifact["prompt"])
print("it replied:", artifact["response"], f"({artifact['latency_s']:.3f} s)\n")
for check in artifact["checks"]:
    print(f"{check['check']:18s} {'passed' if check['passed'] else 'failed'}: {check['reason']}")

# %% [markdown]
# The raw stamps of every chunk are in it too, under `recording`: another tool's formula can be applied to
# the same reply, even years later. `manifest.json` tells on which machine and with which versions.

# %%
print("an artifact holds:", ", ".join(artifact))
print("the manifest holds:", ", ".join(run.manifest))

# %% [markdown]
# `summary.json` is the short form, one row a request, ready for pandas:

# %% tags=["nbval-ignore-output"]
summary = pd.DataFrame(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
summary[["model", "prompt_id", "trial", "latency_s", "n_output_tokens", "n_passed", "n_checks"]].head(6)

# %% [markdown]
# Is one trial far slower than the other two of its prompt? The model and the prompt are the same, so that was
# the computer. It is why each prompt is asked more than once, and why lesson 03 begins with a median.

# %%
assert {"model", "prompt", "response", "latency_s"} <= set(summary.columns)
assert len(summary) == (tests["purpose"] == "quality").sum()
print("one row for each request that was judged")

# %% [markdown]
# ## Questions to try
#
# 1. Run the cell under "Run it" once more. How long does it take, and why?
# 2. Set `temperature = 0.8` and a new `output_folder`. In how many prompts do the three trials agree now?
# 3. Write three prompts of your own into `mine.txt`, one a line, set `prompts` to its full path and
#    `output_folder` to a new one. What can be measured without checks, and what not?
# 4. Set `trials = 200` and a new `output_folder`, run, and restart the kernel in the middle (Kernel ▸ Restart).
#    Then run all cells. What was lost?
#
# <details><summary>Answers</summary>
#
# 1. A second or two: the models are not even loaded, because nothing is missing.
# 2. Count them: `summary.groupby(["model", "prompt_id"])["response"].nunique()`.
# 3. Every time, speed and length; nothing about right and wrong.
# 4. At most the one reply that was being written.
#
# </details>
#
# **Next:** [03 · Analyze results](03_analyze_results.ipynb), with `run_folder = "benchmark_outputs/lesson_02"`
# for your own numbers, or as it stands for a larger run that comes with the toolkit.
