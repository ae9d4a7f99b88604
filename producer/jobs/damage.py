"""What brings a damaged part, damaged rows or a list of bad rows back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from unrolled.errors import FileFormatError, as_argument
from unrolled.format.file_info import FOREIGN
from unrolled.job.names import rows_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.log import Log
    from unrolled.protocol.opening import OpenJob

#: The end of what a reader says of a damaged part.
_FROM_A_COPY = "from a copy"
#: What brings a dead shard back whose rows are damaged and can't be read again.
RESTORE_ROWS = "restore them from a copy, then: unrolled retry {quoted}"


def read_once(job: OpenJob, shard: ShardId) -> str | None:
    """What a shard's rows are of if they can't be read again, "a stream" or "a retry"; None if they can."""
    if shard.retries:
        return "a retry"
    return "a stream" if job.job.live else None


def explain_damaged_rows(job: OpenJob, shard: ShardId) -> str:
    """That a dead shard's rows are damaged, and what brings the shard back."""
    found = f"its rows in {rows_object(shard)} are damaged"
    if origin := read_once(job, shard):
        return (
            f"{found}, and rows of {origin} can't be read again: {RESTORE_ROWS.format(quoted=as_argument(job.place))}"
        )
    return f"{found}: the same `unrolled run` or `unrolled enqueue` writes them again, and computes them"


def explain_stray(*, ended: bool, live: bool) -> str:
    """What a part is that the job's log doesn't name, and what to do.

    Args:
        ended: whether the log has its end; one without may have lost its last files.
        live: whether the job's input can't be read again, so that rows that come next would get the shard's number.
    """
    if ended:
        return "is not a part of this job; move it elsewhere"
    if live:
        return (
            "is not in the job's log, which has no end; restore the log's last files from a copy if they are missing, "
            "before more rows are read, and else move the part elsewhere"
        )
    return (
        "is not in the job's log, which has no end; run the same `unrolled run` or `unrolled enqueue` again, and move "
        "the part elsewhere only if that doesn't help"
    )


def explain_damage(job: OpenJob, log: Log, shard: ShardId, found: str) -> str:
    """What is wrong with a part, and everything that brings it back.

    A part is made again if its rows can be read from the input again, and no other part has rows of its shard.

    Args:
        job: the job.
        log: the job's log, read to its end.
        shard: the part's shard.
        found: what is wrong with the part, and that it can be restored from a copy.
    """
    if found.endswith(FOREIGN):
        found = f"{found}; restore it {_FROM_A_COPY}"
    if read_once(job, shard) or shard in log.retried or not found.endswith(_FROM_A_COPY):
        return found
    return f"{found}, or remove it and run the same `unrolled run` or `unrolled enqueue`, which makes it again"


@contextmanager
def damage_of(out: str) -> Iterator[None]:
    """Let the error about a damaged part say which command knows everything that brings it back.

    Args:
        out: path or URL of the job.
    """
    try:
        yield
    except FileFormatError as error:
        if not str(error).endswith(_FROM_A_COPY):
            raise
        raise FileFormatError(f"{error}, or see what `unrolled verify {as_argument(out)}` says") from error


def explain_lost_list(job: OpenJob, found: str, *, is_missing: bool) -> str:
    """What is wrong with a list of bad rows, and everything that brings it back.

    Args:
        job: the job.
        found: what is wrong with the list.
        is_missing: whether it is missing; otherwise it is damaged.
    """
    again = "" if is_missing else "remove it and "
    way = f", or {again}run the same `unrolled run` or `unrolled enqueue`, which makes it again"
    return f"{found}; restore the list of bad rows from a copy{'' if job.job.live else way}"
