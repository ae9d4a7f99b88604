"""Inputs for the rounds, the real run that nothing disturbed, and the commands that every round gives."""

# Over 150 lines: an input, and every command that is given for it.

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from expectation import Expectation
from workplace import RestartableBroker

from unrolled.job.offer import EngineName, Offer
from unrolled.model.config import ModelConfig
from unrolled.model.directory import open_model, save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.weights import new_weights
from unrolled.protocol.opening import open_job

HERE = Path(__file__).parent
#: Different inputs; a round takes the one of its seed.
DATASETS = 4
ROWS, SHARD_TOKENS, VOCABULARY = 1_000, 500, 500
#: Token ids that only misbehaving workers know: the engine fails on the first always, on the second in some processes
#: or calls, and dies of the third. No other row holds them.
FAILING, MOODY, KILLING = VOCABULARY - 2, VOCABULARY - 1, VOCABULARY
#: Only the inputs with an odd number hold a row that kills its worker.
KILLING_ROW = ROWS // 2
#: The input whose rows bring their initial states, which are some of a few.
WITH_STATES, STATES = 2, 8
UNITS = 24


@dataclass(frozen=True)
class Dataset:
    """One input and the results that it must have.

    Attributes:
        number: which one.
        folder: holds `rows.jsonl`, `model`, `dataset.json` and the undisturbed `out`.
        lines: of `rows.jsonl`, by row id, in order.
        tokens: token ids of each good row, by row id.
        states: initial states of each row, by row id; empty if its rows bring none.
        bad: ids that the producer must put into quarantine.
        failing: ids of rows on which the engine of a misbehaving worker always fails.
        moody: ids of rows on which it fails now and then.
        killing: ids of rows that kill a misbehaving worker.
        engine: what computes.
    """

    number: int
    folder: Path
    lines: dict[str, str]
    tokens: dict[str, list[int]]
    states: dict[str, list[float]]
    bad: frozenset[str]
    failing: frozenset[str]
    moody: frozenset[str]
    killing: frozenset[str]
    engine: EngineName

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Read what `prepare` has written."""
        facts = json.loads((folder / "dataset.json").read_text())
        lines = {json.loads(line)["id"]: line for line in (folder / "rows.jsonl").read_text().splitlines()}
        rows = {row: json.loads(line) for row, line in lines.items()}
        tokens = {row: fields["tokens"] for row, fields in rows.items()}
        states = {row: fields["initial_state"] for row, fields in rows.items() if "initial_state" in fields}
        good = {row: ids for row, ids in tokens.items() if -1 not in ids}
        holding = {token: frozenset(row for row, ids in tokens.items() if token in ids)
                   for token in (-1, FAILING, MOODY, KILLING)}  # fmt: skip
        return cls(facts["number"], folder, lines, good, states, holding[-1], holding[FAILING], holding[MOODY],
                   holding[KILLING], facts["engine"])  # fmt: skip

    @property
    def offer(self) -> Offer:
        """What the job asks workers for."""
        return Offer(open_model(self.folder / "model").fingerprint, self.engine, "float32")

    @property
    def expectation(self) -> Expectation:
        """What each part must be."""
        return Expectation(self.folder / "model", self.engine, self.tokens, self.states)


def prepare(root: Path, number: int, engine: EngineName) -> Dataset:
    """Write an input, and have it computed undisturbed by a real worker, whose parts must be what is expected."""
    rng = random.Random(number)
    folder = root / f"dataset-{number}"
    folder.mkdir()
    layers = (LayerConfig(UNITS, given_state=number == WITH_STATES), LayerConfig(UNITS))
    config = ModelConfig(VOCABULARY, 64, 4, layers)
    states = [[rng.uniform(-1, 1) for _ in range(config.given_dim)] for _ in range(STATES)]
    save_model(folder / "model", config, new_weights(config, number))
    lines = []
    for row in range(ROWS):
        tokens = [rng.choice((0, rng.randrange(1, FAILING))) if rng.random() < 0.1 else rng.randrange(1, FAILING)
                  for _ in range(int(rng.expovariate(1 / 16)))]  # fmt: skip
        kind = rng.random()
        if number % 2 and row == KILLING_ROW:
            tokens.append(KILLING)
        elif kind < 0.004:
            tokens.append(-1)
        elif kind < 0.008:
            tokens.append(FAILING)
        elif kind < 0.08:
            tokens.append(MOODY)
        given = {"initial_state": rng.choice(states)} if config.given_dim else {}
        lines.append(json.dumps({"id": f"row-{row}", "tokens": tokens, **given}))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "dataset.json").write_text(json.dumps({"number": number, "engine": engine}))
    dataset = Dataset.load(folder)
    _compute(dataset)
    return dataset


def _compute(dataset: Dataset) -> None:
    with RestartableBroker() as broker:
        environment = environment_of(dataset, broker.url)
        command = [sys.executable, "-m", "producer", "worker"]
        with (dataset.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            for words in (enqueue_words(dataset, "out"), ["wait", "out", "--timeout", "120"]):
                done = subprocess.run(unrolled(*words), env=environment, cwd=dataset.folder, check=False,
                                      capture_output=True, timeout=180)  # fmt: skip
                if done.returncode not in (0, 3):
                    raise SystemExit(f"the undisturbed run of {dataset.folder}: {done.stderr.decode()}")
        finally:
            worker.terminate()
            worker.wait()
    job, expectation = open_job(dataset.folder / "out").job, dataset.expectation
    parts = list((dataset.folder / "out").glob("*.parquet"))
    if not parts or any(path.read_bytes() != expectation.part(job, path.read_bytes()) for path in parts):
        raise SystemExit(f"{dataset.folder}: the undisturbed run gives other parts than are expected")


def unrolled(*words: str) -> list[str]:
    """A command as a person types it."""
    return [sys.executable, "-m", "producer", *words]


def enqueue_words(dataset: Dataset, out: str, inputs: str = "rows.jsonl") -> list[str]:
    """The words that queue an input; equal in every directory, so that the job is equal too."""
    return ["enqueue", *_job_words(dataset, out, inputs), "--max-queued-tokens", str(8 * SHARD_TOKENS)]


def neighbour_words(dataset: Dataset, out: str) -> list[str]:
    """The words that queue the same input for other vectors: another job, which has the model's queue too."""
    return [*enqueue_words(dataset, out), "--pooling", "mean"]


def follow_words(dataset: Dataset, out: str) -> list[str]:
    """The words that queue standard input as it arrives."""
    words = ["--follow", "--format", "jsonl", "--flush-seconds", "0.3"]
    return ["enqueue", *_job_words(dataset, out, "-"), "--max-queued-tokens", str(8 * SHARD_TOKENS), *words]


def run_words(dataset: Dataset, out: str) -> list[str]:
    """The words that do a whole job, with a broker and workers of its own."""
    words = ["--workers", "2", "--threads", "1", "--concurrency", "2", "--lease-seconds", "2", "--grace-seconds", "1"]
    return ["run", *_job_words(dataset, out, "rows.jsonl"), *words]


def _job_words(dataset: Dataset, out: str, inputs: str) -> list[str]:
    return [inputs, "--out", out, "--with-tokens", "--engine", dataset.engine, "--model", str(dataset.folder / "model"),
            "--shard-tokens", str(SHARD_TOKENS)]  # fmt: skip


def environment_of(dataset: Dataset, broker: str, **more: str) -> dict[str, str]:
    """Settings of the workers and commands of a round."""
    return {
        **os.environ,
        "PYTHONPATH": str(HERE.parent.parent),
        "COLUMNS": "120",
        "UNROLLED_BROKER": broker,
        "UNROLLED_MODEL": str(dataset.folder / "model"),
        "UNROLLED_ENGINE": dataset.engine,
        "UNROLLED_THREADS": "1",
        "UNROLLED_LOG_FORMAT": "json",
        "UNROLLED_CONCURRENCY": "2",
        "UNROLLED_LEASE_SECONDS": "1.5",
        "UNROLLED_GRACE_SECONDS": "1",
        "UNROLLED_MAX_ATTEMPTS": "2",
        **more,
    }
