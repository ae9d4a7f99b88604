"""Time as workers' records tell it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.report.throughput import MOST_BARS, SHORTEST_PAUSE, timeline
from unrolled.job.time_record import Interval, TimeRecord

intervals = st.lists(st.integers(0, 10_000), min_size=1, max_size=64)
records = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 10_000), st.floats(0.25, 60), intervals), min_size=1, max_size=5
)


def record_of(worker, began, every, tokens):
    found = tuple(Interval(at, 1, 2, count, count / 2, 1.0, 2.0, every / 2, 4.0) for at, count in enumerate(tokens))
    return TimeRecord(worker, "engine", 2, began, every, every * len(tokens), found)


@given(records, st.randoms())
def test_every_token_counts_once_in_any_order(found, random):
    """Over time, and by worker."""
    every = [record_of(*each) for each in found]
    time = timeline(every)
    random.shuffle(every)
    assert timeline(every) == time
    tokens = sum(sum(each[3]) for each in found)
    assert time.tokens == tokens
    assert len(time.rates) <= MOST_BARS + 1
    widths = [min(time.width, time.seconds - number * time.width) for number in range(len(time.rates))]
    assert sum(rate * width for rate, width in zip(time.rates, widths, strict=True)) == pytest.approx(tokens, abs=0.01)
    assert {worker.name for worker in time.workers} == {each[0] for each in found}
    assert [worker.tokens for worker in time.workers] == sorted((w.tokens for w in time.workers), reverse=True)
    assert time.computed_share == pytest.approx(0.5 if tokens else 0)


def test_a_worker_s_seconds():
    """Summed by stage; its engine's share is that of the time between its first and its last part, without a pause."""
    time = timeline([record_of("a", 100, 10, [5, 5]), record_of("a", 140, 10, [5])])
    (worker,) = time.workers
    assert (worker.first, worker.last, worker.shards, worker.tokens) == (100, 150, 3, 15)
    assert worker.seconds == {"read": 6, "wait": 3, "compute": 15, "write": 12}
    assert worker.at_work == pytest.approx(30)
    assert worker.busy_share == pytest.approx(0.5)
    assert time.rates[: int(20 / time.width)] == pytest.approx([0.5] * int(20 / time.width))
    assert timeline([]) is None


def test_a_short_job_is_not_as_long_as_an_interval():
    """Its tokens a second are those of the time that it took, though records count in intervals."""
    time = timeline([replace(record_of("a", 100, 0.25, [300]), seconds=0.03)])
    assert (time.seconds, time.workers[0].at_work) == (pytest.approx(0.03), pytest.approx(0.03))
    assert time.rates == pytest.approx([10_000])


def test_a_pause_is_no_working_time():
    """A run, and after some minutes another one: both count, the minutes between them don't; a short wait does."""
    first, second = record_of("a", 1000, 0.25, [100] * 4), record_of("b", 1200, 0.25, [100] * 2)
    time = timeline([second, first])
    assert (time.began, time.seconds) == (1000, pytest.approx(1.5))
    assert [tuple(pause) for pause in time.pauses] == [(pytest.approx(1), pytest.approx(199))]
    assert time.rates == pytest.approx([400] * 6)
    assert {worker.name: worker.at_work for worker in time.workers} == {"a": pytest.approx(1), "b": pytest.approx(0.5)}
    waited = timeline([first, record_of("b", 1001 + SHORTEST_PAUSE, 0.25, [100])])
    assert (waited.seconds, waited.pauses) == (pytest.approx(1.25 + SHORTEST_PAUSE), [])


def test_a_worker_that_idles_while_another_works_is_at_work():
    """Only a time in which nobody works is a pause."""
    time = timeline([record_of("a", 0, 10, [5]), record_of("a", 90, 10, [5]), record_of("b", 0, 50, [1, 1])])
    assert time.pauses == []
    assert {worker.name: worker.at_work for worker in time.workers} == {
        "a": pytest.approx(100),
        "b": pytest.approx(100),
    }
