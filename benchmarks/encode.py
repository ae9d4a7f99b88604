"""What `unrolled.load(…).encode` costs beside the engine alone, and beside `torch.nn.LSTM` with padded batches.

    python benchmarks/encode.py [--units 512] [--texts 4000] [--threads 2] [--repeats 5]

All compute the same rows in turns: the docstrings of Python's standard library, as ids of a tokenizer that is fitted on
them, with a model of random weights. The engine alone gets the ids in one array; `encode` gets the texts. Prints the
median tokens a second of each, and the ratios to the engine; the milliseconds of one short text once the model is
loaded; and the seconds of loading it. PyTorch, where it is installed, gets the rows sorted by length, in padded batches
of 64 rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import unrolled
from producer.demo.docstrings import docstrings
from producer.tokenization import word_level
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import open_model, save_model
from unrolled.model.weights import new_weights
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused.engine import FusedEngine

VOCABULARY = 10_000
EMBEDDING = 64
SHORT = "a short line of text"
BATCH_ROWS = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    texts = [text for _, text in docstrings()][: arguments.texts]
    with tempfile.TemporaryDirectory(prefix="unrolled-encode-") as folder:
        path = Path(folder) / "model"
        make_model(path, texts, arguments.units)
        began = time.perf_counter()
        encoder = unrolled.load(path, threads=arguments.threads)
        print(f"loading: {time.perf_counter() - began:.3f} s")
        short = seconds_of(lambda: encoder.encode(SHORT), 200)
        print(f"one short text, with a vector for each token: {1000 * statistics.median(short):.2f} ms")
        compare(encoder, path, texts, arguments)


def make_model(path: Path, texts: list[str], units: int) -> None:
    """A model of random weights, with a tokenizer that is fitted on the texts."""
    tokenizer = word_level.fit(texts, VOCABULARY).tokenizer
    config = ModelConfig.stacked(VOCABULARY, 128, units, 2, EMBEDDING)
    save_model(path, config, new_weights(config, 1), tokenizer.to_str())


def compare(encoder: unrolled.Encoder, path: Path, texts: list[str], arguments: argparse.Namespace) -> None:
    """Print the rates of all contestants, measured in turns."""
    model = open_model(path)
    ids = [each for each in encoder.tokenize(texts) if each.size]
    rows = Ragged.from_lengths(np.concatenate(ids), [len(each) for each in ids])
    engine = FusedEngine(model, threads=arguments.threads)
    columns = {pooling: OutputSpec(pooling=(pooling,)).columns(model.config) for pooling in ("none", "mean")}

    def alone(pooling: str) -> Callable[[], object]:
        (column,) = columns[pooling]
        count = column.vectors(rows.rows, rows.values.size)
        return lambda: engine.compute([rows], [[np.empty((count, column.width), np.float32)]], columns[pooling])

    contestants: dict[str, Callable[[], object]] = {
        "engine alone, a vector for each token": alone("none"),
        "encode, a vector for each token": lambda: encoder.encode(texts),
        "engine alone, a mean for each row": alone("mean"),
        "encode, a mean for each row": lambda: encoder.encode(texts, pooling="mean"),
        **padded_torch(ids, arguments),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(arguments.repeats + 1):
        for name, run in contestants.items():
            (took,) = seconds_of(run, 1)
            if turn:  # the first is for warming up
                seconds[name].append(took)
    for name, each in seconds.items():
        reference = seconds[
            "engine alone, a mean for each row" if "mean" in name else "engine alone, a vector for each token"
        ]
        ratio = statistics.median(reference) / statistics.median(each)
        print(f"{name}: {rows.values.size / statistics.median(each):,.0f} tokens/s, {ratio:.3f} of the engine")


def padded_torch(ids: list[np.ndarray], arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """PyTorch with padded batches of rows of about equal length, if it is installed."""
    try:
        import torch  # noqa: PLC0415 - optional
    except ImportError:
        return {}
    torch.set_num_threads(arguments.threads)
    lstm = torch.nn.LSTM(EMBEDDING, arguments.units, 2, batch_first=True)
    table = torch.randn(VOCABULARY + 1, EMBEDDING)
    ordered = sorted(ids, key=len)

    def run() -> None:
        with torch.no_grad():
            for start in range(0, len(ordered), BATCH_ROWS):
                batch = [torch.from_numpy(row.astype(np.int64)) for row in ordered[start : start + BATCH_ROWS]]
                lstm(table[torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)])

    return {"torch.nn.LSTM, a vector for each token": run}


def seconds_of(run: Callable[[], object], times: int) -> list[float]:
    """How long each of several calls takes."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return found


if __name__ == "__main__":
    main()
