"""What a producer at work shows in the broker, with a real server."""

import subprocess
import sys
import textwrap
import threading

import pytest
from support.jobs import job_of
from support.processes import eventually

from producer.enqueue import presence
from producer.enqueue.presence import present
from unrolled.errors import TransientError
from unrolled.patience import Patience
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
    """Signs come again and again for this job alone, and the end removes them."""
    with present(ledger, KEY, Patience(str)):
        eventually(lambda: ledger.fed(KEY) is not None, "the first sign")
        first = ledger.client.hget(ledger.keys.producers, KEY)
        eventually(lambda: ledger.client.hget(ledger.keys.producers, KEY) > first, "a later one")
        assert ledger.fed("f" * 16) is None
    assert ledger.fed(KEY) is None
    assert not ledger.client.exists(ledger.keys.producers)


@pytest.mark.usefixtures("quick")
def test_it_shows_what_is_in_the_way(ledger):
    """The sign contains the producer's trouble for as long as it lasts."""
    patience = Patience(str)
    with present(ledger, KEY, patience):
        eventually(lambda: ledger.fed(KEY) == "", "nothing yet")
        patience.fails("write to /out", TransientError("no space is left"))
        eventually(lambda: ledger.fed(KEY) == "can't write to /out: no space is left", "the trouble")
        patience.works("write to /out")
        eventually(lambda: ledger.fed(KEY) == "", "its end")


@pytest.mark.usefixtures("quick")
def test_it_goes_on_after_a_lack_of_memory(ledger):
    """It misses one sign, and doesn't end."""

    class Poor(Patience):
        looks = 0

        def troubles(self):
            self.looks += 1
            if self.looks == 1:
                raise MemoryError
            return super().troubles()

    with present(ledger, KEY, Poor(str)):
        eventually(lambda: ledger.fed(KEY) == "", "the second sign")


def test_that_of_a_killed_producer_runs_out(ledger, broker):
    """A producer that can't remove its sign is forgotten soon."""
    code = f"""
        import threading
        from producer.enqueue import presence
        from unrolled.job.offer import Offer
        from unrolled.patience import Patience
        from unrolled.queue.broker import Broker

        presence.PAUSE, presence.SECONDS = 0.05, 1.0
        ledger = Broker({broker.url!r}).ledger("test", Offer.parse({str(ledger.offer)!r}))
        with presence.present(ledger, {KEY!r}, Patience(print)):
            threading.Event().wait()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)]) as process:
        try:
            eventually(lambda: ledger.fed(KEY) is not None, "a sign of life", 60)
        finally:
            process.kill()
    eventually(lambda: ledger.fed(KEY) is None, "its end")
    assert not ledger.client.exists(ledger.keys.producers)


@pytest.mark.parametrize("forged", [b"", b"x", b"nan", b"inf", b"1e99", b"-1", b"\xff"])
def test_a_forged_sign_counts_for_nothing(ledger, forged):
    """A sign that isn't a likely time counts as none, and is removed."""
    ledger.client.hset(ledger.keys.producers, KEY, forged)
    assert ledger.fed(KEY) is None
    assert not ledger.client.exists(ledger.keys.producers)


def test_a_broker_that_is_away_is_missed_silently(broker, ledger):
    """The block runs and ends without the broker, and leaves no thread."""
    broker.kill()
    before = threading.active_count()
    with present(ledger, KEY, Patience(str)):
        pass
    assert threading.active_count() <= before + 1
