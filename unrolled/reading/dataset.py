"""Reads the files that a job published: `unrolled.open(OUT)`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import FileFormatError
from unrolled.format.columns import column_name
from unrolled.ragged import runs
from unrolled.reading.batch import Batch
from unrolled.reading.part_file import Part, explained, refuse_mixed
from unrolled.reading.row import Row
from unrolled.reading.transforms import Pooling, pooled

StrPath = str | os.PathLike[str]


def open_dataset(source: StrPath | Iterable[StrPath]) -> "Dataset":
    """Open the rows that a job published.

    Only the files' footers are read now. Rows are read when they are asked for, a row group at a time.

    Args:
        source: a job's output directory, or one of its files, or several. In a directory, all `*.parquet` files are
            opened, in the order of the shards; names that begin with "_" or "." are ignored.

    Raises:
        FileFormatError: there is no file; or a file is damaged, was not written by Unrolled, or has another format
            version; or two files have different models or columns, or contain the same shard. The text names the files.
        TransientError: the operating system refused to read a file.

    Example:
        >>> for row in unrolled.open("out"):
        ...     print(row.id, row.outputs.shape)
    """
    if isinstance(source, str | os.PathLike):
        found = map(Part, _parquet_files(Path(source)))
        parts = sorted(found, key=lambda part: (part.info.shard, part.path.name))
    else:
        parts = [Part(Path(path)) for path in source]
    if not parts:
        raise FileFormatError(f"no published file in {source}: give the output directory of a job that has begun")
    return Dataset(parts)


def _parquet_files(path: Path) -> list[Path]:
    with explained(path):
        if not path.is_dir():
            return [path]
        return sorted(file for file in path.iterdir() if file.suffix == ".parquet" and file.name[0] not in "._")


class Dataset:
    """The rows of one or more published files, in order.

    Attributes:
        files: the paths of the files.
        columns: the columns of vectors, each with `name` and `width`, in the files' order.
        units: width of the first column of vectors.
        precision: how the vectors are stored, "float32" or "float16".
        model_fingerprint: SHA-256 of the model directory that computed every row, 64 hexadecimal digits.
        tokens: number of real tokens.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        refuse_mixed(parts)
        self._parts = parts
        self.files = [part.path for part in parts]
        self.columns = parts[0].columns
        self.units = self.columns[0].width
        self.precision = parts[0].spec.precision
        self.model_fingerprint = parts[0].info.model_fingerprint
        self.tokens = sum(part.info.tokens for part in parts)

    def __len__(self) -> int:
        return sum(part.info.rows for part in self._parts)

    def __iter__(self) -> Iterator[Row]:
        return self.rows()

    def __repr__(self) -> str:
        return f"<{len(self)} rows, {self.tokens} tokens, {self.units} units in {len(self.files)} files>"

    def rows(self) -> Iterator[Row]:
        """All rows, one by one.

        Raises:
            FileFormatError: a file is damaged.
            TransientError: the operating system refused to read a file.
        """
        for batch in self.batches():
            yield from batch.rows()

    def batches(self, *, max_rows: int | None = None, max_tokens: int | None = None) -> Iterator[Batch]:
        """All rows, many at a time, as views of the decoded data.

        A batch ends where its row group (about 16 MB) ends, so that nothing is copied: some batches are smaller than
        the limits. A batch keeps its row group in memory.

        Args:
            max_rows: the most rows in a batch, at least 1.
            max_tokens: the most real tokens in a batch, at least 1; a longer row is a batch of its own.

        Raises:
            ValueError: a limit is below 1.
            FileFormatError: a file is damaged.
            TransientError: the operating system refused to read a file.
        """
        for name, limit in (("max_rows", max_rows), ("max_tokens", max_tokens)):
            if limit is not None and limit < 1:
                raise ValueError(f"{name} is {limit}; it must be at least 1")
        return self._batches(max_rows, max_tokens)

    def _batches(self, max_rows: int | None, max_tokens: int | None) -> Iterator[Batch]:
        for part in self._parts:
            for rows in part.record_batches():
                ends = np.cumsum(rows.column("length").to_numpy(), dtype=np.int64)
                for start, stop in runs(ends, max_tokens, most_rows=max_rows):
                    with explained(part.path):
                        batch = Batch.from_arrow(rows.slice(start, stop - start), part.columns)
                    yield batch

    def pooled(self, how: Pooling, layer: int | None = None) -> tuple[list[str], NDArray[np.float32]]:
        """One vector for each row: the stored one, or else one computed from the tokens' vectors.

        Args:
            how: "mean", "max", "last" or "first", over the row's real tokens.
            layer: the number of the layer, from 0, if the job named layers.

        Returns:
            ids: one for each row.
            vectors: float32 (rows, units); zeros for a row without real tokens.

        Raises:
            ValueError: `how` is none of the four.
            KeyError: the job stored neither this pooling nor the tokens' vectors of this layer.
            FileFormatError: a file is damaged.
            TransientError: the operating system refused to read a file.
        """
        names = (column_name(how, layer), column_name("none", layer))
        width = next((column.width for name in names for column in self.columns if column.name == name), self.units)
        ids: list[str] = []
        vectors = np.zeros((len(self), width), np.float32)
        for batch in self.batches():
            vectors[len(ids) : len(ids) + len(batch)] = pooled(batch, how, layer)
            ids += batch.ids
        return ids, vectors
