"""Advice for a person about a job that doesn't continue by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.queue.obstacles import obstacles
from unrolled.errors import counted
from unrolled.job import names

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus


def diagnose(status: JobStatus) -> dict[str, str]:
    """Lines that say what keeps a job from its end and which command helps, by kind; none if all is well.

    The kinds: "cancelled", "away" (the broker), "dead" (shards), "lost" (shards that Redis forgot), "worker"
    (none serves the model), "trouble" (in a worker's way), "silent" (a worker), "turn" (other jobs are computed),
    "strays" (rows that a dead run has read), "input" (not read to its end).
    """
    # Over 40 lines: a text for each kind, in the order in which they are shown.
    found = {}
    if status.discarded:
        return {"cancelled": "it was discarded: nothing of it is kept; use another --out"}
    if status.away:
        found["away"] = f"{status.away}; which shards are being computed or queued is unknown"
    if status.cancelled and not status.finished:
        found["cancelled"] = (
            f"it was cancelled, and {counted(status.waiting, 'shard waits', 'shards wait')}; "
            "the same `unrolled run` or `unrolled enqueue` resumes it"
        )
        return found
    if status.dead:
        found["dead"] = (
            f"{counted(status.dead, 'shard was', 'shards were')} given up"
            f"{f' ({status.death})' if status.death else ''}; each reason is in {status.out}/{names.DEAD}; "
            f"when the cause is gone: unrolled retry {status.out}"
        )
    if status.queue and status.waiting:
        if status.lost:
            found["lost"] = (
                f"{counted(status.lost, 'waiting shard is', 'waiting shards are')} not in Redis: it lost them, or is "
                f"another job's broker; this queues them again: unrolled wait {status.out}. If their parts were "
                "removed, the same `unrolled enqueue` makes them again"
            )
        found |= obstacles(status.offer, status.job, status.queue)
    if status.strays and status.ended:
        found["strays"] = (
            f"a run that died has read rows of {counted(status.strays, 'shard')} and not queued them; "
            "the next `unrolled enqueue --follow` queues them, even on an empty input"
        )
    if not status.ended and not status.waiting:
        found["input"] = (
            "the input hasn't been read to its end: if no `unrolled run` or `unrolled enqueue` is at work on it, "
            "run the same command again to resume it"
        )
    return found
