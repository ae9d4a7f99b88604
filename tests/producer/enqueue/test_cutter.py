"""Cuts: every row once, in order, within bounds, whatever the batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.enqueue.cutter import FILE_BYTES, SHARD_ROWS, Cutter, cuts, shard_limits
from producer.sources.errors import SourceError
from producer.sources.rows import BadRow, Row


def rows_of(sizes):
    """A row for each number, with that many tokens; a bad row for None."""
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
    found = cut(rows, ends, shard_tokens, shard_rows)
    assert [row for each in found for row in each] == rows
    assert found == cut(rows, [], shard_tokens, shard_rows), "the cuts don't depend on where batches end"
    tokens = [[row.tokens.size if isinstance(row, Row) else 0 for row in each] for each in found]
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


def test_cuts_of_files():
    """Where the input is no live one, only rows decide, and what is left is cut last."""
    batches = [rows_of([3]), [], rows_of([3, 3]), [], []]
    assert [len(each) for each in cuts(batches, Cutter(6), None)] == [2, 1]
    assert list(cuts([], Cutter(6), None)) == []


def test_cuts_of_a_stream(monkeypatch):
    """On a live input, a shard is cut once its first row has waited for so long, and not before."""
    now = [1000.0]
    monkeypatch.setattr("producer.enqueue.cutter.time.monotonic", lambda: now[0])

    def batches():
        for seconds, batch in [
            (0, []),
            (50, rows_of([1])),
            (4, []),
            (2, rows_of([1])),
            (3, []),
            (2, []),
            (9, rows_of([1])),
            (9, []),
        ]:
            now[0] += seconds
            yield batch

    found = [(now[0] - 1000, len(each)) for each in cuts(batches(), Cutter(100), 5.0)]
    assert found == [(56, 2), (79, 1)]


@pytest.mark.parametrize(("units", "tokens"), [(1, 2**18), (64, 2**18), (512, 2**15), (1024, 2**14), (10**6, 2**12)])
def test_shards_aim_at_files_of_one_size(units, tokens):
    """Within bounds: neither tiny files nor shards that take forever."""
    assert shard_limits(4 * units, 0) == (tokens, SHARD_ROWS)
    if 2**12 < tokens < 2**18:
        assert tokens * units * 4 == FILE_BYTES


@pytest.mark.parametrize(("units", "pools", "rows"), [(1, 1, 2**16), (512, 1, 2**15), (512, 4, 2**13), (10**8, 1, 1)])
def test_pooled_vectors_are_counted_by_the_row(units, pools, rows):
    """Tokens weigh nothing then, and a shard holds many; but not more rows than a file's worth."""
    assert shard_limits(0, pools * units * 4) == (2**17, rows)
    if 1 < rows < SHARD_ROWS:
        assert rows * units * pools * 4 == FILE_BYTES
    assert shard_limits(512 * 4, pools * units * 4) == (2**15, rows)


@pytest.mark.parametrize(("flush_seconds", "kept"), [(60.0, 3), (None, 2)])
def test_an_input_that_breaks_off(flush_seconds, kept):
    """What a live input gave is cut before the error, because it can't be read again; a file can."""
    rows, found = rows_of([2, 2, 2]), []

    def batches():
        yield rows
        raise SourceError("-", 3, "broke off")

    def take():
        for cut in cuts(batches(), Cutter(shard_tokens=4), flush_seconds):
            found.extend(cut)

    with pytest.raises(SourceError, match="broke off"):
        take()
    assert found == rows[:kept]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.none() | st.integers(0, 12), max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(1, 15),
    st.integers(1, 6),
)
def test_cuts_where_the_input_once_ended(sizes, ends, shard_tokens, shard_rows):
    """The rows up to each end, and those between two ends, are cut as if they were all that there is."""
    rows, ends = rows_of(sizes), sorted(ends)
    cutter = Cutter(shard_tokens, shard_rows, ends)
    found = [*cutter.add(rows), *cutter.flush()]
    apart = [rows[start:stop] for start, stop in zip([0, *ends], [*ends, len(rows)], strict=True)]
    assert found == [each for some in apart for each in cut(some, [], shard_tokens, shard_rows)]
