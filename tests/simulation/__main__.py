"""Simulate the protocol of a job: the product's own code, and a seed that decides which process moves and what fails.

python tests/simulation --seeds 5000                          # no seed may fail
python tests/simulation --seeds 5000 --mutate delete-stray    # with a fault put in: a seed must find it
python tests/simulation --seed 17 --trace                     # one run, step by step
python tests/simulation --all-mutations --seeds 5000
python tests/simulation --seeds 1000 --digest                 # of all steps: equal where two versions behave alike
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]


def main() -> int:
    """Run; 0 if no seed failed, or if every mutation was found."""
    from simulation import mutator  # noqa: PLC0415 - after the path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--mutate", choices=mutator.names(), metavar="NAME", help="put this fault in; stop where found")
    parser.add_argument("--all-mutations", action="store_true", help="each of them, in processes of their own")
    parser.add_argument("--trace", action="store_true", help="print each step")
    parser.add_argument("--crowd", metavar="KINDS", help="people give these commands alone, and often: retry,look")
    parser.add_argument("--digest", action="store_true", help="print a digest of all steps, but for errors' words")
    parser.add_argument("--report", type=int, metavar="N", help="print how far it is after every N seeds")
    options = parser.parse_args()
    if options.all_mutations:
        return find_all(mutator.names(), options.seeds)
    if options.mutate:
        sys.meta_path.insert(0, mutator.Mutator(mutator.Mutation.read(options.mutate)))
    crowd = options.crowd.split(",") if options.crowd else mutator.CROWDS.get(options.mutate, ())
    from simulation.commands import COMMANDS  # noqa: PLC0415 - after the mutation
    from simulation.segments import BrokenPromiseError  # noqa: PLC0415 - after the mutation
    from simulation.world import World  # noqa: PLC0415 - after the mutation

    if unknown := {*crowd} - {*COMMANDS}:
        parser.error(f"--crowd: unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(COMMANDS)}")
    gc.freeze()  # what was imported stays; each run leaves a few cycles
    gc.set_threshold(100_000)
    first, count = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    if options.digest:
        from simulation.digest import digest  # noqa: PLC0415 - after the mutation

        print(digest(range(first, first + count)))
        return 0
    failed, began = 0, time.perf_counter()
    for seed in range(first, first + count):
        try:
            World(seed, print if options.trace else None, crowd).run()
        except BrokenPromiseError as error:
            failed += 1
            print(f"seed {seed}: {error}", flush=True)
            if options.mutate:
                return 0
        except Exception as error:
            error.add_note(f"in seed {seed}")
            raise
        if options.report and (seed + 1 - first) % options.report == 0:
            print(f"{seed + 1} is next, {failed} failed, {time.perf_counter() - began:.0f} s", flush=True)
    print(f"{count} seeds from {first}, {failed} failed, {time.perf_counter() - began:.0f} s")
    return int(bool(failed) or bool(options.mutate))


def find_all(names: list[str], seeds: int) -> int:
    """Look for each mutation in its own process; 1 if one isn't found."""

    def run(name: str) -> tuple[str, subprocess.CompletedProcess[str]]:
        command = [sys.executable, str(HERE), "--mutate", name, "--seeds", str(seeds)]
        return name, subprocess.run(command, capture_output=True, text=True, check=False)

    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for name, done in threads.map(run, names):
            missed += done.returncode != 0
            last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
            print(f"{name:20} {'found' if done.returncode == 0 else 'MISSED'}: {last}", flush=True)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
