"""The TensorFlow engine compared with the reference model, and with itself on other rows."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support.ragged_rows import ragged

from unrolled.errors import BrokenWorkerError, TransientError
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from worker.engines.cpus import allowed_cpus
from worker.engines.tensorflow.buckets import CHUNK
from worker.engines.tensorflow.device import used_threads
from worker.engines.tensorflow.engine import TensorFlowEngine
from worker.models.language_model import LanguageModel

# 33 units are no multiple of any register, so errors that depend on alignment show.
CONFIG = ModelConfig.stacked(vocab_size=300, max_length=40, num_lstm_units=33, num_lstm_layers=2, embedding_dim=5)
COLUMNS = OutputSpec().columns(CONFIG)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    random = np.random.default_rng(11)
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in CONFIG.shapes().items()}
    return save_model(tmp_path_factory.mktemp("model"), CONFIG, weights)


@pytest.fixture(scope="module")
def engine(directory):
    return TensorFlowEngine(directory, device="cpu")


@pytest.fixture(scope="module")
def reference(directory):
    """From padded rows to the reference model's states at all tokens, as one function for all shapes."""
    run_lstm = LanguageModel.from_directory(directory).run_lstm

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def run(padded):
        return run_lstm(padded, is_training=False)

    def states(padded):
        found, masks = run(padded)
        return found.numpy()[masks.numpy() == 1]

    return states


def compute(engine, *shards):
    """The last layer's outputs for each shard; NaN wherever the engine wrote nothing."""
    outputs = [[np.full((len(shard.values), CONFIG.output_dim), np.nan, np.float32)] for shard in shards]
    engine.compute(shards, outputs, COLUMNS)
    return [array for (array,) in outputs]


def random_rows(count, longest, seed):
    random = np.random.default_rng(seed)
    return [random.integers(1, 301, length).astype(np.int32) for length in random.integers(0, longest + 1, count)]


def test_equals_the_reference_on_padded_batches(engine, reference):
    """For 1,000 rows with zeros anywhere, the states at real tokens are those of the rows without zeros."""
    random = np.random.default_rng(5)
    kept = random.random((1000, 40)) < random.random((1000, 1))
    padded = (random.integers(1, 301, (1000, 40)) * kept).astype(np.int32)
    padded[:, 20:] *= random.random((1000, 1)) < 0.5
    padded[7] = 0
    rows = [row[row > 0] for row in padded]
    (outputs,) = compute(engine, ragged(rows))
    np.testing.assert_allclose(outputs, reference(padded), rtol=0, atol=1e-5)


def test_order_is_the_callers(engine):
    """Each row's outputs are at their own place in their own shard, whatever the lengths of other rows."""
    shards = [ragged(random_rows(count, 30, seed)) for seed, count in enumerate((40, 0, 1, 25))]
    together = compute(engine, *shards)
    for shard, outputs in zip(shards, together, strict=True):
        assert not np.isnan(outputs).any()
        np.testing.assert_allclose(outputs, compute(engine, shard)[0], rtol=0, atol=1e-5)


def test_the_same_bits_in_any_company(engine):
    """On a CPU a row has the same bytes alone, among few or many rows, and in another order."""
    rows = random_rows(700, 30, seed=9)
    (all_outputs,) = compute(engine, ragged(rows))
    parts = np.split(all_outputs, np.cumsum([len(row) for row in rows])[:-1])
    for number in (0, 1, 350, 699):
        np.testing.assert_array_equal(compute(engine, ragged([rows[number]]))[0], parts[number])
    order = np.random.default_rng(1).permutation(700)[:123]
    (some,) = compute(engine, ragged([rows[number] for number in order]))
    np.testing.assert_array_equal(some, np.concatenate([parts[number] for number in order]))


@pytest.mark.parametrize("length", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17])
def test_long_rows_run_in_chunks(engine, reference, length):
    """Rows beyond the widest batch carry their state from chunk to chunk, and nothing is cut off."""
    rows = [*random_rows(20, 30, seed=2), *random_rows(9, 200, seed=4)]
    rows += [np.arange(first, first + length) % 300 + 1 for first in (3, 50)]
    padded = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
    (outputs,) = compute(engine, ragged(rows))
    np.testing.assert_allclose(outputs, reference(padded), rtol=0, atol=1e-5)


def test_rows_that_end_in_different_chunks(engine, directory):
    """Among many long rows each keeps its own state, also if a batch has no room for all of them."""
    rows = [np.arange(seed, seed + 40 * seed) % 300 + 1 for seed in range(1, 20)]
    small = TensorFlowEngine(directory, device="cpu", batch_tokens=4 * CHUNK)
    (outputs,) = compute(engine, ragged(rows))
    (in_small_batches,) = compute(small, ragged(rows))
    np.testing.assert_allclose(outputs, in_small_batches, rtol=0, atol=1e-5)
    alone = np.concatenate([compute(engine, ragged([row]))[0] for row in rows])
    np.testing.assert_array_equal(outputs, alone)


def test_traced_once_whatever_the_lengths(directory):
    """Any number of shapes is traced once."""
    engine = TensorFlowEngine(directory, device="cpu")
    for seed, (count, longest) in enumerate([(1, 5), (300, 90), (40, 300), (17, 1)]):
        compute(engine, ragged(random_rows(count, longest, seed)))
    assert engine.traces == 1


def test_nothing_to_do(engine):
    """No shards, an empty shard and rows without tokens are no error."""
    assert compute(engine) == []
    assert compute(engine, ragged([]))[0].shape == (0, 33)
    first, second = compute(engine, ragged([[], [], []]), ragged([[], [4], []]))
    assert first.shape == (0, 33)
    assert np.isfinite(second).all()


def test_padding_is_accounted_for(directory):
    """Computed steps beyond the tokens are padding."""
    engine = TensorFlowEngine(directory, device="cpu")
    batch_rows = engine._limits.row_counts[0]
    for rows in (batch_rows, 1):
        outputs = np.empty((9 * rows, CONFIG.output_dim), np.float32)
        stats = engine.compute([ragged([np.ones(9, np.int32)] * rows)], [[outputs]], COLUMNS)
        assert (stats.tokens, stats.computed) == (9 * rows, 9 * batch_rows)


class FickleDevice(TensorFlowEngine):
    """A device whose kernels round differently from 128 rows on, and after the first 16 in batches of 192."""

    def _run(self, tokens, *rest):
        (results,), after = super()._run(tokens, *rest)
        results = results * np.float32(1 + 2**-20 * (len(tokens) >= 128))
        if len(tokens) == 192:
            results[16:] *= np.float32(1 + 2**-20)
        return [results], after


def test_keeps_to_row_counts_that_agree(directory):
    """If some numbers of rows round differently, a row still has the same bits with any other rows."""
    engine = FickleDevice(directory, device="cpu")
    rows = list(
        np.random.default_rng(9).integers(1, 301, (700, 9))
    )  # of one length: 130 rows are computed in a batch of 192
    (outputs,) = compute(engine, ragged(rows))
    for count in (1, 40, 60, 130, 400):
        np.testing.assert_array_equal(compute(engine, ragged(rows[:count]))[0], outputs[: 9 * count])


class SmallDevice(TensorFlowEngine):
    """A device whose memory has room for this many padded tokens."""

    def __init__(self, *args, memory_tokens, **kwargs):
        self.memory_tokens = memory_tokens
        self.failures = 0
        super().__init__(*args, **kwargs)
        self.failures = 0

    def _run(self, tokens, *rest):
        if tokens.size > self.memory_tokens:
            self.failures += 1
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return super()._run(tokens, *rest)


@pytest.mark.parametrize("memory_tokens", [4_000, CHUNK + 5, CHUNK])
def test_out_of_memory_halves_the_batch(directory, engine, memory_tokens):
    """The engine continues with smaller batches and keeps the size; no row is lost or wrong."""
    small = SmallDevice(directory, device="cpu", memory_tokens=memory_tokens)
    shard = ragged(random_rows(120, 2 * CHUNK, seed=3))
    np.testing.assert_allclose(compute(small, shard)[0], compute(engine, shard)[0], rtol=0, atol=1e-5)
    failures = small.failures
    assert 0 < failures < 12
    assert small.batch_tokens <= memory_tokens
    compute(small, shard)
    assert small.failures == failures


def test_out_of_memory_with_one_row_is_an_error(directory):
    """If not even one row fits, the error says its number of tokens and what to do."""
    tiny = SmallDevice(directory, device="cpu", memory_tokens=8)
    with pytest.raises(TransientError, match=r"one row of 9 tokens and 2 x lstm 33 on an embedding of 5; free memory"):
        compute(tiny, ragged([*random_rows(50, 8, 0), np.ones(9, np.int32)]))


def test_description_tells_path_and_reason(directory):
    """The line that is logged at the start says what runs where, and why."""
    engine = TensorFlowEngine(directory, device="cpu", batch_tokens=5_000)
    version, path = f"TensorFlow {tf.__version__}", "Keras's loop on the CPU (asked for)"
    counts = engine._limits.row_counts
    size = f"batches of {counts[0]} to {counts[-1]} rows and up to 5,000 padded tokens"
    assert engine.description == f"{version}, {path}, 2 x lstm 33 on an embedding of 5, {size}"
    assert (engine.name, engine.arithmetic) == ("tensorflow", "float32")


def test_options_are_checked_at_start(directory):
    """Impossible options are refused with one sentence each."""
    with pytest.raises(BrokenWorkerError, match=f"batch_tokens is 10; it must be at least {CHUNK}"):
        TensorFlowEngine(directory, device="cpu", batch_tokens=10)
    with pytest.raises(BrokenWorkerError, match="threads is 0"):
        TensorFlowEngine(directory, device="cpu", threads=0)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="machine: there is a GPU")
def test_without_a_gpu(directory):
    """The device auto uses the CPU and says so; asking for a GPU that is missing says what to check."""
    assert "(TensorFlow sees no GPU)" in TensorFlowEngine(directory).description
    with pytest.raises(BrokenWorkerError, match="TensorFlow sees none; check"):
        TensorFlowEngine(directory, device="gpu")


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="machine: needs a GPU")
def test_on_a_gpu(directory, engine):
    """On a GPU cuDNN computes, and agrees with the CPU to 1e-5."""
    on_gpu = TensorFlowEngine(directory, device="gpu")
    assert "cuDNN" in on_gpu.description
    shard = ragged(random_rows(500, 300, seed=6))
    np.testing.assert_allclose(compute(on_gpu, shard)[0], compute(engine, shard)[0], rtol=0, atol=1e-5)


THREADS = """
import sys
import numpy as np
from unrolled.errors import BrokenWorkerError
from unrolled.model.directory import open_model
from unrolled.format.output_spec import OutputSpec
from unrolled.tokenization.ragged import Ragged
from worker.engines.tensorflow.engine import TensorFlowEngine
engine = TensorFlowEngine(open_model(sys.argv[1]), device="cpu", threads=int(sys.argv[2]))
assert engine.threads == int(sys.argv[2])
rows = Ragged(np.arange(3000, dtype=np.int32) % 300 + 1, np.arange(0, 3001, 30))
model = open_model(sys.argv[1])
columns = OutputSpec().columns(model.config)
outputs = np.empty((3000, 33), np.float32)
engine.compute([rows], [[outputs]], columns)
for count in (1, 20, 33):
    some = np.empty((30 * count, 33), np.float32)
    engine.compute([rows.take(9, 9 + count)], [[some]], columns)
    assert np.array_equal(some, outputs[270 : 270 + 30 * count]), engine.description
try:
    TensorFlowEngine(open_model(sys.argv[1]), device="cpu", threads=7)
except BrokenWorkerError as error:
    assert "is set too late" in str(error), error
else:
    sys.exit("threads changed after the start")
sys.stdout.buffer.write(outputs.tobytes())
"""


@pytest.mark.parametrize(("named", "used"), [("3", 3), ("0", None), ("", None), ("many", None)])
def test_threads_that_tensorflow_uses_by_itself(monkeypatch, named, used):
    """Those of the variable that it reads, and else one for each processor."""
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", named)
    assert used_threads() == (used or allowed_cpus())


def test_threads_and_older_processors(directory):
    """Bits depend neither on threads nor on other rows, also if a kernel's order depends on the number of rows."""
    # Without AVX-512 oneDNN's products of 16 and of 32 rows differ in the last bits.
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    one, two = (
        subprocess.run(
            [sys.executable, "-c", THREADS, directory.path, str(threads)],
            check=True,
            stdout=subprocess.PIPE,
            env=environment,
        ).stdout
        for threads in (1, 2)
    )
    assert len(one) == 3000 * 33 * 4
    assert one == two
