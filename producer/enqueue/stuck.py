"""Shards of a job that no worker will compute, counted at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.job import names
from unrolled.job.names import part_object, rows_object
from unrolled.job.shard_keys import FIRST_RETRY
from unrolled.protocol.entries import ShardSet
from unrolled.protocol.listing import find, find_dead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from producer.enqueue.summary import Summary
    from unrolled.protocol.log import Log
    from unrolled.protocol.opening import OpenJob

#: So few shards are asked for one by one, because a listing of a shared directory may be some seconds old.
_FEW = 100


def count_stuck(summary: Summary, log: Log, job: OpenJob) -> None:
    """Count the shards that are dead or gone, though these may be in the queue.

    Args:
        summary: of the run; it is changed.
        log: the job's log, as the run has left it.
        job: the job.
    """
    dead = ShardSet(log.entries, find_dead(log, job.objects))
    summary.dead = sum(not job.objects.exists(part_object(shard)) for shard in dead)
    summary.gone = _count_gone(log, job, ~dead.marks)


def _count_gone(log: Log, job: OpenJob, found: NDArray[np.bool_]) -> int:
    """How many of the shards that are marked have neither rows nor a part, and aren't cut again by a run.

    A folder is listed as a whole, and only where it matters: a large job has too many shards to ask for each. Shards of
    files that were lost have been cut again by now, unless their failed rows were retried.
    """
    entries = log.entries
    if not job.job.live:
        found &= (entries.columns["hash"] >= FIRST_RETRY) | entries.marks(log.retried)
    for folder in (names.ROWS, names.PARTS):  # in this order: rows are deleted only once their part exists
        if found.any():
            found &= ~find(log, job.objects, folder).marks
    numbers = np.flatnonzero(found)
    if len(numbers) <= _FEW:
        for number in numbers.tolist():
            rows, part = (named(entries.shard(number)) for named in (rows_object, part_object))
            found[number] = not (job.objects.exists(rows) or job.objects.exists(part))
    return int(found.sum())
