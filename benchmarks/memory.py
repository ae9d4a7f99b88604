"""Peak memory of producer and worker, on 200,000 rows and on ten times as many.

    python benchmarks/memory.py [--rows 200000] [--factor 10] [--engine auto] [--units 32]

Each size is a job of its own: a real broker, a real worker and the `enqueue` command on a file of JSON lines with ids
(so that duplicates are looked for). Prints each process's peak resident memory (VmHWM) and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from producer.broker import EmbeddedBroker
from unrolled.errors import UnrolledError
from unrolled.job import open_job
from unrolled.manifest import read_manifest
from unrolled.model_directory import ModelConfig, new_weights, save_model

VOCABULARY = 10_000


def main() -> None:
    """Measure both sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--factor", type=int, default=10)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--memory-budget", default="1G", help="of the worker")
    arguments = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory(prefix="unrolled-memory-") as folder:
        os.chdir(folder)
        config = ModelConfig.stacked(
            vocab_size=VOCABULARY, max_length=64, num_lstm_units=arguments.units, num_lstm_layers=2, embedding_dim=8
        )
        save_model(Path("model"), config, new_weights(config, 1))
        for rows in (arguments.rows, arguments.rows * arguments.factor):
            seconds, peak = measure(rows, arguments)
            peaks.append(peak)
            facts = ", ".join(f"{name} {mib:,.0f} MiB" for name, mib in peak.items())
            print(f"{rows:>10,} rows in {seconds:6.1f} s: {facts}", flush=True)
    for name in peaks[0]:
        print(f"{name}: {peaks[1][name] / peaks[0][name]:.2f} times as much for {arguments.factor} times the rows")


def measure(rows: int, arguments: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """One job; its seconds, and peaks in MiB."""
    text, out = Path(f"rows-{rows}.jsonl"), Path(f"out-{rows}")
    rng = random.Random(rows)
    with text.open("w") as file:
        for row in range(rows):
            tokens = [rng.randrange(1, VOCABULARY) for _ in range(rng.randrange(1, 20))]
            file.write(json.dumps({"id": f"row-{row}", "tokens": tokens}) + "\n")
    with EmbeddedBroker() as broker:
        environment = {**os.environ, "UNROLLED_BROKER": broker.url, "UNROLLED_MODEL": "model",
                       "UNROLLED_ENGINE": arguments.engine,
                       "UNROLLED_MEMORY_BUDGET": arguments.memory_budget}  # fmt: skip
        with Path("worker.log").open("ab") as log:
            worker = subprocess.Popen([sys.executable, "-m", "worker"], env=environment, stdout=log, stderr=log)
        began = time.monotonic()
        command = [sys.executable, "-m", "producer", "enqueue", str(text), "--out", str(out)]
        enqueue = subprocess.Popen(
            [*command, "--max-queued-tokens", "2000000"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = {"producer": 0.0, "worker": 0.0, "broker": 0.0}
        while enqueue.poll() is None or not complete(out):
            for name, pid in (("producer", enqueue.pid), ("worker", worker.pid), ("broker", broker.process_id)):
                peak[name] = max(peak[name], peak_mib(pid))
            if worker.poll() is not None or enqueue.poll() not in (None, 0):
                raise SystemExit(Path("worker.log").read_text()[-2000:])
            time.sleep(0.2)
        seconds = time.monotonic() - began
        worker.terminate()
        worker.wait()
    return seconds, peak


def complete(out: Path) -> bool:
    """Whether every shard is published."""
    try:
        directory = open_job(out)
    except UnrolledError:
        return False
    return len(directory.published()) == len(read_manifest(out).entries)


def peak_mib(pid: int) -> float:
    """Peak resident memory so far; 0 where the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
