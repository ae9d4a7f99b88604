"""What a person should do about a job that doesn't go on by itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unrolled.counted import counted
from unrolled.job import names

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus, QueueStatus


def diagnose(status: JobStatus) -> dict[str, str]:
    """Lines that say what stands in a job's way and which command helps, by kind; none where all is well.

    The kinds: "cancelled", "away" (the broker), "dead" (shards), "lost" (shards that Redis forgot), "worker"
    (none serves the model), "input" (not read to its end).
    """
    found = {}
    if status.discarded:
        return {"cancelled": "it was discarded: nothing of it counts any more; use another --out"}
    if status.away:
        found["away"] = f"{status.away}; which shards run and which are queued isn't known"
    if status.cancelled and not status.complete:
        found["cancelled"] = (
            f"it was cancelled, and {counted(status.waiting, 'shard waits', 'shards wait')}; "
            "the same `unrolled enqueue` command goes on"
        )
        return found
    if status.dead:
        found["dead"] = (
            f"{counted(status.dead, 'shard was', 'shards were')} given up, the reasons are in "
            f"{status.out}/{names.DEAD}; when the cause is gone: unrolled retry {status.out}"
        )
    if status.queue and status.waiting:
        found |= _of_queue(status, status.queue)
    if status.strays and status.ended:
        found["strays"] = (
            f"a run that died has read rows of {counted(status.strays, 'shard')} and not queued them; "
            "the next `unrolled enqueue --follow` brings them, even on an empty input"
        )
    if not status.ended and not status.waiting:
        found["input"] = (
            "the input hasn't been read to its end: if no `unrolled enqueue` is at work on it, "
            "give the same command again, and it goes on"
        )
    return found


def _of_queue(status: JobStatus, queue: QueueStatus) -> dict[str, str]:
    found = {}
    if status.lost:
        found["lost"] = (
            f"{counted(status.lost, 'waiting shard is', 'waiting shards are')} not in Redis: it lost them, or is "
            f"not the job's; they are entered again by: unrolled wait {status.out}"
        )
    if not any(worker.offer == status.offer for worker in queue.workers):
        others = Counter(worker.offer.describe() for worker in queue.workers if worker.offer)
        alive = "; ".join(f"{count} for {offer}" for offer, count in sorted(others.items()))
        found["worker"] = (
            f"no worker offers what this job asks for, {status.offer.describe()} "
            f"({f'alive: {alive}' if alive else 'none is alive'}); start one: unrolled worker --model DIR "
            f"--engine {status.offer.engine} --arithmetic {status.offer.arithmetic}"
        )
    return found
