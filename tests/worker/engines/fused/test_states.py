"""The fused engine's workspace: its size, and that rows keep their bytes when slots are used again many times."""

import subprocess
import sys

import numpy as np
import pytest
from support.ragged_rows import ragged

from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))

VOCABULARY = 30


def make_engine(path, units, threads, arithmetic="float32"):
    config = ModelConfig.stacked(VOCABULARY, 200, units, 2, 4)
    return FusedEngine(save_model(path, config, new_weights(config, 1)), arithmetic, threads), config


def compute(engine, rows, columns):
    """For each row its pooled vectors and its own vectors, as bytes."""
    shard = ragged(rows)
    outputs = [
        np.full((column.vectors(shard.rows, shard.values.size), column.width), np.nan, np.float32) for column in columns
    ]
    engine.compute([shard], [outputs], columns)
    tokens, pooled = outputs
    return [
        (pooled[r].tobytes(), tokens[a:b].tobytes())
        for r, (a, b) in enumerate(zip(shard.offsets, shard.offsets[1:], strict=False))
    ]


@pytest.mark.parametrize("arithmetic", library.ARITHMETICS)
def test_levels_of_many_blocks(arithmetic, tmp_path):
    """Thousands of rows over many levels, which threads hand to each other, have the bytes of a few of them."""
    engine, config = make_engine(tmp_path, 9, 5, arithmetic)
    columns = OutputSpec(pooling=("none", "mean")).columns(config)
    random = np.random.default_rng(2)
    # The longest rows are sorted last, so one thread has all of their levels.
    lengths = np.concatenate((random.integers(1, 12, 6_000), random.integers(100, 160, 2_000)))
    rows = [random.integers(1, VOCABULARY, n).tolist() for n in lengths]
    for row in rows[6_000:]:
        row[0] = VOCABULARY
    found = compute(engine, rows, columns)
    for first in range(0, len(rows), 400):
        few = rows[first : first + 7]
        assert found[first : first + 7] == compute(engine, few, columns)
    one, _ = make_engine(tmp_path / "one", 9, 1, arithmetic)
    assert found == compute(one, rows, columns)


PEAK = """
import resource, sys
import numpy as np
from pathlib import Path
from unrolled.model.directory import open_model
from unrolled.format.output_spec import OutputSpec
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused.engine import FusedEngine

directory = open_model(Path(sys.argv[1]))
engine = FusedEngine(directory, threads=2)
columns = OutputSpec(pooling=(sys.argv[2],)).columns(directory.config)
values = np.random.default_rng(0).integers(1, {vocabulary} + 1, 6 * {rows}, np.int32)
shard = Ragged(values, np.arange(0, values.size + 1, 6, dtype=np.int64))
output = np.ones((columns[0].vectors(shard.rows, values.size), columns[0].width), np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(2):
    engine.compute([shard], [[output]], columns)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_states_of_a_large_pool(pooling, tmp_path):
    """A thread's states stay near 28 MiB, pooled or not, where those of all rows would take over 100."""
    make_engine(tmp_path, 256, 2)
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(vocabulary=VOCABULARY, rows=30_000), str(tmp_path), pooling],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # The states of two threads, half of one's in a copy for the other, and the plan.
    assert float(done.stdout) < 100
