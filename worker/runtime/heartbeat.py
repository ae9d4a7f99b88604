"""The worker's own pulse: leases kept, lost shards sent again, lost jobs entered again, and a sign of life.

One thread, apart from the ones that compute, so that a long shard under a live worker is never taken twice.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING

from unrolled.errors import UnrolledError
from unrolled.queue.broker import AWAY
from unrolled.queue.entering import enter_waiting
from worker.runtime.metrics import told

if TYPE_CHECKING:
    from unrolled.job.directory import JobDirectory
    from unrolled.queue.entering import Send
    from unrolled.queue.ledger import Ledger
    from unrolled.queue.member import Member
    from worker.pool.pool import Pool
    from worker.runtime.metrics import Metrics
    from worker.runtime.shard_service import ShardService
    from worker.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two sweeps for shards that nobody holds, at most.
LONGEST_SWEEP_PAUSE = 2.0
#: A pool that takes longer than this is no sign of health any more.
LONGEST_POOL_SECONDS = 3600.0
#: Seconds between two lines in the log on what was done.
PROGRESS_PAUSE = 60.0
#: Seconds until a job that Redis forgot, and of which nothing could be entered, is looked at again.
FORGOTTEN_PAUSE = 30.0


class Watch:
    """Runs beside the service from start to stop.

    Args:
        settings: of this worker.
        ledger: of its model.
        service: whose shards are kept.
        pool: whose progress is watched.
        metrics: sent with the heartbeat.
        about: facts of this worker that its heartbeat carries.
        send: sends one shard's message.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        service: ShardService,
        pool: Pool,
        metrics: Metrics,
        about: dict[str, object],
        send: Send,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._service = service
        self._pool = pool
        self._metrics = metrics
        self._about = about
        self._send = send
        self._pause = min(LONGEST_SWEEP_PAUSE, settings.lease_seconds / 4)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._away_since: float | None = None
        self._renewed = 0.0
        self._failure = ""
        self._unhealthy = False
        self._forgotten: dict[str, float] = {}
        self._strangers: set[str] = set()
        self._told = metrics.snapshot()
        self._tell_next = time.monotonic() + PROGRESS_PAUSE

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; leases are kept no longer."""
        self._stopped.set()
        self._thread.join(timeout=5)
        self._tell_progress()
        try:
            self._ledger.leave(self._service.holder)
        except AWAY as error:
            log.info("couldn't sign off: %s; the heartbeat runs out by itself", error)

    def _run(self) -> None:
        while True:
            try:
                self._beat()
            except AWAY as error:
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    log.warning("broker away: %s; going on with what is on board and trying again", error)
            except Exception as error:
                if self._failure != repr(error):  # once, however often it comes back
                    self._failure = repr(error)
                    log.exception("unexpected failure in the watch; it goes on")
            else:
                if self._away_since is not None:
                    log.warning("broker back after %.0f s", time.monotonic() - self._away_since)
                    self._away_since = None
            self._touch_health_file()
            if time.monotonic() >= self._tell_next:
                self._tell_progress()
            if self._stopped.wait(self._pause):
                return

    def _beat(self) -> None:
        on_board = self._service.on_board()
        longest = max((time.monotonic() - since for since in on_board.values()), default=0.0)
        self._ledger.beat(
            self._service.holder,
            {
                **self._about,
                **self._metrics.snapshot(),
                "on_board": len(on_board),
                "longest_seconds": round(longest, 1),
            },
        )
        self._renew()
        again = self._ledger.sweep()
        for member in again:
            self._send_keeping_leases(member)
        if again:
            log.warning("sent %d shard(s) again that nobody held: %s", len(again), ", ".join(map(str, again[:3])))
        for directory in self._service.jobs.known():
            if not self._ledger.knows(directory.key):
                self._enter_again(directory)
        self._tell_of_strangers()

    def _renew(self) -> None:
        self._ledger.renew(self._service.on_board(), self._service.holder)
        self._renewed = time.monotonic()

    def _send_keeping_leases(self, member: Member) -> None:
        """Send a message. Thousands take longer than a lease, and what is on board must not be taken by others."""
        if time.monotonic() - self._renewed > self._pause or member in self._service.on_board():
            self._renew()
        self._send(member)

    def _enter_again(self, directory: JobDirectory) -> None:
        """Redis lost a job, or may have lost the end of it: its directory knows what is left to do."""
        key = directory.key
        if time.monotonic() < self._forgotten.get(key, 0.0):
            return
        try:
            count = enter_waiting(self._ledger, directory, self._send_keeping_leases) if directory.waiting() else 0
        except (UnrolledError, OSError) as error:
            log.warning("job %s: what waits can't be entered: %s; trying again later", key, error)
            self._forgotten[key] = time.monotonic() + FORGOTTEN_PAUSE
            return
        if count:
            log.warning("Redis lost shards of job %s; entered %d again", key, count)
        elif not self._ledger.knows(key):  # all that waits is dead, or published: no need to look at it all the time
            self._forgotten[key] = time.monotonic() + FORGOTTEN_PAUSE

    def _tell_progress(self) -> None:
        now = self._metrics.snapshot()
        if line := told(self._told, now):
            log.info("%s", line)
        self._told = now
        self._tell_next = time.monotonic() + PROGRESS_PAUSE

    def _tell_of_strangers(self) -> None:
        """Say once that shards wait for a model which this worker doesn't serve."""
        for fingerprint in self._ledger.other_models() - self._strangers:
            self._strangers.add(fingerprint)
            log.warning(
                "shards wait for model %s; this worker serves model %s and leaves them alone: "
                "start a worker with --model of theirs",
                fingerprint,
                self._ledger.fingerprint,
            )

    def _touch_health_file(self) -> None:
        if self._settings.health_file and self._pool.busy_seconds() < LONGEST_POOL_SECONDS:
            try:
                self._settings.health_file.write_text(json.dumps({"on_board": len(self._service.on_board())}))
            except OSError as error:
                if not self._unhealthy:
                    log.warning("health file %s can't be written: %s", self._settings.health_file, error)
                self._unhealthy = True
            else:
                self._unhealthy = False
