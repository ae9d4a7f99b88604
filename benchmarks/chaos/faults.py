"""What is done to a job, and everything it is done to."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Self

import redis
from dataset import HERE, Dataset, enqueue_command, worker_environment

from producer.broker import EmbeddedBroker
from unrolled.connection import client_url
from unrolled.errors import UnrolledError
from unrolled.job import open_job
from unrolled.manifest import read_manifest
from unrolled.messages import TASK, queue_name
from unrolled.model_directory import open_model

WORKERS = 2
#: Kills in one round: fewer than `--max-attempts`, so that none makes an innocent shard look like a killer.
MOST_KILLS = 4
COMPUTE_SECONDS = 0.25
SMALL_DISK = "24m"


class Stage:
    """A broker, two workers, a producer and an output directory on a small disk of its own.

    Attributes:
        out: the output directory.
        deaths: of workers.
        broker_kills: of the broker.
        failures: ends of workers that nobody asked for.
    """

    def __init__(self, folder: Path, dataset: Dataset, broker: EmbeddedBroker, rng: random.Random) -> None:
        self.rng = rng
        self.broker = broker
        self.deaths = self.broker_kills = self.kills = 0
        self.failures: list[str] = []
        self._told_to_end: set[int] = set()
        self.disk = folder / "disk"
        self.out = self.disk / "out"
        self._folder = folder
        self._dataset = dataset
        self._sentinel = folder / "disk-full"
        self._mounted = False
        self._workers: list[subprocess.Popen[bytes] | None] = [None] * WORKERS
        self._producer: subprocess.Popen[bytes] | None = None
        self._queued = False
        self.queue_key = f"unrolled:{queue_name(open_model(dataset.folder / 'model').fingerprint)}"

    def __enter__(self) -> Self:
        self.disk.mkdir()
        if os.geteuid() == 0:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(self.disk)]
            self._mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
        shutil.copy(self._dataset.folder / "rows.jsonl", self.disk / "rows.jsonl")
        self.supervise()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_workers()
        if self._mounted:
            # Kept for a look, if the round failed.
            shutil.copytree(self.disk, self._folder / "kept", dirs_exist_ok=True)
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)

    def supervise(self) -> None:
        """Start whoever isn't running; the producer until it says that everything is queued."""
        for number, worker in enumerate(self._workers):
            if worker is None or worker.poll() is not None:
                if worker is not None:
                    self._count_death(worker)
                command = [sys.executable, str(HERE / "misbehaving_worker.py")]
                self._workers[number] = self._start(command, f"worker-{number}.log")
        producer = self._producer
        if producer is not None and producer.poll() is not None:
            self._queued = self._queued or producer.returncode in (0, 3)
            self._producer = None
        if self._producer is None and not self._queued:
            self._producer = self._start(enqueue_command(self._dataset), "enqueue.log")

    def _count_death(self, worker: subprocess.Popen[bytes]) -> None:
        """A worker may be killed, by us or by a row that is made to, or end when it is told; never of itself."""
        self.deaths += 1
        allowed = {-signal.SIGKILL}
        if worker.pid in self._told_to_end:
            allowed |= {0, -signal.SIGTERM}  # the signal itself, where it came before Python could hear it
        if worker.returncode not in allowed:
            self.failures.append(f"worker {worker.pid} ended of itself with status {worker.returncode}")

    def terminate(self, worker: subprocess.Popen[bytes]) -> None:
        """SIGTERM."""
        self._told_to_end.add(worker.pid)
        worker.terminate()

    def stop_workers(self) -> None:
        """End every process of the round."""
        for process in (self._producer, *self._workers):
            if process is not None and process.poll() is None:
                process.terminate()
        for process in (self._producer, *self._workers):
            if process is not None:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def complete(self) -> bool:
        """Whether the job is done, by its directory alone."""
        try:
            directory = open_job(self.out)
            manifest = read_manifest(directory.path)
        except UnrolledError:
            return False
        shards = {entry.shard for entry in manifest.entries}
        return manifest.ended and not shards - directory.published() - directory.given_up() and self._queued

    def describe(self) -> str:
        """Where it stands, for a failure."""
        try:
            directory = open_job(self.out)
            return f"queued {self._queued}, waiting {sorted(directory.waiting())}, dead {sorted(directory.given_up())}"
        except UnrolledError as error:
            return str(error)

    def running_worker(self) -> subprocess.Popen[bytes] | None:
        """Any worker that runs."""
        running = [worker for worker in self._workers if worker and worker.poll() is None]
        return self.rng.choice(running) if running else None

    def producer(self) -> subprocess.Popen[bytes] | None:
        """The producer, if it runs."""
        return self._producer if self._producer and self._producer.poll() is None else None

    def client(self) -> redis.Redis:
        """A client of the broker."""
        return redis.Redis.from_url(client_url(self.broker.url), socket_timeout=2)

    def fill_disk(self, seconds: float) -> None:
        """Leave no room for a while."""
        if not self._mounted:
            self._sentinel.touch()
            self.rest(seconds)
            self._sentinel.unlink()
            return
        ballast = self.disk / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(2**16))
        except OSError:
            pass
        self.rest(seconds)
        ballast.unlink()

    def rest(self, seconds: float) -> None:
        """Let the disturbance last."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.supervise()
            time.sleep(0.05)

    def _start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        environment = worker_environment(self._dataset, self.broker.url, kills=True, seconds=COMPUTE_SECONDS)
        if not self._mounted:
            environment["CHAOS_DISK_FULL"] = str(self._sentinel)
        with (self._folder / log).open("ab") as file:
            return subprocess.Popen(command, env=environment, cwd=self.disk, stdout=file, stderr=file)


def kill_worker(stage: Stage) -> None:
    """SIGKILL, as a crash or the kernel's out-of-memory killer."""
    if (worker := stage.running_worker()) and stage.kills < MOST_KILLS:
        stage.kills += 1
        worker.kill()


def terminate_worker(stage: Stage) -> None:
    """SIGTERM, as a rolling restart."""
    if worker := stage.running_worker():
        stage.terminate(worker)


def terminate_worker_twice(stage: Stage) -> None:
    """SIGTERM from someone in a hurry."""
    if worker := stage.running_worker():
        stage.terminate(worker)
        stage.rest(0.2)
        worker.terminate()


def freeze_worker(stage: Stage) -> None:
    """Silence for longer than a lease, then life again."""
    if worker := stage.running_worker():
        worker.send_signal(signal.SIGSTOP)
        stage.rest(stage.rng.uniform(2.5, 4))
        worker.send_signal(signal.SIGCONT)


def kill_producer(stage: Stage) -> None:
    """SIGKILL in the midst of cutting; the same command is given again."""
    if producer := stage.producer():
        producer.kill()


def kill_broker(stage: Stage) -> None:
    """SIGKILL; it comes back with its append-only file."""
    stage.broker_kills += 1
    stage.broker.kill()
    stage.rest(stage.rng.uniform(0.2, 2))
    stage.broker.restart(keep_data=True)


def empty_broker(stage: Stage) -> None:
    """SIGKILL; it comes back with nothing."""
    stage.broker_kills += 1
    stage.broker.kill()
    stage.rest(stage.rng.uniform(0.2, 2))
    stage.broker.restart(keep_data=False)


def fill_disk(stage: Stage) -> None:
    """No room in the output directory."""
    stage.fill_disk(stage.rng.uniform(0.5, 3))


def lose_messages(stage: Stage) -> None:
    """All messages that wait are gone."""
    stage.client().delete(stage.queue_key)


def repeat_messages(stage: Stage) -> None:
    """Every message that waits is there three times, and a few of finished shards."""
    client = stage.client()
    for raw in client.lrange(stage.queue_key, 0, -1):
        client.lpush(stage.queue_key, raw, raw)
    with contextlib.suppress(UnrolledError):  # the job may not have begun
        directory = open_job(stage.out)
        for shard in sorted(directory.published())[:5]:
            client.lpush(stage.queue_key, message([directory.key, shard]))


def send_rubbish(stage: Stage) -> None:
    """Messages that no producer of ours sends."""
    client = stage.client()
    rubbish = [
        "not JSON",
        json.dumps({"body": "e30="}),
        message({"x": 1}, whole=True),
        message(["../../etc", "passwd"]),
        message(["0" * 16, "000000-" + "0" * 12]),
        message([10**30, None]),
        message([], task="os.system"),
    ]
    stage.rng.shuffle(rubbish)
    client.lpush(stage.queue_key, *rubbish)


def message(arguments: object, *, task: str = TASK, whole: bool = False) -> str:
    """A Celery message as it lies in Redis."""
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
