"""Real jobs under siege: kills, pauses, retries, cancels, lost keys, full disks, a bucket's server that goes wrong.

    python benchmarks/chaos [--kind disk] [--rounds 200] [--seed 1] [--scene growing] [--at-once 2]
        [--engine fused] [--table FILE]

A round is one job with a real broker, two real workers and the real commands. Rows come from a file, from one that
grows, from a stream, or by `unrolled run`. Everything that happens to it is drawn from the round's seed, so the same
seed brings the same disturbances again, though not to the microsecond. A round passes if the job completes by itself
and
- every input row is in exactly one part, or named by one as failed, or in quarantine, or in a dead shard; only what a
  stream's reader had in memory when it was killed may be missing,
- every part equals, byte for byte, what an undisturbed run of the same rows gives, and never looked otherwise, or
  went away, from its first moment on,
- whatever said "complete" (`unrolled wait`, the status) at any moment was right,
- `unrolled verify` finds nothing, no partial, stray or temporary file is left,
- and no process ended unexpectedly.
Exit status 1 if a round fails; its directory is kept and named.
"""

# Over 150 lines: half of them are the options and the table of one command.

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from dataset import DATASETS, Dataset, prepare
from nursery import preload
from plan import SCENES
from rounds import Result, run_round
from workplace import add_engine

from unrolled.job.offer import EngineName

#: A round that takes longer hangs.
ROUND_SECONDS = 600


def main() -> int:
    """Run the rounds and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("disk", "bucket"), default="disk", help="where the jobs are")
    parser.add_argument("--scene", choices=SCENES, help="how the rows of all rounds arrive; drawn by default")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next ones count up")
    parser.add_argument("--at-once", type=int, default=2, help="rounds side by side")
    add_engine(parser)
    parser.add_argument("--table", type=Path, help="write the lines there too")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="unrolled-chaos-"))
    seeds = range(arguments.seed, arguments.seed + arguments.rounds)
    preload()
    _prepare(folder, seeds, arguments.engine, arguments.at_once)
    lines = ["\t".join(Result(0, "").columns())]
    print(lines[0], flush=True)
    results: list[Result] = []
    for seed, _ in in_processes(
        seeds, lambda seed: _round(folder, arguments.kind, seed, arguments.scene), arguments.at_once
    ):
        result = _result(folder, arguments.kind, seed)
        results.append(result)
        lines.append("\t".join(map(str, result.columns().values())))
        print(lines[-1], flush=True)
        for failure in result.failures:
            print(f"  seed {result.seed}: {failure}")
        if result.failures:
            again = f"--kind {result.kind} --seed {result.seed} --rounds 1"
            print(f"  kept: {result.directory}; again: python benchmarks/chaos {again}", flush=True)
        if arguments.table:  # now, so that a run that is broken off leaves what it has
            table = [lines[0], *sorted(lines[1:], key=_seed), _sum(results)]
            arguments.table.write_text("\n".join(table) + "\n")
    print(_sum(results))
    if any(result.failures for result in results):
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _prepare(folder: Path, seeds: Iterable[int], engine: EngineName, at_once: int) -> None:
    """Make the inputs of some rounds."""
    numbers = sorted({seed % DATASETS for seed in seeds})
    for number, status in in_processes(numbers, lambda n: prepare(folder, n, engine), at_once):
        if status:
            raise SystemExit(f"dataset {number} can't be prepared")


def in_processes(values: Iterable[int], action: Callable[[int], object], at_once: int) -> Iterator[tuple[int, int]]:
    """Do something for each value in a process of its own, whose environment and threads are its own.

    They are forked from this one, which has no threads and has imported everything.

    Yields:
        Each value whose process has ended, and its exit status.
    """
    running: dict[int, int] = {}
    waiting = iter(values)
    while True:
        for value in itertools.islice(waiting, at_once - len(running)):
            pid = os.fork()
            if not pid:
                _end_with(action, value)
            running[pid] = value
        if not running:
            return
        pid, status = os.wait()
        yield running.pop(pid), status


def _end_with(action: Callable[[int], object], value: int) -> None:
    """Do something, and end this process without anything that its parent would do at its end."""
    status = 1
    try:
        signal.alarm(ROUND_SECONDS)
        action(value)
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may go on as the parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _round(folder: Path, kind: str, seed: int, scene: str | None) -> None:
    """A round, whose result and whose output are left in files."""
    log = os.open(folder / f"{kind}-{seed}.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    result = run_round(folder, Dataset.load(folder / f"dataset-{seed % DATASETS}"), kind, seed, scene)
    (folder / f"{kind}-{seed}.json").write_text(json.dumps(vars(result)))


def _result(folder: Path, kind: str, seed: int) -> Result:
    """What a round has left."""
    path = folder / f"{kind}-{seed}.json"
    if path.exists():
        return Result(**json.loads(path.read_text()))
    failure = f"no result; its output is in {folder}/{kind}-{seed}.log"
    return Result(seed, kind, result="FAILED", failures=[failure], directory=str(folder / f"{kind}-{seed}"))


def _sum(results: Iterable[Result]) -> str:
    found = list(results)
    rows = sum(r.published + r.failed + r.quarantined for r in found)
    return (
        f"# {len(found)} rounds, {sum(bool(r.failures) for r in found)} failed; {rows:,} rows, "
        f"{sum(r.deaths for r in found)} worker deaths, "
        f"{sum(r.overtaken for r in found)} attempts that another overtook, "
        f"{sum(r.broker_kills for r in found)} broker kills, "
        f"{sum(r.server_kills for r in found)} server kills, {sum(r.looks for r in found):,} looks, "
        f"{sum(r.claims for r in found):,} claims of completeness"
    )


def _seed(line: str) -> int:
    return int(line.partition("\t")[0])


if __name__ == "__main__":
    sys.exit(main())
