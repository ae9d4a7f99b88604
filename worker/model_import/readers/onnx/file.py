"""ONNX files: the operators LSTM and GRU, the Gather that reads the embedding, and the graph between them."""

# Over 150 lines: the classification of all kinds of nodes.

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import Array, Found, Node, OnnxGraph, Table
from worker.model_import.limits import MOST_BYTES, check_calls, check_layers
from worker.model_import.readers.onnx.axes import AxesOfGraph
from worker.model_import.readers.onnx.constants import LOW_TYPES, Constants
from worker.model_import.readers.onnx.counted_ids import CountedIds
from worker.model_import.readers.onnx.inner import Inner, InnerGraphs
from worker.model_import.readers.onnx.lengths import padding_of
from worker.model_import.readers.onnx.maps import token_map, why_no_map
from worker.model_import.readers.onnx.quantized import dequantize, is_quantized_lstm, with_float_weights
from worker.model_import.readers.onnx.recurrent import GATES, read_float, recurrent_layer
from worker.model_import.readers.onnx.row_order import RowOrder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from worker.model_import.found import Layer, Role

    Quantized = Literal["", "weights", "activations"]

#: Operators that move numbers without changing them, between layouts of time, batch and direction.
THROUGH = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


#: Element types that a Cast may have without changing ids or vectors: integers of 32 and 64 bits, and floats of these.
_INTEGERS, _FLOATS = {6, 7}, {1, 11}
#: Types that hold zeros and ones.
_WHOLE = {2, 3, 4, 5, 6, 7, 9, 12, 13}
_STANDARD = ("", "ai.onnx")
_NO_OPERATOR = (
    "it contains no operator LSTM or GRU. A layer that is written as other operations, as PyTorch exports LSTMCell, "
    "can't be imported from ONNX; if you have the state dict, or the file that it was exported from, import that"
)
#: More numbers than a scale of vectors has.
_MOST_SCALES = 2**16


def read_onnx(path: Path) -> Found:
    """Read a `.onnx` file.

    Raises:
        ImportRefusedError: onnx isn't installed, the file isn't ONNX, or it contains something that can't be imported.
    """
    model = load(path)
    graph = model.graph
    check_calls(len(graph.node))
    check_layers(sum(node.op_type in GATES or is_quantized_lstm(node) for node in graph.node))
    reader = _Reader(model, path)
    for number, node in enumerate(graph.node):
        reader.add(node, number)
    reader.finish()
    return reader.found


def load(path: Path) -> Any:
    """The model, an onnx.ModelProto, without the arrays in other files.

    Raises:
        ImportRefusedError: onnx isn't installed, or the file isn't ONNX.
    """
    try:
        import onnx  # noqa: PLC0415 - in the extra [import]
    except ModuleNotFoundError as error:
        raise refuse_missing("onnx", "import") from error
    if path.stat().st_size > MOST_BYTES:
        raise ImportRefusedError(f"it has more than {MOST_BYTES:,} bytes; no ONNX file can have")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError and others, by version
        raise ImportRefusedError(f"it can't be read as ONNX ({str(error)[:200]}); get a fresh copy") from error


class _Reader:
    """Sorts the nodes of a graph.

    Args:
        model: an onnx.ModelProto.
        path: its file: large models keep arrays in files beside it.

    Attributes:
        found: the content so far.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self._constants = Constants(model.graph, path.parent)
        self._opset = max((one.version for one in model.opset_import if one.domain in _STANDARD), default=1)
        self._axes = AxesOfGraph(self._constants)
        self._order = RowOrder(self._constants, self._axes)
        self._counted_ids = CountedIds(self._constants)
        self._nodes: dict[str, Node] = {}
        #: The axes of tokens by the input that has them, one unless layers read along different axes.
        self._times: dict[str, set[str]] = {}
        self._inner = InnerGraphs(model)
        #: The scale and zero point of each embedding of integers; the nodes that round vectors, by their outputs.
        self._integers: dict[str, tuple[str, ...]] = {}
        self._rounding: dict[str, Any] = {}
        self.found = Found("ONNX model", graph=self._nodes, own=OnnxGraph(path))
        self._path = path
        for value in self._constants.inputs:
            self._nodes[value.name] = Node(value.name, "input", "input")

    def add(self, node: Any, number: int) -> None:
        """Add a node under the names of its outputs, which other nodes read."""
        name = node.name or f"{node.op_type}_{number}"
        inputs = tuple(source for source in node.input if source)
        output = next(iter(node.output), "") or name
        self._skip_negative(node)
        self._axes.add(node)
        moved = self._order.add(node)
        if moved is not None:
            self._axes.keep(output, moved)
            self._nodes[output] = Node(output, "through", node.op_type, (moved,))
        elif node.domain in _STANDARD and node.op_type in GATES:
            self._add_layer(node, name, output, "weights" if self._has_integers(node.input[1:3]) else "")
        elif is_quantized_lstm(node):
            self._add_layer(with_float_weights(node, self._constants), name, output, "activations")
        elif node.domain in _STANDARD and (table := self._table(node)) is not None:
            self.found.tables[table.name] = table
            kind: Quantized = "weights" if self._has_integers(node.input[:1]) else ""
            self._nodes[output] = Node(output, "table", "Gather", inputs[1:], table.name, quantized=kind)
        elif node.domain in _STANDARD and node.op_type == "DequantizeLinear" and self._dequantizes(node, output):
            pass  # added
        else:
            self._add_other(node, name, inputs)

    def finish(self) -> None:
        """Note what can be seen only when all nodes are known: the number of tokens in a row, if it is fixed."""
        if not self.found.layers:
            self.found.why_empty = self.found.why_empty or _NO_OPERATOR
        first: dict[str, bool] = {}
        for name, times in self._times.items():
            time = next(iter(times)) if len(times) == 1 else None
            if time == "a" and len(self._axes.of(name) or ()) > 1:
                self.found.notes.append(
                    "the source's input is (tokens, rows). If its program gives (rows, tokens), it reads along rows, "
                    "and its states aren't those of the tokens of a row"
                )
            length = self._axes.length_of(name, time)
            if length is not None:
                self.found.lengths[name] = length
            if time is not None and len(self._axes.of(name) or ()) > 1:
                first[name] = time == "a"
        self.found.own = OnnxGraph(self._path, first)

    def _add_layer(self, node: Any, name: str, output: str, quantized: Quantized) -> None:
        layer = self.found.layers[name] = recurrent_layer(name, node, self._constants)
        time = self._read_along(node, layer)
        doubts = [] if time else ["the file alone doesn't show that it reads along the tokens of each row"]
        layer.problem = layer.problem or self._order.why_mixed(node, time)
        source = self._nodes.get(self._source(next(iter(node.input), ""))[0])
        if source is not None and source.what == "ReverseSequence":
            layer.problem = layer.problem or f"it reads {source}: {source.why}"
        lengths = self._order.unsorted(node.input[4]) if len(node.input) > 4 else ""
        padding = self._counted(node, lengths, time) if lengths else None
        if padding:
            layer.problem = layer.problem or (
                f"the model counts the ids of a row that aren't {padding}, and only padding with id 0 can be imported; "
                "export it with the lengths of rows as an input"
            )
        elif lengths and padding is None and self._source(lengths)[1] != "input":
            doubts.append("the model computes the lengths of rows (export it with the lengths as an input)")
        self._nodes[output] = Node(
            output,
            "layer",
            node.op_type,
            tuple(node.input[:1]),
            name,
            masked=bool(lengths) and self._depends_on_rows(lengths),
            masks_zero=padding == 0,
            precision=self._constants.precision(node.input[1]) if len(node.input) > 1 else "",
            quantized=quantized,
            doubt="; ".join(doubts) or None,
        )
        for state in node.output[1:]:
            if state:
                self._nodes[state] = Node(state, "other", "last state", (output,))

    def _read_along(self, node: Any, layer: Layer) -> str | None:
        """Note the axis along which a layer reads, and its problem if that isn't the axis of tokens; see `time_of`."""
        time, source = self._axes.time_of(node), self._axes.input_of(node)
        times = self._times.setdefault(source, set())
        times |= {time} if time else set()
        if len(times) > 1:
            layer.problem = layer.problem or (
                "it reads along another axis than the layers below: along rows instead of tokens; such layers can't be "
                "imported"
            )
        elif rows := self._axes.why_rows(source, time):
            layer.problem = layer.problem or (
                f"{rows}, so it seems to read along the rows of a batch instead of the tokens of a row; export the "
                "model with these axes exchanged (batch_first), or with the right names"
            )
        return time

    def _skip_negative(self, node: Any) -> None:
        """Pass the model's input on to a Gather, if the graph changes only negative ids before."""
        if node.op_type != "Gather" or len(node.input) != 2 or self._constants.shape(node.input[0]) is None:
            return
        name = node.input[1]
        source, before = self._counted_ids.source_of(name), self._nodes.get(name)
        if source and before is not None and before.role != "through":
            self._axes.keep(name, source)
            self._nodes[name] = Node(name, "through", before.what, (source,), label=before.label)
            self.found.left = [one for one in self.found.left if one != str(before)]

    def _table(self, node: Any) -> Table | None:
        """The embedding that a Gather reads; None if the node is something else."""
        name = next(iter(node.input), "")
        if node.op_type != "Gather" or any(one.name == "axis" and one.i for one in node.attribute):
            return None
        shape = self._constants.shape(name)
        if shape is None or len(shape) != 2:
            return None
        kind = self._constants.integers(name)
        return Table(name, Array(name, shape, lambda: read_float(self._constants, name), kind))

    def _has_integers(self, names: Iterable[str]) -> bool:
        """Whether one of these tensors is made of integers that the file stores."""
        return any(self._constants.is_dequantized(name) for name in names)

    def _dequantizes(self, node: Any, output: str) -> bool:
        """Add a DequantizeLinear whose input the graph computes: rows of an embedding of integers, or rounded vectors.

        Returns:
            False if it is something else.
        """
        source = node.input[0] if node.input else ""
        while (before := self._nodes.get(source)) is not None and before.role == "through" and before.inputs:
            source = before.inputs[0]
        if before is None:
            return False
        if before.role == "table" and before.target in self.found.tables:
            table = self.found.tables[before.target]
            if table.array.dtype:
                array = self._dequantized(table, node)
                if array is None:
                    return False
                self.found.tables[table.name] = replace(table, array=array)
                self._integers[table.name] = tuple(node.input[1:])
            elif self._integers.get(table.name) != tuple(node.input[1:]):
                return False
            self._nodes[output] = Node(output, "through", node.op_type, (node.input[0],), quantized="weights")
            return True
        rounded = self._rounding.get(node.input[0])
        if rounded is None or not self._are_same(rounded.input[1:], node.input[1:]):
            return False
        self._nodes[output] = Node(output, "through", node.op_type, (rounded.input[0],), quantized="activations")
        return True

    def _dequantized(self, table: Table, node: Any) -> Array | None:
        """The numbers that the integers of an embedding mean; None if their scale isn't one for all."""
        names = [name for name in node.input[1:3] if name]
        # Shapes first: a file may have thousands of nodes with one huge constant.
        shapes = [self._constants.shape(name) for name in names]
        if not names or any(shape is None or math.prod(shape) != 1 for shape in shapes):
            return None
        parts = [self._constants.get(name) for name in names]
        scale, zero = (*parts, None)[:2]
        return Array(
            table.array.name,
            table.array.shape,
            lambda: dequantize([self._constants.get(table.array.name), scale, zero], {}),
        )

    def _are_same(self, some: Sequence[str], others: Sequence[str]) -> bool:
        """Whether constants of two nodes have the same numbers."""
        if len(some) != len(others):
            return False
        pairs = [pair for pair in zip(some, others, strict=True) if any(pair)]
        shapes = [[self._constants.shape(name) for name in pair] for pair in pairs]
        if any(None in both or both[0] != both[1] or math.prod(both[0] or ()) > _MOST_SCALES for both in shapes):
            return False
        return all(np.array_equal(*map(self._constants.get, pair)) for pair in pairs)  # type: ignore[arg-type]

    def _add_other(self, node: Any, name: str, inputs: tuple[str, ...]) -> None:
        dynamic = tuple(source for source in inputs if self._constants.shape(source) is None)
        role = self._role(node, dynamic)
        function = None
        if node.op_type == "QuantizeLinear" and node.domain in _STANDARD:
            self._rounding |= dict.fromkeys(node.output[:1], node)
        if role == "other" and len(dynamic) == 1 and node.domain in _STANDARD:
            function = token_map(node, self._constants, self._axes.of(dynamic[0]), self._opset)
            role = "map" if function else role
        inner = self._inner.of(node)
        if role == "onehot":
            dynamic = dynamic[:1]
        outputs = [each for each in node.output if each]
        read = (*dynamic, *(inner.reads if inner else ()))
        recurs = inner is not None or node.op_type == "RNN"
        why = why_no_map(node, dynamic, self._constants) if role == "other" else ""
        if node.op_type == "Dropout" and role == "other":
            why = "it isn't known to be switched off, as it is after training: export the model after model.eval()"
        quantized: Quantized = "weights" if role == "map" and self._has_integers(inputs) else ""
        self._nodes |= {
            each: Node(
                *(each, role, node.op_type, read),
                recurs=recurs,
                map=function,
                label=name,
                why=why,
                quantized=quantized,
                precision=self._precision(node, role, inputs),
            )
            for each in outputs
        }
        if inner is not None and (inner.layer or not self.found.why_empty):
            self.found.why_empty = _why_inner(inner, f"{name} ({node.op_type})")
        if role == "other" and dynamic:
            self.found.left.append(f"{name} ({node.op_type})")

    def _precision(self, node: Any, role: Role, inputs: Iterable[str]) -> str:
        """The type with fewer digits than float32 that a node computes in, or casts vectors to; "" if there is none."""
        if role == "through" and node.op_type == "Cast":
            return LOW_TYPES.get(_kind_of_cast(node), "")
        kinds = (self._constants.precision(source) for source in inputs if role == "map")
        return next((kind for kind in kinds if kind), "")

    def _role(self, node: Any, dynamic: tuple[str, ...]) -> Role:
        """The role of a node that is neither a layer nor an embedding."""
        if node.domain not in _STANDARD:
            return "other"
        if node.op_type == "Add" and len(dynamic) == 2:
            return "add"
        if node.op_type == "OneHot" and self._is_one_hot(node):
            return "onehot"
        if node.op_type == "Equal" and self._axes.compares_with_all(node):
            return "onehot"
        return "through" if node.op_type in THROUGH and self._changes_nothing(node) else "other"

    def _is_one_hot(self, node: Any) -> bool:
        """Whether an operator OneHot makes zeros and a one along a new last axis."""
        axis = next((one.i for one in node.attribute if one.name == "axis"), -1)
        values = self._constants.get(node.input[2]) if len(node.input) == 3 else None
        return axis == -1 and values is not None and values.ravel().tolist() == [0, 1]

    def _changes_nothing(self, node: Any) -> bool:
        """Whether an operator of THROUGH, with its settings, passes ids and vectors on."""
        if node.op_type == "Cast":
            axes = (self._axes.of(node.input[0]) if node.input else None) or ()
            kind = _kind_of_cast(node)
            if "f" in axes:
                is_whole = kind in _WHOLE and self._source(node.input[0])[1] == "onehot"
                return is_whole or kind in _FLOATS or kind in LOW_TYPES
            return kind in _FLOATS or kind in _INTEGERS or (kind in LOW_TYPES and not axes)
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            training = self._constants.get(node.input[2])
            return training is not None and not training.any()
        return True

    def _source(self, name: str) -> tuple[str, str]:
        """The node that a tensor comes from, without what passes it on, and its role."""
        for _ in self._nodes:
            node = self._nodes.get(name)
            if node is None or node.role != "through" or not node.inputs:
                return name, node.role if node else "other"
            name = node.inputs[0]
        return name, "other"

    def _depends_on_rows(self, lengths: str) -> bool:
        """Whether lengths depend on an input of the model, and not on its shape alone."""
        reached, waiting = set[str](), [lengths]
        while waiting:
            name = waiting.pop()
            node = self._constants.maker(name)
            if name in reached or (node is not None and node.op_type in ("Shape", "Size")):
                continue
            reached.add(name)
            waiting += [source for source in node.input if source] if node is not None else []
        return any(value.name in reached for value in self._constants.inputs)

    def _counted(self, node: Any, lengths: str, time: str | None) -> int | None:
        """The id of padding, if the lengths of a recurrent node are counted from the ids that it reads; else None."""
        found = padding_of(self._constants, self._axes, lengths, time)
        if found is None:
            return None
        ids, number = found
        reached, waiting = set[str](), [node.input[0]]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                one = self._nodes.get(name)
                waiting += one.inputs if one else ()
        source, role = self._source(ids)
        return number if role == "input" and source in reached else None


def _why_inner(inner: Inner, node: str) -> str:
    """Why a node that computes step by step within isn't a layer."""
    if inner.layer:
        return (
            f"its {inner.layer} is inside {node}, and only the main graph is read; export the model without branches, "
            "loops and functions (onnx.inliner.inline_local_functions removes functions)"
        )
    return (
        f"it contains no operator LSTM or GRU, but {node} computes step by step: a recurrent layer that is written as "
        "a loop of other operations can't be imported, as tf2onnx writes Keras's layers with a mask, and most GRUs. If "
        "you have the file that it was exported from, import that"
    )


def _kind_of_cast(node: Any) -> int:
    """The element type of a Cast's output."""
    return next((int(one.i) for one in node.attribute if one.name == "to"), 0)
