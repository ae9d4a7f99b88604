"""docs/python.md: its code runs as it is printed, and its comments are true."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.reference import random_weights
from support.shell import unrolled as command
from support.tokenizers import words

import unrolled
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A directory with what the page takes for granted."""
    config = ModelConfig.stacked(9, 20, 4, 2, 3)
    save_model(tmp_path / "my-model", config, random_weights(config, seed=1), words().to_str())
    (tmp_path / "corpus.txt").write_text("a b\nb a\nc\n")
    monkeypatch.chdir(tmp_path)


def test_the_code_runs(capsys):
    """Block after block, in one program."""
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert [array.shape for array in names["vectors"]] == [(6, 4), (3, 4)]
    assert names["means"].shape == (2, 4)
    assert names["vector"].shape == (4,)
    assert capsys.readouterr().out == "(3, 4)\n"
    table = names["embed"](names["table"])
    assert table.column_names == ["text", "embedding"]
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), names["means"])
    np.testing.assert_array_equal(names["lazy"].collect()["embedding"].to_numpy(), names["means"])
    assert names["classifier"].predict(names["texts"]).tolist() == ["cat", "dog"]


@pytest.mark.parametrize("option", ["pooling", "layers", "output", "normalize", "progress"])
def test_the_defaults_are_those_of_the_page(option):
    """The table of options shows each with its default."""
    from inspect import signature  # noqa: PLC0415 - next to its use

    from unrolled import Encoder  # noqa: PLC0415 - next to its use

    default = signature(Encoder.encode).parameters[option].default
    shown = f'"{default}"' if isinstance(default, str) else default
    assert f"| `{option}={shown}` |" in PAGE.read_text()


def test_the_commands_make_a_model(tmp_path):
    """That the code can use."""
    (tmp_path / "my-model").rename(tmp_path / "other")
    (block,) = re.findall(r"^```sh\n(unrolled .*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        if program != "unrolled":
            subprocess.run(line, shell=True, check=True)
            continue
        done = command(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert unrolled.load("my-model").encode("the cat", pooling="mean").shape == (256,)
