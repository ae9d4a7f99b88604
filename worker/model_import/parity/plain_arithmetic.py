"""The states of a model in plain NumPy, one token at a time: independent of the engines, in float64 or float32.

A float32 sum begins with the bias and adds one product after another, as the engines do. BLAS keeps several sums side
by side and adds the bias last, and so rounds less: half as much for hard gates and large biases.
"""

# Over 150 lines: every kind of layer, in one arithmetic.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.model.layer import HARD_SLOPES
from unrolled.model.token_map import MapConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import DTypeLike, NDArray

    from unrolled.model.config import ModelConfig
    from unrolled.model.layer import LayerConfig
    from worker.model_import.found import Float32

    Floats = NDArray[Any]
    Gate = Callable[[Floats], Floats]


def last_states(
    config: ModelConfig,
    weights: Mapping[str, Float32],
    row: NDArray[Any],
    kind: DTypeLike,
    begun: NDArray[np.float32] | None = None,
    *,
    with_padding: bool = False,
) -> Floats:
    """The last layer's state after each token of a row, (time, outputs); padding is computed, and left out.

    Args:
        config: the model's configuration.
        weights: its tensors.
        row: token ids, each in 1..vocab_size; or vectors (time, D).
        kind: dtype of the arithmetic, float32 or float64.
        begun: the initial states that the row brings; None if the model reads none.
        with_padding: whether padding isn't left out.
    """
    # Over 40 lines: half of it is the description of its arguments.
    if begun is not None:
        weights = {**weights, **_first_states(config, begun)}
    real, padding = slice(None), config.padding
    if padding is not None:
        real = padding.real(len(row))
        padded = np.full(padding.length, padding.id, row.dtype)
        padded[real] = row
        row = padded
    if config.vector_dim is not None:
        inputs = row.astype(kind)
    elif config.embedding_dim is None:
        # The row after the last one is a vector of zeros, for padding with id 0.
        inputs = np.eye(config.vocab_size + 1, config.vocab_size, dtype=kind)[row - 1]
    else:
        inputs = weights["embedding"][row].astype(kind)
    outputs = [inputs]
    for number, layer in enumerate(config.layers):
        inputs = outputs[-1]
        if isinstance(layer, MapConfig):
            parts = {part: weights[f"{layer.kind}.{number}.{part}"].astype(kind) for part in layer.shapes(1)}
            made = _mapped(layer, inputs, parts)
            outputs.append(made + outputs[-layer.span] if layer.residual else made)
            continue
        passes = []
        for prefix in layer.prefixes(number):
            names = (*layer.shapes(1), *_FIRST.values())
            parts = {part: weights[name].astype(kind) for part in names if (name := f"{prefix}.{part}") in weights}
            step = -1 if prefix.endswith("backward") else 1
            passes.append(_run(layer, inputs[::step], parts)[::step])
        made = np.concatenate(passes, axis=1)
        outputs.append(made + outputs[-layer.span] if layer.residual else made)
    return outputs[-1] if with_padding else outputs[-1][real]


#: The tensors that are what a pass starts from, by the names of the parts that a row brings.
_FIRST = {"h": "first_state", "c": "first_cell"}


def _first_states(config: ModelConfig, begun: NDArray[np.float32]) -> dict[str, Float32]:
    """The states that a row brings, by the names that constant ones have."""
    found, start = {}, 0
    for part in config.given_parts:
        layer = config.layers[part.layer]
        prefix = next(one for one in layer.prefixes(part.layer) if one.endswith("backward") == part.backward)
        found[f"{prefix}.{_FIRST[part.name]}"] = begun[start : start + part.width]
        start += part.width
    return found


def _mapped(layer: MapConfig, inputs: Floats, parts: Mapping[str, Floats]) -> Floats:
    """The results of a map for inputs (time, D), (time, units)."""
    bias = parts["bias"]
    if layer.kind == "dense":
        made = np.array([_sums(bias, row, parts["kernel"]) for row in inputs])
    else:
        made = (_normalized(layer, inputs) if layer.kind == "layer_norm" else inputs) * parts["gain"] + bias
    return np.asarray(_FUNCTIONS[layer.activation](made))


def _run(layer: LayerConfig, inputs: Floats, parts: Mapping[str, Floats]) -> Floats:
    """One direction of a layer over one row, from (time, D) to (time, S)."""
    kernel, recurrent, bias = parts["kernel"], parts["recurrent_kernel"], parts["bias"]
    first = bias[0] if layer.reset == "after" else bias
    given = np.array([_sums(first, row, kernel) for row in inputs])  # (time, gates)
    states = np.zeros((len(inputs) + 1, layer.state_dim), inputs.dtype)
    states[0] = parts.get("first_state", 0)
    cell = parts.get("first_cell", np.zeros(layer.units, inputs.dtype))
    gate = _gate(layer)
    factors: Floats = np.empty(0)  # (time, U)
    if layer.kind == "mlstm":
        nothing = np.zeros(layer.units, inputs.dtype)
        factors = np.array([_sums(nothing, row, parts["input_factor"]) for row in inputs])
    if layer.norm is not None:
        given = np.array([_sums(parts["input_shift"], row, kernel) for row in inputs])
    for time, gates in enumerate(given):
        state = states[time]
        if layer.norm is not None:
            states[time + 1], cell = _normed_step(layer, gates, state, cell, parts)
        elif layer.has_cell:
            if layer.kind == "mlstm":
                state = factors[time] * _sums(np.zeros_like(state), state, parts["state_factor"])
            i, f, candidate, o = np.split(_sums(gates, state, recurrent), 4)
            cell = _clipped(gate(f) * cell + gate(i) * np.tanh(candidate), layer.cell_clip)
            out = gate(o) * np.tanh(cell)
            if layer.projection is not None:
                out = _sums(np.zeros(layer.projection, out.dtype), out, parts["projection"])
                out = _clipped(out, layer.projection_clip)
            states[time + 1] = out
        else:
            states[time + 1] = _gru_step(layer, gates, state, recurrent, bias)
    return states[1:]


def _normed_step(
    layer: LayerConfig, given: Floats, state: Floats, cell: Floats, parts: Mapping[str, Floats]
) -> tuple[Floats, Floats]:
    """The states after a step of a layer-normalized LSTM, from the product with its input."""
    before = _sums(parts["state_shift"], state, parts["recurrent_kernel"])
    gates = _normalized(layer, given) * parts["input_gain"] + _normalized(layer, before) * parts["state_gain"]
    i, f, candidate, o = np.split(gates + parts["bias"], 4)
    cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(candidate)
    normal = _normalized(layer, cell) * parts["cell_gain"] + parts["cell_bias"]
    return _sigmoid(o) * np.tanh(normal), normal if layer.norm == "carried" else cell


def _normalized(layer: LayerConfig | MapConfig, x: Floats) -> Floats:
    """Vectors (…, width) minus their means, divided by their deviations."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + x.dtype.type(layer.epsilon or 0)))


def _clipped(state: Floats, bound: float | None) -> Floats:
    return state if bound is None else np.asarray(np.clip(state, -bound, bound))


def _gru_step(layer: LayerConfig, gates: Floats, state: Floats, recurrent: Floats, bias: Floats) -> Floats:
    units = layer.units
    start = gates[: 2 * units] + bias[1, : 2 * units] if layer.reset == "after" else gates[: 2 * units]
    z, r = np.split(_gate(layer)(_sums(start, state, recurrent[:, : 2 * units])), 2)
    to_candidate = recurrent[:, 2 * units :]
    if layer.reset == "after":
        candidate = np.tanh(gates[2 * units :] + r * _sums(bias[1, 2 * units :], state, to_candidate))
    else:
        candidate = np.tanh(_sums(gates[2 * units :], r * state, to_candidate))
    return np.asarray(z * state + (1 - z) * candidate)


def _sums(start: Floats, values: Floats, matrix: Floats) -> Floats:
    """The sum (gates,) of start (gates,) and the product of values (K,) and matrix (K, gates)."""
    if matrix.dtype != np.float32:
        return np.asarray(start + values @ matrix)
    products = np.concatenate([start[None], values[:, None] * matrix])
    return np.asarray(np.add.reduce(products, axis=0))  # NumPy adds whole rows one by one


def _gate(layer: LayerConfig) -> Gate:
    """The activation of a layer's gates."""
    if layer.gates == "sigmoid":
        return _sigmoid
    slope = HARD_SLOPES[layer.gates]
    return lambda x: np.clip(slope * x + 0.5, 0, 1)


def _sigmoid(x: Floats) -> Floats:
    # By tanh, because exponentials overflow.
    return np.asarray((1 + np.tanh(x / 2)) / 2)


_FUNCTIONS: dict[str, Gate] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
}
