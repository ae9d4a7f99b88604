"""Reading a shard's rows, checked against the model."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ragged_rows import ragged

from unrolled.errors import PayloadError
from unrolled.format.file_info import FailedRow
from unrolled.job import payload
from unrolled.job.payload import VERSION, Payload
from unrolled.job.shard_id import ShardId
from unrolled.protocol.spooling import Place, make_retry, make_rows, select_rows
from worker.shards.shard_rows import ShardRows, decode_rows

VOCABULARY = 100


def spooled(rows):
    """The bytes of some rows, and the shard that they are."""
    blob = payload.encode(Payload(pa.array([f"id {i}" for i in range(len(rows))], pa.string()), ragged(rows)))
    return blob, ShardId(7, payload.content_hash(blob))


ROWS = st.lists(st.lists(st.integers(0, VOCABULARY), max_size=6), max_size=8)


def rows_of(tokens):
    return [tokens.values[a:b].tolist() for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]


@settings(deadline=None)
@given(ROWS)
def test_rows_come_back_and_their_zeros_are_left_out(rows):
    """Ids and tokens as they were spooled; an engine gets the ids without zeros, wherever they were."""
    found = decode_rows(*spooled(rows), VOCABULARY)
    assert found.ids.to_pylist() == [f"id {i}" for i in range(len(rows))]
    assert rows_of(found.tokens) == rows
    assert rows_of(found.real) == [[token for token in row if token] for row in rows]
    assert found.real.values.dtype == np.int32
    assert (found.good, found.kept, found.failed) == (None, None, ())


@settings(deadline=None)
@given(
    ROWS.filter(bool).flatmap(lambda rows: st.tuples(st.just(rows), st.sets(st.integers(0, len(rows) - 1), min_size=1)))
)
def test_failed_rows_are_taken_out_and_listed(case):
    """The others keep order, ids and tokens; `good` picks their rows and `kept` their tokens out of all outputs."""
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
    assert [row for row, is_good in enumerate(good.good) if is_good] == left
    assert good.failed == tuple(FailedRow(i, f"id {i}", f"reason {i}") for i in sorted(bad))
    assert whole.without({}) is whole


def test_initial_states_stay_with_their_rows():
    """Padding that is left out moves none, and a failed row takes its own; other widths are refused."""
    states = np.arange(6, dtype=np.float32).reshape(3, 2)
    tokens = ragged([[1, 0], [2], [0, 3]])._replace(states=states)
    made = make_rows("0123456789abcdef", Place(0, "f", 0), ["a", "b", "c"], tokens)
    found = decode_rows(made.rows, made.entry.shard, VOCABULARY, given_dim=2)
    np.testing.assert_array_equal(found.real.states, states)
    np.testing.assert_array_equal(found.without({1: "bad"}).real.states, states[[0, 2]])
    for width, words in (
        (0, "initial states of 2 numbers; the model reads no"),
        (3, "the model reads initial states of 3"),
    ):
        with pytest.raises(PayloadError, match=words):
            decode_rows(made.rows, made.entry.shard, VOCABULARY, given_dim=width)
    retried = make_retry(made.entry.shard, select_rows(made.rows, [2]))
    found = decode_rows(retried.rows, retried.entry.shard, VOCABULARY, given_dim=2)
    np.testing.assert_array_equal(found.real.states, states[2:])


def test_an_id_over_the_vocabulary_is_refused():
    """The largest id that the model knows is taken, the next one isn't; the text names both."""
    decode_rows(*spooled([[VOCABULARY]]), VOCABULARY)
    with pytest.raises(PayloadError, match="token id 101; the model knows 1 to 100"):
        decode_rows(*spooled([[1, VOCABULARY + 1]]), VOCABULARY)


def test_other_rows_under_the_name_are_refused():
    """The shard's id names its content."""
    rows, _ = spooled([[1, 2]])
    _, other = spooled([[3]])
    with pytest.raises(
        PayloadError, match=f"the rows of shard {other} are damaged: they are others than its name says"
    ):
        decode_rows(rows, other, VOCABULARY)


def test_rows_of_another_version_are_named_so():
    """They aren't called damaged: their digest may be in another place."""
    rows, shard = spooled([[1, 2]])
    other = rows[:8] + (VERSION - 1).to_bytes(2, "little") + rows[10:]
    with pytest.raises(PayloadError, match=f"payload version {VERSION - 1}; this release reads {VERSION}"):
        decode_rows(other, shard, VOCABULARY)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_damage_is_noticed(data):
    """One byte changed, cut off or added anywhere: PayloadError, whatever the header now claims."""
    rows, shard = spooled([[1, 2, 0], [], [70, 9]])
    blob = bytearray(rows)
    how = data.draw(st.sampled_from(["flip", "cut", "add"]))
    place = data.draw(st.integers(0, len(blob) - 1))
    if how == "flip":
        blob[place] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del blob[place:]
    else:
        blob += data.draw(st.binary(min_size=1, max_size=9))
    with pytest.raises(PayloadError):
        decode_rows(bytes(blob), shard, VOCABULARY)
