"""A job's log, which any number of commands may add to at once."""

import threading

import pytest

from unrolled.errors import JobError, TransientError
from unrolled.job.inputs import Inputs
from unrolled.job.names import Life, segment_name
from unrolled.job.segment import Entry, Segment
from unrolled.job.shard_id import ShardId
from unrolled.patience import at_once
from unrolled.protocol.log import Log, append, catch_up
from unrolled.protocol.objects import Objects
from unrolled.store.memory import Fault, MemoryStore


def entry(number, source=None):
    return Entry(ShardId(number, f"{number:012x}"), 1, 1, 1, 0, "00" * 16, source, "f", number)


def read(store):
    log = Log()
    catch_up(log, Objects(store, at_once))
    return log


def write(store, *segments):
    for number, segment in enumerate(segments, read(store).length):
        store.create(segment_name(number), segment.encode())


def test_two_at_once_lose_nothing():
    """Each of many threads adds its shards; a thread that finds its number taken decides again."""
    store = MemoryStore()

    def add(first):
        log = Log()
        for number in range(first, first + 20):
            new = entry(number)
            append(
                log,
                Objects(store, at_once),
                lambda log, new=new: None if new.shard in log.entries else Segment("shards", (new,)),
            )

    threads = [threading.Thread(target=add, args=(1000 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = read(store)
    assert log.length == 80
    assert sorted(shard.index for shard in log.inputs) == sorted(1000 * k + n for k in range(4) for n in range(20))


def test_without_a_look_a_number_that_is_taken_is_read():
    """Segments that another process has added meanwhile are applied, and the decision is made again."""
    store = MemoryStore()
    log = read(store)
    write(store, Segment("shards", (entry(0),)), Segment("cancel"))
    decided = []

    def decide(log):
        decided.append((log.length, log.cancelled))
        return None if entry(1).shard in log.entries else Segment("shards", (entry(1),))

    append(log, Objects(store, at_once), decide, look=False)
    assert decided == [(0, False), (1, False), (2, True), (3, True)]
    assert list(read(store).entries) == [entry(0).shard, entry(1).shard]


def test_a_retry_starts_shards_and_lives():
    """Failed rows get a shard of their own, a dead shard its next life; what a segment starts is what it started."""
    store, one, two = MemoryStore(), entry(1), entry(2)
    again = entry(1, source=one.shard)._replace(shard=ShardId(1, "ab" * 6, 1))
    write(store, Segment("shards", (one, two)), Segment("retry", (again,), (Life(two.shard, 1),)))
    log = read(store)
    assert log.retried == {one.shard: again.shard}
    assert log.life(two.shard) == Life(two.shard, 1)
    assert list(log.inputs) == [one.shard, two.shard]
    assert log.started(0) == [Life(one.shard, 0)]  # the other's first life is over
    assert log.started(1) == [Life(again.shard, 0), Life(two.shard, 1)]


def test_the_last_word_counts():
    """A job is cancelled, resumed and ended; a live run that begins takes both back; discarded is final."""
    store = MemoryStore()
    states = []
    for segment in (
        Segment("end"), Segment("cancel"), Segment("resume"), Segment("cancel"), Segment("begin", run="0" * 16),
        Segment("discard"), Segment("resume"),
    ):  # fmt: skip
        write(store, segment)
        log = read(store)
        states.append((log.ended, log.cancelled, log.discarded))
    assert states == [
        (True, False, False), (True, True, False), (True, False, False), (True, True, False), (False, False, False),
        (False, False, True), (False, False, True),
    ]  # fmt: skip
    assert log.stopped


def test_rows_are_appended():
    """The end is revoked, the inputs are others, and each growth has the number of shards that were cut before it."""
    store, more, most = MemoryStore(), Inputs.named(["a", "b"]), Inputs.named(["a", "b", "c"])
    write(store, Segment("shards", (entry(0), entry(1))), Segment("end"), Segment("append", inputs=more))
    log = read(store)
    assert (log.ended, log.growths, log.grown_to) == (False, [2], more)
    write(store, Segment("shards", (entry(2),)), Segment("end"), Segment("append", inputs=most), Segment("end"))
    log = read(store)
    assert (log.ended, log.growths, log.grown_to) == (True, [2, 3], most)


def test_a_damaged_segment_ends_the_reading():
    """Nothing after it can be trusted to mean what it says."""
    store = MemoryStore()
    store.create(segment_name(0), b"{}\n")
    with pytest.raises(JobError, match=r"000000\.jsonl: not a segment"):
        read(store)


def test_a_sync_that_failed_is_made_up_for():
    """No decision is based on segments that a power cut may take, also if the reader goes on after an error."""
    faults = []
    store = MemoryStore(lambda operation: faults.pop() if faults and operation.kind == "sync" else None, is_disk=True)
    faults.append(Fault.REFUSED)
    with pytest.raises(TransientError):
        write(store, Segment("end"))  # its creator died before it was durable
    log = Log()
    faults.append(Fault.REFUSED)
    with pytest.raises(TransientError):
        catch_up(log, Objects(store, at_once))
    assert log.length == 1
    catch_up(log, Objects(store, at_once))
    assert list(store.power_cut(lambda _: True)) == []
