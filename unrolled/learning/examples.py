"""A job's rows as examples to learn from: read lazily, split, shuffled, divided among processes, joined with labels."""

# Over 150 lines: one class, half of it the description of what it gives.

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from unrolled.format.columns import parse_name
from unrolled.format.positions import ALL
from unrolled.learning.batches import Example, ExampleBatch, padded
from unrolled.reading.arrays import row_vectors
from unrolled.reading.id_index import hashes_of
from unrolled.tokenization.ragged import offsets_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unrolled.reading.dataset import Dataset

# How many row groups are mixed when rows are shuffled; each has about 16 MB.
_MIXED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows of a job, to iterate over once per epoch. Rows without a vector, or without a label, are left out.

    Memory holds a few row groups of about 16 MB each, however large the job is.

    Attributes:
        dataset: from `unrolled.open`.
        column: a column of vectors, stored or pooled from one that is.
        labels: the label of each id: a number; or a sequence with one for each real token. A mapping, or a table of two
            columns (ids and labels) of pyarrow, Polars or pandas. None for no labels.
        share: which rows, as a part of [0, 1): each row's place there is a hash of its id. So (0, 0.8) and (0.8, 1) are
            two sets without a common row, and the same ones in every program.
        seed: shuffles the rows, another way in each epoch; None keeps their order. Row groups come in a random order,
            and the rows of four at a time are mixed.
        epoch: the number of the epoch.
        worker: which of `workers` this is, from 0; each gets other rows.
        workers: among how many processes the rows are divided.

    Raises:
        KeyError: the job doesn't have the column.
        ValueError: a value isn't allowed.
    """

    dataset: Dataset
    column: str = "outputs"
    labels: Any = None
    share: tuple[float, float] = (0.0, 1.0)
    seed: int | None = None
    epoch: int = 0
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        first, last = self.share
        if not 0 <= first < last <= 1:
            raise ValueError(f"share is {self.share}; allowed: two numbers, 0 <= first < last <= 1")
        if not 0 <= self.worker < self.workers:
            raise ValueError(f"worker is {self.worker} of {self.workers}; allowed: 0 to workers - 1")
        if parse_name(self.column) is None:
            raise KeyError(f"column {self.column!r:.100} has no vectors")
        self.dataset.record_batches([self.column])  # raises where there is none
        if self.labels is not None and not isinstance(self.labels, Mapping):
            object.__setattr__(self, "labels", _mapping(self.labels))

    def of_epoch(self, epoch: int) -> Examples:
        """The same examples in the order of another epoch."""
        return replace(self, epoch=epoch)

    def of_worker(self, worker: int, workers: int) -> Examples:
        """The share of one of several processes; together they have every example once."""
        return replace(self, worker=self.worker * workers + worker, workers=self.workers * workers)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        kind = self.dataset.record_batches([self.column]).schema.field(0).type
        return int((kind if parse_name(self.column)[0] != "none" else kind.value_type).list_size)  # type: ignore[index]

    def __len__(self) -> int:
        """How many examples there are. All ids are read for it, but no vectors."""
        mine = self._order().tolist()
        return sum(len(self._wanted(self.dataset.row_group(number, ("id", self._counted)))) for number in mine)

    def __iter__(self) -> Iterator[Example]:
        for rows in self._mixtures():
            numbers = [(group, row) for group, one in enumerate(rows) for row in one.wanted.tolist()]
            if self.seed is not None:
                order = np.random.default_rng([self.seed, self.epoch, rows[0].number]).permutation(len(numbers))
                numbers = [numbers[at] for at in order.tolist()]
            for group, row in numbers:
                yield rows[group].example(row, self.labels)

    def batches(self, rows: int) -> Iterator[ExampleBatch]:
        """The examples in padded batches of NumPy arrays, as JAX and others take them.

        Args:
            rows: in each batch; fewer in the last one.
        """
        if rows < 1:
            raise ValueError(f"rows is {rows}; it must be at least 1")
        batch: list[Example] = []
        for example in self:
            batch.append(example)
            if len(batch) == rows:
                yield padded(batch)
                batch = []
        if batch:
            yield padded(batch)

    @property
    def _counted(self) -> str:
        """The column that says how many vectors a row has."""
        return "length" if self.dataset.positions == ALL else "positions"

    def _mixtures(self) -> Iterator[list[_Rows]]:
        """The row groups of this worker, some at a time if they are shuffled."""
        mine = self._order().tolist()
        step = 1 if self.seed is None else _MIXED
        for start in range(0, len(mine), step):
            yield [
                _Rows.of(number, rows, self._wanted(rows))
                for number in mine[start : start + step]
                for rows in [self.dataset.row_group(number, ("id", self._counted, self.column))]
            ]

    def _order(self) -> NDArray[np.int64]:
        """The numbers of this worker's row groups in the order of the epoch."""
        numbers = np.arange(len(self.dataset.row_groups))
        if self.seed is not None:
            numbers = np.random.default_rng([self.seed, self.epoch]).permutation(numbers)
        return numbers[self.worker :: self.workers]

    def _wanted(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        """The rows of a row group that are in the share, and have a vector and a label."""
        ids = rows.column(0)
        places = (hashes_of(ids) >> np.uint64(11)).astype(np.float64) / 2**53
        numbers = rows.column(1)
        counts = (numbers if self._counted == "length" else numbers.value_lengths()).to_numpy()
        is_wanted = (places >= self.share[0]) & (places < self.share[1]) & (counts > 0)
        wanted = np.flatnonzero(is_wanted)
        if self.labels is not None:
            wanted = np.array([row for row in wanted.tolist() if ids[row].as_py() in self.labels], np.int64)
        return wanted


class _Rows(NamedTuple):
    """One row group, decoded: its number, its ids, its vectors, and the rows that are wanted."""

    number: int
    ids: list[str]
    vectors: NDArray[np.floating[Any]]
    offsets: list[int] | None
    wanted: NDArray[np.int64]

    @classmethod
    def of(cls, number: int, rows: pa.RecordBatch, wanted: NDArray[np.int64]) -> _Rows:
        ids, lists = rows.column(0).to_pylist(), rows.column(2)
        if pa.types.is_fixed_size_list(lists.type):
            return cls(number, ids, row_vectors(lists), None, wanted)
        vectors = lists.flatten()
        values = vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size)
        return cls(number, ids, values, offsets_of(lists.value_lengths().to_numpy()).tolist(), wanted)

    def example(self, row: int, labels: Mapping[str, Any] | None) -> Example:
        name = self.ids[row]
        vectors = self.vectors[row] if self.offsets is None else self.vectors[self.offsets[row] : self.offsets[row + 1]]
        return Example(name, vectors, None if labels is None else labels[name])


def _mapping(table: Any) -> dict[str, Any]:
    """Labels by id, from a table of two columns."""
    found = pa.table(table)
    if found.num_columns != 2:  # noqa: PLR2004 - ids and labels
        raise ValueError(f"labels have the columns {', '.join(found.column_names)}; give two: ids and labels")
    return dict(zip(found.column(0).to_pylist(), found.column(1).to_pylist(), strict=True))
