"""Crafted Keras files of weights alone: the rule for what is left over is that of state dicts."""

import h5py
import numpy as np
import pytest
from support.crafted import RIGHT, Cases, check
from support.imported import assert_same, imported, states_of

from unrolled.errors import ModelError
from worker.model_import.errors import ImportRefusedError

keras = pytest.importorskip("keras")
layers = keras.layers
# Keras's variables warn with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CASES = Cases()
case = CASES.case
ROWS = [[3], [1, 2], [9, 4, 4, 1, 7], [5, 6, 7, 8, 9, 1, 1, 2, 3]]


def lstm(units=5, **settings):
    return layers.LSTM(units, return_sequences=True, **settings)


@case(suffix=".weights.h5")
def embedding_and_layer():
    return [layers.Embedding(10, 4), lstm()], 2


@case(suffix=".weights.h5")
def head_on_top():
    return [layers.Embedding(10, 4), lstm(), layers.Dense(3)], 2


@case(suffix=".weights.h5")
def normalization_on_top():
    return [layers.Embedding(10, 4), lstm(), layers.LayerNormalization(), layers.Dense(3)], 2


@case(r"dense.* --leave", suffix=".weights.h5")
def dense_between():
    return [layers.Embedding(10, 4), layers.Dense(4, activation="tanh"), lstm()], 3


@case(r"conv1d", suffix=".weights.h5")
def convolution_between():
    return [layers.Embedding(10, 4), layers.Conv1D(4, 3, padding="same"), lstm()], 3


@case(r"depthwise", suffix=".weights.h5")
def depthwise_convolution_between():
    return [layers.Embedding(10, 4), layers.DepthwiseConv1D(3, padding="same"), lstm()], 3


@case(r"layer_normalization", suffix=".weights.h5")
def layer_norm_between():
    return [layers.Embedding(10, 4), layers.LayerNormalization(), lstm()], 3


@case(r"batch_normalization", suffix=".weights.h5")
def batch_norm_between():
    return [layers.Embedding(10, 4), layers.BatchNormalization(), lstm()], 3


@case(r"dense", layers=("lstm", "lstm_1"), suffix=".weights.h5")
def dense_between_two_layers():
    return [layers.Embedding(10, 4), lstm(6), layers.Dense(6), lstm(5)], 4


@case(r"p_re_lu", suffix=".weights.h5")
def learned_activation_between():
    return [layers.Embedding(10, 4), layers.PReLU(shared_axes=[1]), lstm()], 3


@case(r"--layer lstm --layer lstm_1", then={"layers": ("lstm", "lstm_1")}, suffix=".weights.h5")
def two_layers_of_one_width():
    return [layers.Embedding(10, 5), lstm(5), lstm(5)], 3


@case(suffix=".weights.h5")
def two_layers_that_fit_in_one_order():
    return [layers.Embedding(10, 4), lstm(6), lstm(5)], 3


@case(r"nothing in the file says what they are.*--one-hot", suffix=".weights.h5")
def features_of_audio():
    return [lstm()], 1


def test_an_embedding_is_left_out_by_the_name_that_it_is_named_by(tmp_path):
    """The refusal names it so."""
    one, other = keras.Input((None,)), keras.Input((None,))
    first = lstm()(layers.Embedding(10, 4, name="first")(one))
    second = layers.LSTM(3, return_sequences=True, name="above")(layers.Embedding(10, 4, name="second")(other))
    path = tmp_path / "model.weights.h5"
    keras.Model([one, other], [first, second]).save_weights(path)
    with pytest.raises(ImportRefusedError, match="and the others with --leave NAME"):
        imported(path, tmp_path / "none")
    found = imported(path, tmp_path / "model", layers=("lstm",), embedding="embedding", leave=("embedding_1",))
    assert "layers/embedding_1/vars/0 (--leave)" in found.made.left


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_an_embedding_of_8_bits_is_named_and_not_the_head(tmp_path):
    """Even if that comes first in the file, and is as wide."""
    model = keras.Sequential([keras.Input((None,)), layers.Embedding(10, 4), lstm(), layers.Dense(4)])
    model.quantize("int8")
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(
        ImportRefusedError, match=r"layers/embedding/vars/0 \(10, 4\) may be its embedding, but .* int8"
    ):
        imported(tmp_path / "model.weights.h5", tmp_path / "none")


def write(case, directory):
    keras.utils.set_random_seed(1)
    parts, end = case.make()
    model = keras.Sequential(parts)
    model.build((None, None) if isinstance(parts[0], layers.Embedding) else (None, None, 13))
    random = np.random.default_rng(2)
    model.set_weights([random.normal(0, 0.6, array.shape) for array in model.get_weights()])
    source = directory / f"model{case.suffix}"
    model.save_weights(source)
    part = keras.Sequential(parts[:end])

    def own(row):
        given = np.ones((len(row), 13)) if len(model.inputs[0].shape) == 3 else np.asarray(row, np.int32)
        return np.asarray(part(given[None]))[0]

    return source, own


@pytest.mark.parametrize("case", CASES.parameters)
def test_keras_weights(case, tmp_path):
    """Each file's outcome."""
    check(case, *write(case, tmp_path), tmp_path, ROWS)


class Net(keras.Model):
    """A subclassed model. Keras stores each layer under the first attribute that contains it."""

    def __init__(self, embedding, tables, states):
        super().__init__()
        for name, made in tables.items():
            setattr(self, name, made)
        self.first, self.states, self.head = getattr(self, embedding), states, layers.Dense(2)

    def call(self, ids):
        return self.head(self.states(self.first(ids)))


def saved(path, first, **tables):
    """The states of the rows in a model whose weights are saved."""
    model = Net(first, tables, layers.GRU(5, return_sequences=True))
    for table in tables.values():
        table(np.array([[1]]))
    model(np.array([[1]]))
    random = np.random.default_rng(3)
    model.set_weights([random.normal(0, 0.6, array.shape) for array in model.get_weights()])
    model.save_weights(path)
    return [np.asarray(model.states(model.first(np.array([row]))))[0] for row in ROWS]


@pytest.mark.parametrize("options", [{}, {"embedding": "emb"}])
def test_an_embedding_under_the_name_of_an_attribute(options, tmp_path):
    """The file has the embedding as emb/vars/0, and only its layer's own name says that it is one."""
    own = saved(tmp_path / "net.weights.h5", "emb", emb=layers.Embedding(10, 4))
    assert_same(own, states_of(imported(tmp_path / "net.weights.h5", tmp_path / "model", **options), ROWS))


def test_an_embedding_whose_names_say_nothing(tmp_path):
    """It can be named, and the refusal says so."""
    own = saved(tmp_path / "net.weights.h5", "e", e=layers.Embedding(10, 4, name="x"))
    with pytest.raises(ModelError, match=r"If e \(10, 4\) is its embedding: --embedding e\."):
        imported(tmp_path / "net.weights.h5", tmp_path / "refused")
    done = imported(tmp_path / "net.weights.h5", tmp_path / "model", embedding="e")
    assert_same(own, states_of(done, ROWS))


def test_two_embeddings_of_one_name(tmp_path):
    """Each has the name of its array, and neither is taken without a question."""
    source = tmp_path / "net.weights.h5"
    inner = keras.Sequential([layers.Embedding(10, 4)])
    own = saved(source, "embedding", embedding=layers.Embedding(10, 4), inner=inner)
    with pytest.raises(ModelError, match=r"embedding/vars/0 .*inner/layers/embedding/vars/0 .*--embedding"):
        imported(source, tmp_path / "refused")
    options = {"embedding": "embedding/vars/0", "leave": ("inner/layers/embedding",)}
    assert_same(own, states_of(imported(source, tmp_path / "model", **options), ROWS))


def test_metrics_of_a_fitted_model_are_left(tmp_path):
    """Keras 2 stores total and count of its losses beside the weights."""
    source = tmp_path / "net.weights.h5"
    own = saved(source, "embedding", embedding=layers.Embedding(10, 4))
    with h5py.File(source, "r+") as file:
        file.create_dataset("metrics/mean/vars/0", data=np.float32(3.0))
        file.create_dataset("metrics/mean/vars/1", data=np.float32(7.0))
    done = imported(source, tmp_path / "model")
    assert_same(own, states_of(done, ROWS))
    assert [left for left in done.made.left if "metric" in left] == [
        f"metrics/mean/vars/{at} (metric)" for at in (0, 1)
    ]


def test_some_are_right():
    """A reader that refuses everything would pass most of these tests."""
    assert sum(one.outcome == RIGHT or one.then is not None for one in CASES) >= 5
