"""A worker: the product's code from a message to its shard's outcome, with chance in place of engine and clock."""

# Over 150 lines: everything that the product's attempts ask of their process.

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from simulation.access import ActorLedger, job_ledger
from simulation.content import decode_rows, encode_part, failed_numbers
from support.ledger_model import LEASE

from unrolled.errors import BrokenWorkerError, FileFormatError, JobError, PayloadError, RequestError, TransientError
from unrolled.patience import ATTEMPTS, at_once
from unrolled.protocol.finishing import sweep
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log
from unrolled.protocol.upkeep import look_after
from worker.errors import PASSING, AwayError, GivenBackError
from worker.runtime.attempt import Attempts, Computed
from worker.runtime.away_jobs import AwayJobs
from worker.runtime.job_place import check_place, open_registered
from worker.runtime.outcome import Outcome
from worker.runtime.worker_leases import WorkerLeases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from simulation.actor import Actor
    from simulation.job import SimulatedJob

    from unrolled.errors import UnrolledError
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.member import Member

#: Workers that may die with a shard alone on board before it is given up.
MAX_ATTEMPTS = 2
#: Steps that a computation takes, at most.
_LONGEST_COMPUTATION = 36
#: Computations that fail through no fault of the shard.
_OTHER_FAILURES = 0.06
#: Failures of a store after which a worker leaves the job to others.
_GIVES_WAY = 0.2


class Worker:
    """One thread of a worker, which receives messages until the run is over; the host of the product's attempts.

    Args:
        actor: the thread; it has the board of its process.
        jobs: all jobs, by the places of their stores.
        is_over: whether nothing more is left to do; the thread ends then.
    """

    def __init__(self, actor: Actor, jobs: Mapping[str, SimulatedJob], is_over: Callable[[], bool]) -> None:
        self._actor, self._jobs, self._is_over = actor, jobs, is_over
        self._ledger = ActorLedger(actor)
        self._met: dict[str, tuple[OpenJob, Log]] = {}
        self._is_stopping = False
        self._away = AwayJobs(LEASE, clock=lambda: actor.ticks)
        leases = WorkerLeases(self._ledger, actor.process, self._steadily, self._ledger.send)
        self._attempts = Attempts(leases, actor.board, self, failed_numbers, MAX_ATTEMPTS)

    def run(self) -> None:
        """Receive messages; without one, look after the ledger and the known jobs."""
        with contextlib.suppress(GivenBackError):
            # Near the end, a worker that may not write to a job would wait for ever for one that may.
            while not self._is_stopping and not (self._actor.refuses and self._is_over()):
                member: Member | None = None
                if self._actor.has_messages:
                    member = self._steadily("", self._ledger.receive)
                if member is not None:
                    if self._attempts.handle(member.encode()) in (Outcome.REFUSED, Outcome.PASSED_ON):
                        self._actor.rest()
                elif self._is_over():
                    return
                else:
                    self._actor.rest()
                    if self._actor.rng.random() < 0.5:
                        self._look_after()

    def find(self, job_key: str) -> OpenJob:
        """Find a job by its key, as `worker.runtime.job_registry.Jobs` does."""
        if job_key not in self._met:
            job = self._steadily("", lambda: open_registered(self._ledger, job_key, partial(self._check, job_key)))
            self._met[job_key] = job.with_patience(self._at_the_store), Log()
        return self._met[job_key][0]

    def _check(self, job_key: str, place: str) -> None:
        check_place(job_key, place, None)
        if place in self._actor.refuses:
            raise JobError(f"this worker doesn't write to {place}")

    def is_stopped(self, job: OpenJob) -> bool:
        log = self._met[job.key][1] if job.key in self._met else Log()
        with contextlib.suppress(RequestError, TransientError):
            update_ledger(log, job.with_patience(at_once).objects, job_ledger(self._actor, job, at_once))
            return log.stopped
        return False

    @contextlib.contextmanager
    def admit(self, job: OpenJob, shard: ShardId, *, alone: bool) -> Iterator[None]:
        del job, shard, alone
        if self._actor.rng.random() < 0.5:
            self._actor.pass_time()
        yield

    def timed(self, stage: str) -> contextlib.AbstractContextManager[None]:
        del stage
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def compute(self, job: OpenJob, shard: ShardId, content: bytes) -> Iterator[Computed]:
        """Compute a part, in which any row may have failed; or fail in one of the ways in which an engine can."""
        del job, shard
        rng, failing = self._actor.rng, self._actor.nature.failing
        self._actor.rest(0, _LONGEST_COMPUTATION)
        if failing and rng.random() < self._actor.nature.bad:
            raise RequestError("the request is bad as a whole")
        if failing and rng.random() < _OTHER_FAILURES:
            raise rng.choice((BrokenWorkerError("the engine is broken"), MemoryError()))
        rows = decode_rows(content).rows
        failed = [number for number in range(len(rows)) if rng.random() < failing]
        yield Computed(encode_part(rows, failed), failed)

    def a_few_times(self, what: str, action: Callable[[], Any]) -> Any:
        del what
        for _ in range(ATTEMPTS - 1):
            try:
                return action()
            except GivenBackError:
                raise
            except PASSING:
                self._actor.pass_time()
        return action()

    def refused(self) -> list[str]:
        return self._away.refused()

    def note_refused(self, member: Member, error: UnrolledError) -> None:
        self._actor.say(f"refuses {member}: {error}")
        self._away.refuse(member, error)

    def note_put_off(self, member: Member, error: Exception) -> None:
        self._actor.say(f"puts {member} off: {error}")

    def note_done(self, member: Member, outcome: Outcome) -> None:
        del member, outcome

    def note_broken(self, error: Exception) -> None:
        del error
        self._is_stopping = True

    def _at_the_store(self, what: str, action: Callable[[], Any]) -> Any:
        """Run an action on a job's store until it works, or now and then leave the job, as for other jobs' shards."""

        def attempt() -> Any:
            try:
                return action()
            except GivenBackError:
                raise
            except TransientError as error:
                if self._actor.rng.random() < _GIVES_WAY:
                    raise AwayError(f"can't {what}: {error}") from error
                raise

        return self._steadily(what, attempt)

    def _steadily(self, what: str, action: Callable[[], Any]) -> Any:
        """Run an action until it works; now and then the worker is asked to stop instead."""
        del what
        while True:
            try:
                return action()
            except TransientError as error:
                if isinstance(error, GivenBackError):
                    raise
                self._is_stopping |= self._actor.rng.random() < self._actor.nature.stops
                if self._is_stopping:
                    raise GivenBackError from error

    def _look_after(self) -> None:
        """Send the messages of lost shards again, or look at a job of which nothing is in the ledger."""
        with contextlib.suppress(TransientError, RequestError):
            if not self._met or self._actor.rng.random() < 0.5:
                for member in self._ledger.sweep():
                    self._ledger.send(member)
                return
            key = self._actor.rng.choice([*self._met])
            (known,) = self._ledger.known([key])
            if known.mark is None or not known.left:
                self._look(key)

    def _look(self, key: str) -> None:
        job, log = self._met[key]
        job, simulated = job.with_patience(at_once), self._jobs[job.place]
        asked = len(simulated.promises.history.changes)
        if look_after(log, job.objects, job_ledger(self._actor, job, at_once), live=job.job.live):
            if not log.stopped:
                simulated.hear_complete(asked)
            with contextlib.suppress(PayloadError, FileFormatError):
                sweep(log, job.objects, failed_numbers, live=job.job.live)
            self._met.pop(key, None)
