"""What a map is made of, of all vectors that were read: their covariance, and a sample of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Self

import numpy as np

from producer.report.states.components import Covariance
from producer.report.states.part_points import part_points, real_places
from producer.report.states.sample import Sample
from unrolled.errors import OptionError
from unrolled.format.columns import POOLINGS, column_name, parse_name
from unrolled.reading.arrays import numbers, row_vectors, truths
from unrolled.tokenization.ragged import offsets_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from producer.report.options import ReportOptions
    from unrolled.job.shard_id import ShardId
    from unrolled.reading.part_file import Part

#: Rows of a row group whose vectors are copied at a time.
_ROWS_AT_ONCE = 4096


class MapStates:
    """The vectors of a map, as far as they were read.

    Args:
        part: any part of the job, which says what columns there are.
        options: what the map shows.

    Attributes:
        column: the column of the vectors.
        columns: all columns that `add` needs.
        covariance: of all vectors that are finite.
        sample: the points of the map, drawn from them.
        not_finite: how many others there are.

    Raises:
        OptionError: the job has no column that fits.
    """

    def __init__(self, part: Part, options: ReportOptions) -> None:
        self._of_tokens = options.of_tokens
        self.column, width = _column(part, options)
        self.columns = ["length", "id", self.column, *["tokens"] * part.spec.with_tokens]
        if self._of_tokens and part.spec.positions is not None:
            self.columns += ["positions", "mask"]
        self.covariance, self.sample = Covariance(width), Sample(options.points, width)
        self.not_finite = 0

    def copy(self) -> Self:
        """A copy, which is added to by itself."""
        found = copy.copy(self)
        found.covariance, found.sample = self.covariance.copy(), self.sample.copy()
        return found

    def add(self, shard: ShardId, at: int, rows: pa.RecordBatch) -> int:
        """Add the vectors of some rows of a part.

        Args:
            shard: the part's shard.
            at: how many places the rows before them took.
            rows: with `columns`, in this order.

        Returns:
            How many places they take.
        """
        before = at
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            at += self._add(shard, at, rows.slice(start, _ROWS_AT_ONCE))
        return at - before

    def _add(self, shard: ShardId, at: int, rows: pa.RecordBatch) -> int:
        lists = rows.column(2)
        vectors: NDArray[np.floating] = row_vectors(lists.flatten() if self._of_tokens else lists)
        # A row without a token has no vector, nor has one without a chosen position.
        real = np.ones(len(vectors), np.bool_)
        if not self._of_tokens:
            real = (numbers(rows.column(0)) > 0) & truths(lists.is_valid())
        # One infinite number would make all sums infinite, and nothing could be drawn.
        finite = real & np.isfinite(vectors).all(axis=1)
        self.not_finite += int(real.sum() - finite.sum())
        self.covariance.add(vectors if finite.all() else vectors[finite])
        chosen, keys = self.sample.wanted(shard, at, finite)
        of_rows, positions = chosen, np.full(len(chosen), -1, np.int32)
        if self._of_tokens:
            offsets = offsets_of(numbers(lists.value_lengths()))
            of_rows = np.searchsorted(offsets, chosen, side="right") - 1
            positions = (chosen - offsets[of_rows]).astype(np.int32)
            if "positions" in rows.schema.names:
                positions = real_places(rows, of_rows, numbers(rows.column("positions").flatten())[chosen])
        if len(chosen):
            self.sample.add(part_points(shard, at, rows, vectors, chosen, keys, of_rows, positions))
        return len(vectors)


def _column(part: Part, options: ReportOptions) -> tuple[str, int]:
    """The column of a map's vectors, and their width."""
    pooled = [column.name for column in part.columns if not column.per_token]
    tokens = [column for column in part.columns if column.per_token]
    if options.of_tokens and not tokens:
        raise OptionError(
            "this job stored no vectors of tokens, so it has no map of them; --pooling none,mean would store them, too"
        )
    computed = [column_name(how, column.layer) for column in tokens for how in POOLINGS[1:]]
    allowed = [column.name for column in tokens] if options.of_tokens else [*pooled, *computed]
    found = options.column or allowed[0]
    if found not in allowed:
        raise OptionError(f"column is {found!r:.80}; allowed for this map: {', '.join(dict.fromkeys(allowed))}")
    layer = (parse_name(found) or ("", None))[1]
    return found, next(column.width for column in part.columns if column.layer == layer)
