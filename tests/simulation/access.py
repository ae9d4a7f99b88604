"""What an actor reaches a job and the ledger with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unrolled.errors import TransientError
from unrolled.patience import at_once
from unrolled.protocol.opening import open_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulation.actor import Actor
    from simulation.job import SimulatedJob

    from unrolled.job.names import Life
    from unrolled.patience import Steadily
    from unrolled.protocol.opening import OpenJob


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


def patience_of_a_command(actor: Actor) -> Steadily:
    """A command may try again and again, or end at the first failure."""
    return at_once if actor.rng.random() < actor.nature.giving_up else patience(actor)


def opened(actor: Actor, job: SimulatedJob) -> OpenJob:
    """A job as a command opens it."""
    return open_job(job.place, patience_of_a_command(actor))
