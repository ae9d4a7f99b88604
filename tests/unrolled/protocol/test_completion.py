"""Whether a job is complete: by objects that exist, never by those that are absent."""

import pytest
from support.jobs import decide, finished_job, log_of, make_job, publish_shard, record_death, waiting

from unrolled.job import names
from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.patience import at_once
from unrolled.protocol.completion import standing
from unrolled.protocol.log import Log


def look(job):
    return standing(Log(), job.objects, live=job.job.live)


def test_a_job_is_complete_with_its_last_part(tmp_path):
    """Every shard has its part or is dead."""
    job = make_job(tmp_path / "out")
    one, two, three = waiting(job)
    publish_shard(job, one)
    publish_shard(job, two)
    assert not look(job).finished
    record_death(job, three)
    found = look(job)
    assert (found.finished, found.published, found.dead) == (True, {one, two}, {three})


def test_an_input_that_has_not_ended(tmp_path):
    """More shards may follow."""
    job = make_job(tmp_path / "out", ended=False)
    for shard in waiting(job):
        publish_shard(job, shard)
    assert not look(job).finished
    decide(job, Segment("end"))
    assert look(job).finished


def test_an_empty_input(tmp_path):
    """Is complete as soon as it has ended."""
    assert look(make_job(tmp_path / "out", shards=0)).finished
    assert not look(make_job(tmp_path / "more", shards=0, ended=False)).finished


@pytest.mark.parametrize("kind", ["cancel", "discard"])
def test_a_stopped_job_is_not_complete(tmp_path, kind):
    """However many parts it has."""
    job = finished_job(tmp_path / "out")
    decide(job, Segment(kind))
    assert not look(job).finished


def test_rows_that_are_gone_prove_nothing(tmp_path):
    """A listing that shows no rows may be behind: only the parts count."""
    job = make_job(tmp_path / "out")
    for shard in waiting(job):
        job.objects.delete(names.rows_object(shard))
    found = look(job)
    assert (found.finished, found.published, found.dead) == (False, frozenset(), frozenset())


def test_a_death_counts_in_its_own_life_alone(tmp_path):
    """A shard that was retried waits again, whatever record its last life has left."""
    job = make_job(tmp_path / "out", shards=1)
    (shard,) = waiting(job)
    record_death(job, shard)
    assert look(job).finished
    decide(job, Segment("retry", lives=(Life(shard, 1),)))
    assert (look(job).finished, look(job).dead) == (False, frozenset())
    record_death(job, shard, 1)
    assert look(job).finished


def test_a_part_outweighs_a_record_of_death(tmp_path):
    """A slow worker may have given up what another has published."""
    job = make_job(tmp_path / "out", shards=1)
    (shard,) = waiting(job)
    record_death(job, shard)
    publish_shard(job, shard)
    found = look(job)
    assert (found.finished, found.published, found.dead) == (True, {shard}, frozenset())


def test_parts_of_other_jobs_do_not_count(tmp_path):
    """Nor anything else that has the name of one."""
    job = make_job(tmp_path / "out", shards=1)
    (tmp_path / "out" / "part-000000-ffffffffffff.parquet").touch()
    found = look(job)
    assert (found.finished, found.published) == (False, frozenset())


def test_live_rows_without_a_segment_keep_a_job_open(tmp_path):
    """Its run died between the rows and their segment; the next run adopts them."""
    job = make_job(tmp_path / "out", shards=1, live=True)
    (shard,) = waiting(job)
    publish_shard(job, shard)
    assert look(job).finished
    stray = ShardId(1, "ab" * 6)
    job.objects.create(names.rows_object(stray), b"rows")
    found = look(job)
    assert (found.finished, found.strays) == (False, {stray})


def test_a_shard_that_comes_while_somebody_looks(tmp_path):
    """A process that adds a shard meanwhile was first: the job isn't complete."""
    job = finished_job(tmp_path / "out")
    shard = next(iter(log_of(job).entries))

    def meanwhile(what, action):
        if what.startswith("write"):  # the sync after all was listed
            decide(job, Segment("retry", lives=(Life(shard, 1),)))
        return at_once(what, action)

    found = standing(log_of(job), job.with_patience(meanwhile).objects, live=False)
    assert not found.finished
