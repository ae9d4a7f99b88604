"""Verifying a job, and finding out about everything that can be wrong with one."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.columns import plain
from support.jobs import bury, finished_job, make_job, publish_shard

from producer.jobs.shard_check import Problem
from producer.jobs.verify import verify_job
from unrolled.errors import JobError
from unrolled.format.schema import arrow_schema
from unrolled.format.seal import Sealing
from unrolled.job.manifest import read_manifest
from unrolled.job.shard_id import ShardId
from unrolled.reading.dataset import open_dataset


@pytest.fixture
def directory(tmp_path):
    """A complete job of three shards; a row of the second is in quarantine."""
    return finished_job(tmp_path / "out", bad=[1])


def part(directory, index):
    return directory.part(read_manifest(directory.path).entries[index].shard)


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


def problems(directory):
    """What is wrong, by where."""
    return {problem.where: problem.what for problem in verify_job(directory).problems}


def test_a_sound_job_has_no_problem(directory):
    """Rows in = rows out + quarantine, and every file counts."""
    found = verify_job(directory)
    assert (found.rows_in, found.rows_out, found.quarantined, found.failed) == (12, 11, 1, 0)
    assert (found.tokens, found.files, found.kinds) == (18, 3, ("fused float32",))
    assert (found.problems, found.notes) == ((), ())


def test_each_shard_is_told_when_it_is_done(directory):
    """A progress bar can follow; tokens are those of the manifest."""
    calls = []
    verify_job(directory, lambda done, total: calls.append((done, total)))
    assert calls == [(7, 18), (11, 18), (18, 18)]


@pytest.mark.parametrize("failed", [[0], [3], [0, 1], [1, 2], [0, 3], [0, 1, 2, 3]])
def test_rows_that_the_engine_failed_on_are_put_back_in_their_places(tmp_path, failed):
    """They count as quarantined, wherever they stood, and the digest still fits."""
    directory = make_job(tmp_path, shards=1)
    publish_shard(directory, *directory.waiting(), failed=dict.fromkeys(failed, "ValueError: no"))
    found = verify_job(directory)
    assert found.problems == ()
    assert (found.rows_in, found.rows_out, found.failed) == (4, 4 - len(failed), len(failed))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(failed=st.sets(st.integers(0, 3), min_size=1), other=st.integers(0, 3))
def test_a_failed_row_under_another_number_is_found(tmp_path, failed, other):
    """The digest is over the rows in order: one put back elsewhere doesn't fit."""
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    directory = make_job(out, shards=1)
    (shard,) = directory.waiting()
    publish_shard(directory, shard, failed=dict.fromkeys(failed, "ValueError: no"))
    path = directory.quarantine(shard, engine=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    moved = lines[0]["row"] != other
    lines[0]["row"] = other
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert bool(verify_job(directory).problems) is moved


def test_a_missing_file_is_a_problem(directory):
    """Its shard is named, with the ways to get it."""
    shard = read_manifest(directory.path).entries[2].shard
    part(directory, 2).unlink()
    assert problems(directory) == {
        str(shard): f"isn't published: unrolled wait {directory.path}, or the same `unrolled enqueue` command again"
    }


def test_a_dead_shard_is_a_problem(tmp_path):
    """The rows are neither out nor in quarantine."""
    directory = make_job(tmp_path, shards=1)
    (shard,) = directory.waiting()
    bury(directory, shard)
    assert problems(directory) == {
        str(shard): f"was given up, the reason is in _dead/{shard}.json: unrolled retry {directory.path}"
    }


def test_a_flipped_byte_in_a_vector_is_a_problem(directory):
    """A checksum finds what no other check could: any number is a number."""
    path = part(directory, 0)
    vector = next(open_dataset(path).rows()).outputs[0].tobytes()
    content = path.read_bytes()
    assert content.count(vector) == 1
    path.write_bytes(content.replace(vector, bytes([vector[0] ^ 1]) + vector[1:]))
    assert "damaged, or not a Parquet file" in problems(directory)[path.name]


@pytest.mark.parametrize("options", [{}, {"pooling": ["none", "mean"], "precision": "float16", "with_tokens": True}])
def test_any_flipped_bit_is_a_problem(tmp_path, options):
    """In a page, a page's header, the footer, its metadata or a bound in it: one bit of each byte of a file."""
    directory = finished_job(tmp_path, shards=1, options=options)
    path = part(directory, 0)
    whole = path.read_bytes()
    missed = []
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        if list(problems(directory)) != [path.name]:
            missed.append(place)
    assert missed == []


@pytest.mark.parametrize("size", [0, 1, 8, 100, 1_000])
def test_a_truncated_file_is_a_problem(directory, size):
    """Be it empty or cut anywhere."""
    path = part(directory, 0)
    path.write_bytes(path.read_bytes()[:size])
    assert list(problems(directory)) == [path.name]


def test_a_directory_in_place_of_a_file_is_a_problem(directory):
    """What can't be read now is named like what is damaged."""
    path = part(directory, 0)
    path.unlink()
    path.mkdir()
    assert list(problems(directory)) == [path.name]


def test_another_shards_file_under_the_name_is_a_problem(directory):
    """A file is sound, but holds other rows."""
    shutil.copy(part(directory, 0), part(directory, 2))
    name = part(directory, 2).name
    found = [problem.what for problem in verify_job(directory).problems if problem.where == name]
    first, third = (read_manifest(directory.path).entries[index].shard for index in (0, 2))
    again = "remove the file and run the same `unrolled enqueue` command again"
    assert found == [
        f"shard: found {first}, the job says {third}; {again}",
        f"holds other rows than were cut; {again}",
    ]


def test_another_jobs_file_is_a_problem(directory, tmp_path):
    """The same rows by another job's options are not this job's."""
    other = finished_job(tmp_path / "other", bad=[1], options={"with_tokens": True})
    shutil.copy(part(other, 0), part(directory, 0))
    found = [problem.what.partition(":")[0] for problem in verify_job(directory).problems]
    assert found == ["job", "tokens stored"]


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
def test_columns_that_the_job_does_not_store_are_a_problem(directory, tmp_path, options, wrong):
    """A file of a job that stores other things, under this job's name."""
    other = finished_job(tmp_path / "other", bad=[1], options=options)
    shutil.copy(part(other, 0), part(directory, 0))
    found = [problem.what.partition(";")[0] for problem in verify_job(directory).problems]
    assert len(found) == 2
    assert found[1] == wrong


def test_a_row_that_was_taken_out_is_a_problem(directory):
    """Its metadata corrected, the file is sound in itself; the manifest knows better."""
    path = part(directory, 0)
    table = pq.read_table(path)
    left = table.slice(1)
    rewrite(path, left, rows=left.num_rows, tokens=sum(left["length"].to_pylist()))
    found = [problem.what for problem in verify_job(directory).problems]
    assert any(what.startswith("rows, with those the engine failed on: found 3") for what in found)


def test_a_file_that_was_written_anew_is_a_problem(directory):
    """The same rows by another program: they may be right, but the vectors can't show it."""
    path = part(directory, 0)
    metadata = pq.read_metadata(path).metadata
    table = pq.read_table(path)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.add_key_value_metadata(metadata)
        writer.write_table(table)
    assert problems(directory)[path.name].startswith(f"{path.name}: not the bytes that were published")


def test_two_rows_that_changed_places_are_a_problem(directory):
    """Counts are right, order isn't."""
    path = part(directory, 0)
    table = pq.read_table(path)
    swapped = table.take([1, 0, *range(2, table.num_rows)])
    rewrite(path, swapped)
    assert problems(directory)[path.name].startswith("holds other rows than were cut")


def test_a_second_file_of_a_shard_is_a_problem(directory):
    """Its rows would be read twice."""
    shard = read_manifest(directory.path).entries[0].shard
    name = "part-000000-ffffffffffff.parquet"
    shutil.copy(part(directory, 0), directory.path / name)
    assert problems(directory) == {
        name: f"stray file: shard {shard} has that place, so its rows are here twice; move it away"
    }


@pytest.mark.parametrize("name", ["extra.parquet", "part-000007-ffffffffffff.parquet", "part-1.parquet"])
def test_a_stray_parquet_file_is_a_problem(directory, name):
    """`OUT/*.parquet` must be exact."""
    (directory.path / name).write_bytes(b"")
    assert problems(directory) == {name: "stray file: no shard of this job is in it; move it away"}


def test_a_visible_temporary_file_is_a_problem(directory):
    """Nothing of ours is ever visible before it is whole; a hidden one is only worth a note."""
    (directory.path / "part-000000.tmp").touch()
    (directory.path / ".part-000000-0123456789ab.parquet.host-1-ff.tmp").touch()
    found = verify_job(directory)
    assert found.problems == (Problem("part-000000.tmp", "visible temporary file; move it away"),)
    assert found.notes == ("1 hidden temporary file(s) of workers that died or are still writing; readers skip them",)


def test_what_is_merely_untidy_is_noted(directory):
    """Rows that a worker hasn't removed yet, rows that were never cut for good, an old death record."""
    shard = read_manifest(directory.path).entries[0].shard
    directory.pending(shard).touch()
    directory.pending(ShardId(9, "0123456789ab")).touch()
    bury(directory, shard)
    found = verify_job(directory)
    assert found.problems == ()
    assert found.notes == (
        "1 published shard(s) still have their rows in _pending; a worker removes them",
        "1 shard(s) in _pending are not in the manifest; the next `unrolled enqueue` removes them",
        "1 published shard(s) are recorded as dead; `unrolled retry` removes the records",
    )


def test_an_input_that_was_not_read_to_its_end_is_a_problem(tmp_path):
    """However sound what is there."""
    directory = make_job(tmp_path, shards=1, ended=False)
    publish_shard(directory, *directory.waiting())
    assert problems(directory) == {
        "_manifest.jsonl": "the input wasn't read to its end; run the same `unrolled enqueue` command again"
    }


def test_a_quarantine_list_that_lost_a_line_is_a_problem(directory):
    """A quarantined row without its reason is a lost row."""
    shard = read_manifest(directory.path).entries[1].shard
    directory.quarantine(shard).write_text("")
    assert problems(directory) == {f"_quarantine/{shard}.jsonl": "lists 0 row(s), the manifest says 1"}


@pytest.mark.parametrize(
    "content",
    [
        "not json\n",
        "[]\n",
        '{"row": 4, "id": "a", "tokens": []}\n',
        '{"row": -1, "id": "a", "tokens": []}\n',
        '{"row": "0", "id": "a", "tokens": []}\n',
        '{"row": 0, "id": null, "tokens": []}\n',
        '{"row": 0, "id": "a", "tokens": 5}\n',
        '{"row": 0, "id": "a", "tokens": ["x"]}\n',
        '{"row": 1, "id": "a", "tokens": [1]}\n{"row": 1, "id": "a", "tokens": [1]}\n',
        '{"row": 0, "id": "\\ud800", "tokens": [1]}\n',
        b"\xff\xfe\n".decode("latin-1"),
    ],
)
def test_a_damaged_engine_list_is_a_problem(directory, content):
    """The shard's file is named, and no exception gets out."""
    shard = read_manifest(directory.path).entries[0].shard
    directory.quarantine(shard, engine=True).write_text(content, "latin-1")
    assert list(problems(directory)) == [part(directory, 0).name]


def test_a_row_both_published_and_in_quarantine_is_a_problem(directory):
    """Exactly once means one place."""
    shard = read_manifest(directory.path).entries[0].shard
    line = {"row": 0, "id": "rows.txt#0", "reason": "x", "tokens": [1]}
    directory.quarantine(shard, engine=True).write_text(json.dumps(line) + "\n")
    assert problems(directory)[part(directory, 0).name].startswith(
        ("rows, with those the engine failed on: found 5, the job says 4", "real tokens")
    )


def test_files_of_two_widths_are_a_problem(directory):
    """A reader would refuse them together."""
    path = part(directory, 0)
    table = pq.read_table(path)
    schema = arrow_schema(*plain(2))
    outputs = [[vector[:2] for vector in row] for row in table["outputs"].to_pylist()]
    columns = [pa.array(outputs, field.type) if field.name == "outputs" else table[field.name] for field in schema]
    rewrite(path, pa.table(columns, schema=schema))
    shards = [entry.shard for entry in read_manifest(directory.path).entries]
    assert problems(directory) == {"*.parquet": f"vectors are of different widths: 2 in {shards[0]}, 3 in {shards[1]}"}


def test_a_damaged_manifest_is_an_error(directory):
    """Without it nothing can be checked."""
    manifest = directory.path / "_manifest.jsonl"
    manifest.write_bytes(b"{}\n" + manifest.read_bytes())
    with pytest.raises(JobError, match="line 1: not a manifest line"):
        verify_job(directory)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_named_or_changes_nothing_that_is_read(directory, data):
    """Random bytes over random places of a file: named, or harmless; never an exception."""
    path = part(directory, 0)
    whole, rows = path.read_bytes(), read_whole(path)
    content = bytearray(whole)
    start = data.draw(st.integers(0, len(content) - 1))
    noise = np.random.default_rng(data.draw(st.integers(0, 2**32))).bytes(data.draw(st.integers(1, 40)))
    content[start : start + len(noise)] = noise[: len(content) - start]
    path.write_bytes(content)
    try:
        assert problems(directory) or read_whole(path) == rows
    finally:
        path.write_bytes(whole)


def read_whole(path):
    """Everything that a reader gets of a file."""
    return [(row.id, row.length, row.mask.tobytes(), row.outputs.tobytes()) for row in open_dataset(path).rows()]
