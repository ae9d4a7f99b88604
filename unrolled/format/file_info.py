"""The metadata of a published file: which model, engine, job and shard it comes from, and how much is in it.

The metadata contains nothing that differs between two attempts (no time, no host, no attempt number), so the same rows
give the same bytes. A format version is fixed: another key or column, or another meaning of one, is another version.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Self

from unrolled.errors import FileFormatError, PayloadError
from unrolled.job.shard_id import _SHARD, ShardId

FORMAT_VERSION = 1
METADATA_PREFIX = "unrolled."

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_COUNT = re.compile(r"0|[1-9][0-9]{0,17}")


def release() -> str:
    """The installed version of Unrolled; "unknown" if it runs from sources that are not installed."""
    return _installed("unrolled") or "unknown"


@cache
def _installed(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 0.05 s that most commands don't need

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _libraries(engine: str) -> str:
    """The libraries that computed and wrote the bytes: "numpy 2.4.0, pyarrow 26.0.0"."""
    names = ["numpy", "pyarrow", *(["tensorflow"] if engine == "tensorflow" else [])]
    return ", ".join(f"{name} {_installed(name)}" for name in names if _installed(name))


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Where a file comes from and how much is in it.

    Attributes:
        model_fingerprint: SHA-256 of the model directory, 64 hexadecimal digits.
        engine: the engine that computed the vectors, "fused" or "tensorflow".
        arithmetic: how it computed them, "float32" or "bfloat16".
        job: id of the job.
        shard: which shard of the job.
        rows: number of rows.
        tokens: number of real tokens, the sum of `length`.
    """

    model_fingerprint: str
    engine: str
    arithmetic: str
    job: str
    shard: ShardId
    rows: int
    tokens: int

    def encode(self) -> dict[str, str]:
        """The file's key-value metadata.

        Raises:
            FileFormatError: `decode` would refuse a value.
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
            "version": release(),
            "libraries": _libraries(self.engine),
        }
        metadata = {METADATA_PREFIX + key: str(value) for key, value in fields.items()}
        self.decode({key.encode(): value.encode() for key, value in metadata.items()})
        return metadata

    @classmethod
    def decode(cls, metadata: Mapping[bytes, bytes] | None) -> Self:
        """Read the key-value metadata of a file; keys of other programs are ignored.

        Raises:
            FileFormatError: Unrolled did not write the file, it has another format version, or a value is malformed.
        """
        found = metadata or {}

        def text(key: str, allowed: re.Pattern[str]) -> str:
            value = found.get((METADATA_PREFIX + key).encode())
            if value is None:
                raise FileFormatError(
                    f"metadata {METADATA_PREFIX}{key} is missing; the file was not written by unrolled"
                )
            decoded = value.decode("utf-8", errors="replace")
            if not allowed.fullmatch(decoded):
                raise FileFormatError(f"metadata {METADATA_PREFIX}{key} is {decoded[:80]!r}, not {allowed.pattern}")
            return decoded

        if (stored := int(text("format_version", _COUNT))) != FORMAT_VERSION:
            raise FileFormatError(
                f"file of format version {stored}; this release reads version {FORMAT_VERSION}:"
                " use the release of unrolled that wrote it, or write it again"
            )
        try:
            shard = ShardId.parse(text("shard", _SHARD))
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
        )
