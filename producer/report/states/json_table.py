"""A user's table in JSON lines: any row may lack a column, and a column may have values of several types.

pyarrow would take columns and types from the first megabyte, and fail at a later row that differs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from producer.sources.formats.jsonl import json_object
from producer.sources.formats.lines import BYTE_ORDER_MARK
from unrolled.errors import RowError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

#: A longer line is none of a table of texts and labels.
_LONGEST_LINE_BYTES = 1 << 26
#: Columns that are named in an error.
_MOST_NAMES = 100


def json_names(path: Path, wanted: Collection[str | None]) -> list[str]:
    """The names of the columns in the order in which they occur, until all that are wanted have; all, if one doesn't.

    Raises:
        ValueError: the file can't be read as a table.
    """
    names: dict[str, None] = {}
    missing = {name for name in wanted if name is not None}
    for row in _rows(path):
        for name in row:
            if name in missing or len(names) < _MOST_NAMES:
                names[name] = None
        missing -= row.keys()
        if not missing:
            break
    return list(names)


def json_rows(path: Path, id_field: str, fields: Sequence[str]) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Each row's id, a number as it is written, and the values of some columns, None where it lacks one.

    Raises:
        ValueError: the file can't be read as a table.
    """
    for row in _rows(path):
        key = row.get(id_field)
        yield None if key is None else str(key), {field: row.get(field) for field in fields}


def json_column(values: Sequence[object]) -> pa.Array:
    """Values of a column: of one type if they have one; else as texts, those that are no strings as JSON."""
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table

    if all(each is None for each in values):
        return pa.nulls(len(values), pa.string())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        texts = (each if each is None or isinstance(each, str) else json.dumps(each) for each in values)
        # A half of a pair of surrogates, which JSON may have, is no character.
        whole = (each if each is None else each.encode("utf-8", "replace").decode() for each in texts)
        return pa.array(list(whole), pa.string())


def _rows(path: Path) -> Iterator[dict[str, object]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE_BYTES):
            number += 1
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if len(line) == _LONGEST_LINE_BYTES:
                raise ValueError(f"line {number} has more than {_LONGEST_LINE_BYTES:,} bytes")
            if not line.strip():
                continue
            try:
                yield json_object(line)
            except RowError as error:
                raise ValueError(f"line {number}: {error}") from error
