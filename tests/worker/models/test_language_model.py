"""The stacked LSTM language model: its methods, Keras's mask, and the arithmetic of NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from support.model_configs import KINDS
from support.processes import REPOSITORY
from support.reference import layer_states, random_weights
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.directory import open_model, save_model
from unrolled.model.weights import new_weights
from worker.models.language_model import LanguageModel

CONFIG = ModelConfig.stacked(vocab_size=50, max_length=10, num_lstm_units=7, num_lstm_layers=3, embedding_dim=4)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "one": 1, "two": 2}, unk_token="[PAD]"))
    return save_model(tmp_path_factory.mktemp("model"), CONFIG, random_weights(CONFIG, 3), tokenizer.to_str())


@pytest.fixture(scope="module")
def model(directory):
    return LanguageModel.from_directory(directory)


def test_zeros_anywhere(model):
    """At each real token is the textbook's state over the real tokens alone."""
    random = np.random.default_rng(0)
    batch = random.integers(1, 51, (40, 10)) * (random.random((40, 10)) < 0.6)
    batch[0] = 0
    outputs, masks = model.run_lstm(batch.astype(np.int32), is_training=False)
    assert outputs.shape == (40, 10, 7)
    assert outputs.dtype == tf.float32
    np.testing.assert_array_equal(masks, np.sign(batch))
    for row, output in zip(batch, outputs.numpy(), strict=True):
        expected = layer_states(CONFIG, model.weights(), row[row > 0])[-1]
        np.testing.assert_allclose(output[row > 0], expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_sequences_longer_than_max_length(model, dtype):
    """Nothing is cut off at max_length, with any integer type."""
    batch = np.arange(1, 31, dtype=dtype)[None]
    outputs, masks = model.run_lstm(batch, is_training=False)
    np.testing.assert_allclose(outputs[0], layer_states(CONFIG, model.weights(), batch[0])[-1], atol=1e-5)
    assert masks.numpy().sum() == 30


def test_calls_share_weights(model):
    """Two calls give equal results, because layers are made once."""
    batch = np.array([[1, 2, 3]], np.int32)
    first, _ = model.run_lstm(batch, is_training=False)
    again, _ = model.run_lstm(batch, is_training=False)
    np.testing.assert_array_equal(first, again)


def test_dropout_in_training_only(model):
    """Training drops inputs at random; the model's outputs afterwards are unchanged."""
    batch = np.tile(np.arange(1, 9, dtype=np.int32), (64, 1))
    before, _ = model.run_lstm(batch, is_training=False)
    trained, _ = model.run_lstm(batch, is_training=True)
    again, _ = model.run_lstm(batch, is_training=True)
    after, _ = model.run_lstm(batch, is_training=False)
    np.testing.assert_array_equal(before, after)
    assert np.abs(trained - before).max() > 0.01
    assert np.abs(trained - again).max() > 0.01


def test_keep_probability_is_not_a_drop_rate(model):
    """Keeping three quarters is dropping one quarter."""
    assert model.make_lstm_cell(0.75).dropout == 0.25
    assert [cell.dropout for cell in model.stacked_lstm_cells(is_training=True).cells] == [0.5] * 3
    stack = model.stacked_lstm_cells(is_training=False)
    assert isinstance(stack, tf.keras.layers.StackedRNNCells)
    assert [cell.dropout for cell in stack.cells] == [0.0] * 3


def test_a_training_step_moves_every_weight():
    """Gradients reach every variable, so the model can be trained and saved."""
    model = LanguageModel(50, 10, 7, 2)
    with tf.GradientTape() as tape:
        outputs, _ = model.run_lstm(np.arange(1, 51, dtype=np.int32).reshape(5, 10), is_training=True)
        loss = tf.reduce_sum(outputs**2)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    assert all(np.abs(tf.convert_to_tensor(gradient)).max() > 0 for gradient in gradients)


def test_fresh_model_has_the_fourth_root_embedding():
    """Without embedding_dim the width is int(vocab_size ** 0.25), over vocab_size + 1 rows."""
    model = LanguageModel(vocab_size=100, max_length=5, num_lstm_units=4, num_lstm_layers=1)
    assert model.weights()["embedding"].shape == (101, 3)
    assert model.get_input_embeddings(np.array([[100]], np.int32)).shape == (1, 1, 3)


def test_round_trip_through_a_directory(model, tmp_path):
    """Saving and opening keep every bit."""
    saved = model.save(tmp_path / "copy")
    again = LanguageModel.from_directory(open_model(saved.path))
    for name, array in model.weights().items():
        np.testing.assert_array_equal(again.weights()[name], array)


def test_other_kinds_are_refused(tmp_path):
    """The text says what the model has, and that engines compute it."""
    config = KINDS["gru"]
    directory = save_model(tmp_path / "gru", config, new_weights(config, 1))
    with pytest.raises(ModelError, match=r"has 2 x gru 5 on an embedding of 4; compute it with an engine"):
        LanguageModel.from_directory(directory)


def test_foreign_weights_are_refused(model):
    """Weights of another shape, or too few, are named."""
    with pytest.raises(ModelError, match="must be"):
        model.set_weights({})
    weights = model.weights()
    with pytest.raises(ModelError, match="must be"):
        model.set_weights({**weights, "lstm.0.bias": weights["lstm.0.bias"][1:]})


def test_sizes_are_checked():
    """A model without units is refused."""
    with pytest.raises(ModelError, match="num_lstm_units is 0"):
        LanguageModel(10, 10, 0, 1)


def test_tokenizer(model, tmp_path):
    """The tokenizer is the directory's; a missing or damaged one is an error that says so."""
    assert model.tokenizer.token_to_id("two") == 2
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        _ = LanguageModel(10, 10, 4, 1).tokenizer
    rubbish = save_model(tmp_path / "rubbish", CONFIG, new_weights(CONFIG, 0), "{}")
    with pytest.raises(ModelError, match="is not a tokenizer"):
        _ = LanguageModel.from_directory(rubbish).tokenizer


def test_keras_is_asked_for_by_its_own_name():
    """TensorFlow's name for it means Keras 2 where TF_USE_LEGACY_KERAS is set, and the two don't mix."""
    modules = [path for path in (REPOSITORY / "worker").rglob("*.py") if "tf.keras." in path.read_text()]
    assert modules == []
