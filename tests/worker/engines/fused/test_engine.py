"""The fused engine: a row has the same bytes with any other rows, and wrong arguments are refused."""

import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernels import SOME_KERNELS
from support.ragged_rows import ragged

from unrolled.errors import BrokenWorkerError, RequestError
from unrolled.format.columns import VectorColumn
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.tokenization.ragged import Ragged
from worker.engines import cpus
from worker.engines.cpus import threads_for, usable_cores, usable_cpus
from worker.engines.fused import engine as fused
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))

VOCAB, UNITS, LAYERS = 9, 20, 2
COLUMNS = (VectorColumn("none", LAYERS - 1, UNITS),)


def compute(engine, rows, columns=COLUMNS):
    """The outputs of each row of one shard; NaN where nothing was written."""
    shard = ragged(rows)
    output = np.full((len(shard.values), columns[0].width), np.nan, np.float32)
    engine.compute([shard], [[output]], columns)
    return [output[a:b] for a, b in zip(shard.offsets, shard.offsets[1:], strict=False)]


def last_layer(model):
    """The last layer's states, as a column."""
    return OutputSpec().columns(model.config)


def same_bytes(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def all_same_bytes(a, b):
    """Whether two lists have as many arrays, with the same bytes."""
    return len(a) == len(b) and all(map(same_bytes, a, b))


@pytest.fixture(scope="module")
def model_of(tmp_path_factory):
    """Makes model directories of random weights."""

    @cache
    def make(units=UNITS, layers=LAYERS, vocab_size=VOCAB, embedding_dim=3):
        config = ModelConfig.stacked(vocab_size, 100, units, layers, embedding_dim)
        random = np.random.default_rng(units)
        weights = {
            name: random.uniform(-1, 1, shape).astype(np.float32) * 2 / np.sqrt(shape[0], dtype=np.float32)
            for name, shape in config.shapes().items()
        }
        return save_model(tmp_path_factory.mktemp("model"), config, weights)

    return make


@pytest.fixture(scope="module", params=SOME_KERNELS, ids="-".join)
def engines(request, model_of):
    """One model with 1, 2 and 5 threads, and without a table of the first layer."""
    isa, arithmetic = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_ISA", isa)
        model = model_of()
        threaded = [FusedEngine(model, arithmetic, threads) for threads in (1, 2, 5)]
        patch.setattr(fused, "TABLE_BYTES", 0)
        return threaded, [FusedEngine(model, arithmetic, threads) for threads in (1, 2)]


row_lists = st.lists(st.lists(st.integers(1, VOCAB), max_size=25), max_size=80)


@given(rows=row_lists, data=st.data())
@settings(max_examples=40, deadline=None)
def test_same_bytes_in_any_company(engines, rows, data):
    """A row has the same bytes in any order, in any pool, on any number of threads, and alone."""
    shuffled = data.draw(st.permutations(range(len(rows))))
    cut = data.draw(st.integers(0, len(rows)))
    for group in engines:
        wanted = compute(group[0], rows)
        assert not any(np.isnan(output).any() for output in wanted)
        for engine in group:
            found = compute(engine, [rows[k] for k in shuffled])
            assert all(same_bytes(wanted[k], output) for k, output in zip(shuffled, found, strict=True))
        parts = compute(group[1], rows[:cut]) + compute(group[1], rows[cut:])
        assert all_same_bytes(wanted, parts)
        for k in {0, cut, len(rows) - 1} & set(range(len(rows))):
            assert same_bytes(wanted[k], compute(group[0], [rows[k]])[0])


@pytest.mark.parametrize(
    ("units", "layers", "kernel"),
    [
        pytest.param(units, layers, kernel, id="-".join((str(units), *kernel)))
        for units, layers in [(1, 1), (16, 3), (33, 2), (700, 2), (1400, 1)]
        for kernel in SOME_KERNELS
        # A kernel of tiles has no runs, and emulated tiles take seconds.
        if units < 700 or kernel[0] != "amx-emulated"
    ],
)
def test_same_bytes_at_any_width(kernel, units, layers, model_of, monkeypatch):
    """So it has if a width is no multiple of a panel's, or a depth is computed in several runs."""
    isa, arithmetic = kernel
    monkeypatch.setenv("UNROLLED_ISA", isa)
    model = model_of(units, layers)
    engine, columns = FusedEngine(model, arithmetic, 2), last_layer(model)
    random = np.random.default_rng(units)
    rows = [random.integers(1, VOCAB + 1, length).tolist() for length in (1, 2, 3, 5, 8, 4, 4, 4)]
    wanted = compute(engine, rows, columns)
    assert all(same_bytes(output, compute(engine, [row], columns)[0]) for row, output in zip(rows, wanted, strict=True))


def test_threads_share_one_large_pool(model_of):
    """There is enough work for threads to give parts of their walks away, and the bytes stay the same."""
    model = model_of(units=48, vocab_size=500)
    random = np.random.default_rng(5)
    # One row far longer than the others leaves threads without work while it runs.
    lengths = [*random.integers(0, 60, 2_000), 3_000, 2_500]
    rows = [random.integers(1, 501, length).tolist() for length in lengths]
    rows += [[*row[: len(row) // 2], 7] for row in rows[:500]] + rows[:100]
    wanted = compute(FusedEngine(model, threads=1), rows, last_layer(model))
    for threads in (2, 3, 8):
        assert all_same_bytes(wanted, compute(FusedEngine(model, threads=threads), rows, last_layer(model)))


def test_stats_count_what_was_shared(model_of):
    """`tokens` counts real tokens, `computed` distinct prefixes; duplicated rows add none."""
    shard = ragged([[1, 2, 3], [1, 2, 4], [1, 2, 3], [], [5]])
    outputs = np.empty((10, UNITS), np.float32)
    began = time.perf_counter()
    stats = FusedEngine(model_of(), threads=2).compute([shard], [[outputs]], COLUMNS)
    assert (stats.tokens, stats.computed) == (10, 5)
    assert 0 < stats.plan_seconds < time.perf_counter() - began


def test_pools_without_tokens(model_of):
    """No shard, a shard without rows and rows without tokens are no error."""
    engine = FusedEngine(model_of())
    nothing = np.empty((0, UNITS), np.float32)
    assert engine.compute([], [], COLUMNS).computed == 0
    for rows in ([], [[]], [[], []]):
        assert engine.compute([ragged(rows)], [[nothing]], COLUMNS).computed == 0


def test_several_shards_and_unaligned_outputs(model_of):
    """Each shard's rows are written to its own array, wherever the array begins in memory."""
    engine = FusedEngine(model_of(), threads=2)
    shards = [[[1, 2], [3]], [], [[1, 2, 5], [3]]]
    arrays = [np.full(1 + sum(map(len, rows)) * UNITS, np.nan, np.float32) for rows in shards]
    outputs = [array[1:].reshape(-1, UNITS) for array in arrays]
    engine.compute([ragged(rows) for rows in shards], [[output] for output in outputs], COLUMNS)
    for rows, output, array in zip(shards, outputs, arrays, strict=True):
        for row, found in zip(rows, np.split(output, np.cumsum([len(r) for r in rows])[:-1]), strict=False):
            assert same_bytes(found, compute(engine, [row])[0])
        assert np.isnan(array[0])


@pytest.mark.parametrize("kernel", SOME_KERNELS, ids="-".join)
@pytest.mark.parametrize("units", [48, 20])
def test_outputs_that_begin_on_a_line_or_off_it(kernel, units, model_of, monkeypatch):
    """Vectors of whole cache lines are stored differently: their bytes are right, and none beside them changes."""
    isa, arithmetic = kernel
    monkeypatch.setenv("UNROLLED_ISA", isa)
    model = model_of(units)
    engine, rows = FusedEngine(model, arithmetic, 2), ragged([[1, 2, 3], [1, 2], [4], [5, 6, 7, 8], [9], [2], [3], [4]])
    count, line = len(rows.values) * units, 16
    memory = np.empty(count + 3 * line, np.float32)
    found = []
    for offset in (0, 1, 4, 15):
        memory[:] = np.nan
        begin = -memory.ctypes.data // memory.itemsize % line + offset
        output = memory[begin : begin + count].reshape(-1, units)
        engine.compute([rows], [[output]], last_layer(model))
        found.append(output.tobytes())
        assert np.isnan(memory[:begin]).all()
        assert np.isnan(memory[begin + count :]).all()
        assert not np.isnan(output).any()
    assert len(set(found)) == 1


def test_callers_take_turns(model_of):
    """Two threads may call one engine, and each gets its own pool's result."""
    model = model_of(units=64)
    engine, columns = FusedEngine(model, threads=2), last_layer(model)
    pools = [[[token] * 40 for _ in range(30)] for token in range(1, VOCAB + 1)]
    wanted = [compute(engine, rows, columns) for rows in pools]
    with ThreadPoolExecutor(4) as callers:
        found_of = callers.map(lambda rows: compute(engine, rows, columns), pools)
        for expected, found in zip(wanted, found_of, strict=True):
            assert all_same_bytes(expected, found)


def test_row_of_a_million_tokens_in_bounded_memory(model_of):
    """The states of only two levels are in memory, however long a row is."""
    model = model_of(units=8, layers=1)
    engine, columns = FusedEngine(model, threads=2), last_layer(model)
    tokens = np.random.default_rng(0).integers(1, VOCAB + 1, 1_000_000).astype(np.int32)
    output = np.zeros((len(tokens), 8), np.float32)
    output += 1  # now the system has provided every page
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine.compute([Ragged(tokens, np.array([0, len(tokens)]))], [[output]], columns)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32_000  # KiB
    assert same_bytes(output[:100], compute(engine, [tokens[:100].tolist()], columns)[0])


@pytest.mark.parametrize(
    ("values", "offsets", "words"),
    [
        ([1, 0, 2], [0, 3], "token 1 is 0"),
        ([1, VOCAB + 1], [0, 2], f"token 1 is {VOCAB + 1}"),
        ([-5], [0, 1], "token 0 is -5"),
        ([1, 2], [0, 3], "offset 1 is 3"),
        ([1, 2], [0, 2, 1, 2], "offset 2 is 1"),
        ([1, 2], [1, 2], "offset 0 is 1"),
        ([1, 2], [0, 1], "offset 1 is 1"),
        ([1, 2], [0, -1, 2], "offset 1 is -1"),
        ([1, 2], [0, 2**62, 2], "offset 1 is"),
    ],
)
def test_hostile_rows_are_refused(values, offsets, words, model_of):
    """Ids and offsets are checked before they are used; nothing is written."""
    engine = FusedEngine(model_of())
    output = np.full((len(values), UNITS), np.nan, np.float32)
    good = ragged([[1]])
    with pytest.raises(RequestError, match=f"shard 1: {words}"):
        engine.compute(
            [good, Ragged(np.array(values, np.int32), np.array(offsets, np.int64))],
            [[np.full((1, UNITS), np.nan, np.float32)], [output]],
            COLUMNS,
        )
    assert np.isnan(output).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda v, o, out: (v.astype(np.int64), o, out),
        lambda v, o, out: (v, o.astype(np.int32), out),
        lambda v, o, out: (v, o[:0], out),
        lambda v, o, out: (v, o, out.astype(np.float64)),
        lambda v, o, out: (v, o, out[:, :-1]),
        lambda v, o, out: (v, o, out[:-1]),
        lambda v, o, out: (v, o, np.asfortranarray(out)),
        lambda v, o, out: (np.repeat(v, 2)[::2], o, out),
    ],
)
def test_arrays_of_another_kind_are_refused(change, model_of):
    """Types, shapes and layouts are checked before addresses leave Python."""
    engine = FusedEngine(model_of())
    shard = ragged([[1, 2], [3]])
    values, offsets, output = change(*shard[:2], np.zeros((3, UNITS), np.float32))
    with pytest.raises(RequestError, match="shard 0: "):
        engine.compute([Ragged(values, offsets)], [[output]], COLUMNS)


def test_read_only_and_missing_outputs_are_refused(model_of):
    """An output array that can't be written, or is missing, is an error and no crash."""
    engine = FusedEngine(model_of())
    output = np.zeros((1, UNITS), np.float32)
    output.flags.writeable = False
    with pytest.raises(RequestError, match="read-only"):
        engine.compute([ragged([[1]])], [[output]], COLUMNS)
    with pytest.raises(RequestError, match="1 shards have 0 lists of outputs"):
        engine.compute([ragged([[1]])], [], COLUMNS)
    with pytest.raises(RequestError, match="shard 0 has 0 arrays for 1 columns"):
        engine.compute([ragged([[1]])], [[]], COLUMNS)


@pytest.mark.parametrize(
    "columns",
    [
        (),
        COLUMNS * 2,
        (VectorColumn("none", LAYERS, UNITS),),
        (VectorColumn("none", -1, UNITS),),
        (VectorColumn("none", 0, UNITS + 1),),
        (VectorColumn("median", 0, UNITS),),
    ],
)
def test_columns_that_there_are_not_are_refused(columns, model_of):
    """A column of another layer, width or pooling, no column, or one twice is refused."""
    outputs = [np.zeros((1, column.width), np.float32) for column in columns]
    with pytest.raises(RequestError, match="column"):
        FusedEngine(model_of()).compute([ragged([[1]])], [outputs], columns)


def test_what_an_engine_can_not_be(model_of, monkeypatch):
    """Unknown arithmetics, numbers of threads and instruction sets are refused, and the text says what is allowed."""
    model = model_of()
    with pytest.raises(RequestError, match="float32, bfloat16, bfloat16x3"):
        FusedEngine(model, "float16")
    with pytest.raises(RequestError, match="threads is 0"):
        FusedEngine(model, threads=0)
    monkeypatch.setenv("UNROLLED_ISA", "mmx")
    with pytest.raises(BrokenWorkerError, match="avx512, avx2, portable"):
        FusedEngine(model)


def test_description_tells_the_path(model_of, monkeypatch):
    """The line for the log names instruction set, arithmetic and threads."""
    monkeypatch.setenv("UNROLLED_ISA", "portable")
    assert FusedEngine(model_of(), "bfloat16", 3).description == (
        "fused engine: portable, bfloat16, 3 threads, 2 x lstm 20 on an embedding of 3, "
        "first layer's input from a table"
    )


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_threads_follow_a_containers_limit(files, quota, tmp_path):
    """A container's CPU quota, of either version of control groups, lowers the number of threads."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    assert usable_cpus(tmp_path) == (quota or len(os.sched_getaffinity(0)))


def test_hyperthreads_of_a_core_count_once(tmp_path, monkeypatch):
    """They share the core's matrix units, so tiles get one thread for each core; other kernels get one for each."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5, 7})
    for cpu, siblings in {0: "0,4", 1: "1,5", 2: "2,6", 5: "1,5"}.items():  # nothing is known of 7
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(siblings + "\n")
    assert usable_cores(tmp_path) == 4
    monkeypatch.setattr(cpus, "usable_cores", lambda: 4)
    monkeypatch.setattr(cpus, "usable_cpus", lambda: 5)
    assert (threads_for("amx"), threads_for("avx512"), threads_for("amx-emulated")) == (4, 5, 5)


def test_no_tensorflow():
    """Making the engine loads no TensorFlow."""
    code = "import sys, worker.engines.fused.engine; print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_a_compiler():
    """Without a compiler, the build's error is one line."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.engines.fused.build"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CXX": "no-such-compiler"},
    )
    assert done.returncode == 1
    assert done.stderr == (
        "the fused engine's kernel was not built: no C++ compiler found (no-such-compiler); "
        "install one, or name it in CXX, and install unrolled again\n"
    )
