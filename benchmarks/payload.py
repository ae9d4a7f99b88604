"""Compares two places for the rows of waiting shards: a file, which Unrolled uses, and a Redis key.

    python benchmarks/payload.py [--shards 200] [--directory DIR]

A shard is 512 rows, 65,536 tokens of two bytes each. "File" writes under a hidden name, fsyncs, renames and fsyncs the
directory; then it opens, reads, checks and decodes. "Key" is SET with the same bytes on a server of its own (with an
append-only file and an fsync at every write, as Unrolled runs it), and GET with the same checks. Both are on the file
system of DIR. Times are the median, and in brackets the 5th and the 95th percentile. Bytes are those that Redis holds
for one waiting shard.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import redis
from workplace import RestartableBroker

from producer.queue.shard_queue import ShardQueue
from unrolled.job import payload
from unrolled.job.directory import create_job
from unrolled.job.job import Job
from unrolled.job.manifest import NAME
from unrolled.job.payload import Payload
from unrolled.job.shard_id import ShardId
from unrolled.patience import Patience
from unrolled.queue.broker_url import client_url
from unrolled.queue.entering import enter
from unrolled.ragged import Ragged
from unrolled.store.publish import publish_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROWS, TOKENS, MODEL = 512, 65_536, "ab" * 32


def make_payload(seed: int) -> Payload:
    """Rows of random lengths and token ids below 30,000."""
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(0, TOKENS + 1, ROWS - 1))
    values = random.integers(1, 30_000, TOKENS).astype(np.int32)
    ids = pa.array([f"corpus.txt#{seed * ROWS + row}" for row in range(ROWS)], pa.string())
    return Payload(ids, Ragged(values, np.concatenate(([0], cuts, [TOKENS]))))


def timed(action: Callable[[int], object], arguments: Iterable[int]) -> list[float]:
    """The milliseconds that the action takes for each argument."""
    took = []
    for argument in arguments:
        began = time.perf_counter()
        action(argument)
        took.append(1000 * (time.perf_counter() - began))
    return took


def spread(took: list[float]) -> str:
    """The median, and the 5th and the 95th percentile."""
    low, *_, high = statistics.quantiles(took, n=20)
    return f"{statistics.median(took):6.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--directory", type=Path, help="default: the system's temporary directory")
    options = parser.parse_args()
    # One function, because everything that is timed shares one broker and one job.
    shards = range(options.shards)
    payloads = [make_payload(seed) for seed in range(8)]
    with (
        ExitStack() as stack,
        tempfile.TemporaryDirectory(dir=options.directory) as folder,
        RestartableBroker(Path(folder) / "broker") as broker,
        redis.Redis.from_url(client_url(broker.url)) as client,
    ):
        directory = create_job(Path(folder) / "out", Job(MODEL, ("corpus.txt",), {}))
        (directory.path / NAME).write_text("")
        queue = stack.enter_context(closing(ShardQueue(directory, broker.url, "bench", Patience(print))))
        names = [ShardId(index, "0123456789ab") for index in shards]

        def write_file(index: int) -> None:
            publish_bytes(directory.pending(names[index]), payload.encode(payloads[index % 8]))

        def read_file(index: int) -> None:
            path = directory.pending(names[index])
            with path.open("rb") as file:
                payload.read(file, path.stat().st_size)

        def write_key(index: int) -> None:
            client.set(f"payload:{index}", payload.encode(payloads[index % 8]))

        def read_key(index: int) -> None:
            blob = client.get(f"payload:{index}")
            payload.read(io.BytesIO(blob), len(blob))

        def enter_one(index: int) -> None:
            enter(queue.ledger, directory, names[index], TOKENS, queue.send)

        def held(
            action: Callable[[int], object], read: Callable[[int], object] | None = None
        ) -> tuple[str, str, float]:
            before = client.info("memory")["used_memory_dataset"]
            wrote = timed(action, shards)
            bytes_each = (client.info("memory")["used_memory_dataset"] - before) / options.shards
            return spread(wrote), spread(timed(read, shards)) if read else "", bytes_each

        write_file(0), enter_one(0)  # the first call connects, loads scripts and touches memory
        encoded = timed(lambda index: payload.encode(payloads[index % 8]), shards)
        results = {
            "spooled file": held(write_file, read_file),
            "Redis key": held(write_key, read_key),
            "ledger and message (both ways)": held(enter_one),
        }
    print(
        f"{options.shards} shards of {ROWS} rows, {TOKENS:,} tokens; a payload has "
        f"{len(payload.encode(payloads[0])):,} bytes; {spread(encoded)} ms of each write are encoding\n"
    )
    print(f"{'':32}{'write, ms':26}{'read, ms':26}{'Redis bytes':>12}")
    for name, (wrote, read, bytes_each) in results.items():
        print(f"{name:32}{wrote:26}{read:26}{bytes_each:12,.0f}")


if __name__ == "__main__":
    main()
