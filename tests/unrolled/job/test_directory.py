"""A job's directory: made, found again, refused, and never left."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from unrolled.errors import JobError, TransientError
from unrolled.job.directory import create_job, open_job
from unrolled.job.job import Job
from unrolled.job.shard_id import ShardId

JOB = Job("ab" * 32, ("a.txt", "b.txt"), {"shard_tokens": 1000, "with_tokens": False})
SHARD = ShardId(42, "0123456789ab")


def test_created(tmp_path):
    """A new job's directory is made with all that is above it, and says what the job is."""
    directory = create_job(tmp_path / "deep" / "out", JOB)
    assert directory.job == JOB
    assert directory.path.is_absolute()
    content = json.loads((directory.path / "job.json").read_text())
    assert content == {
        "format_version": 1,
        "id": JOB.id,
        "fingerprint": "ab" * 32,
        "inputs": ["a.txt", "b.txt"],
        "options": {"shard_tokens": 1000, "with_tokens": False},
    }
    assert open_job(directory.path) == directory


def test_found_again(tmp_path):
    """The same job opens its directory again, also where an empty folder got lost; nothing is rewritten."""
    first = create_job(tmp_path, JOB)
    before = (tmp_path / "job.json").stat().st_ino
    (tmp_path / "_dead").rmdir()
    again = create_job(tmp_path, Job("ab" * 32, ("a.txt", "b.txt"), {"with_tokens": False, "shard_tokens": 1000}))
    assert again == first
    assert (tmp_path / "_dead").is_dir()
    assert (tmp_path / "job.json").stat().st_ino == before


def test_id_and_key(tmp_path):
    """A job's id depends on all of it and on nothing else; its key in Redis on the directory as well."""
    same = Job("ab" * 32, ("a.txt", "b.txt"), {"with_tokens": False, "shard_tokens": 1000})
    others = [
        dataclasses.replace(JOB, fingerprint="cd" * 32),
        dataclasses.replace(JOB, inputs=("b.txt", "a.txt")),
        dataclasses.replace(JOB, options={"shard_tokens": 1001, "with_tokens": False}),
    ]
    assert same.id == JOB.id
    assert len({JOB.id, *(other.id for other in others)}) == 4
    keys = {create_job(tmp_path / name, JOB).key for name in ("x", "y")}
    assert len(keys) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", key) for key in keys)


def test_undecodable_names(tmp_path):
    """Names that are no UTF-8, as Linux allows, make a job like any others."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    directory = create_job(path, Job("ab" * 32, (os.fsdecode(b"\xfe.txt"),), {}))
    assert open_job(path) == directory
    assert re.fullmatch("[0-9a-f]{16}", directory.key)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"fingerprint": "cd" * 32},
            f"another model (fingerprint {'ab' * 32}, asked for is {'cd' * 32})",
        ),
        ({"inputs": ("c.txt",)}, "other inputs (a.txt, b.txt; asked for are c.txt)"),
        (
            {"inputs": tuple("abcde")},
            "other inputs (a.txt, b.txt; asked for are a, b, c and 2 more)",
        ),
        (
            {"options": {"shard_tokens": 2000, "new": "x"}},
            (
                "other options (new: None, asked for is 'x'; shard_tokens: 1000, asked for is 2000; "
                "with_tokens: False, asked for is None)"
            ),
        ),
    ],
)
def test_another_job(tmp_path, change, what):
    """Another job is refused, with what differs and what to do."""
    create_job(tmp_path, JOB)
    with pytest.raises(JobError) as caught:
        create_job(tmp_path, dataclasses.replace(JOB, **change))
    assert str(caught.value) == (
        f"{tmp_path}: holds a job with {what}. Use another --out, or the same command to resume"
    )


@pytest.mark.parametrize("name", ["data.parquet", "_manifest.jsonl"])
def test_not_empty(tmp_path, name):
    """A directory that holds results of something else is refused, and left as it was."""
    (tmp_path / name).write_text("")
    with pytest.raises(JobError) as caught:
        create_job(tmp_path, JOB)
    assert str(caught.value) == f"{tmp_path}: holds {name} but no job.json; use an empty directory"
    assert {path.name for path in tmp_path.iterdir()} <= {name, "_lock"}


GOOD = {"format_version": 1, "id": JOB.id, "fingerprint": "ab" * 32, "inputs": ["a.txt", "b.txt"]}
GOOD["options"] = dict(JOB.options)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a job manifest"),
        (b"\xff\xfe", "not a job manifest"),
        (b"[]", "not a job manifest"),
        (b"{}", "not a job manifest: KeyError('format_version')"),
        (b"[" * 100_000, "not a job manifest: RecursionError"),
        (json.dumps({**GOOD, "format_version": 2}).encode(), "format version 2; this version reads 1"),
        (json.dumps({**GOOD, "inputs": 3}).encode(), "not a job manifest"),
        (json.dumps({**GOOD, "options": ["x"]}).encode(), "not a job manifest"),
        (json.dumps({**GOOD, "inputs": ["other.txt"]}).encode(), "was changed since it was written"),
        (b" " * (2**20 + 1), "larger than 1,048,576 bytes"),
    ],
)
def test_corrupt(tmp_path, content, what):
    """A job.json that is none, or not as it was written, is refused with its path and the reason."""
    create_job(tmp_path, JOB)
    (tmp_path / "job.json").write_bytes(content)
    for attempt in (lambda: open_job(tmp_path), lambda: create_job(tmp_path, JOB)):
        with pytest.raises(JobError) as caught:
            attempt()
        assert str(caught.value).startswith(f"{tmp_path}/job.json: ")
        assert what in str(caught.value)


def test_no_job(tmp_path):
    """Where no job is, the text says which command makes one."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(JobError, match=r"no job here \(job.json is missing\); `unrolled enqueue` makes one"):
            open_job(path)


def test_unwritable(tmp_path):
    """A directory that can't be made, for a file is in its way, is refused before anything is done."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(JobError, match=r"can't be written: .*; choose another --out, or mend it"):
            create_job(path, JOB)
    create_job(tmp_path / "out", JOB)
    (tmp_path / "out" / "_pending").rmdir()
    (tmp_path / "out" / "_pending").write_text("")
    with pytest.raises(JobError, match="can't be written: File exists"):
        create_job(tmp_path / "out", JOB)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="machine: /proc is Linux's")
def test_read_only():
    """A file system that takes no files is refused like any unwritable directory, root or not."""
    with pytest.raises(JobError, match="can't be written"):
        create_job("/proc/out", JOB)


def test_unreadable_listing(tmp_path):
    """A directory that can't be listed just now is a passing trouble, and no empty one."""
    directory = create_job(tmp_path, JOB)
    (tmp_path / "_pending").rmdir()
    assert directory.waiting() == set()
    (tmp_path / "_pending").write_text("")
    with pytest.raises(TransientError, match="can't be listed now"):
        directory.waiting()


def test_places(tmp_path):
    """A shard's files lie where the table says, and are found by their names; other names are passed over."""
    directory = create_job(tmp_path, JOB)
    places = {
        directory.part(SHARD): f"part-{SHARD}.parquet",
        directory.pending(SHARD): f"_pending/{SHARD}.rows",
        directory.dead(SHARD): f"_dead/{SHARD}.json",
        directory.quarantine(SHARD): f"_quarantine/{SHARD}.jsonl",
        directory.quarantine(SHARD, engine=True): f"_quarantine/{SHARD}.engine.jsonl",
        directory.kept(SHARD): f"_quarantine/{SHARD}.rows",
    }
    listings = (
        directory.published,
        directory.waiting,
        directory.given_up,
        directory.quarantined,
        directory.failing,
    )
    assert [listing() for listing in listings] == [set()] * 5
    for path, name in places.items():
        assert path == tmp_path / name
        path.write_text("")
        for other in (path.with_name(f".{path.name}.x.tmp"), path.with_name("x-" + path.name)):
            other.write_text("")
    assert [listing() for listing in listings] == [{SHARD}] * 5
    directory.discard_strays({SHARD})
    assert (directory.quarantined(), directory.failing(), directory.waiting()) == ({SHARD}, {SHARD}, {SHARD})
    directory.quarantine(SHARD, engine=True).unlink()
    directory.discard_strays(set())
    assert (directory.quarantined(), directory.waiting()) == (set(), set())


def test_a_shard_is_spooled_once(tmp_path):
    """Its rows and its bad rows are durable when the call returns; what has rows or a part is left alone."""
    directory = create_job(tmp_path, JOB)
    for rows in (b"rows", b"other rows"):
        directory.spool(SHARD, rows, b"bad rows")
        assert directory.pending(SHARD).read_bytes() == b"rows"
        assert directory.quarantine(SHARD).read_bytes() == b"bad rows"
    directory.part(SHARD).write_bytes(b"outputs")
    directory.discard_pending(SHARD)
    directory.spool(SHARD, b"rows", b"")
    assert directory.waiting() == set()


def test_bad_rows_are_spooled_first(tmp_path):
    """So that none is lost; what the file system refuses is a passing trouble."""
    directory = create_job(tmp_path, JOB)
    (tmp_path / "_pending").rmdir()
    with pytest.raises(TransientError, match="cannot write"):
        directory.spool(SHARD, b"rows", b"bad rows")
    assert (directory.quarantined(), directory.waiting()) == ({SHARD}, set())


def test_spooled_rows_stay_while_the_engine_fails_on_some(tmp_path):
    """Once their shard is published they are moved out of what waits, and removed when it is published whole."""
    directory = create_job(tmp_path, JOB)
    failed = directory.quarantine(SHARD, engine=True)
    failed.touch()
    for content in ("once", "again"):
        directory.pending(SHARD).write_text(content)
        for _ in range(2):
            directory.discard_pending(SHARD)
            assert directory.waiting() == set()
            assert directory.kept(SHARD).read_text() == content
    failed.unlink()
    directory.pending(SHARD).touch()
    for _ in range(2):
        directory.discard_pending(SHARD)
        assert directory.waiting() == set()
        assert not directory.kept(SHARD).exists()


def test_spooled_rows_stay_while_nobody_can_tell_whether_the_engine_failed(tmp_path):
    """A place that can't be looked at isn't one without a list."""
    directory = create_job(tmp_path, JOB)
    directory.pending(SHARD).touch()
    (tmp_path / "_quarantine").rmdir()
    (tmp_path / "_quarantine").symlink_to("_quarantine")
    with pytest.raises(TransientError):
        directory.discard_pending(SHARD)
    assert directory.waiting() == {SHARD}


def test_one_producer(tmp_path):
    """A second process is kept out while the first lives, and let in when it is gone, however it ended."""
    directory = create_job(tmp_path, JOB)
    script = textwrap.dedent("""
        import sys
        from unrolled.job.directory import open_job
        with open_job(sys.argv[1]).lock():
            print("locked", flush=True)
            sys.stdin.read()
    """)
    other = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(JobError) as caught, directory.lock():
            pytest.fail("two producers at once")
        assert str(caught.value) == (
            f"{tmp_path}: another `unrolled enqueue` is writing to this directory; wait for it or stop it"
        )
    finally:
        other.kill()
        other.communicate()
    with directory.lock():
        pass


def test_unlockable(tmp_path):
    """A lock that can't be opened is refused with a clear text."""
    directory = create_job(tmp_path, JOB)
    (tmp_path / "_lock").unlink()
    (tmp_path / "_lock").mkdir()
    with pytest.raises(JobError, match="can't be written: Is a directory"), directory.lock():
        pytest.fail("locked a directory")
