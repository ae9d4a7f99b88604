"""What it costs to create a large object in a bucket: how its content is gathered, and whether it is signed.

    python benchmarks/upload.py [--objects 16] [--repeats 5] [--directory DIR]

The server is localbucket, on this machine, with its objects in DIR. An object has 64 MiB, written a mebibyte at a time.
"New memory" gathers it in a `BytesIO`, "used memory" as the product does. "Signed" sends the content's SHA-256 in the
signature, as without TLS to another machine. The four ways take turns. Figures are processor seconds of this process
for each GiB: the median, the lowest and the highest.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.bucket_server import BucketProcess, client_environment

from unrolled.store import bucket
from unrolled.store.bucket import BucketStore
from unrolled.store.cloud.gathered import Gathered
from unrolled.store.store import collected

if TYPE_CHECKING:
    from typing import BinaryIO

    from unrolled.store.store import Content

OBJECT_BYTES, PIECE_BYTES = 64 << 20, 1 << 20


class InNewMemory(Gathered):
    """The content in one `BytesIO`."""

    def __init__(self, content: Content) -> None:
        super().__init__(collected(content))


WAYS = {
    (memory, signing): (gather, unsigned)
    for (memory, gather), (signing, unsigned) in itertools.product(
        {"new memory": InNewMemory, "used memory": Gathered}.items(), {"signed": "false", "unsigned": "true"}.items()
    )
}


def main() -> None:
    """Measure in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=16, help="of each way in each turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="the system's temporary directory by default")
    options = parser.parse_args()
    pieces = [memoryview(os.urandom(PIECE_BYTES)) for _ in range(OBJECT_BYTES // PIECE_BYTES)]

    def write(file: BinaryIO) -> None:
        for piece in pieces:  # noqa: FURB122 - a store promises `write` alone
            file.write(piece)

    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        server = BucketProcess(Path(folder))
        try:
            for turn in range(options.repeats):
                for way, (gather, unsigned) in WAYS.items():
                    changed = client_environment(server.url) | {"AWS_UNSIGNED_PAYLOAD": unsigned}
                    with mock.patch.dict(os.environ, changed), mock.patch.object(bucket, "Gathered", gather):
                        used = measured(BucketStore(f"s3://bucket/{turn}-{'-'.join(way)}"), write, options.objects)
                    seconds[way].append(used * (1 << 30) / (options.objects * OBJECT_BYTES))
        finally:
            server.kill()
    for way, found in seconds.items():
        print(f"{', '.join(way):24}{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")


def measured(store: BucketStore, content: Content, objects: int) -> float:
    """Processor seconds of this process for creating objects, which are deleted again."""
    used = 0.0
    for number in range(objects + 1):
        before = os.times()
        store.create(f"object-{number}", content)
        after = os.times()
        store.delete(f"object-{number}")
        if number:  # the first connects
            used += after.user + after.system - before.user - before.system
    return used


if __name__ == "__main__":
    main()
