"""Finding the rows that an engine fails on."""

import math

import numpy as np
import pytest
from columns import per_token
from counting_engine import expected_outputs, fill
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import BrokenWorkerError
from unrolled.outputs import OutputColumn
from unrolled.ragged import Ragged
from worker.isolation import REASON_CHARACTERS, compute_isolating

UNITS = 3
COLUMNS = per_token(UNITS)


class Fragile:
    """Computes rows, raises for any whose first token is listed, and counts its calls."""

    name, precision, description = "fragile", "float32", ""

    def __init__(self, bad=(), *, error=ValueError, on_any=False):
        self.bad, self.error, self.on_any, self.calls = set(bad), error, on_any, 0

    def compute(self, shards, outputs, columns):
        self.calls += 1
        for shard in shards:
            found = self.bad & set(shard.values.tolist())
            if found or self.on_any:
                raise self.error(f"token {found}")
        fill(shards, outputs, columns)


def isolating(engine, shard, outputs=None, columns=COLUMNS, parts=None):
    arrays = outputs or [
        np.empty((column.vectors(shard.rows, shard.values.size), column.width), np.float32) for column in columns
    ]
    return compute_isolating(engine, shard, arrays, columns, parts or [(0, shard.rows)])


def shard_of(rows, length=3):
    """Row i has the tokens i + 2 only, `length` of them."""
    values = np.repeat(np.arange(2, rows + 2), length).astype(np.int32)
    return Ragged(values, np.arange(rows + 1) * length)


@settings(deadline=None)
@given(st.integers(1, 40).flatmap(lambda rows: st.tuples(st.just(rows), st.sets(st.integers(0, rows - 1)))))
def test_exactly_the_failing_rows_are_found(case):
    """Any subset of failing rows is named, each with its reason; all others are computed."""
    rows, bad = case
    shard = shard_of(rows)
    outputs = np.full((shard.values.size, UNITS), np.nan, np.float32)
    engine = Fragile({row + 2 for row in bad})
    failed = isolating(engine, shard, [outputs])
    assert set(failed) == bad
    assert all(reason == f"ValueError: token {{{row + 2}}}" for row, reason in failed.items())
    for row in set(range(rows)) - bad:
        start, stop = shard.offsets[row : row + 2]
        np.testing.assert_array_equal(outputs[start:stop], expected_outputs(shard.values[start:stop], UNITS))
    # For each bad row: the spans that hold it, their other halves, and the probe.
    assert engine.calls <= 1 + len(bad) * (2 * math.ceil(math.log2(rows) if rows > 1 else 0) + 1)


@pytest.mark.parametrize("rows", [1, 2, 17])
def test_an_engine_that_fails_on_anything_blames_no_row(rows):
    """It is the worker that is broken; the text says what the engine said."""
    shard = shard_of(rows)
    with pytest.raises(BrokenWorkerError, match=r"fails on any row .OSError: token") as caught:
        isolating(Fragile(error=OSError, on_any=True), shard)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_broken_engine_is_not_looked_into():
    """BrokenWorkerError goes through at the first call."""
    engine = Fragile({2}, error=BrokenWorkerError)
    shard = shard_of(8)
    with pytest.raises(BrokenWorkerError):
        isolating(engine, shard)
    assert engine.calls == 1


def test_empty_rows_and_empty_shards_are_computed():
    """Rows without a token fail only if the engine does."""
    shard = Ragged(np.array([5, 6], np.int32), np.array([0, 0, 1, 1, 2, 2]))
    assert isolating(Fragile(), shard) == {}
    assert set(isolating(Fragile({6}), shard)) == {3}
    nothing = Ragged(np.zeros(0, np.int32), np.zeros(1, np.int64))
    assert isolating(Fragile(), nothing) == {}


def test_a_reason_is_bounded():
    """An engine's message may be of any length; what is stored isn't."""

    def long(_):
        return ValueError("x" * 10_000)

    failed = isolating(Fragile({2}, error=long), shard_of(2))
    assert len(failed[0]) == REASON_CHARACTERS


def test_pooled_vectors_of_good_rows_are_their_own():
    """A failing row takes no neighbour's vector, and the parts that a shard is computed in are kept."""
    columns = (*COLUMNS, OutputColumn("mean", 0, "mean", 2), OutputColumn("first", 1, "first", 5))
    shard, engine = shard_of(9), Fragile({4, 9})
    arrays = [np.zeros((column.vectors(9, 27), column.width), np.float32) for column in columns]
    assert set(isolating(engine, shard, arrays, columns, [(0, 4), (4, 9)])) == {2, 7}
    expected = [np.zeros_like(array) for array in arrays]
    fill([shard], [expected], columns)
    for row in set(range(9)) - {2, 7}:
        np.testing.assert_array_equal(arrays[0][3 * row : 3 * row + 3], expected[0][3 * row : 3 * row + 3])
        np.testing.assert_array_equal(arrays[1][row], expected[1][row])
        np.testing.assert_array_equal(arrays[2][row], expected[2][row])
