"""A stacked LSTM whose weights are as large as those of a trained one, and its exact states."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.tokenization.ragged import Ragged
from worker.model_import.parity.plain_arithmetic import last_states

Weights = Mapping[str, NDArray[np.float32]]
LAYERS = 2


def make_model(directory: str, vocab_size: int, max_length: int, units: int, embedding: int) -> ModelDirectory:
    """A model with random weights. Their values don't change the time, but the errors depend on them."""
    config = ModelConfig.stacked(vocab_size, max_length, units, LAYERS, embedding)
    random = np.random.default_rng(units)
    weights = {
        name: random.uniform(-1, 1, shape).astype(np.float32) / np.sqrt(shape[0], dtype=np.float32)
        for name, shape in config.shapes().items()
    }
    weights["embedding"] = random.standard_normal(weights["embedding"].shape).astype(np.float32)
    weights["embedding"][0] = 0
    return save_model(Path(directory) / "model", config, weights)


def exact_states(model: ModelDirectory, rows: Ragged) -> NDArray[np.float64]:
    """The last layer's states (tokens, units), computed with NumPy in float64."""
    config, weights = model.config, model.weights()
    each = [rows.take(row, row + 1).values for row in range(rows.rows)]
    return np.concatenate([last_states(config, weights, row, np.float64) for row in each])


def padded(rows: Ragged, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids (len(chosen), time) of some rows, with zeros on the right."""
    lengths = rows.lengths[chosen]
    ids = np.zeros((len(chosen), lengths.max()), np.int64)
    for k, row in enumerate(chosen):
        ids[k, : lengths[k]] = rows.values[rows.offsets[row] : rows.offsets[row + 1]]
    return ids


def take(rows: Ragged, chosen: NDArray[np.int64]) -> Ragged:
    """Some of the rows, in the order given."""
    values = np.concatenate([rows.values[rows.offsets[row] : rows.offsets[row + 1]] for row in chosen])
    return Ragged.from_lengths(values, rows.lengths[chosen])
