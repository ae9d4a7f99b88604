"""Word-level tokenizers that give the ids of Keras's `Tokenizer`, as Hugging Face tokenizer files.

Keras lower-cases a text, replaces every character of `filters` by `split`, splits there, and drops empty words. Words
are ranked by frequency, and words of one frequency by their first occurrence. They are numbered from 1; 0 is padding.
There are two differences:

- Keras's `num_words` keeps only ids *below* it, so one word fewer than the number. `fit` keeps 1..vocab_size, because
  the model has a row for each: these are the ids of `Tokenizer(num_words=vocab_size + 1)`. `unrolled tokenizer import`
  keeps the ids that Keras keeps.
- Keras lower-cases by Python's version of Unicode, and the tokenizers library by its own. Capital letters that Unicode
  added between the two may differ.

Source: the documented behaviour of keras.preprocessing.text.Tokenizer.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from unrolled.errors import OptionError, RequestError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
PADDING = "[PAD]"
_SPACE = " "

# Python, and so Keras, lower-cases a capital sigma at the end of a word to ς; the library ignores the other letters.
# The conditions are Unicode's Final_Sigma, with Python's reading of the one letter that is both cased and ignorable,
# U+0345.
_CASED = r"[\p{Cased}&&\P{Case_Ignorable}]"
_FINAL_SIGMA = rf"(?<={_CASED}\p{{Case_Ignorable}}*)Σ(?!\p{{Case_Ignorable}}*{_CASED})"


@dataclass(frozen=True, slots=True)
class WordRules:
    """How a text is split into words.

    Attributes:
        filters: characters that separate words, besides `split`.
        lower: whether the text is lower-cased first.
        split: what separates words.
    """

    filters: str = FILTERS
    lower: bool = True
    split: str = " "

    def words(self, text: str) -> list[str]:
        """The words of a text in their order, as from Keras's `text_to_word_sequence`."""
        if self.lower:
            text = text.lower()
        separated = text.translate(_separators(self.filters, self.split))
        return [word for word in separated.split(self.split) if word]


@cache
def _separators(filters: str, split: str) -> dict[int, str]:
    return {ord(character): split for character in filters}


@dataclass(frozen=True, slots=True)
class Fit:
    """The result of `fit`.

    Attributes:
        tokenizer: the tokenizer.
        texts: number of texts.
        words: number of words in them.
        distinct: number of different words.
        kept: number of words in the vocabulary.
        covered: number of words in the texts that are in the vocabulary.
    """

    tokenizer: "Tokenizer"
    texts: int
    words: int
    distinct: int
    kept: int
    covered: int


def fit(texts: Iterable[str], vocab_size: int, oov_token: str | None = None) -> Fit:
    """Make a tokenizer from the most frequent words of texts.

    Args:
        texts: the texts; they are read once, and only the counts of words are in memory.
        vocab_size: the highest id; the out-of-vocabulary token takes one of the ids.
        oov_token: the token with id 1 for all words outside the vocabulary; None to drop them, as Keras does.

    Raises:
        OptionError: `vocab_size` has no room for a word.
        RequestError: the texts contain no word.
    """
    first = 1 if oov_token is None else 2
    room = vocab_size - first + 1
    if room < 1:
        raise OptionError(f"--vocab-size {vocab_size} leaves no id for a word; allowed: {first} or more")
    rules = WordRules()
    counts: Counter[str] = Counter()
    number = 0
    for text in texts:
        counts.update(rules.words(text))
        number += 1
    total, distinct = counts.total(), len(counts)
    if not counts:
        raise RequestError(f"no word was found in {number} texts; there is nothing to make a vocabulary of")
    if oov_token is not None:
        counts.pop(oov_token, None)  # it has an id already
    # nlargest keeps the order of equals, and a Counter has the order of first occurrence, as Keras has. Sorting would
    # need twice the memory for a corpus with very many different words.
    kept = nlargest(room, counts.items(), key=itemgetter(1))
    index = {word: rank for rank, (word, _) in enumerate(kept, first)}
    if oov_token is not None:
        index[oov_token] = 1
    covered = sum(count for _, count in kept)
    return Fit(build(index, rules, oov_token), number, total, distinct, len(index), covered)


def build(index: Mapping[str, int], rules: WordRules, oov_token: str | None) -> "Tokenizer":
    """Make a tokenizer from word ids.

    Id 0 becomes [PAD]. With `oov_token` the tokenizer has a word-level model. That can't drop words, so without
    `oov_token` it has a byte-pair model without merges: it looks up the whole word, then its letters, and skips the
    ones that it doesn't know. Every word in its vocabulary begins with the separator, so no letter is found.

        >>> build({"the": 1, "cat": 2}, WordRules(), None).encode("The dog, the CAT!").ids
        [1, 1, 2]

    Args:
        index: id of each word, from 1, and of `oov_token` if there is one.
        rules: how a text is split into words.
        oov_token: the token for all other words; None to drop them.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: PLC0415 - slow to import

    steps: list[Any] = []
    if rules.lower:
        steps = [normalizers.Replace(Regex(_FINAL_SIGMA), "ς"), normalizers.Lowercase()]
    if oov_token is not None:
        padding = {} if PADDING in index else {PADDING: 0}
        tokenizer = Tokenizer(models.WordLevel({**padding, **index}, unk_token=oov_token))
    else:
        led = {rules.split + word: number for word, number in index.items()}
        tokenizer = Tokenizer(models.BPE({PADDING: 0, **led}, [], ignore_merges=True))
    drop = oov_token is None
    if rules.split == _SPACE:
        split = pre_tokenizers.Split(Regex(_one_of(rules.filters + _SPACE)), "removed")
        lead = pre_tokenizers.Metaspace(_SPACE, "always", split=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, lead]) if drop else split
        if drop:
            tokenizer.decoder = decoders.Metaspace(_SPACE, "always", split=False)
    else:
        # Slower, but right for any separator: Metaspace would change the spaces within words.
        if rules.filters:
            steps.append(normalizers.Replace(Regex(_one_of(rules.filters)), rules.split))
        if drop:
            steps.append(normalizers.Prepend(rules.split))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(rules.split, "merged_with_next" if drop else "removed")
    tokenizer.normalizer = normalizers.Sequence(steps)
    return tokenizer


def _one_of(characters: str) -> str:
    """A pattern that matches any one of these characters."""
    return "[" + "".join(f"\\x{{{ord(character):X}}}" for character in characters) + "]"
