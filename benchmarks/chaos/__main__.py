"""Real jobs under siege: kills, pauses, retries, cancels, lost keys, full disks, a bucket's server that goes wrong.

    python benchmarks/chaos [--kind disk] [--rounds 200] [--seed 1] [--at-once 2] [--engine fused] [--table FILE]

A round is one job with a real broker, two real workers and the real commands. Rows come from a file that is queued,
from a stream, or by `unrolled run`. Everything that happens to it is drawn from the round's seed, so the same seed
brings the same disturbances again, though not to the microsecond. A round passes if the job completes by itself and
- every input row is in exactly one part, or named by one as failed, or in quarantine, or in a dead shard; only what a
  stream's reader had in memory when it was killed may be missing,
- every part equals, byte for byte, what an undisturbed run of the same rows gives, and never looked otherwise, or
  went away, from its first moment on,
- whatever said "complete" (`unrolled wait`, the status) at any moment was right,
- `unrolled verify` finds nothing, no partial, stray or temporary file is left,
- and no process ended in a way that nobody meant.
Exit status 1 if a round fails; its directory is kept and named.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from dataset import DATASETS, HERE, Dataset, prepare
from rounds import Result, run_round
from workplace import add_engine

#: A round that takes longer hangs.
ROUND_SECONDS = 600


def main() -> int:
    """Run the rounds and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("disk", "bucket"), default="disk", help="where the jobs are")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next ones count up")
    parser.add_argument("--at-once", type=int, default=2, help="rounds side by side")
    add_engine(parser)
    parser.add_argument("--table", type=Path, help="write the lines there too")
    parser.add_argument("--round", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.round:
        return _one(arguments.round, arguments.kind, arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="unrolled-chaos-"))
    seeds = range(arguments.seed, arguments.seed + arguments.rounds)
    with ThreadPoolExecutor(arguments.at_once) as pool:
        numbers = sorted({seed % DATASETS for seed in seeds})
        list(pool.map(lambda number: prepare(folder, number, arguments.engine), numbers))
    lines = ["\t".join(Result(0, "").columns())]
    print(lines[0], flush=True)
    results: list[Result] = []
    with ThreadPoolExecutor(arguments.at_once) as pool:
        futures = [pool.submit(_in_a_process, folder, arguments.kind, seed) for seed in seeds]
        for future in as_completed(futures):
            result = future.result()
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
    return 1 if any(result.failures for result in results) else 0


def _in_a_process(folder: Path, kind: str, seed: int) -> Result:
    """A round in a process of its own, whose environment and threads are its own."""
    command = [sys.executable, str(HERE), "--round", str(folder), "--kind", kind, "--seed", str(seed)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=ROUND_SECONDS)
        return Result(**json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        return Result(seed, kind, result="FAILED", failures=[f"no result: {error}"], directory=str(folder))


def _one(folder: Path, kind: str, seed: int) -> int:
    result = run_round(folder, Dataset.load(folder / f"dataset-{seed % DATASETS}"), kind, seed)
    print(json.dumps(vars(result)))
    return 0


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
