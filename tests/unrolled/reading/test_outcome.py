"""What a part's footer says of its shard: what decides which rows are kept when the shard's rows are deleted."""

import pytest
from support.jobs import make_job, publish_shard, waiting

from unrolled.errors import FileFormatError
from unrolled.job import names
from unrolled.reading.outcome import failed_rows, read_outcome


@pytest.fixture
def job(tmp_path):
    """Three shards of four rows each."""
    return make_job(tmp_path / "out")


def test_a_shard_without_a_part(job):
    """Nothing can be seen, which doesn't mean that no row failed."""
    for shard in waiting(job):
        assert read_outcome(job.objects, shard) is None
        assert failed_rows(job.objects, shard) is None


def test_failed_rows_are_numbered_as_in_the_shard(job):
    """The part says which rows it lacks, by number and id, and why."""
    first, second, _ = waiting(job)
    publish_shard(job, first)
    publish_shard(job, second, failed={0: "too long", 2: "not finite"})
    assert failed_rows(job.objects, first) == []
    assert failed_rows(job.objects, second) == [0, 2]
    info = read_outcome(job.objects, second)
    assert [tuple(row) for row in info.failed] == [(0, "rows.txt#4", "too long"), (2, "rows.txt#6", "not finite")]
    assert (info.shard, info.rows) == (second, 2)


def test_the_outcome_is_that_of_the_part_that_came_first(job):
    """A second attempt with another outcome changes nothing: the published part decides."""
    shard = waiting(job)[0]
    content = job.objects.read(names.rows_object(shard))
    publish_shard(job, shard, failed={1: "too long"})
    publish_shard(job, shard, failed={3: "not finite"}, content=content)
    assert failed_rows(job.objects, shard) == [1]


@pytest.mark.parametrize("kept", [0, 10, 500])
def test_a_damaged_part_is_named(job, tmp_path, kept):
    """Its footer can't be read, so it isn't known which rows failed."""
    shard = waiting(job)[0]
    publish_shard(job, shard)
    path = tmp_path / "out" / names.part_object(shard)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileFormatError, match=path.name):
        failed_rows(job.objects, shard)


def test_a_part_under_another_shards_name_is_refused(job, tmp_path):
    """A copy says nothing of the shard whose name it was given."""
    first, second, _ = waiting(job)
    publish_shard(job, first)
    copy = tmp_path / "out" / names.part_object(second)
    copy.write_bytes((tmp_path / "out" / names.part_object(first)).read_bytes())
    with pytest.raises(FileFormatError, match=f"{copy.name}: holds shard {first}"):
        failed_rows(job.objects, second)
