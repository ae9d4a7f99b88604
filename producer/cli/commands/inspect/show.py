"""`unrolled show`."""

# Over 150 lines: one command, and how a row is shown.

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

import click
import numpy as np

from producer.cli.options import job_at, json_option, out_argument
from producer.jobs.damage import explain_damage, explain_stray
from producer.jobs.diagnosis import left_behind
from unrolled.errors import FileFormatError, JobError, as_argument
from unrolled.job import names
from unrolled.protocol.completion import standing
from unrolled.protocol.gaps import refuse_gap
from unrolled.protocol.log import Log, catch_up
from unrolled.reading.dataset import open_part, why_no_row
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.protocol.opening import OpenJob
    from unrolled.reading.row import Row, Vectors

_MASK_SHOWN = 24


@click.command()
@out_argument
@click.option("-n", "--rows", type=click.IntRange(1), default=5, show_default=True, help="Number of rows.")
@click.option("--numbers", type=click.IntRange(1), default=4, show_default=True, help="Numbers shown of each vector.")
@json_option
def show(*, out: str, rows: int, numbers: int, as_json: bool) -> None:
    """Show a job's first published rows.

    A row is shown with its id, its length in real tokens, its mask, the first numbers of the first and of the last of
    its stored vectors, and the norm of the last. A pooled vector is shown with its first numbers and its norm. --json
    prints one row on a line.

    \b
    Examples:
      unrolled show out
      unrolled show out -n 20 --json | jq .norm
    """
    job = job_at(out)
    found = itertools.islice(published_rows(job), min(rows, sys.maxsize))
    first = next(found, None)
    if first is None:
        click.echo(f"{job.place}: {_why_none(job)}", err=as_json)
    elif as_json:
        for row in itertools.chain([first], found):
            click.echo(json_text(as_dict(row, numbers)))
    else:
        from producer.terminal.table import table  # noqa: PLC0415 - JSON needs no rich

        shown = [first, *found]
        click.echo(table(_headings(first), [cells for row in shown for cells in _lines(row, numbers)]))


def _why_none(job: OpenJob) -> str:
    """Why no row of a job is published, though nothing is wrong."""
    if not any(names.parts_in(job.objects.list(names.PARTS))):
        return f"complete, and {why_no_row(job)}"
    if standing(Log(), job.objects, live=job.job.live).complete:
        way = f"unrolled quarantine {as_argument(job.place)}"
        return f"complete, and none of its rows can be computed; for the reasons: {way}"
    return f"no row is published yet; see `unrolled status {as_argument(job.place)}`"


def published_rows(job: OpenJob) -> Iterator[Row]:
    """The rows of a job's parts in order, each part opened when it is needed.

    Raises:
        UnrolledError: no part is published yet, or one is damaged.
    """
    shards = sorted(names.parts_in(job.objects.list(names.PARTS)))
    log = Log()
    refuse_gap(log, job.objects)
    if log.discarded:
        left = f"{left_behind(len(shards))}; to delete what is left: unrolled discard {as_argument(job.place)}"
        raise JobError(f"{job.place}: the job was discarded, and {left if shards else 'no row of it is kept'}")
    if not shards and not standing(log, job.objects, live=job.job.live).complete:
        raise JobError(f"{job.place}: no part is published yet; see `unrolled status {as_argument(job.place)}`")
    for shard in shards:
        if shard not in log.entries:
            catch_up(log, job.objects)  # it may be newer than the log that was read
        if shard not in log.entries:
            part = f"{job.place}/{names.part_object(shard)}"
            raise FileFormatError(f"{part}: {explain_stray(ended=log.ended, live=job.job.live)}")
        try:
            yield from open_part(job.objects.store, shard).rows()
        except FileFormatError as error:
            raise FileFormatError(explain_damage(job, log, shard, str(error))) from error


def as_dict(row: Row, numbers: int) -> dict[str, object]:
    """One row for scripts; vectors are null where the row has no real token.

    Where a job stores other columns than `outputs`, each column's numbers are under its name.
    """
    about: dict[str, object] = {"id": row.id, "length": row.length, "mask": row.mask.astype(int).tolist()}
    if set(row.vectors) == {"outputs"}:
        return about | _described(row.outputs, numbers)
    return about | {name: _described(vectors, numbers) for name, vectors in row.vectors.items()}


def _described(vectors: Vectors, numbers: int) -> dict[str, object]:
    """The first and the last of a row's vectors, or its only one, and the last one's norm."""
    if vectors.ndim == 1:
        if np.isnan(vectors[0]):
            return {"vector": None, "norm": None}
        return {"vector": vectors[:numbers].tolist(), "norm": _norm(vectors)}
    if not len(vectors):
        return {"first": None, "last": None, "norm": None}
    first, last = vectors[0], vectors[-1]
    return {"first": first[:numbers].tolist(), "last": last[:numbers].tolist(), "norm": _norm(last)}


def _headings(row: Row) -> tuple[str, ...]:
    columns = row.vectors
    if len(columns) > 1:
        return ("id", "length", "mask", "column", "first vector", "last vector", "norm")
    ((name, vectors),) = columns.items()
    of = "" if name == "outputs" else f" of {name}"
    found = (name,) if vectors.ndim == 1 else (f"first vector{of}", f"last vector{of}")
    return ("id", "length", "mask", *found, "norm")


def _lines(row: Row, numbers: int) -> Iterator[tuple[object, ...]]:
    """The cells of a row's lines: one line, or one for each column of vectors where there are several."""
    mask = "".join("1" if real else "0" for real in row.mask[: _MASK_SHOWN + 1])
    if len(mask) > _MASK_SHOWN:
        mask = mask[: _MASK_SHOWN - 1] + "…"
    several = len(row.vectors) > 1
    for number, (name, vectors) in enumerate(row.vectors.items()):
        about: list[object] = [row.id, row.length, mask] if number == 0 else ["", "", ""]
        if several:
            about.append(name)
        if vectors.ndim == 1 and not np.isnan(vectors[0]):
            about += [_vector(vectors, numbers), *[""] * several, f"{_norm(vectors):.4f}"]
        elif vectors.ndim > 1 and len(vectors):
            about += [_vector(vectors[0], numbers), _vector(vectors[-1], numbers), f"{_norm(vectors[-1]):.4f}"]
        else:
            about += [""] * (2 + (vectors.ndim > 1 or several))
        yield tuple(about)


def _norm(vector: Vectors) -> float:
    return float((vector.astype(float) ** 2).sum() ** 0.5)


def _vector(vector: Vectors, numbers: int) -> str:
    more = " …" if vector.size > numbers else ""
    return " ".join(f"{number:+.3f}" for number in vector[:numbers]) + more
