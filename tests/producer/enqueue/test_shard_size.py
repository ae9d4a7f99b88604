"""Where a shard is cut."""

import pytest
from support.columns import per_token

from producer.enqueue.cutter import FILE_BYTES, SHARD_ROWS, default_shard_tokens, most_shard_rows
from unrolled.format.columns import POOLINGS, VectorColumn


@pytest.mark.parametrize(("units", "tokens"), [(1, 2**18), (64, 2**18), (512, 2**15), (1024, 2**14), (10**6, 2**12)])
def test_shards_aim_at_files_of_one_size(units, tokens):
    """Within bounds: neither tiny files nor shards that take forever."""
    assert default_shard_tokens(per_token(units)) == tokens
    assert most_shard_rows(per_token(units)) == SHARD_ROWS
    if 2**12 < tokens < 2**18:
        assert tokens * units * 4 == FILE_BYTES


@pytest.mark.parametrize(("units", "pools", "rows"), [(1, 1, 2**16), (512, 1, 2**15), (512, 4, 2**13), (10**8, 1, 1)])
def test_pooled_vectors_are_counted_by_the_row(units, pools, rows):
    """Tokens weigh nothing then, and a shard holds many; but not more rows than a file's worth."""
    columns = tuple(VectorColumn(pool, 0, units) for pool in POOLINGS[1 : pools + 1])
    assert (default_shard_tokens(columns), most_shard_rows(columns)) == (2**20, rows)
    if 1 < rows < SHARD_ROWS:
        assert rows * units * pools * 4 == FILE_BYTES
    both = (*per_token(512), *columns)
    assert (default_shard_tokens(both), most_shard_rows(both)) == (2**15, rows)
