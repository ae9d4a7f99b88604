"""Upkeep of a job: the ledger gets back what it lost, and leftovers go once the job is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.telling import tell

if TYPE_CHECKING:
    from unrolled.protocol.finishing import FailedRows
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects
    from unrolled.protocol.telling import JobLedger


def look_after(log: Log, objects: Objects, ledger: JobLedger, *, live: bool) -> bool:
    """Bring the ledger up to a job's log, and see whether the job is over: cancelled, discarded or complete.

    Args:
        log: of the job; read to its end.
        objects: of the job.
        ledger: of the job's offer.
        live: whether the job's input can't be read again.

    Raises:
        JobError: a segment is damaged.
    """
    tell(log, objects, ledger)
    return log.stopped or (log.ended and standing(log, objects, live=live).complete)


def clean_up(log: Log, objects: Objects, ledger: JobLedger | None, failed_rows: FailedRows, *, live: bool) -> None:
    """Delete the leftovers of a job that is over, and let the ledger forget it.

    Args:
        log: of the job, as long as it was when the job was found to be over.
        objects: of the job.
        ledger: of the job's offer; None to leave it as it is.
        failed_rows: reads the rows that a part calls failed.
        live: whether the job's input can't be read again.

    Raises:
        PayloadError: rows are damaged.
        FileFormatError: a part is damaged.
    """
    if ledger is not None:
        ledger.forget(log.length)
    sweep(log, objects, failed_rows, live=live)
