"""What is in a job's way, and what a person can do about it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from producer.terminal.text import printable
from unrolled.queue.messages import SHORT

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus, QueueStatus


def diagnose(status: JobStatus) -> dict[str, str]:
    """Lines that say what is in a job's way and which command helps.

    Returns:
        A line by kind, none where all is well. The kinds are "cancelled", "away" (the broker), "dead" (shards), "lost"
        (shards that Redis lost), "worker" (none serves the model) and "input" (not read to its end).
    """
    found = {}
    if status.away:
        found["away"] = f"{status.away}; which shards run and which are queued isn't known"
    if status.cancelled and not status.complete:
        found["cancelled"] = (
            f"it was cancelled, and {status.waiting:,} shard(s) wait; the same `unrolled enqueue` command continues"
        )
        return found
    if status.dead:
        found["dead"] = (
            f"{status.dead:,} shard(s) were given up; the reasons are in {status.out}/_dead; "
            f"when the cause is gone: unrolled retry {status.out}"
        )
    if status.queue and status.waiting:
        found |= _of_queue(status, status.queue)
    if not status.ended and not status.waiting:
        found["input"] = (
            "the input hasn't been read to its end: if no `unrolled enqueue` is running on it, "
            "run the same command again, and it continues"
        )
    return found


def _of_queue(status: JobStatus, queue: QueueStatus) -> dict[str, str]:
    found = {}
    if status.lost:
        found["lost"] = (
            f"{status.lost:,} waiting shard(s) are not in Redis: it lost them, or it isn't the job's; "
            f"to enter them again: unrolled wait {status.out}"
        )
    if not any(worker.model == status.fingerprint for worker in queue.workers):
        others = Counter(printable(worker.model[:SHORT]) for worker in queue.workers)
        alive = ", ".join(f"{count} of model {model}…" for model, count in sorted(others.items()))
        found["worker"] = (
            f"no worker serves this job's model {status.fingerprint[:SHORT]}… "
            f"({f'running: {alive}' if alive else 'none is running'}); start one: unrolled worker --model DIR"
        )
    return found
