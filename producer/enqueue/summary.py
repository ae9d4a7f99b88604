"""The result of a run of `unrolled enqueue`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.job.segment import Entry


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        rows: input rows read, the bad ones included.
        tokens: real tokens in them.
        quarantined: bad rows.
        shards: cut from the input.
        known: of these, those that an earlier run had brought.
        sent: lives that this run has entered in the ledger, those of earlier runs included.
    """

    rows: int = 0
    tokens: int = 0
    quarantined: int = 0
    shards: int = 0
    known: int = 0
    sent: int = 0

    def add(self, entry: Entry, new: bool) -> None:
        """Count a shard."""
        self.shards += 1
        self.known += not new
        self.rows += entry.rows + entry.quarantined
        self.tokens += entry.tokens
        self.quarantined += entry.quarantined
