"""Parquet and Arrow IPC (file and stream), read a batch at a time."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from producer.rows import BadRow, SourceBatch, SourceRow
from producer.sources.columns import Columns, pick_columns
from producer.sources.errors import DamagedInputError
from producer.sources.fields import decoded, found_id
from producer.sources.options import Format, SourceOptions
from unrolled.errors import RowError

PARQUET_MAGIC = b"PAR1"
ARROW_MAGIC = b"ARROW1"

# An id, with a text and tokens (one of them None) or the reason why the row is bad.
_Found = tuple[str | None, tuple[str | None, object] | str]

# Wide rows come fewer at a time: about this much uncompressed content in a batch.
_BATCH_BYTES = 8 * 1024 * 1024
_READ_BYTES = 1024 * 1024
# pyarrow raises more than its own errors on damaged files.
_DAMAGE = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    MemoryError,
)


@contextmanager
def spooled(chunks: Iterable[bytes]) -> Iterator[Path]:
    """Write chunks to a temporary file (these formats need to seek), and remove it in the end.

    Raises:
        DamagedInputError: the chunks do.
    """
    with tempfile.NamedTemporaryFile(prefix="unrolled-input-") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        yield Path(file.name)


def check_table(path: Path, format: Format, options: SourceOptions) -> Columns:  # noqa: A002  (the option's name)
    """Open the file's schema and find the columns that are asked for.

    Raises:
        DamagedInputError: the file can't be opened, lacks a column, or one has a type that can't be used.
    """
    with _damage("can't be opened as " + format):
        if format == "parquet":
            with pq.ParquetFile(path, pre_buffer=False) as file:
                schema = file.schema_arrow
        else:
            with pa.memory_map(str(path)) as source:
                schema = _open_ipc(source, None).schema
        names = list(schema.names)
    columns = pick_columns(names, options)
    _check_types(schema, columns)
    return columns


def read_table(
    path: Path,
    format: Format,  # noqa: A002  (the option's name)
    file: str,
    options: SourceOptions,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[SourceBatch]:
    """Yield the rows in batches.

    Args:
        path: a file that can be sought in.
        format: "parquet" or "arrow".
        file: the label that rows carry.
        options: columns, `max_row_bytes` and `batch_rows` count here.
        on_bytes: told the file's size in the end.

    Raises:
        DamagedInputError: the file can't be opened, or breaks off; raised after the rows before.
    """
    columns = check_table(path, format, options)
    source = _parquet_batches if format == "parquet" else _ipc_batches
    position = 0
    batches = source(path, columns, options.batch_rows)
    while True:
        with _damage(f"is damaged ({format})"):
            batch = next(batches, None)
            if batch is None:
                break
            rows = _rows(*batch, columns.is_text, options)
            found: SourceBatch = [
                BadRow(file, at, id, row) if isinstance(row, str) else SourceRow(file, at, id, *row)
                for at, (id, row) in enumerate(rows, position)  # noqa: A001  (the field's own name)
            ]
        yield found
        position += len(found)
    if on_bytes is not None:
        on_bytes(path.stat().st_size)


@contextmanager
def _damage(doing: str) -> Iterator[None]:
    try:
        yield
    except DamagedInputError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DamagedInputError(f"{doing}: {reason}") from error


def _open_ipc(source: Any, options: Any) -> Any:
    """Open either of the two IPC formats; the file format begins with its magic."""
    is_file = source.read(len(ARROW_MAGIC)) == ARROW_MAGIC
    source.seek(0)
    return (
        pa.ipc.open_file(source, options=options) if is_file else pa.ipc.open_stream(source, options=options)
    )


def _ipc_batches(path: Path, columns: Columns, batch_rows: int) -> Iterator[tuple[Any, Any]]:
    fields = [columns.content] if columns.id is None else [columns.content, columns.id]
    # Mapped: a batch as large as the file is paged in as it is passed, not read whole.
    with pa.memory_map(str(path)) as source:
        reader = _open_ipc(source, pa.ipc.IpcReadOptions(included_fields=fields))
        places = [reader.schema.names.index(name) for name in _names(path, columns)]
        if hasattr(reader, "get_batch"):
            batches: Iterator[Any] = (reader.get_batch(at) for at in range(reader.num_record_batches))
        else:
            batches = iter(reader)
        for batch in batches:
            found = [_validated(batch.column(place)) for place in places]
            step = _step(batch.nbytes, batch.num_rows, batch_rows)
            for start in range(0, batch.num_rows, step):
                part = [column.slice(start, step) for column in found]
                yield part[0], part[1] if len(part) > 1 else None


def _validated(column: Any) -> Any:
    """Check that offsets and indices, which a hostile file points anywhere, lie within the column."""
    column.validate()
    # As bytes: text that is no UTF-8 is one bad row, not the end of the file.
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    column.validate(full=True)
    return column


def _names(path: Path, columns: Columns) -> list[str]:
    with pa.memory_map(str(path)) as source:
        names = _open_ipc(source, None).schema.names
    return [names[at] for at in (columns.content, columns.id) if at is not None]


def _parquet_batches(path: Path, columns: Columns, batch_rows: int) -> Iterator[tuple[Any, Any]]:
    # Streamed a column chunk at a time: row groups may be larger than memory.
    with pq.ParquetFile(
        path, pre_buffer=False, buffer_size=_READ_BYTES, page_checksum_verification=True
    ) as file:
        names = file.schema_arrow.names
        wanted = [names[at] for at in (columns.content, columns.id) if at is not None]
        metadata = file.metadata
        size = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))
        step = _step(size, metadata.num_rows, batch_rows)
        rows = 0
        for batch in file.iter_batches(batch_size=step, columns=wanted):
            batch.validate(full=False)
            rows += batch.num_rows
            yield tuple(batch.column(name) for name in wanted) if len(wanted) > 1 else (batch.column(0), None)
        if rows != metadata.num_rows:
            raise DamagedInputError(f"holds {rows} rows where its footer says {metadata.num_rows}")


def _step(size_bytes: int, rows: int, batch_rows: int) -> int:
    """Rows to take at a time, so that a batch weighs about _BATCH_BYTES."""
    return max(1, min(batch_rows, _BATCH_BYTES * max(rows, 1) // max(size_bytes, 1)))


def _value_type(type_: Any) -> Any:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _is_text(type_: Any) -> bool:
    of = pa.types
    checks = (of.is_string, of.is_large_string, of.is_string_view, of.is_binary, of.is_large_binary)
    return any(check(type_) for check in checks)


def _is_list(type_: Any) -> bool:
    of = pa.types
    return any(check(type_) for check in (of.is_list, of.is_large_list, of.is_fixed_size_list))


def _check_types(schema: Any, columns: Columns) -> None:
    content = schema.field(columns.content)
    type_ = _value_type(content.type)
    if columns.is_text and not _is_text(type_):
        raise DamagedInputError(f"column {content.name!r} is of type {content.type}; allowed: text")
    if not columns.is_text and not (_is_list(content.type) and pa.types.is_integer(content.type.value_type)):
        raise DamagedInputError(
            f"column {content.name!r} is of type {content.type}; allowed: a list of integers"
        )
    if columns.id is not None:
        ids = schema.field(columns.id)
        type_ = _value_type(ids.type)
        if not (_is_text(type_) or pa.types.is_integer(type_)):
            raise DamagedInputError(
                f"column {ids.name!r} is of type {ids.type}; allowed for ids: text or integers. "
                "Name another (--id-field)"
            )


def _rows(content: Any, ids: Any, is_text: bool, options: SourceOptions) -> Iterator[_Found]:
    """Give each row's id with its text and tokens, or with what is wrong with it."""
    contents = _texts(content) if is_text else _token_lists(content)
    id: str | None = None  # noqa: A001  (the field's own name)
    for value, given in zip(contents, repeat(None) if ids is None else _plain(ids), strict=ids is not None):
        try:
            id = None  # noqa: A001
            id = found_id(decoded(given) if isinstance(given, bytes) else given, options)  # noqa: A001
            yield id, _content(value, is_text, options)
        except RowError as error:
            yield id, str(error)


def _content(value: Any, is_text: bool, options: SourceOptions) -> tuple[str | None, object]:
    if value is None:
        raise RowError(f"{(options.text_field if is_text else options.tokens_field)!r} is null")
    size = value.nbytes if isinstance(value, np.ndarray) else len(value)
    if size > options.max_row_bytes:
        raise RowError(f"row of {size} bytes; allowed: {options.max_row_bytes} (--max-row-bytes)")
    return (decoded(value), None) if is_text else (None, value)


def _plain(column: Any) -> list[Any]:
    """Values of a column of text or integers; text as bytes, for it may be invalid."""
    return _texts(column) if _is_text(_value_type(column.type)) else _decoded_dictionary(column).to_pylist()


def _texts(column: Any) -> list[bytes | None]:
    found: list[bytes | None] = _decoded_dictionary(column).cast(pa.large_binary()).to_pylist()
    return found


def _decoded_dictionary(column: Any) -> Any:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _token_lists(column: Any) -> list[Any]:
    """A NumPy view for each list; a list with a null in it comes as a Python list."""
    values = column.flatten()  # without what null lists hide
    if values.null_count:
        return column.to_pylist()  # type: ignore[no-any-return]
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    valid = column.is_valid().to_pylist()
    ids = values.to_numpy()
    return [
        ids[start:end] if there else None
        for start, end, there in zip(offsets[:-1].tolist(), offsets[1:].tolist(), valid, strict=True)
    ]
