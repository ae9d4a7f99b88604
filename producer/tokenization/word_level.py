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
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING

from unrolled.errors import OptionError, RequestError, counted
from unrolled.tokenization.word_rules import WordRules, build

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Fit:
    """The result of `fit`.

    Attributes:
        tokenizer: the tokenizer.
        texts: number of texts.
        words: number of words in them.
        distinct: number of different words.
        kept: number of ids in the vocabulary: words, and the token for others if there is one.
        covered: number of words in the texts that are in the vocabulary.
        unknown: number of words in the texts that are the out-of-vocabulary token itself.
    """

    tokenizer: "Tokenizer"
    texts: int
    words: int
    distinct: int
    kept: int
    covered: int
    unknown: int

    def line_of_unknown(self, oov_token: str | None) -> str:
        """A line for people if the out-of-vocabulary token is also a word of the texts; "" otherwise."""
        if not self.unknown:
            return ""
        words = counted(self.unknown, "word of the texts is", "words of the texts are")
        return f"--oov {oov_token}: {words} this one, and so unknown; if a word is meant, give another --oov"


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
        raise RequestError(f"no word was found in {counted(number, 'text')}; there is nothing to make a vocabulary of")
    unknown = 0 if oov_token is None else counts.pop(oov_token, 0)  # it has an id already
    # nlargest keeps the order of equals, and a Counter has the order of first occurrence, as Keras has. Sorting would
    # need twice the memory for a corpus with very many different words.
    kept = nlargest(room, counts.items(), key=itemgetter(1))
    index = {word: rank for rank, (word, _) in enumerate(kept, first)}
    if oov_token is not None:
        index[oov_token] = 1
    covered = sum(count for _, count in kept)
    return Fit(build(index, rules, oov_token), number, total, distinct, len(index), covered, unknown)
