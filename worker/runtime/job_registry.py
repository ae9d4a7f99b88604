"""The jobs that a worker has met, and looks after until they are complete."""

# Over 150 lines: all that is done for a job beside its shards.

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from unrolled.counted import counted
from unrolled.errors import FileFormatError, JobError, MisplacedError, PayloadError, RequestError, TransientError
from unrolled.job import names
from unrolled.patience import at_once
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log
from unrolled.protocol.opening import OpenJob, open_job
from unrolled.protocol.telling import tell
from unrolled.queue.broker import AWAY
from unrolled.queue.job_ledger import JobLedger
from unrolled.reading.outcome import failed_rows
from unrolled.store.bucket_url import is_url
from unrolled.store.posix import PosixStore
from worker.errors import AwayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.patience import Patience, Steadily
    from unrolled.queue.job_ledger import Send
    from unrolled.queue.ledger import Ledger
    from worker.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Leases, and seconds at least, after which a hidden file that no process wrote to is a dead publisher's.
LEFTOVER_LEASES, LEFTOVER_SECONDS = 4, 60.0
#: Seconds between two looks, by any worker, whether a job of which the ledger holds nothing is complete.
LOOK_PAUSE = 60.0
#: Seconds after which a worker asks again for its turn to look.
TURN_PAUSE = 10.0
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
        next_tell: when the ledger is told what it has lost, on the monotonic clock.
        next_look: when it is worth looking whether the job is complete.
        next_sweep: when leftovers are swept.
        trouble: what was in the way of the last look, empty where nothing was.
    """

    job: OpenJob
    log: Log = field(default_factory=Log)
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_tell: float = 0.0
    next_look: float = 0.0
    next_sweep: float = 0.0
    trouble: str = ""


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
        self._lease_seconds = ledger.lease_seconds
        self._leftover_seconds = max(LEFTOVER_SECONDS, LEFTOVER_LEASES * ledger.lease_seconds)

    def find(self, job_key: str) -> OpenJob:
        """A job, with objects that are tried until they work, for as long as its store is there.

        Raises:
            RequestError: what is there isn't the job, is outside of the root, or asks for another offer.
            AwayError: it isn't there, or can't be read now.
            redis.RedisError: the server is away.
        """
        with self._lock:
            met = self._met.get(job_key)
        met = met or _Met(self._open(job_key))
        with self._lock:
            met = self._met.setdefault(job_key, met)
        self._sweep_leftovers(met)
        return met.job

    def is_stopped(self, job: OpenJob) -> bool:
        """Whether a job was cancelled or discarded, as far as can be seen now; if so the ledger learns of it, too."""
        with self._lock:
            met = self._met.get(job.key)
        if met is None:
            return False
        try:
            with met.lock:
                self._tell(met, self._send)
                return met.log.stopped
        except (RequestError, TransientError, *AWAY) as error:
            log.info("job %s: its log can't be read: %s", job.key, error)
            return False

    def look_after(self, send: Send) -> None:
        """Tell the ledger what it has lost of the jobs that were met, and forget jobs of which nothing is left to do.

        Nothing is waited for: what can't be done now is done later. Of all workers, one at a time looks at a job.

        Args:
            send: sends one shard's message.

        Raises:
            redis.RedisError: the server is away.
        """
        with self._lock:
            met = dict(self._met)
        for (key, job), known in zip(met.items(), self._ledger.known(list(met)), strict=True):
            if known.told is None:
                if time.monotonic() >= job.next_tell and self._ledger.take_turn(f"{key}:tell", self._lease_seconds):
                    job.next_tell = time.monotonic() + self._lease_seconds
                    self._look(key, job, send)
            elif not known.left and time.monotonic() >= job.next_look:
                mine = self._ledger.take_turn(f"{key}:look", LOOK_PAUSE)
                job.next_look = time.monotonic() + (LOOK_PAUSE if mine else TURN_PAUSE)
                if mine:
                    self._look(key, job, send)

    def _look(self, key: str, met: _Met, send: Send) -> None:
        try:
            with met.lock:
                entered = self._tell(met, send)
                over = met.log.stopped or (not entered and self._is_complete(met))
                if over:
                    self._sweep(met)
        except (RequestError, TransientError) as error:
            if met.trouble != str(error):
                log.warning("job %s can't be looked after: %s", key, error)
            met.trouble = str(error)
            return
        met.trouble = ""
        if entered:
            log.warning("job %s: entered %s that the ledger lacked", key, counted(entered, "shard"))
        if over:
            with self._lock:
                self._met.pop(key, None)
            self._ledger.end_turn(f"{key}:look")  # each worker sees for itself that the job is over

    def _tell(self, met: _Met, send: Send) -> int:
        """Bring the ledger up to a job's log; how many lives were new to it."""
        job = met.job.with_patience(at_once)
        ledger = JobLedger(self._ledger, job.key, job.address, send, at_once)
        tell(met.log, job.objects, ledger)
        return ledger.sent

    def _is_complete(self, met: _Met) -> bool:
        job = met.job.with_patience(at_once)
        return met.log.ended and standing(met.log, job.objects, live=job.job.live).complete

    def _sweep(self, met: _Met) -> None:
        job = met.job.with_patience(at_once)
        try:
            sweep(met.log, job.objects, failed_rows, live=job.job.live)
        except (PayloadError, FileFormatError) as error:
            log.warning("%s; left as it is: `unrolled verify` names it", error)

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
            fits = fits and (is_url(place) or Path(place).is_absolute())
            below = self._root is None or (not is_url(place) and Path(place).resolve().is_relative_to(self._root))
        except (ValueError, OSError, RuntimeError):  # a zero byte, a lone surrogate, symbolic links in a circle
            fits = below = False
        if not fits:
            raise JobError(
                f"job {job_key} names {place[:80]!r}; an absolute path or a URL of up to {MAX_PLACE_BYTES:,} bytes is "
                "expected"
            )
        if not below:
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
                except MisplacedError as error:
                    raise AwayError(str(error)) from error
                except TransientError as error:
                    if isinstance(store, PosixStore) and not _is_there(store.path / names.JOB):
                        raise AwayError(f"{store} is gone; mount or restore the job's directory") from error
                    raise

            return self._patience.until_done(what, attempt)

        return steadily

    def _sweep_leftovers(self, met: _Met) -> None:
        """Remove what dead publishers left, when a job is met and now and then while it runs; one worker at a time."""
        store, now = met.job.objects.store, time.monotonic()
        with self._lock:
            if not isinstance(store, PosixStore) or now < met.next_sweep:
                return
            met.next_sweep = now + self._leftover_seconds
        if not self._ledger.take_turn(f"{met.job.key}:leftovers", self._leftover_seconds):
            return
        for folder in _FOLDERS:
            try:
                removed = store.sweep_leftovers(folder, self._leftover_seconds)
            except TransientError as error:
                log.info("%s; left for later", error)
            else:
                if removed:
                    log.info("removed %s of dead processes from %s", counted(len(removed), "unfinished file"), store)


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - False, too, where the place can't be looked at
