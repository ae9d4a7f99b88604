"""Runs a job with a live input for a long time while workers are restarted; checks its rows and its memory.

    python benchmarks/soak.py [--minutes 30] [--rows-per-second 200] [--engine fused]

Rows of token ids are written to `unrolled enqueue --follow -`. Every minute one of two workers gets SIGTERM and is
started again. At the end every row must be in exactly one file. It prints each process's resident memory, the median
over the second and over the last tenth of the time, and exits with status 1 if a row is lost or is in two files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
from workplace import RestartableBroker, add_engine

from producer.jobs.verify import verify_job
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from unrolled.protocol.opening import open_job

SAMPLE_SECONDS, RESTART_SECONDS = 5.0, 60.0
VOCABULARY = 5_000


def main() -> int:
    """Run it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rows-per-second", type=int, default=200)
    add_engine(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unrolled-soak-") as folder:
        os.chdir(folder)
        config = ModelConfig.stacked(
            vocab_size=VOCABULARY, max_length=64, num_lstm_units=64, num_lstm_layers=2, embedding_dim=8
        )
        save_model(Path("model"), config, new_weights(config, 1))
        with RestartableBroker(Path("broker").absolute()) as broker:
            return soak(arguments, broker)


def soak(arguments: argparse.Namespace, broker: RestartableBroker) -> int:
    """Write rows, restart workers and sample memory; then count the rows."""
    environment = {**os.environ, "UNROLLED_BROKER": broker.url, "UNROLLED_MODEL": "model", "UNROLLED_OUT": "out",
                   "UNROLLED_ENGINE": arguments.engine, "UNROLLED_LEASE_SECONDS": "5"}  # fmt: skip
    workers = [start_worker(number, environment) for number in range(2)]
    producer = subprocess.Popen(
        [sys.executable, "-m", "producer", "enqueue", "--follow", "-", "--format", "jsonl", "--flush-seconds", "1"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = arguments.minutes * 60
    written = [0]
    feeder = threading.Thread(target=feed, args=(producer, seconds, arguments.rows_per_second, written))
    feeder.start()
    samples: dict[str, list[float]] = {name: [] for name in ("producer", "worker 0", "worker 1", "broker")}
    began, restarted, restarts = time.monotonic(), time.monotonic(), 0
    while feeder.is_alive():
        feeder.join(SAMPLE_SECONDS)
        pids = (producer.pid, workers[0].pid, workers[1].pid, broker.process_id)
        for name, pid in zip(samples, pids, strict=True):
            samples[name].append(resident_mib(pid))
        if time.monotonic() - restarted > RESTART_SECONDS:
            number = restarts % 2
            workers[number].terminate()
            workers[number].wait(60)
            workers[number] = start_worker(number, environment)
            restarts, restarted = restarts + 1, time.monotonic()
    status = producer.wait(60)
    command = [sys.executable, "-m", "producer", "wait", "out", "--timeout", "120"]
    wait = subprocess.run(command, env=environment, check=False, capture_output=True)
    for worker in workers:
        worker.terminate()
        worker.wait(60)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes, {restarts} worker restarts, {written[0]:,} rows written; "
          f"enqueue ended with {status}, wait with {wait.returncode}")  # fmt: skip
    print(f"{'resident MiB':12} {'early':>8} {'late':>8} {'largest':>8}")
    for name, values in samples.items():
        tenth = max(1, len(values) // 10)
        early, late = statistics.median(values[tenth : 2 * tenth] or values), statistics.median(values[-tenth:])
        print(f"{name:12} {early:8.1f} {late:8.1f} {max(values):8.1f}")
    return count(written[0])


def feed(producer: subprocess.Popen[bytes], seconds: float, rows_per_second: int, written: list[int]) -> None:
    """Write rows at an even rate, then close the input."""
    rng = random.Random(1)
    until = time.monotonic() + seconds
    assert producer.stdin
    while time.monotonic() < until:
        lines = []
        for _ in range(max(1, rows_per_second // 10)):
            tokens = [rng.randrange(1, VOCABULARY) for _ in range(int(rng.expovariate(1 / 20)))]
            lines.append(json.dumps({"id": f"row-{written[0]}", "tokens": tokens}))
            written[0] += 1
        producer.stdin.write(("\n".join(lines) + "\n").encode())
        producer.stdin.flush()
        time.sleep(0.1)
    producer.stdin.close()


def start_worker(number: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a worker, with its log beside the output."""
    with Path(f"worker-{number}.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "producer", "worker"], env=environment, stdout=log, stderr=log)


def resident_mib(pid: int) -> float:
    """The resident memory of a process; 0 if it has just ended."""
    try:
        return psutil.Process(pid).memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def count(written: int) -> int:
    """Compare the files with what was written."""
    ids: list[str] = []
    for path in Path("out").glob("*.parquet"):
        ids += pq.read_table(path, columns=["id"])["id"].to_pylist()
    lost, twice = written - len(set(ids)), len(ids) - len(set(ids))
    problems = verify_job(open_job("out")).problems
    print(f"{len(ids):,} rows in files; {lost} lost, {twice} twice; {len(problems)} problem(s) by `verify`")
    return 1 if lost or twice or problems else 0


if __name__ == "__main__":
    sys.exit(main())
