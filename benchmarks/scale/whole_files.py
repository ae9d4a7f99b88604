"""What reads every part of a job: `verify` and `unrolled.open`."""

from __future__ import annotations

from pathlib import Path

from figures import Clock, Figure, peak_mib

import unrolled
from producer.jobs.verify import verify_job
from unrolled.protocol.opening import open_job


def verified(place: Path, shards: int) -> list[Figure]:
    """`verify`: every part is read whole."""
    job, base = open_job(place), peak_mib()
    with Clock() as clock:
        found = verify_job(job)
    assert (found.files, found.problems) == (shards, ())
    return [
        Figure("verify", shards, clock.processor / shards * 1e6, "processor microseconds a part"),
        Figure("verify, memory", shards, peak_mib() - base, "MiB"),
    ]


def opened(place: Path, shards: int) -> list[Figure]:
    """`unrolled.open`: every part's footer is read."""
    base = peak_mib()
    with Clock() as clock:
        found = unrolled.open(place)
    assert len(found) == shards
    return [
        Figure("unrolled.open", shards, clock.processor / shards * 1e6, "processor microseconds a part"),
        Figure("unrolled.open, memory", shards, (peak_mib() - base) * 1024 / shards, "KiB a part"),
    ]
