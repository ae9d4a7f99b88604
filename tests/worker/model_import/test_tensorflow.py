"""TensorFlow's SavedModels and checkpoints, of current Keras and of TensorFlow 1's cells."""

import json
import re

import numpy as np
import pytest
from support.imported import ROWS, assert_same, imported, padded, states_of

from worker.model_import.errors import ImportRefusedError
from worker.model_import.readers.tensorflow.saved_model import read_saved_model

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
types_pb2 = pytest.importorskip("tensorflow.core.framework.types_pb2")
saved_model_pb2 = pytest.importorskip("tensorflow.core.protobuf.saved_model_pb2")
layers = keras.layers
# Keras's variables warn with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def model():
    """Two kinds of layers, one of them bidirectional, and a head."""
    keras.utils.set_random_seed(1)
    made = keras.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(10, 4, mask_zero=True),
            layers.LSTM(6, return_sequences=True, name="lstm_a"),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="lstm_b"),
            layers.Dense(3),
        ]
    )
    random = np.random.default_rng(2)
    made.set_weights([random.normal(0, 0.6, array.shape) for array in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def own(model):
    states = np.asarray(keras.Model(model.inputs[0], model.layers[-2].output)(padded()))
    return [one[: len(row)] for one, row in zip(states, ROWS, strict=True)]


NAMES = ("lstm_a", "lstm_b")


def test_exported_saved_models(model, own, tmp_path):
    """Keras's model.export; the steps of the graph show the activations."""
    model.export(tmp_path / "saved", verbose=False)
    done = imported(tmp_path / "saved", tmp_path / "model", layers=NAMES)
    assert_same(own, states_of(done))
    assert any("tanh and sigmoid" in note for note in done.made.notes)
    assert [name.rpartition("/")[2] for name in done.made.left] == ["kernel", "bias"]  # the head's, and no optimizer's


class OfItsOwn(keras.Model):
    """A model that is a class: Keras 3 names all variables after the model alone."""

    def __init__(self):
        super().__init__(name="sub")
        self.embedding = layers.Embedding(10, 4, mask_zero=True)
        self.before = layers.Dense(4)
        self.lstm_a = layers.LSTM(6, return_sequences=True, use_bias=False)
        self.lstm_b = layers.Bidirectional(layers.LSTM(5, return_sequences=True))
        self.head = layers.Dense(3)

    def states(self, ids):
        mask = self.embedding.compute_mask(ids)
        return self.lstm_b(self.lstm_a(self.embedding(ids), mask=mask), mask=mask)

    def call(self, ids):
        return self.head(self.states(ids)) + self.before(self.embedding(ids))[..., :3]


@pytest.fixture(scope="module")
def of_its_own():
    keras.utils.set_random_seed(3)
    made = OfItsOwn()
    made(padded())
    return made


@pytest.mark.parametrize(
    ("kind", "left"), [("saved model", "before"), ("checkpoint", "model/before"), ("lists", "z/before")]
)
def test_a_class_of_ones_own(of_its_own, kind, left, tmp_path):
    """The objects' paths name the layers where the variables' names don't."""
    if kind == "saved model":
        tf.saved_model.save(of_its_own, str(tmp_path / "saved"))
    elif kind == "checkpoint":
        trained = keras.optimizers.Adam()
        trained.build(of_its_own.trainable_variables)
        tf.train.Checkpoint(model=of_its_own, optimizer=trained).write(str(tmp_path / "saved"))
    else:  # whose names come first in the alphabet
        tf.train.Checkpoint(a=of_its_own.trainable_variables, z=of_its_own).write(str(tmp_path / "saved"))
    done = imported(tmp_path / "saved", tmp_path / "model", layers=NAMES, leave=(left,))
    states = np.asarray(of_its_own.states(padded()))
    assert_same([one[: len(row)] for one, row in zip(states, ROWS, strict=True)], states_of(done))


class WithItsOwnTable(keras.Model):
    """A model that looks its vectors up itself, in a variable that isn't called an embedding."""

    def __init__(self):
        super().__init__()
        self.table = self.add_weight(name="word_vectors", shape=(10, 4), initializer="uniform")
        self.lstm = layers.LSTM(5, return_sequences=True)
        self.tied = self.add_weight(name="tied_bias", shape=(10,), initializer="uniform")
        self.head = layers.Dense(3)

    def call(self, ids):
        return self.head(self.lstm(tf.gather(self.table, tf.cast(ids, "int32")))) + tf.reduce_sum(self.tied)


@pytest.mark.parametrize("kind", ["saved model", "checkpoint", "weights"])
def test_a_table_that_is_not_called_an_embedding(kind, tmp_path):
    """It is named, with the option that takes it."""
    keras.utils.set_random_seed(5)
    made = WithItsOwnTable()
    made(np.array([ROWS[1]]))
    saved = tmp_path / ("saved.weights.h5" if kind == "weights" else "saved")
    if kind == "saved model":
        tf.saved_model.save(made, str(saved))
    elif kind == "checkpoint":
        tf.train.Checkpoint(model=made).write(str(saved))
    else:
        made.save_weights(saved)
    with pytest.raises(
        ImportRefusedError, match=r"nothing in the file says what they are\. If .* its embedding"
    ) as said:
        imported(saved, tmp_path / "none")
    name, shape, option = re.search(
        r"If (\S+) (\(.*?\)) is its embedding: --embedding (\S+)\.", str(said.value)
    ).groups()
    assert (shape, option) == ("(10, 4)", name)
    tied = "vars/1" if kind == "weights" else name.replace("table", "tied")
    done = imported(saved, tmp_path / "model", embedding=name, leave=(tied,))
    assert_same([np.asarray(made.lstm(tf.gather(made.table, [row])))[0] for row in ROWS], states_of(done))


def test_a_matrix_with_a_bias_beside_it_is_no_table(tmp_path):
    """Nor are other layers' kernels. The embedding that a head is tied to, with a bias for each row, is one."""
    arrays = {"lstm/kernel": (4, 20), "lstm/recurrent_kernel": (5, 20), "words/matrix": (10, 4), "words/bias": (10,)}
    arrays |= {"out/w": (9, 4), "out/b": (4,), "lstm/proj": (8, 4), "lstm/proj_b": (4,), "d/lora_kernel_a": (7, 4)}
    whole = tf.Module()
    whole.all = [tf.Variable(np.ones(shape, np.float32), name=name) for name, shape in arrays.items()]
    tf.train.Checkpoint(model=whole).write(str(tmp_path / "saved"))
    with pytest.raises(
        ImportRefusedError, match=r" If words/matrix \(10, 4\) is its embedding: --embedding words/matrix\."
    ):
        imported(tmp_path / "saved", tmp_path / "none")
    leave = ("out", "lstm", "d")
    done = imported(tmp_path / "saved", tmp_path / "made", embedding="words/matrix", leave=leave)
    assert done.made.config.vocab_size == 9, "ids from 1 on; 0 is padding"


@pytest.mark.parametrize(
    ("scope", "others", "advised", "leave"),
    [
        ("lstm", {"kernel_net/words": (10, 4)}, "kernel_net/words", ()),
        ("m", {"m/words": (10, 4), "m/gamma": (4,)}, "m/words", ("m/gamma",)),
        ("lstm", {"d/kernel_posterior_loc": (7, 4), "words/table": (10, 4)}, "words/table", ("d",)),
        ("lstm", {"words/kernel_table": (10, 4)}, "words/kernel_table", ()),
        ("lstm", {"decoder/w": (9, 4), "decoder/b": (9,), "words/matrix": (10, 4)}, "words/matrix", ("decoder",)),
    ],
    ids=[
        "a scope called a kernel",
        "one scope of all",
        "another kernel",
        "a table of a kernel",
        "a head turned around",
    ],
)
def test_the_matrix_that_is_advised(scope, others, advised, leave, tmp_path):
    """Whatever its scope is called, and whatever the model has besides."""
    arrays = {f"{scope}/kernel": (4, 20), f"{scope}/recurrent_kernel": (5, 20), **others}
    whole = tf.Module()
    whole.all = [tf.Variable(np.ones(shape, np.float32), name=name) for name, shape in arrays.items()]
    tf.train.Checkpoint(model=whole).write(str(tmp_path / "saved"))
    with pytest.raises(ImportRefusedError, match=rf" If .* is its embedding: --embedding {advised}\."):
        imported(tmp_path / "saved", tmp_path / "none")
    done = imported(tmp_path / "saved", tmp_path / "made", embedding=advised, leave=leave)
    assert done.made.config.vocab_size == 9


def test_a_layer_without_a_name(tmp_path):
    """Its kind is its name, and takes it."""
    cell, other, whole = tf.Module(), tf.Module(), tf.Module()
    cell.a = tf.Variable(np.ones((4, 20), np.float32), name="kernel")
    cell.b = tf.Variable(np.ones((5, 20), np.float32), name="recurrent_kernel")
    whole.cell, whole.table = cell, tf.Variable(np.ones((10, 4), np.float32), name="embedding")
    tf.train.Checkpoint(model=whole).write(str(tmp_path / "saved"))
    assert imported(tmp_path / "saved", tmp_path / "model", layers=("lstm",)).made.config.output_dim == 5
    other.a = tf.Variable(np.ones((4, 24), np.float32), name="lstm/kernel")
    other.b = tf.Variable(np.ones((6, 24), np.float32), name="lstm/recurrent_kernel")
    whole.other = other
    tf.train.Checkpoint(model=whole).write(str(tmp_path / "two"))
    with pytest.raises(ImportRefusedError, match="it has the recurrent layers lstm_1, lstm, and weights alone"):
        imported(tmp_path / "two", tmp_path / "none")


class OfParts(tf.Module):
    """Layers of one name, whose paths in a dictionary differ in what a slash is part of."""

    def __init__(self):
        super().__init__()
        self.table = tf.Variable(np.ones((10, 8), np.float32), name="embeddings")
        self.parts = {"a/b": layers.LSTM(8, name="lstm"), "a": {"b": layers.LSTM(8, name="lstm")}}
        for layer in (self.parts["a/b"], self.parts["a"]["b"]):
            layer.build((None, 3, 8))


def test_no_layer_is_lost_where_paths_look_alike(tmp_path):
    """Two paths that are one text would leave one of two layers out, and take the other without a word."""
    tf.saved_model.save(OfParts(), str(tmp_path / "saved"))
    assert len(read_saved_model(tmp_path / "saved", None, None).layers) == 2


def test_an_export_of_a_class_does_not_show_its_layers(of_its_own, tmp_path):
    """Its variables have numbers and one scope: in their order, a layer's two directions look like two layers."""
    of_its_own.export(tmp_path / "saved", verbose=False)
    with pytest.raises(
        ImportRefusedError,
        match=r"the name sub/recurrent_kernel, or another .* Save its weights",
    ):
        imported(tmp_path / "saved", tmp_path / "model")


def test_saved_models(model, own, tmp_path):
    """tf.saved_model.save."""
    tf.saved_model.save(model, str(tmp_path / "saved"))
    assert_same(own, states_of(imported(tmp_path / "saved", tmp_path / "model", layers=NAMES)))


def test_keras_2s_saved_models(tmp_path):
    """keras_metadata.pb has the configuration, which shows a residual sum, and has tuples as objects.

    The file has gamma and beta in the order of the alphabet, which isn't that of the layer.
    """
    ids = keras.Input((None,), dtype="int32")
    vectors = layers.Conv1D(4, 1, activation="relu")(layers.Embedding(10, 4)(ids))
    vectors = layers.BatchNormalization()(layers.LayerNormalization()(vectors))
    below = layers.LSTM(5, return_sequences=True)(layers.LayerNormalization()(vectors))
    added = layers.Add(name="sum")([below, layers.LSTM(5, return_sequences=True)(below)])
    made = keras.Model(ids, layers.Dense(2)(added))
    random = np.random.default_rng(4)
    made.set_weights([random.uniform(0.2, 1.2, array.shape) for array in made.get_weights()])
    tf.saved_model.save(made, str(tmp_path / "saved"))
    text = made.to_json()
    for name, items in (("kernel_size", "[1]"), ("batch_shape", "[null, null]")):
        assert f'"{name}": {items}' in text
        text = text.replace(f'"{name}": {items}', f'"{name}": {{"class_name": "__tuple__", "items": {items}}}')
    root = b"\x10\x00" + field(3, b"root") + field(5, text.encode())
    (tmp_path / "saved" / "keras_metadata.pb").write_bytes(field(1, b"\x10\x01" + field(3, b"root.x")) + field(1, root))
    done = imported(tmp_path / "saved", tmp_path / "model", top="sum", parity=1e-5)
    assert done.parity.comparisons[0].left == "the file's graph in Keras"
    assert [str(layer) for layer in done.model.config.layers] == ["lstm 5", "lstm 5 + its input"]
    states = np.asarray(keras.Model(ids, added)(padded()))
    assert_same([one[: len(row)] for one, row in zip(states, ROWS, strict=True)], states_of(done))
    (tmp_path / "saved" / "keras_metadata.pb").write_bytes(b"\xff" * 20)
    with pytest.raises(ImportRefusedError, match=r"keras_metadata.pb is damaged"):
        imported(tmp_path / "saved", tmp_path / "refused")


def of_keras_2(**attributes):
    """An object with the attributes of a layer of Keras 2, which has its variables under their names."""
    made = tf.Module()
    for name, value in attributes.items():
        setattr(made, name.replace("_0", "-0").replace("_1", "-1") if name.startswith("layer") else name, value)
    return made


def test_normalizations_of_keras_2(tmp_path):
    """Their variables are called mean and variance without the layer's name; the file's objects tell them apart."""
    ids = keras.Input((None,), dtype="int32")
    norms = [layers.Normalization(name=name) for name in ("low", "high")]
    inner = keras.Sequential([keras.Input((None, 4)), norms[1]], name="inner")
    embedding, lstm = layers.Embedding(10, 4, name="words"), layers.LSTM(5, return_sequences=True, name="lstm")
    made = keras.Model(ids, lstm(inner(layers.TimeDistributed(norms[0], name="each")(embedding(ids)))))
    random = np.random.default_rng(6)
    for variable in made.variables:
        drawn = random.normal(0, 0.6, variable.shape)
        variable.assign(np.abs(drawn) + 0.1 if variable.path.endswith("variance") else drawn)
    for norm in norms:
        norm.finalize_state()

    def variable(name, array):
        return tf.Variable(np.asarray(array), name=name)

    def normalization(norm):
        return of_keras_2(mean=variable("mean", norm.adapt_mean), variance=variable("variance", norm.adapt_variance))

    parts = [variable(f"lstm/lstm_cell/{one.name}", one) for one in lstm.weights]
    saved = of_keras_2(
        layer_with_weights_0=of_keras_2(layer=normalization(norms[0])),
        layer_with_weights_1=of_keras_2(layer_0=normalization(norms[1])),
        rest=[variable("words/embeddings", embedding.embeddings), *parts],
    )
    tf.saved_model.save(saved, str(tmp_path / "saved"))
    nodes = {
        # TensorFlow's Keras 2 counts the calls of models within a model from 1.
        "root": re.sub(r'\["inner", 0, 0', '["inner", 1, 0', made.to_json()),
        "root.layer_with_weights-0": json.dumps({"name": "each", "class_name": "TimeDistributed"}),
        "root.layer_with_weights-0.layer": json.dumps({"name": "low", "class_name": "Normalization"}),
        "root.layer_with_weights-1": json.dumps({"name": "inner", "class_name": "Sequential"}),
        "root.layer_with_weights-1.layer-0": json.dumps({"name": "high", "class_name": "Normalization"}),
    }
    content = [field(1, field(3, path.encode()) + field(5, text.encode())) for path, text in nodes.items()]
    (tmp_path / "saved" / "keras_metadata.pb").write_bytes(b"".join(content))
    done = imported(tmp_path / "saved", tmp_path / "model", parity=1e-5)
    assert done.parity.whole
    assert '["inner", 1, 0' in nodes["root"]
    states = np.asarray(made(padded()))
    assert_same([one[: len(row)] for one, row in zip(states, ROWS, strict=True)], states_of(done))
    (tmp_path / "saved" / "keras_metadata.pb").write_bytes(content[0])  # without the layers' objects
    with pytest.raises(
        ImportRefusedError, match=r"reads inner/high \(Normalization\): the file doesn't contain its mean"
    ):
        imported(tmp_path / "saved", tmp_path / "refused")


def field(number, content):
    """A protocol buffer's field of bytes."""
    size, parts = len(content), []
    while size > 127:
        parts.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *parts, size]) + content


def test_a_checkpoint_that_is_not_there_is_no_damaged_one(tmp_path):
    """A name that was mistyped needs no fresh copy."""
    with pytest.raises(ImportRefusedError, match=r"nope\.index: can't be read \(No such file or directory\)"):
        imported(tmp_path / "nope.index", tmp_path / "model")


@pytest.mark.parametrize("suffix", ["", ".index"])
def test_checkpoints(suffix, model, own, tmp_path):
    """tf.train.Checkpoint, named by its prefix or by its index."""
    tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    done = imported(tmp_path / f"checkpoint{suffix}", tmp_path / "model", layers=NAMES)
    assert_same(own, states_of(done))
    assert "a checkpoint doesn't show them" in done.made.notes[0]


def test_other_activations_show_in_the_graph(tmp_path):
    """The steps in a SavedModel's graph show other activations."""
    made = keras.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(10, 4),
            layers.LSTM(6, recurrent_activation="hard_sigmoid", return_sequences=True),
        ]
    )
    made.export(tmp_path / "saved", verbose=False)
    with pytest.raises(
        ImportRefusedError, match=r"the graph's steps compute .*Relu6.* add --recurrent-activation hard"
    ):
        imported(tmp_path / "saved", tmp_path / "model")
    done = imported(tmp_path / "saved", tmp_path / "model", gates="hard_sigmoid_keras3")
    assert "activations tanh and hard_sigmoid_keras3 (as you said)" in done.made.notes
    states = np.asarray(made(padded()))
    assert_same([one[: len(row)] for one, row in zip(states, ROWS, strict=True)], states_of(done))
    tf.train.Checkpoint(model=made).write(str(tmp_path / "checkpoint"))
    done = imported(tmp_path / "checkpoint", tmp_path / "of-2", gates="hard_sigmoid")
    assert done.model.config.layers[0].gates == "hard_sigmoid"


class Mirrored(layers.Layer):
    """Reverses the tokens' vectors with a slice."""

    supports_masking = True

    def call(self, vectors):
        return vectors[:, ::-1]


def lstm(**given):
    return layers.LSTM(5, return_sequences=True, **given)


@pytest.mark.parametrize(
    ("given", "backward"),
    [
        ([lambda: lstm(go_backwards=True)], [0]),
        ([lambda: lstm(go_backwards=True), lstm], [0, 1]),
        ([lstm, lambda: lstm(go_backwards=True)], [1]),
        ([lambda: layers.Bidirectional(lstm()), lambda: lstm(go_backwards=True)], [1]),
        ([lstm, Mirrored, lstm], [1]),
        ([Mirrored, lambda: layers.Bidirectional(lstm())], [0]),
        ([lambda: lstm(name="forward_lstm"), lambda: lstm(name="backward_lstm")], [0]),
        ([lambda: layers.Bidirectional(lstm()), lambda: layers.Bidirectional(layers.GRU(5))], []),
        ([lambda: layers.Bidirectional(lstm()), lstm], []),
        ([Mirrored, Mirrored, lstm], []),
    ],
)
def test_layers_that_read_backward(given, backward, tmp_path):
    """The names of the variables don't show it; the reversals in the graph do."""
    saved = exported(tmp_path / "saved", *(make() for make in given))
    found = read_saved_model(saved, None, None)
    assert [at for at, layer in enumerate(found.layers.values()) if layer.problem] == backward
    if backward:
        with pytest.raises(ImportRefusedError, match=r"graph reverses (what it reads|nothing) .* import that file"):
            imported(saved, tmp_path / "model", layers=list(found.layers))


def test_given_states_are_in_no_direction(tmp_path):
    """A bidirectional layer that starts from them turns its own outputs around, and nothing above reads backward."""
    vectors, starts = keras.Input((None, 3)), [keras.Input((4,)), keras.Input((4,))]
    below = layers.Bidirectional(layers.GRU(4, return_sequences=True))(vectors, initial_state=starts)
    keras.Model([vectors, *starts], lstm()(below)).export(tmp_path / "saved", verbose=False)
    found = read_saved_model(tmp_path / "saved", None, None)
    assert [layer.problem for layer in found.layers.values()] == [None, None]


def test_a_layer_that_reads_in_both_directions(tmp_path):
    """One layer that is called twice, as in a bidirectional one with shared weights."""
    ids = keras.Input((None,), dtype="int32")
    vectors, layer = layers.Embedding(10, 4)(ids), lstm()
    for at, calls in enumerate(((vectors[:, ::-1], vectors), (vectors, vectors[:, ::-1]))):
        keras.Model(ids, [layer(one) for one in calls]).export(tmp_path / f"{at}", verbose=False)
        (found,) = read_saved_model(tmp_path / f"{at}", None, None).layers.values()
        assert "reverses what it reads" in found.problem


def test_loops_whose_variables_are_not_shown(tmp_path):
    """As in files of older versions: there is a plain loop for each layer, and none reads backward unexpectedly."""
    for name, given, problem in (
        ("plain", [layers.Bidirectional(lstm()), lstm()], None),
        ("back", [lstm(), lstm(go_backwards=True)], "reverses what some layer reads, and doesn't show that it isn't"),
        ("relu", [lstm(), lstm(activation="relu")], "compute Relu;"),
    ):
        saved = exported(tmp_path / name, *given)
        model = saved_model_pb2.SavedModel.FromString((saved / "saved_model.pb").read_bytes())
        model.meta_graphs[0].object_graph_def.concrete_functions.clear()
        (saved / "saved_model.pb").write_bytes(model.SerializeToString())
        found = read_saved_model(saved, None, None)
        assert all((problem or "None") in str(layer.problem) for layer in found.layers.values())
        assert (name != "relu") == any("as the graph's steps compute" in note for note in found.notes)


def test_activations_of_each_layer(tmp_path):
    """The user's word is for the layers whose steps don't show tanh and sigmoid; if all do, it contradicts the file."""
    draw = keras.initializers.RandomNormal(0, 1.5, seed=1)
    saved = exported(
        tmp_path / "saved",
        lstm(recurrent_activation="hard_sigmoid", name="hard", kernel_initializer=draw),
        layers.Bidirectional(layers.GRU(4, return_sequences=True, kernel_initializer=draw), name="plain"),
    )
    found = read_saved_model(saved, None, None)
    assert {name: layer.problem is not None for name, layer in found.layers.items()} == {"hard": True, "plain": False}
    done = imported(saved, tmp_path / "model", layers=["hard", "plain"], gates="hard_sigmoid_keras3")
    assert "hard: activations tanh and hard_sigmoid_keras3 (as you said)" in done.made.notes
    assert "plain: activations tanh and sigmoid, as the graph's steps compute" in done.made.notes
    made = tf.saved_model.load(str(saved))
    assert_same([made.serve(np.array([row], np.int32)).numpy()[0] for row in ROWS], states_of(done))
    alone = exported(tmp_path / "alone", lstm())
    with pytest.raises(ImportRefusedError, match=r"--recurrent-activation hard_sigmoid: .* all layers; leave it out"):
        imported(alone, tmp_path / "refused", gates="hard_sigmoid")
    for gates in ("sigmoid", None):
        assert imported(alone, tmp_path / f"{gates}", gates=gates).model.config.layers[0].gates == "sigmoid"


@pytest.mark.parametrize("activation", ["relu", "linear", "sigmoid"])
def test_the_gates_that_are_said_do_not_hide_another_activation(activation, tmp_path):
    """Neither beside a layer that has these gates, nor in one that has them itself."""
    hard = {"recurrent_activation": "hard_sigmoid"}
    for name, given in (
        ("beside", [lstm(**hard), lstm(activation=activation)]),
        ("itself", [lstm(**hard), lstm(**hard, activation=activation)]),
    ):
        found = read_saved_model(exported(tmp_path / name, *given), "hard_sigmoid_keras3", None)
        right, wrong = found.layers.values()
        assert right.problem is None
        assert "the graph's steps compute" in wrong.problem
        assert "which one it is" not in wrong.problem


def as_keras_2_saves(saved):
    """Put loops where Keras 2 has those that cuDNN can run: in functions of their own, which get the variables' values.

    They are those of layers that are called plain and other, and of the passes of one that is called pair.

    A function that isn't saved by itself has the other layers' loops once more, with other names of variables.
    """
    model = saved_model_pb2.SavedModel.FromString((saved / "saved_model.pb").read_bytes())
    library = model.meta_graphs[0].graph_def.library
    (whole,) = [one for one in library.function if any(node.op == "While" for node in one.node_def)]
    names = ("/forward_pair", "/backward_pair", "/plain", "/other")
    for name in [name for name in names if any(name in node.name for node in whole.node_def)]:
        alone = library.function.add()
        alone.CopyFrom(whole)
        alone.signature.name = f"standard_{name[1:]}"
        of_it = [node for node in whole.node_def if name in node.name]
        assert any(node.op == "While" for node in of_it)
        del alone.node_def[:], alone.signature.input_arg[:]
        alone.node_def.extend(of_it)
        inside = {node.name for node in of_it}
        given = {one.partition(":")[0] for node in of_it for one in node.input} - inside
        given = sorted(given, key=lambda one: (one.endswith("NotEqual"), one))  # the mask comes last
        for node in of_it:
            whole.node_def.remove(node)
        outputs = {one.partition(":")[0] for node in whole.node_def for one in node.input} & inside
        call = whole.node_def.add(name=f"call/{name[1:]}", op="PartitionedCall")
        call.attr["f"].func.name = alone.signature.name
        for one in outputs:
            whole.node_def.add(name=one, op="Identity", input=[f"{call.name}:output:0"])
        for at, one in enumerate(given):
            alone.signature.input_arg.add(name=one if at else "inputs", type=types_pb2.DT_FLOAT)
            if not at:
                alone.node_def.add(name=one, op="Identity", input=["inputs"])
            if one.endswith("resource"):
                whole.node_def.add(name=f"{call.name}/{one}/read", op="ReadVariableOp", input=[one])
                whole.node_def.add(name=f"{call.name}/{one}/copy", op="Cast", input=[f"{call.name}/{one}/read:value:0"])
                call.input.append(f"{call.name}/{one}/copy:output:0")
            else:
                call.input.append(one)
    inner = library.function.add()
    inner.CopyFrom(whole)
    inner.signature.name = "inner"
    (saved / "saved_model.pb").write_bytes(model.SerializeToString())
    return saved


@pytest.mark.parametrize(
    ("given", "backward"),
    [
        ([lambda: layers.Bidirectional(lstm()), lambda: lstm(name="plain")], []),
        ([lambda: lstm(name="plain"), lambda: layers.Bidirectional(lstm())], []),
        ([lambda: layers.Bidirectional(lstm()), lambda: lstm(name="plain", go_backwards=True)], [1]),
        ([lambda: layers.Bidirectional(lstm(name="pair")), lambda: lstm(name="plain", go_backwards=True)], [1]),
        ([lambda: layers.Bidirectional(lstm(name="pair")), lambda: lstm(name="plain")], []),
        ([lambda: layers.Bidirectional(lstm(name="pair")), lstm], []),
        ([lambda: lstm(go_backwards=True), lambda: lstm(name="plain")], [0, 1]),
        ([lambda: lstm(name="plain", go_backwards=True), lstm], [0, 1]),
        ([lambda: lstm(name="plain", go_backwards=True), lambda: layers.Bidirectional(lstm())], [0, 1]),
    ],
)
def test_layers_that_cudnn_runs_beside_others(given, backward, tmp_path):
    """The reversal of one isn't taken for another's."""
    saved = as_keras_2_saves(exported(tmp_path / "saved", *(make() for make in given)))
    found = read_saved_model(saved, None, None)
    assert [at for at, layer in enumerate(found.layers.values()) if layer.problem] == backward


@tf.function
def called(layer, vectors):
    return layer(vectors)


class Wrapped(layers.Layer):
    """Calls a layer in a function that isn't saved by itself."""

    supports_masking = True

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def build(self, shape):
        self.layer.build(shape)

    def call(self, vectors):
        return called(self.layer, vectors)


def test_a_layer_in_a_function_of_the_programs_own(tmp_path):
    """Its loop has the operations and the direction of another layer's, and yet it isn't that one."""
    given = [layers.Bidirectional(lstm()), Wrapped(lstm(name="own", go_backwards=True))]
    found = read_saved_model(exported(tmp_path / "back", *given), None, None)
    assert [bool(layer.problem) for layer in found.layers.values()] == [False, True]
    hard = {"recurrent_activation": "hard_sigmoid"}
    found = read_saved_model(exported(tmp_path / "hard", Wrapped(lstm(**hard)), lstm(**hard)), None, None)
    assert all("compute" in str(layer.problem) for layer in found.layers.values())


def test_activations_of_layers_that_cudnn_runs(tmp_path):
    """What the user says of another layer isn't said of these."""
    hard = {"recurrent_activation": "hard_sigmoid"}
    given = [layers.Bidirectional(lstm(**hard), name="hard"), lstm(name="plain"), layers.GRU(4, name="other")]
    saved = as_keras_2_saves(exported(tmp_path / "saved", *given))
    found = read_saved_model(saved, "hard_sigmoid", None)
    assert [layer.passes[0].gates for layer in found.layers.values()] == ["hard_sigmoid", "sigmoid", "sigmoid"]
    assert "hard: activations tanh and hard_sigmoid (as you said)" in found.notes
    assert "plain, other: activations tanh and sigmoid, as the graph's steps compute" in found.notes
    found = read_saved_model(saved, None, None)
    assert [name for name, layer in found.layers.items() if layer.problem] == ["hard"]
    given = [lstm(recurrent_dropout=0.2, name="drop"), lstm(**hard, recurrent_dropout=0.2, name="hard")]
    found = read_saved_model(exported(tmp_path / "drop", *given), "hard_sigmoid", None)
    assert [layer.passes[0].gates for layer in found.layers.values()] == ["sigmoid", "hard_sigmoid"]


@pytest.mark.parametrize("above", ["strides", "cut"])
def test_a_graph_that_tensorflow_did_not_write(above, tmp_path):
    """A slice with half a number, one of nothing, and nodes that read each other."""
    saved = exported(tmp_path / "saved", lstm())
    model = saved_model_pb2.SavedModel.FromString((saved / "saved_model.pb").read_bytes())
    function = model.meta_graphs[0].graph_def.library.function.add()
    function.node_def.add(name="strides", op="Const").attr["value"].tensor.tensor_content = b"\xff\xff\xff"
    function.node_def.add(name="bare", op="StridedSlice")
    function.node_def.add(name="cut", op="StridedSlice", input=["vectors", "strides"])
    function.node_def.add(name="vectors", op="Identity", input=[f"{above}:0", "^strides"])
    (saved / "saved_model.pb").write_bytes(model.SerializeToString())
    assert {layer.problem for layer in read_saved_model(saved, None, None).layers.values()} == {None}


CELLS = {
    "lstm": lambda **given: layers.LSTM(5, **given),
    "gru": lambda **given: layers.GRU(5, **given),
    "before": lambda **given: layers.GRU(5, reset_after=False, **given),
}


def exported(path, *given, length=None):
    """A SavedModel of an embedding and layers."""
    made = keras.Sequential([layers.Input((length,), dtype="int32"), layers.Embedding(10, 4, mask_zero=True), *given])
    made.export(path, verbose=False)
    return path


@pytest.mark.parametrize(
    ("cell", "activations", "why"),
    [
        ("lstm", {"activation": "linear"}, "3 times Sigmoid and 0 times Tanh"),
        ("lstm", {"activation": "sigmoid"}, "5 times Sigmoid and 0 times Tanh"),
        ("lstm", {"activation": "gelu"}, "Erfc"),
        ("lstm", {"recurrent_activation": "tanh"}, "0 times Sigmoid and 5 times Tanh"),
        ("lstm", {"activation": "sigmoid", "recurrent_activation": "tanh"}, "2 times Sigmoid and 3 times Tanh"),
        ("lstm", {"recurrent_activation": "softmax"}, "Softmax"),
        ("lstm", {"activation": "linear", "recurrent_activation": "linear"}, "0 times Sigmoid and 0 times Tanh"),
        ("gru", {"activation": "sigmoid"}, "3 times Sigmoid and 0 times Tanh"),
        ("before", {"recurrent_activation": "tanh"}, "0 times Sigmoid and 3 times Tanh"),
    ],
)
def test_activations_that_only_the_steps_show(cell, activations, why, tmp_path):
    """What isn't there counts, too: a linear cell has no Tanh. Without the functions' names, their numbers are said."""
    saved = exported(tmp_path / "saved", CELLS[cell](**activations))
    with pytest.raises(ImportRefusedError, match=rf"the graph's steps compute {why}; only cells with tanh and sigmoid"):
        imported(saved, tmp_path / "model")


def test_steps_that_are_seen(tmp_path):
    """Each layer has its loop, or several cells have one; what another layer computes doesn't matter then."""
    sequences = {"return_sequences": True}
    stacks = [
        [layers.Bidirectional(layers.LSTM(5, **sequences)), layers.Dense(7), layers.SimpleRNN(3, activation="relu")],
        [layers.GRU(5, dropout=0.2, recurrent_dropout=0.2)],
        [CELLS["before"]()],
        [layers.RNN([layers.LSTMCell(5), layers.LSTMCell(6)])],
        [layers.LSTM(5, dtype="mixed_bfloat16", use_bias=False)],
    ]
    for at, stack in enumerate(stacks):
        done = imported(exported(tmp_path / f"{at}", *stack), tmp_path / f"model-{at}")
        assert "activations tanh and sigmoid, as the graph's steps compute" in done.made.notes


def test_steps_that_are_not_seen(tmp_path):
    """An unrolled layer has no loop. The loop of another layer proves nothing about it, however often it is called."""
    twice = layers.LSTM(4, return_sequences=True, name="twice")
    alone, hidden = (layers.LSTM(5, activation="relu", unroll=True, name="hidden") for _ in range(2))
    stacks = ([alone], [twice, twice, hidden], [layers.LSTM(5, activation="tanh_shrink")])
    for at, (stack, names) in enumerate(zip(stacks, ((), ("twice", "hidden"), ()), strict=True)):
        saved = exported(tmp_path / f"{at}", *stack, length=6)
        done = imported(saved, tmp_path / f"model-{at}", layers=names)
        assert not any("as the graph's steps compute" in note for note in done.made.notes)
        assert any("assumed" in note and "unrolled model compare" in note for note in done.made.notes)


def save_variables(path, arrays):
    """Write a checkpoint with plain names, as TensorFlow 1's Saver did."""
    tf.raw_ops.SaveV2(
        prefix=str(path), tensor_names=list(arrays), shape_and_slices=[""] * len(arrays), tensors=list(arrays.values())
    )


def tf1_arrays(**more):
    """An embedding and TensorFlow 1's LSTM, 4 wide with 5 units, and other variables."""
    random = np.random.default_rng(7)
    shapes = {"embedding": (10, 4), "rnn/lstm_cell/kernel": (9, 20), "rnn/lstm_cell/bias": (20,)}
    drawn = {name: random.normal(0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()}
    return drawn | {name.replace("__", "/"): array for name, array in more.items()}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("proj/kernel", np.ones((4, 4), np.int8)),
        ("proj/kernel", np.ones((4, 4), np.complex64)),
        ("optimizer_net/proj/kernel", np.ones((4, 4), np.float32)),
        ("Adam_like/Adamantine/kernel", np.ones((4, 4), np.float32)),
    ],
)
def test_variables_that_could_be_on_the_way(name, array, tmp_path):
    """They stop the import, whatever their numbers and names are, until the user says that they are beside the way."""
    save_variables(tmp_path / "model", tf1_arrays(**{name: array}))
    with pytest.raises(ImportRefusedError, match=rf"{name} \(4, 4\) .*(can turn|can't be read).* --leave {name[:4]}"):
        imported(tmp_path / "model", tmp_path / "refused")
    assert imported(tmp_path / "model", tmp_path / "left", leave=(name,)).made.left == [f"{name} (--leave)"]


def test_a_layer_s_variables_of_other_numbers(tmp_path):
    """An LSTM isn't imported from integers, nor without its bias."""
    for name, kind in (("kernel", np.int8), ("bias", np.complex64)):
        arrays = tf1_arrays()
        arrays[f"rnn/lstm_cell/{name}"] = arrays[f"rnn/lstm_cell/{name}"].astype(kind)
        save_variables(tmp_path / name, arrays)
        with pytest.raises(ImportRefusedError, match=r"its weights are int8|bias can't be read"):
            imported(tmp_path / name, tmp_path / "model")


def test_copies_of_variables(tmp_path):
    """Those of optimizers and moving averages are listed; programs may restore the averages, so a note names them."""
    plain = tf1_arrays()
    others = {"global_step": np.int64(3), "train/beta1_power": np.float32(0.9)}
    slots = {f"{name}/{slot}": array * 0 for name, array in plain.items() for slot in ("Adam", "Adam_1")}
    averages = {f"{name}/ExponentialMovingAverage": array / 2 for name, array in plain.items()}
    save_variables(tmp_path / "model", {**plain, **others, **slots})
    done = imported(tmp_path / "model", tmp_path / "slots")
    assert done.made.left == ["embedding/Adam and 6 more (optimizer)"]
    assert not any("average" in note for note in done.made.notes)
    save_variables(tmp_path / "both", {**plain, **averages})
    other = imported(tmp_path / "both", tmp_path / "averages")
    assert_same(states_of(done), states_of(other), 0)
    assert other.made.left == ["embedding/ExponentialMovingAverage and 2 more (moving average)"]
    assert any("3 variables (embedding/ExponentialMovingAverage)" in note for note in other.made.notes)


def test_optimizers_of_keras(model, own, tmp_path):
    """Trained models' checkpoints have the optimizer's variables, whatever the program calls it."""
    trained = keras.optimizers.Adam()
    trained.build(model.trainable_variables)
    for name in ("optimizer", "a_optimizer"):  # the model's variables have the name that comes first in the alphabet
        content = {"model": model, name: trained, "step": tf.Variable(3)}
        tf.train.Checkpoint(**content).write(str(tmp_path / name))
        done = imported(tmp_path / name, tmp_path / f"of-{name}", layers=NAMES)
        assert_same(own, states_of(done))
        assert any(re.fullmatch(rf"{name}/_.* and \d+ more \(optimizer\)", one) for one in done.made.left)


def tf1_lstm(inputs, kernel, bias, projection=None):
    """TensorFlow 1's LSTMCell, after its source: gates i, j, f, o, and 1 is added to the forget gate."""
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    units = kernel.shape[1] // 4
    cell, state, states = np.zeros(units), np.zeros(units if projection is None else projection.shape[1]), []
    for x in inputs:
        i, j, f, o = np.split(np.concatenate([x, state]) @ kernel + bias, 4)
        cell = cell * sigmoid(f + 1.0) + sigmoid(i) * np.tanh(j)
        state = np.tanh(cell) * sigmoid(o)
        state = state if projection is None else state @ projection
        states.append(state)
    return np.array(states)


def test_tensorflow_1_cells(tmp_path):
    """MultiRNNCell of LSTMCells, the upper one projected: one kernel for input and state; forget_bias."""
    random = np.random.default_rng(3)
    shapes = {
        "embedding": (10, 4),
        "rnn/multi_rnn_cell/cell_0/lstm_cell/kernel": (4 + 6, 24),
        "rnn/multi_rnn_cell/cell_0/lstm_cell/bias": (24,),
        "rnn/multi_rnn_cell/cell_1/lstm_cell/kernel": (6 + 3, 20),
        "rnn/multi_rnn_cell/cell_1/lstm_cell/bias": (20,),
        "rnn/multi_rnn_cell/cell_1/lstm_cell/projection/kernel": (5, 3),
        "softmax_w": (3, 10),
    }
    arrays = {name: random.normal(0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()}
    save_variables(tmp_path / "model.ckpt-7", {**arrays, "embedding/Adam": arrays["embedding"] * 0})
    done = imported(tmp_path / "model.ckpt-7.index", tmp_path / "model")
    assert [str(layer) for layer in done.model.config.layers] == ["lstm 6", "lstm 5 projected to 3"]
    low, high = ("rnn/multi_rnn_cell/cell_0/lstm_cell/", "rnn/multi_rnn_cell/cell_1/lstm_cell/")
    own = []
    for row in ROWS:
        below = tf1_lstm(arrays["embedding"][np.array(row)], arrays[f"{low}kernel"], arrays[f"{low}bias"])
        own.append(tf1_lstm(below, arrays[f"{high}kernel"], arrays[f"{high}bias"], arrays[f"{high}projection/kernel"]))
    assert_same(own, states_of(done))
    other = imported(tmp_path / "model.ckpt-7", tmp_path / "none", forget_bias=0.0)
    assert any("0 is added to the forget gate" in note for note in other.made.notes)
    hard = imported(tmp_path / "model.ckpt-7", tmp_path / "hard", forget_bias=0.0, gates="hard_sigmoid")
    assert {layer.gates for layer in hard.model.config.layers} == {"hard_sigmoid"}
    with pytest.raises(AssertionError):
        assert_same(own, states_of(other))


def test_tensorflow_1_grus(tmp_path):
    """GRUCell: gates r and u in one kernel, the candidate in another, reset before the product."""
    random = np.random.default_rng(4)
    cell = "bidirectional_rnn/{}/gru_cell/"
    shapes = {"gates/kernel": (4 + 5, 10), "gates/bias": (10,), "candidate/kernel": (4 + 5, 5), "candidate/bias": (5,)}
    arrays = {"word_embeddings": random.normal(size=(10, 4)).astype(np.float32)}
    for side in ("fw", "bw"):
        arrays |= {
            cell.format(side) + name: random.normal(0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()
        }
    save_variables(tmp_path / "gru", arrays)
    done = imported(tmp_path / "gru", tmp_path / "model")
    assert [str(layer) for layer in done.model.config.layers] == ["bidirectional gru 5 (reset before)"]
    own = []
    for row in ROWS:
        inputs = arrays["word_embeddings"][np.array(row)]
        ahead, back = ([arrays[cell.format(side) + name] for name in shapes] for side in ("fw", "bw"))
        own.append(np.hstack([tf1_gru(inputs, *ahead), tf1_gru(inputs[::-1], *back)[::-1]]))
    assert_same(own, states_of(done))


def tf1_gru(inputs, gates, gates_bias, candidate, candidate_bias):
    """TensorFlow 1's GRUCell, after its source."""
    state, states = np.zeros(len(candidate_bias)), []
    for x in inputs:
        r, u = np.split(1 / (1 + np.exp(-(np.concatenate([x, state]) @ gates + gates_bias))), 2)
        new = np.tanh(np.concatenate([x, r * state]) @ candidate + candidate_bias)
        state = u * state + (1 - u) * new
        states.append(state)
    return np.array(states)


def test_peepholes_are_refused(tmp_path):
    """use_peepholes=True leaves three diagonals beside the kernel."""
    name = "rnn/lstm_cell/"
    arrays = {f"{name}kernel": (9, 20), f"{name}bias": (20,), **{f"{name}w_{gate}_diag": (5,) for gate in "fio"}}
    save_variables(tmp_path / "peep", {key: np.ones(shape, np.float32) for key, shape in arrays.items()})
    with pytest.raises(ImportRefusedError, match=r"peepholes .*; only LSTMs without them can be imported"):
        imported(tmp_path / "peep", tmp_path / "model")


def test_what_is_no_checkpoint_is_refused(tmp_path):
    """An index of noise, and a directory that isn't a SavedModel."""
    (tmp_path / "noise.index").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(ImportRefusedError, match=r"can't be read as a checkpoint"):
        imported(tmp_path / "noise.index", tmp_path / "model")
    with pytest.raises(ImportRefusedError, match=r"is a directory; give the file in it .*noise.index$"):
        imported(tmp_path, tmp_path / "model")
