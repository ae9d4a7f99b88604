"""A fast way to the token ids of ASCII texts, for tokenizers that `word_rules.build` made.

The tokenizers library records the origin of each word through all steps, which takes a third of a producer's time. For
an ASCII text it is enough to lower-case, filter and split its bytes, and to look up each word.
"""

from __future__ import annotations

import json
from itertools import repeat
from typing import TYPE_CHECKING

from unrolled.tokenization.word_rules import FILTERS, PADDING, WordRules, build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer

_RULES = WordRules()
#: The byte that replaces each byte of an ASCII text.
_TABLE = bytes(ord(" ") if chr(byte) in FILTERS else ord(chr(byte).lower()) for byte in range(128)) + bytes(128)


class WordLookup:
    """Gives the ids of ASCII texts.

    Args:
        index: id of each word.
        unknown: id of all other words; None to drop them.

    Attributes:
        words: number of words in all texts so far, known or not, if other words are dropped. Counting them here costs
            a twentieth; splitting the texts once more would cost a third.
    """

    def __init__(self, index: Mapping[str, int], unknown: int | None) -> None:
        self._index = {word.encode(): number for word, number in index.items()}
        self._unknown = unknown
        self.words = 0

    @property
    def drops(self) -> bool:
        """Whether other words are dropped."""
        return self._unknown is None

    def ids(self, text: str) -> list[int]:
        """The ids of a text of ASCII characters, as the tokenizer gives them."""
        words = text.encode("ascii").translate(_TABLE).split(b" ")
        if self._unknown is None:
            self.words += len(words) - words.count(b"")
            return list(filter(None, map(self._index.get, words)))  # no word has the id 0
        return list(map(self._index.get, filter(None, words), repeat(self._unknown)))


def word_lookup(tokenizer: Tokenizer) -> WordLookup | None:
    """A lookup that gives the ids of a tokenizer, or None if the tokenizer does anything else than these rules.

    The whole tokenizer is compared, and not a marker in its file: a file that was edited would keep the marker.
    """
    found = json.loads(tokenizer.to_str())
    unknown = found["model"].get("unk_token")
    expected = json.loads(build({}, _RULES, unknown).to_str())
    vocabulary: dict[str, int] = found["model"].pop("vocab", {})
    del expected["model"]["vocab"]
    if found != expected or vocabulary.pop(PADDING, 0) != 0 or 0 in vocabulary.values():
        return None
    if unknown is not None:
        return WordLookup(vocabulary, vocabulary[unknown]) if unknown in vocabulary else None
    # Each word begins with the separator, so that the vocabulary contains no letter of another word.
    led = all(word.startswith(_RULES.split) and len(word) > 1 for word in vocabulary)
    return WordLookup({word[1:]: number for word, number in vocabulary.items()}, None) if led else None
