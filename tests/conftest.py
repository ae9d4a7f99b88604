"""Fixtures that more than one test file needs: a real server, never a stand-in."""

import signal
from collections.abc import Iterator

import pytest

from producer.local.broker import EmbeddedBroker

# A shell has its background jobs ignore Ctrl-C, and their children inherit that; here it must mean what it means.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A server of the test's own, empty, on a private socket."""
    with EmbeddedBroker() as server:
        yield server


@pytest.fixture
def broker_url(broker: EmbeddedBroker) -> str:
    """The address of the test's own server, as Celery takes it."""
    return broker.url
