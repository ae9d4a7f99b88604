"""Measures `unrolled model fit` on 1 MB of text: its held-out perplexity, that of word frequencies, and its speed.

    python benchmarks/fitting.py [--megabytes 1] [-- options of unrolled model fit]

The text is the standard library's docstrings, one sentence a row; the options are those of `unrolled demo`. Then the
model computes the rows in a whole job, from broker to Parquet, and the files are verified.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from producer.cli.commands.compute.demo import _MODEL
from producer.demo.docstrings import sentences


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("options", nargs="*", help="after --: options of `unrolled model fit`, instead of the demo's")
    given = parser.parse_args()
    options = given.options or [word for pair in _MODEL.items() for word in pair] + ["--epochs", "4"]
    with tempfile.TemporaryDirectory() as folder:
        corpus, model, out = (Path(folder) / name for name in ("corpus.txt", "model", "vectors"))
        write_corpus(corpus, int(given.megabytes * 1e6))
        began = time.perf_counter()
        record = json.loads(run("model", "fit", corpus, "--out", model, *options, "--json"))
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        run("run", corpus, "--model", model, "--out", out)
        whole = time.perf_counter() - began
        print(run("verify", out).strip().replace(folder + "/", ""))
    report(record, seconds, whole)


def report(record: dict[str, Any], fit_seconds: float, path_seconds: float) -> None:
    """Print the perplexities and the speed."""
    corpus, targets = record["corpus"], record["train"]["targets"] * len(record["epochs"])
    print(f"{corpus['rows']:,} rows, {corpus['tokens']:,} tokens, {record['parameters']:,} parameters")
    for epoch in record["epochs"]:
        learnt, held_out = epoch["train_perplexity"], epoch["validation_perplexity"]
        print(f"epoch {epoch['epoch']}: {learnt:7.1f} training {held_out:7.1f} held out")
    print(f"held out: {record['validation_perplexity']:.1f}; frequencies alone: {record['unigram_perplexity']:.1f}")
    print(f"{fit_seconds:.1f} s, TensorFlow's start included; {targets / fit_seconds:,.0f} targets/s")
    print(f"whole job with these rows: {path_seconds:.1f} s")


def write_corpus(path: Path, size: int) -> None:
    """Write sentences, one a line, until the file has this many bytes."""
    with path.open("w") as file:
        for _, text in sentences():
            if file.tell() >= size:
                break
            file.write(text + "\n")


def run(*words: object) -> str:
    """Run a command of `unrolled`; returns what it prints."""
    command = [sys.executable, "-m", "producer", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
