"""What a person should do about a job that doesn't go on by itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from producer.table import printable
from unrolled.messages import SHORT

if TYPE_CHECKING:
    from producer.job_status import JobStatus


def hints(status: JobStatus) -> list[str]:
    """Lines that say what stands in a job's way and which command helps; none where all is well."""
    found = []
    if status.away:
        found.append(f"the broker is away ({status.away}); what runs and what is queued can't be told apart")
    if status.dead:
        found.append(
            f"{status.dead:,} shard(s) were given up, the reasons are in {status.out}/_dead; "
            f"when the cause is gone: unrolled retry {status.out}"
        )
    if status.queue and status.waiting:
        found += _of_queue(status)
    if not status.ended and not status.waiting:
        found.append(
            "the input hasn't been read to its end: if no `unrolled enqueue` is at work on it, "
            "give the same command again, and it goes on"
        )
    return found


def _of_queue(status: JobStatus) -> list[str]:
    found = []
    queue = status.queue
    if queue and not queue.knows_job:
        found.append(
            f"Redis doesn't know this job, so it lost its data or is another one; its {status.waiting:,} waiting "
            f"shard(s) are entered again by: unrolled wait {status.out}"
        )
    elif queue and queue.missing and status.ended:
        found.append(
            f"{queue.missing:,} waiting shard(s) are not in Redis; they are entered again by: unrolled wait {status.out}"
        )
    if queue and not any(worker.model == status.fingerprint for worker in queue.workers):
        others = Counter(printable(worker.model[:SHORT]) for worker in queue.workers)
        alive = ", ".join(f"{count} of model {model}…" for model, count in sorted(others.items()))
        found.append(
            f"no worker serves this job's model {status.fingerprint[:SHORT]}… "
            f"({f'alive: {alive}' if alive else 'no worker is alive'}); start one: unrolled worker --model DIR"
        )
    return found
