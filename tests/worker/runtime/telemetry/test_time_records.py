"""Records of a worker's time: few, small, and none of a part counted twice."""

from types import SimpleNamespace

import pytest
from support.jobs import finished_job, make_job

from unrolled.errors import TransientError
from unrolled.job import names
from unrolled.job.time_record import MOST_INTERVALS, TimeRecord
from unrolled.protocol.finishing import sweep_discarded
from unrolled.protocol.opening import OpenJob, open_job
from worker.runtime.telemetry.shard_times import ShardSeconds
from worker.runtime.telemetry.time_records import FIRST_SPAN, LONGEST_SPAN, QUIET, TimeRecords


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path / "out")


@pytest.fixture
def records(clock):
    return TimeRecords("host.name-12-ab", "an engine", 4, clock)


def shard_of(job, tokens=10):
    return ShardSeconds(job, None, 2, tokens, tokens / 2, 0.1, 0.2, 0.3, 0.4)


def written(job):
    found = [(name, job.objects.read(name)) for name in sorted(job.objects.list(names.TIMES))]
    return [TimeRecord.decode(name, content) for name, content in found]


def tokens_in(records):
    return sum(interval.tokens for record in records for interval in record.intervals)


def test_a_job_that_was_moved_has_its_records_at_its_new_place(job, records, tmp_path):
    """What was measured before, too, if it couldn't be written there."""
    records.add(shard_of(job))
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = open_job(tmp_path / "moved")
    records.add(shard_of(moved))
    records.write_all()
    assert tokens_in(written(moved)) == 20
    assert not (tmp_path / "out").exists()


def test_a_record_says_when_and_how_much(job, records, clock):
    """The parts of a span, added up by interval."""
    for seconds in (1.0, 1.1, 6.0):
        clock.now = 1000 + seconds
        records.add(shard_of(job))
    records.write_due()
    assert written(job) == []
    clock.now = 1000 + FIRST_SPAN
    records.write_due()
    (record,) = written(job)
    assert (record.worker, record.engine, record.threads) == ("host.name-12-ab", "an engine", 4)
    assert record.seconds == pytest.approx(6 + 0.8, abs=0.9)
    ends = [interval.number * record.every_seconds for interval in record.intervals for _ in range(interval.shards)]
    assert ends == pytest.approx([1.0, 1.1, 6.0], abs=record.every_seconds)
    sums = [sum(column) for column in zip(*record.intervals, strict=True)]
    assert sums[1:] == pytest.approx([3, 6, 30, 15, 0.3, 0.6, 0.9, 1.2], abs=0.05)


def test_a_shard_counts_while_it_is_on_board(job, records):
    """Not all of it at its end: the speed over time is the one at which it was computed."""
    seconds = ShardSeconds(job, None, 7, 1001, 500, 2.0, 2.0, 4.0, 2.0)
    records.add(seconds)
    records.write_all()
    (record,) = written(job)
    tokens = [interval.tokens for interval in record.intervals]
    assert sum(tokens) == 1001
    assert max(tokens) - min(tokens[:-1]) <= 1
    assert len(tokens) == pytest.approx(10 / record.every_seconds, abs=1)
    assert [interval.shards for interval in record.intervals] == [0] * (len(tokens) - 1) + [1]
    assert sum(interval.compute for interval in record.intervals) == pytest.approx(4, abs=0.05)


def test_a_record_is_written_when_it_becomes_quiet(job, records, clock):
    """The end of a job is soon in its store, but parts that come one by one don't give a record each."""
    for _ in range(500):
        records.add(shard_of(job))
        clock.now += QUIET + 1
        records.write_due()
    assert len(written(job)) < 40
    clock.now += LONGEST_SPAN / 8
    records.write_due()
    assert tokens_in(written(job)) == 5000


def test_a_long_job_has_few_records(job, records, clock):
    """Ten hours with a part every second: every part is in a record, and the records are few."""
    for _ in range(36_000):
        clock.now += 1
        records.add(shard_of(job))
        records.write_due()
    records.write_all()
    records.write_all()
    assert tokens_in(written(job)) == 360_000
    assert len(written(job)) < 10 + 36_000 / LONGEST_SPAN
    assert all(len(record.intervals) <= MOST_INTERVALS for record in written(job))


def test_a_store_that_refuses_costs_bounded_memory(job, records, clock, monkeypatch):
    """What can't be written is written later, in intervals that are longer instead of more."""
    refused = []

    def create(name, _):
        refused.append(name)
        raise TransientError("full")

    away = SimpleNamespace(
        key=job.key, place="out", with_patience=lambda _: away, objects=SimpleNamespace(create=create)
    )
    for _ in range(10_000):
        clock.now += 10
        records.add(shard_of(away))
        records.write_due()
    assert len(refused) > 10
    (kept,) = records._kept.values()
    assert len(kept.intervals) <= MOST_INTERVALS
    monkeypatch.setattr(kept, "job", job)
    records.write_all()
    assert tokens_in(written(job)) == 100_000


def test_a_worker_of_any_name_can_write(job, clock):
    """A host's name may have characters that no object's name may have."""
    records = TimeRecords("-höst/../x y-1-ab", "", 1, clock)
    records.add(shard_of(job))
    records.write_all()
    assert [record.worker for record in written(job)] == ["-höst/../x y-1-ab"]


def test_a_discarded_job_keeps_no_record(tmp_path, clock):
    """They are a part of the job."""
    job = finished_job(tmp_path / "out")
    records = TimeRecords("worker", "", 1, clock)
    records.add(shard_of(OpenJob(job.job, job.key, job.objects)))
    records.write_all()
    assert written(job)
    sweep_discarded(job.objects)
    assert written(job) == []
