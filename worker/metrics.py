"""What a worker has done, in numbers; sent with its heartbeat and shown by `unrolled status`."""

from __future__ import annotations

import threading
import time


class Metrics:
    """Counters since the worker's start; seconds are wall time, summed over threads in read and write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._totals = {
            "shards": 0.0,
            "rows": 0.0,
            "tokens": 0.0,
            "pools": 0.0,
            "read_seconds": 0.0,
            "compute_seconds": 0.0,
            "write_seconds": 0.0,
        }

    def computed(self, *, rows: int, tokens: int, seconds: float) -> None:
        """Count one pool."""
        self._add(pools=1, rows=rows, tokens=tokens, compute_seconds=seconds)

    def read(self, seconds: float) -> None:
        """Count the reading of one shard."""
        self._add(read_seconds=seconds)

    def published(self, seconds: float) -> None:
        """Count one published file."""
        self._add(shards=1, write_seconds=seconds)

    def snapshot(self) -> dict[str, float]:
        """All counters, the share of time that the engine was busy, and real tokens per second of its time."""
        with self._lock:
            totals = dict(self._totals)
        up = time.monotonic() - self._started
        compute = totals["compute_seconds"]
        return {
            **{name: round(value, 3) for name, value in totals.items()},
            "up_seconds": round(up, 3),
            "busy_share": round(compute / up, 4) if up else 0.0,
            "tokens_per_second": round(totals["tokens"] / compute, 1) if compute else 0.0,
        }

    def _add(self, **amounts: float) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._totals[name] += amount
