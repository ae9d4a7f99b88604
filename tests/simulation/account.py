"""The place of every row of a job, as its objects show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.content import Row, decode_bad, decode_part, decode_rows
from simulation.segments import DEAD, FAILED, QUARANTINE, ROWS, BrokenPromiseError, Decisions, is_retry, shard_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Account:
    """The place of each row of a job: "part", "failed", "dead", "bad", "waiting", or a "stray" that no segment names.

    Attributes:
        log: the decisions in the log.
        places: all places of each row. Its key is its token in a live job, whose runs number their rows differently,
            and its id in a file's job, because a file may change between two readings.

    Raises:
        BrokenPromiseError: a row's tokens are lost.
    """

    def __init__(self, objects: Mapping[str, bytes], *, is_live: bool) -> None:
        self.log = Decisions(objects)
        self.places: dict[str | int, list[str]] = {}
        self._objects = objects
        self._is_live = is_live
        self._found: dict[str, list[tuple[str | int, str]]] = {}
        strays = {shard_in(name) for name in objects if name.startswith(ROWS)} - self.log.shards.keys()
        for shard in [*self.log.shards, *(strays if is_live else ())]:
            self.update(shard)

    def key(self, row: Row) -> str | int:
        """The key of a row in `places`."""
        return row.token if self._is_live else row.id

    def append(self, content: bytes) -> set[str]:
        """Apply the next segment of the log, and return the shards that it mentions."""
        touched = self.log.apply(content)
        for shard in touched:
            self.update(shard)
        return touched

    def update(self, shard: str) -> None:
        """Look again for the rows of a shard, after one of its objects was created or deleted."""
        for key, place in self._found.pop(shard, ()):
            self.places[key].remove(place)
        if shard in self.log.shards:
            found = self._logged(shard)
        elif self._is_live and not is_retry(shard):
            found = self._stray(shard)
        else:
            return
        self._found[shard] = [(self.key(row), place) for row, place in found]
        for key, place in self._found[shard]:
            self.places.setdefault(key, []).append(place)

    def summary(self) -> dict[str | int, list[str]]:
        """The places of each row, sorted."""
        return {key: sorted(places) for key, places in self.places.items() if places}

    def input_rows(self) -> frozenset[Row]:
        """The rows of all shards that were cut from the input, bad ones included."""
        rows: set[Row] = set()
        for shard, logged in self.log.shards.items():
            if not logged.source:
                rows.update(row for row, _ in self._logged(shard))
                part = self._objects.get(f"part-{shard}.parquet")
                rows.update(decode_part(part).failed if part else ())
        return frozenset(rows)

    @property
    def is_settled(self) -> bool:
        """Whether the input has ended, and each row has an outcome."""
        if not self.log.ended or self.log.cancelled or self.log.discarded:
            return False
        return not any(place in ("waiting", "stray") for places in self.places.values() for place in places)

    @property
    def is_perfect(self) -> bool:
        """Whether each row is in a part, or bad."""
        whole = all(f"part-{shard}.parquet" in self._objects for shard in self.log.shards)
        return whole and all(places in (["part"], ["bad"], []) for places in self.places.values())

    def _logged(self, shard: str) -> list[tuple[Row, str]]:
        part, rows = self._objects.get(f"part-{shard}.parquet"), self._objects.get(f"{ROWS}{shard}.rows")
        found: list[tuple[Row, str]] = []
        if part is not None:
            found += _each(decode_part(part).rows, "part")
            failed = decode_part(part).failed
            if failed and shard not in self.log.retried and not self.log.discarded:
                saved = self._objects.get(f"{FAILED}{shard}.rows", rows)
                if saved is None or not set(failed) <= set(decode_rows(saved).rows):
                    raise BrokenPromiseError(f"the tokens of failed rows of {shard} are gone")
                found += _each(failed, "failed")
        elif rows is not None:
            is_dead = f"{DEAD}{shard}.{self.log.life(shard)}.json" in self._objects
            found += _each(decode_rows(rows).rows, "dead" if is_dead else "waiting")
        elif not self.log.discarded:
            raise BrokenPromiseError(f"{shard} is in the log, and has neither part nor rows")
        return found + self._bad(shard, self.log.shards[shard].quarantined)

    def _stray(self, shard: str) -> list[tuple[Row, str]]:
        content = self._objects.get(f"{ROWS}{shard}.rows")
        if content is None:
            return []
        rows = decode_rows(content)
        return _each(rows.rows, "stray") + [(row, "stray") for row, _ in self._bad(shard, rows.quarantined)]

    def _bad(self, shard: str, quarantined: int) -> list[tuple[Row, str]]:
        if not quarantined or self.log.discarded:
            return []
        content = self._objects.get(f"{QUARANTINE}{shard}.jsonl", b"")
        if len(decode_bad(content)) != quarantined:
            raise BrokenPromiseError(f"bad rows of {shard} are gone: {quarantined} are counted")
        return _each(decode_bad(content), "bad")


def _each(rows: Iterable[Row], place: str) -> list[tuple[Row, str]]:
    return [(row, place) for row in rows]
