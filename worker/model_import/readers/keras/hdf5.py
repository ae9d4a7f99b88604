"""Keras's HDF5 files: whole models, and weights alone, of Keras 1 to 3."""

# Over 150 lines: both kinds of files name their arrays in the same ways.

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from unrolled.model.layer import KERAS_2
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Found, Table
from worker.model_import.readers.activations import hard_gates, set_gates
from worker.model_import.readers.cells import find_cells, layers_of, sort_weights
from worker.model_import.readers.keras.configuration import config_of, kind_of
from worker.model_import.readers.keras.hdf5_tree import (
    arrays,
    damage_told,
    group_at,
    json_attribute,
    names_attribute,
    open_file,
    text_attribute,
)
from worker.model_import.readers.keras.layers import find_model
from worker.model_import.readers.order import natural
from worker.model_import.selection.names import says_embedding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import h5py

#: The version of the Keras that wrote a file which doesn't say it.
_UNTOLD = "2 or 3"
#: The arrays of a layer Normalization without the layer's name.
_NAMELESS = ("mean:0", "variance:0", "count:0")
#: The name of an embedding that has none of the user's.
_CLASS = re.compile(r"embedding(_\d+)?")
#: A variable of the model itself, not of a layer.
_OF_MODEL = re.compile(r"vars/\d+")
#: Names of an embedding's array: Keras 2's, Keras 1's, and Keras 3's numbered variables.
_TABLE = re.compile(r"(^|/)(embeddings(:\d+)?|[^/]*_W)$|embedding(_\d+)?/vars/0$")


@damage_told()
def read_keras_hdf5(path: Path, gates: str | None) -> Found:
    """Read a `.h5`, `.hdf5` or `.weights.h5` file.

    Args:
        path: the file.
        gates: the activation of the gates that the user says, if the file has only weights.

    Raises:
        ImportRefusedError: it isn't such a file, or contains something that can't be imported.
    """
    # The file stays open: the arrays are read from it later.
    root = open_file(path)
    model = json_attribute(root, "model_config")
    weights = group_at(root, "model_weights") or root
    version = _version(root, weights)
    if model is None:
        return _weights_alone(weights, version, gates)
    in_order = cache(lambda name: _in_order(group_at(weights, name)))

    learned = _learned_normalizations(model)

    def weights_of(layer: tuple[str, ...]) -> list[Array]:
        stored = in_order(layer[0])
        found = _of_layer(stored, layer)
        if not found and learned.get(layer[0]) == [layer]:
            return [array for array in stored if array.name in _NAMELESS]
        return found

    return find_model(model, weights_of, f"Keras {version} model in HDF5", version)


def _learned_normalizations(model: Mapping[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    """The layers Normalization that have seen data, by the name of the model's own layer that each is in.

    In a model within the model, Keras 2 stores their arrays without the layer's name. It can't store two of them,
    because the arrays would have the same names.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    waiting: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [((), model)]
    while waiting:
        names, layer = waiting.pop()
        config = config_of(layer)
        if kind_of(layer) == "Normalization" and config.get("mean") is None and names:
            found.setdefault(names[0], []).append(names)
        inner = config.get("layers")
        layers = [one for one in inner if isinstance(one, dict)] if isinstance(inner, list) else []
        waiting += [((*names, str(config_of(one).get("name"))), one) for one in layers]
    return found


def _in_order(group: h5py.Group | None, *, others: bool = False) -> list[Array]:
    """The arrays of a group, in the order in which Keras sets them; none if there is no such group.

    Args:
        group: the group of a layer.
        others: whether arrays of other numbers than floats are returned, too.
    """
    if group is None:
        return []
    names = names_attribute(group, "weight_names")
    stored = {array.name: array for array in arrays(group, others=others)}
    return [stored[name] for name in names if name in stored] if names else list(stored.values())


def _of_layer(stored: list[Array], layer: tuple[str, ...]) -> list[Array]:
    """The arrays of one layer; a model within the model has one group for all its layers."""
    if len(layer) == 1:
        return stored
    named = [array for array in stored if layer[-1] in array.name.split("/")]
    return named or [array for array in stored if re.search(rf"(^|/){re.escape(layer[-1])}_[A-Za-z]+", array.name)]


def _version(root: h5py.File, weights: h5py.Group) -> str:
    return text_attribute(root, "keras_version") or text_attribute(weights, "keras_version") or "1"


def _weights_alone(weights: h5py.Group, version: str, gates: str | None) -> Found:
    names = names_attribute(weights, "layer_names")
    if names:
        stored = [
            replace(array, name=f"{name}/{array.name}")
            for name in names
            for array in _in_order(group_at(weights, name), others=True)
        ]
    else:  # .weights.h5, as Keras writes it since 2.12; only since Keras 3 the groups of variables have names
        version = "3" if _has_names(weights) else _UNTOLD
        stored = sorted(arrays(weights, others=True), key=lambda array: natural(array.name))
    found = Found(f"Keras {version} weights in HDF5", zero_is_padding=True)
    single = _single_variables(weights, stored)
    sort_weights(found, layers_of(find_cells(stored)), stored, lambda array: _table_of(array, single))
    _set_activations(found, version, gates)
    return found


def _has_names(weights: h5py.Group) -> bool:
    """Whether a group of variables has the name of its layer."""
    found: list[str] = []
    weights.visititems(lambda name, one: found.append(name) if name.endswith("vars") and "name" in one.attrs else None)
    return bool(found)


def _single_variables(weights: h5py.Group, stored: list[Array]) -> dict[str, str]:
    """The arrays that are the only variable of a layer of Keras 3, each with the layer's own name.

    Keras 3 calls the group of a layer as the model's attribute that holds it, or by the layer's class.
    """
    groups = Counter(array.name.rpartition("/")[0] for array in stored)
    names = [array.name for array in stored if array.name.endswith("/vars/0")]
    places = {name: name.removesuffix("/0") for name in names if groups[name.removesuffix("/0")] == 1}
    return {
        name: text_attribute(group, "name") or ""
        for name, place in places.items()
        if (group := group_at(weights, place)) is not None
    }


def _table_of(array: Array, single: dict[str, str]) -> Table | None:
    """The embedding that a matrix is, or that the user can name as one; None if it is something else."""
    if _OF_MODEL.fullmatch(array.name):
        return Table(array.name, array, named=False)
    known = _TABLE.search(array.name) is not None
    if not known and array.name not in single:
        return None
    name = array.name.rpartition("/")[0].removesuffix("/vars").split("/")[-1] or array.name
    own = single.get(array.name, "")
    by_class = _CLASS.fullmatch(own) is not None  # the name that Keras gives to a layer without one
    says = known or by_class or any(says_embedding(one, array.shape) for one in (name, own))
    return Table(name, array, named=says)


def _set_activations(found: Found, version: str, gates: str | None) -> None:
    """Set the activations of the gates, or say why they aren't known: weights alone don't show them."""
    numbers = [int(part) for part in re.findall(r"\d+", "3" if version == _UNTOLD else version)[:2]]
    unknown = [layer for layer in found.layers.values() if layer.any_pass.layout != "cudnn"]
    if not unknown:
        found.notes.append("activations tanh and sigmoid (as CuDNN layers have)")
        return
    found.leaves_open = frozenset({"--recurrent-activation"})
    if gates == "hard_sigmoid" and version == _UNTOLD:
        raise ImportRefusedError(
            f"--recurrent-activation hard_sigmoid: the file doesn't say whether Keras 2 or Keras 3 wrote it, whose "
            f"functions of this name differ; give {KERAS_2} or hard_sigmoid_keras3"
        )
    if gates is not None:
        found.notes.append(set_gates(unknown, hard_gates(version) if gates == "hard_sigmoid" else gates))
    elif numbers < [2, 3]:
        default = "hard_sigmoid; if the model's code doesn't set it, add --recurrent-activation hard_sigmoid, and"
        if numbers == [2, 2] and version.endswith("-tf"):
            default = (
                "hard_sigmoid in TensorFlow 1, and sigmoid in TensorFlow 2.0 and 2.1; if the model's code doesn't set "
                "it, add --recurrent-activation with the default of the TensorFlow that it ran on, and"
            )
        for layer in unknown:
            layer.problem = layer.problem or (
                f"the file has weights alone, and Keras {version}'s default for recurrent_activation was {default} "
                "if it says recurrent_activation='sigmoid', add --recurrent-activation sigmoid"
            )
    else:
        found.notes.append(
            "the file has weights alone: activations tanh and sigmoid are assumed, Keras's defaults since 2.3"
        )
