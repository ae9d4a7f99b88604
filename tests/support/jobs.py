"""Jobs on disk as producer and worker leave them, without a broker or a process."""

from types import SimpleNamespace

import numpy as np

from producer.enqueue.shard import make_shard
from producer.rows import BadRow, Row
from unrolled.format.output_spec import OutputSpec
from unrolled.job.directory import create_job
from unrolled.job.job import Job
from unrolled.job.manifest import ManifestWriter
from unrolled.patience import Patience
from worker.runtime.metrics import Metrics
from worker.shards.shard_rows import read_rows
from worker.shards.shard_store import ShardStore

UNITS = 3
FINGERPRINT = "ab" * 32
VOCABULARY = 10_000
ROWS_PER_SHARD = 4
MODEL = SimpleNamespace(layer_dims=(2, UNITS))
ENGINE = SimpleNamespace(name="fused", arithmetic="float32")
STORE = ShardStore(ENGINE, VOCABULARY, Metrics(), Patience(print))


def make_job(path, shards=3, *, bad=(), ended=True, options=None):
    """A job whose shards are cut and spooled, none published; the last row of each shard in `bad` is bad."""
    directory = create_job(path, Job(FINGERPRINT, ("rows.txt",), OutputSpec().to_options() | (options or {})))
    manifest = ManifestWriter(directory.path)
    for index in range(shards):
        shard = make_shard(index, cut(index, bad=index in bad))
        directory.spool(shard.id, shard.blob, shard.bad_rows)
        manifest.append(shard.entry)
    if ended:
        manifest.end(shards=shards, rows=shards * ROWS_PER_SHARD)
    manifest.close()
    return directory


def cut(index, *, bad=False):
    """Rows of 1 to 4 steps, the second of them padding; no two rows have equal token ids."""
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
    """Publish random vectors of a shard, but for the rows in `failed` (row → reason), as a worker does."""
    rows = read_rows(directory.pending(shard), shard.hash, VOCABULARY)
    random = np.random.default_rng(shard.index)
    spec = OutputSpec.from_options(directory.job.options)
    columns = spec.columns(MODEL)
    outputs = [
        random.uniform(-1, 1, (column.vectors(rows.real.rows, rows.real.values.size), column.width)).astype(np.float32)
        for column in columns
    ]
    STORE.publish(directory, shard, rows, outputs, failed or {}, spec, columns)
    STORE.discard(directory, shard)


def bury(directory, shard):
    """Record a shard as dead, as a worker does."""
    STORE.bury(directory, shard, "its worker died 3 times")


def finished_job(path, shards=3, *, bad=(), options=None):
    """A job that is complete."""
    directory = make_job(path, shards, bad=bad, options=options)
    for shard in sorted(directory.waiting()):
        publish_shard(directory, shard)
    return directory
