"""The worker's pulse: leases kept, what is lost sent again, and one line for each trouble."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from support.jobs import log_of, record_death
from support.processes import NAMESPACE, eventually, left, make_rows, open_site, worker_parts

from producer.cli.root import cli
from unrolled.job import names
from unrolled.job.names import Life, part_object
from unrolled.job.offer import Offer
from unrolled.job.time_record import TimeRecord
from unrolled.queue.keys import Keys
from unrolled.queue.ledger import HEARTBEAT_LEASES
from unrolled.queue.member import Member
from worker.runtime import heartbeat, job_registry
from worker.runtime.outcome import Outcome

LEASE = 1


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


def member_of(job, shard):
    return Member(job.key, Life(shard, 0))


def texts(caplog, part):
    return [record.getMessage() for record in caplog.records if part in record.getMessage()]


def test_a_shard_without_a_message_is_sent_again(site):
    """A lease after it was sent, and with nothing in the queue, somebody sends it."""
    job = site.enqueue(make_rows(4))
    site.ledger.client.delete(site.queue_key)
    sent = []
    with worker_parts(site, send=sent.append, lease_seconds=LEASE):
        eventually(lambda: {member.shard for member in sent} == left(job), "both sent again")


def test_only_a_shard_that_is_sent_again_and_again_is_a_warning(site, caplog):
    """A message is lost now and then, and each time that a worker dies; that one shard needs many is trouble."""
    caplog.set_level(logging.INFO)
    job = site.enqueue(make_rows(2))
    (shard,) = left(job)
    site.ledger.client.delete(site.queue_key)
    sent = []
    with worker_parts(site, send=sent.append, lease_seconds=LEASE):
        eventually(lambda: len(sent) > heartbeat.OFTEN, "another message of the shard")
    found = [record for record in caplog.records if "again" in record.getMessage()]
    (warning,) = [record.getMessage() for record in found if record.levelno == logging.WARNING]
    assert str(member_of(job, shard)) in warning
    assert "4th time" in warning
    assert len([record for record in found if record.levelno == logging.INFO]) == len(sent)


def test_what_was_done_is_logged(site, caplog):
    """A line on the time since the last one, at the end at the latest."""
    caplog.set_level(logging.INFO)
    job = site.enqueue(make_rows(4))
    with worker_parts(site, lease_seconds=LEASE) as parts:
        for shard in sorted(left(job)):
            assert parts.service.handle(member_of(job, shard).encode()) == Outcome.PUBLISHED
    (line,) = texts(caplog, "engine busy")
    tokens = sum(entry.tokens for entry in log_of(job).entries.values())
    assert line.startswith(f"2 shards, {tokens} tokens in ")


def test_what_is_in_the_way_is_in_the_heartbeat(site):
    """A job outside of the worker's root waits; the list of workers shows why."""
    job = site.enqueue(make_rows(2))
    (shard,) = left(job)
    with worker_parts(site, lease_seconds=LEASE, output_root=site.root / "below") as parts:
        assert parts.service.handle(member_of(job, shard).encode()) == Outcome.REFUSED

        def troubles():
            return [facts["troubles"] for facts in site.ledger.workers().values() if facts["troubles"]]

        eventually(troubles, "the trouble in the heartbeat")
        (((key, text),),) = troubles()
        assert key == job.key
        assert "--output-root" in text
        doctor = CliRunner().invoke(cli, ["doctor", job.place, "--broker", site.broker_url, "--namespace", NAMESPACE])
        assert f"✗ workers' troubles: {text} (worker {parts.service.holder})" in doctor.output
        assert doctor.exit_code == 1


def test_leases_are_kept_while_shards_are_on_board(site):
    """They are renewed for longer than they last; the heartbeat says that the engine is at work on a pool."""
    job = site.enqueue(make_rows(2))
    (shard,) = left(job)
    leases, member = site.ledger.keys.leases, str(member_of(job, shard))
    with (
        ThreadPoolExecutor(1) as threads,
        worker_parts(site, site.with_plan(gate=str(site.gate)), lease_seconds=LEASE) as parts,
    ):
        future = threads.submit(parts.service.handle, member_of(job, shard).encode())
        eventually(lambda: site.ledger.client.zscore(leases, member), "the lease")
        first = site.ledger.client.zscore(leases, member)
        eventually(
            lambda: site.ledger.client.zscore(leases, member) > first + 2 * LEASE,
            "a lease that was renewed for twice its time",
        )
        (facts,) = site.ledger.workers().values()
        assert (facts["pools"], facts["compute_seconds"] > 0, facts["busy_share"] > 0) == (0, True, True)
        site.gate.touch()
        assert future.result(60) == Outcome.PUBLISHED


def test_an_empty_redis_is_filled_again(site, caplog):
    """What waits is entered and sent; what is on board is under its lease again before its message is sent."""
    job = site.enqueue(make_rows(6))
    shard, *others = sorted(left(job))
    sent, unguarded = [], []

    def send(member):
        sent.append(member.shard)
        if member.shard == shard and member.life not in site.ledger.members(member.job_key)[1]:
            unguarded.append(member)

    with (
        ThreadPoolExecutor(1) as threads,
        worker_parts(site, site.with_plan(gate=str(site.gate)), send, lease_seconds=LEASE) as parts,
    ):
        future = threads.submit(parts.service.handle, member_of(job, shard).encode())
        eventually(site.calls, "the engine at work")
        site.ledger.client.flushall()
        eventually(lambda: {shard, *others} <= set(sent), "everything sent again")
        assert unguarded == []
        site.gate.touch()
        assert future.result(60) == Outcome.PUBLISHED
    assert len(texts(caplog, "entered 3 shards that the ledger lacked")) == 1


@pytest.mark.parametrize("outcome", ["dead", "published"])
def test_a_job_that_is_over_is_forgotten(site, caplog, outcome):
    """Dead shards keep their rows; an empty Redis is no reason to speak of them, nor to look at the job for ever."""
    job = site.enqueue(make_rows(2))
    (shard,) = left(job)
    with worker_parts(site, lease_seconds=LEASE) as parts:
        parts.service.jobs.find(job.key)
        if outcome == "dead":
            record_death(job, shard)
        else:
            job.objects.create(part_object(shard), b"part")
            job.objects.delete(names.rows_object(shard))
        site.ledger.client.flushall()
        eventually(lambda: not parts.service.jobs._met, "the job forgotten")
    assert texts(caplog, "job ") == []


def test_a_slow_store_does_not_stop_the_pulse(site, monkeypatch):
    """Telling a large job again, or listing it, may take longer than a lease: leases are kept all the while."""
    job = site.enqueue(make_rows(4))
    shard = min(left(job))
    reached, gate = threading.Event(), threading.Event()

    def slow(*arguments, **more):
        reached.set()
        assert gate.wait(30)
        return look_after(*arguments, **more)

    look_after = job_registry.look_after
    plan = site.with_plan(gate=str(site.gate))
    with ThreadPoolExecutor(1) as threads, worker_parts(site, plan, lease_seconds=LEASE) as parts:
        future = threads.submit(parts.service.handle, member_of(job, shard).encode())
        eventually(site.calls, "the engine at work")
        monkeypatch.setattr(job_registry, "look_after", slow)
        site.ledger.client.hdel(site.ledger.keys.jobs, job.key)
        eventually(reached.is_set, "the job looked at")
        leases, member = site.ledger.keys.leases, str(member_of(job, shard))
        first = site.ledger.client.zscore(leases, member)
        eventually(lambda: site.ledger.client.zscore(leases, member) > first + 2 * LEASE, "the lease renewed")
        assert parts.service.holder in site.ledger.workers()
        gate.set()
        site.gate.touch()
        assert future.result(60) == Outcome.PUBLISHED
        eventually(lambda: site.ledger.place_of(job.key), "the job registered again")


def test_an_outage_is_reported_in_two_lines(site, broker, caplog):
    """When it begins and when it ends, however many beats it lasts."""
    with worker_parts(site, lease_seconds=LEASE) as parts:
        eventually(site.ledger.workers, "a heartbeat")
        broker.kill()
        eventually(lambda: texts(caplog, "can't send the heartbeat"), "the first line")
        began = time.time()
        broker.start()
        beats = []

        def is_heard():
            beats.extend(site.ledger.workers().values())
            return beats and beats[-1]["until"] > began + HEARTBEAT_LEASES * LEASE

        eventually(is_heard, "the first heartbeat after it")
        assert beats[-1]["troubles"] == [], "it shows that it was sent"
        eventually(lambda: texts(caplog, "can send the heartbeat again"), "the second line")
        assert parts.service.holder in site.ledger.workers()
    assert len(texts(caplog, "can't send the heartbeat")) == len(texts(caplog, "can send the heartbeat again")) == 1


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (("e" * 64, "fused", "float32"), "model eeeeeeeeeeee… in float32 by fused"),
        ((None, "fused", "bfloat16"), "in bfloat16 by fused"),
        ((None, "tensorflow", "float32"), "in float32 by tensorflow"),
    ],
)
def test_strangers_are_reported_once(site, caplog, other, named):
    """Shards wait for another offer, though the model be this one: the worker says so, and leaves them."""
    offer = Offer(other[0] or site.model.fingerprint, *other[1:])
    client = site.ledger.client
    client.sadd("test:offers", str(offer), b"\xff\xfe", "x:fused:float32")
    client.zadd(Keys.of("test", offer).ledger, {"x": time.time()})
    sent = []
    with worker_parts(site, send=sent.append, lease_seconds=LEASE):
        eventually(lambda: texts(caplog, named), "the line")
        client.delete("test:workers")
        eventually(lambda: client.hlen("test:workers"), "another beat")
        client.delete("test:workers")
        eventually(lambda: client.hlen("test:workers"), "and another")
    assert len(texts(caplog, named)) == 1
    assert f"this worker offers {site.offer.describe()}" in texts(caplog, named)[0]
    assert sent == []


def test_the_heartbeat_says_what_the_worker_does(site):
    """Facts for `unrolled status`; it is taken back at the end."""
    with worker_parts(site, lease_seconds=LEASE) as parts:
        eventually(site.ledger.workers, "a heartbeat")
        (facts,) = site.ledger.workers().values()
        assert (facts["engine"], facts["arithmetic"]) == ("fused", "float32")
        assert facts["on_board"] == 0
        assert facts["offer"] == str(site.offer)
        assert parts.service.holder in site.ledger.workers()
    assert site.ledger.workers() == {}


def test_the_health_file_is_touched(site, caplog):
    """It is touched while the worker is healthy; if it can't be written, that is reported once."""
    file = site.root / "health"
    with worker_parts(site, lease_seconds=LEASE, health_file=file):
        eventually(file.exists, "the file")
        assert json.loads(file.read_text() or "{}") in ({}, {"on_board": 0})
    with worker_parts(site, lease_seconds=LEASE, health_file=site.root / "nowhere" / "health"):
        eventually(lambda: texts(caplog, "health file"), "the line")
        site.ledger.client.delete("test:workers")
        eventually(site.ledger.workers, "another beat")
        site.ledger.client.delete("test:workers")
        eventually(site.ledger.workers, "and another")
    assert len(texts(caplog, "health file")) == 1


def test_a_strange_failure_is_reported_once(site, caplog):
    """Anyone who can write to Redis may put a value of another type under our keys: the watch lives on."""
    site.ledger.client.set(site.ledger.keys.leases, "no sorted set")
    with worker_parts(site, lease_seconds=LEASE):
        eventually(lambda: texts(caplog, "can't send the heartbeat"), "the failure")
        site.ledger.client.delete(site.ledger.keys.leases)
        eventually(lambda: texts(caplog, "can send the heartbeat again"), "the end of it")
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 2


def test_a_worker_records_its_time_in_the_job(site):
    """When it stops at the latest, the job says what its seconds went into; every token once."""
    job = site.enqueue(make_rows(6))
    with worker_parts(site, lease_seconds=LEASE) as parts:
        messages = [member_of(job, shard).encode() for shard in sorted(left(job))]
        for outcome in (Outcome.PUBLISHED, Outcome.GONE):
            assert [parts.service.handle(message) for message in messages] == [outcome] * 3
    names_found = sorted(job.objects.list(names.TIMES))
    found = [TimeRecord.decode(name, job.objects.read(name)) for name in names_found]
    entries = log_of(job).entries.values()
    intervals = [interval for record in found for interval in record.intervals]
    assert sum(interval.tokens for interval in intervals) == sum(entry.tokens for entry in entries)
    assert sum(interval.rows for interval in intervals) == sum(entry.rows for entry in entries)
    assert sum(interval.shards for interval in intervals) == len(entries)
    assert all(min(interval[4:]) >= 0 and interval.read and interval.write for interval in intervals)
    assert {record.engine for record in found} == {"counts"}


def test_a_worker_that_sends_thousands_of_messages_is_seen_to_be_well(site, monkeypatch):
    """They take minutes, in which it would be taken for dead otherwise, and be started again."""
    monkeypatch.setattr(heartbeat, "LONGEST_PAUSE_SECONDS", 1e-6)  # shorter than this test takes for one message
    job = site.enqueue(make_rows(40))
    site.ledger.client.delete(site.queue_key)
    file, go_on, sent = site.root / "health", threading.Semaphore(0), []

    def send(member):
        sent.append(member)
        assert go_on.acquire(timeout=60)

    with worker_parts(site, send=send, lease_seconds=LEASE, health_file=file) as parts:
        holder = parts.service.holder
        eventually(lambda: sent, "the first message")
        for _ in range(3):
            file.unlink(missing_ok=True)
            site.ledger.leave(holder)
            count = len(sent)
            go_on.release()
            eventually(lambda count=count: len(sent) > count, "the next message")
            assert file.exists()
            assert holder in site.ledger.workers()
        go_on.release(len(left(job)))
