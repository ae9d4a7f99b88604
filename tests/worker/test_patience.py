"""Trying again, and saying so once."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from support.processes import eventually

from unrolled.errors import PayloadError, TransientError
from worker.errors import GivenBackError
from worker.patience import ATTEMPTS, Patience


def failing(times, error=None):
    """An action that fails so often, then gives 42."""
    left = [times]

    def action():
        if left[0]:
            left[0] -= 1
            raise error or TransientError("the disk is full")
        return 42

    return action


@pytest.mark.parametrize(
    "error", [TransientError("x"), redis.ConnectionError("x"), redis.ResponseError("OOM"), TimeoutError()]
)
def test_what_passes_is_tried_until_it_works(caplog, error):
    """The result comes, with one line for the trouble and one for its end."""
    assert Patience().until_done("publish to /out", failing(2, error)) == 42
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("can't publish to /out: ")
    assert last.startswith("can publish to /out again, after ")


def test_what_works_says_nothing(caplog):
    """No trouble, no line."""
    assert Patience().until_done("x", failing(0)) == 42
    assert caplog.records == []


@pytest.mark.parametrize("error", [PayloadError("x"), ZeroDivisionError("x"), OSError("x")])
def test_what_does_not_pass_goes_through(error):
    """Only the world's troubles are waited for."""
    with pytest.raises(type(error)):
        Patience().until_done("x", failing(1, error))


def test_stopping_ends_the_waiting():
    """Everybody who waits gets GivenBackError; what works is still done after it."""
    patience = Patience()
    started = threading.Semaphore(0)

    def action():
        started.release()
        raise TransientError("never")

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(patience.until_done, "x", action) for _ in range(4)]
        for _ in waiting:
            started.acquire()
        patience.stop()
        for future in waiting:
            assert isinstance(future.exception(10), GivenBackError)
    assert patience.stopped
    assert patience.until_done("x", failing(0)) == 42
    with pytest.raises(GivenBackError):
        patience.until_done("x", failing(1))


def test_one_trouble_is_one_line_however_many_meet_it(caplog):
    """Eight threads meet a full disk; another, for which it isn't too full, doesn't say that it is well again."""
    patience = Patience()
    full = threading.Event()

    def publish():
        if not full.is_set():
            raise TransientError("full")

    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(patience.until_done, "publish", publish) for _ in range(8)]
        eventually(lambda: caplog.records, "the line")
        patience.until_done("publish", failing(0))
        assert len(caplog.records) == 1
        full.set()
        for future in waiting:
            future.result(20)
    assert len(caplog.records) == 2


def test_giving_back_is_no_trouble(caplog):
    """An action that says the worker stops is not tried again."""
    with pytest.raises(GivenBackError):
        Patience().until_done("x", failing(1, GivenBackError()))
    assert caplog.records == []


@pytest.mark.parametrize("error", [MemoryError(), TransientError("x")])
def test_what_may_pass_is_tried_a_few_times(caplog, error):
    """Then the last failure goes through; the pauses are bounded too."""
    assert Patience().a_few_times("compute x", failing(ATTEMPTS - 1, error)) == 42
    assert len(caplog.records) == ATTEMPTS - 1
    with pytest.raises(type(error)):
        Patience().a_few_times("compute x", failing(ATTEMPTS, error))


@pytest.mark.parametrize("error", [PayloadError("x"), ZeroDivisionError("x"), GivenBackError()])
def test_what_will_not_pass_goes_through_at_once(caplog, error):
    """It is tried once."""
    with pytest.raises(type(error)):
        Patience().a_few_times("x", failing(1, error))
    assert caplog.records == []


def test_stopping_ends_the_few_attempts():
    """What still fails then is given back."""
    patience = Patience()
    patience.stop()
    with pytest.raises(GivenBackError):
        patience.a_few_times("x", failing(1, MemoryError()))
