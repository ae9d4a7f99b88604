"""Character language models of Flair and Stanza, made by tests/character_models/make.py with their packages."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.kernels import ENGINES_HERE
from support.ragged_rows import ragged
from support.reference import layer_states
from tokenizers import Tokenizer

from unrolled.format.requested import positions_of
from unrolled.model.directory import open_model
from unrolled.tokenization.tokenizer import load_tokenizer
from worker.model_import.errors import ImportRefusedError
from worker.model_import.importer import ImportOptions, import_model

MODELS = Path(__file__).parents[2] / "character_models"
EXPECTED = np.load(MODELS / "expected.npz")
NAMES = sorted({name.partition(".")[0] for name in EXPECTED})
ROWS = ["The cat sat .", "x", "naïve café 👍 ok", "an unknown ☃ and ☃☃☃ ß", "a " * 40 + "long row " * 20 + "ends"]


def words_of(directory, text):
    """The vectors of a text's words, by the plain NumPy reference."""
    model = open_model(directory)
    tokenizer = load_tokenizer(model.tokenizer_path, model.config.vocab_size)
    ids = np.array(tokenizer.encode(text).ids, np.int32)
    chosen = positions_of("word-ends", model.config, tokenizer).chosen(ragged([ids.tolist()]))
    return layer_states(model.config, model.weights(), ids)[-1][chosen]


@pytest.mark.parametrize("name", NAMES)
def test_words_have_the_packages_vectors(name, tmp_path):
    """Forward and backward, with first states, unknown characters and more than one layer; nothing is asked."""
    done = import_model(MODELS / f"{name}.pt", tmp_path / "model", ImportOptions())
    assert {comparison.right for comparison in done.parity.comparisons} >= ENGINES_HERE
    for row, text in enumerate(ROWS):
        found = words_of(tmp_path / "model", text)
        assert len(found) == len(text.split())
        np.testing.assert_allclose(found, EXPECTED[f"{name}.{row}"], rtol=0, atol=1e-5)


def test_what_is_taken_is_reported(tmp_path):
    """The direction, the first states, the alphabet, and how one vector a word is had."""
    done = import_model(MODELS / "stanza_backward.pt", tmp_path / "model", ImportOptions(parity=None))
    assert done.format == "Stanza character model, backward"
    assert done.made.taken[1:3] == [
        f"charlstm.lstm.{layer}: backward lstm 9 (initial state of its own)" for layer in (0, 1)
    ]
    assert done.made.taken[3] == "tokenizer: the file's 25 characters; ' ' is put before each text and '\\n' after it"
    assert done.made.left == ["decoder.weight", "decoder.bias"]
    assert (done.made.ids_from, done.made.ids_reason) == (1, "by the file's own characters, id 0 is never read")
    assert any("--positions word-ends" in note for note in done.made.notes)


def test_another_numbering_is_refused(tmp_path):
    """The file's characters say which ids there are."""
    with pytest.raises(ImportRefusedError, match="--ids-from 1: the file's own characters need 0"):
        import_model(MODELS / "flair_forward.pt", tmp_path / "model", ImportOptions(ids_from=1))


def test_a_tokenizer_of_ones_own_may_be_given(tmp_path):
    """It takes the place of the file's alphabet."""
    import_model(MODELS / "flair_forward.pt", tmp_path / "model", ImportOptions(parity=None))
    made = json.loads((tmp_path / "model/tokenizer.json").read_text())
    made["post_processor"] = None
    (tmp_path / "own.json").write_text(json.dumps(made))
    import_model(
        MODELS / "flair_forward.pt", tmp_path / "own", ImportOptions(tokenizer=tmp_path / "own.json", parity=None)
    )
    assert Tokenizer.from_file(str(tmp_path / "own/tokenizer.json")).encode("a").ids == (
        Tokenizer.from_file(str(tmp_path / "model/tokenizer.json")).encode("a", add_special_tokens=False).ids
    )


@pytest.mark.parametrize(
    ("content", "is_told"),
    [({"standardize": None, "vocabulary": []}, True), ({"class_name": "Tokenizer", "config": {}}, True), ({}, False)],
)
def test_a_tokenizer_of_keras_has_to_be_converted(content, is_told, tmp_path):
    """The refusal names the command."""
    (tmp_path / "layer.json").write_text(json.dumps(content))
    options = ImportOptions(tokenizer=tmp_path / "layer.json", parity=None)
    with pytest.raises(ImportRefusedError, match=r"can't be read as a tokenizer\.json") as caught:
        import_model(MODELS / "flair_forward.pt", tmp_path / "model", options)
    assert ("`unrolled tokenizer import` makes a tokenizer.json of it" in str(caught.value)) == is_told
