"""The heartbeat: every second or two, renew leases, send the messages of lost shards again, and report to Redis.

The heartbeat has a thread of its own, so that a living worker keeps a shard however long its computation takes. Another
thread looks after the jobs, because their stores may be slow.
"""

# Over 150 lines: the steps of a beat, in their order.

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from unrolled.errors import BrokerError, BrokerRefusesError, counted
from unrolled.queue.broker import AWAY
from unrolled.telemetry.health_file import HealthFile
from worker.runtime.telemetry.metrics import progress_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unrolled.job.offer import Offer
    from unrolled.patience import Patience
    from unrolled.queue.job_ledger import Send
    from unrolled.queue.ledger import Ledger
    from unrolled.queue.member import Member
    from worker.pool.pool import Pool
    from worker.runtime.login import Login
    from worker.runtime.shard_service import ShardService
    from worker.runtime.telemetry.metrics import Metrics
    from worker.settings import Settings

log = logging.getLogger(__name__)

#: The longest pause between two beats; it is shorter if leases are short.
LONGEST_PAUSE_SECONDS = 2.0
#: A worker whose engine takes longer for one pool isn't healthy.
LONGEST_POOL_SECONDS = 3600.0
#: Seconds between two lines in the log about progress.
PROGRESS_SECONDS = 60.0
#: Seconds until a worker looks again whether others still compute what it leaves alone: the list of all is long.
SERVED_SECONDS = 60.0
#: The most troubles that a heartbeat reports, and the longest text of each.
MOST_TROUBLES, TROUBLE_CHARACTERS = 10, 500
#: How often a shard is sent again before that is a warning, and the most shards that are counted.
OFTEN, MOST_SENT_AGAIN = 4, 10_000
#: Seconds that the threads have to end.
STOP_SECONDS = 5.0

_BEAT = "send the heartbeat"


class Heartbeat:
    """Beats beside the service, from start to stop.

    Args:
        settings: this worker's settings.
        ledger: the ledger of its offer.
        service: provides the shards whose leases are renewed, and the jobs.
        pool: shows whether the engine is stuck.
        metrics: sent with each beat, and logged.
        patience: reports problems once.
        about: facts about this worker, sent with each beat.
        send: sends one shard's message.
        login: explains the broker's errors.
        on_refused: called if the broker is there at last, and doesn't accept the login; there are no beats then.

    Raises:
        OptionError: another worker has the health file.
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
        login: Login,
        on_refused: Callable[[BrokerRefusesError], None],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._service = service
        self._pool = pool
        self._metrics = metrics
        self._patience = patience
        self._about = about
        self._send = send
        self._login = login
        self._on_refused = on_refused
        self._pause = min(LONGEST_PAUSE_SECONDS, settings.lease_seconds / 4)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name="heartbeat", daemon=True),
            threading.Thread(target=self._look_after_jobs, name="jobs", daemon=True),
        ]
        self._renewed = self._shown = 0.0
        self._lost: list[Member] = []
        self._failures: dict[str, str] = {}
        self._sent_again: dict[Member, int] = {}  # how often, the latest last
        self._other_offers: set[Offer] = set()
        self._served: dict[Offer, float] = {}  # by others: when that is looked at again
        self._health_file = HealthFile(settings.health_file) if settings.health_file else None
        if self._health_file:
            self._health_file.claim()
        self._logged = metrics.snapshot()
        self._log_next = time.monotonic() + PROGRESS_SECONDS

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads. From now on leases aren't renewed."""
        self._stopped.set()
        until = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._log_progress()
        if self._health_file:
            self._health_file.remove()
        if not self._login.accepted:
            return  # there was no beat
        try:
            with self._login.asked():
                self._ledger.leave(self._service.holder)
        except BrokerError as error:
            log.info("couldn't remove this worker's heartbeat: %s; it expires by itself", error)

    def _run(self) -> None:
        while True:
            try:
                with self._login.asked():
                    self._beat()
            except BrokerError as error:
                if isinstance(error, BrokerRefusesError) and not self._login.accepted:
                    self._on_refused(error)
                    return
                self._patience.fails(_BEAT, error)
            except Exception as error:  # noqa: BLE001 - leases must be renewed, whatever else goes wrong
                self._log_failure("heartbeat", error)
            else:
                self._patience.works(_BEAT)
            self._touch_health_file()
            if time.monotonic() >= self._log_next:
                self._log_progress()
            if self._stopped.wait(self._pause):
                return

    def _beat(self) -> None:
        self._show()
        self._renew()
        again = self._ledger.sweep()
        for member in again:
            self._send_keeping_leases(member)
            if time.monotonic() - self._shown > self._pause:  # thousands of messages take a minute and more
                self._show()
                self._touch_health_file()
        self._log_sent_again(again)
        self._warn_of_other_offers()

    def _show(self) -> None:
        """Show in the broker that this worker is alive."""
        count, longest = self._service.board.load()
        on_board = {"on_board": count, "longest_seconds": round(longest, 1)}
        tokens, seconds = self._pool.busy_tokens(), self._pool.busy_seconds()
        present = {"pool_tokens": tokens, "pool_seconds": round(seconds, 1)}
        # A heartbeat that arrives shows that they do again.
        troubles, work = {"troubles": self.troubles(but=_BEAT)}, self._metrics.snapshot(seconds)
        self._ledger.beat(self._service.holder, {**self._about, **work, **present, **on_board, **troubles})
        self._shown = time.monotonic()

    def troubles(self, but: str = "") -> list[tuple[str | None, str]]:
        """This worker's problems, the latest last: the job's key if it concerns one job only, and a text.

        Args:
            but: an action; that it can't be done is left out.
        """
        found = list[tuple[str | None, str]](
            dict.fromkeys([*self._service.put_off().items(), *self._patience.troubles(but)])
        )
        return [(key, text[:TROUBLE_CHARACTERS]) for key, text in found[-MOST_TROUBLES:]]

    def _look_after_jobs(self) -> None:
        while not self._stopped.wait(self._pause):
            try:
                self._service.time_records.write_due()
                self._service.leave_needless(self._lost)
                self._service.jobs.look_after(self._send_keeping_leases)
            except AWAY as error:
                log.debug("jobs are looked after when the broker is back: %s", error)  # the heartbeat reports it
            except Exception as error:  # noqa: BLE001 - the next look may be one without it
                self._log_failure("jobs", error)
        self._service.time_records.write_all()

    def _log_failure(self, thread: str, error: Exception) -> None:
        """Log a failure once, however often it happens."""
        if self._failures.get(thread) != repr(error):
            self._failures[thread] = repr(error)
            log.error("unexpected failure in the thread %s; it continues", thread, exc_info=error)

    def _renew(self) -> None:
        self._lost = self._ledger.renew(self._service.board.held(), self._service.holder)
        self._renewed = time.monotonic()

    def _send_keeping_leases(self, member: Member) -> None:
        """Send a message. Thousands of messages take longer than a lease, so leases are renewed in between."""
        if time.monotonic() - self._renewed > self._pause or member in self._service.board.held():
            self._renew()
        self._send(member)

    def _log_sent_again(self, members: Sequence[Member]) -> None:
        """Log messages that were sent again, as after each death of a worker; warn of those that this doesn't help."""
        if not members:
            return
        for member in members:
            self._sent_again[member] = self._sent_again.pop(member, 0) + 1
        log.info("sent %s again that no worker held: %s", counted(len(members), "shard"), _some(members))
        if often := [member for member in members if self._sent_again[member] == OFTEN]:
            log.warning(
                "sent %s again, for the %dth time: %s; `unrolled status OUT` says what is in the way",
                counted(len(often), "shard"),
                OFTEN,
                _some(often),
            )
        while len(self._sent_again) > MOST_SENT_AGAIN:
            del self._sent_again[next(iter(self._sent_again))]

    def _log_progress(self) -> None:
        now = self._metrics.snapshot()
        if line := progress_line(self._logged, now):
            log.info("%s", line)
        self._logged = now
        self._log_next = time.monotonic() + PROGRESS_SECONDS

    def _warn_of_other_offers(self) -> None:
        """Report once that shards wait for an offer that isn't this worker's, and that no living worker has."""
        now = time.monotonic()
        new = {one for one in self._ledger.other_offers() - self._other_offers if now >= self._served.get(one, now)}
        served = {facts["offer"] for facts in self._ledger.workers().values()} if new else set()
        self._served |= {one: now + SERVED_SECONDS for one in new if str(one) in served}
        for offer in {one for one in new if str(one) not in served}:
            self._other_offers.add(offer)
            log.warning(
                "shards wait for %s; this worker offers %s and leaves them alone: start a worker with their --model, "
                "--engine and --arithmetic",
                offer.describe(),
                self._ledger.offer.describe(),
            )

    def _touch_health_file(self) -> None:
        file = self._health_file
        if file and self._pool.busy_seconds() < LONGEST_POOL_SECONDS:
            try:
                file.write(len(self._service.board.held()))
            except OSError as error:
                self._patience.fails(f"write health file {file.path}", error)
            else:
                self._patience.works(f"write health file {file.path}")


def _some(members: Sequence[Member]) -> str:
    return ", ".join(map(str, members[:3])) + (", …" if len(members) > 3 else "")  # noqa: PLR2004 - as many as fit a line
