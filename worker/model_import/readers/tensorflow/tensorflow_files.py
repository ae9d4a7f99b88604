"""TensorFlow's checkpoints and SavedModels: variables by name; the graph is looked at, never run."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.cells import find_cells, layers_of, vouch
from worker.model_import.chain.order import natural
from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import Array, Found, Table
from worker.model_import.limits import MOST_JSON_BYTES, check_array, check_count
from worker.model_import.readers.keras.keras_graph import read_calls
from worker.model_import.readers.keras.keras_layers import find_layers
from worker.model_import.readers.keras.keras_metadata import read_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from worker.model_import.found import Float32

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_TABLE = re.compile(r"(^|/)[^/]*embedding[^/]*$|(^|/)embeddings?(/|$)", re.IGNORECASE)
#: Optimizers keep copies of variables under the same names.
_COPIES = re.compile(
    r"optimizer|OPTIMIZER_SLOT|/Adam|/Momentum|/RMSProp|/ExponentialMovingAverage|^_all_variables/|/Adagrad|/Ftrl"
)
#: What a step of a cell with other activations computes beside its products.
_OTHER_ACTIVATIONS = {"Elu", "HardSigmoid", "LeakyRelu", "Minimum", "Relu", "Relu6", "Selu", "Softplus", "Softsign"}


def read_checkpoint(path: Path, gates: str | None, forget_bias: float | None) -> Found:
    """Read a checkpoint, named by its `.index` file or its prefix.

    Args:
        path: the file.
        gates: the recurrent activation that its user vouches for, or None.
        forget_bias: what the program adds to a TensorFlow 1 LSTM's forget gate; None: 1.0, its default.

    Raises:
        ImportRefusedError: TensorFlow isn't here, or it isn't a checkpoint.
    """
    stored = _read(path.with_suffix("") if path.suffix == ".index" else path)
    found = _find(stored, "TensorFlow checkpoint", forget_bias)
    if gates is None:
        found.notes.append(
            "activations tanh and sigmoid (a checkpoint doesn't tell them; these are TensorFlow's defaults)"
        )
    else:
        found.notes.append(vouch(found.layers.values(), gates))
    return found


def read_saved_model(path: Path, gates: str | None, forget_bias: float | None) -> Found:
    """Read a SavedModel directory.

    Raises:
        ImportRefusedError: TensorFlow isn't here, it isn't one, or its cells have other activations.
    """
    stored = _read(path / "variables" / "variables")
    model = read_metadata(path / "keras_metadata.pb")
    if model is not None:

        def of(layer: tuple[str, ...]) -> list[Array]:
            return [array for array in stored if layer[-1] in array.name.split("/")[:-1]]

        return find_layers(read_calls(model), of, "Keras 2 SavedModel", "2")
    found = _find(stored, "TensorFlow SavedModel", forget_bias)
    if gates is None:
        _check_graph(path / "saved_model.pb", found)
    else:
        found.notes.append(vouch(found.layers.values(), gates))
    return found


def _read(prefix: Path) -> list[Array]:
    """The variables that are float, without optimizers' copies, in the order of their keys' numbers."""
    # As the engine does: start-up chatter says nothing to a user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from tensorflow.train import load_checkpoint  # noqa: PLC0415 - seconds, and large
    except ModuleNotFoundError as error:
        raise refuse_missing("TensorFlow", "pip install 'unrolled[tensorflow]'") from error
    try:
        reader = load_checkpoint(str(prefix))
        shapes, kinds = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        names = _full_names(reader) if _OBJECT_GRAPH in shapes else {}
    except Exception as error:  # TensorFlow's own errors, by version
        raise ImportRefusedError(
            f"{prefix} can't be read as a checkpoint ({str(error)[:200]}); get a fresh copy"
        ) from error
    check_count(str(prefix), len(shapes))
    stored_bytes = sum(part.stat().st_size for part in prefix.parent.glob(f"{prefix.name}.data-*"))
    stored: dict[str, Array] = {}
    for key in sorted(shapes, key=natural):
        name = names.get(key, key.removesuffix(_VALUE))
        if kinds[key].is_floating and not _COPIES.search(key) and name not in stored:
            shape = check_array(key, tuple(shapes[key]), 4, stored_bytes)
            stored[name] = Array(name, shape, _reading(reader, key))
    return list(stored.values())


def _reading(reader: Any, key: str) -> Any:
    def read() -> Float32:
        return np.asarray(reader.get_tensor(key), np.float32)

    return read


def _full_names(reader: Any) -> dict[str, str]:
    """Variables' own names (lstm/lstm_cell/kernel), where the object graph tells them for all that share no name."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2 as graphs  # noqa: PLC0415 - as in `_read`

    graph = graphs.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(_OBJECT_GRAPH))
    named = {one.checkpoint_key: one.full_name for node in graph.nodes for one in node.attributes if one.full_name}
    counted: dict[str, int] = {}
    for key, name in named.items():
        if not _COPIES.search(key):
            counted[name] = counted.get(name, 0) + 1
    return {key: name for key, name in named.items() if counted.get(name) == 1}


def _find(stored: list[Array], format_: str, forget_bias: float | None) -> Found:
    found = Found(format_, zero_is_padding=True)
    layers = layers_of(find_cells(stored))
    above = _common([layer.name for layer in layers])
    for layer in layers:
        layer.name = layer.name[above:]
        for side in ("forward", "backward"):
            one = getattr(layer, side)
            if one is not None and one.layout == "tf1" and one.kind == "lstm":
                added = one.forget_bias if forget_bias is None else forget_bias
                setattr(layer, side, replace(one, forget_bias=added))
                layer.notes.append(
                    f"{added:g} is added to the forget gate's bias, as TensorFlow 1's cells do (--forget-bias)"
                )
        found.layers[layer.name] = layer
    used = {
        array.name
        for layer in found.layers.values()
        for one in (layer.forward, layer.backward)
        if one is not None
        for array in one.parts.values()
    }
    for array in stored:
        if array.name in used:
            continue
        if len(array.shape) == 2 and _TABLE.search(array.name):
            found.tables[array.name] = Table(array.name, array)
        else:
            found.left.append(array.name)
    return found


def _common(names: list[str]) -> int:
    """How many letters of the scopes around all the names are the same."""
    if len(names) < 2:
        return 0
    scopes = [name.split("/")[:-1] for name in names]
    shared = list(takewhile(lambda parts: len(set(parts)) == 1, zip(*scopes, strict=False)))
    return sum(len(parts[0]) + 1 for parts in shared)


def _check_graph(path: Path, found: Found) -> None:
    """See in the graph's functions that cells compute tanh and sigmoid and nothing else.

    Raises:
        ImportRefusedError: it isn't a SavedModel's graph.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - comes with TensorFlow
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415 - as in `_read`

    model = saved_model_pb2.SavedModel()
    try:
        if path.stat().st_size > 32 * MOST_JSON_BYTES:
            raise ImportRefusedError(
                f"{path} is over {32 * MOST_JSON_BYTES:,} bytes; a graph without constants is smaller"
            )
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ImportRefusedError(f"{path} can't be read as a SavedModel's graph ({error}); get a fresh copy") from error
    steps = [
        {node.op for node in function.node_def}
        for graph in model.meta_graphs
        for function in graph.graph_def.library.function
        if re.search(r"while.*body", function.signature.name)
    ]
    cells = [ops for ops in steps if "MatMul" in ops]
    others = sorted({op for ops in cells for op in ops & _OTHER_ACTIVATIONS})
    if others:
        for layer in found.layers.values():
            layer.problem = layer.problem or (
                f"the graph's steps compute {', '.join(others)}; cells with tanh and sigmoid or "
                "hard_sigmoid alone can be imported. Say which one it is: add --recurrent-activation hard_sigmoid "
                "(Keras 2), hard_sigmoid_keras3, or sigmoid if these come from another part of the model"
            )
    elif cells and all({"Tanh", "Sigmoid"} <= ops for ops in cells):
        found.notes.append("activations tanh and sigmoid, as the graph's steps compute")
    else:
        found.notes.append(
            "activations tanh and sigmoid are assumed, TensorFlow's defaults: the graph doesn't show its steps"
        )
