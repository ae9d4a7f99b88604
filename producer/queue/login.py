"""The first question to a broker, before a directory is spent on a job: whether it lets this user in."""

from __future__ import annotations

from contextlib import closing, suppress

import redis

from unrolled.errors import BrokerAwayError, BrokerRefusesError
from unrolled.queue.broker import CONNECT_SECONDS, Broker


def refuse_login(url: str) -> None:
    """Refuse a broker that doesn't let this user in; one that is away is waited for later.

    What the user may do there isn't asked: each command of the job says what it lacks.

    Args:
        url: of the Redis server.

    Raises:
        BrokerRefusesError: the password or the user is wrong or missing.
        RequestError: the URL doesn't name a Redis server.
    """
    with closing(Broker(url, CONNECT_SECONDS)) as broker, suppress(BrokerAwayError):
        try:
            with broker.asked():
                broker.client.ping()
        except BrokerRefusesError as error:
            if not isinstance(error.__cause__, redis.exceptions.NoPermissionError):
                raise
