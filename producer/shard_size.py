"""Where a shard is cut, so that files weigh about the same whatever a job stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.cutter import SHARD_ROWS
from unrolled.outputs import vector_bytes

if TYPE_CHECKING:
    from unrolled.outputs import OutputColumn

#: A shard's file aims at this many bytes of float32 outputs: benchmarks/shard_size.py.
FILE_BYTES = 64 * 2**20
_SMALLEST_SHARD, _LARGEST_SHARD = 2**12, 2**18
#: A worker computes such a shard some rows at a time; its token ids take 4 MiB.
_LARGEST_POOLED_SHARD = 2**20


def default_shard_tokens(columns: tuple[OutputColumn, ...]) -> int:
    """Token ids for a file of about `FILE_BYTES` of float32 vectors, within bounds.

    Pooled vectors weigh nothing a token: `most_shard_rows` cuts where there are no others.
    """
    size = vector_bytes(columns, rows=0, tokens=1)
    return max(_SMALLEST_SHARD, min(_LARGEST_SHARD, FILE_BYTES // size)) if size else _LARGEST_POOLED_SHARD


def most_shard_rows(columns: tuple[OutputColumn, ...]) -> int:
    """Rows at which a shard is cut: where their pooled vectors reach `FILE_BYTES`, or all other memory counts."""
    size = vector_bytes(columns, rows=1, tokens=0)
    return max(1, min(SHARD_ROWS, FILE_BYTES // size)) if size else SHARD_ROWS
