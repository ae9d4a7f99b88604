"""docs/learning.md: its code runs as it is printed."""

import re
import shlex
from pathlib import Path

import pytest
from support.jobs import finished_job
from support.reference import random_weights
from support.shell import unrolled as command
from support.skips import long

from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model

PAGE = (Path(__file__).parents[2] / "docs" / "learning.md").read_text()
BLOCKS = dict(re.findall(r"^#+ ([^\n]*)\n[^#]*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
FIRST = "Training on the vectors"
TAGGER = "A tagger from beginning to end"
SECTION = re.search(rf"^## {TAGGER}\n(.*)", PAGE, re.MULTILINE | re.DOTALL)[1]
#: The program of the tagger in its order: rows and labels, commands, examples, and how each library learns.
ROWS, COMMANDS, EXAMPLES, PYTORCH, KERAS = re.findall(
    r"^```(?:python|sh)\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL
)
NEEDS_PYTORCH = long("needs PyTorch, which nothing else needs")


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the first block leaves."""
    finished_job(tmp_path / "vectors", shards=20)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(BLOCKS[FIRST], found)
    return found


def test_all_blocks_are_found():
    """So that the tests below test something."""
    assert set(BLOCKS) == {FIRST, "NumPy and JAX", "PyTorch", "Keras", TAGGER}


@pytest.mark.parametrize("block", ["NumPy and JAX", "Keras", pytest.param("PyTorch", marks=NEEDS_PYTORCH)])
def test_a_block_runs(names, block, capsys):
    """With the names of the first."""
    exec(BLOCKS[block], names)
    shown = capsys.readouterr().out
    assert shown
    if block != "Keras":
        width = names["dataset"].units
        assert re.search(rf"(Size\()?[\[(]\d+, (\d+, )?{width}[\])]", shown)


def tagged(folder, block, commands):
    """The accuracy of the tagger, which one library learns, and the share of the commonest tag."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(ROWS, found)
        for line in commands:
            program, *words = shlex.split(line)
            assert program == "unrolled"
            done = command(*words, cwd=folder, timeout=400)
            assert done.returncode == 0, done.stderr
        exec(EXAMPLES, found)
        exec(block, found)
        examples = list(found["held_out"])
    assert all(len(example.vectors) == len(found["rows"][example.id]) for example in examples)
    tags = [tag for example in examples for tag in example.label]
    return found["accuracy"], max(tags.count(tag) for tag in set(tags)) / len(tags)


def test_the_tagger(tmp_path, capsys):
    """With a model of random weights in place of one that is trained: far better than the commonest tag."""
    config = ModelConfig.stacked(1000, 2000, 64, 1, 32)
    save_model(tmp_path / "my-model", config, random_weights(config, seed=1))
    fit, run = COMMANDS.splitlines()
    assert fit.startswith("unrolled model fit ")
    accuracy, commonest = tagged(tmp_path, KERAS, [run])
    assert accuracy > commonest + 0.1
    assert capsys.readouterr().out.startswith("accuracy 0.")


@long("it trains a model, and needs PyTorch")
@pytest.mark.timeout(500)
@pytest.mark.parametrize("block", [KERAS, PYTORCH], ids=["keras", "torch"])
def test_the_tagger_reaches_its_accuracy(tmp_path, block):
    """With a trained model: as much as the page says."""
    if block == PYTORCH:
        pytest.importorskip("torch")
    accuracy, _ = tagged(tmp_path, block, COMMANDS.splitlines())
    assert accuracy > float(re.search(r"# accuracy (0\.\d\d)", block)[1]) - 0.02
