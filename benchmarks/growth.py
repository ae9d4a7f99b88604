"""What a token costs in a job of 10 million tokens against one of 1 million, and the memory that both take.

    python benchmarks/growth.py [--tokens 1000000 10000000] [--units 256] [--engine fused] [--results growth.tsv]

Each size is a job through everything: a broker and a worker of its own, and the `enqueue` command. The text is the
standard library's docstrings, sentence by sentence, over and over; one round is larger than a pool, so that a longer
job shares no more prefixes. A first small job warms the worker up. "whole" runs from the start of `enqueue` to the
last published file, "engine" is the worker's plan and compute; both are microseconds a real token. Peaks are of
resident memory (VmHWM). Ratios are those of the largest size to the smallest.

With --results, sizes may be run one at a time: figures are added to the file, and ratios formed over all that it has
for the same settings. A job needs tokens x units x 4 bytes of disk (10 GB by default), which are freed after it.
"""

# Over 150 lines: one measurement, from its options to its table.

import argparse
import contextlib
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from workplace import add_engine, real_tokens, workplace

from producer.demo.docstrings import sentences

WARM_UP_TOKENS = 300_000
FIELDS = (
    "engine",
    "units",
    "memory_budget",
    "tokens",
    "whole",
    "engine_part",
    "producer_mib",
    "worker_mib",
    "broker_mib",
)
MEASURED = {
    "whole": "microseconds a token, whole path",
    "engine_part": "microseconds a token, engine",
    "producer_mib": "MiB, producer",
    "worker_mib": "MiB, worker",
    "broker_mib": "MiB, broker",
}


def main() -> None:
    """Measure each size and print the ratio of the largest to the smallest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--units", type=int, default=256)
    add_engine(parser)
    # Both sizes must fill it: with 1 GiB a small job never has so much to hold.
    parser.add_argument("--memory-budget", default="256M", help="of the worker")
    parser.add_argument("--results", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    results = arguments.results.absolute() if arguments.results else None
    with tempfile.TemporaryDirectory(prefix="unrolled-growth-") as folder, contextlib.chdir(folder):
        write_text(Path("warm-up.jsonl"), WARM_UP_TOKENS)
        unrolled("model", "new", "model", "--vocab-size", 10000, "--max-length", 128,
                 "--lstm-units", arguments.units, "--lstm-layers", 2)  # fmt: skip
        unrolled("tokenizer", "fit", "warm-up.jsonl", "--vocab-size", 10000, "--out", "model")
        lines = []
        for tokens in arguments.tokens:
            line = measure(tokens, arguments)
            lines.append(line)
            print(", ".join(f"{name} {value}" for name, value in line.items()), flush=True)
            if results:
                add(results, line)
    report([line for line in (read(results) if results else lines) if same_settings(line, lines[0])])


def write_text(path: Path, tokens: int) -> None:
    """Write sentences until the file has this many tokens."""
    with path.open("w") as file:
        words, number = 0, 0
        while words < tokens:
            for name, text in sentences():
                file.write(json.dumps({"id": f"{number}:{name}", "text": text}) + "\n")
                words += len(text.split())
                if words >= tokens:
                    return
            number += 1


def unrolled(*words: object) -> None:
    """Run a command line to its end."""
    subprocess.run([sys.executable, "-m", "producer", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def measure(tokens: int, arguments: argparse.Namespace) -> dict[str, object]:
    """One job with a broker and a worker of its own."""
    write_text(Path("text.jsonl"), tokens)
    peak: dict[str, float] = {}
    with workplace(engine=arguments.engine, memory_budget=arguments.memory_budget) as place:

        def look(producer: int) -> None:
            found = place.peaks_mib(producer)
            peak.update({name: max(peak.get(name, 0.0), mib) for name, mib in found.items()})

        bound = ("--max-queued-tokens", 2000000)
        place.do("warm-up.jsonl", *bound, out="warm-up", each=look)
        before = place.counted()
        _, seconds = place.do("text.jsonl", *bound, out="out", each=look)
        after = place.counted()
    real = real_tokens("out")
    shutil.rmtree("out")
    shutil.rmtree("warm-up")
    engine = sum(after[name] - before[name] for name in ("plan_seconds", "compute_seconds"))
    return {
        "engine": arguments.engine,
        "units": arguments.units,
        "memory_budget": arguments.memory_budget,
        "tokens": real,
        "whole": round(seconds / real * 1e6, 3),
        "engine_part": round(engine / real * 1e6, 3),
        **{f"{name}_mib": round(mib, 1) for name, mib in peak.items()},
    }


def add(path: Path, line: dict[str, object]) -> None:
    """Append a line to the table, with a heading where it is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, delimiter="\t", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)


def read(path: Path) -> list[dict[str, object]]:
    """The table's lines, each value as text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def same_settings(line: dict[str, object], other: dict[str, object]) -> bool:
    """Whether two lines differ in nothing but the size of the job."""
    return all(str(line[name]) == str(other[name]) for name in ("engine", "units", "memory_budget"))


def report(lines: list[dict[str, object]]) -> None:
    """Medians of the largest size over those of the smallest."""
    sizes = sorted({int(str(line["tokens"])) for line in lines})
    if len(sizes) < 2:
        print("one size alone; run another to see what growth costs")
        return

    def median(tokens: int, name: str) -> float:
        return statistics.median(float(str(line[name])) for line in lines if int(str(line["tokens"])) == tokens)

    print(f"{sizes[-1]:,} tokens against {sizes[0]:,}:")
    for name, label in MEASURED.items():
        small, large = median(sizes[0], name), median(sizes[-1], name)
        print(f"  {label:34} {large:9,.2f} against {small:9,.2f}: {large / small:.2f}")


if __name__ == "__main__":
    main()
