"""The signatures of a SavedModel, each cut to what computes it, if that is arithmetic.

A graph can read and write files, so it may only have operations that compute. The functions for loading and saving
aren't called: variables are read from the checkpoint.
"""

# Over 150 lines: a cut, what may be in it, and its variables' places in the checkpoint.

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.model_import.errors import ImportRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PLAIN, _RESOURCES = ("Variable", "VariableV2"), "VarHandleOp"
#: Those of whole numbers are left out, which are seeds as a rule: the states must be the same with other ones.
_ASSIGNMENTS = ("AssignAddVariableOp", "AssignVariableOp")
#: What a node says of where it is computed, near a variable, and of shapes, which the importer of a graph compares.
_HINTS = ("_class", "_output_shapes")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
#: The operations that are run: none of them reads or writes anything but tensors and variables.
_RUN = frozenset({
    "Abs", "Add", "AddN", "AddV2", "All", "Any", "ArgMax", "ArgMin", "Assert", "Atan", "AvgPool", "BatchMatMul",
    "BatchMatMulV2", "BatchMatMulV3", "BiasAdd", "BroadcastArgs", "BroadcastTo", "Cast", "Ceil", "ClipByValue",
    "Concat", "ConcatV2", "Const", "Conv1D", "Conv2D", "Cos", "Cumsum", "DepthwiseConv2dNative", "Div", "DivNoNan",
    "Einsum", "Elu", "EmptyTensorList", "EnsureShape", "Enter", "Equal", "Erf", "Erfc", "Exit", "Exp", "ExpandDims",
    "Expm1", "Fill", "FloorDiv", "FloorMod", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Gather",
    "GatherNd", "GatherV2", "Greater", "GreaterEqual", "Identity", "IdentityN", "If", "InvertPermutation", "IsFinite",
    "IsInf", "IsNan", "LeakyRelu", "Less", "LessEqual", "LinSpace", "Log", "Log1p", "LogSoftmax", "LogicalAnd",
    "LogicalNot", "LogicalOr", "LoopCond", "MatMul", "MatrixBandPart", "Max", "MaxPool", "Maximum", "Mean", "Merge",
    "Min", "Minimum", "MirrorPad", "Mod", "Mul", "MulNoNan", "Neg", "NextIteration", "NoOp", "NotEqual", "OneHot",
    "OnesLike", "Pack", "Pad", "PadV2", "PartitionedCall", "Placeholder", "PlaceholderWithDefault", "Pow",
    "PreventGradient", "Prod", "Range", "Rank", "ReadVariableOp", "RealDiv", "Reciprocal", "RefEnter", "RefExit",
    "RefIdentity", "RefSwitch", "Relu", "Relu6", "Reshape", "ResourceGather", "ResourceGatherNd", "Reverse",
    "ReverseSequence", "ReverseV2", "Round", "Rsqrt", "Select", "SelectV2", "Selu", "SequenceMask", "Shape", "ShapeN",
    "Sigmoid", "Sign", "Sin", "Size", "Slice", "Snapshot", "Softmax", "Softplus", "Softsign", "Split", "SplitV",
    "Sqrt", "Square", "SquaredDifference", "Squeeze", "StatefulPartitionedCall", "StatelessIf",
    "StatelessRandomGetAlg", "StatelessRandomGetKeyCounter", "StatelessRandomGetKeyCounterAlg",
    "StatelessRandomNormalV2", "StatelessRandomUniform", "StatelessRandomUniformIntV2", "StatelessRandomUniformV2",
    "StatelessWhile", "StopGradient", "StridedSlice", "Sub", "Sum", "Switch", "Tan", "Tanh", "TensorArrayCloseV3",
    "TensorArrayGatherV3", "TensorArrayReadV3", "TensorArrayScatterV3", "TensorArraySizeV3", "TensorArrayV3",
    "TensorArrayWriteV3", "TensorListElementShape", "TensorListFromTensor", "TensorListGather", "TensorListGetItem",
    "TensorListLength", "TensorListPopBack", "TensorListPushBack", "TensorListReserve", "TensorListResize",
    "TensorListScatterIntoExistingList", "TensorListSetItem", "TensorListStack", "TensorScatterUpdate", "Tile",
    "TopKV2", "Transpose", "TruncateDiv", "Unpack", "VarHandleOp", "Variable", "VariableV2", "Where", "While",
    "ZerosLike",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a graph that computes a signature's outputs.

    Attributes:
        name: of the signature.
        graph: a GraphDef.
        inputs: of each its key in the signature, its name, shape (with None for any size; None for any shape) and type,
            and what is given to it: "rows", "lengths" of rows, "ones", or "zeros" (to one that turns training on).
        outputs: names of the tensors.
        plain: the keys in the checkpoint of variables that nodes read as tensors, by the names of their nodes.
        resources: and of those that are resources.
        counts: whether it assigns whole numbers to variables, which was left out.
    """

    name: str
    graph: Any
    inputs: list[dict[str, Any]]
    outputs: list[str]
    plain: dict[str, str]
    resources: dict[str, str]
    counts: bool

    @property
    def rows(self) -> Mapping[str, Any]:
        """The input that has the rows."""
        (found,) = (one for one in self.inputs if one["given"] == "rows")
        return found

    def each_input(self) -> list[Cut]:
        """The same with the rows in each input that may have them."""
        able = [number for number, one in enumerate(self.inputs) if one["given"] == "ones"] or [
            *range(len(self.inputs))
        ]
        return [
            replace(
                self, inputs=[one | {"given": "rows"} if at == number else one for at, one in enumerate(self.inputs)]
            )
            for number in able
        ]


def cut_signature(graph: Any, name: str, objects: Any) -> Cut:
    """The part of a graph that computes a signature.

    Args:
        graph: a MetaGraphDef.
        name: of the signature.
        objects: of the checkpoint, a TrackableObjectGraph; None if it has none.

    Raises:
        ImportRefusedError: it has operations that aren't run here.
    """
    # Over 40 lines: the checks of one cut, in their order.
    from worker.model_import.parity.frameworks.widening import rounds_ids  # noqa: PLC0415 - it imports TensorFlow

    signature = graph.signature_def[name]
    inputs = [{"key": key, **_input(one)} for key, one in sorted(signature.inputs.items())]
    given = {one["name"].partition(":")[0] for one in inputs}
    nodes = {node.name: node for node in graph.graph_def.node}
    waiting = [one.name.partition(":")[0] for _, one in sorted(signature.outputs.items())]
    kept: dict[str, Any] = {}
    while waiting:
        at = waiting.pop()
        if at in kept or at in given or at not in nodes:
            continue
        kept[at] = nodes[at]
        waiting += [one.partition(":")[0].removeprefix("^") for one in nodes[at].input]
    functions = _reached(graph, kept.values())
    for node in (*kept.values(), *(node for one in functions for node in one.node_def if not _is_of_seeds(node))):
        if node.op not in _RUN or (node.op == "Placeholder" and node.name in kept):
            raise ImportRefusedError(f"it has an operation that isn't run here ({node.op})")
        if rounds_ids(node):
            raise ImportRefusedError("it makes whole numbers of float16 or bfloat16, which rounds large ids")
    counts = any(_is_of_seeds(node) for one in functions for node in one.node_def)
    variables = _variables(graph, kept, objects)
    made = type(graph.graph_def)()
    made.versions.CopyFrom(graph.graph_def.versions)
    made.node.extend(node for node in kept.values() if node.name not in variables)
    made.library.function.extend(_without_seeds(one) for one in functions)
    for node in (*made.node, *(node for one in made.library.function for node in one.node_def)):
        for hint in _HINTS:
            node.attr.pop(hint, None)
        node.device = ""
    outputs = [one.name for _, one in sorted(signature.outputs.items())]
    plain = {one: key for one, key in variables.items() if kept[one].op in _PLAIN}
    resources = {one: key for one, key in variables.items() if kept[one].op == _RESOURCES}
    return Cut(name, made, inputs, outputs, plain, resources, counts)


def _is_of_seeds(node: Any) -> bool:
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415 - TensorFlow takes seconds to import

    whole = (types_pb2.DT_INT32, types_pb2.DT_INT64, types_pb2.DT_UINT32, types_pb2.DT_UINT64)
    return node.op in _ASSIGNMENTS and node.attr["dtype"].type in whole


def _without_seeds(function: Any) -> Any:
    """A function without the assignments of new seeds; its order of effects isn't needed, because it has no others."""
    left = {node.name for node in function.node_def if _is_of_seeds(node)}
    made = type(function)()
    made.CopyFrom(function)
    made.control_ret.clear()
    made.signature.ClearField("control_output")
    kept = [node for node in made.node_def if node.name not in left]
    for node in kept:
        read = [one for one in node.input if one.partition(":")[0].removeprefix("^") not in left]
        node.ClearField("input")
        node.input.extend(read)
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    made.ClearField("node_def")
    made.node_def.extend(copies)
    return made


def _input(info: Any) -> dict[str, Any]:
    """What a TensorInfo says of an input."""
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415 - TensorFlow takes seconds to import

    shape = (
        None
        if info.tensor_shape.unknown_rank
        else [None if one.size < 0 else one.size for one in info.tensor_shape.dim]
    )
    turns = info.dtype == types_pb2.DT_BOOL and shape == []
    counts = info.dtype in (types_pb2.DT_INT32, types_pb2.DT_INT64)
    return {
        "name": info.name,
        "shape": shape,
        "dtype": info.dtype,
        "given": "lengths" if counts and shape is not None and len(shape) == 1 else "zeros" if turns else "ones",
    }


def _reached(graph: Any, nodes: Iterable[Any]) -> list[Any]:
    """The functions that nodes call, and those that these call."""
    library = {one.signature.name: one for one in graph.graph_def.library.function}
    found: dict[str, Any] = {}
    waiting = [*nodes]
    while waiting:
        node = waiting.pop()
        attributes = [*node.attr.values()]
        names = [each.func.name for each in attributes] + [one.name for each in attributes for one in each.list.func]
        for name in (node.op, *names):
            if name in library and name not in found:
                found[name] = library[name]
                waiting += library[name].node_def
    return [*found.values()]


def _variables(graph: Any, nodes: Mapping[str, Any], objects: Any) -> dict[str, str]:
    """The key in the checkpoint of each variable among nodes, by the node's name."""
    found = {
        name: node.attr["shared_name"].s.decode("utf-8", "replace") or name
        for name, node in nodes.items()
        if node.op in (*_PLAIN, _RESOURCES)
    }
    if objects is None:
        return found
    saved = graph.object_graph_def
    keys_of = _keys(saved, objects)
    keys: dict[str, str] = {}
    for node in nodes.values():
        called = node.attr["f"].func.name
        if node.op in _CALLS and called in saved.concrete_functions:
            # What a function captures comes after its inputs.
            given = [one.partition(":")[0] for one in node.input if one[:1] != "^"]
            bound = saved.concrete_functions[called].bound_inputs
            for name, number in zip(reversed(given), reversed(bound), strict=False):
                if name in found and number in keys_of:
                    keys[name] = keys_of[number]
    if unknown := sorted(found.keys() - keys):
        raise ImportRefusedError(f"it doesn't show which variable {unknown[0]} is")
    return keys


def _keys(saved: Any, objects: Any) -> dict[int, str]:
    """The key in the checkpoint of each variable of a SavedModel, by the variable's number: both have the same names.

    Args:
        saved: the objects of the SavedModel, a SavedObjectGraph.
        objects: those of the checkpoint, a TrackableObjectGraph.
    """
    keys: dict[int, str] = {}
    seen = {0}
    waiting = [(0, 0)]
    for number, other in waiting:
        if number >= len(saved.nodes) or other >= len(objects.nodes):
            continue
        for one in objects.nodes[other].attributes:
            if one.name == "VARIABLE_VALUE":
                keys[number] = one.checkpoint_key
        places = {child.local_name: child.node_id for child in objects.nodes[other].children}
        for child in saved.nodes[number].children:
            if child.local_name in places and child.node_id not in seen and child.node_id >= 0:
                seen.add(child.node_id)
                waiting.append((child.node_id, places[child.local_name]))
    return keys
