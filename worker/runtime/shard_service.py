"""What a worker does with one shard, from its message to its file; knows nothing of Celery.

    claim → read the rows → pool → publish → remove from the ledger

Every step is safe to repeat, and a worker that dies between two of them leaves nothing but a lease that runs out.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from unrolled.errors import BrokenWorkerError, JobError, RequestError, UnrolledError, reason_of
from unrolled.format.columns import vector_bytes
from unrolled.format.output_spec import OutputSpec
from unrolled.queue.member import Member
from worker.errors import PASSING, AwayError, GivenBackError
from worker.runtime.admission import Admission, size_on_board
from worker.runtime.job_registry import Jobs
from worker.runtime.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unrolled.format.columns import VectorColumn
    from unrolled.format.output_spec import Layered
    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId
    from unrolled.patience import Patience
    from unrolled.queue.entering import Send
    from unrolled.queue.ledger import Lease, Ledger, Start
    from worker.pool.pool import Pool
    from worker.settings import Settings
    from worker.shards.shard_store import ShardStore

log = logging.getLogger(__name__)
T = TypeVar("T")


class ShardService:
    """Computes and publishes shards; `handle` runs in many threads at once.

    Args:
        settings: of this worker.
        ledger: of its model.
        config: of the model.
        store: reads and publishes.
        pool: the process's one pool.
        patience: how long to try again.
        send: sends one shard's message.
        on_broken: called once when this process can't go on.
    """

    def __init__(  # the parts are made in `worker.runtime.assembly`, which knows how they fit
        self,
        settings: Settings,
        ledger: Ledger,
        config: Layered,
        store: ShardStore,
        pool: Pool,
        patience: Patience,
        send: Send,
        on_broken: Callable[[BrokenWorkerError], None],
    ) -> None:
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.jobs = Jobs(ledger, settings.output_root)
        self._reached_for: set[Member] = set()
        self._on_board: dict[Member, float] = {}
        self._changed = threading.Condition()
        self._settings = settings
        self._ledger = ledger
        self._config = config
        self._store = store
        self._pool = pool
        self._away: set[str] = set()
        self._patience = patience
        self._send = send
        self._on_broken = on_broken
        self._admission = Admission(settings.memory_budget)

    def handle(self, values: Sequence[object]) -> Outcome:
        """Compute and publish the shard that a message names, unless that isn't this worker's to do.

        Never raises, so the message may be acknowledged afterwards: what isn't done is still in the ledger.

        Args:
            values: of the message; anything, because anybody with access to Redis may have sent it.
        """
        try:
            member = Member.decode(values)
        except RequestError as error:
            log.warning("message dropped: %s", error)
            return Outcome.DROPPED
        with self._changed:
            if member in self._reached_for:
                return Outcome.HELD
            self._reached_for.add(member)
        try:
            return self._claim(member)
        finally:
            with self._changed:
                self._reached_for.discard(member)
                self._on_board.pop(member, None)
                self._changed.notify_all()

    def _claim(self, member: Member) -> Outcome:
        try:
            lease = self._on_broker(lambda: self._ledger.claim(member, self.holder))
        except GivenBackError:
            return Outcome.LEFT
        except Exception:
            log.exception("%s: the ledger's answer can't be read; left there", member)
            return Outcome.LEFT
        if lease.state in ("held", "gone"):
            return Outcome(lease.state)
        # Taken now, or by a claim whose answer got lost. Not before it: what is on board has its lease renewed.
        with self._changed:
            self._on_board[member] = time.monotonic()
        return self._attempt(member, lease)

    def on_board(self) -> dict[Member, float]:
        """Shards that are held now: member → when it was taken, on the monotonic clock."""
        with self._changed:
            return dict(self._on_board)

    def wait_until_empty(self) -> None:
        """Wait until nothing is on board; `stop` makes that soon."""
        with self._changed:
            self._changed.wait_for(lambda: not self._on_board)

    def stop(self) -> None:
        """Give everything back, now."""
        self._patience.stop()
        self._admission.close()
        self._pool.close()

    def _attempt(self, member: Member, lease: Lease) -> Outcome:  # noqa: PLR0911 - one for each outcome
        start: Start = "none" if lease.suspect else "first"
        try:
            directory = self._on_broker(lambda: self.jobs.find(member.job_key))
        except GivenBackError:
            return self._give_back(member, start)
        except (AwayError, JobError) as error:
            # Perhaps it is this worker that is set up wrongly: another may find the job, so nothing is recorded.
            return self._put_off(member, start, error)
        try:
            spec = _stored(directory)
            columns = spec.columns(self._config)
            # Memory is reserved by the header of the rows that will be read, not by the ledger's count.
            header, budget = self._store.header(directory, member.shard), self._settings.memory_budget
            size = size_on_board(vector_bytes(columns, *header), header.tokens, self._settings.pool_tokens, budget)
            with self._admission.admit(size, alone=lease.suspect):
                if lease.suspect:
                    start = self._start_alone(member)
                self._patience.a_few_times(
                    f"compute {member}",
                    lambda: self._compute_and_publish(directory, member.shard, spec, columns),
                    PASSING,
                )
            self._on_broker(lambda: self._ledger.remove(member))
        except GivenBackError:
            return self._give_back(member, start)
        except AwayError as error:
            return self._put_off(member, start, error)
        except BrokenWorkerError as error:
            self._on_broken(error)
            return self._give_back(member, start)
        except RequestError as error:
            return self._bury(directory, member, start, str(error))
        except Exception as error:
            log.exception("%s: unexpected failure", member)
            return self._bury(directory, member, start, reason_of(error))
        self._tell_back(member.job_key)
        return Outcome.PUBLISHED

    def _start_alone(self, member: Member) -> Start:
        starts = self._on_broker(lambda: self._ledger.start_alone(member))
        if starts > self._settings.max_attempts:
            raise RequestError(f"its worker died {self._settings.max_attempts} times with it alone on board")
        log.warning("%s was on board when a worker died; it runs alone, start %d", member, starts)
        return "alone"

    def _compute_and_publish(
        self, directory: JobDirectory, shard: ShardId, spec: OutputSpec, columns: tuple[VectorColumn, ...]
    ) -> None:
        rows = self._store.read(directory, shard)
        if rows is not None:
            with self._pool.compute(rows.real, columns) as computed:
                if computed.failed:
                    log.warning("%s: %d row(s) can't be computed: quarantine", shard, len(computed.failed))
                self._store.publish(directory, shard, rows, computed.outputs, computed.failed, spec, columns)
        self._store.discard(directory, shard)

    def _on_broker(self, action: Callable[[], T]) -> T:
        return self._patience.until_done("reach the broker", action)

    def _give_back(self, member: Member, start: Start) -> Outcome:
        """Let another worker have it at once; should the broker be away, the lease runs out instead."""
        try:
            if self._ledger.give_back(member, self.holder, start):
                self._send(member)
        except Exception as error:  # noqa: BLE001 - the ledger keeps the shard, whatever happens here
            log.warning("%s: couldn't be given back (%s); its lease runs out by itself", member, error)
        return Outcome.GIVEN_BACK

    def _put_off(self, member: Member, start: Start, error: UnrolledError) -> Outcome:
        """Let it go without a message: it comes up again when the ledger is swept, a lease from now."""
        with self._changed:
            new = member.job_key not in self._away
            self._away.add(member.job_key)
        if new:
            log.warning(
                "job %s: %s; its shards wait, and are tried again every %.0f s or so",
                member.job_key,
                error,
                self._ledger.lease_seconds,
            )
        try:
            self._ledger.give_back(member, self.holder, start)
        except Exception as failure:  # noqa: BLE001 - as above
            log.info("%s: couldn't be put off (%s); its lease runs out by itself", member, failure)
        return Outcome.PUT_OFF

    def _tell_back(self, job_key: str) -> None:
        with self._changed:
            back = job_key in self._away
            self._away.discard(job_key)
        if back:
            log.warning("job %s: its directory is back", job_key)

    def _bury(self, directory: JobDirectory, member: Member, start: Start, reason: str) -> Outcome:
        log.error("%s is given up: %s", member, reason)
        try:
            self._store.bury(directory, member.shard, reason)
            self._on_broker(lambda: self._ledger.remove(member))
        except GivenBackError:
            return self._give_back(member, start)
        except AwayError as error:
            return self._put_off(member, start, error)
        return Outcome.GIVEN_UP


def _stored(directory: JobDirectory) -> OutputSpec:
    """What the job stores; its manifest is checked here, for anybody may have written it."""
    try:
        return OutputSpec.from_options(directory.job.options)
    except RequestError as error:
        raise JobError(f"{directory.path / 'job.json'}: {error}") from error
