"""The ONNX operators LSTM and GRU as recurrent layers."""

# Over 150 lines: two operators that share most of their inputs and attributes.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.model.layer import HARD_SLOPES
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Layer, Pass, as_float32
from worker.model_import.readers.activations import PEEPHOLES, activation_problem
from worker.model_import.readers.onnx.first_states import constant_state
from worker.model_import.selection.initial_states import STARTS_ELSEWHERE, STARTS_FROM_INPUT, ZEROS

if TYPE_CHECKING:
    from worker.model_import.found import Float32
    from worker.model_import.readers.onnx.constants import Constants

#: How many gates an operator has.
GATES = {"LSTM": 4, "GRU": 3}
_INPUTS = ("X", "W", "R", "B", "lengths", "h", "c", "P")


def recurrent_layer(name: str, node: Any, constants: Constants) -> Layer:
    """The layer of a node.

    Args:
        name: the layer's.
        node: an onnx.NodeProto of the operator LSTM or GRU.
        constants: the constants of the node's graph.

    Raises:
        ImportRefusedError: a constant is too large or can't be read.
    """
    kind, gates = node.op_type.lower(), GATES[node.op_type]
    given = dict(zip(_INPUTS, node.input, strict=False))
    settings = {one.name: one for one in node.attribute}
    shapes = {part: constants.shape(given[part]) for part in ("W", "R") if given.get(part)}
    wide, square = shapes.get("W"), shapes.get("R")
    if wide is None or square is None or len(wide) != 3 or len(square) != 3 or wide[1] != gates * square[2]:
        stand_in = Pass("onnx", kind, 1, 1, {})
        computed = next((why for part in ("W", "R") if (why := constants.why_computed(given.get(part, "")))), "")
        reason = f"its weights are {computed or 'not constants of the file; export it with its weights'}"
        return Layer(name, stand_in, problem=reason)
    activation, problem = _gates(node.op_type, settings)
    after = "linear_before_reset" in settings and settings["linear_before_reset"].i == 1
    reset = None if kind == "lstm" else "after" if after else "before"
    first = _first_states(kind, given, settings, constants, (wide[0], 1, square[2]))
    passes = []
    for side in range(min(wide[0], 2)):
        parts = {part: _part(constants, given[part], side) for part in ("W", "R", "B") if given.get(part)}
        states = tuple(_state(array, side) for array in first)
        passes.append(Pass("onnx", kind, wide[2], square[2], parts, reset=reset, gates=activation, first=states))
    layer = _directed(name, passes, wide[0], settings)
    layer.problem = layer.problem or problem or _problem(settings, given)
    layer.problem = layer.problem or (None if first else _why_started(given, constants))
    if any(constants.start(given[state]) == "input" for state in ("h", "c") if given.get(state)):
        layer.notes.append(STARTS_FROM_INPUT)
    names = [given.get(state, "") for state in (("h", "c") if kind == "lstm" else ("h",))]
    if not first and any(name and constants.start(name) != "zero" for name in names):
        layer.starts = _starts(names, len(passes), constants)
    return layer


def _starts(names: list[str], sides: int, constants: Constants) -> tuple[tuple[str, int], ...]:
    """The tensors of the states that rows can bring, see `Layer`; one of an LSTM's two may be zero in the source."""
    shown = [name if name and constants.start(name) != "zero" else ZEROS for name in names]
    return tuple((name, side) for side in range(sides) for name in shown)


def read_float(constants: Constants, name: str) -> Float32:
    """A constant as float32.

    Raises:
        ImportRefusedError: its numbers aren't floats, or it can't be read.
    """
    found = constants.get(name)
    if found is None or found.dtype.kind != "f":
        raise ImportRefusedError(
            f"{name}: has {'nothing' if found is None else found.dtype} where float32 should be; it is quantized"
        )
    return as_float32(name, found)


def _part(constants: Constants, name: str, side: int) -> Array:
    """One direction of an array whose first axis is directions."""
    shape = constants.shape(name) or ()

    def read() -> Float32:
        return np.asarray(read_float(constants, name)[side])

    return Array(name, shape[1:], read)


def _directed(name: str, passes: list[Pass], count: int, settings: dict[str, Any]) -> Layer:
    direction = settings["direction"].s.decode("ascii", "replace") if "direction" in settings else "forward"
    if direction == "bidirectional" and count == 2:
        return Layer(name, passes[0], passes[1])
    if direction == "reverse" and count == 1:
        return Layer(name, None, passes[0])  # ONNX returns the outputs in the row's order
    if direction == "forward" and count == 1:
        return Layer(name, passes[0])
    stand_in = passes[0] if passes else Pass("onnx", "lstm", 1, 1, {})
    problem = f"its direction is {direction!r:.30} with weights for {count}; the file is damaged"
    return Layer(name, stand_in, problem=problem)


def _gates(kind: str, settings: dict[str, Any]) -> tuple[str, str | None]:
    """The activation of a node's gates, and the reason why its activations can't be imported, or None.

    HardSigmoid takes its two numbers from lists, in the order of the functions that have such numbers; no function
    that can be imported is another of these.
    """
    named = settings["activations"].strings if "activations" in settings else []
    names = [text.decode("ascii", "replace").lower() for text in named]
    alphas, betas = (
        iter(settings[name].floats if name in settings else []) for name in ("activation_alpha", "activation_beta")
    )
    found = set()
    # f for the gates, g for the candidate, and in an LSTM h for the state; then those of the other direction.
    step = 3 if kind == "LSTM" else 2
    for start in range(0, len(names), step):
        gates, *states = names[start : start + step]
        if gates == "hardsigmoid":
            slope, height = next(alphas, 0.2), next(betas, 0.5)
            known = [name for name, own in HARD_SLOPES.items() if np.isclose(slope, own, rtol=1e-6, atol=0)]
            if not known or height != 0.5:
                return "sigmoid", (
                    f"its gates are HardSigmoid with alpha {slope:g} and beta {height:g}; alpha 0.2 or 1/6 and beta "
                    "0.5 can be imported"
                )
            found.add(known[0])
            gates = "sigmoid"
        else:
            found.add("sigmoid")
        for state in states:
            if problem := activation_problem(state, gates):
                return "sigmoid", problem
    if len(found) > 1:
        return "sigmoid", f"its directions have different gates, {' and '.join(sorted(found))}; they must be the same"
    return found.pop() if found else "sigmoid", None


def _problem(settings: dict[str, Any], given: dict[str, str]) -> str | None:
    """The reason why a node can't be imported, or None."""
    if given.get("P"):
        return PEEPHOLES
    if "clip" in settings and settings["clip"].f:
        limit = settings["clip"].f
        return f"it clips what enters its gates at {limit:g}; only cells without clip can be imported: export it so"
    if "input_forget" in settings and settings["input_forget"].i:
        return "its input and forget gates are coupled; only cells with separate gates can be imported"
    return None


def _why_started(given: dict[str, str], constants: Constants) -> str | None:
    """The reason why first states that aren't constants for all rows can't be imported; None if they can."""
    if any(constants.start(given[state]) == "other" for state in ("h", "c") if given.get(state)):
        return STARTS_ELSEWHERE
    return None


def _first_states(
    kind: str, given: dict[str, str], settings: dict[str, Any], constants: Constants, shape: tuple[int, int, int]
) -> list[Float32]:
    """First states that are constants, each of this shape (directions, 1, units); empty if they are zeros or others."""
    names = [given.get(state, "") for state in (("h", "c") if kind == "lstm" else ("h",))]
    if all(not name or constants.start(name) != "other" for name in names):
        return []
    rows_first = "layout" in settings and settings["layout"].i == 1
    stored = (1, shape[0], shape[2]) if rows_first else shape
    made: list[Float32] = []
    for name in names:
        zero = not name or constants.start(name) == "zero"
        found = np.zeros(stored, np.float32) if zero else constant_state(constants, name, stored, int(not rows_first))
        if found is None:
            return []
        made.append(found.reshape(shape))
    return made


def _state(array: Float32, side: int) -> Array:
    return Array("first state", array.shape[2:], array[side, 0].copy)
