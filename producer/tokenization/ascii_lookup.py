"""Token ids of plain texts from a word-level tokenizer, by its rules alone.

The tokenizers library records for each word where it came from, through every step; that takes most of a producer's
time. A tokenizer that `word_level` made needs none of it where a text is ASCII: its bytes are lower-cased, filtered and
split, and each word is looked up.
"""

from __future__ import annotations

import json
from itertools import repeat
from typing import TYPE_CHECKING, Any

from producer.tokenization.word_level import FILTERS, PADDING, WordRules, build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer

_RULES = WordRules()
#: What each byte of an ASCII text becomes.
_TABLE = bytes(ord(" ") if chr(byte) in FILTERS else ord(chr(byte).lower()) for byte in range(128)) + bytes(128)


class WordLookup:
    """The ids of ASCII texts.

    Args:
        index: id of each word.
        unknown: the id of every other word; None drops them.
    """

    def __init__(self, index: Mapping[str, int], unknown: int | None) -> None:
        self._index = {word.encode(): number for word, number in index.items()}
        self._unknown = unknown

    def ids(self, text: str) -> list[int]:
        """What the tokenizer gives for a text of ASCII characters."""
        words = text.encode("ascii").translate(_TABLE).split(b" ")
        if self._unknown is None:
            return list(filter(None, map(self._index.get, words)))  # no word has the id 0
        return list(map(self._index.get, filter(None, words), repeat(self._unknown)))


def word_lookup(tokenizer: Tokenizer) -> WordLookup | None:
    """The lookup that gives the tokenizer's own ids; None where it does anything else than words by Keras's rules."""
    made = build({}, _RULES, None), build({}, _RULES, "unknown")
    # First what can be seen at once: a vocabulary may be large.
    if all(_steps(tokenizer) != _steps(like) for like in made):
        return None
    found = json.loads(tokenizer.to_str())
    unknown = found["model"].get("unk_token")
    like = json.loads(build({}, _RULES, unknown).to_str())
    vocabulary: dict[str, int] = found["model"].pop("vocab")
    del like["model"]["vocab"]
    if found != like or vocabulary.pop(PADDING, 0) != 0 or 0 in vocabulary.values():
        return None
    if unknown is not None:
        return WordLookup(vocabulary, vocabulary[unknown]) if unknown in vocabulary else None
    # Each word is led by the separator, so that no letter of another word is in the vocabulary.
    led = all(word.startswith(_RULES.split) and len(word) > 1 for word in vocabulary)
    return WordLookup({word[1:]: number for word, number in vocabulary.items()}, None) if led else None


def _steps(tokenizer: Tokenizer) -> list[Any]:
    steps = (tokenizer.normalizer, tokenizer.pre_tokenizer)
    return [step and step.__getstate__() for step in steps]
