"""A job's directory through all weathers: reading and publishing a shard, however long the disk takes to let it.

While the disk is full, read-only or failing, a shard is held and tried again. Where the job's directory itself is gone,
be it unmounted or removed for good, nothing is held: the shard waits in the ledger until the directory is back.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, TypeVar

from unrolled.errors import PayloadError, TransientError
from unrolled.job import payload
from unrolled.job.payload import Header
from unrolled.store.publish import publish_bytes
from worker.errors import AwayError
from worker.shards.shard_publisher import publish_part, publish_quarantine
from worker.shards.shard_reader import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from unrolled.format.columns import VectorColumn
    from unrolled.format.output_spec import OutputSpec
    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId
    from unrolled.patience import Patience
    from worker.engines.engine import Engine
    from worker.pool.pool import Computed
    from worker.runtime.metrics import Metrics
    from worker.shards.shard_reader import ShardRows

T = TypeVar("T")


class Disk:
    """Reads and publishes the shards of any job.

    Every method raises GivenBackError where the worker stops before the disk lets it, and AwayError where the job's
    directory is gone.

    Args:
        engine: for what the files say of it.
        vocab_size: the largest token id of the model.
        metrics: told of what was read and written.
        patience: how long to try again.
    """

    def __init__(self, engine: Engine, vocab_size: int, metrics: Metrics, patience: Patience) -> None:
        self._engine = engine
        self._vocab_size = vocab_size
        self._metrics = metrics
        self._patience = patience

    def read(self, directory: JobDirectory, shard: ShardId) -> ShardRows | None:
        """The shard's rows; None where it is published already.

        Raises:
            PayloadError: the rows are missing, damaged or not the model's.
        """
        path, part = directory.pending(shard), directory.part(shard)

        def attempt() -> ShardRows | None:
            if _is_there(part):
                return None
            try:
                return read_rows(path, shard.hash, self._vocab_size)
            except PayloadError:
                if _is_there(part):  # by another worker, meanwhile
                    return None
                _require(directory)
                raise

        began = time.perf_counter()
        rows = self._steadily("read from", directory, attempt)
        self._metrics.read(time.perf_counter() - began)
        return rows

    def publish(
        self,
        directory: JobDirectory,
        shard: ShardId,
        rows: ShardRows,
        computed: Computed,
        spec: OutputSpec,
        columns: Sequence[VectorColumn],
    ) -> None:
        """Make the shard's file durable, after the list of rows that the engine failed on.

        Raises:
            PayloadError: a number is beyond what the stored precision holds.
        """
        began = time.perf_counter()
        good = rows.without(computed.failed)
        self._steadily("publish to", directory, lambda: publish_quarantine(directory, shard, good.failed))
        self._steadily(
            "publish to",
            directory,
            lambda: publish_part(directory, shard, good, computed.outputs, spec, columns, self._engine),
        )
        self._metrics.published(time.perf_counter() - began)

    def discard(self, directory: JobDirectory, shard: ShardId) -> None:
        """Remove the rows of a published shard."""
        self._steadily("remove rows from", directory, lambda: directory.discard_pending(shard))

    def bury(self, directory: JobDirectory, shard: ShardId, reason: str) -> None:
        """Record a shard that is given up; its rows stay spooled for `unrolled retry`."""
        text = json.dumps({"shard": str(shard), "reason": reason}) + "\n"
        self._steadily("publish to", directory, lambda: publish_bytes(directory.dead(shard), text.encode()))

    def _steadily(self, what: str, directory: JobDirectory, action: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                return action()
            except (TransientError, OSError) as error:
                _require(directory)
                raise TransientError(str(error)) from error

        return self._patience.until_done(f"{what} {directory.path}", attempt)


def read_header(directory: JobDirectory, shard: ShardId) -> Header:
    """How many rows and token ids are spooled for the shard, as their header says; none where it can't be read.

    Whether the header is right is checked when the rows are read.
    """
    try:
        return payload.read_header(directory.pending(shard))
    except OSError:
        return Header(0, 0)


def _require(directory: JobDirectory) -> None:
    if not _is_there(directory.path / "job.json"):
        raise AwayError(f"{directory.path} is gone; mount or restore the job's directory")


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - False, too, where the place can't be looked at
