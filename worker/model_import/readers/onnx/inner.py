"""The graphs within an ONNX graph, which are searched, not read: bodies of If, Loop and Scan, and functions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.model_import.limits import check_calls

_RECURRENT = {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}
_LOOPS = {"Loop", "Scan"}
_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Inner:
    """A node that computes step by step within.

    Attributes:
        layer: the recurrent operator in it, or "".
        reads: the names that its inner graphs read; some are tensors of the main graph.
    """

    layer: str
    reads: tuple[str, ...]


class InnerGraphs:
    """Searches the inner graphs of a model's nodes.

    Args:
        model: an onnx.ModelProto.
    """

    def __init__(self, model: Any) -> None:
        self._functions = {(function.domain, function.name): function for function in model.functions}
        self._count = 0

    def of(self, node: Any) -> Inner | None:
        """The node's inner graphs, if it is a loop or there is a recurrent operator or a loop in it."""
        nodes = list(self._nodes(node, 0))
        kinds = {one.op_type for one in nodes}
        layer = next(iter(sorted(kinds & _RECURRENT)), "")
        if not layer and not kinds & _LOOPS and node.op_type not in _LOOPS:
            return None
        return Inner(layer, tuple(dict.fromkeys(name for one in nodes for name in one.input if name)))

    def _nodes(self, node: Any, depth: int) -> Iterator[Any]:
        """All nodes within a node."""
        if depth > _DEPTH:
            return
        graphs = [graph for one in node.attribute for graph in (*([one.g] if one.HasField("g") else []), *one.graphs)]
        function = self._functions.get((node.domain, node.op_type))
        for inner in [*graphs, *([function] if function is not None else [])]:
            for one in inner.node:
                self._count += 1
                check_calls(self._count)
                yield one
                yield from self._nodes(one, depth + 1)
