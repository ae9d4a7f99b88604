"""Real worker processes under real signals."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.jobs import dead, published, waiting
from support.processes import (
    LEASE_SECONDS,
    NAMESPACE,
    REPOSITORY,
    check_outputs,
    eventually,
    failed_ids,
    left,
    leftovers,
    let_echoes_end,
    make_rows,
    open_site,
)

from producer.enqueue.cutter import Cutter
from producer.enqueue.growth import Growth
from producer.enqueue.pipeline import cuts, shards_of
from producer.enqueue.runs import FileRun
from producer.jobs import decisions
from producer.jobs.decisions import Retried, retry
from producer.jobs.diagnosis import diagnose
from producer.jobs.status_reader import StatusReader
from producer.queue.shard_queue import ShardQueue
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.job.names import Life, dead_object, part_object
from unrolled.job.offer import Offer
from unrolled.patience import Patience
from unrolled.protocol.opening import create_job, open_job
from unrolled.queue.broker import Broker
from unrolled.queue.member import Member
from unrolled.reading.outcome import failed_rows
from worker.runtime.farewell import FAREWELL_SECONDS


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
    """Both take shards, every row is published once and right, and SIGTERM ends idle workers without a wait."""
    # The grace is longer than anything here is waited for.
    workers = [site.worker(site.with_plan(seconds=0.02), concurrency=2, grace_seconds=600) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    rows = make_rows(60)
    job = site.enqueue(rows)
    site.wait_done(job)
    check_outputs(job, rows)
    assert {pid for pid, _ in site.calls()} == {worker.pid for worker in workers}
    assert set(site.starts().values()) == {1}
    for worker in workers:
        worker.signal(signal.SIGTERM)
    assert [worker.wait() for worker in workers] == [0, 0]
    assert site.ledger.workers() == {}


def first_rows(site):
    """The number of the first row of each shard, in the order in which the engine got the shards."""
    return [shard[0] - 1 for _, shards in site.calls() for shard in shards]


def test_a_small_job_behind_a_large_one_begins_at_once(site):
    """While a large job is computed, a job that is queued behind all of it has the next turn, or the one after that."""
    held(site, concurrency=1)
    large = site.enqueue(large_rows := make_rows(80), name="large")
    busy(site, 2)
    small = site.enqueue(small_rows := make_rows(6, start=1000), name="small")
    site.gate.touch()
    site.wait_done(large)
    site.wait_done(small)
    check_outputs(large, large_rows)
    check_outputs(small, small_rows)
    found = first_rows(site)
    assert [row for row in found if row < 1000] == sorted(range(0, 80, 2)), "each job in its own order"
    assert [found.index(row) for row in (1000, 1002, 1004)] <= [2, 4, 6]
    assert set(site.starts().values()) == {1}


def test_a_job_of_high_priority_gets_most_turns(site):
    """Nine tenths of them, with nine times the priority; the other job still has its tenth."""
    held(site, concurrency=1)
    usual = site.enqueue(make_rows(80), name="usual")
    busy(site, 2)
    urgent = site.enqueue(make_rows(72, start=1000), name="urgent", priority=90)
    site.gate.touch()
    site.wait_done(usual)
    site.wait_done(urgent)
    found = first_rows(site)
    assert 35 <= sum(row >= 1000 for row in found[:41]) <= 37


@pytest.mark.parametrize("stop", [decisions.cancel, decisions.discard])
def test_shards_of_a_stopped_job_leave_the_board(site, stop):
    """Only those in the engine are finished: others aren't computed in vain, before other jobs' shards."""
    held(site, concurrency=4)
    job = site.enqueue(make_rows(16), name="stopped")
    busy(site, 2)
    eventually(lambda: on_board(site) == 4, "a heartbeat with all four")
    started = first_rows(site)  # most often one shard: the engine begins with what is there
    stop(job.objects, site.queue.of_job(job))
    eventually(lambda: on_board(site) == len(started), "the others leave the board")
    other = site.enqueue(rows := make_rows(4, start=1000), name="other")
    site.gate.touch()
    site.wait_done(other)
    check_outputs(other, rows)
    eventually(lambda: on_board(site) == 0, "the end of what is in the engine")
    assert [row for row in first_rows(site) if row < 1000] == started
    assert len(published(job)) == len(started)


def on_board(site):
    """The shards that workers hold, by their heartbeats."""
    return sum(facts["on_board"] for facts in site.ledger.workers().values())


def test_a_killed_workers_shards_are_taken_up_soon(site):
    """After `kill -9` of the only worker in mid-shard, another has the shards once their leases have run out."""
    rows = make_rows(4)
    first = held(site, concurrency=2)
    job = site.enqueue(rows)
    busy(site, 2)
    running(site, 2)
    second = held(site)
    first.kill()
    site.gate.touch()
    site.wait_done(job)
    check_outputs(job, rows)
    assert second.alive


def test_a_slow_shard_is_computed_once(site):
    """A shard that takes more than three leases under a live worker is never taken by the other."""
    rows = make_rows(2)
    workers = [held(site) for _ in range(2)]
    job = site.enqueue(rows)
    busy(site, 2)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 3.2 * LEASE_SECONDS, "three leases")
    site.gate.touch()
    site.wait_done(job)
    check_outputs(job, rows)
    assert set(site.starts().values()) == {1}
    assert all(worker.alive for worker in workers)


def test_sigterm_keeps_the_grace_then_gives_back(site):
    """Shards on board are given back when the grace is over; another worker has them at once, not after a lease."""
    lease_seconds = 600
    rows = make_rows(4)
    first = held(site, lease_seconds=lease_seconds, grace_seconds=1)
    job = site.enqueue(rows)
    running(site, 2)
    second = site.worker(lease_seconds=lease_seconds).wait_ready()
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began > 1
    site.wait_done(job)  # well before a lease has run out
    check_outputs(job, rows)
    assert second.alive
    assert "died" not in second.log  # no shard is a suspect


def test_sigterm_lets_shards_finish_within_the_grace(site):
    """What ends within the grace is published by the worker that had it."""
    rows = make_rows(2)
    worker = held(site, grace_seconds=60)
    job = site.enqueue(rows)
    busy(site, 2)
    worker.signal(signal.SIGTERM)
    eventually(lambda: "stopping after SIGTERM" in worker.log, "the signal to arrive")
    site.gate.touch()
    assert worker.wait() == 0
    check_outputs(job, rows)
    assert site.ledger.counts().shards == 0


def test_a_second_sigterm_gives_back_at_once(site):
    """The grace is cut short, and the exit status is still 0."""
    rows = make_rows(2)
    worker = held(site, grace_seconds=600, lease_seconds=600)
    job = site.enqueue(rows)
    busy(site, 2)
    worker.signal(signal.SIGTERM)
    eventually(lambda: "stopping after SIGTERM" in worker.log, "the signal to arrive")
    let_echoes_end()
    assert worker.alive
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert site.ledger.counts().running == 0
    site.worker(lease_seconds=600).wait_ready()
    site.wait_done(job)
    check_outputs(job, rows)


@pytest.mark.parametrize(
    ("name", "log_format"), [("SIGINT", "text"), ("SIGINT", "json"), ("SIGHUP", "text"), ("SIGQUIT", "text")]
)
def test_other_signals_are_the_same_as_sigterm(site, name, log_format):
    """What ends within the grace is published, the exit status is 0, and the log speaks of nothing else."""
    rows = make_rows(2)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and processes inherit that
    worker = held(site, grace_seconds=60, log_format=log_format)
    signal.signal(signal.SIGHUP, before)
    job = site.enqueue(rows)
    busy(site, 2)
    worker.signal(signal.Signals[name])
    eventually(lambda: f"stopping after {name}; a second signal gives back" in worker.log, "the signal to arrive")
    site.gate.touch()
    assert worker.wait() == 0
    check_outputs(job, rows)
    assert "Hitting Ctrl+C" not in worker.log
    assert "shutdown" not in worker.log


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_signals_that_come_while_it_ends_change_nothing(site, name):
    """To the last moment, in which Python has given up its handlers; a service manager may send several."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and processes inherit that
    worker = site.worker(lease_seconds=30).wait_ready()
    signal.signal(signal.SIGHUP, before)
    number = signal.Signals[name]
    while worker.alive:
        worker.signal(number)
        time.sleep(0.002)
    assert worker.wait() == 0


def test_a_second_ctrl_c_gives_back_at_once(site):
    """As a second SIGTERM does; a third changes nothing, and the exit status is still 0."""
    worker = held(site, grace_seconds=600, lease_seconds=600)
    site.enqueue(make_rows(2))
    busy(site, 2)
    worker.signal(signal.SIGINT)
    eventually(lambda: "stopping after SIGINT" in worker.log, "the signal to arrive")
    let_echoes_end()
    assert worker.alive
    worker.signal(signal.SIGINT)
    eventually(lambda: "stopping immediately" in worker.log, "the second signal to arrive")
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0
    assert site.ledger.counts().running == 0
    assert "Traceback" not in worker.log


def test_ctrl_c_on_a_terminal(site):
    """The terminal itself sends the signal, and an idle worker ends at once with status 0."""
    controller, terminal = os.openpty()
    code = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'producer', 'worker'])\n"
    )
    environ = {**os.environ, **site.environ(engine="auto"), "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, env=environ,
        start_new_session=True,
    ) as worker:  # fmt: skip
        os.close(terminal)
        shown = b""
        while b" ready." not in shown:
            shown += os.read(controller, 4096)
        os.write(controller, b"\x03")
        with contextlib.suppress(OSError):  # the worker's end closes the terminal
            while more := os.read(controller, 4096):
                shown += more
        assert worker.wait() == 0, shown
    os.close(controller)
    assert b"stopping after SIGINT" in shown


def test_a_lost_message_is_sent_again(site):
    """The queue's list is deleted without a word to anybody, and the job completes."""
    rows = make_rows(20)
    job = site.enqueue(rows)
    site.ledger.client.delete(site.queue_key)
    site.worker().wait_ready()
    site.wait_done(job)
    check_outputs(job, rows)


@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "empty"])
def test_the_broker_is_killed_and_comes_back(site, broker, keep_data):
    """The job completes with no command given, and the log says in a line that the broker went and came."""
    rows = make_rows(40)
    worker = held(site, concurrency=2)
    job = site.enqueue(rows)
    busy(site, 2)
    broker.kill()
    site.gate.touch()
    eventually(lambda: "can't send the heartbeat" in worker.log, "the worker to notice")
    broker.restart(keep_data=keep_data)
    site.wait_done(job)
    check_outputs(job, rows)
    assert "Traceback" not in worker.log
    assert worker.log.count("can't send the heartbeat") == 1
    assert worker.alive


def test_sigterm_is_heard_while_the_broker_is_away(site, broker):
    """It gives up what is on board after the grace, and every line of the log is one sentence."""
    worker = held(site, concurrency=2, grace_seconds=0.5)
    site.enqueue(make_rows(4))
    running(site, 2)
    broker.kill()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert worker.log.count("couldn't be given back") == 2
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("shards", [0, 2])
def test_sigterm_is_heard_while_the_broker_hangs(site, broker, shards):
    """It ends soon after the grace, though its questions may wait longer for their answers, and says why in a line."""
    grace_seconds = 3
    worker = held(site, concurrency=2, grace_seconds=grace_seconds)
    site.enqueue(make_rows(2 * shards))
    running(site, shards)
    os.kill(broker.process_id, signal.SIGSTOP)
    try:
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
        assert time.monotonic() - began < grace_seconds + FAREWELL_SECONDS + 3
    finally:
        os.kill(broker.process_id, signal.SIGCONT)
    assert worker.log.count("ends without taking its leave") == 1
    assert "Traceback" not in worker.log


def test_a_broker_that_answers_again_hears_the_farewell(site, broker):
    """A pause that is shorter than the farewell costs nothing: both shards are given back, and computed at once."""
    rows = make_rows(4)
    worker = held(site, concurrency=2, grace_seconds=0.5, lease_seconds=600)
    job = site.enqueue(rows)
    running(site, 2)
    os.kill(broker.process_id, signal.SIGSTOP)
    threading.Timer(FAREWELL_SECONDS / 2, os.kill, (broker.process_id, signal.SIGCONT)).start()
    assert worker.stop() == 0
    assert "couldn't be given back" not in worker.log
    site.gate.touch()
    site.worker(lease_seconds=600).wait_ready()
    site.wait_done(job)
    check_outputs(job, rows)


def test_a_row_that_kills_its_worker_ends_as_a_dead_shard(site):
    """Other shards are published and not blamed, and it takes no more than max_attempts + 1 deaths."""
    rows = make_rows(12)
    poison = 5
    plan = site.with_plan(kills_on=[poison + 1])
    job = site.enqueue(rows)
    deaths = 0
    while left(job):
        worker = site.worker(plan, max_attempts=2)
        eventually(lambda worker=worker: not worker.alive or not site.ledger.counts().shards, site.tail())
        deaths += not worker.alive
        if worker.alive:
            site.wait_done(job)
    assert deaths == 3
    check_outputs(job, rows, without={4, 5})
    (life,) = dead(job)
    assert "died 2 times" in job.objects.read(dead_object(life)).decode()
    assert waiting(job) == [life.shard]


def test_a_row_that_the_engine_fails_on_fails_alone(site):
    """The part names it with its reason; its neighbours in the same shard and pool are published."""
    rows = make_rows(30)
    worker = site.worker(site.with_plan(fails_on=[8])).wait_ready()
    job = site.enqueue(rows, rows_per_shard=5)
    site.wait_done(job)
    check_outputs(job, rows, without={7})
    assert failed_ids(job) == ["rows#7"]
    assert "Traceback" not in worker.log


def test_failed_rows_are_computed_when_the_cause_is_gone(site):
    """By another worker, once they are asked for, in a part of their own; all other parts stay as they are."""
    rows = make_rows(30)
    first = site.worker(site.with_plan(fails_on=[8])).wait_ready()
    job = site.enqueue(rows, rows_per_shard=5)
    site.wait_done(job)
    first.stop()
    before = contents(job)
    done = retry(job.objects, site.queue.of_job(job), failed_rows, failed=True)
    assert done == Retried(rows=1, shards=1, dead=0, damaged=0)
    site.worker().wait_ready()
    site.wait_done(job)
    check_outputs(job, rows)
    after = contents(job)
    assert {name: after[name] for name in before} == before
    (new,) = after.keys() - before.keys()
    assert new.startswith("part-000001r-")


def contents(job):
    return {path.name: path.read_bytes() for path in (job.objects.store.path).glob("*.parquet")}


def enqueue_for(site, offer, rows):
    """A job of two shards that asks for another offer than the site's."""
    asked = Job(offer.fingerprint, Inputs.named(["x"]), offer.engine, offer.arithmetic, live=False, options={})
    job = create_job(site.root / offer.short, asked)
    with closing(ShardQueue(site.broker_url, NAMESPACE, offer, Patience(print))) as queue:
        run = FileRun(job.objects, queue.of_job(job), lambda *_: None, Growth(job))
        run.begin()
        run.run(shards_of(cuts([rows], Cutter(2**30, shard_rows=2), None), job.job.id))
        assert queue.ledger.counts().shards == site.ledger.client.llen(queue.ledger.keys.queue) == 2
    return job


def test_a_worker_computes_no_other_arithmetic_and_no_other_engine(site):
    """Jobs of one model that ask for other offers wait, untouched, while this worker computes its own."""
    rows = make_rows(4)
    worker = site.worker().wait_ready()
    served = Offer("cd" * 32, "fused", "float32")  # which another worker computes, so it isn't reported
    Broker(site.broker_url).ledger(NAMESPACE, served, 600.0).beat("host-9", {"lease_seconds": 600.0})
    others = [Offer(site.model.fingerprint, *of) for of in (("fused", "bfloat16"), ("tensorflow", "float32"))]
    strangers = [enqueue_for(site, offer, rows) for offer in (served, *others)]
    job = site.enqueue(rows)
    site.wait_done(job)
    check_outputs(job, rows)
    eventually(lambda: worker.log.count("leaves them alone") == 2, "both reported")
    for stranger in strangers:
        assert len(left(stranger)) == 2
        assert contents(stranger) == {}
    assert set(site.starts().values()) == {1}


def test_a_broken_engine_ends_its_worker(site):
    """It says so, gives everything back, blames no row, and exits with status 70."""
    rows = make_rows(6)
    worker = site.worker(site.with_plan(breaks_on=[1])).wait_ready()
    job = site.enqueue(rows)
    assert worker.wait() == 70
    assert worker.log.count("can't continue") == 1
    assert site.ledger.counts().running == 0
    site.worker().wait_ready()
    site.wait_done(job)
    check_outputs(job, rows)


def test_a_shard_delivered_many_times_is_computed_once(site):
    """Duplicates find it held, or gone."""
    rows = make_rows(2)
    worker = held(site)
    job = site.enqueue(rows)
    (shard,) = left(job)
    for _ in range(20):
        site.queue.send(Member(job.key, Life(shard, 0)))
    busy(site, 2)
    eventually(lambda: site.ledger.client.llen(site.queue_key) == 0, "all messages taken")
    site.gate.touch()
    site.wait_done(job)
    check_outputs(job, rows)
    assert site.starts() == {0: 1, 1: 1}
    assert worker.alive


def test_a_disk_that_takes_no_more_is_waited_for(site):
    """No worker exits; what it computed is published when there is room, and no temporary file is left."""
    rows = make_rows(600, length=20)
    worker = site.worker().wait_ready()
    limits = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (2**14, limits[1]))
    job = site.enqueue(rows, rows_per_shard=200)
    eventually(lambda: "can't write to" in worker.log, "the worker to notice")
    eventually(lambda: len(site.starts()) == 600, "all rows in the engine")
    assert published(job) == []
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, limits)
    site.wait_done(job)
    check_outputs(job, rows)
    assert leftovers(job) == []
    assert worker.log.count("can't write to") == 1
    assert worker.log.count("can write to") == 1
    assert set(site.starts().values()) == {1}
    assert worker.alive


def test_a_directory_that_is_moved_is_computed_by_the_worker_that_knew_it(site):
    """After the job is cancelled and queued again at its new place; no worker is started again."""
    rows = make_rows(6)
    worker = held(site, concurrency=1)
    job = site.enqueue(rows)
    busy(site, 2)
    Path(job.place).rename(site.root / "moved")
    moved = open_job(site.root / "moved")
    site.gate.touch()
    eventually(lambda: f"{job.place} is gone" in worker.log, "the worker to miss the directory")
    decisions.cancel(moved.objects, site.queue.of_job(moved))
    assert site.enqueue(rows, name="moved", job=moved).key == job.key
    site.wait_done(moved)
    check_outputs(moved, rows)
    assert not Path(job.place).exists()
    assert worker.alive


def test_what_one_job_waits_for_is_not_said_of_another(site):
    """A directory that takes no more concerns the job that writes there; its text is shown with that job alone."""
    worker = held(site, concurrency=1)
    limits = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (2**14, limits[1]))
    job = site.enqueue(make_rows(200, length=20), rows_per_shard=200)
    busy(site, 200)
    other = site.enqueue(make_rows(2, start=1000), name="other")
    with closing(Broker(site.broker_url)) as server:

        def said(of):
            return diagnose(StatusReader(of, server, NAMESPACE).read()).get("trouble", "")

        assert (said(job), said(other)) == ("", "")
        site.gate.touch()
        eventually(lambda: f"can't write to {job.place}" in said(job), "the trouble in the job's status")
        assert "can't write" not in said(other)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, limits)
    site.wait_done(job)
    site.wait_done(other)


def test_the_leftovers_of_a_killed_worker_are_hidden_and_swept(site):
    """Half a file, as of a worker that was killed while it wrote, is no part for anybody, and is removed."""
    rows = make_rows(2)
    worker = held(site)
    job = site.enqueue(rows)
    busy(site, 2)
    (shard,) = left(job)
    half = job.objects.store.path / f".{part_object(shard)}.host-1-00.tmp"
    half.write_bytes(b"PAR1 half")
    worker.kill()
    os.utime(half, times=(0, 0))
    site.ledger.client.delete(f"{site.ledger.keys.turns}:{job.key}:leftovers")  # as its time would
    site.worker().wait_ready()
    site.wait_done(job)
    check_outputs(job, rows)
    assert leftovers(job) == []
