"""Upkeep of a job: restoring what the ledger has lost, and deleting leftovers once the job is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.ledger_update import update_ledger

if TYPE_CHECKING:
    from unrolled.protocol.finishing import FailedRows
    from unrolled.protocol.ledger_update import JobLedger
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects


def look_after(log: Log, objects: Objects, ledger: JobLedger, *, live: bool) -> bool:
    """Update the ledger from a job's log, and return whether the job is over: cancelled, discarded or complete.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        ledger: the ledger of the job's offer.
        live: whether the job's input can't be read again.

    Raises:
        JobError: a segment is damaged.
    """
    update_ledger(log, objects, ledger)
    return log.stopped or (log.ended and standing(log, objects, live=live).finished)


def clean_up(log: Log, objects: Objects, ledger: JobLedger | None, failed_rows: FailedRows, *, live: bool) -> None:
    """Delete the leftovers of a job that is over, and let the ledger forget it.

    Args:
        log: the job's log, as long as it was when the job was found to be over.
        objects: the job's objects.
        ledger: the ledger of the job's offer; None to leave the ledger unchanged.
        failed_rows: reads the failed rows of a part.
        live: whether the job's input can't be read again.

    Raises:
        PayloadError: rows are damaged.
        FileFormatError: a part is damaged.
    """
    if ledger is not None:
        ledger.forget(log.length)
    sweep(log, objects, failed_rows, live=live)
