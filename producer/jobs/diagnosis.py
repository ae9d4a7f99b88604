"""What a person should do about a job that doesn't go on by itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from producer.terminal.text import printable
from unrolled.queue.messages import SHORT

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus, QueueStatus


def hints(status: JobStatus) -> dict[str, str]:
    """Lines that say what stands in a job's way and which command helps, by kind; none where all is well.

    The kinds: "cancelled", "away" (the broker), "dead" (shards), "lost" (shards that Redis forgot), "worker"
    (none serves the model), "input" (not read to its end).
    """
    found = {}
    if status.away:
        found["away"] = f"{status.away}; which shards run and which are queued isn't known"
    if status.cancelled and not status.complete:
        found["cancelled"] = (
            f"it was cancelled, and {status.waiting:,} shard(s) wait; the same `unrolled enqueue` command goes on"
        )
        return found
    if status.dead:
        found["dead"] = (
            f"{status.dead:,} shard(s) were given up, the reasons are in {status.out}/_dead; "
            f"when the cause is gone: unrolled retry {status.out}"
        )
    if status.queue and status.waiting:
        found |= _of_queue(status, status.queue)
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
            f"{status.lost:,} waiting shard(s) are not in Redis: it lost them, or is not the job's; "
            f"they are entered again by: unrolled wait {status.out}"
        )
    if not any(worker.model == status.fingerprint for worker in queue.workers):
        others = Counter(printable(worker.model[:SHORT]) for worker in queue.workers)
        alive = ", ".join(f"{count} of model {model}…" for model, count in sorted(others.items()))
        found["worker"] = (
            f"no worker serves this job's model {status.fingerprint[:SHORT]}… "
            f"({f'alive: {alive}' if alive else 'none is alive'}); start one: unrolled worker --model DIR"
        )
    return found
