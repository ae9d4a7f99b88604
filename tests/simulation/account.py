"""Where every row of a job is, by the objects that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulation.content import Row, decode_bad, decode_part, decode_rows, decode_segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOG, ROWS, QUARANTINE, FAILED, DEAD = (
    f"_unrolled/{folder}/" for folder in ("log", "rows", "quarantine", "failed", "dead")
)

JOB = "_unrolled/job.json"


class Violation(AssertionError):
    """A promise was broken."""


def shard_in(name: str) -> str:
    """The shard in an object's name."""
    return name.rpartition("/")[2].removeprefix("part-").partition(".")[0]


def is_retry(shard: str) -> bool:
    """Whether a shard brings failed rows again."""
    return "r" in shard


class Logged(NamedTuple):
    """What the log says of a shard.

    Attributes:
        rows: how many it has.
        quarantined: how many rows of the same cut are bad.
        source: the shard whose failed rows these are; empty for rows of the input.
    """

    rows: int
    quarantined: int
    source: str


class Decisions:
    """What the segments of a log say, read without the product's code.

    Attributes:
        length: how many segments there are.
        shards: by name, in the order of the log.
        retried: shards whose failed rows have another shard.
        lives: the present life of each shard that was dead.
        ended: the input was read to its end.
    """

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.length = 0
        self.shards: dict[str, Logged] = {}
        self.retried: set[str] = set()
        self.lives: dict[str, int] = {}
        self.ended = self.cancelled = self.discarded = False
        while (content := objects.get(f"{LOG}{self.length:06d}.jsonl")) is not None:
            self._apply(content)
        if self.shards and JOB not in objects:
            raise Violation("the log has shards, and nothing says whose")
        if self.length < sum(name.startswith(LOG) for name in objects):
            raise Violation(f"the log has a hole: segment {self.length} isn't there, and a later one is")

    def _apply(self, content: bytes) -> None:
        self.length += 1
        head, *entries = decode_segment(content)
        for entry in entries:
            source = entry["source"] or ""
            self.shards.setdefault(entry["shard"], Logged(entry["rows"], entry["quarantined"], source))
            if source:
                self.retried.add(source)
        self.lives.update(head.get("lives", {}))
        kind = head["segment"]
        if kind in ("begin", "resume", "cancel"):
            self.cancelled = kind == "cancel"
        if kind in ("begin", "end"):
            self.ended = kind == "end"
        self.discarded |= kind == "discard"

    def life(self, shard: str) -> int:
        """The present life of a shard."""
        return self.lives.get(shard, 0)


class Account:
    """Where each row of a job is: "part", "failed", "dead", "bad", "waiting", or in a "stray" that no segment names.

    Attributes:
        log: what was decided.
        places: all places of each row, by its token in a live job, which may number its rows as it likes, and by its id
            in a file's, which may change between two readings.

    Raises:
        Violation: a row's tokens are nowhere.
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
        """By what a row is known."""
        return row.token if self._is_live else row.id

    def update(self, shard: str) -> None:
        """Look again for the rows of a shard, of which an object was created or deleted."""
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

    def input_rows(self) -> frozenset[Row]:
        """The rows of all shards that were cut from the input, the bad ones included."""
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
                    raise Violation(f"the tokens of failed rows of {shard} are gone")
                found += _each(failed, "failed")
        elif rows is not None:
            is_dead = f"{DEAD}{shard}.{self.log.life(shard)}.json" in self._objects
            found += _each(decode_rows(rows).rows, "dead" if is_dead else "waiting")
        elif not self.log.discarded:
            raise Violation(f"{shard} is in the log, and has neither part nor rows")
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
            raise Violation(f"bad rows of {shard} are gone: {quarantined} are counted")
        return _each(decode_bad(content), "bad")


def _each(rows: Iterable[Row], place: str) -> list[tuple[Row, str]]:
    return [(row, place) for row in rows]
