"""Real worker processes under real signals."""

import os
import resource
import signal
import time

import pytest
from support.processes import (
    LEASE_SECONDS,
    NAMESPACE,
    check_outputs,
    eventually,
    leftovers,
    make_rows,
    open_site,
    quarantined_ids,
)

from producer.jobs.retry import retry
from unrolled.queue.member import Member


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


def held(site, **settings):
    """A worker whose engine stays in its pools until the gate is opened."""
    return site.worker(site.with_plan(gate=str(site.gate)), **settings).wait_ready()


def busy(site, rows):
    """Wait until engines have started this many rows."""
    eventually(lambda: sum(site.starts().values()) >= rows, f"{rows} rows in the engine")


def running(site, shards):
    """Wait until this many shards are under a lease."""
    eventually(lambda: site.ledger.counts().running == shards, f"{shards} shards on board")


def test_two_workers_share_a_job_and_end_at_once_when_idle(site):
    """Both take shards, every row comes out once and right, and SIGTERM ends idle workers without a wait."""
    workers = [site.worker(site.with_plan(seconds=0.02), concurrency=2) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    rows = make_rows(60)
    directory = site.enqueue(rows)
    site.wait_done(directory)
    check_outputs(directory, rows)
    assert {pid for pid, _ in site.calls()} == {worker.pid for worker in workers}
    assert set(site.starts().values()) == {1}
    began = time.monotonic()
    for worker in workers:
        worker.signal(signal.SIGTERM)
    assert [worker.wait() for worker in workers] == [0, 0]
    assert time.monotonic() - began < 4
    assert site.ledger.workers() == {}


def test_a_killed_workers_shards_are_taken_up_soon(site):
    """After `kill -9` of the only worker in mid-shard, another has the shards within a lease and 5 seconds."""
    rows = make_rows(4)
    first = held(site, concurrency=2)
    directory = site.enqueue(rows)
    busy(site, 2)
    running(site, 2)
    second = held(site)
    first.kill()
    site.gate.touch()
    assert site.wait_done(directory) < LEASE_SECONDS + 5
    check_outputs(directory, rows)
    assert second.alive


def test_a_slow_shard_is_computed_once(site):
    """A shard that takes more than three leases under a live worker is never taken by the other."""
    rows = make_rows(2)
    workers = [held(site) for _ in range(2)]
    directory = site.enqueue(rows)
    busy(site, 2)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 3.2 * LEASE_SECONDS, "three leases")
    site.gate.touch()
    site.wait_done(directory)
    check_outputs(directory, rows)
    assert set(site.starts().values()) == {1}
    assert all(worker.alive for worker in workers)


def test_sigterm_keeps_the_grace_then_gives_back(site):
    """Shards on board are given back when the grace is over; another worker has them at once, not after a lease."""
    lease_seconds = 600
    rows = make_rows(4)
    first = held(site, lease_seconds=lease_seconds, grace_seconds=1)
    directory = site.enqueue(rows)
    running(site, 2)
    second = site.worker(lease_seconds=lease_seconds).wait_ready()
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began > 1
    assert site.wait_done(directory) < 3
    check_outputs(directory, rows)
    assert second.alive
    assert "died" not in second.log  # no shard is a suspect


def test_sigterm_lets_shards_finish_within_the_grace(site):
    """What ends within the grace is published by the worker that had it."""
    rows = make_rows(2)
    worker = held(site, grace_seconds=60)
    directory = site.enqueue(rows)
    busy(site, 2)
    worker.signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.log, "the signal to arrive")
    site.gate.touch()
    assert worker.wait() == 0
    check_outputs(directory, rows)
    assert site.ledger.counts().shards == 0


def test_a_second_sigterm_gives_back_at_once(site):
    """The grace is cut short, and the exit status is still 0."""
    rows = make_rows(2)
    worker = held(site, grace_seconds=600, lease_seconds=600)
    directory = site.enqueue(rows)
    busy(site, 2)
    worker.signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.log, "the signal to arrive")
    assert worker.alive
    worker.signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert site.ledger.counts().running == 0
    site.worker(lease_seconds=600).wait_ready()
    site.wait_done(directory)
    check_outputs(directory, rows)


def test_a_lost_message_is_sent_again(site):
    """The queue's list is deleted without a word to anybody, and the job completes."""
    rows = make_rows(20)
    directory = site.enqueue(rows)
    site.ledger.client.delete(site.queue_key)
    site.worker().wait_ready()
    site.wait_done(directory)
    check_outputs(directory, rows)


@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "empty"])
def test_the_broker_is_killed_and_comes_back(site, broker, keep_data):
    """The job completes with no command given, and the log says in a line that the broker went and came."""
    rows = make_rows(40)
    worker = held(site, concurrency=2)
    directory = site.enqueue(rows)
    busy(site, 2)
    broker.kill()
    site.gate.touch()
    eventually(lambda: "can't send the heartbeat" in worker.log, "the worker to notice")
    broker.restart(keep_data=keep_data)
    site.wait_done(directory)
    check_outputs(directory, rows)
    assert "Traceback" not in worker.log
    assert worker.log.count("can't send the heartbeat") == 1
    assert worker.alive


def test_a_row_that_kills_its_worker_ends_as_a_dead_shard(site):
    """Other shards are published and not blamed, and it takes no more than max_attempts + 1 deaths."""
    rows = make_rows(12)
    poison = 5
    plan = site.with_plan(kills_on=[poison + 1])
    directory = site.enqueue(rows)
    deaths = 0
    while directory.waiting() - directory.given_up():
        worker = site.worker(plan, max_attempts=2)
        eventually(lambda worker=worker: not worker.alive or not site.ledger.counts().shards, site.tail())
        deaths += not worker.alive
        if worker.alive:
            site.wait_done(directory)
    assert deaths == 3
    check_outputs(directory, rows, without={4, 5})
    (dead,) = directory.given_up()
    assert "died 2 times" in directory.dead(dead).read_text()
    assert directory.waiting() == {dead}


def test_a_row_that_the_engine_fails_on_goes_to_quarantine_alone(site):
    """It is listed with its reason; its neighbours in the same shard and pool are published."""
    rows = make_rows(30)
    worker = site.worker(site.with_plan(fails_on=[8])).wait_ready()
    directory = site.enqueue(rows, rows_per_shard=5)
    site.wait_done(directory)
    check_outputs(directory, rows, without={7})
    assert quarantined_ids(directory) == ["rows#7"]
    assert "Traceback" not in worker.log


def test_failed_rows_are_computed_when_the_cause_is_gone(site):
    """Another worker computes them when `retry` asks for it. Only the part that they belong to is replaced."""
    rows = make_rows(30)
    first = site.worker(site.with_plan(fails_on=[8])).wait_ready()
    directory = site.enqueue(rows, rows_per_shard=5)
    site.wait_done(directory)
    first.stop()
    before = {path.name: path.read_bytes() for path in directory.path.glob("*.parquet")}
    assert retry(directory, site.broker_url, NAMESPACE, print, failed_rows=True).recomputed == 1
    site.worker().wait_ready()
    site.wait_done(directory)
    check_outputs(directory, rows)
    assert quarantined_ids(directory) == []
    (changed,) = (name for name, content in before.items() if (directory.path / name).read_bytes() != content)
    assert changed.startswith("part-000001-")


def test_a_broken_engine_ends_its_worker(site):
    """It says so, gives everything back, blames no row, and exits with status 70."""
    rows = make_rows(6)
    worker = site.worker(site.with_plan(breaks_on=[1])).wait_ready()
    directory = site.enqueue(rows)
    assert worker.wait() == 70
    assert worker.log.count("can't continue") == 1
    assert site.ledger.counts().running == 0
    site.worker().wait_ready()
    site.wait_done(directory)
    check_outputs(directory, rows)


def test_a_shard_delivered_many_times_is_computed_once(site):
    """Duplicates find it held, or gone."""
    rows = make_rows(2)
    worker = held(site)
    directory = site.enqueue(rows)
    (shard,) = directory.waiting()
    with site.queue(directory) as queue:
        for _ in range(20):
            queue.send(Member(directory.key, shard))
    busy(site, 2)
    eventually(lambda: site.ledger.client.llen(site.queue_key) == 0, "all messages taken")
    site.gate.touch()
    site.wait_done(directory)
    check_outputs(directory, rows)
    assert site.starts() == {0: 1, 1: 1}
    assert worker.alive


def test_a_disk_that_takes_no_more_is_waited_for(site):
    """No worker exits; what it computed is published when there is room, and no temporary file is left."""
    rows = make_rows(600, length=20)
    worker = site.worker().wait_ready()
    limits = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (2**14, limits[1]))
    directory = site.enqueue(rows, rows_per_shard=200)
    eventually(lambda: "can't publish to" in worker.log, "the worker to notice")
    eventually(lambda: len(site.starts()) == 600, "all rows in the engine")
    assert directory.published() == set()
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, limits)
    site.wait_done(directory)
    check_outputs(directory, rows)
    assert leftovers(directory) == []
    assert worker.log.count("can't publish to") == 1
    assert worker.log.count("can publish to") == 1
    assert set(site.starts().values()) == {1}
    assert worker.alive


def test_the_leftovers_of_a_killed_worker_are_hidden_and_swept(site):
    """A worker is killed while it writes: no reader takes the half for a part, and it is removed when it is old."""
    rows = make_rows(2)
    worker = held(site)
    directory = site.enqueue(rows)
    busy(site, 2)
    (shard,) = directory.waiting()
    half = directory.path / f".{directory.part(shard).name}.host-1-00.tmp"
    half.write_bytes(b"PAR1 half")
    worker.kill()
    os.utime(half, times=(0, 0))
    site.worker().wait_ready()
    site.wait_done(directory)
    check_outputs(directory, rows)
    assert leftovers(directory) == []
