"""The content of a shard's part."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.columns import plain, stored
from support.jobs import FINGERPRINT, job_of
from support.ragged_rows import ragged

from unrolled.errors import PayloadError
from unrolled.format.file_info import FailedRow, FileInfo
from unrolled.format.seal import check_seal
from unrolled.job.shard_id import ShardId
from worker.shards.part_content import part_content
from worker.shards.shard_rows import ShardRows

UNITS = 3
SHARD = ShardId(7, "0123456789ab", 1)
TOKENS = ((5, 0, 6), (7,), (), (8, 9))
ROWS = ShardRows(
    pa.array([f"row {i}" for i in range(4)], pa.string()),
    ragged(TOKENS),
    ragged([[token for token in row if token] for row in TOKENS]),
)
VECTORS = np.arange(5 * UNITS, dtype=np.float32).reshape(5, UNITS)


def written(rows=ROWS, outputs=(VECTORS,), chosen=None, job=None):
    """The bytes of a part."""
    file = io.BytesIO()
    part_content(job or job_of(), SHARD, rows, outputs, *(chosen or plain(UNITS)))(file)
    return file.getvalue()


def info_of(data):
    return FileInfo.decode(pq.read_metadata(io.BytesIO(data)).metadata)


def test_a_part_says_where_it_comes_from():
    """Rows, outputs and metadata are the shard's; how it was computed is the job's word, not the worker's."""
    job = job_of(engine="fused", arithmetic="bfloat16")
    data = written(job=job)
    table = pq.read_table(io.BytesIO(data))
    assert table["id"].to_pylist() == ["row 0", "row 1", "row 2", "row 3"]
    assert table["length"].to_pylist() == [2, 1, 0, 2]
    assert table["outputs"].combine_chunks().flatten().flatten().to_pylist() == VECTORS.reshape(-1).tolist()
    assert info_of(data) == FileInfo(FINGERPRINT, "fused", "bfloat16", job.id, SHARD, rows=4, tokens=5)


def test_the_content_is_the_same_each_time_and_sealed():
    """A store may ask for it more than once; a reader can see that it is whole."""
    write = part_content(job_of(), SHARD, ROWS, [VECTORS], *plain(UNITS))
    first, second = io.BytesIO(), io.BytesIO()
    write(first)
    write(second)
    assert first.getvalue() == second.getvalue()
    check_seal(first)


def test_failed_rows_are_left_out_and_named():
    """The part has the others with their own outputs; its metadata has number, id and reason of those that failed."""
    data = written(ROWS.without({1: "too hard", 3: "too odd"}))
    table = pq.read_table(io.BytesIO(data))
    assert table["id"].to_pylist() == ["row 0", "row 2"]
    assert table["outputs"].to_pylist() == [VECTORS[:2].tolist(), []]
    info = info_of(data)
    assert info.failed == (FailedRow(1, "row 1", "too hard"), FailedRow(3, "row 3", "too odd"))
    assert (info.rows, info.tokens) == (2, 2)


def test_pooled_vectors_of_failed_rows_are_left_out():
    """Each good row keeps its own."""
    means = np.arange(4 * UNITS, dtype=np.float32).reshape(4, UNITS)
    chosen = stored(UNITS, pooling=("none", "mean"), precision="float16")
    table = pq.read_table(io.BytesIO(written(ROWS.without({1: "too hard"}), [VECTORS, means], chosen)))
    assert table["id"].to_pylist() == ["row 0", "row 2", "row 3"]
    assert table["mean"].to_pylist() == [means[0].tolist(), None, means[3].tolist()], "row 2 has no token"
    assert [len(row) for row in table["outputs"].to_pylist()] == [2, 0, 2]


def test_a_shard_whose_rows_all_failed_has_a_part_without_rows():
    """It is an outcome like any other: nothing of the shard waits any more."""
    data = written(ROWS.without(dict.fromkeys(range(4), "x")))
    assert pq.read_table(io.BytesIO(data)).num_rows == 0
    assert [row.row for row in info_of(data).failed] == [0, 1, 2, 3]


def test_what_the_precision_cannot_hold_is_refused():
    """When the content is asked for, before anything is created."""
    with pytest.raises(PayloadError, match="float16 ends at"):
        written(outputs=[VECTORS * 1e6], chosen=stored(UNITS, precision="float16"))
