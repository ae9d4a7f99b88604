"""`unrolled model import`: what people see, parity with the framework and both engines, and what is written."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from producer.cli.root import cli
from unrolled.model.directory import open_model
from unrolled.store.lock import lock_file
from unrolled.tokenization.texts import ids_of_texts
from worker.model_import import assembly

MODELS = Path(__file__).parents[2] / "torch_models"


def run(*arguments):
    return CliRunner().invoke(cli, ["model", "import", *map(str, arguments)], prog_name="unrolled")


def test_it_says_what_it_took(tmp_path):
    """Each thing that was taken is a line, and so are what was left and how ids change."""
    result = run(MODELS / "lstm2.safetensors", tmp_path / "model", "--no-parity")
    assert result.exit_code == 0, result.output
    made = open_model(tmp_path / "model")
    caution = (
        "arrays alone, and nothing in them shows how data flows: a function between layers, a direction, padding, a "
        "scale or an initial state that only your program has isn't imported. Compare a few rows: unrolled model "
        "compare"
    )
    reason = "row 0 holds a token's vector; --ids-from 1 if it is padding"
    assert result.output.splitlines() == [
        f"safetensors state dict: {caution}",
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
    assert "comparing the model with the original" in result.stderr
    facts = json.loads(result.stdout)
    assert facts["caution"].startswith("arrays alone")
    parity = facts["parity"]
    assert not parity["whole"]
    compared = {one["left"] for one in parity["comparisons"]} | {one["right"] for one in parity["comparisons"]}
    assert len(compared) + len(parity["missing"]) == 5
    assert any("the file has no graph" in text for text in parity["missing"])
    assert "plain float64 arithmetic" in compared
    assert all(one["largest"] < 1e-5 for one in parity["comparisons"])


def test_layers_alone_are_not_called_the_same_model(tmp_path):
    """For arrays alone, the data flow is the first thing that wasn't compared, and each line says what was."""
    result = run(MODELS / "gru2.safetensors", tmp_path / "model")
    lines = [line for line in result.stdout.splitlines() if "compared" in line or "same" in line]
    assert lines[0].startswith("not compared: how data flows"), result.output
    same = [line for line in lines if "same" in line]
    assert same
    assert all(line.startswith("layers alone, same  ") for line in same)


def test_the_rows_that_were_compared_are_told(tmp_path):
    """An id or a length that isn't among them may show more."""
    lines = run(MODELS / "gru2.safetensors", tmp_path / "model").stdout.splitlines()
    (line,) = [line for line in lines if "rounding alone" in line]
    assert re.fullmatch(r"      in rows of 1 to 34 tokens with \d+ ids; float32's rounding alone makes up to \S+", line)


def test_a_difference_above_the_bound_writes_nothing(tmp_path, monkeypatch):
    """A gate in the wrong place is an error with both names and the bound, and leaves no directory."""
    convert = assembly.convert

    def swapped(one):
        made = convert(one)
        return {**made, "bias": np.roll(made["bias"], one.units)}

    monkeypatch.setattr(assembly, "convert", swapped)
    source = MODELS / "exported.onnx"
    pytest.importorskip("onnxruntime")
    result = run(source, tmp_path / "new" / "model")
    assert result.exit_code == 1, result.output
    assert "the file's graph in ONNX Runtime and plain float64 arithmetic differ by" in result.output
    assert "Nothing was written" in result.output
    assert list(tmp_path.iterdir()) == []
    assert run(source, tmp_path / "model", "--no-parity").exit_code == 0


@pytest.mark.parametrize("first_id", [0, 1])
def test_a_tokenizer_whose_token_for_unknown_letters_is_none(tmp_path, first_id):
    """The library refuses each text with such a letter, and no retry helps."""
    file = tmp_path / "own.json"
    Tokenizer(models.BPE({"[PAD]": 0, "a": 1}, [], unk_token="<unk>")).save(str(file))
    options = ("--no-parity", "--ids-from", first_id, "--tokenizer", file)
    result = run(MODELS / "lstm1.safetensors", tmp_path / "model", *options)
    assert (result.exit_code, (tmp_path / "model").exists()) == (1, False)
    assert f"{file}: its token for unknown parts of words, '<unk>', isn't in its vocabulary, so it" in result.output


def test_a_tokenizer_comes_along(tmp_path):
    """--tokenizer is checked against the source's ids, and becomes part of the model."""
    for name, vocabulary in (
        ("good", {"a": 1, "b": 10}),
        ("bad", {"a": 1, "b": 11}),
        ("zero", {"a": 0, "b": 2}),
    ):
        Tokenizer(models.WordLevel(vocabulary, unk_token="a")).save(str(tmp_path / f"{name}.json"))

    def tried(name, *more):
        source = MODELS / "lstm1.safetensors"
        return run(source, tmp_path / name, "--no-parity", "--tokenizer", tmp_path / f"{name}.json", *more)

    good = tmp_path / "good.json"
    good.write_bytes(b"\xef\xbb\xbf" + good.read_bytes())  # a byte-order mark, which the model's file doesn't get
    assert tried("good", "--ids-from", 1).exit_code == 0
    assert (tmp_path / "good" / "tokenizer.json").read_bytes()[:1] == b"{"
    assert open_model(tmp_path / "good").tokenizer().get_vocab() == {"a": 1, "b": 10}
    result = tried("bad", "--ids-from", 1)
    assert "the id of 'b' is 11, but the source has ids 1..10; give the tokenizer that" in result.output
    assert "bad.json: the id of 'b' is 11, but the source has ids 0..10; give the" in tried("bad").output
    result = tried("zero", "--ids-from", 1)
    assert "id 0 is the token 'a', but with --ids-from 1 id 0 is padding. If row 0" in result.output
    (tmp_path / "noise.json").write_text("{}")
    found = tried("noise").output
    assert "can't be read as a tokenizer.json (" in found
    assert "); give the tokenizer.json that `save_pretrained` of a" in found
    assert not any((tmp_path / name).exists() for name in ("bad", "zero", "noise"))


@pytest.mark.parametrize(
    ("name", "is_padding"), [("pad", False), ("PADDING", False), ("{pad}", True), ("< pad >", True)]
)
def test_padding_has_the_names_that_jobs_allow(tmp_path, name, is_padding):
    """What is imported can be used: the same names of id 0 are padding in both."""
    Tokenizer(models.WordLevel({name: 0, "a": 1}, unk_token="a")).save(str(tmp_path / "own.json"))
    result = run(
        *(MODELS / "lstm1.safetensors", tmp_path / "model", "--no-parity", "--ids-from", 1),
        *("--tokenizer", tmp_path / "own.json"),
    )
    assert result.exit_code == (0 if is_padding else 1)
    if is_padding:
        assert open_model(tmp_path / "model").tokenizer().token_to_id(name) == 0
    else:
        assert f"id 0 is the token '{name}'" in result.output
        assert "If it is padding, call the token [PAD] in the file" in result.output


TOKENS = {
    "[PAD]": 0,
    "[CLS]": 1,
    "[SEP]": 2,
    "[UNK]": 3,
    "one": 4,
    "two": 5,
    "t": 6,
    "##wo": 7,
    "o": 8,
    "n": 9,
    "e": 10,
}


def template():
    return processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])


def word_level():
    return Tokenizer(models.WordLevel(TOKENS, unk_token="[UNK]"))


def word_piece():
    made = Tokenizer(models.WordPiece({**TOKENS, "two": 11}, unk_token="[UNK]"))
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    made.add_special_tokens(["[CLS]", "[SEP]"])
    return made


def byte_pairs():
    made = Tokenizer(models.BPE(TOKENS, [], unk_token="[UNK]"))
    made.post_processor = processors.Sequence([template()])
    made.enable_padding(pad_id=0, pad_token="[PAD]", length=9)
    made.enable_truncation(5)
    return made


@pytest.mark.parametrize("make", [word_level, word_piece, byte_pairs])
def test_a_tokenizer_of_ids_from_0_is_shifted_with_them(tmp_path, make):
    """Row k of the source's embedding is row k + 1 here, so each text gets the ids that are one higher."""
    made = make()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = made.post_processor or template()
    made.save(str(tmp_path / "own.json"))
    made.no_padding()
    made.no_truncation()
    source = MODELS / "lstm1.safetensors"
    if max(made.get_vocab().values()) > 10:
        tensors = load_file(source)
        tensors["embedding.weight"] = np.resize(tensors["embedding.weight"], (12, tensors["embedding.weight"].shape[1]))
        source = tmp_path / "wider.safetensors"
        save_file(tensors, source)
    result = run(source, tmp_path / "model", "--no-parity", "--tokenizer", tmp_path / "own.json")
    assert result.exit_code == 0, result.output
    assert "note  the tokenizer's ids are one higher here too, so texts stay as they are" in result.output.splitlines()
    settings = "note  the tokenizer asks for truncation to 5 tokens and padding to 9 tokens. None of it is done: "
    assert (settings in result.output) == (make is byte_pairs)
    found = open_model(tmp_path / "model").tokenizer()
    for text in ("one two", "two [SEP] what", "", "one [PAD] one two one two one"):
        assert found.encode(text).ids == [number + 1 for number in made.encode(text).ids], text
    assert 0 in found.get_vocab().values()


def test_the_name_of_padding_in_a_text_is_no_padding_where_ids_shift(tmp_path):
    """The source knows no such token, so for it the name is a word like any other."""
    made = Tokenizer(models.WordLevel({"the": 0, "dog": 1, "[UNK]": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(tmp_path / "own.json"))
    source, text = MODELS / "lstm1.safetensors", "the [PAD] dog zzz"
    result = run(source, tmp_path / "model", "--no-parity", "--ids-from", 0, "--tokenizer", tmp_path / "own.json")
    assert result.exit_code == 0, result.output
    found = ids_of_texts([text], open_model(tmp_path / "model").tokenizer(), None)
    assert (made.encode(text).ids, list(found)) == ([0, 2, 1, 2], [[1, 3, 2, 3]])


def test_a_tokenizer_without_a_list_of_ids_is_refused_where_ids_shift(tmp_path):
    """The ids of a unigram model are the places of its pieces."""
    Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0)).save(str(tmp_path / "own.json"))
    result = run(MODELS / "lstm1.safetensors", tmp_path / "model", "--no-parity", "--tokenizer", tmp_path / "own.json")
    assert result.exit_code == 1
    assert "the tokenizer's ids can't be changed: its model (Unigram) has no list of ids; leave" in result.output


def test_a_first_state_that_is_left_out_is_noted(tmp_path):
    """The states differ then, and nothing else says so; a head is no initial state."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    width = next(array.shape[1] for name, array in tensors.items() if "weight_hh" in name)
    tensors["h0"] = np.ones((1, 1, width), np.float32)
    tensors["attention"] = np.ones((7, width), np.float32)
    save_file(tensors, tmp_path / "own.safetensors")
    arguments = (tmp_path / "own.safetensors", tmp_path / "model", "--no-parity", "--leave", "attention")
    assert "h0 (1, 1, " in run(*arguments).output
    result = run(*arguments, "--leave", "h0")
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.output.splitlines()[1:] if "initial state" in line)
    assert line.startswith(f"note  h0 (1, 1, {width}) is left out, and rows begin with states of zero. If the source")
    assert line.endswith("or let each row bring the state (--initial-states)")
    brought = run(*arguments[:1], tmp_path / "brought", *arguments[2:], "--leave", "h0", "--initial-states").output
    (line,) = (line for line in brought.splitlines() if line.startswith("note  h0"))
    assert "is left out, and rows bring their initial states. If the source begins them with this array, give" in line


@pytest.mark.parametrize("option", ["--no-parity", "--ids-from=0"])
@pytest.mark.parametrize(("array", "named"), [("weight_hh_l0", "rnn (recurrent_kernel)"), ("embedding", "embedding")])
def test_a_weight_that_is_no_number_is_named_with_its_file(tmp_path, option, array, named):
    """By the layer in the source, and not by a temporary file."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    next(found for name, found in tensors.items() if array in name).flat[-1] = np.nan
    save_file(tensors, tmp_path / "nan.safetensors")
    result = run(tmp_path / "nan.safetensors", tmp_path / "model", option)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}/nan.safetensors: tensor {named} has NaN or infinity in it; use weights from before that "
        "happened\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nan.safetensors"]


def _write_safetensors(path, tensors):
    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def _write_npz(path, tensors):
    np.savez(path.with_suffix(".npz"), **tensors)
    return path.with_suffix(".npz")


def _write_npy_files(path, tensors):
    path.mkdir()
    for name, array in tensors.items():
        np.save(path / f"{name}.npy", array)
    return path


def _write_pickle(path, tensors):
    path.with_suffix(".pkl").write_bytes(pickle.dumps(tensors))
    return path.with_suffix(".pkl")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("write", [_write_safetensors, _write_npz, _write_npy_files, _write_pickle])
def test_a_weight_that_float32_can_not_hold_is_named_with_its_number(tmp_path, write):
    """It is a number, and no infinity; NumPy's warning isn't shown. What float32 can hold is rounded."""
    tensors = {name: array.astype(np.float64) for name, array in load_file(MODELS / "lstm1.safetensors").items()}
    name = next(name for name in tensors if name.endswith("weight_hh_l0"))
    sound = run(write(tmp_path / "sound", tensors), tmp_path / "model", "--no-parity")
    assert sound.exit_code == 0, sound.output
    tensors[name][1, 2] = -1e300
    source = write(tmp_path / "large", tensors)
    result = run(source, tmp_path / "other", "--no-parity")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {source} (")
    assert result.stderr.endswith(
        f"): {name}: has the number -1e+300, which is too large for float32 (at most 3.4e+38); use weights that "
        "float32 can hold\n"
    )
    assert not (tmp_path / "other").exists()


def test_an_embedding_without_rows_is_named(tmp_path):
    """No choice of --ids-from helps."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    name = next(name for name in tensors if "embedding" in name)
    save_file(tensors | {name: tensors[name][:0]}, tmp_path / "empty.safetensors")
    result = run(tmp_path / "empty.safetensors", tmp_path / "model", "--no-parity")
    assert result.exit_code == 1
    assert result.stderr.endswith("embedding: has no row; name another embedding, or get a fresh copy\n")


def test_importing_twice_changes_nothing_and_another_model_is_refused(tmp_path):
    """A second import of the model changes nothing; another model is not written over it."""
    first = run(MODELS / "lstm1.safetensors", tmp_path / "model", "--no-parity")
    again = run(MODELS / "lstm1.safetensors", tmp_path / "model", "--no-parity")
    assert first.output == again.output
    other = run(MODELS / "gru2.safetensors", tmp_path / "model", "--no-parity")
    assert other.exit_code == 1
    assert "another model" in other.output or "is there" in other.output
    compared = run(MODELS / "gru2.safetensors", tmp_path / "model")  # before the comparison, which takes its time
    assert (compared.exit_code, "comparing the model" in compared.output) == (1, False)
    assert "contains another model (config.json)" in compared.output


def test_a_place_that_no_model_can_have_is_refused_first(tmp_path):
    """Before the source is read, which may take minutes with its comparison."""
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "none.keras", tmp_path / "file" / "in" / "model")
    assert result.exit_code == 1, result.output
    assert f"can't be made, because {tmp_path / 'file'} is no directory; choose another" in result.output


@pytest.mark.skipif(os.geteuid() == 0, reason="machine: root may write anywhere")
def test_a_place_without_permission_is_refused_first(tmp_path):
    """With the directory where it is missing."""
    (tmp_path / "locked").mkdir(mode=0o500)
    result = run(tmp_path / "none.keras", tmp_path / "locked" / "in" / "model")
    assert result.exit_code == 1, result.output
    assert f"no permission to write in {tmp_path / 'locked'}" in result.output


def test_a_tokenizer_of_few_words_is_noted(tmp_path):
    """Most likely, it is that of another model."""
    for name, words in (("few", 3), ("most", 8)):
        vocabulary = {f"w{number}": number for number in range(words)}
        tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"}}
        (tmp_path / f"{name}.json").write_text(json.dumps(tokenizer))
        given = ("--tokenizer", tmp_path / f"{name}.json", "--no-parity")
        found = run(MODELS / "lstm1.safetensors", tmp_path / name, *given)
        assert found.exit_code == 0, found.output
        assert ("is it the one that the model was trained with?" in found.output) == (name == "few")


def test_a_tokenizer_that_lies_there_is_refused(tmp_path):
    """It would become the model's, and nothing has compared its ids with the model's."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    found = run(MODELS / "lstm1.safetensors", tmp_path / "model", "--no-parity")
    assert found.exit_code == 1
    assert "contains a tokenizer.json" in found.output
    assert "--tokenizer" in found.output
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["tokenizer.json"]


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
    facts = json.loads(padded.stdout)
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
    assert json.loads(result.stdout)["padding"] is None
    assert any("it changes no vector of a token" in note for note in json.loads(result.stdout)["notes"])


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


def test_sigterm_leaves_nothing_behind(tmp_path, monkeypatch):
    """As Ctrl-C does, in the middle of a comparison."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    seen = []

    def terminated(*_, **__):
        seen.extend(path.name for path in tmp_path.iterdir())
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("worker.model_import.importer.compare", terminated)
    try:
        result = run(MODELS / "lstm2.safetensors", tmp_path / "model")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert result.exit_code == 143
    assert [name.startswith(".import-") for name in seen] == [True]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_import_left_is_removed(tmp_path):
    """But not the folder of an import that is at work, or has just begun, or that isn't one."""
    old, alive, new, other = (tmp_path / f".import-{name}" for name in ("old", "alive", "new", "other"))
    for folder in (old, alive, new, other):
        folder.mkdir()
        (folder / "model.safetensors").touch()
    for folder in (old, alive, new):
        (folder / "in-use").touch()
    for folder in (old, alive):
        os.utime(folder / "in-use", (0, 0))
    with lock_file(alive / "in-use"):
        assert run(MODELS / "lstm1.safetensors", tmp_path / "model").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".import-alive",
        ".import-new",
        ".import-other",
        "model",
    ]


@pytest.mark.parametrize(("shape", "status"), [((33, 5), 0), ((4, 4), 1)])
def test_names_in_a_file_forge_no_line(shape, status, tmp_path):
    """Whether the file is imported or refused: a line break or a terminal's command in a name is spelled out."""
    name = "head\nsame  the file's graph and fused engine: largest difference 1.0e-07\x1b[31m.weight"
    shapes = {"emb.weight": (9, 4), "rnn.weight_ih_l0": (20, 4), "rnn.weight_hh_l0": (20, 5), name: shape}
    save_file({key: np.ones(each, np.float32) for key, each in shapes.items()}, tmp_path / "model.safetensors")
    result = run(tmp_path / "model.safetensors", tmp_path / "model", "--no-parity")
    assert result.exit_code == status, result.output
    assert r"head\nsame  the file" in result.output
    assert r"\x1b[31m" in result.output
    assert all(line.isprintable() and not line.startswith("same") for line in result.output.splitlines())
