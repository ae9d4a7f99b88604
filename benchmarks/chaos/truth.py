"""Whether a claim that a job is complete was true: judged by its objects, read by this program alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from contents import read_log, segments, shard_of

from unrolled.job import names


class Snapshot(NamedTuple):
    """The objects of a job at one moment, by name; the log with its content."""

    segments: list[list[dict[str, Any]]]
    parts: set[str]
    dead: set[str]


def snapshot(place: Path) -> Snapshot:
    """Look at a job now."""
    dead = {path.name.removesuffix(".json") for path in (place / names.DEAD).glob("*.json")}
    parts = {shard_of(path.name) for path in place.glob("*.parquet")}
    return Snapshot(segments(place), parts, dead)


def why_untrue(before: Snapshot, after: Snapshot, rows: int | None) -> str | None:
    """What contradicts the claim that a job was complete at some moment between two looks; None if nothing does.

    Everyone reads the same segments of the log, so the claim is true if it is true of one of its beginnings
    that ended between the two looks: the input had ended, nothing was cancelled, and each shard has a part or is dead.

    Args:
        before: seen before whatever made the claim looked.
        after: seen right after the claim.
        rows: of the input, which must all be in the log then; None where the input is a stream.
    """
    why = "the log is empty"
    for length in range(max(1, len(before.segments)), len(after.segments) + 1):
        log = read_log(after.segments[:length])
        dead = before.dead | after.dead
        lives = {shard: f"{shard}.{log.lives.get(shard, 0)}" for shard in log.entries}
        later = read_log(after.segments).lives  # a life that has a later one was dead
        open_shards = [shard for shard, life in lives.items() if shard not in after.parts and life not in dead
                       and later.get(shard, 0) <= log.lives.get(shard, 0)]  # fmt: skip
        seen = sum(entry["rows"] + entry["quarantined"] for entry in log.entries.values() if not entry["source"])
        if not log.ended or log.stopped:
            why = "its input had not ended, or it was cancelled"
        elif open_shards:
            why = f"neither a part nor a record of death: {open_shards[:3]} of {len(log.entries)} shards"
        elif rows is not None and seen != rows:
            why = f"its log has {seen} of {rows} rows"
        else:
            return None
    return why
