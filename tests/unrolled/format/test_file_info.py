"""The metadata of a published file: what it may contain, and what is refused."""

import re
from dataclasses import replace

import pytest

from unrolled.errors import FileFormatError
from unrolled.format.file_info import FileInfo
from unrolled.job.shard_id import ShardId

INFO = FileInfo("0f" * 32, "fused", "float32", "books-2", ShardId(42, "0123456789ab"), rows=3, tokens=17)


def stored(info: FileInfo) -> dict[bytes, bytes]:
    return {key.encode(): value.encode() for key, value in info.encode().items()}


def test_metadata_round_trip():
    """Metadata that is encoded can be decoded, also among other programs' keys."""
    assert FileInfo.decode({**stored(INFO), b"ARROW:schema": b"\xff"}) == INFO


def test_metadata_tells_nothing_of_the_attempt():
    """There are these keys and no others: no time, no host, no number of attempts."""
    assert sorted(INFO.encode()) == [
        "unrolled.arithmetic",
        "unrolled.engine",
        "unrolled.format_version",
        "unrolled.job",
        "unrolled.libraries",
        "unrolled.model_fingerprint",
        "unrolled.rows",
        "unrolled.shard",
        "unrolled.tokens",
        "unrolled.version",
    ]


@pytest.mark.parametrize("key", sorted(set(INFO.encode()) - {"unrolled.version", "unrolled.libraries"}))
def test_missing_metadata_is_named(key):
    """A file without one of our keys was not written by Unrolled, and the text says which key is missing."""
    metadata = stored(INFO)
    del metadata[key.encode()]
    with pytest.raises(FileFormatError, match=re.escape(key)):
        FileInfo.decode(metadata)


def test_no_metadata_is_refused():
    """A Parquet file of another program may have no metadata at all."""
    with pytest.raises(FileFormatError, match="not written by unrolled"):
        FileInfo.decode(None)


def test_unknown_format_version_names_both():
    """The text says which version the file has and which one this release reads."""
    with pytest.raises(FileFormatError, match=r"version 2; this release reads version 1"):
        FileInfo.decode({**stored(INFO), b"unrolled.format_version": b"2"})


@pytest.mark.parametrize(
    "change",
    [
        {"rows": -1},
        {"tokens": 10**18},
        {"model_fingerprint": "0f"},
        {"engine": ""},
        {"job": "../x"},
        {"arithmetic": "float 32"},
    ],
)
def test_malformed_metadata_is_refused_at_both_ends(change):
    """A value that `decode` would refuse is not written."""
    with pytest.raises(FileFormatError, match=next(iter(change))):
        replace(INFO, **change).encode()
