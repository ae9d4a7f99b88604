"""The worker's pulse: leases kept, what is lost sent again, and one line for each trouble."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.processes import eventually, make_rows, open_site, worker_parts

from unrolled.job.manifest import read_manifest
from unrolled.queue.member import Member
from worker.runtime.outcome import Outcome

LEASE = 1


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


def texts(caplog, part):
    return [record.getMessage() for record in caplog.records if part in record.getMessage()]


def test_a_shard_without_a_message_is_sent_again(site):
    """A lease after it was sent, and with nothing in the queue, somebody sends it."""
    directory = site.enqueue(make_rows(4))
    site.ledger.client.delete(site.queue_key)
    sent = []
    with worker_parts(site, send=sent.append, lease_seconds=LEASE):
        eventually(lambda: {member.shard for member in sent} == directory.waiting(), "both sent again")


def test_what_was_done_is_logged(site, caplog):
    """A line on the time since the last one, at the end at the latest."""
    caplog.set_level(logging.INFO)
    directory = site.enqueue(make_rows(4))
    with worker_parts(site, lease_seconds=LEASE) as parts:
        for shard in sorted(directory.waiting()):
            assert parts.service.handle(Member(directory.key, shard).encode()) == Outcome.PUBLISHED
    (line,) = texts(caplog, "engine busy")
    tokens = read_manifest(directory.path).tokens
    assert line.startswith(f"{len(directory.published())} shard(s), {tokens} tokens in ")


def test_leases_are_kept_while_shards_are_on_board(site):
    """They are renewed for longer than they last."""
    directory = site.enqueue(make_rows(2))
    (shard,) = directory.waiting()
    leases, member = site.ledger.keys.leases, str(Member(directory.key, shard))
    with (
        ThreadPoolExecutor(1) as threads,
        worker_parts(site, site.with_plan(gate=str(site.gate)), lease_seconds=LEASE) as parts,
    ):
        future = threads.submit(parts.service.handle, Member(directory.key, shard).encode())
        eventually(lambda: site.ledger.client.zscore(leases, member), "the lease")
        first = site.ledger.client.zscore(leases, member)
        eventually(
            lambda: site.ledger.client.zscore(leases, member) > first + 2 * LEASE,
            "a lease that was renewed for twice its time",
        )
        site.gate.touch()
        assert future.result(10) == Outcome.PUBLISHED


def test_an_empty_redis_is_filled_again(site, caplog):
    """What waits is entered and sent; what is on board is under its lease again before its message is sent."""
    directory = site.enqueue(make_rows(6))
    shard, *others = sorted(directory.waiting())
    sent, unguarded = [], []

    def send(member):
        sent.append(member.shard)
        if member.shard == shard and shard not in site.ledger.members(member.job_key)[1]:
            unguarded.append(member)

    with (
        ThreadPoolExecutor(1) as threads,
        worker_parts(site, site.with_plan(gate=str(site.gate)), send, lease_seconds=LEASE) as parts,
    ):
        future = threads.submit(parts.service.handle, Member(directory.key, shard).encode())
        eventually(site.calls, "the engine at work")
        site.ledger.client.flushall()
        eventually(lambda: {shard, *others} <= set(sent), "everything sent again")
        assert unguarded == []
        site.gate.touch()
        assert future.result(10) == Outcome.PUBLISHED
    assert len(texts(caplog, "Redis lost")) == 1


def test_a_job_with_nothing_to_enter_is_not_told(site, caplog):
    """Dead shards keep their rows; an empty Redis is no reason to speak of them again and again."""
    directory = site.enqueue(make_rows(2))
    (shard,) = directory.waiting()
    with worker_parts(site, lease_seconds=LEASE) as parts:
        parts.service.jobs.find(directory.key)
        directory.dead(shard).write_text(json.dumps({"shard": str(shard), "reason": "x"}))
        site.ledger.client.flushall()
        eventually(lambda: parts._heartbeat._forgotten, "the look at the job")
        beats = site.ledger.workers
        eventually(beats, "a heartbeat after it")
    assert texts(caplog, "lost") == []


def test_one_damaged_job_does_not_stop_the_others(site, caplog):
    """It is logged, and shards of other jobs are sent again."""
    damaged = site.enqueue(make_rows(2), name="damaged")
    good = site.enqueue(make_rows(2), name="good")
    sent = []
    with worker_parts(site, send=sent.append, lease_seconds=LEASE) as parts:
        for directory in (damaged, good):
            parts.service.jobs.find(directory.key)
        (damaged.path / "_manifest.jsonl").write_text("{\n")
        site.ledger.client.flushall()
        eventually(lambda: any(member.job_key == good.key for member in sent), "the other job entered again")
        eventually(lambda: texts(caplog, "not a manifest line"), "the line")
    assert len(texts(caplog, "not a manifest line")) == 1
    assert texts(caplog, "unexpected") == []


def test_an_outage_is_told_in_two_lines(site, broker, caplog):
    """When it begins and when it ends, however many beats it lasts."""
    with worker_parts(site, lease_seconds=LEASE) as parts:
        eventually(site.ledger.workers, "a heartbeat")
        broker.kill()
        eventually(lambda: texts(caplog, "can't send the heartbeat"), "the first line")
        broker.start()
        eventually(lambda: texts(caplog, "can send the heartbeat again"), "the second line")
        assert parts.service.holder in site.ledger.workers()
    assert len(texts(caplog, "can't send the heartbeat")) == len(texts(caplog, "can send the heartbeat again")) == 1


def test_strangers_are_told_once(site, caplog):
    """Shards of another model wait: this worker says whom it serves, and leaves them."""
    other = "e" * 64
    client = site.ledger.client
    client.sadd("test:models", other, b"\xff\xfe")
    client.zadd(f"test:{other[:12]}:ledger", {"x": 1})
    with worker_parts(site, lease_seconds=LEASE):
        eventually(lambda: texts(caplog, other), "the line")
        client.delete("test:workers")
        eventually(lambda: client.hlen("test:workers"), "another beat")
        client.delete("test:workers")
        eventually(lambda: client.hlen("test:workers"), "and another")
    assert len(texts(caplog, other)) == 1
    assert site.model.fingerprint in texts(caplog, other)[0]


def test_the_heartbeat_says_what_the_worker_does(site):
    """Facts for `unrolled status`; it is taken back at the end."""
    with worker_parts(site, lease_seconds=LEASE) as parts:
        eventually(site.ledger.workers, "a heartbeat")
        (facts,) = site.ledger.workers().values()
        assert facts["engine"] == "counting"
        assert facts["on_board"] == 0
        assert facts["model"] == site.model.fingerprint
        assert parts.service.holder in site.ledger.workers()
    assert site.ledger.workers() == {}


def test_the_health_file_is_touched(site, caplog):
    """While the worker is well; if it can't be written, that is logged once."""
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


def test_a_strange_failure_is_told_once(site, caplog):
    """Anybody with access to Redis can put another kind of value under a key: the heartbeat continues."""
    site.ledger.client.set(site.ledger.keys.leases, "no sorted set")
    with worker_parts(site, lease_seconds=LEASE):
        eventually(lambda: caplog.records, "a line")
        site.ledger.client.delete(site.ledger.keys.leases)
        eventually(lambda: texts(caplog, "can send the heartbeat again"), "the end of it")
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 2
