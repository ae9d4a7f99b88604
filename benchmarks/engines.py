"""The fused engine against other libraries' LSTMs, on the same rows in one run.

Peers get the rows sorted by length over the whole text, each its own best batch size, and are measured on
batches spread over that order, about `--peer-tokens` real tokens; the fused engine gets the whole pool. All
are run in turn, `--repeats` times. Printed are real tokens a second (median), and the fused engine's over the
best peer's of the same precision (median, lowest and highest of the turns). Libraries that are not installed
are left out: pip install torch onnx onnxruntime openvino tensorflow.

    python benchmarks/engines.py --texts prose code --units 128 256 512 1024 --svg docs/engines.svg
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from engines_chart import write_chart
from engines_peers import Run, peers
from engines_texts import TEXTS, VOCAB, rows_of
from numpy.typing import NDArray

from unrolled.model_directory import ModelConfig, save_model
from unrolled.ragged import Ragged
from worker.engines.fused import FusedEngine

BATCH_SIZES = (16, 32, 64, 128)


@dataclasses.dataclass
class Contestant:
    """Something that computes `tokens` real tokens in one turn."""

    name: str
    precision: str
    tokens: int
    turn: Callable[[], Any]
    rates: list[float] = dataclasses.field(default_factory=list)

    def take_turn(self) -> None:
        """Run once and note the rate."""
        start = time.perf_counter()
        self.turn()
        self.rates.append(self.tokens / (time.perf_counter() - start))


def batches_of(rows: Ragged, size: int, tokens: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Padded batches of rows sorted by length, longest first, spread over all until `tokens` are there."""
    order = np.argsort(-rows.lengths, kind="stable")
    groups = [order[k : k + size] for k in range(0, len(order), size)]
    random = np.random.default_rng(0)
    chosen: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for group in random.permutation(len(groups)):
        if tokens <= 0:
            break
        lengths = rows.lengths[groups[group]]
        ids = np.zeros((len(lengths), lengths.max()), np.int64)
        for k, row in enumerate(groups[group]):
            ids[k, : lengths[k]] = rows.values[rows.offsets[row] : rows.offsets[row + 1]]
        chosen.append((ids, lengths))
        tokens -= int(lengths.sum())
    return chosen


def peer_contestant(name: str, precision: str, run: Run, rows: Ragged, tokens: int) -> Contestant:
    """A peer at the batch size at which it is fastest on a quarter of the tokens."""

    def contestant(size: int, amount: int) -> Contestant:
        batches = batches_of(rows, size, amount)
        real = int(sum(lengths.sum() for _, lengths in batches))
        return Contestant(f"{name} ({size})", precision, real, lambda: [run(*batch) for batch in batches])

    trials = {}
    for size in BATCH_SIZES:
        trial = contestant(size, tokens // 4)
        trial.take_turn()  # shapes that are new cost compilation
        trial.take_turn()
        trials[size] = trial.rates[-1]
    return contestant(max(trials, key=lambda size: trials[size]), tokens)


def contest(rows: Ragged, config: ModelConfig, options: argparse.Namespace, threads: int) -> list[Contestant]:
    """Make all contestants for one model and let them take turns."""
    random = np.random.default_rng(config.num_lstm_units)
    weights = {
        name: random.uniform(-1, 1, shape).astype(np.float32) / np.sqrt(shape[0], dtype=np.float32)
        for name, shape in config.shapes().items()
    }
    contestants = []
    with tempfile.TemporaryDirectory() as directory:
        model = save_model(directory, config, weights)
        output = np.zeros((len(rows.values), config.num_lstm_units), np.float32)
        for precision in ("float32", "bfloat16"):
            engine = FusedEngine(model, precision, threads)
            contestants.append(
                Contestant("fused", precision, len(rows.values), lambda e=engine: e.compute([rows], [output]))
            )
        # Wide models are slow: what a turn computes falls with the arithmetic of a token.
        tokens = max(2_000, int(options.peer_tokens * (128 / config.num_lstm_units) ** 2))
        for name, precision, make in peers(model, threads):
            try:
                run = make()
            except ImportError as error:
                print(f"  {name}: left out ({error})")
                continue
            contestants.append(peer_contestant(name, precision, run, rows, tokens))
        for repeat in range(options.repeats + 1):
            for contestant in contestants:
                contestant.take_turn()
                if repeat == 0:  # touches the memory for the first time
                    contestant.rates.clear()
    return contestants


def matmul_peaks(threads: int) -> dict[str, float]:
    """The largest product's rate that PyTorch reaches, operations a second by precision."""
    try:
        import torch  # noqa: PLC0415 (optional, as every peer)
    except ImportError:
        return {}
    torch.set_num_threads(threads)
    peaks = {}
    for precision in ("float32", "bfloat16"):
        a = torch.rand(2048, 2048).to(getattr(torch, precision))
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            a @ a
            best = min(best, time.perf_counter() - start)
        peaks[precision] = 2 * 2048**3 / best
    return peaks


def report(contestants: list[Contestant]) -> dict[str, tuple[float, float]]:
    """Print a table; for each precision the fused engine's rate and the best peer's."""
    best = {}
    for precision in ("float32", "bfloat16"):
        fused, *others = [c for c in contestants if c.precision == precision]
        for contestant in (fused, *others):
            print(f"  {precision:9} {contestant.name:28} {statistics.median(contestant.rates):12,.0f} tokens/s")
        if others:
            peer = max(others, key=lambda c: statistics.median(c.rates))
            ratios = [ours / theirs for ours, theirs in zip(fused.rates, peer.rates, strict=True)]
            print(
                f"  {precision:9} fused / best peer: {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f}-{max(ratios):.2f})",
                flush=True,
            )
            best[precision] = (statistics.median(fused.rates), statistics.median(peer.rates))
    return best


def main() -> None:
    """Run every combination asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", nargs="+", choices=TEXTS, default=list(TEXTS))
    parser.add_argument("--units", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--embedding", type=int, default=int(VOCAB**0.25))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-tokens", type=int, default=200_000, help="a turn's at 128 units")
    parser.add_argument("--rows", type=int, help="only so many rows of each text, for a quick look")
    parser.add_argument("--svg", help="write a chart there")
    options = parser.parse_args()
    bars = []
    for threads in options.threads:
        peaks = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in matmul_peaks(threads).items())
        print(f"{threads} of {os.cpu_count()} processors, largest matrix product GFLOP/s: {peaks or 'no PyTorch'}")
        for text in options.texts:
            rows = rows_of(text)
            rows = rows.take(0, min(rows.rows, options.rows or rows.rows))
            print(f"{text}: {rows.rows} rows, {len(rows.values)} tokens")
            for units in options.units:
                print(f" {units} units, embedding {options.embedding}, {threads} threads", flush=True)
                best = report(contest(rows, ModelConfig(VOCAB, 1000, units, 2, options.embedding), options, threads))
                bars += [(f"{text} {units} {name}", threads, *pair) for name, pair in best.items()]
    if options.svg:
        write_chart(options.svg, [(label, *pair) for label, t, *pair in bars if t == max(options.threads)])


if __name__ == "__main__":
    main()
