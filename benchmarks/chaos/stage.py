"""The processes and the place of one round: a broker, two workers, commands, and a small disk or a bucket server.

It is one file because it is one object's life.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol, Self

import psutil
import redis
from command import Command
from dataset import FAILING, HERE, KILLING, MOODY, Dataset, environment_of, unrolled
from nursery import Nursery
from support.bucket_server import BucketProcess, client_environment
from workplace import RestartableBroker

from unrolled.queue.broker_url import client_url
from unrolled.queue.keys import Keys
from unrolled.queue.member import Member

WORKERS = 2
SMALL_DISK = "24m"
TICK_SECONDS = 0.05
#: What the name of another job's output ends with.
NEIGHBOUR = "-2"


class Scene(Protocol):
    """Where the rows come from, and who computes them."""

    name: str
    #: Whether the stage's own workers compute.
    has_workers: bool

    def supervise(self, stage: Stage) -> None:
        """Start what must run, as a supervisor would; feed the input."""
        ...

    def producer(self) -> Command | None:
        """The command that reads the input, while it runs."""
        ...

    def requeue(self) -> None:
        """Have the command given once more, after a cancel."""
        ...

    def done(self) -> bool:
        """Whether the whole input was queued."""
        ...


class Attendant(Protocol):
    """Looks on while processes are supervised."""

    def supervise(self, stage: Stage) -> None:
        """Called again and again."""
        ...


class Stage:
    """What a round disturbs.

    Args:
        nursery: starts processes.
        folder: of the round.
        dataset: its input.
        kind: "disk" or "bucket".
        scene: where the rows come from.
        seed: of the round.
        seconds: that each call of the engine takes at least.

    Attributes:
        out: the output directory, or the URL of a prefix in the bucket, as commands get it.
        place: where the objects of `out` are on this machine's disk; a bucket server keeps them there too.
        deaths: how many times a worker ended.
        broker_kills, server_kills: how many times each was killed.
        failures: a text for each process that ended as none may.
        neighbour: another job beside this one, if there is one.
        calm: a file; once it exists, engines don't misbehave.
    """

    def __init__(
        self, nursery: Nursery, folder: Path, dataset: Dataset, kind: str, scene: Scene, seed: int, seconds: float
    ) -> None:
        self.dataset = dataset
        self.scene = scene
        self.disk = folder / "disk"
        self.out = "out" if kind == "disk" else "s3://bucket/out"
        self.place = self.disk / "out" if kind == "disk" else folder / "buckets" / "bucket" / "out"
        self.calm = folder / "calm"
        self.deaths = self.broker_kills = self.server_kills = 0
        self.failures: list[str] = []
        self.keys = Keys.of("unrolled", dataset.offer)
        self.commands: list[Command] = []
        self.attendants: list[Attendant] = []
        self.neighbour: Scene | None = None
        self.server: BucketProcess | None = None
        self._nursery = nursery
        self._folder = folder
        self._kind = kind
        self._seconds = seconds
        self._moods = random.Random(f"{seed} moods")
        self._seed = seed
        self._numbers = itertools.count()
        self._mounted = False
        self._sentinel = folder / "disk-full"
        self._workers: list[Command | None] = [None] * WORKERS
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.disk.mkdir()
        self.broker = self._stack.enter_context(RestartableBroker(self._folder / "broker"))
        if self._kind == "disk" and os.geteuid() == 0:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(self.disk)]
            self._mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
        if self._kind == "bucket":
            script = str(HERE / "stormy_bucket.py")
            self.server = BucketProcess(self._folder / "buckets", script, f"{self._seed} bucket")
            self._stack.callback(self.server.kill)
            os.environ.update(client_environment(self.server.url))  # a round has its process to itself
        self._nothing = self._stack.enter_context(Path(os.devnull).open("rb")).fileno()
        shutil.copy(self.dataset.folder / "rows.jsonl", self.disk / "rows.jsonl")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._mounted:
            # A failed round's directory is kept, and this is part of it.
            shutil.copytree(self.disk, self._folder / "kept", dirs_exist_ok=True)
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)
        self._stack.close()

    @property
    def address(self) -> str:
        """The place as this process opens it."""
        return str(self.place) if self._kind == "disk" else self.out

    def client(self) -> redis.Redis:
        """A client of the broker."""
        return redis.Redis.from_url(client_url(self.broker.url), socket_timeout=5)

    def start(
        self, name: str, command: list[str], *, broker: bool = True, stdin: int | None = None, **more: str
    ) -> Command:
        """Start a process whose log is kept.

        Args:
            name: of the log.
            command: its words.
            broker: whether it is given this round's broker.
            stdin: descriptor of its standard input; None for nothing to read.
            more: variables of its environment.
        """
        environment = environment_of(self.dataset, self.broker.url, **more)
        if not broker:
            del environment["UNROLLED_BROKER"]
        log = self._folder / f"{next(self._numbers):03d}-{name}.log"
        log.touch()
        process = self._nursery.start(command, environment, self.disk, log, stdin or self._nothing)
        self.commands.append(Command(name, process, log))
        return self.commands[-1]

    def unrolled(self, *words: str, broker: bool = True) -> Command:
        """Start a command as a person types it, on the output directory."""
        return self.start(words[0], unrolled(*words), broker=broker)

    def worker(self, name: str, **more: str) -> Command:
        """Start a worker that misbehaves."""
        variables = {
            "CHAOS_TOKENS": f"{FAILING} {MOODY} {KILLING}",
            "CHAOS_CALM": str(self.calm),
            "CHAOS_SECONDS": str(self._seconds),
            "CHAOS_MOOD": str(self._moods.getrandbits(32)),
        }
        if self._kind == "disk" and not self._mounted:
            variables["CHAOS_DISK_FULL"] = str(self._sentinel)
        return self.start(name, [sys.executable, str(HERE / "misbehaving_worker.py")], **(variables | more))

    def supervise(self) -> None:
        """Start every process that should run, and look at those that ended."""
        for attendant in (self.scene, self.neighbour, *self.attendants):
            if attendant:
                attendant.supervise(self)
        for number, worker in enumerate(self._workers):
            if self.scene.has_workers and (worker is None or not worker.running):
                self._count_death(worker)
                self._workers[number] = self.worker(f"worker-{number}")
        for command in self.commands:
            if not command.judged and not command.running:
                command.judged = True
                if wrong := command.why_wrong():
                    self.failures.append(wrong)

    def _count_death(self, worker: Command | None) -> None:
        """Count a worker's end. A disturbance or a row may have killed it, but it must not end by itself."""
        if worker is None:
            return
        self.deaths += 1
        # The signal itself, if it came before Python handled it.
        allowed = {-signal.SIGKILL} | ({0, -signal.SIGTERM} if worker.told else set())
        if worker.status not in allowed:
            self.failures.append(f"{worker.log.name} ended by itself with status {worker.status}")

    def workers(self) -> list[psutil.Process]:
        """The workers that run, started by the stage or by a command."""
        pids = [worker.process.pid for worker in self._workers if worker and worker.running]
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            if (producer := self.scene.producer()) and not self.scene.has_workers:
                found = [child for child in psutil.Process(producer.process.pid).children() if _is_worker(child)]
            found += [psutil.Process(pid) for pid in pids]
        return found

    def is_at_work(self) -> bool:
        """Whether a part exists, and all of this stage's workers have sent a heartbeat."""
        awake = not self.scene.has_workers or self.client().hlen(self.keys.workers) >= WORKERS
        return awake and any(self.place.glob("*.parquet"))

    def held_by(self, worker: psutil.Process) -> list[Member]:
        """The shards that a worker of this stage's has on board, by the ledger."""
        held = self.client().hgetall(self.keys.holders)
        mark = f"-{worker.pid}-".encode()  # in the names of workers
        return [Member.parse(member.decode()) for member, holder in held.items() if mark in holder]

    def tell_to_end(self, worker: psutil.Process) -> None:
        """Send SIGTERM to a worker."""
        for command in self.commands:
            if command.process.pid == worker.pid:
                command.told = True
        worker.terminate()

    def rest(self, seconds: float) -> None:
        """Let time pass while processes are supervised."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.supervise()
            time.sleep(TICK_SECONDS)

    def rest_until_ended(self, *commands: Command, seconds: float = 20.0) -> None:
        """Let time pass until commands have ended; one that hangs is killed."""
        until = time.monotonic() + seconds
        while any(command.running for command in commands) and time.monotonic() < until:
            self.rest(TICK_SECONDS)
        for command in commands:
            command.end(signal.SIGKILL)

    def fill_disk(self, seconds: float) -> None:
        """Fill the disk for a while."""
        if not self._mounted:
            self._sentinel.touch()
            self.rest(seconds)
            self._sentinel.unlink()
            return
        ballast = self.disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**16))
        self.rest(seconds)
        ballast.unlink()

    def overtaken(self) -> int:
        """How many attempts found that another one's part was there before theirs."""
        return sum(command.text().count("an earlier attempt's part is there") for command in self.commands)

    def storm(self, *, begins: bool) -> None:
        """Have the bucket server go wrong from now on, or no more."""
        storm = self._folder / "buckets" / "storm"
        storm.touch() if begins else storm.unlink(missing_ok=True)

    def stop(self) -> None:
        """End every process of the round in order."""
        running = [command for command in self.commands if command.running]
        for command in running:
            command.send(signal.SIGCONT)
            command.send(signal.SIGTERM)
        for command in running:
            command.end()
        for command in self.commands:
            if not command.judged and (wrong := command.why_wrong()):
                self.failures.append(wrong)
            command.judged = True


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False
