"""Rows of token ids as a `Ragged`, and the metadata of a file with these rows."""

import numpy as np

from unrolled.format.file_info import FileInfo
from unrolled.job.shard_id import ShardId
from unrolled.tokenization.ragged import Ragged

FINGERPRINT = "ab" * 32


def ragged(rows):
    """Rows, given as lists of token ids, end to end."""
    values = np.array([token for row in rows for token in row], np.int32)
    return Ragged.from_lengths(values, list(map(len, rows)))


def info_of(tokens, *, index=0, fingerprint=FINGERPRINT):
    """The metadata of a file with these rows; a 0 among them is padding."""
    real = int(np.count_nonzero(tokens.values))
    return FileInfo(fingerprint, "fused", "float32", "job", ShardId(index, "0123456789ab"), tokens.rows, real)
