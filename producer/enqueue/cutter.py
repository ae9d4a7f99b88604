"""Cutting a stream of rows into shards, the same way every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.rows import BadRow, Row
from unrolled.format.columns import vector_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.format.columns import VectorColumn

#: Most rows in a shard, bad ones included: bounds memory where rows are short or all are bad.
SHARD_ROWS = 2**16

Cut = list[Row | BadRow]


class Cutter:
    """Collects rows until a shard is full.

    A shard never holds more than `shard_tokens` token ids, unless its only row alone does.

    Args:
        shard_tokens: token ids (padding included) at which a shard is cut.
        shard_rows: rows at which it is cut all the same.
    """

    def __init__(self, shard_tokens: int, shard_rows: int = SHARD_ROWS) -> None:
        self._shard_tokens = shard_tokens
        self._shard_rows = shard_rows
        self._rows: Cut = []
        self._tokens = 0

    @property
    def empty(self) -> bool:
        """Whether no row waits for its shard to fill."""
        return not self._rows

    def add(self, batch: Cut) -> Iterator[Cut]:
        """Take rows in; the shards that they fill."""
        for row in batch:
            size = row.tokens.size if isinstance(row, Row) else 0
            if self._rows and self._tokens + size > self._shard_tokens:
                yield self._take()
            self._rows.append(row)
            self._tokens += size
            if self._tokens >= self._shard_tokens or len(self._rows) >= self._shard_rows:
                yield self._take()

    def flush(self) -> Iterator[Cut]:
        """What is left, if anything is."""
        if self._rows:
            yield self._take()

    def _take(self) -> Cut:
        rows, self._rows, self._tokens = self._rows, [], 0
        return rows


#: A shard's file aims at this many bytes of float32 outputs: benchmarks/shard_size.py.
FILE_BYTES = 64 * 2**20
_SMALLEST_SHARD, _LARGEST_SHARD = 2**12, 2**18
#: A worker computes such a shard some rows at a time; its token ids take 4 MiB.
_LARGEST_POOLED_SHARD = 2**20


def default_shard_tokens(columns: tuple[VectorColumn, ...]) -> int:
    """Token ids for a file of about `FILE_BYTES` of float32 vectors, within bounds.

    Pooled vectors weigh nothing a token: `most_shard_rows` cuts where there are no others.
    """
    size = vector_bytes(columns, rows=0, tokens=1)
    return max(_SMALLEST_SHARD, min(_LARGEST_SHARD, FILE_BYTES // size)) if size else _LARGEST_POOLED_SHARD


def most_shard_rows(columns: tuple[VectorColumn, ...]) -> int:
    """Rows at which a shard is cut: where their pooled vectors reach `FILE_BYTES`, or all other memory counts."""
    size = vector_bytes(columns, rows=1, tokens=0)
    return max(1, min(SHARD_ROWS, FILE_BYTES // size)) if size else SHARD_ROWS
