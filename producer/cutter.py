"""Cutting a stream of rows into shards, the same way every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.rows import BadRow, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

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
