"""The jobs that a worker has met: a path in Redis is believed only if the place itself says so."""

import json
import logging
import os
import time

import pytest
from support.processes import make_rows, open_site

from unrolled.errors import JobError
from unrolled.job.directory import create_job
from unrolled.job.job import Job
from worker.errors import AwayError
from worker.runtime.job_registry import JobRegistry


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


def register(site, job_key, raw):
    """Write a job's entry, as anybody with access to Redis can."""
    site.ledger.client.hset(site.ledger.keys.jobs, job_key, raw)


def test_a_job_is_found_and_remembered(site):
    """Its directory is what the producer made; Redis is asked once."""
    directory = site.enqueue(make_rows(2))
    jobs = JobRegistry(site.ledger, None)
    assert jobs.find(directory.key) == directory
    assert jobs.known() == [directory]
    site.ledger.client.flushall()
    assert jobs.find(directory.key) == directory


def test_a_job_of_another_model_is_refused_with_both_fingerprints(site):
    """The text names what the job asks for and what this worker serves."""
    other = "f" * 64
    directory = create_job(site.root / "theirs", Job(other, ("x",), {}))
    register(site, directory.key, json.dumps({"directory": str(directory.path)}))
    with pytest.raises(JobError, match=f"{other}.*{site.model.fingerprint}"):
        JobRegistry(site.ledger, None).find(directory.key)


def test_directories_lie_below_the_root(site):
    """Outside of it, or led out of it by `..` or a symbolic link, a job is refused."""
    directory = site.enqueue(make_rows(2))
    root = site.root / "root"
    (root / "inside").mkdir(parents=True)
    (root / "link").symlink_to(directory.path)
    for text in (directory.path, f"{root}/../{directory.path.name}", root / "link"):
        register(site, directory.key, json.dumps({"directory": str(text)}))
        with pytest.raises(JobError, match="--output-root"):
            JobRegistry(site.ledger, root).find(directory.key)
    register(site, directory.key, json.dumps({"directory": str(directory.path)}))
    assert JobRegistry(site.ledger, site.root).find(directory.key) == directory


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"not JSON",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"{}",
        b'{"directory": 7}',
        b'{"directory": ["/tmp"]}',
        b'{"directory": ""}',
        b'{"directory": "/"}',
        b'{"directory": "/etc/passwd"}',
        b'{"directory": "/proc/self/mem"}',
        b'{"directory": "../../../../../etc"}',
        b'{"directory": "/tmp/a\\u0000b"}',
        b'{"directory": "/tmp/\\ud800"}',
        json.dumps({"directory": "x/" * 1000}).encode(),
        json.dumps({"directory": "/" + "x" * 300}).encode(),
        json.dumps({"directory": "x" * 10_000_000}).encode(),
    ],
    ids=lambda raw: raw[:24].decode(errors="replace"),
)
@pytest.mark.parametrize("with_root", [False, True], ids=["anywhere", "with a root"])
def test_hostile_entries_are_refused_or_wait(site, raw, with_root):
    """Whatever Redis says, a directory is opened only if its own job.json gives the job's key."""
    register(site, "0123456789abcdef", raw)
    jobs = JobRegistry(site.ledger, site.root if with_root else None)
    with pytest.raises((JobError, AwayError)) as caught:
        jobs.find("0123456789abcdef")
    assert len(str(caught.value)) < 10_000
    assert jobs.known() == []


def test_an_entry_that_names_another_job_is_refused(site):
    """A job's key can't be pointed at another job's directory, nor at a copy of its own."""
    directory = site.enqueue(make_rows(2))
    other = site.enqueue(make_rows(2), name="other")
    register(site, directory.key, json.dumps({"directory": str(other.path)}))
    with pytest.raises(JobError, match="forged or stale"):
        JobRegistry(site.ledger, None).find(directory.key)


@pytest.mark.parametrize("manifest", [None, "{", "a directory"])
def test_a_directory_without_a_job_is_away_or_refused(site, manifest):
    """A missing one may come back; a damaged one is an error."""
    directory = site.enqueue(make_rows(2))
    file = directory.path / "job.json"
    file.unlink()
    if manifest == "a directory":
        file.mkdir()
    elif manifest:
        file.write_text(manifest)
    with pytest.raises(JobError if manifest == "{" else AwayError):
        JobRegistry(site.ledger, None).find(directory.key)


def test_unregistered_jobs_wait(site):
    """A shard of a job that Redis doesn't know is not lost by it."""
    with pytest.raises(AwayError, match="isn't registered"):
        JobRegistry(site.ledger, None).find("0123456789abcdef")


def test_leftovers_of_dead_processes_are_swept(site, caplog):
    """Once a job is met, in each of its directories; fresh ones, and other hidden files, stay."""
    caplog.set_level(logging.INFO)
    directory = site.enqueue(make_rows(2))
    old = [directory.path / name / ".part-x.tmp" for name in ("", "_pending", "_quarantine", "_dead")]
    fresh = directory.path / ".fresh.tmp"
    for path in (*old, fresh, directory.path / ".hidden"):
        path.write_bytes(b"half")
    for path in old:
        os.utime(path, times=(time.time() - 3600,) * 2)
    jobs = JobRegistry(site.ledger, None)
    jobs.find(directory.key)
    assert not any(path.exists() for path in old)
    assert fresh.exists()
    assert (directory.path / ".hidden").exists()
    assert caplog.text.count("removed 1 unfinished file(s)") == 4
    os.utime(fresh, times=(0, 0))
    jobs.find(directory.key)
    assert fresh.exists()  # not at every shard
    jobs._next_sweep.clear()
    jobs.find(directory.key)
    assert not fresh.exists()
