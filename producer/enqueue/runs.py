"""Bringing cuts to the queue, again and again to the same effect: rows, then their segment, then the ledger.

A file is read from its start by every run, so what the log has already is compared, and any number of runs may be at
it at once. What a live input gives can't be read again, so one run reads at a time, and whatever it has read is kept,
even where it learns that another run's turn has come.
"""

# Over 150 lines: both kinds of runs are read side by side, because they differ in what may be dropped.

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from producer.sources.errors import SourceError
from unrolled.errors import JobError, UnrolledError
from unrolled.job import names
from unrolled.job.names import rows_object
from unrolled.job.segment import MOST_ENTRIES, Segment
from unrolled.protocol.log import Log, append
from unrolled.protocol.spooling import entry_of, spool
from unrolled.protocol.telling import JobLedger, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.objects import Objects
    from unrolled.protocol.spooling import Spooled

    #: Makes the shard of a cut that gets a place in the job.
    Make = Callable[[int], Spooled]


class QueueLedger(JobLedger, Protocol):
    """A job's ledger, for those who add to it."""

    def wait_for_room(self) -> None:
        """Wait until the queue has room for more token ids."""
        ...

    def is_time(self) -> bool:
        """Whether the entries that wait for their segment have waited long enough."""
        ...


class Run:
    """What both kinds of runs have.

    Args:
        objects: of the job.
        ledger: of the job's model.
        each: called with each shard's entry, and whether it is new.
    """

    def __init__(self, objects: Objects, ledger: QueueLedger, each: Callable[[Entry, bool], None]) -> None:
        self.log = Log()
        self._objects = objects
        self._ledger = ledger
        self._each = each

    def _tell(self) -> None:
        tell(self.log, self._objects, self._ledger)

    def _stopped(self) -> JobError:
        how = "discarded" if self.log.discarded else "cancelled"
        return JobError(f"{self._objects.store}: the job was {how} while its input was read; nothing more is queued")


class FileRun(Run):
    """Reads an input from its start to its end."""

    def run(self, cuts: Iterable[Make]) -> None:
        """Bring every cut to the queue, then say in the log that the input has ended.

        Raises:
            JobError: the input isn't what it was when this job began, or the job was cancelled meanwhile.
            SourceError: the input can't be read any further; what it gave before that is queued.
        """
        append(self.log, self._objects, _resumed)
        if self.log.discarded:
            raise self._stopped()
        lost, count, new = self._lost(), 0, []
        try:
            for make in cuts:
                spooled = make(count)
                known = self._is_known(count, spooled.entry)
                if not known:
                    spool(self._objects, spooled)
                    self._ledger.wait_for_room()
                    new.append(spooled.entry)
                elif spooled.entry.shard in lost:
                    spool(self._objects, spooled)
                self._each(spooled.entry, not known)
                count += 1
                if new and (len(new) >= MOST_ENTRIES or self._ledger.is_time()):
                    self._add(count - len(new), new)
                    new = []
        except SourceError:
            self._add(count - len(new), new)  # the rows before the damage need not wait until a person has repaired it
            raise
        self._add(count - len(new), new)
        append(self.log, self._objects, lambda log: self._ended(log, count))
        self._tell()

    def _lost(self) -> set[ShardId]:
        """The input's shards that have neither rows nor a part, as after a disk was repaired; they are cut again."""
        found = set(self.log.inputs)
        # In this order: rows are deleted only once their part is there.
        for folder, shards_in in ((names.ROWS, names.shards_in), (names.PARTS, names.parts_in)):
            found = found and found.difference(shards_in(self._objects.list(folder)))
        return found

    def _is_known(self, place: int, entry: Entry) -> bool:
        """Whether the log has the shard at this place; another one there ends the run, before anything is written."""
        if place < len(self.log.inputs):
            if self.log.inputs[place] != entry.shard:
                raise self._changed(place, entry)
            return True
        if self.log.ended:
            raise self._grown(entry)
        return False

    def _add(self, first: int, entries: list[Entry]) -> None:
        """Append what the log doesn't have of some entries, the first of which has this place in the job."""

        def decide(log: Log) -> Segment | None:
            if log.stopped:
                raise self._stopped()
            new = tuple(entry for place, entry in enumerate(entries, first) if not self._is_known(place, entry))
            return Segment("shards", new) if new else None

        append(self.log, self._objects, decide)
        self._tell()

    def _ended(self, log: Log, count: int) -> Segment | None:
        if log.stopped:
            raise self._stopped()
        if len(log.inputs) > count:
            raise JobError(
                f"{self._objects.store}: the input has changed since this job began: it ends "
                f"{len(log.inputs) - count} shard(s) earlier. Restore it, or use another --out"
            )
        return None if log.ended else Segment("end")

    def _changed(self, place: int, entry: Entry) -> JobError:
        before = self.log.entries[self.log.inputs[place]]
        return JobError(
            f"{self._objects.store}: the input has changed since this job began: shard {place} began at "
            f"{before.file} row {before.position} with content {before.shard}, now at {entry.file} row "
            f"{entry.position} with {entry.shard}. Restore the input, or use another --out"
        )

    def _grown(self, entry: Entry) -> JobError:
        return JobError(
            f"{self._objects.store}: the input has changed since this job began: it ended after "
            f"{len(self.log.inputs)} shard(s), now it goes on at {entry.file} row {entry.position}. "
            "Restore it, or use another --out"
        )


class LiveRun(Run):
    """Reads an input that can't be read again.

    Args:
        objects: of the job.
        ledger: of the job's model.
        each: called with each shard's entry, and whether it is new.
        stop: called when this run's turn is over, so that nothing more is read.

    Attributes:
        number: of the segment that begins this run; row ids begin with it.
    """

    def __init__(
        self, objects: Objects, ledger: QueueLedger, each: Callable[[Entry, bool], None], stop: Callable[[], object]
    ) -> None:
        super().__init__(objects, ledger, each)
        self.number = -1
        self._stop = stop
        self._name = secrets.token_hex(8)

    def begin(self) -> None:
        """Take the turn of reading, and bring what runs before this one have read and not brought.

        Raises:
            JobError: the job was discarded.
        """
        append(self.log, self._objects, self._begun)
        if self.log.discarded:
            raise self._stopped()
        self._adopt()

    def run(self, cuts: Iterable[Make]) -> None:
        """Bring every cut to the queue, then say in the log that the input has ended, if it is this run's turn still.

        Args:
            cuts: end soon after `stop` was called, with all rows that were read by then.

        Raises:
            JobError: another run has begun, or the job was cancelled, or its log is damaged; what this run has read is
                kept.
            BrokerRefusesError: the broker doesn't let this user in or do this; what this run has read is kept.
        """
        failure: UnrolledError | None = None
        for make in cuts:
            spooled = make(len(self.log.inputs))
            if failure is not None:
                spool(self._objects, spooled)  # rows that were read ahead; the next run adopts them
                continue
            try:
                self._bring(spooled)
            except UnrolledError as error:  # the log is damaged, or the broker refuses
                failure = error
                self._stop()
            if self.log.discarded:
                break
            if not self._has_turn(self.log):
                self._stop()  # rows that were read ahead are still to come
        if failure is not None:
            raise failure
        self._adopt()  # a run that this one has fenced off may have died meanwhile
        append(self.log, self._objects, lambda log: Segment("end") if self._has_turn(log) and not log.ended else None)
        self._tell()
        if self.log.stopped:
            raise self._stopped()
        if not self._has_turn(self.log):
            raise JobError(
                f"{self._objects.store}: another `unrolled enqueue --follow` has begun to read for this job; what this "
                "one had read is queued"
            )

    def _bring(self, spooled: Spooled) -> None:
        spool(self._objects, spooled)
        # Even if it is another run's turn by now: these rows were read. They are durable before there is room for them.
        append(self.log, self._objects, lambda log: _added(log, [spooled.entry]))
        self._each(spooled.entry, True)  # noqa: FBT003 - it is new
        self._tell()
        self._ledger.wait_for_room()

    def _adopt(self) -> None:
        """Bring rows that a run has made durable and then died; their names don't say a retry."""
        strays = [
            s for s in names.shards_in(self._objects.list(names.ROWS)) if s not in self.log.entries and not s.retries
        ]
        found = [entry_of(rows) for shard in strays if (rows := self._objects.read(rows_object(shard))) is not None]
        if found:
            self._objects.sync(names.ROWS, names.QUARANTINE)
            append(self.log, self._objects, lambda log: _added(log, found))
        self._tell()

    def _begun(self, log: Log) -> Segment | None:
        if log.discarded or self.number >= 0 or log.run == self._name:
            self.number = self.number if self.number >= 0 else log.length - 1
            return None
        return Segment("begin", run=self._name)

    def _has_turn(self, log: Log) -> bool:
        return log.run == self._name and not log.stopped


def _resumed(log: Log) -> Segment | None:
    return Segment("resume") if log.cancelled and not log.discarded else None


def _added(log: Log, entries: list[Entry]) -> Segment | None:
    new: tuple[Entry, ...] = tuple(entry for entry in entries if entry.shard not in log.entries)[:MOST_ENTRIES]
    return Segment("shards", new) if new and not log.discarded else None
