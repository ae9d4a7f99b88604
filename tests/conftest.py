"""Fixtures that more than one test file needs: a real server, never a stand-in."""

from collections.abc import Iterator

import pytest

from producer.broker import EmbeddedBroker


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A server of the test's own, empty, on a private socket."""
    with EmbeddedBroker() as server:
        yield server


@pytest.fixture
def broker_url(broker: EmbeddedBroker) -> str:
    """The address of the test's own server, as Celery takes it."""
    return broker.url
