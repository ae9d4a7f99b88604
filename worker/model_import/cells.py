"""Which of a file's named arrays are recurrent passes, and which two passes are one bidirectional layer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from worker.model_import.found import Array, Layer, Layout, Pass

#: TensorFlow adds these to variables' names.
_SUFFIX = re.compile(r":\d+$")
PEEPHOLES = "it has peepholes (the gates read the cell's state); LSTMs without them can be imported: train it without"
_KERAS1 = re.compile(r"^(?P<cell>.*?)_?(?P<part>[WUb](_[ifcozrh])?)$")
_FORWARD, _BACKWARD = re.compile(r"^(forward|fw)(?=_|$)"), re.compile(r"^(backward|bw)(?=_|$)")


@dataclass(frozen=True, slots=True)
class Cell:
    """A pass, and where it was found.

    Attributes:
        path: its arrays' common place.
        one: the pass.
    """

    path: str
    one: Pass


def find_cells(arrays: Iterable[Array]) -> list[Cell]:
    """The recurrent passes among Keras's and TensorFlow's variables, in the order of their first arrays."""
    groups: dict[str, dict[str, Array]] = {}
    for array in arrays:
        path, _, part = _SUFFIX.sub("", array.name).rpartition("/")
        old = _KERAS1.match(part)
        if old:
            path, part = f"{path}/{old['cell']}".strip("/"), old["part"]
        elif part == "projection" or path.endswith(("/projection", "/gates", "/candidate")):
            path, _, middle = path.rpartition("/")  # TensorFlow 1: CELL/projection/kernel, CELL/gates/bias
            part = f"{middle}/{part}"
        groups.setdefault(path, {})[part] = array
    return [Cell(path, one) for path, parts in groups.items() if (one := _pass_of(parts)) is not None]


def pair(cells: Iterable[Cell]) -> dict[str, tuple[Pass | None, Pass | None]]:
    """Forward and backward passes that are siblings, by the layer's path."""
    layers: dict[str, tuple[Pass | None, Pass | None]] = {}
    for cell in cells:
        path, backward = _direction(cell.path)
        ahead, back = layers.get(path, (None, None))
        layers[path] = (ahead, cell.one) if backward else (cell.one, back)
    return layers


def layers_of(cells: Iterable[Cell]) -> list[Layer]:
    """Layers from weights alone. One whose only pass is named backward reads from the last token."""
    return [
        Layer(_short(path), ahead, back, problem=_problem(ahead, back)) for path, (ahead, back) in pair(cells).items()
    ]


def vouch(layers: Iterable[Layer], gates: str) -> str:
    """Give layers the gates that their user vouches for; a note that says so."""
    for layer in layers:
        layer.forward = layer.forward and replace(layer.forward, gates=gates)
        layer.backward = layer.backward and replace(layer.backward, gates=gates)
    return f"activations tanh and {gates} (as you said)"


def _problem(*passes: Pass | None) -> str | None:
    return next((one.problem for one in passes if one and one.problem), None)


def _direction(path: str) -> tuple[str, bool]:
    """A pass's layer, and whether it reads backwards: …/forward_lstm/lstm_cell and …/backward_lstm/lstm_cell_1."""
    parts = path.split("/")
    for number, part in enumerate(parts):
        for pattern, backward in ((_FORWARD, False), (_BACKWARD, True)):
            if pattern.match(part):
                rest = pattern.sub("", part).strip("_")
                return "/".join([*parts[:number], *([rest] if number == 0 and rest else [])]), backward
    return path, False


def _short(path: str) -> str:
    """A layer's name from its cell's path: without what Keras and TensorFlow put around it."""
    parts = [part for part in path.split("/") if part not in ("cell", "vars", "layers", "cells", "stacked_rnn_cells")]
    if (
        len(parts) > 1
        and re.fullmatch(r"(lstm|gru)_cell(_\d+)?", parts[-1])
        and not re.fullmatch(r"rnn(_\d+)?", parts[-2])
    ):
        parts.pop()
    distinct = [part for number, part in enumerate(parts) if number == 0 or part != parts[number - 1]]
    return "/".join(distinct) or path


def _pass_of(parts: dict[str, Array]) -> Pass | None:
    if "kernel" in parts and "recurrent_kernel" in parts:
        return _keras({name: parts[name] for name in ("kernel", "recurrent_kernel", "bias") if name in parts})
    if {"0", "1"} <= parts.keys() <= {"0", "1", "2"}:
        names = dict(zip(("0", "1", "2"), ("kernel", "recurrent_kernel", "bias"), strict=True))
        return _keras({names[name]: array for name, array in parts.items()})
    if {"W", "U"} <= parts.keys():  # Keras 1 with consume_less="gpu"
        names = dict(zip("WUb", ("kernel", "recurrent_kernel", "bias"), strict=True))
        return _keras({names[name]: parts[name] for name in "WUb" if name in parts})
    if "U_c" in parts or "U_h" in parts:
        return _keras1(parts)
    if "kernel" in parts or "gates/kernel" in parts:
        return _tf1(parts)
    return None


def _keras(parts: dict[str, Array]) -> Pass | None:
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
    resets = {None: "before", (3 * units,): "before", (6 * units,): "after", (2, 3 * units): "after"}
    if bias not in resets:
        return None
    layout = "cudnn" if bias == (6 * units,) else "keras"
    return Pass(layout, "gru", kernel[0], units, parts, reset=resets[bias])


def _keras1(parts: dict[str, Array]) -> Pass | None:
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


def _tf1(parts: dict[str, Array]) -> Pass | None:
    """TensorFlow 1's cells: inputs and state share one kernel, so a Dense layer must not pass for one."""
    if {"gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"} <= parts.keys():
        gates, candidate = parts["gates/kernel"].shape, parts["candidate/kernel"].shape
        if len(gates) != 2 or len(candidate) != 2 or gates != (candidate[0], 2 * candidate[1]):
            return None
        names = ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias")
        kept = dict(
            zip(("gates", "gates_bias", "candidate", "candidate_bias"), map(parts.__getitem__, names), strict=True)
        )
        return Pass("tf1", "gru", candidate[0] - candidate[1], candidate[1], kept, reset="before")
    path = parts["kernel"].name.split("/") if "kernel" in parts else []
    if not any(
        re.match(r"(basic_|layer_norm_basic_|cudnn_compatible_)?lstm_(block_)?(fused_)?cell|lstm_cell", part)
        for part in path
    ):
        return None
    kernel = parts["kernel"].shape
    if len(kernel) != 2 or kernel[1] % 4:
        return None
    units = kernel[1] // 4
    kept = {name: parts[name] for name in ("kernel", "bias") if name in parts}
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
