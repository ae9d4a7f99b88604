"""Trying again, and saying so once."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.processes import eventually

from unrolled.errors import BrokerAwayError, PayloadError, TransientError
from unrolled.patience import ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE, Patience, pauses


class StopError(TransientError):
    """What a stopped process raises; as in the worker, it is transient by descent."""


@pytest.fixture
def said():
    return []


@pytest.fixture
def patience(said, monkeypatch):
    """It waits as little as can be measured."""
    monkeypatch.setattr("unrolled.patience.FIRST_PAUSE", 0.01)
    return Patience(said.append, (TransientError, ConnectionError), StopError)


def failing(times, error=None):
    """An action that fails this many times, then gives 42."""
    left = [times]

    def action():
        if left[0]:
            left[0] -= 1
            raise error or TransientError("the disk is full")
        return 42

    return action


def test_pauses_double_up_to_the_longest():
    """The first new try is soon, and the last ones keep nothing busy."""
    found = list(itertools.islice(pauses(), 8))
    assert found[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert found[-2:] == [LONGEST_PAUSE, LONGEST_PAUSE]


@pytest.mark.parametrize("error", [TransientError("x"), BrokerAwayError("x"), ConnectionError("x")])
def test_what_passes_is_tried_until_it_works(patience, said, error):
    """The result is returned, with one line for the trouble and one for its end."""
    assert patience.until_done("publish to /out", failing(2, error)) == 42
    assert said == ["can't publish to /out: x; trying again until it works", "can publish to /out again, after 0 s"]


@pytest.mark.parametrize("error", [None, TransientError("timed out")])
def test_an_action_that_gives_no_answer_is_named(said, monkeypatch, error):
    """Once, before its own client gives up, and once when it works again; an action that answers isn't named."""
    monkeypatch.setattr("unrolled.patience.FIRST_PAUSE", 0.01)
    patience = Patience(said.append, quiet_seconds=0.05)
    answers = threading.Event()
    fails = failing(1 if error else 0, error)

    def action():
        answers.wait(60)
        return fails()

    with ThreadPoolExecutor() as threads:
        slow = threads.submit(patience.until_done, "look at s3://a/b", action)
        eventually(lambda: said, "a line about the silence")
        assert patience.until_done("reach the broker", lambda: 1) == 1
        assert patience.troubles() == [(None, "can't look at s3://a/b: not done within 0.05 s")]
        answers.set()
        assert slow.result() == 42
    assert said[0] == "can't look at s3://a/b: not done within 0.05 s; waiting for it"
    reason = [f"can't look at s3://a/b: {error}; trying again until it works"] * bool(error)
    assert [line.split(",")[0] for line in said[1:]] == [*reason, "can look at s3://a/b again"]
    assert patience.troubles() == []


def test_what_fails_now_can_be_asked_for(patience):
    """Each trouble with its latest reason, until it is over."""
    patience.fails("publish", "the disk is full", about="a")
    patience.fails("send", "it is away")
    patience.fails("publish", "the quota is used up", about="a")
    assert patience.troubles() == [("a", "can't publish: the quota is used up"), (None, "can't send: it is away")]
    patience.works("publish")
    assert patience.troubles() == [(None, "can't send: it is away")]


def test_a_reason_of_another_kind_is_said_too(patience, said):
    """As where a server that was away refuses the login since it is back; each kind once, if they take turns."""
    patience.fails("reach it", ConnectionError("it is away"))
    patience.fails("reach it", ConnectionError("it is away, still"))
    patience.fails("reach it", PermissionError("it refuses"))
    patience.fails("reach it", ConnectionError("it is away"))
    patience.fails("reach it", PermissionError("it refuses, still"))
    assert said == [f"can't reach it: {why}; trying again until it works" for why in ("it is away", "it refuses")]


def test_a_reason_that_is_back_to_stay_is_said_again(patience, said, monkeypatch):
    """The last line says what is in the way now."""
    patience.fails("reach it", ConnectionError("it is away"))
    patience.fails("reach it", PermissionError("it refuses"))
    monkeypatch.setattr("unrolled.patience.STAY_SECONDS", 0.0)
    for _ in range(3):
        patience.fails("reach it", ConnectionError("it is away"))
    assert [line.split(";")[0].removeprefix("can't reach it: ") for line in said] == [
        *("it is away", "it refuses", "it is away")
    ]
    assert patience.troubles() == [(None, "can't reach it: it is away")]


def test_what_works_says_nothing(patience, said):
    """No trouble, no line."""
    assert patience.until_done("x", failing(0)) == 42
    assert said == []


@pytest.mark.parametrize("error", [PayloadError("x"), ZeroDivisionError("x"), OSError("x")])
def test_what_does_not_pass_goes_through(patience, said, error):
    """Only the kinds that were given are waited for."""
    with pytest.raises(type(error)):
        patience.until_done("x", failing(1, error))
    assert said == []


def test_stopping_ends_the_waiting(patience):
    """Everybody who waits gets the stop's error; what works is still done after it."""
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
            assert isinstance(future.exception(60), StopError)
    assert patience.until_done("x", failing(0)) == 42
    with pytest.raises(StopError):
        patience.until_done("x", failing(1))


def test_waiting_ends_when_its_time_is_up(patience, said, monkeypatch):
    """The last error goes through, after the last try and not before it; no pause is longer than what is left."""
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(f"unrolled.patience.{name}", 3600.0)
    began = time.monotonic()
    with pytest.raises(TransientError, match="the disk is full"):
        patience.until_done("x", failing(99), began + 0.05)
    assert time.monotonic() - began >= 0.05
    assert said == ["can't x: the disk is full; trying again until it works"]
    assert patience.until_done("y", failing(0), began) == 42


def test_a_trouble_that_all_have_given_up_is_none(patience, said):
    """One caller gives up, and the other still tries; then nothing is waited for."""
    gives_up, other_fails = iter([TransientError("full"), ValueError("gone")]), threading.Event()
    over = threading.Event()

    def other():
        other_fails.set()
        if over.is_set():
            raise ValueError("gone")
        raise TransientError("full")

    def one():
        assert other_fails.wait(60)
        raise next(gives_up)

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(patience.until_done, "x", other)
        with pytest.raises(ValueError, match="gone"):
            patience.until_done("x", one)
        assert patience.troubles() == [(None, "can't x: full")]
        over.set()
        assert isinstance(waiting.exception(60), ValueError)
    assert patience.troubles() == []
    assert said == ["can't x: full; trying again until it works"]


def test_one_trouble_is_one_line_however_many_meet_it(patience, said):
    """Eight threads meet a full disk; another, for which it isn't too full, doesn't say that it is well again."""
    full = threading.Event()

    def publish():
        if not full.is_set():
            raise TransientError("full")

    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(patience.until_done, "publish", publish) for _ in range(8)]
        eventually(lambda: said, "the line")
        patience.until_done("publish", failing(0))
        assert len(said) == 1
        full.set()
        for future in waiting:
            future.result(60)
    assert len(said) == 2


def test_an_old_failure_is_no_new_trouble(patience, said):
    """A try that began before the trouble was over, and fails after that, says nothing; the next one works."""
    has_begun, is_over = threading.Event(), threading.Event()
    tries = []

    def late():
        tries.append(1)
        if len(tries) == 1:
            has_begun.set()
            assert is_over.wait(60)
            raise TransientError("full")

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(patience.until_done, "publish", late)
        assert has_begun.wait(60)
        patience.until_done("publish", failing(1))
        is_over.set()
        waiting.result(60)
    assert len(tries) == 2
    assert said == ["can't publish: the disk is full; trying again until it works", "can publish again, after 0 s"]


def test_a_stop_is_no_trouble(patience, said):
    """An action that says that the process stops is not tried again."""
    for run in (patience.until_done, lambda what, action: patience.a_few_times(what, action, (TransientError,))):
        with pytest.raises(StopError):
            run("x", failing(1, StopError()))
    assert said == []


@pytest.mark.parametrize("error", [MemoryError(), TransientError("x")])
def test_what_may_pass_is_tried_a_few_times(patience, said, error):
    """Then the last failure goes through; the pauses are bounded too."""
    kinds = (MemoryError, TransientError)
    assert patience.a_few_times("compute x", failing(ATTEMPTS - 1, error), kinds) == 42
    assert len(said) == ATTEMPTS - 1
    with pytest.raises(type(error)):
        patience.a_few_times("compute x", failing(ATTEMPTS, error), kinds)


@pytest.mark.parametrize("error", [PayloadError("x"), ZeroDivisionError("x")])
def test_what_will_not_pass_goes_through_at_once(patience, said, error):
    """It is tried once."""
    with pytest.raises(type(error)):
        patience.a_few_times("x", failing(1, error), (MemoryError,))
    assert said == []


def test_stopping_ends_the_few_attempts(patience):
    """What still fails then raises the stop's error."""
    patience.stop()
    with pytest.raises(StopError):
        patience.a_few_times("x", failing(1, MemoryError()), (MemoryError,))
