"""A shard's files in its job's directory: rows are read, and what becomes of them is published, with patience.

While the disk is full, read-only or failing, a shard is held and tried again. Where the job's directory itself is gone,
because it was unmounted or removed, nothing is held: the shard waits in the ledger until the directory is back.
"""

# Over 150 lines: all that a worker does in a job's directory is one class.

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from unrolled.errors import PayloadError, TransientError
from unrolled.format.file_info import FileInfo
from unrolled.format.seal import Sealing
from unrolled.job import payload
from unrolled.job.payload import Header
from unrolled.store.publish import publish, publish_bytes
from worker.errors import AwayError
from worker.parquet.shard_file import encode
from worker.shards.shard_rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.format.output_spec import OutputSpec
    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId
    from unrolled.patience import Patience
    from worker.engines.engine import Engine
    from worker.runtime.metrics import Metrics
    from worker.shards.shard_rows import ShardRows

T = TypeVar("T")


class ShardStore:
    """Reads and publishes the shards of any job. Everything is safe to repeat.

    All methods but `header` raise GivenBackError where the worker stops before the disk works, and AwayError where the
    job's directory is gone.

    Args:
        engine: what computes; its name and arithmetic are stored in each part.
        vocab_size: the largest token id of the model.
        metrics: counts the time of reading and writing.
        patience: decides how long an action is tried again.
    """

    def __init__(self, engine: Engine, vocab_size: int, metrics: Metrics, patience: Patience) -> None:
        self._engine = engine
        self._vocab_size = vocab_size
        self._metrics = metrics
        self._patience = patience

    def header(self, directory: JobDirectory, shard: ShardId) -> Header:
        """The numbers of rows and token ids of a shard, as the header of its rows says; 0 where it can't be read.

        Whether the header is right is checked when the rows are read.
        """
        try:
            return payload.read_header(directory.pending(shard))
        except OSError:
            return Header(0, 0)

    def read(self, directory: JobDirectory, shard: ShardId) -> ShardRows | None:
        """The shard's rows; None where its part is published already.

        Raises:
            PayloadError: the rows are missing, damaged or not the model's.
        """
        path, part = directory.pending(shard), directory.part(shard)

        def attempt() -> ShardRows | None:
            if _exists(part):
                return None
            try:
                return read_rows(path, shard.hash, self._vocab_size)
            except PayloadError:
                if _exists(part):  # another worker has published it meanwhile
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
        outputs: Sequence[NDArray[np.float32]],
        failed: dict[int, str],
        spec: OutputSpec,
        columns: Sequence[VectorColumn],
    ) -> None:
        """Make the shard's part durable, after the list of the rows that the engine failed on.

        Args:
            directory: of the job.
            shard: its id.
            rows: all its rows.
            outputs: for each column float32 (tokens or rows, width), of all its rows.
            failed: row index → reason, for rows that the engine can't compute.
            spec: what the job stores.
            columns: the part's columns of vectors.

        Raises:
            PayloadError: a number is beyond what the stored precision holds.
        """
        began = time.perf_counter()
        good = rows.without(failed)
        self._steadily("publish to", directory, lambda: _publish_failed(directory, shard, good.failed))
        self._steadily(
            "publish to", directory, lambda: self._publish_part(directory, shard, good, outputs, spec, columns)
        )
        self._metrics.published(time.perf_counter() - began)

    def discard(self, directory: JobDirectory, shard: ShardId) -> None:
        """Remove the rows of a published shard."""
        self._steadily("remove rows from", directory, lambda: directory.discard_pending(shard))

    def bury(self, directory: JobDirectory, shard: ShardId, reason: str) -> None:
        """Record that a shard is dead. Its rows stay for `unrolled retry`."""
        text = json.dumps({"shard": str(shard), "reason": reason}) + "\n"
        self._steadily("publish to", directory, lambda: publish_bytes(directory.dead(shard), text.encode()))

    def _publish_part(
        self,
        directory: JobDirectory,
        shard: ShardId,
        rows: ShardRows,
        outputs: Sequence[NDArray[np.float32]],
        spec: OutputSpec,
        columns: Sequence[VectorColumn],
    ) -> None:
        info = FileInfo(
            model_fingerprint=directory.job.fingerprint,
            engine=self._engine.name,
            arithmetic=self._engine.arithmetic,
            job=directory.job.id,
            shard=shard,
            rows=rows.tokens.rows,
            tokens=rows.real.values.size,
        )
        good = list(outputs)
        if rows.good is not None:
            good = [
                array[rows.kept if column.per_token else rows.good]
                for array, column in zip(outputs, columns, strict=True)
            ]

        def write(file: BinaryIO) -> None:
            sealing = Sealing(file)
            # The encoder uses nothing of a file but its `write`.
            encode(cast("BinaryIO", sealing), info, rows.ids.to_pylist(), rows.tokens, good, spec, columns)
            sealing.finish()

        path = directory.part(shard)
        publish(path.parent, path.name, write, cached=False)

    def _steadily(self, what: str, directory: JobDirectory, action: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                return action()
            except (TransientError, OSError) as error:
                _require(directory)
                raise TransientError(str(error)) from error

        return self._patience.until_done(f"{what} {directory.path}", attempt)


def _publish_failed(directory: JobDirectory, shard: ShardId, failed: list[dict[str, object]]) -> None:
    """List the rows that the engine failed on, with their tokens, so that none is lost.

    An earlier attempt may have failed on other rows: its list is replaced, or removed where none failed now.
    """
    path = directory.quarantine(shard, engine=True)
    if failed:
        publish_bytes(path, "".join(json.dumps(row) + "\n" for row in failed).encode())
    elif path.exists():
        path.unlink(missing_ok=True)


def _require(directory: JobDirectory) -> None:
    if not _exists(directory.path / "job.json"):
        raise AwayError(f"{directory.path} is gone; mount or restore the job's directory")


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - also False where the place can't be looked at
