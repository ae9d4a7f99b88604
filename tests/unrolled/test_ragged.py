"""Rows of unequal length in two flat arrays."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ragged_rows import ragged

ROWS = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=8)


def listed(rows):
    return [rows.values[a:b].tolist() for a, b in pairwise(rows.offsets)]


@settings(deadline=None)
@given(ROWS, st.data())
def test_take(rows, data):
    """A run of rows holds those rows, counted from 0, in the same memory."""
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    whole = ragged(rows)
    taken = whole.take(start, stop)
    assert listed(taken) == rows[start:stop]
    assert taken.rows == stop - start
    assert taken.lengths.tolist() == [len(row) for row in rows[start:stop]]
    assert taken.offsets[0] == 0
    assert not taken.values.size or np.shares_memory(taken.values, whole.values)
