"""Both engines compared with NumPy: every kind of layer, every column, rows of every length."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.model_configs import KINDS, model_configs
from support.ragged_rows import ragged
from support.reference import column as expected_column
from support.reference import layer_states, random_weights

from unrolled.errors import RequestError
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from unrolled.tokenization.vectors import VectorRow, numbered
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine
from worker.engines.tensorflow import layer_by_layer
from worker.engines.tensorflow.buckets import CHUNK, FEWEST_ROWS, WHOLE
from worker.engines.tensorflow.engine import TensorFlowEngine

POOLINGS = ("none", "mean", "max", "last", "first")
WITHOUT_KERNEL = library.why_unavailable()


def compute(engine, columns, *shards):
    """For each shard and column what the engine wrote; NaN where it wrote nothing."""
    outputs = [
        [np.full((s.values.size if c.per_token else s.rows, c.width), np.nan, np.float32) for c in columns]
        for s in shards
    ]
    engine.compute(shards, outputs, columns)
    return outputs


def expected(config, weights, columns, rows):
    """NumPy's result for each column of one shard."""
    states = [layer_states(config, weights, row) for row in rows]
    return [
        np.vstack(
            [np.empty((0, each.width)), *(expected_column(of_row[each.layer], each.pooling) for of_row in states)]
        )
        for each in columns
    ]


def engines(directory):
    """All engines that can compute a model."""
    yield TensorFlowEngine(directory, device="cpu")
    if not WITHOUT_KERNEL:
        yield FusedEngine(directory, threads=1)


def random_rows(config, lengths, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(1, config.vocab_size + 1, length, np.int32) for length in lengths]


def all_columns(config):
    return OutputSpec(layers=tuple(range(len(config.layers))), pooling=POOLINGS).columns(config)


def assert_equals_numpy(directory, weights, shards, columns):
    """Each engine gives NumPy's numbers, and so both agree."""
    for engine in engines(directory):
        outputs = compute(engine, columns, *map(ragged, shards))
        for found, rows in zip(outputs, shards, strict=True):
            for part, wanted in zip(found, expected(directory.config, weights, columns, rows), strict=True):
                np.testing.assert_allclose(part, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_each_kind(config, tmp_path):
    """Every layer and every pooling is right, for rows that are short, empty, or longer than a chunk."""
    weights = random_weights(config, 3, 0.5)
    directory = save_model(tmp_path, config, weights)
    shards = [random_rows(config, lengths, 1) for lengths in ((3, 0, 9, 1, 2 * CHUNK + 3), (), (CHUNK, 17))]
    assert_equals_numpy(directory, weights, shards, all_columns(config))


# Not shrunk: each example costs a second of tracing.
@settings(max_examples=7, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(model_configs(), st.lists(st.integers(0, 12), max_size=5), st.data())
def test_any_kind(tmp_path_factory, config, lengths, data):
    """Any stack of layers and any columns are right."""
    weights = random_weights(config, 1)
    directory = save_model(tmp_path_factory.mktemp("model"), config, weights)
    columns = all_columns(config)
    columns = tuple(data.draw(st.lists(st.sampled_from(columns), min_size=1, max_size=4, unique=True)))
    assert_equals_numpy(directory, weights, [random_rows(config, lengths)], columns)


def test_rows_of_vectors(tmp_path):
    """Of several shards, with a map below the first layer, short, empty, or too long to be computed whole."""
    layers = (
        MapConfig(4, "dense", "tanh"),
        LayerConfig(3, "gru", "bidirectional"),
        LayerConfig(6, residual=True),
    )
    config = ModelConfig(0, 9, None, (*layers, LayerConfig(4, residual=True, span=4)), vector_dim=4)
    weights, random = random_weights(config, 3, 0.5), np.random.default_rng(0)
    directory, columns = save_model(tmp_path, config, weights), all_columns(config)
    shards = [
        [random.standard_normal((n, 4), np.float32) for n in lengths] for lengths in ((3, 0, CHUNK + 3), (WHOLE + 5, 1))
    ]
    tables = [numbered([VectorRow(row, np.ones(len(row), np.bool_)) for row in rows], 4) for rows in shards]
    for engine in engines(directory):
        for found, rows in zip(compute(engine, columns, *tables), shards, strict=True):
            for part, wanted in zip(found, expected(config, weights, columns, rows), strict=True):
                np.testing.assert_allclose(part, wanted, rtol=0, atol=1e-5)
        with pytest.raises(RequestError, match="shard 0 has no vectors"):
            compute(engine, columns, ragged([[1]]))


@pytest.mark.parametrize("kind", ["everything", "bidirectional-gru"])
def test_rows_too_long_to_be_computed_whole(kind, tmp_path):
    """A backward pass begins at the end of a row, however long the row is."""
    config = KINDS[kind]
    weights = random_weights(config, 3, 0.5)
    directory = save_model(tmp_path, config, weights)
    rows = random_rows(config, (WHOLE, 5, WHOLE + 1, 3 * WHOLE + 7))
    assert_equals_numpy(directory, weights, [rows], all_columns(config))


def test_the_same_bits_in_any_company(tmp_path):
    """A row has the same bits alone, among other rows and in another order, pooled or not, at any length."""
    config = KINDS["everything"]
    directory = save_model(tmp_path, config, random_weights(config, 3))
    columns = all_columns(config)
    rows = random_rows(config, [*range(40), CHUNK + 1, CHUNK + 5, WHOLE + 1, WHOLE + 300])
    for engine in engines(directory):
        (together,) = compute(engine, columns, ragged(rows))
        (reversed_order,) = compute(engine, columns, ragged(rows[::-1]))
        alone = [compute(engine, columns, ragged([row]))[0] for row in rows]
        for index, column in enumerate(columns):
            apart = [outputs[index] for outputs in alone]
            np.testing.assert_array_equal(together[index], np.concatenate(apart))
            np.testing.assert_array_equal(reversed_order[index], np.concatenate(apart[::-1]))
            assert column.per_token or len(together[index]) == len(rows)


def test_the_same_bits_in_small_batches(tmp_path):
    """So it has if only rows of one chunk fit into a batch as a whole."""
    config = KINDS["bidirectional"]
    directory = save_model(tmp_path, config, random_weights(config, 3))
    engine = TensorFlowEngine(directory, device="cpu", batch_tokens=FEWEST_ROWS * CHUNK)
    columns = OutputSpec().columns(config)
    rows = random_rows(config, [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 900])
    (together,) = compute(engine, columns, ragged(rows))
    alone = [compute(engine, columns, ragged([row]))[0][0] for row in rows]
    np.testing.assert_array_equal(together[0], np.concatenate(alone))
    (as_ever,) = compute(TensorFlowEngine(directory, device="cpu"), columns, ragged(rows))
    np.testing.assert_allclose(together[0], as_ever[0], rtol=0, atol=1e-5)


def test_a_mean_is_of_the_same_bits_however_wide_the_batch(tmp_path):
    """With forward layers, rows end in the middle of chunks, beside longer rows."""
    config = KINDS["stacked"]
    engine = TensorFlowEngine(save_model(tmp_path, config, random_weights(config, 3)), device="cpu")
    columns = OutputSpec(pooling=("mean", "max")).columns(config)
    rows = random_rows(config, range(1, 3 * CHUNK, 7))
    (together,) = compute(engine, columns, ragged(rows))
    for number, row in enumerate(rows):
        for found, alone in zip(together, compute(engine, columns, ragged([row]))[0], strict=True):
            np.testing.assert_array_equal(found[number], alone[0])


def test_a_row_beyond_the_memory_is_refused(tmp_path, monkeypatch):
    """The text has the row's length and the longest allowed; other rows are computed."""
    config = KINDS["bidirectional"]
    directory = save_model(tmp_path, config, random_weights(config, 3))
    engine = TensorFlowEngine(directory, device="cpu")
    monkeypatch.setattr(layer_by_layer, "MOST_BYTES", 4 * (10 + 6) * (WHOLE + 10))
    columns = OutputSpec(pooling=("mean",)).columns(config)
    compute(engine, columns, ragged(random_rows(config, (WHOLE + 10, 3, WHOLE + 9))))
    with pytest.raises(
        RequestError, match=r"a row of 1,035 tokens can't be .*: at most 1,034 tokens of .*; cut the row"
    ):
        compute(engine, columns, ragged(random_rows(config, (WHOLE + 11, 3))))


def test_layers_above_those_asked_for_are_not_computed(tmp_path):
    """If only the first layer is stored, the traced function has only the first layer."""
    config = KINDS["stacked"]
    engine = TensorFlowEngine(save_model(tmp_path, config, random_weights(config, 3)), device="cpu")

    def products(layer):
        graph = engine._stack.function(OutputSpec(layers=(layer,)).columns(config)).get_concrete_function().graph
        bodies = [each for each in graph.as_graph_def().library.function if "while_body" in each.signature.name]
        return sum(node.op == "MatMul" for body in bodies for node in body.node_def)

    assert (products(0), products(1)) == (2, 4)


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="machine: needs a GPU")
@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_each_kind_on_a_gpu(config, tmp_path):
    """cuDNN, or Keras's loop for layers that cuDNN doesn't have, gives NumPy's numbers."""
    weights = random_weights(config, 3, 0.5)
    engine = TensorFlowEngine(save_model(tmp_path, config, weights), device="gpu")
    columns = all_columns(config)
    rows = random_rows(config, (3, 0, 9, 1, 2 * CHUNK + 3, WHOLE + 5), 1)
    (found,) = compute(engine, columns, ragged(rows))
    for part, wanted in zip(found, expected(config, weights, columns, rows), strict=True):
        np.testing.assert_allclose(part, wanted, rtol=0, atol=1e-5)
