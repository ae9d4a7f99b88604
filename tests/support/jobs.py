"""Jobs on disk as producer and worker leave them, without a broker or a process."""

import numpy as np

from producer.enqueue.shard import make_shard
from producer.sources.rows import BadRow, Row
from unrolled.format.output_spec import OutputSpec
from unrolled.job import names
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.protocol.log import Log, append, catch_up
from unrolled.protocol.opening import create_job
from unrolled.protocol.spooling import spool
from unrolled.reading.outcome import failed_rows
from worker.shards import publication
from worker.shards.part_content import part_content
from worker.shards.shard_rows import decode_rows

UNITS = 3
FINGERPRINT = "ab" * 32
VOCABULARY = 10_000
ROWS_PER_SHARD = 4


class _Model:
    layer_dims = (2, UNITS)


MODEL = _Model()


def job_of(*, inputs=("rows.txt",), engine="fused", arithmetic="float32", live=False, options=None):
    """What a job is."""
    stored = OutputSpec().to_options() | (options or {})
    return Job(FINGERPRINT, Inputs.named(inputs), engine, arithmetic, live=live, options=stored)


def make_job(path, shards=3, *, bad=(), empty=(), ended=True, **more):
    """A job whose shards are cut and spooled, none published.

    The last row of each shard in `bad` is bad, and the first of each shard in `empty` has only padding.
    """
    job = create_job(path, job_of(**more))
    spooled = [
        make_shard(index, job.job.id, cut(index, bad=index in bad, empty=index in empty)) for index in range(shards)
    ]
    for one in spooled:
        spool(job.objects, one)
    if spooled:
        decide(job, Segment("shards", tuple(one.entry for one in spooled)))
    if ended:
        decide(job, Segment("end"))
    return job


def decide(job, segment):
    """Append a segment to a job's log."""
    left = [segment]
    append(Log(), job.objects, lambda _: left.pop() if left else None)


def log_of(job):
    """A job's log, read to its end."""
    log = Log()
    catch_up(log, job.objects)
    return log


def waiting(job):
    """The shards of a job that have rows, in order."""
    return sorted(names.shards_in(job.objects.list(names.ROWS)))


def published(job):
    """The shards of a job that have a part, in order."""
    return sorted(names.parts_in(job.objects.list(names.PARTS)))


def dead(job):
    """The lives of a job that were given up, in order."""
    return sorted(names.lives_in(job.objects.list(names.DEAD)))


def cut(index, *, bad=False, empty=False):
    """Rows of 1 to 4 steps, the second of them padding; no two rows have equal token ids."""
    rows = []
    for number in range(ROWS_PER_SHARD):
        position = index * ROWS_PER_SHARD + number
        tokens = np.arange(position + 1, position + 2 + number, dtype=np.int32)
        tokens[1:2] = 0
        rows.append(Row("rows.txt", position, f"rows.txt#{position}", tokens))
    if empty:
        rows[0] = rows[0]._replace(tokens=rows[0].tokens * 0)
    if bad:
        rows[-1] = BadRow("rows.txt", rows[-1].position, None, "token id -3 is negative")
    return rows


def publish_shard(job, shard, failed=None, content=None):
    """Publish random vectors of a shard, but for the rows in `failed` (row → reason), as a worker does.

    Where the content of its rows is not given, it is read.
    """
    content = content or job.objects.read(names.rows_object(shard))
    rows = decode_rows(content, shard, VOCABULARY)
    random = np.random.default_rng(shard.index)
    spec = OutputSpec.from_options(job.job.options)
    columns = spec.columns(MODEL)
    outputs = [
        random.uniform(-1, 1, (column.vectors(rows.real.rows, rows.real.values.size), column.width)).astype(np.float32)
        for column in columns
    ]
    for column, vectors in zip(columns, outputs, strict=True):
        if not column.per_token:
            vectors[np.diff(rows.real.offsets) == 0] = 0
    good = rows.without(failed or {})
    part = part_content(job.job, shard, good, outputs, spec, columns)
    return publication.publish(job.objects, shard, part, [row.row for row in good.failed], content, failed_rows)


def record_death(job, shard, number=0):
    """Record a life of a shard as given up, as a worker does."""
    publication.record_death(job.objects, Life(shard, number), "its worker died 3 times")


def finished_job(path, shards=3, **more):
    """A job that is complete."""
    job = make_job(path, shards, **more)
    for shard in waiting(job):
        publish_shard(job, shard)
    return job
