"""A stacked LSTM with weights of a trained one's size, and its exact states."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.ragged import Ragged

Weights = Mapping[str, NDArray[np.float32]]
LAYERS = 2


def make_model(directory: str, vocab_size: int, max_length: int, units: int, embedding: int) -> ModelDirectory:
    """A model of random weights in a directory; values don't change the time, but errors are told from them."""
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
    """The last layer's states (tokens, units), computed with NumPy in float64, a step of all rows at a time."""
    weights = {name: array.astype(np.float64) for name, array in model.weights().items()}
    ids = padded(rows, np.arange(rows.rows))
    real = np.arange(ids.shape[1]) < rows.lengths[:, None]  # (rows, time)
    inputs = weights["embedding"][ids]
    for layer in range(LAYERS):
        kernel, recurrent, bias = (weights[f"lstm.{layer}.{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
        hidden = cell = np.zeros((len(ids), len(recurrent)))
        states = []
        for step in range(ids.shape[1]):
            i, f, c, o = np.split(inputs[:, step] @ kernel + hidden @ recurrent + bias, 4, axis=1)
            cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(c)
            hidden = _sigmoid(o) * np.tanh(cell)
            states.append(hidden)
        inputs = np.stack(states, axis=1)
    return inputs[real]


def padded(rows: Ragged, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids (len(chosen), time) of some rows, zeros on their right."""
    lengths = rows.lengths[chosen]
    ids = np.zeros((len(chosen), lengths.max()), np.int64)
    for k, row in enumerate(chosen):
        ids[k, : lengths[k]] = rows.values[rows.offsets[row] : rows.offsets[row + 1]]
    return ids


def take(rows: Ragged, chosen: NDArray[np.int64]) -> Ragged:
    """Some of the rows, in the order given."""
    values = np.concatenate([rows.values[rows.offsets[row] : rows.offsets[row + 1]] for row in chosen])
    return Ragged.from_lengths(values, rows.lengths[chosen])


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))
