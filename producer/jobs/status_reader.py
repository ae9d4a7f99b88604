"""Reading how far a job is: from its log and its objects, and beside them from the broker."""

# Over 150 lines: a status is read from the log, the objects and the broker.

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from producer.jobs.decisions import has_damaged_rows
from producer.jobs.status import WAY_SECONDS, JobStatus, OwnRun
from producer.jobs.tally import Tally
from producer.queue.copies import MOST_PLACE_CHARACTERS, find_original, was_moved
from producer.queue.queue_status import Asked, QueueStatus, ask
from producer.terminal.speed import Counted
from unrolled.errors import BrokerAwayError, BrokerError, FileFormatError, TransientError, printable
from unrolled.job.names import dead_object
from unrolled.protocol.log import Log
from unrolled.reading.outcome import read_outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.job.names import Life
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.entries import ShardSet
    from unrolled.protocol.opening import OpenJob
    from unrolled.queue.broker import Broker

#: The speed is that of the last seconds for which somebody has looked.
SPEED_SECONDS = 60.0
_REASON_CHARACTERS = 300


class StatusReader:
    """Reads a job's status again and again; a look costs what has changed and what waits (`producer.jobs.tally`).

    Args:
        job: whose status.
        broker: where the job is queued; None to look at the store alone.
        namespace: prefix of every key there.
        own_run: says whether an `unrolled run` with a broker of its own is at work on the job. While it has another
            broker than this one, this one isn't asked.
        since: an earlier look, from which on the speed counts, too: its time on the monotonic clock, and the real
            tokens that were done then.

    Attributes:
        log: the job's, as far as it was read.
        away: why the broker couldn't be asked at the last look; None if it was, or wasn't meant to be.
    """

    def __init__(
        self,
        job: OpenJob,
        broker: Broker | None = None,
        namespace: str = "",
        own_run: Callable[[], OwnRun] = lambda: OwnRun.UNSEEN,
        since: tuple[float, int] | None = None,
    ) -> None:
        self.log = Log()
        self._job = job
        self._broker = broker
        self._own_run = own_run
        self._tally = Tally(self.log, job.objects, live=job.job.live)
        self._ledger = broker.ledger(namespace, job.job.offer) if broker else None
        self._was_let_in = False
        self.away: BrokerError | None = None
        self._failed: dict[ShardId, int] = {}
        self._deaths: dict[Life, str] = {}
        self._damaged: dict[Life, bool] = {}
        self._lacked: dict[Life, float] = {}  # since when, on the monotonic clock
        self._looks: deque[tuple[float, int]] = deque([since] if since else [])
        second, tokens = since or (time.monotonic(), 0)
        self._counted = Counted(tokens, second)

    def read(self) -> JobStatus:
        """The status now; where the broker is away, as far as the store shows it.

        Raises:
            JobError: the log is damaged.
            TransientError: the store can't be read now.
            BrokerRefusesError: the broker doesn't let this user in or do this, and never did.
        """
        self.away = None
        run = self._own_run()
        # In this order: what the log names and the ledger lacks is published or dead by then.
        asked = None if run is OwnRun.ELSEWHERE else self._ask(named=False)
        self._tally.look()
        if asked and asked.left < len(self._tally.waiting):  # some are lost, or a count was spoilt
            asked = self._ask(named=True)
            self._tally.look()
        return self._status(asked, run)

    def _ask(self, *, named: bool) -> Asked | None:
        if self._broker is None or self._ledger is None:
            return None
        try:
            with self._broker.asked():
                found = ask(self._ledger, self._job.key, named=named)
        except BrokerError as error:
            # A broker that let this user in before may have been started again without its list of users.
            if isinstance(error, BrokerAwayError) or self._was_let_in:
                self.away = error
                return Asked(away=str(error))
            raise
        self._was_let_in = True
        return found

    def _status(self, asked: Asked | None, run: OwnRun) -> JobStatus:
        # Over 40 lines: every fact of a status, in its order.
        log, job, tally = self.log, self._job, self._tally
        failed = self._count_failed()
        retried = [log.entries[shard] for source, shard in log.retried.items() if source in tally.published]
        waiting_again = [entry for entry in retried if entry.shard not in tally.published]
        tokens_done = tally.done.tokens - sum(entry.tokens for entry in waiting_again)
        gone, has_run = tally.gone, run is not OwnRun.UNSEEN
        status = JobStatus(
            out=job.place,
            job=job.key,
            offer=job.job.offer,
            rows=tally.cut.rows,
            tokens=tally.cut.tokens,
            rows_done=tally.done.rows - sum(entry.rows for entry in waiting_again),
            tokens_done=tokens_done,
            rows_published=tally.done.all_rows - failed - sum(entry.rows for entry in retried),
            quarantined=tally.cut.quarantined,
            failed=failed,
            shards=len(log.entries),
            done=len(tally.published),
            dead=len(tally.dead),
            dead_tokens=tally.dead_tokens,
            ended=log.ended,
            finished=tally.finished,
            cancelled=log.stopped,
            discarded=log.discarded,
            strays=len(tally.strays),
            gone=len(gone),
            gone_shard=next(map(str, gone), None),
            stuck=self._missing(asked, gone) if asked else 0,
            overdue=self._overdue(asked, gone) if asked else 0,
            damaged=self._is_damaged(),
            fed=(has_run or (asked is not None and asked.fed is not None)) and not log.ended,
            hindered=printable((asked.fed or "")[:500]) if asked and not log.ended else "",
            has_run=has_run,
            run_elsewhere=run is OwnRun.ELSEWHERE,
            queue=self._queue(asked) if asked and asked.away is None else None,
            away=asked.away if asked else None,
            death=self._death(),
        )
        status = replace(status, tokens_per_second=self._speed(status))
        if log.discarded:  # the log still counts them, and nothing of them is kept or will be computed
            queue = status.queue and replace(status.queue, running=0, queued=0, missing=0)
            status = replace(status, quarantined=0, failed=0, dead=0, damaged=False, death=None, queue=queue)
            return replace(status, strays=0, gone=0, gone_shard=None, stuck=0, overdue=0)
        return status

    def _queue(self, asked: Asked) -> QueueStatus:
        waiting, life = self._tally.waiting, self.log.life
        # Redis may have lost the ledger, and have kept the leases.
        there = asked.running if asked.waiting is None else asked.running & asked.waiting
        running = sum(one.shard in waiting and life(one.shard) == one for one in there)
        missing = self._missing(asked, waiting)
        return QueueStatus(
            running,
            len(waiting) - running - missing,
            0 if self.log.stopped else missing,  # a cancelled job was taken out of the queue
            asked.workers,
            asked.others_running,
            asked.others_queued,
            find_original(self._job, asked.place),
            (asked.place or "")[:MOST_PLACE_CHARACTERS] if was_moved(self._job, asked.place) else None,
            asked.memory_share,
            asked.declines,
        )

    def _missing(self, asked: Asked, shards: ShardSet) -> int:
        """How many of some waiting shards the ledger lacks."""
        if asked.waiting is None:
            return 0
        return sum(self.log.life(shard) not in asked.waiting for shard in shards)

    def _overdue(self, asked: Asked, gone: ShardSet) -> int:
        """How many waiting shards with rows the ledger has lacked for longer than a producer takes to enter them.

        A look without an answer says nothing about them.
        """
        if asked.away is not None:
            return 0
        now, log, there = time.monotonic(), self.log, asked.waiting
        if there is None or log.ended or log.stopped:
            self._lacked = {}
            return 0
        lacked = (life for shard in self._tally.waiting - gone if (life := log.life(shard)) not in there)
        self._lacked = {life: self._lacked.get(life, now) for life in lacked}
        return sum(now - since >= WAY_SECONDS for since in self._lacked.values())

    def _count_failed(self) -> int:
        """Rows that parts call failed and no retry has brought again; only footers that may name some are read."""
        counted = 0
        for shard in self._tally.kept - self.log.retried.keys():
            if shard not in self._failed:
                try:
                    info = read_outcome(self._job.objects, shard)
                except FileFormatError:
                    continue  # `verify` names it
                self._failed[shard] = len(info.failed) if info else 0
            counted += self._failed[shard]
        return counted

    def _death(self) -> str | None:
        """Why a dead shard was given up, by its record; None where no shard is dead, or the record can't be read."""
        if not self._tally.dead:
            return None
        life = self.log.life(min(self._tally.dead))
        if life not in self._deaths:
            try:
                reason = json.loads(self._job.objects.read(dead_object(life)) or b"")["reason"]
            except (TransientError, ValueError, TypeError, KeyError, RecursionError):
                return None
            self._deaths[life] = printable(str(reason)[:_REASON_CHARACTERS])
        return self._deaths[life]

    def _is_damaged(self) -> bool:
        """Whether the rows of the dead shard that `_death` speaks of are damaged; they are read once."""
        if not self._tally.dead:
            return False
        life = self.log.life(min(self._tally.dead))
        if life not in self._damaged:
            try:
                self._damaged[life] = has_damaged_rows(self._job.objects, life.shard)
            except TransientError:
                return False
        return self._damaged[life]

    def _speed(self, status: JobStatus) -> float | None:
        """Real tokens per second since the oldest look of the last minute; None after one look, or if unattended.

        Neither the time without a broker or a worker counts, nor the tokens that were done then.
        """
        counts = status.finished or not status.unattended
        tokens_done, now = self._counted.see(status.tokens_done, time.monotonic(), counts=counts)
        if not status.finished and not (status.unattended and self._looks):
            self._looks.append((now, tokens_done))
        while len(self._looks) > 2 and now - self._looks[0][0] > SPEED_SECONDS:  # noqa: PLR2004 - both ends of a span
            self._looks.popleft()
        if status.unattended or not self._looks or now - self._looks[0][0] <= 0 or tokens_done <= self._looks[0][1]:
            return None
        return (tokens_done - self._looks[0][1]) / (now - self._looks[0][0])
