"""Handing shards to the workers: first into the ledger, then as a message, and never more than the queue may hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from celery import Celery
from kombu.entity import Queue

from unrolled.errors import BrokerAwayError
from unrolled.queue.broker import SOCKET_SECONDS, Broker
from unrolled.queue.broker_url import celery_url
from unrolled.queue.entering import enter, enter_waiting
from unrolled.queue.messages import TASK, queue_name, transport_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId
    from unrolled.patience import Patience
    from unrolled.queue.member import Member

T = TypeVar("T")

#: Seconds between two looks at a queue that is full.
FULL_PAUSE = 0.1
#: Seconds between two looks whether Redis was restarted, and so may have lost shards.
LOOK_PAUSE = 1.0


class ShardQueue:
    """The queue of one model, from the producer's side.

    Every method that asks the broker waits for it without limit while it is away.

    Args:
        broker: URL of the Redis server.
        namespace: prefix of every key.
        fingerprint: of the model.
        patience: waits for a broker that is away, and says so.
        max_queued_tokens: token ids that may wait or be computed at once, over all jobs of the model; None
            for no limit.

    Raises:
        RequestError: the URL names no Redis server.
    """

    def __init__(
        self,
        broker: str,
        namespace: str,
        fingerprint: str,
        patience: Patience,
        max_queued_tokens: int | None = None,
    ) -> None:
        self.broker = Broker(broker)
        self.ledger = self.broker.ledger(namespace, fingerprint)
        self._patience = patience
        self._max_queued_tokens = max_queued_tokens
        self._look_at = 0.0
        queue = queue_name(fingerprint)
        self._celery = Celery("unrolled-producer", broker=celery_url(broker), set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            task_default_queue=queue,
            task_queues=[Queue(queue)],  # type: ignore[no-untyped-call]  # kombu is half typed
            task_ignore_result=True,
            task_publish_retry=False,  # Patience tries again, and says so
            broker_transport_options={
                **transport_options(namespace),
                "socket_timeout": SOCKET_SECONDS,
                "socket_connect_timeout": SOCKET_SECONDS,
            },
        )

    def send(self, member: Member) -> None:
        """Send one shard's message, once.

        Raises:
            Exception: one of `unrolled.queue.broker.AWAY`.
        """
        self._celery.send_task(TASK, member.encode())

    def put(self, directory: JobDirectory, shard: ShardId, tokens: int) -> bool:
        """Enter a spooled shard and send its message. Blocks without limit while the queue is full.

        Args:
            directory: of the job.
            shard: its id; its manifest line is durable.
            tokens: token ids in it.

        Returns:
            False where nothing was done: the shard is in the ledger already, is dead, or its job was cancelled.

        Raises:
            BrokerRefusesError: the broker doesn't let this user in or do this.
            JobError: the job's manifest is damaged.
        """
        self.steadily(lambda: self._wait_for_room(directory))
        entered = self.steadily(lambda: enter(self.ledger, directory, shard, tokens, self.send))
        if time.monotonic() >= self._look_at:
            self.mend(directory)
        return entered

    def mend(self, directory: JobDirectory) -> None:
        """Enter again what Redis lost of a job, if it was restarted since all of the job was entered.

        Raises:
            BrokerRefusesError: the broker doesn't let this user in or do this.
            JobError: the job's manifest is damaged.
        """
        if not self.steadily(lambda: self.ledger.knows(directory.key)) and (count := self.enter_waiting(directory)):
            self._patience.say(f"Redis lost {count:,} waiting shard(s) of {directory.path}; they are entered again")
        self._look_at = time.monotonic() + LOOK_PAUSE

    def enter_waiting(self, directory: JobDirectory) -> int:
        """Enter what waits in the job's directory and isn't in Redis.

        Returns:
            How many shards were entered.

        Raises:
            BrokerRefusesError: the broker doesn't let this user in or do this.
            JobError: the job's manifest is damaged.
        """
        return self.steadily(lambda: enter_waiting(self.ledger, directory, self.send))

    def steadily(self, action: Callable[[], T]) -> T:
        """The result of an action that asks the broker, tried again for as long as the broker is away.

        Raises:
            BrokerRefusesError: the broker doesn't let this user in or do this.
        """
        return self._patience.until_done("queue shards", lambda: self._ask(action))

    def close(self) -> None:
        """Close all connections."""
        self._celery.close()
        self.broker.close()

    def _ask(self, action: Callable[[], T]) -> T:
        try:
            with self.broker.asked():
                return action()
        except BrokerAwayError:
            self._look_at = 0.0  # it may come back without what it knew
            raise

    def _wait_for_room(self, directory: JobDirectory) -> None:
        while self._max_queued_tokens is not None and self.ledger.counts().tokens >= self._max_queued_tokens:
            time.sleep(FULL_PAUSE)
            if not self.ledger.knows(directory.key):
                return  # the tokens are another job's, or Redis came back empty
