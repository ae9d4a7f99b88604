"""Rows that the engine failed on, brought back to work with their shard."""

import os
from contextlib import closing
from pathlib import Path

import pytest
from support.jobs import FINGERPRINT, make_job, publish_shard

from producer.jobs import retry as retrying
from producer.jobs.quarantine_lists import list_quarantine
from producer.jobs.retry import Retried, retry
from producer.jobs.status_reader import StatusReader
from producer.jobs.verify import verify_job
from producer.queue.shard_queue import ShardQueue
from unrolled.errors import JobError
from unrolled.queue.broker import Broker
from unrolled.queue.entering import enter_waiting
from unrolled.queue.ledger import Ledger
from unrolled.queue.member import Member

NAMESPACE = "test"
FAILED = {1: "MemoryError: 8 GiB for a row (5 times)"}


class CrashError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def ledger(broker):
    with closing(Broker(broker.url)) as server:
        yield server.ledger(NAMESPACE, FINGERPRINT)


@pytest.fixture
def job(tmp_path):
    """A complete job of three shards; in the first two the engine failed on a row."""
    directory = make_job(tmp_path, shards=3)
    first, second, third = sorted(directory.waiting())
    publish_shard(directory, first, failed=FAILED)
    publish_shard(directory, second, failed=FAILED)
    publish_shard(directory, third)
    return directory


def bring_back(directory, broker, *, failed_rows=True):
    return retry(directory, broker.url, NAMESPACE, lambda _: None, failed_rows=failed_rows)


def work(directory, ledger, failed=None):
    """What a worker does with all that is in the ledger."""
    for shard in sorted(ledger.members(directory.key)[0]):
        publish_shard(directory, shard, failed=failed)
        ledger.remove(Member(directory.key, shard))


def spooled(directory):
    return sorted(path.name for path in directory.path.glob("_*/*.rows"))


def assert_whole(directory):
    """Every row is published, and nothing is left of the trouble."""
    found = verify_job(directory)
    assert (found.problems, found.notes, found.failed) == ((), (), 0)
    assert found.rows_out == found.rows_in == 12
    assert list(list_quarantine(directory)) == []
    assert spooled(directory) == []


def test_computed_anew(job, broker, ledger):
    """Their shards alone: each is in the ledger and the queue, and its file comes again with all rows."""
    first, second, third = sorted(job.published())
    assert bring_back(job, broker) == Retried(recomputed=2)
    assert (job.published(), job.waiting()) == ({third}, {first, second})
    assert ledger.members(job.key)[0] == {first, second}
    assert ledger.client.llen(f"{NAMESPACE}:shards.{FINGERPRINT[:12]}") == 2
    work(job, ledger)
    assert_whole(job)
    assert bring_back(job, broker) == Retried()


def test_only_when_asked_for(job, broker, ledger):
    """Published files stay as they are otherwise, for readers may be at them."""
    before = job.published()
    assert bring_back(job, broker, failed_rows=False) == Retried()
    assert job.published() == before
    assert ledger.members(job.key)[0] == set()


def test_failing_again(job, broker, ledger):
    """Nothing is lost by it: they are listed as before, and can be tried once more."""
    kept, listed = spooled(job), list(list_quarantine(job))
    for _ in range(2):
        assert bring_back(job, broker).recomputed == 2
        work(job, ledger, failed=FAILED)
        assert (spooled(job), list(list_quarantine(job))) == (kept, listed)
        assert verify_job(job).problems == ()
    assert bring_back(job, broker).recomputed == 2
    work(job, ledger)
    assert_whole(job)


def test_at_work(job, broker, ledger):
    """A shard that is still in the ledger is its worker's."""
    first, _, third = sorted(job.published())
    ledger.enter(Member(job.key, first), 5, str(job.path))
    assert bring_back(job, broker).recomputed == 1
    assert job.published() == {first, third}


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 20)])
def test_without_their_rows(job, broker, damage):
    """Files stay where nothing could take their place."""
    first, _, third = sorted(job.published())
    damage(job.kept(first))
    assert bring_back(job, broker) == Retried(recomputed=1, without_rows=1)
    assert job.published() == {first, third}


def test_cancelled(job, broker):
    """The job must be brought back first."""
    job.cancelled.touch()
    with pytest.raises(JobError, match="was cancelled"):
        bring_back(job, broker)


def crash_after(action):
    """The same action, and then the end."""

    def crashing(*arguments):
        action(*arguments)
        raise CrashError

    return crashing


def crash(*_):
    """The end before the action."""
    raise CrashError


@pytest.mark.parametrize(
    ("owner", "name", "broken", "unpublished"),
    [
        (retrying, "publish_bytes", crash_after(retrying.publish_bytes), 0),
        (Ledger, "enter", crash, 1),
        (ShardQueue, "send", crash, 1),
        (ShardQueue, "send", crash_after(ShardQueue.send), 1),
    ],
)
def test_crash_anywhere(job, broker, ledger, monkeypatch, owner, name, broken, unpublished):
    """A run that ends after any step leaves a job that any command makes whole."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken)
        with pytest.raises(CrashError):
            bring_back(job, broker)
    found = verify_job(job)
    assert len(found.problems) == unpublished
    assert all("isn't published" in problem.what for problem in found.problems)
    enter_waiting(ledger, job, lambda *_: None)
    bring_back(job, broker)
    work(job, ledger)
    assert_whole(job)


def test_status_follows(job, broker, ledger):
    """A reader that is kept counts the rows of now, not those of its first look."""
    reader = StatusReader(job)
    assert (reader.read().failed, reader.read().rows_published) == (2, 10)
    bring_back(job, broker)
    work(job, ledger, failed={0: "no", 2: "no"})
    assert (reader.read().failed, reader.read().rows_published) == (4, 8)
