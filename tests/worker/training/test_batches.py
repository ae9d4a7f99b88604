"""Padded batches and windows of rows: each token once, in an order that depends on the seed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.token_stores import stored

from worker.training import batches as module
from worker.training.batches import training_batches, validation_batches, windows

ROWS = st.lists(st.lists(st.integers(1, 999), min_size=2, max_size=40), min_size=1, max_size=40)


def rows_of(batches):
    return sorted(row[row > 0].tolist() for batch in batches for row in batch)


@settings(max_examples=60)
@given(rows=ROWS, batch_tokens=st.integers(1, 200), window=st.integers(1, 50), seed=st.integers(0, 9))
def test_every_row_once_longest_first_within_the_budget(tmp_path_factory, rows, batch_tokens, window, seed):
    """In training and in validation."""
    store = stored(tmp_path_factory.mktemp("store"), rows)
    for made in (
        list(training_batches(store, batch_tokens, window, (seed, 0))),
        list(validation_batches(store, batch_tokens, window)),
    ):
        assert rows_of(made) == sorted(rows)
        for batch in made:
            lengths = np.count_nonzero(batch, axis=1)
            assert (np.diff(lengths) <= 0).all()
            assert lengths[0] == batch.shape[1]
            assert len(batch) == 1 or len(batch) * min(lengths[0] - 1, window) <= batch_tokens


@settings(max_examples=60)
@given(rows=ROWS, window=st.integers(1, 50))
def test_windows_hold_each_target_once(tmp_path_factory, rows, window):
    """Each token except a row's first is the target of the one before it; the first rows continue."""
    store = stored(tmp_path_factory.mktemp("store"), rows)
    pairs = []
    for batch in validation_batches(store, 100, window):
        before = len(batch)
        for inputs, targets in windows(batch, window):
            assert inputs.shape == targets.shape
            assert inputs.shape[1] <= window
            assert len(inputs) <= before
            before = int((np.count_nonzero(inputs, axis=1) == window).sum())
            real = targets > 0
            assert real[:, 0].all()
            pairs += zip(inputs[real].tolist(), targets[real].tolist(), strict=True)
    assert sorted(pairs) == sorted(pair for row in rows for pair in pairwise(row))


def test_the_order_is_the_seeds_and_goes_on_anywhere(tmp_path, monkeypatch):
    """Over several blocks, a seed always gives the same batches, also from the middle on; another seed gives others."""
    monkeypatch.setattr(module, "MIXED_BLOCKS", 4)
    random = np.random.default_rng(0)
    rows = [random.integers(1, 999, random.integers(2, 20)).tolist() for _ in range(300)]
    store = stored(tmp_path, rows, block_tokens=64)
    made = [batch.tolist() for batch in training_batches(store, 50, 16, (1, 0))]
    for first in (0, 1, 7, 30, len(made)):
        assert [batch.tolist() for batch in training_batches(store, 50, 16, (1, 0), first)] == made[first:]
    assert made != [batch.tolist() for batch in training_batches(store, 50, 16, (1, 1))]


def test_rows_of_like_length_meet(tmp_path):
    """Padding stays a small share."""
    random = np.random.default_rng(0)
    rows = [random.integers(1, 999, random.integers(2, 60)).tolist() for _ in range(3000)]
    cells = sum(batch.size for batch in training_batches(stored(tmp_path, rows), 1024, 64, (0, 0)))
    assert sum(map(len, rows)) / cells == pytest.approx(1, abs=0.08)
