"""What a worker does every second or two: renew its leases, send lost shards again, and report that it is alive.

One thread, apart from those that compute, so that a worker which is alive keeps a shard however long it takes.
"""

# Over 150 lines: everything that is done at each beat, in its order.

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING

from unrolled.errors import UnrolledError
from unrolled.queue.broker import AWAY
from unrolled.queue.entering import enter_waiting
from worker.runtime.metrics import progress_line

if TYPE_CHECKING:
    from unrolled.job.directory import JobDirectory
    from unrolled.patience import Patience
    from unrolled.queue.entering import Send
    from unrolled.queue.ledger import Ledger
    from unrolled.queue.member import Member
    from worker.pool.pool import Pool
    from worker.runtime.metrics import Metrics
    from worker.runtime.shard_service import ShardService
    from worker.settings import Settings

log = logging.getLogger(__name__)

#: The longest pause between two beats; it is shorter where leases are short.
LONGEST_PAUSE_SECONDS = 2.0
#: A worker whose engine takes longer for one pool is not healthy any more.
LONGEST_POOL_SECONDS = 3600.0
#: Seconds between two lines in the log about what was done.
PROGRESS_SECONDS = 60.0
#: Seconds until a job that Redis forgot, and of which nothing could be entered, is looked at again.
FORGOTTEN_SECONDS = 30.0


class Heartbeat:
    """Beats beside the service, from start to stop.

    Args:
        settings: of this worker.
        ledger: of the model that it serves.
        service: has the shards whose leases are renewed, and the jobs.
        pool: shows whether the engine is stuck.
        metrics: are sent with each beat, and logged.
        patience: says when something is in the way.
        about: facts about this worker that are sent with each beat.
        send: sends one shard's message.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        service: ShardService,
        pool: Pool,
        metrics: Metrics,
        patience: Patience,
        about: dict[str, object],
        send: Send,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._service = service
        self._pool = pool
        self._metrics = metrics
        self._patience = patience
        self._about = about
        self._send = send
        self._pause = min(LONGEST_PAUSE_SECONDS, settings.lease_seconds / 4)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._renewed = 0.0
        self._failure = ""
        self._forgotten: dict[str, float] = {}
        self._other_models: set[str] = set()
        self._logged = metrics.snapshot()
        self._log_next = time.monotonic() + PROGRESS_SECONDS

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread. Leases are not renewed any more."""
        self._stopped.set()
        self._thread.join(timeout=5)
        self._log_progress()
        try:
            self._ledger.leave(self._service.holder)
        except AWAY as error:
            log.info("couldn't sign off: %s; the last heartbeat runs out by itself", error)

    def _run(self) -> None:
        while True:
            try:
                self._beat()
            except AWAY as error:
                self._patience.fails("send the heartbeat", error)
            except Exception as error:
                if self._failure != repr(error):  # once, however often it happens
                    self._failure = repr(error)
                    log.exception("unexpected failure in the heartbeat; it continues")
            else:
                self._patience.works("send the heartbeat")
            self._touch_health_file()
            if time.monotonic() >= self._log_next:
                self._log_progress()
            if self._stopped.wait(self._pause):
                return

    def _beat(self) -> None:
        held = self._service.board.held()
        longest = max((time.monotonic() - since for since in held.values()), default=0.0)
        on_board = {"on_board": len(held), "longest_seconds": round(longest, 1)}
        self._ledger.beat(self._service.holder, {**self._about, **self._metrics.snapshot(), **on_board})
        self._renew()
        again = self._ledger.sweep()
        for member in again:
            self._send_keeping_leases(member)
        if again:
            log.warning("sent %d shard(s) again that no worker held: %s", len(again), ", ".join(map(str, again[:3])))
        for directory in self._service.jobs.known():
            if not self._ledger.knows(directory.key):
                self._enter_again(directory)
        self._warn_of_other_models()

    def _renew(self) -> None:
        self._ledger.renew(self._service.board.held(), self._service.holder)
        self._renewed = time.monotonic()

    def _send_keeping_leases(self, member: Member) -> None:
        """Send a message. Thousands take longer than a lease, and other workers must not take what is on board."""
        if time.monotonic() - self._renewed > self._pause or member in self._service.board.held():
            self._renew()
        self._send(member)

    def _enter_again(self, directory: JobDirectory) -> None:
        """Enter what waits in a job's directory, because Redis lost the job, or may have lost the end of it."""
        key = directory.key
        if time.monotonic() < self._forgotten.get(key, 0.0):
            return
        try:
            count = enter_waiting(self._ledger, directory, self._send_keeping_leases) if directory.waiting() else 0
        except (UnrolledError, OSError) as error:
            log.warning("job %s: what waits can't be entered: %s; trying again later", key, error)
            self._forgotten[key] = time.monotonic() + FORGOTTEN_SECONDS
            return
        if count:
            log.warning("Redis lost shards of job %s; entered %d again", key, count)
        elif not self._ledger.knows(key):  # all that waits is published or dead, so it needs no look at every beat
            self._forgotten[key] = time.monotonic() + FORGOTTEN_SECONDS

    def _log_progress(self) -> None:
        now = self._metrics.snapshot()
        if line := progress_line(self._logged, now):
            log.info("%s", line)
        self._logged = now
        self._log_next = time.monotonic() + PROGRESS_SECONDS

    def _warn_of_other_models(self) -> None:
        """Say once that shards wait for a model that this worker doesn't serve."""
        for fingerprint in self._ledger.other_models() - self._other_models:
            self._other_models.add(fingerprint)
            log.warning(
                "shards wait for model %s; this worker serves model %s and leaves them alone: "
                "start a worker with --model of theirs",
                fingerprint,
                self._ledger.fingerprint,
            )

    def _touch_health_file(self) -> None:
        file = self._settings.health_file
        if file and self._pool.busy_seconds() < LONGEST_POOL_SECONDS:
            try:
                file.write_text(json.dumps({"on_board": len(self._service.board.held())}))
            except OSError as error:
                self._patience.fails(f"write health file {file}", error)
            else:
                self._patience.works(f"write health file {file}")
