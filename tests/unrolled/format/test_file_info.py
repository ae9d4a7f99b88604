"""What a published file may hold, and what a reader refuses."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import FileFormatError, PayloadError
from unrolled.format.file_info import FileInfo
from unrolled.job.shard_id import ShardId, part_name, shard_of_part

INFO = FileInfo("0f" * 32, "fused", "float32", "books-2", ShardId(42, "0123456789ab"), rows=3, tokens=17)

shards = st.builds(ShardId, st.integers(0, 10**12 - 1), st.from_regex(r"[0-9a-f]{12}", fullmatch=True))


def stored(info: FileInfo) -> dict[bytes, bytes]:
    return {key.encode(): value.encode() for key, value in info.encode().items()}


@given(shards)
def test_shard_id_and_file_name_round_trip(shard):
    """A shard's text and its file's name each lead back to the shard."""
    assert ShardId.parse(str(shard)) == shard
    assert shard_of_part(part_name(shard)) == shard


@given(st.lists(shards, min_size=2, max_size=2))
def test_names_sort_by_length_and_text_as_shards_do(pair):
    """Longer names are later shards, so a directory can be put in order without parsing."""
    names = sorted(map(part_name, pair), key=lambda name: (len(name), name))
    assert names == [part_name(shard) for shard in sorted(pair)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "000001-0123456789a",
        "000001-0123456789abc",
        "000001-0123456789AB",
        "00001-0123456789ab",
        "0000001-0123456789ab",
        "1000000000000-0123456789ab",
        "\u0660\u0660\u0660\u0660\u0660\u0661-0123456789ab",  # Arabic digits
        "000001-0123456789ab\n",
        "../../etc/passwd",
        "000001-0123456789ab/../x",
        "-00001-0123456789ab",
        "000001-0123456789ab.parquet" * 1000,
    ],
)
def test_hostile_shard_ids_are_refused(text):
    """Nothing but the one spelling becomes part of a path."""
    with pytest.raises(PayloadError, match="6 to 12 digits"):
        ShardId.parse(text)
    with pytest.raises(PayloadError):
        shard_of_part(f"part-{text}.parquet")


@pytest.mark.parametrize("name", ["000001-0123456789ab", "part-000001-0123456789ab.parquet.tmp", "job.json"])
def test_other_file_names_are_refused(name):
    """A shard's id without its frame is no file name, nor is anything else."""
    if name[0].isdigit():
        assert shard_of_part(f"part-{name}.parquet") == ShardId.parse(name)
    else:
        with pytest.raises(PayloadError):
            shard_of_part(name)


def test_metadata_round_trip():
    """What is encoded is decoded, among keys of others."""
    assert FileInfo.decode({**stored(INFO), b"ARROW:schema": b"\xff"}) == INFO


def test_metadata_tells_nothing_of_the_attempt():
    """The keys are these and no others: no time, no host, no attempt."""
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
        {"shard": ShardId(-1, "0123456789ab")},
    ],
)
def test_malformed_metadata_is_refused_at_both_ends(change):
    """What could not be read again is not written."""
    with pytest.raises(FileFormatError, match=next(iter(change))):
        replace(INFO, **change).encode()
