"""From rows to queued shards, again and again to the same effect, whatever crashes between."""

import threading
import uuid
from contextlib import closing

import numpy as np
import pytest
from support.broker import RestartableBroker

from producer.enqueue.enqueuer import open_enqueuer
from producer.enqueue.shard import make_shard
from producer.enqueue.summary import Summary
from producer.queue.shard_queue import ShardQueue
from producer.rows import BadRow, Row
from unrolled.errors import JobError, TransientError
from unrolled.job.directory import JobDirectory, create_job
from unrolled.job.job import Job
from unrolled.job.manifest import ManifestWriter, read_manifest
from unrolled.patience import Patience
from unrolled.queue.ledger import Counts
from unrolled.queue.member import Member

MODEL = "ab" * 32
SHARDS, ROWS_PER_SHARD = 5, 4


class CrashError(Exception):
    """Ends a run before it is done."""


@pytest.fixture
def directory(tmp_path):
    return create_job(tmp_path / "out", Job(MODEL, ("in.txt",), {}))


@pytest.fixture(scope="module")
def server():
    """One server for all that don't kill it; each test has a namespace of its own."""
    with RestartableBroker() as found:
        yield found


@pytest.fixture
def queue(server, directory):
    with closing(ShardQueue(directory, server.url, f"n{uuid.uuid4().hex[:8]}", Patience(print))) as found:
        yield found


def stream(shards=SHARDS, first=0, word=1):
    """Cuts of three rows and a bad one."""
    for index in range(first, first + shards):
        start = index * ROWS_PER_SHARD
        cut = [
            Row("in.txt", place, f"in.txt#{place}", np.array([word, 0, place + 1], np.int32))
            for place in range(start, start + 3)
        ]
        yield [*cut, BadRow("in.txt", start + 3, None, "empty line")]


def expected(shards=SHARDS):
    return [make_shard(index, cut) for index, cut in enumerate(stream(shards))]


def enqueue(directory, queue, cuts_=None, *, live=False, each=lambda _: None):
    with open_enqueuer(directory, Patience(print), live=live, each=each) as enqueuer:
        return enqueuer.run(stream() if cuts_ is None else cuts_, queue)


def waiting_list(queue):
    """The key of the model's messages."""
    return queue.ledger.keys.queue


def messages(queue):
    return queue.ledger.client.llen(waiting_list(queue))


def publish(directory, queue, shard):
    """What a worker does, but for the file's content."""
    directory.part(shard).write_text("outputs")
    directory.discard_pending(shard)
    queue.ledger.remove(Member(directory.key, shard))


def assert_complete(directory, queue, shards=SHARDS):
    """Every shard is in the ledger, once, and in the manifest, in order, and nothing else is there."""
    whole = expected(shards)
    manifest = read_manifest(directory.path)
    assert manifest.entries == tuple(shard.entry for shard in whole)
    assert manifest.ended
    assert manifest.rows == shards * ROWS_PER_SHARD
    ids = {shard.id for shard in whole}
    assert queue.ledger.members(directory.key)[0] == ids
    assert queue.ledger.counts() == Counts(shards, 0, sum(shard.size for shard in whole))
    assert directory.waiting() == directory.quarantined() == ids
    for shard in whole:
        assert directory.pending(shard.id).read_bytes() == shard.blob
        assert directory.quarantine(shard.id).read_bytes() == shard.bad_rows


def test_enqueued(directory, queue):
    """Every cut is spooled, in the manifest, in the ledger and sent; the summary counts as it grows."""
    seen = []
    summary = enqueue(directory, queue, each=lambda found: seen.append((found.shards, found.sent)))
    assert summary == Summary(rows=20, tokens=30, quarantined=5, shards=5, sent=5)
    assert seen == [(n, n) for n in range(1, 6)]
    assert_complete(directory, queue)
    assert messages(queue) == SHARDS


def test_twice(directory, queue):
    """A second run sends and writes nothing; its summary still counts everything."""
    enqueue(directory, queue)
    before = (directory.path / "_manifest.jsonl").read_bytes()
    summary = enqueue(directory, queue)
    assert summary == Summary(rows=20, tokens=30, quarantined=5, shards=5)
    assert_complete(directory, queue)
    assert messages(queue) == SHARDS
    assert (directory.path / "_manifest.jsonl").read_bytes() == before


def test_published_and_dead(directory, queue):
    """What is published or dead isn't entered again, also where that happened after the run began."""
    enqueue(directory, queue)
    ids = [shard.id for shard in expected()]
    publish(directory, queue, ids[0])
    directory.dead(ids[1]).write_text("{}")
    queue.ledger.remove(Member(directory.key, ids[1]))

    def each(summary):
        if summary.shards == 1:
            directory.dead(ids[3]).write_text("{}")
            queue.ledger.remove(Member(directory.key, ids[3]))

    summary = enqueue(directory, queue, each=each)
    assert (summary.published, summary.dead, summary.sent) == (1, 2, 0)
    assert queue.ledger.members(directory.key)[0] == {ids[2], ids[4]}
    assert messages(queue) == SHARDS


def test_rows_that_vanished(directory, queue):
    """A shard whose rows and file were removed is spooled and entered again."""
    enqueue(directory, queue)
    ids = [shard.id for shard in expected()]
    publish(directory, queue, ids[2])
    directory.part(ids[2]).unlink()
    assert enqueue(directory, queue).sent == 1
    assert_complete(directory, queue)


def crash_after(action, index):
    """The same action, but its call for that shard is the last thing that the run does."""
    count = iter(range(SHARDS + 1))

    def crashing(*arguments, **options):
        action(*arguments, **options)
        if next(count) == index:
            raise CrashError

    return crashing


def crash_in(part, action, index):
    """The same action, but of its call for that shard only a part is done."""
    count = iter(range(SHARDS + 1))

    def crashing(*arguments):
        if next(count) == index:
            part(*arguments)
            raise CrashError
        action(*arguments)

    return crashing


def bad_rows_alone(directory, shard, _, bad_rows):
    """The first half of spooling."""
    directory.quarantine(shard).write_bytes(bad_rows)


def nothing(*_, **__):
    """What a process does that is gone."""


@pytest.mark.parametrize("index", [0, 2, SHARDS - 1])
@pytest.mark.parametrize("step", ["bad rows", "rows", "manifest", "ledger", "message"])
def test_crash_anywhere(directory, queue, monkeypatch, step, index):
    """A run that ends after any step of any shard is made whole by the next; every shard is entered once."""
    with monkeypatch.context() as patch:
        match step:
            case "bad rows":
                patch.setattr(JobDirectory, "spool", crash_in(bad_rows_alone, JobDirectory.spool, index))
            case "rows":
                patch.setattr(JobDirectory, "spool", crash_after(JobDirectory.spool, index))
            case "manifest":
                patch.setattr(ManifestWriter, "append", crash_after(ManifestWriter.append, index))
            case "ledger":
                patch.setattr(queue, "send", crash_after(nothing, index))
            case "message":
                patch.setattr(queue, "send", crash_after(queue.send, index))
        with pytest.raises(CrashError):
            enqueue(directory, queue)
    enqueue(directory, queue)
    assert_complete(directory, queue)
    if step != "ledger":
        assert messages(queue) == SHARDS
        return
    assert messages(queue) == SHARDS - index - 1
    for member, _ in queue.ledger.client.zscan_iter(queue.ledger.keys.ledger):
        queue.ledger.client.zadd(queue.ledger.keys.ledger, {member: 1})
    queue.ledger.client.delete(waiting_list(queue))
    assert len(queue.ledger.sweep()) == SHARDS, "what has no message is found by the workers"


def test_crash_before_the_end(directory, queue, monkeypatch):
    """A run that ends before the manifest's last line is made whole by the next."""
    with monkeypatch.context() as patch:
        patch.setattr(ManifestWriter, "end", crash_after(nothing, 0))
        with pytest.raises(CrashError):
            enqueue(directory, queue)
    assert not read_manifest(directory.path).ended
    enqueue(directory, queue)
    assert_complete(directory, queue)
    assert messages(queue) == SHARDS


def test_killed_by_refusal(directory, queue):
    """What was queued before an error in the input stays queued; the next run continues there."""

    def broken():
        yield from stream(3)
        raise TransientError("in.txt: the file broke off")

    with pytest.raises(TransientError, match="broke off"):
        enqueue(directory, queue, broken())
    assert not read_manifest(directory.path).ended
    assert queue.ledger.counts().shards == 3
    assert enqueue(directory, queue).sent == 2
    assert_complete(directory, queue)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (lambda: stream(word=2), "shard 0 began at in.txt row 0 with content 000000-"),
        (
            lambda: [*stream(2), *stream(3, first=2, word=2)],
            "shard 2 began at in.txt row 8 with content 000002-",
        ),
        (lambda: list(stream())[1:], "now at in.txt row 4 with 000000-"),
        (lambda: stream(3), "it ends 2 shard(s) earlier"),
        (lambda: stream(6), "it ended after 5 shard(s), now it continues at in.txt row 20"),
    ],
)
def test_changed_input(directory, queue, changed, what):
    """An input that isn't what it was is refused, naming the place; nothing of it is entered or written."""
    enqueue(directory, queue)
    with pytest.raises(JobError) as caught:
        enqueue(directory, queue, changed())
    assert str(caught.value).startswith(f"{directory.path}: the input has changed since this job began: ")
    assert what in str(caught.value)
    assert "use another --out" in str(caught.value)
    assert_complete(directory, queue)


def test_changed_bad_rows(directory, queue):
    """One more bad row is a change as well."""
    enqueue(directory, queue)
    first, *others = stream()
    with pytest.raises(JobError, match="the input has changed"):
        enqueue(directory, queue, [[*first, BadRow("in.txt", 9, None, "x")], *others])


def test_live_goes_on(directory, queue):
    """A live input continues after the shards of earlier runs, and the end counts all of them."""
    enqueue(directory, queue, stream(2), live=True)
    assert read_manifest(directory.path).ended
    assert enqueue(directory, queue, stream(3, first=2), live=True).sent == 3
    assert_complete(directory, queue)
    assert enqueue(directory, queue, [], live=True).sent == 0
    assert_complete(directory, queue)


@pytest.mark.parametrize("keep", [True, False])
def test_live_after_a_crash(directory, queue, monkeypatch, keep):
    """A live shard that was cut and not entered, which no input brings again, is entered by the next run."""
    with monkeypatch.context() as patch:
        patch.setattr(ManifestWriter, "append", crash_after(ManifestWriter.append, 1))
        with pytest.raises(CrashError):
            enqueue(directory, queue, stream(2), live=True)
    if not keep:
        queue.ledger.client.flushdb()
    seen = []

    def later():
        seen.append(queue.ledger.counts().shards)
        yield from stream(3, first=2)

    enqueue(directory, queue, later(), live=True)
    assert seen == [2]
    assert_complete(directory, queue)


def test_strays(directory, queue):
    """Rows and bad rows that were spooled and never got into the manifest go; the engine's lists stay."""
    enqueue(directory, queue)
    stray = make_shard(7, next(stream(1, first=7)))
    directory.pending(stray.id).write_bytes(stray.blob)
    directory.quarantine(stray.id).write_bytes(stray.bad_rows)
    (directory.path / "_pending" / "notes.txt").write_text("mine")
    kept = directory.quarantine(expected()[0].id, engine=True)
    kept.write_text("{}")
    enqueue(directory, queue)
    assert kept.exists()
    assert (directory.path / "_pending" / "notes.txt").exists()
    assert_complete(directory, queue)


def test_torn_manifest(directory, queue):
    """A manifest line that a crash cut short is written again, and its shard entered once."""
    enqueue(directory, queue, stream(3), live=True)
    path = directory.path / "_manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:30])
    enqueue(directory, queue)
    assert_complete(directory, queue)


@pytest.mark.parametrize("keep_data", [True, False])
def test_broker_killed_midway(broker, directory, keep_data):
    """A broker that is killed and comes back, with its data or empty, is waited for: nothing is missing."""

    def each(summary):
        if summary.shards == 3:
            broker.kill()
            threading.Timer(0.2, lambda: broker.restart(keep_data=keep_data)).start()

    with closing(ShardQueue(directory, broker.url, "unrolled", Patience(print))) as queue:
        assert enqueue(directory, queue, each=each).sent == SHARDS
        assert_complete(directory, queue)


def test_full_disk_midway(directory, queue):
    """A directory that takes nothing for a while is waited for."""
    pending = directory.path / "_pending"
    away = directory.path / "away"

    def each(summary):
        if summary.shards == 2:
            pending.rename(away)
            threading.Timer(0.3, lambda: away.rename(pending)).start()

    assert enqueue(directory, queue, each=each).sent == SHARDS
    assert_complete(directory, queue)
