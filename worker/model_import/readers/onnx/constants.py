"""The constant arrays of an ONNX graph: initializers, constants, and arrays that exporters compute from them."""

# Over 150 lines: one lookup, with each way in which a graph can contain an array.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.limits import check_array
from worker.model_import.readers.onnx.folds import FOLDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_DEPTH = 64
#: What to do with numbers that lie outside of the file.
_OUTSIDE = (
    "the file with its numbers must be whole, no link, and in the model's directory under the name that the model "
    "gives; else save the model again, or "
)
#: The element types with fewer digits than float32, by their numbers and by their names.
LOW_TYPES = {10: "float16", 16: "bfloat16"}
_LOW = {"FLOAT16": "float16", "BFLOAT16": "bfloat16"}
#: How many times the stored bytes the computed arrays may have: exporters reorder each weight two or three times.
_MOST_GROWTH = 8
#: How many times as large as its inputs an operation's output can be: a Cast from float16 to float64, and from int8 to
#: float32.
_GROWTH = {"Cast": 4, "Concat": 1, "DequantizeLinear": 4}
#: Operations that move or repeat the numbers of their first input.
_MOVES = {"Cast", "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"}


class Constants:
    """The constant arrays of a graph by name; each is computed when it is first needed.

    Args:
        graph: an onnx.GraphProto.
        directory: the directory of the file: large models keep arrays in files beside it.

    Attributes:
        inputs: the graph's inputs that no initializer gives a value; old files list all initializers among them.
    """

    def __init__(self, graph: Any, directory: Path) -> None:
        self._directory = directory
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._made = {name: node for node in graph.node for name in node.output if name}
        # Results are kept: a graph in which every node reads the last one twice has 2^n ways to its beginning.
        self._computed: dict[str, NDArray[Any] | None] = {}
        self._read_bytes: dict[str, int] = {}
        self._computed_bytes = 0
        self._starts: dict[str, str] = {}
        self.inputs = [value for value in graph.input if value.name not in self._stored]
        self._inputs = {value.name for value in self.inputs}
        self._derived: dict[str, tuple[tuple[int, ...], Callable[[], NDArray[Any]]]] = {}

    def derive(self, name: str, shape: tuple[int, ...], make: Callable[[], NDArray[Any]]) -> None:
        """Add an array that is made of others each time that it is read, so that it takes no memory before."""
        self._derived[name] = (shape, make)

    def get(self, name: str, depth: int = 0) -> NDArray[Any] | None:
        """The array, or None if it isn't constant.

        Raises:
            ImportRefusedError: it is too large, or is stored outside the model's directory.
        """
        if name in self._stored:
            return self._counted(name, self._stored[name])
        if name in self._derived:
            return self._derived[name][1]()
        if name not in self._computed:
            self._computed[name] = None  # if a graph is a cycle
            self._computed[name] = self._compute(name, depth)
        return self._computed[name]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an array, without reading it if it is an initializer, maybe of integers; None as in `get`."""
        node = None if name in self._stored else self._made.get(name)
        dequantizes = node is not None and node.op_type == "DequantizeLinear" and any(node.input[:1])
        if node is not None and dequantizes and all(source in self._stored for source in node.input if source):
            name = node.input[0]
        if name in self._stored:
            return tuple(self._stored[name].dims)
        if name in self._derived:
            return self._derived[name][0]
        found = self.get(name)
        return None if found is None else found.shape

    def integers(self, name: str) -> str:
        """The type of an array that is stored as integers, such as "int8"; "" for any other."""
        tensor = self._stored.get(name)
        if tensor is None:
            return ""
        import onnx  # noqa: PLC0415 - in the extra [import]

        kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        return kind if kind.startswith(("int", "uint")) else ""

    def precision(self, name: str, depth: int = 0) -> str:
        """The type of a constant with fewer digits than float32, "float16" or "bfloat16"; "" for any other."""
        import onnx  # noqa: PLC0415 - in the extra [import]

        node = self.maker(name)
        tensor = self._stored.get(name)
        if node is not None and node.op_type == "Constant":
            tensor = next((one.t for one in node.attribute if one.name == "value"), None)
        if tensor is not None:
            return _LOW.get(onnx.TensorProto.DataType.Name(tensor.data_type), "")
        if node is None or depth > _DEPTH or not node.input or node.op_type not in FOLDS:
            return ""
        if node.op_type == "Cast":
            return LOW_TYPES.get(next((one.i for one in node.attribute if one.name == "to"), 0), "")
        return self.precision(node.input[0], depth + 1)

    def is_dequantized(self, name: str, depth: int = 0) -> bool:
        """Whether an array is made of integers that the file stores, and a scale."""
        node = None if name in self._stored else self._made.get(name)
        if node is None or depth > _DEPTH or not node.input:
            return False
        return node.op_type == "DequantizeLinear" or (
            node.op_type in FOLDS and self.is_dequantized(node.input[0], depth + 1)
        )

    def start(self, name: str, depth: int = 0) -> str:
        """The kind of an initial state: "zero", "input" (of the model, whose user sets it), or "other".

        Exporters make zeros of the batch's size from a zero with ConstantOfShape, Expand and others.
        """
        if name not in self._starts:
            self._starts[name] = "other"  # if a graph is a cycle
            self._starts[name] = self._start(name, depth)
        return self._starts[name]

    def maker(self, name: str) -> Any:
        """The node that computes a tensor, or None; an initializer has none."""
        return None if name in self._stored else self._made.get(name)

    def why_computed(self, name: str) -> str:
        """The node that computes a tensor of constants alone, and what helps; "" if it isn't such a tensor."""
        node = self.maker(name)
        reached, waiting = set[str](), [name]
        while waiting:
            one = waiting.pop()
            if one in self._inputs:
                return ""
            made = self.maker(one)
            if one not in reached and made is not None:
                reached.add(one)
                waiting += made.input
        if node is None:
            return ""
        return (
            f"computed from constants by {node.name or name} ({node.op_type}). Let ONNX Runtime compute them once "
            "(SessionOptions.optimized_model_filepath with GraphOptimizationLevel.ORT_ENABLE_BASIC), and import the "
            "file that it writes"
        )

    def fill(self, node: Any) -> NDArray[Any]:
        """The number of a ConstantOfShape, as an array without axes."""
        values = [self._tensor(one.t) for one in node.attribute if one.name == "value"]
        return np.asarray(values[0] if values else np.float32(0)).reshape(())

    def _compute(self, name: str, depth: int) -> NDArray[Any] | None:
        node = self._made.get(name)
        if node is None or depth > _DEPTH:
            return None
        settings = {one.name: one for one in node.attribute}
        if node.op_type == "Constant" and "value" in settings:
            return self._counted(name, settings["value"].t)
        if node.op_type not in FOLDS:
            return None
        inputs = [self.get(source, depth + 1) if source else None for source in node.input]
        if any(value is None and source for value, source in zip(inputs, node.input, strict=True)):
            return None
        if node.op_type in _GROWTH:  # the only ones whose output is larger than an input
            growth = _GROWTH[node.op_type]
            self._computed_bytes += growth * sum(array.nbytes for array in inputs if array is not None)
            if self._computed_bytes > _MOST_GROWTH * sum(self._read_bytes.values()):
                raise ImportRefusedError(
                    f"{node.name}: the graph makes constants of {self._computed_bytes:,} bytes from those that the "
                    f"file stores, more than {_MOST_GROWTH} times their size; no model does"
                )
        try:
            return np.asarray(FOLDS[node.op_type](inputs, settings))
        except (ValueError, IndexError, KeyError, TypeError, AttributeError):
            return None

    def _start(self, name: str, depth: int) -> str:
        node = None if name in self._stored else self._made.get(name)
        if name in self._stored or depth > _DEPTH or (node is not None and node.op_type == "Constant"):
            found = self.get(name)
            return "zero" if found is not None and not found.any() else "other"
        if node is None:
            return "input" if name in self._inputs else "other"
        if node.op_type == "ConstantOfShape":
            return "other" if self.fill(node).any() else "zero"
        if node.op_type == "Concat":
            parts = {self.start(source, depth + 1) for source in node.input}
            return "other" if "other" in parts else "input" if "input" in parts else "zero"
        if node.op_type in (*_MOVES, "Split") and node.input:
            return self.start(node.input[0], depth + 1)
        return "other"

    def _counted(self, name: str, tensor: Any) -> NDArray[Any]:
        found = self._tensor(tensor)
        self._read_bytes[name] = found.nbytes
        return found

    def _tensor(self, tensor: Any) -> NDArray[Any]:
        import onnx  # noqa: PLC0415 - in the extra [import]
        from onnx.external_data_helper import load_external_data_for_tensor  # noqa: PLC0415 - in the extra [import]

        check_array(tensor.name, tuple(tensor.dims), 8)
        try:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                copy = onnx.TensorProto()
                copy.CopyFrom(tensor)
                # onnx refuses links, and places outside the directory.
                load_external_data_for_tensor(copy, str(self._directory))
                tensor = copy
            return np.asarray(onnx.numpy_helper.to_array(tensor))
        except Exception as error:  # onnx raises ValueError, TypeError and errors of its own checker
            is_outside = tensor.data_location == onnx.TensorProto.EXTERNAL
            way = f"{_OUTSIDE * is_outside}get a fresh copy"
            raise ImportRefusedError(f"{tensor.name}: can't be read ({str(error)[:200]}); {way}") from error
