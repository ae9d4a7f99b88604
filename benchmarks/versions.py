"""Compares a whole job with this clone's code, with another clone's, and with this clone's in a bucket.

    python benchmarks/versions.py [--other ../older-clone] [--no-bucket] [--units 512] [--rows 20000] [--copies 4]
        [--repeats 9] [--results whole_path.tsv]

A job runs from the start of `enqueue` to the last published part. The contestants take turns, so that a change of the
machine's speed affects all of them. Each has a broker, a worker and a model of its own, which run all the time; a first
job, which isn't counted, warms the worker up. The text is that of `whole_path.py`.

- "here" writes into a directory, with this clone's code.
- "other" does so with the code in another clone, such as a worktree of an older commit. Its kernel must be built.
- "bucket" writes into a bucket, with this clone's code. Its server is localbucket, which keeps objects on this
  machine's disk and uses this machine's processors.

Processor seconds are those of the producer, the worker and the broker, and apart from them those of the bucket's
server, which elsewhere has a machine of its own. Where others use this machine, they say more than the seconds of the
clock.
"""

# Over 150 lines: one comparison, from its contestants to its table.

from __future__ import annotations

import argparse
import contextlib
import csv
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.broker import RestartableBroker

from producer.demo.docstrings import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parents[1]
LOOK_SECONDS = 0.02
ENGINE = "fused"


class Job(NamedTuple):
    """What a job took.

    Attributes:
        seconds: from the start of `enqueue` to the last published part.
        processor_seconds: of the producer, the worker and the broker.
        server_seconds: processor seconds of the bucket's server.
    """

    seconds: float
    processor_seconds: float
    server_seconds: float


FIELDS = ("machine", "commit", "contestant", "units", "rows", "load", *Job._fields)


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
        measured: of each job.
    """

    name: str
    clone: Path
    place: str
    directory: Path
    environment: dict[str, str]
    processes: dict[str, int]
    files: int = 0
    measured: list[Job] = field(default_factory=list)

    def job(self, out: str) -> Job:
        """Do a whole job."""
        before = self._used()
        began = time.perf_counter()
        command("enqueue", "text.jsonl", "--out", self.place + out, environment=self.environment)
        if not self.files:
            command("wait", self.place + out, environment=self.environment)
            self.files = self._published(out)
        while self._published(out) < self.files:
            time.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        used = {name: after - before[name] for name, after in self._used().items()}
        shutil.rmtree(self.directory / out, ignore_errors=True)  # the worker may delete the last rows meanwhile
        server = used.pop("server", 0.0)
        return Job(seconds, sum(used.values()), server)

    def _published(self, out: str) -> int:
        return sum(1 for _ in (self.directory / out).glob("part-*.parquet"))

    def _used(self) -> dict[str, float]:
        times = {name: psutil.Process(pid).cpu_times() for name, pid in self.processes.items()}
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = {name: each.user + each.system for name, each in times.items()}
        return used | {"producer": ended.ru_utime + ended.ru_stime}


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
        rows = write_text(arguments)
        contestants = [stack.enter_context(on_disk(name, clone, arguments)) for name, clone in clones.items()]
        if not arguments.no_bucket:
            contestants.append(stack.enter_context(in_bucket(arguments)))
        for each in contestants:
            each.job("warm-up")
        loads = []
        for turn in range(arguments.repeats):
            # Every other turn in reverse, so that none always follows the same neighbour.
            for each in contestants[:: 1 if turn % 2 else -1]:
                each.measured.append(each.job(f"out-{turn}"))
            loads.append(os.getloadavg()[0])
            print(turn, {each.name: [round(x, 2) for x in each.measured[-1]] for each in contestants}, flush=True)
            report(contestants, loads)
            if results:
                write(results, contestants, arguments.units, rows, loads)


def write_text(arguments: argparse.Namespace) -> int:
    """Write the text; how many rows it has."""
    once = list(sentences())[: arguments.rows or None]
    corpus = [(f"{copy}:{i}", text) for copy in range(arguments.copies) for i, text in once]
    Path("text.jsonl").write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in corpus))
    return len(corpus)


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
            "UNROLLED_ENGINE": ENGINE,
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
    words = [sys.executable, HERE / "tests/support/bucket_server.py", buckets, "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        keys = {
            "AWS_ENDPOINT_URL": server.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        with on_disk("bucket", HERE, arguments, **keys) as found:
            found.place, found.directory = "s3://bucket/", buckets / "bucket"
            found.processes["server"] = server.pid
            yield found
    finally:
        server.terminate()
        server.wait()


def report(contestants: list[Contestant], loads: list[float]) -> None:
    """Print medians, and ratios turn by turn."""
    print(f"load of the machine: {spread(loads, 1)}")
    for each in contestants:
        found = zip(Job._fields, zip(*each.measured, strict=True), strict=True)
        print(f"{each.name:8}", ", ".join(f"{name.replace('_', ' ')} {spread(values)}" for name, values in found))
    here = contestants[0].measured
    for each in contestants[1:]:
        both = list(zip(here, each.measured, strict=True))
        for name in ("seconds", "processor_seconds"):
            ratios = [getattr(theirs, name) / getattr(ours, name) for ours, theirs in both]
            print(f"{name.replace('_', ' ')}, {each.name} to here: {spread(ratios, 3)}")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, the lowest and the highest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def write(path: Path, contestants: list[Contestant], units: int, rows: int, loads: list[float]) -> None:
    """Write the table."""
    with Path("/proc/cpuinfo").open() as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(FIELDS)
        for each in contestants:
            git = ("git", "-C", str(each.clone), "rev-parse", "--short", "HEAD")
            commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
            columns = [" ".join(f"{value:.2f}" for value in values) for values in zip(*each.measured, strict=True)]
            machine = f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
            writer.writerow((machine, commit, each.name, units, rows, f"{statistics.median(loads):.0f}", *columns))


if __name__ == "__main__":
    main()
