"""How many of the words, or characters, of a job's texts the model knows."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.tokenization.dropped import dropped_by
from unrolled.tokenization.characters import blanks_of
from unrolled.tokenization.word_rules import FILTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from producer.tokenization.dropped import Dropped
    from unrolled.errors import RowError
    from unrolled.tokenization.ascii_lookup import WordLookup

#: A word by the rules of `WordRules`: splitting a text by them takes four times as long where it isn't ASCII.
_WORD = re.compile(f"[^{re.escape(f'{FILTERS} ')}]+")


class Coverage:
    """Counts words, and those among them that are not in a tokenizer's vocabulary.

    Args:
        tokenizer: the model's tokenizer; None if it has none.

    Attributes:
        words: words, characters, bytes or tokens of the texts, as `noun` says. Special tokens are none.
        unknown: those that were dropped, or that are the token for unknown words.
        noun: what is counted: "words", or "characters" of a tokenizer of characters; what a tokenizer of parts of words
            drops is counted in "characters", or "bytes"; if it has a token for what it doesn't know, its "tokens" are.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self.words = self.unknown = 0
        self.noun = "words"
        self._looked_up = self._added = self._added_unknown = 0
        self._replacement: int | None = None
        self._dropped: Dropped | None = None
        if tokenizer is not None:
            model = json.loads(tokenizer.to_str())["model"]
            self._replacement = _replacement(tokenizer, model)
            self._dropped = dropped_by(tokenizer, model)
            added = tokenizer.encode("").ids
            self._added, self._added_unknown = len(added), sum(number == self._replacement for number in added)
            self.noun = self._dropped.noun if self._dropped else _noun(tokenizer, model)

    @property
    def unknown_share(self) -> float | None:
        """The share of unknown words; None where no word was seen, or none can be unknown."""
        return self.unknown / self.words if self.words else None

    def count(
        self,
        texts: Sequence[str],
        ids: Sequence[NDArray[np.int32] | RowError],
        lookup: WordLookup | None,
        *,
        special_tokens: bool,
    ) -> None:
        """Count the next texts.

        Args:
            texts: some rows'.
            ids: what the tokenizer made of each.
            lookup: the lookup that gave the ids of ASCII texts, which counts their words if words are dropped.
            special_tokens: whether the ids have those that the tokenizer adds to a text, such as [CLS].
        """
        if lookup is not None and lookup.drops:
            self._count_dropped(texts, ids, lookup)
        elif self._replacement is not None:
            for found in ids:
                if isinstance(found, np.ndarray):
                    self.words += found.size - self._added * special_tokens
                    self.unknown += int(np.count_nonzero(found == self._replacement))
                    self.unknown -= self._added_unknown * special_tokens
        elif self._dropped is not None:
            for text, found in zip(texts, ids, strict=True):
                if isinstance(found, np.ndarray):
                    words, unknown = self._dropped.count(text)
                    self.words += words
                    self.unknown += unknown

    def _count_dropped(
        self, texts: Sequence[str], ids: Sequence[NDArray[np.int32] | RowError], lookup: WordLookup
    ) -> None:
        words, self._looked_up = lookup.words - self._looked_up, lookup.words
        known = 0
        for text, found in zip(texts, ids, strict=True):
            is_good = isinstance(found, np.ndarray)
            if is_good:
                known += found.size  # type: ignore[union-attr] # it is an array
            if is_good != text.isascii():  # the lookup hasn't counted it, or has counted a text that is refused
                count = len(_WORD.findall(text))
                words += count if is_good else -count
        self.words += words
        self.unknown += words - known


def _replacement(tokenizer: Tokenizer, model: dict[str, Any]) -> int | None:
    """The id that unknown words get; None if there is none."""
    if model["type"] == "Unigram":
        return model.get("unk_id")
    token = model.get("unk_token")
    return None if token is None else tokenizer.token_to_id(token)


def _noun(tokenizer: Tokenizer, model: dict[str, Any]) -> str:
    """What each token stands for."""
    if model["type"] == "WordLevel":
        return "words" if blanks_of(tokenizer) is None else "characters"
    # Neighbouring unknown characters may become one token.
    is_plain = not model.get("merges", True) and not model.get("fuse_unk")
    return "characters" if is_plain and blanks_of(tokenizer) is not None else "tokens"
