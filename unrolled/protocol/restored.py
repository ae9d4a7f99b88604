"""A job's directory that was restored from an older copy, while others know a longer log, whose end is lost.

The shards of the lost segments must not come back into the ledger: new segments get the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log, catch_up

if TYPE_CHECKING:
    from unrolled.protocol.ledger_update import JobLedger
    from unrolled.protocol.objects import Objects


def trusted_log(log: Log, objects: Objects, ledger: JobLedger) -> Log:
    """A log from which the ledger may be updated by a process that has kept it for a while.

    After the job's directory was restored from an older copy, a log that was read before has segments that are lost,
    and others have their numbers. It does no harm while the ledger lacks nothing of it.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        ledger: the ledger of the job's offer.

    Returns:
        The same log, or an empty one, to be read from the start, if the ledger has heard of another number of segments.

    Raises:
        JobError: a segment is damaged.
    """
    catch_up(log, objects)
    return log if ledger.mark() == log.length else Log()


def replace_longer(log: Log, objects: Objects, ledger: JobLedger) -> bool:
    """Enter a job from the start if the ledger has heard of more segments than the log has.

    That is so after the job's directory was restored from an older copy: the ledger then has shards that no segment
    names, and new segments would get the numbers of those that it has heard of.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        ledger: the ledger of the job's offer.

    Returns:
        Whether it was so. Where a store shows segments late, it may only have seemed so, which costs time alone.

    Raises:
        JobError: a segment is damaged.
    """
    mark = ledger.mark()
    catch_up(log, objects)  # after the mark was read: a segment is durable before it counts
    if mark is None or mark <= log.length:
        return False
    ledger.cancel()
    update_ledger(log, objects, ledger)
    return True
