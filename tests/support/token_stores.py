"""Rows of token ids on disk, for the tests of everything that reads them."""

import numpy as np

from unrolled.training.token_store import BLOCK_TOKENS, TokenStore, TokenStoreWriter


def stored(directory, rows, vocab_size=60_000, at_once=4, block_tokens=BLOCK_TOKENS):
    with TokenStoreWriter(directory, "rows", vocab_size, block_tokens) as writer:
        for start in range(0, len(rows), at_once):
            writer.add([np.array(row, np.int32) for row in rows[start : start + at_once]])
    return TokenStore(directory, "rows", vocab_size)
