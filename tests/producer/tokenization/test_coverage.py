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


def test_long_inputs_are_sampled():
    """All of the first texts, then one of sixteen."""
    found = coverage_of(
        build(INDEX, WordRules(), None), *["the dog"] * (ALL_OF_FIRST + 10 * ONE_OF), batch_rows=ONE_OF * 10
    )
    assert found.unknown_share == 0.5
    assert ALL_OF_FIRST < found.words / 2 < ALL_OF_FIRST + 10 * ONE_OF
