"""Time as workers' records tell it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.report.throughput import MOST_BARS, timeline
from unrolled.job.time_record import Interval, TimeRecord

intervals = st.lists(st.integers(0, 10_000), min_size=1, max_size=64)
records = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 10_000), st.floats(0.25, 60), intervals), min_size=1, max_size=5
)


def record_of(worker, began, every, tokens):
    found = tuple(Interval(at, 1, 2, count, count / 2, 1.0, 2.0, every / 2, 4.0) for at, count in enumerate(tokens))
    return TimeRecord(worker, "engine", 2, began, every, found)


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
    """Summed by stage; its engine's share is that of the time between its first and its last part."""
    time = timeline([record_of("a", 100, 10, [5, 5]), record_of("a", 140, 10, [5])])
    (worker,) = time.workers
    assert (worker.first, worker.last, worker.shards, worker.tokens) == (100, 150, 3, 15)
    assert worker.seconds == {"read": 6, "wait": 3, "compute": 15, "write": 12}
    assert worker.busy_share == pytest.approx(0.3)
    assert time.rates[: int(20 / time.width)] == pytest.approx([0.5] * int(20 / time.width))
    assert timeline([]) is None
