"""Handing shards to the workers: first into the ledger, then as a message, and never more than the queue may hold."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from celery import Celery
from kombu.entity import Queue

from unrolled.queue.broker import SOCKET_SECONDS, Broker
from unrolled.queue.broker_url import celery_url
from unrolled.queue.entering import enter, enter_waiting
from unrolled.queue.messages import TASK, queue_name, transport_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from unrolled.job.directory import JobDirectory
    from unrolled.job.manifest import Manifest
    from unrolled.job.shard_id import ShardId
    from unrolled.patience import Patience
    from unrolled.queue.member import Member

T = TypeVar("T")

#: Seconds between two looks at a queue that is full.
FULL_PAUSE = 0.1
#: Seconds between two looks whether Redis was restarted, and so may have lost shards.
LOOK_PAUSE = 1.0


class ShardQueue:
    """One job's way into the queue of its model, from the producer's side.

    Args:
        directory: of the job.
        broker: URL of the Redis server.
        namespace: prefix of every key.
        patience: waits for a broker that is away, and says so.
        max_queued_tokens: token ids that may wait or be computed at once, over all jobs of the model; None
            for no limit.

    Raises:
        RequestError: the URL names no Redis server.
    """

    def __init__(
        self,
        directory: JobDirectory,
        broker: str,
        namespace: str,
        patience: Patience,
        max_queued_tokens: int | None = None,
    ) -> None:
        self.broker = Broker(broker)
        self.ledger = self.broker.ledger(namespace, directory.job.fingerprint)
        self._directory = directory
        self._patience = patience
        self._max_queued_tokens = max_queued_tokens
        queue = queue_name(directory.job.fingerprint)
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

    def fill(self, shards: Iterable[tuple[ShardId, int]], known: Manifest | None = None) -> Iterator[int]:
        """Enter what earlier runs left, then each shard as there is room for it, and at the end what Redis lost.

        Blocks without limit while the queue is full or the broker is away. A shard that is dead, or is in the ledger
        already, is left alone.

        Args:
            shards: their ids and token ids; each has its line in the manifest.
            known: the manifest as earlier runs left it; None to read it.

        Yields:
            How many shards were entered: before the first of `shards` is asked for, and for each of them.

        Raises:
            BrokerRefusesError: the broker doesn't let this user in or do this.
            JobError: the job's manifest is damaged.
        """
        ledger, directory = self.ledger, self._directory
        yield self.steadily(partial(enter_waiting, ledger, directory, self.send, known))
        look_at = 0.0
        for shard, tokens in shards:
            self.steadily(self._wait_for_room)
            yield self.steadily(partial(enter, ledger, directory, shard, tokens, self.send))
            if time.monotonic() >= look_at:
                self.steadily(self._enter_lost)
                look_at = time.monotonic() + LOOK_PAUSE
        self.steadily(self._enter_lost)

    def steadily(self, action: Callable[[], T]) -> T:
        """The result of an action that asks the broker, tried again for as long as the broker is away.

        Raises:
            BrokerRefusesError: the broker doesn't let this user in or do this.
        """
        return self.broker.until_done(self._patience, "queue shards", action)

    def close(self) -> None:
        """Close all connections."""
        self._celery.close()
        self.broker.close()

    def _wait_for_room(self) -> None:
        while self._max_queued_tokens is not None and self.ledger.counts().tokens >= self._max_queued_tokens:
            time.sleep(FULL_PAUSE)
            if not self.ledger.knows(self._directory.key):
                return  # the tokens are another job's, or Redis came back empty

    def _enter_lost(self) -> None:
        if self.ledger.knows(self._directory.key):
            return
        if count := enter_waiting(self.ledger, self._directory, self.send):
            self._patience.say(
                f"Redis lost {count:,} waiting shard(s) of {self._directory.path}; they are entered again"
            )
