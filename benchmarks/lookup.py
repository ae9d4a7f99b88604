"""What it costs to look up a row by its id in a job of ten million rows.

    python benchmarks/lookup.py [--rows 10000000] [--units 8] [--lookups 200]

Writes parts with one random vector for each row, then looks rows up by their ids in a random order. Prints the seconds
of opening the job and of the first look-up, which reads all ids; the milliseconds of later ones, the median and the
slowest of a hundred; and the bytes that the index takes for each row.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.random_parts import write_part

import unrolled

ROWS_PER_PART = 500_000


def main() -> None:
    """Write the parts, look rows up, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--lookups", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unrolled-lookup-") as folder:
        for part, start in enumerate(range(0, arguments.rows, ROWS_PER_PART)):
            rows = min(ROWS_PER_PART, arguments.rows - start)
            ids = [f"doc-{row}" for row in range(start, start + rows)]
            write_part(Path(folder), part, ids, np.ones(rows, np.int64), arguments.units, "mean")
        before = memory_bytes()
        dataset, seconds = timed(lambda: unrolled.open(folder))
        print(f"open: {seconds:.2f} s, {len(dataset):,} rows in {len(dataset.files)} parts")
        _, seconds = timed(lambda: dataset["doc-17"])
        print(f"first look-up: {seconds:.2f} s, {(memory_bytes() - before) / arguments.rows:.0f} bytes of memory a row")
        wanted = np.random.default_rng(1).integers(0, arguments.rows, arguments.lookups).tolist()
        took = sorted(timed(lambda row=row: dataset[f"doc-{row}"])[1] for row in wanted)
        print(f"later ones: {1000 * took[len(took) // 2]:.1f} ms, 99 % below {1000 * took[-1 - len(took) // 100]:.1f}")
        _, seconds = timed(lambda: "doc-none" in dataset)
        print(f"an id that no row has: {1000 * seconds:.2f} ms")


def timed(run):  # noqa: ANN001, ANN201 - any function, and what it gives
    """What a function gives, and its seconds."""
    began = time.perf_counter()
    found = run()
    return found, time.perf_counter() - began


def memory_bytes() -> int:
    """The resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
