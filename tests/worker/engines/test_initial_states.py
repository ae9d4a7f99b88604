"""Both engines on rows that bring the initial states of layers: right, and the same bytes alone and in any company."""

import tempfile
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.model_configs import model_configs

from unrolled.errors import RequestError
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.padding import Padding
from unrolled.tokenization.ragged import Ragged
from unrolled.tokenization.vectors import VectorRow, numbered
from worker.engines.fused import engine as fused
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine
from worker.engines.padded import make_padded
from worker.engines.tensorflow.engine import TensorFlowEngine

needs_kernel = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))
VOCAB = 4
TEXTS = st.lists(st.lists(st.integers(1, VOCAB), max_size=6), min_size=1, max_size=8)
EVERY_KIND = (
    LayerConfig(6, given_state=True),
    LayerConfig(5, "gru", "bidirectional", given_state=True),
    LayerConfig(7, "gru", reset="before", given_state=True),
    LayerConfig(9, first_state=True),
    LayerConfig(4, "mlstm", "backward", given_state=True),
    LayerConfig(5, projection=3, direction="bidirectional", given_state=True),
    LayerConfig(6, norm="carried", epsilon=0.1, given_state=True),
)


def saved(config, weights, directory):
    return save_model(tempfile.mkdtemp(dir=directory), config, {name: weights[name] for name in config.shapes()})


def shard_of(rows, states):
    values = np.concatenate([np.zeros(0, np.int32), *(np.array(row, np.int32) for row in rows)])
    return Ragged.from_lengths(values, [len(row) for row in rows], states=states)


def columns_of(config):
    return OutputSpec(tuple(range(len(config.layers))), ("none", "mean")).columns(config)


def compute(engine, config, *shards):
    """For each row of all shards its vectors, (tokens, width) or (width,) for each column; and the steps computed."""
    columns = columns_of(config)
    outputs = [[np.empty((c.vectors(s.rows, s.values.size), c.width), np.float32) for c in columns] for s in shards]
    stats = engine.compute(shards, outputs, columns)
    rows = [
        [
            array[shard.offsets[row] : shard.offsets[row + 1]] if column.per_token else array[row]
            for array, column in zip(arrays, columns, strict=True)
        ]
        for shard, arrays in zip(shards, outputs, strict=True)
        for row in range(shard.rows)
    ]
    return rows, stats.computed


def bytes_of(rows):
    return [tuple(array.tobytes() for array in row) for row in rows]


def check(config, weights, found, rows, states, bound):
    """Compare vectors with NumPy's."""
    for row, begun, arrays in zip(rows, states, found, strict=True):
        made = reference.layer_states(config, reference.begun(config, weights, begun), row)
        for column, array in zip(columns_of(config), arrays, strict=True):
            wanted = reference.column(made[column.layer_of(len(made))], column.pooling)
            np.testing.assert_allclose(array, wanted, rtol=0, atol=bound)


@needs_kernel
@settings(max_examples=4, deadline=None)
@given(st.data(), model_configs(largest_vocabulary=VOCAB), TEXTS, st.integers(0, 8))
def test_any_model_on_any_processor(tmp_path_factory, data, config, texts, cut):
    """Rows are right, share steps only if their states are equal in every bit, and keep their bytes in any company."""
    directory = tmp_path_factory.mktemp("models")
    layers = [
        replace(layer, first_state=False, given_state=data.draw(st.booleans()))
        if hasattr(layer, "direction")
        else layer
        for layer in config.layers
    ]
    config = replace(config, layers=tuple(layers))
    rows, cut = [[(token - 1) % config.vocab_size + 1 for token in text] for text in texts], cut % len(texts)
    weights = reference.random_weights(config, 1, 0.4)
    few = np.random.default_rng(2).normal(0, 0.6, (3, config.given_dim)).astype(np.float32)
    few[2], few[0, :1] = few[0], 0.0
    few[2, :1] = -0.0  # equal to 0.0, and other bits
    states = few[data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))]
    states = states if config.given_dim else None
    shard, model = shard_of(rows, states), saved(config, weights, directory)
    for arithmetic, bound in (("float32", 1e-5), ("bfloat16", 0.1), ("bfloat16x3", 1e-4)):
        seen = set()
        for isa in library.available_isas(arithmetic):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(library.ISA_VARIABLE, isa)
                patch.setattr(fused, "VECTOR_BYTES", 500)
                engine = FusedEngine(model, arithmetic, 2)
            found, _ = compute(engine, config, shard)
            if not seen:
                check(config, weights, found, rows, [()] * len(rows) if states is None else states, bound)
            wanted = bytes_of(found)
            parts = [shard.take(cut, len(rows)), shard.take(0, cut)]
            assert bytes_of(compute(engine, config, *parts)[0]) == wanted[cut:] + wanted[:cut]
            assert bytes_of(compute(engine, config, shard.take(cut, cut + 1))[0]) == wanted[cut : cut + 1]
            seen |= {tuple(wanted)} if isa != "portable" or arithmetic != "float32" else set()
        assert len(seen) <= 1


@needs_kernel
@pytest.mark.parametrize("arithmetic", library.ARITHMETICS)
def test_a_state_of_the_model_and_of_the_rows(arithmetic, tmp_path):
    """Rows that all bring one state have the bytes of a model whose own state it is, and share as many steps."""
    config = ModelConfig(VOCAB, 9, 3, EVERY_KIND)
    own = replace(config, layers=tuple(replace(layer, first_state=True, given_state=False) for layer in config.layers))
    weights = reference.random_weights(own, 3, 0.5)
    names = [name for name in own.shapes() if "first" in name and name not in config.shapes()]
    rows = [[1, 2, 3], [1, 2, 4], [], [2], [1, 2, 3], [1, 2, 3, 3]]
    states = np.tile(np.concatenate([weights[name] for name in names]), (len(rows), 1))
    engines = [FusedEngine(saved(each, weights, tmp_path), arithmetic, 2) for each in (config, own)]
    (found, steps), (wanted, fewest) = (
        compute(engine, each, shard_of(rows, begun))
        for engine, each, begun in zip(engines, (config, own), (states, None), strict=True)
    )
    assert (bytes_of(found), steps) == (bytes_of(wanted), fewest)
    other = states.copy()
    other[4, -1] += 1
    changed, steps = compute(engines[0], config, shard_of(rows, other))
    assert steps > fewest
    assert [a == b for a, b in zip(bytes_of(changed), bytes_of(found), strict=True)] == [1, 1, 1, 1, 0, 1]


def colliding_states():
    """Two different states of three numbers that the kernel's hash gives one number; see initial_states.cpp."""
    random = np.random.default_rng(0)
    firsts = random.normal(0, 1, (2**18, 2)).astype(np.float32)
    hashes = np.zeros(len(firsts), np.uint64)
    for words in firsts.view(np.uint32).T:
        hashes = (hashes ^ words) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    order = np.argsort(hashes >> np.uint64(32), kind="stable")
    last = np.float32(0.5).view(np.uint32)
    for one, other in pairwise(order):
        differing = hashes[one] ^ hashes[other]
        number = np.uint32(differing & np.uint64(2**32 - 1)) ^ last
        if not differing >> np.uint64(32) and np.isfinite(number.view(np.float32)):
            lasts = np.array([last, number], np.uint32).view(np.float32)
            return np.column_stack([firsts[[one, other]], lasts])
    raise AssertionError("no two states collide")


@needs_kernel
def test_states_that_were_chosen_to_collide(tmp_path):
    """Different states with one hash are two, and equal ones are one."""
    config = ModelConfig(VOCAB, 9, 3, (LayerConfig(3, "gru", given_state=True),))
    engine = FusedEngine(saved(config, reference.random_weights(config, 1), tmp_path))
    states = colliding_states()[[0, 1, 1, 0, 1]]
    shard = shard_of([[1, 2]] * 5, states)
    found, steps = compute(engine, config, shard)
    alone = [compute(engine, config, shard.take(row, row + 1))[0][0] for row in range(5)]
    assert (bytes_of(found), steps) == (bytes_of(alone), 4)
    assert len(set(bytes_of(found))) == 2


@needs_kernel
def test_thousands_of_rows(tmp_path):
    """Threads hand parts of walks to each other; a row of a large pool has the bytes of the row alone."""
    config = ModelConfig(VOCAB, 9, 3, (LayerConfig(9, given_state=True), LayerConfig(5, "gru", given_state=True)))
    engine = FusedEngine(saved(config, reference.random_weights(config, 1, 0.5), tmp_path), threads=4)
    random = np.random.default_rng(0)
    rows = [random.integers(1, VOCAB + 1, length).tolist() for length in random.integers(1, 40, 3_000)]
    states = random.normal(0, 0.5, (40, config.given_dim)).astype(np.float32)[random.integers(0, 40, len(rows))]
    shard = shard_of(rows, states)
    found = bytes_of(compute(engine, config, shard)[0])
    for row in range(0, len(rows), 97):
        assert bytes_of(compute(engine, config, shard.take(row, row + 1))[0]) == found[row : row + 1]


def test_tensorflow(tmp_path, monkeypatch):
    """It computes rows whole, in chunks and layer by layer, and a row has the same bytes with others."""
    random = np.random.default_rng(1)
    for layers in (EVERY_KIND[5:] + EVERY_KIND[3:4], EVERY_KIND[:1], EVERY_KIND[1:2]):
        config = ModelConfig(VOCAB, 9, 3, layers)
        weights = reference.random_weights(config, 5, 0.4)
        engine = TensorFlowEngine(saved(config, weights, tmp_path), device="cpu")
        rows = [random.integers(1, VOCAB + 1, length).tolist() for length in (3, 0, 300, 2, 150, 3)]
        rows[5] = rows[0]
        states = random.normal(0, 0.5, (len(rows), config.given_dim)).astype(np.float32)
        shard = shard_of(rows, states)
        found, _ = compute(engine, config, shard)
        check(config, weights, found, rows, states, 1e-5)
        parts = [shard.take(2, 6), shard.take(0, 2)]
        assert bytes_of(compute(engine, config, *parts)[0]) == bytes_of(found[2:] + found[:2])
        if layers == EVERY_KIND[1:2]:
            monkeypatch.setattr(engine, "_longest", 128)  # as if the others were too long to be computed whole
            check(config, weights, compute(engine, config, shard)[0], rows, states, 1e-5)


def test_rows_of_vectors_that_bring_states(tmp_path):
    """A model may read both; equal vectors share steps only where the states are equal, too."""
    config = ModelConfig(0, 9, None, (LayerConfig(5, given_state=True), LayerConfig(4, "gru")), vector_dim=3)
    weights, table = (
        reference.random_weights(config, 2, 0.4),
        np.random.default_rng(0).standard_normal((4, 3), np.float32),
    )
    rows = [table[row] for row in ([0, 1], [0, 1, 2], [3], [0, 1])]
    states = np.random.default_rng(1).normal(0, 0.5, (4, config.given_dim)).astype(np.float32)
    states[3] = states[0]
    shard = numbered([VectorRow(row, np.ones(len(row), np.bool_)) for row in rows], 3)._replace(states=states)
    kinds = [lambda model: TensorFlowEngine(model, device="cpu")]
    for make in [*kinds, *([] if library.why_unavailable() else [FusedEngine])]:
        engine = make(saved(config, weights, tmp_path))
        found, steps = compute(engine, config, shard)
        check(config, weights, found, rows, states, 1e-5)
        assert steps == 6 or engine.name == "tensorflow"
        assert bytes_of(compute(engine, config, shard.select([3, 1]))[0]) == bytes_of([found[3], found[1]])


@pytest.mark.parametrize("side", ["after", "before"])
def test_rows_that_are_padded(side, tmp_path):
    """Padding is computed after the state that a row brings: before its tokens, if it is there."""
    config = ModelConfig(VOCAB, 5, 3, EVERY_KIND[:2], Padding(5, side, 0))
    weights = reference.random_weights(config, 5, 0.4)
    rows = [[1, 2], [], [3, 1, 2, 2], [1, 2]]
    states = np.random.default_rng(1).normal(0, 0.5, (len(rows), config.given_dim)).astype(np.float32)
    engine = make_padded(saved(config, weights, tmp_path), lambda model: TensorFlowEngine(model, device="cpu"))
    check(config, weights, compute(engine, config, shard_of(rows, states))[0], rows, states, 1e-5)


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (None, "shard 0 has no initial states; the model reads float32 \\(1, 4\\)"),
        (np.zeros((1, 3), np.float32), r"initial states float32 \(1, 3\)"),
        (np.zeros((2, 4), np.float32), r"initial states float32 \(2, 4\)"),
        (np.zeros((1, 4)), "initial states float64"),
    ],
)
def test_other_shards_are_refused(states, reason, tmp_path):
    """A kernel trusts what it gets, so a shard without the states of its rows never reaches it."""
    config = ModelConfig(VOCAB, 9, 3, (LayerConfig(2, given_state=True),))
    plain = replace(config, layers=(LayerConfig(2),))
    weights = reference.random_weights(config, 1)
    kinds = [lambda model: TensorFlowEngine(model, device="cpu")]
    for make in [*kinds, *([] if library.why_unavailable() else [FusedEngine])]:
        with pytest.raises(RequestError, match=reason):
            compute(make(saved(config, weights, tmp_path)), config, shard_of([[1]], states))
        if states is not None and states.shape == (1, 3):
            with pytest.raises(RequestError, match="the model reads none"):
                compute(make(saved(plain, weights, tmp_path)), plain, shard_of([[1]], states))
