"""Parquet and Arrow IPC (file and stream), read a batch at a time."""

# Over 150 lines: two formats, whose batches are read in the same way.

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from producer.sources.errors import DamagedInputError
from producer.sources.formats.arrow_values import check_types, decoded_sizes, is_decoded, row_values, validated
from producer.sources.formats.input_columns import InputColumns, find_columns
from producer.sources.formats.parquet_steps import BATCH_BYTES, steps
from producer.sources.options import Format, SourceOptions
from producer.sources.places.place import Place
from producer.sources.rows import BadRow, SourceBatch, SourceRow
from unrolled.patience import Steadily
from unrolled.settings.machine_memory import memory_note
from unrolled.tokenization.ragged import runs

ARROW_MAGIC = b"ARROW1"
#: Message of no bytes, at the end of an Arrow stream.
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"

# Arrays of `InputColumns.read`, and the share of the file read so far, 0 to 1.
_Piece = tuple[Sequence[Any], float]

#: Bytes of a column that are read at once, from a disk and over a network.
_READ_BYTES, _DISTANT_READ_BYTES = 1 << 20, 1 << 22
# Errors that pyarrow raises for damaged files.
_DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError)


def check_table(
    place: Place,
    format: Format,  # noqa: A002 - the option's name
    options: SourceOptions,
    steadily: Steadily,
) -> tuple[InputColumns, int | None]:
    """Read the file's schema and find the columns.

    Returns:
        The columns, and the number of rows; None for Arrow with batches, which alone show it.

    Raises:
        DamagedInputError: the file can't be opened, lacks a column, or a column has a type that can't be used.
    """
    with _damage("can't be opened as " + format), place.open_table(steadily, mapped=format == "arrow") as source:
        return _columns_of(source, format, options)


def _columns_of(
    source: Any,
    format: Format,  # noqa: A002 - the option's name
    options: SourceOptions,
) -> tuple[InputColumns, int | None]:
    rows = None
    if format == "parquet":
        with pq.ParquetFile(source, pre_buffer=False) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    else:
        reader = _open_ipc(source, None)
        schema, rows = reader.schema, None if _has_batches(reader, source) else 0
    source.seek(0)
    columns = find_columns(list(schema.names), options)
    check_types(schema, columns, options)
    return columns, rows


def read_table(
    place: Place,
    format: Format,  # noqa: A002 - the option's name
    file: str,
    options: SourceOptions,
    steadily: Steadily,
    on_bytes: Callable[[int], None] | None = None,
    groups: Sequence[int] | None = None,
) -> Iterator[SourceBatch]:
    """Yield the rows in batches.

    Args:
        place: where the file is.
        format: "parquet" or "arrow".
        file: the label for the rows.
        options: only the names of the columns, `max_row_bytes` and `batch_rows` matter here.
        steadily: tries each look at a bucket until it works.
        on_bytes: called with the number of bytes of the file that have been read since the last call.
        groups: which row groups of a Parquet file are read, from 0; None for all.

    Raises:
        DamagedInputError: the file can't be opened, or is damaged; raised after the rows before the damage.
    """
    with ExitStack() as stack:
        with _damage("can't be opened as " + format):
            source = stack.enter_context(place.open_table(steadily, mapped=format == "arrow"))
            columns, _ = _columns_of(source, format, options)
        if format == "parquet":
            read_bytes = _DISTANT_READ_BYTES if place.is_distant else _READ_BYTES
            pieces = _parquet_pieces(source, columns, options.batch_rows, read_bytes, groups)
        else:
            pieces = _ipc_pieces(source, columns, options.batch_rows)
        yield from _batches(pieces, format, columns, file, options, place.size_bytes or 0, on_bytes)


def _batches(
    pieces: Iterator[_Piece],
    format: Format,  # noqa: A002 - the option's name
    columns: InputColumns,
    file: str,
    options: SourceOptions,
    size: int,
    on_bytes: Callable[[int], None] | None,
) -> Iterator[SourceBatch]:
    position = reported = 0
    while True:
        with _damage(f"is damaged ({format})"):
            arrays, share = next(pieces, (None, 1.0))
            batch = [] if arrays is None else _rows_of(arrays, columns, file, options, position)
        if on_bytes is not None:
            on_bytes(int(size * share) - reported)
            reported = int(size * share)
        if arrays is None:
            return
        yield batch
        position += len(batch)


def _rows_of(
    arrays: Sequence[Any], columns: InputColumns, file: str, options: SourceOptions, position: int
) -> SourceBatch:
    values = row_values(*columns.parts(arrays), columns.is_text, options)
    return [
        BadRow(file, at, id, value) if isinstance(value, str) else SourceRow(file, at, id, *value)
        for at, (id, value) in enumerate(values, position)  # noqa: A001 - the field's name
    ]


@contextmanager
def _damage(doing: str) -> Iterator[None]:
    try:
        yield
    except DamagedInputError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, MemoryError):  # for a large row, or because its damage makes it look large
            reason += memory_note("MemoryError")
        else:
            reason = f"{reason.rstrip('.')}. If the file is damaged, get a fresh copy"
        raise DamagedInputError(f"{doing}: {reason}") from error


def _open_ipc(source: Any, options: Any) -> Any:
    """Open a file in either of the two IPC formats; only the file format begins with ARROW_MAGIC."""
    is_file = source.read(len(ARROW_MAGIC)) == ARROW_MAGIC
    source.seek(0)
    return (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source, options=options)


def _has_batches(reader: Any, source: Any) -> bool:
    """Whether an Arrow file has batches, after its schema has been read."""
    if hasattr(reader, "num_record_batches"):
        return bool(reader.num_record_batches)
    return source.read(len(_END_OF_STREAM)) not in (b"", _END_OF_STREAM)


def _ipc_pieces(source: Any, columns: InputColumns, batch_rows: int) -> Iterator[_Piece]:
    names = _open_ipc(source, None).schema.names
    wanted = list(columns.read)
    source.seek(0)
    reader = _open_ipc(source, pa.ipc.IpcReadOptions(included_fields=wanted))
    places = [reader.schema.names.index(names[at]) for at in wanted]
    before = 0.0
    for batch, share in _record_batches(reader, source):
        found = [validated(batch.column(place)) for place in places]
        for piece, stop in _cut(found, batch_rows):
            yield piece, before + stop / batch.num_rows * (share - before)
        before = share


def _cut(columns: Sequence[Any], batch_rows: int) -> Iterator[tuple[Sequence[Any], int]]:
    """Columns in pieces of about BATCH_BYTES each, decoded; with the rows up to the end of each piece."""
    rows = len(columns[0])
    if not rows:
        return
    if rows <= batch_rows and all(map(is_decoded, columns)) and sum(each.nbytes for each in columns) <= BATCH_BYTES:
        yield columns, rows  # as of most files
        return
    ends = np.cumsum(sum(map(decoded_sizes, columns)))
    for start, stop in runs(ends, BATCH_BYTES, most_rows=batch_rows):
        yield [column.slice(start, stop - start) for column in columns], stop


def _record_batches(reader: Any, source: Any) -> Iterator[tuple[Any, float]]:
    if not hasattr(reader, "get_batch"):  # a stream
        for batch in reader:
            yield batch, source.tell() / max(source.size(), 1)
        return
    for at in range(reader.num_record_batches):
        yield reader.get_batch(at), (at + 1) / reader.num_record_batches


class RowGroup(NamedTuple):
    """The size of a row group of a Parquet file.

    Attributes:
        size_bytes: of all columns, uncompressed.
        read_bytes: of the columns that are read, uncompressed.
        rows: how many there are.
    """

    size_bytes: int
    read_bytes: int
    rows: int


def row_groups(place: Place, options: SourceOptions, steadily: Steadily) -> list[RowGroup]:
    """The row groups of a Parquet file.

    Raises:
        DamagedInputError: the file can't be opened, or lacks a column.
    """
    with (
        _damage("can't be opened as parquet"),
        place.open_table(steadily, mapped=False) as source,
        pq.ParquetFile(source, pre_buffer=False) as file,
    ):
        names = file.schema_arrow.names
        columns = find_columns(names, options)
        wanted = {names[at] for at in columns.read}
        leaves = [at for at in range(len(file.schema)) if file.schema.column(at).path.split(".")[0] in wanted]
        groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
        return [
            RowGroup(
                group.total_byte_size, sum(group.column(at).total_uncompressed_size for at in leaves), group.num_rows
            )
            for group in groups
        ]


class GroupPiece(NamedTuple):
    """Some consecutive rows of a row group, not made yet.

    Attributes:
        share: of the row group's rows, 0 to 1.
        size_bytes: in memory, of all that it keeps there; some of it may be kept by other pieces, too.
        rows: makes them; their positions count from the start of the piece.
    """

    share: float
    size_bytes: int
    rows: Callable[[], SourceBatch]


def row_group_pieces(
    place: Place, file: str, options: SourceOptions, steadily: Steadily, group: int
) -> Iterator[GroupPiece]:
    """Yield the pieces of one row group of a Parquet file, in order; arguments and errors are those of `read_table`."""
    with ExitStack() as stack:
        with _damage("can't be opened as parquet"):
            source = stack.enter_context(place.open_table(steadily, mapped=False))
            columns, _ = _columns_of(source, "parquet", options)
        read_bytes = _DISTANT_READ_BYTES if place.is_distant else _READ_BYTES
        pieces = _parquet_pieces(source, columns, options.batch_rows, read_bytes, [group])
        before = 0.0
        while True:
            with _damage("is damaged (parquet)"):
                arrays, share = next(pieces, (None, 1.0))
            if arrays is None:
                return
            size_bytes = sum(array.get_total_buffer_size() for array in arrays)
            yield GroupPiece(share - before, size_bytes, partial(_rows_of, arrays, columns, file, options, position=0))
            before = share


def _parquet_pieces(
    source: Any, columns: InputColumns, batch_rows: int, read_bytes: int, groups: Sequence[int] | None
) -> Iterator[_Piece]:
    # Without buffers for whole row groups, which may be larger than memory.
    opened = partial(pq.ParquetFile, source, pre_buffer=False, buffer_size=read_bytes, page_checksum_verification=True)
    with opened() as file:
        names = file.schema_arrow.names
        wanted = [names[at] for at in columns.read]
        numbers = list(range(file.metadata.num_row_groups) if groups is None else groups)
        expected = sum(file.metadata.row_group(at).num_rows for at in numbers)
        if groups is None:
            expected = file.metadata.num_rows
        rows = 0
        for step in steps(file, numbers, wanted, batch_rows, opened):
            for batch in file.iter_batches(step.rows, row_groups=step.groups, columns=wanted):
                batch.validate()
                for piece, stop in _cut([batch.column(name) for name in wanted], batch_rows):
                    yield piece, (rows + stop) / max(expected, rows + stop)
                rows += batch.num_rows
        if rows != expected:
            raise DamagedInputError(f"has {rows} rows, but its footer says {expected}")
