"""Compares sizes of shards: the real tokens per second of a whole job, and MB/s of reading its files again.

    python benchmarks/shard_size.py [--units 512] [--engine fused] [--tokens 1500000] [--repeats 2]

Each size is a job over the same rows of token ids, with a real broker and a real worker that is running already. With
small shards, files and fsyncs cost time; with large ones, the engine is idle at the start and the end of the job, more
memory is needed, and more work is lost when a worker dies. The sizes take turns. It prints the medians, one line for
each size of the files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from workplace import Workplace, add_engine, real_tokens, workplace

import unrolled
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights

VOCABULARY = 10_000
MIB = (2, 8, 32, 64, 128, 256)


def main() -> None:
    """Measure, and print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=512)
    add_engine(parser)
    parser.add_argument("--tokens", type=int, default=1_500_000)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unrolled-shards-") as folder:
        os.chdir(folder)
        config = ModelConfig.stacked(
            vocab_size=VOCABULARY, max_length=128, num_lstm_units=arguments.units, num_lstm_layers=2, embedding_dim=10
        )
        save_model(Path("model"), config, new_weights(config, 1))
        write_rows(arguments.tokens)
        found: dict[int, list[tuple[float, float]]] = {mib: [] for mib in MIB}
        with workplace(engine=arguments.engine) as place:
            for number in range(arguments.repeats):
                for mib in MIB:
                    found[mib].append(measure(place, mib, number, arguments.units))
    print(f"{'MiB a file':>10} {'tokens/s':>10} {'read MB/s':>10}")
    for mib, figures in found.items():
        rate, read = (statistics.median(values) for values in zip(*figures, strict=True))
        print(f"{mib:>10} {rate:>10,.0f} {read:>10,.0f}")


def write_rows(tokens: int) -> None:
    """Write rows of about 25 tokens, with some words far more frequent than others."""
    rng = random.Random(1)
    with Path("rows.jsonl").open("w") as file:
        while tokens > 0:
            row = [min(VOCABULARY, int(rng.paretovariate(0.5))) for _ in range(1 + int(rng.expovariate(1 / 25)))]
            tokens -= len(row)
            file.write(json.dumps({"tokens": row}) + "\n")


def measure(place: Workplace, mib: int, number: int, units: int) -> tuple[float, float]:
    """Run one job with shards of this size; returns real tokens per second, and MB/s of reading its files again."""
    out = f"out-{mib}-{number}"
    _, seconds = place.do("rows.jsonl", "--shard-tokens", mib * 2**20 // (4 * units), out=out)
    began = time.perf_counter()
    size = sum(batch.values.nbytes for batch in unrolled.open(out).batches())
    read = size / 1e6 / (time.perf_counter() - began)
    for path in Path(out).glob("*.parquet"):
        path.unlink()
    return real_tokens(out) / seconds, read


if __name__ == "__main__":
    main()
