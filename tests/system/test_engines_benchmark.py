"""`benchmarks/engines` on a few rows and a small model: it runs to its end."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker.engines.fused import library


@pytest.mark.skipif(library.why_unavailable() is not None, reason="needs the fused engine")
def test_a_small_group(tmp_path):
    """Each arithmetic of the fused engine has a rate in each turn, and states near the exact ones."""
    results = tmp_path / "engines.tsv"
    group = ("--texts", "logs", "--rows", "40", "--units", "16", "--embeddings", "10", "--threads", "1")
    brief = ("--contestants", "fused", "--repeats", "2", "--seconds", "0.05")
    command = [sys.executable, "benchmarks/engines", *group, *brief, "--results", results]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2], timeout=240)
    names, *lines = (line.split("\t") for line in results.read_text().splitlines())
    figures = [dict(zip(names, line, strict=True)) for line in lines]
    ours = {figure["arithmetic"]: figure for figure in figures if figure["contestant"] == "fused"}
    assert set(ours) == {"float32", "bfloat16", "bfloat16x3"}
    assert all(len(figure["rates"].split()) == 2 for figure in ours.values())
    assert all(0 < float(figure["difference"]) < 0.01 for figure in ours.values())
    assert all(0 < float(share) <= 1 for figure in ours.values() for share in figure["calm"].split())
    assert all(len(figure["calm"].split()) == 2 for figure in ours.values())
