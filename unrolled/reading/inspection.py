"""A part, read whole and held against itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import FileFormatError
from unrolled.format.positions import WORD_ENDS
from unrolled.format.rows_digest import RowsDigest
from unrolled.format.seal import check_seal
from unrolled.reading.arrays import numbers, truths
from unrolled.reading.batch import Batch
from unrolled.reading.part_file import Part, explained
from unrolled.tokenization.ragged import Ragged, offsets_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.format.file_info import FileInfo
    from unrolled.format.output_spec import OutputSpec
    from unrolled.format.positions import Positions
    from unrolled.store.store import Store


@dataclass(frozen=True, slots=True)
class PartContents:
    """The content of a file, counted, not taken from its metadata.

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
    for record_batch in part.record_batches_as_stored():
        with explained(part.store, part.name):
            batch = Batch.from_arrow(record_batch, part.columns)
            _check(batch, record_batch, rows)
            if part.spec.positions is not None:
                _check_positions(batch, record_batch, rows, part.spec.positions)
            digest.update(batch.ids, np.diff(batch.mask_offsets), batch.mask_values)
        rows += len(batch)
        tokens += int(batch.lengths.sum(dtype=np.int64))
    for what, counted, stored in (("rows", rows, part.info.rows), ("real tokens", tokens, part.info.tokens)):
        if counted != stored:
            raise FileFormatError(
                f"{part.where}: holds {counted} {what}, its metadata says {stored}; restore it from a copy"
            )
    with explained(part.store, part.name):
        file = store.open(name)
        if file is None:
            raise FileFormatError("no longer exists")
        with file:
            check_seal(file)  # last, because the others can say more of what is wrong
    return PartContents(part.info, part.spec, part.columns, rows, tokens, digest.hexdigest())


def _check_positions(batch: Batch, record_batch: pa.RecordBatch, rows_before: int, rule: Positions) -> None:
    """Check positions against the vectors, the mask and the rule; the ends of words only if the tokens are stored."""
    counts, places = np.diff(batch.offsets), batch.positions
    columns = ["positions", *(column.name for column in batch.columns if column.per_token)]
    lengths = [numbers(record_batch.column(name).value_lengths()) for name in columns]
    sound = all(np.array_equal(one, counts) for one in lengths)
    if places is None or not sound or not _are_positions(batch, counts, places, rule):
        raise FileFormatError(
            f"its positions are not {rule} of rows with its lengths and masks, from row {rows_before} on; restore the"
            " part from a copy"
        )


def _are_positions(batch: Batch, counts: NDArray[np.int64], places: NDArray[np.int32], rule: Positions) -> bool:
    """Whether rows have these numbers of positions, and these positions, as far as it can be known."""
    if rule.rule == WORD_ENDS and batch.tokens is None:
        rows = np.repeat(np.arange(len(batch)), counts)
        if not ((places >= 0) & (places < np.diff(batch.mask_offsets)[rows])).all():
            return False
        found = batch.mask_offsets[rows] + places  # in the masks of all rows, end to end
        return bool((np.diff(found) > 0).all() and batch.mask_values[found].all())
    ids = np.zeros(int(batch.lengths.sum(dtype=np.int64)), np.int32)
    if batch.tokens is not None:
        ids = batch.tokens[batch.mask_values]
    found = np.flatnonzero(batch.mask_values)[rule.chosen(Ragged(ids, offsets_of(batch.lengths)))]
    rows = np.searchsorted(batch.mask_offsets, found, side="right") - 1
    expected = np.bincount(rows, minlength=len(batch))
    return np.array_equal(expected, counts) and np.array_equal(found - batch.mask_offsets[rows], places)


def _check(batch: Batch, record_batch: pa.RecordBatch, rows_before: int) -> None:
    ones = offsets_of(batch.mask_values)[batch.mask_offsets]
    found = {"mask": np.diff(ones)}
    for column in batch.columns:
        if column.per_token and batch.positions is None:
            found[column.name] = numbers(record_batch.column(column.name).value_lengths())
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
    is_null = truths(vectors.is_null())
    if len(wrong := np.flatnonzero(is_null != (batch.lengths == 0))):
        row = int(wrong[0])
        raise FileFormatError(
            f"row {rows_before + row} ({batch.ids[row]!r}) is of length {batch.lengths[row]}, its {name} is "
            f"{'missing' if is_null[row] else 'there'}; restore the part from a copy"
        )
