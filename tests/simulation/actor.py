"""Whoever does something: a thread of a process, which stops before each operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulation.calls import LedgerCall, Moment

if TYPE_CHECKING:
    import greenlet
    from simulation.calls import Call
    from simulation.job import SimulatedJob
    from simulation.scheduler import Scheduler

    from unrolled.queue.member import Member

#: Steps in which an actor has nothing to do.
_RESTS = 8, 40
_MOMENT = Moment()


class Actor:
    """One thread of one process.

    Attributes:
        kind: what it does.
        process: what dies and stops with it; the name by which the ledger knows it.
        job: that it is concerned with; for a worker, one of them.
        call: the operation that it has stopped before.
        sleeps_until: it does nothing before this step.
        has_ended: of itself, rather than by a death.
        holding: the member that it computes; its lease is renewed.
        read: numbers of the rows that it has read from a pipe.
    """

    def __init__(self, scheduler: Scheduler, kind: str, process: str, job: SimulatedJob) -> None:
        self.kind, self.process, self.job = kind, process, job
        self.call: Call = _MOMENT
        self.sleeps_until = 0
        self.has_ended = False
        self.holding: Member | None = None
        self.read: set[int] = set()
        self.rng, self.nature = scheduler.rng, scheduler.nature
        self.thread: greenlet.greenlet = None
        self._scheduler = scheduler

    def __str__(self) -> str:
        return self.process

    def ask(self, method: str, *arguments: object) -> Any:
        """Call the ledger until it answers."""
        call = LedgerCall(method, arguments)
        while True:
            lost = self._scheduler.stop(call)
            if lost != "request":
                answer = getattr(self._scheduler.ledger, method)(*arguments)
                if lost is None:
                    return answer

    def pass_time(self) -> None:
        """Let others go on."""
        self._scheduler.stop(_MOMENT)

    def rest(self) -> None:
        """Have nothing to do for some steps."""
        self.sleeps_until = self._scheduler.step + self.rng.randint(*_RESTS)
        self.pass_time()
