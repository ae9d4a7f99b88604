"""A report of a large job: memory doesn't grow with it, and the page stays small."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.browser import Browser, need_browser
from support.report_jobs import report_job
from support.skips import long

from unrolled.format.positions import Positions

#: Of a process that has loaded NumPy, pyarrow and the command line, with a part and a sample in memory.
MOST_MEGABYTES = 500
#: Runs a command, and prints the largest memory of its process. (What the system says of a child includes its parent's
#: memory at the fork.)
PEAK = """
import sys
from producer.cli.root import cli
cli(sys.argv[1:], standalone_mode=False)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="machine: the system doesn't say how much was used")
@pytest.mark.parametrize("positions", [None, Positions("every", 2)])
def test_memory_of_many_points_in_one_row(tmp_path, positions):
    """A row is no copy for each of its tokens."""
    job = report_job(tmp_path / "out", 1, units=4, lengths=16_000, pooling=("none",), positions=positions)
    command = ["report", job.place, "--tokens", "--map", "pca", "--to", str(tmp_path / "page.html")]
    done = subprocess.run([sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) / 1000 < MOST_MEGABYTES


@pytest.mark.timeout(900)  # of the long form
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="machine: the system doesn't say how much was used")
@pytest.mark.parametrize("rows", [30_000, pytest.param(1_000_000, marks=long("writes 2 GB"))])
def test_memory_and_page(tmp_path, rows):
    """A million rows of 512 numbers, within 500 MB; the browser draws every point."""
    units = 512 if rows > 100_000 else 64
    job = report_job(
        tmp_path / "out", rows, units=units, rows_per_shard=2**24 // units, pooling=("mean",), with_tokens=False
    )
    page = tmp_path / "page.html"
    points = "20000" if rows > 100_000 else "1000"
    command = ["report", job.place, "--to", str(page), "--points", points]
    done = subprocess.run([sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) / 1000 < MOST_MEGABYTES
    assert page.stat().st_size < 2_000_000
    if rows < 100_000:
        return
    browser = Browser(need_browser(), tmp_path / "browser")
    try:
        browser.open(page.as_uri())
        browser.until("document.querySelector('#canvas')?.dataset.drawn == 20000")
        assert (browser.errors, browser.requests) == ([], [])
    finally:
        browser.close()
