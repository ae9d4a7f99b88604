"""The fast way to the token ids of ASCII texts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from producer.sources.rows import SourceRow
from producer.tokenization.tokenize import tokenize
from producer.tokenization.word_level import fit
from unrolled.tokenization.ascii_lookup import word_lookup
from unrolled.tokenization.word_rules import WordRules, build

ASCII = st.text(st.characters(max_codepoint=127), max_size=40)
# Few letters, so that words repeat, and many separators.
PLAIN = st.text(st.sampled_from("abAB .,\t\n\r\x0b\x00'[]"), max_size=40)
INDEX = {"a": 1, "the": 2, "cat's": 3}


@settings(deadline=None)
@given(corpus=st.lists(PLAIN | ASCII, min_size=1), others=st.lists(PLAIN | ASCII), oov=st.sampled_from([None, "<unk>"]))
def test_the_ids_are_the_librarys(corpus, others, oov):
    """For any ASCII text, with words of the vocabulary and others, which may be dropped."""
    tokenizer = fit([*corpus, "word"], 9, oov).tokenizer
    lookup = word_lookup(tokenizer)
    for text in [*corpus, *others]:
        assert lookup.ids(text) == tokenizer.encode(text).ids


def test_it_is_found_in_a_file_again():
    """A tokenizer is recognized after it was saved and loaded."""
    for oov in (None, "a"):
        tokenizer = Tokenizer.from_str(build(INDEX, WordRules(), oov).to_str())
        assert word_lookup(tokenizer).ids("The cat's") == [2, 3]


def changed(**parts):
    tokenizer = build(INDEX, WordRules(), None)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


def with_added():
    tokenizer = build(INDEX, WordRules(), None)
    tokenizer.add_tokens([AddedToken("cat", single_word=False)])
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        build(INDEX, WordRules(lower=False), None),
        build(INDEX, WordRules(filters=","), "a"),
        build(INDEX, WordRules(split="_"), None),
        build({"": 1}, WordRules(), None),
        changed(post_processor=processors.TemplateProcessing("the $0", special_tokens=[("the", 2)])),
        changed(model=models.BPE({" a": 1, "b": 2}, [], ignore_merges=True)),
        changed(model=models.BPE({" a": 1}, [], ignore_merges=True, unk_token=" a")),
        changed(model=models.BPE({" ": 1, "a": 2, " a": 3}, [(" ", "a")], ignore_merges=True)),
        changed(model=models.BPE({" a": 0}, [], ignore_merges=True)),
        changed(model=models.WordLevel({"a": 1}, unk_token="b")),
        changed(model=models.Unigram([("a", 0.0)], unk_id=0)),
        changed(pre_tokenizer=pre_tokenizers.Whitespace()),
        Tokenizer(models.BPE()),
        with_added(),
    ],
)
def test_other_tokenizers_are_left_to_the_library(tokenizer):
    """Tokenizers that do more or less than the rules are not looked up."""
    assert word_lookup(tokenizer) is None


def test_texts_that_cannot_be_looked_up_stay_in_their_place():
    """A batch of both kinds of texts keeps its order, and has the library's ids."""
    tokenizer = fit(["the café cat ΑΣ sat"], 9).tokenizer
    texts = ["The cat", "café ΑΣ", "", "sat.", "ÉTÉ"]
    batch = [SourceRow("f", at, None, text, None) for at, text in enumerate(texts)]
    [rows] = tokenize([batch], tokenizer, 9)
    assert [row.tokens.tolist() for row in rows] == [tokenizer.encode(text).ids for text in texts]
    assert [row.position for row in rows] == [0, 1, 2, 3, 4]
