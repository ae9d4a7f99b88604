"""Rows become padded batches: rows of like length together, in an order that only the seed and the epoch decide.

The corpus is taken in blocks of rows that lie together, some of them at a time in random order. So memory holds
`MIXED_TOKENS` ids however many there are, and rows that are far from each other meet.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.training.token_store import TokenStore

MIXED_TOKENS = 2**22
BLOCK_TOKENS = 2**17
#: Lengths are blurred by up to this share before rows are sorted, so that the same rows meet in no two epochs.
_BLUR = 0.1


class Window(NamedTuple):
    """Some time steps of a batch's rows: all of those that have something to predict there.

    Attributes:
        inputs: int32 (rows, time), 0 behind a row's end.
        targets: int32 (rows, time), the tokens that follow each; 0 where none does.
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]


def training_batches(
    store: TokenStore, batch_tokens: int, window: int, seed: tuple[int, ...], first: int = 0
) -> Iterator[NDArray[np.int32]]:
    """One epoch: every row once.

    Args:
        store: the rows, of two tokens or more.
        batch_tokens: ids in a window of a batch, at most, padding included; a single row is always allowed.
        window: time steps of a window.
        seed: decides the order.
        first: batches to pass over, those of an interrupted run.

    Yields:
        int32 (rows, time), right-padded with 0, the longest row first.
    """
    random = np.random.default_rng(seed)
    blocks = store.blocks(BLOCK_TOKENS)
    order = random.permutation(len(blocks))
    group = MIXED_TOKENS // BLOCK_TOKENS
    for begin in range(0, len(order), group):
        rows = _Rows(store, [blocks[number] for number in order[begin : begin + group]])
        blurred = rows.lengths * random.uniform(1, 1 + _BLUR, len(rows.lengths))
        # The noise orders rows of one length at random, too.
        cuts = _cut(np.argsort(-blurred, kind="stable"), rows.lengths, batch_tokens, window)
        random.shuffle(cuts)
        for chosen in cuts[first:]:
            yield rows.padded(chosen)
        first = max(0, first - len(cuts))


def validation_batches(store: TokenStore, batch_tokens: int, window: int) -> Iterator[NDArray[np.int32]]:
    """Every row once, as in `training_batches`, in a fixed order."""
    for block in store.blocks(MIXED_TOKENS):
        rows = _Rows(store, [block])
        for chosen in _cut(np.argsort(-rows.lengths, kind="stable"), rows.lengths, batch_tokens, window):
            yield rows.padded(chosen)


def windows(batch: NDArray[np.int32], window: int) -> Iterator[Window]:
    """Cut a batch along time.

    Only a row that fills a window can go on into the next, and rows stand longest first: so the next window's
    rows are the first of this one's, and take over their states as they are.

    Args:
        batch: int32 (rows, time), from the functions above.
        window: time steps.
    """
    lengths = np.count_nonzero(batch, axis=1)
    for begin in range(0, int(lengths.max()) - 1, window):
        going = int(np.count_nonzero(lengths > begin + 1))
        stop = min(begin + window, int(lengths.max()) - 1)
        yield Window(batch[:going, begin:stop], batch[:going, begin + 1 : stop + 1])


class _Rows:
    """The rows of some blocks, in memory."""

    def __init__(self, store: TokenStore, blocks: list[tuple[int, int]]) -> None:
        parts, starts, lengths, offset = [], [], [], 0
        for start, stop in blocks:
            ids, bounds = store.read(start, stop)
            parts.append(ids)
            starts.append(bounds[:-1] + offset)
            lengths.append(np.diff(bounds))
            offset += len(ids)
        self._ids = np.concatenate(parts)
        self._starts = np.concatenate(starts)
        self.lengths = np.concatenate(lengths)  # int64 (rows,)

    def padded(self, chosen: NDArray[np.int64]) -> NDArray[np.int32]:
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
    """Cut rows, longest first, into batches."""
    cuts = []
    begin = 0
    while begin < len(order):
        # The order is by blurred lengths: the longest of a batch stands near its beginning, not always at it.
        time = min(int(lengths[order[begin : begin + 64]].max()) - 1, window)
        count = max(1, batch_tokens // time)
        cuts.append(order[begin : begin + count])
        begin += count
    return cuts
