"""Columns of vectors that are read without decoding levels: the same vectors that pyarrow decodes."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.jobs import finished_job
from support.random_parts import write_part

import unrolled
from unrolled.errors import FileFormatError
from unrolled.format.vector_pages import read_vectors
from unrolled.reading.part_file import Part
from unrolled.store.place import open_store


def part_in(folder):
    (path,) = folder.glob("*.parquet")
    return Part(open_store(str(folder)), path.name), path


def check(part):
    """Every row group, all columns and some, as pyarrow decodes them."""
    for group, wanted in enumerate(part.record_batches_as_stored()):
        found = part.row_group(group)
        found.validate(full=True)
        assert found.equals(wanted)
        for names in ([part.columns[-1].name], ["id", part.columns[0].name], ["length"]):
            assert part.row_group(group, names).equals(wanted.select([n for n in wanted.schema.names if n in names]))


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    width=st.sampled_from([1, 2, 7, 256, 3000]),
    pooling=st.sampled_from(["none", "mean"]),
)
@example(lengths=[0], width=1, pooling="mean")
def test_any_rows(tmp_path_factory, lengths, width, pooling):
    """Empty rows, rows of many pages, and several row groups."""
    folder = tmp_path_factory.mktemp("part")
    write_part(folder, 0, [f"r{row}" for row in range(len(lengths))], np.array(lengths), width, pooling)
    check(part_in(folder)[0])


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float16", "pooling": ["none", "max"]},
        {"layers": [0, 1], "pooling": ["none", "mean", "last"], "with_tokens": True},
        {"positions": {"rule": "every", "count": 2}},
        {"positions": {"rule": "last", "count": 1}, "precision": "float16", "with_tokens": True},
    ],
    ids=str,
)
def test_any_columns(tmp_path, options):
    """Of both precisions, several layers, and vectors of some tokens only."""
    finished_job(tmp_path, shards=1, options=options)
    check(part_in(tmp_path)[0])


def test_a_file_that_another_program_wrote_again(tmp_path):
    """Compressed, with other pages: pyarrow decodes it."""
    finished_job(tmp_path / "one", shards=1, options={"pooling": ["none", "mean"]})
    part, path = part_in(tmp_path / "one")
    table = pq.read_table(path).replace_schema_metadata(pq.read_metadata(path).metadata)
    (tmp_path / "two").mkdir()
    with pq.ParquetWriter(tmp_path / "two" / path.name, table.schema, compression="zstd") as writer:
        writer.write_table(table)
    again, _ = part_in(tmp_path / "two")
    assert pa.Table.from_batches(again.record_batches()).equals(pa.Table.from_batches(part.record_batches()))


def test_every_flipped_bit_is_found(tmp_path):
    """In the vectors, the levels and the headers of pages: an error that names the file, and never other numbers."""
    write_part(tmp_path, 0, ["a", "b"], np.array([3, 2]), 4)
    part, path = part_in(tmp_path)
    wanted = [row.outputs.copy() for row in unrolled.open(tmp_path)]
    content = path.read_bytes()
    with part.open() as file:
        chunk = file.metadata.row_group(0).column(3)
    found = 0
    for at in range(chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size):
        for bit in (0, 3, 7):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                rows = [row.outputs for row in unrolled.open(tmp_path)]
            except FileFormatError as error:
                found += path.name in str(error)
                continue
            # Parts of a header that say nothing of the numbers, such as the size before compression.
            for row, expected in zip(rows, wanted, strict=True):
                np.testing.assert_array_equal(row, expected)
    assert found > 0.9 * 3 * chunk.total_compressed_size


@settings(max_examples=300)
@given(content=st.binary(max_size=200), count=st.integers(-3, 2**40), width=st.integers(1, 5))
def test_any_bytes(content, count, width):
    """Crafted pages are refused, whatever they and the lengths of the rows say."""
    pages = content + b"\x15"
    chunk = SimpleNamespace(data_page_offset=0, total_compressed_size=len(pages))
    with pytest.raises(FileFormatError):
        read_vectors(pa.BufferReader(pages), chunk, count, width, "float32")
