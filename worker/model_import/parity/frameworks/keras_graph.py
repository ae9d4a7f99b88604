"""The graph of a Keras file, cut above the last layer that is imported, rebuilt and run by Keras.

Only classes that the import knows are rebuilt, and of their configurations only numbers, names and texts are used: a
file can name initializers, regularizers and functions of any package, and none of those is looked up.
"""

# Over 150 lines: cutting, cleaning and rebuilding a configuration know the same places in it.

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.readers.keras.configuration import (
    MODELS,
    config_of,
    is_of_float64,
    is_operation,
    kind_of,
    layer_configs,
    name_of,
    precision_of,
)
from worker.model_import.readers.keras.layers import THROUGH
from worker.model_import.readers.keras.maps import MAPS, OPERATIONS
from worker.model_import.readers.keras.tensors import tensors_in
from worker.model_import.selection.initial_states import states_by_tensor
from worker.models.tensorflow import in_float32, keras

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Float32, KerasGraph
    from worker.model_import.selection.stack import Stack

#: The classes that are rebuilt.
_CLASSES = {
    *THROUGH, *MAPS, *OPERATIONS, "InputLayer", "Embedding", "LSTM", "GRU", "Bidirectional", "RNN", "LSTMCell",
    "GRUCell", "StackedRNNCells", "Activation", "Add", "TimeDistributed", "OneHot", "CategoryEncoding", "NotEqual",
    "Any", "Cast", "LogicalOr", "LogicalAnd",
}  # fmt: skip
#: Operations that are in another module of Keras than the others.
_OF_NN = {"Relu", "Selu", "Sigmoid", "Silu", "Softplus", "Softsign", "OneHot"}
#: Operations that have a configuration in HDF5, as layers have, and that no layer shares its name with.
_CONFIGURED = {"Any", "Cast", "OneHot"}
#: What is kept of the configuration of a model within the model, beside its layers.
_OF_MODELS = ("name", "trainable", "input_layers", "output_layers")
#: Arguments that don't change what a trained layer computes, or whose values would be looked up by name.
_DROPPED = ("_initializer", "_regularizer", "_constraint")
_ASIDE = {
    "dtype": None, "quantization_config": None, "stateful": False, "unroll": False, "time_major": None,
    "implementation": None, "batch_input_shape": None, "input_length": None, "lora_rank": None, "lora_alpha": None,
    "dropout": 0.0, "recurrent_dropout": 0.0,
}  # fmt: skip


def run_keras(
    own: KerasGraph, stack: Stack, rows: Sequence[NDArray[Any]], begun: Float32 | None = None
) -> dict[int, Float32]:
    """The outputs of the rows whose lengths the graph takes, by their numbers, (time, outputs).

    Raises:
        ImportRefusedError: the graph can't be rebuilt or run; the text is the reason.
    """
    gates = {one.gates for layer in stack.layers for one in layer.passes}
    if own.version.partition(".")[0] in ("1", "2") and gates != {"sigmoid"}:
        raise ImportRefusedError("this Keras computes another hard_sigmoid than the Keras that wrote the file")
    if stack.end not in own.paths or "#" in stack.end:
        raise ImportRefusedError(f"{stack.end} is one of several calls or cells, which aren't run one by one")
    above, end = _outermost(own.model, own.paths[stack.end])
    *_, last = own.paths[stack.last]
    what = "rebuild"
    try:
        with warnings.catch_warnings(), in_float32():
            warnings.simplefilter("ignore")  # Keras's, about NumPy and about its own defaults
            model = _rebuilt(_inner(own.model, above), end, last)
            _set_weights(model, own, tuple(above))
            what = "run"
            return _run(model, stack, rows, begun)
    except ImportRefusedError:
        raise
    except Exception as error:  # Keras raises errors of its own, of TensorFlow's and of Python's
        raise ImportRefusedError(f"Keras can't {what} it ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """An error's first line that says why; before it, Keras says which layer was called, and may colour that."""
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Exception encountered when calling")]
    return (told or [type(error).__name__])[0][:200]


def _outermost(model: Mapping[str, Any], path: Sequence[str]) -> tuple[list[str], str]:
    """The names of the models around a layer, and its own; or those of the largest model whose output is its."""
    *above, end = path
    while above:
        inner = _inner(model, above)
        outputs = [tensor.layer for tensor in tensors_in(config_of(inner).get("output_layers"))]
        if (outputs or [name_of(layer) for layer in layer_configs(inner)][-1:]) != [end]:
            break
        *above, end = above
    return above, end


def _inner(model: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """The model within the model at a path."""
    for name in path:
        found = next((layer for layer in layer_configs(model) if name_of(layer) == name), None)
        if found is None:
            raise ImportRefusedError(f"{name} isn't in the configuration")
        model = found
    return model


def _rebuilt(model: Mapping[str, Any], end: str, last: str) -> Any:
    """The part of a model that ends in a layer; the last recurrent layer returns all its outputs."""
    layers = {name_of(layer): layer for layer in layer_configs(model)}
    if model.get("class_name") == "Sequential":
        names = list(layers)[: list(layers).index(end) + 1]
        config = {**config_of(model), "layers": [_plain(layers[name], last) for name in names]}
        config.pop("build_input_shape", None)
        return keras.Sequential.from_config(_known(config))
    needed, waiting = {end}, [end]
    while waiting:
        layer = layers.get(waiting.pop())
        if layer is None:
            raise ImportRefusedError("its graph reads a layer that it doesn't have")
        nodes = layer.get("inbound_nodes")
        if isinstance(nodes, list) and len(nodes) > 1:
            raise ImportRefusedError(f"{name_of(layer)} is called more than once")
        # With the masks and states, which `tensors_read` leaves aside.
        new = {tensor.layer for tensor in tensors_in(nodes)} - needed
        new |= {tensor.layer for tensor in _masks_in(nodes)} - needed
        needed |= new
        waiting += new
    inputs = [tensor for tensor in tensors_in(config_of(model).get("input_layers")) if tensor.layer in needed]
    places = [[tensor.layer, tensor.call, tensor.output] for tensor in inputs]
    config = {
        "name": "part",
        "trainable": True,
        "layers": [_plain(layer, last) for name, layer in layers.items() if name in needed],
        "input_layers": places[0] if len(places) == 1 else places,
        "output_layers": [end, 0, 0],
    }
    return keras.Model.from_config(_known(config))


def _masks_in(value: Any, depth: int = 0) -> Any:
    """The tensors that are given as masks anywhere in the calls of a layer."""
    if depth < 8 and isinstance(value, dict):
        for name, part in value.items():
            yield from tensors_in([part]) if name == "mask" else _masks_in(part, depth + 1)
    if depth < 8 and isinstance(value, list):
        for part in value:
            yield from _masks_in(part, depth + 1)


def _plain(layer: Mapping[str, Any], last: str) -> dict[str, Any]:
    """A layer's configuration without what would be looked up by name; the last one returns all its outputs."""
    all_outputs = name_of(layer) == last
    kind = kind_of(layer)
    if kind in MODELS:
        return _plain_model(layer, last)
    _check_class(layer)
    config: dict[str, Any] = {}
    given = {**config_of(layer)}
    if kind == "InputLayer" and "batch_input_shape" in given:
        given["batch_shape"] = given["batch_input_shape"]  # as Keras 1 and 2 call it
    for name in [name for name in given if name not in _ASIDE and not name.endswith(_DROPPED)]:
        value = given[name]
        inner = isinstance(value, Mapping) and "class_name" in value
        if inner and name in ("layer", "backward_layer", "cell"):
            # Keras 2 names no module; without one, Keras 3 finds no class that is inside a layer.
            config[name] = _plain({"module": "keras.layers", **value}, name_of(value) if all_outputs else "")
        elif name == "cells" and isinstance(value, list):
            config[name] = [_plain(one, "") for one in value if isinstance(one, Mapping)]
        elif not inner:
            config[name] = value
    if dtype := _dtype_kept(kind, given):
        config["dtype"] = dtype
    if all_outputs and "return_sequences" in config:
        config |= {"return_sequences": True, "return_state": False}
    kept = {name: layer[name] for name in ("class_name", "name", "inbound_nodes") if name in layer} | _module_of(layer)
    if "module" in kept:
        kept |= {"registered_name": None}
    return {**kept, "config": config}


def _dtype_kept(kind: str, config: Mapping[str, Any]) -> str:
    """The type that a layer is rebuilt with; empty for float32."""
    if is_of_float64(config):
        return "float64"
    low = precision_of({"dtype": config.get("dtype")})
    return low or (str(config.get("dtype")) if kind == "Cast" else "")


def _check_class(layer: Mapping[str, Any]) -> None:
    kind, module = kind_of(layer), layer.get("module")
    if kind not in _CLASSES:
        raise ImportRefusedError(f"{name_of(layer)} is a {kind}, which isn't rebuilt here")
    if module is not None and not str(module).startswith("keras.") and module != "keras":
        raise ImportRefusedError(f"{name_of(layer)} is of the package {module!r:.60}, which isn't rebuilt here")


def _plain_model(model: Mapping[str, Any], last: str) -> dict[str, Any]:
    """The configuration of a model within the model, of layers without anything that would be looked up by name."""
    config = {name: value for name, value in config_of(model).items() if name in _OF_MODELS}
    config["layers"] = [_plain(layer, last) for layer in layer_configs(model)]
    kept = {name: model[name] for name in ("name", "inbound_nodes") if name in model}
    name = "Sequential" if model.get("class_name") == "Sequential" else "Functional"
    module = "keras" if name == "Sequential" else "keras.src.models.functional"
    return {**kept, "class_name": name, "module": module, "registered_name": None, "config": config}


def _module_of(layer: Mapping[str, Any]) -> dict[str, Any]:
    """The module of a layer or operation; without one, Keras takes an operation for a layer of its name."""
    if "module" in layer:
        return {"module": layer["module"]}
    of_nn = layer.get("class_name") in _OF_NN
    operation = is_operation(layer) or layer.get("class_name") in _CONFIGURED
    module = "nn" if of_nn else "core" if layer.get("class_name") == "Cast" else "numpy"
    return {"module": f"keras.src.ops.{module}"} if operation else {}


def _known(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration, if no object in it comes from elsewhere than Keras."""
    waiting: list[Any] = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            module = str(value.get("module") or "keras")
            if module not in ("keras", "builtins") and not module.startswith("keras."):
                raise ImportRefusedError(f"it has an object of the package {module!r:.60}")
            if value.get("class_name") in ("Lambda", "__lambda__", "function", "TorchModuleWrapper"):
                raise ImportRefusedError(f"it has a {value.get('class_name')}, which isn't run here")
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return config


def _set_weights(model: Any, own: KerasGraph, above: tuple[str, ...]) -> None:
    if not model.built:
        model.build((None, None))
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _set_weights(layer, own, (*above, layer.name))
        elif layer.weights:
            weights = [array.widest() for array in own.weights((*above, layer.name))]
            if isinstance(_within(layer), keras.layers.Normalization):
                weights.append(np.zeros((), np.float32))  # how much data it has seen, which no output depends on
            layer.set_weights(weights)
        if isinstance(_within(layer), keras.layers.Normalization):
            _within(layer).finalize_state()  # which computes with the weights


def _within(layer: Any) -> Any:
    return layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer


def _run(model: Any, stack: Stack, rows: Sequence[NDArray[Any]], begun: Float32 | None) -> dict[int, Float32]:
    made = {}
    failed: Exception | None = None
    states = states_by_tensor(stack, begun)
    others = [one for one in model.inputs if (one.name, 0) not in states]
    if len(others) != 1 or len(model.inputs) != 1 + len(states):
        raise ImportRefusedError("its graph computes states that rows bring, or has inputs whose meaning isn't known")
    shape = others[0].shape
    turned = sum(layer.reversed for layer in stack.layers) % 2
    for number, row in enumerate(rows):
        if shape[1] not in (None, len(row)):
            continue
        batch = np.stack([row, np.roll(row, 1, axis=0)[::-1]])
        width = stack.one_hot_dim
        given: Any = batch
        if not stack.vectors:
            # The row after the last one is a vector of zeros, for the id -1.
            given = np.eye(width + 1, width, dtype=np.float32)[batch] if len(shape) == 3 else batch.astype(np.int32)
        if states:
            # The other row of the batch starts from other states.
            pairs = {name: np.stack([each[number], -each[number]]) for (name, _), each in states.items()}
            given = [pairs.get(one.name, given) for one in model.inputs]
        try:
            outputs = np.asarray(keras.ops.convert_to_numpy(model(given)), np.float32)[0]
        except Exception as error:
            if len(row) > 1:
                raise
            failed = error  # CategoryEncoding takes a single id for a whole row: the source can't compute it either
            continue
        made[number] = outputs[::-1] if turned else outputs
    if failed and not made:
        raise failed
    if not made:
        raise ImportRefusedError("it takes rows of a fixed length only, and none here has it")
    return made
