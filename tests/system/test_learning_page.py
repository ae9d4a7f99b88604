"""docs/learning.md: its code runs as it is printed."""

import re
from pathlib import Path

import pytest
from support.jobs import finished_job
from support.skips import long

PAGE = (Path(__file__).parents[2] / "docs" / "learning.md").read_text()
BLOCKS = dict(re.findall(r"^#+ (.*?)\n[^#]*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
FIRST = "From vectors to a model that learns"


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the first block leaves."""
    finished_job(tmp_path / "OUT", shards=20)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(BLOCKS[FIRST], found)
    return found


def test_all_blocks_are_found():
    """So that the tests below test something."""
    assert set(BLOCKS) == {FIRST, "NumPy and JAX", "PyTorch", "Keras"}


@pytest.mark.parametrize(
    "block", ["NumPy and JAX", "Keras", pytest.param("PyTorch", marks=long("needs PyTorch, which nothing else needs"))]
)
def test_a_block_runs(names, block, capsys):
    """With the names of the first."""
    exec(BLOCKS[block], names)
    shown = capsys.readouterr().out
    assert shown
    if block != "Keras":
        width = names["dataset"].units
        assert re.search(rf"(Size\()?[\[(]\d+, {width}[\])]", shown)
