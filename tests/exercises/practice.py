"""For the tests of the practice: other right answers, mistakes with their hints, harmless changes."""

_CHECKS = '[{"check": "number", "value": %d, "which": "only"}]'
_SUMS = "\n".join(
    f'    {{"id": "add_{a}_{b}", "category": "counting", "prompt": "How many are {a} and {b}?", '
    f'"checks": {_CHECKS % (a + b)}}},'
    for a, b in ((1, 1), (2, 3), (4, 5), (7, 8), (12, 9), (20, 31))
)

OTHER_SOLUTIONS = {
    "pick": [
        """
import json

def pick(lines, categories):
    found = []
    for line in lines:
        row = json.loads(line)
        if row.get("category") in categories:
            found.append(row)
    return found
""",
    ],
    "my_prompts": [f"my_prompts = [\n{_SUMS}\n]"],
    "prompt_file": [
        """
def prompt_file(name, prompts):
    lines = [json.dumps({"set": name, "version": 1})]
    for prompt in prompts:
        lines.append(json.dumps(prompt, ensure_ascii=False))
    return "\\n".join(lines)
""",
    ],
    "my_plan": [
        "my_plan = dict(models='gguf:pocket-s,gguf:pocket-xs', trials='auto', max_tokens=128, "
        "temperature=0.0, speed={'n_prompt': 32, 'n_output': 64, 'repeats': 12}, seed=7)",
    ],
    "totals": [
        """
import pandas as pd

def totals(rows):
    found = {}
    for model, mine in pd.DataFrame(rows).groupby("model"):
        n, correct = len(mine), int(mine["correct"].sum())
        cost = mine["latency_s"].sum() / correct if correct > 0 else float("inf")
        found[model] = dict(n=n, correct=correct, pass_rate=mine["correct"].mean(), seconds_per_correct=cost)
    return found
""",
        """
def totals(rows):
    found = {}
    for row in rows:
        one = found.setdefault(row["model"], {"n": 0, "correct": 0, "seconds": 0.0})
        one["n"] += 1
        one["correct"] += int(row["correct"])
        one["seconds"] += row["latency_s"]
    for one in found.values():
        one["pass_rate"] = one["correct"] / one["n"]
        seconds = one.pop("seconds")
        one["seconds_per_correct"] = seconds / one["correct"] if one["correct"] else float("inf")
    return found
""",
    ],
    "head_to_head": [
        """
def head_to_head(rows, a, b):
    first = {row["prompt"]: row["correct"] for row in rows if row["model"] == a}
    second = {row["prompt"]: row["correct"] for row in rows if row["model"] == b}
    shared = first.keys() & second.keys()
    return {
        "both": sum(first[p] and second[p] for p in shared),
        "only_a": sum(first[p] and not second[p] for p in shared),
        "only_b": sum(second[p] and not first[p] for p in shared),
        "neither": sum(not first[p] and not second[p] for p in shared),
    }
""",
        """
import pandas as pd

def head_to_head(rows, a, b):
    table = pd.DataFrame(rows).pivot(index="prompt", columns="model", values="correct")
    table = table.reindex(columns=[a, b]).dropna().astype(bool)
    x, y = table[a], table[b]
    return {"both": int((x & y).sum()), "only_a": int((x & ~y).sum()), "only_b": int((~x & y).sum()),
            "neither": int((~x & ~y).sum())}
""",
    ],
}

MISCONCEPTIONS = [
    (
        "pick",
        """
import json
def pick(lines, c): return [r for r in map(json.loads, lines) if r['category'] in c]
""",
        "leave it out",
    ),
    (
        "pick",
        """
import json
def pick(lines, c): return [x for x in lines[1:] if json.loads(x)['category'] in c]
""",
        "not lines of text",
    ),
    (
        "pick",
        """
import json
def pick(lines, c): return [r for k in c for r in map(json.loads, lines[1:]) if r['category'] == k]
""",
        "keep the order of the file",
    ),
    (
        "my_prompts",
        "my_prompts = [{'id': f'p{i}', 'category': 'mine', 'prompt': f'What is {i}?', 'checks': []} for "
        "i in range(6)]",
        "nobody can say whether a reply was right",
    ),
    (
        "my_prompts",
        "my_prompts = [{'id': f'p{i}', 'category': 'mine', 'prompt': f'What is {i}?', 'checks': "
        "[{'check': 'contains', 'text': 'x'}]} for i in range(6)]",
        'there is no check "contains"',
    ),
    (
        "my_prompts",
        "my_prompts = [{'id': f'p{i}', 'category': 'summary', 'prompt': f'What is {i}?', 'checks': "
        "[{'check': 'number', 'value': i}]} for i in range(6)]",
        "the set has: extraction",
    ),
    (
        "my_prompts",
        "my_prompts = [{'id': f'p{i}', 'category': 'mine', 'prompt': 'What is 2?', 'checks': [{'check': "
        "'number', 'value': 2}]} for i in range(6)]",
        "trials repeat, prompts differ",
    ),
    (
        "my_replies",
        "my_replies = {p['id']: ('Lima', 'Tomas') for p in my_prompts}",
        "which of the two is at fault",
    ),
    (
        "my_replies",
        "my_replies = {'city_first': ('Lima', 'Lima is it'), 'name_last': ('Tomas', 'Lima'), 'email': "
        "('ruth@lake.net', 'x'), 'age': ('41', '14'), 'city_in_text': ('Tunis', 'x'), 'job_in_text': "
        "('driver', 'x')}",
        "the checks are too weak",
    ),
    (
        "prompt_file",
        "def prompt_file(name, prompts): return '\\n'.join(map(str, [{'set': name, 'version': 1}, "
        "*prompts]))",
        "double quotes",
    ),
    (
        "prompt_file",
        "def prompt_file(name, prompts): return json.dumps([{'set': name, 'version': 1}, *prompts], "
        "indent=1)",
        "without indent",
    ),
    ("prompt_file", "def prompt_file(name, prompts): open(name + '.jsonl', 'w')", "return the text"),
    (
        "my_plan",
        "my_plan = {'models': ['gguf:pocket-xs', 'gguf:pocket-s'], 'trials': 1, 'max_tokens': 96, "
        "'speed': True}",
        "whether it was a slow moment",
    ),
    (
        "my_plan",
        "my_plan = {'models': ['gguf:pocket-xs', 'gguf:pocket-s'], 'trials': 3, 'max_tokens': 96}",
        "cannot say who decodes faster",
    ),
    (
        "my_plan",
        "my_plan = {'models': ['gguf:pocket-xs', 'gguf:pocket-s'], 'trails': 3, 'max_tokens': 96, "
        "'speed': True}",
        "trails is not a setting of a plan",
    ),
    (
        "totals",
        "def totals(rows):\n"
        "    f = {}\n"
        "    for m in {r['model'] for r in rows}:\n"
        "        x = [r for r in rows if r['model'] == m]\n"
        "        c = sum(r['correct'] for r in x)\n"
        "        s = sum(r['latency_s'] for r in x if r['correct'])\n"
        "        f[m] = dict(n=len(x), correct=c, pass_rate=c / len(x), seconds_per_correct=s / "
        "c if c else float('inf'))\n"
        "    return f",
        "the time of wrong replies counts, too",
    ),
    (
        "totals",
        "def totals(rows):\n"
        "    f = {}\n"
        "    for m in {r['model'] for r in rows}:\n"
        "        x = [r for r in rows if r['model'] == m]\n"
        "        c = sum(r['correct'] for r in x)\n"
        "        s = sum(r['latency_s'] for r in x)\n"
        "        f[m] = dict(n=len(x), correct=c, pass_rate=c / len(rows), seconds_per_correct=s "
        "/ c if c else float('inf'))\n"
        "    return f",
        "only this model's rows count",
    ),
    (
        "head_to_head",
        """
def head_to_head(rows, a, b):
    x = {r['prompt'] for r in rows if r['model'] == a and r['correct']}
    y = {r['prompt'] for r in rows if r['model'] == b and r['correct']}
    n = {r['prompt'] for r in rows if r['model'] in (a, b)}
    return {'both': len(x & y), 'only_a': len(x - y), 'only_b': len(y - x), 'neither': len(n - x - y)}
""",
        "is left out",
    ),
    (
        "head_to_head",
        """
def head_to_head(rows, a, b):
    x = sum(r['correct'] for r in rows if r['model'] == a)
    y = sum(r['correct'] for r in rows if r['model'] == b)
    return {'both': min(x, y), 'only_a': max(0, x - y), 'only_b': max(0, y - x), 'neither': 0}
""",
        "find for each prompt what both models did",
    ),
    (
        "my_results",
        "my_results = [{'model': m, 'category': c, 'n': 12, 'correct': 6, 'seconds': 0.1} for m in "
        "('gguf:pocket-xs', 'gguf:pocket-s') for c in ('extraction', 'classification', 'summary', 'look "
        "it up')]",
        "n counts prompts, not replies",
    ),
    (
        "my_results",
        "my_results = [{'model': m, 'category': c, 'n': 6, 'correct': 6, 'seconds': 0.1} for m in "
        "('gguf:pocket-xs', 'gguf:pocket-s') for c in ('extraction', 'classification', 'summary')]",
        "your own",
    ),
    (
        "my_conclusion",
        "my_conclusion = {'pass_rate_interval': (0.026, 0.435), 'decode_interval': (1.351, 1.917), "
        "'more_right': 'gguf:pocket-s', 'faster': 'gguf:pocket-xs', 'cheaper': 'gguf:pocket-xs', "
        "'weakest': {'gguf:pocket-xs': 'summary', 'gguf:pocket-s': 'extraction'}}",
        "it is A minus B",
    ),
    (
        "my_conclusion",
        "my_conclusion = {'pass_rate_interval': (-0.43, 0.02), 'decode_interval': (1.351, 1.917), "
        "'more_right': 'gguf:pocket-s', 'faster': 'gguf:pocket-xs', 'cheaper': 'gguf:pocket-xs', "
        "'weakest': {'gguf:pocket-xs': 'summary', 'gguf:pocket-s': 'extraction'}}",
        "the data allow either",
    ),
    (
        "my_conclusion",
        "my_conclusion = {'pass_rate_interval': (-0.435, -0.026), 'decode_interval': (1.351, 1.917), "
        "'more_right': 'gguf:pocket-s', 'faster': 'gguf:pocket-s', 'cheaper': 'gguf:pocket-xs', "
        "'weakest': {'gguf:pocket-xs': 'summary', 'gguf:pocket-s': 'extraction'}}",
        "a ratio above 1 speaks for A",
    ),
    (
        "my_conclusion",
        "my_conclusion = {'pass_rate_interval': (-0.435, -0.026), 'decode_interval': (1.351, 1.917), "
        "'more_right': 'gguf:pocket-s', 'faster': 'gguf:pocket-xs', 'cheaper': 'gguf:pocket-s', "
        "'weakest': {'gguf:pocket-xs': 'summary', 'gguf:pocket-s': 'extraction'}}",
        "then divide by all right answers",
    ),
]

EQUIVALENT_MUTANTS = {
    "totals": [
        "found, never = ({}, float('inf')) → found, never = ({}, float('INF')): float reads both as infinity",
    ],
}

#: Answers that hold the student's own words or numbers: a changed one that passes is another right answer.
OWN_CONTENT = {
    "my_prompts": "other names, questions, words to look for and limits are as right",
    "my_replies": "other replies are as right, if the checks pass one and fail the other",
    "my_plan": "more trials and longer replies are allowed",
    "my_conclusion": "another interval on the same side allows the same conclusion",
    "my_results": "another machine and other prompts give other counts and seconds",
}
