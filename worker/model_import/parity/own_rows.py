"""A few rows of ids and states that the user's own program computed, compared with the model's.

The files:

    .npz       ids (rows, time), states (rows, time, outputs) and, if rows have unequal lengths, lengths (rows,)
               or, row by row: ids.0 (time,), states.0 (time, outputs), ids.1, states.1, …
    .parquet   one row a line: ids, a list of integers; states, a list of as many lists of floats

For a model that reads vectors, "vectors" takes the place of "ids": (rows, time, D) or (time, D), or a list of lists.
For a model that reads initial states, initial_state (rows, numbers) has them, too, or row by row initial_state.0; in
Parquet a list of floats.

Padding, the model's id 0, may be anywhere in a row. The model leaves it out, and so does the comparison.
"""

# Over 150 lines: half of them are the layouts of the file and the reasons for refusing one.

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import ModelError, RowError
from unrolled.tokenization.vectors import checked_states, checked_vectors
from worker.model_import.parity.comparison import PLAIN, find_engine, run_engine
from worker.model_import.parity.plain_arithmetic import last_states
from worker.model_import.parity.row_files import STATES, UNREADABLE, has_states, stored_rows, stored_states

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from unrolled.model.directory import ModelDirectory

#: The largest file: this command is for a few rows.
_MOST_BYTES = 1 << 30
_LAYOUT = (
    "give arrays ids (rows, time) and states (rows, time, outputs), with lengths (rows,) if rows are padded, or ids.0 "
    "and states.0 for row 0, and so on; in Parquet, columns ids and states of lists"
)
_LAYOUT_OF_VECTORS = _LAYOUT.replace("ids (rows, time)", "vectors (rows, time, numbers)").replace("ids", "vectors")


@dataclass(frozen=True, slots=True)
class Row:
    """A row that the user's program computed.

    Attributes:
        ids: int64 (time,); or vectors, float32 (time, D).
        states: float64 (time, outputs), one for each id.
        begun: float32 (numbers,), the initial states that the row brings; None if the model reads none.
        places: of the ids in the user's row, if padding was left out of it; else None.
        padded: whether padding was left out of it, or cut off its end, or the model pads it.
    """

    ids: NDArray[Any]
    states: NDArray[np.float64]
    begun: NDArray[np.float32] | None = None
    places: NDArray[np.int64] | None = None
    padded: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where two computations differ.

    Attributes:
        row: number of the row, from 0.
        token: number of the token in it, from 0; padding is counted.
        is_first: whether only padding is before it.
        id: the token's id, as the user's program counts; None for a vector.
        number: number of the output, from 0.
        own: the user's value.
        model: the model's value.
        before: the largest difference of the row's tokens before it; 0 if there is none.
    """

    row: int
    token: int
    is_first: bool
    id: int | None
    number: int
    own: float
    model: float
    before: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The result of a comparison.

    Attributes:
        program: what computed the model.
        rows: how many rows were compared.
        tokens: how many tokens they have.
        padding: how many places have padding, which isn't compared.
        largest: the largest absolute difference; NaN if a value is NaN.
        differing: how many tokens have a number that differs by more than the bound.
        first: the first such place, in the order of rows and tokens; None if there is none.
        other_ids: whether the rows are the same with the other value of --ids-from.
        padded_differ: whether the rows that differ are those with padding, all of them, or those that the model pads.
        unpadded: how many rows with tokens have no padding.
    """

    program: str
    rows: int
    tokens: int
    padding: int
    largest: float
    differing: int
    first: Place | None
    other_ids: bool = False
    padded_differ: bool = False
    unpadded: int = 0


def read_rows(path: Path, vector_dim: int | None = None, given_dim: int = 0) -> list[Row]:
    """Read a file of rows.

    Args:
        path: the file.
        vector_dim: width of the vectors in it; None if it has ids.
        given_dim: numbers in the initial states of a row; 0 if the model reads none.

    Raises:
        ModelError: it can't be read, or has another layout.
    """
    # Over 40 lines: half of it is the description of its arguments, and of what a file lacks.
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path}: has more than {_MOST_BYTES:,} bytes; a few rows are enough")
        name = "ids" if vector_dim is None else "vectors"
        found = stored_rows(path, name)
        if not given_dim and has_states(path):
            raise ModelError(f"{path}: {STATES} is given, and the model reads none; leave it out")
        begun = stored_states(path) if given_dim else []
    except UNREADABLE as error:
        layout = _LAYOUT if vector_dim is None else _LAYOUT_OF_VECTORS
        layout += f", and {STATES} of lists of {given_dim:,} numbers" if given_dim else ""
        raise ModelError(f"{path}: can't be read as rows of {name} and states ({error}); {layout}") from error
    if vector_dim is None:
        rows = [_row(path, number, ids, states) for number, (ids, states, _) in enumerate(found)]
    else:
        rows = [
            _row_of_vectors(path, number, vectors, states, vector_dim)
            for number, (vectors, states, _) in enumerate(found)
        ]
    rows = [replace(row, padded=cut) for row, (_, _, cut) in zip(rows, found, strict=True)]
    if given_dim:
        rows = _with_states(path, rows, begun, given_dim)
    if not sum(row.ids.size for row in rows):
        lacks = f"an id; {_LAYOUT}" if vector_dim is None else f"a vector; {_LAYOUT_OF_VECTORS}"
        raise ModelError(f"{path}: has no row with {lacks}")
    return rows


def compare_rows(model: ModelDirectory, rows: list[Row], ids_from: int, bound: float) -> Difference:
    """Compare the user's states with the model's.

    Args:
        model: the imported model.
        rows: from `read_rows`.
        ids_from: 1 if the ids are the model's; 0 if they are the source's, to which one is added.
        bound: the largest allowed difference.

    Raises:
        ModelError: the states have another width than the model's, or an id is none of the model's.
    """
    found = _compared(model, rows, ids_from, bound)
    if found.first is None or not _fit(model, _without_padding(model, rows, 1 - ids_from), 1 - ids_from):
        return found
    other = _compared(model, rows, 1 - ids_from, bound)
    return replace(found, other_ids=other.first is None)


def _compared(model: ModelDirectory, rows: list[Row], ids_from: int, bound: float) -> Difference:
    real = _without_padding(model, rows, ids_from)
    if not sum(row.ids.size for row in real):
        raise ModelError("all rows consist of padding; give rows with tokens")
    if (pads := model.config.padding) is not None:
        real = [replace(row, padded=row.ids.size < pads.length) for row in real]
    program, made = _computed(model, real, ids_from)
    padding = sum(len(row.ids) for row in rows) - sum(len(row.ids) for row in real)
    return replace(_difference(program, real, made, bound), padding=padding)


def _without_padding(model: ModelDirectory, rows: list[Row], ids_from: int) -> list[Row]:
    """The rows without the tokens that the model leaves out: id 0, or vectors that consist of the mask's number."""
    mask, reads_vectors = model.config.mask_value, model.config.vector_dim is not None
    if (mask is None) if reads_vectors else not ids_from:
        return rows
    made = []
    for row in rows:
        hidden = (row.ids == np.float32(mask or 0)).all(axis=1) if reads_vectors else row.ids == 0
        (places,) = np.nonzero(~hidden)
        made.append(
            replace(row, ids=row.ids[places], states=row.states[places], places=places, padded=True)
            if hidden.any()
            else row
        )
    return made


def _with_states(path: Path, rows: list[Row], begun: list[Any], width: int) -> list[Row]:
    if len(begun) != len(rows):
        raise ModelError(f"{path}: has {len(rows):,} rows, and {STATES} for {len(begun):,}; give one for each")
    found = []
    for number, (row, state) in enumerate(zip(rows, checked_states(begun, width), strict=True)):
        if isinstance(state, RowError):
            raise ModelError(f"{path}: row {number}: {state}")
        found.append(replace(row, begun=state))
    return found


def _row(path: Path, number: int, ids: Any, states: Any) -> Row:
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ModelError(f"{path}: the ids of row {number} are {ids.dtype} of shape {ids.shape}; {_LAYOUT}")
    if states.ndim != 2 or len(states) != len(ids) or states.dtype.kind not in "fiu":
        raise ModelError(
            f"{path}: row {number} has {len(ids)} ids, and its states are {states.dtype} of shape {states.shape}; each "
            f"id needs one state, {_LAYOUT}"
        )
    return Row(ids.astype(np.int64), states.astype(np.float64))


def _row_of_vectors(path: Path, number: int, vectors: Any, states: Any, width: int) -> Row:
    (checked,) = checked_vectors([vectors], width, None)
    if isinstance(checked, RowError):
        raise ModelError(f"{path}: row {number}: {checked}; {_LAYOUT_OF_VECTORS}")
    if states.ndim != 2 or len(states) != len(checked.vectors) or states.dtype.kind not in "fiu":
        raise ModelError(
            f"{path}: row {number} has {len(checked.vectors)} vectors, and its states are {states.dtype} of shape "
            f"{states.shape}; each vector needs one state, {_LAYOUT_OF_VECTORS}"
        )
    return Row(checked.vectors, states.astype(np.float64))


def _fit(model: ModelDirectory, rows: list[Row], ids_from: int) -> bool:
    if model.config.vector_dim is not None:
        return ids_from == 1
    shift = 1 - ids_from
    return all(((row.ids + shift >= 1) & (row.ids + shift <= model.config.vocab_size)).all() for row in rows)


def _computed(model: ModelDirectory, rows: list[Row], ids_from: int) -> tuple[str, list[NDArray[Any]]]:
    """The program that computes the model, and the states of each row."""
    config = model.config
    for number, row in enumerate(rows):
        if row.states.shape[1] != config.output_dim:
            raise ModelError(
                f"the states of row {number} are {row.states.shape[1]} wide, and the model's are {config.output_dim}; "
                "give the states of the last layer that was imported (forward, then backward)"
            )
    if config.vector_dim is not None:
        if not ids_from:
            raise ModelError("--ids-from 0: the model reads vectors, which have no ids; leave it out")
    elif not _fit(model, rows, ids_from):
        low, high = (1, config.vocab_size) if ids_from else (0, config.vocab_size - 1)
        bad = next(int(one) for row in rows for one in row.ids if not low <= one <= high)
        raise ModelError(
            f"id {bad} isn't one of the model's: with --ids-from {ids_from}, ids {low}..{high} are allowed"
            + (", and 0 for padding" if ids_from else "")
        )
    padding = config.padding
    for number, row in enumerate(rows):
        if padding is not None and row.ids.size > padding.length:
            raise ModelError(f"row {number}: {padding.why_too_long(row.ids.size)}")
    ids = [row.ids if config.vector_dim else (row.ids + 1 - ids_from).astype(np.int32) for row in rows]
    for name in ("fused", "tensorflow"):
        engine = find_engine(name, model)
        if not isinstance(engine, str):
            filled = [row for row in ids if row.size]
            begun = [row.begun for row in rows if row.ids.size and row.begun is not None]
            made = iter(run_engine(engine, config, filled, np.stack(begun) if begun else None))
            empty = np.empty((0, config.output_dim))
            return f"{name} engine", [next(made) if row.size else empty for row in ids]
    weights = model.weights()
    return PLAIN, [
        last_states(config, weights, each, np.float64, row.begun) for each, row in zip(ids, rows, strict=True)
    ]


def _difference(program: str, rows: list[Row], made: list[NDArray[Any]], bound: float) -> Difference:
    largest, differing, first = 0.0, 0, None
    padded_differ, unpadded = True, 0
    for number, (row, states) in enumerate(zip(rows, made, strict=True)):
        if not row.ids.size:
            continue
        differences = np.abs(states - row.states)
        wrong = ~(differences <= bound)  # NaN differs too
        largest = max(largest, float(differences.max())) if not np.isnan(differences).any() else float("nan")
        differing += int(wrong.any(axis=1).sum())
        padded_differ &= bool(wrong.any()) is row.padded
        unpadded += not row.padded
        if first is None and wrong.any():
            token, output = (int(one) for one in np.argwhere(wrong)[0])
            values = float(row.states[token, output]), float(states[token, output])
            place = token if row.places is None else int(row.places[token])
            named = int(row.ids[token]) if row.ids.ndim == 1 else None
            before = float(differences[:token].max(initial=0.0))
            first = Place(number, place, token == 0, named, output, *values, before)
    tokens = sum(len(row.ids) for row in rows)
    return Difference(
        program,
        rows=len(rows),
        tokens=tokens,
        padding=0,
        largest=largest,
        differing=differing,
        first=first,
        padded_differ=padded_differ and first is not None,
        unpadded=unpadded,
    )
