"""Queueing shards for the workers, in the ledger and then as a message, up to the limit of the queue."""

# Over 150 lines: the queue of an offer, and one job's view of it.

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from celery import Celery
from kombu.entity import Queue

from producer.queue.copies import explain_copy, find_original, is_finished_elsewhere, was_moved
from producer.queue.obstacles import no_worker, obstacles, other_offer
from producer.queue.queue_status import QueueStatus, ask
from unrolled.errors import JobError, UnrolledError, counted, printable
from unrolled.job.offer import Offer
from unrolled.protocol.log import Log
from unrolled.protocol.restored import replace_longer
from unrolled.queue.broker import Broker
from unrolled.queue.broker_url import celery_url
from unrolled.queue.job_ledger import JobLedger
from unrolled.queue.member import Member
from unrolled.queue.messages import TASK, queue_name, transport_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from producer.queue.worker_status import WorkerStatus
    from unrolled.job.names import Life
    from unrolled.patience import Patience
    from unrolled.protocol.opening import OpenJob

T = TypeVar("T")

#: Seconds between two looks at a full queue, and until the reason why it stays full is printed.
FULL_PAUSE, FULL_PATIENCE = 0.1, 10.0
#: Seconds between two counts of the workers.
WORKERS_PAUSE = 5.0
#: Without a limit from the user: token ids that may always wait, or shards for each worker thread if that is more.
FEW_TOKENS, SHARDS_PER_THREAD = 20_000_000, 3
#: A worker that reports more threads than this isn't believed.
MOST_THREADS = 1024
#: Seconds that a connection, or an answer, may take: a supervisor that ends a stream often waits for ten.
_SOCKET_SECONDS = 5.0
#: Seconds between two segments of a job's log; the first segment is written at once.
SEGMENT_SECONDS = 1.0
_SHORTENED = (
    "Redis has heard of more files of this job's log than can be seen, as after the directory was restored from an "
    "older copy: the shards that wait are queued again"
)


class StoppedWaitingError(UnrolledError):
    """The broker can't be asked, and the user has stopped a live input: waiting for the broker would have no end."""


class ShardQueue:
    """The queue of one offer, as the producer sees it.

    While the broker is away, every method that asks it waits without limit.

    Args:
        broker: URL of the Redis server.
        namespace: prefix of every key.
        offer: the offer.
        patience: waits for a broker that is away, and says so.
        max_queued_tokens: token ids that may wait or be computed at once, over all jobs of the offer; None for what
            keeps the workers that are alive busy. A job beside others may queue some shards all the same.
        on_wait: called again and again during each wait for room, with the seconds that it took since.
        starts_workers: whether the user's command starts workers itself, so that none has to be asked for.

    Raises:
        RequestError: the URL doesn't name a Redis server.
    """

    def __init__(
        self,
        broker: str,
        namespace: str,
        offer: Offer,
        patience: Patience,
        max_queued_tokens: int | None = None,
        on_wait: Callable[[float], None] = lambda _: None,
        *,
        starts_workers: bool = False,
    ) -> None:
        self.broker = Broker(broker, _SOCKET_SECONDS)
        self.ledger = self.broker.ledger(namespace, offer)
        self.say = patience.say
        self.on_wait = on_wait
        self.starts_workers = starts_workers
        self._patience = patience
        self._max_queued_tokens = max_queued_tokens
        self._threads, self._count_at = 0, 0.0
        self._said_other = False
        queue = queue_name(offer)
        self._celery = Celery("unrolled-producer", broker=celery_url(broker), set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            task_default_queue=queue,
            task_queues=[Queue(queue)],  # type: ignore[no-untyped-call]  # kombu is half typed
            task_ignore_result=True,
            task_publish_retry=False,  # Patience tries again, and says so
            broker_transport_options={
                **transport_options(namespace),
                "socket_timeout": _SOCKET_SECONDS,
                "socket_connect_timeout": _SOCKET_SECONDS,
            },
        )

    def send(self, member: Member) -> None:
        """Send one shard's message, once.

        Raises:
            Exception: one of `unrolled.queue.broker.AWAY`.
        """
        self._celery.send_task(TASK, member.encode())

    def of_job(self, job: OpenJob, priority: int | None = None) -> JobQueue:
        """The queue as one job sees it; for the priority see `Ledger.enter`."""
        return JobQueue(self, job, priority)

    def steadily(self, what: str, action: Callable[[], T]) -> T:
        """Run an action that asks the broker, again and again while the broker is away.

        Args:
            what: names it, for people.
            action: must be safe to run again.

        Raises:
            BrokerRefusesError: the broker doesn't let this user in or do this.
        """
        return self.broker.until_done(self._patience, what, action)

    def room(self) -> int:
        """The number of token ids for which there is room now; below 1 if there is none."""
        counts = self.ledger.counts()
        if self._max_queued_tokens is not None:
            return self._max_queued_tokens - counts.tokens
        mean = counts.tokens // max(1, counts.shards)
        return max(FEW_TOKENS, SHARDS_PER_THREAD * self.threads() * mean) - counts.tokens

    def threads(self, *, now: bool = False) -> int:
        """The number of threads of the offer's living workers.

        If only workers that compute the model otherwise are alive for a while, it is said: the shards wait in vain.

        Args:
            now: count them now, and not only now and then.
        """
        if now or time.monotonic() >= self._count_at:
            workers, offer = self.ledger.workers().values(), self.ledger.offer
            alive = [facts for facts in workers if facts["offer"] == str(offer)]
            counts = [facts.get("concurrency") for facts in alive]
            self._threads = sum(count for count in counts if isinstance(count, int) and 0 < count <= MOST_THREADS)
            if self._count_at and not alive and not self._said_other:  # at the end, `JobQueue.obstacles` says it anyway
                offers = [Offer.parse(str(facts["offer"])) for facts in workers]
                self._said_other = other_offer(offer, offers) is not None
                if self._said_other:
                    self.say(no_worker(offer, offers))
            self._count_at = time.monotonic() + WORKERS_PAUSE
        return self._threads

    def close(self) -> None:
        """Close all connections."""
        self._celery.close()
        self.broker.close()


class JobQueue(JobLedger):
    """The queue as one job's producer sees it; see `producer.enqueue.runs.QueueLedger`.

    Args:
        queue: the queue of the job's offer.
        job: the job.
        priority: see `Ledger.enter`.
    """

    def __init__(self, queue: ShardQueue, job: OpenJob, priority: int | None = None) -> None:
        super().__init__(queue.ledger, job.key, job.address, queue.send, queue.steadily, priority)
        self._queue = queue
        self._job = job
        self._segment_at = 0.0
        self._pending_tokens = self._pending_shards = 0  # of shards that are about to be entered
        self._again: list[Life] = []  # entered again, because their rows were lost
        self._moved_from = ""

    def enter(self, expected: int | None, lives: Sequence[tuple[Life, int]], becomes: int) -> bool:
        """See `JobLedger`."""
        entered = super().enter(expected, lives, becomes)
        if entered and becomes == expected:  # no segment's lives, so `enter_again`'s
            self._again += [life for life, _ in lives]
        return entered

    def wake(self) -> int:
        """Let workers have the shards that were entered again at once, now that their rows are back.

        A worker that looked before has put them off for a lease.

        Returns:
            The number of these shards.
        """
        for life in self._again:
            member = Member(self._job_key, life)
            if self._asking(lambda member=member: self._ledger.give_back(member, "", "none")):  # type: ignore[misc]
                self._asking(lambda member=member: self._queue.send(member))  # type: ignore[misc]
        return len(self._again)

    def refuse_copy(self, otherwise: str | None = None) -> None:
        """Refuse a job that workers compute in another place, which exists.

        Nothing would be computed in this one, and a decision that is made here would change the queue of the other.

        Args:
            otherwise: as `explain_copy` takes it.

        Raises:
            JobError: the job's directory is a copy.
        """
        if original := find_original(self._job, self._registered()):
            raise JobError(f"{self._job.place}: {printable(explain_copy(original, otherwise))}")

    def claim_place(self) -> None:
        """Tell workers where a job is that was moved; whatever else is entered would tell them too.

        What the broker knows of a longer log, as before the directory was restored from an older copy, is replaced.

        Raises:
            JobError: the job's directory is a copy of one that isn't finished; or its log is damaged.
        """
        self.refuse_copy()
        if is_finished_elsewhere(self._job, self._registered()):
            self.cancel()  # what the broker knows is what was done there
        if replace_longer(Log(), self._job.objects, self):
            self.say(_SHORTENED)
        mark = self.mark()
        place = self._registered()
        if mark is not None and place is not None and was_moved(self._job, place):
            self._moved_from = place
            self.enter(mark, (), mark)

    def leave(self) -> None:
        """Take out what the broker still knows of a job whose mark it has lost; else nothing would, once it is stopped.

        Of a copy that has taken over, nothing is taken out.
        """
        if self.mark() is None and self._registered() == self._job.address:
            self.cancel()

    def _registered(self) -> str | None:
        return self._asking(lambda: self._ledger.place_of(self._job_key))

    def _asking(self, action: Callable[[], T]) -> T:
        return self._queue.steadily("reach the broker", action)

    def say(self, line: str) -> None:
        """Tell the user something."""
        self._queue.say(line)

    def wait_for_room(self, tokens: int) -> None:
        """Wait until the queue has room for a shard with this many token ids; see `while_full`."""
        for _ in self.while_full():
            pass
        self._pending_tokens += tokens
        self._pending_shards += 1

    def while_full(self) -> Iterator[None]:
        """Yield, with pauses, for as long as the queue has no room for more token ids.

        If that is long, it is said why, and again when the workers have gone or come since.

        A job of which nothing is in the queue doesn't wait, so that other jobs can't keep it from its turn. Nor does
        one beside others of which little is there, so that its priority, and not its room, decides its turns.
        Nothing waits after a stop if the broker can't be asked: rows that were read, and not yet cut, still have to be
        kept.
        """
        began = waited = time.monotonic()
        with suppress(StoppedWaitingError):
            for _ in self._while_there_is_no_room(began):
                yield
                now = time.monotonic()
                self._queue.on_wait(now - waited)
                waited = now
        self._queue.on_wait(time.monotonic() - waited)

    def _while_there_is_no_room(self, began: float) -> Iterator[None]:
        said: bool | None = None  # whether no worker was alive when it was said why
        while not self._asking(self._has_room):
            has_none = self._asking(self._has_no_worker)
            is_long = time.monotonic() - began >= FULL_PATIENCE
            if (is_long or has_none) if said is None else has_none != said:
                self._queue.say(self._asking(self._why_full))
                said = self._asking(self._has_no_worker)  # for the line, they were counted again
            yield
            time.sleep(FULL_PAUSE)

    def obstacles(self) -> list[str]:
        """Why the job's shards wait now, as far as the broker knows; empty where none waits, or the broker is away.

        For a run at its end: what workers couldn't see before, it has made again.
        """
        with suppress(UnrolledError), self._queue.broker.asked():
            asked = ask(self._queue.ledger, self._job_key)
            running = len(asked.running)
            if asked.left:
                others = asked.others_running, asked.others_queued
                workers = tuple(map(self._without_old_place, asked.workers))
                queued, share, declines = asked.left - running, asked.memory_share, asked.declines
                status = QueueStatus(running, queued, 0, workers, *others, memory_share=share, declines=declines)
                found = obstacles(self._queue.ledger.offer, self._job_key, status)
                return [line for kind, line in found.items() if kind != "unseen"]
        return []

    def _without_old_place(self, worker: WorkerStatus) -> WorkerStatus:
        """A worker without what it has said of the place where the job isn't any more."""
        if not self._moved_from:
            return worker
        old = re.compile(rf"{re.escape(self._moved_from)}(?![\w.-])")  # the new place may begin with the old one's path
        return replace(worker, troubles=tuple(one for one in worker.troubles if not old.search(one[1])))

    def is_time(self) -> bool:
        """Whether the last segment is old enough for the next one."""
        now = time.monotonic()
        due = now >= self._segment_at
        if due:
            self._segment_at = now + SEGMENT_SECONDS
            self._pending_tokens = self._pending_shards = 0
        return due

    def _has_room(self) -> bool:
        room = self._queue.room()
        if room >= 1:
            if self._pending_tokens >= room:
                self._segment_at = 0.0  # they are entered before the next look, and counted then
            return True
        left = self._ledger.known([self._job_key])[0].left
        own, has_others = left + self._pending_shards, self._queue.ledger.counts().shards > left
        most = SHARDS_PER_THREAD * self._queue.threads() if has_others else 1
        has_turn = left < max(1, most)
        if has_turn and own + 1 >= most:
            self._segment_at = 0.0  # the shard is entered before there is room for another
        return has_turn

    def _has_no_worker(self) -> bool:
        """Whether no worker is alive, and a person has to start one."""
        queue = self._queue
        return not (queue.starts_workers or queue.threads() or queue.threads(now=True))

    def _why_full(self) -> str:
        counts, offer = self._queue.ledger.counts(), self._queue.ledger.offer
        full = (
            f"the queue is full: {counted(counts.shards, 'shard')} of {counted(counts.tokens, 'token id')} "
            f"{'waits or runs' if counts.shards == 1 else 'wait or run'}"
        )
        if self._queue.threads(now=True):
            return f"{full}; going on as soon as workers have made room"
        if self._queue.starts_workers:
            return f"{full}; going on as soon as the workers of this run have started"
        return f"{full}, and no worker offers {offer.describe()}; start one, or make room with `unrolled cancel`"
