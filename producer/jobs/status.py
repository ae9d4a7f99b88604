"""How far a job is: the facts, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Shards that a producer at work may have written to the manifest but not into the ledger yet.
ON_THEIR_WAY = 1


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as its last heartbeat told.

    Attributes:
        name: host and process.
        model: fingerprint of the model that it serves.
        engine: name and arithmetic.
        on_board: shards that it holds.
        longest_seconds: since it took the one that it has held longest.
        tokens_per_second: real tokens per second of its engine's time.
        busy_share: of its time, with the engine at work.
        computed_share: computed steps over real tokens: below 1 where rows share prefixes, above 1 where the
            TensorFlow engine pads batches. 0 before the first.
        read_seconds, plan_seconds, compute_seconds, write_seconds: since its start; those of all its threads.
        lease_seconds: how long it may be silent; None where it didn't tell.
    """

    name: str
    model: str
    engine: str
    on_board: int
    longest_seconds: float
    tokens_per_second: float
    busy_share: float
    computed_share: float = 0.0
    read_seconds: float = 0.0
    plan_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    lease_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the broker knows.

    Attributes:
        running: the job's shards under a lease.
        queued: those that wait for a worker.
        missing: those that wait by the directory, but aren't in the ledger. While the input is read, one
            may be on its way; else Redis lost them.
        workers: all that are alive, of every model.
    """

    running: int
    queued: int
    missing: int
    workers: tuple[WorkerStatus, ...]


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job at one moment. Rows are input rows; tokens are real tokens.

    Attributes:
        out: the directory.
        job: its id.
        fingerprint: of its model.
        rows, tokens: cut so far; the rows that can't be computed included.
        rows_done, tokens_done: those of published shards, the rows that can't be computed included.
        rows_published: rows in their files.
        quarantined: rows that the producer refused.
        failed: rows of published shards that the engine refused.
        shards: cut so far.
        done, dead: published, given up.
        ended: whether the input was read to its end.
        cancelled: whether what waits was taken out of the queue.
        tokens_per_second: over the last files; None where there are too few to tell.
        queue: what the broker knows; None where none was named, or it is away.
        away: why the broker couldn't be asked.
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
        """Shards that wait, but that Redis lost or never had; none while their producer may be at them."""
        missing = self.queue.missing if self.queue else 0
        return missing if self.ended or missing > ON_THEIR_WAY else 0

    @property
    def complete(self) -> bool:
        """Whether nothing more will come: the input was read to its end, every shard is published or dead."""
        return self.ended and self.waiting == 0

    @property
    def seconds_left(self) -> float | None:
        """For what is cut so far, at the speed of the last files; None where that isn't known."""
        if not self.tokens_per_second or not self.waiting:
            return None
        return (self.tokens - self.tokens_done) / self.tokens_per_second


def worker_status(name: str, facts: dict[str, Any]) -> WorkerStatus:
    """What a heartbeat told; whoever may write to Redis may have written it: nothing is taken for granted."""
    lease = _number(facts, "lease_seconds")
    return WorkerStatus(
        name=name,
        model=str(facts.get("model"))[:64],
        engine=_words(facts, ("engine", "arithmetic")),
        on_board=int(_number(facts, "on_board")),
        longest_seconds=_number(facts, "longest_seconds"),
        tokens_per_second=_number(facts, "tokens_per_second"),
        busy_share=_number(facts, "busy_share"),
        computed_share=_number(facts, "computed_share"),
        read_seconds=_number(facts, "read_seconds"),
        plan_seconds=_number(facts, "plan_seconds"),
        compute_seconds=_number(facts, "compute_seconds"),
        write_seconds=_number(facts, "write_seconds"),
        lease_seconds=lease or None,
    )


def _number(facts: dict[str, Any], key: str) -> float:
    value = facts.get(key)
    return float(value) if isinstance(value, int | float) and 0 <= value < 10**15 else 0.0


def _words(facts: dict[str, Any], keys: Iterable[str]) -> str:
    return " ".join(str(facts[key])[:20] for key in keys if key in facts)
