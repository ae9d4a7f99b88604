"""A job's ledger on a real server: what it has lost is entered again, and each life is sent once."""

import threading

import pytest
import redis
from support.jobs import FINGERPRINT, decide, log_of, make_job, publish_shard, record_death, waiting

from unrolled.errors import JobError
from unrolled.job.names import Life, rows_object, segment_name
from unrolled.job.offer import Offer
from unrolled.job.segment import Segment
from unrolled.patience import Patience, at_once
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log
from unrolled.queue.broker import AWAY
from unrolled.queue.broker_url import client_url
from unrolled.queue.job_ledger import JobLedger
from unrolled.queue.ledger import Counts, Ledger
from unrolled.queue.member import Member


@pytest.fixture
def ledger(broker):
    with redis.Redis.from_url(client_url(broker.url)) as client:
        yield Ledger(client, "unrolled", Offer(FINGERPRINT, "fused", "float32"))


def update(ledger, job, send=None, steadily=at_once):
    """Enter a job as a process does that knows nothing of it yet. Returns the members whose messages it sent."""
    sent = []
    update_ledger(Log(), job.objects, JobLedger(ledger, job.key, job.address, send or sent.append, steadily))
    return sent


def firsts(job, *shards):
    return [Member(job.key, Life(shard, 0)) for shard in shards]


def test_what_waits_is_entered_and_sent(tmp_path, ledger):
    """In the order of the log; shards with a part, and lives that were given up, are left out."""
    job = make_job(tmp_path / "out", 5)
    shards = waiting(job)
    publish_shard(job, shards[1])
    record_death(job, shards[2])
    assert update(ledger, job) == firsts(job, shards[0], shards[3], shards[4])
    sizes = [log_of(job).entries[shard].size for shard in (shards[0], shards[3], shards[4])]
    assert ledger.counts() == Counts(3, 0, sum(sizes))
    assert ledger.place_of(job.key) == job.place
    assert ledger.mark(job.key) == log_of(job).length


def test_what_was_entered_is_not_entered_again(tmp_path, ledger):
    """Nor what was finished since; a part of the log that is new is."""
    job = make_job(tmp_path / "out", 3)
    shards = waiting(job)
    update(ledger, job)
    ledger.remove(Member(job.key, Life(shards[0], 0)))
    assert update(ledger, job) == []
    decide(job, Segment("retry", lives=(Life(shards[1], 1),)))
    assert update(ledger, job) == [Member(job.key, Life(shards[1], 1))]


def test_rows_beside_a_part_are_entered(tmp_path, ledger):
    """Its publisher died before its failed rows were saved: a worker has to save them."""
    job = make_job(tmp_path / "out", 1)
    (shard,) = waiting(job)
    rows = job.objects.read(rows_object(shard))
    publish_shard(job, shard)
    assert update(ledger, job) == []
    ledger.client.flushall()
    job.objects.create(rows_object(shard), rows)
    assert update(ledger, job) == firsts(job, shard)


def test_rows_that_cannot_be_seen_are_entered(tmp_path, ledger):
    """Rows that seem to be missing may be invisible yet: only an object that exists takes a shard out."""
    job = make_job(tmp_path / "out", 2)
    shards = waiting(job)
    job.objects.delete(rows_object(shards[0]))
    assert update(ledger, job) == firsts(job, *shards)


@pytest.mark.parametrize("key", ["ledger", "tokens", "leases", "holders", "jobs", "left", "queue", "offers"])
def test_a_key_that_was_evicted(tmp_path, ledger, key):
    """Whichever key was lost: an update enters everything that waits, and counts nothing twice."""
    job = make_job(tmp_path / "out", 3)
    members = update(ledger, job)
    ledger.claim(members[0], "one")
    ledger.remove(members[2])
    publish_shard(job, members[2].shard)
    before = ledger.counts()
    ledger.client.delete(getattr(ledger.keys, key))
    sent = update(ledger, job)
    assert sent == (members[:2] if key == "ledger" else [])
    assert ledger.members(job.key)[0] == {member.life for member in members[:2]}
    assert ledger.place_of(job.key) == job.place
    if key != "tokens":
        assert ledger.counts().tokens == before.tokens
    if key != "left":
        assert ledger.known([job.key])[0].left == 2


@pytest.mark.parametrize("keep_data", [True, False])
def test_a_restart_of_the_server(tmp_path, broker, ledger, keep_data):
    """With its data nothing is entered again; without its data, everything."""
    job = make_job(tmp_path / "out", 3)
    members = update(ledger, job)
    broker.kill()
    broker.restart(keep_data=keep_data)
    assert update(ledger, job) == ([] if keep_data else members)
    assert ledger.members(job.key)[0] == {member.life for member in members}


@pytest.mark.parametrize("kind", ["cancel", "discard"])
def test_a_stopped_job_is_taken_out(tmp_path, ledger, kind):
    """The whole job is removed; an update enters nothing of it again."""
    job, other = make_job(tmp_path / "out", 3), make_job(tmp_path / "other", 2)
    update(ledger, job)
    update(ledger, other)
    decide(job, Segment(kind))
    for _ in range(2):
        assert update(ledger, job) == []
        assert ledger.mark(job.key) is None
        assert ledger.members(job.key) == (set(), set())
        assert ledger.place_of(job.key) is None
    assert len(ledger.members(other.key)[0]) == 2


def test_a_job_that_is_resumed_is_entered_again(tmp_path, ledger):
    """All that waits."""
    job = make_job(tmp_path / "out", 3)
    members = update(ledger, job)
    decide(job, Segment("cancel"))
    update(ledger, job)
    decide(job, Segment("resume"))
    assert update(ledger, job) == members


def test_many_at_once_send_each_life_once(tmp_path, ledger):
    """However many processes enter everything in a ledger that has lost it."""
    job = make_job(tmp_path / "out", 40)
    sent, barrier = [], threading.Barrier(6)

    def tell_all():
        barrier.wait()
        update(ledger, job, sent.append)

    threads = [threading.Thread(target=tell_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent) == firsts(job, *waiting(job))
    assert ledger.counts().shards == 40
    assert ledger.known([job.key])[0].left == 40


def test_telling_that_breaks_off_is_taken_up(tmp_path, ledger, monkeypatch):
    """Between two chunks the mark is below zero; the next one begins again, and sends what the first one didn't."""
    monkeypatch.setattr("unrolled.protocol.ledger_update.CHUNK", 2)
    job = make_job(tmp_path / "out", 5)
    sent = []

    def send(member):
        if len(sent) == 3:
            raise ConnectionError
        sent.append(member)

    with pytest.raises(ConnectionError):
        update(ledger, job, send)
    assert ledger.mark(job.key) < 0
    assert len(sent + update(ledger, job)) == 4, "the message that was lost is sent by a sweep"
    assert ledger.counts().shards == 5
    assert ledger.mark(job.key) == log_of(job).length


def test_a_ledger_that_is_emptied_meanwhile(tmp_path, broker, ledger, monkeypatch):
    """The next chunk finds no mark, and everything is entered again."""
    monkeypatch.setattr("unrolled.protocol.ledger_update.CHUNK", 2)
    job = make_job(tmp_path / "out", 5)
    sent = []

    def send(member):
        sent.append(member)
        if len(sent) == 3:
            broker.restart(keep_data=False)

    patience = Patience(print, AWAY)
    update(ledger, job, send, patience.until_done)
    members = firsts(job, *waiting(job))
    assert set(sent) == set(members)
    assert ledger.members(job.key)[0] == {member.life for member in members}
    assert ledger.mark(job.key) == log_of(job).length


def test_a_broker_that_is_away_is_waited_for_by_each_call(tmp_path, broker, ledger):
    """What was done before it went isn't done twice."""
    job = make_job(tmp_path / "out", 3)
    sent = []
    broker.kill()

    def steadily(what, action):
        assert what == "reach the broker"
        try:
            return action()
        except AWAY:
            broker.start()
            return Patience(print, AWAY).until_done(what, action)

    update(ledger, job, sent.append, steadily)
    assert sent == firsts(job, *waiting(job))


def test_a_damaged_log_tells_nothing(tmp_path, ledger):
    """Nothing is entered on the word of a segment that can't be read, nor after it."""
    job = make_job(tmp_path / "out", 3)
    job.objects.delete(segment_name(0))
    job.objects.create(segment_name(0), b"garbage\n")
    with pytest.raises(JobError, match=r"000000\.jsonl: not a segment"):
        update(ledger, job)
    assert ledger.mark(job.key) is None
    assert ledger.counts().shards == 0
