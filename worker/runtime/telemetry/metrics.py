"""Counters of a worker's work, which its heartbeat, `unrolled status`, its log and its figures for Prometheus show.

This is the one clock of a worker's stages: everything that shows where its seconds went reads them here.
"""

# Over 150 lines: one clock, and the rates that are computed from it.

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from unrolled.errors import counted
from unrolled.telemetry.distribution import SECONDS, TOKENS, Buckets, Distribution
from worker.runtime.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.engines.engine import PoolStats

#: The stages of a shard in their order: it waits for room on board (in memory, and for the end of a shard that runs
#: alone), its rows are read and decoded, it waits for the engine, its pool is computed, and its part is written and
#: published.
ShardStage = Literal["room_wait", "read", "decode", "engine_wait", "compute", "write"]
SHARD_STAGES: tuple[ShardStage, ...] = get_args(ShardStage)
#: The stages of a pool: the engine looks for shared beginnings, and computes.
PoolStage = Literal["plan", "compute"]
POOL_STAGES: tuple[PoolStage, ...] = get_args(PoolStage)
#: The stages whose seconds are logged, in this order.
_LOGGED = ("read", "plan", "compute", "write")


class Tallies(NamedTuple):
    """All figures at one moment.

    Attributes:
        totals: name → amount since the start, as in the heartbeat.
        outcomes: how many messages ended in each way.
        shards: stage → seconds of each shard in it. A shard's computation is that of its whole pool.
        pools: stage → seconds of each pool in it.
        pool_tokens: the real tokens of each pool.
    """

    totals: dict[str, float]
    outcomes: dict[Outcome, int]
    shards: dict[ShardStage, Buckets]
    pools: dict[PoolStage, Buckets]
    pool_tokens: Buckets


class Metrics:
    """Counters since the worker's start.

    Seconds are wall time. Those of reading, writing and waiting are summed over threads; those of planning and
    computing are the engine's, which computes one pool at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._totals = {
            "shards": 0.0,
            "rows": 0.0,
            "failed_rows": 0.0,
            "tokens": 0.0,
            "computed_tokens": 0.0,
            "pools": 0.0,
            "room_wait_seconds": 0.0,
            "read_seconds": 0.0,
            "engine_wait_seconds": 0.0,
            "plan_seconds": 0.0,
            "compute_seconds": 0.0,
            "write_seconds": 0.0,
        }
        self._outcomes: dict[Outcome, int] = {}
        self._shards = {stage: Distribution(SECONDS) for stage in SHARD_STAGES}
        self._pools = {stage: Distribution(SECONDS) for stage in POOL_STAGES}
        self._pool_tokens = Distribution(TOKENS)

    def computed(self, *, rows: int, seconds: float, stats: PoolStats, waits: Sequence[float] = ()) -> None:
        """Count one pool.

        Args:
            rows: the rows in the pool.
            seconds: how long the engine took.
            stats: the engine's report on the pool.
            waits: for each of its shards, the seconds that it waited for the engine.
        """
        compute_seconds = seconds - stats.plan_seconds
        with self._lock:
            self._add(
                pools=1,
                rows=rows,
                tokens=stats.tokens,
                computed_tokens=stats.computed,
                engine_wait_seconds=sum(waits),
                plan_seconds=stats.plan_seconds,
                compute_seconds=compute_seconds,
            )
            self._pools["plan"].add(stats.plan_seconds)
            self._pools["compute"].add(compute_seconds)
            self._pool_tokens.add(stats.tokens)
            for wait in waits:
                self._shards["engine_wait"].add(wait)
                self._shards["compute"].add(seconds)

    def admitted(self, seconds: float) -> None:
        """Count the wait of one shard for room on board."""
        with self._lock:
            self._add(room_wait_seconds=seconds)
            self._shards["room_wait"].add(seconds)

    def read(self, seconds: float) -> None:
        """Count the reading of one shard."""
        with self._lock:
            self._add(read_seconds=seconds)
            self._shards["read"].add(seconds)

    def decoded(self, seconds: float) -> None:
        """Count the decoding and checking of one shard's rows; a part of the seconds of reading."""
        with self._lock:
            self._add(read_seconds=seconds)
            self._shards["decode"].add(seconds)

    def written(self, seconds: float) -> None:
        """Count the writing of one shard's part, even if another one is published."""
        with self._lock:
            self._add(write_seconds=seconds)
            self._shards["write"].add(seconds)

    def failed(self, rows: int) -> None:
        """Count rows that the engine failed on, or whose numbers can't be stored."""
        with self._lock:
            self._add(failed_rows=rows)

    def ended(self, outcome: Outcome) -> None:
        """Count one message by what became of it."""
        with self._lock:
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
            if outcome == Outcome.PUBLISHED:
                self._add(shards=1)

    def snapshot(self, pool_seconds: float = 0.0) -> dict[str, float]:
        """All counters, and the rates that follow from them.

        `busy_share` is the share of time that the engine was at work, `tokens_per_second` counts real tokens and the
        engine's time, and `computed_share` is computed steps over real tokens: below 1 by the share that
        prefixes saved, above 1 if the TensorFlow engine padded its batches.

        Args:
            pool_seconds: how long the engine has been computing its present pool. It is busy then, but the pool's
                tokens aren't counted until it ends, and neither are these seconds in `tokens_per_second`.
        """
        with self._lock:
            totals = self._now()
        speed = _rates(totals)["tokens_per_second"]
        totals["compute_seconds"] += pool_seconds
        rates = _rates(totals) | {"tokens_per_second": speed}
        return {**{name: round(value, 3) for name, value in totals.items()}, **rates}

    def tallies(self) -> Tallies:
        """All counters and distributions, of one moment."""
        with self._lock:
            return Tallies(
                self._now(),
                dict(self._outcomes),
                {stage: found.buckets() for stage, found in self._shards.items()},
                {stage: found.buckets() for stage, found in self._pools.items()},
                self._pool_tokens.buckets(),
            )

    def _now(self) -> dict[str, float]:
        return {**self._totals, "up_seconds": time.monotonic() - self._started}

    def _add(self, **amounts: float) -> None:
        for name, amount in amounts.items():
            self._totals[name] += amount


def progress_line(before: Mapping[str, float], now: Mapping[str, float]) -> str | None:
    """A line for the log about the time between two snapshots; None if nothing was computed or published."""
    span = {name: now[name] - before.get(name, 0.0) for name in now}
    if not span["pools"] and not span["shards"]:
        return None
    rates = _rates(span)
    seconds = ", ".join(f"{stage} {span[f'{stage}_seconds']:.1f}" for stage in _LOGGED)
    return (
        f"{counted(span['shards'], 'shard')}, {counted(span['tokens'], 'token')} in {span['up_seconds']:.0f} s: "
        f"engine busy {rates['busy_share']:.0%}, {_rate(rates['tokens_per_second'])} tokens/s, "
        f"{_computed(rates['computed_share'])}; seconds in {seconds}; "
        f"shards waited {span['room_wait_seconds']:.1f} s for memory or while one ran alone, "
        f"{span['engine_wait_seconds']:.1f} s for the engine"
    )


def _computed(share: float) -> str:
    """The steps that were computed, beside the tokens; padding makes them more."""
    return f"{share:.0%} of them computed" if share <= 1 else f"{share:.1f} steps computed for each, with padding"


def _rate(per_second: float) -> str:
    """A rate in whole numbers, but one near zero in two digits: engines that start slowly aren't at a standstill."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"  # noqa: PLR2004 - two digits


def _rates(totals: Mapping[str, float]) -> dict[str, float]:
    engine = totals["plan_seconds"] + totals["compute_seconds"]
    return {
        "busy_share": round(min(1.0, _over(engine, totals["up_seconds"])), 4),
        "tokens_per_second": round(_over(totals["tokens"], engine), 1),
        "computed_share": round(_over(totals["computed_tokens"], totals["tokens"]), 4),
    }


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
