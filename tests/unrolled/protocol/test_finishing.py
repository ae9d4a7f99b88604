"""What may be deleted once a part is there, and what must be durable before."""

import pytest

from unrolled.job import names
from unrolled.job.names import Life
from unrolled.job.segment import Entry, Segment
from unrolled.job.shard_id import ShardId
from unrolled.protocol.finishing import sweep, sweep_discarded
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.objects import Objects, at_once
from unrolled.store.memory import Crash, Fault, MemoryStore

SHARD = ShardId(0, "0123456789ab")
ENTRY = Entry(SHARD, 1, 1, 1, 0, "00" * 16, None, "f", 0)


def failed_rows(objects, shard):
    """No row of a part has failed; None without a part."""
    return [] if objects.exists(names.part_object(shard)) else None


def test_a_record_of_death_outlives_a_part_that_is_not_durable():
    """A dead shard's late attempt dies before it has synced its part; a sweep, and then the power fails."""
    fates = {}
    store = MemoryStore(lambda operation: fates.pop(operation.kind, None), is_disk=True)
    store.create(names.segment_name(0), Segment("shards", (ENTRY,)).encode())
    store.create(names.rows_object(SHARD), b"rows")
    store.create(names.dead_object(Life(SHARD, 0)), b"{}")
    fates["sync"] = Fault.CRASH_BEFORE
    with pytest.raises(Crash):
        store.create(names.part_object(SHARD), b"part")
    log, objects = Log(), Objects(store, at_once)
    catch_up(log, objects)
    store.delete(names.rows_object(SHARD))  # so that nothing but the record makes the sweep sync the parts
    sweep(log, objects, failed_rows, live=False)
    assert [*objects.list(names.DEAD)] == []
    store.power_cut(lambda name: name == names.part_object(SHARD))
    assert objects.exists(names.part_object(SHARD))


def test_a_discard_leaves_what_is_nothing_of_the_job():
    """Other names in the job's folders stay, and don't end the discard."""
    store = MemoryStore()
    own = [
        names.part_object(SHARD),
        names.rows_object(SHARD),
        names.quarantine_object(SHARD),
        names.failed_object(SHARD),
        names.dead_object(Life(SHARD, 2)),
    ]
    others = ["data.parquet", f"{names.ROWS}/notes.txt", f"{names.DEAD}/{SHARD}.json", names.segment_name(0), names.JOB]
    for name in own + others:
        store.create(name, b"x")
    sweep_discarded(Objects(store, at_once))
    assert sorted(store.contents()) == sorted(others)
