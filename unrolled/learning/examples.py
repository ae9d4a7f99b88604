"""A job's rows as examples to learn from: read lazily, split, shuffled, divided among processes, joined with labels."""

# Over 150 lines: one class, half of it the description of what it gives.

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from unrolled.errors import counted
from unrolled.format.columns import POOLINGS, column_name, parse_name
from unrolled.format.positions import ALL
from unrolled.learning.batches import Example, ExampleBatch, padded
from unrolled.learning.labels import read_labels
from unrolled.reading.arrays import numbers, row_vectors
from unrolled.reading.dataset import Dataset
from unrolled.reading.id_index import hashes_of
from unrolled.reading.scattering import scattered
from unrolled.tokenization.ragged import offsets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

# Vectors that are read, and whose rows are mixed, when rows are shuffled: four row groups of the usual size.
_MIXED_BYTES = 64_000_000
# Rows that are mixed at least, and groups of rows of about one length that are made of them: in few groups, lengths
# differ much.
_FEWEST, _GROUPS = 1000, 16
# Row groups that are read before they are asked for.
_AHEAD = 4
# What the id of a row takes, and the example that is made of one.
_ID_BYTES, _EXAMPLE_BYTES = 100, 300


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Examples:
    """Rows of a job, to iterate over once per epoch. Rows without a vector, or without a label, are left out.

    Memory holds rows of about 64 MB that are mixed, and four row groups of about 16 MB that a thread reads
    meanwhile, however large the job is.

    Attributes:
        dataset: from `unrolled.open`.
        column: a column of vectors, stored or pooled from one that is.
        labels: the label of each id: a number or a text; or a sequence with one for each real token. A mapping, a table
            of two columns (ids and labels) of pyarrow, Polars or pandas, or a Series of pandas with the ids as its
            index. None for no labels. All are numbers, or all are texts. A text becomes the number of its class. An id
            that is a whole number, such as 5, is the job's id "5". An id may occur twice only with the same label.
        classes: the texts of labels, in the order of their numbers; by default those in `labels`, sorted.
        share: which rows, as a part of [0, 1): each row's place there is a hash of its id. So (0, 0.8) and (0.8, 1) are
            two sets without a common row, and the same ones in every program.
        seed: shuffles the rows, another way in each epoch; None keeps their order. Row groups come in a random order,
            and rows are mixed: those of 64 MB of vectors that are read, and at least 1000, if they fit into 64 MB.
        group_rows: puts rows of about one length together, this many at a time, so that a batch of as many rows needs
            little padding; the groups come in a random order. Rows are read on until there are 16 groups, if
            they fit into 64 MB. 0 leaves the rows as they are; it needs a seed.
        epoch: the number of the epoch.
        worker: which of `workers` this is, from 0; each gets other rows.
        workers: among how many processes the rows are divided.
        label_dtype: NumPy's type of all labels together, such as float64 if one is a float; None without labels.

    Raises:
        KeyError: the job doesn't have the column.
        TypeError: `dataset`, `labels` or a label is of another type.
        ValueError: a value isn't allowed, an id has two labels, some are numbers and some texts, or no row of the job
            has a label. Until one is found, ids are read, and nothing else.
    """

    dataset: Dataset = field(kw_only=False)
    column: str = "outputs"
    labels: Any = None
    classes: Sequence[str] = ()
    share: tuple[float, float] = (0.0, 1.0)
    seed: int | None = None
    group_rows: int = 0
    epoch: int = 0
    worker: int = 0
    workers: int = 1
    label_dtype: np.dtype[Any] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, Dataset):
            raise TypeError(
                f"dataset is {self.dataset!r:.100}; give the result of unrolled.open, such as unrolled.open('OUT')"
            )
        if not _is_share(self.share):
            raise ValueError(
                f"share is {self.share!r:.100}; allowed: two numbers from 0 to 1, such as (0, 0.8), the first below the"
                " second: otherwise the interval is empty"
            )
        if self.seed is not None and not _is_count(self.seed):
            raise ValueError(f"seed is {self.seed!r:.40}; allowed: a whole number from 0, or None")
        _check_epoch(self.epoch)
        if not _is_count(self.group_rows) or (self.group_rows and self.seed is None):
            raise ValueError(f"group_rows is {self.group_rows!r:.40}; allowed: 0, or with a seed the rows of a batch")
        if not 0 <= self.worker < self.workers:
            raise ValueError(f"worker is {self.worker} of {self.workers}; allowed: 0 to workers - 1")
        if self.column not in (allowed := _columns(self.dataset)):
            raise KeyError(f"column is {self.column!r:.100}; this job has vectors in {', '.join(allowed)}")
        if self.labels is not None:
            labels, classes, ids, dtype = read_labels(self.labels, tuple(self.classes))
            self._check_ids(labels, ids)
            _changed(self, labels=labels, classes=classes, label_dtype=dtype)

    def of_epoch(self, epoch: int) -> Examples:
        """The same examples in the order of another epoch.

        Raises:
            ValueError: it is no whole number from 0.
        """
        _check_epoch(epoch)
        return _changed(copy(self), epoch=epoch)

    def of_worker(self, worker: int, workers: int) -> Examples:
        """The share of one of several processes; together they have every example once.

        Each gets equally many of the job's rows (the numbers differ by one at most), those in a row in the order of the
        epoch. Rows that are left out, such as those without a label, may make one share larger than another.

        Raises:
            ValueError: `worker` is not one of the whole numbers 0 to workers - 1.
        """
        if not (_is_count(worker) and _is_count(workers) and worker < workers):
            raise ValueError(f"worker is {worker!r:.40} of {workers!r:.40}; allowed: 0 to workers - 1")
        return _changed(copy(self), worker=self.worker * workers + worker, workers=self.workers * workers)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        kind = self.dataset.record_batches([self.column]).schema.field(0).type
        return int((kind if parse_name(self.column)[0] != "none" else kind.value_type).list_size)  # type: ignore[index]

    def __repr__(self) -> str:
        """What it reads, for notebooks; labels as a number, because there may be millions."""
        about = [f"{self.column} of {counted(len(self.dataset), 'row')}"]
        if self.labels is not None:
            of = f" of {counted(len(self.classes), 'class', 'classes')}" if self.classes else ""
            about.append(f"{counted(len(self.labels), 'label')}{of}")
        first, last = self.share
        about += [f"share {first} to {last}", "in order" if self.seed is None else f"seed {self.seed}"]
        return f"<Examples: {', '.join(about)}>"

    def __len__(self) -> int:
        """How many examples there are. All ids are read for it, but no vectors."""
        pieces = self._pieces()
        return sum(
            len(self._wanted(self.dataset.row_group(each.group, ("id", self._counted)), each)) for each in pieces
        )

    def __iter__(self) -> Iterator[Example]:
        left: list[Example] = []
        for rows in self._mixtures():
            numbers = [(group, row) for group, one in enumerate(rows) for row in one.wanted.tolist()]
            if self.seed is not None:
                random = np.random.default_rng([self.seed, self.epoch, rows[0].number])
                numbers = [numbers[at] for at in random.permutation(len(numbers)).tolist()]
            some: Iterable[Example] = (rows[group].example(row, self._label) for group, row in numbers)
            if self.group_rows:
                some, left = _grouped([*left, *some], self.group_rows, random)
            yield from some
            del some
            rows.clear()  # before the next ones are asked for
        yield from sorted(left, key=_length)

    def batches(self, rows: int) -> Iterator[ExampleBatch]:
        """The examples in padded batches of NumPy arrays, as JAX and others take them.

        Args:
            rows: in each batch; fewer in the last one.

        Raises:
            TypeError: `rows` is no whole number.
            ValueError: `rows` is below 1.
        """
        check_batch_rows(rows)
        return self._batches(rows)

    def _batches(self, rows: int) -> Iterator[ExampleBatch]:
        batch: list[Example] = []
        for example in self:
            batch.append(example)
            if len(batch) == rows:
                yield padded(batch)
                batch = []
        if batch:
            yield padded(batch)

    def _check_ids(self, labels: Mapping[str, Any], given: str) -> None:
        """Read ids until one has a label, which is in the first row group in most jobs.

        Args:
            labels: by id.
            given: one of their ids, for people.

        Raises:
            ValueError: no row of the job has a label.
        """
        shown = ""
        for number in range(len(self.dataset.row_groups)):
            ids = _texts(self.dataset.row_group(number, ("id",)).column(0))
            if any(name in labels for name in ids):
                return
            if ids and not shown:
                shown = f"the job has ids like {ids[0]!r:.100}"
        raise ValueError(
            f"no row has a label: labels have ids like {given}; {shown or 'the job has no row'}; give labels by the"
            " job's ids (`row.id for row in dataset`), or name the ids' field when you make the job (--id-field)"
        )

    def _label(self, name: str) -> Any:
        """The label of a row, or those of its tokens, in the type of all; None without labels.

        Raises:
            ValueError: one is beyond that type.
        """
        if self.labels is None or self.label_dtype is None:
            return None
        label = self.labels[name]
        is_many = isinstance(label, np.ndarray | list | tuple)
        try:
            return np.asarray(label, self.label_dtype) if is_many else self.label_dtype.type(label)
        except OverflowError as error:
            raise ValueError(
                f"the label of {name!r:.100} is {label!r:.100}, and all are {self.label_dtype}; give smaller numbers"
            ) from error

    @property
    def _counted(self) -> str:
        """The column that says how many vectors a row has."""
        return "length" if self.dataset.positions == ALL else "positions"

    def _mixtures(self) -> Iterator[list[_Rows]]:
        """The row groups of this worker, some at a time if they are shuffled."""
        ahead = 1 if self.seed is None else _AHEAD
        with contextlib.closing(_read_ahead(self._rows, self._pieces(), ahead)) as groups:
            some: list[_Rows] = []
            read = held = wanted = 0
            for rows in groups:
                some.append(rows)
                read, held, wanted = read + rows.read_bytes, held + rows.held_bytes, wanted + len(rows.wanted)
                is_enough = read >= _MIXED_BYTES and wanted >= max(_FEWEST, _GROUPS * self.group_rows)
                if is_enough or held >= _MIXED_BYTES or self.seed is None:
                    yield some
                    some, read, held, wanted = [], 0, 0, 0
            if some:
                yield some

    def _rows(self, piece: _Piece) -> _Rows:
        rows = self.dataset.row_group(piece.group, ("id", self._counted, self.column))
        found = _Rows.of(piece.group, rows, self._wanted(rows, piece))
        if self.column in {column.name for column in self.dataset.columns}:
            return found
        counts = numbers(rows.column(1) if self._counted == "length" else rows.column(1).value_lengths())
        return found._replace(read_bytes=int(counts.sum()) * found.vectors.itemsize * found.vectors.shape[1])

    def _pieces(self) -> list[_Piece]:
        """The rows of this worker in the order of the epoch: an equal part of all, which may begin in a row group."""
        groups = self.dataset.row_groups
        order = np.arange(len(groups))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        counts = np.array([part.groups[group] for part, group in groups], np.int64)[order]
        begins = counts.cumsum() - counts  # the place of each group's first row among all
        first, end = (int(counts.sum()) * worker // self.workers for worker in (self.worker, self.worker + 1))
        starts, stops = np.maximum(first - begins, 0), np.minimum(end - begins, counts)
        mine = np.stack([order, starts, stops])[:, starts < stops]
        return [_Piece(*each) for each in mine.T.tolist()]

    def _wanted(self, rows: pa.RecordBatch, piece: _Piece) -> NDArray[np.int64]:
        """The rows of a piece that are in the share, and have a vector and a label."""
        ids, counts = rows.column(0), rows.column(1)
        is_wanted = numbers(counts if self._counted == "length" else counts.value_lengths()) > 0
        is_wanted[: piece.start] = is_wanted[piece.stop :] = False
        if self.share != (0, 1):
            # Scattered, because the hashes of ids that count up are evenly spaced for some lengths of ids.
            places = (scattered(hashes_of(ids)) >> np.uint64(11)).astype(np.float64) / 2**53
            is_wanted &= (places >= self.share[0]) & (places < self.share[1])
        wanted = np.flatnonzero(is_wanted)
        if self.labels is not None:
            texts = _texts(ids)
            wanted = np.array([row for row in wanted.tolist() if texts[row] in self.labels], np.int64)
        return wanted


def check_examples(given: object) -> None:
    """Refuse what isn't examples, such as a job's rows alone.

    Raises:
        TypeError: it isn't.
    """
    if not isinstance(given, Examples):
        raise TypeError(f"examples are {given!r:.100}; give unrolled.Examples, such as unrolled.Examples(dataset=…)")


def check_batch_rows(rows: object) -> None:
    """Refuse what is no number of rows in a batch.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is below 1.
    """
    if not isinstance(rows, int | np.integer) or isinstance(rows, bool):
        raise TypeError(f"rows is {rows!r:.40}; a whole number is expected")
    if rows < 1:
        none = "" if rows else "; there is no example if this is len(examples): look at the share and the labels"
        raise ValueError(f"rows is {rows}; it must be at least 1{none}")


class _Piece(NamedTuple):
    """Rows of one row group, from `start` to before `stop`."""

    group: int
    start: int
    stop: int


class _Rows(NamedTuple):
    """One row group, decoded: its number, its ids, its vectors, the rows that are wanted, and what was read for it."""

    number: int
    ids: list[str]
    vectors: NDArray[np.floating[Any]]
    offsets: list[int] | None
    wanted: NDArray[np.int64]
    read_bytes: int

    @property
    def held_bytes(self) -> int:
        """What it takes in memory, with its examples."""
        return self.vectors.nbytes + _ID_BYTES * len(self.ids) + _EXAMPLE_BYTES * len(self.wanted)

    @classmethod
    def of(cls, number: int, rows: pa.RecordBatch, wanted: NDArray[np.int64]) -> _Rows:
        ids, lists = _texts(rows.column(0)), rows.column(2)
        if pa.types.is_fixed_size_list(lists.type):
            whole = row_vectors(lists)
            if 2 * len(wanted) <= len(ids):  # the others needn't be kept
                return cls(
                    number, [ids[row] for row in wanted.tolist()], whole[wanted], None, _all(wanted), whole.nbytes
                )
            return cls(number, ids, whole, None, wanted, whole.nbytes)
        vectors = lists.flatten()
        values = numbers(vectors.flatten()).reshape(-1, vectors.type.list_size)
        lengths = numbers(lists.value_lengths())
        if 2 * len(wanted) <= len(ids):
            is_kept = np.zeros(len(ids), bool)
            is_kept[wanted] = True
            kept, ids, read = values[np.repeat(is_kept, lengths)], [ids[row] for row in wanted.tolist()], values.nbytes
            return cls(number, ids, kept, offsets_of(lengths[wanted]).tolist(), _all(wanted), read)
        return cls(number, ids, values, offsets_of(lengths).tolist(), wanted, values.nbytes)

    def example(self, row: int, label: Callable[[str], Any]) -> Example:
        name = self.ids[row]
        vectors = self.vectors[row] if self.offsets is None else self.vectors[self.offsets[row] : self.offsets[row + 1]]
        return Example(name, vectors, label(name))


def _all(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.arange(len(rows))


def _check_epoch(epoch: Any) -> None:
    if not _is_count(epoch):
        raise ValueError(f"epoch is {epoch!r:.40}; allowed: a whole number from 0")


def _is_count(value: Any) -> bool:
    """Whether this is a whole number from 0."""
    return bool(isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 0)


def _is_share(share: Any) -> bool:
    """Whether these are two numbers, 0 <= first < last <= 1."""
    try:
        first, last = share
        return bool(0 <= first < last <= 1)
    except (TypeError, ValueError):
        return False


def _columns(dataset: Dataset) -> list[str]:
    """The columns of vectors: those that are stored, and those that are pooled from them."""
    stored = [column.name for column in dataset.columns]
    layers = [column.layer for column in dataset.columns if column.per_token]
    return list(dict.fromkeys([*stored, *(column_name(how, layer) for layer in layers for how in POOLINGS)]))


def _changed(examples: Examples, **values: Any) -> Examples:
    """New examples, given other values: `dataclasses.replace` would read and check the labels again in each epoch."""
    for name, value in values.items():
        object.__setattr__(examples, name, value)
    return examples


def _length(example: Example) -> int:
    return len(example.vectors)


def _grouped(
    examples: list[Example], rows: int, random: np.random.Generator
) -> tuple[Iterator[Example], list[Example]]:
    """Whole groups of rows of about one length, in a random order; and the last examples, too few for a group."""
    whole = len(examples) - len(examples) % rows
    by_length = sorted(examples[:whole], key=_length)  # those of one length stay in their order, which is random
    order = random.permutation(whole // rows).tolist()
    grouped = (example for at in order for example in by_length[at * rows : (at + 1) * rows])
    # Copies: a view would keep its row group in memory.
    return grouped, [example._replace(vectors=example.vectors.copy()) for example in examples[whole:]]


def _read_ahead(read: Callable[[_Piece], _Rows], pieces: Sequence[_Piece], most: int) -> Generator[_Rows]:
    """Row groups in order, read by a thread while the caller is busy with earlier ones.

    Args:
        read: reads one.
        pieces: which ones.
        most: how many are read before they are asked for.
    """
    reader = ThreadPoolExecutor(1, "read-ahead")
    waiting: deque[Future[_Rows]] = deque()
    try:
        for piece in pieces:
            waiting.append(reader.submit(read, piece))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def _texts(ids: pa.StringArray) -> list[str]:
    """A column of ids as `to_pylist` gives it, in a tenth of the time."""
    found: list[str] = ids.to_numpy(zero_copy_only=False).tolist()
    return found
