"""The planner of padded batches: everything once, within bounds, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engines.buckets import CHUNK, FEWEST_ROWS, TIMES, Limits, Shape, plan

LIMITS = Limits(batch_tokens=16_384, rows=512, step_cost=24)


def falling(lengths):
    return -np.sort(-np.array(lengths, np.int64))


def cost(batches, limits):
    return sum(shape.time * (shape.rows + limits.step_cost) for _, _, shape in batches)


pools = st.lists(st.integers(1, CHUNK), min_size=1, max_size=600).map(falling)
limits = st.builds(Limits, st.integers(1, 40_000), st.integers(1, 5_000), st.integers(0, 500))


@given(pools, limits, st.data())
def test_every_row_once_in_order(lengths, limits, data):
    """The batches are consecutive, begin where asked, end at the last row, and none is empty."""
    start = data.draw(st.integers(0, len(lengths)))
    batches = plan(lengths, limits, start)
    edges = [start, *(batch.stop for batch in batches)]
    assert [batch.start for batch in batches] == edges[:-1]
    assert edges[-1] == len(lengths)
    assert all(batch.start < batch.stop for batch in batches)


@given(pools, limits)
def test_rows_fit_their_batch(lengths, limits):
    """No row is longer than its batch is wide, and no batch holds more rows than its shape says."""
    for start, stop, shape in plan(lengths, limits):
        assert lengths[start:stop].max() <= shape.time
        assert stop - start <= shape.rows


@given(pools, limits)
def test_bounds_hold(lengths, limits):
    """No batch passes the budget or the bound of rows, but that a single row is always allowed."""
    for batch in plan(lengths, limits):
        rows, time = batch.shape
        assert rows == 1 or (rows <= limits.rows and rows * time <= limits.batch_tokens)


@given(pools)
def test_shapes_are_few(lengths):
    """Times and rows come from small fixed sets, and rows are whole registers."""
    rows = {FEWEST_ROWS * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)}
    for batch in plan(lengths, LIMITS):
        assert batch.shape.time in TIMES
        assert batch.shape.rows in rows


def test_widths_waste_little():
    """A row's own rounding never adds as much as an eighth."""
    assert TIMES[0] == 1
    assert all(
        (wide - (narrow + 1)) / (narrow + 1) < 1 / 8 for narrow, wide in zip(TIMES, TIMES[1:], strict=False)
    )


@given(pools)
def test_never_dearer_than_one_batch_after_another(lengths):
    """The plan costs no more than filling batches of any one size to the end."""
    batches = plan(lengths, LIMITS)
    for rows in (16, 64, 128):
        simple = [
            (s, s + rows, Shape(rows, plan(lengths, LIMITS, s)[0].shape.time))
            for s in range(0, len(lengths), rows)
        ]
        assert cost(batches, LIMITS) <= cost(simple, LIMITS)


def test_padding_of_a_full_pool_is_small():
    """A pool of 20,000 rows of lognormal lengths carries at most 4 % of padding."""
    drawn = np.random.default_rng(0).lognormal(2.2, 0.8, 20_000)
    lengths = falling(np.clip(drawn, 1, CHUNK))
    batches = plan(lengths, LIMITS)
    padded = sum(shape.rows * shape.time for _, _, shape in batches)
    assert padded * 0.96 <= lengths.sum() <= padded


@pytest.mark.parametrize(("rows", "expected"), [(1, 16), (16, 16), (17, 32), (512, 512)])
def test_equal_rows(rows, expected):
    """Rows of one length share a batch, filled up to the next size."""
    assert plan(np.full(rows, 9), LIMITS) == [(0, rows, Shape(expected, 9))]


def test_nothing_to_plan():
    """No rows, no batches."""
    assert plan(np.empty(0, np.int64), LIMITS) == []
