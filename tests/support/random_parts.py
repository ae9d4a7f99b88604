"""Parts of a job without the job: large ones, made quickly."""

import numpy as np

from unrolled.format.file_info import FileInfo
from unrolled.format.output_spec import OutputSpec
from unrolled.job.names import part_object
from unrolled.job.shard_id import ShardId
from unrolled.tokenization.ragged import Ragged
from worker.parquet.shard_file import encode


class _Width:
    def __init__(self, width):
        self.layer_dims = (width,)


def write_part(folder, index, ids, lengths, width, pooling="none", precision="float32"):
    """One part of random vectors.

    Args:
        folder: where it is written.
        index: of its shard.
        ids: of its rows.
        lengths: int (rows,), the tokens of each row.
        width: numbers in a vector.
        pooling: "none" for a vector for each token.
        precision: of the vectors that are stored.
    """
    tokens = Ragged.from_lengths(np.ones(int(lengths.sum()), np.int32), lengths)
    spec = OutputSpec(pooling=(pooling,), precision=precision)
    columns = spec.columns(_Width(width))
    random = np.random.default_rng(index)
    vectors = [
        random.standard_normal((column.vectors(tokens.rows, tokens.values.size), column.width), np.float32)
        for column in columns
    ]
    shard = ShardId(index, "ab" * 6)
    info = FileInfo("cd" * 32, "fused", "float32", "ef" * 8, shard, tokens.rows, tokens.values.size)
    with (folder / part_object(shard)).open("wb") as file:
        encode(file, info, ids, tokens, vectors, spec, columns)
