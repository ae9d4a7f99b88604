"""The input of a simulated job: a file, which may change or grow between two readings, or a pipe."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import numpy as np
from simulation.content import Row, encode_bad

from unrolled.protocol.spooling import Place, make_rows
from unrolled.tokenization.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from producer.enqueue.runs import Make
    from unrolled.protocol.spooling import Spooled

#: Added to the token of a row that differs in another version of the file.
CHANGED = 1000
#: Share of the files that grow.
_GROWING = 0.5
_SPOOLED: dict[tuple[str, int, int, tuple[Row, ...], frozenset[int]], Spooled] = {}


class Reading:
    """An input of a few rows. Row number n has the token n + 1.

    Attributes:
        versions: the versions of the file, by name; equal in most runs.
        growths: the versions that have more rows after those of the first one; none in most runs.
        second_file: names of the growths whose new rows are in a second file.
        pipe: the numbers of the rows that were not yet read from the pipe.
    """

    def __init__(self, rng: random.Random, *, is_live: bool) -> None:
        size = rng.randint(3, 12)
        self.bad = frozenset(number for number in range(size) if rng.random() < 0.1)
        before = [Row(f"file#{number}", number + 1) for number in range(size)]
        self.versions = {"before": before, "after": _changed(before, rng)}
        self.growths: list[str] = []
        self.second_file: set[str] = set()
        # Drawn apart, so that the other seeds take the steps that they took before files could grow.
        apart = random.Random()
        apart.setstate(rng.getstate())
        apart.seed(apart.random())
        if not is_live and apart.random() < _GROWING:
            self._grow(apart)
        self.pipe = list(range(size)) if is_live else []

    @property
    def different_versions(self) -> list[str]:
        """The names of versions, each version once."""
        found: dict[tuple[bool, tuple[Row, ...]], str] = {}
        for name, rows in self.versions.items():
            found.setdefault((name in self.second_file, tuple(rows)), name)
        return [*found.values()]

    def names(self, version: str, place: str) -> list[str]:
        """The names of the files of a version, of which the first one is called `place`."""
        return [place, f"{place}/second"] if version in self.second_file else [place]

    def _grow(self, rng: random.Random) -> None:
        """Three growths: a short one, a longer one that continues it, and one with other rows."""
        before = self.versions["before"]
        size, short, more = len(before), rng.randint(1, 3), rng.randint(1, 3)
        new = [Row(f"file#{number}", number + 1) for number in range(size, size + short + more)]
        others = [row._replace(token=row.token + CHANGED) for row in new[: rng.randint(1, len(new))]]
        self.versions |= {"short": before + new[:short], "long": before + new, "other": before + others}
        self.growths = ["short", "long", "other"]
        self.second_file = {growth for growth in self.growths if rng.random() < 0.3}
        self.bad |= {number for number in range(size, size + len(new)) if rng.random() < 0.1}

    def cuts(self, job: str, version: str, ends: Iterable[int] = ()) -> Iterator[Make]:
        """The cuts of a version of the file, equal at each reading; also cut where the file once ended."""
        rows = self.versions[version]
        stops = sorted({len(rows), *(end for end in ends if end < len(rows))})
        for first, stop in itertools.pairwise([0, *stops]):
            for start in range(first, stop, 2):
                yield self.cut(job, rows[start : min(start + 2, stop)])

    def cut(self, job: str, rows: Sequence[Row]) -> Make:
        """A function that makes a shard of these rows, some of which may be bad."""
        return lambda index, growth=0: self._spooled(job, index, growth, tuple(rows))

    def _spooled(self, job: str, index: int, growth: int, rows: tuple[Row, ...]) -> Spooled:
        numbers = [(row.token - 1) % CHANGED for row in rows]
        bad = self.bad.intersection(numbers)
        key = job, index, growth, rows, bad
        if key not in _SPOOLED:
            good = [row for row, number in zip(rows, numbers, strict=True) if number not in bad]
            lines = encode_bad([row for row, number in zip(rows, numbers, strict=True) if number in bad], growth)
            tokens = Ragged(np.array([row.token for row in good], np.int32), np.arange(len(good) + 1, dtype=np.int64))
            place = Place(index, "file", numbers[0], growth)
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
