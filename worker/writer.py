"""A computed shard becomes the bytes of a Parquet file.

Vectors are written from the engine's buffer without a copy, and stored as they are: benchmarks/encoding.py
shows what compression and other encodings would cost and save.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import PayloadError
from unrolled.ragged import Ragged
from unrolled.schema import Columns, FileInfo, arrow_schema, release
from worker.parquet.file import Chunk, Page, Writer
from worker.parquet.levels import Entries, token_levels, vector_levels

# A reader holds one row group at a time; a row that weighs more has one to itself.
ROW_GROUP_BYTES = 16 << 20
# What a row costs a reader besides its vectors and its mask.
_ROW_BYTES = 64
# What a reader decodes at once should stay in its cache. A row that weighs more is cut into several pages.
PAGE_BYTES = 1 << 20
# A bound longer than this costs more than it saves.
_LONGEST_BOUND = 256


def encode(
    file: BinaryIO,
    info: FileInfo,
    ids: Sequence[str],
    tokens: Ragged,
    outputs: NDArray[np.float32],
    *,
    with_tokens: bool = False,
) -> None:
    """Write a shard's file. The same arguments give the same bytes.

    Args:
        file: where to; binary, open for writing, empty.
        info: the file's metadata; its counts must be those of the rows.
        ids: one for each row.
        tokens: the rows as they came in, zeros included.
        outputs: float32 (real tokens, units), C-contiguous: a vector for each token that is not 0, in order.
        with_tokens: whether to store the token ids too.

    Raises:
        PayloadError: the arguments contradict each other, an id holds a lone surrogate, or a row's id, mask
            or token ids reach 2 GiB.
        OSError: the file can't be written.
    """
    mask = tokens.values != 0
    # int64 (rows + 1,): the real tokens before each row.
    ends = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))[tokens.offsets]
    _check(info, ids, tokens, outputs, int(ends[-1]))
    encoded_ids = _encoded(ids)
    schema = arrow_schema(Columns(units=outputs.shape[1], with_tokens=with_tokens))
    writer = Writer(file, schema, created_by=f"unrolled version {release()}")
    id_bytes = np.fromiter(map(len, encoded_ids), np.int64, len(ids))
    for start, stop in pairwise(_row_groups(id_bytes, tokens.offsets, ends, outputs.shape[1])):
        padded, real = tokens.offsets[start : stop + 1], ends[start : stop + 1]
        chunks = [
            _id_chunk(encoded_ids[start:stop]),
            _length_chunk(np.diff(real).astype("<i4")),
            _token_chunk(padded, np.packbits(mask[padded[0] : padded[-1]], bitorder="little")),
            Chunk(_vector_pages(outputs, real)),
        ]
        if with_tokens:
            chunks.append(_token_chunk(padded, tokens.values[padded[0] : padded[-1]]))
        writer.write_row_group(stop - start, chunks)
    writer.finish(info.encode())


def _check(info: FileInfo, ids: Sequence[str], tokens: Ragged, outputs: NDArray[np.float32], real_tokens: int) -> None:
    if not len(ids) == tokens.rows == info.rows:
        raise PayloadError(f"{len(ids)} ids for {tokens.rows} rows, the metadata counts {info.rows}")
    if not len(outputs) == real_tokens == info.tokens:
        raise PayloadError(f"{len(outputs)} vectors for {real_tokens} real tokens; the metadata counts {info.tokens}")
    if outputs.dtype != np.float32 or not outputs.flags.c_contiguous:
        raise PayloadError(f"outputs are {outputs.dtype} with strides {outputs.strides}, not contiguous float32")


def _encoded(ids: Sequence[str]) -> list[bytes]:
    try:
        return [row_id.encode() for row_id in ids]
    except UnicodeEncodeError as error:
        raise PayloadError(f"id {error.object[:80]!r} is no Unicode text: {error.reason}") from error


def _row_groups(
    id_bytes: NDArray[np.int64], padded: NDArray[np.int64], real: NDArray[np.int64], units: int
) -> list[int]:
    """Row numbers at which the row groups begin, and the end, given the tokens before each row."""
    # Each token costs a byte of mask when read and four if it is stored; each real one its vector.
    before = np.concatenate(([0], np.cumsum(id_bytes + _ROW_BYTES))) + padded * 5 + real * (units * 4)
    return _cuts(before, ROW_GROUP_BYTES)


def _cuts(before: NDArray[np.int64], limit: int) -> list[int]:
    """Where to cut rows into runs of at most `limit` or of one row, given the weight before each row."""
    rows = len(before) - 1
    cuts = [0]
    while (start := cuts[-1]) < rows:
        stop = int(np.searchsorted(before, before[start] + limit, side="right")) - 1
        cuts.append(max(stop, start + 1))
    return cuts


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
    """A list column with one value for each token."""
    entries = Entries.of_rows(ends)
    return Chunk([Page(len(entries.empty), token_levels(entries), values)])


def _vector_pages(outputs: NDArray[np.float32], ends: NDArray[np.int64]) -> Iterator[Page]:
    """The vectors of whole rows at a time; a row that is longer than a page goes into several."""
    units = outputs.shape[1]
    page_tokens = max(PAGE_BYTES // (units * 4), 1)
    for start, stop in pairwise(_cuts(ends, page_tokens)):
        first, last = int(ends[start]), int(ends[stop])
        if last - first <= page_tokens:
            yield _vector_page(Entries.of_rows(ends[start : stop + 1]), outputs[first:last])
            continue
        for begin in range(first, last, page_tokens):
            part = outputs[begin : min(begin + page_tokens, last)]
            yield _vector_page(Entries.of_part(len(part), begins=begin == first), part)


def _vector_page(entries: Entries, vectors: NDArray[np.float32]) -> Page:
    units = vectors.shape[1]
    count = vectors.size + int(entries.empty.sum())
    return Page(count, vector_levels(entries, units), vectors)
