"""Writes a computed shard as a Parquet file.

Vectors are written from the engine's buffer without a copy or compression: benchmarks/encoding.py measures what
compression and other encodings would cost and save. It is one file because the columns of a row group share their
offsets.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import PayloadError
from unrolled.format.columns import VectorColumn
from unrolled.format.file_info import FORMAT_VERSION, FileInfo
from unrolled.format.output_spec import OutputSpec
from unrolled.format.schema import arrow_schema
from unrolled.tokenization.ragged import Ragged, offsets_of, runs
from worker.parquet.file import Chunk, Page, Writer
from worker.parquet.levels import Entries, optional_vector_levels, row_vector_levels, token_levels, vector_levels

# Readers hold one row group in memory at a time; a larger row has a row group to itself.
ROW_GROUP_BYTES = 16 << 20
# What a row costs a reader in addition to its vectors, its mask and its id.
_ROW_BYTES = 64
# Readers decode a page at a time, which should fit into their cache. A larger row is cut into several pages.
PAGE_BYTES = 1 << 20
# A bound longer than this costs more than it saves.
_LONGEST_BOUND = 256


def encode(
    file: BinaryIO,
    info: FileInfo,
    ids: Sequence[str],
    tokens: Ragged,
    vectors: Sequence[NDArray[np.float32]],
    spec: OutputSpec,
    columns: Sequence[VectorColumn],
) -> None:
    """Write a shard's file. The same arguments give the same bytes.

    Args:
        file: the file; binary, open for writing, empty.
        info: the file's metadata, with the counts of these rows.
        ids: one for each row.
        tokens: the rows as they came in, zeros included.
        vectors: for each column of vectors float32, C-contiguous: (real tokens, width), a vector for each token that
            is not 0, in order, or (rows, width), where the vectors of rows without one are left out unless zeros are
            asked for. If float16 is stored, they are rounded a page at a time.
        spec: what the job stores. Of a vector for each token, only those at its positions are written.
        columns: the file's columns of vectors, in the order of `vectors`.

    Raises:
        PayloadError: the arguments contradict each other, an id contains a lone surrogate, a row's id, mask or token
            ids reach 2 GiB, or a number is too large for float16.
        OSError: the file can't be written.
    """
    # One function, because every line needs the offsets of the lines before it.
    mask = tokens.values != 0
    # int64 (rows + 1,): the real tokens before each row.
    # Computing them takes 16 bytes for each token, and a pooled shard may have a million, so only if there is padding.
    ends = tokens.offsets
    if not mask.all():
        ends = offsets_of(mask)[tokens.offsets]
    _check(info, ids, tokens, int(ends[-1]))
    for column, array in zip(columns, vectors, strict=True):
        _check_vectors(column, array, int(ends[-1]) if column.per_token else tokens.rows)
    stored, places = ends, None
    if spec.positions is not None:
        real = Ragged(tokens.values[mask], ends)
        chosen = spec.positions.chosen(real)
        stored = offsets_of(chosen)[ends]  # int64 (rows + 1,): the chosen tokens before each row
        places = np.flatnonzero(mask)[chosen] - np.repeat(tokens.offsets[:-1], np.diff(stored))
        vectors = [spec.positions.choose(real, array) for array in vectors]
    encoded_ids = _encoded(ids)
    writer = Writer(file, arrow_schema(spec, columns), created_by=f"unrolled format {FORMAT_VERSION}")
    id_bytes = np.fromiter(map(len, encoded_ids), np.int64, len(ids))
    for start, stop in _row_groups(id_bytes, tokens.offsets[1:], stored[1:], spec, columns):
        padded, filled, kept = (each[start : stop + 1] for each in (tokens.offsets, ends, stored))
        chunks = [
            _id_chunk(encoded_ids[start:stop]),
            _length_chunk(np.diff(filled).astype("<i4")),
            _token_chunk(padded, np.packbits(mask[padded[0] : padded[-1]], bitorder="little")),
        ]
        for column, array in zip(columns, vectors, strict=True):
            if column.per_token:
                pages = _vector_pages(array, kept)
            elif spec.empty_rows == "null":
                pages = _optional_vector_pages(array[start:stop], np.diff(filled) == 0)
            else:
                pages = _row_vector_pages(array[start:stop])
            chunks.append(Chunk(_rounded(pages) if spec.precision == "float16" else pages))
        if places is not None:
            chunks.append(_token_chunk(kept, places[kept[0] : kept[-1]].astype("<i4")))
        if spec.with_tokens:
            chunks.append(_token_chunk(padded, tokens.values[padded[0] : padded[-1]]))
        writer.write_row_group(stop - start, chunks)
    writer.finish(info.encode())


def _check(info: FileInfo, ids: Sequence[str], tokens: Ragged, real_tokens: int) -> None:
    if not len(ids) == tokens.rows == info.rows:
        raise PayloadError(f"{len(ids)} ids for {tokens.rows} rows, the metadata counts {info.rows}")
    if real_tokens != info.tokens:
        raise PayloadError(f"{real_tokens} real tokens; the metadata counts {info.tokens}")


def _check_vectors(column: VectorColumn, array: NDArray[np.float32], count: int) -> None:
    if array.shape != (count, column.width):
        of = "real tokens" if column.per_token else "rows"
        raise PayloadError(f"{column.name} is {array.shape}; ({count}, {column.width}) is needed for {count} {of}")
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise PayloadError(f"{column.name} is {array.dtype} with strides {array.strides}, not contiguous float32")


def _encoded(ids: Sequence[str]) -> list[bytes]:
    try:
        return [row_id.encode() for row_id in ids]
    except UnicodeEncodeError as error:
        raise PayloadError(f"id {error.object[:80]!r} is not Unicode text: {error.reason}") from error


def _row_groups(
    id_bytes: NDArray[np.int64],
    padded: NDArray[np.int64],
    real: NDArray[np.int64],
    spec: OutputSpec,
    columns: Sequence[VectorColumn],
) -> list[tuple[int, int]]:
    """The first row and the end of each row group.

    Args:
        id_bytes: int64 (rows,), the length of each id.
        padded: int64 (rows,), the tokens of all rows up to the end of each one.
        real: int64 (rows,), those among these whose vectors are stored.
        spec: what the job stores.
        columns: the columns of vectors.
    """
    size = np.dtype(spec.precision).itemsize
    of_token = size * sum(column.width for column in columns if column.per_token)
    of_row = size * sum(column.width for column in columns if not column.per_token) + _ROW_BYTES
    # Each token counts as five bytes, one for its mask and four for its id; each real token also as its vectors.
    return runs(np.cumsum(id_bytes + of_row) + padded * 5 + real * of_token, ROW_GROUP_BYTES)


def _id_chunk(ids: Sequence[bytes]) -> Chunk:
    plain = b"".join(len(row_id).to_bytes(4, "little") + row_id for row_id in ids)
    bounds = (min(ids), max(ids))
    return Chunk(
        [Page(len(ids), b"", np.frombuffer(plain, np.uint8))],
        bounds if max(map(len, bounds)) <= _LONGEST_BOUND else None,
    )


def _length_chunk(lengths: NDArray[np.int32]) -> Chunk:
    return Chunk([Page(len(lengths), b"", lengths)], (lengths.min().tobytes(), lengths.max().tobytes()))


def _token_chunk(ends: NDArray[np.int64], values: NDArray[Any]) -> Chunk:
    """A list column that has one value for each token."""
    entries = Entries.of_rows(ends)
    return Chunk([Page(len(entries.empty), token_levels(entries), values)])


def _vector_pages(outputs: NDArray[np.float32], ends: NDArray[np.int64]) -> Iterator[Page]:
    """Pages of the vectors of whole rows; a row that is longer than a page has several."""
    units = outputs.shape[1]
    page_tokens = max(PAGE_BYTES // (units * 4), 1)
    for start, stop in runs(ends[1:], page_tokens, begin=int(ends[0])):
        first, last = int(ends[start]), int(ends[stop])
        if last - first <= page_tokens:
            yield _vector_page(Entries.of_rows(ends[start : stop + 1]), outputs[first:last])
            continue
        for begin in range(first, last, page_tokens):
            some = outputs[begin : min(begin + page_tokens, last)]
            yield _vector_page(Entries.of_tokens(len(some), begins=begin == first), some)


def _vector_page(entries: Entries, vectors: NDArray[np.float32]) -> Page:
    units = vectors.shape[1]
    count = vectors.size + int(entries.empty.sum())
    return Page(count, vector_levels(entries, units), vectors)


def _row_vector_pages(vectors: NDArray[np.float32]) -> Iterator[Page]:
    """Pages with one vector for each row."""
    rows, units = vectors.shape
    page_rows = max(PAGE_BYTES // (units * 4), 1)
    for begin in range(0, rows, page_rows):
        some = vectors[begin : begin + page_rows]
        yield Page(some.size, row_vector_levels(len(some), units), some)


def _optional_vector_pages(vectors: NDArray[np.float32], is_null: NDArray[np.bool_]) -> Iterator[Page]:
    """Pages with one vector, or null, for each row."""
    rows, units = vectors.shape
    page_rows = max(PAGE_BYTES // (units * 4), 1)
    for begin in range(0, rows, page_rows):
        some, missing = vectors[begin : begin + page_rows], is_null[begin : begin + page_rows]
        stored = some[~missing] if missing.any() else some
        yield Page(stored.size + int(missing.sum()), optional_vector_levels(missing, units), stored)


def _rounded(pages: Iterator[Page]) -> Iterator[Page]:
    """The pages in float16, rounded to nearest, ties to even. One page at a time is in memory."""
    for page in pages:
        with np.errstate(over="raise", under="ignore"):
            try:
                yield page._replace(values=page.values.astype("<f2"))
            except FloatingPointError:
                raise PayloadError(
                    f"a vector has the number {np.abs(page.values).max():g}; float16 ends at "
                    f"{np.finfo(np.float16).max}; start a job with --precision float32 and another --out"
                ) from None
