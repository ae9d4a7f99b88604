"""What a producer at work shows in the broker, with a real server."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from support.jobs import job_of
from support.processes import eventually

from producer.enqueue import presence
from producer.enqueue.presence import present
from unrolled.queue.broker import Broker

KEY = "0123456789abcdef"


@pytest.fixture
def ledger(broker):
    opened = Broker(broker.url)
    yield opened.ledger("test", job_of().offer)
    opened.close()


@pytest.fixture
def quick(monkeypatch):
    """Signs of life that come and run out quickly; the server's clock has whole seconds."""
    monkeypatch.setattr(presence, "PAUSE", 0.05)
    monkeypatch.setattr(presence, "SECONDS", 1.0)


@pytest.mark.usefixtures("quick")
def test_it_shows_while_the_block_runs_and_no_longer(ledger):
    with present(ledger, KEY):
        eventually(lambda: ledger.is_fed(KEY), "the first sign")
        first = ledger.client.hget(ledger.keys.producers, KEY)
        eventually(lambda: ledger.client.hget(ledger.keys.producers, KEY) > first, "a later one")
        assert not ledger.is_fed("f" * 16)
    assert not ledger.is_fed(KEY)
    assert not ledger.client.exists(ledger.keys.producers)


def test_that_of_a_killed_producer_runs_out(ledger, broker):
    code = f"""
        import threading
        from producer.enqueue import presence
        from unrolled.job.offer import Offer
        from unrolled.queue.broker import Broker

        presence.PAUSE, presence.SECONDS = 0.05, 1.0
        ledger = Broker({broker.url!r}).ledger("test", Offer.parse({str(ledger.offer)!r}))
        with presence.present(ledger, {KEY!r}):
            threading.Event().wait()
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    eventually(lambda: ledger.is_fed(KEY), "a sign of life", 60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    eventually(lambda: not ledger.is_fed(KEY), "its end")
    assert not ledger.client.exists(ledger.keys.producers)


@pytest.mark.parametrize("forged", [b"", b"x", b"nan", b"inf", b"1e99", b"-1", b"\xff"])
def test_a_forged_sign_counts_for_nothing(ledger, forged):
    ledger.client.hset(ledger.keys.producers, KEY, forged)
    assert not ledger.is_fed(KEY)
    assert not ledger.client.exists(ledger.keys.producers)


def test_a_broker_that_is_away_is_missed_silently(broker, ledger):
    broker.kill()
    before = threading.active_count()
    with present(ledger, KEY):
        pass
    assert threading.active_count() <= before + 1
