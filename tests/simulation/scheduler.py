"""The scheduler: actors stop before each operation of a store or of the ledger, and a seed decides which one moves.

Each actor runs the product's code in a greenlet. A step chooses an actor, lets its operation succeed, fail or show the
past, and runs the actor to its next operation.
"""

# Over 150 lines: who moves, and what may happen at a step.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import greenlet
from simulation.calls import StoreCall
from simulation.segments import LOG

from unrolled.errors import UnrolledError
from unrolled.store.memory import Crash, Fault, Lag, Operation

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from simulation.actor import Actor
    from simulation.calls import Call
    from simulation.job import SimulatedJob
    from simulation.nature import Nature
    from support.ledger_model import LedgerModel

#: Fewest steps of a pause.
_SHORTEST_PAUSE = 5
#: Most steps of a slow sync, and of an actor that hesitates.
_LONGEST_SYNC = 60
#: Most looks of an actor in one step.
_MOST_LOOKS = 15
#: Share of the looks at old segments of the log that neither fail nor take a step.
_OLD_LOOKS = 0.9
#: Factor of the deaths between an object's creation and the sync that makes it durable.
_DEATHS_AT_SYNC = 5
#: Share of a worker's steps at which its heartbeat renews its leases.
_RENEWED = 0.7


class Scheduler:
    """Decides which actor moves, and the fate of its operation.

    Args:
        rng: makes the decisions.
        nature: how often things fail.
        ledger: of all jobs.
        after: is called after each operation that may break what the ledger must know.
        trace: called with each step as a line; None for no trace.

    Attributes:
        actors: the actors that have neither ended nor died.
        step: number of steps so far.
    """

    def __init__(
        self,
        rng: random.Random,
        nature: Nature,
        ledger: LedgerModel,
        after: Callable[[], None],
        trace: Callable[[str], object] | None,
    ) -> None:
        self.rng, self.nature, self.ledger = rng, nature, ledger
        self.actors: list[Actor] = []
        self.step = 0
        self._trace, self._after = trace, after
        self._hub = greenlet.getcurrent()
        self._moving: Actor | None = None
        self._looks_left = 0
        self._hesitates = False

    def tell(self, line: str) -> None:
        """Add a line to the trace."""
        if self._trace:
            self._trace(f"{self.step:5} {line}")

    def start(self, actor: Actor, body: Callable[[Actor], None]) -> None:
        """Run a new actor to its first operation."""
        self.actors.append(actor)
        actor.thread = greenlet.greenlet(lambda _: self._live(actor, body), self._hub)
        self._go_on(actor, None)

    def stop(self, call: Call) -> Any:
        """Stop the running actor before an operation, and return the operation's fate."""
        if self._moving is None:
            raise Crash  # an actor that was killed does nothing more, not even to clean up
        return self._hub.switch(call)

    def hook(self, job: SimulatedJob, operation: Operation) -> Fault | Lag | None:
        """Stop before an operation of a job's store, or let a look happen at once.

        Most looks at old segments of the log aren't steps, because they would find equal ones at any other moment.
        """
        is_look, is_log = operation.kind in ("read", "list"), operation.name.startswith(LOG)
        if is_log and is_look and job.promises.history.is_seen(operation.name):
            if self.rng.random() < _OLD_LOOKS:
                return None
            is_log = False
        call = StoreCall(job, operation)
        if self._looks_left > 0 and self._moving and is_look:
            self._looks_left -= 1
            fate = self._fate(self._moving, call)
        else:
            fate = self.stop(call)
        # It has read the log to its end, or listed a folder. If it hesitates, it decides on an old state.
        if is_look and (is_log or operation.kind == "list") and self.rng.random() < self.nature.hesitation:
            self._hesitates, self._looks_left = True, 0
        return fate  # type: ignore[return-value]

    def move(self) -> None:
        """Let one actor take one step; if all of them sleep, skip to the next awakening."""
        rng, nature = self.rng, self.nature
        if not self.actors:
            return
        self.step += 1
        self.ledger.now += rng.random() < 0.5
        awake = [actor for actor in self.actors if actor.sleeps_until < self.step]
        if not awake:
            rest = min(actor.sleeps_until for actor in self.actors) - self.step
            self.step += rest
            self.ledger.now += rest // 2
            return
        actor = awake[int(rng.random() * len(awake))]
        chance = rng.random()
        is_sync = isinstance(actor.call, StoreCall) and actor.call.operation.kind == "sync"
        deaths = nature.deaths * (_DEATHS_AT_SYNC if is_sync else 1)
        if chance < deaths:
            if rng.random() < 0.5:  # before the operation, or after it
                self.kill(actor.process)
            else:
                self._step(actor)
                self.kill(actor.process)
        elif chance < deaths + nature.pauses:
            self._pause(actor.process)
        else:
            self._step(actor)

    def kill(self, process: str) -> None:
        """Kill a process; none of its code runs any more."""
        for actor in [actor for actor in self.actors if actor.process == process]:
            self.tell(f"{actor} dies")
            self.actors.remove(actor)
            actor.thread.throw(Crash)

    def kill_all(self) -> None:
        """End every process."""
        for actor in [*self.actors]:
            self.kill(actor.process)

    def wake_all(self) -> None:
        """End every pause."""
        for actor in self.actors:
            actor.sleeps_until = 0

    def _pause(self, process: str) -> None:
        until = self.step + self.rng.randint(_SHORTEST_PAUSE, self.nature.longest_pause)
        for actor in self.actors:
            if actor.process == process:
                actor.sleeps_until = until

    def _step(self, actor: Actor) -> None:
        call = actor.call
        fate = self._fate(actor, call)
        if actor.board and (held := actor.board.held()) and self.rng.random() < _RENEWED:
            self.ledger.renew(held, actor.process)
        if isinstance(call, StoreCall):
            job, operation = call
            job.let_happen(operation, fate, actor.kind)  # type: ignore[arg-type]
            self._go_on(actor, fate)
            job.notice()
        else:
            self._go_on(actor, fate)
        if call.may_break_the_ledger:
            self._after()
        if actor.read and actor.has_ended:
            actor.job.promises.hear_end(actor.read, was_damaged=actor.job.was_damaged)

    def _fate(self, actor: Actor, call: Call) -> Fault | Lag | str | None:
        fate = call.fate(self.rng, self.nature)
        if self._trace:
            self.tell(f"{actor.process:12} {call}{'' if fate is None else f' -> {fate}'}")
        return fate

    def _go_on(self, actor: Actor, fate: object) -> None:
        """Run an actor from its operation to the next one."""
        self._moving = actor
        # Now and then it takes several looks in a row: most are at what never changes.
        self._looks_left = _MOST_LOOKS if self.nature.is_calm else int((2 * self.rng.random() - 1) * _MOST_LOOKS)
        try:
            call = actor.call = actor.thread.switch(fate)
        finally:
            self._moving = None
            if actor.thread.dead:
                self.actors.remove(actor)
        is_sync = isinstance(call, StoreCall) and call.operation.kind == "sync"
        if self._hesitates or (is_sync and self.rng.random() < self.nature.slow_syncs):
            self._hesitates = False
            actor.sleeps_until = self.step + self.rng.randint(1, _LONGEST_SYNC)

    def _live(self, actor: Actor, body: Callable[[Actor], None]) -> None:
        try:
            body(actor)
        except Crash:
            return
        except UnrolledError as error:
            if actor.board:  # a worker handles every error
                raise
            self.tell(f"{actor} ends: {error}")
        else:
            self.tell(f"{actor} ends")
        actor.has_ended = True
