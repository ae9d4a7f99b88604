"""The worker's own pulse: leases kept, lost shards sent again, lost jobs entered again, and a sign of life.

One thread has the pulse, apart from the ones that compute, so that a long shard under a live worker is never taken
twice. Another one looks after jobs, because their stores may be slow.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING

from unrolled.queue.broker import AWAY
from worker.runtime.metrics import progress_line

if TYPE_CHECKING:
    from unrolled.job.offer import Offer
    from unrolled.queue.job_ledger import Send
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
#: Seconds that the threads have to end.
STOP_SECONDS = 5.0
#: Seconds between two lines in the log on what was done.
PROGRESS_PAUSE = 60.0


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
        self._threads = [
            threading.Thread(target=self._run, name="watch", daemon=True),
            threading.Thread(target=self._look_after_jobs, name="jobs", daemon=True),
        ]
        self._away_since: float | None = None
        self._renewed = 0.0
        self._failures: dict[str, str] = {}
        self._unhealthy = False
        self._strangers: set[Offer] = set()
        self._told = metrics.snapshot()
        self._tell_next = time.monotonic() + PROGRESS_PAUSE

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads; leases are kept no longer."""
        self._stopped.set()
        until = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
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
            except Exception as error:  # noqa: BLE001 - leases must be kept, whatever else goes wrong
                self._tell_of_failure("watch", error)
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
        on_board = self._service.board.held()
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
        self._tell_of_strangers()

    def _look_after_jobs(self) -> None:
        while not self._stopped.wait(self._pause):
            try:
                self._service.jobs.look_after(self._send_keeping_leases)
            except AWAY as error:
                log.debug("jobs are looked after when the broker is back: %s", error)  # the pulse reports it
            except Exception as error:  # noqa: BLE001 - one job must not stop the others
                self._tell_of_failure("jobs", error)

    def _tell_of_failure(self, thread: str, error: Exception) -> None:
        """Report a failure once, however often it comes back."""
        if self._failures.get(thread) != repr(error):
            self._failures[thread] = repr(error)
            log.error("unexpected failure in the thread %s; it goes on", thread, exc_info=error)

    def _renew(self) -> None:
        self._ledger.renew(self._service.board.held(), self._service.holder)
        self._renewed = time.monotonic()

    def _send_keeping_leases(self, member: Member) -> None:
        """Send a message. Thousands take longer than a lease, and what is on board must not be taken by others."""
        if member in self._service.board.held():
            self._renew()
        self._renew_if_due()
        self._send(member)

    def _renew_if_due(self) -> None:
        if time.monotonic() - self._renewed > self._pause:
            self._renew()

    def _tell_progress(self) -> None:
        now = self._metrics.snapshot()
        if line := progress_line(self._told, now):
            log.info("%s", line)
        self._told = now
        self._tell_next = time.monotonic() + PROGRESS_PAUSE

    def _tell_of_strangers(self) -> None:
        """Say once that shards wait for something that this worker doesn't offer."""
        for offer in self._ledger.other_offers() - self._strangers:
            self._strangers.add(offer)
            log.warning(
                "shards wait for %s; this worker offers %s and leaves them alone: start a worker with their --model, "
                "--engine and --arithmetic",
                offer.describe(),
                self._ledger.offer.describe(),
            )

    def _touch_health_file(self) -> None:
        if self._settings.health_file and self._pool.busy_seconds() < LONGEST_POOL_SECONDS:
            try:
                self._settings.health_file.write_text(json.dumps({"on_board": len(self._service.board.held())}))
            except OSError as error:
                if not self._unhealthy:
                    log.warning("health file %s can't be written: %s", self._settings.health_file, error)
                self._unhealthy = True
            else:
                self._unhealthy = False
