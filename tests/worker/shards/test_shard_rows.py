"""Reading a shard's rows, checked against the model."""

import errno
import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ragged_rows import ragged

from unrolled.errors import PayloadError, TransientError
from unrolled.job import payload
from unrolled.job.payload import Payload
from worker.shards.shard_rows import ShardRows, read_rows

VOCABULARY = 100


def spooled(directory, rows):
    """Rows in a file; (path, content hash)."""
    blob = payload.encode(Payload(pa.array([f"id {i}" for i in range(len(rows))], pa.string()), ragged(rows)))
    path = directory / hashlib.sha256(blob).hexdigest()
    path.write_bytes(blob)
    return path, payload.content_hash(blob)


ROWS = st.lists(st.lists(st.integers(0, VOCABULARY), max_size=6), max_size=8)


def rows_of(tokens):
    return [tokens.values[a:b].tolist() for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]


@settings(deadline=None)
@given(ROWS)
def test_rows_come_back_and_their_zeros_are_left_out(tmp_path_factory, rows):
    """Ids and tokens as they were spooled; what an engine gets is the same without zeros, wherever they were."""
    found = read_rows(*spooled(tmp_path_factory.mktemp("rows"), rows), VOCABULARY)
    assert found.ids.to_pylist() == [f"id {i}" for i in range(len(rows))]
    assert rows_of(found.tokens) == rows
    assert rows_of(found.real) == [[token for token in row if token] for row in rows]
    assert found.real.values.dtype == np.int32
    assert found.kept is None
    assert found.failed == []


@settings(deadline=None)
@given(
    ROWS.filter(bool).flatmap(lambda rows: st.tuples(st.just(rows), st.sets(st.integers(0, len(rows) - 1), min_size=1)))
)
def test_failed_rows_are_taken_out_and_listed(case):
    """The others keep order, ids and tokens; `kept` picks their outputs; what failed can be redone from its list."""
    rows, bad = case
    tokens = ragged(rows)
    real = ragged([[token for token in row if token] for row in rows])
    whole = ShardRows(pa.array([f"id {i}" for i in range(len(rows))], pa.string()), tokens, real)
    good = whole.without({row: f"reason {row}" for row in bad})
    left = [i for i in range(len(rows)) if i not in bad]
    assert good.ids.to_pylist() == [f"id {i}" for i in left]
    assert rows_of(good.tokens) == [rows[i] for i in left]
    assert rows_of(good.real) == [[token for token in rows[i] if token] for i in left]
    np.testing.assert_array_equal(real.values[good.kept], good.real.values)
    assert good.failed == [{"row": i, "id": f"id {i}", "reason": f"reason {i}", "tokens": rows[i]} for i in sorted(bad)]
    assert whole.without({}) is whole


def test_an_id_over_the_vocabulary_is_refused(tmp_path):
    """The largest id that the model knows is taken, the next one isn't; the text names both."""
    read_rows(*spooled(tmp_path, [[VOCABULARY]]), VOCABULARY)
    with pytest.raises(PayloadError, match="token id 101; the model knows 1 to 100"):
        read_rows(*spooled(tmp_path, [[1, VOCABULARY + 1]]), VOCABULARY)


def test_missing_rows_are_told(tmp_path):
    """The text says what to run."""
    with pytest.raises(PayloadError, match="missing; run the same `unrolled enqueue` again"):
        read_rows(tmp_path / "none.rows", "0" * 12, VOCABULARY)


def test_other_rows_under_the_name_are_refused(tmp_path):
    """The shard's id names its content."""
    path, _ = spooled(tmp_path, [[1, 2]])
    _, other = spooled(tmp_path, [[3]])
    with pytest.raises(PayloadError, match="holds other rows than its name says"):
        read_rows(path, other, VOCABULARY)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_damage_is_noticed(tmp_path_factory, data):
    """One byte changed, cut off or added anywhere: PayloadError, whatever the header now claims."""
    path, content_hash = spooled(tmp_path_factory.mktemp("rows"), [[1, 2, 0], [], [70, 9]])
    blob = bytearray(path.read_bytes())
    how = data.draw(st.sampled_from(["flip", "cut", "add"]))
    place = data.draw(st.integers(0, len(blob) - 1))
    if how == "flip":
        blob[place] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del blob[place:]
    else:
        blob += data.draw(st.binary(min_size=1, max_size=9))
    path.write_bytes(blob)
    with pytest.raises(PayloadError):
        read_rows(path, content_hash, VOCABULARY)


def test_a_place_that_can_not_be_read_may_come_back(tmp_path):
    """What the system refuses for now is no fault of the rows."""
    (tmp_path / "rows").mkdir()
    with pytest.raises(TransientError, match="can't be read") as caught:
        read_rows(tmp_path / "rows", "0" * 12, VOCABULARY)
    assert caught.value.__cause__.errno == errno.EISDIR
