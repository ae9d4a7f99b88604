"""The name of a shard: one spelling, an order, and nothing that leads out of a directory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import PayloadError
from unrolled.job.shard_id import MOST_RETRIES, ShardId, part_name, shard_of_part

shards = st.builds(
    ShardId,
    st.integers(0, 10**12 - 1),
    st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    st.integers(0, MOST_RETRIES),
)


@given(shards)
def test_shard_id_and_file_name_round_trip(shard):
    """A shard's text and its file's name each lead back to the shard."""
    assert ShardId.parse(str(shard)) == shard
    assert shard_of_part(part_name(shard)) == shard


@given(st.lists(shards, min_size=2, max_size=2))
def test_shards_are_ordered_by_their_index(pair):
    """A shard of seven digits is after one of six, though its text doesn't."""
    first, second = sorted(pair)
    assert first.index <= second.index


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
        "000001R-0123456789ab",
        f"000001{'r' * (MOST_RETRIES + 1)}-0123456789ab",
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


@pytest.mark.parametrize(
    "name",
    ["000001-0123456789ab", "000001-0123456789ab.parquet", "part-000001-0123456789ab.parquet.tmp", "job.json", ""],
)
def test_other_file_names_are_refused(name):
    """The name of a part has both its ends."""
    with pytest.raises(PayloadError, match="file name"):
        shard_of_part(name)


@pytest.mark.parametrize(
    ("index", "digits", "retries"),
    [
        (-1, "0123456789ab", 0),
        (10**12, "0123456789ab", 0),
        (0, "../../../../", 0),
        (0, "0123456789AB", 0),
        (0, "0123456789ab\n", 0),
        (0, "0123456789ab", -1),
        (0, "0123456789ab", MOST_RETRIES + 1),
    ],
)
def test_an_impossible_shard_cannot_be_made(index, digits, retries):
    """So whatever is a ShardId is safe in a file name, however it came about."""
    with pytest.raises(PayloadError, match="12 hexadecimal digits"):
        ShardId(index, digits, retries)
