"""Pairs of models that read forward and backward: one model, whose outputs are those of the two side by side."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.model_configs import KINDS
from support.ragged_rows import ragged
from support.reference import layer_states, random_weights
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from producer.cli.root import cli
from unrolled.errors import ModelError
from unrolled.format.requested import positions_of
from unrolled.model.directory import open_model, save_model
from unrolled.model.padding import Padding
from unrolled.tokenization.characters import build
from unrolled.tokenization.tokenizer import load_tokenizer
from worker.model_import.importer import ImportOptions, import_model
from worker.model_import.pairs import join_models
from worker.model_import.shifted_tokenizer import shifted

MODELS = Path(__file__).parents[2] / "character_models"
EXPECTED = np.load(MODELS / "expected.npz")
ROWS = ["The cat sat .", "x", "naïve café 👍 ok", "an unknown ☃ and ☃☃☃ ß", "a " * 40 + "long row " * 20 + "ends"]


def backward(config):
    """The configuration with its layers turned."""
    return replace(config, layers=tuple(replace(layer, direction="backward") for layer in config.layers))


def renamed(weights):
    """The tensors by the names of a backward model."""
    return {name if name == "embedding" else turned(name): array for name, array in weights.items()}


def turned(name):
    kind, number, part = name.split(".")
    return f"{kind}.{number}.backward.{part}"


def pair(config, path, tokenizers=(None, None)):
    """A forward model and a backward one with other weights, in directories."""
    ahead = save_model(path / "forward", config, random_weights(config, 1, 0.5), tokenizers[0])
    back = save_model(path / "backward", backward(config), renamed(random_weights(config, 2, 0.5)), tokenizers[1])
    return ahead, back


def words_of(model, text):
    """The vectors of a text's words, by the plain NumPy reference."""
    tokenizer = load_tokenizer(model.tokenizer_path, model.config.vocab_size)
    ids = np.array(tokenizer.encode(text).ids, np.int32)
    states = layer_states(model.config, model.weights(), ids)[-1]
    return positions_of("word-ends", model.config, tokenizer).choose(ragged([ids.tolist()]), states)


def test_words_have_both_vectors_of_the_package(tmp_path):
    """Two layers, alphabets and first states; the texts get what each model's own program puts before and after."""
    for name in ("stanza_cells", "stanza_backward"):
        import_model(MODELS / f"{name}.pt", tmp_path / name, ImportOptions(parity=None))
    both = tmp_path / "both"
    done = CliRunner().invoke(
        cli, ["model", "join", str(tmp_path / "stanza_cells"), str(tmp_path / "stanza_backward"), str(both)]
    )
    assert done.exit_code == 0, done.output
    assert "2 x bidirectional lstm 9 (initial state of its own)" in done.output
    model = open_model(both)
    for row, text in enumerate(ROWS):
        wanted = np.hstack([EXPECTED[f"{name}.{row}"] for name in ("stanza_cells", "stanza_backward")])
        np.testing.assert_allclose(words_of(model, text), wanted, rtol=0, atol=1e-5)


FORWARD_KINDS = ("stacked", "one-hot", "gru-before", "projection", "residual", "hard", "one multiplicative", "clipped")


@pytest.mark.parametrize("kind", FORWARD_KINDS)
def test_outputs_are_side_by_side(kind, tmp_path):
    """Of every kind of layer, with an embedding and without, for the same ids."""
    config = KINDS.get(kind) or replace(KINDS["multiplicative"], layers=KINDS["multiplicative"].layers[:1])
    ahead, back = pair(config, tmp_path)
    made = join_models(ahead, back, tmp_path / "both").model
    random = np.random.default_rng(0)
    for length in (1, 2, 9):
        ids = random.integers(1, config.vocab_size + 1, length)
        wanted = [layer_states(one.config, one.weights(), ids)[-1] for one in (ahead, back)]
        found = layer_states(made.config, made.weights(), ids)[-1]
        np.testing.assert_allclose(found, np.hstack(wanted), rtol=0, atol=1e-9)


FORWARD_TEXT = build({"a": 1, "b": 2, " ": 3, "\n": 5}, 4, before="\n", after=" ").to_str()
BACKWARD_TEXT = build({"b": 7, "c": 1, " ": 9, "\n": 2}, 8, before=" ", after="\n").to_str()


def of_ids_from_0():
    """The text of a tokenizer of characters, as the import stores it with --ids-from 0."""
    source = Tokenizer(BPE({"b": 6, "c": 0, " ": 8, "[UNK]": 7}, [], unk_token="[UNK]"))
    source.post_processor = TemplateProcessing(
        single="[0] $A [1]",
        special_tokens=[{"id": "[0]", "ids": [8], "tokens": [" "]}, {"id": "[1]", "ids": [0], "tokens": ["c"]}],
    )
    return shifted(source.to_str())


@pytest.mark.parametrize("backward_text", [BACKWARD_TEXT, of_ids_from_0()])
def test_two_alphabets_become_one(tmp_path, backward_text):
    """A character that one model doesn't know is its unknown one; what is added differs on purpose."""
    config = KINDS["stacked"]
    ahead, back = pair(config, tmp_path, (FORWARD_TEXT, backward_text))
    made = join_models(ahead, back, tmp_path / "both").model
    for text in ("abc z", "", "c"):
        own = []
        for one in (ahead, back):
            ids = load_tokenizer(one.tokenizer_path, config.vocab_size).encode(text).ids
            own.append(layer_states(one.config, one.weights(), np.array(ids))[-1])
        ids = load_tokenizer(made.tokenizer_path, made.config.vocab_size).encode(text).ids
        found = layer_states(made.config, made.weights(), np.array(ids))[-1]
        np.testing.assert_allclose(found, np.hstack(own), rtol=0, atol=1e-9)


def test_one_tokenizer_stays(tmp_path):
    """Its bytes are those of both models."""
    text = build({"a": 1, " ": 2}, 3).to_str()
    made = join_models(*pair(KINDS["stacked"], tmp_path, (text, text)), tmp_path / "both").model
    assert made.tokenizer_path.read_text() == text


def test_pairs_that_dont_fit_are_refused(tmp_path):
    """By their directions, layers, vocabularies and tokenizers; nothing is written."""
    config = KINDS["stacked"]
    ahead, back = pair(config, tmp_path / "a")
    characters = build({"a": 1, " ": 2}, 3).to_str()
    other = build({"a": 1, " ": 2}, 3, before=" ").to_str()
    dropping = build({"a": 1, " ": 2}, None).to_str()
    gru, _ = pair(KINDS["gru"], tmp_path / "b")
    small, _ = pair(replace(config, vocab_size=9), tmp_path / "c")
    one_hot, _ = pair(replace(config, embedding_dim=None), tmp_path / "d")
    padded, _ = pair(replace(config, padding=Padding(config.max_length, "before")), tmp_path / "h")
    of_vectors = replace(config, vocab_size=0, embedding_dim=None, vector_dim=4)
    sensor = save_model(tmp_path / "i", of_vectors, random_weights(of_vectors, 1))
    for models, message in (
        ((back, ahead), "the first model has backward layers"),
        ((ahead, ahead), "the second model has forward layers"),
        ((gru, back), "their layers differ: 2 x gru 5"),
        ((small, back), "vocabularies have 9 and 20 ids"),
        ((one_hot, back), "one model has an embedding"),
        ((sensor, back), "its rows contain vectors, and only models of token ids can be joined"),
        ((padded, back), "its rows are padded, and only models without padding can be joined"),
        (pair(config, tmp_path / "e", (characters, None)), "not both are made of characters"),
        (pair(config, tmp_path / "f", (characters, dropping)), "not both are made of characters"),
        (pair(config, tmp_path / "g", (characters, other)), "add different numbers of tokens"),
    ):
        with pytest.raises(ModelError, match=message):
            join_models(*models, tmp_path / "both")
    assert not (tmp_path / "both").exists()
