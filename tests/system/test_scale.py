"""`benchmarks/scale` on a small job: it runs to its end, and what must not grow with a job doesn't."""

import subprocess
import sys
from pathlib import Path


def test_a_small_job(tmp_path):
    """Each figure is reported; the next reading of a log and the next look list and read only what waits."""
    results = tmp_path / "scale.tsv"
    sizes = {"shards": 600, "segments": 60, "waiting": 110, "parts": 20, "queued": 200, "jobs": 10, "workers": 4}
    words = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    seconds = ("--fleet-seconds", "2")
    command = [sys.executable, "benchmarks/scale", *words, *seconds, "--directory", tmp_path, "--results", results]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    lines = [line.split("\t") for line in results.read_text().splitlines()[1:-1]]
    details = {line[0]: line[4] for line in lines}
    assert details["log: next reading"] == "1 read"
    assert details["status: next look"] == "3 list, 110 names, 33 read"
    assert all(float(line[2]) >= 0 for line in lines)
    assert list(tmp_path.iterdir()) == [results]
