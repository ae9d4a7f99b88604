"""The producer's side of the queue: entered once, never more than fits, whatever the broker does."""

import signal
import threading
import time
from contextlib import closing

import numpy as np
import pytest
import redis
from kombu import Connection, Queue
from support.broker import RestartableBroker
from support.processes import make_rows, open_site

from producer.enqueue.shard import make_shard
from producer.queue.shard_queue import ShardQueue
from producer.rows import Row
from unrolled.errors import RequestError, UnrolledError
from unrolled.job.directory import create_job
from unrolled.job.job import Job
from unrolled.job.manifest import ManifestWriter
from unrolled.job.shard_id import ShardId
from unrolled.patience import Patience
from unrolled.queue.broker_url import client_url
from unrolled.queue.ledger import Counts
from unrolled.queue.member import Member
from unrolled.queue.messages import TASK, queue_name, transport_options

MODEL = "ab" * 32
TOKENS = 10


@pytest.fixture
def directory(tmp_path):
    return create_job(tmp_path / "out", Job(MODEL, ("in.txt",), {}))


@pytest.fixture
def queue(broker, directory):
    with closing(ShardQueue(directory, broker.url, "unrolled", Patience([].append))) as found:
        yield found


def cut(directory, count, first=0):
    """So many shards of ten tokens, spooled and in the manifest; their ids."""
    manifest = ManifestWriter(directory.path)
    found = []
    for index in range(first, first + count):
        shard = make_shard(index, [Row("in.txt", index, f"#{index}", np.full(TOKENS, index + 1, np.int32))])
        directory.spool(shard.id, shard.blob, shard.bad_rows)
        manifest.append(shard.entry)
        found.append(shard.id)
    manifest.close()
    return found


def new(directory, first, count):
    """Cut this many shards more, one after the other, as a producer does."""
    for index in range(first, first + count):
        yield cut(directory, 1, index)[0], TOKENS


def fill(queue, shards):
    """Bring shards to the queue; how many were entered."""
    return sum(queue.fill(shards))


def beside(action, *arguments):
    """Run an action in a thread that can't outlive the test."""
    thread = threading.Thread(target=action, args=arguments, daemon=True)
    thread.start()
    return thread


def received(url, namespace="unrolled", model=MODEL):
    """The messages in the queue, taken and acknowledged, the oldest first: (task, arguments)."""
    found = []
    with Connection(url, transport_options=transport_options(namespace)) as connection:
        queue = Queue(queue_name(model))(connection.default_channel)
        while message := queue.get(accept=["json"]):
            found.append((message.headers["task"], message.payload[0]))
            message.ack()
    return found


def eventually(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_shard_is_entered_once(broker, queue, directory):
    """It is in the ledger with its tokens and its job, and one message says so, with no path in it."""
    assert fill(queue, new(directory, 0, 1)) == 1
    (shard,) = directory.waiting()
    assert fill(queue, [(shard, TOKENS)]) == 0
    assert queue.ledger.counts() == Counts(1, 0, TOKENS)
    assert queue.ledger.job_directory(directory.key) == str(directory.path)
    assert queue.ledger.knows(directory.key)
    assert queue.ledger.client.llen(f"unrolled:{queue_name(MODEL)}") == 1
    assert received(broker.url) == [(TASK, [directory.key, str(shard)])]


def test_every_key_has_the_prefix(broker, directory):
    """Neither the ledger's keys nor kombu's own, unfinished messages included, are outside the prefix."""
    seen = set()
    with closing(ShardQueue(directory, broker.url, "mine", Patience(print))) as queue:
        fill(queue, new(directory, 0, 1))
        queue.ledger.claim(Member(directory.key, *directory.waiting()), "one")
        queue.ledger.beat("one", {})
        queue.ledger.sweep()
        options = transport_options("mine")
        with Connection(broker.url, transport_options=options) as connection:
            bound = Queue(queue_name(MODEL))(connection.default_channel)
            message = bound.get(accept=["json"])
            seen |= set(queue.ledger.client.keys("*"))
            message.ack()
    assert b"mine:unacked" in seen
    assert {name for name in seen if not name.startswith(b"mine:")} == set()


def test_every_key_of_a_worker_has_the_prefix(broker_url, tmp_path):
    """A real worker's keys and channels, its remote control's included, are under the prefix, at work and after."""
    with open_site(tmp_path, broker_url) as site:
        worker = site.worker(site.with_plan(gate=str(site.gate))).wait_ready()
        directory = site.enqueue(make_rows(4))
        eventually(lambda: site.ledger.counts().running)
        client, prefix = site.ledger.client, site.ledger._namespace.encode() + b":"
        names = set(client.keys("*")) | set(client.pubsub_channels("*"))
        site.gate.touch()
        site.wait_done(directory)
        worker.signal(signal.SIGTERM)
        worker.wait()
        names |= set(client.keys("*"))
    assert prefix + b"unacked" in names
    assert {name for name in names if not name.startswith(prefix)} == set()


def test_namespaces_and_models_apart(broker, tmp_path):
    """Two namespaces and two models on one server never see each other's shards or messages."""
    spaces = [("one", MODEL), ("two", MODEL), ("one", "cd" * 32)]
    expected = []
    for number, (namespace, model) in enumerate(spaces):
        directory = create_job(tmp_path / str(number), Job(model, ("in.txt",), {}))
        with closing(ShardQueue(directory, broker.url, namespace, Patience(print))) as queue:
            fill(queue, new(directory, 0, 1))
            assert queue.ledger.counts() == Counts(1, 0, TOKENS)
        expected.append([(TASK, [directory.key, *map(str, directory.waiting())])])
    assert [received(broker.url, *space) for space in spaces] == expected


def test_backpressure(broker, directory):
    """With the bound reached, a shard waits until tokens leave the ledger, and then goes at once."""
    with closing(ShardQueue(directory, broker.url, "unrolled", Patience(print), max_queued_tokens=3 * TOKENS)) as queue:
        producer = beside(fill, queue, new(directory, 0, 5))
        eventually(lambda: queue.ledger.counts().shards == 3)
        for shard in sorted(directory.waiting())[:2]:
            producer.join(0.4)
            assert producer.is_alive()
            assert queue.ledger.counts().tokens == 3 * TOKENS
            directory.part(shard).touch()
            queue.ledger.remove(Member(directory.key, shard))
            eventually(lambda: queue.ledger.counts().shards == 3)
        producer.join(20)
        assert not producer.is_alive()
        ids = {shard.index for shard in queue.ledger.members(directory.key)[0]}
        assert ids == {2, 3, 4}


def test_a_new_job_enters_a_full_queue(broker, directory):
    """A bound that an earlier job has reached, or that is below any shard, still lets a first shard in."""
    with closing(ShardQueue(directory, broker.url, "unrolled", Patience(print), max_queued_tokens=1)) as queue:
        queue.ledger.enter(Member("0" * 16, ShardId(0, "0123456789ab")), 100, "/other")
        assert fill(queue, new(directory, 0, 1)) == 1


@pytest.mark.parametrize("keep_data", [True, False])
def test_broker_away(broker, directory, keep_data):
    """A broker that is killed midway is waited for; when it comes back, even empty, no shard is missing."""
    said = []
    with closing(ShardQueue(directory, broker.url, "unrolled", Patience(said.append))) as queue:
        fill(queue, new(directory, 0, 10))
        broker.kill()
        producer = beside(fill, queue, new(directory, 10, 20))
        producer.join(0.3)
        assert producer.is_alive()
        broker.restart(keep_data=keep_data)
        producer.join(30)
        assert not producer.is_alive()
        assert queue.ledger.members(directory.key)[0] == directory.waiting()
        assert queue.ledger.counts() == Counts(30, 0, 30 * TOKENS)
        assert queue.ledger.knows(directory.key)
    assert any("is away" in line and line.endswith("trying again until it works") for line in said)
    assert any(line.startswith("can queue shards again, after ") for line in said)


def test_killed_again_and_again(broker, directory):
    """Kills at any moment, data kept and lost in turn, leave every shard in the ledger, once."""
    with closing(ShardQueue(directory, broker.url, "unrolled", Patience(print))) as queue:
        producer = beside(fill, queue, new(directory, 0, 100))
        for kill in range(4):
            goal = 20 * (kill + 1)
            eventually(lambda goal=goal: len(directory.waiting()) > goal)
            broker.kill()
            broker.restart(keep_data=kill % 2 == 0)
        producer.join(60)
        assert not producer.is_alive()
        assert queue.ledger.members(directory.key)[0] == directory.waiting()
        assert queue.ledger.counts() == Counts(100, 0, 100 * TOKENS)


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_lost_between_two_puts(broker, queue, directory, monkeypatch, seconds):
    """A server that was emptied between two shards gets the earlier ones back, with the next or at the end."""
    monkeypatch.setattr("producer.queue.shard_queue.LOOK_PAUSE", seconds)

    def shards():
        yield from new(directory, 0, 2)
        queue.ledger.client.flushall()
        yield from new(directory, 2, 2)
        assert len(queue.ledger.members(directory.key)[0]) == (2 if seconds else 4)

    fill(queue, shards())
    shards = sorted(directory.waiting())
    assert queue.ledger.members(directory.key)[0] == set(shards)
    assert sorted(arguments[1] for _, arguments in received(broker.url)) == [str(shard) for shard in shards]


def test_memory_stays_flat(broker, tmp_path):
    """However long the job, the server holds the shards that wait and nothing of those that are done."""
    directory = create_job(tmp_path / "out", Job(MODEL, ("in.txt",), {}))
    with closing(ShardQueue(directory, broker.url, "unrolled", Patience(print), 20 * TOKENS)) as queue:
        queue.ledger.client.config_set("appendfsync", "no")
        (directory.path / "_manifest.jsonl").write_text("")
        shards = [ShardId(index, "0123456789ab") for index in range(600)]
        used = []
        producer = beside(fill, queue, [(shard, TOKENS) for shard in shards])
        while producer.is_alive() or queue.ledger.counts().shards:
            for shard in queue.ledger.members(directory.key)[0]:
                queue.ledger.client.brpop(f"unrolled:{queue_name(MODEL)}", 10)
                queue.ledger.claim(Member(directory.key, shard), "one")
                queue.ledger.remove(Member(directory.key, shard))
                used.append(queue.ledger.client.info("memory")["used_memory_dataset"])
        producer.join()
    assert len(used) == len(shards)
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


def assert_refused(broker, directory, user, password, what):
    (shard,) = cut(directory, 1)
    said = []
    with closing(ShardQueue(directory, url_of(broker, user, password), "unrolled", Patience(said.append))) as queue:
        began = time.monotonic()
        with pytest.raises(UnrolledError) as caught:
            fill(queue, [(shard, TOKENS)])
    assert time.monotonic() - began < 5
    text = str(caught.value)
    assert what in text
    assert "refuses" in text
    assert "in --broker, and that user's permissions" in text
    assert password not in text
    assert said == []


@pytest.mark.parametrize(("user", "password"), [("producer", "wr0ng"), ("", "wr0ng"), ("nobody", "s3cr3t")])
@pytest.mark.usefixtures("guarded")
def test_wrong_password(broker, directory, user, password):
    """A login that is refused is an error at once, and its text shows no password."""
    assert_refused(broker, directory, user, password, "invalid username-password pair")


@pytest.mark.parametrize(
    "denied",
    [["-info"], ["-hget"], ["-evalsha", "-eval"], ["-zadd"], ["-lpush"], ["-@all", "+auth", "+hello"]],
    ids=" ".join,
)
def test_no_permission(broker, guarded, directory, denied):
    """A user who may not do what a producer does gets an error at once, whichever command is denied."""
    guarded.execute_command("ACL", "SETUSER", "producer", *denied)
    assert_refused(broker, directory, "producer", "s3cr3t", "permission")


def test_keys_of_others(broker, guarded, directory):
    """A user whose keys are another namespace's gets an error at once."""
    guarded.execute_command("ACL", "SETUSER", "producer", "resetkeys", "~other:*")
    assert_refused(broker, directory, "producer", "s3cr3t", "permission")


def test_no_such_database(directory):
    """A database that the server doesn't have is an error at once."""
    (shard,) = cut(directory, 1)
    with (
        RestartableBroker(port=0) as broker,
        closing(ShardQueue(directory, broker.url.removesuffix("/0") + "/99", "unrolled", Patience(print))) as queue,
        pytest.raises(UnrolledError, match=r"refuses: .*DB index is out of range"),
    ):
        fill(queue, [(shard, TOKENS)])


def test_tcp_and_socket(directory):
    """Both kinds of address work from end to end."""
    (shard,) = cut(directory, 1)
    for broker in (RestartableBroker(port=0), RestartableBroker()):
        with broker, closing(ShardQueue(directory, broker.url, "unrolled", Patience(print))) as queue:
            assert fill(queue, [(shard, TOKENS)]) == 1
            assert received(broker.url) == [(TASK, [directory.key, str(shard)])]


def test_other_brokers(directory):
    """A broker of another kind is refused before anything is connected, its password left out."""
    with pytest.raises(RequestError, match=r"amqp://guest:\*\*\*@localhost") as caught:
        ShardQueue(directory, "amqp://guest:hunter2@localhost//", "unrolled", Patience(print))
    assert "hunter2" not in str(caught.value)
