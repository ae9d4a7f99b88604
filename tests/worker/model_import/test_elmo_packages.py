"""ELMos by the code of others: AllenNLP's and bilm's, in the packages that tests/elmo_models/make.py names."""

from pathlib import Path

import numpy as np
import pytest
from support.imported import imported
from support.kernels import THREADS
from support.reference import layer_states

import unrolled
from unrolled.tokenization.tokenizer import load_tokenizer

MODELS = Path(__file__).parents[2] / "elmo_models"
ROWS = [["The"], ["a", "naïve", "cat", "☃"], ["word" * 20, "x", "The", "cat", ".", "x", "x"]]


@pytest.mark.parametrize("made", ["published.allennlp", "published.bilm", "unusual.bilm"])
def test_words_have_the_packages_vectors(made, tmp_path):
    """All layers, from text; the first is the embedding's row twice."""
    name = made.partition(".")[0]
    source = MODELS / name
    done = imported(source, tmp_path / "model", vocabulary=source / "words.txt")
    model, expected = done.model, np.load(MODELS / f"{made}.npz")
    weights, tokenizer = model.weights(), load_tokenizer(model.tokenizer_path, model.config.vocab_size)
    for number, row in enumerate(ROWS):
        ids = np.array(tokenizer.encode(" ".join(row)).ids)
        found = [np.tile(weights["embedding"][ids], 2), *layer_states(model.config, weights, ids)]
        wanted = expected[str(number)]
        assert len(found) == len(wanted) == len(model.config.layers) + 1
        for one, other in zip(wanted, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=2e-6)
    encoder = unrolled.load(tmp_path / "model", threads=THREADS)
    texts = [" ".join(row) for row in ROWS]
    for layer, found in encoder.encode(texts, layers="all").items():
        for number, vectors in enumerate(found):
            np.testing.assert_allclose(vectors, expected[str(number)][layer + 1], rtol=0, atol=5e-6)
