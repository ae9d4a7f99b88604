"""The objects of a job: now, at earlier moments, and after a power cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.segments import DEAD, ROWS, Decisions, shard_in

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from simulation.nature import Kind


class History:
    """All changes of a job's objects.

    Attributes:
        objects: the present objects.
        changes: for each change, the object's name and its content before.
        unsynced: for each change that a power cut can undo, the object's name and its content before.
        created: for each object, how many changes were before its creation.
    """

    def __init__(self, kind: Kind) -> None:
        self.objects: dict[str, bytes] = {}
        self.changes: list[tuple[str, bytes | None]] = []
        self.unsynced: dict[str, bytes | None] = {}
        self.created: dict[str, int] = {}
        self._kind = kind
        self._seen = 0  # number of changes that every look shows

    def change(self, name: str, content: bytes | None) -> bytes | None:
        """Record that an object was created, or deleted if `content` is None; return its content before."""
        before = self.objects.pop(name, None)
        if content is not None:
            self.objects[name] = content
            self.created[name] = len(self.changes)
        self.changes.append((name, before))
        if self._kind.is_disk:
            self.unsynced.setdefault(name, before)
        return before

    def is_seen(self, name: str) -> bool:
        """Whether every look sees an object, however much look-ups lag."""
        return name in self.objects and len(self.changes) - self.created[name] > self._kind.lag

    def sync(self, folder: str) -> None:
        """Record that a folder was synced."""
        for name in [name for name in self.unsynced if name.rpartition("/")[0] == folder]:
            del self.unsynced[name]

    def undo(self, name: str) -> None:
        """Record that a power cut has undone a change."""
        self.changes.append((name, self.objects.get(name)))
        _restore(self.objects, name, self.unsynced[name])

    def end_power_cut(self) -> None:
        """Record that after a power cut all present objects are durable, and visible to every look."""
        self.unsynced.clear()
        self._seen = len(self.changes)

    def durable(self) -> dict[str, bytes]:
        """The objects that no power cut can undo."""
        unsynced = self.unsynced
        return {name: content for name, content in self.objects.items() if unsynced.get(name, content) is not None}

    def after_power_cut(self, rng: random.Random) -> dict[str, bytes]:
        """The objects that might be left if the power failed now, chosen at random."""
        objects = dict(self.objects)
        for name, before in self.unsynced.items():
            if rng.random() < 0.5:
                _restore(objects, name, before)
        return objects

    def moments(self, asked: int) -> Iterator[dict[str, bytes]]:
        """The objects that looks may have shown since change number `asked`: all durable objects of one moment.

        If look-ups lag, each look may have shown another moment, and earlier moments.
        """
        moments = self._moments(max(self._seen, asked - self._kind.lag))
        return _mixed([*moments]) if self._kind.lag else moments

    def _moments(self, first: int) -> Iterator[dict[str, bytes]]:
        objects = self.durable()
        yield dict(objects)
        for name, before in reversed(self.changes[first:]):
            _restore(objects, name, before)
            yield dict(objects)


def _restore(objects: dict[str, bytes], name: str, before: bytes | None) -> None:
    objects.pop(name, None)
    if before is not None:
        objects[name] = before


def _mixed(moments: Sequence[Mapping[str, bytes]]) -> Iterator[dict[str, bytes]]:
    """The log of one moment, with outcomes of any moment.

    Rows that no segment names must be seen only if they existed at every moment.
    """
    outcomes = {name: moment[name] for moment in moments for name in moment if name.startswith(("part-", DEAD))}
    steady = set.intersection(*(set(moment) for moment in moments))
    for moment in moments:
        logged = Decisions(moment).shards
        seen = {n: c for n, c in moment.items() if n in steady or not n.startswith(ROWS) or shard_in(n) in logged}
        yield seen | outcomes
