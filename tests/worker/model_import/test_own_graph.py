"""The comparison with the file's own computation sees what the import left out; it can find a difference."""

import json
import re

import numpy as np
import pytest
from support.imported import imported

from unrolled.errors import ModelError
from worker.model_import import assembly
from worker.model_import.errors import ImportRefusedError
from worker.model_import.parity.comparison import ROUNDINGS, _comparable
from worker.model_import.parity.frameworks import keras_graph, onnx_graph
from worker.model_import.readers.keras import layers as keras_reader
from worker.model_import.readers.onnx import file as onnx_reader
from worker.model_import.selection import by_graph

onnx = pytest.importorskip("onnx")
keras = pytest.importorskip("keras")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from support.onnx_graph import Graph  # noqa: E402

# Keras's variables warn with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def onnx_file(path, between="Tanh", settings=None):
    """An LSTM on an embedding, and an operator between."""
    random = np.random.default_rng(1)
    shapes = {"table": (10, 4), "W": (1, 20, 4), "R": (1, 20, 5)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"]),
        helper.make_node("Transpose", ["embedded"], ["turned"], perm=[1, 0, 2]),
        helper.make_node(between, ["turned"], ["x"], name="between", **(settings or {})),
        helper.make_node("LSTM", ["x", "W", "R"], ["states"], hidden_size=5, name="lstm"),
    ]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", "time"])],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(random.normal(0, 0.8, shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_an_operator_that_was_taken_for_nothing_shows_in_onnx(tmp_path, monkeypatch):
    """If the reader took Tanh for an operator that changes nothing, the import would fail, and write nothing."""
    pytest.importorskip("onnxruntime")
    onnx_file(tmp_path / "model.onnx")
    monkeypatch.setattr(onnx_reader, "THROUGH", {*onnx_reader.THROUGH, "Tanh"})
    monkeypatch.setattr(onnx_reader.AxesOfGraph, "_tanh", onnx_reader.AxesOfGraph._same, raising=False)
    with pytest.raises(ImportRefusedError, match=r"the file's graph in ONNX Runtime and plain .* differ by"):
        imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["rec", ""])
def test_a_layer_that_gives_its_last_state_alone_is_run(name, tmp_path):
    """Its first output isn't there, so that the graph knows it by its name, or by its number."""
    pytest.importorskip("onnxruntime")
    graph = Graph()
    graph.lstm(graph.time_first(graph.embed()), outputs=2)
    lstm = graph.nodes[-1]
    lstm.name, lstm.output[0], last = name, "", lstm.output[1]
    (tmp_path / "model.onnx").write_bytes(graph.model(last).SerializeToString())
    assert imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5).parity.whole


def test_a_mask_that_was_taken_for_nothing_shows_in_keras(tmp_path, monkeypatch):
    """If the reader overlooked that a mask hides id 3, the import would fail."""
    ids = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(10, 4)(ids)
    states = keras.layers.LSTM(5, return_sequences=True)(embedded, mask=keras.ops.not_equal(ids, 3))
    keras.Model(ids, states).save(tmp_path / "model.keras")
    monkeypatch.setattr(keras_reader, "hide_masked", lambda *_: None)
    with pytest.raises(ImportRefusedError, match=r"the file's graph in Keras and plain .* differ by"):
        imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5)


def test_padding_that_was_taken_for_masked_shows_in_keras(tmp_path, monkeypatch):
    """If the reader took a layer for masked whose mask a product drops, padded rows would show it."""
    ids = keras.Input((None,), dtype="int32")
    vectors = keras.layers.Embedding(10, 4, mask_zero=True)(ids) * 2.0
    states = keras.layers.Bidirectional(keras.layers.LSTM(5, return_sequences=True))(vectors)
    keras.Model(ids, states).save(tmp_path / "model.keras")
    monkeypatch.setattr(by_graph._Paths, "_is_masked", lambda *_: True)
    with pytest.raises(ImportRefusedError, match=r"in rows with padding, and not in rows without.*--unpadded"):
        imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5)
    assert imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5, unpadded=True).parity.whole


def test_lengths_that_were_taken_for_those_of_tokens_show_in_onnx(tmp_path):
    """Lengths that the graph makes longer than the rows are hide no padding, which padded rows show."""
    pytest.importorskip("onnxruntime")
    graph = Graph()
    graph.inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ("batch",)))
    longest = graph.add("Cast", graph.add("Gather", graph.add("Shape", "ids"), graph.constant([1])), to=6)
    lengths = graph.add("Max", "lengths", longest)
    x = graph.time_first(graph.embed())
    end = graph.lstm(x, sides=2, direction="bidirectional", more=(lengths,))
    (tmp_path / "model.onnx").write_bytes(graph.model(end).SerializeToString())
    with pytest.raises(ImportRefusedError, match=r"in rows with padding, and not in rows without"):
        imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)


def amplifying(path, length=None):
    """An LSTM whose weights are so large that rounding grows from token to token."""
    ids, layer = keras.Input((length,), dtype="int32"), keras.layers.LSTM(32, return_sequences=True)
    embedding = keras.layers.Embedding(50, 8)
    states = layer(embedding(ids))
    random = np.random.default_rng(1)
    embedding.set_weights([random.uniform(-0.05, 0.05, (50, 8))])
    layer.set_weights([random.normal(0, 3, array.shape) for array in layer.get_weights()])
    keras.Model(ids, states).save(path)


def test_rows_that_rounding_alone_changes_are_not_compared(tmp_path, monkeypatch):
    """A limit above all differences would call any model the same; what is left shows a wrong gate still."""
    amplifying(tmp_path / "model.keras")
    done = imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5)
    (missing,) = [text for text in done.parity.missing if "rounding" in text]
    assert re.fullmatch(
        r"rows of (8|13|21|34) tokens and more: float32's rounding can make .* \(\d\.\de[-+]\d\d\)", missing
    )
    assert done.parity.whole
    assert ROUNDINGS * done.parity.rounding < 0.5
    convert = assembly.convert

    def swapped(one):
        made = convert(one)
        return {**made, "bias": np.roll(made["bias"], one.units)}

    monkeypatch.setattr(assembly, "convert", swapped)
    with pytest.raises(ImportRefusedError, match=r"the file's graph in Keras and plain float64 arithmetic differ by"):
        imported(tmp_path / "model.keras", tmp_path / "other", parity=1e-5)


def test_a_graph_of_long_rows_alone_is_not_compared_either(tmp_path):
    """Then the layers are, on shorter rows, and nothing else is claimed."""
    amplifying(tmp_path / "model.keras", length=200)
    done = imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5, unpadded=True)
    assert not done.parity.whole
    assert {one.left for one in done.parity.comparisons} == {"Keras's layers"}
    assert any("it computes rows of 200 tokens alone: float32's rounding" in text for text in done.parity.missing)


def test_an_error_above_a_layer_that_amplifies_shows_in_short_rows(tmp_path, monkeypatch):
    """Each row has the limit of its own rounding, not of that in the longest row."""
    ids = keras.Input((None,), dtype="int32")
    low, top = (keras.layers.LSTM(units, return_sequences=True) for units in (16, 8))
    model = keras.Model(ids, top(low(keras.layers.Embedding(20, 8)(ids))))
    random = np.random.default_rng(0)
    scales = (1, 1, 3, 1, 0.3, 0.3, 0.3)
    model.set_weights(
        [random.normal(0, scale, array.shape) for scale, array in zip(scales, model.weights, strict=True)]
    )
    model.save(tmp_path / "model.keras")
    parity = imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5).parity
    assert ROUNDINGS * parity.rounding > 0.01
    convert = assembly.convert

    def changed(one):
        made = convert(one)
        return {**made, "bias": made["bias"] + np.float32(0.02) * (one.units == 8)}

    monkeypatch.setattr(assembly, "convert", changed)
    with pytest.raises(ImportRefusedError, match=r"the file's graph in Keras and plain float64 arithmetic differ by"):
        imported(tmp_path / "model.keras", tmp_path / "other", parity=1e-5)


def test_padded_rows_of_a_graph_of_long_rows_are_compared(tmp_path):
    """Their tokens are few, so rounding explains little in them, though all rows of the graph are long."""
    ids = keras.Input((200,), dtype="int32")
    layer = keras.layers.LSTM(32, return_sequences=True)
    states = layer(keras.layers.Embedding(50, 8, mask_zero=True)(ids))
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(0, 3, array.shape) for array in layer.get_weights()])
    keras.Model(ids, states).save(tmp_path / "model.keras")
    parity = imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5).parity
    assert (parity.whole, parity.padded is not None) == (False, True)
    assert any("it computes rows of 200 tokens alone" in text for text in parity.missing)


@pytest.mark.parametrize("quantized", [False, True])
def test_what_a_graph_of_long_rows_alone_would_have_to_prove_is_refused(quantized, tmp_path):
    """Lengths that the graph computes, of which the file shows too little; and vectors in 8 bits, which change more."""
    pytest.importorskip("onnxruntime")
    graph = Graph(shape=("batch", 34))
    graph.weights = lambda *shape: graph.constant(graph.random.normal(0, 3, shape), np.float32)
    x = graph.time_first(graph.embed())
    if quantized:
        end, match = graph.lstm(x, units=32), r"% of the outputs; rounding makes at most 10 %"
    else:
        graph.inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ("batch",)))
        shorter = graph.add("Min", "lengths", graph.constant([5], np.int32))
        end = graph.lstm(x, units=32, more=(shorter,))
        match = r"Only a run of the file's graph in ONNX Runtime can prove it.*rows of 34 tokens alone: float32's"
    onnx.save(graph.model(end), tmp_path / "model.onnx")
    if quantized:
        quantization = pytest.importorskip("onnxruntime.quantization")
        quantization.quantize_dynamic(tmp_path / "model.onnx", tmp_path / "model.onnx")
    with pytest.raises(ImportRefusedError, match=match):
        imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5, unpadded=True)


def test_without_a_row_to_compare_nothing_is_written():
    """If rounding changes even the shortest row; infinity is an error of its own, and what the bound allows is none."""
    exact = {0: np.full((1, 4), 0.5), 1: np.full((2, 4), 0.5)}
    assert _comparable(exact, {0: 1e-7, 1: 1e-3}, 0) == {0, 1}
    assert _comparable(exact, {0: 1e-7, 1: 5e-3}, 0) == {0}
    assert _comparable(exact, {0: 1e-7, 1: 5e-3}, 1) == {0, 1}
    assert _comparable(exact, {0: 1e-7, 1: float("nan")}, 0) == {0, 1}
    with pytest.raises(
        ModelError, match=r"rounding alone makes up to 1.0e-02 in the shortest row, so that no comparison"
    ):
        _comparable(exact, {0: 1e-2, 1: 1e-1}, 0)


def test_what_was_compared_is_reported(tmp_path):
    """The first of the two programs is the file's graph, where it can be run."""
    pytest.importorskip("onnxruntime")
    onnx_file(tmp_path / "model.onnx", "Identity")
    done = imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)
    assert {one.left for one in done.parity.comparisons} == {"the file's graph in ONNX Runtime"}


def test_doubts_need_a_run(tmp_path, monkeypatch):
    """What the file alone doesn't prove is refused where its graph can't be run."""
    model = crafted_reshape()
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(
        ImportRefusedError, match=r"doesn't show that it reads along the tokens.* leave out --no-parity"
    ):
        imported(tmp_path / "model.onnx", tmp_path / "model")
    monkeypatch.setattr("worker.model_import.parity.own_graph.find_spec", lambda _: None)
    with pytest.raises(ImportRefusedError, match=r"can prove it, and there is none: onnxruntime isn't installed"):
        imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)


def crafted_reshape():
    """A Reshape to sizes that the graph computes in a way that the import doesn't know."""
    random = np.random.default_rng(1)
    arrays = {"table": (10, 4), "W": (1, 20, 4), "R": (1, 20, 5)}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["embedded"]),
            helper.make_node("Shape", ["embedded"], ["sizes"]),
            helper.make_node("Abs", ["sizes"], ["same"]),
            helper.make_node("Reshape", ["embedded", "same"], ["x"]),
            helper.make_node("LSTM", ["x", "W", "R"], ["states"], hidden_size=5),
        ],
        "model",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["time", "rows"])],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name) for name, shape in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_graph_that_never_ends_is_given_up(tmp_path, monkeypatch):
    """ONNX Runtime runs in a process of its own, with a time limit."""
    pytest.importorskip("onnxruntime")
    onnx_file(tmp_path / "model.onnx", "Identity")
    monkeypatch.setattr(onnx_graph, "_SECONDS", 0)
    done = imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)
    assert any("took longer than 0 s" in text for text in done.parity.missing)


@pytest.mark.parametrize(
    "hostile",
    [
        {"module": "os", "class_name": "system", "config": {"command": "touch pwned"}},
        {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "4wAAAA=="}},
    ],
)
def test_nothing_of_a_strangers_is_rebuilt(hostile):
    """Initializers are left out, and an object of another package or with code is refused."""
    layer = {
        "class_name": "LSTM",
        "module": "keras.layers",
        "config": {"name": "lstm", "units": 5, "kernel_initializer": hostile, "anything": hostile},
    }
    plain = keras_graph._plain(layer, "lstm")
    assert not re.search(r"touch pwned|4wAAAA", json.dumps(plain))
    with pytest.raises(ImportRefusedError, match=r"package 'os'|has a (Lambda|__lambda__)"):
        keras_graph._known({"layers": [{**layer, "config": {"deep": [hostile]}}]})
    with pytest.raises(ImportRefusedError, match="isn't rebuilt here"):
        keras_graph._plain({"class_name": "Sequential", "config": {"name": "inner", "layers": [hostile]}}, "lstm")


def as_keras2(value):
    """A configuration in the words of Keras 2: no modules, other names, and calls as lists."""
    if isinstance(value, list):
        return [as_keras2(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    if value.get("class_name") == "__keras_tensor__":
        return [*value["config"]["keras_history"], {}]
    made = {name: as_keras2(part) for name, part in value.items()}
    for name in ("module", "registered_name", "build_config"):
        made.pop(name, None)
    if "batch_shape" in made:
        made["batch_input_shape"] = made.pop("batch_shape")
    if "inbound_nodes" in made:
        made["inbound_nodes"] = [[*node["args"]] for node in made["inbound_nodes"]]
    return made


def test_graphs_of_keras_2_are_run(tmp_path):
    """Its inputs have another argument for their shape, and layers within layers name no module."""
    h5py = pytest.importorskip("h5py")
    ids = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(10, 4, mask_zero=True)(ids)
    both = keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True))(embedded)
    model = keras.Model(ids, keras.layers.Dense(2)(both))
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file.attrs["model_config"] = json.dumps(as_keras2(json.loads(file.attrs["model_config"])))
        file.attrs["keras_version"] = "2.11.0"
    done = imported(tmp_path / "model.h5", tmp_path / "model", parity=1e-5)
    assert done.format == "Keras 2.11.0 model in HDF5"
    assert {one.left for one in done.parity.comparisons} == {"the file's graph in Keras"}
