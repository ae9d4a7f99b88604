"""ONNX files whose vectors are rounded to 8 bits: weights become the numbers that they mean."""

import logging
import re

import numpy as np
import pytest
from support.imported import ROWS, imported
from support.reference import layer_states

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: E402
from support.onnx_graph import Graph  # noqa: E402

from worker.model_import.errors import ImportRefusedError  # noqa: E402
from worker.model_import.parity import comparison  # noqa: E402


def quantized(path, graph, end, **settings):
    """Save a graph's model as `quantize_dynamic` quantizes it; returns the constants of that by name."""
    model = graph.model(end)
    onnx.save(model, path.with_suffix(".float.onnx"))
    logging.disable()  # it advises to pre-process the model
    quantize_dynamic(path.with_suffix(".float.onnx"), path, **settings)
    logging.disable(logging.NOTSET)
    made = onnx.load(path)
    return made, {one.name: onnx.numpy_helper.to_array(one) for one in made.graph.initializer}


def with_floats(model, arrays, graph, end):
    """The states of rows, by ONNX Runtime and the float model with the numbers that the integers mean."""
    number = iter(range(9))
    for node in model.graph.node:
        if node.op_type == "DynamicQuantizeLSTM":
            floats = [own for own in graph.nodes if own.op_type == "LSTM"][next(number)]
            for place, (scale, zero) in {1: (8, 9), 2: (10, 11)}.items():
                integers = arrays[node.input[place]].astype(np.float32)  # (directions, inputs, gates)
                shape = (len(integers), 1, -1)
                zeros = arrays[node.input[zero]].astype(np.float32).reshape(shape)
                made = (integers - zeros) * arrays[node.input[scale]].reshape(shape)
                graph.tensors[floats.input[place]] = made.transpose(0, 2, 1)
        if node.op_type == "DequantizeLinear":
            (name,) = (one for one in arrays if one.startswith("words") and arrays[one].ndim == 2)
            scale, zero = (arrays[one].astype(np.float32) for one in node.input[1:])
            graph.tensors["words"] = (arrays[name].astype(np.float32) - zero) * scale
    session = onnxruntime.InferenceSession(graph.model(end).SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, {"ids": np.array([row])})[0].reshape(len(row), -1) for row in ROWS]


def two_layers():
    graph = Graph()
    low = graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")
    joined = graph.add("Reshape", graph.add("Transpose", low, perm=[0, 2, 1, 3]), graph.constant([0, 0, -1]))
    return graph, graph.lstm(joined, 10, units=6)


@pytest.mark.parametrize(
    "settings", [{}, {"per_channel": True}, {"weight_type": QuantType.QUInt8}], ids=["int8", "per-channel", "uint8"]
)
def test_dynamically_quantized_lstms(settings, tmp_path):
    """The numbers that the integers mean, in float32; the file's own states are near, and by how much is told."""
    graph, end = two_layers()
    model, arrays = quantized(tmp_path / "model.onnx", graph, end, **settings)
    assert [node.op_type for node in model.graph.node].count("DynamicQuantizeLSTM") == 2
    done = imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)
    for row, wanted in zip(ROWS, with_floats(model, arrays, graph, end), strict=True):
        found = layer_states(done.model.config, done.model.weights(), np.array(row) + 1 - done.made.ids_from)[-1]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    parity = done.parity
    assert parity.rounded.left == "the file's graph in ONNX Runtime, which rounds vectors to 8 bits,"
    assert 1e-5 < parity.rounded.largest < 0.2
    assert 0 < parity.rounded_share < comparison.MOST_ROUNDED_SHARE / 2
    assert {one.left for one in parity.comparisons} == {"ONNX Runtime's layers"}
    assert any("8-bit integers" in note and "also rounds the vectors" in note for note in done.made.notes)


def test_a_graph_of_integers_that_is_read_wrongly_shows(tmp_path, monkeypatch):
    """A layer that is left out makes larger differences than rounding."""
    graph, end = two_layers()
    quantized(tmp_path / "model.onnx", graph, end)
    wrong = comparison.last_states
    monkeypatch.setattr(comparison, "last_states", lambda *given: np.roll(wrong(*given), 1, axis=1))
    with pytest.raises(ImportRefusedError, match=r"% of the outputs; rounding makes at most 10 %"):
        imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)
    assert not (tmp_path / "model").exists()


def test_vectors_that_the_graph_rounds(tmp_path):
    """A pair of QuantizeLinear and DequantizeLinear isn't computed, and that is told."""
    graph = Graph()
    x, pair = graph.time_first(graph.embed()), [graph.constant(0.02, np.float32), graph.constant(3, np.int8)]
    rounded = graph.add("DequantizeLinear", graph.add("QuantizeLinear", x, *pair), *pair)
    end = graph.lstm(rounded)
    onnx.save(graph.model(end), tmp_path / "model.onnx")
    done = imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)
    assert 1e-5 < done.parity.rounded.largest < 0.05
    graph.nodes = [node for node in graph.nodes if "Linear" not in node.op_type]
    graph.nodes[-1].input[0] = x
    session = onnxruntime.InferenceSession(graph.model(end).SerializeToString(), providers=["CPUExecutionProvider"])
    for row in ROWS:
        found = layer_states(done.model.config, done.model.weights(), np.array(row) + 1)[-1]
        wanted = session.run(None, {"ids": np.array([row])})[0].reshape(len(row), -1)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_the_row_of_padding_is_found_among_integers(tmp_path):
    """Row 0 is zero if its integers are the zero point."""
    graph = Graph()
    words = graph.random.integers(0, 256, (10, 4)).astype(np.uint8)
    words[0] = 7
    graph.tensors["words"] = words
    pair = [graph.constant(0.01, np.float32), graph.constant(7, np.uint8)]
    end = graph.lstm(graph.time_first(graph.add("DequantizeLinear", graph.add("Gather", "words", "ids"), *pair)))
    onnx.save(graph.model(end), tmp_path / "model.onnx")
    done = imported(tmp_path / "model.onnx", tmp_path / "model")
    assert (done.made.ids_from, done.made.ids_reason) == (1, "the embedding's row 0 is all zeros")
    assert any(re.search(r"8-bit integers.*in float32$", note) for note in done.made.notes)
