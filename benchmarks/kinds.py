"""Compares the fused engine's arithmetic rate on each kind of layer with that on forward LSTM layers of that width.

    python benchmarks/kinds.py [--units 128 256 512] [--arithmetics float32 bfloat16] [--pooling mean]
        [--results kinds.tsv]

Rows have different first and different last tokens, so nothing is shared in either direction. Only the products that a
kind needs are counted: a GRU has three gates, a bidirectional layer two passes, a norm has none, and the first layer's
input comes from a table, unless rows contain vectors. Rates and ratios are medians of `--repeats` interleaved runs; of
ratios also the lowest and the highest.
"""

# Over 150 lines: the kinds, their products, and one measurement.

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import commit, machine

from unrolled.format.columns import POOLINGS
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused.engine import FusedEngine

VOCAB, EMBEDDING, LENGTH = 10_000, 10, 24
#: Numbers in a vector, as audio frames have them.
VECTOR_DIM = 80


def kinds(units: int) -> dict[str, ModelConfig]:
    """Models of two recurrent layers each, the maps' with maps between; the others are compared with the first."""
    half = max(units // 2, 1)
    layers = {
        "lstm": LayerConfig(units),
        "bidirectional": LayerConfig(units, direction="bidirectional"),
        "gru": LayerConfig(units, "gru"),
        "gru, reset before": LayerConfig(units, "gru", reset="before"),
        "hard gates": LayerConfig(units, gates="hard_sigmoid"),
        "first state": LayerConfig(units, first_state=True),
        "given state": LayerConfig(units, given_state=True),
        "projected to half": LayerConfig(units, projection=half),
        "multiplicative": LayerConfig(units, "mlstm"),
        "layer norm": LayerConfig(units, norm="carried", epsilon=1e-5),
        "clipped": LayerConfig(units, cell_clip=3.0),
        "clipped projection": LayerConfig(units, projection=half, cell_clip=3.0, projection_clip=1.0),
    }
    stacks: dict[str, tuple[LayerConfig | MapConfig, ...]] = {name: (layer,) * 2 for name, layer in layers.items()}
    low, norm = LayerConfig(units), MapConfig(units, "layer_norm", epsilon=1e-3)
    stacks |= {
        "residual": (low, replace(low, residual=True)),
        "dense between": (low, MapConfig(units, activation="relu"), low),
        "norm between": (low, norm, low),
        "adapter between": (
            low,
            norm,
            MapConfig(half, activation="relu"),
            MapConfig(units, residual=True, span=3),
            low,
        ),
    }
    models = {name: ModelConfig(VOCAB, LENGTH, EMBEDDING, stack) for name, stack in stacks.items()}
    return models | {"vectors": ModelConfig(0, LENGTH, None, stacks["lstm"], vector_dim=VECTOR_DIM)}


def operations(config: ModelConfig, rows: int) -> float:
    """Floating-point operations of the products that are needed, two for each multiply-add."""
    total, steps = 0.0, rows * LENGTH
    for number, (layer, inputs) in enumerate(zip(config.layers, config.input_dims, strict=True)):
        if isinstance(layer, MapConfig):
            total += 2.0 * steps * math.prod(layer.shapes(inputs).get("kernel", (0,)))
            continue
        # A multiplicative LSTM has the factors of m beside its four gates.
        gates = {"lstm": 4, "gru": 3, "mlstm": 5}[layer.kind]
        # A row's first token has no previous state, unless the layer begins with one.
        states = layer.state_dim * rows * (LENGTH - (not (layer.first_state or layer.given_state)))
        products = gates * layer.units * (states + (inputs * steps if number or config.vector_dim else 0))
        products += layer.units * (layer.projection or 0) * steps
        total += 2.0 * products * (layer.output_dim // layer.state_dim)
    return total


def distinct_rows(rows: int) -> Ragged:
    """Rows of random tokens, with different first and different last tokens."""
    random = np.random.default_rng(0)
    values = random.integers(1, VOCAB + 1, (rows, LENGTH)).astype(np.int32)
    for end in (0, -1):
        values[:, end] = random.permutation(VOCAB)[:rows] + 1
    return Ragged(values.ravel(), np.arange(rows + 1, dtype=np.int64) * LENGTH)


def with_vectors(shard: Ragged, width: int | None) -> Ragged:
    """The rows, with a random vector for each token id if the model reads vectors."""
    if width is None:
        return shard
    return shard._replace(vectors=np.random.default_rng(2).standard_normal((VOCAB, width), np.float32)).compact()


def with_states(shard: Ragged, width: int) -> Ragged:
    """The rows, each with random initial states if the model reads them."""
    if not width:
        return shard
    return shard._replace(states=np.random.default_rng(3).uniform(-1, 1, (shard.rows, width)).astype(np.float32))


def engine_of(config: ModelConfig, arithmetic: str, threads: int | None) -> FusedEngine:
    """An engine with weights about as large as those of a trained model; their values don't change the time."""
    random = np.random.default_rng(1)
    weights = {
        name: (random.uniform(-1, 1, shape) / np.sqrt(shape[0])).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    with tempfile.TemporaryDirectory() as directory:
        return FusedEngine(save_model(directory, config, weights), arithmetic, threads)


def measure(units: int, arithmetic: str, options: argparse.Namespace) -> Iterator[str]:
    """Yield one line for each kind, its values separated by tabs."""
    shard = distinct_rows(min(options.tokens * 128 // units // LENGTH, VOCAB))
    contestants = []
    for name, config in kinds(units).items():
        columns = OutputSpec(pooling=tuple(options.pooling)).columns(config)
        sizes = [(column.vectors(shard.rows, len(shard.values)), column.width) for column in columns]
        outputs = [np.zeros(size, np.float32) for size in sizes]
        contestants.append(
            (
                name,
                engine_of(config, arithmetic, options.threads),
                with_states(with_vectors(shard, config.vector_dim), config.given_dim),
                columns,
                outputs,
                operations(config, shard.rows),
            )
        )
    rates: dict[str, list[float]] = {name: [] for name, *_ in contestants}
    for repeat in range(options.repeats + 1):
        for name, engine, rows, columns, outputs, work in contestants:
            start = time.perf_counter()
            engine.compute([rows], [outputs], columns)
            if repeat:  # the first run touches the memory for the first time
                rates[name].append(work / (time.perf_counter() - start) / 1e9)
    for name, found in rates.items():
        ratios = [rate / base for rate, base in zip(found, rates["lstm"], strict=True)]
        numbers = (f"{statistics.median(found):.1f}", *(f"{f(ratios):.3f}" for f in (statistics.median, min, max)))
        yield "\t".join((arithmetic, str(units), name, *numbers))


def main() -> None:
    """Measure every width and arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--arithmetics", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--pooling", nargs="+", choices=POOLINGS, default=["none"])
    parser.add_argument("--tokens", type=int, default=72_000, help="tokens at 128 units; with more units fewer")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    lines = ["arithmetic\tunits\tkind\tGFLOP/s\tratio to lstm\tlowest\thighest"]
    for arithmetic in options.arithmetics:
        for units in options.units:
            for line in measure(units, arithmetic, options):
                lines.append(line)
                print(line.expandtabs(20), flush=True)
    if options.results:
        options.results.write_text("\n".join([*lines, f"# {machine()}, commit {commit()}"]) + "\n")


if __name__ == "__main__":
    main()
