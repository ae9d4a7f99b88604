"""Publishing what became of a shard: its file, and the list of rows that the engine failed on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO, cast

from unrolled.format.file_info import FileInfo
from unrolled.format.seal import Sealing
from unrolled.store.publish import publish, publish_bytes
from worker.parquet.shard_file import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.format.output_spec import OutputSpec
    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId
    from worker.engines.engine import Engine
    from worker.shards.shard_reader import ShardRows


def publish_part(
    directory: JobDirectory,
    shard: ShardId,
    rows: ShardRows,
    outputs: Sequence[NDArray[np.float32]],
    spec: OutputSpec,
    columns: Sequence[VectorColumn],
    engine: Engine,
) -> None:
    """Make a shard's Parquet file, sealed, durable under its name; doing it twice leaves the same file.

    Args:
        directory: of the job.
        shard: its id.
        rows: those that were computed.
        outputs: for each column of vectors float32 (tokens or rows, width) of all the shard's rows, those that failed
            included.
        spec: what the job stores.
        columns: the file's columns of vectors.
        engine: what computed them.

    Raises:
        PayloadError: a number is beyond what the stored precision holds.
        TransientError: the file system refused; nothing is left behind.
    """
    info = FileInfo(
        model_fingerprint=directory.job.fingerprint,
        engine=engine.name,
        arithmetic=engine.arithmetic,
        job=directory.job.id,
        shard=shard,
        rows=rows.tokens.rows,
        tokens=rows.real.values.size,
    )
    kept: list[NDArray[np.float32]] = list(outputs)
    if rows.good is not None:
        kept = [
            array[rows.kept if column.per_token else rows.good] for array, column in zip(outputs, columns, strict=True)
        ]

    def write(file: BinaryIO) -> None:
        sealing = Sealing(file)
        # A file to write to is all that the encoder wants.
        encode(cast("BinaryIO", sealing), info, rows.ids.to_pylist(), rows.tokens, kept, spec, columns)
        sealing.finish()

    path = directory.part(shard)
    publish(path.parent, path.name, write, cached=False)


def publish_quarantine(directory: JobDirectory, shard: ShardId, failed: list[dict[str, object]]) -> None:
    """List the rows that the engine failed on, with their tokens, so that none is lost.

    An earlier attempt may have failed on other rows: its list is replaced, or removed where none failed now.

    Raises:
        TransientError: the file system refused; nothing is left behind.
        OSError: the earlier list can't be removed.
    """
    path = directory.quarantine(shard, engine=True)
    if not failed:
        if path.exists():
            path.unlink(missing_ok=True)
        return
    text = "".join(json.dumps(row) + "\n" for row in failed)
    publish_bytes(path, text.encode())
