# %% [markdown]
# # Exercise 4 · JSON checks
#
# **About 40 minutes.** You judge replies that should be JSON: is it JSON, is it nothing else, are the keys there, and
# are the values true? Each is a question of its own. It helps to have read [lesson 04](../04_output_quality.ipynb).
#
# **How it works.** Write your answer in place of `raise NotImplementedError()`, run that cell, then run the check
# below it. A check says `passed`, or shows one call, what came back, what was expected, and often a hint. Check as often
# as you like. No network and no model is needed.

# %%
import json
import re

from benchkit.exercises import called, passed

# %% [markdown]
# ## As strict as the standard
#
# `json.loads` forgives two things that other programs may not: it reads `NaN`, `Infinity` and `-Infinity`,
# which are no JSON, and of a key that appears twice in one object it silently drops the first. It lets you
# step in:

# %%
json.loads('{"a": [1, {"a": 2}], "b": 3}', object_pairs_hook=lambda pairs: print("pairs:", pairs))
json.loads('{"a": NaN}', parse_constant=lambda name: print("constant:", name))

# %% [markdown]
# `object_pairs_hook` is called for each object, the inner ones first. What it returns stands in the object's
# place. The same key in two *different* objects is fine, and so is a text that says "NaN".
#
# Write `parse_json`: it returns the value of a JSON text, and raises `ValueError` for all that is not JSON,
# for the three constants, and for a key that appears twice in one object. (`json.loads` raises a kind of
# `ValueError` too.)
#
# `parse_json('{"a": [1, null]}')` returns `{"a": [1, None]}`; `parse_json('{"a": NaN}')` raises `ValueError`.

# %% nbgrader={"grade": false, "grade_id": "parse_json", "locked": false, "schema_version": 3, "solution": true, "task": false}
def parse_json(text):
    """The value of a JSON text; ValueError for anything else."""
    ### BEGIN SOLUTION
    def make_object(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key appears twice")
        return dict(pairs)

    def refuse(name):
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, object_pairs_hook=make_object, parse_constant=refuse)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_parse_json", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("parse_json", '{"a": [1, null], "b": "x"}').gives(
    {"a": [1, None], "b": "x"}, because="it is JSON",
    hint="return what `json.loads` returns; a hook must return its object")
called("parse_json", '["NaN", {"a": 1}, {"a": 2}]').gives(
    ["NaN", {"a": 1}, {"a": 2}], because='"NaN" is a text here, and the two keys stand in two objects',
    hint="do not search the text: step in where `json.loads` lets you")
called("parse_json", '{"a": 1').raises(ValueError, because="a brace is missing",
    hint="let the ValueError of `json.loads` through")
called("parse_json", '{"a": NaN}').raises(ValueError, because="NaN is not JSON",
    hint="give `parse_constant` a function that raises")
called("parse_json", '{"a": 1, "a": 2}').raises(
    ValueError, because="the key a appears twice",
    hint="compare the number of pairs with the number of keys in `dict(pairs)`")
### BEGIN HIDDEN TESTS
called("parse_json", " 3.5 ").gives(3.5, because="a number alone is JSON too")
called("parse_json", "null").gives(None, because="null alone is JSON too")
called("parse_json", '{"a": {}, "A": 1, "ü": "東"}').gives({"a": {}, "A": 1, "ü": "東"},
    because="a and A are two keys")
called("parse_json", '[1, -Infinity]').raises(ValueError, because="-Infinity is not JSON")
called("parse_json", '{"x": [{"a": 1, "b": 0, "a": 1}]}').raises(ValueError,
    because="the key a appears twice in the inner object")
called("parse_json", "").raises(ValueError, because="nothing is not JSON")
called("parse_json", "{'a': 1}").raises(ValueError, because="JSON has double quotes only")
### END HIDDEN TESTS
passed("parse_json")

# %% [markdown]
# ## Where is it?
#
# Models like to wrap JSON: in a greeting, or in a code fence, which is a line that begins with three
# backticks, the JSON, and three backticks again. Here is such a reply, and a pattern that finds what stands
# in its first fence.

# %%
fenced = 'Sure!\n```json\n{"name": "Sam"}\n```\nAnything else?'
re.search(r"```[^\n]*\n(.*?)```", fenced, re.DOTALL)[1]

# %% [markdown]
# Write `find_json`: it returns a pair of *where* and the value. Try these in this order, with your
# `parse_json`:
#
# | where | what must be JSON |
# |---|---|
# | `"whole"` | the whole reply; blanks and line ends around it do not matter |
# | `"fenced"` | what stands in the first code fence |
# | `"embedded"` | all from the first `{` to the last `}` |
# | `"nowhere"` | nothing was JSON; the value is `None` |
#
# `find_json('Sure: {"a": 1}.')` returns `("embedded", {"a": 1})`. Beware: `null` is JSON, and its value is
# `None`, too.

# %% nbgrader={"grade": false, "grade_id": "find_json", "locked": false, "schema_version": 3, "solution": true, "task": false}
def find_json(reply):
    """Where the JSON of a reply is, and its value."""
    ### BEGIN SOLUTION
    fence = re.search(r"```[^\n]*\n(.*?)```", reply, re.DOTALL)
    embedded = reply[reply.find("{") : reply.rfind("}") + 1]
    for where, text in [("whole", reply), ("fenced", fence[1] if fence else ""), ("embedded", embedded)]:
        try:
            return where, parse_json(text)
        except ValueError:
            pass
    return "nowhere", None
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_find_json", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
called("parse_json", '{"a": 1}').gives({"a": 1})
called("find_json", '\n {"a": 1} \n').gives(("whole", {"a": 1}),
    because="only blanks and line ends stand around it")
called("find_json", 'Sure!\n```json\n{"a": 1}\n```\nAnything else?').gives(
    ("fenced", {"a": 1}), because="the fence holds JSON",
    hints=[(("embedded", {"a": 1}), "try the fence before the braces")])
called("find_json", 'Sure: {"a": {"b": 2}}.').gives(
    ("embedded", {"a": {"b": 2}}), because="it goes from the first { to the last }",
    hints=[(("nowhere", None), "the last } belongs to the JSON; a slice stops *before* its second number")])
called("find_json", "I am sorry.").gives(("nowhere", None), because="there is no JSON in it")
called("find_json", "null").gives(("whole", None), because="null is JSON, and None is its value",
    hints=[(("nowhere", None), "`None` cannot say that nothing was found: use the ValueError")])
### BEGIN HIDDEN TESTS
called("find_json", "[1, 2]").gives(("whole", [1, 2]), because="a list is JSON too")
called("find_json", "```\n[1, 2]\n```").gives(("fenced", [1, 2]), because="a fence need not name a language")
called("find_json", "```\n{\"a\": 1,}\n```").gives(("nowhere", None),
    because="a comma too many, in the fence and out of it")
called("find_json", '```python\nx = 1\n```\n{"a": 1}').gives(("embedded", {"a": 1}),
    because="the fence holds no JSON")
called("find_json", '```\n[1]\n```\nor\n```\n[2]\n```').gives(("fenced", [1]),
    because="the first fence counts")
called("find_json", 'See [1, 2].').gives(("nowhere", None),
    because="only an object is looked for within a text")
called("find_json", "").gives(("nowhere", None), because="the reply is empty")
called("find_json", 'a } b').gives(("nowhere", None), because="there is no opening brace")
called("find_json", '{"a": 1} or {"a": 2}').gives(("nowhere", None),
    because="from the first { to the last } it is not JSON")
called("find_json", '{"ä": "東 }"} ok').gives(("embedded", {"ä": "東 }"}),
    because="a brace may stand in a text")
### END HIDDEN TESTS
passed("find_json")

# %% [markdown]
# ## Two questions about form
#
# `valid_json` asks: does the reply hold JSON that a program can cut out? So it is true for whole, fenced and
# embedded JSON. `no_extra_text` asks: can a program read the reply as it is? Only whole JSON passes. Both
# return `True` or `False`, and whoever compares models must say which of the two was asked.
#
# `valid_json('Sure: {"a": 1}')` returns `True`, `no_extra_text('Sure: {"a": 1}')` returns `False`.

# %% nbgrader={"grade": false, "grade_id": "valid_json", "locked": false, "schema_version": 3, "solution": true, "task": false}
def valid_json(reply):
    """Whether JSON can be cut out of the reply."""
    ### BEGIN SOLUTION
    return find_json(reply)[0] != "nowhere"
    ### END SOLUTION


def no_extra_text(reply):
    """Whether the reply is JSON and nothing else."""
    ### BEGIN SOLUTION
    return find_json(reply)[0] == "whole"
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_valid_json", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("find_json", '{"a": 1}').gives(("whole", {"a": 1}))
called("valid_json", '{"a": 1}').gives(True, because="it is JSON")
called("no_extra_text", '{"a": 1}').gives(True, because="it is JSON and nothing else")
called("valid_json", 'Sure: {"a": 1}').gives(True, because="a program can cut it out",
    hint="look at the *where* of `find_json`")
called("no_extra_text", 'Sure: {"a": 1}').gives(False, because='"Sure:" is extra text')
called("no_extra_text", '```json\n{"a": 1}\n```').gives(False,
    because="a program that reads the reply as it is stumbles on the fence")
called("valid_json", "null").gives(True, because="null is JSON",
    hint="look at the *where* of `find_json`, not at the value")
called("valid_json", "I am sorry.").gives(False, because="it holds no JSON")
### BEGIN HIDDEN TESTS
called("valid_json", '```json\n{"a": 1}\n```').gives(True, because="a program can cut it out of the fence")
called("valid_json", "").gives(False, because="the reply is empty")
called("no_extra_text", "").gives(False, because="the reply is empty")
called("no_extra_text", "0").gives(True, because="a number is JSON")
called("no_extra_text", "I am sorry.").gives(False, because="it is no JSON at all")
### END HIDDEN TESTS
passed("valid_json")

# %% [markdown]
# ## Are the keys there?
#
# `has_required_keys` is true if the reply holds a JSON **object** (whole, fenced or embedded) with all of the
# `required` keys; more keys are allowed, and a value may be `null`. It must not crash, whatever the model
# wrote: a list, a text and a number are valid JSON as well, and have no keys.
#
# `has_required_keys('{"name": "Sam"}', ["name", "email"])` returns `False`.

# %% nbgrader={"grade": false, "grade_id": "has_required_keys", "locked": false, "schema_version": 3, "solution": true, "task": false}
def has_required_keys(reply, required):
    """Whether the reply's JSON object has all of these keys."""
    ### BEGIN SOLUTION
    value = find_json(reply)[1]
    return isinstance(value, dict) and all(key in value for key in required)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_has_required_keys", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
called("find_json", '{"a": 1}').gives(("whole", {"a": 1}))
called("has_required_keys", '{"name": "Sam", "email": "sam@example.com"}', ["name", "email"]).gives(True,
    because="both are there")
called("has_required_keys", '{"name": "Sam"}', ["name", "email"]).gives(False, because="email is missing",
    hints=[(True, "all of the keys are required, not any")])
called("has_required_keys", '{"email": null, "age": 34, "name": "Sam"}', ["name", "email"]).gives(
    True, because="the key email is there, and more keys are allowed",
    hint="ask for the key, not for its value, in any order")
called("has_required_keys", '["name", "email"]', ["name", "email"]).gives(
    False, because="a list has items, not keys", hint="ask first: `isinstance(value, dict)`")
called("has_required_keys", "12", ["name"]).gives(False, because="a number has no keys",
    hint="ask first: `isinstance(value, dict)`")
called("has_required_keys", 'Sure: {"name": "Sam"}', ["name"]).gives(True,
    because="`find_json` finds the embedded object")
### BEGIN HIDDEN TESTS
called("has_required_keys", "no idea", ["name"]).gives(False, because="it holds no JSON")
called("has_required_keys", "[]", []).gives(False, because="a list is no object")
called("has_required_keys", "{}", []).gives(True, because="no key is required")
called("has_required_keys", '"name"', ["name"]).gives(False, because="a text has no keys")
called("has_required_keys", '{"Name": "Sam"}', ["name"]).gives(False, because="Name and name are two keys")
called("has_required_keys", '{"a": {"name": "Sam"}}', ["name"]).gives(False,
    because="the key belongs to an inner object")
called("has_required_keys", '{"b": 1}', ["a", "b"]).gives(False, because="a is missing")
### END HIDDEN TESTS
passed("has_required_keys")

# %% [markdown]
# ## Valid is not true
#
# No question of form sees a well-formed lie. So look for every value in the source that it should come from.
# To *occur* in a source, a value must not be a part of a longer word there: "Sam" does not occur in "Samuel".
# The pattern for that says "no letter, digit or underscore before, none after":

# %%
for text in ("Name: Sam, aged 30", "Name: Samuel"):
    print(text, "→", re.search(r"(?<!\w)Sam(?!\w)", text))

# %% [markdown]
# Write `invented`: from a dictionary of values and a source it returns the list of those *keys*, in their
# order, whose text does not occur in the source. Upper and lower case count as the same, and blanks at both
# ends of a value do not matter. Values that are no text (a number, `None`) are not looked at, and neither is
# a text with nothing in it but blanks. `re.escape(text)` makes a pattern that means the text itself, or else
# `.` would stand for any character.
#
# `invented({"name": "sam", "city": "Rome", "age": None}, "Name: Sam")` returns `["city"]`.

# %% nbgrader={"grade": false, "grade_id": "invented", "locked": false, "schema_version": 3, "solution": true, "task": false}
def invented(values, source):
    """The keys whose text does not occur in the source."""
    ### BEGIN SOLUTION
    found = []
    for key, value in values.items():
        if isinstance(value, str) and value.strip():
            pattern = rf"(?<!\w){re.escape(value.strip())}(?!\w)"
            if not re.search(pattern, source, re.IGNORECASE):
                found.append(key)
    return found
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "check_invented", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
source = "Name: Samuel Lee, mail: lee.s@example.com, knows C++"
called("invented", {"name": "Samuel Lee", "email": "sam@gmail.com"}, source).gives(
    ["email"], because="that address does not occur in the source",
    hints=[(["name"], "you return the keys that do stand in the source"),
           (["sam@gmail.com"], "return the keys, not the values")])
called("invented", {"name": " samuel lee "}, source).gives([],
    because="case and blanks around a value do not matter")
called("invented", {"name": "Sam"}, source).gives(["name"], because="Samuel is another word",
    hints=[([], "`in` finds parts of words too: use the pattern")])
called("invented", {"email": "lee.s@example.com"}, "mail: lee_s@example.com").gives(
    ["email"], because="a point is not an underscore",
    hints=[([], "use `re.escape`: in a pattern, . is any character")])
called("invented", {"email": "lee.s@example.com", "skill": "C++"}, source).gives(
    [], because="both stand in the source",
    hint="use `re.escape`, for + and . mean something in a pattern; and `(?!\\w)`, not `\\b`")
called("invented", {"age": None, "n": 3, "city": " "}, source).gives(
    [], because="none of these values is a text that says something",
    hint="leave aside what is no text, and text of blanks only")
### BEGIN HIDDEN TESTS
values = {"a": "example.org", "b": "mail", "c": "lee.t@example.com"}
called("invented", values, "mail to leeat@example.com").gives(
    ["a", "c"], because="in the order of the keys")
called("invented", {"a": "amuel", "b": "MAIL"}, source).gives(["a"],
    because="amuel is only the end of a word")
called("invented", {"a": "N/A", "b": "", "c": ["x"], "d": "東京"}, "Ort: 東京").gives(["a"],
    because="N/A does not occur there")
called("invented", {"a": " ", "b": ""}, "Sam").gives([], because="neither says anything")
called("invented", {}, "").gives([], because="there are no values")
called("invented", {"a": "x"}, "").gives(["a"], because="the source is empty")
called("invented", {"a": "50% (net)"}, "about 50% (net) of it").gives([],
    because="it stands there, word for word")
### END HIDDEN TESTS
passed("invented")

# %% [markdown]
# ## Which model would you take?
#
# Two models, five replies each to "Extract JSON with keys {name, email}". Run this and read the rows:
# which of them is better depends on the question. So a report must say what was asked.

# %%
source = "Name: Sam, Email: sam@example.com"
good = '{"name": "Sam", "email": "sam@example.com"}'
replies = {"polite": [f"Sure! {good}", f"```json\n{good}\n```", good, good, f"Here: {good}"],
           "terse": [good, good, '{"name": "Sam"}', '{"name": "Sam",}', '{"name": "Sam", "email": "s@mail.com"}']}
try:
    for model, texts in replies.items():
        n_keys = sum(has_required_keys(text, ["name", "email"]) for text in texts)
        n_true = sum(valid_json(text) and not invented(find_json(text)[1], source) for text in texts)
        print(f"{model:7s} of {len(texts)}: valid {sum(map(valid_json, texts))}, nothing else "
              f"{sum(map(no_extra_text, texts))}, keys {n_keys}, nothing invented {n_true}")
except NotImplementedError:
    print("First write the five answers, then run this cell again.")
