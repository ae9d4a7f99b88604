"""The jobs of a run, and its actors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.actor import Actor
from simulation.commands import COMMANDS
from simulation.job import SimulatedJob
from simulation.nature import Nature
from simulation.producers import producer
from simulation.scheduler import Scheduler
from simulation.segments import BrokenPromiseError
from simulation.workers import Worker
from support.ledger_model import LedgerModel

from worker.runtime.board import Board

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

#: Steps in which commands must come to an end.
_LAST_STEPS = 20_000
#: Share of the runs in which workers refuse jobs, of the workers there that do, and of the jobs that these refuse.
_REFUSING_RUNS, _REFUSING_WORKERS, _REFUSED_JOBS = 0.25, 0.4, 0.8
#: Share of the producers of a growing file that append its new rows.
_APPENDING = 0.7


class Stage:
    """One or two jobs, one ledger, and the actors.

    Args:
        rng: makes all decisions, except
        refusals: which workers refuse which jobs.
        trace: called with each step as a line; None for no trace.

    Attributes:
        jobs: the jobs, each in its own store.
        is_over: whether nothing more is left to do for workers.
        may_refuse: whether workers of this run may refuse jobs.
    """

    def __init__(self, rng: random.Random, refusals: random.Random, trace: Callable[[str], object] | None) -> None:
        self.rng = rng
        self._refusals = refusals
        self.may_refuse = refusals.random() < _REFUSING_RUNS
        self.nature = Nature.drawn(rng)
        self.ledger = LedgerModel()
        self.scheduler = Scheduler(rng, self.nature, self.ledger, self.check_ledger, trace)
        self.jobs = [SimulatedJob(f"/job{number}", rng, self.scheduler) for number in range(1 + (rng.random() < 0.15))]
        self.is_over = False
        self._born = 0

    def start(self, kind: str, job: SimulatedJob, version: str = "", *, append: bool | None = None) -> None:
        """Start a producer that reads some version of the job's file, and may append its new rows; or a command."""
        self._born += 1
        actor = Actor(self.scheduler, kind, f"{kind}{self._born}", job)
        if kind == "producer":
            version = version or self.rng.choice([*job.reading.versions])
            may_append = append if append is not None else bool(job.reading.growths) and self.rng.random() < _APPENDING
            self.scheduler.start(actor, lambda actor: producer(actor, job, version, append=may_append))
        else:
            self.scheduler.start(actor, lambda actor: COMMANDS[kind](actor, job))

    def start_worker(self, *, may_refuse: bool = False) -> None:
        """Start a worker process with one thread or two, which may refuse jobs."""
        self._born += 1
        refuses: frozenset[str] = frozenset()
        if may_refuse and self.may_refuse and self._refusals.random() < _REFUSING_WORKERS:
            refuses = frozenset(job.place for job in self.jobs if self._refusals.random() < _REFUSED_JOBS)
        board, places = Board(), {job.place: job for job in self.jobs}
        for _ in range(self.rng.choice((1, 1, 2))):
            actor = Actor(self.scheduler, "worker", f"worker{self._born}", self.jobs[0], board)
            actor.refuses = refuses
            self.scheduler.start(actor, lambda actor: Worker(actor, places, lambda: self.is_over).run())

    def check_ledger(self) -> None:
        """Check that the ledger has every life that was entered and that waits.

        Raises:
            BrokenPromiseError: the ledger lacks one.
        """
        for job in self.jobs:
            job.check_ledger(self.ledger)

    def drain(self, *kinds: str) -> None:
        """Let all actors move until the commands have ended, and the actors of some kinds.

        Raises:
            BrokenPromiseError: a promise was broken, or they don't end.
        """
        actors = self.scheduler.actors
        for _ in range(_LAST_STEPS):
            for actor in actors:
                if actor.kind != "worker" or actor.kind in kinds:
                    break
            else:
                return
            self.scheduler.move()
        raise BrokenPromiseError(f"never ends: {[f'{actor}: {actor.call}' for actor in actors]}")
