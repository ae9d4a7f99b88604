"""The jobs that a worker has met, and looks after until they are complete."""

# Over 150 lines: everything that is done for a job beside its shards.

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unrolled.counted import counted
from unrolled.errors import FileFormatError, PayloadError, RequestError, TransientError
from unrolled.job import names
from unrolled.patience import at_once
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log
from unrolled.protocol.telling import tell
from unrolled.protocol.upkeep import look_after
from unrolled.queue.broker import AWAY
from unrolled.queue.job_ledger import JobLedger
from unrolled.reading.outcome import failed_rows
from unrolled.store.posix import PosixStore
from worker.runtime.job_place import check_place, open_registered, patience_of

if TYPE_CHECKING:
    from unrolled.patience import Patience
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.job_ledger import Send
    from unrolled.queue.ledger import Ledger
    from worker.settings import Settings

log = logging.getLogger(__name__)

#: Leases, and seconds at least, after which a hidden file that no process wrote to is a dead publisher's.
LEFTOVER_LEASES, LEFTOVER_SECONDS = 4, 60.0
#: Seconds between two looks, by any worker, whether a job of which the ledger holds nothing is complete.
LOOK_PAUSE = 60.0
#: Seconds after which a worker asks again for its turn to look.
TURN_PAUSE = 10.0
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
        if met is None:
            job = open_registered(self._ledger, job_key, lambda place: check_place(job_key, place, self._root))
            met = _Met(job.with_patience(patience_of(job, self._patience)))
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
                job, ledger = self._untried(met, self._send)
                tell(met.log, job.objects, ledger)
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
            if known.over and not known.left and (known.told is None or known.told >= 0):
                self._forget(key)
            elif known.told is None:
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
                job, ledger = self._untried(met, send)
                over = look_after(met.log, job.objects, ledger, live=job.job.live)
                if over:
                    self._sweep(met)
        except (RequestError, TransientError) as error:
            if met.trouble != str(error):
                log.warning("job %s can't be looked after: %s", key, error)
            met.trouble = str(error)
            return
        met.trouble = ""
        if ledger.sent:
            log.warning("job %s: entered %s that the ledger lacked", key, counted(ledger.sent, "shard"))
        if over:
            self._forget(key)
            self._ledger.say_over(key, LOOK_PAUSE)

    def _forget(self, key: str) -> None:
        with self._lock:
            self._met.pop(key, None)

    def _untried(self, met: _Met, send: Send) -> tuple[OpenJob, JobLedger]:
        """A job and its ledger, of which each operation is tried once."""
        job = met.job.with_patience(at_once)
        return job, JobLedger(self._ledger, job.key, job.address, send, at_once)

    def _sweep(self, met: _Met) -> None:
        job = met.job.with_patience(at_once)
        try:
            sweep(met.log, job.objects, failed_rows, live=job.job.live)
        except (PayloadError, FileFormatError) as error:
            log.warning("%s; left as it is: `unrolled verify` names it", error)

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
