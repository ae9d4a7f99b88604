"""The shards of a job in columns: 40 bytes of memory for each, and look-ups of a million at once."""

# Over 150 lines: the columns, and two views of them.

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from unrolled.job.shard_id import ShardId
from unrolled.job.shard_keys import FIRST_RETRY, KEY, key_of, shard_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from unrolled.job.segment import Entry

#: The counts of a shard, as `unrolled.job.segment.Entry` explains them.
COUNTS = ("rows", "tokens", "size", "quarantined")
COLUMNS = np.dtype([*KEY, *((name, "<u4") for name in COUNTS)])
#: Shards that were added one by one and are not in the sorted index yet.
_MOST_RECENT = 1 << 14
#: So few shards are found more quickly one by one.
_FEW = 32
_FIRST_CAPACITY = 16


class Counts(NamedTuple):
    """What decisions need to know of a shard; see `unrolled.job.segment.Entry` for the rest."""

    shard: ShardId
    rows: int
    tokens: int
    size: int
    quarantined: int


class Entries(Mapping[ShardId, Counts]):
    """The shards of a job, in the order of its log; a shard's *number* is its place in that order.

    Shards are found through one sorted array. In each of its numbers the upper half is the beginning of a shard's hash
    and the lower half the shard's number.
    """

    def __init__(self) -> None:
        self._columns = np.empty(_FIRST_CAPACITY, COLUMNS)
        self._count = 0
        self._sorted = np.empty(0, np.uint64)
        self._recent: dict[tuple[int, int], int] = {}
        self._inputs_before: list[int] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ShardId]:
        return map(self.shard, range(self._count))

    def __contains__(self, shard: object) -> bool:
        return isinstance(shard, ShardId) and self.number(shard) is not None

    def __getitem__(self, shard: ShardId) -> Counts:
        number = self.number(shard)
        if number is None:
            raise KeyError(shard)
        return self.at(number)

    @property
    def columns(self) -> NDArray[Any]:
        """Index, hash (see `unrolled.job.shard_keys`) and counts of each shard; not to be changed."""
        return self._columns[: self._count]

    @property
    def inputs(self) -> Inputs:
        """The shards that were cut from the input."""
        return Inputs(self, self._inputs_before)

    def shard(self, number: int) -> ShardId:
        """The shard with a number."""
        index, hashed, *_ = self._columns[number].tolist()
        return shard_of(index, hashed)

    def at(self, number: int) -> Counts:
        """The shard with a number, and its counts."""
        index, hashed, *counts = self._columns[number].tolist()
        return Counts(shard_of(index, hashed), *counts)

    def number(self, shard: ShardId) -> int | None:
        """The number of a shard; None if the job doesn't have it."""
        number = self._number(key_of(shard))
        return None if number < 0 else number

    def _number(self, key: tuple[int, int]) -> int:
        if len(self._sorted) + len(self._recent) < self._count:
            self._sort()
        if key in self._recent:
            return self._recent[key]
        beginning = key[1] % FIRST_RETRY >> 16
        for packed in map(int, self._sorted[np.searchsorted(self._sorted, np.uint64(beginning << 32)) :]):
            if packed >> 32 != beginning:
                break
            number = packed & 0xFFFFFFFF
            if self._columns[number].tolist()[:2] == key:
                return number
        return -1

    def numbers(self, keys: NDArray[Any]) -> NDArray[np.int64]:
        """The numbers of shards by their keys, -1 where the job doesn't have the shard."""
        if len(keys) < _FEW:
            return np.array([self._number(key) for key in keys.tolist()], np.int64)
        self._sort()
        found, left = np.full(len(keys), -1, np.int64), np.arange(len(keys))
        beginnings = _beginning(keys["hash"])
        places = np.searchsorted(self._sorted, beginnings)
        while left.size:  # more than once only where hashes have equal beginnings
            left = left[places[left] < len(self._sorted)]
            packed = self._sorted[places[left]]
            is_near = packed >> np.uint64(32) << np.uint64(32) == beginnings[left]
            left, numbers = left[is_near], (packed[is_near] & np.uint64(0xFFFFFFFF)).astype(np.int64)
            is_same = self._columns["index"][numbers] == keys["index"][left]
            is_same &= self._columns["hash"][numbers] == keys["hash"][left]
            found[left[is_same]] = numbers[is_same]
            left = left[~is_same]
            places[left] += 1
        return found

    def marks(self, shards: Iterable[ShardId] = ()) -> NDArray[np.bool_]:
        """One value for each shard of the job, True for the given ones."""
        marks = np.zeros(self._count, np.bool_)
        marks[[number for shard in shards if (number := self.number(shard)) is not None]] = True
        return marks

    def add(self, entry: Entry) -> bool:
        """Add a shard at the end; False if the job has it."""
        key = key_of(entry.shard)
        if self._number(key) >= 0:
            return False
        if len(self._recent) >= _MOST_RECENT:
            self._sort()
        self._make_room(1)
        self._columns[self._count] = (*key, entry.rows, entry.tokens, entry.size, entry.quarantined)
        if entry.shard.retries:
            self._note_retries([self._count])
        self._recent[key] = self._count
        self._count += 1
        return True

    def extend(self, columns: NDArray[Any]) -> None:
        """Add shards at the end, of which the job has none."""
        self._make_room(len(columns))
        self._columns[self._count : self._count + len(columns)] = columns
        self._note_retries((np.flatnonzero(columns["hash"] >= FIRST_RETRY) + self._count).tolist())
        self._count += len(columns)

    def _make_room(self, count: int) -> None:
        if self._count + count > len(self._columns):
            columns = np.empty(max(self._count + count, 2 * len(self._columns)), COLUMNS)
            columns[: self._count] = self.columns
            self._columns = columns

    def _note_retries(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._inputs_before.append(number - len(self._inputs_before))

    def _sort(self) -> None:
        """Put all shards into the sorted index."""
        known = len(self._sorted)
        if known < self._count:
            packed = _beginning(self._columns["hash"][known : self._count])
            packed |= np.arange(known, self._count, dtype=np.uint64)
            packed.sort()
            if known:
                packed = np.concatenate([self._sorted, packed])
                packed.sort(kind="stable")  # merges two sorted arrays
            self._sorted = packed
            self._recent.clear()


class Inputs(Sequence[ShardId]):
    """The shards of a job that were cut from its input, in order.

    Args:
        entries: all shards.
        inputs_before: for each retry, the number of the input's shards before it.
    """

    def __init__(self, entries: Entries, inputs_before: list[int]) -> None:
        self._entries, self._inputs_before = entries, inputs_before

    def __len__(self) -> int:
        return len(self._entries) - len(self._inputs_before)

    @overload
    def __getitem__(self, place: int) -> ShardId: ...

    @overload
    def __getitem__(self, place: slice) -> list[ShardId]: ...

    def __getitem__(self, place: int | slice) -> ShardId | list[ShardId]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self._entries.shard(place + bisect_right(self._inputs_before, place))


class ShardSet(AbstractSet[ShardId]):
    """Some shards of a job.

    Args:
        entries: all shards.
        marks: one value for each of the first shards, True for those in the set.
    """

    def __init__(self, entries: Entries, marks: NDArray[np.bool_]) -> None:
        self._entries = entries
        self.marks = marks

    def __len__(self) -> int:
        return int(np.count_nonzero(self.marks))

    def __iter__(self) -> Iterator[ShardId]:
        return map(self._entries.shard, np.flatnonzero(self.marks).tolist())

    def __contains__(self, shard: object) -> bool:
        number = self._entries.number(shard) if isinstance(shard, ShardId) else None
        return number is not None and number < len(self.marks) and bool(self.marks[number])

    @classmethod
    def _from_iterable(cls, shards: Iterable[Any]) -> frozenset[Any]:
        return frozenset(shards)


def _beginning(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The first 32 bits of hashes, each in the upper half of a number."""
    beginnings = hashes % np.uint64(FIRST_RETRY)
    beginnings >>= np.uint64(16)
    beginnings <<= np.uint64(32)
    return beginnings
