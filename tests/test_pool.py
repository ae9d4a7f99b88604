"""The pool: everything that waits is computed together."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest
from counting_engine import expected_outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import eventually

from unrolled.errors import BrokenWorkerError
from unrolled.ragged import Ragged
from worker.buffers import Buffers
from worker.errors import GivenBackError
from worker.metrics import Metrics
from worker.pool import Pool

UNITS = 2


class Recorder:
    """Computes checksums, notes the shards of each call, and waits at a gate where there is one."""

    name, precision, units, description = "recorder", "float32", UNITS, ""

    def __init__(self, error=None, bad=()):
        self.error, self.bad = error, set(bad)
        self.calls = []
        self.gate = threading.Semaphore(0)
        self.gated = False

    def compute(self, shards, outputs):
        self.calls.append([shard.values.tolist() for shard in shards])
        if self.gated:
            self.gate.acquire()
        if self.error:
            raise self.error
        for shard, output in zip(shards, outputs, strict=True):
            if self.bad & set(shard.values.tolist()):
                raise ValueError("bad")
            for row in range(shard.rows):
                start, stop = shard.offsets[row : row + 2]
                output[start:stop] = expected_outputs(shard.values[start:stop], UNITS)


def shard_of(*rows):
    lengths = [len(row) for row in rows]
    return Ragged(
        np.array(list(chain.from_iterable(rows)), np.int32), np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    )


def outputs_of(shard):
    parts = [shard.values[a:b] for a, b in zip(shard.offsets[:-1], shard.offsets[1:], strict=True)]
    return np.concatenate([expected_outputs(part, UNITS) for part in parts] or [np.empty((0, UNITS), np.float32)])


@pytest.fixture
def started():
    """Makes started pools, and closes them at the end."""
    pools = []

    def make(engine, pool_tokens=1000, buffers=None, metrics=None):
        pool = Pool(engine, buffers or Buffers(UNITS, 2**20), metrics or Metrics(), pool_tokens)
        pool.start()
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


def fill(pool, engine, threads, shards):
    """Hold the engine at a first shard while others come in, in order; their futures."""
    engine.gated = True
    futures = [threads.submit(pool.compute, shards[0])]
    eventually(lambda: engine.calls, "the engine at work")
    for number, shard in enumerate(shards[1:], 1):
        futures.append(threads.submit(pool.compute, shard))
        eventually(lambda number=number: len(pool._waiting) == number, "the shard in the queue")
    return futures


def test_an_idle_engine_starts_at_once(started):
    """A single shard is computed with no wait for company."""
    engine = Recorder()
    shard = shard_of([1, 2], [], [3])
    computed = started(engine).compute(shard)
    np.testing.assert_array_equal(computed.outputs, outputs_of(shard))
    assert computed.failed == {}
    assert engine.calls == [[[1, 2, 3]]]


def test_everything_that_waits_goes_together(started):
    """While the engine is busy the next pool grows; it takes all, in order, up to the budget."""
    engine = Recorder()
    pool = started(engine, pool_tokens=5)
    shards = [shard_of([i] * size) for i, size in enumerate([1, 2, 2, 1, 4, 9, 1], 1)]
    with ThreadPoolExecutor(10) as threads:
        futures = fill(pool, engine, threads, shards)
        for _ in range(5):
            engine.gate.release()
        for future, shard in zip(futures, shards, strict=True):
            np.testing.assert_array_equal(future.result(10).outputs, outputs_of(shard))
    # 1 | 2 + 2 + 1 | 4 | 9, over the budget, alone | 1
    assert [[len(values) for values in call] for call in engine.calls] == [[1], [2, 2, 1], [4], [9], [1]]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.integers(1, 50), max_size=5), max_size=4), min_size=1, max_size=30),
    st.integers(1, 60),
)
def test_every_shard_gets_its_own_outputs(rows, pool_tokens):
    """Whatever comes from many threads in whatever company: outputs are the shard's own, and no array is shared."""
    pool = Pool(Recorder(), buffers := Buffers(UNITS, 2**20), Metrics(), pool_tokens)
    pool.start()

    def travel(shard_rows):
        shard = shard_of(*shard_rows)
        computed = pool.compute(shard)
        np.testing.assert_array_equal(computed.outputs, outputs_of(shard))
        computed.outputs[:] = -1
        buffers.give(computed.outputs)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(travel, rows))
    pool.close()


def test_closing_in_mid_compute_gives_back_at_once(started):
    """Those who wait and those in the engine are told without a wait for it; later ones too."""
    engine = Recorder()
    buffers = Buffers(UNITS, 2**20)
    pool = started(engine, buffers=buffers)
    with ThreadPoolExecutor(4) as threads:
        futures = fill(pool, engine, threads, [shard_of([1]), shard_of([2]), shard_of([3])])
        pool.close()
        for future in futures:
            assert isinstance(future.exception(10), GivenBackError)
    assert pool.busy_seconds() > 0
    with pytest.raises(GivenBackError):
        pool.compute(shard_of([4]))
    engine.gate.release()
    eventually(lambda: pool.busy_seconds() == 0, "the engine idle")
    assert len(engine.calls) == 1
    # The array of the shard that nobody waits for any more is there for the next one, unused.
    assert buffers._used == 0


def test_a_bad_row_costs_its_shard_only_the_row(started):
    """The others of the same pool, and of the same shard, are computed; nobody else's outputs are touched."""
    engine = Recorder(bad={7})
    pool = started(engine)
    shards = [shard_of([1]), shard_of([2, 3], [7], [4]), shard_of([5])]
    with ThreadPoolExecutor(4) as threads:
        futures = fill(pool, engine, threads, shards)
        engine.gated = False
        engine.gate.release()
        results = [future.result(10) for future in futures]
    assert [set(result.failed) for result in results] == [set(), {1}, set()]
    np.testing.assert_array_equal(results[1].outputs[[0, 1, 3]], outputs_of(shards[1])[[0, 1, 3]])
    np.testing.assert_array_equal(results[2].outputs, outputs_of(shards[2]))


def test_a_broken_engine_is_told_to_everybody(started):
    """All shards of the pool get the error, and the pool goes on with the next ones."""
    engine = Recorder(error=BrokenWorkerError("smoke"))
    pool = started(engine)
    with ThreadPoolExecutor(4) as threads:
        futures = fill(pool, engine, threads, [shard_of([1]), shard_of([2]), shard_of([3])])
        engine.gated = False
        engine.gate.release()
        for future in futures:
            assert isinstance(future.exception(10), BrokenWorkerError)
    engine.error = None
    np.testing.assert_array_equal(pool.compute(shard_of([4])).outputs, outputs_of(shard_of([4])))


def test_no_memory_for_outputs_is_told_too(started):
    """What fails before the engine reaches whoever waits; nobody hangs."""

    class Full(Buffers):
        def take(self, _):
            raise MemoryError

    with pytest.raises(MemoryError):
        started(Recorder(), buffers=Full(UNITS, 1)).compute(shard_of([1]))


def test_a_pool_is_counted(started):
    """Rows and tokens of every pool reach the metrics."""
    metrics = Metrics()
    pool = started(Recorder(), metrics=metrics)
    pool.compute(shard_of([1, 2], [3]))
    eventually(lambda: metrics.snapshot()["pools"] == 1, "the count")
    assert metrics.snapshot()["rows"] == 2
    assert metrics.snapshot()["tokens"] == 3
