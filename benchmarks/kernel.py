"""Measures the fused kernel's share of the machine's peak, the rate of multiply-adds on registers.

    python benchmarks/kernel.py [--units 256 512 1024] [--arithmetics float32 bfloat16]

Rows have different first tokens, so nothing is shared and every token is computed. The peak is measured before and
after each run, on the same number of threads, and the mean of both is used, because a processor's clock varies by a
tenth within seconds. Ratios are medians of `--repeats` interleaved runs, with the lowest and the highest. "of CPU time"
is the ratio with processor seconds instead of time, which is more reliable on a machine that does other work. Only the
products that the engine computes are counted: the first layer's input comes from a table.
"""

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from unrolled.format.columns import VectorColumn
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine
from worker.pool.buffers import Buffers

VOCAB, LAYERS, EMBEDDING = 10_000, 2, 10


def random_model(units: int, directory: str) -> ModelDirectory:
    """A model with weights about as large as those of a trained one; their values don't change the time."""
    config = ModelConfig.stacked(VOCAB, 1000, units, LAYERS, EMBEDDING)
    random = np.random.default_rng(units)
    weights = {
        name: random.uniform(-1, 1, shape).astype(np.float32) / np.sqrt(shape[0], dtype=np.float32)
        for name, shape in config.shapes().items()
    }
    return save_model(f"{directory}/{units}", config, weights)


def distinct_rows(rows: int, length: int) -> Ragged:
    """Rows of random tokens, with different first tokens."""
    random = np.random.default_rng(0)
    values = random.integers(1, VOCAB + 1, (rows, length)).astype(np.int32)
    values[:, 0] = random.permutation(VOCAB)[:rows] + 1
    return Ragged(values.ravel(), np.arange(rows + 1, dtype=np.int64) * length)


def operations(units: int, rows: int, length: int) -> float:
    """Floating-point operations of the products that are computed, two for each multiply-add."""
    per_product = 2.0 * units * 4 * units
    states_before = rows * (length - 1) * LAYERS  # a row's first token has no previous state
    return per_product * (states_before + rows * length * (LAYERS - 1))


def register_rate(arithmetic: str, threads: int) -> tuple[float, float]:
    """Multiply-adds on registers, in operations: per second with all threads, and per processor second of one."""
    kernel, isa = library.load(), library.forced_isa()

    def spin(_: int) -> float:
        """Call the kernel for about a millisecond at a time; shorter calls would wait for the interpreter lock."""
        start = time.perf_counter()
        done = 0.0
        while time.perf_counter() < start + 0.05:
            done += kernel.unrolled_spin(isa, library.ARITHMETICS[arithmetic], 400_000)
        return done / (time.perf_counter() - start)

    with ThreadPoolExecutor(threads) as pool:
        wall = sum(pool.map(spin, range(threads)))
    start = time.process_time()
    done = kernel.unrolled_spin(isa, library.ARITHMETICS[arithmetic], 200_000)
    return wall, done / (time.process_time() - start)


def main() -> None:
    """Measure, and print one line for each combination."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--arithmetics", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, default=1536)
    parser.add_argument("--length", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    shard = distinct_rows(options.rows, options.length)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {len(shard.values)} tokens")
    print(
        f"{'arithmetic':10} {'units':>5} {'threads':>7} {'GFLOP/s':>8} {'of registers':>21} "
        f"{'of CPU time':>11} {'plan':>6} tokens/s"
    )
    with tempfile.TemporaryDirectory() as directory:
        for units in options.units:
            model = random_model(units, directory)
            columns = OutputSpec().columns(model.config)
            [output] = Buffers(0).take(columns, shard.rows, len(shard.values))
            for arithmetic in options.arithmetics:
                engines = [FusedEngine(model, arithmetic, threads) for threads in options.threads]
                measure(engines, shard, output, columns, options.repeats)


def measure(
    engines: list[FusedEngine], shard: Ragged, output: np.ndarray, columns: tuple[VectorColumn, ...], repeats: int
) -> None:
    """Interleave the engines' runs, and print each engine's medians and how many times faster more threads are."""
    work = operations(output.shape[1], shard.rows, len(shard.values) // shard.rows)
    seconds: list[list[float]] = [[] for _ in engines]
    ratios: list[list[float]] = [[] for _ in engines]
    cpu_ratios: list[list[float]] = [[] for _ in engines]
    plans: list[list[float]] = [[] for _ in engines]
    for repeat in range(repeats + 1):
        for k, engine in enumerate(engines):
            before = register_rate(engine.arithmetic, engine.threads)
            start, cpu_start = time.perf_counter(), time.process_time()
            stats = engine.compute([shard], [[output]], columns)
            took, cpu_took = time.perf_counter() - start, time.process_time() - cpu_start
            after = register_rate(engine.arithmetic, engine.threads)
            peak, cpu_peak = map(statistics.mean, zip(before, after, strict=True))
            if repeat:  # the first run touches the memory for the first time
                seconds[k].append(took)
                ratios[k].append(work / took / peak)
                cpu_ratios[k].append(work / cpu_took / cpu_peak)
                plans[k].append(stats.plan_seconds / took)
    for k, engine in enumerate(engines):
        took = statistics.median(seconds[k])
        print(
            f"{engine.arithmetic:10} {output.shape[1]:5} {engine.threads:7} {work / took / 1e9:8.1f} "
            f"{statistics.median(ratios[k]):7.3f} ({min(ratios[k]):.3f}-{max(ratios[k]):.3f}) "
            f"{statistics.median(cpu_ratios[k]):11.3f} {statistics.median(plans[k]):6.2%} "
            f"{len(shard.values) / took:,.0f}",
            flush=True,
        )
    for k, engine in enumerate(engines[1:], 1):
        speedups = [one / many for one, many in zip(seconds[0], seconds[k], strict=True)]
        print(f"{'':10} {engine.threads} threads / {engines[0].threads}: {statistics.median(speedups):.2f}")


if __name__ == "__main__":
    main()
