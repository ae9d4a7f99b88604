"""One job of a simulated world: its store, its input, and what was promised about it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from simulation.nature import Kind
from simulation.promises import Promises
from simulation.reading import Reading

from unrolled.errors import TransientError
from unrolled.protocol.objects import Objects, at_once
from unrolled.store.memory import Fault, MemoryStore

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from typing import Any

    from simulation.scheduler import Actor, Scheduler

    from unrolled.store.memory import Lag, Operation

_HAS_EFFECT = {None, Fault.LOST_ANSWER, Fault.EXISTS}


class SimulatedJob:
    """A job, and everything that the simulation knows of it.

    Attributes:
        key: names it in the ledger.
        kind: of its store and of its input.
        reading: its input.
        store: where it is.
        promises: what must be true of it.
    """

    def __init__(self, number: int, rng: random.Random, scheduler: Scheduler) -> None:
        self.key = f"{number:x}" * 16
        self.kind = Kind.drawn(rng)
        self.reading = Reading(self.key, rng, is_live=self.kind.is_live)
        self.store = MemoryStore(
            functools.partial(scheduler.hook, self), is_disk=self.kind.is_disk, page=self.kind.page
        )
        self.promises = Promises(self.kind, self.reading, rng)
        self._happening: tuple[Operation, Fault | Lag | None] | None = None

    def objects(self, actor: Actor, *, gives_up: bool = False) -> Objects:
        """The job's objects as an actor sees them.

        Args:
            actor: who looks at them.
            gives_up: whether it ends at the first operation that fails, rather than to try again.
        """
        return Objects(self.store, at_once if gives_up else functools.partial(_steadily, actor))

    def let_happen(self, operation: Operation, fate: Fault | Lag | None) -> None:
        """Take in that an operation is about to happen in the store."""
        self._happening = operation, fate

    def notice(self) -> None:
        """Take in what has become of the operation that was about to happen.

        Raises:
            Violation: a promise was broken.
        """
        if self._happening is None:
            return
        (kind, name), fate = self._happening
        self._happening = None
        if kind == "sync" and fate in _HAS_EFFECT:
            self.promises.sync(name)
        elif kind in ("create", "delete"):
            self._compare(name)

    def deliver(self, number: int) -> None:
        """Let a late operation have its effect."""
        self._compare(self.store.deliver(number).name)

    def cut_power(self, rng: random.Random) -> list[str]:
        """Undo some of what was not synced; the names of those changes."""
        undone = [*self.store.power_cut(lambda _: rng.random() < 0.5)]
        self.promises.cut_power(undone)
        return undone

    def hear_complete(self, asked: int) -> None:
        """Take in that somebody says "complete", having asked when there had been so many changes."""
        self.notice()
        self.promises.hear_complete(asked)

    def _compare(self, name: str) -> None:
        content = self.store.contents().get(name)
        if content is not self.promises.objects.get(name):
            self.promises.change(name, content)


def _steadily(actor: Actor, _: str, action: Callable[[], Any]) -> Any:
    """Try again and again, as a worker and a patient command do; the others go on meanwhile."""
    while True:
        try:
            return action()
        except TransientError:
            actor.pass_time()
