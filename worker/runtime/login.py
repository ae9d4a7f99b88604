"""A worker's login at its broker, which is checked once the broker answers: it may be started after the worker."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from unrolled.queue.broker import SOCKET_SECONDS
from unrolled.queue.messages import control_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.queue.broker import Broker


class Login:
    """Whether the broker lets this worker do what a worker must.

    Args:
        broker: which one, with the login in its URL.
        namespace: prefix of every key.

    Attributes:
        accepted: whether it did, once. A broker that refuses the login later may have an old list of users, so that is
            waited for.
    """

    def __init__(self, broker: Broker, namespace: str) -> None:
        self._broker = broker
        self._namespace = namespace
        self.accepted = False

    def check(self) -> None:
        """Check that the broker accepts this user and lets it receive messages, which a producer's user may not do.

        Raises:
            BrokerAwayError: it doesn't answer, or can't accept anything now.
            BrokerRefusesError: it doesn't let this user in, or doesn't let it receive messages.
        """
        with self._broker.asked():
            client = self._broker.client
            client.rpop(f"{self._namespace}:nothing")
            database = client.get_connection_kwargs().get("db") or 0
            with client.pubsub() as subscriber:  # type: ignore[no-untyped-call]  # redis-py is untyped here
                subscriber.psubscribe(control_channel(self._namespace, database))
                subscriber.get_message(timeout=SOCKET_SECONDS)
        self.accepted = True

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Explain the errors of a block that asks the broker, once it has accepted the login.

        Raises:
            BrokerAwayError, BrokerRefusesError: as `check`.
        """
        if not self.accepted:
            self.check()
        with self._broker.asked():
            yield
