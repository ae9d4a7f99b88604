"""Rows of token ids on disk, for the tests of whatever reads them."""

import numpy as np

from unrolled.training.token_store import TokenStoreWriter, open_token_store


def stored(directory, rows, vocab_size=60_000, at_once=4):
    with TokenStoreWriter(directory, "rows", vocab_size) as writer:
        for start in range(0, len(rows), at_once):
            writer.add([np.array(row, np.int32) for row in rows[start : start + at_once]])
    return open_token_store(directory, "rows", vocab_size, writer.rows, writer.tokens)
