"""The result of a run of `unrolled enqueue`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from producer.terminal.text import lines_of_unknown
from producer.tokenization.gaps import line_of_gaps
from unrolled.errors import counted

if TYPE_CHECKING:
    from unrolled.job.segment import Entry


@dataclass(slots=True)
class Summary:
    """The result of a run.

    Attributes:
        rows: input rows read, the bad ones included.
        tokens: real tokens in them.
        quarantined: bad rows.
        failed: rows on which a worker has failed, of shards that are published; those of a stream aren't counted.
        shards: cut from the input.
        known: those of them that an earlier run had queued.
        elsewhere: those that another process has queued: a second producer, or a worker that knew the job.
        without_tokens: good rows without a real token, which have no state.
        gaps: rows of token ids with padding between tokens.
        unknown_share: share of the texts' words that are not in the vocabulary, also of rows whose id was there before;
            None where there is no word, or none can be unknown.
        unknown_noun: what they are, see `producer.tokenization.coverage.Coverage`.
        in_the_way: lines that say why the shards wait, as far as the broker knows at the end.
        continued: whether rows that earlier runs have read aren't counted here: a stream can't be read again.
        added: with `--append`, input rows that the job didn't have before the append, the bad ones included, also those
            that an interrupted run or another process has queued; None without it.
        added_quarantined: the bad ones of them.
        restored: shards of earlier runs whose rows were lost, and made again.
        mended: dead shards of earlier runs whose rows were damaged, and made again.
        sent: lives that this run has entered in the ledger, those of earlier runs included.
        dead: shards of the job that were given up, which a run doesn't queue again.
        gone: shards of the job of which neither rows nor part can be seen, and whose rows a run can't read again.
    """

    rows: int = 0
    tokens: int = 0
    quarantined: int = 0
    failed: int = 0
    shards: int = 0
    known: int = 0
    elsewhere: int = 0
    sent: int = 0
    restored: int = 0
    mended: int = 0
    without_tokens: int = 0
    gaps: int = 0
    unknown_share: float | None = None
    unknown_noun: str = "words"
    continued: bool = False
    added: int | None = None
    added_quarantined: int = 0
    dead: int = 0
    gone: int = 0
    in_the_way: list[str] = field(default_factory=list)

    def coverage_lines(self) -> list[str]:
        """Lines about the parts of the rows that the model can't see, for people; empty if it sees all."""
        this = " that this run has read" if self.continued else ""
        # Rows whose id is there already are among them, those that couldn't be read aren't.
        bad = " in the rows that were tokenized" if self.quarantined else ""
        lines = lines_of_unknown(self.unknown_share, self.unknown_noun, f"{this}{bad}")
        if self.without_tokens:
            rows = counted(self.without_tokens, f"row{this} has", f"rows{this} have")
            lines.append(f"{rows} no token, and so no state (length is 0)")
        if self.gaps:
            lines.append(line_of_gaps(self.gaps))
        return lines

    def growth_lines(self) -> list[str]:
        """How much was appended, for people; empty without `--append`."""
        if self.added is None:
            return []
        if not self.added:
            return ["nothing was appended: the input has no new rows"]
        bad = ""
        if self.added_quarantined:
            bad = ", to quarantine" if self.added == 1 else f", {self.added_quarantined:,} of them to quarantine"
        return [f"{counted(self.added, 'row was', 'rows were')} appended{bad}"]

    def conclude(self, *, restored: int, mended: int, sent: int) -> None:
        """Take over the counts of the run and of the queue at the end."""
        self.restored, self.mended, self.sent = restored, mended, sent
        self.elsewhere = max(0, self.shards - self.known - sent)

    def add(self, entry: Entry, new: bool, *, appended: bool = False) -> None:
        """Count a shard.

        Args:
            entry: of the log.
            new: whether this run is the first that has it.
            appended: whether its rows came with the append that this run takes part in, which another may have begun.
        """
        self.shards += 1
        self.known += not new
        self.rows += entry.rows + entry.quarantined
        self.tokens += entry.tokens
        self.quarantined += entry.quarantined
        if self.added is not None and appended:
            self.added += entry.rows + entry.quarantined
            self.added_quarantined += entry.quarantined
