"""One part, opened and checked."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.errors import FileFormatError, TransientError
from unrolled.format.file_info import FileInfo
from unrolled.format.schema import read_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.store.store import Store


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
        # Buffering a row group ahead is no faster on a local disk, and doubles the memory of a long row.
        options = {"page_checksum_verification": True, "pre_buffer": False}
        with explained(self.where):
            source = self.store.open(self.name)
            if source is None:
                raise FileFormatError("is not there any more")
            self.size_bytes = source.seek(0, io.SEEK_END)
            with source, pq.ParquetFile(source, **options) as file:
                yield file

    def record_batches(self, names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, each row group on its own, so that no more than one is in memory.

        Args:
            names: columns to read, all of them by default.
        """
        with self.open() as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=names).to_batches()

    def row_group(self, group: int, names: list[str] | None = None) -> pa.RecordBatch:
        """All rows of one row group; `names` as in `record_batches`."""
        with self.open() as file:
            (rows,) = file.read_row_group(group, columns=names).combine_chunks().to_batches()
            return rows


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what pyarrow and the operating system raise into errors that name the file."""
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error.__cause__
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        # Arrow's own complaints about content are OSErrors too, but carry no errno.
        if isinstance(error, OSError) and error.errno is not None:
            raise TransientError(f"cannot read {path}: {error.strerror or error}") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileFormatError(f"{path}: damaged, or not a Parquet file ({reason}); restore it from a copy") from error
