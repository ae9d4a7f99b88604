"""Keras's calls and their weights as tables, recurrent layers and a graph."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from worker.model_import.cells import find_cells
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Found, Layer, Node, Pass, Role, Table
from worker.model_import.readers.keras.keras_graph import Call, config_of

#: Layers that hand on what they get once training is over.
THROUGH = {
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "Masking",
    "SpatialDropout1D",
}
_SIMPLE = {"LSTM": "lstm", "GRU": "gru", "CuDNNLSTM": "lstm", "CuDNNGRU": "gru", "LSTMV1": "lstm", "GRUV1": "gru"}
_CELLS = {"LSTMCell": "lstm", "GRUCell": "gru", "LSTMCellV1": "lstm", "GRUCellV1": "gru"}
_SUMS = ("__operators__.add", "math.add", "add")

#: Gives the arrays of a layer, by its path, in Keras's order.
Weights = Callable[[tuple[str, ...]], list[Array]]


def find_layers(calls: list[Call], weights: Weights, format_: str, version: str) -> Found:
    """Everything that the calls are, with the weights where they are wanted.

    Args:
        calls: as the file's configuration has them.
        weights: gives a layer's arrays.
        format_: for people.
        version: of the Keras that wrote the file: what it calls hard_sigmoid depends on it.

    Raises:
        ImportRefusedError: a recurrent layer's or an embedding's weights aren't there as its configuration says.
    """
    found = Found(format_, graph={}, zero_is_padding=True, length=_length(calls))
    graph = found.graph if found.graph is not None else {}
    for call in calls:
        name = "/".join(call.layer)
        if call.kind == "Embedding":
            found.tables.setdefault(name, _table(name, call.config, weights(call.layer)))
            graph[call.name] = Node(call.name, "table", call.kind, call.inputs, name)
        elif is_recurrent(call.kind):
            made = [layer for layer in found.layers.values() if layer.name == name or layer.name.startswith(f"{name}.")]
            made = made or _layers(name, call, weights(call.layer), hard_gates(version))
            found.layers |= {layer.name: layer for layer in made}
            _add_nodes(graph, call, made)
        else:
            role = _role(call)
            graph[call.name] = Node(call.name, role, call.kind, call.inputs)
            if role == "other":
                found.left.append(f"{call.name} ({call.kind})")
    return found


def is_recurrent(kind: str) -> bool:
    """Whether a class reads a sequence step by step."""
    return kind in _SIMPLE or kind in ("Bidirectional", "RNN")


def _add_nodes(graph: dict[str, Node], call: Call, layers: list[Layer]) -> None:
    """One node for each layer; the last bears the call's name, which is what others read."""
    source = call.inputs[:1]
    for number, layer in enumerate(layers):
        name = call.name if number == len(layers) - 1 else f"{call.name} cell {number}"
        graph[name] = Node(name, "layer", call.kind, source, layer.name)
        source = (name,)


def _role(call: Call) -> Role:
    if call.kind == "InputLayer":
        return "input"
    if call.kind in THROUGH or (call.kind == "Activation" and call.config.get("activation") == "linear"):
        return "through"
    if call.kind == "TimeDistributed" and config_of(call.config).get("class_name") in THROUGH:
        return "through"
    sums = call.kind == "Add" or (call.kind == "TFOpLambda" and call.config.get("function") in _SUMS)
    return "add" if sums and len(call.inputs) == 2 else "other"


def _length(calls: list[Call]) -> int | None:
    """Tokens a row has, where the model's input or its embedding fixes it."""
    for call in calls:
        shape = call.config.get("batch_shape") or call.config.get("batch_input_shape") or ()
        fixed = call.config.get("input_length") if call.kind == "Embedding" else None
        if not fixed and isinstance(shape, list) and len(shape) in (2, 3):
            fixed = shape[1]
        if type(fixed) is int and fixed > 0:
            return fixed
    return None


def _table(name: str, config: Mapping[str, Any], arrays: list[Array]) -> Table:
    tables = [array for array in arrays if len(array.shape) == 2]
    if len(tables) != 1:
        raise ImportRefusedError(
            f"{name}: an Embedding has one table, the file holds {[array.shape for array in arrays]} for it; "
            "quantized or adapted embeddings can't be read, save it as plain float32"
        )
    return Table(name, tables[0], bool(config.get("mask_zero")))


def _layers(name: str, call: Call, arrays: list[Array], hard: str) -> list[Layer]:
    """A call's recurrent layers: one, or one for each cell of an RNN over cells."""
    passes = [cell.one for cell in find_cells(arrays)]
    if call.kind == "Bidirectional":
        layers = [_bidirectional(name, call.config, passes, hard)]
    elif call.kind == "RNN":
        layers = _from_cells(name, call.config, passes, hard)
    else:
        layers = [_one(name, call.kind, call.config, passes, hard)]
    if call.has_state:
        layers[0].problem = layers[0].problem or (
            "it starts from a state that another layer gives; here every row starts from zero. Import the layers "
            "before it"
        )
    return layers


def _one(name: str, kind: str, config: Mapping[str, Any], passes: list[Pass], hard: str) -> Layer:
    if len(passes) != 1:
        raise _mismatch(name, 1, passes)
    one, problem = _checked(passes[0], _SIMPLE[kind], config, hard, cudnn=kind.startswith("CuDNN"))
    if config.get("go_backwards"):
        note = "reads from the last token; its outputs are stored beside their tokens, in the row's order"
        return Layer(name, None, one, reversed=True, problem=problem, notes=[note])
    return Layer(name, one, problem=problem)


def _bidirectional(name: str, config: Mapping[str, Any], passes: list[Pass], hard: str) -> Layer:
    inner = config.get("layer")
    inner = inner if isinstance(inner, dict) else {}
    kind = str(inner.get("class_name"))
    if kind == "RNN":
        cell = config_of(inner).get("cell")
        inner = cell if isinstance(cell, dict) else {}
        kind = {"LSTMCell": "LSTM", "GRUCell": "GRU"}.get(str(inner.get("class_name")), str(inner.get("class_name")))
    if kind not in _SIMPLE:
        return _unknown(name, f"Bidirectional({kind})", passes)
    if len(passes) != 2:
        raise _mismatch(name, 2, passes)
    both = [_checked(one, _SIMPLE[kind], config_of(inner), hard, cudnn=kind.startswith("CuDNN")) for one in passes]
    problem = both[0][1] or both[1][1]
    if config.get("merge_mode", "concat") != "concat":
        problem = (
            f"its merge_mode is {config.get('merge_mode')!r:.20}; 'concat' can be imported, forward and then backward: "
            "change the model to concat, or import another layer"
        )
    ahead, back = both[0][0], both[1][0]
    if config_of(inner).get("go_backwards"):
        problem = problem or "its forward layer goes backwards; make it go forward and swap the two"
    return Layer(name, ahead, back, problem=problem)


def _from_cells(name: str, config: Mapping[str, Any], passes: list[Pass], hard: str) -> list[Layer]:
    cell = config.get("cell")
    cell = cell if isinstance(cell, dict) else {}
    cells = [cell]
    if cell.get("class_name") == "StackedRNNCells":
        stacked = config_of(cell).get("cells")
        cells = [one for one in stacked if isinstance(one, dict)] if isinstance(stacked, list) else []
    kinds = [str(one.get("class_name")) for one in cells]
    if not cells or not all(kind in _CELLS for kind in kinds):
        return [_unknown(name, f"RNN of {', '.join(kinds)}"[:100], passes)]
    if len(passes) != len(cells):
        raise _mismatch(name, len(cells), passes)
    layers = []
    for number, (one, kind, inner) in enumerate(zip(passes, kinds, cells, strict=True)):
        checked, problem = _checked(one, _CELLS[kind], config_of(inner), hard)
        layer = Layer(f"{name}.{number}" if len(cells) > 1 else name, checked, problem=problem)
        if config.get("go_backwards"):
            layer = replace(layer, forward=None, backward=checked, reversed=number == 0)
        layers.append(layer)
    if config.get("go_backwards") and len(layers) > 1:
        layers[0].problem = "it is a stack of cells that goes backwards; make it one layer for each cell"
    return layers


def _checked(
    one: Pass, kind: str, config: Mapping[str, Any], hard: str, *, cudnn: bool = False
) -> tuple[Pass, str | None]:
    """A pass with what only the configuration knows, and why it can't be taken, if so."""
    units = config.get("units", config.get("output_dim"))
    if one.kind != kind or (type(units) is int and units != one.units):
        raise ImportRefusedError(
            f"the configuration says {kind} with {units} units, the weights are those of {one.kind} with {one.units}; "
            "configuration and weights must come from the same model"
        )
    if kind == "gru":
        after = cudnn or bool(config.get("reset_after")) or one.reset == "after"
        one = replace(one, reset="after" if after else "before")
    gates = config.get("recurrent_activation", config.get("inner_activation", "sigmoid"))
    if gates == "hard_sigmoid":
        one, gates = replace(one, gates=hard), "sigmoid"
    return one, one.problem or activation_problem(config.get("activation", "tanh"), gates)


def hard_gates(version: str) -> str:
    """What a version of Keras, "1" or "2.2.4-tf", calls hard_sigmoid: its third has another slope."""
    number = version.partition(".")[0]
    return "hard_sigmoid_keras3" if number.isdecimal() and int(number) > 2 else "hard_sigmoid"


def activation_problem(state: Any, gates: Any) -> str | None:
    """Why a layer with these activations can't be taken, or None; gates that are hard_sigmoid are the caller's."""
    for found, allowed, what in ((state, "tanh", "activation"), (gates, "sigmoid", "recurrent_activation")):
        name = config_of(found).get("name") or found.get("config") if isinstance(found, dict) else found
        if name != allowed:
            own = " (a function of the model's own)" if isinstance(found, dict) and name == "hard_sigmoid" else ""
            more = " and hard_sigmoid" if allowed == "sigmoid" else ""
            return (
                f"its {what} is {name!r:.60}{own}; {allowed}{more} can be imported. "
                f"Train or fine-tune it with {what}='{allowed}'"
            )
    return None


def _unknown(name: str, what: str, passes: list[Pass]) -> Layer:
    stand_in = passes[0] if passes else Pass("keras", "lstm", 1, 1, {})
    return Layer(name, stand_in, problem=f"it is {what}; LSTM and GRU can be imported")


def _mismatch(name: str, wanted: int, passes: list[Pass]) -> ImportRefusedError:
    return ImportRefusedError(
        f"{name}: the file holds the weights of {len(passes)} LSTM or GRU passes for it, and its configuration "
        f"says {wanted}; "
        "quantized or adapted weights can't be read, save it as plain float32"
    )
