"""The jobs that a worker has met, and looks after until they are complete."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from unrolled.errors import FileFormatError, JobError, PayloadError, RequestError, TransientError
from unrolled.job import names
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log
from unrolled.protocol.opening import OpenJob, open_job
from unrolled.protocol.telling import tell
from unrolled.queue.job_ledger import JobLedger
from unrolled.reading.outcome import failed_rows
from unrolled.store.bucket_url import is_url
from unrolled.store.posix import PosixStore
from worker.errors import AwayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.patience import Patience
    from unrolled.protocol.objects import Steadily
    from unrolled.queue.job_ledger import Send
    from unrolled.queue.ledger import Ledger
    from unrolled.queue.member import Member
    from worker.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Leases, and seconds at least, after which a hidden file that no process wrote to is a dead publisher's.
LEFTOVER_LEASES, LEFTOVER_SECONDS = 4, 60.0
#: Seconds between two looks whether a job of which the ledger holds nothing is complete.
COMPLETE_PAUSE = 60.0
#: Longest path or URL of a job, in bytes: Linux's PATH_MAX.
MAX_PLACE_BYTES = 4096
_FOLDERS = (names.PARTS, names.LOG, names.ROWS, names.QUARANTINE, names.FAILED, names.DEAD)


@dataclass(slots=True)
class _Met:
    """A job that was met.

    Attributes:
        job: with this worker's patience.
        log: what was read of its log.
        lock: of the log, which one thread at a time reads.
        next_look: when it is worth looking whether it is complete, on the monotonic clock.
        next_sweep: when leftovers are swept.
    """

    job: OpenJob
    log: Log = field(default_factory=Log)
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_look: float = 0.0
    next_sweep: float = 0.0


class Jobs:
    """Finds a job's store and checks that it is what the queue says.

    The queue is not trusted with a place: there must be a `job.json` that has the job's key, so only who can write
    there can name it.

    Args:
        settings: of this worker.
        ledger: of its offer.
        patience: tries what the store refuses for now.
        send: sends one shard's message.
    """

    def __init__(self, settings: Settings, ledger: Ledger, patience: Patience, send: Send) -> None:
        self._ledger = ledger
        self._patience = patience
        self._send = send
        self._root = settings.output_root.resolve() if settings.output_root else None
        self._lock = threading.Lock()
        self._met: dict[str, _Met] = {}
        self._leftover_seconds = max(LEFTOVER_SECONDS, LEFTOVER_LEASES * ledger.lease_seconds)

    def find(self, job_key: str) -> OpenJob:
        """A job, with objects that are tried until they work, for as long as its store is there.

        Raises:
            JobError: what is there isn't the job, is outside of the root, or asks for another offer.
            AwayError: it isn't there, or can't be read now.
        """
        with self._lock:
            met = self._met.get(job_key)
        met = met or _Met(self._open(job_key))
        with self._lock:
            met = self._met.setdefault(job_key, met)
        self._sweep_leftovers(met)
        return met.job

    def tell(self, job: OpenJob) -> None:
        """Bring the ledger up to a job's log.

        Raises:
            JobError: the log is damaged.
            AwayError: the store is gone.
            GivenBackError: the worker stops.
        """
        with self._lock:
            met = self._met.get(job.key)
        if met is not None:
            with met.lock:
                tell(met.log, job.objects, self._job_ledger(job))

    def look_after(self, renew: Callable[[], None]) -> None:
        """Tell the ledger what it has lost of the jobs that were met, and forget those that are complete.

        Args:
            renew: called now and then; keeps this worker's leases.

        Raises:
            redis.RedisError: the server is away.
        """
        with self._lock:
            met = dict(self._met)
        left = dict(zip(met, self._ledger.left(list(met)), strict=True))
        for key, known in met.items():
            try:
                if self._ledger.told(key) is None:
                    self._tell_again(known, renew)
                elif not left[key] and time.monotonic() >= known.next_look:
                    self._forget_if_complete(key, known)
            except (RequestError, AwayError, TransientError) as error:
                log.warning("job %s: can't be looked after: %s; trying again later", key, error)
                known.next_look = time.monotonic() + COMPLETE_PAUSE

    def _tell_again(self, known: _Met, renew: Callable[[], None]) -> None:
        if known.log.stopped and time.monotonic() < known.next_look:
            return  # the ledger has nothing of a job that was cancelled
        known.next_look = time.monotonic() + COMPLETE_PAUSE
        ledger = self._job_ledger(known.job, renew)
        with known.lock:
            tell(known.log, known.job.objects, ledger)
        if ledger.sent:
            log.warning("Redis lost shards of job %s; entered %d again", known.job.key, ledger.sent)

    def _forget_if_complete(self, key: str, known: _Met) -> None:
        """A job that is complete, cancelled or discarded needs nobody to look after it; a message of it is met anew."""
        known.next_look = time.monotonic() + COMPLETE_PAUSE
        with known.lock:
            found = standing(known.log, known.job.objects, live=known.job.job.live)
            over = found.complete or known.log.stopped
            if over:
                self._sweep(known)
        if over:
            with self._lock:
                self._met.pop(key, None)

    def _sweep(self, known: _Met) -> None:
        try:
            sweep(known.log, known.job.objects, failed_rows, live=known.job.job.live)
        except (PayloadError, FileFormatError) as error:
            log.warning("%s; left as it is: `unrolled verify` names it", error)

    def _job_ledger(self, job: OpenJob, renew: Callable[[], None] | None = None) -> JobLedger:
        send = self._send
        if renew is not None:

            def send(member: Member) -> None:
                renew()  # thousands of messages take longer than a lease
                self._send(member)

        return JobLedger(self._ledger, job.key, job.place, send, self._patience.until_done)

    def _open(self, job_key: str) -> OpenJob:
        place = self._ledger.place_of(job_key)
        if place is None:
            raise AwayError(f"job {job_key} isn't registered in Redis; run its `unrolled enqueue` again")
        self._check_place(job_key, place)
        try:
            found = open_job(place)
        except TransientError as error:
            raise AwayError(str(error)) from error
        if found.key != job_key:
            raise JobError(f"job {job_key} names {place}, where the job is {found.key}; the entry is forged or stale")
        if found.job.offer != self._ledger.offer:
            raise JobError(
                f"job {job_key} asks for {found.job.offer.describe()}; this worker offers "
                f"{self._ledger.offer.describe()}: start one with the job's --model, --engine and --arithmetic"
            )
        return found.with_patience(self._steadily(found))

    def _check_place(self, job_key: str, place: str) -> None:
        try:
            fits = "\0" not in place and len(os.fsencode(place)) <= MAX_PLACE_BYTES
        except UnicodeEncodeError:
            fits = False
        if not fits:
            raise JobError(f"job {job_key} names {place[:80]!r}; up to {MAX_PLACE_BYTES:,} bytes are expected")
        if self._root is None:
            return
        if is_url(place) or not Path(place).resolve().is_relative_to(self._root):
            raise JobError(
                f"job {job_key} asks for {place}; this worker writes below {self._root} only (--output-root)"
            )

    def _steadily(self, found: OpenJob) -> Steadily:
        """Try what the store refuses until it works; where the store itself is gone, its shards wait instead."""
        store = found.objects.store

        def steadily(what: str, action: Callable[[], T], /) -> T:
            def attempt() -> T:
                try:
                    return action()
                except TransientError as error:
                    if isinstance(store, PosixStore) and not _is_there(store.path / names.JOB):
                        raise AwayError(f"{store} is gone; mount or restore the job's directory") from error
                    raise

            return self._patience.until_done(what, attempt)

        return steadily

    def _sweep_leftovers(self, met: _Met) -> None:
        """Remove what dead publishers left, when a job is met and now and then while it runs."""
        store, now = met.job.objects.store, time.monotonic()
        with self._lock:
            if not isinstance(store, PosixStore) or now < met.next_sweep:
                return
            met.next_sweep = now + self._leftover_seconds
        for folder in _FOLDERS:
            try:
                removed = store.sweep_leftovers(folder, self._leftover_seconds)
            except TransientError as error:
                log.info("%s; left for later", error)
            else:
                if removed:
                    log.info("removed %d unfinished file(s) of dead processes from %s", len(removed), store)


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - False, too, where the place can't be looked at
