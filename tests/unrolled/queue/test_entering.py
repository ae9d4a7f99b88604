"""A job's directory brought back into a server that lost it."""

import threading

import numpy as np
import pytest
import redis

from producer.enqueue.shard import make_shard
from producer.rows import Row
from unrolled.errors import JobError, TransientError
from unrolled.job.directory import create_job
from unrolled.job.job import Job
from unrolled.job.manifest import NAME, ManifestWriter
from unrolled.queue.broker_url import client_url
from unrolled.queue.entering import enter, enter_waiting
from unrolled.queue.ledger import Counts, Ledger
from unrolled.queue.member import Member

MODEL = "ab" * 32


@pytest.fixture
def ledger(broker):
    with redis.Redis.from_url(client_url(broker.url)) as client:
        yield Ledger(client, "unrolled", MODEL)


class Sent(list):
    """Messages that were sent, in place of a queue."""

    def __call__(self, member):
        self.append(member)


def make_job(path, count, *, cut=None):
    """A job with `count` spooled shards of 2 tokens, of which `cut` are in the manifest."""
    directory = create_job(path, Job(MODEL, ("in.txt",), {}))
    shards = [
        make_shard(index, [Row("in.txt", index, f"in.txt#{index}", np.array([index + 1, 0], np.int32))])
        for index in range(count)
    ]
    manifest = ManifestWriter(directory.path)
    for shard in shards:
        directory.spool(shard.id, shard.blob, shard.bad_rows)
    for shard in shards[:cut]:
        manifest.append(shard.entry)
    manifest.close()
    return directory, [shard.id for shard in shards]


def test_enters_what_waits(tmp_path, ledger):
    """Shards with rows and no file are entered and sent, in order; published, dead and uncut ones aren't."""
    directory, shards = make_job(tmp_path, 6, cut=5)
    directory.part(shards[1]).write_text("")
    directory.dead(shards[2]).write_text("")
    directory.pending(shards[3]).unlink()
    sent = Sent()
    assert enter_waiting(ledger, directory, sent) == 2
    assert sent == [Member(directory.key, shards[0]), Member(directory.key, shards[4])]
    assert ledger.counts() == Counts(2, 0, 4)
    assert ledger.job_directory(directory.key) == str(directory.path)


def test_again(tmp_path, ledger):
    """A second time, or with a part of it lost, only what is missing is entered."""
    directory, shards = make_job(tmp_path, 4)
    sent = Sent()
    assert enter_waiting(ledger, directory, sent) == 4
    assert enter_waiting(ledger, directory, sent) == 0
    ledger.remove(Member(directory.key, shards[2]))
    assert enter_waiting(ledger, directory, sent) == 1
    assert sent[4:] == [Member(directory.key, shards[2])]


def test_by_many_at_once(tmp_path, ledger):
    """Several that restore at once enter and send each shard once."""
    directory, shards = make_job(tmp_path, 40)
    sent = Sent()
    threads = [threading.Thread(target=enter_waiting, args=(ledger, directory, sent)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent) == [Member(directory.key, shard) for shard in shards]
    assert ledger.counts().tokens == 80


def test_dead_meanwhile(tmp_path, ledger):
    """A shard that was buried after its enterer looked isn't brought back to life."""
    directory, (shard,) = make_job(tmp_path, 1)
    directory.dead(shard).write_text("")
    sent = Sent()
    assert not enter(ledger, directory, shard, 2, sent)
    assert sent == []
    assert ledger.counts() == Counts(0, 0, 0)


@pytest.mark.parametrize("keep_data", [True, False])
def test_known_until_a_restart(tmp_path, broker, ledger, keep_data):
    """After a restart of the server, with data or without, a job is unknown until it is entered again."""
    directory, _ = make_job(tmp_path, 3)
    assert not ledger.knows(directory.key)
    enter_waiting(ledger, directory, Sent())
    assert ledger.knows(directory.key)
    broker.kill()
    broker.restart(keep_data=keep_data)
    assert not ledger.knows(directory.key)
    assert enter_waiting(ledger, directory, Sent()) == (0 if keep_data else 3)
    assert ledger.knows(directory.key)


def test_interrupted(tmp_path, broker, ledger):
    """Restoring that was cut short leaves the job unknown, so that somebody begins again."""
    directory, shards = make_job(tmp_path, 3)

    def send(member):
        if member.shard == shards[1]:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        enter_waiting(ledger, directory, send)
    assert not ledger.knows(directory.key)

    broker.restart(keep_data=False)

    def empty(member):
        if member.shard == shards[1]:
            broker.restart(keep_data=False)

    assert enter_waiting(ledger, directory, empty) == 3
    assert not ledger.knows(directory.key), "the server was emptied meanwhile; of three there is one"
    assert enter_waiting(ledger, directory, Sent()) == 2
    assert ledger.knows(directory.key)


def test_damaged(tmp_path, ledger):
    """A damaged manifest, or a directory that can't be read, is an error; the job stays unknown."""
    directory, (shard,) = make_job(tmp_path, 1)
    directory.pending(shard).unlink()
    directory.pending(shard).mkdir()
    with pytest.raises(TransientError, match="spooled rows can't be read"):
        enter_waiting(ledger, directory, Sent())
    (tmp_path / NAME).write_bytes(b"garbage\n")
    with pytest.raises(JobError, match="line 1"):
        enter_waiting(ledger, directory, Sent())
    assert not ledger.knows(directory.key)
