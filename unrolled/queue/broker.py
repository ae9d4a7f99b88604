"""A broker: a client with time-outs, and errors that say what to do.

This is the only module of `unrolled` that imports redis and kombu, and readers of a job's files don't import it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

import kombu.exceptions
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from unrolled.errors import BrokerAwayError, BrokerDeclinesError, BrokerRefusesError
from unrolled.queue.broker_errors import advice, declines, is_forbidden, refusal, refuses
from unrolled.queue.broker_url import check_broker_url, client_url, without_secret
from unrolled.queue.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.job.offer import Offer
    from unrolled.patience import Patience

T = TypeVar("T")

#: Errors from a broker that is away or can't accept anything now: Redis is also loading its data, out of memory or disk
#: space, or read-only for a while.
AWAY = (redis.RedisError, kombu.exceptions.OperationalError, ConnectionError, TimeoutError)
#: Seconds that a connection, or an answer, may take.
SOCKET_SECONDS = 10.0
#: How long a connection may take where an answer may take longer.
CONNECT_SECONDS = 5.0


#: What helps if something else has written to a key: all that a broker knows can be entered again.
MEND_KEY = "delete that key, which `unrolled doctor` may name; `unrolled wait` of each job then queues its shards again"


class Broker:
    """A Redis server as one process reaches it; nothing is connected before the first question.

    Args:
        url: the server's URL.
        socket_seconds: how long a connection, or an answer, may take.

    Attributes:
        shown: the URL without a secret.
        client: redis-py's client, which returns bytes.

    Raises:
        RequestError: the URL doesn't name a Redis server.
    """

    def __init__(self, url: str, socket_seconds: float = SOCKET_SECONDS) -> None:
        self._url = url = check_broker_url(url)
        self._answered = False
        self.shown = without_secret(url)
        self.client = redis.Redis.from_url(
            client_url(url),
            socket_timeout=socket_seconds,
            socket_connect_timeout=min(socket_seconds, CONNECT_SECONDS),
            # `Patience` tries again, and says why; a connection that the server closed while idle is made again anyway.
            retry=Retry(NoBackoff(), 0),
        )

    def ledger(self, namespace: str, offer: Offer, lease_seconds: float = 30.0) -> Ledger:
        """The ledger of one offer on this server."""
        return Ledger(self.client, namespace, offer, lease_seconds)

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Explain the errors of a block that asks the server.

        Raises:
            BrokerAwayError: the server doesn't answer, or can't accept anything now.
            BrokerRefusesError: the server rejects this user or this action, or isn't trusted; trying again is useless.
        """
        try:
            yield
        except AWAY as error:
            if refuses(error):
                meaning, remedy = refusal(self._url, error)
                raise BrokerRefusesError(f"broker {self.shown} refuses: {meaning}", remedy) from error
            if "'maxmemory'" in str(error):
                full = f"broker {self.shown} is full: it uses as much memory as it may"
                raise BrokerDeclinesError(full, "raise its maxmemory") from error
            if declined := declines(error):
                meaning, remedy = declined
                raise BrokerDeclinesError(f"broker {self.shown} {meaning}", remedy) from error
            if "WRONGTYPE" in str(error):
                wrong = f"broker {self.shown} has a key of another kind than Unrolled's ({error})"
                raise BrokerDeclinesError(wrong, MEND_KEY) from error
            # A server that has answered speaks the protocol of the URL.
            way = "" if self._answered else advice(self._url, error) or "start it, or correct --broker"
            raise BrokerAwayError(f"broker {self.shown} is away ({error})", way) from error
        self._answered = True

    def until_done(self, patience: Patience, what: str, action: Callable[[], T]) -> T:
        """Run an action that asks the server, again and again while the server is away.

        A server that has let this user in, and doesn't any more, is away, too: it may have been started again with an
        old list of users, and a stream's rows come once.

        Args:
            patience: waits, and says so.
            what: names the action.
            action: must be safe to run again.

        Raises:
            BrokerRefusesError: the server never let this user in, or doesn't let it do this.
        """

        def attempt() -> T:
            try:
                with self.asked():
                    return action()
            except BrokerRefusesError as error:
                if self._answered and not is_forbidden(error):
                    raise BrokerDeclinesError(error.found, error.advice) from error
                raise

        return patience.until_done(what, attempt)

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
