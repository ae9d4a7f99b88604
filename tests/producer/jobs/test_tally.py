"""The state of a job's shards, kept from look to look."""

import random
from pathlib import Path

import pytest
from support.counting_store import counting
from support.jobs import cut, decide, make_job, publish_shard, record_death, waiting

from producer.enqueue.shard import make_shard
from producer.jobs.tally import FEW, Tally
from unrolled.job import names
from unrolled.job.names import Life, part_object, rows_object
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.protocol.log import Log


def tally_of(job):
    return Tally(Log(), job.objects, live=job.job.live)


def looked(tally):
    """What a tally says after one more look."""
    tally.look()
    return (tally.published, tally.waiting, tally.dead, tally.strays, tally.kept, tally.cut, tally.done, tally.finished)


def publish_name(job, shard):
    """Of a part, the name alone is looked at; a file of that name is made without the time that durability takes."""
    out = Path(job.address)
    (out / part_object(shard)).touch()
    (out / rows_object(shard)).unlink(missing_ok=True)


def cost_of_a_look(path, count, changed):
    """What a job whose shards are all published but for ten asks of its store at a look after some changed."""
    job, asked = counting(make_job(path, shards=0, ended=False))
    entries = tuple(make_shard(index, job.job.id, cut(index)).entry for index in range(count))
    decide(job, Segment("shards", entries))
    shards = [entry.shard for entry in entries]
    (path / names.ROWS).mkdir()
    for shard in shards[:-10]:
        publish_name(job, shard)
    for shard in shards[-10:]:
        (path / rows_object(shard)).touch()
    tally = tally_of(job)
    tally.look()
    for shard in shards[-10:][:changed]:
        publish_name(job, shard)
    asked.clear()
    tally.look()
    assert len(tally.published) == count - 10 + changed
    return asked


@pytest.mark.parametrize("changed", [0, 3])
def test_a_look_costs_what_has_changed(tmp_path, changed):
    """However many shards the job has: its parts aren't listed, and its log isn't read again."""
    small = cost_of_a_look(tmp_path / "small", 300, changed)
    large = cost_of_a_look(tmp_path / "large", 600, changed)
    assert small == large
    assert small["list"] == 3
    assert small["names"] == 10 - changed
    assert small["read"] <= FEW + changed + 1


def test_each_look_agrees_with_a_first_look(tmp_path):
    """Whatever has happened since the one before, and in whatever order."""
    rng = random.Random(5)
    for number in range(4):
        job = make_job(tmp_path / f"{number}", shards=12, ended=False, live=number % 2 == 1)
        shards, tally = waiting(job), tally_of(job)
        lives = dict.fromkeys(shards, 0)
        for _ in range(40):
            shard = rng.choice(shards)
            match rng.randrange(8):
                case 0 | 1:
                    publish_name(job, shard)
                case 2:
                    (Path(job.address) / part_object(shard)).touch()  # and then its worker died
                case 3:
                    record_death(job, shard, lives[shard])
                case 4:
                    lives[shard] += 1
                    decide(job, Segment("retry", lives=(Life(shard, lives[shard]),)))
                case 5:
                    decide(job, Segment(rng.choice(["end", "cancel", "resume"])))
                case 6:
                    job.objects.create(rows_object(ShardId(rng.randrange(12, 15), "ab" * 6)), b"rows")
                case 7:
                    job.objects.create(names.failed_object(shard), b"rows")
            assert looked(tally) == looked(tally_of(job))


def test_a_process_that_died_between_part_and_rows(tmp_path):
    """Its part counts at the end of the job at the latest."""
    job = make_job(tmp_path / "out", shards=FEW + 2)
    tally = tally_of(job)
    for shard in waiting(job):
        (tmp_path / "out" / part_object(shard)).touch()
    looks = 0
    while not looked(tally)[-1]:
        looks += 1
        assert looks < 4


def test_parts_that_were_removed(tmp_path):
    """No job is called complete by what earlier looks have found."""
    job = make_job(tmp_path / "out")
    one, two, three = waiting(job)
    tally = tally_of(job)
    for shard in (one, two):
        publish_shard(job, shard)
    tally.look()
    (tmp_path / "out" / part_object(one)).unlink()
    publish_shard(job, three)
    tally.look()
    assert (tally.finished, tally.published, tally.waiting) == (False, {two, three}, {one})
    assert tally.done.rows == 8


def test_a_discarded_job(tmp_path):
    """Nothing of it counts as published once its parts are deleted."""
    job = make_job(tmp_path / "out")
    tally = tally_of(job)
    for shard in waiting(job):
        publish_shard(job, shard)
    tally.look()
    assert tally.finished
    decide(job, Segment("discard"))
    for shard in list(tally.published):
        job.objects.delete(part_object(shard))
    tally.look()
    assert (tally.finished, tally.published) == (False, set())
