"""Measures what a report of a large job takes: `unrolled report` in a process of its own.

    python benchmarks/report.py DIRECTORY [--rows 1000000] [--units 512]

The job is made first, unless DIRECTORY has it: pooled vectors in groups, with records of time, but without computing.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.report_jobs import report_job


def measure(out: Path, page: Path) -> dict[str, float]:
    """Seconds, largest resident memory in MB and the page's size of one report."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "producer", "report", str(out), "--to", str(page)], check=True)
    seconds = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "megabytes": round(usage.ru_maxrss / 1000, 1),
        "page_bytes": page.stat().st_size,
    }


def make(out: Path, rows: int, units: int) -> None:
    """Make the job."""
    per_shard = max(1, 2**26 // (4 * units))
    report_job(out, rows, units=units, rows_per_shard=per_shard, pooling=("mean",), with_tokens=False, files=12)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="of the job; it needs 2 GB for a million rows of 512 numbers")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=512)
    options = parser.parse_args()
    if not options.directory.exists():
        options.directory.mkdir(parents=True)
        make(options.directory, options.rows, options.units)
    print(json.dumps(measure(options.directory, options.directory.with_suffix(".html"))))


if __name__ == "__main__":
    main()
