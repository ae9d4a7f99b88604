"""Keras's own masks: the states that they give at real tokens are those of the row without its zeros."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masked_keras import MaskedKeras
from support.model_configs import KINDS, model_configs
from support.reference import layer_states, random_weights


def assert_equals_numpy(config, batch, seed):
    """At the real tokens are the states of each layer over the real tokens alone."""
    weights = random_weights(config, seed)
    layer_outputs, masks = MaskedKeras(config, weights).run(batch)
    np.testing.assert_array_equal(masks, np.sign(batch))
    assert tuple(outputs.shape[2] for outputs in layer_outputs) == config.layer_dims
    for row, *outputs in zip(batch, *(outputs.numpy() for outputs in layer_outputs), strict=True):
        for found, expected in zip(outputs, layer_states(config, weights, row[row > 0]), strict=True):
            np.testing.assert_allclose(found[row > 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_each_kind(config):
    """In rows with gaps, at both ends too, and in one that is padding only."""
    random = np.random.default_rng(0)
    batch = random.integers(1, config.vocab_size + 1, (12, 9)) * (random.random((12, 9)) < 0.6)
    batch[0] = 0
    assert_equals_numpy(config, batch.astype(np.int32), seed=3)


@settings(max_examples=20, deadline=None)
@given(model_configs(), st.integers(0, 2**32 - 1))
def test_any_kind(config, seed):
    """In any stack of layers."""
    batch = np.random.default_rng(seed).integers(0, config.vocab_size + 1, (4, 5), np.int32)
    assert_equals_numpy(config, batch, seed)
