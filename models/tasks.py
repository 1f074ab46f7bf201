"""The tasks: each function makes one Item, a prompt with the answer that would be right."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

import lexicon as lex
from values import (
    VALUES,
    articles,
    city,
    domain,
    first_name,
    full_name,
    labelled,
    listed,
    made_up_word,
    pool,
    quoted,
    record,
    side,
    source,
    until,
    upper_first,
    with_a_slot,
)


@dataclass(frozen=True)
class Item:
    """One prompt with the answer that would be right, and how an answer is checked."""

    task: str
    prompt: str
    reply: str
    check: str = "exact"  # exact | json | number | facts | bullets | start | any
    facts: tuple[str, ...] = ()  # what a reply must contain (facts, any), begin with (start); topic and n (bullets)


# ---------------------------------------------------------------- reading a text

EXTRACT = ["Extract JSON with keys {{{k}}} from: {s}", "Extract JSON with keys {{{k}}} from: {s}",
           "Extract JSON with the keys {k} from: {s}", "Extract {l} as JSON: {s}", "Extract the {l} as JSON from: {s}",
           "Return a JSON object with the keys {l} for this text: {s}", "Give me the {l} as JSON. Text: {s}",
           "Turn this into JSON with keys {k}: {s}", "Read the text and extract {l} as JSON. {s}",
           "Find the {l} in the text and reply with JSON only: {s}", "JSON with keys {{{k}}}: {s}"]


def extraction(rng: random.Random, split: str, n_keys: int | None = None, missing: float = 0.15) -> Item:
    """JSON with exactly the keys asked for; a key the text does not give becomes null."""
    n_keys = n_keys or rng.choice([1, 2, 2, 2, 2, 3, 3, 4])
    n_fields = n_keys + rng.choice([0, 0, 0, 1, 1, 2])
    values = record(rng, split, n_fields, ["name"] if rng.random() < 0.7 or split == "eval" else None)
    if rng.random() < 0.1:  # a key never seen before
        values[made_up_word(rng, split)] = rng.choice(lex.WORDS)
        text = labelled(rng, values)
    else:
        text = source(rng, split, values)
    keys = rng.sample(list(values), n_keys)
    if n_keys > 1 and rng.random() < 0.5:
        keys = [k for k in values if k in keys]
    if rng.random() < missing:
        keys[rng.randrange(n_keys)] = rng.choice([k for k in VALUES if k not in values])
    prompt = rng.choice(EXTRACT).format(k=", ".join(keys), l=listed(rng, keys), s=quoted(rng, text))
    reply = json.dumps({k: values.get(k) for k in keys}, ensure_ascii=False)
    return Item("extraction", prompt, reply, "json")


ASK = ["What is the {f}? {s}", "What is the {f} in: {s}", "Which {f} is given in this text? {s}",
       "Text: {s}\nWhat is the {f}?", "Find the {f}: {s}", "Read the text and give the {f}. {s}",
       "Tell me the {f} in this text: {s}"]
UNKNOWABLE = ["What will the weather be in {c} on {d}?", "What did {N} eat yesterday?", "What number am I thinking of?",
              "Who will win the match in {c} on {d}?", "What is {N}'s password?", "Where did {N} put the keys?",
              "How much money is in {N}'s pocket?", "What is {N} thinking about?", "Which dream did {N} have on {d}?"]


def refusal(rng: random.Random, split: str) -> Item:
    """Answer from the text; say so when the text (or nobody) knows."""
    if rng.random() < 0.15:
        question = rng.choice(with_a_slot(UNKNOWABLE, split))
        slots = dict(c=city(rng, split), d=rng.choice(lex.DAYS), N=first_name(rng, split))
        return Item("refusal", question.format(**slots), "I cannot know that.")
    n_fields = rng.randint(1, 4)
    values = record(rng, split, n_fields, ["name"] if rng.random() < 0.8 or split == "eval" else None)
    text = source(rng, split, values)
    if rng.random() < 0.5:
        field = rng.choice([f for f in VALUES if f not in values])
        reply = f"No {field} is given."
    else:
        field = rng.choice(list(values))
        reply = str(values[field])
    return Item("refusal", rng.choice(ASK).format(f=field, s=quoted(rng, text)), reply)


# ---------------------------------------------------------------- summaries

SUMMARIZE = ["Summarize: {}", "Summarize: {}", "Summarize in one sentence: {}", "Summarise: {}", "Shorten this: {}",
             "Give a short summary of this text: {}", "Summarize the following text.\n{}", "What is the main point? {}",
             "Write a one-sentence summary: {}"]
WITH_WHAT = ["with the help of friends", "for the first time", "in front of a large crowd", "without any help"]


def subject(rng: random.Random, split: str) -> tuple[str, str]:
    """A made-up subject with and without its adjective: ('Large city models', 'City models')."""
    def make() -> str:
        first = rng.choice(lex.SUBJECT_FIRST if rng.random() < 0.85 else [made_up_word(rng, split)])
        return f"{first} {rng.choice(lex.SUBJECT_SECOND)}"
    core = until(split, make)
    full = f"{rng.choice(lex.SUBJECT_ADJECTIVES)} {core}" if rng.random() < 0.6 else core.capitalize()
    return full, core.capitalize()


def summary(rng: random.Random, split: str) -> Item:
    """One shorter sentence: who or what, and the claims; adjectives, asides, reasons and chatter go."""
    text, reply, facts = claims_to_summarise(rng, split)
    return Item("summary", rng.choice(SUMMARIZE).format(text), reply, "facts", facts)


def claims_to_summarise(rng: random.Random, split: str) -> tuple[str, str, tuple[str, ...]]:
    """A text about things and what they are and do, its summary, and the key facts."""
    full, short = subject(rng, split)
    q1, _ = rng.sample(lex.QUALITIES, 2)
    how, need = rng.choice(lex.NEED_MODIFIERS), rng.choice(lex.NEED_NOUNS)
    v1, v2 = rng.sample(lex.CLAIM_VERBS, 2)
    o1, o2, o3 = rng.sample(lex.CLAIM_OBJECTS, 3)
    aside, reason = rng.choice(lex.ASIDES), rng.choice(lex.REASONS)
    kind = rng.randrange(8)
    if kind <= 1:
        adverb = rng.choice(["", "", "very ", "often ", "really "])
        text = f"{full} are {adverb}{q1} but {rng.choice(['require', 'need', 'demand'])} {how} {need}."
        reply, facts = f"{short} are {q1} but need {how} {need}.", (q1, need)
    elif kind == 2:
        text = f"{full}, {aside}, {v1} {o1} {reason}."
        reply, facts = f"{short} {v1} {o1}.", (v1, o1)
    elif kind == 3:
        text = f"Although {full[0].lower() + full[1:]} are {q1}, they {v1} {o1} and need {how} {need}."
        reply, facts = f"{short} are {q1} but {v1} {o1} and need {need}.", (q1, o1, need)
    elif kind == 4:
        text = f"{full} {v1} {o1}, {v2} {o2} and save {o3} {reason}. {rng.choice(lex.CHATTER)}"
        reply, facts = f"{short} {v1} {o1}, {v2} {o2} and save {o3}.", (o1, o2, o3)
    elif kind == 5:
        text = f"{rng.choice(lex.CHATTER)} {full} {v1} {o1} {reason}. They are also {q1}, {aside}."
        reply, facts = f"{short} {v1} {o1} and are {q1}.", (o1, q1)
    else:
        return event_to_summarise(rng, split)
    return text, reply, (short.lower(), *facts)


def event_to_summarise(rng: random.Random, split: str) -> tuple[str, str, tuple[str, ...]]:
    """A text about who did what, its summary, and the key facts."""
    who, event, place = full_name(rng, split), rng.choice(lex.EVENTS), city(rng, split)
    day, month = f"On {rng.choice(lex.DAYS)}", f"In {rng.choice(lex.MONTHS)}"
    when = rng.choice([day, month, "Last week", "After a long wait"])
    job = rng.choice(pool(lex.JOBS, split))
    text = articles(f"{when}, {who}, a {job} from {place}, {event} {rng.choice(WITH_WHAT)}.")
    text += f" {rng.choice(lex.CHATTER)}" if rng.random() < 0.6 else ""
    return text, f"{who} from {place} {event}.", (who, place, event)


# ---------------------------------------------------------------- numbers

SUMS = {"+": ["What is {a} + {b}?", "{a} + {b} = ?", "Calculate {a} + {b}.", "{a} + {b}", "Add {a} and {b}.",
              "What is {a} plus {b}?", "Compute {a} + {b}."],
        "-": ["What is {a} - {b}?", "{a} - {b} = ?", "Calculate {a} - {b}.", "{a} - {b}", "Subtract {b} from {a}.",
              "What is {a} minus {b}?"],
        "×": ["What is {a} × {b}?", "{a} × {b} = ?", "Calculate {a} × {b}.", "{a} × {b}", "Multiply {a} by {b}.",
              "What is {a} times {b}?", "What is {a} * {b}?"]}
# Level -> (operations, digits of the two numbers)
LEVELS = {"sum of 1 or 2 digits": ("+-", [(1, 1), (2, 1), (2, 2)]), "sum of 3 digits": ("+-", [(3, 3), (3, 2)]),
          "product by 1 digit": ("×", [(1, 1), (2, 1), (2, 1)]), "product of 2 digits": ("×", [(2, 2)]),
          "product of 3 by 2 digits": ("×", [(3, 2)])}
BEYOND = {"product of 3 by 3 digits": ("×", [(3, 3)])}  # never trained on


def operands(rng: random.Random, op: str, n_digits: tuple[int, int], split: str) -> tuple[int, int]:
    """Two numbers whose sum, difference or product is on the wanted side (a + b and b + a are one problem)."""
    while True:
        a, b = (rng.randint(10 ** (n - 1) if n > 1 else 1, 10 ** n - 1) for n in n_digits)
        if op == "-" and a < b:
            a, b = b, a
        low, high = sorted((a, b))
        times_table = n_digits == (1, 1) and split == "train"  # all of it is needed for everything else
        if times_table or side(f"{low}{op}{high}") == split:
            return a, b


def worked(a: int, op: str, b: int) -> str:
    """The calculation as a reply writes it: products are split by the digits of a factor.

    >>> worked(12, "×", 34)
    '12 × 34 = 12 × 30 + 12 × 4 = 360 + 48 = 408'
    """
    if op == "+":
        return f"{a} + {b} = {a + b}"
    if op == "-":
        return f"{a} - {b} = {a - b}"
    if a < 10 and b < 10:
        return f"{a} × {b} = {a * b}"
    if b < 10:
        tens, ones = a // 10 * 10, a % 10
        return f"{a} × {b} = {tens} × {b} + {ones} × {b} = {tens * b} + {ones * b} = {a * b}"
    tens, ones = b // 10 * 10, b % 10
    return f"{a} × {b} = {a} × {tens} + {a} × {ones} = {a * tens} + {a * ones} = {a * b}"


def arithmetic(rng: random.Random, split: str, level: str | None = None) -> Item:
    """A sum, a difference or a product."""
    level = level or rng.choices(list(LEVELS), [4, 3, 2, 2, 1])[0]
    ops, sizes = (LEVELS | BEYOND)[level]
    op = rng.choice(ops)
    size = rng.choice([s for s in sizes if split == "train" or s != (1, 1)])
    a, b = operands(rng, op, size, split)
    return Item("arithmetic", rng.choice(SUMS[op]).format(a=a, b=b), worked(a, op, b), "number")


# Story, operation, answer: n and m are people, t is a thing, r is the result.
WORD_PROBLEMS = [
    ("{n} has {a} {t}. {n} buys {b} more. How many {t} does {n} have now?", "+", "{n} has {r} {t}."),
    ("{n} found {a} {t} in the morning and {b} {t} in the evening. How many {t} did {n} find?", "+",
     "{n} found {r} {t}."),
    ("There are {a} {t} in one box and {b} {t} in another box. How many {t} are there in total?", "+",
     "There are {r} {t}."),
    ("{n} has {a} {t}. {m} has {b} {t}. How many {t} do they have together?", "+", "They have {r} {t}."),
    ("{n} has {a} {t} and gives {b} {t} to {m}. How many {t} does {n} have left?", "-", "{n} has {r} {t} left."),
    ("A shop had {a} {t}. It sold {b} of them. How many {t} are left?", "-", "There are {r} {t} left."),
    ("{n} needs {a} {t} and already has {b}. How many {t} are missing?", "-", "{r} {t} are missing."),
    ("There are {a} boxes with {b} {t} each. How many {t} are there?", "×", "There are {r} {t}."),
    ("{n} buys {a} {t} for {b} dollars each. How much does {n} pay?", "×", "{n} pays {r} dollars."),
    ("A train travels {a} kilometers an hour for {b} hours. How far does it travel?", "×",
     "It travels {r} kilometers."),
    ("{n} reads {a} pages a day. How many pages does {n} read in {b} days?", "×", "{n} reads {r} pages."),
    ("{n} shares {r} {t} among {b} friends. How many {t} does each friend get?", "/", "Each friend gets {a} {t}."),
    ("A farmer has {a} {t} and buys {b} more. How many {t} does the farmer have?", "+", "The farmer has {r} {t}."),
    ("A class has {a} girls and {b} boys. How many children are in the class?", "+", "There are {r} children."),
    ("{n} is {a} years old. {m} is {b} years younger. How old is {m}?", "-", "{m} is {r} years old."),
    ("{n} has {a} dollars and spends {b} dollars. How many dollars are left?", "-", "{n} has {r} dollars left."),
    ("{n} has {a} boxes with {b} {t} each. How many {t} does {n} have in total?", "×", "{n} has {r} {t}."),
    ("One ticket costs {a} dollars. How much do {b} tickets cost?", "×", "They cost {r} dollars."),
    ("{n} has {a} {t}, buys {b} more and gives {c} to {m}. How many {t} does {n} have now?", "+-", "{n} has {r} {t}."),
    ("A bus has {a} passengers. {b} get on and {c} get off. How many passengers are on the bus?", "+-",
     "There are {r} passengers."),
]


def word_problem(rng: random.Random, split: str) -> Item:
    """A small story with numbers: first the calculation, then the answer."""
    text, op, answer = rng.choice(WORD_PROBLEMS)
    n, m, t = first_name(rng, split), first_name(rng, split), rng.choice(pool(lex.THINGS, split))
    if op in "×/":
        size = (rng.choice([1, 2] if split == "train" else [2, 2]), 1)
        a, b = operands(rng, "×", size, split)
        if split == "eval" and b < 3:  # in training a factor of 1 becomes 2, whichever side that is on
            return word_problem(rng, split)
        a, b = max(a, 2), max(b, 2)
    else:
        a, b = operands(rng, op[0], (2, rng.choice([1, 2])), split)
    c = rng.randint(1, a)
    result = {"+": a + b, "-": a - b, "×": a * b, "/": a * b, "+-": a + b - c}[op]
    steps = {"/": f"{result} / {b} = {a}", "+-": f"{a} + {b} = {a + b}. {a + b} - {c} = {result}",
             "×": f"{a} × {b} = {result}"}.get(op) or worked(a, op, b)
    slots = dict(n=n, m=m, t=t, a=a, b=b, c=c, r=result)
    return Item("word problems", text.format(**slots), f"{steps}. {answer.format(**slots)}", "number")


# ---------------------------------------------------------------- deduction

PLAIN_NOUNS = [w for w in lex.NOUNS + lex.ANIMALS  # those whose plural just adds an s
               if w[-1] not in "shfye" and w not in ("mouse", "goose", "sheep", "deer")]
ORDERS = [("taller", "tallest", "shortest"), ("older", "oldest", "youngest"), ("faster", "fastest", "slowest"),
          ("heavier", "heaviest", "lightest"), ("richer", "richest", "poorest"), ("stronger", "strongest", "weakest")]


def verdict(prompt: str, reply: str) -> Item:
    """A deduction whose reply must begin with the right verdict."""
    return Item("reasoning", prompt, reply, "start", (reply.split(".")[0],))


def reasoning(rng: random.Random, split: str) -> Item:
    """Deduction from two or three statements."""
    kind = rng.choice([chain, chain, order, order, order, condition, member])
    kinds = [made_up_word(rng, split) + "s" for _ in range(4)]
    return kind(rng, split, kinds)


def chain(rng: random.Random, split: str, kinds: list[str]) -> Item:
    """All a are b, all b are c: are all a c, and are all c a?"""
    a, b, c, d = kinds
    links = [(a, b), (b, c)] + ([(c, d)] if rng.random() < 0.35 else [])
    first, last = a, links[-1][1]
    facts = " ".join(f"All {x} are {y}." for x, y in rng.sample(links, len(links)))
    because = " and ".join(f"all {x} are {y}" for x, y in links)
    yes = f"Yes. {upper_first(because)}, so all {first} are {last}."
    if rng.random() < 0.2:
        return verdict(f"If {because}, are all {first} {last}?", yes)
    if rng.random() < 0.6:
        return verdict(f"{facts} Are all {first} {last}?", yes)
    no = f"No. All {first} are {last}, but that does not mean that all {last} are {first}."
    return verdict(f"{facts} Are all {last} {first}?", no)


def order(rng: random.Random, split: str, kinds: list[str]) -> Item:
    """Ada is taller than Ben, Ben is taller than Cai: who is the tallest?"""
    people = [first_name(rng, split) for _ in range(rng.choice([3, 3, 4]))]
    if len(set(people)) < len(people):
        return reasoning(rng, split)
    more, most, least = rng.choice(ORDERS)
    pairs = list(zip(people, people[1:]))
    facts = " ".join(f"{x} is {more} than {y}." for x, y in rng.sample(pairs, len(pairs)))
    want, who = rng.choice([(most, people[0]), (least, people[-1])])
    reply = ", ".join(f"{x} is {more} than {y}" for x, y in pairs) + f", so {who} is the {want}."
    return Item("reasoning", f"{facts} Who is the {want}?", reply, "facts", (f"{who} is the {want}.",))


def condition(rng: random.Random, split: str, kinds: list[str]) -> Item:
    """If the cup is red, the door is blue. The cup is (not) red: is the door blue?"""
    thing, other = rng.sample(pool(lex.NOUNS, split), 2)
    yes = rng.random() < 0.5
    red, blue = rng.sample(lex.COLOURS, 2)
    prompt = (f"If the {thing} is {red}, the {other} is {blue}. "
              f"The {thing} is {red if yes else 'not ' + red}. Is the {other} {blue}?")
    if yes:
        return verdict(prompt, f"Yes. The {thing} is {red}, so the {other} is {blue}.")
    return verdict(prompt, f"We cannot know. The {thing} is not {red}, so the rule says nothing.")


def member(rng: random.Random, split: str, kinds: list[str]) -> Item:
    """All (or no) a are b, and Ada is one of the a: is Ada one of the b?"""
    a, b, *_ = kinds
    who, no = first_name(rng, split), rng.random() < 0.5
    which, answer, not_ = ("No", "No", "not ") if no else ("All", "Yes", "")
    if rng.random() < 0.5:
        a, b = rng.sample(pool(PLAIN_NOUNS, split), 2) if rng.random() < 0.5 else (a[:-1], b[:-1])
        prompt = articles(f"{which} {a}s are {b}s. {who} is a {a}. Is {who} a {b}?")
        because = f"{who} is a {a} and {which.lower()} {a}s are {b}s"
        return verdict(prompt, articles(f"{answer}. {because}, so {who} is {not_}a {b}."))
    prompt = f"{which} {a} are {b}. {who} is one of the {a}. Is {who} one of the {b}?"
    because = f"{which} {a} are {b} and {who} is one of the {a}"
    return verdict(prompt, f"{answer}. {because}, so {who} is {not_}one of the {b}.")


# ---------------------------------------------------------------- classification and translation

SENTIMENT = ["Classify the sentiment as positive or negative: {s}", "Is this review positive or negative? {s}",
             "Sentiment (positive or negative): {s}", "Classify this review as positive or negative. {s}",
             "Is the mood positive or negative? {s}"]
TOPIC = ["What is the topic ({o})? {s}", "Classify the topic as one of {o}: {s}", "Choose the topic from {o}. {s}"]
IS_SPAM = ["Is this message spam? Answer spam or not spam. {s}", "Classify as spam or not spam: {s}",
           "Spam or not spam? {s}"]
LANGUAGE = ["Which language is this? {s}", "Name the language of: {s}", "What language is this sentence in? {s}"]


def classification(rng: random.Random, split: str) -> Item:
    """One word: a sentiment, a topic, spam or not, a language."""
    kind = rng.choice(["sentiment", "sentiment", "topic", "spam", "language"])
    if kind == "sentiment":
        return sentiment(rng, split)
    slots = dict(a=rng.choice("small new old famous local young".split()), n=rng.randint(2, 9), c=city(rng, split),
                 N=first_name(rng, split), p=rng.choice(pool(lex.PRODUCTS, split)), d=domain(rng, split),
                 day=rng.choice(lex.DAYS))
    choices = ""
    if kind == "topic":
        answer = rng.choice(list(lex.TOPIC_SENTENCES))
        text = rng.choice(with_a_slot(lex.TOPIC_SENTENCES[answer], split)).format(**slots)
        choices = ", ".join(rng.sample(list(lex.TOPIC_SENTENCES), len(lex.TOPIC_SENTENCES)))
    elif kind == "spam":
        spam = rng.random() < 0.5
        answer = "spam" if spam else "not spam"
        text = rng.choice(with_a_slot(lex.SPAM if spam else lex.HAM, split)).format(**slots)
    else:
        english, others = sentence_pair(rng, split)
        answer, text = rng.choice([("English", english), *others.items()])
    wording = rng.choice({"topic": TOPIC, "spam": IS_SPAM, "language": LANGUAGE}[kind])
    return Item("classification", wording.format(o=choices, s=quoted(rng, text)), answer)


def sentiment(rng: random.Random, split: str) -> Item:
    """A review; words of the other mood may be denied or outweighed."""
    good = rng.random() < 0.5
    words, opposite = (lex.POSITIVE, lex.NEGATIVE) if good else (lex.NEGATIVE, lex.POSITIVE)
    x, y = rng.sample(pool(lex.REVIEWED, split), 2)
    a, b, c = *rng.sample(words, 2), rng.choice(opposite)
    text = rng.choice([
        f"The {x} was {a}.", f"The {x} was {a} and the {y} was {b}.", f"The {x} was not {c}, it was {a}.",
        f"What a {a} {x}!", f"The {y} was {c}, but all in all it was a {a} {x}.", f"I found the {x} {a} and {b}.",
        f"{first_name(rng, split)} thought it would be {c}, but the {x} was {a}."])
    prompt = rng.choice(SENTIMENT).format(s=quoted(rng, text))
    return Item("classification", prompt, "positive" if good else "negative")


ANIMATE = {"cat", "dog", "woman", "boy", "girl", "horse", "bird", "king"}  # Spanish says 'a' before these
TRANSLATE = ["Translate to {g}: {s}", "Translate into {g}: {s}", "Translate into {g}: '{s}'",
             "How do you say '{s}' in {g}?", "Write this in {g}: {s}", "Translate the sentence '{s}' into {g}.",
             "{g} translation of: {s}"]


def sentence_pair(rng: random.Random, split: str) -> tuple[str, dict[str, str]]:
    """An English sentence of one side, and the same in French, Spanish and German."""
    while True:
        noun = rng.choice(list(lex.TRANSLATED_NOUNS))
        french, spanish, german = lex.TRANSLATED_NOUNS[noun]
        if rng.random() < 0.5:
            adjective = rng.choice(list(lex.TRANSLATED_ADJECTIVES))
            fr, es, de = lex.TRANSLATED_ADJECTIVES[adjective]
            english = f"The {noun} is {adjective}."
            foreign = (f"{french} est {fr.split()[french.startswith('la ')]}.",
                       f"{spanish} es {es.split()[spanish.startswith('la ')]}.", f"{german} ist {de}.")
        else:
            verb = rng.choice(list(lex.TRANSLATED_VERBS))
            thing = rng.choice([n for n in lex.TRANSLATED_NOUNS if n not in ANIMATE])
            verbs, objects = lex.TRANSLATED_VERBS[verb], lex.TRANSLATED_NOUNS[thing]
            objects = (*objects[:2], objects[2].replace("der ", "den "))
            english = f"The {noun} {verb} the {thing}."
            foreign = tuple(f"{s} {v} {o}." for s, v, o in zip((french, spanish, german), verbs, objects))
        if side(english) == split:
            return english, dict(zip(("French", "Spanish", "German"), map(upper_first, foreign)))


def translation(rng: random.Random, split: str) -> Item:
    """A short English sentence into French, Spanish or German."""
    english, foreign = sentence_pair(rng, split)
    language = rng.choice(list(foreign))
    return Item("translation", rng.choice(TRANSLATE).format(g=language, s=english), foreign[language])


# ---------------------------------------------------------------- exact formats and code

def format_following(rng: random.Random, split: str) -> Item:
    """Do exactly what is asked with a few words, and add nothing."""
    def word() -> str:
        return rng.choice(pool(lex.WORDS, split)) if rng.random() < 0.7 else made_up_word(rng, split)
    ws = list(dict.fromkeys(word() for _ in range(rng.randint(3, 5))))
    w, comma = ws[0], ", ".join(ws)
    n, low = rng.randint(2, 7), rng.randint(1, 60) + (60 if split == "eval" else 0)
    two = " ".join(ws[:rng.randint(1, 3)])
    prompt, reply = rng.choice([
        (f"Repeat the word '{w}' {n} times.", " ".join([w] * n)),
        (f"Write the word {w} {n} times.", " ".join([w] * n)),
        (f"Write '{two}' in upper case.", two.upper()),
        (f"Write in capital letters: {two}", two.upper()),
        (f"Count from {low} to {low + n}.", ", ".join(map(str, range(low, low + n + 1)))),
        (f"Put these words in a JSON list: {comma}", json.dumps(ws)),
        (f"Write as a JSON list: {comma}", json.dumps(ws)),
        (f"List these words in reverse order: {comma}", ", ".join(ws[::-1])),
        (f"Sort these words alphabetically: {comma}", ", ".join(sorted(ws))),
        (f"Make a numbered list of: {comma}", "\n".join(f"{i}. {x}" for i, x in enumerate(ws, 1))),
        (f"Make a bullet list of: {comma}", "\n".join(f"- {x}" for x in ws)),
        (f"Write these words separated by commas: {' '.join(ws)}", comma),
        (f"Write these words separated by semicolons: {comma}", "; ".join(ws)),
        (f"How many words are in this list? {comma}", str(len(ws))),
        (f"What is the first word? {comma}", ws[0]),
        (f"What is the last word? {comma}", ws[-1]),
        (f"Answer with exactly one word. Which word comes after {ws[1]}? {comma}", ws[2] if len(ws) > 2 else "none"),
        (f"Spell the word '{w}' with hyphens.", "-".join(w)),
        (f"Reply with exactly this text: {two}", two),
        (f"Put the word '{w}' in quotation marks.", f'"{w}"'),
    ])
    return Item("format following", prompt, reply)


CODE = ["Write a Python function that {d}.", "Write a Python function named {f} that {d}.",
        "Write a function {f}({p}) in Python that {d}.", "Python: a function that {d}.",
        "Show me a short Python function that {d}.", "Implement {f}({p}) in Python. It {d}.",
        "Write Python code for a function that {d}.", "Write a Python function to {v}.",
        "Write code to {v} in Python.", "Write a Python function for {f}.",
        "Please write a Python function called {f} that {d}."]
NAMED = [wording for wording in CODE if "{f}" in wording and "for {f}" not in wording]


def fenced(name: str, parameters: str, body: str) -> str:
    """A function in a Markdown code block."""
    lines = "\n".join("    " + line for line in body.split("\n"))
    return f"```python\ndef {name}({parameters}):\n{lines}\n```"


def code(rng: random.Random, split: str) -> Item:
    """A small Python function: a known one in a wording of this side, or a new one that only computes with x."""
    if rng.random() < 0.35:
        return formula(rng, split)
    while True:
        does, (name, parameters, body) = rng.choice(list(lex.FUNCTIONS.items()))
        wording = rng.choice(CODE)
        if side(wording + does) == split:
            break
    if wording in NAMED and (split == "eval" or rng.random() < 0.4):
        new, ending = made_up_word(rng, split), rng.choice(["of", "fast", "simple", "value"])
        name = rng.choice([new, f"{name}_{ending}", f"my_{name}", f"get_{name}"])
    to_do = does.replace("s ", " ", 1)  # 'computes the sum' -> 'compute the sum'
    return Item("code", wording.format(d=does, f=name, p=parameters, v=to_do), fenced(name, parameters, body))


def formula(rng: random.Random, split: str) -> Item:
    """A function of x with two numbers, under a made-up name."""
    name, (a, b) = made_up_word(rng, split), (rng.randint(2, 60), rng.randint(2, 60))
    does, expression = rng.choice([
        (f"adds {a} to x and multiplies by {b}", f"(x + {a}) * {b}"),
        (f"multiplies x by {a} and adds {b}", f"x * {a} + {b}"),
        (f"subtracts {a} from x and multiplies by {b}", f"(x - {a}) * {b}"),
        (f"adds {a} and {b} to x", f"x + {a} + {b}"),
        (f"checks whether x is larger than {a}", f"x > {a}"),
        (f"returns x divided by {a}", f"x / {a}"),
        (f"checks whether x lies between {a} and {a + b}", f"{a} <= x <= {a + b}")])
    return Item("code", rng.choice(NAMED).format(f=name, p="x", d=does), fenced(name, "x", f"return {expression}"))


# ---------------------------------------------------------------- poems and tiny stories

POEM = ["Write a short poem about {x}.", "Write a poem about {x}.", "Write a {n}-line poem about {x}.",
        "Compose a short poem about {x}.", "Write {n} lines of verse about {x}.", "Can you write a poem about {x}?"]
POEM_SUBJECTS = lex.POEM_SUBJECTS + list(lex.TOPICS)
TELL = ["Write a very short story about {h} and a {a}.", "Tell me a short story about {h} and a {a}.",
        "Write a two-sentence story about {h} and a {a}."]
TINY_STORIES = ["One morning {h} met a {a} in the {p}. They shared a {t} and became friends.",
                "{h} lost a {t} in the {p}. A {a} found it and brought it back.",
                "A {a} slept in the {p} until {h} came with a {t}. From that day they were never apart.",
                "{h} was afraid of the dark {p}. A {a} walked ahead with a {t} and showed the way."]


def creative(rng: random.Random, split: str) -> Item:
    """A poem in couplets about anything, or a tiny story."""
    if rng.random() < 0.25:
        slots = dict(h=first_name(rng, split), a=rng.choice(pool(lex.ANIMALS, split)), p=rng.choice(lex.PLACES),
                     t=rng.choice(pool(lex.NOUNS, split)))
        prompt, reply = rng.choice(TELL), rng.choice(TINY_STORIES)
        return Item("creative writing", articles(prompt.format(**slots)), articles(reply.format(**slots)), "any",
                    (slots["h"], slots["a"]))
    x = rng.choice(pool(POEM_SUBJECTS, split))
    x = f"the {x}" if x in lex.NOUNS or x in lex.ANIMALS else x
    wording, n = rng.choice(POEM), rng.choice([2, 4, 4, 4, 6])
    n = n if "{n}" in wording else 4
    lines = [line for couplet in rng.sample(lex.COUPLETS, n // 2) for line in couplet.split("|")]
    reply = "\n".join(line.format(x=x, X=upper_first(x)) for line in lines)
    return Item("creative writing", wording.format(x=x, n=n), reply, "any", (x,))


# ---------------------------------------------------------------- what the models know

EXPLAIN = ["Explain {x} in simple terms.", "Explain the concept of {x} in simple terms.", "What {is} {x}?",
           "Explain {x} simply.", "Explain {x} to a child.", "Tell me about {x}.", "Give a short explanation of {x}.",
           "Define {x}.", "Explain {x} in one sentence.", "What {is} {x}? Answer in one sentence.",
           "Explain what {x} {is}.", "Explain {x}."]
BULLETS = ["Write {n} bullet points about {x}.", "Give {n} bullet points about {x}.",
           "List {n} facts about {x} as bullet points.", "Write {n} bullets on {x}.",
           "Make {n} bullet points on the topic of {x}."]
BENEFITS = ["Summarize the key benefits of {x}.", "What are the benefits of {x}?", "List the main benefits of {x}.",
            "Why {is} {x} useful?", "Name the advantages of {x}.", "Summarize the advantages of {x}."]
PROCESS = ["Describe the process of {x}.", "How does {x} work?", "Describe how {x} works.",
           "Explain the steps of {x}.", "Explain step by step: {x}."]
COMPARE = ["What are the main differences between {x} and {y}?", "How do {x} and {y} differ?", "Compare {x} and {y}.",
           "What is the difference between {x} and {y}?", "Explain the difference between {x} and {y}."]
WORDINGS = {"explain": EXPLAIN, "bullets": BULLETS, "benefits": BENEFITS, "process": PROCESS, "compare": COMPARE}
ANY_BULLETS = ["{X} can be found in many places", "Many people know {x}", "{X} can be seen from several sides",
               "There are old stories about {x}", "{X} is worth a closer look", "Children often ask about {x}",
               "{X} has changed over time", "Some people like {x} more than others"]


def is_plural(topic: str) -> bool:
    return topic.endswith("s") and topic != "photosynthesis"


def knowledge(rng: random.Random, split: str, form: str | None = None) -> Item:
    """An explanation, bullet points, benefits, steps or differences; of each topic some wordings are held out."""
    form = form or rng.choice(["explain", "explain", "bullets", "bullets", "benefits", "process", "compare"])
    wording = rng.choice(WORDINGS[form])
    if form == "compare":
        return comparison(rng, split, wording)
    part = {"benefits": 2, "process": 3}.get(form, 0)  # which part of a topic the form needs
    known = [topic for topic, facts in lex.TOPICS.items() if facts[part]]
    x = rng.choice(known + (pool(lex.NOUNS, split) if form == "bullets" and rng.random() < 0.3 else []))
    reserved = form == "bullets" and x == "caching" and split == "train"
    if x in lex.TOPICS and (side(wording + x) != split or reserved):
        return knowledge(rng, split, form)
    n = rng.randint(2, min(5, len(lex.TOPICS[x][1] if x in lex.TOPICS else ANY_BULLETS)))
    prompt = wording.format(x=x, n=n, **{"is": "are" if is_plural(x) else "is"})
    if form == "bullets":
        return Item("bullets", prompt, bullets(rng, x, n), "bullets", (x, str(n)))
    reply, facts = {"explain": explanation, "benefits": benefits, "process": process}[form](rng, x, wording)
    return Item("knowledge", prompt, reply, "facts", facts)


def comparison(rng: random.Random, split: str, wording: str) -> Item:
    """How two things differ, asked in either order."""
    x, y, one, other, both = rng.choice(lex.DIFFERENCES)
    if side(wording + x) != split:
        return knowledge(rng, split, "compare")
    if rng.random() < 0.3:
        x, y, one, other = y, x, other, one
    reply = f"{upper_first(x)} {one}, while {y} {other}. {both}."
    asked = x.split()[0] if x.endswith(" computing") and rng.random() < 0.5 else x
    return Item("knowledge", wording.format(x=asked, y=y), reply, "facts", (one, other))


def bullets(rng: random.Random, topic: str, n: int) -> str:
    """n lines that start with a dash: facts where the topic is known, otherwise plain remarks."""
    if topic in lex.TOPICS:
        lines = [f"{topic} {fact}" for fact in rng.sample(lex.TOPICS[topic][1], n)]
    else:
        lines = [line.format(x=topic, X=topic) for line in rng.sample(ANY_BULLETS, n)]
    return "\n".join(f"- {upper_first(line)}." for line in lines)


def explanation(rng: random.Random, topic: str, wording: str) -> tuple[str, tuple[str, ...]]:
    """The definition and, unless one sentence is asked for, three facts."""
    definition, facts, _, _ = lex.TOPICS[topic]
    it = "They" if is_plural(topic) else "It"
    some = [] if "one sentence" in wording or "Define" in wording else rng.sample(facts, min(3, len(facts)))
    return " ".join([f"{definition}."] + [f"{it} {fact}." for fact in some]), (definition,)


def benefits(rng: random.Random, topic: str, wording: str) -> tuple[str, tuple[str, ...]]:
    good = lex.TOPICS[topic][2]
    has = "have" if is_plural(topic) else "has"
    return f"{upper_first(topic)} {has} clear benefits: " + ", ".join(good[:-1]) + f" and {good[-1]}.", tuple(good)


def process(rng: random.Random, topic: str, wording: str) -> tuple[str, tuple[str, ...]]:
    steps = lex.TOPICS[topic][3]
    words = ["First, ", "Then ", "Next, "][:len(steps) - 1] + ["Finally, "]
    return " ".join(f"{word}{step}." for word, step in zip(words, steps)), tuple(steps)


SMALL_TALK = [(["Hello!", "Hi!", "Hello", "Hi", "Hey!", "Good morning!", "Hi there!"], "Hello! How can I help?"),
              (["Who are you?", "What are you?", "What is your name?", "What can you do?"],
               "I am a pocket model, a very small language model for learning how to benchmark."),
              (["Thanks!", "Thank you!", "Thanks a lot.", "Thank you very much."], "You are welcome!"),
              (["How are you?", "How are you today?"], "I am ready. What shall we measure?"),
              (["Goodbye!", "Bye!", "See you!"], "Goodbye!")]


def small_talk(rng: random.Random, split: str) -> Item:
    """What people type first."""
    prompts, reply = rng.choice(SMALL_TALK)
    return Item("small talk", rng.choice(prompts), reply)


# Task -> (maker, share of the training documents)
TASKS: dict[str, tuple[Callable[..., Item], int]] = {
    "extraction": (extraction, 36), "refusal": (refusal, 8), "summary": (summary, 14), "arithmetic": (arithmetic, 8),
    "word problems": (word_problem, 8), "reasoning": (reasoning, 9), "classification": (classification, 8),
    "format following": (format_following, 11), "translation": (translation, 9), "code": (code, 6),
    "creative writing": (creative, 5), "knowledge": (knowledge, 12), "small talk": (small_talk, 1),
}
