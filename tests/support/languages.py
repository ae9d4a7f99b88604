"""A small language whose next word can be learnt, far better than word frequencies alone predict it."""

import json

import numpy as np

#: Every word is followed by one of this many others, at random.
CHOICES = 2
WORDS = 40


def sentences(count, seed=0):
    """Lists of word numbers in 0..WORDS - 1."""
    random = np.random.default_rng(seed)
    after = np.random.default_rng(7).permuted(np.tile(np.arange(WORDS), (WORDS, 1)), axis=1)[:, :CHOICES]
    made = []
    for _ in range(count):
        words = [int(random.integers(WORDS))]
        for _ in range(int(random.integers(2, 14))):
            words.append(int(after[words[-1], random.integers(CHOICES)]))
        made.append(words)
    return made


def write_corpus(path, count, seed=0):
    """JSON lines with sentences of the language, as text."""
    texts = [" ".join(f"w{word}" for word in words) for words in sentences(count, seed)]
    path.write_text("".join(json.dumps({"id": f"s{at}", "text": text}) + "\n" for at, text in enumerate(texts)))
    return path
