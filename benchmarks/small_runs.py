"""Measures the smallest jobs: `unrolled run` on three strings, and the same command again on the finished job.

    python benchmarks/small_runs.py [--turns 5]

Most of such a job is the start of programs. So seconds and processor seconds are printed, of the command and of all
that it starts; the first turn, in which files come from the disk, isn't counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TEXT = "the first string\nand a second one\na third\n"
COMMANDS = {"help": ("--help",), "help of run": ("run", "--help")}


def main() -> None:
    """Measure, and print the medians with the lowest and the highest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--no-report", action="store_true", help="also without the report of the job")
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "strings.txt").write_text(TEXT)
        sizes = ("--vocab-size", "1000", "--max-length", "64", "--lstm-units", "64", "--lstm-layers", "1")
        measure(place, "model", "new", "model", *sizes)
        measure(place, "tokenizer", "fit", "strings.txt", "--out", "model", "--vocab-size", "1000")
        for turn in range(given.turns + 1):
            job = ("run", "strings.txt", "--model", "model", "--out", f"out-{turn}")
            commands = {**COMMANDS, "three strings": job, "finished job": job}
            if given.no_report:
                commands["three strings, no report"] = (*job[:-1], f"bare-{turn}", "--no-report")
            for name, words in commands.items():
                taken = measure(place, *words)
                if turn:
                    found.setdefault(name, []).append(taken)
    print(f"{'':26}{'seconds':>24}{'processor seconds':>26}    load {os.getloadavg()[0]:.1f}")
    for name, turns in found.items():
        print(f"{name:26}", *(f"{spread(values):>24}" for values in zip(*turns, strict=True)))


def measure(place: Path, *words: str) -> tuple[float, float]:
    """Seconds and processor seconds of a command, and of all that it starts."""
    left_out = ("UNROLLED_", "PYTHONDONTWRITEBYTECODE")  # without compiled files, Python compiles all at each start
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    before, began = processor_seconds(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "producer", *words],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, processor_seconds() - before


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spread(values: Sequence[float]) -> str:
    """The median, the lowest and the highest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
