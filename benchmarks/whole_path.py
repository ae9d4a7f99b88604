"""Compares, on the same text, a padded Keras RNN, the engine alone, and a whole job.

    python benchmarks/whole_path.py [--units 512] [--engine fused] [--rows 20000] [--copies 12] [--repeats 3]

All rates are real tokens per second. The three take turns, so that a change of the machine's speed affects all of them.

- The text is the standard library's docstrings, one sentence a row, repeated `--copies` times. A copy is larger than a
  pool, so no prefix is shared with the next copy. Twelve copies make a job of 40 seconds on two cores; in a shorter one
  the start and the end, when part of the machine is idle, would count for more.
- "padded RNN" is `LanguageModel.run_lstm` (an RNN over cells, in one traced function) on batches of 64 rows in input
  order, padded to `max_length`. Some of the rows are enough to measure it.
- "whole job" has a real broker, a real worker process and the `enqueue` command. The clock runs from the start of
  `enqueue` to the last published file. Broker and worker run all the time. A first job, in which the worker touches its
  memory for the first time, isn't counted; nor is the engine's first run.

It prints medians with the lowest and the highest, the ratios, and where the seconds of a job go. Processor seconds are
those of each process; on a machine without idle processors, whatever the others use is missing to the engine.
It is one file because the three measurements share their rows.
"""

# Over 150 lines: one comparison, from its contestants to its table.

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from workplace import Workplace, add_engine, real_tokens, workplace

from producer.demo.docstrings import sentences
from unrolled.format.output_spec import OutputSpec
from unrolled.model.directory import open_model
from unrolled.tokenization.ragged import Ragged, runs
from unrolled.tokenization.tokenizer import load_tokenizer

MAX_LENGTH, BATCH = 128, 64


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=512)
    add_engine(parser)
    parser.add_argument("--rows", type=int, default=0, help="0 for all sentences")
    parser.add_argument("--copies", type=int, default=12)
    parser.add_argument("--padded-rows", type=int, default=1280)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unrolled-bench-") as folder:
        os.chdir(folder)
        rows = prepare(arguments)
        padded, engine = padded_rnn(rows, arguments), engine_alone(rows, arguments)
        figures: dict[str, list[float]] = {"padded RNN": [], "engine alone": [], "whole job": []}
        stages: list[dict[str, float]] = []
        with workplace(engine=arguments.engine) as place:
            whole_path(place, "warm-up")
            for number in range(arguments.repeats):
                figures["padded RNN"].append(padded())
                figures["engine alone"].append(engine())
                rate, stage = whole_path(place, f"out-{number}")
                figures["whole job"].append(rate)
                stages.append(stage)
        report(figures, stages, rows)


def prepare(arguments: argparse.Namespace) -> list[np.ndarray]:
    """Write the corpus, a model and its tokenizer; returns the rows as token ids."""
    once = list(sentences())[: arguments.rows or None]
    corpus = [(f"{copy}:{i}", text) for copy in range(arguments.copies) for i, text in once]
    Path("text.jsonl").write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in corpus))
    unrolled("model", "new", "model", "--vocab-size", 10000, "--max-length", MAX_LENGTH,
             "--lstm-units", arguments.units, "--lstm-layers", 2)  # fmt: skip
    unrolled("tokenizer", "fit", "text.jsonl", "--vocab-size", 10000, "--out", "model")
    tokenizer = load_tokenizer(Path("model/tokenizer.json"), 10000)
    return [np.array(e.ids, np.int32) for e in tokenizer.encode_batch_fast([text for _, text in corpus])]


def unrolled(*words: object) -> None:
    """Run a command line to its end."""
    subprocess.run([sys.executable, "-m", "producer", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def padded_rnn(rows: list[np.ndarray], arguments: argparse.Namespace):  # noqa: ANN201 - a closure that times itself
    """A padded Keras RNN on the first rows."""
    from worker.models.language_model import LanguageModel  # noqa: PLC0415 - after the environment is set
    from worker.models.tensorflow import tf  # noqa: PLC0415 - after the environment is set

    model = LanguageModel.from_directory(open_model("model"))
    run = tf.function(lambda ids: model.run_lstm(ids, is_training=False)[0], reduce_retracing=True)
    chosen = rows[: arguments.padded_rows // BATCH * BATCH]
    batch = np.zeros((len(chosen), MAX_LENGTH), np.int32)
    for row, tokens in enumerate(chosen):
        batch[row, : len(tokens)] = tokens[:MAX_LENGTH]
    run(tf.constant(batch[:BATCH]))

    def measure() -> float:
        began = time.perf_counter()
        for start in range(0, len(batch), BATCH):
            run(tf.constant(batch[start : start + BATCH])).numpy()
        return float(np.count_nonzero(batch)) / (time.perf_counter() - began)

    return measure


def engine_alone(rows: list[np.ndarray], arguments: argparse.Namespace):  # noqa: ANN201 - a closure that times itself
    """A worker's engine, on pools of a worker's size, with output arrays that have been touched."""
    from worker.engines.choice import choose_engine  # noqa: PLC0415 - after the environment is set
    from worker.settings import Settings  # noqa: PLC0415 - after the environment is set

    settings = Settings(broker="redis://unused", model=Path("model"), engine=arguments.engine)
    model = open_model("model")
    engine, columns = choose_engine(settings, model), OutputSpec().columns(model.config)
    print(engine.description)
    everything = Ragged.from_lengths(np.concatenate(rows), [len(row) for row in rows])
    pools = [everything.take(*run) for run in runs(everything.offsets[1:], settings.pool_tokens)]
    # Ones rather than empty arrays: the system provides memory when it is first written.
    outputs = [np.ones((pool.values.size, arguments.units), np.float32) for pool in pools]
    engine.compute(pools[-1:], [outputs[-1:]], columns)

    def measure() -> float:
        began = time.perf_counter()
        for pool, output in zip(pools, outputs, strict=True):
            engine.compute([pool], [[output]], columns)
        return everything.values.size / (time.perf_counter() - began)

    return measure


def whole_path(place: Workplace, name: str) -> tuple[float, dict[str, float]]:
    """Run one job; returns real tokens per second, and the seconds of each stage."""
    before, cpu_before = place.counted(), cpu_seconds(place)
    queued, seconds = place.do("text.jsonl", out=name)
    cpu, after = cpu_seconds(place), place.counted()
    tokens = real_tokens(name)
    shutil.rmtree(name)
    stages = {
        f"seconds in {stage}": after[f"{stage}_seconds"] - before[f"{stage}_seconds"]
        for stage in ("read", "plan", "compute", "write")
    }
    stages |= {f"processor seconds of the {name}": cpu[name] - cpu_before[name] for name in cpu}
    return tokens / seconds, {"seconds in enqueue": queued, **stages, "seconds in all": seconds}


def cpu_seconds(place: Workplace) -> dict[str, float]:
    """User and system time of each process since its start; the producer's is that of all that have ended."""
    processes = {"worker": place.worker.pid, "broker": place.broker.process_id}
    times = {name: psutil.Process(pid).cpu_times() for name, pid in processes.items()}
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "producer": ended.ru_utime + ended.ru_stime,
        **{name: found.user + found.system for name, found in times.items()},
    }


def report(figures: dict[str, list[float]], stages: list[dict[str, float]], rows: list[np.ndarray]) -> None:
    """Print the table."""
    lengths = np.array([len(row) for row in rows])
    print(f"{platform.machine()}, {os.cpu_count()} cores; {len(rows):,} rows, {lengths.sum():,} tokens")
    share = 1 - np.minimum(lengths, MAX_LENGTH).sum() / (len(rows) * MAX_LENGTH)
    print(f"share of padding in the padded RNN: {share:.1%}")
    middle = {name: statistics.median(values) for name, values in figures.items()}
    for name, values in figures.items():
        print(f"{name:13} {middle[name]:12,.0f} tokens/s   ({min(values):,.0f} to {max(values):,.0f})")
    print(f"engine / padded RNN: {middle['engine alone'] / middle['padded RNN']:.2f}")
    shares = [whole / alone for whole, alone in zip(figures["whole job"], figures["engine alone"], strict=True)]
    print(f"whole job / engine, turn by turn: {statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")
    for name in stages[0]:
        print(f"{name:32} {statistics.median(stage[name] for stage in stages):8.2f}")


if __name__ == "__main__":
    main()
