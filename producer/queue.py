"""Handing shards to the workers: the ledger first, then the message; never more than the queue may hold."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

import kombu.exceptions
import redis
from celery import Celery
from kombu import Queue

from unrolled.connection import check_broker_url, client_url, without_secret
from unrolled.ledger import Ledger
from unrolled.messages import TASK, member_of, queue_name, transport_options
from unrolled.restoring import enter_waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.job import JobDirectory

T = TypeVar("T")

#: What a broker that is away, or can't take anything just now, gives.
AWAY = (redis.RedisError, kombu.exceptions.OperationalError, ConnectionError, TimeoutError)
#: Redis answers these at once; waiting wouldn't help.
_REFUSED = (redis.AuthenticationError, redis.exceptions.NoPermissionError)
FIRST_PAUSE, LONGEST_PAUSE, FULL_PAUSE = 0.1, 2.0, 0.1
SOCKET_SECONDS = 10.0


class ShardQueue:
    """The queue of one model, from the producer's side.

    Args:
        broker: Redis URL.
        namespace: prefix of every key.
        fingerprint: of the model.
        max_queued_tokens: token ids that may wait or be computed at once, over all jobs of the model; None for no bound.
        say: told in one line when the broker goes away and comes back.
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
        self._max_queued_tokens = max_queued_tokens
        self._say = say or (lambda _: None)
        self._stop = threading.Event()
        self.client = redis.Redis.from_url(
            client_url(broker), socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
        )
        self.ledger = Ledger(self.client, namespace, fingerprint)
        queue = queue_name(fingerprint)
        self._celery = Celery("unrolled-producer", broker=broker, set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            task_default_queue=queue,
            task_queues=[Queue(queue)],
            task_ignore_result=True,
            task_publish_retry=False,  # `steadily` tries again, and says so
            broker_transport_options={
                **transport_options(namespace),
                "socket_timeout": SOCKET_SECONDS,
                "socket_connect_timeout": SOCKET_SECONDS,
            },
        )

    def send(self, job_key: str, shard: str) -> None:
        """Send one shard's message."""
        self._celery.send_task(TASK, [job_key, shard])

    def put(self, directory: JobDirectory, shard: str, tokens: int) -> None:
        """Enter a spooled shard and send its message, when there is room; nothing happens to one that is there.

        Args:
            directory: of the job.
            shard: its id.
            tokens: token ids in it.
        """
        self.steadily(lambda: self._wait_for_room(directory))
        self.steadily(lambda: self._enter(directory, shard, tokens))

    def steadily(self, action: Callable[[], T]) -> T:
        """The action's result, tried again for as long as the broker is away.

        Raises:
            redis.AuthenticationError, redis.exceptions.NoPermissionError: the login is refused.
        """
        pause, since = FIRST_PAUSE, None
        while True:
            try:
                result = action()
            except _REFUSED:
                raise
            except AWAY as error:
                if since is None:
                    since = time.monotonic()
                    self._say(f"broker {self._shown} is away ({error}); trying again until it is back")
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if since is not None:
                    self._say(f"broker {self._shown} is back after {time.monotonic() - since:.0f} s")
                return result

    def mend(self, directory: JobDirectory) -> int:
        """Enter what waits in the job's directory if Redis lost the job; how many shards were entered."""
        if self.ledger.knows(directory.key):
            return 0
        count = enter_waiting(self.ledger, directory, self.send)
        if count:
            self._say(f"Redis lost this job; entered its {count} waiting shard(s) again")
        return count

    def close(self) -> None:
        """Close all connections."""
        self._celery.close()
        self.client.close()

    def _enter(self, directory: JobDirectory, shard: str, tokens: int) -> None:
        entered = self.ledger.submit(member_of(directory.key, shard), tokens, directory.key, str(directory.path))
        if entered:
            self.send(directory.key, shard)

    def _wait_for_room(self, directory: JobDirectory) -> None:
        while self._max_queued_tokens is not None and self.ledger.counts().tokens >= self._max_queued_tokens:
            self._stop.wait(FULL_PAUSE)
            if not self.ledger.knows(directory.key):
                return  # another job's tokens, or Redis came back empty
