"""Counters that workers send with their heartbeat."""

import json
import threading

from worker.metrics import Metrics


def test_what_is_counted_adds_up():
    """Pools, files and seconds from many threads, and the rates that follow from them."""
    metrics = Metrics()

    def work():
        for _ in range(1000):
            metrics.computed(rows=2, tokens=10, seconds=0.001)
            metrics.read(0.5)
            metrics.published(0.25)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = metrics.snapshot()
    assert found["pools"] == found["shards"] == 4000
    assert (found["rows"], found["tokens"]) == (8000, 40_000)
    assert (found["read_seconds"], found["write_seconds"]) == (2000, 1000)
    assert found["tokens_per_second"] == 10_000
    assert found["up_seconds"] > 0
    assert found["busy_share"] > 0


def test_a_fresh_worker_has_done_nothing():
    """No division by nothing, and the numbers are fit for JSON."""
    found = Metrics().snapshot()
    assert json.loads(json.dumps(found)) == found
    assert {name for name, value in found.items() if value} <= {"up_seconds"}
