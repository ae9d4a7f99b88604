"""Events from outside: late requests arrive, the ledger is lost, the power fails, people give commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.ledger_model import KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulation.stage import Stage

#: People's commands, each as often as it is named here. A producer also resumes a cancelled job.
_DONE = [*["producer"] * 6, *["retry", "wait"] * 3, *["sweep"] * 2, "reader", "cancel", "stranger"]
#: The ledger's losses: everything, everything since its last snapshot, or a key.
_LOST = "all", "back", "leases", *KEYS
#: How often a command is given at one of the steps in which anything can happen; and of a crowd.
_GIVEN, _CROWDED = 0.04, 0.2
#: Steps before a job may be discarded; number of workers that are replaced when they have died.
_EARLIEST_DISCARD, _WORKERS = 300, 3
#: Anything can happen at one step in this many only, with a probability this many times as high.
_RARELY = 4


class Weather:
    """Makes events happen between two steps.

    Args:
        stage: where they happen.
        crowd: the commands of a crowd of people, who give these alone, and more often; empty for all of them.
    """

    def __init__(self, stage: Stage, crowd: Sequence[str] = ()) -> None:
        self._stage, self._rng, self._crowd = stage, stage.rng, crowd
        self._snapshot: dict[str, Any] | None = None

    def let_happen(self) -> None:
        """Let events happen, or none."""
        rng, nature = self._rng, self._stage.nature
        if rng.random() > 1 / _RARELY:
            return
        self._deliver()
        if rng.random() < _RARELY * nature.losses:
            self._lose(rng.choice(_LOST))
        if rng.random() < _RARELY * nature.cuts:
            self._cut_power()
        if rng.random() < _RARELY * nature.damages:
            self._damage()
        if rng.random() < _RARELY * 0.02:
            self._snapshot = self._stage.ledger.snapshot()
        self._command()

    def _deliver(self) -> None:
        for job in self._stage.jobs:
            if job.store.late and self._rng.random() < _RARELY * 0.05:
                job.deliver(self._rng.randrange(len(job.store.late)))

    def _damage(self) -> None:
        """Damage an object of a job, and restore the one that was damaged before."""
        job = self._rng.choice(self._stage.jobs)
        job.store.damage.clear()
        if job.promises.objects:
            self._stage.scheduler.tell(f"damaged: {job.damage(self._rng)}")

    def _command(self) -> None:
        """Start actors: workers in place of dead ones, `wait` once a job may be complete, and any command."""
        rng, stage = self._rng, self._stage
        workers = sum(actor.kind == "worker" for actor in stage.scheduler.actors)
        if workers < _WORKERS and rng.random() < _RARELY * 0.1:
            stage.start_worker(may_refuse=True)
        for job in stage.jobs:
            if job.promises.log.ended and rng.random() < _RARELY * 0.04:
                stage.start("wait", job)
        if rng.random() < _RARELY * (_CROWDED if self._crowd else _GIVEN):
            job = rng.choice(stage.jobs)
            may_discard = job.kind.may_be_discarded and stage.scheduler.step > _EARLIEST_DISCARD
            kind = rng.choice(self._crowd or [*_DONE, *["discard"] * may_discard])
            for _ in range(1 + (rng.random() < 0.3)):  # two at once
                stage.start(kind, job)

    def _lose(self, key: str) -> None:
        self._stage.scheduler.tell(f"the ledger loses {key}")
        if key != "back":
            self._stage.ledger.lose(key)
        elif self._snapshot:
            self._stage.ledger.restore(self._snapshot)

    def _cut_power(self) -> None:
        """Kill all processes, and undo some unsynced changes; the ledger may be on another machine."""
        scheduler = self._stage.scheduler
        scheduler.tell("power cut")
        scheduler.kill_all()
        for job in self._stage.jobs:
            for name in job.cut_power(self._rng):
                scheduler.tell(f"undone: {name}")
        if (key := self._rng.choice(("nothing", "back", "all"))) != "nothing":
            self._lose(key)
        self._stage.check_ledger()
