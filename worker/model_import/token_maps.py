"""Functions that a model applies to each token's vector alone, such as a Dense layer on top of the embedding.

Between the embedding and the first recurrent layer they are computed once for each id, at the import, and become part
of the embedding. All take and give vectors in the last axis, in float64.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Array, Float32, TokenMap

    Vectors = NDArray[np.float64]


def apply_maps(table: Float32, maps: Sequence[TokenMap]) -> Float32:
    """The vectors of all ids after these functions, (rows, width)."""
    made = reduce(lambda vectors, one: one(vectors), maps, table.astype(np.float64))
    return np.ascontiguousarray(made, np.float32)


def dense(kernel: Array, bias: Array | None, activation: str, *, turned: bool = False) -> TokenMap:
    """A product with a kernel (inputs, outputs), or (outputs, inputs) if it is turned; plus a bias; then a function."""

    def run(vectors: Vectors) -> Vectors:
        matrix = kernel.read().astype(np.float64)
        made = vectors @ (matrix.T if turned else matrix)
        return ACTIVATIONS[activation](made if bias is None else made + bias.read().astype(np.float64))

    return run


def layer_norm(scale: Array | None, shift: Array | None, epsilon: float) -> TokenMap:
    """Each vector minus its mean, divided by its deviation, scaled and shifted."""

    def run(vectors: Vectors) -> Vectors:
        centred = vectors - vectors.mean(axis=-1, keepdims=True)
        made = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return _affine(made, scale, shift)

    return run


def batch_norm(mean: Array, variance: Array, scale: Array | None, shift: Array | None, epsilon: float) -> TokenMap:
    """Each number minus the mean of the training, divided by its deviation there, scaled and shifted."""

    def run(vectors: Vectors) -> Vectors:
        made = (vectors - mean.read().astype(np.float64)) / np.sqrt(variance.read().astype(np.float64) + epsilon)
        return _affine(made, scale, shift)

    return run


def with_constant(operator: str, constant: NDArray[Any], *, constant_first: bool = False) -> TokenMap:
    """A sum, difference, product or quotient with the same numbers for every token."""
    function, numbers = _OPERATORS[operator], np.ravel(constant).astype(np.float64)
    return lambda vectors: np.asarray(function(numbers, vectors) if constant_first else function(vectors, numbers))


def _affine(vectors: Vectors, scale: Array | None, shift: Array | None) -> Vectors:
    if scale is not None:
        vectors = vectors * scale.read().astype(np.float64)
    return vectors if shift is None else vectors + shift.read().astype(np.float64)


def _sigmoid(x: Vectors) -> Vectors:
    return np.asarray((1 + np.tanh(x / 2)) / 2)  # by tanh, because exponentials overflow


def _elu(x: Vectors) -> Vectors:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _softmax(x: Vectors) -> Vectors:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
}
#: By the names that Keras gives them.
ACTIVATIONS: dict[str, Callable[[Vectors], Vectors]] = {
    "linear": lambda x: x,
    "tanh": lambda x: np.asarray(np.tanh(x)),
    "sigmoid": _sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "elu": _elu,
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.asarray(np.logaddexp(0, x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "swish": lambda x: x * _sigmoid(x),
    "silu": lambda x: x * _sigmoid(x),
    "softmax": _softmax,
}
