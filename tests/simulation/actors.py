"""What people and their commands do to a job: the product's code, and beside it only what its callers do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulation.account import Violation
from simulation.content import Row, decode_part, failed_numbers
from simulation.job import STRANGE

from producer.enqueue.runs import FileRun, LiveRun
from producer.jobs import decisions
from unrolled.errors import TransientError
from unrolled.job import names
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.objects import at_once
from unrolled.protocol.opening import create_job, open_job
from unrolled.protocol.telling import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from simulation.job import SimulatedJob
    from simulation.reading import Make
    from simulation.scheduler import Actor

    from unrolled.job.job import Job
    from unrolled.job.names import Life
    from unrolled.protocol.objects import Steadily
    from unrolled.protocol.opening import OpenJob

#: Rows after which a live run has enough, and rows of one shard.
_MOST_READ, _CUT = 8, 2


class JobLedger:
    """The ledger as an actor sees it that is concerned with one job."""

    def __init__(self, actor: Actor, job: OpenJob) -> None:
        self._actor, self._job = actor, job

    def told(self) -> int | None:
        return self._actor.ask("told", self._job.key)

    def enter(self, expected: int | None, lives: Sequence[tuple[Life, int]], becomes: int) -> bool:
        return self._actor.ask("enter", self._job.key, self._job.place, expected, [*lives], becomes)

    def cancel(self) -> None:
        self._actor.ask("cancel", self._job.key)

    def wait_for_room(self) -> None:
        while self._actor.rng.random() < 0.3:
            self._actor.pass_time()

    def is_time(self) -> bool:
        return self._actor.rng.random() < 0.6


def patience(actor: Actor) -> Steadily:
    """Tries again and again, as a worker and a patient command do; the others go on meanwhile."""

    def steadily(what: str, action: Callable[[], Any]) -> Any:
        del what
        while True:
            try:
                return action()
            except TransientError:
                actor.pass_time()

    return steadily


def producer(actor: Actor, job: SimulatedJob, version: str) -> None:
    """Read the job's input: a version of its file, or its pipe."""
    if job.kind.is_live:
        opened = create_job(job.place, _wanted(actor, job), patience(actor))
        run = LiveRun(opened.objects, JobLedger(actor, opened), lambda *_: None)
        run.begin()
        run.run(_live_cuts(actor, job, opened.job.id, run))
    else:
        opened = create_job(job.place, _wanted(actor, job), _patience_of_a_command(actor))
        FileRun(opened.objects, JobLedger(actor, opened), lambda *_: None).run(job.reading.cuts(opened.job.id, version))


def _wanted(actor: Actor, job: SimulatedJob) -> Job:
    """Now and then somebody asks for another job in the same place; one of the two is the first, and stays."""
    if actor.nature.is_calm:
        return job.job if job.is_there(job.job) else job.other
    return job.other if actor.rng.random() < 0.05 else job.job


def _live_cuts(actor: Actor, job: SimulatedJob, job_id: str, run: LiveRun) -> Iterator[Make]:
    left = 99 if actor.nature.is_calm else actor.rng.randint(1, _MOST_READ)
    pipe, count, held = job.reading.pipe, 0, []
    while left and pipe:
        number = pipe.pop(0)
        actor.read.add(number)
        held.append(Row(f"pipe#{run.number}.{count}", number + 1))
        left, count = left - 1, count + 1
        if len(held) == _CUT or actor.rng.random() < 0.2:
            yield job.reading.cut(job_id, held)
            held = []
        else:
            actor.pass_time()
    if held:
        yield job.reading.cut(job_id, held)


def retry(actor: Actor, job: SimulatedJob) -> None:
    """Bring failed rows and dead shards again, or dead shards alone."""
    failed = actor.nature.is_calm or actor.rng.random() < 0.8
    opened = _opened(actor, job)
    decisions.retry(opened.objects, _ledger(actor, opened), failed_numbers, failed=failed)


def cancel(actor: Actor, job: SimulatedJob) -> None:
    """Have nothing that waits computed; a producer resumes the job."""
    opened = _opened(actor, job)
    decisions.cancel(opened.objects, _ledger(actor, opened))


def discard(actor: Actor, job: SimulatedJob) -> None:
    """Delete the job."""
    opened = _opened(actor, job)
    decisions.discard(opened.objects, _ledger(actor, opened))


def sweeper(actor: Actor, job: SimulatedJob) -> None:
    """Delete what is superfluous."""
    log, opened = Log(), _opened(actor, job)
    catch_up(log, opened.objects)
    sweep(log, opened.objects, failed_numbers, live=opened.job.live)


def wait(actor: Actor, job: SimulatedJob) -> None:
    """Say "complete" where it is so."""
    log, asked, opened = Log(), len(job.promises.changes), _opened(actor, job)
    tell(log, opened.objects, JobLedger(actor, opened))
    if standing(log, opened.objects, live=opened.job.live).complete:
        job.hear_complete(asked)


def reader(actor: Actor, job: SimulatedJob) -> None:
    """Read the parts at any moment: no row twice, and none goes away. Then verify that each is whole and in the log."""
    objects = _opened(actor, job).objects
    seen: set[str] = set()
    rows: dict[Any, int] = {}
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


def stranger(actor: Actor, job: SimulatedJob) -> None:
    """Put a file among the job's that is nothing of the job, with a name much like theirs."""
    shard = actor.rng.choice([*job.promises.log.shards, "000000-0123456789ab"])
    folder, ending = actor.rng.choice(_STRANGE)
    name = f"{folder}/{shard}{ending}" if folder else f"{shard}{ending}"
    _opened(actor, job).objects.create(name, STRANGE)


_STRANGE = [
    (names.PARTS, ".parquet"),
    (names.PARTS, ".txt"),
    (names.LOG, ".jsonl"),
    (names.ROWS, ".rows.bak"),
    (names.ROWS, ""),
    (names.QUARANTINE, ".txt"),
    (names.FAILED, ".bak"),
    (names.DEAD, ".json"),
    (names.DEAD, ".00.json"),
]


def _opened(actor: Actor, job: SimulatedJob) -> OpenJob:
    return open_job(job.place, _patience_of_a_command(actor))


def _patience_of_a_command(actor: Actor) -> Steadily:
    """A command may try again and again, or end at the first failure."""
    return at_once if actor.rng.random() < actor.nature.giving_up else patience(actor)


def _ledger(actor: Actor, opened: OpenJob) -> JobLedger | None:
    """Now and then Redis is away, and a command leaves the ledger to whoever tells it next."""
    return JobLedger(actor, opened) if actor.nature.is_calm or actor.rng.random() < 0.9 else None


COMMANDS: dict[str, Callable[[Actor, SimulatedJob], None]] = {
    "retry": retry,
    "cancel": cancel,
    "discard": discard,
    "sweep": sweeper,
    "wait": wait,
    "reader": reader,
    "stranger": stranger,
}
