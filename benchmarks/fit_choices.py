"""Measures choices of the options of `unrolled model fit`: the held-out perplexity after equal processor time.

    python benchmarks/fit_choices.py RESULTS.tsv [--seconds 60] [--texts code,logs] [--choices "before;one layer"]

Each choice trains for the same processor seconds on one thread, with a learning rate that falls over them, and is then
evaluated. Processor seconds and not time, so that other programs of the machine hardly matter. The vocabulary is the
same for all choices, because perplexities over different vocabularies can't be compared. A choice whose result is in
the file isn't measured again.

    docstrings   the standard library's, one sentence a row
    code         lines of its source
    logs         made-up lines of a web service's log
"""

# Over 150 lines: the choices, and the training of one of them by the product's own parts.

from __future__ import annotations

import argparse
import csv
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "engines"))
from texts import code, logs

from producer.demo.docstrings import sentences
from producer.sources.options import SourceOptions
from producer.training.corpus import inputs_of, prepare
from producer.training.place import held
from producer.training.request import FitRequest
from unrolled.settings.declaration import declared
from unrolled.training.plan import SCRATCH, FitOptions, FitPlan
from unrolled.training.token_store import TokenStore
from worker.training.batches import training_batches, validation_batches, windows
from worker.training.device import start_tensorflow
from worker.training.network import Network
from worker.training.progress import perplexity
from worker.training.unigrams import unigram_logits, unigram_perplexity

TEXTS = {"docstrings": lambda: (text for _, text in sentences()), "code": code, "logs": logs}
VOCABULARY, MEGABYTES = 10_000, 1.0
#: The defaults before they were chosen by these figures, whatever the defaults are now.
BEFORE = {
    "lstm_layers": 2,
    "lstm_units": 256,
    "embedding_dim": 10,
    "keep_probability": 0.5,
    "learning_rate": 0.005,
    "batch_tokens": 1024,
}
KEPT = BEFORE | {"embedding_dim": 128, "keep_probability": 0.8}
ONE = KEPT | {"lstm_layers": 1}
CHOICES: dict[str, dict[str, Any]] = {
    "before": BEFORE,
    "two layers": KEPT,
    "one layer": ONE,
    "one layer, rate 0.01": ONE | {"learning_rate": 0.01},
    "one layer, rate 0.0025": ONE | {"learning_rate": 0.0025},
    "one layer, keep 0.9": ONE | {"keep_probability": 0.9},
    "one layer, keep 0.65": ONE | {"keep_probability": 0.65},
    "one layer, batch 512": ONE | {"batch_tokens": 512},
    "one layer, batch 2048": ONE | {"batch_tokens": 2048},
    "one layer, embedding 256": ONE | {"embedding_dim": 256},
    "one layer, 128 units": ONE | {"lstm_units": 128},
}
COLUMNS = ("text", "choice", "seconds", "targets", "epochs", "parameters", "perplexity", "frequencies alone")


def main() -> None:
    """Measure what the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--texts", type=lambda names: names.split(","), default=list(TEXTS))
    parser.add_argument("--choices", type=lambda names: names.split(";"), default=list(CHOICES), help="apart by ;")
    given = parser.parse_args()
    start_tensorflow("cpu", 1)
    there = {(row["text"], row["choice"]) for row in read(given.results)}
    for text in given.texts:
        missing = [choice for choice in given.choices if (text, choice) not in there]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            plan = rows_of(text, Path(folder))
            for choice in missing:
                append(
                    given.results,
                    {"text": text, "choice": choice, **measure(plan, Path(folder), choice, given.seconds)},
                )


def rows_of(text: str, folder: Path) -> FitPlan:
    """A text's first megabyte as token ids, split as for a training."""
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(first_bytes(TEXTS[text](), int(MEGABYTES * 1e6))) + "\n")
    request = FitRequest((str(corpus),), folder / "model", SourceOptions(), VOCABULARY, None, None, {})
    plan = inputs_of(request)
    with held(request.out / SCRATCH):
        return prepare(request, plan, print)


def first_bytes(lines: Iterable[str], size: int) -> list[str]:
    """Lines until they have a number of bytes."""
    lengths = itertools.accumulate
    kept = list(lines)
    ends = lengths(len(line.encode()) + 1 for line in kept)
    return [" ".join(line.split()) for line, end in zip(kept, ends, strict=True) if end <= size]


def measure(plan: FitPlan, folder: Path, choice: str, seconds: float) -> dict[str, object]:
    """Train with one choice, and evaluate."""
    names = [name for name in declared(FitOptions) if name != "vocab_size"]
    defaults = {name: getattr(plan.options, name) for name in names}
    options = FitOptions(plan.options.vocab_size, **defaults | CHOICES[choice])
    train, held_out = (
        TokenStore(folder / "model" / SCRATCH, side, options.vocab_size) for side in ("train", "validation")
    )
    logits = unigram_logits(train, options.vocab_size)
    network = Network(options, logits)
    began, targets = None, 0
    for batch in endless(train, options):
        states = None
        for window in windows(batch, options.max_length):
            share = 0.0 if began is None else (time.process_time() - began) / seconds
            rate = options.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * min(share, 1))) / 2)
            _, states = network.train(window, states, rate)
            targets += int((window.targets > 0).sum())
        if began is None:  # the first step compiles
            began = time.process_time()
        if time.process_time() - began >= seconds:
            break
    spent = time.process_time() - (began or 0.0)
    return {
        "seconds": f"{spent:.1f}",
        "targets": targets,
        "epochs": f"{targets / plan.train.targets:.2f}",
        "parameters": network.parameters,
        "perplexity": f"{evaluated(network, held_out, options):.1f}",
        "frequencies alone": f"{unigram_perplexity(logits, held_out):.1f}",
    }


def endless(train: TokenStore, options: FitOptions) -> Iterable[Any]:
    """The batches of one epoch after the other."""
    for epoch in itertools.count():
        yield from training_batches(train, options.batch_tokens, options.max_length, (options.seed, epoch))


def evaluated(network: Network, held_out: TokenStore, options: FitOptions) -> float:
    """The perplexity of the held-out rows."""
    total, targets = 0.0, 0
    for batch in validation_batches(held_out, 8192, options.max_length):
        states = None
        for window in windows(batch, options.max_length):
            loss, states = network.evaluate(window, states)
            total += loss
            targets += int((window.targets > 0).sum())
    return perplexity(total, targets)


def read(path: Path) -> list[dict[str, str]]:
    """The results that are in the file."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def append(path: Path, row: dict[str, object]) -> None:
    """Add a result to the file, and print it."""
    begin = not path.exists()
    with path.open("a") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        if begin:
            writer.writeheader()
        writer.writerow(row)
    print(*row.values(), sep="\t", flush=True)


if __name__ == "__main__":
    main()
