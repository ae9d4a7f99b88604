"""Finding the rows that an engine fails on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import per_token
from support.counting_engine import expected_outputs, fill

from unrolled.errors import BrokenWorkerError, TransientError
from unrolled.format.columns import VectorColumn
from unrolled.patience import ATTEMPTS, FIRST_PAUSE
from unrolled.tokenization.ragged import Ragged
from worker.errors import GivenBackError
from worker.pool.isolation import REASON_CHARACTERS, compute_isolating

UNITS = 3
COLUMNS = per_token(UNITS)


class Fragile:
    """Computes rows, raises an error for rows with a listed token, and counts its calls."""

    name, arithmetic, description = "fragile", "float32", ""

    def __init__(self, bad=(), *, error=ValueError, on_any=False):
        self.bad, self.error, self.on_any, self.calls = set(bad), error, on_any, 0

    def compute(self, shards, outputs, columns):
        self.calls += 1
        for shard in shards:
            found = self.bad & set(shard.values.tolist())
            if found or self.on_any:
                raise self.error(f"token {found}")
        return fill(shards, outputs, columns)


def isolating(engine, shard, outputs=None, columns=COLUMNS, pool_tokens=10**6, pause=pytest.fail):
    arrays = outputs or [
        np.empty((column.vectors(shard.rows, shard.values.size), column.width), np.float32) for column in columns
    ]
    (failed,) = compute_isolating(engine, [shard], [arrays], columns, pool_tokens, pause)
    return failed


def shard_of(rows, length=3):
    """Row i has the token i + 2 only, `length` times."""
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
    # For each bad row: the runs that it is in, their other halves, and the probe.
    assert engine.calls <= 1 + len(bad) * (2 * math.ceil(math.log2(rows) if rows > 1 else 0) + 1)


@pytest.mark.parametrize("rows", [1, 2, 17])
def test_an_engine_that_fails_on_anything_blames_no_row(rows):
    """The worker is broken, and the text has the engine's reason."""
    shard = shard_of(rows)
    with pytest.raises(BrokenWorkerError, match=r"fails on any row .OSError: token") as caught:
        isolating(Fragile(error=OSError, on_any=True), shard)
    assert isinstance(caught.value.__cause__, OSError)


def test_rows_that_bring_initial_states_are_probed_with_some():
    """The engine would refuse a row without them, and the data would seem to be right."""
    shard = shard_of(3)._replace(states=np.zeros((3, 2), np.float32))
    given = []

    class Noting(Fragile):
        def compute(self, shards, outputs, columns):
            given.extend(each.states.shape for each in shards)
            return super().compute(shards, outputs, columns)

    assert set(isolating(Noting({3}), shard)) == {1}
    assert set(given) <= {(rows, 2) for rows in (1, 2, 3)}


class Short(Fragile):
    """Has no memory for rows with a listed token, until it was asked for that row alone often enough."""

    def __init__(self, times, error=MemoryError):
        super().__init__(error=error)
        self.left = dict(times)
        self.computed = []

    def compute(self, shards, outputs, columns):
        (shard,) = shards
        found = [token for token, times in self.left.items() if times and token in shard.values]
        if found:
            self.left[found[0]] -= shard.rows == 1
            raise self.error
        self.computed += shard.values[shard.offsets[:-1]].tolist()
        return super().compute(shards, outputs, columns)


@pytest.mark.parametrize("error", [MemoryError, TransientError("no memory on the device")])
def test_a_row_that_stops_for_what_passes_is_tried_again(error):
    """No row is blamed; other rows are computed once and don't wait."""
    shard = shard_of(8)
    pauses, engine = [], Short({3: 1, 7: ATTEMPTS - 1}, error)
    outputs = np.full((shard.values.size, UNITS), np.nan, np.float32)
    assert isolating(engine, shard, [outputs], pause=pauses.append) == {}
    assert sorted(engine.computed) == list(range(2, 10))
    assert pauses == [FIRST_PAUSE * 2**number for number in range(ATTEMPTS - 1)]
    expected = np.empty_like(outputs)
    fill([shard], [[expected]], COLUMNS)
    np.testing.assert_array_equal(outputs, expected)


def test_a_row_that_never_fits_is_set_aside_in_the_end():
    """After all tries it fails with its reason; more rows that fail don't make the pauses longer."""
    pauses, engine = [], Short({3: 99, 5: 99, 7: ATTEMPTS})
    failed = isolating(engine, shard_of(8), pause=pauses.append)
    assert failed == dict.fromkeys([1, 3, 5], f"MemoryError ({ATTEMPTS} times)")
    assert engine.left == {3: 99 - ATTEMPTS, 5: 99 - ATTEMPTS, 7: 0}
    assert len(pauses) == ATTEMPTS - 1
    assert sorted(engine.computed) == [1, 2, 4, 6, 8, 9]  # the first is the probe


def test_shards_of_a_pool_wait_together():
    """Each shard has its own failed rows, and one series of pauses serves all of them."""
    shards = [shard_of(3), shard_of(2)]
    outputs = [[np.empty((shard.values.size, UNITS), np.float32)] for shard in shards]
    pauses, engine = [], Short({3: 4, 4: 99})
    failed = compute_isolating(engine, shards, outputs, COLUMNS, 10**6, pauses.append)
    assert failed == [{2: f"MemoryError ({ATTEMPTS} times)"}, {}]
    assert len(pauses) == ATTEMPTS - 1


def test_an_engine_without_memory_for_anything_blames_no_row():
    """The engine is tried again, and then the worker is broken."""
    pauses = []
    with pytest.raises(BrokenWorkerError, match=r"fails on any row .MemoryError"):
        isolating(Fragile(error=MemoryError, on_any=True), shard_of(4), pause=pauses.append)
    assert len(pauses) == ATTEMPTS - 1


def test_what_the_pause_raises_ends_the_work():
    """A worker that is stopping doesn't wait."""

    def closed(_):
        raise GivenBackError

    with pytest.raises(GivenBackError):
        isolating(Short({3: 99}), shard_of(4), pause=closed)


def test_a_broken_engine_is_not_looked_into():
    """BrokenWorkerError is raised at the first call."""
    engine = Fragile({2}, error=BrokenWorkerError)
    shard = shard_of(8)
    with pytest.raises(BrokenWorkerError):
        isolating(engine, shard)
    assert engine.calls == 1


def test_empty_rows_and_empty_shards_are_computed():
    """Rows without tokens fail only if the engine fails on them."""
    shard = Ragged(np.array([5, 6], np.int32), np.array([0, 0, 1, 1, 2, 2]))
    assert isolating(Fragile(), shard) == {}
    assert set(isolating(Fragile({6}), shard)) == {3}
    nothing = Ragged(np.zeros(0, np.int32), np.zeros(1, np.int64))
    assert isolating(Fragile(), nothing) == {}


def test_a_reason_is_bounded():
    """An engine's message may have any length; a stored reason may not."""

    def long(_):
        return ValueError("x" * 10_000)

    failed = isolating(Fragile({2}, error=long), shard_of(2))
    assert len(failed[0]) == REASON_CHARACTERS


def test_pooled_vectors_of_good_rows_are_their_own():
    """No row gets its neighbour's pooled vector, also when a shard is computed in runs."""
    columns = (*COLUMNS, VectorColumn("mean", 0, 2), VectorColumn("first", 1, 5))
    shard, engine = shard_of(9), Fragile({4, 9})
    arrays = [np.zeros((column.vectors(9, 27), column.width), np.float32) for column in columns]
    assert set(isolating(engine, shard, arrays, columns, pool_tokens=12)) == {2, 7}
    expected = [np.zeros_like(array) for array in arrays]
    fill([shard], [expected], columns)
    for row in set(range(9)) - {2, 7}:
        np.testing.assert_array_equal(arrays[0][3 * row : 3 * row + 3], expected[0][3 * row : 3 * row + 3])
        np.testing.assert_array_equal(arrays[1][row], expected[1][row])
        np.testing.assert_array_equal(arrays[2][row], expected[2][row])
