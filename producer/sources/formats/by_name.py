"""The format and the compression of a file, by its name."""

import os
from pathlib import PurePath

from producer.sources.options import Compression, Format

_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv",
    ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".arrows": "arrow", ".ipc": "arrow", ".feather": "arrow",
}  # fmt: skip


def by_extension(path: str) -> tuple[Format, Compression]:
    """Recognize format and compression by the name; a file with an unknown extension is text."""
    stem, extension = os.path.splitext(path)  # noqa: PTH122 - labels stay as given
    compression = _COMPRESSIONS.get(extension.lower(), "none")
    if compression != "none":
        extension = PurePath(stem).suffix
    return _FORMATS.get(extension.lower(), "text"), compression
