"""The content of a shard's part: metadata, columns and seal."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

from unrolled.format.file_info import FileInfo
from unrolled.format.seal import Sealing
from worker.parquet.shard_file import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.format.output_spec import OutputSpec
    from unrolled.job.job import Job
    from unrolled.job.shard_id import ShardId
    from unrolled.store.store import Writer
    from worker.shards.shard_rows import ShardRows


def part_content(
    job: Job,
    shard: ShardId,
    rows: ShardRows,
    outputs: Sequence[NDArray[np.float32]],
    spec: OutputSpec,
    columns: Sequence[VectorColumn],
) -> Writer:
    """A function that writes a shard's part, sealed; every call writes the same bytes.

    Args:
        job: the shard's job.
        shard: the shard.
        rows: the rows that were computed, and which rows failed.
        outputs: for each column of vectors, float32 (tokens or rows, width) of all rows of the shard, also of the
            failed ones.
        spec: the columns and precision that the job stores.
        columns: the part's columns of vectors.

    Returns:
        A function of a binary file, which raises PayloadError where a number is beyond what the stored precision holds.
    """
    # Over 40 lines: half of it is the description of its arguments.
    info = FileInfo(
        model_fingerprint=job.fingerprint,
        engine=job.engine,
        arithmetic=job.arithmetic,
        job=job.id,
        shard=shard,
        rows=rows.tokens.rows,
        tokens=rows.real.values.size,
        failed=rows.failed,
        positions=spec.positions,
    )
    kept: list[NDArray[np.float32]] = list(outputs)
    if rows.good is not None:
        kept = [
            array[rows.kept if column.per_token else rows.good] for array, column in zip(outputs, columns, strict=True)
        ]

    def write(file: BinaryIO) -> None:
        sealing = Sealing(file)
        # The encoder only writes.
        encode(cast("BinaryIO", sealing), info, rows.ids.to_pylist(), rows.tokens, kept, spec, columns)
        sealing.finish()

    return write
