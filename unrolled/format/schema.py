"""The Arrow schema of a published file.

Only the pooled columns can hold nulls. W is a vector's width; real is float, or halffloat if float16 is stored:

    id        string                              the user's own id, or else <file>#<row>
    length    int32                               number of real tokens
    mask      list<bool>                          sign(tokens), as long as the row came in
    outputs   list<fixed_size_list<real>[W]>      one vector for each True of the mask, in order
    mean …    fixed_size_list<real>[W]            one vector for each row: mean, max, last, first; null for a row
                                                  without a real token, unless the job asks for zeros there
    positions list<int32>                         only if the job chose positions: for each vector of outputs, the
                                                  number of its token in the row as it came in, from 0
    tokens    list<int32>                         the row as it came in; only if asked for

A job's `OutputSpec` decides which columns of vectors there are, at least one; `unrolled.format.columns` names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import FileFormatError
from unrolled.format.columns import POOLINGS, VectorColumn, column_name, parse_name
from unrolled.format.file_info import FORMAT_VERSION
from unrolled.format.output_spec import OutputSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from unrolled.format.positions import Positions


def arrow_schema(spec: OutputSpec, columns: Sequence[VectorColumn]) -> pa.Schema:
    """The Arrow schema of a job's files, without metadata.

    Args:
        spec: what the job stores.
        columns: the spec's columns of vectors, with the widths that the model gives them.
    """
    import pyarrow as pa  # noqa: PLC0415 - 0.1 s that a command which only names shards doesn't spend

    def required(name: str, kind: pa.DataType) -> pa.Field:
        return pa.field(name, kind, nullable=False)

    real = pa.float16() if spec.precision == "float16" else pa.float32()
    fields = [
        required("id", pa.string()),
        required("length", pa.int32()),
        # Parquet calls what a list holds "element", so the schema reads back as it was written.
        required("mask", pa.list_(required("element", pa.bool_()))),
    ]
    for column in columns:
        vector = pa.list_(required("element", real), column.width)
        if column.per_token:
            fields.append(required(column.name, pa.list_(required("element", vector))))
        else:
            fields.append(pa.field(column.name, vector, nullable=spec.empty_rows == "null"))
    if spec.positions is not None:
        fields.append(required("positions", pa.list_(required("element", pa.int32()))))
    if spec.with_tokens:
        fields.append(required("tokens", pa.list_(required("element", pa.int32()))))
    return pa.schema(fields)


def read_schema(schema: pa.Schema, positions: Positions | None = None) -> tuple[OutputSpec, tuple[VectorColumn, ...]]:
    """The choice of what the job of a file stores, and the file's columns of vectors.

    Args:
        schema: the file's.
        positions: the positions that its metadata names.

    Raises:
        FileFormatError: `arrow_schema` gives no such schema; the text shows both.
    """
    # A column that isn't ours is left out here; the comparison below finds it.
    choices = [choice for name in schema.names if (choice := parse_name(name))] or [("none", None)]
    layers = {layer for _, layer in choices}
    poolings = {pooling for pooling, _ in choices}
    if positions is not None and poolings != {"none"}:
        raise FileFormatError(f"has pooled columns and positions {positions}; no job stores both")
    spec = OutputSpec(
        tuple(sorted(layer for layer in layers if layer is not None)) or None,
        tuple(pooling for pooling in POOLINGS if pooling in poolings),
        _precision(schema, *choices[0]),
        "tokens" in schema.names,
        _empty_rows(schema, choices),
        positions,
    )
    columns = tuple(VectorColumn(*choice, _width(schema, *choice)) for choice in spec.choices())
    expected = arrow_schema(spec, columns)
    if not schema.equals(expected):
        shown = schema.remove_metadata().to_string()
        raise FileFormatError(
            f"columns are not those of format version {FORMAT_VERSION}; found\n{shown}\nexpected\n{expected}"
        )
    return spec, columns


def show_columns(spec: OutputSpec, columns: Sequence[VectorColumn]) -> str:
    """A file's columns as people read them: "outputs of 512 float32", and ", tokens" if these are stored."""
    vectors = ", ".join(f"{column.name} of {column.width}" for column in columns)
    zeros = ", zeros for rows without a token" if spec.empty_rows == "zeros" else ""
    where = f" at {spec.positions}" if spec.positions else ""
    return f"{vectors} {spec.precision}{zeros}{where}{', tokens' if spec.with_tokens else ''}"


def _empty_rows(schema: pa.Schema, choices: Sequence[tuple[str, int | None]]) -> str:
    pooled = [column_name(*choice) for choice in choices if choice[0] != "none"]
    return "zeros" if pooled and not schema.field(pooled[0]).nullable else "null"


def _vector_type(schema: pa.Schema, pooling: str, layer: int | None) -> pa.DataType:
    kind = schema.field(column_name(pooling, layer)).type
    return kind.value_type if pooling == "none" else kind


def _width(schema: pa.Schema, pooling: str, layer: int | None) -> int:
    try:
        return max(int(_vector_type(schema, pooling, layer).list_size), 1)
    except (KeyError, AttributeError):
        return 1  # any width: the schemas differ in this column's type


def _precision(schema: pa.Schema, pooling: str, layer: int | None) -> str:
    try:
        return "float16" if str(_vector_type(schema, pooling, layer).value_type) == "halffloat" else "float32"
    except (KeyError, AttributeError):
        return "float32"  # any precision: the schemas differ in this column's type
