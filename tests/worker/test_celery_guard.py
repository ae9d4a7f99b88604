"""Messages that this product doesn't send: every worker survives each of them."""

import base64
import json
import logging
import os
import pickle
import signal
import threading
import zlib
from types import SimpleNamespace

import pytest
import redis
from celery import Celery, signals
from celery.exceptions import WorkerShutdown
from celery.worker import state
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection, Consumer, Queue
from kombu.transport.redis import QoS
from kombu.transport.virtual import Message
from support.processes import check_outputs, eventually, make_rows, open_site

from unrolled.errors import PayloadError
from unrolled.process import signals as process_signals
from unrolled.process.signals import Echoes
from unrolled.queue.broker import Broker
from unrolled.queue.broker_url import celery_url
from unrolled.queue.messages import TASK, transport_options
from worker import celery_guard
from worker.celery_guard import KEPT_MESSAGES, MAX_BODY_BYTES, REFUSED, GuardedTransport, check_hint

JOB, LIFE = "0123456789abcdef", "000000-0123456789ab.0"
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def envelope(body, *, headers=None, content_type="application/json", properties=None, **others):
    """A list entry as kombu writes it, with some things changed."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": {
            "lang": "py",
            "task": TASK,
            "id": "some-id",
            "timelimit": [None, None],
            **(headers or {}),
        },
        "properties": {
            "correlation_id": "c",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "q"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "some-tag",
            **(properties or {}),
        },
        **others,
    }


def hint(**changes):
    return envelope([[JOB, LIFE], {}, EMBED], **changes)


class Bomb:
    def __reduce__(self):
        return (open, ("/tmp/pickle-was-run", "w"))


HOSTILE = {
    "not JSON": b"hello",
    "no text": b"\xff\xfe\x00",
    "empty": b"",
    "a number": b"12",
    "null": b"null",
    "a list": b"[]",
    "no properties": b"{}",
    "properties are a list": json.dumps({**hint(), "properties": []}).encode(),
    "no delivery tag": json.dumps({**hint(), "properties": {"body_encoding": "base64"}}).encode(),
    "delivery tag is a list": hint(properties={"delivery_tag": [1]}),
    "delivery tag is an object": hint(properties={"delivery_tag": {"a": 1}}),
    "no delivery info": hint(properties={"delivery_info": None}),
    "bad base64": {**hint(), "body": "!!!"},
    "body is an object": {**hint(), "body": {"x": 1}},
    "body is a number": {**hint(), "body": 7},
    "body is missing": {key: value for key, value in hint().items() if key != "body"},
    "body encoding is unknown": hint(properties={"body_encoding": "rot13"}),
    "pickle": envelope(pickle.dumps(Bomb()), content_type="application/x-python-serialize"),
    "yaml": envelope(b"!!python/object/apply:os.getcwd []", content_type="application/x-yaml"),
    "content type is an object": hint(content_type={}),
    "content encoding is unknown": envelope(b"\xff", **{"content-encoding": "klingon"}),
    "zlib bomb": envelope(zlib.compress(bytes(300_000_000)), headers={"compression": "application/x-gzip"}),
    "unknown compression": hint(headers={"compression": "application/x-nothing"}),
    "headers are missing": {key: value for key, value in hint().items() if key != "headers"},
    "headers are a list": {**hint(), "headers": ["task"]},
    "unknown task": hint(headers={"task": "os.system"}),
    "task is a list": hint(headers={"task": [TASK]}),
    "task is missing": {**hint(), "headers": {}},
    "old protocol": envelope({"task": TASK, "id": "i", "args": [JOB, LIFE], "kwargs": {}}) | {"headers": {}},
    "message id is a list": hint(headers={"id": ["x"]}),
    "message id is missing": hint(headers={"id": None}),
    "deep entry": b"[" * 100_000,
    "deep body": envelope(b"[" * 100_000 + b"]" * 100_000),
    "small deep body": envelope(b"[" * 2_000 + b"]" * 2_000),
    "args are an object": envelope({"x": 1}),
    "args are a string": envelope("abc"),
    "no embed": envelope([[JOB, LIFE], {}]),
    "a shard without a life": envelope([[JOB, LIFE.removesuffix(".0")], {}, EMBED]),
    "a life without an end": envelope([[JOB, LIFE + "0" * 3_000], {}, EMBED]),
    "a job alone": envelope([[JOB], {}, EMBED]),
    "three args": envelope([[JOB, LIFE, "x"], {}, EMBED]),
    "numbers": envelope([[1e300, -5], {}, EMBED]),
    "a path": envelope([["../../../../etc", "../passwd"], {}, EMBED]),
    "a path in place of the shard": envelope([[JOB, "../../../etc/passwd"], {}, EMBED]),
    "keyword arguments": envelope([[JOB, LIFE], {"x": 1}, EMBED]),
    "a callback": envelope([[JOB, LIFE], {}, {**EMBED, "callbacks": [{"task": "x", "args": [], "kwargs": {}}]}]),
    "a chain": envelope([[JOB, LIFE], {}, {**EMBED, "chain": [{"task": "x", "args": [], "kwargs": {}}]}]),
    "a chord": envelope([[JOB, LIFE], {}, {**EMBED, "chord": {"task": "x"}}]),
    "bad eta": hint(headers={"eta": "yesterday"}),
    "eta in a million years": hint(headers={"eta": "9999-12-31T23:59:59"}),
    "eta is an object": hint(headers={"eta": {}, "expires": {}, "id": {}}),
    "bad expires": hint(headers={"expires": "x"}),
    "garbage time limit": hint(headers={"timelimit": "soon"}),
    "time limits of letters": hint(headers={"timelimit": ["a", "b"]}),
    "group": hint(headers={"group": "g"}),
    "stamps": hint(headers={"stamped_headers": ["x"], "stamps": {"x": 1}}),
    "a million characters": envelope([[JOB, "x" * 1_000_000], {}, EMBED]),
    **{
        name: envelope([[], {}, EMBED], headers={"task": name})
        for name in (
            "celery.chord_unlock",
            "celery.chord",
            "celery.group",
            "celery.map",
            "celery.backend_cleanup",
        )
    },
    "celery.map of ours": envelope([[{"task": TASK}, [[JOB, LIFE]]], {}, EMBED], headers={"task": "celery.map"}),
}


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


def test_a_worker_survives_every_hostile_entry(site):
    """One worker meets them all; memory stays bounded, nothing is run or sent, and a job completes after each dozen."""
    worker = site.worker().wait_ready()
    site.wait_done(site.enqueue(make_rows(4), name="before"))
    resident = worker.resident_bytes
    client = site.ledger.client
    for entry in HOSTILE.values():
        client.lpush(site.queue_key, entry if isinstance(entry, bytes) else json.dumps(entry))
    rows = make_rows(10)
    job = site.enqueue(rows, name="after")
    site.wait_done(job)
    check_outputs(job, rows)
    assert worker.alive
    assert worker.resident_bytes < resident + 60 * 2**20
    assert worker.log.count(" ready.") == 1
    assert "Traceback" not in worker.log
    refusals = [line for line in worker.log.splitlines() if "message refused" in line or "is no message" in line]
    assert len(refusals) == len(HOSTILE)
    assert max(map(len, refusals)) < 400
    kept = client.lrange(f"test:{REFUSED}", 0, -1)
    assert len(kept) == len(HOSTILE)
    assert max(map(len, kept)) < 20_000
    assert b"".join(kept).isascii()
    found = [json.loads(entry) for entry in kept]
    assert all(one["why"] for one in found)
    # What can't be read as JSON is kept as it came.
    assert {repr(HOSTILE["not JSON"]), repr(HOSTILE["no text"]), repr(b"")} <= {one["message"] for one in found}
    expected = {site.queue_key.encode(), b"test:unacked", b"test:unacked_index"}
    assert {key for key in client.keys("*") if client.type(key) == b"list"} <= expected | {f"test:{REFUSED}".encode()}
    eventually(lambda: client.hlen("test:unacked") == 0, "every message acknowledged")


def test_the_list_of_refused_messages_is_bounded(site):
    """However many arrive, the list holds the latest thousand, under the namespace."""
    client = site.ledger.client
    client.lpush(f"test:{REFUSED}", *(["old"] * KEPT_MESSAGES))
    client.lpush(site.queue_key, *[json.dumps(HOSTILE["unknown task"]), HOSTILE["not JSON"]] * 10)
    site.worker().wait_ready()
    eventually(lambda: client.lindex(f"test:{REFUSED}", 19) not in (None, b"old"), "all refused")
    eventually(lambda: client.llen(f"test:{REFUSED}") == KEPT_MESSAGES, "a list of the old length")


def message_of(entry):
    class Plain:
        def decode_body(self, body, _):
            return base64.b64decode(body)

    return Message(entry, channel=Plain(), accept={"application/json"})


def test_a_channel_closes_while_it_waits_for_a_message(broker_url):
    """At once, and not when the server's answer is due, which here is in an hour."""
    options = {**transport_options("test"), "polling_interval": 3600}
    connection = Connection(celery_url(broker_url), transport_options=options)
    connection.transport_cls = GuardedTransport
    consumer = Consumer(connection.channel(), [Queue("q")], callbacks=[print])
    consumer.consume()
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.1)
    assert consumer.channel._in_poll
    closing = threading.Thread(target=connection.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()


def test_a_worker_that_has_to_stop_waits_for_no_broker(broker, broker_url, monkeypatch):
    """Not even where kombu tries again for ever, as for the first thing that a worker says."""
    monkeypatch.setattr(state, "should_stop", None)
    connection = Connection(celery_url(broker_url), transport_options=transport_options("test"))
    connection.transport_cls = GuardedTransport
    broker.kill()

    def signal_comes(*_):
        state.should_stop = os.EX_OK

    with pytest.raises(WorkerShutdown):
        connection.ensure(connection, lambda: connection.connection, signal_comes, max_retries=5)()


def test_a_message_needs_no_broker_to_be_acknowledged(broker, broker_url, caplog):
    """It comes again, and one line says so."""
    caplog.set_level("INFO")
    connection = Connection(celery_url(broker_url), transport_options=transport_options("test"))
    connection.transport_cls = GuardedTransport
    queue = connection.SimpleQueue("q")
    queue.put({})
    message = queue.get(timeout=60)
    broker.kill()
    message.ack()
    assert message.acknowledged
    (line,) = caplog.messages
    assert line.startswith("a message couldn't be acknowledged (Error ")
    connection.collect()


def test_a_full_broker_is_no_error_of_a_timer(broker, broker_url):
    """Old messages are given back later; kombu would raise in its timer, and Celery log the traceback."""
    connection = Connection(celery_url(broker_url), transport_options=transport_options("test"))
    connection.transport_cls = GuardedTransport
    channel = connection.channel()
    client = Broker(broker.url).client
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.ResponseError, match="memory"):
            QoS.restore_visible(channel.qos)
        channel.qos._vrestore_count = 0  # it does so at every tenth call
        channel.qos.restore_visible()
    finally:
        client.config_set("maxmemory", "0")
    connection.close()


def test_what_celery_sends_is_let_through(broker_url):
    """The producer's own message passes, as Celery writes it."""
    app = Celery("probe", broker=broker_url, set_as_current=False)
    app.conf.update(task_default_queue="q", task_queues=[Queue("q")], task_serializer="json")
    app.send_task(TASK, [JOB, LIFE])
    with app.connection_for_read() as connection:
        received = connection.SimpleQueue("q").get(timeout=60)
        received.accept = {"application/json"}
        check_hint(received)
        received.ack()
    app.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(JSON, st.dictionaries(st.text(max_size=10) | st.sampled_from(["task", "id"]), JSON | st.just(TASK)))
def test_whatever_is_let_through_is_a_plain_hint(body, headers):
    """For any JSON as body and headers, the check raises PayloadError or the message asks for one shard only."""
    entry = envelope(body) | {"headers": headers}
    with pytest.raises(PayloadError):
        check_hint(message_of(entry))


@given(st.sampled_from(sorted(hint()["headers"])), JSON)
def test_a_mutated_header_is_refused_or_harmless(name, value):
    """One header of a good message is replaced by any JSON."""
    message = message_of(hint(headers={name: value}))
    try:
        check_hint(message)
    except PayloadError:
        return
    assert message.headers["task"] == TASK
    assert isinstance(message.headers["id"], str)
    assert message.headers["timelimit"] in (None, [None, None])


def test_a_body_over_the_limit_is_refused_unread():
    """Its size is looked at before it is decoded."""
    with pytest.raises(PayloadError, match="4,097 bytes"):
        check_hint(message_of(envelope(b"[" * (MAX_BODY_BYTES + 1))))


def test_the_echo_of_a_signal_is_no_second_one(monkeypatch):
    """GNU timeout sends SIGTERM to its command, and then to their group, of which the command is one."""
    came = []

    def note(sig, **_):
        came.append(sig)

    monkeypatch.setattr(celery_guard, "_came", [])
    monkeypatch.setattr(celery_guard, "_echoes", Echoes())
    monkeypatch.setattr(state, "should_stop", state.should_stop)
    before = signal.getsignal(signal.SIGTERM)
    signals.worker_shutting_down.connect(note)
    try:
        celery_guard._install_handlers(("SIGTERM",), SimpleNamespace(hostname="here"))
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert came == ["SIGTERM"]
        monkeypatch.setattr(process_signals, "ECHO_SECONDS", 0)
        signal.raise_signal(signal.SIGTERM)
        assert came == ["SIGTERM", "SIGTERM"]
    finally:
        signals.worker_shutting_down.disconnect(note)
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("level", "lines"), [(logging.INFO, 1), (logging.WARNING, 0)])
def test_a_signal_is_announced_as_information(monkeypatch, capfd, level, lines):
    """--log-level WARNING hides it."""
    monkeypatch.setattr(logging.root, "level", level)
    celery_guard._announce("stopping after SIGTERM")
    assert capfd.readouterr().err.count("INFO worker.celery_guard: stopping after SIGTERM\n") == lines
