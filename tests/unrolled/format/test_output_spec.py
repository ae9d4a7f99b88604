"""What a job stores: layers, pooling, precision."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.output_specs import THREE, specs

from unrolled.errors import OptionError, RequestError
from unrolled.format.columns import POOLINGS, VectorColumn, column_name
from unrolled.format.output_spec import OutputSpec, parse_layers, parse_pooling
from unrolled.format.positions import Positions


def test_the_last_layer_of_each_token_is_the_default():
    """By default there is one column, outputs, of the last layer."""
    assert OutputSpec().columns(THREE) == (VectorColumn("none", None, 4),)


def test_columns_stand_by_layer_and_then_by_pooling():
    """Named layers are in the columns' names, and the widths are those of the layers."""
    assert OutputSpec(layers=(0, 2), pooling=("none", "mean")).columns(THREE) == (
        VectorColumn("none", 0, 8),
        VectorColumn("mean", 0, 8),
        VectorColumn("none", 2, 4),
        VectorColumn("mean", 2, 4),
    )


@given(specs())
def test_column_names_are_distinct(spec):
    """No two columns of a file have one name, and the name says whether there is a vector for each token."""
    columns = spec.columns(THREE)
    assert len({column.name for column in columns}) == len(columns) == len(spec.pooling) * len(spec.layers or (2,))
    assert all(column.per_token == column.name.startswith("outputs") for column in columns)


@given(specs())
def test_a_job_s_options_read_back(spec):
    """A worker reads from job.json what the producer wrote there."""
    assert OutputSpec.from_options(json.loads(json.dumps(spec.to_options() | {"shard_tokens": 5}))) == spec


BAD = [
    {"layers": ()},
    {"layers": (1, 0)},
    {"layers": (0, 0)},
    {"layers": (-1,)},
    {"layers": (True,)},
    {"layers": (0.0,)},
    {"layers": ("0",)},
    {"layers": tuple(range(65))},
    {"layers": 0},
    {"pooling": ()},
    {"pooling": ("mean", "none")},
    {"pooling": ("mean", "mean")},
    {"pooling": ("median",)},
    {"pooling": "mean"},
    {"pooling": (["mean"],)},
    {"precision": "bfloat16"},
    {"precision": ["float32"]},
    {"precision": None},
    {"with_tokens": 1},
    {"with_tokens": None},
    {"empty_rows": "nan"},
    {"empty_rows": None},
    {"positions": "every:2"},
    {"positions": {"rule": "every", "count": True}},
]


@pytest.mark.parametrize("bad", BAD)
def test_anything_else_is_refused(bad):
    """Values from outside are checked for type and range, in code and in a job's options alike."""
    with pytest.raises(RequestError, match="allowed: "):
        OutputSpec(**bad)
    with pytest.raises(RequestError, match="allowed: "):
        OutputSpec.from_options(OutputSpec().to_options() | bad)


def test_zeros_without_a_pooled_vector_are_refused():
    """The option would decide nothing, and make another job of it."""
    with pytest.raises(OptionError, match="empty_rows is zeros, but no pooled vectors are stored"):
        OutputSpec(empty_rows="zeros")
    assert OutputSpec(pooling=("none", "max"), empty_rows="zeros").names() == ("outputs", "max")


def test_positions_and_pooled_columns_exclude_each_other():
    """A pooled column takes all tokens, so a mean beside the vectors of words would not be their mean."""
    with pytest.raises(RequestError, match="positions every:2 with the pooling none, mean, which takes all tokens"):
        OutputSpec(positions=Positions("every", 2), pooling=("none", "mean"))


@given(
    st.dictionaries(
        st.sampled_from(["layers", "pooling", "precision", "with_tokens", "positions"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        ),
    )
)
def test_hostile_options_raise_nothing_else(options):
    """Options with any JSON in them are read or refused."""
    with contextlib.suppress(RequestError):
        OutputSpec.from_options(OutputSpec().to_options() | options)


def test_options_that_are_missing_are_named():
    """An older or foreign job.json is refused, and nothing is guessed."""
    with pytest.raises(RequestError, match="lack layers, precision, empty_rows, positions"):
        OutputSpec.from_options({"pooling": ["none"], "with_tokens": False})


def test_a_layer_that_the_model_lacks_is_refused():
    """The text says the layer and the model's number of layers."""
    with pytest.raises(RequestError, match="layer 3 is asked for, the model has 3: give numbers from 0 to 2"):
        OutputSpec(layers=(0, 3)).columns(THREE)


@pytest.mark.parametrize(
    ("text", "layers"), [("last", None), ("all", (0, 1, 2)), ("1", (1,)), ("2,0", (0, 2)), ("0,0", (0,))]
)
def test_layers_as_users_name_them(text, layers):
    """Layers are the last one, all, or numbers in any order."""
    assert parse_layers(text, THREE) == layers


@pytest.mark.parametrize("text", ["", "first", "0,", "0;1", "-1", "0x1", " 0", "01", "٣", "100", "3"])
def test_other_layers_are_refused(text):
    """The text says what is allowed, with the model's own numbers."""
    with pytest.raises(RequestError, match=r"numbers (of layers )?from 0 to 2"):
        parse_layers(text, THREE)


def test_poolings_as_users_name_them():
    """Poolings may be given in several options, several in one, repeated and in any order."""
    assert parse_pooling(["max, none", "mean", "max"]) == ("none", "mean", "max")
    for bad in (["median"], [""], ["mean,"], ["mean", "x"], []):
        with pytest.raises(RequestError, match="one or more of none, mean, max, last, first"):
            parse_pooling(bad)


def test_a_column_s_name():
    """A column is named after its pooling; one with a vector for each token is called outputs."""
    assert [column_name(pool) for pool in POOLINGS] == ["outputs", "mean", "max", "last", "first"]
    assert (column_name("none", 0), column_name("mean", 12)) == ("outputs_0", "mean_12")
