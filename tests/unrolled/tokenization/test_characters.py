"""Tokenizers of characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tokenizers import words
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from unrolled.tokenization.characters import blanks_of, build
from unrolled.tokenization.tokenizer import check_vocabulary

INDEX = {"a": 2, "é": 3, " ": 4, "\n": 5, "👍": 6, "\u0301": 7, "[": 8}


@given(st.text("aé \n👍\u0301[xyz\t\x00\u00a0", max_size=30))
def test_each_character_has_one_id(text):
    """Also one that joins others in writing; unknown ones have theirs, side by side too."""
    ids = build(INDEX, 1, before="\n", after=" ").encode(text).ids
    assert ids == [5, *(INDEX.get(one, 1) for one in text), 4]


@given(st.text("aéx", max_size=30))
def test_unknown_characters_are_dropped(text):
    """If there is no id for them."""
    assert build(INDEX, None).encode(text).ids == [INDEX[one] for one in text if one in INDEX]


def test_what_is_added_may_be_left_out():
    """As with any tokenizer's special tokens; several characters may be added, also unknown ones."""
    made = build(INDEX, 1, before=" \n", after="?")
    assert made.encode("a").ids == [4, 5, 2, 1]
    assert made.encode("a", add_special_tokens=False).ids == [2]
    check_vocabulary(made, 8, "made")


def test_blanks_are_known():
    """A tokenizer of words has none."""
    assert blanks_of(build(INDEX, 1)) == (4, 5)
    assert blanks_of(build({"a": 1}, 2)) == ()
    assert blanks_of(words()) is None


@pytest.mark.parametrize(
    ("splitter", "more", "blanks"),
    [
        (pre_tokenizers.Split("", "isolated"), {}, (4, 5)),
        (pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"), {"<s>": 9}, (4, 5)),
        (pre_tokenizers.Split(Regex("."), "isolated"), {}, None),  # two line ends stay one
        (pre_tokenizers.Split("", "isolated"), {"ab": 9}, None),
        (pre_tokenizers.WhitespaceSplit(), {}, None),
        (pre_tokenizers.Split(Regex(r"[aé \n👍\u0301\[]"), "isolated"), {}, None),  # unknown ones stay together
        (None, {}, None),
    ],
)
def test_words_that_are_characters(splitter, more, blanks):
    """A list of words has blanks where texts are split into characters, and all its tokens are some."""
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, **INDEX, **more}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["<s>"] * ("<s>" in more))
    tokenizer.pre_tokenizer = splitter or tokenizer.pre_tokenizer
    assert blanks_of(tokenizer) == blanks


@pytest.mark.parametrize("unknown", [None, 9])
def test_a_saved_tokenizer_is_the_same(unknown, tmp_path):
    """The file contains everything."""
    made = build(INDEX, unknown, before="\n", after=" ")
    made.save(str(tmp_path / "tokenizer.json"))
    read = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert read.encode("aéx a").ids == made.encode("aéx a").ids
    assert blanks_of(read) == (4, 5)
