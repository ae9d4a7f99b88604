"""How much of the words the model knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from producer.sources.rows import SourceRow
from producer.tokenization.coverage import Coverage
from producer.tokenization.tokenize import tokenize
from unrolled.tokenization import characters
from unrolled.tokenization.word_rules import WordRules, build

INDEX = {"the": 1, "cat": 2, "Straße".lower(): 3}


def coverage_of(tokenizer, *texts, batch_rows=100, **options):
    rows = [SourceRow("f", number, None, text, None) for number, text in enumerate(texts)]
    coverage = Coverage(tokenizer)
    batches = [rows[start : start + batch_rows] for start in range(0, len(rows), batch_rows)]
    for _ in tokenize(batches, tokenizer, 9, coverage=coverage, **options):
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


def test_characters_that_are_dropped_are_counted():
    """Of a tokenizer of characters, or of parts of words, that has no token for unknown ones."""
    letters = characters.build({letter: number for number, letter in enumerate("ACDEF", 1)}, None)
    found = coverage_of(letters, "ACDEFacdefg", "acde", "", "A C")
    assert (found.noun, found.words, found.unknown) == ("characters", 18, 11)
    end = Tokenizer(
        models.BPE({"[PAD]": 0, "a": 1, "b</w>": 2, "ab</w>": 3}, [("a", "b</w>")], end_of_word_suffix="</w>")
    )
    end.pre_tokenizer = pre_tokenizers.Whitespace()
    found = coverage_of(end, "aab aba ba", "aab")  # an "a" at the end of a word is dropped, a "b" at its beginning
    assert (found.noun, found.words, found.unknown) == ("characters", 11, 4)
    parts = Tokenizer(
        models.BPE(
            {"[PAD]": 0, "a": 1, "b": 2, "##b": 3, "ab": 4, "<end>": 5},
            [("a", "##b")],
            continuing_subword_prefix="##",
        )
    )
    parts.pre_tokenizer = pre_tokenizers.Whitespace()
    parts.normalizer = normalizers.Lowercase()
    parts.add_special_tokens(["<end>"])
    found = coverage_of(parts, "Ab abx", "x<end>x", "\n", "日ab")
    assert (found.noun, found.words, found.unknown) == ("characters", 10, 5)
    whole = Tokenizer(models.BPE({"[PAD]": 0, "a": 1, "日本": 2, "語": 3}, [], ignore_merges=True))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()
    found = coverage_of(whole, "日本 a 日本", "本")
    assert (found.noun, found.words, found.unknown) == ("characters", 6, 1)
    added = Tokenizer(models.BPE({"[PAD]": 0, "a": 1, "b": 2}, []))
    added.add_tokens([AddedToken("qq", single_word=True)])
    assert coverage_of(added, "aqqb", "qq").unknown_share == 0.5


def test_bytes_that_are_dropped_are_called_bytes():
    """A character of several bytes may lose some of them."""
    some = Tokenizer(models.BPE({"[PAD]": 0, **{letter: n for n, letter in enumerate("groe", 1)}}, []))
    some.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found = coverage_of(some, "größe")
    assert (found.noun, found.words, found.unknown) == ("bytes", 7, 4)


def test_tokens_for_what_is_unknown_are_tokens():
    """One may stand for several characters, or a whole word, so neither words nor characters can be counted."""
    fused = Tokenizer(models.BPE({"[PAD]": 0, "a": 1, "?": 2}, [], unk_token="?", fuse_unk=True))
    found = coverage_of(fused, "a日本語")
    assert (found.noun, found.words, found.unknown) == ("tokens", 2, 1)
    pieces = Tokenizer(models.WordPiece({"[PAD]": 0, "[UNK]": 1, "the": 2, "do": 3, "##g": 4}, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    found = coverage_of(pieces, "the dog zebra")
    assert (found.noun, found.words, found.unknown) == ("tokens", 4, 1)
    letters = characters.build({"a": 1, "b": 2}, 3)
    found = coverage_of(letters, "abx")
    assert (found.noun, found.words, found.unknown) == ("characters", 3, 1)


def test_a_special_token_that_is_the_one_for_unknown_words():
    """Those that are added to each text are no unknown words."""
    tokenizer = build({"the": 2, "dog": 3, "<s>": 1}, WordRules(), "<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A <s>", special_tokens=[("<s>", 1)])
    found = coverage_of(tokenizer, "the dog", "the", "", "the cat")
    assert (found.noun, found.words, found.unknown) == ("words", 5, 1)


def test_words_that_are_dropped_by_other_rules_are_counted():
    """Keras's rules with other filters, or with another separator."""
    for rules in (WordRules(filters=".", lower=False), WordRules(filters="", split=";")):
        found = coverage_of(build(INDEX, rules, None), rules.split.join(["the", "dog", "", "cat"]), "é")
        assert (found.noun, found.words, found.unknown) == ("words", 4, 2)


def test_a_tokenizer_that_knows_every_byte_drops_nothing():
    """As of GPT-2; nor does one without a token for unknown words that refuses a text."""
    byte = Tokenizer(
        models.BPE({letter: n for n, letter in enumerate(["[PAD]", *pre_tokenizers.ByteLevel.alphabet()])}, [])
    )
    byte.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert coverage_of(byte, "abc é").unknown_share is None
    assert coverage_of(None).unknown_share is None


def test_unigrams_that_are_unknown_are_counted():
    """Such a model names its token for them by its id."""
    tokenizer = Tokenizer(models.Unigram([("[PAD]", 0.0), ("<unk>", 0.0), ("the", -1.0), ("cat", -1.0)], unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    found = coverage_of(tokenizer, "the cat", "dog the")
    assert (found.words, found.unknown) == (4, 1)


@given(st.lists(st.text("abcAx <\t\né", max_size=12), max_size=12))
def test_what_is_counted_is_what_is_missing(texts):
    """Every character of a text is a token, or is counted as dropped."""
    letters = characters.build({letter: number for number, letter in enumerate("abc ", 1)}, None, lower=True)
    found = coverage_of(letters, *texts)
    known = sum(len(encoding.ids) for encoding in letters.encode_batch(texts))
    assert (found.words - found.unknown, found.words) == (known, sum(map(len, texts)))


@pytest.mark.parametrize("added", [True, False])
def test_special_tokens_are_no_words(added):
    """Else those around a short text would hide that all of its words are unknown."""
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "the": 2, "[CLS]": 4, "[SEP]": 5}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 4), ("[SEP]", 5)]
    )
    found = coverage_of(tokenizer, "the dog", "", "dog", add_special_tokens=added)
    assert (found.words, found.unknown) == (3, 2)


@pytest.mark.parametrize("batch_rows", [3, 100, 160])
@pytest.mark.parametrize("oov", [None, "[OOV]"])
def test_every_text_is_counted(oov, batch_rows):
    """However many there are, and in whatever order: the share is exact, also of a mixture of ASCII and others."""
    index = INDEX if oov is None else {word: number + 1 for word, number in INDEX.items()} | {oov: 1}
    texts = ["the cat"] * 1500 + ["the dog"] * 3 + ["  die\x0bStraße, \r é the! "] * 2
    found = coverage_of(build(index, WordRules(), oov), *texts, batch_rows=batch_rows)
    # "\r" is a word, and "\x0b" doesn't separate any, as in Keras.
    assert (found.words, found.unknown) == (2 * 1503 + 2 * 4, 3 + 2 * 3)


@given(st.lists(st.text("aA \t\n\r\x0b\x0c\x1c.,-éßİΣ中\u2028the", max_size=12), max_size=20))
def test_words_are_those_of_the_rules(texts):
    """Whatever separates them, and whether the text is ASCII or not."""
    found = coverage_of(build(INDEX, WordRules(), None), *texts, batch_rows=7)
    words = [word for text in texts for word in WordRules().words(text)]
    assert (found.words, found.unknown) == (len(words), sum(word not in INDEX for word in words))


def test_a_refused_text_of_ascii_does_not_count():
    """The lookup has counted it, and only then is its id too large."""
    tokenizer = build({**INDEX, "far": 99}, WordRules(), None)
    coverage = coverage_of(tokenizer, "far dog", "the dog", "far é", batch_rows=1)
    assert (coverage.words, coverage.unknown) == (2, 1)
