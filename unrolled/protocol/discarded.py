"""Refusing jobs that were discarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import JobError

if TYPE_CHECKING:
    from unrolled.protocol.log import Log


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
