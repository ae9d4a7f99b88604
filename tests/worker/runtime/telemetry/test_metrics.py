"""Counters that workers send with their heartbeat."""

import json
import threading

from worker.engines.engine import PoolStats
from worker.runtime.outcome import Outcome
from worker.runtime.telemetry.metrics import Metrics, progress_line


def test_what_is_counted_adds_up():
    """Pools, files and seconds from many threads, and the rates that follow from them."""
    metrics = Metrics()

    def work():
        for _ in range(1000):
            metrics.computed(rows=2, seconds=0.001, stats=PoolStats(10, 10), waits=[0.25, 0.5])
            metrics.admitted(2.0)
            metrics.read(0.375)
            metrics.decoded(0.125)
            metrics.written(0.25)
            metrics.ended(Outcome.PUBLISHED)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = metrics.snapshot()
    assert found["pools"] == found["shards"] == 4000
    assert (found["rows"], found["tokens"]) == (8000, 40_000)
    assert (found["read_seconds"], found["write_seconds"]) == (2000, 1000)
    assert (found["room_wait_seconds"], found["engine_wait_seconds"]) == (8000, 3000)
    assert found["tokens_per_second"] == 10_000
    assert found["up_seconds"] > 0
    assert found["busy_share"] > 0


def test_a_fresh_worker_has_done_nothing():
    """No division by nothing, and the numbers are fit for JSON."""
    found = Metrics().snapshot()
    assert json.loads(json.dumps(found)) == found
    assert {name for name, value in found.items() if value} <= {"up_seconds"}


def test_shared_prefixes_and_planning_are_distinguished():
    """If an engine reports them, its planning seconds are counted once, and its computed tokens over the real ones."""
    metrics = Metrics()
    metrics.computed(rows=3, seconds=2.0, stats=PoolStats(100, 80, 0.5))
    metrics.computed(rows=1, seconds=2.0, stats=PoolStats(100, 100))
    found = metrics.snapshot()
    assert (found["plan_seconds"], found["compute_seconds"]) == (0.5, 3.5)
    assert found["computed_share"] == 0.9
    assert found["tokens_per_second"] == 50


def test_the_present_pool_counts_as_work():
    """Its seconds are known before its tokens are: the speed is that of the pools before it."""
    metrics = Metrics()
    metrics._started -= 10
    metrics.computed(rows=1, seconds=2.0, stats=PoolStats(100, 100))
    found = metrics.snapshot(pool_seconds=3.0)
    assert (found["compute_seconds"], found["tokens_per_second"]) == (5, 50)
    assert 0.49 < found["busy_share"] <= 0.5
    assert metrics.snapshot(pool_seconds=60.0)["busy_share"] == 1


def test_a_line_for_the_log_tells_of_the_time_between():
    """Rates and seconds are those since the last line; where nothing was done there is none."""
    metrics = Metrics()
    metrics.computed(rows=9, seconds=9.0, stats=PoolStats(900, 900))
    before = metrics.snapshot()
    assert progress_line(before, metrics.snapshot()) is None
    metrics.read(0.25)
    metrics.admitted(2.0)
    metrics.computed(rows=1, seconds=2.0, stats=PoolStats(2000, 1500, 0.1), waits=[0.5])
    metrics.written(0.75)
    metrics.ended(Outcome.PUBLISHED)
    now = metrics.snapshot() | {"up_seconds": before["up_seconds"] + 4}
    assert progress_line(before, now) == (
        "1 shard, 2,000 tokens in 4 s: engine busy 50%, 1,000 tokens/s, 75% of them computed; "
        "seconds in read 0.2, plan 0.1, compute 1.9, write 0.8; shards waited 2.0 s for memory or while one ran alone, "
        "0.5 s for the engine"
    )


def test_padding_is_no_share_of_the_tokens():
    metrics = Metrics()
    before = metrics.snapshot()
    metrics.computed(rows=1, seconds=2.0, stats=PoolStats(100, 852))
    assert "tokens/s, 8.5 steps computed for each, with padding; seconds" in progress_line(before, metrics.snapshot())


def test_a_low_rate_is_no_standstill():
    """An engine that took its time to start gave few tokens a second, not none."""
    metrics = Metrics()
    before = metrics.snapshot()
    metrics.computed(rows=1, seconds=100.0, stats=PoolStats(42, 42))
    assert ", 0.4 tokens/s," in (progress_line(before, metrics.snapshot()) or "")


def test_each_stage_of_a_shard_and_of_a_pool_has_its_distribution():
    """A pool's seconds count for each of its shards, a value at a bound counts below it, and an end has its kind."""
    metrics = Metrics()
    metrics.computed(rows=3, seconds=2.0, stats=PoolStats(1024, 80, 0.5), waits=[0.1, 400.0])
    metrics.admitted(0.0)
    metrics.read(0.002)
    metrics.decoded(0.001)
    metrics.written(0.3)
    metrics.failed(2)
    metrics.ended(Outcome.PUBLISHED)
    metrics.ended(Outcome.PUBLISHED)
    metrics.ended(Outcome.HELD)
    found = metrics.tallies()
    assert found.outcomes == {Outcome.PUBLISHED: 2, Outcome.HELD: 1}
    assert found.totals["failed_rows"] == 2
    assert {stage: sum(buckets.counts) for stage, buckets in found.shards.items()} == {
        **dict.fromkeys(("room_wait", "read", "decode", "write"), 1),
        **dict.fromkeys(("engine_wait", "compute"), 2),
    }
    assert {stage: buckets.total for stage, buckets in found.pools.items()} == {"plan": 0.5, "compute": 1.5}
    waits = found.shards["engine_wait"]
    assert waits.counts[-1] == 1
    assert waits.counts[waits.bounds.index(0.1)] == 1
    assert found.pool_tokens.counts[found.pool_tokens.bounds.index(1024)] == 1
