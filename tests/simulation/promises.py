"""The promises about a job, checked after each change of its objects.

Every row that was once durable is in exactly one place; parts are whole and stay; no row is in two parts; segments
stay; a report that a job is complete is right, even if the power fails at that moment.
"""

# Over 150 lines: the list of all promises.

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from simulation.account import Account
from simulation.content import Row, decode_bad, decode_part, decode_rows
from simulation.history import History
from simulation.segments import (
    CHAPTERS,
    DEAD,
    JOB,
    LOG,
    QUARANTINE,
    ROWS,
    BrokenPromiseError,
    Decisions,
    is_retry,
    shard_in,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Container, Iterable, Mapping

    from simulation.nature import Kind
    from simulation.reading import Reading

#: Changes between two comparisons of the account that is kept up to date with one made from scratch.
_COMPARED = 32
#: Share of the changes after which a power cut is tried.
_TRIED = 0.1


class Spooled(NamedTuple):
    """The rows of a shard, as they were created.

    Attributes:
        rows: the rows, in order.
        bad: the bad rows of the same cut.
        job: the id of their job.
    """

    rows: tuple[Row, ...]
    bad: tuple[Row, ...]
    job: str


class Promises:
    """The promises about one job.

    Every method raises BrokenPromiseError if a promise was broken.

    Attributes:
        history: the history of the job's objects.
        completed: whether an actor has reported that the job is complete, and was right.
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
        """The present objects."""
        return self.history.objects

    @property
    def log(self) -> Decisions:
        """The decisions in the job's log."""
        return self._account.log

    @property
    def is_perfect(self) -> bool:
        """Whether all rows are in parts, or bad, and nothing is left to do."""
        return self._account.is_perfect and self._is_complete(self._account)

    def input_rows(self) -> frozenset[Row]:
        """The rows of all shards that were cut from the input, bad ones included."""
        return self._account.input_rows()

    def change(self, name: str, content: bytes | None) -> None:
        """Record that an object was created, or deleted if `content` is None; check what depends on it."""
        before, shard = self.history.change(name, content), shard_in(name)
        shards = {shard}
        if name.startswith(CHAPTERS):
            self._check_chapter(name, before, content)
            return
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
        """Record a power cut: the unsynced changes of these objects are undone, and all others are durable now."""
        rows = set()
        for name in undone:
            is_new = self.history.unsynced[name] is None
            self.history.undo(name)
            if is_new and name.startswith(ROWS):
                rows.add(shard_in(name))
            elif is_new and name.startswith("part-"):  # nothing depended on it, so the shard may get another outcome
                self._parts.pop(name, None)
                self._homes = {key: home for key, home in self._homes.items() if home != shard_in(name)}
        self.history.end_power_cut()
        self._account = self._counted(self.objects)
        for shard in rows - {*self.log.shards}:  # those in the log were durable once, and may have been created again
            self._spooled.pop(shard, None)
        self.check_all()

    def check_all(self) -> None:
        """Check all rows with an account made from scratch."""
        if self.log.discarded:
            return
        account = self._counted(self.objects)
        self._check_rows(account, self._spooled)
        if account.summary() != self._account.summary():
            raise BrokenPromiseError("the simulation is wrong: what it kept up to date isn't what it finds")

    def check_ledger(self, mark: int | None, lives: Container[str]) -> None:
        """Check that the ledger has every life that was entered and that waits, even if the power fails now.

        Args:
            mark: how many segments were entered in the ledger.
            lives: the lives in the ledger, as text.
        """
        if mark is None or mark < 0 or self.log.cancelled or self.log.discarded:
            return
        durable = self.history.durable()
        for shard, (life, segment) in self.log.lives.items():
            is_settled = f"part-{shard}.parquet" in durable or f"{DEAD}{shard}.{life}.json" in durable
            if segment < mark and not is_settled and f"{shard}.{life}" not in lives:
                raise BrokenPromiseError(f"{mark} segments are in the ledger, and {shard}.{life} isn't")

    def hear_complete(self, asked: int) -> None:
        """Check a report that the job is complete: it was complete, and durably so, at some moment since the question.

        Args:
            asked: number of changes before the question.
        """
        if not any(self._is_complete(self._counted(objects)) for objects in self.history.moments(asked)):
            raise BrokenPromiseError("an actor reports a complete job, and it isn't complete")
        self.completed = True

    def hear_queued(self, rows: Iterable[Row]) -> None:
        """Check a producer's report that all rows of a file are queued."""
        spooled = [self._spooled[shard] for shard in self.log.shards if shard in self._spooled]
        missing = {*rows}.difference(row for each in spooled for row in each.rows + each.bad)
        if missing and not self.log.discarded:
            raise BrokenPromiseError(f"a producer has ended, and {sorted(missing)} of its file are not in the log")

    def hear_end(self, numbers: Iterable[int], *, was_damaged: bool = False) -> None:
        """Check that a command that has ended by itself has lost none of its rows, even if the power fails now.

        Args:
            numbers: the numbers of the rows that it has read from a pipe.
            was_damaged: whether an object was damaged. If so, the rows may be in a shard that no segment names.
        """
        account = self._counted(self.history.durable())
        nowhere = (None, []) if was_damaged else (None, [], ["stray"])
        lost = [number for number in numbers if account.places.get(number + 1) in nowhere]
        if lost and not self.log.discarded:
            raise BrokenPromiseError(f"a producer has ended, and rows {lost} that it had read are not in the log")

    def check_nothing_is_left(self) -> None:
        """Check that no superfluous object is left at the end."""
        for name in self.objects:
            is_used = name.startswith(("part-", QUARANTINE)) and (
                shard_in(name) in self.log.shards or (self._kind.is_live and name.startswith(QUARANTINE))
            )
            if name != JOB and not name.startswith((LOG, CHAPTERS)) and (self.log.discarded or not is_used):
                raise BrokenPromiseError(f"at the end, {name} is left")

    def _counted(self, objects: Mapping[str, bytes]) -> Account:
        return Account(objects, is_live=self._kind.is_live)

    def _is_complete(self, account: Account) -> bool:
        return account.is_settled and (self._kind.is_live or account.input_rows() in self._inputs)

    def _read_segment(self, name: str, before: bytes | None, content: bytes | None) -> set[str]:
        """Apply a new segment, and return the shards that it mentions."""
        if before is not None or content is None:
            raise BrokenPromiseError(f"{name} was replaced or removed")
        if name != f"{LOG}{self.log.length:06d}.jsonl":
            raise BrokenPromiseError(f"the log has a hole: {name} exists, and segment {self.log.length} doesn't")
        if JOB not in self.objects:
            raise BrokenPromiseError(f"{name} exists, and no job.json says of which job it is")
        inputs, has_ended = self.log.inputs, self.log.ended
        shards = self._account.append(content)
        if has_ended and not self._kind.is_live and self.log.inputs > inputs:
            raise BrokenPromiseError(f"{name} adds to an input that was read to its end")
        if len({self._spooled[shard].job for shard in self.log.shards if shard in self._spooled}) > 1:
            raise BrokenPromiseError("the log has shards of two jobs")
        return shards

    def _check_chapter(self, name: str, before: bytes | None, content: bytes | None) -> None:
        """Check that a new chapter has the shards of its segments, and no power cut can undo one of these."""
        if before is not None or content is None:
            raise BrokenPromiseError(f"{name} was replaced or removed")
        head = json.loads(content[32 : content.index(b"\n", 32)])
        first, end = head["first"], head["first"] + head["segments"]
        durable = self.history.durable()
        if any(f"{LOG}{number:06d}.jsonl" not in durable for number in range(first, end)):
            raise BrokenPromiseError(f"{name} exists, and not all of its segments are durable")
        shards = [len(Decisions(durable, stop).shards) for stop in (first, end)]
        if head["shards"] != shards[1] - shards[0]:
            raise BrokenPromiseError(
                f"{name} has {head['shards']} shards, and its segments add {shards[1] - shards[0]}"
            )

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
        """Check that each row of some shards is in exactly one place."""
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
