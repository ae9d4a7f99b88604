"""Keras's HDF5 files: whole models and weights alone, of Keras 1 to 3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from worker.model_import.cells import find_cells, layers_of, vouch
from worker.model_import.chain.order import natural
from worker.model_import.found import Array, Found, Table
from worker.model_import.readers.keras.hdf5 import (
    arrays,
    json_attribute,
    members,
    names_attribute,
    open_file,
    text_attribute,
)
from worker.model_import.readers.keras.keras_graph import read_calls
from worker.model_import.readers.keras.keras_layers import find_layers, hard_gates

if TYPE_CHECKING:
    from pathlib import Path

    import h5py

_TABLE = re.compile(r"(^|/)(embeddings(:\d+)?|[^/]*_W)$")


def read_keras_hdf5(path: Path, gates: str | None) -> Found:
    """Read a `.h5`, `.hdf5` or `.weights.h5` file.

    Args:
        path: the file.
        gates: the recurrent activation that its user vouches for, where the file has weights alone.

    Raises:
        ImportRefusedError: it isn't one, or holds what can't be taken over.
    """
    # The file stays open until the arrays that are wanted have been read: they hold it.
    root = open_file(path)
    model = json_attribute(root, "model_config")
    weights = root.get("model_weights", root)
    version = _version(root, weights)
    if model is not None:
        by_layer = {name: group for name, group in members(weights) if hasattr(group, "keys")}

        def of(layer: tuple[str, ...]) -> list[Array]:
            return _inner(_weights_of(by_layer[layer[0]]), layer) if layer[0] in by_layer else []

        found = find_layers(read_calls(model), of, f"Keras {version} model in HDF5", version)
    else:
        found = _weights_alone(weights, version, gates)
    return found


def _weights_of(group: Any) -> list[Array]:
    """A layer's arrays, in the order in which Keras sets them."""
    names = names_attribute(group, "weight_names")
    stored = {array.name: array for array in arrays(group)}
    return [stored[name] for name in names if name in stored] if names else list(stored.values())


def _inner(stored: list[Array], layer: tuple[str, ...]) -> list[Array]:
    """Of a model inside the model, which has one group for all its layers, those of one layer."""
    if len(layer) == 1:
        return stored
    named = [array for array in stored if layer[-1] in array.name.split("/")]
    return named or [array for array in stored if re.search(rf"(^|/){re.escape(layer[-1])}_[A-Za-z]+", array.name)]


def _version(root: h5py.File, weights: h5py.Group) -> str:
    return (text_attribute(root, "keras_version") or text_attribute(weights, "keras_version") or "1").removesuffix(
        "-tf"
    )


def _weights_alone(weights: h5py.Group, version: str, gates: str | None) -> Found:
    names = names_attribute(weights, "layer_names")
    if names:
        stored = [array for name in names if name in weights for array in _prefixed(weights[name], name)]
    else:  # Keras 3's .weights.h5
        version = "3"
        stored = sorted(arrays(weights), key=lambda array: natural(array.name))
    found = Found(f"Keras {version} weights in HDF5", zero_is_padding=True)
    found.layers = {layer.name: layer for layer in layers_of(find_cells(stored))}
    used = {
        part.name
        for layer in found.layers.values()
        for one in (layer.forward, layer.backward)
        if one
        for part in one.parts.values()
    }
    for array in stored:
        name = array.name.rpartition("/")[0].removesuffix("/vars").split("/")[-1] or array.name
        is_table = _TABLE.search(array.name) or (
            array.name.endswith("embedding/vars/0") or re.search(r"embedding_\d+/vars/0$", array.name)
        )
        if array.name in used:
            continue
        if is_table and len(array.shape) == 2:
            found.tables[name] = Table(name, array)
        else:
            found.left.append(array.name)
    _check_activations(found, version, gates)
    return found


def _prefixed(group: h5py.Group, layer: str) -> list[Array]:
    return [Array(f"{layer}/{array.name}", array.shape, array.read) for array in _weights_of(group)]


def _check_activations(found: Found, version: str, gates: str | None) -> None:
    """Weights don't say which activations they were trained with."""
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    old = [layer for layer in found.layers.values() if layer.any_pass.layout != "cudnn"]
    if not old:
        found.notes.append("activations tanh and sigmoid (as CuDNN layers have)")
    elif gates is not None:
        found.notes.append(vouch(old, hard_gates(version) if gates == "hard_sigmoid" else gates))
    elif numbers < [2, 3]:
        for layer in old:
            layer.problem = layer.problem or (
                f"the file has weights alone, and Keras {version}'s default for recurrent_activation was "
                "hard_sigmoid; if the model's code doesn't set it, add --recurrent-activation hard_sigmoid, and if it "
                "says recurrent_activation='sigmoid', add --recurrent-activation sigmoid"
            )
    else:
        found.notes.append(
            "the file has weights alone: activations tanh and sigmoid are assumed, Keras's defaults since 2.3"
        )
