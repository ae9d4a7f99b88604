"""Jobs for reports, published without a worker: any number of rows, with vectors in groups, and records of time."""

import numpy as np
from support.jobs import decide, job_of

from unrolled.format.output_spec import OutputSpec
from unrolled.job.bad_rows import encode_bad_rows
from unrolled.job.names import part_object, times_object
from unrolled.job.segment import Segment
from unrolled.job.time_record import Interval, TimeRecord
from unrolled.protocol.opening import create_job
from unrolled.protocol.spooling import Place, make_rows, spool
from unrolled.reading.pooling import pool_rows
from unrolled.tokenization.ragged import Ragged, offsets_of
from worker.shards.part_content import part_content
from worker.shards.shard_rows import decode_rows

VOCABULARY = 5000
GROUPS = 7


class _Model:
    def __init__(self, units):
        self.layer_dims = (units,)


def report_job(
    path,
    rows=200,
    *,
    units=8,
    rows_per_shard=64,
    pooling=("none", "mean"),
    with_tokens=True,
    positions=None,
    files=3,
    folder="corpus",
    lengths=None,
    ids=None,
    bad=(),
    unpublished=0,
    ended=True,
    records=True,
    change=None,
):
    """A job whose parts are there, but for the last `unpublished` shards.

    Args:
        path: of its directory.
        rows: how many there are.
        rows_per_shard: how many of them are in a shard.
        units: numbers in a vector.
        pooling: what it stores.
        with_tokens: whether it stores token ids, too.
        positions: the tokens whose vectors it stores; None for all.
        files: number of inputs, each with as many rows as the others.
        folder: of the inputs.
        lengths: tokens of each row; None for short rows of many lengths.
        ids: called with a row's number; None for ids by file and row.
        bad: the first shard's bad rows, each with file, position, id and reason.
        unpublished: shards at the end whose rows wait.
        ended: whether the input was read to its end.
        records: whether two workers recorded their time.
        change: called with a shard's number and the vectors of each of its columns, which it may change.
    """
    # Over 40 lines: a shard from its rows to its part.
    spec = OutputSpec(pooling=pooling, with_tokens=with_tokens, positions=positions)
    columns = spec.columns(_Model(units))
    job = create_job(
        path, job_of(inputs=[f"{folder}/file-{file}.txt" for file in range(files)], options=spec.to_options())
    )
    starts = range(0, rows, rows_per_shard)
    entries = []
    for number, start in enumerate(starts):
        count = min(rows_per_shard, rows - start)
        random = np.random.default_rng(number)
        steps = np.minimum(np.exp(random.normal(2.2, 0.6, count)).astype(np.int64), 300)
        steps[:1] = 0 if number == 0 else steps[:1]
        steps = steps if lengths is None else np.full(count, lengths)
        tokens = Ragged.from_lengths(random.integers(1, VOCABULARY, steps.sum()).astype(np.int32), steps)
        of_file = (start + np.arange(count)) * files // rows
        named = [f"{folder}/file-{of_file[at]}.txt#{start + at}" for at in range(count)]
        if ids is not None:
            named = [ids(start + at) for at in range(count)]
        place = Place(number, f"{folder}/file-{of_file[0]}.txt", start)
        spooled = make_rows(
            job.job.id, place, named, tokens, encode_bad_rows(job.job.id, number, bad if number == 0 else ())
        )
        entries.append(spooled.entry)
        if number >= len(starts) - unpublished or (bad and number == 0):
            spool(job.objects, spooled)
        if number < len(starts) - unpublished:
            good = decode_rows(spooled.rows, spooled.entry.shard, VOCABULARY)
            outputs = [_vectors(column, tokens, random) for column in columns]
            for vectors in outputs if change else ():
                change(number, vectors)
            part = part_content(job.job, spooled.entry.shard, good.without({}), outputs, spec, columns)
            job.objects.create(part_object(spooled.entry.shard), part)
            if bad and number == 0:
                job.objects.delete(f"_unrolled/rows/{spooled.entry.shard}.rows")
    decide(job, Segment("shards", tuple(entries)))
    if ended:
        decide(job, Segment("end"))
    if records:
        record_time(job, sum(entry.tokens for entry in entries), len(entries), rows)
    return job


def record_time(job, tokens, shards, rows, workers=2, seconds=90.0, later=0.0):
    """Records of workers that computed a job side by side, the later ones a little slower; `later` by some seconds."""
    shares = np.arange(workers, 0, -1) / (workers * (workers + 1) / 2)
    for number, part in enumerate(shares):
        count = 45
        wave = 1 + 0.25 * np.sin(np.arange(count) / 4 + number)
        of_each = offsets_of(np.rint(wave / wave.sum() * tokens * part).astype(np.int64))
        intervals = tuple(
            Interval(
                at, int(at % max(1, count * workers // max(1, shards)) == 0), round(rows * part / count),
                int(of_each[at + 1] - of_each[at]), 0.78 * float(of_each[at + 1] - of_each[at]), 1.9, 0.12, 1.6, 0.5,
            )
            for at in range(count)
        )  # fmt: skip
        record = TimeRecord(
            f"node-{number + 1}-{4711 + number}-a1b2c{number}", "fused engine: avx512, float32, 2 threads", 4,
            1_790_000_000.0 + number + later, seconds / count, float(seconds), intervals,
        )  # fmt: skip
        job.objects.create(times_object(f"node-{number}-{int(later):06d}"), record.encode())


def _vectors(column, tokens, random):
    """Vectors around the middle of a group; a row's tokens are near each other."""
    middles = np.random.default_rng(99).normal(0, 1, (GROUPS, column.width)).astype(np.float32)
    group = random.integers(0, GROUPS, tokens.rows)
    rows = middles[group] + random.normal(0, 0.5, (tokens.rows, column.width)).astype(np.float32)
    if not column.per_token:
        rows[tokens.lengths == 0] = 0
        return rows.astype(np.float32)
    spread = np.repeat(rows, tokens.lengths, axis=0)
    found = (spread + random.normal(0, 0.2, spread.shape)).astype(np.float32)
    assert pool_rows(found, tokens.offsets, "mean").shape == rows.shape
    return np.ascontiguousarray(found)
