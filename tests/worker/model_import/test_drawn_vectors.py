"""The vectors with which an imported model is compared: near those that the model expects."""

import numpy as np
import pytest

from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from worker.model_import.parity.drawn_vectors import draw_vectors

LSTM = LayerConfig(4)
SCALE = MapConfig(2, "scale")
MEANS, DEVIATIONS = np.array([20_000, -0.5]), np.array([5, 2])
DIFFERENCE = {"scale_0_gain": [1, 1], "scale_0_bias": -MEANS}


def drawn(layers, weights, mask=None):
    config = ModelConfig(0, 9, None, layers, vector_dim=2, mask_value=mask)
    tensors = {name.replace("_", "."): np.asarray(numbers, np.float32) for name, numbers in weights.items()}
    return draw_vectors(config, tensors, 2000, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("layers", "weights", "means", "deviations"),
    [
        ((LSTM,), {}, 0, 1),
        ((SCALE, LSTM), DIFFERENCE, MEANS, 1),
        (
            (SCALE, SCALE, LSTM),
            DIFFERENCE | {"scale_1_gain": -1 / DEVIATIONS, "scale_1_bias": [1, 0]},
            MEANS + DEVIATIONS * [1, 0],
            DEVIATIONS,
        ),
        ((SCALE, LSTM), {"scale_0_gain": [0.2, 1], "scale_0_bias": [-4000, 0]}, [20_000, 0], [5, 1]),
        (
            (SCALE, SCALE, LSTM),
            DIFFERENCE | {"scale_1_gain": [0.2, 1], "scale_1_bias": [-2000, 0]},
            [30_000, -0.5],
            [5, 1],
        ),
        ((MapConfig(2, "scale", residual=True), LSTM), DIFFERENCE, 0, 1),
        ((LSTM, MapConfig(4, "scale")), {}, 0, 1),
    ],
    ids=[
        "no scale",
        "a mean",
        "a mean and a deviation",
        "a product first",
        "a product second",
        "a sum",
        "a scale above",
    ],
)
def test_what_the_first_layer_reads_is_of_a_usual_size(layers, weights, means, deviations):
    """However far from 0 the vectors are."""
    found = drawn(layers, weights)
    assert (found.shape, found.dtype) == ((2000, 2), np.float32)
    np.testing.assert_allclose((found.mean(axis=0) - means) / deviations, 0, atol=0.1)
    np.testing.assert_allclose(found.std(axis=0) / deviations, 1, atol=0.1)


def test_numbers_differ_though_the_deviation_is_smaller_than_the_steps_of_float32():
    """Keras divides by 1e-7 where the numbers of the training were all equal."""
    divided = {"scale_1_gain": [1e7, 0.5], "scale_1_bias": [0, 0]}
    found = drawn((SCALE, SCALE, LSTM), DIFFERENCE | divided)
    steps = (found[:, 0] - MEANS[0]) / np.spacing(np.float32(MEANS[0]))
    values, counts = np.unique(np.abs(steps), return_counts=True)
    assert (values[:2] == [0, 1]).all()
    assert counts[0] > 1000 > counts[1] > 100


def test_no_vector_is_that_of_the_mask():
    """A comparison would take it for padding."""
    weights = {"scale_0_gain": [1, 1], "scale_0_bias": [-1e6, -1e6], "scale_1_gain": [1e7, 1e7], "scale_1_bias": [0, 0]}
    assert not (drawn((SCALE, SCALE, LSTM), weights, mask=1e6) == 1e6).all(axis=1).any()
