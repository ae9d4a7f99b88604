"""The shards that wait for the engine. Their jobs take turns, as they do in the ledger."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from unrolled.format.columns import VectorColumn
    from unrolled.tokenization.ragged import Ragged
    from worker.pool.pool import Computed


class Waiting(NamedTuple):
    """A shard that is waiting for the engine.

    Attributes:
        job: names its job.
        shard: its rows.
        columns: what is computed of them; the same for all shards of a job.
        future: gets the outputs.
        since: when it came, on the clock of `time.perf_counter`.
        span: in which it waits.
    """

    job: str
    shard: Ragged
    columns: tuple[VectorColumn, ...]
    future: Future[Computed]
    since: float
    span: object

    @property
    def tokens(self) -> int:
        """Real tokens in it."""
        return self.shard.values.size


class WaitingShards:
    """Shards in the order in which they are computed: jobs get equal shares of the tokens, each in its shards' order.

    The ledger decides, by the priorities, whose shards come here. Without turns here too, a shard of a small job would
    wait for all that this worker had taken before. Each job has a rank, the tokens that it has had; the least is next.
    One that comes starts where the others are by now, and has the next turn of equals (starting potential-based fair
    queueing, Stiliadis and Varma 1996), so that no job waits for ever, even if others come all the time.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, deque[Waiting]] = {}  # the job that came last is the last
        self._ranks: dict[str, float] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._jobs.values()))

    def __iter__(self) -> Iterator[Waiting]:
        return (waiting for shards in self._jobs.values() for waiting in shards)

    def add(self, waiting: Waiting) -> None:
        """Put a shard behind its job's others."""
        if waiting.job not in self._jobs:
            self._jobs[waiting.job] = deque()
            self._ranks[waiting.job] = max(self._now, self._ranks.get(waiting.job, 0))
        self._jobs[waiting.job].append(waiting)

    def next(self, columns: tuple[VectorColumn, ...] | None = None) -> Waiting | None:
        """The shard whose turn it is.

        Args:
            columns: look among shards of these columns only.
        """
        heads = [shards[0] for shards in reversed(self._jobs.values())]
        found = (head for head in heads if columns is None or head.columns == columns)
        return min(found, key=lambda head: self._ranks[head.job], default=None)

    def remove(self, waiting: Waiting) -> None:
        """Take out the shard that `next` has returned: it is computed now."""
        job, tokens = waiting.job, max(1, waiting.tokens)
        self._ranks[job] += tokens
        self._now = max(self._now + tokens / len(self._jobs), min(self._ranks[each] for each in self._jobs))
        self._jobs[job].popleft()
        if not self._jobs[job]:
            self._leave(job)

    def remove_job(self, job: str) -> list[Waiting]:
        """Take out all shards of a job, and return them."""
        found = list(self._jobs.get(job, ()))
        if found:
            self._leave(job)
        return found

    def rest(self) -> None:
        """Say that the engine is idle: if no shard waits, jobs that come now are equals, whatever was computed."""
        if not self._jobs:
            self._now = max(self._ranks.values(), default=self._now)
            self._ranks.clear()

    def clear(self) -> None:
        """Take all shards out."""
        self._jobs.clear()

    def _leave(self, job: str) -> None:
        """Forget a job of which nothing waits, and ranks that those who come would have anyway."""
        del self._jobs[job]
        self._ranks = {job: rank for job, rank in self._ranks.items() if job in self._jobs or rank > self._now}
