"""Checks a model's weights and passes their addresses to the kernel."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from worker.engines.fused import library

_CELLS = {("lstm", None): 0, ("gru", "after"): 1, ("gru", "before"): 2, ("mlstm", None): 3}
_GATES = {"sigmoid": 0, "hard_sigmoid": 1, "hard_sigmoid_keras3": 2}
_NORMED_CELL = 7
_NORMS = {None: 0, "carried": 1, "output": 2}
_MAPS = {"dense": 4, "layer_norm": 5, "scale": 6}
_ACTIVATIONS = {"linear": 0, "tanh": 1, "relu": 2, "sigmoid": 3}
_DIRECTIONS = {"forward": 0, "backward": 1, "bidirectional": 2}


class Weights:
    """The addresses of a model's tensors. It keeps the arrays alive.

    Attributes:
        embedding: address of float32 (vocab_size + 1, embedding_dim); None for one-hot ids and for vectors.
        layers: one structure for each layer.
    """

    def __init__(self, config: ModelConfig, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Check every tensor's shape, and copy those that are not contiguous float32.

        Raises:
            ModelError: a tensor is missing or has the wrong shape.
        """
        self._kept: list[NDArray[np.float32]] = []
        self._tensors = tensors
        self._shapes = config.shapes()
        self.embedding = None if config.embedding_dim is None else self._address("embedding")
        self.layers = (library.LayerWeights * len(config.layers))()
        for number, (layer, inputs) in enumerate(zip(config.layers, config.input_dims, strict=True)):
            if isinstance(layer, MapConfig):
                self.layers[number] = self._map(number, layer, inputs)
            else:
                self.layers[number] = self._layer(number, layer, inputs)

    def _layer(self, number: int, layer: LayerConfig, inputs: int) -> library.LayerWeights:
        found = library.LayerWeights(
            _NORMED_CELL if layer.norm else _CELLS[layer.kind, layer.reset],
            _DIRECTIONS[layer.direction],
            layer.span if layer.residual else 0,
            _GATES[layer.gates],
            layer.cell_clip or 0.0,
            layer.projection_clip or 0.0,
            inputs,
            layer.units,
            layer.projection or 0,
            layer.epsilon or 0.0,
            _NORMS[layer.norm],
            given_state=layer.given_state,
        )
        for index, prefix in enumerate(layer.prefixes(number)):
            found.passes[index] = self._pass(prefix)
        return found

    def _map(self, number: int, layer: MapConfig, inputs: int) -> library.LayerWeights:
        found = library.LayerWeights(
            cell=_MAPS[layer.kind],
            span=layer.span if layer.residual else 0,
            inputs=inputs,
            units=layer.units,
            epsilon=layer.epsilon or 0.0,
            activation=_ACTIVATIONS[layer.activation],
        )
        found.passes[0] = self._pass(layer.prefixes(number)[0])
        return found

    def _pass(self, prefix: str) -> library.PassWeights:
        """The addresses of the tensors whose names begin with a prefix; None for those that the layer doesn't have."""
        names = {part: f"{prefix}.{part}" for part, _ in library.PassWeights._fields_}
        return library.PassWeights(
            **{part: self._address(name) for part, name in names.items() if name in self._shapes}
        )

    def _address(self, name: str) -> int:
        array = np.ascontiguousarray(self._tensors.get(name, ()), np.float32)
        if array.shape != self._shapes[name]:
            raise ModelError(f"{name} is {array.shape}; it must be {self._shapes[name]}: restore the model's files")
        self._kept.append(array)
        return array.ctypes.data
