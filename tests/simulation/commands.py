"""The commands that people give: the product's code, called as its command line calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.access import ActorLedger, job_ledger, opened, patiently
from simulation.content import decode_part, failed_numbers, ids_of_failed
from simulation.job import STRANGE
from simulation.segments import BrokenPromiseError

from producer.jobs import decisions
from producer.jobs.tally import Tally
from unrolled.job import names
from unrolled.protocol.chapters import false_chapters
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.upkeep import clean_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.actor import Actor
    from simulation.job import SimulatedJob

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.job_ledger import JobLedger


#: Looks of one `wait`, at most.
_MOST_LOOKS = 3


def retry(actor: Actor, job: SimulatedJob) -> None:
    """Retry failed rows and dead shards, or only dead shards."""
    failed = actor.nature.is_calm or actor.rng.random() < 0.8
    found = opened(actor, job)
    ledger = _ledger(actor, found)
    decisions.retry(found.objects, ledger, failed_numbers, failed=failed, ids_of_failed=ids_of_failed)


def cancel(actor: Actor, job: SimulatedJob) -> None:
    """Stop the computation of waiting shards; a producer resumes the job."""
    found = opened(actor, job)
    decisions.cancel(found.objects, _ledger(actor, found))


def discard(actor: Actor, job: SimulatedJob) -> None:
    """Delete the job."""
    found = opened(actor, job)
    decisions.discard(found.objects, _ledger(actor, found))


def sweeper(actor: Actor, job: SimulatedJob) -> None:
    """Delete superfluous objects."""
    log, found = Log(), opened(actor, job)
    catch_up(log, found.objects)
    sweep(log, found.objects, failed_numbers, live=found.job.live)


def wait(actor: Actor, job: SimulatedJob) -> None:
    """Look a few times; report a complete job, and restore what the ledger has lost."""
    log, found = Log(), opened(actor, job)
    ledger, tally = ActorLedger(actor), Tally(log, found.objects, live=found.job.live)
    for _ in range(actor.rng.randint(1, _MOST_LOOKS)):
        waiting, _ = patiently("", lambda: ledger.members(found.key))
        asked = len(job.promises.history.changes)
        tally.look()
        if tally.finished:
            job.hear_complete(asked)
            clean_up(log, found.objects, _ledger(actor, found), failed_numbers, live=found.job.live)
            return
        if {log.life(shard) for shard in tally.waiting} - waiting:
            update_ledger(log, found.objects, job_ledger(actor, found, patiently))
        actor.rest()


def look(actor: Actor, job: SimulatedJob) -> None:
    """Look once whether the job is finished, as `unrolled show` and `unrolled.open` do."""
    found = opened(actor, job)
    asked = len(job.promises.history.changes)
    if standing(Log(), found.objects, live=found.job.live).finished:
        job.hear_complete(asked)


def reader(actor: Actor, job: SimulatedJob) -> None:
    """Read the parts at any moment: no row is in two parts, and no part disappears. Then verify them with the log."""
    objects = opened(actor, job).objects
    seen: set[str] = set()
    rows: dict[ShardId, int] = {}
    for shard in names.parts_in(objects.list(names.PARTS)):
        content = objects.read(names.part_object(shard))
        if content is None:
            if not job.kind.lag and not job.promises.log.discarded:
                raise BrokenPromiseError(f"the part of {shard} was listed and is gone")
            continue
        part = decode_part(content)
        ids = {row.id for row in part.rows}
        if seen & ids:
            raise BrokenPromiseError(f"a reader found rows of {shard} twice")
        seen |= ids
        rows[shard] = len(part.rows) + len(part.failed)
    log = Log()
    catch_up(log, objects)  # after the parts, so that it names all of them
    for shard, count in rows.items():
        if not job.kind.lag and (shard not in log.entries or count != log.entries[shard].rows):
            raise BrokenPromiseError(f"verify finds {shard} not whole, or not in the log")
    chapters, by_segments = [*objects.list(names.CHAPTERS)], Log()
    catch_up(by_segments, objects, by_chapters=False)
    false = {*false_chapters(by_segments, objects, chapters)} - job.strange
    if false and not job.kind.lag and not job.was_damaged:
        raise BrokenPromiseError(f"verify finds {sorted(false)} false")


def stranger(actor: Actor, job: SimulatedJob) -> None:
    """Put a foreign file among the job's objects, with a name like theirs."""
    shard = actor.rng.choice([*job.promises.log.shards, "000000-0123456789ab"])
    folder, ending = actor.rng.choice(_STRANGE)
    name = f"{folder}/{shard}{ending}" if folder else f"{shard}{ending}"
    opened(actor, job).objects.create(name, STRANGE)


_STRANGE = [
    (names.PARTS, ".parquet.bak"),
    (names.PARTS, ".txt"),
    (names.LOG, ".jsonl"),
    (names.CHAPTERS, ".chapter"),
    (names.ROWS, ".rows.bak"),
    (names.ROWS, ""),
    (names.QUARANTINE, ".txt"),
    (names.FAILED, ".bak"),
    (names.DEAD, ".json"),
    (names.DEAD, ".00.json"),
]


def _ledger(actor: Actor, found: OpenJob) -> JobLedger | None:
    """Now and then Redis is away, and a command leaves the update of the ledger to another process."""
    is_there = actor.nature.is_calm or actor.rng.random() < 0.9
    return job_ledger(actor, found, patiently) if is_there else None


COMMANDS: dict[str, Callable[[Actor, SimulatedJob], None]] = {
    "retry": retry,
    "cancel": cancel,
    "discard": discard,
    "sweep": sweeper,
    "wait": wait,
    "look": look,
    "reader": reader,
    "stranger": stranger,
}
