"""How far a job is, by its directory and by the broker."""

import os

import pytest
from support.jobs import FINGERPRINT, bury, make_job, publish_shard

from producer.jobs.diagnosis import diagnose
from producer.jobs.status_reader import StatusReader
from producer.jobs.worker_status import WorkerStatus
from unrolled.errors import BrokerRefusesError, JobError, TransientError
from unrolled.queue.broker import Broker
from unrolled.queue.ledger import Ledger
from unrolled.queue.member import Member
from worker.engines.engine import PoolStats
from worker.runtime.metrics import Metrics


@pytest.fixture
def directory(tmp_path):
    """A job of four shards, of which one is published, one dead, and one bad row is in the last."""
    directory = make_job(tmp_path / "out", shards=4, bad=[3])
    first, second, *_ = sorted(directory.waiting())
    publish_shard(directory, first, failed={1: "ValueError: no"})
    bury(directory, second)
    return directory


@pytest.fixture
def server(broker_url):
    """The broker, as a command reaches it."""
    return Broker(broker_url)


@pytest.fixture
def ledger(server):
    """The ledger of the jobs' model."""
    return server.ledger("test", FINGERPRINT)


def enter(ledger, directory, shards):
    for shard in shards:
        ledger.enter(Member(directory.key, shard), 5, str(directory.path))


def test_the_directory_alone_tells_rows_tokens_and_shards(directory):
    """Without a broker, everything is known but what runs."""
    status = StatusReader(directory).read()
    # Rows of a shard have 1, 1, 2 and 3 real tokens.
    assert (status.rows, status.tokens) == (16, 25)
    assert (status.rows_done, status.tokens_done, status.rows_published) == (4, 7, 3)
    assert (status.quarantined, status.failed) == (1, 1)
    assert (status.shards, status.done, status.dead, status.waiting) == (4, 1, 1, 2)
    assert (status.ended, status.complete, status.queue, status.away) == (True, False, None, None)


def test_a_job_is_complete_when_every_shard_is_published_or_dead(directory):
    """Dead shards don't keep a job open; an input that is still read does."""
    for shard in sorted(directory.waiting() - directory.given_up()):
        publish_shard(directory, shard)
    assert StatusReader(directory).read().complete
    manifest = directory.path / "_manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))
    assert not StatusReader(directory).read().complete


def test_a_job_without_a_manifest_has_nothing_yet(tmp_path):
    """Between `job.json` and the first shard there is a job, but no manifest."""
    directory = make_job(tmp_path, shards=0, ended=False)
    (tmp_path / "_manifest.jsonl").unlink()
    status = StatusReader(directory).read()
    assert (status.shards, status.complete, status.tokens_per_second) == (0, False, None)


def test_the_ledger_tells_running_from_queued_and_what_is_missing(directory, server, ledger):
    """A shard under a lease runs, one in the ledger is queued, one that is in neither is missing."""
    third, fourth = sorted(directory.waiting() - directory.given_up())
    reader = StatusReader(directory, server, "test")
    assert (reader.read().queue.missing, reader.read().lost) == (2, 2)
    enter(ledger, directory, [third, fourth])
    ledger.claim(Member(directory.key, third), "host-1")
    queue = reader.read().queue
    assert (queue.running, queue.queued, queue.missing) == (1, 1, 0)


def test_one_missing_shard_is_on_its_way_while_the_input_is_read(tmp_path, server, ledger):
    """The producer writes the manifest before the ledger, and may wait for room in between."""
    directory = make_job(tmp_path, shards=2, ended=False)
    first, _ = sorted(directory.waiting())
    enter(ledger, directory, [first])
    status = StatusReader(directory, server, "test").read()
    assert (status.queue.missing, status.lost) == (1, 0)


def test_workers_of_every_model_are_told(directory, server, ledger):
    """A heartbeat's facts are shown, whichever model its worker serves."""
    facts = {"engine": "fused", "arithmetic": "bfloat16", "on_board": 2, "longest_seconds": 1.5}
    ledger.beat("host-1", {**facts, "tokens_per_second": 80_000.0, "busy_share": 0.5, "lease_seconds": 30})
    (worker,) = StatusReader(directory, server, "test").read().queue.workers
    assert (worker.name, worker.model, worker.engine) == ("host-1", FINGERPRINT, "fused bfloat16")
    assert (worker.on_board, worker.longest_seconds, worker.lease_seconds) == (2, 1.5, 30)
    assert (worker.tokens_per_second, worker.busy_share) == (80_000, 0.5)


def test_what_a_worker_counts_is_what_status_shows(directory, server, ledger):
    """Every figure of a heartbeat that status shows is one that the worker's metrics have."""
    metrics = Metrics()
    metrics.read(0.5)
    metrics.computed(rows=2, seconds=3.0, stats=PoolStats(10, 8, 1.0))
    metrics.published(4.0)
    ledger.beat("host-1", metrics.snapshot())
    (worker,) = StatusReader(directory, server, "test").read().queue.workers
    assert (worker.read_seconds, worker.plan_seconds, worker.compute_seconds, worker.write_seconds) == (0.5, 1, 2, 4)
    assert worker.computed_share == 0.8
    assert worker.tokens_per_second == round(10 / 3, 1)
    assert worker.busy_share > 0


@pytest.mark.parametrize("value", ["x" * 10**4, None, [1], -1, float("inf"), float("nan"), 10**400, {}])
def test_a_forged_heartbeat_is_shown_as_far_as_it_makes_sense(value):
    """Whoever may write to Redis may have written it."""
    stages = ("read_seconds", "plan_seconds", "compute_seconds", "write_seconds", "computed_share")
    names = ("on_board", "longest_seconds", "tokens_per_second", "busy_share", "lease_seconds", "engine", *stages)
    worker = WorkerStatus.parse("host", dict.fromkeys(names, value) | {"model": value})
    assert (worker.on_board, worker.tokens_per_second, worker.lease_seconds) == (0, 0, None)
    assert [getattr(worker, stage) for stage in stages] == [0] * len(stages)
    assert len(worker.engine) <= 20
    assert len(worker.model) <= 64


def test_a_broker_that_is_away_leaves_what_the_directory_tells(directory, broker, server):
    """The status says why there is nothing of the queue in it."""
    reader = StatusReader(directory, server, "test")
    broker.kill()
    status = reader.read()
    assert status.queue is None
    assert "broker.sock" in status.away
    assert status.shards == 4


def test_a_broker_that_refuses_the_login_is_not_away(directory, broker):
    """Waiting wouldn't help, so the error goes through."""
    Broker(broker.url).client.execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+ping")
    place = broker.url.removeprefix("redis+socket://")
    for password in ("pw", "no"):
        reader = StatusReader(directory, Broker(f"redis+socket://weak:{password}@{place}"), "test")
        with pytest.raises(BrokerRefusesError):
            reader.read()


def test_the_manifest_is_read_again_only_when_it_has_grown(directory):
    """A long manifest costs nothing while nothing is added: other bytes of the same size go unseen."""
    reader = StatusReader(directory)
    before = reader.read()
    manifest = directory.path / "_manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(b"x" * (len(whole) - 1) + b"\n")
    assert reader.read() == before
    manifest.write_bytes(whole + whole[: whole.index(b"\n") + 1])
    with pytest.raises(JobError, match=r"line 6: .*is at place 4"):
        reader.read()


def test_the_speed_is_that_of_the_last_files(tmp_path):
    """Tokens of all files but the oldest, over the time since the oldest."""
    directory = make_job(tmp_path, shards=3)
    for number, shard in enumerate(sorted(directory.waiting())):
        publish_shard(directory, shard)
        os.utime(directory.part(shard), (1000 + 2 * number, 1000 + 2 * number))
    assert StatusReader(directory).read().tokens_per_second == 14 / 4


def test_a_standstill_shows_in_the_speed(tmp_path):
    """While shards wait, the time since the last file counts too."""
    directory = make_job(tmp_path, shards=3)
    for number, shard in enumerate(sorted(directory.waiting())[:2]):
        publish_shard(directory, shard)
        os.utime(directory.part(shard), (1000 + 2 * number, 1000 + 2 * number))
    status = StatusReader(directory).read()
    assert 0 < status.tokens_per_second < 1e-6
    assert status.seconds_left > 1e6


def test_a_directory_that_cannot_be_read_is_a_passing_trouble(directory):
    """A quarantine list that isn't a file stands for a mount that fails."""
    path = directory.quarantine(min(directory.published()), engine=True)
    path.unlink()
    path.mkdir()
    with pytest.raises(TransientError, match="can't be read now"):
        StatusReader(directory).read()


def test_the_diagnosis_names_the_command_that_helps(directory, server, ledger):
    """Dead shards, lost shards and a model that no worker serves are each named once, with the way out."""
    other = Ledger(ledger.client, "test", "cd" * 32)
    other.beat("elsewhere", {})
    found = diagnose(StatusReader(directory, server, "test").read())
    out = directory.path
    assert found == {
        "dead": f"1 shard(s) were given up; the reasons are in {out}/_dead; "
        f"when the cause is gone: unrolled retry {out}",
        "lost": "2 waiting shard(s) are not in Redis: it lost them, or it isn't the job's; "
        f"to enter them again: unrolled wait {out}",
        "worker": "no worker serves this job's model abababababab… (running: 1 of model cdcdcdcdcdcd…); "
        "start one: unrolled worker --model DIR",
    }


def test_no_diagnosis_where_all_is_well(tmp_path, server, ledger):
    """A job with a running worker of its model needs no help."""
    directory = make_job(tmp_path)
    enter(ledger, directory, directory.waiting())
    ledger.beat("host-1", {})
    assert diagnose(StatusReader(directory, server, "test").read()) == {}


def test_an_input_that_broke_off_is_told(tmp_path):
    """All that was cut is published, but the input wasn't read to its end."""
    directory = make_job(tmp_path, shards=1, ended=False)
    publish_shard(directory, *directory.waiting())
    assert list(diagnose(StatusReader(directory).read())) == ["input"]
