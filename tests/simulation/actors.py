"""What each actor does: the product's code, and nothing beside it but what its callers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.account import Violation
from simulation.content import Row, decode_part, decode_rows, encode_part, failed_numbers

from producer.enqueue.runs import FileRun, LiveRun
from producer.jobs import decisions
from unrolled.job import names
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import finish, sweep
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.telling import tell
from worker.shards.publication import bury, look, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from simulation.job import SimulatedJob
    from simulation.reading import Make
    from simulation.scheduler import Actor
    from support.ledger_model import Member

    from unrolled.job.names import Life
    from unrolled.protocol.objects import Objects

#: Workers that may have taken up a shard before it is buried.
MOST_STARTS = 3
#: Rows after which a live run has enough, and rows of one shard.
_MOST_READ, _CUT = 8, 2


class JobLedger:
    """The ledger as an actor sees it that is concerned with one job."""

    def __init__(self, actor: Actor, job: SimulatedJob) -> None:
        self._actor, self._job = actor, job.key

    def told(self) -> int | None:
        return self._actor.ask("told", self._job)

    def enter(self, expected: int | None, lives: Sequence[tuple[Life, int]], becomes: int) -> bool:
        return self._actor.ask("enter", self._job, expected, [*lives], becomes)

    def cancel(self) -> None:
        self._actor.ask("cancel", self._job)

    def wait_for_room(self) -> None:
        while self._actor.rng.random() < 0.3:
            self._actor.pass_time()

    def is_time(self) -> bool:
        return self._actor.rng.random() < 0.6


class Attempt:
    """A worker's attempt at one member."""

    def __init__(self, actor: Actor, job: SimulatedJob, member: Member) -> None:
        self._actor, self._member = actor, member
        self._life, self._shard = member.life, member.life.shard
        self._objects, self._ledger, self._log = job.objects(actor), JobLedger(actor, job), Log()

    def run(self) -> None:
        """Claim it, compute it, publish its part, and take it out of the ledger."""
        claim = self._actor.ask("claim", self._member, self._actor.process)
        if claim.state != "taken":
            return
        self._actor.holding = self._member
        if claim.starts > MOST_STARTS:
            self._bury()
            return
        found = look(self._objects, self._shard, failed_numbers)
        if found.failed is not None:
            finish(self._objects, self._shard, found.failed)
        elif found.rows is None:  # no death for what can't be seen; the job may have been discarded
            self._give_back()
            tell(self._log, self._objects, self._ledger)
            return
        elif not self._compute(found.rows):
            return
        self._actor.ask("remove", self._member)

    def _compute(self, content: bytes) -> bool:
        """Publish a part; False where this attempt comes to nothing."""
        rng, failing = self._actor.rng, self._actor.nature.failing
        for _ in range(rng.randint(0, 9)):
            self._actor.pass_time()
        fate = rng.random() if failing else 1
        if fate < 0.05:  # the request is bad as a whole
            self._bury()
            return False
        if fate < 0.1:
            self._give_back()
            return False
        rows = decode_rows(content).rows
        failed = [number for number in range(len(rows)) if rng.random() < failing]
        publish(self._objects, self._shard, encode_part(rows, failed), failed, content, failed_numbers)
        return True

    def _bury(self) -> None:
        bury(self._objects, self._life, "too many workers died of it, or its request is bad as a whole")
        self._actor.ask("remove", self._member)

    def _give_back(self) -> None:
        self._actor.ask("give_back", self._member, self._actor.process)


def worker(actor: Actor, jobs: dict[str, SimulatedJob], is_over: Callable[[], bool]) -> None:
    """Take messages; without one, send again what has no holder, or bring an empty ledger up to a job's log."""
    logs = {key: Log() for key in jobs}
    while True:
        member = actor.ask("take")
        if member is not None:
            Attempt(actor, jobs[member.job], member).run()
            actor.holding = None
        elif is_over():
            return
        else:
            actor.rest()
            if actor.rng.random() < 0.5:
                actor.ask("sweep")
            else:
                job = actor.rng.choice([*jobs.values()])
                ledger = JobLedger(actor, job)
                if ledger.told() is None:
                    tell(logs[job.key], job.objects(actor), ledger)


def producer(actor: Actor, job: SimulatedJob, version: str) -> None:
    """Read the job's input: a version of its file, or its pipe."""
    ledger = JobLedger(actor, job)
    if job.kind.is_live:
        run = LiveRun(job.objects(actor), ledger, lambda *_: None)
        run.begin()
        run.run(_live_cuts(actor, job, run))
    else:
        FileRun(_objects(actor, job), ledger, lambda *_: None).run(job.reading.cuts(version))


def _live_cuts(actor: Actor, job: SimulatedJob, run: LiveRun) -> Iterator[Make]:
    left = 99 if actor.nature.is_calm else actor.rng.randint(1, _MOST_READ)
    pipe, count, held = job.reading.pipe, 0, []
    while left and pipe:
        number = pipe.pop(0)
        actor.read.add(number)
        held.append(Row(f"pipe#{run.number}.{count}", number + 1))
        left, count = left - 1, count + 1
        if len(held) == _CUT or actor.rng.random() < 0.2:
            yield job.reading.cut(held)
            held = []
        else:
            actor.pass_time()
    if held:
        yield job.reading.cut(held)


def retry(actor: Actor, job: SimulatedJob) -> None:
    """Bring failed rows and dead shards again, or dead shards alone."""
    decisions.retry(
        _objects(actor, job),
        JobLedger(actor, job),
        failed_numbers,
        failed=actor.nature.is_calm or actor.rng.random() < 0.8,
    )


def cancel(actor: Actor, job: SimulatedJob) -> None:
    """Have nothing that waits computed; a producer resumes the job."""
    decisions.cancel(_objects(actor, job), JobLedger(actor, job))


def discard(actor: Actor, job: SimulatedJob) -> None:
    """Delete the job."""
    decisions.discard(_objects(actor, job), JobLedger(actor, job))


def sweeper(actor: Actor, job: SimulatedJob) -> None:
    """Delete what is superfluous."""
    log, objects = Log(), _objects(actor, job)
    catch_up(log, objects)
    sweep(log, objects, failed_numbers, live=job.kind.is_live)


def wait(actor: Actor, job: SimulatedJob) -> None:
    """Say "complete" where it is so."""
    log, objects, asked = Log(), _objects(actor, job), len(job.promises.changes)
    tell(log, objects, JobLedger(actor, job))
    if standing(log, objects, live=job.kind.is_live).complete:
        job.hear_complete(asked)


def reader(actor: Actor, job: SimulatedJob) -> None:
    """Read the parts at any moment: no row twice, and none goes away. Then verify that each is whole and in the log."""
    objects = _objects(actor, job)
    seen: set[str] = set()
    rows: dict[str, int] = {}
    for shard in names.parts_in(objects.list(names.PARTS)):
        content = objects.read(names.part_object(shard))
        if content is None:
            if not job.kind.lag and not job.promises.log.discarded:
                raise Violation(f"the part of {shard} was listed and is gone")
            continue
        part = decode_part(content)
        ids = {row.id for row in part.rows}
        if seen & ids:
            raise Violation(f"a reader found rows of {shard} twice")
        seen |= ids
        rows[shard] = len(part.rows) + len(part.failed)
    log = Log()
    catch_up(log, objects)  # after the parts: it may name more than there were, never fewer
    for shard, count in rows.items():
        if not job.kind.lag and (shard not in log.entries or count != log.entries[shard].rows):
            raise Violation(f"verify finds {shard} not whole, or not in the log")


def _objects(actor: Actor, job: SimulatedJob) -> Objects:
    """A command may try again and again, or end at the first failure."""
    return job.objects(actor, gives_up=actor.rng.random() < actor.nature.giving_up)


COMMANDS: dict[str, Callable[[Actor, SimulatedJob], None]] = {
    "retry": retry,
    "cancel": cancel,
    "discard": discard,
    "sweep": sweeper,
    "wait": wait,
    "reader": reader,
}
