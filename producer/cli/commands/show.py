"""`unrolled show`."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import click
import numpy as np

from producer.cli.options import json_option, out_argument
from unrolled.errors import JobError
from unrolled.job.directory import open_job
from unrolled.reading.dataset import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unrolled.job.directory import JobDirectory
    from unrolled.reading.row import Row, Vectors

_MASK_SHOWN = 24


@click.command()
@out_argument
@click.option("-n", "--rows", type=click.IntRange(1), default=5, show_default=True, help="Number of rows.")
@click.option("--numbers", type=click.IntRange(1), default=4, show_default=True, help="Numbers shown of each vector.")
@json_option
def show(*, out: Path, rows: int, numbers: int, as_json: bool) -> None:
    """Show a job's first published rows.

    A row is shown with its id, its length in real tokens, its mask, the first numbers of its first and of its last
    vector, and the norm of the last. A pooled vector is shown with its first numbers and its norm. --json prints one
    row on a line.

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
    from producer.terminal.table import table  # noqa: PLC0415 - JSON needs no rich

    shown = list(found)
    click.echo(table(_headings(shown[0] if shown else None), [_cells(row, numbers) for row in shown]))


def published_rows(directory: JobDirectory) -> Iterator[Row]:
    """The rows of a job's files in order, each file opened when its turn comes.

    Raises:
        UnrolledError: no file is published yet, or one is damaged.
    """
    shards = sorted(directory.published())
    if not shards:
        raise JobError(f"{directory.path}: no file is published yet; see `unrolled status {directory.path}`")
    for shard in shards:
        yield from open_dataset(directory.part(shard)).rows()


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
        return {"vector": vectors[:numbers].tolist(), "norm": _norm(vectors)}
    if not len(vectors):
        return {"first": None, "last": None, "norm": None}
    first, last = vectors[0], vectors[-1]
    return {"first": first[:numbers].tolist(), "last": last[:numbers].tolist(), "norm": _norm(last)}


def _headings(row: Row | None) -> tuple[str, ...]:
    found = ["id", "length", "mask"]
    for name, vectors in (row.vectors if row else {"outputs": np.empty((0, 1))}).items():
        if vectors.ndim == 1:
            found += [name, "norm"]
        else:
            of = "" if name == "outputs" else f" of {name}"
            found += [f"first vector{of}", f"last vector{of}", "norm"]
    return tuple(found)


def _cells(row: Row, numbers: int) -> tuple[object, ...]:
    mask = "".join("1" if real else "0" for real in row.mask[: _MASK_SHOWN + 1])
    if len(mask) > _MASK_SHOWN:
        mask = mask[: _MASK_SHOWN - 1] + "…"
    cells: list[object] = [row.id, row.length, mask]
    for vectors in row.vectors.values():
        if vectors.ndim == 1:
            cells += [_vector(vectors, numbers), f"{_norm(vectors):.4f}"]
        elif len(vectors):
            cells += [_vector(vectors[0], numbers), _vector(vectors[-1], numbers), f"{_norm(vectors[-1]):.4f}"]
        else:
            cells += ["", "", ""]
    return tuple(cells)


def _norm(vector: Vectors) -> float:
    return float((vector.astype(float) ** 2).sum() ** 0.5)


def _vector(vector: Vectors, numbers: int) -> str:
    more = " …" if vector.size > numbers else ""
    return " ".join(f"{number:+.3f}" for number in vector[:numbers]) + more
