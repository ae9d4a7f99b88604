"""The steps of the recurrent layers in a SavedModel's graph: which functions they compute."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from worker.model_import.readers.tensorflow.graph_directions import judge_directions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.model_import.found import Found, Layer

#: Operations in a step of a cell with activations other than tanh and sigmoid.
_OTHERS = frozenset({
    "Atan", "ClipByValue", "Cos", "Elu", "Erf", "Erfc", "Exp", "Expm1", "HardSigmoid", "LeakyRelu", "Log", "LogSoftmax",
    "Maximum", "Minimum", "Pow", "Relu", "Relu6", "Rsqrt", "Selu", "Sign", "Sin", "Softmax", "Softplus", "Softsign",
    "Sqrt", "Square",
})  # fmt: skip
#: Those of them that make a hard_sigmoid.
_HARD = frozenset({"ClipByValue", "HardSigmoid", "Maximum", "Minimum", "Relu6"})
_LOOPS = ("While", "StatelessWhile")


def judge_steps(model: Any, found: Found) -> None:
    """Note whether the graph shows that the cells compute tanh and sigmoid, or say why the layers can't be imported.

    A loop whose step multiplies matrices is taken for a cell's. A step may compute several cells.

    Args:
        model: a SavedModel of TensorFlow's protocol buffers.
        found: its layers.
    """
    functions = {one.signature.name: one for graph in model.meta_graphs for one in graph.graph_def.library.function}
    # A gradient's loop multiplies matrices, too.
    steps = {
        name: operations
        for name, one in functions.items()
        if "MatMul" in (operations := Counter(node.op for node in one.node_def))
        and not any(operation.endswith("Grad") for operation in operations)
    }
    judge_directions(model, found, frozenset(steps))
    loops = [_loops(one, steps) for one in functions.values()]
    passes = [one.kind for layer in found.layers.values() for one in layer.passes]
    wanted = passes.count("lstm"), passes.count("gru")
    if any(_covers(one, wanted) for one in loops):
        found.notes.append("activations tanh and sigmoid, as the graph's steps compute")
        return
    others = sorted({text for one in loops for step in one.values() for text in _other_functions(step)})
    if others:
        _refuse(found.layers.values(), others)
        return
    found.notes.append(
        "activations tanh and sigmoid are assumed, TensorFlow's defaults: the graph doesn't show a plain step of an "
        "LSTM or GRU for each layer. To prove them, compare a few rows of your program (unrolled model compare)"
    )


def _loops(function: Any, steps: dict[str, Counter[str]]) -> dict[frozenset[str], Counter[str]]:
    """The operations in the steps of a function's loops, by the variables that each loop reads."""
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415 - TensorFlow takes seconds to import

    given = {one.name for one in function.signature.input_arg if one.type == types_pb2.DT_RESOURCE}
    return {
        frozenset(given.intersection(node.input)): steps[body]
        for node in function.node_def
        if node.op in _LOOPS and (body := node.attr["body"].func.name) in steps
    }


def _cells(step: Counter[str]) -> tuple[int, int] | None:
    """How many LSTMs and GRUs a step computes, by its sigmoids and tanhs; None if it computes other functions."""
    sigmoids, tanhs = step["Sigmoid"], step["Tanh"]
    lstms, grus = 2 * tanhs - sigmoids, 2 * sigmoids - 3 * tanhs
    if _OTHERS & step.keys() or lstms < 0 or grus < 0 or not lstms + grus:
        return None
    return lstms, grus


def _covers(loops: dict[frozenset[str], Counter[str]], wanted: tuple[int, int]) -> bool:
    """Whether there is a step for each layer that computes nothing else: a cell has three products, a GRU a 1 - z."""
    plain = [
        cells
        for step in loops.values()
        if (cells := _cells(step)) is not None and step["Mul"] == 3 * sum(cells) and step["Sub"] == cells[1]
    ]
    return all(sum(cells[kind] for cells in plain) >= wanted[kind] for kind in (0, 1))


def _other_functions(step: Counter[str]) -> list[str]:
    """What shows that a step computes other functions; nothing if it may be a cell's."""
    if _cells(step) is not None:
        return []
    others = sorted(_OTHERS & step.keys())
    return others or [f"{step['Sigmoid']} times Sigmoid and {step['Tanh']} times Tanh"]


def _refuse(layers: Iterable[Layer], others: list[str]) -> None:
    say = "add --recurrent-activation sigmoid if these operations are in another part of the model"
    if _HARD.intersection(others):
        hard = "hard_sigmoid (Keras 2), hard_sigmoid_keras3"
        say = f"say which one it is: {say.replace('sigmoid', f'{hard}, or sigmoid', 1)}"
    for layer in layers:
        layer.problem = layer.problem or (
            f"the graph's steps compute {', '.join(others)}; only cells with tanh and sigmoid or hard_sigmoid can be "
            "imported (an LSTM's step has 3 times Sigmoid and 2 times Tanh, a GRU's 2 and 1). Train or fine-tune it "
            f"with these, or {say}"
        )
