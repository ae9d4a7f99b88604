"""The jobs that a worker has met: a place in Redis is believed only if the place itself says so."""

import json
import logging
import os
import shutil
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from support.jobs import decide, log_of
from support.processes import left, make_rows, open_site

from producer.enqueue.shard import make_shard
from unrolled.errors import JobError, RequestError, TransientError
from unrolled.job import names
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.job.names import Life, dead_object, part_object, segment_name
from unrolled.job.output_root import OutputRoot
from unrolled.job.segment import Segment
from unrolled.patience import Patience
from unrolled.protocol.opening import create_job
from unrolled.protocol.spooling import spool
from unrolled.queue.broker import AWAY
from unrolled.queue.ledger import Known, Ledger
from unrolled.queue.member import Member
from unrolled.store.posix import PosixStore
from worker.errors import AwayError, GivenBackError
from worker.runtime import job_registry
from worker.runtime.job_place import check_place
from worker.runtime.job_registry import LOOK_PAUSE, Jobs
from worker.settings import Settings


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


@pytest.fixture
def sent():
    """Members whose messages were sent."""
    return []


@pytest.fixture
def jobs(site, sent):
    return jobs_of(site, sent)


def jobs_of(site, sent=None, ledger=None, **settings):
    made = Settings.from_environ(site.environ(**settings))
    patience = Patience(print, (TransientError, *AWAY), GivenBackError)
    return Jobs(made, ledger or site.ledger, patience, (sent if sent is not None else []).append, "host-0")


def register(site, job_key, raw):
    """Write a job's entry, as anybody with access to Redis can."""
    site.ledger.client.hset(site.ledger.keys.jobs, job_key, raw)


def entry(place):
    return json.dumps({"place": str(place)})


def at_once(jobs):
    """Let what is due later be due now, as its time would."""
    for met in jobs._met.values():
        met.next_tell = met.next_look = met.next_sweep = 0.0
    for key in jobs._ledger.client.scan_iter(f"{jobs._ledger.keys.turns}:*"):
        jobs._ledger.client.delete(key)
    return jobs


def empty_ledger(site, job):
    """Take all of a job's shards out of the ledger, as workers do that are done with them."""
    for life in site.ledger.members(job.key)[0]:
        site.ledger.remove(Member(job.key, life))


def finish(site, job):
    """Publish a job and take its shards out of the ledger; only whether a part exists is looked at."""
    for shard in left(job):
        job.objects.create(part_object(shard), b"part")
        job.objects.delete(names.rows_object(shard))
    empty_ledger(site, job)


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_job_is_found_and_remembered(site, jobs):
    """It is what the producer made; Redis is asked once."""
    job = site.enqueue(make_rows(2))
    found = jobs.find(job.key)
    assert (found.job, found.key, found.place) == (job.job, job.key, job.place)
    site.ledger.client.flushall()
    assert jobs.find(job.key) is found


def test_a_place_is_registered_for_any_working_directory(site, jobs, monkeypatch):
    """A worker runs elsewhere than the producer, which may have been given a relative path."""
    monkeypatch.chdir(site.root)
    rows = make_rows(2)
    monkeypatch.setattr(site, "root", site.root.relative_to(site.root))
    job = site.enqueue(rows)
    assert job.place == "out"
    monkeypatch.chdir("/")
    assert jobs.find(job.key).job == job.job


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fingerprint": "f" * 64}, "f" * 12),
        ({"arithmetic": "bfloat16"}, "in bfloat16 by fused"),
        ({"engine": "tensorflow"}, "in float32 by tensorflow"),
    ],
)
def test_a_job_that_asks_for_another_offer_is_refused(site, jobs, change, named):
    """The text names what the job asks for and what this worker offers."""
    asked = Job(site.model.fingerprint, Inputs.named(["x"]), "fused", "float32", live=False, options={})
    job = create_job(site.root / "theirs", replace(asked, **change))
    register(site, job.key, entry(job.place))
    with pytest.raises(JobError, match=named) as caught:
        jobs.find(job.key)
    assert f"this worker offers {site.offer.describe()}" in str(caught.value)


def test_jobs_are_below_the_root(site):
    """Outside of it, or led out of it by `..` or a symbolic link, a job is refused; so is a bucket."""
    job = site.enqueue(make_rows(2))
    root = site.root / "root"
    (root / "inside").mkdir(parents=True)
    (root / "link").symlink_to(job.place)
    (root / "circle").symlink_to(root / "circle")
    for text in (job.place, f"{root}/../out", root / "link", "s3://bucket/out"):
        register(site, job.key, entry(text))
        with pytest.raises(JobError, match="--output-root") as refused:
            jobs_of(site, output_root=root).find(job.key)
        assert ("(its symbolic links lead elsewhere); this worker" in str(refused.value)) == (text == root / "link")
    (site.root / "named").symlink_to(root)
    for named, text in ((site.root / "named", site.root / "named" / "link"), (root, root / "link" / "x")):
        assert OutputRoot(named).link_in(str(text)) == " (its symbolic links lead elsewhere)"
    assert not OutputRoot(site.root / "named").link_in(job.place)
    register(site, job.key, entry(root / "circle" / "x"))
    with pytest.raises(JobError, match=r"circle/x; this worker"):
        jobs_of(site, output_root=root).find(job.key)
    register(site, job.key, entry(job.place))
    assert jobs_of(site, output_root=site.root).find(job.key).job == job.job


@pytest.mark.parametrize(
    ("root", "place", "within"),
    [
        ("s3://bucket/jobs", "s3://bucket/jobs/one", True),
        ("s3:/bucket/jobs/", "s3://bucket/jobs", True),
        ("s3://bucket", "S3://bucket/anything", True),
        ("s3://bucket/jobs", "s3://bucket/jobs-of-others/one", False),
        ("s3://bucket/jobs", "s3://other/jobs/one", False),
        ("s3://bucket/jobs", "gs://bucket/jobs/one", False),
        ("s3://bucket/jobs", "s3://bucket", False),
        ("s3://bucket/jobs", "s3://bucket/jobs/../one", False),
        ("s3://bucket/jobs", "s3://bucket/jobs/one?endpoint=http://127.0.0.1", False),
        ("s3://bucket/jobs", "/bucket/jobs/one", False),
    ],
)
def test_jobs_are_below_a_root_in_a_bucket(root, place, within):
    """A worker's root has lost a slash on its way through a path."""
    with nullcontext() if within else pytest.raises(JobError, match=r"below s3://bucket\S* only \(--output-root\)"):
        check_place("0123456789abcdef", place, OutputRoot(Path(root)))


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
        b'{"place": 7}',
        b'{"place": ["/tmp"]}',
        b'{"place": ""}',
        b'{"place": "/"}',
        b'{"place": "out"}',
        b'{"place": "/etc/passwd"}',
        b'{"place": "/proc/self/mem"}',
        b'{"place": "../../../../../etc"}',
        b'{"place": "/tmp/a\\u0000b"}',
        b'{"place": "/tmp/\\ud800"}',
        b'{"place": "ftp://host/x"}',
        b'{"place": "file:///etc"}',
        b'{"place": "s3://"}',
        b'{"place": "s3://../.."}',
        b'{"place": "s3://a/?endpoint=http://127.0.0.1"}',
        b'{"place": "gs://a/../b"}',
        entry("x/" * 1000).encode(),
        entry("/" + "x" * 300).encode(),
        entry("x" * 10_000_000).encode(),
    ],
    ids=lambda raw: raw[:24].decode(errors="replace"),
)
@pytest.mark.parametrize("with_root", [False, True], ids=["anywhere", "with a root"])
def test_hostile_entries_are_refused_or_wait(site, raw, with_root):
    """Whatever Redis says, a job is opened only where its own job.json gives the job's key."""
    register(site, "0123456789abcdef", raw)
    jobs = jobs_of(site, **({"output_root": site.root} if with_root else {}))
    with pytest.raises((RequestError, AwayError)) as caught:
        jobs.find("0123456789abcdef")
    assert len(str(caught.value)) < 10_000
    assert jobs._met == {}


def test_an_entry_that_names_another_job_is_refused(site, jobs):
    """A job's key can't be pointed at another job's place."""
    job = site.enqueue(make_rows(2))
    other = site.enqueue(make_rows(2), name="other")
    register(site, job.key, entry(other.place))
    with pytest.raises(JobError, match="forged or stale"):
        jobs.find(job.key)


@pytest.mark.parametrize("found", [None, "{", "a directory", "a FIFO"])
def test_a_place_without_a_job_is_away_or_refused(site, jobs, found):
    """A missing job.json may return; something that isn't a file doesn't block a thread; a damaged one is reported."""
    job = site.enqueue(make_rows(2))
    file = site.root / "out" / names.JOB
    file.unlink()
    match found:
        case "a directory":
            file.mkdir()
        case "a FIFO":
            os.mkfifo(file)
        case "{":
            file.write_text(found)
    with pytest.raises((JobError, AwayError)):
        jobs.find(job.key)


def test_unregistered_jobs_wait(jobs):
    """A shard of a job that Redis doesn't know is not lost by it."""
    with pytest.raises(AwayError, match="isn't registered"):
        jobs.find("0123456789abcdef")


def test_a_store_that_is_gone_makes_a_shard_wait(site, jobs):
    """What is tried again in place is only what the store itself refuses."""
    job = site.enqueue(make_rows(2))
    found = jobs.find(job.key)
    (site.root / "out").rename(site.root / "away")
    with pytest.raises(AwayError, match="mount or restore the job's directory"):
        found.objects.read(names.JOB)


def test_a_copy_that_goes_on_is_found_though_it_has_the_key_of_its_original(site, jobs, monkeypatch):
    """The original is finished, and this worker hasn't forgotten it: the place in Redis counts after a rest."""
    job = site.enqueue(make_rows(2))
    copy = site.root / "copy"
    shutil.copytree(job.place, copy)
    monkeypatch.setattr(job_registry, "IDLE_SECONDS", 60)
    found = jobs.find(job.key)
    register(site, job.key, entry(copy))
    assert jobs.find(job.key) is found, "Redis isn't asked for each shard"
    monkeypatch.setattr(job_registry, "IDLE_SECONDS", 0)
    assert jobs.find(job.key).place == str(copy)


def test_a_job_that_was_moved_is_found_at_its_new_place(site, jobs, sent, caplog, monkeypatch):
    """Once it couldn't be used: by the shards that are computed, and by what looks after jobs; and no sooner."""
    monkeypatch.setattr(job_registry, "IDLE_SECONDS", 60)
    job = site.enqueue(make_rows(2))
    found = jobs.find(job.key)
    old, new = site.root / "out", site.root / "new"
    old.rename(new)
    with pytest.raises(AwayError):
        found.objects.read(names.JOB)
    jobs.doubt(job.key)
    assert jobs.find(job.key) is found, "Redis names no other place"
    register(site, job.key, entry(new))
    assert jobs.find(job.key) is found, "Redis isn't asked for each shard"
    jobs.doubt(job.key)
    assert jobs.find(job.key).place == str(new)
    assert jobs.find(job.key).objects.read(names.JOB) is not None
    assert len(warnings_in(caplog)) == 1
    new.rename(old)
    register(site, job.key, entry(old))
    empty_ledger(site, job)
    jobs.look_after(sent.append)
    at_once(jobs).look_after(sent.append)
    assert jobs.find(job.key).place == str(old)
    jobs.doubt("0123456789abcdef")  # a job that it never met


def test_a_place_that_has_another_job_is_no_new_place(site, jobs):
    """The job stays in doubt until Redis names its own place."""
    job = site.enqueue(make_rows(2))
    other = site.enqueue(make_rows(2), name="other")
    jobs.find(job.key)
    register(site, job.key, entry(other.place))
    jobs.doubt(job.key)
    for _ in range(2):
        with pytest.raises(JobError, match="forged or stale"):
            jobs.find(job.key)
    site.ledger.client.hdel(site.ledger.keys.jobs, job.key)
    assert jobs.find(job.key).place == job.place, "what it knows of a job that Redis lost is kept"


def test_what_is_misplaced_makes_a_shard_wait(site, jobs, tmp_path):
    """A FIFO in place of rows, or a link in place of a folder: no waiting changes it, and no thread is held by it."""
    job = site.enqueue(make_rows(2))
    found = jobs.find(job.key)
    (shard,) = left(job)
    rows = site.root / "out" / names.rows_object(shard)
    rows.unlink()
    os.mkfifo(rows)
    with pytest.raises(AwayError, match="it is not a file"):
        found.objects.read(names.rows_object(shard))
    (tmp_path / "elsewhere").mkdir()
    (site.root / "out" / names.DEAD).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AwayError, match="no symbolic link"):
        found.objects.create(dead_object(Life(shard, 0)), b"{}")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_leftovers_of_dead_processes_are_swept(site, jobs, caplog):
    """Once a job is met, in each of its folders; fresh ones, and other hidden files, stay."""
    caplog.set_level(logging.INFO)
    job = site.enqueue(make_rows(2))
    out = site.root / "out"
    folders = ("", names.LOG, names.CHAPTERS, names.ROWS, names.FAILED, names.DEAD)
    old = [out / folder / ".part-x.tmp" for folder in folders]
    fresh = out / ".fresh.tmp"
    for path in (*old, fresh, out / ".hidden"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    for path in old:
        os.utime(path, times=(time.time() - 3600,) * 2)
    jobs.find(job.key)
    assert not any(path.exists() for path in old)
    assert fresh.exists()
    assert (out / ".hidden").exists()
    assert caplog.text.count("removed 1 unfinished file of") == len(folders)
    os.utime(fresh, times=(0, 0))
    jobs.find(job.key)
    jobs_of(site).find(job.key)
    assert fresh.exists()  # not at every shard, nor by every worker
    at_once(jobs).find(job.key)
    assert not fresh.exists()


def test_a_long_sweep_of_leftovers_is_followed_by_a_long_rest(site, jobs, monkeypatch):
    """So a worker spends a small share of its time on sweeps, whatever number of names a job has."""
    job = site.enqueue(make_rows(2))
    monkeypatch.setattr(PosixStore, "sweep_leftovers", lambda *_: time.sleep(0.05))
    jobs.find(job.key)
    (met,) = jobs._met.values()
    assert met.next_sweep - time.monotonic() > 300


@pytest.mark.parametrize("key", ["ledger", "jobs", "all"])
def test_what_redis_evicts_is_entered_again(site, jobs, sent, caplog, key):
    """Whichever key goes, whatever else stays: all that waits is in the ledger, sent, and found by new workers."""
    job = site.enqueue(make_rows(6))
    done, *others = sorted(site.ledger.members(job.key)[0])
    jobs.find(job.key)
    job.objects.create(part_object(done.shard), b"part")
    job.objects.delete(names.rows_object(done.shard))
    site.ledger.remove(Member(job.key, done))
    if key == "all":
        site.ledger.client.flushall()
    else:
        site.ledger.client.delete(getattr(site.ledger.keys, key))
    at_once(jobs).look_after(sent.append)
    assert site.ledger.members(job.key)[0] == set(others)
    assert sorted(sent) == ([] if key == "jobs" else [Member(job.key, life) for life in others])
    assert len(warnings_in(caplog)) == (key != "jobs")
    assert site.ledger.known([job.key]) == [Known(log_of(job).length, 2)]
    assert site.ledger.counts().tokens == 20
    assert jobs_of(site).find(job.key).job == job.job
    at_once(jobs).look_after(sent.append)
    assert len(warnings_in(caplog)) == (key != "jobs")


def test_one_worker_tells_what_was_lost(site, jobs, sent):
    """The others leave the update to the worker whose turn it is, and try again a lease later."""
    job = site.enqueue(make_rows(6))
    other = jobs_of(site)
    for each in (jobs, other):
        each.find(job.key)
    site.ledger.client.delete(site.ledger.keys.ledger)
    assert site.ledger.take_turn(f"{job.key}:tell", 600)  # as a worker does that dies then
    jobs.look_after(sent.append)
    assert site.ledger.mark(job.key) is None
    site.ledger.client.delete(f"{site.ledger.keys.turns}:{job.key}:tell")  # as its time would
    jobs.look_after(sent.append)
    assert len(sent) == 3
    other.look_after(sent.append)
    assert len(sent) == 3


def test_a_segment_that_no_one_entered_is_entered(site, jobs, sent):
    """A producer died between its segment and the ledger: a worker enters the shards, once the ledger has no other."""
    job = site.enqueue(make_rows(2))
    jobs.find(job.key)
    finish(site, job)
    (before,) = names.parts_in(job.objects.list(names.PARTS))
    spooled = make_shard(1, job.job.id, make_rows(2, start=2), growth=1)
    spool(job.objects, spooled)
    for segment in (Segment("append", inputs=job.job.inputs), Segment("shards", (spooled.entry,))):
        decide(job, segment)
    site.ledger.client.zadd(site.ledger.keys.ledger, {job.key: 1})
    jobs.look_after(sent.append)
    assert sent == [Member(job.key, Life(spooled.entry.shard, 0))]
    assert before != spooled.entry.shard
    assert job.key in jobs._met


@pytest.mark.parametrize("grown", [0, 1, 2])
@pytest.mark.parametrize("looks", ["first", "over", "stopped"])
def test_what_a_worker_has_read_of_a_longer_log_does_not_come_back(site, jobs, sent, tmp_path, grown, looks):
    """The directory was restored from an older copy, and other shards may have the numbers of those that were lost."""

    def grow(growth, start):
        shard = make_shard(1, job.job.id, make_rows(2, start=start), growth=growth)
        spool(job.objects, shard)
        for segment in (Segment("append", inputs=job.job.inputs), Segment("shards", (shard.entry,)), Segment("end")):
            decide(job, segment)
        return Life(shard.entry.shard, 0)

    job = site.enqueue(make_rows(2))
    copy = shutil.copytree(job.place, tmp_path / "copy")
    expected = set(site.ledger.members(job.key)[0])
    lost = grow(1, 2)
    jobs.find(job.key)
    assert not jobs.is_stopped(job.key)  # it has read the log, and entered the shard
    assert site.ledger.members(job.key)[0] == {*expected, lost}
    shutil.rmtree(job.place)
    shutil.copytree(copy, job.place)
    expected |= {grow(number + 1, 4 + 2 * number) for number in range(grown)}
    site.ledger.client.delete(site.ledger.keys.ledger)
    if looks == "over":
        jobs.is_over(job.key)
    elif looks == "stopped":
        jobs.is_stopped(job.key)
    at_once(jobs).look_after(sent.append)
    assert site.ledger.members(job.key)[0] == expected
    assert site.ledger.mark(job.key) == log_of(job).length


@pytest.mark.parametrize("is_read", [True, False], ids=["log known", "log not read yet"])
def test_a_job_that_was_removed_does_not_come_back_into_the_ledger(site, jobs, sent, caplog, is_read):
    """After `cancel --key`, of a directory in which a worker's files are left; when it returns, it's entered again."""
    job = site.enqueue(make_rows(4))
    jobs.find(job.key)
    if is_read:
        assert not jobs.is_stopped(job.key)
    out = site.root / "out"
    away = out.rename(site.root / "away")
    (out / names.FOLDER / names.TIMES).mkdir(parents=True)
    assert site.ledger.cancel(job.key) == 2
    for _ in range(2):
        assert not jobs.is_stopped(job.key)
        at_once(jobs).look_after(sent.append)
    assert (site.ledger.place_of(job.key), site.ledger.mark(job.key), sent) == (None, None, [])
    assert len(warnings_in(caplog)) == 1
    shutil.rmtree(out)
    away.rename(out)
    at_once(jobs).look_after(sent.append)
    assert len(sent) == 2


def test_a_job_whose_place_has_another_does_not_come_back_into_the_ledger(site, jobs, sent, caplog):
    """Its directory was removed, and made again: neither its own shards nor the other job's are entered for it."""
    job = site.enqueue(make_rows(4))
    jobs.find(job.key)
    assert not jobs.is_stopped(job.key)
    assert site.ledger.cancel(job.key) == 2
    shutil.rmtree(site.root / "out")
    other = site.enqueue(make_rows(6))
    assert other.key != job.key
    for _ in range(2):
        assert not jobs.is_stopped(job.key)
        at_once(jobs).look_after(sent.append)
    assert (site.ledger.place_of(job.key), site.ledger.mark(job.key), sent) == (None, None, [])
    (line,) = warnings_in(caplog)
    assert f"out is the job {other.key} now" in line
    assert "Redis doesn't name the job any more" in line


def test_a_place_that_is_doubted_and_has_another_job_is_refused(site, jobs):
    """As by a worker that has never met the job: nothing is computed from what another job has."""
    job = site.enqueue(make_rows(4))
    found = jobs.find(job.key)
    shutil.rmtree(site.root / "out")
    jobs.doubt(job.key)
    assert jobs.find(job.key) is found, "it may come back"
    other = site.enqueue(make_rows(6))
    jobs.doubt(job.key)
    for each in (jobs, jobs_of(site)):
        with pytest.raises(JobError, match=f"names .*out, where the job is {other.key}; the entry is forged or stale"):
            each.find(job.key)


def test_a_huge_file_in_place_of_a_job_takes_no_memory(site, jobs, sent, caplog):
    """No more of it is read than a job's may have."""
    job = site.enqueue(make_rows(4))
    jobs.find(job.key)
    with (site.root / "out" / names.JOB).open("r+b") as file:
        file.truncate(2**40)
    empty_ledger(site, job)
    at_once(jobs).look_after(sent.append)
    assert not jobs.is_stopped(job.key)
    (line,) = warnings_in(caplog)
    assert "1,048,577 bytes; at most 1,048,576 are a job's" in line


def test_a_job_that_was_moved_away_is_forgotten_in_the_end(site, jobs, sent, caplog, monkeypatch):
    """Redis doesn't name it any more, and it isn't at its place: a worker doesn't keep all such jobs for ever."""
    job = site.enqueue(make_rows(2))
    jobs.find(job.key)
    finish(site, job)
    site.ledger.cancel(job.key)  # `unrolled wait` lets Redis forget a complete job, too
    (site.root / "out").rename(site.root / "away")
    at_once(jobs).look_after(sent.append)
    (line,) = warnings_in(caplog)
    assert "Redis doesn't name the job any more, so if it is finished or moved, nothing is missing" in line
    at_once(jobs).look_after(sent.append)
    assert job.key in jobs._met
    monkeypatch.setattr(job_registry, "FORGET_SECONDS", 0.0)
    at_once(jobs).look_after(sent.append)
    assert (jobs._met, sent) == ({}, [])


def test_a_job_that_redis_names_is_not_forgotten(site, jobs, sent, monkeypatch):
    """Its directory may be unmounted for days."""
    monkeypatch.setattr(job_registry, "FORGET_SECONDS", 0.0)
    job = site.enqueue(make_rows(2))
    jobs.find(job.key)
    (site.root / "out").rename(site.root / "away")
    site.ledger.client.zrem(site.ledger.keys.ledger, job.key)
    at_once(jobs).look_after(sent.append)
    assert job.key in jobs._met


def test_a_job_that_is_complete_is_forgotten(site, jobs, sent):
    """By each worker that has met it, at once; it stays while anything is left, or its input hasn't ended."""
    job = site.enqueue(make_rows(2))
    others = [jobs_of(site) for _ in range(3)]
    for each in (jobs, *others):
        each.find(job.key)
    jobs.look_after(sent.append)
    assert job.key in jobs._met
    empty_ledger(site, job)  # which is no proof
    jobs.look_after(sent.append)
    assert job.key in jobs._met
    finish(site, job)
    at_once(jobs)
    for each in (jobs, *others):
        each.look_after(sent.append)
        assert each._met == {}
    assert sent == []
    assert jobs.find(job.key).job == job.job  # a late message finds it again


def test_one_worker_looks_whether_a_job_is_complete(site, jobs, monkeypatch):
    """A thousand of them would read the log and list all parts; the others take its word, while nothing waits."""
    job = site.enqueue(make_rows(2))
    other = jobs_of(site)
    for each in (jobs, other):
        each.find(job.key)
    late = Member(job.key, min(site.ledger.members(job.key)[0]))
    finish(site, job)
    jobs.look_after(lambda _: None)
    assert jobs._met == {}
    monkeypatch.setattr(PosixStore, "read", lambda *_: pytest.fail("the store is asked"))
    monkeypatch.setattr(PosixStore, "list", lambda *_: pytest.fail("the store is asked"))
    site.ledger.enter(job.key, job.place, site.ledger.mark(job.key), [(late, 1)], 9)
    other.look_after(lambda _: None)
    assert job.key in other._met
    site.ledger.remove(late)
    other.look_after(lambda _: None)
    assert other._met == {}


@pytest.mark.parametrize("kind", ["cancel", "discard"])
def test_a_job_that_is_stopped_is_forgotten(site, jobs, sent, kind):
    """The ledger has none of its shards, so nothing is entered, and the leftovers of `discard` are removed."""
    job = site.enqueue(make_rows(2))
    jobs.find(job.key)
    (shard,) = left(job)
    job.objects.create(part_object(shard), b"part")
    decide(job, Segment(kind))
    site.ledger.cancel(job.key)
    jobs.look_after(sent.append)
    assert jobs._met == {}
    assert sent == []
    assert job.objects.exists(part_object(shard)) == (kind == "cancel")


@pytest.mark.parametrize("kind", ["cancel", "discard"])
def test_a_stopped_job_is_seen_to_be_so(site, jobs, kind):
    """Shards of it that are still in the ledger, for example after Redis was restored, are removed."""
    job = site.enqueue(make_rows(2))
    found = jobs.find(job.key)
    assert not jobs.is_stopped(found.key)
    decide(job, Segment(kind))
    assert jobs.is_stopped(found.key)
    assert site.ledger.members(job.key) == (set(), set())
    assert site.ledger.mark(job.key) is None


def test_a_log_that_cannot_be_read_stops_nothing(site, jobs):
    """Whether a job is stopped isn't known then."""
    job = site.enqueue(make_rows(2))
    found = jobs.find(job.key)
    assert not jobs.is_stopped(found.key)
    job.objects.create(segment_name(2), b"{}\n")
    assert not jobs.is_stopped(found.key)


def test_a_beat_asks_once_for_all_jobs(site, sent):
    """However many there are, and nothing is asked of a store while the ledger has shards of theirs."""
    asked = []

    class Counting(redis.Redis):
        def execute_command(self, *arguments, **options):
            asked.append(arguments[0])
            return super().execute_command(*arguments, **options)

        def pipeline(self, *arguments, **options):
            asked.append("pipeline")
            return super().pipeline(*arguments, **options)

    client = Counting(connection_pool=site.ledger.client.connection_pool)
    jobs = jobs_of(site, ledger=Ledger(client, "test", site.offer))
    for number in range(20):
        jobs.find(site.enqueue(make_rows(2), name=f"out{number}").key)
    (site.root / "out7").rename(site.root / "gone")
    asked.clear()
    jobs.look_after(sent.append)
    assert asked == ["pipeline"]
    assert len(jobs._met) == 20


def test_one_damaged_job_does_not_stop_the_others(site, jobs, sent, caplog):
    """It is reported once; shards of other jobs are entered, and so are its own once it is restored."""
    damaged = site.enqueue(make_rows(2), name="damaged")
    good = site.enqueue(make_rows(2), name="good")
    for job in (damaged, good):
        jobs.find(job.key)
    segment = site.root / "damaged" / segment_name(0)
    before = segment.read_bytes()
    segment.write_text("{\n")
    site.ledger.client.flushall()
    for _ in range(3):
        at_once(jobs).look_after(sent.append)
    assert {member.job_key for member in sent} == {good.key}
    assert len([text for text in warnings_in(caplog) if "not a segment" in text]) == 1
    segment.write_bytes(before)
    at_once(jobs).look_after(sent.append)
    assert {member.job_key for member in sent} == {good.key, damaged.key}


def test_looks_are_rare_where_a_job_waits_for_its_input(site, jobs, sent):
    """A live input may be silent for days; a look lists the job's folders."""
    job = site.enqueue(make_rows(2))
    jobs.find(job.key)
    empty_ledger(site, job)
    jobs.look_after(sent.append)
    began = time.monotonic()
    assert began < jobs._met[job.key].next_look <= began + LOOK_PAUSE
    assert not site.ledger.take_turn(f"{job.key}:look", 1)
