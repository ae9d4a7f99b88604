"""One part, opened and checked."""

# Over 150 lines: one class; how its rows are read needs both the file and what is known of it.

from __future__ import annotations

import contextlib
import errno
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.errors import FileFormatError, TransientError
from unrolled.format.file_info import FileInfo
from unrolled.format.schema import read_schema
from unrolled.format.vector_pages import is_plain, read_vectors
from unrolled.reading.arrays import arrow, numbers
from unrolled.tokenization.ragged import offsets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.store.store import Store

#: What pyarrow says if it can't start a thread, for lack of memory, say.
_NO_THREAD = os.strerror(errno.EAGAIN)
#: A row group of one row that has more bytes is a long row.
LONG_ROW_BYTES = 16 * 2**20


class Part:
    """A published file whose footer has been read and checked; its rows are read a row group at a time.

    Args:
        store: where it is.
        name: of its object.
        like: another part, whose schema is shared where this one has an equal one: a job may have a million parts.

    Attributes:
        store: where it is.
        name: of its object.
        info: its metadata.
        spec: what its job stores.
        columns: its columns of vectors, in order.
        schema: of all its columns, without metadata.
        groups: rows of each row group.
        size_bytes: of the file.

    Raises:
        FileFormatError: the file is damaged, not ours, or of another format version.
        TransientError: the operating system would not let it be read.
    """

    __slots__ = ("columns", "groups", "info", "name", "schema", "size_bytes", "spec", "store")

    def __init__(self, store: Store, name: str, like: Part | None = None) -> None:
        self.store, self.name, self.size_bytes = store, name, 0
        with self.open() as file:
            self.info = FileInfo.decode(file.metadata.metadata)
            self.schema = file.schema_arrow.remove_metadata()
            self.spec, self.columns = read_schema(file.schema_arrow, self.info.positions)
            if like and (self.schema, self.spec, self.columns) == (like.schema, like.spec, like.columns):
                self.schema, self.spec, self.columns = like.schema, like.spec, like.columns
            self.groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            if file.metadata.num_rows != self.info.rows:
                raise FileFormatError(
                    f"holds {file.metadata.num_rows} rows, its metadata says {self.info.rows};"
                    " it was changed after it was written: restore it from a copy"
                )

    @property
    def where(self) -> str:
        """Path or URL of the part, for people."""
        return f"{self.store}/{self.name}"

    @contextlib.contextmanager
    def open(self) -> Iterator[pq.ParquetFile]:
        """The file for reading, with page checksums verified; what goes wrong meanwhile names the file."""
        with self._open() as (_, file):
            yield file

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[pa.NativeFile, pq.ParquetFile]]:
        # Buffering a row group ahead is no faster on a local disk, and doubles the memory of a long row.
        options = {"page_checksum_verification": True, "pre_buffer": False}
        with explained(self.store, self.name):
            source = self.store.open(self.name)
            if source is None:
                raise FileFormatError("no longer exists")
            self.size_bytes = source.seek(0, io.SEEK_END)
            with source, pq.ParquetFile(source, **options) as file:
                yield source, file

    def record_batches(self, names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, each row group on its own, so that no more than one is in memory.

        Args:
            names: columns to read, all of them by default.
        """
        with self._open() as (source, file):
            for group in range(file.num_row_groups):
                yield self._rows(source, file, group, names)

    def row_group(self, group: int, names: list[str] | None = None) -> pa.RecordBatch:
        """All rows of one row group; `names` as in `record_batches`."""
        with self._open() as (source, file):
            return self._rows(source, file, group, names)

    def record_batches_as_stored(self) -> Iterator[pa.RecordBatch]:
        """All rows in order, all decoded by pyarrow but a long row, for which it needs several times the row's size.

        `record_batches` gives each row as many vectors as it has tokens, or positions. Here each gets those that its
        levels say.
        """
        with self._open() as (source, file):
            for group in range(file.num_row_groups):
                about = file.metadata.row_group(group)
                if about.num_rows == 1 and about.total_byte_size > LONG_ROW_BYTES:
                    yield self._rows(source, file, group, None)
                else:
                    yield _one(file.read_row_group(group))

    def _rows(self, source: pa.NativeFile, file: pq.ParquetFile, group: int, names: list[str] | None) -> pa.RecordBatch:
        """The columns of one row group, in the file's order; the vectors without decoding their levels."""
        wanted = self.schema.names if names is None else [name for name in self.schema.names if name in names]
        metadata = file.metadata.row_group(group)
        chunks = {
            column: chunk
            for column in self.columns
            if column.name in wanted
            for chunk in [metadata.column(self.schema.names.index(column.name))]
            if is_plain(file.metadata.created_by, chunk) and (column.per_token or self._has_all(metadata, column))
        }
        direct = {column.name for column in chunks}
        counted = "length" if self.spec.positions is None else "positions"
        decoded = [name for name in wanted if name not in direct]
        rows = _one(file.read_row_group(group, columns=[*decoded, counted]))
        column_of_counts = rows.column(counted)
        counts = numbers(column_of_counts if counted == "length" else column_of_counts.value_lengths())
        if len(counts) and counts.min() < 0:
            raise FileFormatError("damaged (the length of a row is negative); restore it from a copy")
        offsets = offsets_of(counts)
        found: dict[str, pa.Array] = {name: rows.column(name) for name in decoded}
        for column, chunk in chunks.items():
            count = column.vectors(metadata.num_rows, int(offsets[-1]))
            vectors = read_vectors(source, chunk, count, column.width, self.spec.precision)
            kind = self.schema.field(column.name).type
            found[column.name] = _lists(vectors, kind, offsets if column.per_token else None)
        schema = pa.schema([self.schema.field(name) for name in wanted])
        return pa.RecordBatch.from_arrays([found[name] for name in wanted], schema=schema)

    def _has_all(self, group: pq.RowGroupMetaData, column: VectorColumn) -> bool:
        """Whether a pooled column has a vector for each row of a row group. A row that is null counts as one number."""
        chunk = group.column(self.schema.names.index(column.name))
        certain = column.width > 1 or not self.schema.field(column.name).nullable
        return certain and chunk.num_values == group.num_rows * column.width


def _one(table: pa.Table) -> pa.RecordBatch:
    """The rows of a table in one piece."""
    (rows,) = table.combine_chunks().to_batches()
    return rows


def _lists(vectors: NDArray[Any], kind: pa.DataType, offsets: NDArray[np.int64] | None) -> pa.Array:
    """Vectors as Arrow has them, without a copy; offsets say where each row begins, if a row has many."""
    vector = kind if offsets is None else kind.value_type
    lists = pa.FixedSizeListArray.from_arrays(arrow(vectors.reshape(-1)), type=vector)
    return lists if offsets is None else pa.ListArray.from_arrays(arrow(offsets.astype(np.int32)), lists, type=kind)


@contextlib.contextmanager
def explained(store: Store, name: str) -> Iterator[None]:
    """Turn what pyarrow and the operating system raise into errors that name the file.

    Memory may be lacking because the file is large, or because its damage makes it look so: its seal tells which.

    Args:
        store: where the file is.
        name: of its object.

    Raises:
        FileFormatError: the file is damaged.
        TransientError: the operating system would not let it be read.
        MemoryError: its rows don't fit into memory.
    """
    path = f"{store}/{name}"
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error.__cause__
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        # Arrow's own complaints about content are OSErrors too, but carry no errno.
        if isinstance(error, OSError) and error.errno is not None:
            raise TransientError(f"cannot read {path}: {error.strerror or error}") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, MemoryError) and _is_sealed(store, name):
            raise MemoryError(f"{path} can't be read: {reason}") from error
        if _NO_THREAD in reason and _is_sealed(store, name):
            raise TransientError(f"cannot read {path}: {reason}") from error
        raise FileFormatError(f"{path}: damaged, or not a Parquet file ({reason}); restore it from a copy") from error


def _is_sealed(store: Store, name: str) -> bool:
    """Whether a file is as it was published, as far as can be seen; this needs next to no memory."""
    try:
        from unrolled.format.seal import check_seal  # noqa: PLC0415 - reading files doesn't need its package

        if (source := store.open(name)) is not None:
            with source:
                check_seal(source)
    except FileFormatError:
        return False
    except (ImportError, MemoryError, pa.ArrowException, TransientError, OSError):
        pass  # nothing speaks against it
    return True
