"""The loops over tokens in a SavedModel's graph: each with its variables, the operations of its step, its direction."""

# Over 150 lines: loops, and the ways on which what they read is reversed.

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LOOPS = ("While", "StatelessWhile")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_CUDNN = frozenset({"CudnnRNN", "CudnnRNNV2", "CudnnRNNV3"})
#: The inputs of these: the rows' vectors, two states, all weights.
_CUDNN_WEIGHTS = 3
#: What these compute in a step, by their attribute, with the operations that a loop's step has for it.
_CUDNN_STEPS = {
    b"lstm": Counter(Sigmoid=3, Tanh=2, Mul=3, MatMul=2),
    b"gru": Counter(Sigmoid=2, Tanh=1, Mul=3, Sub=1, MatMul=2),
}
_COPIES = ("Cast", "Identity", "ReadVariableOp")
_LIST = "TensorListFromTensor"
_REVERSALS = frozenset({"Reverse", "ReverseSequence", "ReverseV2"})
#: What they return has the sizes of what they read alone.
_SIZES = frozenset({"OnesLike", "Rank", "Shape", "Size", "TensorListLength", "ZerosLike"})
_FORWARD = frozenset({False})


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop whose step multiplies matrices, which is taken for a cell's, or a layer that cuDNN computes.

    A step may compute several cells.

    Attributes:
        variables: names of the variables that it reads; of its function's arguments, if the file doesn't show which
            variables they are.
        operations: how often each operation is in its step.
        backward: whether anything that it reads was reversed.
    """

    variables: frozenset[str]
    operations: Counter[str]
    backward: bool


def read_loops(model: Any) -> list[list[Loop]]:
    """The loops of each function; those that read the same variables, as of a layer that is called twice, are one.

    Args:
        model: a SavedModel of TensorFlow's protocol buffers.
    """
    functions = []
    for graph in model.meta_graphs:
        steps = _steps(graph)
        cells = _cells(graph, steps)
        for function in graph.graph_def.library.function:
            found: dict[frozenset[str], Loop] = {}
            for loop in _loops(graph, function, steps, cells):
                other = found.setdefault(loop.variables, loop)
                found[loop.variables] = replace(loop, backward=loop.backward or other.backward)
            functions.append([*found.values()])
    return functions


def _steps(graph: Any) -> dict[str, Counter[str]]:
    """The operations of each function that may be a cell's step; a gradient's multiplies matrices, too."""
    return {
        one.signature.name: operations
        for one in graph.graph_def.library.function
        if "MatMul" in (operations := Counter(node.op for node in one.node_def))
        and not any(operation.endswith("Grad") for operation in operations)
    }


def _cells(graph: Any, steps: Mapping[str, Counter[str]]) -> dict[str, Loop]:
    """The loops of functions that get the values of variables: Keras 2 has each layer that cuDNN can run in one."""
    found = {
        one.signature.name: [*_loops(graph, one, steps, {})]
        for one in graph.graph_def.library.function
        if [each.name for each in one.signature.input_arg[:1]] == ["inputs"]  # else one of the program's own
    }
    return {name: loops[0] for name, loops in found.items() if len(loops) == 1 and not loops[0].variables}


def _loops(graph: Any, function: Any, steps: Mapping[str, Counter[str]], cells: Mapping[str, Loop]) -> Iterator[Loop]:
    """The loops of a function, and those of the cells that it calls with the values of its variables."""
    found = [node for node in function.node_def if node.op in _LOOPS and node.attr["body"].func.name in steps]
    calls = [node for node in function.node_def if node.op in _CALLS and node.attr["f"].func.name in cells]
    of_cudnn = [node for node in function.node_def if node.op in _CUDNN and len(node.input) > _CUDNN_WEIGHTS]
    if not found and not calls and not of_cudnn:
        return
    names, made = _variables(graph, function), _reversed(function, cells)
    for node in found:
        read = frozenset(names[one] for one in node.input if one in names)
        yield Loop(read, steps[node.attr["body"].func.name], True in made.get(node.name, ()))
    for node in of_cudnn:
        read = frozenset(names[one] for one in _above(function, node.input[_CUDNN_WEIGHTS]) if one in names)
        step = _CUDNN_STEPS.get(node.attr["rnn_mode"].s or b"lstm", Counter())
        yield Loop(read, step, True in made.get(node.name, ()))
    if not calls or function.signature.name not in graph.object_graph_def.concrete_functions:
        return
    copied = _copies(function)
    for node in calls:
        sources = [copied.get(one.partition(":")[0], one.partition(":")[0]) for one in node.input]
        if read := frozenset(names[one] for one in sources if one in names):
            yield Loop(read, cells[node.attr["f"].func.name].operations, True in made.get(node.name, ()))


def _above(function: Any, name: str) -> set[str]:
    """The names of all nodes and arguments that a tensor is computed from."""
    nodes = {node.name: node for node in function.node_def}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        at = waiting.pop().partition(":")[0]
        if at not in found:
            found.add(at)
            waiting += [one for one in (nodes[at].input if at in nodes else ()) if one[:1] != "^"]
    return found


def _copies(function: Any) -> dict[str, str]:
    """The nodes that copy or read another one, by their names: the name of what they have in the end."""
    reads = {
        node.name: node.input[0].partition(":")[0] for node in function.node_def if node.op in _COPIES and node.input
    }
    ends: dict[str, str] = {}
    for name in reads:
        way: list[str] = []
        at = name
        while at in reads and at not in ends and len(way) <= len(reads):  # TensorFlow writes no circle
            way.append(at)
            at = reads[at]
        ends |= dict.fromkeys(way, ends.get(at, at))
    return ends


def _variables(graph: Any, function: Any) -> dict[str, str]:
    """The names of the variables that a function's arguments are, by those of the arguments."""
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415 - TensorFlow takes seconds to import

    given = function.signature.input_arg
    names = {one.name: one.name for one in given if one.type == types_pb2.DT_RESOURCE}
    saved, name = graph.object_graph_def, function.signature.name
    if name in saved.concrete_functions:
        # What a function captures comes after its inputs.
        bound = saved.concrete_functions[name].bound_inputs
        for one, number in zip(reversed(given), reversed(bound), strict=False):
            if 0 <= number < len(saved.nodes) and one.name in names:
                names[one.name] = saved.nodes[number].variable.name or one.name
    return names


def _reversed(function: Any, cells: Mapping[str, Loop]) -> dict[str, frozenset[bool]]:
    """Of each node of a function, whether it is reversed: both, if it is made of both; nothing, if it has no order.

    Args:
        function: which one.
        cells: the loops of functions that it may call; their first input is what they read step by step.
    """
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415 - TensorFlow takes seconds to import

    nodes = {node.name: node for node in function.node_def}
    # "node:output:0"; "^node" is read after, not from.
    read = {name: [one.partition(":")[0] for one in node.input if one[:1] != "^"] for name, node in nodes.items()}
    made = {one.name: _FORWARD for one in function.signature.input_arg if one.type != types_pb2.DT_RESOURCE}
    try:
        order = [name for name in TopologicalSorter(read).static_order() if name in nodes]
    except CycleError:
        return {}  # TensorFlow writes no such graph
    for name in order:
        sources = read[name]
        if nodes[name].op in _LOOPS:  # its states are in no order of tokens: what it reads step by step is a list
            sources = [one for one in sources if one in nodes and nodes[one].op == _LIST] or sources
        cell = cells.get(nodes[name].attr["f"].func.name) if nodes[name].op in _CALLS else None
        # The first input of a layer that cuDNN computes has the tokens' vectors, too.
        sources = sources[:1] if cell is not None or nodes[name].op in _CUDNN else sources
        ways = frozenset[bool]().union(*(made.get(one, ()) for one in sources))
        turns = _turns(nodes[name], nodes.get(next(reversed(read[name]), ""))) if cell is None else cell.backward
        made[name] = frozenset() if nodes[name].op in _SIZES else frozenset(way != turns for way in ways)
    return made


def _turns(node: Any, strides: Any) -> bool:
    """Whether an operation reverses what it reads.

    Args:
        node: the operation.
        strides: the node that it reads last, or None.
    """
    if node.op != "StridedSlice" or strides is None or strides.op != "Const":
        return node.op in _REVERSALS
    stored = strides.attr["value"].tensor
    words = np.frombuffer(stored.tensor_content[: len(stored.tensor_content) // 4 * 4], "<i4")  # of int64, too
    return any(one < 0 for one in (*stored.int_val, *stored.int64_val, *words))
