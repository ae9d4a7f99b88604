"""What a person should do about a job that doesn't go on by itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from producer.terminal.text import duration
from unrolled.counted import counted
from unrolled.job import names

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus, QueueStatus


def diagnose(status: JobStatus) -> dict[str, str]:
    """Lines that say what keeps a job from its end and which command helps, by kind; none if all is well.

    The kinds: "cancelled", "away" (the broker), "dead" (shards), "lost" (shards that Redis forgot), "worker"
    (none serves the model), "trouble" (in a worker's way), "silent" (a worker), "turn" (other jobs are computed),
    "strays" (rows that a dead run has read), "input" (not read to its end).
    """
    found = {}
    if status.discarded:
        return {"cancelled": "it was discarded: nothing of it counts any more; use another --out"}
    if status.away:
        found["away"] = f"{status.away}; which shards run and which are queued isn't known"
    if status.cancelled and not status.complete:
        found["cancelled"] = (
            f"it was cancelled, and {counted(status.waiting, 'shard waits', 'shards wait')}; "
            "the same `unrolled run` or `unrolled enqueue` goes on"
        )
        return found
    if status.dead:
        found["dead"] = (
            f"{counted(status.dead, 'shard was', 'shards were')} given up"
            f"{f' ({status.death})' if status.death else ''}; each reason is in {status.out}/{names.DEAD}; "
            f"when the cause is gone: unrolled retry {status.out}"
        )
    if status.queue and status.waiting:
        found |= _of_queue(status, status.queue)
    if status.strays and status.ended:
        found["strays"] = (
            f"a run that died has read rows of {counted(status.strays, 'shard')} and not queued them; "
            "the next `unrolled enqueue --follow` queues them, even on an empty input"
        )
    if not status.ended and not status.waiting:
        found["input"] = (
            "the input hasn't been read to its end: if no `unrolled run` or `unrolled enqueue` is at work on it, "
            "give the same command again, and it goes on"
        )
    return found


def _of_queue(status: JobStatus, queue: QueueStatus) -> dict[str, str]:
    found = {}
    if status.lost:
        found["lost"] = (
            f"{counted(status.lost, 'waiting shard is', 'waiting shards are')} not in Redis: it lost them, or is "
            f"not the job's; they are entered again by: unrolled wait {status.out}. If their parts were removed, the "
            "same `unrolled enqueue` makes them again"
        )
    if not any(worker.offer == status.offer for worker in queue.workers):
        others = Counter(worker.offer.describe() for worker in queue.workers if worker.offer)
        alive = "; ".join(f"{count} for {offer}" for offer, count in sorted(others.items()))
        found["worker"] = (
            f"no worker offers what this job asks for, {status.offer.describe()} "
            f"({f'alive: {alive}' if alive else 'none is alive'}); start one: unrolled worker --model DIR "
            f"--engine {status.offer.engine} --arithmetic {status.offer.arithmetic}"
        )
    return found | _of_workers(status, queue)


def _of_workers(status: JobStatus, queue: QueueStatus) -> dict[str, str]:
    """What the workers that could compute the job say of themselves."""
    found, troubles, silent = {}, dict[str, list[str]](), list[str]()
    for worker in queue.workers:
        if worker.offer != status.offer:
            continue
        for job, text in worker.troubles:
            if job in (None, status.job):
                troubles.setdefault(text, []).append(worker.name)
        if worker.on_board and worker.lease_seconds and worker.silent_seconds > worker.lease_seconds / 2:
            silent.append(f"{worker.name} ({duration(worker.silent_seconds)})")
    if troubles:
        found["trouble"] = "; ".join(f"{text} (worker {_some(names)})" for text, names in troubles.items())
    if silent:
        found["silent"] = (
            f"no sign of life from {_some(silent)}; when its lease has run out, other workers take its shards"
        )
    if queue.queued and not queue.running and queue.others_running:
        found["turn"] = (
            f"the workers compute other jobs: {counted(queue.others_running, 'shard')} of those "
            f"{'runs' if queue.others_running == 1 else 'run'}, and {queue.others_queued:,} wait"
        )
    return found


def _some(texts: list[str]) -> str:
    """The first of several texts, and how many there are."""
    return texts[0] if len(texts) == 1 else f"{texts[0]} and {len(texts) - 1:,} more"
