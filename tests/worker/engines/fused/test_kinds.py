"""The fused engine on every kind of model and column: near the exact values, and the same bytes with any other rows."""

import resource
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.kernels import KERNELS, SOME_KERNELS
from support.model_configs import model_configs
from support.ragged_rows import ragged
from support.skips import one_in

from unrolled.format.columns import POOLINGS
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused import engine as fused
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))

VOCAB = 6
STACKS = {
    "widths": (7, [LayerConfig(40), LayerConfig(33), LayerConfig(5)]),
    "one-hot": (None, [LayerConfig(20), LayerConfig(9, "gru")]),
    "projection": (5, [LayerConfig(40, projection=7), LayerConfig(21, projection=70)]),
    "residual": (12, [LayerConfig(12, residual=True), LayerConfig(30, projection=12, residual=True)]),
    "gru": (5, [LayerConfig(40, "gru"), LayerConfig(17, "gru")]),
    "gru-reset-before": (5, [LayerConfig(40, "gru", reset="before"), LayerConfig(70, "gru", reset="before")]),
    "backward": (5, [LayerConfig(19, direction="backward"), LayerConfig(8, direction="backward")]),
    "bidirectional": (5, [LayerConfig(40, direction="bidirectional"), LayerConfig(11, direction="bidirectional")]),
    "hard": (5, [LayerConfig(40, gates="hard_sigmoid"), LayerConfig(33, projection=20, gates="hard_sigmoid_keras3")]),
    "hard-gru": (
        5,
        [
            LayerConfig(40, "gru", gates="hard_sigmoid"),
            LayerConfig(17, "gru", gates="hard_sigmoid_keras3"),
            LayerConfig(70, "gru", reset="before", gates="hard_sigmoid"),
        ],
    ),
    "multiplicative": (5, [LayerConfig(40, "mlstm"), LayerConfig(21, "mlstm", "bidirectional", first_state=True)]),
    "multiplicative-one-hot": (None, [LayerConfig(70, "mlstm"), LayerConfig(12, "mlstm", gates="hard_sigmoid")]),
    "clipped": (
        5,
        [
            LayerConfig(40, projection=17, cell_clip=0.3, projection_clip=0.2),
            LayerConfig(33, gates="hard_sigmoid", cell_clip=0.2),
            LayerConfig(18, "mlstm", cell_clip=0.1),
        ],
    ),
    "normed": (
        5,
        [
            LayerConfig(40, norm="carried", epsilon=0.01),
            LayerConfig(33, direction="bidirectional", norm="output", epsilon=0.01, first_state=True),
            LayerConfig(66, norm="carried", epsilon=0.1, residual=True),
        ],
    ),
    "normed-one-hot": (None, [LayerConfig(20, norm="output", epsilon=0.01), LayerConfig(9, "gru")]),
    "maps": (
        5,
        [
            LayerConfig(40),
            MapConfig(70, activation="relu"),
            MapConfig(70, "layer_norm", epsilon=0.1),
            LayerConfig(33, "gru", "backward"),
            MapConfig(33, "layer_norm", "tanh", epsilon=0.1, residual=True),
            MapConfig(21, activation="sigmoid"),
        ],
    ),
    "maps-bidirectional": (
        12,
        [
            LayerConfig(6, direction="bidirectional"),
            MapConfig(12, "layer_norm", epsilon=0.1),
            LayerConfig(6, direction="bidirectional", residual=True, span=2),
            MapConfig(3, activation="tanh"),
            MapConfig(12, residual=True, span=2),
            LayerConfig(12, "gru", "bidirectional"),
            MapConfig(12, activation="linear", residual=True, span=7),
            LayerConfig(12, residual=True, span=5),
            MapConfig(12, "scale", "relu"),
        ],
    ),
    "all": (
        6,
        [
            LayerConfig(9),
            LayerConfig(5, "gru", "bidirectional"),
            LayerConfig(10, direction="backward", residual=True),
            LayerConfig(10, "gru", reset="before"),
            LayerConfig(30, "lstm", "bidirectional", 5, residual=True),
        ],
    ),
}


def model(config, scale=0.4, seed=1):
    """A model directory with random weights, and the weights."""
    weights = reference.random_weights(config, seed, scale)
    return save_model(tempfile.mkdtemp(dir=model.directory), config, weights), weights


@pytest.fixture(autouse=True, scope="module")
def model_directory(tmp_path_factory):
    model.directory = tmp_path_factory.mktemp("models")


def compute(engine, rows, columns):
    """For each row and column an array; NaN where nothing was written."""
    shard = ragged(rows)
    arrays = [
        np.full((column.vectors(shard.rows, shard.values.size), column.width), np.nan, np.float32) for column in columns
    ]
    engine.compute([shard], [arrays], columns)
    return [
        [
            array[shard.offsets[r] : shard.offsets[r + 1]] if column.per_token else array[r]
            for array, column in zip(arrays, columns, strict=True)
        ]
        for r in range(len(rows))
    ]


def same_bytes(a, b):
    return all(x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def all_same_bytes(a, b):
    """Whether two lists of rows have as many rows, with the same bytes."""
    return len(a) == len(b) and all(map(same_bytes, a, b))


def largest_error(config, weights, rows, columns, found):
    """The largest difference from the exact values; NaN if something was not written."""
    worst = [0.0]
    for row, arrays in zip(rows, found, strict=True):
        states = reference.layer_states(config, weights, row)
        for column, array in zip(columns, arrays, strict=True):
            exact = reference.column(states[column.layer_of(len(states))], column.pooling)
            worst.append(np.abs(exact - array).max(initial=0))
    return max(worst, key=lambda error: (np.isnan(error), error))


@st.composite
def specs(draw, config):
    """Everything that a job may store of a model."""
    count = len(config.layers)
    layers = draw(st.none() | st.sets(st.integers(0, count - 1), min_size=1).map(lambda s: tuple(sorted(s))))
    pooling = draw(st.sets(st.sampled_from(POOLINGS), min_size=1))
    return OutputSpec(layers, tuple(name for name in POOLINGS if name in pooling))


@pytest.mark.parametrize("kernel", SOME_KERNELS, ids="-".join)
@given(
    config=model_configs(widest=20, largest_vocabulary=VOCAB),
    rows=st.lists(st.lists(st.integers(1, VOCAB), max_size=12), max_size=30),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_model_and_columns(kernel, config, rows, data):
    """A row is right, and has the same bytes alone, in any pool and order, on any number of threads, and in pieces."""
    rows = [[(token - 1) % config.vocab_size + 1 for token in row] for row in rows]
    columns = data.draw(specs(config)).columns(config)
    order, cut = data.draw(st.permutations(range(len(rows)))), data.draw(st.integers(0, len(rows)))
    directory, weights = model(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_ISA", kernel[0])
        patch.setattr(fused, "TABLE_BYTES", data.draw(st.sampled_from([0, 1 << 20])))
        one = FusedEngine(directory, kernel[1], 1)
        patch.setattr(fused, "VECTOR_BYTES", data.draw(st.integers(1, 2_000)))
        three = FusedEngine(directory, kernel[1], 3)
    wanted = compute(one, rows, columns)
    error = largest_error(config, weights, rows, columns, wanted)
    # Random layers may amplify bfloat16's rounding; that its bytes are right is shown by test_definition.py.
    assert error < (1e-5 if kernel[1] == "float32" else 0.5)
    shuffled = compute(three, [rows[k] for k in order], columns)
    assert all(same_bytes(wanted[k], found) for k, found in zip(order, shuffled, strict=True))
    parts = compute(three, rows[:cut], columns) + compute(one, rows[cut:], columns)
    assert all_same_bytes(wanted, parts)
    for k in {0, cut, len(rows) - 1} & set(range(len(rows))):
        assert same_bytes(wanted[k], compute(one, [rows[k]], columns)[0])


@pytest.mark.parametrize("kernel", SOME_KERNELS, ids="-".join)
@pytest.mark.parametrize("name", one_in(2, STACKS))
def test_long_rows_of_every_kind(kernel, name, monkeypatch):
    """Rows of 200 tokens stay within 1e-5 of the exact values (in bfloat16 within 0.05), in every layer and pooling."""
    monkeypatch.setenv("UNROLLED_ISA", kernel[0])
    width, layers = STACKS[name]
    config = ModelConfig(VOCAB, 200, width, tuple(layers))
    directory, weights = model(config, scale=0.25)
    random = np.random.default_rng(0)
    rows = [random.integers(1, VOCAB + 1, length).tolist() for length in (200, 150, 0, 1, 2, 17)]
    columns = OutputSpec(tuple(range(len(layers))), POOLINGS).columns(config)
    found = compute(FusedEngine(directory, kernel[1], 2), rows, columns)
    assert largest_error(config, weights, rows, columns, found) < (1e-5 if kernel[1] == "float32" else 0.05)


#: In float32 the portable kernel rounds products and sums apart on x86; in bfloat16 every kernel gives the same bytes.
AGREEING = {
    arithmetic: [isa for isa, found in KERNELS if found == arithmetic and (isa != "portable" or found != "float32")]
    for arithmetic in library.ARITHMETICS
}


@pytest.mark.parametrize("arithmetic", AGREEING)
@pytest.mark.parametrize("scale", [2, 60], ids=["nearly shut", "shut"])
@pytest.mark.parametrize("name", STACKS)
def test_processors_agree(name, scale, arithmetic, monkeypatch):
    """All instruction sets give the same bytes, so a job's workers may have different processors."""
    isas = AGREEING[arithmetic]
    if len(isas) < 2:
        pytest.skip(f"machine: this processor has one instruction set for {arithmetic}")
    width, layers = STACKS[name]
    config = ModelConfig(VOCAB, 200, width, tuple(layers))
    directory, _ = model(config, scale=scale)  # a scale of 60 gives exponents beyond both caps
    random = np.random.default_rng(3)
    rows = [random.integers(1, VOCAB + 1, length).tolist() for length in random.integers(0, 40, 60)]
    columns = OutputSpec(tuple(range(len(layers))), POOLINGS).columns(config)
    found = []
    for isa in isas:
        monkeypatch.setenv("UNROLLED_ISA", isa)
        found.append(compute(FusedEngine(directory, arithmetic), rows, columns))
    for others in found[1:]:
        assert all_same_bytes(found[0], others)


@pytest.mark.parametrize("name", ["gru", "backward", "bidirectional", "all"])
def test_threads_share_one_large_pool(name, monkeypatch):
    """There is enough work for threads to give parts of walks away, with the state of pooling, and for pieces."""
    width, layers = STACKS[name]
    config = ModelConfig(VOCAB, 200, width, tuple(layers))
    directory, _ = model(config)
    random = np.random.default_rng(5)
    rows = [random.integers(1, VOCAB + 1, length).tolist() for length in (*random.integers(0, 30, 800), 2_000, 1_500)]
    rows += [[*row[: len(row) // 2], 3] for row in rows[:300]] + rows[:100]
    columns = OutputSpec((0, len(layers) - 1), POOLINGS).columns(config)
    wanted = compute(FusedEngine(directory, threads=1), rows, columns)
    monkeypatch.setattr(fused, "VECTOR_BYTES", 100_000)
    for threads in (2, 3, 8):
        assert all_same_bytes(wanted, compute(FusedEngine(directory, threads=threads), rows, columns))


def test_stats_count_what_was_shared():
    """Duplicates cost nothing; a backward layer shares suffixes, and a layer above a bidirectional one nothing."""
    rows = [[1, 2, 3], [4, 2, 3], [1, 2, 3], [], [5]]
    computed = {}
    for name, layers in {
        "forward": [LayerConfig(3)],
        "backward": [LayerConfig(3, direction="backward")],
        "both": [LayerConfig(3, direction="bidirectional")],
        "above": [LayerConfig(3, direction="bidirectional"), LayerConfig(3)],
    }.items():
        config = ModelConfig(VOCAB, 9, 2, tuple(layers))
        engine = FusedEngine(model(config)[0], threads=2)
        stats = engine.compute(
            [ragged(rows)], [[np.empty((10, config.output_dim), np.float32)]], OutputSpec().columns(config)
        )
        assert stats.tokens == 10
        computed[name] = stats.computed
    assert computed == {"forward": 7, "backward": 5, "both": 6, "above": (7 + 5 + 7) // 3}


def test_layers_that_are_not_asked_for_are_not_computed():
    """A model whose upper layers overflow still gives the lowest one."""
    config = ModelConfig(VOCAB, 9, 2, (LayerConfig(3), LayerConfig(2, direction="bidirectional")))
    directory, weights = model(config)
    columns = OutputSpec((0,), ("none", "mean")).columns(config)
    engine = FusedEngine(directory)
    found = compute(engine, [[1, 2], [1, 3]], columns)
    assert largest_error(config, weights, [[1, 2], [1, 3]], columns, found) < 1e-5


@pytest.mark.parametrize(
    ("layers", "pooling", "mebibytes"),
    [
        ([LayerConfig(8)], ("mean", "max", "last", "first"), 32),
        # The lower layer hands on 16 floats for each token.
        ([LayerConfig(8, direction="bidirectional"), LayerConfig(4, direction="bidirectional")], ("mean",), 61 + 64),
    ],
)
def test_row_of_a_million_tokens_in_bounded_memory(layers, pooling, mebibytes):
    """Pooled columns need no memory for each token, but a bidirectional layer below another keeps its outputs."""
    config = ModelConfig(VOCAB, 9, 2, tuple(layers))
    engine, columns = FusedEngine(model(config)[0], threads=2), OutputSpec(pooling=pooling).columns(config)
    tokens = np.random.default_rng(0).integers(1, VOCAB + 1, 1_000_000).astype(np.int32)
    shard, outputs = Ragged(tokens, np.array([0, len(tokens)])), [np.empty((1, c.width), np.float32) for c in columns]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine.compute([shard], [outputs], columns)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < mebibytes * 1024  # KiB
    each = OutputSpec().columns(config)
    [[states]] = compute(engine, [tokens], each)
    assert np.abs(states.mean(0, dtype=np.float64) - outputs[0][0]).max() < 1e-7
