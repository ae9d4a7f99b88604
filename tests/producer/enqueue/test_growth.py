"""Rows that are appended to a job's input: what was there stays, and the job is as if it had been read at once."""

import itertools
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.jobs import decide, job_of, log_of

from producer.enqueue.cutter import Cutter, cuts
from producer.enqueue.growth import Growth
from producer.enqueue.pipeline import shards_of
from producer.enqueue.runs import FileRun
from producer.enqueue.seen_ids import SeenIds
from producer.sources.rows import BadRow, Row, automatic_id
from unrolled.errors import JobError
from unrolled.job import names, payload
from unrolled.job.inputs import Inputs
from unrolled.job.names import segment_name
from unrolled.job.segment import Segment
from unrolled.patience import at_once
from unrolled.protocol.objects import Objects
from unrolled.protocol.opening import OpenJob
from unrolled.store.memory import Crash, Fault, MemoryStore

FEW, TOKENS = 3, 7


class Ledger:
    """A ledger that has one job and never fails."""

    def __init__(self):
        self.lives = set()
        self._mark = None

    def mark(self):
        return self._mark

    def enter(self, expected, lives, becomes):
        if expected != self._mark:
            return False
        self.lives |= {life for life, _ in lives}
        self._mark = becomes
        return True

    def cancel(self):
        self.lives, self._mark = set(), None

    def forget(self, length):
        del length

    def wait_for_room(self, tokens):
        del tokens

    def is_time(self):
        return True


def new_job(inputs, hook=None):
    return OpenJob(job_of(inputs=inputs), uuid.uuid4().hex[:16], Objects(MemoryStore(hook), at_once))


def rows_of(sizes, file="a.txt", first=0, ids=()):
    """Rows with as many tokens as the sizes say; no two rows have equal tokens, and None makes a bad row."""
    given = dict(enumerate(ids))
    return [
        BadRow(file, place, None, "bad")
        if size is None
        else Row(file, place, given.get(place - first) or automatic_id(file, place), tokens_of(file, place, size))
        for place, size in enumerate(sizes, first)
    ]


def tokens_of(file, place, size):
    return np.full(size, 1 + 100 * ord(file[0]) + place, np.int32)


def read(job, rows, *, append=False, each=lambda _: None, ledger=None):
    """One run of `enqueue` on rows; the number of shards that were new."""
    labels = list(dict.fromkeys(row.file for row in rows)) or ["a.txt"]
    counted = [0]

    def count(_, new):
        counted[0] += new
        each(counted[0])

    growth = Growth(job, Inputs.named(labels), append=append)
    run = FileRun(job.objects, ledger or Ledger(), count, growth)
    ends = run.begin()
    with SeenIds(labels) as seen:
        run.run(shards_of(cuts(seen.unique([rows]), Cutter(TOKENS, FEW, ends), None), job.job.id))
    return counted[0]


def contents(job):
    """The rows of a job's shards in order: ids with tokens, and the lines of the bad ones."""
    good, bad = [], []
    for shard in log_of(job).inputs:
        found = payload.decode(job.objects.read(names.rows_object(shard)))
        ends = itertools.pairwise(found.tokens.offsets.tolist())
        tokens = [found.tokens.values[start:stop].tolist() for start, stop in ends]
        good += zip(found.ids.to_pylist(), tokens, strict=True)
        lines = (job.objects.read(names.quarantine_object(shard)) or b"").splitlines()
        bad += [{name: json.loads(line)[name] for name in ("file", "position", "id", "reason")} for line in lines]
    return good, bad


SIZES = st.lists(st.none() | st.integers(0, 9), max_size=7)
IDS = st.lists(st.sampled_from(["", "x", "y", "z"]), max_size=7)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(SIZES, IDS, st.booleans()), min_size=1, max_size=4))
def test_a_job_that_grows_is_the_job_read_at_once(steps):
    """Rows are added to the last file or in a new one, again and again: all are there as after one run, in order.

    What was there stays, and a command that is given again changes nothing.
    """
    rows, files, grown = [], ["a.txt"], None
    for sizes, ids, is_new in steps:
        if is_new and any(row.file == files[-1] for row in rows):
            files.append(f"{chr(ord(files[-1][0]) + 1)}.txt")
        first = sum(row.file == files[-1] for row in rows)
        rows += rows_of(sizes, files[-1], first, ids)
        grown = grown or new_job(list(dict.fromkeys(row.file for row in rows)) or ["a.txt"])
        before = [*log_of(grown).inputs]
        read(grown, rows, append=True)
        log = log_of(grown)
        assert log.ended
        assert log.inputs[: len(before)] == before
        for append in (False, True):
            assert read(grown, rows, append=append) == 0
            assert log_of(grown).length == log.length, "the same command again changes nothing"
    at_once_read = new_job(list(dict.fromkeys(row.file for row in rows)) or ["a.txt"])
    read(at_once_read, rows)
    assert contents(grown) == contents(at_once_read)


def test_only_new_rows_are_cut():
    """A short last shard stays as it is, and its successor begins with the first new row."""
    job = new_job(["a.txt"])
    read(job, rows_of([1] * 4))
    before = {shard: job.objects.read(names.rows_object(shard)) for shard in log_of(job).inputs}
    assert [log_of(job).entries[shard].rows for shard in before] == [3, 1]
    assert read(job, rows_of([1] * 8), append=True) == 2
    log = log_of(job)
    assert [log.entries[shard].rows for shard in log.inputs] == [3, 1, 3, 1]
    assert {shard: job.objects.read(names.rows_object(shard)) for shard in before} == before


def test_an_id_that_was_there_before_is_a_duplicate():
    """Old and new rows have one set of ids; automatic ids go on."""
    job = new_job(["a.txt"])
    read(job, rows_of([1, 1], ids=["x", ""]))
    read(job, rows_of([1, 1, 1, 1], ids=["x", "", "x", ""]), append=True)
    good, bad = contents(job)
    assert [name for name, _ in good] == ["x", "a.txt#1", "a.txt#3"]
    assert [(line["position"], line["reason"]) for line in bad] == [(2, "duplicate id; a.txt row 0 has it")]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([1, 1, 1, 2, 1, 1], r"has changed since this job began: in shard 1 \(1 row from a.txt row 3 on\).* line end"),
        ([2, 1, 1, 1, 1, 1], r"has changed since this job began: in shard 0 \(3 rows from a.txt row 0 on\)"),
        ([1, 1, 1, None, 1, 1], r"has changed since this job began: in shard 1 "),
        ([1, 1, 1], r"it ends 1 shard earlier"),
    ],
    ids=["tail", "head", "bad", "shorter"],
)
def test_other_rows_before_the_end_are_refused(sizes, said):
    """With `append` as without; nothing is changed."""
    job = new_job(["a.txt"])
    read(job, rows_of([1] * 4))
    before = dict(job.objects.store.contents())
    for append in (True, False):
        with pytest.raises(JobError, match=said):
            read(job, rows_of(sizes), append=append)
    assert job.objects.store.contents() == before


def test_growing_is_asked_for():
    """Without `append` the new rows are refused, and the text names it; nothing is changed."""
    job = new_job(["a.txt"])
    read(job, rows_of([1] * 4))
    before = dict(job.objects.store.contents())
    with pytest.raises(JobError, match=r"ended after 2 shards, now it continues at a.txt row 4\. Use --append"):
        read(job, rows_of([1] * 5))
    with pytest.raises(JobError, match="Use --append to add the rows of the new inputs"):
        read(job, rows_of([1] * 4) + rows_of([1], "b.txt"))
    assert job.objects.store.contents() == before


def test_a_file_without_rows_is_an_input():
    """The command that names it goes on from there."""
    job = new_job(["a.txt"])
    read(job, rows_of([1]))
    run = FileRun(job.objects, Ledger(), lambda *_: None, Growth(job, Inputs.named(["a.txt", "b.txt"]), append=True))
    run.begin()
    run.run(shards_of([rows_of([1])], job.job.id))
    log = log_of(job)
    assert (log.ended, log.grown_to, len(log.inputs)) == (True, Inputs.named(["a.txt", "b.txt"]), 1)
    assert read(job, rows_of([1]) + rows_of([1], "b.txt"), append=True) == 1


def test_an_unfinished_job_takes_new_files():
    """Its first run had died; those of its shards that are in the log stay."""
    job = new_job(["a.txt"])
    with pytest.raises(RuntimeError):
        read(job, rows_of([1] * 10), each=stop_after(2))
    read(job, rows_of([1] * 10) + rows_of([1] * 2, "b.txt"), append=True)
    whole = new_job(["a.txt", "b.txt"])
    read(whole, rows_of([1] * 10) + rows_of([1] * 2, "b.txt"))
    assert contents(job) == contents(whole)


def stop_after(count):
    def each(found):
        if found == count:
            raise RuntimeError

    return each


def test_a_crash_before_any_operation():
    """An appending run dies before each of its operations: the same command completes it, and cuts equal shards."""
    left = [0]

    def hook(_):
        left[0] -= 1
        return Fault.CRASH_BEFORE if left[0] == 0 else None

    rows = rows_of([1, None, 1, 1]), rows_of([1, None, 1, 1, 1, None, 2])
    expected = new_job(["a.txt"])
    read(expected, rows[0])
    read(expected, rows[1], append=True)
    for count in itertools.count(1):
        job, ledger = new_job(["a.txt"], hook), Ledger()
        read(job, rows[0], ledger=ledger)
        left[0] = count
        died = False
        try:
            read(job, rows[1], append=True, ledger=ledger)
        except Crash:
            died = True
        left[0] = 0
        read(job, rows[1], append=True, ledger=ledger)
        assert [*log_of(job).inputs] == [*log_of(expected).inputs]
        assert contents(job) == contents(expected)
        assert {life.shard for life in ledger.lives} == set(log_of(job).inputs)
        assert log_of(job).growths == [2]
        if not died:
            break
    assert count > 10


def test_a_first_run_that_dies_anywhere_takes_new_rows():
    """The input has grown when the command is given again, so a short last shard can't be cut again."""
    left = [0]

    def hook(_):
        left[0] -= 1
        return Fault.CRASH_BEFORE if left[0] == 0 else None

    rows = rows_of([1, None, 1, 1]), rows_of([1, None, 1, 1, 1, None, 2])
    whole = new_job(["a.txt"])
    read(whole, rows[1])
    for count in itertools.count(1):
        job, ledger = new_job(["a.txt"], hook), Ledger()
        died, left[0] = False, count
        try:
            read(job, rows[0], ledger=ledger)
        except Crash:
            died = True
        left[0] = 0
        read(job, rows[1], append=True, ledger=ledger)
        assert contents(job) == contents(whole)
        assert log_of(job).ended
        assert {life.shard for life in ledger.lives} == set(log_of(job).inputs)
        if not died:
            break
    assert count > 10


def begun(job, rows):
    """An appending run that has read the log, and what it does next."""
    inputs = Inputs.named(dict.fromkeys(row.file for row in rows))
    run = FileRun(job.objects, Ledger(), lambda *_: None, Growth(job, inputs, append=True))
    ends = run.begin()
    return lambda: run.run(shards_of(cuts([rows], Cutter(TOKENS, FEW, ends), None), job.job.id))


@pytest.mark.parametrize(("rows", "length"), [(0, 1), (3, 2)])
def test_a_producer_that_is_overtaken_does_not_end_the_input(rows, length):
    """Another one appends just before its end is created: the rows of the other are still to come."""
    taken = [segment_name(length)]

    def hook(operation):
        if operation == ("create", *taken):
            job.objects.store.create(taken.pop(), Segment("append", inputs=job.job.inputs).encode())

    job = new_job(["a.txt"], hook)
    with pytest.raises(JobError, match=r"another `unrolled enqueue --append` has added to this job meanwhile"):
        read(job, rows_of([1] * (4 + rows)), append=rows > 0)
    log = log_of(job)
    assert (log.growths, log.ended, len(log.inputs)) == ([length], False, length)


def test_a_producer_takes_part_in_a_growth_of_the_same_inputs():
    """Another one has begun it since, and has added nothing yet."""
    job, rows = new_job(["a.txt"]), rows_of([1] * 7)
    read(job, rows[:4])
    proceed = begun(job, rows)
    decide(job, Segment("append", inputs=job.job.inputs))
    proceed()
    log = log_of(job)
    assert (log.growths, log.ended, len(log.inputs)) == ([2], True, 3)


def test_a_growth_of_other_inputs_is_not_replaced():
    """Of two that append another file each, the later one is refused."""
    job, rows = new_job(["a.txt"]), rows_of([1] * 4)
    read(job, rows)
    proceed = begun(job, [*rows, *rows_of([1], "c.txt")])
    decide(job, Segment("append", inputs=Inputs.named(["a.txt", "b.txt"])))
    with pytest.raises(JobError, match="has added to this job meanwhile"):
        proceed()
    assert log_of(job).grown_to == Inputs.named(["a.txt", "b.txt"])


def test_growths_that_contradict_each_other():
    """Of two producers that append different rows at once, one adds all of its rows, and the other is refused."""
    for rest in ([1, 1], [1, 1, 1, 1, 2], [3]):
        job = new_job(["a.txt"])
        read(job, rows_of([1] * 4))
        mine, theirs = rows_of([1] * 4 + [5, 5]), rows_of([1] * 4 + rest)
        refused = []

        def append(rows, job=job, refused=refused):
            try:
                read(job, rows, append=True)
            except JobError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=append, args=(rows,)) for rows in (mine, theirs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        assert log_of(job).ended
        assert len(contents(job)[0]) in (len(mine), len(theirs))


def test_two_that_append_equal_rows_at_once():
    """Both come to an end, and each row is there once."""
    job = new_job(["a.txt"])
    read(job, rows_of([1] * 4))
    rows = rows_of([1] * 40)
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(read, job, rows, append=True) for _ in range(2)]
    for run in runs:
        run.result()
    assert [name for name, _ in contents(job)[0]] == [row.id for row in rows]
    assert log_of(job).ended


@pytest.mark.parametrize("when", range(1, 13))
def test_one_that_only_finds_rows_which_another_has_appended(when):
    """It began before them, has nothing to add, and comes to an end, wherever the other one came in between."""
    job = new_job(["a.txt"])
    read(job, rows_of([1] * 4))
    rows = rows_of([1] * 28)
    read(job, rows, append=True, each=lambda count: count == when and read(job, rows, append=True))
    assert [name for name, _ in contents(job)[0]] == [row.id for row in rows]
    assert log_of(job).ended


def test_one_that_began_before_a_growth_and_finds_equal_rows():
    """Another one appends all rows while this one still compares the old ones."""
    job = new_job(["a.txt"])
    read(job, rows_of([1] * 9))
    rows, met = rows_of([1] * 20), []

    def meanwhile(_):
        if not met:
            met.append(True)
            read(job, rows, append=True)

    assert read(job, rows, append=True, each=meanwhile) == 0
    assert [name for name, _ in contents(job)[0]] == [row.id for row in rows]
    assert log_of(job).ended


def test_a_cancel_stops_an_appending_producer():
    """The same command resumes the job and appends the rest."""
    job = new_job(["a.txt"])
    read(job, rows_of([1] * 4))
    with pytest.raises(JobError, match="was cancelled while its input was read"):
        read(job, rows_of([1] * 20), append=True, each=lambda count: count == 2 and decide(job, Segment("cancel")))
    assert not log_of(job).ended
    read(job, rows_of([1] * 20), append=True)
    assert log_of(job).ended
    assert len(contents(job)[0]) == 20


def test_a_discarded_job_takes_no_rows():
    """None of its objects counts any more."""
    job = new_job(["a.txt"])
    read(job, rows_of([1] * 4))
    decide(job, Segment("discard"))
    with pytest.raises(JobError, match="was discarded"):
        read(job, rows_of([1] * 5), append=True)
