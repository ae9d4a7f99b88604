"""What people's commands do to a job: the product's code, and beside it only what its callers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.access import ActorLedger, job_ledger, opened, patiently
from simulation.content import decode_part, failed_numbers
from simulation.job import STRANGE
from simulation.segments import BrokenPromiseError

from producer.jobs import decisions
from unrolled.job import names
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.telling import tell
from unrolled.protocol.upkeep import clean_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.actor import Actor
    from simulation.job import SimulatedJob

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.job_ledger import JobLedger


def retry(actor: Actor, job: SimulatedJob) -> None:
    """Bring failed rows and dead shards again, or dead shards alone."""
    failed = actor.nature.is_calm or actor.rng.random() < 0.8
    found = opened(actor, job)
    decisions.retry(found.objects, _ledger(actor, found), failed_numbers, failed=failed)


def cancel(actor: Actor, job: SimulatedJob) -> None:
    """Have nothing that waits computed; a producer resumes the job."""
    found = opened(actor, job)
    decisions.cancel(found.objects, _ledger(actor, found))


def discard(actor: Actor, job: SimulatedJob) -> None:
    """Delete the job."""
    found = opened(actor, job)
    decisions.discard(found.objects, _ledger(actor, found))


def sweeper(actor: Actor, job: SimulatedJob) -> None:
    """Delete what is superfluous."""
    log, found = Log(), opened(actor, job)
    catch_up(log, found.objects)
    sweep(log, found.objects, failed_numbers, live=found.job.live)


def wait(actor: Actor, job: SimulatedJob) -> None:
    """Say "complete" where it is so."""
    log, asked, found = Log(), len(job.promises.history.changes), opened(actor, job)
    ledger = ActorLedger(actor)
    waiting, _ = patiently("", lambda: ledger.members(found.key))
    seen = standing(log, found.objects, live=found.job.live)
    if seen.complete:
        job.hear_complete(asked)
        clean_up(log, found.objects, _ledger(actor, found), failed_numbers, live=found.job.live)
    elif {log.life(shard) for shard in log.entries.keys() - seen.published - seen.dead} - waiting:
        tell(log, found.objects, job_ledger(actor, found, patiently))


def reader(actor: Actor, job: SimulatedJob) -> None:
    """Read the parts at any moment: no row twice, and none goes away. Then verify that each is whole and in the log."""
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
    catch_up(log, objects)  # after the parts: it may name more than there were, never fewer
    for shard, count in rows.items():
        if not job.kind.lag and (shard not in log.entries or count != log.entries[shard].rows):
            raise BrokenPromiseError(f"verify finds {shard} not whole, or not in the log")


def stranger(actor: Actor, job: SimulatedJob) -> None:
    """Put a file among the job's that is nothing of the job, with a name much like theirs."""
    shard = actor.rng.choice([*job.promises.log.shards, "000000-0123456789ab"])
    folder, ending = actor.rng.choice(_STRANGE)
    name = f"{folder}/{shard}{ending}" if folder else f"{shard}{ending}"
    opened(actor, job).objects.create(name, STRANGE)


_STRANGE = [
    (names.PARTS, ".parquet.bak"),
    (names.PARTS, ".txt"),
    (names.LOG, ".jsonl"),
    (names.ROWS, ".rows.bak"),
    (names.ROWS, ""),
    (names.QUARANTINE, ".txt"),
    (names.FAILED, ".bak"),
    (names.DEAD, ".json"),
    (names.DEAD, ".00.json"),
]


def _ledger(actor: Actor, found: OpenJob) -> JobLedger | None:
    """Now and then Redis is away, and a command leaves the ledger for another process to tell."""
    is_there = actor.nature.is_calm or actor.rng.random() < 0.9
    return job_ledger(actor, found, patiently) if is_there else None


COMMANDS: dict[str, Callable[[Actor, SimulatedJob], None]] = {
    "retry": retry,
    "cancel": cancel,
    "discard": discard,
    "sweep": sweeper,
    "wait": wait,
    "reader": reader,
    "stranger": stranger,
}
