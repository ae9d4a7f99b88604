"""What a job costs that stores one mean for each row, against one that stores a vector for each token.

    python benchmarks/pooling.py [--rows 1000000] [--units 512] [--layers 2] [--pooling mean] [--engine fused]

Three jobs, each with a broker, a worker and the `enqueue` command of its own: pooled rows; the same rows with a vector
for each token (fewer, because they take tens of gigabytes); and the rows' first tokens alone, a vector for each:
what one vector a row costs where nothing is pooled. Prints seconds, tokens a second, the files' bytes beside those of
one float32 vector a row, and the worker's peak resident memory (VmHWM).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from workplace import add_engine, peak_mib, workplace

from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights

VOCABULARY = 10_000
MEAN_LENGTH = 24


def main() -> None:
    """Measure the three jobs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rows-per-token", type=int, help="of the job with a vector for each token; a tenth")
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--pooling", default="mean")
    add_engine(parser)
    parser.add_argument("--memory-budget", default="1G", help="of the worker")
    parser.add_argument("--shard-tokens", type=int, help="of all jobs; for a short run, which has few shards else")
    parser.add_argument("--repeats", type=int, default=1, help="of each job, in turns")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unrolled-pooling-") as folder:
        os.chdir(folder)
        config = ModelConfig.stacked(VOCABULARY, 128, arguments.units, arguments.layers, 10)
        save_model(Path("model"), config, new_weights(config, 1))
        rows = arguments.rows_per_token or max(1, arguments.rows // 10)
        write_rows(Path("warm.parquet"), 200, MEAN_LENGTH)
        write_rows(Path("rows.parquet"), arguments.rows, MEAN_LENGTH)
        write_rows(Path("some.parquet"), rows, MEAN_LENGTH)
        write_rows(Path("firsts.parquet"), arguments.rows, 1)
        headings = ("job", "rows", "seconds", "tokens/s", "files", "of one vector a row", "worker's peak")
        print("| " + " | ".join(headings) + " |\n" + "|---" * len(headings) + "|")
        for repeat in range(arguments.repeats):
            for name, source, pooling in (
                (f"--pooling {arguments.pooling}", "rows", arguments.pooling),
                ("a vector for each token", "some", "none"),
                ("first tokens, a vector each", "firsts", "none"),
            ):
                report(name, Path(f"{source}.parquet"), pooling, Path(f"out-{source}-{repeat}"), arguments)


def write_rows(path: Path, rows: int, mean_length: int) -> None:
    """Rows of ids whose frequencies fall as words' do, of lognormal lengths."""
    random = np.random.default_rng(rows)
    lengths = np.ones(rows, np.int64)
    if mean_length > 1:
        spread = 0.6
        lengths = np.maximum(1, random.lognormal(np.log(mean_length) - spread**2 / 2, spread, rows)).astype(np.int64)
    share = 1 / np.arange(1, VOCABULARY + 1)
    ids = random.choice(VOCABULARY, int(lengths.sum()), p=share / share.sum()).astype(np.int32) + 1
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    pq.write_table(pa.table({"tokens": pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))}), path)


def report(name: str, rows: Path, pooling: str, out: Path, arguments: argparse.Namespace) -> None:
    """Do one job with a worker that is warm, and print its line of the table."""
    settings = {"engine": arguments.engine, "memory_budget": arguments.memory_budget}
    if arguments.shard_tokens:
        settings["shard_tokens"] = arguments.shard_tokens
    with workplace(**settings) as place:
        place.do("warm.parquet", "--pooling", pooling, out=f"warm-{out}")
        _, seconds = place.do(rows, "--pooling", pooling, out=str(out))
        peak = peak_mib(place.worker.pid)
    table = pq.read_metadata(rows)
    tokens = len(pq.read_table(rows)["tokens"].combine_chunks().values)
    size = sum(path.stat().st_size for path in out.glob("*.parquet"))
    print(
        f"| {name} | {table.num_rows:,} | {seconds:.1f} | {tokens / seconds:,.0f} | {size / 2**20:,.1f} MiB "
        f"| {size / (table.num_rows * arguments.units * 4):.3f} | {peak:,.0f} MiB |",
        flush=True,
    )
    for path in out.glob("*.parquet"):
        path.unlink()


if __name__ == "__main__":
    main()
