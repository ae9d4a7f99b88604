"""Where each id is: an index of the ids of a job, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from unrolled.job.payload import strings
from unrolled.tokenization.ragged import runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

# Odd, so that it has an inverse modulo 2**64; otherwise any number with many bits.
_FACTOR = 0x9E3779B97F4A7C15
_INVERSE = pow(_FACTOR, -1, 2**64)
# Bytes of texts that are hashed at once, for each of which some numbers of eight bytes are needed.
_PIECE_BYTES = 1 << 18


class IdIndex:
    """The rows whose ids have a hash, among all rows of a job: 16 bytes a row.

    Ids are compared by their hash alone, and two may share one: the caller looks at the ids of the rows that it gets.

    Args:
        ids: the column of ids, in pieces, in the order of the rows.
    """

    def __init__(self, ids: Iterable[pa.Array]) -> None:
        hashes = [hashes_of(piece) for piece in ids]
        every = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
        self._rows = np.argsort(every, kind="stable")
        self._hashes = every[self._rows]

    def rows(self, id: str) -> list[int]:  # noqa: A002 - the column's name
        """The numbers of all rows that may have this id, counted from 0, ascending."""
        try:
            id.encode()
        except UnicodeEncodeError:  # no row has it: ids are UTF-8
            return []
        (wanted,) = hashes_of(strings([id]))
        first, last = np.searchsorted(self._hashes, wanted, "left"), np.searchsorted(self._hashes, wanted, "right")
        return [int(row) for row in self._rows[first:last]]


def hashes_of(ids: pa.Array) -> NDArray[np.uint64]:
    """A hash of each text: a polynomial of its bytes and its length, modulo 2**64, for many texts at once.

    The polynomial of a text is the difference of two prefix sums over the bytes of the texts, divided by the power at
    its beginning. Texts that differ only in their last bytes have hashes that differ by simple multiples of one number.

    Args:
        ids: a string array without nulls, sliced or not.

    Returns:
        uint64 (texts,). What is needed meanwhile is about 10 MB, or 40 bytes for each byte of a longer text.
    """
    ids = ids.cast(pa.large_string())
    if not len(ids):
        return np.empty(0, np.uint64)
    _, offsets_buffer, data = ids.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64, len(ids) + 1, ids.offset * 8)
    pieces = runs(offsets[1:], _PIECE_BYTES, begin=int(offsets[0]))
    longest = max(int(offsets[stop] - offsets[start]) for start, stop in pieces)
    powers, inverses = _powers(_FACTOR, longest), _powers(_INVERSE, longest + 1)
    found = np.empty(len(ids), np.uint64)
    for start, stop in pieces:
        at = offsets[start : stop + 1] - offsets[start]
        bytes_ = np.frombuffer(data or b"", np.uint8, int(at[-1]), int(offsets[start]))
        # Plus 1, because a byte 0 must count too.
        terms = (bytes_.astype(np.uint64) + np.uint64(1)) * powers[: len(bytes_)]
        sums = np.zeros(len(bytes_) + 1, np.uint64)
        np.cumsum(terms, out=sums[1:])
        polynomials = (sums[at[1:]] - sums[at[:-1]]) * inverses[at[:-1]]
        found[start:stop] = (polynomials + np.diff(at).astype(np.uint64)) * np.uint64(_FACTOR)
    return found ^ (found >> np.uint64(32))


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """1, base, base², …, modulo 2**64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)
