"""The fused engine's plan: the order of rows, shared prefixes, and wrong input."""

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ragged_rows import ragged

from worker.engines.fused import library

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))


def plan(rows, vocab_size, backward=False):
    """The rows in sorted order, and how many tokens each shares with the one before."""
    values, offsets, *_ = ragged(rows)
    order, shared = np.full(len(rows), -1, np.int64), np.full(len(rows), -1, np.int32)
    count, problem = ctypes.c_int64(), library.Problem()
    shard = library.Shard(values.ctypes.data, offsets.ctypes.data, len(rows), len(values), None)
    status = library.load().unrolled_plan(
        ctypes.byref(shard), vocab_size, backward, order.ctypes.data, shared.ctypes.data, count, problem
    )
    assert status == library.OK
    begins = order[: count.value]
    ends = np.searchsorted(offsets, begins, side="right")
    return [tuple(values[b : offsets[e]].tolist()) for b, e in zip(begins, ends, strict=True)], shared[
        : count.value
    ].tolist()


def common(a, b):
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def expected(rows):
    ordered = sorted(tuple(row) for row in rows if row)
    return ordered, [0, *map(common, ordered, ordered[1:])][: len(ordered)]


@given(st.lists(st.lists(st.integers(1, 3), max_size=30), max_size=60))
def test_few_tokens_share_long_prefixes(rows):
    """Rows are in lexicographic order, with the exact number of shared tokens."""
    assert plan(rows, 3) == expected(rows)


@given(st.lists(st.lists(st.integers(1, 3), max_size=30), max_size=60))
def test_backward_layers_share_suffixes(rows):
    """Rows that are read from the end are in the order of their reversals."""
    ordered, shared = expected([row[::-1] for row in rows])
    assert plan(rows, 3, backward=True) == ([row[::-1] for row in ordered], shared)


@pytest.mark.parametrize("vocab_size", [2, 255, 65_535, 65_536, 2**31 - 2])
def test_any_vocabulary(vocab_size):
    """Sort keys of two and of four bytes a token give one order, up to the largest id."""
    random = np.random.default_rng(vocab_size)
    rows = [(vocab_size - random.integers(0, min(vocab_size, 4), random.integers(0, 12))).tolist() for _ in range(500)]
    assert plan(rows, vocab_size) == expected(rows)


def test_many_long_equal_rows():
    """Rows with long common prefixes, and duplicates, need no recursion."""
    stem = np.random.default_rng(0).integers(1, 100, 5_000).tolist()
    rows = [stem[:k] for k in range(4_900, 5_000)] * 2 + [[*stem, 7], [*stem, 3]]
    assert plan(rows, 100) == expected(rows)
