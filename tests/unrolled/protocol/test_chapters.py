"""The chapters of a log: they say what its segments say, and are believed only if they are whole."""

# One file: what a chapter has, when it is believed, and who writes it.

import hashlib
import itertools
import json
import random

import pytest

from unrolled.errors import JobError, TransientError
from unrolled.job import names
from unrolled.job.inputs import Inputs
from unrolled.job.names import Life, chapter_name, segment_name
from unrolled.job.segment import Entry, Segment
from unrolled.job.shard_id import ShardId
from unrolled.patience import at_once
from unrolled.protocol import chapters
from unrolled.protocol.chapter import Chapter
from unrolled.protocol.chapters import false_chapters, write_chapters
from unrolled.protocol.log import Log, append, catch_up, read_entries
from unrolled.protocol.objects import Objects
from unrolled.store.memory import Fault, MemoryStore


@pytest.fixture(autouse=True)
def three_segments(monkeypatch):
    """A chapter has three segments."""
    monkeypatch.setattr(chapters, "SEGMENTS", 3)


def entry(number, source=None):
    shard = ShardId(number, f"{number:012x}")
    if source:
        shard = ShardId(source.index, f"{number:012x}", source.retries + 1)
    return Entry(shard, number, number + 1, number + 2, number % 2, f"{number:032x}", source, "f", number)


def segments(count, seed=1):
    """Segments of all kinds, in which shards come again, are retried, and get further lives."""
    rng, known, numbers = random.Random(seed), [], itertools.count()
    for _ in range(count):
        new = tuple(entry(next(numbers)) for _ in range(rng.randrange(3)))
        match rng.randrange(7):
            case 0 if known:
                retried = tuple(entry(next(numbers), source) for source in rng.sample(known, 1))
                lives = tuple(Life(shard, rng.randint(1, 3)) for shard in rng.sample(known, 1))
                yield Segment("retry", retried, lives)
                known += [each.shard for each in retried]
            case 1:
                yield Segment("begin", run=f"{rng.getrandbits(64):016x}")
            case 2:
                more = Segment("append", inputs=Inputs.named(map(str, range(rng.randrange(9)))))
                yield rng.choice([Segment("end"), more, Segment("cancel"), Segment("resume")])
            case _:
                again = tuple(entry(shard.index) for shard in known[:1] if not shard.retries)
                yield Segment("shards", new + again)
                known += [each.shard for each in new]


class Job:
    """A log in memory; its store counts the objects that are read."""

    def __init__(self, count=20, seed=1):
        self.reads = []
        self.store = MemoryStore(self.note)
        self.objects = Objects(self.store, at_once)
        left = list(segments(count, seed))
        append(Log(), self.objects, lambda _: left.pop(0) if left else None)
        self.reads.clear()

    def note(self, operation):
        if operation.kind == "read":
            self.reads.append(operation.name)

    def read(self, **how):
        self.reads.clear()
        log = Log()
        catch_up(log, self.objects, **how)
        return log

    def false(self):
        return [*false_chapters(self.read(by_chapters=False), self.objects, sorted(self.objects.list(names.CHAPTERS)))]

    def replace(self, name, content):
        self.store.delete(name)
        self.store.create(name, content)


def state(log):
    """Everything that a log says."""
    return (
        log.length, [*log.entries.items()], [*log.inputs], log.retried, log.ended, log.cancelled, log.discarded,
        log.run, log.growths, log.grown_to, [log.life(shard) for shard in log.entries],
        [log.started(number) for number in range(log.length)],
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_a_log_is_what_its_segments_say(seed):
    """However it was read: by chapters, by segments, or first by one and then by the other."""
    job = Job(seed=seed)
    by_segments, by_chapters, mixed = job.read(by_chapters=False), job.read(), Log()
    assert [name for name in job.reads if name.startswith(names.LOG)] == [
        segment_name(number) for number in (*range(2, 18, 3), 18, 19, 20)
    ]
    for number in range(4):
        mixed.apply(Segment.decode("", job.store.read(segment_name(number))))
    catch_up(mixed, job.objects)
    assert state(by_segments) == state(by_chapters) == state(mixed)
    for since in range(len(by_chapters.entries) + 1):
        read = read_entries(by_chapters, job.objects, since)
        assert [each.shard for each in read] == [*by_chapters.entries][since:]
    assert job.false() == []


def test_an_old_log_gets_its_chapters():
    """Two processes that write them make the same bytes; nothing is written for what is not whole."""
    job = Job()
    made = {name: job.store.read(name) for name in job.objects.list(names.CHAPTERS)}
    assert sorted(made) == [chapter_name(number) for number in range(6)]
    for name in made:
        job.store.delete(name)
    append(Log(), job.objects, lambda _: None)
    assert {name: job.store.read(name) for name in job.objects.list(names.CHAPTERS)} == made


def test_a_chapter_that_was_lost_is_made_again():
    """By the next process that adds to the log, also if later chapters exist."""
    job = Job()
    job.store.delete(chapter_name(2))
    assert state(job.read()) == state(job.read(by_chapters=False))
    append(Log(), job.objects, lambda _: None)
    assert job.store.read(chapter_name(2)) is not None
    assert job.false() == []


def test_readers_write_nothing():
    """They may not be allowed to."""
    job = Job()
    job.store.delete(chapter_name(0))
    job.read()
    assert job.store.read(chapter_name(0)) is None


def test_no_command_fails_because_of_a_chapter():
    """A store that has no room for it gets it later."""
    job = Job(count=2)
    refused = []

    def refuse(operation):
        if operation.kind == "create" and operation.name.startswith(names.CHAPTERS) and not refused:
            refused.append(operation.name)
            return Fault.FULL
        return None

    store = MemoryStore(refuse, is_disk=True)
    for number in range(2):
        store.create(segment_name(number), job.store.read(segment_name(number)))
    log, objects = Log(), Objects(store, at_once)
    append(log, objects, lambda log: Segment("end") if log.length < 3 else None)
    assert (log.length, refused) == (3, [chapter_name(0)])
    with pytest.raises(TransientError):
        MemoryStore(lambda _: Fault.FULL, is_disk=True).create("a", b"")  # the fault is one that commands see
    append(log, objects, lambda _: None)
    assert store.read(chapter_name(0)) is not None


@pytest.mark.parametrize("place", range(0, 400, 23))
def test_a_damaged_chapter_is_not_believed(place):
    """Whatever bit is wrong: the segments are read instead, and `verify` finds it."""
    job = Job()
    content = bytearray(job.store.read(chapter_name(1)))
    content[place % len(content)] ^= 1 << place % 8
    job.replace(chapter_name(1), bytes(content))
    assert state(job.read()) == state(job.read(by_chapters=False))
    assert job.false() == [chapter_name(1)]


@pytest.mark.parametrize(
    "content", [b"", b"x" * 40, hashlib.sha256(b"").digest(), hashlib.sha256(b"{}\n").digest() + b"{}\n"]
)
def test_what_is_no_chapter_is_not_believed(content):
    """Nor half of one."""
    job = Job()
    for damaged in (content, job.store.read(chapter_name(1))[:-32]):
        job.replace(chapter_name(1), damaged)
        assert state(job.read()) == state(job.read(by_chapters=False))
        with pytest.raises(JobError, match=chapter_name(1)):
            Chapter.decode(chapter_name(1), damaged)


def test_a_chapter_of_another_log_is_not_believed():
    """Though it is whole: one of another job, and one of this log under another's name."""
    job, other = Job(), Job(seed=2)
    for content in (other.store.read(chapter_name(1)), job.store.read(chapter_name(2))):
        job.replace(chapter_name(1), content)
        assert state(job.read()) == state(job.read(by_chapters=False))
        assert job.false() == [chapter_name(1)]


def test_a_chapter_of_segments_that_are_gone_is_not_believed():
    """As after the restoration of a log from an older copy."""
    job = Job()
    job.store.delete(segment_name(5))
    log = job.read()
    assert (log.length, state(log)) == (5, state(job.read(by_chapters=False)))
    assert chapter_name(1) in job.false()


def test_a_false_chapter_is_found_where_segments_are_read():
    """A whole chapter that says something else than its segments: nobody goes on with entries of both."""
    job = Job()
    log = job.read(by_chapters=False)
    last = hashlib.sha256(job.store.read(segment_name(5))).hexdigest()
    chapter = log.chapter(3, 6, last)
    columns = chapter.columns.copy()
    columns["hash"][0] ^= 1
    false = Chapter(3, last, chapter.added, chapter.sources, columns, chapter.decisions)
    job.replace(chapter_name(1), false.encode())
    with pytest.raises(JobError, match="contradicts the log's segments; `unrolled verify` says where"):
        list(read_entries(job.read(), job.objects))
    assert job.false() == [chapter_name(1)]


def rewritten(content, **changes):
    """A chapter with another head, and a digest that fits."""
    end = content.index(b"\n", 32)
    head = json.loads(content[32:end]) | changes
    body = json.dumps(head).encode() + content[end:]
    return hashlib.sha256(body).digest() + body


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 2},
        {"segments": 2},
        {"segments": -1},
        {"shards": 1.5},
        {"shards": 10**15},
        {"retries": 9},
        {"decisions": {"1": "{}"}},
        {"decisions": {"99": Segment("end").encode().decode()}},
        {"decisions": []},
    ],
)
def test_hostile_heads_are_refused(changes):
    """Each number is checked before memory is taken, even if the digest fits."""
    job = Job()
    content = rewritten(job.store.read(chapter_name(1)), **changes)
    with pytest.raises(JobError, match=chapter_name(1)):
        Chapter.decode(chapter_name(1), content)
    job.replace(chapter_name(1), content)
    assert state(job.read()) == state(job.read(by_chapters=False))


def test_hostile_shards_are_refused():
    """A shard or a source that no name can have."""
    job = Job()
    log = job.read(by_chapters=False)
    for column, value in (("index", 10**12), ("hash", 65 << 48), ("hash", 1 << 48)):
        chapter = log.chapter(0, 6, "")
        columns = chapter.columns.copy()
        columns[column][0] = value
        changed = Chapter(0, "", chapter.added, chapter.sources, columns, chapter.decisions)
        with pytest.raises(JobError, match="not a chapter"):
            Chapter.decode("a", changed.encode())
    sources = log.chapter(0, 18, "").sources + (1 << 48)
    assert len(sources)
    chapter = log.chapter(0, 18, "")
    with pytest.raises(JobError, match="a source that can't exist"):
        Chapter.decode("a", Chapter(0, "", chapter.added, sources, chapter.columns, chapter.decisions).encode())


def test_chapters_are_not_written_of_segments_that_may_be_lost():
    """A power cut must not leave a chapter without its segments."""
    job = Job()
    log = Log()
    for number in range(7):
        log.apply(Segment.decode("", job.store.read(segment_name(number))))
    for name in list(job.objects.list(names.CHAPTERS)):
        job.store.delete(name)
    log.durable = 4
    write_chapters(log, job.objects)
    assert list(job.objects.list(names.CHAPTERS)) == [chapter_name(0)]
