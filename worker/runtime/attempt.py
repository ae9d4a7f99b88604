"""One attempt at a shard, from its message to its outcome.

    choose → claim → find the job → wait for room → look → compute → publish → finish → remove from the ledger

Each step is safe to repeat, and an attempt that dies between two steps leaves only a lease, which expires. No step uses
a thread, a clock or Celery, so that the simulation (tests/simulation) runs this code and not a copy of it.
"""

# Over 150 lines: the steps of an attempt, and every way in which it can end.

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeVar

from unrolled.errors import (
    BrokenWorkerError,
    FileFormatError,
    JobError,
    RequestError,
    UnrolledError,
    counted,
    reason_of,
)
from unrolled.protocol.finishing import finish
from unrolled.queue.member import Member
from unrolled.queue.messages import UNSEEN
from worker.errors import AwayError, BlockedError, GivenBackError, UnregisteredError
from worker.runtime.outcome import Outcome
from worker.shards.publication import look, publish, record_death

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.finishing import FailedRows
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.ledger import Lease, Start
    from unrolled.store.store import Content
    from worker.runtime.board import Board

log = logging.getLogger(__name__)
T = TypeVar("T")


class Computed(NamedTuple):
    """The result of computing a shard.

    Attributes:
        part: the content of its part.
        failed: the numbers of the rows that couldn't be computed, and that the part names.
    """

    part: Content
    failed: Sequence[int]


class Ending(NamedTuple):
    """The end of an attempt.

    Attributes:
        outcome: what the shard came to.
        revoked: the counted start that is revoked as the lease is given up; None where no lease is left to give up.
    """

    outcome: Outcome
    revoked: Start | None = None


class Leases(Protocol):
    """The ledger as a worker uses it for one shard (`worker.runtime.worker_leases.WorkerLeases`)."""

    def choose(self, hint: Member, without: Collection[str]) -> Member | None:
        """Choose the shard that is computed next, for a message that names one; see `Ledger.choose`."""
        ...

    def pass_on(self, hint: Member) -> None:
        """Send a message again for other workers. Never raises: at worst a sweep sends it."""
        ...

    def claim(self, member: Member) -> Lease:
        """Take the lease of a shard, unless another worker has it. Raises GivenBackError while the worker stops."""
        ...

    def start_alone(self, member: Member) -> int:
        """Record that a suspect starts with nothing else on board; returns how many workers have started it so."""
        ...

    def remove(self, member: Member) -> bool:
        """Take a shard out of the ledger; whether it was there. Raises GivenBackError while the worker stops."""
        ...

    def give_back(self, member: Member, start: Start, *, send: bool) -> None:
        """Give up a lease, and send the shard's message again if asked to. Never raises: at worst the lease expires."""
        ...


class Host(Protocol):
    """The process that makes the attempt (`worker.runtime.shard_service.ShardService`)."""

    def find(self, job_key: str) -> OpenJob:
        """Find a job. Raises AwayError or RequestError where this worker can't use it, GivenBackError when it stops."""
        ...

    def is_stopped(self, job: OpenJob) -> bool:
        """Whether a job was cancelled or discarded, as far as its log can be read now."""
        ...

    def admit(self, job: OpenJob, shard: ShardId, *, alone: bool) -> AbstractContextManager[None]:
        """Wait for room on board, or with `alone` for an empty board, and keep it until the block ends."""
        ...

    def timed(self, stage: Literal["read", "write"]) -> AbstractContextManager[None]:
        """Measure how long a block takes."""
        ...

    def compute(self, job: OpenJob, shard: ShardId, rows: bytes) -> AbstractContextManager[Computed]:
        """Compute a shard; the content of its part is valid until the block ends."""
        ...

    def a_few_times(self, what: str, action: Callable[[], T], /) -> T:
        """Run an action, and run it again a few times after errors that pass, such as a lack of memory."""
        ...

    def refused(self) -> Collection[str]:
        """The keys of the jobs that this process can't use now, and leaves to other workers."""
        ...

    def note_refused(self, member: Member, error: UnrolledError) -> None:
        """Say why this process leaves a shard's job to other workers, and remember that."""
        ...

    def note_put_off(self, member: Member, error: UnrolledError) -> None:
        """Say why a shard waits."""
        ...

    def note_done(self, member: Member, outcome: Outcome) -> None:
        """Say that a shard has its part, unless another attempt says it, and that its job can be used again."""
        ...

    def note_broken(self, error: BrokenWorkerError) -> None:
        """Stop this process, which can't continue."""
        ...


class Attempts:
    """Brings shards to their outcomes; several threads may use it at once.

    Args:
        leases: the ledger.
        board: the shards that this process has on board.
        host: the process.
        failed_rows: reads the rows that a part calls failed.
        max_attempts: how many workers may die with a shard alone on board before it is given up.
    """

    def __init__(self, leases: Leases, board: Board, host: Host, failed_rows: FailedRows, max_attempts: int) -> None:
        self._leases = leases
        self._board = board
        self._host = host
        self._failed_rows = failed_rows
        self._max_attempts = max_attempts

    def handle(self, values: Sequence[object]) -> Outcome:
        """Bring the shard whose turn it is to its outcome, for a message, unless another worker or thread does.

        Never raises, so the message may be acknowledged afterwards: a shard that isn't done is still in the ledger.

        Args:
            values: the message's values; anything, because anybody with access to Redis may have sent it.
        """
        try:
            hint = Member.decode(values)
        except RequestError as error:
            log.warning("message dropped: %s", error)
            return Outcome.DROPPED
        try:
            member = self._leases.choose(hint, self._host.refused())
        except GivenBackError:
            return Outcome.LEFT
        except Exception:
            log.exception("%s: the ledger's choice can't be read; left there", hint)
            return Outcome.LEFT
        if member is None:
            self._leases.pass_on(hint)
            return Outcome.PASSED_ON
        with self._board.reach(member) as first:
            ending = self._claim(member) if first else Ending(Outcome.HELD)
        # Only now: at that moment another thread may choose the shard, and must not find it on board.
        if ending.revoked is not None:
            self._leases.give_back(member, ending.revoked, send=ending.outcome != Outcome.PUT_OFF)
        return ending.outcome

    def _claim(self, member: Member) -> Ending:
        try:
            lease = self._leases.claim(member)
        except GivenBackError:
            return Ending(Outcome.LEFT)
        except Exception:
            log.exception("%s: the ledger's answer can't be read; left there", member)
            return Ending(Outcome.LEFT)
        if lease.state in ("held", "gone"):
            return Ending(Outcome(lease.state))
        # Only now: the leases of shards on board are renewed, and this one could have been another worker's.
        self._board.take(member)
        return self._attempt(member, lease)

    def _attempt(self, member: Member, lease: Lease) -> Ending:  # noqa: PLR0911 - one for each outcome
        start: Start = "none" if lease.suspect else "first"
        try:
            job = self._find(member)
        except GivenBackError:
            return Ending(Outcome.GIVEN_BACK, start)
        except (AwayError, RequestError) as error:
            # Perhaps this worker is set up wrongly and another finds the job, so nothing is recorded.
            return self._leave(member, start, error)
        try:
            with self._host.admit(job, member.shard, alone=lease.suspect):
                if lease.suspect:
                    start = self._start_alone(member)
                created = self._host.a_few_times(f"compute {member}", lambda: self._bring_to_part(job, member.shard))
            if created is None:
                return self._leave_unseen(job, member, start)
            removed = self._leases.remove(member)
        except GivenBackError:
            return Ending(Outcome.GIVEN_BACK, start)
        except (AwayError, FileFormatError) as error:  # a damaged part is no outcome; `verify` names it
            return self._leave(member, start, error)
        except BrokenWorkerError as error:
            self._host.note_broken(error)
            return Ending(Outcome.GIVEN_BACK, start)
        except RequestError as error:
            return self._give_up(job, member, start, str(error))
        except Exception as error:
            log.exception("%s: unexpected failure", member)
            return self._give_up(job, member, start, reason_of(error))
        # A part that was there can be one that this attempt made and heard no answer about, or that a dead worker left.
        outcome = Outcome.PUBLISHED if created or removed else Outcome.GONE
        self._host.note_done(member, outcome)
        return Ending(outcome)

    def _find(self, member: Member) -> OpenJob:
        """The job of a shard; what isn't foreseen is a reason, too, to leave it to other workers."""
        try:
            return self._host.find(member.job_key)
        except UnrolledError:
            raise
        except Exception as error:
            log.exception("%s: its job can't be opened", member)
            raise JobError(f"its job can't be opened: {reason_of(error)}") from error

    def _start_alone(self, member: Member) -> Start:
        starts = self._leases.start_alone(member)
        if starts > self._max_attempts:
            raise RequestError(
                f"its worker died {counted(self._max_attempts, 'time')} while it computed this shard alone"
            )
        log.warning("%s was on board when a worker died or stood still; it runs alone, start %d", member, starts)
        return "alone"

    def _bring_to_part(self, job: OpenJob, shard: ShardId) -> bool | None:
        """Make sure that a shard has its part.

        Returns:
            Whether it was created now; None where neither the part nor the rows can be seen.
        """
        with self._host.timed("read"):
            found = look(job.objects, shard, self._failed_rows)
        if found.failed is not None:
            finish(job.objects, shard, found.failed)
            return False
        if found.rows is None:
            return None
        with self._host.compute(job, shard, found.rows) as computed, self._host.timed("write"):
            if computed.failed:
                log.warning("%s: %s can't be computed; see its part", shard, counted(len(computed.failed), "row"))
            created = publish(job.objects, shard, computed.part, computed.failed, found.rows, self._failed_rows)
            if not created:
                log.info("%s: an earlier attempt's part is there; it is the outcome", shard)
        return created

    def _leave_unseen(self, job: OpenJob, member: Member, start: Start) -> Ending:
        """Record no death for rows that can't be seen: caches lag, and a discarded job has no rows."""
        if self._host.is_stopped(job):
            return Ending(Outcome.GONE)
        why = f"{UNSEEN} {member.shard} can be seen; if they were removed, `unrolled status` says what brings them back"
        return self._put_off(member, start, JobError(why))

    def _leave(self, member: Member, start: Start, error: UnrolledError) -> Ending:
        """Refuse the job if another worker may compute the shard, else put the shard off."""
        fails_everywhere = isinstance(error, UnregisteredError | BlockedError | FileFormatError)
        return self._put_off(member, start, error) if fails_everywhere else self._refuse(member, start, error)

    def _refuse(self, member: Member, start: Start, error: UnrolledError) -> Ending:
        """Let another worker have the shard at once, and choose no other one of its job for a while."""
        self._host.note_refused(member, error)
        return Ending(Outcome.REFUSED, start)

    def _put_off(self, member: Member, start: Start, error: UnrolledError) -> Ending:
        """Give up the lease without a message: a sweep of the ledger sends the shard again, a lease from now."""
        self._host.note_put_off(member, error)
        return Ending(Outcome.PUT_OFF, start)

    def _give_up(self, job: OpenJob, member: Member, start: Start, reason: str) -> Ending:
        log.error("%s is given up: %s", member, reason)
        try:
            record_death(job.objects, member.life, reason)
            self._leases.remove(member)
        except GivenBackError:
            return Ending(Outcome.GIVEN_BACK, start)
        except AwayError as error:
            return self._leave(member, start, error)
        return Ending(Outcome.GIVEN_UP)
