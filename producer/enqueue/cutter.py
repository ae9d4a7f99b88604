"""Cutting a stream of rows into shards; equal streams give equal cuts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producer.sources.errors import SourceError
from producer.sources.rows import BadRow, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Most rows in a shard, bad ones included: bounds memory where rows are short or all are bad.
SHARD_ROWS = 2**16
#: A part aims at this many bytes of float32 outputs: benchmarks/shard_size.py.
FILE_BYTES = 64 * 2**20
_SMALLEST_SHARD, _LARGEST_SHARD = 2**12, 2**18
#: Where all vectors are pooled, files would be small for as many tokens as take minutes. At this many, a core computes
#: a shard of 2 layers of 512 units in some 4 seconds: that is what a kill costs, and several workers have work soon.
_LARGEST_POOLED_SHARD = 2**17

Cut = list[Row | BadRow]


class Cutter:
    """Collects rows until a shard is full.

    A shard never has more than `shard_tokens` token ids, unless its only row has more.

    Args:
        shard_tokens: token ids (padding included) at which a shard is cut.
        shard_rows: rows at which a shard is cut, however few its token ids.
        ends: numbers of rows after which the input once ended, in order; a shard is cut there, however small, so that
            an input that has grown since gives the earlier shards again.
    """

    def __init__(self, shard_tokens: int, shard_rows: int = SHARD_ROWS, ends: Iterable[int] = ()) -> None:
        self._shard_tokens = shard_tokens
        self._shard_rows = shard_rows
        self._ends = (end for end in ends if end)
        self._end = next(self._ends, None)
        self._taken = 0
        self._rows: Cut = []
        self._tokens = 0

    @property
    def empty(self) -> bool:
        """Whether no row waits for its shard to fill."""
        return not self._rows

    def add(self, batch: Cut) -> Iterator[Cut]:
        """Add rows; yield the shards that they fill."""
        for row in batch:
            size = row.tokens.size if isinstance(row, Row) else 0
            if self._rows and self._tokens + size > self._shard_tokens:
                yield self._take()
            self._rows.append(row)
            self._tokens += size
            is_end = self._end is not None and self._taken + len(self._rows) == self._end
            if is_end or self._tokens >= self._shard_tokens or len(self._rows) >= self._shard_rows:
                yield self._take()

    def flush(self) -> Iterator[Cut]:
        """Yield the remaining rows, if there are any."""
        if self._rows:
            yield self._take()

    def _take(self) -> Cut:
        rows, self._rows, self._tokens = self._rows, [], 0
        self._taken += len(rows)
        while self._end is not None and self._end <= self._taken:
            self._end = next(self._ends, None)
        return rows


def cuts(batches: Iterable[Cut], cutter: Cutter, flush_seconds: float | None) -> Iterator[Cut]:
    """Cut a stream of rows.

    Args:
        batches: batches of rows; a live input gives empty ones while nothing arrives.
        cutter: decides where a shard is full.
        flush_seconds: on a live input, how long the first row of a shard may wait for more; None elsewhere,
            so that the cuts depend on the rows alone.

    Raises:
        SourceError: raised by the batches; on a live input after the last cut.
    """
    waiting_since = 0.0
    try:
        for batch in batches:
            if cutter.empty:
                waiting_since = time.monotonic()
            for cut in cutter.add(batch):
                yield cut
                waiting_since = time.monotonic()
            if flush_seconds is not None and time.monotonic() - waiting_since >= flush_seconds:
                yield from cutter.flush()
    except SourceError:
        if flush_seconds is not None:  # what a live input has given can't be read again
            yield from cutter.flush()
        raise
    yield from cutter.flush()


def shard_limits(token_bytes: int, row_bytes: int, input_bytes: int = 0, state_bytes: int = 0) -> tuple[int, int]:
    """Where shards are cut unless the user says otherwise: at parts of about `FILE_BYTES`, within bounds.

    Args:
        token_bytes: float32 outputs that each token adds to a part; 0 where all vectors are pooled.
        row_bytes: pooled vectors that each row adds to a part.
        input_bytes: numbers that each token adds to the shard's rows, of a model that reads vectors; rows of
            `FILE_BYTES` are enough, too.
        state_bytes: initial states that each row adds to the shard's rows; these have the same bound.

    Returns:
        Token ids and rows. Where all vectors are pooled, the rows decide.
    """
    tokens = _LARGEST_POOLED_SHARD
    if token_bytes:
        tokens = max(_SMALLEST_SHARD, min(_LARGEST_SHARD, FILE_BYTES // token_bytes))
    if input_bytes:
        tokens = max(1, min(tokens, FILE_BYTES // input_bytes))
    most = max(row_bytes, state_bytes)
    return tokens, max(1, min(SHARD_ROWS, FILE_BYTES // most)) if most else SHARD_ROWS
