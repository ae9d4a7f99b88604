"""The vectors with which an imported model is compared: of the size that the model expects."""

import numpy as np
import pytest

from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from worker.model_import.parity.drawn_vectors import draw_vectors

LSTM = LayerConfig(4)
SCALE = MapConfig(2, "scale")
MEANS, DEVIATIONS = np.array([20_000, -0.5]), np.array([5, 2])


def drawn(layers, **weights):
    config = ModelConfig(0, 9, None, layers, vector_dim=2)
    tensors = {name.replace("_", "."): np.asarray(numbers, np.float32) for name, numbers in weights.items()}
    return draw_vectors(config, tensors, 2000, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("layers", "weights", "means", "deviations"),
    [
        ((LSTM,), {}, 0, 1),
        (
            (SCALE, SCALE, LSTM),
            {"scale_0_gain": [1, 1], "scale_0_bias": -MEANS, "scale_1_gain": 1 / DEVIATIONS, "scale_1_bias": [0, 0]},
            MEANS,
            DEVIATIONS,
        ),
        ((SCALE, LSTM), {"scale_0_gain": [1 / 255, 0], "scale_0_bias": [-1, 3]}, [255, 0], [255, 1]),
        ((LSTM, MapConfig(4, "scale")), {}, 0, 1),
    ],
    ids=["no scale", "a mean and a deviation", "a gain of zero", "a scale above"],
)
def test_what_the_first_layer_reads_is_of_a_usual_size(layers, weights, means, deviations):
    found = drawn(layers, **weights)
    assert (found.shape, found.dtype) == ((2000, 2), np.float32)
    np.testing.assert_allclose((found.mean(axis=0) - means) / deviations, 0, atol=0.1)
    np.testing.assert_allclose(found.std(axis=0) / deviations, 1, atol=0.1)
