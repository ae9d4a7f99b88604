"""Crafted ONNX models: what ONNX Runtime computes, or a refusal with the reason."""

import numpy as np
import pytest
from support.crafted import RIGHT, Cases, assert_right, check, pad
from support.imported import imported
from support.reference import begun, layer_states
from support.skips import one_in

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from support.onnx_graph import Graph  # noqa: E402

CASES = Cases()
case = CASES.case
#: Of the source's ids, which count from 0.
ROWS = [[3], [1, 2], [9, 4, 4, 1, 7], [5, 6, 7, 8, 9, 1, 1, 2, 3]]


@case(suffix=".onnx")
def plain_model():
    graph = Graph()
    return graph, graph.lstm(graph.time_first(graph.embed()))


@case(suffix=".onnx")
def two_layers_and_a_head():
    graph = Graph()
    low = graph.flat(graph.lstm(graph.time_first(graph.embed()), units=6))
    end = graph.lstm(low, 6)
    graph.add("MatMul", end, graph.weights(5, 3))
    return graph, end


@case(suffix=".onnx")
def bidirectional_layers_joined_by_reshape():
    graph = Graph()
    low = graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")
    joined = graph.add("Reshape", graph.add("Transpose", low, perm=[0, 2, 1, 3]), graph.constant([0, 0, -1]))
    return graph, graph.lstm(joined, 10)


@case(suffix=".onnx")
def ids_with_tokens_first():
    graph = Graph(shape=("time", "batch"))
    return graph, graph.lstm(graph.embed())


@case(r"reads 'batch', so it seems to read along the rows of a batch", suffix=".onnx")
def tokens_taken_for_rows():
    graph = Graph(shape=("batch", "time"))
    return graph, graph.lstm(graph.embed())


@case(
    r"reads dropout\d+ \(Dropout\): it isn't known to be switched off.*export the model after model.eval\(\)",
    suffix=".onnx",
)
def dropout_that_is_switched_on():
    graph = Graph()
    dropped = graph.add("Dropout", graph.embed(), graph.constant(0.5, np.float32), graph.constant(1, np.bool_))
    return graph, graph.flat(graph.lstm(graph.time_first(dropped)))


@case(r"reads 'b', so it seems to read along the rows of a batch", suffix=".onnx")
def tokens_taken_for_rows_by_short_names():
    graph = Graph(shape=("b", "t"))
    return graph, graph.lstm(graph.embed())


@case(r"calls the other axis of the ids 'sequence', so it seems to read along the rows", suffix=".onnx")
def tokens_taken_for_rows_beside_a_named_axis():
    graph = Graph(shape=("axis", "sequence"))
    return graph, graph.lstm(graph.embed())


@case(r"has 1 place, and the other 9, so it seems to read along the rows", suffix=".onnx")
def tokens_taken_for_rows_in_fixed_rows():
    graph = Graph(shape=(1, 9))
    return graph, graph.lstm(graph.embed())


def single_row(graph):
    """An LSTM over ids that have no axis of rows."""
    return graph.lstm(graph.add("Unsqueeze", graph.embed(), graph.constant([1])))


@case(suffix=".onnx", parity=1e-5, run=True)
def ids_without_an_axis_of_rows():
    graph = Graph(shape=("time",))
    return graph, single_row(graph)


@case(r"reads rows of 9 tokens and doesn't mask padding.*--pad 9", then={"padding": pad(9)}, suffix=".onnx")
def ids_of_a_fixed_length_without_an_axis_of_rows():
    graph = Graph(shape=(9,))
    return graph, single_row(graph)


@case(r"reads rows of 9 tokens and doesn't mask padding.*--pad 9", then={"padding": pad(9)}, suffix=".onnx")
def ids_of_a_fixed_length_behind_an_initial_state():
    graph = Graph(shape=(1, 9))
    graph.inputs.insert(0, helper.make_tensor_value_info("h", TensorProto.FLOAT, (1, 1, 5)))
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", "h", "h"))


@case(suffix=".onnx", parity=1e-5, run=True)
def ids_behind_an_initial_state_of_two_directions():
    graph = Graph(shape=(1, "time"))
    graph.inputs.insert(0, helper.make_tensor_value_info("h", TensorProto.FLOAT, (2, 1, 5)))
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", "h", "h"), sides=2, direction="bidirectional")


@case(suffix=".onnx", parity=1e-5, run=True)
def negative_ids_counted_from_the_end_as_tf2onnx_writes_them():
    graph = Graph()
    later = graph.add("Add", "ids", graph.constant(10))
    below = graph.add("Less", graph.add("Cast", "ids", to=TensorProto.FLOAT), graph.constant(0, np.float32))
    kept = graph.add("Mul", "ids", graph.add("Cast", graph.add("Not", below), to=TensorProto.INT64))
    moved = graph.add("Mul", graph.add("Cast", below, to=TensorProto.INT64), later)
    return graph, graph.lstm(graph.time_first(graph.embed(graph.add("Add", moved, kept))))


@case(suffix=".onnx", parity=1e-5, run=True)
def negative_ids_counted_from_the_end_in_a_row_of_one_axis():
    graph = Graph(shape=("time",))
    below = graph.add("Greater", graph.constant([0]), "ids")
    ids = graph.add("Where", below, graph.add("Add", graph.constant(10), "ids"), "ids")
    return graph, graph.lstm(graph.add("Unsqueeze", graph.embed(ids), graph.constant([1])))


@case(r"words reads where.* \(Where\)", suffix=".onnx")
def small_ids_counted_from_the_end():
    graph = Graph()
    below = graph.add("Less", "ids", graph.constant(3))
    ids = graph.add("Where", below, graph.add("Add", "ids", graph.constant(5)), "ids")
    return graph, graph.lstm(graph.time_first(graph.embed(ids)))


@case(r"words reads where.* \(Where\)", suffix=".onnx")
def ids_of_another_input_in_the_place_of_negative_ones():
    graph = Graph()
    graph.inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ("batch", "time")))
    ids = graph.add("Where", graph.add("Less", "mask", graph.constant(0)), graph.constant(0), "ids")
    return graph, graph.lstm(graph.time_first(graph.embed(ids)))


@case(r"words reads slice.* \(Slice\)", suffix=".onnx")
def ids_reversed_before_the_embedding():
    graph = Graph()
    back = graph.add(
        "Slice", "ids", graph.constant([-1]), graph.constant([-(2**62)]), graph.constant([1]), graph.constant([-1])
    )
    return graph, graph.lstm(graph.time_first(graph.embed(back)))


@case(r"words reads add.* \(Add\)", suffix=".onnx")
def ids_shifted_before_the_embedding():
    graph = Graph()
    ids = graph.add("Mod", graph.add("Add", "ids", graph.constant(1)), graph.constant(10))
    graph.nodes[-1].op_type = "Min"  # ids + 1, at most 10
    graph.tensors[graph.nodes[-1].input[1]] = np.asarray(9, np.int64)
    ids = graph.nodes[0].output[0]
    rows = graph.embed(ids, rows=11)
    return graph, graph.lstm(graph.time_first(rows))


@case(r"words reads gather.* \(Gather\)", suffix=".onnx")
def ids_renumbered_by_a_table():
    graph = Graph()
    ids = graph.add("Gather", graph.constant(np.random.default_rng(3).permutation(10)), "ids")
    return graph, graph.lstm(graph.time_first(graph.embed(ids)))


@case(suffix=".onnx")
def ids_cast_before_the_embedding():
    graph = Graph(kind=TensorProto.FLOAT)
    ids = graph.add("Cast", "ids", to=TensorProto.INT64)
    return graph, graph.lstm(graph.time_first(graph.embed(ids)))


@case(r"words reads cast.* \(Cast\)", suffix=".onnx")
def ids_cast_to_fewer():
    graph = Graph()
    ids = graph.add("Cast", graph.add("Cast", "ids", to=TensorProto.BOOL), to=TensorProto.INT64)
    return graph, graph.lstm(graph.time_first(graph.embed(ids)))


@case(r"reads reverse.*ReverseSequence|reads .*\(Slice\)", suffix=".onnx")
def vectors_reversed_before_the_layer():
    graph = Graph()
    x = graph.time_first(graph.embed())
    back = graph.add(
        "Slice", x, graph.constant([-1]), graph.constant([-(2**62)]), graph.constant([0]), graph.constant([-1])
    )
    return graph, graph.lstm(back)


def turned(graph, x):
    """Vectors (time, batch, width) with each row turned around, as tf2onnx writes it."""
    shape = graph.add("Shape", x)
    time, batch = (
        graph.add("Slice", shape, graph.constant([at]), graph.constant([at + 1]), graph.constant([0])) for at in (0, 1)
    )
    return graph.add("ReverseSequence", x, graph.add("Expand", time, batch), time_axis=0, batch_axis=1)


TURNED = r"lstm\d+.* reads reversesequence\d+ \(ReverseSequence\): it turns rows around.*import the file"


@case(TURNED, suffix=".onnx")
def rows_turned_around_for_a_backward_layer():
    graph = Graph()
    x = graph.time_first(graph.embed())
    return graph, turned(graph, graph.flat(graph.lstm(turned(graph, x))))


@case(TURNED + r".*--layer lstm2", suffix=".onnx")
def rows_turned_around_for_half_of_a_bidirectional_layer():
    graph = Graph()
    x = graph.time_first(graph.embed())
    forward, backward = graph.flat(graph.lstm(x)), turned(graph, graph.flat(graph.lstm(turned(graph, x))))
    return graph, graph.add("Concat", forward, backward, axis=2)


@case(r"reads gather.* \(Gather\)|no embedding|contains", suffix=".onnx")
def gather_of_columns():
    graph = Graph()
    graph.tensors["columns"] = graph.random.normal(0, 0.8, (4, 10)).astype(np.float32)
    columns = graph.add("Gather", "columns", "ids", axis=1)  # (4, batch, time)
    return graph, graph.lstm(graph.add("Transpose", columns, perm=[2, 1, 0]))


@case(suffix=".onnx")
def linear_and_tanh_on_the_embedding():
    graph = Graph()
    x = graph.add("MatMul", graph.time_first(graph.embed()), graph.weights(4, 6))
    x = graph.add("Tanh", graph.add("Add", graph.weights(6), x))
    return graph, graph.lstm(x, inputs=6)


@case(suffix=".onnx")
def scale_and_normalization_on_the_embedding():
    graph = Graph()
    x = graph.add("Mul", graph.embed(), graph.constant(2.5, np.float32))
    x = graph.add("LayerNormalization", x, graph.weights(4), graph.weights(4), axis=-1, epsilon=0.01)
    x = graph.add("Div", graph.add("Sub", graph.constant([1.5], np.float32), x), graph.weights(1, 1, 4))
    return graph, graph.lstm(graph.time_first(graph.add("Sigmoid", x)))


@case(r"reads add.* \(Add\)", suffix=".onnx")
def positions_that_are_constants():
    graph = Graph(shape=("batch", 9))
    x = graph.add("Add", graph.embed(), graph.weights(9, 4))
    return graph, graph.lstm(graph.time_first(x))


@case(r"reads matmul.* \(MatMul\)", suffix=".onnx")
def matmul_along_the_tokens():
    graph = Graph(shape=("batch", 4))
    x = graph.add("Transpose", graph.embed(), perm=[0, 2, 1])
    x = graph.add("Transpose", graph.add("MatMul", x, graph.weights(4, 4)), perm=[2, 0, 1])
    return graph, graph.lstm(x)


@case(suffix=".onnx", parity=1e-5)
def functions_on_the_embedding():
    graph = Graph(opset=18)
    x = graph.add("LeakyRelu", graph.embed(), alpha=0.2)
    x = graph.add("Elu", graph.add("MatMul", x, graph.weights(4, 4)), alpha=0.5)
    x = graph.add("Selu", graph.add("HardSigmoid", x, alpha=0.3, beta=0.4))
    x = graph.add("Mish", graph.add("HardSwish", graph.add("Exp", x)))
    x = graph.add("Softmax", graph.add("Celu", x), axis=-1)
    return graph, graph.lstm(graph.time_first(x))


@case(suffix=".onnx", parity=1e-5)
def functions_with_numbers_that_are_constants():
    graph = Graph()
    slopes = graph.constant([0.1, 0.2, -0.3, 0.4], np.float32)
    x = graph.add("PRelu", graph.add("PRelu", graph.embed(), slopes), graph.constant([0.25], np.float32))
    x = graph.add("Clip", x, graph.constant(-0.5, np.float32), graph.constant(0.7, np.float32))
    x = graph.add("Clip", graph.add("MatMul", x, graph.weights(4, 4)), graph.constant(-1, np.float32))
    x = graph.add("Clip", graph.add("LogSoftmax", x), "", graph.constant(-0.01, np.float32))
    return graph, graph.lstm(graph.time_first(graph.add("Softmax", x)))


@case(suffix=".onnx", parity=1e-5)
def clip_and_softmax_of_old_opsets():
    graph = Graph(opset=10)
    x = graph.add("Clip", graph.embed(), min=-0.5, max=0.5)
    return graph, graph.lstm(graph.time_first(graph.add("LogSoftmax", x, axis=2)))


@case(r"reads .* \(Softmax\)", suffix=".onnx")
def softmax_of_tokens_and_numbers_as_old_opsets_have_it():
    graph = Graph(opset=12)
    return graph, graph.lstm(graph.time_first(graph.add("Softmax", graph.embed())))


@case(r"reads .* \(PRelu\)", suffix=".onnx")
def slopes_of_channels_as_old_opsets_have_them():
    graph = Graph(opset=6)
    return graph, graph.lstm(graph.time_first(graph.add("PRelu", graph.embed(), graph.weights(4))))


@case(r"reads .* \(PRelu\)", suffix=".onnx")
def slopes_of_tokens():
    graph = Graph(shape=("batch", 4))
    return graph, graph.lstm(graph.time_first(graph.add("PRelu", graph.embed(), graph.weights(4, 1))))


@case(suffix=".onnx", parity=1e-5)
def convolution_of_width_1_and_a_batch_normalization():
    graph = Graph()
    x = graph.add("Transpose", graph.embed(), perm=[0, 2, 1])
    x = graph.add("Conv", x, graph.weights(6, 4, 1), graph.weights(6), kernel_shape=[1])
    variance = graph.constant(np.arange(1, 7) / 4, np.float32)
    x = graph.add("BatchNormalization", x, graph.weights(6), graph.weights(6), graph.weights(6), variance)
    return graph, graph.lstm(graph.add("Transpose", graph.add("Relu", x), perm=[2, 0, 1]), inputs=6)


@case(suffix=".onnx", parity=1e-5)
def convolution_of_width_1_between_two_layers():
    graph = Graph()
    low = graph.flat(graph.lstm(graph.time_first(graph.embed())))
    x = graph.add("Conv", graph.add("Transpose", low, perm=[1, 2, 0]), graph.weights(3, 5, 1))
    return graph, graph.lstm(graph.add("Transpose", graph.add("Tanh", x), perm=[2, 0, 1]), inputs=3)


@case(r"\(Conv\): the file doesn't show that its channels, the second axis of what it reads", suffix=".onnx")
def convolution_whose_channels_are_tokens():
    graph = Graph(shape=("batch", 4))
    return graph, graph.lstm(graph.time_first(graph.add("Conv", graph.embed(), graph.weights(4, 4, 1))))


@case(r"\(Gelu\): it has another approximate than the function that can be imported", suffix=".onnx")
def gelu_that_is_approximate():
    graph = Graph(opset=20)
    return graph, graph.lstm(graph.time_first(graph.add("Gelu", graph.embed(), approximate="tanh")))


@case(r"\(Softmax\): it doesn't read the numbers of a token's vector, along the last axis", suffix=".onnx")
def softmax_over_tokens():
    graph = Graph()
    return graph, graph.lstm(graph.time_first(graph.add("Softmax", graph.embed(), axis=1)))


@case(r"\(Conv\): its kernel is \(6, 4, 3\)", suffix=".onnx")
def convolution_of_three_tokens():
    graph = Graph()
    x = graph.add("Transpose", graph.embed(), perm=[0, 2, 1])
    x = graph.add("Conv", x, graph.weights(6, 4, 3), pads=[1, 1])
    return graph, graph.lstm(graph.add("Transpose", x, perm=[2, 0, 1]), inputs=6)


@case(r"reads .* \(BatchNormalization\)", suffix=".onnx")
def batch_normalization_of_tokens_in_the_place_of_numbers():
    graph = Graph(shape=("batch", 4))
    scales = [graph.weights(4), graph.weights(4), graph.weights(4), graph.constant([1, 2, 3, 4], np.float32)]
    return graph, graph.lstm(graph.time_first(graph.add("BatchNormalization", graph.embed(), *scales)))


@case(r"reads .* \(Softmax\)", suffix=".onnx")
def softmax_along_the_tokens():
    graph = Graph()
    return graph, graph.lstm(graph.time_first(graph.add("Softmax", graph.embed(), axis=1)))


@case(r"\(Mul\): both of its inputs are computed", suffix=".onnx")
def function_made_of_several_operators():
    graph = Graph()
    x = graph.embed()
    x = graph.add("Mul", x, graph.add("Sigmoid", x))
    return graph, graph.lstm(graph.time_first(graph.add("MatMul", x, graph.weights(4, 4))))


@case(r"another axis", suffix=".onnx")
def second_layer_that_reads_along_rows():
    graph = Graph()
    low = graph.flat(graph.lstm(graph.time_first(graph.embed())))
    return graph, graph.lstm(graph.time_first(low), 5)


@case(r"can't be proven|doesn't show|differ", suffix=".onnx")
def reshape_in_the_place_of_a_transpose():
    graph = Graph()
    x = graph.embed()
    shape = graph.add("Gather", graph.add("Shape", x), graph.constant([1, 0, 2]))
    return graph, graph.lstm(graph.add("Reshape", x, shape))


@case(suffix=".onnx", parity=1e-5)
def reshape_that_computes_the_shape_it_has():
    graph = Graph()
    x = graph.time_first(graph.embed())
    return graph, graph.lstm(graph.add("Reshape", x, graph.add("Shape", x)))


def joined(graph, low, places=(0, 1), factors=(2, 3)):
    """What PyTorch's exporter makes of (time, directions, rows, units), with the sizes of its own shape."""
    turned = graph.add("Transpose", low, perm=[0, 2, 1, 3])
    shape = graph.add("Shape", turned)
    size = {one: graph.add("Slice", shape, graph.constant([one]), graph.constant([one + 1])) for one in range(4)}
    product = graph.add("Reshape", graph.add("Mul", *(size[one] for one in factors)), graph.constant([-1]))
    return graph.add("Reshape", turned, graph.add("Concat", *(size[one] for one in places), product, axis=0))


@case(suffix=".onnx", parity=1e-5)
def norm_above_directions_that_are_joined_by_computed_sizes():
    graph = Graph()
    low = graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")
    x = graph.add("LayerNormalization", joined(graph, low), graph.weights(10), graph.weights(10), axis=-1)
    return graph, graph.lstm(graph.add("Relu", x), 10)


@case(suffix=".onnx")
def directions_that_are_joined_by_computed_sizes():
    graph = Graph()
    low = graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")
    return graph, graph.lstm(joined(graph, low), 10)


@case(r"doesn't show that it reads along the tokens", suffix=".onnx")
def computed_sizes_that_exchange_axes():
    graph = Graph()
    return graph, graph.lstm(joined(graph, graph.lstm(graph.time_first(graph.embed())), places=(1, 0)), 5)


@case(r"doesn't show that it reads along the tokens", suffix=".onnx")
def computed_sizes_of_another_tensor():
    graph = Graph()
    x = graph.embed()
    return graph, graph.lstm(graph.add("Reshape", x, graph.add("Shape", graph.time_first(x))))


@case(r"LayerNormalization.*only dropout|differ", suffix=".onnx", parity=1e-5)
def norm_above_computed_sizes_that_exchange_axes():
    graph = Graph()
    low = joined(graph, graph.lstm(graph.time_first(graph.embed())), places=(1, 0))
    x = graph.add("LayerNormalization", low, graph.weights(5), graph.weights(5), axis=-1)
    return graph, graph.lstm(x, 5)


@case(r"differ", suffix=".onnx", parity=1e-5)
def reshape_that_mixes_axes_and_is_run():
    graph = Graph()
    x = graph.embed()
    shape = graph.add("Gather", graph.add("Shape", x), graph.constant([1, 0, 2]))
    return graph, graph.lstm(graph.add("Reshape", x, shape))


@case(r"differ|doesn't show", suffix=".onnx", parity=1e-5)
def reshape_of_directions_without_transpose():
    graph = Graph()
    low = graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")
    shape = graph.add(
        "Concat",
        graph.add(
            "Slice",
            graph.add("Shape", graph.time_first(graph.embed(name="again"))),
            graph.constant([0]),
            graph.constant([2]),
        ),
        graph.constant([-1]),
        axis=0,
    )
    return graph, graph.lstm(graph.add("Reshape", low, shape), 10)


def with_state(graph, *, path):
    """An LSTM whose first state is an input of the model, over some operators."""
    graph.inputs.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, (2, 1, 5)))
    state = path(graph)
    return graph.lstm(graph.time_first(graph.embed()), more=("", state, state))


@case(suffix=".onnx")
def first_state_that_is_an_input_over_a_slice():
    graph = Graph(shape=(1, "time"))
    end = with_state(graph, path=lambda g: g.add("Slice", "h", g.constant([0]), g.constant([1]), g.constant([0])))
    return graph, end


@case(suffix=".onnx", initial_states=True, parity=1e-5)
def initial_states_of_two_directions_that_are_inputs():
    graph = Graph(shape=("batch", "time"))
    for name in ("h", "c"):
        graph.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, "batch", 5)))
    x = graph.time_first(graph.embed())
    return graph, graph.lstm(x, more=("", "h", "c"), sides=2, direction="bidirectional")


@case(suffix=".onnx", parity=1e-5)
def first_state_that_is_learned():
    graph = Graph(shape=(1, "time"))
    state = graph.weights(1, 1, 5)
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", state, state))


@case(suffix=".onnx", parity=1e-5)
def first_states_that_are_learned_and_repeated_for_each_row():
    graph = Graph()
    rows = graph.add("Slice", graph.add("Shape", "ids"), graph.constant([0]), graph.constant([1]))
    shape = graph.add("Concat", graph.constant([2]), rows, graph.constant([5]), axis=0)
    states = [graph.add("Expand", graph.weights(2, 1, 5), shape) for _ in range(2)]
    x = graph.time_first(graph.embed())
    return graph, graph.lstm(x, sides=2, direction="bidirectional", more=("", *states))


@case(suffix=".onnx", parity=1e-5)
def first_state_that_is_learned_beside_a_cell_of_zeros():
    graph = Graph(shape=(1, "time"))
    state, cell = graph.weights(1, 1, 5), graph.constant(np.zeros((1, 1, 5)), np.float32)
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", state, cell))


def sizes(graph, *parts):
    """A shape: numbers, and "rows" for the size of the batch."""
    rows = graph.add("Gather", graph.add("Shape", "ids"), graph.constant([0]))
    return graph.add("Concat", *(rows if one == "rows" else graph.constant([one]) for one in parts), axis=0)


@case(suffix=".onnx", parity=1e-5)
def first_states_filled_with_a_number():
    graph = Graph()
    shape = sizes(graph, 1, "rows", 5)
    states = [
        graph.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([one], np.float32)))
        for one in (0.5, -0.25)
    ]
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", *states))


@case(suffix=".onnx", parity=1e-5)
def first_states_of_two_layers_that_are_cut_from_one():
    graph = Graph()
    state = graph.add("Expand", graph.weights(2, 1, 5), sizes(graph, 2, "rows", 5))
    cuts = [
        graph.add("Slice", state, graph.constant([one]), graph.constant([one + 1]), graph.constant([0]))
        for one in (0, 1)
    ]
    low = graph.flat(graph.lstm(graph.time_first(graph.embed()), more=("", cuts[0], cuts[0])))
    return graph, graph.lstm(low, 5, more=("", cuts[1], cuts[1]))


@case(suffix=".onnx", parity=1e-5)
def first_states_of_two_directions_that_are_repeated_and_joined():
    graph = Graph()
    state = graph.add("Tile", graph.weights(2, 1, 5), sizes(graph, 1, "rows", 1))
    cut, other = graph.add("Split", state, graph.constant([1, 1]), outputs=2, axis=0), f"split{len(graph.nodes) - 1}_1"
    number = graph.add("Expand", graph.constant(0.5, np.float32), sizes(graph, 1, "rows", 5))
    states = [graph.add("Concat", *pair, axis=0) for pair in ((cut, other), (other, number))]
    x = graph.time_first(graph.embed())
    return graph, graph.lstm(x, sides=2, direction="bidirectional", more=("", *states))


def number_of_rows(graph):
    """The size of the batch, as PyTorch's first exporter computes it."""
    return graph.add(
        "Unsqueeze", graph.add("Gather", graph.add("Shape", "ids"), graph.constant(0)), graph.constant([0])
    )


def expanded(graph, state, *parts):
    """PyTorch's expand, whose first exporter puts 1 in the place of -1."""
    rows = number_of_rows(graph)
    shape = graph.add("Concat", *(rows if one == "rows" else graph.constant([one]) for one in parts), axis=0)
    shape = graph.add("Reshape", shape, graph.constant([-1]))
    ones = graph.add("ConstantOfShape", graph.add("Shape", shape), value=numpy_helper.from_array(np.array([1])))
    lacks = graph.add("Equal", shape, graph.add("Mul", ones, graph.constant(-1)))
    return graph.add("Expand", state, graph.add("Where", lacks, ones, shape))


@case(suffix=".onnx", parity=1e-5)
def first_states_that_are_expanded_to_a_number_of_rows():
    """As the first exporter writes expand(-1, len(rows), -1)."""
    graph = Graph()
    shape = graph.constant([-1, 1, -1])
    ones = graph.add("ConstantOfShape", graph.constant([3]), value=numpy_helper.from_array(np.array([1])))
    lacks = graph.add("Equal", shape, graph.add("Mul", ones, graph.constant(-1)))
    sizes = graph.add("Where", lacks, ones, shape)
    states = [graph.add("Expand", graph.weights(1, 1, 5), sizes) for _ in range(2)]
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", *states))


@case(suffix=".onnx", parity=1e-5)
def first_states_of_the_first_exporter_that_are_expanded():
    graph = Graph()
    states = expanded(graph, graph.weights(1, 1, 5), 1, "rows", 5), expanded(graph, graph.weights(5), -1, "rows", -1)
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", *states))


@case(suffix=".onnx", parity=1e-5)
def first_states_of_the_first_exporter_for_a_single_row():
    graph = Graph(shape=(1, "time"))
    states = [expanded(graph, graph.weights(2, 1, 5), 2, "rows", 5) for _ in range(2)]
    x = graph.time_first(graph.embed())
    return graph, graph.lstm(x, sides=2, direction="bidirectional", more=("", *states))


@case(suffix=".onnx", parity=1e-5)
def first_states_of_the_first_exporter_that_are_repeated():
    graph = Graph()

    def repeated():
        times = [
            graph.add("Concat", graph.constant([1]), number_of_rows(graph), graph.constant([1]), axis=0)
            for _ in range(2)
        ]
        ones = graph.add("ConstantOfShape", graph.add("Shape", times[0]), value=numpy_helper.from_array(np.array([1])))
        return graph.add("Tile", graph.add("Expand", graph.weights(1, 1, 5), ones), times[1])

    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", repeated(), repeated()))


@case(suffix=".onnx", parity=1e-5)
def first_states_of_the_first_exporter_that_an_embedding_has():
    graph = Graph()
    shape = graph.add("Concat", number_of_rows(graph), axis=0)
    states = [
        graph.add(
            "Unsqueeze",
            graph.add(
                "Gather",
                graph.weights(size, 5),
                graph.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([size - 1]))),
            ),
            graph.constant([0]),
        )
        for size in (1, 3)
    ]
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", *states))


@case(r"starts from another layer's state", suffix=".onnx")
def first_state_that_depends_on_the_first_id():
    graph = Graph()
    first = graph.add("Gather", "ids", graph.constant(0), axis=1)
    state = graph.add("Unsqueeze", graph.add("Gather", graph.weights(10, 5), first), graph.constant([0]))
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", state, state))


@case(r"starts from another layer's state", suffix=".onnx")
def first_states_that_are_cut_from_repeated_directions():
    graph = Graph(shape=(1, "time"))
    state = graph.add("Tile", graph.weights(2, 1, 5), graph.constant([2, 1, 1]))
    cut = graph.add("Slice", state, graph.constant([1]), graph.constant([3]), graph.constant([0]))
    x = graph.time_first(graph.embed())
    return graph, graph.lstm(x, sides=2, direction="bidirectional", more=("", cut, cut))


@case(suffix=".onnx", parity=1e-5)
def first_state_that_is_one_constant_for_each_of_two_rows():
    graph = Graph(shape=(2, "time"))
    state = graph.constant(np.repeat(graph.random.normal(0, 1, (1, 1, 5)), 2, axis=1), np.float32)
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", state, state))


@case(r"starts from another layer's state", suffix=".onnx")
def first_state_of_another_shape():
    graph = Graph(shape=(2, "time"))
    state = graph.weights(1, 2, 5)
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("", state, state))


@case(r"starts from another layer's state", suffix=".onnx")
def first_state_that_is_an_input_plus_a_learned_one():
    graph = Graph(shape=(1, "time"))
    end = with_state(
        graph, path=lambda g: g.add("Add", g.add("Slice", "h", g.constant([0]), g.constant([1])), g.weights(1, 1, 5))
    )
    return graph, end


@case(r"decoder: it starts from another layer's state.*--layer encoder", {"layers": ("encoder",)}, suffix=".onnx")
def decoder_that_starts_from_a_state():
    graph = Graph()
    x = graph.time_first(graph.embed())
    encoder = graph.lstm(x, outputs=3, name="encoder")
    graph.lstm(x, more=("", "encoder_1", "encoder_2"), name="decoder")
    return graph, encoder


@case(suffix=".onnx", parity=1e-5)
def matmul_between_two_layers():
    graph = Graph()
    low = graph.flat(graph.lstm(graph.time_first(graph.embed())))
    return graph, graph.lstm(graph.add("MatMul", low, graph.weights(5, 5)), 5)


@case(suffix=".onnx", parity=1e-5)
def linear_modules_and_a_norm_between_two_layers():
    graph = Graph()
    low = graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")
    low = graph.add("Reshape", graph.add("Transpose", low, perm=[0, 2, 1, 3]), graph.constant([0, 0, -1]))
    made = graph.add("Relu", graph.add("Add", graph.add("MatMul", low, graph.weights(10, 7)), graph.weights(7)))
    made = graph.add("LayerNormalization", made, graph.weights(7), graph.weights(7), axis=-1, epsilon=1e-3)
    made = graph.add("Sub", graph.constant(2.0, np.float32), graph.add("Mul", made, graph.weights(7)))
    return graph, graph.lstm(made, 7)


@case(suffix=".onnx", parity=1e-5, top="sum")
def sums_above_the_last_layer():
    graph = Graph()
    x = graph.time_first(graph.embed())
    low = graph.flat(graph.lstm(x, units=6))
    wide = graph.add("Add", low, graph.flat(graph.lstm(low, 6, 6)))
    made = graph.add("Tanh", graph.add("MatMul", wide, graph.weights(6, 4)))
    return graph, graph.add("Add", x, made, name="sum")


@case(suffix=".onnx", parity=1e-5, top="end")
def tokens_first_and_a_map_above_the_last_layer():
    graph = Graph(shape=("time", "batch"))
    low = graph.flat(graph.lstm(graph.embed()))
    return graph, graph.add("Add", graph.add("MatMul", low, graph.weights(5, 3)), graph.weights(3), name="end")


@case(suffix=".onnx", parity=1e-5, top="end")
def tokens_first_and_a_function_above_the_last_layer():
    graph = Graph(shape=("time", "batch"))
    return graph, graph.add("Relu", graph.flat(graph.lstm(graph.embed())), name="end")


@case(r"lstm\d+ isn't the last.*--layer", suffix=".onnx")
def quotient_of_a_constant_and_a_vector_between_two_layers():
    graph = Graph()
    low = graph.flat(graph.lstm(graph.time_first(graph.embed())))
    return graph, graph.lstm(graph.add("Div", graph.constant(1.0, np.float32), low), 5)


@case(r"lstm\d+ isn't the last.*--layer", suffix=".onnx")
def numbers_of_each_place_between_two_layers():
    graph = Graph(shape=(1, 9))
    low = graph.flat(graph.lstm(graph.time_first(graph.embed())))
    return graph, graph.lstm(graph.add("Mul", low, graph.weights(9, 1, 5)), 5)


def loop(graph, start):
    """A Loop that goes on with a tensor."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["going"]), helper.make_node("Tanh", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    return graph.add("Loop", graph.constant(3), graph.constant(1, bool), start, body=body)


@case(r"lstm\d+ isn't the last.*\(Loop\)", suffix=".onnx")
def loop_above_a_bidirectional_layer():
    graph = Graph()
    return graph, loop(graph, graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional"))


@case(r"no operator LSTM or GRU, but \w+ \(Loop\) computes step by step.*exported from", suffix=".onnx")
def loop_in_the_place_of_a_layer():
    graph = Graph()
    return graph, loop(graph, graph.time_first(graph.embed()))


@case(r"no operator LSTM or GRU. A layer that is written as other operations.*state dict", suffix=".onnx")
def cell_that_is_written_as_other_operations():
    graph = Graph()
    return graph, graph.add("Tanh", graph.add("MatMul", graph.time_first(graph.embed()), graph.weights(4, 5)))


@case(r"lstm\d+ isn't the last.*\(RNN\)", suffix=".onnx")
def plain_rnn_on_top():
    graph = Graph()
    low = graph.flat(graph.lstm(graph.time_first(graph.embed())))
    return graph, graph.add("RNN", low, graph.weights(1, 3, 5), graph.weights(1, 3, 3), hidden_size=3)


@case(r"lstm\d+ isn't the last.*--layer", suffix=".onnx")
def last_state_repeated_for_a_second_layer():
    graph = Graph()
    low = graph.lstm(graph.time_first(graph.embed()), outputs=2)
    again = graph.add("Expand", f"{low}_1", graph.constant([3, 1, 5]))
    return graph, graph.lstm(again, 5)


@case(r"its LSTM is inside if\d+ \(If\)", suffix=".onnx")
def lstm_within_an_if():
    graph = Graph()
    x = graph.time_first(graph.embed())
    w, r = graph.weights(1, 20, 4), graph.weights(1, 20, 5)
    branches = [
        helper.make_graph(
            [helper.make_node("LSTM", [x, w, r], [f"y{k}"], hidden_size=5)],
            f"branch{k}",
            [],
            [helper.make_tensor_value_info(f"y{k}", TensorProto.FLOAT, None)],
        )
        for k in (0, 1)
    ]
    return graph, graph.add("If", graph.constant(1, bool), then_branch=branches[0], else_branch=branches[1])


@case(r"its LSTM is inside .*\(Encoder\).*inline", suffix=".onnx")
def lstm_within_a_function():
    graph = Graph()
    x = graph.time_first(graph.embed())
    inner = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=5)
    graph.functions = [
        helper.make_function("own", "Encoder", ["x", "w", "r"], ["y"], [inner], [helper.make_opsetid("", 17)])
    ]
    return graph, graph.add("Encoder", x, graph.weights(1, 20, 4), graph.weights(1, 20, 5), domain="own")


@case(r"reads identity\d+ \(Identity\)", suffix=".onnx")
def operator_of_another_domain_with_a_known_name():
    graph = Graph()
    x = graph.time_first(graph.embed())
    inner = helper.make_node("Neg", ["x"], ["y"])
    graph.functions = [helper.make_function("own", "Identity", ["x"], ["y"], [inner], [helper.make_opsetid("", 17)])]
    return graph, graph.lstm(graph.add("Identity", x, domain="own"))


@case(suffix=".onnx")
def one_hot_in_the_graph():
    graph = Graph()
    x = graph.add("OneHot", "ids", graph.constant(10), graph.constant([0, 1], np.float32))
    return graph, graph.lstm(graph.time_first(x), 10)


@case(suffix=".onnx", run=True)
def one_hot_by_comparison():
    graph = Graph()
    x = graph.add("Equal", graph.add("Unsqueeze", "ids", graph.constant([-1])), graph.constant([*range(10)]))
    x = graph.add("Cast", graph.add("Cast", x, to=TensorProto.INT64), to=TensorProto.FLOAT)
    return graph, graph.lstm(graph.time_first(x), 10)


@case(suffix=".onnx", run=True)
def one_hot_by_comparison_in_bytes():
    graph = Graph()
    x = graph.add("Equal", graph.add("Unsqueeze", "ids", graph.constant([-1])), graph.constant([*range(10)]))
    x = graph.add("Cast", graph.add("Cast", x, to=TensorProto.UINT8), to=TensorProto.FLOAT)
    return graph, graph.lstm(graph.time_first(x), 10)


@case(r"reads equal\d+ \(Equal\)", suffix=".onnx")
def one_hot_by_comparison_with_other_numbers():
    graph = Graph()
    x = graph.add("Equal", graph.add("Unsqueeze", "ids", graph.constant([-1])), graph.constant([*range(1, 11)]))
    return graph, graph.lstm(graph.time_first(graph.add("Cast", x, to=TensorProto.FLOAT)), 10)


@case(
    r"the file contradicts itself.* initial_h of a layer has 7 numbers, and its states have 5\.",
    suffix=".onnx",
    parity=1e-5,
)
def states_of_another_width_than_the_layers():
    graph = Graph()
    x = graph.time_first(graph.embed())
    states = [graph.add("Expand", graph.constant(0.0, np.float32), graph.constant([1, 1, size])) for size in (7, 7)]
    return graph, graph.lstm(x, more=("", *states))


@case(suffix=".onnx", parity=1e-5, run=True)
def one_hot_ids_times_a_matrix():
    graph = Graph()
    x = graph.add("OneHot", "ids", graph.constant(10), graph.constant([0, 1], np.float32))
    x = graph.add("Add", graph.add("MatMul", x, graph.weights(10, 4)), graph.weights(4))
    return graph, graph.lstm(graph.time_first(graph.add("Tanh", x)))


@case(padding=pad(9), suffix=".onnx", parity=1e-5)
def padded_one_hot_ids_times_a_matrix():
    graph = Graph(shape=(1, 9))
    x = graph.add("OneHot", "ids", graph.constant(10), graph.constant([0, 1], np.float32))
    x = graph.time_first(graph.add("MatMul", x, graph.weights(10, 4)))
    return graph, graph.lstm(x, sides=2, direction="bidirectional")


@case(r"\(Mul\): it changes vectors.*the first change of one-hot vectors must be a product", suffix=".onnx")
def one_hot_ids_times_a_number():
    graph = Graph()
    x = graph.add("OneHot", "ids", graph.constant(10), graph.constant([0, 1], np.float32))
    return graph, graph.lstm(graph.time_first(graph.add("Mul", x, graph.constant(2, np.float32))), 10)


@case(r"--vectors; if they are ids as one-hot vectors: --one-hot", then={"one_hot": True}, suffix=".onnx")
def one_hot_vectors_times_a_matrix():
    graph = Graph(shape=("time", "batch", 10), kind=TensorProto.FLOAT)
    return graph, graph.lstm(graph.add("MatMul", "ids", graph.weights(10, 4)))


@case(suffix=".onnx", parity=1e-5)
def vectors_that_are_negated():
    graph = Graph()
    return graph, graph.lstm(graph.add("Neg", graph.time_first(graph.embed())))


@case(r"its weights are computed from constants by mul\d+ \(Mul\).*ORT_ENABLE_BASIC", suffix=".onnx")
def weights_that_the_graph_computes():
    graph = Graph()
    w = graph.add("Mul", graph.weights(1, 20, 4), graph.constant(2.0, np.float32))
    return graph, graph.add("LSTM", graph.time_first(graph.embed()), w, graph.weights(1, 20, 5), hidden_size=5)


@case(r"\(Gather\): its table is computed from constants by mul\d+ \(Mul\).*ORT_ENABLE_BASIC", suffix=".onnx")
def embedding_that_the_graph_computes():
    graph = Graph()
    table = graph.add("Mul", graph.weights(10, 4), graph.constant(2.0, np.float32))
    return graph, graph.lstm(graph.time_first(graph.add("Gather", table, "ids")))


@case(r"computes padding like a token", then={"unpadded": True, "parity": 1e-5}, suffix=".onnx")
def lengths_of_whole_rows_hide_no_padding():
    graph = Graph(shape=(1, 9))
    return graph, graph.lstm(graph.time_first(graph.embed()), more=(graph.constant([9], np.int32),))


@case(suffix=".onnx", parity=1e-5)
def weights_stored_in_float16_and_cast():
    graph = Graph()
    x = graph.add(
        "Cast", graph.add("Gather", graph.constant(graph.random.normal(0, 1, (10, 4)), np.float16), "ids"), to=1
    )
    weights = [
        graph.add("Cast", graph.constant(graph.random.normal(0, 1, shape), np.float16), to=1)
        for shape in ((1, 20, 4), (1, 20, 5), (1, 40))
    ]
    return graph, graph.add("LSTM", graph.time_first(x), *weights, hidden_size=5)


@case(r"words reads cast\d+ \(Cast\)", suffix=".onnx")
def ids_cast_to_float16_and_back():
    graph = Graph()
    ids = graph.add("Cast", graph.add("Cast", "ids", to=TensorProto.FLOAT16), to=TensorProto.INT64)
    return graph, graph.lstm(graph.time_first(graph.embed(ids)))


@case(r"reads onehot\d+ \(OneHot\)", suffix=".onnx")
def one_hot_with_other_numbers():
    graph = Graph()
    x = graph.add("OneHot", "ids", graph.constant(10), graph.constant([-1, 1], np.float32))
    return graph, graph.lstm(graph.time_first(x), 10)


@case(r"reads the model's input, vectors 13 wide.*--one-hot", then={"vectors": True}, suffix=".onnx")
def features_of_audio():
    graph = Graph(shape=("time", "batch", 13), kind=TensorProto.FLOAT)
    return graph, graph.lstm("ids", 13)


@case(r"--unpadded", then={"unpadded": True}, suffix=".onnx")
def padding_that_the_source_computes():
    graph = Graph(shape=(1, 9))
    return graph, graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")


@case(r"--pad 9 if after", then={"padding": pad(9), "parity": 1e-5}, suffix=".onnx")
def padded_after_the_tokens():
    graph = Graph(shape=(1, 9))
    return graph, graph.lstm(graph.time_first(graph.embed()), sides=2, direction="bidirectional")


@case(padding=pad(9, "before"), ids_from=1, suffix=".onnx")
def padded_before_the_tokens_with_an_id_that_is_no_token():
    graph = Graph(shape=(1, 9))
    return graph, graph.lstm(graph.time_first(graph.embed()))


@case(r"with --ids-from 1 the row of id 0 isn't imported", padding=pad(9), ids_from=1, suffix=".onnx")
def padded_with_a_one_hot_vector_that_is_left_out():
    graph = Graph(shape=(1, 9))
    x = graph.add("OneHot", "ids", graph.constant(10), graph.constant([0, 1], np.float32))
    return graph, graph.lstm(graph.time_first(x), 10)


@case(r"--pad 9: the source masks padding", padding=pad(9), suffix=".onnx")
def padded_though_it_has_lengths():
    graph = Graph(shape=(1, 9))
    graph.inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, (1,)))
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("lengths",))


@case(suffix=".onnx")
def fixed_length_with_lengths():
    graph = Graph(shape=(1, 9))
    graph.inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, (1,)))
    return graph, graph.lstm(graph.time_first(graph.embed()), more=("lengths",))


def counted(graph, differ, axis=1):
    """Lengths that the graph counts from truths or numbers."""
    total = graph.add("ReduceSum", graph.add("Cast", differ, to=TensorProto.INT64), graph.constant([axis]), keepdims=0)
    return graph.add("Cast", total, to=TensorProto.INT32)


@case(suffix=".onnx", parity=1e-5, run=True)
def lengths_counted_from_the_ids():
    graph = Graph(shape=("batch", 9))
    lengths = counted(graph, graph.add("Not", graph.add("Equal", "ids", graph.constant(0))))
    x = graph.time_first(graph.embed())
    return graph, graph.lstm(x, sides=2, direction="bidirectional", more=(lengths,))


@case(r"--ids-from 0: the source counts only ids other than 0", suffix=".onnx", ids_from=0)
def lengths_counted_from_the_ids_though_0_is_called_a_token():
    graph = Graph()
    return graph, graph.lstm(graph.time_first(graph.embed()), more=(counted(graph, graph.add("Sign", "ids")),))


@case(suffix=".onnx", parity=1e-5)
def lengths_counted_along_the_first_axis():
    graph = Graph(shape=("time", "batch"))
    truths = graph.add("LessOrEqual", graph.constant(1), "ids")
    ones = graph.add("Where", truths, graph.constant(1.0, np.float32), graph.constant(0.0, np.float32))
    return graph, graph.lstm(graph.embed(), more=(counted(graph, ones, 0),))


@case(r"counts the ids of a row that aren't 7.*lengths of rows as an input", suffix=".onnx", parity=1e-5)
def lengths_counted_without_an_id_that_is_not_0():
    graph = Graph()
    lengths = counted(graph, graph.add("Not", graph.add("Equal", "ids", graph.constant(7))))
    return graph, graph.lstm(graph.time_first(graph.embed()), more=(lengths,))


@case(r"computes the lengths of rows \(export it with the lengths as an input", suffix=".onnx", parity=1e-5)
def lengths_counted_along_the_rows():
    graph = Graph()
    lengths = counted(graph, graph.add("Not", graph.add("Equal", "ids", graph.constant(0))), 0)
    shape = graph.add("Slice", graph.add("Shape", "ids"), graph.constant([0]), graph.constant([1]))
    lengths = graph.add("Expand", graph.add("Slice", lengths, graph.constant([0]), graph.constant([1])), shape)
    return graph, graph.lstm(graph.time_first(graph.embed()), more=(lengths,))


@case(suffix=".onnx", parity=1e-5)
def lengths_summed_from_a_mask_that_is_an_input():
    graph = Graph()
    graph.inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ("batch", "time")))
    return graph, graph.lstm(graph.time_first(graph.embed()), more=(counted(graph, "mask"),))


@case(r"differ.*the probable reason: .*computes the lengths", suffix=".onnx", parity=1e-5)
def lengths_that_the_model_computes():
    graph = Graph()
    real = graph.add("Cast", graph.add("Greater", "ids", graph.constant(3)), to=TensorProto.INT32)
    lengths = graph.add("ReduceSum", real, graph.constant([1]), keepdims=0)
    return graph, graph.lstm(graph.time_first(graph.embed()), more=(lengths,))


def packed(graph, lengths="lengths", *, sort_rows=True, sort_lengths=True, axis=0):
    """What PyTorch exports for pack_padded_sequence without sorted rows: the rows, lengths, and the way back."""
    graph.inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT64, ("batch",)))
    count = graph.add("Shape", "lengths")
    values = graph.add("TopK", "lengths", count, outputs=2, axis=-1, largest=1)
    order = graph.add("Cast", f"{values}_1", to=TensorProto.INT64)
    number = graph.add("ReduceProd", graph.add("Shape", order), keepdims=0)
    numbers = graph.add("Range", graph.constant(0), number, graph.constant(1))
    zeros = graph.add("ConstantOfShape", graph.add("Shape", order), value=numpy_helper.from_array(np.array([0])))
    back = graph.add("ScatterElements", zeros, order, numbers, axis=0)
    x = graph.embed()
    rows = graph.add("Gather", x, order, axis=axis) if sort_rows else x
    return graph.time_first(rows), graph.add("Cast", values if sort_lengths else lengths, to=TensorProto.INT32), back


def packed_again(graph, low, back, units=5):
    """A second pack_padded_sequence of the rows that the first one put back."""
    rows = graph.add("Gather", graph.time_first(graph.flat(low)), back, axis=0)
    values = graph.add("TopK", "lengths", graph.add("Shape", "lengths"), outputs=2, axis=-1)
    rows = graph.time_first(graph.add("Gather", rows, graph.add("Cast", f"{values}_1", to=TensorProto.INT64), axis=0))
    return graph.lstm(rows, units, more=(graph.add("Cast", values, to=TensorProto.INT32),))


@case(suffix=".onnx", parity=1e-5, run=True)
def rows_sorted_by_their_lengths():
    graph = Graph()
    x, lengths, _ = packed(graph)
    return graph, graph.lstm(x, more=(lengths,), sides=2, direction="bidirectional")


@case(suffix=".onnx", parity=1e-5, run=True)
def rows_sorted_again_for_a_second_layer():
    graph = Graph()
    x, lengths, back = packed(graph)
    return graph, packed_again(graph, graph.lstm(x, more=(lengths,)), back)


@case(r"puts rows into another order.*enforce_sorted=True", suffix=".onnx", parity=1e-5)
def rows_sorted_beside_lengths_that_are_not():
    graph = Graph()
    x, lengths, _ = packed(graph, sort_lengths=False)
    return graph, graph.lstm(x, more=(lengths,))


@case(r"puts rows into another order.*enforce_sorted=True", suffix=".onnx", parity=1e-5)
def rows_that_are_not_sorted_beside_lengths_that_are():
    graph = Graph()
    x, lengths, _ = packed(graph, sort_rows=False)
    return graph, graph.lstm(x, more=(lengths,))


@case(r"puts rows into another order.*enforce_sorted=True", suffix=".onnx", parity=1e-5)
def tokens_sorted_in_the_place_of_rows():
    graph = Graph()
    x, lengths, _ = packed(graph, axis=1)
    return graph, graph.lstm(x, more=(lengths,))


@case(r"puts rows into another order.*enforce_sorted=True", suffix=".onnx", parity=1e-5)
def rows_that_are_sorted_twice():
    graph = Graph()
    x, lengths, _ = packed(graph)
    low = graph.time_first(graph.flat(graph.lstm(x, more=(lengths,))))
    again = graph.add("Gather", low, graph.nodes[2].output[0], axis=0)
    return graph, graph.lstm(graph.time_first(again), 5, more=(lengths,))


@case(r"isn't the last recurrent layer|puts rows into another order", suffix=".onnx", parity=1e-5)
def rows_that_are_put_back_for_a_layer_with_sorted_lengths():
    graph = Graph()
    x, lengths, back = packed(graph)
    low = graph.add("Gather", graph.time_first(graph.flat(graph.lstm(x, more=(lengths,)))), back, axis=0)
    return graph, graph.lstm(graph.time_first(low), 5, more=(lengths,))


@case(r"reads add\d+ \(Add\)", suffix=".onnx")
def positions_that_are_added():
    graph = Graph(shape=(1, 9))
    places = graph.weights(1, 9, 4)
    x = graph.add("Add", graph.embed(), places)
    return graph, graph.lstm(graph.time_first(x))


@case(suffix=".onnx", parity=1e-5)
def weights_that_are_stored_as_integers():
    graph = Graph()
    x = graph.time_first(graph.add("Gather", graph.integers(10, 4, kind=np.uint8), "ids"))
    weights = [graph.integers(2, 20, 4, axis=1), graph.integers(2, 20, 5, kind=np.uint8), graph.weights(2, 40)]
    return graph, graph.add("LSTM", x, *weights, hidden_size=5, direction="bidirectional")


@case(suffix=".onnx", parity=1e-5)
def integers_of_an_embedding_that_are_gathered():
    graph = Graph()
    graph.tensors |= {"words": graph.random.integers(0, 256, (10, 4)).astype(np.uint8)}
    scale, zero = graph.constant(0.01, np.float32), graph.constant(100, np.uint8)
    x = graph.add(
        "DequantizeLinear", graph.add("Transpose", graph.add("Gather", "words", "ids"), perm=[1, 0, 2]), scale, zero
    )
    return graph, graph.lstm(graph.add("MatMul", x, graph.integers(4, 6, axis=1)), inputs=6)


@case(suffix=".onnx", parity=1e-5)
def weights_of_a_gru_that_are_stored_as_integers_and_moved():
    graph = Graph()
    x = graph.time_first(graph.embed())
    w = graph.add("Unsqueeze", graph.add("Transpose", graph.integers(4, 15), perm=[1, 0]), graph.constant([0]))
    return graph, graph.add("GRU", x, w, graph.integers(1, 15, 5), hidden_size=5)


@case(r"reads dequantizelinear\d+ \(DequantizeLinear\)", suffix=".onnx")
def vectors_that_are_rounded_with_one_scale_and_read_with_another():
    graph = Graph()
    x, zero = graph.time_first(graph.embed()), graph.constant(0, np.int8)
    integers = graph.add("QuantizeLinear", x, graph.constant(0.02, np.float32), zero)
    return graph, graph.lstm(graph.add("DequantizeLinear", integers, graph.constant(0.03, np.float32), zero))


@case(r"words: has int8 where float32 should be|quantized", suffix=".onnx")
def integers_of_an_embedding_without_a_scale():
    graph = Graph()
    graph.tensors["words"] = graph.random.integers(-128, 128, (10, 4)).astype(np.int8)
    return graph, graph.lstm(
        graph.time_first(graph.add("Cast", graph.add("Gather", "words", "ids"), to=TensorProto.FLOAT))
    )


@case(r"its weights are not constants of the file", suffix=".onnx")
def quantized_operator_without_scales():
    graph = Graph()
    low = graph.lstm(graph.time_first(graph.embed()))
    graph.nodes[-1].op_type = "DynamicQuantizeLSTM"
    graph.nodes[-1].domain = "com.microsoft"
    return graph, low


def write(case, directory):
    graph, end = case.make()
    model = graph.model(end)
    source = directory / f"model{case.suffix}"
    onnx.save(model, source)

    def own(row, given_states=None):
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        given = np.asarray(row)
        one = next(one for one in session.get_inputs() if one.name == "ids")
        if given.ndim > 1:
            ids = given[:, None]
        elif len(one.shape) == 3:
            ids = np.eye(one.shape[-1], dtype=np.float32)[given][:, None]
        else:
            rows = one.shape[0] if isinstance(one.shape[0], int) else 1
            missing = one.shape[-1] - len(row) if isinstance(one.shape[-1], int) else 0  # padding that lengths hide
            ids = np.pad(given, (0, missing))
            if len(one.shape) > 1:
                ids = ids[:, None] if one.shape[0] == "time" else ids[None].repeat(rows, axis=0)
        feeds = {one.name: ids.astype({"tensor(int64)": np.int64}.get(one.type, np.float32))}
        for other in session.get_inputs():
            if other is one:
                continue
            kind = np.int64 if other.type == "tensor(int64)" else np.int32
            known = {"lengths": np.array([len(row)], kind), "mask": np.ones((1, len(row)), np.int64)}
            if given_states is not None:  # (directions, h or c, units)
                known |= dict(zip("hc", given_states.reshape(-1, 2, 1, 5).swapaxes(0, 1), strict=True))
            feeds[other.name] = known[other.name] if other.name in known else np.zeros(other.shape, np.float32)
        states = session.run(None, feeds)[0]  # (time, directions, rows, units)
        return (states[:, :, 0] if states.ndim == 4 else states).reshape(len(states), -1)[: len(row)]

    return source, case.padded(own)


@pytest.mark.parametrize("case", one_in(2, CASES.parameters))
def test_onnx_graphs(case, tmp_path):
    """Each model's outcome."""
    source, own = write(case, tmp_path)
    whole = case.padding is None and ("padding" in case.name or "fixed" in case.name)
    rows = ROWS[-1:] if whole else ROWS
    check(case, source, own, tmp_path, rows)


def test_vectors_cast_to_float16_are_near(tmp_path):
    """The cast rounds vectors, so the graph's outputs are near those of float32 and not the same."""
    graph = Graph()
    half = graph.add("Cast", graph.time_first(graph.embed()), to=TensorProto.FLOAT16)
    end = graph.lstm(graph.add("Cast", half, to=TensorProto.FLOAT))
    source = tmp_path / "model.onnx"
    source.write_bytes(graph.model(end).SerializeToString())
    done = imported(source, tmp_path / "model", parity=1e-5)
    assert done.parity.rounded.left == "the file's graph in ONNX Runtime, which computes in float16,"
    assert 1e-5 < done.parity.rounded.largest < 1e-2
    assert any("the source computes in float16" in note for note in done.made.notes)


@pytest.mark.parametrize("name", ["weights_that_the_graph_computes", "embedding_that_the_graph_computes"])
def test_the_way_out_for_arrays_that_the_graph_computes(tmp_path, name):
    """ONNX Runtime writes a file with the computed arrays, which can be imported."""
    case = next(one for one in CASES if one.name == name)
    source, own = write(case, tmp_path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    assert_right(tmp_path / "folded.onnx", own, tmp_path / "model", ROWS, {"parity": 1e-5})


def test_initializers_that_are_listed_as_inputs(tmp_path):
    """Old files list them among the inputs, in any order; they are neither ids nor the lengths of rows."""
    graph = Graph()
    model = graph.model(graph.lstm(graph.time_first(graph.embed())))
    given = [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in model.graph.initializer]
    given += model.graph.input
    del model.graph.input[:]
    model.graph.input.extend(given)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5).parity.whole


@pytest.mark.parametrize(("shape", "layer"), [(("x", "y"), lambda g: g.lstm(g.embed())), (("x",), single_row)])
def test_ids_with_tokens_first_are_noted(tmp_path, shape, layer):
    """Without names of axes, nothing shows a model that was exported with its axes exchanged; a row alone has one."""
    graph = Graph(shape=shape)
    (tmp_path / "model.onnx").write_bytes(graph.model(layer(graph)).SerializeToString())
    notes = imported(tmp_path / "model.onnx", tmp_path / "model").made.notes
    assert any("the source's input is (tokens, rows)" in note for note in notes) == (len(shape) == 2)


def test_the_note_about_first_states(tmp_path):
    """The error names a first state that is an input of the model, whatever is in between."""
    found = next(one for one in CASES if one.name == "first_state_that_is_an_input_over_a_slice")
    source, _ = write(found, tmp_path)
    notes = imported(source, tmp_path / "model").made.notes
    assert any("its initial state is an input of the model" in note for note in notes)
    brought = imported(source, tmp_path / "brought", initial_states=True, parity=1e-5)
    assert not any("initial state" in note for note in brought.made.notes)
    assert (brought.parity.whole, brought.parity.missing) == (True, [])
    found = next(one for one in CASES if one.name == "initial_states_of_two_directions_that_are_inputs")
    source, _ = write(found, tmp_path)
    done = imported(source, tmp_path / "direct", initial_states=True, parity=1e-5)
    assert done.parity.whole


def test_a_state_that_a_layer_below_makes(tmp_path):
    """The graph is run from the state on, though the layer that makes it is run, too; its own states are zero."""
    graph = Graph()
    x = graph.time_first(graph.embed())
    made = graph.lstm(x, outputs=3)
    upper = graph.lstm(graph.add("Squeeze", made, graph.constant([1])), 5, more=("", f"{made}_1", f"{made}_2"))
    (tmp_path / "model.onnx").write_bytes(graph.model(upper).SerializeToString())
    done = imported(tmp_path / "model.onnx", tmp_path / "model", initial_states=True, parity=1e-5)
    assert (done.parity.whole, done.parity.missing) == (True, [])


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize(("given", "other"), [("h", ""), ("c", ""), ("h", "zeros"), ("c", "zeros")])
def test_one_of_two_initial_states_is_an_input(tmp_path, given, other, sides):
    """The other one starts from zero, as ONNX says and as ONNX Runtime computes it."""
    graph = Graph(shape=("batch", "time"))
    graph.inputs.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, (sides, "batch", 5)))
    zeros = graph.add("ConstantOfShape", sizes(graph, sides, "rows", 5)) if other else ""
    states = {"h": zeros, "c": zeros, given: given}
    direction = "bidirectional" if sides == 2 else "forward"
    x = graph.time_first(graph.embed())
    end = graph.lstm(x, more=("", *states.values()), sides=sides, direction=direction)
    model = graph.model(end)
    source = tmp_path / "model.onnx"
    source.write_bytes(model.SerializeToString())
    plain = imported(source, tmp_path / "plain").made
    assert any("its initial state is an input of the model" in note for note in plain.notes)
    done = imported(source, tmp_path / "model", initial_states=True, parity=1e-5)
    config = done.model.config
    assert done.parity.whole
    assert config.given_dim == sides * 10
    told = next(one for one in done.made.taken if one.startswith("initial states"))
    assert told.count("zero in the source") == told.count(f"from {given}") == sides
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for row in ROWS:
        drawn = graph.random.normal(0, 0.6, (sides, 1, 5)).astype(np.float32)
        begins = np.zeros((sides, 2, 5), np.float32)
        begins[:, "hc".index(given)] = drawn[:, 0]
        states = session.run(None, {"ids": np.array([row]), given: drawn})[0]
        weights = begun(config, done.model.weights(), begins.ravel())
        found = layer_states(config, weights, np.array(row) + 1 - done.made.ids_from)[-1]
        np.testing.assert_allclose(found, states[:, :, 0].reshape(len(row), -1), rtol=0, atol=1e-5)


def test_nodes_that_join_states_are_named(tmp_path):
    """A sum above the last layer that isn't taken is left out, and the note says that the vectors are those before."""
    graph = Graph()
    vectors = graph.time_first(graph.embed(width=5))
    low = graph.flat(graph.lstm(vectors, 5, name="low"))
    top = graph.flat(graph.lstm(low, 5, name="top"))
    sums = graph.add("Add", low, top, name="sums")
    end = graph.add("Mul", graph.add("MatMul", sums, graph.weights(5, 5)), top, name="product")
    source = tmp_path / "model.onnx"
    source.write_bytes(graph.model(end).SerializeToString())
    made = imported(source, tmp_path / "model").made
    assert {"sums (Add)", "product (Mul)"} <= set(made.left)
    assert any("the vectors are those of top, before" in note and "sums (Add)" in note for note in made.notes)


def test_one_slope_for_all_channels_of_an_old_opset(tmp_path):
    """Its axis doesn't matter; ONNX Runtime has no such operator, so a newer one says what is right."""
    found = []
    for opset in (6, 17):
        graph = Graph(opset=opset)
        x = graph.add("PRelu", graph.embed(), graph.constant([0.25], np.float32))
        (tmp_path / "model.onnx").write_bytes(graph.model(graph.lstm(graph.time_first(x))).SerializeToString())
        found.append(imported(tmp_path / "model.onnx", tmp_path / f"{opset}").model.fingerprint)
    assert found[0] == found[1]


def test_some_are_right():
    """A reader that refuses everything would pass most of these tests."""
    assert sum(one.outcome == RIGHT or one.then is not None for one in CASES) >= 10


def test_an_initial_state_of_any_width_is_no_contradiction(tmp_path):
    """The file doesn't say how wide it is, so what is given for it may not fit."""
    graph = Graph()
    graph.inputs.insert(0, helper.make_tensor_value_info("h", TensorProto.FLOAT, (1, "batch", "hidden")))
    output = graph.lstm(graph.time_first(graph.embed()), more=("", "h", "h"))
    (tmp_path / "model.onnx").write_bytes(graph.model(output).SerializeToString())
    assert imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5).model.config.output_dim == 5
