"""One job of a simulated world: its store, its input, and what was promised about it."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from simulation.access import OFFER
from simulation.nature import Kind
from simulation.promises import Promises
from simulation.reading import Reading
from simulation.segments import JOB, ROWS, BrokenPromiseError

from unrolled.job.job import Inputs, Job
from unrolled.store.memory import Fault, MemoryStore

if TYPE_CHECKING:
    import random

    from simulation.scheduler import Scheduler
    from support.ledger_model import LedgerModel

    from unrolled.store.memory import Hook, Lag, Operation

#: Content of an object that is nothing of the job.
STRANGE = b"nothing of the job"
_HAS_EFFECT = {None, Fault.LOST_ANSWER, Fault.EXISTS}


class _Store(MemoryStore):
    """A store with a place of its own, in which an object may be damaged for a while.

    Attributes:
        damage: name → what whoever reads the object gets.
    """

    def __init__(self, place: str, hook: Hook, kind: Kind) -> None:
        super().__init__(hook, is_disk=kind.is_disk, page=kind.page)
        self.damage: dict[str, bytes] = {}
        self._place = place

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        content = super().read(name, start, stop)
        return content if content is None or name not in self.damage else self.damage[name][start:stop]

    def __str__(self) -> str:
        return self._place


class SimulatedJob:
    """A job, and everything that the simulation knows of it.

    Attributes:
        place: of its store.
        kind: of its store and of its input.
        job: what its producers ask for.
        other: what somebody else asks for by mistake, in the same place.
        reading: its input.
        store: where it is.
        promises: what must be true of it.
        was_damaged: whether an object was ever damaged.
        strange: names of objects that are nothing of the job.
    """

    def __init__(self, place: str, rng: random.Random, scheduler: Scheduler) -> None:
        self.place = place
        self.kind = Kind.drawn(rng)
        self.job = Job(
            OFFER.fingerprint,
            Inputs.named([place]),
            OFFER.engine,
            OFFER.arithmetic,
            self.kind.is_live,
            {"rows": 2},
        )
        self.other = replace(self.job, options={"rows": 3})
        self.reading = Reading(rng, is_live=self.kind.is_live)
        self.store = _Store(place, functools.partial(scheduler.hook, self), self.kind)
        self.promises = Promises(self.kind, self.reading, rng)
        self.strange: set[str] = set()
        self.was_damaged = False
        self._happening: tuple[Operation, Fault | Lag | None] | None = None

    def is_there(self, job: Job) -> bool:
        """Whether this job may be in the place: it is, or none is."""
        content = self.promises.objects.get(JOB)
        return content is None or Job.decode(JOB, content)[0] == job

    def let_happen(self, operation: Operation, fate: Fault | Lag | None) -> None:
        """Take in that an operation is about to happen in the store."""
        self._happening = operation, fate

    def notice(self) -> None:
        """Take in what has become of the operation that was about to happen.

        Raises:
            BrokenPromiseError: a promise was broken.
        """
        if self._happening is None:
            return
        (kind, name), fate = self._happening
        self._happening = None
        if kind == "sync" and fate in _HAS_EFFECT:
            self.promises.history.sync(name)
        elif kind in ("create", "delete"):
            self._compare(name)

    def deliver(self, number: int) -> None:
        """Let a late operation have its effect."""
        self._compare(self.store.deliver(number).name)

    def damage(self, rng: random.Random) -> str:
        """Damage an object, until it is restored from a copy; its name."""
        objects = [*self.promises.objects]
        name = rng.choice([name for name in objects if name.startswith(ROWS)] * (rng.random() < 0.5) or objects)
        content = self.promises.objects[name]
        self.was_damaged = True
        self.store.damage[name] = rng.choice((b"", content[: len(content) // 2], content[:-1] + b"?"))
        return name

    def cut_power(self, rng: random.Random) -> list[str]:
        """Undo some of what was not synced; the names of those changes."""
        undone = [*self.store.power_cut(lambda _: rng.random() < 0.5)]
        self.promises.cut_power([name for name in undone if name not in self.strange])
        self.strange.difference_update(undone)
        return undone

    def hear_complete(self, asked: int) -> None:
        """Take in that somebody says "complete", having asked when there had been so many changes."""
        self.notice()
        self.promises.hear_complete(asked)

    def check_told(self, ledger: LedgerModel) -> None:
        """Check that the ledger has every life that it was told and that waits.

        Raises:
            BrokenPromiseError: it hasn't.
        """
        if content := self.promises.objects.get(JOB):
            _, key = Job.decode(JOB, content)
            self.promises.check_told(ledger.told(key), {str(m.life) for m in ledger.ledger if m.job_key == key})

    def check_strange(self) -> None:
        """Check that what is nothing of the job is left alone.

        Raises:
            BrokenPromiseError: it was deleted.
        """
        if gone := self.strange - self.store.contents().keys():
            raise BrokenPromiseError(f"{sorted(gone)} are nothing of the job, and were deleted")

    def _compare(self, name: str) -> None:
        content = self.store.contents().get(name)
        if content == STRANGE:
            self.strange.add(name)
        elif content is not self.promises.objects.get(name):
            self.promises.change(name, content)
