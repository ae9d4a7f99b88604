"""The metadata of a part; `unrolled.format.schema` describes its columns.

The metadata says where the part comes from, and which rows of its shard failed. It holds nothing that differs between
two attempts (no time, no host, no attempt number, no version of a library): the same rows give the same bytes.

What is in a format version is fixed: another column, or another meaning of one, is another version.
"""

# Over 150 lines: writing the metadata, and reading it with every check.

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple, Self

from unrolled.errors import FileFormatError, PayloadError, RequestError
from unrolled.format.positions import Positions
from unrolled.job.shard_id import ShardId

FORMAT_VERSION = 2
METADATA_PREFIX = "unrolled."
#: The end of what is wrong with a file that has none of its keys.
FOREIGN = "the file was not written by unrolled"
_POSITIONS = (METADATA_PREFIX + "positions").encode()

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_COUNT = re.compile(r"0|[1-9][0-9]{0,17}")
_ANY = re.compile(r".*", re.DOTALL)
#: Characters of a reason that are kept: a whole shard of failed rows must fit in a footer.
LONGEST_REASON = 300


@cache
def release() -> str:
    """The installed version of this product, "unknown" if it runs from sources that are not installed."""
    # Here, because it takes 0.05 s, and a command line that only names shards doesn't use it.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("unrolled")
    except PackageNotFoundError:
        return "unknown"


#: In the reason of a row that no retry helps.
ENDS_ALIKE = "a retry ends alike"


class FailedRow(NamedTuple):
    """A row of a shard that the engine could not compute.

    Attributes:
        row: its number in the shard's rows, from 0.
        id: the row's id.
        reason: what happened, for people; at most `LONGEST_REASON` characters.
    """

    row: int
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Where a file comes from and how much is in it.

    Attributes:
        model_fingerprint: SHA-256 of the model directory, 64 hexadecimal digits.
        engine: what computed the outputs, "fused" or "tensorflow".
        arithmetic: how they were computed, "float32", "bfloat16" or "bfloat16x3".
        job: id of the job.
        shard: which shard of the job.
        rows: number of rows.
        tokens: number of real tokens, which is the sum of `length`.
        failed: the rows of the shard that are not in the part, because the engine could not compute them.
        positions: the tokens whose vectors are stored; None for all tokens, and then the metadata has no such key.
    """

    model_fingerprint: str
    engine: str
    arithmetic: str
    job: str
    shard: ShardId
    rows: int
    tokens: int
    failed: tuple[FailedRow, ...] = ()
    positions: Positions | None = None

    def encode(self) -> dict[str, str]:
        """The file's key-value metadata.

        Raises:
            FileFormatError: a value is one that `decode` would refuse.
        """
        fields = {
            "format_version": FORMAT_VERSION,
            "model_fingerprint": self.model_fingerprint,
            "engine": self.engine,
            "arithmetic": self.arithmetic,
            "job": self.job,
            "shard": self.shard,
            "rows": self.rows,
            "tokens": self.tokens,
            "failed": json.dumps([(row, row_id, reason[:LONGEST_REASON]) for row, row_id, reason in self.failed]),
        }
        if self.positions is not None:
            fields["positions"] = json.dumps(self.positions.to_json())
        metadata = {METADATA_PREFIX + key: str(value) for key, value in fields.items()}
        self.decode({key.encode(): value.encode() for key, value in metadata.items()})
        return metadata

    @classmethod
    def decode(cls, metadata: Mapping[bytes, bytes] | None) -> Self:
        """Read the key-value metadata of a file; keys of others are left alone.

        Raises:
            FileFormatError: the file is not ours, of another format version, or a value is malformed.
        """
        found = metadata or {}

        def text(key: str, allowed: re.Pattern[str]) -> str:
            value = found.get((METADATA_PREFIX + key).encode())
            if value is None:
                raise FileFormatError(f"metadata {METADATA_PREFIX}{key} is missing; {FOREIGN}")
            decoded = value.decode("utf-8", errors="replace")
            if not allowed.fullmatch(decoded):
                raise FileFormatError(f"metadata {METADATA_PREFIX}{key} is {decoded[:80]!r}, not {allowed.pattern}")
            return sys.intern(decoded)  # most of it is the same in all parts of a job

        if (stored := int(text("format_version", _COUNT))) != FORMAT_VERSION:
            raise FileFormatError(
                f"file of format version {stored}; this release reads version {FORMAT_VERSION}:"
                " use the release of unrolled that wrote it, or write it again"
            )
        try:
            shard = ShardId.parse(text("shard", _ANY))
        except PayloadError as error:
            raise FileFormatError(f"metadata {METADATA_PREFIX}shard: {error}") from error
        return cls(
            model_fingerprint=text("model_fingerprint", _FINGERPRINT),
            engine=text("engine", _WORD),
            arithmetic=text("arithmetic", _WORD),
            job=text("job", _WORD),
            shard=shard,
            rows=int(text("rows", _COUNT)),
            tokens=int(text("tokens", _COUNT)),
            failed=_failed(text("failed", _ANY)),
            positions=_positions(text("positions", _ANY)) if _POSITIONS in found else None,
        )


def _positions(text: str) -> Positions:
    try:
        return Positions.from_json(json.loads(text))
    except (ValueError, TypeError, RecursionError, RequestError) as error:
        raise FileFormatError(f"metadata {METADATA_PREFIX}positions is {text[:80]!r}: {error}") from error


def _failed(text: str) -> tuple[FailedRow, ...]:
    try:
        rows = tuple(FailedRow(*row) for row in json.loads(text))
    except (ValueError, TypeError, RecursionError):
        rows = (FailedRow(-1, "", ""),)
    sound = all(
        type(row.row) is int and row.row >= 0 and isinstance(row.id, str) and isinstance(row.reason, str)
        for row in rows
    )
    if not sound or any(a.row >= b.row for a, b in pairwise(rows)):
        raise FileFormatError(f"metadata {METADATA_PREFIX}failed is {text[:80]!r}, not a list of rows by number")
    return rows
