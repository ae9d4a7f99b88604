"""Reading the objects of a simulated job for the checks. Results are cached, because a run reads each object often.

Segments are read without the product's code, so that a fault in that code can't hide itself. Parts are JSON instead of
Parquet: the rows that were computed, and the rows that failed. Rows are the product's own payloads.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from unrolled.errors import FileFormatError
from unrolled.job import names, payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.objects import Objects

#: Most decoded objects in a cache: those of several runs.
_KEPT = 4096


class Row(NamedTuple):
    """One row of one token.

    Attributes:
        id: the row's id.
        token: its only token; no two rows of an input have one token.
    """

    id: str
    token: int


class Rows(NamedTuple):
    """A shard's rows.

    Attributes:
        rows: the rows, in order.
        quarantined: how many more rows of the same cut are bad.
        job: the id of their job.
    """

    rows: tuple[Row, ...]
    quarantined: int
    job: str


class Part(NamedTuple):
    """A part.

    Attributes:
        rows: the computed rows.
        failed: the failed rows.
        numbers: the numbers of the failed rows in their shard.
    """

    rows: tuple[Row, ...]
    failed: tuple[Row, ...]
    numbers: tuple[int, ...]


def encode_part(rows: Sequence[Row], failed: Sequence[int]) -> bytes:
    """A part of some rows, of which those with the numbers in `failed` have failed."""
    kept = [row for number, row in enumerate(rows) if number not in failed]
    return json.dumps([kept, [rows[number] for number in failed], failed]).encode()


@functools.lru_cache(_KEPT)
def decode_part(content: bytes) -> Part:
    """Read a part.

    Raises:
        FileFormatError: the part is damaged.
    """
    try:
        rows, failed, numbers = json.loads(content)
    except ValueError as error:
        raise FileFormatError(f"a damaged part: {error}") from error
    return Part(tuple(Row(*row) for row in rows), tuple(Row(*row) for row in failed), tuple(numbers))


def failed_numbers(objects: Objects, shard: ShardId) -> Sequence[int] | None:
    """The numbers of the rows that a shard's part names as failed, in place of `failed_rows`; None without a part."""
    content = objects.read(names.part_object(shard))
    return None if content is None else decode_part(content).numbers


def ids_of_failed(objects: Objects, shard: ShardId) -> Sequence[str] | None:
    """The ids of the rows that a shard's part names as failed, in place of `failed_ids`; None without a part."""
    content = objects.read(names.part_object(shard))
    return None if content is None else [row.id for row in decode_part(content).failed]


@functools.lru_cache(_KEPT)
def decode_rows(content: bytes) -> Rows:
    """Read a shard's rows."""
    found = payload.decode(content)
    ids, tokens = found.ids.to_pylist(), found.tokens.values.tolist()
    return Rows(tuple(map(Row, ids, tokens)), found.facts["quarantined"], found.facts["job"])


def encode_bad(rows: Sequence[Row], growth: int = 0) -> list[bytes]:
    """The lines of a list of bad rows, with the number of their growth, as `producer.enqueue.shard` writes it."""
    return [json.dumps(row._asdict() | {"growth": growth}).encode() + b"\n" for row in rows]


@functools.lru_cache(_KEPT)
def decode_bad(content: bytes) -> tuple[Row, ...]:
    """The rows in a list of bad rows."""
    return tuple(Row(line["id"], line["token"]) for line in map(json.loads, content.splitlines()))


@functools.lru_cache(_KEPT)
def decode_segment(content: bytes) -> tuple[dict[str, Any], ...]:
    """The lines of a segment: its head, then its entries."""
    return tuple(json.loads(line) for line in content.splitlines())
