"""The service of a worker: handles the messages of shards, in many threads at once.

The steps are in `worker.runtime.attempt`; this module provides the engine's pool, the memory budget, the patience and
the log lines of a real process. It doesn't use Celery.
"""

# Over 150 lines: everything that an attempt asks of its process.

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Literal, TypeVar

from unrolled.errors import BrokenWorkerError, JobError, RequestError, UnrolledError, counted
from unrolled.format.columns import vector_bytes
from unrolled.format.output_spec import OutputSpec
from unrolled.job import payload
from unrolled.job.names import rows_object
from unrolled.reading.outcome import failed_rows
from unrolled.telemetry.json_log import about, note
from worker.errors import PASSING
from worker.runtime.admission import Admission, size_on_board
from worker.runtime.attempt import Attempts, Computed
from worker.runtime.away_jobs import AwayJobs
from worker.runtime.board import Board
from worker.runtime.outcome import Outcome
from worker.runtime.rest import Rest
from worker.runtime.telemetry.shard_times import ShardTimes
from worker.runtime.telemetry.time_records import TimeRecords
from worker.runtime.worker_leases import WorkerLeases
from worker.shards.float16_range import rows_beyond_float16
from worker.shards.part_content import part_content
from worker.shards.shard_rows import decode_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from unrolled.job.shard_id import ShardId
    from unrolled.model.config import ModelConfig
    from unrolled.patience import Patience
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.job_ledger import Send
    from unrolled.queue.ledger import Ledger
    from unrolled.queue.member import Member
    from unrolled.telemetry.tracing import Spans
    from worker.pool.pool import Pool
    from worker.runtime.job_registry import Jobs
    from worker.runtime.telemetry.metrics import Metrics
    from worker.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")


class ShardService:
    """Computes and publishes shards; `handle` runs in many threads at once.

    Args:
        holder: names this worker in the ledger.
        settings: this worker's settings.
        ledger: the ledger of its offer.
        config: the model's configuration.
        jobs: finds jobs by their keys.
        pool: the process's one pool.
        patience: tries actions again.
        metrics: counts what is read and written, how long shards wait, and how they end.
        send: sends one shard's message.
        on_broken: called once when this process can't continue.
        spans: records the steps of shards, if spans are recorded.
        engine: describes its engine, for people.

    Attributes:
        holder: as given.
        jobs: as given.
        board: the shards that it holds.
        time_records: what its seconds went into, for each job.
    """

    def __init__(  # the parts are made in `worker.runtime.assembly`, which knows how they fit
        self,
        holder: str,
        settings: Settings,
        ledger: Ledger,
        config: ModelConfig,
        jobs: Jobs,
        pool: Pool,
        patience: Patience,
        metrics: Metrics,
        send: Send,
        on_broken: Callable[[BrokenWorkerError], None],
        spans: Spans,
        engine: str = "",
    ) -> None:
        self.holder = holder
        self.jobs = jobs
        self.board = Board()
        self.time_records = TimeRecords(self.holder, engine, settings.concurrency)
        self._times = ShardTimes([self.time_records.add])
        self._settings = settings
        self._config = config
        self._pool = pool
        self._patience = patience
        self._metrics = metrics
        self._on_broken = on_broken
        self._spans = spans
        self._away = AwayJobs(ledger.lease_seconds)
        self._rest = Rest()
        self._admission = Admission(settings.memory_budget)
        leases = WorkerLeases(ledger, self.holder, patience.until_done, send, self._name)
        self._attempts = Attempts(leases, self.board, self, failed_rows, settings.max_attempts)

    def handle(self, values: Sequence[object]) -> Outcome:
        """Bring the shard that a message names to its outcome; see `Attempts.handle`.

        After a message that is left to other workers, the calling thread rests, so that they get the next one.
        """
        with about(), self._spans.span("shard"):
            outcome = self._attempts.handle(values)
        self._metrics.ended(outcome)
        if outcome in (Outcome.REFUSED, Outcome.PASSED_ON):
            self._rest.take()
        elif outcome in (Outcome.PUBLISHED, Outcome.GIVEN_UP):
            self._rest.end()
        return outcome

    def _name(self, member: Member) -> None:
        """Name a shard in what this thread logs from now on, and in its span."""
        facts = {"job": member.job_key, "shard": str(member.shard)}
        note(**facts)
        self._spans.note(**facts)

    def put_off(self) -> dict[str, str]:
        """The jobs whose shards wait because of something that this worker met: job key → what."""
        return self._away.reasons()

    @property
    def used_bytes(self) -> int:
        """Bytes of outputs that are in flight now."""
        return self._admission.used_bytes

    def leave_needless(self, lost: Iterable[Member]) -> None:
        """Compute no more shards of jobs that were cancelled or discarded, but those that are in the engine.

        Args:
            lost: shards on board that aren't this worker's in the ledger. If that has another reason, nothing changes.
        """
        for job_key in {member.job_key for member in lost}:
            if self.jobs.is_over(job_key) and (count := self._pool.give_back(job_key)):
                log.info("job %s is stopped: %s left uncomputed", job_key, counted(count, "shard is", "shards are"))

    def stop(self) -> None:
        """Give everything back, now."""
        self._patience.stop()
        self._rest.stop()
        self._admission.close()
        self._pool.close()

    # What follows is what `worker.runtime.attempt.Host` asks for.

    def find(self, job_key: str) -> OpenJob:
        """See `Host`."""
        return self._patience.until_done("reach the broker", lambda: self.jobs.find(job_key))

    def is_stopped(self, job: OpenJob) -> bool:
        """See `Host`."""
        return self.jobs.is_stopped(job.key)

    @contextlib.contextmanager
    def admit(self, job: OpenJob, shard: ShardId, *, alone: bool) -> Iterator[None]:
        """See `Host`. Counts the bytes of the rows that will be read, by their header, not the ledger's count."""
        columns = _stored(job).columns(self._config)
        name, objects, settings = rows_object(shard), job.objects, self._settings
        content = objects.steadily(
            f"read from {objects.store}", lambda: objects.store.read(name, 0, payload.HEADER_BYTES)
        )
        header = payload.read_header(content or b"")
        size = vector_bytes(columns, header.rows, header.tokens)
        size = size_on_board(size, header.tokens, settings.pool_tokens, settings.memory_budget)
        size += 2 * header.number_bytes  # as they are read, and as an array
        with self._times.attempt(job, shard), contextlib.ExitStack() as stack:
            began = time.perf_counter()
            with self._spans.span("room_wait"):
                stack.enter_context(self._admission.admit(size, alone=alone))
            seconds = time.perf_counter() - began
            self._metrics.admitted(seconds)
            self._times.add("wait", seconds)
            yield

    @contextlib.contextmanager
    def timed(self, stage: Literal["read", "write"]) -> Iterator[None]:
        """See `Host`."""
        began = time.perf_counter()
        with self._spans.span(stage):
            yield
        seconds = time.perf_counter() - began
        count = self._metrics.read if stage == "read" else self._metrics.written
        count(seconds)
        self._times.add(stage, seconds)

    @contextlib.contextmanager
    def compute(self, job: OpenJob, shard: ShardId, content: bytes) -> Iterator[Computed]:
        """See `Host`."""
        spec = _stored(job)
        columns = spec.columns(self._config)
        began = time.perf_counter()
        config = self._config
        rows = decode_rows(content, shard, config.vocab_size, config.vector_dim, config.given_dim)
        decoded = time.perf_counter()
        self._metrics.decoded(decoded - began)
        self._times.add("read", decoded - began)
        with self._pool.compute(job.key, rows.real, columns) as computed:
            self._times.computed(
                rows=rows.real.rows,
                tokens=rows.real.values.size,
                computed=computed.computed,
                engine_seconds=computed.seconds,
                all_seconds=time.perf_counter() - decoded,
            )
            failed = computed.failed
            if spec.precision == "float16":
                failed = rows_beyond_float16(rows.real, computed.outputs, columns) | failed
            good = rows.without(failed)
            self._metrics.failed(len(failed))
            part = part_content(job.job, shard, good, computed.outputs, spec, columns)
            yield Computed(part, [row.row for row in good.failed])

    def a_few_times(self, what: str, action: Callable[[], T]) -> T:
        """See `Host`."""
        return self._patience.a_few_times(what, action, PASSING)

    def refused(self) -> list[str]:
        """See `Host`."""
        return self._away.refused()

    def note_refused(self, member: Member, error: UnrolledError) -> None:
        """See `Host`."""
        self._away.refuse(member, error)
        self.jobs.doubt(member.job_key)

    def note_put_off(self, member: Member, error: UnrolledError) -> None:
        """See `Host`."""
        self._away.add(member, error)
        self.jobs.doubt(member.job_key)

    def note_done(self, member: Member, outcome: Outcome) -> None:
        """See `Host`."""
        if outcome == Outcome.PUBLISHED:
            log.info("%s is published", member)
        self._away.remove(member)

    def note_broken(self, error: BrokenWorkerError) -> None:
        """See `Host`."""
        self._on_broken(error)


def _stored(job: OpenJob) -> OutputSpec:
    """The job's choice of what it stores, checked here because anybody may have written it."""
    try:
        return OutputSpec.from_options(job.job.options)
    except RequestError as error:
        raise JobError(f"{job.place}: {error}") from error
