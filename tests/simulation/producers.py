"""A producer: the product's runs, over a simulated input."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from simulation.access import QueueLedger, patience_of_a_command, patiently
from simulation.content import Row

from producer.enqueue.growth import Growth
from producer.enqueue.runs import FileRun, LiveRun
from producer.sources.errors import SourceError
from unrolled.job.inputs import Inputs
from unrolled.protocol.opening import create_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation.actor import Actor
    from simulation.job import SimulatedJob

    from producer.enqueue.runs import Make
    from unrolled.job.job import Job

#: Most rows that a live run reads, that it reads at once, and that a shard has.
_MOST_READ, _BATCH, _CUT = 8, 4, 2
#: Fewest and most steps for which a producer may hold back what it has read.
_LONG_REST = 20, 150


def producer(actor: Actor, job: SimulatedJob, version: str, *, append: bool = False) -> None:
    """Read the job's input: a version of its file, whose new rows may be appended, or its pipe."""
    if job.kind.is_live:
        opened = create_job(job.place, _wanted(actor, job), patiently)
        stopped = threading.Event()
        run = LiveRun(opened.objects, QueueLedger(actor, opened), lambda *_: None, stopped.set)
        run.begin()
        run.run(_live_cuts(actor, job, opened.job.id, run.number, stopped))
    else:
        inputs = Inputs.named(job.reading.names(version, job.place))
        wanted = replace(_wanted(actor, job), inputs=inputs)
        opened = create_job(job.place, wanted, patience_of_a_command(actor), append=append)
        growth = Growth(opened, inputs, append=append)
        file_run = FileRun(opened.objects, QueueLedger(actor, opened), lambda *_: None, growth)
        file_run.run(_file_cuts(actor, job, opened.job.id, version, file_run.begin()))
        job.promises.hear_queued(job.reading.versions[version])


def _wanted(actor: Actor, job: SimulatedJob) -> Job:
    """Now and then somebody asks for another job in the same place; the first of the two jobs stays."""
    if actor.nature.is_calm:
        return job.job if job.is_there(job.job) else job.other
    return job.other if actor.rng.random() < 0.05 else job.job


def _file_cuts(actor: Actor, job: SimulatedJob, job_id: str, version: str, ends: list[int]) -> Iterator[Make]:
    """The cuts of a file, which may turn out to be damaged; nothing is cut where the damage begins."""
    cuts = [*job.reading.cuts(job_id, version, ends)]
    if _breaks_off(actor):
        yield from cuts[: min(actor.rng.randint(0, 4), len(cuts) - 1)]
        raise SourceError(job.place, 0, "is damaged")
    yield from cuts


def _live_cuts(actor: Actor, job: SimulatedJob, job_id: str, number: int, stopped: threading.Event) -> Iterator[Make]:
    """The cuts of a pipe, from which more rows may have been read than were cut."""
    left = 99 if actor.nature.is_calm else actor.rng.randint(1, _MOST_READ)
    pipe, held = job.reading.pipe, []
    while left and pipe and not stopped.is_set():
        for place in pipe[: min(left, actor.rng.randint(1, _BATCH))]:
            held.append(Row(f"pipe#{number}.{len(actor.read)}", place + 1))
            actor.read.add(place)
            left -= 1
        del pipe[: len(actor.read & {*pipe})]
        while len(held) >= _CUT or (held and actor.rng.random() < 0.2):
            cut, held = held[:_CUT], held[_CUT:]
            if actor.rng.random() < actor.nature.hesitation:
                actor.rest(*_LONG_REST)
            yield job.reading.cut(job_id, cut)
        actor.pass_time()
    if held:
        yield job.reading.cut(job_id, held)
    if _breaks_off(actor):
        raise SourceError(job.place, 0, "is damaged")


def _breaks_off(actor: Actor) -> bool:
    return not actor.nature.is_calm and actor.rng.random() < 0.1
