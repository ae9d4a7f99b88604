"""An actor: a thread of a process, which stops before each operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulation.calls import LedgerCall, Moment

from unrolled.errors import BrokerAwayError

if TYPE_CHECKING:
    import greenlet
    from simulation.calls import Call
    from simulation.job import SimulatedJob
    from simulation.scheduler import Scheduler

    from worker.runtime.board import Board

_MOMENT = Moment()


class Actor:
    """One thread of one process.

    Attributes:
        kind: its task.
        process: the name of its process, which dies and pauses as a whole; the holder of its leases.
        job: its job; for a worker, one of its jobs.
        call: the operation before which it has stopped; None once it has ended.
        sleeps_until: it does nothing before this step.
        has_ended: whether it has ended by itself, and not by a death.
        board: the shards that its process holds, for a worker; their leases are renewed.
        read: numbers of the rows that it has read from a pipe.
        refuses: places where a worker may not write.
    """

    def __init__(
        self, scheduler: Scheduler, kind: str, process: str, job: SimulatedJob, board: Board | None = None
    ) -> None:
        self.kind, self.process, self.job = kind, process, job
        self.call: Call | None = _MOMENT
        self.sleeps_until = 0
        self.has_ended = False
        self.board = board
        self.read: set[int] = set()
        self.refuses: frozenset[str] = frozenset()
        self.rng, self.nature = scheduler.rng, scheduler.nature
        self.thread: greenlet.greenlet = None
        self._scheduler = scheduler

    def __str__(self) -> str:
        return self.process

    def ask(self, method: str, *arguments: object, **options: object) -> Any:
        """Call the ledger, once.

        Raises:
            BrokerAwayError: it doesn't answer; the call may have had its effect.
        """
        lost = self._scheduler.stop(LedgerCall(method, (*arguments, *options.values())))
        if lost != "request":
            answer = getattr(self._scheduler.ledger, method)(*arguments, **options)
            if lost is None:
                return answer
        raise BrokerAwayError(f"the {lost} is lost")

    def say(self, line: str) -> None:
        """Add a line to the trace."""
        self._scheduler.tell(f"{self.process} {line}")

    @property
    def has_messages(self) -> bool:
        """Whether a message is in the queue; a worker asks only then, so that idle workers cost no steps."""
        return bool(self._scheduler.ledger.queue)

    @property
    def ticks(self) -> int:
        """The time on the ledger's clock."""
        return self._scheduler.ledger.now

    def pass_time(self) -> None:
        """Let other actors move."""
        self._scheduler.stop(_MOMENT)

    def rest(self, fewest: int = 8, most: int = 40) -> None:
        """Do nothing for some steps."""
        self.sleeps_until = self._scheduler.step + self.rng.randint(fewest, most)
        self.pass_time()
