"""`unrolled model`: directories made and shown from the command line."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from support.model_configs import STACKED_JSON

from producer.cli.root import cli
from unrolled.model.config import ModelConfig
from unrolled.model.directory import open_model, save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.weights import new_weights

SIZES = ["--vocab-size", "100", "--max-length", "12", "--lstm-units", "8", "--lstm-layers", "2"]


def run(*arguments, **environment):
    words = ["model", *map(str, arguments)]
    return CliRunner().invoke(cli, words, env={"COLUMNS": "100", **environment}, prog_name="unrolled")


def test_new_makes_a_model(tmp_path):
    """The directory opens, has the sizes asked for, and its fingerprint is printed."""
    result = run("new", tmp_path / "m", *SIZES)
    assert result.exit_code == 0, result.output
    made = open_model(tmp_path / "m")
    assert (made.config.vocab_size, made.config.output_dim, made.config.embedding_dim) == (100, 8, 3)
    assert made.fingerprint in result.output


def test_seed_and_embedding_dim(tmp_path):
    """Equal seeds make equal models; the embedding may have any width."""
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert run("new", tmp_path / name, *SIZES, "--seed", seed, "--embedding-dim", 20).exit_code == 0
    a, b, c = (open_model(tmp_path / name) for name in "abc")
    assert a.config.embedding_dim == 20
    assert a.fingerprint == b.fingerprint != c.fingerprint


def test_options_come_from_the_environment_too(tmp_path):
    """Every option has a variable."""
    sizes = {"VOCAB_SIZE": "9", "MAX_LENGTH": "4", "LSTM_UNITS": "3", "LSTM_LAYERS": "1", "SEED": "2"}
    result = run("new", tmp_path / "m", **{f"UNROLLED_{name}": value for name, value in sizes.items()})
    assert result.exit_code == 0, result.output
    assert open_model(tmp_path / "m").config.output_dim == 3


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--vocab-size", "0", "0 is not in the range"),
        ("--vocab-size", "-5", "-5 is not in the range"),
        ("--vocab-size", "2000000000", "lower vocab_size, embedding_dim, the layers' units or their number"),
        ("--lstm-layers", "65", "65 is not in the range"),
        ("--embedding-dim", "0", "0 is not in the range"),
        ("--seed", "-1", "-1 is not in the range"),
        ("--max-length", "many", "not a valid integer"),
    ],
)
def test_bad_sizes(tmp_path, option, value, message):
    """A size that isn't allowed is wrong usage, in one sentence; nothing is written."""
    sizes = {**dict(zip(SIZES[::2], SIZES[1::2], strict=True)), option: value}
    result = run("new", tmp_path / "m", *(word for pair in sizes.items() for word in pair))
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "m").exists()


def test_new_never_overwrites(tmp_path):
    """Another model in a model's directory is refused; the same model again is not."""
    run("new", tmp_path / "m", *SIZES)
    before = open_model(tmp_path / "m")
    assert run("new", tmp_path / "m", *SIZES).exit_code == 0
    result = run("new", tmp_path / "m", *SIZES, "--seed", 1)
    assert result.exit_code == 1
    assert "contains another" in result.output
    assert open_model(tmp_path / "m") == before


def test_show(tmp_path):
    """The table for people and the JSON for scripts contain the same facts."""
    run("new", tmp_path / "m", *SIZES)
    made = open_model(tmp_path / "m")
    facts = json.loads(run("show", tmp_path / "m", "--json").output)
    assert facts == {
        "path": str(tmp_path / "m"),
        **{name: value for name, value in STACKED_JSON.items() if name != "format_version"},
        "layers": [
            layer
            | {
                "first_state": False,
                "given_state": False,
                "cell_clip": None,
                "projection_clip": None,
                "norm": None,
                "epsilon": None,
                "span": 1,
            }
            for layer in STACKED_JSON["layers"]
        ],
        "vector_dim": None,
        "initial_state_dim": None,
        "mask_value": None,
        "padding": None,
        "output_dim": 8,
        "parameters": 101 * 3 + (3 + 8 + 1) * 32 + (8 + 8 + 1) * 32,
        "bytes": (tmp_path / "m" / "model.safetensors").stat().st_size,
        "fingerprint": made.fingerprint,
        "tokenizer": False,
    }
    table = dict(line.split(maxsplit=1) for line in run("show", tmp_path / "m").output.splitlines())
    assert table.keys() == facts.keys()
    assert table["layers"] == "2 x lstm 8 on an embedding of 3"
    assert table["parameters"] == "1,231"
    assert (table["tokenizer"], table["padding"]) == ("no", "none")


def test_show_of_a_model_that_reads_vectors(tmp_path):
    """It has a width and a mask, and no vocabulary."""
    config = ModelConfig(0, 9, None, (LayerConfig(2),), vector_dim=40, mask_value=-1.5)
    save_model(tmp_path / "m", config, new_weights(config, 0))
    lines = [line.split(maxsplit=1) for line in run("show", tmp_path / "m").output.splitlines()]
    shown = dict(lines)
    assert (shown["vector_dim"], shown["mask_value"], shown["layers"]) == ("40", "-1.5", "lstm 2 on vectors of 40")


def test_show_of_a_model_that_reads_initial_states(tmp_path):
    """It names the parts of a row's numbers in their order."""
    config = ModelConfig(9, 9, 2, (LayerConfig(2, given_state=True), LayerConfig(3, "gru", given_state=True)))
    save_model(tmp_path / "m", config, new_weights(config, 0))
    shown = dict(line.split(maxsplit=1) for line in run("show", tmp_path / "m").output.splitlines())
    assert shown["initial_state_dim"] == "7, layer 0's h (2), layer 0's c (2), layer 1's h (3)"
    assert json.loads(run("show", tmp_path / "m", "--json").output)["initial_state_dim"] == 7


def test_show_of_what_is_no_model(tmp_path):
    """An empty or missing directory is an error of one sentence, without a traceback."""
    for place in (tmp_path, tmp_path / "none"):
        result = run("show", place)
        assert result.exit_code == 1
        assert result.output.startswith(f"Error: {place}: ")


def test_show_of_a_damaged_tokenizer(tmp_path):
    """A model isn't said to have a tokenizer that nothing can read."""
    run("new", tmp_path / "m", *SIZES)
    (tmp_path / "m" / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Word')
    result = run("show", tmp_path / "m")
    assert result.exit_code == 1
    assert "tokenizer.json is not a tokenizer file" in result.output


def test_help_has_examples():
    """Each command shows an example."""
    for command in ("new", "show"):
        assert f"unrolled model {command} model/" in run(command, "--help").output


def test_neither_command_loads_tensorflow(tmp_path):
    """A model is made and shown where TensorFlow is not installed."""
    code = (
        "import sys; from producer.cli.root import cli; "
        "cli(['model', *sys.argv[1:]], standalone_mode=False); sys.exit('tensorflow' in sys.modules)"
    )
    for arguments in (["new", tmp_path / "m", *SIZES], ["show", tmp_path / "m"]):
        subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)
