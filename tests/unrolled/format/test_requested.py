"""The positions that a user names, for a model and its tokenizer."""

import pytest
from support.tokenizers import words

from unrolled.errors import OptionError, RequestError
from unrolled.format.positions import Positions
from unrolled.format.requested import positions_of
from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.tokenization.characters import build

CHARACTERS = build({"a": 2, " ": 3, "\n": 4}, 1)


def model(*directions):
    return ModelConfig(4, 10, 2, tuple(LayerConfig(3, direction=one) for one in directions))


def test_words_end_where_the_model_has_read_them():
    """The blanks are the tokenizer's, and the direction is the model's."""
    for direction in ("forward", "backward", "bidirectional"):
        expected = Positions("word-ends", blanks=(3, 4), direction=direction)
        assert positions_of("word-ends", model(direction, direction), CHARACTERS) == expected


@pytest.mark.parametrize("directions", [("bidirectional", "forward"), ("forward", "backward")])
def test_layers_of_different_directions_have_no_place_in_a_word(directions):
    """So a model with these is refused."""
    with pytest.raises(RequestError, match="the layers of this model read in different directions"):
        positions_of("word-ends", model(*directions), CHARACTERS)


@pytest.mark.parametrize("tokenizer", [None, words(), build({"a": 1}, None)])
def test_words_need_characters_and_blanks(tokenizer):
    """A tokenizer of words, or none, has no ends of words."""
    with pytest.raises(RequestError, match="the tokens of this model are not characters with a blank among them"):
        positions_of("word-ends", model("forward"), tokenizer)


def test_other_rules_suit_any_model():
    """They need no tokenizer."""
    assert positions_of("all", model("bidirectional"), None) is None
    assert positions_of("every:3", model("bidirectional"), words()) == Positions("every", 3)
    assert positions_of("last:1", model("forward"), None) == Positions("last", 1)
    with pytest.raises(OptionError, match="give all, word-ends"):
        positions_of("words", model("forward"), CHARACTERS)
