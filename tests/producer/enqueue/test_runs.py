"""From cuts to queued shards: repeating it changes nothing, whatever crashes in between."""

import contextlib
import itertools
import threading
import uuid
from contextlib import closing

import numpy as np
import pytest
from support.counting_store import counting
from support.jobs import decide, job_of, log_of, publish_shard, record_death, waiting
from support.processes import eventually

from producer.enqueue.growth import Growth
from producer.enqueue.pipeline import shards_of
from producer.enqueue.runs import FileRun, LiveRun
from producer.enqueue.shard import make_shard
from producer.jobs.decisions import cancel, retry
from producer.local.broker import EmbeddedBroker
from producer.queue.shard_queue import ShardQueue
from producer.sources.errors import SourceError
from producer.sources.rows import BadRow, Row
from unrolled.errors import JobError, TransientError
from unrolled.job import names
from unrolled.job.segment import Segment
from unrolled.patience import Patience, at_once
from unrolled.protocol.log import read_entries
from unrolled.protocol.objects import Objects
from unrolled.protocol.opening import OpenJob, create_job
from unrolled.queue.ledger import Counts
from unrolled.queue.member import Member
from unrolled.reading.outcome import failed_rows
from unrolled.store.memory import Crash, Fault, MemoryStore

SHARDS, ROWS_PER_SHARD = 5, 4


@pytest.fixture(scope="module")
def server():
    """One server for all that don't kill it; each test has a namespace of its own."""
    with EmbeddedBroker() as found:
        yield found


@pytest.fixture
def job(tmp_path):
    return create_job(tmp_path / "out", job_of())


@pytest.fixture
def live_job(tmp_path):
    return create_job(tmp_path / "live", job_of(live=True))


@pytest.fixture
def queue(server, job):
    with closing(ShardQueue(server.url, f"n{uuid.uuid4().hex[:8]}", job.job.offer, Patience(print))) as found:
        yield found


def cuts(shards=SHARDS, first=0, word=1, file="in.txt"):
    """Cuts of three rows and a bad one."""
    for index in range(first, first + shards):
        start = index * ROWS_PER_SHARD
        rows = [
            Row(file, place, f"{file}#{place}", np.array([word, 0, place + 1], np.int32))
            for place in range(start, start + 3)
        ]
        yield [*rows, BadRow(file, start + 3, None, "empty line")]


def spooled(job, shards=SHARDS):
    return [make_shard(index, job.job.id, cut) for index, cut in enumerate(cuts(shards))]


def enqueue(job, queue, stream=None, inputs=None, *, append=False):
    """One run of `enqueue`; the shards that were new to the log."""
    new = []
    growth = Growth(job, inputs, append=append)
    run = FileRun(job.objects, queue.of_job(job), lambda entry, is_new: new.extend([entry.shard] * is_new), growth)
    run.begin()
    run.run(shards_of(cuts() if stream is None else stream, job.job.id))
    return new


def follow(job, queue, stream, stop=lambda: None):
    """One run of `enqueue --follow`."""
    run = LiveRun(job.objects, queue.of_job(job), lambda *_: None, stop)
    run.begin()
    run.run(shards_of(stream(run.number), job.job.id))


def messages(queue):
    return queue.ledger.client.llen(queue.ledger.keys.queue)


def in_ledger(queue, job):
    return {life.shard for life in queue.ledger.members(job.key)[0]}


def check_enqueued(job, queue, shards=SHARDS):
    """Every shard has its rows and its bad rows, and is in the log, in order, and in the ledger, once."""
    whole = spooled(job, shards)
    log = log_of(job)
    assert list(read_entries(log, job.objects)) == [one.entry for one in whole]
    assert log.ended
    for one in whole:
        assert job.objects.read(names.rows_object(one.entry.shard)) == one.rows
        assert job.objects.read(names.quarantine_object(one.entry.shard)) == one.quarantine
    assert in_ledger(queue, job) == {one.entry.shard for one in whole}
    assert queue.ledger.counts() == Counts(shards, 0, sum(one.entry.size for one in whole))
    assert queue.ledger.mark(job.key) == log.length


def test_enqueued(job, queue):
    """Every cut is spooled, in the log, in the ledger and sent."""
    assert enqueue(job, queue) == [one.entry.shard for one in spooled(job)]
    check_enqueued(job, queue)
    assert messages(queue) == SHARDS


def test_twice(job, queue):
    """The same again writes nothing and sends nothing."""
    enqueue(job, queue)
    before = log_of(job).length
    assert enqueue(job, queue) == []
    check_enqueued(job, queue)
    assert (log_of(job).length, messages(queue)) == (before, SHARDS)


def test_many_shards_are_few_segments(job, queue, monkeypatch):
    """A segment is a round trip and a file: after the first shard, those of a second (here a long one) share one."""
    monkeypatch.setattr("producer.queue.shard_queue.SEGMENT_SECONDS", 3600.0)
    enqueue(job, queue, cuts(shards=300))
    assert log_of(job).length == 2, "the first shard; the others and the end"


def test_what_came_before_damage_is_queued(job, queue):
    """The rows before it don't wait for the repair, although their segment isn't due; the input hasn't ended."""

    def broken():
        yield from cuts(3)
        raise SourceError("in.txt", 12, "is damaged")

    with pytest.raises(SourceError, match="is damaged"):
        enqueue(job, queue, broken())
    log = log_of(job)
    assert (list(log.inputs), log.ended) == ([one.entry.shard for one in spooled(job, 3)], False)
    assert in_ledger(queue, job) == set(log.inputs)
    assert len(enqueue(job, queue)) == SHARDS - 3
    check_enqueued(job, queue)


def test_rows_that_were_lost_are_cut_again(job, queue):
    """A disk lost them: the same command creates them again, and their life stays."""
    enqueue(job, queue)
    first, second, *_ = waiting(job)
    job.objects.delete(names.rows_object(first))
    job.objects.delete(names.rows_object(second))
    assert enqueue(job, queue) == []
    check_enqueued(job, queue)


def test_a_list_of_bad_rows_that_was_lost_is_made_again(job, queue):
    """The same command creates it again, and queues nothing, whether the shard's rows wait or are published."""
    enqueue(job, queue)
    first, second, *_ = waiting(job)
    for shard in (first, second):
        job.objects.delete(names.quarantine_object(shard))
    assert enqueue(job, queue) == []
    check_enqueued(job, queue)
    publish_shard(job, first)
    queue.ledger.remove(Member(job.key, names.Life(first, 0)))
    job.objects.delete(names.quarantine_object(first))
    assert enqueue(job, queue) == []
    assert job.objects.read(names.quarantine_object(first)) == spooled(job)[0].quarantine
    assert first not in {*waiting(job), *in_ledger(queue, job)}


def test_a_part_that_was_removed_is_made_again(job, queue):
    """Such as one that was damaged: its rows are cut again, and the ledger, which had it as done, gets it back."""
    enqueue(job, queue)
    first, *others = waiting(job)
    publish_shard(job, first)
    queue.ledger.remove(Member(job.key, names.Life(first, 0)))
    job.objects.delete(names.part_object(first))
    assert enqueue(job, queue) == []
    check_enqueued(job, queue)
    assert others


def test_a_crash_while_a_removed_part_is_made_again(queue):
    """The run that cuts its rows again dies before any of its steps; the next one completes what it began."""
    left = [0]

    def hook(_):
        left[0] -= 1
        return Fault.CRASH_BEFORE if left[0] == 0 else None

    for count in itertools.count(1):
        job = OpenJob(job_of(), uuid.uuid4().hex[:16], Objects(MemoryStore(hook), at_once))
        enqueue(job, queue)
        first = waiting(job)[0]
        queue.ledger.remove(Member(job.key, names.Life(first, 0)))
        job.objects.delete(names.rows_object(first))
        left[0] = count
        with contextlib.suppress(Crash):
            enqueue(job, queue)
        died = left[0] <= 0
        left[0] = 0
        enqueue(job, queue)
        assert first in waiting(job)
        assert in_ledger(queue, job) == set(log_of(job).inputs)
        if not died:
            break
    assert count > 5


def test_a_removed_part_whose_failed_rows_were_retried_stays_away(job, queue):
    """Those rows are in a shard of their own; if all of its rows were queued again, some would be published twice."""
    enqueue(job, queue)
    first = waiting(job)[0]
    publish_shard(job, first, {1: "out of memory"})
    queue.ledger.remove(Member(job.key, names.Life(first, 0)))
    assert retry(job.objects, queue.of_job(job), failed_rows, failed=True).rows == 1
    job.objects.delete(names.part_object(first))
    assert enqueue(job, queue) == []
    assert first not in waiting(job)
    assert first not in in_ledger(queue, job)


def test_damaged_rows_of_a_dead_shard_are_cut_again(job, queue):
    """Sound rows replace the damaged ones, and the shard gets another life; another dead shard doesn't."""
    enqueue(job, queue)
    first, second, *_ = waiting(job)
    for shard in (first, second):
        queue.ledger.remove(Member(job.key, names.Life(shard, 0)))
        record_death(job, shard)
    sound = job.objects.read(names.rows_object(first))
    (job.objects.store.path / names.rows_object(first)).write_bytes(sound[:-1] + b"\xff")
    assert enqueue(job, queue) == []
    assert job.objects.read(names.rows_object(first)) == sound
    assert {life for life in queue.ledger.members(job.key)[0] if life.shard in (first, second)} == {
        names.Life(first, 1)
    }
    before = log_of(job).length
    assert enqueue(job, queue) == []
    assert log_of(job).length == before


def test_damaged_rows_beside_a_part_are_left_alone(job, queue):
    """Another attempt had read them before they were damaged; until its failed rows are saved, nothing is deleted."""
    enqueue(job, queue)
    first, *_ = waiting(job)
    job.objects.create(names.part_object(first), b"")
    record_death(job, first)
    path = job.objects.store.path / names.rows_object(first)
    path.write_bytes(b"damaged")
    assert enqueue(job, queue) == []
    assert path.read_bytes() == b"damaged"


def test_what_is_published_is_left_alone(job, queue):
    """Neither its rows nor its life are created again, even if the ledger was lost."""
    enqueue(job, queue)
    first, second, *_ = log_of(job).inputs
    job.objects.create(names.part_object(first), b"")
    job.objects.delete(names.rows_object(first))
    job.objects.create(names.dead_object(names.Life(second, 0)), b"{}")
    queue.ledger.cancel(job.key)
    assert enqueue(job, queue) == []
    assert in_ledger(queue, job) == set(log_of(job).inputs) - {first, second}
    assert first not in waiting(job)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (lambda: cuts(word=2), r"has changed since this job began: in shard 0 \(4 rows from in.txt row 0 on\)"),
        (lambda: cuts(shards=SHARDS - 1), r"it ends 1 shard earlier"),
        (
            lambda: cuts(shards=SHARDS + 1),
            r"has grown .* after 5 shards, now it continues at in.txt row 20. Use --append",
        ),
    ],
    ids=["another", "shorter", "longer"],
)
def test_a_changed_input_is_refused(job, queue, stream, reason):
    """Before anything of it is written."""
    enqueue(job, queue)
    before = log_of(job).length
    with pytest.raises(JobError, match=reason):
        enqueue(job, queue, stream())
    assert log_of(job).length == before
    check_enqueued(job, queue)


def test_a_cancelled_job_goes_on(job, queue):
    """The same command resumes it; one that was running meanwhile stops."""
    enqueue(job, queue, cuts(shards=2))
    decide(job, Segment("cancel"))

    def stream():
        yield from cuts()

    with pytest.raises(JobError, match="it ended after 2"):
        enqueue(job, queue, stream())
    assert not log_of(job).cancelled


def test_a_cancel_since_the_run_was_started_holds(job, queue):
    """The run may have waited for the broker meanwhile; the same command, given again, resumes the job."""
    enqueue(job, queue)
    cancel(job.objects, queue.of_job(job))
    run = FileRun(job.objects, queue.of_job(job), lambda *_: None, Growth(job), cancels=0)
    with pytest.raises(JobError, match="was cancelled while this command waited; nothing is queued"):
        run.begin()
    assert log_of(job).cancelled
    assert in_ledger(queue, job) == set()
    run = FileRun(job.objects, queue.of_job(job), lambda *_: None, Growth(job), cancels=1)
    run.begin()
    run.run(shards_of(cuts(), job.job.id))
    check_enqueued(job, queue)
    decide(job, Segment("cancel"))
    decide(job, Segment("discard"))
    run = FileRun(job.objects, queue.of_job(job), lambda *_: None, Growth(job), cancels=1)
    with pytest.raises(JobError, match="discarded"):
        run.begin()


def test_a_cancel_of_a_stream_since_the_run_was_started_holds(live_job, queue):
    """What was taken from the stream before is kept."""
    follow(live_job, queue, lambda number: cuts(1, file=f"-#{number}"))
    cancel(live_job.objects, queue.of_job(live_job))
    for cancels, text in ((0, "was cancelled while its input was read"), (2, None)):  # a stream is cancelled again
        run = LiveRun(live_job.objects, queue.of_job(live_job), lambda *_: None, lambda: None, cancels)
        run.begin()
        with pytest.raises(JobError, match=text) if text else contextlib.nullcontext():
            run.run(shards_of(cuts(1, len(log_of(live_job).inputs), file=f"-#{run.number}"), live_job.job.id))
        assert log_of(live_job).cancelled == (text is not None)
        assert (in_ledger(queue, live_job) == set()) == (text is not None)
    assert len(log_of(live_job).inputs) == 3


def test_a_cancel_while_the_last_shards_are_queued(job, queue, monkeypatch):
    """The broker may be away just then; a producer that ended as if all were queued would mislead."""
    ledger = queue.of_job(job)
    mark = ledger.mark

    def mark_after_a_cancel():
        if log_of(job).ended and not log_of(job).cancelled:
            decide(job, Segment("cancel"))
        return mark()

    monkeypatch.setattr(ledger, "mark", mark_after_a_cancel)
    run = FileRun(job.objects, ledger, lambda *_: None, Growth(job))
    run.begin()
    with pytest.raises(JobError, match="was cancelled while its input was read"):
        run.run(shards_of(cuts(), job.job.id))


def test_a_discarded_job_does_not_go_on(job, queue):
    """The run says that it was discarded, not that this has happened just now, and what to do."""
    decide(job, Segment("discard"))
    with pytest.raises(
        JobError, match=r"discarded; use another --out\. To use this one again: unrolled discard \S+, which"
    ):
        enqueue(job, queue, cuts())


def test_a_running_producer_stops_at_a_cancel(job, queue):
    """What it had cut before stays, and waits for the command to be given again."""

    def stream():
        for number, cut in enumerate(cuts()):
            if number == 3:
                cancel(job.objects, queue.of_job(job))
            yield cut

    with pytest.raises(JobError, match="was cancelled while its input was read"):
        enqueue(job, queue, stream())
    assert in_ledger(queue, job) == set()


def test_two_producers_at_once(job, queue):
    """No lock is needed: their cuts are equal, and the log has every shard once."""
    threads = [threading.Thread(target=enqueue, args=(job, queue, cuts(shards=40))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_enqueued(job, queue, 40)


def test_a_lost_ledger_is_entered_again(job, queue):
    """Redis was restarted empty, or has evicted a key: the next run enters everything that waits."""
    enqueue(job, queue)
    for key in queue.ledger.client.scan_iter(f"{queue.ledger.keys.ledger.rsplit(':', 1)[0]}*"):
        queue.ledger.client.delete(key)
    enqueue(job, queue)
    check_enqueued(job, queue)


def crashing(count):
    """A store that dies before its `count`-th operation from now on, and one that goes on without."""
    left = [count]

    def hook(_):
        left[0] -= 1
        return Fault.CRASH_BEFORE if left[0] == 0 else None

    return MemoryStore(hook), lambda: left.__setitem__(0, -1)


@pytest.mark.parametrize("live", [False, True])
def test_a_crash_before_any_operation(server, live):
    """The command, given again, ends as an undisturbed run does; nothing that was read is lost."""
    made = job_of(live=live)
    for count in range(1, 200):
        store, mend = crashing(count)
        job = OpenJob(made, uuid.uuid4().hex[:16], Objects(store, at_once))
        rows = list(cuts(shards=2))
        queue = ShardQueue(server.url, f"c{uuid.uuid4().hex[:8]}", made.offer, Patience(print))
        read = []

        def pipe(_, rows=rows, read=read):
            while rows:
                read.append(rows[0])
                yield rows.pop(0)

        with closing(queue):
            try:
                follow(job, queue, pipe) if live else enqueue(job, queue, cuts(shards=2))
            except Crash:
                mend()
            else:
                assert count > 10
                return
            follow(job, queue, pipe) if live else enqueue(job, queue, cuts(shards=2))
            log = log_of(job)
            assert log.ended
            if not live:
                check_enqueued(job, queue, 2)
            # A row that was read and not yet durable when its process died is all that may be missing.
            assert SHARDS > len(log.inputs) >= 1
            assert in_ledger(queue, job) == set(log.inputs)
    pytest.fail("the run never came to its end")


def test_a_live_run_brings_what_a_dead_one_has_read(live_job, queue):
    """Rows that were durable and in no segment are added, never deleted."""
    stray = make_shard(0, live_job.job.id, next(cuts(file="-#0")))
    decide(live_job, Segment("begin", run="0" * 16))
    live_job.objects.create(names.quarantine_object(stray.entry.shard), stray.quarantine)
    live_job.objects.create(names.rows_object(stray.entry.shard), stray.rows)
    follow(live_job, queue, lambda _: cuts(shards=1, first=7, file="-#1"))
    log = log_of(live_job)
    assert log.inputs[0] == stray.entry.shard
    assert len(log.inputs) == 2
    assert live_job.objects.read(names.rows_object(stray.entry.shard)) == stray.rows


def test_a_live_run_touches_the_log_once_for_each_shard(live_job, queue):
    """Its segment is created without a look before it; one look afterwards shows what others have added."""
    counted, asked = counting(live_job)
    run = LiveRun(counted.objects, queue.of_job(counted), lambda *_: None, lambda: None)
    run.begin()
    steps = []

    def noted():
        for cut in cuts(4, file=f"in.txt#{run.number}"):
            steps.append((asked["create"], asked["read"], asked["list"]))
            yield cut

    run.run(shards_of(noted(), live_job.job.id))
    each = {tuple(np.subtract(after, before).tolist()) for before, after in itertools.pairwise(steps)}
    assert each == {(3, 1, 0)}, "rows, bad rows and segment are created; the next segment is looked for"
    assert len(log_of(live_job).inputs) == 4


def test_a_live_run_that_is_fenced_off_keeps_what_it_read(live_job, queue):
    """Another run begins: the first run stops reading, queues what it had read ahead, and ends with an error."""
    stopped = threading.Event()

    def stream(_):
        yield next(cuts(file="-#0"))
        decide(live_job, Segment("begin", run="f" * 16))
        yield from cuts(shards=2, first=1, file="-#0")
        assert stopped.is_set(), "it reads on"
        yield next(cuts(first=3, file="-#0"))

    with pytest.raises(JobError, match="another command with --follow has begun to read"):
        follow(live_job, queue, stream, stopped.set)
    log = log_of(live_job)
    assert len(log.inputs) == 4
    assert not log.ended


def test_a_live_run_whose_log_is_damaged_keeps_what_it_read(live_job, queue):
    """Nothing can be added to a damaged log: all rows read are made durable, and added once the log is repaired."""
    stopped = threading.Event()
    damaged = live_job.objects.store.path / names.segment_name(2)

    def stream(_):
        yield next(cuts(file="-#0"))
        damaged.write_bytes(b"half")
        yield from cuts(shards=2, first=1, file="-#0")
        assert stopped.is_set(), "it reads on"
        yield next(cuts(first=3, file="-#0"))

    with pytest.raises(JobError, match="not a segment of a job's log"):
        follow(live_job, queue, stream, stopped.set)
    assert len(waiting(live_job)) == 4
    damaged.unlink()
    follow(live_job, queue, lambda _: iter(()))
    assert len(log_of(live_job).inputs) == 4
    assert in_ledger(queue, live_job) == set(waiting(live_job))


@pytest.mark.parametrize("live", [False, True])
def test_a_store_that_refuses_is_waited_for(queue, live):
    """A full disk, or a server that is away, before any operation: nothing is lost, and nothing is queued twice."""
    said = []
    for count in itertools.count(1):
        left = [0]

        def hook(operation, left=left):
            left[0] -= 1
            if left[0] not in (0, -1):
                return None
            return Fault.FULL if operation.kind == "create" else Fault.REFUSED

        job = OpenJob(job_of(live=live), uuid.uuid4().hex[:16], Objects(MemoryStore(hook), at_once))
        job = job.with_patience(Quick(said.append).until_done)
        left[0] = count
        if live:
            follow(job, queue, lambda number: cuts(shards=2, file=f"-#{number}"))
        else:
            enqueue(job, queue, cuts(shards=2))
        is_over = left[0] > 0
        assert [entry.rows for entry in log_of(job).entries.values()] == [3, 3]
        assert len(waiting(job)) == 2
        assert in_ledger(queue, job) == set(waiting(job))
        if is_over:
            break
    assert len(said) > 10


class Quick(Patience):
    """Tries again at once."""

    def until_done(self, what, action):
        while True:
            try:
                return action()
            except TransientError as error:
                self.fails(what, error)


def test_a_live_run_of_a_discarded_job_leaves_nothing(live_job, queue):
    """None of its objects counts any more, so what was read ahead isn't made durable."""

    def stream(_):
        decide(live_job, Segment("discard"))
        yield from cuts(shards=3, file="-#0")

    with pytest.raises(JobError, match="discarded"):
        follow(live_job, queue, stream)
    assert len(waiting(live_job)) == 1, "the rows that were on their way when it learned of it"


def test_live_runs_have_numbers_of_their_own(live_job, queue):
    """A run's row ids contain the number of the segment that begins it, so that no two runs give equal ids."""
    numbers = []
    for first in range(2):
        follow(
            live_job, queue, lambda number, first=first: numbers.append(number) or cuts(1, first, file=f"-#{number}")
        )
    assert len(set(numbers)) == 2
    assert len(log_of(live_job).inputs) == 2


def test_a_full_queue_is_waited_for_and_said(server, job, monkeypatch):
    """If no room is made, a line says why. A job of which nothing is in the queue doesn't wait for others."""
    said = []
    monkeypatch.setattr("producer.queue.shard_queue.FULL_PATIENCE", 0.0)
    queue = ShardQueue(server.url, f"n{uuid.uuid4().hex[:8]}", job.job.offer, Patience(said.append), 1)
    another = Member("f" * 16, names.Life(spooled(job)[0].entry.shard, 0))
    with closing(queue):
        queue.ledger.enter(another.job_key, "/other", None, [(another, 7)], 1)
        thread = threading.Thread(target=enqueue, args=(job, queue, cuts(shards=2)))
        thread.start()
        eventually(lambda: said, "a word about the full queue")
        (first,) = log_of(job).inputs
        queue.ledger.remove(another)
        queue.ledger.remove(Member(job.key, names.Life(first, 0)))
        thread.join()
    assert len(log_of(job).inputs) == 2
    assert any("the queue is full" in line and "no worker offers model abababababab…" in line for line in said)
