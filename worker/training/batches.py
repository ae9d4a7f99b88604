"""Padded batches of rows of similar length, in an order that depends on the seed and the epoch alone.

The blocks of the token store are read in random order, `MIXED_BLOCKS` at a time. So memory holds about 4 million token
ids, however many there are, and rows that are far from each other meet.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.training.token_store import BLOCK_TOKENS, TokenStore

#: Blocks in memory at a time.
MIXED_BLOCKS = 2**22 // BLOCK_TOKENS
#: Lengths are changed at random by up to this share before rows are sorted, so that batches differ between epochs.
_BLUR = 0.1


class Window(NamedTuple):
    """Some time steps of a batch, for the rows that have a token to predict there.

    Attributes:
        inputs: int32 (rows, time), 0 after a row's end.
        targets: int32 (rows, time), the next token after each input, or 0 if there is none.
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]


def training_batches(
    store: TokenStore, batch_tokens: int, window: int, seed: tuple[int, ...], first: int = 0
) -> Iterator[NDArray[np.int32]]:
    """One epoch: every row once, in random order.

    Args:
        store: the rows, of at least two tokens each.
        batch_tokens: the most ids in a window of a batch, padding included; a single row is always allowed.
        window: number of time steps in a window.
        seed: determines the order.
        first: number of batches to skip, because an interrupted run has used them.

    Yields:
        int32 (rows, time), right-padded with 0, the longest row first.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(store.blocks).tolist()
    for begin in range(0, len(order), MIXED_BLOCKS):
        rows = _Rows(store, order[begin : begin + MIXED_BLOCKS])
        blurred = rows.lengths * random.uniform(1, 1 + _BLUR, len(rows.lengths))
        # Rows of one length are in random order too.
        cuts = _cut(np.argsort(-blurred, kind="stable"), rows.lengths, batch_tokens, window)
        random.shuffle(cuts)
        for chosen in cuts[first:]:
            yield rows.padded(chosen)
        first = max(0, first - len(cuts))


def validation_batches(store: TokenStore, batch_tokens: int, window: int) -> Iterator[NDArray[np.int32]]:
    """Every row once, in a fixed order; arguments and results are those of `training_batches`."""
    for begin in range(0, store.blocks, MIXED_BLOCKS):
        rows = _Rows(store, range(begin, min(begin + MIXED_BLOCKS, store.blocks)))
        for chosen in _cut(np.argsort(-rows.lengths, kind="stable"), rows.lengths, batch_tokens, window):
            yield rows.padded(chosen)


def windows(batch: NDArray[np.int32], window: int) -> Iterator[Window]:
    """Cut a batch along time.

    Only a row that fills a window continues in the next, and the longest rows come first. So the rows of the next
    window are the first rows of this one, and continue from their states.

    Args:
        batch: int32 (rows, time), from `training_batches` or `validation_batches`.
        window: number of time steps.
    """
    lengths = np.count_nonzero(batch, axis=1)
    for begin in range(0, int(lengths.max()) - 1, window):
        going = int(np.count_nonzero(lengths > begin + 1))
        stop = min(begin + window, int(lengths.max()) - 1)
        yield Window(batch[:going, begin:stop], batch[:going, begin + 1 : stop + 1])


class _Rows:
    """The rows of some blocks, in memory."""

    def __init__(self, store: TokenStore, blocks: Iterable[int]) -> None:
        self._ids, bounds = store.read(blocks)
        self._starts = bounds[:-1]
        self.lengths = np.diff(bounds)  # int64 (rows,)

    def padded(self, chosen: NDArray[np.int64]) -> NDArray[np.int32]:
        """A batch of the rows with these numbers, longest first, int32 (rows, time)."""
        chosen = chosen[np.argsort(-self.lengths[chosen], kind="stable")]
        lengths = self.lengths[chosen]
        steps = np.arange(int(lengths[0]))
        real = steps < lengths[:, None]  # (rows, time)
        batch = np.zeros(real.shape, np.int32)
        batch[real] = self._ids[(self._starts[chosen, None] + steps)[real]]
        return batch


def _cut(
    order: NDArray[np.int64], lengths: NDArray[np.int64], batch_tokens: int, window: int
) -> list[NDArray[np.int64]]:
    """Cut rows into batches.

    Args:
        order: numbers of the rows, roughly longest first.
        lengths: int64 (rows,), the lengths of all rows.
        batch_tokens: as in `training_batches`.
        window: as in `training_batches`.

    Returns:
        The numbers of the rows in each batch.
    """
    cuts = []
    begin = 0
    while begin < len(order):
        # The lengths in the order were changed at random: the longest row of a batch is only near its beginning.
        time = min(int(lengths[order[begin : begin + 64]].max()) - 1, window)
        count = max(1, batch_tokens // time)
        cuts.append(order[begin : begin + count])
        begin += count
    return cuts
