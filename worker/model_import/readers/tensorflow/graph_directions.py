"""The directions in which the loops of a SavedModel's graph read the rows."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.model_import.found import Found

_REVERSALS = frozenset({"Reverse", "ReverseSequence", "ReverseV2"})
#: What they return has the sizes of what they read alone.
_SIZES = frozenset({"OnesLike", "Rank", "Shape", "Size", "TensorListLength", "ZerosLike"})
_FORWARD = frozenset({False})


def judge_directions(model: Any, found: Found, loops: frozenset[str]) -> None:
    """Say why the layers can't be imported if more loops read backward than passes are called backward.

    Args:
        model: a SavedModel of TensorFlow's protocol buffers.
        found: its layers; what is between them isn't known.
        loops: the functions that are steps of cells.
    """
    backward = max(
        (_backward_loops(one, loops) for graph in model.meta_graphs for one in graph.graph_def.library.function),
        default=0,
    )
    known = sum(layer.backward is not None for layer in found.layers.values())
    if backward > known:
        for layer in found.layers.values():
            layer.problem = layer.problem or (
                f"in the graph {backward} of the loops over tokens read from the last one to the first (go_backwards, "
                f"or a reversal in your program), and the names of the variables show {known}; which layers these are "
                "isn't known. Save the model with its configuration (model.save('model.keras')), and import that file"
            )


def _backward_loops(function: Any, loops: frozenset[str]) -> int:
    """How many loops of a function read something that it has reversed."""
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415 - TensorFlow takes seconds to import

    nodes = {node.name: node for node in function.node_def}
    read = {name: [_source(one) for one in node.input if not one.startswith("^")] for name, node in nodes.items()}
    try:
        order = list(TopologicalSorter(read).static_order())
    except CycleError:
        return 0  # no graph of TensorFlow's
    reversed_ = {
        one.name: _FORWARD for one in function.signature.input_arg if one.type != types_pb2.DT_RESOURCE
    }  # whether it is reversed; both, if it is made of both; nothing, if there is no order in it
    for name in order:
        if node := nodes.get(name):
            ways = frozenset[bool]().union(*(reversed_.get(one, ()) for one in read[name]))
            turns = _turns(node, nodes, read[name])
            reversed_[name] = frozenset() if node.op in _SIZES else frozenset(way != turns for way in ways)
    return sum(node.attr["body"].func.name in loops and True in reversed_[name] for name, node in nodes.items())


def _source(name: str) -> str:
    """The node or the argument that an input names: "node:output:0"."""
    return name.partition(":")[0]


def _turns(node: Any, nodes: Mapping[str, Any], read: list[str]) -> bool:
    """Whether an operation reverses what it reads."""
    if node.op in _REVERSALS:
        return True
    if node.op != "StridedSlice" or (strides := nodes.get(next(reversed(read), ""))) is None or strides.op != "Const":
        return False
    stored = strides.attr["value"].tensor
    words = np.frombuffer(stored.tensor_content[: len(stored.tensor_content) // 4 * 4], "<i4")  # of int64, too
    return any(one < 0 for one in (*stored.int_val, *stored.int64_val, *words))
