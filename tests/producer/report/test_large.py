"""A report of a large job: memory doesn't grow with it, and the page stays small."""

import os
import subprocess
import sys

import pytest
from support.browser import Browser, need_browser
from support.report_jobs import report_job
from support.skips import long

#: Of a process that has loaded NumPy, pyarrow and the command line, with a part and a sample in memory.
MOST_MEGABYTES = 500


@pytest.mark.parametrize("rows", [30_000, pytest.param(1_000_000, marks=long("writes 2 GB"))])
def test_memory_and_page(tmp_path, rows):
    """A million rows of 512 numbers, within 500 MB; the browser draws every point."""
    units = 512 if rows > 100_000 else 64
    job = report_job(
        tmp_path / "out", rows, units=units, rows_per_shard=2**24 // units, pooling=("mean",), with_tokens=False
    )
    page = tmp_path / "page.html"
    points = "20000" if rows > 100_000 else "1000"
    command = [sys.executable, "-m", "producer", "report", job.place, "--to", str(page), "--points", points]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_maxrss / 1000 < MOST_MEGABYTES
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
