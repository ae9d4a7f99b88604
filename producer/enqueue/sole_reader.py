"""One process reads a stream into a job: a second one would end the job's input while the first still reads."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import JobError
from unrolled.job import names
from unrolled.queue.broker import AWAY
from unrolled.store.bucket_url import is_url
from unrolled.store.lock import lock_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.ledger import Ledger


@contextmanager
def sole_reader(job: OpenJob, ledger: Ledger, warn: Callable[[str], None], read: str) -> Iterator[None]:
    """Keep other readers away from a job while the block runs, however it ends.

    A lock on the job's file does it, on all machines where the file system has locks. In a bucket there is none: the
    broker's word about a reader that may just have died is a warning.

    Args:
        job: the job.
        ledger: the ledger of its offer.
        warn: is called with one line of text.
        read: what was read from the stream until now, for an error.

    Raises:
        JobError: another process reads for the job.
    """
    file = _locked(job, read)
    try:
        if file is None:
            with suppress(*AWAY):
                if ledger.fed(job.key) is not None:
                    warn(
                        "the broker had a sign of another reader of this job within the last 20 seconds; if that still "
                        "reads, stop it: it ends with an error at its next row, and what it reads then is lost"
                    )
        yield
    finally:
        if file is not None:
            file.close()


def _locked(job: OpenJob, read: str) -> BinaryIO | None:
    """The job's file with its lock, which ends when it is closed; None where it can't be locked.

    Raises:
        JobError: another process has it.
    """
    if is_url(job.place):
        return None
    try:
        return lock_file(Path(job.place) / names.JOB, create=False)
    except BlockingIOError as error:
        raise JobError(
            f"{job.place}: another `unrolled run` or `enqueue` with --follow reads for this job; {read}. Stop that one "
            "(SIGTERM keeps what it has read), or give this one another --out"
        ) from error
    except OSError:
        return None
