"""The list of a shard's bad rows: one line of JSON for each, and in the last line a checksum of the whole list.

The checksum, `sha256`, covers the job, the shard's number and every byte before it, so a list that has lost a line, or
that belongs to another shard, doesn't pass either. Like the seal of a part, it finds damage, not malice.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from unrolled.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The bytes before and after the checksum's 64 digits at the end of a list.
_BEFORE, _AFTER = b', "sha256": "', b'"}\n'
_SEAL_BYTES = len(_BEFORE) + 64 + len(_AFTER)


def encode_bad_rows(job: str, index: int, rows: Sequence[dict[str, Any]]) -> list[bytes]:
    """The lines of a list; equal rows always give equal lines.

    Args:
        job: the job's id.
        index: the shard's number in its job.
        rows: each with at least one field.
    """
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    if lines:
        body = b"".join(lines)[: -len(b"}\n")]
        lines[-1] = lines[-1][: -len(b"}\n")] + _seal(job, index, body)
    return lines


def decode_bad_rows(job: str, index: int, content: bytes) -> list[dict[str, Any]]:
    """Read a list from an untrusted source.

    Args:
        job: the job's id.
        index: the shard's number in its job.
        content: the list's bytes.

    Returns:
        The rows, each with file, position, id and reason.

    Raises:
        PayloadError: the list is damaged.
    """
    if content[-_SEAL_BYTES:] != _seal(job, index, content[:-_SEAL_BYTES]):
        raise PayloadError("its checksum is not that of its content")
    try:
        rows = [json.loads(line) for line in content.splitlines()]
        for row in rows:
            if not {"file", "position", "id", "reason"} <= row.keys():
                raise PayloadError("a row lacks a field")
    except (ValueError, AttributeError, RecursionError) as error:
        raise PayloadError(f"it isn't one JSON object on each line: {error!s:.80}") from error
    return rows


def _seal(job: str, index: int, body: bytes) -> bytes:
    digest = hashlib.sha256(f"{job} {index}\n".encode())
    digest.update(body)
    return _BEFORE + digest.hexdigest().encode() + _AFTER
