"""A worker's record of its time: its bytes, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import JobError
from unrolled.job.time_record import MOST_BYTES, MOST_INTERVALS, Interval, TimeRecord

RECORD = TimeRecord(
    "host-1-abcdef", "fused", 4, 1_700_000_000.25, 0.5, 0.375, (Interval(0, 1, 2, 30, 20.5, 1.0, 2.0, 3.0, 4.0),)
)
counts, seconds = st.integers(0, 10**9), st.floats(0, 10**6).map(lambda value: round(value, 3))
intervals = st.builds(Interval, st.just(0), counts, counts, counts, seconds, seconds, seconds, seconds, seconds)


@given(st.lists(intervals, max_size=MOST_INTERVALS), seconds)
def test_what_is_written_is_read(found, began):
    """Every record survives its bytes."""
    numbered = tuple(interval._replace(number=number) for number, interval in enumerate(found))
    record = TimeRecord("worker", "engine", 2, began, 0.25, 0.1, numbered)
    assert TimeRecord.decode("name", record.encode()) == record


def test_the_last_interval_ends_with_the_last_part():
    """The speed of a job that takes a fraction of an interval is what was measured."""
    assert RECORD.span(RECORD.intervals[0]) == (1_700_000_000.25, 0.375)
    second = RECORD.intervals[0]._replace(number=1)
    longer = replace(RECORD, seconds=0.875, intervals=(RECORD.intervals[0], second))
    assert [longer.span(each) for each in longer.intervals] == [(1_700_000_000.25, 0.5), (1_700_000_000.75, 0.375)]


def test_a_full_record_is_small():
    """The largest record that a worker writes is one that is read."""
    full = tuple(Interval(number, 10**9, 10**12, 10**12, *[10**9 + 0.123] * 5) for number in range(MOST_INTERVALS))
    assert len(TimeRecord("w" * 120, "e" * 300, 64, 1e9, 15.0, 960.0, full).encode()) < MOST_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"columns": ["number"]},
        {"intervals": [[0, 1]]},
        {"intervals": [[0, 1, 2, 3, 4, 5, 6, 7, "8"]]},
        {"intervals": [[0, 1, 2, 3, 4, 5, 6, 7, -8]]},
        {"intervals": [[0, 1, 2, 3, 4, 5, 6, 7, float("nan")]]},
        {"intervals": [[1, *[0] * 8], [0, *[0] * 8]]},
        {"intervals": [[number, *[0] * 8] for number in range(MOST_INTERVALS + 1)]},
        {"began": float("inf")},
        {"threads": True},
        {"every_seconds": None},
        {"seconds": -1},
    ],
)
def test_what_no_worker_writes_is_refused(change):
    """Anybody who can write to the job can have made it."""
    content = json.dumps(json.loads(RECORD.encode()) | change).encode()
    with pytest.raises(JobError, match=r"times/x\.json: not a record"):
        TimeRecord.decode("times/x.json", content)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * (MOST_BYTES + 1)])
def test_other_bytes_are_refused(content):
    """Every error is one of ours."""
    with pytest.raises(JobError):
        TimeRecord.decode("x", content)
