"""The producer's side of the queue: entered once, never more than fits, whatever the broker does."""

import shutil
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import redis
from kombu import Connection, Queue
from support.broker import RestartableBroker
from support.jobs import job_of, log_of, waiting
from support.processes import make_rows, open_site

from producer.enqueue.growth import Growth
from producer.enqueue.runs import FileRun
from producer.enqueue.shard import make_shard
from producer.queue.shard_queue import SHARDS_PER_THREAD, ShardQueue
from producer.sources.rows import Row
from unrolled.errors import RequestError, UnrolledError
from unrolled.job.names import Life
from unrolled.job.offer import Offer
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.patience import Patience
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log, append
from unrolled.protocol.opening import create_job, open_job
from unrolled.queue.broker_url import client_url
from unrolled.queue.ledger import Counts
from unrolled.queue.member import Member
from unrolled.queue.messages import TASK, queue_name, transport_options

OFFER = Offer("ab" * 32, "fused", "float32")
OTHER_OFFER = Offer("cd" * 32, "fused", "float32")
JOB_ID = "ab" * 8
TOKENS = 10


@pytest.fixture
def job(tmp_path):
    return create_job(tmp_path / "out", job_of())


@pytest.fixture
def queue(broker):
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience([].append))) as found:
        yield found


def cuts(count):
    """The cuts of an input: some shards of ten tokens each."""
    for index in range(count):
        row = Row("in.txt", index, f"#{index}", np.full(TOKENS, index + 1, np.int32))
        yield lambda place, growth, row=row: make_shard(place, JOB_ID, [row], growth)


def fill(queue, job, shards):
    """Read an input of some shards and queue them; return how many were sent."""
    ledger = queue.of_job(job)
    run = FileRun(job.objects, ledger, lambda *_: None, Growth(job))
    run.begin()
    run.run(cuts(shards) if isinstance(shards, int) else shards)
    return ledger.sent


def held(queue, job):
    """The shards of a job that its ledger holds."""
    return sorted(life.shard for life in queue.ledger.members(job.key)[0])


def beside(action, *arguments):
    """Run an action in a thread that can't outlive the test."""
    thread = threading.Thread(target=action, args=arguments, daemon=True)
    thread.start()
    return thread


def received(url, namespace="unrolled", offer=OFFER):
    """The messages in the queue, taken and acknowledged, the oldest first: (task, arguments)."""
    found = []
    with Connection(url, transport_options=transport_options(namespace)) as connection:
        queue = Queue(queue_name(offer))(connection.default_channel)
        while message := queue.get(accept=["json"]):
            found.append((message.headers["task"], message.payload[0]))
            message.ack()
    return found


def first_life(job):
    """The one shard of a job, as the queue names it."""
    (shard,) = waiting(job)
    return Member(job.key, Life(shard, 0))


def eventually(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_worker_says_of_a_place_that_the_job_has_left_is_no_obstacle(queue, job):
    """The run that has moved it has told the workers; to bring the directory back would undo that."""
    fill(queue, job, 1)
    trouble = f"cannot read {job.place}/_unrolled/job.json: bring the directory back"
    facts = {
        "offer": str(OFFER),
        "lease_seconds": 30,
        "troubles": [[job.key, trouble], [job.key, f"{job.place}2 is full"]],
    }
    queue.ledger.beat("host-1", facts)
    assert "bring the directory back" in queue.of_job(job).obstacles()[0]
    old = Path(job.place)
    moved = open_job(old.rename(old.with_name(f"{old.name}2")))
    jobs = queue.of_job(moved)
    jobs.claim_place()
    assert jobs.obstacles() == [f"{moved.place} is full (worker host-1)"]


def test_what_redis_knows_of_a_longer_log_is_replaced(queue, job, tmp_path):
    """The directory was restored from an older copy, and what comes next gets the numbers of what was lost."""
    fill(queue, job, 1)
    kept = held(queue, job)
    copy = shutil.copytree(job.place, tmp_path / "copy")
    left = [Segment("cancel"), Segment("resume")]
    append(Log(), job.objects, lambda _: left.pop(0) if left else None)
    lost, mark = Member(job.key, Life(ShardId(9, "ab" * 6), 0)), queue.ledger.mark(job.key)
    queue.ledger.enter(job.key, job.place, mark, [(lost, TOKENS)], log_of(job).length)
    assert len(held(queue, job)) == 2
    shutil.rmtree(job.place)
    shutil.copytree(copy, job.place)
    jobs = queue.of_job(job)
    jobs.claim_place()
    assert held(queue, job) == kept
    assert jobs.sent == 1
    jobs.claim_place()
    assert jobs.sent == 1


def test_a_stopped_job_leaves_only_what_is_its_own(queue, job):
    """What the broker knows of a job whose mark it has lost, and nothing of a copy that has taken over."""
    fill(queue, job, 1)
    ledger = queue.of_job(job)
    keys, client = queue.ledger.keys, queue.ledger.client
    ledger.leave()
    assert queue.ledger.mark(job.key) is not None, "the decision itself takes it out"
    client.delete(keys.ledger)
    own = client.hget(keys.jobs, job.key)
    client.hset(keys.jobs, job.key, own.replace(job.address.encode(), b"/the/copy"))
    ledger.leave()
    assert queue.ledger.place_of(job.key) == "/the/copy"
    client.hset(keys.jobs, job.key, own)
    ledger.leave()
    assert queue.ledger.place_of(job.key) is None


def test_obstacles(queue, job):
    """No worker offers what a waiting job needs; where no shard waits, or the broker is away, nothing is said."""
    seen = queue.of_job(job)
    assert seen.obstacles() == []
    fill(queue, job, 1)
    (line,) = seen.obstacles()
    assert line.startswith(
        f"no worker offers what this job asks for, {OFFER.describe()} (none is alive; one that starts, or connects "
        "again, needs some seconds); start one"
    )
    away = ShardQueue("redis://127.0.0.1:1/0", "unrolled", OFFER, Patience([].append))
    with closing(away):
        assert away.of_job(job).obstacles() == []


def test_a_shard_is_entered_once(broker, queue, job):
    """It is in the ledger with its tokens and its job's place, and one message says so, with no path in it."""
    assert fill(queue, job, 1) == 1
    assert fill(queue, job, 1) == 0
    assert queue.ledger.counts() == Counts(1, 0, TOKENS)
    assert queue.ledger.place_of(job.key) == job.place
    assert queue.ledger.mark(job.key) == log_of(job).length
    assert queue.ledger.client.llen(f"unrolled:{queue_name(OFFER)}") == 1
    assert received(broker.url) == [(TASK, [job.key, f"{waiting(job)[0]}.0"])]


def test_two_producers_at_once(broker, job):
    """Two producers that read the same input at once queue every shard once."""
    sent = []

    def produce():
        with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(print))) as queue:
            sent.append(fill(queue, job, 200))

    threads = [beside(produce) for _ in range(2)]
    for thread in threads:
        thread.join(60)
    assert sum(sent) == 200
    assert list(log_of(job).inputs) == waiting(job)
    found = [tuple(arguments) for _, arguments in received(broker.url)]
    assert sorted(found) == [(job.key, f"{shard}.0") for shard in waiting(job)]


def test_every_key_has_the_prefix(broker, job):
    """Neither the ledger's keys nor kombu's own, unfinished messages included, are outside the prefix."""
    seen = set()
    with closing(ShardQueue(broker.url, "mine", OFFER, Patience(print))) as queue:
        fill(queue, job, 1)
        queue.ledger.claim(first_life(job), "one")
        queue.ledger.beat("one", {})
        queue.ledger.sweep()
        options = transport_options("mine")
        with Connection(broker.url, transport_options=options) as connection:
            bound = Queue(queue_name(OFFER))(connection.default_channel)
            message = bound.get(accept=["json"])
            seen |= set(queue.ledger.client.keys("*"))
            message.ack()
    assert b"mine:unacked" in seen
    assert {name for name in seen if not name.startswith(b"mine:")} == set()


def test_every_key_of_a_worker_has_the_prefix(broker_url, tmp_path):
    """A real worker's keys and channels, its remote control's included, are under the prefix, at work and after."""
    with open_site(tmp_path, broker_url) as site:
        worker = site.worker(site.with_plan(gate=str(site.gate))).wait_ready()
        job = site.enqueue(make_rows(4))
        eventually(lambda: site.ledger.counts().running)
        client, prefix = site.ledger.client, site.ledger._namespace.encode() + b":"
        names = set(client.keys("*")) | set(client.pubsub_channels("*"))
        site.gate.touch()
        site.wait_done(job)
        worker.signal(signal.SIGTERM)
        worker.wait()
        names |= set(client.keys("*"))
    assert prefix + b"unacked" in names
    assert {name for name in names if not name.startswith(prefix)} == set()


def test_namespaces_and_offers_apart(broker, tmp_path):
    """Two namespaces, two models and two arithmetics on one server never see each other's shards or messages."""
    rounded = Offer(OFFER.fingerprint, "fused", "bfloat16")
    spaces = [("one", OFFER), ("two", OFFER), ("one", OTHER_OFFER), ("one", rounded)]
    expected = []
    for number, (namespace, offer) in enumerate(spaces):
        job = create_job(tmp_path / str(number), job_of())
        with closing(ShardQueue(broker.url, namespace, offer, Patience(print))) as queue:
            fill(queue, job, 1)
            assert queue.ledger.counts() == Counts(1, 0, TOKENS)
        expected.append([(TASK, first_life(job).encode())])
    assert [received(broker.url, *space) for space in spaces] == expected


def test_a_full_queue_is_waited_for(broker, job):
    """Of a job whose queue another job has filled, one shard is queued, so that it has its turn; the others wait."""
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(print), max_queued_tokens=2 * TOKENS)) as queue:
        other = Member("0" * 16, Life(ShardId(0, "0123456789ab"), 0))
        queue.ledger.enter(other.job_key, "/other", None, [(other, 2 * TOKENS)], 1)
        producer = beside(fill, queue, job, 5)
        eventually(lambda: held(queue, job))
        producer.join(0.4)
        assert producer.is_alive()
        assert len(held(queue, job)) == 1
        queue.ledger.remove(Member(job.key, Life(held(queue, job)[0], 0)))
        eventually(lambda: held(queue, job))
        assert queue.ledger.counts().tokens == 3 * TOKENS
        queue.ledger.remove(other)
        while producer.is_alive():
            for shard in held(queue, job):
                queue.ledger.remove(Member(job.key, Life(shard, 0)))
    assert len(log_of(job).inputs) == 5


def test_a_job_beside_others_has_room_for_its_turns(broker, job):
    """Three shards for each thread of the workers, whatever other jobs have queued; a job alone keeps to the limit."""
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(print), max_queued_tokens=2 * TOKENS)) as queue:
        queue.ledger.beat("host", {"concurrency": 2})
        producer = beside(fill, queue, job, 20)
        eventually(lambda: len(held(queue, job)) >= 2)
        producer.join(0.4)
        assert len(held(queue, job)) <= 3
        other = Member("0" * 16, Life(ShardId(0, "0123456789ab"), 0))
        queue.ledger.enter(other.job_key, "/other", None, [(other, 2 * TOKENS)], 1)
        eventually(lambda: len(held(queue, job)) == 2 * SHARDS_PER_THREAD)
        producer.join(0.4)
        assert len(held(queue, job)) == 2 * SHARDS_PER_THREAD
        while producer.is_alive():
            for shard in held(queue, job):
                queue.ledger.remove(Member(job.key, Life(shard, 0)))
    assert len(log_of(job).inputs) == 20


def test_shards_that_were_cut_take_no_room_from_turns(broker, job, monkeypatch):
    """They are entered once another job has filled the queue, and not when it has room again."""
    monkeypatch.setattr("producer.queue.shard_queue.SEGMENT_SECONDS", 3600.0)
    cut, filled = threading.Event(), threading.Event()

    def some_cuts():
        yield from cuts(9)
        cut.set()
        filled.wait(60)
        yield from list(cuts(11))[9:]

    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(print), max_queued_tokens=20 * TOKENS)) as queue:
        queue.ledger.beat("host", {"concurrency": 2})
        producer = beside(fill, queue, job, some_cuts())
        assert cut.wait(60)
        other = Member("0" * 16, Life(ShardId(0, "0123456789ab"), 0))
        queue.ledger.enter(other.job_key, "/other", None, [(other, 20 * TOKENS)], 1)
        assert len(held(queue, job)) < 2 * SHARDS_PER_THREAD
        filled.set()
        eventually(lambda: len(held(queue, job)) >= 2 * SHARDS_PER_THREAD)
        while producer.is_alive():
            for shard in held(queue, job):
                queue.ledger.remove(Member(job.key, Life(shard, 0)))
    assert len(log_of(job).inputs) == 11


def test_the_time_of_a_wait_is_told_while_it_lasts(broker, job):
    """A figure that stood still for hours, and then jumped, would show nothing of what the producer waits for."""
    waits = []
    with closing(
        ShardQueue(broker.url, "unrolled", OFFER, Patience(print), max_queued_tokens=1, on_wait=waits.append)
    ) as queue:
        other, own = (Member(key, Life(ShardId(0, "0123456789ab"), 0)) for key in ("0" * 16, job.key))
        for each in (other, own):
            queue.ledger.enter(each.job_key, "/out", None, [(each, 7)], 1)
        began, rounds = time.monotonic(), queue.of_job(job).while_full()
        for _ in range(3):
            next(rounds)
        assert len(waits) == 2
        queue.ledger.remove(other)
        queue.ledger.remove(own)
        assert list(rounds) == []
        assert sum(waits) == pytest.approx(time.monotonic() - began, abs=0.1)


def test_shards_that_are_about_to_be_entered_take_room(broker, job, monkeypatch):
    """A segment may be due long after them; the queue gets little more than it may have."""
    monkeypatch.setattr("producer.queue.shard_queue.SEGMENT_SECONDS", 3600.0)
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(print), max_queued_tokens=5 * TOKENS)) as queue:
        producer = beside(fill, queue, job, 40)
        eventually(lambda: queue.ledger.counts().tokens >= 5 * TOKENS)
        most = 0
        while producer.is_alive():
            most = max(most, queue.ledger.counts().tokens)
            for shard in held(queue, job):
                queue.ledger.remove(Member(job.key, Life(shard, 0)))
    assert most <= 7 * TOKENS
    assert len(log_of(job).inputs) == 40


def test_a_full_queue_says_why(broker, job, monkeypatch):
    """After a while, it says what waits, and that there is no worker, as long as there is none."""
    monkeypatch.setattr("producer.queue.shard_queue.FULL_PATIENCE", 0.1)
    said = []
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(said.append), max_queued_tokens=1)) as queue:
        other = Member("0" * 16, Life(ShardId(0, "0123456789ab"), 0))
        queue.ledger.enter(other.job_key, "/other", None, [(other, 7)], 1)
        producer = beside(fill, queue, job, 2)
        eventually(lambda: said)
        queue.ledger.remove(other)
        queue.ledger.remove(Member(job.key, Life(held(queue, job)[0], 0)))
        producer.join(60)
        assert not producer.is_alive()
    assert len(said) == 1
    assert said[0].startswith(
        f"the queue is full: 2 shards of {7 + TOKENS} token ids wait or run, and no worker offers "
    )


def full_queue(broker, job, monkeypatch, said, **options):
    """A queue whose room another job has, and the view of a job that has as many shards as it may in any case."""
    monkeypatch.setattr("producer.queue.shard_queue.FULL_PATIENCE", 0.3)
    queue = ShardQueue(broker.url, "unrolled", OFFER, Patience(said.append), max_queued_tokens=1, **options)
    queue.ledger.enter("0" * 16, "/other", None, [(Member("0" * 16, Life(ShardId(0, "0123456789ab"), 0)), 7)], 1)
    view = queue.of_job(job)
    view.enter(None, [(Life(ShardId(number, "ba9876543210"), 0), 5) for number in range(SHARDS_PER_THREAD)], 1)
    return queue, view.while_full()


def test_a_worker_that_has_just_come_is_one(broker, job, monkeypatch):
    """Workers are counted now and then; what is said of them is true now."""
    said = []
    queue, waits = full_queue(broker, job, monkeypatch, said)
    with closing(queue):
        assert queue.threads() == 0
        queue.ledger.beat("host", {"concurrency": 1})
        while not said:
            next(waits)
    assert said == [
        "the queue is full: 4 shards of 22 token ids wait or run; going on as soon as workers have made room"
    ]


def test_a_full_queue_says_when_the_workers_have_gone_and_come(broker, job, monkeypatch):
    """Whoever waits isn't left with a reason that holds no more."""
    monkeypatch.setattr("producer.queue.shard_queue.WORKERS_PAUSE", 0.1)
    said = []
    queue, waits = full_queue(broker, job, monkeypatch, said)
    with closing(queue):
        for count in (1, 2, 3):
            while len(said) < count:
                next(waits)
            if count == 1:
                queue.ledger.beat("host", {"concurrency": 1})
            else:
                queue.ledger.leave("host")
        for _ in range(5):
            next(waits)
    full = "the queue is full: 4 shards of 22 token ids wait or run"
    none = f"{full}, and no worker offers {OFFER.describe()}; start one, or make room with `unrolled cancel`"
    assert said == [none, f"{full}; going on as soon as workers have made room", none]


def test_a_run_starts_its_own_workers(broker, job, monkeypatch):
    """Nobody has to start one, nor to cancel the job."""
    said = []
    queue, waits = full_queue(broker, job, monkeypatch, said, starts_workers=True)
    with closing(queue):
        while not said:
            next(waits)
    assert said[0].endswith("; going on as soon as the workers of this run have started")


def test_only_workers_of_another_engine_are_alive(broker, monkeypatch):
    """It is said while the input is read, once: the shards would wait in vain."""
    monkeypatch.setattr("producer.queue.shard_queue.WORKERS_PAUSE", 0.0)
    said, other = [], Offer(OFFER.fingerprint, "tensorflow", "float32")
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(said.append))) as queue:
        ledger = queue.broker.ledger("unrolled", OTHER_OFFER)
        ledger.beat("host-0", {})
        assert [queue.threads(), queue.threads(), said] == [0, 0, []]  # of another model: one may come for this one
        queue.broker.ledger("unrolled", other).beat("host-1", {})
        assert [queue.threads(), queue.threads()] == [0, 0]
        queue.ledger.beat("host-2", {"concurrency": 2})
        assert queue.threads() == 2
    (line,) = said
    assert line.startswith(f"no worker offers what this job asks for, {OFFER.describe()} (alive: 1 for ")
    assert line.endswith("with --engine tensorflow --arithmetic float32 and another --out")


def test_a_jobs_priority(queue, job):
    """It is in the ledger from the first shard on."""
    run = FileRun(job.objects, queue.of_job(job, 30), lambda *_: None, Growth(job))
    run.begin()
    run.run(cuts(1))
    assert queue.ledger.client.hget(queue.ledger.keys.priorities, job.key) == b"30"


@pytest.mark.parametrize("keep_data", [True, False])
def test_broker_away(broker, job, keep_data):
    """The producer waits for a broker that is killed midway; once it is back, even empty, no shard is missing."""
    said = []
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(said.append))) as queue:
        queue.of_job(job).mark()  # connected
        broker.kill()
        producer = beside(fill, queue, job, 30)
        producer.join(0.3)
        assert producer.is_alive()
        broker.restart(keep_data=keep_data)
        producer.join(30)
        assert not producer.is_alive()
        assert held(queue, job) == waiting(job)
        assert queue.ledger.counts() == Counts(30, 0, 30 * TOKENS)
    assert any("is away" in line and line.endswith("trying again until it works") for line in said)
    assert any(line.startswith("can reach the broker again, after ") for line in said)


def test_killed_again_and_again(broker, job, monkeypatch):
    """Kills at any moment, data kept and lost in turn, leave every shard in the ledger, once."""
    monkeypatch.setattr("producer.queue.shard_queue.SEGMENT_SECONDS", 0.0)
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(print))) as queue:
        producer = beside(fill, queue, job, 100)
        for kill in range(4):
            goal = 20 * (kill + 1)
            eventually(lambda goal=goal: len(waiting(job)) > goal)
            broker.kill()
            broker.restart(keep_data=kill % 2 == 0)
        producer.join(60)
        assert not producer.is_alive()
        assert held(queue, job) == waiting(job)
        assert queue.ledger.counts() == Counts(100, 0, 100 * TOKENS)


def test_emptied_behind_the_back(broker, queue, job, monkeypatch):
    """A server that was emptied between two segments gets the earlier shards back, too."""
    monkeypatch.setattr("producer.queue.shard_queue.SEGMENT_SECONDS", 0.0)

    def shards():
        for index, make in enumerate(cuts(4)):
            if index == 2:
                assert len(held(queue, job)) == 1  # the last one that was made might be the input's last
                queue.ledger.client.flushall()
            yield make

    assert fill(queue, job, shards()) == 5
    assert held(queue, job) == waiting(job)
    found = sorted(arguments for _, arguments in received(broker.url))
    assert found == [[job.key, f"{shard}.0"] for shard in waiting(job)]


def test_a_server_that_went_back(queue, job):
    """A ledger that lost its last second, with a shard and its mark, gets back what it has lost."""
    ledger = queue.ledger
    fill(queue, job, 3)
    mark, last = ledger.mark(job.key), held(queue, job)[-1]
    ledger.remove(Member(job.key, Life(last, 0)))
    ledger.client.zadd(ledger.keys.ledger, {job.key: 0})  # as it was before the first segment
    assert fill(queue, job, 3) == 1
    assert held(queue, job) == waiting(job)
    assert ledger.mark(job.key) == mark


def test_many_times_what_fits_in_a_segment(queue, job, monkeypatch):
    """Segments are bounded, and the ledger gets every one of them."""
    monkeypatch.setattr("producer.enqueue.runs.MOST_ENTRIES", 7)
    assert fill(queue, job, 50) == 50
    assert log_of(job).length >= 50 // 7
    assert held(queue, job) == waiting(job)


def test_entered_by_another(queue, job):
    """Segments of another process are entered, too."""
    shard = make_shard(0, JOB_ID, [Row("in.txt", 0, "#0", np.full(TOKENS, 1, np.int32))])
    left = [Segment("shards", (shard.entry,))]
    append(log_of(job), job.objects, lambda _: left.pop() if left else None)
    ledger = queue.of_job(job)
    update_ledger(log_of(job), job.objects, ledger)
    assert ledger.sent == 1
    assert held(queue, job) == [shard.entry.shard]


def test_memory_stays_flat(broker, job):
    """However long the job, the server holds the shards that wait and nothing of those that are done."""
    with closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(print), 20 * TOKENS)) as queue:
        queue.ledger.client.config_set("appendfsync", "no")
        used = []
        for first in range(0, 600, 20):
            mark = queue.ledger.mark(job.key)
            members = [
                (Member(job.key, Life(ShardId(index, "0123456789ab"), 0)), TOKENS) for index in range(first, first + 20)
            ]
            for member in queue.ledger.enter(job.key, job.place, mark, members, first + 1):
                queue.send(member)
            for member, _ in members:
                queue.ledger.client.brpop(f"unrolled:{queue_name(OFFER)}", 10)
                queue.ledger.claim(member, "one")
                queue.ledger.remove(member)
                used.append(queue.ledger.client.info("memory")["used_memory_dataset"])
    assert len(used) == 600
    assert max(used[-100:]) < max(used[:100]) + 50_000


@pytest.fixture
def guarded(broker):
    """A server that wants a password, and a client that has it."""
    with redis.Redis.from_url(client_url(broker.url)) as admin:
        admin.execute_command("ACL", "SETUSER", "producer", "on", ">s3cr3t", "+@all", "~*", "&*")
        admin.config_set("requirepass", "hidden")
        yield admin


def url_of(broker, user, password):
    return broker.url.replace("redis+socket://", f"redis+socket://{user}:{password}@")


def assert_refused(broker, job, user, password, what, advised="in --broker, and that user's permissions"):
    said = []
    queue = ShardQueue(url_of(broker, user, password), "unrolled", OFFER, Patience(said.append))
    with closing(queue), pytest.raises(UnrolledError) as caught:
        fill(queue, job, 1)
    text = str(caught.value)
    assert what in text
    assert "refuses" in text
    assert advised in text
    assert password not in text
    assert said == []


@pytest.mark.parametrize(("user", "password"), [("producer", "wr0ng"), ("", "wr0ng"), ("nobody", "s3cr3t")])
@pytest.mark.usefixtures("guarded")
def test_wrong_password(broker, job, user, password):
    """A refused login is an error at once, and its text contains no password."""
    assert_refused(broker, job, user, password, "invalid username-password pair")


@pytest.mark.parametrize(
    "denied",
    [["-hget"], ["-evalsha", "-eval"], ["-zadd"], ["-lpush"], ["-@all", "+auth", "+hello"]],
    ids=" ".join,
)
def test_no_permission(broker, guarded, job, denied):
    """A user without a producer's permissions gets an error at once, wherever the server notices."""
    guarded.execute_command("ACL", "SETUSER", "producer", *denied)
    assert_refused(broker, job, "producer", "s3cr3t", "permission")


def test_keys_of_others(broker, guarded, job):
    """A user with permissions for another namespace gets an error at once."""
    guarded.execute_command("ACL", "SETUSER", "producer", "resetkeys", "~other:*")
    assert_refused(broker, job, "producer", "s3cr3t", "may not use the keys of this namespace", "check --namespace")


def test_no_such_database(job):
    """A database that the server doesn't have is an error at once."""
    with (
        RestartableBroker(port=0) as broker,
        closing(ShardQueue(broker.url.removesuffix("/0") + "/99", "unrolled", OFFER, Patience(print))) as queue,
        pytest.raises(UnrolledError, match=r"refuses: it has no database with the number in the URL"),
    ):
        fill(queue, job, 1)


def test_tcp_and_socket(tmp_path):
    """Both kinds of address work from end to end."""
    for number, broker in enumerate((RestartableBroker(port=0), RestartableBroker())):
        job = create_job(tmp_path / str(number), job_of())
        with broker, closing(ShardQueue(broker.url, "unrolled", OFFER, Patience(print))) as queue:
            assert fill(queue, job, 1) == 1
            assert received(broker.url) == [(TASK, first_life(job).encode())]


def test_other_brokers():
    """A broker of another kind is refused before anything is connected, its password left out."""
    with pytest.raises(RequestError, match=r"amqp://guest:\*\*\*@localhost") as caught:
        ShardQueue("amqp://guest:hunter2@localhost//", "unrolled", OFFER, Patience(print))
    assert "hunter2" not in str(caught.value)
