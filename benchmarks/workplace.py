"""A broker and one worker of their own, and jobs done with them: what the scripts of whole jobs have in common.

All in the working directory, where `model` is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.broker import RestartableBroker

from producer.local.engine import local_engine
from unrolled.job.offer import ENGINES
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.opening import open_job
from unrolled.queue.broker_url import client_url
from unrolled.queue.ledger import alive_workers

#: Between two looks; a job's seconds are known no better.
LOOK_SECONDS = 0.02
#: A worker sends a heartbeat at least every two seconds.
HEARTBEAT_SECONDS = 2.5


@dataclass(frozen=True)
class Workplace:
    """What `workplace` started.

    Attributes:
        broker: a server.
        worker: a process that takes shards.
        environment: of commands: the broker, the model, and the worker's settings.
    """

    broker: RestartableBroker
    worker: subprocess.Popen[bytes]
    environment: dict[str, str]

    def workers(self) -> dict[str, dict[str, Any]]:
        """The workers that are alive: name → facts."""
        with contextlib.closing(redis.Redis.from_url(client_url(self.broker.url))) as client:
            return alive_workers(client, "unrolled")

    def do(self, *words: object, out: str, each: Callable[[int], None] | None = None) -> tuple[float, float]:
        """A whole job by `unrolled enqueue`, until its last file is published.

        Args:
            words: of the command, besides --out.
            out: the output directory.
            each: called at every look with the producer's process id, also while it is at work.

        Returns:
            Seconds until everything was queued, and in all.
        """
        command = [sys.executable, "-m", "producer", "enqueue", *map(str, words), "--out", out]
        began = time.perf_counter()
        with Path("producer.log").open("ab") as log:
            producer = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        if each is None:  # looking takes processor time, which the job may want
            producer.wait()
        queued, files = None, 0
        while True:
            if self.worker.poll() is not None or producer.poll() not in (None, 0):
                raise SystemExit("".join(Path(f"{name}.log").read_text()[-2000:] for name in ("worker", "producer")))
            if queued is None and producer.poll() is not None:
                queued = time.perf_counter() - began
                files = len(log_of(out).entries)
            # Names alone, for whatever looks on takes processors from the worker.
            if queued is not None and sum(1 for _ in Path(out).glob("part-*")) >= files:
                return queued, time.perf_counter() - began
            if each:
                each(producer.pid)
            time.sleep(LOOK_SECONDS)

    def counted(self) -> dict[str, float]:
        """The worker's counters, of a heartbeat from now on."""
        time.sleep(HEARTBEAT_SECONDS)
        return next(iter(self.workers().values()))

    def peaks_mib(self, producer: int) -> dict[str, float]:
        """Peak resident memory so far, of a producer, the worker and the broker."""
        pids = {"producer": producer, "worker": self.worker.pid, "broker": self.broker.process_id}
        return {name: peak_mib(pid) for name, pid in pids.items()}


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add `--engine`: of the jobs and of their workers."""
    parser.add_argument("--engine", choices=ENGINES, default=local_engine())


def log_of(out: str) -> Log:
    """The log of a job, read to its end."""
    log = Log()
    catch_up(log, open_job(out).objects)
    return log


def real_tokens(out: str) -> int:
    """Real tokens in all shards of a job."""
    return sum(entry.tokens for entry in log_of(out).entries.values())


@contextlib.contextmanager
def workplace(**settings: object) -> Iterator[Workplace]:
    """A broker and a worker that takes shards; both end with the block.

    Args:
        settings: of the worker and of commands: `engine` is UNROLLED_ENGINE.
    """
    given = {f"UNROLLED_{name.upper()}": str(value) for name, value in settings.items()}
    with RestartableBroker() as broker, Path("worker.log").open("ab") as log:
        environment = {**os.environ, "UNROLLED_BROKER": broker.url, "UNROLLED_MODEL": "model", **given}
        worker = subprocess.Popen([sys.executable, "-m", "producer", "worker"], env=environment, stdout=log, stderr=log)
        place = Workplace(broker, worker, environment)
        try:
            while not place.workers():
                if worker.poll() is not None:
                    raise SystemExit(Path("worker.log").read_text()[-2000:])
                time.sleep(LOOK_SECONDS)
            yield place
        finally:
            worker.terminate()
            worker.wait()


def peak_mib(pid: int) -> float:
    """Peak resident memory (VmHWM) so far; 0 where the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) / 1024 if found else 0.0
