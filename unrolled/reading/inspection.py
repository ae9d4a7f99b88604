"""Reads a whole published file and checks that it doesn't contradict itself."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from unrolled.errors import FileFormatError
from unrolled.format.columns import VectorColumn
from unrolled.format.file_info import FileInfo
from unrolled.format.output_spec import OutputSpec
from unrolled.format.rows_digest import RowsDigest
from unrolled.ragged import offsets_of
from unrolled.reading.batch import Batch
from unrolled.reading.part_file import Part, explained


@dataclass(frozen=True, slots=True)
class PartContents:
    """What a file contains.

    Attributes:
        info: the metadata.
        spec: what the job stores.
        columns: the columns of vectors, in order.
        rows: number of rows, counted.
        tokens: number of real tokens, counted.
        digest: the digest of the rows, which `unrolled.format.rows_digest.rows_digest` gives for the shard.
    """

    info: FileInfo
    spec: OutputSpec
    columns: tuple[VectorColumn, ...]
    rows: int
    tokens: int
    digest: str


def inspect_part(path: Path) -> PartContents:
    """Read every page of a file, a row group at a time, and check that the file doesn't contradict itself.

    Checked are the pages' checksums; the columns; that ids are UTF-8; each row's length against its mask and its
    vectors; if tokens are stored, that the mask is their sign; the counts against the metadata. The vectors' values are
    not checked beyond their checksums.

    Raises:
        FileFormatError: the file is damaged or contradicts itself; the text says where.
        TransientError: the operating system refused to read it.
    """
    part = Part(path)
    digest = RowsDigest()
    rows = tokens = 0
    for record_batch in part.record_batches():
        with explained(path):
            batch = Batch.from_arrow(record_batch, part.columns)
            _check(batch, record_batch, rows)
            digest.update(batch.ids, np.diff(batch.mask_offsets), batch.mask_values)
        rows += len(batch)
        tokens += int(batch.lengths.sum(dtype=np.int64))
    for what, counted, stored in (("rows", rows, part.info.rows), ("real tokens", tokens, part.info.tokens)):
        if counted != stored:
            raise FileFormatError(f"{path}: has {counted} {what}, its metadata says {stored}; write it again")
    return PartContents(part.info, part.spec, part.columns, rows, tokens, digest.hexdigest())


def _check(batch: Batch, record_batch: pa.RecordBatch, rows_before: int) -> None:
    ones = offsets_of(batch.mask_values)[batch.mask_offsets]
    found = {"mask": np.diff(ones)}
    for column in batch.columns:
        if column.per_token:
            found[column.name] = record_batch.column(column.name).value_lengths().to_numpy()
    for name, lengths in found.items():
        if len(wrong := np.flatnonzero(lengths != batch.lengths)):
            row = int(wrong[0])
            raise FileFormatError(
                f"row {rows_before + row} ({batch.ids[row]!r}) has length {batch.lengths[row]},"
                f" its {name} has {lengths[row]}; write the file again"
            )
    if batch.tokens is not None and not np.array_equal(batch.tokens != 0, batch.mask_values):
        raise FileFormatError(f"masks are not the sign of the tokens from row {rows_before} on; write the file again")
