"""Single rows of a job, by number or by id."""

from __future__ import annotations

import operator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from unrolled.reading.batch import Batch
from unrolled.reading.id_index import IdIndex
from unrolled.reading.part_file import explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from unrolled.reading.part_file import Part
    from unrolled.reading.row import Row


class Lookup:
    """Reads single rows of some parts; the row group that was read last stays in memory.

    Args:
        parts: of one job, in order.

    Attributes:
        groups: each row group in order: its part, and its number there.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.groups = [(part, group) for part in parts for group in range(len(part.groups))]
        self._ends = np.cumsum([rows for part in parts for rows in part.groups], dtype=np.int64)
        self._parts = parts
        self._kept: tuple[int, pa.RecordBatch] | None = None

    def row(self, number: int) -> Row:
        """The row of this number, from 0; a negative one counts from the end.

        Raises:
            IndexError: there is none.
            FileFormatError: its file is damaged.
        """
        rows, at = int(self._ends[-1]) if len(self._ends) else 0, operator.index(number)
        at = at + rows if at < 0 else at
        if not 0 <= at < rows:
            raise IndexError(f"there is no row {number}; there are {rows}")
        group = int(np.searchsorted(self._ends, at, side="right"))
        part, of_part = self.groups[group]
        kept = self._kept
        if kept is None or kept[0] != group:
            self._kept = kept = group, part.row_group(of_part)
        with explained(part.store, part.name):
            batch = Batch.from_arrow(kept[1].slice(at - int(self._ends[group]) + kept[1].num_rows, 1), part.columns)
        return next(batch.rows())

    def find(self, id: str) -> Row | None:  # noqa: A002 - the column's name
        """The first row with this id, or None.

        Raises:
            FileFormatError: a file is damaged.
        """
        number = self.number(id)
        return None if number is None else self.row(number)

    def number(self, id: str) -> int | None:  # noqa: A002 - the column's name
        """The number, from 0, of the first row with this id, or None.

        Raises:
            FileFormatError: a file is damaged.
        """
        return next((number for number in self._ids.rows(id) if self.row(number).id == id), None)

    @cached_property
    def _ids(self) -> IdIndex:
        return IdIndex(rows.column(0) for part in self._parts for rows in part.record_batches(["id"]))
