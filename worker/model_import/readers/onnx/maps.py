"""ONNX operators that change each token's vector alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import import token_maps
from worker.model_import.found import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.model_import.found import TokenMap
    from worker.model_import.readers.onnx.axes import Axes
    from worker.model_import.readers.onnx.constants import Constants

_FUNCTIONS = {"Tanh": "tanh", "Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign"}
_WITH_CONSTANT = {"Add", "Sub", "Mul", "Div"}
#: Operators whose output has the axes of their input.
ELEMENTWISE = {*_FUNCTIONS, *_WITH_CONSTANT, "LayerNormalization"}


def token_map(node: Any, constants: Constants, axes: Axes) -> TokenMap | None:
    """The function of a node; None if it isn't one of each token's vector alone, or isn't known.

    Args:
        node: an onnx.NodeProto.
        constants: the graph's constants.
        axes: those of the node's input that isn't constant: its last one must be a vector's numbers.
    """
    # Before constants are read: a file may have thousands of other nodes with one huge constant.
    is_known = node.op_type in ELEMENTWISE or node.op_type == "MatMul"
    if axes is None or axes[-1:] != ("f",) or not is_known:
        return None
    if node.op_type in _FUNCTIONS:
        return token_maps.Activation(_FUNCTIONS[node.op_type])
    found = [constants.get(name) for name in node.input]
    if node.op_type == "MatMul" and len(found) == 2 and found[1] is not None and found[1].ndim == 2:
        return token_maps.Dense(_array(node.input[1], found[1]), None, "linear")
    if node.op_type in _WITH_CONSTANT and len(found) == 2:
        first = found[0] is not None
        numbers = found[0] if first else found[1]
        # Numbers along another axis are different ones for each place in a row.
        if numbers is None or (numbers.size > 1 and numbers.shape[-1] != numbers.size):
            return None
        return token_maps.with_constant(node.op_type.lower(), numbers, constant_first=first)
    return _layer_norm(node, found) if node.op_type == "LayerNormalization" else None


def _layer_norm(node: Any, found: list[NDArray[Any] | None]) -> TokenMap | None:
    settings = {one.name: one for one in node.attribute}
    constants = [one for one in found[1:] if one is not None and one.ndim == 1]
    if len(constants) != len(found) - 1 or not constants or ("axis" in settings and settings["axis"].i != -1):
        return None
    scale, shift = (*(_array(name, one) for name, one in zip(node.input[1:], constants, strict=True)), None)[:2]
    return token_maps.LayerNorm(scale, shift, settings["epsilon"].f if "epsilon" in settings else 1e-5)


def _array(name: str, numbers: NDArray[Any]) -> Array:
    return Array(name, numbers.shape, lambda: np.asarray(numbers, np.float32))
