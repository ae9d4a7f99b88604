"""Compares a whole job with this clone's code, with another clone's, and with this clone's in a bucket.

    python benchmarks/versions.py [--other ../older-clone] [--no-bucket] [--units 512] [--rows 20000] [--copies 4]
        [--repeats 9] [--results versions.tsv]

All rates are real tokens per second, from the start of `enqueue` to the last published part. The contestants take
turns, so that a change of the machine's speed affects all of them. Each has a broker, a worker and a model of its own,
which run all the time; a first job, which isn't counted, warms the worker up. The text is that of `whole_path.py`.

- "here" writes into a directory, with this clone's code.
- "other" does so with the code in another clone, such as a worktree of an older commit. Its kernel must be built.
- "bucket" writes into a bucket, with this clone's code. Its server is localbucket, which keeps objects on this machine's
  disk and uses this machine's processors.

Processor seconds are those of the producer, the worker and the broker, and of the bucket's server. Where neighbours use
the machine, they say more than the rates.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.broker import RestartableBroker

from producer.demo.docstrings import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[1]
LOOK_SECONDS = 0.02
FIELDS = ("machine", "commit", "contestant", "units", "tokens", "load", "rates", "processor_seconds")


@dataclass
class Contestant:
    """Code, and a place for its parts.

    Attributes:
        name: of the contestant.
        clone: where its code is.
        place: prefix of `--out`.
        directory: where the parts of a job are found as files.
        environment: of its commands.
        processes: those that take part, besides the producer.
        files: parts of a job.
    """

    name: str
    clone: Path
    place: str
    directory: Path
    environment: dict[str, str]
    processes: dict[str, int]
    files: int = 0

    def job(self, out: str) -> tuple[float, float]:
        """A whole job: seconds, and processor seconds of all processes."""
        before = self._processor_seconds()
        began = time.perf_counter()
        command("enqueue", "text.jsonl", "--out", self.place + out, environment=self.environment)
        if not self.files:
            command("wait", self.place + out, environment=self.environment)
            self.files = self._published(out)
        while self._published(out) < self.files:
            time.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        used = self._processor_seconds() - before
        shutil.rmtree(self.directory / out)
        return seconds, used

    def _published(self, out: str) -> int:
        return sum(1 for _ in (self.directory / out).glob("part-*.parquet"))

    def _processor_seconds(self) -> float:
        times = [psutil.Process(pid).cpu_times() for pid in self.processes.values()]
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return sum(each.user + each.system for each in times) + ended.ru_utime + ended.ru_stime


def main() -> None:
    """Measure in turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="a clone with other code")
    parser.add_argument("--no-bucket", action="store_true")
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--rows", type=int, default=0, help="0 for all sentences")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--results", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    results = arguments.results.absolute() if arguments.results else None
    clones = {"here": HERE} | ({"other": arguments.other.absolute()} if arguments.other else {})
    with (
        tempfile.TemporaryDirectory(prefix="unrolled-bench-", dir="/var/tmp") as folder,
        contextlib.ExitStack() as stack,
    ):
        os.chdir(folder)
        tokens = write_text(arguments)
        contestants = [stack.enter_context(on_disk(name, clone, arguments)) for name, clone in clones.items()]
        if not arguments.no_bucket:
            contestants.append(stack.enter_context(in_bucket(arguments)))
        for each in contestants:
            each.job("warm-up")
        measured: dict[str, list[tuple[float, float]]] = {each.name: [] for each in contestants}
        loads = []
        for turn in range(arguments.repeats):
            # Every other turn in reverse, so that none always follows the same neighbour.
            for each in contestants[:: 1 if turn % 2 else -1]:
                measured[each.name].append(each.job(f"out-{turn}"))
            loads.append(os.getloadavg()[0])
            print(turn, {name: [round(x, 2) for x in found[-1]] for name, found in measured.items()}, flush=True)
        report(measured, tokens, loads)
        if results:
            write(results, contestants, measured, tokens, loads, arguments.units)


def write_text(arguments: argparse.Namespace) -> int:
    """Write the text; about how many tokens it has."""
    once = list(sentences())[: arguments.rows or None]
    corpus = [(f"{copy}:{i}", text) for copy in range(arguments.copies) for i, text in once]
    Path("text.jsonl").write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in corpus))
    return 0


def command(*words: object, environment: dict[str, str]) -> None:
    """Run a command line of `unrolled` to its end."""
    words = [sys.executable, "-m", "producer", *map(str, words)]
    with Path("commands.log").open("ab") as log:
        done = subprocess.run(words, env=environment, stdout=log, stderr=log, check=False)
    if done.returncode:
        raise SystemExit(Path("commands.log").read_text()[-2000:])


@contextlib.contextmanager
def on_disk(name: str, clone: Path, arguments: argparse.Namespace, **more: str) -> Iterator[Contestant]:
    """A contestant that writes into a directory."""
    folder = Path(name).absolute()
    folder.mkdir()
    with RestartableBroker() as broker, Path(f"{name}.log").open("ab") as log:
        environment = {
            **os.environ,
            **more,
            "PYTHONPATH": str(clone),
            "UNROLLED_BROKER": broker.url,
            "UNROLLED_MODEL": str(folder / "model"),
            "UNROLLED_ENGINE": "fused",
        }
        sizes = ("--vocab-size", 10000, "--max-length", 128, "--lstm-units", arguments.units, "--lstm-layers", 2)
        command("model", "new", folder / "model", *sizes, environment=environment)
        command(
            "tokenizer", "fit", "text.jsonl", "--vocab-size", 10000, "--out", folder / "model", environment=environment
        )
        worker = subprocess.Popen([sys.executable, "-m", "producer", "worker"], env=environment, stdout=log, stderr=log)
        try:
            processes = {"worker": worker.pid, "broker": broker.process_id}
            yield Contestant(name, clone, f"{folder}/", folder, environment, processes)
        finally:
            worker.terminate()
            worker.wait()


@contextlib.contextmanager
def in_bucket(arguments: argparse.Namespace) -> Iterator[Contestant]:
    """A contestant that writes into a bucket."""
    buckets = Path("buckets").absolute()
    buckets.mkdir()
    server = subprocess.Popen([sys.executable, HERE / "tests/support/bucket_server.py", buckets, "0"], stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        url = server.stdout.readline().strip()
        keys = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}  # fmt: skip
        with on_disk("bucket", HERE, arguments, **keys) as found:
            found.place, found.directory = "s3://bucket/", buckets / "bucket"
            found.processes["server"] = server.pid
            yield found
    finally:
        server.terminate()
        server.wait()


def report(measured: dict[str, list[tuple[float, float]]], tokens: int, loads: list[float]) -> None:
    """Print medians, and ratios turn by turn."""
    print(f"load of the machine: {statistics.median(loads):.1f} ({min(loads):.1f} to {max(loads):.1f})")
    for name, found in measured.items():
        for what, values in zip(("seconds", "processor seconds"), zip(*found, strict=True), strict=True):
            print(f"{name:8} {what:18} {statistics.median(values):8.2f} ({min(values):.2f} to {max(values):.2f})")
    for name, found in measured.items():
        if name == "here":
            continue
        for which, what in enumerate(("speed", "processor seconds")):
            ratios = [a[which] / b[which] for a, b in zip(found, measured["here"], strict=True)]
            ratios = [1 / r for r in ratios] if which == 0 else ratios
            print(f"{name} / here, {what}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def write(*_: object) -> None:
    """Later."""


if __name__ == "__main__":
    main()
