"""Reading how far a job is: from its log and its objects, and beside them from the broker."""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.jobs.status import JobStatus, QueueStatus
from producer.jobs.worker_status import WorkerStatus
from producer.terminal.text import printable
from unrolled.errors import BrokerAwayError, FileFormatError, TransientError
from unrolled.job import names
from unrolled.job.names import dead_object
from unrolled.protocol.completion import standing
from unrolled.protocol.log import Log
from unrolled.reading.outcome import read_outcome

if TYPE_CHECKING:
    from unrolled.job.names import Life
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.completion import Standing
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.broker import Broker

#: The speed is that of the last seconds for which somebody has looked.
SPEED_SECONDS = 60.0
_REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the broker said; `away` where it said nothing."""

    waiting: frozenset[Life] = frozenset()
    running: frozenset[Life] = frozenset()
    workers: tuple[WorkerStatus, ...] = ()
    others: tuple[int, int] = (0, 0)
    away: str | None = None


class StatusReader:
    """Reads a job's status again and again; segments of its log are read once.

    Args:
        job: whose status.
        broker: where the job is queued; None to look at the store alone.
        namespace: prefix of every key there.
    """

    def __init__(self, job: OpenJob, broker: Broker | None = None, namespace: str = "") -> None:
        self.log = Log()
        self._job = job
        self._broker = broker
        self._ledger = broker.ledger(namespace, job.job.offer) if broker else None
        self._failed: dict[ShardId, int] = {}
        self._deaths: dict[Life, str] = {}
        self._looks: deque[tuple[float, int]] = deque()

    def read(self) -> JobStatus:
        """The status now; where the broker is away, what the store tells.

        Raises:
            JobError: the log is damaged.
            TransientError: the store can't be read now.
            BrokerRefusesError: the broker doesn't let this user in or do this.
        """
        # In this order: what the log names and the ledger lacks is published or dead by then.
        asked = self._ask()
        found = standing(self.log, self._job.objects, live=self._job.job.live)
        return self._status(found, asked)

    def _ask(self) -> _Asked | None:
        if self._broker is None or self._ledger is None:
            return None
        try:
            with self._broker.asked():
                waiting, running, others = self._ledger.members_and_others(self._job.key)
                workers = self._ledger.workers()
        except BrokerAwayError as error:
            return _Asked(away=str(error))
        found = tuple(WorkerStatus.parse(name, facts) for name, facts in sorted(workers.items()))
        return _Asked(frozenset(waiting), frozenset(running), found, others)

    def _status(self, found: Standing, asked: _Asked | None) -> JobStatus:
        log, job = self.log, self._job
        inputs = [log.entries[shard] for shard in log.inputs]
        done = [log.entries[shard] for shard in found.published]
        failed = self._count_failed(found.published)
        retried = log.retried.items()
        brought_again = sum(log.entries[shard].rows for source, shard in retried if source in found.published)
        tokens_done = sum(entry.tokens for entry in done if entry.source is None)
        waiting = {log.life(shard) for shard in log.entries.keys() - found.published - found.dead}
        queue = None
        if asked is not None and asked.away is None:
            running = len(waiting & asked.running)
            missing = len(waiting - asked.waiting)
            others, others_running = asked.others
            queue = QueueStatus(
                running,
                len(waiting) - running - missing,
                missing,
                asked.workers,
                others_running,
                max(0, others - others_running),
            )
        return JobStatus(
            out=job.place,
            job=job.key,
            offer=job.job.offer,
            rows=sum(entry.rows + entry.quarantined for entry in inputs),
            tokens=sum(entry.tokens for entry in inputs),
            rows_done=sum(entry.rows + entry.quarantined for entry in done if entry.source is None),
            tokens_done=tokens_done,
            rows_published=sum(entry.rows for entry in done) - failed - brought_again,
            quarantined=sum(entry.quarantined for entry in inputs),
            failed=failed,
            shards=len(log.entries),
            done=len(found.published),
            dead=len(found.dead),
            ended=log.ended,
            complete=found.complete,
            cancelled=log.stopped,
            discarded=log.discarded,
            strays=len(found.strays),
            tokens_per_second=self._speed(tokens_done, over=found.complete),
            queue=queue,
            away=asked.away if asked else None,
            death=self._death(found),
        )

    def _count_failed(self, published: frozenset[ShardId]) -> int:
        """Rows that parts call failed and no retry has brought again; only footers that may name some are read."""
        objects, counted = self._job.objects, 0
        kept = {shard for folder in (names.FAILED, names.ROWS) for shard in names.shards_in(objects.list(folder))}
        for shard in (kept & published) - self.log.retried.keys():
            if shard not in self._failed:
                try:
                    info = read_outcome(objects, shard)
                except FileFormatError:
                    continue  # `verify` names it
                self._failed[shard] = len(info.failed) if info else 0
            counted += self._failed[shard]
        return counted

    def _death(self, found: Standing) -> str | None:
        """Why a dead shard was given up, by its record; None where no shard is dead, or the record can't be read."""
        if not found.dead:
            return None
        life = self.log.life(min(found.dead))
        if life not in self._deaths:
            try:
                reason = json.loads(self._job.objects.read(dead_object(life)) or b"")["reason"]
            except (TransientError, ValueError, TypeError, KeyError, RecursionError):
                return None
            self._deaths[life] = printable(str(reason)[:_REASON_CHARACTERS])
        return self._deaths[life]

    def _speed(self, tokens_done: int, *, over: bool) -> float | None:
        """Real tokens per second since the oldest look of the last minute; None where there is one look alone."""
        now = time.monotonic()
        if not over:
            self._looks.append((now, tokens_done))
        while len(self._looks) > 2 and now - self._looks[0][0] > SPEED_SECONDS:  # noqa: PLR2004 - both ends of a span
            self._looks.popleft()
        if not self._looks or now - self._looks[0][0] <= 0 or tokens_done <= self._looks[0][1]:
            return None
        return (tokens_done - self._looks[0][1]) / (now - self._looks[0][0])
