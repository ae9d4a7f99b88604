"""The perplexity of a model that knows nothing but how often each token comes: what training must beat."""

import math

import numpy as np
from numpy.typing import NDArray

from unrolled.training.token_store import TokenStore

_AT_ONCE = 2**22


def unigram_logits(store: TokenStore, vocab_size: int) -> NDArray[np.float32]:
    """float32 (vocab_size,): the log of each token's share of the targets, one added to every count.

    Targets are every token of a row but its first, as for the model.
    """
    counts = _target_counts(store, vocab_size) + 1
    logits: NDArray[np.float32] = np.log(counts / counts.sum()).astype(np.float32)
    return logits


def unigram_perplexity(logits: NDArray[np.float32], store: TokenStore) -> float:
    """The perplexity of a store's targets by `unigram_logits` of another one."""
    counts = _target_counts(store, len(logits))
    return math.exp(-float(counts @ logits.astype(np.float64)) / int(counts.sum()))


def _target_counts(store: TokenStore, vocab_size: int) -> NDArray[np.int64]:
    """int64 (vocab_size,): how often ids 1..vocab_size are to be predicted."""
    counts = np.zeros(vocab_size + 1, np.int64)
    for start, stop in store.blocks(_AT_ONCE):
        ids, bounds = store.read(start, stop)
        counts += np.bincount(ids, minlength=vocab_size + 1)
        counts -= np.bincount(ids[bounds[:-1]], minlength=vocab_size + 1)
    return counts[1:]
