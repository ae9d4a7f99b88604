"""`unrolled model import`: what people see, parity with the framework and both engines, and what is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from producer.cli.root import cli
from unrolled.model.directory import open_model
from worker.model_import import assembly

MODELS = Path(__file__).parents[2] / "torch_models"


def run(*arguments):
    return CliRunner().invoke(cli, ["model", "import", *map(str, arguments)], prog_name="unrolled")


def test_it_says_what_it_took(tmp_path):
    """Each thing that was taken is a line, and so are what was left and how ids change."""
    result = run(MODELS / "lstm2.safetensors", tmp_path / "model", "--no-parity")
    assert result.exit_code == 0, result.output
    made = open_model(tmp_path / "model")
    reason = "row 0 holds a token's vector; --ids-from 1 if it is padding"
    assert result.output.splitlines() == [
        "safetensors state dict",
        "took  embedding: embedding of 11 rows, 4 wide",
        "took  rnn.0: lstm 5",
        "took  rnn.1: lstm 5",
        "left  head.bias, head.weight",
        "note  weights alone don't show whether a layer's input is added to its output: --residual NAME",
        f"ids   the source's id k is k + 1 here, 0 is padding ({reason})",
        f"{made.path}: {made.config.parameters:,} parameters, fingerprint {made.fingerprint}",
    ]


@pytest.mark.parametrize("case", ["lstm2", "lstm2_projected_bidirectional", "gru2"])
def test_engines_are_compared(case, tmp_path):
    """All that can compute the model are compared, and the largest difference is printed."""
    result = run(MODELS / f"{case}.safetensors", tmp_path / "model", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    parity = facts["parity"]
    compared = {one["left"] for one in parity["comparisons"]} | {one["right"] for one in parity["comparisons"]}
    assert len(compared) + len(parity["missing"]) == 5
    assert any("the file has no graph" in text for text in parity["missing"])
    assert "plain float64 arithmetic" in compared
    assert all(one["largest"] < 1e-5 for one in parity["comparisons"])


def test_a_difference_above_the_bound_writes_nothing(tmp_path, monkeypatch):
    """A gate in the wrong place is an error with both names and the bound, and leaves no directory."""
    convert = assembly.convert

    def swapped(one):
        made = convert(one)
        return {**made, "bias": np.roll(made["bias"], one.units)}

    monkeypatch.setattr(assembly, "convert", swapped)
    source = MODELS / "exported.onnx"
    pytest.importorskip("onnxruntime")
    result = run(source, tmp_path / "model")
    assert result.exit_code == 1, result.output
    assert "the file's graph in ONNX Runtime and plain float64 arithmetic differ by" in result.output
    assert "Nothing was written" in result.output
    assert list(tmp_path.iterdir()) == []
    assert run(source, tmp_path / "model", "--no-parity").exit_code == 0


def test_a_tokenizer_comes_along(tmp_path):
    """--tokenizer is checked against the model's ids, and becomes part of the model."""
    tokenizer = pytest.importorskip("tokenizers")
    good = tokenizer.Tokenizer(tokenizer.models.WordLevel({"a": 1, "b": 11}, unk_token="a"))
    bad = tokenizer.Tokenizer(tokenizer.models.WordLevel({"a": 1, "b": 12}, unk_token="a"))
    zero = tokenizer.Tokenizer(tokenizer.models.WordLevel({"a": 0, "b": 2}, unk_token="a"))
    for name, one in (("good", good), ("bad", bad), ("zero", zero)):
        one.save(str(tmp_path / f"{name}.json"))
    source = MODELS / "lstm1.safetensors"
    result = run(source, tmp_path / "model", "--no-parity", "--tokenizer", tmp_path / "good.json")
    assert result.exit_code == 0, result.output
    assert open_model(tmp_path / "model").tokenizer_path is not None
    result = run(source, tmp_path / "bad", "--no-parity", "--tokenizer", tmp_path / "bad.json")
    assert "the id of 'b' is 12, but the model has ids 1..11" in result.output
    result = run(source, tmp_path / "zero", "--no-parity", "--tokenizer", tmp_path / "zero.json")
    assert "id 0 is the token 'a', but here 0 is padding" in result.output
    (tmp_path / "noise.json").write_text("{}")
    result = run(source, tmp_path / "noise", "--no-parity", "--tokenizer", tmp_path / "noise.json")
    assert "can't be read as a tokenizer.json" in result.output


def test_importing_twice_changes_nothing_and_another_model_is_refused(tmp_path):
    """A second import of the model changes nothing; another model is not written over it."""
    first = run(MODELS / "lstm1.safetensors", tmp_path / "model", "--no-parity")
    again = run(MODELS / "lstm1.safetensors", tmp_path / "model", "--no-parity")
    assert first.output == again.output
    other = run(MODELS / "gru2.safetensors", tmp_path / "model", "--no-parity")
    assert other.exit_code == 1
    assert "another model" in other.output or "is there" in other.output


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--pad", "0"], "give a number of tokens from 1"),
        (["--pad", "-3"], "give a number of tokens from 1"),
        (["--pad", "many"], "give a number of tokens from 1"),
        (["--pad", "9:left"], "only pre (before the tokens) and post"),
        (["--pad", "9", "--pad-id", "none"], "give a number from 0, or zeros"),
        (["--pad-id", "3"], "--pad-id needs --pad"),
    ],
)
def test_padding_is_read_strictly(options, reason, tmp_path):
    """What can't be meant is a usage error that says what is allowed."""
    result = run(MODELS / "lstm1.safetensors", tmp_path / "model", *options)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())


def test_padding_is_a_part_of_the_model(tmp_path):
    """It is printed, stored, changes the fingerprint, and is computed by both engines like by PyTorch."""
    source = MODELS / "lstm2_projected_bidirectional.safetensors"
    plain = run(source, tmp_path / "plain", "--json", "--no-parity")
    padded = run(source, tmp_path / "padded", "--json", "--pad", "12:pre", "--pad-id", "3")
    assert padded.exit_code == 0, padded.output
    facts = json.loads(padded.output)
    assert json.loads(plain.output)["padding"] is None
    # The source's id k is k + 1.
    assert facts["padding"] == {"length": 12, "side": "before", "id": 4}
    assert facts["fingerprint"] != json.loads(plain.output)["fingerprint"]
    assert any(
        "rows are padded to 12 tokens with the source's id 3, before the tokens" in text for text in facts["taken"]
    )
    assert all(one["largest"] < 1e-5 for one in facts["parity"]["comparisons"])
    assert open_model(tmp_path / "padded").config.max_length == 12
    shown = CliRunner().invoke(cli, ["model", "show", str(tmp_path / "padded")]).output
    assert "rows are padded to 12 tokens with id 4, before the tokens" in shown


def test_padding_that_changes_nothing_is_left_out(tmp_path):
    """After the tokens of a row, for layers that read forward."""
    result = run(MODELS / "lstm2.safetensors", tmp_path / "model", "--pad", "12", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["padding"] is None
    assert any("it changes no vector of a token" in note for note in json.loads(result.output)["notes"])


def test_the_command_line_stays_light():
    """The help of all commands needs no framework."""
    code = (
        "import sys, runpy; sys.argv = ['unrolled', 'model', 'import', '--help']\n"
        "try:\n  runpy.run_module('producer', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'h5py', 'onnx', 'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--embedding" in done.stdout
