"""Whether a directory is a copy of the one in which the broker has its job.

A job's key is in its directory, so a copy has the same key. Workers compute a job only in the place that its producer
has registered in the ledger.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import RequestError, TransientError, as_argument
from unrolled.job.names import JOB
from unrolled.protocol.completion import standing
from unrolled.protocol.log import Log
from unrolled.protocol.opening import open_job
from unrolled.store.bucket_url import is_url
from unrolled.store.posix import PosixStore

if TYPE_CHECKING:
    from unrolled.protocol.opening import OpenJob

#: Longest place that is believed: anybody with access to Redis can write it.
MOST_PLACE_CHARACTERS = 4096


def could_be_place(place: str) -> bool:
    """Whether a text from Redis may be an absolute path or a URL."""
    return (place.startswith("/") or is_url(place)) and len(place) <= MOST_PLACE_CHARACTERS


def find_original(job: OpenJob, place: str | None) -> str | None:
    """The place that the broker has for a job, if it is another one with something left to be done; otherwise None.

    Args:
        job: the job, as it was opened.
        place: the path or URL in the ledger; None if there is none. If it doesn't exist, the job was moved.
    """
    return place if _is_finished_there(job, place) is False else None


def is_finished_elsewhere(job: OpenJob, place: str | None) -> bool:
    """Whether the broker has a job at another place, where workers have nothing to do: it is finished, or discarded.

    Args:
        job: the job, as it was opened.
        place: the path or URL in the ledger; None if there is none.
    """
    return _is_finished_there(job, place) is True


def _is_finished_there(job: OpenJob, place: str | None) -> bool | None:
    """Whether a job is finished, or was discarded, at another place; None if it isn't there."""
    if place is None or place == job.address or not could_be_place(place):
        return None
    try:
        other = open_job(place)
        if other.key != job.key or _marks(other) == _marks(job):
            return None
        log = Log()
        # Of a discarded one nothing is left to be computed.
        return standing(log, other.objects, live=other.job.live).finished or log.discarded
    except (RequestError, TransientError, ValueError, OSError):
        return None


def was_moved(job: OpenJob, place: str | None) -> bool:
    """Whether the broker has a job at a place where it isn't, as far as this machine can see.

    Args:
        job: the job, as it was opened.
        place: the path or URL in the ledger; None if there is none.
    """
    if place is None or place == job.address:
        return False
    try:
        return not could_be_place(place) or _is_absent(place) or open_job(place).key != job.key
    except (RequestError, ValueError):
        return True
    except (TransientError, OSError):
        return False  # a place that can't be read now may be a copy's original


def explain_copy(original: str, otherwise: str | None = None) -> str:
    """The line about a copy, and what to do.

    Args:
        original: from `find_original`.
        otherwise: what to do if the copy is meant; None for the way to continue in it.
    """
    if otherwise is None:
        cancel = f"unrolled cancel {as_argument(original)}"
        otherwise = f"to continue here: {cancel}, then the same `unrolled run` or `unrolled enqueue`"
    return (
        f"Redis has this job at {original}, and this seems to be a copy: workers compute the job only there. Use that "
        f"one; or, {otherwise}"
    )


def _is_absent(place: str) -> bool:
    """Whether a path names nothing. To open it would be a passing trouble: a disk may not be mounted yet."""
    if is_url(place):
        return False
    try:
        Path(place).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def _marks(job: OpenJob) -> tuple[object, ...]:
    """Equal for one directory under two names. Two mounts may differ in the device, so that isn't included."""
    if not isinstance(job.objects.store, PosixStore):
        return (job.address,)
    found = (job.objects.store.path / JOB).stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns
