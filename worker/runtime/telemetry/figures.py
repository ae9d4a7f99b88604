"""Figures of a worker for Prometheus, made of its counters and of what it is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unrolled.telemetry.family import Family
from worker.runtime.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.runtime.telemetry.metrics import Tallies


class Now(NamedTuple):
    """The state of a worker at this moment.

    Attributes:
        on_board: the shards that it holds.
        longest_seconds: how long it has held the one that it took first.
        pool_seconds: how long the engine has been computing its present pool; 0 if it is idle.
        used_bytes: bytes of outputs in flight.
        budget_bytes: bytes of outputs that may be in flight.
        troubles: how many things are in its way.
    """

    on_board: int
    longest_seconds: float
    pool_seconds: float
    used_bytes: int
    budget_bytes: int
    troubles: int


def figures(about: dict[str, str], found: Tallies, now: Now) -> Iterator[Family]:
    """All figures of a worker.

    Args:
        about: the labels of its info: offer, model, engine, arithmetic, kernel and threads.
        found: what it has done since its start.
        now: what it does at this moment.
    """
    # Over 40 lines: one line for each figure, which is its documentation too.
    totals = found.totals
    yield Family.info("unrolled_worker_info", "What this worker computes, and by which kernel.", **about)
    yield Family(
        "unrolled_worker_shards",
        "Shards whose messages this worker has handled, by what became of them.",
        "counter",
        [({"outcome": one.name.lower()}, float(found.outcomes.get(one, 0))) for one in Outcome],
    )
    yield Family.counter("unrolled_worker_rows", "Rows that went through the engine.", totals["rows"])
    yield Family.counter(
        "unrolled_worker_failed_rows", "Rows that the engine failed on, or that can't be stored.", totals["failed_rows"]
    )
    yield Family.counter("unrolled_worker_tokens", "Real tokens in those rows.", totals["tokens"])
    yield Family.counter(
        "unrolled_worker_computed_tokens",
        "Tokens that had to be computed: fewer where rows share beginnings, more where batches are padded.",
        totals["computed_tokens"],
    )
    yield Family(
        "unrolled_worker_shard_stage_seconds",
        "Seconds of a shard in each stage of its way; its computation is that of its whole pool.",
        "histogram",
        [({"stage": stage}, buckets) for stage, buckets in found.shards.items()],
    )
    yield Family(
        "unrolled_worker_pool_stage_seconds",
        "Seconds of the engine for a pool, by stage.",
        "histogram",
        [({"stage": stage}, buckets) for stage, buckets in found.pools.items()],
    )
    yield Family("unrolled_worker_pool_tokens", "Real tokens of a pool.", "histogram", [({}, found.pool_tokens)])
    yield Family.gauge("unrolled_worker_on_board_shards", "Shards that this worker holds now.", now.on_board)
    yield Family.gauge(
        "unrolled_worker_longest_shard_seconds",
        "How long it has held the shard that it took first; 0 if it holds none.",
        now.longest_seconds,
    )
    yield Family.gauge(
        "unrolled_worker_present_pool_seconds",
        "How long the engine has been computing its present pool; 0 if it is idle.",
        now.pool_seconds,
    )
    yield Family.gauge("unrolled_worker_memory_used_bytes", "Outputs of the shards on board.", now.used_bytes)
    yield Family.gauge("unrolled_worker_memory_budget_bytes", "The limit of --memory-budget.", now.budget_bytes)
    yield Family.gauge(
        "unrolled_worker_troubles",
        "Things that are in its way now, such as a broker that is away; its log names them.",
        now.troubles,
    )
