"""The perplexity of a model that knows only how frequent each token is: a trained model must do better."""

import math

import numpy as np
from numpy.typing import NDArray

from unrolled.training.token_store import TokenStore


def unigram_logits(store: TokenStore, vocab_size: int) -> NDArray[np.float32]:
    """The logarithm of each token's share of the targets, with one added to every count.

    The targets are all tokens of a row except its first, as for the model.

    Returns:
        float32 (vocab_size,); id i is at i - 1.
    """
    counts = _target_counts(store, vocab_size) + 1
    logits: NDArray[np.float32] = np.log(counts / counts.sum()).astype(np.float32)
    return logits


def unigram_perplexity(logits: NDArray[np.float32], store: TokenStore) -> float:
    """The perplexity of a store's targets.

    Args:
        logits: from `unigram_logits`, usually of another store.
        store: the rows.
    """
    counts = _target_counts(store, len(logits))
    return math.exp(-float(counts @ logits.astype(np.float64)) / int(counts.sum()))


def _target_counts(store: TokenStore, vocab_size: int) -> NDArray[np.int64]:
    """How often each of the ids 1..vocab_size is a target, int64 (vocab_size,)."""
    counts = np.zeros(vocab_size + 1, np.int64)
    for block in range(store.blocks):
        ids, bounds = store.read([block])
        counts += np.bincount(ids, minlength=vocab_size + 1)
        counts -= np.bincount(ids[bounds[:-1]], minlength=vocab_size + 1)
    return counts[1:]
