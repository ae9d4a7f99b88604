"""Tokenizers of a list of words: nothing in a text is changed, dropped or guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.tokenization.ascii_lookup import word_lookup
from unrolled.tokenization.texts import ids_of_texts
from unrolled.tokenization.word_list import build

INDEX = {"the": 1, "The": 2, "cat.": 3, "a:1": 4, "é": 5, "<UNK>": 6}


def ids(tokenizer, text):
    """Its ids, as a job gets them."""
    (found,) = ids_of_texts([text], tokenizer, word_lookup(tokenizer))
    return found


def test_words_are_between_blanks():
    """Case and marks stay; other words are the unknown one."""
    tokenizer = build(INDEX, "<UNK>")
    assert ids(tokenizer, " the\tThe cat.\n a:1 cat é\u00a0the ") == [1, 2, 3, 4, 6, 5, 1]
    assert ids(tokenizer, "") == []


def test_without_an_unknown_word_a_text_is_refused():
    """So no word is dropped, and none gets the vector of another one."""
    tokenizer = build({"a": 1}, "<UNK>")
    assert ids(tokenizer, "a a") == [1, 1]
    error = ids(tokenizer, "a bad a")
    wanted = "has 'bad', which isn't in the model's vocabulary, and there is no token for unknown words"
    assert str(error) == wanted


@given(st.text())
def test_blanks_are_pythons(text):
    """Each word of str.split becomes one id."""
    assert len(ids(build({"x": 1}, "x"), text)) == len(text.split())


def test_characters():
    """Each is a word; blanks are none."""
    tokenizer = build({"M": 1, "S": 2, "é": 3}, "<UNK>", of_characters=True)
    assert ids(tokenizer, "MS é\nM") == [1, 2, 3, 1]
    assert "'j'" in str(ids(tokenizer, "MSj"))


def test_words_after_a_text():
    """As special tokens, which a job can leave out; any name of a word is allowed."""
    tokenizer = build(INDEX, "<UNK>", after=("a:1", "the", "a:1"))
    assert ids(tokenizer, "the") == [1, 4, 1, 4]
    assert list(ids_of_texts(["the"], tokenizer, None, add_special_tokens=False)) == [[1]]


@pytest.mark.parametrize("word", ["[PAD]", "$A", "[0]"])
def test_any_word_may_be_in_the_list(word):
    """Also one that means something in a tokenizer."""
    assert ids(build({word: 1, "x": 2}, "?", after=("x",)), word) == [1, 2]
