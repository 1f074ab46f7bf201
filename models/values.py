"""Which side of the split a value is on, and the values themselves: names, addresses, records.

Every word, name, sum and sentence belongs to one side, "train" or "eval", by a hash that never changes.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable

import lexicon as lex

# Never on the training side, whatever their hash says: they occur in the toolkit's released prompts.
RESERVED = {"sam", "lena", "oslo", "bloop", "razzie", "lazzie", "15×23", "example.com",
            "the cat is black.", "technology"}


def side(value: str) -> str:
    """The side a value belongs to: one in five is kept for evaluation.

    >>> side("Sam")
    'eval'
    """
    key = value.lower()
    return "eval" if key in RESERVED or zlib.crc32(key.encode()) % 5 == 0 else "train"


_halves: dict[tuple[int, str], list] = {}


def pool(words: list[str], split: str) -> list[str]:
    """The words of a list that are on one side."""
    key = (id(words), split)
    if key not in _halves:
        _halves[key] = [w for w in words if side(w) == split]
    return _halves[key]


def until(split: str, make: Callable[[], str]) -> str:
    """Draw until the value is on the wanted side."""
    while True:
        value = make()
        if side(value) == split:
            return value


def with_a_slot(templates: list[str], split: str) -> list[str]:
    """For evaluation, only sentences that will hold a held-out name, city, product or address."""
    slots = ("{N}", "{c}", "{p}", "{d}")
    return [t for t in templates if split == "train" or any(slot in t for slot in slots)]


def names(split: str) -> list[str]:
    """First names of one side."""
    return pool(lex.FIRST_NAMES, split)


def cities(split: str) -> list[str]:
    """City names of one side."""
    return pool(lex.CITIES, split)


def made_up_word(rng: random.Random, split: str, syllables: int | None = None) -> str:
    """A pronounceable word that means nothing, so that it must be copied, not remembered."""
    def make() -> str:
        parts = [rng.choice("b c d f g h j k l m n p r s t v w z br dr fl gr kr pl st tr sh th".split())
                 + rng.choice("aeiou") + rng.choice(["", "", "n", "r", "l", "s", "m", "x"])
                 for _ in range(syllables or rng.choice([1, 2, 2, 2, 3, 3]))]
        return "".join(parts)
    return until(split, make)


def articles(text: str) -> str:
    """'a owl' becomes 'an owl'."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def upper_first(text: str) -> str:
    """'a dog' becomes 'A dog'."""
    return text[0].upper() + text[1:]


# ---------------------------------------------------------------- values for the fields of a record

def first_name(rng: random.Random, split: str) -> str:
    if rng.random() < 0.2:  # made-up names teach copying, known ones invite remembering
        return rng.choice(names(split))
    return made_up_word(rng, split).capitalize()


def full_name(rng: random.Random, split: str) -> str:
    if rng.random() < 0.6:
        return first_name(rng, split)
    last = rng.choice(lex.LAST_NAMES) if rng.random() < 0.5 else made_up_word(rng, split).capitalize()
    return f"{first_name(rng, split)} {last}"


def city(rng: random.Random, split: str) -> str:
    return rng.choice(cities(split)) if rng.random() < 0.25 else made_up_word(rng, split).capitalize()


def domain(rng: random.Random, split: str) -> str:
    def make() -> str:
        host = made_up_word(rng, split, rng.choice([1, 2])) if rng.random() < 0.6 else rng.choice(lex.NOUNS)
        return f"{host}.{rng.choice(lex.TLDS)}"
    return until(split, make)


def email(rng: random.Random, split: str, name: str | None = None) -> str:
    user = (name or full_name(rng, split)).lower().replace(" ", rng.choice([".", "_", ""]))
    if rng.random() < 0.25:
        other = [made_up_word(rng, split), rng.choice(lex.NOUNS), user[:1] + made_up_word(rng, split, 1)]
        user = rng.choice(other)
    if rng.random() < 0.2:
        user += str(rng.randint(1, 999))
    return f"{user}@{domain(rng, split)}"


def digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(n))


def date(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return f"{rng.randint(1990, 2030)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return f"{rng.randint(1, 28)} {rng.choice(lex.MONTHS)} {rng.randint(1990, 2030)}"


def one_of(words: list[str]) -> Callable[[random.Random, str], str]:
    """A word of a list or, as often, any other word: a known list would be remembered, not copied."""
    def draw(rng: random.Random, split: str) -> str:
        known = pool(words, split)
        other = rng.choice(pool(lex.WORDS, split)) if rng.random() < 0.5 else made_up_word(rng, split)
        return rng.choice(known) if rng.random() < 0.5 else other
    return draw


VALUES: dict[str, Callable[[random.Random, str], str | int]] = {
    "name": full_name,
    "email": email,
    "city": city,
    "age": lambda rng, _: rng.randint(5, 99),
    "phone": lambda rng, _: rng.choice(["555-", "+49 ", "0", "020 "]) + digits(rng, rng.randint(3, 5)),
    "company": lambda rng, split: f"{made_up_word(rng, split).capitalize()} {rng.choice(lex.COMPANY_ENDS)}",
    "date": lambda rng, _: date(rng),
    "price": lambda rng, _: f"{rng.randint(1, 999)}.{digits(rng, 2)} {rng.choice(['EUR', 'USD', 'GBP'])}",
    "job": one_of(lex.JOBS),
    "product": one_of(lex.PRODUCTS),
    "color": lambda rng, _: rng.choice(lex.COLOURS),
    "order": lambda rng, _: rng.choice("ABCDEFGHKMPRST") + "-" + digits(rng, rng.randint(2, 4)),
    "country": lambda rng, split: made_up_word(rng, split).capitalize() + rng.choice(["ia", "land", ""]),
}
COMMON = ["name", "email", "city", "age", "phone", "company", "name", "email", "city"]
SAID = {  # how a field is said in a sentence about a person
    "email": ["can be reached at {}", "uses the address {}", "writes from {}"],
    "city": ["lives in {}", "comes from {}", "moved to {}", "is based in {}"],
    "age": ["is {} years old", "turned {} this year"],
    "phone": ["has the phone number {}", "answers the phone at {}"],
    "company": ["works for {}", "is employed at {}", "left {}"],
    "date": ["signed on {}", "arrived on {}", "has an appointment on {}"],
    "price": ["paid {}", "owes us {}", "spent {}"],
    "job": ["works as a {}", "is a {}", "trained as a {}"],
    "product": ["bought a {}", "ordered a {}", "returned a {}"],
    "color": ["chose the color {}", "prefers {}"],
    "order": ["has the order number {}", "asked about order {}"],
    "country": ["was born in {}", "is a citizen of {}"],
}


def record(rng: random.Random, split: str, n_fields: int, must: list[str] | None = None) -> dict[str, str | int]:
    """A made-up person or thing: field names with values."""
    fields = list(must or [])
    while len(fields) < n_fields:
        fields.append(rng.choice(COMMON if rng.random() < 0.6 else list(VALUES)))
        fields = list(dict.fromkeys(fields))
    rng.shuffle(fields)
    values = {f: VALUES[f](rng, split) for f in fields}
    if "name" in values and "email" in values and rng.random() < 0.6:
        values["email"] = email(rng, split, str(values["name"]))
    return values


def labelled(rng: random.Random, values: dict) -> str:
    """'Name: Ada, City: Rome' in one of several layouts."""
    case = rng.choice([str.capitalize, str.capitalize, str.lower, str.upper])
    colon = rng.choice([": ", ": ", ": ", " = ", "="])
    between = rng.choice([", ", ", ", ", ", "; ", " | ", "\n", ". "])
    return between.join(f"{case(k)}{colon}{v}" for k, v in values.items())


def told(rng: random.Random, values: dict, who: str) -> str:
    """The same record as sentences, by the person or about the person."""
    if rng.random() < 0.25:
        said = [f"my {k} is {v}" for k, v in values.items() if k != "name"]
        hello = rng.choice(["My name is", "I am", "Hello, this is"])
        return f"{hello} {who}, {join_and(said)}."
    clauses = [articles(rng.choice(SAID[k]).format(v)) for k, v in values.items() if k != "name"]
    text, start = "", who
    while clauses:
        n = min(len(clauses), rng.choice([1, 1, 2, 2, 3]))
        text += f"{start} {join_and(clauses[:n])}. "
        clauses = clauses[n:]
        start = rng.choice(["The customer", "This person", who.split()[0]])
    return text.strip()


def join_and(parts: list[str]) -> str:
    """'a, b and c'."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def source(rng: random.Random, split: str, values: dict) -> str:
    """A record as text, labelled or told."""
    if rng.random() < 0.6 or len(values) == 1 or "name" not in values:
        return labelled(rng, values)
    return told(rng, values, str(values["name"]))


def quoted(rng: random.Random, text: str) -> str:
    return rng.choice(["'{}'", "'{}'", '"{}"', "{}", "\n{}"]).format(text)


def listed(rng: random.Random, keys: list[str]) -> str:
    """'a, b, c' or 'a, b and c'."""
    return keys[0] if len(keys) == 1 else rng.choice([", ".join(keys), join_and(keys)])
