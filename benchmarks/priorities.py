"""Measures how two jobs of different priorities share one worker while the queue is full.

    python benchmarks/priorities.py [--other ../older-clone] [--priorities 10 40] [--seconds 20] [--repeats 3]

Both jobs have the same rows of random token ids, in shards of one size. The second job starts when the first has a
part; from the second job's first part on, the parts of both are counted for some seconds. Then everything ends, and the
jobs stay unfinished. It prints, for each turn and each clone, the second job's parts as a multiple of the first one's:
with priorities of 10 and 40, four is right. The kernel of the other clone must be built.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shard_size import VOCABULARY, write_rows
from workplace import LOOK_SECONDS, Workplace, add_engine, workplace

from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights

HERE = Path(__file__).parents[1]
SHARD_TOKENS = 20_000
#: Shards for which the queue has room.
ROOM = 8


def main() -> None:
    """Measure in turns, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="a clone with other code")
    parser.add_argument("--priorities", type=int, nargs=2, default=(10, 40))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--tokens", type=int, default=8_000_000, help="of each job; more than can be computed meanwhile"
    )
    add_engine(parser)
    arguments = parser.parse_args()
    clones = {"here": HERE} | ({"other": arguments.other.absolute()} if arguments.other else {})
    with tempfile.TemporaryDirectory(prefix="unrolled-priorities-") as folder:
        os.chdir(folder)
        config = ModelConfig.stacked(
            vocab_size=VOCABULARY, max_length=128, num_lstm_units=512, num_lstm_layers=2, embedding_dim=10
        )
        save_model(Path("model"), config, new_weights(config, 1))
        write_rows(arguments.tokens)
        for turn in range(arguments.repeats):
            for name, clone in clones.items():
                os.environ["PYTHONPATH"] = str(clone)
                with workplace(engine=arguments.engine) as place:
                    first, second = measure(place, f"{name}-{turn}", arguments)
                print(f"{turn} {name}: {first} and {second} parts, {second / max(first, 1):.2f} times", flush=True)


def measure(place: Workplace, name: str, arguments: argparse.Namespace) -> list[int]:
    """How many parts each of the two jobs gets while they compete."""
    producers: list[subprocess.Popen[bytes]] = []
    outs = [f"{name}-first", f"{name}-second"]
    try:
        for out, priority in zip(outs, arguments.priorities, strict=True):
            producers.append(start(place, out, priority))
            wait_until_begun(out, producers)
        before = [parts(out) for out in outs]
        time.sleep(arguments.seconds)
        counted = [parts(out) - earlier for out, earlier in zip(outs, before, strict=True)]
        if any(producer.poll() is not None for producer in producers):
            raise SystemExit("a job had no rows left: give more --tokens, or fewer --seconds")
        return counted
    finally:
        for producer in producers:
            producer.kill()
            producer.wait()


def start(place: Workplace, out: str, priority: int) -> subprocess.Popen[bytes]:
    """Start a job that fills the queue."""
    sizes = ("--pooling", "mean", "--shard-tokens", str(SHARD_TOKENS), "--max-queued-tokens", str(ROOM * SHARD_TOKENS))
    command = [sys.executable, "-m", "producer", "enqueue", "rows.jsonl", "--out", out, *sizes]
    with Path("producer.log").open("ab") as log:
        return subprocess.Popen([*command, "--priority", str(priority)], env=place.environment, stdout=log, stderr=log)


def wait_until_begun(out: str, producers: list[subprocess.Popen[bytes]]) -> None:
    """Wait for a job's first part."""
    while not parts(out):
        if any(producer.poll() is not None for producer in producers):
            raise SystemExit(Path("producer.log").read_text()[-2000:])
        time.sleep(LOOK_SECONDS)


def parts(out: str) -> int:
    """The parts of a job."""
    return sum(1 for _ in Path(out).glob("part-*"))


if __name__ == "__main__":
    main()
