"""Retry, cancel and discard: what each decides, twice, and by two at once."""

import shutil
import threading
import uuid
from contextlib import closing

import pytest
from support.jobs import (
    cut,
    dead,
    decide,
    finished_job,
    log_of,
    make_job,
    publish_shard,
    published,
    record_death,
    waiting,
)

from producer.enqueue.shard import make_shard
from producer.jobs.decisions import Retried, cancel, discard, retry
from producer.jobs.removal import remove_key
from producer.jobs.verify import verify_job
from producer.local.broker import EmbeddedBroker
from producer.queue.shard_queue import ShardQueue
from unrolled.errors import JobError, OptionError, RequestError, TransientError
from unrolled.job import names
from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.patience import Patience, at_once
from unrolled.protocol.objects import Objects
from unrolled.protocol.spooling import spool
from unrolled.reading.dataset import open_dataset
from unrolled.reading.outcome import failed_rows
from unrolled.store.posix import PosixStore


@pytest.fixture(scope="module")
def server():
    """One server; each test has a namespace of its own."""
    with EmbeddedBroker() as found:
        yield found


@pytest.fixture
def make_queue(server):
    """Makes the queue of a job, with the whole log entered."""
    opened = []

    def make(job):
        queue = ShardQueue(server.url, f"n{uuid.uuid4().hex[:8]}", job.job.offer, Patience(print))
        opened.append(queue)
        return queue

    yield make
    for queue in opened:
        queue.close()


def again(job, queue=None, *, failed=True):
    return retry(job.objects, queue and queue.of_job(job), failed_rows, failed=failed)


def lives(job, queue):
    return queue.ledger.members(job.key)[0]


@pytest.fixture
def failing(tmp_path):
    """A job of two shards, both published; two rows of the first failed."""
    job = make_job(tmp_path / "out", shards=2)
    first, second = waiting(job)
    publish_shard(job, first, failed={1: "ValueError: no", 3: "MemoryError"})
    publish_shard(job, second)
    return job


def test_failed_rows_get_a_shard_of_their_own(failing, make_queue):
    """The first part stays as it is, byte for byte, while they wait, and afterwards."""
    queue = make_queue(failing)
    source = log_of(failing).inputs[0]
    before = failing.objects.read(names.part_object(source))
    assert again(failing, queue) == Retried(rows=2, shards=1, dead=0, damaged=0)
    (shard,) = waiting(failing)
    assert (shard.index, shard.retries) == (source.index, 1)
    assert lives(failing, queue) == {Life(shard, 0)}
    publish_shard(failing, shard)
    assert failing.objects.read(names.part_object(source)) == before
    assert sorted(row.id for row in open_dataset(failing.place)) == [f"rows.txt#{n}" for n in range(8)]
    assert verify_job(failing).problems == ()


def test_rows_that_fail_again_are_retried_again(failing):
    """Each time in a shard that says how often; what didn't fail is not touched."""
    again(failing)
    (first,) = waiting(failing)
    publish_shard(failing, first, failed={0: "ValueError: no"})
    assert again(failing) == Retried(rows=1, shards=1, dead=0, damaged=0)
    (second,) = waiting(failing)
    assert (second.retries, log_of(failing).retried[first]) == (2, second)
    publish_shard(failing, second)
    assert verify_job(failing).rows_out == 8


def test_a_retry_without_the_option_brings_no_failed_row(failing):
    """They wait for somebody to say that the cause is gone."""
    assert again(failing, failed=False) == Retried(0, 0, 0, 0)
    assert waiting(failing) == []


def test_a_dead_shard_gets_its_next_life(tmp_path, make_queue):
    """A record of an earlier life buries nothing any more."""
    job = make_job(tmp_path, shards=2)
    queue = make_queue(job)
    shard, _ = waiting(job)
    record_death(job, shard)
    assert again(job, queue) == Retried(rows=0, shards=0, dead=1, damaged=0)
    assert Life(shard, 1) in lives(job, queue)
    record_death(job, shard)  # a slow grave-digger of the first life
    assert log_of(job).life(shard) == Life(shard, 1)
    record_death(job, shard, 1)
    assert again(job, queue).dead == 1
    assert log_of(job).life(shard) == Life(shard, 2)


@pytest.mark.parametrize("damage", [lambda _: b"", lambda rows: rows[:-1] + b"\xff", lambda rows: b"PK" + rows[2:]])
def test_a_dead_shard_whose_rows_are_damaged_stays_dead(tmp_path, damage):
    """Its next life would die of them, too. It is counted, and the others get theirs."""
    job = make_job(tmp_path / "out", shards=2)
    first, second = waiting(job)
    record_death(job, first)
    record_death(job, second)
    path = tmp_path / "out" / names.rows_object(first)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    assert again(job) == Retried(rows=0, shards=0, dead=1, damaged=1)
    assert [log_of(job).life(shard).number for shard in (first, second)] == [0, 1]
    path.write_bytes(sound)
    assert again(job) == Retried(rows=0, shards=0, dead=1, damaged=0)


@pytest.mark.parametrize("damaged", ["failed rows", "a part"])
def test_damage_keeps_no_other_row_from_its_retry(tmp_path, damaged):
    """It is named, with what to do, once all others are brought."""
    job = make_job(tmp_path / "out", shards=3)
    first, second, third = waiting(job)
    rows = job.objects.read(names.rows_object(first))
    for shard in (first, second):
        publish_shard(job, shard, {1: "too hard"})
    record_death(job, third)
    name = names.failed_object(first) if damaged == "failed rows" else names.part_object(first)
    if damaged == "a part":  # whose worker died before it had saved the failed rows
        job.objects.delete(names.failed_object(first))
        job.objects.create(names.rows_object(first), rows)
    path = tmp_path / "out" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(JobError, match=f"{name}.*restore it from a copy.*; everything else was retried"):
        again(job)
    log = log_of(job)
    assert set(log.retried) == {second}
    assert log.life(third).number == 1


def test_only_what_the_part_calls_failed_is_retried(failing):
    """A list of failed rows outlives its part: of one that was removed and made again, fewer rows may have failed."""
    source, _ = log_of(failing).inputs
    rows = make_shard(0, failing.job.id, cut(0)).rows
    failing.objects.delete(names.part_object(source))
    failing.objects.create(names.rows_object(source), rows)
    publish_shard(failing, source, failed={3: "MemoryError"}, content=rows)
    assert verify_job(failing).problems == ()
    assert again(failing) == Retried(rows=1, shards=1, dead=0, damaged=0)
    (shard,) = waiting(failing)
    publish_shard(failing, shard)
    assert verify_job(failing).problems == ()
    assert sorted(row.id for row in open_dataset(failing.place)) == [f"rows.txt#{n}" for n in range(8)]


def test_nothing_is_retried_of_a_part_that_was_made_again_without_failures(failing):
    """All of its rows are there."""
    source, _ = log_of(failing).inputs
    rows = make_shard(0, failing.job.id, cut(0)).rows
    failing.objects.delete(names.part_object(source))
    failing.objects.create(names.rows_object(source), rows)
    publish_shard(failing, source, content=rows)
    assert again(failing) == Retried(rows=0, shards=0, dead=0, damaged=0)
    assert verify_job(failing).rows_out == 8


def test_other_rows_that_failed_than_those_that_are_kept(failing):
    """They can't be retried, and what helps is said."""
    source, _ = log_of(failing).inputs
    rows = make_shard(0, failing.job.id, cut(0)).rows
    failing.objects.delete(names.part_object(source))
    failing.objects.create(names.rows_object(source), rows)
    publish_shard(failing, source, failed={0: "MemoryError", 3: "MemoryError"}, content=rows)
    with pytest.raises(JobError, match=r"holds 2 rows, and lacks 1 of the 2 .* remove it and its part, and the same"):
        again(failing)
    assert log_of(failing).retried == {}
    for named in (names.failed_object, names.part_object):
        failing.objects.delete(named(source))
    failing.objects.create(names.rows_object(source), rows)
    publish_shard(failing, source, failed={0: "MemoryError", 3: "MemoryError"}, content=rows)
    assert again(failing) == Retried(rows=2, shards=1, dead=0, damaged=0)


def test_a_retrys_list_is_not_to_be_removed(failing):
    """Its rows can't be read again."""
    again(failing)
    (shard,) = waiting(failing)
    publish_shard(failing, shard, failed={0: "MemoryError"})
    failing.objects.delete(names.failed_object(shard))
    failing.objects.create(names.failed_object(shard), b"damaged")
    with pytest.raises(JobError, match="restore it from a copy; everything else was retried") as caught:
        again(failing)
    assert "remove" not in str(caught.value)


def test_failed_rows_of_a_part_that_is_missing_are_not_retried(failing):
    """Else the part couldn't be made again: some of its rows would be in two shards."""
    source, _ = log_of(failing).inputs
    failing.objects.delete(names.part_object(source))
    with pytest.raises(JobError, match=r"part-000000.*isn't there, so .* aren't retried: first make it again"):
        again(failing)
    assert log_of(failing).retried == {}


def test_a_dead_shard_with_a_part_needs_no_life(tmp_path):
    """A part came after all."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    record_death(job, shard)
    publish_shard(job, shard)
    assert again(job) == Retried(0, 0, 0, 0)


def test_two_retries_at_once_bring_each_row_once(failing):
    """Both make the same shard; one segment names it. No rows of a shard can be deleted by the other."""
    threads = [threading.Thread(target=again, args=(failing,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (shard,) = waiting(failing)
    assert list(log_of(failing).retried.values()) == [shard]
    publish_shard(failing, shard)
    assert verify_job(failing).problems == ()


def test_a_retry_beside_a_worker_that_has_not_finished(tmp_path):
    """A retry finishes a shard with both its part and its rows, as a worker leaves them that is between two steps."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    rows = job.objects.read(names.rows_object(shard))
    publish_shard(job, shard, failed={1: "ValueError: no"})
    job.objects.create(names.rows_object(shard), rows)
    job.objects.delete(names.failed_object(shard))
    assert again(job).rows == 1
    assert [one.retries for one in waiting(job)] == [1]
    assert verify_job(job).problems[0].where == names.part_object(waiting(job)[0])


def test_cancel_takes_what_waits_out(tmp_path, make_queue):
    """Enqueueing resumes the job; a second cancel decides nothing."""
    job = make_job(tmp_path, shards=3)
    queue = make_queue(job)
    assert cancel(job.objects, queue.of_job(job))
    assert (lives(job, queue), queue.ledger.mark(job.key)) == (set(), None)
    assert not cancel(job.objects, queue.of_job(job))
    with pytest.raises(JobError, match="cancelled; nothing can be retried before the same"):
        again(job, queue)


class Sealed(PosixStore):
    """A store whose parts can't be deleted."""

    def delete(self, name):
        if name.startswith("part-"):
            raise TransientError(f"cannot delete {self}/{name}: Permission denied; let this user write there")
        super().delete(name)


def test_a_part_that_can_not_be_deleted(tmp_path):
    """The job is discarded all the same, and the error says so."""
    job = make_job(tmp_path / "out", shards=1)
    publish_shard(job, waiting(job)[0])
    with pytest.raises(
        TransientError, match=r"let this user write there\. The job is discarded; the same discard again"
    ):
        discard(Objects(Sealed(job.place), at_once), None)
    assert log_of(job).discarded
    discard(job.objects, None)
    assert not [*names.parts_in(job.objects.list(names.PARTS))]


def test_discard_deletes_all_but_the_log(tmp_path, make_queue):
    """The log keeps other jobs out, and shows late workers that the job was discarded."""
    job = finished_job(tmp_path / "out", bad=[1])
    again(job)
    queue = make_queue(job)
    discard(job.objects, queue.of_job(job))
    assert published(job) == waiting(job) == dead(job) == []
    assert log_of(job).discarded
    late = make_shard(0, job.job.id, cut(0))
    spool(job.objects, late)
    decide(job, Segment("resume"))
    assert log_of(job).discarded
    discard(job.objects, None)
    assert waiting(job) == []
    with pytest.raises(JobError, match="discarded"):
        again(job)


def test_a_key_is_taken_out_of_every_ledger(tmp_path, server):
    """Where a job's store is gone for good, its key in the worker's log is enough."""
    job = make_job(tmp_path, shards=2)
    namespace = f"n{uuid.uuid4().hex[:8]}"
    with closing(ShardQueue(server.url, namespace, job.job.offer, Patience(print))) as queue:
        members = [(life, 1) for life in map(log_of(job).life, log_of(job).inputs)]
        queue.of_job(job).enter(None, members, 1)
        with pytest.raises(OptionError, match=f"the job is at .*; use `unrolled cancel {tmp_path}`"):
            remove_key(job.key, server.url, namespace, Patience(print))
        assert queue.ledger.counts().shards == 2
        shutil.rmtree(tmp_path / names.FOLDER)
        assert remove_key(job.key, server.url, namespace, Patience(print)) == (2, str(tmp_path))
        assert remove_key(job.key, server.url, namespace, Patience(print)) == (None, None)
        assert queue.ledger.counts().shards == 0
    with pytest.raises(RequestError, match="16 hexadecimal digits"):
        remove_key("out", server.url, namespace, Patience(print))
