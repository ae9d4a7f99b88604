"""Measures how fast a shard's file is written, by Unrolled and by pyarrow with several encodings and compressions.

    python benchmarks/encoding.py [--units 512] [--megabytes 64] [--repeats 5] [--directory /dev/shm]

The values are float32 states of a real LSTM, with Keras's initial weights and with weights four times as large, which
saturate as trained ones do; rows have about 29 tokens. Times are processor seconds of the only thread, and files are in
memory, so neighbours and disks hardly matter. A rate is megabytes of vectors per second: the median, and in brackets
the slowest and the fastest run. It is one file because it is one table.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unrolled.format.columns import VectorColumn
from unrolled.format.file_info import FileInfo
from unrolled.format.output_spec import OutputSpec
from unrolled.format.schema import arrow_schema
from unrolled.job.shard_id import ShardId
from unrolled.tokenization.ragged import Ragged
from worker.parquet import shard_file

OUTPUTS = "outputs.list.element.list.element"
PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}
SPLIT = PLAIN | {"column_encoding": {OUTPUTS: "BYTE_STREAM_SPLIT"}}
PYARROW: dict[str, dict[str, Any]] = {
    "defaults (snappy, dictionaries, statistics)": {},
    "plain": PLAIN,
    "plain, page checksums": PLAIN | {"write_page_checksum": True},
    "plain, version 2 pages": PLAIN | {"data_page_version": "2.0"},
    "plain, 8 MB pages": PLAIN | {"data_page_size": 8 << 20},
    "snappy": PLAIN | {"compression": "snappy"},
    "lz4": PLAIN | {"compression": "lz4"},
    "zstd 1": PLAIN | {"compression": "zstd", "compression_level": 1},
    "byte stream split": SPLIT,
    "byte stream split, lz4": SPLIT | {"compression": "lz4"},
    "byte stream split, zstd 1": SPLIT | {"compression": "zstd", "compression_level": 1},
}


def lstm_states(tokens: int, units: int, scale: float) -> NDArray[np.float32]:
    """States of one LSTM layer over random inputs, float32 (tokens, units), computed for 64 rows at once."""
    random = np.random.default_rng(0)
    limit = scale * np.sqrt(6 / (6 * units))  # Glorot's limit for a (2 units, 4 units) kernel
    kernel = random.uniform(-limit, limit, (2 * units, 4 * units)).astype(np.float32)
    rows, states = 64, []
    hidden, cell = np.zeros((2, rows, units), np.float32)
    for _ in range(-(-tokens // rows)):
        inputs = random.standard_normal((rows, units), np.float32)
        gates = np.split(np.concatenate((inputs, hidden), axis=1) @ kernel, 4, axis=1)
        enter, forget, leave = (1 / (1 + np.exp(-gate)) for gate in (gates[0], gates[1] + 1, gates[3]))
        cell = forget * cell + enter * np.tanh(gates[2])
        hidden = leave * np.tanh(cell)
        states.append(hidden)
    return np.ascontiguousarray(np.concatenate(states)[:tokens])


def shard(outputs: NDArray[np.float32]) -> tuple[FileInfo, list[str], Ragged]:
    """Rows of about 29 tokens for these vectors."""
    lengths = np.random.default_rng(1).poisson(29, len(outputs) // 20)
    ends = np.minimum(np.concatenate(([0], np.cumsum(lengths))), len(outputs))
    ends = ends[: int(np.searchsorted(ends, len(outputs))) + 1]
    info = FileInfo("0" * 64, "fused", "float32", "job", ShardId(0, "0" * 12), len(ends) - 1, len(outputs))
    ids = [f"corpus.txt#{row}" for row in range(len(ends) - 1)]
    return info, ids, Ragged(np.ones(len(outputs), np.int32), ends)


def as_table(ids: list[str], tokens: Ragged, outputs: NDArray[np.float32]) -> pa.Table:
    """Rows as an Arrow table, which shares the vectors' memory."""
    schema = arrow_schema(OutputSpec(), [VectorColumn("none", None, outputs.shape[1])])
    ends = pa.array(tokens.offsets.astype(np.int32))
    kind = schema.field("outputs").type
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(outputs.reshape(-1)), type=kind.value_type)
    mask = pa.ListArray.from_arrays(ends, pa.array(tokens.values != 0), type=schema.field("mask").type)
    lengths = pa.array(tokens.lengths.astype(np.int32))
    lists = pa.ListArray.from_arrays(ends, vectors, type=kind)
    return pa.Table.from_arrays([pa.array(ids), lengths, mask, lists], schema=schema)


def float16_error(outputs: NDArray[np.float32]) -> str:
    """The error of rounding to float16: of a number, and of a vector's length and direction."""
    exact, rounded = outputs.astype(np.float64), outputs.astype(np.float16).astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1)
    relative = np.linalg.norm(rounded - exact, axis=1) / lengths
    cosines = (rounded * exact).sum(axis=1) / lengths / np.linalg.norm(rounded, axis=1)
    return (
        f"float16: numbers up to {np.abs(exact).max():.3f}, error at most {np.abs(rounded - exact).max():.2e}; "
        f"vectors by {np.median(relative):.2e} of their length (at most {relative.max():.2e}); 1 - cosine up to "
        f"{1 - cosines.min():.1e}"
    )


def seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """The processor seconds of this thread for each repetition, sorted."""
    times = []
    for _ in range(repeats):
        begin = time.thread_time()
        work()
        times.append(time.thread_time() - begin)
    return sorted(times)


def measure(name: str, path: Path, write: Callable[[BinaryIO], object], size: int, repeats: int) -> None:
    """Print a line of the table: the rates of writing and reading, and the file's size over that of the vectors."""

    def write_file() -> None:
        with path.open("wb") as file:
            write(file)

    def read_file() -> None:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group, use_threads=False)

    rates = []
    for work in (write_file, read_file):
        times = seconds(work, repeats)
        fastest, middle, slowest = (size / 1e6 / t for t in (times[0], statistics.median(times), times[-1]))
        rates.append(f"{middle:5.0f} ({slowest:.0f}-{fastest:.0f})")
    print(f"| {name} | {rates[0]} | {rates[1]} | {path.stat().st_size / size:.3f} |", flush=True)
    path.unlink()


def main() -> None:
    """Print a table for each kind of states."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    path = options.directory / "encoding-benchmark.parquet"
    print(f"{platform.machine()}, Python {platform.python_version()}, pyarrow {pa.__version__}")
    for kind, scale in (("initial weights", 1.0), ("weights times four", 4.0)):
        outputs = lstm_states(options.megabytes * 1_000_000 // (options.units * 4), options.units, scale)
        info, ids, tokens = shard(outputs)
        print(f"\n{float16_error(outputs)}")
        table = as_table(ids, tokens, outputs)
        rows = len(ids) * shard_file.ROW_GROUP_BYTES // outputs.nbytes
        print(f"\n{kind}: {len(outputs)} tokens, {options.units} units, {outputs.nbytes / 1e6:.0f} MB\n")
        print("| writer | writing, MB/s | reading, MB/s | size |\n|---|---|---|---|")
        for precision in ("float32", "float16"):
            spec, columns = OutputSpec(precision=precision), [VectorColumn("none", None, options.units)]
            ours = lambda file: shard_file.encode(file, info, ids, tokens, [outputs], spec, columns)  # noqa: B023, E731 - called at once
            measure(f"Unrolled, {precision}", path, ours, outputs.nbytes, options.repeats)
        for name, settings in PYARROW.items():
            theirs = lambda file: pq.write_table(table, file, row_group_size=rows, **settings)  # noqa: B023, E731 - called at once
            measure(f"pyarrow, {name}", path, theirs, outputs.nbytes, options.repeats)


if __name__ == "__main__":
    main()
