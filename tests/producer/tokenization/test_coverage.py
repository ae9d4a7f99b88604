"""How much of the words the model knows."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from producer.sources.rows import SourceRow
from producer.tokenization.coverage import ALL_OF_FIRST, ONE_OF, Coverage
from producer.tokenization.tokenize import tokenize
from unrolled.tokenization.word_rules import WordRules, build

INDEX = {"the": 1, "cat": 2, "Straße".lower(): 3}


def coverage_of(tokenizer, *texts, batch_rows=100):
    rows = [SourceRow("f", number, None, text, None) for number, text in enumerate(texts)]
    coverage = Coverage(tokenizer)
    batches = [rows[start : start + batch_rows] for start in range(0, len(rows), batch_rows)]
    for _ in tokenize(batches, tokenizer, 9, coverage=coverage):
        pass
    return coverage


@pytest.mark.parametrize("oov", [None, "[OOV]"])
def test_unknown_words_are_counted(oov):
    """Whether they are dropped or replaced, in texts of ASCII characters and others."""
    index = INDEX if oov is None else {word: number + 1 for word, number in INDEX.items()} | {oov: 1}
    found = coverage_of(build(index, WordRules(), oov), "The dog, the CAT!", "", "Die Straße", "the")
    assert (found.words, found.unknown) == (7, 2)
    assert found.unknown_share == 2 / 7


def test_rows_of_ids_and_texts_that_are_refused_do_not_count():
    """Ids are no words; a text without ids is in quarantine."""
    tokenizer = build({**INDEX, "far": 99}, WordRules(), None)
    coverage = Coverage(tokenizer)
    rows = [SourceRow("f", 0, None, None, [1, 2]), SourceRow("f", 1, None, "far dog", None)]
    (batch,) = tokenize([rows], tokenizer, 9, coverage=coverage)
    assert batch[1].reason.startswith("token 99")
    assert (coverage.words, coverage.unknown_share) == (0, None)


def test_a_tokenizer_that_says_nothing_of_unknown_words():
    """Where words are cut to parts that are all known, there is no share."""
    parts = Tokenizer(models.BPE({letter: number for number, letter in enumerate("_abc")}, []))
    parts.pre_tokenizer = pre_tokenizers.Whitespace()
    assert coverage_of(parts, "abc", "x").unknown_share is None
    assert coverage_of(None).unknown_share is None


@pytest.mark.parametrize("batch_rows", [3, 100, 160])
@pytest.mark.parametrize("oov", [None, "[OOV]"])
def test_a_sample_is_like_the_whole(oov, batch_rows):
    """Where only every n-th of the later texts is looked at, it counts for all of them, so the order hardly matters."""
    index = INDEX if oov is None else {word: number + 1 for word, number in INDEX.items()} | {oov: 1}
    tokenizer, later = build(index, WordRules(), oov), 100 * ONE_OF
    texts = ["the cat"] * ALL_OF_FIRST + ["the dog"] * later
    for ordered in texts, texts[::-1]:
        found = coverage_of(tokenizer, *ordered, batch_rows=batch_rows)
        assert found.is_exact == (oov is not None)
        assert found.unknown_share == pytest.approx(later / 2 / len(texts), rel=0 if found.is_exact else 0.05)


def test_few_texts_are_all_counted():
    """Then the share is no estimate."""
    assert coverage_of(build(INDEX, WordRules(), None), *["the dog"] * ALL_OF_FIRST).is_exact
