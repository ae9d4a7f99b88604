"""The seconds of shards: each attempt has its own, on whatever thread it runs."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from unrolled.errors import TransientError
from worker.runtime.telemetry.shard_times import ShardTimes


def test_attempts_at_once_are_kept_apart():
    """Each thread's stages count for its own shard."""
    told, together = [], Barrier(4, timeout=30)
    times = ShardTimes([told.append])

    def attempt(number):
        with times.attempt("job", number):
            together.wait()
            times.add("wait", 1.0)
            times.add("wait", number)
            times.computed(rows=number, tokens=10, computed=5, engine_seconds=2.0, all_seconds=3.5)
            together.wait()
            times.add("read", 0.5)
            times.add("write", 4.0)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(attempt, range(4)))
    assert sorted(seconds.shard for seconds in told) == list(range(4))
    for seconds in told:
        assert seconds.rows == seconds.shard
        assert seconds.wait == 1.0 + seconds.shard + 1.5
        assert (seconds.tokens, seconds.computed, seconds.compute, seconds.write) == (10, 5, 2.0, 4.0)
        assert seconds.read == 0.5


def fail(times):
    with times.attempt("job", 2):
        times.add("write", 1.0)
        raise TransientError("full")


def test_an_attempt_without_a_part_is_not_reported():
    """What failed, or was published before, has no time that belongs to a part."""
    told = []
    times = ShardTimes([told.append])
    with times.attempt("job", 1):
        times.add("read", 1.0)
    with pytest.raises(TransientError):
        fail(times)
    times.add("write", 1.0)  # of no attempt
    assert told == []
