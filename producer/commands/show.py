"""`unrolled show`."""

from __future__ import annotations

import itertools
import json
import shutil
from typing import TYPE_CHECKING

import click

from producer.options import json_option, out_argument
from producer.table import table
from unrolled.errors import JobError
from unrolled.job import open_job
from unrolled.reader import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from unrolled.batch import Row
    from unrolled.job import JobDirectory

_MASK_SHOWN = 24


@click.command()
@out_argument
@click.option("-n", "--rows", type=click.IntRange(1), default=5, show_default=True, help="How many rows.")
@click.option("--numbers", type=click.IntRange(1), default=4, show_default=True, help="Numbers of each vector.")
@json_option
def show(*, out: Path, rows: int, numbers: int, as_json: bool) -> None:
    """Show a job's first published rows.

    Of each row: its id, its length (real tokens), its mask, the first numbers of its first and last vector,
    and the last one's norm. JSON comes one row on a line.

    \b
    Examples:
      unrolled show out
      unrolled show out -n 20 --json | jq .norm
    """
    found = itertools.islice(published_rows(open_job(out)), rows)
    if as_json:
        for row in found:
            click.echo(json.dumps(as_dict(row, numbers)))
        return
    headings = ("id", "length", "mask", "first vector", "last vector", "norm")
    lines = [_cells(row, numbers) for row in found]
    click.echo(table(headings, lines, shutil.get_terminal_size().columns))


def published_rows(directory: JobDirectory) -> Iterator[Row]:
    """The rows of a job's files in order, each file opened when its turn comes.

    Raises:
        UnrolledError: no file is published yet, or one is damaged.
    """
    shards = sorted(directory.published(), key=lambda shard: (len(shard), shard))
    if not shards:
        raise JobError(f"{directory.path}: no file is published yet; see `unrolled status {directory.path}`")
    for shard in shards:
        yield from open_dataset(directory.part(shard)).rows()


def as_dict(row: Row, numbers: int) -> dict[str, object]:
    """One row for scripts; vectors are null where the row has no real token."""
    return {
        "id": row.id,
        "length": row.length,
        "mask": row.mask.astype(int).tolist(),
        "first": row.outputs[0][:numbers].tolist() if row.length else None,
        "last": row.outputs[-1][:numbers].tolist() if row.length else None,
        "norm": _norm(row) if row.length else None,
    }


def _cells(row: Row, numbers: int) -> tuple[object, ...]:
    mask = "".join("1" if real else "0" for real in row.mask[: _MASK_SHOWN + 1])
    if len(mask) > _MASK_SHOWN:
        mask = mask[: _MASK_SHOWN - 1] + "…"
    if not row.length:
        return row.id, row.length, mask, "", "", ""
    first, last = _vector(row.outputs[0], numbers), _vector(row.outputs[-1], numbers)
    return row.id, row.length, mask, first, last, f"{_norm(row):.4f}"


def _norm(row: Row) -> float:
    return float((row.outputs[-1].astype(float) ** 2).sum() ** 0.5)


def _vector(vector: NDArray[np.float32], numbers: int) -> str:
    more = " …" if vector.size > numbers else ""
    return " ".join(f"{number:+.3f}" for number in vector[:numbers]) + more
