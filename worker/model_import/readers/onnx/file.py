"""ONNX files: the operators LSTM and GRU, the Gather that reads the embedding, and the graph between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import Array, Found, Layer, Node, Pass, Table
from worker.model_import.limits import MOST_BYTES, check_calls
from worker.model_import.readers.onnx.constants import Constants
from worker.model_import.readers.onnx.recurrent import GATES, read_float, recurrent_layer

if TYPE_CHECKING:
    from pathlib import Path

    from worker.model_import.found import Role

#: Operators that move numbers without changing them, between layouts of time, batch and direction.
THROUGH = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


def read_onnx(path: Path) -> Found:
    """Read a `.onnx` file.

    Raises:
        ImportRefusedError: onnx isn't installed, the file isn't ONNX, or it contains something that can't be imported.
    """
    graph = load(path).graph
    check_calls(len(graph.node))
    constants = Constants(graph, path.parent)
    nodes: dict[str, Node] = {}
    found = Found("ONNX model", graph=nodes)
    for value in graph.input:
        nodes[value.name] = Node(value.name, "input", "input")
    for number, node in enumerate(graph.node):
        _add(found, nodes, node, number, constants)
    return found


def load(path: Path) -> Any:
    """The model, an onnx.ModelProto, without the arrays in other files.

    Raises:
        ImportRefusedError: onnx isn't installed, or the file isn't ONNX.
    """
    try:
        import onnx  # noqa: PLC0415 - in the extra [import]
    except ModuleNotFoundError as error:
        raise refuse_missing("onnx", "pip install 'unrolled[import]'") from error
    if path.stat().st_size > MOST_BYTES:
        raise ImportRefusedError(f"it has more than {MOST_BYTES:,} bytes; no ONNX file can have")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError and others, by version
        raise ImportRefusedError(f"it can't be read as ONNX ({str(error)[:200]}); get a fresh copy") from error


def _add(found: Found, nodes: dict[str, Node], node: Any, number: int, constants: Constants) -> None:
    """Add a node under the names of its outputs, which other nodes read."""
    name = node.name or f"{node.op_type}_{number}"
    inputs = tuple(source for source in node.input if source)
    output = next(iter(node.output), "") or name
    if node.op_type in GATES and not node.domain:
        layer = found.layers[name] = recurrent_layer(name, node, constants)
        if any(start in nodes and nodes[start].role == "input" for start in node.input[5:7]):
            layer.notes.append("its first state is an input of the model; here every row starts from zero")
        nodes[output] = Node(output, "layer", node.op_type, inputs[:1], name)
        return
    if node.op_type in ("DynamicQuantizeLSTM", "QLinearLSTM"):
        problem = "its weights are quantized to 8 bits; import the float32 model that it was made from"
        found.layers[name] = Layer(name, Pass("onnx", "lstm", 1, 1, {}), problem=problem)
        nodes[output] = Node(output, "layer", node.op_type, inputs[:1], name)
        return
    table = next(iter(node.input), "")
    if node.op_type == "Gather" and (shape := constants.shape(table)) is not None and len(shape) == 2:
        found.tables[table] = Table(table, Array(table, shape, lambda: read_float(constants, table)))
        nodes[output] = Node(output, "table", "Gather", inputs[1:], table)
        return
    dynamic = tuple(source for source in inputs if constants.shape(source) is None)
    is_sum = node.op_type == "Add" and len(dynamic) == 2
    role: Role = "through" if node.op_type in THROUGH else "add" if is_sum else "other"
    nodes |= {each: Node(each, role, node.op_type, dynamic) for each in node.output}
    if role == "other" and dynamic:
        found.left.append(f"{name} ({node.op_type})")
