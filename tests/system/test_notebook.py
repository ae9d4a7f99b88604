"""docs/tour.ipynb: its cells run, and show what the notebook in the repository shows."""

import re
from itertools import groupby

import pytest
from support.kernels import KERNELS
from support.notebook import ENVIRONMENT, NOTEBOOK, executed, read

#: Warnings here are those of Jupyter.
pytestmark = pytest.mark.filterwarnings("ignore")


def shown(notebook):
    """For each cell of code the kinds of what it shows. A text that came in several pieces counts once.

    Without a kernel, a warning says which engine computes, and why.
    """
    left_out = () if KERNELS else ("stderr",)
    kinds = [
        [sorted(output.get("data", {"stream": ""})) for output in cell.outputs if output.get("name") not in left_out]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return [[kind for kind, _ in groupby(cell)] for cell in kinds]


def text_of(notebook):
    """All that is printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") or output["data"].get("text/plain", "") for output in outputs)


@pytest.mark.timeout(400)
def test_the_cells_run(tmp_path, monkeypatch):
    """In a kernel; pictures, tables and figures are of the kinds that a reader of the repository sees."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    found, kept = executed(tmp_path), read()
    assert shown(found) == shown(kept)
    assert sum("image/png" in kinds for cell in shown(found) for kinds in cell) == 2
    for notebook in (found, kept):
        accuracy, commonest = re.search(r"accuracy (0\.\d+); (0\.\d+) if", text_of(notebook)).groups()
        assert float(accuracy) > float(commonest) + 0.2
        assert "vectors: verified; " in text_of(notebook)


def test_what_is_in_the_repository():
    """It is small, and says nothing of the machine on which it was run."""
    assert NOTEBOOK.stat().st_size < 150_000
    assert not re.search(r"/tmp|/root|/home|/Users", NOTEBOOK.read_text())
    assert all(cell.execution_count for cell in read().cells if cell.cell_type == "code")
