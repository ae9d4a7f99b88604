"""Word-level tokenizers give the ids that Keras gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.keras_like import ALPHABET, KerasLike
from tokenizers import Tokenizer

from producer.tokenization.word_level import fit
from unrolled.errors import RequestError

texts = st.lists(st.text(st.sampled_from(ALPHABET), max_size=30), min_size=1, max_size=6)


def reloaded(tokenizer):
    return Tokenizer.from_str(tokenizer.to_str())


@pytest.mark.parametrize("oov", [None, "<OOV>"])
@settings(max_examples=200, deadline=None)
@given(corpus=texts, others=texts, size=st.integers(2, 12))
def test_fit_equals_keras(oov, corpus, others, size):
    """The saved file gives the ids of Keras's Tokenizer with one more num_words, unknown words included."""
    keras = KerasLike(corpus, num_words=size + 1, oov_token=oov)
    if not any(keras.words(text) for text in corpus):
        with pytest.raises(RequestError, match="no word was found"):
            fit(corpus, size, oov)
        return
    ours = reloaded(fit(corpus, size, oov).tokenizer)
    for text in corpus + others:
        assert ours.encode(text).ids == keras.ids(text)


def test_rank_and_ties():
    """Frequent words come first, then earlier ones; id 0 is padding."""
    found = fit(["b a", "a c", "d"], 3)
    assert found.tokenizer.encode("a b c d").ids == [1, 2, 3]
    assert (found.texts, found.words, found.distinct, found.kept, found.covered) == (3, 5, 4, 3, 4)
    assert found.tokenizer.id_to_token(0) == "[PAD]"


def test_unknown_token_takes_id_1():
    """With an out-of-vocabulary token, words start at 2, and there is room for one fewer."""
    found = fit(["a a b"], 2, "<OOV>")
    assert found.tokenizer.encode("a b zzz").ids == [2, 1, 1]
    with pytest.raises(RequestError, match="allowed: 2 or more"):
        fit(["a"], 1, "<OOV>")
