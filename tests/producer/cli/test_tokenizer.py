"""`unrolled tokenizer fit` and `unrolled tokenizer import`."""

import json
import os
import sys

import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from producer.cli.root import cli
from producer.terminal import progress
from unrolled.model.config import ModelConfig
from unrolled.model.directory import open_model, save_model
from unrolled.model.weights import new_weights

KERAS = {
    "class_name": "Tokenizer",
    "config": {
        "num_words": 3,
        "filters": "!",
        "lower": True,
        "split": " ",
        "char_level": False,
        "oov_token": None,
        "word_index": json.dumps({"the": 1, "cat": 2, "sat": 3}),
    },
}


def run(*arguments, **options):
    return CliRunner().invoke(cli, ["tokenizer", *map(str, arguments)], prog_name="unrolled", **options)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    lines = [{"text": "The cat, the dog."}, {"text": "The cat"}, {"other": 1}]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def model(tmp_path):
    config = ModelConfig.stacked(vocab_size=3, max_length=8, num_lstm_units=4, num_lstm_layers=1, embedding_dim=2)
    save_model(tmp_path / "model", config, new_weights(config, 0))
    return tmp_path / "model"


def test_a_vocabulary_of_sequences_is_hardly_meant(tmp_path):
    """Each sequence is a word of it; a line says so, and what to do."""
    path = tmp_path / "p.fasta"
    path.write_text(">a\nAC\nGT\n>b\nacgt\n>c\nTT\n")
    result = run("fit", path, "--out", tmp_path / "made.json", "--vocab-size", 2, "--json")
    assert json.loads(result.stdout)["distinct_words"] == 2
    assert f"each one of {path} is a word of the vocabulary" in result.stderr


def test_fit_writes_a_file(tmp_path, corpus):
    """Fit counts the good rows, says how many were bad, and writes a file that tokenizers reads."""
    out = tmp_path / "made.json"
    result = run("fit", corpus, "--out", out, "--vocab-size", 2, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {
        "path": str(out),
        "texts": 2,
        "bad_rows": 1,
        "words": 6,
        "distinct_words": 3,
        "vocabulary": 2,
        "covered": 0.833333,
    }
    assert Tokenizer.from_file(str(out)).encode("the DOG cat").ids == [1, 2]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("id,text\n0.5,the cat\n,the\n", []),
        ("a,the cat\nb,the\n", ["--columns", "id,text"]),
        ("a,the cat\nb,the\n", ["--no-header", "--text-field", 2]),
        ('id,text\na,"the cat\nb,the"\n', ["--no-quotes"]),
    ],
)
def test_fit_reads_tables_as_jobs_do(tmp_path, content, options):
    """With the options for columns; the ids are not read."""
    path = tmp_path / "corpus.csv"
    path.write_text(content)
    result = run("fit", path, "--out", tmp_path / "made.json", "--vocab-size", 9, "--json", *options)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["texts"], facts["bad_rows"], facts["distinct_words"]) == (2, 0, 2)
    refused = run("fit", path, "--out", tmp_path / "no.json", "--vocab-size", 9, "--max-row-bytes", 3)
    assert "(--max-row-bytes)" in refused.output


def test_fit_into_a_model(corpus, model):
    """A model directory gets the file, made to its own vocab_size, and opens with it."""
    before = open_model(model).fingerprint
    result = run("fit", corpus, "--out", model, "--oov", "<OOV>")
    assert result.exit_code == 0, result.output
    assert "vocabulary" in result.output
    opened = open_model(model)
    assert opened.tokenizer_path == model / "tokenizer.json"
    assert opened.fingerprint != before
    assert Tokenizer.from_file(str(opened.tokenizer_path)).encode("the cat dog").ids == [2, 3, 1]


def test_a_word_of_the_texts_as_the_token_for_others(corpus, tmp_path):
    """It is told, because the word can't be told from those outside the vocabulary any more."""
    empty = run("fit", corpus, "--out", tmp_path / "none.json", "--vocab-size", 9, "--oov", "")
    assert (empty.exit_code, "is a variable missing?" in empty.stderr) == (2, True)
    told = run("fit", corpus, "--out", tmp_path / "a.json", "--vocab-size", 9, "--oov", "cat").stderr
    assert "--oov cat: " in told
    assert "of the texts " in told
    assert "--oov" not in run("fit", corpus, "--out", tmp_path / "b.json", "--vocab-size", 9, "--oov", "cow").stderr


def test_import_keeps_the_ids(tmp_path):
    """Import takes Keras's own JSON and keeps what its num_words kept."""
    source = tmp_path / "keras.json"
    source.write_text(json.dumps(KERAS))
    result = run("import", source, "--out", tmp_path / "made.json", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {
        "path": str(tmp_path / "made.json"),
        "vocabulary": 2,
        "largest_id": 2,
    }
    assert Tokenizer.from_file(str(tmp_path / "made.json")).encode("The!cat sat").ids == [1, 2]


@pytest.mark.parametrize("write", [json.dumps, lambda made: json.dumps(json.dumps(made))], ids=["once", "twice"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_import_reads_what_programs_write(tmp_path, write, encoding):
    """Many programs write to_json()'s text as JSON once more; editors on Windows put a byte-order mark before it."""
    source, out = tmp_path / "keras.json", tmp_path / "made.json"
    source.write_text(write(KERAS), encoding=encoding)
    result = run("import", source, "--out", out)
    assert result.exit_code == 0, result.output
    assert run("import", "-", "--out", out, "--overwrite", input=source.read_bytes()).exit_code == 0
    assert Tokenizer.from_file(str(out)).encode("The!cat sat").ids == [1, 2]


def test_standard_input(tmp_path):
    """Both read standard input."""
    assert run("fit", "-", "--out", tmp_path / "a", "--vocab-size", 9, input="a b\n").exit_code == 0
    assert run("import", "-", "--out", tmp_path / "b", input=json.dumps(KERAS)).exit_code == 0


def test_existing_file(tmp_path, corpus):
    """An existing tokenizer is kept, unless --overwrite is given."""
    out = tmp_path / "made.json"
    assert run("fit", corpus, "--out", out, "--vocab-size", 2).exit_code == 0
    made = out.read_text()
    result = run("fit", corpus, "--out", out, "--vocab-size", 1)
    assert (result.exit_code, out.read_text()) == (1, made)
    assert "made.json exists; give another --out, or --overwrite" in result.output
    assert run("fit", corpus, "--out", out, "--vocab-size", 1, "--overwrite").exit_code == 0
    assert out.read_text() != made


def test_a_file_that_is_no_tokenizer_is_never_replaced(tmp_path, corpus, model):
    """Neither the corpus itself, nor a model's weights, nor the file that is converted."""
    keras = tmp_path / "keras.json"
    keras.write_text(json.dumps(KERAS))
    weights = model / "model.safetensors"
    for command, source, out in (("fit", corpus, corpus), ("fit", corpus, weights), ("import", keras, keras)):
        before = out.read_bytes()
        size = ("--vocab-size", 2) if command == "fit" else ()
        result = run(command, source, "--out", out, *size, "--overwrite")
        assert (result.exit_code, out.read_bytes()) == (1, before)
        assert f"{out.name} is no tokenizer file, which is all that --overwrite replaces; give another" in result.output


def test_a_pipe_is_neither_read_nor_replaced(tmp_path, corpus):
    """What reads it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    result = run("fit", corpus, "--out", tmp_path / "pipe", "--vocab-size", 2, "--overwrite")
    assert result.exit_code == 1
    assert "pipe is no file, which is all that --overwrite replaces; give another --out" in result.output
    assert (tmp_path / "pipe").is_fifo()


def test_vocabulary_larger_than_the_model(tmp_path, corpus, model):
    """A tokenizer whose ids the model has no rows for is not written into it."""
    large = json.loads(json.dumps(KERAS))
    large["config"] |= {"num_words": None, "word_index": json.dumps({"a": 1, "b": 4})}
    source = tmp_path / "keras.json"
    source.write_text(json.dumps(large))
    for status, result in (
        (1, run("import", source, "--out", model)),
        (2, run("fit", corpus, "--out", model, "--vocab-size", 4)),
    ):
        assert result.exit_code == status
        assert "allow" in result.output
        assert "3" in result.output
    assert not (model / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["fit", "missing.txt", "--vocab-size", "5", "--out", "OUT"], 1, "missing.txt"),
        (["fit", "CORPUS", "--out", "OUT"], 2, "--vocab-size is missing"),
        (["fit", "CORPUS", "--vocab-size", "5", "--out", "no/such/a.json"], 1, "doesn't exist; make it first"),
        (["fit", "CORPUS", "--vocab-size", "5", "--out", f"{__file__}/a.json"], 1, "is no directory; give"),
        (["fit", "CORPUS", "--vocab-size", "1", "--oov", "<OOV>", "--out", "OUT"], 2, "leaves no id for a word"),
        (["import", "CORPUS", "--out", "OUT"], 1, "is neither what Keras"),
        (["import", sys.executable, "--out", "OUT"], 1, "is no text in UTF-8, and so no JSON; give a file with what"),
    ],
)
def test_errors_are_one_line(tmp_path, corpus, arguments, status, message):
    """The exit status is 2 for options that can't be and 1 for all else; a traceback is never printed."""
    places = {"CORPUS": str(corpus), "OUT": str(tmp_path / "made.json")}
    result = run(*(places.get(each, each) for each in arguments))
    assert (result.exit_code, type(result.exception)) == (status, SystemExit)
    assert message in result.output
    assert result.output.startswith("Error: ")


def test_options_are_variables(tmp_path, corpus):
    """Every option is an environment variable too."""
    out = tmp_path / "made.json"
    variables = {"UNROLLED_VOCAB_SIZE": "1", "UNROLLED_OUT": str(out)}
    assert run("fit", corpus, env=variables).exit_code == 0
    assert len(Tokenizer.from_file(str(out)).get_vocab()) == 2


def test_a_new_tokenizer_makes_another_model(corpus, model):
    """Jobs of the model without it, or with another one, are told apart by the fingerprint; the same one is no news."""
    before = open_model(model).fingerprint
    result = run("fit", corpus, "--out", model)
    assert (
        f"the model's fingerprint is {open_model(model).fingerprint[:12]}… now, and was {before[:12]}…" in result.stderr
    )
    assert run("fit", corpus, "--out", model, "--overwrite").stderr == ""


def test_fit_shows_how_much_it_has_read(tmp_path, corpus, monkeypatch):
    """As a share of the bytes; the summary alone is on standard output."""
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0)
    result = run("fit", corpus, "--out", tmp_path / "made.json", "--vocab-size", 2, "--json")
    size = corpus.stat().st_size
    assert result.stderr.splitlines()[-1] == f"counting words: {size} of {size} bytes (100 %)"
    assert json.loads(result.stdout)["words"] == 6


@pytest.mark.parametrize("with_texts", [True, False])
def test_a_trained_model_keeps_its_tokenizer(tmp_path, corpus, model, with_texts):
    """Another one would make its vectors meaningless; its own, and any for a model that was trained with ids, fits."""
    if with_texts:
        assert run("fit", corpus, "--out", model).exit_code == 0
    trained = open_model(model).fingerprint
    (model / "training.json").write_text(json.dumps({"fingerprint": trained}))
    other = tmp_path / "other.txt"
    other.write_text("c b\n")
    for texts in (corpus, other):
        result = run("fit", texts, "--out", model, "--overwrite")
        refused = with_texts and texts == other
        assert result.exit_code == refused, result.output
        assert (
            "only the tokenizer of its training gives its vectors a meaning" in " ".join(result.stderr.split())
        ) == refused
        assert ("gives meaningless vectors" in result.stderr) == (not with_texts)
        if with_texts:
            assert open_model(model).fingerprint == trained
    if with_texts:
        assert run("fit", other, "--out", model / "tokenizer.json", "--overwrite").exit_code == 1
        own = json.loads((model / "tokenizer.json").read_text())
        (model / "tokenizer.json").write_text(json.dumps(own))  # the same ids in other bytes
        before = open_model(model).fingerprint
        (model / "training.json").write_text(json.dumps({"fingerprint": before}))
        result = run("fit", corpus, "--out", model, "--overwrite")
        assert (result.exit_code, result.stderr, open_model(model).fingerprint) == (0, "", before)


def test_the_bytes_of_a_training_come_back(corpus, model):
    """Where the tokenizer was only written in another way, the command of the training makes its model again."""
    assert run("fit", corpus, "--out", model).exit_code == 0
    trained = open_model(model).fingerprint
    (model / "training.json").write_text(json.dumps({"fingerprint": trained}))
    (model / "tokenizer.json").write_text(json.dumps(json.loads((model / "tokenizer.json").read_text())))
    assert open_model(model).fingerprint != trained
    assert run("fit", corpus, "--out", model, "--overwrite").exit_code == 0
    assert open_model(model).fingerprint == trained
    (model / "config.json").write_text("{")
    result = run("fit", corpus, "--out", model / "tokenizer.json", "--overwrite")
    assert (result.exit_code, "is not JSON" in result.output) == (1, True)


def test_a_directory_of_another_program_is_none_of_a_model(tmp_path, corpus):
    """Its file is written, as any other is."""
    (tmp_path / "config.json").write_text('{"model_type": "lstm"}')
    (tmp_path / "model.safetensors").touch()
    assert run("fit", corpus, "--out", tmp_path / "tokenizer.json", "--vocab-size", 5).exit_code == 0
