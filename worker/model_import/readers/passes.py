"""One recurrent pass from its arrays: the layout is recognized by their names and shapes."""

import re
from collections.abc import Iterable
from dataclasses import replace

from worker.model_import.found import UNKNOWN, UNREAD, Array, Layout, Pass
from worker.model_import.readers.activations import PEEPHOLES
from worker.model_import.readers.resets import UNSHOWN

#: The names of a pass's arrays in Keras 2, 3, and 1 with consume_less="gpu"; and whether there may be others.
_KERAS_NAMES = ((("kernel", "recurrent_kernel", "bias"), True), (("0", "1", "2"), False), (("W", "U", "b"), True))
_TF1_CELL = re.compile(r"(basic_|layer_norm_basic_|cudnn_compatible_)?lstm_(block_)?(fused_)?cell")


def why_unread(parts: Iterable[Array]) -> str | None:
    """Why a pass can't be imported from its arrays, if one of them has other numbers than floats; or None."""
    other = next((part for part in parts if part.dtype), None)
    if other is None:
        return None
    if other.dtype == UNKNOWN:
        return f"its {other.name} can't be read ({UNREAD}); save it as float32"
    return f"its weights are {other.dtype}, so the file is quantized; import the float32 model that it was made from"


def pass_of(parts: dict[str, Array]) -> Pass | None:
    """The pass that consists of these arrays.

    Args:
        parts: the arrays of one cell, by the last part of their names.

    Returns:
        None if they are not the arrays of an LSTM or GRU.
    """
    made = _pass_of(parts)
    return made and replace(made, problem=why_unread(made.parts.values()) or made.problem)


def _pass_of(parts: dict[str, Array]) -> Pass | None:
    for names, others_allowed in _KERAS_NAMES:
        if set(names[:2]) <= parts.keys() and (others_allowed or parts.keys() <= set(names)):
            found = zip(names, _KERAS_NAMES[0][0], strict=True)
            return _keras({part: parts[name] for name, part in found if name in parts})
    if "U_c" in parts or "U_h" in parts:
        return _keras1(parts)
    if "gates/kernel" in parts:
        return _tf1_gru(parts)
    if "kernel" in parts:
        return _tf1_lstm(parts)
    return None


def _keras(parts: dict[str, Array]) -> Pass | None:
    """Keras 2 and 3, and the CuDNN layers of Keras 2, whose biases are twice as long."""
    kernel, recurrent = parts["kernel"].shape, parts["recurrent_kernel"].shape
    if len(kernel) != 2 or len(recurrent) != 2 or kernel[1] != recurrent[1] or 0 in recurrent:
        return None
    units = recurrent[0]
    gates, rest = divmod(recurrent[1], units)
    if rest or gates not in (3, 4):
        return None
    bias = parts["bias"].shape if "bias" in parts else None
    if gates == 4:
        if bias not in (None, (4 * units,), (8 * units,)):
            return None
        layout: Layout = "cudnn" if bias == (8 * units,) else "keras"
        return Pass(layout, "lstm", kernel[0], units, parts)
    resets = {None: UNSHOWN, (3 * units,): "before", (6 * units,): "after", (2, 3 * units): "after"}
    if bias not in resets:
        return None
    layout = "cudnn" if bias == (6 * units,) else "keras"
    return Pass(layout, "gru", kernel[0], units, parts, reset=resets[bias])


def _keras1(parts: dict[str, Array]) -> Pass | None:
    """Keras 1: three arrays for each gate."""
    order = "ifco" if "U_c" in parts else "zrh"
    wanted = {f"{letter}_{gate}" for letter in "WUb" for gate in order}
    if not wanted <= parts.keys():
        return None
    shape = parts[f"W_{order[0]}"].shape
    if len(shape) != 2:
        return None
    inputs, units = shape
    shapes = {"W": (inputs, units), "U": (units, units), "b": (units,)}
    if any(parts[name].shape != shapes[name[0]] for name in wanted):
        return None
    kept = {name: parts[name] for name in wanted}
    if order == "zrh":
        return Pass("keras1", "gru", inputs, units, kept, reset="before")
    return Pass("keras1", "lstm", inputs, units, kept)


def _tf1_gru(parts: dict[str, Array]) -> Pass | None:
    """TensorFlow 1's GRUCell: input and state share a kernel."""
    names = {f"{part}/{name}" for part in ("gates", "candidate") for name in ("kernel", "bias")}
    if not names <= parts.keys():
        return None
    gates, candidate = parts["gates/kernel"].shape, parts["candidate/kernel"].shape
    if len(gates) != 2 or len(candidate) != 2 or gates != (candidate[0], 2 * candidate[1]):
        return None
    kept = {
        "gates": parts["gates/kernel"],
        "gates_bias": parts["gates/bias"],
        "candidate": parts["candidate/kernel"],
        "candidate_bias": parts["candidate/bias"],
    }
    return Pass("tf1", "gru", candidate[0] - candidate[1], candidate[1], kept, reset="before")


def _tf1_lstm(parts: dict[str, Array]) -> Pass | None:
    """TensorFlow 1's LSTM cells. A Dense layer has arrays of the same names, so the cell's name decides."""
    path = parts["kernel"].name.split("/")
    if not any(_TF1_CELL.match(part) for part in path):
        return None
    kernel = parts["kernel"].shape
    if len(kernel) != 2 or kernel[1] % 4:
        return None
    units = kernel[1] // 4
    kept: dict[str, Array] = {name: parts[name] for name in ("kernel", "bias") if name in parts}
    projection = None
    if "projection/kernel" in parts:
        kept["projection"] = parts["projection/kernel"]
        projection = kept["projection"].shape[-1] if kept["projection"].shape else None
    inputs = kernel[0] - (projection or units)
    if inputs < 1:
        return None
    added = 0.0 if any(part.startswith("cudnn_compatible") for part in path) else 1.0
    problem = PEEPHOLES if any(name.startswith("w_f_diag") for name in parts) else None
    return Pass("tf1", "lstm", inputs, units, kept, projection, forget_bias=added, problem=problem)
