"""The columns of a published file, as Arrow has them.

None can hold a null. W is a vector's width, real is float, or halffloat where float16 is stored:

    id        string                              the user's own id, else <file>#<row>
    length    int32                               number of real tokens
    mask      list<bool>                          sign(tokens), as long as the row came in
    outputs   list<fixed_size_list<real>[W]>      one vector for each True of the mask, in order
    mean …    fixed_size_list<real>[W]            one vector for each row: mean, max, last, first
    tokens    list<int32>                         the row as it came in; only if asked for

A job chooses which columns of vectors there are, at least one: see `unrolled.format.output_spec`, which names them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Self

from unrolled.errors import FileFormatError
from unrolled.format.file_info import FORMAT_VERSION
from unrolled.format.output_spec import POOLINGS, column_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from unrolled.format.output_spec import OutputColumn, OutputSpec

_NAME = re.compile(rf"({'|'.join(column_name(pooling) for pooling in POOLINGS)})(?:_(0|[1-9][0-9]?))?")


class VectorColumn(NamedTuple):
    """A column of vectors.

    Attributes:
        name: "outputs", "mean", … as `unrolled.format.output_spec` gives them.
        width: of one vector, at least 1.
    """

    name: str
    width: int

    @property
    def per_token(self) -> bool:
        """Whether it holds a vector for each real token; else one for each row."""
        return self.name.startswith("outputs")


class Columns(NamedTuple):
    """The choices that decide a file's columns.

    Attributes:
        vectors: the columns of vectors, in the file's order; at least one.
        precision: of their numbers: "float32" or "float16".
        with_tokens: whether the token ids are stored too.
    """

    vectors: tuple[VectorColumn, ...]
    precision: str = "float32"
    with_tokens: bool = False

    @classmethod
    def of(cls, spec: OutputSpec, columns: Iterable[OutputColumn]) -> Self:
        """Those of a job."""
        vectors = tuple(VectorColumn(column.name, column.width) for column in columns)
        return cls(vectors, spec.precision, spec.with_tokens)

    def shown(self) -> str:
        """As people read it: "outputs of 512 float32", with tokens or not."""
        vectors = ", ".join(f"{column.name} of {column.width}" for column in self.vectors)
        return f"{vectors} {self.precision}{', tokens' if self.with_tokens else ''}"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of vectors."""
        return tuple(column.name for column in self.vectors)


def arrow_schema(columns: Columns) -> pa.Schema:
    """The Arrow schema of a file, without metadata."""
    import pyarrow as pa  # noqa: PLC0415 - 0.1 s that a command line which only names shards need not pay

    def required(name: str, kind: pa.DataType) -> pa.Field:
        return pa.field(name, kind, nullable=False)

    real = pa.float16() if columns.precision == "float16" else pa.float32()
    fields = [
        required("id", pa.string()),
        required("length", pa.int32()),
        # "element" is Parquet's own name for what a list holds, so the schema reads back as it was written.
        required("mask", pa.list_(required("element", pa.bool_()))),
    ]
    for column in columns.vectors:
        vector = pa.list_(required("element", real), column.width)
        fields.append(required(column.name, pa.list_(required("element", vector)) if column.per_token else vector))
    if columns.with_tokens:
        fields.append(required("tokens", pa.list_(required("element", pa.int32()))))
    return pa.schema(fields)


def columns_of(schema: pa.Schema) -> Columns:
    """Which choices a file was written with.

    Raises:
        FileFormatError: the schema is not one that `arrow_schema` gives; the text shows both.
    """
    names = [name for name in schema.names if name not in ("id", "length", "mask", "tokens")]
    # What a file holds besides is no column of ours, but the comparison shows it.
    found = [(VectorColumn(name, _width(schema, name)), _order(name)) for name in names if _NAME.fullmatch(name)]
    vectors = tuple(column for column, _ in sorted(found, key=lambda pair: pair[1])) or (VectorColumn("outputs", 1),)
    columns = Columns(vectors, _precision(schema, vectors[0].name), "tokens" in schema.names)
    expected = arrow_schema(columns)
    if len(set(names)) < len(names) or not schema.equals(expected):
        shown = schema.remove_metadata().to_string()
        raise FileFormatError(
            f"columns are not those of format version {FORMAT_VERSION}; found\n{shown}\nexpected\n{expected}"
        )
    return columns


def _order(name: str) -> tuple[int, int]:
    """By layer, then by pooling, as `OutputSpec.columns` has them."""
    found = _NAME.fullmatch(name)
    if not found:
        raise ValueError(name)
    return int(found[2] or 0), [column_name(pooling) for pooling in POOLINGS].index(found[1])


def _vector_type(schema: pa.Schema, name: str) -> pa.DataType:
    kind = schema.field(name).type
    return kind.value_type if VectorColumn(name, 1).per_token else kind


def _width(schema: pa.Schema, name: str) -> int:
    try:
        return max(int(_vector_type(schema, name).list_size), 1)
    except (KeyError, AttributeError):
        return 1  # any width: the comparison fails on the type


def _precision(schema: pa.Schema, name: str) -> str:
    try:
        return "float16" if str(_vector_type(schema, name).value_type) == "halffloat" else "float32"
    except (KeyError, AttributeError):
        return "float32"  # as above
