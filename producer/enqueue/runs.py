"""Adding cuts to a job: first their rows, then their segment, then the ledger. Repeating it changes nothing.

Every run reads a file from its start, so it compares its cuts with the log, and any number of runs may do so at once. A
live input can't be read again, so only one run reads it at a time. All rows that a run has read are kept, even when it
finds that another run has taken its turn.
"""

# Over 150 lines: both kinds of runs are in one file, because they differ only in which rows may be dropped.

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from producer.sources.errors import SourceError
from unrolled.errors import JobError, UnrolledError, counted
from unrolled.job import names
from unrolled.job.names import Life, part_object, quarantine_object, rows_object
from unrolled.job.segment import MOST_ENTRIES, Segment
from unrolled.job.shard_keys import FIRST_RETRY
from unrolled.protocol.discarded import refuse_another
from unrolled.protocol.entries import ShardSet
from unrolled.protocol.ledger_update import JobLedger, enter_again, update_ledger
from unrolled.protocol.listing import find
from unrolled.protocol.log import Log, append, catch_up, read_entries
from unrolled.protocol.spooling import entry_of, spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from producer.enqueue.growth import Growth
    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.objects import Objects
    from unrolled.protocol.spooling import Spooled

#: What may have changed the last row, and what may have brought an earlier one to quarantine, although no input did.
_LENGTHENED = "If text was added: it lengthens a last line without a line end, and a last record of FASTA. "
_CORRUPT = "If it is compressed and was corrupt then, the job may have wrong rows: use another --out. "
_TAKEN = "If a row's own id is one that a row of an added input gets, such as new.txt#0, give that input another name. "


class Make(Protocol):
    """Makes the shard of a cut."""

    def __call__(self, index: int, growth: int = 0) -> Spooled:
        """The shard, given its number in the job and how many times rows had been appended before."""
        ...


class QueueLedger(JobLedger, Protocol):
    """A job's ledger, for a process that adds shards to it."""

    def wait_for_room(self, tokens: int) -> None:
        """Wait until the queue has room for a shard with this many token ids."""
        ...

    def is_time(self) -> bool:
        """Whether it is time for another segment."""
        ...


class Run:
    """The common part of both kinds of runs.

    Args:
        objects: the job's objects.
        ledger: the ledger of the job's offer.
        each: called with each shard's entry, and whether the shard is new.
        cancels: how many cancels of the job the user knew of who started this run; it revokes no later one. None for
            all that the run meets when it begins.

    Attributes:
        log: the job's log.
        mended: how many dead shards' damaged rows were replaced.
    """

    def __init__(
        self, objects: Objects, ledger: QueueLedger, each: Callable[[Entry, bool], None], cancels: int | None = None
    ) -> None:
        self.log = Log()
        self.mended = 0
        self._objects = objects
        self._ledger = ledger
        self._each = each
        self._cancels = cancels

    def _is_unwanted(self, log: Log) -> bool:
        """Whether the job was cancelled since the user started this run, such as while the broker was away."""
        is_later = self._cancels is not None and log.cancels > self._cancels
        return log.cancelled and is_later and not log.discarded

    def _update_ledger(self) -> None:
        update_ledger(self.log, self._objects, self._ledger)

    def _stopped(self) -> JobError:
        how = "discarded" if self.log.discarded else "cancelled"
        return JobError(f"{self._objects.store}: the job was {how} while its input was read; nothing more is queued")


class FileRun(Run):
    """Reads an input from its start to its end.

    Args:
        objects: the job's objects.
        ledger: the ledger of the job's offer.
        each: called with each shard's entry, and whether the shard is new.
        growth: the growth of the input in which the run cuts shards.
        cancels: see `Run`.
    """

    def __init__(
        self,
        objects: Objects,
        ledger: QueueLedger,
        each: Callable[[Entry, bool], None],
        growth: Growth,
        cancels: int | None = None,
    ) -> None:
        super().__init__(objects, ledger, each, cancels)
        self._growth = growth
        self._found = 0  # number of shards of the input that the log had when this run began
        self.appended_from = 0

    def begin(self) -> list[int]:
        """Read the log, and resume a cancelled job.

        Returns:
            The numbers of rows at which the input must be cut, because it once ended there.

        Raises:
            JobError: the job was discarded, was cancelled after the run was started, or has other inputs by now.
        """
        catch_up(self.log, self._objects)
        self._growth.begin(self.log)
        append(self.log, self._objects, self._resumed)
        refuse_another(str(self._objects.store), self.log)
        self._found = len(self.log.inputs)
        # Of an append that was interrupted, or that another process has begun, this run takes part in the rest.
        is_begun = self.log.growths and not self.log.ended
        self.appended_from = self.log.grown_from if is_begun else self._found
        return self._growth.ends(self.log)

    def run(self, cuts: Iterable[Make]) -> None:
        """Queue every cut, then record the end of the input in the log.

        Raises:
            JobError: the input has changed since the job began, or the job was cancelled meanwhile.
            SourceError: the input can't be read any further; all rows before that point are queued.
        """
        # Over 40 lines: the steps for each cut in their order, and those at the end.
        lost, unlisted, dead = self._lost(), self._unlisted(), self._dead()
        count = 0
        new: list[Entry] = []
        mended: list[Life] = []
        # Before their rows: once these exist, the next run doesn't take the shards for lost.
        enter_again(self.log, self._objects, self._ledger, sorted(map(self.log.life, lost - dead.keys())))
        try:
            for make in cuts:
                # The last shard is added to the log together with the end of the input, at which it is cut. Once the
                # input has grown, only the log shows where it ended before.
                if new and (len(new) >= MOST_ENTRIES or self._ledger.is_time()):
                    self._add(count - len(new), new)
                    new = []
                spooled, known = self._compared(count, make)
                if not known:
                    spool(self._objects, spooled)
                    self._ledger.wait_for_room(spooled.entry.size)
                    new.append(spooled.entry)
                elif spooled.entry.shard in lost:
                    spool(self._objects, spooled)
                elif spooled.entry.shard in dead and self._mend(spooled):
                    mended.append(dead[spooled.entry.shard])
                if spooled.entry.shard in unlisted:
                    self._objects.create(quarantine_object(spooled.entry.shard), spooled.quarantine)
                self._each(spooled.entry, not known)
                count += 1
        except SourceError:
            self._add(count - len(new), new)  # the rows before the damage needn't wait for a repair
            raise
        self.mended = len(mended)
        for start in range(0, len(mended), MOST_ENTRIES):
            some = mended[start : start + MOST_ENTRIES]
            append(self.log, self._objects, lambda log, some=some: _revived(log, some))  # type: ignore[misc]
        append(self.log, self._objects, lambda log: self._ended(log, count - len(new), new))
        self._update_ledger()
        catch_up(self.log, self._objects)  # the ledger may have been away for long
        if self.log.stopped:
            raise self._stopped()

    def _resumed(self, log: Log) -> Segment | None:
        if self._is_unwanted(log):
            raise JobError(
                f"{self._objects.store}: the job was cancelled while this command waited; nothing is queued. The same "
                "command resumes the job"
            )
        return Segment("resume") if log.cancelled and not log.discarded else None

    def _compared(self, place: int, make: Make) -> tuple[Spooled, bool]:
        """Make the shard at a place, and compare it with the log; the first one after the end begins a growth.

        Returns:
            The shard, and whether the log has it.
        """
        while True:
            spooled = make(place, self._growth.of(self.log, place))
            if self._is_known(place, spooled.entry):
                return spooled, True
            if not self._growth.is_due(self.log, rows=True):
                if self.log.ended:
                    raise self._longer(spooled.entry)
                return spooled, False
            append(self.log, self._objects, lambda log: self._grown(log, place))

    def _lost(self) -> frozenset[ShardId]:
        """The input's shards that have neither rows nor a part, for example after a disk repair; they are cut again.

        A shard whose failed rows were retried is left out, because those rows are in another shard now.
        """
        entries = self.log.entries
        found = (entries.columns["hash"] < FIRST_RETRY) & ~entries.marks(self.log.retried)
        for folder in (names.ROWS, names.PARTS):  # in this order: rows are deleted only once their part exists
            if found.any():
                found &= ~find(self.log, self._objects, folder).marks
        return frozenset(ShardSet(entries, found))

    def _unlisted(self) -> frozenset[ShardId]:
        """The shards whose list of bad rows was lost; it is made again."""
        entries = self.log.entries
        found = entries.columns["quarantined"] > 0
        if found.any():
            found &= ~entries.marks(names.shards_in(self._objects.list(names.QUARANTINE)))
        return frozenset(ShardSet(entries, found))

    def _dead(self) -> dict[ShardId, Life]:
        """The shards that were given up, each with its last life."""
        lives = names.lives_in(self._objects.list(names.DEAD))
        return {life.shard: life for life in lives if self.log.life(life.shard) == life}

    def _mend(self, spooled: Spooled) -> bool:
        """Replace the damaged rows of a dead shard by the rows that were cut; False if they aren't damaged."""
        name = rows_object(spooled.entry.shard)
        if self._objects.read(name) in (None, spooled.rows):
            return False
        if self._objects.exists(part_object(spooled.entry.shard)):
            return False  # another attempt had read them before; its failed rows may still have to be saved
        self._objects.delete(name)  # damaged rows are of no use
        spool(self._objects, spooled)
        return True

    def _is_known(self, place: int, entry: Entry) -> bool:
        """Whether the log has the shard at this place. Another shard there ends the run before anything is written."""
        if place < len(self.log.inputs):
            if self.log.inputs[place] != entry.shard:
                raise self._changed(place, entry)
            return True
        return False

    def _grown(self, log: Log, place: int) -> Segment | None:
        if log.stopped:
            raise self._stopped()
        return self._growth.segment(log, place, rows=True)

    def _add(self, first: int, entries: list[Entry]) -> None:
        """Append those of some entries that the log lacks; the first entry has the number `first` in the job."""

        def decide(log: Log) -> Segment | None:
            new = self._unknown(log, first, entries)
            return Segment("shards", new) if new else None

        append(self.log, self._objects, decide)
        self._update_ledger()

    def _unknown(self, log: Log, first: int, entries: list[Entry]) -> tuple[Entry, ...]:
        """Those of some entries that the log lacks, where this run may add them."""
        if log.stopped:
            raise self._stopped()
        new = tuple(entry for place, entry in enumerate(entries, first) if not self._is_known(place, entry))
        if new:
            self._growth.check(log)
            if log.ended:  # another producer has read the input when it was shorter
                raise self._growth.overtaken() if self._growth.append else self._longer(new[0])
        return new

    def _ended(self, log: Log, first: int, entries: list[Entry]) -> Segment | None:
        """The end of the input, with its last entries; the first of them has the number `first` in the job."""
        if new := self._unknown(log, first, entries):
            return Segment("end", new)
        count = first + len(entries)
        # Inputs without a row may begin a growth; equal rows make this run a part of another's.
        if self._growth.append and (grown := self._growth.segment(log, count, rows=False)):
            return grown
        self._growth.check(log)
        if len(log.inputs) > count:
            missing = self._entry_at(count)
            raise JobError(
                f"{self._objects.store}: the input has changed since this job began: it ends "
                f"{counted(len(log.inputs) - count, 'shard')} earlier, before {missing.file} row {missing.position}. "
                "Restore it, or use another --out"
            )
        return None if log.ended else Segment("end")

    def _changed(self, place: int, entry: Entry) -> JobError:
        if place >= self._found and self._growth.append:
            return self._growth.overtaken()  # another producer has read the input when it was shorter, or longer
        before = self._entry_at(place)
        was, found = before.rows + before.quarantined, entry.rows + entry.quarantined
        began, begins = (f"{each.file} row {each.position}" for each in (before, entry))
        is_end = self.log.ended and place + 1 == len(self.log.inputs)
        is_last = is_end or place + 1 in self.log.growths
        hint = ""
        if begins != began:
            what = f"shard {place} began at {began}, now at {begins}"
        elif is_end and found < was:
            what = f"the last shard, from {began} on, had {counted(was, 'row')}, now {found}"
        else:
            what = f"in shard {place} ({counted(was, 'row')} from {began} on), at least one row differs or is missing"
            is_taken = entry.quarantined > before.quarantined and self._growth.adds_inputs(self.log)
            hint = _LENGTHENED * (is_last and found >= was) + _TAKEN * is_taken
        hint += _CORRUPT * (not self.log.ended)
        return JobError(
            f"{self._objects.store}: the input has changed since this job began: {what}. {hint}Restore the input, or "
            "use another --out"
        )

    def _entry_at(self, place: int) -> Entry:
        shard = self.log.inputs[place]
        return next(known for known in read_entries(self.log, self._objects) if known.shard == shard)

    def _longer(self, entry: Entry) -> JobError:
        return JobError(
            f"{self._objects.store}: the input has grown since this job read it to its end: it ended after "
            f"{counted(len(self.log.inputs), 'shard')}, now it continues at {entry.file} row {entry.position}. "
            "Use --append to add the new rows to this job, restore the input, or use another --out"
        )


class LiveRun(Run):
    """Reads an input that can't be read again.

    Args:
        objects: the job's objects.
        ledger: the ledger of the job's offer.
        each: called with each shard's entry, and whether the shard is new.
        stop: called when this run's turn is over, so that nothing more is read.

    Attributes:
        number: the number of the segment that begins this run; it is part of the row ids.
    """

    def __init__(
        self,
        objects: Objects,
        ledger: QueueLedger,
        each: Callable[[Entry, bool], None],
        stop: Callable[[], object],
        cancels: int | None = None,
    ) -> None:
        super().__init__(objects, ledger, each, cancels)
        self.number = -1
        self._is_cancelled = False
        self._stop = stop
        self._name = secrets.token_hex(8)

    def begin(self) -> None:
        """Take the turn to read, and add the shards that earlier runs made durable and didn't add.

        Raises:
            JobError: the job was discarded.
        """
        append(self.log, self._objects, self._begun)
        refuse_another(str(self._objects.store), self.log)
        if self._is_cancelled:  # rows that were taken from the stream reach the disk all the same
            append(self.log, self._objects, lambda log: None if log.stopped else Segment("cancel"))
        self._adopt()

    def run(self, cuts: Iterable[Make]) -> None:
        """Queue every cut, then record the end of the input in the log, if it is still this run's turn.

        Args:
            cuts: the cuts; they end soon after a call of `stop`, with all rows that were read by then.

        Raises:
            JobError: another run has begun, the job was cancelled, or its log is damaged; all rows read are kept.
            BrokerRefusesError: the broker rejects this user or this action; all rows read are kept.
        """
        cuts = iter(cuts)
        try:
            for make in cuts:
                self._bring(make(len(self.log.inputs)))
                if self.log.discarded:
                    break
                if not self._has_turn(self.log):
                    self._stop()  # rows that were read ahead still follow
        except UnrolledError:  # the log is damaged, or the broker refuses this user
            self._stop()
            self._keep(cuts)
            raise
        self._adopt()  # a run that lost its turn to this one may have died meanwhile
        append(self.log, self._objects, lambda log: Segment("end") if self._has_turn(log) and not log.ended else None)
        self._update_ledger()
        if self.log.stopped:
            raise self._stopped()
        if not self._has_turn(self.log):
            raise JobError(
                f"{self._objects.store}: another command with --follow has begun to read for this job; what this "
                "one had read is queued"
            )

    def _bring(self, spooled: Spooled) -> None:
        spool(self._objects, spooled)
        self._each(spooled.entry, True)  # noqa: FBT003 - it is new
        # Even if it is another run's turn now, or the queue is full, because these rows were read.
        append(self.log, self._objects, lambda log: _added(log, [spooled.entry]), look=False)
        self._update_ledger()  # the one look for new segments of others

    def _keep(self, cuts: Iterator[Make]) -> None:
        """Make durable the rows that were read ahead, where nothing can be added to the log; the next run adds them."""
        for number, make in enumerate(cuts, 1):
            spooled = make(len(self.log.inputs) + number)
            spool(self._objects, spooled)
            self._each(spooled.entry, True)  # noqa: FBT003 - it is new

    def _adopt(self) -> None:
        """Add shards of the input whose rows exist and that no segment names, because their run has died."""
        strays = sorted(find(self.log, self._objects, names.ROWS).strays)
        found = [entry_of(rows) for shard in strays if (rows := self._objects.read(rows_object(shard))) is not None]
        if found:
            self._objects.sync(names.ROWS, names.QUARANTINE)
            append(self.log, self._objects, lambda log: _added(log, found))
        self._update_ledger()

    def _begun(self, log: Log) -> Segment | None:
        if log.discarded or self.number >= 0 or log.run == self._name:
            self.number = self.number if self.number >= 0 else log.length - 1
            return None
        self._is_cancelled = self._is_unwanted(log)
        return Segment("begin", run=self._name)

    def _has_turn(self, log: Log) -> bool:
        return log.run == self._name and not log.stopped

    def _stopped(self) -> JobError:
        if self.log.discarded:
            return super()._stopped()
        return JobError(
            f"{self._objects.store}: the job was cancelled while its input was read; the rows that were read are kept, "
            "and the same command reads on"
        )


def _revived(log: Log, dead: list[Life]) -> Segment | None:
    lives = tuple(Life(life.shard, life.number + 1) for life in dead if log.life(life.shard) == life)
    return Segment("retry", lives=lives) if lives and not log.stopped else None


def _added(log: Log, entries: list[Entry]) -> Segment | None:
    new: tuple[Entry, ...] = tuple(entry for entry in entries if entry.shard not in log.entries)[:MOST_ENTRIES]
    return Segment("shards", new) if new and not log.discarded else None
