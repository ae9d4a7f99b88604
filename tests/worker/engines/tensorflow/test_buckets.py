"""The plan of padded batches: every row once, within the limits, with little padding."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engines.tensorflow.buckets import CHUNK, ROW_COUNTS, TIMES, Batch, Limits, Shape, plan, total_cost

LIMITS = Limits(batch_tokens=16_384, row_counts=ROW_COUNTS[:10], step_cost=24)


def falling(lengths):
    return -np.sort(-np.array(lengths, np.int64))


pools = st.lists(st.integers(1, CHUNK), min_size=1, max_size=600).map(falling)
row_counts = st.sets(st.sampled_from(ROW_COUNTS), min_size=1).map(lambda counts: tuple(sorted(counts)))
limits = st.builds(Limits, st.integers(1, 40_000), row_counts, st.integers(0, 500))


@given(pools, limits, st.data())
def test_every_row_once_in_order(lengths, limits, data):
    """The batches are consecutive, begin at the given row, end at the last one, and none is empty."""
    start = data.draw(st.integers(0, len(lengths)))
    batches = plan(lengths, limits, start)
    edges = [start, *(batch.stop for batch in batches)]
    assert [batch.start for batch in batches] == edges[:-1]
    assert edges[-1] == len(lengths)
    assert all(batch.start < batch.stop for batch in batches)


@given(pools, limits)
def test_rows_fit_their_batch(lengths, limits):
    """No row is longer than its batch is wide, and no batch has more rows than its shape."""
    for start, stop, shape in plan(lengths, limits):
        assert lengths[start:stop].max() <= shape.time
        assert stop - start <= shape.rows


@given(pools, limits)
def test_bounds_hold(lengths, limits):
    """No batch exceeds the budget, except that a single row is always allowed."""
    for batch in plan(lengths, limits):
        rows, time = batch.shape
        assert rows == 1 or rows * time <= limits.batch_tokens


@given(pools, limits)
def test_shapes_are_few(lengths, limits):
    """Times and rows are from fixed sets; the number of rows differs only if no member fits the budget."""
    for batch in plan(lengths, limits):
        rows, time = batch.shape
        assert time in TIMES
        assert rows in limits.row_counts or limits.row_counts[0] * time > limits.batch_tokens


def test_widths_waste_little():
    """Rounding adds less than an eighth to a row."""
    assert TIMES[0] == 1
    assert all((wide - (narrow + 1)) / (narrow + 1) < 1 / 8 for narrow, wide in pairwise(TIMES))


@given(pools)
def test_never_dearer_than_one_batch_after_another(lengths):
    """The plan costs no more than batches of any single size."""
    batches = plan(lengths, LIMITS)
    for rows in (16, 64, 128):
        starts = range(0, len(lengths), rows)
        times = [TIMES[np.searchsorted(TIMES, lengths[start])] for start in starts]
        simple = [Batch(start, start + rows, Shape(rows, time)) for start, time in zip(starts, times, strict=True)]
        assert total_cost(batches, LIMITS) <= total_cost(simple, LIMITS)


def test_padding_of_a_full_pool_is_small():
    """A pool of 20,000 rows of lognormal lengths has at most 5 % of padding."""
    drawn = np.random.default_rng(0).lognormal(2.2, 0.8, 20_000)
    lengths = falling(np.clip(drawn, 1, CHUNK))
    batches = plan(lengths, LIMITS)
    padded = sum(shape.rows * shape.time for _, _, shape in batches)
    assert padded * 0.95 <= lengths.sum() <= padded


@pytest.mark.parametrize(("rows", "expected"), [(1, 16), (16, 16), (17, 32), (512, 512)])
def test_equal_rows(rows, expected):
    """Rows of one length share a batch, which is filled up to the next size."""
    assert plan(np.full(rows, 9), LIMITS) == [(0, rows, Shape(expected, 9))]


def test_nothing_to_plan():
    """Without rows there are no batches."""
    assert plan(np.empty(0, np.int64), LIMITS) == []
