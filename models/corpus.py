"""The pocket models' training text: endless, generated, and split so that evaluation never meets training.

`documents(seed)` yields training documents; `items(task, "eval", seed)` yields held-out prompts with their answers.
Only the standard library is needed. Try it:  python models/corpus.py
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice

from prose import held_out_prose, prose  # noqa: F401 (held_out_prose is part of what this file offers)
from tasks import BEYOND, LEVELS, TASKS, Item, arithmetic  # noqa: F401
from values import cities, full_name, labelled, names, pool, record, side  # noqa: F401

PROMPT_WEIGHT = 0.1  # how much a prompt's own text counts in the loss; replies and prose count 1
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
END_OF_TURN, END_OF_DOCUMENT = "<|im_end|>", "<|endoftext|>"
DRILLS, PROSE, COPYING = 9, 7, 7  # shares of the documents, beside those of TASKS
N_FIRST, FIRST = 10_000, {"copying": 40, "extraction": 120, "refusal": 30}  # copying is learnt before all else

RELEASED_PROMPTS = {  # the toolkit's own: never trained on, whatever the hash says
    "Summarize: Large language models are useful but require careful evaluation.",
    "Extract JSON with keys {name, email} from: 'Name: Sam, Email: sam@example.com'",
    "Write 3 bullet points about caching.", "What is 15 × 23?",
    "Explain the concept of artificial intelligence in simple terms.", "Write a short poem about technology.",
    "Summarize the key benefits of renewable energy.",
    "What are the main differences between classical and quantum computing?",
    "What are the main differences between classical computing and quantum computing?",
    "Describe the process of photosynthesis in plants.", "Describe the process of photosynthesis.",
}
Segment = tuple[str, float]  # text, weight in the loss


def items(task: str, split: str, seed: int = 0, **options) -> Iterator[Item]:
    """Endless items of one task; the same seed gives the same items.

    >>> next(items("arithmetic", "eval", 1)).check
    'number'
    """
    rng = random.Random(f"{task} {split} {seed}")
    maker = TASKS[task][0]
    while True:
        item = maker(rng, split, **options)
        if split == "eval" or item.prompt not in RELEASED_PROMPTS:
            yield item


def drill(rng: random.Random) -> list[Segment]:
    """A sheet of sums: only what follows the question counts in the loss."""
    segments: list[Segment] = [(rng.choice(["Sums\n", "Practice\n", "Exercises\n"]), 1.0)]
    for _ in range(rng.randint(6, 16)):
        question, answer = arithmetic(rng, "train").reply.split(" = ", 1)
        segments += [(question + " = ", PROMPT_WEIGHT), (answer, 1.0), ("\n", 1.0)]
    return segments + [(END_OF_DOCUMENT, 1.0)]


def copying(rng: random.Random) -> list[Segment]:
    """A sheet on which words are copied, or looked up in a record and copied: what extraction is made of."""
    segments: list[Segment] = [("Copy\n", 1.0)]
    for _ in range(rng.randint(2, 5)):
        if rng.random() < 0.5:
            words = [full_name(rng, "train") for _ in range(rng.randint(2, 5))]
            segments += [(f"{' '.join(words)} =", PROMPT_WEIGHT), (f" {' '.join(words)}\n", 1.0)]
        else:
            values = record(rng, "train", rng.randint(3, 5))
            segments += [(labelled(rng, values) + "\n", PROMPT_WEIGHT)]
            for key in rng.sample(list(values), len(values)):
                segments += [(f'"{key}": ', PROMPT_WEIGHT), (f'"{values[key]}"\n', 1.0)]
    return segments + [(END_OF_DOCUMENT, 1.0)]


def chat(item: Item) -> list[Segment]:
    """A prompt and its reply in the models' chat format."""
    return [(CHAT.format(item.prompt), PROMPT_WEIGHT), (item.reply + END_OF_TURN, 1.0),
            ("\n" + END_OF_DOCUMENT, PROMPT_WEIGHT)]


def documents(seed: int = 0) -> Iterator[list[Segment]]:
    """The training stream: chats of every task, sheets of sums, plain prose; never the same again."""
    rng = random.Random(seed)
    makers = {task: items(task, "train", seed) for task in TASKS}
    later = {task: share for task, (_, share) in TASKS.items()} | {"drill": DRILLS, "prose": PROSE, "copying": COPYING}
    first = later | FIRST
    for n in count():
        shares = first if n < N_FIRST else later
        kind = rng.choices(list(shares), list(shares.values()))[0]
        if kind in makers:
            yield chat(next(makers[kind]))
        elif kind == "prose":
            yield [(prose(rng, "train") + END_OF_DOCUMENT, 1.0)]
        else:
            yield drill(rng) if kind == "drill" else copying(rng)


if __name__ == "__main__":
    for task in TASKS:
        print(f"\n===== {task}")
        for item in islice(items(task, "eval", 0), 4):
            print(f"> {item.prompt}\n{item.reply}\n")
