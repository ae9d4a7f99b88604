"""Files in a job's directory that are not the job's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import PayloadError, TransientError
from unrolled.job.shard_id import ShardId, shard_of_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.job.directory import JobDirectory


def find_strays(directory: JobDirectory, shards: set[ShardId]) -> list[tuple[str, str]]:
    """Visible files that a reader would take for parts, or that were never finished.

    Args:
        directory: of the job.
        shards: those in the manifest.

    Returns:
        The name of each file, and what it is.

    Raises:
        TransientError: the directory can't be read now.
    """
    places = {shard.index: shard for shard in shards}
    found = []
    for name in sorted(_names(directory)):
        if name.startswith((".", "_")):
            continue
        if name.endswith(".parquet"):
            shard = _shard_of(name)
            if shard in shards:
                continue
            twin = places.get(shard.index) if shard else None
            what = (
                f"shard {twin} has that place, so its rows are here twice" if twin else "no shard of this job is in it"
            )
            found.append((name, f"stray file: {what}; move it away"))
        elif name.endswith((".tmp", ".part", ".partial")):
            found.append((name, "visible temporary file; move it away"))
    return found


def find_leftovers(directory: JobDirectory, shards: set[ShardId]) -> Iterator[str]:
    """Lines on what is untidy and harmless, one for each kind."""
    published = directory.published()
    waiting = directory.waiting()
    if count := len(waiting & published):
        yield f"{count:,} published shard(s) still have their rows in _pending; a worker removes them"
    if count := len(waiting - shards):
        yield f"{count:,} shard(s) in _pending are not in the manifest; the next `unrolled enqueue` removes them"
    if count := len(directory.given_up() & published):
        yield f"{count:,} published shard(s) are recorded as dead; `unrolled retry` removes the records"
    if count := sum(name.startswith(".part-") for name in _names(directory)):
        yield f"{count:,} hidden temporary file(s) of workers that died or are still writing; readers skip them"


def _shard_of(name: str) -> ShardId | None:
    try:
        return shard_of_part(name)
    except PayloadError:
        return None


def _names(directory: JobDirectory) -> list[str]:
    try:
        return [path.name for path in directory.path.iterdir()]
    except OSError as error:
        raise TransientError(f"{directory.path}: can't be read now: {error.strerror or error}") from error
