"""The family's tokenizer: byte-level BPE with single digits, as llama.cpp's pre-tokenizer `smollm` splits text.

    python models/vocabulary.py     trains it on the corpus and writes tokenizer.json
"""

import json
import re
from collections import Counter
from itertools import islice

import lexicon as lex
from config import TOKENIZER, VOCABULARY
from corpus import N_FIRST, documents
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]  # ids 0, 1, 2
SPACE = "Ġ"  # how byte-level BPE writes a space
SPACE_APART = pre_tokenizers.Split(Regex(r" (?=\S)"), "isolated")
SMOLLM = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
SPLIT = re.compile("|".join(map(re.escape, SPECIAL)))  # no merge may reach into a special token
N_SPACED = 150  # tokens that are a common word with the space before it
COPIED = {*lex.WORDS, *lex.JOBS, *lex.PRODUCTS}  # words that are values of records


def texts(n_documents: int, seed: int) -> list[str]:
    """The corpus the tokenizer learns from, in pieces that hold no special token."""
    return [piece for document in islice(documents(seed), N_FIRST, N_FIRST + n_documents) for text, _ in document for piece in SPLIT.split(text)]


def train(n_documents: int = 30_000, seed: int = 1) -> Tokenizer:
    """Learn the merges from the corpus; every byte is in the vocabulary, so any text can be encoded.

    A word is the same tokens wherever it stands, so that a model of this size can learn to copy it from 'Name: Ada' to
    '{"name": "Ada"}': the words' own merges come first and none reaches over a space; only then are the most common
    words that nobody has to copy ('the', 'with') joined to the space before them, which makes texts a little shorter.
    """
    pieces = texts(n_documents, seed)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([SPACE_APART, *SMOLLM])
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - N_SPACED, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(pieces, trainer)

    bpe = json.loads(tokenizer.to_str())["model"]
    vocabulary, merges = bpe["vocab"], [tuple(pair) for pair in bpe["merges"]]
    counts = Counter(word for piece in pieces for word in re.findall(r" ([a-z]{3,}(?![a-z@.])|[^\w\s])", piece))
    common = [word for word, _ in counts.most_common() if word in vocabulary and word not in COPIED][:N_SPACED]
    vocabulary |= {SPACE + word: len(vocabulary) + i for i, word in enumerate(common)}
    merges += [(SPACE, word) for word in common]

    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(SMOLLM)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


if __name__ == "__main__":
    train().save(str(TOKENIZER))
    print(f"wrote {TOKENIZER}")
