"""Compares the fused kernel's speed with that of another clone, such as a worktree of an older commit.

    python benchmarks/kernel_versions.py --other ../older-clone [--units 128 256 512 1024] [--threads 1 2]
        [--arithmetics float32 bfloat16] [--turns 21] [--results kernel_zen4.tsv]

Both kernels must be built. Each runs in a process of its own, from the beginning to the end, and they take turns, so
that a change of the machine's speed affects both. A turn takes a quarter of a second, or longer if the rows do. A ratio
is that of two neighbouring turns; above 1, this clone's kernel is the faster one. The rows are those of `kernel.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from machine import append

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[1]
ROWS, LENGTH = 1536, 24
TURN_SECONDS = 0.25


def main() -> None:
    """Measure, and print one line for each combination."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=Path, help="the other clone")
    parser.add_argument("--units", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--arithmetics", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=21)
    parser.add_argument("--results", type=Path, help="a file to which the rates are added")
    parser.add_argument("--serve", nargs=3, metavar=("UNITS", "ARITHMETIC", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        units, arithmetic, threads = options.serve
        serve(int(units), arithmetic, int(threads))
        return
    if not options.other:
        parser.error("name the other clone with --other")
    print(f"{'arithmetic':10} {'units':>5} {'threads':>7}  rate here / rate of the other clone")
    for arithmetic in options.arithmetics:
        for units in options.units:
            for threads in options.threads:
                rates = compare(options.other, (str(units), arithmetic, str(threads)), options.turns)
                ratios = [here / other for here, other in zip(*rates.values(), strict=True)]
                low, _, high = statistics.quantiles(ratios, n=4)
                print(
                    f"{arithmetic:10} {units:5} {threads:7}  {statistics.median(ratios):.3f} "
                    f"(half of the turns: {low:.3f} to {high:.3f})",
                    flush=True,
                )
                if options.results:
                    settings = {"arithmetic": arithmetic, "units": units, "threads": threads}
                    append(options.results, settings, rates)


def compare(other: Path, settings: tuple[str, str, str], turns: int) -> dict[str, list[float]]:
    """The rates of both clones, in tokens a second, one for each turn."""
    rates: dict[str, list[float]] = {"here": [], "other": []}
    with engine_of(HERE, settings) as here, engine_of(other, settings) as there:
        processes = {"here": here, "other": there}
        runs = max(1, round(TURN_SECONDS / seconds_of(here, 1)))
        for turn in range(turns):
            for name in list(processes)[:: 1 if turn % 2 else -1]:
                rates[name].append(runs * ROWS * LENGTH / seconds_of(processes[name], runs))
    return rates


@contextlib.contextmanager
def engine_of(clone: Path, settings: tuple[str, str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process with the engine of a clone, which has computed the rows once."""
    command = (sys.executable, __file__, "--serve", *settings)
    environment = {**os.environ, "PYTHONPATH": f"{clone.resolve()}:{clone.resolve()}/benchmarks"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            seconds_of(process, 1)
            yield process
        finally:
            process.kill()


def seconds_of(process: subprocess.Popen[str], runs: int) -> float:
    """The seconds in which the engine of a process computes the rows so many times."""
    assert process.stdin
    assert process.stdout
    print(runs, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        sys.exit("the process with the engine of a clone has ended")
    return float(answer)


def serve(units: int, arithmetic: str, threads: int) -> None:
    """Compute the rows as often as each line of the standard input says, with the clone that is on the path first."""
    sys.path.remove(str(Path(__file__).parent))
    kernel = importlib.import_module("kernel")
    shard = kernel.distinct_rows(ROWS, LENGTH)
    with tempfile.TemporaryDirectory() as directory:
        model = kernel.random_model(units, directory)
        columns = kernel.OutputSpec().columns(model.config)
        [output] = kernel.Buffers(0).take(columns, shard.rows, len(shard.values))
        engine = kernel.FusedEngine(model, arithmetic, threads)
        for line in sys.stdin:
            start = time.perf_counter()
            for _ in range(int(line)):
                engine.compute([shard], [[output]], columns)
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
