"""Names of objects, and what is read from listings that anybody may have added to."""

import pytest

from unrolled.job import names
from unrolled.job.names import Life
from unrolled.job.shard_id import ShardId

SHARD, RETRY = ShardId(7, "0123456789ab"), ShardId(7, "ba9876543210", 2)


@pytest.mark.parametrize("shard", [SHARD, RETRY])
def test_names_lead_back_to_their_shards(shard):
    """Every kind of object that has one."""
    assert list(names.parts_in([names.part_object(shard)])) == [shard]
    for named in (names.rows_object, names.quarantine_object, names.failed_object):
        assert list(names.shards_in([named(shard)])) == [shard]
    life = Life(shard, 3)
    assert list(names.lives_in([names.dead_object(life)])) == [life]


def test_names_are_those_that_the_page_tells():
    """Parts at the top, all else in one folder."""
    assert names.part_object(RETRY) == "part-000007rr-ba9876543210.parquet"
    assert names.rows_object(SHARD) == "_unrolled/rows/000007-0123456789ab.rows"
    assert names.dead_object(Life(SHARD, 1)) == "_unrolled/dead/000007-0123456789ab.1.json"
    assert names.segment_name(12) == "_unrolled/log/000012.jsonl"
    assert names.chapter_name(3) == "_unrolled/chapters/000003.chapter"


def test_other_names_are_left_out():
    """Foreign files beside the job's objects are ignored, whatever their names."""
    strange = [
        "part-x.parquet",
        "data.parquet",
        "part-000007-0123456789ab.parquet.tmp",
        "",
        "/",
        "..",
        "a/part-000007-0123456789ab.parquet",
    ]
    assert list(names.parts_in(strange)) == []
    assert list(names.shards_in(["_unrolled/rows/x.rows", "_unrolled/rows/", "_unrolled/rows/../000.rows"])) == []
    assert list(names.shards_in([f"_unrolled/rows/{SHARD}", f"_unrolled/rows/{SHARD}.rows.bak"])) == []
    assert (
        list(names.lives_in(["_unrolled/dead/000007-0123456789ab.json", "_unrolled/dead/000007-0123456789ab.01.json"]))
        == []
    )
