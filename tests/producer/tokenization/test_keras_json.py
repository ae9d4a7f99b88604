"""Keras tokenizers from their JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.keras_like import ALPHABET, KerasLike
from tokenizers import Tokenizer

from producer.tokenization.keras_json import from_keras
from unrolled.errors import RequestError
from unrolled.tokenization.word_rules import FILTERS

texts = st.lists(st.text(st.sampled_from(ALPHABET), max_size=30), min_size=1, max_size=6)


def reloaded(tokenizer):
    return Tokenizer.from_str(tokenizer.to_str())


@settings(max_examples=200, deadline=None)
@given(
    corpus=texts,
    others=texts,
    num_words=st.none() | st.integers(1, 8),
    oov=st.sampled_from([None, "<OOV>", "a"]),
    filters=st.sampled_from([FILTERS, "", "b-]^[", "A"]),
    lower=st.booleans(),
    split=st.sampled_from([" ", "a", "\t", "▁", "aa", " a"]),
)
def test_import_equals_keras(*, corpus, others, num_words, oov, filters, lower, split):
    """For any settings, an imported tokenizer gives the ids of the Keras tokenizer."""
    keras = KerasLike(corpus, num_words, oov, filters=filters, lower=lower, split=split)
    if not keras.index:
        return
    ours = reloaded(from_keras(keras.to_json())[0])
    for text in corpus + others:
        assert ours.encode(text).ids == keras.ids(text)


def keras_json(**changes):
    made = json.loads(KerasLike(["a b"]).to_json())
    made["config"] |= changes
    return json.dumps(made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is neither what Keras"),
        ("[]", "is neither what Keras"),
        ('"twice"', "is neither what Keras"),
        (json.dumps(json.dumps("{}")), "a TextVectorization layer, which is a JSON object"),
        (r'{"config": {"word_index": {"\ud800": 1}}}', "half of a surrogate pair"),
        ("[" * 100_000, "is neither what Keras"),
        ('{"config": {}}', "no config with a word_index"),
        (keras_json(word_index="{"), "word_index is not JSON"),
        (keras_json(word_index="{}"), "has no words"),
        (keras_json(word_index='{"a": 0}'), "'a' has the id 0"),
        (keras_json(word_index='{"a": true}'), "'a' has the id True"),
        (keras_json(word_index='{"a": 1, "b": 1}'), "the same id"),
        (keras_json(split=""), "split is ''"),
        (keras_json(filters=3), "filters 3"),
        (keras_json(num_words="5"), "num_words is '5'"),
        (keras_json(oov_token="<OOV>"), "oov_token '<OOV>' has no id"),
    ],
)
def test_what_cannot_be_imported(content, message):
    """For anything but a fitted Keras tokenizer, the error says what was found."""
    with pytest.raises(RequestError) as caught:
        from_keras(content)
    assert message in str(caught.value)


@given(
    text=st.text("abAΣς é\n!?x", max_size=20),
    lower=st.booleans(),
    num_words=st.none() | st.integers(2, 7),
    oov=st.sampled_from([None, "<OOV>", "?", "é"]),
)
def test_tokenizers_of_characters(*, text, lower, num_words, oov):
    """With char_level, each character of a text is looked up, also those of the filters."""
    tokens = [oov, *"ab é!ς"] if oov else "ab é!ς"
    index = {token: number for number, token in enumerate(dict.fromkeys(tokens), 1)}
    content = keras_json(char_level=True, lower=lower, word_index=json.dumps(index), num_words=num_words, oov_token=oov)
    expected = []
    for one in text.lower() if lower else text:
        number = index.get(one)
        if number is not None and (not num_words or number < num_words):
            expected.append(number)
        elif oov is not None:
            expected.append(index[oov])
    made = reloaded(from_keras(content)[0])
    assert made.encode(text).ids == expected
    assert len(set(made.get_vocab().values())) == made.get_vocab_size()
