"""The jobs that a worker knows, and looks after until they are over."""

# Over 150 lines: everything that is done for a job beside its shards.

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unrolled.errors import FileFormatError, JobError, PayloadError, RequestError, TransientError, counted
from unrolled.job import names
from unrolled.job.job import MOST_BYTES, Job
from unrolled.job.output_root import OutputRoot
from unrolled.patience import at_once
from unrolled.protocol.finishing import sweep
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.restored import trusted_log
from unrolled.protocol.upkeep import look_after
from unrolled.queue.broker import AWAY
from unrolled.queue.job_ledger import JobLedger
from unrolled.reading.outcome import failed_rows
from unrolled.store.posix import PosixStore
from worker.errors import AwayError
from worker.runtime.job_place import check_place, open_registered, patience_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unrolled.patience import Patience
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.job_ledger import Send
    from unrolled.queue.ledger import Ledger
    from worker.settings import Settings

log = logging.getLogger(__name__)

#: Leases, but at least seconds, without a write after which a hidden file belongs to a dead process.
LEFTOVER_LEASES, LEFTOVER_SECONDS = 4, 60.0
#: Least seconds between two of a worker's sweeps of leftovers for each second that a sweep takes, so that a folder with
#: millions of names costs no more of its time than a small one.
LEFTOVER_REST = 1000
#: Seconds between two looks, of all workers together, at a job of which nothing is in the ledger.
LOOK_PAUSE = 60.0
#: Seconds after which a worker asks again for its turn to look.
TURN_PAUSE = 10.0
#: Seconds after which a job is forgotten that Redis doesn't name, and that isn't at its place: somebody has moved or
#: removed it. A store that is away for less keeps its job, also if Redis loses everything meanwhile.
FORGET_SECONDS = 3600.0
#: Seconds without a shard of a job after which its place is looked up again: a copy of a finished job has its key.
IDLE_SECONDS = 0.25
_FOLDERS = (names.PARTS, names.LOG, names.CHAPTERS, names.ROWS, names.QUARANTINE, names.FAILED, names.DEAD, names.TIMES)


@dataclass(slots=True)
class _Met:
    """A job that the worker knows.

    Attributes:
        job: the job, with this worker's patience.
        log: the job's log as far as it was read.
        lock: held by the thread that reads the log.
        next_tell: when a ledger that lost the job is filled again, on the monotonic clock.
        next_look: when to look again whether the job is over.
        next_sweep: when leftovers are swept.
        doubted: whether the directory may have been moved: the place in Redis is compared with this one.
        found: when a shard of it was found last, on the monotonic clock.
        trouble: the error of the last look; empty if there was none.
        absent_since: since when the job hasn't been at its place, on the monotonic clock; None if it is there.
    """

    job: OpenJob
    log: Log = field(default_factory=Log)
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_tell: float = 0.0
    next_look: float = 0.0
    next_sweep: float = 0.0
    doubted: bool = False
    found: float = field(default_factory=time.monotonic)
    trouble: str = ""
    absent_since: float | None = None


class Jobs:
    """Finds jobs by their keys, and looks after them.

    A place in Redis isn't trusted: it must contain a `job.json` with the job's key, so that only a user who can write
    there can name it.

    Args:
        settings: the settings of this worker.
        ledger: the ledger of its offer.
        patience: tries what the store refuses for now.
        send: sends one shard's message.
        holder: names this worker in the ledger.
    """

    def __init__(self, settings: Settings, ledger: Ledger, patience: Patience, send: Send, holder: str) -> None:
        self._ledger = ledger
        self._holder = holder
        self._patience = patience
        self._send = send
        self._root = OutputRoot(settings.output_root) if settings.output_root else None
        self._lock = threading.Lock()
        self._met: dict[str, _Met] = {}
        self._lease_seconds = ledger.lease_seconds
        self._leftover_seconds = max(LEFTOVER_SECONDS, LEFTOVER_LEASES * ledger.lease_seconds)

    def find(self, job_key: str) -> OpenJob:
        """Find a job. Operations on its objects are tried until they work, unless its store is gone.

        Raises:
            RequestError: the place contains another job, is outside of the root, or asks for another offer.
            AwayError: the job isn't registered or can't be read now.
            redis.RedisError: the server is away.
        """
        met = self._known(job_key)
        if met is None:
            opened = self._open(job_key)
            with self._lock:
                met = self._met.setdefault(job_key, opened)
        elif met.doubted or time.monotonic() - met.found > IDLE_SECONDS:
            met = self._look_up(job_key, met)
        met.found = time.monotonic()
        self._sweep_leftovers(met)
        return met.job

    def doubt(self, job_key: str) -> None:
        """Look a job's place up in Redis again before its next use: it couldn't be used, and may have been moved."""
        met = self._known(job_key)
        if met is not None:
            met.doubted = True

    def is_stopped(self, job_key: str) -> bool:
        """Whether a job was cancelled or discarded, as far as its log can be read now; the ledger is updated, too."""
        met = self._known(job_key)
        return met is not None and self._reads_stop(job_key, met, updates=True)

    def is_over(self, job_key: str) -> bool:
        """Whether a job that was found needs no shard any more, as far as is known: it was stopped, or is forgotten.

        The ledger isn't updated: after a loss, leases are renewed before messages are sent (`look_after`).
        """
        met = self._known(job_key)
        return met is None or self._reads_stop(job_key, met, updates=False)

    def _known(self, job_key: str) -> _Met | None:
        with self._lock:
            return self._met.get(job_key)

    def _reads_stop(self, job_key: str, met: _Met, *, updates: bool) -> bool:
        try:
            with met.lock:
                job, ledger = self._untried(met, self._send)
                if updates:
                    met.log = trusted_log(met.log, job.objects, ledger)
                    update_ledger(met.log, job.objects, ledger)
                else:
                    catch_up(met.log, job.objects)
                return met.log.stopped
        except (AwayError, RequestError, TransientError, *AWAY) as error:
            log.debug("job %s: its log can't be read: %s", job_key, error)  # whatever comes of it is a warning
            return False

    def look_after(self, send: Send) -> None:
        """Restore what the ledger has lost of the known jobs, and forget the jobs that are over.

        Nothing is waited for: what fails now is done later. One worker at a time looks at a job.

        Args:
            send: sends one shard's message.

        Raises:
            redis.RedisError: the server is away.
        """
        with self._lock:
            met = dict(self._met)
        for (key, job), known in zip(met.items(), self._ledger.known(list(met)), strict=True):
            if known.over and not known.left and (known.mark is None or known.mark >= 0):
                self._forget(key)
            elif known.mark is None:
                if time.monotonic() >= job.next_tell and self._ledger.take_turn(f"{key}:tell", self._lease_seconds):
                    job.next_tell = time.monotonic() + self._lease_seconds
                    self._look(key, job, send)
            elif not known.left and time.monotonic() >= job.next_look:
                mine = self._ledger.take_turn(f"{key}:look", LOOK_PAUSE)
                job.next_look = time.monotonic() + (LOOK_PAUSE if mine else TURN_PAUSE)
                if mine:
                    self._look(key, job, send)

    def _open(self, job_key: str) -> _Met:
        """The job at the place that Redis names; raises what `find` does."""
        job = open_registered(self._ledger, job_key, lambda place: check_place(job_key, place, self._root))
        return _Met(job.with_patience(patience_of(job, self._patience, lambda: self._should_give_way(job_key))))

    def _should_give_way(self, job_key: str) -> bool:
        """Whether other jobs have shards, or another worker is free for this job's, as far as the server says."""
        with suppress(*AWAY):
            (known,) = self._ledger.known([job_key])
            if self._ledger.counts().shards > known.left:
                return True
            mine, offer = self._holder, str(self._ledger.offer)
            return any(
                name != mine and facts["offer"] == offer and _is_free_for(job_key, facts)
                for name, facts in self._ledger.workers().items()
            )
        return False

    def _look_up(self, job_key: str, met: _Met) -> _Met:
        """A job that is doubted, at the place that Redis names now; raises what `find` does.

        A job that Redis doesn't name stays known, so that this worker can enter it there again.
        """
        place = self._ledger.place_of(job_key)
        opened = None if place in (None, met.job.address) else self._open(job_key)
        if met.doubted and place == met.job.address:
            _refuse_another(met.job)
        met.doubted = False
        if opened is None or opened.job.address == met.job.address:
            return met
        log.warning("job %s: goes on at %s, where Redis has it now", job_key, opened.job.place)
        with self._lock:
            known = self._met.get(job_key)
            if known is None or known is met:  # else another thread was first: all threads use one
                known = self._met[job_key] = opened
            return known

    def _look(self, key: str, met: _Met, send: Send) -> None:
        try:
            if met.doubted:
                met = self._look_up(key, met)
            with met.lock:
                job, ledger = self._untried(met, send)
                met.log = trusted_log(met.log, job.objects, ledger)
                over = look_after(met.log, job.objects, ledger, live=job.job.live)
                if over:
                    met.log = Log()  # what ends a job, and lets its leftovers be deleted, isn't believed of a kept log
                    over = look_after(met.log, job.objects, ledger, live=job.job.live)
                if over:
                    self._sweep(met)
        except (AwayError, RequestError, TransientError) as error:
            is_gone = self._ledger.place_of(key) is None
            if met.trouble != str(error):
                gone = "; Redis doesn't name the job any more, so if it is finished or moved, nothing is missing"
                log.warning("job %s can't be looked after: %s%s", key, error, gone * is_gone)
            met.trouble, met.doubted = str(error), True
            met.absent_since = (met.absent_since or time.monotonic()) if is_gone else None
            if met.absent_since is not None and time.monotonic() - met.absent_since >= FORGET_SECONDS:
                self._forget(key)
            return
        met.absent_since = None
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
        """A job and its ledger; each of their operations is tried once.

        Raises:
            AwayError: the store has no `job.json`, or another job's. A job that somebody has removed must not come back
                into the ledger, which would list it for ever; with another job's shards, if that one is in its place.
            RequestError: `job.json` is damaged.
            TransientError: the store can't be read now.
        """
        job = met.job.with_patience(at_once)
        if (there := _key_at(job)) is None:
            raise AwayError(f"{job.place}: {names.JOB} is missing; mount or restore the job's directory")
        if there != job.key:
            raise AwayError(f"{job.place} is the job {there} now; restore this one's directory")
        return job, JobLedger(self._ledger, job.key, job.address, send, at_once)

    def _sweep(self, met: _Met) -> None:
        job = met.job.with_patience(at_once)
        try:
            sweep(met.log, job.objects, failed_rows, live=job.job.live)
        except (PayloadError, FileFormatError) as error:
            log.warning("%s; left as it is: `unrolled verify` names it", error)

    def _sweep_leftovers(self, met: _Met) -> None:
        """Remove the leftovers of dead processes, at first and now and then later; one worker at a time."""
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
        with self._lock:
            met.next_sweep = max(met.next_sweep, now + LEFTOVER_REST * (time.monotonic() - now))


def _key_at(job: OpenJob) -> str | None:
    """The key of the job that is where a job was; None where none is.

    Raises:
        JobError: its `job.json` is damaged.
        TransientError: the store can't be read now.
    """
    store = job.objects.store
    content = store.read(names.JOB, 0, MOST_BYTES + 1)
    return None if content is None else Job.decode(f"{store}/{names.JOB}", content)[1]


def _refuse_another(job: OpenJob) -> None:
    """Raise JobError if another job is where a job was, as far as can be seen now."""
    with suppress(TransientError):
        if (there := _key_at(job)) not in (None, job.key):
            raise JobError(f"job {job.key} names {job.place}, where the job is {there}; the entry is forged or stale")


def _is_free_for(job_key: str, facts: Mapping[str, Any]) -> bool:
    """Whether a worker has room for a shard, and no trouble with the job, or had none a few leases ago.

    Args:
        job_key: the job's key.
        facts: of the worker's heartbeat, which anybody with access to Redis may have written.
    """
    threads, on_board, troubles = (facts.get(name) for name in ("concurrency", "on_board", "troubles"))
    if type(threads) is not int or type(on_board) is not int or not isinstance(troubles, list):
        return False
    about = [one[0] for one in troubles if isinstance(one, list) and one]
    return on_board < threads and job_key not in about
