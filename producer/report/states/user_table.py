"""A table of the user's with texts and labels of a job's rows."""

# Over 150 lines: what is checked, what is read, and the types of files that have none.

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from producer.report.states.texts import shown
from unrolled.errors import OptionError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
        names = _dataset(path).schema.names
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
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table
    import pyarrow.compute as pc  # noqa: PLC0415 - most reports have no table

    every = ids.tolist()
    wanted = pa.array(dict.fromkeys(every), pa.string())
    found: dict[str, dict[str, Any]] = {field: {} for field in fields}
    known: set[str] = set()
    first_id = ""
    with _errors(path):
        table = _dataset(path)
        columns = list(dict.fromkeys([id_field, *fields]))
        for batch in table.to_batches(columns=columns, batch_size=8192, batch_readahead=1):
            keys = batch.column(id_field).cast(pa.string())
            first_id = first_id or next(filter(None, keys.slice(0, 100).to_pylist()), "")
            few = batch.filter(pc.is_in(keys, wanted))
            chosen = few.column(id_field).cast(pa.string()).to_pylist()
            known.update(chosen)
            for field in fields:
                values = found[field]
                for key, value in zip(chosen, few.column(field).to_pylist(), strict=True):
                    if value is None:
                        continue
                    first = values.setdefault(key, value)
                    if field == label_field and str(first) != str(value):  # as texts: NaN is not equal to itself
                        raise _two_labels(path, key, first, value)
        typed = {
            field: _typed(pa.array([values.get(each) for each in every], _plain(table.schema.field(field).type)), path)
            for field, values in found.items()
        }
    return Looked(typed, sum(each in known for each in every), len(every), first_id)


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
        raise RequestError(
            f"{path}: can't be read as a table ({str(error).splitlines()[0]:.200}); Parquet, CSV, TSV and JSON lines "
            "are read, by the name's ending"
        ) from error


def _dataset(path: Path) -> Any:
    """The table, its fields as they are written: pyarrow would make numbers and times of texts by the first of them."""
    import pyarrow as pa  # noqa: PLC0415 - most reports have no table
    from pyarrow import csv, dataset  # noqa: PLC0415 - most reports have no table

    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        options = csv.ParseOptions(delimiter="\t" if kind == ".tsv" else ",", newlines_in_values=True)
        empty = csv.ConvertOptions(null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False)
        read_as: dataset.FileFormat = dataset.CsvFileFormat(parse_options=options, convert_options=empty)
    elif kind in (".jsonl", ".ndjson", ".json"):
        read_as = dataset.JsonFileFormat()
    else:
        return dataset.dataset(path, format=dataset.ParquetFileFormat())
    found = dataset.dataset(path, format=read_as)
    as_text = [kind in (".csv", ".tsv") or pa.types.is_timestamp(field.type) for field in found.schema]
    fields = [
        pa.field(field.name, pa.string()) if text else field for field, text in zip(found.schema, as_text, strict=True)
    ]
    return dataset.dataset(path, format=read_as, schema=pa.schema(fields))
