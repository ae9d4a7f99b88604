"""Compares the fused engine with other libraries' LSTMs and with a padded Keras RNN, on the same rows in one run.

    pip install -r benchmarks/requirements-peers.txt
    python benchmarks/engines --results benchmarks/results/engines.tsv
    python benchmarks/engines/chart.py benchmarks/results/engines.tsv docs/engines.svg

Rates are real tokens per second. Other libraries get the rows of the whole text sorted by length, in batches of the
size with which each is fastest, and are measured for `--seconds` on batches that are spread evenly over that order. The
fused engine gets pools in the order of the text, one for each turn. The tensorflow engine gets one pool, for about
`--seconds`. All take turns, `--repeats` times, and ratios are those of turns; the first turn isn't counted. A gauge
is read between turns, so that turns that other programs slowed down can be left out. Every contestant's states are
compared with exact ones. A library that isn't installed is listed as absent.

The whole run takes about three hours on two cores. `--texts`, `--units`, `--threads` and other options run parts of it,
and the file of results collects their figures.
"""

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from comparison import EMBEDDING, WIDE, Group, run
from peers import PEERS
from results import merge
from texts import TEXTS


def main() -> None:
    """Run the chosen groups, each in a new process, because TensorFlow's threads can be set only once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="+", choices=TEXTS, default=list(TEXTS))
    parser.add_argument("--units", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument(
        "--embeddings", type=int, nargs="+", help=f"else {EMBEDDING}, and {WIDE} for prose at 512 units too"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    names = ["fused", "tensorflow", *PEERS]
    parser.add_argument("--contestants", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of a turn; the fused engine computes one pool"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--pool-tokens", type=int, default=2**19, help="the most tokens in a pool of the fused engine")
    parser.add_argument("--rows", type=int, help="use only the first rows of each text, for a quick look")
    parser.add_argument("--results", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for the processes that it starts
    spawn = multiprocessing.get_context("spawn")
    for group in groups_of(options):
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            figures = process.submit(run, group, options).result()
        if options.results:
            merge(options.results, figures)


def groups_of(options: argparse.Namespace) -> Iterator[Group]:
    """Every combination of the chosen options."""
    for threads in options.threads:
        for text in options.texts:
            for units in options.units:
                wide = text == "prose" and units == 512
                for embedding in options.embeddings or ([EMBEDDING, WIDE] if wide else [EMBEDDING]):
                    yield Group(text, units, embedding, threads)


if __name__ == "__main__":
    main()
