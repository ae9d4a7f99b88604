"""Files of format version 2, as a release wrote them, are read for as long as that version is read.

They were written once and stay as they are: a test that fails here has found a break of the format. A new format
version needs new ones, which this writes:

    PYTHONPATH=.:tests python tests/unrolled/format/test_golden.py
"""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.columns import plain, stored

import unrolled
from unrolled.format.file_info import FailedRow, FileInfo
from unrolled.format.seal import SEAL_BYTES, Sealing, check_seal
from unrolled.job.shard_id import ShardId
from unrolled.reading.inspection import inspect_part
from unrolled.store.place import open_store
from unrolled.tokenization.ragged import Ragged
from worker.parquet.shard_file import encode

GOLDEN = Path(__file__).parents[2] / "golden"
FILES = ["part-000000-0123456789ab.parquet", "part-000001-ba9876543210.parquet"]

# What the files hold, in order: (id, tokens).
ROWS = [
    ("docs.txt#0", [5, 3]),
    ("docs.txt#1", [0, 7, 0, 1, 9, 0]),
    ("docs.txt#2", []),
    ("docs.txt#3", [0, 0]),
    ("Straße 中文 🎉", [2]),
    ("", [4, 4, 4, 4]),
    ("docs.txt#6", [1, 0, 1]),
]
SPLIT = 4


def shard(rows, first_vector, index, content_hash, failed=()):
    """The arguments that the files were written from."""
    values = np.array([token for _, tokens in rows for token in tokens], np.int32)
    tokens = Ragged(values, np.cumsum([0, *(len(tokens) for _, tokens in rows)], dtype=np.int64))
    real = int((values != 0).sum())
    # Eighths from -2 on: exact, of both signs, each but once.
    outputs = np.arange(first_vector * 4, (first_vector + real) * 4, dtype=np.float32).reshape(real, 4) / 8 - 2
    info = FileInfo("ab" * 32, "fused", "float32", "golden", ShardId(index, content_hash), len(rows), real, failed)
    return info, [row_id for row_id, _ in rows], tokens, outputs


FAILED = (FailedRow(1, "docs.txt#5", "token id 9 is above 8"), FailedRow(4, "Straße 🎉", "its state is not finite"))
SHARDS = [shard(ROWS[:SPLIT], 0, 0, "0123456789ab"), shard(ROWS[SPLIT:], 5, 1, "ba9876543210", FAILED)]


@pytest.mark.parametrize(("name", "arguments"), list(zip(FILES, SHARDS, strict=True)))
def test_todays_writer_gives_the_same_file(name, arguments):
    """Every byte of every page, the schema and our metadata, and so the file: two attempts give the same bytes."""
    *rows, outputs = arguments
    now, then = published(*rows, [outputs], *plain(4, with_tokens=True)), (GOLDEN / name).read_bytes()
    assert pages(now) == pages(then)
    ours, theirs = (pq.ParquetFile(io.BytesIO(data)) for data in (now, then))
    assert ours.schema_arrow.equals(theirs.schema_arrow, check_metadata=True)
    assert ours.schema.equals(theirs.schema)
    assert ours.metadata.metadata == theirs.metadata.metadata
    assert now == then


def published(*arguments):
    """The bytes of a file, sealed."""
    file = io.BytesIO()
    sealing = Sealing(file)
    encode(sealing, *arguments)
    sealing.finish()
    return file.getvalue()


def pages(data):
    """What precedes the seal; the footer's length is in the four bytes before the last four."""
    return data[: -8 - int.from_bytes(data[-8:-4], "little") - SEAL_BYTES]


@pytest.mark.parametrize(("name", "arguments"), list(zip(FILES, SHARDS, strict=True)))
def test_todays_inspection_passes(name, arguments):
    """The counts, the metadata, the digest and the seal of a published file stay what they were."""
    check_seal(io.BytesIO((GOLDEN / name).read_bytes()))
    contents = inspect_part(open_store(GOLDEN), name)
    assert contents.info == arguments[0]
    assert (
        contents.digest
        == {
            0: "db206ae3138fe0d171588966f039360f",
            1: "829d200dc2566c5a70fa19db6a5f8428",
        }[contents.info.shard.index]
    )


def test_todays_reader_reads_them():
    """Every value of every row, to the last bit."""
    outputs = np.concatenate([arguments[3] for arguments in SHARDS])
    dataset = unrolled.open(GOLDEN)
    assert (len(dataset), dataset.tokens, dataset.units) == (7, 12, 4)
    taken = 0
    for row, (row_id, tokens) in zip(dataset, ROWS, strict=True):
        assert row.id == row_id
        assert row.tokens.tolist() == tokens
        assert row.mask.tolist() == [token != 0 for token in tokens]
        np.testing.assert_array_equal(row.outputs, outputs[taken : taken + row.length])
        taken += row.length
    assert taken == 12


POOLED = Path(__file__).parents[2] / "golden_pooled"
POOLED_FILE = "part-000002-0123456789ab.parquet"
POOLED_SPEC, POOLED_COLUMNS = stored(2, 2, 2, 2, layers=(0, 3), pooling=("none", "mean"), precision="float16")


def pooled_shard():
    """Layers 0 and 3 of the first rows, each with its means: the numbers count up, in quarters."""
    info, ids, tokens, _ = shard(ROWS[:SPLIT], 0, 2, "0123456789ab")
    counts = [info.tokens if column.per_token else info.rows for column in POOLED_COLUMNS]
    starts = np.cumsum([0, *counts])
    arrays = [
        (np.arange(2 * start, 2 * (start + count), dtype=np.float32) / 4 - 3).reshape(count, 2)
        for start, count in zip(starts, counts, strict=False)
    ]
    return info, ids, tokens, arrays


def test_todays_writer_gives_the_same_pooled_file():
    """Pooled vectors, layers and float16, every byte."""
    assert published(*pooled_shard(), POOLED_SPEC, POOLED_COLUMNS) == (POOLED / POOLED_FILE).read_bytes()


def test_todays_reader_reads_pooled_files():
    """Every value, by column and row."""
    _, _, tokens, arrays = pooled_shard()
    dataset = unrolled.open(POOLED)
    assert dataset.columns == inspect_part(open_store(POOLED), POOLED_FILE).columns == POOLED_COLUMNS
    (batch,) = dataset.batches()
    for name, array in zip(POOLED_SPEC.names(), arrays, strict=True):
        if not name.startswith("outputs"):
            array[batch.lengths == 0] = np.nan  # a row without a token has no vector
        np.testing.assert_array_equal(batch[name], array.astype(np.float16))
    assert (batch.lengths == 0).any()
    np.testing.assert_array_equal(batch.mask_values, tokens.values != 0)


if __name__ == "__main__":
    for name, (*rows, outputs) in zip(FILES, SHARDS, strict=True):
        (GOLDEN / name).write_bytes(published(*rows, [outputs], *plain(4, with_tokens=True)))
    (POOLED / POOLED_FILE).write_bytes(published(*pooled_shard(), POOLED_SPEC, POOLED_COLUMNS))
