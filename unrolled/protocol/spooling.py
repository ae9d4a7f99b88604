"""A shard's rows, which are made durable before a segment names them; equal rows give equal bytes in every process.

A shard's name is a function of everything in it: rows, ids, bad rows, the job, its place and, for a retry, its source.
"""

# Over 150 lines: making a shard's rows, and reading them with every check.

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from unrolled.errors import PayloadError
from unrolled.format.rows_digest import rows_digest
from unrolled.job import payload
from unrolled.job.names import quarantine_object, rows_object
from unrolled.job.segment import Entry
from unrolled.job.shard_id import ShardId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.protocol.objects import Objects
    from unrolled.tokenization.ragged import Ragged

_JOB = re.compile(r"[0-9a-f]{16}")


class Spooled(NamedTuple):
    """A shard's rows in the form in which they are made durable.

    Attributes:
        entry: the shard's entry in the log.
        rows: the payload's bytes.
        quarantine: lines of JSON, one for each bad row of the shard; empty if there is none.
    """

    entry: Entry
    rows: bytes
    quarantine: bytes = b""


class Place(NamedTuple):
    """The origin of a shard's first row.

    Attributes:
        number: the shard's number in its job, from 0.
        file: the input's name.
        position: the row's number in that input.
        growth: how many times rows had been appended to the input when it was cut.
    """

    number: int
    file: str
    position: int
    growth: int = 0


def make_rows(job: str, place: Place, ids: Sequence[str], tokens: Ragged, bad: Sequence[bytes] = ()) -> Spooled:
    """Encode the rows of a shard that was cut from the input; equal rows always give equal bytes.

    Args:
        job: the job's id.
        place: the origin of the first row.
        ids: one id for each row.
        tokens: token ids as they were read, padding zeros included.
        bad: one line of JSON, with its line end, for each row that can't be used.

    Raises:
        PayloadError: a token id is negative, or the file's name is too long.
    """
    quarantine = b"".join(bad)
    facts = {
        "job": job,
        "index": place.number,
        "retries": 0,
        "source": None,
        "file": place.file,
        "position": place.position,
        "quarantined": len(bad),
        "bad": hashlib.sha256(quarantine).hexdigest(),
    }
    if place.growth:
        facts["growth"] = place.growth
    content = payload.encode(payload.Payload(payload.strings(ids), tokens, _counted(facts, ids, tokens)))
    return Spooled(entry_of(content), content, quarantine)


def select_rows(content: bytes, rows: Sequence[int]) -> bytes:
    """Encode some rows of a payload, chosen by number; the payload's facts stay as they are.

    Raises:
        PayloadError: the payload is damaged, or a number is out of range.
    """
    ids, tokens, facts = _parts(content)
    if any(not 0 <= row < tokens.rows for row in rows):
        raise PayloadError(
            f"a row of {tokens.rows} is called failed that isn't among them; the part is not this shard's"
        )
    chosen = pa.array(rows, pa.int64())
    return payload.encode(payload.Payload(ids.take(chosen), tokens.select(rows), facts))


def make_retry(source: ShardId, failed: bytes) -> Spooled:
    """Encode the rows of the shard that retries a shard's failed rows.

    Args:
        source: the shard whose part names the rows as failed.
        failed: the content of its `failed` object.

    Raises:
        PayloadError: the content is damaged.
    """
    ids, tokens, facts = _parts(failed)
    facts = facts | {"source": str(source), "retries": source.retries + 1, "quarantined": 0, "bad": ""}
    content = payload.encode(payload.Payload(ids, tokens, _counted(facts, ids.to_pylist(), tokens)))
    return Spooled(entry_of(content), content)


def growth_of(content: bytes) -> int:
    """How many times rows had been appended to the input when the shard with these rows was cut.

    Raises:
        PayloadError: the payload is damaged.
    """
    return _growth(_parts(content)[2])


def growth_in_list(content: bytes) -> int:
    """How many times rows had been appended to the input when the shard with this list of bad rows was cut.

    Raises:
        PayloadError: the list is damaged.
    """
    try:
        return _growth(json.loads(content.partition(b"\n")[0]))
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"the list of bad rows can't be read: {error!s:.80}") from error


def entry_of(content: bytes) -> Entry:
    """The log's entry for the shard with these rows.

    Raises:
        PayloadError: the payload is damaged.
    """
    _, tokens, facts = _parts(content)
    source = facts["source"]
    return Entry(
        shard=ShardId(facts["index"], payload.content_hash(content), facts["retries"]),
        rows=tokens.rows,
        tokens=facts["tokens"],
        size=tokens.values.size,
        quarantined=facts["quarantined"],
        digest=facts["digest"],
        source=None if source is None else ShardId.parse(source),
        file=facts["file"],
        position=facts["position"],
    )


def spool(objects: Objects, spooled: Spooled) -> None:
    """Make a shard's rows durable, the bad ones first; from now on none can be lost."""
    if spooled.quarantine:
        objects.create(quarantine_object(spooled.entry.shard), spooled.quarantine)
    objects.create(rows_object(spooled.entry.shard), spooled.rows)


def _growth(facts: object) -> int:
    growth = facts.get("growth", 0) if isinstance(facts, dict) else None
    if type(growth) is not int:
        raise PayloadError("the number of a growth is expected")
    return growth


def _counted(facts: dict[str, Any], ids: Sequence[str], tokens: Ragged) -> dict[str, Any]:
    return facts | {"tokens": int(np.count_nonzero(tokens.values)), "digest": rows_digest(ids, tokens)}


def _parts(content: bytes) -> tuple[pa.StringArray, Ragged, dict[str, Any]]:
    found = payload.decode(content)
    facts = found.facts
    counts = ("index", "retries", "position", "quarantined", "tokens")
    sound = all(type(facts.get(name)) is int and 0 <= facts[name] < 10**12 for name in counts)
    sound = sound and all(isinstance(facts.get(name), str) for name in ("job", "file", "bad", "digest"))
    sound = sound and (facts.get("source") is None or isinstance(facts["source"], str))
    if not sound or not _JOB.fullmatch(facts["job"]):
        raise PayloadError("the payload's facts are not those of a shard")
    return found.ids, found.tokens, facts
