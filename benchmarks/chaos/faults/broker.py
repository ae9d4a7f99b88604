"""What happens to Redis: it is killed or paused, and loses all of its data, some keys, or messages."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import uuid

from stage import Stage

from unrolled.errors import UnrolledError
from unrolled.job import names
from unrolled.job.names import Life
from unrolled.protocol.opening import open_job
from unrolled.queue.member import Member
from unrolled.queue.messages import TASK


def kill_broker(stage: Stage, rng: random.Random) -> None:
    """Kill the broker with SIGKILL; it is started again with its append-only file."""
    _kill(stage, rng, keep_data=True)


def empty_broker(stage: Stage, rng: random.Random) -> None:
    """Kill the broker with SIGKILL; it is started again without any data."""
    _kill(stage, rng, keep_data=False)


def pause_broker(stage: Stage, rng: random.Random) -> None:
    """Pause the broker: connections stay open, and nothing answers."""
    os.kill(stage.broker.process_id, signal.SIGSTOP)
    try:
        stage.rest(rng.uniform(1, 3))
    finally:
        os.kill(stage.broker.process_id, signal.SIGCONT)


def flush_broker(stage: Stage, rng: random.Random) -> None:
    """Delete all keys while everything goes on."""
    del rng
    stage.client().flushall()


def delete_keys(stage: Stage, rng: random.Random) -> None:
    """Delete one to three keys of the ledger, as an eviction would."""
    client = stage.client()
    named = [getattr(stage.keys, field) for field in sorted(stage.keys.__dataclass_fields__)]
    for key in rng.sample(named, rng.randint(1, 3)):
        client.delete(key, *client.keys(f"{key}:*"))  # turns have names of their own


def lose_messages(stage: Stage, rng: random.Random) -> None:
    """Lose all waiting messages."""
    del rng
    stage.client().delete(stage.keys.queue)


def repeat_messages(stage: Stage, rng: random.Random) -> None:
    """Repeat every waiting message three times, and some messages of finished shards."""
    del rng
    client = stage.client()
    for raw in client.lrange(stage.keys.queue, 0, -1):
        client.lpush(stage.keys.queue, raw, raw)
    with contextlib.suppress(UnrolledError):  # the job may not have begun
        job = open_job(stage.address)
        for shard in sorted(names.parts_in(job.objects.list(names.PARTS)))[:5]:
            client.lpush(stage.keys.queue, message(Member(job.key, Life(shard, 0)).encode()))


def send_rubbish(stage: Stage, rng: random.Random) -> None:
    """Send messages that no producer sends."""
    rubbish = [
        "not JSON",
        json.dumps({"body": "e30="}),
        message({"x": 1}, whole=True),
        message(["../../etc", "passwd"]),
        message(["0" * 16, "000000-" + "0" * 12]),
        message(["0" * 16, "000000-" + "0" * 12 + ".0"]),
        message([10**30, None]),
        message([], task="os.system"),
    ]
    rng.shuffle(rubbish)
    stage.client().lpush(stage.keys.queue, *rubbish)


def message(arguments: object, *, task: str = TASK, whole: bool = False) -> str:
    """A Celery message as it is stored in Redis."""
    name = str(uuid.uuid4())
    body = json.dumps(arguments if whole else [arguments, {}, {}]).encode()
    headers = {"lang": "py", "task": task, "id": name, "root_id": name, "parent_id": None, "group": None}
    properties = {
        "correlation_id": name,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "x"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": name,
    }
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    )


def _kill(stage: Stage, rng: random.Random, *, keep_data: bool) -> None:
    stage.broker_kills += 1
    stage.broker.kill()
    stage.rest(rng.uniform(0.2, 1.5))
    stage.broker.restart(keep_data=keep_data)
