"""The reasons why the shards of a job wait in the queue."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from producer.queue.copies import explain_copy
from producer.queue.queue_status import FULL_SHARE
from producer.terminal.text import duration
from unrolled.errors import counted, printable
from unrolled.queue.messages import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producer.queue.queue_status import QueueStatus
    from producer.queue.worker_status import WorkerStatus
    from unrolled.job.offer import Offer


def obstacles(offer: Offer, job_key: str, queue: QueueStatus) -> dict[str, str]:
    """Lines that say why the shards of a job wait and what helps, by kind; none if all is well.

    The kinds: "copy" (workers compute the job in another place), "full" (the broker's memory), "declined" (the broker
    takes no writes), "worker" (none serves the model), "trouble" (in a worker's way), "unseen" (rows that a worker
    missed, perhaps before they were made again), "moved" (workers look for the job in another place), "silent" (a
    worker), "turn" (other jobs are computed).

    Args:
        offer: what the job asks workers for.
        job_key: the job's key.
        queue: what the broker knows.
    """
    # Over 40 lines: a text for each kind, in the order in which they are shown.
    found, troubles = _at_the_broker(offer, queue), dict[str, list[str]]()
    for worker in queue.workers:
        if worker.offer != offer or worker.is_lost:
            continue
        for job, text in worker.troubles:
            if job in (None, job_key):
                troubles.setdefault(text, []).append(worker.name)
    for text, names in troubles.items():
        kind, line = "unseen" if text.startswith(UNSEEN) else "trouble", f"{text} (worker {_some(names)})"
        found[kind] = f"{found[kind]}; {line}" if kind in found else line
    # Workers of other machines may see it there; where none is alive, none can say so.
    if queue.moved_from and ("worker" in found or queue.moved_from in "".join(troubles)):
        found["moved"] = (
            f"workers look for this job at {printable(queue.moved_from)}; if you have moved it, run the same `unrolled "
            "run` or `unrolled enqueue` again, which tells them where it is now"
        )
    if silent := _silent([worker for worker in queue.workers if worker.offer == offer]):
        found["silent"] = silent
    if queue.queued and not queue.running and queue.others_running and _may_come(offer, job_key, queue):
        found["turn"] = (
            f"the workers compute other jobs: {counted(queue.others_running, 'shard')} of those "
            f"{'runs' if queue.others_running == 1 else 'run'}, and {queue.others_queued:,} wait; this job's turn "
            "comes when a worker is free"
        )
    return found


def _may_come(offer: Offer, job_key: str, queue: QueueStatus) -> bool:
    """Whether a job's turn can come: a worker that is alive hasn't met trouble with this very job."""
    alive = [worker for worker in queue.workers if worker.offer == offer and not worker.is_lost]
    return any(all(job != job_key for job, _ in worker.troubles) for worker in alive)


def _at_the_broker(offer: Offer, queue: QueueStatus) -> dict[str, str]:
    """The lines about the job's place, the broker's memory and a lack of workers."""
    found, share = dict[str, str](), queue.memory_share or 0.0
    if queue.original:
        found["copy"] = printable(explain_copy(queue.original))
    if share >= FULL_SHARE:
        found["full"] = (
            f"the broker uses {100 * share:.0f} % of its maxmemory: while it is full, nothing can be queued, and "
            "workers that are alive can't say so; raise its maxmemory"
        )
    elif queue.declines:
        found["declined"] = (
            f"the broker {queue.declines}; until then, nothing can be queued, and workers that are alive can't say so"
        )
    alive = [worker.offer for worker in queue.workers if not worker.is_lost]
    if offer not in alive and not {"full", "declined"} & found.keys():
        found["worker"] = no_worker(offer, alive)
    return found


def _silent(workers: Sequence[WorkerStatus]) -> str:
    """The line about workers that have shards and show no sign of life; empty where there are none."""
    lines = []
    for is_lost, what in (
        (False, "when its lease has run out, other workers take its shards"),
        (True, "its lease has run out, so its shards are free for other workers"),
    ):
        some = [worker for worker in workers if worker.on_board and worker.is_late and worker.is_lost == is_lost]
        if some:
            names = [f"{worker.name} ({duration(worker.silent_seconds)})" for worker in some]
            lines.append(f"no sign of life from {_some(names)}; {what}")
    return "; ".join(lines)


def no_worker(offer: Offer, alive: Sequence[Offer | None]) -> str:
    """The line that says that no worker computes a job.

    Args:
        offer: what the job asks workers for.
        alive: the offers of the workers that are alive.
    """
    others = Counter(other.describe() for other in alive if other)
    listed = "; ".join(f"{count} for {other}" for other, count in sorted(others.items()))
    known = f"alive: {listed}" if listed else "none is alive; one that starts, or connects again, needs some seconds"
    line = (
        f"no worker offers what this job asks for, {offer.describe()} ({known}); start one for this broker and "
        f"namespace: unrolled worker --model DIR --engine {offer.engine} --arithmetic {offer.arithmetic}"
    )
    if other := other_offer(offer, alive):
        line += (
            f"; or queue the rows for the workers that are alive: the same `unrolled enqueue` with "
            f"--engine {other.engine} --arithmetic {other.arithmetic} and another --out"
        )
    return line


def other_offer(offer: Offer, alive: Sequence[Offer | None]) -> Offer | None:
    """An offer of the same model by another engine or in another arithmetic; None where no worker has one."""
    same_model = (each for each in alive if each and each.fingerprint == offer.fingerprint)
    return min((each for each in same_model if each != offer), default=None)


def _some(texts: list[str]) -> str:
    """The first of several texts, and how many there are."""
    return texts[0] if len(texts) == 1 else f"{texts[0]} and {len(texts) - 1:,} more"
