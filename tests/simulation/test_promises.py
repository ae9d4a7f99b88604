"""Each check of the simulation finds the faults it is made for, and accepts what is right."""

# Over 150 lines: one test for each check.

import random

import pytest
from simulation.content import Row, encode_bad, encode_part
from simulation.nature import Kind
from simulation.promises import Promises
from simulation.reading import Reading
from simulation.segments import BrokenPromiseError

from unrolled.job import names
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.protocol.spooling import make_retry, select_rows

FILE, LIVE, DISK = (
    Kind(is_disk=is_disk, lag=0, is_live=is_live, may_be_discarded=False, page=1000)
    for is_disk, is_live in [(False, False), (False, True), (True, False)]
)
JOB = Job("ab" * 32, Inputs.named(["file"]), "fused", "float32", live=False, options={})
END = Segment("end").encode()


class Site:
    """A job of two shards with two rows each, made step by step."""

    def __init__(self, kind, bad=()):
        rng = random.Random(4)
        self.reading = Reading(rng, is_live=kind.is_live)
        self.reading.bad = frozenset(bad)
        rows = [Row(f"file#{number}", number + 1) for number in range(4)]
        self.reading.versions = {"only": rows}
        self.promises = Promises(kind, self.reading, rng)
        self.first, self.second = (self.cut(index) for index in range(2))
        self.segments = 0
        self.create(names.JOB, JOB.encode("0" * 16))

    def cut(self, index, job="0" * 16):
        return self.reading.cut(job, self.reading.versions["only"][2 * index : 2 * index + 2])(index)

    def create(self, name, content):
        self.promises.change(name, content)

    def delete(self, name):
        self.promises.change(name, None)

    def append(self, segment):
        self.create(names.segment_name(self.segments), segment.encode())
        self.segments += 1

    def append_all(self, segments):
        for segment in segments:
            self.append(segment)

    def add(self, *spooled):
        """Rows, then their segment."""
        for each in spooled:
            if each.quarantine:
                self.create(names.quarantine_object(each.entry.shard), each.quarantine)
            self.create(names.rows_object(each.entry.shard), each.rows)
        self.append(Segment("shards", tuple(each.entry for each in spooled)))

    def publish(self, spooled, failed=()):
        index = spooled.entry.shard.index
        rows = self.reading.versions["only"][2 * index : 2 * index + 2]
        rows = [row for row in rows if row.token - 1 not in self.reading.bad]
        self.create(names.part_object(spooled.entry.shard), encode_part(rows, list(failed)))

    def finish(self, spooled, failed=()):
        shard = spooled.entry.shard
        if failed:
            self.create(names.failed_object(shard), select_rows(spooled.rows, list(failed)))
        self.delete(names.rows_object(shard))

    def sync(self, *folders):
        for folder in folders:
            self.promises.history.sync(folder)


@pytest.fixture
def site():
    """A file's job in a bucket, with both shards in the log."""
    site = Site(FILE)
    site.add(site.first, site.second)
    return site


def test_a_whole_life(site):
    """Added, published with a failed row, retried, complete, perfect, and nothing left."""
    site.publish(site.first, failed=[1])
    site.finish(site.first, failed=[1])
    site.publish(site.second)
    site.finish(site.second)
    site.append(Segment("end"))
    site.promises.hear_complete(0)
    assert not site.promises.is_perfect
    shard = site.first.entry.shard
    retried = make_retry(shard, site.promises.objects[names.failed_object(shard)])
    site.create(names.rows_object(retried.entry.shard), retried.rows)
    site.append(Segment("retry", (retried.entry,)))
    site.delete(names.failed_object(shard))
    site.create(names.part_object(retried.entry.shard), encode_part([Row("file#1", 2)], []))
    site.finish(retried)
    site.promises.check_all()
    site.promises.check_nothing_is_left()
    assert site.promises.is_perfect


@pytest.mark.parametrize("add", [False, True])
def test_segment_without_rows(add):
    """A shard in the log has rows, also after another shard was added correctly."""
    site = Site(FILE)
    if add:
        site.add(site.first)
    with pytest.raises(BrokenPromiseError, match="neither part nor rows"):
        site.append(Segment("shards", (site.second.entry,)))


def test_rows_deleted_too_early(site):
    """The rows of a shard without a part."""
    with pytest.raises(BrokenPromiseError, match="neither part nor rows"):
        site.delete(names.rows_object(site.first.entry.shard))


def test_failed_rows_not_saved(site):
    """Their tokens are gone with the rows."""
    site.publish(site.first, failed=[0])
    with pytest.raises(BrokenPromiseError, match="tokens of failed rows"):
        site.finish(site.first)


def test_other_failed_rows_saved(site):
    """Those that another attempt had."""
    site.publish(site.first, failed=[0])
    with pytest.raises(BrokenPromiseError, match="tokens of failed rows"):
        site.finish(site.first, failed=[1])


def test_bad_rows_gone():
    """The list of bad rows is not there, or goes."""
    site = Site(FILE, bad=[1])
    site.create(names.rows_object(site.first.entry.shard), site.first.rows)
    with pytest.raises(BrokenPromiseError, match="bad rows"):
        site.append(Segment("shards", (site.first.entry,)))
    site = Site(FILE, bad=[1])
    site.add(site.first)
    with pytest.raises(BrokenPromiseError, match="bad rows"):
        site.delete(names.quarantine_object(site.first.entry.shard))


def test_log_changed(site):
    """A segment is deleted, or created too early."""
    with pytest.raises(BrokenPromiseError, match="replaced or removed"):
        site.delete(names.segment_name(0))
    site = Site(FILE)
    with pytest.raises(BrokenPromiseError, match="hole"):
        site.create(names.segment_name(1), END)


def test_queued_rows_are_missing():
    """A producer that reports the end of its file has queued all of its rows, bad ones included."""
    site = Site(FILE, bad=[1])
    site.add(site.first)
    with pytest.raises(BrokenPromiseError, match="of its file are not in the log"):
        site.promises.hear_queued(site.reading.versions["only"])
    site.add(site.second)
    site.promises.hear_queued(site.reading.versions["only"])


def test_rows_are_appended():
    """Before them, a segment revokes the end of the file; until the next end, no report of a complete job is right."""
    site = Site(FILE)
    site.add(site.first)
    site.append(Segment("end"))
    site.append(Segment("append", inputs=Inputs.named(["file"])))
    site.add(site.second)
    for spooled in (site.first, site.second):
        site.publish(spooled)
        site.finish(spooled)
    with pytest.raises(BrokenPromiseError, match="reports a complete job"):
        site.promises.hear_complete(len(site.promises.history.changes))
    site.append(Segment("end"))
    site.promises.hear_complete(len(site.promises.history.changes))


def test_log_goes_on_after_the_end_of_a_file():
    """A complete job stays complete, except for a retry and rows that are appended; a pipe may continue."""
    site = Site(FILE)
    site.add(site.first)
    site.append(Segment("end"))
    with pytest.raises(BrokenPromiseError, match="read to its end"):
        site.add(site.second)
    site = Site(LIVE)
    site.add(site.first)
    site.append(Segment("end"))
    site.add(site.second)


def test_log_of_two_jobs(site):
    """Shards of another job, and shards of none."""
    with pytest.raises(BrokenPromiseError, match="two jobs"):
        site.add(site.cut(1, "f" * 16))
    site = Site(FILE)
    site.delete(names.JOB)
    with pytest.raises(BrokenPromiseError, match=r"no job\.json says of which job"):
        site.add(site.first)


@pytest.mark.parametrize("content", [None, encode_part([], [])])
def test_part_changed(site, content):
    """A part goes, or is replaced."""
    site.publish(site.first)
    with pytest.raises(BrokenPromiseError, match="replaced or removed"):
        site.create(names.part_object(site.first.entry.shard), content)


@pytest.mark.parametrize("rows", [[], [Row("file#0", 1)], [Row("file#0", 1), Row("file#1", 7)]])
def test_part_not_whole(site, rows):
    """It has no row, not all, or another."""
    with pytest.raises(BrokenPromiseError, match="not whole"):
        site.create(names.part_object(site.first.entry.shard), encode_part(rows, []))


def test_row_twice():
    """A row in two shards: in a file by its id, in a pipe by what it is."""
    site = Site(FILE)
    again = site.reading.cut("0" * 16, [Row("file#0", 9)])(1)
    with pytest.raises(BrokenPromiseError, match="2 places"):
        site.add(site.first, again)
    site = Site(LIVE)
    again = site.reading.cut("0" * 16, [Row("file#9", 1)])(1)
    with pytest.raises(BrokenPromiseError, match="2 places"):
        site.add(site.first, again)


def test_id_twice():
    """Two runs of a pipe gave one id to two rows."""
    site = Site(LIVE)
    again = site.reading.cut("0" * 16, [Row("file#0", 9)])(1)
    site.add(site.first, again)
    site.publish(site.first)
    with pytest.raises(BrokenPromiseError, match="two parts"):
        site.create(names.part_object(again.entry.shard), encode_part([Row("file#0", 9)], []))


def test_rows_of_a_pipe_lost():
    """Durable rows stay, whether a segment names them or not; and all rows that a producer has read are in the log."""
    site = Site(LIVE)
    site.create(names.rows_object(site.first.entry.shard), site.first.rows)
    with pytest.raises(BrokenPromiseError, match="that it had read"):
        site.promises.hear_end({0})
    with pytest.raises(BrokenPromiseError, match="0 places"):
        site.delete(names.rows_object(site.first.entry.shard))


def complete(site, *, publish=True, end=True):
    """All that makes the job of a site complete."""
    site.add(site.first, site.second)
    for spooled in (site.first, site.second) if publish else (site.first,):
        site.publish(spooled)
    if end:
        site.append(Segment("end"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda site: complete(site, publish=False),
        lambda site: complete(site, end=False),
        lambda site: (site.add(site.first), site.publish(site.first), site.append(Segment("end"))),
        lambda site: (complete(site, end=False), site.append(Segment("cancel")), site.append(Segment("end"))),
    ],
    ids=["a shard waits", "no end", "not all of the input", "cancelled"],
)
def test_not_complete(spoil):
    """An actor reports a complete job, and something is missing."""
    site = Site(FILE)
    spoil(site)
    with pytest.raises(BrokenPromiseError, match="reports a complete job"):
        site.promises.hear_complete(0)


def test_not_complete_with_a_stray():
    """Rows of a pipe that no segment names aren't done; a report that was asked for before they existed is right."""
    site = Site(LIVE)
    site.add(site.first)
    site.publish(site.first)
    site.append(Segment("end"))
    asked = len(site.promises.history.changes)
    site.create(names.rows_object(site.second.entry.shard), site.second.rows)
    site.promises.hear_complete(asked)
    with pytest.raises(BrokenPromiseError, match="reports a complete job"):
        site.promises.hear_complete(asked + 1)


def test_dead_shards_are_complete_for_their_present_life(site):
    """A record of death counts until the shard has another life."""
    site.publish(site.second)
    site.create(names.dead_object(Life(site.first.entry.shard, 0)), b"{}")
    site.append(Segment("end"))
    site.promises.hear_complete(0)
    site.append(Segment("retry", lives=(Life(site.first.entry.shard, 1),)))
    with pytest.raises(BrokenPromiseError, match="reports a complete job"):
        site.promises.hear_complete(len(site.promises.history.changes))


def test_complete_is_durable():
    """A job isn't complete while a power cut can undo a part of it."""
    site = Site(DISK)
    site.sync(names.FOLDER)
    for spooled in (site.first, site.second):
        site.create(names.rows_object(spooled.entry.shard), spooled.rows)
    site.sync(names.ROWS)
    site.append(Segment("shards", (site.first.entry, site.second.entry)))
    site.append(Segment("end"))
    site.sync(names.LOG)
    site.publish(site.first)
    site.publish(site.second)
    asked = len(site.promises.history.changes)
    with pytest.raises(BrokenPromiseError, match="reports a complete job"):
        site.promises.hear_complete(asked)
    site.sync(names.PARTS)
    site.promises.hear_complete(asked)


def test_power_cut():
    """Rows that were not synced go with the power, and their segment must not be there then."""
    site = Site(DISK)
    site.sync(names.FOLDER)
    rows = names.rows_object(site.first.entry.shard)
    site.create(rows, site.first.rows)
    site.promises.cut_power([rows])
    assert rows not in site.promises.objects
    site.create(rows, site.first.rows)
    site.append(Segment("shards", (site.first.entry,)))
    with pytest.raises(BrokenPromiseError, match="neither part nor rows"):
        site.promises.cut_power([rows])


def test_power_cut_of_rows_that_were_created_again():
    """A published shard needs no rows, so rows that were created again may be lost."""
    site = Site(DISK)
    site.add(site.first, site.second)
    site.publish(site.first)
    site.sync(names.FOLDER, names.LOG, names.PARTS)
    site.finish(site.first)
    site.sync(names.ROWS)
    rows = names.rows_object(site.first.entry.shard)
    site.create(rows, site.first.rows)
    site.promises.cut_power([rows])
    site.promises.hear_queued(site.reading.versions["only"])


def test_possible_power_cut():
    """The promises hold wherever the power could fail, not only where it does."""
    site = Site(DISK)
    site.sync(names.FOLDER)
    site.create(names.rows_object(site.first.entry.shard), site.first.rows)
    with pytest.raises(BrokenPromiseError, match="if the power fails now"):
        site.append_all([Segment("shards", (site.first.entry,)), *[Segment("cancel")] * 200])


@pytest.mark.parametrize("name", [names.rows_object, names.failed_object, names.quarantine_object])
def test_something_is_left(site, name):
    """Rows that no segment names, and rows saved for a retry, are garbage once the job is done."""
    shard = site.cut(0, "f" * 16).entry.shard
    site.create(name(shard), {names.quarantine_object: b"".join(encode_bad([]))}.get(name, site.first.rows))
    with pytest.raises(BrokenPromiseError, match="is left"):
        site.promises.check_nothing_is_left()


def test_something_is_left_of_a_discarded_job(site):
    """Only the log and job.json stay."""
    site.append(Segment("discard"))
    with pytest.raises(BrokenPromiseError, match="is left"):
        site.promises.check_nothing_is_left()
    for spooled in (site.first, site.second):
        site.delete(names.rows_object(spooled.entry.shard))
    site.promises.check_nothing_is_left()


def test_entered_ledger(site):
    """Lives that were entered and have no durable outcome are in the ledger; an older life may be missing."""
    first, second = site.first.entry.shard, site.second.entry.shard
    site.promises.check_ledger(None, [])
    site.promises.check_ledger(0, [])
    site.promises.check_ledger(1, [f"{first}.0", f"{second}.0"])
    with pytest.raises(BrokenPromiseError, match="segments are in the ledger"):
        site.promises.check_ledger(1, [f"{first}.0"])
    site.publish(site.second)
    site.promises.check_ledger(1, [f"{first}.0"])
    site.create(names.dead_object(Life(first, 0)), b"{}")
    site.promises.check_ledger(1, [])
    site.append(Segment("retry", lives=(Life(first, 1),)))
    site.promises.check_ledger(1, [])
    with pytest.raises(BrokenPromiseError, match="segments are in the ledger"):
        site.promises.check_ledger(2, [f"{first}.0"])


def test_entered_ledger_and_a_part_that_is_not_durable():
    """A part that a power cut can undo is no reason to remove its shard from the ledger."""
    site = Site(DISK)
    site.sync(names.FOLDER)
    site.create(names.rows_object(site.first.entry.shard), site.first.rows)
    site.sync(names.ROWS)
    site.append(Segment("shards", (site.first.entry,)))
    site.publish(site.first)
    with pytest.raises(BrokenPromiseError, match="segments are in the ledger"):
        site.promises.check_ledger(1, [])
    site.sync(names.PARTS)
    site.promises.check_ledger(1, [])
