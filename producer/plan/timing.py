"""How long a job takes: the producer's part of it, and the workers'."""

# Over 150 lines: the steps from a measurement to the seconds of a job.

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

import numpy as np

from producer.enqueue.cutter import Cutter, cuts
from producer.enqueue.seen_ids import SeenIds
from producer.enqueue.shard import make_shard
from producer.local.engine import local_engine
from producer.plan.measurement import measure
from producer.plan.plan import Times
from producer.plan.sampling.estimate import Estimate
from unrolled.format.columns import vector_bytes
from unrolled.settings.measurement import MeasurementRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from producer.enqueue.submission import Submission
    from producer.plan.measurement import Speed
    from producer.plan.plan import Plan
    from producer.plan.sampling.sample import Sample
    from producer.sources.rows import Row
    from unrolled.format.output_spec import OutputSpec
    from unrolled.model.config import ModelConfig
    from unrolled.model.directory import ModelDirectory
    from unrolled.settings.worker_options import WorkerOptions

#: Seconds for which the engine is measured.
MEASURE_SECONDS = 2.0
#: How a worker's memory for outputs exceeds the outputs of the shards that it holds: `worker.pool.buffers`.
_SPARE = 17 / 16
#: An id of no job.
_NO_JOB = "0" * 16
#: Until a broker answers and a worker has its first shard.
_CONNECTION_SECONDS = 1.0
#: Rows of a pool of long rows, at most.
_MOST_LONG_ROWS = 64


class Load:
    """The share of a job that a worker holds at a time.

    Attributes:
        pool_tokens: real tokens that are computed together.
        output_bytes: bytes of the outputs of the shards on board.
    """

    def __init__(
        self, sample: Sample, spec: OutputSpec, config: ModelConfig, parts: float, options: WorkerOptions
    ) -> None:
        columns = spec.columns(config)
        rows, tokens = (sample.sums[name].value / max(parts, 1.0) for name in ("rows", "tokens"))
        shard_bytes = max(1, vector_bytes(columns, round(rows), round(tokens)))
        on_board = max(1.0, min(options.concurrency, options.memory_budget // shard_bytes, parts))
        # While some shards are computed, the others are read or written.
        self.pool_tokens = max(1, int(min(options.pool_tokens, tokens * max(1.0, on_board / 2))))
        longest = max((row.length for row in sample.long_rows), default=0)
        self.output_bytes = max(on_board * shard_bytes * _SPARE, vector_bytes(columns, 1, longest))


def queueing_seconds(run: list[Row], limits: tuple[int, int]) -> float:
    """How long the producer takes for rows that are tokenized: unique ids, and shards of them."""
    began = time.monotonic()
    with SeenIds(dict.fromkeys(row.file for row in run)) as seen:
        batches = seen.unique([list(run)])
        for number, cut in enumerate(cuts(batches, Cutter(*limits), None)):
            make_shard(number, _NO_JOB, cut)
    return time.monotonic() - began


def measured_speed(
    submission: Submission,
    options: WorkerOptions,
    model: ModelDirectory,
    spec: OutputSpec,
    ordinary: list[NDArray[np.int32]],
    sample: Sample,
    load: Load,
) -> Speed:
    """The speed with the rows of a pool, and with as many long rows as are computed together.

    Raises:
        UnrolledError: the engine doesn't run here.
    """
    rows, pools, lengths = list(ordinary), [len(ordinary)] if ordinary else [], dict[int, int]()
    if sample.long_rows:
        mean = sum(row.length for row in sample.long_rows) / len(sample.long_rows)
        count = max(1, min(_MOST_LONG_ROWS, int(load.pool_tokens / mean)))
        for number in range(count):
            row = sample.long_rows[number % len(sample.long_rows)]
            lengths[len(rows)] = row.length
            # The same row again would be computed once.
            rows.append(np.roll(row.tokens, number // len(sample.long_rows) * 31))
        pools.append(count)
    request = MeasurementRequest(
        model=str(model.path),
        options={
            "engine": submission.engine or local_engine(),
            "arithmetic": submission.arithmetic,
            "emulate": options.emulate,
            "threads": options.threads,
        },
        stored=spec.to_options(),
        seconds=MEASURE_SECONDS,
        pools=tuple(pools),
        lengths=lengths,
    )
    return measure(request, rows, has_long=bool(sample.long_rows))


def times_of(
    plan: Plan, sample: Sample, speed: Speed, computed_share: float, producer: tuple[float, float], workers: int
) -> Times:
    """How long the job takes.

    Args:
        plan: what is known of the rest.
        sample: the sample of the rows.
        speed: the engine's speed.
        computed_share: of the tokens of rows that aren't long.
        producer: its seconds until it reads the first row, and for each token id.
        workers: how many, each on a machine like this one.
    """
    # Over 40 lines: the times that a job's time is made of.
    tokens, long_tokens = sample.sums["tokens"].value, sample.sums["long_tokens"].value
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    computing = speed.encode_seconds_per_byte * plan.chosen.size.value / cores
    if speed.ordinary:
        # Fewer rows were measured than are computed together, and more rows share more.
        shares = min(1.0, computed_share), speed.ordinary.computed_share
        is_known = speed.ordinary.whole_rows and shares[1] <= 1 and not plan.padded
        more_sharing = shares[0] / shares[1] if is_known else 1.0
        computing += (tokens - long_tokens) * speed.ordinary.seconds_per_token * more_sharing
    if speed.long:
        computing += long_tokens * speed.long.seconds_per_token
    preparing, queueing = producer
    start = preparing + speed.start_seconds + _CONNECTION_SECONDS if workers == 1 else preparing
    queued = sample.sums["token_ids"].value * queueing
    # `unrolled run` has its producer and its one worker on the same processors. A part is one worker's.
    shared = computing / max(1, min(workers, plan.parts))
    total = max(queued, computing + queued / cores if workers == 1 else shared)
    off = plan.rows.tokens.error
    share = None if off is None else off / max(tokens, 1.0)
    return Times(
        engine=speed.description,
        workers=workers,
        tokens_per_second=tokens / computing if computing else math.inf,
        start=start,
        queueing=queued,
        computing=Estimate(computing, None if share is None else share * computing),
        total=Estimate(start + total, None if share is None else share * total),
        limit="queueing" if total == queued else "computing",
    )
