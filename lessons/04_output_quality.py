# %% [markdown]
# # 04 · Output quality
#
# **You will learn** to judge replies by rules that give their reasons, to write such a rule yourself, to say
# how sure a pass rate is, and to see where rules are blind.
#
# **About 20 minutes.** Nothing is measured here. By default you read the run that comes with the toolkit.

# %% tags=["parameters"]
run_folder = "benchmark_outputs/sample"  # for your own run of lesson 02: benchmark_outputs/lesson_02

# %% tags=["nbval-ignore-output"]
import json

import pandas as pd

from benchkit import figures, machine, places, quality, stats, tables
from benchkit.prompts import load_prompts
from benchkit.runs import open_run

pd.set_option("display.precision", 3, "display.max_colwidth", 60)
machine.machine_record()["packages"]

# %%
run = open_run(places.ROOT / run_folder)
results = tables.results(run)
judged = results[results["correct"].notna()]
print(f"recorded on {run.manifest['created'][:10]}, not on your computer: {len(judged)} judged replies")

# %% [markdown]
# ## One reply, and why it failed
#
# A check is a small function from a reply to `passed` and a *reason*. A bare "failed" cannot be argued with;
# a reason can be wrong, and then you have found a bug in the check.

# %%
wrong = judged[~judged["correct"].astype(bool)]
row = wrong.iloc[0] if len(wrong) else judged.iloc[0]
print(f"{row['configuration']} was asked: {row['prompt']}")
print(f"it replied: {row['response'][:300]}\n")
for check in row["checks"]:
    print(f"{check['check']}: {'passed' if check['passed'] else 'failed'}: {check['reason']}")

# %% [markdown]
# A reply is *correct* when every check *that was run* passed. In this run generated code was not run: there,
# "correct" means only that a function of that name parses. Where you disagree with a reason, note it: the last
# section is about that.

# %% [markdown]
# ## Write a check yourself
#
# "Extract JSON with keys {name, email}": what could a rule look at? Three questions. Does it parse? Are the
# keys there? Is there nothing else around it? Here in seven lines:

# %%
def my_json_quality(text, required):
    try:
        value = json.loads(text)
    except ValueError:
        return {"valid_json": False, "has_required_keys": False, "no_extra_text": False}
    has_keys = isinstance(value, dict) and all(key in value for key in required)
    return {"valid_json": True, "has_required_keys": has_keys, "no_extra_text": True}


my_json_quality('{"name": "Sam", "email": "sam@example.com"}', ["name", "email"])

# %% [markdown]
# `isinstance(value, dict)` matters: `[1, 2]` and `3` are valid JSON as well, and asking a number for its keys
# would crash the check. Now let both versions, yours and the package's, judge six replies of kinds that models write.

# %%
replies = {
    "clean": '{"name": "Sam", "email": "sam@example.com"}',
    "a word before": 'Sure! {"name": "Sam", "email": "sam@example.com"}',
    "in a code fence": '```json\n{"name": "Sam", "email": "sam@example.com"}\n```',
    "a key is missing": '{"name": "Sam"}',
    "a list": '["Sam", "sam@example.com"]',
    "a comma too many": '{"name": "Sam", "email": "sam@example.com",}',
}
required = ["name", "email"]
mine = pd.DataFrame({label: my_json_quality(text, required) for label, text in replies.items()}).T
package = pd.DataFrame({label: quality.check_json_quality(text, required) for label, text in replies.items()}).T
pd.concat({"mine": mine, "package": package}, axis=1)

# %% [markdown]
# They differ where JSON is wrapped in something. Yours calls that broken; the package says *valid, but with
# extra text*, because a program could cut it out. Neither is wrong. It is a decision, so it must be written
# down, and be the same for every model.

# %% [markdown]
# ## Valid is not true
#
# No rule about *form* sees what is in the values. For that, the expected values must be known, or at least
# the source that they should come from:

# %%
invented = '{"name": "Sam", "email": "sam.smith@gmail.com"}'
source = "Name: Sam, Email: sam@example.com"
for result in (quality.valid_json(invented), quality.required_keys(invented, keys=required),
               quality.nothing_invented(invented, source=source)):
    print(f"{result.check}: {'passed' if result.passed else 'failed'}: {result.reason}")

# %% [markdown]
# A well-formed lie passes every test of form. If you can afford one check only, check the values.

# %% [markdown]
# ## How sure is a pass rate?
#
# Three of three passed: 100 %? A coin does that one time in eight. **Wilson's interval** says which pass
# rates are compatible with what was seen.

# %%
for passed, n in ((3, 3), (6, 6), (54, 60), (216, 240)):
    interval = stats.wilson(passed, n)
    print(f"{passed:3d} of {n:3d}: {passed / n:4.0%} seen, {interval.low:4.0%} to {interval.high:4.0%} plausible")

# %% [markdown]
# To halve the width you need four times the prompts. And *n* counts **prompts**: at temperature 0, three trials
# of a prompt are the same reply three times, which is one piece of evidence, not three.

# %%
tables.pass_rates(results, by=[])

# %% [markdown]
# Wide intervals that overlap do not yet mean "equal": the models answered the *same* prompts, and lesson 05
# uses that.

# %% [markdown]
# ## Where a model is good
#
# One overall rate hides the most useful thing. By category:

# %%
figures.show(*figures.quality_figure(results))

# %% [markdown]
# Read along a row: is there a category that every model gets, one that none gets, one that separates them?
# Only the last kind tells models apart. But each cell is only six prompts: 2/6 against 4/6 is not a difference
# (their intervals are 10–70 % and 30–90 %). By check, the same replies show *how* they fail:

# %%
figures.show(*figures.checks_figure(results))

# %% [markdown]
# ## Where rules are blind
#
# Rules err in both directions. Here are replies for which you know better.

# %%
cases = [
    ("right, but refused", quality.number("Three hundred and forty-five.", value=345)),
    ("nonsense, but passed", quality.key_facts("photosynthesis light water banana", facts=["light", "water"])),
    ("says nothing, but passed", quality.words("Yes.", max=20)),
    ("two answers, and passed", quality.number("It is 344. No: 345", value=345)),
]
for verdict, result in cases:
    print(f"{verdict:25s} {result.check}: {'passed' if result.passed else 'failed'}: {result.reason}")

# %% [markdown]
# So read some replies. Not all: a few from each side, drawn with a fixed seed and shuffled. Write down *right* or
# *wrong* for each number, and only then run the cell after it.

# %%
one_each = judged.sample(frac=1, random_state=1).drop_duplicates("prompt_id")
sample = pd.concat([part.head(3) for _, part in one_each.groupby("correct")])
sample = sample.sample(frac=1, random_state=1).reset_index(drop=True)
for i, row in sample.iterrows():
    print(f"{i}. {row['prompt']}\n   → {row['response'][:400]}\n")

# %%
sample[["configuration", "category", "correct"]]

# %% [markdown]
# Where you disagree, ask the check for its reason. If the check is wrong, mend it, restart the kernel, and ask it
# again about the stored reply: no model has to be asked twice. (The run's own files keep their old verdict.)

# %%
asked = {prompt.id: prompt for prompt in load_prompts(row["prompt_set"])}
for result in quality.run_checks(row["response"], asked[row["prompt_id"]]):
    print(f"{result.check}: {'passed' if result.passed else 'not run' if result.passed is None else 'failed'}: {result.reason}")

# %% [markdown]
# ## Questions to try
#
# 1. Make `my_json_quality` accept a code fence. Which row of the table changes?
# 2. "Yes." passes a length limit of 20 words. Which second check of `quality.CHECKS` would catch it?
# 3. In how many prompts do all trials of one configuration give the very same reply? Use
#    `judged.groupby(["configuration", "prompt_id"])["response"].nunique()`.
# 4. How many prompts until the Wilson intervals of 90 % and 95 % part? Why does lesson 05 need fewer?
#
# <details><summary>Answers</summary>
#
# 1. "in a code fence": you have decided that a program would cut it out.
# 2. `key_facts` or `exact`: a length limit says nothing about what is said.
# 3. At temperature 0 in all of them, or nearly: three trials, one reply.
# 4. About 440. It compares prompt by prompt, and prompts that both models get (or neither) tell nothing.
#
# </details>
#
# **Next:** [05 · Compare models](05_compare_models.ipynb): speed and quality on one page.
