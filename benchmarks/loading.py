"""How fast a job's vectors reach PyTorch: with one worker of its `DataLoader`, beside pyarrow's own reading.

    python benchmarks/loading.py [--units 256] [--tokens 2000000] [--rows 64] [--precision float32]
        [--repeats 3] [--results loading.tsv]

Writes parts of 64 MiB with random vectors for rows of lognormal lengths (24 tokens on average), then reads all of them
in turns: with pyarrow alone, row group by row group, without and with checking the pages' checksums, as Unrolled does;
as batches of NumPy, shuffled; and through a `DataLoader` without and with one worker process, padded and packed. The
files are in the page cache: what is measured is the readers' work.

The last two contestants are what the machine allows: a worker of a bare `DataLoader` that sends zeros in the shapes of
the padded batches, and a loop that reads the files, computes the checksums and fills padded batches, without anything
else. Prints the median of real tokens a second of each with the lowest and the highest, and its ratio to pyarrow's.
Needs PyTorch.
"""

# Over 150 lines: all contestants read the same files.

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from machine import append

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.random_parts import write_part

import unrolled

if TYPE_CHECKING:
    import torch

MEAN_LENGTH = 24
SPREAD = 0.6
PART_BYTES = 64 << 20
READ_BYTES = 1 << 20


def main() -> None:
    """Write the parts, read them in turns, print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--rows", type=int, default=64, help="in a batch")
    parser.add_argument("--precision", choices=("float32", "float16"), default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, help="append the figures to this file")
    arguments = parser.parse_args()
    import torch  # noqa: PLC0415 - --help needs no PyTorch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="unrolled-loading-") as folder:
        tokens = write_parts(Path(folder), arguments.units, arguments.tokens, arguments.precision)
        readers = contestants(Path(folder), arguments.rows, tokens)
        seconds: dict[str, list[float]] = {}
        for turn in range(arguments.repeats + 1):
            for name, read in readers.items():
                began = time.perf_counter()
                assert read() == tokens
                if turn:  # the first is for warming up
                    seconds.setdefault(name, []).append(time.perf_counter() - began)
    reference = statistics.median(seconds[next(iter(seconds))])
    for name, each in seconds.items():
        took = statistics.median(each)
        spread = f"{tokens / max(each):,.0f} to {tokens / min(each):,.0f}"
        print(f"{name}: {tokens / took:,.0f} tokens/s ({spread}), {reference / took:.2f} of pyarrow")
    if arguments.results:
        settings = {name: getattr(arguments, name) for name in ("units", "precision", "rows")} | {"tokens": tokens}
        rates = {name: [tokens / took for took in each] for name, each in seconds.items()}
        append(arguments.results, settings, rates)


def write_parts(folder: Path, units: int, tokens: int, precision: str) -> int:
    """Write parts until there are this many tokens; how many there are."""
    of_part = PART_BYTES // (np.dtype(precision).itemsize * units)
    written = 0
    for part in range(-(-tokens // of_part)):
        rows = of_part // MEAN_LENGTH
        random = np.random.default_rng(part)
        drawn = random.lognormal(np.log(MEAN_LENGTH) - SPREAD**2 / 2, SPREAD, rows)
        lengths = np.maximum(1, drawn).astype(np.int64)
        ids = [f"text-{part}-{row}" for row in range(rows)]
        write_part(folder, part, ids, lengths, units, precision=precision)
        written += int(lengths.sum())
    return written


def alone(folder: Path, *, checked: bool) -> int:
    """Read all files with pyarrow, a row group at a time; the number of tokens."""
    seen = 0
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path, page_checksum_verification=checked) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["id", "length", "outputs"])
                seen += sum(len(chunk.flatten()) for chunk in table["outputs"].chunks)
    return seen


def contestants(folder: Path, rows: int, tokens: int) -> dict[str, Callable[[], int]]:
    """Functions that read all vectors and count them."""
    import torch  # noqa: PLC0415 - --help needs no PyTorch

    from unrolled.learning.torch import TorchExamples, collate_packed, collate_padded  # noqa: PLC0415 - needs PyTorch

    def examples(group_rows: int = 0) -> unrolled.Examples:
        return unrolled.Examples(dataset=unrolled.open(folder), seed=1, group_rows=group_rows)

    def loaded(workers: int, collate: Callable[..., dict[str, object]], group_rows: int = 0) -> Callable[[], int]:
        def read() -> int:
            loader = torch.utils.data.DataLoader(
                TorchExamples(examples(group_rows)), batch_size=rows, num_workers=workers, collate_fn=collate
            )
            return sum(count(batch) for batch in loader)

        return read

    shapes = [batch.vectors.shape for batch in examples().batches(rows)]
    padding = sum(shape[0] * shape[1] for shape in shapes) / tokens
    print(f"{tokens:,} tokens; padded batches have {padding:.2f} times as many places", flush=True)
    return {
        "pyarrow, a row group at a time": lambda: alone(folder, checked=False),
        "pyarrow, with checksums": lambda: alone(folder, checked=True),
        "Examples.batches": lambda: sum(int(batch.mask.sum()) for batch in examples().batches(rows)),
        "DataLoader, no worker, padded": loaded(0, collate_padded),
        "DataLoader, one worker, padded": loaded(1, collate_padded),
        "DataLoader, one worker, padded, group_rows": loaded(1, collate_padded, group_rows=rows),
        "DataLoader, one worker, packed": loaded(1, collate_packed),
        "zeros of a DataLoader's worker": lambda: tokens if zeros(shapes) == len(shapes) else 0,
        "reading, checksums, filling": lambda: filled(folder, shapes, tokens),
    }


def count(batch: dict[str, object]) -> int:
    """The tokens in a batch."""
    return int(batch["mask"].sum()) if "mask" in batch else len(batch["vectors"].data)


class Zeros:
    """Batches of zeros, as a dataset of PyTorch."""

    def __init__(self, shapes: list[tuple[int, ...]]) -> None:
        self._shapes = shapes

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, number: int) -> torch.Tensor:
        import torch  # noqa: PLC0415 - --help needs no PyTorch

        return torch.zeros(self._shapes[number])


def zeros(shapes: list[tuple[int, ...]]) -> int:
    """Receive batches of zeros from one worker; how many there were."""
    import torch  # noqa: PLC0415 - --help needs no PyTorch

    return sum(1 for _ in torch.utils.data.DataLoader(Zeros(shapes), batch_size=None, num_workers=1))


def filled(folder: Path, shapes: list[tuple[int, ...]], tokens: int) -> int:
    """Read all files, compute their checksums, and fill batches: no reader can do less. The number of tokens."""
    piece = np.empty(READ_BYTES, np.uint8)
    for path in sorted(folder.glob("*.parquet")):
        with path.open("rb", buffering=0) as file:
            while found := file.readinto(piece):
                zlib.crc32(piece[:found])
    largest = np.empty(max(int(np.prod(shape)) for shape in shapes), np.float32)
    for shape in shapes:
        largest[: int(np.prod(shape))] = 0
    return tokens


if __name__ == "__main__":
    main()
