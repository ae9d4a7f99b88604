"""Figures about a worker's work: sent with its heartbeat, shown by `unrolled status`, and logged."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from unrolled.counted import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.engines.engine import PoolStats

#: The stages whose seconds are logged, in this order.
STAGES = ("read", "plan", "compute", "write")


class Metrics:
    """Counters since the worker's start. Seconds are wall time, summed over threads for reading and writing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._totals = {
            "shards": 0.0,
            "rows": 0.0,
            "tokens": 0.0,
            "computed_tokens": 0.0,
            "pools": 0.0,
            "read_seconds": 0.0,
            "plan_seconds": 0.0,
            "compute_seconds": 0.0,
            "write_seconds": 0.0,
        }

    def computed(self, *, rows: int, seconds: float, stats: PoolStats) -> None:
        """Count one pool.

        Args:
            rows: the rows in the pool.
            seconds: how long the engine took.
            stats: the engine's report on the pool.
        """
        self._add(
            pools=1,
            rows=rows,
            tokens=stats.tokens,
            computed_tokens=stats.computed,
            plan_seconds=stats.plan_seconds,
            compute_seconds=seconds - stats.plan_seconds,
        )

    def read(self, seconds: float) -> None:
        """Count the reading of one shard."""
        self._add(read_seconds=seconds)

    def published(self, seconds: float) -> None:
        """Count one published part."""
        self._add(shards=1, write_seconds=seconds)

    def snapshot(self) -> dict[str, float]:
        """All counters, and the rates that follow from them.

        `busy_share` is the share of time that the engine was at work, `tokens_per_second` counts real tokens and the
        engine's time, and `computed_share` is computed steps over real tokens: below 1 by the share that
        prefixes saved, above 1 if the TensorFlow engine padded its batches.
        """
        with self._lock:
            totals = dict(self._totals)
        totals["up_seconds"] = time.monotonic() - self._started
        return {**{name: round(value, 3) for name, value in totals.items()}, **_rates(totals)}

    def _add(self, **amounts: float) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._totals[name] += amount


def progress_line(before: Mapping[str, float], now: Mapping[str, float]) -> str | None:
    """A line for the log about the time between two snapshots; None if nothing was computed or published."""
    span = {name: now[name] - before.get(name, 0.0) for name in now}
    if not span["pools"] and not span["shards"]:
        return None
    rates = _rates(span)
    seconds = ", ".join(f"{stage} {span[f'{stage}_seconds']:.1f}" for stage in STAGES)
    return (
        f"{counted(span['shards'], 'shard')}, {counted(span['tokens'], 'token')} in {span['up_seconds']:.0f} s: "
        f"engine busy {rates['busy_share']:.0%}, {rates['tokens_per_second']:,.0f} tokens/s, "
        f"{rates['computed_share']:.0%} of them computed; seconds in {seconds}"
    )


def _rates(totals: Mapping[str, float]) -> dict[str, float]:
    engine = totals["plan_seconds"] + totals["compute_seconds"]
    return {
        "busy_share": round(_over(engine, totals["up_seconds"]), 4),
        "tokens_per_second": round(_over(totals["tokens"], engine), 1),
        "computed_share": round(_over(totals["computed_tokens"], totals["tokens"]), 4),
    }


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
