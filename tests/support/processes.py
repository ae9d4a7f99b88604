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

from producer.enqueue.cutter import Cutter
from producer.enqueue.growth import Growth
from producer.enqueue.pipeline import cuts, shards_of
from producer.enqueue.runs import FileRun
from producer.queue.shard_queue import ShardQueue
from producer.sources.rows import Row
from unrolled.format.output_spec import OutputSpec
from unrolled.job import names
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.job.offer import Offer
from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.model.weights import new_weights
from unrolled.patience import Patience
from unrolled.process.signals import ECHO_SECONDS
from unrolled.protocol.opening import OpenJob, create_job
from unrolled.queue.job_ledger import Send
from unrolled.queue.ledger import Ledger
from unrolled.queue.messages import queue_name
from unrolled.reading.outcome import read_outcome
from worker.runtime.assembly import Assembly
from worker.settings import Settings

REPOSITORY = Path(__file__).parents[2]
UNITS = 4
VOCABULARY = 60_000
NAMESPACE = "test"
LEASE_SECONDS = 1.0
PATIENCE_SECONDS = 30.0


def let_echoes_end():
    """Wait until a signal like the last one is a second one, and no echo."""
    arrived = time.monotonic()
    eventually(lambda: time.monotonic() - arrived > ECHO_SECONDS, "no echo to be expected")


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
        broker_url: a server that no other test uses.
        namespace: of its keys.
    """

    def __init__(self, root: Path, broker_url: str, namespace: str = NAMESPACE) -> None:
        self.root = root
        self.broker_url = broker_url
        self.namespace = namespace
        self.model = make_model(root / "model")
        self.plan = Plan(journal=str(root / "journal"))
        self.offer = Offer(self.model.fingerprint, "fused", "float32")
        self.queue = ShardQueue(broker_url, namespace, self.offer, Patience(print))
        self.workers: list[WorkerProcess] = []
        self.gate = root / "gate"
        Path(self.plan.journal).touch()

    @property
    def ledger(self) -> Ledger:
        return self.queue.ledger

    @property
    def queue_key(self) -> str:
        """The list in Redis that messages go through."""
        return f"{self.namespace}:{queue_name(self.offer)}"

    def close(self) -> None:
        """End every worker that still runs."""
        for worker in self.workers:
            if worker.alive:
                worker.kill()
        self.queue.close()

    def environ(self, **settings: object) -> dict[str, str]:
        """The environment of a worker of this site."""
        values = {
            "broker": self.broker_url,
            "model": self.model.path,
            "namespace": self.namespace,
            "lease_seconds": LEASE_SECONDS,
            "engine": "fused",
            **settings,
        }
        return {f"UNROLLED_{name.upper()}": str(value) for name, value in values.items()}

    def worker(self, plan: Plan | None = None, **settings: object) -> WorkerProcess:
        """Start a worker with this site's engine plan, or another."""
        environ = self.environ(**settings) | (plan or self.plan).to_environ()
        worker = WorkerProcess(environ, self.root / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    def job(self, name: str = "out", **options: object) -> OpenJob:
        """An empty job; its name makes it another."""
        stored = {**OutputSpec().to_options(), **options, "shard_tokens": 1}
        job = Job(self.model.fingerprint, Inputs.named([name]), "fused", "float32", live=False, options=stored)
        return create_job(self.root / name, job)

    def enqueue(
        self,
        rows: list[Row],
        *,
        rows_per_shard: int = 2,
        name: str = "out",
        priority: int | None = None,
        job: OpenJob | None = None,
        **options: object,
    ) -> OpenJob:
        """Enter rows as a job, or again in one that is given, a few to a shard; options say what is stored."""
        job = job or self.job(name, **options)
        cutter = Cutter(2**30, shard_rows=rows_per_shard)
        run = FileRun(job.objects, self.queue.of_job(job, priority), lambda *_: None, Growth(job))
        run.begin()
        run.run(shards_of(cuts([rows], cutter, None), job.job.id))
        return job

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

    def wait_done(self, job: OpenJob, seconds: float = PATIENCE_SECONDS) -> float:
        """Wait until no shard of a job waits any more; how many seconds it took."""

        def done() -> bool:
            return not left(job) and not self.ledger.members(job.key)[0]

        return eventually(done, f"job done, {len(left(job))} shards wait; {self.tail()}", seconds)

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
    assembly = Assembly(made, site.model, send or (lambda *_: None), lambda: None, lambda *_: engine)
    assembly.start()
    try:
        yield assembly
    finally:
        site.gate.touch()
        assembly.stop()


def left(job: OpenJob) -> set[object]:
    """The shards of a job that have rows and no record of death."""
    dead = {life.shard for life in names.lives_in(job.objects.list(names.DEAD))}
    return set(names.shards_in(job.objects.list(names.ROWS))) - dead


def published_rows(job: OpenJob) -> dict[str, NDArray[np.float32]]:
    """Rows by id: float32 (real tokens, units), from the parts alone.

    Raises:
        AssertionError: an id occurs twice.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for path in sorted(Path(job.place).glob("*.parquet")):
        table = pq.read_table(path)
        for row_id, outputs in zip(table["id"].to_pylist(), table["outputs"].to_pylist(), strict=True):
            assert row_id not in found, f"{row_id} is published twice"
            found[row_id] = np.array(outputs, np.float32).reshape(-1, UNITS)
    return found


def failed_ids(job: OpenJob) -> list[str]:
    """Ids of the rows that parts call failed, shard by shard."""
    shards = sorted(names.parts_in(job.objects.list(names.PARTS)))
    return [row.id for shard in shards for row in read_outcome(job.objects, shard).failed]  # type: ignore[union-attr]


def check_outputs(job: OpenJob, rows: list[Row], *, without: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    """Every row is published once with exactly its own outputs, but for the numbers in `without`, which aren't.

    Raises:
        AssertionError: a row is missing, twice, in excess or wrong.
    """
    found = published_rows(job)
    assert sorted(found) == sorted(row.id for row in rows if row.position not in without)
    for row in rows:
        if row.position not in without:
            np.testing.assert_array_equal(found[row.id], expected_outputs(row.tokens, UNITS), row.id)


def leftovers(job: OpenJob) -> list[Path]:
    """Hidden files that a publisher left, in any of a job's folders."""
    return sorted(path for path in Path(job.place).rglob(".*") if path.is_file())
