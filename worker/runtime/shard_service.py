"""What a worker does with one shard, from its message to its part; knows nothing of Celery.

    claim → look → read the rows → pool → publish → finish → remove from the ledger

Every step is safe to repeat, and a worker that dies between two of them leaves nothing but a lease that runs out.
"""

# Over 150 lines: one shard's way from its message to its outcome.

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from unrolled.counted import counted
from unrolled.errors import BrokenWorkerError, FileFormatError, JobError, RequestError, UnrolledError, reason_of
from unrolled.format.columns import vector_bytes
from unrolled.format.output_spec import OutputSpec
from unrolled.job import payload
from unrolled.job.names import rows_object
from unrolled.protocol.finishing import finish
from unrolled.queue.member import Member
from unrolled.reading.outcome import failed_rows
from worker.errors import PASSING, AwayError, GivenBackError
from worker.runtime.admission import Admission, size_on_board
from worker.runtime.board import Board
from worker.runtime.outcome import Outcome
from worker.shards.float16_range import rows_beyond_float16
from worker.shards.part_content import part_content
from worker.shards.publication import bury, look, publish
from worker.shards.shard_rows import decode_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unrolled.format.columns import VectorColumn
    from unrolled.model.config import ModelConfig
    from unrolled.patience import Patience
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.job_ledger import Send
    from unrolled.queue.ledger import Lease, Ledger, Start
    from worker.pool.pool import Pool
    from worker.runtime.job_registry import Jobs
    from worker.runtime.metrics import Metrics
    from worker.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")


class ShardService:
    """Computes and publishes shards; `handle` runs in many threads at once.

    Args:
        settings: of this worker.
        ledger: of its offer.
        config: of the model.
        jobs: finds a job's store.
        pool: the process's one pool.
        patience: how long to try again.
        metrics: told of what was read and written.
        send: sends one shard's message.
        on_broken: called once when this process can't go on.
    """

    def __init__(  # the parts are made in `worker.runtime.assembly`, which knows how they fit
        self,
        settings: Settings,
        ledger: Ledger,
        config: ModelConfig,
        jobs: Jobs,
        pool: Pool,
        patience: Patience,
        metrics: Metrics,
        send: Send,
        on_broken: Callable[[BrokenWorkerError], None],
    ) -> None:
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.jobs = jobs
        self.board = Board()
        self._away_lock = threading.Lock()
        self._settings = settings
        self._ledger = ledger
        self._config = config
        self._pool = pool
        self._away: set[str] = set()
        self._patience = patience
        self._metrics = metrics
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
        with self.board.reach(member) as first:
            return self._claim(member) if first else Outcome.HELD

    def stop(self) -> None:
        """Give everything back, now."""
        self._patience.stop()
        self._admission.close()
        self._pool.close()

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
        # Only now, because the leases of shards on board are renewed, and this one could have been another worker's.
        self.board.take(member)
        return self._attempt(member, lease)

    def _attempt(self, member: Member, lease: Lease) -> Outcome:  # noqa: PLR0911 - one for each outcome
        start: Start = "none" if lease.suspect else "first"
        try:
            job = self._on_broker(lambda: self.jobs.find(member.job_key))
        except GivenBackError:
            return self._give_back(member, start)
        except (AwayError, RequestError) as error:
            # Perhaps it is this worker that is set up wrongly: another may find the job, so nothing is recorded.
            return self._put_off(member, start, error)
        try:
            spec = _stored(job)
            columns = spec.columns(self._config)
            with self._admission.admit(self._size(job, member, columns), alone=lease.suspect):
                if lease.suspect:
                    start = self._start_alone(member)
                done = self._patience.a_few_times(
                    f"compute {member}", lambda: self._compute_and_publish(job, member, spec, columns), PASSING
                )
            if not done:
                return self._not_to_be_seen(job, member, start)
            self._on_broker(lambda: self._ledger.remove(member))
        except GivenBackError:
            return self._give_back(member, start)
        except (AwayError, FileFormatError) as error:  # a damaged part is no outcome; `verify` names it
            return self._put_off(member, start, error)
        except BrokenWorkerError as error:
            self._on_broken(error)
            return self._give_back(member, start)
        except RequestError as error:
            return self._bury(job, member, start, str(error))
        except Exception as error:
            log.exception("%s: unexpected failure", member)
            return self._bury(job, member, start, reason_of(error))
        self._tell_back(member.job_key)
        return Outcome.PUBLISHED

    def _size(self, job: OpenJob, member: Member, columns: tuple[VectorColumn, ...]) -> int:
        """Bytes that a shard takes on board, by the header of the rows that will be read, not by the ledger's count."""
        name = rows_object(member.shard)
        objects = job.objects
        content = objects.steadily(
            f"read from {objects.store}", lambda: objects.store.read(name, 0, payload.HEADER_BYTES)
        )
        header, settings = payload.read_header(content or b""), self._settings
        size = vector_bytes(columns, *header)
        return size_on_board(size, header.tokens, settings.pool_tokens, settings.memory_budget)

    def _start_alone(self, member: Member) -> Start:
        starts = self._on_broker(lambda: self._ledger.start_alone(member))
        if starts > self._settings.max_attempts:
            raise RequestError(f"its worker died {self._settings.max_attempts} times with it alone on board")
        log.warning("%s was on board when a worker died; it runs alone, start %d", member, starts)
        return "alone"

    def _compute_and_publish(
        self, job: OpenJob, member: Member, spec: OutputSpec, columns: tuple[VectorColumn, ...]
    ) -> bool:
        """Make sure that a shard has its part; False where neither the part nor the rows can be seen."""
        shard, began = member.shard, time.perf_counter()
        found = look(job.objects, shard, failed_rows)
        if found.rows is None:
            if found.failed is None:
                return False
            finish(job.objects, shard, found.failed)
            return True
        rows = decode_rows(found.rows, shard, self._config.vocab_size)
        self._metrics.read(time.perf_counter() - began)
        with self._pool.compute(rows.real, columns) as computed:
            began = time.perf_counter()
            failed = computed.failed
            if spec.precision == "float16":
                failed = rows_beyond_float16(rows.real, computed.outputs, columns) | failed
            good = rows.without(failed)
            if good.failed:
                log.warning("%s: %s can't be computed; see its part", shard, counted(len(good.failed), "row"))
            content = part_content(job.job, shard, good, computed.outputs, spec, columns)
            numbers = [row.row for row in good.failed]
            if not publish(job.objects, shard, content, numbers, found.rows, failed_rows):
                log.info("%s: another attempt was first; its part is the outcome", shard)
            self._metrics.published(time.perf_counter() - began)
        return True

    def _not_to_be_seen(self, job: OpenJob, member: Member, start: Start) -> Outcome:
        """No death is recorded for what can't be seen: caches lag, and a discarded job has no rows."""
        if self.jobs.is_stopped(job):
            return Outcome.GONE
        return self._put_off(member, start, JobError("neither its rows nor its part can be seen"))

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
        with self._away_lock:
            new = member.job_key not in self._away
            self._away.add(member.job_key)
        if new:
            log.warning(
                "%s: %s; shards of its job wait, and are tried again every %.0f s or so",
                member,
                error,
                self._ledger.lease_seconds,
            )
        try:
            self._ledger.give_back(member, self.holder, start)
        except Exception as failure:  # noqa: BLE001 - as above
            log.info("%s: couldn't be put off (%s); its lease runs out by itself", member, failure)
        return Outcome.PUT_OFF

    def _tell_back(self, job_key: str) -> None:
        with self._away_lock:
            back = job_key in self._away
            self._away.discard(job_key)
        if back:
            log.warning("job %s: its directory is back", job_key)

    def _bury(self, job: OpenJob, member: Member, start: Start, reason: str) -> Outcome:
        log.error("%s is given up: %s", member, reason)
        try:
            bury(job.objects, member.life, reason)
            self._on_broker(lambda: self._ledger.remove(member))
        except GivenBackError:
            return self._give_back(member, start)
        except AwayError as error:
            return self._put_off(member, start, error)
        return Outcome.GIVEN_UP


def _stored(job: OpenJob) -> OutputSpec:
    """What the job stores; its options are checked here, because anybody may have written them."""
    try:
        return OutputSpec.from_options(job.job.options)
    except RequestError as error:
        raise JobError(f"{job.place}: {error}") from error
