"""Conversion of a recurrent pass from each framework's layout to Keras's: gates i, f, c, o and z, r, h.

Sources: Keras's `LSTMCell`, `GRUCell` and Keras 2's `preprocess_weights_for_loading` (CuDNN, Keras 1),
PyTorch's `nn.LSTM` and `nn.GRU`, the ONNX operators LSTM and GRU, TensorFlow 1's `rnn_cell_impl.py`.
D inputs, U units, P projection, S state (P or U).

    keras   kernel (D, 4U)   recurrent (S, 4U)   bias (4U,)         GRU: (D, 3U), (U, 3U), (2, 3U) or (3U,)
    cudnn   kernel (D, 4U)   recurrent (U, 4U)   bias (8U,)         each gate's block transposed; GRU: bias (6U,)
    keras1  W_g (D, U)       U_g (U, U)          b_g (U,)           one of each for every gate g
    torch   w_ih (4U, D)     w_hh (4U, S)        b_ih, b_hh (4U,)   w_hr (P, U); GRU: gates r, z, n; layernorm_i, h, c
    onnx    W (4U, D)        R (4U, U)           B (8U,)            gates i, o, f, c; GRU z, r, h
    unirep  wx (D, 4U)   wh (U, 4U)   wmx (D, U)   wmh (U, U)   b (4U,)   gates i, f, o, c; a scale of each column, gx …
    tf1     kernel (D + S, 4U)                   bias (4U,)         gates i, c, f, o; projection (U, P); GRU: gates r, u
"""

# Over 150 lines: every layout, beside the table that describes it.

from collections.abc import Callable, Mapping

import numpy as np

from worker.model_import.found import Float32, Pass

Parts = Mapping[str, Float32]


def convert(one: Pass) -> dict[str, Float32]:
    """Read the arrays of a pass and convert them.

    Returns:
        "kernel", "recurrent_kernel", "bias" and, if the pass has them, "projection", "first_state" and "first_cell":
        float32, with the shapes that `LayerConfig.shapes` gives.
    """
    arrays = {name: array.read() for name, array in one.parts.items()}
    made = _CONVERTERS[one.layout](one, arrays)
    if one.forget_bias:
        made["bias"] = made["bias"].copy()
        made["bias"][one.units : 2 * one.units] += np.float32(one.forget_bias)
    made |= {part: array.read() for part, array in zip(("first_state", "first_cell"), one.first, strict=False)}
    return {name: np.ascontiguousarray(array, np.float32) for name, array in made.items()}


def _gates(array: Float32, order: tuple[int, ...], axis: int) -> Float32:
    """Reorder the blocks of the gates along an axis."""
    blocks = np.split(array, len(order), axis=axis)
    return np.concatenate([blocks[gate] for gate in order], axis=axis)


def _zeros(one: Pass) -> Float32:
    if one.kind == "lstm":
        return np.zeros(4 * one.units, np.float32)
    return np.zeros((2, 3 * one.units) if one.reset == "after" else 3 * one.units, np.float32)


def _keras(one: Pass, arrays: Parts) -> dict[str, Float32]:
    bias = arrays.get("bias", _zeros(one))
    return {"kernel": arrays["kernel"], "recurrent_kernel": arrays["recurrent_kernel"], "bias": bias}


def _cudnn(one: Pass, arrays: Parts) -> dict[str, Float32]:
    gates = 4 if one.kind == "lstm" else 3
    # For cuDNN, Keras stores each gate's kernel in Fortran order, and each recurrent kernel transposed.
    kernels = [block.T.reshape(block.shape, order="F") for block in np.hsplit(arrays["kernel"], gates)]
    recurrent = [block.T for block in np.hsplit(arrays["recurrent_kernel"], gates)]
    halves = arrays["bias"].reshape(2, -1)
    bias = halves.sum(axis=0) if one.kind == "lstm" else halves
    return {"kernel": np.hstack(kernels), "recurrent_kernel": np.hstack(recurrent), "bias": bias}


def _keras1(one: Pass, arrays: Parts) -> dict[str, Float32]:
    order = "ifco" if one.kind == "lstm" else "zrh"
    return {
        "kernel": np.hstack([arrays[f"W_{gate}"] for gate in order]),
        "recurrent_kernel": np.hstack([arrays[f"U_{gate}"] for gate in order]),
        "bias": np.hstack([arrays[f"b_{gate}"] for gate in order]),
    }


def _torch(one: Pass, arrays: Parts) -> dict[str, Float32]:
    order = (0, 1, 2, 3) if one.kind == "lstm" else (1, 0, 2)
    width = len(order) * one.units
    biases = [_gates(arrays[name], order, 0) if name in arrays else np.zeros(width, np.float32) for name in _BIASES]
    made = {
        "kernel": _gates(arrays["w_ih"], order, 0).T,
        "recurrent_kernel": _gates(arrays["w_hh"], order, 0).T,
        "bias": biases[0] + biases[1] if one.kind == "lstm" else np.stack(biases),
    }
    if one.projection is not None:
        made["projection"] = arrays["w_hr"].T
    if one.norm is not None:
        made |= _torch_norms(arrays, biases)
    return made


def _torch_norms(arrays: Parts, biases: list[Float32]) -> dict[str, Float32]:
    """The norms of PyTorch's example of a layer-normalized LSTM. Their shifts are added after them, so one has all."""
    return {
        "bias": arrays["layernorm_i.bias"] + arrays["layernorm_h.bias"],
        "input_shift": biases[0],
        "input_gain": arrays["layernorm_i.weight"],
        "state_shift": biases[1],
        "state_gain": arrays["layernorm_h.weight"],
        "cell_gain": arrays["layernorm_c.weight"],
        "cell_bias": arrays["layernorm_c.bias"],
    }


def _onnx(one: Pass, arrays: Parts) -> dict[str, Float32]:
    order = (0, 2, 3, 1) if one.kind == "lstm" else (0, 1, 2)
    width = len(order) * one.units
    halves = arrays.get("B", np.zeros(2 * width, np.float32)).reshape(2, width)
    both = np.stack([_gates(half, order, 0) for half in halves])
    return {
        "kernel": _gates(arrays["W"], order, 0).T,
        "recurrent_kernel": _gates(arrays["R"], order, 0).T,
        "bias": both if one.reset == "after" else both.sum(axis=0),
    }


def _tf1(one: Pass, arrays: Parts) -> dict[str, Float32]:
    if one.kind == "lstm":
        kernel, bias = _gates(arrays["kernel"], _ICFO, 1), _gates(arrays.get("bias", _zeros(one)), _ICFO, 0)
        made = {"kernel": kernel[: one.inputs], "recurrent_kernel": kernel[one.inputs :], "bias": bias}
        if one.projection is not None:
            made["projection"] = arrays["projection"]
        return made
    gates = _gates(arrays["gates"], (1, 0), 1)
    kernel = np.hstack([gates, arrays["candidate"]])
    bias = np.concatenate([_gates(arrays["gates_bias"], (1, 0), 0), arrays["candidate_bias"]])
    return {"kernel": kernel[: one.inputs], "recurrent_kernel": kernel[one.inputs :], "bias": bias}


def _unirep(one: Pass, arrays: Parts) -> dict[str, Float32]:
    del one
    weights = {name: _normalized(arrays[f"w{name}"], arrays.get(f"g{name}")) for name in ("x", "h", "mx", "mh")}
    return {
        "kernel": _gates(weights["x"], _IFOC, 1),
        "recurrent_kernel": _gates(weights["h"], _IFOC, 1),
        "bias": _gates(arrays["b"], _IFOC, 0),
        "input_factor": weights["mx"],
        "state_factor": weights["mh"],
    }


def _normalized(matrix: Float32, scale: Float32 | None) -> Float32:
    """Weight norm: each column divided by its length, times its scale."""
    if scale is None:
        return matrix
    exact = matrix.astype(np.float64)
    lengths = np.sqrt(np.maximum((exact**2).sum(axis=0), _LEAST_SQUARE))
    return np.asarray(exact / lengths * scale, np.float32)


#: What UniRep takes at least for the sum of a column's squares.
_LEAST_SQUARE = 1e-12
_IFOC = (0, 1, 3, 2)
_BIASES = ("b_ih", "b_hh")
_ICFO = (0, 2, 1, 3)
_CONVERTERS: dict[str, Callable[[Pass, Parts], dict[str, Float32]]] = {
    "keras": _keras,
    "cudnn": _cudnn,
    "keras1": _keras1,
    "torch": _torch,
    "onnx": _onnx,
    "tf1": _tf1,
    "unirep": _unirep,
}
