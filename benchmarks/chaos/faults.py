"""The disturbances of a job."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import uuid

from stage import Stage

from unrolled.errors import UnrolledError
from unrolled.job import names
from unrolled.job.names import Life
from unrolled.protocol.opening import open_job
from unrolled.queue.member import Member
from unrolled.queue.messages import TASK

#: The most kills in one round: fewer than `--max-attempts`, so that no shard is blamed for them.
MOST_KILLS = 4


def kill_worker(stage: Stage) -> None:
    """Kill a worker with SIGKILL, like a crash or the kernel's out-of-memory killer."""
    if (worker := stage.running_worker()) and stage.kills < MOST_KILLS:
        stage.kills += 1
        worker.kill()


def terminate_worker(stage: Stage) -> None:
    """End a worker with SIGTERM, like a rolling restart."""
    if worker := stage.running_worker():
        stage.terminate(worker)


def terminate_worker_twice(stage: Stage) -> None:
    """End a worker with two SIGTERMs, like an impatient operator."""
    if worker := stage.running_worker():
        stage.terminate(worker)
        stage.rest(0.2)
        worker.terminate()


def freeze_worker(stage: Stage) -> None:
    """Pause a worker for longer than a lease."""
    if worker := stage.running_worker():
        worker.send_signal(signal.SIGSTOP)
        stage.rest(stage.rng.uniform(2.5, 4))
        worker.send_signal(signal.SIGCONT)


def kill_producer(stage: Stage) -> None:
    """Kill the producer with SIGKILL while it cuts shards; its command is run again."""
    if producer := stage.producer():
        producer.kill()


def kill_broker(stage: Stage) -> None:
    """Kill the broker with SIGKILL; it is started again with its append-only file."""
    stage.broker_kills += 1
    stage.broker.kill()
    stage.rest(stage.rng.uniform(0.2, 2))
    stage.broker.restart(keep_data=True)


def empty_broker(stage: Stage) -> None:
    """Kill the broker with SIGKILL; it is started again without any data."""
    stage.broker_kills += 1
    stage.broker.kill()
    stage.rest(stage.rng.uniform(0.2, 2))
    stage.broker.restart(keep_data=False)


def fill_disk(stage: Stage) -> None:
    """Fill the disk of the output directory."""
    stage.fill_disk(stage.rng.uniform(0.5, 3))


def lose_messages(stage: Stage) -> None:
    """Lose all waiting messages."""
    stage.client().delete(stage.queue_key)


def repeat_messages(stage: Stage) -> None:
    """Repeat every waiting message three times, and some messages of finished shards."""
    client = stage.client()
    for raw in client.lrange(stage.queue_key, 0, -1):
        client.lpush(stage.queue_key, raw, raw)
    with contextlib.suppress(UnrolledError):  # the job may not have begun
        job = open_job(stage.out)
        for shard in sorted(names.parts_in(job.objects.list(names.PARTS)))[:5]:
            client.lpush(stage.queue_key, message(Member(job.key, Life(shard, 0)).encode()))


def send_rubbish(stage: Stage) -> None:
    """Send messages that no producer sends."""
    client = stage.client()
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
    stage.rng.shuffle(rubbish)
    client.lpush(stage.queue_key, *rubbish)


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


FAULTS = (
    kill_worker, kill_worker, kill_worker, terminate_worker, terminate_worker_twice, freeze_worker, kill_producer,
    kill_broker, empty_broker, fill_disk, lose_messages, repeat_messages, send_rubbish,
)  # fmt: skip
