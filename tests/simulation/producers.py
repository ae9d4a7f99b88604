"""What a producer does: the product's runs, and beside them what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.access import JobLedger, patience, patience_of_a_command
from simulation.content import Row

from producer.enqueue.runs import FileRun, LiveRun
from unrolled.protocol.opening import create_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation.actor import Actor
    from simulation.job import SimulatedJob
    from simulation.reading import Make

    from unrolled.job.job import Job

#: Rows after which a live run has enough, and rows of one shard.
_MOST_READ, _CUT = 8, 2


def producer(actor: Actor, job: SimulatedJob, version: str) -> None:
    """Read the job's input: a version of its file, or its pipe."""
    if job.kind.is_live:
        opened = create_job(job.place, _wanted(actor, job), patience(actor))
        run = LiveRun(opened.objects, JobLedger(actor, opened), lambda *_: None)
        run.begin()
        run.run(_live_cuts(actor, job, opened.job.id, run))
    else:
        opened = create_job(job.place, _wanted(actor, job), patience_of_a_command(actor))
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
