"""What may be deleted once a shard's part exists, and what must not."""

import pytest
from support.jobs import cut, decide, log_of, make_job, publish_shard, published, record_death, waiting

from producer.enqueue.shard import make_shard
from unrolled.errors import FileFormatError, PayloadError
from unrolled.job import names, payload
from unrolled.job.inputs import Inputs
from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.patience import at_once
from unrolled.protocol.finishing import finish, finish_published, sweep, sweep_discarded
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.objects import Objects
from unrolled.protocol.spooling import make_retry, select_rows, spool
from unrolled.reading.outcome import failed_rows
from unrolled.store.memory import Crash, Fault, MemoryStore


@pytest.fixture
def job(tmp_path):
    """Three shards of four rows each, the last with a bad row in place of its fourth."""
    return make_job(tmp_path / "out", bad=(2,))


def publish_alone(job, shard, failed=None):
    """Publish a shard, and die before its rows are deleted."""
    content = job.objects.read(names.rows_object(shard))
    publish_shard(job, shard, failed)
    if failed:
        job.objects.delete(names.failed_object(shard))
    job.objects.create(names.rows_object(shard), content)
    return content


def swept(job, *, live=False):
    sweep(log_of(job), job.objects, failed_rows, live=live)


def folder(job, name):
    return sorted(job.objects.list(name))


def failed_of(job, shard):
    """The ids of the rows that were kept as failed."""
    return payload.decode(job.objects.read(names.failed_object(shard))).ids.to_pylist()


def test_failed_rows_are_kept_before_the_rows_go(job):
    """Those that the part calls failed, with their tokens."""
    shard = waiting(job)[0]
    content = publish_alone(job, shard, failed={0: "too long", 2: "not finite"})
    deleted = []

    def steadily(_, action):
        before = (job.objects.exists(names.failed_object(shard)), job.objects.exists(names.rows_object(shard)))
        done = action()
        deleted.append((before, job.objects.exists(names.rows_object(shard))))
        return done

    finish(job.with_patience(steadily).objects, shard, [0, 2])
    assert deleted[-1] == ((True, True), False)
    assert job.objects.read(names.failed_object(shard)) == select_rows(content, [0, 2])


def test_the_part_that_is_there_decides_which_rows_are_kept(job):
    """An attempt that failed on other rows and was second decides nothing: no row is lost, and none occurs twice."""
    shard = waiting(job)[0]
    content = publish_alone(job, shard, failed={1: "memory was short"})
    publish_shard(job, shard, failed=None, content=content)  # the second attempt computed them all
    assert failed_of(job, shard) == ["rows.txt#1"]
    assert failed_rows(job.objects, shard) == [1]
    assert shard not in waiting(job)


def test_who_cannot_see_the_rows_deletes_nothing(job):
    """Another has finished the shard, or the rows can't be seen yet."""
    shard = waiting(job)[0]
    publish_shard(job, shard, failed={1: "too long"})
    before = failed_of(job, shard)
    finish(job.objects, shard, [1])
    assert failed_of(job, shard) == before
    finish(job.objects, shard, [])


def test_damaged_rows_are_not_deleted(job, tmp_path):
    """Where they can't be kept, they stay."""
    shard = waiting(job)[0]
    publish_alone(job, shard, failed={1: "too long"})
    path = tmp_path / "out" / names.rows_object(shard)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PayloadError, match="the header claims"):
        finish(job.objects, shard, [1])
    assert shard in waiting(job)


def test_a_shard_without_a_part_keeps_its_rows(job):
    """Only those whose worker died between its part and its last step are finished."""
    one, *others = waiting(job)
    publish_alone(job, one, failed={3: "too long"})
    assert finish_published(log_of(job), job.objects, failed_rows) == 1
    assert waiting(job) == others
    assert failed_of(job, one) == ["rows.txt#3"]
    assert finish_published(log_of(job), job.objects, failed_rows) == 0


def test_a_sweep_deletes_what_is_superfluous_alone(job):
    """It finishes shards, and takes away the records of death that a part or a next life has made superfluous."""
    published_one, retried, dead = waiting(job)
    publish_alone(job, published_one)
    for shard in (published_one, retried, dead):
        record_death(job, shard)
    decide(job, Segment("retry", lives=(Life(retried, 1),)))
    swept(job)
    assert folder(job, names.DEAD) == [names.dead_object(Life(dead, 0))]
    assert waiting(job) == [retried, dead]
    assert published(job) == [published_one]
    assert folder(job, names.QUARANTINE) == [names.quarantine_object(dead)]
    before = {name: job.objects.read(name) for name in (*folder(job, names.ROWS), *folder(job, names.DEAD))}
    swept(job)
    assert {name: job.objects.read(name) for name in before} == before


def test_rows_that_were_brought_again_are_not_kept_twice(job):
    """The retry's rows hold them; until its segment is written they stay."""
    shard = waiting(job)[0]
    publish_shard(job, shard, failed={1: "too long"})
    swept(job)
    retry = make_retry(shard, job.objects.read(names.failed_object(shard)))
    job.objects.create(names.rows_object(retry.entry.shard), retry.rows)
    swept(job)
    assert folder(job, names.FAILED) == [names.failed_object(shard)]
    assert retry.entry.shard in waiting(job)  # its segment may be on its way
    decide(job, Segment("retry", (retry.entry,)))
    swept(job)
    assert folder(job, names.FAILED) == []
    assert retry.entry.shard in waiting(job)


@pytest.mark.parametrize(
    ("live", "ended", "left"), [(False, True, 0), (False, False, 1), (True, True, 1), (True, False, 1)]
)
def test_rows_that_no_segment_names(tmp_path, live, ended, left):
    """They are deleted once the input has ended; those of a live input stay, because they can't be read again."""
    job = make_job(tmp_path / "out", live=live, ended=ended)
    stray = spool_stray(job)
    swept(job, live=live)
    assert [stray in waiting(job), len(folder(job, names.QUARANTINE))] == [bool(left), left]
    assert len(waiting(job)) == 3 + left


def spool_stray(job, index=3, growth=0):
    """A shard that no segment names, with a bad row."""
    spooled = make_shard(index, job.job.id, cut(index, bad=True), growth)
    spool(job.objects, spooled)
    return spooled.entry.shard


def test_rows_of_a_later_growth_stay(job):
    """Their segment may be on its way, or unseen yet; they go once a growth has ended that is theirs or a later one."""
    early, stray = spool_stray(job), spool_stray(job, growth=1)
    swept(job)
    assert early not in waiting(job)
    assert stray in waiting(job)
    assert names.quarantine_object(stray) in folder(job, names.QUARANTINE)
    decide(job, Segment("append", inputs=Inputs.named(["rows.txt"])))
    swept(job)
    assert stray in waiting(job)
    decide(job, Segment("end"))
    swept(job)
    assert len(waiting(job)) == 3
    assert len(folder(job, names.QUARANTINE)) == 1


def test_rows_whose_growth_cannot_be_read_stay(job):
    """Unless another shard has their place in the log."""
    taken, stray = ShardId(2, "ab" * 6), ShardId(3, "ab" * 6)
    for shard in (taken, stray):
        job.objects.create(names.rows_object(shard), b"damaged")
        job.objects.create(names.quarantine_object(shard), b'{"growth": null}\n')
    swept(job)
    assert taken not in waiting(job)
    assert stray in waiting(job)
    assert names.quarantine_object(stray) in folder(job, names.QUARANTINE)
    assert names.quarantine_object(taken) not in folder(job, names.QUARANTINE)


def test_a_discarded_job_loses_all_but_its_log(job):
    """The log and job.json stay, so that the place isn't mistaken for an empty one."""
    one, two, three = waiting(job)
    publish_shard(job, one, failed={1: "too long"})
    record_death(job, two)
    decide(job, Segment("discard"))
    swept(job)
    sweep_discarded(job.objects)
    assert published(job) == waiting(job) == []
    for name in (names.QUARANTINE, names.FAILED, names.DEAD):
        assert folder(job, name) == []
    assert job.objects.exists(names.JOB)
    assert log_of(job).discarded
    assert three in log_of(job).entries


def test_a_discard_leaves_what_is_nothing_of_the_job(job):
    """Other names in the job's folders stay, and don't end the discard."""
    shard = waiting(job)[0]
    others = [f"{names.ROWS}/notes.txt", f"{names.ROWS}/{shard}.rows.bak", f"{names.DEAD}/{shard}.json"]
    for name in others:
        job.objects.create(name, b"nothing of the job")
    sweep_discarded(job.objects)
    assert [name for name in others if job.objects.exists(name)] == others
    assert waiting(job) == []


def test_a_record_of_death_outlives_a_part_that_is_not_durable(job):
    """A dead shard's late attempt dies before it has synced its part; a sweep follows, and then the power fails."""
    fates = {}
    store = MemoryStore(lambda operation: fates.pop(operation.kind, None), is_disk=True)
    objects, shard = Objects(store, at_once), waiting(job)[0]
    store.create(names.segment_name(0), job.objects.read(names.segment_name(0)))
    store.create(names.dead_object(Life(shard, 0)), b"{}")
    fates["sync"] = Fault.CRASH_BEFORE
    with pytest.raises(Crash):
        store.create(names.part_object(shard), b"part")
    log = Log()
    catch_up(log, objects)
    sweep(log, objects, lambda objects, shard: [] if objects.exists(names.part_object(shard)) else None, live=False)
    assert [*objects.list(names.DEAD)] == []
    store.power_cut(lambda name: name == names.part_object(shard))
    assert objects.exists(names.part_object(shard))


def test_damage_to_one_shard_leaves_the_others_to_be_finished(job):
    """A damaged part is named, once everything else is swept."""
    damaged, sound = waiting(job)[:2]
    for shard in (damaged, sound):
        rows = job.objects.read(names.rows_object(shard))
        publish_shard(job, shard)
        job.objects.create(names.rows_object(shard), rows)
        record_death(job, shard)
    part = job.objects.store.path / names.part_object(damaged)
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match=names.part_object(damaged)):
        sweep(log_of(job), job.objects, failed_rows, live=False)
    assert damaged in waiting(job)
    assert sound not in waiting(job)
    assert list(job.objects.list(names.DEAD)) == []
