"""Where a shard's rows wait for their worker: a spooled file against a Redis key, and what each costs.

    python benchmarks/payload.py [--shards 200] [--directory DIR]

One shard is 512 rows, 65,536 tokens of two bytes each. "File" is what the product does: write under a
hidden name, fsync, rename, fsync of the directory; then open, read, check, decode. "Key" is SET with the same
bytes on a server of its own (append-only file, fsync at every write, as the product runs it) and GET with the
same check. Both are on the file system of DIR. Times are the median, then the bounds of 90 of 100. Bytes
are what Redis holds for one waiting shard.
"""

from __future__ import annotations

import argparse
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
from unrolled.job import names, payload
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.job.names import Life
from unrolled.job.payload import Payload
from unrolled.job.shard_id import ShardId
from unrolled.patience import Patience
from unrolled.protocol.opening import create_job
from unrolled.queue.broker_url import client_url
from unrolled.tokenization.ragged import Ragged

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
    """Milliseconds of the action for each argument."""
    took = []
    for argument in arguments:
        began = time.perf_counter()
        action(argument)
        took.append(1000 * (time.perf_counter() - began))
    return took


def spread(took: list[float]) -> str:
    """Median, and the fifth and ninety-fifth of a hundred."""
    low, *_, high = statistics.quantiles(took, n=20)
    return f"{statistics.median(took):6.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print the table."""
    # Over 40 lines: one column of the table after the other.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--directory", type=Path, help="the system's temporary directory by default")
    options = parser.parse_args()
    shards = range(options.shards)
    payloads = [make_payload(seed) for seed in range(8)]
    with (
        ExitStack() as stack,
        tempfile.TemporaryDirectory(dir=options.directory) as folder,
        RestartableBroker(Path(folder) / "broker") as broker,
        redis.Redis.from_url(client_url(broker.url)) as client,
    ):
        made = Job(MODEL, Inputs.named(["corpus.txt"]), "fused", "float32", live=False, options={})
        job = create_job(Path(folder) / "out", made)
        queue = stack.enter_context(closing(ShardQueue(broker.url, "bench", made.offer, Patience(print))))
        ledger = queue.of_job(job)
        ids = [ShardId(index, "0123456789ab") for index in range(options.shards + 1)]

        def write_file(index: int) -> None:
            job.objects.create(names.rows_object(ids[index]), payload.encode(payloads[index % 8]))

        def read_file(index: int) -> None:
            payload.decode(job.objects.read(names.rows_object(ids[index])))

        def write_key(index: int) -> None:
            client.set(f"payload:{index}", payload.encode(payloads[index % 8]))

        def read_key(index: int) -> None:
            payload.decode(client.get(f"payload:{index}"))

        def enter_one(index: int) -> None:
            ledger.enter(ledger.mark(), [(Life(ids[index], 0), TOKENS)], index + 1)

        def held(
            action: Callable[[int], object], read: Callable[[int], object] | None = None
        ) -> tuple[str, str, float]:
            before = client.info("memory")["used_memory_dataset"]
            wrote = timed(action, shards)
            bytes_each = (client.info("memory")["used_memory_dataset"] - before) / options.shards
            return spread(wrote), spread(timed(read, shards)) if read else "", bytes_each

        write_file(options.shards), enter_one(options.shards)  # connections, scripts, first touch
        encoded = timed(lambda index: payload.encode(payloads[index % 8]), shards)
        results = {
            "spooled file": held(write_file, read_file),
            "Redis key": held(write_key, read_key),
            "ledger and message (both ways)": held(enter_one),
        }
    print(
        f"{options.shards} shards of {ROWS} rows, {TOKENS:,} tokens; a payload has "
        f"{len(payload.encode(payloads[0])):,} bytes; encoding takes {spread(encoded)} ms of each write\n"
    )
    print(f"{'':32}{'write, ms':26}{'read, ms':26}{'Redis bytes':>12}")
    for name, (wrote, read, bytes_each) in results.items():
        print(f"{name:32}{wrote:26}{read:26}{bytes_each:12,.0f}")


if __name__ == "__main__":
    main()
