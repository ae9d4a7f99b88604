"""What was promised about a job, checked after each change of its objects.

Every row that was once durable is in one place; parts are whole and stay; no row is in two of them; segments stay; what
says "complete" is right, even if the power fails at that moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulation.account import DEAD, JOB, LOG, QUARANTINE, ROWS, Account, Decisions, Violation, is_retry, shard_in
from simulation.content import Row, decode_bad, decode_part, decode_rows

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from simulation.nature import Kind
    from simulation.reading import Reading

#: Changes after which all that was kept up to date is compared with what is found from scratch.
_COMPARED = 32


class Spooled(NamedTuple):
    """The rows of a shard that were durable once.

    Attributes:
        rows: in order.
        bad: of the same cut.
        job: whose they are.
    """

    rows: tuple[Row, ...]
    bad: tuple[Row, ...]
    job: str


class Promises:
    """The objects of a job as they must be.

    Attributes:
        objects: all of them, now.
        changes: name and content before, of every change so far.
        completed: somebody has said "complete", and was right.
    """

    def __init__(self, kind: Kind, reading: Reading, rng: random.Random) -> None:
        self.objects: dict[str, bytes] = {}
        self.changes: list[tuple[str, bytes | None]] = []
        self.completed = False
        self._kind, self._reading, self._rng = kind, reading, rng
        self._inputs = [frozenset(rows) for rows in reading.versions.values()]
        self._known = 0  # number of changes that every look shows
        self._unsynced: dict[str, bytes | None] = {}
        self._spooled: dict[str, Spooled] = {}
        self._parts: dict[str, bytes] = {}
        self._homes: dict[str | int, str] = {}
        self._account = self._counted(self.objects)

    @property
    def log(self) -> Decisions:
        """What was decided about the job."""
        return self._account.log

    @property
    def is_perfect(self) -> bool:
        """Whether all rows are in parts, or bad, and nothing is left to do."""
        return self._account.is_perfect and self._is_complete(self._account)

    def change(self, name: str, content: bytes | None) -> None:
        """Take in that an object was created, or deleted where `content` is None; check what that touches.

        Raises:
            Violation: a promise was broken.
        """
        before = self.objects.pop(name, None)
        if content is not None:
            self.objects[name] = content
        self.changes.append((name, before))
        if self._kind.is_disk:
            self._unsynced.setdefault(name, before)
        shard = shard_in(name)
        if name.startswith(LOG):
            if before is not None:
                raise Violation(f"{name} was replaced or removed")
            self._account = self._counted(self.objects)
            shards: Iterable[str] = self._spooled
            if len({self._spooled[each].job for each in self.log.shards if each in self._spooled}) > 1:
                raise Violation("the log has shards of two jobs")
        else:
            self._account.update(shard)
            shards = [shard]
        if self.log.discarded:
            return
        if name.startswith("part-"):
            self._check_part(name, shard, content)
        elif name.startswith(ROWS) and content is not None:
            bad, rows = decode_bad(self.objects.get(f"{QUARANTINE}{shard}.jsonl", b"")), decode_rows(content)
            self._spooled[shard] = Spooled(rows.rows, bad, rows.job)
        self._check_rows(self._account, shards)
        if len(self.changes) % _COMPARED == 0:
            self.check_all()
        if self._unsynced and self._rng.random() < 0.1:
            self._check_power_cut()

    def sync(self, folder: str) -> None:
        """Take in that a folder was synced."""
        for name in [name for name in self._unsynced if name.rpartition("/")[0] == folder]:
            del self._unsynced[name]

    def cut_power(self, undone: Iterable[str]) -> None:
        """Take in that changes that were not synced are undone, those of these names; the others are durable now.

        Raises:
            Violation: a promise was broken.
        """
        for name in undone:
            before = self._unsynced[name]
            self.changes.append((name, self.objects.pop(name, None)))
            if before is not None:
                self.objects[name] = before
            elif name.startswith(ROWS):
                self._spooled.pop(shard_in(name), None)
            elif name.startswith("part-"):  # nobody relied on it: the shard may come to another outcome
                self._parts.pop(name, None)
                self._homes = {key: home for key, home in self._homes.items() if home != shard_in(name)}
        self._unsynced.clear()
        self._known = len(self.changes)
        self._account = self._counted(self.objects)
        self.check_all()

    def check_all(self) -> None:
        """Check everything, from scratch.

        Raises:
            Violation: a promise was broken.
        """
        account = self._counted(self.objects)
        if not self.log.discarded:
            self._check_rows(account, self._spooled)
        if {key: sorted(places) for key, places in account.places.items() if places} != {
            key: sorted(places) for key, places in self._account.places.items() if places
        }:
            raise Violation("the simulation is wrong: what it kept up to date isn't what it finds from scratch")

    def hear_complete(self, asked: int) -> None:
        """Check what somebody says: the job was complete, and durably so, at some moment since the question.

        Args:
            asked: number of changes before the question.

        Raises:
            Violation: it wasn't.
        """
        moments = self._moments(max(self._known, asked - self._kind.lag))
        if self._kind.lag:
            moments = _mixed([*moments])
        if not any(self._is_complete(self._counted(objects)) for objects in moments):
            raise Violation("somebody says complete, and it is not")
        self.completed = True

    def hear_end(self, numbers: Iterable[int]) -> None:
        """Check that a command which has ended of itself has lost nothing of what it read, even if the power fails now.

        Args:
            numbers: of the rows that it read from a pipe.

        Raises:
            Violation: it has.
        """
        account = self._counted(self._durable())
        lost = [number for number in numbers if account.places.get(number + 1) in (None, [], ["stray"])]
        if lost and not self.log.discarded:
            raise Violation(f"a producer has ended, and rows {lost} that it had read are not in the log")

    def check_nothing_is_left(self) -> None:
        """Check that no object is left at the end that another has made superfluous.

        Raises:
            Violation: one is.
        """
        for name in self.objects:
            is_used = name.startswith(("part-", QUARANTINE)) and (
                shard_in(name) in self.log.shards or (self._kind.is_live and name.startswith(QUARANTINE))
            )
            if name != JOB and not name.startswith(LOG) and (self.log.discarded or not is_used):
                raise Violation(f"at the end, {name} is left")

    def _counted(self, objects: Mapping[str, bytes]) -> Account:
        return Account(objects, is_live=self._kind.is_live)

    def _moments(self, first: int) -> Iterator[dict[str, bytes]]:
        """The objects that no power cut can take back now, and those of earlier moments, back to a number of changes."""
        objects = self._durable()
        yield dict(objects)
        for name, before in reversed(self.changes[first:]):
            objects.pop(name, None)
            if before is not None:
                objects[name] = before
            yield dict(objects)

    def _durable(self) -> dict[str, bytes]:
        """The objects that no power cut can take back now."""
        unsynced = self._unsynced
        return {name: content for name, content in self.objects.items() if unsynced.get(name, content) is not None}

    def _is_complete(self, account: Account) -> bool:
        return account.is_settled and (self._kind.is_live or account.input_rows() in self._inputs)

    def _check_part(self, name: str, shard: str, content: bytes | None) -> None:
        if content is None or self._parts.setdefault(name, content) != content:
            raise Violation(f"{name} was replaced or removed")
        part, spooled = decode_part(content), self._spooled.get(shard)
        if spooled is None or sorted(part.rows + part.failed) != sorted(spooled.rows):
            raise Violation(f"{name} is not whole")
        for row in part.rows:
            for key in row:
                if self._homes.setdefault(key, shard) != shard:
                    raise Violation(f"{row} is in two parts: {self._homes[key]} and {shard}")

    def _check_rows(self, account: Account, shards: Iterable[str]) -> None:
        for shard in shards:
            if shard in account.log.shards or (self._kind.is_live and not is_retry(shard)):
                spooled = self._spooled.get(shard)
                for row in spooled.rows + spooled.bad if spooled else ():
                    if len(places := account.places.get(account.key(row), ())) != 1:
                        raise Violation(f"{row} of {shard} is in {len(places)} places: {', '.join(places)}")

    def _check_power_cut(self) -> None:
        """Check that nothing would be lost if the power failed now: some changes that were not synced are undone."""
        objects = dict(self.objects)
        for name, before in self._unsynced.items():
            if self._rng.random() < 0.5:
                objects.pop(name, None)
                if before is not None:
                    objects[name] = before
        try:
            account = self._counted(objects)
            if not account.log.discarded:
                self._check_rows(account, [shard for shard in account.log.shards if shard in self._spooled])
        except Violation as violation:
            raise Violation(f"if the power fails now: {violation}") from violation


def _mixed(moments: Sequence[Mapping[str, bytes]]) -> Iterator[dict[str, bytes]]:
    """What lagging looks may show together: each look may be of another moment.

    The log of one moment, with outcomes of any moment. Rows that no segment names must be seen only where they were
    there at every moment.
    """
    outcomes = {name: moment[name] for moment in moments for name in moment if name.startswith(("part-", DEAD))}
    steady = set.intersection(*(set(moment) for moment in moments))
    for moment in moments:
        logged = Decisions(moment).shards
        seen = {n: c for n, c in moment.items() if n in steady or not n.startswith(ROWS) or shard_in(n) in logged}
        yield seen | outcomes
