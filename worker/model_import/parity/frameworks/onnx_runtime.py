"""ONNX Runtime's LSTM and GRU with the arrays of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from unrolled.model.layer import HARD_SLOPES

if TYPE_CHECKING:
    from worker.model_import.found import Float32, Layer

_OPSET, _IR = 17, 8


def run(layer: Layer, inputs: Float32) -> Float32:
    """Run a layer, from (time, D) to (time, outputs); ONNX returns a backward pass in the row's order."""
    passes = layer.passes
    both = len(passes) > 1
    direction = "bidirectional" if both else "forward" if layer.forward is not None else "reverse"
    first = passes[0]
    arrays: dict[str, Float32] = {
        name: np.stack([one.parts[name].read() for one in passes]) for name in ("W", "R", "B") if name in first.parts
    }
    inputs_of_node = ["X", *(name if name in arrays else "" for name in ("W", "R", "B")), ""]
    for number, name in enumerate(("initial_h", "initial_c")[: len(first.first)]):
        arrays[name] = np.stack([one.first[number].read() for one in passes])[:, None]
        inputs_of_node.append(name)
    settings: dict[str, Any] = {"linear_before_reset": int(first.reset == "after")} if first.kind == "gru" else {}
    if first.gates != "sigmoid":
        settings["activations"] = (["HardSigmoid", "Tanh"] + ["Tanh"] * (first.kind == "lstm")) * len(passes)
        settings["activation_alpha"] = [HARD_SLOPES[first.gates]] * len(passes)
        settings["activation_beta"] = [0.5] * len(passes)
    node = helper.make_node(
        first.kind.upper(), inputs_of_node, ["Y"], hidden_size=first.units, direction=direction, **settings
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 1, first.inputs])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, len(passes), 1, first.units])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made = session.run(None, {"X": np.ascontiguousarray(inputs[:, None])})[0]  # (time, directions, 1, units)
    return np.asarray(made[:, :, 0], np.float32).reshape(len(inputs), -1)
