"""The family's tokenizer: byte-level BPE with single digits, as llama.cpp's pre-tokenizer `smollm` splits text.

    python models/vocabulary.py     trains it on the corpus and writes tokenizer.json
"""

import re
from itertools import islice

from config import TOKENIZER, VOCABULARY
from corpus import documents
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]  # ids 0, 1, 2
SPACE_APART = pre_tokenizers.Split(Regex(r" (?=\S)"), "isolated")
SPLIT = re.compile("|".join(map(re.escape, SPECIAL)))  # no merge may reach into a special token


def train(n_documents: int = 30_000, seed: int = 1) -> Tokenizer:
    """Learn the merges from the corpus; every byte is in the vocabulary, so any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    smollm = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    # No merge may join a word to the space before it: then a word is the same tokens wherever it stands, and a model
    # of this size can learn to copy it from 'Name: Ada' to '{"name": "Ada"}'.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([SPACE_APART, *smollm])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    texts = (piece for document in islice(documents(seed), n_documents) for text, _ in document for piece in SPLIT.split(text))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(smollm)
    return tokenizer


if __name__ == "__main__":
    train().save(str(TOKENIZER))
    print(f"wrote {TOKENIZER}")
