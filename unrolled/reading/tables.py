"""A job's rows as tables of Arrow: read a row group at a time, or handed to a library that reads what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa

from unrolled.format.columns import column_name, parse_name
from unrolled.reading.arrays import arrow, numbers
from unrolled.reading.part_file import explained
from unrolled.reading.pooling import pool_rows
from unrolled.tokenization.ragged import offsets_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from unrolled.reading.part_file import Part


def table_schema(part: Part, names: Sequence[str] | None) -> pa.Schema:
    """The schema of the tables that `record_batches` gives.

    Args:
        part: any part of the job.
        names: the columns; None for all that are stored.

    Raises:
        KeyError: there is no such column, and it can't be computed from one that there is.
        TypeError: `names` is one name.
        ValueError: `names` are none, or one of them is there twice.
    """
    if isinstance(names, str):
        raise TypeError(f"columns is {names!r:.100}; give a list of names, such as [{names!r:.100}]")
    stored = part.schema
    if names is None:
        return stored
    if not names:
        raise ValueError(f"columns are none; this job stored {', '.join(stored.names)}")
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise ValueError(f"columns has {twice[0]!r:.100} twice; name each column once")
    return pa.schema([stored.field(name) if name in stored.names else _computed_field(stored, name) for name in names])


def record_batches(parts: Sequence[Part], names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """All rows in order, a row group at a time; pooled columns that aren't stored are computed.

    Args:
        parts: of one job.
        names: the columns to read; None for all that are stored.

    Raises:
        KeyError: as `table_schema`.
        FileFormatError: a file turns out to be damaged.
    """
    schema = table_schema(parts[0], names)
    sources = _sources(parts[0], schema)
    for part in parts:
        for rows in part.record_batches(list(dict.fromkeys(sources.values()))):
            yield _table_of(part, rows, sources, schema)


def row_group(part: Part, group: int, names: Sequence[str]) -> pa.RecordBatch:
    """One row group of a part; arguments and errors are those of `record_batches`."""
    schema = table_schema(part, names)
    sources = _sources(part, schema)
    return _table_of(part, part.row_group(group, list(dict.fromkeys(sources.values()))), sources, schema)


def duckdb_table(
    connection: duckdb.DuckDBPyConnection, rows: pa.RecordBatchReader, name: str
) -> duckdb.DuckDBPyRelation:
    """A table of DuckDB with all rows, in place of a table or a view of this name; float16 becomes float32."""
    if not hasattr(connection, "register"):
        raise TypeError(f"the first argument is {connection!r:.100}; give a connection, such as duckdb.connect()")
    fields = [field.with_type(_without_float16(field.type)) for field in rows.schema]
    # A view isn't replaced by a table. It is looked for first, because an error would end the caller's transaction.
    views = connection.execute(
        "SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE lower(view_name) = lower(?)"
        " AND (temporary OR (database_name = current_database() AND schema_name = current_schema()))",
        [name],
    ).fetchall()
    for view in views:
        connection.execute(f"DROP VIEW {'.'.join(map(_quoted, view))}")
    given = f"unrolled_{uuid4().hex}"  # no name of the caller's
    connection.register(given, rows.cast(pa.schema(fields)))
    try:
        connection.execute(f"CREATE OR REPLACE TABLE {_quoted(name)} AS SELECT * FROM {given}")  # noqa: S608 - quoted
    finally:
        connection.unregister(given)
    return connection.table(_quoted(name))


def _without_float16(type_: pa.DataType) -> pa.DataType:
    """The type with float32 in place of float16, in lists too."""
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(_without_float16(type_.value_type), type_.list_size)
    if pa.types.is_list(type_):
        return pa.list_(_without_float16(type_.value_type))
    return pa.float32() if pa.types.is_float16(type_) else type_


def _quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _sources(part: Part, schema: pa.Schema) -> dict[str, str]:
    """For each column the one that is read for it."""
    return {name: name if name in part.schema.names else _source_of(name) for name in schema.names}


def _table_of(part: Part, rows: pa.RecordBatch, sources: dict[str, str], schema: pa.Schema) -> pa.RecordBatch:
    with explained(part.store, part.name):
        arrays = [
            rows.column(name) if source == name else _computed(rows.column(source), schema.field(name))
            for name, source in sources.items()
        ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _source_of(name: str) -> str:
    """The column from which a pooled one is computed."""
    pooling, layer = parse_name(name) or ("none", None)
    return column_name("none", layer) if pooling != "none" else ""


def _computed_field(stored: pa.Schema, name: str) -> pa.Field:
    source = _source_of(name)
    if source not in stored.names:
        raise KeyError(f"no column {name!r}; this job stored {', '.join(stored.names)}")
    vector = stored.field(source).type.value_type
    # As one that is stored, so that the tables of both kinds of job can be joined.
    element = vector.value_field.with_type(pa.float32())
    return pa.field(name, pa.list_(element, vector.list_size))


def _computed(lists: pa.ListArray, field: pa.Field) -> pa.Array:
    width = field.type.list_size
    values = numbers(lists.flatten().flatten()).reshape(-1, width)
    pooling, _ = parse_name(field.name) or ("none", None)
    lengths = numbers(lists.value_lengths())
    pooled = pool_rows(values, offsets_of(lengths), pooling)
    is_null = arrow(lengths == 0) if not lengths.all() else None
    return pa.FixedSizeListArray.from_arrays(arrow(pooled.reshape(-1)), type=field.type, mask=is_null)
