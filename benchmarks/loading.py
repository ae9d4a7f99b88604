"""How fast a job's vectors reach PyTorch: with one worker of its `DataLoader`, beside pyarrow's own reading.

    python benchmarks/loading.py [--units 256] [--tokens 1000000] [--rows 64] [--repeats 3]

Writes parts of 64 MiB with random vectors for rows of lognormal lengths (24 tokens on average), then reads all of them
in turns: with pyarrow alone, row group by row group; as batches of NumPy, shuffled; and through a `DataLoader` without
and with one worker process, padded and packed. The files are in the page cache: what is measured is the readers' work.
Prints the median of real tokens a second of each, and its ratio to pyarrow's. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.random_parts import write_part

import unrolled
from unrolled.learning.torch import TorchExamples, collate_packed, collate_padded

MEAN_LENGTH = 24
SPREAD = 0.6
PART_BYTES = 64 << 20


def main() -> None:
    """Write the parts, read them in turns, print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=64, help="in a batch")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="unrolled-loading-") as folder:
        tokens = write_parts(Path(folder), arguments.units, arguments.tokens)
        seconds: dict[str, list[float]] = {}
        for turn in range(arguments.repeats + 1):
            for name, read in contestants(Path(folder), arguments.rows).items():
                began = time.perf_counter()
                assert read() == tokens
                if turn:  # the first is for warming up
                    seconds.setdefault(name, []).append(time.perf_counter() - began)
    reference = statistics.median(seconds["pyarrow, a row group at a time"])
    for name, each in seconds.items():
        took = statistics.median(each)
        print(f"{name}: {tokens / took:,.0f} tokens/s, {reference / took:.2f} of pyarrow")


def write_parts(folder: Path, units: int, tokens: int) -> int:
    """Write parts until there are this many tokens; how many there are."""
    of_part = PART_BYTES // (4 * units)
    written = 0
    for part in range(-(-tokens // of_part)):
        rows = of_part // MEAN_LENGTH
        random = np.random.default_rng(part)
        drawn = random.lognormal(np.log(MEAN_LENGTH) - SPREAD**2 / 2, SPREAD, rows)
        lengths = np.maximum(1, drawn).astype(np.int64)
        write_part(folder, part, [f"text-{part}-{row}" for row in range(rows)], lengths, units)
        written += int(lengths.sum())
    return written


def contestants(folder: Path, rows: int) -> dict[str, Callable[[], int]]:
    """Functions that read all vectors and count them."""

    def alone() -> int:
        seen = 0
        for path in sorted(folder.glob("*.parquet")):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=["id", "length", "outputs"])
                    seen += sum(len(chunk.flatten()) for chunk in table["outputs"].chunks)
        return seen

    def examples() -> unrolled.Examples:
        return unrolled.Examples(dataset=unrolled.open(folder), seed=1)

    def loaded(workers: int, collate: Callable[..., dict[str, object]]) -> Callable[[], int]:
        def read() -> int:
            loader = torch.utils.data.DataLoader(
                TorchExamples(examples()), batch_size=rows, num_workers=workers, collate_fn=collate
            )
            return sum(count(batch) for batch in loader)

        return read

    return {
        "pyarrow, a row group at a time": alone,
        "Examples.batches": lambda: sum(int(batch.mask.sum()) for batch in examples().batches(rows)),
        "DataLoader, no worker, padded": loaded(0, collate_padded),
        "DataLoader, one worker, padded": loaded(1, collate_padded),
        "DataLoader, one worker, packed": loaded(1, collate_packed),
    }


def count(batch: dict[str, object]) -> int:
    """The tokens in a batch."""
    return int(batch["mask"].sum()) if "mask" in batch else len(batch["vectors"].data)


if __name__ == "__main__":
    main()
