"""Advice for a person about a job that doesn't continue by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.jobs.damage import RESTORE_ROWS
from producer.queue.copies import explain_copy
from producer.queue.obstacles import obstacles
from unrolled.errors import as_argument, counted, printable
from unrolled.job import names

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus
    from producer.queue.queue_status import QueueStatus


BLIND = (
    "no broker is named, and no `unrolled run` is seen at work on {place}: only its files are watched. Name the broker "
    "(--broker redis://HOST:6379/0, or UNROLLED_BROKER), or give the same `unrolled run` again"
)
ELSEWHERE = (
    "an `unrolled run` with a broker and workers of its own is at work on it, so the broker that is named isn't asked; "
    "leave out --broker (and UNROLLED_BROKER) to see the run's"
)


def diagnose(status: JobStatus) -> dict[str, str]:
    """Lines that say what keeps a job from its end and which command helps, by kind; none if all is well.

    The kinds: "cancelled", "away" (the broker), "dead" (shards), "gone" (shards of which neither rows nor part can be
    seen), "blind" (neither a broker nor a run is known), "elsewhere" (a run computes it, with another broker), "lost"
    (shards that Redis forgot), "copy" (workers compute it in another place), "full" and "declined" (the broker takes
    nothing), "worker" (none serves the model), "starting" (the workers of an `unrolled run`), "trouble" (in a worker's
    way), "unseen" (rows that a worker missed), "moved" (workers look for it in another place), "silent" (a worker),
    "turn" (other jobs are computed), "producer" (something is in its way), "strays" (rows that a dead run has read),
    "input" (not read to its end).
    """
    # Over 40 lines: a text for each kind, in the order in which they are shown.
    found = {}
    if status.discarded:
        return {"cancelled": _of_discarded(status)}
    if status.away:
        found["away"] = f"{status.away}; which shards are being computed or queued is unknown"
    if status.cancelled and not status.finished:
        return found | {"cancelled": _of_cancelled(status)}
    if status.dead:
        found["dead"] = (
            f"{counted(status.dead, 'shard was', 'shards were')} given up"
            f"{f' ({status.death})' if status.death else ''}; each reason is in {status.out}/{names.DEAD}; "
            f"{revival(status)}"
        )
    if status.gone:
        them = "it" if status.gone == 1 else "them"
        which = f"{'' if status.gone == 1 else 'the first is '}{status.gone_shard}"
        found["gone"] = (
            f"neither the rows nor the part of {counted(status.gone, 'shard')} ({which}) can be seen; if they were "
            f"removed, the same `unrolled run` or `unrolled enqueue` makes {them} again from the input. Rows of a "
            "stream or of a retry, and of a shard whose failed rows were retried, aren't read again: restore the part "
            "from a copy"
        )
    if status.waiting:
        found |= _of_waiting(status)
    if status.hindered:
        found["producer"] = f"{status.hindered} (its producer)"
    if status.strays and status.ended:
        found["strays"] = (
            f"a run that died has read rows of {counted(status.strays, 'shard')} and not queued them; "
            "the next `unrolled enqueue --follow` queues them, even on an empty input"
        )
    if not status.ended and not status.fed and (status.queue or not status.waiting):
        # One that is paused, or whose sign the broker has just lost, doesn't show either.
        commands = "`unrolled run` or `unrolled enqueue`"
        shown, unknown = (
            f", and the broker knows of no {commands} at work on it:",
            f": if no {commands} is at work on it,",
        )
        # A broker that has lost shards has lost the producer's sign, too; it shows itself again within seconds.
        is_known = status.queue and not {"full", "declined"} & found.keys() and not (status.lost or status.may_be_lost)
        found["input"] = (
            f"the input hasn't been read to its end{shown if is_known else unknown} "
            "run the same command again to resume it (or restore the files of its log, if some are missing)"
        )
    return found


def _of_waiting(status: JobStatus) -> dict[str, str]:
    if status.queue:
        return _in_the_queue(status, status.queue)
    if status.run_elsewhere:
        return {"elsewhere": ELSEWHERE}
    return {} if status.away or status.has_run else {"blind": BLIND.format(place=status.out)}


def _of_cancelled(status: JobStatus) -> str:
    """What is left of a job that was cancelled, and how it goes on."""
    none = "no shard of it waits: workers have finished those that they had"
    still = counted(status.waiting, "shard waits", "shards wait") if status.waiting else none
    way = "the same `unrolled run` or `unrolled enqueue` resumes it"
    if status.queue and status.queue.original:
        way = printable(explain_copy(status.queue.original))
    return f"it was cancelled, and {still}; {way}"


def _of_discarded(status: JobStatus) -> str:
    if not status.done:
        return "it was discarded: no part of it is left; use another --out"
    them = "it" if status.done == 1 else "them"
    way = f"unrolled discard {as_argument(status.out)}"
    return f"it was discarded, and {left_behind(status.done)}; this deletes {them}: {way}"


def left_behind(parts: int) -> str:
    """How many parts a discarded job has, and why it may have some."""
    them, shards = ("it", "its shard was") if parts == 1 else ("them", "their shards were")
    return (
        f"{counted(parts, 'part is', 'parts are')} still there: a discard is at work, was interrupted, couldn't delete "
        f"{them}, or came while {shards} being computed"
    )


def _in_the_queue(status: JobStatus, queue: QueueStatus) -> dict[str, str]:
    """The lines about what the broker knows."""
    found = {}
    hindered = obstacles(status.offer, status.job, queue)
    if status.lost and not {"full", "declined"} & hindered.keys():  # it may have been asked to take them, and didn't
        them = "it" if status.lost == 1 else "them"
        found["lost"] = (
            f"{counted(status.lost, 'waiting shard is', 'waiting shards are')} not in Redis: it lost {them}, or "
            f"this isn't the job's broker and namespace; this queues {them} again, with the broker named: "
            f"unrolled wait {as_argument(status.out)}"
        )
    found |= hindered
    if status.has_run and found.pop("worker", ""):
        found["starting"] = "no worker is ready yet: the `unrolled run` that is at work on it starts its own"
    if status.gone:
        found.pop("unseen", None)  # workers miss what "gone" names
    if status.gone == status.waiting:
        found.pop("turn", None)  # none of it can be computed when its turn comes
    return found


def revival(status: JobStatus) -> str:
    """What brings the dead shards of a job back."""
    if status.damaged:
        return (
            "the same `unrolled run` or `unrolled enqueue` cuts damaged rows again from the input (rows of a stream or "
            f"of a retry can't be read again: {RESTORE_ROWS.format(quoted=as_argument(status.out))})"
        )
    return f"when the cause is gone: unrolled retry {as_argument(status.out)}"
