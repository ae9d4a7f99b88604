"""One outcome of a shard, also if two attempts disagree about which rows fail."""

import itertools
import json
from functools import partial

import pyarrow.parquet as pq
import pytest
from support.jobs import VOCABULARY, cut, job_of, make_job, publish_shard, waiting

from producer.enqueue.shard import make_shard
from unrolled.errors import FileFormatError, PayloadError, TransientError
from unrolled.job import names, payload
from unrolled.job.names import Life
from unrolled.patience import at_once
from unrolled.protocol.finishing import finish
from unrolled.protocol.objects import Objects
from unrolled.protocol.opening import OpenJob
from unrolled.protocol.spooling import spool
from unrolled.reading.outcome import failed_rows, read_outcome
from unrolled.store.memory import Crash, Fault, Lag, MemoryStore
from worker.shards.publication import Found, look, publish, record_death
from worker.shards.shard_rows import decode_rows

#: Two attempts, each with the rows that fail in it.
ATTEMPTS = {
    "one fails on a row, then the other on none": ({1: "out of memory"}, {}),
    "one fails on none, then the other on a row": ({}, {1: "out of memory"}),
    "each fails on another row": ({1: "too hard"}, {2: "too odd"}),
    "both fail on all": (dict.fromkeys(range(4), "x"), dict.fromkeys(range(4), "x")),
}


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path / "out", 1)


@pytest.fixture
def shard(job):
    return waiting(job)[0]


def in_memory(hook=None, steadily=at_once, **more):
    """A job of one shard in a store that stops before each operation, and the shard."""
    objects = Objects(MemoryStore(hook, **more), steadily)
    spooled = make_shard(0, job_of().id, cut(0))
    spool(objects, spooled)
    return OpenJob(job_of(), "0" * 16, objects), spooled.entry.shard


def ids_of_rows(job, name):
    """The ids of the rows in an object; None where there is none."""
    content = job.objects.read(name)
    return None if content is None else payload.decode(content).ids.to_pylist()


@pytest.mark.parametrize("first", ATTEMPTS)
def test_the_first_attempt_is_the_outcome(job, shard, first):
    """Whatever a second one makes of it: the part stays, byte for byte, and so does what it says of failed rows."""
    ours, theirs = ATTEMPTS[first]
    rows = job.objects.read(names.rows_object(shard))
    assert publish_shard(job, shard, ours)
    before = job.objects.read(names.part_object(shard))
    assert not publish_shard(job, shard, theirs, rows)
    assert job.objects.read(names.part_object(shard)) == before
    assert {row.row: row.reason for row in read_outcome(job.objects, shard).failed} == ours
    assert ids_of_rows(job, names.failed_object(shard)) == ([f"rows.txt#{row}" for row in ours] or None)
    assert waiting(job) == []


@pytest.mark.parametrize("first", ATTEMPTS)
def test_two_attempts_in_any_order_of_steps_lose_no_row(first):
    """One is stopped before any of its steps while the other goes to its end, then goes on or dies: no row is lost."""
    for ours, theirs in itertools.permutations(ATTEMPTS[first]):
        for is_disk, dies in itertools.product((False, True), repeat=2):
            interrupted = partial(_interrupted_at, ours=ours, theirs=theirs, is_disk=is_disk, dies=dies)
            assert len(list(itertools.takewhile(interrupted, itertools.count(1)))) >= 4


def _attempt(job, shard, failed):
    """What a worker does with a shard between its claim and the ledger."""
    found = look(job.objects, shard, failed_rows)
    if found.rows is not None:
        publish_shard(job, shard, failed, found.rows)
    elif found.failed is not None:
        finish(job.objects, shard, found.failed)


def _interrupted_at(step, *, ours, theirs, is_disk, dies):
    """Run an attempt to a step, another one to its end, then the rest of the first; False where it has fewer steps."""
    count = itertools.count(1)
    reached = []

    def hook(_):
        if armed and not reached and next(count) == step:
            reached.append(True)
            _attempt(job, shard, theirs)
            if dies:
                raise Crash

    armed = False
    job, shard = in_memory(hook, is_disk=is_disk)
    armed = True
    try:
        _attempt(job, shard, ours)
    except Crash:
        armed = False
        _check_rows(job, shard)
        _attempt(job, shard, ours)  # the next claim of the shard
    armed = False
    failed = _check_rows(job, shard)
    assert ids_of_rows(job, names.failed_object(shard)) == (failed or None)
    assert waiting(job) == []
    return bool(reached)


def _check_rows(job, shard):
    """Each row is in the part, or the part calls it failed and its tokens are kept; the ids of those that failed."""
    info = read_outcome(job.objects, shard)
    failed = [row.id for row in info.failed]
    table = pq.read_table(job.objects.store.open(names.part_object(shard)))
    assert sorted(table["id"].to_pylist() + failed) == [f"rows.txt#{row}" for row in range(4)]
    kept = ids_of_rows(job, names.failed_object(shard)) or ids_of_rows(job, names.rows_object(shard)) or []
    assert set(failed) <= set(kept)
    return failed


def test_a_look_finds_rows_then_the_part(job, shard):
    """The part's own list where it is published, whether rows exist or not."""
    rows = job.objects.read(names.rows_object(shard))
    assert look(job.objects, shard, failed_rows) == Found(rows, None)
    publish_shard(job, shard, {2: "too hard"})
    assert look(job.objects, shard, failed_rows) == Found(None, [2])
    job.objects.create(names.rows_object(shard), rows)
    assert look(job.objects, shard, failed_rows) == Found(None, [2])


def test_a_look_at_nothing_proves_nothing(job, shard):
    """Neither part nor rows: the caller learns that, and the shard isn't declared dead."""
    job.objects.delete(names.rows_object(shard))
    assert look(job.objects, shard, failed_rows) == Found(None, None)


def test_a_shard_that_is_published_between_two_looks_is_found():
    """Its part wasn't there at the first look, its rows aren't any more at the second."""
    published = []

    def hook(operation):
        if operation == ("read", names.rows_object(shard)) and looking and not published:
            published.append(True)
            publish_shard(job, shard, {3: "x"})

    looking = False
    shard = None
    job, shard = in_memory(hook)
    looking = True
    assert look(job.objects, shard, failed_rows) == Found(None, [3])


def test_a_look_at_a_damaged_part_says_so(job, shard):
    """It is no outcome; nothing is deleted because of it."""
    job.objects.create(names.part_object(shard), b"PAR1")
    for attempt in (lambda: look(job.objects, shard, failed_rows), lambda: publish_shard(job, shard)):
        with pytest.raises(FileFormatError, match=f"part-{shard}"):
            attempt()
    assert waiting(job) == [shard]


class Pausing:
    """Tries an action until it works, and counts the pauses between two tries."""

    def __init__(self):
        self.pauses = 0

    def __call__(self, what, action):
        del what
        while True:
            try:
                return action()
            except TransientError:
                self.pauses += 1


def test_a_part_that_cannot_be_seen_yet_is_waited_for():
    """A network file system may show another's part late; the attempt that was second pauses until it does."""
    lags, pausing = [], Pausing()

    def hook(operation):
        if operation == ("read", names.part_object(shard)) and lags:
            return lags.pop()
        return None

    shard = None
    job, shard = in_memory(hook, pausing, is_disk=True)
    rows = job.objects.read(names.rows_object(shard))
    publish_shard(job, shard, {0: "x"})
    lags += [Lag(64)] * 3
    assert not publish_shard(job, shard, {}, rows)
    assert (lags, pausing.pauses) == ([], 3)
    assert waiting(job) == []


def test_an_attempt_whose_rival_is_discarded_ends():
    """A part that existed and is deleted at once, by `discard`, doesn't hold the attempt for ever."""
    discarded = []

    def hook(operation):
        if operation == ("read", names.part_object(shard)) and armed and not discarded:
            discarded.append(True)
            job.objects.delete(names.part_object(shard))

    armed, shard = False, None
    job, shard = in_memory(hook, Pausing())
    rows = job.objects.read(names.rows_object(shard))
    publish_shard(job, shard)
    armed = True
    publish_shard(job, shard, {}, rows)
    assert discarded


def test_an_answer_that_got_lost_changes_nothing():
    """In a bucket, the caller's own part may look like another attempt's: its list is equal, and the rows go."""
    faults = []

    def hook(operation):
        return faults.pop() if faults and operation.kind == "create" else None

    job, shard = in_memory(hook)
    faults.append(Fault.EXISTS)
    publish_shard(job, shard, {1: "x"})
    assert ids_of_rows(job, names.failed_object(shard)) == ["rows.txt#1"]
    assert waiting(job) == []


def test_a_part_of_other_rows_deletes_none(job, shard):
    """Anyone who can write there may put a part whose list names rows that don't exist."""
    content = job.objects.read(names.rows_object(shard))
    rows = decode_rows(content, shard, VOCABULARY)
    with pytest.raises(PayloadError, match="the part is not this shard's"):
        publish(job.objects, shard, b"", [rows.tokens.rows], content, failed_rows)
    assert waiting(job) == [shard]


def test_a_record_of_death_says_why(job, shard):
    """The life that was given up is named, and its rows stay; the first reason is the one that counts."""
    life = Life(shard, 2)
    record_death(job.objects, life, "its worker died 3 times")
    record_death(job.objects, life, "another reason")
    content = json.loads(job.objects.read(names.dead_object(life)))
    assert content == {"life": f"{shard}.2", "reason": "its worker died 3 times"}
    assert waiting(job) == [shard]
