"""The index of ids."""

import tracemalloc
from unittest import mock

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from unrolled.reading.id_index import IdIndex, hashes_of

texts = st.lists(st.text(max_size=12), max_size=40)


@given(texts, st.integers(0, 5))
def test_every_row_is_found(ids, cut):
    """Whatever the ids are, in however many pieces: also those that occur twice, and empty ones."""
    index = IdIndex([pa.array(ids[:cut], pa.string()), pa.array(ids[cut:], pa.string())])
    for number, name in enumerate(ids):
        found = index.rows(name)
        assert number in found
        assert found == sorted(found)


@given(texts, st.integers(0, 10), st.integers(0, 10), st.integers(1, 50))
def test_a_text_has_one_hash(ids, begin, length, piece_bytes):
    """It doesn't depend on the texts around it, on the slice that it is in, or on how many are hashed at once."""
    alone = [int(hashes_of(pa.array([name]))[0]) for name in ids]
    with mock.patch("unrolled.reading.id_index._PIECE_BYTES", piece_bytes):
        assert hashes_of(pa.array(ids, pa.string()).slice(begin, length)).tolist() == alone[begin : begin + length]


def test_memory_is_that_of_some_texts():
    """However many there are: 8 MB of ids take as much memory meanwhile as 1 MB of them, and a hash each."""
    ids = pa.array([f"{'x' * 1000}{number}" for number in range(8_000)])
    tracemalloc.start()
    try:
        hashes_of(ids)
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()


def test_hashes_differ():
    """Short ids, which most are, have hashes of their own."""
    names = [f"{word}-{number}" for word in ("doc", "row", "x") for number in range(20_000)] + ["", "\0", "\0\0"]
    assert len(set(hashes_of(pa.array(names)).tolist())) == len(names)


def test_no_rows():
    """A job may have none."""
    assert IdIndex([]).rows("a") == []
    assert IdIndex([pa.array([], pa.string())]).rows("a") == []
