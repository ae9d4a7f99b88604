"""Checks a model's weights and passes their addresses to the kernel."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from worker.engines.fused import library

_CELLS = {("lstm", None): 0, ("gru", "after"): 1, ("gru", "before"): 2, ("mlstm", None): 3}
_GATES = {"sigmoid": 0, "hard_sigmoid": 1, "hard_sigmoid_keras3": 2}
_DIRECTIONS = {"forward": 0, "backward": 1, "bidirectional": 2}


class Weights:
    """The addresses of a model's tensors. It keeps the arrays alive.

    Attributes:
        embedding: address of float32 (vocab_size + 1, embedding_dim), or None for one-hot ids.
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
            self.layers[number] = self._layer(number, layer, inputs)

    def _layer(self, number: int, layer: LayerConfig, inputs: int) -> library.LayerWeights:
        found = library.LayerWeights(
            _CELLS[layer.kind, layer.reset],
            _DIRECTIONS[layer.direction],
            int(layer.residual),
            _GATES[layer.gates],
            layer.cell_clip or 0.0,
            layer.projection_clip or 0.0,
            inputs,
            layer.units,
            layer.projection or 0,
        )
        for index, prefix in enumerate(layer.prefixes(number)):
            found.passes[index] = library.PassWeights(
                self._address(f"{prefix}.kernel"),
                self._address(f"{prefix}.recurrent_kernel"),
                self._address(f"{prefix}.bias"),
                *(
                    self._address(f"{prefix}.{part}") if f"{prefix}.{part}" in self._shapes else None
                    for part in ("projection", "input_factor", "state_factor", "first_state", "first_cell")
                ),
            )
        return found

    def _address(self, name: str) -> int:
        array = np.ascontiguousarray(self._tensors.get(name, ()), np.float32)
        if array.shape != self._shapes[name]:
            raise ModelError(f"{name} is {array.shape}; it must be {self._shapes[name]}: restore the model's files")
        self._kept.append(array)
        return array.ctypes.data
