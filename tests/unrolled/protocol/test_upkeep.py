"""Upkeep of a job: what its ledger lost is entered again, and a job that is over leaves nothing behind."""

import pytest
from support.jobs import decide, finished_job, log_of, make_job, publish_shard, waiting
from support.ledger_model import LedgerModel

from producer.jobs.decisions import cancel, discard
from unrolled.job import names
from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.patience import at_once
from unrolled.protocol.log import Log
from unrolled.protocol.upkeep import clean_up, look_after
from unrolled.queue.job_ledger import JobLedger
from unrolled.queue.member import Member
from unrolled.reading.outcome import failed_rows


@pytest.fixture
def model():
    return LedgerModel()


def ledger_of(model, job):
    return JobLedger(model, job.key, job.address, model.send, at_once)


def look(model, job, log=None):
    return look_after(log or Log(), job.objects, ledger_of(model, job), live=job.job.live)


def test_a_ledger_gets_back_what_it_lost(tmp_path, model):
    """Every shard that waits, its message included."""
    job = make_job(tmp_path)
    assert not look(model, job)
    expected = [Member(job.key, Life(shard, 0)) for shard in waiting(job)]
    model.lose("all")
    assert not look(model, job)
    assert sorted(model.ledger) == sorted(model.queue) == expected


@pytest.mark.parametrize("decision", [cancel, discard])
def test_a_stopped_job_is_over(tmp_path, model, decision):
    """Its shards leave the ledger, too."""
    job = make_job(tmp_path)
    look(model, job)
    decision(job.objects, None)
    assert look(model, job)
    assert (model.ledger, model.marks) == ({}, {})


def test_a_complete_job_is_over(tmp_path, model):
    """Not before its last part, and not before its input has ended."""
    job = make_job(tmp_path, shards=1, ended=False)
    (shard,) = waiting(job)
    log = Log()
    assert not look(model, job, log)
    publish_shard(job, shard)
    assert not look(model, job, log)
    decide(job, Segment("end"))
    assert look(model, job, log)


def test_cleaning_up(tmp_path, model):
    """The ledger forgets the job, and the rows of published shards go."""
    job = finished_job(tmp_path)
    look(model, job)
    shard = next(names.parts_in(job.objects.list(names.PARTS)))
    job.objects.create(names.rows_object(shard), b"left by a worker that died")
    model.enter(job.key, job.address, model.mark(job.key), [(Member(job.key, Life(shard, 0)), 1)], 2)
    clean_up(log_of(job), job.objects, ledger_of(model, job), failed_rows, live=False)
    assert (model.ledger, model.marks, model.jobs) == ({}, {}, {})
    assert waiting(job) == []


def test_a_job_that_grew_is_not_forgotten(tmp_path, model):
    """A retry came after the job was found complete: its new life stays in the ledger."""
    job = finished_job(tmp_path)
    log = log_of(job)
    shard = next(iter(log.entries))
    decide(job, Segment("retry", lives=(Life(shard, 1),)))
    model.enter(job.key, job.address, None, [(Member(job.key, Life(shard, 1)), 1)], log.length + 1)
    clean_up(log, job.objects, ledger_of(model, job), failed_rows, live=False)
    assert [*model.ledger] == [Member(job.key, Life(shard, 1))]
    assert model.mark(job.key) == log.length + 1
