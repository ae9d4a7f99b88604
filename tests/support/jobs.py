"""Jobs on disk as producer and worker leave them, without a broker or a process."""

from types import SimpleNamespace

import numpy as np

from producer.enqueue.shard import make_shard, spool
from producer.rows import BadRow, Row
from unrolled.format.output_spec import OutputSpec
from unrolled.job.directory import create_job
from unrolled.job.job import Job
from unrolled.job.manifest import ManifestWriter
from worker.shards.shard_publisher import publish_part, publish_quarantine
from worker.shards.shard_reader import read_rows

UNITS = 3
FINGERPRINT = "ab" * 32
ENGINE = SimpleNamespace(name="fused", arithmetic="float32")
ROWS_PER_SHARD = 4
MODEL = SimpleNamespace(layer_dims=(2, UNITS))


def make_job(path, shards=3, *, bad=(), ended=True, options=None):
    """A job whose shards are cut and spooled, none published; the last row of each shard in `bad` is bad."""
    directory = create_job(path, Job(FINGERPRINT, ("rows.txt",), OutputSpec().to_options() | (options or {})))
    manifest = ManifestWriter(directory.path)
    for index in range(shards):
        shard = make_shard(index, cut(index, bad=index in bad))
        spool(directory, shard)
        manifest.append(shard.entry)
    if ended:
        manifest.end(shards=shards, rows=shards * ROWS_PER_SHARD)
    manifest.close()
    return directory


def cut(index, *, bad=False):
    """Rows of 1 to 4 steps, the second of them padding; token ids tell the rows apart."""
    rows = []
    for number in range(ROWS_PER_SHARD):
        position = index * ROWS_PER_SHARD + number
        tokens = np.arange(position + 1, position + 2 + number, dtype=np.int32)
        tokens[1:2] = 0
        rows.append(Row("rows.txt", position, f"rows.txt#{position}", tokens))
    if bad:
        rows[-1] = BadRow("rows.txt", rows[-1].position, None, "token id -3 is negative")
    return rows


def publish_shard(directory, shard, failed=None):
    """Do what a worker does with a shard whose rows `failed` (row → reason) the engine can't compute."""
    rows = read_rows(directory.pending(shard), shard.hash, vocab_size=10_000)
    random = np.random.default_rng(shard.index)
    spec = OutputSpec.from_options(directory.job.options)
    columns = spec.columns(MODEL)
    outputs = [
        random.uniform(-1, 1, (column.vectors(rows.real.rows, rows.real.values.size), column.width)).astype(np.float32)
        for column in columns
    ]
    good = rows.without(failed or {})
    publish_quarantine(directory, shard, good.failed)
    publish_part(directory, shard, good, outputs, spec, columns, ENGINE)
    directory.discard_pending(shard)


def bury(directory, shard):
    """Record a shard as dead, as a worker does."""
    directory.dead(shard).write_text(f'{{"shard": "{shard}", "reason": "its worker died 3 times"}}\n')


def finished_job(path, shards=3, *, bad=(), options=None):
    """A job that is complete."""
    directory = make_job(path, shards, bad=bad, options=options)
    for shard in sorted(directory.waiting()):
        publish_shard(directory, shard)
    return directory
