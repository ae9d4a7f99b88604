"""What the objects of a job contain, read without the product's protocol, from where a disk or a server keeps them."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from unrolled.job import names, payload


class PartRows(NamedTuple):
    """The rows of a part.

    Attributes:
        ids: of those that it holds.
        failed: ids of those that it calls failed.
    """

    ids: list[str]
    failed: list[str]


def parts(place: Path) -> dict[str, bytes]:
    """All parts: name → content."""
    return {path.name: path.read_bytes() for path in place.glob("*.parquet")}


def read_part(content: bytes) -> PartRows:
    """The rows of a part, whose pages must have their checksums."""
    file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
    failed = json.loads(file.metadata.metadata[b"unrolled.failed"])
    return PartRows(file.read()["id"].to_pylist(), [row_id for _, row_id, _ in failed])


def shard_of(part: str) -> str:
    """The shard of a part, by its name."""
    return part.removeprefix("part-").removesuffix(".parquet")


def quarantined(place: Path) -> list[str]:
    """Ids of the rows that the producer refused."""
    files = sorted((place / names.QUARANTINE).glob("*.jsonl"))
    return [json.loads(line)["id"] for path in files for line in path.read_text().splitlines()]


def waiting(place: Path) -> set[str]:
    """Ids of the rows that wait for their part."""
    found: set[str] = set()
    for path in (place / names.ROWS).glob("*.rows"):
        with suppress(FileNotFoundError):  # its part exists by now
            found |= set(rows_of(path))
    return found


def rows_of(path: Path) -> list[str]:
    """Ids of the rows of one shard that waits."""
    ids: list[str] = payload.decode(path.read_bytes()).ids.to_pylist()
    return ids


class RawLog(NamedTuple):
    """What the segments say.

    Attributes:
        entries: of each shard, in order.
        lives: of each shard that was given another one.
        retried: shards whose failed rows are in a shard of their own.
        ended, stopped: whether the input has ended; whether the job is cancelled or discarded.
    """

    entries: dict[str, dict[str, Any]]
    lives: dict[str, int]
    retried: set[str]
    ended: bool
    stopped: bool


def segments(place: Path) -> list[list[dict[str, Any]]]:
    """The lines of each segment of the log."""
    found: list[list[dict[str, Any]]] = []
    while (path := place / names.segment_name(len(found))).exists():
        found.append(_lines(path))
    return found


@cache
def _lines(path: Path) -> list[dict[str, Any]]:
    """Of a segment, which never changes: `unrolled verify` reads it again at the end."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_log(found: list[list[dict[str, Any]]]) -> RawLog:
    """What some segments say, as docs/guarantees.md and the format say that they are read."""
    entries: dict[str, dict[str, Any]] = {}
    lives: dict[str, int] = {}
    ended = cancelled = discarded = False
    for head, *lines in found:
        for entry in lines:
            entries.setdefault(entry["shard"], entry)
        lives |= head.get("lives", {})
        kind = head["segment"]
        ended = kind == "end" or (ended and kind not in ("begin", "append"))
        cancelled = kind == "cancel" or (cancelled and kind not in ("resume", "begin"))
        discarded = discarded or kind == "discard"
    retried = {entry["source"] for entry in entries.values() if entry["source"]}
    return RawLog(entries, lives, retried, ended, cancelled or discarded)
