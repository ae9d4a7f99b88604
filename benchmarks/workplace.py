"""Starts a broker and a worker, and runs jobs with them; the scripts that measure whole jobs use it.

Everything is in the working directory, which contains the model `model`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.broker import RestartableBroker

from unrolled.job.manifest import read_manifest
from unrolled.model.directory import open_model
from unrolled.queue.broker_url import client_url
from unrolled.queue.ledger import Ledger

#: Seconds between two looks at a job; its time is measured no more exactly.
LOOK_SECONDS = 0.02
#: Seconds after which the next heartbeat has arrived; they are at most two seconds apart.
HEARTBEAT_SECONDS = 2.5


@dataclass(frozen=True)
class Workplace:
    """A broker and a worker that are running.

    Attributes:
        broker: the server.
        worker: the process that takes shards.
        environment: environment variables for commands: the broker, the model, and the worker's settings.
    """

    broker: RestartableBroker
    worker: subprocess.Popen[bytes]
    environment: dict[str, str]

    @property
    def ledger(self) -> Ledger:
        """The model's ledger."""
        client = redis.Redis.from_url(client_url(self.broker.url))
        return Ledger(client, "unrolled", open_model("model").fingerprint)

    def do(self, *words: object, out: str, each: Callable[[int], None] | None = None) -> tuple[float, float]:
        """Run a whole job with `unrolled enqueue`, until its last file is published.

        Args:
            words: the command's arguments, without --out.
            out: the output directory.
            each: called at every look with the producer's process id, also while the producer is running.

        Returns:
            Seconds until everything was queued, and seconds in all.
        """
        command = [sys.executable, "-m", "producer", "enqueue", *map(str, words), "--out", out]
        began = time.perf_counter()
        with Path("producer.log").open("ab") as log:
            producer = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        if each is None:  # a look takes processor time that the job may need
            producer.wait()
        queued, files = None, 0
        while True:
            if self.worker.poll() is not None or producer.poll() not in (None, 0):
                raise SystemExit("".join(Path(f"{name}.log").read_text()[-2000:] for name in ("worker", "producer")))
            if queued is None and producer.poll() is not None:
                queued = time.perf_counter() - began
                files = len(read_manifest(Path(out)).entries)
            # Only names, because a look takes processor time from the worker.
            if queued is not None and sum(1 for _ in Path(out).glob("part-*")) >= files:
                return queued, time.perf_counter() - began
            if each:
                each(producer.pid)
            time.sleep(LOOK_SECONDS)

    def counted(self) -> dict[str, float]:
        """The worker's counters in the next heartbeat."""
        time.sleep(HEARTBEAT_SECONDS)
        return next(iter(self.ledger.workers().values()))

    def peaks_mib(self, producer: int) -> dict[str, float]:
        """The peak resident memory so far of a producer, the worker and the broker."""
        pids = {"producer": producer, "worker": self.worker.pid, "broker": self.broker.process_id}
        return {name: peak_mib(pid) for name, pid in pids.items()}


@contextlib.contextmanager
def workplace(**settings: object) -> Iterator[Workplace]:
    """Start a broker and a worker; both end with the `with` block.

    Args:
        settings: settings of the worker and of commands: `engine` sets UNROLLED_ENGINE.
    """
    given = {f"UNROLLED_{name.upper()}": str(value) for name, value in settings.items()}
    with RestartableBroker() as broker, Path("worker.log").open("ab") as log:
        environment = {**os.environ, "UNROLLED_BROKER": broker.url, "UNROLLED_MODEL": "model", **given}
        worker = subprocess.Popen([sys.executable, "-m", "producer", "worker"], env=environment, stdout=log, stderr=log)
        place = Workplace(broker, worker, environment)
        try:
            while not place.ledger.workers():
                if worker.poll() is not None:
                    raise SystemExit(Path("worker.log").read_text()[-2000:])
                time.sleep(LOOK_SECONDS)
            yield place
        finally:
            worker.terminate()
            worker.wait()


def peak_mib(pid: int) -> float:
    """The peak resident memory (VmHWM) so far; 0 if the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) / 1024 if found else 0.0
