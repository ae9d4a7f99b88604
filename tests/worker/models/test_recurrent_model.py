"""The Keras reference of every kind of layer against plain NumPy, zeros anywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.model_configs import KINDS, model_configs
from support.reference import layer_states, random_weights

from unrolled.errors import ModelError
from unrolled.model.directory import save_model
from worker.models.language_model import LanguageModel
from worker.models.recurrent_model import RecurrentModel


def assert_equals_numpy(config, batch, seed):
    """At every set bit of the mask stands each layer's state over the real tokens alone."""
    weights = random_weights(config, seed)
    layer_outputs, masks = RecurrentModel(config, weights).run(batch)
    np.testing.assert_array_equal(masks, np.sign(batch))
    assert tuple(outputs.shape[2] for outputs in layer_outputs) == config.layer_dims
    for row, *outputs in zip(batch, *(outputs.numpy() for outputs in layer_outputs), strict=True):
        for found, expected in zip(outputs, layer_states(config, weights, row[row > 0]), strict=True):
            np.testing.assert_allclose(found[row > 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_each_kind(config):
    """Of every layer, in rows with gaps, at both ends too, and one of padding alone."""
    random = np.random.default_rng(0)
    batch = random.integers(1, config.vocab_size + 1, (12, 9)) * (random.random((12, 9)) < 0.6)
    batch[0] = 0
    assert_equals_numpy(config, batch.astype(np.int32), seed=3)


@settings(max_examples=20, deadline=None)
@given(model_configs(), st.integers(0, 2**32 - 1))
def test_any_kind(config, seed):
    """Whatever stands on whatever."""
    batch = np.random.default_rng(seed).integers(0, config.vocab_size + 1, (4, 5), np.int32)
    assert_equals_numpy(config, batch, seed)


def test_the_briefs_model_is_the_same_as_any(tmp_path):
    """Both references agree on what both can run, and the brief's says so of what it can't."""
    config = KINDS["stacked"]
    directory = save_model(tmp_path / "stacked", config, random_weights(config, 1))
    batch = np.random.default_rng(0).integers(0, config.vocab_size + 1, (8, 7), np.int32)
    outputs, masks = LanguageModel.from_directory(directory).run_lstm(batch, is_training=False)
    of_layers, _ = RecurrentModel.from_directory(directory).run(batch)
    real = masks.numpy() == 1
    np.testing.assert_allclose(outputs.numpy()[real], of_layers[-1].numpy()[real], rtol=0, atol=1e-6)
    other = save_model(tmp_path / "other", KINDS["gru"], random_weights(KINDS["gru"], 1))
    with pytest.raises(ModelError, match=r"has 2 x gru 5 on an embedding of 4; run it with worker\.models\.recurrent"):
        LanguageModel.from_directory(other)
