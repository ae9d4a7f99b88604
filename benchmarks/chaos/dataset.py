"""The inputs of the rounds, each with the files of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from workplace import RestartableBroker

from unrolled.job.directory import open_job
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights

HERE = Path(__file__).parent
#: The number of different inputs; a round's seed decides which one it has.
DATASETS = 4
ROWS, SHARD_TOKENS, VOCABULARY = 2_000, 1_200, 500
#: Token ids with which the engine raises an error, or kills its process; no other row has them.
FAILING, KILLING = VOCABULARY - 1, VOCABULARY


@dataclass(frozen=True)
class Dataset:
    """One input, and what must become of its rows.

    Attributes:
        number: the number of the input.
        folder: has `rows.jsonl`, `model` and the undisturbed `out`.
        ids: the ids of all rows, in order.
        bad: ids of rows that the producer must put into quarantine.
        failing: ids of rows that the engine fails on.
        killing: ids of rows that kill their worker.
        engine: the engine's name.
    """

    number: int
    folder: Path
    ids: tuple[str, ...]
    bad: frozenset[str]
    failing: frozenset[str]
    killing: frozenset[str]
    engine: str

    @property
    def parts(self) -> dict[str, bytes]:
        """The contents of the undisturbed files, by name."""
        return {path.name: path.read_bytes() for path in (self.folder / "out").glob("*.parquet")}


def prepare(root: Path, number: int, engine: str) -> Dataset:
    """Write an input, and compute it undisturbed."""
    rng = random.Random(number)
    folder = root / f"dataset-{number}"
    folder.mkdir()
    config = ModelConfig.stacked(
        vocab_size=VOCABULARY, max_length=64, num_lstm_units=24, num_lstm_layers=2, embedding_dim=4
    )
    save_model(folder / "model", config, new_weights(config, number))
    bad, failing, killing = set(), set(), set()
    lines = []
    for row in range(ROWS):
        row_id = f"row-{row}"
        tokens = [rng.choice((0, rng.randrange(1, FAILING))) if rng.random() < 0.1 else rng.randrange(1, FAILING)
                  for _ in range(int(rng.expovariate(1 / 16)))]  # fmt: skip
        kind = rng.random()
        if kind < 0.003:
            bad.add(row_id)
            tokens.append(-1)
        elif kind < 0.005:
            failing.add(row_id)
            tokens.append(FAILING)
        elif number % 2 and row == ROWS // 2:
            killing.add(row_id)
            tokens.append(KILLING)
        lines.append(json.dumps({"id": row_id, "tokens": tokens}))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    ids = tuple(f"row-{row}" for row in range(ROWS))
    dataset = Dataset(number, folder, ids, frozenset(bad), frozenset(failing), frozenset(killing), engine)
    _compute(dataset)
    return dataset


def _compute(dataset: Dataset) -> None:
    with RestartableBroker() as broker:
        environment = worker_environment(dataset, broker.url, kills=False, seconds=0.0)
        with (dataset.folder / "worker.log").open("ab") as log:
            command = [sys.executable, str(HERE / "misbehaving_worker.py")]
            worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            enqueue = _quietly(enqueue_command(dataset), dataset, environment)
            if enqueue.returncode not in (0, 3):
                raise SystemExit(enqueue.stderr.decode())
            _quietly([sys.executable, "-m", "producer", "wait", "out", "--timeout", "120"], dataset, environment)
        finally:
            worker.terminate()
            worker.wait()
    directory = open_job(dataset.folder / "out")
    if directory.waiting() or directory.given_up():
        raise SystemExit(f"the undisturbed run of dataset {dataset.number} isn't complete: {dataset.folder}")


def _quietly(command: list[str], dataset: Dataset, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command in the input's folder, for two minutes at most."""
    return subprocess.run(command, env=environment, cwd=dataset.folder, check=False, capture_output=True, timeout=120)


def enqueue_command(dataset: Dataset) -> list[str]:
    """The command of a round. It has the same arguments in every directory, so that it is the same job."""
    return [sys.executable, "-m", "producer", "enqueue", "rows.jsonl", "--out", "out", "--with-tokens",
            "--model", str(dataset.folder / "model"), "--shard-tokens", str(SHARD_TOKENS),
            "--max-queued-tokens", str(12 * SHARD_TOKENS)]  # fmt: skip


def worker_environment(dataset: Dataset, broker: str, *, kills: bool, seconds: float) -> dict[str, str]:
    """The settings of a worker in a round."""
    repository = HERE.parent.parent
    return {
        **os.environ,
        "PYTHONPATH": str(repository),
        "UNROLLED_BROKER": broker,
        "UNROLLED_MODEL": str(dataset.folder / "model"),
        "UNROLLED_ENGINE": dataset.engine,
        "UNROLLED_THREADS": "1",
        "UNROLLED_CONCURRENCY": "4",
        "UNROLLED_LEASE_SECONDS": "2",
        "UNROLLED_GRACE_SECONDS": "1",
        "UNROLLED_MAX_ATTEMPTS": "5",
        "CHAOS_FAILS_ON": str(FAILING),
        "CHAOS_KILLS_ON": str(KILLING) if kills else "0",
        "CHAOS_SECONDS": str(seconds),
    }
