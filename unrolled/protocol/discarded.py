"""Refusing jobs that were discarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import JobError, as_argument
from unrolled.job import names
from unrolled.protocol.log import Log, catch_up

if TYPE_CHECKING:
    from unrolled.protocol.opening import OpenJob


def refuse_discarded(place: str, log: Log, advice: str = "") -> None:
    """Refuse a job that was discarded: nothing of it can be shown or resumed.

    Args:
        place: of the job.
        log: its log, read to its end.
        advice: what to do instead.

    Raises:
        JobError: it was.
    """
    if log.discarded:
        raise JobError(f"{place}: the job in it was discarded{advice}")


def refuse_another(place: str, log: Log) -> None:
    """Refuse the place of a job that was discarded for another job.

    Raises:
        JobError: it was.
    """
    delete = f"unrolled discard {as_argument(place)}, which deletes what may be left of the job"
    folder = f"remove the folder {names.FOLDER} in it, once no worker runs that may have seen the job"
    refuse_discarded(place, log, f"; use another --out. To use this one again: {delete}; then {folder}")


def refuse_discarded_job(job: OpenJob) -> None:
    """Refuse a job that was discarded, though parts of it may not be deleted yet.

    Raises:
        JobError: it was.
    """
    log = Log()
    catch_up(log, job.objects)
    refuse_discarded(job.place, log, f"; to delete what may be left of it: unrolled discard {as_argument(job.place)}")
