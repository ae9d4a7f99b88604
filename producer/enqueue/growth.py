"""Rows that were appended to a job's input after the log had its end: one *growth* of the input for each `--append`.

A producer compares the shards that it cuts with those in the log. At the first shard after them, and so only when all
earlier rows have proved equal, it adds an `append` segment, which revokes the end. A producer that began before this
segment adds neither shards nor an end any more.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import JobError
from unrolled.job.segment import Segment
from unrolled.job.shard_keys import FIRST_RETRY
from unrolled.protocol.opening import refuse_other_job

if TYPE_CHECKING:
    from unrolled.job.inputs import Inputs
    from unrolled.protocol.log import Log
    from unrolled.protocol.opening import OpenJob


class Growth:
    """The growth of a job's input in which a producer cuts shards.

    Args:
        job: the job.
        inputs: the inputs that the producer reads; None for those with which the job began.
        append: whether the producer may add to an input that has ended.

    Attributes:
        append: as given.
    """

    def __init__(self, job: OpenJob, inputs: Inputs | None = None, *, append: bool = False) -> None:
        self._job = job
        self._inputs = inputs or job.job.inputs
        self.append = append
        self._number = 0

    def begin(self, log: Log) -> None:
        """Take part in the log's last growth.

        Raises:
            JobError: the job has other inputs by now.
        """
        now = replace(self._job.job, inputs=self._current(log))
        asked = replace(self._job.job, inputs=self._inputs)
        refuse_other_job(self._job.place, now, asked, append=self.append)
        self._number = len(log.growths)

    @staticmethod
    def ends(log: Log) -> list[int]:
        """The numbers of rows after which the input ended, before each growth and now."""
        if not log.growths and not log.ended:
            return []
        columns = log.entries.columns
        columns = columns[columns["hash"] < FIRST_RETRY]
        rows = np.cumsum(np.add(columns["rows"], columns["quarantined"], dtype=np.int64))
        return [int(rows[count - 1]) if count else 0 for count in log.growths + [len(log.inputs)] * log.ended]

    @staticmethod
    def of(log: Log, place: int) -> int:
        """The number of the growth to which a shard belongs, by its place among the shards of the input."""
        return bisect_right(log.growths, place)

    def is_due(self, log: Log, *, rows: bool) -> bool:
        """Whether this producer has to begin a growth, or to take part in that of another producer.

        Args:
            log: the job's log.
            rows: whether there is a row after the shards of the log.
        """
        is_needed = log.ended or len(log.growths) != self._number
        return self.append and (self._inputs != self._current(log) or (rows and is_needed))

    def segment(self, log: Log, place: int, *, rows: bool) -> Segment | None:
        """The segment that begins a growth; None where it has begun, or where shards must be compared first.

        Args:
            log: the job's log, read to its end.
            place: number of shards that were compared with the log.
            rows: whether there is a row after them.

        Raises:
            JobError: another producer has appended something else meanwhile.
        """
        if len(log.inputs) > place:
            return None
        if len(log.inputs) < place or not self._inputs.continues(self._current(log)):
            raise self.overtaken()
        self._number = len(log.growths)
        return Segment("append", inputs=self._inputs) if self.is_due(log, rows=rows) else None

    def check(self, log: Log) -> None:
        """Check that no other producer has begun a growth since this one began.

        Raises:
            JobError: another one has.
        """
        if len(log.growths) != self._number:
            raise self.overtaken()

    def adds_inputs(self, log: Log) -> bool:
        """Whether the producer reads more inputs than the job has."""
        return self.append and self._inputs != self._current(log)

    def _current(self, log: Log) -> Inputs:
        return log.grown_to or self._job.job.inputs

    def overtaken(self) -> JobError:
        """The error of a producer whose shards no longer follow those in the log."""
        return JobError(
            f"{self._job.place}: another `unrolled enqueue --append` has added to this job meanwhile; nothing more is "
            "queued. When it has ended, run this command again, with --append if there are more rows"
        )
