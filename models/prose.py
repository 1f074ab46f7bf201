"""Plain prose: small essays of facts, and stories from a grammar, so that perplexity on plain text means something.

    python models/prose.py     writes eval_text.txt again
"""

from __future__ import annotations

import random
from pathlib import Path

import lexicon as lex
from tasks import is_plural, subject
from values import articles, city, first_name, pool, upper_first

# h and f are people, c a city, j a job, a an animal, p a place: fixed in a story. The rest changes with each sentence.
OPENINGS = [
    "{h} lived in a small house near the {p} of {c}.", "On a {w} {d} in {mo}, {h} walked to the {p}.",
    "Everyone in {c} knew {h}, the {j} with the {k} {t}.", "It was {w} when {h} came back to {c}.",
    "The {p} of {c} was quiet that {d}.", "{h} had wanted a {t} for {n} years.",
    "In {mo}, the people of {c} opened a new {p}.", "{h} worked as a {j} in {c} and kept a {a}.",
    "There was once a {a} that lived behind the {p}.", "Nobody remembered who had built the {p} in {c}.",
    "{h} got up early, because the {p} opened at {n}.", "A letter from {f} arrived on {d}.",
]
MIDDLES = [
    "{h} took the {t} and put it on the {t2}.", "A {a} sat by the {t} and watched.",
    "The {t} was {k} and a little {q}.", "{f} asked whether the {p} was still open.",
    '"I have seen a {a} near the {p}," said {f}.', '"Where is my {t}?" asked {h}.',
    "They talked about the {t2} until it was dark.", "The road to the {p} was long and {w}.",
    "{h} counted {n} {th} and wrote the number in a small book.", "Then {f} brought {n} {th} and a {t}.",
    "It smelled of bread and old {t2}s.", "The {j} laughed and closed the door.",
    "Nobody had told {h} that the {a} could swim.", "In the afternoon the sky turned {k}.",
    "{f} was {q}, but {h} did not notice.", "Behind the {p} they found a {k} {t}.",
    "The {a} ran across the {p} and disappeared.", "For {n} days it had been {w}.",
    '"You should ask the {j}," {f} answered.', "{h} opened the {t} slowly.",
    "There were {n} people in the {p}, and most of them were {q}.",
    "The old {t} had belonged to a {j} from {c}.", "{h} thought of {f} and felt {q}.",
    "Outside, a {a} was sleeping under the {t2}.", "They carried the {t} home together.",
    "The {t2} was too heavy, so {f} helped.", "Every {d}, the {j} came to the {p} with a {t}.",
    "{h} bought {n} {th} at the market in {c}.",
]
ENDINGS = [
    "In the end {h} kept the {t}.", "They went home before the rain came.",
    "From that day on, {h} and {f} were friends.", "The {a} was never seen again.",
    "{h} slept well that night.", "And the {p} of {c} was quiet once more.",
    "It was the best {d} of the year.", '"Tomorrow," said {f}, "we will try again."',
    "The {t} still stands in the {p} today.", "Nobody spoke about the {k} {t} again.",
]
STATES = "happy tired hungry surprised proud nervous calm curious sad glad".split()
WEATHER = "sunny rainy windy cold warm foggy snowy grey stormy mild".split()


def story(rng: random.Random, split: str, n_paragraphs: int) -> str:
    """Plain prose about two people, a place and a few things; long ones keep their people to the end."""
    fixed = dict(h=first_name(rng, split), f=first_name(rng, split), c=city(rng, split),
                 j=rng.choice(pool(lex.JOBS, split)), a=rng.choice(pool(lex.ANIMALS, split)),
                 p=rng.choice(pool(lex.PLACES, split)))

    def say(template: str) -> str:
        slots = dict(t=rng.choice(lex.NOUNS), t2=rng.choice(lex.NOUNS), k=rng.choice(lex.COLOURS),
                     q=rng.choice(STATES), n=rng.randint(2, 20), w=rng.choice(WEATHER), d=rng.choice(lex.DAYS),
                     mo=rng.choice(lex.MONTHS), th=rng.choice(lex.THINGS))
        return template.format(**fixed, **slots)
    paragraphs = []
    for i in range(n_paragraphs):
        sentences = [rng.choice(OPENINGS)] if i == 0 else []
        sentences += rng.sample(MIDDLES, rng.randint(3, 5))
        sentences += [rng.choice(ENDINGS)] if i == n_paragraphs - 1 else []
        paragraphs.append(articles(" ".join(map(say, sentences))))
    return "\n\n".join(paragraphs)


def essay(rng: random.Random, split: str) -> str:
    """A paragraph or three of facts."""
    paragraphs = []
    for topic in rng.sample(list(lex.TOPICS), rng.randint(1, 3)):
        definition, facts, good, _ = lex.TOPICS[topic]
        it = "They" if is_plural(topic) else "It"
        rest = [f"{rng.choice([it, it, upper_first(topic)])} {f}." for f in rng.sample(facts, rng.randint(2, len(facts)))]
        more = [f"People value {topic} because {rng.choice(good)}."] if good and rng.random() < 0.6 else []
        claims = [claim(rng, split) for _ in range(rng.randint(0, 2))]
        paragraphs.append(" ".join([definition + "."] + rest + more + claims))
    return "\n\n".join(paragraphs)


def claim(rng: random.Random, split: str) -> str:
    """A sentence that says what made-up things do."""
    full, _ = subject(rng, split)
    return f"{full} {rng.choice(lex.CLAIM_VERBS)} {rng.choice(lex.CLAIM_OBJECTS)} {rng.choice(lex.REASONS)}."


def prose(rng: random.Random, split: str) -> str:
    """An essay or a story, some longer than a model's context."""
    kind = rng.random()
    if kind < 0.3:
        return essay(rng, split)
    return story(rng, split, rng.choice([1, 1, 2, 2, 3]) if kind < 0.9 else rng.randint(6, 12))


def held_out_prose(n_characters: int = 420_000, seed: int = 0) -> str:
    """Plain prose from the evaluation side, for perplexity."""
    rng, parts, length = random.Random(f"prose {seed}"), [], 0
    while length < n_characters:
        parts.append(prose(rng, "eval"))
        length += len(parts[-1]) + 2
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    path = Path(__file__).resolve().parent / "eval_text.txt"
    path.write_text(held_out_prose(), encoding="utf-8", newline="\n")
    print(f"wrote {path}")
