"""The processes that a round disturbs: a broker, two workers and a producer, with a small disk.

It is one file because it is one object's life.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import redis
from dataset import HERE, Dataset, enqueue_command, worker_environment
from workplace import RestartableBroker

from unrolled.errors import UnrolledError
from unrolled.protocol.completion import standing
from unrolled.protocol.log import Log
from unrolled.protocol.opening import open_job
from unrolled.queue.broker_url import client_url
from unrolled.queue.messages import queue_name

WORKERS = 2
COMPUTE_SECONDS = 0.25
SMALL_DISK = "24m"


class Stage:
    """A broker, two workers, a producer and an output directory on a small disk of its own.

    Attributes:
        out: the output directory.
        deaths: how many times a worker ended.
        broker_kills: how many times the broker was killed.
        failures: a text for each worker that ended without a reason.
    """

    def __init__(self, folder: Path, dataset: Dataset, broker: RestartableBroker, rng: random.Random) -> None:
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
        self.queue_key = f"unrolled:{queue_name(dataset.offer)}"

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
            # A failed round's directory is kept, and this is part of it.
            shutil.copytree(self.disk, self._folder / "kept", dirs_exist_ok=True)
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)

    def supervise(self) -> None:
        """Start every process that isn't running; the producer only until everything is queued."""
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
        """Count a worker's end. A disturbance or a row may have killed it, but it must not end by itself."""
        self.deaths += 1
        allowed = {-signal.SIGKILL}
        if worker.pid in self._told_to_end:
            allowed |= {0, -signal.SIGTERM}  # the signal itself, if it came before Python handled it
        if worker.returncode not in allowed:
            self.failures.append(f"worker {worker.pid} ended by itself with status {worker.returncode}")

    def terminate(self, worker: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM to a worker."""
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
        """Whether the job is done, according to its directory."""
        try:
            job = open_job(self.out)
            return self._queued and standing(Log(), job.objects, live=False).complete
        except UnrolledError:
            return False

    def describe(self) -> str:
        """How far the job is, for the report of a failure."""
        try:
            job, log = open_job(self.out), Log()
            found = standing(log, job.objects, live=False)
            waiting = log.entries.keys() - found.published - found.dead
            return f"queued {self._queued}, waiting {sorted(map(str, waiting))}, dead {sorted(map(str, found.dead))}"
        except UnrolledError as error:
            return str(error)

    def running_worker(self) -> subprocess.Popen[bytes] | None:
        """A random worker that is running."""
        running = [worker for worker in self._workers if worker and worker.poll() is None]
        return self.rng.choice(running) if running else None

    def producer(self) -> subprocess.Popen[bytes] | None:
        """The producer, if it is running."""
        return self._producer if self._producer and self._producer.poll() is None else None

    def client(self) -> redis.Redis:
        """A client of the broker."""
        return redis.Redis.from_url(client_url(self.broker.url), socket_timeout=2)

    def fill_disk(self, seconds: float) -> None:
        """Fill the disk for a while."""
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
        """Wait while the disturbance lasts."""
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
