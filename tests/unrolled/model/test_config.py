"""Configurations of models: the shapes of their tensors, and the values that they refuse."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from support.model_configs import STACKED, model_configs

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig, default_embedding_dim
from unrolled.model.layer import LayerConfig
from unrolled.model.padding import Padding
from unrolled.model.token_map import MapConfig
from unrolled.model.weights import new_weights

MIXED = ModelConfig(
    vocab_size=50,
    max_length=9,
    embedding_dim=4,
    layers=(
        LayerConfig(6, direction="bidirectional", projection=5),
        LayerConfig(10, residual=True),
        LayerConfig(7, "gru", "backward"),
        LayerConfig(3, "gru", reset="before"),
    ),
)
NOT_NUMBERS = [0, -1, 1.5, "8", True, 2**40, float("nan"), [1]]


def test_embedding_dim_default():
    """The fourth root of the vocabulary, rounded down."""
    assert [default_embedding_dim(size) for size in (1, 15, 16, 10_000, 10_001)] == [1, 1, 2, 10, 10]
    assert ModelConfig.stacked(10_000, 9, 8, 2).embedding_dim == 10


def test_shapes_of_every_kind():
    """The documented tensors, in the order in which the layers use them."""
    assert list(MIXED.shapes().items()) == [
        ("embedding", (51, 4)),
        ("lstm.0.kernel", (4, 24)),
        ("lstm.0.recurrent_kernel", (5, 24)),
        ("lstm.0.bias", (24,)),
        ("lstm.0.projection", (6, 5)),
        ("lstm.0.backward.kernel", (4, 24)),
        ("lstm.0.backward.recurrent_kernel", (5, 24)),
        ("lstm.0.backward.bias", (24,)),
        ("lstm.0.backward.projection", (6, 5)),
        ("lstm.1.kernel", (10, 40)),
        ("lstm.1.recurrent_kernel", (10, 40)),
        ("lstm.1.bias", (40,)),
        ("gru.2.backward.kernel", (10, 21)),
        ("gru.2.backward.recurrent_kernel", (7, 21)),
        ("gru.2.backward.bias", (2, 21)),
        ("gru.3.kernel", (7, 9)),
        ("gru.3.recurrent_kernel", (3, 9)),
        ("gru.3.bias", (9,)),
    ]
    assert (MIXED.layer_dims, MIXED.input_dims, MIXED.output_dim) == ((10, 10, 7, 3), (4, 10, 10, 7), 3)


def test_first_states_have_tensors():
    """Of each pass; a GRU's state is its only one. config.json has the field only where it is true."""
    layers = (
        LayerConfig(6, direction="bidirectional", projection=5, first_state=True),
        LayerConfig(3, "gru", first_state=True),
    )
    config = replace(MIXED, layers=(*layers, LayerConfig(2)))
    first = {name: shape for name, shape in config.shapes().items() if "first" in name}
    assert first == {
        "lstm.0.first_state": (5,), "lstm.0.first_cell": (6,),
        "lstm.0.backward.first_state": (5,), "lstm.0.backward.first_cell": (6,),
        "gru.1.first_state": (3,),
    }  # fmt: skip
    assert [layer.get("first_state") for layer in json.loads(config.to_json())["layers"]] == [True, True, None]
    assert ModelConfig.from_json(config.to_json()) == config
    assert str(layers[1]) == "gru 3 (initial state of its own)"
    assert not any(new_weights(config, 1)[name].any() for name in first)


def test_states_that_rows_bring():
    """They have an order and no tensors: layer by layer, forward before backward, h before c."""
    layers = (
        LayerConfig(6, direction="bidirectional", projection=5, given_state=True),
        LayerConfig(2),
        LayerConfig(3, "gru", "backward", given_state=True),
    )
    config = replace(MIXED, layers=layers)
    assert config.shapes() == replace(config, layers=tuple(replace(one, given_state=False) for one in layers)).shapes()
    assert [str(part) for part in config.given_parts] == [
        "layer 0's h (5)", "layer 0's c (6)", "layer 0's backward h (5)", "layer 0's backward c (6)",
        "layer 2's backward h (3)",
    ]  # fmt: skip
    assert (config.given_dim, MIXED.given_dim) == (25, 0)
    assert ModelConfig.from_json(config.to_json()) == config
    assert [layer.get("given_state") for layer in json.loads(config.to_json())["layers"]] == [True, None, True]
    assert str(layers[2]) == "backward gru 3 (initial state from the row)"
    with pytest.raises(ModelError, match="a row begins with one state"):
        LayerConfig(2, given_state=True, first_state=True)
    with pytest.raises(ModelError, match="given_state is 1; give true or false"):
        LayerConfig(2, given_state=1)


def test_multiplicative_layers_have_factors():
    """Beside the tensors of an LSTM: of the input and of the state."""
    config = replace(STACKED, layers=(LayerConfig(8, "mlstm"), LayerConfig(5, "mlstm", "backward", first_state=True)))
    assert list(config.shapes().items())[1:] == [
        ("mlstm.0.kernel", (3, 32)),
        ("mlstm.0.recurrent_kernel", (8, 32)),
        ("mlstm.0.bias", (32,)),
        ("mlstm.0.input_factor", (3, 8)),
        ("mlstm.0.state_factor", (8, 8)),
        ("mlstm.1.backward.kernel", (8, 20)),
        ("mlstm.1.backward.recurrent_kernel", (5, 20)),
        ("mlstm.1.backward.bias", (20,)),
        ("mlstm.1.backward.input_factor", (8, 5)),
        ("mlstm.1.backward.state_factor", (5, 5)),
        ("mlstm.1.backward.first_state", (5,)),
        ("mlstm.1.backward.first_cell", (5,)),
    ]


def test_clips_are_in_json_where_they_are_given():
    """As numbers; and for people."""
    layer = LayerConfig(8, projection=4, cell_clip=3, projection_clip=0.5)
    config = replace(STACKED, layers=(layer, LayerConfig(8)))
    found = json.loads(config.to_json())["layers"]
    assert [one.get("cell_clip", "absent") for one in found] == [3.0, "absent"]
    assert ModelConfig.from_json(config.to_json()) == config
    assert str(layer) == "lstm 8 projected to 4 (cell clipped to 3, projection clipped to 0.5)"


def test_layer_normalized_lstms_have_norms():
    """Beside the tensors of an LSTM: shifts and gains of both products, and the norm of the cell state."""
    layer = LayerConfig(5, norm="carried", epsilon=1e-5)
    config = replace(STACKED, layers=(layer, LayerConfig(3, direction="backward", norm="output", epsilon=1)))
    assert list(config.shapes().items())[4:10] == [
        ("lstm.0.input_shift", (20,)),
        ("lstm.0.input_gain", (20,)),
        ("lstm.0.state_shift", (20,)),
        ("lstm.0.state_gain", (20,)),
        ("lstm.0.cell_gain", (5,)),
        ("lstm.0.cell_bias", (5,)),
    ]
    assert ModelConfig.from_json(config.to_json()) == config
    assert config.describe_layers() == (
        "lstm 5 (layer norm), backward lstm 3 (layer norm of outputs) on an embedding of 3"
    )
    weights = new_weights(config, 1)
    gains = [array for name, array in weights.items() if name.endswith("_gain")]
    assert len(gains) == 6
    assert all((gain == 1).all() for gain in gains)
    assert not any(weights[f"lstm.0.{part}"].any() for part in ("input_shift", "state_shift", "cell_bias"))


def test_one_hot_has_no_embedding():
    """The first kernel has a row for each id."""
    shapes = replace(STACKED, embedding_dim=None).shapes()
    assert "embedding" not in shapes
    assert shapes["lstm.0.kernel"] == (100, 32)


VECTORS = ModelConfig(0, 9, None, (MapConfig(3), LayerConfig(3, residual=True, span=2)), vector_dim=3, mask_value=0.1)


def test_a_model_that_reads_vectors():
    """It has a width in place of a vocabulary, may begin with a map, and may add the vectors to an output."""
    assert VECTORS.shapes()["dense.0.kernel"] == (3, 3)
    assert "embedding" not in VECTORS.shapes()
    assert VECTORS.describe_layers().endswith("on vectors of 3")
    read = ModelConfig.from_json(VECTORS.to_json())
    assert read == VECTORS
    assert read.mask_value == np.float32(0.1)  # as vectors have it
    assert "mask_value" not in replace(VECTORS, mask_value=None).to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vector_dim": 0}, r"vector_dim is 0; give a whole number in 1\.\.65536"),
        ({"vocab_size": 5}, "vocab_size is 5, embedding_dim is None"),
        ({"vocab_size": False}, "vocab_size is False"),
        ({"embedding_dim": 3}, "has no ids; give 0 and null"),
        ({"padding": Padding(9, "after", 0)}, "padding is given, but it is a token id"),
        ({"layers": (MapConfig(3),)}, "it has no recurrent layer"),
        *(({"mask_value": value}, "mask_value is .*float32") for value in ("0", True, float("nan"), 1e39, 10**400)),
        ({"vector_dim": None, "vocab_size": 5, "layers": (LayerConfig(3),)}, "mask_value is given"),
        ({"vector_dim": None, "mask_value": None, "vocab_size": 5}, r"layers\[0\] is a dense; the first layer"),
        ({"vector_dim": None, "mask_value": None}, "vocab_size is 0"),
    ],
)
def test_what_a_model_that_reads_vectors_cannot_have(change, message):
    """Ids and their padding; and a mask needs vectors."""
    with pytest.raises(ModelError, match=message):
        replace(VECTORS, **change)


def test_layers_for_people():
    """The text names the kind of every layer."""
    assert STACKED.describe_layers() == "2 x lstm 8 on an embedding of 3"
    assert MIXED.describe_layers() == (
        "bidirectional lstm 6 projected to 5, lstm 10 + its input, backward gru 7, "
        "gru 3 (reset before) on an embedding of 4"
    )
    assert str(LayerConfig(3, "gru", reset="before", gates="hard_sigmoid")) == "gru 3 (reset before, hard sigmoid)"
    assert str(LayerConfig(3, gates="hard_sigmoid_keras3")) == "lstm 3 (hard sigmoid keras3)"


@given(model_configs())
def test_json_round_trip(config):
    """Any configuration survives its own JSON, and has weights of its shapes."""
    assert ModelConfig.from_json(config.to_json()) == config
    weights = new_weights(config, seed=1)
    assert {name: array.shape for name, array in weights.items()} == config.shapes()
    assert all(array.dtype == np.float32 for array in weights.values())
    assert sum(array.size for array in weights.values()) == config.parameters


@pytest.mark.parametrize("name", ["vocab_size", "max_length", "num_lstm_units", "num_lstm_layers", "embedding_dim"])
@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_bad_sizes_are_named(name, value):
    """An impossible size is refused; the error names it, what was found, and what is allowed."""
    sizes = {"vocab_size": 9, "max_length": 9, "num_lstm_units": 9, "num_lstm_layers": 2, "embedding_dim": 9}
    with pytest.raises(ModelError, match=rf"{name} is .*whole number in 1\.\."):
        ModelConfig.stacked(**{**sizes, name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({"units": value}, r"units is .*whole number in 1\.\.65536") for value in [*NOT_NUMBERS, None]),
        *(({"projection": value}, r"projection is .*whole number in 1\.\.65536") for value in NOT_NUMBERS),
        *(({"kind": value}, "kind is .*lstm, gru") for value in ("LSTM", None, 1, ["lstm"])),
        *(({"direction": value}, "forward, backward, bidirectional") for value in ("up", None, {})),
        *(({"residual": value}, "true or false") for value in (None, 1, "true")),
        ({"kind": "gru", "reset": "during"}, "reset is 'during'; give one of after, before"),
        *(
            ({"gates": value}, "gates is .*sigmoid, hard_sigmoid, hard_sigmoid_keras3")
            for value in ("relu", None, 1, [])
        ),
        ({"reset": "after"}, "only a gru has one; give null"),
        ({"kind": "gru", "projection": 3}, "only an lstm has one; give null"),
        ({"kind": "mlstm", "projection": 3}, "only an lstm has one"),
        ({"kind": "mlstm", "reset": "after"}, "only a gru has one"),
        *(
            ({"cell_clip": value}, "cell_clip is .*above 0 and below 1e\\+09")
            for value in (0, -1.0, "3", True, 1e9, math.nan)
        ),
        ({"kind": "gru", "cell_clip": 3.0}, "a gru has no cell state"),
        ({"projection_clip": 3.0}, "no projection is given"),
        ({"epsilon": 1e-5}, "epsilon is 1e-05, but no norm is given"),
        ({"norm": "all", "epsilon": 1e-5}, "norm is 'all'; give one of carried, output"),
        *(
            ({"norm": "carried", "epsilon": value}, r"epsilon is .*above 0 and below 1e\+09")
            for value in (None, 0, True, "1", math.nan)
        ),
        *(
            (
                {"norm": "output", "epsilon": 1e-5, **more},
                "only an lstm with sigmoid gates, without projection and clips",
            )
            for more in ({"kind": "gru"}, {"projection": 3}, {"cell_clip": 3.0}, {"gates": "hard_sigmoid"})
        ),
    ],
)
def test_bad_layers_are_refused(change, message):
    """By the constructor, and from JSON with the layer's number."""
    with pytest.raises(ModelError, match=message):
        LayerConfig(**{"units": 8, **change})
    found = json.loads(STACKED.to_json())
    found["layers"][1] |= change
    with pytest.raises(ModelError, match=rf"layers\[1\]: .*{message}"):
        ModelConfig.from_json(json.dumps(found))


def test_residual_widths_must_fit():
    """An input can only be added to an output of its width, and one-hot ids to no output."""
    with pytest.raises(ModelError, match=r"layers\[1\] is residual, but its input has width 8 and its output width 16"):
        replace(STACKED, layers=(LayerConfig(8), LayerConfig(8, direction="bidirectional", residual=True)))
    with pytest.raises(ModelError, match=r"layers\[0\] is residual, but one-hot ids"):
        ModelConfig(8, 9, None, (LayerConfig(8, residual=True),))


def test_absurd_sizes_are_refused_before_memory_is_taken():
    """Each size is allowed, but the weights would take terabytes; so would those of a million layers."""
    with pytest.raises(ModelError, match="parameters"):
        ModelConfig.stacked(2**31 - 2, 128, 2**16, 64, 2**16)
    with pytest.raises(ModelError, match="parameters"):
        ModelConfig(2**31 - 2, 128, None, (LayerConfig(1),))
    with pytest.raises(ModelError, match=r"it has 65 layers; give 1\.\.64"):
        ModelConfig(9, 9, 9, (LayerConfig(8),) * 65)


@pytest.mark.parametrize("layers", [(), [LayerConfig(8)], None, ("lstm",), 3])
def test_layers_must_be_layers(layers):
    """An empty list of layers, or a list of something else, is refused."""
    with pytest.raises(ModelError, match="layers"):
        ModelConfig(9, 9, 9, layers)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (None, "layers is None; give a list"),
        ([], "layers is .*; give a list of 1..64"),
        ({}, "give a list"),
        ([{}] * 1000, "give a list of 1..64"),
        ([3], r"layers\[0\] is 3; it must be an object"),
        ([[]], r"layers\[0\] is \[\]"),
        ([{}], r"layers\[0\] lacks .*'units'"),
        ([{"units": 3}], r"layers\[0\] lacks"),
    ],
)
def test_hostile_layers(layers, message):
    """Anything but a list of layers is refused; the error says what is wrong, in one line."""
    text = json.dumps({**json.loads(STACKED.to_json()), "layers": layers})
    with pytest.raises(ModelError, match=message) as caught:
        ModelConfig.from_json(text)
    assert len(str(caught.value)) < 400


def test_padding_is_stored():
    """As an object, and only if rows are padded; it changes no shape."""
    config = replace(MIXED, padding=Padding(9, "before", 3))
    assert json.loads(config.to_json())["padding"] == {"length": 9, "side": "before", "id": 3}
    assert ModelConfig.from_json(config.to_json()) == config
    assert config.shapes() == MIXED.shapes()
    assert "padding" not in json.loads(MIXED.to_json())
    plain = replace(STACKED, padding=Padding(STACKED.max_length))
    assert (STACKED.is_stacked, plain.is_stacked) == (True, False)


@pytest.mark.parametrize(
    ("padding", "reason"),
    [
        ({"length": 8, "side": "after", "id": 0}, "max_length is 9, but rows are padded to 8"),
        ({"length": 9, "side": "left", "id": 0}, "side is 'left'"),
        ({"length": 9, "side": "after", "id": -1}, "id is -1"),
        ({"length": 9, "side": "after", "id": True}, "id is True"),
        ({"length": 9, "side": "after", "id": 51}, r"id 51; give 0 or an id in 1\.\.50"),
        ({"length": "9", "side": "after", "id": 0}, "length is '9'"),
        ({"length": 2**21, "side": "after", "id": 0}, "length is 2097152"),
        ({"length": 9, "side": "after"}, r"padding lacks the fields \['id'\]; correct it"),
        ({"length": 9, "side": "after", "id": 0, "more": 1}, r"padding has the unknown fields \['more'\]; correct it"),
        (None, "padding is None; it must be an object"),
        ([9], r"padding is \[9\]; it must be an object"),
    ],
)
def test_padding_is_checked(padding, reason):
    """A damaged or hostile configuration is refused with the place and what is allowed."""
    content = json.loads(MIXED.to_json()) | {"padding": padding}
    with pytest.raises(ModelError, match=reason):
        ModelConfig.from_json(json.dumps(content))


def test_where_padding_matters():
    """Layers that read it after all tokens have the same vectors without it."""
    assert not Padding(9).matters({"forward"})
    assert not Padding(9, "before").matters({"backward"})
    assert Padding(9).matters({"backward"})
    assert Padding(9, "before").matters({"forward"})
    assert Padding(9).matters({"forward", "backward"})
    assert Padding(9).matters({"bidirectional"})
