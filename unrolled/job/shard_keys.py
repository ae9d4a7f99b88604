"""Shards as pairs of numbers: a folder may list a million of them, and no object is made for each.

A key has two fields: the shard's index, and its hash with the number of its retries in the upper bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import PayloadError
from unrolled.job.shard_id import ShardId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: The fields of a key.
KEY = [("index", "<u8"), ("hash", "<u8")]
#: The hash of a shard of the input is below this, that of a retry isn't.
FIRST_RETRY = 1 << 48
#: So few names are read more quickly one by one.
_FEW = 32
_HASH_DIGITS, _INDEX_DIGITS = 12, range(6, 13)
_HEX_VALUES = np.full(256, 255, np.uint8)
_HEX_VALUES[np.frombuffer(b"0123456789abcdef", np.uint8)] = range(16)


def key_of(shard: ShardId) -> tuple[int, int]:
    """A shard's key."""
    return shard.index, int(shard.hash, 16) | shard.retries * FIRST_RETRY


def shard_of(index: int, hashed: int) -> ShardId:
    """The shard of a key."""
    return ShardId(index, f"{hashed % FIRST_RETRY:012x}", hashed // FIRST_RETRY)


def parse_names(names: Sequence[str], before: str, after: str) -> tuple[NDArray[np.void], list[str]]:
    """Read the shards in names of the form `before`, shard id, `after`, all at once.

    Args:
        names: from an untrusted source.
        before: the beginning of each name.
        after: the end of each name.

    Returns:
        The shards' keys, in no promised order; and the names of another form.
    """
    found, one_by_one, others = [], [], []
    lengths = set(map(len, names))
    for length in sorted(lengths):
        some = names if len(lengths) == 1 else [name for name in names if len(name) == length]
        keys, rest = _parse_inputs(some, length, before.encode(), after.encode())
        found.append(keys)
        for name in rest:
            if (shard := _shard_in(name, before, after)) is None:
                others.append(name)
            else:
                one_by_one.append(key_of(shard))
    return np.concatenate([*found, np.array(one_by_one, KEY)]), others


def _shard_in(name: str, before: str, after: str) -> ShardId | None:
    try:
        shard = ShardId.parse(name[len(before) : len(name) - len(after)])
    except PayloadError:
        return None
    return shard if name == f"{before}{shard}{after}" else None


def _parse_inputs(
    names: Sequence[str], length: int, before: bytes, after: bytes
) -> tuple[NDArray[np.void], Sequence[str]]:
    """The keys of those of some names, all of one length, that have a shard of the input; and the other names."""
    start, stop = len(before), length - len(after)
    dash = stop - _HASH_DIGITS - 1
    if dash - start not in _INDEX_DIGITS or len(names) < _FEW:
        return np.empty(0, KEY), names
    text = np.frombuffer("".join(names).encode("ascii", "replace"), np.uint8).reshape(len(names), length)
    digits, hex_digits = text[:, start:dash] - ord("0"), _HEX_VALUES[text[:, dash + 1 : stop]]
    fits = (text[:, :start] == np.frombuffer(before, np.uint8)).all(1)
    fits &= (text[:, stop:] == np.frombuffer(after, np.uint8)).all(1) & (text[:, dash] == ord("-"))
    fits &= (digits <= 9).all(1) & (hex_digits <= 15).all(1)  # noqa: PLR2004 - digits
    if dash - start > _INDEX_DIGITS[0]:
        fits &= digits[:, 0] > 0
    keys = np.empty(np.count_nonzero(fits), KEY)
    keys["index"], keys["hash"] = _number(digits[fits], 10), _number(hex_digits[fits], 16)
    return keys, [names[number] for number in np.flatnonzero(~fits).tolist()]


def _number(digits: NDArray[np.uint8], base: int) -> NDArray[np.uint64]:
    """The numbers with these digits, one in each row."""
    total = np.zeros(len(digits), np.uint64)
    for column in digits.T:
        total = total * np.uint64(base) + column
    return total
