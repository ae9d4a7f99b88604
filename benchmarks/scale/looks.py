"""What looks at a job as a whole, again and again: its log, `status`, `wait`, sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from big_job import publish_name, shard_of
from figures import Clock, Figure, peak_mib
from support.counting_store import counting

from producer.jobs.status_reader import StatusReader
from unrolled.job import names
from unrolled.job.names import rows_object
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.opening import open_job

if TYPE_CHECKING:
    from collections import Counter

#: Shards that get their part between two looks.
CHANGED = 100


def _told(asked: Counter[str]) -> str:
    told = ", ".join(f"{count:,} {name}" for name, count in sorted(asked.items()) if count)
    asked.clear()
    return told or "nothing asked of the store"


def read_log(place: Path, shards: int) -> list[Figure]:
    """The first reading of a log, and the next one, after one more segment."""
    job, asked = counting(open_job(place))
    base, log = peak_mib(), Log()
    with Clock() as first:
        catch_up(log, job.objects)
    found = [
        Figure(
            "log, first reading", shards, first.processor, "processor s", f"{log.length:,} segments; {_told(asked)}"
        ),
        Figure("log, memory", shards, (peak_mib() - base) * 2**20 / shards, "bytes a shard, at most"),
    ]
    with Clock() as again:
        catch_up(log, job.objects)
    return [*found, Figure("log, next reading", shards, again.processor, "processor s", _told(asked))]


def read_status(place: Path, shards: int, published: int) -> list[Figure]:
    """`status`, the first time, again, and after some shards got their part."""
    job, asked = counting(open_job(place))
    base, reader = peak_mib(), StatusReader(job)
    with Clock() as first:
        status = reader.read()
    assert (status.done, status.waiting) == (published, shards - published)
    found = [Figure("status, first look", shards, first.processor, "processor s", _told(asked))]
    with Clock() as again:
        reader.read()
    found.append(Figure("status, next look", shards, again.processor, "processor s", _told(asked)))
    for index in range(published, published + CHANGED):
        spooled = shard_of(job, index)
        publish_name(place, spooled)
        job.objects.delete(rows_object(spooled.entry.shard))
    asked.clear()
    with Clock() as changed:
        status = reader.read()
    assert status.done == published + CHANGED
    what = f"status, look after {CHANGED} parts"
    found.append(Figure(what, shards, changed.processor, "processor s", _told(asked)))
    return [*found, Figure("status, memory", shards, (peak_mib() - base), "MiB")]


def sweep_all(place: Path, shards: int) -> list[Figure]:
    """The two sweeps: of what other objects have made superfluous, and of hidden files of dead processes."""
    job, asked = counting(open_job(place))
    log = Log()
    catch_up(log, job.objects)
    asked.clear()
    base = peak_mib()
    with Clock() as superfluous:
        sweep(log, job.objects, lambda *_: None, live=False)
    found = [Figure("sweep of superfluous objects", shards, superfluous.processor, "processor s", _told(asked))]
    store = job.objects.store
    with Clock() as leftovers:
        for folder in (names.PARTS, names.LOG, names.ROWS, names.QUARANTINE, names.FAILED, names.DEAD):
            store.sweep_leftovers(folder, 60.0)  # type: ignore[attr-defined]
    found.append(Figure("sweep of leftovers", shards, leftovers.processor, "processor s"))
    return [*found, Figure("sweep of leftovers, memory", shards, peak_mib() - base, "MiB")]
