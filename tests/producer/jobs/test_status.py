"""How far a job is, by its directory and by the broker."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.jobs import cut, decide, job_of, make_job, publish_shard, record_death, waiting

from producer.cli.status_report import report
from producer.enqueue.shard import make_shard
from producer.jobs import decisions, status_reader
from producer.jobs.decisions import retry
from producer.jobs.diagnosis import diagnose
from producer.jobs.status import WAY_SECONDS, OwnRun
from producer.jobs.status_reader import StatusReader
from producer.jobs.wait import _show
from producer.queue.worker_status import WorkerStatus
from producer.terminal.progress import Progress
from unrolled.errors import BrokerRefusesError, JobError, TransientError
from unrolled.job import names
from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.protocol.opening import open_job
from unrolled.protocol.spooling import spool
from unrolled.queue.broker import Broker
from unrolled.queue.ledger import Ledger
from unrolled.queue.member import Member
from unrolled.queue.messages import UNSEEN
from unrolled.reading.outcome import failed_rows
from worker.engines.engine import PoolStats
from worker.runtime.telemetry.metrics import Metrics

OFFER = job_of().offer


@pytest.fixture
def job(tmp_path):
    """A job of four shards, of which one is published, one dead, and one bad row is in the last."""
    job = make_job(tmp_path / "out", shards=4, bad=[3])
    first, second, *_ = waiting(job)
    publish_shard(job, first, failed={1: "ValueError: no"})
    record_death(job, second)
    return job


@pytest.fixture
def server(broker_url):
    """The broker, as a command reaches it."""
    return Broker(broker_url)


@pytest.fixture
def ledger(server):
    """The ledger of what the jobs ask for."""
    return server.ledger("test", OFFER)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("producer.jobs.status_reader.time.monotonic", lambda: clock.now)
    return clock


def look(reader, clock, seconds):
    """The status after so many seconds more."""
    clock.now += seconds
    return reader.read()


def compute(ledger, job, shard):
    """Publish a shard as a worker does, which takes it out of Redis."""
    publish_shard(job, shard)
    ledger.remove(Member(job.key, Life(shard, 0)))


def enter(ledger, job, shards):
    mark = ledger.mark(job.key)
    members = [(Member(job.key, Life(shard, 0)), 5) for shard in shards]
    ledger.enter(job.key, job.place, mark, members, (mark or 0) + 1)


def left(job):
    """Shards that wait and aren't dead."""
    dead = {life.shard for life in names.lives_in(job.objects.list(names.DEAD))}
    return [shard for shard in waiting(job) if shard not in dead]


def test_the_directory_alone_tells_rows_tokens_and_shards(job):
    """Without a broker, the status has everything but what runs."""
    status = StatusReader(job).read()
    # Rows of a shard have 1, 1, 2 and 3 real tokens.
    assert (status.rows, status.tokens) == (16, 25)
    assert (status.rows_done, status.tokens_done, status.rows_published) == (4, 7, 3)
    assert (status.quarantined, status.failed) == (1, 1)
    assert (status.shards, status.done, status.dead, status.waiting) == (4, 1, 1, 2)
    assert (status.ended, status.complete, status.queue, status.away) == (True, False, None, None)


def test_a_job_is_finished_when_every_shard_is_published_or_dead(job):
    """Dead shards don't keep a job open, but it isn't complete with them; an input that is still read keeps it open."""
    for shard in left(job):
        assert not StatusReader(job).read().finished
        publish_shard(job, shard)
    status = StatusReader(job).read()
    assert (status.finished, status.dead, status.complete) == (True, 1, False)
    unread = make_job(f"{job.place}-unread", shards=1, ended=False)
    publish_shard(unread, *waiting(unread))
    assert not StatusReader(unread).read().finished


def test_a_job_is_complete_when_every_shard_is_published(tmp_path):
    """So that every row is in a part or in quarantine."""
    job = make_job(tmp_path, shards=2)
    one, two = waiting(job)
    publish_shard(job, one)
    assert not StatusReader(job).read().complete
    publish_shard(job, two)
    assert StatusReader(job).read().complete


def test_finished_needs_a_last_look(job):
    """A shard that a retry adds while its parts are listed keeps a job open."""
    for shard in left(job):
        publish_shard(job, shard)
    reader = StatusReader(job)
    assert reader.read().finished
    retry(job.objects, None, failed_rows, failed=True)
    assert not reader.read().finished


def test_failed_rows_that_were_retried_count_where_they_are_now(job):
    """The counts add up to the rows of the input, though some were retried; what waits again isn't done."""
    for shard in left(job):
        publish_shard(job, shard)
    before = StatusReader(job).read()
    assert (before.failed, before.rows_published) == (1, 10)
    retry(job.objects, None, failed_rows, failed=True)
    reader = StatusReader(job)
    waits = reader.read()
    (again,) = [shard for shard in waiting(job) if shard.retries]
    tokens = reader.log.entries[again].tokens
    assert tokens > 0
    assert (waits.failed, waits.rows_published, waits.rows, waits.rows_done) == (0, 10, 16, before.rows_done - 1)
    assert waits.tokens_done == before.tokens_done - tokens
    publish_shard(job, again)
    found = StatusReader(job).read()
    assert (found.failed, found.rows_published, found.rows_done) == (0, 11, before.rows_done)
    assert found.tokens_done == before.tokens_done


def test_rows_of_a_dead_run_keep_a_live_job_open(tmp_path):
    """They were read and not queued; the next run brings them."""
    job = make_job(tmp_path, shards=1, live=True)
    publish_shard(job, *waiting(job))
    assert StatusReader(job).read().complete
    stray = make_shard(1, job.job.id, cut(1))
    spool(job.objects, stray)
    status = StatusReader(job).read()
    assert (status.complete, status.strays) == (False, 1)
    assert list(diagnose(status)) == ["strays"]


def test_a_job_without_a_log_has_nothing_yet(tmp_path):
    """Between `job.json` and the first shard there is a job, but no log."""
    job = make_job(tmp_path, shards=0, ended=False)
    status = StatusReader(job).read()
    assert (status.shards, status.complete, status.tokens_per_second) == (0, False, None)


def test_the_ledger_tells_running_from_queued_and_what_is_missing(job, server, ledger):
    """A shard under a lease runs, one in the ledger is queued, one that is in neither is missing."""
    third, fourth = left(job)
    reader = StatusReader(job, server, "test")
    assert (reader.read().queue.missing, reader.read().lost) == (2, 2)
    enter(ledger, job, [third, fourth])
    ledger.claim(Member(job.key, Life(third, 0)), "host-1")
    queue = reader.read().queue
    assert (queue.running, queue.queued, queue.missing) == (1, 1, 0)
    server.client.delete(ledger.keys.ledger)  # as Redis does that evicts keys; the lease stays
    queue = reader.read().queue
    assert (queue.running, queue.queued, queue.missing) == (0, 0, 2)


def test_missing_shards_are_on_their_way_while_the_input_is_read(tmp_path, server, ledger):
    """The producer appends a segment before it enters its shards in the ledger."""
    job = make_job(tmp_path, shards=2, ended=False)
    first, _ = waiting(job)
    enter(ledger, job, [first])
    status = StatusReader(job, server, "test").read()
    assert (status.queue.missing, status.lost) == (1, 0)


def test_shards_that_are_missing_for_seconds_are_lost(tmp_path, server, ledger, monkeypatch):
    """Nothing is on its way for that long; while the input grows, each shard has its own time."""
    now = 1000.0
    monkeypatch.setattr(status_reader, "time", SimpleNamespace(monotonic=lambda: now))
    job = make_job(tmp_path, shards=2, ended=False)
    reader = StatusReader(job, server, "test")
    assert (reader.read().lost, reader.read().may_be_lost) == (0, True)
    now += WAY_SECONDS
    lost = reader.read()
    assert (lost.lost, lost.may_be_lost) == (2, False)
    assert diagnose(lost)["lost"].startswith("2 waiting shards are not in Redis: it lost them")
    enter(ledger, job, waiting(job))
    for index in range(2, 8):
        new = make_shard(index, job.job.id, cut(index))
        spool(job.objects, new)
        decide(job, Segment("shards", (new.entry,)))
        now += WAY_SECONDS / 2
        status = reader.read()
        assert (status.queue.missing, status.lost) == (1, 0), "a producer at work"
        enter(ledger, job, [new.entry.shard])
    now += WAY_SECONDS
    assert (reader.read().queue.missing, reader.read().may_be_lost) == (0, False)
    ledger.client.flushall()
    assert reader.read().lost == 0
    now += WAY_SECONDS
    job.objects.delete(names.rows_object(waiting(job)[0]))
    status = reader.read()
    assert (status.queue.missing, status.stuck, status.lost) == (8, 1, 7), "nobody can queue what is gone"
    decisions.cancel(job.objects, None)
    assert reader.read().lost == 0


def test_workers_of_every_offer_are_reported(job, server, ledger):
    """A heartbeat's facts are shown, whatever its worker offers."""
    facts = {"on_board": 2, "longest_seconds": 1.5}
    ledger.beat("host-1", {**facts, "tokens_per_second": 80_000.0, "busy_share": 0.5, "lease_seconds": 30})
    (worker,) = StatusReader(job, server, "test").read().queue.workers
    assert (worker.name, worker.offer) == ("host-1", OFFER)
    assert (worker.on_board, worker.longest_seconds, worker.lease_seconds) == (2, 1.5, 30)
    assert (worker.tokens_per_second, worker.busy_share) == (80_000, 0.5)


def test_what_a_worker_counts_is_what_status_shows(job, server, ledger):
    """Every figure of a heartbeat that status shows is one that the worker's metrics have."""
    metrics = Metrics()
    metrics.admitted(8.0)
    metrics.read(0.5)
    metrics.computed(rows=2, seconds=3.0, stats=PoolStats(10, 8, 1.0), waits=[16.0, 16.0])
    metrics.written(4.0)
    ledger.beat("host-1", metrics.snapshot())
    (worker,) = StatusReader(job, server, "test").read().queue.workers
    assert (worker.read_seconds, worker.plan_seconds, worker.compute_seconds, worker.write_seconds) == (0.5, 1, 2, 4)
    assert (worker.room_wait_seconds, worker.engine_wait_seconds) == (8, 32)
    assert worker.computed_share == 0.8
    assert worker.tokens_per_second == round(10 / 3, 1)
    assert worker.busy_share > 0


def test_a_long_pool_is_named(job, server, ledger):
    """Of the workers that compute this job's model, the longest; nothing is counted of it before its end."""
    ledger.beat("host-1", {"pool_tokens": 149_000, "pool_seconds": 23.4, "lease_seconds": 30})
    ledger.beat("host-2", {"pool_tokens": 1_000, "pool_seconds": 2})
    status = StatusReader(job, server, "test").read()
    assert status.long_pool == "a pool of 149k tokens for 23 s"
    assert "host-1 has computed a pool of 149k tokens for 23 s" in report(status).splitlines()
    assert report(status).count("a pool") == 1
    assert (
        replace(status, done=status.done + status.waiting).long_pool == ""
    )  # the worker's word is a second or two old


def test_a_run_starts_its_own_workers(job, server):
    """Nobody needs to start one for it."""
    read = StatusReader(job, server, "test", lambda: OwnRun.HERE).read
    assert set(diagnose(read())) & {"worker", "starting"} == {"starting"}
    assert "worker" in diagnose(StatusReader(job, server, "test").read())


@pytest.mark.parametrize("value", ["x" * 10**4, None, [1], -1, float("inf"), float("nan"), 10**400, {}])
def test_a_forged_heartbeat_is_shown_as_far_as_it_makes_sense(value):
    """Anyone who can write to Redis may have written it."""
    waits = ("room_wait_seconds", "engine_wait_seconds")
    stages = ("read_seconds", "plan_seconds", "compute_seconds", "write_seconds", "computed_share", *waits)
    names = (
        "on_board",
        "pool_tokens",
        "pool_seconds",
        "longest_seconds",
        "tokens_per_second",
        "busy_share",
        "lease_seconds",
        *stages,
    )
    worker = WorkerStatus.parse("host", dict.fromkeys(names, value) | {"offer": value})
    assert (worker.on_board, worker.tokens_per_second, worker.lease_seconds) == (0, 0, None)
    assert [getattr(worker, stage) for stage in stages] == [0] * len(stages)
    assert worker.offer is None


def test_a_broker_that_is_away_leaves_what_the_directory_tells(job, broker, server):
    """The status says why there is nothing of the queue in it."""
    reader = StatusReader(job, server, "test")
    broker.kill()
    status = reader.read()
    assert status.queue is None
    assert "broker.sock" in status.away
    assert status.shards == 4


def test_the_time_of_an_outage_does_not_count_for_the_speed(tmp_path, broker, server, ledger, clock):
    """Else the time left would be hours where it is minutes."""
    job = make_job(tmp_path, shards=4)
    first, second, third, last = waiting(job)
    enter(ledger, job, waiting(job))
    reader = StatusReader(job, server, "test")
    ledger.claim(Member(job.key, Life(third, 0)), "host-1")
    reader.read()
    compute(ledger, job, first)
    before = look(reader, clock, 2)
    broker.kill()
    assert look(reader, clock, 3600).away
    publish_shard(job, second)
    during = look(reader, clock, 3600)
    assert during.tokens_per_second is None
    assert during.tokens_done > before.tokens_done
    broker.start()
    compute(ledger, job, third)
    ledger.claim(Member(job.key, Life(last, 0)), "host-1")
    after = look(reader, clock, 2)
    assert before.tokens_per_second == before.tokens_done / 2
    assert after.tokens_per_second == (after.tokens_done - during.tokens_done + before.tokens_done) / 4


def test_the_time_without_a_worker_does_not_count_for_the_speed(tmp_path, server, ledger, clock):
    """No one knows how long it takes; the speed after it is that of the workers."""
    job = make_job(tmp_path, shards=3)
    first, second, third = waiting(job)
    enter(ledger, job, waiting(job))
    reader = StatusReader(job, server, "test")
    ledger.claim(Member(job.key, Life(second, 0)), "host-1")
    reader.read()
    compute(ledger, job, first)
    before = look(reader, clock, 2)
    ledger.give_back(Member(job.key, Life(second, 0)), "host-1", "first")
    without = look(reader, clock, 3600)
    assert without.tokens_per_second is None
    ledger.claim(Member(job.key, Life(third, 0)), "host-1")
    after = look(reader, clock, 1)
    assert after.tokens_per_second == before.tokens_done / 3
    shown = Progress("waiting", clock=lambda: clock.now)
    begun = replace(before, tokens_done=0)
    for seconds, status, moves in ((0, begun, False), (2, before, True), (3600, without, False), (1, after, True)):
        clock.now += seconds
        _show(shown, None, status)
        assert ("tokens/s" in shown._shown, "left" in shown._shown) == (moves, moves), "in `wait`, too"


def test_a_broker_that_refuses_the_login_is_not_away(job, broker):
    """Waiting wouldn't help, so the error goes through."""
    Broker(broker.url).client.execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+ping")
    place = broker.url.removeprefix("redis+socket://")
    for password in ("pw", "no"):
        reader = StatusReader(job, Broker(f"redis+socket://weak:{password}@{place}"), "test")
        with pytest.raises(BrokerRefusesError):
            reader.read()


def test_a_segment_is_read_once(job):
    """A long log costs nothing while nothing is added: what was read and then damaged goes unseen."""
    reader = StatusReader(job)
    before = reader.read()
    (Path(job.place) / names.segment_name(0)).write_bytes(b"x")
    assert reader.read() == before
    with pytest.raises(JobError, match="not a segment"):
        StatusReader(job).read()


def test_the_speed_is_that_between_two_looks(tmp_path, clock):
    """One look alone has none; while shards wait, a standstill shows."""
    job = make_job(tmp_path, shards=3)
    first, second, _ = waiting(job)
    reader = StatusReader(job)
    assert reader.read().tokens_per_second is None
    publish_shard(job, first)
    assert look(reader, clock, 2).tokens_per_second == 7 / 2
    publish_shard(job, second)
    assert look(reader, clock, 2).tokens_per_second == 14 / 4
    assert look(reader, clock, 50).tokens_per_second == 14 / 54
    assert look(reader, clock, 1000).tokens_per_second is None


def test_the_time_left_is_for_what_will_be_computed(tmp_path, clock):
    """Not for a dead shard, nor for a failed row whose retry has died too."""
    job = make_job(tmp_path, shards=4)
    first, second, third, _ = waiting(job)
    publish_shard(job, first, failed={3: "ValueError: no"})
    retry(job.objects, None, failed_rows, failed=True)
    (again,) = [shard for shard in waiting(job) if shard.retries]
    for shard in (second, again):
        record_death(job, shard)
    reader = StatusReader(job)
    reader.read()
    publish_shard(job, third)
    status = look(reader, clock, 2)
    assert (status.dead, status.waiting, status.dead_tokens) == (2, 1, 7 + 3)
    assert status.seconds_left == 2  # a shard has 7 tokens, and one was computed


def test_a_store_that_cannot_be_read_is_a_passing_trouble(job):
    """A folder in place of a segment acts like a mount that fails."""
    path = Path(job.place) / names.segment_name(0)
    path.unlink()
    path.mkdir()
    with pytest.raises(TransientError):
        StatusReader(job).read()


def test_hints_name_the_command_that_helps(job, server, ledger):
    """Dead shards, lost shards and a model that no worker serves have a line each, with what helps."""
    other = Ledger(ledger.client, "test", job_of(arithmetic="bfloat16").offer)
    other.beat("elsewhere", {})
    found = diagnose(StatusReader(job, server, "test").read())
    out = job.place
    assert found == {
        "dead": f"1 shard was given up (its worker died 3 times); each reason is in {out}/_unrolled/dead; "
        f"when the cause is gone: unrolled retry {out}",
        "lost": "2 waiting shards are not in Redis: it lost them, or this isn't the job's broker and namespace; "
        f"this queues them again, with the broker named: unrolled wait {out}",
        "worker": "no worker offers what this job asks for, model abababababab… in float32 by fused "
        "(alive: 1 for model abababababab… in bfloat16 by fused); "
        "start one for this broker and namespace: unrolled worker --model DIR --engine fused --arithmetic float32; "
        "or queue the rows for the workers that are alive: the same `unrolled enqueue` with --engine fused "
        "--arithmetic bfloat16 and another --out",
    }


def test_no_hint_where_all_is_well(tmp_path, server, ledger):
    """A job at work with a worker of its model needs no help."""
    job = make_job(tmp_path)
    enter(ledger, job, waiting(job))
    ledger.beat("host-1", {})
    assert diagnose(StatusReader(job, server, "test").read()) == {}


def test_rows_and_part_that_were_removed_are_reported(job, server, ledger):
    """Only the input can bring them back; with a broker that has its shards, and without one."""
    third, fourth = left(job)
    enter(ledger, job, [third, fourth])
    ledger.beat("host-1", {})
    assert diagnose(StatusReader(job, server, "test").read()).keys() == {"dead"}
    job.objects.delete(names.rows_object(third))
    for reader in (StatusReader(job), StatusReader(job, server, "test")):
        status = reader.read()
        assert (status.gone, status.stuck, status.waiting) == (1, 0, 2)
        assert diagnose(status)["gone"].startswith(
            f"neither the rows nor the part of 1 shard ({third}) can be seen; if they were removed, the same "
            "`unrolled run` or `unrolled enqueue` makes it again from the input"
        )
    ledger.beat("host-1", {"troubles": [[job.key, f"{UNSEEN} {third} can be seen"]]})
    assert diagnose(StatusReader(job, server, "test").read()).keys() == {"dead", "gone"}, "once is enough"
    for life in (third, fourth):
        ledger.remove(Member(job.key, Life(life, 0)))
    status = StatusReader(job, server, "test").read()
    assert (status.gone, status.stuck, status.lost) == (1, 1, 1)
    assert diagnose(status).keys() == {"dead", "gone", "lost"}


def test_damaged_rows_of_a_dead_shard_have_one_remedy(job):
    """Another life would also be given up, so `unrolled retry` isn't it, but for rows that have no input."""
    second = waiting(job)[0]
    (Path(job.place) / names.rows_object(second)).write_bytes(b"PK")
    found = diagnose(StatusReader(job).read())["dead"]
    assert "the same `unrolled run` or `unrolled enqueue` cuts damaged rows again" in found
    assert "when the cause is gone" not in found


def test_a_run_at_work_is_not_called_broken_off(tmp_path):
    """While it waits for more input, all that was read may be published."""
    job = make_job(tmp_path, shards=1, ended=False)
    publish_shard(job, *waiting(job))
    status = StatusReader(job, own_run=lambda: OwnRun.HERE).read()
    assert (status.fed, diagnose(status)) == (True, {})


@pytest.mark.parametrize("published", [0, 1])
def test_a_stream_at_work_can_be_told_from_an_orphan(tmp_path, server, ledger, published):
    """The broker knows whether a producer is at work on it; without a broker, it depends on the reader."""
    job = make_job(tmp_path, shards=1, ended=False)
    enter(ledger, job, waiting(job))
    ledger.beat("host-1", {})
    if published:
        publish_shard(job, *waiting(job))
    reader = StatusReader(job, server, "test")
    idle = "the input hasn't been read to its end, and the broker knows of no `unrolled run` or `unrolled enqueue` at"
    assert diagnose(reader.read())["input"].startswith(idle)
    ledger.say_fed(job.key, 60)
    status = reader.read()
    assert (status.fed, "input" in diagnose(status)) == (True, False)
    assert "producer" not in diagnose(status)
    ledger.say_fed(job.key, 60, "can't write to /x: no space is left \x1b[2J" + "x" * 9999)
    line = diagnose(reader.read())["producer"]
    assert line.startswith("can't write to /x: no space is left ")
    assert line.endswith(" (its producer)")
    assert (len(line) < 700, line.isprintable()) == (True, True)
    assert "waiting for input" not in reader.read().state
    ledger.say_unfed(job.key)
    assert "input" in diagnose(reader.read())
    alone = diagnose(StatusReader(job).read())
    assert ("to its end: if no `unrolled run`" in alone.get("input", "")) == bool(published)
    server.client.flushall()
    assert ("to its end: if no `unrolled run`" in diagnose(reader.read())["input"]) == (not published)


def test_an_input_that_broke_off_is_reported(tmp_path):
    """All that was cut is published, but the input wasn't read to its end."""
    job = make_job(tmp_path, shards=1, ended=False)
    publish_shard(job, *waiting(job))
    assert list(diagnose(StatusReader(job).read())) == ["input"]


def test_a_worker_says_what_is_in_its_way(tmp_path, server, ledger):
    """Trouble with this job, or with all jobs, is shown with the worker's name; trouble with another job isn't."""
    job = make_job(tmp_path)
    enter(ledger, job, waiting(job))
    full = "can't publish to /x: no space is left; free some space"
    ledger.beat("host-1", {"troubles": [[job.key, "outside of the root"], ["f" * 16, "another job's"], [None, full]]})
    ledger.beat("host-2", {"troubles": [[None, full]]})
    found = diagnose(StatusReader(job, server, "test").read())
    assert found == {"trouble": f"outside of the root (worker host-1); {full} (worker host-1 and 1 more)"}


def test_a_job_that_workers_look_for_where_it_was(tmp_path, server, ledger):
    """The same run again tells them its new place. Trouble with anything else says nothing of the kind."""
    old = make_job(tmp_path / "old")
    enter(ledger, old, waiting(old))
    (tmp_path / "old").rename(tmp_path / "new")
    job = open_job(str(tmp_path / "new"))
    reader = StatusReader(job, server, "test")
    ledger.beat("host-1", {"troubles": [[job.key, "no space is left"]]})
    assert "moved" not in diagnose(reader.read())
    ledger.beat("host-1", {"troubles": [[job.key, f"cannot read {tmp_path}/old/_unrolled/job.json"]]})
    line = diagnose(reader.read())["moved"]
    assert line.startswith(f"workers look for this job at {tmp_path}/old; if you have moved it, run the same ")
    assert reader.read().queue.moved_from == str(tmp_path / "old")
    ledger.leave("host-1")
    assert diagnose(reader.read()).keys() >= {"worker", "moved"}, "no worker is alive that could say so"


@pytest.mark.parametrize("troubles", [7, [3], [["a"]], [[None, 3]], [[3, "\x1b[2J" + "x" * 9999]], "x", {"a": 1}])
def test_troubles_in_redis_may_be_anything(tmp_path, server, ledger, troubles):
    """A heartbeat that somebody forged makes no other text than a short one without control characters."""
    job = make_job(tmp_path)
    enter(ledger, job, waiting(job))
    ledger.beat("host-1", {"troubles": troubles})
    found = diagnose(StatusReader(job, server, "test").read())
    assert len(found.get("trouble", "")) < 600
    assert found.get("trouble", "").isprintable()


@pytest.mark.parametrize("name", ["\x1b]0;pwned\x07w", "w\n→ all is well"])
def test_the_name_of_a_worker_in_redis_may_be_anything(tmp_path, server, ledger, name):
    """It controls no terminal, and makes no line of its own, wherever a status names it."""
    job = make_job(tmp_path)
    enter(ledger, job, waiting(job))
    facts = {"lease_seconds": ledger.lease_seconds, "on_board": 1, "troubles": [[None, "no room"]]}
    ledger.beat(name, facts | {"pool_tokens": 9, "pool_seconds": 9})
    key = ledger.keys.workers
    beat = json.loads(ledger.client.hget(key, name))
    ledger.client.hset(key, name, json.dumps(beat | {"until": beat["until"] - 20}))
    status = StatusReader(job, server, "test").read()
    assert diagnose(status).keys() == {"trouble", "silent"}
    text = report(status)
    assert text.count("has computed a pool") == 1
    assert all(line.isprintable() for line in text.split("\n"))
    assert "\n→ all is well" not in text


def test_a_worker_that_has_died_is_seen_to_be_silent(tmp_path, server, ledger):
    """Until its heartbeat runs out it is listed; how long ago it was seen shows what to think of it."""
    job = make_job(tmp_path)
    enter(ledger, job, waiting(job))
    ledger.beat("host-1", {"lease_seconds": ledger.lease_seconds, "on_board": 1})
    key = ledger.keys.workers
    facts = json.loads(ledger.client.hget(key, "host-1"))
    assert StatusReader(job, server, "test").read().queue.workers[0].silent_seconds < 20
    ledger.client.hset(key, "host-1", json.dumps(facts | {"until": facts["until"] - 20}))
    status = StatusReader(job, server, "test").read()
    assert status.queue.workers[0].silent_seconds >= 20
    late = r"no sign of life from host-1 \(\d+ s\); when its lease has run out, other workers take its shards"
    assert re.fullmatch(late, diagnose(status)["silent"])
    assert status.queue.workers[0].held == 1
    assert re.search(r"host-1 .*silent for \d+ s ", report(status))


def test_a_worker_whose_lease_has_run_out_holds_nothing(tmp_path, server, ledger):
    """It is listed for another lease; nothing says that its shards still wait for its lease, or that it serves."""
    job = make_job(tmp_path)
    enter(ledger, job, waiting(job))
    ledger.beat("host-1", {"lease_seconds": ledger.lease_seconds, "on_board": 1})
    member = Member(job.key, Life(waiting(job)[0], 0))
    ledger.claim(member, "host-1")
    key = ledger.keys.workers
    facts = json.loads(ledger.client.hget(key, "host-1"))
    ledger.client.hset(key, "host-1", json.dumps(facts | {"until": facts["until"] - ledger.lease_seconds - 5}))
    ledger.client.zincrby(ledger.keys.leases, -ledger.lease_seconds - 5, str(member))
    status = StatusReader(job, server, "test").read()
    assert (status.queue.running, status.queue.queued, status.at_work) == (0, 3, False)
    assert status.queue.workers[0].held == 0
    assert re.fullmatch(
        r"no sign of life from host-1 \(\d+ s\); its lease has run out, so its shards are free for other workers",
        diagnose(status)["silent"],
    )
    assert "none is alive" in diagnose(status)["worker"]


def test_a_full_broker_is_named_instead_of_missing_workers(job, server, ledger):
    """A worker that is alive can't write its heartbeat there; a worker of another kind that is seen is still named."""
    enter(ledger, job, left(job))
    server.client.config_set("maxmemory", int(server.client.info("memory")["used_memory"] / 1.001))
    try:
        found = diagnose(StatusReader(job, server, "test").read())
        assert next(iter(found.values())).startswith("1 shard was given up")
        assert re.fullmatch(r"the broker uses \d+ % of its maxmemory: .*; raise its maxmemory", found["full"])
        assert "worker" not in found
    finally:
        server.client.config_set("maxmemory", 0)
    found = diagnose(StatusReader(job, server, "test").read())
    assert ("full" in found, "none is alive" in found["worker"]) == (False, True)


def test_a_full_broker_has_not_lost_what_it_could_not_take(tmp_path, server):
    """Its producer can't queue that, and neither could `wait`; once there is room, what is missing may be lost."""
    job = make_job(tmp_path)
    server.client.config_set("maxmemory", int(server.client.info("memory")["used_memory"] / 1.001))
    try:
        full = diagnose(StatusReader(job, server, "test").read())
    finally:
        server.client.config_set("maxmemory", 0)
    found = diagnose(StatusReader(job, server, "test").read())
    assert (set(full), set(found)) == ({"full"}, {"lost", "worker"})


def test_a_broker_that_takes_no_writes_is_named_instead_of_missing_workers(tmp_path, server):
    """Nor has it lost what it never had: who wants to queue that is told why it doesn't take it."""
    job = make_job(tmp_path)
    server.client.config_set("min-replicas-to-write", 1)
    try:
        found = diagnose(StatusReader(job, server, "test").read())
    finally:
        server.client.config_set("min-replicas-to-write", 0)
    assert list(found) == ["declined"]
    assert found["declined"].startswith("the broker takes no writes now (NOREPLICAS ")
    assert "; connect its replicas, or lower its min-replicas-to-write; until then" in found["declined"]
    found = diagnose(StatusReader(job, server, "test").read())
    assert list(found) == ["lost", "worker"]


def test_another_job_is_computed_first(tmp_path, server, ledger):
    """While no shard of this job runs, a line says how many of other jobs run and wait."""
    first, second = make_job(tmp_path / "first"), make_job(tmp_path / "second", shards=1)
    for job in (first, second):
        enter(ledger, job, waiting(job))
    ledger.beat("host-1", {})
    assert "turn" not in diagnose(StatusReader(second, server, "test").read())
    ledger.claim(Member(first.key, Life(waiting(first)[0], 0)), "host-1")
    status = StatusReader(second, server, "test").read()
    assert (status.queue.others_running, status.queue.others_queued) == (1, 2)
    turn = (
        "the workers compute other jobs: 1 shard of those runs, and 2 wait; this job's turn comes when a worker is free"
    )
    assert diagnose(status) == {"turn": turn}
    assert "turn" not in diagnose(replace(status, gone=1))  # nothing could be computed then
    assert "turn" in diagnose(replace(status, gone=1, shards=2))
    for troubles, has_turn in (
        ([(second.key, "not below its root")], False),
        ([(first.key, "full"), (None, "x")], True),
    ):
        ledger.beat("host-1", {"troubles": troubles})
        assert ("turn" in diagnose(StatusReader(second, server, "test").read())) == has_turn
    ledger.beat("host-1", {})
    assert diagnose(StatusReader(first, server, "test").read()) == {}


def test_no_time_is_left_where_no_one_works(tmp_path, server, ledger, clock):
    """A speed of the past says nothing of a job that no worker computes."""
    job = make_job(tmp_path, shards=3)
    first, second, _ = waiting(job)
    enter(ledger, job, waiting(job))
    ledger.claim(Member(job.key, Life(second, 0)), "host-1")
    reader = StatusReader(job, server, "test")
    reader.read()
    compute(ledger, job, first)
    status = look(reader, clock, 2)
    assert status.at_work
    assert status.seconds_left > 0
    beat = WorkerStatus("host-1", status.offer, 1, 1.0, 100.0, 1.0, lease_seconds=30.0, silent_seconds=2.0)
    assert replace(status, queue=replace(status.queue, workers=(beat,))).seconds_left > 0
    late = replace(beat, silent_seconds=20.0)
    assert replace(status, queue=replace(status.queue, workers=(late,))).seconds_left is None
    assert replace(status, queue=replace(status.queue, workers=(late, beat))).seconds_left > 0
    away = replace(status, queue=None, away="the broker gives no answer")
    assert away.at_work, "as far as can be seen"
    assert away.seconds_left is None
    assert "tokens/s" in report(status)
    assert "tokens/s" not in report(away)
    ledger.give_back(Member(job.key, Life(second, 0)), "host-1", "first")
    status = reader.read()
    assert not status.at_work
    assert status.seconds_left is None


def test_a_cancelled_job_whose_shards_were_all_published_is_told_of(tmp_path):
    """Workers finish what is in their engines; the job is complete when the same command has resumed it."""
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    publish_shard(job, first)
    decisions.cancel(job.objects, None)
    resumes = "the same `unrolled run` or `unrolled enqueue` resumes it"
    assert diagnose(StatusReader(job).read()) == {"cancelled": f"it was cancelled, and 1 shard waits; {resumes}"}
    publish_shard(job, second)
    said = diagnose(StatusReader(job).read())["cancelled"]
    assert said == f"it was cancelled, and no shard of it waits: workers have finished those that they had; {resumes}"
