"""Word-level tokenizers with the semantics of Keras's `Tokenizer`, as Hugging Face tokenizer files.

Keras lower-cases a text, turns every character of `filters` into `split`, splits there, and drops empty
words. Words are ranked by how often they occurred, equals by which came first, and numbered from
1; 0 is kept for padding. The file made here gives the same ids by itself. Two things to know:

- Keras's `num_words` keeps the ids *below* it, so one word fewer than it says. `fit` keeps 1..vocab_size, all
  that the model has rows for: the ids of `Tokenizer(num_words=vocab_size + 1)`. `import` keeps what
  Keras kept.
- Lower-casing follows the Unicode version of the tokenizers library, Keras's that of its Python; capital
  letters that Unicode added between the two may differ.

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

# Python (and so Keras) writes a capital sigma that ends a word as ς; the library lower-cases letter by
# letter. The conditions are Unicode's Final_Sigma, with Python's reading of the one letter (U+0345) that is
# cased and to be ignored at once.
_CASED = r"[\p{Cased}&&\P{Case_Ignorable}]"
_FINAL_SIGMA = rf"(?<={_CASED}\p{{Case_Ignorable}}*)Σ(?!\p{{Case_Ignorable}}*{_CASED})"


@dataclass(frozen=True, slots=True)
class WordRules:
    """How a text falls into words.

    Attributes:
        filters: characters that separate words, besides `split`.
        lower: whether the text is lower-cased first.
        split: what separates words.
    """

    filters: str = FILTERS
    lower: bool = True
    split: str = " "

    def words(self, text: str) -> list[str]:
        """The words of a text, in order, as Keras's `text_to_word_sequence` gives them."""
        if self.lower:
            text = text.lower()
        separated = text.translate(_separators(self.filters, self.split))
        return [word for word in separated.split(self.split) if word]


@cache
def _separators(filters: str, split: str) -> dict[int, str]:
    return {ord(character): split for character in filters}


@dataclass(frozen=True, slots=True)
class Fit:
    """What `fit` found.

    Attributes:
        tokenizer: ready to be saved.
        texts: number of texts read.
        words: number of words in them.
        distinct: number of different words.
        kept: number of words in the vocabulary.
        covered: number of words in the texts that the vocabulary holds.
    """

    tokenizer: "Tokenizer"
    texts: int
    words: int
    distinct: int
    kept: int
    covered: int


def fit(texts: Iterable[str], vocab_size: int, oov_token: str | None = None) -> Fit:
    """Count words and keep the most frequent.

    Args:
        texts: read once; only the counts are held.
        vocab_size: highest id; the out-of-vocabulary token takes one of them.
        oov_token: stands at id 1 for every word outside the vocabulary; None drops such words, as Keras does.

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
        counts.pop(oov_token, None)  # it has its place already
    # As stable as sorting, and a Counter keeps the order of first appearance: so ties fall as in Keras. Sorting would
    # double the memory of a corpus whose words never end.
    kept = nlargest(room, counts.items(), key=itemgetter(1))
    index = {word: rank for rank, (word, _) in enumerate(kept, first)}
    if oov_token is not None:
        index[oov_token] = 1
    covered = sum(count for _, count in kept)
    return Fit(build(index, rules, oov_token), number, total, distinct, len(index), covered)


def build(index: Mapping[str, int], rules: WordRules, oov_token: str | None) -> "Tokenizer":
    """Make a tokenizer of word ids.

    Args:
        index: id of each word, from 1; with `oov_token`, that too.
        rules: how a text falls into words.
        oov_token: given for every other word; None drops them.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: PLC0415  (slow)

    steps: list[Any] = []
    if rules.lower:
        steps = [normalizers.Replace(Regex(_FINAL_SIGMA), "ς"), normalizers.Lowercase()]
    if oov_token is not None:
        padding = {} if PADDING in index else {PADDING: 0}
        tokenizer = Tokenizer(models.WordLevel({**padding, **index}, unk_token=oov_token))
    else:
        # A word-level model must have an unknown token, and so can't drop words. A byte-pair model without
        # merges can: it looks the whole word up, then its letters, and skips what it doesn't know. Each word
        # is led by the separator, so that no letter alone is ever in the vocabulary.
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
        # Metaspace would touch the spaces within words: slower, but right for any separator.
        if rules.filters:
            steps.append(normalizers.Replace(Regex(_one_of(rules.filters)), rules.split))
        if drop:
            steps.append(normalizers.Prepend(rules.split))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(rules.split, "merged_with_next" if drop else "removed")
    tokenizer.normalizer = normalizers.Sequence(steps)
    return tokenizer


def _one_of(characters: str) -> str:
    """A pattern for any one of these, none of which means anything else in it."""
    return "[" + "".join(f"\\x{{{ord(character):X}}}" for character in characters) + "]"
