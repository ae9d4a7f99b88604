"""The Arrow schema of a published file."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columns import plain, stored
from support.output_specs import THREE, specs

from unrolled.errors import FileFormatError
from unrolled.format.schema import arrow_schema, read_schema, show_columns

POOLED = stored(2, layers=(0,), pooling=("mean", "max"), precision="float16", with_tokens=True)
vectors = st.sampled_from(["outputs", "outputs_0", "mean", "max_63", "last", "first_1"])


@given(specs())
def test_choices_follow_from_the_schema(spec):
    """A schema is read back as the job's choices and the columns that it was made from."""
    columns = spec.columns(THREE)
    assert read_schema(arrow_schema(spec, columns)) == (spec, columns)


def test_the_types_of_vectors():
    """Vectors for tokens are a list of vectors, a vector for a row is one vector, both in the stored precision."""
    spread = arrow_schema(*stored(3, pooling=("none", "mean")))
    assert str(spread.field("outputs").type) == ("list<element: fixed_size_list<element: float not null>[3] not null>")
    assert str(spread.field("mean").type) == "fixed_size_list<element: float not null>[3]"
    assert str(arrow_schema(*POOLED).field("max_0").type) == "fixed_size_list<element: halffloat not null>[2]"
    assert spread.field("mean").nullable
    assert not arrow_schema(*stored(3, pooling=("mean",), empty_rows="zeros")).field("mean").nullable
    assert not spread.field("outputs").nullable
    assert arrow_schema(*POOLED).names == ["id", "length", "mask", "mean_0", "max_0", "tokens"]


def changed(chosen, which, **field):
    schema = arrow_schema(*chosen)
    number = schema.names.index(which)
    old = schema.field(number)
    return schema.set(number, pa.field(field.get("name", which), field.get("type", old.type), nullable=False))


def swapped(chosen, *names):
    schema = arrow_schema(*chosen)
    first, second = map(schema.names.index, names)
    return schema.set(first, schema.field(second)).set(second, schema.field(first))


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([]),
        pa.schema([pa.field("outputs", pa.float32())]),
        arrow_schema(*plain(4)).append(pa.field("extra", pa.int8())),
        arrow_schema(*plain(4)).append(pa.field("outputs", pa.int8())),
        arrow_schema(*plain(4)).append(arrow_schema(*plain(4)).field("outputs")),
        arrow_schema(*plain(4)).set(1, pa.field("length", pa.int64(), nullable=False)),
        arrow_schema(*plain(4)).set(0, pa.field("id", pa.string())),
        pa.schema(list(arrow_schema(*plain(4)))[::-1]),
        pa.schema([field for field in arrow_schema(*plain(4)) if field.name != "outputs"]),
        changed(POOLED, "max_0", type=arrow_schema(*plain(2)).field("outputs").type),
        changed(POOLED, "max_0", type=pa.list_(pa.field("element", pa.float32(), nullable=False), 2)),
        changed(POOLED, "max_0", name="median_0"),
        changed(POOLED, "max_0", name="max_00"),
        arrow_schema(*POOLED)
        .set(3, arrow_schema(*POOLED).field("max_0"))
        .set(4, arrow_schema(*POOLED).field("mean_0")),
    ],
)
def test_other_columns_are_refused(schema):
    """Another order, type, nullability, number or name of columns is refused, and the text shows ours."""
    with pytest.raises(FileFormatError, match=r"expected\nid: string not null"):
        read_schema(schema)


def test_columns_as_people_read_them():
    """Messages about files that don't fit together show columns in this way."""
    assert show_columns(*POOLED) == "mean_0 of 2, max_0 of 2 float16, tokens"
