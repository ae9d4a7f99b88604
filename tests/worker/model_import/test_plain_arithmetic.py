"""The plain arithmetic with which imported models are compared."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.imported import imported
from support.model_configs import KINDS

from unrolled.errors import ModelError
from unrolled.model.weights import new_weights
from worker.model_import.parity import comparison, plain_arithmetic
from worker.model_import.parity.plain_arithmetic import last_states


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_float32_is_float64_but_for_its_rounding(config):
    """For all kinds of layers, the two differ only by some last bits, and float32 stays float32."""
    weights = new_weights(config, 3)
    row = np.random.default_rng(1).integers(1, config.vocab_size + 1, 9, dtype=np.int32)
    exact, found = (last_states(config, weights, row, kind) for kind in (np.float64, np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)


def test_a_float32_sum_takes_one_product_after_another():
    """It begins with the bias, as in an engine: an addend below the last bit of a large sum is lost each time."""
    start, ones = np.array([2.0**24, 0.0]), np.ones((10, 2))
    found = plain_arithmetic._sums(*(array.astype(np.float32) for array in (start, ones[:, 0], ones)))
    assert found.tolist() == [2**24, 10]
    assert plain_arithmetic._sums(start, ones[:, 0], ones).tolist() == [2**24 + 10, 10]


def test_nan_is_no_small_difference(tmp_path):
    """It may be in any row: a model whose states float32 can't hold is refused."""
    zeros, nan = np.zeros((2, 1)), np.array([[0.0], [np.nan]])
    for row in range(3):
        made = {at: nan if at == row else zeros for at in range(3)}
        found = comparison._comparison(("a", made), ("b", dict.fromkeys(range(3), zeros)), dict.fromkeys(range(3), 0.0))
        assert np.isnan(found.largest)
        assert found.beyond(1.0)
    random = np.random.default_rng(0)
    shapes = {"emb.weight": (20, 4), "lstm.weight_ih_l0": (20, 4), "lstm.weight_hh_l0": (20, 5)}
    stored = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    stored["emb.weight"][15] = [3e38, -3e38, 3e38, 3e38]
    stored["lstm.weight_ih_l0"] *= 20
    save_file(stored, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"float32 arithmetic gives NaN .*Nothing was written"):
        imported(tmp_path / "model.safetensors", tmp_path / "model", parity=1e-5)
    assert not (tmp_path / "model").exists()
