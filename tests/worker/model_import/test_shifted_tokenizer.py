"""Tokenizers whose ids are one higher."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from unrolled.tokenization.characters import blanks_of
from unrolled.tokenization.tokenizer import check_vocabulary
from worker.model_import.shifted_tokenizer import shifted

WORDS = {"the": 0, "dog": 1, "[UNK]": 2, "##s": 3}
#: As those of which Keras makes its layers: padding is a word without characters.
KERAS = {"": 0, "[UNK]": 1, "the": 2, "dog": 3}
TEXTS = st.lists(st.sampled_from(["[PAD]", "[_PAD]", "the", "dog", "s", "new", "[", "PAD", "]", " ", "\n"])).map(
    "".join
)


def added(tokenizer):
    """With tokens of its own beside the model's, which get the next ids."""
    tokenizer.add_tokens(["new"])
    return tokenizer


SOURCES = {
    "words": Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]")),
    "words and others": added(Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))),
    "parts of words": Tokenizer(models.WordPiece(WORDS, unk_token="[UNK]")),
    "pairs": Tokenizer(models.BPE(WORDS, [], unk_token="[UNK]", ignore_merges=True)),
    "with padding": Tokenizer(models.WordLevel({"[PAD]": 4, **WORDS}, unk_token="[UNK]")),
}


@pytest.mark.parametrize("splits", [True, False])
@pytest.mark.parametrize("name", SOURCES)
@settings(deadline=None, max_examples=60)
@given(text=TEXTS)
def test_each_id_is_one_higher(name, splits, text):
    """Whatever a text contains: no text contains the token with id 0, even one without a blank to split it at."""
    source = Tokenizer.from_str(SOURCES[name].to_str())
    if splits:
        source.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = Tokenizer.from_str(shifted(source.to_str()))
    assert made.encode(text).ids == [number + 1 for number in source.encode(text).ids]
    check_vocabulary(made, 9, "made")


def test_a_word_without_characters():
    """It is a word of the source; [PAD] in a text is still none."""
    source = Tokenizer(models.WordLevel(KERAS, unk_token="[UNK]"))
    source.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = Tokenizer.from_str(shifted(source.to_str()))
    assert made.encode("the [PAD] dog").ids == [3, 2, 4]
    assert made.token_to_id("") == 1
    check_vocabulary(made, 4, "made")


def test_characters_stay_characters():
    """The token with id 0 isn't one, and doesn't hide that all others are."""
    source = Tokenizer(models.BPE({"a": 0, " ": 1, "[UNK]": 2}, [], unk_token="[UNK]"))
    assert blanks_of(Tokenizer.from_str(shifted(source.to_str()))) == (2,)
