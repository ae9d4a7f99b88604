"""The input of a simulated job: a file, which may change between two readings, or a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from simulation.content import Row, encode_bad

from unrolled.protocol.spooling import Place, make_rows
from unrolled.tokenization.ragged import Ragged

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from unrolled.protocol.spooling import Spooled

    Make = Callable[[int], Spooled]

#: Added to the token of a row that differs in another version of the file.
CHANGED = 1000
_SPOOLED: dict[tuple[str, int, tuple[Row, ...], frozenset[int]], Spooled] = {}


class Reading:
    """An input of a few rows. Row number n has the token n + 1.

    Attributes:
        versions: the versions of the file, by name; equal in most runs.
        pipe: the numbers of the rows that were not yet read from the pipe.
    """

    def __init__(self, rng: random.Random, *, is_live: bool) -> None:
        size = rng.randint(3, 12)
        self.bad = frozenset(number for number in range(size) if rng.random() < 0.1)
        before = [Row(f"file#{number}", number + 1) for number in range(size)]
        self.versions = {"before": before, "after": _changed(before, rng)}
        self.pipe = list(range(size)) if is_live else []

    @property
    def different_versions(self) -> list[str]:
        """The names of versions, each version once."""
        return ["before"] if self.versions["before"] == self.versions["after"] else [*self.versions]

    def cuts(self, job: str, version: str) -> Iterator[Make]:
        """The cuts of a version of the file, equal at each reading."""
        rows = self.versions[version]
        for start in range(0, len(rows), 2):
            yield self.cut(job, rows[start : start + 2])

    def cut(self, job: str, rows: Sequence[Row]) -> Make:
        """A function that makes a shard of these rows, some of which may be bad."""
        return lambda index: self._spooled(job, index, tuple(rows))

    def _spooled(self, job: str, index: int, rows: tuple[Row, ...]) -> Spooled:
        numbers = [(row.token - 1) % CHANGED for row in rows]
        bad = self.bad.intersection(numbers)
        key = job, index, rows, bad
        if key not in _SPOOLED:
            good = [row for row, number in zip(rows, numbers, strict=True) if number not in bad]
            lines = encode_bad([row for row, number in zip(rows, numbers, strict=True) if number in bad])
            tokens = Ragged(np.array([row.token for row in good], np.int32), np.arange(len(good) + 1, dtype=np.int64))
            place = Place(index, "file", numbers[0])
            if len(_SPOOLED) > 4096:
                _SPOOLED.clear()
            _SPOOLED[key] = make_rows(job, place, [row.id for row in good], tokens, lines)
        return _SPOOLED[key]


def _changed(rows: list[Row], rng: random.Random) -> list[Row]:
    """Another version of a file: mostly equal; or two rows differ, or some rows are new, or missing."""
    chance, size = rng.random(), len(rows)
    if chance < 0.2:
        changed = {rng.randrange(size), rng.randrange(size)}
        return [row._replace(token=row.token + CHANGED * (number in changed)) for number, row in enumerate(rows)]
    if chance < 0.3:
        return rows + [Row(f"file#{number}", number + 1) for number in range(size, size + rng.randint(1, 6))]
    return rows[: rng.randrange(1, size)] if chance < 0.4 else rows
