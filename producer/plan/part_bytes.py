"""The bytes of a job's parts: what `worker.parquet` writes for so many rows and tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from unrolled.format.output_spec import PRECISIONS
from unrolled.format.schema import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.format.columns import VectorColumn
    from unrolled.format.output_spec import OutputSpec

_PRECISION_BYTES = dict(zip(PRECISIONS, (4, 2), strict=True))
#: A row group and a page take about this much, their sizes before compression (there is none).
_ROW_GROUP_BYTES, _PAGE_BYTES = 16 << 20, 1 << 20
#: Bytes of a page's header with its levels' sizes, of what the footer says of a column of a row group, of a column in
#: the footer's schema, and of everything else in a part: metadata, seal, magic numbers.
_PAGE_HEADER, _CHUNK_FACTS, _COLUMN_FACTS, _PART_FACTS = 40, 82, 30, 260


#: Bytes of the levels of an empty row in a column of vectors.
_EMPTY_LEVELS = 4


class Content(NamedTuple):
    """The content of a job's parts, in numbers.

    Attributes:
        parts: how many there are.
        rows: in all of them.
        vectors: real tokens whose vectors are stored, if those of tokens are.
        token_ids: token ids, padding included.
        id_bytes: size of the rows' ids in UTF-8.
        empty: rows without a real token.
        bare: rows without a token whose vector is stored.
    """

    parts: float
    rows: float
    vectors: float
    token_ids: float
    id_bytes: float
    empty: float = 0.0
    bare: float = 0.0


def part_bytes(content: Content, spec: OutputSpec, columns: Sequence[VectorColumn]) -> float:
    """Bytes of all parts of a job.

    Args:
        content: what they hold.
        spec: what the job stores of it.
        columns: the spec's columns of vectors.
    """
    rows, ids = content.rows, content.token_ids
    size = _PRECISION_BYTES[spec.precision]
    list_levels = _list_levels(ids, content.empty)
    total = 4 * rows + content.id_bytes + 4 * rows + list_levels + ids / 8
    pages = 0.0
    for column in columns:
        with_one = rows if spec.empty_rows == "zeros" else rows - content.empty
        vectors = column.vectors(1, 0) * with_one + column.vectors(0, 1) * content.vectors
        vector = column.width * size
        # A stretch of levels for a vector's first number, and one for its others.
        stretch = 2 + (_varint_bytes(2 * (column.width - 1)) + 1 if column.width > 1 else 0)
        total += vectors * (vector + stretch)
        without = content.bare if column.per_token else rows - with_one
        if without >= 1:
            total += vectors * (_varint_bytes(2 * column.width) + 1) + _EMPTY_LEVELS * without
        pages += vectors * column.width * 4 / _PAGE_BYTES
    if spec.with_tokens:
        total += list_levels + 4 * ids
    if spec.positions is not None:
        total += _list_levels(content.vectors, content.bare) + 4 * content.vectors
    groups = max(content.parts, total / _ROW_GROUP_BYTES)
    leaves = 3 + len(columns) + spec.with_tokens + (spec.positions is not None)
    footer = leaves * groups * (_PAGE_HEADER + _CHUNK_FACTS) + pages * _PAGE_HEADER
    schema: float = arrow_schema(spec, columns).serialize().size * 4 / 3
    return total + footer + content.parts * (schema + leaves * _COLUMN_FACTS + _PART_FACTS)


def _list_levels(values: float, empty: float) -> float:
    """A bit for each value says whether it begins a row; where any row is empty, another one says if it is a value."""
    return (values + empty) / 8 * (2 if empty >= 1 else 1)


def parts_of(rows: float, tokens: float, shard_tokens: int, shard_rows: int) -> float:
    """How many parts so many rows and token ids give, at least; a row is never cut."""
    if rows <= 0:
        return 0.0
    most = max(1.0, math.ceil(tokens / shard_tokens), math.ceil(rows / shard_rows))
    return min(most, max(1.0, round(rows)))


def _varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
