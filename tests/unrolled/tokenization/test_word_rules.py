"""Tokenizers that follow Keras's rules for words."""

import pytest

from producer.tokenization.word_level import fit
from unrolled.tokenization.word_rules import WordRules, build


@pytest.mark.parametrize(("oov", "ids"), [(None, [1, 1, 2]), ("<OOV>", [1, 3, 1, 2])])
def test_a_tokenizer_from_ids(oov, ids):
    """Words have their ids, other words are dropped or get the id of the token, and 0 is [PAD]."""
    index = {"the": 1, "cat": 2} | ({} if oov is None else {oov: 3})
    made = build(index, WordRules(), oov)
    assert made.encode("The dog, the CAT!").ids == ids
    assert made.token_to_id("[PAD]") == 0


def test_letters_of_unknown_words():
    """An unknown word is dropped whole, even if its letters are words."""
    assert fit(["a i"], 5).tokenizer.encode("ai ia aaa a [PAD]").ids == [1]


def test_decode():
    """Ids are decoded to their words."""
    assert fit(["the cat sat"], 5).tokenizer.decode([2, 1]) == "cat the"
