"""Models whose rows are padded: both engines compute padding, and give outputs at real tokens only."""

from dataclasses import replace

import numpy as np
import pytest
from support.ragged_rows import ragged
from support.reference import column as expected_column
from support.reference import layer_states, random_weights

from unrolled.errors import ModelError, RequestError
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.padding import Padding
from worker.engines import padded
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine
from worker.engines.tensorflow.engine import TensorFlowEngine
from worker.pool.isolation import compute_isolating

BOTH = LayerConfig(5, direction="bidirectional")
MODELS = {
    "after": ModelConfig(9, 7, 4, (BOTH, LayerConfig(6, "gru")), Padding(7)),
    "before": ModelConfig(9, 7, 4, (LayerConfig(5), LayerConfig(5, residual=True)), Padding(7, "before")),
    "with an id of the model's": ModelConfig(9, 7, 4, (BOTH,), Padding(7, "before", 3)),
    "vectors of zeros": ModelConfig(9, 7, None, (BOTH,), Padding(7)),
    "one-hot padding": ModelConfig(9, 7, None, (BOTH,), Padding(7, "before", 9)),
    "mlstm": ModelConfig(9, 7, None, (LayerConfig(5, "mlstm"),), Padding(7, "before")),
}
FUSED = library.why_unavailable() is None
ENGINES = ("tensorflow", *(("fused",) if FUSED else ()))


def make(name, directory):
    return padded.make_padded(
        directory,
        lambda each: FusedEngine(each, threads=1) if name == "fused" else TensorFlowEngine(each, device="cpu"),
    )


def columns_of(config):
    spec = OutputSpec(layers=tuple(range(len(config.layers))), pooling=("none", "mean", "max", "last", "first"))
    return spec.columns(config)


def compute(engine, columns, *shards):
    """For each shard and column what the engine wrote; NaN where it wrote nothing."""
    shards = [ragged(rows) for rows in shards]
    outputs = [
        [np.full((column.vectors(s.rows, s.values.size), column.width), np.nan, np.float32) for column in columns]
        for s in shards
    ]
    return outputs, engine.compute(shards, outputs, columns)


def rows_of(*lengths):
    random = np.random.default_rng(1)
    return [random.integers(1, 10, length).tolist() for length in lengths]


SHARDS = [rows_of(3, 0, 7, 1), [], rows_of(0, 2, 6, 6, 4, 5, 0)]


# TensorFlow traces each model for seconds, and sees nothing of the padding but ids.
CASES = [(ENGINES[-1], name) for name in MODELS] + [("tensorflow", "after"), ("tensorflow", "vectors of zeros")]


@pytest.mark.parametrize(("engine", "name"), dict.fromkeys(CASES))
def test_outputs_at_real_tokens(engine, name, tmp_path, monkeypatch):
    """They are NumPy's on padded rows, of every layer and pooled over real tokens, however the rows are divided."""
    config = MODELS[name]
    weights = random_weights(config, 3)
    made = make(engine, save_model(tmp_path, config, weights))
    columns = columns_of(config)
    outputs, stats = compute(made, columns, *SHARDS)
    assert stats.tokens == sum(len(row) for rows in SHARDS for row in rows)
    assert stats.computed > 0
    for found, rows in zip(outputs, SHARDS, strict=True):
        for array, column in zip(found, columns, strict=True):
            wanted = [expected_column(layer_states(config, weights, row)[column.layer], column.pooling) for row in rows]
            wanted = np.vstack([np.empty((0, column.width)), *wanted])
            np.testing.assert_allclose(array, wanted, rtol=0, atol=1e-5)
    for scratch in (1, 4 * 7 * 40):  # a row at a time, and a few
        monkeypatch.setattr(padded, "SCRATCH_BYTES", scratch)
        again, _ = compute(made, columns, *SHARDS)
        for one, other in zip(outputs, again, strict=True):
            for array, same in zip(one, other, strict=True):
                np.testing.assert_array_equal(same, array)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_bits_in_any_company(engine, tmp_path):
    """A row has the same bits alone as in two shards with others."""
    config = MODELS["after"]
    made = make(engine, save_model(tmp_path, config, random_weights(config, 3)))
    columns = columns_of(config)
    rows = rows_of(*range(1, 8), *range(1, 8))
    outputs, _ = compute(made, columns, rows[:5], rows[5:])
    for index, _ in enumerate(columns):
        alone = [compute(made, columns, [row])[0][0][index] for row in rows]
        np.testing.assert_array_equal(np.concatenate([of[index] for of in outputs]), np.concatenate(alone))


def test_rows_that_are_too_long_fail_alone(tmp_path):
    """Nothing is cut: each such row has a reason with its length and the model's, and the others are computed."""
    config = MODELS["after"]
    weights = random_weights(config, 3)
    made = make(ENGINES[-1], save_model(tmp_path, config, weights))
    columns = OutputSpec().columns(config)
    rows = rows_of(3, 8, 7, 12)
    shard = ragged(rows)
    output = np.full((shard.values.size, columns[0].width), np.nan, np.float32)
    (failed,) = compute_isolating(made, [shard], [[output]], columns, 100, pytest.fail)
    assert {row: reason.removeprefix("RequestError: ").partition(",")[0] for row, reason in failed.items()} == {
        1: "the row has 8 tokens",
        3: "the row has 12 tokens",
    }
    assert "padded to 7 tokens" in failed[1]
    np.testing.assert_allclose(output[:3], layer_states(config, weights, rows[0])[-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(output[11:18], layer_states(config, weights, rows[2])[-1], rtol=0, atol=1e-5)


def test_the_padding_id_is_no_id_of_a_row(tmp_path):
    """Within, padding is the id after the largest one; a row can't have it."""
    config = MODELS["after"]
    made = make(ENGINES[-1], save_model(tmp_path, config, random_weights(config, 3)))
    for bad in (0, 10):
        with pytest.raises(RequestError, match=r"isn't in 1\.\.9"):
            compute(made, OutputSpec().columns(config), [[1, bad]])


def test_an_engine_says_that_it_pads(tmp_path):
    """It has the name, arithmetic and threads of the engine that computes."""
    config = MODELS["before"]
    made = make(ENGINES[-1], save_model(tmp_path, config, random_weights(config, 3)))
    assert made.description.endswith(", rows padded to 7 tokens with row 0, before the tokens")
    assert (made.name, made.arithmetic) == (ENGINES[-1], "float32")
    if FUSED:
        assert made.threads == 1


def test_common_padding_is_computed_once(tmp_path):
    """Rows that begin with padding share its steps."""
    if not FUSED:
        pytest.skip("the TensorFlow engine shares nothing")
    config = replace(MODELS["before"], layers=(LayerConfig(5),))
    made = make("fused", save_model(tmp_path, config, random_weights(config, 3)))
    _, stats = compute(made, OutputSpec().columns(config), [[number] for number in range(1, 10)])
    assert stats.computed == 6 + 9  # six steps of padding, and nine tokens


def test_an_engine_alone_refuses_such_a_model(tmp_path):
    """It would compute other vectors."""
    model = save_model(tmp_path, MODELS["after"], random_weights(MODELS["after"], 3))
    for engine in (FusedEngine, TensorFlowEngine):
        with pytest.raises(ModelError, match="make_padded"):
            engine(model)
