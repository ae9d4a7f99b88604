"""The calls of a Keras model and their weights, as tables, recurrent layers and a graph."""

# Over 150 lines: the classification of all kinds of layers.

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Found, KerasGraph, Layer, Node, Role, Table, TokenMap
from worker.model_import.limits import check_layers
from worker.model_import.readers.activations import hard_gates
from worker.model_import.readers.keras.arguments import why_called
from worker.model_import.readers.keras.call_numbers import number_calls
from worker.model_import.readers.keras.configuration import (
    config_of,
    inner_of,
    kind_of,
    layer_configs,
    precision_of,
    quantization_of,
)
from worker.model_import.readers.keras.graph import MASK, STATE, Call, read_calls
from worker.model_import.readers.keras.lambdas import with_operations
from worker.model_import.readers.keras.maps import MAPS, drops_mask, operation_map, token_map, why_no_map
from worker.model_import.readers.keras.masks import calls_of_masks, find_masks, hide_masked, input_of
from worker.model_import.readers.keras.recurrent import check_again, is_recurrent, recurrent_layers

#: Layers that pass their input on unchanged after training.
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
#: Types that have the ids of every embedding.
_OF_IDS = ("int32", "int64", "uint32", "uint64")

#: Returns the arrays of a layer, given its path, in Keras's order.
Weights = Callable[[tuple[str, ...]], list[Array]]


def find_model(model: Mapping[str, Any], weights: Weights, format_: str, version: str) -> Found:
    """Read a model's configuration, and join its layers with their weights.

    Args:
        model: {"class_name": …, "config": …}.
        weights: returns the arrays of a layer, given its path.
        format_: the file's format, for messages.
        version: version of the Keras that wrote the file.

    Raises:
        ImportRefusedError: `read_calls` or `find_layers` refuses it.
    """
    model = with_operations(number_calls(model))
    calls = read_calls(model)
    found = find_layers(calls, weights, format_, version)
    found.own = KerasGraph(model, {call.name: call.layer for call in calls}, weights, version)
    return found


def find_layers(calls: list[Call], weights: Weights, format_: str, version: str) -> Found:
    """Classify the calls of a model, and join layers with their weights.

    Args:
        calls: from the file's configuration.
        weights: returns the arrays of a layer.
        format_: the file's format, for messages.
        version: version of the Keras that wrote the file; the meaning of hard_sigmoid depends on it.

    Raises:
        ImportRefusedError: the weights of a recurrent layer or embedding don't fit its configuration.
    """
    # Over 40 lines: one pass over the calls, each of which may be of several kinds.
    check_layers(sum(is_recurrent(call.kind) for call in calls))
    graph: dict[str, Node] = {}
    found = Found(format_, graph=graph, zero_is_padding=True, lengths=_lengths(calls))
    ids = {call.name for call in calls if call.kind == "InputLayer" and len(_shape(call)) == 2}
    made: dict[str, list[Layer]] = {}
    first: dict[str, Call] = {}
    left: dict[str, str] = {}
    for call in calls:
        name = "/".join(call.layer)
        for source in call.inputs:
            if source.endswith(STATE) and source not in graph:
                graph[source] = Node(source, "other", "state", (source.removesuffix(STATE),))
        if call.kind == "Embedding":
            if name not in found.tables:
                found.tables[name] = _table(name, call.config, weights(call.layer))
            why = why_called(call)
            role: Role = "other" if why else "table"
            low = precision_of(call.config)
            graph[call.name] = Node(call.name, role, call.kind, call.inputs, name, why=why, precision=low)
        elif is_recurrent(call.kind):
            if name not in made:
                made[name] = recurrent_layers(call, weights(call.layer), hard_gates(version))
                found.layers |= {layer.name: layer for layer in made[name]}
                first[name] = call
            else:
                check_again(made[name], first[name], call)
            _add_nodes(graph, call, made[name], version)
        else:
            node = _other_node(call, weights, version)
            if call.kind == "Cast" and input_of(graph, call.inputs) in ids and call.config.get("dtype") in _OF_IDS:
                node = replace(node, role="through")
            graph[call.name] = node
            if node.role == "other":
                left[call.name] = f"{call.name} ({call.kind})"
    masks = _finish(found, graph, calls)
    found.left += [text for name, text in left.items() if name not in masks]
    return found


def _other_node(call: Call, weights: Weights, version: str) -> Node:
    """The node of a call that is neither an embedding nor a recurrent layer."""
    role, why = _role(call), ""
    function = _function(call, weights) if role == "other" and len(call.inputs) == 1 else None
    role = "map" if function else role
    if not call.is_operation and role != "other" and (why := why_called(call)):
        role, function = "other", None
    elif call.kind == "Softmax" and call.masks:
        role, function, why = "other", None, "it is called with a mask, which it computes with"
    elif not call.is_operation and role == "other":
        why = why_no_map(call.kind, call.config)
    return Node(
        *(call.name, role, call.kind, call.inputs),
        recurs=_recurs(call),
        masks=float(call.config.get("mask_value") or 0) if call.kind == "Masking" else None,
        drops_mask=call.is_operation or drops_mask(call.kind, version),
        map=function,
        why=why,
        precision=_precision(call, role) if function or role == "through" else "",
    )


def _finish(found: Found, graph: dict[str, Node], calls: list[Call]) -> set[str]:
    """Note what can be seen only when all calls are known: masks, and recurrent layers that can't be read.

    Returns:
        The names of the calls that compute the masks.
    """
    masks = find_masks(graph, calls)
    for call in calls:
        if call.masks and (call.kind == MASK or graph[call.name].role == "layer"):
            hide_masked(found, call, masks)
    inside = [node for node in graph.values() if node.recurs]
    inside += [graph[call.name] for call in calls if _has_recurrent({"config": call.config})]
    if inside:
        found.why_empty = (
            f"its recurrent layers are of kinds that can't be imported, or within others: {inside[0].name} "
            f"({inside[0].what}). Only LSTM and GRU that are layers of the model can be"
        )
    return calls_of_masks(calls, masks)


def _precision(call: Call, role: str) -> str:
    """The type that a call rounds to. Dropout rounds, too, but not within another layer."""
    return precision_of({"dtype": call.config.get("dtype")} if role == "through" else call.config)


def _function(call: Call, weights: Weights) -> TokenMap | None:
    """The function of a call with one input, if it changes each token's vector alone."""
    if call.is_operation:
        return operation_map(call.kind, call.operands)
    is_known = call.kind in MAPS and not _recurs(call)
    return token_map(call.kind, call.config, weights(call.layer)) if is_known else None


def _recurs(call: Call) -> bool:
    """Whether a layer that can't be read is recurrent, or has a recurrent one within."""
    return bool(_RECURRENT.search(call.kind)) or any(
        _RECURRENT.search(str(inner_of(call.config, name).get("class_name"))) for name in ("layer", "cell")
    )


def _has_recurrent(model: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether a model that can't be read has a recurrent layer, or a layer has one within."""
    inner = (inner_of(config_of(model), name) for name in ("layer", "cell"))
    return depth < _DEPTH and any(
        _RECURRENT.search(str(layer.get("class_name"))) or _has_recurrent(layer, depth + 1)
        for layer in (*inner, *layer_configs(model))
        if layer
    )


#: How deep models may be within one that can't be read, where a recurrent layer is looked for.
_DEPTH = 8
_RECURRENT = re.compile(r"RNN|LSTM|GRU|Bidirectional|^while|^scan$", re.IGNORECASE)


def _add_nodes(graph: dict[str, Node], call: Call, layers: list[Layer], version: str) -> None:
    """One node for each layer; the last has the call's name, which other calls read."""
    source = call.inputs[:1]
    # Since version 3, Keras gives a layer the mask of its input only if the input is the one tensor that it is given.
    has_state = call.arguments.get("initial_state") is not None and not version.startswith(("1.", "2."))
    precision, drops_mask = precision_of(call.config), has_state and not call.masks
    for number, layer in enumerate(layers):
        name = call.name if number == len(layers) - 1 else f"{call.name} cell {number}"
        graph[name] = Node(*(name, "layer", call.kind, source, layer.name), precision=precision, drops_mask=drops_mask)
        source = (name,)


def _role(call: Call) -> Role:
    if call.kind in ("InputLayer", MASK):
        return "input" if call.kind == "InputLayer" else "through"
    if (call.kind == "OneHot" and call.config.get("axis") == -1) or (
        call.kind == "CategoryEncoding" and call.config.get("output_mode") == "one_hot"
    ):
        return "onehot"
    if call.kind in THROUGH or (call.kind == "Activation" and call.config.get("activation") == "linear"):
        return "through"
    if call.kind == "TimeDistributed" and kind_of(inner_of(call.config, "layer")) in THROUGH:
        return "through"
    return "add" if call.kind == "Add" and len(call.inputs) == 2 else "other"


def _lengths(calls: list[Call]) -> dict[str, int]:
    """The numbers of tokens in a row, by the inputs and embeddings of the model that fix them."""
    states = {name for call in calls for name in call.starts}
    found = {}
    for call in calls:
        shape = [] if call.name in states else _shape(call)
        fixed = call.config.get("input_length") if call.kind == "Embedding" else None
        if not fixed and len(shape) in (2, 3):
            fixed = shape[1]
        if type(fixed) is int and fixed > 0:
            found[call.name] = fixed
    return found


def _shape(call: Call) -> list[Any]:
    """The shape of a model's input; empty if the call isn't one, and has none."""
    shape = call.config.get("batch_shape") or call.config.get("batch_input_shape")
    return shape if isinstance(shape, list) else []


def _table(name: str, config: Mapping[str, Any], arrays: list[Array]) -> Table:
    if mode := quantization_of(config):
        raise ImportRefusedError(
            f"{name}: its table is quantized to {mode}; import the model from before model.quantize"
        )
    tables = [array for array in arrays if len(array.shape) == 2]
    if len(tables) != 1:
        raise ImportRefusedError(
            f"{name}: an Embedding has one table, but the file has {[array.shape for array in arrays]} for it; "
            "quantized or adapted embeddings can't be read, save it as plain float32"
        )
    for size, argument in zip(tables[0].shape, ("input_dim", "output_dim"), strict=True):
        if config.get(argument, size) != size:
            raise ImportRefusedError(
                f"{name}: its {argument} is {config[argument]!r:.30}, but its table has {tables[0].shape}; "
                "configuration and weights must come from the same model"
            )
    return Table(name, tables[0], bool(config.get("mask_zero")))
