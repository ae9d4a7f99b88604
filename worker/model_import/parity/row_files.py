"""The arrays and columns of a file of rows; `own_rows` describes their layouts, and checks what they hold."""

# Over 150 lines: two formats of one content, each with what is refused of it.

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.errors import ModelError
from unrolled.tokenization.number_lists import is_list, is_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Array or column with the initial states.
STATES = "initial_state"
#: Errors of NumPy, of the archive that it reads, and of pyarrow for files that are damaged or something else.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    OverflowError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    pa.ArrowException,
)
_NPY, _PARQUET, _ZIP = b"\x93NUM", b"PAR1", b"PK"
#: Columns of a file that an error names.
_SHOWN = 12


def stored_rows(path: Path, name: str) -> list[tuple[Any, Any, bool]]:
    """The ids or vectors and the states of each row, and whether it was longer in the file.

    Args:
        path: the file.
        name: "ids" or "vectors".

    Raises:
        ModelError: a column is missing.
        ValueError, or another one of UNREADABLE: the file can't be read, or has another layout.
    """
    return list(_parquet_rows(path, name) if _is_parquet(path) else _npz_rows(path, name))


def stored_states(path: Path) -> list[Any]:
    """The initial states of each row; arguments and errors are those of `stored_rows`."""
    if not _is_parquet(path) and not has_states(path):  # of Parquet, the columns are named
        raise ValueError(f"it has no {STATES}, which the model needs for each row")
    if _is_parquet(path):
        states: list[Any] = _read_columns(path, STATES)[STATES].to_pylist()
        return states
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        if f"{STATES}.0" not in stored.files:
            return list(stored[STATES])
        return [stored[f"{STATES}.{number}"] for number in range(_numbered(stored.files, STATES))]


def has_states(path: Path) -> bool:
    """Whether a file has initial states; arguments and errors are those of `stored_rows`."""
    if _is_parquet(path):
        return STATES in pq.read_schema(path).names
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return any(name == STATES or name.startswith(f"{STATES}.") for name in stored.files)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
    if head == _NPY:
        raise ValueError("it is .npy, one array without a name; allowed: .npz, as numpy.savez writes it, and Parquet")
    if head != _PARQUET and not head.startswith(_ZIP):
        raise ValueError("it is neither .npz, as numpy.savez writes it, nor Parquet")
    return head == _PARQUET


def _npz_rows(path: Path, name: str) -> Iterator[tuple[Any, Any, bool]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:  # of a path, NumPy leaves it open
        if name in stored.files:
            ids, states = stored[name], stored["states"]
            axes = 2 if name == "ids" else 3
            if ids.ndim != axes or states.ndim != 3 or states.shape[:2] != ids.shape[:2]:
                raise ValueError(f"{name} {ids.shape} and states {states.shape} don't fit together")
            lengths = stored["lengths"] if "lengths" in stored.files else np.full(len(ids), ids.shape[1])
            if lengths.shape != ids.shape[:1]:
                raise ValueError(f"{name} {ids.shape} and lengths {lengths.shape} don't fit together")
            _check_lengths(lengths, ids.shape[1])
            for row, length in enumerate(lengths):
                yield ids[row, : int(length)], states[row, : int(length)], bool(length < ids.shape[1])
            return
        rows, states_of = (_numbered(stored.files, each) for each in (name, "states"))
        if rows != states_of:
            raise ValueError(f"{name} are given for {rows:,} rows, and states for {states_of:,}; allowed: one of each")
        for number in range(rows):
            yield stored[f"{name}.{number}"], stored[f"states.{number}"], False


def _check_lengths(lengths: Any, longest: int) -> None:
    if lengths.dtype.kind not in "iu":
        raise ValueError(f"lengths are {lengths.dtype}; allowed: integers")
    for row, length in enumerate(lengths.tolist()):
        if not 0 <= length <= longest:
            raise ValueError(f"the length of row {row} is {length}; allowed: 0..{longest}")


def _numbered(names: list[str], name: str) -> int:
    """How many arrays have this name with a number, which must count from 0 without a gap."""
    ends = {each.removeprefix(f"{name}.") for each in names if each.startswith(f"{name}.")}
    count = 0
    while str(count) in ends:
        ends.remove(str(count))
        count += 1
    if ends:
        raise ValueError(f"{name}.{min(ends)} is given without {name}.{count}; allowed: {name}.0, {name}.1, and so on")
    return count


def _parquet_rows(path: Path, name: str) -> Iterator[tuple[Any, Any, bool]]:
    table = _read_columns(path, name, "states")
    _check_types(table, name)
    rows = zip(table[name].to_pylist(), table["states"].to_pylist(), strict=True)
    for number, (ids, states) in enumerate(rows):
        for each, values, is_nested in ((name, ids, name != "ids"), ("states", states, True)):
            if _has_null(values, is_nested=is_nested):
                raise ValueError(f"the {each} of row {number} are null, or have a null; allowed: numbers")
        yield np.array(ids, np.int64 if name == "ids" else np.float64), np.array(states, np.float64), False


def _check_types(table: pa.Table, name: str) -> None:
    """Refuse columns of which NumPy would make numbers, such as text, or other numbers, such as integers of floats."""
    of_ids, of_vectors = "lists of integers", "lists of lists of numbers"
    for each, allowed in ((name, of_ids if name == "ids" else of_vectors), ("states", of_vectors)):
        found = table.schema.field(each).type
        fits = is_vectors(found) if allowed is of_vectors else is_list(found) and pa.types.is_integer(found.value_type)
        if not fits:
            raise ValueError(f"the column {each!r} is of type {found}; allowed: {allowed}")


def _has_null(values: Any, *, is_nested: bool) -> bool:
    return values is None or None in values or (is_nested and any(None in each for each in values))


def _read_columns(path: Path, *names: str) -> pa.Table:
    found = pq.read_schema(path).names
    for name in names:
        if found.count(name) != 1:
            shown = ", ".join(repr(each[:40]) for each in found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
            what = f"the column {name!r} {found.count(name)} times" if name in found else f"no column {name!r}"
            raise ModelError(
                f"{path}: has {what}; columns found: {shown or 'none'}. Give {' and '.join(names)}, of lists"
            )
    return pq.read_table(path, columns=list(names))
