"""What grows with a job and with a fleet: a log of 100,000 segments, a million shards, a thousand workers.

    python benchmarks/scale [--shards 1000000] [--segments 100000] [--waiting 10000] [--parts 100000]
        [--workers 1000] [--only looks restart files redis] [--directory /dev/shm] [--results scale.tsv]

The job is made by the product's own functions, without a model: its log, an object of rows for each shard that waits,
and for every other shard an empty file with the name of its part, because names alone matter to everything that looks
at a job as a whole. `verify` and `unrolled.open`, which read parts, get a job of `--parts` real ones. Redis is a real
server; workers are what they ask it and the store, at the pace of real ones.

Each figure is measured in a process of its own. Processor seconds are those of that process, or of the server: on a
machine that others use they say more than the clock. Beside a figure is what was asked of the store. The directory
should be in memory (a million files take about 2 GB there); nothing is left in it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import looks
import redis_load
import restart
import whole_files
from big_job import make_job, publish_all
from figures import Figure, apart
from support.jobs import job_of

from unrolled.protocol.opening import create_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def main() -> None:
    """Measure, print a line for each figure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1_000_000)
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--queued", type=int, default=100_000, help="shards in the ledger that are cancelled")
    parser.add_argument("--jobs", type=int, default=3_000, help="that a worker has met")
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--fleet-seconds", type=float, default=20.0, help="for which the workers beat")
    parser.add_argument("--only", nargs="+", choices=("looks", "restart", "files", "redis"))
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--results", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    lines = ["what\tsize\tfigure\tunit\tdetail"]
    with tempfile.TemporaryDirectory(prefix="unrolled-scale-", dir=arguments.directory) as folder:
        for figure in measure(arguments, Path(folder)):
            lines.append(figure.line())
            print(figure.line(), flush=True)
    if arguments.results:
        arguments.results.write_text("\n".join([*lines, f"# {machine()}"]) + "\n")


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    """All figures that were asked for."""
    wanted = arguments.only or ("looks", "restart", "files", "redis")
    shards, published = arguments.shards, arguments.shards - arguments.waiting
    job = folder / "job"
    if "looks" in wanted or "restart" in wanted:
        make_job(job, shards, arguments.segments, arguments.waiting)
    if "looks" in wanted:
        yield from apart(looks.read_log, job, shards)
        yield from apart(looks.read_status, job, shards, published)
        yield from apart(looks.sweep_all, job, shards)
    if "restart" in wanted:
        for each in (restart.telling, restart.enqueue_again, restart.many_workers):
            yield from apart(each, job, shards)
        (folder / "jobs").mkdir()
        yield from apart(restart.known_jobs, folder / "jobs", arguments.jobs)
        shutil.rmtree(folder / "jobs")
    elif "looks" in wanted:
        yield from apart(looks.complete, job, shards)
    shutil.rmtree(job, ignore_errors=True)
    if "files" in wanted:
        for parts in (arguments.parts // 10, arguments.parts):
            whole = folder / f"whole-{parts}"
            publish_all(create_job(whole, job_of()), parts)
            yield from apart(whole_files.verified, whole, parts)
            yield from apart(whole_files.opened, whole, parts)
            shutil.rmtree(whole)
    if "redis" in wanted:
        calls: list[tuple[Callable[..., list[Figure]], *tuple[float, ...]]] = [
            (redis_load.taken_out, arguments.queued),
            (redis_load.queued, min(arguments.queued, 5_000)),
            (redis_load.fleet, arguments.workers, arguments.fleet_seconds),
        ]
        for call, *sizes in calls:
            yield from call(*sizes)


def machine() -> str:
    """The processor, the commit and the load, for people who compare figures."""
    with Path("/proc/cpuinfo").open() as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    git = ("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD")
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    cores = f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
    return f"{cores}, commit {commit}, load {os.getloadavg()[1]:.0f}"


if __name__ == "__main__":
    main()
