"""Opening the store of a job that Redis names: the place is believed only if the job in it has the job's key."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from unrolled.errors import JobError, MisplacedError, TransientError
from unrolled.job import names
from unrolled.protocol.opening import OpenJob, open_job
from unrolled.store.bucket_url import is_url
from unrolled.store.posix import PosixStore
from worker.errors import AwayError, BlockedError, GivenBackError, UnregisteredError

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.job.offer import Offer
    from unrolled.job.output_root import OutputRoot
    from unrolled.patience import Patience, Steadily

T = TypeVar("T")

#: Longest path or URL of a job, in bytes: Linux's PATH_MAX.
MAX_PLACE_BYTES = 4096
#: How long a shard stays with a worker that can't read or write its objects, if other jobs have shards, or another
#: worker is free for it. A wait costs less than another computation, but a worker has few threads, and one job's full
#: disk would stop them all; and what fails on this machine may work on another.
GIVE_WAY_SECONDS = 15.0


class Registry(Protocol):
    """Where the places of jobs are registered (`unrolled.queue.ledger.Ledger`)."""

    offer: Offer

    def place_of(self, job_key: str) -> str | None:
        """The path or URL of a job's store, unchecked; None where there is none."""
        ...


def open_registered(registry: Registry, job_key: str, check: Callable[[str], None]) -> OpenJob:
    """The job of a key.

    Args:
        registry: says where it is.
        job_key: the job's key.
        check: raises JobError for a place where no job may be.

    Raises:
        JobError: the place has another job, or one that asks for another offer.
        AwayError: the place has no job, or can't be read now.
        redis.RedisError: the server is away.
    """
    place = registry.place_of(job_key)
    if place is None:
        raise UnregisteredError(f"job {job_key} isn't registered in Redis; run its `unrolled enqueue` again")
    check(place)
    try:
        found = open_job(place)
    except TransientError as error:
        raise AwayError(str(error)) from error
    if found.key != job_key:
        raise JobError(f"job {job_key} names {place}, where the job is {found.key}; the entry is forged or stale")
    if found.job.offer != registry.offer:
        raise JobError(
            f"job {job_key} asks for {found.job.offer.describe()}; this worker offers "
            f"{registry.offer.describe()}: start one with the job's --model, --engine and --arithmetic"
        )
    return found


def check_place(job_key: str, place: str, root: OutputRoot | None) -> None:
    """Refuse a place that can't be a job's, or that isn't in `root`.

    Raises:
        JobError: it is refused.
    """
    try:
        fits = "\0" not in place and len(os.fsencode(place)) <= MAX_PLACE_BYTES
        fits = fits and (is_url(place) or Path(place).is_absolute())
    except ValueError:  # a lone surrogate
        fits = False
    if not fits:
        raise JobError(
            f"job {job_key} names {place[:80]!r}; an absolute path or a URL of up to {MAX_PLACE_BYTES:,} bytes is "
            "expected"
        )
    if root is not None and not root.contains(place):
        raise JobError(
            f"job {job_key} asks for {place}{root.link_in(place)}; this worker writes below {root} only (--output-root)"
        )


def patience_of(job: OpenJob, patience: Patience, should_give_way: Callable[[], bool]) -> Steadily:
    """Try what a job's store refuses until it works, unless the store is gone, or something better can be done.

    Args:
        job: the job.
        patience: tries again, and says so.
        should_give_way: whether there are shards of other jobs, which must not wait for this one's store, or another
            worker is free, which may reach the store.

    Returns:
        Raises AwayError where it gives up; after that, what still fails gives up at once.
    """
    store = job.objects.store
    failing: dict[str, float] = {}  # what can't be done → since when, on the monotonic clock

    def steadily(what: str, action: Callable[[], T], /) -> T:
        def attempt() -> T:
            began = time.monotonic()  # what a silent server was waited for counts, too
            try:
                result = action()
            except GivenBackError:
                raise
            except MisplacedError as error:
                raise BlockedError(str(error)) from error
            except TransientError as error:
                if isinstance(store, PosixStore) and not _is_there(store.path / names.JOB):
                    raise AwayError(f"{store} is gone; mount or restore the job's directory") from error
                since = failing.setdefault(what, began)
                if time.monotonic() - since >= GIVE_WAY_SECONDS and should_give_way():
                    raise AwayError(f"can't {what}: {error}") from error
                raise
            failing.pop(what, None)
            return result

        return patience.until_done(what, attempt, about=job.key)

    return steadily


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - False, too, where the place can't be looked at
