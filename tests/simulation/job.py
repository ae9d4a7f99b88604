"""One job of a simulated world: its store, its input, and the promises about it."""

# Over 150 lines: one job's store, and everything that is recorded about it.

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from simulation.access import OFFER
from simulation.nature import Kind
from simulation.promises import Promises
from simulation.reading import Reading
from simulation.segments import CHAPTERS, JOB, ROWS, BrokenPromiseError, shard_in

from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.store.memory import Fault, MemoryStore

if TYPE_CHECKING:
    import random

    from simulation.scheduler import Scheduler
    from support.ledger_model import LedgerModel

    from unrolled.store.memory import Hook, Lag, Operation

#: Content of a foreign object.
STRANGE = b"nothing of the job"
_HAS_EFFECT = {None, Fault.LOST_ANSWER, Fault.EXISTS}


class _Store(MemoryStore):
    """A store with a place of its own, in which an object may be damaged for a while.

    Attributes:
        damage: name → the content that readers of a damaged object get.
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
    """A job, and everything that the simulation knows about it.

    Attributes:
        place: the place of its store.
        kind: the kind of its store and of its input.
        job: the job that its producers ask for.
        other: another job that somebody asks for by mistake, in the same place.
        reading: its input.
        store: its store.
        promises: the promises about it.
        strange: names of foreign objects in its store.
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
        self._ever_damaged: set[str] = set()
        self._mended: set[str] = set()  # deleted, and about to be created again with the same content
        self._happening: tuple[Operation, Fault | Lag | None, str] | None = None

    @property
    def was_damaged(self) -> bool:
        """Whether an object was ever damaged."""
        return bool(self._ever_damaged)

    def is_there(self, job: Job) -> bool:
        """Whether the place has this job, perhaps of another version of its file, or no job."""
        content = self.promises.objects.get(JOB)
        return content is None or Job.decode(JOB, content)[0].options == job.options

    def goes_on_with(self, version: str) -> bool:
        """Whether a version of the file begins with all rows of the job, and its files' names with the job's."""
        rows, logged = self.reading.versions[version], self.promises.input_rows()
        files = self.reading.names(version, self.place)
        earlier = [Inputs.named(files[:count]).digest for count in range(1, len(files) + 1)]
        return logged == frozenset(rows[: len(logged)]) and self._files in earlier

    def is_new(self, version: str) -> bool:
        """Whether a version of the file has other rows or other names than the job."""
        names = Inputs.named(self.reading.names(version, self.place)).digest
        return (self._files, self.promises.input_rows()) != (names, frozenset(self.reading.versions[version]))

    @property
    def _files(self) -> str:
        found = Job.decode(JOB, self.promises.objects[JOB])[0]
        return self.promises.log.grown_to or found.inputs.digest

    def let_happen(self, operation: Operation, fate: Fault | Lag | None, by: str) -> None:
        """Record that an operation of an actor of some kind is about to happen in the store."""
        self._happening = operation, fate, by

    def notice(self) -> None:
        """Record the effect of the operation that was about to happen.

        Raises:
            BrokenPromiseError: a promise was broken.
        """
        if self._happening is None:
            return
        (kind, name), fate, by = self._happening
        self._happening = None
        if kind == "sync" and fate in _HAS_EFFECT:
            self.promises.history.sync(name)
        elif kind in ("create", "delete"):
            self._compare(name, by)

    def deliver(self, number: int) -> None:
        """Let a late operation have its effect."""
        self._compare(self.store.deliver(number).name)

    def damage(self, rng: random.Random) -> str:
        """Damage an object until it is restored from a copy; return its name."""
        objects, folder = [*self.promises.objects], rng.choice((ROWS, ROWS, CHAPTERS, ""))
        name = rng.choice([name for name in objects if name.startswith(folder)] or objects)
        content = self.promises.objects[name]
        self._ever_damaged.add(name)
        self.store.damage[name] = rng.choice((b"", content[: len(content) // 2], content[:-1] + b"?"))
        if name.startswith(CHAPTERS):  # a bit of the hash of its last shard, if it has one
            place = max(0, len(content) - 24)
            self.store.damage[name] = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        return name

    def cut_power(self, rng: random.Random) -> list[str]:
        """Undo some of the changes that were not synced, and return the names of their objects."""
        undone = [*self.store.power_cut(lambda _: rng.random() < 0.5)]
        self._mended.difference_update(undone)
        self.promises.cut_power([name for name in undone if name in self.promises.history.unsynced])
        self.strange.difference_update(undone)
        return undone

    def hear_complete(self, asked: int) -> None:
        """Record that an actor reports a complete job, after it has asked when there were `asked` changes."""
        self.notice()
        self.promises.hear_complete(asked)

    def check_ledger(self, ledger: LedgerModel) -> None:
        """Check that the ledger has every life that was entered and that waits.

        Raises:
            BrokenPromiseError: the ledger lacks one.
        """
        if content := self.promises.objects.get(JOB):
            _, key = Job.decode(JOB, content)
            self.promises.check_ledger(ledger.mark(key), {str(m.life) for m in ledger.ledger if m.job_key == key})

    def end_mending(self) -> None:
        """Record that deleted damaged rows were not created again, because their shard had its part by then."""
        for name in self._mended - self.store.contents().keys():
            self._compare(name, "end")

    def check_strange(self) -> None:
        """Check that no foreign object was deleted.

        Raises:
            BrokenPromiseError: one was deleted.
        """
        if gone := self.strange - self.store.contents().keys():
            raise BrokenPromiseError(f"{sorted(gone)} are foreign, and were deleted")

    def _compare(self, name: str, by: str = "producer") -> None:
        content, known = self.store.contents().get(name), self.promises.objects.get(name)
        if content == STRANGE:
            self.strange.add(name)
        elif content is None and known is not None and self._is_mended(name, by):
            self._mended.add(name)
        elif content is not None and name in self._mended and content == known:
            self._mended.remove(name)
        elif content is not known and not (content is None and self._is_mended(name, by)):
            self._mended.discard(name)
            self.promises.change(name, content)

    def _is_mended(self, name: str, by: str) -> bool:
        """Whether a producer deletes damaged rows that it has from its file and is about to create again.

        A late request of the producer may delete the new rows; then the next producer creates them.
        """
        is_logged = shard_in(name) in self.promises.log.shards and not self.promises.log.discarded
        is_damaged = name in self._ever_damaged and name.startswith(ROWS) and not self.kind.is_live
        return by == "producer" and is_damaged and is_logged
