"""The Parquet files that Unrolled writes, as other programs read them."""

import io
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import plain, stored
from support.output_specs import specs
from support.ragged_rows import info_of, ragged

from unrolled.errors import PayloadError
from unrolled.format.schema import arrow_schema
from worker.parquet import shard_file
from worker.parquet.file import Chunk, Page, Writer


def write(path, lists, units):
    """Write rows of token ids with our writer; returns the vectors of each row."""
    tokens = ragged(lists)
    real = sum(token != 0 for row in lists for token in row)
    outputs = np.arange(real * units, dtype=np.float32).reshape(real, units)
    with path.open("wb") as file:
        shard_file.encode(
            file,
            info_of(tokens),
            [f"Ä{row}" for row in range(len(lists))],
            tokens,
            [outputs],
            *plain(units, with_tokens=True),
        )
    vectors = iter(outputs.tolist())
    return [[next(vectors) for token in row if token] for row in lists]


@settings(deadline=None, max_examples=60)  # three readers are slow
@given(
    lists=st.lists(st.lists(st.integers(0, 2), max_size=30), max_size=8),
    units=st.sampled_from([1, 2, 5, 70]),
    page_bytes=st.sampled_from([1, 64, 1 << 20]),
    group_bytes=st.sampled_from([1, 500, 1 << 24]),
)
def test_every_reader_sees_the_same(tmp_path_factory, lists, units, page_bytes, group_bytes):
    """Three readers agree on every value: empty rows, rows across pages, many row groups or none."""
    path = tmp_path_factory.mktemp("out") / "part.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_file, "PAGE_BYTES", page_bytes)
        patch.setattr(shard_file, "ROW_GROUP_BYTES", group_bytes)
        outputs = write(path, lists, units)
    expected = {
        "id": [f"Ä{row}" for row in range(len(lists))],
        "length": list(map(len, outputs)),
        "mask": [[token != 0 for token in row] for row in lists],
        "outputs": outputs,
        "tokens": lists,
    }
    assert pq.read_table(path, page_checksum_verification=True).to_pydict() == expected
    by_polars = pl.read_parquet(path, glob=False)
    lists_alone = by_polars.with_columns(pl.col("outputs").list.eval(pl.element().arr.to_list()))
    assert lists_alone.to_dict(as_series=False) == expected
    rows = duckdb.connect().execute("SELECT * FROM read_parquet($1)", [str(path)]).fetchall()
    plain = [tuple(row) for row in zip(*expected.values(), strict=True)]
    assert [(*row[:3], [list(vector) for vector in row[3]], row[4]) for row in rows] == plain


@settings(deadline=None, max_examples=60)  # four readers are slow
@given(
    lists=st.lists(st.lists(st.integers(0, 2), max_size=9), max_size=8),
    spec=specs(),
    page_bytes=st.sampled_from([1, 64, 1 << 20]),
    group_bytes=st.sampled_from([1, 500, 1 << 24]),
)
def test_every_reader_sees_every_column(tmp_path_factory, lists, spec, page_bytes, group_bytes):
    """pyarrow, DuckDB, Polars and pandas agree on every value, with layers, pooled vectors and float16."""
    path = tmp_path_factory.mktemp("out") / "part.parquet"
    columns = spec.columns(SimpleNamespace(layer_dims=(1, 2, 70)))
    tokens = ragged(lists)
    real = sum(token != 0 for row in lists for token in row)
    arrays = [quarters(real if column.per_token else len(lists), column.width) for column in columns]
    with pytest.MonkeyPatch.context() as patch, path.open("wb") as file:
        patch.setattr(shard_file, "PAGE_BYTES", page_bytes)
        patch.setattr(shard_file, "ROW_GROUP_BYTES", group_bytes)
        shard_file.encode(file, info_of(tokens), [f"{row}" for row in range(len(lists))], tokens, arrays, spec, columns)
    expected = {}
    for column, array in zip(columns, arrays, strict=True):
        vectors = iter(array.tolist())
        if column.per_token:
            expected[column.name] = [[next(vectors) for token in row if token] for row in lists]
        else:
            has_vector = [any(row) or spec.empty_rows == "zeros" for row in lists]
            expected[column.name] = [vector if has else None for has, vector in zip(has_vector, vectors, strict=True)]
    table = pq.read_table(path, page_checksum_verification=True)
    assert table.schema == arrow_schema(spec, columns)
    assert {name: table[name].to_pylist() for name in expected} == expected
    by_polars = pl.read_parquet(path, glob=False).to_dict(as_series=False)
    by_pandas = pd.read_parquet(path)
    cursor = duckdb.connect().execute("SELECT * FROM read_parquet($1)", [str(path)])
    names = [about[0] for about in cursor.description]
    by_duckdb = dict(zip(names, zip(*cursor.fetchall(), strict=True), strict=False))
    for name, values in expected.items():
        for found in (by_polars[name], by_pandas[name], by_duckdb.get(name, [])):
            assert [plain_lists(value) for value in found] == values


def quarters(count, width):
    """Vectors of numbers that float16 represents exactly."""
    return (np.arange(count * width, dtype=np.float32) % 999 / 4 - 99).reshape(count, width)


def plain_lists(value):
    """Lists of numbers, or None, whatever a reader has instead."""
    if value is None:
        return None
    return [plain_lists(each) for each in value] if hasattr(value, "__len__") else float(value)


def test_the_schema_is_the_one_that_arrow_would_write(tmp_path):
    """Nodes, names, types and annotations are those of pyarrow's file."""
    write(tmp_path / "ours.parquet", [[1, 0], []], 3)
    schema = arrow_schema(*plain(3, with_tokens=True))
    pq.write_table(schema.empty_table(), tmp_path / "theirs.parquet")
    ours, theirs = (pq.read_metadata(tmp_path / name) for name in ("ours.parquet", "theirs.parquet"))
    assert ours.schema.equals(theirs.schema)
    assert ours.metadata[b"ARROW:schema"] == theirs.metadata[b"ARROW:schema"]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_schema_of_pooled_vectors_is_the_one_that_arrow_would_write(tmp_path, precision):
    """So they are with vectors of rows, and with float16."""
    spec, columns = stored(3, pooling=("none", "mean"), precision=precision)
    with (tmp_path / "ours.parquet").open("wb") as file:
        Writer(file, arrow_schema(spec, columns), "test").finish({})
    pq.write_table(arrow_schema(spec, columns).empty_table(), tmp_path / "theirs.parquet")
    ours, theirs = (pq.read_metadata(tmp_path / name) for name in ("ours.parquet", "theirs.parquet"))
    assert ours.schema.equals(theirs.schema)
    assert ours.metadata[b"ARROW:schema"] == theirs.metadata[b"ARROW:schema"]


def test_bounds_let_readers_pass_over_row_groups(tmp_path, monkeypatch):
    """A search by id finds the row, and the row group has bounds by which others are skipped."""
    monkeypatch.setattr(shard_file, "ROW_GROUP_BYTES", 1)
    write(tmp_path / "part.parquet", [[1]] * 20, 3)
    found = pq.read_table(tmp_path / "part.parquet", filters=[("id", "==", "Ä7")])
    assert found["id"].to_pylist() == ["Ä7"]
    group = pq.read_metadata(tmp_path / "part.parquet").row_group(7)
    assert (group.column(0).statistics.min, group.column(0).statistics.null_count) == ("Ä7", 0)


def test_a_page_that_the_format_cannot_say():
    """A page's size has 31 bits, so a larger page is refused before its values are read."""
    parquet = Writer(io.BytesIO(), pa.schema([pa.field("x", pa.int32(), nullable=False)]), "test")
    values = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (2**31,), (0,))
    with pytest.raises(PayloadError, match="page of 2147483648 bytes"):
        parquet.write_row_group(2**29, [Chunk([Page(2**29, b"", values)])])
