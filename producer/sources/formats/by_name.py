"""The format and the compression of a file, by its name."""

import os
from pathlib import PurePath

from producer.sources.options import Compression, Format

_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv",
    ".fasta": "fasta", ".fa": "fasta", ".faa": "fasta", ".fna": "fasta", ".ffn": "fasta", ".fas": "fasta",
    ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".arrows": "arrow", ".ipc": "arrow", ".feather": "arrow",
}  # fmt: skip
_TEXTS = (".txt", ".text")


def by_extension(path: str) -> tuple[Format, Compression]:
    """Recognize format and compression by the name; a file with an unknown extension is text."""
    extension, compression = _extensions(path)
    return _FORMATS.get(extension, "text"), compression


def shows_format(path: str) -> bool:
    """Whether a file's name shows its format: it ends in one of the known extensions."""
    extension, _ = _extensions(path)
    return extension in _FORMATS or extension in _TEXTS


def extensions(path: str) -> str:
    """The extensions of a file's name that show its format and compression, as they are written."""
    stem, extension = os.path.splitext(path)  # noqa: PTH122 - labels stay as given
    return PurePath(stem).suffix + extension if extension.lower() in _COMPRESSIONS else extension


def _extensions(path: str) -> tuple[str, Compression]:
    """The extension of the content, in small letters, and the compression."""
    stem, extension = os.path.splitext(path)  # noqa: PTH122 - labels stay as given
    compression = _COMPRESSIONS.get(extension.lower(), "none")
    if compression != "none":
        extension = PurePath(stem).suffix
    return extension.lower(), compression
