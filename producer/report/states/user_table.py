"""A table of the user's with texts and labels of a job's rows."""

# Over 150 lines: what is checked, what is read, and the types of files that have none.

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from producer.report.states.json_table import json_column, json_names, json_rows
from producer.report.states.texts import shown
from unrolled.errors import OptionError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: The column of texts that is read if none is named.
DEFAULT_TEXT = "text"
# Numbers as programs write them; "007" is a name.
_INTEGER = re.compile(r"0|-?[1-9]\d*")
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
#: Characters of an id and of a label in an error.
_LONGEST = 60
#: Bytes of the first line of a table that are looked at.
_LONGEST_HEADER = 4096


class Looked(NamedTuple):
    """Columns of a table, for the points of a map.

    Attributes:
        columns: by name: for each point the value as the table has it, null where the table has no such row.
        found: points whose id the table has.
        of: number of points.
        first_id: an id of the table, for people; empty if it has no row.
    """

    columns: dict[str, pa.Array]
    found: int
    of: int
    first_id: str


def check_table(path: Path, id_field: str, text_field: str | None, label_field: str | None) -> list[str]:
    """Refuse a table without the columns that are named; gives the columns of texts and labels that it has.

    Args:
        path: a Parquet, CSV, TSV or JSON lines file.
        id_field: name of the column with the ids.
        text_field: name of the column with texts; None for "text", if there is one or a column with labels is named.
        label_field: name of the column with labels; None for none.

    Raises:
        OptionError: the table lacks a column.
        RequestError: the table can't be read.
    """
    with _errors(path):
        # With labels alone, a text is shown if it is in a row before the first label: a search for it reads all rows.
        text = text_field or (None if label_field else DEFAULT_TEXT)
        wanted_names = (id_field, text, label_field)
        names = json_names(path, wanted_names) if _is_json(path) else _dataset(path).schema.names
    has = f"it has {', '.join(names)[:300]}"
    wanted = [(id_field, "ids", "id"), (text_field, "texts", "text"), (label_field, "labels", "label")]
    for field, what, option in wanted:
        if field is not None and field not in names:
            raise OptionError(
                f"{path}: has no column {field!r:.80}; {has}: name the column of {what} with --{option}-field"
            )
    if text_field is None and label_field is None and DEFAULT_TEXT not in names:
        raise OptionError(
            f"{path}: has no column {DEFAULT_TEXT!r}; {has}: name the column of texts with --text-field, or one of "
            "labels with --label-field"
        )
    fields = dict.fromkeys((text_field or DEFAULT_TEXT, label_field or ""))
    return [field for field in fields if field in names]


def read_table(
    path: Path, ids: NDArray[np.object_], id_field: str, fields: Sequence[str], label_field: str | None = None
) -> Looked:
    """Some columns of a table, for some rows; of several values for one id, the first that isn't null counts.

    Args:
        path: a Parquet, CSV, TSV or JSON lines file, which is read a batch at a time.
        ids: the ids of the wanted rows.
        id_field: name of the column with the ids.
        fields: names of the wanted columns, which `check_table` has found.
        label_field: the one of them that may not have two different values for one id; None for none.

    Raises:
        RequestError: the table can't be read, or has two labels for one of the ids.
    """
    # Over 40 lines: most of it is the description of its arguments.
    every = ids.tolist()
    wanted = dict.fromkeys(every)
    found: dict[str, dict[str, Any]] = {field: {} for field in fields}
    known: set[str] = set()
    first_id = ""
    with _errors(path):
        rows = json_rows(path, id_field, fields) if _is_json(path) else _arrow_rows(path, id_field, fields, wanted)
        for key, row in rows:
            first_id = first_id or key or ""
            if key is None or key not in wanted:
                continue
            known.add(key)
            for field, value in row.items():
                if value is None:
                    continue
                first = found[field].setdefault(key, value)
                if field == label_field and str(first) != str(value):  # as texts: NaN is not equal to itself
                    raise _two_labels(path, key, first, value)
        typed = {field: _column(path, field, [values.get(each) for each in every]) for field, values in found.items()}
    return Looked(typed, sum(each in known for each in every), len(every), first_id)


def _arrow_rows(
    path: Path, id_field: str, fields: Sequence[str], wanted: Iterable[str]
) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Some ids of the table without their columns, and the wanted rows."""
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table
    import pyarrow.compute as pc  # noqa: PLC0415 - most reports have no table

    chosen = pa.array(wanted, pa.string())
    columns = list(dict.fromkeys([id_field, *fields]))
    for batch in _dataset(path).to_batches(columns=columns, batch_size=8192, batch_readahead=1):
        keys = batch.column(id_field).cast(pa.string())
        yield from ((key, {}) for key in keys.slice(0, 100).to_pylist())
        few = batch.filter(pc.is_in(keys, chosen))
        values = [few.column(field).to_pylist() for field in fields]
        for number, key in enumerate(few.column(id_field).cast(pa.string()).to_pylist()):
            yield key, {field: column[number] for field, column in zip(fields, values, strict=True)}


def _column(path: Path, field: str, values: list[Any]) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table

    if _is_json(path):
        return json_column(values)
    return _typed(pa.array(values, _plain(_dataset(path).schema.field(field).type)), path)


def _is_json(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".ndjson", ".json")


def _two_labels(path: Path, key: str, first: object, second: object) -> RequestError:
    labels = " and ".join(
        repr(shown(label, _LONGEST) if isinstance(label, str) else label) for label in (first, second)
    )
    return RequestError(
        f"{path}: the id {shown(key, _LONGEST)!r} has two labels, {labels:.300}; leave one row for each id in the table"
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values: that of a categorical column's categories."""
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _typed(column: pa.Array, path: Path) -> pa.Array:
    """A column of a file without types as numbers, if each of its values is written as one; others as they are."""
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table

    if path.suffix.lower() not in (".csv", ".tsv"):
        return column
    texts = [text for text in column.to_pylist() if text is not None]
    if not texts or not all(map(_DECIMAL.fullmatch, texts)):
        return column
    if not all(map(_INTEGER.fullmatch, texts)):
        return column.cast(pa.float64())
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:  # a number of more than 64 bits
        return column


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Errors of reading a table, as one of ours."""
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if path.suffix.lower() == ".csv" and _has_semicolons(path):
            raise RequestError(f"{path}: its first line has semicolons; separate the columns by commas") from error
        raise RequestError(
            f"{path}: can't be read as a table ({str(error).splitlines()[0]:.200}); Parquet, CSV, TSV and JSON lines "
            "are read, by the name's ending"
        ) from error


def _has_semicolons(path: Path) -> bool:
    """Whether the first line has them, and no comma."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_HEADER)
    except OSError:
        return False
    return b";" in line and b"," not in line


def _dataset(path: Path) -> Any:
    """The table; the fields of CSV as they are written: pyarrow would make numbers and times of them by the first."""
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table
    from pyarrow import csv, dataset  # noqa: PLC0415 - most reports have no table

    kind = path.suffix.lower()
    if kind not in (".csv", ".tsv"):
        return dataset.dataset(path, format=dataset.ParquetFileFormat())
    options = csv.ParseOptions(delimiter="\t" if kind == ".tsv" else ",", newlines_in_values=True)
    empty = csv.ConvertOptions(null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False)
    read_as = dataset.CsvFileFormat(parse_options=options, convert_options=empty)
    names = dataset.dataset(path, format=read_as).schema.names
    return dataset.dataset(path, format=read_as, schema=pa.schema([pa.field(name, pa.string()) for name in names]))
