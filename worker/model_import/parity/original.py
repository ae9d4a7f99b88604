"""The outputs of the imported layers in the framework that they come from.

No code and no graph of the file runs: each layer is an object of the framework's own class and gets the arrays exactly
as they are in the file. So the order of gates, the transposes and the biases are the framework's interpretation.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.found import Array
from worker.model_import.token_maps import apply_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Float32, Layer
    from worker.model_import.selection.stack import Stack

    #: From (time, inputs) to (time, outputs), in the framework's order of time.
    Run = Callable[[Layer, Float32], Float32]

#: For each layout, the framework that computes it, and the package that must be installed.
_FRAMEWORKS = {
    "keras": ("Keras's layers", "tensorflow"),
    "torch": ("PyTorch's layers", "torch"),
    "onnx": ("ONNX Runtime's layers", "onnxruntime"),
}


def find_original(stack: Stack) -> tuple[str, Run | None, str]:
    """Find the framework of a stack.

    Returns:
        The framework's name, and the function that runs one layer; or None and the reason why there is no function.
    """
    layouts = {one.layout for layer in stack.layers for one in layer.passes}
    layout = layouts.pop()
    if any(one.norm is not None for layer in stack.layers for one in layer.passes):
        return "PyTorch's layers", None, "PyTorch has no layer-normalized LSTM"
    if layout == "unirep":
        return "multiplicative LSTM", None, "no framework has it"
    if layouts or layout not in _FRAMEWORKS:
        return f"the layout {layout}", None, "no current framework reads it"
    name, package = _FRAMEWORKS[layout]
    if find_spec(package) is None:
        return name, None, f"{package} isn't installed"
    if layout == "keras":
        from worker.model_import.parity.frameworks.keras import run  # noqa: PLC0415 - only one framework is imported
    elif layout == "torch":
        from worker.model_import.parity.frameworks.torch import run  # noqa: PLC0415 - only one framework is imported
    else:
        from worker.model_import.parity.frameworks.onnx_runtime import run  # noqa: PLC0415 - only one framework is imported
    return name, run, ""


def run_stack(stack: Stack, run: Run, rows: Sequence[NDArray[Any]], begun: Float32 | None = None) -> list[Float32]:
    """Compute the last layer's outputs of each row.

    Args:
        stack: the imported layers.
        run: from `find_original`.
        rows: the source's ids, of one-hot vectors with -1 for a vector of zeros; or vectors (time, D).
        begun: the initial states that rows bring, (rows, numbers); None if they bring none.

    Returns:
        For each row float32 (time, outputs), in the order of the row's tokens.
    """
    table = None if stack.table is None else apply_maps(stack.table.array.read(), stack.functions)
    width = stack.layers[0].inputs
    outputs = []
    for number, ids in enumerate(rows):
        left = iter(() if begun is None else begun[number])
        if stack.vectors:
            state = np.asarray(ids, np.float32)
        else:
            state = np.eye(width + 1, width, dtype=np.float32)[ids] if table is None else table[ids]
        states = [state]
        turned = False
        for step in stack.chain:
            if step.layer is not None:
                made = run(_begun(step.layer, left), states[-1])
                turned ^= step.layer.reversed
            else:
                made = apply_maps(states[-1], [step.node.map] if step.node is not None and step.node.map else [])
            states.append(made if step.source is None else made + states[step.source + 1])
        outputs.append(states[-1][::-1] if turned else states[-1])
    return outputs


def _begun(layer: Layer, left: Iterator[np.float32]) -> Layer:
    """A layer that starts from the next of the numbers that a row brings, if it starts from states of rows."""
    if not layer.given_state:
        return layer
    passes = []
    for one in layer.passes:
        widths = (one.projection or one.units, one.units)[: 2 if one.kind == "lstm" else 1]
        states = [np.array(list(islice(left, width)), np.float32) for width in widths]
        passes.append(replace(one, first=tuple(Array("initial state", each.shape, each.copy) for each in states)))
    made = iter(passes)
    return replace(layer, forward=layer.forward and next(made), backward=layer.backward and next(made))
