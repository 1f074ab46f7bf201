# %% [markdown]
# # Practice · Two models, four tasks, one recommendation
#
# **About 150 minutes.** You will plan, run and read a benchmark of your own: `gguf:pocket-xs` against `gguf:pocket-s` on
# extraction, classification, summary and a category that you write yourself. At the end stands a memo that somebody else
# could decide by. It helps to have read lessons [02](../02_run_benchmark.ipynb), [04](../04_output_quality.ipynb) and
# [05](../05_compare_models.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows what it found, what was expected, and often a hint. Check as often as you like. The
# sections build on each other. The checks measure nothing: they look at what you wrote. No network is needed.

# %%
import json

from benchkit.exercises import called, passed, stated

measure = False  # becomes True in the section "Run it"
output_folder = "benchmark_outputs/practice"  # a new name for a new try

# %% [markdown]
# ## Three categories of a set
#
# `prompts/categories-v1.jsonl` has sixty prompts in ten categories. Each line is JSON; the first is a header such as
# `{"set": "categories", "version": 1}`, each other line is one prompt with its `"category"`.
#
# Write `pick(lines, categories)`: the prompts (as dictionaries) whose category is one of `categories`, in the file's order.
# From a header, a prompt of the category `"code"` and one of `"summary"`, `pick(lines, ["summary", "extraction"])` returns
# a list with one dictionary: `[{"id": "b", "category": "summary", "prompt": "…"}]`.

# %% nbgrader={"grade": false, "grade_id": "pick", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pick(lines, categories):
    """The prompts of these categories, as dictionaries, from the lines of a prompt file with a header."""
    ### BEGIN SOLUTION
    prompts = [json.loads(line) for line in lines[1:]]
    return [prompt for prompt in prompts if prompt["category"] in categories]
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_pick", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
lines = ['{"set": "try", "version": 1}', '{"id": "a", "category": "code", "prompt": "A?"}',
         '{"id": "b", "category": "summary", "prompt": "B?"}',
         '{"id": "c", "category": "extraction", "prompt": "C?"}']
b = {"id": "b", "category": "summary", "prompt": "B?"}
c = {"id": "c", "category": "extraction", "prompt": "C?"}
called("pick", lines, ["extraction", "summary"]).gives(
    [b, c], because="b and c are of these categories, and b comes first in the file",
    hints=[(lines[2:], "dictionaries are asked for, not lines of text: json.loads"),
           ([c, b], "keep the order of the file, not that of the categories"),
           ([{"id": "a", "category": "code", "prompt": "A?"}], "these are all the others"),
           ([], "json.loads turns a line into a dictionary")],
    hint='the header, which is the first line, has no "category": leave it out')
called("pick", lines, ["summary"]).gives([b], because="only b is a summary")
### BEGIN HIDDEN TESTS
called("pick", lines, ["code", "summary", "extraction"]).gives(
    [{"id": "a", "category": "code", "prompt": "A?"}, b, c], because="all three categories are asked for")
called("pick", lines, ["refusal"]).gives([], because="there is no such prompt")
### END HIDDEN TESTS
passed("pick")

# %% [markdown]
# ## A category of your own
#
# What would *you* use a small model for? Write at least six prompts of **one** category that the set does not have, from
# easy to hard. Their checks decide without a person; they are listed in [prompts/README.md](../../prompts/README.md). Use any but `code_passes`,
# since no code is run here. Mind what a check cannot see: "mentions Lima" is true of "not Lima", too.
#
# `my_prompts` is a list of dictionaries. Each has an `id` of its own (letters, digits, `_`, `.`, `-`; none that
# the set uses), a question of its own, `category`, `prompt` and `checks`, at least one, such
# as `[{"check": "number", "value": 345}, {"check": "words", "max": 12}]`; and if you like `max_tokens` and `source`.

# %% nbgrader={"grade": false, "grade_id": "my_prompts", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
def ask(id, prompt, answer, wrong):
    checks = [{"check": "mentions", "any_of": [answer]}, {"check": "avoids", "texts": [wrong, "no", "not"]},
              {"check": "words", "max": 8}]
    return {"id": id, "category": "look it up", "prompt": prompt, "checks": checks, "max_tokens": 32}


my_prompts = [
    ask("city_first", "What is the city? 'City: Lima, Name: Tomas'", "Lima", "Tomas"),
    ask("name_last", "What is the name? 'Age: 52, City: Lima, Name: Tomas'", "Tomas", "Lima"),
    ask("email", "What is the email? 'Name: Ruth, Email: ruth@lake.net'", "ruth@lake.net", "Ruth is"),
    ask("age", "Find the age: 'Name: Selma, Age: 41, City: Porto'", "41", "Porto"),
    ask("city_in_text", "What is the city? Pavel works as a driver and lives in Tunis.", "Tunis", "driver"),
    ask("job_in_text", "What is the job? Pavel lives in Tunis and works as a driver.", "driver", "Tunis")]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_my_prompts", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import json  # noqa: F811
import tempfile
from pathlib import Path

from benchkit.prompts import PromptError, load_prompts

mine = stated("my_prompts")
prompts = mine.satisfies(
    lambda v: len(v) >= 6 and all(isinstance(p, dict) for p in v), "a list of at least six dictionaries",
    hint='one dictionary a prompt, such as {"id": "first", "category": "…", "prompt": "…", "checks": […]}')


def claim(right, expected, hint="", because=""):
    mine.satisfies(lambda _: right, expected, because, hint)


def problem_of(prompts):
    header = json.dumps({"set": "mine", "version": 1})
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "mine.jsonl"
            file.write_text("\n".join([header, *map(json.dumps, prompts)]), encoding="utf-8")
            load_prompts(file)
    except PromptError as error:
        return f"prompt {(error.line or 1) - 1}, field {error.field}: {error.problem}"
    except (TypeError, ValueError) as error:
        return str(error)


shipped = load_prompts("categories-v1")
categories = {str(prompt.get("category")) for prompt in prompts}
claim(len(categories) == 1, "one category for all prompts", f"found: {', '.join(sorted(categories))}")
claim(not categories & {prompt.category for prompt in shipped}, "a category that the set does not have yet",
      "the set has: " + ", ".join(dict.fromkeys(prompt.category for prompt in shipped)))
claim(all(prompt.get("checks") for prompt in prompts), "at least one check for each prompt",
      "without a check nobody can say whether a reply was right")
problem = problem_of(prompts)
claim(not problem, "prompts that benchkit can read", problem)
claim(len({prompt["prompt"] for prompt in prompts}) == len(prompts), "different questions",
      "the same question twice is one question: trials repeat, prompts differ")
claim(not {prompt["id"] for prompt in prompts} & {prompt.id for prompt in shipped},
      "ids that the set does not use", "both will stand in one file")
claim("code_passes" not in str(prompts), "checks without code_passes", "no code is run here")
passed("my_prompts")

# %% [markdown]
# ## Test your checks before you trust them
#
# A check that passes everything measures nothing, and one that fails everything neither. So try each of your prompts by
# hand with two replies: one that is right, and one that is **wrong but likely**, such as a model might well write.
#
# `my_replies` is a dictionary from the `id` of each of your prompts to a pair of texts (right, wrong), such as
# `{"product": ("15 × 23 = 345.", "15 × 23 = 335.")}`. All checks of the prompt must pass the first, one or more must fail
# the second.

# %% nbgrader={"grade": false, "grade_id": "my_replies", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
my_replies = {
    "city_first": ("Lima", "Tomas"),
    "name_last": ("The name is Tomas.", "The name is Lima."),
    "email": ("ruth@lake.net", "ruth@lake.com"),
    "age": ("Selma is 41 years old.", "Selma is 14 years old."),
    "city_in_text": ("The city is Tunis.", "No city is given."),
    "job_in_text": ("driver", "Pavel lives in Tunis and works as a driver."),
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_my_replies", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from benchkit import quality
from benchkit.prompts import Prompt, check_problem

prompts = stated("my_prompts").satisfies(
    lambda v: all({"id", "category", "prompt", "checks"} <= p.keys() for p in v)
    and not any(check_problem(check) for p in v for check in p["checks"]),
    "prompts that pass their own check above first")
given = stated("my_replies")
replies = given.satisfies(
    lambda v: {p["id"] for p in prompts} == v.keys(), "the ids of all your prompts, and no others",
    hint="the ids are " + ", ".join(p["id"] for p in prompts))
given.satisfies(
    lambda v: all(len(pair) == 2 and "".join(pair) and all(map(str.strip, pair)) for pair in v.values()),
    "two texts for each prompt: a right reply and a wrong one")
for p in prompts:
    prompt = Prompt(0, p["id"], p["category"], p["prompt"], tuple(p["checks"]), p.get("source"))
    right, wrong = replies[p["id"]]
    failed = [f"{r.check}: {r.reason}" for r in quality.run_checks(right, prompt) if r.passed is not True]
    given.satisfies(lambda _: not failed, f"for {p['id']} a right reply that passes",  # noqa: B023
                    because="; ".join(failed), hint="which of the two is at fault, the reply or the check?")
    failed = [r for r in quality.run_checks(wrong, prompt) if r.passed is False]
    given.satisfies(lambda _: failed, f"for {p['id']} a wrong reply that fails",  # noqa: B023
                    because=f"every check passed {wrong[:60]!r}",
                    hint="if that reply is wrong, the checks are too weak: add one")
passed("my_replies")

# %% [markdown]
# ## The prompt file
#
# A prompt set is a text file with one JSON object in each line: first the header `{"set": name, "version": 1}`, then the
# prompts, unchanged. Write `prompt_file(name, prompts)`: it returns this text. For `prompt_file("mine", [])` it is
# `'{"set": "mine", "version": 1}\n'` (the line break at the very end may be there or not).

# %% nbgrader={"grade": false, "grade_id": "prompt_file", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prompt_file(name, prompts):
    """The text of a prompt file: a header line, then one line of JSON for each prompt."""
    ### BEGIN SOLUTION
    rows = [{"set": name, "version": 1}, *prompts]
    return "".join(json.dumps(row) + "\n" for row in rows)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_prompt_file", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import json  # noqa: F811


def lines_of(text):
    return text.removesuffix("\n").split("\n")


two = [{"id": "a", "category": "x", "prompt": "It's 5 °C?", "checks": [{"check": "words", "x": True}]},
       {"id": "b", "category": "x", "prompt": "Two\nlines", "checks": [], "source": None}]
text = called("prompt_file", "mine", two)
text.satisfies(lambda v: v + "", "a text", hint="return the text; the section 'Run it' writes it to a file")
text.satisfies(lambda v: len(lines_of(v)) == 3, "three lines", because="a header and two prompts",
               hint="one line for each: json.dumps without indent, and a line break between them")
text.satisfies(lambda v: [json.loads(line) for line in lines_of(v)], "a JSON object in each line",
               hint="json.dumps writes JSON: double quotes, true, null; str() writes Python")
text.satisfies(lambda v: json.loads(lines_of(v)[0]) == {"set": "mine", "version": 1},
               "the header in the first line", because='it is {"set": "mine", "version": 1}')
text.satisfies(lambda v: [json.loads(line) for line in lines_of(v)[1:]] == two, "the two prompts, unchanged")
### BEGIN HIDDEN TESTS
called("prompt_file", "other-1", two[:1]).satisfies(
    lambda v: [json.loads(line) for line in lines_of(v)] == [{"set": "other-1", "version": 1}, two[0]],
    "a header with the set's name, and one prompt")
### END HIDDEN TESTS
passed("prompt_file")

# %% [markdown]
# ## The plan
#
# Write down what will be measured before you measure it. `my_plan` is a dictionary with the keyword arguments of
# `make_plan` (lesson 02), without `prompts`, which "Run it" adds. The plan must
#
# - name both models, `gguf:pocket-xs` and `gguf:pocket-s`, with one choice of settings: two configurations,
# - ask each prompt at least twice, so that one slow moment can be seen,
# - allow replies of at least 96 tokens, the longest limit of the prompts taken from the set,
# - leave the temperature at 0, and measure decode speed with replies of forced length (`speed`).
#
# It looks like `{"models": ["gguf:pocket-m"], "trials": 1}`, which has the wrong models, one trial and no `speed`; what
# it leaves out has the default of `make_plan` (`max_tokens` 256, temperature 0).

# %% nbgrader={"grade": false, "grade_id": "my_plan", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
my_plan = {"models": ["gguf:pocket-xs", "gguf:pocket-s"], "trials": 2, "max_tokens": 96, "speed": True}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_my_plan", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from benchkit.errors import BenchkitError
from benchkit.plan import make_plan

made = stated("my_plan")
settings = made.satisfies(lambda v: "prompts" not in v and dict(v),
                          "a dictionary of settings, without prompts", hint="'Run it' adds the prompts")
try:
    plan, problem = make_plan(**{"models": [], **settings, "prompts": "course"}), ""
except (BenchkitError, TypeError) as error:
    plan, problem = None, str(error)


def claim(right, expected, hint=""):
    made.satisfies(lambda _: right, expected, hint=hint)


claim(plan, "settings that make_plan takes", problem)
claim({model.name for model in plan.models} == {"gguf:pocket-xs", "gguf:pocket-s"},
      "both models, and no other")
claim(len(plan.configurations()) == 2, "two configurations",
      "a list of values for a setting makes one configuration for each")
claim(plan.trials == "auto" or plan.trials >= 2, "two trials or more",
      "one trial cannot show whether it was a slow moment")
claim(plan.sampling["max_tokens"][0] >= 96, "max_tokens of 96 or more",
      "the plan would cut replies off that their prompts allow")
claim(plan.sampling["temperature"] == (0,), "a temperature of 0",
      "so that a repeated question gets the same answer")
claim(plan.speed, "speed, so that replies of forced length are measured",
      "replies of natural length differ in length: they cannot say who decodes faster")
passed("my_plan")

# %% [markdown]
# ## Run it
#
# Close what you can, plug in the charger. Set `measure = True` in the first code cell and run it. Then come back and run
# the two cells below this text. It takes less than a minute. If it is interrupted, run the cell again. If you change a
# prompt or the plan afterwards, take a new `output_folder`: one folder holds one experiment.

# %%
if measure:
    from benchkit import bench, places, tables
    from benchkit.plan import make_plan

    lines = (places.PROMPTS / "categories-v1.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = pick(lines, ["extraction", "classification", "summary"]) + list(my_prompts)
    file = (places.ROOT / output_folder).with_suffix(".jsonl")
    file.parent.mkdir(exist_ok=True)
    file.write_text(prompt_file("practice", prompts), encoding="utf-8")
    run = bench.run(make_plan(**my_plan, prompts=str(file)), places.ROOT / output_folder)
    results = tables.results(run)
    print(tables.verdict(run))

# %%
if measure:  # one row for each model and prompt: right in every trial? median latency over the trials
    natural = results[results["purpose"] == "quality"]
    by_prompt = natural.groupby(["configuration", "category", "prompt_id"], sort=False)
    measured = [{"model": model, "category": category, "prompt": prompt,
                 "correct": bool(trials["correct"].all()), "latency_s": float(trials["latency_s"].median())}
                for (model, category, prompt), trials in by_prompt]
    print(*measured[:3], sep="\n")

# %% [markdown]
# `Verdict(state='VALID', …)` is what you want to see. If it is another, read the reasons, close more programs, and run
# again in a new folder.

# %% [markdown]
# ## What each model did
#
# Now the analysis, first as functions that are checked on small tables, then on your own list `measured`. Each row is one
# model and prompt: `{"model": "a", "category": "x", "prompt": "p1", "correct": True, "latency_s": 0.5}`.
#
# Write `totals(rows)`: a dictionary from each model to a dictionary with `"n"` (prompts), `"correct"` (how many are right),
# `"pass_rate"` (their share, 0 to 1) and `"seconds_per_correct"` (the latency of all replies / right ones; `float("inf")`
# where none is right). For the one row above: `{"a": {"n": 1, "correct": 1, "pass_rate": 1.0, "seconds_per_correct": 0.5}}`.

# %% nbgrader={"grade": false, "grade_id": "totals", "locked": false, "schema_version": 3, "solution": true, "task": false}
def totals(rows):
    """For each model: prompts, right answers, pass rate and seconds per correct answer."""
    ### BEGIN SOLUTION
    found, never = {}, float("inf")
    for model in {row["model"] for row in rows}:
        mine = [row for row in rows if row["model"] == model]
        correct = sum(row["correct"] for row in mine)
        seconds = sum(row["latency_s"] for row in mine)
        found[model] = {
            "n": len(mine),
            "correct": correct,
            "pass_rate": correct / len(mine),
            "seconds_per_correct": seconds / correct if correct else never,
        }
    return found
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_totals", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
replies = [("big", "p1", True, 0.5), ("tiny", "p1", True, 0.25), ("big", "p2", True, 1.0),
           ("tiny", "p2", False, 0.5), ("big", "p3", False, 1.5), ("tiny", "p3", False, 0.25)]
rows = [{"model": m, "category": "x", "prompt": p, "correct": c, "latency_s": s} for m, p, c, s in replies]
found = called("totals", rows)
found.satisfies(lambda v: set(v) == {"big", "tiny"}, "one entry for each model",
                hint='row["model"] says which')
found.satisfies(lambda v: [v["big"]["n"], v["tiny"]["n"]] == [3, 3], "n = 3 prompts for each model",
                hint="n counts this model's rows, right and wrong ones")
found.satisfies(lambda v: [v["big"]["correct"], v["tiny"]["correct"]] == [2, 1], "2 and 1 correct",
                hint="True counts as 1 in a sum")
found.satisfies(lambda v: abs(v["big"]["pass_rate"] - 2 / 3) + abs(v["tiny"]["pass_rate"] - 1 / 3) < 1e-9,
                "pass rates of 2/3 and 1/3",
                hint="a share from 0 to 1, not in %; only this model's rows count")
found.satisfies(lambda v: v["tiny"]["seconds_per_correct"] == 1.0, "1.0 s per correct answer for tiny",
                because="0.25 + 0.5 + 0.25 s for one right answer",
                hint="the time of wrong replies counts, too")
found.satisfies(lambda v: v["big"]["seconds_per_correct"] == 1.5, "1.5 s per correct answer for big",
                because="3 s for two right answers", hint="divide by the right answers, not by the prompts")
called("totals", rows[5:]).satisfies(
    lambda v: v["tiny"]["seconds_per_correct"] == float("inf"), 'float("inf") s per correct answer',
    because="nothing was right", hint="look before you divide by 0; 0 s would be the best of all")
### BEGIN HIDDEN TESTS
called("totals", rows[:1]).gives(
    {"big": {"n": 1, "correct": 1, "pass_rate": 1.0, "seconds_per_correct": 0.5}},
    because="one prompt, one model")
called("totals", rows[3:4]).gives(
    {"tiny": {"n": 1, "correct": 0, "pass_rate": 0.0, "seconds_per_correct": float("inf")}},
    because="one wrong reply")
### END HIDDEN TESTS
passed("totals")

# %% [markdown]
# ## Prompt by prompt
#
# Both models answered the same prompts, so compare them prompt by prompt. Where both are right, or both wrong, the prompt
# does not say who is better; what counts is how often only *one* of them is right.
#
# Write `head_to_head(rows, a, b)`: a dictionary with four counts of prompts, `"both"`, `"only_a"`, `"only_b"` and `"neither"`.
# A prompt that one of the two has no row for is left out. If `a` is right on `p1` and `p2` and `b` on `p2` only, it returns
# `{"both": 1, "only_a": 1, "only_b": 0, "neither": 0}`.

# %% nbgrader={"grade": false, "grade_id": "head_to_head", "locked": false, "schema_version": 3, "solution": true, "task": false}
def head_to_head(rows, a, b):
    """On how many prompts both, only a, only b, and neither of two models are right."""
    ### BEGIN SOLUTION
    right = {(row["model"], row["prompt"]): row["correct"] for row in rows}
    pairs = [(right[a, prompt], right[b, prompt])
             for model, prompt in right if model == a and (b, prompt) in right]
    return {
        "both": pairs.count((True, True)),
        "only_a": pairs.count((True, False)),
        "only_b": pairs.count((False, True)),
        "neither": pairs.count((False, False)),
    }
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_head_to_head", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
replies = [("q", "p4", True), ("p", "p1", True), ("p", "p2", True), ("q", "p1", True), ("p", "p3", False),
           ("q", "p3", False), ("q", "p2", False), ("p", "p4", False), ("q", "p5", True), ("p", "p6", True),
           ("r", "p3", True), ("p", "p7", True), ("q", "p7", False)]
rows = [{"model": m, "category": "x", "prompt": p, "correct": c, "latency_s": 1.0} for m, p, c in replies]
called("head_to_head", rows, "p", "q").gives(
    {"both": 1, "only_a": 2, "only_b": 1, "neither": 1},
    because="both: p1; only p: p2 and p7; only q: p4; neither: p3; p5 and p6 were asked of one model only",
    hints=[({"both": 1, "only_a": 3, "only_b": 2, "neither": 1},
            "a prompt that one of them has no row for is left out: nobody knows what it would have said"),
           ({"both": 1, "only_a": 1, "only_b": 2, "neither": 1}, "only_a: the first of the two is right"),
           ({"both": 4, "only_a": 2, "only_b": 1, "neither": 0}, "compare on each prompt, not the totals"),
           ({"both": 2, "only_a": 2, "only_b": 1, "neither": 2}, "each prompt counts once, not once a model"),
           ({"both": 1, "only_a": 4, "only_b": 3, "neither": 1}, "only_a: b is wrong on that prompt")],
    hint="find for each prompt what both models did: their rows are not side by side")
called("head_to_head", rows, "q", "p").gives(
    {"both": 1, "only_a": 1, "only_b": 2, "neither": 1}, because="now q is the first of the two")
### BEGIN HIDDEN TESTS
called("head_to_head", rows, "p", "r").gives(
    {"both": 0, "only_a": 0, "only_b": 1, "neither": 0}, because="p3 is the only prompt that both were asked")
called("head_to_head", rows[:1], "p", "q").gives(
    {"both": 0, "only_a": 0, "only_b": 0, "neither": 0}, because="p has no row at all")
### END HIDDEN TESTS
passed("head_to_head")

# %% [markdown]
# ## Your numbers
#
# Run the next cell, and copy what it prints into `my_results`: the exercise is graded without your computer, so your numbers
# must stand in it. There is one row for each model and category: `n` prompts, how many are `correct`, and the `seconds` of
# all replies together (of each prompt its median over the trials).

# %%
if measure:
    print("my_results = [")
    for model, category in dict.fromkeys((row["model"], row["category"]) for row in measured):
        mine = [row for row in measured if (row["model"], row["category"]) == (model, category)]
        n_correct, seconds = sum(r["correct"] for r in mine), sum(r["latency_s"] for r in mine)
        print("   ", {"model": model, "category": category, "n": len(mine), "correct": n_correct,
                      "seconds": round(seconds, 4)}, end=",\n")
    print("]")

# %% nbgrader={"grade": false, "grade_id": "my_results", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
A, B = "gguf:pocket-xs", "gguf:pocket-s"
my_results = [
    {"model": A, "category": "extraction", "n": 6, "correct": 3, "seconds": 0.0484},
    {"model": A, "category": "classification", "n": 6, "correct": 6, "seconds": 0.0219},
    {"model": A, "category": "summary", "n": 6, "correct": 2, "seconds": 0.0379},
    {"model": A, "category": "look it up", "n": 6, "correct": 4, "seconds": 0.0202},
    {"model": B, "category": "extraction", "n": 6, "correct": 4, "seconds": 0.0727},
    {"model": B, "category": "classification", "n": 6, "correct": 6, "seconds": 0.0293},
    {"model": B, "category": "summary", "n": 6, "correct": 5, "seconds": 0.0656},
    {"model": B, "category": "look it up", "n": 6, "correct": 6, "seconds": 0.0286},
]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_my_results", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
prompts = stated("my_prompts").value
given = stated("my_results")
rows = given.satisfies(
    lambda v: len(v) == 8 and all(set(row) == {"model", "category", "n", "correct", "seconds"} for row in v),
    "eight rows as they were printed", hint="two models × (three categories and your own)")


def claim(right, expected, hint=""):
    given.satisfies(lambda _: right, expected, hint=hint)


sizes = {"extraction": 6, "classification": 6, "summary": 6, prompts[0]["category"]: len(prompts)}
pairs = {(model, category) for model in ("gguf:pocket-xs", "gguf:pocket-s") for category in sizes}
claim({(row["model"], row["category"]) for row in rows} == pairs,
      "each model with each of the four categories once", f"the categories are {', '.join(sizes)}")
for row in rows:
    where = f"{row['model']}, {row['category']}"
    claim(row["n"] == sizes[row["category"]], f"n = {sizes[row['category']]} for {where}",
          "n counts prompts, not replies: trials do not make it larger")
    claim(row["correct"] in range(row["n"] + 1), f"correct from 0 to n for {where}")
    claim(0 < row["seconds"] < float("inf"), f"seconds above 0 for {where}")
passed("my_results")

# %% [markdown]
# ## What the numbers allow
#
# Run the next cell. Its first table has the 95 % intervals: of the pass rate, A minus B, and of decode speed, A divided by
# B. The second has the pass rates by category: look how wide their intervals are. Six prompts are few.

# %%
if measure:
    compared = tables.compare(results, "gguf:pocket-xs", "gguf:pocket-s").set_index("metric")
    print(compared.loc[["pass_rate", "decode_tokens_per_s"], ["low", "high", "n", "verdict"]].round(3))
    print(tables.pass_rates(results, by=["category"]).round(2))

# %% [markdown]
# `my_conclusion` is a dictionary of your findings; it must follow from what you measured:
#
# - `"pass_rate_interval"`, `"decode_interval"`: the pairs (low, high) from the table above, A = `gguf:pocket-xs`,
# - `"more_right"`, `"faster"`: the name of the model, or `"not distinguishable"`, as these intervals alone say (if the column
#   `verdict` forbids a winner, say so in the memo),
# - `"cheaper"`: the model with fewer seconds per correct answer in `my_results`, all categories together,
# - `"weakest"`: a dictionary from each model to the category in which its pass rate is lowest (of several, any one).
#
# Write the numbers themselves, such as `"decode_interval": (0.9, 1.2)`: it is graded without your run.

# %% nbgrader={"grade": false, "grade_id": "my_conclusion", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
my_conclusion = {
    "pass_rate_interval": (-0.435, -0.026),
    "decode_interval": (1.351, 1.917),
    "more_right": "gguf:pocket-s",
    "faster": "gguf:pocket-xs",
    "cheaper": "gguf:pocket-xs",
    "weakest": {"gguf:pocket-xs": "summary", "gguf:pocket-s": "extraction"},
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_my_conclusion", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
A, B = "gguf:pocket-xs", "gguf:pocket-s"
rows = stated("my_results").satisfies(
    lambda v: {row["model"] for row in v} == {A, B} and all(row["n"] > 0 for row in v),
    "rows that pass their own check above first")
drawn = stated("my_conclusion")
names = ["pass_rate_interval", "decode_interval", "more_right", "faster", "cheaper", "weakest"]
found = drawn.satisfies(lambda v: set(v) == set(names), f"the keys {', '.join(names)}")


def claim(right, expected, hint="", because=""):
    drawn.satisfies(lambda _: right, expected, because, hint)


def total(model, name):
    return sum(row[name] for row in rows if row["model"] == model)


def cost(model):
    return total(model, "seconds") / total(model, "correct") if total(model, "correct") else float("inf")


for name in names[:2]:
    drawn.satisfies(lambda v: v[name][0] + 0.0 <= v[name][1] + 0.0 and len(v[name]) == 2,  # noqa: B023
                    f"{name} as a pair of numbers (low, high)")
low, high = found["pass_rate_interval"]
seen = total(A, "correct") / total(A, "n") - total(B, "correct") / total(B, "n")
claim(-1 <= low <= high <= 1, "a pass_rate_interval of shares, from −1 to 1", "12 points are 0.12")
claim(low - 0.01 <= seen <= high + 0.01, "a pass_rate_interval around the difference that my_results shows",
      "it is A minus B, and A is gguf:pocket-xs", because=f"there it is {seen:.2f}")
claim(found["more_right"] == (A if low > 0 else B if high < 0 else "not distinguishable"),
      "more_right to be what pass_rate_interval allows",
      "where 0 is in the interval, the data allow either; below 0 the second model is ahead")
low, high = found["decode_interval"]
claim(low > 0, "a decode_interval of ratios", "A's tokens/s divided by B's: above 0")
claim(found["faster"] == (A if low > 1 else B if high < 1 else "not distinguishable"),
      "faster to be what decode_interval allows",
      "of speeds, a ratio above 1 speaks for A; where 1 is in the interval, for nobody")
claim(found["cheaper"] in (A, B) and cost(found["cheaper"]) == min(cost(A), cost(B)),
      "cheaper to be the model with fewer seconds per correct answer",
      "add up the seconds of all categories, then divide by all right answers",
      because=f"{cost(A):.4f} s for {A}, {cost(B):.4f} s for {B}")
for model in (A, B):
    rates = {row["category"]: row["correct"] / row["n"] for row in rows if row["model"] == model}
    drawn.satisfies(lambda v: set(v["weakest"]) == {A, B}, "weakest with both models")
    category = found["weakest"][model]
    claim(category in rates and rates[category] == min(rates.values()),
          f"weakest[{model!r}] to be a weakest category",
          "the pass rate counts, correct / n: your own category may have another n")
passed("my_conclusion")

# %% [markdown]
# ## The memo
#
# Somebody with a weak computer must decide by it, and will read nothing else. At most 250 words: which model you recommend
# for what, what that costs, when you would say otherwise. A person grades it, 10 points:
#
# | points | for |
# |---|---|
# | 2 | the recommendation, and for whom it holds, in the first two sentences |
# | 2 | the numbers that carry it, each with unit, n and interval, and "not distinguishable" where it is so |
# | 2 | the categories apart, your own among them, and what six prompts cannot show |
# | 2 | the trade-off: what one loses with this choice, and for which need the other model would be right |
# | 1 | what was not measured, or what your checks cannot see (quote one reply) |
# | 1 | at most 250 words, plain enough for a reader without this course |

# %% [markdown] nbgrader={"grade": true, "grade_id": "memo", "locked": false, "points": 10, "schema_version": 3, "solution": true, "task": false}
# Your memo, at most 250 words.
