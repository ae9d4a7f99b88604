"""A world of one or two jobs: a stretch in which anything may fail, then a calm end, which must come to perfect jobs.

A run is a function of its seed.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from simulation.account import Violation
from simulation.actors import COMMANDS, producer, worker
from simulation.job import SimulatedJob
from simulation.nature import Nature
from simulation.scheduler import Actor, Scheduler
from simulation.settings import settings
from support.ledger_model import LedgerModel

if TYPE_CHECKING:
    from collections.abc import Callable

#: What people do to a job, each as often as it is named here. A producer resumes a cancelled job, too.
_DONE = [*["producer"] * 6, *["retry", "wait"] * 3, "sweep", "reader", "cancel"]
_KEYS = "all", "members", "leases", "leases", "starts", "queue", "back"
#: Steps before a job may be discarded; steps in which commands must come to an end.
_EARLIEST_DISCARD, _LAST_STEPS = 300, 20_000


class World:
    """Jobs in their stores, one ledger, actors, and everything that fails.

    Args:
        seed: decides everything.
        trace: is given each step as a line; None where it isn't wanted.
    """

    def __init__(self, seed: int, trace: Callable[[str], object] | None = None) -> None:
        self.rng = random.Random(seed)
        self.nature = Nature.drawn(self.rng)
        self.ledger = LedgerModel()
        self._scheduler = Scheduler(self.rng, self.nature, self.ledger, trace)
        jobs = [SimulatedJob(number, self.rng, self._scheduler) for number in range(1 + (self.rng.random() < 0.15))]
        self.jobs = {job.key: job for job in jobs}
        self._saved: dict[str, Any] | None = None
        self._born = 0
        self._is_over = False

    def run(self) -> None:
        """Run the whole world.

        Raises:
            Violation: a promise was broken.
        """
        with settings(self.rng):
            try:
                self._attack()
                self._settle()
            finally:
                self._scheduler.kill_all()

    def _attack(self) -> None:
        for job in self.jobs.values():
            self._start("producer", job)
            if not job.kind.is_live or self.rng.random() < 0.3:
                self._start("producer", job)
        for _ in range(self.rng.randint(200, 900)):
            self._let_happen()
            self._scheduler.move()

    def _let_happen(self) -> None:
        """What happens beside the actors: late requests arrive, the ledger is lost, people give commands."""
        rng = self.rng
        if rng.random() < 0.75:  # at most steps nothing happens; so the chances below are four times those of a step
            return
        for job in self.jobs.values():
            if job.store.late and rng.random() < 0.2:
                job.deliver(rng.randrange(len(job.store.late)))
            if job.promises.log.ended and rng.random() < 0.16:
                self._start("wait", job)
        if rng.random() < 4 * self.nature.losses:
            self._lose(rng.choice(_KEYS))
        if rng.random() < 4 * self.nature.cuts:
            self._cut_power()
        if rng.random() < 0.08:
            self._saved = self.ledger.snapshot()
        if rng.random() < 0.4 and sum(actor.kind == "worker" for actor in self._scheduler.actors) < 3:
            self._start_worker()
        if rng.random() < 0.16:
            job = rng.choice([*self.jobs.values()])
            may_discard = job.kind.may_be_discarded and self._scheduler.step > _EARLIEST_DISCARD
            kind = rng.choice([*_DONE, *["discard"] * may_discard])
            for _ in range(1 + (rng.random() < 0.3)):  # two at once
                self._start(kind, job)

    def _lose(self, key: str) -> None:
        self._scheduler.tell(f"the ledger loses {key}")
        if key != "back":
            self.ledger.lose(key)
        elif self._saved:
            self.ledger.restore(self._saved)

    def _cut_power(self) -> None:
        """End all processes, undo some of what was not synced; the ledger may be on another machine."""
        self._scheduler.tell("power cut")
        self._scheduler.kill_all()
        for job in self.jobs.values():
            for name in job.cut_power(self.rng):
                self._scheduler.tell(f"undone: {name}")
        if (key := self.rng.choice(("nothing", "back", "all"))) != "nothing":
            self._lose(key)

    def _settle(self) -> None:
        """Let nothing fail any more: each job must come to its end, and then, when rows don't fail, to a perfect one."""
        self.nature.calm_down()
        self._scheduler.wake_all()
        for job in self.jobs.values():
            while job.store.late:
                job.deliver(0)
        self._start_worker()
        self._drain()
        for job in self.jobs.values():
            for version in job.reading.versions:
                self._start("producer", job, version)
                self._drain()
            self._until_complete(job)
        self.nature.failing = 0
        for job in self.jobs.values():
            self._make_perfect(job)
        self._is_over = True
        self._drain("worker")
        for job in self.jobs.values():
            for kind in ("sweep", "reader", "discard"):
                if kind == "discard" and not job.kind.may_be_discarded:
                    break
                self._start(kind, job)
                self._drain()
                job.promises.check_all()
                job.promises.check_nothing_is_left()

    def _make_perfect(self, job: SimulatedJob) -> None:
        for _ in range(9):
            if job.promises.log.discarded or job.promises.is_perfect:
                return
            self._start("retry", job)
            self._drain()
            self._until_complete(job)
        raise Violation("at the end, a row is neither in a part nor bad")

    def _until_complete(self, job: SimulatedJob) -> None:
        """Ask until somebody says that the job is complete, and the ledger has nothing left of it."""
        job.promises.completed = False
        for _ in range(60):
            self._start("wait", job)
            self._drain()
            for _ in range(150):
                if job.promises.log.discarded or (job.promises.completed and not self._waits(job)):
                    return
                self._scheduler.move()
        raise Violation(f"never complete; in the ledger: {[*self.ledger.members]}, marks {self.ledger.marks}")

    def _waits(self, job: SimulatedJob) -> bool:
        return any(member.job == job.key for member in self.ledger.members)

    def _drain(self, *kinds: str) -> None:
        """Let all go on until the commands have ended, and actors of these kinds."""
        actors = self._scheduler.actors
        for _ in range(_LAST_STEPS):
            for actor in actors:
                if actor.kind != "worker" or actor.kind in kinds:
                    break
            else:
                return
            self._scheduler.move()
        raise Violation(f"never ends: {[f'{actor}: {actor.call}' for actor in actors]}")

    def _start(self, kind: str, job: SimulatedJob, version: str = "") -> None:
        self._born += 1
        actor = Actor(self._scheduler, kind, f"{kind}{self._born}", job)
        if kind == "producer":
            version = version or self.rng.choice([*job.reading.versions])
            self._scheduler.start(actor, lambda actor: producer(actor, job, version))
        else:
            self._scheduler.start(actor, lambda actor: COMMANDS[kind](actor, job))

    def _start_worker(self) -> None:
        """One process that has one shard or two on board."""
        self._born += 1
        for _ in range(self.rng.choice((1, 1, 2))):
            actor = Actor(self._scheduler, "worker", f"worker{self._born}", next(iter(self.jobs.values())))
            self._scheduler.start(actor, lambda actor: worker(actor, self.jobs, lambda: self._is_over))
