"""The perplexity of token frequencies alone."""

import math

import numpy as np
import pytest
from support.token_stores import stored

from worker.training.unigrams import unigram_logits, unigram_perplexity


def test_it_is_what_one_counts_by_hand(tmp_path):
    """The first token of a row isn't a target, and one is added to every count."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    train = stored(tmp_path / "a", [[3, 1, 1], [3, 2]], 3)  # targets 1, 1, 2
    held_out = stored(tmp_path / "b", [[1, 1], [2, 3]], 3)  # targets 1, 3
    logits = unigram_logits(train, 3)
    assert np.exp(logits) == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert unigram_perplexity(logits, held_out) == pytest.approx(math.sqrt(6 / 3 * 6 / 1))
