"""How an actor reaches a job and the ledger: the product's own classes, over a store and a ledger that may fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.ledger_model import LEASE

from unrolled.errors import TransientError
from unrolled.job.offer import Offer
from unrolled.patience import at_once
from unrolled.protocol.opening import open_job
from unrolled.queue.job_ledger import JobLedger
from unrolled.queue.ledger import take_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.actor import Actor
    from simulation.job import SimulatedJob

    from unrolled.patience import Steadily
    from unrolled.protocol.opening import OpenJob

#: The offer of all jobs and workers.
OFFER = Offer("ab" * 32, "fused", "float32")


class ActorLedger:
    """The ledger as an actor calls it: each call is a step, and may fail."""

    offer = OFFER
    lease_seconds = LEASE

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def cancel(self, job_key: str) -> int:
        """See `Ledger.cancel`; each of its steps is one here."""
        return take_out(self, job_key)

    def forget(self, job_key: str, length: int) -> int:
        """See `Ledger.forget`; each of its steps is one here."""
        return take_out(self, job_key, length)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **options: self._actor.ask(method, *arguments, **options)


class QueueLedger(JobLedger):
    """A job's ledger as its producer sees it, with chance in place of `producer.queue.shard_queue`'s clock."""

    def __init__(self, actor: Actor, job: OpenJob) -> None:
        ledger = ActorLedger(actor)
        super().__init__(ledger, job.key, job.address, ledger.send, patiently)
        self._actor = actor

    def wait_for_room(self, tokens: int) -> None:
        del tokens
        while self._actor.rng.random() < 0.3:
            self._actor.pass_time()

    def is_time(self) -> bool:
        return self._actor.rng.random() < 0.6


def job_ledger(actor: Actor, job: OpenJob, steadily: Steadily) -> JobLedger:
    """A job's ledger as a worker or a command sees it."""
    ledger = ActorLedger(actor)
    return JobLedger(ledger, job.key, job.address, ledger.send, steadily)


def patiently(what: str, action: Callable[[], Any]) -> Any:
    """Run an action until it works, as a patient command does; each try is a step."""
    del what
    while True:
        try:
            return action()
        except TransientError:
            continue


def patience_of_a_command(actor: Actor) -> Steadily:
    """A command may try again and again, or end at the first failure."""
    return at_once if actor.rng.random() < actor.nature.giving_up else patiently


def opened(actor: Actor, job: SimulatedJob) -> OpenJob:
    """A job as a command opens it."""
    return open_job(job.place, patience_of_a_command(actor))
