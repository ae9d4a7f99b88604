"""What the loops in a SavedModel's graph show of its layers: which functions they compute, and in which direction."""

# Over 150 lines: directions and functions are judged by the same loops.

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from worker.model_import.errors import ImportRefusedError
from worker.model_import.readers.activations import set_gates
from worker.model_import.readers.tensorflow.graph_loops import read_loops

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from worker.model_import.found import Found, Layer
    from worker.model_import.readers.tensorflow.graph_loops import Loop

#: Operations in a step of a cell with activations other than tanh and sigmoid.
_OTHERS = frozenset({
    "Atan", "ClipByValue", "Cos", "Elu", "Erf", "Erfc", "Exp", "Expm1", "HardSigmoid", "LeakyRelu", "Log", "LogSoftmax",
    "Maximum", "Minimum", "Pow", "Relu", "Relu6", "Rsqrt", "Selu", "Sign", "Sin", "Softmax", "Softplus", "Softsign",
    "Sqrt", "Square",
})  # fmt: skip
#: Those of them that make a hard_sigmoid.
_HARD = frozenset({"ClipByValue", "HardSigmoid", "Maximum", "Minimum", "Relu6"})
_BACKWARD = (
    "(go_backwards, or a reversal in your program), which a file without the model's configuration doesn't show well "
    "enough. Save the model with it (model.save('model.keras')), and import that file"
)
_NOT_BACKWARD = (
    "its name is that of a bidirectional layer's pass, and the graph reverses nothing that it reads. Save the model "
    "with its configuration (model.save('model.keras')), and import that file"
)
_SEEN = "activations tanh and sigmoid, as the graph's steps compute"


def judge_steps(model: Any, found: Found, gates: str | None) -> None:
    """Set the activations of the layers, and note what shows them, or say why a layer can't be imported.

    Args:
        model: a SavedModel of TensorFlow's protocol buffers.
        found: its layers.
        gates: the activation of the gates that the user says, or None.

    Raises:
        ImportRefusedError: the user says another activation than all layers have.
    """
    # Over 40 lines: the judgements of all layers, which share what the graph's loops show.
    functions = read_loops(model)
    layers = [*found.layers.values()]
    own = {layer.name: _loops_of(layer, functions) for layer in layers}
    plain = [layer for layer in layers if own[layer.name] and all(map(_is_plain, own[layer.name]))]
    # Older files don't show the variables of a loop. Then there is a plain loop for each layer, or any may be its.
    owned = {loop.variables for loops in own.values() for loop in loops}
    strays = [[loop for loop in loops if loop.variables not in owned] for loops in functions]
    for layer in layers:
        if own[layer.name]:
            _judge_passes(layer, own[layer.name])
        else:
            _judge_direction(layer, strays, sum(one.backward is not None for one in layers if not own[one.name]))
    if gates is not None:
        seen = [layer for layer in layers if own[layer.name] and all(_cells(one.operations) for one in own[layer.name])]
        _say_gates(found, gates, [] if gates == "sigmoid" else seen)
        for layer in layers if gates != "sigmoid" else []:
            if layer not in seen and not all(_is_hard(one.operations) for one in own[layer.name]):
                _judge_functions(layer, own[layer.name])
        return
    covered = any(_covers(loops, layers) for loops in functions)
    for layer in layers:
        _judge_functions(layer, own[layer.name] or ([] if covered else chain(*strays)))
    unseen = [layer for layer in layers if layer not in plain and not (covered and not own[layer.name])]
    if not unseen:
        found.notes.append(_SEEN)
    elif not all(layer.problem for layer in unseen):
        found.unproven.append(
            "activations tanh and sigmoid are assumed, TensorFlow's defaults: the graph doesn't show a plain step of "
            "an LSTM or GRU for each layer. To prove them, compare a few rows of your program (unrolled model compare)"
        )


def _loops_of(layer: Layer, functions: Iterable[Iterable[Loop]]) -> list[Loop]:
    names = _names(layer)
    return [loop for loops in functions for loop in loops if loop.variables & names]


def _names(layer: Layer) -> set[str]:
    return {array.name for one in layer.passes for array in one.parts.values()}


def _say_gates(found: Found, gates: str, plain: list[Layer]) -> None:
    others = [layer for layer in found.layers.values() if layer not in plain]
    if not others:
        raise ImportRefusedError(
            f"--recurrent-activation {gates}: the graph's steps compute tanh and sigmoid in all layers; leave it out"
        )
    note = set_gates(others, gates)
    found.notes.append(f"{', '.join(layer.name for layer in others)}: {note}" if plain else note)
    if plain:
        found.notes.append(f"{', '.join(layer.name for layer in plain)}: {_SEEN}")


def _judge_passes(layer: Layer, loops: list[Loop]) -> None:
    """Refuse a layer if its own loops read in another direction than the names of the variables show."""
    ways = [
        [loop.backward for loop in loops if one and loop.variables & {array.name for array in one.parts.values()}]
        for one in (layer.forward, layer.backward)
    ]
    if any(ways[0]):
        layer.problem = layer.problem or f"the graph reverses what it reads {_BACKWARD}"
    if ways[1] and not any(ways[1]):
        layer.problem = layer.problem or _NOT_BACKWARD


def _judge_direction(layer: Layer, functions: Iterable[Iterable[Loop]], expected: int) -> None:
    """Refuse a layer without loops of its own if more loops in a function read backward than such layers may have."""
    if any(sum(loop.backward for loop in loops) > expected for loops in functions):
        layer.problem = layer.problem or (
            f"the graph reverses what some layer reads, and doesn't show that it isn't this one {_BACKWARD}"
        )


def _judge_functions(layer: Layer, loops: Iterable[Loop]) -> None:
    steps = [loop.operations for loop in loops]
    others = sorted({text for step in steps for text in _other_functions(step)})
    if not others or layer.problem:
        return
    say = "add --recurrent-activation sigmoid if these operations are in another part of the model"
    if all(_is_hard(step) for step in steps if _other_functions(step)):
        hard = "hard_sigmoid (Keras 2), hard_sigmoid_keras3"
        say = f"say which one it is: {say.replace('sigmoid', f'{hard}, or sigmoid', 1)}"
    layer.problem = (
        f"the graph's steps compute {', '.join(others)}; only cells with tanh and sigmoid or hard_sigmoid can be "
        "imported (an LSTM's step has 3 times Sigmoid and 2 times Tanh, a GRU's 2 and 1). Train or fine-tune it "
        f"with these, or {say}"
    )


def _cells(step: Counter[str]) -> tuple[int, int] | None:
    """How many LSTMs and GRUs a step computes, by its sigmoids and tanhs; None if it computes other functions."""
    sigmoids, tanhs = step["Sigmoid"], step["Tanh"]
    lstms, grus = 2 * tanhs - sigmoids, 2 * sigmoids - 3 * tanhs
    if _OTHERS & step.keys() or lstms < 0 or grus < 0 or not lstms + grus:
        return None
    return lstms, grus


def _is_hard(step: Counter[str]) -> bool:
    """Whether a step may be that of cells with tanh and hard_sigmoid, which is neither a Sigmoid nor a Relu."""
    others = _OTHERS & step.keys()
    return step["Tanh"] > 0 == step["Sigmoid"] and bool(others) and _HARD.issuperset(others)


def _is_plain(loop: Loop) -> bool:
    """Whether a step computes nothing but cells: a cell has three products, a GRU a 1 - z."""
    cells = _cells(loop.operations)
    return cells is not None and loop.operations["Mul"] == 3 * sum(cells) and loop.operations["Sub"] == cells[1]


def _covers(loops: Iterable[Loop], layers: Iterable[Layer]) -> bool:
    """Whether there is a plain step for each of the layers, among loops whose variables aren't known."""
    plain = [_cells(loop.operations) or (0, 0) for loop in loops if _is_plain(loop)]
    passes = [one.kind for layer in layers for one in layer.passes]
    return all(sum(cells[at] for cells in plain) >= passes.count(kind) for at, kind in enumerate(("lstm", "gru")))


def _other_functions(step: Counter[str]) -> list[str]:
    """What shows that a step computes other functions; nothing if it may be a cell's."""
    if _cells(step) is not None:
        return []
    others = sorted(_OTHERS & step.keys())
    times = f"{step['Sigmoid']} times Sigmoid and {step['Tanh']} times Tanh"
    return [*others, times] if _HARD.issuperset(others) and not _is_hard(step) else others
