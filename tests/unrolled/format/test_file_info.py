"""What a published file may hold, and what a reader refuses."""

import re
from dataclasses import replace

import pytest

from unrolled.errors import FileFormatError
from unrolled.format.file_info import LONGEST_REASON, FailedRow, FileInfo
from unrolled.job.shard_id import ShardId

FAILED = (FailedRow(0, "books#9", "token id 7 is above 6"), FailedRow(3, "Straße 🎉", "…"))
INFO = FileInfo("0f" * 32, "fused", "float32", "books-2", ShardId(42, "0123456789ab"), rows=3, tokens=17, failed=FAILED)


def stored(info: FileInfo) -> dict[bytes, bytes]:
    return {key.encode(): value.encode() for key, value in info.encode().items()}


def test_metadata_round_trip():
    """What is encoded is decoded, among keys of others."""
    assert FileInfo.decode({**stored(INFO), b"ARROW:schema": b"\xff"}) == INFO


def test_metadata_tells_nothing_of_the_attempt():
    """The keys are these and no others: no time, no host, no attempt, no version of a library."""
    assert sorted(INFO.encode()) == [
        "unrolled.arithmetic",
        "unrolled.engine",
        "unrolled.failed",
        "unrolled.format_version",
        "unrolled.job",
        "unrolled.model_fingerprint",
        "unrolled.rows",
        "unrolled.shard",
        "unrolled.tokens",
    ]


@pytest.mark.parametrize("key", sorted(INFO.encode()))
def test_missing_metadata_is_named(key):
    """A file without one of our keys is not ours, and the text says which."""
    metadata = stored(INFO)
    del metadata[key.encode()]
    with pytest.raises(FileFormatError, match=re.escape(key)):
        FileInfo.decode(metadata)


def test_no_metadata_is_refused():
    """A Parquet file of somebody else's has none at all."""
    with pytest.raises(FileFormatError, match="not written by unrolled"):
        FileInfo.decode(None)


def test_unknown_format_version_names_both():
    """A file of a later release says which version it is of and which one is read here."""
    with pytest.raises(FileFormatError, match=r"version 3; this release reads version 2"):
        FileInfo.decode({**stored(INFO), b"unrolled.format_version": b"3"})


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
    """What could not be read again is not written."""
    with pytest.raises(FileFormatError, match=next(iter(change))):
        replace(INFO, **change).encode()


def test_reasons_are_cut():
    """The reasons of a whole shard of failed rows fit in a footer."""
    info = replace(INFO, failed=(FailedRow(1, "a", "x" * 10_000),))
    assert FileInfo.decode(stored(info)).failed == (FailedRow(1, "a", "x" * LONGEST_REASON),)


@pytest.mark.parametrize(
    "failed",
    [
        "",
        "{}x",
        "3",
        '{"row": 1}',
        "[[1]]",
        '[[1, "a", "b", "c"]]',
        '[["1", "a", "b"]]',
        '[[true, "a", "b"]]',
        '[[-1, "a", "b"]]',
        '[[1, 2, "b"]]',
        '[[1, "a", null]]',
        '[[1, "a", "b"], [1, "a", "b"]]',
        '[[2, "a", "b"], [1, "a", "b"]]',
        "[" * 100_000,
    ],
)
def test_malformed_lists_of_failed_rows_are_refused(failed):
    """The numbers decide which rows are kept when a shard's rows are deleted: each is a row's, and occurs once."""
    with pytest.raises(FileFormatError, match=r"unrolled\.failed"):
        FileInfo.decode({**stored(INFO), b"unrolled.failed": failed.encode()})
