"""Real jobs and real worker processes, for tests and for fault injection."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import pyarrow.parquet as pq
from numpy.typing import NDArray
from support.counting_engine import CountingEngine, Plan, expected_outputs

from producer.enqueue.cutter import Cutter, cuts
from producer.enqueue.enqueuer import open_enqueuer
from producer.queue.shard_queue import ShardQueue
from producer.rows import Row
from unrolled.format.output_spec import OutputSpec
from unrolled.job.directory import JobDirectory, create_job
from unrolled.job.job import Job
from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.model.weights import new_weights
from unrolled.patience import Patience
from unrolled.queue.broker import Broker
from unrolled.queue.entering import Send
from unrolled.queue.messages import queue_name
from worker.runtime.assembly import Assembly
from worker.settings import Settings

REPOSITORY = Path(__file__).parents[2]
UNITS = 4
VOCABULARY = 60_000
NAMESPACE = "test"
LEASE_SECONDS = 1.0
PATIENCE_SECONDS = 30.0


def eventually(holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until something holds; how many seconds it took.

    Raises:
        AssertionError: it doesn't within `seconds`.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - began


def make_model(path: Path, seed: int = 0) -> ModelDirectory:
    """A model directory that costs next to nothing to open."""
    config = ModelConfig.stacked(
        vocab_size=VOCABULARY, max_length=64, num_lstm_units=UNITS, num_lstm_layers=1, embedding_dim=1
    )
    return save_model(path, config, new_weights(config, seed))


def make_rows(count: int, length: int = 5, start: int = 0) -> list[Row]:
    """Rows `start`, `start + 1`, …; only row i has token i + 1, at its start, and every third one has a zero inside."""
    rows = []
    for i in range(start, start + count):
        tokens = (VOCABULARY // 2 + (i + np.arange(length)) % 1000).astype(np.int32)
        tokens[0] = i + 1
        tokens[2:3] *= i % 3 != 0
        rows.append(Row("rows", i, f"rows#{i}", tokens))
    return rows


class WorkerProcess:
    """One worker in a process of its own.

    Args:
        environ: settings, as `UNROLLED_*`.
        log: file to which it writes; it is added to.
        command: what is run; the counting worker by default.
    """

    def __init__(self, environ: dict[str, str], log: Path, command: list[str] | None = None) -> None:
        self._log = log
        self._before = log.stat().st_size if log.exists() else 0
        here = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command or [sys.executable, str(REPOSITORY / "tests" / "support" / "counting_worker.py")],
                env={**os.environ, **environ, "PYTHONPATH": here},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=REPOSITORY,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What this process wrote so far."""
        with self._log.open("rb") as file:
            file.seek(self._before)
            return file.read().decode(errors="replace")

    @property
    def resident_bytes(self) -> int:
        return int(psutil.Process(self.pid).memory_info().rss)

    def wait_ready(self) -> Self:
        """Wait until it takes shards."""
        eventually(lambda: " ready." in self.log or not self.alive, f"a worker that is ready: {self.log}")
        assert self.alive, self.log
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status; a negative one is the signal that ended it."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"worker {self.pid} still runs after {seconds:g} s: {self.log}") from None

    def stop(self) -> int:
        """End it in order; its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)
        self.wait()


class Site:
    """One broker, one model and everything that a test does with them.

    Args:
        root: where all files go.
        broker_url: a server of one's own.
        namespace: of its keys.
    """

    def __init__(self, root: Path, broker_url: str, namespace: str = NAMESPACE) -> None:
        self.root = root
        self.broker_url = broker_url
        self.model = make_model(root / "model")
        self.plan = Plan(journal=str(root / "journal"))
        self.namespace = namespace
        self.broker = Broker(broker_url)
        self.ledger = self.broker.ledger(namespace, self.model.fingerprint)
        self.workers: list[WorkerProcess] = []
        self.gate = root / "gate"
        Path(self.plan.journal).touch()

    @property
    def queue_key(self) -> str:
        """The list in Redis that messages go through."""
        return f"{self.namespace}:{queue_name(self.model.fingerprint)}"

    def close(self) -> None:
        """End every worker that still runs."""
        for worker in self.workers:
            if worker.alive:
                worker.kill()
        self.broker.close()

    def environ(self, **settings: object) -> dict[str, str]:
        """The environment of a worker of this site."""
        values = {
            "broker": self.broker_url,
            "model": self.model.path,
            "namespace": self.namespace,
            "lease_seconds": LEASE_SECONDS,
            **settings,
        }
        return {f"UNROLLED_{name.upper()}": str(value) for name, value in values.items()}

    def worker(self, plan: Plan | None = None, **settings: object) -> WorkerProcess:
        """Start a worker with this site's engine plan, or another."""
        environ = self.environ(**settings) | (plan or self.plan).to_environ()
        worker = WorkerProcess(environ, self.root / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    def job(self, name: str = "out", **options: object) -> JobDirectory:
        """An empty job; its name makes it another."""
        stored = {**OutputSpec().to_options(), **options, "shard_tokens": 1}
        return create_job(self.root / name, Job(self.model.fingerprint, (name,), stored))

    def enqueue(
        self, rows: list[Row], *, rows_per_shard: int = 2, name: str = "out", **options: object
    ) -> JobDirectory:
        """Enter rows as a job, a few to a shard; options say what is stored."""
        directory = self.job(name, **options)
        cutter = Cutter(2**30, shard_rows=rows_per_shard)
        patience = Patience(print)
        with (
            self.queue(directory) as queue,
            open_enqueuer(directory, patience, live=False, each=lambda _: None) as enqueuer,
        ):
            enqueuer.run(cuts([rows], cutter, None), queue)
        return directory

    @contextlib.contextmanager
    def queue(self, directory: JobDirectory) -> Iterator[ShardQueue]:
        """A job's way into the queue."""
        with contextlib.closing(ShardQueue(directory, self.broker_url, self.namespace, Patience(print))) as queue:
            yield queue

    def with_plan(self, **changes: object) -> Plan:
        """This site's plan with some things changed."""
        return replace(self.plan, **changes)  # type: ignore[arg-type]

    def starts(self) -> Counter[int]:
        """How often a row went into the engine: row number → times. Empty rows don't show."""
        counted: Counter[int] = Counter()
        for _, shards in self.calls():
            counted.update(first - 1 for shard in shards for first in shard)
        return counted

    def calls(self) -> list[tuple[int, list[list[int]]]]:
        """Every call of an engine: process id, and the first token of each row, shard by shard."""
        lines = Path(self.plan.journal).read_text().splitlines()
        return [(line["pid"], line["shards"]) for line in map(json.loads, lines)]

    def wait_done(self, directory: JobDirectory, seconds: float = PATIENCE_SECONDS) -> float:
        """Wait until no shard of a job waits any more; how many seconds it took."""

        def done() -> bool:
            return not directory.waiting() - directory.given_up() and not self.ledger.members(directory.key)[0]

        return eventually(done, f"job done, {len(directory.waiting())} shards wait; {self.tail()}", seconds)

    def tail(self) -> str:
        """The end of every worker's log."""
        return "\n".join(f"[{worker.pid}] …{worker.log[-2000:]}" for worker in self.workers)


@contextlib.contextmanager
def open_site(root: Path, broker_url: str) -> Iterator[Site]:
    """A site whose workers end with the block."""
    site = Site(root, broker_url)
    try:
        yield site
    finally:
        site.close()


@contextlib.contextmanager
def worker_parts(
    site: Site, plan: Plan | None = None, send: Send | None = None, **settings: object
) -> Iterator[Assembly]:
    """A worker's parts in this process, without Celery: what a message would start is called by the test.

    Args:
        site: whose broker and model.
        plan: of the engine.
        send: gets each message in place of the queue.
        settings: of the worker; its lease is long by default.
    """
    made = Settings.from_environ(site.environ(**{"lease_seconds": 600, "grace_seconds": 0, **settings}))
    engine = CountingEngine(plan or site.plan)
    assembly = Assembly(made, send or (lambda *_: None), lambda: None, lambda *_: engine)
    assembly.start()
    try:
        yield assembly
    finally:
        site.gate.touch()
        assembly.stop()


def published_rows(directory: JobDirectory) -> dict[str, NDArray[np.float32]]:
    """Rows by id: float32 (real tokens, units), from the files alone.

    Raises:
        AssertionError: an id is there twice.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for path in sorted(directory.path.glob("*.parquet")):
        table = pq.read_table(path)
        for row_id, outputs in zip(table["id"].to_pylist(), table["outputs"].to_pylist(), strict=True):
            assert row_id not in found, f"{row_id} is published twice"
            found[row_id] = np.array(outputs, np.float32).reshape(-1, UNITS)
    return found


def quarantined_ids(directory: JobDirectory) -> list[str]:
    """Ids of the rows that an engine failed on, from all lists."""
    return [
        json.loads(line)["id"]
        for path in sorted((directory.path / "_quarantine").glob("*.engine.jsonl"))
        for line in path.read_text().splitlines()
    ]


def check_outputs(directory: JobDirectory, rows: list[Row], *, without: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    """Every row is published once with exactly its own outputs, but for the numbers in `without`, which aren't.

    Raises:
        AssertionError: a row is missing, twice, in excess or wrong.
    """
    found = published_rows(directory)
    assert sorted(found) == sorted(row.id for row in rows if row.position not in without)
    for row in rows:
        if row.position not in without:
            np.testing.assert_array_equal(found[row.id], expected_outputs(row.tokens, UNITS), row.id)


def leftovers(directory: JobDirectory) -> list[Path]:
    """Hidden files that a publisher left, in any of a job's directories."""
    return sorted(directory.path.rglob(".*.tmp"))
