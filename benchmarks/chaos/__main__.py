"""Disturbs real jobs with kills, restarts, a full disk, bad rows, lost and repeated messages, and compares every byte.

    python benchmarks/chaos [--rounds 200] [--seed 1] [--at-once 3] [--engine auto] [--table FILE]

A round is one job with a real broker, two real workers and the real `enqueue` command. The disturbances are random; the
round's seed, which is printed, decides them. A round passes if the job completes by itself and
- every input row is in exactly one file or in quarantine (or in the shard with the row that kills its worker),
- every file equals, byte for byte, that of an undisturbed run, from the moment in which it becomes visible,
- no partial, stray or temporary file is left,
- and no worker ended that wasn't killed or terminated.
The exit status is 1 if a round fails; its directory is kept, and its name is printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from dataset import DATASETS, prepare
from rounds import COLUMNS, Result, run_round


def main() -> int:
    """Run the rounds, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round; each further round adds 1")
    parser.add_argument("--at-once", type=int, default=3, help="rounds that run at the same time")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--table", type=Path, help="also write the lines to this file")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="unrolled-chaos-"))
    seeds = range(arguments.seed, arguments.seed + arguments.rounds)
    numbers = sorted({seed % DATASETS for seed in seeds})
    with ThreadPoolExecutor(arguments.at_once) as pool:
        datasets = list(pool.map(lambda number: prepare(folder, number, arguments.engine), numbers))
    by_number = {dataset.number: dataset for dataset in datasets}
    lines = ["\t".join(COLUMNS)]
    print(lines[0])
    results: list[Result] = []
    with ThreadPoolExecutor(arguments.at_once) as pool:
        futures = [pool.submit(run_round, folder, by_number[seed % DATASETS], seed) for seed in seeds]
        for future in as_completed(futures):
            result = future.result()
            results.append(result)
            lines.append("\t".join(map(str, result.columns())))
            print(lines[-1], flush=True)
            for failure in result.failures:
                print(f"  seed {result.seed}: {failure}\n  kept: {result.directory}", flush=True)
    failed = sum(bool(result.failures) for result in results)
    lines.append(
        f"# {len(results)} rounds, {failed} failed; {sum(r.rows for r in results):,} rows, "
        f"{sum(r.deaths for r in results)} worker deaths, {sum(r.broker_kills for r in results)} broker kills, "
        f"{sum(r.looks for r in results):,} looks at the output directories"
    )
    print(lines[-1])
    if arguments.table:
        arguments.table.write_text("\n".join([lines[0], *sorted(lines[1:-1], key=_seed), lines[-1]]) + "\n")
    return 1 if failed else 0


def _seed(line: str) -> int:
    return int(line.partition("\t")[0])


if __name__ == "__main__":
    sys.exit(main())
