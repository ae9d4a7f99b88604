"""How far two float32 programs differ in models of random weights, in roundings: what the limit of an import rests on.

    python benchmarks/parity_limit.py [--seeds 60]

`model import` allows a row 64 times the error that rounding in float32 makes in it (`comparison.ROUNDINGS`), as plain
arithmetic in float32 and in float64 shows it. Here the fused engine computes the rows that an import compares, with
models whose weights are normally distributed, of four widths: the larger the weights, the more a model amplifies.
The errors of a model whose weights are right should stay below the limit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from worker.model_import.parity.comparison import (
    LENGTHS,
    ROUNDINGS,
    _comparable,
    _plain,
    _roundings,
    find_engine,
    run_engine,
)

WIDTHS = (0.7, 1.0, 1.5, 3.0)
BOUND = 1e-5


def main() -> None:
    """Print how many models there are, and the largest ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=60, help="models of each width")
    seeds = parser.parse_args().seeds
    ratios = sorted((ratio(width, seed) for width in WIDTHS for seed in range(seeds)), reverse=True)
    print(f"{len(ratios)} models; the largest differences in roundings, where they are above {BOUND:g}:")
    print(", ".join(f"{one:.1f}" for one in ratios[:8]))
    print(f"above 8: {sum(one > 8 for one in ratios)}; above {ROUNDINGS}: {sum(one > ROUNDINGS for one in ratios)}")


def ratio(width: float, seed: int) -> float:
    """The largest difference of a row that is compared, in roundings of that row; 0 if all are below BOUND."""
    random = np.random.default_rng(seed)
    config = ModelConfig.stacked(50, 4096, 32, 1 + seed % 2, 8)
    weights = {name: random.normal(0, width, shape).astype(np.float32) for name, shape in config.shapes().items()}
    rows = [random.integers(1, 51, length, dtype=np.int32) for length in LENGTHS]
    # What an import does, from inside.
    exact, single = (_plain(config, weights, rows, None, kind) for kind in (np.float64, np.float32))
    roundings = _roundings(exact, single)
    kept = _comparable(exact, roundings, BOUND)
    with tempfile.TemporaryDirectory() as folder:
        engine = find_engine("fused", save_model(Path(folder) / "model", config, weights, None))
        if isinstance(engine, str):
            sys.exit(f"the fused engine is needed: {engine}")
        made = dict(enumerate(run_engine(engine, config, rows)))
    differences = {number: float(np.abs(made[number] - exact[number]).max()) for number in kept}
    return max((one / roundings[number] for number, one in differences.items() if one > BOUND), default=0.0)


if __name__ == "__main__":
    main()
