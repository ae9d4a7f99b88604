"""What was promised about a job, checked after each change of its objects.

Every row that was once durable is in one place; parts are whole and stay; no row is in two of them; segments stay; what
says "complete" is right, even if the power fails at that moment.
"""

# One file, though long: the list of what is promised.

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulation.account import Account
from simulation.content import Row, decode_bad, decode_part, decode_rows
from simulation.history import History
from simulation.segments import DEAD, JOB, LOG, QUARANTINE, ROWS, BrokenPromiseError, Decisions, is_retry, shard_in

if TYPE_CHECKING:
    import random
    from collections.abc import Container, Iterable, Mapping

    from simulation.nature import Kind
    from simulation.reading import Reading

#: Changes after which all that was kept up to date is compared with what is found from scratch.
_COMPARED = 32
#: How often it is tried what a power cut would leave.
_TRIED = 0.1


class Spooled(NamedTuple):
    """The rows of a shard that were there once.

    Attributes:
        rows: in order.
        bad: of the same cut.
        job: whose they are.
    """

    rows: tuple[Row, ...]
    bad: tuple[Row, ...]
    job: str


class Promises:
    """A job's objects as they must be.

    Every method raises BrokenPromiseError where a promise was broken.

    Attributes:
        history: of the objects.
        completed: somebody has said "complete", and was right.
    """

    def __init__(self, kind: Kind, reading: Reading, rng: random.Random) -> None:
        self.history = History(kind)
        self.completed = False
        self._kind, self._rng = kind, rng
        self._inputs = [frozenset(rows) for rows in reading.versions.values()]
        self._spooled: dict[str, Spooled] = {}
        self._parts: dict[str, bytes] = {}
        self._homes: dict[str | int, str] = {}
        self._account = self._counted(self.objects)

    @property
    def objects(self) -> dict[str, bytes]:
        """Those that are there now."""
        return self.history.objects

    @property
    def log(self) -> Decisions:
        """What was decided about the job."""
        return self._account.log

    @property
    def is_perfect(self) -> bool:
        """Whether all rows are in parts, or bad, and nothing is left to do."""
        return self._account.is_perfect and self._is_complete(self._account)

    def change(self, name: str, content: bytes | None) -> None:
        """Take in that an object was created, or deleted where `content` is None; check what that touches."""
        before, shard = self.history.change(name, content), shard_in(name)
        shards = {shard}
        if name.startswith(LOG):
            shards = self._read_segment(name, before, content)
        else:
            self._account.update(shard)
        if self.log.discarded:
            return
        if name.startswith("part-"):
            self._check_part(name, shard, content)
        elif name.startswith(ROWS) and content is not None:
            bad, rows = decode_bad(self.objects.get(f"{QUARANTINE}{shard}.jsonl", b"")), decode_rows(content)
            self._spooled[shard] = Spooled(rows.rows, bad, rows.job)
        self._check_rows(self._account, shards)
        if len(self.history.changes) % _COMPARED == 0:
            self.check_all()
        if self.history.unsynced and self._rng.random() < _TRIED:
            self._try_power_cut()

    def cut_power(self, undone: Iterable[str]) -> None:
        """Take in that changes that were not synced are undone, those of these names; the others are durable now."""
        for name in undone:
            is_new = self.history.unsynced[name] is None
            self.history.undo(name)
            if is_new and name.startswith(ROWS):
                self._spooled.pop(shard_in(name), None)
            elif is_new and name.startswith("part-"):  # nobody relied on it: the shard may come to another outcome
                self._parts.pop(name, None)
                self._homes = {key: home for key, home in self._homes.items() if home != shard_in(name)}
        self.history.end_power_cut()
        self._account = self._counted(self.objects)
        self.check_all()

    def check_all(self) -> None:
        """Check all rows, from scratch."""
        if self.log.discarded:
            return
        account = self._counted(self.objects)
        self._check_rows(account, self._spooled)
        if account.summary() != self._account.summary():
            raise BrokenPromiseError("the simulation is wrong: what it kept up to date isn't what it finds")

    def check_told(self, told: int | None, lives: Container[str]) -> None:
        """Check that the ledger has every life that it was told and that waits, even if the power fails now.

        Args:
            told: how many segments the ledger was told.
            lives: those that it has, as text.
        """
        if told is None or told < 0 or self.log.cancelled or self.log.discarded:
            return
        durable = self.history.durable()
        for shard, (life, segment) in self.log.lives.items():
            is_settled = f"part-{shard}.parquet" in durable or f"{DEAD}{shard}.{life}.json" in durable
            if segment < told and not is_settled and f"{shard}.{life}" not in lives:
                raise BrokenPromiseError(f"the ledger was told {told} segments, and has lost {shard}.{life}")

    def hear_complete(self, asked: int) -> None:
        """Check what somebody says: the job was complete, and durably so, at some moment since the question.

        Args:
            asked: number of changes before the question.
        """
        if not any(self._is_complete(self._counted(objects)) for objects in self.history.moments(asked)):
            raise BrokenPromiseError("somebody says complete, and it is not")
        self.completed = True

    def hear_end(self, numbers: Iterable[int], *, was_damaged: bool = False) -> None:
        """Check that a command which has ended of itself has lost nothing of what it read, even if the power fails now.

        Args:
            numbers: of the rows that it read from a pipe.
            was_damaged: whether an object was damaged: then they may be in rows that no segment names.
        """
        account = self._counted(self.history.durable())
        nowhere = (None, []) if was_damaged else (None, [], ["stray"])
        lost = [number for number in numbers if account.places.get(number + 1) in nowhere]
        if lost and not self.log.discarded:
            raise BrokenPromiseError(f"a producer has ended, and rows {lost} that it had read are not in the log")

    def check_nothing_is_left(self) -> None:
        """Check that no object is left at the end that another has made superfluous."""
        for name in self.objects:
            is_used = name.startswith(("part-", QUARANTINE)) and (
                shard_in(name) in self.log.shards or (self._kind.is_live and name.startswith(QUARANTINE))
            )
            if name != JOB and not name.startswith(LOG) and (self.log.discarded or not is_used):
                raise BrokenPromiseError(f"at the end, {name} is left")

    def _counted(self, objects: Mapping[str, bytes]) -> Account:
        return Account(objects, is_live=self._kind.is_live)

    def _is_complete(self, account: Account) -> bool:
        return account.is_settled and (self._kind.is_live or account.input_rows() in self._inputs)

    def _read_segment(self, name: str, before: bytes | None, content: bytes | None) -> set[str]:
        """Take in a new segment; the shards that it says something of."""
        if before is not None or content is None:
            raise BrokenPromiseError(f"{name} was replaced or removed")
        if name != f"{LOG}{self.log.length:06d}.jsonl":
            raise BrokenPromiseError(f"the log has a hole: {name} is there, and segment {self.log.length} isn't")
        if JOB not in self.objects:
            raise BrokenPromiseError(f"{name} is there, and nothing says of which job")
        inputs, has_ended = self.log.inputs, self.log.ended
        shards = self._account.append(content)
        if has_ended and not self._kind.is_live and self.log.inputs > inputs:
            raise BrokenPromiseError(f"{name} adds to an input that was read to its end")
        if len({self._spooled[shard].job for shard in self.log.shards if shard in self._spooled}) > 1:
            raise BrokenPromiseError("the log has shards of two jobs")
        return shards

    def _check_part(self, name: str, shard: str, content: bytes | None) -> None:
        if content is None or self._parts.setdefault(name, content) != content:
            raise BrokenPromiseError(f"{name} was replaced or removed")
        part, spooled = decode_part(content), self._spooled.get(shard)
        if spooled is None or sorted(part.rows + part.failed) != sorted(spooled.rows):
            raise BrokenPromiseError(f"{name} is not whole")
        for row in part.rows:
            for key in row:
                if self._homes.setdefault(key, shard) != shard:
                    raise BrokenPromiseError(f"{row} is in two parts: {self._homes[key]} and {shard}")

    def _check_rows(self, account: Account, shards: Iterable[str]) -> None:
        """Check that each row of some shards is in one place."""
        for shard in shards:
            if shard in account.log.shards or (self._kind.is_live and not is_retry(shard)):
                spooled = self._spooled.get(shard)
                for row in spooled.rows + spooled.bad if spooled else ():
                    if len(places := account.places.get(account.key(row), ())) != 1:
                        raise BrokenPromiseError(f"{row} of {shard} is in {len(places)} places: {', '.join(places)}")

    def _try_power_cut(self) -> None:
        """Check that nothing would be lost if the power failed now."""
        try:
            account = self._counted(self.history.after_power_cut(self._rng))
            if not account.log.discarded:
                self._check_rows(account, [shard for shard in account.log.shards if shard in self._spooled])
        except BrokenPromiseError as error:
            raise BrokenPromiseError(f"if the power fails now: {error}") from error
