"""Functions that a model applies to each token's vector alone, such as a Dense layer on top of the embedding.

Between the embedding and the first recurrent layer they are computed once for each id, at the import, and become part
of the embedding. Above a recurrent layer they become maps of the model. All take and give vectors in the last axis, in
float64.
"""

# Over 150 lines: each function, and the map that computes it.

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.model import token_map as of_model
from unrolled.model.token_map import MapConfig
from worker.model_import.found import as_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Array, Float32, TokenMap

    Vectors = NDArray[np.float64]


#: What one scale may subtract from numbers whose difference is about 1: it costs two of float32's 24 digits.
MOST_SUBTRACTED = 4


@dataclass(frozen=True, slots=True)
class MapLayer:
    """A map of a model.

    Attributes:
        config: its configuration.
        tensors: its tensors in float64, by the last part of their names.
        what: which part of a function it is, for people; empty if it is all of it.
    """

    config: MapConfig
    tensors: dict[str, Vectors]
    what: str = ""


class Map(ABC):
    """A function of each token's vector that may become a map of a model."""

    @abstractmethod
    def __call__(self, vectors: Vectors) -> Vectors:
        """The vectors (…, width) that the function makes of others."""

    @property
    def computable(self) -> bool:
        """Whether a map computes the function."""
        return True

    def layers(self, inputs: int) -> tuple[MapLayer, ...]:
        """The maps that compute it one after the other; `merged` joins them where one alone loses no digits."""
        return (self.layer(inputs),)

    @abstractmethod
    def layer(self, inputs: int) -> MapLayer:
        """The map for vectors of this width, of a function that is computable."""


def apply_maps(table: Float32, maps: Sequence[TokenMap]) -> Float32:
    """The vectors of all ids after these functions, (rows, width)."""
    made = reduce(lambda vectors, one: one(vectors), maps, table.astype(np.float64))
    return np.ascontiguousarray(as_float32("a function of each token's vector", made))


@dataclass(frozen=True, slots=True)
class Dense(Map):
    """A product with a kernel (inputs, outputs), or (outputs, inputs) if it is turned; plus a bias; then a function."""

    kernel: Array
    bias: Array | None
    activation: str
    turned: bool = False

    def __call__(self, vectors: Vectors) -> Vectors:
        """The results."""
        return self.finish(vectors @ self._matrix())

    def finish(self, products: Vectors) -> Vectors:
        """The results from products with the kernel."""
        return ACTIVATIONS[self.activation](products if self.bias is None else products + _exact(self.bias))

    @property
    def computable(self) -> bool:
        """Whether the engines have its activation."""
        return self.activation in of_model.ACTIVATIONS

    @property
    def inputs(self) -> int:
        """Width of the vectors that it reads."""
        return self.kernel.shape[1 if self.turned else 0]

    @property
    def outputs(self) -> int:
        """Width of its results."""
        return self.kernel.shape[0 if self.turned else 1]

    def layer(self, inputs: int) -> MapLayer:
        """A dense map."""
        del inputs
        outputs = self.outputs
        bias = np.zeros(outputs) if self.bias is None else _exact(self.bias)
        return MapLayer(MapConfig(outputs, "dense", self.activation), {"kernel": self._matrix(), "bias": bias})

    def _matrix(self) -> Vectors:
        matrix = _exact(self.kernel)
        return matrix.T if self.turned else matrix


@dataclass(frozen=True, slots=True)
class LayerNorm(Map):
    """Each vector minus its mean, divided by its deviation, scaled and shifted."""

    scale: Array | None
    shift: Array | None
    epsilon: float

    def __call__(self, vectors: Vectors) -> Vectors:
        """The results."""
        centred = vectors - vectors.mean(axis=-1, keepdims=True)
        made = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.epsilon)
        return _affine(made, self.scale, self.shift)

    @property
    def computable(self) -> bool:
        """Whether no vector makes a division by zero."""
        return self.epsilon > 0

    def layer(self, inputs: int) -> MapLayer:
        """A layer_norm."""
        gain = np.ones(inputs) if self.scale is None else _exact(self.scale)
        bias = np.zeros(inputs) if self.shift is None else _exact(self.shift)
        return MapLayer(MapConfig(inputs, "layer_norm", epsilon=self.epsilon), {"gain": gain, "bias": bias})


@dataclass(frozen=True, slots=True)
class BatchNorm(Map):
    """Each number minus the mean of the training, divided by its deviation there, scaled and shifted."""

    mean: Array
    variance: Array
    scale: Array | None
    shift: Array | None
    epsilon: float

    def __call__(self, vectors: Vectors) -> Vectors:
        """The results."""
        made = (vectors - _exact(self.mean)) / np.sqrt(_exact(self.variance) + self.epsilon)
        return _affine(made, self.scale, self.shift)

    def layer(self, inputs: int) -> MapLayer:
        """A scale."""
        gain = (1 if self.scale is None else _exact(self.scale)) / np.sqrt(_exact(self.variance) + self.epsilon)
        return _scale(inputs, gain, (0 if self.shift is None else _exact(self.shift)) - _exact(self.mean) * gain)


@dataclass(frozen=True, slots=True)
class Normalization(Map):
    """Each number minus a mean, divided by a deviation of at least 1e-7; turned, the numbers that this was made of."""

    mean: Array
    variance: Array
    turned: bool

    def __call__(self, vectors: Vectors) -> Vectors:
        """The results."""
        mean, deviation = self._mean(), np.maximum(np.sqrt(_exact(self.variance)), 1e-7)
        return np.asarray(vectors * deviation + mean if self.turned else (vectors - mean) / deviation)

    def layers(self, inputs: int) -> tuple[MapLayer, ...]:
        """A difference and a quotient; turned, a scale."""
        if self.turned:
            return (self.layer(inputs),)
        deviation = np.maximum(np.sqrt(_exact(self.variance)), 1e-7)
        parts = {"its mean": WithConstant("sub", self._mean()), "its deviation": WithConstant("div", deviation)}
        return tuple(replace(one.layer(inputs), what=what) for what, one in parts.items())

    def layer(self, inputs: int) -> MapLayer:
        """A scale."""
        mean, deviation = self._mean(), np.maximum(np.sqrt(_exact(self.variance)), 1e-7)
        return _scale(inputs, deviation, mean) if self.turned else _scale(inputs, 1 / deviation, -mean / deviation)

    def _mean(self) -> Vectors:
        return self.mean.widest().astype(np.float64)


@dataclass(frozen=True, slots=True)
class Rescaling(Map):
    """A product with a number, plus a number; or with one for each number of a vector."""

    scale: Array
    offset: Array

    def __call__(self, vectors: Vectors) -> Vectors:
        """The results."""
        return np.asarray(vectors * _exact(self.scale) + _exact(self.offset))

    def layer(self, inputs: int) -> MapLayer:
        """A scale."""
        return _scale(inputs, _exact(self.scale), _exact(self.offset))


@dataclass(frozen=True, slots=True)
class WithConstant(Map):
    """A sum, difference, product or quotient with the same numbers for every token."""

    operator: str
    numbers: Vectors
    constant_first: bool = False

    def __call__(self, vectors: Vectors) -> Vectors:
        """The results."""
        function = _OPERATORS[self.operator]
        pair = (self.numbers, vectors) if self.constant_first else (vectors, self.numbers)
        return np.asarray(function(*pair))

    @property
    def computable(self) -> bool:
        """Whether it is not a quotient whose divisor is the vector, or zero."""
        return self.operator != "div" or not (self.constant_first or (self.numbers == 0).any())

    def layer(self, inputs: int) -> MapLayer:
        """A scale."""
        numbers, sign = self.numbers, -1.0 if self.constant_first else 1.0
        if self.operator == "mul":
            return _scale(inputs, numbers, 0)
        if self.operator == "div":
            return _scale(inputs, 1 / numbers, 0)
        return _scale(inputs, 1, numbers) if self.operator == "add" else _scale(inputs, sign, -sign * numbers)


@dataclass(frozen=True, slots=True)
class Activation(Map):
    """A function of each number or, in the case of softmax, of each vector."""

    name: str

    def __call__(self, vectors: Vectors) -> Vectors:
        """The results."""
        return ACTIVATIONS[self.name](vectors)

    @property
    def computable(self) -> bool:
        """Whether the engines have it."""
        return self.name in of_model.ACTIVATIONS

    def layer(self, inputs: int) -> MapLayer:
        """A scale by 1 with the function."""
        tensors = {"gain": np.ones(inputs), "bias": np.zeros(inputs)}
        return MapLayer(MapConfig(inputs, "scale", self.name), tensors)


def with_constant(operator: str, constant: NDArray[Any], *, constant_first: bool = False) -> Map:
    """A sum, difference, product or quotient with the same numbers for every token."""
    return WithConstant(operator, np.ravel(constant).astype(np.float64), constant_first)


def _scale(inputs: int, gain: Vectors | float, bias: Vectors | float) -> MapLayer:
    """The scale that gives gain x + bias."""
    tensors = {"gain": np.broadcast_to(gain, inputs), "bias": np.broadcast_to(bias, inputs)}
    return MapLayer(MapConfig(inputs, "scale"), {name: one + 0.0 for name, one in tensors.items()})


def merged(below: MapLayer, above: MapLayer) -> MapLayer | None:
    """One map that computes two, or None: a scale can be a part of the map below it, if that has no function.

    Two scales stay apart where one would lose digits.
    """
    if above.config.kind != "scale" or below.config.activation != "linear":
        return None
    if below.config.kind == "scale" and _loses_digits(below, above):
        return None
    gain, shift = above.tensors["gain"], above.tensors["bias"]
    factor = "kernel" if below.config.kind == "dense" else "gain"
    tensors = {factor: below.tensors[factor] * gain, "bias": below.tensors["bias"] * gain + shift}
    config = MapConfig(below.config.units, below.config.kind, above.config.activation, below.config.epsilon)
    return MapLayer(config, tensors)


def split(whole: MapLayer) -> tuple[MapLayer, ...]:
    """A scale as two if what it adds to an exact product is large, and has more digits than float32.

    So has a constant of float64, or the sum of two constants.
    """
    if whole.config.kind != "scale":
        return (whole,)
    gain, bias = whole.tensors["gain"], whole.tensors["bias"]
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 can't hold is refused when it is stored
        rest = np.where(is_power_of_two(gain) & (np.abs(bias) > MOST_SUBTRACTED), bias - bias.astype(np.float32), 0)
    if not (np.isfinite(rest).all() and rest.any()):
        return (whole,)
    linear = replace(whole.config, activation="linear")
    return (
        MapLayer(linear, {"gain": gain, "bias": bias - rest}, "its constant in float32"),
        MapLayer(whole.config, {"gain": np.ones_like(rest), "bias": rest}, "the rest of its constant"),
    )


def _loses_digits(below: MapLayer, above: MapLayer) -> bool:
    """Whether one scale would make small numbers as a difference of large ones that float32 rounds, and two wouldn't.

    x - 20,000 is exact for numbers near 20,000, and so is the sum of a constant and a product with a power of two. But
    x / 5 is rounded before 4,000 is subtracted.
    """
    gain, shift = above.tensors["gain"], above.tensors["bias"]
    large = np.abs(below.tensors["bias"] * gain) > MOST_SUBTRACTED * np.maximum(1, np.abs(shift))
    return bool((is_power_of_two(below.tensors["gain"]) & ~is_power_of_two(gain) & large).any())


def is_power_of_two(numbers: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether a product with each number is exact: it is a power of two, or its negative."""
    return np.asarray(np.abs(np.frexp(numbers)[0]) == 0.5)


def _exact(array: Array) -> Vectors:
    return array.read().astype(np.float64)


def _affine(vectors: Vectors, scale: Array | None, shift: Array | None) -> Vectors:
    if scale is not None:
        vectors = vectors * _exact(scale)
    return vectors if shift is None else vectors + _exact(shift)


def _sigmoid(x: Vectors) -> Vectors:
    return np.asarray((1 + np.tanh(x / 2)) / 2)  # by tanh, because exponentials overflow


def _softmax(x: Vectors) -> Vectors:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _log_softmax(x: Vectors) -> Vectors:
    below = x - x.max(axis=-1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=-1, keepdims=True)))


def _gelu(x: Vectors) -> Vectors:
    """The exact one, x times the normal distribution's function; not its approximation by tanh."""
    errors = np.fromiter(map(math.erf, np.ravel(x) / math.sqrt(2)), np.float64, count=x.size)
    return np.asarray(x * (1 + errors.reshape(x.shape)) / 2)


def _mish(x: Vectors) -> Vectors:
    return np.asarray(x * np.tanh(np.logaddexp(0, x)))


def leaky(vectors: Vectors, slope: NDArray[np.float64] | float) -> Vectors:
    """Each number; if it is below 0, times the slope."""
    return np.where(vectors >= 0, vectors, vectors * slope)


def hard_sigmoid(vectors: Vectors, slope: float, height: float) -> Vectors:
    """Each number times the slope, plus the height, between 0 and 1."""
    return np.clip(vectors * slope + height, 0, 1)


def unit(vectors: Vectors) -> Vectors:
    """Each vector divided by its length; a vector of zeros is kept."""
    lengths = np.sqrt((vectors**2).sum(axis=-1, keepdims=True))
    return np.asarray(vectors / np.maximum(lengths, 1e-12))


def bent(vectors: Vectors, slope: float, threshold: float, largest: float) -> Vectors:
    """Keras's ReLU: a number above the threshold is kept, up to the largest; its distance below is times the slope."""
    made = np.where(vectors > threshold, vectors, slope * (vectors - threshold))
    return np.asarray(np.minimum(made, largest))


def elu(vectors: Vectors, alpha: float) -> Vectors:
    """Each number; if it is below 0, its exponential minus 1, times alpha."""
    return np.where(vectors > 0, vectors, alpha * np.expm1(np.minimum(vectors, 0)))


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
    "elu": lambda x: elu(x, 1),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.asarray(np.logaddexp(0, x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "swish": lambda x: x * _sigmoid(x),
    "silu": lambda x: x * _sigmoid(x),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "log_sigmoid": lambda x: np.asarray(-np.logaddexp(0, -x)),
    "gelu": _gelu,
    "mish": _mish,
    "relu6": lambda x: np.clip(x, 0, 6),
    "exponential": lambda x: np.asarray(np.exp(x)),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "celu": lambda x: elu(x, 1),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
}
