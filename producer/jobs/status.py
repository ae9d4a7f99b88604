"""How far a job is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer.jobs.worker_status import WorkerStatus

#: Shards that a running producer may have written to the manifest and not entered yet.
ON_THEIR_WAY = 1


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the broker knows.

    Attributes:
        running: how many of the job's shards are under a lease.
        queued: how many wait for a worker.
        missing: how many wait in the directory and aren't in the ledger. While the input is read, one may be on its
            way; otherwise Redis lost them.
        workers: all that run, of every model.
    """

    running: int
    queued: int
    missing: int
    workers: tuple[WorkerStatus, ...]


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job at one moment. Rows are input rows; tokens are real tokens.

    Attributes:
        out: the job's directory.
        job: the job's id.
        fingerprint: of the job's model.
        rows, tokens: cut so far, with the rows that can't be computed.
        rows_done, tokens_done: in published shards, with the rows that can't be computed.
        rows_published: rows in parts.
        quarantined: rows that the producer refused.
        failed: rows of published shards that the engine failed on.
        shards: cut so far.
        done: published shards.
        dead: shards that were given up.
        ended: whether the input was read to its end.
        cancelled: whether the waiting shards were taken out of the queue.
        tokens_per_second: over the last parts; None where there are fewer than two.
        queue: what the broker knows; None where no broker was named or it is away.
        away: why the broker couldn't be asked; None where it could or wasn't.
    """

    out: str
    job: str
    fingerprint: str
    rows: int
    tokens: int
    rows_done: int
    tokens_done: int
    rows_published: int
    quarantined: int
    failed: int
    shards: int
    done: int
    dead: int
    ended: bool
    cancelled: bool = False
    tokens_per_second: float | None = None
    queue: QueueStatus | None = None
    away: str | None = None

    @property
    def waiting(self) -> int:
        """Shards that are neither published nor dead: running or queued."""
        return self.shards - self.done - self.dead

    @property
    def lost(self) -> int:
        """Shards that wait and that Redis lost or never had; 0 while their producer may be about to enter them."""
        missing = self.queue.missing if self.queue else 0
        return missing if self.ended or missing > ON_THEIR_WAY else 0

    @property
    def complete(self) -> bool:
        """Whether the input was read to its end, and every shard is published or dead."""
        return self.ended and self.waiting == 0

    @property
    def seconds_left(self) -> float | None:
        """For what is cut so far, at the speed of the last parts; None where that isn't known."""
        if not self.tokens_per_second or not self.waiting:
            return None
        return (self.tokens - self.tokens_done) / self.tokens_per_second
