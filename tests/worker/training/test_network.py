"""The network that is trained: the stacked LSTM language model with a loss over real tokens only."""

import numpy as np
import pytest
import tensorflow as tf

from unrolled.errors import BrokenWorkerError
from unrolled.training.plan import FitOptions
from worker.models.language_model import LanguageModel
from worker.training import cross_entropy as module
from worker.training.batches import Window, windows
from worker.training.cross_entropy import cross_entropy, loss_alone
from worker.training.device import start_tensorflow
from worker.training.network import Network

VOCABULARY, UNITS = 30, 8
OPTIONS = {"lstm_units": UNITS, "lstm_layers": 2, "embedding_dim": 5}
RANDOM = np.random.default_rng(0)


def network(**options):
    return Network(FitOptions(VOCABULARY, **OPTIONS | options), np.zeros(VOCABULARY, np.float32))


@pytest.fixture(scope="module")
def shared():
    """A network that drops nothing, one that drops half, and the initial state of both: tracing them takes time."""
    plain = network(keep_probability=1.0)
    return plain, network(keep_probability=0.5), plain.state()


@pytest.fixture
def net(shared):
    """A fresh network without dropout."""
    shared[0].restore(shared[2])
    return shared[0]


@pytest.fixture
def dropping(shared):
    """A fresh network with dropout, and the same weights."""
    shared[1].restore(shared[2])
    return shared[1]


def padded(lengths, width=None):
    batch = np.zeros((len(lengths), width or max(lengths)), np.int32)
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = RANDOM.integers(1, VOCABULARY + 1, length)
    return batch


def whole(batch):
    return Window(batch[:, :-1], batch[:, 1:])


def reference_loss(net, batch, is_training=False):
    """The loss by `run_lstm` and plain TensorFlow, a token at a time."""
    model = LanguageModel(VOCABULARY, 128, UNITS, 2, 5)
    model.set_weights(net.model_weights())
    head = net.head_weights()
    outputs, mask = model.run_lstm(batch[:, :-1], is_training)
    total = 0.0
    for row, (length, states) in enumerate(zip(np.count_nonzero(batch, 1), outputs.numpy(), strict=True)):
        logits = states[: length - 1] @ head["head.kernel"] + head["head.bias"]
        logits -= np.log(np.exp(logits).sum(1, keepdims=True))
        total -= logits[np.arange(length - 1), batch[row, 1:length] - 1].sum()
    assert mask.shape == batch[:, :-1].shape
    return total


def test_the_loss_is_that_of_run_lstm_over_real_tokens(net):
    """With and without more padding, in validation and, without dropout, in training."""
    batch = padded([9, 6, 2])
    expected = reference_loss(net, batch)
    for width in (9, 14):
        wide = np.zeros((3, width), np.int32)
        wide[:, :9] = batch
        assert net.evaluate(whole(wide), None)[0] == pytest.approx(expected, rel=1e-5)
        assert net.train(whole(wide), None, 0.0)[0] == pytest.approx(expected, rel=1e-5)


def test_padding_changes_no_step(net, shared):
    """The weights after a step differ only by rounding."""
    batch = padded([9, 6, 2])
    wide = np.zeros((3, 14), np.int32)
    wide[:, :9] = batch
    after = []
    for each in (batch, wide):
        net.restore(shared[2])
        net.train(whole(each), None, 0.01)
        after.append(net.state())
    for name, array in after[0].items():
        np.testing.assert_allclose(after[1][name], array, rtol=1e-3, atol=1e-6, err_msg=name)
    assert not np.array_equal(after[0]["embedding"], shared[2]["embedding"])


def test_states_go_on_from_window_to_window(net):
    """Cutting into windows changes a held-out loss only by rounding."""
    batch = padded([23, 17, 9, 8, 2])
    expected = reference_loss(net, batch)
    for width in (3, 7, 8, 40):
        total, states = 0.0, None
        for window in windows(batch, width):
            loss, states = net.evaluate(window, states)
            total += loss
        assert total == pytest.approx(expected, rel=1e-5)


def test_gradients_in_slices_are_the_whole_ones(monkeypatch):
    """The gradients of states, kernel and bias, whether or not slices divide the tokens evenly."""
    states, kernel = RANDOM.normal(size=(13, UNITS)), RANDOM.normal(size=(UNITS, VOCABULARY))
    arguments = [tf.constant(array, tf.float32) for array in (states, kernel, RANDOM.normal(size=VOCABULARY))]
    labels = tf.constant(RANDOM.integers(0, VOCABULARY, 13), tf.int32)
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        logits = arguments[0] @ arguments[1] + arguments[2]
        expected = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    gradients = tape.gradient(expected, arguments)
    for tokens in (1, 4, 13, 100):
        monkeypatch.setattr(module, "SLICE_LOGITS", tokens * VOCABULARY)
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss = cross_entropy(*arguments, labels)
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)
        assert float(loss_alone(*arguments, labels)) == pytest.approx(float(expected), rel=1e-5)
        for found, wanted in zip(tape.gradient(loss, arguments), gradients, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_dropout_is_on_in_training_only(net, dropping, shared):
    """The seed and the step decide which inputs are dropped."""
    batch = padded([12] * 6)
    without = net.evaluate(whole(batch), None)[0]
    assert dropping.evaluate(whole(batch), None)[0] == without
    first, second = (dropping.train(whole(batch), None, 0.0)[0] for _ in range(2))
    assert len({without, first, second}) == 3
    dropping.restore(shared[2])
    assert dropping.train(whole(batch), None, 0.0)[0] == first


def test_a_state_that_is_restored_learns_on_alike(net):
    """The state includes the weights, the softmax and Adam's moments: the next step gives the same numbers."""
    batch = padded([12] * 6)
    net.train(whole(batch), None, 0.01)
    begun = net.state()
    net.train(whole(batch), None, 0.01)
    once = net.state()
    net.train(whole(batch), None, 0.01)
    net.restore(begun)
    net.train(whole(batch), None, 0.01)
    for name, array in net.state().items():
        np.testing.assert_array_equal(once[name], array, err_msg=name)


def test_a_gpu_that_is_not_there():
    """This is an error, not a slow training."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("machine: there is a GPU")
    with pytest.raises(BrokenWorkerError, match="--device is gpu, but TensorFlow sees no GPU"):
        start_tensorflow("gpu", None)
