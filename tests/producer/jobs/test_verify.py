"""Verifying a job, and finding out about everything that can be wrong with one."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.columns import plain
from support.jobs import cut, decide, finished_job, log_of, make_job, publish_shard, published, record_death, waiting

from producer.enqueue.shard import make_shard
from producer.jobs.decisions import retry
from producer.jobs.quarantine_lists import refused_rows
from producer.jobs.verify import Problem, verify_job
from unrolled.errors import FileFormatError, JobError
from unrolled.format.schema import arrow_schema
from unrolled.format.seal import Sealing
from unrolled.job import names
from unrolled.job.names import part_object, segment_name
from unrolled.job.segment import Segment
from unrolled.protocol import chapters
from unrolled.protocol.finishing import sweep_discarded
from unrolled.protocol.gaps import LOST_SEGMENT, refuse_gap
from unrolled.protocol.log import Log, append
from unrolled.protocol.opening import open_job
from unrolled.protocol.spooling import select_rows, spool
from unrolled.reading.dataset import open_dataset
from unrolled.reading.outcome import failed_rows

#: Two ways to bring a damaged part back.
AGAIN = "from a copy, or remove it and run the same `unrolled run` or `unrolled enqueue`, which makes it again"


@pytest.fixture
def job(tmp_path):
    """A complete job of three shards; a row of the second is in quarantine."""
    return finished_job(tmp_path / "out", bad=[1])


def shard_of(job, index):
    return log_of(job).inputs[index]


def place(job, name):
    return Path(job.place) / name


def part(job, index):
    return place(job, names.part_object(shard_of(job, index)))


def rewrite(path, table, **changes):
    """Write other rows into a file, its metadata as it was but for the changes."""
    metadata = {key: value for key, value in pq.read_metadata(path).metadata.items() if key.startswith(b"unrolled.")}
    metadata |= {f"unrolled.{key}".encode(): str(value).encode() for key, value in changes.items()}
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.add_key_value_metadata(metadata)
        writer.write_table(table)
    seal(path)


def seal(path):
    """Give a file that another program wrote a seal of its own."""
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    with path.open("wb") as file:
        sealing = Sealing(file)
        sealing.write(content[:footer])
        sealing.write(content[footer:])
        sealing.finish()


def problems(job):
    """What is wrong, by where."""
    return {problem.where: problem.what for problem in verify_job(job).problems}


def told(job):
    """What a verification says of how far it is."""
    found = []
    verify_job(job, lambda *counts: found.append(counts))
    return found


def test_a_sound_job_has_no_problem(job):
    """Rows in = rows out + quarantine, and every file counts."""
    found = verify_job(job)
    assert (found.rows_in, found.rows_out, found.quarantined, found.failed) == (12, 11, 1, 0)
    assert (found.tokens, found.files, found.problems) == (18, 3, ())


def test_each_shard_is_reported_when_it_is_done(job):
    """A progress bar can follow: tokens that were read, and those to be read."""
    assert told(job) == [(7, 18), (11, 18), (18, 18)]


def test_only_parts_that_are_there_have_tokens_to_read(tmp_path):
    """In a job that is at work the others are named as missing; a part that is damaged is read."""
    job = make_job(tmp_path)
    assert told(job)[-1] == (0, 0)
    publish_shard(job, waiting(job)[0])
    publish_shard(job, waiting(job)[-1])
    assert told(job) == [(7, 14), (7, 14), (14, 14)]
    part(job, 2).write_bytes(b"PAR1")
    assert told(job)[-1] == (14, 14)


def test_tokens_of_failed_rows_are_counted_where_they_are(tmp_path):
    """Once, in the part of the shard that has them after a retry; in none before."""
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    publish_shard(job, second)
    publish_shard(job, first, failed={1: "ValueError: no", 3: "ValueError: no"})
    assert told(job) == [(3, 10), (10, 10)]
    retry(job.objects, None, failed_rows, failed=True)
    assert told(job) == [(3, 10), (10, 10), (10, 10)]
    publish_shard(job, *waiting(job), failed={0: "ValueError: no"})
    assert told(job)[-1] == (13, 13)
    retry(job.objects, None, failed_rows, failed=True)
    publish_shard(job, *waiting(job))
    assert told(job)[-1] == (14, 14)
    assert verify_job(job).tokens == 14


@pytest.mark.parametrize("failed", [[0], [3], [0, 1], [1, 2], [0, 3], [0, 1, 2, 3]])
def test_rows_that_the_engine_failed_on_are_put_back_in_their_places(tmp_path, failed):
    """They count as quarantined, wherever they stood, and the digest still fits."""
    job = make_job(tmp_path, shards=1)
    publish_shard(job, *waiting(job), failed=dict.fromkeys(failed, "ValueError: no"))
    found = verify_job(job)
    assert found.problems == ()
    assert (found.rows_in, found.rows_out, found.failed) == (4, 4 - len(failed), len(failed))


@pytest.mark.parametrize("kept", ["rows", "failed", "both"])
def test_failed_rows_must_be_kept(tmp_path, kept):
    """With their tokens, in an object of their own or in the shard's rows; where both are gone, they are lost."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    rows = job.objects.read(names.rows_object(shard))
    publish_shard(job, shard, failed={1: "ValueError: no"})
    job.objects.create(names.rows_object(shard), rows)
    assert problems(job) == {}
    gone = {
        "rows": [names.failed_object],
        "failed": [names.rows_object],
        "both": [names.rows_object, names.failed_object],
    }
    for named in gone[kept]:
        job.objects.delete(named(shard))
    assert list(problems(job)) == ([names.failed_object(shard)] if kept == "both" else [])
    if kept == "both":
        assert "remove it and its part, and the same `unrolled run`" in problems(job)[names.failed_object(shard)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(failed=st.sets(st.integers(0, 3), min_size=1), others=st.sets(st.integers(0, 3)))
def test_other_rows_than_those_that_failed_are_found(tmp_path, failed, others):
    """The digest is over the rows in order: others in their places don't fit.

    A list may have more rows: its part, removed and made again, may call fewer failed.
    """
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    job = make_job(out, shards=1)
    (shard,) = waiting(job)
    rows = job.objects.read(names.rows_object(shard))
    publish_shard(job, shard, failed=dict.fromkeys(failed, "ValueError: no"))
    place(job, names.failed_object(shard)).write_bytes(select_rows(rows, sorted(others)))
    assert bool(verify_job(job).problems) is not (failed <= others)


def test_a_missing_file_is_a_problem(job):
    """Its shard is named, with the ways to get it."""
    path = part(job, 2)
    path.unlink()
    assert problems(job) == {
        path.name: "is missing: wait for the workers, or run the same `unrolled run` or `unrolled enqueue` again"
    }


def test_a_gap_in_the_log_is_a_problem(job):
    """It isn't taken for the log's end: a producer that added a segment there would change what the job is."""
    place(job, segment_name(0)).unlink()
    gap = LOST_SEGMENT
    assert problems(job) == {segment_name(0): gap}
    with pytest.raises(JobError, match=f"{segment_name(0)}: {gap}"):
        refuse_gap(Log(), job.objects)
    refuse_gap(Log(), finished_job(Path(job.place).parent / "whole").objects)


def test_a_missing_file_whose_failed_rows_were_retried_is_a_problem(tmp_path):
    """It can't be cut again, because those rows would be there twice."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    publish_shard(job, shard, {1: "too hard"})
    retry(job.objects, None, failed_rows, failed=True)
    (brought,) = waiting(job)
    publish_shard(job, brought)
    part(job, 0).unlink()
    assert problems(job) == {
        names.part_object(shard): f"is missing, and its failed rows are in {names.part_object(brought)}: restore it "
        "from a copy"
    }


def retried_job(path):
    """A job of one shard, a row of which was brought again in a second shard that is published too."""
    job = make_job(path, shards=1)
    publish_shard(job, *waiting(job), {1: "too hard"})
    retry(job.objects, None, failed_rows, failed=True)
    publish_shard(job, *waiting(job))
    return job


@pytest.mark.parametrize("command", [None, "cancel"])
@pytest.mark.parametrize("kind", ["stream", "retry"])
def test_a_missing_file_whose_rows_are_read_only_once(tmp_path, kind, command):
    """Once its rows are gone too, neither a worker nor the same command makes it again: only a copy helps."""
    job = finished_job(tmp_path, shards=1, live=True) if kind == "stream" else retried_job(tmp_path)
    if command:
        decide(job, Segment(command))
    name = part_object(published(job)[-1])
    place(job, name).unlink()
    assert problems(job) == {
        name: f"is missing, and so are its rows, and rows of a {kind} can't be read again: restore the part from a copy"
    }


def test_a_directory_in_the_place_of_a_part(job):
    """To wait for the workers would be in vain: they can't put a file there."""
    path = part(job, 2)
    path.unlink()
    path.mkdir()
    assert "it is not a file; remove it" in problems(job)[path.name]


def test_a_link_to_nothing_in_the_place_of_a_part(job):
    """Such as to a disk that isn't mounted."""
    path = part(job, 2)
    path.unlink()
    path.symlink_to("/gone/part.parquet")
    said = "it is a symbolic link to /gone/part.parquet, which doesn't exist; bring that back, or remove the link"
    assert problems(job)[path.name].endswith(said)


@pytest.mark.parametrize("name", ["beside", "like", "deeper"])
@pytest.mark.parametrize("spelling", ["absolute", "relative"])
def test_a_relative_link_to_nothing_names_where_it_leads(job, spelling, name, monkeypatch):
    """Which is beside the link, however the directory is spelt."""
    path = part(job, 2)
    path.unlink()
    directory = path.parent
    targets = {"beside": "nowhere.parquet", "like": f"{path.name}.old", "deeper": f"x/{directory.name}/{path.name}"}
    target = targets[name]
    path.symlink_to(target)
    if spelling == "relative":
        monkeypatch.chdir(directory.parent)
        job = open_job(directory.name)
    assert f"it is a symbolic link to {directory}/{target}, which" in problems(job)[path.name]


def test_a_link_to_itself_in_the_place_of_a_part(job):
    """Nothing will ever be read there."""
    path = part(job, 2)
    path.unlink()
    path.symlink_to(path.name)
    said = "Too many levels of symbolic links; remove the symbolic link in it that leads round in a circle, or through"
    assert said in problems(job)[path.name]


def test_a_missing_file_of_a_stream_whose_rows_wait(tmp_path):
    """Nobody has computed it yet: workers need no copy."""
    job = make_job(tmp_path, shards=1, live=True)
    name = part_object(*waiting(job))
    assert problems(job)[name].startswith("is missing: wait for the workers")


def test_a_dead_shard_is_a_problem(tmp_path):
    """The rows are neither out nor in quarantine."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    record_death(job, shard)
    assert problems(job) == {
        names.part_object(shard): f"was given up, the reason is in _unrolled/dead/{shard}.0.json: "
        f"unrolled retry {job.place}"
    }
    rows = names.rows_object(shard)
    place(job, rows).write_bytes(b"damaged")
    assert problems(job)[names.part_object(shard)] == (
        f"was given up, because its rows in {rows} are damaged: the same `unrolled run` or `unrolled enqueue` writes "
        f"them again, and computes them"
    )


@pytest.mark.parametrize("kind", ["stream", "retry"])
def test_a_dead_shard_whose_damaged_rows_are_read_only_once(tmp_path, kind):
    """The same command can't write its rows again, as it does those of a file."""
    job = make_job(tmp_path, shards=1, live=kind == "stream")
    if kind == "retry":
        publish_shard(job, *waiting(job), {1: "too hard"})
        retry(job.objects, None, failed_rows, failed=True)
    (shard,) = waiting(job)
    record_death(job, shard)
    place(job, names.rows_object(shard)).write_bytes(b"damaged")
    assert problems(job) == {
        part_object(shard): f"was given up, because its rows in {names.rows_object(shard)} are damaged, and rows of a "
        f"{kind} can't be read again: restore them from a copy, then: unrolled retry {job.place}"
    }


def test_a_flipped_byte_in_a_vector_is_a_problem(job):
    """A checksum finds what no other check could: any number is a number."""
    path = part(job, 0)
    vector = next(open_dataset(path).rows()).outputs[0].tobytes()
    content = path.read_bytes()
    assert content.count(vector) == 1
    path.write_bytes(content.replace(vector, bytes([vector[0] ^ 1]) + vector[1:]))
    assert problems(job)[path.name].startswith("damaged, or not a Parquet file")  # its name is beside it


@pytest.mark.parametrize("options", [{}, {"pooling": ["none", "mean"], "precision": "float16", "with_tokens": True}])
def test_any_flipped_bit_is_a_problem(tmp_path, options):
    """In a page, a page's header, the footer, its metadata or a bound in it: one bit of each byte of a file."""
    job = finished_job(tmp_path, shards=1, options=options)
    path = part(job, 0)
    whole = path.read_bytes()
    missed = []
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        if list(problems(job)) != [path.name]:
            missed.append(place)
    assert missed == []


def test_a_damaged_part_that_is_not_made_again(tmp_path):
    """The rows of a stream can't be read again, and retried rows would be there twice: only a copy helps."""
    for job in (finished_job(tmp_path / "live", shards=1, live=True), retried_job(tmp_path / "retried")):
        for path in Path(job.place).glob("*.parquet"):
            path.write_bytes(path.read_bytes()[:-1])
        found = verify_job(job).problems
        assert found
        assert all(problem.what.endswith("; restore it from a copy") for problem in found)


@pytest.mark.parametrize("size", [0, 1, 8, 100, 1_000])
def test_a_truncated_file_is_a_problem(job, size):
    """An empty file is one, and a file that was cut anywhere."""
    path = part(job, 0)
    path.write_bytes(path.read_bytes()[:size])
    assert list(problems(job)) == [path.name]


def test_a_directory_in_place_of_a_file_is_a_problem(job):
    """What can't be read now is named like what is damaged."""
    path = part(job, 0)
    path.unlink()
    path.mkdir()
    assert list(problems(job)) == [path.name]


def test_another_shards_file_under_the_name_is_a_problem(job):
    """A part is sound, but holds other rows."""
    shutil.copy(part(job, 0), part(job, 2))
    name = part(job, 2).name
    found = [problem.what for problem in verify_job(job).problems if problem.where == name]
    assert found == [
        f"shard: found {shard_of(job, 0)}, the job says {shard_of(job, 2)}; restore the part {AGAIN}",
        f"holds other rows than were cut; restore the part {AGAIN}",
    ]


def test_a_part_in_another_arithmetic_is_a_problem(job, tmp_path):
    """However sound: its numbers are others than those of the parts beside it."""
    other = finished_job(tmp_path / "other", bad=[1], arithmetic="bfloat16")
    shutil.copy(part(other, 0), part(job, 0))
    found = [problem.what.partition(";")[0] for problem in verify_job(job).problems]
    assert "arithmetic: found bfloat16, the job says float32" in found


def test_another_jobs_file_is_a_problem(job, tmp_path):
    """The same rows by another job's options are not this job's."""
    other = finished_job(tmp_path / "other", bad=[1], options={"with_tokens": True})
    shutil.copy(part(other, 0), part(job, 0))
    found = [problem.what.partition(":")[0] for problem in verify_job(job).problems]
    assert found[:1] + found[2:] == ["job", "tokens stored"]


@pytest.mark.parametrize(
    "options",
    [{}, {"pooling": ["mean", "max"]}, {"layers": [0, 1], "pooling": ["none", "last"], "precision": "float16"}],
)
def test_whatever_a_job_stores_is_verified(tmp_path, options):
    """Layers, pooled vectors, float16."""
    found = verify_job(finished_job(tmp_path, options=options))
    assert (found.rows_out, found.tokens, found.problems) == (12, 21, ())


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"pooling": ["mean"]}, "columns: found mean, the job says outputs"),
        ({"layers": [0, 1]}, "columns: found outputs_0, outputs_1, the job says outputs"),
        ({"precision": "float16"}, "stored precision: found float16, the job says float32"),
    ],
)
def test_columns_that_the_job_does_not_store_are_a_problem(job, tmp_path, options, wrong):
    """A file of a job that stores other things, under this job's name."""
    other = finished_job(tmp_path / "other", bad=[1], options=options)
    shutil.copy(part(other, 0), part(job, 0))
    found = [problem.what.partition(";")[0] for problem in verify_job(job).problems]
    assert found[2] == wrong


def test_zeros_where_the_job_says_null_are_a_problem(tmp_path):
    """A row without a token has a vector of zeros in the one, and none in the other."""
    job, other = (
        finished_job(tmp_path / name, empty=[0], options={"pooling": ["mean"], "empty_rows": name})
        for name in ("null", "zeros")
    )
    for each in (job, other):
        assert verify_job(each).problems == ()
    shutil.copy(part(other, 0), part(job, 0))
    found = [problem.what.partition(";")[0] for problem in verify_job(job).problems]
    assert "pooled vectors of rows without a token: found zeros, the job says null" in found


def test_a_row_that_was_taken_out_is_a_problem(job):
    """Its metadata corrected, the file is sound in itself; the log knows better."""
    path = part(job, 0)
    table = pq.read_table(path)
    left = table.slice(1)
    rewrite(path, left, rows=left.num_rows, tokens=sum(left["length"].to_pylist()))
    found = [problem.what for problem in verify_job(job).problems]
    assert any(what.startswith("rows, with those the engine failed on: found 3") for what in found)


def test_a_file_that_was_written_again_is_a_problem(job):
    """Another program's file of these rows: it may be right, but its vectors don't prove that."""
    path = part(job, 0)
    metadata = pq.read_metadata(path).metadata
    table = pq.read_table(path)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.add_key_value_metadata(metadata)
        writer.write_table(table)
    assert problems(job)[path.name].startswith("not the bytes that were published")


def test_two_rows_that_changed_places_are_a_problem(job):
    """Counts are right, order isn't."""
    path = part(job, 0)
    table = pq.read_table(path)
    swapped = table.take([1, 0, *range(2, table.num_rows)])
    rewrite(path, swapped)
    assert problems(job)[path.name].startswith("holds other rows than were cut")


def test_parts_that_a_shortened_log_does_not_name(job):
    """They may be the job's own: the same command finds out, and nobody has to move them first."""
    names_of_parts = {part_object(shard) for shard in published(job)}
    for name in list(job.objects.list(names.LOG)):
        place(job, name).unlink()
    found = problems(job)
    for name in names_of_parts:
        assert found[name].startswith("is not in the job's log, which has no end; run the same `unrolled run` or")


@pytest.mark.parametrize(
    "name", ["extra.parquet", "part-000007-ffffffffffff.parquet", "part-1.parquet", "part-000000-ffffffffffff.parquet"]
)
def test_a_stray_parquet_file_is_a_problem(job, name):
    """`OUT/*.parquet` must be exact."""
    place(job, name).write_bytes(b"")
    assert problems(job) == {name: "is not a part of this job; move it elsewhere"}


def test_a_visible_temporary_file_is_a_problem(job):
    """Nothing of ours is ever visible before it is whole."""
    place(job, "part-000000.tmp").touch()
    place(job, ".part-000000-0123456789ab.parquet.host-1-ff.tmp").touch()
    assert verify_job(job).problems == (Problem("part-000000.tmp", "is a visible temporary file; move it elsewhere"),)


def test_what_is_superfluous_is_no_problem(job):
    """Rows that a worker hasn't deleted yet, an old record of death."""
    shard = shard_of(job, 0)
    place(job, names.rows_object(shard)).touch()
    record_death(job, shard)
    assert verify_job(job).problems == ()


def test_an_input_that_was_not_read_to_its_end_is_a_problem(tmp_path):
    """However sound its parts are."""
    job = make_job(tmp_path, shards=1, ended=False)
    publish_shard(job, *waiting(job))
    text = "the input wasn't read to its end; run the same `unrolled run` or `unrolled enqueue` again"
    assert problems(job) == {names.LOG: text}


def test_a_discarded_job_is_a_problem(job):
    """Whatever is still there, and nothing else is: no shard of it is waited for."""
    decide(job, Segment("discard"))
    left = (
        "3 parts are still there: a discard is at work, was interrupted, couldn't delete them, or came while their "
        f"shards were being computed; to delete what is left: unrolled discard {job.place}"
    )
    assert problems(job) == {names.LOG: f"the job was discarded; {left}"}
    sweep_discarded(job.objects)
    assert problems(job) == {names.LOG: "the job was discarded; no part of it is left"}


def test_a_cancelled_job_waits_for_no_worker(tmp_path):
    """Its missing parts are made when it is resumed."""
    job = make_job(tmp_path, shards=2)
    decide(job, Segment("cancel"))
    assert set(problems(job).values()) == {
        "is missing, because the job was cancelled; the same `unrolled run` or `unrolled enqueue` resumes it"
    }


def test_rows_that_no_run_has_queued_are_a_problem(tmp_path):
    """A live input's rows that a dead run left: not lost, but not published either."""
    job = make_job(tmp_path, shards=1, live=True)
    publish_shard(job, *waiting(job))
    stray = make_shard(1, job.job.id, cut(1))
    spool(job.objects, stray)
    name = names.rows_object(stray.entry.shard)
    assert problems(job) == {name: "was read and never queued; `unrolled enqueue --follow` queues it"}


def test_rows_that_a_lost_file_of_the_log_may_name_are_no_problem(tmp_path):
    """They were queued, as far as anybody knows; and no stream can queue them while the file is missing."""
    job = make_job(tmp_path, shards=1, live=True)
    place(job, segment_name(0)).unlink()
    assert problems(job).keys() == {segment_name(0)}


@pytest.mark.parametrize(("live", "advice"), [
    (False, "; run the same `unrolled run` or `unrolled enqueue` again, and move the part elsewhere only if that"),
    (True, "; restore the log's last files from a copy if they are missing, before more rows are read, and else move"),
], ids=["file", "stream"])  # fmt: skip
def test_parts_of_lost_last_files_of_the_log(tmp_path, live, advice):
    """Rows that a stream reads next would get the numbers of those that the files named, and keep these out."""
    job = finished_job(tmp_path, shards=1, live=live)
    part = part_object(published(job)[0])
    for number in (0, 1):
        place(job, segment_name(number)).unlink()
    assert problems(job)[part].startswith(f"is not in the job's log, which has no end{advice}")


def test_any_change_of_a_quarantine_list_is_a_problem(job):
    """It is named, with what brings the list back, and so is another shard's list; the reader refuses the list, too."""
    shard = shard_of(job, 1)
    name = names.quarantine_object(shard)
    path, entry = place(job, name), log_of(job).entries[shard]
    whole = path.read_bytes()
    other = make_shard(2, job.job.id, cut(1, bad=True)).quarantine
    foreign = make_shard(1, "f" * 16, cut(1, bad=True)).quarantine
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, len(whole) // 2, len(whole) - 1)]
    for content in (*flipped, b"", whole[:-1], whole * 2, other, foreign):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=f"{path}: .*remove it and run the same `unrolled run`"):
            refused_rows(job, entry)
    (wrong,) = problems(job).items()
    again = "restore the list of bad rows from a copy, or remove it and run the same `unrolled run` or "
    again += "`unrolled enqueue`, which makes it again"
    assert wrong == (name, f"its checksum is not that of its content; {again}")
    path.unlink()
    assert problems(job) == {name: f"it is missing; {again.replace('remove it and ', '')}"}
    path.write_bytes(whole)
    assert problems(job) == {}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"UNROLLED", "cut", "flipped"])
def test_damaged_failed_rows_are_a_problem(tmp_path, content):
    """They are named, and no exception gets out."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    publish_shard(job, shard, failed={1: "ValueError: no"})
    path = place(job, names.failed_object(shard))
    whole = path.read_bytes()
    damaged = {"cut": whole[:-1], "flipped": whole[:-1] + bytes([whole[-1] ^ 1])}
    path.write_bytes(content if isinstance(content, bytes) else damaged[content])
    assert list(problems(job)) == [names.failed_object(shard)]


def test_retried_rows_are_in_a_part_of_their_own(tmp_path):
    """Nothing is left of the failure but what the first part says."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    publish_shard(job, shard, failed={1: "ValueError: no", 3: "ValueError: no"})
    retry(job.objects, None, failed_rows, failed=True)
    (again,) = waiting(job)
    publish_shard(job, again)
    found = verify_job(job)
    assert (found.rows_in, found.rows_out, found.failed, found.files, found.problems) == (4, 4, 0, 2, ())


def test_files_of_two_widths_are_a_problem(job):
    """A reader would refuse them together."""
    path = part(job, 0)
    table = pq.read_table(path)
    schema = arrow_schema(*plain(2))
    outputs = [[vector[:2] for vector in row] for row in table["outputs"].to_pylist()]
    columns = [pa.array(outputs, field.type) if field.name == "outputs" else table[field.name] for field in schema]
    rewrite(path, pa.table(columns, schema=schema))
    shards = log_of(job).inputs
    assert problems(job) == {"*.parquet": f"vectors are of different widths: 2 in {shards[0]}, 3 in {shards[1]}"}


def test_a_damaged_log_is_an_error(job):
    """Without it nothing can be checked."""
    place(job, names.segment_name(0)).write_bytes(b"{}\n")
    with pytest.raises(JobError, match=f"^{job.place}/{names.segment_name(0)}: not a segment of a job's log"):
        verify_job(job)


@pytest.mark.parametrize("count", ["rows", "tokens"])
def test_a_count_that_was_changed_in_the_log_is_a_problem_of_the_log(job, count):
    """The part is right by the log's own digest, so it isn't to be restored or made again."""
    segment = place(job, segment_name(0))
    lines = [json.loads(line) for line in segment.read_text().splitlines()]
    entry = next(line for line in lines if line.get("shard") == str(shard_of(job, 1)))
    entry[count] += 1
    segment.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = problems(job)
    assert list(found) == [names.LOG]
    assert found[names.LOG].endswith("an entry was changed; restore the files of the log from a copy")


def test_a_changed_count_hides_no_other_problem(job):
    """The digest covers the rows, and not the vectors."""
    segment = place(job, segment_name(0))
    lines = [json.loads(line) for line in segment.read_text().splitlines()]
    for line in lines:
        if line.get("shard") == str(shard_of(job, 1)):
            line["rows"] += 1
    segment.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rewrite(part(job, 1), pq.read_table(part(job, 1)), arithmetic="bfloat16")
    found = problems(job)
    assert found.keys() == {names.LOG, part_object(shard_of(job, 1))}
    assert "arithmetic: found bfloat16, the job says float32" in found[part_object(shard_of(job, 1))]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_named_or_changes_nothing_that_is_read(job, data):
    """Random bytes over random places of a file: named, or harmless; never an exception."""
    path = part(job, 0)
    whole, rows = path.read_bytes(), read_whole(path)
    content = bytearray(whole)
    start = data.draw(st.integers(0, len(content) - 1))
    noise = np.random.default_rng(data.draw(st.integers(0, 2**32))).bytes(data.draw(st.integers(1, 40)))
    content[start : start + len(noise)] = noise[: len(content) - start]
    path.write_bytes(content)
    try:
        assert problems(job) or read_whole(path) == rows
    finally:
        path.write_bytes(whole)


def read_whole(path):
    """Everything that a reader gets of a file."""
    return [(row.id, row.length, row.mask.tobytes(), row.outputs.tobytes()) for row in open_dataset(path).rows()]


def test_a_damaged_chapter_of_the_log_is_a_problem(job, monkeypatch):
    """No process believes it, and nothing else is wrong."""
    monkeypatch.setattr(chapters, "SEGMENTS", 2)
    append(log_of(job), job.objects, lambda _: None)
    assert problems(job) == {}
    path = place(job, names.chapter_name(0))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert problems(job) == {names.chapter_name(0): "is not what the segments of the log say; delete it: they are read"}
    path.unlink()
    assert problems(job) == {}


def test_a_chapter_that_stands_in_for_lost_files_is_kept(job, monkeypatch):
    """It may be all that is left of them, so nothing advises to delete it."""
    monkeypatch.setattr(chapters, "SEGMENTS", 3)
    decide(job, Segment("begin", run="b" * 16))
    decide(job, Segment("end"))
    append(log_of(job), job.objects, lambda _: None)
    assert problems(job) == {}
    place(job, segment_name(1)).unlink()
    gap = LOST_SEGMENT
    assert problems(job) == {segment_name(1): gap}
    for number in (2, 3):
        place(job, segment_name(number)).unlink()
    assert (
        problems(job)[names.chapter_name(0)] == "repeats files of the log that aren't there; restore them from a copy"
    )


def test_what_is_beside_the_parts_is_named(tmp_path):
    """Not what is hidden from those who read all of a directory; it is no problem of the job."""
    job = finished_job(tmp_path)
    for folder in (".hidden", "_kept", "old"):
        (tmp_path / folder).mkdir()
        shutil.copy(next(tmp_path.glob("*.parquet")), tmp_path / folder)
    (tmp_path / "README.md").write_text("#")
    (tmp_path / "gone").symlink_to("nothing")
    (tmp_path / "linked").symlink_to("old")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone.parquet").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    found = verify_job(job)
    assert (found.problems, found.beside) == (
        (),
        ("README.md", "gone", "gone.parquet", "linked/", "loop", "old/", "pipe"),
    )


def test_what_is_a_problem_is_not_named_twice(tmp_path):
    """A part that is a link to nothing."""
    job = finished_job(tmp_path)
    part = next(tmp_path.glob("*.parquet"))
    part.unlink()
    part.symlink_to("nothing")
    found = verify_job(job)
    assert ([one.where for one in found.problems], found.beside) == ([part.name], ())
