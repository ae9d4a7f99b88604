"""ONNX: the operators LSTM and GRU, the Gather that reads the embedding, and the graph between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.model.layer import HARD_SLOPES
from worker.model_import.cells import PEEPHOLES
from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import Array, Found, Layer, Node, Pass, Table
from worker.model_import.limits import MOST_BYTES, check_calls
from worker.model_import.readers.keras.keras_layers import activation_problem
from worker.model_import.readers.onnx.onnx_constants import Constants

if TYPE_CHECKING:
    from pathlib import Path

    from worker.model_import.found import Float32

#: What moves numbers without changing them: layouts of time, batch and direction.
THROUGH = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_GATES = {"LSTM": 4, "GRU": 3}


def read_onnx(path: Path) -> Found:
    """Read a `.onnx` file.

    Raises:
        ImportRefusedError: onnx isn't here, it isn't ONNX, or holds what can't be taken over.
    """
    graph = load(path).graph
    check_calls(len(graph.node))
    constants = Constants(graph, path.parent)
    found = Found("ONNX model", graph={})
    nodes = found.graph if found.graph is not None else {}
    for value in graph.input:
        nodes[value.name] = Node(value.name, "input", "input")
    for number, node in enumerate(graph.node):
        _add(found, nodes, node, number, constants)
    return found


def load(path: Path) -> Any:
    """The model, without the arrays that lie in other files.

    Raises:
        ImportRefusedError: onnx isn't here, or it isn't ONNX.
    """
    try:
        import onnx  # noqa: PLC0415 - of the extra [import]
    except ModuleNotFoundError as error:
        raise refuse_missing("onnx", "pip install 'unrolled[import]'") from error
    if path.stat().st_size > MOST_BYTES:
        raise ImportRefusedError(f"it is over {MOST_BYTES:,} bytes, and no ONNX file can be")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError and others, by version
        raise ImportRefusedError(f"it can't be read as ONNX ({str(error)[:200]}); get a fresh copy") from error


def _add(found: Found, nodes: dict[str, Node], node: Any, number: int, constants: Constants) -> None:
    """A node under the name of each of its outputs: that is what others read."""
    name = node.name or f"{node.op_type}_{number}"
    inputs = tuple(source for source in node.input if source)
    if node.op_type in _GATES and not node.domain:
        layer = found.layers[name] = _layer(name, node, constants)
        if any(start in nodes and nodes[start].role == "input" for start in node.input[5:7]):
            layer.notes.append("its first state is an input of the model; here every row starts from zero")
        nodes[node.output[0] or name] = Node(node.output[0] or name, "layer", node.op_type, inputs[:1], name)
        return
    if node.op_type == "Gather" and (shape := constants.shape(node.input[0])) is not None and len(shape) == 2:
        table = node.input[0]
        found.tables[table] = Table(table, Array(table, shape, lambda: _float(constants, table)))
        nodes[node.output[0]] = Node(node.output[0], "table", "Gather", inputs[1:], table)
        return
    dynamic = tuple(source for source in inputs if constants.shape(source) is None)
    role = "through" if node.op_type in THROUGH else "add" if node.op_type == "Add" and len(dynamic) == 2 else "other"
    for output in node.output:
        nodes[output] = Node(
            output, "through" if role == "through" else "add" if role == "add" else "other", node.op_type, dynamic
        )
    if role == "other" and dynamic:
        found.left.append(f"{name} ({node.op_type})")
    if node.op_type in ("DynamicQuantizeLSTM", "QLinearLSTM"):
        found.layers[name] = Layer(
            name,
            Pass("onnx", "lstm", 1, 1, {}),
            problem="its weights are quantized to 8 bits; import the float32 model it was made from",
        )
        nodes[node.output[0]] = Node(node.output[0], "layer", node.op_type, inputs[:1], name)


def _float(constants: Constants, name: str) -> Float32:
    found = constants.get(name)
    if found is None or found.dtype.kind != "f":
        raise ImportRefusedError(
            f"{name}: holds {'nothing' if found is None else found.dtype} where float32 should be; it is quantized"
        )
    return np.asarray(found, np.float32)


def _layer(name: str, node: Any, constants: Constants) -> Layer:
    kind, gates = node.op_type.lower(), _GATES[node.op_type]
    given = dict(zip(("X", "W", "R", "B", "lengths", "h", "c", "P"), node.input, strict=False))
    settings = {one.name: one for one in node.attribute}
    shapes = {part: constants.shape(given[part]) for part in ("W", "R") if given.get(part)}
    wide, square = shapes.get("W"), shapes.get("R")
    stand_in = Pass("onnx", kind, 1, 1, {})
    if wide is None or square is None or len(wide) != 3 or len(square) != 3 or wide[1] != gates * square[2]:
        return Layer(name, stand_in, problem="its weights are not constants of the file; export it with its weights")
    found, problem = _gates(node.op_type, settings)
    after = kind == "gru" and "linear_before_reset" in settings and settings["linear_before_reset"].i == 1
    passes = []
    for side in range(wide[0]):
        parts = {part: _part(constants, given[part], side) for part in ("W", "R", "B") if given.get(part)}
        reset = None if kind == "lstm" else "after" if after else "before"
        passes.append(Pass("onnx", kind, wide[2], square[2], parts, reset=reset, gates=found))
    layer = _directed(name, passes, settings)
    layer.problem = layer.problem or problem or _problem(settings, given, constants)
    return layer


def _part(constants: Constants, name: str, side: int) -> Array:
    shape = constants.shape(name) or ()

    def read() -> Float32:
        return np.asarray(_float(constants, name)[side])

    return Array(name, shape[1:], read)


def _directed(name: str, passes: list[Pass], settings: dict[str, Any]) -> Layer:
    direction = settings["direction"].s.decode("ascii", "replace") if "direction" in settings else "forward"
    if direction == "bidirectional" and len(passes) == 2:
        return Layer(name, passes[0], passes[1])
    if direction == "reverse" and len(passes) == 1:
        return Layer(name, None, passes[0])  # ONNX hands outputs on in the row's own order
    if direction == "forward" and len(passes) == 1:
        return Layer(name, passes[0])
    return Layer(
        name,
        passes[0],
        problem=f"its direction is {direction!r:.30} with weights for {len(passes)}; the file is damaged",
    )


def _gates(kind: str, settings: dict[str, Any]) -> tuple[str, str | None]:
    """What a node's gates are, and why its activations can't be taken, or None.

    Both numbers of HardSigmoid are taken from lists, in the order of the functions that have such; others end here.
    """
    named = settings["activations"].strings if "activations" in settings else []
    names = [text.decode("ascii", "replace").lower() for text in named]
    alphas, betas = (
        iter(settings[name].floats if name in settings else []) for name in ("activation_alpha", "activation_beta")
    )
    found = set()
    # f of the gates, g of the candidate, and for an LSTM h of the state; then those of the other direction.
    for start in range(0, len(names), 3 if kind == "LSTM" else 2):
        gates, *states = names[start : start + (3 if kind == "LSTM" else 2)]
        if gates == "hardsigmoid":
            slope, height = next(alphas, 0.2), next(betas, 0.5)
            known = [name for name, own in HARD_SLOPES.items() if np.isclose(slope, own, rtol=1e-6, atol=0)]
            if not known or height != 0.5:
                return "sigmoid", (
                    f"its gates are HardSigmoid with alpha {slope:g} and beta {height:g}; alpha 0.2 or 1/6 and beta "
                    "0.5 can be imported"
                )
            found.add(known[0])
            gates = "sigmoid"
        else:
            found.add("sigmoid")
        for state in states:
            if problem := activation_problem(state, gates):
                return "sigmoid", problem
    if len(found) > 1:
        return "sigmoid", f"its directions have different gates, {' and '.join(sorted(found))}; they must be the same"
    return found.pop() if found else "sigmoid", None


def _problem(settings: dict[str, Any], given: dict[str, str], constants: Constants) -> str | None:
    """Why a node can't be taken, or None."""
    if given.get("P"):
        return PEEPHOLES
    if "clip" in settings and settings["clip"].f:
        return (
            f"it clips its cells at {settings['clip'].f:g}; only cells without can be imported: export it without clip"
        )
    if "input_forget" in settings and settings["input_forget"].i:
        return "its input and forget gates are coupled; only cells with both can be imported"
    starts = [given[state] for state in ("h", "c") if given.get(state)]
    if not all(constants.is_zero(start) for start in starts):
        return "it starts from a state that is not zero; here every row starts from zero"
    return None
