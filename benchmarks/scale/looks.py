"""What looks at a job as a whole, again and again: its log, `status`, `wait`, sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from big_job import publish_name, shard_of
from figures import Clock, Figure, peak_mib
from support.counting_store import counting

from producer.jobs.status_reader import StatusReader
from unrolled.job import names
from unrolled.job.names import part_object, rows_object
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.opening import open_job
from unrolled.reading.outcome import failed_rows
from unrolled.store.posix import PosixStore

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

#: Shards that get their part between two looks.
CHANGED = 100
CPU = "processor s"
FOLDERS = (names.PARTS, names.LOG, names.CHAPTERS, names.ROWS, names.QUARANTINE, names.FAILED, names.DEAD)


def asked_for(asked: Counter[str]) -> str:
    """What a store was asked for since the last time, for people."""
    told = ", ".join(f"{count:,} {name}" for name, count in sorted(asked.items()) if count)
    asked.clear()
    return told or "the store isn't asked"


def read_log(place: Path, shards: int) -> list[Figure]:
    """The first reading of a log, and the next one; and one by its segments alone."""
    job, asked = counting(open_job(place))
    base, log = peak_mib(), Log()
    with Clock() as first:
        catch_up(log, job.objects)
    detail = f"{log.length:,} segments; {asked_for(asked)}"
    memory = (peak_mib() - base) * 2**20 / shards
    with Clock() as again:
        catch_up(log, job.objects)
    return [
        Figure("log: first reading", shards, first.processor, CPU, detail),
        Figure("log: memory", shards, memory, "bytes a shard"),
        Figure("log: next reading", shards, again.processor, CPU, asked_for(asked)),
        *_read_segments(place, shards),
    ]


def _read_segments(place: Path, shards: int) -> list[Figure]:
    job, asked = counting(open_job(place))
    with Clock() as clock:
        catch_up(Log(), job.objects, by_chapters=False)
    return [Figure("log: first reading without chapters", shards, clock.processor, CPU, asked_for(asked))]


def read_status(place: Path, shards: int, published: int) -> list[Figure]:
    """`status`: the first time, again, and after some shards got their part."""
    job, asked = counting(open_job(place))
    base, reader = peak_mib(), StatusReader(job)
    with Clock() as first:
        status = reader.read()
    assert (status.done, status.waiting) == (published, shards - published)
    figures = [Figure("status: first look", shards, first.processor, CPU, asked_for(asked))]
    with Clock() as again:
        reader.read()
    figures.append(Figure("status: next look", shards, again.processor, CPU, asked_for(asked)))
    for index in range(published, published + CHANGED):
        spooled = shard_of(index)
        publish_name(place, spooled)
        job.objects.delete(rows_object(spooled.entry.shard))
    asked.clear()
    with Clock() as changed:
        status = reader.read()
    assert status.done == published + CHANGED
    figures.append(Figure(f"status: look after {CHANGED} parts", shards, changed.processor, CPU, asked_for(asked)))
    return [*figures, Figure("status, wait: memory", shards, peak_mib() - base, "MiB")]


def complete(place: Path, shards: int) -> list[Figure]:
    """The last look, by which a job is called complete, after a first one; the shards left get their parts before."""
    job, asked = counting(open_job(place))
    reader = StatusReader(job)
    reader.read()
    for shard in names.shards_in(job.objects.list(names.ROWS)):
        (place / part_object(shard)).touch()
        job.objects.delete(rows_object(shard))
    asked.clear()
    with Clock() as last:
        assert reader.read().finished
    return [Figure("status: last look, complete", shards, last.processor, CPU, asked_for(asked))]


def sweep_all(place: Path, shards: int) -> list[Figure]:
    """The two sweeps: of what other objects have made superfluous, and of hidden files of dead processes."""
    job, asked = counting(open_job(place))
    log = Log()
    catch_up(log, job.objects)
    asked.clear()
    base = peak_mib()
    with Clock() as superfluous:
        sweep(log, job.objects, failed_rows, live=False)
    store = PosixStore(place)
    with Clock() as leftovers:
        for folder in FOLDERS:
            store.sweep_leftovers(folder, 60.0)
    return [
        Figure("sweep of superfluous objects", shards, superfluous.processor, CPU, asked_for(asked)),
        Figure("sweep of leftovers", shards, leftovers.processor, CPU, "by one worker at a time"),
        Figure("sweeps: memory", shards, peak_mib() - base, "MiB"),
    ]
