"""Handing shards to the workers: the ledger first, then the message; never more than the queue may hold."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

import kombu.exceptions
import redis
from celery import Celery
from kombu.entity import Queue

from unrolled.errors import TransientError, UnrolledError
from unrolled.queue.broker_errors import advice, refuses
from unrolled.queue.broker_url import celery_url, check_broker_url, client_url, without_secret
from unrolled.queue.entering import enter, enter_waiting
from unrolled.queue.ledger import Ledger
from unrolled.queue.messages import TASK, queue_name, transport_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId
    from unrolled.queue.member import Member

T = TypeVar("T")

#: What a broker that is away, or can't take anything just now, gives.
AWAY = (redis.RedisError, kombu.exceptions.OperationalError, ConnectionError, TimeoutError)
FIRST_PAUSE, LONGEST_PAUSE, FULL_PAUSE = 0.1, 2.0, 0.1
SOCKET_SECONDS = 10.0


class ShardQueue:
    """The queue of one model, from the producer's side.

    Args:
        broker: Redis URL.
        namespace: prefix of every key.
        fingerprint: of the model.
        max_queued_tokens: token ids that may wait or be computed at once, over all jobs of the model; None
            for no bound.
        say: told in one line when the broker or the disk is in the way, and when it goes on.
    """

    def __init__(
        self,
        broker: str,
        namespace: str,
        fingerprint: str,
        max_queued_tokens: int | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._shown = without_secret(check_broker_url(broker))
        self._url = broker
        self._reached = False
        self._max_queued_tokens = max_queued_tokens
        self._say = say or (lambda _: None)
        self._stop = threading.Event()
        self.client = redis.Redis.from_url(
            client_url(broker), socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
        )
        self.ledger = Ledger(self.client, namespace, fingerprint)
        queue = queue_name(fingerprint)
        self._celery = Celery("unrolled-producer", broker=celery_url(broker), set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            task_default_queue=queue,
            task_queues=[Queue(queue)],  # type: ignore[no-untyped-call]  # kombu is half typed
            task_ignore_result=True,
            task_publish_retry=False,  # `steadily` tries again, and says so
            broker_transport_options={
                **transport_options(namespace),
                "socket_timeout": SOCKET_SECONDS,
                "socket_connect_timeout": SOCKET_SECONDS,
            },
        )

    def send(self, member: Member) -> None:
        """Send one shard's message."""
        self._celery.send_task(TASK, member.encode())

    def put(self, directory: JobDirectory, shard: ShardId, tokens: int) -> bool:
        """Enter a spooled shard and send its message, when there is room; False if it is there, or dead.

        Args:
            directory: of the job.
            shard: its id; its manifest line is durable.
            tokens: token ids in it.

        Raises:
            UnrolledError: the broker refuses this user, or the job's manifest is damaged.
        """
        self.steadily(lambda: self._wait_for_room(directory))
        entered = self.steadily(lambda: enter(self.ledger, directory, shard, tokens, self.send))
        self.steadily(lambda: self.mend(directory))
        return entered

    def steadily(self, action: Callable[[], T]) -> T:
        """The action's result, tried again for as long as the broker is away or a disk is full.

        Raises:
            UnrolledError: the broker refuses this user, or the action failed for good.
        """
        pause, since = FIRST_PAUSE, None
        while True:
            try:
                result = action()
            except TransientError as error:
                trouble = str(error)
            except AWAY as error:
                if refuses(error):
                    raise self._refused(error) from error
                hint = "" if self._reached else advice(self._url, error)
                trouble = f"broker {self._shown} is away ({error}{hint and f'; {hint}'})"
            else:
                self._reached = True
                if since is not None:
                    self._say(f"going on after {time.monotonic() - since:.0f} s")
                return result
            if since is None:
                since = time.monotonic()
                self._say(f"{trouble}; trying again until it works")
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def mend(self, directory: JobDirectory) -> int:
        """Enter what waits in the job's directory, if Redis may have lost some; how many were entered."""
        if self.ledger.knows(directory.key):
            return 0
        count = enter_waiting(self.ledger, directory, self.send)
        if count:
            self._say(f"entered {count} shard(s) that waited in {directory.path} and were not in Redis")
        return count

    def enter_waiting(self, directory: JobDirectory) -> int:
        """Enter what waits in the job's directory and isn't in Redis, once; how many shards there were."""
        return self.steadily(lambda: enter_waiting(self.ledger, directory, self.send))

    def close(self) -> None:
        """Close all connections."""
        self._celery.close()
        self.client.close()

    def _refused(self, error: Exception) -> UnrolledError:
        login = "see to --broker, its user and password, and what that user may do"
        return UnrolledError(f"broker {self._shown} refuses: {error}; {advice(self._url, error) or login}")

    def _wait_for_room(self, directory: JobDirectory) -> None:
        while self._max_queued_tokens is not None and self.ledger.counts().tokens >= self._max_queued_tokens:
            self._stop.wait(FULL_PAUSE)
            if not self.ledger.knows(directory.key):
                return  # another job's tokens, or Redis came back empty
