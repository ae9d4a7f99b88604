"""The fused engine's errors: of its approximations, and of whole rows."""

from functools import cache

import numpy as np
import pytest
from support.kernels import KERNELS

from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))

# Largest absolute error of one gate: sigmoid, tanh.
GATE_BOUND = {"float32": 3e-7, "bfloat16": 1.5e-4, "bfloat16x3": 3e-7}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell_update(kernel, i, f, g, o, cell):
    isa, arithmetic = kernel
    arrays = [np.ascontiguousarray(np.broadcast_to(a, i.shape), np.float32) for a in (i, f, g, o, cell)]
    cell_out, hidden_out = np.empty(i.shape, np.float32), np.empty(i.shape, np.float32)
    addresses = [a.ctypes.data for a in (*arrays, cell_out, hidden_out)]
    assert (
        library.load().unrolled_cell_update(isa.encode(), library.ARITHMETICS[arithmetic], i.size, *addresses)
        == library.OK
    )
    return cell_out, hidden_out


def exact_states(weights, config, rows):
    """The last layer's states in float64, of rows of one length: (rows, length) → (rows, length, outputs)."""
    states = weights["embedding"].astype(np.float64)[rows]
    for layer in range(len(config.layers)):
        kernel, recurrent, bias = (
            weights[f"lstm.{layer}.{name}"].astype(np.float64) for name in ("kernel", "recurrent_kernel", "bias")
        )
        hidden = cell = np.zeros((len(rows), config.output_dim))
        outputs = []
        for inputs in np.moveaxis(states @ kernel + bias, 1, 0):
            i, f, c, o = np.split(inputs + hidden @ recurrent, 4, axis=1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
            hidden = sigmoid(o) * np.tanh(cell)
            outputs.append(hidden)
        states = np.stack(outputs, axis=1)
    return states


#: Orthogonal matrices of hundreds of units take seconds, and the kernels share the models.
new_weights_once = cache(new_weights)


def trained_like(config, seed):
    """Weights half as large again, so that gates saturate and small differences grow.

    With twice as large ones the states are chaotic: NumPy's own float32 has errors of 5e-6, and bfloat16 of 0.3.
    """
    random = np.random.default_rng(seed)
    weights = {name: array * np.float32(1.5) for name, array in new_weights_once(config, seed).items()}
    weights["embedding"] = random.standard_normal(weights["embedding"].shape).astype(np.float32)
    return weights


def compute(engine, config, tokens):
    output = np.empty((len(tokens), config.output_dim), np.float32)
    shard = Ragged(tokens.astype(np.int32), np.array([0, len(tokens)]))
    engine.compute([shard], [[output]], OutputSpec().columns(config))
    return output


@pytest.mark.parametrize("kernel", KERNELS, ids="-".join)
def test_gates(kernel):
    """Sigmoid and tanh stay within the stated bound over their whole range, and are exact at its ends."""
    x = np.concatenate([np.linspace(-30, 30, 100_001), [-2e9, -1e4, -88, 88, 1e4, 2e9]])
    x = x.astype(np.float32)
    low, high = np.float32(-1e4), np.float32(1e4)
    # Only the forget gate: with a closed input gate and a cell of 1, the cell becomes sigmoid(f).
    forget, _ = cell_update(kernel, np.full_like(x, low), x, low, low, np.float32(1))
    # Only the candidate: with an open input gate and a cell of 0, the cell becomes sigmoid(i) tanh(g).
    candidate, _ = cell_update(kernel, np.full_like(x, high), low, x, low, np.float32(0))
    opened, _ = cell_update(kernel, x, low, high, low, np.float32(0))
    # Only the output: an open forget gate keeps the cell, and an open output gate gives its tanh.
    _, squashed = cell_update(kernel, np.full_like(x, low), high, low, high, x)
    _, output = cell_update(kernel, np.full_like(x, low), high, low, x, np.float32(50))
    exact = x.astype(np.float64)
    with np.errstate(over="ignore"):
        gate, bent = sigmoid(exact), np.tanh(exact)
    bound = GATE_BOUND[kernel[1]]
    for found, wanted in (
        (forget, gate),
        (opened, gate),
        (output, gate),
        (candidate, bent),
        (squashed, bent),
    ):
        assert np.abs(found - wanted).max() < bound
        assert np.abs(found).max() <= 1 + bound


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A model of 520 units, more rows of 3 tokens than a tile holds, and their exact states."""
    config = ModelConfig.stacked(vocab_size=50, max_length=4, num_lstm_units=520, num_lstm_layers=2, embedding_dim=4)
    random = np.random.default_rng(5)
    weights = {
        name: random.uniform(-2, 2, shape).astype(np.float32) / np.sqrt(shape[0], dtype=np.float32)
        for name, shape in config.shapes().items()
    }
    rows = np.random.default_rng(6).permutation(50)[:48].reshape(16, 3) + 1
    exact = exact_states(weights, config, rows).reshape(-1, 520)
    return save_model(tmp_path_factory.mktemp("deep"), config, weights), rows, exact


# A kernel of tiles cuts no panel into runs.
@pytest.mark.parametrize("kernel", [each for each in KERNELS if each[0] != "amx-emulated"], ids="-".join)
def test_layers_deeper_than_a_run(kernel, deep, monkeypatch):
    """Sums that wait in memory between the runs of a deep panel are continued."""
    isa, arithmetic = kernel
    monkeypatch.setenv("UNROLLED_ISA", isa)
    model, rows, exact = deep
    engine = FusedEngine(model, arithmetic, threads=1)
    output = np.empty((rows.size, 520), np.float32)
    shard = Ragged(rows.ravel().astype(np.int32), np.arange(0, rows.size + 1, 3))
    engine.compute([shard], [[output]], OutputSpec().columns(model.config))
    assert np.abs(output - exact).max() < {"float32": 1e-6, "bfloat16": 1e-3, "bfloat16x3": 3e-6}[arithmetic]
    assert np.abs(exact).max() > 0.05


@pytest.mark.parametrize("isa", [isa for isa, arithmetic in KERNELS if arithmetic == "float32"])
@pytest.mark.parametrize("weights_of", [new_weights_once, trained_like], ids=["new", "trained"])
def test_float32_rows_of_1000_tokens(isa, weights_of, tmp_path, monkeypatch):
    """Float32 stays within 1e-5 of the exact result over 1,000 tokens."""
    monkeypatch.setenv("UNROLLED_ISA", isa)
    config = ModelConfig.stacked(vocab_size=300, max_length=1000, num_lstm_units=72, num_lstm_layers=2, embedding_dim=4)
    weights = weights_of(config, 3)
    engine = FusedEngine(save_model(tmp_path, config, weights), threads=1)
    tokens = np.random.default_rng(1).integers(1, 301, 1000)
    assert np.abs(compute(engine, config, tokens) - exact_states(weights, config, tokens[None])[0]).max() < 1e-5


@pytest.mark.parametrize("isa", [isa for isa, arithmetic in KERNELS if arithmetic == "bfloat16"])
def test_bfloat16_rows_of_1000_tokens(isa, tmp_path, monkeypatch):
    """Bfloat16 stays within 0.02 of the exact values, and within 1e-4 of their direction."""
    monkeypatch.setenv("UNROLLED_ISA", isa)
    config = ModelConfig.stacked(vocab_size=300, max_length=1000, num_lstm_units=72, num_lstm_layers=2, embedding_dim=4)
    weights = dict(new_weights_once(config, 3))
    # As large as a trained one's, because untrained states are near zero.
    weights["embedding"] = weights["embedding"] * 20
    engine = FusedEngine(save_model(tmp_path, config, weights), "bfloat16", threads=1)
    tokens = np.random.default_rng(1).integers(1, 301, 1000)
    found, exact = compute(engine, config, tokens), exact_states(weights, config, tokens[None])[0]
    assert np.abs(found - exact).max() < 0.02
    cosine = (found * exact).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 1 - 1e-4


@pytest.mark.parametrize("isa", [isa for isa, arithmetic in KERNELS if arithmetic == "bfloat16x3"])
def test_bfloat16x3_is_nearly_float32(isa, tmp_path, monkeypatch):
    """Its largest error is at most ten times float32's, and far below bfloat16's, over twelve tokens of two layers."""
    config = ModelConfig.stacked(vocab_size=300, max_length=12, num_lstm_units=128, num_lstm_layers=2, embedding_dim=10)
    weights = trained_like(config, 3)
    model = save_model(tmp_path, config, weights)
    tokens = np.random.default_rng(1).integers(1, 301, (8, 12))
    exact = exact_states(weights, config, tokens).reshape(-1, 128)

    def error(arithmetic):
        output = np.empty(exact.shape, np.float32)
        shard = Ragged(tokens.ravel().astype(np.int32), np.arange(0, tokens.size + 1, 12))
        FusedEngine(model, arithmetic, threads=1).compute([shard], [[output]], OutputSpec().columns(config))
        return np.abs(output - exact).max()

    usual = error("float32")
    monkeypatch.setenv("UNROLLED_ISA", isa)
    assert error("bfloat16x3") < 10 * usual
    assert error("bfloat16") > 100 * error("bfloat16x3")
