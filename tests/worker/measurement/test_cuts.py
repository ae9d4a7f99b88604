"""Parts of pools that stand for the whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.measurement.cuts import ENOUGH_ROWS, Cut, cut_to, rows_beyond

LENGTHS = st.lists(st.integers(1, 5_000), min_size=1, max_size=60).map(np.array)


def test_many_short_rows_are_cut_by_rows():
    """The first ones, whole."""
    lengths = np.full(10_000, 10)
    assert cut_to(lengths, 30_000, 10) == Cut(3_000, 10)
    assert Cut(3_000, 10).beyond(lengths) == 0


def test_few_rows_are_cut_by_tokens():
    """All of them advance together, as far as the tokens go."""
    lengths = np.full(100, 1_000)
    assert cut_to(lengths, 30_000, 1_000) == Cut(100, 300)
    assert Cut(100, 300).size(lengths) == 30_000
    assert Cut(100, 300).beyond(lengths) == 70_000


def test_where_rows_are_many_and_long_both_are_cut():
    """So many rows stay as advance at full speed."""
    cut = cut_to(np.full(5_000, 1_000), 30_000, 1_000)
    assert cut == Cut(ENOUGH_ROWS, 29)


def test_no_more_tokens_are_taken_than_are_known():
    """Of a long row, the beginning alone is sent."""
    assert cut_to(np.array([1_000_000]), 500_000, 32_768) == Cut(1, 32_768)


@given(LENGTHS, st.integers(1, 100_000))
def test_a_cut_holds_about_as_much_as_asked_for(lengths, most):
    """Never more, unless each row has one token; and all where all fits."""
    cut = cut_to(lengths, most, int(lengths.max()))
    assert cut.size(lengths) <= max(most, len(lengths))
    if lengths.sum() <= most:
        assert cut.size(lengths) == lengths.sum()
    assert np.minimum(lengths, cut.tokens).sum() + cut.beyond(lengths) == lengths.sum()


def test_the_rows_that_are_left_are_those_of_most_of_the_tokens():
    """Nine rows end early; one goes on for long."""
    lengths = np.array([20] * 9 + [10_000])
    assert rows_beyond(lengths, 10) == 1
    assert rows_beyond(np.array([20] * 9 + [21]), 10) == 10
    assert rows_beyond(lengths, 10_000) == 0
