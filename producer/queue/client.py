"""Connections to a job's broker."""

from __future__ import annotations

import redis

from unrolled.errors import UnrolledError
from unrolled.queue.broker_errors import advice
from unrolled.queue.broker_url import check_broker_url, client_url, without_secret
from unrolled.queue.ledger import Ledger

SOCKET_SECONDS = 10.0


def open_ledger(broker: str, namespace: str, fingerprint: str) -> Ledger:
    """The ledger of one model, ready to be asked; nothing is connected yet."""
    client = redis.Redis.from_url(
        client_url(check_broker_url(broker)),
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
    )
    return Ledger(client, namespace, fingerprint)


def refused(broker: str, error: Exception) -> UnrolledError:
    """The error for a broker that answers, but doesn't let this user in."""
    way = advice(broker, error) or "see to the user and password in --broker"
    return UnrolledError(f"broker {without_secret(broker)} refuses: {error}; {way}")
