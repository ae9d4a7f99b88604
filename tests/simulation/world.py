"""A run: a phase in which anything may fail, then a calm phase, which must end with perfect jobs.

A run is a function of its seed.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from simulation.segments import JOB, BrokenPromiseError
from simulation.settings import settings
from simulation.stage import Stage
from simulation.weather import Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulation.job import SimulatedJob

#: Fewest and most steps of the phase in which anything may fail.
_STEPS = 100, 450
#: In the calm phase: most questions whether a job is complete, steps between two of them, and most retries.
_ASKED, _PAUSE, _RETRIES = 120, 40, 9
#: Share of the jobs whose file has grown at the beginning of the calm phase, if it grows.
_GROWN = 0.5


class World:
    """Jobs in their stores, one ledger, actors, and all failures.

    Args:
        seed: decides everything.
        trace: called with each step as a line; None for no trace.
        crowd: commands that people give alone, and often, before the calm phase; empty for all commands.
    """

    def __init__(self, seed: int, trace: Callable[[str], object] | None = None, crowd: Sequence[str] = ()) -> None:
        self._rng = random.Random(seed)
        # Refusals have a source of their own, so that most seeds take the steps that they took without them.
        self._crowd = crowd
        self.stage = Stage(self._rng, random.Random(f"refusals of {seed}"), trace)

    def run(self) -> None:
        """Run the whole world.

        Raises:
            BrokenPromiseError: a promise was broken.
        """
        with settings(self._rng, {job.place: job.store for job in self.stage.jobs}):
            try:
                self._attack()
                self._settle()
                self._clean_up()
            finally:
                self.stage.scheduler.kill_all()

    def _attack(self) -> None:
        stage, weather = self.stage, Weather(self.stage, self._crowd)
        for job in stage.jobs:
            stage.start("producer", job)
            if not job.kind.is_live or self._rng.random() < 0.3:
                stage.start("producer", job)
        for _ in range(self._rng.randint(*_STEPS)):
            weather.let_happen()
            stage.scheduler.move()

    def _settle(self) -> None:
        """Let only rows fail: each job must become complete. Then let nothing fail: each job must become perfect."""
        stage = self.stage
        stage.nature.calm_down()
        stage.scheduler.wake_all()
        for job in stage.jobs:
            job.store.damage.clear()
            while job.store.late:
                job.deliver(0)
        stage.start_worker()
        stage.drain()
        for job in stage.jobs:
            if self._rng.random() < _GROWN:
                self._go_on_with_growths(job)
            for version in job.reading.different_versions:
                stage.start("producer", job, version)
                stage.drain()
            self._until_complete(job)
            for version in job.reading.growths:
                self._append(job, version)
        stage.nature.failing = 0
        for job in stage.jobs:
            self._until_perfect(job)

    def _clean_up(self) -> None:
        """Let the workers end. A sweep must leave no superfluous object, and a discard no object at all."""
        stage = self.stage
        stage.is_over = True
        stage.drain("worker")
        for job in stage.jobs:
            for kind in ("sweep", "reader", *["discard"] * job.kind.may_be_discarded):
                stage.start(kind, job)
                stage.drain()
                job.end_mending()
                job.promises.check_all()
                job.promises.check_nothing_is_left()
                job.check_strange()

    def _until_complete(self, job: SimulatedJob) -> None:
        """Ask until a job is reported complete and the ledger has none of its shards."""
        job.promises.completed = False
        for _ in range(_ASKED):
            if not any(actor.kind == "worker" and not actor.refuses for actor in self.stage.scheduler.actors):
                self.stage.start_worker()  # in place of those whose engine broke
            self.stage.start("wait", job)
            self.stage.drain()
            for _ in range(_PAUSE):
                if job.promises.log.discarded or (job.promises.completed and not self._waits(job)):
                    return
                self.stage.scheduler.move()
        ledger = self.stage.ledger
        raise BrokenPromiseError(f"never complete; in the ledger: {[*map(str, ledger.ledger)]}, marks {ledger.marks}")

    def _go_on_with_growths(self, job: SimulatedJob) -> None:
        """Read the file when it has grown since commands were killed, which can't read it as it was any more."""
        for version in job.reading.growths:
            if JOB in job.promises.objects and job.goes_on_with(version):
                self.stage.start("producer", job, version, append=True)
                self.stage.drain()
                if job.is_new(version) and not job.promises.log.discarded:
                    raise BrokenPromiseError(f"the job doesn't go on with the {version} file")

    def _append(self, job: SimulatedJob, version: str) -> None:
        """Append a version of the file to a complete job: its new rows, or else nothing, whereupon nothing changes."""
        length, goes_on, is_new = job.promises.log.length, job.goes_on_with(version), job.is_new(version)
        self.stage.start("producer", job, version, append=True)
        self.stage.drain()
        if job.promises.log.discarded:
            return
        if goes_on and job.is_new(version):
            raise BrokenPromiseError(f"the rows of the {version} file were not appended")
        if job.promises.log.length > length and not (goes_on and is_new):
            raise BrokenPromiseError(f"the {version} file changes the log, and has nothing to append")
        self._until_complete(job)

    def _until_perfect(self, job: SimulatedJob) -> None:
        for _ in range(_RETRIES):
            if job.promises.log.discarded or job.promises.is_perfect:
                return
            self.stage.start("retry", job)
            self.stage.drain()
            self._until_complete(job)
        raise BrokenPromiseError("at the end, a row is neither in a part nor bad")

    def _waits(self, job: SimulatedJob) -> bool:
        jobs = self.stage.ledger.jobs
        return any(jobs.get(member.job_key) == job.place for member in self.stage.ledger.ledger)
