"""A graph of TensorFlow that computes in float16 or bfloat16, changed to compute in float32.

Rounding to so few digits makes differences that another gate makes, too. In float32, the states of the right layers
are the same but for float32's rounding, and those of other layers aren't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import tensor_util

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The types with fewer digits than float32, by TensorFlow's numbers.
HALF = {types_pb2.DT_HALF: "float16", types_pb2.DT_BFLOAT16: "bfloat16"}


#: Those of whole numbers.
_WHOLE = frozenset({
    types_pb2.DT_INT8, types_pb2.DT_INT16, types_pb2.DT_INT32, types_pb2.DT_INT64,
    types_pb2.DT_UINT8, types_pb2.DT_UINT16, types_pb2.DT_UINT32, types_pb2.DT_UINT64,
})  # fmt: skip


def rounds_ids(node: Any) -> bool:
    """Whether a node makes whole numbers of numbers with fewer digits than float32, which may be ids.

    In float16, not each id above 2048 is itself, and in bfloat16, not each above 256.
    """
    return node.op == "Cast" and node.attr["SrcT"].type in HALF and node.attr["DstT"].type in _WHOLE


def widen(graph: Any) -> set[str]:
    """Change a GraphDef, so that all numbers with fewer digits than float32 are float32.

    Args:
        graph: is changed.

    Returns:
        The names of the types that it had.
    """
    had = set[str]()
    for node in graph.node:
        _change(node, had)
    for function in graph.library.function:
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            had |= {HALF[argument.type]} if argument.type in HALF else set()
            argument.type = _wide(argument.type)
            argument.ClearField("experimental_full_type")  # it repeats the type
        for attributes in (function, *function.arg_attr.values()):
            _change_attributes(attributes.attr.values(), had)
        for node in function.node_def:
            _change(node, had)
    return had


def _change(node: Any, had: set[str]) -> None:
    node.ClearField("experimental_type")  # it repeats the type
    _change_attributes(node.attr.values(), had)


def _change_attributes(values: Iterable[Any], had: set[str]) -> None:
    for value in values:
        kind = value.WhichOneof("value")
        if kind == "type":
            had |= {HALF[value.type]} if value.type in HALF else set()
            value.type = _wide(value.type)
        elif kind == "tensor":
            _change_tensor(value.tensor, had)
        elif kind == "func":
            _change_attributes(value.func.attr.values(), had)
        elif kind == "list":
            had |= {HALF[each] for each in value.list.type if each in HALF}
            wide = [_wide(each) for each in value.list.type]
            value.list.ClearField("type")
            value.list.type.extend(wide)
            for tensor in value.list.tensor:
                _change_tensor(tensor, had)
            for function in value.list.func:
                _change_attributes(function.attr.values(), had)


def _change_tensor(tensor: Any, had: set[str]) -> None:
    if tensor.dtype in HALF:
        had.add(HALF[tensor.dtype])
        tensor.CopyFrom(tensor_util.make_tensor_proto(tensor_util.MakeNdarray(tensor).astype(np.float32)))


def _wide(kind: int) -> int:
    return types_pb2.DT_FLOAT if kind in HALF else kind
