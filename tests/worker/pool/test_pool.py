"""The pool: all waiting shards are computed together."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import per_token
from support.counting_engine import expected_outputs
from support.counting_engine import fill as compute
from support.processes import eventually
from support.ragged_rows import ragged

from unrolled.errors import BrokenWorkerError
from unrolled.format.columns import VectorColumn
from worker.errors import GivenBackError
from worker.pool.buffers import Buffers
from worker.pool.pool import Pool
from worker.runtime.telemetry.metrics import Metrics

UNITS = 2
COLUMNS = per_token(UNITS)


class Recorder:
    """Computes checksums, records the shards of each call, and can wait at a gate."""

    name, arithmetic, description = "recorder", "float32", ""

    def __init__(self, error=None, bad=()):
        self.error, self.bad = error, set(bad)
        self.calls = []
        self.gate = threading.Semaphore(0)
        self.gated = False

    def compute(self, shards, outputs, columns):
        self.calls.append([shard.values.tolist() for shard in shards])
        if self.gated:
            self.gate.acquire()
        if self.error:
            raise self.error
        if any(self.bad & set(shard.values.tolist()) for shard in shards):
            raise ValueError("bad")
        return compute(shards, outputs, columns)


def shard_of(*rows):
    return ragged(rows)


def outputs_of(shard):
    parts = [shard.values[a:b] for a, b in zip(shard.offsets[:-1], shard.offsets[1:], strict=True)]
    return np.concatenate([expected_outputs(part, UNITS) for part in parts] or [np.empty((0, UNITS), np.float32)])


@pytest.fixture
def started():
    """Starts pools, and closes them at the end."""
    pools = []

    def make(engine, pool_tokens=1000, buffers=None, metrics=None):
        pool = Pool(engine, buffers or Buffers(2**20), metrics or Metrics(), pool_tokens)
        pool.start()
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


def fill(pool, engine, threads, shards):
    """Keep the engine busy with a first shard while others arrive in order; returns their futures."""
    engine.gated = True
    futures = [threads.submit(pool.compute, "job", shards[0], COLUMNS)]
    eventually(lambda: engine.calls, "the engine at work")
    for number, shard in enumerate(shards[1:], 1):
        futures.append(threads.submit(pool.compute, "job", shard, COLUMNS))
        eventually(lambda number=number: len(pool._waiting) == number, "the shard in the queue")
    return futures


def test_an_idle_engine_starts_at_once(started):
    """A single shard is computed without waiting for others."""
    engine = Recorder()
    shard = shard_of([1, 2], [], [3])
    computed = started(engine).compute("job", shard, COLUMNS)
    np.testing.assert_array_equal(computed.outputs[0], outputs_of(shard))
    assert computed.failed == {}
    assert engine.calls == [[[1, 2, 3]]]


def test_everything_that_waits_goes_together(started):
    """While the engine is busy, the next pool grows; it takes all shards in order, up to the budget."""
    engine = Recorder()
    pool = started(engine, pool_tokens=5)
    shards = [shard_of([i] * size) for i, size in enumerate([1, 2, 2, 1, 4, 9, 1], 1)]
    with ThreadPoolExecutor(10) as threads:
        futures = fill(pool, engine, threads, shards)
        for _ in range(5):
            engine.gate.release()
        for future, shard in zip(futures, shards, strict=True):
            np.testing.assert_array_equal(future.result(60).outputs[0], outputs_of(shard))
    # 1 | 2 + 2 + 1 | 4 | 9, over the budget, alone | 1
    assert [[len(values) for values in call] for call in engine.calls] == [[1], [2, 2, 1], [4], [9], [1]]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.integers(1, 50), max_size=5), max_size=4), min_size=1, max_size=30),
    st.integers(1, 60),
)
def test_every_shard_gets_its_own_outputs(rows, pool_tokens):
    """Outputs are the shard's own, from any number of threads, and no array is shared."""
    pool = Pool(Recorder(), buffers := Buffers(2**20), Metrics(), pool_tokens)
    pool.start()

    def travel(shard_rows):
        shard = shard_of(*shard_rows)
        with pool.compute("job", shard, COLUMNS) as computed:
            np.testing.assert_array_equal(computed.outputs[0], outputs_of(shard))
            computed.outputs[0][:] = -1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(travel, rows))
    pool.close()
    assert buffers._used == 0


def test_closing_in_mid_compute_gives_back_at_once(started):
    """Waiting shards and those in the engine are given back at once, and so are later ones."""
    engine = Recorder()
    buffers = Buffers(2**20)
    pool = started(engine, buffers=buffers)
    with ThreadPoolExecutor(4) as threads:
        futures = fill(pool, engine, threads, [shard_of([1]), shard_of([2]), shard_of([3])])
        pool.close()
        for future in futures:
            assert isinstance(future.exception(60), GivenBackError)
    assert pool.busy_seconds() > 0
    with pytest.raises(GivenBackError):
        pool.compute("job", shard_of([4]), COLUMNS)
    engine.gate.release()
    eventually(lambda: pool.busy_seconds() == 0, "the engine idle")
    assert len(engine.calls) == 1
    # The array of the shard that was given back is used for the next one.
    assert buffers._used == 0


def test_a_bad_row_costs_its_shard_only_the_row(started):
    """All other rows of the pool and of the shard are computed, with their own outputs."""
    engine = Recorder(bad={7})
    pool = started(engine)
    shards = [shard_of([1]), shard_of([2, 3], [7], [4]), shard_of([5])]
    with ThreadPoolExecutor(4) as threads:
        futures = fill(pool, engine, threads, shards)
        engine.gated = False
        engine.gate.release()
        results = [future.result(60) for future in futures]
    assert [set(result.failed) for result in results] == [set(), {1}, set()]
    np.testing.assert_array_equal(results[1].outputs[0][[0, 1, 3]], outputs_of(shards[1])[[0, 1, 3]])
    np.testing.assert_array_equal(results[2].outputs[0], outputs_of(shards[2]))


class Short(Recorder):
    """Has no memory for rows with a certain token, this many times."""

    def __init__(self, bad, times):
        super().__init__()
        self.short_of, self.times = bad, times

    def compute(self, shards, outputs, columns):
        if self.times and any(self.short_of in shard.values for shard in shards):
            self.times -= 1
            self.calls.append("short")
            raise MemoryError
        return super().compute(shards, outputs, columns)


def test_a_row_that_memory_was_short_for_is_computed_in_the_end(started):
    """The row is not to blame: it is tried again, and its shard is complete."""
    engine = Short(7, times=4)  # the shard, the half, the row alone, and once more
    shard = shard_of([1], [2, 3], [7], [4])
    computed = started(engine).compute("job", shard, COLUMNS)
    assert computed.failed == {}
    np.testing.assert_array_equal(computed.outputs[0], outputs_of(shard))


def test_closing_ends_the_wait_for_memory(started):
    """The shard is given back at once, and the engine's thread ends."""
    engine = Short(7, times=10**9)
    pool = started(engine)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.compute, "job", shard_of([7]), COLUMNS)
        eventually(lambda: len(engine.calls) > 1, "the row tried alone")
        pool.close()
        assert isinstance(future.exception(60), GivenBackError)
    pool._thread.join(60)
    assert not pool._thread.is_alive()


def test_a_broken_engine_is_reported_to_all(started):
    """All shards of the pool get the error, and the pool continues with the next ones."""
    engine = Recorder(error=BrokenWorkerError("smoke"))
    pool = started(engine)
    with ThreadPoolExecutor(4) as threads:
        futures = fill(pool, engine, threads, [shard_of([1]), shard_of([2]), shard_of([3])])
        engine.gated = False
        engine.gate.release()
        for future in futures:
            assert isinstance(future.exception(60), BrokenWorkerError)
    engine.error = None
    np.testing.assert_array_equal(pool.compute("job", shard_of([4]), COLUMNS).outputs[0], outputs_of(shard_of([4])))


def test_no_memory_for_outputs_is_reported_too(started):
    """A failure before the engine is called reaches the waiting thread."""

    class Full(Buffers):
        def take(self, *_):
            raise MemoryError

    with pytest.raises(MemoryError):
        started(Recorder(), buffers=Full(1)).compute("job", shard_of([1]), COLUMNS)


def test_arrays_of_a_pool_that_fails_are_kept(started):
    """Arrays that were taken before memory ran out are used for the next shard."""

    class Short(Buffers):
        def take(self, columns, rows, tokens):
            if rows == 3:
                raise MemoryError
            return super().take(columns, rows, tokens)

    engine, buffers = Recorder(), Short(2**20)
    with ThreadPoolExecutor(4) as threads:
        futures = fill(
            started(engine, buffers=buffers), engine, threads, [shard_of([1]), shard_of([2]), shard_of([3], [4], [5])]
        )
        engine.gate.release()
        buffers.give(futures[0].result(60).outputs)
        assert [type(future.exception(60)) for future in futures[1:]] == [MemoryError, MemoryError]
    assert buffers._used == 0


def test_a_pool_is_counted(started):
    """Metrics count the rows and tokens of every pool."""
    metrics = Metrics()
    pool = started(Recorder(), metrics=metrics)
    pool.compute("job", shard_of([1, 2], [3]), COLUMNS)
    eventually(lambda: metrics.snapshot()["pools"] == 1, "the count")
    assert metrics.snapshot()["rows"] == 2
    assert metrics.snapshot()["tokens"] == 3


MEAN = (VectorColumn("mean", 0, UNITS),)


def test_a_small_job_does_not_wait_for_all_that_came_before(started):
    """Its shard is in the next pool, though the worker had taken several of a large job before."""
    engine = Recorder()
    pool = started(engine, pool_tokens=4)
    with ThreadPoolExecutor(10) as threads:
        futures = fill(pool, engine, threads, [shard_of([number] * 4) for number in range(1, 6)])
        futures.append(threads.submit(pool.compute, "small", shard_of([9]), COLUMNS))
        eventually(lambda: len(pool._waiting) == 5, "the shard in the queue")
        for _ in range(6):
            engine.gate.release()
        for future in futures:
            future.result(60)
    assert [call[0][0] for call in engine.calls] == [1, 9, 2, 3, 4, 5]


def test_the_pool_that_is_computed_is_known(started):
    """Its tokens, from its beginning to its end, however it ends."""
    engine = Recorder(BrokenWorkerError("no device"))
    engine.gated = True
    pool = started(engine)
    with ThreadPoolExecutor() as threads:
        future = threads.submit(pool.compute, "job", shard_of([1, 2], [3]), COLUMNS)
        eventually(lambda: pool.busy_seconds() > 0, "the pool at work")
        assert pool.busy_tokens() == 3
        engine.gate.release()
        with pytest.raises(BrokenWorkerError):
            future.result()
    eventually(lambda: pool.busy_tokens() == 0, "an idle engine")


def test_shards_of_one_call_have_the_same_columns(started):
    """Shards of jobs with other columns are computed in their turn, and none is forgotten."""
    engine = Recorder()
    pool = started(engine)
    kinds = [COLUMNS, COLUMNS, MEAN, COLUMNS, MEAN, MEAN]
    shards = [shard_of([number]) for number in range(1, 7)]
    engine.gated = True
    with ThreadPoolExecutor(10) as threads:
        futures = []
        for number, (shard, columns) in enumerate(zip(shards, kinds, strict=True)):
            futures.append(threads.submit(pool.compute, columns[0].name, shard, columns))
            eventually(lambda number=number: engine.calls and len(pool._waiting) == number, "the shard in the queue")
        for _ in range(3):
            engine.gate.release()
        for future, shard, columns in zip(futures, shards, kinds, strict=True):
            (found,) = future.result(60).outputs
            np.testing.assert_array_equal(found, outputs_of(shard))  # rows of one token: each its own mean
            assert columns in (COLUMNS, MEAN)
    assert engine.calls == [[[1]], [[3], [5], [6]], [[2], [4]]]


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(1, 50), max_size=5), max_size=20),
    pool_tokens=st.integers(1, 12),
    bad=st.sets(st.integers(2, 50), max_size=2),
)
def test_a_large_shard_is_computed_some_rows_at_a_time(rows, pool_tokens, bad):
    """Each call has a bounded number of tokens; outputs don't change, and bad rows are still found."""
    engine = Recorder(bad=bad)
    pool = Pool(engine, Buffers(2**20), Metrics(), pool_tokens)
    pool.start()
    shard = shard_of(*rows)
    columns = (*COLUMNS, *MEAN, VectorColumn("last", 0, 3))
    computed = pool.compute("job", shard, columns)
    pool.close()
    assert all(len(call[0]) <= max([pool_tokens, *map(len, rows)]) for call in engine.calls)
    assert set(computed.failed) == {number for number, row in enumerate(rows) if bad & set(row)}
    expected = [np.empty_like(array) for array in computed.outputs]
    compute([shard], [expected], columns)
    for number in set(range(len(rows))) - set(computed.failed):
        start, stop = shard.offsets[number : number + 2]
        np.testing.assert_array_equal(computed.outputs[0][start:stop], expected[0][start:stop])
        for found, wanted in zip(computed.outputs[1:], expected[1:], strict=True):
            np.testing.assert_array_equal(found[number], wanted[number])
