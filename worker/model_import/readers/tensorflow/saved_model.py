"""TensorFlow's SavedModels: their variables; no graph is run here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import SavedGraph
from worker.model_import.limits import MOST_JSON_BYTES
from worker.model_import.readers.keras.layers import find_model
from worker.model_import.readers.keras.saved_metadata import read_metadata
from worker.model_import.readers.tensorflow.checkpoint import find_by_names, read_variables
from worker.model_import.readers.tensorflow.graph_steps import judge_steps

if TYPE_CHECKING:
    from pathlib import Path

    from worker.model_import.found import Array, Found
    from worker.model_import.readers.tensorflow.checkpoint import Variables

#: Tokens in a row that is compared, at most: a step of the plain arithmetic takes a tenth of a millisecond and more.
_LONGEST = 4096
#: The types of ids, int32 and int64, and that of texts, by TensorFlow's numbers.
_IDS, _STRING = (3, 9), 7
_MOST_GRAPH_BYTES = 32 * MOST_JSON_BYTES
#: The variables of Keras's layers, in the order in which a layer makes its own.
_ORDER = (
    "embeddings", "gamma", "beta", "moving_mean", "moving_variance", "mean", "variance", "count",
    "kernel", "recurrent_kernel", "bias", "alpha",
)  # fmt: skip


def read_saved_model(path: Path, gates: str | None, forget_bias: float | None) -> Found:
    """Read a SavedModel directory.

    Args:
        path: the directory.
        gates: the activation of the gates that the user says, or None.
        forget_bias: what the program adds to a TensorFlow 1 LSTM's forget gate; None for 1.0, its default.

    Raises:
        ImportRefusedError: TensorFlow isn't installed, the directory isn't a SavedModel, or its cells have other
            activations.
    """
    stored = read_variables(path / "variables" / "variables")
    saved = read_metadata(path / "keras_metadata.pb")
    if saved is not None:
        floats = [array for array in stored.arrays if not array.dtype]

        def weights_of(layer: tuple[str, ...]) -> list[Array]:
            within = [place for names, place in saved.normalizations.items() if names[: len(layer)] == layer]
            if within:
                return _of_normalization(stored, within)
            return _in_keras_order([array for array in floats if layer[-1] in array.name.split("/")[:-1]])

        return find_model(saved.model, weights_of, "Keras 2 SavedModel", "2")
    found = find_by_names(stored, "TensorFlow SavedModel", forget_bias)
    model = read_graph(path / "saved_model.pb")
    judge_steps(model, found, gates)
    found.own = SavedGraph(path, *_length(model))
    return found


def _of_normalization(stored: Variables, places: list[tuple[str, ...]]) -> list[Array]:
    """The mean and the variance of a layer, whose names in the file don't show the layer; empty if it has none.

    Args:
        stored: the file's variables.
        places: of the layers Normalization within the layer, the names of the attributes from the model to each.
    """
    if len(places) != 1:
        return []
    found = [stored.of_object((*places[0], name)) for name in ("mean", "variance")]
    return [array for array in found if array is not None] if None not in found else []


def _in_keras_order(arrays: list[Array]) -> list[Array]:
    """The arrays of a layer as Keras gives them; the file has them in the order of the alphabet."""
    parts = {array.name: array.name.split("/") for array in arrays}
    cells = list(dict.fromkeys(tuple(names[:-1]) for names in parts.values()))

    def place(array: Array) -> tuple[bool, int, int]:
        *cell, last = parts[array.name]
        backward = any(name.startswith("backward_") for name in cell)
        return backward, cells.index(tuple(cell)), _ORDER.index(last) if last in _ORDER else len(_ORDER)

    return sorted(arrays, key=place)


def _length(model: Any) -> tuple[int | None, bool]:
    """The number of tokens in a row, if all signatures say the same, and it isn't too large for a comparison.

    Returns:
        The number, and whether no other input can have the rows.
    """
    inputs = [
        one
        for graph in model.meta_graphs
        for signature in graph.signature_def.values()
        for one in signature.inputs.values()
        if len(one.tensor_shape.dim) > 1 and one.dtype != _STRING
    ]
    ids = [one for one in inputs if one.dtype in _IDS]  # beside other features
    found = {one.tensor_shape.dim[1].size for one in ids or inputs}
    if len(found) != 1 or not 1 < (length := found.pop()) <= _LONGEST:  # 1: a step, or another number of each row
        return None, False
    return length, all(one.tensor_shape.dim[1].size == length for one in inputs)


def read_graph(path: Path) -> Any:
    """Read the graph, a SavedModel of TensorFlow's protocol buffers.

    Raises:
        ImportRefusedError: the file isn't the graph of a SavedModel.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - comes with TensorFlow
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415 - TensorFlow takes seconds to import

    model = saved_model_pb2.SavedModel()
    try:
        if path.stat().st_size > _MOST_GRAPH_BYTES:
            raise ImportRefusedError(
                f"{path} has more than {_MOST_GRAPH_BYTES:,} bytes; a graph without constants is smaller"
            )
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ImportRefusedError(f"{path} can't be read as a SavedModel's graph ({error}); get a fresh copy") from error
    return model
