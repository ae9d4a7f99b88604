"""Keras's rules for splitting a text into words, and the Hugging Face tokenizer that follows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

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

    drop = oov_token is None
    if drop:
        led = {rules.split + word: number for word, number in index.items()}
        tokenizer = Tokenizer(models.BPE({PADDING: 0, **led}, [], ignore_merges=True))
    else:
        tokenizer = Tokenizer(models.WordLevel({PADDING: 0, **index}, unk_token=oov_token))
    steps = lower_case() if rules.lower else []
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


def lower_case() -> list[Any]:
    """Normalizers that lower-case a text as Python does."""
    from tokenizers import Regex, normalizers  # noqa: PLC0415 - slow to import

    return [normalizers.Replace(Regex(_FINAL_SIGMA), "ς"), normalizers.Lowercase()]


def _one_of(characters: str) -> str:
    """A pattern that matches any one of these characters."""
    return "[" + "".join(f"\\x{{{ord(character):X}}}" for character in characters) + "]"
