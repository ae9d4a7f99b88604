"""A recurrent layer of a Keras model, from its configuration and its weights."""

# Over 150 lines: the forms in which Keras writes a recurrent layer, and the reasons why one can't be imported.

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Layer, Pass
from worker.model_import.readers.activations import activation_problem
from worker.model_import.readers.cells import find_cells
from worker.model_import.readers.keras.arguments import why_called
from worker.model_import.readers.keras.configuration import config_of, inner_of, kind_of
from worker.model_import.readers.keras.graph import Call
from worker.model_import.readers.keras.tensors import constants_in
from worker.model_import.selection.initial_states import STARTS_ELSEWHERE

_SIMPLE = {"LSTM": "lstm", "GRU": "gru", "CuDNNLSTM": "lstm", "CuDNNGRU": "gru", "LSTMV1": "lstm", "GRUV1": "gru"}
_CELLS = {"LSTMCell": "lstm", "GRUCell": "gru", "LSTMCellV1": "lstm", "GRUCellV1": "gru"}
#: What to do with two directions that differ.
_ALIKE = (
    "both directions of a layer must have one kind and one size here. Save each direction as a model of its own (the "
    "embedding and an LSTM or GRU, the backward one with go_backwards=True), and import the two"
)


def is_recurrent(kind: str) -> bool:
    """Whether a class reads a sequence step by step."""
    return kind in _SIMPLE or kind in ("Bidirectional", "RNN")


def recurrent_layers(call: Call, arrays: list[Array], hard: str) -> list[Layer]:
    """The layers of a call: one, or one for each cell of an RNN over cells.

    Args:
        call: a call of a layer whose class `is_recurrent`.
        arrays: its weights.
        hard: the function that this file calls hard_sigmoid, one of `LayerConfig`'s gates.

    Raises:
        ImportRefusedError: weights and configuration don't fit together.
    """
    name, passes = "/".join(call.layer), [cell.one for cell in find_cells(arrays)]
    if call.kind == "Bidirectional":
        layers = [_bidirectional(name, call.config, passes, hard)]
    elif call.kind == "RNN":
        layers = _from_cells(name, call.config, passes, hard)
    else:
        layers = [_one(name, call.kind, call.config, passes, hard)]
    if call.config.get("stateful") or config_of(inner_of(call.config, "layer")).get("stateful"):
        layers[0].notes.append(
            "it keeps its state from one batch to the next (stateful); here every row starts from zero"
        )
    layers[0].problem = layers[0].problem or why_called(call, ("initial_state",)) or None
    if call.has_state:
        layers[0].problem = layers[0].problem or _set_starts(layers, call)
    elif "initial_state" in call.arguments:
        layers[0].problem = layers[0].problem or _set_first_states(layers, call.arguments["initial_state"])
    return layers


def check_again(layers: list[Layer], first: Call, again: Call) -> None:
    """Note on a layer that is called more than once that its calls start from different states, or have a problem.

    Args:
        layers: its layers, from its first call.
        first: its first call.
        again: another call.
    """
    states = [(one.has_state, one.arguments.get("initial_state")) for one in (first, again)]
    layers[0].problem = layers[0].problem or why_called(again, ("initial_state",)) or None
    if states[0] != states[1] or again.has_state:
        layers[0].problem = layers[0].problem or (
            "it is called more than once, and its calls start from different states; make each call a layer of its own "
            "with the same weights"
        )


def _set_starts(layers: list[Layer], call: Call) -> str:
    """Set the tensors that passes start from, if each state is one; returns why layers can't be imported without."""
    counts = [sum(2 if one.kind == "lstm" else 1 for one in layer.passes) for layer in layers]
    starts = iter([(name, 0) for name in call.starts])
    if len(call.starts) != sum(counts):
        return (
            "it starts from another layer's state, or from one that the model computes or is given, and its states are "
            "not one tensor each; build the model so"
        )
    for layer, count in zip(layers, counts, strict=True):
        layer.starts = tuple(next(starts) for _ in range(count))
    return STARTS_ELSEWHERE


def _set_first_states(layers: list[Layer], given: Any) -> str | None:
    """Set the constant states that passes start from: of each pass the state and, in an LSTM, the cell's.

    Returns:
        The reason why they can't be imported, or None.
    """
    states = constants_in(given)
    passes = [one for layer in layers for one in layer.passes]
    units = [one.units for one in passes for _ in range(2 if one.kind == "lstm" else 1)]
    fits = states is not None and [one.shape[1] for one in states] == units
    if states is None or not fits or not all(len(one) and (one == one[0]).all() for one in states):
        return (
            "its initial_state isn't one constant vector for all rows; build the model with constants of the shape "
            "(1, units), or without initial_state, and load the weights"
        )
    with np.errstate(over="ignore"):  # the import refuses infinite numbers by their layer's name
        rows = iter([np.asarray(one[0], np.float32) for one in states])
    for layer in layers:
        own = [[next(rows) for _ in range(2 if one.kind == "lstm" else 1)] for one in layer.passes]
        if not any(row.any() for of_pass in own for row in of_pass):
            continue  # as if there were none
        made = iter(tuple(Array("initial_state", row.shape, row.copy) for row in of_pass) for of_pass in own)
        layer.forward = layer.forward and replace(layer.forward, first=next(made))
        layer.backward = layer.backward and replace(layer.backward, first=next(made))
    return None


def _one(name: str, kind: str, config: Mapping[str, Any], passes: list[Pass], hard: str) -> Layer:
    if len(passes) != 1:
        raise _mismatch(name, 1, passes)
    one, problem = _checked(passes[0], _SIMPLE[kind], config, hard, cudnn=kind.startswith("CuDNN"))
    if config.get("go_backwards"):
        return Layer(name, None, one, reversed=True, problem=problem)
    return Layer(name, one, problem=problem)


def _bidirectional(name: str, config: Mapping[str, Any], passes: list[Pass], hard: str) -> Layer:
    inner = inner_of(config, "layer")
    kind = kind_of(inner)
    if kind == "RNN":
        inner = inner_of(config_of(inner), "cell")
        kind = {"LSTMCell": "LSTM", "GRUCell": "GRU"}.get(kind_of(inner), kind_of(inner))
    if kind not in _SIMPLE:
        return _unknown(name, f"Bidirectional({kind})", passes)
    if len(passes) != 2:
        raise _mismatch(name, 2, passes)
    cudnn = kind.startswith("CuDNN")
    own = inner_of(config, "backward_layer")
    if own and kind_of(own) != kind_of(inner_of(config, "layer")):
        kinds = f"forward {kind_of(inner_of(config, 'layer')):.30}, backward {kind_of(own):.30}"
        return Layer(name, passes[0], passes[1], problem=f"its two layers are of different kinds ({kinds}); {_ALIKE}")
    own = inner_of(config_of(own), "cell") or own
    ahead, problem = _checked(passes[0], _SIMPLE[kind], config_of(inner), hard, cudnn=cudnn)
    back, back_problem = _checked(passes[1], _SIMPLE[kind], config_of(own or inner), hard, cudnn=cudnn)
    problem = problem or (back_problem and f"its backward layer: {back_problem}")
    if config.get("merge_mode", "concat") != "concat":
        problem = (
            f"its merge_mode is {config.get('merge_mode')!r:.20}; only 'concat' can be imported (forward, then "
            "backward). If it is the last layer, import a copy of the model with concat and the same weights, and "
            "merge the two halves of each vector; else import another layer"
        )
    if config_of(inner).get("go_backwards"):
        problem = problem or "its forward layer has go_backwards; swap the two layers"
    if ahead.units != back.units:
        problem = problem or f"its forward layer has {ahead.units} units and its backward layer {back.units}; {_ALIKE}"
    if ahead.reset != back.reset:
        problem = problem or f"its layers differ in reset_after; {_ALIKE}"
    if ahead.gates != back.gates:
        problem = problem or f"its backward layer's gates are {back.gates}, and its forward layer's are {ahead.gates}"
    return Layer(name, ahead, back, problem=problem)


def _from_cells(name: str, config: Mapping[str, Any], passes: list[Pass], hard: str) -> list[Layer]:
    cell = inner_of(config, "cell")
    cells = [cell]
    if kind_of(cell) == "StackedRNNCells":
        stacked = config_of(cell).get("cells")
        cells = [one for one in stacked if isinstance(one, dict)] if isinstance(stacked, list) else []
    kinds = [kind_of(one) for one in cells]
    if not cells or not all(kind in _CELLS for kind in kinds):
        return [_unknown(name, f"RNN of {', '.join(kinds)}"[:100], passes)]
    if len(passes) != len(cells):
        raise _mismatch(name, len(cells), passes)
    # Keras 3 groups weights by the names of classes: of each kind they are in the order of its cells.
    of_kind = {kind: iter([one for one in passes if one.kind == kind]) for kind in _CELLS.values()}
    in_order = [next(of_kind[_CELLS[kind]], None) for kind in kinds]
    ordered = [one for one in in_order if one is not None]
    layers = []
    for number, (one, kind, inner) in enumerate(
        zip(ordered if len(ordered) == len(cells) else passes, kinds, cells, strict=True)
    ):
        checked, problem = _checked(one, _CELLS[kind], config_of(inner), hard)
        layer = Layer(f"{name}.{number}" if len(cells) > 1 else name, checked, problem=problem)
        if config.get("go_backwards"):
            layer = replace(layer, forward=None, backward=checked, reversed=number == 0)
        layers.append(layer)
    if config.get("go_backwards") and len(layers) > 1:
        layers[0].problem = "it is a stack of cells with go_backwards; make each cell a layer"
    return layers


def _checked(
    one: Pass, kind: str, config: Mapping[str, Any], hard: str, *, cudnn: bool = False
) -> tuple[Pass, str | None]:
    """A pass, completed from its configuration, and the reason why it can't be imported, or None."""
    units = config.get("units", config.get("output_dim"))
    if one.kind != kind or (type(units) is int and units != one.units):
        raise ImportRefusedError(
            f"the configuration says {kind} with {units} units, but the weights are those of {one.kind} with "
            f"{one.units}; configuration and weights must come from the same model"
        )
    if kind == "gru":
        after = cudnn or bool(config.get("reset_after")) or one.reset == "after"
        one = replace(one, reset="after" if after else "before")
    gates = config.get("recurrent_activation", config.get("inner_activation", "sigmoid"))
    if gates == "hard_sigmoid":
        one, gates = replace(one, gates=hard), "sigmoid"
    return one, one.problem or activation_problem(config.get("activation", "tanh"), gates)


def _unknown(name: str, what: str, passes: list[Pass]) -> Layer:
    stand_in = passes[0] if passes else Pass("keras", "lstm", 1, 1, {})
    return Layer(name, stand_in, problem=f"it is {what}; only LSTM and GRU can be imported")


def _mismatch(name: str, wanted: int, passes: list[Pass]) -> ImportRefusedError:
    return ImportRefusedError(
        f"{name}: the file has the weights of {len(passes)} LSTM or GRU passes for it, but its configuration says "
        f"{wanted}; quantized or adapted weights can't be read, save it as plain float32"
    )
