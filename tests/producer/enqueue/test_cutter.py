"""Cuts: every row once, in order, within bounds, whatever the batches."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.enqueue.cutter import Cutter
from producer.rows import BadRow, Row


def rows_of(sizes):
    """A row of so many tokens for each number, a bad one for None."""
    return [
        BadRow("a", place, None, "bad") if size is None else Row("a", place, f"a#{place}", np.ones(size, np.int32))
        for place, size in enumerate(sizes)
    ]


def cut(rows, ends, shard_tokens, shard_rows):
    """The cuts of rows that come in batches which end at `ends`."""
    cutter = Cutter(shard_tokens, shard_rows)
    found = []
    for start, end in zip([0, *ends], [*ends, len(rows)], strict=True):
        found += cutter.add(rows[start:end])
    found += cutter.flush()
    assert cutter.empty
    return found


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.none() | st.integers(0, 12), max_size=40),
    st.integers(1, 15),
    st.integers(1, 6),
    st.data(),
)
def test_cuts(sizes, shard_tokens, shard_rows, data):
    """Put together, the cuts are the rows; none is over its bounds, nor could have held the next row."""
    rows = rows_of(sizes)
    ends = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    cuts = cut(rows, ends, shard_tokens, shard_rows)
    assert [row for each in cuts for row in each] == rows
    assert cuts == cut(rows, [], shard_tokens, shard_rows), "where batches end is nobody's business"
    tokens = [[row.tokens.size if isinstance(row, Row) else 0 for row in each] for each in cuts]
    for each, following in zip(tokens, [*tokens[1:], None], strict=False):
        assert 1 <= len(each) <= shard_rows
        assert sum(each) <= shard_tokens or len(each) == 1
        if following:
            full = sum(each) >= shard_tokens or len(each) == shard_rows
            assert full or sum(each) + following[0] > shard_tokens


def test_empty():
    """A cutter is empty until a row waits in it, and after a cut; no rows make no cut."""
    cutter = Cutter(10)
    assert cutter.empty
    assert list(cutter.flush()) == []
    assert list(cutter.add(rows_of([3]))) == []
    assert not cutter.empty
    assert len(list(cutter.add(rows_of([8])))) == 1
    assert not cutter.empty
    assert len(list(cutter.flush())) == 1
    assert cutter.empty
