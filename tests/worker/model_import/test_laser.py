"""LASER's LSTM encoders, made by tests/laser_models/make.py with laser-encoders."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from support.imported import imported
from support.reference import layer_states

from unrolled.errors import ModelError
from unrolled.tokenization.tokenizer import load_tokenizer

MODELS = Path(__file__).parents[2] / "laser_models"
ROWS = ["▁the ▁cat s ▁sat .", "▁a", "", "▁unknown ▁the  ▁naïve\u00a0▁dog:1 s </s> .", "▁a ▁cat " * 20]


def ids_of(model, text):
    """The ids that the model's own tokenizer gives."""
    return load_tokenizer(model.tokenizer_path, model.config.vocab_size).encode(text).ids


def test_sentences_have_the_packages_vectors(tmp_path):
    """From pieces to the largest number of each output; nothing is asked."""
    done = imported(MODELS / "encoder.pt", tmp_path / "model", parity=1e-5)
    weights = done.model.weights()
    for text, wanted in zip(ROWS, np.load(MODELS / "expected.npz")["sentences"], strict=True):
        found = layer_states(done.model.config, weights, ids_of(done.model, text))[-1].max(axis=0)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    assert done.format == "LASER encoder"
    assert done.made.ids_from == 0
    assert any("--pooling max" in note for note in done.made.notes)
    assert done.made.taken[-1] == (
        "tokenizer: the file's 12 pieces, separated by blanks, as SentencePiece writes them; </s> is put after each "
        "text, and all other pieces are <unk>"
    )


def test_ids_are_the_programs_plus_one(tmp_path):
    """0 is padding here; <s>, <pad>, </s> and <unk> have the ids that the program gives them."""
    done = imported(MODELS / "encoder.pt", tmp_path / "model")
    assert ids_of(done.model, "▁the ▁unknown s") == [5, 4, 7, 3]
    assert ids_of(done.model, "") == [3]
    with pytest.raises(ModelError, match="--ids-from 1: the model's words need 0"):
        imported(MODELS / "encoder.pt", tmp_path / "other", ids_from=1)


@pytest.mark.parametrize("dictionary", [{"a": 6}, {"a": -1}, {"a": "4"}, {4: 4}, {"a": True}, {"a": 10**30}], ids=str)
def test_dictionaries_that_dont_fit_are_refused(dictionary, tmp_path):
    """An id without a row, or none."""
    random = np.random.default_rng(0)
    shapes = {"embed_tokens.weight": (6, 3), "lstm.weight_ih_l0": (20, 3), "lstm.weight_hh_l0": (20, 5)}
    model = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    content = {"params": {}, "model": model, "dictionary": dictionary}
    (tmp_path / "encoder.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(
        ModelError, match="dictionary doesn't give each piece of a text one of the 6 rows of embed_tokens"
    ):
        imported(tmp_path / "encoder.pt", tmp_path / "model")
    (tmp_path / "encoder.pt").write_bytes(pickle.dumps(content | {"dictionary": {"a": 4}}))
    assert imported(tmp_path / "encoder.pt", tmp_path / "model").format == "LASER encoder"
