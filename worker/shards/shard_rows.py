"""A shard's rows in a worker, checked against the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from unrolled.errors import PayloadError
from unrolled.format.file_info import FailedRow
from unrolled.job import payload
from unrolled.tokenization.ragged import Ragged

if TYPE_CHECKING:
    from unrolled.job.shard_id import ShardId


@dataclass(frozen=True, slots=True, eq=False)
class ShardRows:
    """The rows of one shard in a worker.

    Attributes:
        ids: one string per row.
        tokens: token ids as they were read, padding zeros included.
        real: the rows without their zeros, as the engine gets them.
        good: bool (rows,) over all rows, False for those in `failed`; None if no row failed.
        kept: bool (real tokens,) over the tokens of all rows, False for those of failed rows; None if no row failed.
        failed: the rows that can't be computed.
    """

    ids: pa.StringArray
    tokens: Ragged
    real: Ragged
    good: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
    failed: tuple[FailedRow, ...] = ()

    def without(self, reasons: dict[int, str]) -> ShardRows:
        """These rows without the failed ones, which are in `failed`.

        Args:
            reasons: row index → why it can't be computed.
        """
        if not reasons:
            return self
        failed = tuple(FailedRow(row, self.ids[row].as_py(), reason) for row, reason in sorted(reasons.items()))
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


def decode_rows(
    content: bytes, shard: ShardId, vocab_size: int, vector_dim: int | None = None, given_dim: int = 0
) -> ShardRows:
    """Read the rows of a shard, and check them.

    Args:
        content: the content of the shard's rows in the store.
        shard: the shard's id, which contains a hash of the content.
        vocab_size: the largest token id that the model knows.
        vector_dim: the width of the vectors that the model reads; None if it reads token ids.
        given_dim: the width of the initial states that the model reads; 0 if it reads none.

    Raises:
        PayloadError: the rows are damaged, others than the shard's, out of the vocabulary, or not what the model reads.
    """
    try:
        rows = payload.decode_as(shard.hash, content)
    except PayloadError as error:
        raise PayloadError(
            f"the rows of shard {shard} are damaged: {error}"  # `producer.jobs.diagnosis` says what helps
        ) from error
    values = rows.tokens.values
    found = None if rows.tokens.vectors is None else rows.tokens.vectors.shape[1]
    if values.any() and found != vector_dim:
        raise PayloadError(f"shard {shard} has {_content(found)}; the model reads {_content(vector_dim)}")
    states = 0 if rows.tokens.states is None else rows.tokens.states.shape[1]
    if rows.tokens.rows and states != given_dim:
        raise PayloadError(f"shard {shard} has {_beginning(states)}; the model reads {_beginning(given_dim)}")
    if vector_dim is None and values.size and int(values.max()) > vocab_size:
        raise PayloadError(f"shard {shard} has token id {int(values.max())}; the model knows 1 to {vocab_size}")
    return ShardRows(rows.ids, rows.tokens, _real(rows.tokens))


def _content(vector_dim: int | None) -> str:
    return "token ids" if vector_dim is None else f"vectors {vector_dim} wide"


def _beginning(given_dim: int) -> str:
    return f"initial states of {given_dim} numbers" if given_dim else "no initial states"


def _real(tokens: Ragged) -> Ragged:
    """The rows without their zeros."""
    mask = tokens.values != 0
    if mask.all():
        return tokens
    return tokens.where(mask)


def _select(rows: Ragged, good: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ragged:
    lengths = rows.lengths
    states = None if rows.states is None else rows.states[good]
    return Ragged.from_lengths(rows.values[np.repeat(good, lengths)], lengths[good], rows.vectors, states)
