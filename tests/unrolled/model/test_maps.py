"""Configurations of maps, the layers that change each token's vector alone."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from support.model_configs import STACKED

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from unrolled.model.weights import new_weights

MAPS = (MapConfig(6, activation="relu"), MapConfig(6, "layer_norm", epsilon=1e-3), MapConfig(6, "scale", "tanh"))
MAPPED = replace(STACKED, layers=(LayerConfig(8), *MAPS, LayerConfig(6, residual=True, span=3)))


def test_shapes_of_maps():
    """The documented tensors; a layer above reads what the map makes."""
    assert list(MAPPED.shapes().items())[4:-3] == [
        ("dense.1.kernel", (8, 6)),
        ("dense.1.bias", (6,)),
        ("layer_norm.2.gain", (6,)),
        ("layer_norm.2.bias", (6,)),
        ("scale.3.gain", (6,)),
        ("scale.3.bias", (6,)),
    ]
    assert (MAPPED.layer_dims, MAPPED.input_dims) == ((8, 6, 6, 6, 6), (3, 8, 6, 6, 6))
    assert MAPPED.recurrent_layers == (MAPPED.layers[0], MAPPED.layers[4])
    assert not MAPPED.is_stacked


def test_json_of_maps():
    """Fields that have their defaults are left out."""
    found = json.loads(MAPPED.to_json())["layers"]
    assert found[1:4] == [
        {"units": 6, "kind": "dense", "activation": "relu"},
        {"units": 6, "kind": "layer_norm", "epsilon": 0.001},
        {"units": 6, "kind": "scale", "activation": "tanh"},
    ]
    assert (found[4]["span"], "span" in found[0]) == (3, False)
    assert ModelConfig.from_json(MAPPED.to_json()) == MAPPED


def test_new_maps_change_nothing_but_by_their_kernel():
    """Gains are 1 and biases 0."""
    weights = new_weights(MAPPED, 1)
    assert all((weights[name] == 1).all() for name in ("layer_norm.2.gain", "scale.3.gain"))
    assert not any(weights[f"{name}.bias"].any() for name in ("dense.1", "layer_norm.2", "scale.3"))
    assert np.abs(weights["dense.1.kernel"]).max() <= math.sqrt(6 / (8 + 6))


def test_maps_for_people():
    """The text names each map, and what a sum adds."""
    assert MAPPED.describe_layers() == (
        "lstm 8, dense 6 (relu), layer norm 6, scale 6 (tanh), lstm 6 + the output 3 layers below on an embedding of 3"
    )
    assert str(replace(MAPS[0], residual=True)) == "dense 6 (relu) + its input"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({"units": value}, r"units is .*whole number in 1\.\.65536") for value in (0, True, "8", None)),
        ({"kind": "conv"}, "kind is 'conv'; give one of .*dense, layer_norm, scale"),
        *(({"activation": value}, "activation is .*; give one of linear, tanh, relu") for value in ("gelu", None, 1)),
        *(({"residual": value}, "true or false") for value in (None, 1)),
        *(({"residual": True, "span": value}, r"span is .*whole number in 1\.\.64") for value in (0, 65, True, "1")),
        ({"span": 2}, "span is 2, but residual is false"),
        ({"epsilon": 1e-3}, "epsilon is 0.001, but only a layer_norm has one"),
        *(
            ({"kind": "layer_norm", "epsilon": value}, r"epsilon is .*above 0 and below 1e\+09")
            for value in (None, 0, -1.0, True, "1", math.nan, math.inf)
        ),
    ],
)
def test_bad_maps_are_refused(change, message):
    """By the constructor, and from JSON with the layer's number."""
    with pytest.raises(ModelError, match=message):
        MapConfig(**{"units": 6, **change})
    found = json.loads(MAPPED.to_json())
    found["layers"][1] |= change
    with pytest.raises(ModelError, match=rf"layers\[1\]: .*{message}|layers\[1\] (lacks|is)"):
        ModelConfig.from_json(json.dumps(found))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([MapConfig(3), LayerConfig(8)], r"layers\[0\] is a dense; the first layer must be recurrent"),
        ([LayerConfig(8), MapConfig(9, "scale")], r"layers\[1\] is a scale 9 wide, but its input has width 8"),
        ([LayerConfig(8), MapConfig(3, residual=True)], r"layers\[1\] is residual, but its input has width 8"),
        ([LayerConfig(8), MapConfig(3, residual=True, span=2)], None),
        ([LayerConfig(8), MapConfig(3, residual=True, span=3)], r"layers\[1\] has span 3, but only 2 inputs"),
        ([LayerConfig(8), LayerConfig(3, residual=True, span=2)], None),
    ],
)
def test_maps_must_fit(layers, message):
    """The first layer is recurrent, and widths fit; a sum may begin at the embedding."""
    if message is None:
        assert replace(STACKED, layers=tuple(layers)).output_dim == 3
        return
    with pytest.raises(ModelError, match=message):
        replace(STACKED, layers=tuple(layers))
