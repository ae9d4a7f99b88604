"""Jobs with a great many shards, made by the product's own functions; nothing is computed."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from support.jobs import MODEL, job_of

from unrolled.format.output_spec import OutputSpec
from unrolled.job.names import part_object, segment_name
from unrolled.job.segment import Entry, Segment
from unrolled.job.shard_id import ShardId
from unrolled.protocol.log import Log, append
from unrolled.protocol.opening import create_job
from unrolled.protocol.spooling import Place, Spooled, make_rows, spool
from unrolled.reading.outcome import failed_rows
from unrolled.tokenization.ragged import Ragged
from worker.shards.part_content import part_content
from worker.shards.publication import publish
from worker.shards.shard_rows import decode_rows

if TYPE_CHECKING:
    from unrolled.protocol.opening import OpenJob

TOKENS = Ragged.from_lengths(np.array([1, 2], np.int32), [2])
FILE = "corpus/some-directory/file-0001.jsonl.gz"


def shard_of(index: int, growth: int = 0) -> Spooled:  # noqa: ARG001 - of an input that does not grow
    """A shard of which the name and the entry alone are looked at, not the rows."""
    shard = ShardId(index, f"{index * 0x9E3779B97F4B % 2**48:012x}")  # hashes are spread evenly
    return Spooled(Entry(shard, 1, 2, 2, 0, f"{index:032x}", None, FILE, index), b"rows")


def make_job(path: Path, shards: int, segments: int, waiting: int) -> OpenJob:
    """A job whose input has ended: its log, the rows of the last shards, and an empty file for each other one's part.

    Names alone matter to everything that looks at a job as a whole; whole parts are made by `publish_all`.

    Args:
        path: of its directory.
        shards: of the job.
        segments: of its log, besides the one that ends it.
        waiting: shards, at the end of the job, that have rows and no part.
    """
    job = create_job(path, job_of(options=OutputSpec().to_options()))
    ends = [shards * number // segments for number in range(segments + 1)]
    for number, (start, stop) in enumerate(pairwise(ends)):
        made = [shard_of(index) for index in range(start, stop)]
        for index, spooled in enumerate(made, start):
            if index >= shards - waiting:
                spool(job.objects, spooled)
            else:
                publish_name(path, spooled)
        segment = Segment("shards", tuple(spooled.entry for spooled in made))
        job.objects.create(segment_name(number), segment.encode())
    job.objects.create(segment_name(segments), Segment("end").encode())
    append(Log(), job.objects, lambda _: None)  # which creates the log's chapters
    return job


def publish_name(path: Path, spooled: Spooled) -> None:
    """Make an empty file of the name of a shard's part."""
    os.close(os.open(path / part_object(spooled.entry.shard), os.O_CREAT | os.O_WRONLY))


def publish_all(job: OpenJob, shards: int) -> None:
    """Give a job a log of this many shards, and each of them its part."""
    columns, outputs = OutputSpec().columns(MODEL), [np.zeros((2, MODEL.layer_dims[-1]), np.float32)]
    for start in range(0, shards, 1000):
        indices = range(start, min(shards, start + 1000))
        made = [make_rows(job.job.id, Place(index, FILE, index), [f"c{index}"], TOKENS) for index in indices]
        segment = Segment("shards", tuple(spooled.entry for spooled in made))
        job.objects.create(segment_name(start // 1000), segment.encode())
        for spooled in made:
            shard = spooled.entry.shard
            rows = decode_rows(spooled.rows, shard, 10)
            content = part_content(job.job, shard, rows, outputs, OutputSpec(), columns)
            publish(job.objects, shard, content, [], spooled.rows, failed_rows)
    job.objects.create(segment_name(-(-shards // 1000)), Segment("end").encode())
