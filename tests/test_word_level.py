"""Word-level tokenizers give the ids that Keras gives."""

import json
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from producer.word_level import FILTERS, fit, from_keras
from unrolled.errors import RequestError


class KerasLike:
    """What Keras documents of its Tokenizer, written down afresh."""

    def __init__(self, texts, num_words=None, oov_token=None, filters=FILTERS, lower=True, split=" "):
        self.num_words, self.oov_token = num_words, oov_token
        self.filters, self.lower, self.split = filters, lower, split
        counts = OrderedDict()
        for text in texts:
            for word in self.words(text):
                counts[word] = counts.get(word, 0) + 1
        ranked = [word for word, _ in sorted(counts.items(), key=lambda item: item[1], reverse=True)]
        ranked = ranked if oov_token is None else [oov_token, *ranked]
        self.index = {word: number for number, word in enumerate(ranked, 1)}

    def words(self, text):
        text = text.lower() if self.lower else text
        for character in self.filters:
            text = text.replace(character, self.split)
        return [word for word in text.split(self.split) if word]

    def ids(self, text):
        found = []
        for word in self.words(text):
            number = self.index.get(word)
            if number is None or (self.num_words and number >= self.num_words):
                number = self.index.get(self.oov_token)
            if number is not None:
                found.append(number)
        return found

    def to_json(self):
        config = {
            "num_words": self.num_words,
            "filters": self.filters,
            "lower": self.lower,
            "split": self.split,
            "char_level": False,
            "oov_token": self.oov_token,
            "document_count": 3,
            "word_index": json.dumps(self.index),
        }
        return json.dumps({"class_name": "Tokenizer", "config": config})


# Letters whose lower case is their own length, another length, context-dependent, or themselves; separators of
# Keras and separators only of Unicode; characters that tokenizers of other kinds treat apart.
ALPHABET = "aAbB Σσ ΑΣ İ ß ẞ Ǆ é É 日 𝔘 ' ’ ! - [ ] \\ ^ | \t \n \r \x0b \0 \u00a0 \u3000 \u0301 \u0345 ▁ Ġ #"
texts = st.lists(st.text(st.sampled_from(ALPHABET), max_size=30), min_size=1, max_size=6)


def reloaded(tokenizer):
    return Tokenizer.from_str(tokenizer.to_str())


@pytest.mark.parametrize("oov", [None, "<OOV>"])
@settings(max_examples=200)
@given(corpus=texts, others=texts, size=st.integers(2, 12))
def test_fit_equals_keras(oov, corpus, others, size):
    """The saved file gives the ids of Keras's Tokenizer with one more num_words, out-of-vocabulary words included."""
    keras = KerasLike(corpus, num_words=size + 1, oov_token=oov)
    if not any(keras.words(text) for text in corpus):
        with pytest.raises(RequestError, match="no word was found"):
            fit(corpus, size, oov)
        return
    ours = reloaded(fit(corpus, size, oov).tokenizer)
    for text in corpus + others:
        assert ours.encode(text).ids == keras.ids(text)


@settings(max_examples=200)
@given(
    corpus=texts,
    others=texts,
    num_words=st.none() | st.integers(1, 8),
    oov=st.sampled_from([None, "<OOV>", "a"]),
    filters=st.sampled_from([FILTERS, "", "b-]^[", "A"]),
    lower=st.booleans(),
    split=st.sampled_from([" ", "a", "\t", "▁", "aa", " a"]),
)
def test_import_equals_keras(corpus, others, num_words, oov, filters, lower, split):
    """A Keras tokenizer's own JSON gives the same ids here as there, whatever its settings."""
    keras = KerasLike(corpus, num_words, oov, filters, lower, split)
    if not keras.index:
        return
    ours = reloaded(from_keras(keras.to_json()))
    for text in corpus + others:
        assert ours.encode(text).ids == keras.ids(text)


def test_rank_and_ties():
    """Frequent words come first, and equals in the order they appeared; 0 stays free."""
    found = fit(["b a", "a c", "d"], 3)
    assert found.tokenizer.encode("a b c d").ids == [1, 2, 3]
    assert (found.texts, found.words, found.distinct, found.kept, found.covered) == (3, 5, 4, 3, 4)
    assert found.tokenizer.id_to_token(0) == "[PAD]"


def test_letters_of_unknown_words():
    """An unknown word is dropped whole, even where its letters are words."""
    assert fit(["a i"], 5).tokenizer.encode("ai ia aaa a [PAD]").ids == [1]


def test_decode():
    """Ids turn back into their words."""
    assert fit(["the cat sat"], 5).tokenizer.decode([2, 1]) == "cat the"


def test_unknown_token_takes_id_1():
    """With an out-of-vocabulary token, words start at 2 and one fewer fits."""
    found = fit(["a a b"], 2, "<OOV>")
    assert found.tokenizer.encode("a b zzz").ids == [2, 1, 1]
    with pytest.raises(RequestError, match="allowed: 2 or more"):
        fit(["a"], 1, "<OOV>")


def keras_json(**changes):
    made = json.loads(KerasLike(["a b"]).to_json())
    made["config"] |= changes
    return json.dumps(made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not what Keras"),
        ("[]", "is not what Keras"),
        ("[" * 100_000, "is not what Keras"),
        ('{"config": {}}', "no config with a word_index"),
        (keras_json(word_index="{"), "word_index is not JSON"),
        (keras_json(word_index="{}"), "holds no word"),
        (keras_json(word_index='{"a": 0}'), "'a' has the id 0"),
        (keras_json(word_index='{"a": true}'), "'a' has the id True"),
        (keras_json(word_index='{"a": 1, "b": 1}'), "the same id"),
        (keras_json(char_level=True), "char_level is true"),
        (keras_json(split=""), "split is ''"),
        (keras_json(filters=3), "filters 3"),
        (keras_json(num_words="5"), "num_words is '5'"),
        (keras_json(oov_token="<OOV>"), "oov_token '<OOV>' has no id"),
    ],
)
def test_what_cannot_be_imported(content, message):
    """Anything else than a fitted Keras tokenizer of words says what it is."""
    with pytest.raises(RequestError) as caught:
        from_keras(content)
    assert message in str(caught.value)
