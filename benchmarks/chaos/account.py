"""What became of each row, and whether each part is what it must be, byte for byte."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from contents import parts, quarantined, read_log, read_part, rows_of, segments, shard_of
from dataset import Dataset

from unrolled.job import names
from unrolled.protocol.opening import OpenJob


@dataclass
class Account:
    """The rows of a job, by what became of them, and what is wrong.

    Attributes:
        published, failed, quarantined, given_up: ids; rows that a part calls failed are those of no later retry.
        lost: ids of which there is nothing.
        parts: how many there are.
        dead: how many shards are.
        failures: a text for each thing that must not be.
    """

    published: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    parts: int = 0
    dead: int = 0
    failures: list[str] = field(default_factory=list)


def account_of(dataset: Dataset, job: OpenJob, place: Path) -> Account:
    """Count the rows of a complete job by their ids, without the product's protocol, and compare every part."""
    account, log, contents = Account(), read_log(segments(place)), parts(place)
    account.parts = len(contents)
    account.quarantined = quarantined(place)
    expectation = dataset.expectation
    for name, content in contents.items():
        part = read_part(content)
        account.published += part.ids
        if shard_of(name) not in log.retried:
            account.failed += part.failed
        if shard_of(name) not in log.entries:
            account.failures.append(f"{name} is of no shard of the log")
        if not {*part.failed} <= dataset.failing | dataset.moody:
            account.failures.append(f"{name} calls rows failed that never fail: {part.failed}")
        if content != expectation.part(job.job, content):
            account.failures.append(f"{name} is other bytes than an undisturbed run gives")
    for shard in log.entries.keys() - set(map(shard_of, contents)):
        account.dead += 1
        account.given_up += rows_of(place / names.ROWS / f"{shard}.rows")
    found = [*account.published, *account.failed, *account.quarantined, *account.given_up]
    if twice := sorted(row for row, count in Counter(found).items() if count > 1):
        account.failures.append(f"{len(twice)} rows twice: {twice[:5]}")
    if strange := set(found) - dataset.lines.keys():
        account.failures.append(f"rows that were not given: {sorted(strange)[:5]}")
    if not {*account.quarantined} <= dataset.bad:
        account.failures.append(f"quarantine holds good rows: {sorted({*account.quarantined} - dataset.bad)[:5]}")
    account.lost = dataset.lines.keys() - set(found)
    return account


def why_lost(dataset: Dataset, lost: set[str], safe: set[str], kills: int) -> str | None:
    """What is wrong with the rows of a stream that are lost; None where nothing is.

    A reader that is killed loses what it has read and not yet written: rows that follow one another, and none that was
    on the disk.

    Args:
        dataset: its rows in order.
        lost: ids.
        safe: ids of the rows that were on the disk when a reader was killed.
        kills: how many readers were killed that may have had rows in memory.
    """
    if lost & safe:
        return f"{len(lost & safe)} rows lost that were on the disk: {sorted(lost & safe)[:5]}"
    gone = [row in lost for row in dataset.lines]
    runs = sum(not left and right for left, right in pairwise([False, *gone]))
    return f"{len(lost)} rows lost in {runs} places, by {kills} kills" if runs > kills else None
