"""Jobs that are away are reported once, and only the last ones are remembered."""

import logging

from support.processes import eventually

from unrolled.errors import JobError
from unrolled.job.names import Life
from unrolled.job.shard_id import ShardId
from unrolled.queue.member import Member
from worker.runtime.away_jobs import MOST_JOBS, AwayJobs

SHARD = ShardId(0, "0123456789ab")


def member(number):
    return Member(f"{number:016x}", Life(SHARD, 0))


def test_each_job_is_reported_when_it_goes_and_when_it_returns(caplog):
    """However many of its shards are tried meanwhile."""
    caplog.set_level(logging.WARNING)
    away = AwayJobs(30)
    for _ in range(3):
        away.refuse(member(1), JobError("the directory is gone"))
    away.remove(member(2))
    away.remove(member(1))
    away.remove(member(1))
    gone, back = [record.getMessage() for record in caplog.records]
    assert "the directory is gone" in gone
    assert "tried again at least every 30 s" in gone
    assert "its directory can be used again" in back
    away.refuse(member(1), JobError("again"))
    assert "again" in caplog.records[-1].getMessage()


def test_one_shard_in_trouble_is_not_its_whole_job(caplog):
    """That another shard is published says nothing of the one that was put off, nor that a directory is back."""
    caplog.set_level(logging.WARNING)
    away = AwayJobs(30)
    late, other = (Member(member(1).job_key, Life(ShardId(number, "0123456789ab"), 0)) for number in (1, 2))
    for _ in range(3):
        away.add(late, JobError("rows not seen"))
        away.remove(other)
    assert away.reasons() == {late.job_key: "rows not seen"}
    away.remove(late)
    assert away.reasons() == {}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "tried again about every 30 s" in line


def test_a_reason_is_not_reported_for_ever():
    """Another worker may have mended it meanwhile; tries of this worker keep it new."""
    away = AwayJobs(0.05)
    away.add(member(1), JobError("not seen"))
    assert away.reasons() == {member(1).job_key: "not seen"}
    eventually(lambda: away.reasons() == {}, "the reason to be old")
    away.add(member(1), JobError("still not seen"))
    assert away.reasons() == {member(1).job_key: "still not seen"}


def test_memory_is_bounded():
    """Jobs that never return are forgotten, the oldest first."""
    away = AwayJobs(30)
    for number in range(MOST_JOBS + 10):
        away.add(member(number), JobError("gone"))
    assert len(away._away) == MOST_JOBS
    assert member(MOST_JOBS + 9).job_key in away._away
    assert member(9).job_key not in away._away


def test_a_refused_job_is_tried_now_and_then():
    """After 1 s, then after twice as long each time, up to the most; only one caller gets to try each time."""
    now = 0.0
    away = AwayJobs(600, clock=lambda: now)
    away.add(member(2), JobError("one shard is not seen"))
    away.refuse(member(1), JobError("out of reach"))
    key = member(1).job_key
    assert away.refused() == [key], "shards of a job that is only put off are still chosen"
    tries = []
    for now in range(120):
        if away.refused() != [key]:
            tries.append(now)
            assert away.refused() == [key], "the next caller leaves it alone"
            away.refuse(member(1), JobError("still out of reach"))
    assert tries == [1, 3, 7, 15, 31, 61, 91]
    away.remove(member(1))
    assert away.refused() == []
