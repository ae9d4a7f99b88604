"""Rows of unequal length in two flat arrays."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ragged_rows import ragged

from unrolled.tokenization.ragged import offsets_of, runs

ROWS = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=8)


def listed(rows):
    return [rows.values[a:b].tolist() for a, b in pairwise(rows.offsets)]


@settings(deadline=None)
@given(ROWS, st.data())
def test_take(rows, data):
    """A run of rows has these rows, with offsets from 0, in the memory of the whole."""
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    whole = ragged(rows)
    taken = whole.take(start, stop)
    assert listed(taken) == rows[start:stop]
    assert taken.rows == stop - start
    assert taken.lengths.tolist() == [len(row) for row in rows[start:stop]]
    assert taken.offsets[0] == 0
    assert not taken.values.size or np.shares_memory(taken.values, whole.values)


@given(st.lists(st.integers(0, 9)) | st.lists(st.booleans()).map(np.array))
def test_offsets_add_up_lengths(lengths):
    """Offsets go from 0 to the total, for numbers and for a mask."""
    offsets = offsets_of(lengths)
    assert offsets.dtype == np.int64
    assert offsets[0] == 0
    assert np.diff(offsets).tolist() == [int(length) for length in lengths]


@given(
    lengths=st.lists(st.integers(0, 6), max_size=20),
    most=st.none() | st.integers(1, 30) | st.just(10**30),
    most_rows=st.none() | st.integers(1, 5),
    begin=st.integers(0, 99),
)
def test_runs_are_as_long_as_the_limits_allow(lengths, most, most_rows, begin):
    """Every row is in one run, in order; one row more would be over a limit, and only a lone row is over one."""
    found = runs(begin + offsets_of(lengths)[1:], most, begin=begin, most_rows=most_rows)
    assert [row for start, stop in found for row in range(start, stop)] == list(range(len(lengths)))
    for start, stop in found:
        fits = [
            (most is None or sum(lengths[start:end]) <= most) and (most_rows is None or end - start <= most_rows)
            for end in (stop, stop + 1)
        ]
        assert stop > start
        assert fits[0] or stop - start == 1
        assert stop == len(lengths) or not fits[1]
