"""The way of one shard through a worker, from its message to its part; knows nothing of Celery.

    claim → find the job → wait for room → read the rows → pool → publish → remove from the ledger

Every step is safe to repeat. A worker that dies between two of them leaves nothing but a lease that runs out.
"""

# Over 150 lines: each way in which a shard can end is one method, and they are only understood together.

from __future__ import annotations

import logging
import os
import secrets
import socket
from typing import TYPE_CHECKING, TypeVar

from unrolled.errors import BrokenWorkerError, JobError, RequestError, UnrolledError, reason_of
from unrolled.format.columns import vector_bytes
from unrolled.format.output_spec import OutputSpec
from unrolled.queue.member import Member
from worker.errors import PASSING, AwayError, GivenBackError
from worker.runtime.admission import Admission, size_on_board
from worker.runtime.board import Board
from worker.runtime.job_registry import JobRegistry
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
        ledger: of the model that this worker serves.
        config: that model's layers.
        store: reads and publishes.
        pool: computes; there is one in a process.
        patience: decides how long things are tried again.
        send: sends one shard's message.
        on_broken: called when this process can't go on.

    Attributes:
        holder: the name of this worker in the ledger.
        board: the shards on board.
        jobs: the jobs that this worker has met.
    """

    def __init__(
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
        self.board = Board()
        self.jobs = JobRegistry(ledger, settings.output_root)
        self._admission = Admission(settings.memory_budget)
        self._settings = settings
        self._ledger = ledger
        self._config = config
        self._store = store
        self._pool = pool
        self._patience = patience
        self._send = send
        self._on_broken = on_broken

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
        with self.board.reach(member) as first:
            return self._claim(member) if first else Outcome.HELD

    def stop(self) -> None:
        """Give everything back, now."""
        self._patience.stop()
        self._admission.close()
        self._pool.close()

    def _claim(self, member: Member) -> Outcome:
        try:
            lease = self._ask(lambda: self._ledger.claim(member, self.holder))
        except GivenBackError:
            return Outcome.LEFT
        except Exception:
            log.exception("%s: the ledger's answer can't be read; the shard stays in the ledger", member)
            return Outcome.LEFT
        if lease.state in ("held", "gone"):
            return Outcome(lease.state)
        # Only now, because the leases of shards on board are renewed, and this one could have been another worker's.
        self.board.take(member)
        return self._attempt(member, lease)

    def _attempt(self, member: Member, lease: Lease) -> Outcome:  # noqa: PLR0911 - one for each outcome
        start: Start = "none" if lease.suspect else "first"
        try:
            directory = self._ask(lambda: self.jobs.find(member.job_key))
        except GivenBackError:
            return self._give_back(member, start)
        except (AwayError, JobError) as error:
            # Perhaps this worker is set up wrongly and another finds the job, so nothing is recorded.
            return self._put_off(member, start, error)
        try:
            spec = _stored(directory)
            columns = spec.columns(self._config)
            with self._admission.admit(self._size(directory, member.shard, columns), alone=lease.suspect):
                if lease.suspect:
                    start = self._start_alone(member)
                self._patience.a_few_times(
                    f"compute {member}", lambda: self._compute(directory, member.shard, spec, columns), PASSING
                )
            self._ask(lambda: self._ledger.remove(member))
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
        self._patience.works(_use_of(member))
        return Outcome.PUBLISHED

    def _size(self, directory: JobDirectory, shard: ShardId, columns: Sequence[VectorColumn]) -> int:
        """Bytes to reserve: by the header of the rows that will be read, not by what the ledger says."""
        header = self._store.header(directory, shard)
        settings = self._settings
        return size_on_board(
            vector_bytes(columns, *header), header.tokens, settings.pool_tokens, settings.memory_budget
        )

    def _start_alone(self, member: Member) -> Start:
        starts = self._ask(lambda: self._ledger.start_alone(member))
        if starts > self._settings.max_attempts:
            raise RequestError(f"its worker died {self._settings.max_attempts} times with it alone on board")
        log.warning("%s was on board when a worker died; it runs alone, start %d", member, starts)
        return "alone"

    def _compute(
        self, directory: JobDirectory, shard: ShardId, spec: OutputSpec, columns: tuple[VectorColumn, ...]
    ) -> None:
        rows = self._store.read(directory, shard)
        if rows is not None:
            with self._pool.compute(rows.real, columns) as computed:
                if computed.failed:
                    log.warning("%s: %d row(s) can't be computed: quarantine", shard, len(computed.failed))
                self._store.publish(directory, shard, rows, computed.outputs, computed.failed, spec, columns)
        self._store.discard(directory, shard)

    def _ask(self, action: Callable[[], T]) -> T:
        return self._patience.until_done("reach the broker", action)

    def _give_back(self, member: Member, start: Start) -> Outcome:
        """Let another worker have the shard at once; if the broker is away, the lease runs out instead."""
        try:
            if self._ledger.give_back(member, self.holder, start):
                self._send(member)
        except Exception as error:  # noqa: BLE001 - the ledger keeps the shard, whatever happens here
            log.warning("%s: couldn't be given back (%s); its lease runs out by itself", member, error)
        return Outcome.GIVEN_BACK

    def _put_off(self, member: Member, start: Start, error: UnrolledError) -> Outcome:
        """Give the shard back without a message: a sweep sends it again, a lease from now."""
        self._patience.fails(_use_of(member), error)
        try:
            self._ledger.give_back(member, self.holder, start)
        except Exception as failure:  # noqa: BLE001 - the ledger keeps the shard, whatever happens here
            log.info("%s: couldn't be put off (%s); its lease runs out by itself", member, failure)
        return Outcome.PUT_OFF

    def _bury(self, directory: JobDirectory, member: Member, start: Start, reason: str) -> Outcome:
        log.error("%s is given up: %s", member, reason)
        try:
            self._store.bury(directory, member.shard, reason)
            self._ask(lambda: self._ledger.remove(member))
        except GivenBackError:
            return self._give_back(member, start)
        except AwayError as error:
            return self._put_off(member, start, error)
        return Outcome.GIVEN_UP


def _use_of(member: Member) -> str:
    """The action that fails while a job's directory is away, as the log names it."""
    return f"use job {member.job_key}"


def _stored(directory: JobDirectory) -> OutputSpec:
    """What the job stores, checked, because anybody with access to the directory may have written it."""
    try:
        return OutputSpec.from_options(directory.job.options)
    except RequestError as error:
        raise JobError(f"{directory.path / 'job.json'}: {error}") from error
