"""The rows of a shard, read from where the producer spooled them and checked against the model."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from unrolled.errors import PayloadError, TransientError
from unrolled.job import payload
from unrolled.ragged import Ragged, offsets_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, eq=False)
class ShardRows:
    """The rows of one shard on their way through a worker.

    Attributes:
        ids: one string per row.
        tokens: token ids as the rows came in, with their zeros (padding).
        real: token ids without zeros, which is what an engine computes.
        good: bool (rows,) of all rows of the shard, False for those in `failed`; None where none failed.
        kept: bool (real tokens,) of all rows of the shard, False for the tokens of rows in `failed`; None where none
            failed.
        failed: rows that can't be computed, as they are listed in quarantine.
    """

    ids: pa.StringArray
    tokens: Ragged
    real: Ragged
    good: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
    failed: list[dict[str, object]] = field(default_factory=list)

    def without(self, reasons: dict[int, str]) -> ShardRows:
        """These rows but for some, which are listed in `failed`.

        Args:
            reasons: row index → why it can't be computed.
        """
        if not reasons:
            return self
        failed = [
            {
                "row": row,
                "id": self.ids[row].as_py(),
                "reason": reason,
                "tokens": self.tokens.take(row, row + 1).values.tolist(),
            }
            for row, reason in sorted(reasons.items())
        ]
        good = np.ones(self.tokens.rows, np.bool_)
        good[list(reasons)] = False
        kept = np.repeat(good, self.real.lengths)
        return replace(
            self,
            ids=self.ids.filter(pa.array(good)),
            tokens=_select(self.tokens, good),
            real=_select(self.real, good),
            good=good,
            kept=kept,
            failed=failed,
        )


def read_rows(path: Path, content_hash: str, vocab_size: int) -> ShardRows:
    """Read the rows of a shard.

    Args:
        path: the file with the rows.
        content_hash: `ShardId.hash`.
        vocab_size: the largest token id of the model.

    Raises:
        PayloadError: the rows are missing, damaged or another shard's, or have a token id that the model doesn't know.
        TransientError: they can't be read now.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = file.read(payload.HEADER_BYTES)
            if payload.content_hash(header) != content_hash:
                raise PayloadError(
                    f"{path}: holds other rows than its name says; run the same `unrolled enqueue` again"
                )
            file.seek(0)
            rows = payload.read(file, size)
    except FileNotFoundError:
        raise PayloadError(f"{path}: the shard's rows are missing; run the same `unrolled enqueue` again") from None
    except OSError as error:
        raise TransientError(f"{path}: can't be read: {error}") from error
    values = rows.tokens.values
    if values.size and int(values.max()) > vocab_size:
        raise PayloadError(f"{path}: holds token id {int(values.max())}; the model knows 1 to {vocab_size}")
    return ShardRows(rows.ids, rows.tokens, _real(rows.tokens))


def _real(tokens: Ragged) -> Ragged:
    """The rows without their zeros."""
    mask = tokens.values != 0
    if mask.all():
        return tokens
    return Ragged(tokens.values[mask], offsets_of(mask)[tokens.offsets])


def _select(rows: Ragged, good: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ragged:
    lengths = rows.lengths
    return Ragged.from_lengths(rows.values[np.repeat(good, lengths)], lengths[good])
