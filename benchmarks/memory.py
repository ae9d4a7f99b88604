"""Measures the peak memory of producer and worker for 200,000 rows and for ten times as many.

    python benchmarks/memory.py [--rows 200000] [--factor 10] [--engine fused] [--units 32]

Each size is a job with a real broker, a real worker and the `enqueue` command. The input is a file of JSON lines with
ids, so duplicates are searched for. It prints each process's peak resident memory (VmHWM) and the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from pathlib import Path

from workplace import add_engine, workplace

from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights

VOCABULARY = 10_000


def main() -> None:
    """Measure both sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--factor", type=int, default=10)
    add_engine(parser)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--memory-budget", default="1G", help="the worker's --memory-budget")
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
        print(f"{name}: {peaks[1][name] / peaks[0][name]:.2f} times the memory for {arguments.factor} times the rows")


def measure(rows: int, arguments: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """Run one job; returns its seconds, and each process's peak in MiB."""
    text, out = Path(f"rows-{rows}.jsonl"), f"out-{rows}"
    rng = random.Random(rows)
    with text.open("w") as file:
        for row in range(rows):
            tokens = [rng.randrange(1, VOCABULARY) for _ in range(rng.randrange(1, 20))]
            file.write(json.dumps({"id": f"row-{row}", "tokens": tokens}) + "\n")
    peaks: dict[str, float] = {}
    with workplace(engine=arguments.engine, memory_budget=arguments.memory_budget) as place:

        def look(producer: int) -> None:
            found = place.peaks_mib(producer)
            peaks.update({name: max(peaks.get(name, 0.0), mib) for name, mib in found.items()})

        _, seconds = place.do(text, "--max-queued-tokens", 2000000, out=out, each=look)
    return seconds, peaks


if __name__ == "__main__":
    main()
