"""A part, read whole and held against itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import FileFormatError
from unrolled.format.rows_digest import RowsDigest
from unrolled.format.seal import check_seal
from unrolled.ragged import offsets_of
from unrolled.reading.batch import Batch
from unrolled.reading.part_file import Part, explained

if TYPE_CHECKING:
    import pyarrow as pa

    from unrolled.format.columns import VectorColumn
    from unrolled.format.file_info import FileInfo
    from unrolled.format.output_spec import OutputSpec
    from unrolled.store.store import Store


@dataclass(frozen=True, slots=True)
class PartContents:
    """What a file holds, counted, not taken from its metadata.

    Attributes:
        info: its metadata.
        spec: what its job stores.
        columns: its columns of vectors, in order.
        rows: number of rows.
        tokens: number of real tokens.
        digest: over the ids and masks in order, as `unrolled.format.rows_digest.rows_digest` gives it for the shard.
    """

    info: FileInfo
    spec: OutputSpec
    columns: tuple[VectorColumn, ...]
    rows: int
    tokens: int
    digest: str


def inspect_part(store: Store, name: str) -> PartContents:
    """Read every page of a part, a row group in memory at a time, and check that it fits together.

    Checked: the seal, which no flipped bit passes; the pages' checksums; the columns; ids are UTF-8; each row's length
    against its mask and its vectors; that a row has no pooled vector if, and only if, it has no real token (unless the
    job stores zeros there); where tokens are stored, that the mask is their sign; the counts against the metadata. Not
    checked: the vectors' values beyond their checksums.

    Raises:
        FileFormatError: the file is damaged or contradicts itself; the text says where.
        TransientError: the operating system would not let it be read.
    """
    part = Part(store, name)
    digest = RowsDigest()
    rows = tokens = 0
    for record_batch in part.record_batches():
        with explained(part.where):
            batch = Batch.from_arrow(record_batch, part.columns)
            _check(batch, record_batch, rows)
            digest.update(batch.ids, np.diff(batch.mask_offsets), batch.mask_values)
        rows += len(batch)
        tokens += int(batch.lengths.sum(dtype=np.int64))
    for what, counted, stored in (("rows", rows, part.info.rows), ("real tokens", tokens, part.info.tokens)):
        if counted != stored:
            raise FileFormatError(
                f"{part.where}: holds {counted} {what}, its metadata says {stored}; restore it from a copy"
            )
    with explained(part.where):
        file = store.open(name)
        if file is None:
            raise FileFormatError("is not there any more")
        with file:
            check_seal(file)  # last, because the others can say more of what is wrong
    return PartContents(part.info, part.spec, part.columns, rows, tokens, digest.hexdigest())


def _check(batch: Batch, record_batch: pa.RecordBatch, rows_before: int) -> None:
    ones = offsets_of(batch.mask_values)[batch.mask_offsets]
    found = {"mask": np.diff(ones)}
    for column in batch.columns:
        if column.per_token:
            found[column.name] = record_batch.column(column.name).value_lengths().to_numpy()
        elif record_batch.schema.field(column.name).nullable:
            _check_nulls(batch, record_batch.column(column.name), column.name, rows_before)
    for name, lengths in found.items():
        if len(wrong := np.flatnonzero(lengths != batch.lengths)):
            row = int(wrong[0])
            raise FileFormatError(
                f"row {rows_before + row} ({batch.ids[row]!r}) is of length {batch.lengths[row]},"
                f" its {name} of {lengths[row]}; restore the part from a copy"
            )
    if batch.tokens is not None and not np.array_equal(batch.tokens != 0, batch.mask_values):
        raise FileFormatError(
            f"masks are not the sign of the tokens from row {rows_before} on; restore the part from a copy"
        )


def _check_nulls(batch: Batch, vectors: pa.FixedSizeListArray, name: str, rows_before: int) -> None:
    is_null = vectors.is_null().to_numpy(zero_copy_only=False)
    if len(wrong := np.flatnonzero(is_null != (batch.lengths == 0))):
        row = int(wrong[0])
        raise FileFormatError(
            f"row {rows_before + row} ({batch.ids[row]!r}) is of length {batch.lengths[row]}, its {name} is "
            f"{'missing' if is_null[row] else 'there'}; restore the part from a copy"
        )
