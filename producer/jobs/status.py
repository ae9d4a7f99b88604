"""How far a job is: the facts, and what follows from them."""

# Over 150 lines: all facts of a job, each with what it means.

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from unrolled.job.segment import MOST_ENTRIES

if TYPE_CHECKING:
    from producer.queue.queue_status import QueueStatus
    from unrolled.job.offer import Offer

#: Shards that a producer at work may have appended to the log but not entered in the ledger yet: those of one segment.
ON_THEIR_WAY = MOST_ENTRIES
#: Seconds after which none of them is on its way any more: the ledger is the next thing that a producer does.
WAY_SECONDS = 3.0


class OwnRun(Enum):
    """Whether an `unrolled run` with a broker and workers of its own is seen at work on a job, and who is asked."""

    UNSEEN = "unseen"
    HERE = "here"  #: seen, and the broker that is asked is its own, or none is asked
    ELSEWHERE = "elsewhere"  #: seen, and another broker was named, which knows nothing of what it does


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job at one moment. Rows are input rows; tokens are real tokens.

    Attributes:
        out: the directory.
        job: its key, which names it in the workers' logs, in `unrolled jobs` and in `unrolled cancel --key` too.
        offer: what it asks workers for.
        rows, tokens: cut so far; the rows that can't be computed included.
        rows_done, tokens_done: those of published shards, the rows that can't be computed included, but not those that
            wait to be computed again.
        rows_published: rows in their files.
        quarantined: rows that the producer refused.
        failed: rows of published shards that the engine refused.
        shards: cut so far.
        done, dead: published, given up.
        dead_tokens: of the shards that were given up; they are neither done nor left to do.
        ended: whether the input was read to its end.
        finished: whether nothing more will come: every shard has its part or is dead, and no other can be added.
        cancelled: whether what waits was taken out of the queue.
        discarded: whether nothing of it counts any more.
        strays: shards of a live input that no log names yet; the next run queues them.
        gone: waiting shards of which neither rows nor part can be seen.
        gone_shard: the name of the first of them; None where there is none.
        stuck: those of them that the broker lacks, too: no worker will look for them.
        overdue: waiting shards with rows that the broker has lacked for `WAY_SECONDS` of looks; none at the first look.
        damaged: whether the rows of the dead shard whose death is shown are damaged.
        fed: whether its input is read by an `unrolled run` or `unrolled enqueue` that is known to be at work on it.
        hindered: what is in the way of the command that reads its input; "" where nothing is known to be.
        has_run: whether an `unrolled run` is known to be at work on it.
        run_elsewhere: whether it is, and has another broker than the one that was named, which isn't asked meanwhile.
        tokens_per_second: over the last files; None where there are too few to tell.
        queue: what the broker knows; None where none was named, or it is away or isn't asked.
        away: why the broker couldn't be asked.
        death: why one of the dead shards was given up; None where none is dead.
    """

    out: str
    job: str
    offer: Offer
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
    dead_tokens: int = 0
    finished: bool = False
    cancelled: bool = False
    discarded: bool = False
    strays: int = 0
    gone: int = 0
    gone_shard: str | None = None
    stuck: int = 0
    overdue: int = 0
    damaged: bool = False
    fed: bool = False
    hindered: str = ""
    has_run: bool = False
    run_elsewhere: bool = False
    tokens_per_second: float | None = None
    queue: QueueStatus | None = None
    away: str | None = None
    death: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every row of the input is in a part or in quarantine: the job is finished, and no shard is dead."""
        return self.finished and not self.dead

    @property
    def waiting(self) -> int:
        """Shards that are neither published nor dead: running or queued; none where the job was discarded."""
        return 0 if self.discarded else self.shards - self.done - self.dead

    @property
    def at_work(self) -> bool:
        """Whether a worker computes a shard now; True where no broker can say."""
        return self.queue is None or self.queue.running > 0

    @property
    def long_pool(self) -> str:
        """The pool that is computed longest now, if it takes so long that progress can't be seen; else empty.

        What a worker said last may be older than the part: where no shard waits, it isn't shown.
        """
        workers = self.queue.workers if self.queue and self.waiting else []
        workers = [worker for worker in workers if worker.offer == self.offer]
        longest = max(workers, key=lambda worker: worker.pool_seconds, default=None)
        return longest.long_pool if longest else ""

    @property
    def state(self) -> str:
        """How it is, in a word or two for people."""
        if self.finished:
            return "complete" if self.complete else "finished, not complete"
        if self.cancelled:
            return "discarded" if self.discarded else "cancelled"
        if self.queue is None:
            return "not complete"  # no broker says whether somebody works on it
        if self.at_work:
            return "at work"
        return "waiting" if self.waiting or self.ended or self.hindered else "waiting for input"

    @property
    def lost(self) -> int:
        """Shards that wait, and that Redis lost or never had; none in a copy, or while a producer may be at them."""
        missing = self._missing
        return missing if self.ended or missing > ON_THEIR_WAY else min(missing, self.overdue)

    @property
    def may_be_lost(self) -> bool:
        """Whether a look `WAY_SECONDS` later may find shards lost that may be on their way now."""
        return self._missing > self.lost

    @property
    def _missing(self) -> int:
        return max(0, self.queue.missing - self.stuck) if self.queue and not self.queue.original else 0

    @property
    def unattended(self) -> bool:
        """Whether it can't go on: the broker is away, or no worker is there for it."""
        if self.queue is None:
            return self.away is not None
        return not self.queue.running and not any(one.offer == self.offer for one in self.queue.workers)

    @property
    def stands_still(self) -> bool:
        """Whether nothing is computed, as far as can be seen: no worker has a shard of it, or the broker is away.

        Workers that give no sign of life may be dead, and their leases have to expire first.
        """
        holders = [one for one in self.queue.workers if one.offer == self.offer and one.on_board] if self.queue else []
        return self.away is not None or not self.at_work or (bool(holders) and all(one.is_late for one in holders))

    @property
    def seconds_left(self) -> float | None:
        """For what is cut so far, at the speed of the last files; None where that isn't known, or nothing runs."""
        if not self.tokens_per_second or not self.waiting or self.stands_still:
            return None
        return (self.tokens - self.tokens_done - self.dead_tokens) / self.tokens_per_second
