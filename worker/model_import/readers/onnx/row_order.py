"""The order of the rows in each tensor: PyTorch's exporter sorts rows by their lengths, and puts them back afterwards.

`pack_padded_sequence(…, enforce_sorted=False)` becomes a TopK of the lengths, and a Gather of rows with its indices. A
layer that reads sorted rows and the lengths in that order computes for each row what it would compute without sorting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.model_import.readers.onnx.axes import AxesOfGraph
    from worker.model_import.readers.onnx.constants import Constants

_DEPTH = 16
#: Rows of several orders: no token's state of such a tensor is that of one row.
MIXED = "mixed"
#: Operators whose results have no rows.
_NO_ROWS = {"Shape", "Size", "ConstantOfShape", "Range"}


class RowOrder:
    """The order of rows in each tensor, filled in node by node: "" as the model's inputs have it, or a TopK's.

    Args:
        constants: the graph's constants.
        axes: those of its tensors.
    """

    def __init__(self, constants: Constants, axes: AxesOfGraph) -> None:
        self._constants, self._axes = constants, axes
        self._known = {value.name: "" for value in constants.inputs}
        #: The axes that were reordered, by the order and by the input that has them.
        self._moved: dict[tuple[str, str], str] = {}

    def add(self, node: Any) -> str | None:
        """Add the outputs of a node whose inputs have been added.

        Returns:
            The name of the tensor whose rows the node puts into another order; None if it does something else.
        """
        if node.op_type in _NO_ROWS or not node.output:
            return None
        if node.op_type == "TopK" and len(node.output) == 2 and node.input:
            # Its indices have no rows of their own.
            before = self._known.get(node.input[0])
            self._known[node.output[0]] = MIXED if before is None or before else node.output[1]
            return None
        moved = self._moved_by(node)
        if moved is not None:
            self._known[node.output[0]] = moved
            return str(node.input[0])
        ways = {self._known[name] for name in node.input if name in self._known}
        if node.op_type == "Gather" and any(self._is_order(name) for name in node.input[1:]):
            ways.add(MIXED)
        if ways:
            self._known |= dict.fromkeys(filter(None, node.output), ways.pop() if len(ways) == 1 else MIXED)
        return None

    def why_mixed(self, node: Any, time: str | None) -> str | None:
        """Why a recurrent node's rows aren't those of the model's input in some order; None if they are.

        Args:
            node: an onnx.NodeProto of the operator LSTM or GRU.
            time: the axis of the ids along which it reads, see `AxesOfGraph.time_of`.
        """
        orders = {self._known[name] for name in node.input if name in self._known}
        if orders <= {""}:
            return None
        (order, *others) = orders
        moved = self._moved.get((order, self._axes.input_of(node)))
        if others or order == MIXED or moved is None or time in (None, moved):
            return (
                "the model puts rows into another order, and nothing shows that their lengths and initial states are "
                "in that order, too; export it with pack_padded_sequence(…, enforce_sorted=True), or import its state "
                "dict"
            )
        return None

    def unsorted(self, lengths: str) -> str:
        """The lengths of rows before they were sorted; the name itself if they weren't."""
        name = self._below(lengths)
        node = self._constants.maker(name)
        is_sorted = node is not None and node.op_type == "TopK" and len(node.output) == 2 and name == node.output[0]
        return str(node.input[0]) if is_sorted else lengths

    def _moved_by(self, node: Any) -> str | None:
        """The new order of a Gather that moves whole rows; None if a node does something else."""
        if node.op_type != "Gather" or len(node.input) != 2 or node.domain not in ("", "ai.onnx"):
            return None
        axes, order = self._axes.of(node.input[0]), self._known.get(node.input[0])
        axis = next((int(one.i) for one in node.attribute if one.name == "axis"), 0)
        if axes is None or order is None or not -len(axes) <= axis < len(axes) or axes[axis] not in ("a", "b"):
            return None
        indices = self._below(node.input[1])
        maker = self._constants.maker(indices)
        if maker is not None and maker.op_type == "TopK" and list(maker.output[1:]) == [indices] and order == "":
            self._moved[indices, self._axes.source_of(node.input[0])] = axes[axis]
            return indices
        is_inverse = maker is not None and maker.op_type == "ScatterElements" and self._inverse_of(maker) == order
        return "" if order and is_inverse else None

    def _inverse_of(self, node: Any) -> str | None:
        """The indices whose inverse a ScatterElements makes: it writes 0, 1, 2, … to the places that they name."""
        counted = self._constants.maker(self._below(node.input[2])) if len(node.input) == 3 else None
        if counted is None or counted.op_type != "Range" or len(counted.input) != 3:
            return None
        start, step = (self._constants.get(counted.input[place]) for place in (0, 2))
        if start is None or step is None or (start.ravel().tolist(), step.ravel().tolist()) != ([0], [1]):
            return None
        adds = any(one.name == "reduction" and one.s != b"none" for one in node.attribute)
        return None if adds else self._below(node.input[1])

    def _is_order(self, name: str) -> bool:
        """Whether a tensor has the places of rows in another order."""
        node = self._constants.maker(self._below(name))
        return node is not None and node.op_type in ("TopK", "ScatterElements")

    def _below(self, name: str) -> str:
        """The tensor below those that only change the type of whole numbers."""
        for _ in range(_DEPTH):
            node = self._constants.maker(name)
            if node is None or not node.input or node.op_type not in ("Cast", "Identity"):
                return name
            settings = {one.name: one.i for one in node.attribute}
            if node.op_type == "Cast" and settings.get("to") not in (6, 7):
                return name
            name = node.input[0]
        return name
