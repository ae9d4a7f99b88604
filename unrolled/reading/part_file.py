"""One published file: opens it and checks its footer."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.errors import FileFormatError, TransientError
from unrolled.format.file_info import FileInfo
from unrolled.format.schema import read_schema, show_columns
from unrolled.job.shard_id import ShardId


class Part:
    """A published file whose footer has been read and checked. Its rows are read a row group at a time.

    Attributes:
        path: the path of the file.
        info: the metadata.
        spec: what the job stores.
        columns: the columns of vectors, in order.

    Raises:
        FileFormatError: the file is damaged, was not written by Unrolled, or has another format version.
        TransientError: the operating system refused to read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.open() as file:
            self.info = FileInfo.decode(file.metadata.metadata)
            self.spec, self.columns = read_schema(file.schema_arrow)
            if file.metadata.num_rows != self.info.rows:
                raise FileFormatError(
                    f"has {file.metadata.num_rows} rows, its metadata says {self.info.rows};"
                    " it was changed after it was written: remove it and let the job write it again"
                )

    @contextlib.contextmanager
    def open(self) -> Iterator[pq.ParquetFile]:
        """The file, open for reading with page checksums verified. Errors in the `with` block name the file."""
        # Buffering a row group in advance is no faster on a local disk, and doubles the memory of a long row.
        options = {"page_checksum_verification": True, "pre_buffer": False}
        with explained(self.path), pq.ParquetFile(self.path, **options) as file:
            yield file

    def record_batches(self, names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, one row group after the other, so that only one is in memory.

        Args:
            names: columns to read; None for all.

        Raises:
            FileFormatError: the file is damaged.
            TransientError: the operating system refused to read it.
        """
        with self.open() as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=names).to_batches()


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the errors of pyarrow and of the operating system into errors that name the file."""
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error.__cause__
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        # Arrow reports bad content by an OSError too, but without an errno.
        if isinstance(error, OSError) and error.errno is not None:
            raise TransientError(f"cannot read {path}: {error.strerror or error}") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileFormatError(
            f"{path}: damaged, or not a Parquet file ({reason}); remove it and let the job write it again"
        ) from error


def refuse_mixed(parts: Sequence[Part]) -> None:
    """Check that files can be read together.

    Raises:
        FileFormatError: two have different models or columns, or contain the same shard; the text names both.
    """
    first, seen = parts[0], dict[tuple[str, ShardId], Path]()
    for part in parts:
        for what, expected, found in (
            ("model", first.info.model_fingerprint, part.info.model_fingerprint),
            ("columns", show_columns(first.spec, first.columns), show_columns(part.spec, part.columns)),
        ):
            if found != expected:
                raise FileFormatError(
                    f"vectors of different models or jobs don't mix: {first.path} has {what} {expected},"
                    f" {part.path} has {what} {found}; open them separately"
                )
        shard = (part.info.job, part.info.shard)
        if shard in seen:
            raise FileFormatError(f"{seen[shard]} and {part.path} both contain shard {shard[1]}: leave one of them out")
        seen[shard] = part.path
