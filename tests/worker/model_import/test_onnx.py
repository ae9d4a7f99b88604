"""ONNX models: the outputs are those of ONNX Runtime for the whole file."""

from pathlib import Path

import numpy as np
import pytest
from support.imported import ROWS, assert_same, imported, padded, states_of

from worker.model_import.errors import ImportRefusedError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

MODELS = Path(__file__).parents[2] / "torch_models"


def build(path, kinds, **settings):
    """Gather, recurrent nodes with the operators that exporters add, and a head; the states are an output."""
    random = np.random.default_rng(7)
    tensors = {"table": random.normal(0, 0.8, (10, 4)).astype(np.float32)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"]),
        helper.make_node("Transpose", ["embedded"], ["x0"], perm=[1, 0, 2]),
    ]
    width = 4
    for number, (kind, units, direction) in enumerate(kinds):
        gates, sides = (4 if kind == "LSTM" else 3), (2 if direction == "bidirectional" else 1)
        shapes = {
            "W": (sides, gates * units, width),
            "R": (sides, gates * units, units),
            "B": (sides, 2 * gates * units),
        }
        tensors |= {
            f"{part}{number}": random.normal(0, 0.6, shape).astype(np.float32) for part, shape in shapes.items()
        }
        inputs = [f"x{number}", f"W{number}", f"R{number}", f"B{number}", "lengths"]
        more = settings if number == 0 else {}
        extra = more.pop("inputs", []) if "inputs" in more else []
        nodes += [
            helper.make_node(
                kind,
                [*inputs, *extra],
                [f"y{number}"],
                name=f"layer{number}",
                hidden_size=units,
                direction=direction,
                **more,
            ),
            helper.make_node("Transpose", [f"y{number}"], [f"t{number}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"t{number}", "flat"], [f"x{number + 1}"]),
        ]
        width = units * sides
    tensors |= {"flat": np.array([0, 0, -1], np.int64), "head": random.normal(size=(width, 2)).astype(np.float32)}
    nodes.append(helper.make_node("MatMul", [f"x{len(kinds)}", "head"], ["scores"], name="classifier"))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("scores", f"x{len(kinds)}")]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT32, ["batch", "time"])
    lengths = helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"])
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "tagger", [ids, lengths], outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return model


def own_states(path):
    """ONNX Runtime over the whole file, with the rows' lengths."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    lengths = np.array([len(row) for row in ROWS], np.int32)
    states = session.run(None, {"ids": padded(), "lengths": lengths})[1]  # (time, rows, outputs)
    return [states[: len(row), number] for number, row in enumerate(ROWS)]


CASES = [
    ([("LSTM", 5, "forward")], {}),
    ([("LSTM", 5, "forward"), ("LSTM", 3, "forward"), ("LSTM", 4, "forward")], {}),
    ([("LSTM", 5, "bidirectional"), ("LSTM", 3, "bidirectional")], {}),
    ([("LSTM", 5, "reverse")], {}),
    ([("GRU", 5, "forward")], {"linear_before_reset": 1}),
    ([("GRU", 5, "bidirectional"), ("LSTM", 3, "forward")], {"linear_before_reset": 0}),
]


@pytest.mark.parametrize(("kinds", "settings"), CASES)
def test_outputs_are_onnx_runtimes(kinds, settings, tmp_path):
    """All directions, and both resets of a GRU, for ragged rows."""
    build(tmp_path / "model.onnx", kinds, **settings)
    done = imported(tmp_path / "model.onnx", tmp_path / "model", ids_from=1)
    assert_same(own_states(tmp_path / "model.onnx"), states_of(done))
    assert done.made.left == ["classifier (MatMul)"]


@pytest.mark.parametrize("name", ["model", "model.bin", "model.pb", "model.keras"])
def test_a_file_with_another_name(name, tmp_path):
    """Its first bytes say what it is."""
    build(tmp_path / "model.onnx", [("LSTM", 5, "forward")])
    (tmp_path / "model.onnx").rename(tmp_path / name)
    assert_same(own_states(tmp_path / name), states_of(imported(tmp_path / name, tmp_path / "imported", ids_from=1)))


def test_what_pytorch_exports(tmp_path):
    """torch.onnx.export computes initial states from the batch size, and joins layers by Squeeze and Reshape."""
    done = imported(MODELS / "exported.onnx", tmp_path / "model")
    rows = [[3], [1, 2], [10, 4, 4, 0, 7], [5, 6, 7, 8, 9, 10, 1, 2, 3]]
    stored = np.load(MODELS / "expected.npz")
    expected = [stored[f"lstm3_bidirectional.{number}"] for number in range(len(rows))]
    assert_same(expected, states_of(done, rows, shift=1))


def test_what_pytorch_exports_for_packed_rows(tmp_path):
    """With enforce_sorted=False, the graph sorts rows by their lengths, and puts the states back into their order."""
    done = imported(MODELS / "packed.onnx", tmp_path / "model", parity=1e-5)
    assert done.parity.whole
    assert done.parity.padded.largest < 1e-6
    rows = [[3], [1, 2], [10, 4, 4, 0, 7], [5, 6, 7, 8, 9, 10, 1, 2, 3]]
    stored = np.load(MODELS / "expected.npz")
    assert_same([stored[f"gru1_bidirectional.{number}"] for number in range(len(rows))], states_of(done, rows, shift=1))


def test_arrays_in_other_files(tmp_path):
    """Large models have arrays in a file beside them; a file in another directory isn't read."""
    model = build(tmp_path / "plain.onnx", [("LSTM", 5, "forward")])
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.data", size_threshold=0)
    done = imported(tmp_path / "model.onnx", tmp_path / "model", ids_from=1)
    assert_same(own_states(tmp_path / "plain.onnx"), states_of(done))
    outside = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    for tensor in outside.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../secret.data"
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.data").write_bytes((tmp_path / "model.data").read_bytes())
    (tmp_path / "in" / "model.onnx").write_bytes(outside.SerializeToString())
    with pytest.raises(ImportRefusedError, match=r"can't be read"):
        imported(tmp_path / "in" / "model.onnx", tmp_path / "refused")
    (tmp_path / "model.data").unlink()
    with pytest.raises(
        ImportRefusedError, match=r"model\.data.*; the file with its numbers must be whole, no link, and"
    ):
        imported(tmp_path / "model.onnx", tmp_path / "refused")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"clip": 3.0}, r"layer0: it clips what enters its gates at 3; only cells without clip can be imported"),
        ({"input_forget": 1}, r"layer0: its input and forget gates are coupled"),
        (
            {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_alpha": [0.25]},
            r"its gates are HardSigmoid with alpha 0.25 and beta 0.5; alpha 0.2 or 1/6 and beta 0.5 can be imported",
        ),
        ({"activations": ["HardSigmoid", "Relu", "Tanh"]}, r"its activation is 'relu'; tanh can be imported"),
        (
            {"activations": ["Tanh", "Tanh", "Tanh"]},
            r"its recurrent_activation is 'tanh'; sigmoid and hard_sigmoid can",
        ),
        ({"activations": ["Sigmoid", "Relu", "Tanh"]}, r"its activation is 'relu'; tanh can be imported"),
        ({"inputs": ["", "", "flat"]}, r"layer0: it has peepholes"),
        ({"inputs": ["head"]}, r"layer0: it starts from another layer's state"),
    ],
)
def test_what_is_refused(settings, reason, tmp_path):
    """The error names each feature of ONNX's LSTM that can't be imported."""
    build(tmp_path / "model.onnx", [("LSTM", 5, "forward")], **settings)
    with pytest.raises(ImportRefusedError, match=reason):
        imported(tmp_path / "model.onnx", tmp_path / "model")


@pytest.mark.parametrize(
    ("kind", "direction", "settings", "gates"),
    [
        ("LSTM", "forward", {}, "hard_sigmoid"),
        (
            "LSTM",
            "bidirectional",
            {"activation_alpha": [1 / 6, 1 / 6], "activation_beta": [0.5]},
            "hard_sigmoid_keras3",
        ),
        ("GRU", "forward", {"activation_alpha": [0.2], "linear_before_reset": 1}, "hard_sigmoid"),
        ("GRU", "reverse", {"activation_alpha": [1 / 6]}, "hard_sigmoid_keras3"),
    ],
)
def test_hard_gates(kind, direction, settings, gates, tmp_path):
    """HardSigmoid with Keras's numbers or ONNX's defaults, for both directions."""
    sides = 2 if direction == "bidirectional" else 1
    names = ["HardSigmoid", "Tanh", "Tanh"] if kind == "LSTM" else ["HardSigmoid", "Tanh"]
    build(tmp_path / "model.onnx", [(kind, 5, direction)], activations=names * sides, **settings)
    done = imported(tmp_path / "model.onnx", tmp_path / "model", ids_from=1)
    assert done.model.config.layers[0].gates == gates
    assert_same(own_states(tmp_path / "model.onnx"), states_of(done))


def test_directions_with_different_gates_are_refused(tmp_path):
    """In this product, both directions of a layer have the same gates."""
    names = ["HardSigmoid", "Tanh", "Sigmoid", "Tanh"]
    build(tmp_path / "model.onnx", [("GRU", 5, "bidirectional")], activations=names)
    with pytest.raises(ImportRefusedError, match=r"different gates, hard_sigmoid and sigmoid; they must be the same"):
        imported(tmp_path / "model.onnx", tmp_path / "model")


def test_what_stands_between_is_refused(tmp_path):
    """An operator between embedding and LSTM can't be imported."""
    model = build(tmp_path / "model.onnx", [("LSTM", 5, "forward")])
    model.graph.node.insert(2, helper.make_node("CumSum", ["x0", "W"], ["squashed"], name="squash"))
    next(node for node in model.graph.node if node.op_type == "LSTM").input[0] = "squashed"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ImportRefusedError, match=r"layer0 reads squash \(CumSum\)"):
        imported(tmp_path / "model.onnx", tmp_path / "model")


def save_graph(path, nodes, **tensors):
    """A graph that no ONNX program would accept."""
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "hostile", [], [], stored)), path)


def test_constants_are_computed_once(tmp_path):
    """Sixty times, a Concat joins the last Concat with itself: there are 2^60 ways back to the beginning."""
    nodes = [helper.make_node("Concat", [f"c{k}", f"c{k}"], [f"c{k + 1}"], axis=0) for k in range(60)]
    lstm = helper.make_node("LSTM", ["c60", "W", "R", "", "", "c60"], ["y"], hidden_size=1)
    arrays = {"c0": np.zeros(0, np.float32), "W": np.ones((1, 4, 1), np.float32), "R": np.ones((1, 4, 1), np.float32)}
    save_graph(tmp_path / "model.onnx", [*nodes, lstm], **arrays)
    with pytest.raises(ImportRefusedError, match=r"LSTM_60 reads Concat_59 \(Concat\)"):
        imported(tmp_path / "model.onnx", tmp_path / "model")


def test_constants_that_grow_are_refused(tmp_path):
    """Forty doublings of 4 KiB would fill any memory; they are refused at eight times the stored bytes."""
    nodes = [helper.make_node("Concat", [f"c{k}", f"c{k}"], [f"c{k + 1}"], axis=0) for k in range(40)]
    save_graph(
        tmp_path / "model.onnx", [*nodes, helper.make_node("Relu", ["c40"], ["y"])], c0=np.zeros(1024, np.float32)
    )
    with pytest.raises(
        ImportRefusedError, match=r"the graph makes constants of .* more than 8 times their size; no model does"
    ):
        imported(tmp_path / "model.onnx", tmp_path / "model")


def test_sizes_and_ids_that_read_each_other_twice(tmp_path):
    """Shapes and ids that are computed by sums of the last sum with itself end in a refusal at once."""
    gather = helper.make_node("Gather", ["W", "m40"], ["x"])
    nodes = [helper.make_node("Mul", [f"m{k}", f"m{k}"], [f"m{k + 1}"]) for k in range(40)]
    reshape = [helper.make_node("Shape", ["x"], ["s0"]), helper.make_node("Reshape", ["x", "s40"], ["y"])]
    doubled = [helper.make_node("Concat", [f"s{k}", f"s{k}"], [f"s{k + 1}"], axis=0) for k in range(40)]
    lstm = helper.make_node("LSTM", ["y", "V", "R"], ["z"], hidden_size=1)
    ids = helper.make_tensor_value_info("m0", TensorProto.INT64, ["rows", "tokens"])
    arrays = {
        "W": np.ones((3, 1), np.float32),
        "V": np.ones((1, 4, 1), np.float32),
        "R": np.ones((1, 4, 1), np.float32),
    }
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([*nodes, gather, reshape[0], *doubled, reshape[1], lstm], "hostile", [ids], [], stored)
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(ImportRefusedError, match=r"W reads Mul_39 \(Mul\)|W reads m40 \(Mul\)"):
        imported(tmp_path / "model.onnx", tmp_path / "model")


@pytest.mark.parametrize(
    "operator",
    [
        *(
            "LSTM",
            "GRU",
            "Gather",
            "Concat",
            "Add",
            "DynamicQuantizeLSTM",
            "Squeeze",
            "TopK",
            "ScatterElements",
            "Where",
        ),
        *("Less", "Reshape", "Slice"),
    ],
)
@pytest.mark.parametrize(("inputs", "outputs"), [([], []), ([], ["y"]), (["W"], []), (["W", "W", "W"], ["y"])])
def test_nodes_without_inputs_or_outputs(operator, inputs, outputs, tmp_path):
    """With any number of inputs and outputs, and constants of any shape, there is a refusal, never a crash."""
    node = helper.make_node(operator, inputs, outputs)
    for shape in ((), (3,), (2, 2), (0, 4, 1), (5, 4, 1), (1, 4, 1), (1, 3, 1)):
        save_graph(tmp_path / "model.onnx", [node], W=np.ones(shape, np.float32))
        with pytest.raises(ImportRefusedError):
            imported(tmp_path / "model.onnx", tmp_path / "model")
